"""Generators of drifts that are no gradients, assembled here by hand, and random ones."""

import numpy as np
from scipy.sparse import csr_array

from pdekit.pde.generators import Generator


def bernoulli(w):
    """w / (e^w - 1)"""
    safe = np.where(np.abs(w) < 1e-7, 1.0, w)
    return np.where(np.abs(w) < 1e-7, 1 - w / 2, safe / np.expm1(np.minimum(safe, 700)))


def driven(potential, force, beta, grid):
    """Scharfetter-Gummel rates of -∇V + force with the force taken at the middle of each face."""
    V, x, up, down = potential(grid.centres), grid.centres, [], []
    for axis, h in enumerate(grid.spacing):
        shift = np.zeros(grid.dim)
        shift[axis] = h / 2
        work = h * np.asarray(force(x + shift))[..., axis]
        difference = beta * (np.roll(V, -1, axis) - V - work)
        if not grid.periodic[axis]:
            difference = np.delete(difference, -1, axis)
        up.append(bernoulli(difference) / (beta * h * h))
        down.append(bernoulli(-difference) / (beta * h * h))
    return Generator(grid, tuple(up), tuple(down))


def random_chain(grid, seed, decades=0.0, diagonal=True):
    """Rates of 10^U(-decades, 0) to every neighbour, those across a corner included."""
    rng = np.random.default_rng(seed)
    cells = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    rates = np.zeros((cells.size, cells.size))
    steps = [s for s in np.ndindex(*[3] * grid.dim) if any(k != 1 for k in s)]
    for step in steps:
        move = np.array(step) - 1
        if not diagonal and np.abs(move).sum() > 1:
            continue
        there = np.roll(cells, -move, tuple(range(grid.dim)))
        index = np.indices(grid.shape) + move.reshape(-1, *[1] * grid.dim)
        inside = np.ones(grid.shape, bool)
        for axis, n in enumerate(grid.shape):
            inside &= grid.periodic[axis] | ((index[axis] >= 0) & (index[axis] < n))
        rates[cells[inside], there[inside]] += 10.0 ** rng.uniform(-decades, 0, inside.sum())
    np.fill_diagonal(rates, 0.0)
    return csr_array(rates - np.diag(rates.sum(1)))
