"""What a change costs: whole calls of W1 to W7 and P1 to P7 in this checkout over those in another.

    git worktree add ../before COMMIT
    python studies/peers/against.py ../before              # or some: "W1 line" "W4 512²" P1

Each checkout has a process of its own, with its own pdekit and workloads; the two take turns of a
tenth of a second, in which a call is repeated. The first ratio is of the fastest calls of all,
the second the median over the rounds of that of a round; where they differ by more than the change
that is looked for, the machine is not quiet: repeat. Processor seconds, one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
TURN = 0.1  # seconds


class Checkout:
    """A process that imports pdekit from a checkout, and measures what it is asked for."""

    def __init__(self, root: Path) -> None:
        where = os.pathsep.join((str(root), str(root / "studies")))
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, "--serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **threads, "PYTHONPATH": where},
        )  # fmt: skip
        self.names = self._answer()

    def best(self, name: str) -> float:
        """Seconds of the fastest call of a turn."""
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("one of the processes ended; its error is above")
        return json.loads(line)


def serve() -> None:
    """Name the workloads, then time those whose names are read, one turn each."""
    calls = workloads()
    print(json.dumps(list(calls)), flush=True)
    for line in sys.stdin:
        print(json.dumps(best(calls[line.rstrip("\n")])), flush=True)


def workloads() -> dict[str, Callable[[], Any]]:
    """The calls of pdekit's first method of every workload."""
    from peers import by_pdekit, particles, particles_by_pdekit, problems

    first = {m.kind: m for m in reversed(by_pdekit.methods())}
    calls = {p.name: first[p.kind].make(p) for p in problems.problems(quick=False)}
    moved = {m.workload: m for m in reversed(particles_by_pdekit.methods())}
    return calls | {name: moved[name].make(particles.QUICK) for name in sorted(moved)}


def best(call: Callable[[], Any]) -> float:
    """Processor seconds of the fastest of the calls that a turn has time for."""
    spent: list[float] = []
    while sum(spent) < TURN:
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return min(spent)


def compared(name: str, before: Checkout, after: Checkout, rounds: int) -> str:
    pairs = []
    for k in range(rounds + 1):
        turns = ((0, before), (1, after)) if k % 2 else ((1, after), (0, before))
        taken = {place: checkout.best(name) for place, checkout in turns}
        pairs += [(taken[0], taken[1])] if k else []  # the first round compiles
    least = [min(side) for side in zip(*pairs, strict=True)]
    ratio, typical = least[1] / least[0], median(b / a for a, b in pairs)
    times = " ".join(f"{1e3 * t:10.3f}" for t in least)
    return f"{name:<16} {times} {ratio:8.3f} {typical:8.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("names", nargs="*", help="of workloads, all by default")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    before, after = Checkout(given.before.resolve()), Checkout(ROOT)
    print(f"{'workload':<16} {'before, ms':>10} {'now, ms':>10} {'ratio':>8} {'median':>8}")
    for name in given.names or [n for n in after.names if n in before.names]:
        print(compared(name, before, after, given.rounds), flush=True)


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else main()
