"""The study of training with smoothed losses: claims hold, planted faults break them."""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

from pdekit import cli

study = cli.load_study("smoothed_training")
networks = importlib.import_module("networks.digits")


@pytest.fixture(scope="module")
def results() -> Any:
    return study.run(quick=True, gradients=60)


def branch(results: Any, name: str) -> Any:
    return next(b for b in results.line.branches if b.name == name and b.gamma == 0.1)


def with_ends(results: Any, name: str, ends: Any) -> Any:
    branches = [replace(b, ends=ends) if b is branch(results, name) else b
                for b in results.line.branches]  # fmt: skip
    return replace(results, line=replace(results.line, branches=branches))


def test_claims_hold(results: Any) -> None:
    assert failing(study, results) == []
    assert len(study.plot(results).axes) == 6


@pytest.mark.parametrize("name", ["EntropySGD", "HEAT"])
def test_descent_on_the_loss_itself_does_not_pass_for_smoothed(results: Any, name: str) -> None:
    """The minima of f lie beside those of its smoothings, by 0.02 to 0.2."""
    found = failing(study, with_ends(results, name, results.line.ends["SGD"]))
    assert len(found) == 1 and found[0].startswith(f"{name}, γ = 0.1: largest distance")


def test_ends_of_hj_are_neither_elsewhere_nor_where_the_pde_says(results: Any) -> None:
    moved = failing(study, with_ends(results, "HJ", branch(results, "HJ").ends + 0.01))
    assert moved == ["HJ, γ = 0.1: ends at minima of f: largest |f'|"]
    late = next(b for b in results.line.branches if b.name == "HJ" and b.gamma == 3)
    assert len(late.minima) == 2
    right = replace(late, ends=np.repeat(late.minima, 50))
    branches = [right if b is late else b for b in results.line.branches]
    planted = replace(results, line=replace(results.line, branches=branches))
    assert any("ends elsewhere" in text for text in failing(study, planted))


def test_half_the_temperature_is_another_drift() -> None:
    """The slip of the papers, noise sqrt(1/β) for sqrt(2/β), against the PDE at T."""
    for name in ("EntropySGD", "HEAT"):
        equation, _, right = study.smoothings()[name]
        wrong = study.smoothings(study.TEMPERATURE / 2)[name][2]
        held = [study._drifts(study.drift(name, equation, make, 300)).holds
                for make in (right, wrong)]  # fmt: skip
        assert held == [True, False]


def test_a_cold_sgld_is_not_where_fokker_planck_says(results: Any) -> None:
    ends = results.line.ends | {"SGLD": results.line.starts}
    assert (
        len(failing(study, replace(results, line=replace(results.line, ends=ends)))) == 0
    )  # too few
    ends = results.line.ends | {"SGLD": np.full(100, 5.0)}
    found = failing(study, replace(results, line=replace(results.line, ends=ends)))
    assert found == [
        "SGLD: share in the lowest wells, off that of Fokker-Planck (4 standard errors)"
    ]


@pytest.mark.parametrize("name", ["SGD", "EntropySGD", "HJ", "HEAT", "MaSS"])
def test_networks_side_by_side_train_as_alone(name: str) -> None:
    """A restart or a clipping that looks at all weights would couple them.

    Noise is drawn by position: the first network has that of one alone.
    """
    data, way = networks.load(), study.ways(40)[name]
    both = networks.trained(way.make, 0.4, [3, 4], 40, data)
    alone = networks.trained(way.make, 0.4, [3], 40, data)
    for w, v in zip(both, alone, strict=True):
        torch.testing.assert_close(w[:1], v, rtol=2e-3, atol=2e-3)
    start = networks.drawn([3])
    assert (both[0][0] - start[0][0]).norm() > 0.1


def test_every_optimizer_takes_the_same_number_of_gradients(monkeypatch: Any) -> None:
    """To within a step, which takes at most 20."""
    data, taken = networks.load(), {}
    counted = networks.losses
    for name, way in study.ways(100).items():
        calls = []
        monkeypatch.setattr(networks, "losses", lambda *a, c=calls: (c.append(1), counted(*a))[1])
        networks.trained(way.make, 0.1, [0], 100, data)
        taken[name] = len(calls)
    assert min(taken.values()) >= 100 and max(taken.values()) < 120


def test_curvature_is_that_of_the_whole_hessian(monkeypatch: Any) -> None:
    """Two networks of 4-3-2: Lanczos in as many steps as weights, Hutchinson to sampling error."""
    monkeypatch.setattr(networks, "SHAPES", ((4, 3), (3,), (3, 2), (2,)))
    monkeypatch.setattr(networks, "PROBES", 4_000)
    weights = [2 * w.double().detach() for w in networks.drawn([0, 1])]
    draw = torch.Generator().manual_seed(2)
    images = torch.randn(30, 4, generator=draw, dtype=torch.float64)
    classes = torch.randint(0, 2, (30,), generator=draw)
    largest, trace = networks.curvature(weights, images, classes)
    sizes = [w[0].numel() for w in weights]
    for k in range(2):

        def f(v: Any, k: int = k) -> Any:
            parts = [p.view_as(w[k])[None] for p, w in zip(v.split(sizes), weights, strict=True)]
            return networks.losses(parts, images, classes)[0]

        at = torch.cat([w[k].reshape(-1) for w in weights])
        whole = torch.autograd.functional.hessian(f, at)
        assert float(largest[k]) == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=1e-4)
        assert float(trace[k]) == pytest.approx(float(whole.trace()), rel=0.03)


def test_flattest_is_sought_among_rates_that_train() -> None:
    def found(losses: list[float], gaps: list[float]) -> dict[str, Any]:
        two = np.array([[0.99], [1.01]]).T
        return {"training loss": np.array(losses)[:, None] * two,
                "gap": np.array(gaps)[:, None] * two}  # fmt: skip

    measured = {"SGD": found([0.1, 0.12, 0.5], [3.0, 2.0, 1.0]), "HJ": found([0.1] * 3, [3, 1, 2]),
                "HEAT": found([1.0] * 3, [3, 1, 2])}  # fmt: skip
    network = study.Network(2_000, 2, study.RATES[:3], measured, 0.0)
    assert [study._flattest(network, n) for n in measured] == [1, 1, None]
    assert study._paired(network, "HJ", "gap") == pytest.approx((0.5, 0.0))
    assert study._paired(network, "HEAT", "gap") is None
