"""Do the particles follow the equation, and does the solution keep what was proved of it?"""

from pdekit.compare.comparison import Comparison, compare
from pdekit.compare.semiconcavity import (
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
