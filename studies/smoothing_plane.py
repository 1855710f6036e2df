"""What is left in the plane of what smoothing does on a line, when the ripples cross?

The loss f = xᵀAx/2 - 0.3 (cos 6x₁ + cos 6x₂), A = [[1, 0.3], [0.3, 1]], has one valley across whose
axes its ripples lie askew: no sum of losses on lines. The smoothings and the four motions of the
study `smoothing`, in the plane. All that is claimed on the line holds here too, and what only the
plane can show: the viscous smoothing's curvatures are bounded in every direction, not only along
the axes, and the gap of the improvement theorem is E∫|∇u|²/2 with both components of the gradient.

Nine wells in the middle of the plane become one under each of the three, and the viscous smoothing
is convex there. From a corner well all three other motions end lower than plain SGD does; at this
temperature controlled SGD ends lowest, on the line both descents do: the theorem compares the
control with plain SGD and nothing else. Mathematics 1.1 to 1.3, 1.7, 1.8.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit import plotting
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

import smoothing as line

A = np.array([[1.0, 0.3], [0.3, 1.0]])
RUGGED = pk.potentials.Quadratic(A) - 0.3 * pk.potentials.Cosine(6.0, 2)
WINDOW = ((-1.7, -1.7), (1.7, 1.7))  # where walls do not reach in the time of the study
FLOWS = ("viscous", "non-viscous", "heat")
POINTS = np.array([[0.0, 0.0], [-1.0, 1.0], [0.7, 0.4], [1.5, -1.2]])


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    setting: line.Setting
    particles: int
    smoothed: dict[str, pk.Solution]  # times 0..T
    control: Any
    densities: dict[str, pk.Solution]
    ensembles: dict[str, pk.Ensemble]
    comparisons: dict[str, pk.Comparison]
    exact: np.ndarray  # the viscous smoothing at POINTS, by quadrature
    density_gap: float  # L1 between the controlled density and the FP equation of f + u
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer particles and cells.")] = False,
    beta: Annotated[float, typer.Option(help="Inverse temperature.")] = 6.0,
    horizon: Annotated[float, typer.Option(help="Time T of smoothing and motion.")] = 2.0,
    particles: Annotated[int | None, typer.Option(min=1, help="Particles per motion.")] = None,
    cells: Annotated[int | None, typer.Option(min=16, help="Cells an axis.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Smooth the loss, move the density, check it with particles, draw the figure."""
    cells = cells or (128 if quick else 224)
    n = particles or (10_000 if quick else 50_000)
    grid = pk.Grid((-2.6, -2.6), (2.6, 2.6), (cells, cells))
    initial = pk.Gaussian((-1.0, 1.0), 0.15)
    setting = line.Setting(RUGGED, grid, beta, horizon, initial, convex=True, walls=False)
    # closer together at the ends: the density changes fast at 0, the value function at T
    times = horizon * (1 - np.cos(np.linspace(0, np.pi, 41))) / 2
    with tqdm(total=12, desc="smoothing_plane", unit="stage") as bar:
        smoothed = _smoothed(setting, times, bar)
        control = pk.control(RUGGED, beta, grid, initial, RUGGED, times)
        bar.update()
        motions = line.motions_of(setting, smoothed, control)
        densities = {}
        for name, motion in motions.items():
            stored = times[1:] if name == line.SGD else horizon
            scheme = pk.schemes.Split(tolerance=1e-3 if quick else 3e-4)
            densities[name] = pk.solve(motion.law(), grid, initial, stored, scheme)
            bar.update()
        fields = densities[line.CONTROLLED].fields[-1], control.density.fields[-1]
        densities[line.CONTROLLED] = control.density
        ensembles = {}
        for name, motion in motions.items():
            ensembles[name] = pk.simulate(motion, initial, n, horizon, horizon / 400, seed=seed)
            bar.update()
    comparisons = {name: pk.compare(densities[name], ensembles[name]) for name in motions}
    exact = np.array([_by_quadrature(point, beta, horizon) for point in POINTS])
    gap = float(grid.integrate(np.abs(fields[0] - fields[1])))
    results = Results(
        setting, n, smoothed, control, densities, ensembles, comparisons, exact, gap, {}
    )
    results.numbers.update(_numbers(results))
    return results


def _smoothed(setting: line.Setting, times: np.ndarray, bar: tqdm) -> dict[str, pk.Solution]:
    viscous = pk.schemes.ColeHopf(extend=True)
    equations = (pk.ViscousHJ(setting.beta), pk.HamiltonJacobi(), pk.Heat(setting.beta))
    solutions = {}
    for name, equation, scheme in zip(FLOWS, equations, (viscous, None, None), strict=True):
        solutions[name] = pk.solve(equation, setting.grid, setting.loss, times, scheme)
        bar.update()
    return solutions


def _by_quadrature(point: np.ndarray, beta: float, t: float) -> float:
    """-β⁻¹ log ∫ G_{t/β}(x - y) e^{-βf(y)} dy by the trapezium rule, mathematics 1.2."""
    side = np.linspace(-7, 7, 701)
    y = np.stack(np.meshgrid(side, side, indexing="ij"), -1)
    energy = beta * (RUGGED(y) + ((point - y) ** 2).sum(-1) / (2 * t))
    least = energy.min()
    total = np.exp(least - energy).sum() * (side[1] - side[0]) ** 2 * beta / (2 * np.pi * t)
    return float((least - np.log(total)) / beta)


# ---- what is claimed -----------------------------------------------------------------------------


def wells(field: np.ndarray, grid: pk.Grid) -> int:
    """Local minima in the window."""
    return int((np.abs(pk.Basins.of(field, grid).minima) < WINDOW[1]).all(axis=-1).sum())


def least_curvature(field: np.ndarray, grid: pk.Grid) -> float:
    """The least eigenvalue of second differences in the window."""
    h = grid.spacing
    along = [np.gradient(np.gradient(field, h[k], axis=k), h[k], axis=k) for k in (0, 1)]
    across = np.gradient(np.gradient(field, h[0], axis=0), h[1], axis=1)
    least = (along[0] + along[1]) / 2 - np.hypot((along[0] - along[1]) / 2, across)
    return float(least[(np.abs(grid.centres) < WINDOW[1]).all(axis=-1)].min())


def _numbers(results: Results) -> dict[str, Any]:
    s, f = results.setting, results.control.terminal_cost
    final = {name: u.fields[-1] for name, u in results.smoothed.items()}
    return {
        "cells": s.grid.cells[0],
        "particles": results.particles,
        "wells": {"loss": wells(f, s.grid)} | {k: wells(u, s.grid) for k, u in final.items()},
        "least_curvature": {"loss": least_curvature(f, s.grid)}
        | {k: least_curvature(u, s.grid) for k, u in final.items()},
        "expected_loss": {name: line.expected(results, name) for name in results.densities},
        "control_effort": results.control.running,
        "p_value": {name: float(c.p_value) for name, c in results.comparisons.items()},
    }


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    numbers, u, grid = results.numbers, results.smoothed, results.setting.grid
    curvature, f = numbers["least_curvature"], results.control.terminal_cost
    by_grid = u["viscous"].at(POINTS, results.setting.horizon)
    made = [
        at_least("wells of the loss in the window", numbers["wells"]["loss"], 9),
        *(at_most(f"wells of its {name} smoothing", numbers["wells"][name], 1) for name in FLOWS),
        at_least("viscous u(., T) is convex: least curvature", curvature["viscous"], 0),
        at_most("non-viscous u(., T) is not: least curvature", curvature["non-viscous"], -1),
        at_most("viscous u(., T) against quadrature at four points",
                np.abs(by_grid - results.exact).max(), 1e-4),
    ]  # fmt: skip
    for name, step in (("viscous", 1), ("non-viscous", grid.cells[0] // 25)):
        found = pk.semiconcavity(u[name], step=step, window=WINDOW)
        # across the kinks of the second the allowance of a turned direction would say nothing
        directions = ("xx", "yy", "any")[: 3 if name == "viscous" else 2]
        made += [line.semiconcave(name, found, along) for along in directions]
    seen = float(max(np.abs(np.diff(f, 2, axis=k)).max() for k in (0, 1))) / 4
    last = u["non-viscous"].fields[-1]
    made += [
        at_most("non-viscous: |inf u(., T) - inf f|", abs(last.min() - f.min()), seen),
        at_most("non-viscous: largest u(., T) - f", (last - f).max(), 1e-12),
        at_least("viscous: inf u(., T) above inf f by", u["viscous"].fields[-1].min() - f.min(), 0),
        *line.theorem(results),
        at_most("controlled density, h-transform against its Fokker-Planck equation: L1",
                results.density_gap, 0.01),
    ]  # fmt: skip
    for name, p_value in numbers["p_value"].items():
        text = f"{results.particles:,} particles of {name} follow their density: p-value"
        made.append(at_least(text, p_value, 0.01))
    return made


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """The loss and its three smoothings above, the four motions' densities at T below."""
    s = results.setting
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 4, sharex=True, sharey=True)
    f = results.smoothed["viscous"].u.isel(time=0)
    titles = {"loss f": f} | {
        f"{name} {'v' if name == 'heat' else 'u'}(., T)": u.final
        for name, u in results.smoothed.items()
    }
    x, y = s.grid.axes
    levels = np.linspace(float(f.min()), float(f.min()) + 3.5, 22)
    for ax, (title, field) in zip(above, titles.items(), strict=True):
        ax.contourf(x, y, field.values.T, levels=levels, extend="both", cmap="viridis")
        minima = pk.Basins.of(field.values, s.grid).minima
        ax.plot(*minima.T, ".", color="white", ms=4)
        count = results.numbers["wells"][title.split()[0]]
        ax.set_title(f"{title}: {count} well{'s' * (count > 1)}", fontsize=9)
    for ax, (name, density) in zip(below, results.densities.items(), strict=True):
        plotting.field(ax, density.final, cmap="Blues")
        cloud = results.ensembles[name].final.values[:300]
        ax.plot(*cloud.T, ".", color="tab:orange", ms=1.5, alpha=0.7, label="particles")
        ax.plot(*s.initial.mean, "x", color="black", ms=7, mew=2, ls="none", label="start")
        ax.set_title(f"{name}\nE f(X_T) = {line.expected(results, name):.3f}", fontsize=9)
    for ax in (*above, *below):
        (left, bottom), (right, top) = WINDOW
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.tick_params(labelsize=8)
    below[0].legend(loc="lower left", fontsize=8, frameon=False, markerscale=1.5)
    return figure
