"""The study of wide networks runs, its claims hold, and wrong dynamics fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

from pdekit import cli

SHARE = 0.2


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("weights_limit")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, share=SHARE)


@pytest.fixture(scope="module")
def kept(study: Any, results: Any) -> list[str]:
    """What so few networks can show: not the narrow exponents, nor the valley in the digits."""
    return [text for text in failing(study, results) if "own standard" not in text]


def test_claims_hold(study: Any, results: Any, kept: list[str]) -> None:
    assert [text for text in kept if "valley" not in text] == []
    study.plot(results)


def _linear(study: Any, results: Any, wrong: Any) -> Any:
    return replace(results, linear={n: wrong(f) for n, f in results.linear.items()})


def test_a_rate_off_by_two_fails(study: Any, results: Any, monkeypatch: Any) -> None:
    """Planted: steps twice as long, as the slope of (y - g)² would have them: another time."""
    step = study.advance
    monkeypatch.setattr(study, "advance", lambda f, c, w, x, y: [step(f, c, w, x, y)
                                                                 for _ in range(2)])  # fmt: skip
    wrong = _linear(study, results, lambda f: study.linear_networks(f.n, f.fourth.size, 0))
    texts = failing(study, wrong)
    assert any(text.startswith("in time") for text in texts)


def test_independent_neurons_fail_the_constants_of_chaos(study: Any, results: Any) -> None:
    """Planted: every neuron from another network; total variation and correlation are then 0."""

    def independent(found: Any) -> Any:
        rng = np.random.default_rng(0)
        c = study.VARIANCE**0.5 * rng.normal(size=(found.fourth.size, found.n))
        squares = found.squares.copy()
        squares[-1] = (c**2).mean(1)
        sides = np.sign(c**2 - study.VARIANCE).mean(1)
        return replace(found, squares=squares, fourth=(c**4).mean(1), sides=sides)

    texts = failing(study, _linear(study, results, independent))
    assert any("correlation of two" in text for text in texts)
    assert any("total variation" in text for text in texts)


def test_the_kernel_takes_the_steps_of_the_formula(study: Any) -> None:
    rng = np.random.default_rng(0)
    c, w = rng.normal(size=(2, 3)), rng.normal(size=(2, 4, 3))
    x, y = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5))
    a, b = c.copy(), w.copy()
    study.advance(study.sigmoid, c, w, x, y)
    for k in range(5):
        for run in range(2):
            s = 1 / (1 + np.exp(-x[run, k] @ b[run]))
            error = y[run, k] - a[run] @ s / 3
            moved = error * np.outer(x[run, k], a[run] * s * (1 - s)) / 3
            a[run] += error * s / 3
            b[run] += moved
    np.testing.assert_allclose(c, a, rtol=1e-12)
    np.testing.assert_allclose(w, b, rtol=1e-12)


def test_constants_of_the_limit_are_those_known_elsewhere(study: Any) -> None:
    """The variance at rest as a sum of two squares, and chaos from it: both without an equation."""
    found, v, v0 = study.limit(study.TIMES), study.VARIANCE, study.START
    assert found.s[-1] == pytest.approx(0.730871, abs=1e-5)
    root = np.hypot(v0, v0**2 / v)
    assert found.variance[-1] ** 0.5 == pytest.approx(root, abs=1e-5)
    assert root == pytest.approx(0.5353, abs=1e-4)
    assert study.correlation() == pytest.approx((root**2 - 2 * v**2) / (2 * v**2), rel=1e-10)
