"""The study of thin networks runs, its claims hold, and wrong networks and fields fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("thin_network")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True)


def planted(results: Any, way: Any, **changed: Any) -> Any:
    """The results with some of a row replaced."""
    rows = [replace(r, **changed) if r.way == way else r for r in results.rows]
    return replace(results, rows=rows)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_a_field_that_lifts_nothing_fails(study: Any, results: Any) -> None:
    """Planted: the fixed field in place of the redrawn noise, and the other way round."""
    fixed, redrawn = study.Way("torch", study.THESIS), study.Way("torch", study.THESIS, True)
    swapped = {fixed: results.row(redrawn), redrawn: results.row(fixed)}
    rows = [replace(swapped[r.way], way=r.way) if r.way in swapped else r for r in results.rows]
    texts = failing(study, replace(results, rows=rows))
    for part in ("nothing learnt", "mean test error", "size of a weight", "over that of chance"):
        assert any(part in text for text in texts), part


def test_a_field_that_saves_errors_from_hes_start_fails(study: Any, results: Any) -> None:
    way = study.Way("He", study.THESIS)
    for other, part in (
        (study.Way("He"), "less Adam's"),
        (study.Way("He", study.THESIS, True), "less that of redrawn noise"),
    ):
        better = planted(results, way, error=results.row(other).error - 0.05)
        texts = [text for text in failing(study, better) if part in text]
        assert len(texts) == 1 and texts[0].startswith("He's start, fixed")


def test_gradients_that_vanish_as_adams_do_fail(study: Any, results: Any) -> None:
    way, course = study.Way("torch", study.THESIS), results.row(study.Way("torch")).course
    mine = replace(results.row(way).course, slope=course.slope)
    (text,) = failing(study, planted(results, way, course=mine))
    assert "log10 of its least gradient" in text


def test_weights_along_a_random_direction_are_not_called_aligned(study: Any, results: Any) -> None:
    way = study.Way("He", study.THESIS)
    course = results.row(way).course
    other = replace(course, cosine=np.full_like(course.cosine, 2 * study.CHANCE))
    (text,) = failing(study, planted(results, way, course=other))
    assert "|cos|" in text


def test_the_field_is_that_of_the_steps(study: Any) -> None:
    """With plain descent for its base, along no slope: each step leads along -h."""
    weights = [torch.zeros_like(w).requires_grad_() for w in study.drawn("He", [0, 1])]
    for w in weights:
        w.grad = torch.zeros_like(w)
    optimizer = study.optim.TrivializedSGD(
        weights, None, 1.0, 100.0, study.LAYERS, seed=5, base=lambda p: torch.optim.SGD(p, 0.5)
    )
    for _ in range(2):
        optimizer.step()
    cos = torch.cosine_similarity(study.joined(weights), study.field(weights, 5), dim=1)
    assert cos.tolist() == pytest.approx([-1.0, -1.0], abs=1e-5)
    other = torch.cosine_similarity(study.joined(weights), study.field(weights, 6), dim=1)
    assert other.abs().max() < 5 * study.CHANCE


def test_scores_are_those_of_a_torch_network(study: Any) -> None:
    weights, x = study.drawn("torch", [3, 4]), torch.rand(7, 64)
    layers: list[Any] = []
    for matrix, shift in zip(weights[::2], weights[1::2], strict=True):
        layer = torch.nn.Linear(*matrix.shape[1:])
        layer.weight.data, layer.bias.data = matrix[1].T.detach(), shift[1].detach()
        layers += [layer, torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in network) == study.HIDDEN
    assert sum(p.numel() for p in network.parameters()) == study.SIZE
    torch.testing.assert_close(study.scores(weights, x)[1], network(2 * x - 1))
