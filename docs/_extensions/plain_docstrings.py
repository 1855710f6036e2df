"""Docstrings are plain text with ``names``: what reStructuredText would read into it is escaped.

Arguments, "name : what it is" below a heading, become a list, and public names lead to their pages.
"""

import inspect
import re
from itertools import pairwise
from typing import Any

import pdekit as pk

LITERAL = re.compile(r"(``.+?``|:\w+:`[^`]+`)")
ENTRY = re.compile(r"(?!\s)[\w, *\\]+ : ")
DASHES = re.compile(r"-{4,}")
MARKUP = re.compile(r"([\\*|`]|(?<=\w)_(?!\w))")


def linked(literal: str) -> str:
    """A literal that is a public name leads to its page: ``Walls``, ``schemes.Krylov(order=1)``."""
    name = re.match(r"``(?:pk\.)?([\w.]+)", literal)
    home, _, last = name[1].rpartition(".") if name else ("", "", "")
    listed = getattr(pk, home, None) if home else pk
    if (
        last
        and last in getattr(listed, "__all__", ())
        and not inspect.ismodule(getattr(listed, last))
    ):
        return f":py:obj:`{literal[2:-2]} <pdekit.{name[1] if name else last}>`"
    return literal


def plain(line: str) -> str:
    """A line of text, with everything outside of its literals as it stands."""
    parts = LITERAL.split(line)
    return "".join(
        linked(part) if k % 2 else MARKUP.sub(r"\\\1", part) for k, part in enumerate(parts)
    )


def escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Lines outside of blocks of code, which follow on ``::`` and are indented."""
    code = False
    for k, line in enumerate(lines):
        if code and (line.startswith("    ") or not line.strip()):
            continue
        code = line.rstrip().endswith("::")
        lines[k] = plain(line)
    lines[:] = entries(lines)


def entries(lines: list[str]) -> list[str]:
    """Headings with a line of dashes below them in bold, and arguments as a list."""
    out: list[str] = []
    inside = False
    for line, after in pairwise([*lines, ""]):
        if DASHES.fullmatch(line):
            continue
        if DASHES.fullmatch(after):
            out += [f"**{line}**", ""]
        elif ENTRY.match(line):
            out += [*([] if inside else [""]), f"- **{line.replace(' : ', '**: ', 1)}"]
        elif inside and line.strip() and not line.startswith(" "):
            out += ["", line]
        else:
            out.append(line[2:] if inside else line)
        inside = bool(ENTRY.match(line)) or (inside and line.startswith("    "))
    return out


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", escape)
    return {"version": "1", "parallel_read_safe": True}
