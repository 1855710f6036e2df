"""Stationary states of McKean-Vlasov equations: all of them, with their stability."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError, ResolutionWarning, TruncationWarning
from pdekit.grid import Grid, require_grid
from pdekit.interactions import is_quadratic
from pdekit.pde.discrete.generators import gibbs
from pdekit.pde.discrete.gibbs_map import FieldMap, SelfConsistentState
from pdekit.pde.discrete.mean_field import pair_field, warn_if_narrow
from pdekit.pde.discrete.peclet import upwinded
from pdekit.pde.discrete.problem import Problem, require_noise
from pdekit.pde.discrete.truncation import LOST_MASS, wall_mass
from pdekit.pde.equations import McKeanVlasov

_MESH = 2001  # least number of means at which R(m) - m is evaluated
_SETTLED = 1e-6  # L1 residual of a state above which a warning is given
_EXPLORED = (200, 32)  # most cells per axis, on a line and in the plane, for the search of states
_NEAR = 12  # number of known states between which and a new one more are searched
_STEPS = 60  # steps of descent from a localised start before Newton's method


def self_consistent_states(equation: McKeanVlasov, grid: Grid) -> list[SelfConsistentState]:
    """Stationary states of a ``McKeanVlasov`` equation on a grid, by rising mean.

    Curie-Weiss on a line: all of them, as the zeros of R(m) - m, R(m) the mean of
    exp(-beta (V + λ |x - m|²/2)) / Z, bracketed on a mesh of means that is refined wherever R - m
    or its slope changes sign, so that pairs near a fold are not missed. Otherwise
    Newton's method after some descent from localised starts, and with deflation from many starts:
    not necessarily all states; of states that differ by a shift or a reflection (V constant round a
    circle) one is returned.

    Integrals are sums over the cells, so the states are stationary for ``solve`` on the grid
    to rounding; they converge beyond all orders in h for smooth V that rise at the walls. States
    narrower than the cells are pinned by them, which a ``ResolutionWarning`` says; a
    ``TruncationWarning``, that walls cut off mass of a state.
    Raises ``TypeError`` for another equation and ``ConvergenceError`` where no state is found.
    Mathematics 1.6; Kantas et al. p. 4-6 with errata 15-17.
    """
    if not isinstance(equation, McKeanVlasov):
        raise TypeError(f"self_consistent_states takes a McKeanVlasov equation, got {equation!r}")
    require_grid("grid", grid)
    system = FieldMap(equation, grid)
    problem = Problem(equation, grid, None)
    problem.look_at_seam(stacklevel=2)
    problem.look_between_centres(stacklevel=2)
    if is_quadratic(equation.interaction) and grid.dim == 1:
        means = MeanMap.of(equation, grid).fixed_points()
        fields = [system.curie_weiss_field(m) for m in means]
    else:
        fields = _found(system)
    states = [system.state(field) for field in fields]
    if not states:
        raise ConvergenceError("Newton's method found no self-consistent state; refine the grid")
    _warn_if_coarse(system, states)
    _warn_if_unsettled(states)
    _warn_if_walls_matter(states, grid)
    warn_if_narrow(equation.interaction, grid, equation.beta)
    return sorted(states, key=lambda state: (state.mean, state.free_energy))


def _warn_if_unsettled(states: list[SelfConsistentState]) -> None:
    """Warn if the accuracy of a state is limited by rounding times a large response."""
    worst = max(states, key=lambda state: state.residual)
    if not worst.residual <= _SETTLED:
        warnings.warn(
            f"the state of mean {worst.mean} has a residual of {worst.residual:.2g}: its response "
            f"{worst.response:.3g} multiplies rounding, and no numbers are closer to it",
            AccuracyWarning,
            stacklevel=3,
        )


def _warn_if_walls_matter(states: list[SelfConsistentState], grid: Grid) -> None:
    """Warn where the box cuts off a state: in a wider one it is another."""
    lost = [min(1.0, float(wall_mass(s.density.values, grid))) for s in states]
    if max(lost) > LOST_MASS:
        warnings.warn(
            f"{sum(m > LOST_MASS for m in lost)} of {len(states)} states reach the walls of the "
            f"box [{grid.lower}, {grid.upper}], which cut off up to {max(lost):.3g} of their mass. "
            "Enlarge the grid, unless the no-flux walls are intended",
            TruncationWarning,
            stacklevel=3,
        )


def _warn_if_coarse(system: "FieldMap", states: list[SelfConsistentState]) -> None:
    """Warn where cells wider than a state pin it: each cell may then have its own state."""
    shares = []
    for state in states:
        rho = state.density.values
        shares.append(upwinded(rho, system.V + system.pair(rho), system.beta, system.grid))
    if max(shares) > 0.1:
        warnings.warn(
            f"{sum(s > 0.1 for s in shares)} of {len(states)} states are narrower than the cells, "
            "over which beta (V + W * rho) changes by more than 2; cells pin such states and may "
            "make several of one. Use a finer grid",
            ResolutionWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False)
class MeanMap:
    """m -> R(m) and its slope for Curie-Weiss on a line; R'(m) = beta λ Var (mathematics 1.6)."""

    x: Array
    V: Array
    beta: float
    strength: float

    @staticmethod
    def of(equation: McKeanVlasov, grid: Grid) -> "MeanMap":
        checks.fixed("potential", equation.potential)
        require_noise(equation, "a self-consistent state")
        pair_field(equation.interaction, grid, equation.beta)  # refuses a periodic axis
        values = Problem(equation, grid, None).potential()
        linear: Any = equation.interaction
        return MeanMap(grid.axes[0], values, equation.beta, float(linear.strength))

    def __call__(self, m: Array) -> tuple[Array, Array]:
        """R and R' at means m (k,)."""
        first, second = [], []
        for some in np.array_split(m, ceil(m.size * self.x.size / 2**20)):
            power = self.V + self.strength * (self.x - some[:, None]) ** 2 / 2
            w = np.exp(-self.beta * (power - power.min(1, keepdims=True)))
            w /= w.sum(1, keepdims=True)
            mean = w @ self.x
            first.append(mean)
            second.append((w * (self.x - mean[:, None]) ** 2).sum(1))
        return np.concatenate(first), self.beta * self.strength * np.concatenate(second)

    def summary(self, m: float) -> tuple[float, float]:
        """Free energy of a state of mean m, -log(Z_m) / beta on these cells, and R'(m)."""
        power = self.beta * (self.V + self.strength * (self.x - m) ** 2 / 2)
        least = float(power.min())
        total = float(np.exp(least - power).sum()) * float(self.x[1] - self.x[0])
        return (least - float(np.log(total))) / self.beta, self.slope(m) + 1

    def gap(self, m: float) -> float:
        """R(m) - m."""
        return float(self.at(np.array([m]))[1, 0])

    def slope(self, m: float) -> float:
        """R'(m) - 1."""
        return float(self.at(np.array([m]))[2, 0])

    def at(self, m: Array) -> Array:
        """m, R(m) - m and R'(m) - 1: (3, k)."""
        R, slope = self(m)
        return np.stack([m, R - m, slope - 1])

    def fixed_points(self) -> list[float]:
        """Every m with R(m) = m, to 1e-13 of the box.

        At each mean R is evaluated once: another evaluation may round to the other sign, and a zero
        between two intervals would then be in neither.
        """
        width = self.x[-1] - self.x[0]
        n = min(max(_MESH, ceil(abs(self.beta * self.strength) * width**2)), 20 * _MESH)
        meshes = [self.at(np.linspace(self.x[0], self.x[-1], n))]
        for _ in range(3):
            meshes = [self._finer(ends) for ends in _interesting(meshes)]
        found = [m for ends in _interesting(meshes) for m in self._roots(*ends)]
        merged: list[float] = []
        for m in sorted(found):
            if not merged or m - merged[-1] > 1e-9 * width:
                merged.append(m)
        return merged

    def _finer(self, ends: Array) -> Array:
        """Sixteen intervals for one; what is known at its ends is kept."""
        inside = self.at(np.linspace(ends[0, 0], ends[0, 1], 17)[1:-1])
        return np.concatenate([ends[:, :1], inside, ends[:, 1:]], axis=1)

    def _roots(self, m: Array, gaps: Array, slopes: Array) -> list[float]:
        """Zeros of R - m between neighbours of the finest mesh: one, two at a fold, or none."""
        width = float(self.x[-1] - self.x[0])
        zero = partial(_zero, known=dict(zip(m, gaps, strict=True)), tolerance=2e-15 * width)
        a, b = map(float, m)
        if not gaps.all():
            return [float(place) for place, value in zip(m, gaps, strict=True) if value == 0]
        if gaps[0] < 0 < gaps[1] or gaps[1] < 0 < gaps[0]:
            return [zero(self.gap, a, b)]
        if slopes[0] * slopes[1] >= 0:
            return []
        turn = _zero(self.slope, a, b, dict(zip(m, slopes, strict=True)), 2e-15 * width)
        at_turn = self.gap(turn)
        if at_turn * gaps[0] < 0:
            return [zero(self.gap, a, turn), zero(self.gap, turn, b)]
        # a tangency: the mesh is so fine here that rounding decides between none and two zeros
        return [turn] if abs(at_turn) < 1e-12 * width else []


def _interesting(meshes: list[Array]) -> Iterator[Array]:
    """Neighbours between which R - m or its slope changes sign: (3, 2), as ``MeanMap.at``."""
    for mesh in meshes:
        _, gaps, slopes = np.sign(mesh)  # products of small numbers may vanish
        crosses = (gaps[:-1] * gaps[1:] <= 0) | (slopes[:-1] * slopes[1:] <= 0)
        for k in np.flatnonzero(crosses):
            yield mesh[:, k : k + 2]


def _zero(
    f: Callable[[float], float], a: float, b: float, known: dict[float, float], tolerance: float
) -> float:
    """The zero of f between a and b, where some of its values are ``known``."""
    from scipy.optimize import brentq

    def value(m: float) -> float:
        return known[m] if m in known else f(m)

    return float(brentq(value, a, b, xtol=tolerance, rtol=1e-15))


def _found(system: FieldMap) -> list[Array]:
    """Mean fields of the states, searched first on a coarser grid if that divides this one."""
    grid, most = system.grid, _EXPLORED[system.grid.dim - 1]
    factors = [next(f for f in range(1, n + 1) if (n % f == 0 and n // f <= most) or f == n)
               for n in grid.cells]  # fmt: skip
    cells = [n // f for n, f in zip(grid.cells, factors, strict=True)]
    if min(cells) < most // 2:  # no suitable divisor
        factors, cells = [1] * grid.dim, list(grid.cells)
    coarse = FieldMap(system.equation, Grid(grid.lower, grid.upper, cells, grid.periodic))
    fields = []
    for field in _deflated(coarse):
        rho = coarse.density(field)
        for axis, factor in enumerate(factors):
            rho = np.repeat(rho, factor, axis)
        polished = newton(system, system.pair(rho), [])
        if polished is not None:
            fields.append(polished)
    return fields


def _deflated(system: FieldMap) -> Iterator[Array]:
    """Mean fields of the states that Newton's method reaches, each one deflated once found.

    The residual is multiplied by Π (1 + 1/|field - found|²), which only scales the Newton step
    (Farrell, Birkisson and Funke 2015).
    """
    known: list[Array] = []
    densities: list[Array] = []
    starts = [(start, True) for start in _starts(system)][::-1]
    starts += [(_descended(system, start), False) for start in _crowds(system)]
    while starts:
        start, deflate = starts.pop()
        field = newton(system, start, known if deflate else [])
        if field is None:
            continue
        rho = system.density(field)
        if not any(system.same(rho, other) for other in densities):
            if system.grid.dim == 1:
                starts += [(near, False) for other in known[-_NEAR:]
                           for near in _between(field, other)]  # fmt: skip
            known.append(field)
            densities.append(rho)
            yield field


def _between(one: Array, other: Array) -> Iterator[Array]:
    """Half way, and close to either on both sides, where Newton's method finds
    states repelled by deflation: the partner of a state near a fold."""
    for share in (0.5, 0.1, 0.9, -0.1, 1.1):
        yield (1 - share) * one + share * other


def newton(system: FieldMap, field: Array, known: list[Array], even: bool = False) -> Array | None:
    """A mean field of a state near ``field``, away from the ``known`` ones; None if it fails.

    ``even`` keeps to fields symmetric about the middle, where a pitchfork is no singularity.
    """
    rounding = 1e-12 / system.beta + 4e-15 * system.pair.largest  # of the sums W * rho
    for _ in range(40):
        rho = system.density(field)
        residual = field - system.pair(rho)
        size = float(system.grid.integrate(rho * np.abs(residual)))
        if size < rounding + 1e-12 * float(system.grid.integrate(rho * np.abs(field))):
            return system.pair(rho)
        if even:
            residual = (residual + np.flip(residual)) / 2
        step = system.newton_step(field, rho, residual)
        if even:
            step = (step + np.flip(step)) / 2
        pull = sum(_deflation(system, field, other, step) for other in known)
        factor = 1 / (1 - pull) if abs(1 - pull) > 1e-3 else 1e3
        # limited to a change of a few units of beta times the potential
        longest = float(np.ptp(step)) * abs(factor) * system.beta / 4
        field = field + step * (factor / max(1.0, longest))
    return None


def _deflation(system: FieldMap, field: Array, other: Array, step: Array) -> float:
    """Derivative of log(1 + 1/|field - other|²) along the step."""
    apart = field - other
    square = float(system.grid.integrate(apart * apart))
    return -2 * float(system.grid.integrate(apart * step)) / (square * (square + 1) + 1e-300)


def _starts(system: FieldMap) -> Iterator[Array]:
    """Mean fields of: exp(-beta V), bumps over the box, ripples, and equal parts of two bumps."""
    grid = system.grid
    plain = gibbs(system.V, system.beta, grid)
    yield system.pair(plain)
    share = [(x - a) / (b - a) for x, a, b in zip(
        np.moveaxis(grid.centres, -1, 0), grid.lower, grid.upper, strict=True)]  # fmt: skip
    places = np.linspace(0.1, 0.9, 9 if grid.dim == 1 else 5)
    for centre in np.stack(np.meshgrid(*[places] * grid.dim), -1).reshape(-1, grid.dim):
        yield system.pair(_bump(grid, share, centre))
        if grid.dim == 1:
            yield system.pair((_bump(grid, share, centre) + _bump(grid, share, 1 - centre)) / 2)
    for k in range(1, 4):
        wave: Callable[[Array], Array] = partial(np.multiply, 2 * np.pi * k)
        ripple = 1 + 0.9 * np.prod([np.cos(wave(s)) for s in share], axis=0)
        yield system.pair(ripple / grid.integrate(ripple))


def _crowds(system: FieldMap) -> Iterator[Array]:
    """Mean fields of masses in one cell, at several places of the box."""
    grid = system.grid
    shares = np.linspace(0.04, 0.96, 12 if grid.dim == 1 else 4)
    for place in product(*[(shares * n).astype(int).tolist() for n in grid.cells]):
        crowd = np.zeros(grid.shape)
        crowd[place] = 1 / grid.cell_volume
        yield system.pair(crowd)


def _descended(system: FieldMap, field: Array) -> Array:
    """A mean field some steps towards a stable state, none of which increases the free energy."""
    share, rho = 0.5, system.density(field)
    least = system.energy(rho)
    for _ in range(_STEPS):
        new = field + share * (system.pair(rho) - field)
        moved = system.density(new)
        energy = system.energy(moved)
        if energy > least:
            share /= 2
            continue
        field, rho, least, share = new, moved, energy, min(1.3 * share, 1.0)
    return field


def _bump(grid: Grid, share: list[Array], centre: Array) -> Array:
    """A Gaussian bump of a twelfth of the box about ``centre``, as shares of the box."""
    bump = np.exp(-72 * sum((s - c) ** 2 for s, c in zip(share, centre, strict=True)))
    out: Array = bump / grid.integrate(bump)
    return out
