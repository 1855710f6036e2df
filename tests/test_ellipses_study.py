"""The study of the ellipses runs; its networks and algorithms are those of the formulas."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("ellipses")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, gradients=40, runs=2)


def _cases(results: Any, change: Any) -> Any:
    return replace(results, ends={key: change(key, case) for key, case in results.ends.items()})


def test_it_runs_and_claims_can_fail(study: Any, results: Any) -> None:
    """Forty gradients teach little; networks that are right, or all wrong, are told apart."""
    study.plot(results)
    assert any("mean error inside" in text for text in failing(study, results))
    zero = np.full(10, 1e-3)
    good = _cases(results, lambda key, case: replace(case, inside=zero, outside=zero))
    assert sum("error outside" in text for text in failing(study, good)) == len(results.ends)


def test_a_difference_between_the_algorithms_would_be_seen(study: Any, results: Any) -> None:
    spread = np.linspace(0.0, 0.02, 10)
    wrong = {"SGLD": 0.3 + spread, "HOM-SGLD": 0.1 + spread**2}
    planted = _cases(results, lambda key, case: replace(case, outside=wrong[key[1]]))
    assert sum("HOM-SGLD outside, lower" in text for text in failing(study, planted)) == 2


@pytest.mark.parametrize("name", ["Verlet", "Euler"])
def test_networks_are_those_of_the_formulas_and_have_774_weights(study: Any, name: str) -> None:
    flow = study.FLOWS[name]
    theta = study.drawn([3, 4]).double() + 0.1
    assert theta.shape == (2, 128 * 6 + 6) == (2, 774)
    x = torch.randn(2, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = study.scores(flow, theta, x).numpy()
    for run in range(2):
        layers, end = theta[run, :-6].numpy().reshape(128, 6), theta[run, -6:].numpy()
        for point in range(5):
            y, z = x[run, :, point].numpy(), np.zeros(2)
            for layer in layers:
                K, b = layer[:4].reshape(2, 2), layer[4:]
                if name == "Verlet":
                    z = z - 0.05 * np.tanh(K.T @ y + b)
                    y = y + 0.05 * np.tanh(K @ z + b)
                else:
                    y = y + 0.05 * np.tanh(K @ y + b)
            expected = end[:4].reshape(2, 2) @ y + end[4:]
            np.testing.assert_allclose(found[run, :, point], expected, rtol=1e-10)


def test_hom_sgld_moves_to_the_mean_of_its_inner_steps(study: Any) -> None:
    """By hand, on f = y²/2 and without noise: linear weights, not exponential ones."""
    x = torch.full((1, 774), 2.0)
    motion = study.HomSGLD(x, torch.tensor([[0.1, 5.0, 1e8]]))
    y, kept, center = 2.0, [], 2.0
    for step in range(2 * study.INNER):
        assert motion.place[0, 0].item() == pytest.approx(y, rel=1e-5)
        motion.move(motion.place, torch.zeros(1, 774))
        y = y - 0.1 * (y + (y - center) / 5)
        kept.append(y)
        if (step + 1) % study.INNER == 0:
            center, kept = np.mean(kept), []
            assert motion.x[0, 0].item() == pytest.approx(center, rel=1e-5)


def test_noise_of_sgld_has_its_temperature(study: Any) -> None:
    """On f = x²/2 with exact slopes: variance 1/(β (1 - η/2))."""
    draws = torch.Generator().manual_seed(0)
    motion = study.SGLD(torch.zeros(50, 774), torch.tensor([[0.5, 4.0]]).repeat(50, 1))
    for _ in range(40):
        motion.move(motion.place, torch.randn(50, 774, generator=draws))
    assert motion.x.var().item() == pytest.approx(1 / (4 * 0.75), rel=0.03)


def test_points_are_of_their_classes(study: Any) -> None:
    points = study.sampled([0, 1], 50, 1)
    x = points.x.numpy().swapaxes(1, 2)
    assert (abs(x) <= study.BOX).all() and points.classes.sum(1).tolist() == [50, 50]
    assert (study.inside(x) == points.classes.numpy()).all()
