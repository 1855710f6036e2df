"""Langevin proposals, accepted or rejected so that the law is exact (MALA)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

from pdekit import checks
from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import (
    GradientDynamics,
    at_time,
    check_beta,
    fold,
    slope,
    wide_step,
)
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.noise import ACCEPTANCE, PROBE, Address, fill_normals
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import FokkerPlanck

_FEW = 0.05  # of the proposals
_COARSE = 0.1  # beta times the spacing of V, by which 2 % more of them are rejected


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
    box : a Grid with reflecting walls and wrapping periodic axes, where the law is exact too; None
        for the whole space
    walls, killing, resetting : as for ``Langevin``, but no wall that absorbs in part: which ends
        are rejected is not independent of the time at the wall. A proposal that meets a wall on
        its way stops there, accepted or not, which is of weak order one

    Raises ``ValueError`` for beta <= 0 and a V that is not finite at the start. Good steps: three
    in five proposals accepted; where V is steep a rejected chain does not move, and shorter
    steps are needed. Warns (``AccuracyWarning``) if fewer than one in twenty is accepted at the
    initial particles.
    """

    potential: Coefficient
    beta: float
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[float] = inf
    pure: ClassVar[bool] = True
    sees_values: ClassVar[bool] = True  # so that V may jump

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)
        check_stopping(self)
        _check_rates(self)

    @property
    def sigma(self) -> float:
        """√(2/β), the noise per square root of time."""
        return sqrt(2 / self.beta)

    def variance(self, x: Tensor, step: Step) -> float:
        """Of the noise of a step in each coordinate."""
        return 2 * step.size / self.beta

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """Zero: too long a step is rejected, not unstable."""
        return 0.0

    def init(self, x: Tensor) -> Tensor:
        """The positions, at which V must be finite, since the acceptance ratio needs it."""
        x = fold(x, self.box)[0]
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
        y, accepted = self.proposal(state, step, noise)
        return state.copy_(fold(y, self.box)[0].where(accepted, state))

    def proposal(self, x: Tensor, step: Step, noise: Draws) -> tuple[Tensor, Tensor]:
        """Proposals as if there were no walls, and which are accepted ``(..., 1)``."""
        y, gain = self._proposed(x, step.size, step.start, noise.at(step.number))
        return y, noise.uniforms(step.number, ACCEPTANCE).log() < gain[..., None]

    def euler(self, x: Tensor, t: float, h: Any, root: Any, xi: Tensor) -> Tensor:
        """A proposal of the size h with the square root ``root``."""
        change: Tensor = xi * (root * self.sigma) + self.drift(x, t) * h
        return x + change

    def _proposed(self, x: Tensor, h: float, t: float, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals, and the logarithms of the probabilities that they are accepted."""
        V = at_time(self.potential, t)
        here = slope(V, x)
        y = x + (xi * sqrt(2 * h / self.beta) - here * h)
        # beyond a wall V goes on as its mirror image, so that detailed balance holds there too
        inside, sign = fold(y, self.box)
        there = slope(V, inside) if sign is None else slope(V, inside) * sign
        # of the noises of both moves from the way that is left after rounding: ξ is that of another
        gain = (((y - x) * 2 + (here - there) * h) * (here + there)).sum(dim=-1) * (self.beta / 4)
        gain += (V(x) - V(inside)) * self.beta
        # proposals where V is not finite are rejected
        return y, gain.nan_to_num(nan=-inf).masked_fill(~y.isfinite().all(-1), -inf)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if hardly any proposals from the points ``x`` are accepted, or V is rounded."""
        xi = fill_normals(x.new_empty(1, x.numel()), Address(0, channel=PROBE)).view_as(x)

        def accepted(h: float) -> float:
            return float(self._proposed(x, h, t, xi)[1].exp().clamp_max(1.0).mean())

        share = accepted(size)
        if share > _FEW:
            return wide_step(self, x, size, t) or self._rounded(at_time(self.potential, t)(x))
        shorter = (size / 2**k for k in range(1, 60))
        good = next((h for h in shorter if accepted(h) > 0.5), 0.0)
        what = f"dt <= {good:.1g} has half of them" if good else "start where V is less steep"
        return (
            f"of the proposals from the initial particles {share:.2%} are accepted: the chain does "
            f"not move; {what}"
        )

    def _rounded(self, values: Tensor) -> str:
        """A warning if the spacing of values of V makes proposals be rejected at random."""
        import torch

        size = float(values.abs().nan_to_num(0.0, 0.0, 0.0).mean())
        apart = size * torch.finfo(values.dtype).eps
        if self.beta * apart <= _COARSE:
            return ""
        return (
            f"values of V, of {size:.2g}, are rounded to {apart:.2g} = {self.beta * apart:.2g} / "
            "beta, so that proposals are rejected at random and particles move too slowly; take "
            "dtype='float64', or subtract a constant from V"
        )

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·(ρ∇V + β⁻¹∇ρ), the limit of short steps; its stationary law at every step."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta, **endings(self))


def _check_rates(dynamics: MetropolisLangevin) -> None:
    """``ValueError`` for walls that absorb in part."""
    box = dynamics.box
    if dynamics.walls is None or box is None:
        return
    ends = dynamics.walls.per_axis(box.periodic)
    if any(0 < end.rate < inf for pair in ends for end in pair):
        raise ValueError(
            "MetropolisLangevin: walls reflect or absorb, got "
            f"{checks.shown(dynamics.walls)}; Langevin takes PartlyAbsorbing"
        )
