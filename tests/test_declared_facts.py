"""Values say of themselves what others must know: nobody asks which class they are of.

Where arguments of users come in their kind is checked, and that is all.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import checks
from pdekit.interactions import GaussianWell, is_quadratic
from pdekit.particles.forces import ExactSum, mean_force
from pdekit.particles.fused import fused

PACKAGE = Path(pk.__file__).parent

# where isinstance meets a class of the package, and why
DOORS = {
    "grid.py": "an argument that must be a Grid",
    "in_time.py": "a β in time may be one already",
    "diffusions.py": "a bare D is Itô's",
    "comparison/inputs.py": "any object with .u and .grid",
    "particles/basins.py": "an argument that must be a Grid",
    "particles/observables.py": "an argument that must be a Grid",
    "particles/ensemble.py": "an argument that must be Ranks",
    "particles/run/fingerprint.py": "kinds of Python's, named in another file",
    "particles/run/guards.py": "an argument that must be a Grid",
    "particles/run/recorder.py": "an argument that must be a Checkpoint",
    "pde/control/control.py": "arguments that must be a Grid, a DoobTransform",
    "pde/hamiltonians.py": "an argument that must be a Hamiltonian",
    "pde/phases/branches.py": "a start that may be a state",
    "pde/phases/self_consistent.py": "an argument that must be a McKeanVlasov",
    "pde/stationary/stationary.py": "an argument that must be a FokkerPlanck",
    "potentials/protocol.py": "a user's potential may have another kernel",
    "potentials/algebra.py": "functions become potentials; the terms of sums",
    "potentials/tabulated.py": "equality by content",
    "resetting.py": "an argument that must be a Resetting",
    "walls.py": "an argument that must be Walls",
}
# of Python's, numpy's and torch's own: subclasses of them may mean anything
EXACT = {
    "checks.py",
    "storage/values.py",
    "particles/run/descriptions.py",
    "particles/run/fingerprint.py",
}


def named(node: ast.AST) -> set[str]:
    """The last names of what an expression refers to."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


def own_classes(tree: ast.Module) -> set[str]:
    """What a file defines or imports from the package, and short names for several of them."""
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pdekit"):
            own |= {alias.name for alias in node.names if alias.name[0].isupper()}
    own = {name for name in own if not name.endswith(("Error", "Warning", "TooSteep"))}
    kinds = [node for node in tree.body if isinstance(node, ast.Assign)]
    several = {t.id for node in kinds if named(node.value) & own for t in node.targets
               if isinstance(t, ast.Name)}  # fmt: skip
    return own | several


def isinstances(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            yield node


def asks_for_a_class(tree: ast.Module) -> bool:
    own = own_classes(tree)
    return any(named(call.args[1]) & own for call in isinstances(tree))


def is_class_of(node: ast.expr) -> bool:
    """``type(x)``."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return is_call and node.func.id == "type" and len(node.args) == 1


def asks_exactly(tree: ast.Module) -> bool:
    """``type(x) is K``, ``K.__name__ == "K"`` and their like."""
    sides = (
        side for n in ast.walk(tree) if isinstance(n, ast.Compare)
        for side in (n.left, *n.comparators)
    )  # fmt: skip
    return any(
        is_class_of(side) or (isinstance(side, ast.Attribute) and side.attr == "__name__")
        for side in sides
    )


@cache
def trees() -> dict[str, ast.Module]:
    """The files of the package in which there may be something."""
    texts = {str(p.relative_to(PACKAGE)): p.read_text() for p in PACKAGE.rglob("*.py")}
    asking = re.compile(r"\b(isinstance|issubclass|type)\(|__name__")
    return {name: ast.parse(text) for name, text in texts.items() if asking.search(text)}


def files_that(ask) -> set[str]:
    return {name for name, tree in trees().items() if ask(tree)}


def test_nobody_asks_for_a_class_but_where_arguments_come_in() -> None:
    found = files_that(asks_for_a_class)
    assert sorted(found - set(DOORS)) == []
    assert sorted(set(DOORS) - found) == [], "doors that are none"


def test_nobody_asks_for_the_class_itself_but_of_foreign_values() -> None:
    assert sorted(files_that(asks_exactly) - EXACT) == []


def test_what_asks_is_found() -> None:
    ask = "from pdekit.grid import Grid\nK = (Grid,)\n"
    for line in ("isinstance(x, Grid)", "isinstance(x, K)", "isinstance(x, int | Grid)"):
        assert asks_for_a_class(ast.parse(ask + line))
    for line in ("isinstance(x, int)", "isinstance(x, np.ndarray)"):
        assert not asks_for_a_class(ast.parse(ask + line))
    for line in ("type(x) is K", "type(x).__name__ == 'K'"):
        assert asks_exactly(ast.parse(line))
    for line in ("type(x).__name__ + 'K'", "x is y"):
        assert not asks_exactly(ast.parse(line))


class Weaker(pk.CurieWeiss):
    """With a force of its own."""

    def grad(self, z):
        return z * self.strength / 2

    def mean_force(self, x, values, crowd):
        return super().mean_force(x, values, crowd) / 2


class Slower(pk.particles.EulerMaruyama):
    """With a step of its own."""

    def step(self, drift, y, sigma, step, noise):
        return super().step(lambda x, t: drift(x, t) / 2, y, sigma, step, noise)


class Nearer(pk.particles.Position):
    """With a drift of its own."""

    def drift(self, slope, x, y, gamma):
        return super().drift(slope, x, y, gamma / 2)


class Wider(GaussianWell):
    """With a slope of its own, and the values that it is of."""

    def __call__(self, z):
        return super().__call__(z) / 2

    def grad(self, z):
        return super().grad(z)  # which asks for the values


class Twice:
    """A well, felt twice as much as the one it holds."""

    potential, dim = GaussianWell(), 1

    def __call__(self, z):
        return 2 * self.potential(z)

    def grad(self, z):
        return 2 * self.potential.grad(z)


def test_a_fact_is_of_the_class_that_says_it() -> None:
    assert checks.declared(pk.particles.EulerMaruyama(), "fused_slopes") == 1
    assert checks.declared(Slower(), "fused_slopes") is None
    assert is_quadratic(pk.CurieWeiss(1.0)) and not is_quadratic(Weaker(1.0))


def test_parts_of_a_subclass_are_asked_for_their_own_steps() -> None:
    x, V = torch.zeros(1, 8, 1, dtype=torch.float64), pk.potentials.DoubleWell()
    assert fused(pk.Langevin(V, 4.0, pk.particles.EulerMaruyama()), x)
    assert fused(pk.Langevin(V, 4.0, Slower()), x) is None
    two = pk.TwoScaleLangevin(V, 4.0, gamma=0.2, epsilon=0.1, inner_steps=5)
    assert fused(two, x) and fused(replace(two, integrator=Slower()), x) is None
    assert fused(replace(two, fast=Nearer()), x) is None


@pytest.mark.parametrize("interaction", [Weaker(2.0), pk.PairPotential(Wider()), Twice()])
def test_particles_feel_the_force_of_ones_own(interaction) -> None:
    x = torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(1, 16, 1)
    force = mean_force(interaction, ExactSum(), x, 16, lambda x: x)
    z = (x[0, :, None] - x[0]).numpy()
    assert np.allclose(force[0], interaction.grad(z).mean(1), rtol=1e-12)
    V = pk.potentials.Quadratic(0.0)
    assert fused(pk.InteractingLangevin(V, 4.0, interaction), x) is None
