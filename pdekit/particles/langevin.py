"""Overdamped Langevin dynamics (SGLD with the exact gradient)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pdekit.grid import Grid
from pdekit.particles import motion
from pdekit.particles.integrators import Integrator, LeimkuhlerMatthews, Normals, Step

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class Langevin:
    """dX = -∇V(X) dt + √(2/β) dB (MODEL.md 0); its stationary law is e^{-βV}/Z.

    Parameters
    ----------
    potential : V, maps ``(..., d) -> (...)``; its ``grad`` is used, or torch autograd; one that
        changes in time offers ``at(t)``
    beta : inverse temperature, > 0
    integrator : ``LeimkuhlerMatthews()`` for sampling, ``EulerMaruyama()`` for the papers'
        discrete algorithm, ``StochasticHeun()`` for laws at finite time
    box : a Grid whose walls reflect and whose periodic axes wrap; None for the whole space

    Raises ``ValueError`` for beta <= 0. Good steps: ``dt`` times the largest curvature of V below
    0.1; above 2 the explicit step is unstable.
    """

    potential: Any
    beta: float
    integrator: Integrator = field(default_factory=LeimkuhlerMatthews)
    box: Grid | None = None

    def __post_init__(self) -> None:
        motion.check_beta(self.beta)

    @property
    def dim(self) -> int | None:
        """Number of coordinates, where potential or box fix it."""
        return motion.common_dim(potential=self.potential, box=self.box)

    @property
    def sigma(self) -> float:
        """√(2/β), the noise per square root of time."""
        return motion.noise_strength(self.beta)

    def drift(self, x: Any, t: float) -> Any:
        """-∇V at ``x`` and time ``t``, shape of ``x``."""
        from pdekit.particles.slopes import slope_at

        return slope_at(self.potential, x, t).neg()

    def init(self, x: Any) -> Any:
        """The state that starts from positions ``x`` (runs, particles, dim)."""
        return motion.init(self, x)

    def step(self, state: Any, step: Step, noise: Normals) -> Any:
        """The state one step later; ``state`` is overwritten."""
        return motion.step(self, state, step, noise)

    def positions(self, state: Any, step: Step, noise: Normals) -> Any:
        """Positions of the particles after ``step``."""
        return motion.positions(self, state, step, noise)

    def law(self) -> "FokkerPlanck":
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), with no flux through the walls of the grid it is solved on."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta)
