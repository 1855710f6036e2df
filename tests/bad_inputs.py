"""Every public name with good arguments, and what is bad for each kind of argument.

A ``Call`` has, for every argument, a good value and its kind; ``bad`` lists what must be refused
where such an argument is expected. A row here puts a new public name under the test.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr

import pdekit as pk
from pdekit import certificates as c
from pdekit import comparison as m
from pdekit import hamiltonians as h
from pdekit import interactions as i
from pdekit import laws, optim, plotting, schemes
from pdekit import particles as q
from pdekit import potentials as p

GRID = pk.Grid(-3, 3, 40)
PLANE = pk.Grid((-3, -3), (3, 3), (10, 10))
V = p.DoubleWell()
LAW = pk.Gaussian(-1.0, 0.3)
FP = pk.FokkerPlanck(V, 4.0)
MV = pk.McKeanVlasov(V, 4.0, pk.CurieWeiss(1.0))
RHO = pk.solve(FP, GRID, LAW, [0.1, 0.2])
HEAT = pk.solve(pk.Heat(2.0), GRID, V, [0.0, 0.1])
X = pk.simulate(pk.Langevin(V, 4.0), LAW, 300, [0.1, 0.2], 0.02)
TAU = pk.mean_first_passage_time(FP, GRID, (0.5, 1.5))
PASSED = pk.simulate(
    pk.Langevin(V, 4.0), LAW, 300, [0, 0.2], 0.02, observe=pk.FirstPassage(0.5, 1.5)
)
FIELD = np.exp(-(GRID.centres[..., 0] ** 2))


def cost(x: Any) -> Any:
    """A cost for numpy points and tensors."""
    return (x[..., 0] - 1) ** 2


NEURONS = pk.networks.Samples([[1.0], [2.0]], [0.5, 1.0], lambda x, w: (x * w).sum(-1))
NETWORK, SQUARES = torch.nn.Linear(2, 1), torch.nn.MSELoss()
PAIRS = (torch.eye(2).repeat(2, 1), torch.arange(4.0)[:, None])
CONTROL = pk.control(V, 4.0, GRID, LAW, cost, [0.1, 0.2])


def params() -> list[torch.Tensor]:
    """Two parameters with gradients."""
    out = [torch.ones(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    for w in out:
        w.grad = torch.ones_like(w)
    return out


def _grad(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64, requires_grad=True)


def _masked(*shape: int) -> Any:
    data = np.ones(shape)
    return np.ma.masked_array(data, np.ones(shape, dtype=bool))


def _elsewhere() -> xr.DataArray:
    return xr.DataArray(FIELD, {"x": GRID.axes[0] + 1.0}, ("x",))


_NO_NUMBER = [
    "'1'",
    "'abc'",
    "b'1'",
    "float",
    "1j",
    "[]",
    "[[1, 2], [3]]",
    "{}",
    "object()",
    "lambda x: x",
    "np.array([1.0, 2.0, 3.0, 4.0, 5.0])",
    "_grad()",
    "_masked()",
    "np.complex128(1 + 1j)",
    "np.array('1')",
    "LAW",
    "GRID",
    "torch.tensor(1j)",
    "np.nan",
    "{1.0}",
    "None",
    "range(3)",
    "np.datetime64('2020')",
    "Ellipsis",
    "slice(3)",
    "V",
    "xr.DataArray([1.0, 2.0, 3.0])",
]
_SIZES = ["-np.inf", "np.inf", "-1.0", "0.0", "-1e300", "-1", "np.float32(-1)", "True"]
_GROWTH = ["np.nan", "np.inf", "-np.inf", "-1e300", "True"]
_FUNCTIONS = [
    "3.0",
    "'x'",
    "p.DoubleWell",
    "[1]",
    "{}",
    "p.DoubleWell(3)",
    "lambda x: 'a'",
    "lambda: 0",
    "lambda x: x[..., [0, 0, 0]]",
    "lambda x: x[..., 0] * np.nan",
    "lambda x: x[..., 0] * 1j",
    "lambda x: None",
    "lambda x: 1 / 0",
    "lambda x: x[..., 0] * np.inf",
    "lambda x: x[..., 5]",
    "GRID",
    "1j",
    "object()",
    "lambda x: x.nothing",
    "lambda x: [1, 2, 3]",
    "lambda x: {}[0]",
]
_VECTORS = [
    "3.0",
    "'x'",
    "p.DoubleWell",
    "np.ones(5)",
    "lambda x: 'a'",
    "lambda: 0",
    "V",
    "1j",
    "lambda x: x * np.nan",
    "lambda x: x * 1j",
    "lambda x: None",
    "GRID",
    "lambda x: x[..., 5]",
    "lambda x: 1e200 * (1 + x * 0)",
    "[1]",
]
_OF_SLOPES = [
    "3.0", "'x'", "p.DoubleWell", "[1]", "{}", "lambda x, p: 'a'", "lambda: 0", "GRID", "1j",
    "lambda x, p: p[..., 0] * np.nan", "lambda x, p: p[..., 0] * 1j", "lambda x, p: None",
    "lambda x, p: 1 / 0", "lambda x, p: p[..., 5]", "object()", "lambda x, p: p.nothing",
    "lambda x, p: [1, 2, 3]", "lambda x, p: {}[0]", "lambda x: x[..., 0]",
]  # fmt: skip
_FIELDS = [
    "'x'",
    "3.0",
    "1j",
    "np.ones(7)",
    "np.ones((40, 40))",
    "FIELD * np.nan",
    "FIELD * 1j",
    "_masked(40)",
    "_grad(40)",
    "FIELD.astype(str)",
    "[None] * 40",
    "_elsewhere()",
    "None",
    "xr.DataArray(FIELD, dims='space')",
    "{}",
    "GRID",
    "FIELD * 1e200",
    "lambda: 0",
    "pk.Gaussian",
    "[[1], [1, 2]]",
    "object()",
    "np.full(40, np.inf)",
    "lambda x: x[..., 0] * np.nan",
    "lambda x: x[..., [0, 0, 0]]",
    "p.DoubleWell(3)",
    "lambda x: x[..., 0] * 1j",
    "RHO.u",
    "np.zeros((0,))",
    "FIELD[:, None]",
    "RHO",
]
BAD: dict[str, list[str]] = {
    "real": [*_NO_NUMBER, "np.inf", "-np.inf", "True"],
    "positive": [*_NO_NUMBER, *_SIZES],
    "least": [v for v in [*_NO_NUMBER, *_SIZES] if v != "0.0"],  # >= 0
    "rate": [v for v in [*_NO_NUMBER, *_SIZES] if v not in ("0.0", "lambda x: x")],
    "pace": [
        *(v for v in _FUNCTIONS if v != "3.0"),
        "-1.0",
        "np.inf",
        "lambda x: x[..., 0] - 9",
        "np.ones(5)",
        "LAW",
    ],
    "killing": [*(v for v in _FUNCTIONS if v != "3.0"), *_GROWTH, "np.ones(5)", "LAW"],
    "drift": [
        v for v in _FUNCTIONS if v not in ("lambda x: x", "lambda x: 0 * x", "lambda x, t: x")
    ],
    "moving": ["None", "'x'", "3.0", "{}", "object()", "lambda x: x", "GRID", "LAW", "int"],
    "noise": [
        *(v for v in _FUNCTIONS if v not in ("3.0", "[1]", "lambda x, t: x[..., 0]")),
        "np.inf",
        "np.nan",
        "[1.0, 2.0]",
        "LAW",
    ],
    "schedule": [
        *(v for v in _FUNCTIONS if v != "3.0" and not v.startswith("lambda")),
        "lambda: 1.0",
        "lambda t: -1.0",
        "lambda t: np.nan",
        "lambda t: 'a'",
        "lambda t: [1.0, 2.0]",
        "0.0",
        "LAW",
    ],
    "clock": [*(v for v in _FUNCTIONS if v != "3.0"), "-1.0", "np.inf", "np.nan", "LAW"],
    "least?": [v for v in [*_NO_NUMBER, *_SIZES] if v not in ("0.0", "None")],
    "share": [*_NO_NUMBER, "-0.1", "1.5", "np.inf", "-np.inf", "7", "1e300"],
    "tolerance": [*_NO_NUMBER, *_SIZES, "1e-300", "1.0", "2.0", "1e300", "1e-15"],
    "beta?": [v for v in [*_NO_NUMBER, *_SIZES] if v not in ("None", "np.inf")],
    "positive?": [v for v in [*_NO_NUMBER, *_SIZES] if v != "None"],
    "whole": [*_NO_NUMBER, "0", "-3", "2.5", "3.0", "True", "[3]", "int", "1e300"],
    "whole?": [v for v in [*_NO_NUMBER, "0", "-3", "2.5", "3.0", "True"] if v != "None"],
    "seed": [*_NO_NUMBER, "-3", "2.5", "3.0", "True", "[3]", "1 << 64"],
    "flag": ["'yes'", "1", "0", "None", "2.0", "[True]", "np.nan", "bool", "1j", "{}", "object()"],
    "times": [
        "'1'",
        "None",
        "[]",
        "[[1, 2]]",
        "[1.0, 1.0]",
        "[2.0, 1.0]",
        "-1.0",
        "np.nan",
        "np.inf",
        "1j",
        "['a']",
        "float",
        "_grad()",
        "_masked(2)",
        "object()",
        "1e200",
        "[1.0, None]",
        "True",
        "{1.0, 2.0}",
        "{}",
        "lambda: 1.0",
        "GRID",
        "[0.1, np.nan]",
        "[0.1, np.inf]",
        "[1j, 2]",
        "[[0.1], [0.2, 0.3]]",
        "_grad(2)",
        "[-1.0, 1.0]",
        "np.array(['1'])",
        "LAW",
    ],
    "potential": [*_FUNCTIONS, "np.ones(5)", "None", "LAW"],
    "function": [*_FUNCTIONS, "None"],
    "shape": [v for v in [*_FUNCTIONS, "None"] if "nan" not in v and "inf" not in v],
    "slopes": [
        "3.0",
        "'x'",
        "p.DoubleWell",
        "np.ones(5)",
        "lambda x: 'a'",
        "lambda: 0",
        "1j",
        "GRID",
        "lambda x: x * 1j",
        "lambda x: None",
        "lambda x, t: x",
        "lambda x: x[..., 5]",
        "[1]",
    ],
    "kernel": [v for v in [*_FUNCTIONS, "np.ones(5)", "None", "LAW"] if v != "p.DoubleWell(3)"],
    "level": [
        *_NO_NUMBER,
        "-1.0",
        "0.0",
        "1.0",
        "2.0",
        "1e300",
        "np.inf",
        "True",
        "-np.inf",
    ],
    "beta": [v for v in [*_NO_NUMBER, *_SIZES] if v != "np.inf"],
    "potential?": [*_FUNCTIONS, "np.ones(5)", "LAW"],
    "samples": [
        v
        for v in _FIELDS
        if v
        not in (
            "_elsewhere()",
            "p.DoubleWell(3)",
            "FIELD * 1e200",
            "xr.DataArray(FIELD, dims='space')",
        )
        and "lambda" not in v
    ],
    "function?": [*_FUNCTIONS, "np.ones(5)"],
    "force": [*_VECTORS],
    "diffusion": [
        "-1.0",
        "0.0",
        "'1'",
        "1j",
        "np.nan",
        "np.inf",
        "[1, 2]",
        "((1, 2), (2, 1))",
        "float",
        "lambda x: x[..., 0]",
        "lambda x: 'a'",
        "lambda x: np.ones(3)",
        "_grad()",
        "{}",
        "object()",
        "lambda x: x[..., 0] * np.nan",
        "lambda x: x[..., 0] * 1j",
        "_masked(1, 1)",
        "GRID",
        "((1, 0), (0, 1))",
        "np.ones((2, 3))",
        "lambda: 1.0",
        "pk.Ito",
        "lambda x: -1 + 0 * x[..., 0]",
    ],
    "field": [*_FIELDS, "LAW"],
    "density": [
        *_FIELDS,
        "-FIELD",
        "FIELD * 0",
        "pk.Gaussian((0, 0, 0), 1)",
        "pk.Gaussian(100, 0.1)",
        "FIELD * 1e-200",
        "laws.Mixture",
        "lambda x: -1 + 0 * x[..., 0]",
        "FIELD - 0.5",
    ],
    "values": [
        v
        for v in _FIELDS
        if v not in ("_elsewhere()", "p.DoubleWell(3)", "FIELD * 1e200") and "lambda" not in v
    ],
    "start": [
        "None",
        "'x'",
        "pk.Gaussian",
        "3.0",
        "1j",
        "np.ones(300)",
        "np.ones((301, 1))",
        "np.ones((300, 4))",
        "np.full((300, 1), np.nan)",
        "np.ones((300, 1)) * 1j",
        "{}",
        "_masked(300, 1)",
        "_grad(300, 1)",
        "np.ones((300, 1)).astype(str)",
        "lambda: 0",
        "GRID",
        "[[1], [1, 2]]",
        "object()",
        "pk.Gaussian((0, 0, 0), 1)",
        "np.ones((0, 1))",
        "V",
        "np.full((300, 1), np.inf)",
        "[]",
        "np.array([None] * 300)[:, None]",
    ],
    "grid": [
        "None",
        "(-3, 3, 40)",
        "'grid'",
        "40",
        "pk.Grid",
        "np.linspace(-3, 3, 40)",
        "{}",
        "V",
        "LAW",
        "object()",
        "FIELD",
        "1j",
        "[-3, 3]",
    ],
    "box": ["(-3, 3, 40)", "'grid'", "40", "pk.Grid", "{}", "V", "object()", "np.ones(3)", "1j"],
    "scheme": [
        "'implicit'",
        "schemes.Implicit",
        "3",
        "V",
        "GRID",
        "object()",
        "{}",
        "range(3)",
        "schemes.HopfLax()",
        "lambda: 0",
        "1j",
    ],
    "equation": [
        "None",
        "'x'",
        "pk.FokkerPlanck",
        "V",
        "GRID",
        "3.0",
        "{}",
        "object()",
        "LAW",
        "pk.Langevin(V, 4.0)",
        "lambda x: x",
        "1j",
        "np.ones(3)",
        "RHO",
    ],
    "dynamics": [
        "None",
        "'x'",
        "pk.Langevin",
        "V",
        "FP",
        "3.0",
        "{}",
        "object()",
        "LAW",
        "GRID",
        "lambda x: x",
        "RHO",
        "np.ones(3)",
    ],
    "solution": [
        "None",
        "'x'",
        "FP",
        "V",
        "GRID",
        "3.0",
        "np.ones(40)",
        "object()",
        "X",
        "{}",
        "pk.Solution",
    ],
    "passages": ["None", "'x'", "FP", "V", "3.0", "RHO", "np.ones(3)", "TAU + 1", "RHO.u"],
    "ensemble": ["None", "'x'", "FP", "V", "GRID", "3.0", "object()", "RHO", "{}", "pk.Ensemble"],
    "interaction": [
        "None",
        "3.0",
        "'x'",
        "pk.CurieWeiss",
        "GRID",
        "np.ones(3)",
        "{}",
        "object()",
        "1j",
        "LAW",
    ],
    "speed": ["0.0", "-1.0", "np.nan", "np.inf", "'x'", "1j", "[1, 2]", "True", "GRID", "None"],
    "velocity": [v for v in _VECTORS if v not in ("3.0", "[1]")],
    "of slopes": [*_OF_SLOPES, "None", "lambda x, p: p"],
    "of slopes?": [*_OF_SLOPES, "lambda x, p: 2 * p", "lambda x, p: p[..., 0]"],
    "speeds": [
        "-1.0",
        "np.nan",
        "np.inf",
        "'x'",
        "1j",
        "GRID",
        "np.ones(5)",
        "lambda x: 'a'",
        "lambda x: -1 + 0 * x",
        "lambda: 0",
        "lambda x: x * np.nan",
        "lambda x: 1 / 0",
        "lambda x: 1e-3 + 0 * x",
        "0.0",
        "lambda x, t: 9.0",
    ],
    "hamiltonian": ["3.0", "'x'", "h.Power", "GRID", "lambda: 0", "{}", "object()", "LAW", "1j"],
    "points": [
        "'x'",
        "None",
        "np.ones(5) * 1j",
        "np.array(['1'])",
        "_masked(4, 1)",
        "np.ones((4, 3))",
        "object()",
        "[[1], [1, 2]]",
        "{}",
        "np.ones((4, 7))",
        "float",
    ],
    "law": ["None", "'x'", "pk.Gaussian", "V", "GRID", "3.0", "{}", "object()", "lambda x: x"],
    "path": ["None", "3.0", "{}", "object()", "1j", "[1]", "float"],
    "text": ["3.0", "None", "{}", "1j", "[1]"],
    "any": [],
    "cells": ["'3'", "2.5", "3", "0", "-4", "None", "1j", "int", "[40, 40, 40]", "np.nan", "{}"],
    "side": [*_NO_NUMBER, "np.nan", "(0.5, 0.6)", "[]", "1j", "object()"],
    "corner": [
        "'0'",
        "None",
        "np.nan",
        "np.inf",
        "1j",
        "float",
        "[0, 0, 0]",
        "{}",
        "1e300",
        "_grad()",
        "_masked()",
        "object()",
        "np.array('1')",
        "lambda: 0",
    ],
    "ends": ["1", "0.0", "'yes'", "None", "[1]", "{}", "object()", "()", "(1, 0)", "bool"],
    "numbers": [
        "'1'",
        "None",
        "np.nan",
        "np.inf",
        "1j",
        "float",
        "{}",
        "_grad()",
        "_masked()",
        "object()",
        "[]",
        "[[1, 2], [3]]",
        "np.array('1')",
        "lambda: 0",
        "GRID",
        "['a', 'b']",
    ],
    "device": ["'nothing'", "3.5", "{}", "object()", "[1]"],
    "dtype": ["'float16'", "torch.int32", "int", "3", "{}", "torch.complex64", "object()"],
    "observe": ["3", "'x'", "pk.Moments", "GRID", "[1]", "object()", "1j", "lambda: 0"],
    "metrics": ["3", "'x'", "m.W1", "[1]", "object()", "1j", "['l1']"],
    "certificates": ["3", "'mass'", "c.Mass", "[1]", "object()", "[c.Mass]", "V"],
    "control": ["None", "'x'", "RHO", "V", "GRID", "3.0", "object()", "X", "{}"],
    "part": ["3.0", "'x'", "object()", "{}", "GRID", "1j", "np.ones(3)", "[1]"],
    "matrix": [
        "'x'",
        "object()",
        "{}",
        "GRID",
        "1j",
        "np.ones(3)",
        "np.ones((2, 3))",
        "np.nan",
        "np.array([[0.0, 1.0], [0.0, 0.0]])",
        "1j * np.eye(2)",
        "_grad(2, 2)",
        "None",
    ],
    "flux": ["3.0", "'x'", "object()", "{}", "GRID", "None"],
    "set": [
        "None",
        "3.0",
        "'x'",
        "object()",
        "np.ones(7, dtype=bool)",
        "lambda x: 'a'",
        "lambda x: x",
        "lambda: 0",
        "np.zeros(40, dtype=bool)",
        "GRID",
        "lambda x: x[..., 0] > 9",
    ],
}


@dataclass(frozen=True)
class Call:
    """A public name and its arguments: good value (made anew each time) and kind of each."""

    name: str
    make: Callable[..., Any]
    arguments: dict[str, tuple[str, str]]


def _row(name: str, make: Callable[..., Any], **arguments: tuple[str, str]) -> Call:
    return Call(name, make, arguments)


@cache
def _kept() -> str:
    """A result in a file."""
    folder = tempfile.mkdtemp()
    return str(_solved(pk.Heat(1.0), p.DoubleWell()).save(f"{folder}/kept.nc"))


def _solved(equation: Any, initial: Any = LAW) -> Any:
    return pk.solve(equation, GRID, initial, 0.1)


def _run(dynamics: Any, n: int = 8) -> Any:
    return pk.simulate(dynamics, LAW, n, 0.1, 0.05)


def _step(make: Any) -> Callable[..., Any]:
    """An optimizer is made and takes a step."""

    def run(params: Any, **arguments: Any) -> Any:
        optimizer = make(params, **arguments)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = sum((w**2).sum() for group in optimizer.param_groups for w in group["params"])
            loss.backward()
            return loss

        return optimizer.step(closure)

    return run


_POT = ("V", "potential")
_BETA = ("4.0", "positive")
_NUM = ("1.0", "positive")
_DYN = {"potential": _POT, "beta": _BETA}
_NOISELESS = {"potential": _POT, "beta": ("4.0", "beta")}  # beta = inf is no noise
_BOX = ("None", "box")
_SUM = ("q.ExactSum()", "part")
_HOW = ("q.EulerMaruyama()", "part")
_GRADIENT = ("q.FullGradient()", "part")

CALLS: list[Call] = [
    _row(
        "Grid",
        pk.Grid,
        lower=("0.0", "corner"),
        upper=("1.0", "corner"),
        cells=("40", "cells"),
        periodic=("False", "ends"),
    ),
    _row("Gaussian", pk.Gaussian, mean=("0.0", "numbers"), std=("1.0", "numbers")),
    _row("Uniform", pk.Uniform, lower=("0.0", "numbers"), upper=("1.0", "numbers")),
    _row(
        "Mixture",
        lambda weights, law: laws.Mixture(weights, (law, LAW)),
        weights=("(1, 2)", "numbers"),
        law=("LAW", "law"),
    ),
    _row("Product", lambda law: laws.Product(law, LAW), law=("LAW", "law")),
    _row("Gaussian.pdf", LAW.pdf, x=("np.ones((4, 1))", "points")),
    _row("Gaussian.density", LAW.density, grid=("GRID", "grid")),
    _row("Gaussian.mass", LAW.mass, grid=("GRID", "grid")),
    _row("Uniform.pdf", pk.Uniform().pdf, x=("np.ones((4, 1))", "points")),
    _row(
        "Ito",
        lambda D: _solved(pk.FokkerPlanck(V, 4.0, diffusion=pk.Ito(D))),
        D=("1.0", "diffusion"),
    ),
    _row(
        "Stratonovich",
        lambda D: _solved(pk.FokkerPlanck(V, 4.0, diffusion=pk.Stratonovich(D))),
        D=("1.0", "diffusion"),
    ),
    _row(
        "HaenggiKlimontovich",
        lambda D: _solved(pk.FokkerPlanck(V, 4.0, diffusion=pk.HaenggiKlimontovich(D))),
        D=("1.0", "diffusion"),
    ),
    _row("CurieWeiss", pk.CurieWeiss, strength=("1.0", "real")),
    _row("PairPotential", pk.PairPotential, potential=("V", "kernel")),
    _row("GaussianWell", i.GaussianWell, strength=("1.0", "real"), width=_NUM, dim=("1", "whole")),
    _row("Kuramoto", i.Kuramoto, strength=("1.0", "real"), dim=("1", "whole")),
    _row(
        "Morse",
        i.Morse,
        attraction=("1.0", "real"),
        attraction_length=_NUM,
        repulsion=("1.0", "real"),
        repulsion_length=_NUM,
        softening=_NUM,
        dim=("1", "whole"),
    ),
    _row(
        "PowerLaw",
        i.PowerLaw,
        strength=("1.0", "real"),
        a=("4.0", "positive"),
        b=_NUM,
        softening=_NUM,
        dim=("1", "whole"),
    ),
    _row("SmoothL1", i.SmoothL1, strength=("1.0", "real"), width=_NUM, dim=("1", "whole")),
    _row(
        "FeatureInteraction",
        lambda **a: pk.FeatureInteraction(**a)(np.ones((4, 1)), np.ones((4, 1))),
        features=("lambda x: x", "slopes"),
        strength=("1.0", "real"),
    ),
    _row(
        "KernelInteraction",
        pk.KernelInteraction,
        kernel=("lambda x, y: (x * y).sum(-1)", "shape"),
        dim=("1", "whole"),
    ),
    _row("Inflow", pk.Inflow, flux=("1.0", "least")),
    _row("Held", pk.Held, value=("1.0", "real")),
    _row("Resetting", pk.Resetting, rate=("1.0", "schedule"), law=("LAW", "law")),
    _row("Specular", pk.Specular),
    _row("PartlyAbsorbing", pk.PartlyAbsorbing, rate=("1.0", "least")),
    _row("Walls", pk.Walls, lower=("False", "ends"), upper=("False", "ends")),
    _row("Heat", lambda beta: _solved(pk.Heat(beta), V), beta=_BETA),
    _row(
        "ViscousHJ",
        lambda **a: _solved(pk.ViscousHJ(**a), V),
        beta=_BETA,
        obstacle=("cost", "function?"),
    ),
    _row(
        "HamiltonJacobi",
        lambda **a: _solved(pk.HamiltonJacobi(**a), V),
        hamiltonian=("h.Eikonal()", "hamiltonian"),
        obstacle=("cost", "function?"),
    ),
    _row("Burgers", pk.Burgers, hamiltonian=("h.Eikonal()", "hamiltonian")),
    _row(
        "FokkerPlanck",
        lambda **a: _solved(pk.FokkerPlanck(**a)),
        **_DYN,
        force=("lambda x: 0 * x", "force"),
        diffusion=("1.0", "diffusion"),
        walls=("pk.Walls(False, True)", "part"),
        killing=("0.5", "killing"),
        source=("0.5", "killing"),
    ),
    _row(
        "BackwardKolmogorov",
        lambda **a: _solved(pk.BackwardKolmogorov(**a), V),
        **_DYN,
        force=("lambda x: 0 * x", "force"),
        diffusion=("1.0", "diffusion"),
        walls=("pk.Walls(False, True)", "part"),
        killing=("0.5", "killing"),
        source=("0.5", "killing"),
        obstacle=("cost", "function?"),
    ),
    _row(
        "McKeanVlasov",
        lambda **a: _solved(pk.McKeanVlasov(**a)),
        **_NOISELESS,
        interaction=("pk.CurieWeiss(1.0)", "interaction"),
    ),
    _row(
        "HamiltonJacobiBellman",
        lambda **a: _solved(pk.HamiltonJacobiBellman(**a), cost),
        **_DYN,
        running_cost=("cost", "function?"),
        obstacle=("cost", "function?"),
    ),
    _row("quantile_particles", pk.quantile_particles, law=("LAW", "law"), n=("5", "whole")),
    _row(
        "quantile_flow",
        lambda **a: pk.quantile_flow(pk.FokkerPlanck(V, np.inf), **a),
        initial=("LAW", "density"),
        grid=("GRID", "grid"),
        t=("1.0", "times"),
        n=("20", "whole"),
    ),
    _row("shock_time", pk.shock_time, f=("V", "function"), grid=("GRID", "grid")),
    _row(
        "solve",
        pk.solve,
        equation=("FP", "equation"),
        grid=("GRID", "grid"),
        initial=("LAW", "density"),
        t=("0.1", "times"),
        scheme=("None", "scheme"),
    ),
    _row(
        "solve Heat",
        lambda initial, t: pk.solve(pk.Heat(2.0), GRID, initial, t),
        initial=("V", "field"),
        t=("0.1", "times"),
    ),
    _row(
        "solve HamiltonJacobi",
        lambda initial, t: pk.solve(pk.HamiltonJacobi(), GRID, initial, t),
        initial=("V", "field"),
        t=("0.1", "times"),
    ),
    _row(
        "solve HamiltonJacobiBellman",
        lambda initial, t: pk.solve(pk.HamiltonJacobiBellman(V, 4.0), GRID, initial, t),
        initial=("cost", "field"),
        t=("0.1", "times"),
    ),
    _row(
        "solve BackwardKolmogorov",
        lambda initial, t: pk.solve(pk.BackwardKolmogorov(V, 4.0), GRID, initial, t),
        initial=("cost", "field"),
        t=("0.1", "times"),
    ),
    _row(
        "solve McKeanVlasov",
        lambda initial, t: pk.solve(MV, GRID, initial, t),
        initial=("LAW", "density"),
        t=("0.1", "times"),
    ),
    _row(
        "solve in the plane",
        lambda initial, t: pk.solve(pk.FokkerPlanck(p.DoubleWell(2), 4.0), PLANE, initial, t),
        initial=("pk.Gaussian((0, 0), 0.5)", "density"),
        t=("0.01", "times"),
    ),
    _row("Solution.at", RHO.at, points=("np.zeros((4, 1))", "points")),
    _row("Solution.at", lambda t: RHO.at([[0.0]], t), t=("0.1", "positive?")),
    _row(
        "Congestion",
        lambda strength, power: pk.control(
            V, 4.0, GRID, LAW, cost, [0.05, 0.1], coupling=pk.Congestion(strength, power)
        ),
        strength=("0.1", "real"),
        power=_NUM,
    ),
    _row("LogDensity", pk.LogDensity, strength=("0.1", "real"), floor=("1e-4", "positive")),
    _row("MeanTracking", pk.MeanTracking, strength=("0.1", "real"), share=("1.0", "real")),
    _row(
        "Nonlocal",
        lambda kernel: pk.control(
            V, 4.0, GRID, LAW, cost, [0.05, 0.1], coupling=pk.Nonlocal(kernel)
        ),
        kernel=("lambda z: (z * z).sum(-1)", "function"),
    ),
    _row(
        "landscapes.SphericalSpinGlass",
        pk.landscapes.SphericalSpinGlass,
        p=("3", "whole"),
        n=("5", "whole"),
        field=("0.0", "least"),
    ),
    _row(
        "landscapes.complexity", lambda **a: pk.landscapes.complexity(-1.7, **a), p=("3", "whole")
    ),
    _row(
        "landscapes.expected_critical_points",
        pk.landscapes.expected_critical_points,
        n=("5", "whole"),
        p=("3", "whole"),
        field=("0.0", "least"),
    ),
    _row(
        "landscapes.hessian_spectrum",
        lambda **a: pk.landscapes.hessian_spectrum(
            **{"model": NETWORK, "loss": SQUARES, "data": PAIRS, "leading": 1} | a
        ),
        model=("NETWORK", "part"),
        loss=("SQUARES", "part"),
        data=("PAIRS", "part"),
        matrix=("pk.landscapes.GaussNewton()", "part"),
        steps=("3", "whole"),
        probes=("2", "whole"),
        leading=("1", "whole"),
        batch=("2", "whole"),
    ),
    _row(
        "landscapes.spectrum",
        lambda operator: pk.landscapes.spectrum(operator, leading=1),
        operator=("np.eye(4)", "matrix"),
    ),
    _row(
        "landscapes.Spectrum.density",
        lambda width: pk.landscapes.spectrum(np.eye(4), leading=1).density(0.5, width),
        width=("0.1", "positive"),
    ),
    _row(
        "landscapes.gradient_covariance",
        pk.landscapes.gradient_covariance,
        model=("NETWORK", "part"),
        loss=("SQUARES", "part"),
        data=("PAIRS", "part"),
    ),
    _row(
        "landscapes.GradientCovariance.minibatch",
        pk.landscapes.gradient_covariance(NETWORK, SQUARES, PAIRS).minibatch,
        size=("2", "whole"),
        replacement=("False", "flag"),
    ),
    _row(
        "landscapes.expected_by_index",
        pk.landscapes.expected_by_index,
        n=("4", "whole"),
        p=("3", "whole"),
        field=("0.0", "least"),
        samples=("200", "whole"),
    ),
    _row("Newton", pk.Newton, tolerance=("1e-6", "positive"), rounds=("40", "whole")),
    _row(
        "FixedPoint",
        pk.FixedPoint,
        damping=("0.5", "positive"),
        rounds=("40", "whole"),
        tolerance=("1e-7", "positive"),
    ),
    _row(
        "FictitiousPlay", pk.FictitiousPlay, rounds=("40", "whole"), tolerance=("1e-3", "positive")
    ),
    _row(
        "control",
        pk.control,
        potential=("V", "potential?"),
        beta=_BETA,
        grid=("GRID", "grid"),
        initial=("LAW", "density"),
        terminal_cost=("cost", "field"),
        t=("[0.05, 0.1]", "times"),
        scheme=("None", "scheme"),
        running_cost=("cost", "function?"),
        coupling=("None", "part"),
        solver=("None", "part"),
    ),
    _row("Control.cost_under", CONTROL.cost_under, coupling=("None", "part")),
    _row("stationary", pk.stationary, equation=("FP", "equation"), grid=("GRID", "grid")),
    _row(
        "current",
        pk.current,
        equation=("FP", "equation"),
        density=("FIELD", "values"),
        grid=("GRID", "grid"),
    ),
    _row(
        "detailed_balance", pk.detailed_balance, equation=("FP", "equation"), grid=("GRID", "grid")
    ),
    _row(
        "slow_modes",
        pk.slow_modes,
        equation=("FP", "equation"),
        grid=("GRID", "grid"),
        count=("1", "whole"),
    ),
    _row(
        "spectral_gap",
        pk.spectral_gap,
        equation=("FP", "equation"),
        grid=("GRID", "grid"),
        extrapolate=("False", "flag"),
    ),
    _row(
        "mean_first_passage_time",
        pk.mean_first_passage_time,
        equation=("FP", "equation"),
        grid=("GRID", "grid"),
        target=("lambda x: x[..., 0] > 1", "set"),
    ),
    _row(
        "arrival_time",
        pk.arrival_time,
        speed=("1.0", "pace"),
        grid=("GRID", "grid"),
        target=("lambda x: x[..., 0] > 1", "set"),
        order=("2", "whole"),
    ),
    _row(
        "committor",
        pk.committor,
        equation=("FP", "equation"),
        grid=("GRID", "grid"),
        start=("lambda x: x[..., 0] < -1", "set"),
        target=("lambda x: x[..., 0] > 1", "set"),
    ),
    _row(
        "kramers_time",
        pk.kramers_time,
        potential=("V", "potential"),
        minimum=("-1.0", "points"),
        saddle=("0.0", "points"),
        beta=("40.0", "positive"),
    ),
    _row("free_energy", pk.free_energy, solution=("RHO", "solution")),
    _row("dissipation", pk.dissipation, solution=("RHO", "solution")),
    _row(
        "with_steady_state",
        lambda **a: _solved(pk.with_steady_state(**a)),
        potential=("V", "potential"),
        beta=_BETA,
        diffusion=("1.0", "diffusion"),
    ),
    _row("decompose", pk.decompose, drift=("((1.0, 1.0), (-1.0, 1.0))", "numbers")),
    _row("LimitCycle", pk.LimitCycle, strength=("1.0", "real"), beta=_BETA),
    _row(
        "entropy_production",
        pk.entropy_production,
        equation=("FP", "equation"),
        density=("FIELD", "values"),
        grid=("GRID", "grid"),
    ),
    _row(
        "housekeeping",
        pk.housekeeping,
        equation=("FP", "equation"),
        density=("FIELD", "values"),
        grid=("GRID", "grid"),
    ),
    _row(
        "minibatch_covariance",
        pk.minibatch_covariance,
        gradients=("np.eye(4)", "numbers"),
        size=("2", "whole"),
        replacement=("True", "flag"),
    ),
    _row(
        "self_consistent_states",
        pk.self_consistent_states,
        equation=("MV", "equation"),
        grid=("GRID", "grid"),
    ),
    _row(
        "local_entropy",
        pk.local_entropy,
        potential=("V", "potential"),
        gamma=_NUM,
        beta=_BETA,
        grid=("GRID", "grid"),
    ),
    _row(
        "critical_beta",
        pk.critical_beta,
        potential=("V", "kernel"),
        interaction=("pk.CurieWeiss(1.0)", "interaction"),
    ),
    _row(
        "phase_diagram",
        pk.phase_diagram,
        potential=("V", "potential"),
        betas=("[1.0, 3.0]", "numbers"),
        strengths=("[1.0]", "numbers"),
        grid=("GRID", "box"),
    ),
    _row(
        "follow_branch",
        pk.follow_branch,
        family=("lambda beta: pk.McKeanVlasov(V, beta, pk.CurieWeiss(1.0))", "part"),
        grid=("GRID", "grid"),
        mean=("0.5", "real"),
        bounds=("(3.0, 4.0)", "numbers"),
        start=("3.0", "positive?"),
    ),
    _row("Langevin", lambda **a: _run(pk.Langevin(**a)), **_NOISELESS, integrator=_HOW, box=_BOX),
    _row(
        "Langevin that stops",
        lambda **a: _run(pk.Langevin(V, 4.0, box=GRID, **a)),
        walls=("pk.Walls(False, True)", "part"),
        killing=("0.5", "clock"),
    ),
    *(
        _row(
            f"{name} that stops",
            lambda make=make, **a: _run(make(box=GRID, **a)),
            walls=("pk.Walls(False, True)", "part"),
            killing=("0.5", "clock"),
        )
        for name, make in (
            ("ItoProcess", lambda **a: pk.ItoProcess(lambda x: -x, 1.0, **a)),
            ("MetropolisLangevin", lambda **a: pk.MetropolisLangevin(V, 4.0, **a)),
            ("MultiplicativeLangevin", lambda **a: pk.MultiplicativeLangevin(V, 4.0, 1.0, **a)),
        )
    ),
    _row(
        "Langevin that is reset",
        lambda **a: _run(pk.Langevin(V, 4.0, **a)),
        resetting=("pk.Resetting(1.0, LAW)", "part"),
    ),
    _row(
        "InteractingLangevin",
        lambda **a: _run(pk.InteractingLangevin(**a)),
        **_NOISELESS,
        interaction=("pk.CurieWeiss(1.0)", "interaction"),
        summation=_SUM,
        integrator=_HOW,
        box=_BOX,
    ),
    _row(
        "ControlledLangevin",
        lambda **a: _run(pk.ControlledLangevin(**a)),
        **_DYN,
        value=("V", "potential"),
        integrator=_HOW,
        box=_BOX,
    ),
    _row(
        "SmoothedDescent",
        lambda **a: _run(pk.SmoothedDescent(**a)),
        value=("V", "potential"),
        beta=("None", "beta?"),
        integrator=_HOW,
        box=_BOX,
    ),
    _row(
        "TwoScaleLangevin",
        lambda **a: _run(pk.TwoScaleLangevin(**a)),
        potential=_POT,
        beta=("4.0", "beta"),
        gamma=("0.5", "positive"),
        epsilon=("0.1", "positive"),
        inner_steps=("2", "whole"),
        burn_in=("1", "whole"),
        interaction=("pk.CurieWeiss(1.0)", "part"),
        fast=("q.Position()", "part"),
        average=("q.LinearAverage()", "part"),
        warm_start=("True", "flag"),
        inner_dt=("0.01", "positive?"),
        integrator=_HOW,
        summation=_SUM,
    ),
    _row(
        "UnderdampedLangevin",
        lambda **a: _run(pk.UnderdampedLangevin(**a)),
        **_DYN,
        friction=("1.0", "least"),
        mass=_NUM,
        at_rest=("False", "flag"),
        momenta=("LAW", "law"),
        box=_BOX,
    ),
    _row(
        "AnnealedLangevin",
        lambda **a: _run(pk.AnnealedLangevin(**a)),
        potential=_POT,
        schedule=("q.Logarithmic(1.0)", "part"),
        integrator=_HOW,
        box=_BOX,
    ),
    _row(
        "ItoProcess",
        lambda **a: _run(pk.ItoProcess(**a)),
        drift=("lambda x, t: -t * x", "drift"),
        noise=("lambda x: 1 + x[..., 0] ** 2", "noise"),
        dim=("1", "whole"),
    ),
    _row(
        "FokkerPlanck in time",
        lambda beta: _solved(pk.FokkerPlanck(V, beta)),
        beta=("lambda t: 1.0 + t", "schedule"),
    ),
    _row(
        "Langevin in time",
        lambda beta: _run(pk.Langevin(V, beta)),
        beta=("lambda t: 1.0 + t", "schedule"),
    ),
    _row("InTime", pk.InTime, f=("lambda x, t: t * x[..., 0]", "moving")),
    _row("MetropolisLangevin", lambda **a: _run(pk.MetropolisLangevin(**a)), **_DYN),
    _row(
        "MultiplicativeLangevin",
        lambda **a: _run(pk.MultiplicativeLangevin(**a)),
        **_DYN,
        diffusion=("1.0", "diffusion"),
        force=("lambda x: 0 * x", "force"),
    ),
    _row(
        "ElasticSGD",
        lambda **a: _run(pk.ElasticSGD(**a)),
        potential=_POT,
        beta=("4.0", "beta"),
        gamma=_NUM,
        epsilon=_NUM,
    ),
    _row(
        "EntropySGD",
        lambda **a: _run(pk.EntropySGD(**a)),
        potential=_POT,
        beta=("np.inf", "beta?"),
        gamma=("0.5", "positive"),
        inner_steps=("2", "whole"),
        inner_lr=("0.01", "positive?"),
        alpha=("0.25", "share"),
    ),
    _row(
        "SampledDescent",
        lambda **a: _run(pk.SampledDescent(**a)),
        **_DYN,
        gamma=_NUM,
        samples=("1", "whole"),
    ),
    _row(
        "TwoLayerNetwork",
        lambda **a: _run(pk.TwoLayerNetwork(**a)),
        task=("NEURONS", "part"),
        rate=("1.0", "rate"),
        batch=("2", "whole"),
        beta=("np.inf", "beta?"),
    ),
    _row(
        "Nesterov",
        lambda **a: _run(pk.Nesterov(**a)),
        potential=_POT,
        momentum=("0.9", "share"),
        gradient=_GRADIENT,
    ),
    _row(
        "RestartedNesterov",
        lambda **a: _run(pk.RestartedNesterov(**a)),
        potential=_POT,
        gradient=_GRADIENT,
    ),
    _row(
        "MaSS",
        lambda **a: _run(pk.MaSS(**a)),
        potential=_POT,
        momentum=("0.9", "share"),
        compensation=("0.1", "least"),
        gradient=_GRADIENT,
    ),
    _row(
        "RestartedMaSS",
        lambda **a: _run(pk.RestartedMaSS(**a)),
        potential=_POT,
        compensation=("0.1", "least"),
        gradient=_GRADIENT,
    ),
    _row(
        "simulate",
        pk.simulate,
        dynamics=("pk.Langevin(V, 4.0)", "dynamics"),
        initial=("LAW", "start"),
        n=("300", "whole"),
        t=("0.1", "times"),
        dt=("0.05", "positive"),
        runs=("1", "whole"),
        seed=("0", "seed"),
        device=("'cpu'", "device"),
        dtype=("None", "dtype"),
        progress=("False", "flag"),
        observe=("()", "observe"),
        keep=("True", "flag"),
        checkpoint=("None", "part"),
        ranks=("None", "part"),
    ),
    _row(
        "BasinCounts",
        lambda label, count, every: pk.simulate(
            pk.Langevin(V, 4.0), LAW, 8, 0.1, 0.05, observe=pk.BasinCounts(label, count, every)
        ),
        label=("lambda x: (x[..., 0] > 0).long()", "function"),
        count=("2", "whole"),
        every=("None", "whole?"),
    ),
    _row(
        "FirstPassage",
        lambda **a: pk.simulate(
            pk.Langevin(V, 4.0), LAW, 8, 0.1, 0.05, observe=pk.FirstPassage(**a)
        ),
        lower=("0.5", "side"),
        upper=("0.8", "side"),
    ),
    _row("Histogram", pk.Histogram, grid=("GRID", "grid"), every=("None", "whole?")),
    _row("Moments", pk.Moments, every=("None", "whole?")),
    _row("Checkpoint", pk.Checkpoint, path=("'a.npz'", "path"), minutes=("5.0", "least")),
    _row("Ranks", pk.Ranks, rank=("0", "seed"), size=("1", "whole")),
    _row(
        "compare",
        pk.compare,
        solution=("RHO", "solution"),
        ensemble=("X", "ensemble"),
        metrics=("()", "metrics"),
        draws=("19", "whole"),
    ),
    _row(
        "sensitivity",
        pk.sensitivity,
        solution=("RHO", "solution"),
        parameter=("'beta'", "flag"),
    ),
    _row(
        "compare_passages",
        pk.compare_passages,
        times=("TAU", "passages"),
        ensemble=("PASSED", "ensemble"),
    ),
    _row(
        "expectation_gradient",
        pk.expectation_gradient,
        solution=("RHO", "solution"),
        observable=("V", "function"),
        parameters=("['beta']", "flag"),
    ),
    _row(
        "fit",
        lambda **arguments: pk.fit(
            lambda p: pk.FokkerPlanck(V, p["beta"]), X, {"beta": 4.0}, **arguments
        ),
        grid=("GRID", "grid"),
    ),
    _row(
        "area_rate",
        pk.area_rate,
        path=("np.random.default_rng(0).normal(size=(400, 2))", "points"),
        dt=("0.1", "positive"),
        level=("0.95", "level"),
        block=("10", "whole?"),
        draws=("19", "whole"),
        seed=("0", "seed"),
    ),
    _row(
        "convergence",
        lambda **a: pk.convergence(
            pk.Langevin(V, 4.0), LAW, lambda x: x[..., 0], 0.2, reference=0.0, **a
        ),
        n=("(20, 40, 80)", "numbers"),
        dt=("(0.2, 0.1, 0.05)", "numbers"),
        runs=("8", "whole"),
        seed=("0", "seed"),
        level=("0.95", "level"),
    ),
    _row(
        "improvement",
        lambda **a: pk.improvement(CONTROL, LAW, **a),
        n=("50", "whole"),
        dt=("0.05", "positive"),
        seed=("0", "seed"),
        level=("0.99", "level"),
    ),
    _row(
        "improvement",
        lambda control, initial: pk.improvement(control, initial, 50, 0.05),
        control=("CONTROL", "control"),
        initial=("LAW", "law"),
    ),
    _row(
        "certify",
        lambda result, certificates: pk.certify(result, certificates),
        result=("RHO", "control"),
        certificates=("c.Mass()", "certificates"),
    ),
    _row("Agrees", c.Agrees, reference=("RHO", "part"), within=("1e-3", "positive")),
    _row("FollowsLaw", c.FollowsLaw, solution=("RHO", "solution"), level=("0.01", "level")),
    _row("Duality", c.Duality, backward=("HEAT", "part")),
    _row("ComparisonPrinciple", c.ComparisonPrinciple, above=("HEAT", "part")),
    _row("NonExpansive", c.NonExpansive, other=("HEAT", "part")),
    _row("Spread", c.Spread, level=("0.001", "level")),
    _row("Stationary", c.Stationary, within=("1e-9", "positive")),
    _row("Equipartition", c.Equipartition, level=("0.001", "level")),
    _row("TimeReversal", c.TimeReversal, level=("0.001", "level")),
    _row(
        "sampled_curvature",
        pk.sampled_curvature,
        potential=("V", "potential"),
        beta=_BETA,
        t=("0.5", "positive"),
        points=("np.zeros((2, 1))", "points"),
        n=("100", "whole"),
        dt=("0.05", "positive?"),
        duration=("1.0", "positive?"),
        seed=("0", "seed"),
    ),
    _row(
        "robust_width",
        pk.robust_width,
        potential=("V", "potential"),
        minimum=("[1.0]", "points"),
        tolerance=("0.1", "positive"),
        beta=_BETA,
        longest=("100.0", "positive"),
    ),
    _row(
        "widening",
        pk.widening,
        potential=("V", "potential"),
        beta=_BETA,
        grid=("GRID", "grid"),
        t=("0.1", "times"),
        step=("1", "whole"),
    ),
    _row("semiconcavity", pk.semiconcavity, solution=("HEAT", "solution"), step=("1", "whole")),
    _row("Custom", lambda f: p.Custom(f)(np.ones((4, 1))), f=("lambda x: x[..., 0]", "shape")),
    _row(
        "Custom",
        lambda grad, dim: p.Custom(lambda x: x[..., 0], grad, dim).grad(np.ones((4, 1))),
        grad=("lambda x: 1 + 0 * x", "slopes"),
        dim=("1", "whole"),
    ),
    _row("DoubleWell", p.DoubleWell, dim=("1", "whole")),
    _row("Rippled", p.Rippled, dim=("1", "whole")),
    _row("Rough", p.Rough, dim=("1", "whole"), delta=("0.1", "positive")),
    _row("Cosine", p.Cosine, wavenumber=("1.0", "real"), dim=("1", "whole")),
    _row("Linear", p.Linear, slope=("1.0", "numbers"), dim=("1", "whole")),
    _row("V.shifted", V.shifted, by=("1.0", "numbers")),
    _row("c V", lambda c: c * V, c=("2.0", "real")),
    _row("V / c", lambda c: V / c, c=("2.0", "real")),
    _row("Quadratic", p.Quadratic, curvature=("1.0", "numbers"), dim=("1", "whole")),
    _row("DoubleWell()", V, x=("np.ones((4, 1))", "points")),
    _row("MullerBrown", p.MullerBrown(), x=("np.ones((4, 2))", "points")),
    _row("SixHumpCamel", p.SixHumpCamel().grad, x=("np.ones((4, 2))", "points")),
    _row("Sum", lambda term: p.Sum((V, term))(np.ones((4, 1))), term=("V", "shape")),
    _row(
        "Tabulated", p.Tabulated, points=("np.arange(40.0)", "numbers"), values=("FIELD", "samples")
    ),
    _row(
        "Evolving",
        p.Evolving,
        times=("[0.0, 1.0]", "numbers"),
        points=("np.arange(40.0)", "numbers"),
        values=("np.stack([FIELD, FIELD])", "numbers"),
    ),
    _row(
        "Evolving.at", p.Evolving([0.0, 1.0], np.arange(40.0), [FIELD, FIELD]).at, t=("0.5", "real")
    ),
    _row(
        "Tabulated.from_csv",
        p.Tabulated.from_csv,
        path=("__file__.replace('tests/bad_inputs.py', 'studies/data/digits_loss.csv')", "path"),
    ),
    _row(
        "as_potential",
        lambda value, dim: p.as_potential(value, dim)(np.ones((4, 1))),
        value=("V", "shape"),
        dim=("1", "whole"),
    ),
    _row("ColeHopf", schemes.ColeHopf, extend=("False", "flag"), refine=("True", "flag")),
    _row(
        "DoobTransform",
        schemes.DoobTransform,
        rtol=("1e-9", "tolerance"),
        rtol_plane=("1e-5", "tolerance"),
    ),
    _row(
        "Exponential",
        schemes.Exponential,
        rtol=("1e-10", "tolerance"),
        rtol_moving=("1e-5", "tolerance"),
    ),
    _row(
        "Filtered",
        schemes.Filtered,
        cfl=("0.5", "positive"),
        flux=("h_flux", "flux"),
        epsilon=("2.0", "least"),
    ),
    _row("Godunov", schemes.Godunov, cfl=("0.9", "positive"), flux=("h_flux", "flux")),
    _row("HopfLax", schemes.HopfLax, refine=("True", "flag"), extend=("False", "flag")),
    _row("Spectral", schemes.Spectral, extend=("False", "flag")),
    _row(
        "ActiveSet",
        schemes.ActiveSet,
        rtol=("1e-4", "tolerance"),
        rtol_plane=("1e-4", "tolerance"),
        order=("2", "whole"),
        steps=("20", "whole?"),
    ),
    _row("Implicit", schemes.Implicit, dt=("0.1", "positive")),
    _row("Krylov", schemes.Krylov, rtol=("1e-8", "tolerance")),
    _row("MeanField", schemes.MeanField, rtol=("1e-5", "tolerance"), order=("7", "whole")),
    _row("PolicyIteration", schemes.PolicyIteration, dt=("0.01", "positive"), order=("2", "whole")),
    _row("SemiLagrangian", schemes.SemiLagrangian, rtol=("1e-4", "tolerance")),
    _row("Split", schemes.Split, tolerance=("5e-5", "tolerance")),
    _row("Upwind", schemes.Upwind, order=("2", "whole"), cfl=("0.9", "share")),
    _row("Quantiles", schemes.Quantiles, n=("100", "whole"), rtol=("1e-9", "tolerance")),
    _row(
        "default_scheme", schemes.default_scheme, equation=("FP", "equation"), grid=("GRID", "grid")
    ),
    _row("hamiltonians.Power", h.Power, exponent=("2.0", "positive"), scale=("1.0", "numbers")),
    _row("hamiltonians.Eikonal", h.Eikonal, speed=("1.0", "pace")),
    _row(
        "Eikonal of place",
        lambda speed: _solved(pk.HamiltonJacobi(h.Eikonal(speed)), V),
        speed=("lambda x: 1 + x[..., 0] ** 2", "killing"),
    ),
    _row(
        "hamiltonians.Advection",
        lambda velocity: _solved(pk.HamiltonJacobi(h.Advection(velocity)), V),
        velocity=("lambda x: -x", "velocity"),
    ),
    _row(
        "hamiltonians.StateDependent",
        lambda **a: _solved(pk.HamiltonJacobi(h.StateDependent(**a)), V),
        function=("lambda x, p: (p**2).sum(-1) / 2", "of slopes"),
        gradient=("lambda x, p: p", "of slopes?"),
        speeds=("None", "speeds"),
        dim=("1", "whole"),
    ),
    _row("hamiltonians.Sum", h.Sum, parts=("(h.Power(),)", "hamiltonian")),
    _row("hamiltonians.Quadratic", h.Quadratic, matrix=("((1.0,),)", "numbers")),
    _row("hamiltonians.Separable", h.Separable, parts=("(h.Power(),)", "hamiltonian")),
    _row(
        "hamiltonians.Custom",
        h.Custom,
        function=("lambda p: (p**2).sum(-1)", "flux"),
        dim=("1", "whole"),
    ),
    _row(
        "optim.ElasticSGD",
        _step(optim.ElasticSGD),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        rho=_NUM,
        replicas=("2", "whole"),
        master_lr=("0.1", "least?"),
        weight_decay=("0.0", "least"),
    ),
    _row(
        "optim.EntropySGD",
        _step(optim.EntropySGD),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        gamma=("0.1", "positive?"),
        inner_steps=("2", "whole"),
        temperature=("0.0", "rate"),
        inner_lr=("0.1", "positive?"),
        alpha=("0.25", "share"),
        burn_in=("1", "whole"),
        weight_decay=("0.0", "least"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.HEAT",
        _step(optim.HEAT),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        gamma=("1e-4", "positive"),
        inner_steps=("2", "whole"),
        temperature=("1.0", "rate"),
        antithetic=("False", "flag"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.HJ",
        _step(optim.HJ),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        gamma=("0.1", "positive?"),
        inner_steps=("2", "whole"),
        inner_lr=("0.1", "positive?"),
        dual=("False", "flag"),
    ),
    _row(
        "optim.MaSS",
        _step(optim.MaSS),
        params=("params()", "any"),
        lr=("0.01", "least"),
        momentum=("0.9", "share"),
        compensation=("0.1", "least"),
        restart=("False", "flag"),
    ),
    _row(
        "optim.MFSGLD",
        _step(optim.MFSGLD),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        strength=("1.0", "rate"),
        replicas=("2", "whole"),
        temperature=("1e-6", "rate"),
        weight_decay=("0.0", "least"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.MFHomSGLD",
        _step(optim.MFHomSGLD),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        gamma=("1.0", "positive?"),
        strength=("1.0", "rate"),  # functions are schedules, 0 is no attraction
        inner_steps=("2", "whole"),
        burn_in=("1", "whole"),
        replicas=("2", "whole"),
        temperature=("1e-6", "rate"),
        inner_lr=("0.1", "positive?"),
        weight_decay=("0.0", "least"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.NesterovRestart",
        _step(optim.NesterovRestart),
        params=("params()", "any"),
        lr=("0.01", "least"),
    ),
    _row(
        "optim.Parle",
        _step(optim.Parle),
        params=("params()", "any"),
        lr=("0.1", "least?"),
        gamma=_NUM,
        rho=("1.0", "beta"),
        inner_steps=("2", "whole"),
        replicas=("2", "whole"),
        inner_lr=("0.1", "positive?"),
        alpha=("0.25", "share"),
        temperature=("0.0", "rate"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.SGLD",
        _step(optim.SGLD),
        params=("params()", "any"),
        lr=("0.01", "least"),
        temperature=("1e-6", "rate"),
        seed=("0", "seed"),
    ),
    _row(
        "optim.TrivializedSGD",
        _step(optim.TrivializedSGD),
        params=("params()", "any"),
        lr=("0.01", "least?"),
        coupling=("1e-3", "least"),
        decay=("1000.0", "positive"),
        seed=("0", "seed"),
    ),
    _row("ChebyshevSum", q.ChebyshevSum, tolerance=("1e-8", "positive")),
    _row("Consensus", q.Consensus, strength=("1.0", "real"), sharpness=("10.0", "real")),
    _row("ExponentialAverage", q.ExponentialAverage, alpha=("0.25", "share")),
    _row(
        "FiniteSum",
        q.FiniteSum,
        term=("lambda x, k: x[..., 0]", "flux"),
        count=("3", "whole"),
        dim=("1", "whole"),
    ),
    _row("particles.L1", q.L1, strength=("1.0", "real")),
    _row("Logarithmic", q.Logarithmic, depth=_NUM, shift=("2.0", "positive")),
    _row("MiniBatch", q.MiniBatch, size=("2", "whole"), replacement=("True", "flag")),
    _row("NoisyGradient", q.NoisyGradient, std=("1.0", "least")),
    _row("RandomBatch", q.RandomBatch, partners=("2", "whole")),
    _row("Scoping", q.Scoping, initial=_NUM, rate=("0.1", "least"), floor=("0.001", "positive")),
    _row("comparison.W2", m.W2, exact_up_to=("2e5", "least")),
    _row("comparison.Moments", m.Moments, order=("4", "whole")),
    _row("is_convex", m.is_convex, field=("HEAT.final", "part")),
    _row("convex_intervals", m.convex_intervals, field=("HEAT.final", "part")),
    _row("load", pk.load, path=("_kept()", "path")),
    _row("plotting.line", lambda field: plotting.line(_axes(), field), field=("RHO.final", "part")),
]


def _axes() -> Any:
    from matplotlib.figure import Figure

    return Figure().subplots()


def h_flux(*arguments: Any) -> Any:
    """The default flux of the monotone schemes."""
    return schemes.Godunov().flux(*arguments)


def good(call: Call) -> dict[str, Any]:
    """The good arguments, made anew."""
    return {name: made(text) for name, (text, _) in call.arguments.items()}


def made(text: str) -> Any:
    """The value that a text of the tables stands for."""
    if text == "h_flux":
        return schemes.Godunov().flux
    return eval(text, globals())  # of the tables above alone
