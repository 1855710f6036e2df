"""Selling's decomposition of 2x2 tensors: the nonnegative stencils of anisotropic diffusion."""

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array

_LONGEST = 1000  # maximal reach of an offset in cells: an anisotropy of about a million


def selling(tensors: Array) -> tuple[NDArray[np.int64], Array]:
    """Offsets e_k and weights w_k >= 0 with D = Σ_k w_k e_k e_kᵀ, three of them per tensor.

    Then Σ_k w_k (φ(x + e_k) - 2 φ(x) + φ(x - e_k)) is a consistent difference form of D : ∇²φ on
    the unit lattice with no negative weight, whatever the anisotropy. Selling's algorithm: a
    superbase b_0 + b_1 + b_2 = 0 of Z² is flipped while two of its vectors form an acute angle
    of the metric D; then w_k = -<b_i, D b_j> and e_k = b_k turned by a right angle. Offsets are
    as short as possible; their length grows like the square root of the anisotropy.

    Parameters: ``tensors`` (..., 2, 2), symmetric, positive semidefinite. Returns (..., 3, 2) and
    (..., 3). Raises ``ValueError`` for a tensor without such a stencil of moderate length: (nearly)
    degenerate along a direction that is not one of the lattice's.
    Source: Selling, Crelle 77 (1874); Fehrenbach and Mirebeau, J. Math. Imaging Vision 49 (2014).
    """
    flat = tensors.reshape(-1, 2, 2)
    base = np.tile(np.array([[1, 0], [0, 1], [-1, -1]]), (len(flat), 1, 1))
    scale = np.trace(flat, axis1=1, axis2=2)
    todo = np.arange(len(flat))
    while todo.size:
        products = _products(base[todo], flat[todo])
        worst = products.argmax(1)
        acute = products[np.arange(len(todo)), worst] > 1e-14 * scale[todo]
        todo, k = todo[acute], worst[acute]
        base[todo] = _flipped(base[todo], k)
        _check_length(base, flat, todo)
    weights = np.maximum(-_products(base, flat), 0.0)
    offsets = np.stack([-base[..., 1], base[..., 0]], -1)
    shape = tensors.shape[:-2]
    return offsets.reshape(*shape, 3, 2), weights.reshape(*shape, 3)


def _check_length(base: NDArray[np.int64], flat: Array, todo: NDArray[np.int64]) -> None:
    long = todo[np.abs(base[todo]).max((1, 2)) > _LONGEST]
    if long.size:
        raise ValueError(
            f"the diffusion tensor {flat[long[0]].tolist()} (in units of the cells) is degenerate "
            "along a direction that is not one of the grid's: no stencil of moderate length is "
            "monotone for it; add a little isotropic diffusion, or turn the coordinates"
        )


def _products(base: NDArray[np.int64], tensors: Array) -> Array:
    """<b_i, D b_j> for the pair that leaves out k, in place k."""
    image = np.einsum("nij,nkj->nki", tensors, base)
    out: Array = np.stack(
        [np.einsum("ni,ni->n", base[:, (k + 1) % 3], image[:, (k + 2) % 3]) for k in range(3)], -1
    )
    return out


def _flipped(base: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.int64]:
    """The superbase (b_i - b_j, b_j, -b_i) for the acute pair (i, j) that leaves out k."""
    rows = np.arange(len(base))
    bi, bj = base[rows, (k + 1) % 3], base[rows, (k + 2) % 3]
    return np.stack([bi - bj, bj, -bi], 1)
