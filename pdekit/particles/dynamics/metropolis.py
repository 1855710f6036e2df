"""Langevin proposals, accepted or rejected so that the law is exact (MALA)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, ClassVar

from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time, check_beta, slope
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.noise import ACCEPTANCE, PROBE, Address, fill_normals
from pdekit.protocols import Coefficient

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import FokkerPlanck

_FEW = 0.05  # of the proposals


@dataclass(frozen=True)
class MetropolisLangevin(GradientDynamics):
    """dX = -∇V(X) dt + √(2/β) dB by Euler's step and Metropolis' rule: e^{-βV} exactly.

    X* = X - h ∇V(X) + √(2h/β) ξ is accepted with probability min(1, e^{-βV(X*)} q(X*, X) /
    (e^{-βV(X)} q(X, X*))), q the density of the proposal (Roberts and Tweedie 1996, MALA). The
    stationary law has no error at any step; at finite time the weak order is 1.

    Parameters
    ----------
    potential : V, with values as well as slopes; if time-dependent (``at(t)``), evaluated at
        the beginning of the step
    beta : inverse temperature, > 0

    Raises ``ValueError`` for beta <= 0 and a V that is not finite at the start. Good steps: three
    in five proposals accepted; where V is steep a rejected chain does not move, and shorter
    steps are needed. Warns (``AccuracyWarning``) if fewer than one in twenty is accepted at the
    initial particles.
    """

    potential: Coefficient
    beta: float
    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[float] = inf
    pure: ClassVar[bool] = True
    sees_values: ClassVar[bool] = True  # so that V may jump

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)

    @property
    def sigma(self) -> float:
        """√(2/β), the noise per square root of time."""
        return sqrt(2 / self.beta)

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """Zero: too long a step is rejected, not unstable."""
        return 0.0

    def init(self, x: Tensor) -> Tensor:
        """The positions, at which V must be finite, since the acceptance ratio needs it."""
        values = at_time(self.potential, 0.0)(x)
        bad = ~values.isfinite()
        if not bad.is_meta and bool(bad.any()):  # meta tensors, used in tracing, have no values
            raise ValueError(
                "MetropolisLangevin needs finite values of V at the initial particles, got "
                f"V({x[bad][0].tolist()}) = {float(values[bad][0])}; start elsewhere"
            )
        return x

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        y, gain = self._proposed(state, step.size, step.start, noise.at(step.number))
        u = noise.uniforms(step.number, ACCEPTANCE)
        return state.copy_(y.where(u.log() < gain[..., None], state))

    def _proposed(self, x: Tensor, h: float, t: float, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals, and the logarithms of the probabilities that they are accepted."""
        V = at_time(self.potential, t)
        y = x + (xi * sqrt(2 * h / self.beta) - slope(V, x) * h)
        # the noise of the reverse move
        back = (x - y + slope(V, y) * h) * sqrt(self.beta / (2 * h))
        gain = (xi * xi - back * back).sum(dim=-1) / 2
        gain += (V(x) - V(y)) * self.beta
        # proposals where V is not finite are rejected
        return y, gain.nan_to_num(nan=-inf).masked_fill(~y.isfinite().all(-1), -inf)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if hardly any proposals from the points ``x`` are accepted."""
        xi = fill_normals(x.new_empty(1, x.numel()), Address(0, channel=PROBE)).view_as(x)

        def accepted(h: float) -> float:
            return float(self._proposed(x, h, t, xi)[1].exp().clamp_max(1.0).mean())

        share = accepted(size)
        if share > _FEW:
            return ""
        shorter = (size / 2**k for k in range(1, 60))
        good = next((h for h in shorter if accepted(h) > 0.5), 0.0)
        what = f"dt <= {good:.1g} has half of them" if good else "start where V is less steep"
        return (
            f"of the proposals from the initial particles {share:.2%} are accepted: the chain does "
            f"not move; {what}"
        )

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), the limit of short steps; its stationary law at every step."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta)
