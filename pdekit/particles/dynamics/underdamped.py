"""Langevin dynamics with inertia."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt, tanh
from typing import ClassVar

import torch
from torch import Tensor

from pdekit.particles.dynamics.diffusion import GradientDynamics, check_beta
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.noise import MOMENTUM
from pdekit.protocols import Coefficient


@dataclass(frozen=True)
class UnderdampedLangevin(GradientDynamics):
    """dX = P/m dt, dP = -∇V(X) dt - c P dt + √(2cm/β) dB, by BAOAB.

    Stationary at exp(-β (V(x) + |p|²/(2m))), so X has the Gibbs law of V (errata 1). A
    step is half a kick, half a drift, an exact Ornstein-Uhlenbeck step of the momentum, half a
    drift, half a kick (Leimkuhler and Matthews 2013): weak order 2, also of the stationary law of
    X, which is exact for a quadratic; one gradient a step.

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the time of each kick
    beta : inverse temperature, > 0
    friction : c, in inverse time; 0 is Hamiltonian motion
    mass : m
    at_rest : momenta start at zero; otherwise they are drawn from their stationary law

    Raises ``ValueError`` for numbers out of range. Stable if dt √(V''/m) < 2; good steps: 0.3.
    Free displacements grow (c dt/2) coth(c dt/2) times as fast as they should, 1 + (c dt)²/12;
    warns (``AccuracyWarning``) where dt times the friction exceeds 1.
    """

    potential: Coefficient
    beta: float
    friction: float = 1.0
    mass: float = 1.0
    at_rest: bool = False
    weak_order: ClassVar[int] = 2
    invariant_order: ClassVar[int] = 2
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)

    @property
    def speed(self) -> float:
        """Of thermal motion, √(1/(βm)): by which rounding is judged."""
        return sqrt(1 / (self.beta * self.mass))

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """The largest frequency √(V''/m)."""
        return sqrt(max(curvature, 0.0) / self.mass)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if steps are long compared with the friction time."""
        half = self.friction * size / 2
        if half <= 0.5:
            return ""
        return (
            f"dt * friction = {2 * half:.2g}: the stationary law is right, but displacements grow "
            f"{half / tanh(half):.3g} times as fast as they should; dt <= {0.3 / self.friction:.1g}"
            " has 1 %"
        )

    def init(self, x: Tensor) -> Tensor:
        """Positions, momenta and forces, stacked in front."""
        state = x.new_zeros(3, *x.shape)
        state[0], state[2] = x, self.drift(x, 0.0)
        return state

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later."""
        if step.number == 0 and not self.at_rest:
            state[1].copy_(noise.at(0, MOMENTUM) * sqrt(self.mass / self.beta))
        return self.traced(state, exp(-self.friction * step.size), step, noise)

    def traced(self, state: Tensor, decay: float, step: Step, noise: Draws) -> Tensor:
        """A step with this decay factor of the momentum, for `pdekit.particles.run.compiled`."""
        x, p, force = state
        h, scale = step.size, sqrt(self.mass / self.beta)
        p = p + force * (h / 2)
        x = x + p * (h / (2 * self.mass))
        p = p * decay + noise.at(step.number) * (scale * sqrt(1 - decay * decay))
        x = x + p * (h / (2 * self.mass))
        force = self.drift(x, step.stop)
        return torch.stack((x, p + force * (h / 2), force))

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """X."""
        return state[0]
