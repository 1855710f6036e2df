"""Checks of a simulation: non-finite particles, too long steps, dynamics that are none."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import nan, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import best, differences
from pdekit.errors import AccuracyWarning
from pdekit.grid import Grid
from pdekit.interactions import of_two_points
from pdekit.particles.dynamics.diffusion import Diffusion, at_time
from pdekit.particles.integrators import Step, length
from pdekit.particles.noise import PROBE, Address, fill_normals
from pdekit.potentials.algebra import leaves, users_gradient
from pdekit.potentials.consistency import check_gradient, note, seen
from pdekit.potentials.seam import jump_at_seam, kernel_jump_at_seam, looks

_BESIDE = 1e-2  # of a point, or 1: distance of others from it that are looked at
_INHERITED = "It is inherited, and the values are the class's own: define grad as well"
_SAMPLES = 4096  # terms of a loss that are evaluated
_SECOND = 0.21  # factor of the increment of a difference, for a second estimate
_CURVED = 0.01  # tolerated difference of the two
_PROBED = 512  # particles whose curvature is estimated
_SHORTENED = 0.2  # tolerated h |b| of a tamed drift b
_LOST = 1e-3  # required accuracy of positions, relative to the width of the box
_LOOKS = 32  # further times at which it is estimated
_FEW_POINTS = 16  # at which a drift is followed in time
_POWER_STEPS = 8  # enough to distinguish 2 from 1; exact for d = 1

Curve = Callable[[float], Array]


class NonFiniteError(ValueError, FloatingPointError):
    """A particle became NaN or infinite; nothing is returned."""


class StepSizeWarning(UserWarning):
    """The step is longer than the curvature of the potential, or a tamed drift, allows."""


def check_dynamics(dynamics: Any) -> None:
    """``TypeError`` for anything but a dynamics, with a suggestion."""
    name = type(dynamics).__name__
    if isinstance(dynamics, type):
        raise TypeError(f"simulate takes a dynamics, got a class; write {dynamics.__name__}(...)")
    if type(dynamics).__module__.startswith("pdekit.pde."):
        raise TypeError(
            f"{name} is an equation, which solve({name}(...), grid, initial, t) takes; simulate "
            "takes a dynamics, such as Langevin(V, beta)"
        )
    if not callable(getattr(dynamics, "step", None)):
        hint = f"; of a potential it is Langevin({name}(...), beta)" if callable(dynamics) else ""
        raise TypeError(
            "simulate takes a dynamics, such as Langevin(V, beta) or an object with a method "
            f"step(state, step, noise), got {dynamics!r}{hint}"
        )
    box = getattr(dynamics, "box", None)
    if box is not None and not isinstance(box, Grid):
        raise TypeError(
            f"{name}: box must be a Grid, such as box=Grid(-2, 2, 100) with walls at -2 and 2, "
            f"got {box!r}"
        )


def check_seam(dynamics: Any, x: Tensor, until: float) -> None:
    """Warn of a potential, or an interaction of two points, that jumps at the seam of a periodic
    axis of the box, from starts ``x``."""
    box = getattr(dynamics, "box", None)
    if box is None or not any(box.periodic) or not hasattr(dynamics, "potentials"):
        return
    sigma_at = getattr(dynamics, "sigma_at", lambda t: dynamics.sigma)
    changes = _moves(dynamics) or hasattr(dynamics, "sigma_at")
    counts = torch.bincount(box.cell_of(x), minlength=int(np.prod(box.shape)))
    start = counts.cpu().numpy().reshape(box.shape)
    jump, what, instead = "", "interaction", "an interaction of sines and cosines, or walls"
    with suppress(Exception):  # what fails on points is reported where particles are
        if of_two_points(getattr(dynamics, "interaction", None)):
            U: Any = dynamics.interaction  # type: ignore[attr-defined]
            jump = kernel_jump_at_seam(U, box, _beta(sigma_at(0.0)), start)
    stored = {float(t) for V in dynamics.potentials for t in getattr(V, "times", ())}
    for t in looks(until, stored) if changes else [0.0]:
        if jump:
            break
        with suppress(Exception):
            V = partial(_sum_of, [at_time(V, t) for V in dynamics.potentials])
            jump = jump_at_seam(V, partial(V, box.centres), box, _beta(sigma_at(t)), start)
            what = "potential"
            instead = "a periodic potential, such as Cosine(), or, for a constant drive, no box"
            instead += ": compare and Histogram take positions modulo the period"
    if jump:
        warnings.warn(
            f"the {what} of {type(dynamics).__name__} is not periodic where its box is; {jump}: "
            "particles feel its slope alone, which drives them round, and no cliff; their law() "
            f"would have one. Take {instead}",
            AccuracyWarning,
            stacklevel=3,
        )


def _beta(sigma: float) -> float:
    return 2 / max(float(sigma) ** 2, 1e-300)


def _moves(dynamics: Any) -> bool:
    return any(hasattr(V, "at") for V in dynamics.potentials)


def _sum_of(potentials: list[Any], x: Any) -> Any:
    """Of functions of points written for numpy or for torch."""
    try:
        return sum(np.asarray(V(x), dtype=float) for V in potentials)
    except Exception:
        return sum(np.asarray(V(torch.tensor(x)), dtype=float) for V in potentials)


def check_box_crossings(dynamics: Diffusion, x: Tensor, t: float, size: float) -> None:
    """``ValueError`` if a step crosses so many boxes that its end is lost to rounding."""
    box = getattr(dynamics, "box", None)
    if box is None or not hasattr(dynamics, "drift"):
        return
    pull = float(dynamics.drift(_some(x)[None], t).abs().max())
    pull = min(pull, 1 / size) if _is_tamed(dynamics) and size else pull
    noise = float(getattr(dynamics, "sigma", 0.0)) * sqrt(size)
    width = min(high - low for low, high in zip(box.lower, box.upper, strict=True))
    boxes = (pull * size + 4 * noise) / width
    if not boxes * torch.finfo(x.dtype).eps < _LOST:
        raise ValueError(
            f"a step of dt = {size:.3g} crosses the box {boxes:.3g} times (by its drift up to "
            f"{pull * size:.3g}, by its noise {noise:.3g}), after which the position in the box is "
            "lost to rounding; use a shorter dt, a larger beta or no box"
        )


def check_drift(dynamics: Diffusion, x: Tensor, t: float) -> None:
    """``ValueError`` unless the drift is a function of each point and leaves it unchanged."""
    points = (_some(x) if getattr(dynamics, "coupled", False) else _apart(x))[None]
    given = points.clone()
    value = dynamics.drift(given, t)
    if not isinstance(value, torch.Tensor) or value.shape != points.shape:
        got = "nothing: return the result" if value is None else checks.shown(value)
        raise TypeError(
            f"{type(dynamics).__name__}.drift must return a tensor of shape {tuple(points.shape)}, "
            f"that of its points, got {got}"
        )
    if not torch.equal(given.nan_to_num(), points.nan_to_num()):
        raise ValueError(
            "the drift (a user-defined gradient?) overwrites the points that it is given; write 2 "
            "* x, not x.mul_(2)"
        )
    if not torch.equal(dynamics.drift(given, t).nan_to_num(), value.nan_to_num()):
        raise ValueError(
            "the drift (a user-defined gradient?) gives two results at the same points; it must "
            "be a function of the points: noise is drawn by the dynamics, as in SampledDescent"
        )
    half = points.shape[1] // 2
    if getattr(dynamics, "coupled", False) or not half:
        return
    alone = dynamics.drift(points[:, :half].clone(), t)
    near = (1e-7 if x.dtype == torch.float64 else 1e-2) * value.abs().max()
    if all_finite(value) and bool(((alone - value[:, :half]).abs() > near).any()):
        raise ValueError(
            "the drift at a point depends on the other points; a potential must map each point "
            "(..., d) independently, and particles that act on each other need InteractingLangevin"
        )


def _apart(x: Tensor) -> Tensor:
    """Some of the points, or a few beside them where all are one."""
    some = _some(x)
    if bool((some != some[:1]).any()):
        return some
    shifts = torch.tensor([0.0, 1.0, -0.6, 0.4], dtype=x.dtype, device=x.device)[:, None]
    return some[:1] + _BESIDE * shifts * some[:1].abs().clamp(min=1)


def check_slopes(dynamics: Any, x: Tensor, t: float) -> None:
    """``ValueError`` where a user's potential has the slope of another one, where particles are."""
    single = [dynamics.potential] if hasattr(dynamics, "potential") else []
    points = _some(x).double().cpu().numpy()
    region = np.stack([points.min(0), points.max(0)])
    for V in getattr(dynamics, "potentials", single):
        for part in leaves(at_time(V, t)):
            if callable(users_gradient(part)) and not seen(part, region):
                name, advice = f"the gradient of {_named(part)}", [_INHERITED][: _inherits(part)]
                check_gradient(name, _OfArrays(part), points, *advice)
                note(part, region)


def _inherits(part: Any) -> bool:
    """Whether its class replaces ``__call__`` and inherits ``grad``."""
    kinds = [vars(k) for k in type(part).__mro__]
    values, slopes = ([name in k for k in kinds] for name in ("__call__", "grad"))
    return any(values) and any(slopes) and values.index(True) < slopes.index(True)


def _named(part: Any) -> str:
    of_function = getattr(part, "f", part)
    return getattr(of_function, "__qualname__", type(part).__name__)


class _OfArrays:
    """A user's potential, written for numpy or for torch, on arrays."""

    def __init__(self, V: Any) -> None:
        self.V = V

    def __call__(self, x: Any) -> Any:
        return _on_arrays(self.V, x)

    def grad(self, x: Any) -> Any:
        return _on_arrays(self.V.grad, x)


def _on_arrays(function: Any, x: Any) -> Any:
    try:
        return np.asarray(function(x), dtype=float)
    except Exception:
        return np.asarray(function(torch.tensor(x)), dtype=float)


def check_step_size(dynamics: Any, x: Tensor, times: list[float], size: float, seed: int) -> float:
    """The largest curvature at the points ``x``; warns where ``size`` times it exceeds 2.

    A dynamics with another stability limit defines ``stiffness(curvature, size,
    t)``, the rate to use instead of the curvature of its ``drift``; one with a ``mutual`` drift
    beside it is given the curvature of that as well. One may define
    ``step_warning(x, size, t)``, a description of the errors of a stable step, "" for none. Only
    some of many times are checked, and one if the drift does not depend on time. NaN for a
    user-defined dynamics without a drift.
    """
    if not hasattr(dynamics, "drift"):
        return nan
    dynamics = _thinned(dynamics)
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
    if text and size * curvature <= 2:
        warnings.warn(text, AccuracyWarning, stacklevel=3)
    _warn_if_long(dynamics, x, some, size, curvature, "")
    return curvature


def check_final_curvature(
    dynamics: Any, x: Tensor, t: float, size: float, seed: int, before: float
) -> None:
    """Check the curvature again at the final positions, if it was acceptable ``before``."""
    if size * before <= 2 and hasattr(dynamics, "drift"):
        dynamics = _thinned(dynamics)
        check_slopes(dynamics, x, t)
        rate = getattr(dynamics, "stiffness", lambda curvature, size, t: curvature)
        own, *mutual = _curvatures(dynamics, x, t, seed)
        here = rate(own, size, t, *mutual)
        _warn_if_long(dynamics, x, [t], size, here, " where particles are at the end")


def _curvatures(dynamics: Any, x: Tensor, t: float, seed: int) -> list[float]:
    """Of the drift, and of what particles feel of each other where it is not part of it."""
    drifts = [dynamics, getattr(dynamics, "mutual", None)]
    return [largest_curvature(one, x, t, seed) for one in drifts if one is not None]


def _thinned(dynamics: Any) -> Any:
    """The dynamics, with a subset of the samples if there are many."""
    V, gradient = getattr(dynamics, "potential", None), getattr(dynamics, "gradient", None)
    if V is None or not (hasattr(V, "thinned") and getattr(gradient, "samples", False)):
        return dynamics
    return replace(dynamics, potential=V.thinned(_SAMPLES))


def _warn_if_long(
    dynamics: Any, x: Tensor, times: list[float], size: float, curvature: float, where: str
) -> None:
    """Of a step beyond the stability limit, or one whose tamed drift is much too short."""
    tamed = _is_tamed(dynamics)
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


def _is_tamed(dynamics: Any) -> bool:
    """Whether the drift is shortened, other than that of a process that V does not drive."""
    integrator, fast = getattr(dynamics, "integrator", None), getattr(dynamics, "fast", None)
    return bool(checks.declared(integrator, "tamed")) and not getattr(fast, "free", False)


def _tamed_length(dynamics: Any, x: Tensor, t: float, size: float) -> float:
    """The largest h |b| at the points, h in the time of the process that the slope drives."""
    inner = getattr(dynamics, "inner_size", lambda size: size)
    return float(length(dynamics.drift(_some(x)[None], t)).max()) * float(inner(size))


def _representative_times(
    dynamics: Diffusion, x: Tensor, times: list[float], seed: int
) -> list[float]:
    """Some of the times; a single one if the drift is constant in time."""
    last = len(times) - 1
    some = [times[i] for i in sorted({round(k * last / _LOOKS) for k in range(_LOOKS + 1)})]
    points = _spread(_some(x)[None], seed)
    first = dynamics.drift(points, some[0])
    same = all(torch.equal(dynamics.drift(points, t), first) for t in some[1:])
    return some[:1] if same else some


def _spread(points: Tensor, seed: int) -> Tensor:
    """Points near these, not all at one place."""
    aside = fill_normals(points.new_empty(1, points.numel()), Address(seed, channel=PROBE))
    return points + (1 + points.abs()) * aside.view_as(points) / 8


def curves(dynamics: Any, x: Tensor, until: float, seed: int) -> dict[str, tuple[Curve, float]]:
    """What may change in time, each beside the size of what it adds to (`check_time_steps`)."""
    found: dict[str, tuple[Curve, float]] = {}
    if hasattr(dynamics, "drift"):
        thin = _thinned(dynamics)
        points = _spread(_some(x)[:_FEW_POINTS][None], seed)
        noise = float(getattr(dynamics, "sigma", 0.0)) / sqrt(until) if until else 0.0

        def drift(t: float) -> Array:
            return np.asarray(thin.drift(points, t).double().nan_to_num(0.0, 0.0, 0.0).cpu())

        # of potentials without at(t) alone: nothing in it is made to move
        drift.fixed = hasattr(dynamics, "potentials") and not _moves(dynamics)  # type: ignore[attr-defined]
        found["the drift"] = drift, noise
    if hasattr(dynamics, "sigma_at"):
        found["the noise"] = lambda t: np.array(dynamics.sigma_at(t)), 0.0
    for name in ("gamma", "rate"):
        value = getattr(dynamics, name, None)
        if callable(value):
            found[name] = partial(_number, value), 0.0
    return found


def _number(schedule: Callable[[float], float], t: float) -> Array:
    return np.array(float(schedule(t)))


def _some(x: Tensor) -> Tensor:
    return x[:: max(1, len(x) // _PROBED)][:_PROBED]


def largest_curvature(dynamics: Diffusion, x: Tensor, t: float, seed: int = 0) -> float:
    """Largest v·(-Db(x, t))v / |v|² found by power iteration at each of the points ``(n, d)``.

    -Db is the Hessian of the potential, its products are differences of the drift.
    """
    x = _some(x)
    v = fill_normals(x.new_empty(1, x.numel()), Address(seed, channel=PROBE)).view_as(x)
    largest = 0.0
    for _ in range(_POWER_STEPS if x.shape[-1] > 1 else 1):
        v = v / v.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        product = _product(dynamics, x, t, v).nan_to_num(0.0, 0.0, 0.0)
        largest = max(largest, float((v * product).sum(dim=-1).max()))
        v = product
    return largest


def _product(dynamics: Diffusion, x: Tensor, t: float, v: Tensor) -> Tensor:
    """-Db(x) v by differences, with an adaptive step where a second one disagrees."""
    common, second = (_difference_product(dynamics, x, t, step, v) for step in (1.0, _SECOND))
    size = torch.maximum(common.abs(), second.abs()).amax(dim=-1, keepdim=True)
    off = ~((common - second).abs() <= _CURVED * size).all(dim=-1)
    if getattr(dynamics, "coupled", False):  # particles interact
        off = off.any().expand_as(off)
    if off.any():
        common = common.clone()
        common[off] = _searched(dynamics, x[off], t, v[off])
    return common


def _searched(dynamics: Diffusion, x: Tensor, t: float, v: Tensor) -> Tensor:
    """-Db(x) v by the steps confirmed by others; 0 if there is none, as where b jumps."""
    middle = dynamics.drift(x[None], t)[0]
    tried = [_ends(dynamics, x, t, 10.0**-k, v) for k in range(-4, 10)]
    ahead, behind, width = (
        np.stack([part.double().cpu().numpy() for part in parts])
        for parts in zip(*tried, strict=True)
    )
    loose = float(torch.finfo(x.dtype).eps) if x.dtype == torch.float32 else 0.0
    with np.errstate(all="ignore"):
        slope, step_warning = best(
            differences(ahead, behind, middle.double().cpu().numpy(), width, loose)
        )
    slope[~(step_warning <= np.abs(slope).max(-1, keepdims=True) / 2)] = 0
    return torch.as_tensor(slope, dtype=x.dtype, device=x.device)


def _difference_product(dynamics: Diffusion, x: Tensor, t: float, step: float, v: Tensor) -> Tensor:
    """-Db(x) v by a central difference."""
    ahead, behind, width = _ends(dynamics, x, t, step, v)
    return (behind - ahead) / width


def _ends(
    dynamics: Diffusion, x: Tensor, t: float, step: float, v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The drift at both ends of a step along v, and their distance after rounding."""
    shift = step * torch.finfo(x.dtype).eps ** (1 / 3) * (1 + x.norm(dim=-1, keepdim=True)) * v
    there, here = x + shift, x - shift
    width = ((there - here) * v).sum(dim=-1, keepdim=True)
    return dynamics.drift(there[None], t)[0], dynamics.drift(here[None], t)[0], width


def non_finite(
    dynamics: Any, before: Tensor, after: Tensor, first: tuple[int, int], step: Step, shared: bool
) -> NonFiniteError:
    """The error for the first non-finite particle, from positions before and after the step.

    ``shared``: its drift is an exchange with other ranks.
    """
    bad = (~torch.isfinite(after)).any(dim=-1)
    run, particle = (int(i) for i in bad.nonzero()[0])
    x = before[run, particle]
    advice = (
        "the slope there is not finite, whatever dt: take an initial law that stays where it is, a "
        "box, or potentials and interactions whose slopes neither overflow nor are NaN there"
        if not shared and _has_no_slope(dynamics, before[run], particle, step.start)
        else f"dt = {step.size:.3g} is too long for the slope there: try dt = "
        f"{step.size / 10:.1g}, a box, or an initial law that stays where the potential is finite"
    )
    return NonFiniteError(
        f"particle {first[1] + particle} of run {first[0] + run} became non-finite in step "
        f"{step.number} (time {step.stop:.6g}): {x.tolist()} -> {after[run, particle].tolist()}; "
        + advice
    )


def _has_no_slope(dynamics: Any, x: Tensor, particle: int, t: float) -> bool:
    """Whether the drift of a particle, among those of its run ``(n, d)``, is not finite."""
    coupled = getattr(dynamics, "coupled", False)
    points, k = (x, particle) if coupled else (x[particle, None], 0)
    with suppress(Exception):
        return not all_finite(dynamics.drift(points[None], t)[0, k])
    return False


def all_finite(x: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # a non-finite entry makes the sum non-finite; so may many large ones, which are then checked
    # one by one
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())
