"""Gaussian classes told apart by neurons a max(<w, x> + b, 0), of which a, b and w are trained."""

from dataclasses import dataclass, field
from math import pi
from typing import Any

import torch
from array_api_compat import array_namespace, is_torch_array
from scipy import special

import pdekit as pk
from networks.hermite import TERMS, above, pairs

Tensor = torch.Tensor

RELU = pk.networks.PiecewiseLinear((0.0,), (1.0,))


@dataclass(frozen=True)
class ReluClasses:
    """σ*(x; θ) = a max(<w, x> + b, 0), θ = (a, b, w); x as for ``pk.networks.GaussianClasses``.

    ``dims`` and ``deltas`` of the blocks of coordinates. V and U depend on z = (a, b, r_1, ...),
    r_k = |w_k| in block k, if directions are uniform: with s± = √(Σ (1 ± Δ_k)² r_k²) and
    m± = a E max(s± G + b, 0), V = (m- - m+)/2 and U = (m+ m+' + m- m-')/2 + O(1/d). The leading
    part of the rest is that of c², c the correlation of <w, x> and <w', x>, of mean
    Σ_k ((1 ± Δ_k)² r_k r_k')²/(d_k s² s'²): 1/2 of a φ(b/s) (1 ± Δ_k)² r_k²/(s √(2 d_k)) times its
    like, for each class and block. ``finite``: with it.
    """

    dims: tuple[int, ...]
    deltas: tuple[float, ...]
    finite: bool = True
    classes: Any = field(init=False)

    labels_square = 1.0
    uniforms = 1

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "classes", pk.networks.GaussianClasses(self.dims, self.deltas, RELU)
        )

    @property
    def normals(self) -> int:
        return sum(self.dims)

    @property
    def dim(self) -> int:
        """D = d + 2."""
        return self.normals + 2

    def data(self, normals: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Points and labels."""
        return self.classes.data(normals, uniforms)

    def neurons(self, x: Tensor, theta: Tensor) -> Tensor:
        """σ* at each point."""
        return self.response(x, theta)[0]

    def response(self, x: Tensor, theta: Tensor) -> Any:
        """σ* and w_b -> Σ_b w_b (max(t, 0), a 1(t > 0), a 1(t > 0) x_b), t = <w, x_b> + b."""
        a, b, w = theta[..., :1], theta[..., 1:2], theta[..., 2:]
        t = w @ x.mT + b
        on, value = (t > 0).to(t.dtype), t.clamp(min=0)

        def weighted(weights: Tensor) -> Tensor:
            pull = on * (a * weights[..., None, :])
            own = (value @ weights[..., None], pull.sum(-1, keepdim=True), pull @ x)
            return torch.cat(own, dim=-1)

        return a * value, weighted

    # ---- the limit -------------------------------------------------------------------------------

    def reduced(self, theta: Any) -> Any:
        """z (..., 2 + blocks)."""
        xp = array_namespace(theta)
        return xp.concat([theta[..., :2], self.classes.reduced(theta[..., 2:])], axis=-1)

    @property
    def potential(self) -> pk.potentials.Custom:
        """V."""

        def value(z: Any) -> Any:
            plus, minus = self._means(z)
            return (minus - plus) / 2

        return pk.potentials.Custom(value, dim=2 + len(self.dims))

    def features(self, z: Any) -> Any:
        """f with U = Σ f f'."""
        found = list(self._means(z))
        if self.finite:
            found += self._of_finite_dims(z)
        return array_namespace(z).stack(found, axis=-1) / 2**0.5

    def variance(self, z: Any) -> Any:
        """Mean of Var σ* over the classes."""
        a, b = z[..., 0], z[..., 1]
        found = 0
        for s, m in zip(self.classes.features.widths(z[..., 2:]), self._means(z), strict=True):
            phi, below = _normal(b / s)
            found = found + a * a * ((s * s + b * b) * below + b * s * phi) - m * m
        return found / 2

    def _means(self, z: Any) -> list[Any]:
        """m+ and m-: a (s φ(b/s) + b Φ(b/s))."""
        a, b, widths = z[..., 0], z[..., 1], self.classes.features.widths(z[..., 2:])
        parts = [(s, *_normal(b / s)) for s in widths]
        return [a * (s * phi + b * below) for s, phi, below in parts]

    def _of_finite_dims(self, z: Any) -> list[Any]:
        a, b, radii = z[..., 0], z[..., 1], z[..., 2:]
        out = []
        for sign, s in zip((1, -1), self.classes.features.widths(radii), strict=True):
            second = a * _normal(b / s)[0] / s
            for k, (d, delta) in enumerate(zip(self.dims, self.deltas, strict=True)):
                out.append(second * (1 + sign * delta) ** 2 * radii[..., k] ** 2 / (2 * d) ** 0.5)
        return out

    # ---- a network of finitely many neurons ------------------------------------------------------

    def exact_risk(self, theta: Tensor, terms: int = TERMS) -> tuple[Tensor, Tensor]:
        """E (y - ŷ)² of neurons (n, D), and a bound of what its series leaves out."""
        found = [self._of_class(theta, y, terms) for y in (1, -1)]
        risk, left = (torch.stack(part).mean() for part in zip(*found, strict=True))
        return risk, left

    def _of_class(self, theta: Tensor, y: int, terms: int) -> tuple[Tensor, Tensor]:
        a, b, n = theta[:, 0], theta[:, 1], len(theta)
        scale = [1 + y * delta for d, delta in zip(self.dims, self.deltas, strict=True)
                 for _ in range(d)]  # fmt: skip
        seen = theta[:, 2:] * theta.new_tensor(scale)
        s = torch.linalg.vector_norm(seen, dim=1)
        mean, *rest = [a * s * h for h in above(-b / s, terms)]
        phi, below = _normal(b / s)
        variance = a * a * ((s * s + b * b) * below + b * s * phi) - mean**2
        shared, left = pairs(seen, rest, variance)
        return (mean.mean() - y) ** 2 + (variance.sum() + shared) / n**2, left / n**2


def _normal(t: Any) -> tuple[Any, Any]:
    """φ(t) and Φ(t)."""
    below = torch.special.ndtr(t) if is_torch_array(t) else special.ndtr(t)
    return array_namespace(t).exp(-t * t / 2) / (2 * pi) ** 0.5, below
