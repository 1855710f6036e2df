"""Parameters of an equation from particles, by maximum likelihood with the solver's own densities.

With A(θ) the generator on the cells, P = exp(τ A) moves densities over a gap τ, and its derivative
by θ is the corner of the exponential of [[A, A_θ], [0, A]]. A path of stored states has the
likelihood Π P(x_k, x_{k+1}), a snapshot Π ρ_t(x); the score of one particle is the sum of the
derivatives of its logarithms, and the products of scores sum to the information (Fisher).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem

_STEP = 1e-3  # relative change of a parameter, for differences of fourth order of the rates
_MOST_CELLS = 2000  # of dense propagators
_LEAST = 1e-13  # of the largest density: rounding of a dense exponential
_NARROW = 0.3  # share of a cell's mass that stays in one cell: a standard deviation of 1.3 cells
_SINGULAR = 1e-8  # least eigenvalue of the correlations of scores
_CLOSE = 1e-2  # distance from the optimum, in standard errors
_CELLS = 0.25  # effect of the cells that is told, in standard errors


@dataclass(frozen=True, eq=False)
class Fit:
    """The most likely parameters; ``covariance`` in the order of ``estimate``."""

    estimate: dict[str, float]
    covariance: Array = field(repr=False)
    log_likelihood: float
    cell_error: dict[str, float] = field(repr=False)
    """How far the cells are estimated to move the estimate: a third of what twice the width does"""

    @property
    def standard_errors(self) -> dict[str, float]:
        return dict(zip(self.estimate, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Wald's interval of each parameter, of this coverage for many particles, less for few."""
        from scipy.special import ndtri

        z = float(ndtri(0.5 + checks.share("level", level) / 2))
        errors = self.standard_errors
        return {k: (v - z * errors[k], v + z * errors[k]) for k, v in self.estimate.items()}

    def __repr__(self) -> str:
        errors = self.standard_errors
        parts = [f"{k} = {v:.6g} +- {errors[k]:.2g}" for k, v in self.estimate.items()]
        return f"Fit({', '.join(parts)}; log likelihood {self.log_likelihood:.6g})"


def fit(
    equation: Callable[[dict[str, float]], Any],
    data: Any,
    start: Mapping[str, float],
    grid: Grid,
    initial: Any = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Fit:
    """Maximum likelihood of the parameters of a ``FokkerPlanck`` on a line, from its particles.

    Parameters
    ----------
    equation : from a mapping of parameters to a ``FokkerPlanck`` with coefficients fixed in time,
        noise, and closed ends: ``lambda p: FokkerPlanck(Quadratic(p["k"]), p["beta"])``
    data : an ``Ensemble`` of one run, or a DataArray ``(time, particle[, dim])`` of positions
    start : a first guess of each parameter
    grid : that all positions lie in, of at most 2000 cells (a propagator is a dense matrix); cells
        of a third of the spread of a transition, or less
    initial : None: the data are paths, and each stored state is a transition from the one before.
        Else the law at time 0, and the data are snapshots; particles are independent of each
        other, not of themselves at other times (covariance of the sandwich form)
    bounds : of parameters, ``{"beta": (0.1, 50)}``; the search tries values far from ``start``

    Exact in time for the generator on the cells; logarithms of densities are interpolated by cubic
    splines. The score is exact too, by the linearised propagator (rates are differenced, never the
    likelihood). Errors of the cells are of second order, estimated in ``cell_error``.

    Warns (``AccuracyWarning``) of an optimum on a bound, of parameters that the data do not
    identify and of cells that matter beside the standard errors, and (``ResolutionWarning``) of
    transitions narrower than the cells. Raises ``ValueError`` for positions outside the grid, and
    ``ConvergenceError`` where the search ends away from an optimum.
    """
    names, guess = _named(start)
    limits = _limits(bounds, names, guess)
    times, x = _positions(data, grid, snapshots=initial is not None)
    model = _Model(equation, names, grid, initial, times, x)
    theta = _maximum(model, guess, limits)
    log_likelihood, scores = model.scores(theta)
    information = np.einsum("kni,knj->ij", scores, scores)
    free = ~np.isclose(theta, limits.T, rtol=1e-9, atol=0).any(axis=0)
    for name in np.array(names)[~free]:
        _warn(f"{name} ends on its bound; its standard error is that of a free parameter")
    covariance = _covariance(information, scores.sum(axis=0), names)
    cell_error = _of_cells(model, theta, scores, covariance, names)
    estimate = dict(zip(names, theta.tolist(), strict=True))
    return Fit(estimate, covariance, log_likelihood, cell_error)


def _warn(message: str, kind: type[Warning] = AccuracyWarning) -> None:
    warnings.warn(message, kind, stacklevel=3)


def _named(start: Any) -> tuple[list[str], Array]:
    if not isinstance(start, Mapping) or not start:
        raise TypeError(
            f'start must map names to numbers, as {{"beta": 1.0}}, got {checks.shown(start)}'
        )
    names = [checks.text("a name in start", name) for name in start]
    return names, np.array([checks.number(f'start["{k}"]', start[k]) for k in names])


def _limits(bounds: Any, names: list[str], guess: Array) -> Array:
    """(parameter, 2)."""
    if not isinstance(bounds or {}, Mapping) or not set(bounds or {}) <= set(names):
        raise ValueError(
            f"bounds must map names of start to (low, high), got {checks.shown(bounds)}"
        )
    limits = np.tile([-np.inf, np.inf], (len(names), 1))
    for i, name in enumerate(names):
        if name in (bounds or {}):
            given = checks.numbers(f'bounds["{name}"]', bounds[name], "(low, high)")
            if given.shape != (2,) or not given[0] <= guess[i] <= given[1] or given[0] == given[1]:
                raise ValueError(
                    f'bounds["{name}"] must be (low, high) about start["{name}"] = {guess[i]:g}, '
                    f"got {checks.shown(bounds[name])}"
                )
            limits[i] = given
    return limits


def _positions(data: Any, grid: Any, snapshots: bool) -> tuple[Array, Array]:
    """Times, and positions (time, particle, dim)."""
    checks.one_of("grid", grid, "a Grid", Grid)
    if grid.dim > 1:
        raise ValueError(f"fit works on a line; got a grid of {grid.dim} axes")
    x = getattr(data, "x", data) if not hasattr(data, "dims") else data
    dims = tuple(getattr(x, "dims", ()))
    if dims not in (("time", "particle"), ("time", "particle", "dim")) or "time" not in x.coords:
        raise TypeError(
            "data must be an Ensemble of one run or a DataArray (time, particle[, dim]) with "
            f"times, got {checks.shown(data)}"
        )
    times = np.array(checks.output_times(x["time"].values.tolist()))
    at = checks.finite("data", x.values).astype(float)
    at = at[..., None] if at.ndim == 2 else at
    if at.shape[-1] != grid.dim or at.shape[1] == 0 or len(times) < (1 if snapshots else 2):
        raise ValueError(
            f"data must be positions of particles in {grid.dim} dimensions at one time or more "
            f"(paths: two or more), got shape {at.shape} (time, particle, dim)"
        )
    if any(grid.periodic):
        raise ValueError("fit takes grids with ends, got a periodic one")
    outside = ((at < grid.lower) | (at > grid.upper)).any(axis=-1)
    if outside.any():
        raise ValueError(
            f"{outside.sum()} of {outside.size} positions lie outside of {grid}, between "
            f"{at.min():g} and {at.max():g}; use a wider grid"
        )
    return times, at


@dataclass(frozen=True, eq=False)
class _Model:
    """The likelihood of the data, and its scores, as functions of θ."""

    equation: Callable[[dict[str, float]], Any]
    names: list[str]
    grid: Grid
    initial: Any
    times: Array
    x: Array

    def problem(self, theta: Array) -> Problem:
        equation = self.equation(dict(zip(self.names, theta.tolist(), strict=True)))
        if not (getattr(equation, "linear", False) and equation.carries_density):
            raise TypeError(f"equation must give a FokkerPlanck, got {checks.shown(equation)}")
        gains = [getattr(equation, name, None) for name in ("killing", "resetting", "walls")]
        if equation.without_noise or equation.supplied or any(g is not None for g in gains):
            raise ValueError(
                f"fit is for equations with noise and closed ends, got {checks.shown(equation)}: "
                "leave out killing, source, resetting and walls"
            )
        problem = Problem(equation, self.grid, self.initial)
        if problem.time_dependent:
            raise ValueError(f"fit is for fixed coefficients, got {checks.shown(equation)}")
        return problem

    def generator(self, theta: Array) -> Array:
        return np.asarray(self.problem(theta).generator().matrix().toarray())

    def change(self, theta: Array, i: int) -> Array:
        """∂A/∂θ_i, of rates that are smooth in θ."""
        h = np.zeros(len(theta))
        h[i] = _STEP * (abs(theta[i]) or 1.0)
        near = self.generator(theta + h) - self.generator(theta - h)
        far = self.generator(theta + 2 * h) - self.generator(theta - 2 * h)
        return np.asarray((8 * near - far) / (12 * h[i]))

    def scores(self, theta: Array) -> tuple[float, Array]:
        """The log likelihood, and the scores (time, particle, parameter)."""
        A = self.generator(theta)
        changes = [self.change(theta, i) for i in range(len(theta))]
        if self.initial is None:
            return self._of_transitions(A, changes)
        return self._of_snapshots(A, changes, self.problem(theta).values.ravel())

    def _of_transitions(self, A: Array, changes: list[Array]) -> tuple[float, Array]:
        gaps = np.diff(self.times)
        total, scores = 0.0, np.empty((len(gaps), self.x.shape[1], len(changes)))
        for gap, ks in _equal(gaps):
            P, dP = _propagators(A, changes, gap)
            pairs = np.concatenate([self.x[ks], self.x[ks + 1]], axis=-1)
            logs, slopes = self._logarithms(P / self.grid.cell_volume, dP, pairs)
            total, scores[ks] = total + logs, slopes
        return total, scores

    def _of_snapshots(self, A: Array, changes: list[Array], rho: Array) -> tuple[float, Array]:
        total, scores = 0.0, np.empty((*self.x.shape[:2], len(changes)))
        along = [np.zeros_like(rho) for _ in changes]
        for k, gap in enumerate(np.diff(self.times, prepend=0.0)):
            P, dP = _propagators(A, changes, gap)
            along = [s @ P + rho @ d for s, d in zip(along, dP, strict=True)]
            rho = rho @ P
            slopes = [s * self.grid.cell_volume for s in along]
            logs, scores[k] = self._logarithms(rho, slopes, self.x[k])
            total += logs
        return total, scores

    def _logarithms(self, p: Array, slopes: list[Array], x: Array) -> tuple[float, Array]:
        """The sum of log p, and its derivatives, by the spline of log p through the centres."""
        least = _LEAST * p.max()
        kept = p > least
        logs = np.log(np.maximum(p, least))
        fields = [np.where(kept, s / (self.grid.cell_volume * np.maximum(p, least)), 0)
                  for s in slopes]  # fmt: skip
        out = [self._between(f, x) for f in (logs, *fields)]
        return float(out[0].sum()), np.stack(out[1:], axis=-1)

    def _between(self, values: Array, x: Array) -> Array:
        from scipy.ndimage import map_coordinates

        times = x.shape[-1] // self.grid.dim
        lower, spacing = np.tile(self.grid.lower, times), np.tile(self.grid.spacing, times)
        index = np.moveaxis((x - lower) / spacing - 0.5, -1, 0)
        cells = values.reshape(self.grid.shape * times)
        return np.asarray(map_coordinates(cells, index, order=3, mode="nearest"))


def _equal(gaps: Array) -> list[tuple[float, Any]]:
    """Distinct gaps, with where they are."""
    rounded = np.array([float(f"{gap:.9e}") for gap in gaps])
    return [(float(gap), np.flatnonzero(rounded == gap)) for gap in np.unique(rounded)]


def _propagators(A: Array, changes: list[Array], gap: float) -> tuple[Array, list[Array]]:
    from scipy.linalg import expm, expm_frechet

    if gap == 0 or not changes:
        return expm(gap * A), [np.zeros_like(A) for _ in changes]
    pairs = [expm_frechet(gap * A, gap * change) for change in changes]
    return pairs[0][0], [pair[1] for pair in pairs]


def _maximum(model: _Model, guess: Array, limits: Array) -> Array:
    """By BFGS within the limits, in units of the standard errors at the guess."""
    from scipy.optimize import minimize

    if np.prod(model.grid.shape) > _MOST_CELLS:
        raise ValueError(
            f"grid must have at most {_MOST_CELLS} cells for a dense propagator, got "
            f"{np.prod(model.grid.shape)}; use fewer"
        )
    unit = 1 / np.sqrt(np.maximum((model.scores(guess)[1] ** 2).sum(axis=(0, 1)), 1e-300))
    unit = np.minimum(unit, np.abs(guess) + 1.0)

    def negative(z: Array) -> tuple[float, Array]:
        value, scores = model.scores(np.clip(guess + unit * z, *limits.T))
        return -value, -unit * scores.sum(axis=(0, 1))

    box = (limits - guess[:, None]) / unit[:, None]
    found = minimize(
        negative, np.zeros(len(guess)), jac=True, method="L-BFGS-B", bounds=box,
        options={"ftol": 1e-15, "gtol": _CLOSE / 10, "maxiter": 200},
    )  # fmt: skip
    slope = np.where((found.x <= box[:, 0]) | (found.x >= box[:, 1]), 0.0, found.jac)
    if not np.abs(slope).max() < _CLOSE:
        raise ConvergenceError(
            f"the search for the maximum ended with a slope of {np.abs(slope).max():.2g} per "
            f"standard error ({found.message}); start nearer, or give bounds"
        )
    best: Array = np.clip(guess + unit * found.x, *limits.T)
    return best


def _covariance(information: Array, by_particle: Array, names: list[str]) -> Array:
    """H^-1 J H^-1, with J of the scores of whole particles."""
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    if values[0] < _SINGULAR or size.min() < 1e-140:
        share = dict(zip(names, (vectors[:, 0] / size * size.min()).round(3).tolist(), strict=True))
        _warn(f"the data do not identify the parameters along {share}; fix one of them")
        return np.full_like(information, np.inf)
    inverse = (vectors / values) @ vectors.T / np.outer(size, size)
    return np.asarray(inverse @ (by_particle.T @ by_particle) @ inverse)


def _of_cells(
    model: _Model, theta: Array, scores: Array, covariance: Array, names: list[str]
) -> dict[str, float]:
    """By one step of scoring from what the scores are on cells of twice the width."""
    errors = np.sqrt(np.diag(covariance))
    if not np.isfinite(errors).all():
        return dict.fromkeys(names, np.nan)
    if model.initial is None:
        _resolved(model, theta)
    grid = model.grid
    fewer = tuple(max(n // 2, 3) for n in grid.shape)
    coarse = replace(model, grid=Grid(grid.lower, grid.upper, fewer))
    change = (coarse.scores(theta)[1] - scores).sum(axis=(0, 1))
    information = np.einsum("kni,knj->ij", scores, scores)
    shift = np.linalg.solve(information, change) / 3
    for name, by, error in zip(names, shift, errors, strict=True):
        if abs(by) > _CELLS * error:
            _warn(f"the cells move {name} by about {abs(by / error):.2g} standard errors; use more")
    return dict(zip(names, shift.tolist(), strict=True))


def _resolved(model: _Model, theta: Array) -> None:
    from scipy.linalg import expm

    shortest = float(np.diff(model.times).min())
    stays = expm(shortest * model.generator(theta)).max(axis=1).reshape(model.grid.shape)
    most = float(np.median(model._between(stays, model.x[:-1])))
    if most > _NARROW**model.grid.dim:
        _warn(
            f"after {shortest:g} a share {most:.2f} of the mass is in one cell: transitions are "
            "narrower than the cells; use more cells, or every second state",
            ResolutionWarning,
        )
