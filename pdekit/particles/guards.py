"""What stops or warns a simulation: non-finite particles, steps too long, arguments amiss."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit.errors import AccuracyWarning
from pdekit.particles.diffusion import Diffusion
from pdekit.particles.integrators import Step
from pdekit.particles.noise import PROBE, Address, fill_normals

_PROBED = 512  # particles whose curvature is estimated
_POWER_STEPS = 8  # enough to tell 2 from 1; exact for d = 1


class NonFiniteError(ValueError, FloatingPointError):
    """A particle became NaN or infinite; nothing is returned."""


class StepSizeWarning(UserWarning):
    """The explicit step is longer than the curvature of the potential allows."""


def check_step_size(
    dynamics: Diffusion, x: Tensor, times: list[float], size: float, seed: int
) -> float:
    """The largest curvature at the points ``x``; warns where ``size`` times it exceeds 2.

    A dynamics whose step has another limit of stability offers ``stiffness(curvature, size, t)``,
    the rate that stands in the place of the curvature; its own ``drift`` is what has the curvature.
    One that knows more offers ``doubt(x, size, t)``, what a stable step gets wrong, "" for nothing.
    """
    rate = getattr(dynamics, "stiffness", lambda curvature, size, t: curvature)
    curvature = max(rate(largest_curvature(dynamics, x, t, seed), size, t) for t in times)
    doubt = getattr(dynamics, "doubt", lambda x, size, t: "")
    text = next(filter(None, (doubt(x, size, t) for t in times)), "") if size else ""
    if text and size * curvature <= 2:
        warnings.warn(text, AccuracyWarning, stacklevel=3)
    if size * curvature > 2:
        warnings.warn(
            f"dt * curvature = {size:.3g} * {curvature:.3g} = {size * curvature:.3g} > 2: an "
            f"explicit step is unstable there; take dt <= {0.5 / curvature:.1g}",
            StepSizeWarning,
            stacklevel=3,
        )
    return curvature


def largest_curvature(dynamics: Diffusion, x: Tensor, t: float, seed: int = 0) -> float:
    """Largest v·(-Db(x, t))v / |v|² met by a power iteration at each of the points ``(n, d)``.

    -Db is the Hessian of the potential, its products are differences of the drift.
    """
    x = x[:: max(1, len(x) // _PROBED)][:_PROBED]
    v = fill_normals(x.new_empty(1, x.numel()), Address(seed, channel=PROBE)).view_as(x)
    scale = torch.finfo(x.dtype).eps ** (1 / 3) * (1 + x.norm(dim=-1, keepdim=True))
    largest = 0.0
    for _ in range(_POWER_STEPS if x.shape[-1] > 1 else 1):
        v = v / v.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        ahead, behind = (dynamics.drift((x + s * scale * v)[None], t)[0] for s in (1, -1))
        product = (behind - ahead) / (2 * scale)
        rayleigh = (v * product).sum(dim=-1).nan_to_num(0.0, 0.0, 0.0)
        largest = max(largest, float(rayleigh.max()))
        v = product.nan_to_num(0.0, 0.0, 0.0)
    return largest


def non_finite(before: Tensor, after: Tensor, first: tuple[int, int], step: Step) -> NonFiniteError:
    """The error that names the first bad particle; positions before and after the bad step."""
    bad = (~torch.isfinite(after)).any(dim=-1)
    run, particle = (int(i) for i in bad.nonzero()[0])
    return NonFiniteError(
        f"particle {first[1] + particle} of run {first[0] + run} became non-finite in step "
        f"{step.number} (time {step.stop:.6g}): {before[run, particle].tolist()} -> "
        f"{after[run, particle].tolist()}; dt = {step.size:.3g} is too long for the slope there: "
        f"try dt = {step.size / 10:.1g}, a box, or an initial law that stays where the potential "
        "is finite"
    )


def all_finite(x: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # one that is makes the sum NaN or infinite too; so may many large ones, and these are looked at
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())


def usable_device(name: Any) -> torch.device:
    """A torch device on which tensors can be made here."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); "
            "device='cpu' always works"
        ) from error
    if device.type == "meta":
        raise ValueError("device 'meta' holds no numbers; try device='cpu'")
    return device


def float_type(dtype: Any) -> torch.dtype:
    """torch.float64 for None; float32 and float64 by torch, numpy or plain name."""
    if dtype is None:
        return torch.float64
    name = str(dtype).removeprefix("torch.")
    if not isinstance(dtype, torch.dtype):
        try:
            name = np.dtype(dtype).name
        except TypeError as error:
            raise TypeError(f"dtype must be float32 or float64, got {dtype!r}") from error
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return torch.float32 if name == "float32" else torch.float64
