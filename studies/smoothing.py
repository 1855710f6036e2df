"""What do viscous, non-viscous and heat smoothing do to a rugged loss, and to those who descend it?

One loss f on a line (the built-in one, or measured samples from a CSV file). From one initial
density, four motions run for the same time T at the same inverse temperature beta:

* plain SGD                     dX = -f'(X) dt + sqrt(2/beta) dB
* descent on the viscous HJ     dX = -u'(X, T - t) dt + sqrt(2/beta) dB, u the local entropy of f
* descent on the non-viscous HJ the same with u the Hopf-Lax inf-convolution of f
* optimally controlled SGD      dX = -(f' + u')(X, t) dt + sqrt(2/beta) dB, u the value function

The second and third are the papers' scoping (smoothing that decreases to none); only the fourth is
what the improvement theorem is about. Every density comes from a PDE and from particles. After
thesis figure 4.1; equations in docs/mathematics.md.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import xarray as xr
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit import plotting
from pdekit.claims import Claim, at_least, at_most

SGD, VISCOUS, HOPF_LAX, CONTROLLED = (
    "plain SGD",
    "descent on viscous HJ",
    "descent on non-viscous HJ",
    "controlled SGD",
)
COLOURS = {SGD: "0.35", VISCOUS: "tab:red", HOPF_LAX: "tab:blue", CONTROLLED: "tab:purple"}
STORED = 201  # times at which the smoothed losses are kept
# f(x) = x²/2 - cos(6x)/2: one valley with ripples, its lowest minimum at 0
RUGGED = pk.potentials.Quadratic() - 0.5 * pk.potentials.Cosine(6.0)


@dataclass(frozen=True)
class Setting:
    """The loss, the box, and how the four motions run."""

    loss: Any
    grid: pk.Grid
    beta: float
    horizon: float
    initial: pk.Gaussian
    convex: bool  # whether the viscous smoothing is claimed to be convex at the horizon
    walls: bool  # whether particles are reflected at the ends of the samples


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    setting: Setting
    particles: int
    smoothed: dict[str, pk.Solution]  # viscous, non-viscous, heat; times 0..T
    control: Any
    densities: dict[str, pk.Solution]
    ensembles: dict[str, pk.Ensemble]
    comparisons: dict[str, pk.Comparison]
    monotone_gap: float  # largest |u_exact - u_monotone| of the value function at time 0
    density_gap: float  # L1 between the controlled density and the FP equation of f + u
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer particles and cells.")] = False,
    loss: Annotated[
        Path | None, typer.Option(help="CSV of a measured loss: columns x, value.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Inverse temperature.")] = None,
    horizon: Annotated[float | None, typer.Option(help="Time T of smoothing and motion.")] = None,
    start: Annotated[float | None, typer.Option(help="Mean of the initial density.")] = None,
    spread: Annotated[float | None, typer.Option(help="Its standard deviation.")] = None,
    particles: Annotated[int | None, typer.Option(min=1, help="Particles per motion.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells of the grid.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Smooth the loss, move the density, check it with particles, draw the figure."""
    cells = cells or (600 if quick else 1000)
    n = particles or (20_000 if quick else 100_000)
    setting = _measured(loss, cells) if loss else _built_in(cells)
    law = setting.initial
    setting = replace(
        setting,
        beta=setting.beta if beta is None else beta,
        horizon=setting.horizon if horizon is None else horizon,
        initial=pk.Gaussian(
            law.mean if start is None else start, law.std if spread is None else spread
        ),
    )
    f, grid, T = setting.loss, setting.grid, setting.horizon
    times = np.linspace(0, T, STORED)
    with tqdm(total=12, desc="smoothing", unit="stage") as bar:
        smoothed = _smoothed(setting, times, bar)
        bar.set_postfix_str("control")
        control = pk.control(f, setting.beta, grid, setting.initial, f, times)
        bar.update()
        motions = motions_of(setting, smoothed, control)
        moving = pk.schemes.Exponential(rtol_moving=1e-3 if quick else 1e-4)
        densities, gap = _densities(setting, motions, control, moving, bar)
        monotone = pk.solve(
            pk.HamiltonJacobiBellman(f, setting.beta), grid, f, T, pk.schemes.Godunov()
        )
        curvature = float(np.abs(np.diff(f(grid.centres), 2)).max()) / grid.spacing[0] ** 2
        dt = min(T / 200, (0.05 if quick else 0.02) / curvature)
        ensembles = {}
        for name, motion in motions.items():
            bar.set_postfix_str(f"particles: {name}")
            ensembles[name] = pk.simulate(motion, setting.initial, n, T, dt, seed=seed)
            bar.update()
    comparisons = {name: pk.compare(densities[name], ensembles[name]) for name in motions}
    results = Results(
        setting=setting,
        particles=n,
        smoothed=smoothed,
        control=control,
        densities=densities,
        ensembles=ensembles,
        comparisons=comparisons,
        monotone_gap=float(np.abs(monotone.fields[-1] - control.value.fields[0]).max()),
        density_gap=gap,
        numbers={},
    )
    return replace(results, numbers=_numbers(results, dt))


def _built_in(cells: int) -> Setting:
    grid = pk.Grid(-4, 4, cells)
    return Setting(RUGGED, grid, 8.0, 2.0, pk.Gaussian(-1.0, 0.15), convex=True, walls=False)


def _measured(path: Path, cells: int) -> Setting:
    """A box from the samples, and scales from the loss itself.

    beta: 25 over the range of the loss; T: half the box squared over twice that range, the time in
    which the inf-convolution sees across half the box; start: the second lowest minimum.
    """
    loss = pk.potentials.Tabulated.from_csv(path)
    if loss.dim != 1:
        raise ValueError(
            f"{path} holds samples on a plane; this study takes a line: columns x, value"
        )
    grid = pk.Grid(loss.lower[0], loss.upper[0], cells)
    values, x = loss(grid.centres), grid.axes[0]
    inner = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1
    minima = inner[np.argsort(values[inner])]
    start = x[minima[1]] if len(minima) > 1 else x[cells // 4]
    width, height = np.ptp(x), np.ptp(values)
    return Setting(
        loss, grid, 25 / height, (width / 2) ** 2 / (2 * height),
        pk.Gaussian(float(start), float(width) / 60), convex=False, walls=True,
    )  # fmt: skip


def _smoothed(setting: Setting, times: Any, bar: tqdm) -> dict[str, pk.Solution]:
    """The three smoothings of f; the viscous one on the whole line where f rises beyond the box."""
    f, grid = setting.loss, setting.grid
    ends = f.grad(np.array([[grid.lower[0]], [grid.upper[0]]]))[:, 0]
    whole_line = ends[0] < 0 < ends[1]
    viscous = pk.schemes.ColeHopf(extend=whole_line)
    equations = {
        "viscous": (pk.ViscousHJ(setting.beta), viscous),
        "non-viscous": (pk.HamiltonJacobi(), None),
        "heat": (pk.Heat(setting.beta), None),
    }
    solutions = {}
    for name, (equation, scheme) in equations.items():
        bar.set_postfix_str(f"{name} smoothing")
        solutions[name] = pk.solve(equation, grid, f, times, scheme)
        bar.update()
    return solutions


def motions_of(setting: Setting, smoothed: dict[str, pk.Solution], control: Any) -> dict[str, Any]:
    beta, box = setting.beta, setting.grid if setting.walls else None
    viscous, hopf_lax = (
        smoothed[name].potential().reversed() for name in ("viscous", "non-viscous")
    )
    value = control.value.potential()
    return {
        SGD: pk.Langevin(setting.loss, beta, box=box),
        VISCOUS: pk.SmoothedDescent(viscous, beta, box=box),
        HOPF_LAX: pk.SmoothedDescent(hopf_lax, beta, box=box),
        CONTROLLED: pk.ControlledLangevin(setting.loss, beta, value, box=box),
    }


def _densities(
    setting: Setting, motions: dict[str, Any], control: Any, scheme: Any, bar: tqdm
) -> tuple[dict[str, pk.Solution], float]:
    """Density of each motion over time, from the equation its law obeys.

    The controlled one comes twice: by the h-transform (kept) and by the equation of f + u (the gap
    between the two is returned).
    """
    grid, T = setting.grid, setting.horizon
    densities = {}
    for name, motion in motions.items():
        bar.set_postfix_str(f"density: {name}")
        times = control.value.times[1:] if name == SGD else T
        densities[name] = pk.solve(motion.law(), grid, setting.initial, times, scheme)
        bar.update()
    gap = grid.integrate(np.abs(densities[CONTROLLED].fields[-1] - control.density.fields[-1]))
    densities[CONTROLLED] = control.density
    return densities, float(gap)


def expected(results: Results, name: str) -> float:
    grid = results.setting.grid
    return float(grid.integrate(results.densities[name].fields[-1] * results.control.terminal_cost))


def gradient_gain(results: Results) -> float:
    """½ E_sgd ∫|∇u(X, t)|² dt along plain SGD: the theorem's gap, computed a second way."""
    plain, control = results.densities[SGD], results.control
    power = 0.5 * (control.control.values**2).sum(axis=-1)
    rho = np.concatenate([control.density.fields[:1], plain.fields])
    rate = results.setting.grid.integrate(power * rho)
    return float(np.trapezoid(rate, control.value.times))


def _numbers(results: Results, dt: float) -> dict[str, Any]:
    s = results.setting
    kept = ("l1", "floor_l1", "w1", "floor_w1", "kl", "p_value")
    return {
        "beta": s.beta,
        "horizon": s.horizon,
        "initial": {"mean": float(s.initial.mean[0]), "std": float(s.initial.std[0])},
        "cells": s.grid.cells[0],
        "particles": results.particles,
        "longest_step": dt,
        "expected_loss": {name: expected(results, name) for name in results.densities},
        "lowest_loss": float(results.control.terminal_cost.min()),
        "control_effort": results.control.running,
        "comparison": {
            name: {key: float(c.data[key][-1]) for key in kept}
            for name, c in results.comparisons.items()
        },
    }


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    s, u = results.setting, results.smoothed
    made = []
    if s.convex:
        curvature = np.diff(u["viscous"].fields[-1], 2) / s.grid.spacing[0] ** 2
        made.append(
            at_least("viscous u(., T) is convex: least second difference", curvature.min(), 0)
        )
        curvature = np.diff(u["non-viscous"].fields[-1], 2) / s.grid.spacing[0] ** 2
        made.append(
            at_most("non-viscous u(., T) is not: least second difference", curvature.min(), -1)
        )
    for name, step in (("viscous", 1), ("non-viscous", s.grid.cells[0] // 25)):
        bounds = pk.semiconcavity(u[name], step=step)
        made.append(semiconcave(name, bounds))
    heat = u["heat"].u
    sup = (heat.diff("x", 2) / s.grid.spacing[0] ** 2).max("x")
    made.append(
        at_most("heat: largest growth of sup v_xx from one time to the next",
                float(sup.diff("time").max()), 1e-6 * float(sup[0]))
    )  # fmt: skip
    made += _ordering(results) + theorem(results)
    drift = max(d.stats["mass_drift"] for d in results.densities.values())
    made.append(at_most("largest drift of mass of any density", drift, 1e-12))
    made.append(
        at_most("value function, exact against monotone scheme, bound 2 % of f's range",
                results.monotone_gap, 0.02 * float(np.ptp(results.control.terminal_cost)))
    )  # fmt: skip
    made.append(
        at_most("controlled density, h-transform against its Fokker-Planck equation: L1",
                results.density_gap, 0.01)
    )  # fmt: skip
    for name, comparison in results.comparisons.items():
        text = f"{results.particles:,} particles of {name} follow their density: p-value"
        made.append(at_least(text, comparison.p_value, 0.01))
    return made


def semiconcave(name: str, measured: pk.Semiconcavity, along: str = "xx") -> Claim:
    """The lemma sup u_kk <= 1 / (1/C + t) along an axis or any, at its tightest stored time.

    u comes close to the bound (it attains it for quadratic f), so the error of the difference
    quotient decides: twice what it changes by when the step is doubled is allowed.
    """
    data = measured.data.isel(time=measured.data.time > 0)
    excess, allowance = data[f"sup_{along}"] - data[f"bound_{along}"], data[f"allowance_{along}"]
    k = int((excess - allowance).values.argmax())
    bound = f"{name} u_{along} <= 1/(1/C + t)"
    text = f"{bound}: excess at t = {float(data.time[k]):.3g}, where tightest"
    return at_most(text, excess[k], 2 * allowance[k])


def _ordering(results: Results) -> list[Claim]:
    """What both smoothings keep of f, up to what the cells can see of its lowest minimum."""
    u, f = results.smoothed, results.control.terminal_cost
    seen = float(np.abs(np.diff(f, 2)).max()) / 8
    lowest = float(u["non-viscous"].fields[-1].min())
    return [
        at_most("non-viscous: |inf u(., T) - inf f|", abs(lowest - f.min()), seen),
        at_most("non-viscous: largest u(., T) - f", (u["non-viscous"].fields[-1] - f).max(), 1e-12),
        at_least("viscous: inf u(., T) above inf f by", u["viscous"].fields[-1].min() - f.min(), 0),
    ]


def theorem(results: Results) -> list[Claim]:
    """Theorem 4.11 of the thesis and the exact value of its gap (mathematics 1.7)."""
    plain, controlled = expected(results, SGD), expected(results, CONTROLLED)
    effort = results.control.running
    gap = plain - controlled - effort
    found = [
        at_most("E f(controlled) <= E f(plain) - E ∫|α|²/2", controlled, plain - effort),
        at_most("that gap is E_plain ∫|u'|²/2: relative difference",
                abs(gap - gradient_gain(results)) / gap, 0.05),
    ]  # fmt: skip
    if results.setting.convex:
        for name in (VISCOUS, HOPF_LAX):
            found.append(at_most(f"E f({name}) <= E f({SGD})", expected(results, name), plain))
    return found


def plot(results: Results) -> Figure:
    """The loss and its smoothings above, one panel for each motion below, on one x axis."""
    s = results.setting
    figure = Figure(figsize=(8, 10), layout="constrained")
    top, *rest = figure.subplots(
        5, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1, 1, 1, 1]}
    )
    at_start = results.smoothed["viscous"].u.isel(time=0)
    plotting.line(top, at_start, color="black", lw=1.2, label="loss f")
    styles = {
        "viscous": ("tab:red", "-", "viscous HJ u(., T)"),
        "non-viscous": ("tab:blue", "-", "non-viscous HJ u(., T)"),
        "heat": ("tab:green", "--", "heat v(., T)"),
    }
    for name, (colour, dashes, label) in styles.items():
        plotting.line(top, results.smoothed[name].final, color=colour, ls=dashes, label=label)
    value = results.control.value.u.isel(time=0)
    plotting.line(
        top, value, color="tab:purple", ls=":", label="value function u(., 0) of the control"
    )
    low, high = _window(results)
    inside = at_start.sel(x=slice(low, high)).values
    margin = 0.05 * float(np.ptp(inside))
    top.set(xlim=(low, high), ylim=(float(inside.min()) - margin, float(inside.max()) + margin))
    top.set_ylabel("loss")
    top.legend(loc="upper center", fontsize=8, ncols=2, frameon=False)
    top.set_title(f"β = {s.beta:.3g}, T = {s.horizon:.3g}", fontsize=10)
    for ax, (name, ensemble) in zip(rest, results.ensembles.items(), strict=True):
        _density_panel(ax, results, name, ensemble)
    rest[0].text(0.01, 0.75, "light: initial density; steps: particles", fontsize=8, color="0.4",
                 transform=rest[0].transAxes, va="top")  # fmt: skip
    rest[-1].set_xlabel("x")
    return figure


def _density_panel(ax: Any, results: Results, name: str, ensemble: pk.Ensemble) -> None:
    grid = results.setting.grid
    first = results.control.density.u.isel(time=0)
    plotting.density(ax, first, color="0.8", lw=0.8)
    plotting.histogram(ax, ensemble.final.values, grid, bins=200, color="0.2", lw=0.6)
    final: xr.DataArray = results.densities[name].final
    plotting.density(ax, final, color=COLOURS[name], lw=1.2)
    ax.set_ylim(0, 1.35 * float(final.max()))
    ax.set_ylabel("density")
    p, mean = results.comparisons[name].p_value, expected(results, name)
    ax.text(0.01, 0.93, name, transform=ax.transAxes, va="top", fontsize=9, color=COLOURS[name])
    note = f"E f(X_T) = {mean:.3f}\n{results.particles:,} particles: p = {p:.2g}"
    ax.text(0.99, 0.93, note, transform=ax.transAxes, va="top", ha="right", fontsize=8)


def _window(results: Results) -> tuple[float, float]:
    """The part of the box with all but 1e-5 of every density at either side, and some more."""
    grid = results.setting.grid
    fields = [
        results.control.density.fields[0],
        *(d.fields[-1] for d in results.densities.values()),
    ]
    shares = np.cumsum(fields, axis=1) * grid.cell_volume
    lows = [np.searchsorted(c, 1e-5) for c in shares]
    highs = [np.searchsorted(c, c[-1] - 1e-5) for c in shares]
    x = grid.axes[0]
    low, high = x[min(lows)], x[min(max(highs), x.size - 1)]
    pad = 0.15 * (high - low)
    return max(float(low) - pad, grid.lower[0]), min(float(high) + pad, grid.upper[0])
