"""Gradients of users' functions of points: by torch where they take tensors, or differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from pdekit.differences import STEP, in_rows, slopes
from pdekit.errors import AccuracyWarning, first
from pdekit.potentials.functions import FOR_NUMPY, as_numpy, like, remember

# relative to the largest slope: accuracy of differences below which a warning is given
_GOOD = 1e-5


def autograd(f: Any, x: Any, checked: Callable[[Any, Any], Any]) -> Any:
    """The gradient by torch, or None if f does not keep the autograd graph; ``checked`` (points,
    values) raises for values of another shape.
    """
    import torch

    on_torch = is_torch_array(x)
    y = x if on_torch else torch.tensor(np.asarray(x, dtype=float))
    keep = bool(y.requires_grad)
    y = y if keep else y.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        try:
            values = f(y)
        # a numpy function may raise anything on a tensor; an error of f
        # itself will reappear in the central differences
        except Exception:
            remember(f, FOR_NUMPY)
            return None
        if not (is_torch_array(values) and values.requires_grad):
            return None
        values = checked(y, values)
        (slope,) = torch.autograd.grad(values.sum(), y, create_graph=keep)
    return slope if on_torch else slope.numpy().astype(x.dtype, copy=False)


def by_differences(f: Any, x: Any, values: Callable[[Any], Any]) -> Any:
    """The gradient by differences of the ``values`` of f, with a warning where they are rough."""
    y = as_numpy(x).astype(float)
    slope, doubt = slopes(values, y)
    if doubt is not None:
        _warn_if_rough(f, values, y, slope, doubt)
    return like(x, slope)


def _warn_if_rough(f: Any, at: Callable[[Any], Any], y: Any, slope: Any, doubt: Any) -> None:
    """Warn if no two steps agree well, relative to the largest slope nearby."""
    lengths = 1e4 * STEP * np.maximum(1.0, np.abs(y))
    around = np.concatenate([(y + s * lengths).reshape(-1, y.shape[-1]) for s in (-1, 0, 1)])
    with np.errstate(all="ignore"):
        values = in_rows(at, around, y.ndim)
    known = values[np.isfinite(values)]
    steep = float(np.ptp(known) / lengths.max()) if known.size else 0.0
    wrong = ~(doubt <= _GOOD * max(float(np.abs(slope).max(initial=0.0)), steep))
    if wrong.any() and first(("slope by differences", id(f))):
        k = np.unravel_index(int(wrong.argmax()), wrong.shape)
        warnings.warn(
            f"the slope of {f!r} at {y[k[:-1]]} by differences is {slope[k]:.6g}, good to "
            f"{doubt[k]:.2g} only, whatever the step: f jumps there, or its changes are lost "
            "in rounding. Give Custom(f, grad), or write f so that it takes torch tensors",
            AccuracyWarning,
            stacklevel=4,
        )
