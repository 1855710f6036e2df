"""compare(): do the particles follow the density?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit.arrays import Array, IntArray, Numbers
from pdekit.checks import whole
from pdekit.comparison import bootstrap, joint, runs
from pdekit.comparison.clouds import Cloud, clouds_of
from pdekit.comparison.directions import Directions, directions_of
from pdekit.comparison.distances import (
    DIRECTIONS,
    chi_square,
    combined,
    equal_mass_bins,
    expected_outside,
    kl,
    kolmogorov_smirnov,
    l1,
    nowhere,
    outside_test,
    pooled,
    smallest_bin,
    w1_sliced,
)
from pdekit.comparison.exits import Exits, exits_of
from pdekit.comparison.given import given_particles
from pdekit.comparison.inputs import (
    HasField,
    HasParticles,
    acts_on_itself,
    density_of,
    mass_of,
    shared_times,
    survivors_of,
)
from pdekit.comparison.joint import Scored
from pdekit.comparison.layers import (
    Layers,
    along_scores,
    cell_blur,
    layered_tests,
    layers,
    p_values,
)
from pdekit.comparison.metrics import KL, L1, W1, Metric, Sample
from pdekit.comparison.survival import FEWEST, Survival, most_of, survival_of
from pdekit.comparison.verdict import INDEPENDENT, INDICATIVE, RUNS, Comparison, outer
from pdekit.grid import Grid
from pdekit.protocols import Times

# Share of the false alarms allotted to each test, of those that ``verdict.PARAMETERS`` leaves. The
# last test only reacts to particles where almost none should be, and gets little.
SHARES = {"broad": 0.6, "smooth": 0.2, "rest": 0.19, "outside": 0.01}
ENDINGS = {"survival": 0.2, "exits": 0.2}  # beside them, of particles that may stop

BLURS = 2.0
"""Assumed error of the cells, in units of the difference between centre value and average."""


def compare(
    solution: HasField,
    ensemble: HasParticles | Numbers,
    metrics: Metric | Sequence[Metric] = (),
    draws: int = 199,
    seed: int = 0,
    *,
    t: Times | None = None,
    weights: Numbers | None = None,
) -> Comparison:
    """Compare particles with a density, at every time that both have.

    Null hypothesis: the particles are independent draws from the density, so the counts in cells
    are multinomial with probabilities ``rho * cell_volume``. Every run of a ``run`` axis is pooled.
    For particles that act on each other see below.

    Parameters
    ----------
    solution : has ``.u``, dims ``("time", "x"[, "y"])``, a density (1/length^dim), and ``.grid``
    ensemble : has ``.x``, dims ``("time", ["run",] "particle", "dim")``, positions; or, if these
        were not kept, a histogram on the grid of the solution, ``observe=Histogram(grid)``, whose
        particles are taken as uniform within their cells. Of particles with momenta
        (``ensemble.p``) on a line, (q, p) are compared with a density in the plane, q with one on
        the line. Or an array, tensor or DataArray of the positions of independent particles, from
        wherever they are: (n, d), on a line (n,), at the time ``t``, or (times, n, d) at several
    t : of positions that are given as an array
    weights : of these, one a particle: each is kept with the probability of its weight over the
        largest, so that those that are kept (at least 50) are draws of the weighted law; weights
        of a law with wider tails than that of the particles have no bound, and lose its tails
    metrics : more distances, each with floor and p-value: values of `pdekit.comparison.metrics`,
        ``L1, KL, ChiSquare, KolmogorovSmirnov, W1, W2, SlicedW2, Energy, Moments``, ``EVERY``
    draws, seed : of the parametric bootstrap behind them; 199 draws resolve p-values to 0.005

    Distances
    ---------
    ``l1``, ``kl`` and ``chi2`` are computed on bins of near-equal mass, unions of cells with at
    least 25 particles expected; masses of bins are exact sums. ``w1`` is exact on the line; in the
    plane it is the mean over 16 fixed directions (sliced), a lower bound of the true distance.
    ``ks`` is the largest difference of marginal distribution functions at cell faces. Floors are
    expectations in closed form; no random numbers are drawn.

    The p-value
    -----------
    Deviations are tested layer by layer, largest scale first. Of a density of ``solve`` whose
    coefficients are fixed in time: the scores s / ρ along temperature, drift, clock and step
    (``sensitivity``), which no test of a single wrong parameter beats by much, with 0.95 of the
    false alarms, by the joint law of the scores, also of several times. Then mean, second moments
    and ``log rho`` together; Neyman's smooth test on the distribution
    functions; what chi-square on the bins sees beyond these (any shape). For many particles the
    layers are independent and have chi-square laws, accurate far into the tail; so that these hold
    for few particles too, cells are merged into groups with at least ten expected particles. The
    number of particles beyond the walls, or where the density is next to nothing, joins them
    (Poisson). The smallest weighted p-value is combined into one (Tippett).

    Of particles that may stop (``ensemble.alive``) the density is that of a sub-probability. How
    many are left is binomial (``survival``, ``expected_survival``, ``p_survival``); given that, the
    survivors are compared with the density over its mass, if there are 50, and NaN stands for their
    distances if not. How many stopped at each wall since the time before, of those that were on
    their way then, is compared with what the density lost there (``exits``, ``expected_exits`` over
    ``wall``, ``p_exits``): the law of exit times, as finely as there are times. This is left out
    where the ensemble has no ``exits``, or the solution cannot tell its own (``Solution.exits``).

    Requested metrics are ranked among ``draws`` ensembles of the null hypothesis, on at
    most 1024 boxes of cells (32 x 32 in the plane); their smallest p-value is ranked too (min-p),
    which is ``p_metrics``. Then ``p_value = 2 min(p_layers, p_metrics)``, so that their
    part is never below ``2 / (draws + 1)``.

    Particles that act on each other
    --------------------------------
    Where the ensemble's dynamics has an ``interaction`` (or says ``coupled``), particles of one run
    are not independent. With a ``run`` axis of at least ``dim + 2`` the runs are the sample: layers
    are tested by Hotelling's statistic on the averages of runs (``rest`` is left out), floors and
    draws follow the spread between runs (multiplier bootstrap, good from 20 runs on). A law of N
    particles differs from its limit by ``O(1/N)``: visible where there are more runs than particles
    in one. Without a ``run`` axis the p-value is only indicative; the result and its text say so.

    Boundaries
    ----------
    No-flux walls: a particle outside counts in the wall's cell for ``l1, kl, chi2, ks`` (and ``w1``
    in the plane), and at its own place for ``w1`` on the line and the moments: a box that cuts
    off a thin tail does no harm. Independently, more particles outside than expected from the tail
    of the density (``expected_outside``, never below 1e-6) are evidence against the law, by a
    Poisson test. Periodic axes: positions modulo the period; ``w1`` and moments are those of the
    coordinate in the box.

    Limits
    ------
    Values on cells are ambiguous to ``O(h^2)`` (centre value or cell average); ``blur`` gives it in
    standard errors: trust the p-value below 0.5. ``consistent`` warns if this decides the verdict.
    A standard deviation of 10 cells and 100,000 particles: 0.19.

    Raises ``ValueError`` for no shared time, a dimension mismatch, a negative density or one whose
    mass is not 1 (within 1e-3; smaller errors are divided out) though no particle can stop, values
    that are not finite, fewer than 50 particles or 19 draws, or an equation whose solution is no
    density; ``TypeError`` for
    objects without ``.u``/``.grid`` or ``.x``, complex numbers, and invalid metrics.

    Source: the law of the dynamics, mathematics 1.4. Good values: 1e4 to 1e6 particles, 400 cells.
    """
    grid, u = density_of(solution)
    chosen = _checked(metrics, draws)
    particles = given_particles(ensemble, grid, t, weights, whole("seed", seed, 0))
    clouds = clouds_of(particles, grid, chosen)
    asked = _Request(chosen, draws, whole("seed", seed, 0), *_null_of(particles, clouds.runs, grid))
    times, rows, scored, alive = [], [], [], survivors_of(particles)
    pairs = shared_times(u["time"].values, clouds.times)
    if t is not None and len(pairs) < np.size(t):
        raise ValueError(
            f"the solution has {len(pairs)} of the {np.size(t)} times t of the positions; solve "
            "for all of them"
        )
    ends: list[Exits | None] = [None] * len(pairs)
    along: Directions | None = None
    if asked.null == INDEPENDENT:
        ends = exits_of(solution, particles, pairs)
        own = np.array([float(u["time"].values[here]) for here, _ in pairs])
        along = directions_of(solution, particles, own)
    for k, ((here, there), stopped) in enumerate(zip(pairs, ends, strict=True)):
        time = float(clouds.times[there])
        cloud = clouds.at(there)
        times.append(time)
        most = most_of(alive, there)
        mass, total = mass_of(u.isel(time=here), grid, time, alive is not None, most)
        lost = survival_of(alive, there, total, clouds.particles)
        # independent draws for every time
        scores = () if along is None else tuple(along.scores[k])
        row, one = _at_one_time(cloud, mass, grid, asked, there, (lost, stopped), scores)
        if along is not None and one is not None:
            followed = _followed(clouds, there, one, len(pairs))
            scored.append(one._replace(followed=followed))
            row |= _of_parameters(along.names, one, row)
        rows.append(row)
    rows = _filled(rows)
    variables = {name: _variable(name, [row[name] for row in rows]) for name in rows[0]}
    data = xr.Dataset(
        variables | _together(along, scored),
        coords={"time": times, "axis": list(grid.names)} | _walls_of(ends) | _named(along),
        attrs={
            "particles": clouds.particles,
            "runs": clouds.runs,
            "independent": asked.null == INDEPENDENT,
            "null": asked.null,
            "w1": "w1 exact" if grid.dim == 1 else f"w1 sliced ({DIRECTIONS} directions)",
        },
    )
    return Comparison(data, (solution, particles))


def _scored(counts: IntArray, mass: Array, grid: Grid, cells: Layers, scores: Any) -> Scored:
    """What a time says of parameters."""
    n, weight, rows = int(counts.sum()), mass.ravel(), np.array([s.ravel() for s in scores])
    variance = (rows - (rows @ weight)[:, None]) ** 2 @ weight
    features = np.vstack([cells.features[cells.group, : cells.scores], np.zeros(len(scores))])
    return Scored(along_scores(counts, mass, grid, cells), np.sqrt(n * variance), features, None)


def _followed(clouds: Any, number: int, one: Scored, times: int) -> Array | None:
    """The scores of particles that are seen at several times."""
    if times == 1:
        return None
    most = joint.most(clouds.particles, times, one.features.shape[1])
    where = clouds.followed(number, most)
    return None if where is None else one.features[where]


def _of_parameters(names: tuple[str, ...], one: Scored, row: dict[str, Any]) -> dict[str, Any]:
    """The layer of parameters joins the others of its time."""
    p, blurred = (joint.p_of(names, one.along, blurs) for blurs in (0.0, BLURS))
    ended = [name for name in ENDINGS if f"p_{name}" in row]
    found = {"score": one.along.z, "p_parameters": p, "p_value": outer(p, row["others"], ended)}
    found["blurred"] = outer(blurred, row["others_blurred"], ended)
    if "p_metrics" in row:
        found |= _with_metrics(found, row)
    return found


def _with_metrics(layered: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """p-values of the layers, and those of them and the metrics."""
    p, blurred = layered["p_value"], layered["blurred"]
    every = row["p_metrics"] if row["blur"] * BLURS < 1 else 1.0
    return {
        "p_layers": p,
        "p_value": min(1.0, 2 * min(p, row["p_metrics"])),
        "blurred": min(1.0, 2 * min(blurred, every)),
    }


def _together(along: Directions | None, scored: list[Scored]) -> dict[str, Any]:
    """p-values of the parameters layer at all times together, and if cells are coarse."""
    if along is None or not scored:
        return {}
    found = joint.joined(scored)
    if found is None:  # not followed: by Bonferroni
        each = np.array([[joint.p_of(along.names, one.along, b) for one in scored]
                         for b in (0.0, BLURS)])  # fmt: skip
        p = np.minimum(1.0, len(scored) * each.min(axis=1))
    else:
        p = np.array([joint.p_of(along.names, found, b) for b in (0.0, BLURS)])
    return {"parameters": float(p[0]), "parameters_blurred": float(p[1])}


def _named(along: Directions | None) -> dict[str, Any]:
    """The coordinate of scores, if there are any."""
    return {} if along is None else {"parameter": list(along.names)}


@dataclass(frozen=True)
class _Request:
    metrics: tuple[Metric, ...]
    draws: int
    seed: int
    null: str
    runs: int


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With NaN for distances, and 1 for the p-values, of times of few survivors."""
    whole_ = max(rows, key=len)
    empty = {name: 1.0 if name.startswith("p_") else np.full(np.shape(value), np.nan)
             for name, value in whole_.items()}  # fmt: skip
    return [empty | row for row in rows]


def _at_one_time(
    cloud: Cloud,
    mass: Array,
    grid: Grid,
    asked: _Request,
    number: int,
    endings: tuple[Survival | None, Exits | None],
    scores: tuple[Array, ...],
) -> tuple[dict[str, Any], Scored | None]:
    lost, ended = endings[0], _endings(*endings)
    rare = {name[2:]: p for name, p in ended.items() if name.startswith("p_")}
    if lost is not None and lost.going < FEWEST:
        p_value = combined(rare, ENDINGS)
        names = "p_value", "blurred", "others", "others_blurred"
        return ended | dict.fromkeys(names, p_value), None
    counts, outside = cloud.counts, cloud.outside
    n = int(counts.sum())
    labels = equal_mass_bins(mass, smallest_bin(n))
    cells = layers(n, mass, grid, labels, scores)
    expected = expected_outside(mass, grid)
    row = _distances(cloud, counts, mass, labels, grid)
    row |= {"outside": outside / n, "expected_outside": expected}
    row["blur"] = cell_blur(n, mass, grid, cells)
    per_run = cloud.shares(asked.runs) if asked.null == RUNS else None
    if per_run is None:
        found = layered_tests(counts, mass, labels, cells)
        p, blurred = p_values(found), p_values(found, BLURS * row["blur"])
    else:
        p = runs.layered_tests(per_run, mass, cells)
        blurred = p if BLURS * row["blur"] < 1 else dict.fromkeys(p, 1.0)
        del row["p_ks"], row["p_chi2"]  # they assume independent particles
    empty = nowhere(mass)
    astray = outside_test(int(counts[empty].sum()), n, float(mass[empty].sum()) + expected)
    rare["outside"] = min(1.0, 2 * min(outside_test(outside, n, expected), astray))
    row |= ended
    p |= rare
    row |= {f"p_{test}": value for test, value in p.items()}
    row["p_value"] = row["others"] = combined(p, SHARES | ENDINGS)
    row["blurred"] = row["others_blurred"] = combined(blurred | rare, SHARES | ENDINGS)
    if asked.metrics or per_run is not None:
        row |= _bootstrapped(cloud.seen(mass), per_run, asked, row, [n, number])
    return row, _scored(counts, mass, grid, cells, scores) if scores else None


def _endings(lost: Survival | None, stopped: Exits | None) -> dict[str, Any]:
    """What is said of those that stopped."""
    return ({} if lost is None else lost.row()) | ({} if stopped is None else stopped.row())


def _walls_of(ends: list[Exits | None]) -> dict[str, Any]:
    """The coordinate of exits, if there are any."""
    return {} if ends[0] is None else {"wall": ends[0].walls}


def _distances(
    cloud: Cloud, counts: IntArray, mass: Array, labels: IntArray, grid: Grid
) -> dict[str, Any]:
    bin_counts, bin_mass = pooled(counts, labels), pooled(mass, labels)
    w1, floor_w1 = cloud.w1(mass) if grid.dim == 1 else w1_sliced(counts, mass, grid)
    row: dict[str, Any] = {"w1": w1, "floor_w1": floor_w1, "bins": len(bin_mass)}
    row["l1"], row["floor_l1"] = l1(bin_counts, bin_mass)
    row["kl"], row["floor_kl"] = kl(bin_counts, bin_mass)
    row["chi2"], row["p_chi2"] = chi_square(bin_counts, bin_mass)
    row["ks"], row["p_ks"] = kolmogorov_smirnov(counts, mass)
    row["mean_z"], row["variance_z"] = cloud.moment_scores(mass)
    return row


def _bootstrapped(
    seen: Sample, per_run: Array | None, asked: _Request, row: dict[str, Any], stream: list[int]
) -> dict[str, Any]:
    """Floors and p-values by draws of the null hypothesis."""
    rng = np.random.default_rng([asked.seed, *stream])
    boxes = seen.boxes
    # with interacting particles the closed forms do not hold
    chosen = asked.metrics if per_run is None else asked.metrics or (L1(), KL(), W1())
    if per_run is None:
        null = bootstrap.independent_draws(boxes, asked.draws, rng)
    else:
        shares = np.stack(
            [bootstrap.merged(s.reshape(seen.mass.shape), seen.grid) for s in per_run]
        )
        null = bootstrap.run_draws(boxes, shares, asked.draws, rng)
    drawn = np.stack([metric.statistic(null, boxes) for metric in chosen], axis=-1)
    here = np.array([metric.statistic(seen.shares, boxes)[0] for metric in chosen])
    p, p_all = bootstrap.p_values(here, drawn)
    out: dict[str, Any] = {}
    for metric, rank, values in zip(chosen, p, drawn.T, strict=True):
        known = row if per_run is None else {}
        floor = known.get("floor_" + metric.name)
        if floor is None and per_run is None:
            floor = metric.floor(seen, rng)
        out[metric.name] = row[metric.name] if metric.name in row else metric.value(seen)
        out["floor_" + metric.name] = float(values.mean()) if floor is None else floor
        out["p_" + metric.name] = float(rank)
        out |= metric.stated(seen) if hasattr(metric, "stated") else {}
    if not asked.metrics:  # for the floors alone
        return out | {"p_layers": row["p_value"], "p_metrics": p_all}
    return out | {"p_metrics": p_all} | _with_metrics(row, row | {"p_metrics": p_all})


def _null_of(ensemble: HasParticles, number: int, grid: Grid) -> tuple[str, int]:
    if not acts_on_itself(getattr(ensemble, "dynamics", None)):
        return INDEPENDENT, number
    return (RUNS if number >= runs.fewest(grid.dim) else INDICATIVE), number


def _checked(metrics: Metric | Sequence[Metric], draws: int) -> tuple[Metric, ...]:
    asked = tuple(metrics) if isinstance(metrics, Sequence) else (metrics,)
    for metric in asked:
        if isinstance(metric, type) or not hasattr(metric, "statistic"):
            raise TypeError(
                f"metrics must hold values such as W2() or Energy() of pdekit.comparison, "
                f"got {metric!r}"
            )
    names = [metric.name for metric in asked]
    if len(set(names)) < len(names):
        raise ValueError(f"expected every metric once, got {names}")
    if whole("draws", draws, 1) < 19:
        raise ValueError(f"draws must be at least 19, for p-values down to 0.05; got {draws}")
    return asked


_SECOND = {
    "mean_z": ("axis",), "variance_z": ("axis",), "exits": ("wall",), "expected_exits": ("wall",),
    "score": ("parameter",),
}  # fmt: skip


def _variable(name: str, values: list[Any]) -> tuple[tuple[str, ...], NDArray[Any]]:
    return ("time", *_SECOND.get(name, ())), np.array(values)
