"""The uniform law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import device

from pdekit.arrays import Array, Corner
from pdekit.grid import Grid
from pdekit.laws.coordinates import on_line, product, require_same_dim, set_per_coordinate
from pdekit.laws.protocol import Source
from pdekit.potentials.protocol import points

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Uniform:
    """The uniform law on the box [lower, upper].

    ``lower, upper``: float or one per coordinate. ``density(grid)`` is the exact average over each
    cell, so a partly covered cell has its fraction; along a periodic axis the
    law is wrapped. Raises ``ValueError`` unless lower < upper.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    pointwise: ClassVar[bool] = True

    def __init__(self, lower: Corner = 0.0, upper: Corner = 1.0) -> None:
        set_per_coordinate(self, lower=lower, upper=upper)
        widths = np.subtract(self.upper, self.lower)
        if not ((widths > 0).all() and np.isfinite(widths).all()):
            raise ValueError(f"Uniform: expected finite lower < upper, got {self}")

    @property
    def dim(self) -> int:
        return len(self.lower)

    def pdf(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        lower, upper = (
            xp.asarray(v, dtype=x.dtype, device=device(x)) for v in (self.lower, self.upper)
        )
        inside = xp.all((x >= lower) & (x <= upper), axis=-1)
        return xp.astype(inside, x.dtype) / float(np.prod(np.subtract(self.upper, self.lower)))

    def cdf(self, x: Any) -> Array:
        """Probability below coordinates x of a line, shape of ``x``."""
        inside = np.clip(on_line(self, x), self.lower[0], self.upper[0])
        return np.asarray((inside - self.lower[0]) / (self.upper[0] - self.lower[0]))

    def density(self, grid: Grid) -> Array:
        require_same_dim(self, grid)
        shares = [
            self._wrapped_shares(k, grid) if wraps else self._shares(k, grid.faces[k])
            for k, wraps in enumerate(grid.periodic)
        ]
        return product([share / h for share, h in zip(shares, grid.spacing, strict=True)])

    def mass(self, grid: Grid) -> float:
        require_same_dim(self, grid)
        walls = zip(grid.lower, grid.upper, grid.periodic, strict=True)
        inside = [
            1.0 if p else self._shares(k, np.array([a, b]))[0] for k, (a, b, p) in enumerate(walls)
        ]
        return float(np.prod(inside))

    def sample(self, n: int, noise: Source) -> Tensor:
        r = noise.uniform(n, self.dim)
        lower, upper = r.new_tensor(self.lower), r.new_tensor(self.upper)
        return lower + (upper - lower) * r

    def _shares(self, k: int, faces: Array) -> Array:
        """Probability between neighbouring faces."""
        inside = np.clip(faces, self.lower[k], self.upper[k])
        return np.diff(inside) / (self.upper[k] - self.lower[k])

    def _wrapped_shares(self, k: int, grid: Grid) -> Array:
        """The same on the circle: whole turns, and the remainder as up to two arcs."""
        width, length = self.upper[k] - self.lower[k], grid.upper[k] - grid.lower[k]
        turns = np.floor(width / length)
        start = grid.lower[k] + (self.lower[k] - grid.lower[k]) % length
        end = start + (width - turns * length)
        covered = [np.diff(np.clip(grid.faces[k] + s, start, end)) for s in (0.0, length)]
        shares: Array = (turns * np.diff(grid.faces[k]) + covered[0] + covered[1]) / width
        return shares
