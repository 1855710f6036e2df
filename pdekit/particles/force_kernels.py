"""The CPU kernels of `pdekit.particles.forces`."""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_LANES, _BLOCK = 8, 4096  # sums that run side by side; particles added before the sum is put away


@_compiled
def sums(x, size, out):
    """``out[r]``: sum over the first ``size`` particles of row ``r``, x ``(runs, n * dim)``.

    The order depends on ``size`` and dim alone; blocks keep the error of long sums small.
    """
    dim = out.shape[1]
    width = _LANES * dim
    lanes = np.empty(width)
    for r in range(x.shape[0]):
        out[r] = 0.0
        for first in range(0, size, _BLOCK):
            row = x[r, first * dim : min(first + _BLOCK, size) * dim]
            lanes[:] = 0.0
            whole = row.size // width * width
            for i in range(0, whole, width):
                for j in range(width):
                    lanes[j] += row[i + j]
            for j in range(row.size - whole):
                lanes[j] += row[whole + j]
            for j in range(width):
                out[r, j % dim] += lanes[j]
