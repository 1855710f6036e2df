"""Exact solutions: closed forms and quadrature to rounding, independent of the schemes.

Points have shape ``(..., d)``, results ``(...)``; everything is on the whole space R^d unless
stated otherwise. Slow but reliable: a point costs about a millisecond in one dimension and a second
in two. Tests and studies measure the schemes against these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, exp, expm1, log, log2, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.exact.game import LQGame as LQGame  # beside the others for its readers

Function = Callable[[Array], Any]
_TAIL = 45.0  # exp(-45) = 3e-20: what lies below this share of the integrand is left out


def heat(f: Function, beta: float, t: float, x: ArrayLike, nodes: int = 96) -> Array:
    """v(x, t) = (G_{t/beta} * f)(x) = E f(x + sqrt(t/beta) Z) by Gauss-Hermite quadrature.

    Exact for polynomials of degree below ``2 nodes``; for an entire f such as cos(3x) to rounding
    while sqrt(t/beta) times its wave number is below about 8. Mathematics 1.1; thesis (4.28).
    """
    x = np.asarray(x, dtype=float)
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    total = np.zeros(x.shape[:-1])
    for index in product(range(nodes), repeat=x.shape[-1]):
        weight = float(np.prod(w[list(index)])) / (2 * pi) ** (x.shape[-1] / 2)
        total += weight * np.asarray(f(x + sqrt(t / beta) * z[list(index)]))
    return total


def cole_hopf(f: Function, beta: float, t: float, x: ArrayLike) -> Array:
    """u(x, t) = -beta^-1 log (G_{t/beta} * exp(-beta f))(x), the viscous Hamilton-Jacobi solution.

    Midpoint sums around each x, relative to their largest term, with the spacing halved until
    beta u changes by less than 1e-13. One or two dimensions; any beta. f must be bounded below.
    Raises ``ConvergenceError`` where it is not, or the sum does not converge. Mathematics 1.2;
    thesis (4.11).
    """
    return _each(lambda point: _gibbs_pair(f, beta, t, point)[0], x)


def cole_hopf_gradient(f: Function, beta: float, t: float, x: ArrayLike) -> Array:
    """∇u = (x - <y>) / t with the mean over exp(-beta f(y) - beta |x - y|^2 / 2t); ``(..., d)``."""
    return _each(lambda point: (point - _gibbs_pair(f, beta, t, point)[1]) / t, x)


def hopf_lax(f: Function, t: float, x: ArrayLike) -> Array:
    """u(x, t) = min_y f(y) + |x - y|^2 / (2 t), the non-viscous Hamilton-Jacobi solution.

    A dense scan of the ball that must contain the minimiser, then the lowest local minima of it on
    finer and finer scans. Accurate to rounding for f with structure coarser than a thousandth of
    that ball. One or two dimensions; f bounded below. Mathematics 1.3; thesis (4.16).
    """
    return _each(lambda point: _lowest(f, t, point), x)


def ornstein_uhlenbeck(
    drift: ArrayLike, beta: float, mean: ArrayLike, cov: ArrayLike, t: float
) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) at t of dX = -A X dt + sqrt(2/beta) dB from those at 0.

    m = exp(-A t) m_0; C = exp(-A t) C_0 exp(-A^T t) + (2/beta) ∫_0^t exp(-A s) exp(-A^T s) ds, the
    integral by Van Loan's block exponential over a short time, doubled until t: A may be singular,
    unstable or far from normal. Mathematics 1.4.
    """
    from scipy.linalg import expm

    a = np.atleast_2d(np.asarray(drift, dtype=float))
    d = a.shape[0]
    doublings = max(0, ceil(log2(max(float(np.linalg.norm(a, 2)) * t, 1e-300))))
    block = np.block([[a, 2 / beta * np.eye(d)], [np.zeros((d, d)), -a.T]])
    e = expm(t / 2**doublings * block)
    flow = e[d:, d:].T  # exp(-A t)
    spread = flow @ e[:d, d:]
    for _ in range(doublings):
        spread = spread + flow @ spread @ flow.T
        flow = flow @ flow
    start = np.asarray(cov, dtype=float).reshape(d, d)
    return flow @ np.atleast_1d(np.asarray(mean, dtype=float)), flow @ start @ flow.T + spread


def gaussian(mean: ArrayLike, cov: ArrayLike, x: ArrayLike) -> Array:
    """Density of N(mean, cov) at points ``(..., d)``."""
    c = np.atleast_2d(np.asarray(cov, dtype=float))
    z = np.asarray(x, dtype=float) - np.asarray(mean, dtype=float)
    power = np.einsum("...i,ij,...j->...", z, np.linalg.inv(c), z)
    out: Array = np.exp(-power / 2) / np.sqrt(np.linalg.det(2 * pi * c))
    return out


def gibbs(potential: Function, beta: float, lower: ArrayLike, upper: ArrayLike, x: Any) -> Array:
    """exp(-beta V(x)) / Z, Z the integral over the box [lower, upper] (``d`` corners each).

    Z by Gauss-Legendre panels, doubled until log Z changes by less than 1e-13. Mathematics 1.4.
    """
    lower, upper = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
    before = np.inf
    for panels in (8, 16, 32, 64, 128):
        points, weights = _panels(lower, upper, panels)
        values = np.asarray(potential(points))
        least = float(values.min())
        now = float(np.log((weights * np.exp(-beta * (values - least))).sum())) - beta * least
        if abs(now - before) < 1e-13 * max(1.0, abs(now)):
            out: Array = np.exp(-beta * np.asarray(potential(np.asarray(x, dtype=float))) - now)
            return out
        before = now
    raise ConvergenceError(f"Z of exp(-{beta:g} V) does not settle with 128 panels an axis")


@dataclass(frozen=True)
class LQControl:
    """Linear-quadratic control: V = a x^2 / 2, terminal cost g x^2 / 2, X_0 ~ N(mean, std^2).

    u(x, s) = P(s) x^2 / 2 + R(s) at time s of the horizon, with D(s) = 2a + g (1 - e^{-2a(T-s)}):
    P = 2 a g e^{-2a(T-s)} / D, R = beta^-1 log(D / 2a); the optimal law is Gaussian.
    Mathematics 1.7.
    """

    a: float
    g: float
    beta: float
    horizon: float
    initial_mean: float = 0.0
    initial_std: float = 1.0

    def P(self, s: float) -> float:
        """Curvature of the value function."""
        decay = exp(-2 * self.a * (self.horizon - s))
        return 2 * self.a * self.g * decay / (2 * self.a * self._growth(s))

    def R(self, s: float) -> float:
        """Value at the origin."""
        return log(self._growth(s)) / self.beta

    def value(self, s: float, x: ArrayLike) -> Array:
        """u(x, s) at points ``(..., 1)``."""
        out: Array = self.P(s) * np.asarray(x, dtype=float)[..., 0] ** 2 / 2 + self.R(s)
        return out

    def mean(self, s: float) -> float:
        """E X_s under the optimal control."""
        return self.initial_mean * self._flow(s)

    def variance(self, s: float) -> float:
        """Var X_s under the optimal control."""
        from scipy.integrate import quad

        spread: float = quad(lambda r: self._flow(r) ** -2, 0, s, epsabs=1e-14, epsrel=1e-13)[0]
        return self._flow(s) ** 2 * (self.initial_std**2 + 2 / self.beta * spread)

    def density(self, s: float, x: ArrayLike) -> Array:
        """Density of X_s under the optimal control at points ``(..., 1)``."""
        return gaussian(self.mean(s), self.variance(s), x)

    def _growth(self, s: float) -> float:
        return 1 - self.g * expm1(-2 * self.a * (self.horizon - s)) / (2 * self.a)

    def _flow(self, s: float) -> float:
        return exp(-self.a * s) * self._growth(s) / self._growth(0.0)


@dataclass(frozen=True)
class LangevinSpectrum:
    """exp(t L) and exp(t L^T) of dX = -V' dt + sqrt(2/beta) dB on a line or a circle, spectrally.

    With psi = rho exp(beta V / 2) the Fokker-Planck operator becomes -A^T A / beta, where
    A = d/dx + beta V' / 2: a symmetric matrix by sinc collocation on ``nodes`` points of
    [lower, upper] (by trigonometric collocation if ``periodic``), diagonalised once. It is
    independent of finite-volume schemes and converges exponentially. Mathematics 1.4-1.5.

    On the line exp(-beta V) must be below about 1e-30 at both ends: there are no walls.
    """

    potential: Any
    beta: float
    lower: float
    upper: float
    nodes: int = 301
    periodic: bool = False

    def density(self, initial: Function, t: float, x: ArrayLike) -> Array:
        """rho(x, t) from the density ``initial`` at points ``(..., 1)``."""
        x = np.asarray(x, dtype=float)
        psi = self._evolved(np.asarray(initial(self._points)) / self._root(self._points), t)
        return self._interpolated(psi, x) * self._root(x)

    def transition(self, start: float, t: float, x: ArrayLike) -> Array:
        """p_t(start, x), the density of X_t from X_0 = start, at points ``(..., 1)``."""
        x = np.asarray(x, dtype=float)
        at = np.array([start])
        delta = self._kernel(at[:, None])[0] / (self._spacing * self._root(at[None, :])[0])
        return self._interpolated(self._evolved(delta, t), x) * self._root(x)

    def expectation(self, function: Function, t: float, x: ArrayLike) -> Array:
        """E[function(X_t) | X_0 = x] at points ``(..., 1)``; accurate where exp(-beta V/2) is not
        small against its maximum."""
        x = np.asarray(x, dtype=float)
        psi = self._evolved(np.asarray(function(self._points)) * self._root(self._points), t)
        return self._interpolated(psi, x) / self._root(x)

    @property
    def rates(self) -> Array:
        """Decay rates 0 = λ_0 < λ_1 <= ... of the modes."""
        return self._modes[0]

    @property
    def _spacing(self) -> float:
        return (self.upper - self.lower) / (self.nodes if self.periodic else self.nodes - 1)

    @cached_property
    def _points(self) -> Array:
        out: Array = (self.lower + self._spacing * np.arange(self.nodes, dtype=float))[:, None]
        return out

    @cached_property
    def _least(self) -> float:
        return float(np.min(self.potential(self._points)))

    def _root(self, x: Array) -> Array:
        out: Array = np.exp(-self.beta / 2 * (self.potential(x) - self._least))
        return out

    @cached_property
    def _modes(self) -> tuple[Array, Array]:
        slope = np.asarray(self.potential.grad(self._points))[:, 0]
        a = self._derivative() + np.diag(self.beta / 2 * slope)
        rates, vectors = np.linalg.eigh(a.T @ a / self.beta)
        return np.maximum(rates, 0.0), vectors

    def _derivative(self) -> Array:
        k = np.arange(self.nodes)
        apart = k[:, None] - k
        sign = np.where(apart % 2, -1.0, 1.0)
        if self.periodic:
            if self.nodes % 2 == 0:
                raise ValueError(
                    f"a periodic spectrum needs an odd number of nodes, got {self.nodes}"
                )
            turn = 2 * pi / (self.upper - self.lower)
            chord = 2 * np.sin(pi * apart / self.nodes)
            np.fill_diagonal(chord, np.inf)
            slope: Array = turn * sign / chord
            return slope
        gap = self._spacing * apart.astype(float)
        np.fill_diagonal(gap, np.inf)
        out: Array = sign / gap
        return out

    def _evolved(self, psi: Array, t: float) -> Array:
        rates, vectors = self._modes
        out: Array = vectors @ (np.exp(-t * rates) * (vectors.T @ psi))
        return out

    def _kernel(self, x: Array) -> Array:
        """Cardinal functions of the nodes at points (..., 1); shape (..., nodes)."""
        z = (x - self._points[:, 0]) / self._spacing
        if not self.periodic:
            return np.sinc(z)
        small = np.sin(pi * z / self.nodes)
        at_node = np.abs(small) < 1e-14
        return np.where(at_node, 1.0, np.sin(pi * z) / (self.nodes * np.where(at_node, 1.0, small)))

    def _interpolated(self, psi: Array, x: Array) -> Array:
        out: Array = self._kernel(x) @ psi
        return out


def _each(function: Callable[[Array], Any], x: ArrayLike) -> Array:
    """``function`` of every point of ``x`` (..., d)."""
    x = np.asarray(x, dtype=float)
    values = np.array([function(point) for point in x.reshape(-1, x.shape[-1])])
    return values.reshape(x.shape[:-1] + values.shape[1:])


def _ball(f: Function, margin: float, t: float, x: Array) -> float:
    """Radius around x beyond which f(y) + |x-y|^2 / 2t exceeds its minimum by ``margin``.

    f is searched for low values twice as far, and at least to 6 sqrt(t); a hole beyond that which
    is narrow and deeper than the parabola would be missed.
    """
    radius = 3 * sqrt(t)
    for _ in range(60):
        y = _midpoints(x, 2 * radius, 2001 if x.size == 1 else 201)
        values = np.asarray(f(y))
        lowest = float((values + ((y - x) ** 2).sum(-1) / (2 * t)).min())
        needed = 1.05 * sqrt(2 * t * (margin + lowest - float(values.min()))) + 0.01 * sqrt(t)
        if needed <= radius:
            return needed
        radius = 1.2 * needed
    raise ConvergenceError(
        f"the function keeps falling away from {x}: its smoothing is not finite there; use a "
        "function that is bounded below"
    )


def _midpoints(x: Array, radius: float, n: int) -> Array:
    """Centres of n^d cells of the cube around x; shape (n,) * d + (d,)."""
    line = radius * ((2 * np.arange(n) + 1) / n - 1)
    return x + np.stack(np.meshgrid(*[line] * x.size, indexing="ij"), axis=-1)


def _gibbs_pair(f: Function, beta: float, t: float, x: Array) -> tuple[float, Array]:
    """Cole-Hopf value at x and mean of the measure behind its gradient."""
    radius = _ball(f, _TAIL / beta, t, x)
    before = np.inf
    n = 400 if x.size == 1 else 150
    while n <= (1 << 20 if x.size == 1 else 5000):
        y = _midpoints(x, radius, n)
        power = beta * (np.asarray(f(y)) + ((y - x) ** 2).sum(-1) / (2 * t))
        least = float(power.min())
        weights = np.exp(least - power)
        volume = (2 * radius / n) ** x.size * (beta / (2 * pi * t)) ** (x.size / 2)
        now = least - log(float(weights.sum()) * volume)
        if abs(now - before) <= 1e-13 * max(1.0, abs(now)):
            mean = (weights[..., None] * y).sum(tuple(range(x.size))) / weights.sum()
            return now / beta, mean
        before, n = now, 2 * n
    raise ConvergenceError(f"the Cole-Hopf integral at {x} does not settle with {n // 2} nodes")


def _lowest(f: Function, t: float, x: Array) -> float:
    """Global minimum of f(y) + |x-y|^2 / 2t."""
    from scipy.ndimage import minimum_filter

    def cost(y: Array) -> Array:
        cost: Array = np.asarray(f(y)) + ((y - x) ** 2).sum(-1) / (2 * t)
        return cost

    radius = _ball(f, 0.0, t, x)
    n = 4001 if x.size == 1 else 601
    y = _midpoints(x, radius, n)
    values = cost(y)
    local = (values == minimum_filter(values, size=3, mode="nearest")).ravel()
    starts = np.flatnonzero(local)
    starts = starts[np.argsort(values.ravel()[starts])][:20]
    best = np.inf
    for start in y.reshape(-1, x.size)[starts]:
        centre, width = start, 4 * radius / n
        for _ in range(16):
            near = _midpoints(centre, width, 41).reshape(-1, x.size)
            found = cost(near)
            k = int(found.argmin())
            centre, best, width = near[k], min(best, float(found[k])), width / 6
    return best


def _panels(lower: Array, upper: Array, panels: int) -> tuple[Array, Array]:
    """Gauss-Legendre points (m^d, d) and weights of ``panels`` panels of 16 points per axis."""
    z, w = np.polynomial.legendre.leggauss(16)
    axes, weights = [], []
    for a, b in zip(lower, upper, strict=True):
        half = (b - a) / (2 * panels)
        centre = a + half * (2 * np.arange(panels) + 1)
        axes.append((centre[:, None] + half * z).ravel())
        weights.append(np.tile(half * w, panels))
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=-1)
    total = weights[0] if len(weights) == 1 else np.multiply.outer(*weights).ravel()
    return points, total
