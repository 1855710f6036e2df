"""The workloads of ``particle_speed``, its peers, and what a row of its table is."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from peers.measure import repeat
from peers.packages import Packages

PEERS = Packages(
    {
        "pdekit": ("pdekit", "pdekit", "particles_by_pdekit"),
        "torch": ("torch", "torch", "particles_by_torch"),
        "posteriors": ("posteriors", "posteriors", "particles_by_posteriors"),
        "torchsde": ("torchsde", "torchsde", "particles_by_torchsde"),
        "CBXpy": ("cbx", "cbx", "particles_by_cbx"),
        "KeOps": ("pykeops", "pykeops", "particles_by_pykeops"),
    },
    own=("pdekit", "torch"),
)
PACKAGES, OWN = PEERS.table, PEERS.own
absent, versions, methods = PEERS.absent, PEERS.versions, PEERS.methods
BETA, STEP, ATTRACTION = 4.0, 0.02, 1.0
# of P4: length of the ripples, γ, inner step, inner steps, outer step
DELTA, GAMMA, INNER_STEP, INNER, OUTER_STEP = 0.5, 0.1, 1e-4, 20, 0.01


@dataclass(frozen=True)
class Plane:
    """A landscape of P5 to P7: where particles start, β, step, attraction, γ and outer step."""

    name: str
    centre: tuple[float, float]
    spread: float
    beta: float
    step: float
    attraction: float
    gamma: float
    outer_step: float


CAMEL = Plane("camel", (0.0, 0.0), 0.5, 4.0, 0.005, 1.0, 0.5, 0.05)
MULLER_BROWN = Plane("Müller-Brown", (-0.5, 1.4), 0.1, 0.1, 1e-4, 100.0, 0.005, 5e-4)
PLANES = (CAMEL, MULLER_BROWN)


@dataclass(frozen=True)
class Size:
    """Particles and steps of P1 and P2; points of P3; runs, agents, coordinates, steps of P4.

    ``plane``: particles of P5 and P6, which take ``steps``, and twenty for each of P7.
    """

    particles: int = 1_000_000
    steps: int = 100
    points: int = 10_000
    swarm: tuple[int, int, int] = (50, 50, 10)
    outer: int = 100
    plane: int = 300_000

    def start(self, dim: int) -> Any:
        """Particles at time 0, from N(0, 1)."""
        return normals(self.particles, dim)

    def cloud(self, dim: int) -> Any:
        """The points of P3."""
        return normals(self.points, dim)

    def swarms(self) -> Any:
        """The agents of P4, all runs alike."""
        _, agents, dim = self.swarm
        return normals(agents, dim)

    def on(self, plane: Plane, share: int = 1) -> Any:
        """Particles of P5 and P6, or of P7, a twentieth of them."""
        drawn = normals(self.plane // share, 2) * plane.spread + plane.centre
        return drawn.astype(np.float32)

    def amount(self, workload: str) -> float:
        """What one call does: particle-steps, forces, outer steps."""
        moved, on_plane = self.particles * self.steps, self.plane * self.steps
        return {"P1": moved, "P2": moved, "P3": 1, "P4": self.outer,
                "P5": on_plane, "P6": on_plane, "P7": self.outer}[workload[:2]]  # fmt: skip


QUICK = Size(100_000, 20, 2_000, (20, 50, 10), 20, 50_000)


def normals(n: int, dim: int) -> Any:
    return np.random.default_rng(5).normal(size=(n, dim)).astype(np.float32)


@dataclass(frozen=True)
class Method:
    """A way to do a workload; ``make(size)`` compiles what must be, its call is timed.

    What the call returns is compared: the second moment, the forces (P3). ``same``: it
    solves the same equations, so that its answer can be compared. ``part``: it takes only this
    part of the steps.
    """

    workload: str
    label: str
    make: Callable[[Size], Callable[[], Any]]
    same: bool = True
    part: float = 1.0


@dataclass(frozen=True)
class Row:
    """A line of the table; ``ratio``: pdekit's rate over it; ``answer`` as in ``Method``."""

    workload: str
    method: str
    rate: float
    answer: float | None = None
    ratio: float | None = None

    @property
    def package(self) -> str:
        return self.method.split(",")[0]


def timed(tried: list[Method], size: Size, rounds: int) -> tuple[list[Row], dict[str, str]]:
    """Rates on one thread from medians of warm runs, the methods of a workload in turn."""
    rows, failed = [], {}
    for workload in dict.fromkeys(m.workload for m in tried):
        runs, spent, answers, amounts = {}, {}, {}, {}
        for m in (m for m in tried if m.workload == workload):
            try:
                run = m.make(size)
                answer = run()  # compiles, and fills the caches
            except Exception as error:  # a peer that fails is a result, not the end of the study
                if m.label.split(",")[0] in OWN:
                    raise
                failed[f"{workload}: {m.label}"] = f"{type(error).__name__}: {error}"
                continue
            runs[m.label], spent[m.label] = run, []
            answers[m.label] = answer if m.same else None
            amounts[m.label] = m.part * size.amount(workload)
            print(f"{workload}: {m.label}", file=sys.stderr)
        repeat(runs, spent, rounds)
        rows += compared(workload, amounts, spent, answers)
    return rows, failed


def compared(
    workload: str,
    amounts: dict[str, float],
    spent: dict[str, list[float]],
    answers: dict[str, Any],
) -> list[Row]:
    """Rows with their ratio to pdekit's first method in their precision.

    The answers of P3 become errors against pairs in double.
    """
    if workload.startswith("P3"):
        exact = next(a for label, a in answers.items() if label == "pdekit, float64")
        answers = {k: float(np.abs(a - exact).max()) for k, a in answers.items()}
    rows = [
        Row(workload, k, amounts[k] / float(np.median(s)), answers[k])
        for k, s in spent.items()
        if s
    ]
    ours = [r for r in rows if r.package == "pdekit"]
    return [r if r in ours else replace(r, ratio=_like(r, ours).rate / r.rate) for r in rows]


def _like(row: Row, ours: list[Row]) -> Row:
    """Our first method in the precision of the row; the first of all where there is none."""
    precise = [r for r in ours if "float64" in r.method and "float64" in row.method]
    return (precise or ours)[0]


def table(rows: list[Row]) -> str:
    lines = [f"{'workload':<9} {'method':<34} {'rate':>10} {'answer':>9}  ratio to pdekit"]
    for r in rows:
        ratio = "" if r.ratio is None else f"{r.ratio:.3g}"
        answer = "" if r.answer is None else f"{r.answer:.3g}"
        lines.append(f"{r.workload:<9} {r.method:<34} {r.rate:>10.4g} {answer:>9}  {ratio}")
    return "\n".join(lines)


def readme(rows: list[Row]) -> str:
    """The ratios as a table of Markdown."""
    packages = [name for name in PACKAGES if name != "pdekit"]
    lines = [f"| workload | {' | '.join(packages)} |", "|---" * (1 + len(packages)) + "|"]
    for workload in dict.fromkeys(r.workload for r in rows):
        cells = [_cell(rows, workload, name) for name in packages]
        lines.append(f"| {workload} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: list[Row], workload: str, package: str) -> str:
    found = [r for r in rows if (r.workload, r.package) == (workload, package) and r.ratio]
    named = [f"{r.ratio:.2g} ({r.method.split(', ', 1)[1]})" for r in found]
    return "; ".join(named) or "-"
