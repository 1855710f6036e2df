"""Descent with momentum: Nesterov's method, MaSS, and their restarts (report 3.1.5, 3.1.6).

The time step of ``simulate`` is the learning rate η, so k steps are the time kη. The state is
(w, u); w are the positions. With noisy gradients these are the stochastic
methods, with ``FullGradient()`` the classical ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time
from pdekit.particles.dynamics.gradients import FullGradient, Gradient
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.integrators import Draws, Step
from pdekit.protocols import Coefficient


class _Accelerated(GradientDynamics):
    """The state (w, u) with a γ that is given: ``Nesterov`` and ``MaSS``."""

    momentum: float
    compensation: float = 0.0  # η₂/η, of the gradient in u⁺
    gradient: Gradient

    def __post_init__(self) -> None:
        check_parts(self)

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """2 divided by the longest stable step."""
        return _stiffness(curvature, self.momentum, self.compensation)

    def init(self, x: Tensor) -> Tensor:
        """w and u, stacked in front."""
        return x.expand(2, *x.shape).clone()

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later."""
        g = _slope(self, state, step, noise)
        return torch.stack(_accelerate(state, g, step.size, self.momentum, self.compensation))

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """w."""
        return state[0]


class _Restarted(GradientDynamics):
    """The state (w, u, α) with a γ that grows until a particle restarts."""

    compensation: float = 0.0  # η₂/η, of the gradient in u⁺
    gradient: Gradient

    def __post_init__(self) -> None:
        check_parts(self)

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """2 divided by the longest stable step, as γ -> 1."""
        return _stiffness(curvature, 1.0, self.compensation)

    def init(self, x: Tensor) -> Tensor:
        """w, u and α, stacked in front."""
        state = x.expand(3, *x.shape).clone()
        state[2] = 1.0
        return state

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later."""
        g = _slope(self, state, step, noise)
        return _restarted(state, g, step.size, self.compensation)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """w."""
        return state[0]


@dataclass(frozen=True)
class Nesterov(_Accelerated):
    """w⁺ = u - η g(u), u⁺ = (1 + γ) w⁺ - γ w (report (32)).

    As η -> 0 at fixed γ, w follows w' = -∇V/(1 - γ), with error O(η).

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the beginning of the step
    momentum : γ in [0, 1); 0 is gradient descent, or SGD
    gradient : ``FullGradient()``, ``NoisyGradient(std)``, ``MiniBatch(size)``

    Raises ``ValueError`` for another momentum. Stable if η V'' < 2 (1 + γ)/(1 + 2γ).
    """

    potential: Coefficient
    momentum: float = 0.9
    gradient: Gradient = field(default_factory=FullGradient)
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True


@dataclass(frozen=True)
class MaSS(_Accelerated):
    """w⁺ = u - η g(u), u⁺ = (1 + γ) w⁺ - γ w + η₂ g(u) (Liu and Belkin; report (34)).

    As η -> 0 at fixed γ and η₂/η, w' = -(1 - η₂/η) ∇V/(1 - γ).

    Parameters: those of ``Nesterov``, and ``compensation``, η₂/η in [0, 1). Raises ``ValueError``
    for numbers out of range. Stable if η V'' < 2 (1 + γ)/(1 + 2γ - η₂/η).
    """

    potential: Coefficient
    momentum: float = 0.9
    compensation: float = 0.1
    gradient: Gradient = field(default_factory=FullGradient)
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True


@dataclass(frozen=True)
class RestartedNesterov(_Restarted):
    """Nesterov's method with γ = (α - 1)/(α + 2), α counting the steps since the last restart.

    A step uphill, g(u)·(w⁺ - w) > 0, restarts a particle: it counts as the first, and the next has
    α = 2 (O'Donoghue and Candès; report (33) with errata 69: γ follows α). Until then, as η -> 0, w
    as a function of s = k √η obeys w'' + 3 w'/s + ∇V(w) = 0 (Su, Boyd, Candès), with error O(√η).

    Parameters: ``potential``, ``gradient`` as for ``Nesterov``. Stable if η V'' < 4/3.
    """

    potential: Coefficient
    gradient: Gradient = field(default_factory=FullGradient)
    pure: ClassVar[bool] = True


@dataclass(frozen=True)
class RestartedMaSS(_Restarted):
    """``MaSS`` with the γ and the restarts of ``RestartedNesterov`` (report (35), errata 69).

    Parameters: ``potential``, ``compensation``, ``gradient`` as for ``MaSS``.
    """

    potential: Coefficient
    compensation: float = 0.1
    gradient: Gradient = field(default_factory=FullGradient)
    pure: ClassVar[bool] = True


def _slope(dynamics: _Accelerated | _Restarted, state: Tensor, step: Step, noise: Draws) -> Tensor:
    """g(u)."""
    V = at_time(dynamics.potential, step.start)
    return dynamics.gradient(V, state[1], step, noise)


def _accelerate(
    state: Tensor, g: Tensor, eta: float, gamma: float | Tensor, compensation: float
) -> tuple[Tensor, Tensor]:
    """(w, u) after one step."""
    w, u = state[0], state[1]
    descent = u - g * eta
    ahead = descent * (1 + gamma) - w * gamma
    return descent, ahead + g * (eta * compensation) if compensation else ahead


def _restarted(state: Tensor, g: Tensor, eta: float, compensation: float) -> Tensor:
    """(w, u, α) after one step."""
    alpha = state[2]
    w, u = _accelerate(state, g, eta, (alpha - 1) / (alpha + 2), compensation)
    uphill = (g * (w - state[0])).sum(dim=-1, keepdim=True) > 0
    return torch.stack((w, u, alpha.masked_fill(uphill, 1.0) + 1.0))


def _stiffness(curvature: float, gamma: float, compensation: float) -> float:
    # on a quadratic a root of the method leaves the unit circle through -1
    return curvature * (1 + 2 * gamma - compensation) / (1 + gamma)
