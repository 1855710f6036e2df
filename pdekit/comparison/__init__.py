"""Do the particles follow the equation, and does the solution keep what was proved of it?"""

from pdekit.comparison.compare import Comparison, compare
from pdekit.comparison.improvement import Estimate, SampledImprovement, improvement
from pdekit.comparison.semiconcavity import (
    Semiconcavity,
    convex_intervals,
    is_convex,
    semiconcavity,
)

__all__ = [
    "Comparison",
    "Estimate",
    "SampledImprovement",
    "Semiconcavity",
    "compare",
    "convex_intervals",
    "improvement",
    "is_convex",
    "semiconcavity",
]
