"""The study of metastability runs, its claims hold, and wrong dynamics and constants fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli
from pdekit.particles import StochasticHeun


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("metastability")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, cells=800, particles=600)


def test_the_printed_kramers_exponent_fails(study: Any, results: Any) -> None:
    """All claims hold, but not with e^(βΔV/2), which the printed noise β^(-1/2) dB would need."""
    assert failing(study, results) == []
    study.plot(results)
    halved = {
        b: replace(t, there=t.there * np.exp(-t.barrier / 2), gap=t.gap * np.exp(t.barrier / 2))
        for b, t in results.plane.items()
    }
    texts = failing(study, replace(results, plane=halved))
    assert any("Kramers with determinants" in text for text in texts)


def test_particles_of_the_printed_noise_fail(study: Any, results: Any) -> None:
    """sqrt(1/β) for sqrt(2/β): the schedule 2 log(t + 1) in place of log(t + 1), errata 7."""
    name = "c = 1.3 d"
    cooling, schedule = results.cooled[name], study.SCHEDULES[name]
    cold = pk.AnnealedLangevin(study.LOSS, lambda t: 2 * schedule(t), StochasticHeun())
    x = pk.simulate(cold, study.START_LAW, 600, [1.0, 10.0, 100.0], study.DT, seed=5)
    planted = replace(cooling, particles=x, p_value=pk.compare(cooling.density, x).p_value)
    texts = failing(study, replace(results, cooled={**results.cooled, name: planted}))
    assert texts == [f"{name}: particles follow their density: p-value"]


def test_a_critical_constant_of_the_other_well_fails(study: Any, results: Any) -> None:
    """The height of the saddle over the deepest well, d + ΔE, is not what is needed."""
    constants, times, shares = results.scan
    shifted = constants + study.RISE, times, shares
    texts = failing(study, replace(results, scan=shifted, slope=study.DEPTH + study.RISE))
    assert len(texts) == 2 and "d log(gap)/dβ" in texts[0] and "best constant" in texts[1]


def test_targets_missed_between_two_looks_count(study: Any, results: Any) -> None:
    """Were particles taken as watched all the time, exits at the saddle would be too late."""
    planted = {key: replace(m, exact=m.plain) for key, m in results.exits.items()}
    texts = failing(study, replace(results, exits=planted))
    assert sum("to the saddle" in text for text in texts) == 2
