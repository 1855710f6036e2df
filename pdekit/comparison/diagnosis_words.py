"""A diagnosis in a line of plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pdekit.pde.discrete.rate_changes import STEP

_SEEN = 2.0  # standard errors of a shift by the particles' own steps, from which it is named
_HARMLESS = 0.5  # of a standard error
_WARY = 2.0  # by which steps of second order are shortened, as their error is not known
_MOST = 0.8  # of the chi-square: the rest is then of higher order in the step
_NEAR = 1.5  # the leading term of a step is that of the step but for this factor


def words(found: xr.Dataset, ensemble: Any, agrees: float, unit: float) -> str:
    """In a line; from ``agrees`` on a p-value is taken for agreement, and a step of one ``unit``
    moves particles as far as a factor of another parameter.
    """
    names = [str(name) for name in found["parameter"].values]
    others = [name for name in names if name != STEP]
    if found.attrs["p_value"] >= agrees:
        return f"{listed(others)} agree{'s' if len(others) == 1 else ''} with the equation"
    own = _own_step(found, ensemble)
    alone = found["p_alone"].values
    if own and _fits(found, own):
        low, high = _ends(found, STEP)
        fits = f"(it fits steps of {low:.2g} to {high:.2g})"
        start, share = f"the particles' own steps of {own:g} explain", _explained(found)
        if alone[names.index(STEP)] >= agrees:
            return f"{start} the difference {fits}; {listed(others)} agree; {_remedy(found, unit)}"
        if share >= _MOST:
            return f"{start} {share:.0%} of the difference {fits}; {_remedy(found, unit)}"
    return _what_is_wrong(found, names, agrees) + _hint(found, own, unit)


def _what_is_wrong(found: xr.Dataset, names: list[str], agrees: float) -> str:
    alone = found["p_alone"].values
    best = int(np.argmax(alone))
    if alone[best] < agrees:
        return _none_alone(found, names)
    also = [names[k] for k in np.flatnonzero(alone >= agrees) if k != best]
    others = [name for name in names if name not in (names[best], STEP)]
    rest = f"; {listed(others)} agree" if others else ""
    if also:
        rest = f", or it is {listed(also)}: these times do not tell them apart"
    return f"{_said(found, names[best])}{rest}"


def _none_alone(found: xr.Dataset, names: list[str]) -> str:
    factors = [name for name in names if name != STEP]
    one = " or ".join([", ".join(factors[:-1]), factors[-1]]) if len(factors) > 1 else factors[0]
    alone = found["p_alone"].sel(parameter=factors).values
    best = int(np.argmax(alone))
    low, high = _ends(found, factors[best])
    return (
        f"no factor of {one} alone explains the difference (closest: {factors[best]}, {low:.4g} to "
        f"{high:.4g}, p = {alone[best]:.1g})"
    )


def _said(found: xr.Dataset, name: str) -> str:
    low, high = _ends(found, name)
    if name == STEP:
        return f"steps of {low:.2g} to {high:.2g} explain the difference"
    return f"{name} is {low:.4g} to {high:.4g} of what the equation says"


def _ends(found: xr.Dataset, name: str) -> tuple[float, float]:
    low, high = (float(found[end].sel(parameter=name)) for end in ("lower", "upper"))
    return (max(low, 0.0) if name == STEP else low), high


def _own_step(found: xr.Dataset, ensemble: Any) -> float:
    """The longest step of the particles, where its leading effect is known; 0 if not."""
    if STEP not in found["parameter"].values or getattr(ensemble, "dynamics", None) is None:
        return 0.0
    stats = getattr(ensemble, "stats", None) or {}
    return max(map(float, stats.get("dt", ())), default=0.0)


def _fits(found: xr.Dataset, own: float) -> bool:
    low, high = _ends(found, STEP)
    return low / _NEAR <= own <= high * _NEAR


def _explained(found: xr.Dataset) -> float:
    return float(found["explained"].sel(parameter=STEP))


def _error(found: xr.Dataset) -> float:
    """The standard error of a step."""
    low, high = (float(found[end].sel(parameter=STEP)) for end in ("lower", "upper"))
    return (high - low) / 3.92


def _remedy(found: xr.Dataset, unit: float) -> str:
    """Steps that no ensemble of this size sees: of the particles' integrator, and of one of second
    order, which moves them by about (dt / unit)², to a factor.
    """
    short = _HARMLESS * _error(found)
    second = min((short * unit) ** 0.5 / _WARY, unit)
    return f"dt = {_digit(short)} would do, or StochasticHeun() with dt = {_digit(second)}"


def _digit(number: float) -> str:
    """Not more than a number, to one digit."""
    size = 10.0 ** np.floor(np.log10(number))
    return f"{np.floor(number / size) * size:.1g}"


def _hint(found: xr.Dataset, own: float, unit: float) -> str:
    error = _error(found) if own else np.inf
    if not (np.isfinite(error) and own > _SEEN * error):
        return ""
    moved = f"; steps of {own:g} alone move them by {own / error:.2g} standard errors: "
    return moved + _remedy(found, unit)


def listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
