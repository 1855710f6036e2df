"""Arguments that no function can use: a sentence that names them, and what would do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from optimizer_cases import OPTIMIZERS
from scipy.stats import norm

import pdekit as pk
from pdekit import optim
from pdekit.potentials import DoubleWell, Quadratic

WELL = DoubleWell()
GRID = pk.Grid(-8, 8, 40)


def curvature(**changed: Any) -> Any:
    """Of the double well, from few particles."""
    return pk.sampled_curvature(WELL, 2.0, 0.1, **{"points": [1.0], "n": 100, **changed})


def steady(**parts: Any) -> Any:
    """An equation with a steady state."""
    return pk.with_steady_state(WELL, 2.0, **parts)


class NoDrift:
    """A dynamics whose drift is nothing."""

    dim = 1
    drift: Any = None

    def step(self, state: Any, step: Any, noise: Any) -> Any:
        return state + step.size


class TimelessDrift(NoDrift):
    """A dynamics whose drift takes no time."""

    def drift(self, x: Any) -> Any:
        return 0 * x


def moved(dynamics: Any) -> Any:
    """A few particles."""
    return pk.simulate(dynamics, pk.Gaussian(), 10, 1.0, 0.1)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *[
        (lambda d=d: pk.critical_beta(WELL, pk.CurieWeiss(1.0), dim=d), TypeError, "dim must be a")
        for d in ([], {}, int, object())
    ],
    (lambda: pk.critical_beta(WELL, pk.CurieWeiss(1.0), dim=0), ValueError, "dim must be a whole"),
    *[
        (lambda x=x: curvature(points=x), ValueError, "points must have shape .m, d., or .m,. on a")
        for x in (0, 1.5, np.float64(2), [], np.zeros((1, 2, 1)))
    ],
    (lambda: curvature(dt=1e300), ValueError, "dt must be at most the duration, .*got 1e.300"),
    (lambda: pk.SampledCurvature(None, 1.0, 1.0, 1.0), TypeError, "data must be a Dataset"),
    *[
        (lambda g=g: pk.minibatch_covariance(g, 2), ValueError, r"shape \(N, d\), got shape \(")
        for g in (np.ones((5, 2, 3)), np.zeros((3, 3, 3)), np.ones(4), 1.0)
    ],
    (lambda: moved(NoDrift()), TypeError, r"NoDrift needs a method drift\(self, x, t\), got None"),
    (lambda: moved(TimelessDrift()), TypeError, r"drift\(x.*expected drift\(self, x, t\)"),
    *[
        (lambda m=m, s=s: pk.Gaussian(m, s), ValueError, "use other units of length")
        for m, s in ((1e300, 1.0), (0, 1e300), (-1e101, 1.0), (0, 1e-60), ((0, 0), (1, 1e200)))
    ],
    *[
        (lambda name=name: pk.Moments(name=name), TypeError, "Moments: name must be text, got")
        for name in (3, None, object(), str)
    ],
    (lambda: pk.Histogram(GRID, name=3), TypeError, "Histogram: name must be text, got 3"),
    (lambda: steady(circulation=int), TypeError, "circulation must be a value, got the class int"),
    (lambda: steady(circulation=pk.Gaussian), TypeError, "got the class Gaussian"),
    (lambda: steady(circulation=pk.Gaussian()), TypeError, "must be an antisymmetric matrix or a"),
    (lambda: steady(circulation="a"), TypeError, "must be an antisymmetric matrix or a"),
    (lambda: steady(circulation=lambda: 3), TypeError, r"got a function of \(\)"),
    (lambda: steady(diffusion=lambda: 3), TypeError, r"diffusion must be .* a function of \(\)"),
    (lambda: pk.FokkerPlanck(WELL, 1.0, diffusion=lambda: 3), TypeError, r"a function of \(\)"),
    (
        lambda: pk.solve(steady(circulation=lambda x: x[..., 0]), GRID, pk.Gaussian(), 1.0),
        ValueError,
        "circulation must be antisymmetric",
    ),
    *[
        (lambda c=c: c([torch.zeros(2)], process_group=3), TypeError, "process_group must be one")
        for c in (optim.Parle, optim.ElasticSGD)
    ],
    (
        lambda: pk.kramers_time(WELL, 1.0, 0.0, 2.0),
        ValueError,
        r"is 0\.5, .* above 1: increase beta, or use mean_first_passage_time",
    ),
    (lambda: pk.kramers_time(WELL, 1.0, 0.0, 4e3), ValueError, r"700 or more, .* lower beta"),
]


@pytest.mark.parametrize(("call", "kind", "says"), REFUSED)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    call: Callable[[], Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        call()


def test_the_advice_of_kramers_time_can_be_taken() -> None:
    """ΔV = 1/4 and V'' = 2, -1 at the ends: τ = 2π/√2 e^{β/4}."""
    for beta in (20.0, 2000.0):
        exact = np.pi * np.sqrt(2) * np.exp(beta / 4)
        assert pk.kramers_time(WELL, 1.0, 0.0, beta) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("cls", OPTIMIZERS)
@pytest.mark.parametrize("params", [None, 3, "ab", {}, torch.zeros(3), torch.nn.Linear(2, 2)])
def test_what_holds_no_parameters_is_refused(cls: Any, params: Any) -> None:
    with pytest.raises(TypeError, match=f"{cls.__name__}: params must be tensors, such as model"):
        cls(params)


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_whole_numbers_with_a_gradient_are_refused_and_stay_without(cls: Any) -> None:
    count, x = torch.tensor([1]), torch.ones(2, requires_grad=True)
    optimizer = cls([count, x], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (x**2).sum() / 2
        loss.backward()
        return loss

    for _ in range(2):  # the first moves the replicas, where there are some
        optimizer.step(closure)
    assert count.item() == 1 and bool((x < 1).all())
    count.grad = torch.tensor([2])
    with pytest.raises(TypeError, match=f"{cls.__name__} cannot move whole numbers, .*int64"):
        optimizer.step(lambda: torch.tensor(0.0))


@pytest.mark.parametrize("mean", [0.0, 1e9, 1e90])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 20.0])
def test_a_law_far_wider_than_the_box_keeps_its_density(mean: float, ratio: float) -> None:
    std = max(mean, 1e7) / ratio
    law = pk.Gaussian(mean, std)
    exact = norm.pdf((GRID.axes[0] - mean) / std) / std
    assert law.density(GRID) == pytest.approx(exact, rel=1e-12, abs=0)
    assert law.mass(GRID) == pytest.approx(float(exact.sum() * GRID.spacing[0]), rel=1e-12, abs=0)


def test_a_circulation_in_the_plane_still_does() -> None:
    well = Quadratic(dim=2)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    field = pk.with_steady_state(well, 2.0, circulation=lambda x: np.sin(x[..., :1, None]) * turn)
    still = pk.with_steady_state(well, 2.0, circulation=turn)
    x = np.array([[0.5, -0.25], [1.0, 2.0]])
    assert still.force(x) == pytest.approx(-x @ turn.T)
    # -Q x + β⁻¹ ∇·Q, Q = sin(x_1) [[0, 1], [-1, 0]]
    spread = np.stack([np.zeros(2), -np.cos(x[:, 0])], -1) / 2
    assert field.force(x) == pytest.approx(-np.sin(x[:, :1]) * (x @ turn.T) + spread)
