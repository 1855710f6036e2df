"""Langevin dynamics of interacting particles (MF-SGLD)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, ClassVar

from pdekit.grid import Grid
from pdekit.interactions import is_quadratic, of_two_points
from pdekit.particles.dynamics.diffusion import Diffusion, at_time, check_beta, fold
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.forces import ExactSum, Summation, mean_force
from pdekit.particles.integrators import Draws, Fast, Integrator, LeimkuhlerMatthews, Step
from pdekit.particles.noise import CHOICE
from pdekit.protocols import Coefficient, Interaction, MeanForce

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import McKeanVlasov


@dataclass(frozen=True)
class InteractingLangevin(Diffusion):
    """dXⁱ = -∇V(Xⁱ) dt - N⁻¹ Σ_j ∇W(Xⁱ - Xʲ) dt + √(2/β) dBⁱ, for the particles of a run.

    mathematics 1.6; Kantas et al. (5)-(7). Its law on R^{Nd} is stationary at
    exp(-β [Σ V(x_i) + (2N)⁻¹ Σ_ij W(x_i - x_j)]); as N grows each particle follows the
    McKean-Vlasov equation. Runs are independent.

    Parameters
    ----------
    potential : V, as for ``Langevin``
    beta : inverse temperature, > 0; ``math.inf`` for no noise
    interaction : ``CurieWeiss(strength)`` (O(N), by the mean), ``PairPotential(W)``, ``L1`` or
        ``Consensus`` of `pdekit.particles.forces`; of two points ``FeatureInteraction(features)``
        (O(N), by means of features) or ``KernelInteraction(U)``, with ∇_x U(Xⁱ, Xʲ) for ∇W
    summation : ``ExactSum()`` over all pairs, ``ChebyshevSum(tolerance)`` for a smooth W in up to
        three dimensions, ``RandomBatch(partners)``; only for interactions without a closed formula
    integrator : ``LeimkuhlerMatthews()`` is second order in the law on R^{Nd}, ``EulerMaruyama()``
        the papers' MF-SGLD
    box : a Grid whose walls reflect; on a periodic axis W is evaluated at the shortest displacement

    There are no walls that take particles, nor killing: whether those that are left feel the mean
    of themselves or of all that started are two models, and ``McKeanVlasov``, which keeps its mass,
    is neither.

    Raises ``ValueError`` for beta <= 0, different dimensions of W and V, or an interaction through
    a mean on a periodic axis. Good steps: dt (largest curvature + strength) below 0.1, below 2
    for stability.
    """

    potential: Coefficient
    beta: float
    interaction: Interaction | MeanForce
    summation: Summation = field(default_factory=ExactSum)
    integrator: Integrator = field(default_factory=LeimkuhlerMatthews)
    box: Grid | None = None
    coupled: ClassVar[bool] = True
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        check_parts(self)
        check_interaction(self.interaction, self.potential)
        periodic = self.box is not None and any(self.box.periodic)
        smooth = getattr(self.summation, "smooth", False)  # as W of the shortest displacement isn't
        wrapped = hasattr(self.interaction, "potential") and not smooth
        wrapped = wrapped or of_two_points(self.interaction)
        if periodic and not wrapped:
            raise ValueError(
                f"{self.interaction!r} by {self.summation!r} has no shortest displacement on a "
                "periodic axis; use PairPotential(W) with ExactSum() or RandomBatch()"
            )

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """V alone."""
        return (self.potential,)

    @property
    def autonomous(self) -> bool:
        """Whether the drift does not depend on time: V has no ``at(t)``."""
        return not hasattr(self.potential, "at")

    @property
    def attracted(self) -> float | None:
        """λ of an attraction to the mean alone, W = λ|z|²/2 with λ >= 0; else None.

        The Jacobian of all particles is then diag(∇²V + λ) - λ/N, whose largest eigenvalue lies
        between the two largest of ∇²V + λ.
        """
        own = type(self).drift is InteractingLangevin.drift
        if not (own and is_quadratic(self.interaction) and self.interaction.strength >= 0):
            return None
        return self.interaction.strength

    def drift(self, x: Tensor, t: float) -> Tensor:
        """The drift of all particles ``(runs, n, dim)``, over all pairs."""
        return self._drift(x, t, x.shape[1], None)

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""

        def draw() -> Tensor:
            return noise.choices(step.number, CHOICE)[:, : noise.size, 0]

        def drift(x: Tensor, t: float) -> Tensor:
            inside, sign = fold(x, self.box)
            value = self._drift(inside, t, noise.size, draw)
            return value if sign is None else value * sign

        y = self.integrator.step(drift, state, self.sigma, step, noise)
        return fold(y, self.box)[0]

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        from pdekit.particles.fused import of_mean

        return of_mean(self, x)

    def law(self) -> McKeanVlasov:
        """ρ_t = ∇·(ρ∇(V + W*ρ) + β⁻¹∇ρ), the limit of many particles.

        Raises ``TypeError`` for an interaction that is not a pair potential.
        """
        if not callable(self.interaction):
            raise TypeError(
                f"{self.interaction!r} is not a pair interaction W(x - y), so it has no "
                "McKean-Vlasov equation; use PairPotential(W)"
            )
        from pdekit.pde.equations import McKeanVlasov

        return McKeanVlasov(self.potential, self.beta, self.interaction)

    def _drift(self, x: Tensor, t: float, size: int, draw: Callable[[], Tensor] | None) -> Tensor:
        period = None
        if self.box is not None and any(self.box.periodic):
            spans = zip(self.box.lower, self.box.upper, self.box.periodic, strict=True)
            period = x.new_tensor([b - a if wraps else inf for a, b, wraps in spans])
        V = at_time(self.potential, t)
        force = mean_force(self.interaction, self.summation, x, size, V, draw, period)
        return Diffusion.drift(self, x, t) - force


def check_interaction(interaction: object, potential: object) -> None:
    """``TypeError`` for no interaction, ``ValueError`` for one of another dimension."""
    known = hasattr(interaction, "mean_force") or callable(getattr(interaction, "grad", None))
    if isinstance(interaction, type) or not known:
        raise TypeError(
            "interaction must be CurieWeiss(strength), PairPotential(W), L1(strength) or "
            f"Consensus(strength, sharpness), got {interaction!r}"
        )
    dims = getattr(interaction, "dim", None), getattr(potential, "dim", None)
    if None not in dims and dims[0] != dims[1]:
        raise ValueError(
            f"{interaction!r} and {potential!r} have {dims[0]} and {dims[1]} coordinates"
        )
