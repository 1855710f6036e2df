"""Time against error: pdekit beside FiPy and hand-written SciPy, one thread, one run.

Every method starts from the same potential and initial values and is timed to the field it
returns; matrix, mesh and factors are part of it. Times are medians of warm runs taken in turn (a
peer that needs more than a second runs once). Trust ratios within one run, never seconds.

  W1   Fokker-Planck, V = (x^2-1)^2/4, beta 4, 1,000 cells of [-3, 3], N(-1, 0.1^2), t 10; L1 error
       against the spectral expansion of pdekit.pde.exact.
  W1s  its stationary state; L1 error against exp(-beta V) / Z.
  W2   Fokker-Planck, V = (x^2-1)^2/4 + y^2/2 + 0.3 x y, beta 4, [-3, 3]^2, N((-1, 0), 0.3^2), t 1;
       L1 error in space and time together against an expansion in sinc functions.
  W3   viscous Hamilton-Jacobi from the double well, summed over the coordinates, beta 10, t 0.5;
       greatest error against quadrature.
  W4   Hamilton-Jacobi from the same; greatest error against Newton's method.
  W5   heat smoothing of two Gaussian bumps, beta 10, t 0.5; greatest error against the formula.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any

import numpy as np

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.pde import exact
from pdekit.pde.generators import scharfetter_gummel

Array = Any
Method = Callable[[], Array]
BETA, HOT = 4.0, 10.0  # inverse temperatures of Fokker-Planck, and of smoothing
SMOOTHING = 0.5  # time of W3 to W5
WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1)
LINE = pk.Grid(-3, 3, 1000)
LONG, ROUNDS = 1.0, 7  # seconds from which a run is not repeated, and most repetitions
# public reference points: potential, x, t, beta (None: non-viscous), u to 16 digits (by mpmath)
POINTS = (
    ("dw", 0.0, 0.5, 1, 0.16212955306888284), ("dw", 1.0, 0.5, 1, 0.29472472828395847),
    ("dw", 0.3, 2.0, 1, 0.3995041311491555), ("dw", 0.3, 0.5, 4, 0.1610971901928721),
    ("dw", 0.0, 2.0, 1000, 0.18715037674178562), ("dw", 1.5, 0.25, 1000, 0.19878483334603473),
    ("rip", 0.0, 0.05, 1, 0.7663422468797063), ("rip", 0.5, 0.05, 1, -0.04779525698011831),
    ("rip", 0.5, 0.2, 1, -0.1360640219843672), ("rip", 1.0, 0.2, 4, -0.7649493896311281),
    ("rip", 0.5, 1.0, 20, -0.7115642436772183), ("rip", 0.5, 0.2, 1000, -0.4535269413876604),
    ("dw", 0.3, 0.5, None, 0.18044495433832614), ("dw", 0.3, 2.0, None, 0.09440603364473338),
    ("dw", 0.0, 0.5, None, 0.25), ("dw", 2.0, 0.25, None, 0.8898268576942236),
    ("dw", -0.7, 0.9, None, 0.03072339475451512), ("rip", 0.5, 0.2, None, -0.4539793939482316),
    ("rip", 1.0, 0.2, None, -0.8917580869069494), ("rip", 2.0, 0.1, None, 1.1159838913348425),
    ("rip", 2.0, 0.5, None, -0.11280970558013033),
)  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """A problem: the error of a field that claims to solve it, and methods that return one."""

    name: str
    title: str
    error: Callable[[Array], float]
    methods: dict[str, Method]


@dataclass(frozen=True)
class Row:
    """A line of the table; ``ratio`` is to the fastest pdekit method with no larger error."""

    workload: str
    method: str
    seconds: float
    error: float
    ratio: float | None = None

    @property
    def ours(self) -> bool:
        return self.method.startswith("pdekit")


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    titles: dict[str, str]
    numbers: dict[str, Any] = field(default_factory=dict)


def run(quick: bool = False) -> Results:
    """``--quick``: planes of 128 x 128 cells, and FiPy with long steps only."""
    n = 128 if quick else 512
    with one_thread() as threads:
        workloads = [fokker_planck_line(quick), stationary_state()]
        workloads += [fokker_planck_plane(m) for m in ((128,) if quick else (256, 512))]
        workloads += [viscous(1000), viscous(n, n), non_viscous(1000), non_viscous(n, n), heat(n)]
        rows = [row for workload in workloads for row in compared(timed(workload))]
        bars = accuracy_bars() | {"time": time_error(128 if quick else 256)}
        growth = cost_growth(512 if quick else 2048)
    print(table(rows))
    numbers = {
        "threads": threads,
        "absent": [] if find_spec("fipy") else ["FiPy"],
        "rows": [vars(row) for row in rows],
        "ratios": {
            w.name: {r.method: r.ratio for r in rows if r.workload == w.name and r.ratio}
            for w in workloads
        },
        "errors_at_stated_cells": bars,
        "cost_per_cell_over_that_at_128²": growth,
    }
    return Results(rows, {w.name: w.title for w in workloads}, numbers)


@contextmanager
def one_thread() -> Iterator[str]:
    """BLAS and OpenMP on one thread; pdekit's kernels and FiPy's solvers use one anyway."""
    if find_spec("threadpoolctl") is None:
        yield "BLAS not limited to one thread: threadpoolctl is not installed"
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield "1, by threadpoolctl"


# ---------------------------------------------------------------------------------------- workloads


def last(equation: Any, grid: pk.Grid, initial: Any, t: float, scheme: Any = None) -> Array:
    """pdekit's field at the last time."""
    return pk.solve(equation, grid, initial, t, scheme).fields[-1]


def fokker_planck_line(quick: bool) -> Workload:
    t, few = 10.0, 200
    ours = partial(last, pk.FokkerPlanck(WELL, BETA), LINE, START, t)
    methods = {
        "pdekit": ours,
        "pdekit Implicit, 40 steps": partial(ours, pk.schemes.Implicit(t / 40)),
        "pdekit Implicit, 200 steps": partial(ours, pk.schemes.Implicit(t / few)),
        "SciPy LSODA": partial(lsoda, t),
        "SciPy 16 modes": partial(modes, t),
        "SciPy Euler, 200 steps": partial(theta_steps, t, 1.0, few),
        "SciPy Crank-Nicolson, 1000": partial(theta_steps, t, 0.5, 1000),
    }
    for steps in (few,) if quick else (few, 2000):
        methods |= present(f"FiPy, {steps} steps", fipy_density, LINE, WELL, START, t, steps)
    return Workload("W1 line", "Fokker-Planck", l1(expansion_line(LINE, t), LINE), methods)


def bands() -> tuple[Array, Array, Array]:
    """Upper, main and lower diagonal of W1's Scharfetter-Gummel matrix, and what it starts from."""
    generator = scharfetter_gummel(WELL(LINE.centres), BETA, LINE)
    return generator.down[0], -generator.exit_rate(), generator.up[0]


def product(upper: Array, main: Array, lower: Array, u: Array) -> Array:
    out = main * u
    out[:-1] += upper * u[1:]
    out[1:] += lower * u[:-1]
    return out


def lsoda(t: float) -> Array:
    from scipy.integrate import solve_ivp

    a, rho0 = bands(), START.density(LINE)
    options = {"lband": 1, "uband": 1, "rtol": 1e-7, "atol": 1e-9, "t_eval": [t]}
    return solve_ivp(lambda _, u: product(*a, u), (0, t), rho0, "LSODA", **options).y[:, -1]


def modes(t: float) -> Array:
    from scipy.linalg import eigh_tridiagonal

    (upper, main, lower), rho0 = bands(), START.density(LINE)
    root, slowest = np.exp(-BETA / 2 * WELL(LINE.centres)), (main.size - 16, main.size - 1)
    rates, shapes = eigh_tridiagonal(main, np.sqrt(upper * lower), select="i", select_range=slowest)
    return root * (shapes @ (np.exp(t * rates) * (shapes.T @ (rho0 / root))))


def theta_steps(t: float, theta: float, steps: int) -> Array:
    """Backward Euler (theta 1) or Crank-Nicolson (1/2)."""
    from scipy.linalg import solve_banded

    (upper, main, lower), u, dt = bands(), START.density(LINE), t / steps
    a = np.stack([np.append(0, upper), main, np.append(lower, 0)])
    left = np.array([[0.0], [1.0], [0.0]]) - theta * dt * a
    for _ in range(steps):
        right = u if theta == 1 else u + (1 - theta) * dt * product(upper, main, lower, u)
        u = solve_banded((1, 1), left, right)
    return u


def stationary_state() -> Workload:
    def null_vector() -> Array:
        """The kernel of the matrix, its last row replaced by unit mass."""
        from scipy.sparse.linalg import spsolve

        matrix = scharfetter_gummel(WELL(LINE.centres), BETA, LINE).matrix().T.tolil()
        matrix[-1] = LINE.cell_volume
        return spsolve(matrix.tocsc(), np.append(np.zeros(LINE.cells[0] - 1), 1.0))

    methods = {
        "pdekit": lambda: pk.stationary(pk.FokkerPlanck(WELL, BETA), LINE).values,
        "SciPy sparse LU": null_vector,
        **present("FiPy, one long step", fipy_density, LINE, WELL, START, 1e8, 1),
    }
    gibbs = exact.gibbs(WELL, BETA, LINE.lower, LINE.upper, LINE.centres)
    return Workload("W1s line", "stationary state", l1(gibbs, LINE), methods)


def bowl(x: Array) -> Array:
    """The potential of W2."""
    a, b = x[..., 0], x[..., 1]
    return (a * a - 1) ** 2 / 4 + b * b / 2 + 0.3 * a * b


def bowl_on(n: int) -> tuple[pk.Grid, Any, Callable[..., Array]]:
    """The grid of W2, its initial law, and pdekit's answer for a scheme."""
    grid, start = pk.Grid((-3, -3), (3, 3), n), pk.Gaussian((-1.0, 0.0), 0.3)
    equation = pk.FokkerPlanck(pk.potentials.Custom(bowl, dim=2), BETA)
    return grid, start, partial(last, equation, grid, start, 1.0)


def fokker_planck_plane(n: int) -> Workload:
    grid, start, ours = bowl_on(n)

    def exponential() -> Array:
        from scipy.sparse.linalg import expm_multiply

        matrix = scharfetter_gummel(bowl(grid.centres), BETA, grid).matrix().T.tocsr()
        return expm_multiply(matrix, start.density(grid).ravel()).reshape(grid.shape)

    methods = {
        "pdekit Split(1e-3)": partial(ours, pk.schemes.Split(1e-3)),
        "pdekit, Split(5e-5)": ours,
        "pdekit Split(1e-5)": partial(ours, pk.schemes.Split(1e-5)),
        **({"SciPy expm_multiply": exponential} if n <= 256 else {}),
        **present("FiPy, 10 steps", fipy_density, grid, bowl, start, 1.0, 10),
    }
    return Workload(f"W2 {n}²", "Fokker-Planck", l1(expansion_plane(grid, start), grid), methods)


def time_error(n: int) -> float:
    """Error of W2's default steps in time alone: L1 distance to the finest steps, same grid."""
    grid, _, ours = bowl_on(n)
    return l1(ours(pk.schemes.Split(1e-7)), grid)(ours())


def wells(cells: Sequence[int], smoothed: Any) -> tuple[pk.Grid, Array, Array]:
    """The grid on [-3, 3]^d, the double well summed over the coordinates, and its smoothing."""
    grid = pk.Grid(-3.0, 3.0, cells)
    axes = [smoothed(pk.Grid(-3, 3, n)) for n in cells]
    return grid, pk.potentials.DoubleWell(grid.dim)(grid.centres), reduce(np.add.outer, axes)


def extent(grid: pk.Grid) -> str:
    return "line" if grid.dim == 1 else f"{grid.cells[0]}²"


def viscous(*cells: int) -> Workload:
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    grid, f, u = wells(cells, local_entropy)
    sigma = np.sqrt(SMOOTHING / HOT) / grid.spacing

    def filtered(cut: float) -> Array:
        w = gaussian_filter(np.exp(HOT * (f.min() - f)), sigma, mode="reflect", truncate=cut)
        return f.min() - np.log(w) / HOT

    def cosine() -> Array:
        w = idctn(dctn(np.exp(HOT * (f.min() - f))) * heat_factors(grid))
        return f.min() - np.log(np.maximum(w, 1e-300)) / HOT

    methods = {
        "pdekit": partial(last, pk.ViscousHJ(HOT), grid, f, SMOOTHING),
        "SciPy gaussian_filter, cut 12": partial(filtered, 12.0),
        "SciPy gaussian_filter, cut 8": partial(filtered, 8.0),
        "SciPy gaussian_filter, cut 4": partial(filtered, 4.0),
        "SciPy cosine transform": cosine,
    }
    return Workload(f"W3 {extent(grid)}", "viscous Hamilton-Jacobi", greatest(u), methods)


def non_viscous(*cells: int) -> Workload:
    from scipy.ndimage import grey_erosion

    grid, f, exactly = wells(cells, inf_convolution)
    x, h = grid.axes[0], grid.spacing[0]
    cost = (x[:, None] - x) ** 2 / (2 * SMOOTHING)
    reach = int(np.ceil(2.0 / h))  # minimisers lie within
    parabola = -((h * np.arange(-reach, reach + 1)) ** 2) / (2 * SMOOTHING)

    def brute() -> Array:
        """Axis by axis: the minimum over the nodes of a line, for every node."""
        u = f
        for axis in range(f.ndim):
            lines = np.moveaxis(u, axis, -1)
            u = np.stack([(lines + row).min(-1) for row in cost], axis)
        return u

    def eroded() -> Array:
        u = f
        for axis in range(f.ndim):
            structure = parabola.reshape([-1 if k == axis else 1 for k in range(f.ndim)])
            u = grey_erosion(u, structure=structure, mode="nearest")
        return u

    ours = partial(last, pk.HamiltonJacobi(), grid, f, SMOOTHING)
    methods = {
        "pdekit": ours,
        "pdekit Godunov": partial(ours, pk.schemes.Godunov()),
        "NumPy brute force": brute,
        "SciPy grey_erosion": eroded,
    }
    return Workload(f"W4 {extent(grid)}", "Hamilton-Jacobi", greatest(exactly), methods)


def heat(n: int) -> Workload:
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    grid = pk.Grid((-3, -3), (3, 3), n)

    def bumps(t: float) -> Array:
        """Two Gaussian bumps of variance 0.04 after smoothing for a time t."""
        cov = (0.04 + t / HOT) * np.eye(2)
        first, second = (exact.gaussian(m, cov, grid.centres) for m in ((-0.5, 0.2), (0.6, -0.4)))
        return first + second / 2

    f, sigma = bumps(0.0), np.sqrt(SMOOTHING / HOT) / grid.spacing
    methods = {
        "pdekit": partial(last, pk.Heat(HOT), grid, f, SMOOTHING),
        "SciPy cosine transform": lambda: idctn(dctn(f) * heat_factors(grid)),
        "SciPy gaussian_filter, cut 8": lambda: gaussian_filter(f, sigma, truncate=8.0),
        "SciPy gaussian_filter, cut 4": lambda: gaussian_filter(f, sigma, truncate=4.0),
        **present("FiPy, 10 steps", fipy_heat, grid, f, SMOOTHING, 10),
    }
    return Workload(f"W5 {n}²", "heat smoothing", greatest(bumps(SMOOTHING)), methods)


def heat_factors(grid: pk.Grid) -> Array:
    """exp(-t k^2 / (2 beta)) over the cosine modes of the grid."""
    waves = [np.pi * np.arange(n) / (n * h) for n, h in zip(grid.cells, grid.spacing, strict=True)]
    return reduce(np.multiply.outer, [np.exp(-SMOOTHING / (2 * HOT) * k**2) for k in waves])


def present(name: str, method: Callable[..., Array], *arguments: Any) -> dict[str, Method]:
    """The method under its name if FiPy is installed, nothing otherwise."""
    return {name: partial(method, *arguments)} if find_spec("fipy") else {}


def fipy_mesh(grid: pk.Grid) -> tuple[Any, Any]:
    """The package, on its SciPy solvers, and the mesh of the grid; it orders x fastest."""
    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy

    counts = dict(zip(("nx", "ny"), grid.cells, strict=False))
    sizes = dict(zip(("dx", "dy"), grid.spacing, strict=False))
    return fipy, (fipy.Grid1D if grid.dim == 1 else fipy.Grid2D)(**counts, **sizes)


def fipy_density(grid: pk.Grid, potential: Any, start: Any, t: float, steps: int) -> Array:
    """Backward Euler with the exponentially fitted convection term, the same flux in space."""
    fipy, mesh = fipy_mesh(grid)
    energy = fipy.CellVariable(mesh, value=potential(grid.centres).T.ravel())
    rho = fipy.CellVariable(mesh, value=start.density(grid).T.ravel())
    drift = fipy.ExponentialConvectionTerm(coeff=-energy.faceGrad)
    equation = fipy.TransientTerm() + drift == fipy.DiffusionTerm(coeff=1 / BETA)
    for _ in range(steps):
        equation.solve(var=rho, dt=t / steps)
    return rho.value.reshape(grid.shape[::-1]).T


def fipy_heat(grid: pk.Grid, f: Array, t: float, steps: int) -> Array:
    fipy, mesh = fipy_mesh(grid)
    v = fipy.CellVariable(mesh, value=f.T.ravel())
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=1 / (2 * HOT))
    for _ in range(steps):
        equation.solve(var=v, dt=t / steps, solver=fipy.LinearPCGSolver(tolerance=1e-8))
    return v.value.reshape(grid.shape[::-1]).T


# --------------------------------------------------------------------------- references and errors


def expansion_line(grid: pk.Grid, t: float) -> Array:
    spectrum = exact.LangevinSpectrum(WELL, BETA, -3.5, 3.5)
    return spectrum.density(START.pdf, t, grid.centres)


def expansion_plane(grid: pk.Grid, start: Any) -> Array:
    """W2 on the whole plane at t = 1: psi = rho exp(beta V / 2) in 64 x 64 sinc functions.

    psi_t = beta^-1 Laplace psi - (beta |grad V|^2 / 4 - Laplace V / 2) psi, exact in time.
    """
    from scipy.sparse.linalg import LinearOperator, expm_multiply

    nodes = pk.Grid((-3.3, -3.3), (3.3, 3.3), 64)
    x, y, h, n = nodes.centres[..., 0], nodes.centres[..., 1], nodes.spacing[0], 64
    sink = BETA / 4 * ((x**3 - x + 0.3 * y) ** 2 + (y + 0.3 * x) ** 2) - 3 * x**2 / 2
    apart = np.subtract.outer(np.arange(n), np.arange(n)).astype(float)
    second = -2 * (-1.0) ** apart / (np.where(apart == 0, np.inf, apart) * h) ** 2 / BETA
    second -= np.eye(n) * (np.pi / h) ** 2 / 3 / BETA

    def apply(psi: Array) -> Array:
        psi = psi.reshape(n, n)
        return (second @ psi + psi @ second - sink * psi).ravel()

    operator = LinearOperator((n * n, n * n), matvec=apply, rmatvec=apply, dtype=float)
    psi = start.pdf(nodes.centres) * np.exp(BETA / 2 * bowl(nodes.centres))
    trace = 2 * n * np.trace(second) - sink.sum()
    psi = expm_multiply(operator, psi.ravel(), traceA=trace).reshape(n, n)
    left, right = (np.sinc(np.subtract.outer(a, nodes.axes[0]) / h) for a in grid.axes)
    return np.exp(-BETA / 2 * bowl(grid.centres)) * (left @ psi @ right.T)


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


def accuracy_bars() -> dict[str, float]:
    """Greatest errors at the public reference points, and how far two references of W1 differ."""
    worst, h = {"viscous": 0.0, "hopf-lax": 0.0}, 12 / 2000
    for name, x, t, beta, true in POINTS:
        f = WELL if name == "dw" else pk.potentials.Rippled()
        grid = pk.Grid(x - 6 - h / 2, x + 6 - h / 2, 2000)  # with x at the centre of cell 1000
        u = last(pk.ViscousHJ(beta) if beta else pk.HamiltonJacobi(), grid, f, t)
        kind = "viscous" if beta else "hopf-lax"
        worst[kind] = max(worst[kind], abs(float(u[1000]) - true))
    fine = pk.Grid(-3, 3, 9000)
    rho = last(pk.FokkerPlanck(WELL, BETA), fine, START, 10.0)
    return worst | {"references": l1(expansion_line(fine, 10.0), fine)(rho)}


def cost_growth(largest: int) -> dict[str, float]:
    """Seconds per cell of the default schemes on ``largest``² cells over those on 128²."""
    _, _, bowls = zip(*(bowl_on(n) for n in (128, largest)), strict=True)
    grids = [pk.Grid((-3, -3), (3, 3), n) for n in (128, largest)]
    runs = {"Fokker-Planck": bowls} | {
        name: [partial(last, equation, g, bowl(g.centres), SMOOTHING) for g in grids]
        for name, equation in (("Hamilton-Jacobi", pk.HamiltonJacobi()), ("heat", pk.Heat(HOT)))
    }
    out = {}
    for name, methods in runs.items():
        few, many = ([seconds(method) for _ in range(4)] for method in methods)
        out[name] = min(many) / largest**2 / (min(few) / 128**2)
    return out


# ------------------------------------------------------------------------- measuring and reporting


def timed(workload: Workload) -> list[Row]:
    """Median seconds of warm runs, the methods in turn, and the error of each."""
    errors, spent = {}, {name: [] for name in workload.methods}
    for name, method in workload.methods.items():
        start = time.perf_counter()
        out = method()  # compiles, and fills the caches
        first = time.perf_counter() - start
        errors[name] = workload.error(out)
        spent[name] += [first] if first > LONG and not name.startswith("pdekit") else []
    for _ in range(ROUNDS):
        for name, method in workload.methods.items():
            enough = sum(spent[name]) > LONG and len(spent[name]) >= 3
            if not enough and max(spent[name], default=0.0) < LONG:
                spent[name].append(seconds(method))
    return [Row(workload.name, n, float(np.median(s)), errors[n]) for n, s in spent.items()]


def seconds(method: Method, least: float = 0.02) -> float:
    """Seconds a call, over as many calls as take ``least``."""
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < least or calls == 0:
        method()
        calls += 1
    return passed / calls


def compared(rows: list[Row]) -> list[Row]:
    """The peers' rows with their ratio to the fastest pdekit method that errs no more.

    Errors within 5 %, and below 1e-13, count as equal: there they differ by rounding.
    """
    out = []
    for row in rows:
        allowed = max(1.05 * row.error, 1e-13)
        rivals = [r.seconds for r in rows if r.ours and r.error <= allowed]
        out.append(row if row.ours or not rivals else replace(row, ratio=row.seconds / min(rivals)))
    return out


def table(rows: list[Row]) -> str:
    lines = [f"{'workload':<9} {'method':<31} {'time':>8} {'error':>8}  ratio to pdekit"]
    for r in rows:
        ratio = "" if r.ratio is None else f"{r.ratio:.3g}"
        lines.append(
            f"{r.workload:<9} {r.method:<31} {span(r.seconds):>8} {r.error:>8.1e}  {ratio}"
        )
    return "\n".join(lines)


def span(passed: float) -> str:
    scale, unit = (1e6, "us") if passed < 1e-3 else (1e3, "ms") if passed < 1 else (1, "s")
    return f"{passed * scale:.3g} {unit}"


def claims(results: Results) -> list[Claim]:
    bars = results.numbers["errors_at_stated_cells"]
    texts = {
        "viscous": ("viscous HJ at the reference points, 2,000 cells, beta 1 to 1000: error", 1e-6),
        "hopf-lax": ("Hopf-Lax at the reference points, 2,000 cells: error", 1e-5),
        "time": ("W2: L1 error of the default steps in time alone", 5e-5),
        "references": ("W1: L1 between 9,000 cells and the spectral expansion", 5e-8),
    }
    out = [at_most(text, bars[key], bound) for key, (text, bound) in texts.items()]
    growth = results.numbers["cost_per_cell_over_that_at_128²"]
    text = "Fokker-Planck: cost per cell on the largest plane over that on 128 x 128 cells"
    out.append(at_most(text, growth["Fokker-Planck"], 1.5))
    modes = next(r for r in results.rows if r.method == "SciPy 16 modes")
    out.append(at_least("W1: time of 16 eigenmodes over pdekit's", modes.ratio or 0.0, 5))
    bounds = {"W1": 5e-6, "W1s": 1e-12, "W2": 1e-3, "W3": 1e-10, "W4": 1e-3, "W5": 1e-10}
    factors = {"W1": 1000, "W1s": 5, "W2": 20, "W5": 20}
    for name in results.titles:
        rows, kind = [r for r in results.rows if r.workload == name], name.split()[0]
        default = next(r for r in rows if r.method in ("pdekit", "pdekit, Split(5e-5)"))
        out.append(at_most(f"{name}: error of the default scheme", default.error, bounds[kind]))
        ratios = [r.ratio or 0.0 for r in rows if r.method.startswith("FiPy")]
        if ratios:
            text = f"{name}: FiPy's time over pdekit's at FiPy's error or a smaller one"
            out.append(at_least(text, min(ratios), factors[kind]))
    return out


def plot(results: Results) -> Any:
    from matplotlib.figure import Figure

    names = list(results.titles)
    figure = Figure(figsize=(14, 3.4 * -(-len(names) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(names) // 3), 3).ravel()
    for ax, name in zip(axes, names, strict=False):
        panel(ax, [r for r in results.rows if r.workload == name])
        ax.set_title(f"{name}: {results.titles[name]}")
    for ax in axes[len(names) :]:
        ax.remove()
    figure.supxlabel("seconds (median of warm runs, one thread)")
    figure.supylabel("error")
    return figure


def panel(ax: Any, rows: list[Row]) -> None:
    """Error against seconds, points on the left, their names in a column on the right."""
    colours = {"pdekit": "C0", "SciPy": "C1", "NumPy": "C2", "FiPy": "C3"}
    rows = sorted(rows, key=lambda r: (max(r.error, 1e-17), -r.seconds))
    times, errors = np.array([(r.seconds, max(r.error, 1e-17)) for r in rows]).T
    room, decades = (
        np.log10(errors[-1] / errors[0]) + 0.5,
        np.log10(times.max() / times.min()) + 0.5,
    )
    low, high = np.log10(errors[0]) - 0.15 * room, np.log10(errors[-1]) + 0.15 * room
    ax.set(xscale="log", yscale="log", ylim=(10**low, 10**high))
    first, final = np.floor(np.log10(times.min())), np.ceil(np.log10(times.max()))
    ax.set_xticks(10.0 ** np.arange(first, final + 1))
    ax.minorticks_off()
    ax.set_xlim(times.min() / 10 ** (0.1 * decades), times.max() * 10**decades)
    heights = spread((np.log10(errors) - low) / (high - low), 0.085)
    for row, t, e, height in zip(rows, times, errors, heights, strict=True):
        colour = colours[row.method.split()[0].strip(",")]
        ax.plot(t, e, "o", color=colour, zorder=3)
        leader = {"arrowstyle": "-", "lw": 0.5, "color": colour, "relpos": (0, 0.5)}
        ax.annotate(
            row.method, (t, e), (0.56, height), textcoords="axes fraction", fontsize=8, va="center",
            color=colour, arrowprops=leader,
        )  # fmt: skip


def spread(heights: Array, gap: float) -> Array:
    """Increasing heights in [0, 1] moved apart to at least ``gap``."""
    out = np.clip(heights, gap / 2, 1 - gap / 2)
    for k in range(1, out.size):
        out[k] = max(out[k], out[k - 1] + gap)
    for k in range(out.size - 1, -1, -1):
        out[k] = min(out[k], 1 - gap / 2 - gap * (out.size - 1 - k))
    return out
