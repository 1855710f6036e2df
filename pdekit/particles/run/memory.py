"""Where numbers of a simulation are: device, type, and how many fit there."""

import os
from typing import Any

import numpy as np
import torch

_PARTICLES = 1 << 40


def usable_device(name: Any) -> torch.device:
    """A torch device on which tensors can be allocated."""
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
    """torch.float64 for None; float32 and float64 as torch or numpy dtype or by name."""
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


def check_size(n: int, runs: int, times: int, dtype: torch.dtype, keep: bool) -> None:
    """``ValueError`` for more runs or particles than noise, time or memory allow."""
    if runs > 1 << 24:
        raise ValueError(f"runs must be at most 2**24, got {runs}; take other seeds for more")
    if n * runs > _PARTICLES:
        raise ValueError(
            f"n = {n} particles in {runs} runs are more than 2**40, too many to simulate; use "
            "fewer particles or runs"
        )
    there = _memory()
    needed = n * runs * times * dtype.itemsize
    if keep and there and needed > there:
        raise ValueError(
            f"positions of n = {n} particles in {runs} runs at {times} times take "
            f"{needed / 2**30:.3g} GiB a coordinate, and this machine has {there / 2**30:.3g}; "
            "take keep=False and observe=(Moments(), Histogram(grid)), or fewer times"
        )


def _memory() -> int:
    """Bytes of memory, 0 if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
