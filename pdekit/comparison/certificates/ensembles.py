"""Certificates of particles: positions, spread, contraction, circulation, law."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.certificates.certificate import (
    Certificate,
    at_least,
    at_most,
    does_not_apply,
)
from pdekit.comparison.certificates.rates import convexity
from pdekit.comparison.compare import compare
from pdekit.comparison.inputs import HasField
from pdekit.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

    from pdekit.particles.results import Ensemble


@dataclass(frozen=True)
class Contained:
    """Every particle on its way is finite, and in the box of the dynamics where it has one."""

    @staticmethod
    def proved_for(result: object) -> bool:
        """Particles."""
        return hasattr(result, "dynamics")

    def __call__(self, ensemble: Ensemble) -> Certificate:
        x = _points(ensemble)
        box = getattr(ensemble.dynamics, "box", None)
        outside = ~np.isfinite(x).all(-1)
        if box is not None:
            slack = 1e-12 * (np.array(box.upper) - np.array(box.lower))
            outside |= ((x < box.lower - slack) | (x > box.upper + slack)).any(-1)
        gone = _gone(ensemble)
        count = (outside & ~gone).sum(-1) - _to_come(ensemble, gone)
        k = int(count.argmax())
        note = "share of the particles" + ("" if box else ", no box")
        return at_most("contained", count[k] / x.shape[1], 0.0, 0.0, _when(ensemble, k), note)


def _to_come(ensemble: Any, gone: Any) -> Any:
    """How many have not entered yet, over time: those that are neither on their way nor gone."""
    alive = ensemble.alive
    if alive is None or "most" not in alive.coords:
        return 0
    share = alive.mean("run") if "run" in alive.dims else alive
    going = np.rint(share.values * alive.attrs["started"]).astype(int)
    return gone.shape[-1] - gone.sum(-1) - going


@dataclass(frozen=True)
class Spread:
    """tr Cov X(t) <= exp(-2 λ (t - s)) tr Cov X(s) + d (1 - exp(-2 λ (t - s))) / (β λ).

    For ``Langevin`` with Hess V >= λ > 0 over the box that holds the particles (widened by a
    tenth): synchronous coupling of two copies. ``curvature``: λ if it is known.
    Independent particles; allowance: the normal quantile of ``level`` (one-sided, divided
    among the times) times the standard error, and λ² dt / 2 of the bound. Mathematics 1.4.
    """

    curvature: float | None = None
    level: float = 1e-3

    def __post_init__(self) -> None:
        checks.parameters(self, level=checks.share)

    @staticmethod
    def proved_for(result: object) -> bool:
        """Particles that approach each other where V is convex."""
        return getattr(getattr(result, "dynamics", None), "contracts", False)

    def __call__(self, ensemble: Ensemble) -> Certificate:
        name, dynamics = "spread under convexity", ensemble.dynamics
        if not getattr(dynamics, "contracts", False) or hasattr(dynamics.potential, "at"):
            return does_not_apply(name, "of Langevin dynamics in a fixed potential")
        if getattr(dynamics, "cools", False):
            return does_not_apply(name, "of Langevin dynamics at one temperature")
        if ensemble.exits is not None:
            return does_not_apply(name, "of particles that do not stop")
        x = _points(ensemble)
        if x.shape[0] < 2:
            return does_not_apply(name, "it needs two stored times")
        rate, where = self.curvature, ""
        if rate is None:
            if x.shape[-1] > 2:
                return does_not_apply(name, "give the curvature in more than two dimensions")
            rate, where = convexity(dynamics.potential, _around(x))
        if not rate > 0:
            return does_not_apply(name, f"Hess V has the eigenvalue {rate:.4g} at {where}")
        return self._measured(name, ensemble, x, rate)

    def _measured(self, name: str, ensemble: Ensemble, x: Array, rate: float) -> Certificate:
        square = ((x - x.mean(1, keepdims=True)) ** 2).sum(-1)
        size, error = square.mean(1), square.std(1) / np.sqrt(x.shape[1])
        times = ensemble.x["time"].values
        kept = np.exp(-2 * rate * np.diff(times))
        rest = (1 - kept) * x.shape[-1] / (ensemble.dynamics.beta * rate)
        bound = kept * size[:-1] + rest
        quantile = NormalDist().inv_cdf(1 - self.level / len(kept))
        sampling = quantile * np.hypot(error[1:], kept * error[:-1])
        steps = max(ensemble.stats["dt"]) * rate / 2 * bound
        k = int(np.argmax(size[1:] - bound - sampling - steps))
        slack = float(sampling[k] + steps[k])
        return at_most(name, size[k + 1], bound[k], slack, _when(ensemble, k + 1), "tr Cov")


@dataclass(frozen=True)
class SynchronousContraction:
    """|X(t) - Y(t)| <= exp(-λ t) |X(0) - Y(0)| particle by particle, driven by the same noise.

    ``other``: an ensemble of the same ``Langevin`` dynamics, seed and steps from other points;
    Hess V >= λ > 0 as in ``Spread``. Value: the least rate over particles and intervals between
    stored times. Allowance λ² dt, Euler's error; distances below 1e-9 of the coordinates, and
    pairs of which one has stopped, do not count. Mathematics 1.4.
    """

    other: Ensemble
    curvature: float | None = None

    def __call__(self, ensemble: Ensemble) -> Certificate:
        name, dynamics, other = "paths contract", ensemble.dynamics, self.other
        same = other.dynamics == dynamics and other.seed == ensemble.seed
        if not same or other.x.shape != ensemble.x.shape:
            return does_not_apply(name, "it needs the same dynamics, seed, steps and size")
        if not getattr(dynamics, "contracts", False) or hasattr(dynamics.potential, "at"):
            return does_not_apply(name, "of Langevin dynamics in a fixed potential")
        x, y = _points(ensemble), _points(other)
        rate, where = self.curvature, ""
        if rate is None:
            if x.shape[-1] > 2:
                return does_not_apply(name, "give the curvature in more than two dimensions")
            both = np.concatenate([x, y], axis=1)
            rate, where = convexity(dynamics.potential, _around(both))
        if not rate > 0 or len(x) < 2:
            return does_not_apply(name, f"Hess V has the eigenvalue {rate:.4g} at {where}")
        apart = np.linalg.norm(x - y, axis=-1)
        spans = np.diff(ensemble.x["time"].values)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = -np.diff(np.log(apart), axis=0) / spans
        least = 1e-9 * max(np.nanmax(np.abs(x)), np.nanmax(np.abs(y)))
        rates = np.where((apart[1:] > least) & (apart[:-1] > least), rates, np.inf)
        k, particle = np.unravel_index(int(rates.argmin()), rates.shape)
        if not np.isfinite(rates[k, particle]):
            return does_not_apply(name, "all pairs have met")
        where = f"{_when(ensemble, int(k) + 1)}, particle {particle}"
        slack = max(ensemble.stats["dt"]) * rate * rate + 1e-9 / float(spans.min())
        return at_least(name, rates[k, particle], rate, slack, where, "rate per time")


@dataclass(frozen=True)
class TimeReversal:
    """Stationary and reversible: E[x(s) y(t) - y(s) x(t)] = 0, in standard errors.

    Started in the stationary state, a reversible process encloses no area on average between two
    times; one with a circulating current does. In the plane, over the largest of the intervals
    between stored times. ``level``: false alarms, divided among the intervals (independent
    particles). Mathematics 1.11.
    """

    level: float = 1e-3

    def __post_init__(self) -> None:
        checks.parameters(self, level=checks.share)

    def __call__(self, ensemble: Ensemble) -> Certificate:
        name = "encloses no area"
        x = _points(ensemble)
        if x.shape[-1] != 2 or len(x) < 2:
            return does_not_apply(name, "it needs particles in the plane at two or more times")
        if ensemble.exits is not None:
            return does_not_apply(name, "of particles that do not stop")
        centred = x - x.mean((0, 1))
        before, after = centred[:-1], centred[1:]
        area = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
        error = np.maximum(area.std(1), 1e-300) / np.sqrt(area.shape[1])
        score = np.abs(area.mean(1)) / error
        k = int(score.argmax())
        quantile = NormalDist().inv_cdf(1 - self.level / (2 * len(score)))
        note = f"standard errors; mean area {area[k].mean():.3g}"
        return at_most(name, score[k], 0.0, quantile, _when(ensemble, k + 1), note)


@dataclass(frozen=True)
class Equipartition:
    """Of particles with momenta, at rest: E p²/m = 1/β in every coordinate, at the last time.

    Value: the largest |β E p²/m - 1| over the coordinates. Allowance: the normal quantile of
    ``level`` (divided among them) times the standard error, and (ω dt)²/4, by which BAOAB's momenta
    are too slow in a well of frequency ω (Leimkuhler and Matthews 2013), here the largest at the
    start. Run for many times 1/friction: before, it says that they are not at rest.
    """

    level: float = 1e-3

    def __post_init__(self) -> None:
        checks.parameters(self, level=checks.share)

    @staticmethod
    def proved_for(result: object) -> bool:
        """Only if asked for: a run need not be long enough."""
        return False

    def __call__(self, ensemble: Ensemble) -> Certificate:
        name, dynamics = "equipartition", ensemble.dynamics
        if ensemble.p is None:
            return does_not_apply(name, "it needs particles with momenta, of UnderdampedLangevin")
        p = _stacked(ensemble.p)[-1]
        heat = dynamics.beta * p**2 / dynamics.mass
        off, error = np.abs(heat.mean(0) - 1), heat.std(0) / np.sqrt(len(p))
        quantile = NormalDist().inv_cdf(1 - self.level / (2 * p.shape[1]))
        k = int((off - quantile * error).argmax())
        step = ensemble.stats["curvature"] * max(ensemble.stats["dt"])
        slack = quantile * float(error[k]) + step**2 / 4
        where = f"{_when(ensemble, -1)}, coordinate {k}"
        return at_most(name, off[k], 0.0, slack, where, "of 1/β")


@dataclass(frozen=True)
class FollowsLaw:
    """The particles follow the density, by ``pk.compare``: its p-value is at least ``level``."""

    solution: HasField
    level: float = 0.01

    def __post_init__(self) -> None:
        checks.has("FollowsLaw: solution", self.solution, "a Solution", "u", "grid")
        checks.parameters(self, level=checks.share)

    def __call__(self, ensemble: Ensemble) -> Certificate:
        found = compare(self.solution, ensemble)
        p = found.data["p_value"]
        if found.p_value < self.level <= found.p_blurred:
            return does_not_apply("follows the law", "the cells are too coarse to decide")
        where = f"t = {p['time'].values[int(p.values.argmin())]:.4g}"
        return at_least("follows the law", found.p_value, self.level, 0.0, where, "p-value")


def _points(ensemble: Ensemble) -> Array:
    """Positions (time, particle, dim), all runs concatenated."""
    return _stacked(ensemble.x)


def _stacked(x: xr.DataArray) -> Array:
    order = [name for name in ("time", "run", "particle", "dim") if name in x.dims]
    values = np.asarray(x.transpose(*order).values, dtype=float)
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _gone(ensemble: Ensemble) -> Any:
    """Which particles have stopped, (time, particle); their positions are NaN from then on."""
    if ensemble.exits is None:
        return False
    at = ensemble.exits["time"]
    order = [name for name in ("run", "particle") if name in at.dims]
    return ensemble.x["time"].values[:, None] >= at.transpose(*order).values.ravel()


def _around(x: Array) -> Grid:
    """A box about all positions, however large its unit."""
    low, high = np.nanmin(x, (0, 1)), np.nanmax(x, (0, 1))
    extent = float((high - low).max()) or 1e-6 * (float(np.abs(high).max()) or 1.0)
    wider = np.maximum(0.05 * (high - low), 1e-3 * extent)
    cells = 400 if x.shape[-1] == 1 else 100
    return Grid(low - wider, high + wider, (cells,) * x.shape[-1])


def _when(ensemble: Ensemble, k: int) -> str:
    return f"t = {ensemble.x['time'].values[k]:.4g}"
