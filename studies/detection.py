"""Which sample size detects which error? The verdict of compare() on right and wrong dynamics.

N particles in the double well (x² - 1)²/4 at beta = 4, started from N(-1, 0.1²), against
the density of the equation at t = 1, many times over: how often does ``consistent(0.01)`` say no?

* nothing wrong: the rate of false alarms, for independent particles and for runs of particles that
  act on each other
* beta wrong by 5 %; noise sqrt(1/beta) in place of sqrt(2/beta), the slip in the source papers
* drift wrong by 3 %; Euler-Maruyama with h = 0.2
* a mean-field coupling (Curie-Weiss, λ = 1) wrong by 10 %, seen from 20 independent runs
* particles reflected at the walls of [-1.5, 1.5], where the density goes round

The table in docs/statistics.md is this study's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import typer
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


@dataclass(frozen=True)
class Suspect:
    """Particles, and the equation that they are said to follow on a grid."""

    dynamics: Any
    equation: Any
    grid: pk.Grid = GRID
    step: float = STEP

    @property
    def runs(self) -> int:
        return RUNS if hasattr(self.equation, "interaction") else 1


@dataclass(frozen=True)
class Results:
    """Rates of detection ``(suspects, sizes)``, out of ``repeats`` each."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    repeats: int
    rates: np.ndarray
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Two sizes, few repetitions.")] = False,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Ensembles per size and error.")
    ] = None,
    largest: Annotated[int, typer.Option(min=1, help="Largest number of particles.")] = SIZES[-1],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Simulate every dynamics at every size, compare, count the verdicts."""
    repeats = repeats or (20 if quick else 100)
    sizes = tuple(n for n in SIZES if n <= largest and (not quick or n in (SIZES[0], largest)))
    cases = suspects()
    rates = np.empty((len(cases), len(sizes)))
    with tqdm(total=rates.size, desc="detection", unit="case") as bar:
        for i, (name, case) in enumerate(cases.items()):
            bar.set_postfix_str(name)
            rho = pk.solve(case.equation, case.grid, START, TIME)
            for j, n in enumerate(sizes):
                found = [
                    not pk.compare(rho, ensemble).consistent(LEVEL)
                    for ensemble in ensembles(case, n, repeats, seed + 1000 * i + j)
                ]
                rates[i, j] = np.mean(found)
                bar.update()
    results = Results(tuple(cases), sizes, repeats, rates, {})
    return replace(results, numbers=_numbers(results))


def suspects() -> dict[str, Suspect]:
    """Every dynamics by name, each beside the equation of the right one."""
    heun = StochasticHeun()
    plain = pk.FokkerPlanck(WELL, BETA)
    coupled = pk.McKeanVlasov(WELL, BETA, pk.CurieWeiss(1.0))

    def langevin(potential: Any = WELL, beta: float = BETA, **more: Any) -> pk.Langevin:
        return pk.Langevin(potential, beta, **({"integrator": heun} | more))

    def together(strength: float) -> Any:
        return pk.InteractingLangevin(WELL, BETA, pk.CurieWeiss(strength), integrator=heun)

    return {
        RIGHT[0]: Suspect(langevin(), plain),
        "beta 5 % too high": Suspect(langevin(beta=1.05 * BETA), plain),
        "noise sqrt(1/beta)": Suspect(langevin(beta=2 * BETA), plain),
        "drift 3 % too strong": Suspect(langevin(1.03 * WELL), plain),
        "Euler-Maruyama, h = 0.2": Suspect(langevin(integrator=EulerMaruyama()), plain, step=0.2),
        "reflected, not carried round": Suspect(langevin(box=NARROW), plain, ROUND, 0.01),
        RIGHT[1]: Suspect(together(1.0), coupled),
        "coupling 10 % too strong": Suspect(together(1.1), coupled),
    }


def ensembles(case: Suspect, n: int, repeats: int, seed: int) -> Iterator[Any]:
    """``repeats`` ensembles of ``n`` particles, in ``RUNS`` runs where they interact."""
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


def _numbers(results: Results) -> dict[str, Any]:
    table = {
        name: dict(zip(map(str, results.sizes), map(float, row), strict=True))
        for name, row in zip(results.names, results.rates, strict=True)
    }
    return {
        "beta": BETA,
        "time": TIME,
        "level": LEVEL,
        "runs_where_interacting": RUNS,
        "repeats": results.repeats,
        "detected": table,
        "enough": {name: _enough(results, name) for name in results.names if name not in RIGHT},
    }


def _enough(results: Results, name: str) -> int | None:
    """The smallest size from which on at least 95 % are detected."""
    row = results.rates[results.names.index(name)]
    good = [n for k, n in enumerate(results.sizes) if (row[k:] >= 0.95).all()]
    return good[0] if good else None


def claims(results: Results) -> list[Claim]:
    """No more false alarms than promised; every error found by the largest ensembles."""
    n, bound = results.sizes[-1], stats.binom.isf(1e-3, results.repeats, LEVEL) / results.repeats
    # few repetitions may miss a probability of 0.95 by chance, this far with probability 0.01
    few = stats.binom.ppf(0.01, results.repeats, 0.95) / results.repeats
    least = 0.95 if results.repeats >= 100 else few
    made = []
    for name, row in zip(results.names, results.rates, strict=True):
        if name in RIGHT:
            text = f"{name}: largest rate of false alarms at level {LEVEL} (99.9 % binomial bound)"
            made.append(at_most(text, row.max(), bound))
        else:
            made.append(
                at_least(f"{name}: share of {n:,}-particle ensembles found", row[-1], least)
            )
    return made


def plot(results: Results) -> Figure:
    """Rate of detection over the number of particles, with 95 % intervals."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    ax = figure.subplots()
    for name, row in zip(results.names, results.rates, strict=True):
        right = name in RIGHT
        style = {"color": "0.3", "ls": ":" if name == RIGHT[1] else "--"} if right else {}
        (curve,) = ax.plot(results.sizes, row, marker="o", ms=3, label=name, **style)
        ends = [
            stats.binomtest(round(rate * results.repeats), results.repeats).proportion_ci(
                method="wilson"
            )
            for rate in row
        ]
        low, high = np.transpose([(ci.low, ci.high) for ci in ends])
        plotting.bands(ax, results.sizes, low, high, color=curve.get_color(), alpha=0.12)
    ax.axhline(0.95, color="0.7", lw=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("particles")
    ax.set_ylabel(f"share found at level {LEVEL}")
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
