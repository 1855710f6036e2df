"""Langevin dynamics under a computed control."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pdekit.grid import Grid
from pdekit.particles import motion
from pdekit.particles.integrators import Integrator, Normals, Step, StochasticHeun
from pdekit.potentials import Sum, as_potential

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class Total:
    """V + u as a potential in time: ``at(t)`` is the potential V + u(·, t)."""

    potential: Any
    value: Any

    @property
    def dim(self) -> int | None:
        return motion.common_dim(potential=self.potential, value=self.value)

    @property
    def times(self) -> Any:
        """The stored times of u, between which V + u is linear in time; none if it is smooth."""
        return getattr(self.value, "times", ())

    def at(self, t: float) -> Any:
        value = self.value.at(t) if hasattr(self.value, "at") else self.value
        return Sum((as_potential(self.potential, value.dim), value))

    def __call__(self, x: Any, t: float = 0.0) -> Any:
        return self.at(t)(x)


@dataclass(frozen=True)
class ControlledLangevin:
    """dX = -(∇V(X) + ∇u(X, t)) dt + √(2/β) dB: the optimally controlled motion (MODEL.md 1.7).

    Parameters
    ----------
    potential : V, as for ``Langevin``
    beta : inverse temperature, > 0
    value : u, whose ``at(t)`` is a potential for every t in [0, T], time running forward; a
        potential without ``at`` stands for all times
    integrator : ``StochasticHeun()`` takes the slopes at both ends of a step (weak order 2);
        ``EulerMaruyama()`` at its beginning
    box : a Grid whose walls reflect and whose periodic axes wrap; None for the whole space

    Raises ``ValueError`` for beta <= 0. Good steps: as for ``Langevin`` with V + u, and no longer
    than the time in which u changes.
    """

    potential: Any
    beta: float
    value: Any
    integrator: Integrator = field(default_factory=StochasticHeun)
    box: Grid | None = None

    def __post_init__(self) -> None:
        motion.check_beta(self.beta)

    @property
    def dim(self) -> int | None:
        """Number of coordinates, where potential, value or box fix it."""
        return motion.common_dim(potential=self.potential, value=self.value, box=self.box)

    @property
    def sigma(self) -> float:
        """√(2/β), the noise per square root of time."""
        return motion.noise_strength(self.beta)

    def drift(self, x: Any, t: float) -> Any:
        """-∇V(x) - ∇u(x, t), shape of ``x``."""
        from pdekit.particles.slopes import slope_at

        return (slope_at(self.potential, x, t) + slope_at(self.value, x, t)).neg_()

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
        """The Fokker-Planck equation of V + u; its potential has ``at(t)`` where u has.

        Raises ``ValueError`` for bare functions, which cannot be added.
        """
        from pdekit.pde.equations import FokkerPlanck

        total = Total(self.potential, self.value)
        return FokkerPlanck(total if hasattr(self.value, "at") else total.at(0.0), self.beta)
