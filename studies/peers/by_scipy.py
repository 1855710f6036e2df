"""What an expert writes in twenty lines of SciPy."""

from functools import reduce
from typing import Any

import numpy as np
from scipy.fft import dctn, idctn
from scipy.integrate import solve_ivp
from scipy.linalg import eigh_tridiagonal, solve_banded
from scipy.ndimage import gaussian_filter, grey_erosion
from scipy.sparse import diags
from scipy.sparse.linalg import expm_multiply, spsolve

from pdekit.pde.discrete.generators import scharfetter_gummel
from peers.problems import ATTRACTION, BETA, CROWD_BETA, HOT, LQ, Array, Method, Problem, plain

PACKAGE = "scipy"


def generator(problem: Problem) -> Any:
    return scharfetter_gummel(problem.potential(problem.grid.centres), BETA, problem.grid)


def bands(problem: Problem) -> tuple[Array, Array, Array]:
    return diagonals(generator(problem))


def diagonals(generator: Any) -> tuple[Array, Array, Array]:
    """Upper, main and lower diagonal of the forward matrix of a line."""
    return generator.down[0], -generator.exit_rate(), generator.up[0]


def product(upper: Array, main: Array, lower: Array, u: Array) -> Array:
    out = main * u
    out[:-1] += upper * u[1:]
    out[1:] += lower * u[:-1]
    return out


def stiff(problem: Problem, solver: str = "LSODA") -> Array:
    a, rho0 = bands(problem), problem.given.density(problem.grid)
    options = {"lband": 1, "uband": 1, "rtol": 1e-7, "atol": 1e-9, "t_eval": [problem.t]}
    return solve_ivp(lambda _, u: product(*a, u), (0, problem.t), rho0, solver, **options).y[:, -1]


def modes(problem: Problem, count: int = 16) -> Array:
    (upper, main, lower), rho0 = bands(problem), problem.given.density(problem.grid)
    root = np.exp(-BETA / 2 * problem.potential(problem.grid.centres))
    slowest = (main.size - count, main.size - 1)
    rates, shapes = eigh_tridiagonal(main, np.sqrt(upper * lower), select="i", select_range=slowest)
    return root * (shapes @ (np.exp(problem.t * rates) * (shapes.T @ (rho0 / root))))


def theta_steps(problem: Problem, theta: float, steps: int) -> Array:
    """Backward Euler (theta 1) or Crank-Nicolson (1/2), by ``solve_banded``."""
    (upper, main, lower), dt = bands(problem), problem.t / steps
    u, a = problem.given.density(problem.grid), matrix_bands(upper, main, lower)
    left = np.array([[0.0], [1.0], [0.0]]) - theta * dt * a
    for _ in range(steps):
        right = u if theta == 1 else u + (1 - theta) * dt * product(upper, main, lower, u)
        u = solve_banded((1, 1), left, right)
    return u


def matrix_bands(upper: Array, main: Array, lower: Array) -> Array:
    return np.stack([np.append(0, upper), main, np.append(lower, 0)])


def exponential(problem: Problem) -> Array:
    matrix = generator(problem).matrix().T.tocsr() * problem.t
    rho = problem.given.density(problem.grid)
    return expm_multiply(matrix, rho.ravel()).reshape(rho.shape)


def null_vector(problem: Problem) -> Array:
    """The kernel of the matrix, its last row replaced by unit mass."""
    matrix = generator(problem).matrix().T.tolil()
    matrix[-1] = problem.grid.cell_volume
    return spsolve(matrix.tocsc(), np.append(np.zeros(problem.grid.cells[0] - 1), 1.0))


def width(problem: Problem) -> Array:
    """Standard deviation of the smoothing kernel, in cells."""
    return np.sqrt(problem.t / HOT) / problem.grid.spacing


def filtered(problem: Problem, cut: float) -> Array:
    f, low = problem.given, problem.given.min()
    w = gaussian_filter(np.exp(HOT * (low - f)), width(problem), mode="reflect", truncate=cut)
    return low - np.log(w) / HOT


def cosine(problem: Problem) -> Array:
    f, low = problem.given, problem.given.min()
    w = idctn(dctn(np.exp(HOT * (low - f))) * heat_factors(problem))
    return low - np.log(np.maximum(w, 1e-300)) / HOT


def heat_factors(problem: Problem) -> Array:
    """exp(-t k^2 / (2 beta)) over the cosine modes of the grid."""
    grid = problem.grid
    waves = [np.pi * np.arange(n) / (n * h) for n, h in zip(grid.cells, grid.spacing, strict=True)]
    return reduce(np.multiply.outer, [np.exp(-problem.t / (2 * HOT) * k**2) for k in waves])


def heat_cosine(problem: Problem) -> Array:
    return idctn(dctn(problem.given) * heat_factors(problem))


def heat_filtered(problem: Problem, cut: float) -> Array:
    return gaussian_filter(problem.given, width(problem), truncate=cut)


def brute(problem: Problem) -> Array:
    """Axis by axis: the minimum over the nodes of a line, for every node."""
    x, u = problem.grid.axes[0], problem.given
    cost = (x[:, None] - x) ** 2 / (2 * problem.t)
    for axis in range(u.ndim):
        lines = np.moveaxis(u, axis, -1)
        u = np.stack([(lines + row).min(-1) for row in cost], axis)
    return u


def eroded(problem: Problem) -> Array:
    u, h = problem.given, problem.grid.spacing[0]
    reach = int(np.ceil(2.0 / h))  # minimisers lie within
    parabola = -((h * np.arange(-reach, reach + 1)) ** 2) / (2 * problem.t)
    for axis in range(u.ndim):
        structure = parabola.reshape([-1 if k == axis else 1 for k in range(u.ndim)])
        u = grey_erosion(u, structure=structure, mode="nearest")
    return u


def crowd(problem: Problem, solver: str, rtol: float) -> Array:
    """Scharfetter-Gummel fluxes of V + lambda (x - m)^2 / 2; the Jacobian without dm."""
    grid, h = problem.grid, problem.grid.spacing[0]
    x, V = grid.axes[0], problem.potential(grid.centres)
    faces = (x[1:] + x[:-1]) / 2

    def flux(rho: Array) -> Array:
        z = CROWD_BETA * (np.diff(V) + ATTRACTION * h * (faces - h * (x @ rho)))
        back, forth = weighted(z), weighted(-z)
        return (back * rho[:-1] - forth * rho[1:]) / (CROWD_BETA * h)

    def rate(_: float, rho: Array) -> Array:
        return -np.diff(flux(rho), prepend=0, append=0) / h

    options: dict[str, Any] = {"rtol": rtol, "atol": rtol / 100, "t_eval": [problem.t]}
    if solver == "LSODA":
        options |= {"lband": 1, "uband": 1}
    else:
        ones = np.ones(x.size)
        options["jac_sparsity"] = diags([ones[1:], ones, ones[1:]], [-1, 0, 1])
    return solve_ivp(rate, (0, problem.t), problem.given.density(grid), solver, **options).y[:, -1]


def weighted(z: Array) -> Array:
    """The Bernoulli function z / (exp(z) - 1)."""
    small = np.abs(z) < 1e-6
    safe = np.where(small, 1.0, z)
    return np.where(small, 1 - z / 2, safe / np.expm1(safe))


def game(problem: Problem, steps: int, rounds: int = 40) -> Array:
    """W7 by w = exp(-beta u / 2): backward and forward Crank-Nicolson steps, the mean iterated.

    Strang splitting against the cost of places; the density is w times a solution of the adjoint.
    """
    grid, dt, beta = problem.grid, problem.t / steps, LQ.beta
    x, rho0 = grid.axes[0], problem.given.density(grid)
    upper, main, lower = diagonals(scharfetter_gummel(LQ.a / 2 * x**2, beta, grid))
    back, ahead = (lower, main, upper), (upper, main, lower)
    left_back, left_ahead = (
        np.array([[0.0], [1.0], [0.0]]) - dt / 2 * matrix_bands(*b) for b in (back, ahead)
    )
    mean = np.full(steps + 1, grid.integrate(x * rho0))
    for _ in range(rounds):
        places = LQ.q / 2 * (x - LQ.kappa * (mean[1:] + mean[:-1])[:, None] / 2) ** 2
        kill = np.exp(-beta / 4 * dt * places)
        w = [np.exp(-beta / 4 * LQ.g * (x - LQ.kappa_T * mean[-1]) ** 2)]
        for k in range(steps - 1, -1, -1):
            v = kill[k] * w[-1]
            w.append(kill[k] * solve_banded((1, 1), left_back, v + dt / 2 * product(*back, v)))
        phi, w, found = rho0 / w[-1], w[::-1], [mean[0]]
        for k in range(steps):
            v = kill[k] * phi
            phi = kill[k] * solve_banded((1, 1), left_ahead, v + dt / 2 * product(*ahead, v))
            found.append(x @ (rho := w[k + 1] * phi) / rho.sum())
        moved, mean = np.abs(mean - found).max(), np.array(found)
        if moved < 1e-5:
            break
    return -2 / beta * np.log(w[0])


def methods() -> tuple[Method, ...]:
    cuts = (12.0, 9.0, 8.0, 4.0)
    return (
        Method("W1", "SciPy LSODA", plain(stiff)),
        Method("W1", "SciPy 16 modes", plain(modes)),
        Method("W1", "SciPy Euler, 200 steps", plain(theta_steps, 1.0, 200)),
        Method("W1", "SciPy Crank-Nicolson, 1000", plain(theta_steps, 0.5, 1000), slow=True),
        Method("W1s", "SciPy sparse LU", plain(null_vector)),
        Method("W2", "SciPy expm_multiply", plain(exponential), largest=256**2),
        *(Method("W3", f"SciPy gaussian_filter, cut {c:g}", plain(filtered, c)) for c in cuts),
        Method("W3", "SciPy cosine transform", plain(cosine)),
        Method("W4", "SciPy brute force", plain(brute)),
        Method("W4", "SciPy grey_erosion", plain(eroded)),
        Method("W5", "SciPy cosine transform", plain(heat_cosine)),
        Method("W5", "SciPy gaussian_filter, cut 8", plain(heat_filtered, 8.0)),
        Method("W5", "SciPy gaussian_filter, cut 4", plain(heat_filtered, 4.0)),
        Method("W6", "SciPy LSODA", plain(crowd, "LSODA", 1e-7)),
        Method("W6", "SciPy LSODA, 1e-5", plain(crowd, "LSODA", 1e-5), slow=True),
        Method("W6", "SciPy BDF", plain(crowd, "BDF", 1e-6), slow=True),
        Method("W7", "SciPy Cole-Hopf pair, 200", plain(game, 200)),
    )  # fmt: skip
