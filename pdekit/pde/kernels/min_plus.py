"""Min-plus convolution of a sampled line with a convex function: Hopf-Lax beyond parabolas."""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.pde.kernels.envelope import find_doubts, kink_by


@nb.njit(cache=True, error_model="numpy")
def minimisers(f, cost, best):  # type: ignore[no-untyped-def]
    """For every i the least j that minimises f_j + cost_{i - j + n - 1}, of each line f.

    In O(n log n), as for convex ``cost`` the minimisers are monotone: rows 2^k apart come first;
    those of rows in between lie between theirs. The cost may be infinite beyond some distance.
    """
    lines, n = f.shape
    reach = 0
    while reach < n - 1 and cost[n - 1 + reach + 1] < np.inf:
        reach += 1
    back = 0
    while back < n - 1 and cost[n - 1 - back - 1] < np.inf:
        back += 1
    stride = 1
    while stride < n:
        stride *= 2
    for line in range(lines):
        step = stride
        while step >= 1:
            for i in range(step - 1, n, 2 * step):
                low = best[line, i - step] if i - step >= 0 else 0
                high = best[line, i + step] if i + step < n else n - 1
                low, high = max(low, i - reach), min(high, i + back)
                least, where = np.inf, low
                for j in range(low, high + 1):
                    value = f[line, j] + cost[i - j + n - 1]
                    if value < least:
                        least, where = value, j
                best[line, i] = where
            step //= 2


@nb.njit(cache=True, error_model="numpy")
def doubts(f):  # type: ignore[no-untyped-def]
    """Nodes of every line where a parabola does not fit, and the node of their kink, or -1."""
    doubt, kink = np.zeros(f.shape, np.bool_), np.full(f.shape, -1)
    second = np.zeros(f.shape[1])
    for line in range(f.shape[0]):
        find_doubts(f[line], second, doubt[line])
        for j in range(f.shape[1]):
            if doubt[line, j]:
                kink[line, j] = kink_by(second, j)
    return doubt, kink
