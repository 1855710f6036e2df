"""convergence(): separation of sampling error and time-step error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import optimize, stats

from pdekit.arrays import Array
from pdekit.checks import finite, number, positive, share, shown, whole
from pdekit.comparison.estimate import Estimate
from pdekit.comparison.inputs import acts_on_itself
from pdekit.protocols import Dynamics, Numbers, Start

ORDERS = (0.25, 4.0)
"""Range in which the order of the time-step bias is searched."""


@dataclass(frozen=True)
class Convergence:
    """Decomposition of the errors of ``E phi(X_t)`` by particles: ``m(N, h) = limit + b h^order + c
    / N``.

    ``rate``: exponent of the standard deviation of one run's mean, ``N^-rate``; 1/2 expected.
    ``order``: of the step's bias; its interval is all of ``ORDERS`` where no bias is seen.
    ``limit``: ``E phi`` at ``h = 0, N = infinity``. ``data``: Dataset over ``("dt", "n")`` with
    ``mean``, ``standard_error`` and ``spread`` (of one run), and over ``dt`` with ``bias`` and
    ``bias_error`` (standard error). ``crowding`` is ``c``, zero unless requested. ``p_fit``: of the
    chi-square of the means about the model; small if the model does not hold.
    """

    data: xr.Dataset
    rate: Estimate
    order: Estimate
    limit: Estimate
    crowding: Estimate
    p_fit: float

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [
            f"dt {dt:>8.4g}: bias {b:+.3g} ± {e:.2g}"
            for dt, b, e in zip(
                *(self.data[k].values for k in ("dt", "bias", "bias_error")), strict=True
            )
        ]
        return "\n".join(
            [
                f"spread of a run ~ N^-{self.rate}",
                f"bias of the step ~ dt^{self.order}",
                f"limit {self.limit}; 1/N term {self.crowding}; p of the fit {self.p_fit:.2g}",
                *rows,
            ]
        )


def convergence(
    dynamics: Dynamics | Callable[..., Numbers],
    initial: Start | None,
    observable: Callable[[Array], Any],
    t: float | None,
    n: Sequence[int] = (250, 1000, 4000),
    dt: Sequence[float] = (0.2, 0.1, 0.05),
    runs: int = 40,
    seed: int = 0,
    reference: float | None = None,
    order: float | None = None,
    terms: int = 1,
    crowding: bool | None = None,
    level: float = 0.95,
) -> Convergence:
    """Fit the ``N^-1/2`` rate and the bias of the time step of ``E phi(X_t)``, apart.

    ``m(N, h) = limit + b h^q + c / N`` is fitted to the means over independent runs by weighted
    least squares, ``s(N) = C N^-rate`` to their spread. Every ``(N, h)`` has its own noise, so all
    means are independent.

    Parameters
    ----------
    dynamics : anything accepted by ``simulate``, including interacting and two-scale dynamics; or a
        function ``(n, dt, runs, seed) -> positions`` of shape ``(runs, n, dim)`` at time ``t``
    initial, t : of ``simulate``; None for such a function, which fixes its own
    observable : phi, ``(..., dim) -> (...)``
    n : numbers of particles, at least two that differ
    dt : steps, at least two that differ (three if the order is to be estimated)
    reference : exact ``E phi`` at ``h = 0, N = infinity`` if it is known, for sharper estimates
    order : q where it is known (``integrator.weak_order``): the extrapolation is then linear
    terms : number of powers ``h^q, h^(q+1), ...`` in the bias; 2 for steps near the stability limit
    crowding : whether to fit ``c / N``, the finite-N bias of particles that act on each other;
        None: if the dynamics declares it (``interaction``, ``coupled``)
    level : of the intervals

    Intervals: of ``rate`` from the spread's logarithm, of variance ``1/(2(R-1))``; of ``order``,
    ``limit`` and ``crowding`` by profile likelihood, so that an order which is not known widens
    the others. A bias below the noise leaves ``order`` undetermined: use more particles, or
    larger steps. Intervals are valid only if ``p_fit`` does not reject the model.

    Raises ``ValueError`` for too few particles, steps or runs and for values that are not finite.
    Source: mathematics 1.9, 1.10; Talay and Tubaro 1990 for the expansion. Good values: N times
    runs such that the noise is a tenth of the largest bias.
    """
    sizes, steps = _ladder("n", n, 2), _ladder("dt", dt, 2 if order is not None else 3)
    terms, runs = whole("terms", terms, 1), whole("runs", runs, 1)
    if (sizes % 1).any():
        raise ValueError(f"n: expected whole numbers of particles, got {tuple(n)}")
    if len(steps) <= terms:
        raise ValueError(f"terms must be from 1 to the number of steps minus 1, got {terms}")
    if runs < 4:
        raise ValueError(f"runs must be at least 4 to estimate a spread, got {runs}")
    order = None if order is None else positive("order", order)
    reference = None if reference is None else number("reference", reference)
    seed = whole("seed", seed, 0)
    level = share("level", level)
    if crowding is None:
        crowding = acts_on_itself(dynamics)
    sampled = _sampler(dynamics, initial, t)
    means = np.empty((len(steps), len(sizes), runs))
    for i, h in enumerate(steps):
        for j, size in enumerate(sizes):
            here = seed + (i * len(sizes) + j) * 7919
            x = sampled(int(size), float(h), runs, here)
            means[i, j] = _run_means(observable, x, runs, int(size))
    return _fitted(means, steps, sizes, (reference, terms, crowding), order, level)


def _sampler(dynamics: Any, initial: Any, t: Any) -> Callable[[int, float, int, int], Any]:
    if callable(dynamics) and not hasattr(dynamics, "step"):
        return lambda n, dt, runs, seed: dynamics(n, dt, runs, seed)
    from pdekit.particles.ensemble import simulate

    def sample(n: int, dt: float, runs: int, seed: int) -> Any:
        return simulate(dynamics, initial, n, t, dt, runs=runs, seed=seed).final.values

    return sample


def _run_means(observable: Callable[[Array], Any], x: Any, runs: int, n: int) -> Array:
    points = np.asarray(x, dtype=float)
    if points.shape[:2] != (runs, n) or points.ndim != 3:
        raise ValueError(
            f"positions must have shape ({runs}, {n}, dim): runs, particles, coordinates; "
            f"got {points.shape}"
        )
    values = np.asarray(observable(points))
    if values.dtype.kind not in "iuf":
        raise TypeError(f"the observable must have real values, got {values.dtype}")
    values = values.astype(float)
    if values.shape != (runs, n):
        raise ValueError(
            f"the observable maps (..., dim) to (...), expected {(runs, n)}, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("the observable is not finite at some particles; try a smaller dt")
    return np.asarray(values.mean(axis=1))


def _fitted(
    means: Array,
    steps: Array,
    sizes: Array,
    settings: tuple[float | None, int, bool],
    order: float | None,
    level: float,
) -> Convergence:
    runs = means.shape[2]
    spread = means.std(axis=2, ddof=1)
    rate, amplitude = _rate(spread, sizes, runs, level)
    # the fitted spread is less noisy than that of one (N, h)
    error = np.broadcast_to(amplitude * sizes**-rate.value, spread.shape) / np.sqrt(runs)
    model = _Model(means.mean(axis=2), error, steps, sizes, *settings)
    found, slacks = _order(model, order, level)
    limit, crowd = model.estimates(found.value, slacks)
    values, _, misfit = model.fit(found.value)
    weights = error**-2
    # the limit is reported with its own interval: the bias is taken relative to it
    centred = model.mean - limit.value - crowd.value / sizes
    bias = (weights * centred).sum(axis=1) / weights.sum(axis=1)
    data = xr.Dataset(
        {
            "mean": (("dt", "n"), model.mean),
            "standard_error": (("dt", "n"), error),
            "spread": (("dt", "n"), spread),
            "bias": ("dt", bias),
            "bias_error": ("dt", weights.sum(axis=1) ** -0.5),
        },
        coords={"dt": steps, "n": sizes.astype(int)},
        attrs={"runs": runs, "level": level},
    )
    freedom = model.mean.size - len(values) - (order is None)
    p_fit = float(stats.chi2.sf(misfit, freedom)) if freedom > 0 else float("nan")
    return Convergence(data, rate, found, limit, crowd, p_fit)


@dataclass(frozen=True)
class _Model:
    """``m(N, h) = limit + b h^q + c / N`` with known errors, linear but for ``q``."""

    mean: Array
    error: Array
    steps: Array
    sizes: Array
    reference: float | None
    terms: int
    crowding: bool

    def fit(self, q: float) -> tuple[Array, Array, float]:
        """Coefficients ``([limit], [c], b...)``, their errors, and the chi-square left."""
        one = np.ones_like(self.mean)
        scaled = self.steps[:, None] / self.steps.max()
        columns = []
        target = self.mean.copy()
        if self.reference is None:
            columns.append(one)
        else:
            target -= self.reference
        if self.crowding:
            columns.append(one / self.sizes)
        columns += [scaled ** (q + k) * one for k in range(self.terms)]
        design = np.stack([c.ravel() / self.error.ravel() for c in columns], axis=-1)
        values, *_ = np.linalg.lstsq(design, (target / self.error).ravel(), rcond=None)
        residual = (target / self.error).ravel() - design @ values
        errors = np.sqrt(np.diag(np.linalg.pinv(design.T @ design)))
        return np.asarray(values), np.asarray(errors), float(residual @ residual)

    def estimates(self, q: float, slacks: dict[float, float]) -> tuple[Estimate, Estimate]:
        """Limit and ``c``: values at the order ``q``, intervals over all plausible orders."""
        best = self.fit(q)[0]
        fits = [(self.fit(p), slack) for p, slack in slacks.items()]

        def at(k: int) -> Estimate:
            low = min(values[k] - slack * errors[k] for (values, errors, _), slack in fits)
            high = max(values[k] + slack * errors[k] for (values, errors, _), slack in fits)
            return Estimate(float(best[k]), float(low), float(high))

        known = self.reference
        limit = at(0) if known is None else Estimate(known, known, known)
        crowd = at(int(known is None)) if self.crowding else Estimate(0.0, 0.0, 0.0)
        return limit, crowd


def _rate(spread: Array, sizes: Array, runs: int, level: float) -> tuple[Estimate, float]:
    """Exponent and constant of ``s = C N^-rate``; the logarithm of ``s`` has variance
    ``1/(2(R-1))``, the same everywhere."""
    if not (spread > 0).all():
        raise ValueError(
            "all runs have the same mean: no spread to fit; check that the dynamics draws noise"
        )
    x = np.broadcast_to(np.log(sizes), spread.shape).ravel()
    y = np.log(spread).ravel()
    moved = x - x.mean()
    slope = moved @ y / (moved @ moved)
    half = stats.norm.isf((1 - level) / 2) / np.sqrt(2 * (runs - 1) * (moved @ moved))
    return _interval(-slope, half), float(np.exp(y.mean() - slope * x.mean()))


def _order(model: _Model, order: float | None, level: float) -> tuple[Estimate, dict[float, float]]:
    """Profile likelihood: the orders whose chi-square is within a quantile of the least.

    Returned with them: how many standard errors the other coefficients may move at each.
    """
    slack = float(stats.chi2.isf(1 - level, 1))
    if order is not None:
        return Estimate(order, order, order), {order: np.sqrt(slack)}
    grid = np.linspace(*ORDERS, 76)
    misfits = np.array([model.fit(q)[2] for q in grid])
    k = int(misfits.argmin())
    around = (grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(lambda q: model.fit(q)[2], bounds=around, method="bounded")
    best, least = float(found.x), float(found.fun)
    left = dict(zip(grid.tolist(), slack - (misfits - least), strict=True)) | {best: slack}
    seen = [q for q, r in left.items() if r >= 0]
    # the ends lie between the grid's points
    ends = [
        _crossing(lambda q: model.fit(q)[2] - least - slack, edge, grid, step)
        for edge, step in ((min(seen), -1), (max(seen), 1))
    ]
    points = np.linspace(ends[0], ends[1], 21).tolist()
    between = {q: slack - (model.fit(q)[2] - least) for q in points}
    inside = {q: np.sqrt(max(r, 0.0)) for q, r in (left | between).items() if r >= -1e-6 * slack}
    return Estimate(best, *ends), inside


def _crossing(excess: Callable[[float], float], edge: float, grid: Array, step: int) -> float:
    """Where the excess becomes positive, between ``edge`` and the next point of the grid."""
    beyond = grid[grid * step > edge * step]
    if not beyond.size:
        return edge
    outer = float(beyond.min() if step > 0 else beyond.max())
    # at a grid point from which nothing is inside the excess is positive
    return float(optimize.brentq(excess, edge, outer)) if excess(outer) > 0 else outer


def _interval(value: float, half: float) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half))


def _ladder(name: str, values: Sequence[float], least: int) -> Array:
    what = f"at least {least} different positive numbers"
    ladder = np.unique(finite(name, values, what))
    if np.ndim(values) != 1 or len(ladder) < least or not (ladder > 0).all():
        raise ValueError(f"{name} must be {what}, got {shown(values)}")
    return ladder
