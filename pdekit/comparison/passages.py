"""Passage times of particles against the mean times of the equation, though not all have passed.

With L τ = -1 outside the set and τ = 0 in it, min(s, σ) + τ(X_s) is a martingale, σ the time of
passage (Dynkin's formula). So at the end T of a simulation each particle has

    Z = min(T, σ) + [σ > T] τ(X_T),  E Z = τ(X_0),

whatever T is: who has not passed counts with the time that its place still asks for, and nothing
is lost to censoring. The mean of Z - τ(X_0) over independent particles is compared with 0.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import t as student

from pdekit.arrays import Array
from pdekit.checks import shown, text
from pdekit.comparison.inputs import acts_on_itself
from pdekit.comparison.verdict import checked_level
from pdekit.errors import AccuracyWarning

_FEWEST = 200  # particles, from which the level holds for times as skew as exponential ones
_OUTSIDE = 1e-3  # share of particles beyond the grid
_NAMES = "x", "y"


@dataclass(frozen=True)
class Passages:
    """The mean time of passage of ``particles`` against the ``expected`` one.

    ``mean`` is that of the times of those that ``passed`` (or stopped), and for the others of the
    time so far and what their places still ask for; its difference from ``expected`` has the
    ``standard_error``. ``blur``: by how many of these the cells may shift it.
    """

    mean: float
    expected: float
    standard_error: float
    skewness: float
    particles: int
    passed: int
    blur: float

    @property
    def score(self) -> float:
        """The difference over its standard error, with Johnson's correction for skewness (1978)."""
        z, n = (self.mean - self.expected) / self.standard_error, self.particles
        return z + self.skewness / sqrt(n) * (1 / 6 + z * z / 3)

    @property
    def p_value(self) -> float:
        """Two-sided, by Student's law."""
        return float(2 * student.sf(abs(self.score), self.particles - 1))

    def consistent(self, level: float = 0.01) -> bool:
        """Whether the means agree, with false alarms <= ``level``; see ``compare_passages``.

        Warns (``AccuracyWarning``) where they do not and too coarse cells may be the reason.
        Raises ``ValueError`` unless ``0 < level < 1``. Good values: 0.01, 0.001.
        """
        if self.p_value >= checked_level(level):
            return True
        if self.blur > abs(self.score) / 2:
            warnings.warn(
                f"rejected by {abs(self.score):.2g} standard errors, of which the cells may make "
                f"{self.blur:.2g}; take passage times on more cells",
                AccuracyWarning,
                stacklevel=2,
            )
        return False

    def __str__(self) -> str:
        return (
            f"mean time {self.mean:.5g} +- {self.standard_error:.2g} of {self.particles} particles "
            f"({self.passed} passed), expected {self.expected:.5g}: p = {self.p_value:.2g}"
        )


def compare_passages(times: xr.DataArray, ensemble: Any, name: str = "") -> Passages:
    """Compare passage times of particles with ``mean_first_passage_time``, by Dynkin's martingale.

    Parameters
    ----------
    times : τ of ``mean_first_passage_time(equation, grid, (lower, upper))``
    ensemble : of ``simulate(dynamics, ..., t=[0, ..., T], observe=FirstPassage(lower, upper))``,
        positions kept at the time 0 and at the end. Particles that stop on the way, at walls that
        absorb or by killing, count as τ does: the time to the set or to there
    name : of the observable, if it has one

    Null hypothesis: independent particles with E[min(T, σ) + (σ > T) τ(X_T)] = τ(X_0), so the
    equation's mean time. T may be any time: particles that have not passed are used, not left out.
    The statistic is the mean over its standard error, corrected for skewness (Johnson 1978); with
    exponential times the test at the levels 0.01 and 0.001 has false alarms of 0.0098 and 0.0008
    for the fewest particles, 200. τ is interpolated linearly; ``blur`` is what this may shift. The
    times of ``FirstPassage`` are of weak order one in dt, which enough particles show.

    Raises ``TypeError`` for ``times`` or an ensemble without what is needed, ``ValueError`` for
    another set than that of ``times``, fewer than 200 particles, those that interact, or that are
    beyond the grid. Good values: T of the order of the mean time, 10,000 particles: 1 %.
    """
    axes = _axes_of(times)
    passed, start, end, dynamics = _of_particles(ensemble, name, len(axes))
    _require_same_set(times, passed, name)
    stops = _stopped(ensemble)
    until = float(end["time"])
    x0, x1 = (_points(x) for x in (start, end))
    sigma = np.fmin(passed.values.ravel(), stops)
    waiting = ~(sigma <= until)
    fine, rough = (_Field(times, axes, dynamics, every) for every in (1, 2))
    values = [tau(x0) for tau in (fine, rough)], [tau(x1[waiting]) for tau in (fine, rough)]
    found, coarse = (
        _excess(sigma, waiting, until, first, last) for first, last in zip(*values, strict=True)
    )
    n, expected = found.size, float(values[0][0].mean())
    error = float(found.std(ddof=1)) / sqrt(n)
    if not error > 0:
        raise ValueError(
            "no particle is on its way to the set: all start in it, or T = 0; simulate to a time "
            "T > 0 from outside"
        )
    skew = float(((found - found.mean()) ** 3).mean()) / (error * sqrt(n)) ** 3
    blur = abs(float((found - coarse).mean())) / 3 / error
    mean = expected + float(found.mean())
    return Passages(mean, expected, error, skew, n, int(n - waiting.sum()), blur)


def _excess(sigma: Array, waiting: Any, until: float, first: Array, last: Array) -> Array:
    """Z - τ(X_0) of each particle."""
    z = np.where(waiting, until, sigma)
    z[waiting] += last
    return np.asarray(z - first)


def _axes_of(times: Any) -> tuple[str, ...]:
    axes = tuple(times.dims) if isinstance(times, xr.DataArray) else ()
    if axes not in (_NAMES[:1], _NAMES) or any(a not in times.coords for a in axes):
        raise TypeError(
            "times must be what mean_first_passage_time returns, a DataArray over x (and y), got "
            f"{shown(times)}"
        )
    return axes


def _of_particles(ensemble: Any, name: str, dim: int) -> tuple[Any, Any, Any, Any]:
    """Times of passage, positions at the start and at the end, and the dynamics."""
    text("compare_passages: name", name)
    called = f"{name}_passage_time" if name else "passage_time"
    x, observed = getattr(ensemble, "x", None), getattr(ensemble, "observed", None)
    if x is None or observed is None or called not in observed:
        raise TypeError(
            f"the ensemble must have positions and {called}, got {shown(ensemble)}; "
            f"simulate(..., observe=FirstPassage(lower, upper{', name' * bool(name)}))"
        )
    dynamics = getattr(ensemble, "dynamics", None)
    if acts_on_itself(dynamics):
        raise ValueError(
            f"particles of {type(dynamics).__name__} act on each other, and have no mean time that "
            "depends on their start alone; compare independent ones"
        )
    if float(x["time"][0]) != 0:
        raise ValueError(
            f"the places at the time 0 are needed, got times from {float(x['time'][0]):g} on; "
            "simulate(..., t=[0, ...])"
        )
    n = observed[called].size
    if n < _FEWEST or x.sizes["dim"] != dim:
        raise ValueError(
            f"expected at least {_FEWEST} particles with the {dim} coordinates of the times, got "
            f"{n} with {x.sizes['dim']}"
        )
    return observed[called], x.isel(time=0), x.isel(time=-1), dynamics


def _require_same_set(times: xr.DataArray, passed: xr.DataArray, name: str) -> None:
    """``ValueError`` unless the times are 0 in the cells of the set, and only there."""
    corners = zip(times.dims, passed.attrs["lower"], passed.attrs["upper"], strict=True)
    inside = np.ones(times.shape, bool)
    for axis, (dim, lower, upper) in enumerate(corners):
        at = times[dim].values.reshape([-1 if k == axis else 1 for k in range(times.ndim)])
        inside = inside & (at >= lower) & (at <= upper)
    if not np.array_equal(inside, times.values == 0):
        raise ValueError(
            f"the times are 0 in {np.count_nonzero(times.values == 0)} cells, where the set of "
            f"FirstPassage, from {passed.attrs['lower']} to {passed.attrs['upper']}, has "
            f"{np.count_nonzero(inside)}; give both the same set"
        )


def _points(x: xr.DataArray) -> Array:
    order = [d for d in ("run", "particle", "dim") if d in x.dims]
    points: Array = x.transpose(*order).values.reshape(-1, x.sizes["dim"])
    return points


def _stopped(ensemble: Any) -> Array | float:
    """When particles stopped, NaN where they did not."""
    ends = getattr(ensemble, "exits", None)
    return np.nan if ends is None else np.asarray(ends["time"].values).ravel()


class _Field:
    """τ at points, linear between every ``every``-th of the centres, constant beyond the last."""

    def __init__(self, times: xr.DataArray, axes: tuple[str, ...], dynamics: Any, every: int):
        box = getattr(dynamics, "box", None)
        self.ends = []
        nodes, values = [], times.values
        for k, axis in enumerate(axes):
            at = times[axis].values
            h = at[1] - at[0]
            self.ends.append((at[0] - h / 2, at[-1] + h / 2, bool(box and box.periodic[k])))
            at, values = at[::every], values.take(range(0, at.size, every), k)
            nodes.append(at)
            if self.ends[-1][2]:
                width = self.ends[-1][1] - self.ends[-1][0]
                nodes[-1] = np.concatenate([at[-1:] - width, at, at[:1] + width])
                values = values.take([-1, *range(at.size), 0], k)
        self.nodes, self.read = nodes, RegularGridInterpolator(nodes, values)

    def __call__(self, points: Array) -> Array:
        x, beyond = points.copy(), np.zeros(len(points), bool)
        for k, (lower, upper, wraps) in enumerate(self.ends):
            if wraps:
                x[:, k] = lower + (x[:, k] - lower) % (upper - lower)
            beyond |= (x[:, k] < lower) | (x[:, k] > upper)
            x[:, k] = np.clip(x[:, k], self.nodes[k][0], self.nodes[k][-1])
        if np.count_nonzero(beyond) > _OUTSIDE * max(len(points), 1000):
            raise ValueError(
                f"{np.count_nonzero(beyond)} of {len(points)} particles are beyond the grid of the "
                "times; take these on a larger one"
            )
        return np.asarray(self.read(x)) if len(x) else np.zeros(0)
