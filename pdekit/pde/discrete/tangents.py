"""ρ and its derivatives along changes of the generator, from one time to the next.

With ρ_t = A(θ) ρ the derivative s = ∂ρ/∂θ solves the linearised equation s_t = A s + A_θ ρ. Both
are moved at once, by the exponential of

    M = [[A, 0], [A_θ, A]]

in a Krylov space of (I - γ M)^-1, which needs no factors but those of I - γ A. What the residual
(r, q) in the space leaves is bounded as exp(t A) is a contraction in L1:

    |error of ρ| <= ∫ |r|,   |error of s| <= ∫ |q| + t |A_θ| |error of ρ|.

On a line in detailed balance s is also the derivative of the rational function that moves ρ.
"""

from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.krylov_space import SHIFT, Residual, Resolvent, exponential

_RTOL = 1e-8  # in L1, of the mass per unit of the (relative) parameter
_MOST_PARTS = 4096


def on_a_line(rates: Array, changes: Array, u: Array, t: float) -> Array:
    """ρ and its derivatives ``(1 + j, n)``: ``rates`` (3, n), ``changes`` (j, 3, n), see ``line``.

    To the accuracy of the best rational approximation on the negative axis, for densities with
    ``propagator.amplification``.
    """
    from pdekit.pde.kernels.rational import exponential_poles
    from pdekit.pde.kernels.tangent_lines import rational_tangents

    poles, residues = exponential_poles()
    half = poles.imag > 0
    out = np.empty((1 + len(changes), u.size))
    up, down, kill = t * rates
    rational_tangents(up, down, kill, t * changes, u, poles[half], 2 * residues[half], out)
    return out


class Tangent:
    """ρ and s from one time to the next, from a mass and a direction of it."""

    def __init__(self, A: Any, change: Any, rho: Array, s: Array) -> None:
        self.resolvent, self.change = Resolvent(A), change
        self.size = float(np.abs(change).sum(axis=0).max())
        self.state = np.concatenate([rho.ravel(), s.ravel()])
        self.mass = float(np.abs(self.state).sum())
        self.t, self.parts = 0.0, 1

    def at(self, t: float) -> tuple[Array, Array]:
        """Both at time t."""
        span, done = t - self.t, 0
        if span > 0:
            self.parts, before = max(self.parts // 4, 1), self.state
            while done < self.parts:
                new = self._moved(self.state, span / self.parts, _RTOL / self.parts)
                if new is not None:
                    self.state, done = new, done + 1
                elif self.parts >= _MOST_PARTS:
                    raise ConvergenceError(
                        f"the sensitivity over {span:g} is not known to {_RTOL:g} after "
                        f"{self.parts} steps; use fewer cells, or shorter times"
                    )
                else:
                    self.parts, done, self.state = 4 * self.parts, 0, before
            self.t = t
        rho, s = np.split(self.state, 2)
        return rho, s

    def _moved(self, state: Array, step: float, tolerance: float) -> Array | None:
        gamma = SHIFT * step

        def solve(b: Array) -> Array:
            rho, s = np.split(b, 2)
            x = self.resolvent.solve(rho, gamma)
            y = self.resolvent.solve(s + gamma * (self.change @ x), gamma)
            return np.concatenate([x, y])

        def bound(v: Array, g: Residual) -> float:
            rho, s = np.split(v, 2)
            A, more = self.resolvent.matrix, step * self.size
            r = _l1(rho - gamma * (A @ rho))
            q = _l1(s - gamma * (A @ s + self.change @ rho))
            by_parts = g.mean + SHIFT * g.variation
            of_rho = min(g.mean * r, by_parts * _l1(rho))
            of_s = min(g.mean * q + more * of_rho, by_parts * (_l1(s) + more * _l1(rho)))
            return max(of_rho, of_s)

        return exponential(solve, state, bound, tolerance * self.mass)[0]


def _l1(v: Array) -> float:
    return float(np.abs(v).sum())
