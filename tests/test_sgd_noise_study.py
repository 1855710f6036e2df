"""The study of SGD's noise: what it calls exact is, its claims hold, and planted faults fail."""

from dataclasses import replace
from itertools import islice, permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

import pdekit as pk
from pdekit import cli

study = cli.load_study("sgd_noise")


@pytest.fixture(scope="module")
def results() -> Any:
    return study.run(quick=True, steps=2_000, gradients=1_500)


def test_claims_hold(results: Any) -> None:
    assert failing(study, results) == []
    assert len(study.plot(results).axes) == 6


# ---- what is exact -------------------------------------------------------------------------------


def test_the_regression_has_f_and_d() -> None:
    a, y = study.regression()
    slopes = -a * y[:, None]
    np.testing.assert_allclose(a.T @ a / len(a), study.F, atol=1e-14)
    np.testing.assert_allclose(slopes.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(pk.minibatch_covariance(slopes, 1), study.D, atol=1e-14)
    made = pk.decompose(study.F, study.D)
    np.testing.assert_allclose(made.covariance, study.COVARIANCE, atol=1e-14)


@pytest.mark.parametrize("name", ["with replacement", "without, in a batch"])
def test_moments_of_descent_are_those_of_steps_enumerated(name: str) -> None:
    """E x xᵀ of the next step is the same again, over all batches and a law of these moments."""
    batches = study.groups(2, name)
    count = {"with replacement": 12**2, "without, in a batch": 66}[name]
    covariance, ahead = study.exact_moments(0.1, batches)
    a, y = study.regression()
    half = np.linalg.cholesky(covariance)
    corners = np.sqrt(2) * np.hstack([half, -half]).T  # four points with these moments
    moved = np.array([
        x - 0.1 * np.mean([(a[k] @ x - y[k]) * a[k] for k in batch], axis=0)
        for batch, x in product(batches, corners)
    ])  # fmt: skip
    assert len(batches) == count
    np.testing.assert_allclose(moved.T @ moved / len(moved), covariance, atol=1e-12)
    before = np.tile(corners, (len(batches), 1))
    np.testing.assert_allclose(before.T @ moved / len(moved), ahead, atol=1e-12)


def test_an_epoch_sees_every_example_once() -> None:
    rng = np.random.default_rng(0)
    for name, batches in study.SAMPLING.items():
        seen = np.stack(list(islice(batches(rng, 12, 4, 5), 300)))
        assert seen.shape == (300, 5, 4)
        counts = np.bincount(seen.ravel(), minlength=12)
        assert abs(counts - 500).max() < 100
        whole = np.sort(seen.reshape(100, 3, 5, 4).swapaxes(1, 2).reshape(500, 12), axis=1)
        assert (whole == np.arange(12)).all() == (name == "without, in an epoch")
        twice = (np.diff(np.sort(seen, axis=2), axis=2) == 0).any()
        assert twice == (name == "with replacement")


def test_the_spectrum_is_that_of_erratum_73_when_long() -> None:
    chain = study.Chain.of(np.array([[3.0]]), np.eye(1), 0.01)
    c, n = chain.autocovariance(np.ones(1), 2**14 + 1), 2**14
    exact = study.law_of_erratum_73(0.03, 2 * np.pi * np.arange(n // 2 + 1) / n)
    found = study._periodogram(c) / chain.S[0, 0]
    np.testing.assert_allclose(found[200:], exact[200:], rtol=2e-3)


def test_the_periodogram_of_a_short_chain_by_sums() -> None:
    """E |Σ_k e^{-iwk} Δ_k|²/n over pairs, from E x_k x_l = c_|k-l|."""
    chain, n = study.Chain.of(study.F, study.D, 0.2), 7
    c = chain.autocovariance(np.array([1.0, 0.5]), n + 1)
    x = c[np.abs(np.subtract.outer(np.arange(n + 1), np.arange(n + 1)))]
    increments = np.diff(np.diff(x, axis=0), axis=1)
    for j, found in enumerate(study._periodogram(c)):
        wave = np.exp(-2j * np.pi * j * np.arange(n) / n)
        assert found == pytest.approx((wave @ increments @ wave.conj()).real / n, abs=1e-12)


def test_the_last_layer_is_at_its_minimum() -> None:
    """Gradients, Hessian and D beside torch's own derivatives."""
    rng = np.random.default_rng(0)
    n, k = 40, study.FEATURES + 1
    basis = study.linalg.null_space(np.ones((1, 10)))
    empty = np.empty(0)
    layer = study.LastLayer(rng.normal(size=(n, k)), np.eye(10)[rng.integers(10, size=n)], basis,
                            rng.normal(size=(k, 9)), empty, empty)  # fmt: skip

    def loss(V: Any) -> Any:
        z = torch.as_tensor(layer.inputs) @ V @ torch.as_tensor(basis).T
        classes = torch.as_tensor(layer.targets.argmax(1))
        decay = study.RIDGE / 2 * (V * V).sum()
        return torch.nn.functional.cross_entropy(z, classes, reduction="none") + decay

    V = torch.as_tensor(layer.minimum)
    rows, hessian = layer.at(layer.minimum)
    slopes = torch.autograd.functional.jacobian(loss, V).reshape(n, -1)
    bends = torch.autograd.functional.hessian(lambda v: loss(v).mean(), V).reshape(9 * k, 9 * k)
    np.testing.assert_allclose(rows, slopes, atol=1e-12)
    np.testing.assert_allclose(hessian, bends, atol=1e-12)
    batch = np.array([[3, 3, 7], [1, 2, 0]])
    found = layer.gradient(layer.minimum[None].repeat(2, 0), batch).reshape(2, -1)
    np.testing.assert_allclose(found, rows[batch].mean(1), atol=1e-12)


def test_interpolation_and_derivatives_are_exact_for_waves() -> None:
    x = 2 * np.pi * np.arange(study.NODES) / study.NODES
    places = np.random.default_rng(0).uniform(-9, 9, 20)
    values = np.cos(3 * x) + np.sin(7 * x)
    np.testing.assert_allclose(study._interpolated(places) @ values,
                               np.cos(3 * places) + np.sin(7 * places), atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(study._derivative(2) @ values,
                               -9 * np.cos(3 * x) - 49 * np.sin(7 * x), atol=1e-10)  # fmt: skip


def test_the_plane_of_most_circulation() -> None:
    Q = np.zeros((4, 4))
    for (i, j), q in {(0, 2): 1.0, (1, 3): -2.0}.items():
        Q[i, j], Q[j, i] = q, -q
    plane = study._turning(Q)
    assert (plane.T @ Q @ plane)[0, 1] == pytest.approx(2.0)
    assert all(Q[i, j] <= 2 for i, j in permutations(range(4), 2))


# ---- faults --------------------------------------------------------------------------------------


def test_sgd_in_detailed_balance_fails(results: Any) -> None:
    idle = results.nulls["D = 1"].rate
    planted = replace(results.circulation, sgd=idle, particles=idle)
    texts = failing(study, replace(results, circulation=planted))
    assert len(texts) == 3 and all("area rate by" in text for text in texts)


def test_a_chain_that_circulates_where_none_should_fails(results: Any) -> None:
    going = results.nulls["D = diag(1, 2)"].rate
    nulls = {**results.nulls, "D = 1": replace(results.nulls["D = 1"], rate=going)}
    texts = failing(study, replace(results, nulls=nulls))
    assert len(texts) == 2 and all(text.startswith("D = 1") for text in texts)


def test_batches_drawn_otherwise_than_said_fail(results: Any) -> None:
    """Those with replacement in place of those without."""
    spreads = results.spreads.copy()
    spreads[3] = replace(spreads[3], mean=spreads[2].mean)
    texts = failing(study, replace(results, spreads=spreads))
    assert len(texts) == 2 and all("regression" in text for text in texts)


def test_an_equation_of_order_one_for_two_fails(results: Any) -> None:
    weak = results.weak
    planted = replace(weak, errors={**weak.errors, "corrected": weak.errors["(6.2)"]})
    assert [t.split(" to ")[1] for t in failing(study, replace(results, weak=planted))] == [
        "order 2"
    ]


def test_a_covariance_that_stays_and_another_law_fail(results: Any) -> None:
    seen = results.network
    still = [replace(t, trace=1.0) for t in seen.training]
    p = seen.prediction
    swapped = replace(p, implicit=p.gibbs, gibbs=p.implicit)
    planted = replace(seen, training=still, prediction=swapped)
    assert len(failing(study, replace(results, network=planted))) == 5
