"""Langevin proposals, accepted or refused so that the law is exact (MALA)."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

from pdekit.particles.diffusion import Downhill, at_time, check_beta, slope
from pdekit.particles.integrators import Step
from pdekit.particles.noise import ACCEPTANCE

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class MetropolisLangevin(Downhill):
    """dX = -∇V(X) dt + √(2/β) dB by Euler's step and Metropolis' rule: e^{-βV} exactly.

    X* = X - h ∇V(X) + √(2h/β) ξ is accepted with probability min(1, e^{-βV(X*)} q(X*, X) /
    (e^{-βV(X)} q(X, X*))), q the density of the proposal (Roberts and Tweedie 1996, MALA). The
    stationary law has no error at any step; at finite time the weak order is 1.

    Parameters
    ----------
    potential : V, with values as well as slopes; of one that moves (``at(t)``) a step takes both
        at its beginning
    beta : inverse temperature, > 0

    Raises ``ValueError`` for beta <= 0. Good steps: three in five proposals accepted; where V
    is steep a chain that is refused stands still, and no longer steps help.
    """

    potential: Any
    beta: float
    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[float] = inf

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """Zero: a step too long is refused, not unstable."""
        return 0.0

    def step(self, state: Any, step: Step, noise: Any) -> Any:
        """The state one step later; ``state`` is overwritten."""
        h, x, V = step.size, state, at_time(self.potential, step.start)
        xi = noise.at(step.number)
        y = x - slope(V, x) * h + xi * sqrt(2 * h / self.beta)
        # what the noise of the way back would have to be
        back = (x - y + slope(V, y) * h) * sqrt(self.beta / (2 * h))
        gain = (xi * xi - back * back).sum(dim=-1) / 2
        gain += (V(x) - V(y)) * self.beta
        u = noise.uniforms(step.number, ACCEPTANCE)
        # a proposal where V is not finite is refused
        accepted = (u.log() < gain[..., None].nan_to_num(nan=-inf)) & y.isfinite().all(-1, True)
        return state.copy_(y.where(accepted, x))

    def law(self) -> "FokkerPlanck":
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), the limit of short steps; its stationary law at every step."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta)
