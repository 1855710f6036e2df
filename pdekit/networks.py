"""What a two-layer network learns: data, neurons, and the two functions of its limit.

ŷ(x) = N⁻¹ Σ_i σ*(x; θ_i) is fitted to data (x, y) by the square loss. The risk of many neurons of
law ρ is R(ρ) = E y² + 2 ∫Vρ + ∬Uρρ with V(θ) = -E[y σ*(x; θ)], U(θ, θ') = E[σ*(x; θ) σ*(x; θ')]
(mathematics 1.13; Mei, Montanari and Nguyen 2018). `pdekit.TwoLayerNetwork` moves the neurons.

A task has ``dim``, the parameters of a neuron; ``normals`` and ``uniforms``, how many numbers drawn
make a datum; ``data(normals, uniforms)``, from tensors (..., batch, normals) and
(..., batch, uniforms) the points x and labels y (..., batch); and ``neurons(x, theta)``, σ* at each
of the points for each of the parameters (..., n, dim), of shape (..., n, batch), by torch. It may
offer ``response(x, theta)``: these values and the function that maps weights (..., batch) to
Σ_b w_b ∇σ*(x_b; θ_i), (..., n, dim), faster than autograd.

A task whose limit is known has also ``labels_square``, E y²; ``potential``, V; ``features(z)``,
points (..., m) to (..., k), by which U(z, z') = Σ_k f_k(z) f_k(z'); and ``reduced(theta)``, the
coordinates z (..., m) that V and U are functions of. ``log_volume(z)`` is the logarithm of the
volume of all θ at z, where it is not constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array
from scipy.special import ndtr

from pdekit import checks
from pdekit.arrays import Array
from pdekit.potentials import Custom

if TYPE_CHECKING:
    from torch import Tensor

    Response = tuple[Tensor, Callable[[Tensor], Tensor]]

_ROOT = np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class PiecewiseLinear:
    """σ(t) = level + Σ_j s_j max(t - k_j, 0): constant before the first of the increasing knots k.

    Parameters
    ----------
    knots, jumps : k_j and s_j, the change of slope there
    level : the value before the first knot

    ``PiecewiseLinear((0,), (1,))`` is ReLU. ``through((0, -2.5), (0.5, -4), (1.5, 7.5))`` passes
    through points and is constant beyond the first and the last: the activation of the report's
    (37), with the signs that errata 63 restores. Raises ``ValueError`` for knots that do not
    increase or are as many as the jumps are not.
    """

    knots: tuple[float, ...]
    jumps: tuple[float, ...]
    level: float = 0.0

    def __post_init__(self) -> None:
        for name in ("knots", "jumps"):
            values = checks.finite(f"PiecewiseLinear: {name}", getattr(self, name))
            object.__setattr__(self, name, tuple(np.atleast_1d(values).tolist()))
        checks.parameters(self, level=checks.number)
        if len(self.knots) != len(self.jumps) or (np.diff(self.knots) <= 0).any():
            raise ValueError(
                "PiecewiseLinear: knots must increase strictly, with one jump of the slope each; "
                f"got {self.knots} and {self.jumps}"
            )

    @classmethod
    def through(cls, *points: tuple[float, float]) -> PiecewiseLinear:
        """The one through (t, σ(t)), two or more, that is constant outside."""
        places = checks.finite("PiecewiseLinear: points", points)
        if places.ndim != 2 or places.shape[1] != 2 or len(places) < 2:
            raise ValueError(f"PiecewiseLinear: expected two or more pairs (t, σ), got {points}")
        t, value = places.T
        if (np.diff(t) <= 0).any():
            raise ValueError(f"PiecewiseLinear: points must be in order of t, got {points}")
        slopes = np.concatenate([[0.0], np.diff(value) / np.diff(t), [0.0]])
        return cls(tuple(t), tuple(np.diff(slopes)), float(value[0]))

    def __call__(self, t: Any) -> Any:
        """σ(t), shape of ``t``."""
        t = _array(t)
        value = t * 0 + self.level
        for k, s in zip(self.knots, self.jumps, strict=True):
            value += (t - k).clip(0, None) * s
        return value

    def slope(self, t: Any) -> Any:
        """σ'(t), at a knot that before it."""
        value = t * 0
        for k, s in zip(self.knots, self.jumps, strict=True):
            value += (t > k) * s
        return value

    def mean(self, std: Any) -> Any:
        """q(r) = E σ(r G), G standard normal, at r >= 0: level + Σ s (r φ(k/r) - k Φ(-k/r))."""
        return self.level + sum(s * _above(std, k) for k, s in self._terms)

    def mean_slope(self, std: Any) -> Any:
        """q'(r) = Σ s φ(k/r)."""
        return sum(s * _density(k / _positive(std)) for k, s in self._terms)

    def variance(self, std: Any) -> Any:
        """Var σ(r G)."""
        second = sum(
            s * z * _product_above(std, max(k, j), min(k, j))
            for k, s in self._terms
            for j, z in self._terms
        )
        return second - (self.mean(std) - self.level) ** 2

    @property
    def _terms(self) -> list[tuple[float, float]]:
        return list(zip(self.knots, self.jumps, strict=True))


def _array(x: Any) -> Any:
    """An array as it is, a number as one of numpy's."""
    return np.float64(x) if isinstance(x, int | float) else x


def _positive(x: Any) -> Any:
    """At least so much that squares and quotients are finite."""
    x = _array(x)
    return x.clip(1e-140 if str(x.dtype).endswith("64") else 1e-15, None)


def _density(z: Any) -> Any:
    """φ(z)."""
    return array_namespace(z).exp(-z * z / 2) / _ROOT


def _below(z: Any) -> Any:
    """Φ(z)."""
    if is_torch_array(z):
        import torch

        return torch.special.ndtr(z)
    return ndtr(z)


def _above(std: Any, k: float) -> Any:
    """E max(r G - k, 0)."""
    z = k / _positive(std)
    return std * _density(z) - k * _below(-z)


def _product_above(std: Any, k: float, j: float) -> Any:
    """E (r G - k)⁺ (r G - j)⁺ for j <= k."""
    z = k / _positive(std)
    return (std**2 + k * j) * _below(-z) - j * std * _density(z)


@dataclass(frozen=True)
class GaussianClasses:
    """Centred Gaussians to be told apart by width: y = ±1 with probability 1/2 each,
    x ~ N(0, (1 + y Δ_k)²) in the k-th block of coordinates; neurons σ*(x; w) = σ(<w, x>), D = d.

    Parameters
    ----------
    dims : numbers of coordinates of the blocks; a number for one block, which is isotropic
    deltas : Δ_k in [-1, 1) of the blocks; 0 where the classes do not differ
    activation : σ, a ``PiecewiseLinear``

    Its limit is that of many coordinates, d = ∞, where different neurons see independent numbers:
    with the radii r_k = |w_k| of the blocks and s± = √(Σ (1 ± Δ_k)² r_k²), V = (q(s-) - q(s+))/2
    and U = (q(s+) q(s+') + q(s-) q(s-'))/2, q(s) = E σ(s G), a kernel of rank two. For finitely
    many coordinates the risk differs by O(1/d). Report (36) to (40); mathematics 1.13, errata 63.

    Raises ``ValueError`` for numbers out of range or different numbers of blocks.
    """

    dims: tuple[int, ...]
    deltas: tuple[float, ...]
    activation: PiecewiseLinear

    labels_square = 1.0
    uniforms = 1

    def __post_init__(self) -> None:
        dims, deltas = np.atleast_1d(np.asarray(self.dims)), np.atleast_1d(np.asarray(self.deltas))
        whole = tuple(checks.whole("GaussianClasses: dims", n, 1) for n in dims.tolist())
        widths = tuple(checks.within("GaussianClasses: deltas", v, -1, 1) for v in deltas.tolist())
        if dims.ndim > 1 or len(whole) != len(widths):
            raise ValueError(
                f"GaussianClasses: one delta for each block of dims, got {self.dims} and "
                f"{self.deltas}"
            )
        checks.has("GaussianClasses: activation", self.activation, _LINEAR, "mean", "variance")
        object.__setattr__(self, "dims", whole)
        object.__setattr__(self, "deltas", widths)

    @property
    def dim(self) -> int:
        """D = d."""
        return sum(self.dims)

    @property
    def normals(self) -> int:
        return self.dim

    def data(self, normals: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Points (..., batch, d) and labels (..., batch)."""
        y = (uniforms < 0.5).to(normals.dtype) * 2 - 1
        delta = normals.new_tensor(np.repeat(self.deltas, self.dims))
        return normals * (1 + y * delta), y[..., 0]

    def neurons(self, x: Tensor, theta: Tensor) -> Tensor:
        """σ(<w_i, x_b>)."""
        values: Tensor = self.activation(theta @ x.mT)
        return values

    def response(self, x: Tensor, theta: Tensor) -> Response:
        """The same, and w_b -> Σ_b w_b σ'(<w_i, x_b>) x_b."""
        t = theta @ x.mT
        return self.activation(t), lambda w: (self.activation.slope(t) * w[..., None, :]) @ x

    def reduced(self, theta: Any) -> Any:
        """The radii of the blocks (..., blocks)."""
        ends = np.cumsum((0, *self.dims)).tolist()
        blocks = [theta[..., a:b] for a, b in pairwise(ends)]
        xp = array_namespace(theta)
        return xp.stack([xp.linalg.vector_norm(w, axis=-1) for w in blocks], axis=-1)

    @cached_property
    def features(self) -> _ClassMeans:
        """q(s±)/√2 of radii (..., blocks), (..., 2)."""
        return _ClassMeans(self.deltas, self.activation)

    @cached_property
    def potential(self) -> Custom:
        """V of the radii, (f_- - f_+)/√2."""
        f = self.features

        def value(radii: Any) -> Any:
            return (f(radii)[..., 1] - f(radii)[..., 0]) / 2**0.5

        def slope(radii: Any) -> Any:
            return (f.grad(radii)[..., 1, :] - f.grad(radii)[..., 0, :]) / 2**0.5

        return Custom(value, grad=slope, dim=len(self.dims))

    def variance(self, radii: Any) -> Any:
        """(Var σ(s+ G) + Var σ(s- G))/2, (...): a network of N neurons has an expected risk that
        is larger by the mean of this over N, for neurons that are independent."""
        found = [self.activation.variance(s) for s in self.features.widths(radii)]
        return (found[0] + found[1]) / 2

    def log_volume(self, radii: Any) -> Any:
        """Σ (d_k - 1) log r_k: of the spheres of these radii."""
        powers = [n - 1 for n in self.dims]
        return _weighted(array_namespace(radii).log(_positive(radii)), powers)


@dataclass(frozen=True)
class _ClassMeans:
    """E σ(<w, x>)/√2 in the classes y = 1 and -1, of the radii of the blocks of w."""

    deltas: tuple[float, ...]
    activation: PiecewiseLinear

    def __call__(self, radii: Any) -> Any:
        """q(s±)/√2, (..., blocks) -> (..., 2)."""
        means = [self.activation.mean(s) for s in self.widths(radii)]
        return array_namespace(radii).stack(means, axis=-1) / 2**0.5

    def grad(self, radii: Any) -> Any:
        """(..., 2, blocks); at radius 0 that just outside."""
        xp, r = array_namespace(radii), _positive(radii)
        factors = [xp.asarray(c, dtype=r.dtype, device=device(r)) for c in self._squares]
        slopes = [
            (self.activation.mean_slope(s) / s)[..., None] * c * r
            for s, c in zip(self.widths(r), factors, strict=True)
        ]
        return xp.stack(slopes, axis=-2) / 2**0.5

    def widths(self, radii: Any) -> list[Any]:
        """s+ and s-, the standard deviations of <w, x>."""
        r, xp = _positive(radii), array_namespace(radii)
        return [xp.sqrt(_weighted(r * r, c)) for c in self._squares]

    @property
    def _squares(self) -> list[list[float]]:
        return [[(1 + sign * v) ** 2 for v in self.deltas] for sign in (1, -1)]


_LINEAR = "an activation with mean and variance, such as PiecewiseLinear((0,), (1,)), ReLU"


def _weighted(x: Any, weights: list[Any]) -> Any:
    """Σ_k weights_k x_k over the last axis."""
    return (x * array_namespace(x).asarray(weights, dtype=x.dtype, device=device(x))).sum(-1)


@dataclass(frozen=True, eq=False)
class Samples:
    """Finitely many data (x_k, y_k), each as likely as any other, and a neuron of one's own.

    Parameters
    ----------
    x, y : arrays (count, p) and (count,)
    neuron : σ*(x; θ), of tensors x (..., p) and θ (..., dim) that broadcast, by torch
    dim : parameters of a neuron

    V = -count⁻¹ Σ_k y_k σ*(x_k; θ) and U, of rank ``count``, are exact: a network and its equation
    differ by nothing but N and the step. Raises ``ValueError`` for other shapes.
    """

    x: Array
    y: Array
    neuron: Callable[[Any, Any], Any]
    dim: int = 1

    normals = 0
    uniforms = 1

    def __post_init__(self) -> None:
        x, y = checks.finite("Samples: x", self.x), checks.finite("Samples: y", self.y)
        if x.ndim != 2 or y.shape != x.shape[:1] or not len(x):
            raise ValueError(
                f"Samples: expected x (count, p) and y (count,), got shapes {x.shape} and {y.shape}"
            )
        checks.takes("Samples: neuron", self.neuron, "a function of x and theta", 2)
        for name, value in (("x", x), ("y", y)):
            object.__setattr__(self, name, value.copy())
        object.__setattr__(self, "dim", checks.whole("Samples: dim", self.dim, 1))

    @property
    def labels_square(self) -> float:
        """E y²."""
        return float((self.y**2).mean())

    def data(self, normals: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Points and labels of a batch, drawn with replacement."""
        k = (uniforms[..., 0] * len(self.y)).long().clamp(max=len(self.y) - 1)
        return self._tensor(self.x, normals)[k], self._tensor(self.y, normals)[k]

    def neurons(self, x: Tensor, theta: Tensor) -> Tensor:
        """σ*(x_b; θ_i)."""
        values: Tensor = self.neuron(x[..., None, :, :], theta[..., :, None, :])
        return values

    def reduced(self, theta: Any) -> Any:
        """The parameters themselves."""
        return theta

    @cached_property
    def potential(self) -> Custom:
        """V."""
        return Custom(self._value, dim=self.dim)

    def features(self, theta: Any) -> Any:
        """σ*(x_k; θ)/√count, (..., count)."""
        return self._on_data(theta) / len(self.y) ** 0.5

    def _value(self, theta: Any) -> Any:
        values = self._on_data(theta)
        y = array_namespace(values).asarray(self.y, dtype=values.dtype, device=device(values))
        return -(values * y).mean(-1)

    def _on_data(self, theta: Any) -> Any:
        """σ*(x_k; θ), (..., count), for arrays and tensors."""
        if is_torch_array(theta):
            return self.neuron(self._tensor(self.x, theta), theta[..., None, :])
        import torch

        there = torch.as_tensor(np.array(theta, dtype=float))
        return self._on_data(there).numpy()

    def _tensor(self, values: Array, like: Tensor) -> Tensor:
        import torch

        return torch.as_tensor(values, dtype=like.dtype, device=like.device)
