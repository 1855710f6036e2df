"""The exponentially fitted right-hand side of the Hamilton-Jacobi-Bellman equation.

Its derivative by the value function is the Scharfetter-Gummel generator of V + u, so the density
that the transposed derivative moves solves the Scharfetter-Gummel scheme of the controlled
Fokker-Planck equation.
"""

from math import pi

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.generators import Generator, axis_neighbours, bernoulli, scharfetter_gummel

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
SHORT = 4.0  # jumps below it by quadrature (1e-13), above by the dilogarithm


class FittedHamiltonian:
    """𝓕(u)_i = sum over neighbours j of h^-2 beta^-2 ∫ B(beta (V_j - V_i) + s) ds over s from 0 to
    beta (u_j - u_i), B(w) = w / (e^w - 1).

    To second order -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu; for beta -> infinity the upwind Hamiltonian of
    Engquist and Osher. Monotone and concave: 𝓕(u) is the least over policies of what is linear.
    """

    def __init__(self, potential: Array, beta: float, grid: Grid) -> None:
        self.potential, self.beta, self.grid = potential, beta, grid

    def __call__(self, u: Array) -> Array:
        """𝓕(u), shape ``grid.shape``."""
        return self.linearised(u)[0]

    def linearised(self, u: Array) -> tuple[Array, Generator]:
        """𝓕(u), and 𝓕'(u): the Scharfetter-Gummel generator of V + u."""
        from pdekit.pde.kernels.bernoulli import linearised

        out, rates, grid = np.zeros_like(u), [], self.grid
        plane = (1, u.size) if grid.dim == 1 else u.shape
        for axis, h in enumerate(grid.spacing):
            shape, along = list(plane), axis + 2 - grid.dim
            shape[along] -= not grid.periodic[axis]
            up, down = np.empty(shape), np.empty(shape)
            fields = self.potential.reshape(plane), u.reshape(plane)
            if not linearised(
                *fields, self.beta, h, along, grid.periodic[axis], SHORT, out.reshape(plane), up,
                down,
            ):  # fmt: skip
                return self.plain(u), scharfetter_gummel(self.potential + u, self.beta, grid)
            rates.append((up, down))
        sides = [tuple(pair[k].squeeze(0) if grid.dim == 1 else pair[k] for pair in rates)
                 for k in (0, 1)]  # fmt: skip
        return out, Generator(grid, sides[0], sides[1])

    def plain(self, u: Array) -> Array:
        """𝓕(u) in plain form, and where jumps are long."""
        out = np.zeros_like(u)
        for axis, h in enumerate(self.grid.spacing):
            drift, jump = self._jump(self.potential, axis), self._jump(u, axis)
            scale = 1 / (self.beta * h) ** 2
            gain = bernoulli_integral(drift, jump)
            self._add(out, axis, scale * gain, -scale * (gain + jump * (drift + jump / 2)))
        return out

    def curvature(self, u: Array, pushed: Array, rho: Array) -> Array:
        """(d/du 𝓕'(u)^T rho) pushed: rates that change by B'(beta d(V + u)) beta d(pushed)."""
        out = np.zeros_like(u)
        for axis, h in enumerate(self.grid.spacing):
            slope = _bernoulli_slope(self._jump(self.potential + u, axis))
            change = self._jump(pushed, axis) / (self.beta * h * h)
            here, there = axis_neighbours(rho, axis, self.grid)
            # the reverse rate is B(-w) = w + B(w): its derivative by w is 1 + B'(w)
            flux = change * (slope * here - (1 + slope) * there)
            self._add(out, axis, -flux, flux)
        return out

    def _jump(self, field: Array, axis: int) -> Array:
        here, there = axis_neighbours(field, axis, self.grid)
        change: Array = self.beta * (there - here)
        return change

    def _add(self, out: Array, axis: int, here: Array, there: Array) -> None:
        if self.grid.periodic[axis]:
            out += here + np.roll(there, 1, axis)
            return
        lines = np.moveaxis(out, axis, 0)
        lines[:-1] += np.moveaxis(here, axis, 0)
        lines[1:] += np.moveaxis(there, axis, 0)


def bernoulli_integral(w: Array, length: Array) -> Array:
    """∫ B(w + s) ds over s from 0 to ``length``, B(w) = w / (e^w - 1)."""
    short = np.where(np.abs(length) <= SHORT, length, 0.0)
    inside = w[..., None] + short[..., None] * (1 + _NODES) / 2
    out: Array = short * (bernoulli(inside) @ _WEIGHTS) / 2
    long = np.abs(length) > SHORT
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


def _bernoulli_slope(w: Array) -> Array:
    """B'(w) = (B(w) / w) (1 - B(-w)), by its series where that cancels."""
    small = np.abs(w) < 0.02
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        far = (1 - bernoulli(-w)) / np.expm1(w)
    out: Array = np.where(small, -0.5 + w / 6 - w**3 / 180 + w**5 / 5040, far)
    return out
