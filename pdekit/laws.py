"""Laws of the initial state: the same law initialises a PDE and particles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import erfc, exp, lgamma, log, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from array_api_compat import device

from pdekit import checks
from pdekit.arrays import Array, Corner
from pdekit.grid import Grid, require_grid
from pdekit.potentials.protocol import points

if TYPE_CHECKING:
    from torch import Tensor

# a density counts as resolved if its midpoint sum has this accuracy
_RESOLVED = 1e-9
_LEAST, _MOST = 1e-50, 1e100  # of the lengths of a Gaussian
_NARROW = 0.1  # half width of an interval over which a normal density is nearly constant
_NODES, _WEIGHTS = (tuple(v.tolist()) for v in np.polynomial.legendre.leggauss(8))


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
        _set_per_coordinate(self, mean=mean, std=std)
        if not min(self.std) > 0:
            raise ValueError(f"Gaussian: std must be positive, got {self.std}")
        if min(self.std) < _LEAST or max(self.std) > _MOST or max(map(abs, self.mean)) > _MOST:
            raise ValueError(
                f"{self}: means must lie within ±{_MOST:g} and std between {_LEAST:g} and "
                f"{_MOST:g}, so that their squares neither overflow nor vanish; use other units of "
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
        below: Array = _normal_cdf((_on_line(self, x) - self.mean[0]) / self.std[0])
        return below

    def density(self, grid: Grid) -> Array:
        _same_dim(self, grid)
        return _product([self._axis_density(grid, k) for k in range(self.dim)])

    def mass(self, grid: Grid) -> float:
        _same_dim(self, grid)
        ends = zip(grid.lower, grid.upper, self.mean, self.std, grid.periodic, strict=True)
        inside = [
            1.0 if p else _between((a - m) / s, (b - m) / s, (b - a) / s) for a, b, m, s, p in ends
        ]
        return float(np.prod(inside))

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
        _set_per_coordinate(self, lower=lower, upper=upper)
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
        inside = np.clip(_on_line(self, x), self.lower[0], self.upper[0])
        return np.asarray((inside - self.lower[0]) / (self.upper[0] - self.lower[0]))

    def density(self, grid: Grid) -> Array:
        _same_dim(self, grid)
        shares = [
            self._wrapped_shares(k, grid) if wraps else self._shares(k, grid.faces[k])
            for k, wraps in enumerate(grid.periodic)
        ]
        return _product([share / h for share, h in zip(shares, grid.spacing, strict=True)])

    def mass(self, grid: Grid) -> float:
        _same_dim(self, grid)
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


@dataclass(frozen=True)
class Mixture:
    """The law Σ w_k ν_k of laws ν_k with weights w_k, divided by their sum.

    Good values: ``Mixture((1, 1), (Gaussian(-1, 0.2), Gaussian(1, 0.2)))``.
    Raises ``ValueError`` for weights that are not positive, one per law, or laws of different dim.
    """

    weights: tuple[float, ...]
    laws: tuple[Law, ...]

    def __init__(self, weights: Corner, laws: Law | Sequence[Law]) -> None:
        shares = checks.numbers("weights", weights, "numbers > 0, one per law")
        several: Any = (laws,) if hasattr(laws, "pdf") else laws
        if isinstance(several, str | type) or not hasattr(several, "__iter__"):
            raise TypeError(f"Mixture: laws must be several laws, got {checks.shown(several)}")
        object.__setattr__(self, "laws", tuple(several))
        for law in self.laws:
            require_law("each of the laws", law)
        if shares.shape != (len(self.laws),) or not len(self.laws):
            raise ValueError(
                f"Mixture: expected one weight per law, got {shares.size} for {len(self.laws)}"
            )
        if not (np.isfinite(shares).all() and (shares > 0).all()):
            raise ValueError(
                f"Mixture: weights must be positive and finite, got {checks.shown(weights)}"
            )
        if len({law.dim for law in self.laws}) > 1:
            raise ValueError(
                f"Mixture: laws must have one dimension, got {[law.dim for law in self.laws]}"
            )
        object.__setattr__(self, "weights", tuple((shares / shares.sum()).tolist()))

    @property
    def dim(self) -> int:
        return self.laws[0].dim

    @property
    def pointwise(self) -> bool:
        return all(getattr(law, "pointwise", False) for law in self.laws)

    def pdf(self, x: Any) -> Any:
        return self._mean(law.pdf(x) for law in self.laws)

    @property
    def cdf(self) -> Callable[[Any], Array]:
        """Probability below coordinates x of a line, where each of the laws has it."""
        parts = [law.cdf for law in self.laws]  # type: ignore[attr-defined]
        return lambda x: np.asarray(self._mean(cdf(x) for cdf in parts))

    def density(self, grid: Grid) -> Array:
        density: Array = self._mean(law.density(grid) for law in self.laws)
        return density

    def mass(self, grid: Grid) -> float:
        return float(self._mean(law.mass(grid) for law in self.laws))

    def sample(self, n: int, noise: Source) -> Tensor:
        import torch

        drawn = noise.normal(n, self.dim + 1)
        choice = torch.special.ndtr(drawn[:, -1])
        bounds = choice.new_tensor(np.cumsum(self.weights)[:-1])
        which = torch.searchsorted(bounds, choice.contiguous(), right=True)
        first = drawn[:, : self.dim]
        samples = torch.stack([law.sample(n, _Columns(first, noise)) for law in self.laws])
        return samples[which, torch.arange(n, device=which.device)]

    def _mean(self, values: Any) -> Any:
        return sum(w * v for w, v in zip(self.weights, values, strict=True))


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
        _set_per_coordinate(self, degrees=degrees, scale=scale)
        if not all(k >= 1 and k == int(k) for k in self.degrees):
            raise ValueError(f"Chi: degrees must be whole numbers >= 1, got {self.degrees}")
        if not _LEAST <= min(self.scale) <= max(self.scale) <= _MOST:
            raise ValueError(
                f"Chi: scale must lie between {_LEAST:g} and {_MOST:g}, got {self.scale}"
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
        if self.dim != 1:
            raise ValueError(f"{self} has {self.dim} coordinates; only a law on a line has a cdf")
        return self._below(x, 0)

    def density(self, grid: Grid) -> Array:
        self._require_walls(grid)
        return _product(
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
        _same_dim(self, grid)
        if any(grid.periodic):
            raise ValueError(f"{self} is a law of distances; a periodic axis has none")


@dataclass
class _Columns:
    """The noise of one component of a mixture; each sample uses one component.

    The first draw of every law is of the same columns, which belong to no other draw; what does
    not fit there, and every later draw, is drawn fresh from ``noise``.
    """

    first: Any
    noise: Any

    def normal(self, n: int, d: int) -> Any:
        mine = self._first(n, d)
        return self.noise.normal(n, d) if mine is None else mine

    def uniform(self, n: int, d: int) -> Any:
        import torch

        mine = self._first(n, d)
        if mine is None:
            return self.noise.uniform(n, d)
        # strictly below 1 even if the distribution function rounds to 1
        return torch.special.ndtr(mine).clamp(max=1 - torch.finfo(mine.dtype).eps / 2)

    normals, uniforms = normal, uniform

    def _first(self, n: int, d: int) -> Any:
        """The first ``d`` columns, on the first draw, if there are enough."""
        first, self.first = self.first, None
        enough = first is not None and len(first) == n and d <= first.shape[1]
        return first[:, :d] if enough else None


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
    if isinstance(a, float):  # plain ones are the faster
        a, b = float(a), float(b)
    half, middle = width / 2, (b + a) / 2
    if np.all(half * (1 + abs(middle)) < _NARROW):
        nodes = zip(_NODES, _WEIGHTS, strict=True)
        total = sum(w * np.exp(-((middle + half * z) ** 2) / 2) for z, w in nodes)
        return half * total / sqrt(2 * np.pi)
    if isinstance(a, float):
        low, high = (-b, -a) if a > 0 else (a, b)
        return (erfc(-high / sqrt(2)) - erfc(-low / sqrt(2))) / 2
    right = np.asarray(a) > 0
    return _normal_cdf(np.where(right, -a, b)) - _normal_cdf(np.where(right, -b, a))


def _normal_cdf(z: Any) -> Any:
    # math's erfc: scipy.special would double the time of a first solve
    flat = [erfc(x) / 2 for x in np.ravel(-z / sqrt(2)).tolist()]
    return np.array(flat).reshape(np.shape(z))


def _product(factors: list[Array]) -> Array:
    return factors[0] if len(factors) == 1 else np.multiply.outer(*factors)


def _set_per_coordinate(law: Any, **given: Corner) -> None:
    """The fields that are ``given`` as tuples of finite floats of one length."""
    kind, what = type(law).__name__, "a finite number, or one per coordinate"
    values = [np.atleast_1d(checks.finite(f"{kind}: {k}", v, what)) for k, v in given.items()]
    if any(v.ndim > 1 or not v.size for v in values) or len({v.size for v in values} - {1}) > 1:
        got = ", ".join(f"{name}={checks.shown(value)}" for name, value in given.items())
        raise ValueError(f"{kind}: expected numbers or one per coordinate, got {got}")
    dim = max(v.size for v in values)
    for name, value in zip(given, values, strict=True):
        object.__setattr__(law, name, tuple(np.broadcast_to(value, (dim,)).tolist()))


def _on_line(law: Any, x: Any) -> Array:
    if law.dim != 1:
        raise ValueError(f"{law} has {law.dim} coordinates; only a law on a line has a cdf")
    coordinates: Array = checks.numbers("x", x, "coordinates on a line")
    return coordinates


def _same_dim(law: Any, grid: Grid) -> None:
    require_grid("grid", grid)
    if law.dim == grid.dim:
        return
    first, second = (field.name for field in fields(law))
    a, b = (0.0, 1.0) if grid.dim == 1 else ((0.0,) * grid.dim, (1.0,) * grid.dim)
    raise ValueError(
        f"{law} has {law.dim} coordinates, the grid {grid.dim}; write for example "
        f"{type(law).__name__}({first}={a}, {second}={b})"
    )
