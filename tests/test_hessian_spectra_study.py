"""The study of spectra runs, its claims hold, and wrong matrices fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("hessian_spectra")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_the_thesis_would_fail(study: Any, results: Any) -> None:
    """Planted: the covariance of gradients is the Hessian."""
    same = replace(results.matrices, covariance=0.0, multiple=(1.0, 0.0), traces=(1.0, 1.0))
    texts = failing(study, replace(results, matrices=same))
    assert len(texts) == 3 and texts[0].startswith("covariance of gradients")


def test_another_spectrum_fails(study: Any, results: Any) -> None:
    """Planted: the eigenvalues of a matrix half as large."""
    last = results.stages[-1]
    half = [*results.stages[:-1], replace(last, values=last.values / 2)]
    texts = failing(study, replace(results, stages=half))
    assert "Lanczos: largest eigenvalue off, relative" in texts


def test_a_basin_of_another_width_fails(study: Any, results: Any) -> None:
    basins = {
        batch: [replace(b, width=2 * b.width) for b in found]
        for batch, found in results.basins.items()
    }
    (text,) = failing(study, replace(results, basins=basins))
    assert text.startswith("local entropy by sampling")


def test_a_law_of_another_shape_fails(study: Any, results: Any) -> None:
    """Planted: edges of half as many weights."""
    moved = replace(results.regression, ends=results.regression.ends * [1.1, 0.95])
    (text,) = failing(study, replace(results, regression=moved))
    assert text.startswith("Marchenko-Pastur")


def test_zeros_are_those_of_symmetry(study: Any) -> None:
    """A pixel that is never lit, and scores that all move alike."""
    import torch

    images = torch.ones(4, 64)
    images[:, 5] = 0
    assert study._zeros_by_symmetry(3, images) == 3 + 3 + 1


def test_the_law_of_marchenko_and_pastur_has_mass_one(study: Any) -> None:
    x = np.linspace(*study.edges(), 20_001)
    assert np.trapezoid(study.marchenko_pastur(x), x) == pytest.approx(1, abs=1e-5)
