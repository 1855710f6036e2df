"""The study of ReLU networks: its formulas against plain means, and faults that fail its claims."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("variable_selection")


def neurons(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(np.hstack([rng.normal(size=(count, 2)), rng.normal(size=(count, dim)) / 5]))


def test_the_risk_of_a_network_is_the_mean_over_data(study: Any) -> None:
    """To four standard errors; with the first order of the series alone it is off by more."""
    task, theta = study.ReluClasses((12, 8), (0.5, 0.0)), neurons(6, 20)
    theta[:, 0], theta[:, 2:] = 1.0, theta[:, 2:] + theta[0, 2:]  # alike, of one sign
    draws = torch.Generator().manual_seed(0)
    x, y = task.data(torch.randn(400_000, 20, generator=draws).double(),
                     torch.rand(400_000, 1, generator=draws).double())  # fmt: skip
    loss = (y - task.neurons(x, theta).mean(0)) ** 2
    error = float(loss.std()) / 400_000**0.5
    risk, left = task.exact_risk(theta, 24)
    assert float(left) < error
    assert abs(float(loss.mean() - risk)) < 4 * error
    assert abs(float(loss.mean() - task.exact_risk(theta, 1)[0])) > 4 * error


def test_a_networks_pull_is_the_slope_of_its_neurons(study: Any) -> None:
    task, theta = study.TASK, neurons(5, study.DIM).requires_grad_()
    x, weights = torch.randn(7, study.DIM).double(), torch.randn(7).double()
    (slope,) = torch.autograd.grad((task.neurons(x, theta) @ weights).sum(), theta)
    values, weighted = task.response(x, theta.detach())
    torch.testing.assert_close(values, task.neurons(x, theta).detach())
    torch.testing.assert_close(weighted(weights), slope)


def test_the_kernel_is_the_mean_over_directions(study: Any) -> None:
    """E R of two neurons over turns of one, which the kernel of d = ∞ misses."""
    dims, count = (12, 20), 3000
    task, pair, rng = (
        study.ReluClasses(dims, (0.5, 0.0)),
        neurons(2, 32, 3),
        np.random.default_rng(0),
    )
    pair[:, 0] = 1.0
    z = task.reduced(pair)
    found = np.empty(count)
    for k in range(count):
        turned = [torch.tensor(rng.normal(size=n)) for n in dims]
        w = torch.cat([v / v.norm() * r for v, r in zip(turned, z[1, 2:], strict=True)])
        other = torch.cat([pair[1, :2], w])
        found[k] = float(task.exact_risk(torch.stack([pair[0], other]))[0])
    error = found.std() / count**0.5

    def expected(task: Any) -> float:
        f, V = task.features(z), task.potential(z)
        own = (f[:, :2] ** 2).sum() + task.variance(z).sum()
        return float(1 + V.sum() + (2 * (f[0] * f[1]).sum() + own) / 4)

    off = abs(found.mean() - expected(task))
    without = abs(found.mean() - expected(replace(task, finite=False)))
    assert off < 4 * error + 0.2 * without
    assert without > 6 * error


def test_the_linear_part_of_chance_is_trained_away_as_said(study: Any) -> None:
    """One neuron of fixed a, b, r: M' = -K M with a constant K, so M = exp(-K t) M(0)."""
    from scipy.linalg import expm
    from scipy.special import ndtr

    z = np.tile([1.0, 0.3, 0.5, 0.7], (31, 1, 1))
    found = study._linear(z)
    expected = np.zeros(2)
    widths = [np.hypot(c * 0.5, 0.7) for c in (1.5, 0.5)]
    slope = ndtr(0.3 / np.array(widths))
    for r, c in ((0.5, np.array([2.25, 0.25])), (0.7, np.ones(2))):
        for k, t in enumerate((1.0, 3.0)):
            left = expm(-t * np.outer(slope, slope * c)) @ (slope * r)
            expected[k] += (c * (left**2 - (slope * r) ** 2)).sum() / 2
    np.testing.assert_allclose(found[[10, 30]], expected, rtol=2e-3)


@pytest.fixture(scope="module")
def small(study: Any) -> Any:
    """A run of few points and neurons."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "POINTS", 32)
        patch.setattr(study, "_stepped", lambda network, name: study._characteristics(
            network, study._start(name, 32), (0.0, *study.TIMES))[1:])  # fmt: skip
        return study.run(quick=True, neurons=100)


def test_it_runs_and_planted_faults_fail(study: Any, small: Any) -> None:
    study.plot(small)
    assert not [text for text in failing(study, small) if "four times" not in text]

    def with_one(name: str, **changes: Any) -> list[str]:
        start = replace(small.starts[name], **changes)
        return failing(study, replace(small, starts={**small.starts, name: start}))

    both, one = small.starts[study.BOTH], small.starts[study.ONE]
    for name, changes, word in (
        (study.BOTH, {"risks": both.limit - 0.05}, "gradient flow"),
        (study.BOTH, {"relaxed": both.variance}, "share of Var/N"),
        (study.BOTH, {"z": both.z * 1.01 ** both.times[:, None, None]}, "changes by"),
        (study.BOTH, {"stepped": both.stepped[::-1]}, "particles"),
        (study.ONE, {"z": np.concatenate([one.z[:-1], -one.z[-1:]])}, "least a"),
        (study.ONE, {"flow": replace(one.flow, risks=one.flow.risks - 0.2)}, "gradient flow"),
    ):  # fmt: skip
        assert any(word in text for text in with_one(name, **changes)), word


def test_at_another_rate_training_does_not_follow_the_equation(study: Any, small: Any) -> None:
    """SGD of half the rate is off by far more than is allowed."""
    network = pk.TwoLayerNetwork(study.TASK, 0.5, 100)
    x = pk.simulate(network, study._weights(study.BOTH, 100, 0), 100, study.TIMES, 0.08, seed=0)
    risks = [float(study.TASK.exact_risk(torch.tensor(w))[0]) for w in x.x.values]
    slow = [
        replace(part, risks=np.tile(risks, (2, 1))) for part in small.starts[study.BOTH].trained
    ]
    start = replace(small.starts[study.BOTH], trained=tuple(slow))
    texts = failing(study, replace(small, starts={**small.starts, study.BOTH: start}))
    assert any("SGD off equation" in text for text in texts)
