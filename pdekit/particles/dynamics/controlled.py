"""Langevin dynamics under a computed control."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import Diffusion, check_beta
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Integrator, StochasticHeun
from pdekit.potentials import Sum
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class ControlledLangevin(Diffusion):
    """dX = -(∇V(X) + ∇u(X, t)) dt + √(2/β) dB: the optimally controlled motion (mathematics 1.7).

    Parameters
    ----------
    potential : V, as for ``Langevin``
    beta : inverse temperature, > 0
    value : u, whose ``at(t)`` is a potential for every t in [0, T], time running forward; a
        potential without ``at`` is constant in time. Sampled ones (``Evolving``, as
        returned by ``control``) are extrapolated linearly beyond the box and constantly beyond T
    integrator : ``StochasticHeun()`` takes the slopes at both ends of a step (weak order 2);
        ``EulerMaruyama()`` at its beginning
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space
    walls : what the ends of the box do, such as ``Walls(True, PartlyAbsorbing(rate))``, or
        ``Walls(Inflow(flux), True)``, by which particles enter; None for walls that reflect
    killing : rate >= 0 per time at which particles are taken, a number or a function of points
    resetting : ``Resetting(rate, law)``, to places from a law of independent particles

    Particles stop at walls that absorb and by killing (`pdekit.particles.dynamics.stopping`):
    ``Ensemble.alive`` and ``Ensemble.exits``. Survival is then of weak order one in dt, with a
    small constant; ``LeimkuhlerMatthews``, whose states are no positions, is replaced by Heun's
    steps. Good steps are shorter than the time to diffuse across a tenth of the box.

    Raises ``ValueError`` for beta <= 0. Good steps: as for ``Langevin`` with V + u, and not
    longer than the time scale of u.
    """

    potential: Coefficient
    beta: float
    value: Coefficient
    integrator: Integrator = field(default_factory=StochasticHeun)
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)
        check_stopping(self)

    @property
    def potentials(self) -> tuple[Any, ...]:
        """V and u."""
        return self.potential, self.value

    def law(self) -> FokkerPlanck:
        """The Fokker-Planck equation of V + u; its potential has ``at(t)`` if V or u

        has. Raises ``TypeError`` for bare functions, which cannot be added.
        """
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(Sum((self.potential, self.value)), self.beta, **endings(self))
