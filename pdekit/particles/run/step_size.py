"""Whether a step is short enough for the curvature and for a tamed drift."""

import warnings
from dataclasses import replace
from math import nan, sqrt
from typing import Any

import torch
from torch import Tensor

from pdekit.errors import AccuracyWarning
from pdekit.particles.dynamics.diffusion import Diffusion
from pdekit.particles.integrators import length
from pdekit.particles.run import probes
from pdekit.particles.run.curvature import largest_curvature
from pdekit.particles.run.guards import (
    StepSizeWarning,
    check_box_crossings,
    check_drift,
    check_slopes,
    is_tamed,
)

_SAMPLES = 4096  # terms of a loss that are evaluated
_SHORTENED = 0.2  # tolerated h |b| of a tamed drift b
_KICKS = 3  # by which particles go further between two looks at them, at least
_LOOKS = 32  # further times at which it is estimated


def check_step_size(dynamics: Any, x: Tensor, times: list[float], size: float, seed: int) -> float:
    """The largest curvature at the points ``x``; warns where ``size`` times it exceeds 2.

    A dynamics with another stability limit defines ``stiffness(curvature, size,
    t)``, the rate to use instead of the curvature of its ``drift``; one with a ``mutual`` drift
    beside it is given the curvature of that as well. One may define
    ``step_warning(x, size, t)``, a description of the errors of a stable step, "" for none, or
    ``inaccuracy(curvature, size, t)``, the same from the curvature. Only some of many times are
    checked, and one if the drift does not depend on time. NaN for a user-defined dynamics without
    a drift.
    """
    if not hasattr(dynamics, "drift"):
        return nan
    dynamics = thinned(dynamics)
    check_drift(dynamics, x, times[0])
    check_slopes(dynamics, x, times[0])
    check_box_crossings(dynamics, x, times[0], size)
    rate = getattr(dynamics, "stiffness", lambda curvature, size, t: curvature)
    some = _representative_times(dynamics, x, times, seed)
    found = [_curvatures(dynamics, x, t, seed) for t in some]
    curvature: float
    if len(some) == 1:
        curvature = max(rate(found[0][0], size, t, *found[0][1:]) for t in times)
    else:
        pairs = zip(found, some, strict=True)
        curvature = max(rate(own, size, t, *mutual) for (own, *mutual), t in pairs)
    step_warning = getattr(dynamics, "step_warning", lambda x, size, t: "")
    looked = times if callable(getattr(dynamics, "gamma", None)) else some
    text = next(filter(None, (step_warning(x, size, t) for t in looked)), "") if size else ""
    inaccuracy = getattr(dynamics, "inaccuracy", lambda curvature, size, t: "")
    highest = max(own for own, *_ in found)
    text = text or next(filter(None, (inaccuracy(highest, size, t) for t in looked if size)), "")
    if text and size * curvature <= 2:
        warnings.warn(text, AccuracyWarning, stacklevel=3)
    _warn_if_long(dynamics, x, some, size, curvature, "")
    return curvature


def check_final_curvature(
    dynamics: Any,
    x: Tensor,
    ends: Tensor | None,
    t: float,
    size: float,
    seed: int,
    before: float,
) -> None:
    """Check the curvature again at the final positions, if it was acceptable ``before``.

    And around the outermost places in a box (2, axes, d) that were reached on the way, if they are
    given: walls fold back into the box what steps too long throw out of it, so that nothing is left
    of it at the end.
    """
    if size * before <= 2 and hasattr(dynamics, "drift"):
        dynamics = thinned(dynamics)
        check_slopes(dynamics, x, t)
        places = [(x, " where particles are at the end")]
        if ends is not None:
            kicks = _KICKS * float(getattr(dynamics, "sigma", 0.0)) * sqrt(size)
            further = probes.further_out(ends, kicks, dynamics.box)
            places.append((further, " where particles were on the way"))
        rate = getattr(dynamics, "stiffness", lambda curvature, size, t: curvature)
        for there, where in places:
            own, *mutual = _curvatures(dynamics, there, t, seed)
            if _warn_if_long(dynamics, there, [t], size, rate(own, size, t, *mutual), where):
                return


def watches_ends(dynamics: Any) -> bool:
    """Whether a box, in which single particles move by one drift for all time, hides steps."""
    alone = not getattr(dynamics, "coupled", False) and hasattr(dynamics, "drift")
    box = getattr(dynamics, "box", None)
    return alone and box is not None and probes.is_autonomous(dynamics)


def _curvatures(dynamics: Any, x: Tensor, t: float, seed: int) -> list[float]:
    """Of the drift, and of what particles feel of each other where it is not part of it."""
    drifts = [dynamics, getattr(dynamics, "mutual", None)]
    return [largest_curvature(one, x, t, seed) for one in drifts if one is not None]


def thinned(dynamics: Any) -> Any:
    """The dynamics, with a subset of the samples if there are many."""
    V, gradient = getattr(dynamics, "potential", None), getattr(dynamics, "gradient", None)
    if V is None or not (hasattr(V, "thinned") and getattr(gradient, "samples", False)):
        return dynamics
    return replace(dynamics, potential=V.thinned(_SAMPLES))


def _warn_if_long(
    dynamics: Any, x: Tensor, times: list[float], size: float, curvature: float, where: str
) -> bool:
    """Of a step beyond the stability limit, or one whose tamed drift is much too short."""
    tamed = is_tamed(dynamics)
    moved = max(_tamed_length(dynamics, x, t, size) for t in times) if tamed else 0.0
    stable, enough = 0.5 / max(curvature, 1e-300), size * _SHORTENED / max(2 * moved, 1e-300)
    text = ""
    if size * curvature > 2:
        fate = (
            "tamed steps stay finite there, but jump across wells, and their law is not that of "
            "the equation"
            if tamed
            else "an explicit step is unstable there"
        )
        text = f"dt * curvature = {size:.3g} * {curvature:.3g} = {size * curvature:.3g} > 2{where}"
        text += f": {fate}; take dt <= {min(stable, enough):.1g}"
    elif moved > _SHORTENED:
        text = (
            f"dt * |drift| = {moved:.3g}{where}: tamed steps stay finite, but lose up to "
            f"{moved / (1 + moved):.0%} of the drift there, and the law is biased as much; take dt "
            f"<= {min(stable, enough):.1g}, or measure x in a longer unit"
        )
    if text:
        warnings.warn(text, StepSizeWarning, stacklevel=4)
    return bool(text)


def _tamed_length(dynamics: Any, x: Tensor, t: float, size: float) -> float:
    """The largest h |b| at the points, h in the time of the process that the slope drives."""
    inner = getattr(dynamics, "inner_size", lambda size: size)
    return float(length(dynamics.drift(probes.some(x)[None], t)).max()) * float(inner(size))


def _representative_times(
    dynamics: Diffusion, x: Tensor, times: list[float], seed: int
) -> list[float]:
    """Some of the times; a single one if the drift is constant in time."""
    if probes.is_autonomous(dynamics):
        return times[:1]
    last = len(times) - 1
    some = [times[i] for i in sorted({round(k * last / _LOOKS) for k in range(_LOOKS + 1)})]
    points = probes.spread(probes.some(x), seed)[None]
    first = dynamics.drift(points, some[0])
    same = all(torch.equal(dynamics.drift(points, t), first) for t in some[1:])
    return some[:1] if same else some
