"""Does a two-layer network follow its distributional dynamics, and which start is bad?

Report 3.2.1 and 3.2.2, after Mei, Montanari and Nguyen: N = 800 neurons σ(<w, x>) are to tell two
centred Gaussians of different width apart, x ~ N(0, (1 ± Δ)²) with Δ = 1/2 in d = 320 coordinates,
from weights w ~ N(0, κ²/d). As N grows the law of the weights follows a transport equation, here of
the radius |w|. What holds, by three routes (quantile particles, finite volumes, SGD):

* the activation (37) as printed is monotone and has no bad minimum: its minus signs are lost
  (errata 63). With them the bad start is κ = 0.1, not 0.4 as 3.2.1 ends (errata 64): all weights go
  to zero and the risk stays at 7.25, where from κ = 0.4 it falls to .2 by t = .4;
* "to zero" takes long: at t = 4.8 the radii sit on a ring of risk .0083, a saddle, which they
  leave after t = 60;
* SGD is above the equation by the finite number of neurons, (2N)⁻¹ [Var σ((1+Δ) r G) +
  Var σ((1-Δ) r G)], and beside it by its own noise, which makes radii grow in proportion to
  dt/batch: that must be 2e-7 to be within .005, in d = 320, and 7e-5 is enough to free the bad
  start;
* there is no critical κ at finite d. The share of neurons that escape grows with κ over a range
  that shrinks as d grows, about the radius r* = .196 of the unstable ring. What is found here as
  critical is where a third of the risk is lost at t = 3: .175 for d = 40, .188 for d = 320;
* with s₀ = 60 coordinates in which the classes differ and 260 in which they do not (report (39),
  (40), of the same activation) the equation lives in the plane of two radii, and SGD follows it.
  Weights in coordinates of no use grow as well.

Equations: mathematics 1.13.
"""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy import optimize
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most, certified
from pdekit.laws import Chi
from pdekit.networks import GaussianClasses, PiecewiseLinear

sys.path.insert(0, str(Path(__file__).parent))

from networks.hermite import above, pairs

POINTS = ((0.0, -2.5), (0.5, -4.0), (1.5, 7.5))
ACTIVATION = PiecewiseLinear.through(*POINTS)
PRINTED = PiecewiseLinear.through(*((t, abs(value)) for t, value in POINTS))
DELTA, DIM, NEURONS = 0.5, 320, 800
GOOD, BAD = 0.4, 0.1  # κ
TIMES = (0.1, 0.2, 0.4)
RISKS = {0.1: 1.53087, 0.4: 0.20217}  # of κ = .4, computed elsewhere
LATE = (2.4, 4.8, 24.0, 60.0, 100.0)
CRITICAL = {40: 0.176, 320: 0.188}
ESCAPE = 3.0  # the time at which escaped neurons are counted
PART = (60, 260)  # coordinates in which classes differ, and in which they do not
PLANE_TIMES = (0.1, 0.2, 0.4)
FEW = 6_000  # data by which the bad start escapes


@dataclass(frozen=True)
class Trained:
    """A network trained by SGD: its risks on all data, to within ``errors``, and its radii."""

    times: np.ndarray
    risks: np.ndarray
    errors: np.ndarray
    radii: np.ndarray  # (times, neurons, blocks)
    noise: float  # dt/batch


@dataclass(frozen=True)
class Start:
    """One κ in the isotropic problem, by the three routes."""

    times: np.ndarray
    quantiles: np.ndarray  # radii (times, n)
    risks: np.ndarray  # of the quantiles
    cells: pk.Solution
    cell_risks: np.ndarray  # at 0 and TIMES
    excess: np.ndarray  # of NEURONS neurons, at TIMES
    trained: list[Trained]  # the noisiest first


@dataclass(frozen=True)
class Plane:
    """Two radii, by the equation in the plane and by SGD."""

    density: pk.Solution
    risks: np.ndarray  # at 0 and PLANE_TIMES
    excess: np.ndarray
    trained: Trained
    useless: np.ndarray  # mean radius in the coordinates that do not differ, at the same times


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    starts: dict[float, Start]
    late: tuple[np.ndarray, np.ndarray]  # risks and widths of the ring at LATE
    rings: dict[str, float]
    escape: dict[int, tuple[np.ndarray, np.ndarray]]  # d -> κ, risk at ESCAPE
    critical: dict[int, float]
    plane: Plane
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells, data and steps.")] = False,
    cells: Annotated[int | None, typer.Option(min=100, help="Cells of the line.")] = None,
    samples: Annotated[int | None, typer.Option(min=1000, help="Data of the longest run.")] = None,
    seed: Annotated[int, typer.Option(help="Of starts and data.")] = 0,
) -> Results:
    """Solve, train, and look for the critical start."""
    cells, samples = cells or (800 if quick else 1600), samples or (60_000 if quick else 2_000_000)
    with tqdm(total=5, desc="distributional_dynamics") as bar, warnings.catch_warnings():
        # mass at the wall r = 0 and on rings narrower than cells is what happens here
        warnings.simplefilter("ignore", pk.TruncationWarning)
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        starts = {}
        # the fewer data, the more noise
        data = {GOOD: (samples // 4, samples), BAD: (FEW, max(samples // 4, 60_000))}
        for kappa, amounts in data.items():
            starts[kappa] = _start(kappa, cells, amounts, seed)
            bar.update()
        late = _late()
        bar.update()
        escape = {d: _escape(d, cells, quick) for d in CRITICAL}
        bar.update()
        plane = _plane(cells // 8, samples // 2, seed)
        bar.update()
    critical = {d: _crossing(*found) for d, found in escape.items()}
    results = Results(starts, late, _rings(), escape, critical, plane, {})
    results.numbers.update(_numbers(results))
    return results


# ---- the equation of the radius ------------------------------------------------------------------


def _network(dim: int = DIM, batch: int = 1) -> pk.TwoLayerNetwork:
    return pk.TwoLayerNetwork(GaussianClasses(dim, DELTA, ACTIVATION), batch=batch)


def _radius(kappa: float, dim: int = DIM) -> Chi:
    """Of w ~ N(0, κ²/d)."""
    return Chi(dim, kappa / dim**0.5)


def _risks(network: pk.TwoLayerNetwork, solution: pk.Solution) -> np.ndarray:
    """Of the densities at all times."""
    grid = solution.grid
    points = grid.centres.reshape(-1, grid.dim)
    masses = solution.u.values.reshape(-1, len(points)) * grid.cell_volume
    return np.array([network.risk(points, mass) for mass in masses])


def _start(kappa: float, cells: int, data: tuple[int, ...], seed: int) -> Start:
    network, law = _network(), _network().law()
    solution = pk.solve(law, pk.Grid(0, 4, cells), _radius(kappa), (0, *TIMES))
    times = np.linspace(0, TIMES[-1], 41)
    follow = _quantiles if kappa == GOOD else _stopped
    radii = follow(law, kappa, times)
    at = [int(np.abs(times - t).argmin()) for t in TIMES]
    excess = network.task.variance(radii[at][..., None]).mean(-1) / NEURONS
    trained = [_trained(network.task, kappa, TIMES, count, seed) for count in data]
    return Start(times, radii, network.risk(radii[..., None]), solution,
                 _risks(network, solution), excess, trained)  # fmt: skip


def _quantiles(law: Any, kappa: float, times: Any) -> np.ndarray:
    flow = pk.quantile_flow(law, _radius(kappa), pk.Grid(0, 4, 40), times, n=400, rtol=1e-8)
    return flow.values


def _stopped(law: Any, kappa: float, times: np.ndarray, steps: int = 40) -> np.ndarray:
    """The same where quantiles end at the wall r = 0: by Heun's steps, cut off there.

    The velocity jumps to zero at the wall, where a method of high order loses its way.
    """
    start = pk.quantile_particles(_radius(kappa), 400)
    radii, out = start, [start]
    for h in np.diff(times) / steps:
        for _ in range(steps):
            first = _velocity(law, radii)
            second = _velocity(law, np.maximum(radii + h * first, 0))
            radii = np.maximum(radii + h / 2 * (first + second), 0)
        out.append(radii)
    return np.array(out)[..., 0]


def _velocity(law: Any, radii: np.ndarray) -> np.ndarray:
    masses = np.full(len(radii), 1 / len(radii))
    return -law.potential.grad(radii) - law.interaction.slope(radii, radii, masses)


def _late() -> tuple[np.ndarray, np.ndarray]:
    """Risk and width of the ring from κ = .4."""
    radii = _quantiles(_network().law(), GOOD, LATE)
    return _network().risk(radii[..., None]), radii.std(-1)


def _rings() -> dict[str, float]:
    """Single radii: risks, the one that stays where it is and is unstable, and the best."""
    network, law = _network(), _network().law()

    def speed(r: float) -> float:
        return float(_velocity(law, np.array([[r]]))[0, 0])

    def risk(r: float) -> float:
        return float(network.risk(np.array([[r]])))

    unstable, best = (
        optimize.brentq(speed, a, b, xtol=1e-14) for a, b in ((0.15, 0.3), (1.9, 2.3))
    )
    return {"zero": risk(0.0), "bad": risk(BAD), "good": risk(GOOD), "unstable": unstable,
            "risk_unstable": risk(unstable), "best": best, "risk_best": risk(best)}  # fmt: skip


def _escape(dim: int, cells: int, quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """The risk at ESCAPE over κ; then between the two κ where it passes the level, by bisection."""
    low, high = (0.15, 0.21) if dim == 40 else (0.178, 0.206)
    found = {k: _final_risk(k, dim, cells) for k in np.linspace(low, high, 4 if quick else 8)}
    for _ in range(2 if quick else 5):
        kappa = np.array(sorted(found))
        above = int(np.flatnonzero([found[k] > _level() for k in kappa])[-1])
        middle = (kappa[above] + kappa[above + 1]) / 2
        found[middle] = _final_risk(middle, dim, cells)
    kappa = np.array(sorted(found))
    return kappa, np.array([found[k] for k in kappa])


def _final_risk(kappa: float, dim: int, cells: int) -> float:
    network = _network(dim)
    grid = pk.Grid(0, 6, cells)
    return float(_risks(network, pk.solve(network.law(), grid, _radius(kappa, dim), ESCAPE))[-1])


def _level() -> float:
    """Two thirds of the risk of all weights at zero."""
    return float(_network().risk(np.zeros((1, 1)))) * 2 / 3


def _crossing(kappa: np.ndarray, risk: np.ndarray) -> float:
    """Where the risk, which falls with κ, passes the level."""
    return float(np.interp(-_level(), -risk, kappa))


# ---- SGD -----------------------------------------------------------------------------------------


def _trained(
    task: GaussianClasses, kappa: float, times: tuple[float, ...], samples: int, seed: int
) -> Trained:
    """NEURONS neurons, one pass over that many data in steps of dt = 5e-4 or so.

    Radii start at the quantiles of their law, in directions at random: what is left of the chance
    of the start is that of the directions.
    """
    dt = 2.5e-4 if samples > 10**6 else 1e-3
    batch = max(1, round(samples * dt / times[-1]))
    network = pk.TwoLayerNetwork(task, batch=batch)
    weights = _weights(task, kappa, seed)
    ensemble = pk.simulate(network, weights, NEURONS, times, dt, seed=seed, dtype="float32")
    theta = ensemble.x.values.astype(float)
    risks = np.array([_exact_risk(task, w) for w in theta])
    return Trained(np.array(times), *risks.T, network.reduced(theta), dt / batch)


def _weights(task: GaussianClasses, kappa: float, seed: int) -> np.ndarray:
    """Directions uniform in each block, radii at quantiles, in another order in each."""
    rng, blocks = np.random.default_rng([seed, 1]), []
    for dim in task.dims:
        z = rng.normal(size=(NEURONS, dim))
        radii = pk.quantile_particles(Chi(dim, kappa / task.dim**0.5), NEURONS)
        blocks.append(z / np.linalg.norm(z, axis=1, keepdims=True) * rng.permutation(radii))
    return np.concatenate(blocks, axis=1)


def _exact_risk(task: GaussianClasses, theta: np.ndarray) -> tuple[float, float]:
    """The risk of the network on all data, and a bound of what its series leaves out.

    In a class <w_i, x> and <w_j, x> are normal with correlation c, and E σ σ' = Σ_k a_k a_k' c^k,
    a_k the coefficients of σ in Hermite polynomials; of a neuron with itself it is known.
    """
    found = [_of_class(task, theta, y) for y in (1, -1)]
    risks, left = np.mean(found, axis=0)
    return float(risks), float(left)


def _of_class(task: GaussianClasses, theta: np.ndarray, y: int) -> tuple[float, float]:
    sigma, n = task.activation, len(theta)
    seen = theta * (1 + y * np.repeat(task.deltas, task.dims))
    width = np.linalg.norm(seen, axis=1)
    mean, variance = sigma.mean(width), sigma.variance(width)
    shared, left = pairs(torch.tensor(seen), _hermite(sigma, width), torch.tensor(variance))
    risk = (mean.mean() - y) ** 2 + (variance.sum() + float(shared)) / n**2
    return float(risk), float(left) / n**2


def _hermite(sigma: PiecewiseLinear, width: np.ndarray) -> list[torch.Tensor]:
    """E σ(r G) He_k(G)/√k!, k = 1, 2, ..., at every width r."""
    r = torch.tensor(width)
    jumps, knots = (torch.tensor(v, dtype=r.dtype) for v in (sigma.jumps, sigma.knots))
    return [r * (jumps @ a) for a in above(knots[:, None] / r)[1:]]


# ---- two radii -----------------------------------------------------------------------------------


def _plane(cells: int, samples: int, seed: int) -> Plane:
    task = GaussianClasses(PART, (DELTA, 0.0), ACTIVATION)
    network, start = pk.TwoLayerNetwork(task), Chi(PART, (GOOD / DIM**0.5,) * 2)
    grid = pk.Grid((0, 0), (2.5, 1.5), (cells, 3 * cells // 5))
    density = pk.solve(network.law(), grid, start, (0, *PLANE_TIMES))
    masses = density.u.values * grid.cell_volume
    variance = task.variance(grid.centres)
    trained = _trained(task, GOOD, PLANE_TIMES, samples, seed + 1)
    return Plane(density, _risks(network, density), (masses * variance).sum((1, 2)) / NEURONS,
                 trained, (masses * grid.centres[..., 1]).sum((1, 2)))  # fmt: skip


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    def listed(t: Trained) -> dict[str, Any]:
        return {"dt_over_batch": t.noise, "risks": t.risks.tolist(), "errors": t.errors.tolist()}

    return {
        f"kappa_{kappa:g}": {
            "quantiles": _at_times(s).tolist(),
            "cells": s.cell_risks.tolist(),
            "excess": s.excess.tolist(),
            "sgd": [listed(t) for t in s.trained],
        }
        for kappa, s in results.starts.items()
    } | {
        "late": [part.tolist() for part in results.late],
        "rings": results.rings,
        "critical": {str(d): k for d, k in results.critical.items()},
        "escape": {str(d): [part.tolist() for part in e] for d, e in results.escape.items()},
        "plane": {"risks": results.plane.risks.tolist(), "excess": results.plane.excess.tolist(),
                  "sgd": listed(results.plane.trained), "useless": results.plane.useless.tolist()},
    }  # fmt: skip


def _at_times(start: Start) -> np.ndarray:
    """Risks by quantiles at TIMES."""
    return np.interp(TIMES, start.times, start.risks)


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    good, bad = results.starts[GOOD], results.starts[BAD]
    risk = dict(zip(TIMES, _at_times(good), strict=True))
    made = [
        at_least("errata 63: least slope of the activation as printed", _least_slope(PRINTED), 0),
        at_most("errata 63: and with its minus signs", _least_slope(ACTIVATION), -3),
        *(at_most(f"κ = .4: R({t}) by quantiles off {known}", abs(risk[t] - known), 1e-3)
          for t, known in RISKS.items()),
        at_most("κ = .4: finite volumes and quantiles, largest difference of risks",
                np.abs(good.cell_risks[1:] - _at_times(good)).max(), good.cells.grid.spacing[0]),
        at_most("errata 64: κ = .1 is the bad start: risk less 7.25 at t = .4, by quantiles",
                abs(bad.risks[-1] - 7.25), 1e-3),
        at_most("the same by finite volumes", abs(bad.cell_risks[-1] - 7.25),
                8 * bad.cells.grid.spacing[0]),
        *(_renamed(c, f"κ = {kappa:g}, finite volumes: ") for kappa, s in results.starts.items()
          for c in certified(pk.certify(s.cells).applicable)),
    ]  # fmt: skip
    return made + _of_rings(results) + _of_training(results) + _of_the_plane(results)


def _renamed(claim: Claim, prefix: str) -> Claim:
    from dataclasses import replace

    return replace(claim, name=prefix + claim.name)


def _least_slope(sigma: PiecewiseLinear) -> float:
    return float(sigma.slope(np.linspace(-1, 2, 61)).min())


def _of_rings(results: Results) -> list[Claim]:
    known = {"zero": 7.25, "bad": 7.985104, "good": 6.771420, "unstable": 0.196282621,
             "risk_unstable": 8.429488, "best": 2.087672528, "risk_best": 0.008296896}  # fmt: skip
    late, widths = results.late
    return [
        at_most("single rings: risks and radii at rest, largest difference from known ones",
                max(abs(results.rings[name] - value) for name, value in known.items()), 1e-6),
        at_most("κ = .4: risk at t = 4.8, 60 off .008295, .008235",
                max(abs(late[1] - 0.008295), abs(late[3] - 0.008235)), 2e-6),
        at_most("ring at t = 2.4, 24, 60 of width .0095, .0189, .0611: relative difference",
                np.abs(widths[[0, 2, 3]] / (0.0095, 0.0189, 0.0611) - 1).max(), 0.01),
        at_most("it is a saddle: risk at t = 100 over that at 60", late[4] / late[3], 0.5),
        *(at_most(f"d = {d}: κ where a third of the risk is lost, off {known}",
                  abs(results.critical[d] - known), 2e-3) for d, known in CRITICAL.items()),
        at_least("it grows with d, less r* stays above: least of both differences",
                 min(results.critical[320] - results.critical[40],
                     results.rings["unstable"] - results.critical[320]), 0.005),
    ]  # fmt: skip


def _of_training(results: Results) -> list[Claim]:
    good, bad = (results.starts[kappa] for kappa in (GOOD, BAD))
    noisy, quiet = good.trained
    off = np.abs(quiet.risks - _at_times(good) - good.excess)
    escaped, kept = bad.trained
    return [
        at_most("κ = .4: SGD off equation and finite N, t = .1, .2, .4", off.max(), 0.005,
                _by_noise(quiet)),
        at_most("without the term of finite N it is off by more: least of the differences, over",
                (off - np.abs(quiet.risks - _at_times(good))).min(), 0, _by_noise(quiet)),
        at_most("κ = .4, t = .1: four times dt/batch lowers the risk: by",
                noisy.risks[0] - quiet.risks[0], 0.0),
        at_most("κ = .1: SGD stays at 7.25: risk off, over √(dt/batch)",
                np.abs(kept.risks - 7.25).max() / kept.noise**0.5, 150),
        at_most("κ = .1: but with dt/batch = 7e-5 its noise lets it escape: risk at t = .4",
                escaped.risks[-1], 1),
        at_most("what the series of a network's risk leaves out",
                max(t.errors.max() for t in (noisy, quiet, escaped, kept)), 1e-3),
    ]  # fmt: skip


def _by_noise(trained: Trained) -> float:
    """What the noise of SGD may do to the risk, 15,000 dt/batch at most; at the full setting
    nothing is allowed for it."""
    return 15_000 * trained.noise if trained.noise > 3e-7 else 0.0


def _of_the_plane(results: Results) -> list[Claim]:
    plane = results.plane
    off = np.abs(plane.trained.risks - plane.risks[1:] - plane.excess[1:])
    return [
        at_most("two radii: SGD off equation and finite N", off.max(), 0.01,
                _by_noise(plane.trained) + plane.density.grid.spacing[0] / 2),
        at_most("two radii: the risk at t = .4", plane.risks[-1], 0.3),
        at_least("the radius in coordinates of no use grows too: at t = .4 over the start",
                 plane.useless[-1] / plane.useless[0], 1.5),
        *(_renamed(c, "two radii: ") for c in certified(pk.certify(plane.density).applicable)),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Risks, radii, the critical start, and the plane of two radii."""
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _risk_panel(axes[0, 0], results)
    _radius_panel(axes[0, 1], results.starts[GOOD])
    _escape_panel(axes[1, 0], results)
    _plane_panel(axes[1, 1], results.plane)
    return figure


def _risk_panel(ax: Any, results: Results) -> None:
    colours = ("tab:blue", "tab:orange")
    for (kappa, start), colour in zip(results.starts.items(), colours, strict=True):
        most, least = start.trained
        ax.plot(start.times, start.risks, color=colour, label=f"κ = {kappa:g}: quantiles")
        ax.plot((0, *TIMES), start.cell_risks, "x", ms=8, color=colour, label="finite volumes")
        ax.plot(least.times, least.risks, "o", ms=7, mfc="none", color=colour,
                label=f"SGD, dt/batch = {least.noise:.0e}")  # fmt: skip
        if kappa == BAD:
            ax.plot(most.times, most.risks, "v", ms=7, mfc="none", color=colour,
                    label=f"SGD, dt/batch = {most.noise:.0e}")  # fmt: skip
    good = results.starts[GOOD]
    ax.plot(TIMES, _at_times(good) + good.excess, "_", ms=16, mew=1.5, color="black",
            label=f"equation and N = {NEURONS}")  # fmt: skip
    ax.set(title="risk of a network and of its equation, d = 320", xlabel="time", ylabel="risk",
           yscale="log", yticks=(0.2, 0.5, 1, 2, 5))  # fmt: skip
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.legend(fontsize=8, frameon=False, loc="center right", bbox_to_anchor=(1, 0.66))


def _radius_panel(ax: Any, start: Start) -> None:
    r, u = start.cells.grid.axes[0], start.cells.u.values
    colours = ("tab:gray", "tab:blue", "tab:green", "tab:purple")
    for k, (t, colour) in enumerate(zip((0, *TIMES), colours, strict=True)):
        ax.plot(r, u[k], color=colour, label=f"t = {t:g}")
        if k:
            ax.hist(start.trained[-1].radii[k - 1, :, 0], bins=24, density=True, color=colour,
                    alpha=0.35)  # fmt: skip
    ax.set(title="radii |w|, κ = .4: finite volumes (lines), SGD (bars)", xlabel="radius",
           ylabel="density", xlim=(0.2, 1.9))  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def _escape_panel(ax: Any, results: Results) -> None:
    for (d, (kappa, risk)), style in zip(results.escape.items(), ("o-", "s-"), strict=True):
        ax.plot(kappa, risk, style, ms=4, label=f"d = {d}: critical κ = {results.critical[d]:.4f}")
    ax.axhline(_level(), color="black", lw=0.8, ls=":")
    ax.axvline(results.rings["unstable"], color="black", lw=0.8, ls="--", label="unstable ring r*")
    ax.set(title="risk at t = 3 over the start: no threshold", xlabel="κ", ylabel="risk")
    ax.legend(fontsize=8, frameon=False)


def _plane_panel(ax: Any, plane: Plane) -> None:
    grid = plane.density.grid
    radii, k = plane.trained.radii, len(PLANE_TIMES)
    ax.contourf(*grid.axes, plane.density.u.values[k].T, levels=12, cmap="Blues")
    ax.plot(*radii[k - 1, ::4].T, ".", ms=3, color="tab:red", label="SGD, every fourth neuron")
    ax.set(title=f"two radii at t = {PLANE_TIMES[-1]:g}: density, SGD", xlim=(0.3, 1.7),
           ylim=(0.2, 1.5), xlabel="radius in the 60 coordinates that differ",
           ylabel="in the 260 others")  # fmt: skip
    ax.text(0.03, 0.95, "\n".join(
        f"t = {t:g}: risk {a + b:.3f}, SGD {c:.3f}" for t, a, b, c in zip(
            PLANE_TIMES, plane.risks[1:], plane.excess[1:], plane.trained.risks, strict=True)),
        transform=ax.transAxes, va="top", fontsize=9)  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="lower left")
