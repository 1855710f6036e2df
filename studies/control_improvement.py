"""How much better than plain SGD is optimally controlled SGD, and does the theorem say how much?

Theorem 4.11 of Chaudhari's thesis: E V_T(plain) >= E V_T(controlled) + E ∫|α|²/2 for the optimal
control α = ∇u. Mathematics 1.7 gives the gap its exact value, E_plain ∫|∇u|²/2. Here both sides are
computed for a double well over a range of temperatures, by PDE and by particles, and against closed
forms: the linear-quadratic problem, and the inf-convolution that is left as the noise dies out.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit import plotting
from pdekit.claims import Claim, at_least, at_most
from pdekit.pde.exact import solutions

WELL = pk.potentials.DoubleWell()
START = pk.Gaussian(-1.0, 0.3)
BETAS = (1.0, 2.0, 4.0, 8.0)
SHOWN = 4.0  # the inverse temperature of the densities in the figure
LIMIT = (2.5, 5.0, 10.0, 20.0, 40.0)  # towards no noise
LEVEL = 1 - 0.01 / len(BETAS)  # of the particles' intervals: one false alarm in a hundred runs


def target(x: Any) -> Any:
    """V_T = (x - 1)^2 / 2: to the other well, within the horizon."""
    return (x[..., 0] - 1) ** 2 / 2


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    controls: dict[float, pk.Control]
    plain: pk.Solution  # density of plain SGD at ``SHOWN``
    sampled: dict[float, Any]  # the theorem on particles
    routes: tuple[float, float]  # value and density, transform against policy iteration
    lq: tuple[float, float]  # errors of value and of the gap in the linear-quadratic problem
    limit: dict[float, float]  # beta -> largest |u - Hopf-Lax|, V = 0
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer particles and cells.")] = False,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells of the grid.")] = None,
    particles: Annotated[int | None, typer.Option(min=1, help="Particles per motion.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Control, certify, sample, and compare with closed forms."""
    cells, n = cells or (400 if quick else 1000), particles or (5_000 if quick else 40_000)
    times = np.linspace(0, 1, 51 if quick else 101)
    with tqdm(total=len(BETAS) + 3, desc="control_improvement", unit="stage") as bar:
        controls, sampled = {}, {}
        for beta in BETAS:
            grid = _grid(beta, cells)
            controls[beta] = pk.control(WELL, beta, grid, START, target, times)
            sampled[beta] = pk.improvement(
                controls[beta], START, n, 0.02 if quick else 0.005, seed, LEVEL
            )
            bar.update()
        routes = _routes(controls[SHOWN], quick)
        bar.update()
        lq = _linear_quadratic(cells)
        bar.update()
        limit = _limit(cells)
        bar.update()
    plain = pk.solve(pk.FokkerPlanck(WELL, SHOWN), _grid(SHOWN, cells), START, 1.0)
    numbers = {
        "cells": cells,
        "particles": n,
        "theorem": {str(beta): _row(c, sampled[beta]) for beta, c in controls.items()},
        "transform_against_policy_iteration": dict(zip(("value", "density"), routes, strict=True)),
        "linear_quadratic_errors": dict(zip(("value", "gap"), lq, strict=True)),
        "distance_to_hopf_lax": {str(beta): d for beta, d in limit.items()},
    }
    return Results(controls, plain, sampled, routes, lq, limit, numbers)


def _grid(beta: float, cells: int) -> pk.Grid:
    return pk.Grid(-4, 4, cells) if beta < 2 else pk.Grid(-3.5, 3.5, cells)


def _row(control: pk.Control, sampled: Any) -> dict[str, float]:
    c = control.improvement
    return {"plain": c.plain, "controlled": c.controlled, "effort": c.effort, "gap": c.gap,
            "half_gradient_square_along_plain": c.exact, "gap_of_particles": sampled.gap.value,
            "gap_low": sampled.gap.lower, "gap_high": sampled.gap.upper}  # fmt: skip


def _routes(control: pk.Control, quick: bool) -> tuple[float, float]:
    """Largest difference of value (over its range) and L1 of density by policy iteration."""
    grid = control.value.grid
    scheme = pk.schemes.PolicyIteration(0.02 if quick else 0.005)
    other = pk.control(WELL, SHOWN, grid, START, target, control.value.times, scheme=scheme)
    near = np.abs(grid.axes[0]) < 2
    u, v = control.value.fields[0][near], other.value.fields[0][near]
    rho = grid.integrate(np.abs(control.density.fields[-1] - other.density.fields[-1]))
    return float(np.abs(u - v).max() / np.ptp(u)), float(rho)


def _linear_quadratic(cells: int) -> tuple[float, float]:
    """V = x²/2, V_T = x², beta = 4: largest error of u on |x| < 2, and of the gap."""
    grid, lq = pk.Grid(-5, 5, cells), solutions.LQControl(1.0, 2.0, 4.0, 1.0, -1.0, 0.5)
    V, cost = pk.potentials.Quadratic(1.0), pk.potentials.Quadratic(2.0)
    fb = pk.control(V, 4.0, grid, pk.Gaussian(-1.0, 0.5), cost, 1.0)
    x = grid.centres[np.abs(grid.axes[0]) < 2]
    found = fb.value.fields[0][np.abs(grid.axes[0]) < 2]
    # E V_T(plain) of the Ornstein-Uhlenbeck process, E u by the closed form
    mean, cov = solutions.ornstein_uhlenbeck(1.0, 4.0, [-1.0], [[0.25]], 1.0)
    plain = float(mean[0] ** 2 + cov[0, 0])
    least = lq.P(0) * (1 + 0.25) / 2 + lq.R(0)
    error = np.abs(found - lq.value(0.0, x)).max()
    return float(error), abs(fb.improvement.gap - (plain - least))


def _limit(cells: int) -> dict[float, float]:
    """V = 0 and a smooth convex terminal cost: the distance to Hopf-Lax falls like 1/beta."""
    grid = pk.Grid(-3, 3, 2 * cells)  # the transform errs by (beta h u')^2 relative to |u'|^2
    cost = pk.potentials.Custom(lambda x: (x[..., 0] ** 2 + 1) ** 0.5)
    near = np.abs(grid.axes[0]) < 1.5
    limit = pk.solve(pk.HamiltonJacobi(), grid, cost, 1.0).fields[0][near]
    values = {beta: pk.solve(pk.HamiltonJacobiBellman(pk.potentials.Quadratic(0.0), beta), grid,
                             cost, 1.0).fields[0][near] for beta in LIMIT}  # fmt: skip
    return {beta: float(np.abs(u - limit).max()) for beta, u in values.items()}


def claims(results: Results) -> list[Claim]:
    """The theorem, its identity, and the closed forms."""
    made = []
    for beta, control in results.controls.items():
        c, s = control.improvement, results.sampled[beta]
        share = c.gap / (c.plain - c.controlled)
        made += [
            at_least(f"beta = {beta:g}: the theorem's gap, as a share of what is saved", share, 0),
            at_most(f"beta = {beta:g}: the gap is E_plain ∫|u'|²/2, relative difference",
                    c.defect / c.exact, 0.005),
            at_most(f"beta = {beta:g}: the particles' gap, distance of the PDE's from the interval",
                    _outside(s.gap, c.gap), 0),
            at_most(f"beta = {beta:g}: the identity on particles, distance of 0 from its interval",
                    _outside(s.difference, 0.0), 0.002 * c.gap),
            at_most(f"beta = {beta:g}: drift of the controlled density's mass",
                    control.residuals["mass"], 1e-12),
        ]  # fmt: skip
    made += [
        at_most("transform and policy iteration: value, over its range", results.routes[0], 1e-3),
        at_most("transform and policy iteration: density, L1", results.routes[1], 5e-3),
        at_most("linear-quadratic: largest error of u", results.lq[0], 1e-4 * _coarser(results)),
        at_most("linear-quadratic: error of the gap", results.lq[1], 1e-4 * _coarser(results)),
    ]
    distances = list(results.limit.values())
    rate = np.log2(distances[-2] / distances[-1])
    made.append(at_most("no noise: |observed order in 1/beta - 1|", abs(rate - 1), 0.1))
    return made


def _coarser(results: Results) -> float:
    """Tolerances are those of 1,000 cells; the schemes are of second order."""
    return max(1.0, (1000 / results.numbers["cells"]) ** 2)


def _outside(estimate: Any, value: float) -> float:
    return float(max(estimate.lower - value, value - estimate.upper, 0.0))


def plot(results: Results) -> Figure:
    """The two sides of the theorem; the densities that it compares; the limit without noise."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    (sides, densities), (values, limit) = figure.subplots(2, 2)
    _sides(sides, results)
    shown = results.controls[SHOWN]
    first = shown.density.u.isel(time=0)
    plotting.density(densities, first, color="0.8", lw=0.8)
    plotting.density(densities, results.plain.final, color="0.35", lw=1.2)
    plotting.density(densities, shown.density.final, color="tab:purple", lw=1.2)
    top = float(shown.density.final.max())
    for x, y, text, colour in ((-1.6, 0.85, "start", "0.6"), (-1.9, 0.35, "plain SGD", "0.35"),
                               (1.5, 0.85, "controlled", "tab:purple")):  # fmt: skip
        densities.text(x, y * top, text, color=colour, ha="center", fontsize=9)
    densities.set(xlim=(-2.6, 2.6), xlabel="x", ylabel="density at T",
                  title=f"β = {SHOWN:g}, T = 1")  # fmt: skip
    for t, colour in ((0.0, "tab:purple"), (0.5, "tab:blue"), (1.0, "black")):
        u = shown.value.u.sel(time=t, method="nearest")
        plotting.line(values, u, color=colour, label=f"u(., {t:g})")
    values.set(xlim=(-2.6, 2.6), ylim=(-0.1, 5), xlabel="x", ylabel="value function")
    values.legend(frameon=False, fontsize=8)
    limit.loglog(list(results.limit), list(results.limit.values()), "o-", color="tab:green")
    b = np.array(LIMIT)
    limit.loglog(b, results.limit[LIMIT[-1]] * LIMIT[-1] / b, ":", color="0.5", label="1/β")
    limit.set(xlabel="β", ylabel="largest |u - Hopf-Lax|", title="V = 0: towards no noise")
    limit.set_xticks(b, [f"{beta:g}" for beta in LIMIT])
    limit.minorticks_off()
    limit.set_yticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    limit.legend(frameon=False, fontsize=8)
    return figure


def _sides(ax: Any, results: Results) -> None:
    betas = np.array(BETAS)
    found = [results.controls[b].improvement for b in BETAS]
    ax.plot(betas, [c.plain - c.controlled for c in found], "s--", color="0.5",
            label="E V_T(plain) - E V_T(controlled)")  # fmt: skip
    ax.plot(betas, [c.effort for c in found], "^--", color="tab:orange", label="effort E ∫|α|²/2")
    ax.plot(betas, [c.gap for c in found], "-", color="tab:purple", label="their gap, by PDE")
    ax.plot(betas, [c.exact for c in found], "x", color="black", label="E_plain ∫|u'|²/2, by PDE")
    gaps = [results.sampled[b].gap for b in BETAS]
    centre = np.array([g.value for g in gaps])
    reach = [centre - [g.lower for g in gaps], np.array([g.upper for g in gaps]) - centre]
    ax.errorbar(
        betas, centre, reach, fmt="none", color="tab:red", capsize=4, label="gap, particles"
    )
    top = max(c.plain - c.controlled for c in found)
    ax.set(xscale="log", xticks=betas, xlabel="β", ylabel="cost", ylim=(0, 1.7 * top))
    ax.set_xticklabels([f"{b:g}" for b in BETAS])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.set_title("the improvement theorem")
