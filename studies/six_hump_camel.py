"""Do interacting agents gather at the camel's global minimum? With λ = 10, yes; λ = 2 needs time.

Kantas et al. figure 1: 25 agents in the six-hump camel, β = 10, uniform on [-2, 2]², 150 steps of
0.01, by SGLD, MF-SGLD, HOM-SGLD and MF-HOM-SGLD (γ = 0.1, ε = 1, M = 20). The paper says that with
λ = 10 "all reach consensus" near one global minimum, and that with λ = 2 they "do not seem to", by
either method. For MF-SGLD that holds. For MF-HOM-SGLD with λ = 10 it does not hold with the inner
step as printed, δ = Δ/M: less than half of the runs have gathered after 150 steps, all after ten
times as many; δ = Δ gathers in 150 (errata 76). Why, by the equation:

* the printed explanation, an interaction so weak that one stationary state exists, is not it: the
  critical coupling at β = 10 is λ_c = 0.2043, and consensus is stable at λ = 1 and 2 (errata 15:
  as printed the condition gives 0.1985; errata 16: βλ_c is no constant);
* from a symmetric start the McKean-Vlasov equation never chooses. Finite crowds do, at the rate at
  which the symmetric state is unstable: agents must cross a barrier at λ = 2, where it takes a
  time of 17 to grow e-fold, and none at λ = 10, where they sit on the saddle and it takes 0.15;
* consensus is not optimality: for λ > 1.2 consensus at a local minimum is stable as well.

The particles are compared with the Fokker-Planck and McKean-Vlasov densities in the plane; what
gathers is counted in independent runs, with Fisher's exact test against an independent
implementation. (13) has no noise on X, so that the law of HOM-SGLD at small ε is transport along
the local entropy; here its particles are counted, and their share against the area of the basins.
Equations: mathematics 1.4, 1.6, 1.9, 1.10, (1.14.3); errata 8, 13 to 18, 76.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.stats import binomtest, fisher_exact
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

CAMEL = pk.potentials.SixHumpCamel()
MINIMA = np.array([[0.0898420131, -0.7126564030], [-0.0898420131, 0.7126564030]])
LOCAL = np.array([1.7036, -0.7961])  # a minimum that is not global
BETA, GAMMA, DT, AGENTS = 10.0, 0.1, 0.01, 25
NEAR = 0.3
START = pk.Uniform((-2, -2), (2, 2))
ASIDE = pk.Gaussian((0.4, -0.4), 0.3)  # a start that is not symmetric
STEPS = np.array([5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 450, 700, 1000, 1500])
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0)
PRINTED, EQUAL = "δ = Δ/M", "δ = Δ"  # the two readings of the inner step
EULER = pk.particles.EulerMaruyama()

REFERENCE = {  # gathered runs of 400 after 150 and 1,500 steps, by an independent implementation
    "SGLD": (0, 0), "MF-SGLD 1": (0, 0), "MF-SGLD 2": (0, 130), "MF-SGLD 10": (396, 391),
    f"HOM-SGLD, {PRINTED}": (0, 0), f"MF-HOM-SGLD 2, {PRINTED}": (0, 0),
    f"MF-HOM-SGLD 10, {PRINTED}": (177, 400), f"MF-HOM-SGLD 10, {EQUAL}": (392, None),
}  # fmt: skip
REFERENCE_NEAR = {"SGLD": 0.620, "MF-SGLD 2": 0.902}  # share of agents near either, n = 150
THREE_SIGMA = 0.0027


@dataclass(frozen=True)
class Gathered:
    """Runs of one algorithm, over STEPS."""

    runs: int
    count: np.ndarray  # runs with all agents near one global minimum
    near: np.ndarray  # share of agents near either
    near_error: np.ndarray
    agents: np.ndarray  # of the first run, after 150 steps

    def at(self, step: int) -> int:
        """Gathered runs after a number of steps."""
        return int(self.count[step == STEPS][0])

    def interval(self, step: int, level: float = 0.95) -> tuple[float, float]:
        """Wilson's, of the share of gathered runs."""
        share = binomtest(self.at(step), self.runs).proportion_ci(level, "wilson")
        return share.low, share.high


@dataclass(frozen=True)
class Compared:
    """A density of the equation, and the p-value of particles that should follow it."""

    density: pk.Solution
    p_value: float


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    gathered: dict[str, Gathered]
    critical: dict[float, float]  # β -> λ_c, by quadrature
    turning: float  # λ at which the branch of consensus ends, at BETA
    at_critical: float  # pk.critical_beta at λ_c, which should be BETA
    unconfined: float  # λ of the printed condition
    states: dict[float, list[pk.SelfConsistentState]]
    branches: dict[str, pk.Branch]
    rates: dict[float, float]  # λ -> growth of a small mean on the symmetric state
    compared: dict[str, Compared]
    refuted: dict[str, float]  # p-values of particles against laws that are not theirs
    energies: np.ndarray  # (3, time): free energy; as printed in (9); thesis Remark 4.7
    tilted: tuple[np.ndarray, np.ndarray]  # self-consistent mean and that of the printed state
    stray: float  # share of agents from around the local minimum that reach a global one, λ = 10
    averages: dict[str, tuple[float, float]]  # weights -> distance to a minimum, its error
    basins: float  # area of the basins of the global minima in the local entropy, as a share
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs and cells.")] = False,
    runs: Annotated[int | None, typer.Option(min=20, help="Runs of 25 agents.")] = None,
    agents: Annotated[int | None, typer.Option(min=20, help="A run, for the equation.")] = None,
    seed: Annotated[int, typer.Option(help="Of all particles.")] = 0,
) -> Results:
    """Count, find all states, solve, compare."""
    runs = runs or (80 if quick else 400)
    with tqdm(total=4, desc="six_hump_camel", unit="stage") as bar:
        gathered = {
            name: _gathered(dynamics, runs, seed + k)
            for k, (name, dynamics) in enumerate(_algorithms().items())
        }
        averages = {
            name: _average(average, 20 if quick else 100, seed)
            for name, average in (("1/M", pk.particles.LinearAverage()), ("printed", Printed()))
        }
        bar.update()
        critical = {beta: _critical(beta) for beta in (BETA, 2.0, 5.0, 20.0, 40.0)}
        branches = _branches(_grid(80 if quick else 160))
        states = _states(_grid(80 if quick else 160), critical[BETA], _unconfined())
        bar.update()
        strengths = (1.0, 2.0, 10.0) if quick else STRENGTHS
        rates = {s: _growth(s, 56 if quick else 112) for s in strengths}
        bar.update()
        agents = agents or (500 if quick else 1000)
        compared, refuted = _laws(_grid(160 if quick else 240), quick, agents, seed)
        bar.update()
    results = Results(
        gathered, critical, float(branches["consensus"].folds[0]),
        pk.critical_beta(CAMEL, pk.CurieWeiss(critical[BETA])), _unconfined(), states, branches,
        rates, compared, refuted, _energies(_grid(80)), _tilted(_grid(80)),
        _stray(runs, seed), averages,
        _basins(60 if quick else 150), {},
    )  # fmt: skip
    results.numbers.update(_numbers(results))
    return results


# ---- agents --------------------------------------------------------------------------------------


def _algorithms() -> dict[str, Any]:
    """Those of figure 1; numbers are λ."""
    made: dict[str, Any] = {"SGLD": pk.Langevin(CAMEL, BETA, integrator=EULER)}
    for s in STRENGTHS:
        pull = pk.CurieWeiss(s)
        made[f"MF-SGLD {s:g}"] = pk.InteractingLangevin(CAMEL, BETA, pull, integrator=EULER)
    for reading, inner in ((PRINTED, DT / 20), (EQUAL, DT)):
        made[f"HOM-SGLD, {reading}"] = _homogenised(None, inner)
        for s in (2.0, 10.0):
            made[f"MF-HOM-SGLD {s:g}, {reading}"] = _homogenised(pk.CurieWeiss(s), inner)
    return made


def _homogenised(pull: Any, inner: float, **other: Any) -> pk.TwoScaleLangevin:
    return pk.TwoScaleLangevin(
        CAMEL, BETA, GAMMA, epsilon=1.0, inner_steps=20, interaction=pull, inner_dt=inner, **other
    )


def _gathered(dynamics: Any, runs: int, seed: int) -> Gathered:
    x = pk.simulate(dynamics, START, AGENTS, DT * STEPS, DT, runs=runs, seed=seed).x.values
    close = np.linalg.norm(x[..., None, :] - MINIMA, axis=-1) < NEAR  # (time, run, agent, minimum)
    share = close.any(-1).mean(-1)
    return Gathered(
        runs, close.all(2).any(-1).sum(-1), share.mean(-1),
        share.std(-1, ddof=1) / runs**0.5, x[STEPS == 150][0, 0],
    )  # fmt: skip


@dataclass(frozen=True)
class Printed:
    """Weights 1/(m' + M - 1) for m' = 5, which sum to M/(m' + M - 1) = 5/6 (errata 18)."""

    def weights(self, count: int) -> list[float]:
        """Weight of the start, then of each iterate."""
        return [0.0] + [1 / (count + 4)] * count


def _average(average: Any, runs: int, seed: int) -> tuple[float, float]:
    """Mean distance of agents to the nearer global minimum after 300 steps with burn-in 5."""
    dynamics = _homogenised(pk.CurieWeiss(10.0), DT, burn_in=5, average=average)
    x = pk.simulate(dynamics, START, AGENTS, 300 * DT, DT, runs=runs, seed=seed).final.values
    apart = np.linalg.norm(x[..., None, :] - MINIMA, axis=-1).min(-1).mean(-1)
    return float(apart.mean()), float(apart.std(ddof=1) / runs**0.5)


def _stray(runs: int, seed: int) -> float:
    """Share of agents near a global minimum after 1,500 steps with λ = 10 from around LOCAL."""
    dynamics = _algorithms()["MF-SGLD 10"]
    x = pk.simulate(dynamics, pk.Gaussian(LOCAL, 0.3), AGENTS, 1500 * DT, DT, runs=runs, seed=seed)
    apart = np.linalg.norm(x.final.values[..., None, :] - MINIMA, axis=-1).min(-1)
    return float((apart < NEAR).mean())


def _basins(points: int) -> float:
    """Share of [-2, 2]² from which descent on the local entropy ends near a global minimum."""
    box = pk.Grid((-3, -2.6), (3, 2.6), (300, 260))
    smooth = pk.local_entropy(CAMEL, GAMMA, BETA, box)
    x = pk.Grid((-2, -2), (2, 2), (points, points)).centres.reshape(-1, 2)
    for _ in range(500):
        x = x - DT * smooth.grad(x)
    return float((np.linalg.norm(x[:, None] - MINIMA, axis=-1) < NEAR).any(1).mean())


# ---- states --------------------------------------------------------------------------------------


def _grid(rows: int) -> pk.Grid:
    return pk.Grid((-2.5, -2), (2.5, 2), (rows * 5 // 4, rows))


def _equation(strength: float, potential: Any = CAMEL) -> pk.McKeanVlasov:
    return pk.McKeanVlasov(potential, BETA, pk.CurieWeiss(strength))


def _moments(beta: float, strength: float, potential: Any = CAMEL) -> tuple[Any, Any]:
    """Mean and covariance under exp(-β (V + λ|x|²/2))/Z, by sums that converge geometrically."""
    axes = np.linspace(-3.2, 3.2, 401), np.linspace(-2.2, 2.2, 401)
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    energy = potential(x) + strength * (x**2).sum(-1) / 2
    weight = np.exp(-beta * (energy - energy.min()))
    mean = np.einsum("ij,ijk->k", weight, x) / weight.sum()
    return mean, np.einsum("ij,ijk,ijl->kl", weight, x - mean, x - mean) / weight.sum()


def _critical(beta: float) -> float:
    """λ with β λ times the largest variance of the symmetric, confined state = 1."""
    return float(brentq(
        lambda s: beta * s * np.linalg.eigvalsh(_moments(beta, s)[1])[-1] - 1, 0.01, 3, xtol=1e-14
    ))  # fmt: skip


def _unconfined() -> float:
    """λ = 1/(β Var) without the confinement, as printed on p. 6 (errata 15)."""
    return float(1 / (BETA * np.linalg.eigvalsh(_moments(BETA, 0.0)[1])[-1]))


def _branches(grid: pk.Grid) -> dict[str, pk.Branch]:
    """Over λ: consensus at a global minimum, and at a local one, each to where it ends."""
    states = pk.self_consistent_states(_equation(1.5), grid)
    nearest = {
        name: min(states, key=lambda state: np.linalg.norm(np.subtract(state.mean, place)))
        for name, place in (("consensus", MINIMA[0]), ("local", LOCAL))
    }
    return {
        name: pk.follow_branch(_equation, grid, state, (0.15, 1.5), start=1.5)
        for name, state in nearest.items()
    }


def _states(grid: pk.Grid, critical: float, printed: float) -> dict[float, Any]:
    """Between the printed and the true critical coupling, above it, and at the paper's λ."""
    strengths = ((printed + critical) / 2, 1.1 * critical, 1.0, 2.0, 10.0)
    return {s: pk.self_consistent_states(_equation(s), grid) for s in strengths}


def _growth(strength: float, rows: int) -> float:
    """Rate at which a small mean grows on the symmetric state, by the equation in time."""
    grid = pk.Grid((-2.2, -1.4), (2.2, 1.4), (rows * 11 // 7, rows))
    x, energy = grid.centres, CAMEL(grid.centres) + strength * (grid.centres**2).sum(-1) / 2
    weight = np.exp(-BETA * (energy - energy.min()))
    along = x @ np.linalg.eigh(_moments(BETA, strength)[1])[1][:, -1]
    rho = weight * (1 + 1e-4 * along) / grid.integrate(weight)
    last = min(1.5, 12 / strength)
    fields = pk.solve(
        _equation(strength), grid, rho, [2 * last / 3, last], pk.schemes.MeanField(1e-6)
    ).fields
    first, second = (grid.integrate(along * field) for field in fields)
    return float(np.log(second / first) / (last / 3))


def _tilted(grid: pk.Grid) -> tuple[np.ndarray, np.ndarray]:
    """Below the transition with a tilt of 0.05 y: the state's mean, and m = 0 put in its place."""
    tilted = CAMEL + pk.potentials.Linear((0.0, 0.05))
    (state,) = pk.self_consistent_states(_equation(0.1, tilted), grid)
    return np.array(state.mean), _moments(BETA, 0.1, tilted)[0]


# ---- densities -----------------------------------------------------------------------------------


def _laws(
    grid: pk.Grid, quick: bool, agents: int, seed: int
) -> tuple[dict[str, Compared], dict[str, float]]:
    """Densities and particles, from the paper's start or, where that is unstable, one aside."""
    times = [0.5, 1.5] if quick else [0.25, 0.5, 1.0, 1.5, 5.0, 15.0]
    cases = {"SGLD": (0.0, START, times)}
    cases |= {f"MF-SGLD {s:g}": (s, START, times) for s in ((2.0,) if quick else (1.0, 2.0))}
    cases |= {f"MF-SGLD {s:g}, aside": (s, ASIDE, times)
              for s in ((10.0,) if quick else (5.0, 10.0, 20.0))}  # fmt: skip
    if not quick:
        cases["MF-SGLD 10, symmetric"] = (10.0, START, [0.1, 0.2])
    compared, ensembles = {}, {}
    for k, (name, (strength, start, stored)) in enumerate(cases.items()):
        pull = pk.CurieWeiss(strength)
        dynamics: Any = pk.Langevin(CAMEL, BETA)
        if strength:
            dynamics = pk.InteractingLangevin(CAMEL, BETA, pull)
        density = pk.solve(dynamics.law(), grid, start, stored)
        step = 0.001 if stored[0] < 0.25 else 0.002
        x = pk.simulate(dynamics, start, agents, stored, step, runs=20, seed=seed + 100 + k)
        compared[name] = Compared(density, float(pk.compare(density, x).p_value))
        ensembles[name] = x
    return compared, _refuted(grid, compared, ensembles["SGLD"], seed)


def _refuted(
    grid: pk.Grid, compared: dict[str, Compared], ensemble: Any, seed: int
) -> dict[str, float]:
    """Laws that the particles should not have: printed (7), and that of another step."""
    times = compared["SGLD"].density.times
    inverse = pk.solve(pk.FokkerPlanck(CAMEL, 1 / BETA), pk.Grid((-4, -3), (4, 3), (160, 120)),
                       START, times)  # fmt: skip
    coarse = pk.simulate(pk.Langevin(CAMEL, BETA, integrator=EULER), START, 1000, times, DT,
                         runs=20, seed=seed + 200)  # fmt: skip
    return {
        "inverse": float(pk.compare(inverse, ensemble).p_value),
        "coarse": float(pk.compare(compared["SGLD"].density, coarse).p_value),
    }


def _energies(grid: pk.Grid) -> np.ndarray:
    """Along a density that widens to consensus, λ = 10: F, F as printed in (9), Remark 4.7's.

    The pair energy is (λ/2) tr Cov; (9) with (6) makes it (λ²/2) tr Cov, Remark 4.7 λ tr Cov.
    """
    strength, times = 10.0, np.linspace(0.01, 0.5, 20)
    density = pk.solve(_equation(strength), grid, pk.Gaussian(MINIMA[0], 0.05), times)
    energy, trace = pk.free_energy(density).values, _trace(density)
    return np.stack([energy, energy + (strength**2 - strength) / 2 * trace,
                     energy + strength / 2 * trace])  # fmt: skip


def _trace(density: pk.Solution) -> np.ndarray:
    """tr Cov over time."""
    grid, x = density.grid, density.grid.centres
    squares = grid.integrate(density.fields * (x**2).sum(-1))
    return np.asarray(squares - (_mean(density) ** 2).sum(-1))


def _mean(density: pk.Solution) -> np.ndarray:
    """(time, 2)."""
    x = density.grid.centres
    return np.stack([density.grid.integrate(density.fields * x[..., k]) for k in (0, 1)], -1)


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    return {
        "steps": STEPS.tolist(),
        "gathered": {
            name: {"runs": g.runs, "count": g.count.tolist(),
                   "near_either": g.near.tolist(), "near_error": g.near_error.tolist()}
            for name, g in results.gathered.items()
        },
        "critical_strength": {f"{beta:g}": s for beta, s in results.critical.items()},
        "critical_strength_from_the_branch": results.turning,
        "printed_condition": results.unconfined,
        "local_consensus_from": float(results.branches["local"].folds[0]),
        "states": {
            f"{s:.6g}": [
                {"mean": list(map(float, a.mean)), "free_energy": a.free_energy, "stable": a.stable}
                for a in found
            ]
            for s, found in results.states.items()
        },
        "growth": {f"{s:g}": rate for s, rate in results.rates.items()},
        "p_values": {name: c.p_value for name, c in results.compared.items()},
        "tilted_means": [m.tolist() for m in results.tilted],
        "distance_by_weights": {k: list(v) for k, v in results.averages.items()},
        "basins": results.basins,
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return [*_of_agents(results), *_of_states(results), *_of_densities(results),
            *_of_the_printed(results)]  # fmt: skip


def _of_agents(results: Results) -> list[Claim]:
    made = [
        at_least(f"{name}: runs gathered after {step} steps, like the reference: Fisher's p-value",
                 _fisher(results.gathered[name], step, count), THREE_SIGMA)
        for name, counts in REFERENCE.items()
        for step, count in zip((150, 1500), counts, strict=True)
        if count is not None
    ]  # fmt: skip
    made += [
        at_most(f"{name}: agents near either minimum after 150 steps, standard errors off",
                _deviations(results.gathered[name], share), 3)
        for name, share in REFERENCE_NEAR.items()
    ]  # fmt: skip
    share, error = _at(results.gathered[f"HOM-SGLD, {EQUAL}"], 300)
    return [
        *made,
        at_least("MF-SGLD, λ = 10: share gathered after 150 steps, lower end of Wilson's interval",
                 results.gathered["MF-SGLD 10"].interval(150)[0], 0.9),
        at_most("λ = 2: not yet, upper end", results.gathered["MF-SGLD 2"].interval(150)[1], 0.1),
        at_most("as the paper says, λ ≤ 1 leaves agents behind: gathered after 1,500 steps",
                results.gathered["MF-SGLD 1"].at(1500), 0),
        at_most("λ = 10 from around a local minimum: share of agents that leave it", results.stray,
                0.01),
        at_most("HOM-SGLD, δ = Δ: share near either is the area of the local entropy's basins, "
                "standard errors off", abs(share - results.basins) / error, 4),
    ]  # fmt: skip


def _fisher(gathered: Gathered, step: int, reference: int) -> float:
    count = gathered.at(step)
    table = [[count, gathered.runs - count], [reference, 400 - reference]]
    return float(fisher_exact(table).pvalue)


def _at(gathered: Gathered, step: int) -> tuple[float, float]:
    """Share of agents near either minimum, and its error over runs."""
    k = int(np.flatnonzero(step == STEPS)[0])
    return float(gathered.near[k]), float(gathered.near_error[k])


def _deviations(gathered: Gathered, reference: float) -> float:
    """With the errors of both sides; the reference had 400 runs."""
    share, error = _at(gathered, 150)
    return abs(share - reference) / (error * (1 + gathered.runs / 400) ** 0.5)


def _of_states(results: Results) -> list[Claim]:
    critical, (between, above, *_) = results.critical[BETA], list(results.states.values())
    local, best = (_nearest(results.states[10.0], place) for place in (LOCAL, MINIMA[0]))
    return [
        at_most("critical λ at β = 10 is 0.20430688, off", abs(critical - 0.20430688), 1e-8),
        at_most("end of the branch of consensus against quadrature, relative difference",
                abs(results.turning / critical - 1), 5e-5),
        at_most("critical β at that λ is 10, off", abs(results.at_critical - BETA), 1e-6),
        at_most("states just below and just above it are 1 and 3: off by",
                abs(len(between) - 1) + abs(len(above) - 3), 0),
        *(
            at_most(f"λ = {s:g}: consensus at a global minimum is stable: response",
                    _nearest(results.states[s], MINIMA[0]).response, 0.9)
            for s in (1.0, 2.0, 10.0)
        ),
        *(
            at_most(f"λ = {s:g}: e-folds of a small mean in 150 steps", 1.5 * results.rates[s], 0.5)
            for s in (1.0, 2.0)
        ),
        at_least("λ = 10: e-folds of a small mean in 150 steps", 1.5 * results.rates[10.0], 5),
        at_most("λ = 10: consensus at a local minimum is stable too: response", local.response,
                0.9),
        at_least("though its free energy is higher by", local.free_energy - best.free_energy, 0.5),
    ]  # fmt: skip


def _nearest(states: list[Any], place: np.ndarray) -> Any:
    return min(states, key=lambda state: np.linalg.norm(np.subtract(state.mean, place)))


def _of_densities(results: Results) -> list[Claim]:
    symmetric = results.compared["MF-SGLD 2"].density
    aside = _mean(results.compared["MF-SGLD 10, aside"].density)[-1]
    consensus = _nearest(results.states[10.0], MINIMA[0]).mean
    return [
        *(
            at_least(f"{name}: particles follow the density: p-value", c.p_value, 1e-3)
            for name, c in results.compared.items()
        ),
        *(
            at_most(f"{name}: largest rise of the free energy",
                    np.diff(pk.free_energy(c.density).values).max(), 1e-10)
            for name, c in results.compared.items()
        ),
        at_most("from a symmetric start the density never chooses: |mean| at the end",
                np.abs(_mean(symmetric)[-1]).max(), 1e-6),
        at_most("from a start aside it gathers, λ = 10: mean at the end off the state's",
                np.abs(aside - consensus).max(), 0.01),
    ]  # fmt: skip


def _of_the_printed(results: Results) -> list[Claim]:
    """What the paper prints, beside what holds."""
    printed = results.gathered[f"MF-HOM-SGLD 10, {PRINTED}"]
    scaled = [beta * s for beta, s in results.critical.items()]
    falls, *rise = (np.diff(energy).max() for energy in results.energies)
    state, assumed = results.tilted
    return [
        at_most("MF-HOM-SGLD, λ = 10, δ = Δ/M as printed (errata 76): share gathered after 150 "
                "steps, upper end", printed.interval(150)[1], 0.6),
        at_least("after 1,500, lower end", printed.interval(1500)[0], 0.9),
        at_least("δ = Δ after 150, lower end",
                 results.gathered[f"MF-HOM-SGLD 10, {EQUAL}"].interval(150)[0], 0.75),
        at_most("(7) as printed, β log ρ (errata 8): p-value of particles",
                results.refuted["inverse"], 1e-6),
        at_most("the paper's step shows in the densities: p-value of Euler steps of 0.01",
                results.refuted["coarse"], 1e-3),
        at_most("λ = 10: free energy along the equation, largest rise", falls, 1e-10),
        at_least("(9) as printed with (6) (errata 13) rises by", rise[0], 0.01),
        at_least("the pair energy without its half (errata 14) rises by", rise[1], 1e-3),
        at_least("the condition without confinement (errata 15) is off in λ by",
                 results.critical[BETA] - results.unconfined, 0.005),
        at_least("βλ_c is no constant (errata 16): largest over least, β = 2 to 40",
                 max(scaled) / min(scaled), 1.3),
        at_least("tilted: the printed state's mean (errata 17) is no solution, off by",
                 np.abs(state - assumed).max(), 0.1),
        at_most("burn-in 5: weights 1/M: distance of agents to a minimum",
                results.averages["1/M"][0], 0.05),
        at_least("weights 1/(m' + M - 1) (errata 18) keep them away by",
                 results.averages["printed"][0], 0.15),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Agents after 150 steps on the camel; shares over steps; all states; energies."""
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    maps, curves = figure.subplots(2, 3)
    for ax, names in zip(
        maps,
        (["MF-SGLD 2"], ["MF-SGLD 10"], [f"MF-HOM-SGLD 10, {r}" for r in (PRINTED, EQUAL)]),
        strict=True,
    ):
        _map(ax, results, names)
    density = results.compared["MF-SGLD 2"].density.u.sel(time=1.5)
    maps[0].contour(density.x, density.y, density.values.T, levels=[0.05, 0.5, 2], linewidths=1,
                    colors="tab:red")  # fmt: skip
    _shares(curves[0], results)
    _diagram(curves[1], results)
    _energy(curves[2], results)
    return figure


def _map(ax: Any, results: Results, names: list[str]) -> None:
    x, y = np.linspace(-2.1, 2.1, 211), np.linspace(-1.3, 1.3, 131)
    values = CAMEL(np.stack(np.meshgrid(x, y, indexing="ij"), -1))
    ax.contourf(x, y, np.clip(values, -1.1, 5).T, levels=16, cmap="Blues_r")
    for name, marker, colour in zip(names, "ox", ("tab:orange", "black"), strict=False):
        ax.plot(*results.gathered[name].agents.T, marker, color=colour, ms=5, mec="black", mew=0.8,
                label=name.split(", ")[-1])  # fmt: skip
    ax.plot(*MINIMA.T, "*", color="yellow", mec="black", ms=11, mew=0.6, zorder=5)
    if len(names) > 1:
        ax.legend(fontsize=8, loc="upper right")
    title = names[0].split(", ")[0].split()
    ax.set(title=f"{title[0]}, λ = {title[1]}: n = 150", xlim=(-2.1, 2.1), ylim=(-1.3, 1.3))


def _shares(ax: Any, results: Results) -> None:
    shown = {f"MF-SGLD {s:g}": (f"λ = {s:g}", "-") for s in STRENGTHS}
    shown |= {f"MF-HOM-SGLD 10, {r}": (f"HOM, 10, {r}", "--") for r in (PRINTED, EQUAL)}
    colours = ("0.6", "tab:orange", "tab:green", "tab:blue", "black", "tab:red", "tab:purple")
    for (name, (label, style)), colour in zip(shown.items(), colours, strict=True):
        g = results.gathered[name]
        ends = np.array([g.interval(n) for n in STEPS])
        ax.semilogx(STEPS, g.count / g.runs, style, color=colour, label=label)
        pk.plotting.bands(ax, STEPS, *ends.T, color=colour)
    ax.axvline(150, color="0.5", ls=":", lw=1)
    ax.set(xlabel="n", ylabel="share of runs", title="all 25 within 0.3 of one minimum",
           xlim=(0.35, 1700))  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _diagram(ax: Any, results: Results) -> None:
    for (name, label), colour in zip(
        (("consensus", "global minimum"), ("local", "local minimum")), ("tab:blue", "tab:orange"),
        strict=True,
    ):  # fmt: skip
        branch = results.branches[name]
        for sign in (1, -1):
            mean = sign * branch.mean[:, 1]
            ax.plot(np.where(branch.stable, branch.parameter, np.nan), mean, color=colour, lw=2,
                    label=f"consensus at a {label}" if sign > 0 else None)  # fmt: skip
            ax.plot(np.where(branch.stable, np.nan, branch.parameter), mean, color=colour, ls=":")
    critical = results.critical[BETA]
    ax.plot([0.1, critical], [0, 0], color="black", lw=2, label="symmetric")
    ax.plot([critical, 1.5], [0, 0], color="black", ls=":")
    ax.text(critical + 0.03, 0.06, f"λ_c = {critical:.4f}", fontsize=9)
    ax.set(xlabel="λ", ylabel="mean of y", title=f"stable states, β = {BETA:g}",
           ylim=(-1, 1.75))  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _energy(ax: Any, results: Results) -> None:
    times = np.linspace(0.01, 0.5, 20)
    labels = ("½∫(D*ρ)ρ", "(λ/2)∫(D*ρ)ρ, as printed", "without the half")
    for energy, label, style in zip(results.energies, labels, ("-", "--", ":"), strict=True):
        ax.plot(times, energy - energy[0], style, label=label, lw=1.8)
    ax.set(xlabel="t", ylabel="energy less that at the start", title="λ = 10: which energy falls?")
    ax.legend(fontsize=8, frameon=False)
