"""The study of the Müller-Brown potential runs, its claims hold, and wrong motions fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing
from scipy import integrate

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("muller_brown")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, starts=1_000)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_agents_that_do_not_interact_fail(study: Any, results: Any) -> None:
    alone = {**results.methods, "agents, λ = 200": results.methods["Langevin, β = 0.1"]}
    texts = failing(study, replace(results, methods=alone))
    assert len(texts) == 1 and texts[0].startswith("agents, λ = 200: share 0.795")


def test_agents_that_average_nothing_fail(study: Any, results: Any) -> None:
    """Planted: slow particles that follow the plain slope, which are descent."""
    idle = {k: results.methods["descent"] for k in results.tunings}
    texts = [text.split(":")[0] for text in failing(study, replace(results, tunings=idle))]
    assert {"γ = 0.01, β = 0.05, λ = 50", "γ = 0.01, β = 0.1, λ = 50"} <= set(texts)
    assert "MF-HOM outperforms all others in its best tuning, by" in texts


def test_another_edge_of_the_basin_fails(study: Any, results: Any) -> None:
    """Planted: a straight edge through the saddle, across the ridge."""
    saddle = np.array(study.SADDLES[0])
    planted = [np.array([[study.LOWER[0], saddle[1]], saddle, [study.UPPER[0], saddle[1]]])]
    areas = study._areas(planted[0], results.curves[1])
    texts = failing(study, replace(results, areas=areas))
    assert any(text.startswith("descent finds the well from its basin") for text in texts)


def test_the_edge_is_one_of_the_flow(study: Any, results: Any) -> None:
    """The flow from either side of it, a thousandth away, ends in different wells."""
    for curve, wells in zip(results.curves, (study.WELLS[:2], study.WELLS[1:]), strict=True):
        across = np.gradient(curve, axis=0) @ [[0, 1], [-1, 0]]
        across *= 1e-3 / np.linalg.norm(across, axis=1, keepdims=True)
        for k in range(300, len(curve) - 300, 600):
            ends = [_flowed(study.V, curve[k] + sign * across[k]) for sign in (1, -1)]
            far = np.linalg.norm(np.array(ends)[:, None] - wells, axis=-1)
            assert sorted(far.argmin(axis=1)) == [0, 1] and far.min(axis=1).max() < 1e-3


def _flowed(V: Any, start: np.ndarray) -> np.ndarray:
    flow = integrate.solve_ivp(lambda _, x: -V.grad(x), (0, 0.3), start, "LSODA", rtol=1e-8)
    return np.asarray(flow.y[:, -1])


def test_descent_from_cell_to_cell_strays_on_any_grid(study: Any, results: Any) -> None:
    """Why the study traces the edges: what `pdekit.Basins` says of itself."""
    shares = []
    for cells in (100, 200):
        basins = pk.Basins.of(study.V, pk.Grid(study.LOWER, study.UPPER, (cells, cells)))
        deepest = int(basins(torch.as_tensor(study.WELLS[0])))
        shares.append((basins.labels == deepest).mean())
    np.testing.assert_allclose(shares, 0.444, atol=0.002)
    assert results.areas[0] > 0.469
