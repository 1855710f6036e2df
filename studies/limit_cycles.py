"""Does SGD converge to limit cycles around a saddle? The current is there, the cycles are not.

Thesis example 6.43 and figure 6.4: Φ = (x² - 1)²/4 + y²/2 and a force j = λ exp(Φ - r⁴/4) (-y, x)
added to -∇Φ, with noise of temperature 1, for λ = 0, 0.5, 1.5. The thesis says that critical points
of the loss f move with λ, and that for λ = 1.5 "SGD converges to limit cycles around the saddle
point at the origin". What holds, by the equation and by particles:

* the stationary density stays exp(-Φ)/Z for every λ, its modes at (±1, 0); its current is
  λ exp(-r⁴/4) (-y, x)/Z, which has the probability go round for ever and costs entropy;
* the zeros of ∇f move, and for λ = 1.5 only the origin is left. But no orbit of the flow -∇f
  closes: from inside and outside they wind down into the origin, 1/r² growing linearly in time. And
  the particles are not there: the origin is the saddle of their density;
* ∇·j = 0 and j·∇Φ = 0, which the thesis assumes and proves cycles from, fail in its own example;
  what holds is ∇·j = β j·∇Φ.

Equations: mathematics 1.11, errata 43; the example is from Noh and Lee (2015).
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import integrate, optimize
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

STRENGTHS = (0.0, 0.5, 1.5)
BETA = 1.0
BOX = 5.4
PLACE = (1.0, 0.0)  # where the current is read
RADIUS = 0.2  # of the disc that particles count it in
WELL = np.array([0.902428321177, 0.388802238357])  # a zero of ∇f for λ = 0.5
LAG = 0.002  # between the two places of a particle that its current is taken from
LAGS = 40
DT = 5e-4
STARTS = ((0.05, 0.0), (0.6, 0.2), (1.5, 0.0), (0.0, 2.0))  # of orbits without noise
RELAXED = (0.2, 1.0, 4.0)  # times at which particles meet the density that they follow


@dataclass(frozen=True)
class Measured:
    """A mean over particles and its standard error, and what it should be."""

    mean: float
    error: float
    exact: float

    @property
    def deviations(self) -> float:
        return abs(self.mean - self.exact) / self.error


@dataclass(frozen=True)
class Case:
    """One λ, by the equation, by particles and without noise."""

    model: pk.LimitCycle
    density: Any  # stationary, of the equation
    current: Any
    entropy: float  # produced per time
    entropy_exact: float
    zeros: np.ndarray
    turning: np.ndarray  # eigenvalues of the flow's Jacobian at the origin
    orbits: list[Any]
    winding: tuple[float, float, float]  # d(1/x²)/dt: least, of the innermost orbit, averaged
    measured: dict[str, Measured]
    p_value: float

    @property
    def density_off(self) -> float:
        """L1 distance of the stationary density from the exact one."""
        grid = _grid(self.density.shape[0])
        return float(grid.integrate(np.abs(self.density.values - self.model.density(grid.centres))))

    @property
    def current_at_place(self) -> float:
        """J_y at PLACE."""
        return float(self.current.isel(component=1).interp(x=PLACE[0], y=PLACE[1]))


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    cases: dict[float, Case]
    divergence: tuple[float, float]  # largest |∇·j|, largest |∇·j - β j·∇Φ|, λ = 1.5
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and particles.")] = False,
    cells: Annotated[int | None, typer.Option(min=8, help="Cells an axis.")] = None,
    particles: Annotated[int | None, typer.Option(min=1000, help="Particles.")] = None,
    seed: Annotated[int, typer.Option(help="Of all particles.")] = 0,
) -> Results:
    """Solve, simulate and integrate the three cases."""
    cells = cells or (128 if quick else 256)
    particles = particles or (50_000 if quick else 400_000)
    with tqdm(total=len(STRENGTHS), desc="limit_cycles", unit="case") as bar:
        cases = {}
        for strength in STRENGTHS:
            cases[strength] = _case(pk.LimitCycle(strength, BETA), cells, particles, seed)
            seed += 2
            bar.update()
    results = Results(cases, _divergence(pk.LimitCycle(STRENGTHS[-1], BETA)), {})
    results.numbers.update(_numbers(results))
    return results


def _grid(cells: int) -> pk.Grid:
    return pk.Grid((-BOX, -BOX), (BOX, BOX), (cells, cells))


def _case(model: pk.LimitCycle, cells: int, particles: int, seed: int) -> Case:
    grid = _grid(cells)
    density = pk.stationary(model.equation, grid)
    current = pk.current(model.equation, density, grid)
    orbits = [_orbit(model, start) for start in STARTS]
    flow = -_jacobian(model, np.zeros(2))
    return Case(
        model, density, current, pk.entropy_production(model.equation, density, grid),
        _mean_over_plane(model, lambda x: BETA * (model.force(x) ** 2).sum(-1)), _zeros(model),
        np.linalg.eigvals(flow), orbits, _winding(model, orbits),
        _particles(model, particles, seed), _compared(model, grid, particles // 4, seed),
    )  # fmt: skip


# ---- the flow without noise ----------------------------------------------------------------------


def _jacobian(model: pk.LimitCycle, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Of ∇f, by central differences."""
    shifts = step * np.eye(2)
    return np.stack([(model.drift(x + e) - model.drift(x - e)) / (2 * step) for e in shifts], 1)


def _zeros(model: pk.LimitCycle) -> np.ndarray:
    """Zeros of ∇f, sorted, found from a lattice of starts."""
    lattice = np.stack(np.meshgrid(*[np.linspace(-2, 2, 9)] * 2), -1).reshape(-1, 2)
    found = [optimize.root(model.drift, start, tol=1e-13) for start in lattice]
    ends = [r.x for r in found if r.success and np.abs(model.drift(r.x)).max() < 1e-9]
    return np.unique(np.round(ends, 8) + 0.0, axis=0)


def _orbit(model: pk.LimitCycle, start: tuple[float, float]) -> Any:
    """The flow x' = -∇f(x) to time 60."""
    return integrate.solve_ivp(
        lambda _, x: -model.drift(x), (0, 60), start, rtol=1e-10, atol=1e-12, dense_output=True
    )


def _winding(model: pk.LimitCycle, orbits: list[Any]) -> tuple[float, float, float]:
    """d(1/x²)/dt where orbits cross y = 0: least of all, of the innermost, and by averaging.

    Where the origin is a centre of the linear flow (λ > exp(-β/4)).
    """
    if not model.strength > np.exp(-BETA / 4):
        return np.nan, np.nan, np.nan
    growth = [_growth(orbit.sol) for orbit in orbits]
    return min(growth), growth[0], _averaged(model)


def _growth(orbit: Any) -> float:
    """Mean of d(1/x²)/dt over the turns after the first, at y = 0 < x."""
    t = np.linspace(0, 60, 120_001)
    x, y = orbit(t)
    k = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0) & (x[1:] > 0))
    share = y[k] / (y[k] - y[k + 1])
    inverse = 1 / (x[k] + share * (x[k + 1] - x[k])) ** 2
    times = t[k] + share * (t[1] - t[0])
    return float((inverse[-1] - inverse[0]) / (times[-1] - times[0]))


def _averaged(model: pk.LimitCycle) -> float:
    """The same as x -> 0: the cubic terms averaged over a turn of the linear flow.

    Linear flow (x - c y, c x - y), c = λ exp(β/4), along ellipses E = c x² - 2 x y + c y²; cubic
    terms g = (-x³, 0) + c β (y² - x²)/2 (-y, x); E' = <∇E·g> and E = c x² at y = 0.
    """
    c = model.strength * np.exp(BETA / 4)
    turn = np.arange(400) / 400 * 2 * np.pi
    x = np.cos(turn) + np.sin(turn) / np.sqrt(c * c - 1)
    y = c * np.sin(turn) / np.sqrt(c * c - 1)
    swirl = c * BETA * (y**2 - x**2) / 2
    rise = (2 * c * x - 2 * y) * (-(x**3) - swirl * y) + (2 * c * y - 2 * x) * swirl * x
    return float(-rise.mean() / c)


def _divergence(model: pk.LimitCycle, step: float = 1e-4) -> tuple[float, float]:
    """Largest |∇·j| on [-2, 2]², which the thesis takes to be zero, and |∇·j - β j·∇Φ|."""
    x = np.stack(np.meshgrid(*[np.linspace(-2, 2, 81)] * 2), -1)
    e = step * np.eye(2)
    found = sum(
        (model.force(x + e[k])[..., k] - model.force(x - e[k])[..., k]) / (2 * step) for k in (0, 1)
    )
    along = model.beta * (model.force(x) * model.equation.potential.grad(x)).sum(-1)
    return float(np.abs(found).max()), float(np.abs(found - along).max())


# ---- particles -----------------------------------------------------------------------------------


def _dynamics(model: pk.LimitCycle) -> pk.MultiplicativeLangevin:
    return pk.MultiplicativeLangevin(model.equation.potential, BETA, 1.0, force=model.force)


def _sample(count: int, seed: int) -> np.ndarray:
    """Independent draws of exp(-βΦ)/Z, (n, 2): x by its distribution function, y a normal."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-BOX, BOX, 200_001)
    below = integrate.cumulative_simpson(np.exp(-BETA * (x**2 - 1) ** 2 / 4), x=x, initial=0)
    return np.stack(
        [np.interp(rng.random(count) * below[-1], below, x), rng.normal(size=count) / BETA**0.5],
        axis=-1,
    )


def _particles(model: pk.LimitCycle, count: int, seed: int) -> dict[str, Measured]:
    """Current in a disc, area swept and work of the force, from places LAG apart in time.

    All taken at the middle of the way, as Stratonovich's integral is; particles start from the
    stationary law, so that every one of the times counts.
    """
    times = LAG * np.arange(1, LAGS + 1)
    ensemble = pk.simulate(_dynamics(model), _sample(count, seed), count, times, DT, seed=seed + 1)
    x = ensemble.x.values
    middle, moved = (x[1:] + x[:-1]) / 2, np.diff(x, axis=0)
    inside = ((middle - PLACE) ** 2).sum(-1) < RADIUS**2
    each = {
        "current": inside * moved[..., 1] / (np.pi * RADIUS**2),
        "area": x[:-1, :, 0] * x[1:, :, 1] - x[:-1, :, 1] * x[1:, :, 0],
        "entropy": BETA * (model.force(middle) * moved).sum(-1),
    }
    exact = {
        "current": _mean_in_disc(lambda z: model.current(z)[..., 1]),
        "area": _over_plane(lambda z: z[..., 0] * model.current(z)[..., 1]
                            - z[..., 1] * model.current(z)[..., 0]),
        "entropy": _mean_over_plane(model, lambda z: BETA * (model.force(z) ** 2).sum(-1)),
    }  # fmt: skip
    return {name: _measured(rate / LAG, exact[name]) for name, rate in each.items()}


def _measured(rates: np.ndarray, exact: float) -> Measured:
    """Over particles, each with its own mean over time."""
    each = rates.mean(0)
    return Measured(float(each.mean()), float(each.std(ddof=1) / each.size**0.5), exact)


def _over_plane(density: Any) -> float:
    """∫ over [-6, 6]², by a sum that converges faster than any power."""
    axis = np.linspace(-6, 6, 601)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    return float(density(x).sum() * (axis[1] - axis[0]) ** 2)


def _mean_over_plane(model: pk.LimitCycle, values: Any) -> float:
    return _over_plane(lambda x: values(x) * model.density(x))


def _mean_in_disc(values: Any) -> float:
    """Over the disc of RADIUS round PLACE."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    r, angle = RADIUS * ((nodes + 1) / 2) ** 0.5, np.arange(24) * np.pi / 12
    x = np.stack([np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle))], -1) + PLACE
    return float((weights[:, None] * values(x)).sum() / weights.sum() / angle.size)


def _compared(model: pk.LimitCycle, grid: pk.Grid, count: int, seed: int) -> float:
    """Particles that leave the right-hand well against the density that does."""
    start = pk.Gaussian(PLACE, 0.3)
    density = pk.solve(model.equation, grid, start, RELAXED)
    ensemble = pk.simulate(_dynamics(model), start, count, RELAXED, 4 * DT, seed=seed)
    return float(pk.compare(density, ensemble).p_value)


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    return {
        f"{strength:g}": {
            "density_l1": case.density_off,
            "current": case.current_at_place,
            "current_exact": float(case.model.current(np.array(PLACE))[1]),
            "entropy_production": [case.entropy, case.entropy_exact],
            "zeros": case.zeros.tolist(),
            "eigenvalues_at_origin": [[z.real, z.imag] for z in case.turning],
            "growth_of_inverse_square": list(case.winding),
            "particles": {name: [m.mean, m.error, m.exact] for name, m in case.measured.items()},
            "p_value": case.p_value,
        }
        for strength, case in results.cases.items()
    } | {"divergence_of_force": list(results.divergence)}


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = []
    for strength, case in results.cases.items():
        name = f"λ = {strength:g}"
        exact = float(case.model.current(np.array(PLACE))[1])
        top = np.abs(np.abs(_mode(case)) - PLACE).max()
        made += [
            at_most(f"{name}: stationary density of the equation, L1 off", case.density_off, 0.01),
            at_most(f"{name}: its mode stays at (±1, 0), off by cells", top / _width(case), 1.0),
            at_most(f"{name}: its current at (1, 0) off", abs(case.current_at_place - exact), 1e-3),
            at_most(f"{name}: entropy production of the equation, off",
                    abs(case.entropy - case.entropy_exact), 0.01 * max(1, case.entropy_exact)),
            at_least(f"{name}: particles follow their density: p-value", case.p_value, 1e-3),
            *(
                at_most(f"{name}: {what} by particles, standard errors off", m.deviations, 4)
                for what, m in case.measured.items() if strength
            ),
        ]  # fmt: skip
    return made + _of_the_flow(results)


def _of_the_flow(results: Results) -> list[Claim]:
    cases = results.cases
    moved = np.abs(np.abs(cases[0.5].zeros[-1]) - WELL).max()
    slowest, inner, averaged = cases[1.5].winding
    broken, kept = results.divergence
    return [
        at_most("zeros of ∇f for λ = 0, 0.5, 1.5 are 3, 3, 1: off by",
                sum(abs(len(cases[s].zeros) - n) for s, n in ((0.0, 3), (0.5, 3), (1.5, 1))), 0),
        at_most("the zeros for λ = 0.5 are where Newton's method has them, off by", moved, 1e-7),
        at_most("λ = 1.5: the origin is a centre of the linear flow: real part",
                np.abs(cases[1.5].turning.real).max(), 1e-6),
        at_least("but no orbit closes: least d(1/x²)/dt, from inside and outside", slowest, 0.3),
        at_most("of the innermost it is what averaging gives, relative difference",
                abs(inner / averaged - 1), 0.01),
        at_least("∇·j = 0, as the thesis assumes, fails by", broken, 1),
        at_most("∇·j = β j·∇Φ holds to", kept, 1e-6),
    ]  # fmt: skip


def _mode(case: Case) -> np.ndarray:
    at = np.unravel_index(int(case.density.values.argmax()), case.density.shape)
    return np.array([axis.values[k] for axis, k in zip((case.density.x, case.density.y), at,
                                                       strict=True)])  # fmt: skip


def _width(case: Case) -> float:
    return 2 * BOX / case.density.shape[0]


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Density with current, and the flow without noise, for every λ."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, len(results.cases), sharex=True, sharey=True)
    for column, (strength, case) in zip(axes.T, results.cases.items(), strict=True):
        _density_panel(column[0], case, f"λ = {strength:g}")
        _flow_panel(column[1], case)
    axes[0, 0].set_ylabel("y")
    axes[1, 0].set_ylabel("y")
    return figure


def _density_panel(ax: Any, case: Case, title: str) -> None:
    x, y = case.density.x.values, case.density.y.values
    ax.contourf(x, y, case.density.values.T, levels=12, cmap="Blues")
    if case.model.strength:
        lattice = np.stack(np.meshgrid(*[np.linspace(-2.2, 2.2, 16)] * 2), -1)
        ax.quiver(*np.moveaxis(lattice, -1, 0), *np.moveaxis(case.model.current(lattice), -1, 0),
                  color="tab:red", scale=1.6, width=0.006)  # fmt: skip
    ax.plot([-1, 1], [0, 0], "o", ms=5, color="black")
    rate = case.measured["entropy"]
    ax.set(title=f"{title}: density and current", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
    ax.text(0.03, 0.03, f"entropy per time: {case.entropy_exact:.3f}\n"
            f"by particles: {rate.mean:.3f} ± {rate.error:.3f}",
            transform=ax.transAxes, fontsize=9)  # fmt: skip


def _flow_panel(ax: Any, case: Case) -> None:
    for orbit, colour in zip(case.orbits, ("tab:green", "tab:purple", "tab:orange", "tab:blue"),
                             strict=True):  # fmt: skip
        path = orbit.sol(np.linspace(0, 60, 6001))
        ax.plot(*path, lw=0.7, color=colour)
        ax.plot(*path[:, 0], ".", ms=5, color=colour)
    ax.plot(*case.zeros.T, "x", ms=7, mew=1.8, color="black", label="∇f = 0")
    ax.set(title="flow of -∇f without noise", xlabel="x")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
