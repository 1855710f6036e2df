"""Wasserstein-2 distances between cell masses and particles: quantiles, slices, POT."""

from typing import Any

import numpy as np

from pdekit.arrays import Array, IntArray
from pdekit.comparison import distances
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid

ANGLES = (np.arange(distances.DIRECTIONS) + 0.5) * np.pi / distances.DIRECTIONS
"""Fixed directions of a sliced distance."""

SIDE = 32
"""Most boxes per axis for entropic transport."""


def w2_line(x: Array, faces: Array, mass: Array) -> float:
    """``(int_0^1 (F_n^-1(u) - F^-1(u))^2 du)^(1/2)``, exact for mass uniform inside a cell.

    ``F^-1`` is linear and ``F_n^-1`` constant between the levels ``i/n`` and those of the faces.
    """
    x = np.sort(x)
    n = len(x)
    cdf = np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
    u = np.union1d(np.arange(n + 1) / n, cdf)
    left, right = _quantiles(u, cdf, faces)
    seen = x[np.minimum((0.5 * (u[1:] + u[:-1]) * n).astype(np.int64), n - 1)]
    return _root_mean_square(left - seen, right - seen, np.diff(u))


def w2_histograms(share: Array, mass: Array, faces: Array) -> float:
    """The same between two histograms on cells with one set of ``faces``."""
    one, two = (np.concatenate([[0.0], np.cumsum(p)]) / p.sum() for p in (share, mass))
    u = np.union1d(one, two)
    (a, b), (c, d) = _quantiles(u, one, faces), _quantiles(u, two, faces)
    return _root_mean_square(a - c, b - d, np.diff(u))


def w2_sliced(counts: IntArray, mass: Array, grid: Grid) -> float:
    """Root mean square over ``ANGLES`` of the distance between projections of the cells."""
    shares = (counts / counts.sum()).reshape(1, -1)
    return float(w2_sliced_boxes(shares, mass.ravel(), tuple(grid.faces))[0])


def w2_sliced_boxes(shares: Array, mass: Array, edges: tuple[Array, ...]) -> Array:
    """The same for many ``shares`` ``(draws, boxes)``: slabs as wide as the narrowest box."""
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    x, y = (z.ravel() for z in np.meshgrid(*middles, indexing="ij"))
    width = min(np.diff(edge).min() for edge in edges)
    squares = np.zeros(len(shares))
    for angle in ANGLES:
        s = np.cos(angle) * x + np.sin(angle) * y
        slab = ((s - s.min()) / width).astype(np.int64)
        faces = s.min() + width * np.arange(slab.max() + 2)
        projected = distances.pooled(mass, slab)
        for i, share in enumerate(shares):
            squares[i] += w2_histograms(distances.pooled(share, slab), projected, faces) ** 2
    return np.sqrt(squares / len(ANGLES))


def w2_exact(x: Array, mass: Array, grid: Grid) -> float:
    """Optimal transport of particles ``(n, 2)`` to the cells' mass at their centres, by POT.

    Raises ``ImportError`` where POT is not installed.
    """
    ot = pot()
    occupied = mass.ravel() > 0
    centres, weights = grid.centres.reshape(-1, grid.dim)[occupied], mass.ravel()[occupied]
    # scaled to one: POT's simplex treats nearly equal costs as equal
    unit = max(float(np.ptp(centres, axis=0).max()), float(grid.spacing.max()))
    cost = ot.dist(x / unit, centres / unit)
    squared = ot.emd2(np.full(len(x), 1 / len(x)), weights / weights.sum(), cost, 2_000_000)
    return float(unit * np.sqrt(max(squared, 0.0)))


def occupied_boxes(counts: Array | IntArray, mass: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """Both shares of at most ``SIDE`` boxes an axis, and the boxes' centres.

    The boxes cover only the cells between the outermost with a share above 1e-12, so
    that narrow densities are resolved.
    """
    occupied = (counts > 1e-12 * counts.sum()) | (mass > 1e-12 * mass.sum())
    seen, rho, axes = np.asarray(counts, dtype=float), mass, []
    for k, faces in enumerate(grid.faces):
        used = np.flatnonzero(occupied.any(axis=tuple(j for j in range(grid.dim) if j != k)))
        first, last = int(used[0]), int(used[-1]) + 1
        starts = np.arange(0, last - first, -(-(last - first) // SIDE))
        cells = np.arange(first, last)
        seen, rho = (np.add.reduceat(v.take(cells, k), starts, axis=k) for v in (seen, rho))
        edges = np.append(faces[first + starts], faces[last])
        axes.append((edges[1:] + edges[:-1]) / 2)
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, grid.dim)
    return seen.ravel() / seen.sum(), rho.ravel() / rho.sum(), centres


def regularisation(centres: Array) -> float:
    """``(2 h)^2`` with the widest distance ``h`` between neighbouring boxes: so that nothing
    underflows on ``SIDE`` boxes an axis."""
    gaps = [np.diff(np.unique(z)) for z in centres.T]
    return float(4 * max((gap.max() for gap in gaps if len(gap)), default=0.5) ** 2)


def w2_sinkhorn(shares: Array, mass: Array, centres: Array, epsilon: float) -> Array:
    """Square root of the debiased Sinkhorn divergence of ``shares (draws, m)`` and ``mass``.

    ``S(p, q) = E(p, q) - (E(p, p) + E(q, q)) / 2`` with ``E(p, q) = min int |x - y|^2 dP + epsilon
    KL(P | p x q)`` over plans (Feydy et al. 2019): zero only for equal masses, and ``|s|^2`` for a
    shift. Raises ``ImportError`` without POT, ``ConvergenceError`` if the iteration stalls.
    """
    own = _entropic(mass, mass, centres, epsilon)
    squares = [
        _entropic(p, mass, centres, epsilon) - (_entropic(p, p, centres, epsilon) + own) / 2
        for p in shares
    ]
    return np.sqrt(np.maximum(squares, 0.0))


def _entropic(p: Array, q: Array, centres: Array, epsilon: float) -> float:
    """``E(p, q)`` by its dual, whose error is of second order in that of the plan."""
    ot = pot()
    i, j = p > 1e-14, q > 1e-14
    cost = ot.dist(centres[i], centres[j])
    one, two = p[i] / p[i].sum(), q[j] / q[j].sum()
    _, log = ot.sinkhorn(
        one, two, cost, epsilon, numItermax=20_000, stopThr=1e-8, warn=False, log=True
    )
    if not log["err"][-1] < 1e-6:
        raise ConvergenceError(
            f"entropic transport has not converged: it misses {log['err'][-1]:.2g} of the mass "
            "after 20,000 iterations; try SlicedW2(), which needs none"
        )
    # u and v are scaled so that the plan is u K v: E relative to p x q needs their entropies
    f = epsilon * (np.log(log["u"]) - np.log(one))
    g = epsilon * (np.log(log["v"]) - np.log(two))
    return float(f @ one + g @ two)


def draw(n: int, mass: Array, grid: Grid, rng: np.random.Generator) -> Array:
    """``n`` independent points of the density, even inside a cell, shape ``(n, dim)``."""
    cells = rng.choice(mass.size, n, p=mass.ravel() / mass.sum())
    jitter = (rng.random((n, grid.dim)) - 0.5) * grid.spacing
    return np.asarray(grid.centres.reshape(-1, grid.dim)[cells] + jitter)


def _quantiles(u: Array, cdf: Array, faces: Array) -> tuple[Array, Array]:
    """Quantiles at both ends of every interval between levels ``u``, from inside the interval."""
    # where the cdf is flat, a level has two quantiles: the cell is that of the interval's midpoint
    middle = 0.5 * (u[1:] + u[:-1])
    cell = np.clip(np.searchsorted(cdf, middle) - 1, 0, len(faces) - 2)
    rise = np.diff(cdf)[cell]
    slope = np.diff(faces)[cell] / np.where(rise > 1e-100, rise, np.inf)
    left, right = (
        np.clip(faces[cell] + (v - cdf[cell]) * slope, faces[cell], faces[cell + 1])
        for v in (u[:-1], u[1:])
    )
    return left, right


def _root_mean_square(a: Array, b: Array, weight: Array) -> float:
    """Of functions that go linearly from ``a`` to ``b`` over intervals of length ``weight``."""
    return float(np.sqrt(weight @ (a * a + a * b + b * b) / 3))


def pot() -> Any:
    """POT, imported where it is used."""
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            "an exact transport distance in the plane needs POT (pip install pot); or use "
            "SlicedW2(), which does not need it"
        ) from error
    return ot
