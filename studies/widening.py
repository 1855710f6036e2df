"""Do convex regions widen, and faster than under the heat equation? Thesis examples 4.12 to 4.15.

The thesis says that without viscosity the intervals on which u is convex contain those of f until
the slopes break, that curvature falls to 1/(1/C + t) whatever C was, and that "for short times"
both Hamilton-Jacobi equations widen faster than heat. What holds:

* the curvature of a parabola, c/(1 + c t), and of the rippled loss, by the equations and by
  particles of the fast process (what is printed for the parabola's u and its rate does not: errata
  33);
* Burgers' equation: slopes by characteristics until t* = -1/inf f'', then a shock of the jump that
  equal areas give;
* ends of convex intervals move with the slope, x + t f'(x), outwards from a minimum, until t*;
* "faster than heat" is half the truth: under heat a ripple a sin(kx) loses curvature at the rate
  k²/(2β), under Hamilton-Jacobi at a k². Ripples lower than a = 1/(2β), half a temperature, go
  faster under heat; deep ones barely move.

Equations: mathematics 1.1 to 1.3, 1.8.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import optimize
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.comparison.semiconcavity import convex_intervals

BETA = 10.0
STEEP = (1e2, 1e4, 1e8)  # curvatures of parabolas
SOON = 0.01  # the time at which the thesis looks at them
HEIGHTS = (0.4, 2.0, 10.0)  # of ripples, in units of 1/(2β)
WAVE = 3.0
WINDOW = (-4.0, 4.0)


@dataclass(frozen=True)
class Ripple:
    """f(x) = a sin(k x)."""

    a: float
    k: float
    dim: int = 1

    def __call__(self, x: Any) -> Any:
        return self.a * np.sin(self.k * x[..., 0])


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    parabolas: dict[float, tuple[float, float]]  # c -> curvature at SOON, measured and exact
    printed: float  # what the printed u of a parabola is off by
    curvature: Any  # pk.widening of the rippled loss
    sampled: tuple[np.ndarray, np.ndarray, np.ndarray]  # particles, standard errors, exact u_xx
    shock_times: tuple[float, float]  # of the rippled loss and of a sine
    slopes: list[pk.Solution]  # of Burgers' equation, before and after the shock
    before: tuple[float, float]  # error of slopes on a grid and on one twice as fine
    jump: tuple[float, float]  # measured and exact, at t = 2 t*
    ends: tuple[np.ndarray, np.ndarray, np.ndarray]  # times, measured and exact ends (time, 2)
    cell: float
    races: dict[float, tuple[float, float]]  # height -> rates at which curvature falls: heat, HJ
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and particles.")] = False,
    cells: Annotated[int | None, typer.Option(min=100, help="Cells of the line.")] = None,
    particles: Annotated[int | None, typer.Option(min=100, help="Particles at a point.")] = None,
    seed: Annotated[int, typer.Option(help="Of the particles.")] = 0,
) -> Results:
    """Parabolas, the rippled loss, Burgers' equation, convex intervals and the race."""
    cells = cells or (800 if quick else 3200)
    particles = particles or (10_000 if quick else 100_000)
    loss, grid = pk.potentials.Rippled(), pk.Grid(-6, 6, cells)
    with tqdm(total=5, desc="widening", unit="stage") as bar:
        parabolas = {c: (_parabola(c, cells), 1 / (1 / c + SOON)) for c in STEEP}
        bar.update()
        times = np.linspace(0.02, 0.5, 13 if quick else 25)
        curvature = pk.widening(loss, BETA, grid, times, window=WINDOW)
        sampled = _sampled(loss, grid, particles, seed)
        bar.update()
        slopes, before, jump = _burgers(cells)
        bar.update()
        ends = _ends(loss, grid)
        bar.update()
        races = {a: _race(a / (2 * BETA), cells) for a in HEIGHTS}
        bar.update()
    results = Results(
        parabolas, _printed(), curvature, sampled,
        (pk.shock_time(loss, grid), pk.shock_time(Ripple(-1.0, 1.0), _circle(cells))),
        slopes, before, jump, ends, float(grid.spacing[0]), races, {},
    )  # fmt: skip
    results.numbers.update(_numbers(results))
    return results


def _circle(cells: int, wave: float = 1.0) -> pk.Grid:
    return pk.Grid(-np.pi / wave, np.pi / wave, cells, periodic=True)


# ---- curvature -----------------------------------------------------------------------------------


def _parabola(c: float, cells: int) -> float:
    """sup u_xx at SOON from c x²/2, without viscosity."""
    f, grid = pk.potentials.Quadratic(c), pk.Grid(-1, 1, cells)
    u = pk.solve(pk.HamiltonJacobi(), grid, f, SOON)
    found = pk.semiconcavity(u, f, constants=c, window=(-0.5, 0.5)).data
    return float(found["sup_xx"].values[-1])


def _printed(c: float = 4.0) -> float:
    """The printed u of example 4.12 at t = 0, where it should be c x²/2, in units of d/(2β)."""
    return float(abs(np.log(1 / c)))


def _sampled(
    loss: Any, grid: pk.Grid, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u_xx of the local entropy at some places, by particles and from the equation."""
    t, places = 0.1, np.linspace(-2, 2, 9)
    found = pk.sampled_curvature(loss, BETA, t, places, n=count, seed=seed).data
    u = pk.solve(pk.ViscousHJ(BETA), grid, loss, t)
    s = grid.spacing[0]
    low, middle, high = (u.at((places + k * s)[:, None]) for k in (-1, 0, 1))
    return (found["hessian"].values[:, 0, 0], found["hessian_error"].values[:, 0, 0],
            (low - 2 * middle + high) / s**2)  # fmt: skip


def _race(height: float, cells: int) -> tuple[float, float]:
    """Rates at which sup u_xx of a ripple falls at t = 0, under heat and without viscosity.

    From C(t) = C exp(-rate t) of the one and C / (1 + rate t) of the other, which are exact.
    """
    f, grid, t = Ripple(height, WAVE), _circle(cells, WAVE), 0.05 / (height * WAVE**2)
    curvature = []
    for equation in (pk.Heat(BETA), pk.HamiltonJacobi()):
        found = pk.semiconcavity(pk.solve(equation, grid, f, [0.0, t]), f).data
        curvature.append(found["sup_xx"].values)
    heat, hj = curvature
    return float(np.log(heat[0] / heat[1]) / t), float((hj[0] / hj[1] - 1) / t)


# ---- slopes --------------------------------------------------------------------------------------


def _burgers(cells: int) -> tuple[list[pk.Solution], tuple[float, float], tuple[float, float]]:
    """From p_0 = -sin x, whose shock is born at t* = 1 at the origin."""
    times = [0.5, 2.0]
    grids = [_circle(cells), _circle(2 * cells)]
    found = [pk.solve(pk.Burgers(), g, lambda x: -np.sin(x[..., 0]), times) for g in grids]
    errors = []
    for solution in found:
        faces = solution.grid.faces[0]
        u = np.array([_potential(x, 0.5) for x in faces])
        mean = np.diff(u) / solution.grid.spacing[0]
        errors.append(float(np.abs(solution.fields[0] - mean).max()))
    at = np.abs(found[1].grid.axes[0]) < 3 * found[1].grid.spacing[0]
    jump = float(np.ptp(found[1].fields[1][at]))
    foot = optimize.brentq(lambda y: y - 2 * np.sin(y), 1.0, np.pi)
    return found, (errors[0], errors[1]), (jump, 2 * float(np.sin(foot)))


def _potential(x: float, t: float) -> float:
    """u = f(y) + (x - y)²/(2t) at the foot y of the only characteristic, f = cos."""
    y = optimize.brentq(lambda y: y - t * np.sin(y) - x, x - 1, x + 1, xtol=1e-15)
    return float(np.cos(y) + (x - y) ** 2 / (2 * t))


def _ends(loss: Any, grid: pk.Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the convex interval round the lowest minimum, before t*, and x + t f'(x)."""
    times = np.linspace(0, 0.95, 9) * pk.shock_time(loss, grid)
    u = pk.solve(pk.HamiltonJacobi(), grid, loss, times).u
    well = float(optimize.minimize_scalar(lambda x: loss(np.array([x])), (0.5, 1.0, 1.5)).x)
    found = []
    for field in u:
        spans = convex_intervals(field).intervals
        found.append(spans[(spans[:, 0] < well) & (well < spans[:, 1])][0])
    bends = [optimize.brentq(lambda x: 0.2 - 9 * np.cos(3 * x), *ends)
             for ends in ((well - 1, well), (well, well + 1))]  # fmt: skip
    start = np.array(bends)
    return times, np.array(found), start + times[:, None] * loss.grad(start[:, None])[:, 0]


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    mean, error, exact = results.sampled
    return {
        "parabolas": {f"{c:g}": list(v) for c, v in results.parabolas.items()},
        "shock_times": list(results.shock_times),
        "burgers_error_before": list(results.before),
        "burgers_jump": list(results.jump),
        "ends": {"time": results.ends[0].tolist(), "found": results.ends[1].tolist(),
                 "exact": results.ends[2].tolist()},
        "rates": {f"{a:g}": list(v) for a, v in results.races.items()},
        "sampled": {"mean": mean.tolist(), "error": error.tolist(), "exact": exact.tolist()},
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = [
        at_most(f"c = {c:g}: curvature at t = {SOON:g} is 1/(1/c + t), relative difference",
                abs(found / exact - 1), 1e-3)
        for c, (found, exact) in results.parabolas.items()
    ]  # fmt: skip
    data = results.curvature
    over = {
        name: data[name].values - data["bound"].values - data[f"allowance_{name}"].values
        for name in ("local_entropy", "non_viscous", "heat")
    }
    mean, error, exact = results.sampled
    made += [
        at_least("the printed u of a parabola starts elsewhere than c x²/2, by", results.printed,
                 1.0),
        at_most("rippled loss: local entropy keeps below 1/(1/C + t), above it by",
                over["local_entropy"].max(), 0),
        at_most("so does what has no viscosity", over["non_viscous"].max(), 0),
        at_least("heat does not, above it by", over["heat"].max(), 1.0),
        at_most("particles of the fast process find its curvature, largest deviation in "
                "standard errors", (np.abs(mean - exact) / error).max(), 4),
    ]  # fmt: skip
    return made + _of_the_slopes(results)


def _of_the_slopes(results: Results) -> list[Claim]:
    _, found, exact = results.ends
    coarse, fine = results.before
    rates = results.races
    return [
        at_most("shock time of the rippled loss is 1/8.8, relative difference",
                abs(results.shock_times[0] * 8.8 - 1), 1e-9),
        at_most("slopes before it are those of characteristics, off by", fine, 1e-5),
        at_least("of second order: error over that on cells half as wide", coarse / fine, 3.4),
        at_most("after it the jump is that of equal areas, relative difference",
                abs(results.jump[0] / results.jump[1] - 1), 0.01),
        at_most("ends of the convex interval move with the slope, off by cells",
                np.abs(found - exact).max() / results.cell, 1.5),
        at_least("outwards all the time: least step apart, in cells",
                 np.diff(np.abs(np.diff(found)), axis=0).min() / results.cell, 0),
        at_least("a ripple of ten halves of a temperature falls faster without viscosity: ratio",
                 rates[10.0][1] / rates[10.0][0], 5),
        at_least("one of two fifths falls faster under heat: ratio",
                 rates[0.4][0] / rates[0.4][1], 2),
        *(
            at_most(f"a = {a:g}/(2β): rates are k²/(2β) and a k², relative difference",
                    max(abs(heat / (WAVE**2 / (2 * BETA)) - 1),
                        abs(hj / (a / (2 * BETA) * WAVE**2) - 1)), 0.01)
            for a, (heat, hj) in rates.items()
        ),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Curvature over time, slopes, ends of convex intervals, and the race with heat."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (curvature, slopes), (ends, race) = figure.subplots(2, 2)
    _curvature_panel(curvature, results)
    _slopes_panel(slopes, results)
    _ends_panel(ends, results)
    _race_panel(race, results)
    return figure


def _curvature_panel(ax: Any, results: Results) -> None:
    data = results.curvature
    for name, label, colour in (("local_entropy", "local entropy", "tab:blue"),
                                ("non_viscous", "without viscosity", "tab:green"),
                                ("heat", "heat", "tab:red")):  # fmt: skip
        ax.plot(data.time, data[name], color=colour, label=label)
    ax.plot(data.time, data["bound"], color="black", ls=":", label="1/(1/C + t)")
    ax.set(xlabel="t", ylabel="sup u_xx", title=f"rippled loss, β = {BETA:g}", ylim=(0, None))
    ax.legend(fontsize=8, frameon=False)


def _slopes_panel(ax: Any, results: Results) -> None:
    solution = results.slopes[-1]
    x = solution.grid.axes[0]
    ax.plot(x, -np.sin(x), color="0.6", lw=1, label="t = 0")
    for t, p, colour in zip(solution.times, solution.fields, ("tab:blue", "tab:red"), strict=True):
        ax.plot(x, p, color=colour, label=f"t = {t:g}")
    ax.set(xlabel="x", ylabel="p = u_x", title="Burgers: a shock from t* = 1 on")
    ax.legend(fontsize=8, frameon=False)


def _ends_panel(ax: Any, results: Results) -> None:
    times, found, exact = results.ends
    ax.fill_betweenx(times, *found.T, color="tab:blue", alpha=0.25, label="u convex")
    ax.plot(exact, times, color="tab:blue", lw=1.2, label="_x + t f'(x)")
    ax.axhline(results.shock_times[0], color="0.4", ls=":", lw=1)
    ax.text(exact.mean(), 0.99 * results.shock_times[0], "t*", va="top", ha="center", fontsize=9)
    ax.set(xlabel="x", ylabel="t", title="the convex interval of a well widens until t*")
    ax.legend(fontsize=8, frameon=False, loc="center")


def _race_panel(ax: Any, results: Results) -> None:
    a = np.geomspace(0.2, 20, 50)
    unit = WAVE**2 / (2 * BETA)
    ax.loglog(a, np.ones_like(a) * unit, color="tab:red", lw=1, label="heat: k²/(2β)")
    ax.loglog(a, a * unit, color="tab:green", lw=1, label="Hamilton-Jacobi: a k²")
    for height, (heat, hj) in results.races.items():
        ax.loglog([height], [heat], "o", color="tab:red", ms=5)
        ax.loglog([height], [hj], "s", color="tab:green", ms=5)
    ax.set(xlabel="height a of a ripple, in units of 1/(2β)", ylabel="rate of the curvature",
           title="who is faster at first?")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
