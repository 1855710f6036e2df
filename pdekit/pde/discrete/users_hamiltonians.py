"""Whether a user's Hamiltonian is what it says, over the slopes of the data.

A function of each slope alone, with its derivative, convex where it says so, and its conjugate the
Legendre transform: Fenchel and Young's H(p) + L(v) >= p v, with equality at v = H'(p).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.fluxes import slope_bounds, slopes
from pdekit.pde.hamiltonian_terms import Term, forget_turns
from pdekit.pde.hamiltonians import Hamiltonian
from pdekit.potentials.consistency import check_gradient, check_pointwise, note, seen

_SLOPES = {1: 1025, 2: 33}  # along an axis at which H is looked at
_NEAR = 1e-6  # of the largest term of p v = H + L: what is rounding of it
_ZOOMS, _PARTS = 10, 8  # of the steepest part, in so many parts each
_LATER, _UNBOUNDED = 3, 4.0  # looks, on which H is so much steeper still: without bound
_BEYOND = np.append(0.0, 2.0 ** np.arange(-2, 7))  # of the range of velocities, beyond it


def check_hamiltonian(hamiltonian: Hamiltonian, values: Array, grid: Grid, explicit: bool) -> None:
    """``ValueError`` where it is not what it says; ``explicit`` steps need a bounded derivative."""
    if checks.declared(hamiltonian, "known"):
        return
    forget_turns()
    bounds = slope_bounds(*slopes(values, grid))
    if seen(hamiltonian, bounds) or not np.isfinite(bounds).all():
        return
    terms = hamiltonian.terms(grid.dim)
    if terms is None:
        _check_in_plane(hamiltonian, bounds, explicit)
    for term, (low, high) in zip(terms or (), bounds, strict=bool(terms)):
        if low < high:
            _check_on_line(term, float(low), float(high), explicit)
    note(hamiltonian, bounds)


@dataclass(frozen=True)
class _OnLine:
    """A term of one slope as a function of points (..., 1)."""

    term: Term

    def __call__(self, p: Array) -> Array:
        return np.asarray(self.term.value(p[..., 0]), dtype=float)

    def grad(self, p: Array) -> Array:
        return np.asarray(self.term.slope(p[..., 0]), dtype=float)[..., None]


def _check_on_line(term: Term, low: float, high: float, explicit: bool) -> None:
    function = _OnLine(term)
    p = np.linspace(low, high, _SLOPES[1])
    H = function(p[:, None])
    check_pointwise("the Hamiltonian", function, p[:, None], H)
    check_gradient("the derivative of the Hamiltonian", function, p[:, None])
    if term.turns is not None:
        _require_turns(term.turns, p, H)
    if explicit:
        require_bounded_derivative(term.value, p)
    if term.convex:
        _require_convex(p, H)
        if term.conjugate:
            _require_conjugate(term, p, H)


def _check_in_plane(hamiltonian: Any, bounds: Array, explicit: bool) -> None:
    lines = [np.linspace(a, b, _SLOPES[2]) for a, b in bounds]
    p = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(bounds))
    check_pointwise("the Hamiltonian", hamiltonian, p, np.asarray(hamiltonian(p), dtype=float))
    check_gradient("the derivative of the Hamiltonian", hamiltonian, p)
    for axis, line in enumerate(lines):
        for through in (np.zeros(len(bounds)), 0.4 * bounds[:, 0] + 0.6 * bounds[:, 1]):
            if explicit and line[0] < line[-1]:
                way = np.arange(len(bounds)) == axis
                along = partial(_along, hamiltonian, way, through)
                require_bounded_derivative(along, np.linspace(line[0], line[-1], _SLOPES[1]))


def _along(hamiltonian: Any, way: Any, through: Array, s: Array) -> Array:
    """H along a line parallel to an axis."""
    return np.asarray(hamiltonian(np.where(way, s[..., None], through)), dtype=float)


def require_bounded_derivative(value: Callable[[Array], Any], p: Array) -> None:
    """``ValueError`` where H is ever steeper on a closer look: monotone steps would vanish."""
    steepness: list[float] = []
    for _ in range(_ZOOMS + 1):
        H = np.asarray(value(p), dtype=float)
        rise = np.abs(np.diff(H))
        if rise.max() < 1e-14 * np.abs(H).max():  # of rounding
            break
        k = int(rise.argmax())
        steepness.append(float(rise[k] / (p[k + 1] - p[k])))
        p = np.linspace(p[k], p[k + 1], _PARTS + 1)
    if len(steepness) > _LATER and steepness[-1] > _UNBOUNDED * steepness[-1 - _LATER]:
        raise ValueError(
            "the Hamiltonian must have a bounded derivative, which limits the step; near the slope "
            f"{p[0]:.6g} it is {steepness[0]:.3g}, {steepness[-1]:.3g} on a closer look, as of a "
            "jump or a root. Smooth it there, as in sqrt(p**2 + 1e-4) for |p|"
        )


def _require_turns(turns: tuple[float, ...], p: Array, H: Array) -> None:
    """``ValueError`` where H has an extremum that is none of the turns it names."""
    rise = np.diff(H)
    some = np.flatnonzero(np.abs(rise) > 1e-12 * np.abs(H).max())
    k = np.flatnonzero(np.sign(rise[some][:-1]) * np.sign(rise[some][1:]) < 0)
    for a, b in zip(p[some[k]], p[some[k + 1] + 1], strict=True):
        if not any(a <= turn <= b for turn in turns):
            raise ValueError(
                f"the turns of the Hamiltonian must be all slopes where its derivative changes "
                f"sign, as it does between {a:.6g} and {b:.6g}; got {checks.shown(turns)}. Leave "
                "them out to have them found"
            )


def _require_convex(p: Array, H: Array) -> None:
    bend = np.diff(H, 2)
    k = int(bend.argmin())
    if bend[k] < -1e-9 * np.abs(H).max():
        raise ValueError(
            f"the Hamiltonian must be convex where it says convex=True; at the slopes {p[k]:.6g}, "
            f"{p[k + 1]:.6g} and {p[k + 2]:.6g} it is {H[k]:.6g}, {H[k + 1]:.6g} and "
            f"{H[k + 2]:.6g}. Leave convex and the conjugate out, for schemes.Filtered()"
        )


def _require_conjugate(term: Term, p: Array, H: Array) -> None:
    """L between bounds from H at neighbouring slopes, for velocities of the data and beyond them.

    At the chord v of two slopes, and at velocities between two chords, p v - H at the slope they
    have in common is L, less at most their distance times that of the slopes.
    """
    chord = np.diff(H) / np.diff(p)
    share = np.array([0.0, 0.25, 0.5, 0.75])
    v = (chord[:-1, None] + share * np.diff(chord)[:, None]).ravel()
    least = np.repeat(p[1:-1], share.size) * v - np.repeat(H[1:-1], share.size)
    slack = np.repeat(np.diff(chord), share.size) * (p[1] - p[0])
    L = _velocities_in_reach(term, v)
    near = _NEAR * max(float(np.abs(p).max() * np.abs(v).max()), float(np.abs(H).max()))
    wrong = ~((least - near <= L) & (least + slack + near >= L))
    if wrong.any():
        raise _not_conjugate(v, L, least, int(wrong.argmax()))
    width = max(float(np.ptp(v)), 1e-3 * float(np.abs(v).max()))
    far = np.append(v[-1] + width * _BEYOND, v[0] - width * _BEYOND)
    far = far[np.abs(far) < term.reach]
    below = (far[:, None] * p - H).max(1)
    L = _conjugate(term, far)
    near = _NEAR * (np.abs(far) * np.abs(p).max() + np.abs(H).max())
    wrong = below - near > L
    if wrong.any():
        raise _not_conjugate(far, L, below, int(wrong.argmax()))


def _velocities_in_reach(term: Term, v: Array) -> Array:
    fastest = float(v[np.abs(v).argmax()])
    if abs(fastest) > term.reach * (1 + 1e-9):
        raise ValueError(
            f"the conjugate must be finite for the velocities of the data, up to {fastest:.6g}; "
            f"got reach = {term.reach:g}"
        )
    return _conjugate(term, np.clip(v, -term.reach, term.reach))


def _conjugate(term: Term, v: Array) -> Array:
    assert term.conjugate is not None
    with np.errstate(all="ignore"):
        return np.asarray(term.conjugate(v), dtype=float)


def _not_conjugate(v: Array, L: Array, right: Array, k: int) -> ValueError:
    return ValueError(
        "the conjugate must be the Legendre transform of the Hamiltonian, L(v) = max_p p v - H(p); "
        f"at the velocity {v[k]:.6g} it is {L[k]:.6g}, where p v - H(p) reaches {right[k]:.6g} "
        "over the slopes of the data. Mend it, or leave it out, for schemes.Filtered()"
    )
