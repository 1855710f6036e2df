"""A real network's loss on a plane through its solution: what do smoothing and noise make of it?

The plane is measured (NPZ with axes x, y and values; by default `data/digits_plane.npz`, the
training loss of a network on handwritten digits over the phases of two of its units, written by
`data/digits_loss.py`): seventeen wells, the deepest at the solution. Asked of it, and of any plane
given by ``--loss``:

* local entropy, Hamilton-Jacobi and heat over their time γ: how many wells are left, where the
  deepest is, from how much of the plane descent ends in it;
* SGLD from a corner: its density by the Fokker-Planck equation and by particles, and the share in
  the basin of the deepest well against Gibbs' law.

On the shipped plane all three keep the deepest well in its place, to 0.04, until it is the only
one, and the share of starts from which descent finds it rises from a tenth to all. Local entropy
needs γ near 5 for that, heat 8, Hamilton-Jacobi 12. Noise alone finds it too: after a time of 100
more often than Gibbs' law has it, since it lies on the way from the corner to the rest.
Mathematics 1.1 to 1.4.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit import checks
from pdekit.claims import Claim, at_least, at_most

SHIPPED = Path(__file__).parent / "data" / "digits_plane.npz"
NARROWEST = 20  # cells may be wider than the narrowest kernel by as much
FLOWS = ("local entropy", "Hamilton-Jacobi", "heat")
COLOURS = {"local entropy": "tab:blue", "Hamilton-Jacobi": "tab:green", "heat": "tab:red"}


@dataclass(frozen=True)
class Smoothed:
    """A flow over its times γ."""

    gamma: np.ndarray
    wells: np.ndarray  # how many
    moved: np.ndarray  # of the lowest point, from the loss's
    share: np.ndarray  # of the plane from which descent ends there
    fields: np.ndarray  # (time, x, y)
    bound: np.ndarray  # sup u_kk above 1/(1/C + γ) plus its allowance, in the middle of the plane


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    loss: Any
    grid: pk.Grid
    beta: float
    values: np.ndarray
    flows: dict[str, Smoothed]
    density: pk.Solution
    ensemble: Any
    shares: tuple[np.ndarray, np.ndarray, float]  # over time: equation, particles; Gibbs' law
    p_value: float
    shipped: bool  # whether the loss is the one that comes with pdekit
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and particles.")] = False,
    loss: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="NPZ with x, y and value.")
    ] = SHIPPED,
    beta: Annotated[float, typer.Option(help="Inverse temperature.")] = 40.0,
    longest: Annotated[float, typer.Option(help="The last γ.")] = 30.0,
    cells: Annotated[int | None, typer.Option(min=16, help="Cells an axis.")] = None,
    particles: Annotated[int | None, typer.Option(min=100, help="Particles.")] = None,
    seed: Annotated[int, typer.Option(help="Of the particles.")] = 0,
) -> Results:
    """Smooth the plane three ways, and let SGLD run on it."""
    longest = checks.positive("--longest", longest)
    V = pk.potentials.Tabulated.from_npz(loss)
    cells = cells or (96 if quick else 192)
    grid = pk.Grid(V.lower, V.upper, (cells, cells))
    particles = particles or (4_000 if quick else 40_000)
    gammas = np.geomspace(longest / 1000, longest, 7 if quick else 16)
    _check(V, grid, beta, longest)
    with tqdm(total=4, desc="loss_plane", unit="stage") as bar:
        flows = {}
        equations = (pk.ViscousHJ(beta), pk.HamiltonJacobi(), pk.Heat(beta))
        for name, equation in zip(FLOWS, equations, strict=True):
            flows[name] = _smoothed(equation, V, grid, gammas)
            bar.update()
        corner = np.subtract(V.upper, V.lower) * 0.2 + V.lower
        start = pk.Gaussian(tuple(map(float, corner)), 0.03 * float(np.ptp(V.points[0])))
        times = np.geomspace(1.0, 1000.0, 7)
        met = times[: 3 if quick else 5]  # by particles too
        dynamics = pk.Langevin(V, beta, box=grid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pk.TruncationWarning)  # the walls are meant
            density = pk.solve(dynamics.law(), grid, start, times, pk.schemes.Krylov())
        ensemble = pk.simulate(dynamics, start, particles, met, 0.01, seed=seed)
        bar.update()
    values = V(grid.centres)
    shares = _shares(grid, values, beta, density, ensemble)
    p_value = float(pk.compare(density, ensemble).p_value)
    shipped = loss.resolve() == SHIPPED.resolve()
    results = Results(V, grid, beta, values, flows, density, ensemble, shares, p_value, shipped, {})
    results.numbers.update(_numbers(results))
    return results


def _check(loss: Any, grid: pk.Grid, beta: float, longest: float) -> None:
    """``ValueError`` for a plane without wells, or of other units than the times γ."""
    values = loss(grid.centres)
    if not np.ptp(values) > 0:
        raise ValueError(
            f"--loss must be a plane that varies, got {values.flat[0]:g} everywhere; measure it "
            "where the loss changes, farther from its minimum"
        )
    least = 1000 * beta * (float(grid.spacing.max()) / NARROWEST) ** 2
    if longest < least:
        raise ValueError(
            f"--longest must be at least {least:.3g} on this plane, got {longest:g}: the first γ "
            f"(a thousandth) smooths over √(γ/β), and cells are {grid.spacing.max():.3g} wide; "
            "pass --longest or more --cells, or measure the plane in other units of length"
        )


def _smoothed(equation: Any, loss: Any, grid: pk.Grid, gammas: np.ndarray) -> Smoothed:
    solution = pk.solve(equation, grid, loss, gammas)
    lowest = _lowest(loss(grid.centres), grid)
    wells, moved, share = [], [], []
    for u in solution.fields:
        basins = pk.Basins.of(u, grid)
        wells.append(basins.count)
        moved.append(np.abs(_lowest(u, grid) - lowest).max())
        share.append(_mass_of_deepest(np.full(grid.shape, 1.0), u, basins))
    centre, half = np.add(grid.upper, grid.lower) / 2, np.subtract(grid.upper, grid.lower) / 4
    window = (tuple(centre - half), tuple(centre + half))
    found = pk.semiconcavity(solution, loss, window=window).data
    above = np.max(
        [found[f"sup_{k}"] - found[f"bound_{k}"] - found[f"allowance_{k}"] for k in ("xx", "yy")], 0
    )
    reached = float(half.min()) ** 2 / (2 * float(np.ptp(loss(grid.centres))))  # by the walls
    above = above[gammas <= reached]
    return Smoothed(gammas, np.array(wells), np.array(moved), np.array(share), solution.fields,
                    above)  # fmt: skip


def _lowest(values: np.ndarray, grid: pk.Grid) -> np.ndarray:
    return np.asarray(grid.centres.reshape(-1, 2)[int(values.argmin())])


def _mass_of_deepest(weights: np.ndarray, values: np.ndarray, basins: pk.Basins) -> float:
    """The share of weights in the basin of the lowest value."""
    here = basins.labels == basins.labels.ravel()[int(values.argmin())]
    return float(weights[here].sum() / weights.sum())


def _shares(
    grid: pk.Grid, values: np.ndarray, beta: float, density: pk.Solution, ensemble: Any
) -> tuple[np.ndarray, np.ndarray, float]:
    """In the deepest basin of the loss: of the density, of particles, and of Gibbs' law."""
    basins = pk.Basins.of(values, grid)
    deepest = basins.labels.ravel()[int(values.argmin())]
    there = np.array([_mass_of_deepest(rho, values, basins) for rho in density.fields])
    counted = np.array([
        float((basins(torch.as_tensor(x)) == deepest).double().mean())
        for x in ensemble.x.values
    ])  # fmt: skip
    gibbs = _mass_of_deepest(np.exp(-beta * (values - values.min())), values, basins)
    return there, counted, gibbs


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    by_equation, by_particles, gibbs = results.shares
    return {
        "wells": pk.Basins.of(results.values, results.grid).count,
        "flows": {
            name: {"gamma": f.gamma.tolist(), "wells": f.wells.tolist(), "moved": f.moved.tolist(),
                   "share": f.share.tolist()}
            for name, f in results.flows.items()
        },
        "share_of_deepest": {"time": results.density.times.tolist(),
                             "equation": by_equation.tolist(),
                             "particles": by_particles.tolist(), "gibbs": gibbs},
        "p_value": results.p_value,
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    by_equation, by_particles, gibbs = results.shares
    n, met = results.ensemble.x.sizes["particle"], len(by_particles)
    error = np.sqrt(np.maximum(by_equation * (1 - by_equation), 1 / n) / n)[:met]
    made = [
        at_most(f"{name}: curvature above 1/(1/C + γ), allowance included",
                results.flows[name].bound.max(initial=-np.inf), 0)
        for name in ("local entropy", "Hamilton-Jacobi")
    ]  # fmt: skip
    made += [
        at_most(f"{name}: wells more than the loss has, at most (ripples of a cell at walls)",
                flow.wells.max() - pk.Basins.of(results.values, results.grid).count, 2)
        for name, flow in results.flows.items()
    ]  # fmt: skip
    flow = results.flows["Hamilton-Jacobi"]
    least = [f.min() - results.values.min() for f in flow.fields]
    return [
        *made,
        at_most("Hamilton-Jacobi keeps the lowest value", np.abs(least).max(), 1e-3),
        at_most("and its place, to cells", flow.moved.max() / results.grid.spacing.max(), 1.5),
        at_least("SGLD: particles follow their density: p-value", results.p_value, 1e-3),
        at_most("share in the deepest basin, by particles, standard errors off",
                (np.abs(by_particles - by_equation[:met]) / error).max(), 4),
        at_most("the density tends to Gibbs' law: shares at the last time, apart",
                abs(by_equation[-1] - gibbs), 0.01),
        *(_of_the_shipped(results) if results.shipped else []),
    ]  # fmt: skip


def _of_the_shipped(results: Results) -> list[Claim]:
    entropy, hj, heat = (results.flows[name] for name in FLOWS)
    middle = int(np.abs(entropy.gamma - 3).argmin())
    return [
        *(
            at_most(f"{name}: the deepest well stays while there are others, moved by turns",
                    flow.moved[flow.wells > 1].max(), 0.04)
            for name, flow in results.flows.items()
        ),
        at_most("wells left at the end, all flows", max(f.wells[-1] for f in (entropy, hj, heat)),
                1),
        at_most("starts that find the deepest well: share at first", entropy.share[0], 0.12),
        at_least("after local entropy of γ = 3, over that after Hamilton-Jacobi",
                 entropy.share[middle] / hj.share[middle], 1.2),
        at_least("and that over heat's", hj.share[middle] / heat.share[middle], 1.1),
        at_least("SGLD passes it: share in the deepest basin at its largest, above Gibbs",
                 results.shares[0].max() - results.shares[2], 0.03),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """The plane and what is left of it; wells and shares over γ; SGLD over time."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    middle = len(results.flows["heat"].gamma) * 3 // 5
    flow = results.flows["local entropy"]
    panels = ((results.values, "the loss"),
              (flow.fields[middle], f"local entropy, γ = {flow.gamma[middle]:.2g}"),
              (results.density.fields[3], f"SGLD, t = {results.density.times[3]:.3g}"))  # fmt: skip
    for ax, (field, title) in zip(axes[0], panels, strict=True):
        x, y = results.grid.axes
        shown = ax.contourf(x, y, field.T, levels=16,
                            cmap="Blues" if "SGLD" in title else "viridis")  # fmt: skip
        figure.colorbar(shown, ax=ax, shrink=0.8)
        ax.set(title=title, xlabel="x", ylabel="y", aspect="equal")
    _flow_panels(axes[1], results)
    return figure


def _flow_panels(axes: Any, results: Results) -> None:
    wells, share, noise = axes
    for name, flow in results.flows.items():
        wells.semilogx(flow.gamma, flow.wells, ".-", color=COLOURS[name], label=name)
        share.semilogx(flow.gamma, flow.share, ".-", color=COLOURS[name], label=name)
    wells.set(xlabel="γ", title="wells left", ylim=(0, None))
    share.set(xlabel="γ", title="starts that find the deepest", ylim=(0, 1.05))
    wells.legend(fontsize=8, frameon=False)
    by_equation, by_particles, gibbs = results.shares
    times = results.density.times
    noise.semilogx(times, by_equation, color="tab:blue", label="equation")
    noise.semilogx(
        times[: len(by_particles)], by_particles, "o", color="black", mfc="none", label="particles"
    )
    noise.axhline(gibbs, color="0.5", ls=":", label="Gibbs")
    noise.set(xlabel="t", title=f"SGLD, β = {results.beta:g}: in the deepest",
              ylim=(0, None))  # fmt: skip
    noise.legend(fontsize=8, frameon=False)
