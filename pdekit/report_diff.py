"""Two sets of runs side by side: which claims and numbers moved, and which verdicts changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdekit import report
from pdekit.claims import Claim


@dataclass(frozen=True)
class Moved:
    """A value at a place of the record, before and after; None where it is missing."""

    place: str
    before: Any
    after: Any

    @property
    def by(self) -> float:
        """How far it moved, relative to the larger; infinite where one is no finite number."""
        old, new = self.before, self.after
        if not all(isinstance(v, int | float) and abs(v) < float("inf") for v in (old, new)):
            return float("inf")
        return float(abs(new - old) / max(abs(old), abs(new), 1e-300))


CHANGES = ("broken", "mended", "gone", "new", "moved", "same")


@dataclass(frozen=True)
class ClaimPair:
    """A claim by its text, before and after; None where it was not, or is no longer, made."""

    text: str
    before: Claim | None
    after: Claim | None

    @property
    def change(self) -> str:
        """ "broken", "mended", "new", "gone", "moved" or "same"."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        if self.before.holds is not self.after.holds:
            return "broken" if self.before.holds else "mended"
        moved = _differ(self.before.measured, self.after.measured)
        return "moved" if moved or _differ(self.before.bound, self.after.bound) else "same"


@dataclass(frozen=True)
class Pair:
    """A study in both sets, or in one."""

    study: str
    before: report.Run | None
    after: report.Run | None

    @property
    def claims(self) -> list[ClaimPair]:
        """Those whose verdict changed first, then those that moved, the same last."""
        old, new = ({c.text: c for c in run.claims} if run else {} for run in self.both)
        pairs = [ClaimPair(text, old.get(text), new.get(text)) for text in {**old, **new}]
        return sorted(pairs, key=lambda pair: CHANGES.index(pair.change))

    @property
    def both(self) -> tuple[report.Run | None, report.Run | None]:
        return self.before, self.after

    @property
    def broken(self) -> list[ClaimPair]:
        return [pair for pair in self.claims if pair.change == "broken"]

    @property
    def settings(self) -> list[Moved]:
        """Options, inputs and versions that differ: why numbers may."""
        keys = ("options", "inputs", "versions")
        return list(self._moved({key: key for key in keys}))

    @property
    def numbers(self) -> list[Moved]:
        """Recorded numbers that moved, the farthest first."""
        moved = self._moved({"numbers": ""})
        return sorted(moved, key=lambda item: item.by, reverse=True)

    def _moved(self, parts: dict[str, str]) -> Iterator[Moved]:
        if self.before is None or self.after is None:
            return
        for part, name in parts.items():
            old, new = (dict(leaves(run.record[part], name)) for run in (self.before, self.after))
            for place in {**old, **new}:
                if _differ(old.get(place), new.get(place)):
                    yield Moved(place, old.get(place), new.get(place))


def _differ(old: Any, new: Any) -> bool:
    """NaN is NaN."""
    return bool(old != new) and not (old != old and new != new)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values of nested ones, each with its place: "rates › 3 › error"."""
    items = value.items() if isinstance(value, dict) else enumerate(value, 1)
    for key, item in items:
        where = f"{place} › {key}" if place else str(key)
        if isinstance(item, dict | list):
            yield from leaves(item, where)
        else:
            yield where, item


def pairs(before: Sequence[report.Run], after: Sequence[report.Run]) -> list[Pair]:
    """Studies by name, in the order of the first set.

    Raises ``ValueError`` where a set has a study twice: it is not known which of them is meant.
    """
    old, new = (_by_study(runs) for runs in (before, after))
    return [Pair(study, old.get(study), new.get(study)) for study in {**old, **new}]


def _by_study(runs: Sequence[report.Run]) -> dict[str, report.Run]:
    named: dict[str, report.Run] = {}
    for run in runs:
        if run.study in named:
            raise ValueError(
                f"{named[run.study].source} and {run.source} are both runs of {run.study}; give "
                "the one file of each that is to be compared"
            )
        named[run.study] = run
    return named


def summary(found: Sequence[Pair], title: str) -> dict[str, Any]:
    """The differences as plain data."""
    changes = [claim.change for pair in found for claim in pair.claims]
    return {
        "report": title,
        "date": report.now(),
        "claims": {change: changes.count(change) for change in CHANGES},
        "studies": {
            pair.study: {
                "claims": [
                    {"text": c.text, "change": c.change, **_sides(c)}
                    for c in pair.claims if c.change != "same"
                ],
                "settings": [vars(item) for item in pair.settings],
                "numbers": [vars(item) for item in pair.numbers],
            }
            for pair in found
        },
    }  # fmt: skip


def _sides(claim: ClaimPair) -> dict[str, Any]:
    return {
        name: None if side is None else side.as_dict()
        for name, side in (("before", claim.before), ("after", claim.after))
    }


def write(found: Sequence[Pair], out: Path, title: str) -> tuple[Path, Path]:
    """The page and its JSON, as ``report.write`` does, with the same errors."""
    template = report.templates().get_template("diff.html")
    html = template.render(title=title, pairs=found, summary=summary(found, title))
    return report.write_page(html, summary(found, title), out)
