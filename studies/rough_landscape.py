"""Do homogenised agents see through a rough loss? By unstable inner steps, not by smoothing.

Kantas et al. section 6.1 and figure 2: V = Σ (x_i sin(x_i/δ) + x_i/10)², d = 10 and 50, 50 agents
from U[-10, 10]^d, β = 1, Δ = 0.01 (0.005 where homogenised), γ = 0.1, λ = 3, M = 20, ε = δ = 0.01.
The paper says that its figure "shows a clear improvement in performance for the homogenized
versions". As printed nothing runs; with δ = 1 the improvement is there, and is no smoothing:

* with the printed δ = 0.01 every explicit method overflows within ten steps (errata 19). Tamed
  Euler steps make it run, but they have length 1 whatever the loss does between, and their law is
  not that of the equation; homogenised agents then end higher than they start;
* "the" minimiser is one of 638 in every coordinate. No point of the start is further than
  0.0167 a coordinate from one, so the distance to their set ranks nothing, and |x| what is not
  asked for;
* δ = 1 has the published order. But it comes from inner steps beyond their stability limit: with
  inner steps that resolve the same fast process homogenised agents are no better than plain ones,
  and MF-HOM-SGLD gains less than half of what is published;
* in one dimension the spectral gap tends to that of the homogenised equation as δ -> 0. On
  [-10, 10] it is 1e-47: no agent that follows the equation crosses the box.

Equations: mathematics 1.2, 1.4, 1.9, 1.10, 1.14. Of ripples: Duncan, Kalliadasis, Pavliotis and
Pradas 2016.
"""

import re
import warnings
from dataclasses import dataclass, field
from math import asin, inf, pi
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.particles import EulerMaruyama, LeimkuhlerMatthews, StochasticHeun, TamedEuler

BETA, GAMMA, STRENGTH, EPSILON, INNER = 1.0, 0.1, 3.0, 0.01, 20
AGENTS, STEPS, SIDE = 50, 200, 10.0
SEEN = 10  # steps between what is drawn
METHODS = ("SGLD", "MF-SGLD", "HOM-SGLD", "MF-HOM-SGLD")
FOUND = dict(zip(METHODS, (33.5, 28.6, 29.1, 9.94), strict=True))  # best |x|, computed outside
DIMS = (10, 50)
FINER = 50  # inner steps in place of one, where they are resolved
DELTAS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
BOX = 3.0  # half the box in one dimension
TIMES = (0.05, 0.2, 1.0)
EXPLICIT = (EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun())
OF_Y = EXPLICIT[:2]  # those that are tried for the fast process


@dataclass(frozen=True)
class Group:
    """Runs of one method: |x|, distance to the set of minimisers and V/d, (times, runs, agents)."""

    times: np.ndarray
    measures: dict[str, np.ndarray]
    lost: int  # runs that overflowed

    def best(self, measure: str = "|x|") -> np.ndarray:
        """Of the best agent at the end, run by run."""
        return self.measures[measure][-1].min(-1)

    def mean(self, measure: str = "|x|") -> tuple[float, float]:
        """And its standard error."""
        return _mean(self.best(measure))

    def at_start(self, measure: str) -> tuple[float, float]:
        """The same of the best agent at the start."""
        return _mean(self.measures[measure][0].min(-1))

    def median(self, worst: bool = False) -> np.ndarray:
        """Over runs, of the best or the worst agent by |x|, at every time: figure 2."""
        far = self.measures["|x|"]
        return np.median(far.max(-1) if worst else far.min(-1), axis=-1)


@dataclass(frozen=True)
class Line:
    """One dimension: gaps, p-values, what is left after smoothing."""

    gaps: dict[float, float]  # δ -> on [-BOX, BOX]
    limit: float  # of the homogenised equation
    wide: float  # on [-10, 10] for δ = 0.01
    followed: float  # p-value of resolved particles
    tamed: float  # of tamed ones, with the printed δ and step
    smoothed: dict[float, Any]  # δ -> (x, local entropy)
    homogenised: np.ndarray  # what it tends to
    minima: dict[float, tuple[int, int]]  # δ -> of V and of its local entropy


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    overflow: dict[str, float]  # method -> the last of its runs' first steps to overflow
    minimisers: int
    furthest: float  # of a coordinate from the set
    printed: dict[tuple[str, int], Group]  # δ = 1, Euler's steps
    tamed: dict[tuple[str, int], Group]  # δ = 0.01
    resolved: dict[str, Group]  # δ = 1, d = 50
    line: Line
    numbers: dict[str, Any] = field(default_factory=dict)


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs and particles.")] = False,
    runs: Annotated[int | None, typer.Option(min=3, help="Of 50 agents each.")] = None,
    particles: Annotated[int | None, typer.Option(min=1000, help="In one dimension.")] = None,
    seed: Annotated[int, typer.Option(help="Of all particles.")] = 0,
) -> Results:
    """All four methods as printed, tamed and resolved; the equations in one dimension."""
    runs, particles = runs or (4 if quick else 50), particles or (5_000 if quick else 40_000)
    every = [(method, d) for d in DIMS for method in METHODS]
    few, finer = (3, 10) if quick else (6, FINER)
    with tqdm(total=2 * len(every) + 4, desc="rough_landscape", unit="group") as bar:

        def group(*arguments: Any, **more: Any) -> Group:
            bar.update()
            return _group(*arguments, seed=seed, **more)

        printed = {(m, d): group(m, d, 1.0, EulerMaruyama(), runs) for m, d in every}
        tamed = {(m, d): group(m, d, 0.01, TamedEuler(), runs) for m, d in every}
        resolved = {m: group(m, 50, 1.0, EulerMaruyama(), few, finer=finer) for m in METHODS[2:]}
        overflow = {f"{m}, d = {d}": _overflow(m, d, seed) for m, d in every}
        bar.update()
        line = _line(particles, seed)
        bar.update()
    at = _minimisers(0.01)
    results = Results(
        overflow, at.size, float(np.diff(at).max() / 2), printed, tamed, resolved, line
    )
    results.numbers.update(_numbers(results))
    return results


# ---- agents --------------------------------------------------------------------------------------


def _dynamics(method: str, V: Any, integrator: Any, finer: int = 1) -> Any:
    pull = pk.CurieWeiss(STRENGTH) if method.startswith("MF") else None
    if "HOM" in method:
        inner = _step(method) / INNER / finer
        return pk.TwoScaleLangevin(V, BETA, GAMMA, EPSILON, INNER * finer, interaction=pull,
                                   inner_dt=inner, integrator=integrator)  # fmt: skip
    if pull:
        return pk.InteractingLangevin(V, BETA, pull, integrator=integrator)
    return pk.Langevin(V, BETA, integrator)


def _step(method: str) -> float:
    return 0.005 if "HOM" in method else 0.01


def _simulated(method: str, d: int, delta: float, integrator: Any, seed: int, finer: int) -> Any:
    """Positions (times, agents, d). Steps beyond their limits are what is studied here."""
    dt, V = _step(method), pk.potentials.Rough(d, delta)
    times = dt * np.arange(0, STEPS + 1, SEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.particles.StepSizeWarning)
        warnings.simplefilter("ignore", pk.AccuracyWarning)
        start = pk.Uniform((-SIDE,) * d, (SIDE,) * d)
        dynamics = _dynamics(method, V, integrator, finer)
        return pk.simulate(dynamics, start, AGENTS, times, dt, seed=seed).x.values


def _group(
    method: str, d: int, delta: float, integrator: Any, runs: int, seed: int, finer: int = 1
) -> Group:
    """Runs with seeds of their own, so that one may overflow without the others."""
    V, kept, lost = pk.potentials.Rough(d, delta), [], 0
    for k in range(runs):
        try:
            x = _simulated(method, d, delta, integrator, seed + 1000 + k, finer)
        except pk.particles.NonFiniteError:
            lost += 1
            continue
        near = np.linalg.norm(_distance(x, delta), axis=-1)
        kept.append((np.linalg.norm(x, axis=-1), near, V(x) / d))
    measures = dict(zip(("|x|", "distance", "V/d"), np.stack(kept, 2), strict=True))
    return Group(_step(method) * np.arange(0, STEPS + 1, SEEN), measures, lost)


def _distance(x: np.ndarray, delta: float) -> np.ndarray:
    """Of each coordinate to 0 and the points of sin(x/δ) = -1/10."""
    a = asin(0.1)
    turns = [(x / delta - root + pi) % (2 * pi) - pi for root in (-a, pi + a)]
    return np.minimum(np.abs(x), delta * np.minimum(*map(np.abs, turns)))


def _minimisers(delta: float) -> np.ndarray:
    """In [-10, 10], where V, below 1e-20 of a ripple, is zero but for rounding."""
    k = np.arange(-round(SIDE / delta / 6) - 2, round(SIDE / delta / 6) + 3)
    a = asin(0.1)
    at = delta * np.concatenate([2 * pi * k - a, 2 * pi * k + pi + a, [0.0]])
    at = np.sort(at[np.abs(at) <= SIDE])
    zero = pk.potentials.Rough(1, delta)(at[:, None]) < 1e-20
    return at[zero]


def _overflow(method: str, d: int, seed: int) -> float:
    """The step in which pdekit raises, from 1, of the explicit method that lasts longest."""
    return max(_raised(method, d, kind, seed) for kind in (OF_Y if "HOM" in method else EXPLICIT))


def _raised(method: str, d: int, integrator: Any, seed: int) -> float:
    try:
        _simulated(method, d, 0.01, integrator, seed, 1)
    except pk.particles.NonFiniteError as error:
        return 1 + float(re.findall(r"in step (\d+)", str(error))[0])
    return inf


# ---- one dimension -------------------------------------------------------------------------------


def _line(count: int, seed: int) -> Line:
    gaps = {delta: pk.spectral_gap(_equation(delta), _grid(delta, BOX)) for delta in DELTAS}
    limit = pk.spectral_gap(_homogenised(), pk.Grid(-BOX, BOX, 1000))
    with warnings.catch_warnings():  # the gap of the wide box is wanted to a factor only
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        wide = pk.spectral_gap(_equation(0.01), _grid(0.01, SIDE))
    smoothed = {delta: _local_entropy(pk.potentials.Rough(1, delta), delta) for delta in DELTAS}
    return Line(
        gaps, limit, wide, _p_value(0.3, EulerMaruyama(), 2e-4, count, seed),
        _p_value(0.01, TamedEuler(), 0.01, count, seed), smoothed,
        _local_entropy(_homogenised().potential, 0.01)[1],
        {delta: (_minima(_values(delta)), _minima(u)) for delta, (_, u) in smoothed.items()},
    )  # fmt: skip


def _equation(delta: float) -> pk.FokkerPlanck:
    return pk.FokkerPlanck(pk.potentials.Rough(1, delta), BETA)


def _grid(delta: float, half: float) -> pk.Grid:
    """125 cells a ripple."""
    return pk.Grid(-half, half, max(600, round(40 * half / delta)))


def _homogenised() -> pk.FokkerPlanck:
    """δ -> 0: F = -β⁻¹ log <e^{-βV}>, D = 1/(<e^{-βV}> <e^{βV}>), means over a ripple at x."""

    def mean(x: Any, sign: float) -> Any:
        phase = 2 * np.pi * (np.arange(256) + 0.5) / 256
        return np.exp(sign * BETA * x[..., :1] ** 2 * (np.sin(phase) + 0.1) ** 2).mean(-1)

    F = pk.potentials.Custom(lambda x: -np.log(mean(x, -1)) / BETA)
    return pk.with_steady_state(F, BETA, diffusion=lambda x: 1 / (mean(x, -1) * mean(x, 1)))


def _local_entropy(V: Any, delta: float) -> tuple[np.ndarray, np.ndarray]:
    grid = _grid(delta, BOX)
    return grid.axes[0], pk.solve(pk.ViscousHJ(BETA), grid, V, GAMMA).fields[-1]


def _values(delta: float) -> np.ndarray:
    return pk.potentials.Rough(1, delta)(_grid(delta, BOX).centres)


def _minima(u: np.ndarray) -> int:
    """Inside the box, deeper than rounding."""
    slope = np.sign(np.diff(np.round(u, 10)))
    slope = slope[slope != 0]
    return int(((slope[:-1] < 0) & (slope[1:] > 0)).sum())


def _p_value(delta: float, integrator: Any, dt: float, count: int, seed: int) -> float:
    """Particles on [-3, 3] against the density that they should have."""
    grid, start = _grid(delta, BOX), pk.Uniform(-BOX, BOX)
    with warnings.catch_warnings():  # walls on both sides
        warnings.simplefilter("ignore", pk.TruncationWarning)
        density = pk.solve(_equation(delta), grid, start, TIMES)
    dynamics = pk.Langevin(pk.potentials.Rough(1, delta), BETA, integrator, grid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.particles.StepSizeWarning)
        ensemble = pk.simulate(dynamics, start, count, TIMES, dt, seed=seed)
    return float(pk.compare(density, ensemble).p_value)


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    groups = {"euler": results.printed, "tamed": results.tamed}
    return {
        "overflow_in_step": results.overflow,
        **{
            f"{name} {method} {d}": {
                "best": {what: list(g.mean(what)) for what in g.measures},
                "worst": {what: float(m[-1].max(-1).mean()) for what, m in g.measures.items()},
                "best at start": {what: g.at_start(what)[0] for what in g.measures},
                "lost": g.lost,
            }
            for name, of in groups.items() for (method, d), g in of.items()
        },
        "resolved": {method: list(g.mean()) for method, g in results.resolved.items()},
        "gaps": {str(delta): gap for delta, gap in results.line.gaps.items()},
        "gap_homogenised": results.line.limit,
        "gap_on_10": results.line.wide,
        "minima": {str(delta): list(n) for delta, n in results.line.minima.items()},
        "p_values": [results.line.followed, results.line.tamed],
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return _as_printed(results) + _of_the_order(results) + _of_the_line(results.line)


def _as_printed(results: Results) -> list[Claim]:
    lost = sum(g.lost for g in results.tamed.values())
    homogenised = results.tamed["HOM-SGLD", 50]
    return [
        at_most("δ = 0.01: explicit methods overflow; the last in step",
                max(results.overflow.values()), 10),
        at_most("runs of tamed agents that overflow", lost, 0),
        at_least("d = 50: tamed, the best of HOM-SGLD ends higher: V/d, standard errors",
                 _apart(homogenised.mean("V/d"), homogenised.at_start("V/d")), 4),
        at_most("global minimisers a coordinate, off 638 by", abs(results.minimisers - 638), 0),
        at_most("no coordinate is further from one than", results.furthest, 0.0168),
    ]  # fmt: skip


def _of_the_order(results: Results) -> list[Claim]:
    found = {m: results.printed[m, 50].mean() for m in METHODS}
    made = [
        at_most(f"δ = 1, d = 50: best |x| of {m}, standard errors from {FOUND[m]}",
                abs(mean - FOUND[m]) / (2**0.5 * error), 4)
        for m, (mean, error) in found.items()
    ]  # fmt: skip
    pairs = (("MF-SGLD", "SGLD"), ("HOM-SGLD", "SGLD"), ("MF-HOM-SGLD", "HOM-SGLD"))
    made += [
        at_least(f"{a} before {b}, as published: standard errors", _apart(found[b], found[a]), 3)
        for a, b in pairs
    ]
    resolved = {m: g.mean() for m, g in results.resolved.items()}
    return [
        *made,
        at_least("with resolved inner steps MF-HOM-SGLD's best |x| is larger: standard errors",
                 _apart(resolved["MF-HOM-SGLD"], found["MF-HOM-SGLD"]), 5),
        at_least("with resolved inner steps HOM-SGLD's is not below SGLD's: standard errors",
                 _apart(resolved["HOM-SGLD"], found["SGLD"]), -3),
    ]  # fmt: skip


def _mean(of_runs: np.ndarray) -> tuple[float, float]:
    """Over runs, and its standard error."""
    return float(of_runs.mean()), float(of_runs.std(ddof=1) / of_runs.size**0.5)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """a - b in standard errors."""
    return (a[0] - b[0]) / (a[1] ** 2 + b[1] ** 2) ** 0.5


def _of_the_line(line: Line) -> list[Claim]:
    u = line.smoothed[0.01][1]
    return [
        at_least("d = 1, δ = 0.3: resolved particles follow the density: p-value",
                 line.followed, 1e-3),
        at_most("d = 1, δ = 0.01: tamed ones do not: p-value", line.tamed, 1e-6),
        at_most("spectral gap for δ = 0.01 off the homogenised one, relative",
                abs(line.gaps[0.01] / line.limit - 1), 0.01),
        at_most("spectral gap on [-10, 10] for δ = 0.01", line.wide, 1e-40),
        at_most("local entropy for δ = 0.01 off its limit",
                np.abs(u - line.homogenised).max(), 5e-3),
        at_most("minima left of it", line.minima[0.01][1], 1),
        at_least("minima of V on [-3, 3]", line.minima[0.01][0], 190),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = dict(zip(METHODS, ("#0072B2", "#E69F00", "#009E73", "#D55E00"), strict=True))


def plot(results: Results) -> Figure:
    """Figure 2 for δ = 1 and, tamed, δ = 0.01; what the order rests on; one dimension."""
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    axes = figure.subplots(2, 3)
    _paths(axes[0, 0], results.printed, "δ = 1, d = 50, as printed")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower left")
    _paths(axes[0, 1], results.tamed, "δ = 0.01, d = 50, tamed")
    _order(axes[0, 2], results)
    _losses(axes[1, 0], results)
    _smoothing(axes[1, 1], results.line)
    _gaps(axes[1, 2], results.line)
    return figure


def _paths(ax: Any, groups: dict[tuple[str, int], Group], title: str) -> None:
    n = np.arange(0, STEPS + 1, SEEN)
    for method in METHODS:
        group = groups[method, 50]
        ax.plot(n, group.median(), color=COLOURS[method], label=method)
        ax.plot(n, group.median(worst=True), ":", color=COLOURS[method])
    ax.set(title=title, xlabel="step n", ylabel="|x|: best, worst (dotted)", ylim=(0, None))


def _order(ax: Any, results: Results) -> None:
    rows: dict[str, Any] = {
        "as printed": {m: results.printed[m, 50] for m in METHODS},
        "inner steps\nresolved": results.resolved,
    }
    for y, groups in enumerate(rows.values()):
        for method, group in groups.items():
            mean, error = group.mean()
            at = y + (METHODS.index(method) - 1.5) * 0.18
            ax.barh(at, mean, 0.16, xerr=2 * error, color=COLOURS[method])
            ax.text(mean + 1.5, at, f"{mean:.1f}", va="center", fontsize=8)
    ax.set_yticks(range(2), list(rows))
    ax.invert_yaxis()
    ax.set(title="δ = 1: the order is of unstable steps", xlabel="best |x| after 200 steps",
           xlim=(0, 42))  # fmt: skip


def _losses(ax: Any, results: Results) -> None:
    for k, method in enumerate(METHODS):
        group = results.tamed[method, 50]
        start, end = group.at_start("V/d")[0], group.mean("V/d")[0]
        ax.bar(k, end, color=COLOURS[method])
        ax.plot([k - 0.4, k + 0.4], [start, start], "k--", lw=1)
        ax.text(k, end, f"{end:.2g}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(4), [m.replace("-SGLD", "") for m in METHODS])
    ax.set(title="δ = 0.01, tamed: best V/d (start dashed)", ylabel="V/d")


def _smoothing(ax: Any, line: Line) -> None:
    for delta, style, colour in zip((1.0, 0.2, 0.01), ("--", "-.", "-"), COLOURS.values(),
                                    strict=False):  # fmt: skip
        x, u = line.smoothed[delta]
        ax.plot(x, u, style, color=colour, label=f"local entropy, δ = {delta:g}")
    x = np.linspace(-BOX, BOX, 4000)
    ax.plot(x, pk.potentials.Rough(1, 0.05)(x[:, None]), color="0.8", lw=0.6, zorder=0,
            label="V, δ = 0.05")  # fmt: skip
    ax.set(title="d = 1: what smoothing leaves", xlabel="x", ylim=(-0.2, 6))
    ax.legend(fontsize=8, frameon=False, loc="upper center")


def _gaps(ax: Any, line: Line) -> None:
    ax.loglog(list(line.gaps), list(line.gaps.values()), "o-", color="#0072B2")
    ax.axhline(line.limit, ls="--", color="#D55E00", label="homogenised")
    ax.text(
        0.03, 0.9, f"on [-10, 10], δ = 0.01: {line.wide:.0e}", transform=ax.transAxes, fontsize=8
    )
    ax.set(title="spectral gap on [-3, 3]", xlabel="δ", ylabel="gap")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
