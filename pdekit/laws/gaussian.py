"""The normal law."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, prod, sqrt
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

# a density counts as resolved if its midpoint sum has this accuracy
_RESOLVED = 1e-9
_NARROW = 0.1  # half width of an interval over which a normal density is nearly constant
_NODES, _WEIGHTS = (tuple(v.tolist()) for v in np.polynomial.legendre.leggauss(8))


@dataclass(frozen=True)
class Gaussian:
    """The normal law with independent coordinates: mean m_k and standard deviation σ_k.

    Parameters
    ----------
    mean, std : float or one per coordinate; a law in the plane is ``Gaussian((0, 0), 1.0)``.

    ``density(grid)`` holds point values along an axis if these resolve the law (their midpoint
    sum has the mass inside to 1e-9), otherwise exact cell averages. It is not normalised: its
    integral is ``mass(grid)``, the probability inside the box. Along a periodic axis the law is
    wrapped, like particles in a periodic ``box``: Σ_k pdf(x + k length), of mass 1.
    Raises ``ValueError`` unless |m_k| <= 1e100 and 1e-50 <= σ_k <= 1e100.
    Good values: ``std`` of at least two cells keeps spectral accuracy in space.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pointwise: ClassVar[bool] = True

    def __init__(self, mean: Corner = 0.0, std: Corner = 1.0) -> None:
        set_per_coordinate(self, mean=mean, std=std)
        if not min(self.std) > 0:
            raise ValueError(f"Gaussian: std must be positive, got {self.std}")
        if min(self.std) < LEAST or max(self.std) > MOST or max(map(abs, self.mean)) > MOST:
            raise ValueError(
                f"{self}: means must lie within ±{MOST:g} and std between {LEAST:g} and "
                f"{MOST:g}, so that their squares neither overflow nor vanish; use other units of "
                "length"
            )

    @property
    def dim(self) -> int:
        return len(self.mean)

    def pdf(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        mean, std = (xp.asarray(v, dtype=x.dtype, device=device(x)) for v in (self.mean, self.std))
        z = (x - mean) / std
        scale = float(np.prod(self.std)) * (2 * np.pi) ** (self.dim / 2)
        return xp.exp(xp.sum(z * z, axis=-1) / -2) / scale

    def cdf(self, x: Any) -> Array:
        """Probability below coordinates x of a line, shape of ``x``."""
        below: Array = _normal_cdf((on_line(self, x) - self.mean[0]) / self.std[0])
        return below

    def density(self, grid: Grid) -> Array:
        require_same_dim(self, grid)
        return product([self._axis_density(grid, k) for k in range(self.dim)])

    def mass(self, grid: Grid) -> float:
        require_same_dim(self, grid)
        ends = zip(grid.lower, grid.upper, self.mean, self.std, grid.periodic, strict=True)
        inside = [
            1.0 if p else _between((a - m) / s, (b - m) / s, (b - a) / s) for a, b, m, s, p in ends
        ]
        return prod(inside)

    def sample(self, n: int, noise: Source) -> Tensor:
        z = noise.normal(n, self.dim)
        return z.new_tensor(self.mean) + z.new_tensor(self.std) * z

    def _axis_density(self, grid: Grid, k: int) -> Array:
        mean, std, h = self.mean[k], self.std[k], grid.spacing[k]
        if grid.periodic[k]:
            return _wrapped_normal(grid, k, mean, std)
        z = (grid.axes[k] - mean) / std
        values: Array = np.exp(-z * z / 2) / (std * np.sqrt(2 * np.pi))
        faces = (grid.faces[k] - mean) / std
        inside = _between(faces[0], faces[-1], (grid.upper[k] - grid.lower[k]) / std)
        if abs(values.sum() * h - inside) <= _RESOLVED * inside / grid.dim:
            return values
        means: Array = _between(faces[:-1], faces[1:], h / std) / h
        return means


def _wrapped_normal(grid: Grid, k: int, mean: float, std: float) -> Array:
    """Σ_j of the normal density at x + j length, at the cells or averaged over them.

    By images where the law is narrower than the circle, else by its Fourier series.
    """
    length, h = grid.upper[k] - grid.lower[k], grid.spacing[k]
    offset = (grid.axes[k] - grid.lower[k]) - (mean - grid.lower[k]) % length  # |.| < length
    if std > length / 3:
        orders = np.arange(1, 6)  # exp(-2 (pi j / 3)^2) falls below 1e-23 at j = 5
        waves = np.exp(-2 * (np.pi * orders * (std / length)) ** 2)
        phases = 2 * np.pi * np.multiply.outer(offset, orders) / length
        return np.asarray((1 + 2 * np.cos(phases) @ waves) / length)
    images = np.arange(-5, 6) * length  # 15 standard deviations at least
    z = np.add.outer(offset, images) / std
    values: Array = np.exp(-z * z / 2).sum(1) / (std * np.sqrt(2 * np.pi))
    if abs(values.sum() * h - 1) <= _RESOLVED / grid.dim:
        return values
    half = h / std / 2
    return np.asarray(_between(z - half, z + half, 2 * half).sum(1) / h)


def _between(a: Any, b: Any, width: float) -> Any:
    """Φ(b) - Φ(a) for a <= b, without cancellation: taken in the tail on the right by
    symmetry, and by Gauss quadrature (exact to rounding) for narrow intervals. ``width``: b - a,
    which may be lost to cancellation.
    """
    plain = isinstance(a, float)
    if plain:  # the faster
        a, b, width = float(a), float(b), float(width)
    half, middle = width / 2, (b + a) / 2
    narrow = half * (1 + abs(middle)) < _NARROW
    if narrow if plain else narrow.all():
        nodes = zip(_NODES, _WEIGHTS, strict=True)
        total = sum(w * np.exp(-((middle + half * z) ** 2) / 2) for z, w in nodes)
        return half * total / sqrt(2 * np.pi)
    if plain:
        low, high = (-b, -a) if a > 0 else (a, b)
        return (erfc(-high / sqrt(2)) - erfc(-low / sqrt(2))) / 2
    right = np.asarray(a) > 0
    return _normal_cdf(np.where(right, -a, b)) - _normal_cdf(np.where(right, -b, a))


def _normal_cdf(z: Any) -> Any:
    # math's erfc: scipy.special would double the time of a first solve
    flat = [erfc(x) / 2 for x in np.ravel(-z / sqrt(2)).tolist()]
    return np.array(flat).reshape(np.shape(z))
