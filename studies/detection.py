"""Which sample size detects which error? The verdict of compare() on right and wrong dynamics.

N particles in the double well (x² - 1)²/4 at beta = 4, started from N(-1, 0.1²), against
the density of the equation at t = 1, many times over: how often does ``consistent(0.01)`` say no?

* nothing wrong: the rate of false alarms, for independent particles and for runs of particles that
  act on each other
* beta wrong by 2 and by 5 %; noise sqrt(1/beta) in place of sqrt(2/beta), the slip in the papers
* drift wrong by 3 %; Euler-Maruyama with h = 0.05 and h = 0.2
* a mean-field coupling (Curie-Weiss, λ = 1) wrong by 10 %, seen from 20 independent runs
* particles reflected at the walls of [-1.5, 1.5], where the density goes round

Independent particles of another equation are drawn from its density, the others are simulated.
Beside each stands the likelihood ratio that is told the answer: no test of this level finds more
(Neyman and Pearson). The table in docs/statistics.md is this study's.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import typer
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats
from tqdm import tqdm

import pdekit as pk
from pdekit import plotting
from pdekit.claims import Claim, at_least, at_most
from pdekit.particles.integrators import EulerMaruyama, StochasticHeun

BETA, TIME, STEP, LEVEL, RUNS = 4.0, 1.0, 0.02, 0.01, 20
WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1)
GRID = pk.Grid(-3, 3, 600)
NARROW, ROUND = pk.Grid(-1.5, 1.5, 300), pk.Grid(-1.5, 1.5, 300, periodic=True)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
RIGHT = ("nothing wrong", "nothing wrong, interacting")
BARS = {"beta 2 % too high": 0.96, "Euler-Maruyama, h = 0.05": 1.0}  # of the largest ensembles
BAR = 0.95
DRAWN, CLOSE = 4, 10  # ensembles drawn for one simulated; and of the largest, where a bar is close
AT_THE_BAR = ("beta 2 % too high", "drift 3 % too strong")


@dataclass(frozen=True)
class Suspect:
    """Particles, and the equation that they are said to follow on a grid.

    ``masses``: what their law has in the cells; None where they are not independent.
    """

    dynamics: Any
    equation: Any
    grid: pk.Grid = GRID
    step: float = STEP
    masses: np.ndarray | None = None
    drawn: bool = False

    @property
    def runs(self) -> int:
        return RUNS if hasattr(self.equation, "interaction") else 1


@dataclass(frozen=True)
class Results:
    """Rates of detection ``(suspects, sizes)``, out of ``repeats`` ensembles, and the likelihood
    ratio's, NaN where that is not known.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    repeats: np.ndarray
    rates: np.ndarray
    possible: np.ndarray
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Two sizes, few repetitions.")] = False,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Ensembles simulated per size and error.")
    ] = None,
    largest: Annotated[int, typer.Option(min=1, help="Largest number of particles.")] = SIZES[-1],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Simulate or draw every ensemble, compare, count the verdicts."""
    least = repeats or (20 if quick else 100)
    sizes = tuple(n for n in SIZES if n <= largest and (not quick or n in (SIZES[0], largest)))
    cases = suspects()
    rates, possible = np.empty((2, len(cases), len(sizes)))
    counts = np.empty(rates.shape, dtype=int)
    with tqdm(total=rates.size, desc="detection", unit="case") as bar:
        for i, (name, case) in enumerate(cases.items()):
            bar.set_postfix_str(name)
            rho = pk.solve(case.equation, case.grid, START, TIME)
            for j, n in enumerate(sizes):
                counts[i, j] = least * _times(name, case, n, quick)
                found = [
                    not pk.compare(rho, ensemble).consistent(LEVEL)
                    for ensemble in ensembles(case, n, counts[i, j], seed + 1000 * i + j)
                ]
                rates[i, j], possible[i, j] = np.mean(found), likelihood_ratio(rho, case, n)
                bar.update()
    results = Results(tuple(cases), sizes, counts, rates, possible, {})
    return replace(results, numbers=_numbers(results))


def _times(name: str, case: Suspect, n: int, quick: bool) -> int:
    """Ensembles for each that is simulated."""
    if not case.drawn or quick:
        return 1
    return CLOSE if name in AT_THE_BAR and n == SIZES[-1] else DRAWN


def likelihood_ratio(rho: Any, case: Suspect, n: int) -> float:
    """The share that the likelihood ratio of the two laws finds at the same level, its sum over
    n particles taken as normal.
    """
    if case.masses is None:
        return np.nan
    p = rho.fields[-1] * case.grid.cell_volume
    kept = (p > 1e-14) & (case.masses > 1e-14)
    p, q = p[kept] / p[kept].sum(), case.masses[kept] / case.masses[kept].sum()
    ratio = np.log(q / p)
    (mean0, spread0), (mean1, spread1) = (
        (w @ ratio, np.sqrt(w @ ratio**2 - (w @ ratio) ** 2)) for w in (p, q)
    )
    if spread0 < 1e-9:
        return LEVEL
    beyond = (np.sqrt(n) * (mean1 - mean0) - stats.norm.isf(LEVEL) * spread0) / spread1
    return float(stats.norm.cdf(beyond))


def suspects() -> dict[str, Suspect]:
    """Every dynamics by name, each beside the equation of the right one."""
    heun = StochasticHeun()
    plain = pk.FokkerPlanck(WELL, BETA)
    coupled = pk.McKeanVlasov(WELL, BETA, pk.CurieWeiss(1.0))

    def other(potential: Any = WELL, beta: float = BETA) -> Suspect:
        dynamics = pk.Langevin(potential, beta, integrator=heun)
        return Suspect(dynamics, plain, masses=masses(dynamics.law(), GRID), drawn=True)

    def euler(h: float) -> Suspect:
        dynamics = pk.Langevin(WELL, BETA, integrator=EulerMaruyama())
        return Suspect(dynamics, plain, GRID, h, chain(h))

    def together(strength: float) -> Suspect:
        dynamics = pk.InteractingLangevin(WELL, BETA, pk.CurieWeiss(strength), integrator=heun)
        return Suspect(dynamics, coupled)

    reflected = pk.Langevin(WELL, BETA, box=NARROW, integrator=heun)
    return {
        RIGHT[0]: other(),
        "beta 5 % too high": other(beta=1.05 * BETA),
        "beta 2 % too high": other(beta=1.02 * BETA),
        "noise sqrt(1/beta)": other(beta=2 * BETA),
        "drift 3 % too strong": other(1.03 * WELL),
        "Euler-Maruyama, h = 0.2": euler(0.2),
        "Euler-Maruyama, h = 0.05": euler(0.05),
        "reflected, not carried round": Suspect(
            reflected, plain, ROUND, 0.01, masses(plain, NARROW)
        ),
        RIGHT[1]: together(1.0),
        "coupling 10 % too strong": together(1.1),
    }


def masses(equation: Any, grid: pk.Grid) -> np.ndarray:
    """In the cells, of an equation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.TruncationWarning)  # the narrow walls are meant
        return pk.solve(equation, grid, START, TIME).fields[-1] * grid.cell_volume


def chain(h: float) -> np.ndarray:
    """In the cells, of Euler and Maruyama's steps: powers of their transition density."""
    x, spread = GRID.axes[0], np.sqrt(2 * h / BETA)
    moved = x - h * WELL.grad(GRID.centres)[..., 0]
    step = stats.norm.pdf(x[:, None], moved, spread) * GRID.cell_volume
    p = START.pdf(GRID.centres) * GRID.cell_volume
    return np.linalg.matrix_power(step, round(TIME / h)) @ p


def ensembles(case: Suspect, n: int, repeats: int, seed: int) -> Iterator[Any]:
    """``repeats`` ensembles of ``n`` particles, in ``RUNS`` runs where they interact."""
    if case.drawn:
        yield from drawn(case, n, repeats, seed)
        return
    at_once = max(1, 2_000_000 // n)
    for first in range(0, repeats, at_once):
        count = min(at_once, repeats - first)
        x = pk.simulate(
            case.dynamics, START, n // case.runs, TIME, case.step,
            runs=max(2, count * case.runs), seed=seed * 10_007 + first,
        ).x  # fmt: skip
        for k in range(count):
            part = x.isel(run=slice(k * case.runs, (k + 1) * case.runs))
            yield SimpleNamespace(x=part, dynamics=case.dynamics)


def drawn(case: Suspect, n: int, repeats: int, seed: int) -> Iterator[Any]:
    """Positions of the law of the dynamics, even in each cell."""
    rng = np.random.default_rng(seed)
    below = np.concatenate([[0.0], np.cumsum(case.masses)])
    for _ in range(repeats):
        x = np.interp(rng.random(n) * below[-1], below, case.grid.faces[0])
        positions = xr.DataArray(x[None, :, None], {"time": [TIME]}, ("time", "particle", "dim"))
        yield SimpleNamespace(x=positions, dynamics=case.dynamics)


def _numbers(results: Results) -> dict[str, Any]:
    return {
        "beta": BETA,
        "time": TIME,
        "level": LEVEL,
        "runs_where_interacting": RUNS,
        "repeats": _by_size(results, results.repeats),
        "detected": _by_size(results, results.rates),
        "likelihood_ratio": _by_size(results, results.possible),
        "enough": {name: _enough(results, name) for name in results.names if name not in RIGHT},
    }


def _by_size(results: Results, table: np.ndarray) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            str(n): None if np.isnan(v) else v.item()
            for n, v in zip(results.sizes, row, strict=True)
        }
        for name, row in zip(results.names, table, strict=True)
    }


def _enough(results: Results, name: str) -> int | None:
    """The smallest size from which on at least 95 % are detected."""
    row = results.rates[results.names.index(name)]
    good = [n for k, n in enumerate(results.sizes) if (row[k:] >= 0.95).all()]
    return good[0] if good else None


def claims(results: Results) -> list[Claim]:
    """No more false alarms than promised; every error found by the largest ensembles."""
    n, made = results.sizes[-1], []
    for name, repeats, row in zip(results.names, results.repeats, results.rates, strict=True):
        if name in RIGHT:
            # the largest of the sizes, each beyond its own bound
            bounds = stats.binom.isf(1e-3, repeats, LEVEL) / repeats
            worst = int(np.argmax(row - bounds))
            text = f"{name}: largest rate of false alarms at level {LEVEL} (99.9 % binomial bound)"
            made.append(at_most(text, row[worst], bounds[worst]))
        else:
            bar = BARS.get(name, BAR)
            # few repetitions may miss a bar by chance, this far with probability 0.01
            few = stats.binom.ppf(0.01, repeats[-1], bar) / repeats[-1]
            text = f"{name}: share of {n:,}-particle ensembles found"
            made.append(at_least(text, row[-1], bar if repeats[-1] >= 100 else few))
    return made


def plot(results: Results) -> Figure:
    """Rate of detection over the number of particles, with 95 % intervals; dotted the likelihood
    ratio that is told the answer.
    """
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    ax = figure.subplots()
    every = zip(results.names, results.repeats, results.rates, results.possible, strict=True)
    for name, repeats, row, possible in every:
        right = name in RIGHT
        style = {"color": "0.3", "ls": ":" if name == RIGHT[1] else "--"} if right else {}
        (curve,) = ax.plot(results.sizes, row, marker="o", ms=3, label=name, **style)
        ends = [
            stats.binomtest(round(rate * count), int(count)).proportion_ci(method="wilson")
            for rate, count in zip(row, repeats, strict=True)
        ]
        low, high = np.transpose([(ci.low, ci.high) for ci in ends])
        if not right:
            ax.plot(results.sizes, possible, color=curve.get_color(), ls=":", lw=1)
        plotting.bands(ax, results.sizes, low, high, color=curve.get_color(), alpha=0.12)
    ax.axhline(0.95, color="0.7", lw=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("particles")
    ax.set_ylabel(f"share found at level {LEVEL}")
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
