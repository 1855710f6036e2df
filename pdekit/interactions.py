"""Pair interactions W(x - y) of particles, for McKean-Vlasov equations and for ensembles alike.

``CurieWeiss(strength)``, ``L1`` and ``Consensus`` have formulas of their own, any other W is a
``PairPotential(W)``; ``GaussianWell``, ``Morse``, ``PowerLaw``, ``SmoothL1`` and ``Kuramoto`` are
named W for it, as potentials of the displacement: ``PairPotential(Kuramoto(2.0))``.

An interaction declares its properties. All have ``strength``, where its force is
proportional to one number. Pair interactions W(x - y) have ``interaction(z)`` and ``grad(z)``.
Those with a formula for particles have ``mean_force``, ``by_mean`` where particles act on each
other by a mean alone, so that ranks can share it, and ``pure`` where the formula depends on its
arguments alone, so that torch may trace it. ``quadratic``: W is strength |z|²/2. ``sums_pairs``:
the force is the sum of ∇W of its ``potential``, of which kernels know one that is ``gaussian``.
``two_points``: it is U(x, y), no function of x - y; what it offers then is in
`pdekit.point_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from pdekit import checks
from pdekit.potentials import Potential, as_potential
from pdekit.potentials.protocol import points, whole_dim
from pdekit.potentials.user_parts import check_parts

_LONGEST = 1e100


class Crowd(Protocol):
    """Statistics over all particles of a run, on whichever rank they are."""

    size: int  # number of actual particles in x ``(runs, padded n, dim)``; the rest is padding

    def mean(self, x: Any) -> Any:
        """(runs, 1, dim)."""
        ...

    def weighted_mean(self, x: Any, cost: Any) -> Any:
        """Σ_j x_j exp(-cost_j) / Σ_j exp(-cost_j), ``cost`` (runs, padded n)."""
        ...


@dataclass(frozen=True)
class CurieWeiss:
    """W(z) = strength |z|^2 / 2: every particle is attracted to the mean, force -strength (x -
    mean).

    ``strength`` is λ of mathematics 1.6 (Kantas et al. (5)-(9)), in units of the potential per
    coordinate squared. A negative one repels.
    """

    strength: float
    by_mean: ClassVar[bool] = True
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.parameters(self, strength=checks.number)

    @property
    def quadratic(self) -> bool:
        """Whether W and its force are these formulas, which a subclass may have replaced."""
        formulas = ("__call__", "grad", "mean_force")
        return all(getattr(type(self), name) is getattr(CurieWeiss, name) for name in formulas)

    def __call__(self, z: Any) -> Any:
        """W(z): (..., d) -> (...)."""
        return self.strength * (z * z).sum(-1) / 2

    def grad(self, z: Any) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        return self.strength * z

    def mean_force(self, x: Any, values: Any, crowd: Crowd) -> Any:
        """strength (x - x̄)."""
        return self.strength * (x - crowd.mean(x))


@dataclass(frozen=True)
class L1:
    """W(z) = strength Σ_k |z_k|: attraction that does not grow with distance (Kantas et al. (7)).

    Its force counts the particles on either side, by sorting: O(N log N) a step, exact. At the kink
    the force is zero. The jump of the force makes every integrator first order.
    """

    strength: float
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.parameters(self, strength=checks.number)

    def __call__(self, z: Any) -> Any:
        """W(z): (..., d) -> (...)."""
        return self.strength * abs(z).sum(-1)

    def grad(self, z: Any) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        return self.strength * array_namespace(z).sign(z)

    def mean_force(self, x: Any, values: Any, crowd: Crowd) -> Any:
        """N⁻¹ Σ_j ∇W(x_i - x_j)."""
        import torch

        size = crowd.size
        lines = x[:, :size].transpose(1, 2).contiguous()
        ordered = lines.sort(dim=-1).values
        below = torch.searchsorted(ordered, lines, right=False)
        not_above = torch.searchsorted(ordered, lines, right=True)
        count = (below + not_above - size).to(x.dtype)
        out = torch.zeros_like(x)
        out[:, :size] = (count * (self.strength / size)).transpose(1, 2)
        return out


@dataclass(frozen=True)
class Consensus:
    """Attraction to the mean weighted by cost: -strength (x - x̄), x̄ ∝ Σ_j x_j e^{-sharpness V}.

    Pinnau, Totzeck, Tse and Martin 2017, named by Kantas et al. 6.1 as a remedy for symmetric
    landscapes. ``sharpness`` = 0 is ``CurieWeiss(strength)``; for large values the mean follows
    the best particle. Not a pair interaction: its limit is not a ``McKeanVlasov`` equation.
    """

    strength: float
    sharpness: float = 10.0
    by_mean: ClassVar[bool] = True
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.parameters(self, strength=checks.number, sharpness=checks.number)

    def mean_force(self, x: Any, values: Callable[[Any], Any], crowd: Crowd) -> Any:
        """strength (x - x̄)."""
        return self.strength * (x - crowd.weighted_mean(x, values(x) * self.sharpness))


@dataclass(frozen=True)
class PairPotential:
    """Any even W: the energy is ½ ∬ W(x - y) rho(dx) rho(dy), the force -∇W * rho.

    ``potential`` is a potential of the displacement (with ``grad``), or a function of points
    ``(..., d) -> (...)``; ``dim`` is the number of coordinates if it is a bare function.
    Raises ``ValueError`` where W(z) and W(-z) differ: the forces would not be mutual, and there
    would be no free energy.
    """

    potential: Potential
    dim: int
    sums_pairs: ClassVar[bool] = True

    def __init__(self, potential: Potential | Callable[[Any], Any], dim: int = 1) -> None:
        checks.function("PairPotential: potential", potential, "map displacements to values")
        dim = getattr(potential, "dim", whole_dim(dim, self))
        checks.fixed("potential", potential)
        object.__setattr__(self, "dim", dim)
        object.__setattr__(self, "potential", as_potential(potential, dim))
        probe = np.outer([0.1, 0.2, 0.4, 0.7, 1.2, 1.9, 3.1], np.cos(np.arange(dim)))
        there, back = (
            checks.finite(f"W({name})", self.potential(z), "finite values of W(z)")
            for name, z in (("z", probe), ("-z", -probe))
        )
        require_even(there, back, self.potential)
        check_parts("the pair potential", self.potential, np.concatenate([-probe, probe]), None)

    def __call__(self, z: Any) -> Any:
        """W(z): (..., d) -> (...)."""
        return self.potential(z)

    def grad(self, z: Any) -> Any:
        """∇W(z): (..., d) -> (..., d); 0 at z = 0, as W is even, also where it has a kink there."""
        slope = self.potential.grad(z)
        xp = array_namespace(slope)
        known = not is_traced(slope) and str(getattr(slope, "device", "")) != "meta"
        if known and not bool(xp.any(self._at_zero(xp, z))):
            return slope
        return xp.where((z == 0).all(-1)[..., None], xp.zeros_like(slope), slope)

    def _at_zero(self, xp: Any, z: Any) -> Any:
        """What the potential says of its slope at 0, a side's or NaN where it has a kink there."""
        return self.potential.grad(xp.zeros_like(xp.reshape(z, (-1, z.shape[-1]))[:1]))


def is_traced(x: Any) -> bool:
    """Whether torch is compiling what is computed from x, whose values are not known then."""
    if not is_torch_array(x):
        return False
    import torch

    return torch.compiler.is_compiling()


def is_quadratic(interaction: Any) -> TypeGuard[CurieWeiss]:
    """Whether W is strength |z|²/2, so that only the mean matters."""
    return bool(getattr(interaction, "quadratic", False))


def of_two_points(interaction: Any) -> bool:
    """Whether it is a symmetric kernel U(x, y) that is no function of x - y."""
    return bool(getattr(interaction, "two_points", False))


def require_even(there: Any, back: Any, owner: Any) -> None:
    """Raise ``ValueError`` unless W(z) = W(-z) in the samples given."""
    if np.allclose(there, back, rtol=1e-9, atol=1e-9 * float(np.abs(there).max()), equal_nan=True):
        return
    k = int(np.nanargmax(np.abs(there - back)))
    raise ValueError(
        f"a pair potential must be even, W(z) = W(-z); {owner!r} has {there.flat[k]:.6g} and "
        f"{back.flat[k]:.6g} at opposite displacements. Take (W(z) + W(-z)) / 2"
    )


@dataclass(frozen=True)
class GaussianWell:
    """W(z) = -strength exp(-|z|² / (2 width²)): attraction of short range; strength < 0 repels."""

    strength: float = 1.0
    width: float = 1.0
    dim: int = 1
    gaussian: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self, "width")

    def __call__(self, z: Any) -> Any:
        xp, z = points(z, self.dim, self)
        return -self.strength * xp.exp(-xp.sum(z * z, axis=-1) / (2 * self.width**2))

    def grad(self, z: Any) -> Any:
        return -self(z)[..., None] / self.width**2 * z


@dataclass(frozen=True)
class Morse:
    """W(z) = repulsion exp(-r / repulsion_length) - attraction exp(-r / attraction_length).

    r = sqrt(|z|² + softening²) - softening: the cusp of W at 0 is smoothed over
    ``softening``, so that the gradient is defined there. Good values: repulsion 2 at length 0.5
    against attraction 1 at length 1.
    """

    attraction: float = 1.0
    attraction_length: float = 1.0
    repulsion: float = 2.0
    repulsion_length: float = 0.5
    softening: float = 0.05
    dim: int = 1

    def __post_init__(self) -> None:
        _check(self, "attraction_length", "repulsion_length", "softening")

    def __call__(self, z: Any) -> Any:
        xp, r = _radius(z, self)
        r = r - self.softening
        pull = self.attraction * xp.exp(-r / self.attraction_length)
        return self.repulsion * xp.exp(-r / self.repulsion_length) - pull

    def grad(self, z: Any) -> Any:
        xp, radius = _radius(z, self)
        r = radius - self.softening
        pull = self.attraction / self.attraction_length * xp.exp(-r / self.attraction_length)
        push = self.repulsion / self.repulsion_length * xp.exp(-r / self.repulsion_length)
        return ((pull - push) / radius)[..., None] * z


@dataclass(frozen=True)
class PowerLaw:
    """W(z) = strength (r^a / a - r^b / b), r = sqrt(|z|² + softening²), a > b > 0.

    Attractive at long range, repulsive at short range: the equilibrium distance of two is 1
    (swarming models). Good values: a = 4, b = 2; a = 2, b = 1.
    """

    strength: float = 1.0
    a: float = 4.0
    b: float = 2.0
    softening: float = 0.05
    dim: int = 1

    def __post_init__(self) -> None:
        _check(self, "a", "b", "softening")
        if not self.a > self.b:
            raise ValueError(f"PowerLaw: a must exceed b, for attraction far off; got {self}")

    def __call__(self, z: Any) -> Any:
        _, r = _radius(z, self)
        return self.strength * (r**self.a / self.a - r**self.b / self.b)

    def grad(self, z: Any) -> Any:
        _, r = _radius(z, self)
        return self.strength * (r ** (self.a - 2) - r ** (self.b - 2))[..., None] * z


@dataclass(frozen=True)
class SmoothL1:
    """W(z) = strength Σ_k (sqrt(z_k² + width²) - width): the l1 distance, smoothed at zero."""

    strength: float = 1.0
    width: float = 0.05
    dim: int = 1

    def __post_init__(self) -> None:
        _check(self, "width")

    def __call__(self, z: Any) -> Any:
        xp, z = points(z, self.dim, self)
        return self.strength * xp.sum(xp.sqrt(z * z + self.width**2) - self.width, axis=-1)

    def grad(self, z: Any) -> Any:
        xp, z = points(z, self.dim, self)
        return self.strength * z / xp.sqrt(z * z + self.width**2)


@dataclass(frozen=True)
class Kuramoto:
    """W(z) = -strength Σ_k cos z_k: oscillators with phases on a circle of length 2π.

    With V = 0 the incoherent state is stable below strength beta = 2.
    """

    strength: float = 1.0
    dim: int = 1

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, z: Any) -> Any:
        xp, z = points(z, self.dim, self)
        return -self.strength * xp.sum(xp.cos(z), axis=-1)

    def grad(self, z: Any) -> Any:
        return self.strength * array_namespace(z).sin(z)


def _radius(z: Any, kernel: Any) -> tuple[Any, Any]:
    """sqrt(|z|² + softening²), and the array namespace of z."""
    xp, z = points(z, kernel.dim, kernel)
    return xp, xp.sqrt(xp.sum(z * z, axis=-1) + kernel.softening**2)


def _check(kernel: Any, *lengths: str) -> None:
    """Finite numbers throughout, positive ``lengths``, a whole ``dim``."""
    object.__setattr__(kernel, "dim", whole_dim(kernel.dim, kernel))
    plain = {name: checks.number for name in vars(kernel) if name != "dim"}
    checks.parameters(kernel, **(plain | dict.fromkeys(lengths, _length)))


def _length(name: str, value: Any) -> float:
    """A positive number whose square neither overflows nor vanishes."""
    out = checks.positive(name, value)
    if not 1 / _LONGEST <= out <= _LONGEST:
        raise ValueError(
            f"{name} must be between {1 / _LONGEST:g} and {_LONGEST:g}, so that its square neither "
            f"overflows nor vanishes; got {value!r}. Take other units of length"
        )
    return out
