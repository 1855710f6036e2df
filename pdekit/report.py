"""One page about any number of runs: their claims, figures, parameters, seeds and versions.

``pdekit run`` leaves a record (``NAME.json``) and a figure; a report reads them, checks
their integrity, and writes them as one self-contained HTML page and one JSON file.
"""

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from pdekit import files
from pdekit.claims import Claim, all_hold, at_least, at_most

_RELATIONS = {"<=": at_most, ">=": at_least}
_EMPTY: dict[str, Any] = {  # missing in records of earlier versions
    "question": "", "about": "", "date": "", "seconds": None,
    "parameters": {}, "seeds": {}, "inputs": {},
}  # fmt: skip
_KINDS: dict[str, type] = {
    "study": str, "claims": list, "options": dict, "numbers": dict, "versions": dict,
    "question": str, "about": str, "date": str, "parameters": dict, "seeds": dict, "inputs": dict,
}  # fmt: skip
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Figure:
    """An image as a ``data:`` address, what it shows, and its width in CSS pixels if it has one."""

    address: str
    caption: str
    width: int | None


@dataclass(frozen=True)
class Run:
    """One record as ``pdekit run`` wrote it, its source, its claims and its figures."""

    source: str
    record: dict[str, Any]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]

    @property
    def study(self) -> str:
        return str(self.record["study"])

    @property
    def failed(self) -> list[Claim]:
        return [claim for claim in self.claims if not claim.holds]

    @property
    def holds(self) -> bool:
        return all_hold(self.claims)


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs in these folders (the records among their ``*.json``) and JSON files.

    A run named twice counts once. Raises ``ValueError`` for a path without a run, for a
    damaged record, for a verdict inconsistent with its numbers, and for a figure that is missing,
    damaged or from another run.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        found = _records_in(path) if path.is_dir() else [path]
        files.update((file.resolve(), file) for file in found)
    return [_read_run(file) for file in files.values()]


def _records_in(folder: Path) -> list[Path]:
    """Its JSON files with claims or a study; a report's JSON is not a run."""
    loaded = {file: _load(file) for file in sorted(folder.glob("*.json"))}
    found = [
        file
        for file, content in loaded.items()
        if content.keys() & {"study", "claims"} and "report" not in content
    ]
    if not found:
        raise ValueError(
            f"found no record of a run in {folder}; expected what `pdekit run NAME --out {folder}` "
            "writes there, NAME.json and NAME.png"
        )
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"no such run: {file}; `pdekit run NAME --out DIR` makes one") from error
    except ValueError as error:  # not JSON, or not even UTF-8
        raise ValueError(f"{file} is damaged ({error}); run its study again") from error
    if not isinstance(record, dict):
        raise ValueError(f"{file} holds a {type(record).__name__}, not the record of a run")
    return record


def _read_run(file: Path) -> Run:
    loaded = _load(file)
    record = _EMPTY | {"seeds": seeds(loaded.get("options"))} | loaded
    if "study" not in record:
        raise ValueError(
            f"{file} is not the record of a run: it names no study; give the NAME.json that "
            "`pdekit run NAME` wrote"
        )
    for key, kind in _KINDS.items():
        if not isinstance(record.get(key), kind):
            raise ValueError(
                f"{file} is damaged: {key!r} should be a {kind.__name__}, got "
                f"{record.get(key)!r}; run its study again"
            )
    if not all(isinstance(item, dict) for item in record["parameters"].values()):
        raise ValueError(f"{file} is damaged: 'parameters' should hold dicts; run its study again")
    claims = tuple(_claim(item, file) for item in record["claims"])
    return Run(neutral(file, 2), record, claims, tuple(_figures(record, file)))


def _claim(item: Any, file: Path) -> Claim:
    """The claim made again from its numbers: an inconsistent verdict is an error."""
    try:
        claim = _RELATIONS[item["relation"]](str(item["text"]), item["measured"], item["bound"])
        recorded = item["holds"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is damaged: {item!r} is not a claim (text, measured, relation <= or >=, "
            "bound, holds); run its study again"
        ) from error
    if claim.holds is not recorded:
        raise ValueError(f"{file} is damaged: it records holds = {recorded!r} for {claim}")
    return claim


def _figures(record: dict[str, Any], file: Path) -> Iterator[Figure]:
    """The figures that a record names, or in an older record the image of the same name."""
    beside = [file.with_suffix(end) for end in _TYPES if file.with_suffix(end).is_file()]
    older = [{"file": path.name} for path in beside[:1] or [file.with_suffix(".png")]]
    named = record.get("figures", older)
    for item in named if isinstance(named, list) else [named]:
        try:
            path = file.with_name(item["file"])
            caption = str(item.get("caption") or f"Figure of {record['study']}")
            digest = item.get("sha256")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is damaged: {item!r} is not a figure (file, caption, sha256)"
            ) from error
        yield _image(path, caption, digest, file)


def _image(path: Path, caption: str, digest: str | None, record: Path) -> Figure:
    """The image as a ``data:`` address, after checking that it is intact and of this run."""
    if not path.is_file():
        raise ValueError(f"{record} lacks its figure {path}; run its study again")
    data = path.read_bytes()
    try:
        width = _READERS[path.suffix](data)
    except (KeyError, OSError, SyntaxError, ValueError) as error:  # as Pillow and XML report damage
        raise ValueError(
            f"{path} is not a whole PNG or SVG image ({error}); run its study again"
        ) from error
    if digest not in (None, sha256(data)):
        raise ValueError(f"{path} is not the figure recorded in {record}; run its study again")
    kind, coded = _TYPES[path.suffix], base64.b64encode(data).decode()
    return Figure(f"data:{kind};base64,{coded}", caption, width)


def _png_width(data: bytes) -> int:
    """Width in CSS pixels (96 to the inch), after a check of every checksum in the file."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        dots = image.info.get("dpi", (96, 96))[0]
        image.verify()
        pixels: int = round(image.width * 96 / dots)
        return pixels


def _svg_width(data: bytes) -> None:
    """No width: vectors fill the page. Raises ``SyntaxError`` if this is not SVG."""
    if not ElementTree.fromstring(data).tag.endswith("svg"):
        raise SyntaxError("its outermost element is not svg")


_READERS: dict[str, Callable[[bytes], int | None]] = {".png": _png_width, ".svg": _svg_width}


def seeds(options: Any) -> dict[str, Any]:
    """The options of a study that seed its random numbers."""
    named = options.items() if isinstance(options, dict) else ()
    return {key: value for key, value in named if "seed" in key}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def neutral(path: Path, keep: int = 1) -> str:
    """A machine-independent path: as given if relative, else its last parts."""
    below = not path.is_absolute() and ".." not in path.parts
    return (path if below else Path(*path.resolve().parts[-keep:])).as_posix()


def summary(runs: Sequence[Run], title: str) -> dict[str, Any]:
    """The report as plain data: verdict, failing claims, and every record in full.

    JSON has no NaN or infinity: they are the strings ``"nan"``, ``"inf"`` and ``"-inf"``.
    """
    from pdekit import __version__

    failed = [{"run": run.source, **claim.as_dict()} for run in runs for claim in run.failed]
    made: dict[str, Any] = _strict(
        {
            "report": title,
            "date": now(),
            "pdekit": __version__,
            "holds": bool(runs) and all(run.holds for run in runs),
            "claims": sum(len(run.claims) for run in runs),
            "failed": failed,
            "runs": [{"source": run.source, "holds": run.holds, **run.record} for run in runs],
        }
    )
    return made


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def now() -> str:
    """The time in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def page(runs: Sequence[Run], title: str) -> str:
    """The report as one HTML page: no script, and no address but ``data:`` and its own anchors."""
    template = templates().get_template("report.html")
    return template.render(title=title, summary=summary(runs, title), runs=runs)


@cache
def templates() -> Environment:
    """Pages to be filled in."""
    environment = Environment(
        loader=PackageLoader("pdekit"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        number=number, against=against, blocks=blocks, tables=tables, marks=marks, plain=plain
    )
    return environment


def write(runs: Sequence[Run], out: Path, title: str) -> tuple[Path, Path]:
    """Write the page to ``out`` and its JSON beside it; both atomically.

    Raises ``ValueError`` for a name not in ``.html``, or if the JSON would replace a file that is
    no report.
    """
    return write_page(page(runs, title), summary(runs, title), out)


def write_page(html: str, data: dict[str, Any], out: Path) -> tuple[Path, Path]:
    """A page to ``out`` and its data beside it, as ``write`` says."""
    beside = out.with_suffix(".json")
    if out.suffix not in (".html", ".htm"):
        raise ValueError(f"a report is an HTML page; got --out {out}, expected a name in .html")
    if beside.exists() and "report" not in _load(beside):
        raise ValueError(f"{beside} is not a report and would be overwritten; try another --out")
    text = json.dumps(_strict(data), indent=1, allow_nan=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(beside, lambda path: path.write_text(text + "\n", encoding="utf-8"))
    files.replace_file(out, lambda path: path.write_text(html, encoding="utf-8"))
    return out, beside


def number(value: Any, digits: int = 4) -> Markup:
    """A value with ``digits`` significant digits; the full one is kept in ``<data>``."""
    if isinstance(value, str | bool | None):
        words = {None: "–", True: "yes", False: "no"}
        return escape(value if isinstance(value, str) else words[value])
    if not isinstance(value, int | float):
        return escape(str(value))
    if isinstance(value, int) or value == 0 or not math.isfinite(value):
        shown = Markup(str(value or 0))
    elif 1e-4 <= abs(value) < 1e6:
        shown = Markup(np.format_float_positional(value, digits, False, False, trim="-"))
    else:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        shown = Markup(f"{mantissa} × 10<sup>{int(power)}</sup>")
    return Markup('<data value="{!r}">{}</data>').format(value, shown.replace("-", "−"))


def against(claim: Claim) -> tuple[Markup, Markup]:
    """Measured value and bound, with enough digits to distinguish them."""
    for digits in range(4, 18):
        left, right = (_inner(number(v, digits)) for v in (claim.measured, claim.bound))
        if left != right or claim.measured == claim.bound:
            break
    return number(claim.measured, digits), number(claim.bound, digits)


@dataclass(frozen=True)
class Mark:
    """A claim and where its dot is drawn: 450 is at the bound, and 150 a factor of ten."""

    claim: Claim
    x: float


def marks(claims: Sequence[Claim]) -> list[Mark]:
    """Of claims whose measured value is a share of the bound, or the bound one of it."""
    found = []
    for claim in claims:
        over, under = claim.measured, claim.bound
        if claim.relation == ">=":
            over, under = under, over
        if under > 0 <= over and math.isfinite(over) and math.isfinite(under):
            decades = math.log10(max(over / under, 1e-3))
            found.append(Mark(claim, min(450 + 150 * decades, 620)))
    return sorted(found, key=lambda mark: -mark.x)


def plain(value: float) -> str:
    """Four digits, as text."""
    return f"{value:.4g}"


def _inner(shown: Markup) -> str:
    return shown.split(">", 1)[1]


def blocks(text: str) -> list[tuple[bool, str]]:
    """Paragraphs of a docstring: (whether it is preformatted, the text)."""
    found = []
    for block in text.strip().split("\n\n"):
        kept = any(line.startswith(("* ", "- ", " ")) for line in block.split("\n"))
        found.append((kept, block if kept else " ".join(block.split())))
    return found


@dataclass(frozen=True)
class Table:
    """Rows of recorded values: label and cells; ``columns`` is empty for one unnamed column."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Any, ...]], ...]


def tables(value: Any, caption: str = "") -> Iterator[Table]:
    """Nested recorded values as flat tables, each captioned by its path."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value, 1))
    if _uniform([item for _, item in items]):
        columns = tuple(items[0][1])
        rows = tuple((str(key), tuple(item[name] for name in columns)) for key, item in items)
        yield Table(caption or "Numbers", columns, rows)
        return
    cells = tuple((str(key), (item,)) for key, item in items if not _nested(item))
    if cells:
        yield Table(caption or "Numbers", (), cells)
    for key, item in items:
        if _nested(item):
            yield from tables(item, f"{caption} › {key}" if caption else str(key))


def _nested(value: Any) -> bool:
    """Whether a value needs a table of its own: a list of plain values fits in a cell."""
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, dict | list) for item in value)
    )


def _uniform(items: list[Any]) -> bool:
    """Whether several values have the same named, plain parts: the rows of one table."""
    return len(items) > 1 and all(
        isinstance(item, dict)
        and item.keys() == items[0].keys()
        and not any(map(_nested, item.values()))
        for item in items
    )
