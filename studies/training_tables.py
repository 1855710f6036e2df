"""Which optimizer trains a network best, at equal gradients and equal tuning?

The comparison of thesis chapters 3 to 5, on a small network (64 pixels - 32 tanh units - 10
classes, 2,410 weights) and scikit-learn's digits, with references of today: SAM (of
pytorch-optimizer; ρ = 0.05, two gradients a step) and schedule-free SGD (of schedulefree; momentum
0.9). Budgets are counted in *gradients* of mini-batches of 64, in which everybody is equal: an
optimizer with L inner steps, or with n replicas, makes as many steps fewer. Tuning is equal too:
each tries six learning rates, a factor of two apart, round its own good value; all else is fixed.
A rate is chosen by the mean loss of five networks on a fifth of the training data, held out from
them; other seeds then train on all 1,347 examples, from the same weights for every optimizer, on
the same batches in the same order (SAM takes each twice). Learning rates fall to zero by a cosine,
but not that of the schedule-free one. Of the papers' optimizers none has momentum, but Adam's
within Entropy-Adam. Differences to SGD are paired by seeds and their intervals hold together
(Bonferroni): whose interval contains 0 is not told apart from SGD. They are over seeds, of one
division into training and test data (450 examples).

``--data DIR`` reruns instead what the thesis has in tables 3.1, 4.1, 5.1 and 5.2 at full size, on
MNIST and CIFAR-10 in their original files in that folder (``networks.images``; one table with
``--table 4.1``), and compares with the printed errors. ``networks.recipes`` says what is done, and
where it departs from the thesis. It has never been run on these data here: they do not come with
pdekit.

Peers are optional, ``pip install ".[optimizer-peers]"``; those absent are named and left out.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
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

import replicas
import smoothed_training
from networks import recipes
from networks.digits import (
    Digits,
    Make,
    Weights,
    cosine,
    drawn,
    held_out,
    load,
    losses,
    one_thread,
    scores,
    steps,
)
from networks.intervals import interval

Array = np.ndarray

RATES, TUNERS, TUNING = 6, 5, 1_000  # learning rates tried, by so many seeds, from this one on
BUDGETS = (250, 2_000)
MARKS = 40  # points of a curve
LEVEL = 0.95
REPLICAS = 3

# Okabe and Ito's colours, for every kind of sight
KINDS = {
    "#000000": ("SGD", "SGD, momentum", "Adam"),
    "#009E73": ("schedule-free SGD", "SAM"),
    "#0072B2": ("SGLD", "HEAT", "HJ", "Entropy-SGD", "Entropy-Adam"),
    "#D55E00": ("MF-HOM-SGLD", "Elastic-SGD", "Parle"),
}
PAPERS = KINDS["#0072B2"] + KINDS["#D55E00"]


@dataclass(frozen=True)
class Way:
    """An optimizer at a rate, the least that is tried, and how it is run."""

    make: Make
    least: float
    together: bool = True  # whether it treats every weight alike, so that seeds may share tensors
    schedule: Callable[[float], float] = cosine
    needs: str = ""  # the package it is of


def ways() -> dict[str, Way]:
    """Every optimizer by name; a new one is a row."""
    o, descents = pk.optim, smoothed_training.ways(1)
    return {
        "SGD": Way(descents["SGD"].make, 0.1),
        "SGD, momentum": Way(
            lambda p, eta, seed: torch.optim.SGD(p, eta, momentum=0.9, nesterov=True), 0.04
        ),
        "Adam": Way(lambda p, eta, seed: torch.optim.Adam(p, eta), 0.004),
        "schedule-free SGD": Way(schedule_free, 0.25, schedule=steady, needs="schedulefree"),
        "SAM": Way(sharpness_aware, 0.1, together=False, needs="pytorch_optimizer"),
        "SGLD": Way(descents["SGLD"].make, 0.1),
        "HEAT": Way(descents["HEAT"].make, 0.1),
        "HJ": Way(descents["HJ"].make, 0.1),
        "Entropy-SGD": Way(descents["EntropySGD"].make, 0.1),
        "Entropy-Adam": Way(entropy_adam, 0.004),
        "MF-HOM-SGLD": Way(
            lambda p, eta, seed: o.MFHomSGLD(
                p, 10 * eta, 10 * eta, 0.01 / eta, 5, 1, REPLICAS, 1e-5, inner_lr=eta, seed=seed
            ),
            0.1,
        ),
        "Elastic-SGD": Way(replicas.elastic(REPLICAS), 0.1),
        "Parle": Way(replicas.parle(REPLICAS), 0.1),
    }


def steady(_: float) -> float:
    return 1.0


def entropy_adam(p: Weights, eta: float, seed: int) -> torch.optim.Optimizer:
    """Adam along the slope of the local entropy (thesis section 3.3.5), L = 5."""
    return pk.optim.EntropySGD(
        p, None, 4.0, 5, 1e-5, inner_lr=0.4, alpha=0.75, seed=seed,
        base=lambda stand_ins: torch.optim.Adam(stand_ins, eta),
    )  # fmt: skip


def schedule_free(p: Weights, eta: float, seed: int) -> torch.optim.Optimizer:
    """Defazio et al. (2024), of the authors' package."""
    from schedulefree import SGDScheduleFree

    optimizer = SGDScheduleFree(p, eta)
    optimizer.train()
    return optimizer


def sharpness_aware(p: Weights, eta: float, seed: int) -> torch.optim.Optimizer:
    """Foret et al. (2021), round SGD; both gradients on one batch. It looks at all weights."""
    from pytorch_optimizer import SAM

    class Both(SAM):
        def step(self, closure: Any = None) -> Any:
            loss = closure()
            super().step(lambda: closure(again=True))
            return loss

    return Both(p, torch.optim.SGD, lr=eta)


def absent() -> list[str]:
    return [name for name, way in ways().items() if way.needs and find_spec(way.needs) is None]


@contextmanager
def at_rest(optimizer: Any) -> Iterator[None]:
    """While its parameters hold the answer, which a schedule-free one keeps elsewhere."""
    averaging = "train_mode" in optimizer.param_groups[0]
    if averaging:
        optimizer.eval()
    yield
    if averaging:
        optimizer.train()


# ------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Row:
    """What came of an optimizer with so many gradients: of each seed, and on the way there."""

    name: str
    gradients: int
    rate: float
    tried: tuple[float, ...]
    error: Array  # test error
    test: Array  # mean loss on the test data
    training: Array  # and on those to train
    curve: Array  # ``(marks, 2)``: gradients taken, mean training loss


@dataclass(frozen=True)
class Cell:
    """Of a table of the thesis: what is printed, and the test error in % of each seed."""

    title: str
    printed: float
    errors: Array


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    seeds: int
    numbers: dict[str, Any]
    cells: tuple[Cell, ...] = ()  # with --data, in place of rows


def followed(
    way: Way, rate: float, seeds: list[int], gradients: int, data: Digits
) -> tuple[Weights, Array]:
    """The networks at the end, and the mean training loss on the way."""
    crowds = [seeds] if way.together else [[seed] for seed in seeds]
    ends, curves = zip(*(one_crowd(way, rate, c, gradients, data) for c in crowds), strict=True)
    return [torch.cat(w) for w in zip(*ends, strict=True)], np.mean(curves, 0)


def one_crowd(
    way: Way, rate: float, seeds: list[int], gradients: int, data: Digits
) -> tuple[Weights, Array]:
    weights, curve, next_mark = drawn(seeds), [], 0
    for used, optimizer in steps(
        weights, way.make, rate, seeds, gradients, data, schedule=way.schedule
    ):
        if used >= next_mark or used >= gradients:
            with at_rest(optimizer), torch.no_grad():
                curve.append((used, float(losses(weights, data.images, data.classes).mean())))
                end = [w.detach().clone() for w in weights]
            next_mark += gradients / MARKS
    return end, np.array(curve)


def tried(way: Way, count: int) -> tuple[float, ...]:
    return tuple(way.least * 2**k for k in range(count))


def chosen(way: Way, rates: tuple[float, ...], seeds: int, gradients: int, data: Digits) -> float:
    """The rate of least mean loss on data held out."""
    part, tuners = held_out(data), [TUNING + k for k in range(seeds)]

    def loss(rate: float) -> float:
        found, _ = followed(way, rate, tuners, gradients, part)
        left = losses(found, part.images_to_test, part.classes_to_test).mean()
        return float(left.nan_to_num(9e9, 9e9))

    return min(rates, key=loss)


def measured(
    name: str, way: Way, rates: tuple[float, ...], tuners: int, seeds: int, gradients: int,
    data: Digits,
) -> Row:  # fmt: skip
    rate = chosen(way, rates, tuners, gradients, data)
    found, curve = followed(way, rate, list(range(seeds)), gradients, data)
    wrong = scores(found, data.images_to_test).argmax(2) != data.classes_to_test
    return Row(
        name, gradients, rate, rates, wrong.double().mean(1).numpy(),
        losses(found, data.images_to_test, data.classes_to_test).double().numpy(),
        losses(found, data.images, data.classes).double().numpy(), curve,
    )  # fmt: skip


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer gradients, seeds, rates.")] = False,
    seeds: Annotated[int | None, typer.Option(min=2, help="Networks of each optimizer.")] = None,
    gradients: Annotated[int | None, typer.Option(min=1, help="One budget, of so many.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of MNIST or CIFAR-10.")] = None,
    table: Annotated[str | None, typer.Option(help="3.1, 4.1, 5.1 or 5.2, with --data.")] = None,
    effort: Annotated[float, typer.Option(help="Share of the epochs, with --data.")] = 1.0,
    device: Annotated[str, typer.Option(help="Such as cuda, with --data.")] = "cpu",
) -> Results:
    """Tune every optimizer alike, train it, and compare it with SGD."""
    if data is not None:
        return at_full_size(data, table, seeds or 3, effort, device)
    missing, n = absent(), seeds or (3 if quick else 20)
    digits = load()
    if missing:
        print(f"absent: {', '.join(missing)}; pip install '.[optimizer-peers]'")
    there = {name: way for name, way in ways().items() if name not in missing}
    budgets = (gradients,) if gradients else (100,) if quick else BUDGETS
    rows = []
    with one_thread():
        for budget in budgets:
            for name, way in tqdm(there.items(), desc=f"{budget:,} gradients"):
                rates = tried(way, RATES)[3:5] if quick else tried(way, RATES)
                tuners = 2 if quick else TUNERS
                rows.append(measured(name, way, rates, tuners, n, budget, digits))
    return Results(rows, n, _numbers(rows, n, missing))


def at_full_size(
    folder: Path, table: str | None, seeds: int, effort: float, device: str
) -> Results:
    """The tables whose data are there."""
    cells, sets = [], recipes.sets_in(folder)
    for name, wanted in asked(table, sets).items():
        print(f"{name}: {len(wanted)} cells, {seeds} networks each")
        read = recipes.read(name, folder, device)
        for recipe in wanted:
            errors = [recipes.error_of(recipe, read, seed, effort) for seed in range(seeds)]
            cells.append(Cell(recipe.title, recipe.printed, np.array(errors)))
            mean, half = interval(cells[-1].errors, LEVEL)
            print(f"{recipe.title}: {mean:.2f} ± {half:.2f} %, printed {recipe.printed:g}")
    return Results([], seeds, {"cells": [vars(c) | {"errors": list(c.errors)} for c in cells],
                               "effort": effort, "seeds": seeds}, tuple(cells))  # fmt: skip


def asked(table: str | None, sets: dict[str, Exception | None]) -> dict[str, list[recipes.Recipe]]:
    """Recipes of each set; ``ValueError`` for an unknown table, or the reason why none can run."""
    every = recipes.recipes()
    known = sorted({r.table for r in every})
    if table not in (None, *known):
        raise ValueError(f"table must be one of {', '.join(known)}, got {table!r}")
    wanted = [r for r in every if table in (None, r.table)]
    there = {name: [r for r in wanted if recipes.SETS[r.network] == name] for name in sets}
    found = {name: rows for name, rows in there.items() if rows and sets[name] is None}
    if not found:
        reasons = "; ".join(f"{name}: {sets[name]}" for name, rows in there.items() if rows)
        raise FileNotFoundError(f"nothing to train on. {reasons}")
    return found


# ------------------------------------------------------------------------------------- the table


def level(rows: list[Row]) -> float:
    """Of one interval, such that all comparisons with SGD of a budget hold together."""
    others = len({r.name for r in rows}) - 1
    return 1 - (1 - LEVEL) / max(1, others)


def beside_sgd(rows: list[Row], row: Row, key: str) -> tuple[float, float]:
    """Mean difference to SGD of the same seeds, and half its interval."""
    base = next(r for r in rows if r.name == "SGD" and r.gradients == row.gradients)
    return interval(getattr(row, key) - getattr(base, key), level(rows))


def verdict(difference: tuple[float, float]) -> str:
    mean, half = difference
    return "less" if mean + half < 0 else "more" if mean - half > 0 else "not told apart"


def at_edge(row: Row) -> bool:
    """Whether a rate beyond those tried might have been better."""
    return row.rate in (row.tried[0], row.tried[-1])


QUANTITIES = ("error", "test", "training")


def _numbers(rows: list[Row], seeds: int, missing: list[str]) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "absent": missing,
        "level_of_an_interval": level(rows),
        "rows": [
            {
                "optimizer": r.name,
                "gradients": r.gradients,
                "taken": int(r.curve[-1, 0]),
                "rate": r.rate,
                "tried": r.tried,
                "mean_and_half_95": {q: interval(getattr(r, q), LEVEL) for q in QUANTITIES},
                "less_sgd_and_half": {q: beside_sgd(rows, r, q) for q in QUANTITIES},
                "than_sgd": {q: verdict(beside_sgd(rows, r, q)) for q in QUANTITIES},
            }
            for r in rows
        ],
    }


def claims(results: Results) -> list[Claim]:
    """That all train, on equal terms; of a full run also who is told apart from SGD."""
    if results.cells:
        return [_of_thesis(cell) for cell in results.cells]
    rows = results.rows
    longest = max(r.curve[-1, 0] - r.gradients for r in rows)
    made = [
        at_most("largest mean test error", max(r.error.mean() for r in rows), 0.25),
        at_most("gradients beyond the budget, at most those of a step", longest, 30),
    ]
    if results.seeds < 20:
        return made
    made.append(at_most("rates chosen at an end of those tried", sum(map(at_edge, rows)), 0))
    return made + _told_apart(rows)


def _of_thesis(cell: Cell) -> Claim:
    """Within half of what is printed: recipes are not the same to the letter."""
    off = abs(cell.errors.mean() / cell.printed - 1)
    return at_most(f"{cell.title}: mean test error over {cell.printed:g} %, less one", off, 0.5)


FASTER, SLOWER = ("SGD, momentum", "Adam"), ("HEAT", "MF-HOM-SGLD", "Elastic-SGD", "Parle")


def _told_apart(rows: list[Row]) -> list[Claim]:
    """Who is ahead of SGD, and who behind, while gradients are few; and at last in test error."""
    short, long = (
        {r.name: r for r in rows if r.gradients == budget}
        for budget in (min(BUDGETS), max(BUDGETS))
    )
    made = []
    for name in FASTER:
        mean, half = beside_sgd(rows, short[name], "training")
        text = f"{min(BUDGETS):,} gradients: training loss of {name} less SGD's, upper end"
        made.append(at_most(text, mean + half, 0))
    for name in SLOWER:
        mean, half = beside_sgd(rows, short[name], "training")
        text = f"{min(BUDGETS):,} gradients: training loss of {name} less SGD's, lower end"
        made.append(at_least(text, mean - half, 0))
    ahead = [n for n in PAPERS if verdict(beside_sgd(rows, long[n], "error")) == "less"]
    text = f"{max(BUDGETS):,} gradients: optimizers of the papers with fewer test errors than SGD"
    return [*made, at_most(text, len(ahead), 0)]


# ------------------------------------------------------------------------------------- the figure


def colour(name: str) -> str:
    return next(c for c, names in KINDS.items() if name in names)


def plot(results: Results) -> Figure:
    """Test errors and training losses at every budget, less gradients hollow; the way there."""
    if results.cells:
        return _beside_printed(results.cells)
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1, 1.1))
    long = max(r.gradients for r in results.rows)
    names = [r.name for r in results.rows if r.gradients == long]
    means = {r.name: r.error.mean() for r in results.rows if r.gradients == long}
    names.sort(key=lambda name: -means[name])
    _dots(left, results.rows, names, "error", 100)
    _dots(middle, results.rows, names, "training", 1)
    left.set_yticks(range(len(names)), names, fontsize=9)
    for label, name in zip(left.get_yticklabels(), names, strict=True):
        label.set_color(colour(name))
    middle.set_yticks(range(len(names)), [])
    left.set_xlabel(f"test error, %; {results.seeds} seeds, 95 %")
    middle.set_xlabel("training loss f")
    _curves(right, [r for r in results.rows if r.gradients == long])
    return figure


def _beside_printed(cells: tuple[Cell, ...]) -> Figure:
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(cells)), layout="constrained")
    ax = figure.subplots()
    for k, cell in enumerate(reversed(cells)):
        mean, half = interval(cell.errors, LEVEL)
        ax.errorbar(mean, k, xerr=half, fmt="o", color="#0072B2", capsize=3)
        ax.plot(cell.printed, k, "|", color="black", ms=12, mew=2)
    ax.set_yticks(range(len(cells)), [c.title for c in reversed(cells)], fontsize=9)
    ax.set(xscale="log", xlabel="test error, %, with 95 % intervals; bars: as printed")
    ax.xaxis.set_major_formatter("{x:g}")
    return figure


def _dots(ax: Any, rows: list[Row], names: list[str], key: str, scale: float) -> None:
    long = max(r.gradients for r in rows)
    for r in rows:
        mean, half = interval(scale * getattr(r, key), LEVEL)
        filled = colour(r.name) if r.gradients == long else "white"
        ax.errorbar(mean, names.index(r.name), xerr=half, fmt="o", color=colour(r.name), mfc=filled,
                    capsize=3, ms=5)  # fmt: skip
    for gradients in sorted({r.gradients for r in rows}):
        base = next(r for r in rows if r.name == "SGD" and r.gradients == gradients)
        ax.axvline(scale * getattr(base, key).mean(), color="0.6", ls=":", lw=1)
        ax.plot([], [], "o", color="0.4", mfc="0.4" if gradients == long else "white",
                label=f"{gradients:,} gradients")  # fmt: skip
    ax.set_xscale("log")
    ticks = (2, 3, 4, 5, 6, 8) if scale == 100 else (0.12, 0.15, 0.2, 0.3, 0.4, 0.6)
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.legend(fontsize=8.5, frameon=False)


def _curves(ax: Any, rows: list[Row]) -> None:
    """Each at its own rate."""
    for r, style in zip(rows, cycle(("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))), strict=False):
        ax.plot(*r.curve.T, color=colour(r.name), ls=style, lw=1.3, label=r.name)
    ax.set(yscale="log", xlabel="gradients", ylabel="mean training loss f", ylim=(0.12, 3))
    ax.legend(fontsize=8, frameon=False, ncols=2)
