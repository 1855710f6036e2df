"""What oblique edges cannot show of the diffusion beside a wall that reflects.

An edge e of weight w that reaches over k layers of cells towards the wall cannot leave through it,
so that the edges within the box cover fewer layers than there are up to the wall. For a field of
slope 1 along the wall, nothing leaving, the energy of diffusion is D_tt - D_nt²/D_nn a layer; that
of the edges is the minimum over the values φ_r of the layers r of

    Σ_e w Σ_r (e_t + φ_{r+k} - φ_r)²,

which is less. The difference, a half for each of two walls, is given as weight to the edge along
the wall in the last layer: >= 0, and the scheme is then of second order there, without it of first.
"""

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.walls import End

_DEEP = 4  # layers, in units of the longest reach, after which a wall is not felt
_LONGEST = 16  # reach for which that is solved; for longer edges φ is taken as linear
_SMALL = 1e-13  # relative: layers that no edge connects


def weights_along_walls(
    grid: Grid,
    walls: tuple[tuple[End, End], ...],
    tensor: Array,
    offsets: NDArray[np.int64],
    weights: Array,
) -> Array:
    """What is added to the weights of the edges along the axes, (axis, *shape).

    ``tensor`` in units of cells, D = Σ w e eᵀ for its ``offsets`` and ``weights``.
    """
    added = np.zeros((grid.dim, *grid.shape))
    for n, ends in enumerate(walls):
        t = 1 - n
        for cell, end in zip((0, -1), ends, strict=True):
            if grid.periodic[n] or end.rate != 0:
                continue
            d, e, w = (np.moveaxis(field, n, 0)[cell] for field in (tensor, offsets, weights))
            lacking = _lacking(d[..., [t, n], :][..., [t, n]], e[..., [t, n]], w, grid.cells[n])
            np.moveaxis(added[t], n, 0)[cell] += lacking
    return added


def _lacking(tensor: Array, offsets: NDArray[np.int64], weights: Array, layers: int) -> Array:
    """What the edges lack at one wall, per cell along it; coordinates along and across the wall."""
    offsets = np.where(offsets[..., 1:] < 0, -offsets, offsets)
    if not (offsets[..., 0] * offsets[..., 1] * weights).any():
        return np.zeros(len(weights))
    out = _if_linear(tensor, offsets, weights, layers)
    triples, which = np.unique(offsets.reshape(-1, 6), axis=0, return_inverse=True)
    for k, edges in enumerate(triples.reshape(-1, 3, 2)):
        longest = edges[:, 1].max()
        if 1 < longest <= _LONGEST:
            here = which.ravel() == k
            cases = np.concatenate([tensor[here].reshape(-1, 4), weights[here]], -1)
            distinct, back = np.unique(cases, axis=0, return_inverse=True)
            depth = min(int(_DEEP * longest), layers)
            lacking = _solved(distinct[:, :4].reshape(-1, 2, 2), edges, distinct[:, 4:], depth)
            out[here] = lacking[back.ravel()]
    return out


def _if_linear(tensor: Array, offsets: NDArray[np.int64], weights: Array, layers: int) -> Array:
    """The same, of φ with the slope -D_nt / D_nn throughout: exact where no edge reaches beyond
    the next layer.
    """
    across = tensor[..., 1, 1]
    lean = np.divide(tensor[..., 0, 1], across, out=np.zeros_like(across), where=across > 0)
    slopes = offsets[..., 0] - offsets[..., 1] * lean[..., None]
    out: Array = (np.minimum(offsets[..., 1], layers) / 2 * weights * slopes**2).sum(-1)
    return out


def _solved(tensor: Array, edges: NDArray[np.int64], weights: Array, depth: int) -> Array:
    """The same, of the φ of least energy in so many layers between two walls."""
    energy, force = np.zeros(len(weights)), np.zeros((len(weights), depth))
    matrix = np.zeros((len(weights), depth, depth))
    for (along, reach), w in zip(edges, weights.T, strict=True):
        low, high = np.arange(depth - reach), np.arange(min(reach, depth), depth)
        energy += w * along**2 * len(low)
        if reach > 0:
            w = w[:, None]
            matrix[:, low, low] += w
            matrix[:, high, high] += w
            matrix[:, low, high] -= w
            matrix[:, high, low] -= w
            force[:, high] += w * along
            force[:, low] -= w * along
    size = _SMALL * np.trace(matrix, axis1=1, axis2=2)
    size = np.where(size > 0, size, 1.0)  # boxes of fewer layers than any edge reaches over
    relaxed = np.linalg.solve(matrix + size[:, None, None] * np.eye(depth), force[..., None])
    energy -= (force * relaxed[..., 0]).sum(-1)
    d_tt, d_nt, d_nn = tensor[:, 0, 0], tensor[:, 0, 1], tensor[:, 1, 1]
    full = d_tt - np.divide(d_nt**2, d_nn, out=np.zeros_like(d_nn), where=d_nn > 0)
    out: Array = np.maximum(full * depth - energy, 0.0) / 2
    return out
