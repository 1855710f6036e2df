"""The law of distances from the origin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, lgamma, log
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import device

from pdekit.arrays import Array, Corner
from pdekit.grid import Grid
from pdekit.laws.coordinates import (
    LEAST,
    MOST,
    on_line,
    product,
    require_same_dim,
    set_per_coordinate,
)
from pdekit.laws.protocol import Source
from pdekit.potentials.protocol import points

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Chi:
    """Distance from the origin, |X|, of X ~ N(0, scale² I) in so many ``degrees`` of freedom.

    pdf ∝ x^(degrees - 1) exp(-x²/(2 scale²)) for x >= 0. One of each per coordinate where there are
    several: the radii of blocks of independent normals, such as the weights of a network at its
    start (``networks.GaussianClasses``). ``density(grid)`` holds exact cell averages.
    Raises ``ValueError`` unless degrees are whole numbers >= 1 and scales lie in [1e-50, 1e100],
    and for a periodic axis.
    """

    degrees: tuple[float, ...]
    scale: tuple[float, ...]
    pointwise: ClassVar[bool] = True

    def __init__(self, degrees: Corner = 1.0, scale: Corner = 1.0) -> None:
        set_per_coordinate(self, degrees=degrees, scale=scale)
        if not all(k >= 1 and k == int(k) for k in self.degrees):
            raise ValueError(f"Chi: degrees must be whole numbers >= 1, got {self.degrees}")
        if not LEAST <= min(self.scale) <= max(self.scale) <= MOST:
            raise ValueError(
                f"Chi: scale must lie between {LEAST:g} and {MOST:g}, got {self.scale}"
            )

    @property
    def dim(self) -> int:
        return len(self.degrees)

    def pdf(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        degrees, scale = (
            xp.asarray(v, dtype=x.dtype, device=device(x)) for v in (self.degrees, self.scale)
        )
        z = xp.clip(x / scale, 0.0, None)
        halves = [k / 2 for k in self.degrees]
        constant = sum((1 - h) * log(2) - lgamma(h) for h in halves)
        shape = xp.prod(z ** (degrees / 2 - 0.5) * xp.exp(-z * z / 4), axis=-1)  # of the root
        inside = xp.astype(xp.all(x >= 0, axis=-1), x.dtype)
        return inside * (shape * exp(constant / 2)) ** 2 / float(np.prod(self.scale))

    def cdf(self, x: Any) -> Array:
        """Probability below coordinates x of a line, shape of ``x``."""
        return self._below(on_line(self, x), 0)

    def density(self, grid: Grid) -> Array:
        self._require_walls(grid)
        return product(
            [np.diff(self._below(grid.faces[k], k)) / grid.spacing[k] for k in range(self.dim)]
        )

    def mass(self, grid: Grid) -> float:
        self._require_walls(grid)
        ends = zip(grid.lower, grid.upper, strict=True)
        return float(np.prod([np.diff(self._below(pair, k))[0] for k, pair in enumerate(ends)]))

    def sample(self, n: int, noise: Source) -> Tensor:
        import torch

        ends = np.cumsum((0, *self.degrees)).astype(int).tolist()
        z = noise.normal(n, ends[-1])
        radii = [z[:, a:b].norm(dim=-1) for a, b in pairwise(ends)]
        return torch.stack(radii, dim=-1) * z.new_tensor(self.scale)

    def _below(self, x: Any, k: int) -> Array:
        from scipy.special import gammainc

        z = np.maximum(np.asarray(x, dtype=float), 0.0) / self.scale[k]
        return np.asarray(gammainc(self.degrees[k] / 2, z * z / 2))

    def _require_walls(self, grid: Grid) -> None:
        require_same_dim(self, grid)
        if any(grid.periodic):
            raise ValueError(f"{self} is a law of distances; a periodic axis has none")
