"""Checked sentences: what a study asserts, with the number measured and the bound it must meet."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A sentence, the measured number, its bound, and whether it holds.

    Build it with ``at_most`` or ``at_least``: a NaN measurement never holds.
    """

    text: str
    measured: float
    relation: str
    bound: float
    holds: bool

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        return f"[{verdict}] {self.text}: {self.measured:.6g} {self.relation} {self.bound:.6g}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def at_most(text: str, measured: Any, bound: Any) -> Claim:
    """The claim measured <= bound."""
    value, limit = float(measured), float(bound)
    return Claim(text, value, "<=", limit, not isnan(value) and value <= limit)


def at_least(text: str, measured: Any, bound: Any) -> Claim:
    """The claim measured >= bound."""
    value, limit = float(measured), float(bound)
    return Claim(text, value, ">=", limit, not isnan(value) and value >= limit)


def certified(certificates: Iterable[Any]) -> list[Claim]:
    """A claim for each certificate, its allowance added to the bound.

    One whose hypotheses fail measured nothing: its claim does not hold. Pass ``.applicable`` of
    what ``pk.certify`` returned to leave these out.
    """
    claims = []
    for c in certificates:
        if c.relation == "<=":
            claims.append(at_most(c.name, c.value, c.bound + c.allowance))
        else:
            claims.append(at_least(c.name, c.value, c.bound - c.allowance))
    return claims


def all_hold(claims: Iterable[Claim]) -> bool:
    """Whether there is at least one claim and every one holds."""
    verdicts = [claim.holds for claim in claims]
    return bool(verdicts) and all(verdicts)
