"""The study of limit cycles runs, its claims hold, and wrong dynamics fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("limit_cycles")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, cells=128, particles=12_000)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_particles_in_detailed_balance_fail(study: Any, results: Any) -> None:
    """The same density without its current."""
    idle = replace(results.cases[1.5], measured={
        name: replace(m, mean=results.cases[0.0].measured[name].mean)
        for name, m in results.cases[1.5].measured.items()
    })  # fmt: skip
    planted = replace(results, cases={**results.cases, 1.5: idle})
    texts = {text.split(" by")[0] for text in failing(study, planted)}
    assert {"λ = 1.5: area", "λ = 1.5: entropy"} <= texts


def test_an_orbit_that_closes_fails(study: Any, results: Any) -> None:
    """Planted: the cubic terms left out, so that the linear centre's ellipses remain."""
    case = results.cases[1.5]
    planted = replace(case, winding=(0.0, 0.0, case.winding[2]))
    texts = failing(study, replace(results, cases={**results.cases, 1.5: planted}))
    assert len(texts) == 2 and texts[0].startswith("but no orbit closes")


def test_tensors_and_arrays_see_one_example() -> None:
    import torch

    case, x = pk.LimitCycle(1.5, 0.8), np.random.default_rng(0).normal(size=(50, 2))
    for name in ("potential", "force", "drift", "density", "current"):
        there = getattr(case, name)(torch.as_tensor(x))
        np.testing.assert_allclose(there.numpy(), getattr(case, name)(x), rtol=1e-13, atol=1e-15)
