"""Initial positions given by the user, as a tensor (1 or runs, n, dim)."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pdekit.checks import in_order

_AXES = ("run", "particle", "dim")
_EXPECTED = "initial must be a law, or an array or tensor of shape (n, d)"


def positions(initial: Any, n: int, runs: int) -> Tensor:
    """Positions from an array, a tensor, a list, or a DataArray by its axes and coordinates.

    Raises ``TypeError`` and ``ValueError`` for invalid input or another shape.
    """
    if isinstance(initial, xr.Variable):
        initial = xr.DataArray(initial)
    if hasattr(initial, "columns") and hasattr(initial, "to_numpy"):  # a pandas table
        places = {"particle": list(initial.index), "dim": list(initial.columns)}
        initial = xr.DataArray(initial.to_numpy(), places, _AXES[1:])
    if isinstance(initial, xr.DataArray):
        return _of_data_array(initial, n, runs)
    tensor = isinstance(initial, Tensor)
    x = _detached(initial) if tensor else torch.from_numpy(_numbers(initial))
    if runs > 1 and x.ndim == 3:
        return _checked(x, n, runs)
    return _checked(x[None], n, 1)


def _of_data_array(given: xr.DataArray, n: int, runs: int) -> Tensor:
    """By axis names, in any order, sorted along each by its coordinate."""
    x = given.isel(time=0) if given.sizes.get("time") == 1 else given
    if not any(name in _AXES for name in x.dims) and all(str(d).startswith("dim_") for d in x.dims):
        return positions(x.values, n, runs)
    wanted = [a for a in _AXES if a in x.dims or a != "run"]
    if set(x.dims) != set(wanted):
        hint = {"time": "; several times: take .final, or .isel(time=-1)"}.get(
            next((str(d) for d in x.dims if d not in _AXES), ""), ""
        )
        raise ValueError(
            f"initial is a DataArray with the axes {x.dims}, expected ('particle', 'dim') of "
            f"positions, and 'run' where there are several{hint}"
        )
    for axis in wanted:
        x = in_order("initial", x, axis, ("x", "y")[: x.sizes["dim"]] if axis == "dim" else ())
    points = torch.from_numpy(_numbers(x.transpose(*wanted).values))
    return _checked(points if "run" in wanted else points[None], n, runs)


def _detached(x: Tensor) -> Tensor:
    if x.requires_grad:
        raise TypeError(
            "initial is a tensor that requires gradients, which would be lost; pass "
            "initial.detach()"
        )
    if x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"{_EXPECTED}, of real numbers; got a tensor of {x.dtype}")
    return x.to_dense() if x.layout != torch.strided else x


def _numbers(given: Any) -> np.ndarray[Any, Any]:
    if hasattr(given, "x") and hasattr(given, "final"):
        raise TypeError(f"{_EXPECTED}, got an Ensemble: pass its .final instead")
    if isinstance(given, list | tuple) and any(isinstance(row, Tensor) for row in given):
        given = [_detached(torch.as_tensor(row)).cpu().numpy() for row in given]
    if np.ma.isMaskedArray(given):
        if np.ma.getmaskarray(given).any():
            first = np.argwhere(np.ma.getmaskarray(given))[0].tolist()
            raise ValueError(f"initial has masked entries, the first at {first}; remove them")
        given = given.data
    try:
        x = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{_EXPECTED}, got {_shown(given)} ({error})") from error
    if x.dtype.kind not in "iuf":
        raise TypeError(f"{_EXPECTED}, of real numbers; got {_shown(given)}")
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    # torch supports neither negative strides nor read-only memory
    return x if x.flags.c_contiguous and x.flags.writeable else np.array(x, order="C")


def _checked(x: Tensor, n: int, runs: int) -> Tensor:
    """Check ``x`` (runs, n, dim); messages show the given shape."""
    several = len(x) > 1 or runs > 1
    if x.ndim != 3 or x.shape[1] != n or x.shape[2] < 1 or len(x) not in (1, runs):
        shape = tuple(x.shape) if several and x.ndim == 3 else tuple(x.shape[1:])
        expected = f"(n, d) with n = {n}"
        if several:
            expected += f", or (runs, n, d) with runs = {runs}"
        hint = "; write x[:, None] for particles on a line" if x.ndim == 2 else ""
        if runs == 1 and x.ndim == 3 and len(x) > 1:
            hint = f"; take one run, .isel(run=0), or ask for runs = {len(x)}"
        raise ValueError(f"initial must have shape {expected}, got {shape}{hint}")
    return x


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
