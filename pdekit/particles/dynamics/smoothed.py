"""Descent on a smoothed loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isinf
from typing import TYPE_CHECKING, ClassVar

from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import Diffusion, check_beta
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.integrators import Integrator, StochasticHeun
from pdekit.protocols import Coefficient

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class SmoothedDescent(Diffusion):
    """dX = -∇u(X, t) dt [+ √(2/β) dB]: the papers' scoping: u is the loss with decreasing
    smoothing.

    With u(x, t) = v(x, T - t) for a solution v of a smoothing equation (heat, viscous or
    non-viscous Hamilton-Jacobi) this is the drift -∇v(X, T - t) of mathematics 1.7, last lines; it
    is the drift of the control problem with V = 0, not of the controlled Langevin motion.

    Parameters
    ----------
    value : u, whose ``at(t)`` is a potential for every t in [0, T]; a potential without ``at``
        stands for all times; ``Evolving`` is extrapolated linearly beyond its
        samples and constantly after the last time
    beta : inverse temperature of the noise; None or infinity for none
    integrator : ``StochasticHeun()`` is the trapezoidal rule where there is no noise
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space

    Raises ``ValueError`` for beta <= 0. At a kink of a non-viscous u the gradient jumps, so
    every integrator is of order one.
    """

    value: Coefficient
    beta: float | None = None
    integrator: Integrator = field(default_factory=StochasticHeun)
    box: Grid | None = None
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", inf if self.beta is None else self.beta)
        check_beta(self, infinite=True)
        check_parts(self)

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """u alone."""
        return (self.value,)

    def law(self) -> FokkerPlanck:
        """The Fokker-Planck equation of u. Raises ``ValueError`` if there is no noise."""
        from pdekit.pde.equations import FokkerPlanck

        if self.beta is None or isinf(self.beta):
            raise ValueError(
                "without noise (beta infinite) the law of a SmoothedDescent obeys a transport "
                "equation, not FokkerPlanck; give a finite beta"
            )
        return FokkerPlanck(self.value, self.beta)
