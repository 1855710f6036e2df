"""Does smoothing remove the phase transition? It weakens the coupling, exactly: λ to λ/(1 + γλ).

Kantas et al. (p. 5) leave open how local entropy V_γ and the transition of interacting particles
go together. For the Curie-Weiss attraction λ|x - m|²/2 the answer is a closed form: integrating x
out of exp(-β [V(y) + |x - y|²/(2γ) + λ|x - m|²/2]) leaves the law of y under V with the coupling

    λ' = λ/(1 + γλ),

and E x = m exactly where E y = m. So V_γ at λ has the self-consistent means of V at λ', all of
them, and its critical temperature. At a given temperature enough smoothing, γ > 1/λ_c(β) - 1/λ,
removes the transition; where V has one at every coupling, as the double well, no γ removes it at
all temperatures: β_c only grows, in proportion to γ + 1/λ. Checked by

* critical points of the local entropy, found by quadrature, and, apart from that, by the growth of
  a small magnetisation under the McKean-Vlasov equation, against V's at λ';
* all self-consistent states on both sides of the point where they merge;
* particles in the smoothed landscape, above and below;
* the six-hump camel in the plane, whose critical λ at β = 10 comes from its covariance.

Equations: mathematics 1.2, (1.6.9); Kantas et al. p. 5.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy.optimize import brentq
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

STRENGTHS = (0.5, 1.0, 2.0)
COLOURS = ("tab:green", "tab:blue", "tab:purple")
COLD = 4.0  # β of the states over γ, at λ = 1
MIDDLE = 1.0  # γ of the runs in time
CAMEL = (10.0, 0.5)  # β and γ in the plane


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    curve: np.ndarray  # γ
    critical: dict[float, np.ndarray]  # λ -> β_c of V at λ/(1 + γλ)
    smoothed: dict[tuple[float, float], tuple[float, float]]  # λ, γ -> β_c of V_γ and of V at λ'
    growing: float  # β_c of V_γ at λ = 1, by the equation in time
    states: dict[float, tuple[list[float], list[float]]]  # γ -> means of V_γ at λ, of V at λ'
    merging: float  # γ at which they merge, λ = 1
    runs: dict[float, tuple[pk.Solution, Any]]  # β -> density and particles in V_γ
    camel: tuple[float, float]  # critical λ: of V_γ in the plane, from V's by λ' = λ/(1 + γλ)
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and particles.")] = False,
    cells: Annotated[int | None, typer.Option(min=100, help="Cells of the line.")] = None,
    particles: Annotated[int | None, typer.Option(min=100, help="Particles.")] = None,
    seed: Annotated[int, typer.Option(help="Of the particles.")] = 0,
) -> Results:
    """Critical points, states, runs in time, and the camel."""
    well, grid = pk.potentials.DoubleWell(), pk.Grid(-4, 4, cells or (400 if quick else 1600))
    particles = particles or (2_000 if quick else 20_000)
    with tqdm(total=5, desc="effective_landscape", unit="stage") as bar:
        gammas = np.geomspace(0.01, 10, 13 if quick else 40)
        critical = {
            s: np.array([_critical(well, s / (1 + g * s)) for g in gammas]) for s in STRENGTHS
        }
        bar.update()
        smoothed = {
            (s, g): (_smoothed(well, s, g, grid), _critical(well, s / (1 + g * s)))
            for s in STRENGTHS for g in (0.1, 1.0, 5.0)
        }  # fmt: skip
        growing = _growing(well, pk.Grid(-3, 3, 160))
        bar.update()
        merging = float(1 / _critical_strength(well, COLD) - 1)
        shares = (0.1, 0.5, 0.8, 1.1, 2.0)
        states = {share * merging: _states(well, share * merging, grid) for share in shares}
        bar.update()
        middle = _critical(well, 1 / (1 + MIDDLE))
        runs = {beta: _run(well, beta, particles, seed) for beta in (0.8 * middle, 1.25 * middle)}
        bar.update()
        camel = _camel(64 if quick else 160)
        bar.update()
    results = Results(gammas, critical, smoothed, growing, states, merging, runs, camel, {})
    results.numbers.update(_numbers(results))
    return results


def _critical(potential: Any, strength: float) -> float:
    return float(pk.critical_beta(potential, pk.CurieWeiss(strength)))


def _critical_strength(potential: Any, beta: float) -> float:
    """λ at which β is critical."""
    return float(brentq(lambda s: _critical(potential, s) - beta, 0.05, 10, xtol=1e-12))


def _smoothed(potential: Any, strength: float, gamma: float, grid: pk.Grid) -> float:
    """β_c of the local entropy, which depends on β itself: β λ Var = 1 in its confined state."""
    x = grid.axes[0]

    def excess(beta: float) -> float:
        values = pk.local_entropy(potential, gamma, beta, grid)(grid.centres)
        weight = np.exp(-beta * (values - values.min() + strength * x**2 / 2))
        return beta * strength * float((weight * x**2).sum() / weight.sum()) - 1

    return float(brentq(excess, 0.3, 30, xtol=1e-10))


def _growing(potential: Any, grid: pk.Grid) -> float:
    """β_c at γ = MIDDLE, λ = 1: where a small magnetisation of the density stays as it is."""
    x = grid.axes[0]

    def growth(beta: float) -> float:
        smooth = pk.local_entropy(potential, MIDDLE, beta, grid)
        equation = pk.McKeanVlasov(smooth, beta, pk.CurieWeiss(1.0))
        rho = np.exp(-beta * (smooth(grid.centres) + x**2 / 2)) * (1 + 1e-4 * x)
        rho /= grid.integrate(rho)
        fields = pk.solve(equation, grid, rho, [6.0, 9.0], pk.schemes.MeanField(1e-8)).fields
        mean = grid.integrate(x * fields)
        return float(np.log(mean[1] / mean[0])) / 3

    return float(brentq(growth, 3.4, 4.2, xtol=1e-6))


def _states(potential: Any, gamma: float, grid: pk.Grid) -> tuple[list[float], list[float]]:
    """Self-consistent means at COLD and λ = 1 in the local entropy, and in V at λ/(1 + γλ)."""
    smooth = pk.local_entropy(potential, gamma, COLD, grid)
    pairs = ((smooth, 1.0), (potential, 1 / (1 + gamma)))
    found = [
        pk.self_consistent_states(pk.McKeanVlasov(V, COLD, pk.CurieWeiss(s)), grid)
        for V, s in pairs
    ]
    first, second = (sorted(float(state.mean) for state in states) for states in found)
    return first, second


def _run(potential: Any, beta: float, particles: int, seed: int) -> tuple[pk.Solution, Any]:
    """From a magnetised start in the smoothed landscape, λ = 1: the density, and particles."""
    grid, start, times = pk.Grid(-4, 4, 400), pk.Gaussian(0.8, 0.4), np.linspace(2, 40, 20)
    smooth = pk.local_entropy(potential, MIDDLE, beta, pk.Grid(-5, 5, 1000))
    dynamics = pk.InteractingLangevin(smooth, beta, pk.CurieWeiss(1.0))
    density = pk.solve(dynamics.law(), grid, start, times)
    return density, pk.simulate(dynamics, start, particles, times, 0.02, runs=10, seed=seed)


def _camel(cells: int) -> tuple[float, float]:
    """Critical λ of the smoothed six-hump camel, and what λ/(1 + γλ) makes of the plain one's."""
    beta, gamma = CAMEL
    camel = pk.potentials.SixHumpCamel()
    grid = pk.Grid((-3.5, -2.5), (3.5, 2.5), (cells * 7 // 5, cells))
    smooth = pk.local_entropy(camel, gamma, beta, grid)
    plain = brentq(lambda s: _largest(camel, beta, s, grid) - 1, 0.05, 1.0, xtol=1e-13)
    there = brentq(lambda s: _largest(smooth, beta, s, grid) - 1, 0.05, 1.0, xtol=1e-13)
    return float(there), float(plain / (1 - gamma * plain))


def _largest(potential: Any, beta: float, strength: float, grid: pk.Grid) -> float:
    """β λ times the largest eigenvalue of the covariance of the symmetric, confined state."""
    x = grid.centres
    values = potential(x) + strength * (x**2).sum(-1) / 2
    weight = np.exp(-beta * (values - values.min()))
    second = np.einsum("ij,ijk,ijl->kl", weight / weight.sum(), x, x)
    return beta * strength * float(np.linalg.eigvalsh(second)[-1])


# ---- what is claimed -----------------------------------------------------------------------------


def _mean(density: pk.Solution) -> np.ndarray:
    return np.asarray(density.grid.integrate(density.grid.axes[0] * density.fields))


def _particle_mean(ensemble: Any) -> tuple[np.ndarray, np.ndarray]:
    """Over runs, with its standard error."""
    means = ensemble.x.values[..., 0].mean(-1)  # (time, run)
    return means.mean(-1), means.std(-1, ddof=1) / means.shape[-1] ** 0.5


def _numbers(results: Results) -> dict[str, Any]:
    return {
        "critical_beta": [
            {"strength": s, "gamma": g, "local_entropy": a, "reduced_coupling": b}
            for (s, g), (a, b) in results.smoothed.items()
        ],
        "critical_beta_from_the_equation": results.growing,
        "merging_gamma": results.merging,
        "states": {f"{g:.6g}": list(v) for g, v in results.states.items()},
        "camel_critical_strength": list(results.camel),
        "last_means": {
            f"{beta:.6g}": [float(_mean(rho)[-1]), float(_particle_mean(x)[0][-1])]
            for beta, (rho, x) in results.runs.items()
        },
    }


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    off = max(abs(a / b - 1) for a, b in results.smoothed.values())
    warm, cold = (results.runs[beta] for beta in sorted(results.runs))
    before = {g: pair for g, pair in results.states.items() if g < results.merging}
    after = {g: pair for g, pair in results.states.items() if g > results.merging}
    apart = [np.abs(np.subtract(*pair)).max() for pair in results.states.values()
             if len(pair[0]) == len(pair[1])]  # fmt: skip
    return [
        at_most("β_c of local entropy at λ against that of V at λ/(1 + γλ), relative difference",
                off, 1e-6),
        at_most("by the equation in time, γ = λ = 1, relative difference",
                abs(results.growing / results.smoothed[1.0, 1.0][1] - 1), 1e-3),
        at_most("self-consistent states: numbers that differ from three below, one above γ_c",
                sum(len(p) != 3 for pair in before.values() for p in pair)
                + sum(len(p) != 1 for pair in after.values() for p in pair), 0),
        at_most("their means in V_γ and in V at λ/(1 + γλ), largest difference", max(apart), 1e-4),
        at_least("β_c rises with γ all the way: least ratio from point to point",
                 min((b[1:] / b[:-1]).min() for b in results.critical.values()), 1.0),
        at_most("no faster than γ + 1/λ: largest β_c/(γ + 1/λ) at γ = 10",
                max(b[-1] / (10 + 1 / s) for s, b in results.critical.items()), 1.5),
        at_most("β below β_c: the mean of the density forgets its start, at t = 40",
                abs(_mean(warm[0])[-1]), 0.05),
        at_least("β above: it does not", _mean(cold[0])[-1], 0.3),
        *(
            at_most(f"β {side} β_c: particles' mean at t = 10, standard errors off",
                    _deviation(*pair), 4)
            for side, pair in (("below", warm), ("above", cold))
        ),
        at_most("six-hump camel at β = 10, γ = 0.5: critical λ by both routes, relative difference",
                abs(results.camel[0] / results.camel[1] - 1), 1e-4),
    ]  # fmt: skip


def _deviation(density: pk.Solution, ensemble: Any) -> float:
    """At t = 10, before the fluctuations of a finite crowd have grown."""
    k = int(np.abs(density.times - 10).argmin())
    mean, error = _particle_mean(ensemble)
    return float(abs(mean[k] - _mean(density)[k]) / error[k])


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Critical temperatures over γ, states over γ, and the runs in time."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    critical, states, runs = figure.subplots(1, 3)
    for s, colour in zip(STRENGTHS, COLOURS, strict=True):
        critical.loglog(results.curve, results.critical[s], color=colour,
                        label=f"V at λ/(1 + γλ), λ = {s:g}")  # fmt: skip
        points = [(g, pair[0]) for (strength, g), pair in results.smoothed.items() if strength == s]
        critical.loglog(*np.transpose(points), "o", color=colour, mfc="none", ms=6)
    critical.loglog([], [], "o", color="0.4", mfc="none", label="local entropy at λ")
    critical.set(xlabel="γ", ylabel="β at the transition", title="smoothing weakens the coupling")
    critical.legend(fontsize=8, frameon=False)
    _states_panel(states, results)
    _runs_panel(runs, results)
    return figure


def _states_panel(ax: Any, results: Results) -> None:
    for which, marker, label in ((0, "o", "V_γ at λ = 1"), (1, "x", "V at λ/(1 + γλ)")):
        points = [(g, m) for g, pair in results.states.items() for m in pair[which]]
        ax.plot(*np.transpose(points), marker, color=("tab:blue", "black")[which], mfc="none", ms=7,
                label=label)  # fmt: skip
    ax.axvline(results.merging, color="0.5", ls=":", lw=1)
    ax.set(xlabel="γ", ylabel="self-consistent mean", title=f"all states at β = {COLD:g}")
    ax.legend(fontsize=8, frameon=False)


def _runs_panel(ax: Any, results: Results) -> None:
    for (beta, (density, ensemble)), colour in zip(
        results.runs.items(), ("tab:red", "tab:blue"), strict=True
    ):
        ax.plot(density.times, _mean(density), color=colour, label=f"equation, β = {beta:.2f}")
        mean, error = _particle_mean(ensemble)
        ax.errorbar(ensemble.x.time, mean, 2 * error, fmt=".", color=colour, ms=4, lw=1,
                    label="particles, 10 runs")  # fmt: skip
    ax.set(xlabel="t", ylabel="mean", title=f"in V_γ, γ = {MIDDLE:g}, λ = 1", ylim=(-0.1, 1))
    ax.legend(fontsize=8, frameon=False)
