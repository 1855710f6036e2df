"""How many single faults in the code do the tests notice? Mutation testing by Cosmic Ray.

    pip install -e ".[test,mutants]"
    python tests/mutants.py survey             # which tests run which lines, how long they take
    python tests/mutants.py run --sample 300   # writes tests/mutants.json, prints the score

``survey`` runs every test file once under coverage and leaves ``.mutants/``; a later call runs only
the files that have changed. With ``--fast`` it takes ten minutes in place of an hour, as it leaves
out what slow.txt names, but for the random problems; fewer faults are then noticed. ``run`` draws
single changes of an operator, a comparison, a number, a condition or a loop from kernels, schemes,
dynamics, metrics and certificates, makes one at a time in a copy of the tree and runs the tests
that reach the changed line, fastest first, until one fails. A run that was stopped goes on where it
was; ``--again`` judges those that survived once more, with the tests of now. ``unnoticed`` does so
without the records of that run: it finds the changes that mutants.json lists as not noticed in the
tree of now, by their text; ``gone`` are those whose line is there no more. Compiled functions are
invisible to coverage: theirs are the tests of the functions that mention them. What survives is
listed with its change. Unix only: every process of pytest is a fork of one that has NumPy, SciPy
and torch in memory. Not part of the suite: an hour or two on two cores.
"""

import argparse
import ast
import gc
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / ".mutants"
SCOPE = ("pdekit/pde", "pdekit/particles", "pdekit/comparison")
LONGEST = 4.0  # seconds of the processor for the tests of one change, as under coverage
SLOW_TEST = 4.0  # a single test that takes longer is left out of the choice
DRAWS = ("--truth", "8", "--truth-seed", "2026")  # of the tests against independent answers
OPTIONS = (
    "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-W", "ignore::pytest.PytestAssertRewriteWarning", "-W", "ignore::SyntaxWarning", *DRAWS,
)  # fmt: skip
FIRST = 10  # tests that are tried before the rest is even imported
PROCESSOR = 40  # seconds of it for one change, with compiling, before it "does not end"
PATIENCE = 600.0  # by the clock

# files whose tests say nothing about the scope, judge by the clock, or run whole studies
APART = (
    "chaos_study", "cli", "control_studies", "homogenisation_study", "import", "memory",
    "optimizer_speed", "optimizers", "optimizers_smooth", "page", "particle_speed", "peers",
    "plotting", "faults_optim", "report", "smoothed_training", "speed_page", "studies",
    "truth_optim", "work_precision",
)  # fmt: skip


# files that tests run in processes of their own, which coverage does not see
ELSEWHERE = {
    "pdekit/particles/run/ranks.py": "tests/test_ranks.py",
    "pdekit/particles/ensemble.py": "tests/test_ranks.py",
}


# changes after which nothing that anyone can see differs: file (and function, where the text is
# that of other lines too), what it was changed to, why
EQUIVALENT = (
    ("pde/discrete/generators.py", "zip(offset, periodic, strict=False)",
     "the lengths are always equal"),
    ("particles/basins.py", "zip(index, grid.shape, strict=False)", "the lengths are always equal"),
    ("particles/chebyshev.py", "basis[ -1].shape[1]", "all have a column for every particle"),
    ("pde/kernels/min_plus.py", "return 2, 0",
     "a copy farther off is never the nearest: only slower"),
    ("particles/run/curvature.py", "nan_to_num(0.0, -1.0, 0.0)",
     "the maximum with 0 is taken next"),
    ("pde/kernels/elimination.py", "np.full(n, - 2), np.full(n, -1)",
     "parents are read only on the path to a later cell, where they are set"),
    ("pde/kernels/bernoulli.py", "691 / 1307674368001", "below rounding wherever it is used"),
    ("particles/fused.py", "_Part(ROUGH, (V.delta, -1.0))", "its second number is not read"),
    ("pde/phases/continuation.py", "len(points) == _MOST", "one point is added at a time"),
    ("pde/kernels/tridiagonal.py", "if i > -1 else 0.0",
     "multiplies the excess before the first cell, 0"),
    ("pde/kernels/uniformization.py", "10 * sqrt(mean) + 39", "terms below 1e-17 of the sum"),
    ("particles/kernels/noise.py", "out[2 * j ^ 1] = y", "of an even number it is the next one"),
    ("pde/kernels/envelope.py", "else half ** (j - i)",
     "the last one on the hull is the neighbour"),
    ("pde/kernels/elimination.py", "w[k, k // 1 :].sum()", "the diagonal is zero"),
    ("pde/kernels/bellman_lines.py", "z[ 0 : n + 1].copy(), False",
     "not looked at where it is not sound"),
    ("comparison/layers.py", "reshape(- 2, grid.dim)", "any negative length is unknown to NumPy"),
    ("particles/run/starts.py", "LawNoise(seed, 1, dtype, device)",
     "two draws of one address are compared, whichever it is"),
    ("particles/forces.py", "height = max( 2,", "how many runs share a tile"),
    ("particles/run/curvature.py", "amax(dim=1)", "of points (n, d) the last axis is axis 1"),
    ("pde/discrete/long_time.py", "generator.down, strict=False", "the lengths are always equal"),
    ("pde/discrete/circulation.py", "_rotation(forms, grid), strict=False",
     "the lengths are always equal"),
    ("particles/run/descriptions.py", "(), strict=False", "a function has a cell for every name"),
    ("pde/kernels/filtered_march.py", "np.empty(columns + 5)", "one number more than is used"),
    ("pde/kernels/filtered_march.py", "u, span, 0, -1", "the larger one of it and 0 is told"),
    ("pde/bellman/h_transform.py", "self.leave / self.fastest, -1.0)",
     "the fastest is the largest of them"),
    ("pde/bellman/value_checks.py", "second.min(axes, initial= 1.0)",
     "the maximum with a number >= 0 is taken next"),
    ("pde/kernels/implicit_lines.py:_rates", "for i in range(n - 2):",
     "the last face is not among those that are done in vectors"),
    ("particles/run/provenance.py", 'top > "__main__"',
     "of the names of modules without a file none comes before it"),
    ("comparison/semiconcavity.py", ".all(axis=+1)",
     "of eigenvalues (n, d) the last axis is axis 1"),
    ("pde/kernels/bellman_lines.py", "_A ^ q", "_A is 0"),
    ("pde/kernels/uniformization.py", "mean is not 2 * _WIDEST", "either is more than is taken"),
    ("comparison/clouds.py", "reshape(runs, ~1, self.grid.dim)",
     "any negative length is unknown to NumPy"),
    ("pde/references.py", "if z.imag > 1", "the poles above the axis are beyond 1"),
    ("pde/schemes/colehopf.py", "sqrt( 3 * t", "nodes that add nothing to the sum: only slower"),
    ("pde/bellman/resolvent.py", "self.scale = 1 * r",
     "multiples of a preconditioner are one to BiCGStab"),
    ("pde/bellman/resolvent.py", "_MOST >> spent", "a factorisation follows: only slower"),
    ("comparison/convergence.py", "(spread != 0)", "a deviation of finite numbers is not negative"),
    ("pde/phases/self_consistent.py", "system.grid.dim >= 1",
     "in the plane more starts are tried, in vain"),
    ("pde/discrete/subcell.py", "2 * bend, np.inf), 2.0)",
     "at a minimum of the samples, where alone it is read, the ratio is at most a quarter"),
    ("pde/discrete/propagator.py", "( 2 + np.abs(steps).sum())", "an allowance for rounding"),
    ("particles/chebyshev.py", "count[:, None] % steps", "test points as irregular as those"),
    ("pde/schemes/krylov.py", "not m % _EVERY == 0",
     "the bound holds for a basis of any size and is looked at more often: only slower"),
    ("pde/schemes/krylov.py", "least < _LOOSEST", "they are equal for no time of anyone"),
    ("pde/discrete/strang.py", "cells) < _FEW", "a pilot where it saves nothing: only slower"),
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: the ``occurrence``-th place in ``path`` where the operator applies."""

    path: str
    operator: str
    arguments: dict[str, Any]
    occurrence: int
    line: int
    column: int
    function: str


# --- processes ------------------------------------------------------------------------------------


class Monitor:
    """Fails tests that take too long, and keeps the times of those that pass."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.times: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: Any) -> Iterator[None]:
        start = time.process_time()
        try:
            return (yield)
        finally:
            self.times[item.nodeid] = time.process_time() - start

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        signal.signal(signal.SIGPROF, lambda *_: pytest.fail("takes too long"))
        signal.setitimer(signal.ITIMER_PROF, self.longest)
        start = time.process_time()
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.times[item.nodeid] += time.process_time() - start

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.skipped:
            self.times.pop(report.nodeid, None)
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def fork(work: Callable[[], int], log: Path) -> int:
    """Work in a process of its own group, whose output goes to ``log``."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        code = work()
    except BaseException as error:
        print(repr(error), flush=True)
        code = 70
    sys.stdout.flush()
    os._exit(code)


def pytest_in(tree: Path, arguments: list[str], result: Path, longest: float) -> int:
    """pytest.main in a tree, in this process; what passed and failed goes to ``result``."""
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "MPLBACKEND": "agg"}
    sys.path[:] = [str(tree), *(p for p in sys.path if p and not p.startswith(str(ROOT)))]
    monitor = Monitor(longest)
    code = pytest.main([*OPTIONS, *arguments], plugins=[monitor])
    result.write_text(json.dumps({"times": monitor.times, "failed": monitor.failed}))
    return int(code)


def preload() -> None:
    """What every process of the tests imports, but pdekit."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import scipy.integrate
    import scipy.optimize
    import scipy.sparse.linalg
    import scipy.stats  # noqa: F401
    import torch
    import xarray  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()


# --- the survey -----------------------------------------------------------------------------------


def survey(workers: int, only: list[str], fast: bool) -> None:
    (STORE / "survey").mkdir(parents=True, exist_ok=True)
    names = only or [f.stem for f in sorted((ROOT / "tests").glob("test_*.py"))]
    files = [ROOT / "tests" / f"{name}.py" for name in names if name[5:] not in APART]
    stale = [f for f in files if not fresh(f)]
    running: dict[int, tuple[Path, float]] = {}
    preload()
    while stale or running:
        while stale and len(running) < workers:
            file = stale.pop(0)
            log = STORE / "survey" / f"{file.stem}.log"
            running[fork(lambda file=file: survey_of(file, fast), log)] = file, time.monotonic()
        pid, status = os.wait()
        file, start = running.pop(pid)
        print(f"{file.stem:40} {time.monotonic() - start:6.1f} s  exit {status >> 8}", flush=True)


def fresh(file: Path) -> bool:
    kept = STORE / "survey" / f"{file.stem}.json"
    return kept.exists() and kept.stat().st_mtime > file.stat().st_mtime


def survey_of(file: Path, fast: bool) -> int:
    os.environ["COVERAGE_FILE"] = str(STORE / "survey" / f"{file.stem}.coverage")
    arguments = ["--cov=pdekit", "--cov-context=test", "--cov-report=", f"tests/{file.name}"]
    arguments += ["-m", "not slow"] if fast and "truth" not in file.stem else []
    return pytest_in(ROOT, arguments, STORE / "survey" / f"{file.stem}.json", SLOW_TEST)


@cache
def durations() -> dict[str, float]:
    """Seconds of every test that passes."""
    found: dict[str, float] = {}
    for file in (STORE / "survey").glob("*.json"):
        found |= json.loads(file.read_text())["times"]
    return found


@cache
def measured() -> Any:
    from coverage import CoverageData

    found = CoverageData(no_disk=True)
    for file in (STORE / "survey").glob("*.json"):
        data = CoverageData(str(file.with_suffix(".coverage")))
        data.read()
        found.update(data)
    return found


@cache
def contexts(path: str) -> dict[int, set[str]]:
    """The tests that run each line of a file."""
    by_line = measured().contexts_by_lineno(str(ROOT / path))
    return {line: {name.split("|")[0] for name in names if name} for line, names in by_line.items()}


@cache
def functions(path: str) -> list[ast.FunctionDef]:
    tree = ast.parse((ROOT / path).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def reached(path: str, line: int) -> set[str]:
    """Tests that run the innermost function about a line (all of it: a branch may be new)."""
    within = [f for f in functions(path) if f.lineno <= line <= (f.end_lineno or 0)]
    if not within:
        return set()
    inner = max(within, key=lambda f: f.lineno)
    body = range(inner.body[0].lineno, (inner.end_lineno or 0) + 1)
    at_line = contexts(path).get(line, set())
    return at_line or set().union(*(contexts(path).get(k, set()) for k in body))


@cache
def mentions() -> dict[str, set[tuple[str, int]]]:
    """Where in functions each name is mentioned: (path, line)."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for file in sorted((ROOT / "pdekit").rglob("*.py")):
        path = str(file.relative_to(ROOT))
        for function in functions(path):
            for node in ast.walk(function):
                name = getattr(node, "id", getattr(node, "attr", None))
                if isinstance(name, str) and name != function.name:
                    found[name].add((path, node.lineno))
    return found


@cache
def mentioned_by_tests() -> dict[str, set[str]]:
    """The tests in whose code each name stands."""
    found: dict[str, set[str]] = defaultdict(set)
    for test in durations():
        path, _, name = test.partition("::")
        for word in words_of_tests(path).get(name.partition("[")[0], set()):
            found[word].add(test)
    return found


@cache
def words_of_tests(path: str) -> dict[str, set[str]]:
    return {f.name: set(re.findall(r"\w+", ast.unparse(f))) for f in functions(path)}


@cache
def knows(path: str, module: str) -> bool:
    """Whether a file is a module, or names it."""
    return path == module or bool(re.search(rf"\b{Path(module).stem}\b", (ROOT / path).read_text()))


def users(path: str, name: str) -> set[tuple[str, int]]:
    """Where a function of a module is mentioned."""
    return {(p, line) for p, line in mentions().get(name, set()) if knows(p, path)}


def seen_from_outside(mutant: Mutant) -> set[str]:
    """Of compiled functions, which coverage does not see: the tests of what mentions them."""
    names, found = {(mutant.path, mutant.function)}, set()
    for _ in range(6):
        places = set().union(*(users(*name) for name in names))
        found = set().union(*(reached(*place) for place in places))
        for path, name in names:
            tests = mentioned_by_tests().get(name, set())
            found |= {test for test in tests if knows(test.partition("::")[0], path)}
        if found:
            break
        names = {
            (path, f.name)
            for path, line in places
            for f in functions(path)
            if f.lineno <= line <= (f.end_lineno or 0)
        }
    return found


def tests_of(mutant: Mutant) -> list[str]:
    """Tests worth running, fastest first, up to ``LONGEST`` seconds together."""
    found = reached(mutant.path, mutant.line) or seen_from_outside(mutant)
    times, chosen, total = durations(), [], 0.0
    if mutant.path in ELSEWHERE:
        found = found | {test for test in times if test.startswith(ELSEWHERE[mutant.path])}
    for name in sorted(found & times.keys(), key=times.__getitem__):
        if times[name] > SLOW_TEST or total + times[name] > LONGEST:
            break
        chosen.append(name)
        total += times[name]
    return chosen


# --- the changes ----------------------------------------------------------------------------------


def mutants() -> list[Mutant]:
    """All changes in scope, but for those in annotations, decorators and texts of errors."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.plugins import get_operator, operator_names

    found = []
    for file in sorted(f for part in SCOPE for f in (ROOT / part).rglob("*.py")):
        path = str(file.relative_to(ROOT))
        dull = dull_lines(path)
        nodes = list(ast_nodes(get_ast_from_path(file)))
        for name in operator_names():
            kind = get_operator(name)
            if kind.arguments() or "no-op" in name or "decorator" in name or "BitOr" in name:
                continue
            places = [at for node in nodes for at in kind().mutation_positions(node)]
            for occurrence, ((line, column), _) in enumerate(places):
                inside = [f for f in functions(path) if f.lineno <= line <= (f.end_lineno or 0)]
                if line not in dull and inside:
                    function = max(inside, key=lambda f: f.lineno).name
                    found.append(Mutant(path, name, {}, occurrence, line, column, function))
    return found


def dull_lines(path: str) -> set[int]:
    """Lines of decorators, signatures, and ``raise`` and ``warn`` statements."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            lines |= set(range(first, node.body[0].lineno))
        elif (
            (isinstance(node, ast.AnnAssign) and node.value is None)
            or isinstance(node, ast.Raise)
            or (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "warn")
        ):
            lines |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return lines


@contextmanager
def planted(mutant: Mutant, tree: Path) -> Iterator[list[str]]:
    """One change in a copy of the tree, for a while; the changed lines."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    file = tree / mutant.path
    before, stamp = file.read_bytes(), os.stat(file)
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    lines = zip(before.decode().splitlines(), after.splitlines(), strict=True)
    try:
        file.write_text(after)
        yield [f"{a.strip()}  ->  {b.strip()}" for a, b in lines if a != b]
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        put_back_caches(tree)


def judge(mutant: Mutant, tests: list[str], tree: Path) -> int:
    """Make one change in a copy of the tree, run its tests, undo it; in a process of its own."""
    record, result = asdict(mutant), tree / "result.json"
    start = time.monotonic()
    with planted(mutant, tree) as change:
        record |= {"change": change, "tests": len(tests)}
        if no_difference(record):
            record["outcome"] = "survived"
        else:
            load_from_caches(tree, mutant)
            record |= outcome(tests, tree, result) if tests else {"outcome": "no test"}
    record["seconds"] = round(time.monotonic() - start, 1)
    result.write_text(json.dumps(record))
    return 0


def outcome(tests: list[str], tree: Path, result: Path) -> dict[str, Any]:
    sys.dont_write_bytecode = True
    log = tree / "pytest.log"
    pid = fork(lambda: in_two_turns(tree, tests, result), log)
    deadline = time.monotonic() + PATIENCE
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if done == (0, 0):
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return {"outcome": "killed", "by": "does not end"}
    code = os.waitstatus_to_exitcode(done[1])
    if code < 0:
        return {"outcome": "killed", "by": f"signal {-code}"}
    if code == 0:
        return {"outcome": "survived"}
    failed = json.loads(result.read_text())["failed"] if code in (1, 2, 4) else []
    if not failed:
        return {"outcome": "broken", "by": log.read_text()[-500:]}
    return {"outcome": "killed", "by": failed[0]}


def in_two_turns(tree: Path, tests: list[str], result: Path) -> int:
    """A few tests first: most faults are seen at once, and test files take long to import."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    for some in (tests[:FIRST], tests[FIRST:]):
        arguments = ["-x", "-p", "no:cov", *some]
        if some and (code := pytest_in(tree, arguments, result, 5 * SLOW_TEST)):
            return code
    return 0


def recompiled(mutant: Mutant) -> set[str]:
    """Names of the compiled functions that may hold the changed one."""
    found, new = set(), {(mutant.path, mutant.function)}
    while new - found:
        found |= new
        places = set().union(*(users(*name) for name in new))
        within = [
            (path, f)
            for path, line in places
            for f in functions(path)
            if f.lineno <= line <= (f.end_lineno or 0) and is_compiled(f)
        ]
        new = {(path, name) for path, f in within for name in (f.name, *overloaded(f))}
    return {name for _, name in found}


def is_compiled(function: ast.FunctionDef) -> bool:
    decorators = " ".join(ast.unparse(node) for node in function.decorator_list)
    return bool(re.search("njit|_compiled|_contracted|overload", decorators))


def overloaded(function: ast.FunctionDef) -> list[str]:
    """What ``@overload`` makes a function stand for in compiled code."""
    return [
        ast.unparse(node.args[0])
        for node in function.decorator_list
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "overload"
    ]


def load_from_caches(tree: Path, mutant: Mutant) -> None:
    """Compiled code of the clean tree, but of the changed functions; nothing is saved."""
    from numba.core import caching

    changed = {re.compile(rf"\b{re.escape(name)}-\d") for name in recompiled(mutant)}
    locator, files = caching._SourceFileBackedLocatorMixin, caching.IndexDataCacheFile
    stamp, load = locator.get_source_stamp, files.load

    def stamp_of_clean(self: Any) -> Any:
        clean = type(self).__new__(type(self))
        clean._py_file = str(ROOT / Path(self._py_file).relative_to(tree))
        return stamp(clean)

    def load_unchanged(self: Any, key: Any) -> Any:
        return None if any(c.search(self._index_name) for c in changed) else load(self, key)

    locator.get_source_stamp, files.load = stamp_of_clean, load_unchanged
    files.save = lambda *_: None


def put_back_caches(tree: Path) -> None:
    """What processes of the tests may have compiled holds the change."""
    for folder in (ROOT / "pdekit").rglob("__pycache__"):
        there = tree / folder.relative_to(ROOT)
        for file in there.glob("*.nb*"):
            clean = folder / file.name
            if not clean.exists():
                file.unlink()
            elif clean.stat().st_mtime != file.stat().st_mtime:
                shutil.copy2(clean, file)


def drawn(sample: int, seed: int) -> tuple[list[Mutant], int]:
    """Changes drawn at random, and among how many places; kept, as finding all takes minutes."""
    file = STORE / f"drawn-{sample}-{seed}.json"
    if not file.exists():
        chosen, population = drawn_anew(sample, seed)
        file.write_text(json.dumps([[asdict(mutant) for mutant in chosen], population]))
    chosen, population = json.loads(file.read_text())
    return [Mutant(**mutant) for mutant in chosen], population


def drawn_anew(sample: int, seed: int) -> tuple[list[Mutant], int]:
    chance, places = random.Random(seed), defaultdict(list)
    for mutant in mutants():
        places[mutant.path, mutant.line, mutant.column].append(mutant)
    # a place counts once, however many operators could stand in it
    everything = [chance.choice(changes) for changes in places.values()]
    return chance.sample(everything, min(sample, len(everything))), len(everything)


def unnoticed(workers: int) -> None:
    """Judge what mutants.json lists as not noticed once more, in the tree of now."""
    file = ROOT / "tests" / "mutants.json"
    summary = json.loads(file.read_text())
    found = {key(record): again(record) for record in summary["unnoticed"]}
    left = [mutant for mutant in found.values() if mutant]
    (STORE / "records.jsonl").touch()
    judge_all(left, workers, lambda record: print(record["outcome"], *record["change"]))
    now = known()
    records = [now[key(asdict(m))] if m else None for m in found.values()]
    gone = [r for r, m in zip(summary["unnoticed"], found.values(), strict=True) if m is None]
    killed = [r for r in records if r and r["outcome"] == "killed"]
    left_over = [r for r in records if r and r["outcome"] != "killed"]
    same = [{**r, "why": why} for r in left_over if (why := no_difference(r))]
    summary["gone"] = summary.get("gone", []) + gone
    summary["noticed_later"] = summary.get("noticed_later", []) + killed
    summary["equivalent"] += same
    summary["unnoticed"] = [r for r in left_over if not no_difference(r)]
    summary["noticed"] += len(killed)
    summary["judged"] -= len(gone)
    summary["score"] = round(summary["noticed"] / summary["judged"], 4)
    all_but = summary["judged"] - len(summary["equivalent"])
    summary["score_without_equivalent"] = round(summary["noticed"] / all_but, 4)
    file.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"     noticed {summary['noticed']} of {all_but}", flush=True)


def again(record: dict[str, Any]) -> Mutant | None:
    """The same change of the same line in the tree of now, wherever it stands."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    before, changed = map(bare, record["change"][0].split("  ->  "))
    operator = get_operator(record["operator"])()
    own = ROOT / record["path"]
    for file in [own, *sorted(own.parent.glob("*.py"))]:  # a function may have moved next door
        path, lines = str(file.relative_to(ROOT)), file.read_text().splitlines()
        if before not in map(bare, lines):
            continue
        nodes = ast_nodes(get_ast_from_path(file))
        places = [at for node in nodes for at in operator.mutation_positions(node)]
        for occurrence, ((line, column), _) in enumerate(places):
            if bare(lines[line - 1]) == before:
                after = mutate_code(file.read_bytes(), operator, occurrence).splitlines()
                if bare(after[line - 1]) == changed:
                    inside = [f for f in functions(path) if f.lineno <= line <= (f.end_lineno or 0)]
                    function = max(inside, key=lambda f: f.lineno).name
                    return Mutant(path, record["operator"], record["arguments"], occurrence, line,
                                  column, function)  # fmt: skip
    return None


def bare(line: str) -> str:
    """A line without spaces and comment."""
    return re.sub(r"\s", "", line.partition("  #")[0])


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["path"], record["operator"], record["occurrence"], record["line"]


def known() -> dict[tuple[Any, ...], dict[str, Any]]:
    """What earlier runs found, the latest of each change."""
    lines = (STORE / "records.jsonl").read_text().splitlines() if STORE.exists() else []
    return {key(record): record for record in map(json.loads, lines)}


def copies(workers: int) -> list[Path]:
    """Copies of the tree, with the bytecode and the compiled code that the survey left."""
    trees = [STORE / f"tree{k}" for k in range(workers)]
    for tree in trees:
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".[a-z]*"))
    return trees


def run(sample: int, seed: int, workers: int, again: bool) -> None:
    STORE.mkdir(exist_ok=True)
    chosen, population = drawn(sample, seed)
    (STORE / "records.jsonl").touch()
    earlier = known()
    done = {k for k, r in earlier.items() if r["outcome"] == "killed" or no_difference(r)}
    if again:
        left = [m for m in chosen if (k := key(asdict(m))) in earlier and k not in done]
    else:
        left = [m for m in chosen if key(asdict(m)) not in earlier]
    judge_all(left, workers, lambda _: write(chosen, population, seed))


def judge_all(left: list[Mutant], workers: int, after_each: Callable[[Any], None]) -> None:
    """Judge changes in copies of the tree, and keep what was found."""
    preload()
    durations(), measured(), mentions()
    free, running = copies(workers), {}
    while left or running:
        while left and free:
            tree, mutant = free.pop(), left.pop(0)
            tests = tests_of(mutant)  # here: a fork has no database of coverage
            work = partial(judge, mutant, tests, tree)
            running[fork(work, tree / "judge.log")] = tree
        pid, status = os.wait()
        tree = running.pop(pid)
        if status:
            sys.exit(f"judging failed: {(tree / 'judge.log').read_text()}")
        free.append(tree)
        after_each(keep(tree / "result.json"))


def keep(result: Path) -> Any:
    record = json.loads(result.read_text())
    with (STORE / "records.jsonl").open("a") as records:
        records.write(json.dumps(record) + "\n")
    print(f"{record['outcome']:9} {record['seconds']:6.1f} s {record['path']}:{record['line']}")
    return record


def no_difference(record: dict[str, Any]) -> str:
    """Why a change is none, where that is known."""
    places = record["path"], f"{record['path']}:{record['function']}"
    for path, after, why in EQUIVALENT:
        if f"pdekit/{path}" in places and after in "".join(record["change"]):
            return why
    return ""


def write(chosen: list[Mutant], population: int, seed: int) -> None:
    found = known()
    records = [found[k] for k in (key(asdict(m)) for m in chosen) if k in found]
    killed = sum(r["outcome"] == "killed" for r in records)
    left = [r for r in records if r["outcome"] != "killed"]
    equivalent = [{**r, "why": why} for r in left if (why := no_difference(r))]
    summary = {
        "command": f"python tests/mutants.py run --sample {len(chosen)} --seed {seed}",
        "population": population, "drawn": len(chosen), "judged": len(records), "noticed": killed,
        "equivalent": equivalent, "score": round(killed / len(records), 4),
        "score_without_equivalent": round(killed / (len(records) - len(equivalent)), 4),
        "unnoticed": [r for r in left if not no_difference(r)],
    }  # fmt: skip
    (ROOT / "tests" / "mutants.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"     noticed {killed} of {len(records)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("survey", "run", "unnoticed"))
    parser.add_argument("files", nargs="*", help="of tests, by name, that are surveyed: all")
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fast", action="store_true", help="survey without what slow.txt names")
    parser.add_argument("--again", action="store_true", help="judge survivors once more")
    given = parser.parse_args()
    if given.what == "survey":
        survey(given.workers, given.files, given.fast)
    elif given.what == "unnoticed":
        unnoticed(given.workers)
    else:
        run(given.sample, given.seed, given.workers, given.again)


if __name__ == "__main__":
    main()
