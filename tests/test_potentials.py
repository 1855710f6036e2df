"""Potentials: the same in numpy and torch, gradients that are gradients, known critical points."""

import pickle

import numpy as np
import pytest
import torch
from cases import POTENTIALS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pdekit import potentials as p

CASES = pytest.mark.parametrize("case", POTENTIALS, ids=lambda case: case.name)
FRACTIONS = arrays(float, st.tuples(st.integers(1, 7), st.just(2)), elements=st.floats(0, 1))


def in_box(case, fractions):
    """Points of the case's box from numbers in [0, 1]."""
    lower, upper = np.array(case.lower), np.array(case.upper)
    return lower + (upper - lower) * fractions[:, : case.potential.dim]


def close(a, b, tolerance):
    """Agreement relative to the largest entry (at least 1)."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.max(np.abs(a - b), initial=0) <= tolerance * max(1.0, np.abs(b).max(initial=0))


@CASES
@settings(max_examples=25, deadline=None)
@given(fractions=FRACTIONS)
def test_numpy_and_torch_agree(case, fractions):
    V, x = case.potential, in_box(case, fractions)
    tx = torch.from_numpy(x)
    for mine, other in ((V(x), V(tx)), (V.grad(x), V.grad(tx))):
        assert isinstance(mine, np.ndarray) and isinstance(other, torch.Tensor)
        close(other.numpy(), mine, 1e-12)


@CASES
@settings(max_examples=25, deadline=None)
@given(fractions=FRACTIONS)
def test_gradient_is_that_of_autograd(case, fractions):
    V, x = case.potential, torch.from_numpy(in_box(case, fractions)).requires_grad_()
    (slope,) = torch.autograd.grad(V(x).sum(), x)
    close(V.grad(x).detach(), slope, 1e-12)


@CASES
def test_gradient_is_that_of_differences(case):
    # independent of torch: catches a value and a gradient that are wrong together in autograd
    V, h = case.potential, 1e-6
    x = in_box(case, np.random.default_rng(1).random((40, 2)))
    for k in range(V.dim):
        e = h * np.eye(V.dim)[k]
        close((V(x + e) - V(x - e)) / (2 * h), V.grad(x)[:, k], 1e-6)


@CASES
def test_leading_axes_are_kept(case):
    V = case.potential
    x = in_box(case, np.random.default_rng(2).random((12, 2)))
    close(V(x.reshape(3, 4, V.dim)), V(x).reshape(3, 4), 1e-13)
    close(V.grad(x.reshape(3, 4, V.dim)), V.grad(x).reshape(3, 4, V.dim), 1e-13)
    assert V(x[0]).shape == () and V.grad(x[0]).shape == (V.dim,)
    assert V(x[:0]).shape == (0,)


@CASES
def test_single_precision_is_kept(case):
    x = in_box(case, np.random.default_rng(3).random((5, 2))).astype(np.float32)
    for y, kind in ((x, np.float32), (torch.from_numpy(x), torch.float32)):
        assert case.potential(y).dtype == kind and case.potential.grad(y).dtype == kind
    close(case.potential(x), case.potential(x.astype(float)), 2e-4)


@CASES
def test_second_derivatives_reach_through_the_gradient(case):
    V = case.potential
    x = torch.from_numpy(in_box(case, np.random.default_rng(4).random((1, 2))))[0]
    hessian = torch.autograd.functional.jacobian(V.grad, x)
    close(hessian, torch.autograd.functional.hessian(V, x), 1e-12)


@CASES
def test_wrong_last_axis_is_refused(case):
    d = case.potential.dim
    takes = rf"takes points of shape \(\.\.\., {d}\), got shape \(5, {d + 1}\)"
    for wrong in (np.zeros((5, d + 1)), torch.zeros(5, d + 1)):
        for function in (case.potential, case.potential.grad):
            with pytest.raises(ValueError, match=takes):
                function(wrong)


@CASES
def test_value_semantics(case):
    V = case.potential
    assert V == V and hash(V) == hash(V) and V != "V"
    assert isinstance(V, p.Potential)
    if "custom" not in case.name:  # a lambda cannot be pickled
        twin = pickle.loads(pickle.dumps(V))
        assert twin == V and hash(twin) == hash(V)


def test_equal_by_meaning():
    assert p.Quadratic(1) == p.Quadratic(1.0) and p.Quadratic([1, 2]) == p.Quadratic((1.0, 2.0))
    assert p.Quadratic(np.eye(2)) == p.Quadratic(((1, 0), (0, 1)))
    assert p.DoubleWell(1) != p.DoubleWell(2) and p.Rough(1, 0.1) != p.Rough(1, 0.2)
    x = np.linspace(0, 1, 5)
    assert p.Tabulated(x, x) == p.Tabulated(x[::-1], x[::-1]) != p.Tabulated(x, 2 * x)


# ------------------------------------------------------------------------------- exact references

# camel.critical and mueller_brown of the reference values: (x, y), V, eigenvalues of the Hessian
CAMEL = [
    (
        (-0.08984201310031806, 0.7126564030207396),
        -1.031628453489877,
        (7.682251413369076, 16.493195232227734),
    ),
    (
        (-1.109205336804786, 0.7682680925095398),
        0.5437186009781851,
        (-7.9026191199873885, 20.366739739128008),
    ),
    (
        (-1.230229876516653, -0.162334584458995),
        2.496295351023577,
        (-8.014907156539829, -5.953724166834644),
    ),
    (
        (-1.296070267167109, -0.6050843880386585),
        2.22947081802986,
        (-6.177182126967413, 9.637588488012842),
    ),
    (
        (-1.607104752920197, -0.5686514548841314),
        2.104250310311258,
        (7.12151212020715, 10.021602516183243),
    ),
    (
        (-1.638067984189779, -0.2286740690443941),
        2.229357197530715,
        (-5.545775017246525, 12.436664436358383),
    ),
    (
        (-1.703606714969981, 0.7960835686726251),
        -0.2154638243837176,
        (18.817138635160465, 22.697515006928892),
    ),
    ((0.0, 0.0), 0.0, (-8.06225774829855, 8.06225774829855)),
]
MULLER_BROWN = [
    (
        (-0.5582236346330243, 1.441725841804669),
        -146.699517209954,
        (410.5311346928893, 4068.1989550264852),
    ),
    (
        (-0.05001082299820606, 0.4666941048719721),
        -80.76781812965903,
        (221.0374728723212, 1479.1970220128344),
    ),
    (
        (0.6234994049308765, 0.02803775852868567),
        -108.1667241168524,
        (543.8361890186197, 3005.3958645326766),
    ),
    (
        (-0.8220015587327321, 0.6243128028148714),
        -40.6648435086574,
        (-750.8626628392774, 490.2407080596308),
    ),
    (
        (0.212486582000662, 0.2929883251073678),
        -72.24894011232521,
        (-735.2472621113644, 510.8865654725474),
    ),
]
CRITICAL = [
    *((p.SixHumpCamel(), *row) for row in CAMEL),
    # the camel is even: the other seven critical points
    *((p.SixHumpCamel(), (-x, -y), f, e) for (x, y), f, e in CAMEL[:-1]),
    *((p.MullerBrown(), *row) for row in MULLER_BROWN),
]


@pytest.mark.parametrize(("V", "x", "value", "eigenvalues"), CRITICAL)
def test_critical_points(V, x, value, eigenvalues):
    x = torch.tensor(x, dtype=torch.float64)
    hessian = torch.autograd.functional.jacobian(V.grad, x)
    close(V(x), value, 1e-13)
    # a point printed to 16 digits leaves a gradient of curvature times 1e-15
    assert V.grad(x).abs().max() <= 1e-14 * max(map(abs, eigenvalues))
    close(torch.linalg.eigvalsh(hessian), eigenvalues, 1e-12)


@pytest.mark.parametrize("x", [0.0, 0.061830178860180266806, 0.032417600747513530348])
def test_rough_minimisers(x):
    V, x = p.Rough(), np.array([x])
    # V'' is about 2 (x/δ)² there, so rounding of x alone makes V about 1e-30
    assert V(x) <= 1e-28 and abs(V.grad(x)) <= 1e-11


def test_rough_minimisers_are_as_many_as_counted():
    phase = np.arcsin(0.1)
    k = np.arange(-400, 401)
    roots = 0.01 * np.concatenate([2 * np.pi * k - phase, np.pi * (2 * k + 1) + phase, [0.0]])
    roots = roots[np.abs(roots) <= 10]
    assert len(roots) == 638
    assert p.Rough()(roots[:, None]).max() < 1e-20


def test_double_well_and_ripples_are_the_printed_functions():
    x = np.array([[0.3], [-1.7]])
    close(p.DoubleWell()(x), [0.207025, (1.7**2 - 1) ** 2 / 4], 1e-15)
    close(p.Rippled()(x), [0.009 + np.cos(0.9), 0.289 + np.cos(5.1)], 1e-15)
    close(p.Rippled(2)(np.array([0.3, -1.7])), p.Rippled()(x).sum(), 1e-15)


def test_quadratic_forms():
    x = np.array([1.0, 2.0])
    assert p.Quadratic(3, dim=2)(x) == 7.5
    assert p.Quadratic((1, 2))(x) == 4.5
    assert p.Quadratic(((1, 0.5), (0.5, 2)))(x) == 5.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: p.Quadratic(((1, 2), (0, 1))), ValueError, "symmetric"),
        (lambda: p.Quadratic(((1, 2, 3), (0, 1, 2))), ValueError, "symmetric"),
        (lambda: p.Quadratic((1, 2), dim=3), ValueError, "2 rows, but dim=3"),
        (lambda: p.DoubleWell(0), ValueError, "dim must be a whole number >= 1, got 0"),
        (lambda: p.DoubleWell(1.5), TypeError, "whole number >= 1, got 1.5"),
        (lambda: p.Rough(1, 0.0), ValueError, "delta must be a finite number > 0, got 0.0"),
        (lambda: p.Custom("x**2"), TypeError, "f must be a function"),
        (lambda: p.Custom(np.sum, grad=3), TypeError, "grad must be a function"),
        (lambda: p.Sum(()), ValueError, "at least one"),
        (lambda: p.Sum((p.DoubleWell(), p.DoubleWell(2))), ValueError, r"\[1, 2\]"),
        (lambda: p.Sum((np.cos,)), TypeError, "wrap a function as Custom"),
        (lambda: p.DoubleWell() + 3, TypeError, "to be added to a potential, got 3"),
        (lambda: p.as_potential(p.DoubleWell(), 2), ValueError, "of dimension 2, got"),
        (lambda: p.as_potential(3.0, 1), TypeError, "got 3.0"),
    ],
)
def test_bad_potentials_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ----------------------------------------------------------------------------- sums and functions


def test_sums_are_flat_and_pointwise():
    V, W = p.DoubleWell(), p.Quadratic(0.3)
    assert V + W + V == p.Sum((V, W, V)) == V + (W + V)
    x = np.linspace(-2, 2, 9)[:, None]
    close((V + W)(x), V(x) + W(x), 1e-15)
    close((V + W).grad(x), V.grad(x) + W.grad(x), 1e-15)


def test_as_potential():
    V = p.DoubleWell()
    assert p.as_potential(V, 1) is V
    assert p.as_potential(np.sin, 2) == p.Custom(np.sin, dim=2)


def numpy_well(x):
    return np.square(np.asarray(x)[..., 0] ** 2 - 1) / 4


def torch_well(x):
    return torch.square(x[..., 0] ** 2 - 1) / 4


# what one may write, and the accuracy its gradient has
WRITTEN = [
    (p.Custom(lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4), 1e-15),
    (p.Custom(torch_well), 1e-15),
    (p.Custom(numpy_well), 1e-9),
    (p.Custom(numpy_well, grad=lambda x: x * (x**2 - 1)), 1e-15),
    (p.Custom(torch_well, grad=lambda x: np.asarray(x) * (np.asarray(x) ** 2 - 1)), 1e-15),
]


@pytest.mark.parametrize(("V", "accuracy"), WRITTEN)
def test_custom_works_in_either_library(V, accuracy):
    W, x = p.DoubleWell(), np.linspace(-3, 3, 13)[:, None]
    tx = torch.from_numpy(x)
    for y in (x, tx):
        assert type(V(y)) is type(V.grad(y)) is type(y)
        close(V(y), W(y), 1e-15)
        close(V.grad(y), W.grad(y), accuracy)


def test_a_fault_inside_a_custom_function_is_not_hidden():
    def broken(x):
        raise KeyError("mine")

    for x in (np.zeros((2, 1)), torch.zeros(2, 1)):
        for function in (p.Custom(broken), p.Custom(broken).grad):
            with pytest.raises(ValueError, match="mine") as caught:
                function(x)
            assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("V", "message"),
    [
        (
            p.Custom(lambda x: x[..., [0, 0]]),
            r"values of shape \(5,\), got shape \(5, 2\)",
        ),
        (p.Custom(lambda x: 1.0), r"values of shape \(5,\), got shape \(\)"),
        (p.Custom(lambda x: x[..., 0], grad=lambda x: x[..., 0]), r"same shape, got shape \(5,\)"),
    ],
)
def test_wrong_shapes_of_custom_functions_are_named(V, message):
    for x in (np.zeros((5, 1)), torch.zeros(5, 1)):
        with pytest.raises(ValueError, match=message):
            V.grad(x)


def test_one_gradient_of_a_function_that_ignores_a_coordinate():
    V = p.Custom(lambda x: x[..., 0] ** 2, dim=2)
    close(V.grad(np.array([[3.0, 5.0]])), [[6.0, 0.0]], 1e-15)
