"""Workers coupled to a centre (Elastic-SGD)."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from typing import TYPE_CHECKING, ClassVar

from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time, check_beta, slope
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.forces import means
from pdekit.particles.integrators import Draws, Step
from pdekit.protocols import Coefficient

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ElasticSGD(GradientDynamics):
    """ε dYⁱ = -(∇V(Yⁱ) + (Yⁱ - X)/γ) dt + √(2ε/β) dB, dX = -(X - Ȳ)/γ dt.

    The workers Yⁱ are attracted to the centre X, not to their mean, and X to their mean: the energy
    is Σ_i V(y_i) + |x - y_i|²/(2γ) (errata 28; mathematics 1.10, thesis (5.4)). As ε -> 0, X' =
    -∇u(X, γ), the local entropy of V, for every number of workers. **Particle 0 of each run is the
    centre**, so n workers are n + 1 particles; it starts from its own initial position.

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the beginning of the step
    beta : inverse temperature of the workers; ``inf`` for no noise
    gamma : γ, inverse strength of the coupling, ρ of (5.4)
    epsilon : time scale of the workers; 1/n is the gradient flow of the energy in time t/n

    Raises ``ValueError`` for numbers out of range or fewer than two particles. Euler's method,
    stable if dt times the larger eigenvalue of [[1, -1], [-1/ε, (γV'' + 1)/ε]]/γ is below 2, for
    which dt (1/γ + (V'' + 1/γ)/ε) < 2 is enough; good steps have 0.1 there.
    """

    potential: Coefficient
    beta: float
    gamma: float
    epsilon: float = 1.0
    coupled: ClassVar[bool] = True
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        check_parts(self)

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """The larger eigenvalue of centre and mean worker, (X, Ȳ)' = -A (X, Ȳ)."""
        centre, worker = 1 / self.gamma, (curvature + 1 / self.gamma) / self.epsilon
        return (centre + worker + hypot(centre - worker, 2 * centre / sqrt(self.epsilon))) / 2

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Euler's step of workers and centre together; ``state`` is overwritten."""
        if noise.size < 2:
            raise ValueError(
                "ElasticSGD needs n >= 2 (particle 0 is the centre, the others are workers); use a "
                "larger n"
            )
        centre = state[:, :1].clone()
        pull = (means(state[:, 1:], noise.size - 1) - centre) / self.gamma
        V = at_time(self.potential, step.start)
        change = (slope(V, state) + (state - centre) / self.gamma) * (-step.size / self.epsilon)
        if self.beta < float("inf"):
            change += noise.at(step.number) * sqrt(2 * step.size / (self.beta * self.epsilon))
        change[:, :1] = pull * step.size
        return state.add_(change)
