"""Distances between cell masses and a set of particles, their sampling floors, goodness-of-fit
tests.

Kernels on bare arrays. ``mass`` holds the probabilities of the cells (``rho * cell_volume``,
sum 1), ``counts`` the particles in them. Under the null hypothesis, independent particles that
follow the density, the counts are multinomial; hence every floor below is an expectation, exact
or by expansion, and nothing is simulated.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pdekit.arrays import Array, IntArray
from pdekit.grid import Grid

DIRECTIONS = 16
"""Directions of the sliced distance, equally spaced over the half circle."""

TAIL = 1e-6
"""Tolerated mass beyond the walls: the accuracy of a solver's tail."""


# --- counting --------------------------------------------------------------------------------


def cell_counts(points: Array, grid: Grid) -> IntArray:
    """Particles per cell, shape ``grid.shape``; one beyond a wall counts in the wall's cell."""
    return np.bincount(grid.cell_of(points), minlength=int(np.prod(grid.shape))).reshape(grid.shape)


def expected_outside(mass: Array, grid: Grid) -> float:
    """Mass that the box cuts off, extrapolated from the decay of the density at its walls.

    A marginal that falls by ``e`` over its last ``m`` cells, down to ``g`` in the wall's, goes on
    beyond an open wall with about ``g * m``. One that does not fall by ``e`` within half the box
    is not a tail: the wall is taken as a true boundary, and nothing is expected outside. ``TAIL``
    is added for the accuracy of a computed tail.
    """
    cut = TAIL
    for k in range(grid.dim):
        if grid.periodic[k]:
            continue
        shares = marginal(mass, k)
        for g in (shares, shares[::-1]):
            higher = np.flatnonzero(g[: len(g) // 2 + 1] >= np.e * g[0])
            cut += g[0] * higher[0] if g[0] > 0 and higher.size else 0.0
    return float(cut)


def smallest_bin(n: int) -> float:
    """Least mass of a pooled bin: ``max(25 / n, n^(-2/5) / 2)``.

    At least 25 particles are expected, where chi-square is accurate, and there are at most
    ``2 n^(2/5)`` bins (Mann and Wald 1942, Moore 1986), where its power is near its best.
    """
    least: float = max(25.0 / n, 0.5 * n**-0.4)
    return least


def equal_mass_bins(mass: Array, smallest: float) -> IntArray:
    """Pool cells into boxes of near-equal mass, each at least ``smallest``; labels like ``mass``.

    The box is halved by mass, along its longest side (in cells) that allows it, until no half
    would have enough mass: contiguous bins in 1-D, rectangles of cells in 2-D.
    """
    labels = np.zeros(mass.shape, dtype=np.int64)
    pending: list[tuple[slice, ...]] = [tuple(slice(0, n) for n in mass.shape)]
    found = 0
    while pending:
        box = pending.pop()
        halves = _halved(mass[box], box, smallest)
        if halves:
            pending.extend(halves)
        else:
            labels[box] = found
            found += 1
    return labels


def _halved(mass: Array, box: tuple[slice, ...], smallest: float) -> list[tuple[slice, ...]]:
    for axis in sorted(range(mass.ndim), key=lambda k: -mass.shape[k]):
        below = np.cumsum(marginal(mass, axis))
        total = below[-1]
        if total < 2 * smallest:
            return []
        cut = int(np.argmin(np.abs(below - 0.5 * total))) + 1
        if min(below[cut - 1], total - below[cut - 1]) >= smallest:
            middle = box[axis].start + cut
            left, right = list(box), list(box)
            left[axis] = slice(box[axis].start, middle)
            right[axis] = slice(middle, box[axis].stop)
            return [tuple(left), tuple(right)]
    return []


def pooled(values: Array | IntArray, labels: IntArray) -> Array:
    """Sums of ``values`` over the bins; exact, as a bin is a union of cells."""
    weights = np.asarray(values, dtype=np.float64).ravel()
    return np.asarray(np.bincount(labels.ravel(), weights=weights), dtype=np.float64)


def marginal(values: Array | IntArray, axis: int) -> Array:
    """Sums over the other axes."""
    other = tuple(k for k in range(values.ndim) if k != axis)
    return np.asarray(values.sum(axis=other))


# --- distances and their floors ----------------------------------------------------------------


def binomial_deviation(n: int, p: Array) -> Array:
    """``E|X/n - p|`` for ``X ~ Binomial(n, p)``, exactly (de Moivre 1730).

    ``E|X - np| = 2 (k+1) C(n, k+1) p^(k+1) (1-p)^(n-k)`` with ``k = floor(np)``; about
    ``sqrt(2 p (1-p) / (pi n))`` where ``np(1-p)`` is large. The floor of every distance that is an
    integral of ``|F_n - F|`` or ``|p_n - p|`` follows from it without sampling.
    """
    p = np.clip(p, 0.0, 1.0)
    k = np.minimum(np.floor(n * p), n - 1)
    log_binomial = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k)
    log_terms = special.xlogy(k + 1, p) + special.xlog1py(n - k, -p)
    return np.asarray(2.0 / n * np.exp(log_binomial + log_terms))


def l1(counts: Array | IntArray, mass: Array) -> tuple[float, float]:
    """``sum |counts/n - mass|`` over bins (twice the total variation), and its floor."""
    n = int(counts.sum())
    return float(np.abs(counts / n - mass).sum()), float(binomial_deviation(n, mass).sum())


def kl(counts: Array | IntArray, mass: Array) -> tuple[float, float]:
    """``KL(counts/n || mass)`` in nats over bins, and its floor ``(bins - 1) / (2n) + O(n^-2)``."""
    n = counts.sum()
    value = special.rel_entr(counts / n, mass).sum()
    occupied = mass[mass > 0]
    floor = (occupied.size - 1) / (2 * n) + ((1 / occupied).sum() - 1) / (12 * n**2)
    return float(value), float(floor)


def w1_line(x: Array, faces: Array, mass: Array) -> tuple[float, float]:
    """Wasserstein-1 distance on the line, ``int |F_n - F| dx``, and its floor.

    Exact for particles ``x`` (any order) against mass uniform inside each cell, so that ``F``
    is piecewise linear. The floor is ``int E|F_n - F| dx``, by Simpson's rule in each cell.
    """
    cdf = _cdf(mass)
    x = np.sort(x)
    at = np.searchsorted(x, faces)
    z = np.insert(x, at, faces)
    is_particle = np.ones(len(z))
    is_particle[at + np.arange(len(faces))] = 0.0
    below = np.cumsum(is_particle[:-1]) / len(x)
    exact = np.interp(z, faces, cdf)
    a, b = np.abs(exact[:-1] - below), np.abs(exact[1:] - below)
    crossing = (exact[:-1] < below) & (exact[1:] > below)
    mean = np.where(crossing, 0.5 * (a * a + b * b) / np.maximum(a + b, 1e-300), 0.5 * (a + b))
    return float(mean @ np.diff(z)), w1_line_floor(len(x), faces, mass)


def w1_line_floor(n: int, faces: Array, mass: Array) -> float:
    cdf = _cdf(mass)
    ends, middles = (binomial_deviation(n, p) for p in (cdf, 0.5 * (cdf[1:] + cdf[:-1])))
    return float(np.diff(faces) @ (ends[1:] + 4 * middles + ends[:-1]) / 6)


def w1_sliced(counts: IntArray, mass: Array, grid: Grid) -> tuple[float, float]:
    """Sliced Wasserstein-1 distance in the plane, and its floor.

    The mean over ``DIRECTIONS`` fixed directions of the distance on the line between the projected
    measures, particles and density both at the centre of their cell: moving within
    a cell costs nothing, and the work does not grow with the number of particles. It is at
    most the true W1; a shift by ``s`` gives about ``2|s|/pi``.
    """
    n = int(counts.sum())
    share = (counts / n).ravel()
    width = float(grid.spacing.min())
    values, floors = [], []
    for angle in (np.arange(DIRECTIONS) + 0.5) * np.pi / DIRECTIONS:
        s = grid.centres @ np.array([np.cos(angle), np.sin(angle)])
        slab = ((s - s.min()) / width).astype(np.int64).ravel()
        cdf = np.cumsum(pooled(mass, slab))
        below = np.cumsum(pooled(share, slab))
        values.append(width * np.abs(below - cdf)[:-1].sum())
        floors.append(width * binomial_deviation(n, cdf)[:-1].sum())
    return float(np.mean(values)), float(np.mean(floors))


def _cdf(mass: Array | IntArray) -> Array:
    below: Array = np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
    return below


# --- tests of fit --------------------------------------------------------------------------------


def chi_square(counts: Array | IntArray, mass: Array) -> tuple[float, float]:
    """Pearson's statistic over bins and its p-value (``bins - 1`` degrees of freedom)."""
    expected = counts.sum() * mass
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic, tail(statistic, len(mass) - 1)


def kolmogorov_smirnov(counts: Array | IntArray, mass: Array) -> tuple[float, float]:
    """``max |F_n - F|`` over the faces of a row of cells, and its p-value.

    In the plane: the largest among the axes, p-value by Bonferroni. Using faces only requires no
    assumption on the density inside a cell and makes the p-value (Stephens 1970,
    ``K((sqrt(n) + 0.12 + 0.11/sqrt(n)) D)``) conservative, a little, on a fine grid.
    """
    axes = range(mass.ndim)
    gaps = [_cdf(marginal(counts, k)) - _cdf(marginal(mass, k)) for k in axes]
    distance = float(max(np.abs(gap).max() for gap in gaps))
    root = np.sqrt(counts.sum())
    p = special.kolmogorov((root + 0.12 + 0.11 / root) * distance)
    return distance, float(min(1.0, mass.ndim * p))


def moment_scores(points: Array, mass: Array, grid: Grid) -> tuple[Array, Array]:
    """Standard scores per axis of the particles' mean and of their variance about the density's.

    Moments of the density are midpoint sums, as in ``Grid.integrate``; zero where the width
    vanishes.
    """
    z = grid.centres.reshape(-1, grid.dim)
    mean = mass.ravel() @ z
    squares = (z - mean) ** 2
    variance, fourth = mass.ravel() @ squares, mass.ravel() @ squares**2
    moved, root = points.T - mean[:, None], np.sqrt(len(points))
    shift = moved.mean(axis=1)
    excess = np.einsum("kn,kn->k", moved, moved) / len(points) - variance
    first, second = np.stack([shift, excess]) / moment_errors(variance, fourth, grid) * root
    return first, second


def moment_errors(variance: Array, fourth: Array, grid: Grid) -> Array:
    """Standard errors of mean and variance of one particle, infinite where there is no width."""
    squares = np.stack([variance, fourth - variance**2])
    # below that it is rounding
    least = np.stack([(1e-9 * grid.spacing) ** 2, 1e-12 * fourth])
    return np.sqrt(np.where(squares > least, squares, np.inf))


def combined(p_values: dict[str, float], shares: dict[str, float]) -> float:
    """P-value of ``min p_i / share_i`` for independent tests (Tippett 1931, weighted).

    ``1 - prod(1 - share_i t)``, about ``t`` when small: each test uses its share of the
    false alarms. Tests without a share are left out; shares without a test are redistributed.
    """
    spent = sum(share for name, share in shares.items() if name in p_values)
    kept = {name: share / spent for name, share in shares.items() if name in p_values}
    t = min(p_values[name] / share for name, share in kept.items())
    if t * max(kept.values()) >= 1:
        return 1.0
    return float(0.0 - np.expm1(sum(np.log1p(-share * t) for share in kept.values())))


def tail(statistic: float, degrees: int) -> float:
    """Of chi-square."""
    return float(special.chdtrc(degrees, statistic)) if degrees > 0 else 1.0


def nowhere(mass: Array) -> NDArray[np.bool_]:
    """Nearly empty cells: those of least mass, together at most ``TAIL``."""
    flat = mass.ravel()
    few = np.flatnonzero(flat <= TAIL)
    few = few[np.argsort(flat[few])]
    empty = np.zeros(flat.size, dtype=bool)
    empty[few[np.cumsum(flat[few]) <= TAIL]] = True
    return empty.reshape(mass.shape)


def outside_test(outside: int, n: int, expected: float) -> float:
    """``P(Poisson(n * expected) >= outside)``: too many outside, or in empty cells."""
    return float(special.gammainc(outside, n * expected)) if outside else 1.0
