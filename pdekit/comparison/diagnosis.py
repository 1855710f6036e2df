"""What is wrong: the factors of temperature, drift or clock by which particles differ, or the step.

With ρ_θ the density of a particle at a time and s = ∂ρ/∂θ its ``sensitivity``, the score of a
particle at X is s(X)/ρ(X); one that has stopped has -∫ s / (1 - ∫ ρ). Their sum ψ over times has
mean 0 at the true θ, and Newton's step θ + ψ̄ / H, H = Σ_t ∫ s²/ρ, ends at the estimate of greatest
(composite) likelihood: one step where its square is small beside the standard error, else more,
from the density at the new θ. Positions of one particle at several times depend on each other,
particles do not: so the error is that of the mean ψ̄ over particles, (var ψ / n)^(1/2) / H.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import chdtrc, ndtri

from pdekit.arrays import Array, IntArray
from pdekit.comparison.diagnosis_words import words
from pdekit.comparison.directions import moved, names_of, score
from pdekit.comparison.inputs import HasField, HasParticles, particles_of, shared_times
from pdekit.comparison.layers import bend
from pdekit.errors import AccuracyWarning, TruncationWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.rate_changes import BETA, CLOCK, STEP, StepBias
from pdekit.pde.sensitivity import checked

LEVEL, AGREES = 0.95, 0.01
_STEPS, _CLOSE = 8, 0.05  # Newton's steps, until the square of one is below this share of the error
_FARTHEST = 0.5  # of a factor in one step
_KNOWN = 1e-8  # share of the information of the other parameters from which there is some
_RANK = 1e-6  # of the largest eigenvalue of the correlations of the scores
_BLURRED = 0.5  # share of the interval


class Scores(NamedTuple):
    """Sums of scores ψ ``(rows, parameters)``, how many particles have each; of one particle the
    information H, and what the cells may add to its mean score, per parameter.
    """

    psi: Array
    counts: Array
    information: Array
    blur: Array

    @property
    def mean(self) -> Array:
        mean: Array = self.counts @ self.psi / self.counts.sum()
        return mean

    @property
    def covariance(self) -> Array:
        """Of the mean."""
        n, rest = self.counts.sum(), self.psi - self.mean
        covariance: Array = (self.counts[:, None] * rest).T @ rest / (n * (n - 1))
        return covariance

    def error(self, k: int) -> float:
        """The standard error of a parameter."""
        return float(self.covariance[k, k] ** 0.5 / self.information[k])


def diagnosis(solution: HasField, ensemble: HasParticles) -> xr.Dataset:
    """``Comparison.diagnosis``."""
    problem = checked(solution, CLOCK, None)
    if problem.equation.mean_field:
        raise ValueError(
            "a diagnosis is of particles that do not act on each other, by FokkerPlanck or Heat; "
            f"got a solution of {type(problem.equation).__name__}"
        )
    names, bias = names_of(problem, ensemble)
    grid = problem.grid
    x = particles_of(ensemble, grid)
    pairs = shared_times(np.asarray(solution.u["time"].values), np.asarray(x["time"].values))
    times = np.array([float(solution.u["time"].values[here]) for here, _ in pairs])
    cells = np.stack([_cells(x.isel(time=there), grid) for _, there in pairs])
    data = _Data(problem, times, *_rows(cells, problem), names, bias)
    null = data.scores(None, 0.0, names)
    rows = [data.row(name, null) for name in names]
    made = xr.Dataset(
        {key: ("parameter", [row[key] for row in rows]) for key in rows[0]},
        {"parameter": list(names)},
        {"level": LEVEL, "p_value": _left(null, [])[0]},
    )
    unit = data.unit(null, STEP) if STEP in names else np.nan
    made.attrs["words"] = words(made, ensemble, AGREES, unit)
    _report_cells(made, grid)
    return made


def _report_cells(found: xr.Dataset, grid: Grid) -> None:
    """A warning where the cells alone may shift a factor by half of its interval."""
    reach = ((found["upper"] - found["lower"]) / 2).values
    worst = int(np.argmax(found["blur"].values / reach))
    blur = float(found["blur"].values[worst])
    if blur > _BLURRED * reach[worst]:
        warnings.warn(
            f"the cells are too coarse for the factor of {found['parameter'].values[worst]}: "
            f"centre values and averages of {grid.cells} cells differ by {blur:.2g} of it, the "
            f"interval is ± {reach[worst]:.2g}; take more cells",
            AccuracyWarning,
            stacklevel=4,
        )


def _cells(x: xr.DataArray, grid: Grid) -> IntArray:
    """The cell of every particle, flat; -1 of those that have stopped."""
    order = [d for d in ("run", "particle", "dim") if d in x.dims]
    points = np.asarray(x.transpose(*order).values, dtype=float).reshape(-1, grid.dim)
    stopped = np.isnan(points).any(axis=1)
    flat = np.asarray(grid.cell_of(np.where(stopped[:, None], grid.lower, points)))
    return np.where(stopped, -1, flat)


def _rows(cells: IntArray, problem: Problem) -> tuple[IntArray, Array]:
    """Cells ``(times, rows)`` and how many particles were there: at one time by cells."""
    if len(cells) > 1:
        return cells, np.ones(cells.shape[1])
    size = int(np.prod(problem.grid.shape))
    counts = np.bincount(cells[0] + 1, minlength=size + 1).astype(float)
    return np.arange(-1, size)[None], counts


class _Data(NamedTuple):
    problem: Problem
    times: Array
    cells: IntArray  # (time, rows)
    counts: Array
    names: tuple[str, ...]
    bias: StepBias | None

    def scores(self, parameter: str | None, value: float, names: tuple[str, ...]) -> Scores:
        """At the equation with the logarithm of a parameter, or a step, at a value."""
        problem, times = self.problem, self.times
        if parameter == CLOCK:
            times = np.exp(value) * times
        elif parameter not in (None, STEP):
            changed = _scaled(problem.equation, str(parameter), float(np.exp(value)))
            problem = replace(problem, equation=changed)
        step = value if parameter == STEP else 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            rho, along = moved(problem, times, names, self.bias, step)
        return self._summed(rho, np.stack([along[name] for name in names], axis=1))

    def _summed(self, rho: Array, along: Array) -> Scores:
        grid, k = self.problem.grid, along.shape[1]
        psi, information, blur = np.zeros((self.counts.size, k)), np.zeros(k), np.zeros(k)
        for cells, u, every in zip(self.cells, rho, along, strict=True):
            s = grid.cell_volume * every.reshape(k, -1)
            each = np.stack([score(u, one, grid).ravel() for one in every])
            gone, lost = 1 - grid.integrate(u), -s.sum(axis=1)
            of_stopped = lost / gone if gone > _KNOWN else np.zeros(k)
            psi += np.column_stack([each, of_stopped])[:, cells].T
            information += (s * each).sum(axis=1) + lost * of_stopped
            blur += each @ bend(grid.cell_volume * u, grid).ravel()
        return Scores(psi, self.counts, information, np.abs(blur))

    def row(self, name: str, null: Scores) -> dict[str, float]:
        """The value of a parameter if all others are right, and whether it alone explains."""
        k = self.names.index(name)
        unit, least = self.unit(null, name), -np.inf if name == STEP else 0.0
        if not null.information[k] * self._scale(name) > _KNOWN * null.information.max():
            return _row(np.nan, least, np.inf, 0.0, *_left(null, []), null)
        value, scores = 0.0, null
        for _ in range(_STEPS):
            error, step = scores.error(k), float(scores.mean[k] / scores.information[k])
            value += float(np.clip(step, -_FARTHEST * unit, _FARTHEST * unit))
            if step**2 < _CLOSE * error * unit:
                break
            scores = self.scores(name, value, self.names)
        else:  # no value of it makes these particles likely
            return _row(np.nan, least, np.inf, 0.0, 0.0, np.inf, null)
        reach = ndtri((1 + LEVEL) / 2) * error
        blur = float(scores.blur[k] / scores.information[k])
        low, middle, high = value + reach * np.array([-1.0, 0.0, 1.0])
        if name != STEP:
            low, middle, high = np.exp([low, middle, high])
        return _row(middle, low, high, blur, *_left(scores, [k]), null)

    def _scale(self, name: str) -> float:
        """Of the information on a step, to compare it with that on factors."""
        return float(self.times.max() ** 2) if name == STEP else 1.0

    def unit(self, null: Scores, name: str) -> float:
        """A change of order one: the step that moves particles as far as others by a factor."""
        if name != STEP:
            return 1.0
        k = self.names.index(STEP)
        own = max(float(null.information[k]), 1e-300)
        return float((np.delete(null.information, k).max() / own) ** 0.5)


def _row(
    estimate: float,
    lower: float,
    upper: float,
    blur: float,
    alone: float,
    left: float,
    null: Scores,
) -> dict[str, float]:
    explained = max(0.0, 1 - left / max(_left(null, [])[1], 1e-300))
    return {
        **{"estimate": estimate, "lower": lower, "upper": upper, "p_alone": alone},
        **{"explained": explained, "blur": blur},
    }


def _scaled(equation: Any, parameter: str, factor: float) -> Any:
    if parameter == BETA:
        return replace(equation, beta=equation.beta * factor)
    V, force = equation.potential, equation.force
    pushed = None if force is None else lambda x: factor * np.asarray(force(x))
    return replace(equation, potential=lambda x: factor * V(x), force=pushed)


def _left(scores: Scores, free: list[int]) -> tuple[float, float]:
    """That all parameters are right but for those that are free, p-value and chi-square: what the
    other scores say beyond the linear part that follows the free ones.
    """
    mean, C = scores.mean, scores.covariance
    size = np.sqrt(np.diag(C))
    kept = size > 0
    z, R = mean[kept] / size[kept], C[np.ix_(kept, kept)] / np.outer(size[kept], size[kept])
    places = np.flatnonzero(kept)
    for k in (int(np.flatnonzero(places == k)[0]) for k in free if kept[k]):
        z, R = z - R[:, k] * z[k], R - np.outer(R[:, k], R[k])
    if not z.size:
        return 1.0, 0.0
    values, axes = np.linalg.eigh(R)
    real = values > _RANK
    statistic = float(((z @ axes[:, real]) ** 2 / values[real]).sum())
    return (float(chdtrc(real.sum(), statistic)) if real.any() else 1.0), statistic
