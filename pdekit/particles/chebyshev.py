"""Sums of a smooth kernel over all pairs by interpolation on Chebyshev nodes."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, log2, pi
from typing import Any

import torch
from torch import Tensor

_NODES = (8, 12, 16, 20, 26, 32, 40, 50, 64, 80, 100, 128)
_LARGEST = {1: 128, 2: 40, 3: 12}  # nodes per axis: with more, summing over all pairs is cheaper
_PAIRS = 256  # pairs at which the interpolant is tested


def separable_sum(kernel: Callable[[Tensor], Tensor], x: Tensor, tolerance: float) -> Tensor:
    """N⁻¹ Σ_j k(x_i - x_j) for points ``(n, d)``, to ``tolerance`` times the largest |k|.

    k(x - y) = Σ_pq T_p(x) K_pq T_q(y), T the products of Chebyshev polynomials. K is found in
    double; the sums are in the type of x.
    """
    dim = x.shape[-1]
    if dim not in _LARGEST:
        raise ValueError(f"ChebyshevSum works in 1 to 3 dimensions, got {dim}; take ExactSum()")
    low, high = x.amin(dim=0), x.amax(dim=0)
    half = ((high - low) / 2).tolist()
    # rounded up to one of a few boxes, so that the table is reused in many steps
    flat, size = 1e-12 * max(half), max(half) or 1.0
    widths = tuple(2 ** (ceil(8 * log2(h if h > flat else size)) / 8) for h in half)
    nodes, table = _resolved(kernel, widths, tolerance, x.dtype, x.device)
    s = ((x - (low + high) / 2) / x.new_tensor(widths)).clamp(-1, 1)
    basis = [_polynomials(column, nodes) for column in s.unbind(dim=1)]
    fields = table @ (_moments(basis) / len(s))
    return _expand(basis, fields)


@lru_cache(maxsize=8)
def _resolved(
    kernel: Callable[[Tensor], Tensor], widths: tuple[float, ...], tolerance: float, *kind: Any
) -> tuple[int, Tensor]:
    """Nodes per axis for boxes of half-widths ``widths``; K, ``(d, m^d, m^d)``."""
    half = torch.tensor(widths, dtype=torch.float64, device=kind[1])
    nodes = _enough_nodes(kernel, half, tolerance)
    at_nodes, dim = kernel(_differences(half, nodes)).movedim(-1, 0), len(widths)
    table, to_powers = at_nodes.reshape(dim, *[nodes] * (2 * dim)), _coefficients(half, nodes)
    for axis in range(1, 2 * dim + 1):
        table = torch.tensordot(table, to_powers, dims=([axis], [1])).movedim(-1, axis)
    return nodes, table.reshape(dim, nodes**dim, -1).to(kind[0]).contiguous()


def _enough_nodes(kernel: Callable[[Tensor], Tensor], half: Tensor, tolerance: float) -> int:
    """Nodes per axis that reproduce the kernel at test pairs in the box."""
    dim = len(half)
    # a lattice with irrational steps, and the corners, where polynomials are worst
    steps = torch.arange(1, 2 * dim + 1, dtype=half.dtype, device=half.device).sqrt() * pi
    count = torch.arange(1, _PAIRS + 1, dtype=half.dtype, device=half.device)
    pairs = (count[:, None] * steps).remainder(1.0) * 2 - 1
    s, t = pairs[:, :dim], pairs[:, dim:]
    # a kernel much narrower than the box is seen at short displacements only, about its centre also
    # at those that are lost to rounding elsewhere
    close, centre = (s - t) * 10 ** -(7 * count / _PAIRS)[:, None], s * 10.0 ** -count[:, None]
    t = torch.cat([t, s - close, -centre])
    s = torch.cat([s, s, centre])
    exact = kernel((s - t) * half)
    limit = tolerance * exact.abs().max()
    for nodes in _NODES:
        if nodes > _LARGEST[dim]:
            break
        if bool((_between(kernel, s, t, half, nodes) - exact).abs().max() <= limit):
            return nodes
    raise ValueError(
        f"the kernel is not resolved to {tolerance:g} by {_LARGEST[dim]} Chebyshev nodes an axis "
        f"on a box of half-widths {half.tolist()}: take ExactSum(), or a larger tolerance"
    )


def _between(
    kernel: Callable[[Tensor], Tensor], s: Tensor, t: Tensor, half: Tensor, nodes: int
) -> Tensor:
    """The interpolant at pairs of points (s, t), axis by axis exact in the others.

    For a kernel of x - y the error in x + y of the tensor interpolant is at most the sum of those
    of its one-dimensional factors, each tested with the other coordinates at their true values.
    """
    dim = s.shape[-1]
    total = kernel((s - t) * half)
    result = total.clone()
    points = _nodes(nodes, s)
    for k in range(dim):
        z = ((s - t) * half)[:, None, None].repeat(1, nodes, nodes, 1)
        z[..., k] = (points[:, None] - points) * half[k]
        left, right = _lagrange(s[:, k], nodes), _lagrange(t[:, k], nodes)
        result = result + torch.einsum("pabk,pa,pb->pk", kernel(z), left, right) - total
    return result


def _nodes(count: int, like: Tensor) -> Tensor:
    angles = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (pi / count)
    return angles.cos()


def _differences(half: Tensor, nodes: int) -> Tensor:
    """Displacements between all nodes of the box, ``(m^d, m^d, d)``."""
    axes = [_nodes(nodes, half) * h for h in half]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(half))
    return points[:, None] - points


def _lagrange(s: Tensor, nodes: int) -> Tensor:
    """Lagrange polynomials of the nodes at ``s``, (n, m)."""
    return _polynomials(s, nodes).T @ _coefficients(s, nodes)


def _polynomials(s: Tensor, count: int) -> Tensor:
    """T_0, ..., T_{count - 1} at ``s``, (count, n)."""
    T = torch.empty(count, len(s), dtype=s.dtype, device=s.device)
    T[0], T[1] = 1.0, s
    twice = s * 2
    for q in range(2, count):
        torch.addcmul(-T[q - 2], T[q - 1], twice, out=T[q])
    return T


def _coefficients(like: Tensor, nodes: int) -> Tensor:
    """Of the Lagrange polynomials, (T_q, node a): 2 T_q(ξ_a) / m, half of it for T_0."""
    q = torch.arange(nodes, dtype=like.dtype, device=like.device)
    at_nodes = torch.cos(q[:, None] * ((q + 0.5) * (pi / nodes)))
    at_nodes[0] /= 2
    return at_nodes * (2 / nodes)


def _moments(basis: list[Tensor]) -> Tensor:
    """Σ_j Π_k T_{p_k}(y_jk), flattened over p."""
    if len(basis) == 1:
        return basis[0].sum(dim=1)
    if len(basis) == 2:
        return (basis[0] @ basis[1].T).reshape(-1)
    pair = (basis[1][:, None] * basis[2]).reshape(-1, basis[0].shape[1])
    return (basis[0] @ pair.T).reshape(-1)


def _expand(basis: list[Tensor], fields: Tensor) -> Tensor:
    """Σ_p Π_k T_{p_k}(x_ik) fields[:, p], ``(n, d)``."""
    m, n = basis[0].shape
    columns = []
    for field in fields:
        first = field.reshape(m, -1).T @ basis[0]
        for b in basis[1:]:
            first = (first.reshape(m, -1, n) * b[:, None]).sum(dim=0)
        columns.append(first.reshape(n))
    return torch.stack(columns, dim=-1)
