"""Claims: what was measured, the bound it must meet, and whether it holds.

A study asserts them; a certificate is one that is proved. One class serves both.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """A proved property, or the claim of a study: what was measured, and its bound.

    ``relation`` ("<=" or ">=") stands between ``value`` and ``bound``; ``margin`` is the distance
    to the bound, negative where it is broken. ``allowance`` is the error that the grid, the time
    step or the sample may cause: ``passed`` tells whether margin + allowance >= 0; a NaN never
    passes. It is None where a hypothesis fails: then nothing was tested, and ``note`` gives the
    reason. ``where`` is the time and place of the worst value. Studies and their records call name,
    value and passed ``text``, ``measured`` and ``holds``. They are made by ``at_most`` and
    ``at_least``.
    """

    name: str
    value: float
    bound: float
    relation: str = "<="
    allowance: float = 0.0
    where: str = ""
    note: str = ""
    applies: bool = True

    @property
    def margin(self) -> float:
        return self.bound - self.value if self.relation == "<=" else self.value - self.bound

    @property
    def limit(self) -> float:
        """The bound and what is allowed beyond it."""
        return self.bound + (self.allowance if self.relation == "<=" else -self.allowance)

    @property
    def passed(self) -> bool | None:
        if not self.applies:
            return None
        within = self.value <= self.limit if self.relation == "<=" else self.value >= self.limit
        return not isnan(self.value) and within

    @property
    def text(self) -> str:
        return self.name

    @property
    def measured(self) -> float:
        return self.value

    @property
    def holds(self) -> bool:
        """Whether it was tested and passed."""
        return bool(self.passed)

    def __str__(self) -> str:
        if not self.applies:
            return f"[does not apply] {self.name}: {self.note}"
        verdict = "holds" if self.holds else "FAILS"
        line = f"[{verdict}] {self.name}: {self.value:.6g} {self.relation} {self.limit:.6g}"
        more = ", ".join(part for part in (self.where, self.note) if part)
        return f"{line} ({more})" if more else line

    def as_dict(self) -> dict[str, Any]:
        """The record of it, with the allowance in the bound."""
        return {
            "text": self.name,
            "measured": self.value,
            "relation": self.relation,
            "bound": self.limit,
            "holds": self.holds,
        }


Claim = Certificate  # what a study calls it


def at_most(
    name: str, value: Any, bound: Any, allowance: float = 0.0, where: str = "", note: str = ""
) -> Claim:
    """The claim value <= bound + allowance."""
    return Certificate(name, float(value), float(bound), "<=", float(allowance), where, note)


def at_least(
    name: str, value: Any, bound: Any, allowance: float = 0.0, where: str = "", note: str = ""
) -> Claim:
    """The claim value >= bound - allowance."""
    return Certificate(name, float(value), float(bound), ">=", float(allowance), where, note)


def does_not_apply(name: str, reason: str) -> Claim:
    """A property whose hypotheses fail: neither passed nor failed."""
    return Certificate(name, nan, nan, note=reason, applies=False)


def certified(certificates: Iterable[Claim]) -> list[Claim]:
    """Certificates as claims of a study.

    One whose hypotheses fail measured nothing: it does not hold. Pass ``.applicable`` of
    the result of ``pk.certify`` to leave these out.
    """
    return list(certificates)


def all_hold(claims: Iterable[Claim]) -> bool:
    """Whether there is at least one claim and every one holds."""
    verdicts = [claim.holds for claim in claims]
    return bool(verdicts) and all(verdicts)
