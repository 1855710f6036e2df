"""The parameters layer: scores along parameters at one time, and at all times of the particles.

Particles are independent, the scores of one particle at several times are not: their correlation C
is that over the particles. A mistake of size θ moves the standard score of time t by θ d_t,
d_t² = n ∫ s²/ρ, so that the weights w = C⁻¹ d find it best; w · z / (w' C w)^(1/2) is standard.
"""

from typing import NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.comparison.directional import smallest_weighted
from pdekit.comparison.layers import Along

WEIGHTS = {"beta": 0.60, "drift": 0.34, "clock": 0.03, "step": 0.03}
"""Shares of the false alarms. A clock is seen by the other two; steps too coarse are far off."""

_NUMBERS = 4_000_000  # scores from which correlations are estimated, at most
_ENOUGH = 100  # particles to a time, from which on the weights are the best ones
_RIDGE = 0.05  # of the correlations between times, for their inverse


class Scored(NamedTuple):
    """At one time: standard scores, the signals d of a unit of each, the scores of the cells and,
    last, of particles that have stopped ``(cells + 1, parameters)``, and those of the particles
    ``(particles, parameters)``, None where they cannot be followed.
    """

    along: Along
    signal: Array
    features: Array
    followed: Array | None


def p_of(names: tuple[str, ...], along: Along, blurs: float = 0.0) -> float:
    """Of the parameters layer; where cells may be off by so many ``blur``, at most this."""
    z = np.maximum(np.abs(along.z) - blurs * along.blur, 0.0)
    return smallest_weighted(z, weights(names), along.correlation)


def weights(names: tuple[str, ...]) -> Array:
    found = np.array([WEIGHTS[name] for name in names])
    return np.asarray(found / found.sum())


def most(particles: int, times: int, parameters: int) -> int:
    """Particles that are followed over the times."""
    return min(particles, max(1, _NUMBERS // (times * parameters)))


def joined(scored: list[Scored]) -> Along | None:
    """The scores of all times together; None where particles cannot be followed."""
    if len(scored) == 1:
        return scored[0].along
    followed = [one.followed for one in scored if one.followed is not None]
    if len(followed) < len(scored):
        return None
    G = np.stack(followed, axis=1)  # (particles, times, parameters)
    z = np.nan_to_num([one.along.z for one in scored])
    blur = np.nan_to_num([one.along.blur for one in scored])
    d = np.nan_to_num([one.signal for one in scored])
    sums, total, off = [], [], []
    for j in range(G.shape[2]):
        C, w = _correlation(G[:, :, j]), d[:, j]
        if len(G) > _ENOUGH * len(w):
            w = np.linalg.solve(C + _RIDGE * np.eye(len(w)), w)
        spread = (w @ C @ w) ** 0.5
        w = w / spread if spread > 0 else np.full(len(w), np.nan)
        sums.append(G[:, :, j] @ w)
        total.append(w @ z[:, j])
        off.append(np.abs(w @ blur[:, j]))
    return Along(np.array(total), _correlation(np.stack(sums, axis=-1)), np.array(off))


def _correlation(columns: Array) -> Array:
    """Over the rows; a column that does not vary is by itself."""
    centred = columns - columns.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(size > 0, size, np.inf)
    out: Array = unit.T @ unit
    np.fill_diagonal(out, 1.0)
    return out
