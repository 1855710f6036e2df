"""The study of N particles and their limit runs, its claims hold, and wrong dynamics fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing
from scipy.special import gamma

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("propagation_of_chaos")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True)


def test_the_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


WRONG = {
    "noise sqrt(1/beta)": lambda beta: pk.InteractingLangevin(
        pk.potentials.DoubleWell(), 2 * beta, pk.CurieWeiss(1.0)),
    "coupling doubled": lambda beta: pk.InteractingLangevin(
        pk.potentials.DoubleWell(), beta, pk.CurieWeiss(2.0)),
    "no coupling": lambda beta: pk.InteractingLangevin(
        pk.potentials.DoubleWell(), beta, pk.CurieWeiss(0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_dynamics_fail_at_a_fixed_time_and_in_the_long_run(
    study: Any, results: Any, name: str
) -> None:
    at = results.betas[study.AT]
    wrong = study.finite_time(at, 100, 0, WRONG[name])
    texts = failing(study, replace(results, finite={**results.finite, study.AT: wrong}))
    assert any("all particles follow the density" in text for text in texts)
    assert any("limit of the runs" in text for text in texts)
    late = study.long_run(at, True, (16, 48, 144), 12_000, 0, WRONG[name])
    texts = failing(study, replace(results, long={**results.long, study.AT: late}))
    assert any("exponent is 1/4" in text for text in texts)
    assert any("second moments" in text for text in texts)


def test_a_wrong_barrier_fails_its_claim(study: Any, results: Any) -> None:
    """Less than half the coupling has hardly a barrier; exchanges then hurry."""

    def motion(beta: float) -> Any:
        return pk.InteractingLangevin(pk.potentials.DoubleWell(), beta, pk.CurieWeiss(0.4))

    hurried = study.exchange(study.QUICK_SIZES, 20, 0, motion)
    texts = failing(study, replace(results, exchanges=hurried))
    assert any("exchange slows as" in text for text in texts)


def test_a_constant_of_independent_particles_fails_its_claim(study: Any, results: Any) -> None:
    """N Var of the mean is not the variance of one particle, which ignores that they are drawn."""
    case = results.finite[study.BELOW]
    rho = pk.solve(pk.McKeanVlasov(study.WELL, 0.8, study.PULL), study.GRID, study.START, 2.0)
    x, density = study.GRID.axes[0], rho.fields[-1]
    variance = study.GRID.integrate((x - study.GRID.integrate(x * density)) ** 2 * density)
    planted = replace(case, variance=float(variance))
    texts = failing(study, replace(results, finite={**results.finite, study.BELOW: planted}))
    assert texts == [
        "below the transition, t = 2: N Var is that of the linearised equation, p-value"
    ]


def test_moments_at_the_transition_tend_to_those_of_the_quartic_law(study: Any) -> None:
    """N^1/2 E mean² -> Γ(3/4) / Γ(1/4) c^-1/2, c = beta² (3 - beta) / 24 by two integrations by
    parts, at beta = (Γ(1/4) / 2Γ(3/4))²: the confined well at λ = 1 is x⁴/4 alone."""
    beta = (gamma(0.25) / (2 * gamma(0.75))) ** 2
    assert pk.critical_beta(study.WELL, study.PULL) == pytest.approx(beta, rel=1e-10)
    limit = gamma(0.75) / gamma(0.25) * (beta**2 * (3 - beta) / 24) ** -0.5
    assert study.second_moment(beta, 10**6) * 1e3 == pytest.approx(limit, rel=2e-3)


def test_the_two_exact_laws_of_the_mean_agree(study: Any) -> None:
    """Z(m)^n less its Gaussian part against an n-fold convolution."""
    for beta, n in ((1.2, 5), (2.19, 33)):
        mean, density = study.law_of_the_mean(beta, n)
        second = (mean**2 * density).sum() * (mean[1] - mean[0])
        assert study.second_moment(beta, n) == pytest.approx(second, rel=1e-6)


def test_fluctuations_of_a_linear_equation_are_in_closed_form(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V = x²/2: the mean is Ornstein and Uhlenbeck's, N Var = e^-2t s² + (1 - e^-2t)/beta."""
    quadratic = pk.potentials.Quadratic(1.0)
    monkeypatch.setattr(study, "WELL", quadratic)
    found = study.fluctuation(pk.McKeanVlasov(quadratic, 4.0, study.PULL))
    decay = np.exp(-2 * study.TIME)
    assert found == pytest.approx(decay * 0.3**2 + (1 - decay) / 4, rel=4e-3)
