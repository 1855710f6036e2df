"""The papers behind a result, for its list of references."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any

from pdekit import checks

SOFTWARE = """@software{pdekit,
  author = {{The pdekit authors}},
  title = {pdekit: partial differential equations, particles and control behind stochastic optimisation},
  version = {VERSION}
}"""  # noqa: E501
# the papers that docstrings name otherwise than by authors and year
_NAMED = {
    "thesis": r"\bthesis\b",
    "deep_relaxation": r"\bDeep relaxation\b",
    "kantas": r"\bKantas et al\.",
    "report": r"\breport [(\d]",
}
_ENTRY = re.compile(r"^@\w+\{(\w+),.*?^\}", re.MULTILINE | re.DOTALL)
_AUTHORS = re.compile(r"author = \{(.*)\},")
_YEAR = re.compile(r"year = \{(\d+)\}")


def cite(*results: Any) -> str:
    """BibTeX entries of pdekit and of the papers behind results, equations, schemes or dynamics.

    Of a ``Solution`` those of its equation, scheme and interaction, of an ``Ensemble`` those of its
    dynamics, integrator and forces, of a ``Control`` those of its solutions, of an optimizer its
    own: the papers that their docstrings name as sources. Without results, pdekit's own entry.

    >>> print(pk.cite(rho, X))

    Raises ``TypeError`` for what is no part of pdekit, ``RuntimeError`` where Python runs without
    docstrings (``-OO``).
    """
    from pdekit import __version__

    if not inspect.getdoc(cite):
        raise RuntimeError(
            "python -OO drops the docstrings, which name the sources: run without it"
        )
    said = [" ".join(text.split()) for result in results for text in _docstrings(result)]
    text = " ".join(said)
    found = [entry for key, entry in _entries().items() if re.search(_pattern(key, entry), text)]
    return "\n\n".join([SOFTWARE.replace("VERSION", __version__), *found])


def _docstrings(result: Any) -> Iterator[str]:
    """Of all parts of a result, each class once, with those that it inherits."""
    parts = list(_parts(result, set()))
    if not parts:
        raise TypeError(
            f"expected results, equations, schemes, dynamics or optimizers of pdekit, got "
            f"{checks.shown(result)}: such as pk.cite(solution, ensemble)"
        )
    for kind in dict.fromkeys(parts):
        yield from (vars(base).get("__doc__") or "" for base in kind.__mro__ if _own(base))


def _parts(value: Any, seen: set[int]) -> Iterator[type]:
    """The classes of pdekit of a value and of what it is made of."""
    if id(value) in seen or not _own(type(value)):
        return
    seen.add(id(value))
    yield type(value)
    if is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name), seen)


def _own(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "pdekit"


def _entries() -> dict[str, str]:
    text = files("pdekit").joinpath("references.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _ENTRY.finditer(text)}


def _pattern(key: str, entry: str) -> str:
    """How docstrings name it: "Carrillo, Chertock and Huang 2015", or "(2015)"."""
    if key in _NAMED:
        return _NAMED[key]
    authors = _AUTHORS.search(entry)
    year = _YEAR.search(entry)
    assert authors and year
    names = [_plain(author.split(",")[0]) for author in authors[1].split(" and ")]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return rf"{re.escape(listed)}[^;]{{0,40}}\b{year[1]}\b"


def _plain(name: str) -> str:
    """A name of BibTeX with its accents as letters."""
    accents = {"{\\'e}": "é", '{\\"a}': "ä", "{\\`e}": "è", "{\\'a}": "á"}
    for code, letter in accents.items():
        name = name.replace(code, letter)
    return name
