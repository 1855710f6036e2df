"""Estimate: a number with the ends of its confidence interval."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its confidence interval."""

    value: float
    lower: float
    upper: float

    def __contains__(self, number: float) -> bool:
        return self.covers(number)

    def covers(self, number: float, slack: float = 0.0) -> bool:
        """Whether the interval, widened by ``slack``, contains the number."""
        return bool(self.lower - slack <= number <= self.upper + slack)

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]"
