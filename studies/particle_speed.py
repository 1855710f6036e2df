"""Speed of particles: pdekit beside plain torch and the packages that simulate them, in one run.

All start from the same points and take the same steps, on one thread; compilation is left out.
Rates come from processor seconds, medians of warm runs taken in turn. Trust ratios within one run,
never rates.

  P1   overdamped double well, 1,000,000 particles, beta 4, 100 steps of 0.02 by Euler-Maruyama;
       particle-steps a second. posteriors: SGLD; torchsde: Euler. Also on two threads, where there
       are two processors, by the clock.
  P2   the same in the plane, drawn to their mean with strength 1 (Curie-Weiss). CBXpy has no such
       dynamics: its step of consensus-based optimisation.
  P3   force of a Gaussian pair interaction on 10,000 points from N(0, 1), on a line and in the
       plane; forces a second. Over all pairs, and for pdekit by Chebyshev polynomials to 1e-6.
  P4   two time scales on the rough function: 50 runs of 50 agents in 10 coordinates, 20 inner
       steps; outer steps a second.

The answers tell whether all compute the same: the second moment at the end (P1, P2, P4), the
greatest error of the force against pairs in double (P3). The peers are optional, those absent are
named: ``pip install ".[particle-peers]"``. ``--quick`` measures pdekit and plain torch alone, with
fewer particles. The printed bars are what this project aims at; the claims what any run confirms.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from peers import particles
from peers.particles import BETA, QUICK, STEP, Row, Size

# package: (workload, start of the rival's name, least ratio aimed at)
BARS = {
    "P1: over plain torch in place": ("P1", "torch, in place, float32", 400 / 270),
    "P1: over posteriors": ("P1", "posteriors", 4.0),
    "P1: over torchsde": ("P1", "torchsde", 15.0),
    "P2: over plain torch": ("P2", "torch, in place, float32", 2.5),
    "P2: over CBXpy": ("P2", "CBXpy", 25.0),
    "P3, plane: all pairs over KeOps": ("P3 d=2", "KeOps, float32", 8.0),
    "P3, line: all pairs over KeOps": ("P3 d=1", "KeOps, float32", 8.0),
    "P4: over eager torch": ("P4", "torch, eager, float32", 4.0),
}


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    numbers: dict[str, Any] = field(default_factory=dict)


def run(quick: bool = False) -> Results:
    """``--quick``: pdekit and plain torch alone, a tenth of the particles."""
    size, rounds = (QUICK, 2) if quick else (Size(), 5)
    with torch_threads(1):
        rows, failed = particles.timed(particles.methods(quick), size, rounds)
    numbers = {
        "quick": quick,
        "absent": particles.absent(),
        "failed": failed,
        "peers": particles.versions(),
        "two_threads": two_threads(size) if (os.cpu_count() or 1) > 1 else None,
        "rows": [asdict(r) for r in rows],
    }
    numbers["bars"] = [bar.as_dict() for bar in bars(rows, numbers)]
    report(rows, numbers)
    return Results(rows, numbers)


class torch_threads:
    """So many threads for torch, and for the kernels of pdekit, which take as many."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> None:
        import torch

        self.before = torch.get_num_threads()
        torch.set_num_threads(self.count)

    def __exit__(self, *_: Any) -> None:
        import torch

        torch.set_num_threads(self.before)


def two_threads(size: Size) -> float:
    """P1 in float32: seconds by the clock on one thread over those on two, best of three each."""
    dynamics = pk.Langevin(pk.potentials.DoubleWell(), BETA, pk.particles.EulerMaruyama())
    start, t = size.start(1), STEP * size.steps * 4

    def clock(threads: int) -> float:
        with torch_threads(threads):
            return spent(
                lambda: pk.simulate(dynamics, start, n=len(start), t=t, dt=STEP, dtype="float32")
            )

    clock(2)
    return min(clock(1) for _ in range(3)) / min(clock(2) for _ in range(3))


def spent(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def report(rows: list[Row], numbers: dict[str, Any]) -> None:
    print(particles.table(rows))
    for name, reason in numbers["failed"].items():
        print(f"failed: {name}: {reason}")
    if numbers["absent"]:
        print(f"absent: {', '.join(numbers['absent'])}")
    for bar in numbers["bars"]:
        verdict = "met" if bar["holds"] else "MISSED"
        print(f"bar {verdict:<6} {bar['text']}: {bar['measured']:.3g} (>= {bar['bound']:g})")
    print(f"\npdekit's rate over that of\n\n{particles.readme(rows)}")


def ratio(rows: list[Row], workload: str, start: str) -> float | None:
    """Of pdekit's first method to the fastest whose name starts so."""
    found = [r.ratio for r in rows if r.workload == workload and r.method.startswith(start)]
    return min((r for r in found if r), default=None)


def smooth(rows: list[Row], workload: str) -> float | None:
    """Rate of the Chebyshev sum over that of KeOps in the same precision."""
    rates = {r.method: r.rate for r in rows if r.workload == workload}
    keops = rates.get("KeOps, float32")
    return keops and rates["pdekit, float32, Chebyshev 1e-6"] / keops


def bars(rows: list[Row], numbers: dict[str, Any]) -> list[Claim]:
    """What the project aims at."""
    found = [(text, ratio(rows, *rival[:2]), rival[2]) for text, rival in BARS.items()]
    found += [
        (f"{k}: smooth kernel over KeOps", smooth(rows, k), 50.0) for k in ("P3 d=1", "P3 d=2")
    ]
    found.append(("P1: two threads over one", numbers["two_threads"], 1.7))
    return [at_least(text, value, bound) for text, value, bound in found if value is not None]


def claims(results: Results) -> list[Claim]:
    """That all compute the same, and ratios with room to spare.

    ``--quick`` takes too few turns to judge speed: it prints ratios and claims none.
    """
    rows, least = results.rows, 0.6
    out = [
        at_least(text, value, least * bound)
        for text, (workload, rival, bound) in ({} if results.numbers.get("quick") else BARS).items()
        if (value := ratio(rows, workload, rival)) is not None
    ]
    for workload in ("P1", "P2", "P4"):
        moments = [r.answer for r in rows if r.workload == workload and r.answer is not None]
        out.append(at_most(f"{workload}: spread of the second moments", np.ptp(moments), 0.02))
    pairs = [r for r in rows if r.workload.startswith("P3") and r.answer is not None]
    worst = max(r.answer for r in pairs if r.answer is not None)
    out.append(at_most("P3: greatest error of a force", worst, 5e-6))
    return out


def plot(results: Results) -> Any:
    """Rates, a panel for each workload."""
    from matplotlib.figure import Figure

    workloads = list(dict.fromkeys(r.workload for r in results.rows))
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for ax, workload in zip(axes, workloads, strict=False):
        rows = sorted((r for r in results.rows if r.workload == workload), key=lambda r: r.rate)
        for r in rows:
            colour = f"C{list(particles.PACKAGES).index(r.package)}"
            ax.plot(r.rate, r.method, "o", color=colour)
        low, high = np.log10([rows[0].rate, rows[-1].rate])
        low, high = np.floor(low), np.ceil(high)
        ax.set(xscale="log", title=workload, xlim=(10**low / 2, 2 * 10**high))
        ax.set_xticks(10.0 ** np.arange(low, high + 1))
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.tick_params("y", labelsize=8)
    for ax in axes[len(workloads) :]:
        ax.remove()
    figure.supxlabel("particle-steps (P1, P2), forces (P3), outer steps (P4) a second, one thread")
    return figure
