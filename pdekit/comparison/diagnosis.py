"""What is wrong: the factors of temperature, drift or clock by which particles differ.

With ρ_θ the density of a particle at a time and s = ∂ρ/∂θ its ``sensitivity``, the score of a
particle at X is s(X)/ρ(X); one that has stopped has -∫ s / (1 - ∫ ρ). Their sum ψ over times has
mean 0 at the true θ, and Newton's step θ + ψ̄ / H, H = Σ_t ∫ s²/ρ, repeated from the density at the
new θ, ends at the estimate of greatest (composite) likelihood. Positions of one particle at several
times depend on each other, particles do not: so its error is that of the mean ψ̄ over particles,
(var ψ / n)^(1/2) / H.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import chi2, norm

from pdekit.arrays import Array, IntArray
from pdekit.comparison.inputs import HasField, HasParticles, particles_of, shared_times
from pdekit.comparison.layers import bend
from pdekit.errors import AccuracyWarning, TruncationWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.sensitivity import BETA, CLOCK, DRIFT, along_parameters, checked

LEVEL, AGREES = 0.95, 0.01
_STEPS, _CLOSE = 8, 0.05  # Newton's steps, until one is below this share of the standard error
_FARTHEST = 0.5  # of a factor in one step
_KNOWN = 1e-8  # share of the information of the other parameters from which there is some
_LEAST = 1e-300
_BLURRED = 0.5  # share of the interval
OTHER = {BETA: DRIFT, DRIFT: BETA, CLOCK: BETA}


class Scores(NamedTuple):
    """Of every particle ψ, ``(n, parameters)``; of one the information H, and what the cells may
    add to its mean score, per parameter.
    """

    psi: Array
    information: Array
    blur: Array

    @property
    def mean(self) -> Array:
        mean: Array = self.psi.mean(axis=0)
        return mean

    @property
    def covariance(self) -> Array:
        """Of the mean."""
        return np.atleast_2d(np.cov(self.psi, rowvar=False)) / len(self.psi)


def diagnosis(solution: HasField, ensemble: HasParticles) -> xr.Dataset:
    """``Comparison.diagnosis``."""
    problem = checked(solution, CLOCK, None)
    names = [BETA, DRIFT, CLOCK] if hasattr(problem.equation, "potential") else [CLOCK]
    grid = problem.grid
    x = particles_of(ensemble, grid)
    pairs = shared_times(np.asarray(solution.u["time"].values), np.asarray(x["time"].values))
    times = np.array([float(solution.u["time"].values[here]) for here, _ in pairs])
    cells = np.stack([_cells(x.isel(time=there), grid) for _, there in pairs])
    data = _Data(problem, times, cells, names)
    null = data.scores(None, 1.0)
    rows = [data.row(name, null) for name in names]
    agree = _p_of(null)
    made = xr.Dataset(
        {key: ("parameter", [row[key] for row in rows]) for key in rows[0]},
        {"parameter": names},
        {"level": LEVEL, "p_value": agree},
    )
    made.attrs["words"] = _words(made)
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


class _Data(NamedTuple):
    problem: Problem
    times: Array
    cells: IntArray  # (time, particle)
    names: list[str]

    def scores(self, parameter: str | None, factor: float) -> Scores:
        """At the equation with a parameter times a factor."""
        problem, times = self.problem, self.times
        if parameter == CLOCK:
            times = factor * times
        elif parameter is not None:
            problem = replace(problem, equation=_scaled(problem.equation, parameter, factor))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            rho, along = along_parameters(problem, times, tuple(self.names))
        volume = problem.grid.cell_volume
        psi, information = np.zeros((self.cells.shape[1], len(self.names))), []
        blurs, blur = [bend(volume * u, problem.grid).ravel() for u in rho], []
        for j, name in enumerate(self.names):
            total = blurred = 0.0
            for k, cells in enumerate(self.cells):
                p, s = volume * rho[k].ravel(), volume * along[name][k].ravel()
                score = np.divide(s, p, out=np.zeros_like(s), where=p > _LEAST)
                gone, lost = 1 - p.sum(), -s.sum()
                of_stopped = lost / gone if gone > _KNOWN else 0.0
                psi[:, j] += np.append(score, of_stopped)[cells]
                total += float(s @ score) + lost * of_stopped
                blurred += float(blurs[k] @ score)
            information.append(total)
            blur.append(abs(blurred))
        return Scores(psi, np.array(information), np.array(blur))

    def row(self, name: str, null: Scores) -> dict[str, float]:
        """The factor of a parameter if all others are right, and whether it alone explains."""
        k = self.names.index(name)
        if not null.information[k] > _KNOWN * null.information.max():
            unknown = {"estimate": np.nan, "lower": 0.0, "upper": np.inf, "blur": 0.0}
            return unknown | {"p_alone": _p_of(null)}
        log_factor, scores = 0.0, null
        for _ in range(_STEPS):
            error = scores.covariance[k, k] ** 0.5 / scores.information[k]
            step = scores.mean[k] / scores.information[k]
            log_factor += float(np.clip(step, -_FARTHEST, _FARTHEST))
            scores = self.scores(name, float(np.exp(log_factor)))
            if abs(step) < _CLOSE * error:
                break
        else:  # no factor of it makes these particles likely
            return {"estimate": np.nan, "lower": 0.0, "upper": np.inf, "p_alone": 0.0, "blur": 0.0}
        error = scores.covariance[k, k] ** 0.5 / scores.information[k]
        reach = norm.ppf((1 + LEVEL) / 2) * error
        blur = float(scores.blur[k] / scores.information[k])
        low, middle, high = np.exp(log_factor + reach * np.array([-1.0, 0.0, 1.0]))
        rest = self._p_of_the_rest(name, scores)
        return {"estimate": middle, "lower": low, "upper": high, "p_alone": rest, "blur": blur}

    def _p_of_the_rest(self, name: str, scores: Scores) -> float:
        """Of what is left to another parameter, at the estimate of this one."""
        if len(self.names) == 1:
            return _p_of(scores)
        k, j = self.names.index(name), self.names.index(OTHER[name])
        psi = scores.psi - scores.mean
        own, both = float((psi[:, k] ** 2).sum()), float((psi[:, k] * psi[:, j]).sum())
        left = scores.psi[:, j] - both / own * scores.psi[:, k]
        spread = float(left.std())
        if not spread > _KNOWN**0.5 * float(psi[:, j].std()):
            return 1.0
        z = left.mean() / spread * len(left) ** 0.5
        return float(2 * norm.sf(abs(z)))


def _scaled(equation: Any, parameter: str, factor: float) -> Any:
    if parameter == BETA:
        return replace(equation, beta=equation.beta * factor)
    V, force = equation.potential, equation.force
    pushed = None if force is None else lambda x: factor * np.asarray(force(x))
    return replace(equation, potential=lambda x: factor * V(x), force=pushed)


def _p_of(scores: Scores) -> float:
    """That all parameters are right: the two that are independent, or one."""
    used = scores.psi[:, :2]
    mean, covariance = used.mean(axis=0), np.atleast_2d(np.cov(used, rowvar=False)) / len(used)
    values, axes = np.linalg.eigh(covariance)
    kept = values > _KNOWN * values[-1]
    if not kept.any() or not values[-1] > 0:
        return 1.0
    z = (mean @ axes)[kept] ** 2 / values[kept]
    return float(chi2.sf(z.sum(), kept.sum()))


def _words(found: xr.Dataset) -> str:
    """In a line."""
    names = [str(name) for name in found["parameter"].values]
    if found.attrs["p_value"] >= AGREES:
        return f"{_listed(names)} agree{'s' if len(names) == 1 else ''} with the equation"
    alone = found["p_alone"].values
    best = int(np.argmax(alone))
    low, high = (float(found[end].values[best]) for end in ("lower", "upper"))
    others = [name for k, name in enumerate(names) if k != best]
    if alone[best] >= AGREES:
        also = [names[k] for k in np.flatnonzero(alone >= AGREES) if k != best]
        rest = f"; {_listed(others)} agree" if others else ""
        if also:
            rest = f", or it is {_listed(also)}: these times do not tell them apart"
        return f"{names[best]} is {low:.4g} to {high:.4g} of what the equation says{rest}"
    one = " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    return (
        f"no factor of {one} alone explains the difference (closest: {names[best]}, {low:.4g} to "
        f"{high:.4g}, p = {alone[best]:.1g})"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
