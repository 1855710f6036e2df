"""Langevin dynamics whose noise depends on the place, and what that is taken to mean."""

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pdekit.diffusions import as_diffusion
from pdekit.particles.diffusion import Downhill, at_time, check_beta, slope
from pdekit.particles.integrators import Step

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class MultiplicativeLangevin(Downhill):
    """dX = (-∇V(X) + F(X)) dt + √(2D(X)/β) dB, as Itô, Stratonovich or Hänggi-Klimontovich read it.

    SGD as a diffusion: V the loss, D the covariance of its gradients, β = 2 batch / learning rate
    (MODEL.md 1.11, thesis (6.2), errata 37). Euler's method with the drift that the reading adds.

    Parameters
    ----------
    potential : V
    beta : inverse temperature, > 0
    diffusion : D, a number, a matrix, or a function of points ``(..., d)`` with values ``(...)`` or
        ``(..., d, d)``, symmetric and positive definite; Itô's unless wrapped in ``Stratonovich``
        or ``HaenggiKlimontovich`` (`pdekit.diffusions`)
    force : F, a drift that need not be a gradient, ``(..., d) -> (..., d)``; None for none

    Raises ``ValueError`` for beta <= 0 or a D of the wrong shape or not positive definite. In
    more than one dimension D is factored at each particle in each step.
    """

    potential: Any
    beta: float
    diffusion: Any
    force: Any = None
    weak_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_beta(self.beta)
        object.__setattr__(self, "diffusion", as_diffusion(self.diffusion))

    def drift(self, x: Any, t: float) -> Any:
        """Itô's drift: -∇V + F and what the reading adds."""
        drift = self.diffusion.correction(x) / self.beta - slope(at_time(self.potential, t), x)
        return drift if self.force is None else drift + at_time(self.force, t)(x)

    def step(self, state: Any, step: Step, noise: Any) -> Any:
        """Euler's step; ``state`` is overwritten."""
        kicks = (self._factor(state) @ noise.at(step.number)[..., None])[..., 0]
        change = self.drift(state, step.start) * step.size
        return state.add_(change).add_(kicks * sqrt(2 * step.size / self.beta))

    def law(self) -> "FokkerPlanck":
        """ρ_t = ∇·((∇V - F)ρ) + β⁻¹ times ∇·∇·(Dρ), or what the other readings make of it."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta, self.force, self.diffusion)

    def _factor(self, x: Any) -> Any:
        """A matrix with ``B Bᵀ = D(x)``."""
        value = self.diffusion.tensor(x)
        if x.shape[-1] == 1:
            bad = value <= 0
            factor = value.sqrt()
        else:
            factor, info = torch.linalg.cholesky_ex(value)
            bad = info > 0
        if torch.compiler.is_compiling():  # no value is looked at: NaN stops the simulation
            return factor.masked_fill(bad.reshape(*x.shape[:-1], 1, 1), nan)
        if bool(bad.any()):
            where = x[bad.reshape(x.shape[:-1])][0].tolist()
            raise ValueError(f"diffusion must be positive definite, which it is not at {where}")
        return factor
