"""The study of replicas: alignment is the best there is, shares are kept, planted faults fail."""

import sys
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

from pdekit import cli

sys.path.insert(0, str(Path(__file__).parent.parent / "studies"))
study = cli.load_study("replicas")
from networks import digits  # noqa: E402  (the study puts its neighbours on the path)


@pytest.fixture(scope="module")
def results() -> Any:
    return study.run(quick=True, gradients=40, families=2, seeds=2)


@pytest.fixture(scope="module")
def network() -> Any:
    return study.of_weights([w.detach() for w in digits.drawn([3])])[0]


def test_claims_hold(results: Any) -> None:
    assert failing(study, results) == []
    assert len(study.plot(results).axes) == 3


def test_every_method_takes_the_gradients_it_is_said_to(monkeypatch: Any) -> None:
    """Those of all replicas together, to within a step (at most 6 x 25)."""
    data, counted = digits.load(), digits.losses
    for method in study.methods():
        calls: list[int] = []
        monkeypatch.setattr(digits, "losses", lambda *a, c=calls: (c.append(1), counted(*a))[1])
        study.networks_of(replace(method, networks=1), 0.1, [0], 30, data)
        expected = 30 * method.replicas * method.times
        assert expected <= len(calls) < expected + 25 * method.replicas


def test_a_permutation_with_signs_is_undone(network: Any) -> None:
    draw = np.random.default_rng(0)
    order, signs = draw.permutation(32), draw.choice([-1.0, 1.0], (32, 1)).astype(np.float32)
    moved = study.Networks(signs * network.units[order], network.shift)
    images = digits.load().images_to_test
    both = [digits.scores(study.weights_of(study.mean([n])), images) for n in (network, moved)]
    torch.testing.assert_close(*both)  # the same answers
    assert study.overlap(network, moved) < 0.5
    np.testing.assert_array_equal(study.aligned(moved, network).units, network.units)
    assert study.overlap(network, study.aligned(moved, network, signs=False)) < 0.99


@pytest.mark.parametrize("signs", [False, True])
def test_alignment_is_the_best_of_all(signs: bool) -> None:
    draw = np.random.default_rng(1)
    a, b = (study.Networks(draw.normal(size=(4, 13)), np.zeros(10)) for _ in "ab")
    flips = list(product((-1, 1), repeat=4)) if signs else [(1, 1, 1, 1)]
    best = max(
        study.overlap(a, study.Networks(np.array(f)[:, None] * b.units[list(p)], b.shift))
        for p in permutations(range(4)) for f in flips
    )  # fmt: skip
    assert study.overlap(a, study.aligned(b, a, signs)) == pytest.approx(best, abs=1e-12)


def test_mean_of_networks_is_the_mean_of_weights() -> None:
    weights = [w.detach() for w in digits.drawn([0, 1])]
    crowd = study.of_weights(weights)
    for w, v in zip(study.weights_of(study.mean(study.members(crowd))), weights, strict=True):
        torch.testing.assert_close(w[0], v.mean(0))


def test_shuffling_keeps_the_numbers_of_each_layer(network: Any) -> None:
    crowd = study.Networks(network.units[None], network.shift[None])
    mixed = study.shuffled(crowd, 0).units[0]
    for part in (slice(0, 65), slice(65, 75)):
        np.testing.assert_array_equal(np.sort(mixed[:, part], None),
                                      np.sort(network.units[:, part], None))  # fmt: skip
    assert abs(np.corrcoef(mixed.ravel(), network.units.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(("n", "share"), study.SHARES.items())
def test_somebody_sees_every_example(n: int, share: float) -> None:
    parts = study.shares(n, share, [0, 1], 1347)
    assert all(part.shape == (2, round(share * 1347)) for part in parts)
    for k in range(2):
        assert all(len(part[k].unique()) == part.shape[1] for part in parts)
        assert len(torch.cat([part[k] for part in parts]).unique()) == 1347
    assert not torch.equal(parts[0][0], parts[0][1]) and not torch.equal(parts[0], parts[1])


def test_a_replica_sees_its_share_alone() -> None:
    """The examples of one share are made unbearable: who sees one is lost."""
    data, (own, other) = digits.load(), torch.arange(1347).split([700, 647])
    images = data.images.clone()
    images[other] = torch.nan
    spoilt = replace(data, images=images)

    def finite(make: Any, *parts: Any) -> bool:
        weights = digits.trained(make, 0.1, [0], 20, spoilt, [part[None] for part in parts])
        return all(bool(w.isfinite().all()) for w in weights)

    assert finite(study.plain, own) and finite(study.elastic(2), own, own)
    assert not finite(study.plain, other) and not finite(study.elastic(2), own, other)


def test_the_rate_that_trains_is_chosen() -> None:
    method, data = study.methods()[0], digits.load()
    assert study.chosen(method, (1e-4, 1.0, 1e4), 2, 40, data) == 1.0
    part = study.held_out(data)
    assert len(part.images) + len(part.images_to_test) == len(data.images)
    assert torch.equal(part.images_to_test, data.images[-digits.HELD_OUT :])


def averages(**changed: Any) -> Any:
    """Twenty families as the thesis has them."""
    noise = np.random.default_rng(0).normal(size=20)
    errors = {"one-shot average": 0.9, "average, aligned": 0.2, "single network": 0.08,
              "ensemble": 0.07} | changed  # fmt: skip
    overlaps = {"as trained": 0.0, "aligned": 0.5, "shuffled, aligned": 0.3}
    return study.Apart(
        {k: v + 0.001 * noise for k, v in errors.items()},
        {k: v + 0.01 * noise for k, v in overlaps.items()}, np.eye(6), noise, 0.0,
    )  # fmt: skip


def test_another_order_of_averages_fails() -> None:
    assert all(claim.holds for claim in study._of_averages(averages()))
    for name, value in (("average, aligned", 0.95), ("ensemble", 0.09), ("single network", 0.25)):
        failed = [c.text for c in study._of_averages(averages(**{name: value})) if not c.holds]
        assert len(failed) == 1 and name in failed[0]


def rows(parle: float) -> list[Any]:
    noise = np.random.default_rng(1).normal(size=(20, 20))
    made = []
    for k, m in enumerate(study.methods()):
        error = parle if m.name == "Parle" else 0.03 if m.share < 1 and m.name == "SGD" else 0.024
        many = max(m.replicas, m.networks)
        made.append(study.Row(m.name, many, m.share, 1_000 * m.times, 1.0,
                              error + 0.001 * noise[k], noise[k]))  # fmt: skip
    return made


def test_replicas_no_better_than_a_share_or_better_than_sgd_on_all_fail() -> None:
    assert all(claim.holds for claim in study._of_replicas(rows(0.024)))
    for parle, text in ((0.0305, "less SGD's on a share"), (0.01, "less SGD's on all")):
        failed = [c.text for c in study._of_replicas(rows(parle)) if not c.holds]
        assert len(failed) == 2 and all("Parle" in f and text in f for f in failed)
