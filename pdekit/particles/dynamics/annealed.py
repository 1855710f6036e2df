"""Langevin dynamics with a cooling schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log, sqrt
from typing import TYPE_CHECKING, ClassVar

from pdekit import checks
from pdekit.checks import positive
from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import Diffusion, time_of_noise
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Draws, Integrator, Step, StochasticHeun
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class Logarithmic:
    """β(t) = log(shift + t) / depth: slow enough to find the global minimum.

    ``depth`` is to be at least the critical depth of V, the highest barrier out of a well that is
    not the deepest (Hajek 1988; mathematics 1.14: the papers' log(t + 1) lacks this constant).
    ``shift`` > 1 keeps the temperature at the start finite.
    """

    depth: float
    shift: float = 2.0

    def __post_init__(self) -> None:
        checks.parameters(self, depth=positive, shift=checks.number)
        if not self.shift > 1:
            raise ValueError(f"Logarithmic: shift must be finite and > 1, got {self.shift}")

    def __call__(self, t: float) -> float:
        """β at time t."""
        return log(self.shift + t) / self.depth


@dataclass(frozen=True)
class AnnealedLangevin(Diffusion):
    """dX = -∇V(X) dt + √(2/β(t)) dB: simulated annealing in continuous time (thesis 4.1.1).

    Parameters
    ----------
    potential : V
    schedule : β as a function of time, such as ``Logarithmic(depth)``; > 0
    integrator : ``StochasticHeun()``, of weak order 2; ``LeimkuhlerMatthews()`` has the more
        accurate stationary law and suits slow schedules
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space
    walls : what the ends of the box do, such as ``Walls(True, PartlyAbsorbing(rate))``, or
        ``Walls(Inflow(flux), True)``, by which particles enter; None for walls that reflect
    killing : rate >= 0 per time at which particles are taken, a number or a function of points
    resetting : ``Resetting(rate, law)``, to places from a law of independent particles

    Particles stop at walls that absorb and by killing (`pdekit.particles.dynamics.stopping`):
    ``Ensemble.alive`` and ``Ensemble.exits``. Survival is then of weak order one in dt, with a
    small constant; ``LeimkuhlerMatthews``, whose states are no positions, is replaced by Heun's
    steps. Good steps are shorter than the time to diffuse across a tenth of the box.

    Raises ``ValueError`` where the schedule is not > 0 and finite. Good steps: as ``Langevin``,
    and short compared with the time scale of β.
    """

    potential: Coefficient
    schedule: Callable[[float], float]
    integrator: Integrator = field(default_factory=StochasticHeun)
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    pure: ClassVar[bool] = True
    cools: ClassVar[bool] = True  # its noise changes in time

    def __post_init__(self) -> None:
        check_parts(self)
        check_stopping(self)
        checks.value_not_class("schedule", self.schedule)
        if not callable(self.schedule):
            raise TypeError(f"schedule must be a function of time, got {self.schedule!r}")
        checks.takes("schedule", self.schedule, "a function of time")
        self.sigma_at(0.0)

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """V alone."""
        return (self.potential,)

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·(ρ∇V + β(t)⁻¹∇ρ); over many decades of t its steps are many.

        No step goes across the ``times`` of a schedule that has them: those of its jumps.
        """
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.schedule, **endings(self))

    def sigma_at(self, t: float) -> float:
        """√(2/β(t))."""
        return sqrt(2 / _beta(self.schedule, t))

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        return self.traced(state, self.noise_of_step(step), step, noise)

    def noise_of_step(self, step: Step) -> float:
        """σ at the middle of a step, or where its noise lies about the start, there."""
        return self.sigma_at(time_of_noise(self.integrator, step))

    def traced(self, state: Tensor, sigma: float, step: Step, noise: Draws) -> Tensor:
        """The state one step later under the noise σ, for `pdekit.particles.run.compiled`."""
        return self.stepped(state, sigma, step, noise)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions of the particles after ``step``."""
        return self.placed(state, self.sigma_at(step.stop), step, noise)


def _beta(schedule: Callable[[float], float], t: float) -> float:
    return positive(f"schedule({t:g})", schedule(t))
