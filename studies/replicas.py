"""Can networks trained apart be averaged, and do replicas learn from data that they never see?

Thesis section 5.0.1 and section 5.5, on a small network (64 pixels - 32 tanh units - 10 classes,
2,410 weights) and scikit-learn's digits: 1,347 examples to train, 450 to test.

* Apart: families of six networks, trained by SGD from six seeds. Per family the test error of the
  six, of their ensemble (mean of the softmax), of the mean of their weights ("one-shot average"),
  and of that mean after five are aligned to the first. Hidden units may be permuted without any
  change of the answers and, as tanh is odd, the signs of all weights of a unit may be flipped. With
  one hidden layer the best alignment is an assignment problem, solved exactly; the thesis matches
  greedily, layer by layer. The overlap is ⟨x^a, x^b⟩/(|x^a||x^b|). Alignment finds some overlap in
  anything, so it is measured also between networks whose weights are shuffled within each layer.
* Together: n = 3 replicas that see half of the data each, n = 6 that see a quarter, chosen by the
  seed such that somebody sees every example. Elastic-SGD (ρ = 10 learning rates) and Parle (L = 10,
  η = 1, ρ = 4; and with the thesis' L = 25, η = 0.5, ρ from 1 by (5.10)), in which the master goes
  to the mean of the replicas, beside SGD on all data, on one share, and networks trained apart on
  the shares, of which the ensemble answers. ``gradients`` are those of each replica; SGD is shown
  with n times as many too. No momentum. Every method tries the same learning rates, the
  best by the loss on a fifth of the training data that it does not see, then trains on all.

Intervals are over seeds, of one division into training and test data.
"""

import sys
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.optim.schedules import Scoping

sys.path.insert(0, str(Path(__file__).parent))

from networks.digits import (
    Digits,
    Make,
    Weights,
    held_out,
    load,
    losses,
    one_thread,
    scores,
    trained,
)
from networks.intervals import interval
from networks.shares import windows

Array = np.ndarray

FAMILY, RATE = 6, 1.6  # networks of a family, and their learning rate
RATES = (0.5, 1.0, 2.0)
TUNING = 1_000  # first seed of those that choose it
SHARES = {3: 0.5, 6: 0.25}  # n -> what each replica sees (thesis 5.5)
AVERAGES = {
    "one-shot average": (False, False),
    "average, units permuted": (True, False),
    "average, aligned": (True, True),
}
COLOURS = {"SGD": "#000000", "Elastic-SGD": "#0072B2", "Parle": "#D55E00", "apart": "#999999"}


# ------------------------------------------------------------------------------------- alignment


@dataclass(frozen=True)
class Networks:
    """Of each network what goes into and out of its hidden units ``(n, 32, 75)``, last biases."""

    units: Array
    shift: Array

    def __getitem__(self, key: Any) -> "Networks":
        return Networks(self.units[key], self.shift[key])

    @property
    def flat(self) -> Array:
        return np.concatenate([self.units.reshape(*self.units.shape[:-2], -1), self.shift], -1)


def of_weights(weights: Weights) -> Networks:
    first, bias, second, shift = weights
    return Networks(torch.cat([first.mT, bias[..., None], second], 2).numpy(), shift.numpy())


def weights_of(networks: Networks) -> Weights:
    u, pixels = torch.tensor(networks.units), networks.units.shape[-1] - 11
    return [
        u[..., :pixels].mT.contiguous(),
        u[..., pixels].contiguous(),
        u[..., pixels + 1 :].contiguous(),
        torch.tensor(networks.shift),
    ]


def aligned(network: Networks, to: Networks, signs: bool = True) -> Networks:
    """The same answers by units in the order, and with the signs, of largest overlap."""
    products = to.units @ network.units.T
    rows, order = linear_sum_assignment(abs(products) if signs else products, maximize=True)
    flips = np.where(products[rows, order] < 0, -1.0, 1.0) if signs else np.ones(len(rows))
    return Networks(
        (flips[:, None] * network.units[order]).astype(network.units.dtype), network.shift
    )


def overlap(a: Networks, b: Networks) -> float:
    x, y = a.flat.astype(float), b.flat.astype(float)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def mean(networks: list[Networks]) -> Networks:
    """A family of one: the mean of the weights."""
    return Networks(
        np.mean([n.units for n in networks], 0)[None], np.mean([n.shift for n in networks], 0)[None]
    )


def shuffled(networks: Networks, seed: int) -> Networks:
    """The same numbers in each layer, at random places."""
    draw, units = np.random.default_rng(seed), networks.units.copy()
    inputs = units.shape[-1] - 10
    for one in units:
        one[:, :inputs] = draw.permuted(one[:, :inputs], axis=None)
        one[:, inputs:] = draw.permuted(one[:, inputs:], axis=None)
    return Networks(units, networks.shift)


# ------------------------------------------------------------------------------------- apart


@dataclass(frozen=True)
class Apart:
    """Of every family: test errors, mean overlaps; the mean matrix of aligned overlaps."""

    errors: dict[str, Array]
    overlaps: dict[str, Array]
    matrix: Array
    common: Array  # of a network's mistakes, the share that another one makes
    change: float  # largest change of an answer by alignment


def errors(answers: torch.Tensor, classes: torch.Tensor) -> Array:
    """Share of wrong answers ``(networks,)`` by scores or probabilities."""
    return (answers.argmax(-1) != classes).double().mean(-1).numpy()


def trained_apart(families: int, gradients: int, data: Digits) -> Apart:
    seeds = list(range(FAMILY * families))
    crowd = of_weights(trained(plain, RATE, seeds, gradients, data))
    groups = [crowd[k : k + FAMILY] for k in range(0, len(seeds), FAMILY)]
    found = [looked_at(group, data) for group in groups]
    pairs = [overlaps(group, k) for k, group in enumerate(groups)]
    return Apart(
        {key: np.array([e[key] for e, _, _ in found]) for key in found[0][0]},
        {key: np.array([o[key].mean() for o in pairs]) for key in pairs[0]},
        square(np.mean([o["aligned"] for o in pairs], 0)),
        np.array([c for _, c, _ in found]),
        max(change for _, _, change in found),
    )


def looked_at(group: Networks, data: Digits) -> tuple[dict[str, Array], float, float]:
    """Test errors, shared mistakes, and what alignment changes."""
    answers = scores(weights_of(group), data.images_to_test)
    found = {
        "single network": errors(answers, data.classes_to_test).mean(),
        "ensemble": errors(answers.softmax(-1).mean(0), data.classes_to_test),
    }
    for name, (permute, signs) in AVERAGES.items():
        moved = [aligned(one, group[0], signs) if permute else one for one in members(group)]
        found[name] = errors(
            scores(weights_of(mean(moved)), data.images_to_test), data.classes_to_test
        )[0]
    again = Networks(*(np.stack(a) for a in zip(*((m.units, m.shift) for m in moved), strict=True)))
    change = (scores(weights_of(again), data.images_to_test) - answers).abs().max()
    return found, shared(answers.argmax(-1) != data.classes_to_test), float(change)


def members(group: Networks) -> list[Networks]:
    return [group[k] for k in range(len(group.units))]


def shared(wrong: torch.Tensor) -> float:
    """Chance that a mistake of one network is one of another too."""
    each = wrong.double()
    both = each @ each.T
    return float((both.sum() - both.trace()) / (len(each) - 1) / both.trace())


def overlaps(group: Networks, seed: int) -> dict[str, Array]:
    """Of all pairs, as they are, by permutations, by signs too, and of shuffled weights."""
    mixed = shuffled(group, seed)
    pairs = list(combinations(range(FAMILY), 2))
    return {
        "as trained": np.array([overlap(group[a], group[b]) for a, b in pairs]),
        "units permuted": np.array(
            [overlap(group[a], aligned(group[b], group[a], False)) for a, b in pairs]
        ),
        "aligned": np.array([overlap(group[a], aligned(group[b], group[a])) for a, b in pairs]),
        "shuffled, aligned": np.array(
            [overlap(mixed[a], aligned(mixed[b], mixed[a])) for a, b in pairs]
        ),
    }


def square(values: Array) -> Array:
    """The symmetric matrix of all pairs, ones on the diagonal."""
    matrix = np.eye(FAMILY)
    for (a, b), value in zip(combinations(range(FAMILY), 2), values, strict=True):
        matrix[a, b] = matrix[b, a] = value
    return matrix


# ------------------------------------------------------------------------------------- together


@dataclass(frozen=True)
class Method:
    """An optimizer at a learning rate, its replicas, what each sees, gradients of each."""

    name: str
    make: Make
    replicas: int = 1
    share: float = 1.0
    times: int = 1  # gradients over those of a replica
    networks: int = 1  # trained one by one, of which the ensemble answers


@dataclass(frozen=True)
class Row:
    """What came of a method: the rate chosen, test errors and training losses of the seeds."""

    method: str
    replicas: int
    share: float
    gradients: int
    rate: float
    errors: Array
    losses: Array


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    apart: Apart
    rows: list[Row]
    numbers: dict[str, Any]


def plain(p: Weights, rate: float, seed: int) -> torch.optim.Optimizer:
    return torch.optim.SGD(p, lr=rate)


def elastic(n: int) -> Make:
    """ρ = 10 rates; with η' = ρ/n every step moves the master to the mean."""
    return lambda p, rate, seed: pk.optim.ElasticSGD(p, rate, 10 * rate, n, 10 * rate / n)


def parle(n: int) -> Make:
    return lambda p, rate, seed: pk.optim.Parle(
        p, 1.0, rho=4.0, inner_steps=10, replicas=n, inner_lr=rate
    )


def as_printed(n: int, batches: int = 21) -> Make:
    """L = 25; γ from 100 and ρ from 1 narrow by thesis (5.10), ρ to η as it is at first.

    As η falls too, every step is stable; η (1 + 2/ρ) with the first η and the last ρ would not be.
    """
    gamma, rho = Scoping(100.0, batches, floor=1.0), Scoping(1.0, batches, floor=0.5)
    return lambda p, rate, seed: pk.optim.Parle(p, 0.5, gamma, rho, 25, n, inner_lr=rate)


def methods() -> list[Method]:
    """In the order of the figure."""
    made = [Method("SGD", plain)]
    made += [Method("SGD", plain, times=n) for n in SHARES]
    made += [Method("Elastic-SGD", elastic(3), 3), Method("Parle", parle(3), 3)]
    for n, share in SHARES.items():
        made += [
            Method("SGD", plain, 1, share),
            Method("apart, ensemble", plain, 1, share, networks=n),
            Method("Elastic-SGD", elastic(n), n, share),
            Method("Parle", parle(n), n, share),
            Method("Parle as printed", as_printed(n), n, share),
        ]
    return made


def shares(n: int, share: float, seeds: list[int], examples: int) -> list[torch.Tensor]:
    """Of each replica the examples ``(seeds, m)``, shuffled by the seed."""
    orders = torch.stack(
        [torch.randperm(examples, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )
    return [orders[:, places] for places in windows(examples, n, share)]


def networks_of(
    method: Method, rate: float, seeds: list[int], gradients: int, data: Digits
) -> list[Weights]:
    """One, or those of an ensemble."""
    n = max(method.replicas, method.networks)
    parts = None
    if method.share < 1:
        parts = shares(n if n > 1 else round(1.5 / method.share), method.share, seeds,
                       len(data.images))  # fmt: skip
    total = gradients * method.replicas * method.times

    def one(k: int) -> Weights:
        own = [parts[k]] if parts and method.replicas == 1 else parts
        return trained(method.make, rate, [seed + 100_000 * k for seed in seeds], total, data, own)

    return [one(k) for k in range(method.networks)]


def chosen(
    method: Method, rates: tuple[float, ...], seeds: int, gradients: int, data: Digits
) -> float:
    """The rate of least mean loss on data held out; networks of an ensemble are tuned as one."""
    if len(rates) == 1:
        return rates[0]
    part, tuning = held_out(data), [TUNING + k for k in range(seeds)]
    single = Method(method.name, method.make, method.replicas, method.share, method.times)

    def loss(rate: float) -> float:
        (found,) = networks_of(single, rate, tuning, gradients, part)
        return float(
            losses(found, part.images_to_test, part.classes_to_test).mean().nan_to_num(9e9)
        )

    return min(rates, key=loss)


def measured(method: Method, rate: float, seeds: list[int], gradients: int, data: Digits) -> Row:
    found = networks_of(method, rate, seeds, gradients, data)
    answers = sum(scores(w, data.images_to_test).softmax(-1) for w in found)
    left = torch.stack([losses(w, data.images, data.classes) for w in found]).mean(0)
    return Row(
        method.name,
        max(method.replicas, method.networks),
        method.share,
        gradients * method.times,
        rate,
        errors(answers, data.classes_to_test),
        left.double().numpy(),
    )


# ------------------------------------------------------------------------------------- the study


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer gradients, seeds, rates.")] = False,
    gradients: Annotated[int | None, typer.Option(min=1, help="Of each replica.")] = None,
    families: Annotated[int | None, typer.Option(min=2, help="Of six networks.")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Networks of each method.")] = None,
) -> Results:
    """Train apart and align; train together on parts of the data."""
    data = load()
    gradients, n = gradients or (250 if quick else 1_000), seeds or (4 if quick else 20)
    rates = (1.0,) if quick else RATES
    with one_thread():
        apart = trained_apart(families or (3 if quick else 20), gradients, data)
        rows = []
        for method in tqdm(methods(), desc="together"):
            rate = chosen(method, rates, 5, gradients, data)
            rows.append(measured(method, rate, list(range(n)), gradients, data))
    return Results(apart, rows, _numbers(apart, rows, gradients, rates))


def found(rows: list[Row], name: str, n: int, share: float, gradients: int | None = None) -> Row:
    return next(
        r for r in rows
        if (r.method, r.replicas, r.share) == (name, n, share) and gradients in (None, r.gradients)
    )  # fmt: skip


def difference(a: Row, b: Row, level: float = 0.99) -> tuple[float, float]:
    """Mean test error of one less that of another, of equal seeds, and half its interval."""
    return interval(a.errors - b.errors, level)


def _numbers(
    apart: Apart, rows: list[Row], gradients: int, rates: tuple[float, ...]
) -> dict[str, Any]:
    base = found(rows, "SGD", 1, 1.0)
    return {
        "gradients": gradients,
        "rates": rates,
        "families": len(apart.common),
        "error_and_half_95": {k: interval(v, 0.95) for k, v in apart.errors.items()},
        "overlap_and_half_95": {k: interval(v, 0.95) for k, v in apart.overlaps.items()},
        "matrix": apart.matrix.tolist(),
        "shared_mistakes": interval(apart.common, 0.95),
        "together": [
            {
                "method": r.method,
                "replicas": r.replicas,
                "share": r.share,
                "gradients": r.gradients,
                "rate": r.rate,
                "error_and_half_95": interval(r.errors, 0.95),
                "loss": float(r.losses.mean()),
                "less_sgd_on_all_and_half_99": difference(r, base),
            }
            for r in rows
        ],
    }


def claims(results: Results) -> list[Claim]:
    """What holds of every family; of a full run also what holds on average, with intervals."""
    a = results.apart
    made = [
        at_most("alignment changes no answer: largest difference of a score", a.change, 1e-3),
        at_least("overlap: aligned less as trained, least of all families",
                 (a.overlaps["aligned"] - a.overlaps["as trained"]).min(), 0.1),
    ]  # fmt: skip
    full = len(results.rows[0].errors) >= 20
    return made + (_of_averages(a) + _of_replicas(results.rows) if full else [])


def _of_averages(a: Apart) -> list[Claim]:
    """The order of the thesis, and that the overlap is more than alignment finds in anything."""
    found, half = interval(a.overlaps["aligned"] - a.overlaps["shuffled, aligned"], 0.99)
    made = [at_least("overlap: aligned less that of shuffled weights, lower end", found - half, 0)]
    order = ("one-shot average", "average, aligned", "single network", "ensemble")
    for worse, better in pairwise(order):
        gap, half = interval(a.errors[worse] - a.errors[better], 0.99)
        made.append(at_least(f"error: {worse} less {better}, lower end", gap - half, 0))
    return made


def _of_replicas(rows: list[Row]) -> list[Claim]:
    """Replicas learn from data that they do not see; nothing beats SGD on all, as Parle should."""
    made = []
    for n, share in SHARES.items():
        alone = found(rows, "SGD", 1, share)
        base = next(r for r in rows if r.method == "SGD" and r.gradients == n * alone.gradients)
        for name in ("Elastic-SGD", "Parle"):
            own, text = (
                found(rows, name, n, share),
                f"{name}, n = {n}, {share:.0%} of the data: error",
            )
            gap, half = difference(own, alone)
            made.append(at_most(f"{text} less SGD's on a share, upper end", gap + half, 0))
            gap, half = difference(own, base)
            made.append(
                at_least(
                    f"{text} less SGD's on all, equal in all gradients, upper end", gap + half, 0
                )
            )
    return made


def plot(results: Results) -> Figure:
    """Overlaps of six networks; errors of their averages; replicas that share the data."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.05, 1.35))
    _overlaps(left, results.apart)
    _averages(middle, results.apart)
    _together(right, results.rows)
    return figure


def _overlaps(ax: Any, a: Apart) -> None:
    """As the thesis' figure 5.1; below, what alignment finds in shuffled weights."""
    ax.imshow(a.matrix, cmap="Blues", vmin=0, vmax=1.3)
    for i, row in enumerate(a.matrix):
        for j, value in enumerate(row):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9)
    ax.set(xticks=[], yticks=[])
    ax.set_title("overlap of six networks, aligned", fontsize=10)
    means = {key: interval(v, 0.95) for key, v in a.overlaps.items()}
    ax.set_xlabel(
        "\n".join(f"{key}: {m:.3f} ± {h:.3f}" for key, (m, h) in means.items()), fontsize=9
    )


def _averages(ax: Any, a: Apart) -> None:
    """Every family a grey point, means with 95 % intervals."""
    names = list(a.errors)
    names.sort(key=lambda name: a.errors[name].mean())
    for k, name in enumerate(names):
        values = 100 * a.errors[name]
        mean_, half = interval(values, 0.95)
        ax.plot(values, np.full(len(values), k), "o", color="0.8", ms=4, zorder=1)
        ax.errorbar(mean_, k, xerr=half, fmt="o", color="#0072B2", capsize=3, zorder=2)
        ax.annotate(f"{mean_:.3g} %", (mean_, k), (0, 8), textcoords="offset points", fontsize=9,
                    ha="center")  # fmt: skip
    ax.axvline(90, color="0.6", ls=":", lw=1)
    ax.annotate("guessing", (90, 0), (-3, 0), textcoords="offset points", fontsize=8, rotation=90,
                ha="right", color="0.4")  # fmt: skip
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set(xscale="log", ylim=(-0.5, len(names) - 0.4), xlabel="test error, %",
           xticks=(2, 5, 10, 20, 50, 100))  # fmt: skip
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def _together(ax: Any, rows: list[Row]) -> None:
    """Test errors with 95 % intervals, by what each replica sees."""
    least = min(r.gradients for r in rows)
    labels = []
    for k, r in enumerate(reversed(rows)):
        m, half = interval(100 * r.errors, 0.95)
        colour = COLOURS[r.method.split(" as ")[0].split(",")[0]]
        filled = "white" if "printed" in r.method else colour
        ax.errorbar(m, k, xerr=half, fmt="o", color=colour, mfc=filled, capsize=3)
        more = f", n = {r.replicas}" if r.replicas > 1 else ""
        more += f", {r.gradients // least} x gradients" if r.gradients > least else ""
        labels.append(f"{r.method}{more}: {r.share:.0%}")
    for k in range(1, len(rows)):
        if rows[-k].share != rows[-k - 1].share:
            ax.axhline(k - 0.5, color="0.85", lw=0.8)
    m, _ = interval(100 * rows[0].errors, 0.95)
    ax.axvline(m, color="0.6", ls=":", lw=1)
    ax.set_yticks(range(len(rows)), labels, fontsize=8.5)
    ax.set_title("replicas, and the share of the data that each sees", fontsize=10)
    ax.set(xlabel=f"test error, %; {least:,} gradients a replica")
