"""Comparison of particles with densities, and certificates of proved properties."""

from pdekit.comparison.area_rate import AreaRates, area_rate
from pdekit.comparison.compare import compare
from pdekit.comparison.convergence import Convergence, convergence
from pdekit.comparison.estimate import Estimate
from pdekit.comparison.improvement import SampledImprovement, improvement
from pdekit.comparison.metrics import (
    EVERY,
    KL,
    L1,
    W1,
    W2,
    ChiSquare,
    Energy,
    KolmogorovSmirnov,
    Moments,
    SlicedW2,
)
from pdekit.comparison.passages import Passages, compare_passages
from pdekit.comparison.semiconcavity import (
    Semiconcavity,
    convex_intervals,
    is_convex,
    semiconcavity,
)
from pdekit.comparison.verdict import Comparison

__all__ = [
    "EVERY",
    "KL",
    "L1",
    "W1",
    "W2",
    "AreaRates",
    "ChiSquare",
    "Comparison",
    "Convergence",
    "Energy",
    "Estimate",
    "KolmogorovSmirnov",
    "Moments",
    "Passages",
    "SampledImprovement",
    "Semiconcavity",
    "SlicedW2",
    "area_rate",
    "compare",
    "compare_passages",
    "convergence",
    "convex_intervals",
    "improvement",
    "is_convex",
    "semiconcavity",
]
