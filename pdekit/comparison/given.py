"""Particles given as arrays, from wherever they are, with or without weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid


@dataclass(frozen=True)
class GivenParticles:
    """Independent particles at some times, as ``compare`` takes them."""

    x: xr.DataArray


def given_particles(samples: Any, grid: Grid, t: Any, weights: Any, seed: int) -> Any:
    """``samples`` with ``.x``: itself where it has that, or counts; else made of an array."""
    array = isinstance(samples, xr.DataArray)
    own = hasattr(samples, "observed") or isinstance(getattr(samples, "x", None), xr.DataArray)
    if own and not array:
        if t is not None or weights is not None:
            raise ValueError(
                "t and weights go with an array of positions; an ensemble has its own times: pass "
                "ensemble.x.values with them"
            )
        return samples
    x = _array(samples, grid, t)
    times = _times(samples, t)
    if len(times) != len(x):
        raise ValueError(
            f"positions at {len(x)} times, and t has {len(times)}: expected (n, d) with one time, "
            "or (times, n, d) with as many"
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(x).all(-1))} of the positions are not finite; leave "
            "them out, or compare an Ensemble, which knows who has stopped"
        )
    if weights is not None:
        x = x[:, _kept(weights, x.shape[1], seed)]
    coords = {"time": times, "dim": list(grid.names)}
    return GivenParticles(xr.DataArray(x, coords, ("time", "particle", "dim")))


def _array(samples: Any, grid: Grid, t: Any) -> Array:
    """Positions (time, particle, dim)."""
    if isinstance(samples, xr.DataArray):
        order = [name for name in ("time", "particle", "dim") if name in samples.dims]
        if set(samples.dims) == {*order} and "particle" in order:
            samples = samples.transpose(*order)
        values = samples.values
    else:
        values = samples.detach().cpu().numpy() if hasattr(samples, "detach") else samples
    x = np.asarray(values)
    if x.dtype.kind not in "iuf":
        raise TypeError(
            "the second argument must have .x (a DataArray), as an Ensemble does, or be an array, "
            f"tensor or DataArray of positions with t=...; got {type(samples).__name__}"
        )
    x = x.astype(float)
    one = t is None or np.ndim(t) == 0
    if grid.dim == 1 and x.ndim == (1 if one else 2):
        x = x[..., None]
    if one and x.ndim == 2:
        x = x[None]
    if x.ndim != 3 or x.shape[-1] != grid.dim:
        raise ValueError(
            f"positions have the shape {np.shape(values)}; expected (n, {grid.dim}) with one time "
            f"t, or (times, n, {grid.dim}) with as many"
        )
    return x


def _times(samples: Any, t: Any) -> Array:
    if t is not None:
        return np.atleast_1d(checks.numbers("t", t, "a time, or one for each of the positions"))
    if isinstance(samples, xr.DataArray) and "time" in samples.coords:
        return np.atleast_1d(np.asarray(samples["time"].values, dtype=float))
    raise ValueError("positions in an array have no time: compare(solution, x, t=...)")


def _kept(weights: Any, n: int, seed: int) -> Array:
    """Which particles are kept, each with the probability w over the largest: independent draws.

    So those that are kept follow the weighted law, if the weights are bounded and the largest is
    near its bound, and every statistic holds for them as it is; they are Σ w / max w, fewer than
    the effective number (Σ w)² / Σ w².
    """
    w = np.asarray(weights.detach().cpu() if hasattr(weights, "detach") else weights, dtype=float)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(
            f"weights must be {n} numbers >= 0, one a particle, not all zero; got "
            f"{checks.shown(weights)}"
        )
    kept: Array = np.random.default_rng([seed, n, 1]).random(n) * w.max() < w
    return kept
