"""Sums over cells with a kernel of displacements, W * rho, by FFT.

Zero-padded where an axis has walls, wrapped where it is periodic: the kernel is then read at the
displacement of least length.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid


def displacements(grid: Grid) -> tuple[list[NDArray[np.int64]], Array]:
    """Those of a circular convolution: in cells along each axis, and as points.

    Entry k along an axis is the displacement of k cells, from half the length on that of k minus
    the length. A wall takes at least 2 n - 1 entries, a periodic axis exactly n.
    """
    from scipy.fft import next_fast_len

    lengths = tuple(
        n if periodic else next_fast_len(2 * n - 1, real=True)
        for n, periodic in zip(grid.cells, grid.periodic, strict=True)
    )
    steps = [(np.arange(p) + p // 2) % p - p // 2 for p in lengths]
    apart = np.meshgrid(*(s * h for s, h in zip(steps, grid.spacing, strict=True)), indexing="ij")
    return steps, np.stack(apart, axis=-1)


def opposite(kernel: Array) -> Array:
    """The kernel at the opposite displacements."""
    out: Array = kernel[np.ix_(*[-np.arange(p) % p for p in kernel.shape])]
    return out


def convolution(kernel: Array, grid: Grid) -> Callable[[Array], Array]:
    """rho -> ∫ W(x - y) rho(y) dy for fields ``(..., *grid.shape)``, in O(N log N).

    ``kernel``: the values of W at the ``displacements``.
    """
    from scipy.fft import fft, ifft, irfft, rfft, rfftn

    transform = rfftn(kernel)
    if np.array_equal(kernel, opposite(kernel)):  # an even kernel has a real transform
        transform = transform.real
    transform = transform * grid.cell_volume
    n, last = grid.cells, kernel.shape[-1]

    def apply(rho: Array) -> Array:
        spectrum = rfft(rho, last, axis=-1)
        if grid.dim == 2:  # zero lines and discarded lines are not transformed
            spectrum = fft(spectrum, len(kernel), axis=-2, overwrite_x=True)
            spectrum *= transform
            spectrum = ifft(spectrum, axis=-2, overwrite_x=True)[..., : n[0], :]
        else:
            spectrum *= transform
        out: Array = irfft(spectrum, last, axis=-1)[..., : n[-1]]
        return out

    return apply
