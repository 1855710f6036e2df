"""ρ and s = ∂ρ/∂θ of a McKean-Vlasov equation, by the derivative of the steps of ``MeanField``.

s_t = ∇·(s ∇U + ∇s/β + ρ ∇(W * s)) + A_θ ρ, U = V + W * ρ. A step freezes U and takes one backward
Euler step along each axis, ρ⁺ = (1 - dt A)⁻¹ ρ; its derivative is

    s⁺ = (1 - dt A)⁻¹ (s + dt A' ρ⁺),   A' along W * s + U_θ, β_θ and the clock,

and both are extrapolated from 1, 2, ... steps to none, as ``MeanField`` does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.mean_field import pair_field
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.schemes.mean_field import extrapolation

_ORDER, _RTOL = 6, 1e-8  # of the mass, per unit of the parameter and per interval
_STEP = 1e-3  # change of an exponent, for the difference of fourth order of the rates
_SHORTEST = 1e-10  # of the time


class Direction(NamedTuple):
    """How a parameter changes the equation: U by ``potential(ρ, W * ρ)``, β and the clock by these
    shares, the start by ``start``.
    """

    potential: Callable[[Array, Array], Array] | None = None
    beta: float = 0.0
    clock: float = 0.0
    start: Array | None = None


def tangents(problem: Problem, direction: Direction, times: Array) -> Array:
    """s at the times, ``(times, *grid.shape)``."""
    run = _Run(problem, direction)
    return np.array([run.to(float(t)) for t in times])


class _Run:
    """Both at the time reached."""

    def __init__(self, problem: Problem, direction: Direction) -> None:
        self.grid, self.direction = problem.grid, direction
        self.V, self.beta = problem.potential(), problem.equation.beta
        self.field = pair_field(problem.equation.interaction, self.grid, self.beta)
        rho, start = problem.values, direction.start
        self.t, self.both = 0.0, np.stack([rho, np.zeros_like(rho) if start is None else start])
        self.mass, self.dt = float(np.abs(self.both).sum()), self.grid.narrowest**2 * self.beta

    def to(self, t: float) -> Array:
        while self.t < t:
            dt, left = min(self.dt, t - self.t), t - self.t
            new, error = self._extrapolated(dt)
            growth = 0.9 * (_RTOL / max(error, 1e-300)) ** (1 / _ORDER)
            if error <= _RTOL:
                self.t, self.both = t if dt == left else self.t + dt, new
                self.dt = max(self.dt, dt * min(growth, 4.0)) if dt == left else dt * min(growth, 4)
            else:
                self.dt = dt * max(growth, 0.1) if np.isfinite(error) else dt * 0.1
            if not self.dt > _SHORTEST * t:
                raise ConvergenceError(
                    f"the sensitivity at t = {self.t:g} needs steps below {self.dt:.2g}; use fewer "
                    "cells, or shorter times"
                )
        s: Array = self.both[1]
        return s

    def _extrapolated(self, dt: float) -> tuple[Array, float]:
        rows = np.array([self._steps(dt / count, count) for count in range(1, _ORDER + 1)])
        best, less = (extrapolation(_ORDER) @ rows.reshape(_ORDER, -1)).reshape(2, *rows.shape[1:])
        apart = np.abs(best - less).reshape(2, -1).sum(axis=1)
        return best, float(apart.max()) / self.mass

    def _steps(self, dt: float, count: int) -> Array:
        both = self.both
        for _ in range(count):
            both = self._step(both[0], both[1], dt)
        return both

    def _step(self, rho: Array, s: Array, dt: float) -> Array:
        felt, made = self.field(rho), self.direction.potential
        U, along = self.V + felt, self.field(s)
        if made is not None:
            along = along + made(rho, felt)
        for axis in range(self.grid.dim):
            rho = self._euler(rho, U, axis, dt)
            s = self._euler(s + dt * self._change(rho, U, along, axis), U, axis, dt)
        return np.stack([rho, s])

    def _change(self, rho: Array, U: Array, along: Array, axis: int) -> Array:
        """A' ρ along an axis."""
        b = self.direction.beta
        h = _STEP / max(self.beta * float(np.ptp(along)) + abs(b), 1e-300)

        def at(e: float) -> Array:
            return self._rates(rho, U + e * along, self.beta * (1 + e * b), axis)

        out: Array = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        clock = self.direction.clock
        return out + clock * self._rates(rho, U, self.beta, axis) if clock else out

    def _euler(self, rho: Array, U: Array, axis: int, dt: float) -> Array:
        from pdekit.pde.kernels.implicit_lines import euler_lines

        h, seam = self.grid.spacing[axis], self.grid.periodic[axis]
        return _lines(
            rho, U, axis, lambda r, u, out: euler_lines(u, self.beta, h, dt, seam, r, out)
        )

    def _rates(self, rho: Array, U: Array, beta: float, axis: int) -> Array:
        from pdekit.pde.kernels.implicit_lines import rate_lines

        h, seam = self.grid.spacing[axis], self.grid.periodic[axis]
        return _lines(rho, U, axis, lambda r, u, out: rate_lines(u, beta, h, seam, r, out))


def _lines(rho: Array, U: Array, axis: int, kernel: Any) -> Array:
    """A kernel of lines along an axis."""
    shape = np.moveaxis(rho, axis, -1).shape
    lines, values = (
        np.ascontiguousarray(np.moveaxis(f, axis, -1)).reshape(-1, shape[-1]) for f in (rho, U)
    )
    out = np.empty_like(lines)
    kernel(lines, values, out)
    return np.ascontiguousarray(np.moveaxis(out.reshape(shape), -1, axis))
