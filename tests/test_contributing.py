"""The examples of CONTRIBUTING.md apply to the code as it is, and do what they say."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIFFS = {
    title.strip(): diff
    for title, diff in re.findall(r"^### (.+?)\n.*?^```diff\n(.*?)^```", TEXT, re.S | re.M)
}


def files(diff: str) -> list[tuple[str, str]]:
    """(path, hunks) of every file of a diff."""
    return re.findall(r"^--- \S+\n\+\+\+ b/(\S+)\n(.*?)(?=^--- |\Z)", diff, re.S | re.M)


def sides(lines: list[str]) -> tuple[str, str]:
    """What lines of a hunk expect, and what they make of it."""
    before = [line[1:] for line in lines if not line.startswith("+")]
    after = [line[1:] for line in lines if not line.startswith("-")]
    return "\n".join(before), "\n".join(after)


def readings(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The sides of a hunk; and with less of the context above or below, beside which something may
    have been added, where the other side of it is there.
    """
    changed = [k for k, line in enumerate(lines) if not line.startswith(" ")]
    above, below = lines[: changed[0]], lines[changed[-1] + 1 :]
    yield sides(lines)
    if any(line.strip() for line in below):
        yield from (sides(lines[k:]) for k in range(1, len(above) + 1))
    if any(line.strip() for line in above):
        yield from (sides(lines[: len(lines) - k]) for k in range(1, len(below) + 1))


def applied(text: str, hunks: str, path: str) -> str:
    """The text of a file after the hunks; each must fit in one place, line by line."""
    text = "\n" + text
    for hunk in re.split(r"^@@ .*@@\n", hunks, flags=re.M)[1:]:
        lines = hunk.splitlines()
        before, after = sides(lines)
        if not before:
            text = f"\n{after}\n"
            continue
        fits = [pair for pair in readings(lines) if text.count(f"\n{pair[0]}\n") == 1]
        assert fits, (
            f"an example of CONTRIBUTING.md does not fit {path}, where something was added beside "
            f"it; move that, or update these lines of the example: {before!r}"
        )
        text = text.replace(f"\n{fits[0][0]}\n", f"\n{fits[0][1]}\n")
    return text[1:]


def apply(diff: str, root: Path) -> None:
    for path, hunks in files(diff):
        old = (root / path).read_text(encoding="utf-8") if (root / path).exists() else ""
        (root / path).write_text(applied(old, hunks, path), encoding="utf-8")


@pytest.mark.parametrize("title", DIFFS)
def test_the_diff_fits(title: str) -> None:
    assert files(DIFFS[title])
    for path, hunks in files(DIFFS[title]):
        new = hunks.startswith("@@ -0,0")
        assert (ROOT / path).exists() is not new
        old = "" if new else (ROOT / path).read_text(encoding="utf-8")
        assert applied(old, hunks, path) != old


def test_a_diff_of_other_code_does_not_fit() -> None:
    with pytest.raises(AssertionError, match="no such line"):
        applied("a\nb\n", "@@ -1 +1 @@\n-no such line\n+c\n", "x.py")
    with pytest.raises(AssertionError, match="does not fit"):
        applied("a\nb\n", "@@ -1 +1 @@\n \n-b\n+c\n", "x.py")  # no blank line before b
    with pytest.raises(AssertionError, match="does not fit"):
        applied("a\nx\nd\ny\n", "@@ -1 +1 @@\n a\n b\n+c\n d\n e\n", "x.py")  # on both sides
    assert applied("a\nb\n", "@@ -1 +1 @@\n a\n-b\n+c\n", "x.py") == "a\nc\n"


def test_a_line_added_on_one_side_does_no_harm() -> None:
    hunk = "@@ -1 +1 @@\n a\n b\n+new\n d\n e\n"
    assert applied("a\nb\nc\nd\ne\n", hunk, "x.py") == "a\nb\nc\nnew\nd\ne\n"
    assert applied("a\nb\nd\nc\ne\n", hunk, "x.py") == "a\nb\nnew\nd\nc\ne\n"


USED = """
import numpy as np, torch
import pdekit as pk
from pdekit import certificates
from pdekit.interactions import LogCosh
from pdekit.particles import ensemble
from pdekit.particles.fused import fused

V, still = pk.potentials.Quartic(2.0), torch.zeros(1, 8, 1, dtype=torch.float64)
assert np.allclose(V.grad(np.array([[2.0]])), 16) and fused(pk.Langevin(V, 4.0), still)

ring = pk.Grid(0, 2 * np.pi, 128, periodic=True)
u = pk.solve(pk.FractionalHeat(2.0, 0.5), ring, lambda x: np.cos(x[..., 0]), 1.0)
assert abs(u.fields.max() - np.exp(-1 / 4)) < 1e-3

confined = pk.ConfinedLangevin(pk.potentials.DoubleWell(), 4.0)
assert fused(confined, still) and confined.law().potential(np.array([[1.0]])) == 0.5

linear = pk.LinearLangevin(1.5, 4.0)
assert fused(linear, still)
run = lambda: pk.simulate(linear, pk.Gaussian(1.0, 0.3), 500, [0.5, 1.0], 0.1, runs=2).x.values
compiled = run()
ensemble.fused = lambda *a: None
assert (run() == compiled).all() and abs(compiled[1].mean() - np.exp(-1.5)) < 0.1

W = pk.PairPotential(LogCosh(1.0, 0.5))
assert np.allclose(W.grad(np.array([[100.0]])), 2.0) and np.isfinite(W(np.array([[1e4]])))
law = pk.McKeanVlasov(pk.potentials.DoubleWell(), 4.0, W)
rho = pk.solve(law, pk.Grid(-3, 3, 100), pk.Gaussian(0.0, 0.5), [0.0, 0.2])
assert certificates.Evenness()(rho).passed
tilted = pk.solve(law, pk.Grid(-3, 3, 100), pk.Gaussian(0.3, 0.5), [0.0, 0.2])
assert certificates.Evenness()(tilted).passed is None

x = torch.nn.Parameter(torch.tensor([3.0]))
optimizer = pk.optim.HeavyBall([x])
for _ in range(300):
    optimizer.zero_grad()
    (x**2 / 2).backward()
    optimizer.step()
assert abs(x.item()) < 1e-3

import sys
sys.path.insert(0, "tests")
import bad_inputs, test_compiled, test_import, test_optimizers, test_order
import test_truth_bad_input, test_truth_rows, truth
new = {"solve FractionalHeat", "ConfinedLangevin", "LinearLangevin", "optim HeavyBall"}
rows = [row for row in test_truth_rows.rows() if new & {*row.covers}]
assert len(rows) == 4 and all(truth.tally(row, 1, 20) for row in rows)
test_truth_rows.test_every_public_verb_has_a_row_of_random_problems()
names = {"Quartic", "Fractional", "optim.HeavyBall", *new}
bad = [case for case in test_truth_bad_input.every_case() if case[0].name in names]
assert {test_truth_bad_input.verdict(*case)[0] for case in bad} == {"refused"}
test_truth_bad_input.test_every_public_name_is_tried()
test_compiled.test_the_tables_have_every_dynamics()
test_import.test_the_readme_uses_every_public_name_and_the_documents_no_other()
test_import.test_help_is_short("pdekit.optim")
test_optimizers.test_every_class_has_its_bad_options()
test_order.test_every_scheme_has_a_row_for_every_equation_it_solves()

from pdekit import cli
study = cli.load_study("relaxation")
assert all(claim.holds for claim in study.claims(study.run(quick=True)))
"""


def test_the_examples_together_do_what_they_say(tmp_path: Path) -> None:
    """In a copy of the package, with what is compiled already where nothing is changed."""
    for name in ("pdekit", "studies", "tests", "README.md", "pyproject.toml"):
        source, copy = ROOT / name, tmp_path / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    for diff in DIFFS.values():
        apply(diff, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USED], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
