"""Interactions U(x, y) of two points that are no functions of x - y.

``FeatureInteraction(features)`` is a sum of products, ``KernelInteraction(U)`` any symmetric
function. Both declare ``two_points``, and offer, for points x ``(n, d)`` with masses m ``(k,)`` at
y ``(k, d)`` of numpy, ``summed(x)``: m -> Σ_j m_j U(x_i, x_j), and ``slope(x, y, m)``:
Σ_j m_j ∇_x U(x_i, y_j); for the particles of a run ``mean_force``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import is_torch_array

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import slopes
from pdekit.errors import FieldError
from pdekit.potentials.functions import FOR_NUMPY, as_numpy, is_in, like, remember
from pdekit.potentials.protocol import whole_dim

if TYPE_CHECKING:
    from pdekit.interactions import Crowd

_ROOM = 1 << 18  # pairs evaluated at once
_MOST = 1 << 13  # points of which all pairs are kept
_STEP = 2.0**-20  # of a difference across a kink
_SYMMETRIC = 1e-9  # of the largest value
_KINK = 1e-3  # of a slope: difference of those on both sides


@dataclass(frozen=True)
class FeatureInteraction:
    """U(x, y) = strength Σ_k f_k(x) f_k(y): particles act on each other by means of features.

    ``features`` maps points ``(..., d)`` to ``(..., m)``, for numpy arrays and for torch tensors; a
    ``grad`` of it, ``(..., m, d)``, is used, otherwise torch's autograd, or differences. The force
    on x is -strength Σ_k ∇f_k(x) <f_k>: O(N m) for N particles or cells, and ranks share the means.
    The energy ½ ∬ U rho rho = (strength / 2) Σ_k <f_k>² is the square loss of a network of infinite
    width (Mei, Montanari and Nguyen 2018; mathematics 1.13), whose dynamics at the learning rate
    xi is that of strength 2 xi. A negative strength repels. Raises ``ValueError`` where the
    features have another shape, or are not finite.
    """

    features: Callable[[Any], Any]
    strength: float = 1.0
    two_points: ClassVar[bool] = True
    by_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        what = "map points (..., d) to features (..., m)"
        checks.function("FeatureInteraction: features", self.features, what)
        checks.fixed("features", self.features)
        checks.takes("FeatureInteraction: features", self.features, "a function of points")
        checks.parameters(self, strength=checks.number)

    @property
    def dim(self) -> int | None:
        """Number of coordinates, if the features say it."""
        return getattr(self.features, "dim", None)

    def __call__(self, x: Any, y: Any) -> Any:
        """U(x, y), shapes (..., d) -> (...), broadcast."""
        return self.strength * (self._at(x) * self._at(y)).sum(-1)

    def summed(self, x: Array) -> Callable[[Array], Array]:
        """m -> Σ_j m_j U(x_i, x_j)."""
        f = self._at(x)
        return lambda masses: self.strength * (f @ (masses @ f))

    def largest(self, x: Array) -> float:
        """The largest |U| between the points."""
        return abs(self.strength) * float((self._at(x) ** 2).sum(-1).max())

    def slope(self, x: Array, y: Array, masses: Array) -> Array:
        """Σ_j m_j ∇_x U(x_i, y_j)."""
        return np.asarray(self._pull(x, self.strength * (masses @ self._at(y))))

    def mean_force(self, x: Any, values: Any, crowd: Crowd) -> Any:
        """N⁻¹ Σ_j ∇_x U(x_i, x_j)."""
        return self._pull(x, self.strength * crowd.mean(self._at(x)))

    def _at(self, x: Any) -> Any:
        found = _called("features", self.features, x)
        if found.ndim != x.ndim or found.shape[:-1] != x.shape[:-1]:
            raise FieldError(
                f"features must map points of shape {tuple(x.shape)} to {(*x.shape[:-1], 'm')}, "
                f"got shape {tuple(found.shape)}; a single one needs an axis, f(x)[..., None]"
            )
        return found

    def _pull(self, x: Any, weights: Any) -> Any:
        """Σ_k w_k ∇f_k(x)."""
        grad = getattr(self.features, "grad", None)
        if callable(grad):
            jacobian = _called("features.grad", grad, x)
            if jacobian.shape[:-2] != x.shape[:-1] or jacobian.shape[-1:] != x.shape[-1:]:
                raise FieldError(
                    f"features.grad must map points of shape {tuple(x.shape)} to "
                    f"{(*x.shape[:-1], 'm', x.shape[-1])}, got shape {tuple(jacobian.shape)}"
                )
            return (jacobian * weights[..., None]).sum(-2)
        exact = _autograd(self.features, lambda f, w: (f * w).sum(-1), x, weights)
        if exact is not None:
            return exact
        jacobian = slopes(self.features, as_numpy(x).astype(float))[0]  # (..., d, m)
        return like(x, (jacobian * as_numpy(weights)[..., None, :]).sum(-1))


@dataclass(frozen=True)
class KernelInteraction:
    """Any symmetric U(x, y): the energy is ½ ∬ U(x, y) rho(dx) rho(dy), the force -∫ ∇_x U rho(dy).

    ``kernel`` maps points x, y ``(..., dim)``, which broadcast, to values ``(...)``; its ``grad``,
    the gradient in x, is used, otherwise torch's autograd, or differences. O(N²) for N particles or
    cells, of which there may be 8,192: where U is a sum of products take ``FeatureInteraction``,
    where it is a function of x - y ``PairPotential``. At a kink at x = y the slope is what
    ``grad`` says, else the mean of both sides, 0 for |x - y|. Raises ``ValueError`` where U(x, y)
    and U(y, x) differ: there would be no free energy; and where U has no finite slope, also from a
    point to itself.
    """

    kernel: Callable[[Any, Any], Any]
    dim: int = 1
    two_points: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.function("KernelInteraction: kernel", self.kernel, "map points x, y to values")
        checks.takes("KernelInteraction: kernel", self.kernel, "a function of x and y", 2)
        object.__setattr__(self, "dim", whole_dim(self.dim, self))
        turned = np.cos(np.outer(np.arange(5), np.arange(self.dim)))  # not on a line
        probe = np.array([-1.3, -0.4, 0.1, 0.7, 1.9])[:, None] * turned
        values = self._between(probe, probe)
        self._require_symmetric(values)

    def __call__(self, x: Any, y: Any) -> Any:
        """U(x, y), shapes (..., d) -> (...), broadcast."""
        return _called("the kernel", self.kernel, x, y)

    def summed(self, x: Array) -> Callable[[Array], Array]:
        """m -> Σ_j m_j U(x_i, x_j)."""
        values = self._matrix(x)
        return lambda masses: values @ masses

    def largest(self, x: Array) -> float:
        """The largest |U| between the points."""
        some = x[:: max(1, len(x) // 512)]
        return float(np.abs(self._between(some, some)).max())

    def slope(self, x: Array, y: Array, masses: Array) -> Array:
        """Σ_j m_j ∇_x U(x_i, y_j)."""
        rows = max(1, _ROOM // len(y))
        parts = [
            np.einsum("ijk,j->ik", self._finite_slopes(x[i : i + rows, None], y), masses)
            for i in range(0, len(x), rows)
        ]
        return np.concatenate(parts)

    def mean_force(self, x: Any, values: Any, crowd: Any) -> Any:
        """N⁻¹ Σ_j ∇_x U(x_i, x_j)."""
        out, size = x.new_zeros(x.shape), crowd.size
        rows = max(1, _ROOM // size)
        for points, result in zip(x[:, :size], out, strict=True):
            for i in range(0, size, rows):
                pairs = self._slopes(points[i : i + rows, None], points)
                mean = pairs.mean(1)
                if not mean.isfinite().all():
                    mean = self._where_equal(points[i : i + rows, None], points, pairs).mean(1)
                result[i : min(i + rows, size)] = mean
        return out

    def _slopes(self, x: Any, y: Any) -> Any:
        """∇_x U(x_i, y_j) for x (n, 1, d) and y (k, d)."""
        grad = getattr(self.kernel, "grad", None)
        if callable(grad):
            return _called("kernel.grad", grad, x, y)
        x, y = x + 0 * y, 0 * x + y  # one x for each pair, whose slope it has
        exact = _autograd(self.kernel, lambda u, _: u, x, None, y)
        if exact is not None:
            return self._of_both_sides(exact, x, y)
        pairs, d = np.concatenate([as_numpy(x), as_numpy(y)], -1).astype(float), self.dim
        found = slopes(lambda z: np.asarray(self.kernel(z[..., :d], z[..., d:])), pairs)[0]
        return like(x, found[..., :d])

    def _of_both_sides(self, found: Any, x: Any, y: Any) -> Any:
        """The slopes of pairs, where x = y half that of U(x, x) if autograd has one of a side."""
        equal = (x == y).all(-1)
        some = x[equal]
        along = _autograd(lambda z: self.kernel(z, z), lambda u, _: u / 2, some, None)
        if along is None or bool((abs(found[equal] - along) <= _KINK * abs(along)).all()):
            return found
        out = found.clone() if is_torch_array(found) else found.copy()
        out[equal] = along
        return out

    def _finite_slopes(self, x: Array, y: Array) -> Array:
        found: Array = self._slopes(x, y)
        return found if np.isfinite(found).all() else self._where_equal(x, y, found)

    def _where_equal(self, x: Any, y: Any, found: Any) -> Any:
        """The slopes, with that of a kink at x = y by symmetric differences there: 0 for |x - y|.

        Raises ``FieldError`` where U itself is not finite, or has no slope elsewhere.
        """
        lost = ~np.isfinite(as_numpy(found)).all(-1)
        here, there = (as_numpy(z + 0 * w)[lost].astype(float) for z, w in ((x, y), (y, x)))
        with np.errstate(all="ignore"):
            values = np.asarray(_either(self.kernel, here, there), dtype=float)
        for k in np.flatnonzero(~np.isfinite(values) | (here != there).any(-1))[:1]:
            raise FieldError(
                f"the kernel {self.kernel!r} has no finite slope at x = {here[k].tolist()}, y = "
                f"{there[k].tolist()}, where it is {values[k]:g}. It must have one between any two "
                "points and, as every point is paired with itself, be finite at x = y: such as a "
                "function of |x - y|² + width²"
            )
        filled = as_numpy(found).copy()
        filled[lost] = _across(self.kernel, here, there)
        return like(x, filled)

    def _matrix(self, x: Array) -> Array:
        if len(x) > _MOST:
            raise ValueError(
                f"KernelInteraction keeps all pairs of at most {_MOST} cells, got {len(x)}; take "
                "fewer cells, or a FeatureInteraction if U is a sum of products"
            )
        values = self._between(x, x)
        self._require_symmetric(values)
        return (values + values.T) / 2

    def _between(self, x: Array, y: Array) -> Array:
        values = np.asarray(self(x[:, None], y[None]), dtype=float)
        if values.shape != (len(x), len(y)):
            raise FieldError(
                f"the kernel must map points x {x[:, None].shape} and y {y[None].shape} to values "
                f"{(len(x), len(y))}, got shape {values.shape}; sum over the last axis"
            )
        return values

    def _require_symmetric(self, values: Array) -> None:
        apart = np.abs(values - values.T)
        i, j = np.unravel_index(int(apart.argmax()), apart.shape)
        if apart[i, j] > _SYMMETRIC * np.abs(values).max():
            raise ValueError(
                f"a kernel must be symmetric, U(x, y) = U(y, x); {self.kernel!r} has "
                f"{values[i, j]:.6g} and {values[j, i]:.6g}. Take (U(x, y) + U(y, x)) / 2"
            )


def _across(kernel: Callable[[Any, Any], Any], x: Array, y: Array) -> Array:
    """∇_x U(x, y) by central differences, for points (n, d): at a kink the mean of both sides."""
    out = np.empty(x.shape)
    for k in range(x.shape[-1]):
        step = np.zeros(x.shape)
        step[:, k] = _STEP * np.exp2(np.ceil(np.log2(1 + np.abs(x).max(-1))))  # x ± step is exact
        ahead, behind = (np.asarray(_either(kernel, z, y), float) for z in (x + step, x - step))
        out[:, k] = (ahead - behind) / (2 * step[:, k])
    return out


def _called(name: str, function: Callable[..., Any], *x: Any) -> Any:
    """The finite values of a user's function, as an array of the library of the points."""
    try:
        values = _either(function, *x)
        if not np.isfinite(as_numpy(values)).all() and not is_torch_array(x[0]):
            raise ValueError("it has values that are not finite")
        return like(x[0], values)
    except FieldError:
        raise
    except Exception as error:
        raise FieldError(
            f"{name} must take points of shape {tuple(x[0].shape)}, numpy arrays and torch "
            f"tensors; it fails on them: {error} ({type(error).__name__})"
        ) from error


def _either(function: Callable[..., Any], *x: Any) -> Any:
    """``function(*x)``; one written for numpy is given numpy arrays."""
    if not is_torch_array(x[0]) or not is_in(function, FOR_NUMPY):
        try:
            return function(*x)
        except Exception:
            if not is_torch_array(x[0]):
                raise
            remember(function, FOR_NUMPY)
    return function(*map(as_numpy, x))


def _autograd(function: Any, combined: Any, x: Any, weights: Any, *y: Any) -> Any:
    """∇_x of ``combined(function(x, *y), weights)``, or None where torch cannot follow it."""
    if is_in(function, FOR_NUMPY):
        return None
    import torch

    on_torch = is_torch_array(x)
    made: list[Any] = [z if is_torch_array(z) else torch.tensor(z) for z in (x, *y)]
    point, rest = made[0].detach().clone().requires_grad_(True), made[1:]
    w = weights if weights is None or is_torch_array(weights) else torch.tensor(weights)
    with torch.enable_grad():
        try:
            values = function(point, *rest)
        except Exception:
            remember(function, FOR_NUMPY)
            return None
        if not (is_torch_array(values) and values.requires_grad):
            return None
        (slope,) = torch.autograd.grad(combined(values, w).sum(), point)
    return slope if on_torch else slope.numpy()
