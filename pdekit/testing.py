"""Assertions for anybody's tests: do these samples follow this equation?"""

from typing import Any

from pdekit.comparison.compare import compare
from pdekit.comparison.verdict import Comparison

__all__ = ["assert_follows"]


def assert_follows(
    samples: Any, solution: Any, level: float = 0.01, t: Any = None, weights: Any = None
) -> Comparison:
    """``AssertionError`` unless the samples could have been drawn from the solution's density.

    ``samples``, ``t``, ``weights`` as ``pk.compare`` takes them: an ``Ensemble``, or an array,
    tensor or DataArray of positions, (n, d) at one time or (times, n, d) at several, of any
    package. Right samples fail with the probability ``level``, at most: with fixed seeds a test
    does so always or never. The message is the comparison with, in its last line, what would
    explain the samples: a factor of the temperature, of the drift or of the clock, or the step.

    >>> pk.testing.assert_follows(x, pk.solve(pk.FokkerPlanck(V, beta), grid, start, t=2.0), t=2.0)

    Returns the comparison. Source and statistics: ``pk.compare``. Good values: 1e4 samples or more.
    """
    found = compare(solution, samples, t=t, weights=weights)
    if not found.consistent(level):
        raise AssertionError(
            f"the samples do not follow the solution: p-value {found.p_value:.2g} < {level:g}\n"
            f"{found}"
        )
    return found
