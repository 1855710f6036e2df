"""Numerical Hamiltonians: H(p_minus, p_plus), nondecreasing in the first, nonincreasing second.

``p_minus``, ``p_plus`` are the backward and forward difference quotients (mathematics 1.3). Each is
consistent, H(p, p) = H(p). Crandall and Lions (1984); Osher and Shu (1991).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.hamiltonian_terms import Term
from pdekit.pde.hamiltonians import HALF_SQUARE, Hamiltonian

Flux = Callable[[Any, Any, Term, tuple[float, float]], Array]
_LATTICE = 65  # slopes per axis at which the gradient of a Hamiltonian in the plane is sampled
_SQUARE = HALF_SQUARE.terms(1)[0]
_LINE = (-np.inf, np.inf)


def godunov(
    p_minus: Any, p_plus: Any, term: Term = _SQUARE, bounds: tuple[float, float] = _LINE
) -> Array:
    """Godunov's: the least H over [p_minus, p_plus], or the greatest over [p_plus, p_minus].

    Exact for any H, by its values at the ends and at the local extrema between them; of |p|^2 / 2
    it is max(max(p_minus, 0)^2, min(p_plus, 0)^2) / 2. The least diffusive monotone choice.
    ``bounds`` of the slopes are needed only where the extrema have to be found.
    """
    at_minus, at_plus = np.asarray(term.value(p_minus)), np.asarray(term.value(p_plus))
    low, high = np.minimum(p_minus, p_plus), np.maximum(p_minus, p_plus)
    least, most = np.minimum(at_minus, at_plus), np.maximum(at_minus, at_plus)
    for turn in term.extrema(*bounds):
        between, value = (low < turn) & (turn < high), float(term.value(turn))
        least = np.where(between, np.minimum(least, value), least)
        most = np.where(between, np.maximum(most, value), most)
    out: Array = np.where(p_minus <= p_plus, least, most)
    return out


def engquist_osher(
    p_minus: Any, p_plus: Any, term: Term = _SQUARE, bounds: tuple[float, float] = _LINE
) -> Array:
    """Engquist and Osher's: H(c) + ∫_c^{p_minus} max(H', 0) + ∫_c^{p_plus} min(H', 0).

    The integrals are sums of rises and falls of H between its local extrema, so exact. As smooth
    as H' is, where Godunov's has a kink.
    """
    turns = term.extrema(*bounds)
    c = float(turns[0]) if turns.size else 0.0
    rise, fall = _variation(p_minus, term, turns, c, 1), _variation(p_plus, term, turns, c, -1)
    out: Array = float(term.value(c)) + rise + fall
    return out


def _variation(p: Any, term: Term, turns: Array, c: float, sign: int) -> Array:
    """∫_c^p of the positive (sign 1) or negative (-1) part of H', by monotone pieces."""

    def part(change: Any) -> Any:
        return np.maximum(change, 0) if sign > 0 else np.minimum(change, 0)

    total = -part(term.value(c) - term.value(np.minimum(p, c)))
    for a, b in pairwise([*(turns if turns.size else [c]), np.inf]):
        total = total + part(term.value(np.clip(p, a, b)) - term.value(a))
    return np.asarray(total)


def lax_friedrichs(
    p_minus: Any, p_plus: Any, term: Term = _SQUARE, bounds: tuple[float, float] = _LINE
) -> Array:
    """Lax and Friedrichs': H((p_minus + p_plus) / 2) - a (p_plus - p_minus) / 2.

    a = max |H'| over ``bounds``, the slopes of the line at this moment. Needs no knowledge of
    H, but is more diffusive.
    """
    p_minus, p_plus = np.asarray(p_minus), np.asarray(p_plus)
    if not np.isfinite(bounds).all():
        bounds = (
            float(min(p_minus.min(), p_plus.min())), float(max(p_minus.max(), p_plus.max())),
        )  # fmt: skip
    fastest = max(np.abs(term.velocities(*bounds)))
    out: Array = term.value((p_minus + p_plus) / 2) - fastest * (p_plus - p_minus) / 2
    return out


def of_gradient(
    hamiltonian: Hamiltonian, minus: list[Array], plus: list[Array], bounds: Array, flux: Flux
) -> Array:
    """The numerical Hamiltonian of a field from its one-sided slopes along every axis.

    A sum over the axes of ``flux`` where H is such a sum. Otherwise Godunov's for ``Eikonal``,
    which grows with every |p_k|, and Lax and Friedrichs' for the rest.
    """
    terms = hamiltonian.terms(len(minus))
    if terms is not None:
        parts = zip(minus, plus, terms, bounds.tolist(), strict=True)
        return sum((flux(a, b, term, tuple(ends)) for a, b, term, ends in parts), np.zeros(()))
    if checks.declared(hamiltonian, "steepest") and flux is godunov:
        rise = [np.maximum(np.maximum(a, -b), 0) for a, b in zip(minus, plus, strict=True)]
        return np.asarray(hamiltonian(np.stack(rise, axis=-1)))
    mean = np.stack([(a + b) / 2 for a, b in zip(minus, plus, strict=True)], axis=-1)
    fastest = _speeds_in_a_box(hamiltonian, bounds)
    drag = sum(c * (b - a) / 2 for c, a, b in zip(fastest, minus, plus, strict=True))
    return np.asarray(hamiltonian(mean) - drag)


def speeds(hamiltonian: Hamiltonian, bounds: Array, flux: Flux) -> Array:
    """Per axis the largest sum of the derivatives of H(p_minus, p_plus), for the CFL condition.

    max |H'| over the slopes ``bounds`` (dim, 2); where Engquist and Osher's waves go both ways at
    once, the fastest of the one plus the fastest of the other.
    """
    terms = hamiltonian.terms(len(bounds))
    if terms is None:
        return _speeds_in_a_box(hamiltonian, bounds)
    ends = np.array([term.velocities(*b) for term, b in zip(terms, bounds.tolist(), strict=True)])
    both = np.maximum(ends[:, 1], 0) + np.maximum(-ends[:, 0], 0)
    out: Array = both if flux is engquist_osher else np.abs(ends).max(1)
    return out


def _speeds_in_a_box(hamiltonian: Hamiltonian, bounds: Array) -> Array:
    """max |∂H/∂p_k| over a box of slopes, on a lattice, with half its largest jump added."""
    steepest = checks.declared(hamiltonian, "steepest")
    if steepest:
        return np.full(len(bounds), steepest)
    lines = [np.linspace(a, b, _LATTICE) for a, b in bounds]
    values = np.asarray(hamiltonian.grad(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)))
    jump = np.zeros(len(bounds))
    for axis in range(len(bounds)):
        jump += np.abs(np.diff(values, axis=axis)).max(tuple(range(len(bounds)))) / 2
    out: Array = np.abs(values).max(tuple(range(len(bounds)))) + jump
    return out


def one_sided(u: Array, axis: int, h: float, periodic: bool) -> tuple[Array, Array]:
    """Backward and forward difference quotients; at a no-flux wall the outer one is zero."""
    step = np.diff(u, axis=axis) / h
    seam_shape = list(u.shape)
    seam_shape[axis] = 1
    if periodic:
        seam = (np.take(u, [0], axis) - np.take(u, [-1], axis)) / h
    else:
        seam = np.zeros(seam_shape)
    return np.concatenate([seam, step], axis), np.concatenate([step, seam], axis)


def one_sided_eno(u: Array, axis: int, h: float, periodic: bool) -> tuple[Array, Array]:
    """The same to second order: the parabola with the smaller second difference (ENO2, minmod).

    Where the second differences of two neighbouring cells disagree in sign, first order is kept:
    there they are small. At a no-flux wall the field is continued by reflection. Osher and Shu
    (1991).
    """
    wide = [(2, 2) if k == axis else (0, 0) for k in range(u.ndim)]
    line = np.moveaxis(np.pad(u, wide, mode="wrap" if periodic else "symmetric"), axis, -1)
    step = np.diff(line) / h
    bend = np.diff(step)  # of the cells -1 .. n
    common = np.where(
        bend[..., 1:] * bend[..., :-1] > 0,
        np.sign(bend[..., 1:]) * np.minimum(np.abs(bend[..., 1:]), np.abs(bend[..., :-1])),
        0.0,
    )
    minus = step[..., 1:-2] + common[..., :-1] / 2
    plus = step[..., 2:-1] - common[..., 1:] / 2
    return np.moveaxis(minus, -1, axis), np.moveaxis(plus, -1, axis)


def slopes(u: Array, grid: Grid, one_side: Any = one_sided) -> tuple[list[Array], list[Array]]:
    """Backward and forward slopes along every axis."""
    pairs = [one_side(u, k, h, grid.periodic[k]) for k, h in enumerate(grid.spacing)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def slope_bounds(minus: list[Array], plus: list[Array]) -> Array:
    """Least and greatest slope per axis, (dim, 2), zero among them (a no-flux wall's)."""
    return np.array(
        [
            (min(float(a.min()), float(b.min()), 0.0), max(float(a.max()), float(b.max()), 0.0))
            for a, b in zip(minus, plus, strict=True)
        ]
    )
