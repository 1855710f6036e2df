"""Sums, multiples, shifts and tilts of potentials, moving or not, are potentials everywhere."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit.particles import ensemble, fused
from pdekit.particles.run.fingerprint import fingerprint
from pdekit.potentials import (
    Cosine,
    Custom,
    DoubleWell,
    Evolving,
    Kernel,
    Linear,
    Potential,
    Quadratic,
    Rippled,
    Rough,
    Scaled,
    Sum,
    Tabulated,
)

X = np.linspace(-3.0, 3.0, 31)
TABLE = Tabulated(X, np.sin(2 * X) + X**2 / 2)
MOVING = Evolving([0.0, 0.3, 1.0], X, [(1 + t) * X**2 / 2 + np.sin(X - t) for t in (0, 0.3, 1)])
GRID, START = pk.Grid(-3, 3, 120), pk.Gaussian(0.3, 0.4)


class Swing:
    """h(t) x, which says no more than what it is at a time."""

    dim = 1

    def at(self, t: float) -> Linear:
        return Linear(np.sin(3 * t))


FORMULAS = (Quadratic(0.7), DoubleWell(), Rippled(), Cosine(2.0), Linear(-0.4))
ATOMS = (*FORMULAS, Rough(1, 0.5), TABLE, Custom(lambda x: x[..., 0] ** 4 / 4))
MOVERS = (MOVING, Swing())
numbers = st.floats(-2.0, 2.0).map(lambda c: round(c, 3))


def combinations(atoms: tuple[Any, ...], most: int = 4) -> Any:
    """Trees of the four operations, and the function of the atoms that they mean."""

    def grow(inner: Any) -> Any:
        return st.one_of(
            st.tuples(st.just("+"), inner, inner),
            st.tuples(st.just("-"), inner, inner),
            st.tuples(st.just("*"), numbers, inner),
            st.tuples(st.just("shift"), numbers, inner),
        )

    return st.recursive(st.sampled_from(atoms), grow, max_leaves=most)


def made(tree: Any) -> Any:
    """The potential, by the operators; a bare mover stands in a sum of itself."""
    if not isinstance(tree, tuple):
        return tree if isinstance(tree, Potential) else Sum((tree,))
    kind, a, b = tree
    if kind == "+":
        return made(a) + made(b)
    if kind == "-":
        return made(a) - made(b)
    return a * made(b) if kind == "*" else made(b).shifted(a)


def meant(tree: Any, x: Any, t: float) -> Any:
    """Its values, written out."""
    if not isinstance(tree, tuple):
        return (tree.at(t) if hasattr(tree, "at") else tree)(x)
    kind, a, b = tree
    if kind in "+-":
        return meant(a, x, t) + (1 if kind == "+" else -1) * meant(b, x, t)
    return a * meant(b, x, t) if kind == "*" else meant(b, x - a, t)


@settings(max_examples=40, deadline=None)
@given(combinations((*ATOMS, *MOVERS)), st.floats(0.0, 1.2))
def test_values_and_slopes_of_combinations(tree: Any, t: float) -> None:
    V, x = made(tree), np.linspace(-2.1, 1.9, 17)[:, None]
    now = V.at(t) if hasattr(V, "at") else V
    value, slope = now(x), now.grad(x)
    np.testing.assert_allclose(value, meant(tree, x, t), rtol=1e-12, atol=1e-12)
    h = 1e-5
    rough = (now(x + h) - now(x - h)) / (2 * h)
    np.testing.assert_allclose(slope[:, 0], rough, rtol=1e-6, atol=1e-6 * (1 + abs(rough).max()))
    on_torch = torch.from_numpy(x)
    np.testing.assert_allclose(now(on_torch), value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(now.grad(on_torch), slope, rtol=1e-11, atol=1e-11)
    assert now.grad(on_torch.float()).dtype == torch.float32
    if hasattr(V, "at"):
        assert np.array_equal(V(x, t), value) and np.array_equal(V.grad(x, t), slope)
        with pytest.raises(TypeError, match="changes in time"):
            V(x)


@settings(max_examples=30, deadline=None)
@given(combinations((*ATOMS, *MOVERS)))
def test_combinations_are_values(tree: Any) -> None:
    V, again = made(tree), made(tree)
    assert again == V and hash(V) == hash(again)
    assert isinstance(V, Potential) and V.dim == 1
    assert pk.Langevin(V, 2.0).law() == pk.FokkerPlanck(again, 2.0)
    assert hasattr(V, "at") == any(repr(mover) in repr(V) for mover in MOVERS)


@settings(max_examples=12, deadline=None)
@given(combinations((*FORMULAS, TABLE, MOVING)), st.sampled_from(["float32", "float64"]))
def test_combinations_are_fused_with_the_bits_of_the_plain_loop(tree: Any, dtype: str) -> None:
    """Ripples apart, whose sine is another."""
    V = made(tree)
    dynamics = pk.Langevin(V, 2.0, box=pk.Grid(-2, 2, 8))
    still = torch.zeros(1, 8, 1, dtype=getattr(torch, dtype))
    assert fused.fused(dynamics, still) is not None

    def run() -> Any:
        return pk.simulate(dynamics, START, 100, [0.2, 0.5], 0.05, dtype=dtype).x.values

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # long steps
        fast = run()
        patch.setattr(ensemble, "fused", lambda *arguments: None)
        plain = run()
    if any(name in repr(V) for name in ("Rippled", "Cosine")):
        assert np.allclose(fast, plain, atol={"float32": 5e-3, "float64": 1e-11}[dtype])
    else:
        assert np.array_equal(fast, plain)


@pytest.mark.parametrize(
    "dynamics",
    [
        pk.InteractingLangevin(2 * DoubleWell(2) + Linear(0.3, 2), 4.0, pk.CurieWeiss(0.8)),
        pk.TwoScaleLangevin((DoubleWell(2) - Quadratic(0.5, 2)).shifted(0.2), 4.0, 0.5, 0.2, 5),
    ],
    ids=["drawn to the mean", "two scales"],
)  # fmt: skip
def test_combinations_are_fused_where_particles_feel_each_other(
    dynamics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        start = pk.Gaussian((0.3, -0.2), 0.5)
        return pk.simulate(dynamics, start, 203, [0.06, 0.2], 0.02, runs=2).x.values

    assert fused.fused(dynamics, torch.zeros(1, 203, 2, dtype=torch.float64)) is not None
    fast = run()
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.array_equal(fast, run())


BOWL, TILT = Quadratic(2.0), Linear(0.5)


def test_the_normal_form() -> None:
    """Sums are flat, multiples of multiples are one; the order of terms, of rounding, is kept."""
    V, W = DoubleWell(), Rippled()
    assert V + W != W + V
    assert V + (W + BOWL) == (V + W) + BOWL == Sum((V, Sum((W, BOWL))))
    assert 2 * (V + W) == 2 * V + W * 2
    assert (V + W).shifted(0.5) == V.shifted(0.5) + W.shifted(0.5)
    assert (2 * V.shifted(0.5)).shifted(0.25) * 3 == Scaled(V, 6.0, 0.75)
    negative = -V
    assert -negative is V and 1 * V is V and V.shifted(0.0) is V and V / 2 == 0.5 * V
    assert (V - W).terms == (V, -W)
    assert np.float64(2) * V == torch.tensor(2.0) * V == 2 * V
    assert DoubleWell(2).shifted((1, 1)) == DoubleWell(2).shifted(1)


def test_functions_and_strangers_are_subtracted_too() -> None:
    x = np.linspace(-1, 1, 5)[:, None]
    function = lambda x: x[..., 0] ** 3  # noqa: E731
    assert np.allclose((BOWL - function)(x), x[:, 0] ** 2 - x[:, 0] ** 3)
    assert np.allclose((function - BOWL).grad(x), 3 * x**2 - 2 * x)
    assert (BOWL - Swing()).at(0.0) == BOWL - Linear(0.0)


def test_zero_and_sum() -> None:
    V = DoubleWell()
    assert sum([V, BOWL, TILT]) == V + BOWL + TILT
    assert V + 0 is 0 + V is V - 0.0 is np.float64(0) + V is V and 0 - V == -V


@pytest.mark.parametrize(
    "other", [None, 2.0, "V", False, np.zeros(3), torch.zeros(3)], ids=lambda value: str(value)
)
def test_what_is_no_potential_is_refused_and_a_constant_is_a_function(other: Any) -> None:
    for combine in (lambda V: V + other, lambda V: other + V, lambda V: V - other):
        with pytest.raises(TypeError, match="expected to be added to a potential, got") as refused:
            combine(BOWL)
    advised = "lambda x: c + 0 * x[..., 0]"
    assert advised in str(refused.value)
    x = np.linspace(-1, 1, 5)[:, None]
    assert np.allclose((BOWL + eval(advised, {"c": 2.0}))(x), BOWL(x) + 2)


class Bare:
    """(1 + t) x²/2, a moving function that has no dimension."""

    def at(self, t: float) -> Any:
        return lambda x: (1 + t) * (x**2).sum(-1) / 2


@pytest.mark.parametrize(
    "V",
    [
        Scaled(Bare(), 0.25) - Scaled(Bare(), -0.75),
        Sum((Bare(),)),
        Sum((Bare(),)).shifted(0.1).shifted(-0.1),
        Scaled(Bare(), 0.5) + Scaled(Sum((Bare(), Bare())), 0.25),
        BOWL + Bare() - BOWL,
    ],
    ids=["multiple", "sum", "shift", "multiples", "difference"],
)
def test_functions_that_move_without_a_dimension(V: Any) -> None:
    """Wherever the bare one is taken, what is made of it is taken with the same answer."""
    once, times = V.at(0.5), [0.1, 0.3]
    x = np.linspace(-1, 1, 5)[:, None]
    assert np.allclose(once(x), 0.75 * x[:, 0] ** 2) and np.allclose(once.grad(x), 1.5 * x)
    bare, made = (pk.solve(pk.FokkerPlanck(v, 4.0), GRID, START, times).fields for v in (Bare(), V))
    assert np.allclose(made, bare, rtol=0, atol=1e-12)
    bare, made = (
        pk.simulate(pk.Langevin(v, 4.0), START, 50, times, 0.05).x.values for v in (Bare(), V)
    )
    assert np.allclose(made, bare, rtol=0, atol=1e-12)


def test_a_shift_of_each_coordinate_is_a_dimension() -> None:
    V = Scaled(Bare(), 2.0, (1.0, 0.0))
    assert V.dim == 2 and V.at(1.0).grad(np.ones((1, 2))).tolist() == [[0.0, 4.0]]
    with pytest.raises(ValueError, match="shape"):
        V.at(1.0)(np.ones((3, 1)))
    number: Any = type("Number", (), {"at": lambda self, t: 3.0})()
    with pytest.raises(TypeError, match=r"at\(t\) of a moving potential returns"):
        Scaled(number, 2.0).at(0.0)


def test_the_plane_and_shifts_of_each_coordinate() -> None:
    V = 2 * Quadratic((1.0, 3.0)).shifted((0.5, -1.0)) + Linear((0.2, 0.1))
    x = np.array([[1.0, 2.0]])
    assert np.allclose(V.grad(x), [[2 * 0.5 + 0.2, 2 * 3 * 3 + 0.1]])
    assert V.grad(torch.from_numpy(x).float()).dtype == torch.float32
    assert Scaled(Sum((2 * BOWL,)), 3.0).kernel is None


def test_the_verbs_take_combinations() -> None:
    """A parabola in disguise has the answers of the parabola."""
    V = (2 * BOWL - BOWL).shifted(0.3) + TILT  # a = 2 about 0.3 - 0.5/2
    plain = Quadratic(2.0).shifted(0.05)
    density = pk.stationary(pk.FokkerPlanck(V, 4.0), GRID)
    assert np.allclose(density, pk.stationary(pk.FokkerPlanck(plain, 4.0), GRID), atol=1e-12)
    found, known = (
        pk.control(U, 4.0, GRID, START, lambda x: x[..., 0] ** 2, 0.5).value.fields
        for U in (V, plain)
    )
    assert np.allclose(found, known, atol=1e-9)
    u, v = (
        pk.solve(pk.ViscousHJ(4.0), GRID, U, 0.2).fields - np.min(U(GRID.centres))
        for U in (V, plain)
    )
    assert np.allclose(u, v, atol=1e-9)
    x = pk.simulate(pk.Langevin(V, 4.0), START, 20_000, 3.0, 0.05).final.values
    assert abs(x.mean() - 0.05) < 0.02 and abs(x.var() - 1 / 8) < 0.01


def test_what_moves_in_a_combination_moves() -> None:
    """Half the swing, from a mean that follows m' = -m - sin(3t)/2."""
    V = Quadratic() + 0.5 * Sum((Swing(),))
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), GRID, START, 0.5)
    t, m = 0.5, 0.3
    forced = -0.5 * (np.sin(3 * t) - 3 * np.cos(3 * t) + 3 * np.exp(-t)) / 10
    mean = float(GRID.integrate(rho.fields[-1] * GRID.axes[0]))
    assert mean == pytest.approx(m * np.exp(-t) + forced, abs=5e-4)
    x = pk.simulate(pk.Langevin(V, 4.0), START, 20_000, 0.5, 0.01).final.values
    assert x.mean() == pytest.approx(mean, abs=0.02)
    controlled = pk.ControlledLangevin(DoubleWell(), 4.0, MOVING)
    assert controlled.law() == pk.FokkerPlanck(DoubleWell() + MOVING, 4.0)
    assert controlled.law().potential.times == tuple(MOVING.times)


@pytest.mark.parametrize("V", [2 * MOVING, DoubleWell() + MOVING, MOVING.shifted(0.1)])
@pytest.mark.parametrize(
    "verb",
    [
        lambda V: pk.stationary(pk.FokkerPlanck(V, 4.0), GRID),
        lambda V: pk.solve(pk.ViscousHJ(4.0), GRID, V, 0.1),
        lambda V: pk.control(V, 4.0, GRID, START, BOWL, 0.1),
        lambda V: pk.local_entropy(V, 0.1, 4.0, GRID),
    ],
    ids=["stationary", "smoothing", "control", "entropy"],
)
def test_what_moves_is_refused_with_a_sentence(verb: Any, V: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"changes in time|at\(t\)"):
        verb(V)


def test_refusals() -> None:
    V = DoubleWell()
    for wrong in (V, "2", None, np.ones(3), 1j, True):
        with pytest.raises(TypeError, match="a factor of a potential must be a finite number"):
            wrong * V
    with pytest.raises(ValueError, match="a finite number other than 0"):
        V / 0
    with pytest.raises(ValueError, match="shift must be a number or one for each of 1 coord"):
        V.shifted((1.0, 2.0))
    with pytest.raises(TypeError, match=r"wrap a function as Custom\(f\)"):
        Scaled(lambda x: x[..., 0])
    with pytest.raises(ValueError, match="terms of one dimension"):
        V - DoubleWell(2)
    with pytest.raises(ValueError, match="slope must be a number or one for each of 3"):
        Linear((1.0, 2.0), dim=3)
    with pytest.raises(TypeError):
        V + 1.0


def test_checkpoints_and_pickles_tell_combinations_apart() -> None:
    V = 2 * DoubleWell() + MOVING
    assert pickle.loads(pickle.dumps(V)) == V
    told = [fingerprint(V=U) for U in (V, 2 * DoubleWell() + MOVING, 3 * DoubleWell() + MOVING)]
    assert told[0] == told[1] != told[2]


class Steep(DoubleWell):
    def grad(self, x: Any) -> Any:
        return 2 * super().grad(x)


class Named(DoubleWell):
    """The same slope."""


def test_a_kernel_holds_for_those_that_inherit_the_slope() -> None:
    still = torch.zeros(1, 8, 1)
    assert fused.fused(pk.Langevin(Named() + BOWL, 1.0), still)
    assert not fused.fused(pk.Langevin(Steep() + BOWL, 1.0), still)
    assert not fused.fused(pk.Langevin(2 * Steep(), 1.0), still)


def _down_cubic(x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    a = numbers[0]
    for j in range(m):
        b[j] -= a * (x[j] * x[j] * x[j])


class Cubic:
    """A potential of one's own that has a kernel, and no operators."""

    dim = 1
    kernel = Kernel(_down_cubic, (0.3,))

    def __call__(self, x: Any) -> Any:
        return 0.075 * x[..., 0] ** 4

    def grad(self, x: Any) -> Any:
        return 0.3 * (x * x * x)


@pytest.mark.parametrize("V", [Cubic(), BOWL + Cubic(), 2 * Sum((Cubic(),))])
def test_a_kernel_of_ones_own(V: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamics = pk.Langevin(V, 2.0)
    assert fused.fused(dynamics, torch.zeros(1, 8, 1))
    fast = pk.simulate(dynamics, START, 100, 0.5, 0.05).x.values
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.array_equal(fast, pk.simulate(dynamics, START, 100, 0.5, 0.05).x.values)


class Parabola(pk.potentials.DoubleWell):
    """Values of its own, and the slope of a double well."""

    def __call__(self, x):
        return 1.5 * (x**2).sum(-1)


class Tripled(pk.potentials.Sum):
    """A sum of which a method is replaced."""

    def __call__(self, x, t=None):
        return 3 * super().__call__(x, t)

    def grad(self, x, t=None):
        return 3 * super().grad(x, t)


@pytest.mark.parametrize(
    "make",
    [
        lambda V: pk.Langevin(V, 2.0),
        lambda V: pk.Langevin(V + pk.potentials.Linear(0.3), 2.0),
        lambda V: pk.Langevin(2 * V.shifted(0.1), 2.0),
        lambda V: pk.InteractingLangevin(V, 2.0, pk.CurieWeiss(1.0)),
        lambda V: pk.TwoScaleLangevin(V, 2.0, gamma=0.1, epsilon=0.1, inner_steps=5),
        lambda V: pk.MultiplicativeLangevin(V, 2.0, 1.0),
    ],
)
def test_values_with_the_slope_of_another_function_are_refused(make):
    with pytest.raises(ValueError, match="define grad as well"):
        pk.simulate(make(Parabola()), pk.Gaussian(0.5, 0.3), 20, 0.01, 0.001)


def test_a_subclass_keeps_what_it_replaces():
    x = np.linspace(-2, 2, 9)[:, None]
    V, W = (
        Tripled((pk.potentials.DoubleWell(), pk.potentials.Linear(1.0))),
        pk.potentials.Cosine(2.0),
    )
    for made, expected in (
        (V + W, V.grad(x) + W.grad(x)), (2 * V, 2 * V.grad(x)), (V - W, V.grad(x) - W.grad(x)),
        (V.shifted(1.0), V.grad(x - 1)),
    ):  # fmt: skip
        np.testing.assert_allclose(made.grad(x), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda V: 1e308 * (1e308 * V),
        lambda V: V * 1e200 * 1e200,
        lambda V: V.shifted(1e308).shifted(1e308),
    ],
)
def test_factors_and_shifts_that_overflow_are_refused(make):
    with pytest.raises(ValueError, match="finite"):
        make(pk.potentials.DoubleWell())
