"""Documents read well in the repository and on the site: links out of ``docs`` are led there."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INCLUDED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def led(text: str, folder: Path, docs: Path) -> str:
    """The text of a page in ``folder`` with links that hold where the site has it, in ``docs``."""

    def target(match: re.Match[str]) -> str:
        path, anchor = (folder / match[1]).resolve(), match[2] or ""
        name = INCLUDED.get(path.name) if path.parent == ROOT else None
        if name is not None:
            return f"]({name}{anchor})"
        if path.is_relative_to(docs):
            return f"]({path.relative_to(docs)}{anchor})"
        return f"]({Path('..') / path.relative_to(ROOT)}{anchor})"

    return LINK.sub(target, text)


def lead(app: Any, page: str, source: list[str]) -> None:
    """Pages that repeat a file of the repository, and the links of all."""
    docs = Path(app.srcdir)
    file = next((file for file, name in INCLUDED.items() if name == f"{page}.md"), None)
    if file is not None:
        source[0] = led((ROOT / file).read_text("utf-8"), ROOT, docs)
    elif "/" not in page and (docs / f"{page}.md").is_file():
        source[0] = led(source[0], docs, docs)


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", lead)
    return {"version": "1", "parallel_read_safe": True}
