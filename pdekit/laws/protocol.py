"""What a law is, for equations and particles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor


class Source(Protocol):
    """Independent random numbers of ``n`` samples, tensors ``(n, d)``."""

    def normal(self, n: int, d: int) -> Tensor:
        """Standard normals."""
        ...

    def uniform(self, n: int, d: int) -> Tensor:
        """Uniforms in (0, 1)."""
        ...


@runtime_checkable
class Law(Protocol):
    """A probability law on R^d.

    ``noise`` in ``sample`` gives ``normal(n, d)`` and ``uniform(n, d)``, tensors of independent
    standard normals or uniforms. A law that makes sample i from row i of these alone may
    declare ``pointwise = True``; particles are then sampled a tile at a time.
    """

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        ...

    def pdf(self, x: Any) -> Any:
        """Probability density at points ``(..., d)``; shape ``(...)``, numpy and torch alike."""
        ...

    def density(self, grid: Grid) -> Array:
        """The initial density of a PDE, shape ``grid.shape``; its integral is ``mass(grid)``.

        Along a periodic axis the law is wrapped: that of the coordinate modulo the length.
        """
        ...

    def mass(self, grid: Grid) -> float:
        """Probability inside the box of the grid; along a periodic axis nothing is outside."""
        ...

    def sample(self, n: int, noise: Source) -> Tensor:
        """Tensor ``(n, d)`` of independent samples."""
        ...


def require_law(name: str, value: Any) -> None:
    """``TypeError`` unless ``value`` is a law."""
    checks.value_not_class(name, value)
    parts = ("dim", "pdf", "density", "mass", "sample")
    lacking = [part for part in parts if not hasattr(value, part)]
    if lacking:
        raise TypeError(
            f"{name} must be a law, such as Gaussian(0.0, 1.0); got {checks.shown(value)}, which "
            f"has no {', '.join(lacking)}"
        )
