"""Quantiles on a line, moved by a transport without noise: the exact solution as particles.

rho_t = ∇·(rho ∇U) keeps the mass below the path X' = -U'(X), so the quantile of level u moves along
its own path. A density is known here by its quantiles at ``levels``: midpoints (k + ½) / n, which
carry the masses 1/n, and tracers without mass further out in the tails.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.interactions import is_quadratic, of_two_points
from pdekit.pde.discrete.sampling import as_field, called, finite_vectors
from pdekit.potentials import as_potential

Cdf = Callable[[Array], Array]

_TAIL = 20  # levels beyond the outermost midpoints, each of half the mass of the one before
_NODES = 1 << 14  # cells by which a density without a cdf is integrated, at least
_HALVINGS = 64  # of the box, for the inverse of a cdf
_LEAST = 1e-9  # mass of a law in the box, below which differences of its cdf are rounding
_ROOM = 1 << 20  # pairs evaluated at once
_PLACES = 8
_LAYER = 1e-7  # of the box: in it a path comes to rest at a wall
_NEAR = 0.02  # of the box, the way of a step to a wall
_KINKS = 0.01  # of rtol, for errors at arrivals, which add up
_EXPLICIT = 20_000  # evaluations of the drift by an explicit method
_CALLS = 200_000  # evaluations of the drift between two output times


def levels(n: int) -> Array:
    """Midpoints (k + ½) / n, with tails of geometric levels on both sides."""
    tail = 0.5 ** np.arange(_TAIL, 0, -1) / (2 * n)
    return np.concatenate([tail, (np.arange(n) + 0.5) / n, 1 - tail[::-1]])


def middle(x: Array) -> Array:
    """Of all quantiles those at midpoints, which carry the mass."""
    return x[..., _TAIL:-_TAIL]


def cdf_of(initial: Any, grid: Grid) -> Cdf:
    """The distribution function of initial data on a line, within the box: from 0 to 1.

    A law's own ``cdf``; else the integral of its ``pdf`` or of a function, by Gauss's rule on
    parts of the cells; of an array that of its cells.
    """
    own = getattr(initial, "cdf", None)
    if own is not None and not grid.periodic[0]:
        low, high = (float(own(np.array(end))) for end in (grid.lower[0], grid.upper[0]))
        if high - low < _LEAST:
            raise ValueError(
                f"{checks.shown(initial)} has a mass of {high - low:.1g} in the box from "
                f"{grid.lower[0]:g} to {grid.upper[0]:g}, too little for quantiles; take a box "
                "that holds more of it"
            )
        return lambda x: (np.asarray(own(x)) - low) / (high - low)
    if hasattr(initial, "pdf") or callable(initial):
        return _integrated(initial, grid.refined(-(-_NODES // grid.cells[0])))
    masses = as_field(initial, grid, "the initial density")
    return _interpolated(grid, np.cumsum(masses))


def _integrated(initial: Any, fine: Grid) -> Cdf:
    if hasattr(initial, "pdf") and fine.periodic[0]:
        return _interpolated(fine, np.cumsum(initial.density(fine)))
    density = getattr(initial, "pdf", initial)
    half = float(fine.spacing[0]) / np.sqrt(12)
    ends = [called("the initial density", density, fine.centres + s) for s in (-half, half)]
    return _interpolated(fine, np.cumsum(ends[0] + ends[1]))


def _interpolated(grid: Grid, below: Array) -> Cdf:
    knots = np.append(0.0, below / below[-1])
    return lambda x: np.interp(x, grid.faces[0], knots)


def inverse(cdf: Cdf, u: Array, low: float, high: float) -> Array:
    """The least x in [low, high] with cdf(x) >= u."""
    a, b = np.full(u.shape, low), np.full(u.shape, high)
    for _ in range(_HALVINGS):
        half = (a + b) / 2
        above = cdf(half) >= u
        a, b = np.where(above, a, half), np.where(above, half, b)
    return b


def w1(x: Array, u: Array, y: Array, v: Array) -> float:
    """∫ |Q_x - Q_y| du of two quantile functions, linear between levels u and v: their W1."""
    at = np.unique(np.concatenate([u, v]))
    at = at[(at >= max(u[0], v[0])) & (at <= min(u[-1], v[-1]))]
    apart = np.abs(np.interp(at, u, x) - np.interp(at, v, y))
    return float(np.trapezoid(apart, at))


def between(x: Array, u: Array, grid: Grid) -> float:
    """What the distribution function, linear between quantiles, may be off there.

    The larger of ∫ |Q - its chords| du and h Σ |F - its chords| over the faces of the cells, which
    is what fields may be off. In an interval of levels of width w the slope of Q changes by B at
    the ends, the larger of both; then Q is off by w B/2 at most, a triangle of area w² B/4, also
    with a kink anywhere inside, and F by w B/2 over the slope of the chord, and by w at most.
    """
    width, apart = np.diff(u), np.diff(x)
    bend = np.abs(np.diff(apart / width))
    larger = np.maximum(np.append(bend[:1], bend), np.append(bend, bend[-1:]))
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.fmin(larger * width**2 / (2 * apart), width)
    faces = grid.faces[0]
    if grid.periodic[0]:  # where they are met again on further turns
        turns = np.arange(*((x[[0, -1]] - faces[0]) // np.ptp(faces) + (0, 1)))
        faces = (faces[:-1] + turns[:, None] * np.ptp(faces)).ravel()
    inside = faces[(faces > x[0]) & (faces < x[-1])]
    at_faces = below[np.searchsorted(x, inside) - 1].sum() * float(grid.spacing[0])
    return max(float((larger * width**2).sum() / 4), float(at_faces))


def widest_gap(x: Array) -> float:
    """The largest distance between neighbours that carry mass."""
    return float(np.diff(middle(x)).max())


def cell_masses(x: Array, u: Array, grid: Grid) -> Array:
    """The masses of the cells, of quantiles x at levels u; a periodic axis is wrapped."""
    faces, length = grid.faces[0], grid.upper[0] - grid.lower[0]
    turns = np.zeros(1)
    if grid.periodic[0]:
        ends = (x[[0, -1]] - grid.lower[0]) // length
        turns = np.arange(ends[0], ends[1] + 1)
    knots = np.concatenate([x[:1], x, x[-1:]]), np.concatenate([[0.0], u, [1.0]])
    below = np.sum([np.interp(faces + k * length, *knots) for k in turns], axis=0)
    out: Array = np.diff(below)
    if not grid.periodic[0]:  # what is at the walls themselves
        out[0] += below[0]
        out[-1] += 1 - below[-1]
    out /= out.sum()
    return out


class _TooMany(Exception):
    """More steps than an implicit method may need."""


@dataclass
class Flow:
    """Quantiles ``x`` of an equation without noise at the time ``t``, advanced by ``to``.

    ``mass`` is that of all of them together, which multiplies the mean field.
    """

    equation: Any
    x: Array
    rtol: float
    grid: Grid | None = None
    t: float = 0.0
    mass: float = 1.0
    calls: int = 0

    def __post_init__(self) -> None:
        self.slope = as_potential(self.equation.potential, 1).grad
        self._skip = 1 if self.grid is None else max(1, self.grid.cells[0] // _PLACES)

    def to(self, t: float) -> Array:
        """The quantiles at the time t, by LSODA: Adams or, where wells are steep, BDF steps.

        Without an interaction the Jacobian is diagonal, which makes stiff wells cheap.
        """
        from scipy.integrate import solve_ivp

        if t == self.t:
            return self.x
        self.calls = 0
        if self._may_arrive():
            with suppress(_TooMany):
                self.t, self.x = t, np.maximum.accumulate(self._along_walls(t))
                return self.x
            self.calls = 0
        size = self._size
        found = solve_ivp(self._drift, (self.t, t), self.x, method="LSODA", t_eval=[t],
                          rtol=self.rtol, atol=self.rtol * size, lband=0, uband=0)  # fmt: skip
        if not found.success or not np.isfinite(found.y).all():
            raise ConvergenceError(
                f"the paths of the quantiles cannot be followed to t = {t:g}: {found.message} Use "
                "schemes.Upwind()"
            )
        # paths never cross, but their errors do
        self.t, self.x = t, np.maximum.accumulate(self._inside(found.y[:, -1]))
        return self.x

    @property
    def _size(self) -> float:
        return max(float(np.ptp(self.x)), float(np.abs(self.x).max()), 1e-300)

    def _may_arrive(self) -> bool:
        """Whether the drift at a wall points outwards, where paths would come to rest."""
        if self.grid is None or self.grid.periodic[0]:
            return False
        x = self.x.copy()
        x[0], x[-1] = self.grid.lower[0], self.grid.upper[0]  # tracers, without mass
        drift = self._drift(self.t, x)
        return bool(drift[0] < 0 or drift[-1] > 0)

    def _along_walls(self, t: float) -> Array:
        """The same by explicit steps, of Dormand and Prince, in which paths at a wall are put back.

        A method of high order would find the kink of every path that comes to rest; here it makes
        no error that counts, as a path beyond a wall has arrived. Raises ``_TooMany`` where drifts
        are stiff.
        """
        from scipy.integrate import RK45

        now, x, h = self.t, self._inside(self.x), t - self.t
        tolerance = max(_KINKS * self.rtol, 1e-14) * self._size
        while now < t:
            h, stages = min(h, t - now), [self._drift(now, x)]
            for row, c in zip(RK45.A[1:], RK45.C[1:], strict=True):
                stages.append(self._drift(now + c * h, x + h * (row[: len(stages)] @ stages)))
            new = x + h * (RK45.B @ stages)
            stages.append(self._drift(now + h, new))
            error = self._error(x, new, h * np.stack(stages)) / tolerance
            if error <= 1:
                now, x = now + h, self._inside(new)
            h *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
            if self.calls > _EXPLICIT:
                raise _TooMany
        return x

    def _error(self, x: Array, new: Array, moves: Array) -> float:
        """Of a step from x to ``new`` by its stages, but for paths that have come to a wall.

        That is believed of paths that are beyond it, came from near, and were never turned back.
        """
        from scipy.integrate import RK45

        beyond = np.sign(new - self._inside(new))
        near = np.abs(moves).max(0) <= _NEAR * (self.grid.upper[0] - self.grid.lower[0])  # type: ignore[union-attr]
        arrived = (beyond != 0) & near & (moves * beyond >= 0).all(0)
        return float(np.abs(RK45.E @ moves)[~arrived].max(initial=0.0))

    def _drift(self, t: float, x: Array) -> Array:
        self.calls += 1
        if self.calls > _CALLS:
            raise ConvergenceError(
                f"after {_CALLS} evaluations of the drift the quantiles are at t = {t:.4g}: it "
                "jumps, as at a kink of V or W, or is too steep; use schemes.Upwind()"
            )
        here = self._inside(x)
        points = (here if self.grid is None else self.grid.wrapped(here[:, None])[:, 0])[:, None]
        drift = self._downhill(points)
        if getattr(self.equation, "force", None) is not None:
            drift = drift + finite_vectors("the force", self.equation.force, points)
        if self.equation.mean_field:
            drift = drift - self._attraction(points)
        return self._stopped(x, drift[:, 0])

    def _downhill(self, x: Array) -> Array:
        """-V', beside that at places of the box: by differences it is known in terms of these."""
        seen = x if self.grid is None else np.concatenate([x, self.grid.centres[:: self._skip]])
        return -np.asarray(self.slope(seen), dtype=float)[: len(x)]

    def _attraction(self, x: Array) -> Array:
        """Σ_j m_j ∇W(x_i - x_j), over the quantiles that carry mass."""
        pair, y = self.equation.interaction, x[_TAIL:-_TAIL]
        masses = np.full(len(y), self.mass / len(y))
        if of_two_points(pair):
            out: Array = pair.slope(x, y, masses)
            return out
        if is_quadratic(pair):
            return np.asarray(self.mass * pair.grad(x - y.mean(0)))
        rows = max(1, _ROOM // len(y))
        parts = [pair.grad(self._apart(x[i : i + rows], y)) for i in range(0, len(x), rows)]
        return np.concatenate([np.einsum("ijk,j->ik", part, masses) for part in parts])

    def _apart(self, x: Array, y: Array) -> Array:
        """Displacements from y to x, the shortest where the axis is periodic."""
        z = x[:, None] - y
        if self.grid is None or not self.grid.periodic[0]:
            return z
        length = self.grid.upper[0] - self.grid.lower[0]
        return np.asarray(z - length * np.round(z / length))

    def _inside(self, x: Array) -> Array:
        if self.grid is None or self.grid.periodic[0]:
            return x
        return np.clip(x, self.grid.lower[0], self.grid.upper[0])

    def _stopped(self, x: Array, drift: Array) -> Array:
        """Nothing passes a wall: what arrives there stays while it is pushed outwards.

        In a fixed potential that is for ever, and it may go on beyond, to be put back at the end.
        """
        fixed = not self.equation.mean_field
        if fixed or self.grid is None or self.grid.periodic[0]:
            return drift
        low, high = self.grid.lower[0], self.grid.upper[0]
        beyond = np.where(drift < 0, low - x, x - high) / (_LAYER * (high - low))
        return drift * np.clip(1 - beyond, 0.0, 1.0)  # a layer, as jumps cost every path a step


def start(initial: Any, grid: Grid, n: int) -> Array:
    """The quantiles of initial data at ``levels(n)``."""
    return inverse(cdf_of(initial, grid), levels(n), grid.lower[0], grid.upper[0])


def require_line(equation: Any, what: str) -> None:
    """``ValueError`` unless the equation is without noise, ``TypeError`` unless of a density."""
    if not getattr(equation, "carries_density", False):
        raise TypeError(
            f"{what} follows a FokkerPlanck or McKeanVlasov equation, got {checks.shown(equation)}"
        )
    if not equation.without_noise:
        raise ValueError(
            f"{what} follows equations without noise, beta = math.inf; got {checks.shown(equation)}"
        )
