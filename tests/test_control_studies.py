"""The studies of control and games run, their claims hold, and planted faults make claims fail."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def improvement() -> Any:
    return cli.load_study("control_improvement")


@pytest.fixture(scope="module")
def improved(improvement: Any) -> Any:
    return improvement.run(quick=True, cells=300, particles=2_000)


@pytest.fixture(scope="module")
def game() -> Any:
    return cli.load_study("mean_field_game")


@pytest.fixture(scope="module")
def played(game: Any) -> Any:
    return game.run(quick=True, cells=100, steps=40, particles=2_000)


def test_the_claims_of_the_improvement_theorem_hold(improvement: Any, improved: Any) -> None:
    assert failing(improvement, improved) == []
    improvement.plot(improved)


def test_a_control_of_the_wrong_size_breaks_the_identity(improvement: Any, improved: Any) -> None:
    """Of -(1/beta) log E exp(-beta V_T) the gap is another: mathematics 0 warns of it."""
    control = improved.controls[improvement.SHOWN]
    half = replace(control, value=replace(control.value, fields=control.value.fields * 1.1))
    planted = replace(improved, controls={**improved.controls, improvement.SHOWN: half})
    texts = failing(improvement, planted)
    assert any("beta = 4: the gap is" in text for text in texts)
    assert any("beta = 4: the particles' gap" in text for text in texts)
    assert not any("beta = 8" in text for text in texts)


def test_the_claims_of_the_game_hold(game: Any, played: Any) -> None:
    assert failing(game, played) == []
    game.plot(played)


def test_a_game_that_is_not_closed_is_found_out(game: Any, played: Any) -> None:
    """Who ignores the crowd, sold as the equilibrium."""
    found = {**played.found, game.GAME: played.found[game.ALONE]}
    social = {**played.social, game.GAME: played.social[game.ALONE]}
    texts = failing(game, replace(played, found=found, social=social, distances={
        **played.distances, "Newton": played.distances["fixed point, damping ½"]}))  # fmt: skip
    assert any("Newton" in text for text in texts)
    assert not np.isnan(played.gaps["Newton"])
