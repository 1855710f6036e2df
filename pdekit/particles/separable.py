"""Sums of a smooth kernel over all pairs by interpolation on Chebyshev nodes."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, log2, pi
from typing import Any

import torch
from torch import Tensor

_NODES = (8, 12, 16, 20, 26, 32, 40, 50, 64, 80, 100, 128)
_LARGEST = {1: 128, 2: 40, 3: 12}  # nodes per axis: beyond, all pairs cost no more
_PAIRS = 256  # pairs at which the interpolant is tested


def separable_sum(kernel: Callable[[Tensor], Tensor], x: Tensor, tolerance: float) -> Tensor:
    """N⁻¹ Σ_j k(x_i - x_j) for points ``(n, d)``, to ``tolerance`` times the largest |k|.

    k(x - y) = Σ_ab P_a(x) k(ξ_a - ξ_b) P_b(y), P the Lagrange polynomials of the nodes ξ.
    """
    dim = x.shape[-1]
    if dim not in _LARGEST:
        raise ValueError(f"ChebyshevSum works in 1 to 3 dimensions, got {dim}; take ExactSum()")
    low, high = x.amin(dim=0), x.amax(dim=0)
    half = ((high - low) / 2).tolist()
    # a little larger box, one of few, so that its table serves many steps
    widths = tuple(2 ** (ceil(8 * log2(h)) / 8) if h > 1e-12 else 1.0 for h in half)
    nodes, table = _resolved(kernel, widths, tolerance, x.dtype, x.device)
    s = ((x - (low + high) / 2) / x.new_tensor(widths)).clamp(-1, 1)
    basis = [_lagrange(column, nodes) for column in s.unbind(dim=1)]
    fields = torch.einsum("abk,b->ak", table, _moments(basis) / len(s))
    return _expand(basis, fields)


@lru_cache(maxsize=8)
def _resolved(
    kernel: Callable[[Tensor], Tensor], widths: tuple[float, ...], tolerance: float, *kind: Any
) -> tuple[int, Tensor]:
    """Nodes per axis for boxes of half-widths ``widths``; the kernel between them all."""
    half = torch.tensor(widths, dtype=kind[0], device=kind[1])
    nodes = _enough_nodes(kernel, half, tolerance)
    return nodes, kernel(_differences(half, nodes))


def _enough_nodes(kernel: Callable[[Tensor], Tensor], half: Tensor, tolerance: float) -> int:
    """Nodes per axis that reproduce the kernel at pairs spread over the box."""
    dim = len(half)
    # a lattice of irrational steps, and corners, where a polynomial is worst
    steps = torch.arange(1, 2 * dim + 1, dtype=half.dtype, device=half.device).sqrt() * pi
    count = torch.arange(1, _PAIRS + 1, dtype=half.dtype, device=half.device)
    pairs = (count[:, None] * steps).remainder(1.0) * 2 - 1
    s, t = pairs[:, :dim], pairs[:, dim:]
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
    """Lagrange polynomials of the nodes at ``s``: (1 + 2 Σ_q T_q(s) T_q(ξ_a)) / m, (n, m)."""
    T = torch.empty(nodes, len(s), dtype=s.dtype, device=s.device)
    T[0], T[1] = 1.0, s
    for q in range(2, nodes):
        torch.mul(T[q - 1], s, out=T[q]).mul_(2).sub_(T[q - 2])
    angles = torch.arange(nodes, dtype=s.dtype, device=s.device)
    at_nodes = torch.cos(angles[:, None] * ((angles + 0.5) * (pi / nodes)))  # T_q(ξ_a)
    at_nodes[0] /= 2
    return T.T @ (at_nodes * (2 / nodes))


def _moments(basis: list[Tensor]) -> Tensor:
    """Σ_j Π_k P_{a_k}(y_jk), flattened over the nodes of the box."""
    if len(basis) == 1:
        return basis[0].sum(dim=0)
    if len(basis) == 2:
        return (basis[0].T @ basis[1]).reshape(-1)
    n = len(basis[0])
    pair = (basis[1][:, :, None] * basis[2][:, None]).reshape(n, -1)
    return (basis[0].T @ pair).reshape(-1)


def _expand(basis: list[Tensor], fields: Tensor) -> Tensor:
    """Σ_a Π_k P_{a_k}(x_ik) fields[a], ``(n, d)``."""
    n, m = basis[0].shape
    dim = len(basis)
    columns = []
    for k in range(dim):
        first = basis[0] @ fields[:, k].reshape(m, -1)
        for b in basis[1:]:
            first = (first.reshape(n, m, -1) * b[:, :, None]).sum(dim=1)
        columns.append(first.reshape(n))
    return torch.stack(columns, dim=-1)
