"""The linear-quadratic mean-field game, by its ordinary differential equations."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pdekit.arrays import Array


@dataclass(frozen=True)
class LQGame:
    """LQ mean-field game: V = a x^2 / 2, costs q (x - kappa m)^2 / 2 and g (x - kappa_T m_T)^2 / 2.

    u(x, s) = P x^2 / 2 + S x + R at time s of the horizon; the law is Gaussian, from
    N(mean, std^2). With Π = P + S / m: P' = 2aP + P^2 - q, P(T) = g;
    Π' = 2aΠ + Π^2 - q (1 - kappa), Π(T) = g (1 - kappa_T);
    m' = -(a + Π) m; v' = -2 (a + P) v + 2/beta;
    -R' = P/beta - S^2 / 2 + q kappa^2 m^2 / 2, R(T) = g kappa_T^2 m_T^2 / 2. Mathematics 1.7.
    Solved with DOP853 to rtol 1e-12.
    """

    a: float
    q: float
    g: float
    kappa: float
    kappa_T: float
    beta: float
    horizon: float
    initial_mean: float = 0.0
    initial_std: float = 1.0

    def P(self, s: float) -> float:
        """Curvature of the value function."""
        return float(self._backward(self.horizon - s)[0])

    def S(self, s: float) -> float:
        """Slope of the value function at the origin."""
        P, Pi = self._backward(self.horizon - s)
        return float((Pi - P) * self.mean(s))

    def R(self, s: float) -> float:
        """Value at the origin."""
        rest = self.g * (self.kappa_T * self.mean(self.horizon)) ** 2 / 2
        return float(rest + self._forward(self.horizon)[2] - self._forward(s)[2])

    def value(self, s: float, x: ArrayLike) -> Array:
        """u(x, s) at points ``(..., 1)``."""
        at = np.asarray(x, dtype=float)[..., 0]
        out: Array = self.P(s) * at**2 / 2 + self.S(s) * at + self.R(s)
        return out

    def mean(self, s: float) -> float:
        """E X_s at equilibrium."""
        return float(self._forward(s)[0])

    def variance(self, s: float) -> float:
        """Var X_s at equilibrium."""
        return float(self._forward(s)[1])

    @cached_property
    def _backward(self) -> Any:
        """(P, Π) by time to go."""

        def rate(_: float, y: Array) -> Array:
            return -2 * self.a * y - y**2 + self.q * np.array([1, 1 - self.kappa])

        return _integrated(rate, self.horizon, [self.g, self.g * (1 - self.kappa_T)])

    @cached_property
    def _forward(self) -> Any:
        """(m, v, ∫ -R') by time."""

        def rate(s: float, y: Array) -> list[float]:
            P, Pi = self._backward(self.horizon - s)
            S = (Pi - P) * y[0]
            rest = P / self.beta - S**2 / 2 + self.q * (self.kappa * y[0]) ** 2 / 2
            return [-(self.a + Pi) * y[0], -2 * (self.a + P) * y[1] + 2 / self.beta, rest]

        return _integrated(rate, self.horizon, [self.initial_mean, self.initial_std**2, 0.0])


def _integrated(rate: Any, horizon: float, start: list[float]) -> Any:
    from scipy.integrate import solve_ivp

    solved = solve_ivp(rate, (0.0, horizon), start, "DOP853", rtol=1e-12, atol=1e-13,
                       dense_output=True)  # fmt: skip
    return solved.sol
