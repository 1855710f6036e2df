"""Time against error: pdekit beside FiPy and hand-written SciPy, one thread, one run.

Every method starts from the same functions or arrays and is timed to the field it returns; making
the matrix, the mesh or the factors is part of it. Times are medians of warm runs taken in turn (a
peer that needs seconds runs once). Compare ratios of one run only: machines differ, and are busy.

  W1   Fokker-Planck on a line, V = (x^2-1)^2/4, beta 4, 1,000 cells of [-3, 3], N(-1, 0.1^2), t 10;
       L1 against a sinc expansion of the symmetrised operator.
  W1s  its stationary state; L1 against exp(-beta V) / Z.
  W2   Fokker-Planck in the plane, V = (x^2-1)^2/4 + y^2/2 + 0.3 x y, beta 4, [-3, 3]^2,
       N((-1, 0), 0.3^2), t 1; L1 in space and time together against a sinc expansion.
  W3   viscous Hamilton-Jacobi, double well (its sum over the coordinates), beta 10, t 0.5; greatest
       error against quadrature on nine times finer nodes.
  W4   Hamilton-Jacobi, same data; greatest error against the minimum found by Newton's method.
  W5   heat smoothing of two Gaussian bumps, beta 10, t 0.5; greatest error against the formula.

Not measured here: packages that are no dependency of the tests (py-pde, fplanck, hj_reachability,
exponax).
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any

import numpy as np

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.pde.generators import scharfetter_gummel

Array = Any
BETA, HOT = 4.0, 10.0  # inverse temperatures of Fokker-Planck, and of smoothing
SMOOTHING = 0.5  # time of W3 to W5
LONG = 1.0  # seconds from which one run of a peer must do, and after which repeating ends
ROUNDS = 7
# exact values at the public reference points: potential, x, t, beta, u (beta None: Hopf-Lax)
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
    """A problem: what each method is called and does, and the error of what it returns."""

    name: str
    title: str
    error: Callable[[Array], float]
    methods: dict[str, Callable[[], Array]]


@dataclass(frozen=True)
class Row:
    """One line of the table; ``ratio`` is to the fastest pdekit method at least as accurate."""

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
    """``--quick``: planes of 128 x 128 cells and FiPy with long steps only, in seconds."""
    n = 128 if quick else 512
    with one_thread() as threads:
        workloads = [fokker_planck_line(quick), stationary_state()]
        workloads += [fokker_planck_plane(m) for m in ((128,) if quick else (256, 512))]
        workloads += [viscous(1000), viscous(n, n), non_viscous(1000), non_viscous(n, n)]
        workloads += [heat_plane(n)]
        rows = [row for workload in workloads for row in compared(timed(workload))]
        bars = accuracy_bars(rows)
    print(table(rows))
    numbers = {
        "threads": threads,
        "absent": [] if find_spec("fipy") else ["FiPy"],
        "rows": [vars(row) for row in rows],
        "errors_at_stated_cells": bars,
    }
    return Results(rows, {w.name: w.title for w in workloads}, numbers)


@contextmanager
def one_thread() -> Iterator[str]:
    """BLAS and OpenMP on one thread; pdekit's kernels and FiPy's solvers use one anyway."""
    if find_spec("threadpoolctl") is None:
        yield "BLAS threads not limited: threadpoolctl is not installed"
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield "1, limited by threadpoolctl"


# ------------------------------------------------------------------------------------ the workloads


def fokker_planck_line(quick: bool) -> Workload:
    from scipy.integrate import solve_ivp
    from scipy.linalg import eigh_tridiagonal, solve_banded

    well, grid, law, t = (
        pk.potentials.DoubleWell(),
        pk.Grid(-3, 3, 1000),
        pk.Gaussian(-1, 0.1),
        10.0,
    )
    equation = pk.FokkerPlanck(well, BETA)
    rho0 = law.density(grid)

    def bands() -> tuple[Array, Array, Array]:
        """Upper, main and lower diagonal of the Scharfetter-Gummel matrix."""
        generator = scharfetter_gummel(well(grid.centres), BETA, grid)
        return generator.down[0], -generator.exit_rate(), generator.up[0]

    def banded() -> Array:
        upper, main, lower = bands()
        return np.stack([np.append(0, upper), main, np.append(lower, 0)])

    def lsoda() -> Array:
        upper, main, lower = bands()

        def rate(_: float, u: Array) -> Array:
            du = main * u
            du[:-1] += upper * u[1:]
            du[1:] += lower * u[:-1]
            return du

        return solve_ivp(
            rate, (0, t), rho0, "LSODA", lband=1, uband=1, rtol=1e-7, atol=1e-9, t_eval=[t]
        ).y[:, -1]

    def modes() -> Array:
        upper, main, lower = bands()
        root = np.exp(-BETA / 2 * well(grid.centres))
        rates, shapes = eigh_tridiagonal(
            main, np.sqrt(upper * lower), select="i", select_range=(grid.cells[0] - 16, 999)
        )
        return root * (shapes @ (np.exp(t * rates) * (shapes.T @ (rho0 / root))))

    def theta_steps(theta: float, steps: int) -> Array:
        a, u, dt = banded(), rho0, t / steps
        left, one = -theta * dt * a, np.array([[0.0], [1.0], [0.0]])
        for _ in range(steps):
            explicit = u
            if theta < 1:
                du = a[1] * u
                du[:-1] += a[0, 1:] * u[1:]
                du[1:] += a[2, :-1] * u[:-1]
                explicit = u + (1 - theta) * dt * du
            u = solve_banded((1, 1), left + one, explicit)
        return u

    solved = partial(last, equation, grid, law, t)
    fipy = {f"FiPy, {n} steps": partial(fipy_density, grid, well, law, t, n) for n in (200, 2000)}
    exact = expansion_line(grid, t)
    methods = {
        "pdekit (default)": solved,
        "pdekit Implicit, 40 steps": partial(solved, pk.schemes.Implicit(t / 40)),
        "pdekit Implicit, 200 steps": partial(solved, pk.schemes.Implicit(t / 200)),
        "SciPy LSODA": lsoda,
        "SciPy 16 modes": modes,
        "SciPy backward Euler, 200 steps": partial(theta_steps, 1.0, 200),
        "SciPy Crank-Nicolson, 1000 steps": partial(theta_steps, 0.5, 1000),
        **present(dict(list(fipy.items())[: 1 if quick else 2])),
    }
    return Workload("W1 line", "Fokker-Planck", l1_error(exact, grid), methods)


def stationary_state() -> Workload:
    from scipy.sparse.linalg import spsolve

    well, grid = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 1000)
    z = np.exp(-BETA * well(np.linspace(-8, 8, 16001)[:, None])).sum() / 1000

    def null_vector() -> Array:
        """The kernel of the matrix, its last row replaced by unit mass."""
        matrix = scharfetter_gummel(well(grid.centres), BETA, grid).matrix().T.tolil()
        matrix[-1] = grid.cell_volume
        return spsolve(matrix.tocsc(), np.append(np.zeros(999), 1.0))

    methods = {
        "pdekit stationary": lambda: pk.stationary(pk.FokkerPlanck(well, BETA), grid).values,
        "SciPy sparse LU": null_vector,
        **present({"FiPy, one long step": partial(
            fipy_density, grid, well, pk.Gaussian(-1, 0.1), 1e8, 1)}),
    }  # fmt: skip
    exact = np.exp(-BETA * well(grid.centres)) / z
    return Workload("W1s line", "stationary state", l1_error(exact, grid), methods)


def bowl(x: Array) -> Array:
    """The potential of W2."""
    a, b = x[..., 0], x[..., 1]
    return (a * a - 1) ** 2 / 4 + b * b / 2 + 0.3 * a * b


def fokker_planck_plane(n: int) -> Workload:
    from scipy.sparse.linalg import expm_multiply

    grid, law, t = pk.Grid((-3, -3), (3, 3), (n, n)), pk.Gaussian((-1.0, 0.0), 0.3), 1.0
    potential = pk.potentials.Custom(bowl, dim=2)
    solved = partial(last, pk.FokkerPlanck(potential, BETA), grid, law, t)

    def exponential() -> Array:
        matrix = scharfetter_gummel(bowl(grid.centres), BETA, grid).matrix().T
        return expm_multiply(t * matrix.tocsr(), law.density(grid).ravel()).reshape(grid.shape)

    methods = {
        "pdekit Split(1e-3)": partial(solved, pk.schemes.Split(1e-3)),
        "pdekit (default, Split(5e-5))": solved,
        "pdekit Split(1e-5)": partial(solved, pk.schemes.Split(1e-5)),
        **({"SciPy expm_multiply": exponential} if n <= 256 else {}),
        **present({"FiPy, 10 steps": partial(fipy_density, grid, bowl, law, t, 10)}),
    }
    exact = expansion_plane(grid, t)
    return Workload(f"W2 {n}²", "Fokker-Planck", l1_error(exact, grid), methods)


def viscous(*cells: int) -> Workload:
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    grid, f, exact = wells(cells, local_entropy)
    sigma = np.sqrt(SMOOTHING / HOT) / grid.spacing

    def filtered(truncate: float) -> Array:
        w = gaussian_filter(np.exp(HOT * (f.min() - f)), sigma, mode="reflect", truncate=truncate)
        return f.min() - np.log(w) / HOT

    def cosine() -> Array:
        w = idctn(dctn(np.exp(HOT * (f.min() - f))) * heat_factors(grid))
        return f.min() - np.log(np.maximum(w, 1e-300)) / HOT

    methods = {
        "pdekit (default)": partial(last, pk.ViscousHJ(HOT), grid, f, SMOOTHING),
        "SciPy gaussian_filter, cut at 8": partial(filtered, 8.0),
        "SciPy gaussian_filter, cut at 4": partial(filtered, 4.0),
        "SciPy cosine transform": cosine,
    }
    return Workload(f"W3 {where(grid)}", "viscous Hamilton-Jacobi", greatest(exact), methods)


def non_viscous(*cells: int) -> Workload:
    from scipy.ndimage import grey_erosion

    grid, f, exact = wells(cells, inf_convolution)
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

    solved = partial(last, pk.HamiltonJacobi(), grid, f, SMOOTHING)
    methods = {
        "pdekit (default)": solved,
        "pdekit Godunov": partial(solved, pk.schemes.Godunov()),
        "NumPy brute force": brute,
        "SciPy grey_erosion": eroded,
    }
    return Workload(f"W4 {where(grid)}", "Hamilton-Jacobi", greatest(exact), methods)


def wells(
    cells: Sequence[int], smoothed: Callable[[pk.Grid], Array]
) -> tuple[pk.Grid, Array, Array]:
    """The grid on [-3, 3]^d, the double well summed over the coordinates, and its smoothing."""
    grid = pk.Grid(-3.0, 3.0, cells)
    axes = [smoothed(pk.Grid(-3, 3, n)) for n in cells]
    return grid, pk.potentials.DoubleWell(grid.dim)(grid.centres), reduce(np.add.outer, axes)


def where(grid: pk.Grid) -> str:
    return "line" if grid.dim == 1 else f"{grid.cells[0]}²"


def heat_plane(n: int) -> Workload:
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    grid = pk.Grid((-3, -3), (3, 3), (n, n))

    def bumps(variance: float) -> Array:
        """Two Gaussian bumps of variance 0.04, smoothed up to ``variance``."""
        low = ((grid.centres - np.array([-0.5, 0.2])) ** 2).sum(-1)
        high = ((grid.centres - np.array([0.6, -0.4])) ** 2).sum(-1)
        peak = 0.04 / variance
        return peak * (np.exp(-low / (2 * variance)) + 0.5 * np.exp(-high / (2 * variance)))

    f, exact = bumps(0.04), bumps(0.04 + SMOOTHING / HOT)
    sigma = np.sqrt(SMOOTHING / HOT) / grid.spacing

    def filtered(truncate: float) -> Array:
        return gaussian_filter(f, sigma, mode="reflect", truncate=truncate)

    return Workload(f"W5 {n}²", "heat smoothing", greatest(exact), {
        "pdekit (default)": partial(last, pk.Heat(HOT), grid, f, SMOOTHING),
        "SciPy cosine transform": lambda: idctn(dctn(f) * heat_factors(grid)),
        "SciPy gaussian_filter, cut at 8": partial(filtered, 8.0),
        "SciPy gaussian_filter, cut at 4": partial(filtered, 4.0),
        **present({"FiPy, 10 steps": partial(fipy_heat, grid, f, SMOOTHING, 10)}),
    })  # fmt: skip


def heat_factors(grid: pk.Grid) -> Array:
    """exp(-t k^2 / (2 beta)) over the cosine modes of the grid."""
    out = np.ones(grid.shape)
    for axis, (n, h) in enumerate(zip(grid.cells, grid.spacing, strict=True)):
        k = np.pi * np.arange(n) / (n * h)
        shape = [-1 if a == axis else 1 for a in range(grid.dim)]
        out *= np.exp(-SMOOTHING / (2 * HOT) * k**2).reshape(shape)
    return out


def last(equation: Any, grid: pk.Grid, initial: Any, t: float, scheme: Any = None) -> Array:
    """pdekit's answer at the last time."""
    return pk.solve(equation, grid, initial, t, scheme).fields[-1]


# ----------------------------------------------------------------------------------------- FiPy


def present(methods: dict[str, Callable[[], Array]]) -> dict[str, Callable[[], Array]]:
    """The methods if FiPy is installed, none otherwise."""
    return methods if find_spec("fipy") else {}


def _fipy(grid: pk.Grid) -> tuple[Any, Any]:
    """The package, on its SciPy solvers, and the mesh of the grid."""
    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy

    counts = dict(zip(("nx", "ny"), grid.cells, strict=False))
    sizes = dict(zip(("dx", "dy"), grid.spacing, strict=False))
    return fipy, (fipy.Grid1D if grid.dim == 1 else fipy.Grid2D)(**counts, **sizes)


def fipy_density(grid: pk.Grid, potential: Any, law: Any, t: float, steps: int) -> Array:
    """Implicit steps with the exponentially fitted convection term; FiPy orders x fastest."""
    fipy, mesh = _fipy(grid)
    energy = fipy.CellVariable(mesh, value=potential(grid.centres).T.ravel())
    rho = fipy.CellVariable(mesh, value=law.density(grid).T.ravel())
    drift = fipy.ExponentialConvectionTerm(coeff=-energy.faceGrad)
    equation = fipy.TransientTerm() + drift == fipy.DiffusionTerm(coeff=1 / BETA)
    for _ in range(steps):
        equation.solve(var=rho, dt=t / steps)
    return rho.value.reshape(grid.shape[::-1]).T


def fipy_heat(grid: pk.Grid, f: Array, t: float, steps: int) -> Array:
    fipy, mesh = _fipy(grid)
    v = fipy.CellVariable(mesh, value=f.T.ravel())
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=1 / (2 * HOT))
    for _ in range(steps):
        equation.solve(var=v, dt=t / steps, solver=fipy.LinearPCGSolver(tolerance=1e-8))
    return v.value.reshape(grid.shape[::-1]).T


# ------------------------------------------------------------------------------ exact solutions


def expansion_line(grid: pk.Grid, t: float) -> Array:
    """W1 on the whole line: psi = rho exp(beta V / 2) in 200 sinc functions, exact in time."""
    nodes = pk.Grid(-3, 3, 200)
    x, h = nodes.axes[0], nodes.spacing[0]
    well = pk.potentials.DoubleWell()
    slope = x**3 - x
    operator = second_derivative(200, h) / BETA
    operator -= np.diag(BETA * slope**2 / 4 - (3 * x**2 - 1) / 2)
    rates, shapes = np.linalg.eigh(operator)
    weight = np.exp(BETA / 2 * well(nodes.centres))
    psi = shapes @ (
        np.exp(t * rates) * (shapes.T @ (weight * pk.Gaussian(-1, 0.1).pdf(nodes.centres)))
    )
    return np.exp(-BETA / 2 * well(grid.centres)) * (sinc_matrix(grid.axes[0], x, h) @ psi)


def expansion_plane(grid: pk.Grid, t: float) -> Array:
    """W2 on the whole plane in 64 x 64 sinc functions."""
    from scipy.sparse.linalg import LinearOperator, expm_multiply

    n = 64
    nodes = pk.Grid((-3.3, -3.3), (3.3, 3.3), (n, n))
    x, y, h = nodes.centres[..., 0], nodes.centres[..., 1], nodes.spacing[0]
    slopes = (x**3 - x + 0.3 * y) ** 2 + (y + 0.3 * x) ** 2
    sink = BETA * slopes / 4 - 3 * x**2 / 2
    second = second_derivative(n, h) / BETA

    def apply(psi: Array) -> Array:
        psi = psi.reshape(n, n)
        return (second @ psi + psi @ second - sink * psi).ravel()

    operator = LinearOperator((n * n, n * n), matvec=apply, rmatvec=apply, dtype=float)
    start = pk.Gaussian((-1.0, 0.0), 0.3).pdf(nodes.centres) * np.exp(
        BETA / 2 * bowl(nodes.centres)
    )
    trace = 2 * n * np.trace(second) - sink.sum()
    psi = expm_multiply(t * operator, start.ravel(), traceA=t * trace).reshape(n, n)
    left, right = (sinc_matrix(a, nodes.axes[0], h) for a in grid.axes)
    return np.exp(-BETA / 2 * bowl(grid.centres)) * (left @ psi @ right.T)


def second_derivative(n: int, h: float) -> Array:
    """Second derivatives of n sinc functions at their nodes."""
    d = np.subtract.outer(np.arange(n), np.arange(n))
    with np.errstate(divide="ignore"):
        out = -2.0 * (-1.0) ** d / d**2
    np.fill_diagonal(out, -(np.pi**2) / 3)
    return out / h**2


def sinc_matrix(points: Array, nodes: Array, h: float) -> Array:
    return np.sinc(np.subtract.outer(points, nodes) / h)


def local_entropy(grid: pk.Grid) -> Array:
    """W3 by the sum over nine times finer nodes, reflected at the walls."""
    from scipy.special import logsumexp

    fine = grid.refined(9)
    y, width = fine.axes[0], grid.upper[0] - grid.lower[0]
    f = pk.potentials.DoubleWell()(fine.centres)
    nodes = np.concatenate([2 * grid.lower[0] - y[::-1], y, y[::-1] * -1 + 2 * grid.upper[0]])
    values = np.concatenate([f[::-1], f, f[::-1]])
    scale = np.log(fine.spacing[0] / np.sqrt(2 * np.pi * SMOOTHING / HOT))
    near = [(np.abs(nodes - x) < width / 2) for x in grid.axes[0]]
    return np.array([
        -(logsumexp(-HOT * (values[k] + (nodes[k] - x) ** 2 / (2 * SMOOTHING))) + scale) / HOT
        for x, k in zip(grid.axes[0], near, strict=True)
    ])  # fmt: skip


def inf_convolution(grid: pk.Grid) -> Array:
    """W4 from y + t f'(y) = x, which has one root while t < 1."""
    x = grid.axes[0]
    y = x.copy()
    for _ in range(60):
        y -= (y + SMOOTHING * (y**3 - y) - x) / (1 + SMOOTHING * (3 * y**2 - 1))
    return (y**2 - 1) ** 2 / 4 + (x - y) ** 2 / (2 * SMOOTHING)


def l1_error(exact: Array, grid: pk.Grid) -> Callable[[Array], float]:
    return lambda rho: float(grid.integrate(np.abs(rho - exact)))


def greatest(exact: Array) -> Callable[[Array], float]:
    return lambda u: float(np.abs(u - exact).max())


# ------------------------------------------------------------------------- measuring and reporting


def timed(workload: Workload) -> list[Row]:
    """Median seconds of warm runs, the methods in turn, and the error of each."""
    errors, spent = {}, {name: [] for name in workload.methods}
    for name, method in workload.methods.items():
        start = time.perf_counter()
        errors[name] = workload.error(method())  # compiles, and fills the caches
        first = time.perf_counter() - start
        if first > LONG and not name.startswith("pdekit"):
            spent[name].append(first)
    for _ in range(ROUNDS):
        for name, method in workload.methods.items():
            if sum(spent[name]) < LONG:
                spent[name].append(_seconds(method))
    return [Row(workload.name, n, float(np.median(s)), errors[n]) for n, s in spent.items()]


def _seconds(method: Callable[[], Array], least: float = 0.02) -> float:
    """Seconds a call, over as many calls as take ``least``."""
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < least or calls == 0:
        method()
        calls += 1
    return passed / calls


def compared(rows: list[Row]) -> list[Row]:
    """The rows with the ratio of each peer to the fastest pdekit method at least as accurate."""
    out = []
    for row in rows:
        rivals = [r.seconds for r in rows if r.ours and r.error <= 1.05 * row.error]
        ratio = row.seconds / min(rivals) if rivals and not row.ours else None
        out.append(Row(row.workload, row.method, row.seconds, row.error, ratio))
    return out


def table(rows: list[Row]) -> str:
    lines = [
        f"{'workload':<9} {'method':<33} {'time':>9} {'error':>8} {'to pdekit at that error':>24}"
    ]
    for r in rows:
        ratio = "" if r.ours else "more accurate" if r.ratio is None else f"{r.ratio:.3g} x"
        lines.append(
            f"{r.workload:<9} {r.method:<33} {pretty(r.seconds):>9} {r.error:>8.1e} {ratio:>24}"
        )
    return "\n".join(lines)


def pretty(seconds: float) -> str:
    scale, unit = (1e6, "us") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1, "s")
    return f"{seconds * scale:.3g} {unit}"


def accuracy_bars(rows: list[Row]) -> dict[str, float]:
    """Errors at the cell counts that the toolkit promises: the public reference points, and W1."""
    shapes = {"dw": pk.potentials.DoubleWell(), "rip": pk.potentials.Rippled()}
    worst, h = {"viscous": 0.0, "hopf-lax": 0.0}, 12 / 2000
    for name, x, t, beta, exact in POINTS:
        equation = pk.ViscousHJ(beta) if beta else pk.HamiltonJacobi()
        grid = pk.Grid(x - 6 - h / 2, x + 6 - h / 2, 2000)  # with x at the centre of cell 1000
        error = abs(last(equation, grid, shapes[name], t)[1000] - exact)
        kind = "viscous" if beta else "hopf-lax"
        worst[kind] = max(worst[kind], float(error))
    fine = pk.Grid(-3, 3, 9000)
    rho = last(pk.FokkerPlanck(shapes["dw"], BETA), fine, pk.Gaussian(-1, 0.1), 10.0)
    worst["references"] = l1_error(expansion_line(fine, 10.0), fine)(rho)
    return worst | {"fokker-planck": select(rows, "W1 line", "pdekit (default)").error}


def select(rows: list[Row], workload: str, method: str) -> Row:
    return next(r for r in rows if r.workload == workload and r.method == method)


def claims(results: Results) -> list[Claim]:
    bars, rows = results.numbers["errors_at_stated_cells"], results.rows
    out = [
        at_most("viscous HJ on 2,000 cells at the reference points, beta 1 to 1000: greatest error",
                bars["viscous"], 1e-6),
        at_most("Hopf-Lax on 2,000 cells at the reference points: greatest error",
                bars["hopf-lax"], 1e-5),
        at_most("Fokker-Planck double well, 1,000 cells, t = 10: L1 error",
                bars["fokker-planck"], 5e-6),
        at_most("two references agree (9,000 cells against the expansion in sinc functions): L1",
                bars["references"], 5e-8),
    ]  # fmt: skip
    for name in results.titles:
        ours = [r for r in rows if r.workload == name and r.ours]
        bound = {"W1": 5e-6, "W1s": 1e-12, "W2": 1e-3, "W4": 1e-3}.get(name.split()[0], 1e-12)
        out.append(at_most(f"{name}: error of the most accurate pdekit run",
                           min(r.error for r in ours), bound))  # fmt: skip
    for name, least in (("W1", 50), ("W1s", 5), ("W2", 5), ("W5", 20)):
        peers = [r for r in rows if r.workload.split()[0] == name and r.method.startswith("FiPy")]
        if peers:
            ratio = min(r.ratio or 0.0 for r in peers)
            out.append(at_least(f"{name}: times that FiPy takes for pdekit's time at FiPy's error",
                                ratio, least))  # fmt: skip
    return out


def plot(results: Results) -> Any:
    from matplotlib.figure import Figure

    names = list(results.titles)
    figure = Figure(figsize=(13, 3.6 * -(-len(names) // 3)), layout="constrained")
    for ax, name in zip(figure.subplots(-(-len(names) // 3), 3).flat, names, strict=False):
        panel(
            ax, [r for r in results.rows if r.workload == name], f"{name}: {results.titles[name]}"
        )
    for ax in figure.axes[len(names) :]:
        ax.remove()
    figure.supxlabel("seconds, median of warm runs")
    figure.supylabel("error")
    return figure


def panel(ax: Any, rows: list[Row], title: str) -> None:
    """Error against seconds, each method labelled beside its point."""
    colours = {"pdekit": "C0", "SciPy": "C1", "NumPy": "C2", "FiPy": "C3"}
    ax.set(xscale="log", yscale="log", title=title)
    floor = 1e-17
    times, errors = [r.seconds for r in rows], [max(r.error, floor) for r in rows]
    ax.set_xlim(min(times) / 3, max(times) * 3)
    span = np.log10(max(errors) / min(errors)) + 1
    ax.set_ylim(min(errors) / 10 ** (0.15 * span), max(errors) * 10 ** (0.15 * span))
    heights = spread([ax.transAxes.inverted().transform(ax.transData.transform((t, e)))[1]
                      for t, e in zip(times, errors, strict=True)], 0.075)  # fmt: skip
    middle = np.sqrt(min(times) * max(times))
    for row, t, e, height in zip(rows, times, errors, heights, strict=True):
        colour = colours[row.method.split()[0].strip(",")]
        ax.plot(t, e, "o", color=colour)
        left = t > middle
        ax.annotate(
            row.method, (t, e), (t / 1.25 if left else t * 1.25, height), fontsize=8, color=colour,
            textcoords=ax.get_xaxis_transform(), ha="right" if left else "left", va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour},
        )  # fmt: skip


def spread(heights: list[float], gap: float) -> list[float]:
    """The heights moved apart to at least ``gap``, order and mean kept."""
    order = np.argsort(heights)
    out = np.array(heights)[order]
    for _ in range(200):
        push = np.maximum(gap - np.diff(out), 0) / 2
        if push.max(initial=0) < 1e-4:
            break
        out[1:] += push
        out[:-1] -= push
    return list(out[np.argsort(order)])
