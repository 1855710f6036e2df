"""Implicit steps of the Hamilton-Jacobi-Bellman equation by policy iteration (Howard's algorithm).

The Hamiltonian is exponentially fitted: its derivative by the value function is the
Scharfetter-Gummel generator of V + u, so the density that the transposed derivative moves solves
the Scharfetter-Gummel scheme of the controlled Fokker-Planck equation.
"""

from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.generators import Generator, scharfetter_gummel

Array = NDArray[np.float64]
_MOST_POLICIES = 100
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_SHORT = 4.0  # jumps below it by quadrature (1e-13), above by the dilogarithm


class PolicySteps:
    """Φ(U) = u with u - dt 𝓕(u) = U, 𝓕 the fitted right-hand side of the HJB equation.

    𝓕(u)_i = sum over neighbours j of h^-2 beta^-2 ∫ B(beta (V_j - V_i) + s) ds over s from 0 to
    beta (u_j - u_i), B(w) = w / (e^w - 1). To second order -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu; for
    beta -> infinity the upwind Hamiltonian of Engquist and Osher. 𝓕 is monotone and concave: every
    policy is a linear equation with an M-matrix, and Newton's method is Howard's.
    """

    def __init__(self, potential: Array, beta: float, grid: Grid) -> None:
        self.potential, self.beta, self.grid = potential, beta, grid

    def __call__(self, value: Array, dt: float) -> "PolicyStep":
        u, last = value, np.inf
        for _ in range(_MOST_POLICIES):
            step = PolicyStep(self, u, dt)
            change = step.push(u - dt * self.hamiltonian(u) - value)
            u = u - change
            size = float(np.abs(change).max())
            # Newton: at the second test the next change is below rounding
            if size <= 1e-13 * (1 + np.abs(u).max()) or last <= 1e-9 * (1 + np.abs(u).max()):
                return PolicyStep(self, u, dt)
            last = size
        raise ConvergenceError(
            f"{_MOST_POLICIES} policies still change the value by {size:.2g} in a step of {dt:.2g};"
            " ask for more times"
        )

    def hamiltonian(self, u: Array) -> Array:
        """𝓕(u), shape ``grid.shape``."""
        out = np.zeros_like(u)
        for axis, h in enumerate(self.grid.spacing):
            drift, jump = self._jump(self.potential, axis), self._jump(u, axis)
            scale = 1 / (self.beta * h) ** 2
            gain = bernoulli_integral(drift, jump)
            self._add(out, axis, scale * gain, -scale * (gain + jump * (drift + jump / 2)))
        return out

    def generator(self, u: Array) -> Generator:
        """𝓕'(u): the Scharfetter-Gummel generator of V + u."""
        return scharfetter_gummel(self.potential + u, self.beta, self.grid)

    def curvature(self, u: Array, pushed: Array, rho: Array) -> Array:
        """(d/du 𝓕'(u)^T rho) pushed: rates that change by B'(beta d(V + u)) beta d(pushed)."""
        out = np.zeros_like(u)
        for axis, h in enumerate(self.grid.spacing):
            slope = _bernoulli_slope(self._jump(self.potential + u, axis))
            change = self._jump(pushed, axis) / (self.beta * h * h)
            here, there = self._sides(rho, axis)
            # the reverse rate is B(-w) = w + B(w): its derivative by w is 1 + B'(w)
            flux = change * (slope * here - (1 + slope) * there)
            self._add(out, axis, -flux, flux)
        return out

    def _sides(self, field: Array, axis: int) -> tuple[Array, Array]:
        if self.grid.periodic[axis]:
            return field, np.roll(field, -1, axis)
        n = field.shape[axis]
        return field.take(range(n - 1), axis), field.take(range(1, n), axis)

    def _jump(self, field: Array, axis: int) -> Array:
        here, there = self._sides(field, axis)
        return self.beta * (there - here)

    def _add(self, out: Array, axis: int, here: Array, there: Array) -> None:
        if self.grid.periodic[axis]:
            out += here + np.roll(there, 1, axis)
            return
        lines = np.moveaxis(out, axis, 0)
        lines[:-1] += np.moveaxis(here, axis, 0)
        lines[1:] += np.moveaxis(there, axis, 0)


class PolicyStep:
    """The step at u: the resolvent of the controlled generator, and its transpose."""

    def __init__(self, steps: PolicySteps, u: Array, dt: float) -> None:
        self.steps, self.value, self.dt = steps, u, dt
        self.resolvent = _resolvent(steps.generator(u), dt)

    def push(self, change: Array) -> Array:
        return self.resolvent(change, False)

    def carry(self, rho: Array) -> Array:
        return self.resolvent(rho, True)

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """From (1 - dt L_u^T) carried = rho: d carried = carry(dt (dL_u)^T carried)."""
        bent = self.dt * self.steps.curvature(self.value, pushed, carried)
        return np.stack([bent, np.zeros_like(bent)])


def bernoulli_integral(w: Array, length: Array) -> Array:
    """∫ B(w + s) ds over s from 0 to ``length``, B(w) = w / (e^w - 1)."""
    short = np.where(np.abs(length) <= _SHORT, length, 0.0)
    inside = w[..., None] + short[..., None] * (1 + _NODES) / 2
    out: Array = short * (_bernoulli(inside) @ _WEIGHTS) / 2
    long = np.abs(length) > _SHORT
    if long.any():
        out[long] = _debye(w[long] + length[long]) - _debye(w[long])
    return out


def _debye(w: Array) -> Array:
    """∫_0^w s / (e^s - 1) ds by the dilogarithm; Abramowitz and Stegun 27.1.2, 27.7.3."""
    from scipy.special import spence

    size = np.maximum(np.abs(w), 1e-300)
    share = -np.expm1(-size)
    positive = pi**2 / 6 + size * np.log(share) - spence(share)
    out: Array = np.where(w >= 0, positive, -(size**2 / 2 + positive))
    return out


def _bernoulli(w: Array) -> Array:
    small = np.abs(w) < 1e-3
    with np.errstate(over="ignore", invalid="ignore"):
        out: Array = np.where(small, 1 - w / 2 + w * w / 12, w / np.expm1(w))
    return out


def _bernoulli_slope(w: Array) -> Array:
    """B'(w) = (B(w) / w) (1 - B(-w)), by its series where that cancels."""
    small = np.abs(w) < 0.02
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        far = (1 - _bernoulli(-w)) / np.expm1(w)
    out: Array = np.where(small, -0.5 + w / 6 - w**3 / 180 + w**5 / 5040, far)
    return out


def _resolvent(generator: Generator, dt: float) -> Any:
    """b -> (1 - dt L)^-1 b, or with the transpose; factored once."""
    grid = generator.grid
    if grid.dim == 1 and not grid.periodic[0]:
        from scipy.linalg.lapack import dgttrf, dgttrs

        lower, upper = -dt * generator.down[0], -dt * generator.up[0]
        factors = dgttrf(lower, 1 + dt * generator.exit_rate(), upper)[:5]
        return lambda b, transposed: dgttrs(*factors, b, trans="T" if transposed else "N")[0]
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    size = int(np.prod(grid.shape))
    # an M-matrix: no pivoting is needed, and a symmetric ordering fills in less
    lu = splu(
        (eye_array(size) - dt * generator.matrix()).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )

    def solve(b: Array, transposed: bool) -> Array:
        return lu.solve(b.ravel(), "T" if transposed else "N").reshape(grid.shape)

    return solve
