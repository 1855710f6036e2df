"""The study of distributional dynamics: claims that need no training, and faults that they meet."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("distributional_dynamics")


def test_the_series_of_a_networks_risk_is_the_mean_over_data(study: Any) -> None:
    """Twelve neurons, with correlations of up to a half: to four standard errors of a million
    data; a series cut after two terms would be off by more."""
    task = pk.networks.GaussianClasses((30, 10), (0.5, 0.0), study.ACTIVATION)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(12, 40)) / 6
    risk, left = study._exact_risk(task, theta)
    losses = []
    for y in (1, -1):
        x = rng.normal(size=(250_000, 40)) * (1 + y * np.repeat(task.deltas, task.dims))
        losses.append((y - task.activation(x @ theta.T).mean(1)) ** 2)
    error = np.std(losses) / 500_000**0.5
    assert left < 0.1 * error and abs(risk - np.mean(losses)) < 4 * error


def test_two_routes_and_a_wrong_sign(study: Any) -> None:
    """R(.1) from κ = .4, which the activation as printed does not have."""
    law, network = study._network().law(), study._network()
    radii = study._quantiles(law, study.GOOD, (0.1,))
    stopped = study._stopped(law, study.GOOD, np.array([0.0, 0.1]), 200)
    for found in (radii[-1], stopped[-1]):
        assert float(network.risk(found[:, None])) == pytest.approx(study.RISKS[0.1], abs=1e-4)
    monotone = pk.TwoLayerNetwork(replace(network.task, activation=study.PRINTED))
    other = study._stopped(monotone.law(), study.GOOD, np.array([0.0, 0.1]))
    assert abs(float(monotone.risk(other[-1][:, None])) - study.RISKS[0.1]) > 0.5


def test_training_follows_the_equation_and_its_finite_size(study: Any) -> None:
    """200 neurons in 40 coordinates; at half the rate the risk is far off."""
    task, law = replace(study._network().task, dims=(40,)), study._network(40).law()
    risks = {}
    for rate in (1.0, 0.5):
        network = pk.TwoLayerNetwork(task, rate, 400)
        weights = study._weights(task, study.GOOD, 0)
        x = pk.simulate(network, weights, len(weights), 0.1, 1e-3, seed=1, dtype="float32")
        risks[rate] = study._exact_risk(task, x.x.values[-1].astype(float))[0]
    radii = pk.quantile_particles(study._radius(study.GOOD, 40), 400)
    for _ in range(100):  # Heun's steps
        first = study._velocity(law, radii)
        radii = radii + 5e-4 * (first + study._velocity(law, radii + 1e-3 * first))
    expected = float(network.risk(radii) + task.variance(radii).mean() / study.NEURONS)
    assert abs(risks[1.0] - expected) < 0.06 < abs(risks[0.5] - expected)
