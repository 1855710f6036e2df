"""Initial positions of a tile, from a law or from an array."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pdekit.lazy import cached_property
from pdekit.particles.noise import LawNoise
from pdekit.particles.run import guards
from pdekit.particles.run.initial_positions import positions
from pdekit.particles.run.tiles import PAD, Tile

# tolerated difference of samples drawn together with others, in units of the last place
_ROUNDING = 64
_PROBED = 512  # points at which a dynamics is checked before it starts


class Start(Protocol):
    """Initial positions, computed on demand."""

    @property
    def probe(self) -> Tensor:
        """Some of them, ``(m, dim)``."""
        ...

    def of(self, tile: Tile) -> Tensor:
        """Positions of the actual particles of a tile, ``(runs, size, dim)``."""
        ...


@dataclass(frozen=True)
class FromLaw:
    """Samples of a law that computes each from its own noise (``law.pointwise``)."""

    law: Any
    seed: int
    probe: Tensor
    dtype: torch.dtype
    device: torch.device

    def of(self, tile: Tile) -> Tensor:
        runs = range(tile.run, tile.run + tile.runs)
        x = torch.stack([self._sample(r, tile.particle, tile.size) for r in runs])
        _check_finite(x, tile.run, tile.particle)
        return x

    def _sample(self, run: int, first: int, size: int) -> Tensor:
        noise = LawNoise(self.seed, run, self.dtype, self.device, first)
        # torch rounds remainders differently: a particle's start must not depend on its tile
        return _sampled(self.law, -(-size // PAD) * PAD, noise)[:size]


@dataclass(frozen=True)
class FromArray:
    """Positions ``(1 or runs, n, dim)`` given in advance; a single run is used for all."""

    x: Tensor
    dtype: torch.dtype
    device: torch.device

    @cached_property
    def probe(self) -> Tensor:
        x = self.x.flatten(0, 1)  # of every run: one alone may start where the drift is stiff
        return x[:: max(1, len(x) // _PROBED)][:_PROBED].to(dtype=self.dtype, device=self.device)

    def of(self, tile: Tile) -> Tensor:
        runs = slice(tile.run, tile.run + tile.runs) if len(self.x) > 1 else slice(None)
        x = self.x[runs, tile.particle : tile.particle + tile.size]
        x = x.to(dtype=self.dtype, device=self.device)
        _check_finite(x, tile.run, tile.particle)  # float32 may overflow
        return x.expand(tile.runs, -1, -1)


@dataclass(frozen=True)
class WithNewcomers:
    """A start of ``n`` particles a run, beside those that are to enter: they get any place."""

    start: Any
    n: int

    @property
    def probe(self) -> Tensor:
        """Some of the positions at the start."""
        x: Tensor = self.start.probe
        return x

    def of(self, tile: Tile) -> Tensor:
        """Positions of the particles of a tile."""
        here = min(max(self.n - tile.particle, 0), tile.size)
        x = self.probe[:1].expand(tile.runs, tile.size, -1).clone()
        if here:
            x[:, :here] = self.start.of(tile._replace(size=here))
        return x


def start(
    initial: Any, n: int, runs: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Start:
    """The start given by ``initial``, checked."""
    if isinstance(initial, type):
        name = initial.__name__
        raise TypeError(f"initial must be a law, got the class {name}; write {name}(...)")
    draws = hasattr(initial, "sample") and not hasattr(
        initial, "to_numpy"
    )  # pandas objects have both
    if draws and not type(initial).__module__.startswith("pdekit."):
        few = min(n, PAD) if getattr(initial, "pointwise", False) else n
        _check_law(initial, few, LawNoise(seed, 0, dtype, device))
    if getattr(initial, "pointwise", False):
        noise = LawNoise(seed, 0, dtype, device)
        count = min(n, _PROBED)
        probe = _sampled(initial, -(-count // PAD) * PAD, noise)[:count]
        return FromLaw(initial, seed, probe, dtype, device)
    if draws:
        samples = (_sampled(initial, n, LawNoise(seed, r, dtype, device)) for r in range(runs))
        x = torch.stack(list(samples))
    elif callable(initial) or isinstance(initial, str) or initial is None:
        raise TypeError(
            f"initial must be a law, or an array or tensor of shape (n, d), got {initial!r}"
        )
    else:
        x = positions(initial, n, runs)
    _check_finite(x, 0, 0)
    return FromArray(x, dtype, device)


def _check_law(law: Any, n: int, noise: LawNoise) -> None:
    """``ValueError`` for a user-defined law that uses other random numbers."""
    once, again = (_sampled(law, n, replace(noise)) for _ in range(2))
    if not torch.equal(once.nan_to_num(), again.nan_to_num()):
        raise ValueError(
            f"{type(law).__name__}.sample(n, noise) gave two results for the same noise; draw from "
            "noise.normal(n, d) and noise.uniform(n, d) instead of torch's or numpy's generators"
        )
    if getattr(law, "pointwise", False):
        more = _sampled(law, n + PAD, replace(noise))[:n]
        if bool(
            ((more - once).abs() > _ROUNDING * torch.finfo(noise.dtype).eps * once.abs()).any()
        ):
            raise ValueError(
                f"{type(law).__name__} declares pointwise = True, but the sample of a particle "
                "changes when more are drawn; compute sample i from row i of the noise alone, or "
                "remove pointwise"
            )


def _sampled(law: Any, n: int, noise: LawNoise) -> Tensor:
    drawn = law.sample(n, noise)
    if not isinstance(drawn, Tensor | np.ndarray):
        raise TypeError(
            f"{type(law).__name__}.sample(n, noise) must return a tensor of shape (n, d), "
            f"got {type(drawn).__name__}"
        )
    sample = torch.as_tensor(drawn, dtype=noise.dtype, device=noise.device)
    _check_shape(sample, n)
    return sample


def _check_shape(x: Tensor, n: int) -> None:
    if x.ndim != 2 or len(x) != n or x.shape[1] < 1:
        hint = "; write x[:, None] for particles on a line" if x.ndim == 1 else ""
        raise ValueError(f"initial must have shape (n, d) with n = {n}, got {tuple(x.shape)}{hint}")


def _check_finite(x: Tensor, run: int, first: int) -> None:
    if not guards.all_finite(x):
        r, particle, _ = (~torch.isfinite(x)).nonzero()[0].tolist()
        raise ValueError(
            f"initial must be finite positions; particle {first + particle} is not finite: "
            f"{x[r, particle].tolist()}"
        )
