"""Functions on the sphere |x|² = d as sums of n Gaussian kernels, many networks side by side.

f⁽ⁿ⁾(x) = n⁻¹ Σ c_i φ(x, z_i), φ(x, z) = exp(-α|x - z|²/2) = exp(α (x·z - d)), |z|² = d, fitted to
the spherical 3-spin function f(x) = d⁻¹ Σ a_pqr x_p x_q x_r (report (42) to (46), errata 66). The
loss E (f - f⁽ⁿ⁾)²/2 over the sphere is known without sampling: harmonics of degree k are
eigenfunctions of φ (Funk and Hecke), and f has degrees 1 and 3.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import torch
from scipy import special

Array = np.ndarray
Tensor = torch.Tensor


def eigenvalue(degree: int, dim: int, t: Any) -> Any:
    """e^-t Γ(d/2) (2/t)^(d/2-1) I_(k+d/2-1)(t), of exp(t (x·z - 1)) on the unit sphere."""
    t = np.asarray(t, float)
    half = dim / 2 - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        value = special.gamma(dim / 2) * (2 / t) ** half * special.ive(degree + half, t)
    return np.where(t > 0, value, float(degree == 0))


@dataclass(frozen=True)
class Spins:
    """The 3-spin function of couplings a ``(d, d, d)``, and what is known of it and of kernels."""

    a: Array
    alpha: float

    @property
    def dim(self) -> int:
        return len(self.a)

    @cached_property
    def form(self) -> Array:
        """Symmetric S with f = S[x, x, x]/d."""
        return np.mean([self.a.transpose(order) for order in permutations(range(3))], axis=0)

    @cached_property
    def linear(self) -> Array:
        """ℓ of S[x, x, x] = harmonic of degree 3 + |x|² ℓ·x."""
        return 3 * np.einsum("ijj->i", self.form) / (self.dim + 2)

    def __call__(self, x: Array) -> Array:
        """f, shape of ``x`` less its last axis."""
        return np.einsum("ijk,...i,...j,...k", self.form, x, x, x, optimize=True) / self.dim

    def tensor(self, x: Tensor) -> Tensor:
        """The same of tensors ``(..., d)``, by one product of matrices."""
        pairs = (x[..., :, None] * x[..., None, :]).flatten(-2)
        form = torch.as_tensor(self.form, dtype=x.dtype).reshape(-1, self.dim)
        return ((pairs @ form) * x).sum(-1) / self.dim

    @cached_property
    def square(self) -> float:
        """E f², by the sixth moments of the sphere."""
        d, t = self.dim, np.einsum("ijj->i", self.form)
        return float((6 * (self.form**2).sum() + 9 * (t**2).sum()) / ((d + 2) * (d + 4)))

    def projected(self, z: Array) -> Array:
        """E f(x) φ(x, z)."""
        one, three = (eigenvalue(k, self.dim, self.alpha * self.dim) for k in (1, 3))
        return three * self(z) + (one - three) * (z @ self.linear)

    def overlap(self, z: Array, other: Array) -> Array:
        """E φ(x, z) φ(x, z') ``(..., n, m)``."""
        length = np.linalg.norm(z[..., :, None, :] + other[..., None, :, :], axis=-1)
        t = self.alpha * self.dim**0.5 * length
        return eigenvalue(0, self.dim, t) * np.exp(t - 2 * self.alpha * self.dim)

    def loss(self, c: Array, z: Array) -> Array:
        """E (f - f⁽ⁿ⁾)²/2; c ``(..., n)``, z ``(..., n, d)``."""
        n = c.shape[-1]
        second = np.einsum("...i,...ij,...j", c, self.overlap(z, z), c)
        return (self.square - 2 * (c * self.projected(z)).sum(-1) / n + second / n**2) / 2


def on_sphere(z: Tensor) -> Tensor:
    """Projected radially to |z|² = d."""
    return z * (z.shape[-1] ** 0.5 / z.norm(dim=-1, keepdim=True))


def pulls(spins: Spins, c: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """-n times the slopes of the loss on points x ``(runs, batch, d)``: E rφ, α c E rφx, tangent.

    r = f - f⁽ⁿ⁾, c ``(runs, n)``, z ``(runs, n, d)``.
    """
    phi = torch.exp(spins.alpha * (torch.bmm(x, z.mT) - spins.dim))
    r = spins.tensor(x) - (phi @ c[..., None])[..., 0] / c.shape[-1]
    weighted = phi * (r / x.shape[1])[..., None]
    along = spins.alpha * c[..., None] * torch.bmm(weighted.mT, x)
    return weighted.sum(1), along - z * ((along * z).sum(-1, keepdim=True) / spins.dim)
