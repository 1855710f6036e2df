"""Whether steps see how a drift, a temperature or a width changes in time."""

import warnings
from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from torch import Tensor

from pdekit.arrays import Array
from pdekit.particles.integrators import Step
from pdekit.particles.run import probes
from pdekit.particles.run.guards import StepSizeWarning
from pdekit.particles.run.schedule import Interval, nth_step
from pdekit.particles.run.step_size import thinned

_LOOKS = 32  # steps that are looked into
_GOLDEN, _OTHER = 0.6180339887498949, 0.4142135623730951  # in step with no period
_SHARE = 0.5  # of its variation over all the time that a function may be off within a step
_GOOD = 0.05  # the same after steps that are advised
_FELT = 1e-3  # of a function itself: variations that may be missed
_FEW = 0.4  # the same of n steps, times n², so that a few steps may be curved
_HALVINGS = 24
_FEW_POINTS = 16  # at which a drift is followed in time

Curve = Callable[[float], Array]


def curves(dynamics: Any, x: Tensor, until: float, seed: int) -> dict[str, tuple[Curve, float]]:
    """What may change in time, each beside the size of what it adds to (`check_time_steps`)."""
    found: dict[str, tuple[Curve, float]] = {}
    if hasattr(dynamics, "drift") and not probes.is_autonomous(dynamics):
        thin = thinned(dynamics)
        points = probes.spread(probes.some(x)[:_FEW_POINTS], seed)[None]
        noise = float(getattr(dynamics, "sigma", 0.0)) / sqrt(until) if until else 0.0

        def drift(t: float) -> Array:
            return np.asarray(thin.drift(points, t).double().nan_to_num(0.0, 0.0, 0.0).cpu())

        found["the drift"] = drift, noise
    if getattr(dynamics, "cools", False):
        found["the noise"] = lambda t: np.array(dynamics.sigma_at(t)), 0.0
    for name in ("gamma", "rate"):
        value = getattr(dynamics, name, None)
        if callable(value):
            found[name] = partial(_number, value), 0.0
    return found


def _number(schedule: Callable[[float], float], t: float) -> Array:
    return np.array(float(schedule(t)))


def check_time_steps(curves: dict[str, tuple[Curve, float]], plan: list[Interval]) -> None:
    """Warn of a function of time that changes within a step as it does over all the time.

    Steps take it at their ends, where they may meet the same phase of a fast one again and again
    (aliasing), so that its mean is another. Each of ``curves`` has a size beside it, of which a
    thousandth is of no effect. Steps are resolved from two and a half in a period on.
    """
    total = sum(interval.steps for interval in plan)
    if not (total and curves):
        return
    steps = [nth_step(plan, int(total * (k * _GOLDEN % 1))) for k in range(_LOOKS)]
    for name, (curve, size) in curves.items():
        if _fixed(curve, plan[-1].stop, steps):
            continue
        off, variation, level = _within(curve, steps, 1.0)
        felt = (_FELT + _FEW / total**2) * max(size, level)
        if off > felt and off > _SHARE * variation:
            warnings.warn(_text(name, curve, steps, off, variation), StepSizeWarning, stacklevel=3)
            return


def _fixed(curve: Curve, until: float, steps: list[Step]) -> bool:
    """Whether it is the same at some times, of which most are within steps."""
    first = curve(0.0)
    times = [until * (k * _GOLDEN % 1) for k in range(1, 5)]
    inside = (s.start + (k * _OTHER % 1) * (s.stop - s.start) for k, s in enumerate(steps))
    return all(np.array_equal(curve(t), first) for t in (*times, *inside))


def _within(curve: Curve, steps: list[Step], share: float) -> tuple[float, float, float]:
    """How far a function is from its chords over this share of steps; its variation; its size."""
    inside, off = [], []
    for k, step in enumerate(steps):
        u, length = k * _OTHER % 1, step.stop - step.start
        start = step.start + u * length * (1 - share)
        ends = curve(start), curve(start + share * length)
        inside.append(curve(start + u * share * length))
        off.append(inside[-1] - ((1 - u) * ends[0] + u * ends[1]))
    values = np.stack(inside)
    return _rms(np.stack(off)), _rms(values - values.mean(0)), _rms(values)


def _text(name: str, curve: Curve, steps: list[Step], off: float, variation: float) -> str:
    size = max(step.size for step in steps)
    shorter = (0.5**k for k in range(1, _HALVINGS))
    good = next((s for s in shorter if _within(curve, steps, s)[0] <= _GOOD * variation), 0.0)
    advice = (
        f"take dt <= {size * good:.1g}, or its average over a period"
        if good
        else "it is rough on every scale: take a smooth one, or its average"
    )
    return (
        f"{name} changes within a step of dt = {size:.3g} as much as over all the time (it is "
        f"{off:.2g} away from its chord there and varies by {variation:.2g}), so that steps may "
        f"see the same phase of it each time, and another mean; {advice}"
    )


def _rms(values: Array) -> float:
    return sqrt(float(np.mean(values**2)))
