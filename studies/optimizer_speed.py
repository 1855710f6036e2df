"""Speed of optimizers: what a step costs beyond its gradients, pdekit beside torch and packages.

A network of 1.86 million weights (784-1024-1024-10, ReLU, batches of 64), float32, one thread. All
start alike and do the same 20 gradients or more a turn; processor time a gradient, medians over
turns, and the overhead as the median difference to the bare gradient of the same turn. Trust ratios
within one run, never milliseconds.

Then 200 tensors of 1,000 numbers with given gradients, where what counts is the cost of a call.

Beside pdekit's optimizers: torch's SGD; the Langevin step and Entropy-SGD as scripts write them,
with torch's operations on lists; posteriors' SGLD; SAM of pytorch-optimizer, two gradients a step.
The loss after 20 gradients tells whether those of a family compute the same. The peers are
optional, those absent are named: ``pip install ".[particle-peers,optimizer-peers]"``. ``--quick``
measures pdekit and torch alone, on a network of 270,000 weights. The printed bars are what this
project aims at; the claims what any run confirms.
"""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pdekit.claims import Claim, at_most

sys.path.insert(0, str(Path(__file__).parent))

from peers import optimizers
from peers.optimizers import BARE, QUICK, Row, Size, Tensors

# time over that of the bare gradient that pdekit's optimizers aim at
SILENT, NOISY = 10.2 / 9.15, 12.7 / 9.15
BY_HAND = {
    "pdekit, SGLD": "torch, Langevin by hand",
    "pdekit, EntropySGD, L = 20": "torch, Entropy-SGD by hand",
    "pdekit, EntropySGD, L = 20, T = 0": "torch, Entropy-SGD by hand, T = 0",
}
# of many small tensors: what torch's operations on lists do, and the bound on the time over theirs
LISTS = {
    "SGLD, T = 0": "torch, SGD, foreach",
    "NesterovRestart": "torch, SGD, momentum, foreach",
    "MaSS": "torch, SGD, momentum, foreach",
    "HJ, L = 5": "torch, Entropy-SGD by hand, T = 0",
    "EntropySGD, L = 20, T = 0": "torch, Entropy-SGD by hand, T = 0",
    "ElasticSGD, 3 replicas": "torch, Entropy-SGD by hand, T = 0",
    "Parle, 3 replicas, L = 25": "torch, Entropy-SGD by hand, T = 0",
    "SGLD": "torch, Langevin by hand",
    "EntropySGD, L = 20": "torch, Entropy-SGD by hand",
    "HEAT, L = 20": "torch, Langevin by hand",
    "TrivializedSGD": "torch, Langevin by hand",
}
SMALL = 1.5
COLOURS = dict(
    zip(optimizers.PACKAGES, ("#000000", "#0072B2", "#D55E00", "#009E73"), strict=True)
)  # Okabe and Ito's, for every kind of sight


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    small: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def run(quick: bool = False, rounds: int = 0) -> Results:
    """``--quick``: pdekit and torch alone, a smaller network; ``--rounds``: turns of each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        size, turns = (QUICK, rounds or 5) if quick else (Size(), rounds or 15)
        rows, failed = optimizers.timed(optimizers.methods(quick), size, turns)
        small, _ = optimizers.timed(optimizers.methods(quick=True), Tensors(), turns)
    finally:
        torch.set_num_threads(before)
    numbers = {
        "quick": quick,
        "absent": optimizers.absent(),
        "failed": failed,
        "peers": optimizers.versions(),
        "layers": size.layers,
        "batch": size.batch,
        "rows": [asdict(r) for r in rows],
        "small": [asdict(r) for r in small],
    }
    numbers["bars"] = [bar.as_dict() for bar in bars(rows)]
    numbers["small_bars"] = [bar.as_dict() for bar in small_bars(small)]
    report(rows, small, numbers)
    return Results(rows, small, numbers)


def report(rows: list[Row], small: list[Row], numbers: dict[str, Any]) -> None:
    print(optimizers.table(rows))
    print(f"\n200 tensors of 1,000 numbers\n{optimizers.table(small)}\n")
    for name, reason in numbers["failed"].items():
        print(f"failed: {name}: {reason}")
    if numbers["absent"]:
        print(f"absent: {', '.join(numbers['absent'])}")
    for bar in numbers["bars"] + numbers["small_bars"]:
        verdict = "met" if bar["holds"] else "MISSED"
        print(f"bar {verdict:<6} {bar['text']}: {bar['measured']:.4g} (<= {bar['bound']:.4g})")


def named(rows: list[Row], method: str) -> Row:
    return next(r for r in rows if r.method == method)


def ours(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r.package == "pdekit"]


def bars(rows: list[Row]) -> list[Claim]:
    """What the project aims at: of each optimizer, time over that of the bare gradient."""
    bare = named(rows, BARE).milliseconds
    return [
        at_most(f"{r.method.split(', ', 1)[1]}: over the bare gradient", 1 + r.overhead / bare,
                NOISY if r.noise else SILENT)
        for r in ours(rows)
    ]  # fmt: skip


def small_bars(rows: list[Row]) -> list[Claim]:
    """What the project aims at: of many small tensors, time over that of operations on lists."""
    return [
        at_most(
            f"small tensors, {own}: over {peer}",
            named(rows, f"pdekit, {own}").milliseconds / named(rows, peer).milliseconds, SMALL,
        )
        for own, peer in LISTS.items()
    ]  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """That families compute the same, and that steps cost less than those written by hand.

    ``--quick`` takes too few turns to judge speed: it prints ratios and claims none.
    """
    rows, made = results.rows, []
    for name, of in (("", rows), ("small tensors, ", results.small)):
        for family in ("SGD", "Entropy-SGD"):
            found = [r.answer for r in of if r.family == family]
            made.append(at_most(f"{name}{family}: spread of the losses", np.ptp(found), 1e-3))
    for own, rival in ({} if results.numbers.get("quick") else BY_HAND).items():
        ratio = named(rows, own).overhead / named(rows, rival).overhead
        made.append(at_most(f"{own}: overhead over that by hand", ratio, 1))
    if not results.numbers.get("quick"):
        worst = max(bar.measured for bar in small_bars(results.small))
        made.append(at_most("small tensors: the worst time over that of lists", worst, 2 * SMALL))
    return made


def plot(results: Results) -> Any:
    """Milliseconds a gradient beyond the bare gradient."""
    from matplotlib.figure import Figure

    rows = sorted((r for r in results.rows if r.method != BARE), key=lambda r: -r.overhead)
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    ax = figure.subplots()
    for k, r in enumerate(rows):
        colour = COLOURS[r.package]
        ax.plot([0, r.overhead], [k, k], color=colour, lw=1.5)
        ax.plot(r.overhead, k, "o", color=colour, mfc=colour if r.noise else "white", ms=6)
    ax.set_yticks(range(len(rows)), [r.method for r in rows], fontsize=8)
    for label, r in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_color(COLOURS[r.package])
    bare = named(results.rows, BARE).milliseconds
    for share, text in ((SILENT, "aim without noise"), (NOISY, "aim with noise")):
        ax.axvline((share - 1) * bare, color="0.6", ls=":" if share == SILENT else "--", label=text)
    ax.plot([], [], "o", color="0.4", label="draws noise")
    ax.plot([], [], "o", color="0.4", mfc="white", label="draws none")
    ax.legend(fontsize=8, frameon=False)
    ax.set(xlim=(min(0, *(r.overhead for r in rows)), None),
           xlabel=f"milliseconds beyond the bare gradient, which takes {bare:.3g}")  # fmt: skip
    return figure
