"""Independent coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace

from pdekit.arrays import Array
from pdekit.grid import Grid, require_grid
from pdekit.laws.coordinates import product
from pdekit.laws.protocol import Law, Source, require_law

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Product:
    """The law ν_1 x ν_2 x ... of independent groups of coordinates, each of its own law.

    Good values: ``Product(Uniform(-1, 1), Gaussian(0.0, 0.5))``, a law in the plane, such as one of
    positions and momenta. Raises ``TypeError`` for what is no law, or for none.
    """

    laws: tuple[Law, ...]

    def __init__(self, *laws: Law) -> None:
        if not laws:
            raise TypeError("Product: expected laws, such as Gaussian(0.0, 1.0), got none")
        for law in laws:
            require_law("each of the laws of a Product", law)
        object.__setattr__(self, "laws", laws)

    @property
    def dim(self) -> int:
        return sum(law.dim for law in self.laws)

    @property
    def pointwise(self) -> bool:
        return all(getattr(law, "pointwise", False) for law in self.laws)

    def pdf(self, x: Any) -> Any:
        parts = (law.pdf(x[..., a:b]) for law, a, b in self._groups())
        return prod(parts, start=array_namespace(x).ones_like(x[..., 0]))

    def density(self, grid: Grid) -> Array:
        self._require_dim_of(grid)
        return product([law.density(_axes(grid, a, b)) for law, a, b in self._groups()])

    def mass(self, grid: Grid) -> float:
        self._require_dim_of(grid)
        return prod(law.mass(_axes(grid, a, b)) for law, a, b in self._groups())

    def sample(self, n: int, noise: Source) -> Tensor:
        import torch

        return torch.cat([torch.as_tensor(law.sample(n, noise)) for law in self.laws], dim=-1)

    def _require_dim_of(self, grid: Grid) -> None:
        require_grid("grid", grid)
        if grid.dim != self.dim:
            raise ValueError(f"{self} has {self.dim} coordinates, the grid {grid.dim}")

    def _groups(self) -> list[tuple[Law, int, int]]:
        """Each law with the first of its coordinates, and the first that is not."""
        ends = np.cumsum([0, *(law.dim for law in self.laws)]).tolist()
        return list(zip(self.laws, ends[:-1], ends[1:], strict=True))


def _axes(grid: Grid, first: int, last: int) -> Grid:
    """The axes of a grid from one to before another."""
    group = slice(first, last)
    return Grid(grid.lower[group], grid.upper[group], grid.cells[group], grid.periodic[group])
