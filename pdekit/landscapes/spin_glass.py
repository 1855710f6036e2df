"""The spherical p-spin Hamiltonian: energy, gradient, Hessian, for many starts and disorders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb, prod, sqrt

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.particles.noise import INITIAL_NORMAL, Address, fill_normals

_LARGEST = 1 << 30  # numbers in the table of the gradient: 8 GiB
_PIECE = 1 << 22  # numbers per batch of monomials
_COUPLINGS, _FIELD, _STARTS = 0, 1, 2  # runs of the noise of one disorder


@dataclass(frozen=True)
class SphericalSpinGlass:
    """H(σ) = N^(-(p-1)/2) Σ J_{i1...ip} σ_i1 ... σ_ip + Σ h_i σ_i on the sphere |σ|² = N.

    J are independent standard normals and h_i normals of standard deviation ``field``, v: H is
    a Gaussian field with mean zero and covariance N (q^p + v² q), q = σ·σ'/N. Mathematics 1.12;
    thesis (2.4), (2.14), (2.32).

    Parameters
    ----------
    p : 2 to 5 spins that interact
    n : N >= 2 spins
    field : v >= 0
    seed : of the disorder; a sequence of D seeds gives D disorders, and the points ``(D, ..., N)``
        of every method have the disorder first
    dtype : torch.float64, or float32 for speed; points are converted, and have to be on the CPU

    The couplings of equal products are summed in advance: the gradient of one point takes
    N C(N+p-2, p-1) products, as many as there are numbers in its table (32 million for p = 3,
    N = 400). Raises ``ValueError`` for numbers out of range, or where the table has more than
    2^30 numbers.
    """

    p: int
    n: int
    field: float = 0.0
    seed: int | Sequence[int] = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        p, n = checks.whole("p", self.p, 2), checks.whole("n", self.n, 2)
        if p > 5:
            raise ValueError(f"p must be 2, 3, 4 or 5, got {p}")
        if self.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float64 or torch.float32, got {self.dtype!r}")
        field = checks.number("field", self.field)
        if field < 0:
            raise ValueError(f"field must be >= 0, got {field}")
        if isinstance(self.seed, str | bytes):
            raise TypeError(f"seed must be a whole number or several, got {self.seed!r}")
        seeds = self.seed if isinstance(self.seed, Sequence) else [self.seed]
        for seed in seeds:
            Address(checks.whole("seed", seed, 0))
        if not seeds:
            raise ValueError("seed must be a whole number or at least one of them, got none")
        size = len(seeds) * n * comb(n + p - 2, p - 1)
        if size > _LARGEST:
            raise ValueError(
                f"p = {p}, n = {n} and {len(seeds)} disorders need a table of {size:.2g} numbers, "
                f"more than {_LARGEST:.2g}; take fewer spins, or the disorders one by one"
            )
        object.__setattr__(self, "field", float(field))
        object.__setattr__(
            self, "seed", tuple(seeds) if isinstance(self.seed, Sequence) else self.seed
        )

    @property
    def disorders(self) -> tuple[int, ...]:
        """The shape in front of points: () or (D,)."""
        return (len(self.seed),) if isinstance(self.seed, Sequence) else ()

    @property
    def _seeds(self) -> Sequence[int]:
        return self.seed if isinstance(self.seed, Sequence) else (self.seed,)

    def parted(self) -> list[SphericalSpinGlass]:
        """The disorders one by one."""
        return [replace(self, seed=seed) for seed in self._seeds] if self.disorders else [self]

    # --- on the sphere ----------------------------------------------------------------------------

    def starts(self, count: int) -> Tensor:
        """``count`` points uniform on the sphere, ``(..., count, N)``; others for every disorder.

        A function of the seed: the first of more points are the same.
        """
        return self.retract(self._normals(_STARTS, checks.whole("count", count, 1) * self.n))

    def retract(self, x: Tensor) -> Tensor:
        """√N x/|x|; nan for 0, which has no nearest point."""
        self._require_points(x)
        out: Tensor = x * (sqrt(self.n) / x.norm(dim=-1, keepdim=True))
        return out

    def project(self, points: Tensor, vectors: Tensor) -> Tensor:
        """(1 - σσᵀ/N) of the vectors: their part along the sphere."""
        self._require_points(points, vectors)
        return vectors - points * ((points * vectors).sum(-1, keepdim=True) / self.n)

    # --- the Hamiltonian and its derivatives ------------------------------------------------------

    def energy(self, points: Tensor, field: float = 1.0) -> Tensor:
        """H(σ), ``(..., N) -> (...)``; ``field`` multiplies h."""
        x = self.rows(points)
        pure = (x * self._slope(x)).sum(-1) / self.p
        tilt = checks.number("field", field) * (x * self.h).sum(-1)
        return (pure + tilt).reshape(points.shape[:-1])

    def grad(self, points: Tensor, field: float = 1.0) -> Tensor:
        """∇H(σ) in R^N, ``(..., N) -> (..., N)``; ``project`` gives that along the sphere."""
        x = self.rows(points)
        return (self._slope(x) + checks.number("field", field) * self.h).reshape(points.shape)

    def hessian(self, points: Tensor) -> Tensor:
        """∇²H(σ) in R^N, ``(..., N) -> (..., N, N)``; h has no part in it."""
        x = self.rows(points)
        packed = self._monomials(x, self.p - 2) @ self._pair_table.mT
        i, j = self._pairs
        full = packed.new_empty(*packed.shape[:-1], self.n, self.n)
        full[..., i, j] = packed
        full[..., j, i] = packed
        return full.reshape(*points.shape, self.n)

    def tangent_hessian(self, points: Tensor, field: float = 1.0) -> Tensor:
        """The Hessian along the sphere, P ∇²H P - (σ·∇H/N) P, as an N x N matrix; 0 along σ."""
        points = self.rows(points).reshape(points.shape)
        x = points[..., None] / sqrt(self.n)
        pressure = (points * self.grad(points, field)).sum(-1)[..., None, None] / self.n
        full = self.hessian(points)
        across = full @ x
        full = full - across @ x.mT - x @ across.mT + (x.mT @ across) * (x @ x.mT)
        return full - pressure * (torch.eye(self.n, dtype=self.dtype) - x @ x.mT)

    def curvatures(self, points: Tensor, field: float = 1.0) -> Tensor:
        """The N - 1 eigenvalues of the Hessian along the sphere, increasing."""
        along = self.rows(points).reshape(points.shape)[..., None] / sqrt(self.n)
        matrix = self.tangent_hessian(points, field)
        above = 1 + 2 * matrix.norm(dim=(-2, -1), keepdim=True)  # σ gets the largest eigenvalue
        values: Tensor = torch.linalg.eigvalsh(matrix + above * (along @ along.mT))
        return values[..., :-1]

    # --- tables -----------------------------------------------------------------------------------

    @cached_property
    def h(self) -> Tensor:
        """The field, ``(..., 1, N)``."""
        h: Tensor = self.field * self._normals(_FIELD, self.n)
        return h

    @cached_property
    def _couplings(self) -> Tensor:
        """Of each product of p spins: Σ J over its orders, times N^(-(p-1)/2); (D, products)."""
        count = comb(self.n + self.p - 1, self.p)
        drawn = [self._drawn(seed, _COUPLINGS, count) for seed in self._seeds]
        scaled: Tensor = torch.stack(drawn) * self.n ** (-(self.p - 1) / 2)
        return scaled

    @cached_property
    def _slope_table(self) -> Tensor:
        """∂H/∂σ_i = Σ_m table[i, m] (product m of p - 1 spins)."""
        return self._table(torch.arange(self.n)[:, None])

    @cached_property
    def _pair_table(self) -> Tensor:
        """∂²H/∂σ_i∂σ_j for i <= j, by products of p - 2 spins."""
        return self._table(torch.stack(self._pairs, 1))

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        i, j = torch.triu_indices(self.n, self.n)
        return i, j

    def _table(self, taken: Tensor) -> Tensor:
        """The derivative along the spins of each row of ``taken``, by the products of the others.

        The product α = m + e_i has √(p!/α!) times one normal (the sum of J over its orders), and
        ∂σ^α = α_i σ^m.
        """
        from pdekit.landscapes.coupling_kernels import fill_table

        others = self._products(self.p - taken.shape[1])
        couplings = self._couplings
        table = couplings.new_empty(len(couplings), len(taken), len(others))
        binomials = np.array(
            [[comb(a, k) for k in range(self.p + 1)] for a in range(self.n + self.p)]
        )
        for out, drawn in zip(table, couplings, strict=True):
            fill_table(out.numpy(), taken.numpy(), others.numpy(), drawn.numpy(), binomials)
        return table if self.disorders else table[0]

    def _products(self, order: int) -> Tensor:
        """The spins of each product of this order, increasing, ``(products, order)``."""
        return _products(self.n, order)

    def _slope(self, x: Tensor) -> Tensor:
        """∇ of the part without field, in pieces of starts whose products fit a cache."""
        table = self._slope_table
        piece = max(1, _PIECE // table.shape[-1])
        parts = [self._monomials(y, self.p - 1) @ table.mT for y in x.split(piece, dim=-2)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)

    def _monomials(self, x: Tensor, order: int) -> Tensor:
        spins = self._products(order)
        out: Tensor = x.new_ones(*x.shape[:-1], len(spins))
        for k in range(order):
            out *= x[..., spins[:, k]]
        return out

    def rows(self, points: Tensor) -> Tensor:
        """Points as ``(starts, N)``, with the disorder in front where there are several."""
        front = self.disorders
        self._require_points(points)
        if points.shape[: len(front)] != front:
            shape = ", ".join(map(str, (*front, "...", self.n)))
            raise ValueError(f"points must have shape ({shape}), got {tuple(points.shape)}")
        count = prod(points.shape[len(front) : -1])  # also where it is 0
        return points.to(self.dtype).reshape(*front, count, self.n)

    def _require_points(self, *points: Tensor) -> None:
        for x in points:
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"points must be a torch tensor, got {checks.shown(x)}; take torch.tensor(...)"
                )
            if x.is_complex():
                raise TypeError(f"points must be real, got {x.dtype}; take points.real")
            if x.shape[-1:] != (self.n,):
                raise ValueError(f"points must have shape (..., {self.n}), got {tuple(x.shape)}")

    def _normals(self, stream: int, count: int) -> Tensor:
        drawn = torch.stack([self._drawn(seed, stream, count) for seed in self._seeds])
        return drawn.reshape(*self.disorders, -1, self.n)

    def _drawn(self, seed: int, stream: int, count: int) -> Tensor:
        out = torch.empty(1, count, dtype=torch.float64)
        return fill_normals(out, Address(seed, stream, INITIAL_NORMAL))[0].to(self.dtype)


def _products(n: int, order: int) -> Tensor:
    if order == 0:
        return torch.empty(1, 0, dtype=torch.long)
    return torch.combinations(torch.arange(n), order, with_replacement=True)
