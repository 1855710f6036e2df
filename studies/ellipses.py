"""Do HOM-SGLD's networks behave better than SGLD's where there are no data (Kantas et al. 6.2)?

Two classes in [-1, 1] x [-2, 2]: the ellipse (x/0.5)² + y² <= 1 and the rest, 500 points of each.
Residual networks of 128 layers, h = 0.05, tanh, 774 = 128 x 6 + 6 weights: Verlet's scheme, and
explicit Euler's. Cross-entropy, 100 epochs. The paper shows one network of each kind and says: both
algorithms are alike in loss and accuracy where there are data; outside, HOM-SGLD's solution is
better behaved, so that it "may be more robust"; with Euler's scheme HOM-SGLD "no longer performs as
well as before (other algorithms are even worse)". Here, over 10 seeds:

* alike inside, yes: errors of 2.3 and 1.6 %, cross-entropies of 0.064 and 0.044;
* outside both are wrong on a large part of the plane, SGLD on 20 ± 4 %, HOM-SGLD on 28 ± 10 % (95 %
  intervals): that HOM-SGLD is more robust does not hold. SGLD's error less its is -8 ± 11 points;
* with Euler's scheme 27 ± 4 and 30 ± 1 %: it costs SGLD 6 ± 6 points, HOM-SGLD 2 ± 10, and
  HOM-SGLD is not the better one (-4 ± 4). There no training can help: layers with h |K_j| < 1,
  as all are, map the plane onto itself one-to-one, so that the side of a straight line comes from
  a region that is connected and unbounded. A bridge leads from the ellipse out of the box.
  Verlet's second variable allows an island.


Outside is the plane between that box and three times it, where all belongs to the rest; the error
there is the share of its area that is called ellipse. Not printed in the paper, and chosen here:
batches of 100, standard normal starts, 12 settings for each algorithm and scheme, the best on two
other seeds by the loss on fresh points inside; HOM-SGLD (errata 18, 76) with M = 10, m' = 1, Δ = γ,
so that it takes a tenth as many steps for as many gradients. Points, start and batches of a seed
are the same for both algorithms and both schemes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy import stats
from tqdm import tqdm

from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks.residual import WEIGHTS, Flow, drawn, euler, losses, scores, slopes, stretch, verlet

Array = np.ndarray
Tensor = torch.Tensor

BOX, OUTER = (1.0, 2.0), 3.0  # half widths of the box of the data; how many times it is looked at
POINTS, BATCH, EPOCHS = 500, 100, 100  # points of each class
CELLS = 96  # an axis, of maps
INSIDE = 0.15  # chance is 0.5
INNER = 10  # inner steps of HOM-SGLD, M; m' = 1
FLOWS = {"Verlet": verlet, "Euler": euler}
# equal budgets of tuning: 12 settings each
SGLD_SETTINGS = tuple(product((1.0, 3.0, 10.0, 30.0), (1e4, 1e5, 1e6)))  # (rate, β)
HOM_SETTINGS = tuple(product((3.0, 10.0, 30.0), (30.0, 100.0), (1e4, 1e5)))  # (inner rate, γ, β)


# ---- data ----------------------------------------------------------------------------------------


def inside(x: Array) -> Array:
    """Whether (x/0.5)² + y² <= 1; x ``(..., 2)``."""
    return (x[..., 0] / 0.5) ** 2 + x[..., 1] ** 2 <= 1


@dataclass(frozen=True)
class Points:
    """Of every run: x ``(runs, 2, points)`` and classes ``(runs, points)``, 1 in the ellipse."""

    x: Tensor
    classes: Tensor

    def of(self, index: Tensor) -> "Points":
        """The points of these numbers, ``(runs, n)``."""
        both = index[:, None].expand(-1, 2, -1)
        return Points(self.x.gather(2, both), self.classes.gather(1, index))


def sampled(seeds: list[int], count: int, stream: int) -> Points:
    """So many points of each class, uniform in the box; of a seed the same in any company."""

    def one(seed: int) -> Array:
        draw = np.random.default_rng([seed, stream]).uniform(-1, 1, (20 * count, 2)) * BOX
        within = inside(draw)
        return np.concatenate([draw[within][:count], draw[~within][:count]])

    x = np.stack([one(seed) for seed in seeds])
    return Points(torch.tensor(x.swapaxes(1, 2)).float(), torch.tensor(inside(x)).long())


def batches(seeds: list[int], points: int) -> Iterator[Tensor]:
    """Numbers of points ``(runs, BATCH)``, epoch after epoch."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        order = torch.stack([torch.randperm(points, generator=draw) for draw in draws])
        yield from order.split(BATCH, 1)


# ---- algorithms, many runs at a time -------------------------------------------------------------


class SGLD:
    """x⁺ = x - η ∇f_b(x) + √(2η/β) ξ; settings ``(runs, 2)`` of η and β."""

    def __init__(self, x: Tensor, settings: Tensor) -> None:
        self.x, (self.rate, self.beta) = x, settings.T[..., None]

    @property
    def place(self) -> Tensor:
        """Where the next gradient is wanted."""
        return self.x

    def move(self, slope: Tensor, normals: Tensor) -> None:
        self.x = self.x - self.rate * slope + (2 * self.rate / self.beta) ** 0.5 * normals


class HomSGLD:
    """Algorithm 1 of Kantas et al., corrected (mathematics 1.10), without interaction.

    M times y⁺ = y - δ (∇f_b(y) + (y - x)/γ) + √(2δ/β) ξ, going on from the last y; then x becomes
    the mean of these y, Δ = γ. Settings ``(runs, 3)`` of δ, γ and β.
    """

    def __init__(self, x: Tensor, settings: Tensor) -> None:
        self.x, self.y, self.total, self.steps = x, x, torch.zeros_like(x), 0
        self.rate, self.gamma, self.beta = settings.T[..., None]

    @property
    def place(self) -> Tensor:
        """Where the next gradient is wanted."""
        return self.y

    def move(self, slope: Tensor, normals: Tensor) -> None:
        drift = slope + (self.y - self.x) / self.gamma
        self.y = self.y - self.rate * drift + (2 * self.rate / self.beta) ** 0.5 * normals
        self.total, self.steps = self.total + self.y, self.steps + 1
        if self.steps % INNER == 0:
            self.x, self.total = self.total / INNER, torch.zeros_like(self.x)


ALGORITHMS = {"SGLD": (SGLD, SGLD_SETTINGS), "HOM-SGLD": (HomSGLD, HOM_SETTINGS)}
Chosen = dict[str, list[tuple[int, tuple[float, ...]]]]  # algorithm -> (seed, setting) of each run


def trained(flow: Flow, runs: Chosen, gradients: int, bar: Any) -> dict[str, Tensor]:
    """Weights of all runs after so many gradients each, on equal batches for equal seeds."""
    seeds = [seed for each in runs.values() for seed, _ in each]
    data, order = sampled(seeds, POINTS, 1), batches(seeds, 2 * POINTS)
    motions = {}
    for name, each in runs.items():
        settings = torch.tensor([setting for _, setting in each])
        motions[name] = ALGORITHMS[name][0](drawn([seed for seed, _ in each]), settings)
    noise = torch.Generator().manual_seed(seeds[0])
    for _ in range(gradients):
        batch = data.of(next(order))
        places = torch.cat([motion.place for motion in motions.values()])
        slope = slopes(flow, places, batch.x, batch.classes)
        parts = slope.split([len(each) for each in runs.values()])
        for motion, part in zip(motions.values(), parts, strict=True):
            motion.move(part, torch.randn(part.shape, generator=noise))
        bar.update()
    return {name: motion.x for name, motion in motions.items()}


def tuned(flow: Flow, seeds: list[int], settings: int, gradients: int, bar: Any) -> dict[str, Any]:
    """Of each algorithm the setting of least mean loss on fresh points in the box."""
    grids = {name: grid[:: -(-len(grid) // settings)] for name, (_, grid) in ALGORITHMS.items()}
    runs = {name: [(s, setting) for setting in grid for s in seeds] for name, grid in grids.items()}
    found = trained(flow, runs, gradients, bar)
    best = {}
    for name, theta in found.items():
        fresh = sampled([seed for seed, _ in runs[name]], POINTS, 2)
        with torch.no_grad():
            loss = losses(flow, theta, fresh.x, fresh.classes).reshape(-1, len(seeds)).mean(1)
        best[name] = grids[name][int(loss.nan_to_num(np.inf).argmin())]
    return best


# ---- what is measured ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    """Of every seed: losses and errors at the end, and the map of probabilities of class 1."""

    setting: tuple[float, ...]
    loss: Array  # in the box, on fresh points
    inside: Array  # errors there
    outside: Array  # share of the plane between the box and OUTER times it that is called class 1
    maps: Array  # (seeds, cells, cells)
    stretch: Array  # largest h |K_j|


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    ends: dict[tuple[str, str], Ends]  # by flow and algorithm
    numbers: dict[str, Any]


def lattice(cells: int) -> tuple[Array, Array]:
    """Both axes of the middles of cells of OUTER times the box."""
    middles = (np.arange(cells) + 0.5) / cells * 2 - 1
    return OUTER * BOX[0] * middles, OUTER * BOX[1] * middles


def ends(flow: Flow, theta: Tensor, setting: tuple[float, ...], seeds: list[int]) -> Ends:
    """Measure networks, one for each seed."""
    fresh = sampled(seeds, 4 * POINTS, 3)
    plane = np.stack(np.meshgrid(*lattice(CELLS), indexing="ij"), -1)
    x = torch.tensor(plane.reshape(1, -1, 2).swapaxes(1, 2)).float().expand(len(seeds), -1, -1)
    with torch.no_grad():
        loss = losses(flow, theta, fresh.x, fresh.classes)
        wrong = scores(flow, theta, fresh.x).argmax(1) != fresh.classes
        maps = scores(flow, theta, x).softmax(1)[:, 1].reshape(-1, CELLS, CELLS).double().numpy()
    beyond = (abs(plane) > BOX).any(-1)
    return Ends(setting, loss.double().numpy(), wrong.double().mean(1).numpy(),
                (maps[:, beyond] > 0.5).mean(1), maps, stretch(theta).double().numpy())  # fmt: skip


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Few gradients, settings, seeds.")] = False,
    gradients: Annotated[int | None, typer.Option(min=INNER, help="Gradients of a run.")] = None,
    runs: Annotated[int | None, typer.Option(min=2, help="Seeds of each case.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first of all seeds.")] = 0,
) -> Results:
    """Tune on some seeds, then train and measure on others."""
    gradients = gradients or (500 if quick else EPOCHS * 2 * POINTS // BATCH)
    count, tuning, settings = runs or (3 if quick else 10), 1 if quick else 2, 2 if quick else 12
    seeds = list(range(seed, seed + count))
    found = {}
    with tqdm(total=2 * len(FLOWS) * gradients, desc="ellipses", unit="gradient") as bar:
        for name, flow in FLOWS.items():
            before = [10_000 + seed + k for k in range(tuning)]
            best = tuned(flow, before, settings, gradients, bar)
            chosen = {a: [(s, setting) for s in seeds] for a, setting in best.items()}
            for algorithm, theta in trained(flow, chosen, gradients, bar).items():
                found[name, algorithm] = ends(flow, theta, best[algorithm], seeds)
    results = Results(found, {"weights": WEIGHTS, "gradients": gradients})
    results.numbers.update(_numbers(results))
    return results


# ---- what is claimed -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the half width of its 95 % interval (Student)."""

    mean: float
    half: float
    p_value: float  # of a mean of zero


def interval(x: Array) -> Interval:
    """Of values over seeds."""
    error = x.std(ddof=1) / x.size**0.5
    half, p = stats.t.isf(0.025, x.size - 1) * error, stats.ttest_1samp(x, 0.0).pvalue
    return Interval(float(x.mean()), float(half), float(p))


def gain(results: Results, flow: str, what: str) -> Interval:
    """SGLD less HOM-SGLD, seed by seed: the same data, start and batches."""
    plain, hom = (getattr(results.ends[flow, a], what) for a in ALGORITHMS)
    return interval(plain - hom)


def cost_of_euler(results: Results, algorithm: str, what: str) -> Interval:
    """Euler less Verlet, seed by seed."""
    rough, fine = (getattr(results.ends[f, algorithm], what) for f in ("Euler", "Verlet"))
    return interval(rough - fine)


def _numbers(results: Results) -> dict[str, Any]:
    cases = {
        f"{flow}, {algorithm}": {
            "setting": list(case.setting),
            **{
                what: [interval(values).mean, interval(values).half, *values.tolist()]
                for what in ("loss", "inside", "outside", "stretch")
                for values in [getattr(case, what)]
            },
        }
        for (flow, algorithm), case in results.ends.items()
    }
    gains = {f"{f}, {what}": vars(gain(results, f, what))
             for f in FLOWS for what in ("loss", "inside", "outside")}  # fmt: skip
    costs = {f"{a}, {what}": vars(cost_of_euler(results, a, what))
             for a in ALGORITHMS for what in ("loss", "inside", "outside")}  # fmt: skip
    return {"cases": cases, "SGLD less HOM-SGLD": gains, "Euler less Verlet": costs}


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = [at_most("weights less 774 = 128 x 6 + 6", abs(results.numbers["weights"] - 774), 0)]
    for (flow, algorithm), case in results.ends.items():
        name = f"{flow}, {algorithm}"
        made += [
            at_most(f"{name}: mean error inside", case.inside.mean(), INSIDE),
            at_least(f"{name}: mean error outside", case.outside.mean(), 0.1),
        ]  # fmt: skip
    for flow in FLOWS:
        inside, outside = gain(results, flow, "inside"), gain(results, flow, "outside")
        made += [
            at_most(f"{flow}: SGLD less HOM-SGLD inside, size beyond its 95 % interval",
                    abs(inside.mean) - inside.half, 0.01),
            at_most(f"{flow}: SGLD less HOM-SGLD outside, lower end of its 95 % interval",
                    outside.mean - outside.half, 0),
        ]  # fmt: skip
    most = max(results.ends["Euler", a].stretch.max() for a in ALGORITHMS)
    return [*made, at_most("Euler's layers are one-to-one: largest h |K_j|", most, 1)]


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """The median network of each case, by its error outside; and the errors of all seeds."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, flow in zip(axes, FLOWS, strict=True):
        for ax, algorithm in zip(row, ALGORITHMS, strict=False):
            image = _map_panel(ax, results.ends[flow, algorithm], f"{flow}, {algorithm}")
    figure.colorbar(image, ax=axes[1, :2], label="probability of the ellipse", shrink=0.5,
                    location="bottom")  # fmt: skip
    _errors_panel(axes[0, 2], results, "inside")
    _errors_panel(axes[1, 2], results, "outside")
    return figure


def _map_panel(ax: Any, case: Ends, title: str) -> Any:
    median = int(case.outside.argsort()[case.outside.size // 2])
    x, y = lattice(CELLS)
    image = ax.pcolormesh(x, y, case.maps[median].T, cmap="cividis", vmin=0, vmax=1,
                          rasterized=True)  # fmt: skip
    angle = np.linspace(0, 2 * np.pi, 100)
    ax.plot(0.5 * np.cos(angle), np.sin(angle), color="white", lw=1)
    ax.plot(BOX[0] * np.array([-1, 1, 1, -1, -1]), BOX[1] * np.array([-1, -1, 1, 1, -1]), "--",
            color="white", lw=1)  # fmt: skip
    ax.set(title=f"{title}: {case.outside[median]:.0%} wrong outside", xlabel="x", ylabel="y")
    ax.title.set_fontsize(10)
    return image


def _errors_panel(ax: Any, results: Results, what: str) -> None:
    for k, ((_, algorithm), case) in enumerate(results.ends.items()):
        values, colour = getattr(case, what), "#E69F00" if algorithm == "SGLD" else "#0072B2"
        found = interval(values)
        ax.plot(np.full(values.size, k - 0.15), values, "o", ms=4, mfc="none", color=colour)
        ax.errorbar(k + 0.15, found.mean, found.half, fmt="s", ms=5, color=colour)
    ax.set_xticks(range(len(results.ends)), ["\n".join(case) for case in results.ends], fontsize=8)
    ax.set(title=f"errors {what}: seeds, mean, 95 %", ylim=(0, None))
    ax.title.set_fontsize(10)
