"""Pair interactions W(x - y) of particles, for McKean-Vlasov equations and for ensembles alike."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from pdekit.potentials import as_potential


@dataclass(frozen=True)
class CurieWeiss:
    """W(z) = strength |z|^2 / 2: every particle is drawn to the mean, force -strength (x - mean).

    ``strength`` is λ of MODEL 1.6 (Kantas et al. (5)-(9)), in units of the potential per
    coordinate squared. A negative one repels.
    """

    strength: float

    def __post_init__(self) -> None:
        try:
            good = isfinite(self.strength)
        except TypeError:
            good = False
        if not good:
            raise ValueError(f"CurieWeiss: strength must be a finite number, got {self.strength!r}")

    def __call__(self, z: Any) -> Any:
        """W(z): (..., d) -> (...)."""
        return self.strength * (z * z).sum(-1) / 2

    def grad(self, z: Any) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        return self.strength * z


@dataclass(frozen=True)
class PairPotential:
    """Any even W: the energy is ½ ∬ W(x - y) rho(dx) rho(dy), the force -∇W * rho.

    ``potential`` is a potential of the displacement (with ``grad``), or a function of points
    ``(..., d) -> (...)``; ``dim`` says of how many coordinates where it is a bare function.
    """

    potential: Any
    dim: int = 1

    def __post_init__(self) -> None:
        dim = getattr(self.potential, "dim", self.dim)
        object.__setattr__(self, "dim", dim)
        object.__setattr__(self, "potential", as_potential(self.potential, dim))

    def __call__(self, z: Any) -> Any:
        """W(z): (..., d) -> (...)."""
        return self.potential(z)

    def grad(self, z: Any) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        return self.potential.grad(z)
