"""Seconds on one thread, and what a row of the table is."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from peers.packages import Packages
from peers.problems import Array, Method, Problem

LONG = 1.0  # seconds from which a peer is not repeated
PEERS = Packages(
    {
        "pdekit": ("pdekit", "pdekit", "by_pdekit"),
        "SciPy": ("scipy", "scipy", "by_scipy"),
        "FiPy": ("fipy", "fipy", "by_fipy"),
        "py-pde": ("pde", "py-pde", "by_pypde"),
        "fplanck": ("fplanck", "fplanck", "by_fplanck"),
        "hj_reachability": ("hj_reachability", "hj-reachability", "by_hj_reachability"),
        "mfgsolver": ("mfgsolver", "mfgsolver", "by_mfgsolver"),
    },
    own=("pdekit", "SciPy"),
)
PACKAGES, OWN = PEERS.table, PEERS.own
absent, versions = PEERS.absent, PEERS.versions


@dataclass(frozen=True)
class Row:
    """A line of the table; ``ratio`` is to the fastest pdekit method with no larger error."""

    workload: str
    method: str
    seconds: float
    error: float
    ratio: float | None = None

    @property
    def ours(self) -> bool:
        return self.method.startswith("pdekit")

    @property
    def package(self) -> str:
        return next(name for name in PACKAGES if self.method.startswith(name))


def methods(quick: bool) -> list[Method]:
    """Every method of the packages that are installed; of a quick run: pdekit and SciPy."""
    return [m for m in PEERS.methods(quick) if not (quick and m.slow)]


@contextmanager
def one_thread() -> Iterator[str]:
    """BLAS and OpenMP on one thread; pdekit's kernels and the peers use one anyway."""
    if find_spec("threadpoolctl") is None:
        yield "BLAS not limited to one thread: threadpoolctl is not installed"
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield "1, by threadpoolctl"


def timed(
    problem: Problem, methods: Iterable[Method], rounds: int
) -> tuple[list[Row], dict[str, str]]:
    """Median seconds of warm runs, the methods in turn, with the error of each; what failed, why.

    Seconds of the processor, which other programs on the machine do not add to.
    """
    cells, runs, spent, errors, failed = np.prod(problem.grid.cells), {}, {}, {}, {}
    for m in (m for m in methods if m.kind == problem.kind and cells <= m.largest):
        try:
            run = m.make(problem)
            begun = time.process_time()
            out = run()  # compiles ours, and fills the caches
            first = time.process_time() - begun
        except Exception as error:  # a peer that fails is a result, not the end of the study
            if m.label.startswith(OWN):
                raise
            failed[f"{problem.name}: {m.label}"] = f"{type(error).__name__}: {error}"
            continue
        runs[m.label], errors[m.label] = run, problem.error(out)
        long = first > LONG and not m.label.startswith("pdekit")
        spent[m.label] = [first] if long else []
        print(f"{problem.name}: {m.label}", file=sys.stderr)
    repeat(runs, spent, rounds)
    rows = [Row(problem.name, k, float(np.median(s)), errors[k]) for k, s in spent.items()]
    return compared(rows), failed


def repeat(
    runs: dict[str, Callable[[], Array]], spent: dict[str, list[float]], rounds: int
) -> None:
    """Up to ``rounds`` rounds of all methods, of each until three runs took ``LONG``."""
    for _ in range(rounds):
        for label, run in runs.items():
            so_far = spent[label]
            enough = sum(so_far) > LONG and len(so_far) >= 3
            if not enough and (not so_far or so_far[0] < LONG):
                so_far.append(seconds(run))


def seconds(run: Callable[[], Any], least: float = 0.02) -> float:
    """Processor seconds a call, over as many calls as take ``least``."""
    calls, start = 0, time.process_time()
    while (passed := time.process_time() - start) < least or calls == 0:
        run()
        calls += 1
    return passed / calls


def compared(rows: list[Row]) -> list[Row]:
    """The peers' rows with their ratio to the fastest pdekit method that errs no more.

    Errors within 5 %, and below 1e-13, count as equal: there they differ by rounding.
    """
    out = []
    for row in rows:
        allowed = max(1.05 * row.error, 1e-13)
        rivals = [r.seconds for r in rows if r.ours and r.error <= allowed]
        out.append(row if row.ours or not rivals else replace(row, ratio=row.seconds / min(rivals)))
    return out


def table(rows: list[Row]) -> str:
    lines = [f"{'workload':<9} {'method':<31} {'time':>8} {'error':>8}  ratio to pdekit"]
    for r in rows:
        ratio = "" if r.ratio is None else f"{r.ratio:.3g}"
        error = f"{r.error:.1e}" if np.isfinite(r.error) else "diverges"
        lines.append(f"{r.workload:<9} {r.method:<31} {span(r.seconds):>8} {error:>8}  {ratio}")
    return "\n".join(lines)


def span(passed: float) -> str:
    scale, unit = (1e6, "us") if passed < 1e-3 else (1e3, "ms") if passed < 1 else (1, "s")
    return f"{passed * scale:.3g} {unit}"
