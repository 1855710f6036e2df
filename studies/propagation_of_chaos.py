"""How well do N particles follow their limit? Rate N^-1/2, slower at the transition, and exchange.

N particles of the double well (x² - 1)²/4 drawn to their mean with λ = 1, against the McKean-Vlasov
equation, below, at and above the transition:

* at a fixed time the mean of a run scatters about the equation's as N^-1/2 at every temperature,
  with the constant that the linearised equation gives (Tanaka and Hitsuda 1981; Dawson 1983).
* in the long run it does not. Given a Gaussian field m the particles are independent, so that
  mean + N(0, 1/(beta λ N)) has the density Z(m)^N, Z(m) = ∫ exp(-beta (V + λ (x - m)²/2)): at the
  transition -log Z is flat to fourth order, and the mean scatters as N^-1/4 with the law
  exp(-c N m⁴) (Dawson 1983), after times of order N^1/2.
* above the transition a finite ensemble exchanges its two branches. Times between exchanges grow as
  exp(N beta ΔF), ΔF the free energy of the symmetric self-consistent state over the broken one:
  the equation's barrier, out of counted exchanges. The factor in front varies with 1/N: in part as
  the exact law of the mean, an N-fold convolution, says, the rest is fitted.

Statistical claims are at level 0.001 each. Equations: mathematics 1.6.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import stats
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most
from pdekit.pde.discrete.generators import scharfetter_gummel

WELL, PULL = pk.potentials.DoubleWell(), pk.CurieWeiss(1.0)
GRID, START, TIME = pk.Grid(-3.5, 3.5, 400), pk.Gaussian(0.8, 0.3), 2.0
BELOW, AT, ABOVE = "below", "at", "above"
COLD = 3.5  # inverse temperature of the exchanges
LEVEL = 0.001
QUICK_SIZES = {8: 6.0, 12: 4.0, 20: 2.0, 32: 1.0}
SIZES = {8: 5.0, 12: 5.0, 16: 4.0, 24: 2.0, 32: 1.5, 40: 1.0}
COLOURS = {BELOW: "tab:red", AT: "tab:purple", ABOVE: "tab:blue"}
Motion = Callable[[float], Any]  # inverse temperature -> dynamics


def particles(beta: float) -> pk.InteractingLangevin:
    """The dynamics whose limit is asked about."""
    return pk.InteractingLangevin(WELL, beta, PULL)


@dataclass(frozen=True)
class Fit:
    """Weighted least squares: coefficients, their standard errors, the columns' sum, and p."""

    values: np.ndarray
    errors: np.ndarray
    line: np.ndarray
    p_value: float


def fitted(columns: np.ndarray, y: np.ndarray, error: np.ndarray) -> Fit:
    """y = columns @ values, the errors of y being known."""
    scaled = columns / error[:, None]
    covariance = np.linalg.inv(scaled.T @ scaled)
    values = covariance @ scaled.T @ (y / error)
    misfit = float((((y - columns @ values) / error) ** 2).sum())
    p_value = float(stats.chi2.sf(misfit, y.size - values.size))
    return Fit(values, np.diag(covariance) ** 0.5, columns @ values, p_value)


@dataclass(frozen=True)
class FiniteTime:
    """The mean of a run at one time: what particles do, and what the equation says."""

    found: pk.Convergence
    mean: float
    variance: float  # N times that of the mean, as N -> infinity
    p_value: float  # of all particles against the density


@dataclass(frozen=True)
class LongRun:
    """Second moment of the mean of a run over sizes, after long times."""

    sizes: np.ndarray
    moment: np.ndarray
    error: np.ndarray  # standard errors
    exact: np.ndarray
    means: np.ndarray  # of the runs of the largest size

    @property
    def p_value(self) -> float:
        misfit = (((self.moment - self.exact) / self.error) ** 2).sum()
        return float(stats.chi2.sf(misfit, self.sizes.size))

    @property
    def exponent(self) -> tuple[float, float]:
        """Of the standard deviation, N^-exponent, and the half width of its interval."""
        columns = np.stack([np.log(self.sizes), np.ones(self.sizes.size)], -1)
        fit = fitted(columns, np.log(self.moment), self.error / self.moment)
        return -float(fit.values[0]) / 2, float(stats.norm.isf(LEVEL / 2) * fit.errors[0] / 2)


@dataclass(frozen=True)
class Exchanges:
    """Exchanges of the branches counted in a total time, over sizes."""

    sizes: np.ndarray
    counts: np.ndarray
    times: np.ndarray
    shape: np.ndarray  # log of the exact law's factor in front of exp(N beta ΔF), up to a constant
    barrier: float  # beta ΔF, of the equation

    @property
    def mean_time(self) -> np.ndarray:
        return self.times / self.counts

    @property
    def interval(self) -> np.ndarray:
        """Ends of the mean times' 99 % intervals: the counts are Poisson's."""
        low, high = stats.chi2.isf([[0.995], [0.005]], 2 * self.counts + [[0], [2]])
        return 2 * self.times / np.stack([high, low])

    @property
    def fit(self) -> "Fit":
        """log(mean time) = shape + growth N + constant + c / N."""
        n = self.sizes.astype(float)
        columns = np.stack([n, np.ones_like(n), 1 / n], -1)
        return fitted(columns, np.log(self.mean_time) - self.shape, self.counts**-0.5)

    @property
    def growth(self) -> tuple[float, float]:
        """Growth of the log of the mean time per particle, and the half width of its interval."""
        return float(self.fit.values[0]), float(stats.norm.isf(LEVEL / 2) * self.fit.errors[0])


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    betas: dict[str, float]
    finite: dict[str, FiniteTime]
    long: dict[str, LongRun]
    exchanges: Exchanges
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller runs.")] = False,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs of each size at the fixed time.")
    ] = None,
    exchanges: Annotated[
        int | None, typer.Option(min=1, help="Exchanges aimed at per size.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the particles' noise.")] = 0,
) -> Results:
    """Simulate runs of many sizes for a short and for a long time, and count exchanges."""
    critical = pk.critical_beta(WELL, PULL)
    betas = {BELOW: 0.8, AT: critical, ABOVE: 3.0}
    runs, target = runs or (100 if quick else 500), exchanges or (60 if quick else 300)
    sizes = (16, 48, 144) if quick else (16, 64, 256, 1024)
    waiting = QUICK_SIZES if quick else SIZES
    with tqdm(total=6, desc="propagation_of_chaos", unit="stage") as bar:
        finite = {}
        for name, beta in betas.items():
            finite[name] = finite_time(beta, runs, seed)
            bar.update()
        long = {}
        for name in (BELOW, AT):
            long[name] = long_run(
                betas[name], name == AT, sizes, 20_000 if quick else 120_000, seed
            )
            bar.update()
        counted = exchange(waiting, target, seed)
        bar.update()
    return Results(betas, finite, long, counted, _numbers(betas, finite, long, counted))


def finite_time(beta: float, runs: int, seed: int, motion: Motion = particles) -> FiniteTime:
    """Rate, limit and constant of the mean at a fixed time."""
    dynamics, equation = motion(beta), pk.McKeanVlasov(WELL, beta, PULL)
    found = pk.convergence(
        dynamics, START, lambda x: x[..., 0], TIME, n=(200, 800, 3200), dt=(0.1, 0.05),
        runs=runs, seed=seed, order=1.0, level=1 - LEVEL,
    )  # fmt: skip
    rho = pk.solve(equation, GRID, START, TIME)
    mean = float(GRID.integrate(GRID.axes[0] * rho.fields[-1]))
    ensemble = pk.simulate(dynamics, START, 2_000, TIME, 0.01, runs=20, seed=seed + 1)
    return FiniteTime(found, mean, fluctuation(equation), pk.compare(rho, ensemble).p_value)


def fluctuation(equation: pk.McKeanVlasov, steps: int = 100) -> float:
    """N Var of the mean at ``TIME`` as N -> infinity, by the adjoint of the linearised equation.

    √N (mean_N - mean) tends to a Gaussian of variance Var h(X_0) + 2/beta ∫∫ h_x² rho dx dt, where
    -h_t = -(V' + λ (x - m)) h_x + h_xx / beta + λ x ∫ h_x rho and h = x at the end.
    """
    grid = pk.Grid(-3.5, 3.5, 200)
    (x,) = grid.axes
    dt, one = TIME / steps, np.eye(grid.cells[0])
    slope = np.gradient(one, grid.spacing[0], axis=0)
    densities = pk.solve(equation, grid, START, dt * (np.arange(steps) + 0.5)).fields
    h, variance = x.copy(), 0.0
    for rho in densities[::-1]:
        U = WELL(grid.centres) + PULL.strength * (x - grid.integrate(x * rho)) ** 2 / 2
        step = scharfetter_gummel(U, equation.beta, grid).matrix().toarray()
        step += PULL.strength * np.outer(x, grid.spacing[0] * rho @ slope)
        before = np.linalg.solve(one - dt / 2 * step, h + dt / 2 * step @ h)
        middle = slope @ (h + before) / 2
        variance += dt * 2 / equation.beta * float(grid.integrate(middle**2 * rho))
        h = before
    rho = START.density(grid) / grid.integrate(START.density(grid))
    return variance + float(grid.integrate((h - grid.integrate(h * rho)) ** 2 * rho))


def long_run(
    beta: float, slow: bool, sizes: tuple[int, ...], budget: int, seed: int,
    motion: Motion = particles,
) -> LongRun:  # fmt: skip
    """Second moments of the mean from a narrow start about 0, seen three times after a long time.

    ``slow``: the mean forgets in times of order N^1/2 only. ``budget``: particles in all per size.
    """
    moments, errors, means = [], [], np.empty(0)
    for k, n in enumerate(sizes):
        runs = int(np.clip(budget // n, 100, 2_000))
        unit = 2 * n**0.5 if slow else 3.0
        times, start = unit * np.array([3.5, 4.5, 5.5]), pk.Gaussian(0.0, 0.6)
        ensemble = pk.simulate(motion(beta), start, n, times, 0.1, runs=runs, seed=seed + 31 * k)
        means = ensemble.x.values.mean((2, 3))
        second = (means**2).mean(0)
        moments.append(second.mean())
        errors.append(second.std(ddof=1) / runs**0.5)
    exact = [second_moment(beta, n) for n in sizes]
    arrays = (np.array(v) for v in (sizes, moments, errors, exact))
    return LongRun(*arrays, means.ravel())


def second_moment(beta: float, n: int) -> float:
    """E mean² under the stationary law of n particles: that of Z(m)^n less 1/(beta λ n)."""
    x, m = np.linspace(-4, 4, 801), np.linspace(-4, 4, 4001)[:, None]
    power = -beta * (WELL(x[:, None]) + PULL.strength * (x - m) ** 2 / 2)
    log_z = np.log(np.exp(power).sum(1))
    weight = np.exp(n * (log_z - log_z.max()))
    return float((weight * m[:, 0] ** 2).sum() / weight.sum() - 1 / (beta * PULL.strength * n))


def exchange(
    sizes: dict[int, float], target: int, seed: int, motion: Motion = particles
) -> Exchanges:
    """Counts of passages of the mean from beyond half of one branch to beyond half of the other.

    ``sizes``: with the multiple of ``target`` that is aimed at, more where it costs little.
    """
    equation = pk.McKeanVlasov(WELL, COLD, PULL)
    states = pk.self_consistent_states(equation, GRID)
    barrier = COLD * (states[1].free_energy - states[2].free_energy)
    half = states[2].mean / 2
    counts, times = np.zeros(len(sizes)), np.zeros(len(sizes))
    for k, (n, more) in enumerate(sizes.items()):
        # what the mean time is about; only how long it takes depends on it
        length = 30 * np.exp(barrier * n) * target * more
        for means in _histories(motion(COLD), n, length, seed + 101 * k):
            counts[k] += _passages(means, half)
            times[k] += means.size * _EVERY
    shape = np.array([_shape(n, half) - barrier * n for n in sizes])
    return Exchanges(np.array(list(sizes)), counts, times, shape, float(barrier))


_EVERY, _RUNS, _LONGEST = 1.0, 100, 600.0  # time between two looks, runs at once, time of a run


def _histories(dynamics: Any, n: int, total: float, seed: int) -> Iterator[np.ndarray]:
    """Means (times, runs), ``total`` time in all runs together."""
    pieces = max(1, round(total / (_RUNS * _LONGEST)))
    length = min(_LONGEST, max(60.0, total / (_RUNS * pieces)))
    times, start = np.arange(_EVERY, length + _EVERY / 2, _EVERY), pk.Gaussian(0.73, 0.4)
    for piece in range(pieces):
        x = pk.simulate(dynamics, start, n, times, 0.1, runs=_RUNS, seed=seed * 7919 + piece).x
        yield x.values.mean((2, 3))


def _passages(means: np.ndarray, half: float) -> int:
    side = np.where(means > half, 1, np.where(means < -half, -1, 0))
    last = np.where(side != 0, np.arange(len(side))[:, None], 0)
    side = np.take_along_axis(side, np.maximum.accumulate(last, axis=0), 0)
    return int((side[1:] * side[:-1] < 0).sum())


def law_of_the_mean(beta: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and their stationary density for n particles, by convolving n times.

    The law is exp(-beta Σ (V + λ x²/2)) exp(beta λ n mean²/2) / Z; all terms are positive.
    """
    x = np.linspace(-3, 3, 301)
    power = np.exp(-beta * (WELL(x[:, None]) + PULL.strength * x**2 / 2))
    power, law, left = power / power.sum(), np.ones(1), n
    while left:
        law = np.convolve(law, power) if left % 2 else law
        left //= 2
        power = np.convolve(power, power) if left else power
    mean = np.linspace(-3, 3, law.size)
    tilted = np.full(law.size, -np.inf)
    np.log(law, out=tilted, where=law > 0)
    tilted += beta * PULL.strength * n * mean**2 / 2
    density = np.exp(tilted - tilted.max())
    return mean, density / (density.sum() * (mean[1] - mean[0]))


def _shape(n: int, half: float) -> float:
    """log of n ∫ exp(Φ(y)) ∫^y exp(-Φ) over [-half, half], exp(-Φ) the law of the mean.

    The mean time of passage of a diffusion with that law and mobility of order 1/n.
    """
    mean, density = law_of_the_mean(COLD, n)
    step, between = mean[1] - mean[0], np.abs(mean) <= half
    behind = np.cumsum(density) * step
    return float(np.log(n * (behind[between] / density[between]).sum() * step))


def _amplitude(case: FiniteTime) -> tuple[float, float]:
    """N Var of the mean as measured, over the prediction, and the two-sided p-value of that."""
    data = case.found.data
    spread, runs = data["spread"].values, data.attrs["runs"]
    ratio = spread**2 * data["n"].values / case.variance
    freedom = ratio.size * (runs - 1)
    tail = stats.chi2.cdf(ratio.mean() * freedom, freedom)
    return float(ratio.mean()), float(2 * min(tail, 1 - tail))


def _numbers(
    betas: dict[str, float], finite: dict[str, FiniteTime], long: dict[str, LongRun],
    counted: Exchanges,
) -> dict[str, Any]:  # fmt: skip
    return {
        "beta": betas,
        "rate": {k: [c.found.rate.value, c.found.rate.lower, c.found.rate.upper]
                 for k, c in finite.items()},
        "limit_less_mean_of_the_equation": {k: c.found.limit.value - c.mean
                                            for k, c in finite.items()},
        "variance_times_n": {k: c.variance for k, c in finite.items()},
        "variance_measured_over_predicted": {k: _amplitude(c)[0] for k, c in finite.items()},
        "long_run_exponent": {k: list(c.exponent) for k, c in long.items()},
        "long_run_second_moment": {k: [c.moment.tolist(), c.error.tolist(), c.exact.tolist()]
                                   for k, c in long.items()},
        "sizes": long[AT].sizes.tolist(),
        "exchange_sizes": counted.sizes.tolist(),
        "exchanges": counted.counts.tolist(),
        "mean_times": counted.mean_time.tolist(),
        "intervals_99": counted.interval.T.tolist(),
        "barrier_of_the_equation": counted.barrier,
        "barrier_of_the_particles": list(counted.growth),
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = []
    for name, case in results.finite.items():
        rate, limit = case.found.rate, case.found.limit
        where = f"{name} the transition, t = {TIME:g}"
        made += [
            at_most(f"{where}: |rate - 1/2|, against its interval", abs(rate.value - 0.5),
                    (rate.upper - rate.lower) / 2),
            at_most(f"{where}: that interval is narrow", (rate.upper - rate.lower) / 2, 0.12),
            at_most(f"{where}: |limit of the runs - mean of the equation|, against its interval",
                    abs(limit.value - case.mean), (limit.upper - limit.lower) / 2),
            at_least(f"{where}: N Var is that of the linearised equation, p-value",
                     _amplitude(case)[1], LEVEL),
            at_least(f"{where}: all particles follow the density, p-value", case.p_value, LEVEL),
        ]  # fmt: skip
    return made + _of_long_runs(results.long) + _of_exchanges(results.exchanges)


def _of_long_runs(long: dict[str, LongRun]) -> list[Claim]:
    at, at_half = long[AT].exponent
    below, below_half = long[BELOW].exponent
    made = [
        at_least(f"{name} the transition, long after: second moments are those of Z(m)^N, p-value",
                 case.p_value, LEVEL) for name, case in long.items()
    ]  # fmt: skip
    return [
        *made,
        at_most("at the transition the exponent is 1/4: |exponent - 1/4|, against its interval",
                abs(at - 0.25), at_half),
        at_most("and not 1/2: upper end of the interval", at + at_half, 0.35),
        at_least("below it the exponent is near 1/2: upper end", below + below_half, 0.48),
        at_least("and not 1/4: lower end of the interval", below - below_half, 0.4),
    ]  # fmt: skip


def _of_exchanges(counted: Exchanges) -> list[Claim]:
    growth, half = counted.growth
    narrow = 0.2 if counted.counts.sum() > 2_000 else 0.6
    return [
        at_most("exchange slows as exp(N beta ΔF): |growth - barrier of the equation|, against its "
                "interval", abs(growth - counted.barrier), half),
        at_most("that interval is narrow: half width over the barrier", half / counted.barrier,
                narrow),
        at_least("log of the time is that, a constant and a term of 1/N, p-value",
                 counted.fit.p_value, LEVEL),
        at_least("fewest exchanges counted", counted.counts.min(), 25),
    ]  # fmt: skip


def plot(results: Results) -> Figure:
    """Scatter at a fixed time, in the long run, its law at the transition, and exchange times."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    (short, long), (law, exchange) = figure.subplots(2, 2)
    _short_panel(short, results)
    _long_panel(long, results)
    _law_panel(law, results)
    _exchange_panel(exchange, results)
    return figure


def _short_panel(ax: Any, results: Results) -> None:
    for name, case in results.finite.items():
        data = case.found.data
        n = data["n"].values.astype(float)
        label = f"{name}: β = {results.betas[name]:.3g}, exponent {case.found.rate.value:.3f}"
        ax.loglog(n, data["spread"].values[0], "o", color=COLOURS[name], label=label)
        ax.loglog(n, (case.variance / n) ** 0.5, "-", color=COLOURS[name], lw=1)
    ax.set_xticks(n, [f"{k:g}" for k in n])
    ax.set_xticks([], minor=True)
    ax.set(
        xlabel="N", title=f"scatter of a run's mean at t = {TIME:g}\n(lines: linearised equation)"
    )
    ax.legend(fontsize=8, frameon=False)


def _long_panel(ax: Any, results: Results) -> None:
    for (name, case), power in zip(results.long.items(), ("1/2", "1/4"), strict=True):
        bars = stats.norm.isf(0.005) * case.error / (2 * case.moment**0.5)
        label = f"{name}: exponent {case.exponent[0]:.3f} ({power})"
        ax.errorbar(case.sizes, case.moment**0.5, bars, fmt="o", color=COLOURS[name], label=label)
        ax.plot(case.sizes, case.exact**0.5, "-", color=COLOURS[name], lw=1)
    ax.set(xscale="log", yscale="log", xlabel="N",
           title="the same in the long run, 99 %\n(lines: exact law of N particles)")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def _law_panel(ax: Any, results: Results) -> None:
    case, beta = results.long[AT], results.betas[AT]
    n = int(case.sizes[-1])
    z = np.linspace(-2.6, 2.6, 261)
    quartic = np.exp(-(beta**2) * (3 - beta) / 24 * z**4)
    ax.hist(case.means * n**0.25, 30, density=True, color=COLOURS[AT], alpha=0.3,
            label=f"{case.means.size} means of {n} particles")  # fmt: skip
    ax.plot(z, quartic / (quartic.sum() * 0.02), color="0.2", label="exp(-c z⁴)")
    ax.set(xlabel="z = N^1/4 mean", title="law of the mean at the transition", yticks=[])
    ax.legend(fontsize=8, frameon=False)


def _exchange_panel(ax: Any, results: Results) -> None:
    counted = results.exchanges
    time, (low, high) = counted.mean_time, counted.interval
    ax.errorbar(counted.sizes, time, [time - low, high - time], fmt="o", color=COLOURS[ABOVE],
                label="particles, 99 % intervals")  # fmt: skip
    ax.plot(counted.sizes, np.exp(counted.fit.line + counted.shape), color=COLOURS[ABOVE], lw=1,
            label="their fit")  # fmt: skip
    steep = np.exp(counted.barrier * (counted.sizes - counted.sizes[-1])) * time[-1]
    ax.semilogy(counted.sizes, steep, "--", color="0.2", lw=1,
                label=f"exp(N β ΔF) of the equation, β ΔF = {counted.barrier:.4f}")  # fmt: skip
    growth, half = counted.growth
    ax.set(xlabel="N", title=f"time between exchanges of the branches, β = {COLD:g}\n"
           f"growth per particle {growth:.4f} ± {half:.4f}")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
