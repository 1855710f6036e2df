"""Mixtures of laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array, Corner
from pdekit.grid import Grid
from pdekit.laws.protocol import Law, Source, require_law

if TYPE_CHECKING:
    from torch import Tensor


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
