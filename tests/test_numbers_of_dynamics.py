"""Numbers of dynamics are kept as numbers, and what is no dynamics is refused where it is made."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import particles as q
from pdekit.potentials import Custom, Quadratic, Tabulated

V = Quadratic(1.0)
OTHERS: dict[str, Callable[[float], Any]] = {
    "one element": lambda v: np.array([v]),
    "object": lambda v: np.array(v, dtype=object),
    "tensor": lambda v: torch.tensor(v, dtype=torch.float64),
}
MADE: dict[str, Callable[[Any], Any]] = {
    "Langevin": lambda v: pk.Langevin(V, v),
    "MetropolisLangevin": lambda v: pk.MetropolisLangevin(V, v),
    "InteractingLangevin": lambda v: pk.InteractingLangevin(V, v, pk.CurieWeiss(v)),
    "UnderdampedLangevin": lambda v: pk.UnderdampedLangevin(V, v, v, v),
    "MultiplicativeLangevin": lambda v: pk.MultiplicativeLangevin(V, v, 1.0),
    "ElasticSGD": lambda v: pk.ElasticSGD(V, v, v, v),
    "TwoScaleLangevin": lambda v: pk.TwoScaleLangevin(V, v, v, v, 3, inner_dt=v),
    "EntropySGD": lambda v: pk.EntropySGD(V, v, v, 2, v, v),
    "SampledDescent": lambda v: pk.SampledDescent(V, v, v),
    "Nesterov": lambda v: pk.Nesterov(V, v),
    "MaSS": lambda v: pk.MaSS(V, v, v),
    "Logarithmic": lambda v: q.Logarithmic(v, np.array([3.0])),
    "Scoping": lambda v: q.Scoping(v, v, v),
    "ExponentialAverage": lambda v: q.ExponentialAverage(v),
    "NoisyGradient": lambda v: q.NoisyGradient(v),
    "L1": lambda v: q.L1(v),
    "Consensus": lambda v: q.Consensus(v, v),
    "ChebyshevSum": lambda v: q.ChebyshevSum(v),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("kind", OTHERS)
def test_arrays_of_one_number_are_that_number(name: str, kind: str) -> None:
    """The same value as of a float, and no field is an array."""
    made = MADE[name](OTHERS[kind](0.5))
    assert made == MADE[name](0.5)
    values = [getattr(made, field.name) for field in fields(made)]
    assert not any(isinstance(value, np.ndarray | torch.Tensor) for value in values)
    assert any(isinstance(value, float) for value in values)


def own(**methods: Any) -> Any:
    parts = {"step": lambda self, state, step, noise: state + noise.normals(), **methods}
    return type("Own", (), parts)()


OWN: dict[str, tuple[dict[str, Any], str]] = {
    "no flag": ({"coupled": "no"}, "coupled must be True or False"),
    "nothing": ({"drift": lambda self, x, t: None}, "got nothing: return the result"),
    "numpy": ({"drift": lambda self, x, t: -x.numpy()}, "must return a tensor of shape"),
    "summed": ({"drift": lambda self, x, t: -x.sum(-1)}, "must return a tensor of shape"),
}


@pytest.mark.parametrize("name", OWN)
def test_parts_of_own_dynamics(name: str) -> None:
    methods, message = OWN[name]
    with pytest.raises(TypeError, match=message):
        pk.simulate(own(**methods), pk.Gaussian(0.0, 1.0), 70, 0.3, 0.1)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "γ of nothing": (lambda: pk.SampledDescent(V, 4.0, lambda: 1), TypeError, "function of time"),
    "γ of two scales": (
        lambda: pk.TwoScaleLangevin(V, 4.0, lambda: 1, 0.1, 3),
        TypeError,
        "function of time",
    ),
    "schedule": (lambda: pk.AnnealedLangevin(V, lambda: 1), TypeError, "function of time"),
    "features": (lambda: pk.FeatureInteraction(lambda: 1), TypeError, "function of points"),
    "potential": (lambda: Custom(lambda: 1), TypeError, "function of points"),
    "no samples": (lambda: Tabulated([], []), ValueError, "at least 4 different x, got 0"),
    "cells": (
        lambda: pk.Grid(0, 1, torch.tensor(4.0, requires_grad=True)),
        TypeError,
        "cells cannot be made an array",
    ),
    "parameters": (
        lambda: pk.optim.SGLD(np.array(1, dtype=object)),
        TypeError,
        "params must be tensors",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_where_it_is_made(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()
