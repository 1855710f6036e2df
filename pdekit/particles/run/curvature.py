"""The largest curvature of what moves particles, from their drift alone.

Each particle has its own where they are independent; all have one together where they interact, see
``joint_curvature``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.differences import best, differences
from pdekit.lazy import cached_property
from pdekit.particles.dynamics.diffusion import Diffusion
from pdekit.particles.run import probes
from pdekit.particles.run.joint_curvature import EULER, joint_rate
from pdekit.potentials.protocol import kernels_of

_POWER_STEPS = 8  # enough to distinguish 2 from 1; exact for d = 1
_SECOND = 0.21  # factor of the increment of a difference, for a second estimate
_CURVED = 0.01  # tolerated difference of the two, and of a product from that of a diagonal
_LADDER = [10.0**-k for k in range(-4, 10)]  # factors of those that are tried where they differ
_ALL_PAIRS = 256  # points at most where they interact
_TOGETHER = 1 << 15  # numbers in points at which formulas are evaluated at once


def largest_curvature(dynamics: Any, x: Tensor, t: float, seed: int = 0) -> float:
    """The largest v·(-Db(x, t))v / |v|² at the points ``(n, d)``, or 0.

    -Db is the Hessian of the potential, its products are differences of the drift. In the plane
    it is known by two of them, and so is a diagonal one, that of a sum over the coordinates; else
    it is looked for by power iteration. Of a drift of all points together it is ``joint_rate``, by
    which the integrator is stable.
    """
    attracted = getattr(dynamics, "attracted", None)
    if attracted is not None:
        return largest_curvature(Alone(dynamics), x, t, seed) + float(attracted)
    x = probes.some(x)
    if _drifts_together(dynamics):
        x = x[:: max(1, len(x) // _ALL_PAIRS)]
    v, largest, around = probes.directions(x, seed), 0.0, _Around(dynamics, x, t)
    if around.coupled:
        stability = checks.declared(getattr(dynamics, "integrator", None), "stability") or EULER
        return joint_rate(around.joint_product, v, stability)
    if x.shape[-1] == 2:
        return _of_plane(around)
    for k in range(_POWER_STEPS if x.shape[-1] > 1 else 1):
        v = v / v.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        product = around.product(around.two, v).nan_to_num(0.0, 0.0, 0.0)
        largest = max(largest, float((v * product).sum(dim=-1).max()))
        if k == 0 and x.shape[-1] > 1:
            diagonal = around.diagonal()
            apart = (product - diagonal * v).abs().amax(dim=-1)
            if bool((apart <= _CURVED * product.abs().amax(dim=-1)).all()):
                return max(largest, float(diagonal.max()))
        v = product
    return largest


@dataclass(frozen=True)
class Alone:
    """The particles of a dynamics without their interaction."""

    dynamics: Any

    @property
    def potentials(self) -> Any:
        """Those of each particle."""
        return self.dynamics.potentials

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Of each by itself."""
        return Diffusion.drift(self.dynamics, x, t)


def _of_plane(around: "_Around") -> float:
    """The larger eigenvalue of the symmetric part."""
    first, second = (around.along(axis) for axis in ([1.0, 0.0], [0.0, 1.0]))
    across = (first[:, 1] + second[:, 0]) / 2
    mean, half = (first[:, 0] + second[:, 1]) / 2, (first[:, 0] - second[:, 1]) / 2
    return max(0.0, float((mean + torch.hypot(half, across)).max()))


class _Around:
    """The drift around points (n, d) at time t, and products with -Db there by differences."""

    def __init__(self, dynamics: Diffusion, x: Tensor, t: float) -> None:
        self.dynamics, self.x, self.t = dynamics, x, t
        self.coupled = _drifts_together(dynamics)
        # slopes by differences share their steps among the points that they are asked for together
        self.together = _TOGETHER // max(x.numel(), 1) if _by_formulas(dynamics) else 1
        self.smooth = False

    def reach(self, steps: list[float], v: Tensor | None = None) -> Tensor:
        """Lengths (step, n, 1) of steps in units of what suits a smooth drift.

        One for all points where they interact, by which the one that moves most goes as far.
        """
        unit = torch.finfo(self.x.dtype).eps ** (1 / 3)
        scales = self.x.new_tensor([step * unit for step in steps])
        far = self.x.norm(dim=-1, keepdim=True)
        if v is not None:
            far = far.square().mean().sqrt()[None, None]
            scales = scales / v.norm(dim=-1).max()
        lengths: Tensor = scales[:, None, None] * (1 + far)
        return lengths

    @cached_property
    def two(self) -> Tensor:
        """A step, and a second one to confirm what is found by it."""
        return self.reach([1.0, _SECOND])

    def along(self, v: list[float]) -> Tensor:
        """-Db v of the same unit vector at all points; 0 where it is not finite."""
        product = self.product(self.two, self.x.new_tensor(v).expand_as(self.x))
        return product.nan_to_num(0.0, 0.0, 0.0)

    def diagonal(self) -> Tensor:
        """That of -Db where it has nothing else: the sums of its rows."""
        length = self.x.shape[-1] ** 0.5
        rows: Tensor = length * self.along([1 / length] * self.x.shape[-1])
        return rows

    def product(self, two: Tensor, v: Tensor) -> Tensor:
        """-Db v by the first of two steps, by an adaptive one where the second disagrees."""
        ahead, behind, width = self.ends(two, v)
        found = (behind - ahead) / width
        common, second = found[0], found[1]
        apart, size = (common - second).abs().amax(dim=-1), found.abs().amax(dim=(0, -1))
        if self.coupled:  # entries beside much larger ones need not be as right
            apart, size = apart.square().sum().sqrt(), size.square().sum().sqrt()
        off = ~(apart <= _CURVED * size).expand(len(v))  # also where it is NaN
        self.smooth = not bool(off.any())
        if not self.smooth:
            common = common.clone()
            common[off] = _Around(self.dynamics, self.x[off], self.t).searched(v[off])
        return common

    def joint_product(self, v: Tensor) -> Tensor:
        """-Db v of all points moved at once; where two steps agree once, one is enough after."""
        if not self.smooth:
            return self.product(self.reach([1.0, _SECOND], v), v)
        ahead, behind, width = self.ends(self.reach([1.0], v), v)
        found: Tensor = ((behind - ahead) / width)[0]
        return found

    def searched(self, v: Tensor) -> Tensor:
        """-Db v by the steps confirmed by others; 0 if there is none, as where b jumps."""
        reach = self.reach(_LADDER, v if self.coupled else None)
        parts = *self.ends(reach, v), self.drifts(self.x[None])[0]
        ahead, behind, width, middle = (part.double().cpu().numpy() for part in parts)
        loose = float(torch.finfo(v.dtype).eps) if v.dtype == torch.float32 else 0.0
        with np.errstate(all="ignore"):
            slope, doubt = best(differences(ahead, behind, middle, width, loose))
        slope[~(doubt <= np.abs(slope).max(-1, keepdims=True) / 2)] = 0
        return torch.as_tensor(slope, dtype=v.dtype, device=v.device)

    def ends(self, reach: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The drift at both ends of steps along v, and their distance after rounding."""
        shift = reach * v
        there, here = self.x + shift, self.x - shift
        width = ((there - here) * v).sum(dim=(-2, -1) if self.coupled else -1, keepdim=True)
        ahead, behind = self.drifts(torch.cat((there, here))).chunk(2)
        return ahead, behind, width

    def drifts(self, places: Tensor) -> Tensor:
        """The drift at sets of points (k, n, d), several of them together.

        They are runs where particles interact.
        """
        found = []
        for part in places.split(max(1, self.together)):
            points = part if self.coupled else part.reshape(1, -1, part.shape[-1])
            found.append(self.dynamics.drift(points, self.t).reshape(part.shape))
        return found[0] if len(found) == 1 else torch.cat(found)


def _drifts_together(dynamics: Any) -> bool:
    """Whether its drift is one of all particles: where it is defined, ``coupled`` is known."""
    kinds = type(dynamics).__mro__
    owner = next((k for k, kind in enumerate(kinds) if "drift" in vars(kind)), 0)
    said = [k for k, kind in enumerate(kinds) if "coupled" in vars(kind)]
    return bool(getattr(dynamics, "coupled", False)) and (not said or max(said) >= owner)


def _by_formulas(dynamics: Any) -> bool:
    """Whether all potentials are formulas, as those are that compiled loops know."""
    single = getattr(dynamics, "potential", None)
    return all(kernels_of(V) for V in getattr(dynamics, "potentials", (single,)))
