"""May the two scales be averaged first? Homogenisation and many particles, in either order.

Two ways in which a fine scale ε disappears, each together with the limit of many particles:

* ripples of wavelength 2πε on a bowl, V = x²/2 + a cos(x/ε), with a pull to the mean. At a fixed
  time the limits commute: as ε -> 0 the McKean-Vlasov density moves as that of the bowl alone, in
  the slower time M t, M = 1/I_0(beta a)². In the long run they do not (Gomes and Pavliotis 2018):
  averaged first, the bowl is convex and has one state at every temperature; for each ε > 0 many
  particles have a transition at a finite beta_c, and below it many states. beta_c ε² tends to a
  constant, of particles that sit in the ripples' minima: λ/(1+λ) s Var_s(k) = 1 for k in Z + 1/2
  with weights exp(-s k²/2), s = 4π² (1+λ) beta ε². Particles at one beta and two ε tell them apart.
* the two-scale dynamics MF-HOM-SGLD: as ε -> 0 its law is driven by the slope of the LOCAL ENTROPY
  of V, not of V, and by the pull: x' = -u'(x) - λ (x - mean), at rate O(ε) (mathematics 1.9;
  Kantas et al. (14)-(15), who let ε -> 0 first for this reason).

Statistical claims are at level 0.001 each.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import i0, ndtri
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.particles import LeimkuhlerMatthews

PULL = pk.CurieWeiss(10.0)
BETA, HEIGHT = 1.2, 1.0
START = pk.Gaussian(0.6, 0.3)
EARLY, SETTLED, LATE = 1.5, 6.0, 20.0
COARSE, FINE = 0.14, 0.07  # wavelengths over 2π on both sides of the transition at BETA
SCOPE, COLD, WELL = 0.5, 4.0, pk.potentials.DoubleWell()  # of the two-scale dynamics
WELL_START, WELL_PULL, WELL_TIME = pk.Gaussian(0.3, 0.4), pk.CurieWeiss(1.0), 1.0
RUNS = 20  # of the two-scale particles
LEVEL = float(stats.t.isf(5e-4, RUNS - 1))  # in standard errors


def bowl(epsilon: float) -> Any:
    """V(x) = x²/2 + height cos(x/ε); of ε = 0 without the ripples."""
    smooth = pk.potentials.Quadratic()
    return smooth + HEIGHT * pk.potentials.Cosine(1 / epsilon) if epsilon else smooth


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    epsilons: np.ndarray
    critical: np.ndarray  # of the rippled bowl, by quadrature
    lattice: float  # limit of beta_c ε², from the sum over Z + 1/2
    betas: np.ndarray
    states: dict[float, list[int]]  # ε -> numbers over betas; 0 is the bowl alone
    times: np.ndarray
    means: dict[float, np.ndarray]  # ε -> mean over times; 0 is the bowl in the time M t
    early: dict[float, float]  # ε -> W1 distance of the densities at EARLY
    ordered: float  # least mean > 0 of a stable state at BETA for COARSE
    particles: dict[float, np.ndarray]  # ε -> means of runs at EARLY and LATE
    moments: dict[float, np.ndarray]  # ε -> mean, second moment of the two-scale particles: error
    noise: dict[float, np.ndarray]  # their standard errors
    unsmoothed: np.ndarray  # distance of the transport by V itself from that by its local entropy
    numbers: dict[str, Any]


def run(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer wavelengths and particles.")
    ] = False,
    particles: Annotated[int | None, typer.Option(min=1, help="Two-scale particles.")] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs of 200 particles in the bowl.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Critical points and states as ε shrinks, densities and particles at two ε, two scales."""
    epsilons = np.array([0.14, 0.1, 0.07, 0.05, 0.035])
    epsilons = epsilons if quick else np.append(epsilons, [0.025, 0.0175])
    with tqdm(total=5, desc="homogenisation", unit="stage") as bar:
        critical = np.array([pk.critical_beta(bowl(float(e)), PULL) for e in epsilons])
        bar.update()
        betas = np.geomspace(0.4, 40, 9 if quick else 25)
        shown = (COARSE, FINE, 0.035, 0.0)
        states = {e: [_count(e, float(b)) for b in betas] for e in shown}
        broken = [s.mean for s in _states(COARSE, BETA) if s.stable and s.mean > 0]
        bar.update()
        times = np.union1d(np.geomspace(0.1, LATE, 12 if quick else 30), [EARLY, SETTLED])
        means, early = _densities(times, (COARSE, FINE, 0.035, 0.0175))
        bar.update()
        moved = {e: bowl_particles(e, runs or (8 if quick else 40), seed) for e in (COARSE, FINE)}
        bar.update()
        moments, noise, unsmoothed = _two_scales(particles or (4_000 if quick else 40_000), seed)
        bar.update()
    results = Results(
        epsilons, critical, lattice_constant(), betas, states, times, means, early, min(broken),
        moved, moments, noise, unsmoothed, {},
    )  # fmt: skip
    results.numbers.update(_numbers(results))
    return results


def lattice_constant() -> float:
    """lim beta_c ε²: a Gaussian on Z + 1/2 in place of the confined state."""
    k = np.arange(-100, 100) + 0.5

    def excess(s: float) -> float:
        weight = np.exp(-s * k**2 / 2)
        share = PULL.strength / (1 + PULL.strength)
        return float(share * s * (weight * k**2).sum() / weight.sum()) - 1

    # at small s the sum is an integral and the excess share - 1 < 0: no transition
    return brentq(excess, 1.0, 20.0) / (4 * np.pi**2 * (1 + PULL.strength))


def _grid(epsilon: float) -> pk.Grid:
    """At least 40 cells a ripple."""
    return pk.Grid(-2.5, 2.5, max(300, round(5 / (2 * np.pi * epsilon) * 40)))


def _states(epsilon: float, beta: float) -> list[pk.SelfConsistentState]:
    reach = 2.5 + 5 / beta**0.5  # of the highest temperature looked at
    cells = round(2 * reach / (2 * np.pi * (epsilon or 1.0)) * 24)
    grid = pk.Grid(-reach, reach, max(400, cells))
    return pk.self_consistent_states(pk.McKeanVlasov(bowl(epsilon), beta, PULL), grid)


def _count(epsilon: float, beta: float) -> int:
    return len(_states(epsilon, beta))


def mobility() -> float:
    """M = 1 / (<exp(beta a cos)> <exp(-beta a cos)>) over a period."""
    return float(1 / i0(BETA * HEIGHT) ** 2)


def _densities(
    times: np.ndarray, epsilons: tuple[float, ...]
) -> tuple[dict[float, np.ndarray], dict[float, float]]:
    """Means over time by the equation, and distances from the bowl's density at ``EARLY``."""
    means, early, k = {}, {}, int(np.flatnonzero(times == EARLY)[0])
    averaged = pk.McKeanVlasov(bowl(0.0), BETA, PULL)
    for epsilon in epsilons:
        grid = _grid(epsilon)
        (x,), equation = grid.axes, pk.McKeanVlasov(bowl(epsilon), BETA, PULL)
        found = pk.solve(equation, grid, START, times).fields
        plain = pk.solve(averaged, grid, START, mobility() * times).fields
        means[epsilon], means[0.0] = grid.integrate(x * found), grid.integrate(x * plain)
        early[epsilon] = float(np.abs(np.cumsum(found[k] - plain[k])).sum() * grid.cell_volume**2)
    return means, early


def bowl_particles(epsilon: float, runs: int, seed: int, pull: Any = PULL) -> np.ndarray:
    """Means of runs of 200 particles at ``EARLY`` and ``LATE``."""
    dynamics = pk.InteractingLangevin(bowl(epsilon), BETA, pull)
    dt = 0.1 / (HEIGHT / epsilon**2 + PULL.strength)
    ensemble = pk.simulate(dynamics, START, 200, [EARLY, SETTLED], dt, runs=runs, seed=seed)
    return ensemble.x.values.mean((2, 3))


def driven(slope: Any, nodes: int = 1_000) -> np.ndarray:
    """Mean and second moment at ``WELL_TIME`` of x' = -slope(x) - λ (x - mean) from the start."""
    start = WELL_START.mean[0] + WELL_START.std[0] * ndtri((np.arange(nodes) + 0.5) / nodes)

    def velocity(_: float, x: np.ndarray) -> np.ndarray:
        return -slope(x) - WELL_PULL.strength * (x - x.mean())

    path = solve_ivp(velocity, (0, WELL_TIME), start, rtol=1e-7, atol=1e-9)
    x = path.y[:, -1]
    return np.array([x.mean(), (x**2).mean()])


def local_slope(gamma: float = SCOPE, beta: float = COLD) -> Any:
    """x -> u'(x), u the local entropy of the well."""
    smooth = pk.local_entropy(WELL, gamma, beta, pk.Grid(-3, 3, 1200))
    return lambda x: smooth.grad(x[:, None])[:, 0]


def two_scale_moments(epsilon: float, n: int, seed: int, beta: float = COLD) -> np.ndarray:
    """First two moments of particles by MF-HOM-SGLD, and their standard errors, (2, 2)."""
    dynamics = pk.TwoScaleLangevin(
        WELL, beta, SCOPE, epsilon, 12, interaction=WELL_PULL, integrator=LeimkuhlerMatthews()
    )
    x = pk.simulate(
        dynamics, WELL_START, n // RUNS, WELL_TIME, 12 * 0.04 * epsilon, runs=RUNS, seed=seed
    )
    values = x.final.values[..., 0]
    # particles of a run act on each other: the runs are the sample
    powers = np.stack([values.mean(1), (values**2).mean(1)])
    return np.stack([powers.mean(1), powers.std(1, ddof=1) / RUNS**0.5])


def _two_scales(
    n: int, seed: int
) -> tuple[dict[float, np.ndarray], dict[float, np.ndarray], np.ndarray]:
    """Errors of the particles against the transport by the local entropy."""
    exact, errors, noise = driven(local_slope()), {}, {}
    for k, epsilon in enumerate((0.08, 0.04, 0.02)):
        found, noise[epsilon] = two_scale_moments(epsilon, n, seed + k)
        errors[epsilon] = found - exact
    return errors, noise, driven(lambda x: x**3 - x) - exact


def _numbers(results: Results) -> dict[str, Any]:
    scaled = results.critical * results.epsilons**2
    return {
        "strength": PULL.strength,
        "beta": BETA,
        "mobility": mobility(),
        "epsilon": results.epsilons.tolist(),
        "critical_beta": results.critical.tolist(),
        "critical_beta_times_epsilon_squared": scaled.tolist(),
        "their_limit": results.lattice,
        "most_states": {str(e): max(n) for e, n in results.states.items()},
        "mean_late": {str(e): float(m[-1]) for e, m in results.means.items()},
        "w1_early": {str(e): d for e, d in results.early.items()},
        "ordered_mean": results.ordered,
        "particle_means": {str(e): m.mean(1).tolist() for e, m in results.particles.items()},
        "two_scale_errors": {str(e): m.tolist() for e, m in results.moments.items()},
        "two_scale_standard_errors": {str(e): m.tolist() for e, m in results.noise.items()},
        "unsmoothed": results.unsmoothed.tolist(),
    }


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return _of_states(results) + _of_times(results) + _of_two_scales(results)


def _of_states(results: Results) -> list[Claim]:
    gap = results.critical * results.epsilons**2 / results.lattice - 1
    order = np.log(gap[-3] / gap[-1]) / np.log(results.epsilons[-3] / results.epsilons[-1])
    wrong = [
        int(((np.array(results.states[float(e)]) > 1) != (results.betas > b)).sum())
        for e, b in zip(results.epsilons, results.critical, strict=True)
        if float(e) in results.states
    ]
    return [
        at_most("averaged first: most states at any temperature", max(results.states[0.0]), 1),
        at_least(f"many particles first, ε = {COARSE:g}: states at the lowest temperature",
                 results.states[COARSE][-1], 5),
        at_most("more than one state below the critical temperature only: exceptions",
                sum(wrong), 0),
        at_most("beta_c ε² tends to the constant of the lattice: relative gap at the least ε",
                abs(gap[-1]), 0.02),
        at_least("in second order: measured order", order, 1.7),
        at_least(f"at beta = {BETA:g} fixed the transition is passed as ε -> 0: beta_c at {FINE:g}",
                 results.critical[np.abs(results.epsilons - FINE).argmin()], BETA),
    ]  # fmt: skip


def _of_times(results: Results) -> list[Claim]:
    early = results.early
    sizes = np.array(sorted(early))[:3]
    rate = np.polyfit(np.log(sizes), np.log([early[e] for e in sizes]), 1)[0]
    coarse, fine = results.particles[COARSE], results.particles[FINE]
    made = [
        at_most(f"t = {EARLY:g}: W1 from the bowl's density in slower time, over ε, at most",
                max(early[e] / e for e in sizes), 1.2),
        at_least("it vanishes with ε: exponent", rate, 0.9),
        at_most(f"long after, ε = {FINE:g}: the mean is forgotten as in the bowl",
                abs(results.means[FINE][-1]), 1e-3),
        at_most(f"long after, ε = {COARSE:g}: |mean - that of the broken state|",
                abs(results.means[COARSE][-1] - results.ordered), 1e-4),
    ]  # fmt: skip
    at = [results.means[FINE][results.times == t][0] for t in (EARLY, SETTLED)]
    for k, (name, true) in enumerate(((f"{EARLY:g}", at[0]), (f"{SETTLED:g}", at[1]))):
        made.append(_within(f"particles, ε = {FINE:g}, t = {name}: mean is the equation's",
                            fine[k], float(true)))  # fmt: skip
    made.append(_within(f"particles, ε = {COARSE:g}, t = {SETTLED:g}: mean is the broken state's",
                        coarse[1], results.ordered))  # fmt: skip
    return made


def _within(text: str, sample: np.ndarray, true: float) -> Claim:
    """The sample's mean against its interval; 1/N bias and step within 0.01 of the mean."""
    error = float(sample.std(ddof=1)) / sample.size**0.5
    bound = float(stats.t.isf(5e-4, sample.size - 1)) * error + 0.01
    return at_most(f"{text}: |difference|, against its interval", abs(sample.mean() - true), bound)


def _of_two_scales(results: Results) -> list[Claim]:
    made = []
    sizes = sorted(results.moments)
    for k, name in enumerate(("mean", "second moment")):
        for epsilon in sizes:
            error, noise = results.moments[epsilon][k], results.noise[epsilon][k]
            made.append(at_most(f"MF-HOM-SGLD, ε = {epsilon:g}: {name} against the transport by "
                                "the local entropy, less noise, over ε",
                                (abs(error) - LEVEL * noise) / epsilon, 2.2))  # fmt: skip
        fine, coarse = sizes[0], sizes[1]
        left = abs(2 * results.moments[fine][k] - results.moments[coarse][k])
        noise = float(np.hypot(2 * results.noise[fine][k], results.noise[coarse][k]))
        made.append(at_most(f"{name}: extrapolated to ε = 0, against its interval", left,
                            0.004 + LEVEL * noise))  # fmt: skip
        apart = abs(results.unsmoothed[k] - results.moments[fine][k])
        made.append(at_least(f"{name}: V itself in its place is refuted, standard errors",
                             apart / results.noise[fine][k], 5))  # fmt: skip
    return made


def plot(results: Results) -> Figure:
    """States over temperature, critical points over ε, means over time, and the two scales."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    (states, critical), (times, scales) = figure.subplots(2, 2)
    _states_panel(states, results)
    _critical_panel(critical, results)
    _times_panel(times, results)
    _scales_panel(scales, results)
    return figure


def _states_panel(ax: Any, results: Results) -> None:
    for epsilon, counts in results.states.items():
        label = f"ε = {epsilon:g}" if epsilon else "averaged first"
        ax.step(results.betas, counts, where="mid", label=label, color=None if epsilon else "0.2",
                ls="-" if epsilon else "--")  # fmt: skip
    ax.set(xscale="log", xlabel="β", title="number of self-consistent states")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize=8, frameon=False)


def _critical_panel(ax: Any, results: Results) -> None:
    scaled = results.critical * results.epsilons**2
    ax.plot(results.epsilons, scaled, "o", label="N → ∞ first, by quadrature")
    ax.axhline(results.lattice, color="0.2", lw=1, label="limit: particles on a lattice")
    ax.set(xlabel="ε", ylabel="β_c ε²", xlim=(0, None),
           title="critical point (averaged first: none)")  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _times_panel(ax: Any, results: Results) -> None:
    for epsilon, mean in results.means.items():
        label = f"ε = {epsilon:g}" if epsilon else "bowl, time M t"
        style = "--" if epsilon == 0 else "-"
        (curve,) = ax.semilogx(results.times, mean, style, label=label,
                               color=None if epsilon else "0.2")  # fmt: skip
        if epsilon in results.particles:
            found = results.particles[epsilon]
            bars = stats.norm.isf(0.005) * found.std(1) / found.shape[1] ** 0.5
            ax.errorbar([EARLY, SETTLED], found.mean(1), bars, fmt="o", color=curve.get_color())
    ax.set(xlabel="t", title=f"mean at β = {BETA:g} (dots: 200 particles, 99 % intervals)")
    ax.legend(fontsize=8, frameon=False)


def _scales_panel(ax: Any, results: Results) -> None:
    sizes = np.array(sorted(results.moments))
    for k, (name, colour) in enumerate((("mean", "tab:blue"), ("second moment", "tab:red"))):
        error = np.array([results.moments[e][k] for e in sizes])
        bars = stats.norm.isf(0.005) * np.array([results.noise[e][k] for e in sizes])
        ax.errorbar(sizes, error, bars, fmt="o", color=colour, label=f"{name}, 99 % intervals")
        ax.plot([0, sizes[0]], [2 * error[0] - error[1], error[0]], ":", color=colour)
        ax.axhline(results.unsmoothed[k], color=colour, lw=0.8, ls="--")
    ax.axhline(0, color="0.2", lw=0.8)
    ax.set(xlabel="ε", xlim=(0, None),
           title="MF-HOM-SGLD less transport by\nthe local entropy (dashed: by V)")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
