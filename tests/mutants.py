"""How many single faults in the code do the tests notice? Mutation testing by Cosmic Ray.

    pip install -e ".[test,mutants]"
    python tests/mutants.py survey             # which tests run which lines, how long they take
    python tests/mutants.py run --sample 300   # writes tests/mutants.json, prints the score

``survey`` runs the suite once under coverage and leaves ``.mutants/``; ``run`` draws single changes
of an operator, a comparison, a number, a condition or a loop from kernels, schemes, dynamics,
metrics and certificates, makes one at a time in a copy of the tree and runs the tests that reach
the changed line, fastest first, until one fails. Compiled functions are invisible to coverage:
theirs are the tests of the functions that mention them. What survives is listed with its change.
Not part of the suite: an hour or two on two cores.
"""

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / ".mutants"
SCOPE = ("pdekit/pde", "pdekit/particles", "pdekit/comparison")
LONGEST = 240.0  # seconds of tests for one change
SLOW_TEST = 60.0  # a single test that takes longer is left out of the choice


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


# --- the survey -----------------------------------------------------------------------------------


def survey() -> None:
    STORE.mkdir(exist_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(STORE / "coverage"), "MPLBACKEND": "agg"}
    command = [
        sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--truth", "60",
        "--cov=pdekit", "--cov-context=test", "--cov-report=", f"--junitxml={STORE / 'times.xml'}",
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, env=environment, check=False)


@cache
def durations() -> dict[str, float]:
    """Seconds of every test, by the name that coverage gives it."""
    from xml.etree import ElementTree

    found = {}
    for case in ElementTree.parse(STORE / "times.xml").iter("testcase"):
        where = case.get("classname", "").replace(".", "/")
        found[f"{where}.py::{case.get('name')}"] = float(case.get("time", 0))
    return found


@cache
def contexts(path: str) -> dict[int, set[str]]:
    """The tests that run each line of a file."""
    from coverage import CoverageData

    data = CoverageData(str(STORE / "coverage"))
    data.read()
    by_line = data.contexts_by_lineno(str(ROOT / path))
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


def tests_of(mutant: Mutant) -> list[str]:
    """Tests worth running, fastest first, up to ``LONGEST`` seconds together."""
    found, names, depth = reached(mutant.path, mutant.line), {mutant.function}, 0
    while not found and depth < 3:
        places = set().union(*(mentions().get(name, set()) for name in names))
        found = set().union(*(reached(path, line) for path, line in places))
        names = {
            f.name for path, line in places for f in functions(path)
            if f.lineno <= line <= (f.end_lineno or 0)
        }  # fmt: skip
        depth += 1
    times = durations()
    chosen, total = [], 0.0
    for name in sorted(found, key=lambda name: times.get(name, SLOW_TEST)):
        took = times.get(name, SLOW_TEST)
        if took > SLOW_TEST or total + took > LONGEST:
            break
        chosen.append(name)
        total += took
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


def judged(mutant: Mutant, tree: Path) -> dict[str, Any]:
    """Make one change in a copy of the tree, run its tests, undo it."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    tests = tests_of(mutant)
    file = tree / mutant.path
    before = file.read_bytes()
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    changed = [
        (a, b) for a, b in zip(before.decode().splitlines(), after.splitlines(), strict=True)
        if a != b
    ]  # fmt: skip
    record = asdict(mutant) | {
        "change": [f"{a.strip()}  ->  {b.strip()}" for a, b in changed], "tests": len(tests)
    }  # fmt: skip
    if not tests:
        return record | {"outcome": "no test"}
    stamp = os.stat(file)
    caches = set_aside(tree, mutant.path)
    try:
        file.write_text(after)
        outcome = run_tests(tree, tests)
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        put_back(tree, caches)
    return record | outcome


def run_tests(tree: Path, tests: list[str]) -> dict[str, Any]:
    environment = {
        **os.environ, "PYTHONPATH": str(tree), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov",
        "--truth", "60", "--truth-seed", "1", *tests,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False,
            timeout=4 * LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"outcome": "killed", "by": "does not end"}
    if done.returncode == 0:
        return {"outcome": "survived"}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return {"outcome": "killed", "by": failed[0] if failed else done.stdout[-300:]}


def set_aside(tree: Path, path: str) -> dict[Path, bytes]:
    """Compiled code that may hold the changed function: of its file and of all that import it."""
    stems, grown = {Path(path).stem}, True
    while grown:
        grown = False
        for file in (tree / "pdekit").rglob("*.py"):
            imported = re.findall(r"^\s*(?:from|import) .*$", file.read_text(), re.MULTILINE)
            if file.stem not in stems and any(
                re.search(rf"\b{stem}\b", line) for line in imported for stem in stems
            ):
                stems.add(file.stem)
                grown = True
    kept = {}
    for cached in (tree / "pdekit").rglob("__pycache__/*.nb*"):
        if cached.name.split(".")[0].rsplit("-", 1)[0] in stems:
            kept[cached] = cached.read_bytes()
            cached.unlink()
    return kept


def put_back(tree: Path, caches: dict[Path, bytes]) -> None:
    stems = {cached.name.split(".")[0] for cached in caches}
    for cached in (tree / "pdekit").rglob("__pycache__/*.nb*"):
        if cached.name.split(".")[0] in stems:
            cached.unlink()
    for cached, content in caches.items():
        cached.write_bytes(content)


def run(sample: int, seed: int, workers: int) -> None:
    chance, places = random.Random(seed), defaultdict(list)
    for mutant in mutants():
        places[mutant.path, mutant.line, mutant.column].append(mutant)
    # a place counts once, however many operators could stand in it
    everything = [chance.choice(changes) for changes in places.values()]
    chosen = chance.sample(everything, min(sample, len(everything)))
    trees: Queue[Path] = Queue()
    for k in range(workers):
        tree = STORE / f"tree{k}"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".mutants", ".venv"))
        trees.put(tree)
    records: list[dict[str, Any]] = []

    def one(mutant: Mutant) -> None:
        tree = trees.get()
        try:
            record = judged(mutant, tree)
        finally:
            trees.put(tree)
        records.append(record)
        print(f"{len(records):4d} {record['outcome']:9} {mutant.path}:{mutant.line}", flush=True)
        write(records, len(everything), seed)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, chosen))


def write(records: list[dict[str, Any]], population: int, seed: int) -> None:
    killed = sum(r["outcome"] == "killed" for r in records)
    summary = {
        "population": population, "seed": seed, "sample": len(records), "noticed": killed,
        "score": round(killed / len(records), 4),
        "unnoticed": [r for r in records if r["outcome"] != "killed"],
    }  # fmt: skip
    target = ROOT / "tests" / "mutants.json"
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=1) + "\n")
    partial.replace(target)
    print(f"     noticed {killed} of {len(records)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("survey", "run"))
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    survey() if given.what == "survey" else run(given.sample, given.seed, given.workers)


if __name__ == "__main__":
    main()
