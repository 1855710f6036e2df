"""Rates along an edge: exponentially fitted to the drift, and centred where it circulates.

Along an edge of weight w (of D) let Δ = -β ∫ D⁻¹ a, a the drift of J = a rho - β⁻¹ D ∇rho, and p
the fall of log rho that balances its gradient part (`circulation`: p = Δ on a line and without a
force). With B(x) = x / (e^x - 1) the two rates are

    w (B(p) - C q(p)),  w (B(-p) + C q(-p)),  C = Δ - p,  q(p) = (e^-p - 1 + p) / (2 cosh p - 2),

the only ones with the right drift that are exact for densities e^{-p x / h}. So
- where p = Δ they are Scharfetter and Gummel's: a state without a current has exact ratios of
  densities at any temperature, whether the drift comes as a potential or as a force,
- what circulates is centred where p is small: no numerical diffusion, up to |C| = 2,
- beyond that, and where w vanishes, they go upwind; they are nonnegative for any drift.

For moments q = 1/2 is better: in the plane, on an axis between walls, q goes over from it where p
is 0.25 to 0.75, and 1 to 2 where all of the drift is a force. Then the first terms also have the
factor 1 + c/6 + c²/60 - ..., c the change of p over a cell: the same for both rates, it alters no
ratio, and with it E X' = E b(X) holds to O(h⁴), for linear b to O(c³).
"""

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.differences import change_per_cell
from pdekit.pde.discrete.generators import bernoulli

_STEEPEST = 700.0  # |Δ| is limited to it, so that rates against a force stay positive
_LEAST = 1e-3  # share of Scharfetter-Gummel diffusion kept where the circulating part is upwind
# Slopes p from where to of the transition of q from 1/2, best for moments, to the best for
# densities
ON_LINES, BESIDE_A_POTENTIAL, ALONE = (-1.0, 0.0), (0.25, 0.75), (1.0, 2.0)


def fitted_rates(weight: Array, drift: Array) -> tuple[Array, Array]:
    """w B(Δ) and w B(-Δ), Δ = g / w, with their limits max(-g, 0), max(g, 0) where w vanishes.

    B(Δ) = B(|Δ|) + max(-Δ, 0); in this form the small rate against a steep drift keeps its relative
    accuracy, and with it the Gibbs state.
    """
    size = np.abs(drift)
    against = weight * bernoulli(_ratio(size, weight))
    return against + (size - drift) / 2, against + (size + drift) / 2


def _ratio(size: Array, weight: Array) -> Array:
    """size / weight, cut at 700: larger, or with zero weight, there is no diffusion."""
    ratio = np.divide(size, weight, out=np.full_like(size, np.inf), where=weight > 0)
    return np.minimum(ratio, _STEEPEST)


def circulating_rates(
    weight: Array, drift: Array, slope: Array, factor: Array | float, ramp: tuple[float, float]
) -> tuple[Array, Array]:
    """The rates for a drift w Δ and slopes p."""
    rest = drift - weight * slope
    up, down = fitted_rates(weight, weight * slope)
    up = factor * up - rest * _share_of_rest(slope, ramp)
    down = factor * down + rest * _share_of_rest(-slope, ramp)
    # a small positive rate against the drift keeps the chain irreducible
    size = np.abs(drift)
    least = _LEAST * weight * bernoulli(_ratio(size, weight))
    return (
        np.maximum(up, least + (size - drift) / 2),
        np.maximum(down, least + (size + drift) / 2),
    )


def _share_of_rest(p: Array, ramp: tuple[float, float]) -> Array:
    """q(p) = (e^-p - 1 + p) / (2 cosh p - 2) = 1/2 - p/6 + ..., 1/2 before the ramp."""
    size = np.clip(np.abs(p), 0.05, _STEEPEST)
    small = (np.expm1(-size) + size) / (4 * np.sinh(size / 2) ** 2)
    small = np.where(np.abs(p) < 0.05, 0.5 - np.abs(p) / 6 * (1 - p * p / 30), small)
    start, end = ramp
    small = 0.5 + np.clip((np.abs(p) - start) / (end - start), 0.0, 1.0) * (small - 0.5)
    return np.where(p > 0, small, 1 - small)


def centring(p: Array, axis: int, grid: Grid) -> Array:
    """1 + c r + c² r / 10: with it the mean is exact for drifts linear along the edge.

    S(p) = (p/2) / sinh(p/2) times it is the solution to O(c³) of the balance of means
    S(p + c/2) e^{-p/2 - c/4} - S(p - c/2) e^{p/2 - c/4} = -p:
    r = (B(p) + B(-p) - 2 B(p) B(-p)) / 2p² = 1/6 - p²/180 + ... c is limited to 1, beyond which
    cells do not resolve the drift.
    """
    size = np.clip(np.abs(p), 0.03, _STEEPEST)
    b = bernoulli(size)
    r = (2 * b + size - 2 * b * (b + size)) / (2 * size**2)
    r = np.where(np.abs(p) < 0.03, 1 / 6 - p * p / 180, r)
    c = np.clip(change_per_cell(p, axis, grid.periodic[axis]), -1.0, 1.0)
    out: Array = 1 + c * r + c * c * r / 10
    return out
