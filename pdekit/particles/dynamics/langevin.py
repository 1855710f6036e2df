"""Overdamped Langevin dynamics (SGLD with the exact gradient)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import Diffusion, check_beta
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Integrator, LeimkuhlerMatthews
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class Langevin(Diffusion):
    """dX = -∇V(X) dt + √(2/β) dB (mathematics 0); its stationary law is e^{-βV}/Z.

    Parameters
    ----------
    potential : V, maps ``(..., d) -> (...)``; its ``grad`` is used, or torch autograd; one that
        changes in time offers ``at(t)``
    beta : inverse temperature, > 0; ``math.inf`` for the gradient flow, without noise
    integrator : ``LeimkuhlerMatthews()`` for sampling, ``EulerMaruyama()`` for the papers'
        discrete algorithm, ``StochasticHeun()`` for laws at finite time, ``TamedEuler()`` for
        slopes under which the others overflow
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space
    walls : what the ends of the box do, such as ``Walls(True, PartlyAbsorbing(rate))``; None for
        walls that reflect
    killing : rate >= 0 per time at which particles are taken, a number or a function of points
    resetting : ``Resetting(rate, law)``, to places from a law of independent particles

    Particles stop at walls that absorb and by killing (`pdekit.particles.dynamics.stopping`):
    ``Ensemble.alive`` and ``Ensemble.exits``. Survival is then of weak order one in dt, with a
    small constant; ``LeimkuhlerMatthews``, whose states are no positions, is replaced by Heun's
    steps. Good steps are shorter than the time to diffuse across a tenth of the box.

    Raises ``ValueError`` for beta <= 0. Good steps: ``dt`` times the largest curvature of V below
    0.1; above 2 the explicit step is unstable.
    """

    potential: Coefficient
    beta: float
    integrator: Integrator = field(default_factory=LeimkuhlerMatthews)
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    pure: ClassVar[bool] = True
    contracts: ClassVar[bool] = True  # paths driven by the same noise contract where V is convex

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        check_parts(self)
        check_stopping(self)

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """V alone."""
        return (self.potential,)

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), with no flux through the walls of the grid it is solved on."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta, **endings(self))
