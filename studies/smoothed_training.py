"""Do optimizers that smooth the loss find flatter minima, at equal numbers of gradients?

On a line, where the smoothed losses are known, and for a small network (thesis 4.6).

* The line: f(x) = x²/10 + cos 3x, from starts all over [-6, 6], exact gradients. HJ, EntropySGD and
  HEAT are said to descend the solution at time γ of the non-viscous and the viscous Hamilton-Jacobi
  equation (temperature T) and of the heat equation, each with f as initial datum. So their ends
  must be the minima of what ``pk.solve`` returns, and their mean step its derivative. HJ looks for
  a proximal point by descent: once γ > 1/8.8, where the characteristics of the equation cross, it
  finds the nearest one, and no longer descends the solution. SGLD is compared with its
  Fokker-Planck equation.
* The network: 64 pixels - 32 tanh units - 10 classes, 2,410 weights, on scikit-learn's digits,
  1,347 to train and 450 to test; f is the mean cross-entropy plus weight decay DECAY |θ|²/2,
  without which there is no minimum. Mini-batches of 64, the k-th gradient of a seed on the same
  batch for all, learning rates lowered to zero by a cosine (inner ones are not). Every optimizer
  runs at four rates, because the rate alone moves flatness; each is then taken where it is
  flattest, among the rates at which it trains. Measured at the end: f, the test error, the Gaussian
  gap v - f = E f(θ + σξ) - f(θ) at σ = 0.05 (v solves the heat equation), and of the Hessian the
  largest eigenvalue and the trace. HJ and EntropySGD at γ = ∞ are controls: nothing draws their
  inner steps back, so they descend no smoothed loss; they are SGD whose steps of unlowered length
  are averaged ("lookahead"). What they find too is not owed to the equation.

The networks of all seeds are trained side by side, as slices of the same four tensors: optimizers
that treat every weight alike do not notice. Restarts of NesterovRestart depend on all weights, so
there the seeds go one by one.
"""

import sys
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import sqrt
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks.digits import SIGMA, Make, load, look_round, one_thread, trained
from networks.intervals import interval

Array = np.ndarray

# the line
LOSS, GRID = pk.potentials.Rippled(), pk.Grid(-16, 16, 6400)
SPAN, TEMPERATURE, COLD = 6.0, 2.0, 0.3  # starts in [-SPAN, SPAN]; T of the smoothings, of SGLD
WIDTHS = (0.05, 0.1, 0.15, 0.2)  # γ of the noisy ones
LONG_WIDTHS = (0.1, 1.0, 2.0, 3.0)  # of HJ; the first is before the characteristics cross
QUICK = {"HJ": (0.1, 3.0), "EntropySGD": (0.1,), "HEAT": (0.1,)}
CROSSING = 1 / 8.8
ETA, INNER, SHARE = 0.01, 200, 0.99  # inner steps: length, number, share of the past in z
BIAS = 0.05  # allowed to EntropySGD, whose inner steps are of finite length and number

# the network
RATES = (0.4, 0.8, 1.6, 3.2)
TRAINED = 0.16  # largest mean f of what counts as trained

# Okabe and Ito's colours, for every kind of sight
COLOURS = {
    "SGD": "#000000",
    "EntropySGD": "#D55E00",
    "EntropySGD, γ = ∞": "#F3B28A",
    "HJ": "#0072B2",
    "HJ, γ = ∞": "#8FC4E8",
    "HEAT": "#009E73",
    "SGLD": "#CC79A7",
    "NesterovRestart": "#E69F00",
    "MaSS": "#7F6A00",
    "TrivializedSGD": "#999999",
}


@dataclass(frozen=True)
class Way:
    """An optimizer for the network at a rate, the length of its move per gradient."""

    make: Make
    together: bool = True  # whether it treats every weight alike, so that seeds may share tensors


def ways(gradients: int) -> dict[str, Way]:
    """Every optimizer by name; a new one is a row. γ = 10 rates: about as many inner steps."""
    o = pk.optim
    return {
        "SGD": Way(lambda p, eta, seed: torch.optim.SGD(p, lr=eta)),
        "EntropySGD": Way(
            lambda p, eta, seed: o.EntropySGD(
                p, 40 * eta, 40 * eta, 20, 1e-5, inner_lr=eta, alpha=0.75, seed=seed
            )
        ),
        "EntropySGD, γ = ∞": Way(
            lambda p, eta, seed: o.EntropySGD(
                p, 1e6, 1e6, 20, 1e-5, inner_lr=eta, alpha=0.75, seed=seed
            )
        ),
        "HJ": Way(lambda p, eta, seed: o.HJ(p, 10 * eta, 10 * eta, 5, inner_lr=eta)),
        "HJ, γ = ∞": Way(lambda p, eta, seed: o.HJ(p, 1e6, 1e6, 5, inner_lr=eta)),
        "HEAT": Way(
            lambda p, eta, seed: o.HEAT(p, 2 * eta, SIGMA**2, 4, antithetic=True, seed=seed)
        ),
        "SGLD": Way(lambda p, eta, seed: o.SGLD(p, eta, 1e-5, seed=seed)),
        "NesterovRestart": Way(lambda p, eta, seed: o.NesterovRestart(p, eta / 4), together=False),
        "MaSS": Way(lambda p, eta, seed: o.MaSS(p, eta / 10)),
        "TrivializedSGD": Way(
            lambda p, eta, seed: o.TrivializedSGD(p, eta, 1e-4, gradients / 4, seed=seed)
        ),
    }


def smoothings(T: float = TEMPERATURE) -> dict[str, tuple[Any, tuple[float, ...], Any]]:
    """Of the line: name -> (equation, times γ, optimizer of tensors at γ)."""
    o = pk.optim
    return {
        "HJ": (
            pk.HamiltonJacobi(),
            LONG_WIDTHS,
            lambda gamma, p: o.HJ(p, gamma, gamma, INNER, inner_lr=ETA),
        ),
        "EntropySGD": (
            pk.ViscousHJ(1 / T),
            WIDTHS,
            lambda gamma, p: o.EntropySGD(p, gamma, gamma, INNER, T, inner_lr=ETA, alpha=SHARE),
        ),
        "HEAT": (
            pk.Heat(1 / T),
            WIDTHS,
            lambda gamma, p: o.HEAT(p, gamma, gamma, 50, T, antithetic=True),
        ),
    }


def others(gradients: int) -> dict[str, Any]:
    """Of the line: those that descend f itself."""
    o = pk.optim
    return {
        "SGD": lambda p: torch.optim.SGD(p, 0.05),
        "SGLD": lambda p: o.SGLD(p, 0.005, COLD),
        "NesterovRestart": lambda p: o.NesterovRestart(p, 0.05),
        "MaSS": lambda p: o.MaSS(p, 0.05),
        "TrivializedSGD": lambda p: o.TrivializedSGD(p, 0.05, 1.0, gradients / 8, 3),
    }


@dataclass(frozen=True)
class Branch:
    """A smoothing at one time γ: minima of the equation's solution, ends of the optimizer."""

    name: str
    gamma: float
    minima: Array
    ends: Array


@dataclass(frozen=True)
class Drift:
    """The mean step over the learning rate at ``points``, its standard error, u' of the PDE."""

    name: str
    gamma: float
    points: Array
    step: Array
    error: Array
    slope: Array


@dataclass(frozen=True)
class Line:
    starts: Array
    gradients: int
    branches: list[Branch]
    drifts: list[Drift]
    ends: dict[str, Array]  # of the other optimizers
    sgld_share: float  # in the two lowest wells, by the Fokker-Planck equation


@dataclass(frozen=True)
class Network:
    """Of each optimizer ``(rates, seeds)`` of every quantity, and the gap's standard error."""

    gradients: int
    seeds: int
    rates: tuple[float, ...]
    measured: dict[str, dict[str, Array]]
    error_of_gap: float


@dataclass(frozen=True)
class Results:
    line: Line
    network: Network
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer gradients, seeds, rates.")] = False,
    gradients: Annotated[int | None, typer.Option(min=1, help="Gradients of the network.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Networks per optimizer and rate.")
    ] = None,
) -> Results:
    """Follow every optimizer to its end, on the line and in the network, and look round there."""
    with one_thread():
        line = on_the_line(9_000 if quick else 30_000, quick)
        network = of_the_network(gradients or (150 if quick else 2_000),
                                 seeds or (2 if quick else 10),
                                 (1.6,) if quick else RATES)  # fmt: skip
    return Results(line, network, _numbers(line, network))


# ------------------------------------------------------------------------------------- the line


def on_the_line(gradients: int, quick: bool) -> Line:
    count = 100 if quick else 200
    starts = (np.arange(count) + 0.5) / count * 2 * SPAN - SPAN
    branches, drifts = [], []
    for name, (equation, widths, make) in smoothings().items():
        for gamma in tqdm(QUICK[name] if quick else widths, desc=f"line, {name}"):
            u = smoothed(equation, gamma)
            ends, _ = descended(partial(make, gamma), starts, gradients)
            branches.append(Branch(name, gamma, inside(minima(u)), ends))
        drifts.append(drift(name, equation, make, 500 if quick else 3_000))
    ends = {}
    for name, single in tqdm(others(gradients).items(), desc="line, others"):
        if name == "NesterovRestart":  # restarts of all elements together would couple the starts
            each = [descended(single, np.array([x]), gradients)[0] for x in starts]
            ends[name] = np.concatenate(each)
        else:
            ends[name], time = descended(single, starts, gradients)
            if name == "SGLD":
                share = sgld_share(time)
    return Line(starts, gradients, branches, drifts, ends, share)


def smoothed(equation: Any, gamma: float) -> Array:
    """u(·, γ) of f on the grid; the viscous one as on the whole line."""
    viscous = isinstance(equation, pk.ViscousHJ)
    scheme = pk.schemes.ColeHopf(extend=True) if viscous else None
    return pk.solve(equation, GRID, LOSS, gamma, scheme).fields[-1]


def minima(u: Array) -> Array:
    """Local minima of values on the grid, by the parabola through three cells."""
    x, h = GRID.axes[0], GRID.spacing[0]
    k = np.flatnonzero((u[1:-1] < u[:-2]) & (u[1:-1] <= u[2:])) + 1
    left, right = u[k - 1] - u[k], u[k + 1] - u[k]
    return x[k] + h / 2 * (left - right) / (left + right)


def inside(points: Array) -> Array:
    return points[np.abs(points) < SPAN]


def descended(make: Any, starts: Array, gradients: int) -> tuple[Array, float]:
    """Where the optimizer ends, and the sum of its learning rates.

    They are kept for half of the gradients, then lowered to zero in a straight line. A descent that
    has come to rest is not continued: nothing would change.
    """
    x = torch.tensor(starts[:, None]).requires_grad_()
    used, time = 0, 0.0

    def closure() -> torch.Tensor:
        nonlocal used
        used += 1
        x.grad = LOSS.grad(x.detach())
        return LOSS(x.detach()).sum()

    optimizer = make([x])
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda _: max(0.0, min(1.0, 2 * (1 - used / gradients)))
    )
    while used < gradients:
        before, time = x.detach().clone(), time + optimizer.param_groups[0]["lr"]
        optimizer.step(closure)
        rate.step()
        if (x.detach() - before).abs().max() < 1e-13:
            break
    return x.detach().numpy()[:, 0], time


def drift(name: str, equation: Any, make: Any, replicas: int) -> Drift:
    """The mean first step from many points, as a slope."""
    gamma = LONG_WIDTHS[0] if name == "HJ" else WIDTHS[1]
    points = np.linspace(-SPAN, SPAN, 49)
    x = torch.tensor(np.repeat(points, replicas))[:, None].requires_grad_()

    def closure() -> float:
        x.grad = LOSS.grad(x.detach())
        return 0.0

    optimizer, before = make(gamma, [x]), x.detach().clone()
    optimizer.step(closure)
    # z keeps SHARE^INNER of x itself
    rate = gamma * (1 - SHARE**INNER if name == "EntropySGD" else 1)
    steps = ((before - x.detach()) / rate).numpy().reshape(-1, replicas)
    u = smoothed(equation, gamma)
    slope = np.interp(points, GRID.axes[0], np.gradient(u, GRID.spacing[0]))
    return Drift(name, gamma, points, steps.mean(1), steps.std(1) / sqrt(replicas), slope)


def lowest_wells() -> float:
    """f's two lowest wells are those at |x| below its first maximum beside 0."""
    tops = minima(-LOSS(GRID.centres))
    return float(tops[tops > 0.5].min())


def share(ends: Array) -> float:
    """Of ends in the two lowest wells of f."""
    return float((np.abs(ends) < lowest_wells()).mean())


def sgld_share(time: float) -> float:
    grid = pk.Grid(-10, 10, 2000)
    rho = pk.solve(pk.FokkerPlanck(LOSS, 1 / COLD), grid, pk.Uniform(-SPAN, SPAN), time).fields[-1]
    return float(grid.integrate(rho * (np.abs(grid.axes[0]) < lowest_wells())))


# ---------------------------------------------------------------------------------- the network


def of_the_network(gradients: int, seeds: int, rates: tuple[float, ...]) -> Network:
    data, every, measured = load(), list(range(seeds)), {}
    for name, way in tqdm(ways(gradients).items(), desc="network"):
        crowds = [every] if way.together else [[seed] for seed in every]
        rows = []
        for rate in rates:
            ends = [trained(way.make, rate, crowd, gradients, data) for crowd in crowds]
            rows.append(look_round([torch.cat(w) for w in zip(*ends, strict=True)], data))
        measured[name] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    error = max(float(m.pop("gap_error").max()) for m in measured.values())
    return Network(gradients, seeds, rates, measured, error)


def _flattest(network: Network, name: str) -> int | None:
    """The rate of the least mean gap among those that train."""
    found = network.measured[name]
    gap = found["gap"].mean(1)
    gap[~(found["training loss"].mean(1) <= TRAINED)] = np.inf
    return int(gap.argmin()) if np.isfinite(gap).any() else None


def _paired(network: Network, name: str, key: str) -> tuple[float, float] | None:
    """Mean over seeds of a quantity over SGD's, each at its flattest; half the 99 % interval."""
    own, plain = _flattest(network, name), _flattest(network, "SGD")
    if own is None or plain is None:
        return None
    ratio = network.measured[name][key][own] / network.measured["SGD"][key][plain]
    return interval(ratio, 0.99)


def _offsets(branch: Branch) -> list[dict[str, float]]:
    """Of each minimum: the ends nearest to it, how far off their mean is, and its error.

    A minimum may have a single end, so all tell how far ends are spread.
    """
    nearest = np.abs(branch.ends[:, None] - branch.minima).argmin(1)
    spread = float(np.std(branch.ends - branch.minima[nearest]))
    rows = []
    for k, at in enumerate(branch.minima):
        off = branch.ends[nearest == k] - at
        n = len(off)
        rows.append({"minimum": float(at), "ends": n, "offset": float(off.mean()) if n else 0.0,
                     "error": spread / sqrt(max(n, 1))})  # fmt: skip
    return rows


def _numbers(line: Line, network: Network) -> dict[str, Any]:
    return {
        "gradients_on_the_line": line.gradients,
        "ends": [
            {"optimizer": b.name, "gamma": b.gamma, "share": share(b.ends), "minima": _offsets(b)}
            for b in line.branches
        ],
        "share_of_starts": share(line.starts),
        "share": {name: share(ends) for name, ends in line.ends.items()},
        "sgld_share_by_fokker_planck": line.sgld_share,
        "network": {
            "gradients": network.gradients,
            "seeds": network.seeds,
            "rates": network.rates,
            "sigma": SIGMA,
            "error_of_gap": network.error_of_gap,
            "mean_and_half_95": {
                name: {k: [interval(row, 0.95) for row in v] for k, v in found.items()}
                for name, found in network.measured.items()
            },
            "flattest": {name: _flattest(network, name) for name in network.measured},
            "over_sgd_and_half_99": {
                name: {k: _paired(network, name, k) for k in found}
                for name, found in network.measured.items()
            },
        },
    }


def claims(results: Results) -> list[Claim]:
    """Where the smoothing optimizers end, and what a network keeps of it."""
    made = [claim for branch in results.line.branches for claim in _ends(branch)]
    made += [_drifts(d) for d in results.line.drifts]
    found = share(results.line.ends["SGLD"])
    wide = 4 * sqrt(0.25 / len(results.line.starts))
    made.append(
        at_most("SGLD: share in the lowest wells, off that of Fokker-Planck (4 standard errors)",
                abs(found - results.line.sgld_share), wide)
    )  # fmt: skip
    for name in ("SGD", "NesterovRestart", "MaSS"):
        steep = np.abs(LOSS.grad(results.line.ends[name][:, None])).max()
        made.append(at_most(f"{name} ends at rest: largest |f'|", steep, 1e-6))
    return made + _of_networks(results.network)


def _ends(branch: Branch) -> list[Claim]:
    """Of HJ beyond the crossing: that it does not see what the equation says."""
    title = f"{branch.name}, γ = {branch.gamma:g}: "
    if branch.name == "HJ":
        steep = np.abs(LOSS.grad(branch.ends[:, None])).max()
        made = [at_most(title + "ends at minima of f: largest |f'|", steep, 1e-6)]
        far = np.abs(branch.ends[:, None] - branch.minima).min(1) > 0.5
        if branch.gamma < CROSSING:
            made.append(at_most(title + "share of ends off the minima of u", far.mean(), 0))
        elif len(branch.minima) == 2:
            text = "u has two minima left, but ends elsewhere: share"
            made.append(at_least(title + text, far.mean(), 0.5))
        return made
    allowed = BIAS if branch.name == "EntropySGD" else 0.005
    off = max(abs(row["offset"]) - 4 * row["error"] for row in _offsets(branch))
    text = "largest distance of mean ends to the minima of the PDE, less 4 standard errors"
    return [at_most(title + text, off, allowed)]


def _drifts(d: Drift) -> Claim:
    """Root of the mean square, of which the part that is sampling error is taken away."""
    gap = np.mean((d.step - d.slope) ** 2) - np.mean(d.error**2)
    relative = sqrt(max(0.0, gap)) / np.sqrt(np.mean(d.slope**2))
    text = f"{d.name}, γ = {d.gamma:g}: mean step against u' of the PDE, relative difference"
    return at_most(text, relative, 0.08 if d.name == "EntropySGD" else 0.02)


def _of_networks(network: Network) -> list[Claim]:
    """What the expansion v - f = σ²/2 tr H says; of a full run also what held over its seeds."""
    measured = network.measured.values()
    ratios = np.array([m["gap"] / (SIGMA**2 / 2 * m["trace"]) for m in measured])
    made = [at_most("network: median of |gap / (σ²/2 tr H) - 1|", np.median(abs(ratios - 1)), 0.15)]
    if network.seeds < 10 or network.gradients < 2_000:
        return made
    for name in ("EntropySGD", "EntropySGD, γ = ∞", "HJ", "HJ, γ = ∞"):  # controls are flat too
        for key in ("gap", "largest eigenvalue"):
            mean, half = _paired(network, name, key) or (np.nan, np.nan)
            text = f"network: {key} of {name} over SGD's, each at its flattest, 99 % upper end"
            made.append(at_most(text, mean + half, 1))
    return made


def plot(results: Results) -> Figure:
    """Ends on the line beside the minima of the PDE; shares; flatness of a network."""
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    axes = figure.subplots(2, 3)
    titles = {
        "HJ": "HJ: Hamilton-Jacobi",
        "EntropySGD": "EntropySGD: viscous Hamilton-Jacobi",
        "HEAT": "HEAT: heat equation",
    }
    for ax, (name, title) in zip(axes[0], titles.items(), strict=True):
        _branches(ax, results.line, name)
        ax.set_title(title, fontsize=10, color=COLOURS[name])
    axes[0, 0].set_ylabel("x")
    _shares(axes[1, 0], results.line)
    n, gap = results.network, f"Gaussian gap v - f, σ = {SIGMA:g}"
    _plane(axes[1, 1], n, ("training loss", "gap"), ("training loss f", gap))
    _plane(axes[1, 2], n, ("gap", "test error"), (gap, "test error"))
    axes[1, 1].set_title(f"network, {n.gradients:,} gradients, {n.seeds} seeds", fontsize=10)
    axes[1, 2].legend(fontsize=7.5, frameon=False, loc="upper left")
    return figure


def _branches(ax: Any, line: Line, name: str) -> None:
    """Minima of the equation's solution in grey, ends as points, a little apart."""
    equation, widths, _ = smoothings()[name]
    for at in inside(minima(LOSS(GRID.centres))):
        ax.axhline(at, color="0.8", lw=0.8, zorder=0)
    for gamma in np.linspace(widths[0] / 2, widths[-1] * 1.1, 100):
        at = inside(minima(smoothed(equation, float(gamma))))
        ax.plot(np.full(len(at), gamma), at, "s", color="0.65", ms=2.5, zorder=1)
    draw = np.random.default_rng(0)
    for b in (b for b in line.branches if b.name == name):
        apart = draw.uniform(-0.012, 0.012, len(b.ends)) * widths[-1]
        ax.plot(b.gamma + apart, b.ends, ".", color=COLOURS[name], ms=3, alpha=0.6)
    ax.plot([], [], color="0.8", lw=0.8, label="minima of f")
    ax.plot([], [], "s", color="0.65", ms=4, label="minima of the solution at γ")
    ax.plot([], [], ".", color=COLOURS[name], label="ends")
    if name == "HJ":
        ax.axvline(CROSSING, color="0.4", ls=":", lw=1)
        ax.text(CROSSING + 0.03, 6.1, "characteristics cross", fontsize=7.5, color="0.4")
    ax.set(xlabel="γ", ylim=(-SPAN, SPAN + 3), yticks=np.arange(-6, 7, 2))
    ax.legend(fontsize=7.5, loc="upper left", frameon=False, ncols=2)


def _shares(ax: Any, line: Line) -> None:
    """Of every optimizer, in the two lowest wells of f."""
    rows = [(name, share(ends), name) for name, ends in line.ends.items()]
    rows += [(f"{b.name}, γ = {b.gamma:g}", share(b.ends), b.name) for b in line.branches]
    rows.reverse()
    for k, (_, value, name) in enumerate(rows):
        ax.plot([0, value], [k, k], color=COLOURS[name], lw=1.2)
        ax.plot(value, k, "o", color=COLOURS[name], ms=5)
    k = [label for label, *_ in rows].index("SGLD")
    ax.plot(line.sgld_share, k, "|", color="black", ms=12, label="by Fokker-Planck")
    ax.axvline(share(line.starts), color="0.5", ls=":", lw=1, label="of the starts")
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=8)
    ax.set(xlim=(0, 1.05), xlabel=f"share in the two lowest wells, {line.gradients:,} gradients")
    ax.legend(fontsize=7.5, frameon=False, loc="center right")


def _plane(ax: Any, network: Network, keys: tuple[str, str], labels: tuple[str, str]) -> None:
    """A curve through the rates that train, with 95 % intervals; of each the flattest filled."""
    limit = max(
        TRAINED, 1.5 * min(m["training loss"].mean(1).min() for m in network.measured.values())
    )
    for (name, found), marker in zip(network.measured.items(), cycle("osXDd^vP*h"), strict=False):
        rows = np.flatnonzero(found["training loss"].mean(1) <= limit)
        if not len(rows):
            continue
        ends = [np.transpose([interval(found[q][k], 0.95) for k in rows]) for q in keys]
        (x, dx), (y, dy) = ends
        colour = COLOURS.get(name)
        ax.errorbar(x, y, dy, dx, color=colour, lw=1, elinewidth=0.6)
        filled = [colour if k == _flattest(network, name) else "white" for k in rows]
        ax.scatter(x, y, 30, filled, marker=marker, edgecolors=colour, zorder=3)
        ax.scatter([], [], 30, colour, marker=marker, label=name)
    ax.set(xlabel=labels[0], ylabel=labels[1])
