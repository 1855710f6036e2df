"""Langevin dynamics whose noise depends on the place, and what that is taken to mean."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from array_api_compat import array_namespace, device

from pdekit.particles.diffusion import Downhill, check_beta, slope
from pdekit.particles.integrators import Step

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck

Field = Callable[[Any], Any]  # points (..., d) -> matrices (..., d, d)


class Calculus(Protocol):
    """At which point of a step the noise is read, as the drift that Itô's rule must add."""

    def correction(self, diffusion: Field, x: Any) -> Any:
        """β times that drift, for points ``(..., d)``."""
        ...


@dataclass(frozen=True)
class Ito:
    """At the beginning: ρ_t = ∇·(∇V ρ + β⁻¹ ∇·(Dρ)) (MODEL.md 1.11; thesis (6.8))."""

    def correction(self, diffusion: Field, x: Any) -> Any:
        return x * 0


@dataclass(frozen=True)
class Stratonovich:
    """In the middle, √D the symmetric root: ρ_t = ∇·(∇V ρ + β⁻¹ √D ∇·(√D ρ))."""

    def correction(self, diffusion: Field, x: Any) -> Any:
        root = _root(diffusion(x))
        slopes = _partials(lambda y: _root(diffusion(y)), x)
        # Σ_jk S_jk ∂_j S_ik
        return sum((s @ root[..., j, :, None])[..., 0] for j, s in enumerate(slopes))


@dataclass(frozen=True)
class HanggiKlimontovich:
    """At the end: ρ_t = ∇·(∇V ρ + β⁻¹ D∇ρ), Fick's law (thesis Remark 6.9, errata 40, 41)."""

    def correction(self, diffusion: Field, x: Any) -> Any:
        # Σ_j ∂_j D_ij
        return sum(s[..., :, j] for j, s in enumerate(_partials(diffusion, x)))


@dataclass(frozen=True)
class ItoForce:
    """A force with the drift of a calculus added: what Itô's equation has to be given."""

    force: Any
    diffusion: Any
    calculus: Calculus
    beta: float

    def __call__(self, x: Any) -> Any:
        added = self.calculus.correction(_field(self.diffusion), x) / self.beta
        return added if self.force is None else self.force(x) + added


@dataclass(frozen=True)
class MultiplicativeLangevin(Downhill):
    """dX = (-∇V(X) + F(X)) dt + √(2D(X)/β) dB, read by Itô, Stratonovich or Hänggi-Klimontovich.

    SGD as a diffusion: V the loss, D the covariance of its gradients, β = 2 batch / learning rate
    (MODEL.md 1.11, thesis (6.2), errata 37). Euler's method with the drift that the calculus adds.

    Parameters
    ----------
    potential : V
    beta : inverse temperature, > 0
    diffusion : D, a constant matrix (nested tuples) or a function of points ``(..., d)`` ->
        ``(..., d, d)``, symmetric and positive definite; in one dimension ``(..., 1, 1)``
    calculus : ``Ito()``, ``Stratonovich()`` or ``HanggiKlimontovich()``
    force : F, a drift that need not be a gradient, ``(..., d) -> (..., d)``; None for none

    Raises ``ValueError`` for beta <= 0 or a D of the wrong shape or not positive definite. In
    more than one dimension D is factored at each particle in each step.
    """

    potential: Any
    beta: float
    diffusion: Any
    calculus: Calculus = field(default_factory=Ito)
    force: Any = None
    weak_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def drift(self, x: Any, t: float) -> Any:
        """Itô's drift: -∇V + F and what the calculus adds."""
        force = ItoForce(self.force, self.diffusion, self.calculus, self.beta)
        return force(x) - slope(self.potential, x)

    def step(self, state: Any, step: Step, noise: Any) -> Any:
        """Euler's step; ``state`` is overwritten."""
        kicks = (self._factor(state) @ noise.at(step.number)[..., None])[..., 0]
        change = self.drift(state, step.start) * step.size
        return state.add_(change).add_(kicks * sqrt(2 * step.size / self.beta))

    def law(self) -> "FokkerPlanck":
        """Itô's equation ρ_t = ∇·((∇V - F)ρ + β⁻¹∇·(Dρ)), F with the drift of the calculus."""
        from pdekit.pde.equations import FokkerPlanck

        force = self.force
        if not isinstance(self.calculus, Ito):
            force = ItoForce(self.force, self.diffusion, self.calculus, self.beta)
        return FokkerPlanck(self.potential, self.beta, force, self.diffusion)

    def _factor(self, x: Any) -> Any:
        """A matrix with ``B Bᵀ = D(x)``."""
        value = _field(self.diffusion)(x)
        if value.shape != (*x.shape, x.shape[-1]):
            raise ValueError(
                f"diffusion must map points of shape {tuple(x.shape)} to matrices of shape "
                f"{(*x.shape, x.shape[-1])}, got shape {tuple(value.shape)}"
            )
        if x.shape[-1] == 1:
            bad = value <= 0
            factor = value.sqrt()
        else:
            factor, info = torch.linalg.cholesky_ex(value)
            bad = info > 0
        if bool(bad.any()):
            where = x[bad.reshape(x.shape[:-1])][0].tolist()
            raise ValueError(f"diffusion must be positive definite, which it is not at {where}")
        return factor


def _field(diffusion: Any) -> Field:
    if callable(diffusion):
        return diffusion

    def constant(x: Any) -> Any:
        xp = array_namespace(x)
        matrix = xp.asarray(diffusion, dtype=x.dtype, device=device(x))
        return xp.broadcast_to(matrix, (*x.shape, x.shape[-1]))

    return constant


def _root(matrix: Any) -> Any:
    """The symmetric root of symmetric matrices ``(..., d, d)``."""
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.sqrt(matrix)
    values, vectors = xp.linalg.eigh(matrix)
    return (vectors * xp.sqrt(values)[..., None, :]) @ xp.matrix_transpose(vectors)


def _partials(function: Field, x: Any) -> Iterator[Any]:
    """Central differences along each coordinate: relative error 1e-10 in float64."""
    xp = array_namespace(x)
    h = float(xp.finfo(x.dtype).eps) ** (1 / 3)
    for k in range(x.shape[-1]):
        shift = xp.asarray(
            [h * (j == k) for j in range(x.shape[-1])], dtype=x.dtype, device=device(x)
        )
        yield (function(x + shift) - function(x - shift)) / (2 * h)
