"""How many critical points the spherical p-spin Hamiltonian has, to leading exponential order."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from pdekit import checks
from pdekit.arrays import Array


def threshold(p: int) -> float:
    """E_∞ = 2 √((p-1)/p): above -N E_∞ nearly all critical points are saddles of high index."""
    p = _spins(p)
    return 2 * sqrt((p - 1) / p)


def complexity(u: ArrayLike, p: int, index: int | None = None) -> Array:
    """Θ(u) = lim log E crt / N, of the critical points with H <= N u, without field.

    With ``index`` k, Θ_k(u), of those of index k alone:

        Θ_k(u) = log(p-1)/2 - (p-2)/(4(p-1)) u² - (k+1) I₁(u),   u <= -E_∞,
        I₁(u) = -(u/E_∞²) √(u² - E_∞²) - log(-u + √(u² - E_∞²)) + log E_∞,

    constant above -E_∞; Θ(u) goes on without I₁ to u = 0. Auffinger, Ben Arous and Černý 2013;
    thesis Lemma 2.2 with I₁ corrected (errata 50). Negative values: no such points are expected.
    """
    p = _spins(p)
    u = checks.finite("u", u, "energies per spin")
    if index is not None:
        index = checks.whole("index", index, 0)
    edge = threshold(p)
    deep = np.minimum(u, -edge)
    top = np.minimum(u, 0.0) if index is None else deep
    root = np.sqrt(-deep - edge) * np.sqrt(-deep + edge)  # to all digits near the threshold
    rate = -(deep / edge**2) * root - np.log(-deep + root) + log(edge)
    copies = 1 if index is None else index + 1
    out: Array = log(p - 1) / 2 - (p - 2) / (4 * (p - 1)) * top**2 - copies * rate
    return out


def ground_state(p: int, index: int = 0) -> float:
    """E_k, k = ``index``, where Θ_k(-E_k) = 0; E_0: min H/N -> -E_0 as N -> ∞ (p >= 3).

    Critical points of index k lie above -N E_k. For p = 2 it is E_∞ for every k.
    """
    p, index = _spins(p), checks.whole("index", index, 0)
    edge = threshold(p)
    if p == 2:
        return edge

    def above(u: float) -> float:
        return float(complexity(-u, p, index))

    far = 2 * edge + sqrt(2 * log(p))  # there Θ < 0: log(p-1)/2 is less than the parabola takes
    return float(brentq(above, edge, far, xtol=1e-15, rtol=4 * np.finfo(float).eps))


def _spins(p: int) -> int:
    return checks.whole("p", p, 2)
