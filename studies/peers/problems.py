"""The problems of the work-precision study: data, and the error of a field that claims to solve.

Every reference is a derivation of its own (an expansion, quadrature, Newton's method, ordinary
differential equations), not a finer run of a method that is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

import pdekit as pk
from pdekit.pde.exact import solutions

Array = Any
BETA, HOT = 4.0, 10.0  # inverse temperatures of Fokker-Planck, and of smoothing
SMOOTHING = 0.5  # time of W3 to W5
CROWD_BETA, ATTRACTION = 3.0, 1.0  # of W6
WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1)
LINE = pk.Grid(-3, 3, 1000)


@dataclass(frozen=True)
class Problem:
    """A workload on a grid; ``error`` takes the final field (W7: the value at time 0).

    ``given`` is the law (W1, W2, W6, W7) or the field (W3 to W5) at time 0.
    """

    kind: str
    title: str
    grid: pk.Grid
    t: float
    given: Any
    error: Callable[[Array], float]
    potential: Any = None

    @property
    def name(self) -> str:
        cells = self.grid.cells
        return f"{self.kind} line" if len(cells) == 1 else f"{self.kind} {cells[0]}²"


@dataclass(frozen=True)
class Method:
    """A way to solve problems of a kind; ``make`` compiles what must be, its call is timed.

    ``slow``: left out of quick runs. ``largest``: most cells it is tried on.
    """

    kind: str
    label: str
    make: Callable[[Problem], Callable[[], Array]]
    slow: bool = False
    largest: float = np.inf


def plain(solve: Callable[..., Array], *arguments: Any) -> Callable[[Problem], Any]:
    """``make`` of a method with nothing to compile: solve(problem, ...) is timed as it is."""
    return lambda problem: partial(solve, problem, *arguments)


def problems(quick: bool) -> list[Problem]:
    n = 128 if quick else 512
    planes = [fokker_planck_plane(m) for m in ((n,) if quick else (256, n))]
    smoothed = [viscous(1000), viscous(n, n), non_viscous(1000), non_viscous(n, n), heat(n)]
    return [fokker_planck_line(), stationary_state(), *planes, *smoothed, crowd(), game(quick)]


def fokker_planck_line(grid: pk.Grid = LINE) -> Problem:
    """Against the expansion in eigenfunctions of pdekit.pde.exact.solutions."""
    spectrum = solutions.LangevinSpectrum(WELL, BETA, -3.5, 3.5)
    rho = spectrum.density(START.pdf, 10.0, grid.centres)
    return Problem("W1", "Fokker-Planck", grid, 10.0, START, l1(rho, grid), WELL)


def stationary_state() -> Problem:
    gibbs = solutions.gibbs(WELL, BETA, LINE.lower, LINE.upper, LINE.centres)
    return Problem("W1s", "stationary state", LINE, 1e8, START, l1(gibbs, LINE), WELL)


def bowl(x: Array) -> Array:
    """The potential of W2."""
    a, b = x[..., 0], x[..., 1]
    return (a * a - 1) ** 2 / 4 + b * b / 2 + 0.3 * a * b


def fokker_planck_plane(n: int) -> Problem:
    grid, start = pk.Grid((-3, -3), (3, 3), n), pk.Gaussian((-1.0, 0.0), 0.3)
    error = l1(expansion_plane(grid, start), grid)
    return Problem("W2", "Fokker-Planck", grid, 1.0, start, error, bowl)


def viscous(*cells: int) -> Problem:
    grid, f, u = wells(cells, local_entropy)
    return Problem("W3", "viscous Hamilton-Jacobi", grid, SMOOTHING, f, greatest(u))


def non_viscous(*cells: int) -> Problem:
    grid, f, u = wells(cells, inf_convolution)
    return Problem("W4", "Hamilton-Jacobi", grid, SMOOTHING, f, greatest(u))


def heat(n: int) -> Problem:
    """Two Gaussian bumps of variance 0.04, which stay Gaussian."""
    grid = pk.Grid((-3, -3), (3, 3), n)

    def bumps(t: float) -> Array:
        cov = (0.04 + t / HOT) * np.eye(2)
        first, second = (
            solutions.gaussian(m, cov, grid.centres) for m in ((-0.5, 0.2), (0.6, -0.4))
        )
        return first + second / 2

    error = greatest(bumps(SMOOTHING))
    return Problem("W5", "heat smoothing", grid, SMOOTHING, bumps(0.0), error)


def crowd() -> Problem:
    rho = mean_field_flow(LINE, 10.0)
    return Problem("W6", "McKean-Vlasov", LINE, 10.0, START, l1(rho, LINE), WELL)


def game(quick: bool) -> Problem:
    """The linear-quadratic game of ``LQGame``, value at time 0 on |x| < 2."""
    grid = pk.Grid(-5, 5, 100 if quick else 400)
    x, start = grid.axes[0], pk.Gaussian(1.0, np.sqrt(0.3))
    near, u = np.abs(x) < 2, LQ.value(0.0, grid.centres)
    error = greatest(u[near])
    return Problem("W7", "mean-field game", grid, 1.0, start, lambda v: error(v[near]))


# a, q, g, kappa, kappa_T, beta, horizon, mean, spread
LQ = solutions.LQGame(0.5, 1.0, 1.0, 0.8, 0.5, 2.0, 1.0, 1.0, np.sqrt(0.3))


# --------------------------------------------------------------------------- references and errors


def expansion_plane(grid: pk.Grid, start: Any) -> Array:
    """W2 on the whole plane at t = 1: psi = rho exp(beta V / 2) in 64 x 64 sinc functions.

    psi_t = beta^-1 Laplace psi - (beta |grad V|^2 / 4 - Laplace V / 2) psi, exact in time.
    """
    from scipy.sparse.linalg import LinearOperator, expm_multiply

    nodes = pk.Grid((-3.3, -3.3), (3.3, 3.3), 64)
    x, y, h, n = nodes.centres[..., 0], nodes.centres[..., 1], nodes.spacing[0], 64
    sink = BETA / 4 * ((x**3 - x + 0.3 * y) ** 2 + (y + 0.3 * x) ** 2) - 3 * x**2 / 2
    second = sinc_second(n, h) / BETA

    def apply(psi: Array) -> Array:
        psi = psi.reshape(n, n)
        return (second @ psi + psi @ second - sink * psi).ravel()

    operator = LinearOperator((n * n, n * n), matvec=apply, rmatvec=apply, dtype=float)
    psi = start.pdf(nodes.centres) * np.exp(BETA / 2 * bowl(nodes.centres))
    trace = 2 * n * np.trace(second) - sink.sum()
    psi = expm_multiply(operator, psi.ravel(), traceA=trace).reshape(n, n)
    left, right = (np.sinc(np.subtract.outer(a, nodes.axes[0]) / h) for a in grid.axes)
    return np.exp(-BETA / 2 * bowl(grid.centres)) * (left @ psi @ right.T)


def sinc_second(n: int, h: float) -> Array:
    """The second derivative of a sum of sinc functions, at their nodes."""
    apart = np.subtract.outer(np.arange(n), np.arange(n)).astype(float)
    out = -2 * (-1.0) ** apart / (np.where(apart == 0, np.inf, apart) * h) ** 2
    return out - np.eye(n) * (np.pi / h) ** 2 / 3


def sinc_first(n: int, h: float) -> Array:
    apart = np.subtract.outer(np.arange(n), np.arange(n)).astype(float)
    return np.where(apart == 0, 0.0, (-1.0) ** apart / (np.where(apart == 0, 1.0, apart) * h))


def mean_field_flow(grid: pk.Grid, t: float) -> Array:
    """W6 on the whole line: psi = rho exp(beta U / 2) in 200 sinc functions, by Radau's method.

    U = V + lambda x^2 / 2, m = ∫ x rho: psi_t = beta^-1 psi_xx - (beta U'^2 / 4 - U'' / 2) psi
    - lambda m (psi_x - beta U' psi / 2).
    """
    from scipy.integrate import solve_ivp

    nodes = pk.Grid(-3.3, 3.3, 200)
    x, h, n = nodes.axes[0], nodes.spacing[0], 200
    tilt = lambda x: (x * x - 1) ** 2 / 4 + ATTRACTION * x * x / 2  # noqa: E731
    slope, curvature = x**3 - x + ATTRACTION * x, 3 * x**2 - 1 + ATTRACTION
    still = sinc_second(n, h) / CROWD_BETA
    still -= np.diag(CROWD_BETA / 4 * slope**2 - curvature / 2)
    push = -ATTRACTION * (sinc_first(n, h) - np.diag(CROWD_BETA / 2 * slope))
    weight = h * x * np.exp(-CROWD_BETA / 2 * tilt(x))  # of psi in the mean

    def rate(_: float, psi: Array) -> Array:
        return still @ psi + (weight @ psi) * (push @ psi)

    def slopes(_: float, psi: Array) -> Array:
        return still + (weight @ psi) * push + np.outer(push @ psi, weight)

    psi = START.pdf(nodes.centres) * np.exp(CROWD_BETA / 2 * tilt(x))
    options = {"rtol": 1e-9, "atol": 1e-10, "jac": slopes, "t_eval": [t]}
    psi = solve_ivp(rate, (0.0, t), psi, "Radau", **options).y[:, -1]
    at, waves = grid.axes[0], np.sinc(np.subtract.outer(grid.axes[0], x) / h)
    return np.exp(-CROWD_BETA / 2 * tilt(at)) * (waves @ psi)


def wells(cells: Sequence[int], smoothed: Any) -> tuple[pk.Grid, Array, Array]:
    """The grid on [-3, 3]^d, the double well summed over the coordinates, and its smoothing."""
    grid = pk.Grid(-3.0, 3.0, cells)
    axes = [smoothed(pk.Grid(-3, 3, n)) for n in cells]
    return grid, pk.potentials.DoubleWell(grid.dim)(grid.centres), reduce(np.add.outer, axes)


def local_entropy(grid: pk.Grid) -> Array:
    """W3 on a line by the sum over nine times finer nodes, reflected at the walls."""
    from scipy.special import logsumexp

    fine, x = grid.refined(9), grid.axes[0]
    y, f = fine.axes[0], WELL(fine.centres)
    y = np.concatenate([2 * grid.lower[0] - y[::-1], y, 2 * grid.upper[0] - y[::-1]])
    f = np.concatenate([f[::-1], f, f[::-1]])
    scale = np.log(fine.spacing[0] / np.sqrt(2 * np.pi * SMOOTHING / HOT))
    total = [logsumexp(-HOT * (f + (point - y) ** 2 / (2 * SMOOTHING))) for point in x]
    return -(np.array(total) + scale) / HOT


def inf_convolution(grid: pk.Grid) -> Array:
    """W4 on a line by Newton's method: y + t f'(y) = x has one root while t < 1."""
    x = y = grid.axes[0]
    for _ in range(60):
        y = y - (y + SMOOTHING * (y**3 - y) - x) / (1 + SMOOTHING * (3 * y**2 - 1))
    return (y**2 - 1) ** 2 / 4 + (x - y) ** 2 / (2 * SMOOTHING)


def l1(true: Array, grid: pk.Grid) -> Callable[[Array], float]:
    return lambda rho: float(grid.integrate(np.abs(rho - true)))


def greatest(true: Array) -> Callable[[Array], float]:
    return lambda u: float(np.abs(u - true).max())
