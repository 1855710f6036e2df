"""When do interacting particles agree? The Curie-Weiss transition, its folds, and a printed slip.

Infinitely many particles dX = -V'(X) dt - λ (X - mean) dt + sqrt(2/beta) dB in a double well. Cold
or strongly coupled, they gather in one well; how cold it takes is the subject:

* the critical inverse temperature over the coupling: beta λ Var = 1 with the variance of the
  CONFINED state exp(-beta (V + λ x²/2)) / Z, found by quadrature and, apart from that, by the
  growth rate of a small magnetisation under the McKean-Vlasov equation. The condition printed by
  Kantas et al. (p. 6), with the state exp(-beta V) / Z, is checked and fails.
* the bifurcation diagram: every self-consistent mean, branches followed through the pitchfork.
* hysteresis: a tilt h x swept up and down slowly, the density following by the equation, against
  the S-shaped branch with its two folds.
* homogenisation: a rippled well, and the local entropy that two-scale particles feel in its place
  as ε -> 0, each with its own critical point.

Equations: mathematics 1.6, errata 15-17; Kantas et al. (5)-(11).
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
WELL = pk.potentials.DoubleWell()
RIPPLED = WELL - 0.15 * pk.potentials.Cosine(20.0)  # even, with wells of wells


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    critical: dict[float, float]  # by quadrature
    measured: dict[float, float]  # by the equation alone
    printed: dict[float, float]  # root of the printed condition
    curve: tuple[np.ndarray, np.ndarray]  # λ, beta_c
    diagram: pk.PhaseDiagram
    between: list[pk.SelfConsistentState]  # at λ = 1 between the printed and the true point
    relaxation: pk.Solution  # at the same temperature, from the broken side
    ordering: pk.Solution  # above the true point
    loop: pk.Branch
    loop_beta: float
    sweeps: dict[str, tuple[np.ndarray, np.ndarray]]  # tilts and means, up and down
    homogenised: dict[str, list[float]]  # critical points and means, of V and of V_γ
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and points.")] = False,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells of the grid.")] = None,
    loop_beta: Annotated[float, typer.Option(help="Inverse temperature of the hysteresis.")] = 4.0,
    gamma: Annotated[float, typer.Option(help="Scope of the local entropy.")] = 0.02,
) -> Results:
    """Find the critical points three ways, all states, the loop, and the homogenised well."""
    well, grid = WELL, pk.Grid(-3, 3, cells or (240 if quick else 600))
    with tqdm(total=6, desc="phase_transition", unit="stage") as bar:
        critical = {s: pk.critical_beta(well, pk.CurieWeiss(s)) for s in STRENGTHS}
        strengths = np.geomspace(0.05, 50, 13 if quick else 60)
        betas = [pk.critical_beta(well, pk.CurieWeiss(s)) for s in strengths]
        bar.update()
        measured = {s: _measured(well, s, critical[s]) for s in STRENGTHS}
        bar.update()
        printed = {s: _printed(well, s) for s in STRENGTHS}
        diagram = pk.phase_diagram(well, np.linspace(0.8, 6, 8 if quick else 27), STRENGTHS, grid)
        bar.update()
        halfway = (printed[1.0] + critical[1.0]) / 2
        start = pk.Gaussian(0.8, 0.3)
        between = pk.McKeanVlasov(well, halfway, pk.CurieWeiss(1.0))
        above = pk.McKeanVlasov(well, 1.5 * critical[1.0], pk.CurieWeiss(1.0))
        times = np.linspace(0.5, 60, 40)
        relaxation = pk.solve(between, grid, start, times)
        ordering = pk.solve(above, grid, start, times)
        bar.update()
        loop = pk.follow_branch(lambda h: _tilted(h, loop_beta), grid, 1.0, (-0.25, 0.25))
        sweeps = _sweeps(loop_beta, pk.Grid(-3, 3, 200), 26 if quick else 51)
        bar.update()
        homogenised = _homogenised(gamma, pk.Grid(-3, 3, 1200))
        bar.update()
    results = Results(
        critical, measured, printed, (strengths, np.array(betas)), diagram,
        pk.self_consistent_states(between, grid), relaxation, ordering,
        loop, loop_beta, sweeps, homogenised, {},
    )  # fmt: skip
    results.numbers.update(_numbers(results, gamma))
    return results


def _measured(well: Any, strength: float, near: float) -> float:
    """Inverse temperature at which a small magnetisation neither grows nor decays under solve."""
    grid = pk.Grid(-3, 3, 120)
    x = grid.axes[0]

    def growth(beta: float) -> float:
        equation = pk.McKeanVlasov(well, beta, pk.CurieWeiss(strength))
        rho = np.exp(-beta * (well(grid.centres) + strength * x**2 / 2)) * (1 + 1e-4 * x)
        rho /= grid.integrate(rho)
        fields = pk.solve(equation, grid, rho, [4.0, 6.0], pk.schemes.MeanField(1e-8)).fields
        mean = grid.integrate(x * fields)
        return float(np.log(mean[1] / mean[0])) / 2

    return float(brentq(growth, 0.95 * near, 1.05 * near, xtol=1e-6))


def _printed(well: Any, strength: float) -> float:
    """Root of beta λ Var = 1 under exp(-beta V) / Z, without the confinement (erratum 15)."""
    x = np.linspace(-6, 6, 4001)
    values = well(x[:, None])

    def excess(beta: float) -> float:
        w = np.exp(-beta * values)
        return beta * strength * float((w * x**2).sum() / w.sum()) - 1

    return float(brentq(excess, 0.05, 10))


def _tilted(h: float, beta: float) -> pk.McKeanVlasov:
    return pk.McKeanVlasov(WELL + pk.potentials.Linear(h), beta, pk.CurieWeiss(1.0))


def _sweeps(beta: float, grid: pk.Grid, count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means along a tilt swept down and up, staying for a time of 60 at every value."""
    tilts = np.linspace(-0.2, 0.2, count)
    found = {}
    for name, path, mean in (("up", tilts, 1.0), ("down", tilts[::-1], -1.0)):
        rho, means = pk.Gaussian(mean, 0.3), []
        for h in path:
            rho = pk.solve(_tilted(float(h), beta), grid, rho, 60.0).fields[-1]
            means.append(float(grid.integrate(grid.axes[0] * rho)))
        found[name] = (path, np.array(means))
    return found


def _homogenised(gamma: float, grid: pk.Grid) -> dict[str, list[float]]:
    """Critical points, and means at beta = 2.5, of the rippled well and of its local entropy.

    The local entropy depends on beta itself, so its critical point is sought along with it.
    """
    pull, rippled = pk.CurieWeiss(1.0), RIPPLED

    def excess(beta: float) -> float:
        smooth = pk.local_entropy(rippled, gamma, beta, grid)
        x, values = grid.axes[0], smooth(grid.centres)
        w = np.exp(-beta * (values - values.min() + pull.strength * x**2 / 2))
        return beta * pull.strength * float((w * x**2).sum() / w.sum()) - 1

    plain = pk.critical_beta(rippled, pull)
    smoothed = float(brentq(excess, 1.0, 6.0, xtol=1e-9))
    beta = 2.5
    means = [
        max(s.mean for s in pk.self_consistent_states(pk.McKeanVlasov(V, beta, pull), grid))
        for V in (rippled, pk.local_entropy(rippled, gamma, beta, grid))
    ]
    return {"critical": [plain, smoothed], "mean": means}


def _numbers(results: Results, gamma: float) -> dict[str, Any]:
    loop = results.loop
    return {
        "critical_beta": {str(k): v for k, v in results.critical.items()},
        "critical_beta_from_the_equation": {str(k): v for k, v in results.measured.items()},
        "printed_condition": {str(k): v for k, v in results.printed.items()},
        "beta_times_strength": [float(results.curve[0][k] * results.curve[1][k]) for k in (0, -1)],
        "hysteresis": {"beta": results.loop_beta, "folds": loop.folds.tolist()},
        "jumps": {name: _jump(*sweep) for name, sweep in results.sweeps.items()},
        "gamma": gamma,
        "homogenised": results.homogenised,
    }


def _jump(tilts: np.ndarray, means: np.ndarray) -> list[float]:
    """The two tilts between which the mean changes most."""
    k = int(np.abs(np.diff(means)).argmax())
    return [float(tilts[k]), float(tilts[k + 1])]


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = []
    for s in STRENGTHS:
        gap = abs(results.measured[s] - results.critical[s])
        made.append(at_most(f"λ = {s:g}: critical beta, equation against quadrature", gap, 1e-4))
        apart = abs(results.printed[s] - results.critical[s])
        made.append(at_least(f"λ = {s:g}: the printed condition is off by", apart, 0.1))
    product = results.curve[0] * results.curve[1]
    made += [
        at_most("beta λ alone does not decide: at weak coupling beta_c λ is", product[0], 1.15),
        at_least("and at strong coupling", product[-1], 2.9),
        at_most("between the printed and the true point (λ = 1): states",
                len(results.between), 1),
        at_most("a magnetised density there forgets: mean at t = 60",
                abs(_mean(results.relaxation)), 1e-3),
        at_least("above the true point it does not: mean at t = 60",
                 abs(_mean(results.ordering)), 0.5),
    ]  # fmt: skip
    data = results.diagram.data
    for s in STRENGTHS:
        ordered = data.beta.values > results.critical[s]
        wrong = data.states.sel(strength=s).values != np.where(ordered, 3, 1)
        made.append(
            at_most(f"λ = {s:g}: temperatures with other than 1 or 3 states", wrong.sum(), 0)
        )
    return made + _of_the_loop(results) + _of_the_runs(results)


def _of_the_loop(results: Results) -> list[Claim]:
    folds = np.sort(results.loop.folds)
    low, high = (sorted(_jump(*results.sweeps[name])) for name in ("down", "up"))
    step = float(np.ptp(results.sweeps["up"][0])) / (len(results.sweeps["up"][0]) - 1)
    return [
        at_most("the branch over the tilt has folds, two: |count - 2|", abs(folds.size - 2), 0),
        at_most("opposite ones, the well being even: |sum|", abs(folds.sum()), 1e-8),
        at_most("swept up, the density jumps past the upper fold within tilt steps",
                abs(np.mean(high) - folds[-1]) / step, 1.5),
        at_most("swept down, past the lower one within tilt steps",
                abs(np.mean(low) - folds[0]) / step, 1.5),
        at_least("local entropy in place of a rippled well (ε -> 0) moves beta_c by",
                 abs(np.diff(results.homogenised["critical"])[0]), 0.01),
    ]  # fmt: skip


def _of_the_runs(results: Results) -> list[Claim]:
    runs = (results.relaxation, results.ordering)
    return [
        at_most("largest rise of the free energy over any step",
                max(r.stats["largest_energy_step"] for r in runs), 1e-13),
        at_most("largest drift of mass", max(r.stats["mass_drift"] for r in runs), 1e-12),
        at_most("largest error estimate in time", max(r.stats["error_estimate"] for r in runs),
                1e-5),
    ]  # fmt: skip


def _mean(solution: pk.Solution) -> float:
    return float(solution.grid.integrate(solution.grid.axes[0] * solution.fields[-1]))


def plot(results: Results) -> Figure:
    """Critical curve, bifurcation diagram, hysteresis, and the densities of the states."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    (curve, diagram), (loop, runs) = figure.subplots(2, 2)
    _critical_panel(curve, results)
    _bifurcation_panel(diagram, results)
    _loop_panel(loop, results)
    _relaxation_panel(runs, results)
    return figure


def _critical_panel(ax: Any, results: Results) -> None:
    strengths, betas = results.curve
    ax.loglog(strengths, betas * strengths, color="tab:blue", label="confined state: right")
    x, y = np.array([(s, results.printed[s] * s) for s in STRENGTHS]).T
    ax.loglog(x, y, "x", color="tab:red", label="printed condition: wrong")
    x, y = np.array([(s, results.measured[s] * s) for s in STRENGTHS]).T
    ax.loglog(x, y, "o", mfc="none", color="black", label="from the equation alone")
    ax.set(xlabel="λ", ylabel="β λ at the transition", title="critical curve")
    ax.set_yticks([0.5, 1, 2, 3], ["0.5", "1", "2", "3"])
    ax.minorticks_off()
    ax.text(0.08, 2.2, "one well chosen", fontsize=9, color="0.4")
    ax.text(3.0, 1.1, "symmetric", fontsize=9, color="0.4")
    ax.legend(fontsize=8, frameon=False, loc="lower right")


def _bifurcation_panel(ax: Any, results: Results) -> None:
    for colour, s in zip(("tab:green", "tab:blue", "tab:purple"), STRENGTHS, strict=True):
        for branch in results.diagram.branches[s]:
            for stable, style in ((True, "-"), (False, ":")):
                mean = np.where(branch.stable == stable, branch.mean, np.nan)
                ax.plot(branch.parameter, mean, style, color=colour, lw=1.4)
        ax.plot([results.critical[s]], [0], "o", color=colour, ms=5, label=f"λ = {s:g}")
    ax.axvline(results.printed[1.0], color="tab:red", lw=0.8, ls="--")
    ax.text(results.printed[1.0] + 0.05, -0.9, "printed, λ = 1", color="tab:red", fontsize=8)
    ax.set(xlabel="β", ylabel="mean", title="self-consistent means (dotted: unstable)")
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _loop_panel(ax: Any, results: Results) -> None:
    branch = results.loop
    for stable, style in ((True, "-"), (False, ":")):
        mean = np.where(branch.stable == stable, branch.mean, np.nan)
        ax.plot(branch.parameter, mean, style, color="0.3", lw=1.4)
    ax.plot(branch.folds, branch.fold_means, "s", color="0.3", ms=5, label="folds")
    for name, marker, colour in (("up", ">", "tab:red"), ("down", "<", "tab:blue")):
        tilts, means = results.sweeps[name]
        ax.plot(tilts, means, marker, color=colour, ms=4, label=f"tilt swept {name}")
    ax.set(xlabel="tilt h", ylabel="mean", title=f"hysteresis at β = {results.loop_beta:g}, λ = 1")
    ax.legend(fontsize=8, frameon=False)


def _relaxation_panel(ax: Any, results: Results) -> None:
    for solution, colour in ((results.relaxation, "tab:red"), (results.ordering, "tab:blue")):
        mean = solution.grid.integrate(solution.grid.axes[0] * solution.fields)
        beta = solution.equation.beta
        ax.semilogy(solution.times, mean, color=colour, label=f"mean, β = {beta:.3f}")
        energy = np.array(solution.stats["energies"])[1:]
        excess = np.maximum(energy - energy[-1], 1e-16)
        ax.semilogy(solution.times[:-1], excess[:-1], ls="--", color=colour, lw=1,
                    label="free energy above its last")  # fmt: skip
    ax.set(xlabel="t", title="λ = 1 below and above the true point", ylim=(1e-13, 3))
    ax.legend(fontsize=8, frameon=False)
