"""Do the particles follow the equation, and does the solution keep what was proved of it?"""

from pdekit.comparison.compare import Comparison, compare
from pdekit.comparison.semiconcavity import (
    Semiconcavity,
    convex_intervals,
    is_convex,
    semiconcavity,
)

__all__ = [
    "Comparison",
    "Semiconcavity",
    "compare",
    "convex_intervals",
    "is_convex",
    "semiconcavity",
]
