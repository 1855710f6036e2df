"""The study of homogenisation runs, its claims hold, wrong limits fail; slopes of local entropy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claimed import failing
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit import cli

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("homogenisation")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True)


@pytest.mark.parametrize("name", [n for n in VALUES if n.startswith("homog.")])
def test_references_by_the_slope_of_the_local_entropy(name: str) -> None:
    """X' = -u'(X) with the potential that ``local_entropy`` returns, to 1e-7."""
    x0, t, gamma, beta = (float(part[1:]) for part in _fields(name))
    smooth = pk.local_entropy(pk.potentials.DoubleWell(), gamma, beta, pk.Grid(-3, 3, 1500))
    path = solve_ivp(lambda s, x: -smooth.grad(x[:, None])[:, 0], (0, t), [x0], rtol=1e-10,
                     atol=1e-12)  # fmt: skip
    assert path.y[0, -1] == pytest.approx(float(VALUES[name]["value"]["X"]), abs=1e-7)


def _fields(name: str) -> list[str]:
    """x0.3, T3.0, g0.5, b4.0 of homog.dw.x0.3.T3.0.g0.5.b4.0."""
    rest = name.removeprefix("homog.dw.").split(".")
    return [f"{a}.{b}" for a, b in zip(rest[::2], rest[1::2], strict=True)]


def test_the_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_two_scales_at_the_printed_noise_fail(study: Any, results: Any) -> None:
    """Erratum 2: noise sqrt(1/(beta ε)) smooths as at twice the inverse temperature."""
    moments, noise = {}, {}
    exact = study.driven(study.local_slope())
    for k, epsilon in enumerate(sorted(results.moments)):
        found, noise[epsilon] = study.two_scale_moments(epsilon, 12_000, k, 2 * study.COLD)
        moments[epsilon] = found - exact
    texts = failing(study, replace(results, moments=moments, noise=noise))
    assert any("extrapolated" in text for text in texts)


def test_particles_that_do_not_act_on_each_other_do_not_order(study: Any, results: Any) -> None:
    alone = study.bowl_particles(study.COARSE, 4, 0, pk.CurieWeiss(0.0))
    planted = replace(results, particles={**results.particles, study.COARSE: alone})
    texts = failing(study, planted)
    assert texts == [
        "particles, ε = 0.14, t = 6: mean is the broken state's: |difference|, against its interval"
    ]


def test_averaging_without_slowing_down_fails(
    study: Any, results: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping the ripples altogether, M = 1, is not their limit at a fixed time."""
    monkeypatch.setattr(study, "mobility", lambda: 1.0)
    _, early = study._densities(np.array([1.0, study.EARLY, 2.0]), (0.07, 0.035, 0.0175))
    texts = failing(study, replace(results, early=early))
    assert any("vanishes with" in text for text in texts)


def test_the_transition_is_the_bowl_s_where_ripples_average_out(study: Any) -> None:
    """At a fixed temperature the limits do agree: a rippled double well's critical point tends to
    the plain one's faster than any power of ε."""

    def critical(epsilon: float) -> float:
        V = pk.potentials.Custom(
            lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4 + 0.3 * np.cos(x[..., 0] / epsilon)
        )
        return pk.critical_beta(V, pk.CurieWeiss(1.0))

    plain = pk.critical_beta(pk.potentials.DoubleWell(), pk.CurieWeiss(1.0))
    gaps = [abs(critical(epsilon) - plain) for epsilon in (0.2, 0.1, 0.05)]
    assert gaps[0] > 0.1 and gaps[1] < gaps[0] / 10 and gaps[2] < gaps[1] / 1000


def test_the_lattice_sum_by_theta_functions(study: Any) -> None:
    """Var of Z + 1/2 from d/ds log θ₂: -2 (log Σ exp(-s k²/2))' at the study's root."""
    s = study.lattice_constant() * 4 * np.pi**2 * (1 + study.PULL.strength)

    def log_theta(s: float) -> float:
        """By Poisson's summation: √(2π/s) Σ (-1)^n exp(-2π² n²/s)."""
        n = np.arange(-40, 41)
        return float(
            np.log(np.sqrt(2 * np.pi / s) * ((-1.0) ** n * np.exp(-2 * np.pi**2 * n**2 / s)).sum())
        )

    variance = -(log_theta(s + 1e-4) - log_theta(s - 1e-4)) / 1e-4
    assert study.PULL.strength / (1 + study.PULL.strength) * s * variance == pytest.approx(
        1, rel=1e-6
    )
