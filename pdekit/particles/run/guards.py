"""Checks of a simulation: what is no dynamics, drifts that are none of points, lost particles."""

import warnings
from contextlib import suppress
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.arrays import real
from pdekit.errors import AccuracyWarning
from pdekit.grid import Grid
from pdekit.interactions import of_two_points
from pdekit.particles.dynamics.diffusion import Diffusion, at_time
from pdekit.particles.integrators import Step
from pdekit.particles.run import probes
from pdekit.potentials.algebra import leaves, users_gradient
from pdekit.potentials.consistency import check_gradient, note, seen
from pdekit.potentials.seam import jump_at_seam, kernel_jump_at_seam, looks

_BESIDE = 1e-2  # of a point, or 1: distance of others from it that are looked at
_INHERITED = "It is inherited, and the values are the class's own: define grad as well"
_SHARES = 10.0 ** -np.arange(308.0)[:, None]  # of a way that may reach to the largest numbers
_LIFTED = 1e3  # βV that noise does not climb
_LOST = 1e-3  # required accuracy of positions, relative to the width of the box


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
    changes = _moves(dynamics) or getattr(dynamics, "cools", False)
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
            V = partial(sum_of, [at_time(V, t) for V in dynamics.potentials])
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


def sum_of(potentials: list[Any], x: Any) -> Any:
    """Of functions of points written for numpy or for torch."""
    try:
        return sum(real(V(x)) for V in potentials)
    except Exception:
        return sum(real(V(torch.tensor(x))) for V in potentials)


def check_box_crossings(dynamics: Diffusion, x: Tensor, t: float, size: float) -> None:
    """``ValueError`` if a step crosses so many boxes that its end is lost to rounding."""
    box = getattr(dynamics, "box", None)
    if box is None or not hasattr(dynamics, "drift"):
        return
    pull = float(dynamics.drift(probes.some(x)[None], t).abs().max())
    pull = min(pull, 1 / size) if is_tamed(dynamics) and size else pull
    noise = float(getattr(dynamics, "sigma", 0.0)) * sqrt(size)
    width = min(high - low for low, high in zip(box.lower, box.upper, strict=True))
    boxes = (pull * size + 4 * noise) / width
    if not boxes * torch.finfo(x.dtype).eps < _LOST:
        raise ValueError(
            f"a step of dt = {size:.3g} crosses the box {boxes:.3g} times (by its drift up to "
            f"{pull * size:.3g}, by its noise {noise:.3g}), after which the position in the box is "
            "lost to rounding; use a shorter dt, a larger beta or no box"
        )


def is_tamed(dynamics: Any) -> bool:
    """Whether the drift is shortened, other than that of a process that V does not drive."""
    integrator, fast = getattr(dynamics, "integrator", None), getattr(dynamics, "fast", None)
    return bool(checks.declared(integrator, "tamed")) and not getattr(fast, "free", False)


def check_drift(dynamics: Diffusion, x: Tensor, t: float) -> None:
    """``ValueError`` unless the drift is a function of each point and leaves it unchanged."""
    points = (probes.some(x) if getattr(dynamics, "coupled", False) else _apart(x))[None]
    given = points.clone()
    value = dynamics.drift(given, t)
    if not isinstance(value, torch.Tensor) or value.shape != points.shape:
        got = "nothing: return the result" if value is None else checks.shown(value)
        raise TypeError(
            f"{type(dynamics).__name__}.drift must return a tensor of shape {tuple(points.shape)}, "
            f"that of its points, got {got}"
        )
    if not _same(given, points):
        raise ValueError(
            "the drift (a user-defined gradient?) overwrites the points that it is given; write 2 "
            "* x, not x.mul_(2)"
        )
    if not _same(dynamics.drift(given, t), value):
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


def _same(x: Tensor, y: Tensor) -> bool:
    """Whether they are equal, NaN and NaN as well."""
    return torch.equal(x, y) or torch.equal(x.nan_to_num(), y.nan_to_num())


def _apart(x: Tensor) -> Tensor:
    """Some of the points, or a few beside them where all are one."""
    some = probes.some(x)
    if bool((some != some[:1]).any()):
        return some
    shifts = torch.tensor([0.0, 1.0, -0.6, 0.4], dtype=x.dtype, device=x.device)[:, None]
    return some[:1] + _BESIDE * shifts * some[:1].abs().clamp(min=1)


def check_slopes(dynamics: Any, x: Tensor, t: float) -> None:
    """``ValueError`` where a user's potential has the slope of another one, where particles are."""
    single = [dynamics.potential] if hasattr(dynamics, "potential") else []
    given = [at_time(V, t) for V in getattr(dynamics, "potentials", single)]
    parts = [part for V in given for part in leaves(V) if callable(users_gradient(part))]
    if not parts:
        return
    points = probes.some(x).double().cpu().numpy()
    region = np.stack([points.min(0), points.max(0)])
    for part in parts:
        if not seen(part, region):
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


def non_finite(
    dynamics: Any,
    started: Tensor,
    before: Tensor,
    after: Tensor,
    first: tuple[int, int],
    step: Step,
    shared: bool,
) -> NonFiniteError:
    """The error for the first non-finite particle, from positions before and after the step.

    ``started``: those at the start. ``shared``: its drift is an exchange with other ranks.
    """
    bad = (~torch.isfinite(after)).any(dim=-1)
    run, particle = (int(i) for i in bad.nonzero()[0])
    x = before[run, particle]
    advice = (
        "the slope there is not finite, whatever dt: take an initial law that stays where it is, a "
        "box, or potentials and interactions whose slopes neither overflow nor are NaN there"
        if not shared
        and _has_no_slope(dynamics, before[run], particle, step.start)
        and not _was_thrown(dynamics, started[run, particle], x, step.start)
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


def _was_thrown(dynamics: Any, start: Tensor, x: Tensor, t: float) -> bool:
    """Whether V is finite, and higher than noise lifts a particle, on the way from its start to x.

    Then it was too long a step that took it there.
    """
    with suppress(Exception), np.errstate(all="ignore"):
        single = [dynamics.potential] if hasattr(dynamics, "potential") else []
        V = partial(sum_of, [at_time(V, t) for V in getattr(dynamics, "potentials", single)])
        a, b = (y.double().cpu().numpy() for y in (start, x))
        rise = V(a + _SHARES * (b - a)) - V(a[None])
        return bool((_beta(dynamics.sigma) * rise[np.isfinite(rise)] > _LIFTED).any())
    return False


def all_finite(x: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # a non-finite entry makes the sum non-finite; so may many large ones, which are then checked
    # one by one
    return isfinite(x.sum()) or bool(x.isfinite().all())
