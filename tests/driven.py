"""Drifts that are no gradients: generators assembled by hand, random chains and equations."""

import numpy as np
from scipy.sparse import csr_array

import pdekit as pk
from pdekit.pde.discrete.generators import Generator


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


def waves(grid, rng, strength):
    """A smooth random scalar field, periodic where the grid is."""
    length = np.subtract(grid.upper, grid.lower)
    number = rng.integers(1, 3, grid.dim) * np.where(grid.periodic, 2, 1) * np.pi / length
    phase = rng.uniform(0, 2 * np.pi, grid.dim)
    return lambda x: strength * np.cos(x * number + phase).prod(-1)


def random_equation(grid, seed, tensor=True):
    """Random potential, force and (full) tensor diffusion, eigenvalues from 0.4 to 2.

    The cell Péclet number of the force stays below 2: beyond, rates against it are zero.
    """
    rng = np.random.default_rng(seed)
    potential = waves(grid, rng, rng.uniform(0, 3))
    parts = [waves(grid, rng, rng.uniform(0, 1)) for _ in range(grid.dim)]
    turn, ratio = waves(grid, rng, 3.0), rng.uniform(0.2, 1)

    def force(x):
        return np.stack([f(x) for f in parts], -1)

    def diffusion(x):
        if grid.dim == 1:
            return 2 + np.tanh(turn(x))
        c, s = np.cos(turn(x)), np.sin(turn(x))
        e = np.stack([c, s], -1)
        return 2 * ((1 - ratio) * e[..., :, None] * e[..., None, :] + ratio * np.eye(2))

    beta = rng.uniform(0.3, 2)
    return pk.FokkerPlanck(potential, beta, force=force, diffusion=diffusion if tensor else None)
