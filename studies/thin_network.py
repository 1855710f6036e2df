"""Does a random field help a thin deep network to learn? If it starts too small; not from He's.

Thesis section 2.4.3: 16 hidden layers of 128 ReLUs, trained by Adam, and by Adam in a fixed random
field h that fades (Trivialized-SGD). In small, on scikit-learn's digits:

* holds: as torch starts such layers, gradients vanish on the way to the first one, and the decay
  of 1e-5 is stronger than they are: Adam shrinks all weights to nothing and learns nothing, in the
  field it learns; and the least gradient of a layer is larger by orders while the field is on;
* holds: the weights align with the fixed field (figure 2.4) and stay so when it is gone, tens
  to hundreds of times as closely as a random direction would; with noise redrawn in every step they
  do not, and from that start it drowns the gradients for good;
* fails: that it is the landscape which gets simpler. Adam's steps have one size however weak h
  is: it carries each weight the same way along -h until the matrices have the size of He's start,
  from which Adam learns by itself. There the field slows it down (gradients are larger, since the
  loss is), saves no errors, and is not better than redrawn noise, as it is in table 2.1;
* not decided: gains of the thesis' size (2.48 % of errors for 2.92 %; table 2.1: 7.95 % for 8.16 by
  redrawn noise and 8.42 without) are below the intervals here.

Everyone has the same weights to start with, batches (64 examples) and steps, learning rates that
fall by a cosine, and its own best of five, chosen by the loss on held-out data. J = 1e-3 is the
thesis'; τ₀ is a sixth of the training, so that the field is zero from 0.58 of it on. "No decay" is
Adam without the decay. Cosines of weights and h, over all 257,290 weights, lie between 0.0016, the
mean of a random direction, and the bound 1 (errata 57). Intervals hold together (Bonferroni); they
are over seeds, of one division into training and test data (450 examples).

Thesis Algorithm 1 with errata 54.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import pi, sqrt
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from tqdm import tqdm

from pdekit import optim
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks.digits import Digits, batches, cosine, held_out, load, one_thread
from networks.intervals import interval

Array = np.ndarray
Weights = list[torch.Tensor]  # matrices and shifts of every layer in turn, the networks in front

HIDDEN, WIDTH = 16, 128
SHAPES = ((64, WIDTH), *[(WIDTH, WIDTH)] * (HIDDEN - 1), (WIDTH, 10))
LAYERS = len(SHAPES)
SIZE = sum((rows + 1) * columns for rows, columns in SHAPES)  # weights of a network
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
STEPS, TUNERS, TUNING = 400, 2, 1_000  # of each training; networks to tune by, from this seed on
DECAY = 1e-5  # of the thesis, a part of the slope that Adam sees
TAU = 6  # times τ₀ that a training takes
MARKS = 25
LEVEL = 0.95
MANY = 5  # networks, from which on intervals are claimed
CHANCE = sqrt(2 / (pi * SIZE))  # mean |cos| of a random direction


@dataclass(frozen=True)
class Way:
    """How a network is trained: its start, the field's strength J, and whether it is redrawn."""

    start: str
    coupling: float = 0.0
    resampled: bool = False
    decay: float = DECAY

    @property
    def name(self) -> str:
        if not self.coupling:
            return "Adam" if self.decay else "Adam, no decay"
        return f"{'resampled' if self.resampled else 'fixed'}, J = {self.coupling:g}"


THESIS = 1e-3
STRENGTHS = (1e-5, 1e-4, THESIS)
WAYS = (
    Way("torch"), Way("torch", decay=0.0),
    *(Way("torch", J) for J in STRENGTHS), *(Way("torch", J, True) for J in STRENGTHS[::2]),
    Way("He"), *(Way("He", J) for J in STRENGTHS[::2]), Way("He", THESIS, True),
)  # fmt: skip


@dataclass(frozen=True)
class Course:
    """What is seen of each network on the way: ``(marks, networks)``."""

    steps: Array  # (marks,)
    loss: Array  # of the batches since the mark before
    slope: Array  # least over layers of the root mean square of ∇f on the batch
    shrinks: Array  # that of the first layer over that of the last
    cosine: Array  # of the weights with the field of that step
    weight: Array  # root mean square of a weight between hidden layers, over He's


@dataclass(frozen=True)
class Row:
    way: Way
    rate: float
    course: Course
    error: Array  # test error of each network
    training: Array  # its mean loss on the training data


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    rows: list[Row]
    steps: int
    numbers: dict[str, Any]

    def row(self, way: Way) -> Row:
        return next(row for row in self.rows if row.way == way)


# ---- the network ---------------------------------------------------------------------------------


def torchs(rows: int, columns: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """As torch and the Torch of the thesis draw a layer: uniform, of variance 1/(3 rows)."""
    both = [2 * torch.rand(s, generator=draw) - 1 for s in ((rows, columns), (columns,))]
    return both[0] / sqrt(rows), both[1] / sqrt(rows)


def he(rows: int, columns: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """He et al. (2015): normal, of variance 2/rows, which ReLUs keep from layer to layer."""
    return torch.randn(rows, columns, generator=draw) * sqrt(2 / rows), torch.zeros(columns)


STARTS: dict[str, Callable[..., Any]] = {"torch": torchs, "He": he}


def drawn(start: str, seeds: list[int]) -> Weights:
    def one(seed: int) -> Weights:
        draw = torch.Generator().manual_seed(seed)
        return [w for shape in SHAPES for w in STARTS[start](*shape, draw)]

    return [torch.stack(w).requires_grad_() for w in zip(*map(one, seeds), strict=True)]


def scores(weights: Weights, images: torch.Tensor) -> torch.Tensor:
    """``(networks, images, classes)`` of pixels scaled to [-1, 1]."""
    x = (2 * images - 1).expand(len(weights[0]), -1, -1)
    for matrix, shift in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.relu(torch.baddbmm(shift[:, None], x, matrix))
    return torch.baddbmm(weights[-1][:, None], x, weights[-2])


def losses(weights: Weights, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each network."""
    z = scores(weights, images).transpose(1, 2)
    entropy = torch.nn.functional.cross_entropy(z, classes.expand(len(z), -1), reduction="none")
    return entropy.mean(1)


# ---- training ------------------------------------------------------------------------------------


def adam(weights: Weights, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, rate, weight_decay=decay, fused=True)


def optimizer_of(weights: Weights, way: Way, rate: float, steps: int) -> optim.TrivializedSGD:
    """Annealed by τ₀ = ``steps / TAU``."""
    return optim.TrivializedSGD(
        weights, None, way.coupling, steps / TAU, LAYERS, seed=0,
        base=lambda stand_ins: adam(stand_ins, rate, way.decay),
    )  # fmt: skip


def trained(
    way: Way, rate: float, seeds: list[int], steps: int, data: Digits
) -> Iterator[tuple[int, Weights, torch.Tensor, int]]:
    """After each step: its number, the weights with their slopes, losses, seed of the field."""
    weights = drawn(way.start, seeds)
    optimizer = optimizer_of(weights, way, rate, steps)
    group, order = optimizer.param_groups[0], torch.arange(len(data.images))
    fall = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / steps))
    draws = batches(seeds, order.expand(len(seeds), -1))
    for step in range(steps):
        group["seed"] = step if way.resampled else 0
        batch = next(draws)
        optimizer.zero_grad()
        loss = losses(weights, data.images[batch], data.classes[batch])
        loss.sum().backward()
        optimizer.step()
        fall.step()
        yield step, weights, loss.detach(), group["seed"]


def field(weights: Weights, seed: int) -> torch.Tensor:
    """A multiple of h, ``(networks, SIZE)``: where a step leads from zero along no slope."""
    flat = [torch.zeros_like(w).requires_grad_() for w in weights]
    for w in flat:
        w.grad = torch.zeros_like(w)
    optim.TrivializedSGD(flat, 1.0, 1.0, layers=LAYERS, seed=seed).step()
    return -joined(flat)


def joined(weights: Weights) -> torch.Tensor:
    return torch.cat([w.detach().flatten(1) for w in weights], 1)


def seen(weights: Weights, seed: int) -> tuple[torch.Tensor, ...]:
    """Slope, its shrinking, cosine with the field and size of weights, of each network."""
    size = torch.stack([rms(w.grad) for w in weights[::2]])
    cos = torch.cosine_similarity(joined(weights), field(weights, seed), dim=1)
    hidden = torch.stack([rms(w.detach()) for w in weights[2:-2:2]]).square().mean(0).sqrt()
    return size.min(0).values, size[0] / size[-1], cos, hidden / sqrt(2 / WIDTH)


def rms(w: Any) -> torch.Tensor:
    return w.flatten(1).double().square().mean(1).sqrt()


def followed(
    way: Way, rate: float, seeds: list[int], steps: int, data: Digits
) -> tuple[Weights, Course]:
    every = max(1, steps // MARKS)
    marks, rows, since = [], [], []
    for step, weights, loss, seed in trained(way, rate, seeds, steps, data):
        since.append(loss)
        if (step + 1) % every == 0 or step == 0:
            rows.append((torch.stack(since).mean(0), *seen(weights, seed)))
            marks.append(step + 1)
            since = []
    columns = (torch.stack(c).double().numpy() for c in zip(*rows, strict=True))
    return [w.detach() for w in weights], Course(np.array(marks), *columns)


def chosen(way: Way, rates: tuple[float, ...], tuners: int, steps: int, data: Digits) -> float:
    """The rate of least mean loss on data held out."""
    part, seeds = held_out(data), [TUNING + k for k in range(tuners)]

    def loss(rate: float) -> float:
        *_, (_, weights, _, _) = trained(way, rate, seeds, steps, part)
        with torch.no_grad():
            left = losses(weights, part.images_to_test, part.classes_to_test).mean()
        return float(left.nan_to_num(9e9, 9e9))

    return min(rates, key=loss)


def measured(
    way: Way, rates: tuple[float, ...], tuners: int, seeds: int, steps: int, data: Digits
) -> Row:
    rate = chosen(way, rates, tuners, steps, data) if len(rates) > 1 else rates[0]
    weights, course = followed(way, rate, list(range(seeds)), steps, data)
    with torch.no_grad():
        wrong = scores(weights, data.images_to_test).argmax(2) != data.classes_to_test
        training = losses(weights, data.images, data.classes)
    return Row(way, rate, course, wrong.double().mean(1).numpy(), training.double().numpy())


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer ways, steps, networks.")] = False,
    seeds: Annotated[int | None, typer.Option(min=2, help="Networks of each way.")] = None,
    steps: Annotated[int | None, typer.Option(min=60, help="Of each training.")] = None,
) -> Results:
    """Train the network from both starts, without field, in fixed ones, and in redrawn ones."""
    seeds, steps = seeds or (2 if quick else 6), steps or (240 if quick else STEPS)
    ways = [w for w in WAYS if w.decay and w.coupling in (0.0, THESIS)] if quick else WAYS
    rates = RATES[3:4] if quick else RATES
    data = load()
    with one_thread():
        rows = [measured(w, rates, TUNERS, seeds, steps, data) for w in tqdm(ways, "thin_network")]
    return Results(rows, steps, _numbers(rows))


# ---- what is claimed -----------------------------------------------------------------------------


def level(rows: list[Row]) -> float:
    """Of one interval, such that all differences to Adam hold together."""
    return 1 - (1 - LEVEL) / max(1, sum(row.way.coupling > 0 for row in rows))


def fading(row: Row) -> Array:
    """The marks at which the field of the thesis is on."""
    count, last = row.course.steps, row.course.steps[-1]
    share = 1 + (np.exp(-TAU * count / last) - 0.5) * (2 * LAYERS - 2) / (LAYERS - 2)
    return np.asarray(share > 0)


def slope(row: Row) -> Array:
    """Decadic logarithm of the least gradient of a layer, mean over the field's marks."""
    return np.log10(np.maximum(row.course.slope[fading(row)], 1e-45)).mean(0)


def early(row: Row) -> Array:
    """Loss of the batches while the field is on."""
    return np.asarray(row.course.loss[fading(row)].mean(0))


def aligned(row: Row) -> float:
    """Mean |cos| of weights and field at the end."""
    return float(np.abs(row.course.cosine[-1]).mean())


def _numbers(rows: list[Row]) -> dict[str, Any]:
    return {
        "weights": SIZE,
        "chance": CHANCE,
        "level_of_a_difference": level(rows),
        "rows": [
            {
                "start": row.way.start,
                "way": row.way.name,
                "rate": row.rate,
                "error": interval(row.error, LEVEL),
                "training": interval(row.training, LEVEL),
                "cosine": interval(row.course.cosine[-1], LEVEL),
                "weight_over_he": [row.course.weight[0].mean(), row.course.weight[-1].mean()],
                "first_over_last_slope": row.course.shrinks[0].mean(),
                "log10_slope_in_the_field": interval(slope(row), LEVEL),
                "loss_in_the_field": interval(early(row), LEVEL),
                "errors_less_adam": less(rows, row, errors),
                "errors_less_redrawn": redrawn(rows, row),
            }
            for row in rows
        ],
    }


def errors(row: Row) -> Array:
    return row.error


def redrawn(rows: list[Row], row: Row) -> tuple[float, float] | None:
    """Test error of a fixed field less that of noise as strong, and half its interval."""
    other = [r for r in rows if r.way == replace(row.way, resampled=True)]
    if row.way.resampled or not row.way.coupling or not other:
        return None
    return interval(row.error - other[0].error, level(rows))


def less(rows: list[Row], row: Row, what: Callable[[Row], Array]) -> tuple[float, float]:
    """What of the row less Adam's from the same start, by pairs, and half its interval."""
    base = next(r for r in rows if r.way == Way(row.way.start))
    return interval(what(row) - what(base), level(rows))


def claims(results: Results) -> list[Claim]:
    """By start and way; each number can fail its bound."""
    made = [
        at_most("torch's start: gradient of the first layer over that of the last",
                results.row(Way("torch")).course.shrinks[0].max(), 1e-4),
        at_least("He's start: gradient of the first layer over that of the last",
                 results.row(Way("He")).course.shrinks[0].min(), 0.03),
    ]  # fmt: skip
    for row in results.rows:
        made += (_of_torchs if row.way.start == "torch" else _of_hes)(results, row)
        made += _of_alignment(row)
    return made


def _of_torchs(results: Results, row: Row) -> list[Claim]:
    name = f"torch's start, {row.way.name}"
    if row.way.coupling and not row.way.resampled:
        made = [
            at_most(f"{name}: mean test error", row.error.mean(), 0.3),
            at_least(f"{name}: log10 of its least gradient over Adam's",
                     less(results.rows, row, slope)[0], 1.0),
            at_least(f"{name}: size of a weight at the end over He's",
                     row.course.weight[-1].mean(), 0.7),
        ]  # fmt: skip
        if row.error.size < MANY:
            return made
        made.append(at_most(f"{name}: test error less Adam's, upper end",
                            sum(less(results.rows, row, errors)), -0.5))  # fmt: skip
        if noise := redrawn(results.rows, row):
            text = f"{name}: test error less that of redrawn noise, upper end"
            made.append(at_most(text, sum(noise), -0.5))
        return made
    if row.way.decay:
        return [at_least(f"{name}: nothing learnt, mean test error", row.error.mean(), 0.8)]
    return [at_most(f"{name}: something learnt, mean test error", row.error.mean(), 0.6)]


def _of_hes(results: Results, row: Row) -> list[Claim]:
    name = f"He's start, {row.way.name}"
    made = [at_most(f"{name}: mean test error", row.error.mean(), 0.2)]
    if not row.way.coupling:
        return made
    made.append(at_least(f"{name}: test error less Adam's, upper end",
                         sum(less(results.rows, row, errors)), 0.0))  # fmt: skip
    if noise := redrawn(results.rows, row):
        text = f"{name}: test error less that of redrawn noise, upper end"
        made.append(at_least(text, sum(noise), 0.0))
    if row.way.coupling == THESIS and not row.way.resampled:
        mean, half = less(results.rows, row, early)
        made.append(at_least(f"{name}: loss in the field over Adam's", mean, 0.0))
        if row.error.size >= MANY:
            made.append(at_least(f"{name}: the same, lower end", mean - half, 0.0))
    return made


def _of_alignment(row: Row) -> list[Claim]:
    name = f"{row.way.start}'s start, {row.way.name}: |cos| of weights and field"
    if row.way.resampled or not row.way.coupling:
        return [at_most(f"{name}, over that of chance", aligned(row) / CHANCE, 4.0)]
    return [at_least(f"{name}, over that of chance", aligned(row) / CHANCE, 50.0)]


# ---- the figure ----------------------------------------------------------------------------------

FIXED, REDRAWN = "#0072B2", "#D55E00"
STYLES = {"torch": "-", "He": "--"}


def colour(way: Way) -> str:
    if not way.coupling:
        return "black" if way.decay else "0.55"
    return REDRAWN if way.resampled else FIXED


def plot(results: Results) -> Figure:
    """Losses, gradients and alignment on the way, without field and in the thesis'; all errors."""
    figure = Figure(figsize=(10.5, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    shown = [row for row in results.rows if row.way.coupling in (0.0, THESIS)]
    _course(axes[0, 0], shown, lambda c: c.loss)
    axes[0, 0].set(ylabel="loss of the batches", yscale="log", ylim=(1e-3, 6))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=9, frameon=False, ncols=4,
                  loc="outside upper center")  # fmt: skip
    _course(axes[0, 1], shown, lambda c: c.slope)
    axes[0, 1].set(ylabel="least gradient of a layer (r.m.s.)", yscale="log", ylim=(1e-12, 1))
    _course(axes[1, 0], shown, lambda c: np.abs(c.cosine))
    axes[1, 0].set(ylabel="|cos| of weights and field", yscale="log", ylim=(3e-4, 1.3))
    for height, text in ((1.0, "bound"), (CHANCE, "random direction")):
        axes[1, 0].axhline(height, color="0.5", lw=0.8, ls=":")
        axes[1, 0].text(1.01, height, text, fontsize=8, transform=axes[1, 0].get_yaxis_transform())
    _errors(axes[1, 1], results.rows)
    return figure


def _course(ax: Any, rows: list[Row], what: Callable[[Course], Array]) -> None:
    for row in rows:
        label = f"{row.way.start}'s start: {row.way.name}"
        ax.plot(row.course.steps, what(row.course).mean(1), STYLES[row.way.start],
                color=colour(row.way), lw=1.4, label=label)  # fmt: skip
    ax.set(xlabel="step")


def _errors(ax: Any, rows: list[Row]) -> None:
    for place, row in enumerate(reversed(rows)):
        mean, half = interval(100 * row.error, LEVEL)
        ax.errorbar(mean, place, xerr=[[min(half, 0.9 * mean)], [half]], fmt="o", ms=5, capsize=3,
                    color=colour(row.way), mfc=colour(row.way) if row.way.start == "torch"
                    else "white")  # fmt: skip
    ax.set_yticks(
        range(len(rows)), [f"{r.way.start}'s start: {r.way.name}" for r in reversed(rows)],
        fontsize=8,
    )  # fmt: skip
    ax.set(xscale="log", xlabel="test error, %, with 95 % intervals", xlim=(1, 100))
    ax.set_xticks((1, 2, 5, 10, 20, 50, 100))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
