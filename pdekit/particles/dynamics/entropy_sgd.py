"""Entropy-SGD as particles: descent on the local entropy, estimated in every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, ClassVar

from pdekit.particles.dynamics.diffusion import GradientDynamics, check_beta
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.two_scale import (
    ExponentialAverage,
    TwoScaleLangevin,
    gamma_at,
)
from pdekit.particles.integrators import Draws, EulerMaruyama, Fast, Step
from pdekit.protocols import Coefficient

if TYPE_CHECKING:
    from torch import Tensor

_COARSE = 0.25  # limit of η u'': rates are then off by an eighth
_BROAD = 0.4  # limit of η_y (V'' + 1/γ): the variance of y is then a quarter too large


@dataclass(frozen=True)
class EntropySGD(GradientDynamics):
    """y, z ← x; L times: y ← y - η_y (∇V(y) + (y - x)/γ) + √(2η_y/β) ξ, z ← α z + (1 - α) y;
    then x ← x - (η/γ)(x - z).

    The time step of ``simulate`` is the learning rate η, so k steps are the time kη. Thesis,
    Algorithm 2 and (4.39)-(4.41); mathematics 1.10. It is ``TwoScaleLangevin`` whose fast
    process restarts from x in every step, with an exponential average; for many small inner steps
    x' = -∇u(x, γ), u the local entropy of V (``pk.local_entropy``). For networks:
    ``pk.optim.EntropySGD``.

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the beginning of the step
    beta : inverse temperature of the noise; ``inf`` for none
    gamma : γ, the square of the width; a number or a function of time such as ``Scoping``
    inner_steps : L
    inner_lr : η_y; None for 2 γ / (L + 1), with γ at time 0
    alpha : α in [0, 1), the share of the past in z

    Raises ``ValueError`` for numbers out of range. Stable if η < 2γ and η_y (V'' + 1/γ) < 2. Good
    steps have a tenth of both. Warns (``AccuracyWarning``) of outer steps with η u'' > 1/4, by
    which rates of x are off by an eighth, and of inner ones with η_y (V'' + 1/γ) > 0.4, by which
    the variance of y is a quarter too large. z keeps (1 - η_y/γ)^L and more of x: slopes are as
    much too small where V is flat.
    """

    potential: Coefficient
    beta: float = inf
    gamma: float | Callable[[float], float] = 1.0
    inner_steps: int = 20
    inner_lr: float | None = None
    alpha: float = 0.25
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        check_parts(self)
        _ = self.two_scale  # performs the remaining checks

    @cached_property
    def two_scale(self) -> TwoScaleLangevin:
        """The equivalent two-scale dynamics."""
        rate = self.inner_lr or 2 * gamma_at(self.gamma, 0.0) / (self.inner_steps + 1)
        return TwoScaleLangevin(
            self.potential,
            self.beta,
            self.gamma,
            epsilon=1.0,
            inner_steps=self.inner_steps,
            average=ExponentialAverage(self.alpha),
            warm_start=False,
            inner_dt=rate,
            integrator=EulerMaruyama(),
        )

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """The larger of the rates of the two steps, per unit of η."""
        return self.two_scale.stiffness(curvature, size, t)

    def inaccuracy(self, curvature: float, size: float, t: float) -> str:
        """A warning if stable steps of x or y are inaccurate."""
        gamma, h = gamma_at(self.gamma, t), self.two_scale.inner_size(size)
        stiff, bend = max(curvature, 0.0), h * (max(curvature, 0.0) + 1 / gamma)
        outer = size * stiff / (1 + gamma * stiff)
        if outer > _COARSE:
            return (
                f"eta u'' is up to {outer:.2g}: the outer step is of order one, and the rates of x "
                f"come out wrong by up to {outer / 2:.0%}; dt <= {0.1 * size / outer:.1g} has 5 %"
            )
        if self.beta < inf and bend > _BROAD:
            return (
                f"inner_lr (V'' + 1/gamma) = {bend:.2g}: the inner steps are of order one, and the "
                f"variance of y is up to {bend / max(2 - bend, 1e-9):.0%} too large; inner_lr <= "
                f"{0.1 * h / bend:.1g} has 5 %, with as many more inner_steps"
            )
        return ""

    def init(self, x: Tensor) -> Tensor:
        """x and y, stacked in front."""
        return self.two_scale.init(x)

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        return self.two_scale.step(state, step, noise)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """x."""
        return self.two_scale.positions(state, step, noise)

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        return self.two_scale.fused(x)
