"""Overdamped Langevin dynamics (SGLD with the exact gradient)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, ClassVar

from pdekit.arrays import Schedule
from pdekit.grid import Grid
from pdekit.in_time import beta_in_time
from pdekit.particles.dynamics.diffusion import Diffusion, check_beta, time_of_noise
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Draws, Fast, Integrator, LeimkuhlerMatthews, Step
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class Langevin(Diffusion):
    """dX = -∇V(X) dt + √(2/β) dB (mathematics 0); its stationary law is e^{-βV}/Z.

    Parameters
    ----------
    potential : V, maps ``(..., d) -> (...)``; its ``grad`` is used, or torch autograd; one that
        changes in time offers ``at(t)``
    beta : inverse temperature, > 0; ``math.inf`` for the gradient flow, without noise; or a
        function of time, as of ``AnnealedLangevin``
    integrator : ``LeimkuhlerMatthews()`` for sampling, ``EulerMaruyama()`` for the papers'
        discrete algorithm, ``StochasticHeun()`` for laws at finite time, ``TamedEuler()`` for
        slopes under which the others overflow
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space
    walls : what the ends of the box do, such as ``Walls(True, PartlyAbsorbing(rate))``, or
        ``Walls(Inflow(flux), True)``, by which particles enter; None for walls that reflect
    killing : rate >= 0 per time at which particles are taken, a number or a function of points
    resetting : ``Resetting(rate, law)``, to places from a law of independent particles

    Particles stop at walls that absorb and by killing (`pdekit.particles.dynamics.stopping`):
    ``Ensemble.alive`` and ``Ensemble.exits``. Survival is then of weak order one in dt, with a
    small constant; ``LeimkuhlerMatthews``, whose states are no positions, is replaced by Heun's
    steps. Good steps are shorter than the time to diffuse across a tenth of the box.

    Raises ``ValueError`` for beta <= 0, at any time. Good steps: ``dt`` times the largest
    curvature of V below 0.1; above 2 the explicit step is unstable.
    """

    potential: Coefficient
    beta: float | Schedule
    integrator: Integrator = field(default_factory=LeimkuhlerMatthews)
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    pure: ClassVar[bool] = True
    cools: ClassVar[bool] = False  # whether β changes in time
    contracts: ClassVar[bool] = True  # paths driven by the same noise contract where V is convex

    def __post_init__(self) -> None:
        if callable(self.beta):
            object.__setattr__(self, "beta", beta_in_time(self.beta))
            object.__setattr__(self, "cools", True)
        else:
            check_beta(self, infinite=True)
        check_parts(self)
        check_stopping(self)

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """V alone."""
        return (self.potential,)

    @property
    def sigma(self) -> float:
        """√(2/β), at first if it changes."""
        return sqrt(2 / (self.beta(0.0) if callable(self.beta) else self.beta))

    def sigma_at(self, t: float) -> float:
        """√(2/β(t))."""
        return sqrt(2 / (self.beta(t) if callable(self.beta) else self.beta))

    def noise_of_step(self, step: Step) -> float:
        """σ in a step."""
        return self.sigma_at(time_of_noise(self.integrator, step))

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        return self.stepped(state, self.noise_of_step(step), step, noise)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions of the particles after ``step``."""
        return self.placed(state, self.sigma_at(step.stop), step, noise)

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        from pdekit.particles.fused import of_diffusion

        return None if callable(self.beta) else of_diffusion(self, x)

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), with no flux through the walls of the grid it is solved on."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta, **endings(self))
