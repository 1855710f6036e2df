"""All critical points of a small spherical spin glass, by Newton's method on the sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.landscapes.spin_glass import SphericalSpinGlass

_SAME = 1e-6  # distance, in units of the radius, below which two points are one
_STEPS = 30
_TURN = 0.5  # longest step of Newton's method, in radians
_LEAST = 10  # how many starts are to lead to each point, or to it and its opposite


@dataclass(frozen=True)
class CriticalPoints:
    """Critical points of H on the sphere, by energy.

    ``points`` (K, N), ``energy`` (K,), ``index`` (K,), the number of negative curvatures, and
    ``curvature`` (K, N-1), increasing; ``met``, how many starts led to each, or to its opposite
    where points come in pairs.
    """

    points: Array
    energy: Array
    index: Array
    curvature: Array
    met: Array
    p: int

    @property
    def morse_sum(self) -> int:
        """Σ (-1)^index; for all critical points 2 if N is odd, 0 if it is even."""
        return int((1 - 2 * (self.index % 2)).sum())

    @property
    def bound(self) -> int:
        """The most that there can be, complex ones counted: 2 Σ_{i<N} (p-1)^i."""
        return int(2 * sum((self.p - 1) ** i for i in range(self.points.shape[1])))

    def of_index(self, k: int) -> int:
        """How many have index k."""
        return int((self.index == k).sum())


def critical_points(
    glass: SphericalSpinGlass, *, starts: int = 1000, rounds: int = 40, seed: int = 0
) -> CriticalPoints:
    """All critical points of H on the sphere, for N up to about 12.

    Newton's method for ∇H = μσ, |σ|² = N from ``starts`` random points a round, until every
    critical point found has been met ten times and the numbers by index satisfy
    Morse's Σ (-1)^k crt_k = χ(S^(N-1)). Without field, and for odd p with one, H(-σ) = ±H(σ) and
    they come in pairs ±σ, so each found gives its opposite; of odd p and even N these cancel in the
    sum, which then says nothing. Neither condition proves that none is left: a point that a share s
    of the starts leads to escapes n starts with probability (1 - s)^n.
    Raises ``ConvergenceError`` if they are not met after ``rounds``, ``ValueError`` for several
    disorders.
    """
    if glass.disorders:
        raise ValueError("critical_points takes one disorder, a glass whose seed is a number")
    if glass.dtype != torch.float64:
        raise ValueError("critical_points needs a glass of torch.float64")
    starts, rounds = checks.whole("starts", starts, 1), checks.whole("rounds", rounds, 1)
    rng = np.random.default_rng([checks.whole("seed", seed, 0), glass.n])
    found, met = torch.empty(0, glass.n, dtype=torch.float64), np.zeros(0, int)
    for _ in range(rounds):
        first = glass.retract(torch.from_numpy(rng.standard_normal((starts, glass.n))))
        ends = _solved(glass, first)
        found, met = _gathered(found, met, _with_opposites(glass, ends))
        result = _described(glass, found, met)
        if len(met) and met.min() >= _LEAST and result.morse_sum == 1 + (-1) ** (glass.n - 1):
            return result
    raise ConvergenceError(
        f"critical_points: after {rounds} rounds of {starts} starts {len(met)} points are found, "
        f"the rarest {met.min(initial=starts)} times, with Morse sum {result.morse_sum} (it is "
        f"{1 + (-1) ** (glass.n - 1)} for all of them); use more starts, or a smaller n"
    )


def _solved(glass: SphericalSpinGlass, x: Tensor) -> Tensor:
    """Newton's method along the sphere; the points where it converged, to rounding."""
    done = []
    for _ in range(_STEPS):
        step = _newton_step(glass, x)
        length = step.norm(dim=1, keepdim=True) / glass.n**0.5
        x = glass.retract(x + step * (_TURN / length).clamp(max=1.0))
        there = length[:, 0] < 1e-9
        done.append(x[there])
        x = x[~there]
        if not len(x):
            break
    ends = torch.cat(done)
    slope = glass.project(ends, glass.grad(ends)).norm(dim=1)
    return ends[slope < 1e-9 * glass.n]


def _newton_step(glass: SphericalSpinGlass, x: Tensor) -> Tensor:
    """-(Hessian along the sphere)^-1 times the gradient along it."""
    slope = glass.project(x, glass.grad(x))
    along = x[:, :, None] / glass.n**0.5
    matrix = glass.tangent_hessian(x) + along @ along.mT
    step, info = torch.linalg.solve_ex(matrix, slope[:, :, None])
    step = torch.where((info == 0)[:, None, None] & step.isfinite(), step, slope[:, :, None])
    return -glass.project(x, step[:, :, 0])


def _with_opposites(glass: SphericalSpinGlass, x: Tensor) -> Tensor:
    """With a field of even p, H is neither even nor odd."""
    return x if glass.field and glass.p % 2 == 0 else torch.cat([x, -x])


def _gathered(found: Tensor, met: Array, new: Tensor) -> tuple[Tensor, Array]:
    """Distinct points among those found before and the new ones, and how often each was met."""
    apart = _SAME * new.shape[1] ** 0.5
    while True:
        far = torch.ones(len(new), dtype=torch.bool)
        if len(found):
            distance, nearest = torch.cdist(new, found).min(1)
            far = distance >= apart
            met = met + np.bincount(nearest[~far].numpy(), minlength=len(met))
        new = new[far]
        if not len(new):
            return found, met
        found, met = torch.cat([found, new[:1]]), np.append(met, 0)


def _described(glass: SphericalSpinGlass, points: Tensor, met: Array) -> CriticalPoints:
    energy = glass.energy(points)
    order = energy.argsort(stable=True)
    curvature = glass.curvatures(points[order])
    index = (curvature < 0).sum(1)
    return CriticalPoints(
        points[order].numpy(), energy[order].numpy(), index.numpy(), curvature.numpy(),
        met[order.numpy()], glass.p,
    )  # fmt: skip
