"""How long do wells hold, and how slowly must noise fade? As log(t)/c, c above a critical depth.

The thesis (section 4.1.1) has Kramers' time and then says that annealing with β(t) = log(t + 1)
finds the global minimum, by Geman and Hwang; Kantas et al. (p. 1) say the same of "a so called
annealing schedule". As printed it fails: the theorem has a constant, β(t) = log(t)/c, and by Hajek
c must be at least the depth d of the deepest well that is not global. With the thesis' noise
β^(-1/2) dB, log(t + 1) is c = 1/2 here, and below it a share of the particles stays where it is for
ever. With c >= d the statement holds, as t^(-ΔE/c), ΔE the height of that well over the deepest:
slow, and "exponential" only in how well one wants to do. What holds, by the equation and particles:

* Kramers' time, 1/gap and the mean first passage agree for high barriers; what they differ by is
  c₁/(β ΔV), c₁ from third and fourth derivatives, and, between passage and gap, exponentially
  small. The saddle is reached in half the time. In the plane (Müller-Brown) likewise;
* particles' first exits have these times once it is counted that crossings between two looks are
  missed: as if the target lay 0.5826 sqrt(2Δ/β) further;
* cooling with c above, at and below d: at c = d the share left stays above that at rest by a factor
  of its own. Linear and geometric β(t) trap at every rate; but a ramp made for a horizon T leaves
  T^(-ΔE/d) times a power of log T, at T = 1e8 three times what the best logarithm leaves.

Equations: mathematics 1.14, errata 7; Hajek (1988), Huse and Fisher (1986); the correction is that
of Broadie, Glasserman and Kou (1997).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, log10, pi, sqrt
from typing import Annotated, Any

import numpy as np
import typer
import xarray as xr
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy import integrate, optimize
from scipy.interpolate import CubicSpline
from scipy.special import gamma
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.particles import Logarithmic, StochasticHeun

LOSS = 6 * pk.potentials.DoubleWell() + pk.potentials.Linear(0.4)
DEEP, SADDLE, SHALLOW = np.sort(np.roots([6, 0, -6, 0.4]).real)
HEIGHTS = LOSS(np.array([[DEEP], [SADDLE], [SHALLOW]]))
DEPTH = float(HEIGHTS[1] - HEIGHTS[2])  # of the shallow well: the critical constant
RISE = float(HEIGHTS[2] - HEIGHTS[0])  # ΔE
PREFACTOR = sqrt((18 * SHALLOW**2 - 6) * (6 - 18 * SADDLE**2)) / (2 * pi)  # A in rate A e^(-βd)
KAPPA = sqrt((3 * DEEP**2 - 1) / (3 * SHALLOW**2 - 1))  # of the share at rest, κ e^(-βΔE)
BOX = (-2.0, 2.0)
BETAS = (3.6, 4.8, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # of the line
WARM = (2.0, 3.0)  # β at which particles leave their wells, both ways
LOOK, SELDOM = 0.02, 0.1  # time between two looks at a particle
MISSED = 0.5826  # -ζ(1/2)/sqrt(2π)
DT = 0.01
PLANE = pk.potentials.MullerBrown()
PLANE_BETAS = (0.06, 0.08, 0.12, 0.16, 0.24, 0.32, 0.64)
PLANE_DT = 1e-4
EDGE = 1.2  # y beyond which the deepest well of the plane counts as reached
START, START_LAW = 2.0, pk.Gaussian(SHALLOW, 0.2)  # β(0) and law of every schedule
PRINTED = 0.5  # log(t + 1) of the thesis, whose noise is half of ours
CONSTANTS = {"c = 1/2, as printed": PRINTED, "c = d": DEPTH, "c = 1.3 d": 1.3 * DEPTH}
RAMP = 0.05  # dβ/dt
HORIZON = 1e8
EXITS = {"saddle": "to the saddle", "well": "to the other well", "back": "back"}
COLOURS = dict(zip([*CONSTANTS, "linear"], ("tab:red", "black", "tab:blue", "tab:orange"),
                   strict=True))  # fmt: skip


# ---- schedules -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """β(t) = START + rate t."""

    rate: float

    def __call__(self, t: float) -> float:
        return START + self.rate * t


@dataclass(frozen=True)
class Geometric:
    """β(t) = START exp(rate t)."""

    rate: float

    def __call__(self, t: float) -> float:
        return START * exp(self.rate * t)


def _logarithmic(c: float) -> Logarithmic:
    """log(t + shift)/c, which is START at t = 0."""
    return Logarithmic(c, exp(c * START))


SCHEDULES: dict[str, Callable[[float], float]] = {
    **{name: _logarithmic(c) for name, c in CONSTANTS.items()},
    "linear": Linear(RAMP),
}


# ---- results -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """Of one temperature: barrier β ΔV, Kramers' rate of leaving both ways, and by the equation."""

    barrier: float
    kramers: float  # mean time out of the shallower well
    kramers_gap: float  # 1/τ + 1/τ' by Kramers
    gap: float
    there: float  # mean first passage from the shallower to the deeper minimum
    back: float
    to_saddle: float = np.nan

    @property
    def rates(self) -> float:
        """1/τ + 1/τ'."""
        return 1 / self.there + 1 / self.back

    @property
    def coefficient(self) -> float:
        """c₁ in gap = Kramers'/(1 + c₁/(β ΔV))."""
        return self.barrier * (self.kramers_gap / self.gap - 1)


@dataclass(frozen=True)
class Measured:
    """A mean over particles and its standard error, and what it should be."""

    mean: float
    error: float
    exact: float
    plain: float = np.nan  # as if particles were watched all the time

    @property
    def deviations(self) -> float:
        return abs(self.mean - self.exact) / self.error


@dataclass(frozen=True)
class Density:
    """Fields at times, as `pk.compare` takes them."""

    u: xr.DataArray
    grid: pk.Grid


@dataclass(frozen=True)
class Cooling:
    """One schedule: the share in the shallow well by three routes."""

    density: Density
    reduced: np.ndarray  # by the chain of two states
    particles: Any = None
    p_value: float = np.nan

    @property
    def times(self) -> np.ndarray:
        return self.density.u.time.values

    @property
    def share(self) -> np.ndarray:
        return _shares(self.density.u.values, self.density.grid)


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    line: dict[float, Times]
    plane: dict[float, Times]
    slope: float  # -d log(gap)/dβ for large β
    coefficient: float  # c₁ by the equation
    warm_gap: float  # at the second of WARM, by the equation
    exits: dict[tuple[float, str], Measured]
    plane_p_value: float  # of particles in the plane against their density
    commitment: Measured  # from the saddle
    cooled: dict[str, Cooling]
    law: float  # L1 distance of the density by pieces from that of the law with β(t)
    scan: tuple[np.ndarray, np.ndarray, np.ndarray]  # c, times, shares (c, time)
    ramps: dict[float, tuple[float, float]]  # rate -> share left: by the equation, by the formula
    geometric: dict[float, float]  # rate -> share left
    horizon: tuple[float, float]  # left at HORIZON by a ramp, and by the best logarithm
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and particles.")] = False,
    cells: Annotated[int | None, typer.Option(min=200, help="Cells of the line.")] = None,
    particles: Annotated[int | None, typer.Option(min=100, help="Particles a schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Of all particles.")] = 0,
) -> Results:
    """Times, exits, cooling."""
    cells, grid = cells or (1000 if quick else 4000), pk.Grid(*BOX, 400)
    particles, until = particles or (1_000 if quick else 4_000), 2 if quick else 3
    with tqdm(total=5, desc="metastability", unit="stage") as bar:
        fine, side = pk.Grid(*BOX, cells), 96 if quick else 128
        line = {beta: _line(beta, fine) for beta in BETAS}
        slope, coefficient = _asymptotics(fine)
        plane = {beta: _plane(beta, side) for beta in PLANE_BETAS}
        bar.update()
        warm_gap = pk.spectral_gap(pk.FokkerPlanck(LOSS, WARM[-1]), fine)
        exits = _exits(fine, particles, seed)
        commitment = _committed(fine, 5 * particles, seed + 1)
        plane_p_value = _plane_leaving(200, particles, seed + 2)
        bar.update()
        chain = _chain(pk.Grid(*BOX, 1000))
        cooled = {
            name: _cooling(schedule, chain, grid, particles, until, seed + 10 + k)
            for k, (name, schedule) in enumerate(SCHEDULES.items())
        }
        bar.update()
        law = _law(cooled["c = 1.3 d"], grid)
        bar.update()
        scan = _scan(chain, 20 if quick else 39)
        ramps = {rate: (_ramp(rate, grid), _left(rate)) for rate in (1e-2, 1e-4, 1e-6, 1e-8)}
        geometric = {rate: _geometric(rate, chain) for rate in (1e-1, 1e-2, 1e-3)}
        horizon = _ramp(20 / HORIZON, grid), float(scan[2][:, scan[1] == HORIZON].min())
        bar.update()
    results = Results(
        line, plane, slope, coefficient, warm_gap, exits, plane_p_value, commitment, cooled, law,
        scan, ramps, geometric, horizon, {},
    )  # fmt: skip
    results.numbers.update(_numbers(results))
    return results


# ---- times of escape by the equation -------------------------------------------------------------


def _line(beta: float, grid: pk.Grid) -> Times:
    out, into = (pk.kramers_time(LOSS, a, SADDLE, beta) for a in (SHALLOW, DEEP))
    return Times(
        beta * DEPTH,
        out,
        1 / out + 1 / into,
        pk.spectral_gap(pk.FokkerPlanck(LOSS, beta), grid, extrapolate=True),
        _passage(beta, SHALLOW, (-np.inf, DEEP), grid),
        _passage(beta, DEEP, (SHALLOW, np.inf), grid),
        _passage(beta, SHALLOW, (-np.inf, SADDLE), grid),
    )


def _passage(beta: float, start: float, target: tuple[float, float], grid: pk.Grid) -> float:
    time = pk.mean_first_passage_time(pk.FokkerPlanck(LOSS, beta), grid, target)
    return float(time.interp(x=start, method="cubic"))


def _plane(beta: float, cells: int) -> Times:
    """Müller-Brown: from the second deepest minimum over the higher saddle to the deepest."""
    deep, saddle, shallow = _critical_points()
    with warnings.catch_warnings():  # a shallow well lies between, and no higher saddle
        warnings.simplefilter("ignore", pk.AccuracyWarning)
        out, into = (pk.kramers_time(PLANE, a, saddle, beta) for a in (shallow, deep))
    return Times(
        beta * float(PLANE(saddle) - PLANE(shallow)),
        out,
        1 / out + 1 / into,
        pk.spectral_gap(pk.FokkerPlanck(PLANE, beta), _plane_grid(cells), extrapolate=True),
        _plane_passage(beta, shallow, ((-np.inf, EDGE), (np.inf, np.inf)), cells),
        _plane_passage(beta, deep, ((0.4, -np.inf), (np.inf, 0.2)), cells),
    )


def _plane_grid(cells: int) -> pk.Grid:
    return pk.Grid((-1.5, -0.3), (1.2, 2.0), (cells, cells))


def _plane_passage(beta: float, start: np.ndarray, target: Any, cells: int) -> float:
    equation = pk.FokkerPlanck(PLANE, beta)
    with warnings.catch_warnings():
        # from cell to cell times jump between the basins high up on the walls, which is not where
        # they are read; the gap, which warns of the wells, checks them
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        time = pk.mean_first_passage_time(equation, _plane_grid(cells), target)
    return float(time.interp(x=start[0], y=start[1], method="cubic"))


def _critical_points() -> list[np.ndarray]:
    """The deepest minimum, the saddle, and the minimum next to the deepest in depth."""
    near = ((-0.558, 1.442), (-0.822, 0.624), (0.623, 0.028))
    return [optimize.root(PLANE.grad, x, tol=1e-13).x for x in near]


def _asymptotics(grid: pk.Grid) -> tuple[float, float]:
    """-d log(gap)/dβ and c₁ as β -> ∞: from β, 2β and 4β, each cleared of its next order."""
    betas = 40.0 * 2.0 ** np.arange(3)
    found = [_line(beta, grid) for beta in betas]
    c = [t.coefficient for t in found]
    slopes = -np.diff([log(t.gap) for t in found]) / np.diff(betas)
    once = 2 * np.array(c[1:]) - c[:-1]
    return float((4 * slopes[1] - slopes[0]) / 3), float((4 * once[1] - once[0]) / 3)


def _coefficient() -> float:
    """c₁ by Laplace's method at the minimum and at the saddle, V'' = 6 (3x² - 1), V''' = 36 x."""
    at = {x: (6 * (3 * x * x - 1), 36 * x, 36.0) for x in (SHALLOW, SADDLE)}
    return DEPTH * sum(
        5 * third**2 / (24 * abs(second) ** 3) - np.sign(second) * fourth / (8 * second**2)
        for second, third, fourth in at.values()
    )


# ---- exits of particles --------------------------------------------------------------------------


def _exits(grid: pk.Grid, count: int, seed: int) -> dict[tuple[float, str], Measured]:
    """First exits to the saddle, to the other well, and back."""
    made = {}
    for beta in WARM:
        dynamics = pk.Langevin(LOSS, beta, StochasticHeun())
        for name, start, target, look in (
            ("saddle", SHALLOW, SADDLE, LOOK), ("well", SHALLOW, DEEP, LOOK),
            ("back", DEEP, SHALLOW, SELDOM),
        ):  # fmt: skip
            seed, side = seed + 1000, np.sign(target - start)
            starts = np.full((count // (8 if name == "back" else 1), 1), start)
            times = _first_seen(
                dynamics, starts, look, DT, seed,
                lambda x, to=target, side=side: side * (x[..., 0] - to) >= 0,
            )  # fmt: skip
            made[beta, name] = _measured(times, *_expected(beta, start, target, look, grid))
    return made


def _first_seen(
    dynamics: Any, x: np.ndarray, look: float, dt: float, seed: int, beyond: Callable[[Any], Any]
) -> np.ndarray:
    """Times at which particles are first seen ``beyond``, at looks ``look`` apart."""
    looks, found, before = look * np.arange(1, 1001), [], 0.0
    while len(x):
        x = pk.simulate(dynamics, x, len(x), looks, dt, seed=seed).x.values
        there = beyond(x)
        done = there.any(0)
        found.append(before + looks[there.argmax(0)[done]])
        x, before, seed = x[-1][~done], before + looks[-1], seed + 1
    return np.concatenate(found)


def _further(beta: float, look: float) -> float:
    """How much further away a target seems to particles that are looked at now and then."""
    return MISSED * sqrt(2 * look / beta)


def _expected(
    beta: float, start: float, target: float, look: float, grid: pk.Grid
) -> tuple[float, float]:
    """Mean first passage by the equation: seen at looks, and watched all the time."""
    side = np.sign(target - start)
    edges = (target + side * _further(beta, look), target)
    beyond = [(e, np.inf) if side > 0 else (-np.inf, e) for e in edges]
    seen, plain = (_passage(beta, start, b, grid) for b in beyond)
    return seen, plain


def _measured(values: np.ndarray, exact: float, plain: float = np.nan) -> Measured:
    error = float(values.std(ddof=1) / values.size**0.5)
    return Measured(float(values.mean()), error, exact, plain)


def _committed(grid: pk.Grid, count: int, seed: int) -> Measured:
    """Share of the particles at the saddle that reach the deep minimum before the shallow one."""
    beta, looks = WARM[-1], LOOK * np.arange(1, 201)
    dynamics, x = pk.Langevin(LOSS, beta, StochasticHeun()), np.full((count, 1), SADDLE)
    places = pk.simulate(dynamics, x, count, looks, DT, seed=seed).x.values[..., 0]
    low, high = (
        np.where(hit.any(0), hit.argmax(0), looks.size)
        for hit in (places <= DEEP, places >= SHALLOW)
    )
    more = _further(beta, LOOK)
    q = pk.committor(pk.FokkerPlanck(LOSS, beta), grid, (SHALLOW + more, np.inf),
                     (-np.inf, DEEP - more))  # fmt: skip
    return _measured((low < high)[low != high].astype(float), float(q.interp(x=SADDLE)))


def _plane_leaving(cells: int, count: int, seed: int) -> float:
    """p-value of particles that leave the shallow well of the plane against their density."""
    _, _, shallow = _critical_points()
    start, times = pk.Gaussian(shallow, 0.05), (0.1, 0.3)
    dynamics = pk.Langevin(PLANE, PLANE_BETAS[0], StochasticHeun())
    grid = pk.Grid((-3.2, -1.2), (1.8, 3.0), (cells, cells))
    density = pk.solve(dynamics.law(), grid, start, times, pk.schemes.Krylov(1e-6))
    ensemble = pk.simulate(dynamics, start, count, times, PLANE_DT, seed=seed)
    return float(pk.compare(density, ensemble).p_value)


# ---- cooling -------------------------------------------------------------------------------------


def _shares(fields: np.ndarray, grid: pk.Grid) -> np.ndarray:
    """Probability right of the saddle."""
    return np.asarray(grid.integrate(np.where(grid.axes[0] > SADDLE, fields, 0.0)))


def _clock(decades: int, pieces: int = 32) -> np.ndarray:
    """Times from 0 on, among them 1, 10, ..., even in log(1 + t) from one to the next."""
    ends = np.log1p([0.0, *10.0 ** np.arange(decades + 1)])
    inner = [np.linspace(a, b, pieces + 1)[1:] for a, b in pairwise(ends)]
    return np.expm1(np.concatenate([[0.0], *inner]))


def _cooled(schedule: Any, times: np.ndarray, grid: pk.Grid) -> np.ndarray:
    """The density at ``times[1:]``: from t to t', β(t) half of the time and β(t') the other.

    Of second order in t' - t; each half is exact in time, so that it may be 1e12 long.
    """
    rho, fields = START_LAW, []
    for pair in pairwise(times):
        for t in pair:
            half = (pair[1] - pair[0]) / 2
            rho = pk.solve(pk.FokkerPlanck(LOSS, schedule(t)), grid, rho, half).fields[-1]
        fields.append(rho)
    return np.array(fields)


def _chain(grid: pk.Grid) -> tuple[CubicSpline, CubicSpline]:
    """log of the gap, and of the share of the shallow well at rest, over β."""
    betas = np.concatenate([np.arange(1, 12, 0.25), np.arange(12, 100.0)])
    gap = [pk.spectral_gap(pk.FokkerPlanck(LOSS, b), grid) for b in betas]
    weights = np.exp(-betas[:, None] * (LOSS(grid.centres) - HEIGHTS[0]))
    share = _shares(weights, grid) / grid.integrate(weights)
    return CubicSpline(betas, np.log(gap)), CubicSpline(betas, np.log(share))


def _reduced(schedule: Any, times: np.ndarray, chain: Any) -> np.ndarray:
    """Two states: p' = -gap(β(t)) (p - share at rest), p(0) = 1; in the clock log(1 + t)."""
    rate, rest = chain

    def slope(s: float, p: np.ndarray) -> np.ndarray:
        beta = schedule(np.expm1(s))
        return -np.exp(s + rate(beta)) * (p - np.exp(rest(beta)))

    clock = np.log1p(times)
    found = integrate.solve_ivp(slope, (0, clock[-1]), [1.0], "LSODA", clock, rtol=1e-9, atol=1e-14)
    return found.y[0]


def _cooling(
    schedule: Any, chain: Any, grid: pk.Grid, count: int, until: int, seed: int
) -> Cooling:
    times = _clock(3 if schedule == SCHEDULES["linear"] else 12)
    u = xr.DataArray(_cooled(schedule, times, grid), {"time": times[1:], "x": grid.axes[0]},
                     ("time", "x"))  # fmt: skip
    density = Density(u, grid)
    dynamics = pk.AnnealedLangevin(LOSS, schedule, StochasticHeun())
    seen = pk.simulate(dynamics, START_LAW, count, 10.0 ** np.arange(until + 1), DT, seed=seed)
    p_value = pk.compare(density, seen).p_value
    return Cooling(density, _reduced(schedule, times, chain)[1:], seen, p_value)


def _law(cooling: Cooling, grid: pk.Grid) -> float:
    """L1 distance of the density by pieces of time from that of the equation with β(t), t = 10."""
    law = cooling.particles.dynamics.law()
    there = pk.solve(law, grid, START_LAW, 10.0).fields[-1]
    here = cooling.density.u.sel(time=10.0, method="nearest").values
    return float(grid.integrate(np.abs(there - here)))


def _scan(chain: Any, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares left at times by logarithms of many constants."""
    constants, times = np.linspace(0.3, 2.2, count) * DEPTH, np.array([1e2, 1e4, 1e8, 1e12])
    shares = [_reduced(_logarithmic(c), np.array([0.0, *times]), chain)[1:] for c in constants]
    return constants, times, np.array(shares)


def _ramp(rate: float, grid: pk.Grid) -> float:
    """Share left by a linear β, by the equation; nothing crosses any more at β = 40."""
    fields = _cooled(Linear(rate), np.arange(0, 38, 0.1) / rate, grid)
    return float(_shares(fields[-1], grid))


def _left(rate: float) -> float:
    """The same for slow ramps: κ Γ(1 + α) (rate d/A)^α, α = ΔE/d; A, κ the limits of Laplace."""
    power = RISE / DEPTH
    return KAPPA * gamma(1 + power) * (rate * DEPTH / PREFACTOR) ** power


def _geometric(rate: float, chain: Any) -> float:
    """Share left by a geometric β, by the chain of two states, at β = 90."""
    return float(_reduced(Geometric(rate), np.array([0, log(90 / START) / rate]), chain)[-1])


# ---- what is claimed -----------------------------------------------------------------------------


def _at(cooling: Cooling, t: float) -> float:
    return float(cooling.share[np.abs(cooling.times / t - 1).argmin()])


def _by_particles(cooling: Cooling) -> tuple[np.ndarray, np.ndarray]:
    """Share in the shallow well and its standard error, at the times of the particles."""
    x = cooling.particles.x.values[..., 0]
    share = (x > SADDLE).mean(1)
    return share, np.sqrt(share * (1 - share) / x.shape[1])


def _excess(cooling: Cooling) -> tuple[float, float]:
    """Share over that at rest at t = 1e12 for c = d, and A/(A - α) with A at that temperature."""
    beta = SCHEDULES["c = d"](1e12)
    rate = PREFACTOR / (1 + _coefficient() / (beta * DEPTH))
    weights = np.exp(-beta * (LOSS(cooling.density.grid.centres) - HEIGHTS[0]))
    grid = cooling.density.grid
    rest = float(_shares(weights, grid) / grid.integrate(weights))
    return _at(cooling, 1e12) / rest, rate / (rate - RISE / DEPTH)


def _exponent(cooling: Cooling) -> float:
    """-d log(share)/d log(t) from 1e10 to 1e12."""
    return -log(_at(cooling, 1e12) / _at(cooling, 1e10)) / log(100)


def _numbers(results: Results) -> dict[str, Any]:
    def row(t: Times) -> dict[str, float]:
        return {"barrier": t.barrier, "kramers": t.kramers, "passage": t.there, "back": t.back,
                "gap": t.gap}  # fmt: skip

    return {
        "depth": DEPTH,
        "rise": RISE,
        "line": {f"{b:g}": row(t) | {"to_saddle": t.to_saddle} for b, t in results.line.items()},
        "plane": {f"{b:g}": row(t) for b, t in results.plane.items()},
        "slope_of_log_gap": results.slope,
        "coefficient": [results.coefficient, _coefficient()],
        "exits": {f"{b:g} {name}": [m.mean, m.error, m.exact, m.plain]
                  for (b, name), m in results.exits.items()},
        "commitment": [results.commitment.mean, results.commitment.error, results.commitment.exact],
        "cooled": {
            name: {
                "share": {f"{t:.0e}": _at(c, t) for t in 10.0 ** np.arange(13)
                          if t < 1.01 * c.times[-1]},
                "particles": np.stack(_by_particles(c)).tolist(),
                "p_value": c.p_value,
            }
            for name, c in results.cooled.items()
        },
        "exponent": [_exponent(results.cooled["c = 1.3 d"]), RISE / (1.3 * DEPTH)],
        "excess_at_the_critical_constant": list(_excess(results.cooled["c = d"])),
        "ramps": {f"{r:g}": list(pair) for r, pair in results.ramps.items()},
        "geometric": {f"{r:g}": share for r, share in results.geometric.items()},
        "horizon": list(results.horizon),
        "law": results.law,
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return _of_times(results) + _of_exits(results) + _of_cooling(results)


def _of_times(results: Results) -> list[Claim]:
    line, plane = results.line, results.plane
    high = [t for t in line.values() if t.barrier > 6]
    cold, colder = plane[0.32], plane[0.64]
    return [
        at_most("the gap is 1/τ + 1/τ' of passages for β ΔV > 6: relative difference",
                max(abs(t.gap / t.rates - 1) for t in high), 2e-3),
        at_least("but not at β ΔV = 4: relative difference",
                 abs(line[3.6].gap / line[3.6].rates - 1), 0.01),
        at_most("the saddle takes half of the time at β = 32: 2 τ_s/τ off 1 by",
                abs(2 * line[32.0].to_saddle / line[32.0].there - 1), 0.1),
        at_most("Kramers' c₁ by the equation and by Laplace's method, relative difference",
                abs(results.coefficient / _coefficient() - 1), 0.02),
        at_least("Kramers' time at β ΔV = 4 too short by",
                 line[3.6].there / line[3.6].kramers - 1, 0.05),
        at_most("-d log(gap)/dβ is the depth d: relative difference",
                abs(results.slope / DEPTH - 1), 1e-4),
        at_most("Müller-Brown: gap against 1/τ + 1/τ' for β ΔV > 8, relative difference",
                max(abs(t.gap / t.rates - 1) for t in plane.values() if t.barrier > 8), 5e-3),
        at_most("Müller-Brown: Kramers with determinants off at β ΔV = 43",
                abs(colder.kramers_gap / colder.gap - 1), 0.05),
        at_most("Müller-Brown: c₁ at β ΔV = 22 and 43, difference",
                abs(cold.coefficient - colder.coefficient), 0.3),
    ]  # fmt: skip


def _of_exits(results: Results) -> list[Claim]:
    exits = results.exits
    cold = WARM[-1]
    rate = 1 / exits[cold, "well"].mean + 1 / exits[cold, "back"].mean
    unseen = [abs(m.plain - m.mean) / m.error for (_, name), m in exits.items() if name == "saddle"]
    made = [
        at_most(f"β = {b:g}, {EXITS[name]}: first exits, standard errors off", m.deviations, 4)
        for (b, name), m in exits.items()
    ]
    return [
        *made,
        at_most("gap by exits of particles both ways at β ΔV = 3.4: relative difference",
                abs(rate / results.warm_gap - 1), 0.06),
        at_least("without the correction exits at the saddle are off, least standard errors",
                 min(unseen), 4),
        at_least("Müller-Brown: particles that leave follow their density: p-value",
                 results.plane_p_value, 1e-3),
        at_most("share of particles at the saddle that go on: standard errors off the committor",
                results.commitment.deviations, 4),
    ]  # fmt: skip


def _of_cooling(results: Results) -> list[Claim]:
    cooled = results.cooled
    printed, critical, above = (cooled[name] for name in CONSTANTS)
    ratio, predicted = _excess(critical)
    constants, _, shares = results.scan
    ramps = results.ramps
    left, best = results.horizon
    return [
        *(at_least(f"{name}: particles follow their density: p-value", c.p_value, 1e-3)
          for name, c in cooled.items()),
        *(at_most(f"{name}: two states against the equation from t = 10, relative difference",
                  np.abs(c.reduced / c.share - 1)[c.times >= 10].max(), 0.03)
          for name, c in cooled.items()),
        at_most("the density by pieces of time and by the equation with β(t), t = 10: L1",
                results.law, 2e-3),
        at_least("log(t + 1) as printed: share left in the shallow well at t = 1e12",
                 _at(printed, 1e12), 0.5),
        at_most("of which the last six decades changed, relative",
                abs(_at(printed, 1e12) / _at(printed, 1e6) - 1), 1e-3),
        at_most("c = d and 1.3 d: share left at t = 1e12",
                max(_at(critical, 1e12), _at(above, 1e12)), 1e-5),
        at_most("c = 1.3 d: it falls as t^(-ΔE/c): exponent off, relative",
                abs(_exponent(above) / (RISE / (1.3 * DEPTH)) - 1), 0.01),
        at_most("c = d: above the share at rest by A/(A - ΔE/d), relative difference",
                abs(ratio / predicted - 1), 0.02),
        at_most("the best constant at t = 1e12 over d, off 1 by",
                abs(constants[shares[:, -1].argmin()] / DEPTH - 1), 0.15),
        at_least("a linear β traps at every rate: share left at 1e-8", ramps[1e-8][0], 1e-7),
        at_most("what it leaves at 1e-8 against κ Γ(1 + α) (rate d/A)^α, relative difference",
                abs(ramps[1e-8][0] / ramps[1e-8][1] - 1), 0.05),
        at_least("a geometric β leaves, at rate 1e-3", results.geometric[1e-3], 1e-3),
        at_most("a ramp made for t = 1e8 leaves what the best logarithm does, times",
                left / best, 5),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Kramers' law over the barrier, cooling over time, and the constant of the logarithm."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    rates, cooling, scan = figure.subplots(1, 3)
    _rates_panel(rates, results)
    _cooling_panel(cooling, results)
    _scan_panel(scan, results)
    return figure


def _rates_panel(ax: Any, results: Results) -> None:
    for times, colour, marker, label in (
        (results.line, "tab:blue", "o", "double well"),
        (results.plane, "tab:orange", "s", "Müller-Brown"),
    ):
        inverse = [1 / t.barrier for t in times.values()]
        ax.plot(inverse, [t.there / t.kramers for t in times.values()], marker + "-", mfc="none",
                color=colour, ms=5, label=f"{label}: mean passage")  # fmt: skip
        ax.plot(inverse, [t.kramers_gap / t.gap for t in times.values()], marker + ":", ms=3,
                color=colour, label=f"{label}: 1/gap")  # fmt: skip
    for beta in WARM:
        m, kramers = results.exits[beta, "well"], exp(beta * DEPTH) / PREFACTOR
        ax.errorbar(1 / (beta * DEPTH), m.mean / kramers, 3 * m.error / kramers, fmt="x",
                    color="black", ms=7, label="particles' exits" * (beta == WARM[0]))  # fmt: skip
    reach = np.array([0, 0.2])
    ax.plot(reach, 1 + _coefficient() * reach, color="0.5", lw=1, label="1 + c₁/(β ΔV)")
    ax.set(xlabel="1/(β ΔV)", ylabel="over Kramers'", title="how long wells hold")
    ax.set(xlim=(0, 0.5), ylim=(0.9, 2.6))
    ax.legend(fontsize=7, frameon=False, loc="upper left")


def _cooling_panel(ax: Any, results: Results) -> None:
    for name, c in results.cooled.items():
        shown = c.times >= 0.1
        ax.loglog(c.times[shown], c.share[shown], color=COLOURS[name], label=name)
        share, error = _by_particles(c)
        ax.errorbar(c.particles.x.time, share, 2 * error, fmt="o", mfc="none", ms=5,
                    color=COLOURS[name])  # fmt: skip
    ax.loglog([], [], "o", mfc="none", color="0.4", label="particles")
    t = np.array([1e4, 1e12])
    for name, c in list(CONSTANTS.items())[1:]:
        ax.loglog(t, 3 * _at(results.cooled[name], 1e4) * (t / 1e4) ** (-RISE / c), ":", lw=1,
                  color=COLOURS[name], label="t^(-ΔE/c)" * (c == DEPTH))  # fmt: skip
    ax.set(xlabel="t", ylabel="share in the shallow well", title="β = log(t)/c and linear",
           ylim=(1e-9, 2))  # fmt: skip
    ax.legend(fontsize=7, frameon=False, loc="lower left")


def _scan_panel(ax: Any, results: Results) -> None:
    constants, times, shares = results.scan
    for t, share, shade in zip(times, shares.T, (0.35, 0.55, 0.75, 0.95), strict=True):
        ax.semilogy(constants / DEPTH, share, color=colormaps["Blues"](shade),
                    label=f"t = 1e{log10(t):.0f}")  # fmt: skip
    ax.axvline(1, color="black", lw=1, ls="--")
    ax.axvline(PRINTED / DEPTH, color="tab:red", lw=1, ls="--")
    ax.text(1.02, 0.5, "c = d", fontsize=8)
    ax.text(PRINTED / DEPTH + 0.02, 1e-7, "as printed", fontsize=8, color="tab:red")
    ax.set(xlabel="c/d", ylabel="share in the shallow well", title="β = log(t)/c over c")
    ax.legend(fontsize=7, frameon=False, loc="lower right")
