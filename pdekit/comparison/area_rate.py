"""The area that a path sweeps per time: whether a stationary process goes round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.estimate import Estimate
from pdekit.protocols import Numbers

FEWEST = 20  # blocks, for an interval whose level holds
_MOST = 1000  # blocks that are resampled; more are joined
_LONG = 10  # block over correlation time: leaves a twentieth of the variance of its part
_WINDOW = 6  # correlations are summed over so many times their sum
_AT_ONCE = 2**24  # numbers of a bootstrap kept at a time


@dataclass(frozen=True, eq=False)
class AreaRates:
    """Area swept per time in every plane of the axes; see ``area_rate``.

    ``rate`` (d, d), antisymmetric: of axes i and j E(x_i dx_j - x_j dx_i)/dt. ``reach`` (d, d):
    half the widths of intervals that cover all planes at once at ``level``. ``p_value``: of
    reversibility, where every rate is zero. ``blocks`` of ``block`` steps were resampled.
    """

    rate: Array
    reach: Array
    p_value: float
    level: float
    block: int
    blocks: int

    def plane(self, i: int = 0, j: int = 1) -> Estimate:
        """Rate of axes i and j, with its simultaneous interval."""
        rate, reach = float(self.rate[i, j]), float(self.reach[i, j])
        return Estimate(rate, rate - reach, rate + reach)


def area_rate(
    path: Numbers,
    dt: float,
    level: float = 0.95,
    block: int | None = None,
    draws: int = 999,
    seed: int = 0,
) -> AreaRates:
    """Area rates E(x_i dx_j - x_j dx_i)/dt of a stationary process, with block-bootstrap intervals.

    They vanish in all planes if the process is reversible (detailed balance); spectra and
    autocorrelations of single coordinates cannot tell (mathematics 1.11, errata 73). Of
    dX = -F X dt + sqrt(2 D / β) dB they are 2 Q / β, Q that of ``decompose``; of a density with
    current J they are ∫ x_i J_j - x_j J_i. Here it is x_i(t) x_j(t + dt) - x_j(t) x_i(t + dt) over
    dt, about the mean: exact as dt -> 0, with error O(dt).

    Parameters
    ----------
    path : positions at equal times, (time, d), or (time, chains, d) of independent chains, d >= 2;
        stationary: leave out the beginning
    dt : between two of them, > 0
    level : with which the intervals cover the rates of all planes at once
    block : steps that are resampled together; None: ten times the correlation time, seen in the
        squares of the coordinates' autocorrelations
    draws : of the bootstrap, at least 19
    seed : of the bootstrap

    The means of blocks are resampled, and intervals and p-value are those of the largest of the
    studentised deviations over all planes (Künsch 1989; Romano and Wolf 2005). Steps that fill no
    block are left out, at the beginning.

    Raises ``ValueError`` for another shape, a path that stays in its place, and fewer than 20
    blocks: then it is too short to know its own error. Positions by ``LeimkuhlerMatthews`` share
    noise and are no path; use ``EulerMaruyama`` or ``StochasticHeun``. Memory: a thousand d²
    numbers, so give a few directions of many weights. Good values: a thousand correlation times, dt
    a hundredth of one.
    """
    x, scale = _chains(path)
    dt = checks.positive("dt", dt)
    level, seed = checks.share("level", level), checks.seed(seed)
    draws = checks.whole("draws", draws, 19)
    long = _correlated(x) if block is None else checks.whole("block", block, 1)
    means, steps = _of_blocks(x, long)
    i, j = np.triu_indices(x.shape[2], 1)
    each, unit = means[:, i, j] - means[:, j, i], scale[i] / dt * scale[j]
    rate, error = each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5
    largest = _largest(each, draws, np.random.default_rng(seed))
    seen = _ratio(rate, error).max()
    reach = np.quantile(largest, level, method="higher") * error
    return AreaRates(
        rate=_square(rate * unit, x.shape[2], -1.0),
        reach=_square(reach * unit, x.shape[2], 1.0),
        p_value=float((1 + (largest >= seen).sum()) / (draws + 1)),
        level=level,
        block=steps,
        blocks=len(each),
    )


def _chains(path: Numbers) -> tuple[Array, Array]:
    """Positions (time, chains, d) about their mean, over the largest along each axis, and these."""
    x = checks.finite("path", path)
    x = x[:, None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[0] < 2 or x.shape[1] < 1 or x.shape[2] < 2:
        raise ValueError(
            "path must have shape (time, d), or (time, chains, d) of independent chains, with at "
            f"least two times and d >= 2, got {checks.shown(path)}"
        )
    x = x - x.mean((0, 1))
    scale = np.abs(x).max((0, 1))
    if not scale.all():
        raise ValueError("path must move along every axis; it stays in its place along one")
    return np.asarray(x / scale), np.asarray(scale)


def _correlated(x: Array) -> int:
    """Ten correlation times, in steps: 1 + 2 Σ ρ² of the slowest coordinate (Sokal's window).

    Of squares, as the area is a product of two coordinates.
    """
    n = len(x)
    power = (np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2).mean(1)
    rho = np.fft.irfft(power, axis=0)[:n] / np.arange(n, 0, -1)[:, None]
    times = 2 * np.cumsum((rho / rho[0]) ** 2, axis=0) - 1
    ends = np.arange(n)[:, None] >= _WINDOW * times
    first = np.where(ends.any(0), ends.argmax(0), n - 1)
    return int(np.ceil(_LONG * times[first, np.arange(x.shape[2])].max()))


def _of_blocks(x: Array, block: int) -> tuple[Array, int]:
    """Means of x_i(t) x_j(t + dt) over blocks of so many steps, (blocks, d, d), and the steps.

    A chain that is shorter is a block.
    """
    n, chains, d = len(x) - 1, *x.shape[1:]
    pieces = max(1, min(n // block, -(-_MOST // chains)))
    steps = n // pieces
    blocks = [x[n - steps * pieces + k :][: steps * pieces] for k in (0, 1)]
    here, there = (b.reshape(pieces, steps, chains, d).swapaxes(1, 2) for b in blocks)
    means = (here.swapaxes(-1, -2) @ there / steps).reshape(-1, d, d)
    if len(means) < FEWEST:
        raise ValueError(
            f"path has {n} steps in each of {chains} chains, {len(means)} blocks of {steps} steps; "
            f"expected at least {FEWEST}: give a longer path or more chains"
        )
    joined = -(-len(means) // _MOST)
    whole = len(means) // joined * joined
    return means[:whole].reshape(-1, joined, d, d).mean(1), steps


def _largest(each: Array, draws: int, rng: np.random.Generator) -> Array:
    """Largest studentised deviation over the planes, of every resampling of the blocks."""
    k, centred = len(each), each - each.mean(0)
    found = []
    for part in np.array_split(np.arange(draws), -(-draws * each.shape[1] // _AT_ONCE)):
        counts = rng.multinomial(k, np.full(k, 1 / k), len(part)) / k
        mean = counts @ centred
        spread = np.maximum(counts @ centred**2 - mean**2, 0.0) / (k - 1)
        found.append(_ratio(mean, np.sqrt(spread)).max(1))
    return np.concatenate(found)


def _ratio(mean: Array, error: Array) -> Array:
    """|mean| in errors; 0 / 0 is 0."""
    apart = np.where(error > 0, np.abs(mean) / np.where(error > 0, error, 1.0), np.inf)
    return np.asarray(np.where(mean == 0, 0.0, apart))


def _square(above: Array, d: int, sign: float) -> Array:
    """The matrix with these numbers above its diagonal, and ``sign`` times them below."""
    out = np.zeros((d, d))
    out[np.triu_indices(d, 1)] = above
    return out + sign * out.T
