"""When everybody optimises in everybody's way: congestion games, planners, and how to close them.

A crowd starts left of the origin and wants to its right within time 1; where it is dense it is dear
to be. Three answers: everybody alone (the crowd ignored), the equilibrium of the game, and the plan
that is cheapest for all together. The game is closed by Newton's method; the plain damped fixed
point, which packages stop at, circles at strong coupling for ever. The linear-quadratic game has a
closed form and measures the error. Equations: mathematics 1.7; thesis, remark 4.10.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit import plotting
from pdekit.claims import Claim, at_least, at_most
from pdekit.pde.bellman.steps import DoobSteps
from pdekit.pde.control.games import Game
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.exact import solutions

BETA = 4.0
START = pk.Gaussian(-0.7, 0.2)
CROWD = pk.Congestion(10.0, 2.0)
ROUNDS = 200  # of the fixed point and of fictitious play
LQ = solutions.LQGame(0.5, 1.0, 1.0, 0.8, 0.5, 2.0, 1.0, 1.0, 0.3**0.5)
ALONE, GAME, PLAN = "alone in the crowd", "equilibrium of the game", "plan for all"
COLOURS = {ALONE: "tab:blue", GAME: "tab:purple", PLAN: "tab:green"}


def target(x: Any) -> Any:
    """12 (sqrt(1 + (x - 0.7)^2) - 1): where everybody wants to be at time 1."""
    return 12 * ((1 + (x[..., 0] - 0.7) ** 2) ** 0.5 - 1)


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    found: dict[str, pk.Control]
    social: dict[str, float]  # what each costs per head in the true crowd
    distances: dict[str, list[float]]  # solver -> distance of belief and response, by round
    gaps: dict[str, float]  # solver -> exploitability at its end
    lq: tuple[float, float, float]  # errors of u, mean, variance
    p_value: float  # of particles under the control of the game
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells, times, particles.")] = False,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells of the congestion game.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Its time steps.")] = None,
    particles: Annotated[
        int | None, typer.Option(min=1, help="Particles under its control.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Play, plan, compare the ways to close the game, and measure against the closed form."""
    cells, steps = cells or (120 if quick else 300), steps or (60 if quick else 150)
    n = particles or (5_000 if quick else 50_000)
    grid, times = pk.Grid(-3.5, 3.5, cells), np.linspace(0, 1, steps + 1)
    with tqdm(total=5, desc="mean_field_game", unit="stage") as bar:
        common = (None, BETA, grid, START, target, times)
        found = {ALONE: pk.control(*common, coupling=pk.Congestion(0.0))}
        for name, coupling in ((GAME, CROWD), (PLAN, CROWD.cooperative())):
            found[name] = pk.control(*common, coupling=coupling)
        social = {name: fb.cost_under(CROWD) for name, fb in found.items()}
        bar.update()
        distances, gaps = _closings(grid, times)
        bar.update()
        lq, milliseconds = _linear_quadratic()
        bar.update()
        motion = pk.ControlledLangevin(
            pk.potentials.Quadratic(0.0), BETA, found[GAME].value.potential(), box=grid
        )
        ensemble = pk.simulate(motion, START, n, 1.0, 2.5e-3, seed=seed)
        bar.update()
        p_value = pk.compare(found[GAME].density, ensemble).p_value
        bar.update()
    numbers = {
        "cells": cells,
        "steps": steps,
        "particles": n,
        "social_cost": social,
        "price_of_anarchy": social[GAME] / social[PLAN],
        "residuals": {name: dict(fb.residuals) for name, fb in found.items()},
        "distance_at_the_end": {name: d[-1] for name, d in distances.items()},
        "rounds": {name: len(d) for name, d in distances.items()},
        "exploitability_at_the_end": gaps,
        "linear_quadratic_errors": dict(zip(("u", "mean", "variance"), lq, strict=True)),
        "linear_quadratic_milliseconds_of_cpu": milliseconds,
        "p_value_of_particles": p_value,
    }
    return Results(found, social, distances, gaps, lq, p_value, numbers)


def _closings(grid: pk.Grid, times: Any) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The distance round by round of four solvers, and the exploitability where they stopped."""
    generator = scharfetter_gummel(np.zeros(grid.shape), BETA, grid)
    rho = START.density(grid)
    game = Game(
        grid, times, DoobSteps(generator, BETA), rho / grid.integrate(rho), 0.0,
        target(grid.centres), CROWD,
    )  # fmt: skip
    solvers = {
        "fixed point, undamped": pk.FixedPoint(1.0, ROUNDS),
        "fixed point, damping ½": pk.FixedPoint(0.5, ROUNDS),
        "fictitious play": pk.FictitiousPlay(ROUNDS, 1e-6),
        "Newton": pk.Newton(1e-9),
    }
    distances, gaps = {}, {}
    for name, solver in solvers.items():
        counts: dict[str, Any] = {}
        try:
            end = solver.close(game, counts)
        except pk.ConvergenceError as error:
            told = str(error).partition("exploitability ")[2].partition(";")[0]
            gaps[name] = float(told or "nan")
        else:
            gaps[name] = end.gap()
        distances[name] = counts["distances"]
    return distances, gaps


def _linear_quadratic() -> tuple[tuple[float, float, float], float]:
    """400 cells, 200 steps: largest errors at six times of u (|x| < 2), mean and variance; time."""
    grid, times = pk.Grid(-5, 5, 400), np.linspace(0, 1, 201)

    def solved() -> pk.Control:
        return pk.control(
            pk.potentials.Quadratic(LQ.a), LQ.beta, grid, pk.Gaussian(1.0, LQ.initial_std),
            lambda x: 0 * x[..., 0], times, coupling=pk.MeanTracking(LQ.q, LQ.kappa),
            terminal_coupling=pk.MeanTracking(LQ.g, LQ.kappa_T),
        )  # fmt: skip

    taken = []
    for _ in range(4):  # the first one compiles
        begun = time.process_time()
        fb = solved()
        taken.append(time.process_time() - begun)
    x, errors = grid.axes[0], []
    near = np.abs(x) < 2
    for k in range(0, 201, 40):
        rho, s = fb.density.fields[k], float(times[k])
        mean = grid.integrate(rho * x)
        spread = grid.integrate(rho * (x - mean) ** 2)
        du = np.abs(fb.value.fields[k] - LQ.value(s, x[:, None]))[near].max()
        errors.append((du, abs(mean - LQ.mean(s)), abs(spread - LQ.variance(s))))
    u, mean, spread = np.max(errors, 0)
    return (float(u), float(mean), float(spread)), 1e3 * min(taken[1:])


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    s, r = results.social, results.found[GAME].residuals
    end = {name: d[-1] for name, d in results.distances.items()}
    return [
        at_most("the game is closed: distance of belief and response", r["fixed_point"], 1e-6),
        at_most("and nobody gains by another reply: exploitability", abs(r["gap"]), 1e-8),
        at_most("mass of the crowd: largest drift", r["mass"], 1e-12),
        at_least("who ignores the crowd pays more than the game, by", s[ALONE] - s[GAME], 0),
        at_least("the game pays more than the plan, by", s[GAME] - s[PLAN], 0),
        at_least(f"damping ½, {ROUNDS} rounds: still apart by", end["fixed point, damping ½"], 0.5),
        at_least("and exploitable by", results.gaps["fixed point, damping ½"], 1),
        at_most("Newton's method is apart by", end["Newton"], 1e-9),
        at_most(f"fictitious play is slow, but gets there: apart after {ROUNDS} rounds by",
                end["fictitious play"], 0.01),
        at_most("linear-quadratic game, 400 x 200: largest error of u", results.lq[0], 1e-3),
        at_most("of the mean", results.lq[1], 5e-4),
        at_most("of the variance", results.lq[2], 5e-4),
        at_least("particles under the game's control follow its density: p-value",
                 results.p_value, 0.01),
    ]  # fmt: skip


def plot(results: Results) -> Figure:
    """The three crowds over time and in the middle of the way; the solvers round by round."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    above, below = figure.subfigures(2, 1)
    panels = above.subplots(1, 3, sharey=True)
    top = float(results.found[ALONE].density.u.max())
    for ax, (name, fb) in zip(panels, results.found.items(), strict=True):
        mesh = ax.pcolormesh(
            fb.density.times, fb.density.grid.axes[0], fb.density.fields.T, vmin=0, vmax=top,
            cmap="magma", shading="nearest", rasterized=True,
        )  # fmt: skip
        ax.set(title=f"{name}\ncost per head {results.social[name]:.2f}", xlabel="time",
               ylim=(-1.8, 1.8))  # fmt: skip
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.title.set_fontsize(10)
    panels[0].set_ylabel("x")
    above.colorbar(mesh, ax=panels, label="density")
    middle, rounds = below.subplots(1, 2)
    for name, fb in results.found.items():
        half = fb.density.u.sel(time=0.5, method="nearest")
        plotting.line(middle, half, color=COLOURS[name], label=name)
    middle.set(xlim=(-2, 2), xlabel="x", ylabel="density at half time", ylim=(0, None))
    middle.legend(frameon=False, fontsize=8)
    styles = zip(results.distances.items(), ("tab:orange", "tab:red", "tab:olive", "black"),
                 strict=True)  # fmt: skip
    for (name, distance), colour in styles:
        marker = "o-" if name == "Newton" else "-"
        rounds.semilogy(np.arange(1, len(distance) + 1), distance, marker, color=colour, ms=3,
                        label=name)  # fmt: skip
    rounds.set(xscale="log", xlabel="responses computed", ylabel="distance of belief and response")
    rounds.legend(frameon=False, fontsize=8)
    return figure
