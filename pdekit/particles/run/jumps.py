"""Whether a user's potential jumps between places that particles reach.

Particles feel the slope alone. Where V jumps the equation has a cliff, and they pass it as if it
were not there.
"""

import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, first
from pdekit.particles.dynamics.diffusion import at_time
from pdekit.particles.run.guards import sum_of
from pdekit.potentials.algebra import is_ours, leaves

_PLACES = 512  # at which V is looked at
_SEGMENTS = 16  # on which they are, in more than one dimension
_HALVINGS = 44  # of a step between them: to the rounding of x
_BESIDE = 2.0 ** np.arange(5)  # steps to places on either side of a jump
_FELT = 0.02  # rise of βV, above which the probability of a place is wrong by as much
_SHARE = 1e-3  # of the range of V, that counts too: many such steps are a slope
_ROUNDING = 1e-12  # of V
_GOLDEN = 0.6180339887498949
_HUGE = 1e300  # in place of infinity


def check_jumps(dynamics: Any, x: Tensor, t: float) -> bool:
    """Warn of a user's potential that jumps between the points ``x`` (n, d), at time ``t``;
    whether there is one that may.

    V is looked at on a line, or on segments between some of the points. Where it rises otherwise
    than on both sides, bisection follows the rise; one that is left between neighbouring numbers,
    and not on either side of them, is a jump. Two jumps that cancel between two of the places are
    missed.
    """
    single = [dynamics.potential] if hasattr(dynamics, "potential") else []
    given = [at_time(V, t) for V in getattr(dynamics, "potentials", single)]
    if not any(map(_is_users, given)) or checks.declared(dynamics, "sees_values"):
        return False
    sigma_at = getattr(dynamics, "sigma_at", lambda t: getattr(dynamics, "sigma", 0.0))
    points = x.double().cpu().numpy()
    points = points[np.isfinite(points).all(-1)]
    with suppress(Exception), np.errstate(all="ignore"):  # it is reported where particles are
        found = _found(partial(sum_of, given), points, float(sigma_at(t)) ** 2 / 2)
        if found and first("a jump of the potential"):
            place, low, high = found
            name, shown = type(dynamics).__name__, ", ".join(f"{v:.6g}" for v in place)
            warnings.warn(
                f"the potential of {name} jumps at x = [{shown}], from {low:.6g} to "
                f"{high:.6g}: particles feel its slope alone, and pass there as if it did not "
                "jump, unlike the equation of their law. Take a steep slope instead, and a dt "
                "short enough for it",
                AccuracyWarning,
                stacklevel=3,
            )
    return True


def _is_users(V: Any) -> bool:
    """Whether a part of it is a function of the user."""
    return any(not is_ours(part) or checks.offers(part, "users_gradient") for part in leaves(V))


def _found(V: Any, points: Array, noise: float) -> tuple[Array, float, float] | None:
    """Place of the largest jump, and V on both sides of it."""
    start, way = _segments(points)
    at = partial(_values, V, start, way)
    count = _PLACES // len(start)
    s = np.broadcast_to(np.linspace(0.0, 1.0, count + 1), (len(start), count + 1))
    rows = np.broadcast_to(np.arange(len(start))[:, None], s.shape)
    f = at(rows, s)
    least = _least(f, noise)
    rise = np.diff(f, axis=1)
    beside = (rise[:, :-2] + rise[:, 2:]) / 2
    off = np.abs(rise[:, 1:-1] - beside)
    bent = np.minimum(*(np.abs(rise[:, 1:-1] - rise[:, k : k + count - 2]) for k in (0, 2)))
    row, k = np.nonzero((np.minimum(off, bent) > least / 2) & np.isfinite(off))
    if not row.size:
        return None
    slope = np.where(np.abs(beside) < _HUGE / 4, beside, 0.0)[row, k] * count
    return _followed(at, row, s[row, k + 1], s[row, k + 2], slope, least)


def _followed(
    at: Any, row: NDArray[Any], a: Array, b: Array, slope: Array, least: float
) -> tuple[Array, float, float] | None:
    """The same by bisection of intervals (a, b) of segments, where V rises by ``slope`` beside."""
    low, high = at(row, a), at(row, b)
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        f = at(row, middle)
        left = np.abs(f - low - slope * (middle - a)) >= np.abs(high - f - slope * (b - middle))
        a, low = np.where(left, a, middle), np.where(left, low, f)
        b, high = np.where(left, middle, b), np.where(left, f, high)
        kept = np.abs(high - low) > least
        row, a, b, low, high, slope = (part[kept] for part in (row, a, b, low, high, slope))
        if not row.size:
            return None
    shifts = _BESIDE * (b - a)[:, None]
    rows = np.broadcast_to(row[:, None], shifts.shape)
    before, after = at(rows, a[:, None] - shifts), at(rows, b[:, None] + shifts)
    spread = np.maximum(np.ptp(before, axis=1), np.ptp(after, axis=1))
    jump = np.where(spread < np.abs(high - low) / 8, np.abs(high - low), 0.0)
    k = int(np.nan_to_num(jump).argmax())
    if not jump[k] > least:
        return None
    return at.args[1][row[k]] + b[k] * at.args[2][row[k]], float(low[k]), float(high[k])


def _segments(points: Array) -> tuple[Array, Array]:
    """Starts and vectors (segments, d): the line from the lowest to the highest point, or ways
    between some in no order."""
    if points.shape[1] == 1:
        low, high = points.min(0), points.max(0)
        return low[None], (high - low)[None]
    some = points[(np.modf(_GOLDEN * np.arange(_SEGMENTS + 1))[0] * len(points)).astype(int)]
    return some[:-1], np.diff(some, axis=0)


def _values(V: Any, start: Array, way: Array, row: NDArray[Any], s: Array) -> Array:
    """V at shares s of the segments; infinite values as huge ones."""
    places = start[row] + s[..., None] * way[row]
    f = V(places.reshape(-1, places.shape[-1])).reshape(s.shape)
    finite: Array = np.nan_to_num(f, nan=np.nan, posinf=_HUGE, neginf=-_HUGE)
    return finite


def _least(f: Array, noise: float) -> float:
    """The least jump that counts, ``noise`` being 1/β."""
    known = f[np.isfinite(f)]
    span, largest = (float(np.ptp(known)), float(np.abs(known).max())) if known.size else (0.0, 0.0)
    if span <= _FELT * noise:
        return np.inf
    share = min(_SHARE * span, _FELT * noise) if noise else _SHARE * span
    return max(share, _ROUNDING * largest)
