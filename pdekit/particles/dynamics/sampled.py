"""Descent on a loss smoothed by sampling (HEAT)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, ClassVar

from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time, check_beta, slope
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.two_scale import gamma_at
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.noise import INNER
from pdekit.protocols import Coefficient, Function

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SampledDescent(GradientDynamics):
    """X⁺ = X - (dt/L) Σ_l ∇V(X + ξ_l), ξ_l ~ N(0, (γ/β) I): descent on the loss G_{γ/β} * V.

    mathematics 1.10, HEAT; thesis (4.43) with errata 30. The mean of a step is exactly that of
    descent on the heat-smoothed loss; the sampling adds a variance O(dt/L) to X. If the
    smoothed loss is available as a potential, ``SmoothedDescent`` is the same without sampling.

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the beginning of the step
    beta : inverse temperature; the smoothing is the heat equation's at time γ
    gamma : γ, or a function of time such as ``Scoping``
    samples : L >= 1

    Raises ``ValueError`` for numbers out of range. Stable if dt V'' < 2.
    """

    potential: Coefficient
    beta: float
    gamma: float | Callable[[float], float]
    samples: int = 1
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        width = sqrt(gamma_at(self.gamma, step.start) / self.beta)
        total = state * 0
        V = at_time(self.potential, step.start)
        for k in range(self.samples):
            self.traced(state, total, V, width, step.number * self.samples + k, noise)
        return state.sub_(total * (step.size / self.samples))

    def traced(
        self, state: Tensor, total: Tensor, V: Function, width: float, draw: int, noise: Draws
    ) -> None:
        """One sample of the slope, added to ``total``, for `pdekit.particles.run.compiled`."""
        total += slope(V, state + noise.at(draw, INNER) * width)
