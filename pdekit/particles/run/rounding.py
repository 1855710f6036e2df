"""Whether steps are lost to rounding, because they are short compared with the positions."""

import warnings
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import torch
from torch import Tensor

from pdekit.errors import AccuracyWarning

_FINE = 3  # spacings of numbers in the noise of a step, from which its variance is right to 1 %
_DITHER = 0.5  # the same, from which a drift below the spacing is right to 2 %
_SEEN = 4  # spacings that noise or drift must make in all, to be missed
_LOST = 0.01  # of the way and width of an ensemble
_SOME = 512  # particles that are looked at


@dataclass(frozen=True)
class RoundingCheck:
    """Of steps of this ``size`` up to the time ``until``; particles started at ``start`` (n, d).

    ``rate`` is that at which the drift forgets, 0 for never.
    """

    dynamics: Any
    start: Tensor
    until: float
    size: float
    rate: float

    def warn(self, x: Tensor, t: float) -> bool:
        """Warn where steps from x ``(n, d)`` fall below the spacing of its numbers; whether it did.

        Noise below it has another variance, or none. A drift below it is kept on average by a
        noise that is not, to which it is added before both are rounded, and lost without. Neither
        matters where all of it, over the time that the drift remembers, is a few spacings, or where
        the drift is little beside the way and the width of the ensemble.
        """
        if not (self.size and hasattr(self.dynamics, "drift")):
            return False
        x, start = x[:_SOME], self.start[:_SOME]
        if self._is_far_above(x, start, t):
            return False
        apart = _rms(torch.nextafter(x.abs(), x.new_tensor(inf)) - x.abs())
        speed, sigma = _speed(self.dynamics, x, t), _sigma(self.dynamics, x, t).double()
        time = min(self.until, 1 / self.rate if self.rate > 0 else inf)
        kick = sigma * sqrt(self.size) + 0 * apart
        coarse = (kick < _FINE * apart) & (sigma * sqrt(time) > _SEEN * apart)
        lost = time * torch.minimum(speed, apart / (2 * self.size))
        way = (x.double().mean(0) - start.double().mean(0)).abs() + time * speed
        width = sum(y.double().std(0, correction=0) for y in (x, start))
        stuck = (speed * self.size < apart) & (kick < _DITHER * apart)
        stuck &= (lost > _SEEN * apart) & (lost > _LOST * (way + width))
        for k in (coarse | stuck).nonzero()[:1, 0].tolist():
            moved = (
                f"the noise of a step is {float(kick[k]):.2g}"
                if coarse[k]
                else f"the drift makes {float(speed[k]) * self.size:.2g} a step"
            )
            warnings.warn(_text(x, k, float(apart[k]), moved), AccuracyWarning, stacklevel=3)
            return True
        return False

    def _is_far_above(self, x: Tensor, start: Tensor, t: float) -> bool:
        """Whether noise and width alone exclude it, with room to spare, at a glance."""
        if hasattr(self.dynamics, "sigmas"):
            return False
        spacing = float(torch.finfo(x.dtype).eps * x.abs().max())  # at least the largest one
        narrow = min(float(y.std(0, correction=0).min()) for y in (x, start))
        noise = float(_sigma(self.dynamics, x, t)) * sqrt(self.size)
        heard = noise == 0 or noise > 2 * _FINE * spacing
        return heard and self.until * spacing < _LOST * narrow * self.size


def _text(x: Tensor, k: int, apart: float, moved: str) -> str:
    kind = str(x.dtype).removeprefix("torch.")
    finer = "take dtype='float64', or " if x.dtype == torch.float32 else ""
    return (
        f"near x[{k}] = {float(x[0, k]):.4g} numbers of {kind} are {apart:.2g} apart, and {moved}: "
        f"rounding loses it, so that particles stand still or move by another law; {finer}measure "
        "x from a point near the particles, or take longer steps"
    )


def _rms(x: Tensor) -> Tensor:
    """Over the particles."""
    return x.double().nan_to_num(0.0, 0.0, 0.0).square().mean(0).sqrt()


def _speed(dynamics: Any, x: Tensor, t: float) -> Tensor:
    """Of each coordinate: by the drift, or what a dynamics declares as ``speed``."""
    own = getattr(dynamics, "speed", None)
    return _rms(dynamics.drift(x[None], t)[0] if own is None else torch.full_like(x, own))


def _sigma(dynamics: Any, x: Tensor, t: float) -> Tensor:
    """Noise of each coordinate per square root of time; 0 where it is not known."""
    if hasattr(dynamics, "sigmas"):
        return _rms(dynamics.sigmas(x))
    sigma_at = getattr(dynamics, "sigma_at", lambda t: getattr(dynamics, "sigma", 0.0))
    return torch.tensor(float(sigma_at(t)), device=x.device)
