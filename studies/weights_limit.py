"""Do the weights of a wide network, trained by SGD, follow one law? Law, fluctuations and chaos.

Report 2.2; Sirignano and Spiliopoulos (2020): a network g = N⁻¹ Σ c_i σ(w_i·x) is trained by SGD,
one sample a step, at rate 1/N. As N -> ∞ the weights at time (steps)/N are said to follow a
deterministic law, to scatter about it as N^-1/2 with a Gaussian limit, and to become independent.
All three hold, with the constants below.

* Linear neurons, where the limit is known: y = a x, x ~ N(0, 1), a = 1, c and w from N(0, v₀),
  v₀ = 0.49. In the limit c + w grows by e^s and c - w by e^-s, s' = a - v₀ sinh 2s, so that at rest
  c is N(0, v), v = (v₀² + a²)^1/2 = 1.1136. Of the mean of c² over the neurons of one network at
  rest: its mean is v - 0.2920/N, its standard deviation 0.5353 N^-1/2; before rest the noise of the
  samples adds to the scatter of the start, afterwards it has left no trace at this order.
* Two neurons of one network: N cov(f(c_1), g(c_2)) -> -(3 - a²/v²)/4 κ_f κ_g at rest,
  κ_f = a cov(f, c²)/v²: of rank one, so neurons know of each other through c² alone.
* The report's figure 3, histograms of c that settle on a "fixed bimodal distribution" as N grows,
  on scikit-learn's digits (is it a 0?) with sigmoids, samples drawn with replacement. Two networks,
  of N and 2N neurons, differ as N^-1/2, by less than independent samples of one law; the mean over
  networks shows the law itself converge, as 1/N. Bimodal it is; it is fixed in N only, and goes on
  moving in time.

The theorems ask for a bounded σ (S1 of the report); they hold for the linear one too.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import integrate, stats
from tqdm import tqdm

from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks.two_layer import advance, linear, sigmoid

Array = np.ndarray

# the linear network
SLOPE, START = 1.0, 0.49  # a, and v₀ = 0.7²
TIMES = np.linspace(0, 6, 25)[1:]
RUNS = {50: 40_000, 100: 20_000, 200: 10_000, 400: 5_000, 800: 2_000, 1600: 800, 3200: 300}
QUICK_RUNS = {50: 10_000, 100: 5_000, 200: 2_500, 400: 1_000}
CHUNK = 500  # runs at a time
LEVEL = 3.3  # standard errors, a false alarm in a thousand

# the digits
DIGIT, LATE = 0, 80.0
NETWORKS = {50: 400, 100: 200, 200: 100, 400: 40, 800: 16, 1600: 6}
QUICK_NETWORKS = {25: 100, 50: 50, 100: 24, 200: 12}


# ---- what the limit is ---------------------------------------------------------------------------

VARIANCE = float(np.hypot(START, SLOPE))  # v, of c at rest


@dataclass(frozen=True)
class Limit:
    """Over time: s, the mean of c², and N times its variance, with and without samples' noise."""

    s: Array
    mean: Array
    variance: Array
    of_the_start: Array


def limit(times: Array) -> Limit:
    """The equation of the limit and the linear one of fluctuations about it.

    With σ = s + N^-1/2 z, <c²> = (P₀ e^2σ + M₀ e^-2σ + 2C)/4 for means P₀, M₀, C over the start of
    (c + w)², (c - w)², (c + w)(c - w): 2v₀(1 + √(2/N) ζ), 2v₀(1 + √(2/N) ξ), 2v₀ N^-1/2 η with
    independent standard normals, and dz = -2v₀ cosh 2s z dt - v₀/√2 (ζ e^2s - ξ e^-2s) dt
    + √2 (a - v₀ sinh 2s) dB. z is A ζ + B ξ + a noise of variance Q.
    """

    def rates(_: float, state: Array) -> list[float]:
        s, a, b, q = state
        decay, error = 2 * START * np.cosh(2 * s), SLOPE - START * np.sinh(2 * s)
        push = START / np.sqrt(2)
        return [
            error,
            -decay * a - push * np.exp(2 * s),
            -decay * b + push * np.exp(-2 * s),
            -2 * decay * q + 2 * error**2,
        ]

    solved = integrate.solve_ivp(rates, (0, times[-1]), [0.0] * 4, "DOP853", times, rtol=1e-10,
                                 atol=1e-12)  # fmt: skip
    s, a, b, q = solved.y
    gain = 2 * START * np.sinh(2 * s)  # of z
    started = (
        (START / np.sqrt(2) * np.exp(2 * s) + gain * a) ** 2
        + (START / np.sqrt(2) * np.exp(-2 * s) + gain * b) ** 2
        + START**2
    )
    return Limit(s, START * np.cosh(2 * s), started + gain**2 * q, started)


def bias() -> float:
    """N (E<c²> - v) at rest, N -> ∞.

    At rest <cw> = a, so <c²> = √(a² + PM/4) + C/2 with P M = P₀ M₀ exp(-(6/N) ∫(a - <cw>)² dt): the
    squares of steps, E x⁴ = 3. The rest is the curvature of the root.
    """
    s = np.arcsinh(SLOPE / START) / 2
    spent = SLOPE * s - (VARIANCE - START) / 2  # ∫(a - v₀ sinh 2s)² dt
    return -(START**2) * 6 * spent / (2 * VARIANCE) - START**4 / (2 * VARIANCE**3)


def correlation() -> float:
    """N times that of c² of two neurons at rest, N -> ∞."""
    return -(3 - (SLOPE / VARIANCE) ** 2) / 2 * (SLOPE / VARIANCE) ** 2


def total_variation() -> float:
    """N times that of the joint law of two neurons at rest from the product law, N -> ∞.

    Half the integral of (3 - a²/v²)/4 |κ(c) κ(c')|, κ(c) = a (c² - v)/v².
    """
    mean = 4 * stats.norm.pdf(1) * SLOPE / VARIANCE  # of |κ|
    return float((3 - (SLOPE / VARIANCE) ** 2) / 8 * mean**2)


# ---- what is simulated ---------------------------------------------------------------------------


Measured = tuple[float, float]  # and its standard error


@dataclass(frozen=True)
class Linear:
    """Linear networks of N neurons: means over the neurons of a run, in time and at the end."""

    n: int
    squares: Array  # (times, runs), of c²
    fourth: Array  # (runs,), of c⁴
    sides: Array  # (runs,), of the sign of c² - v

    def mean(self, k: int = -1) -> Measured:
        """Of c²."""
        x = self.squares[k]
        return float(x.mean()), float(x.std(ddof=1) / x.size**0.5)

    def spread(self, k: int = -1) -> Measured:
        """√N times the standard deviation over runs of the mean of c²."""
        x = self.squares[k]
        sd = self.n**0.5 * x.std(ddof=1)
        return float(sd), float(sd * np.sqrt((stats.kurtosis(x) + 2) / (4 * x.size)))

    def correlation(self) -> Measured:
        """N times that of c² of two neurons."""
        x = self.squares[-1]
        return self._of_pairs(x, self.fourth.mean() - x.mean() ** 2)

    def total_variation(self) -> Measured:
        """N times how much likelier the product law than the joint one puts both on one side of v.

        In the limit no event tells the two laws better apart.
        """
        alone = 1 - self.sides.mean() ** 2
        value, error = self._of_pairs(self.sides, alone)
        return -alone * value / 2, alone * error / 2

    def _of_pairs(self, x: Array, alone: float) -> Measured:
        """N times the correlation of two neurons, from means x over neurons; the variance of one.

        var x = alone/N + (1 - 1/N) covariance.
        """
        n, scattered = self.n, self.n * x.var(ddof=1)
        value = n * (scattered - alone) / (n - 1) / alone
        return float(value), float(n * scattered / (n - 1) / alone * (2 / x.size) ** 0.5)


def linear_networks(n: int, runs: int, seed: int) -> Linear:
    """Trained from independent starts on independent samples, a chunk of runs at a time."""
    children = np.random.SeedSequence([seed, n]).spawn(-(-runs // CHUNK))
    chunks = [_linear_chunk(n, min(CHUNK, runs - i * CHUNK), child)
              for i, child in enumerate(children)]  # fmt: skip
    return Linear(n, *(np.concatenate(part, -1) for part in zip(*chunks, strict=True)))


def _linear_chunk(n: int, runs: int, child: np.random.SeedSequence) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(child)
    c, w = START**0.5 * rng.normal(size=(runs, n)), START**0.5 * rng.normal(size=(runs, 1, n))
    squares, done = [], 0
    for t in TIMES:
        steps, done = round(n * t) - done, round(n * t)
        x = rng.normal(size=(runs, steps, 1))
        advance(linear, c, w, x, SLOPE * x[..., 0])
        squares.append((c**2).mean(1))
    return np.stack(squares), (c**4).mean(1), np.sign(c**2 - VARIANCE).mean(1)


@dataclass(frozen=True)
class Digits:
    """Weights c of sigmoid networks ``(networks, N)`` by N, half way and at the end, and errors."""

    half: dict[int, Array]
    end: dict[int, Array]
    wrong: dict[int, float]  # share of images put on the wrong side, mean over networks


def digits(networks: dict[int, int], late: float, seed: int, bar: Any) -> Digits:
    """Is an image a 0? Least squares; c from U[-1, 1], w and a bias in it from N(0, 1/64)."""
    from networks.digits import load

    data = load()
    x = np.concatenate([data.images.double().numpy(), np.ones((len(data.images), 1))], 1)
    y = (data.classes.numpy() == DIGIT).astype(float)
    half, end, wrong = {}, {}, {}
    for n, count in networks.items():
        rng = np.random.default_rng([seed, n])
        c, w = rng.uniform(-1, 1, (count, n)), rng.normal(0, 1 / 8, (count, x.shape[1], n))
        for kept in (half, end):
            for k in np.array_split(rng.integers(len(x), size=(count, int(late * n / 2))), 8, 1):
                advance(sigmoid, c, w, x[k], y[k])
            kept[n] = c.copy()
        outputs = np.stack([_output(a, b, x) for a, b in zip(c, w, strict=True)])
        wrong[n] = float(((outputs > 0.5) != (y > 0.5)).mean())
        bar.update()
    return Digits(half, end, wrong)


def _output(c: Array, w: Array, x: Array) -> Array:
    return (1 / (1 + np.exp(-x @ w))) @ c / c.size


def distance(a: Array, b: Array) -> float:
    """W1 between two empirical laws on the line."""
    return float(stats.wasserstein_distance(a.ravel(), b.ravel()))


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    limit: Limit
    linear: dict[int, Linear]
    digits: Digits
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller networks.")] = False,
    share: Annotated[float, typer.Option(min=1e-3, help="Of the runs, to keep.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all networks.")] = 0,
) -> Results:
    """Train the linear networks and those of the digits."""
    runs, networks = (QUICK_RUNS, QUICK_NETWORKS) if quick else (RUNS, NETWORKS)
    with tqdm(total=len(runs) + len(networks), desc="weights_limit") as bar:
        found = {}
        for n, count in runs.items():
            found[n] = linear_networks(n, max(8, round(share * count)), seed)
            bar.update()
        kept = {n: max(2, round(share * count)) for n, count in networks.items()}
        images = digits(kept, LATE, seed + 1, bar)
    results = Results(limit(TIMES), found, images, {})
    results.numbers.update(_numbers(results))
    return results


# ---- what is claimed -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """y = first + second x + ... by least squares with known errors, and its p-value."""

    values: Array
    errors: Array
    p_value: float

    def off(self, expected: float, which: int = 0) -> float:
        """Distance of a coefficient from what is expected, in standard errors."""
        return float(abs(self.values[which] - expected) / self.errors[which])


def fitted(measured: list[Measured], *columns: Array) -> Fit:
    """With a constant in front."""
    y, error = np.transpose(measured)
    scaled = np.stack([np.ones_like(y), *columns], -1) / error[:, None]
    covariance = np.linalg.inv(scaled.T @ scaled)
    values = covariance @ scaled.T @ (y / error)
    misfit = float(((y / error - scaled @ values) ** 2).sum())
    return Fit(values, np.diag(covariance) ** 0.5,
               float(stats.chi2.sf(misfit, y.size - values.size)))  # fmt: skip


def widest(linear: dict[int, Linear]) -> Linear:
    return linear[max(linear)]


@dataclass(frozen=True)
class Fits:
    """What the linear networks tend to; each with a correction of order 1/N."""

    mean: Fit
    bias: Fit
    spread: Fit
    exponent: Fit
    correlation: Fit
    total_variation: Fit


def fits(linear: dict[int, Linear]) -> Fits:
    n = np.array(list(linear), float)
    each = list(linear.values())
    biases = [(f.n * (f.mean()[0] - VARIANCE), f.n * f.mean()[1]) for f in each]
    logs = [(np.log(sd) - np.log(f.n) / 2, error / sd) for f in each for sd, error in [f.spread()]]
    return Fits(
        fitted([f.mean() for f in each], 1 / n), fitted(biases, 1 / n),
        fitted([f.spread() for f in each], 1 / n), fitted(logs, np.log(n), 1 / n),
        fitted([f.correlation() for f in each], 1 / n),
        fitted([f.total_variation() for f in each], 1 / n),
    )  # fmt: skip


def pairs_apart(c: dict[int, Array]) -> dict[int, Measured]:
    """W1 between single networks of N and of 2N neurons, mean over pairs of networks."""
    found = {}
    for n in c:
        if 2 * n in c:
            each = [distance(a, b) for a, b in zip(c[n], c[2 * n], strict=False)]
            found[n] = float(np.mean(each)), float(np.std(each, ddof=1) / len(each) ** 0.5)
    return found


def samples_apart(c: dict[int, Array], repeats: int = 20) -> dict[int, float]:
    """The same between independent samples of the law of the widest networks."""
    law, rng = c[max(c)].ravel(), np.random.default_rng(0)
    return {
        n: float(np.mean([distance(rng.choice(law, n), rng.choice(law, 2 * n))
                          for _ in range(repeats)]))
        for n in pairs_apart(c)
    }  # fmt: skip


def sizes_of_weights(c: dict[int, Array]) -> dict[int, Measured]:
    """Mean of |c| over neurons and networks."""
    means = {n: abs(a).mean(1) for n, a in c.items()}
    return {n: (float(m.mean()), float(m.std(ddof=1) / m.size**0.5)) for n, m in means.items()}


def two_modes(c: Array) -> float:
    """The lower of the two modes of a law less the valley between, in standard errors."""
    counts = np.histogram(c, np.linspace(-2, 2, 9))[0]
    modes, valley = min(counts[:3].max(), counts[5:].max()), counts[3:5].mean()
    return float((modes - valley) / (modes + valley / 2) ** 0.5)


def _numbers(results: Results) -> dict[str, Any]:
    found = fits(results.linear)
    numbers: dict[str, Any] = {
        "limit": {
            "mean": VARIANCE,
            "bias": bias(),
            "spread": float(results.limit.variance[-1] ** 0.5),
            "correlation": correlation(),
            "total_variation": total_variation(),
        },
        "fits": {name: [list(f.values), list(f.errors), f.p_value]
                 for name, f in vars(found).items()},
        "linear": {
            n: {"runs": f.fourth.size, "mean": f.mean(), "spread": f.spread(),
                "correlation": f.correlation(), "total_variation": f.total_variation()}
            for n, f in results.linear.items()
        },
    }  # fmt: skip
    numbers["digits"] = {
        "networks": {n: len(c) for n, c in results.digits.end.items()},
        "wrong": results.digits.wrong,
        "apart": pairs_apart(results.digits.end),
        "samples_apart": samples_apart(results.digits.end),
        "mean_size": sizes_of_weights(results.digits.end),
        "moved": moved(results.digits),
    }
    return numbers


def moved(found: Digits) -> float:
    """W1 between half way and the end, of the widest networks."""
    n = max(found.end)
    return distance(found.half[n], found.end[n])


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    found, wide, expected = fits(results.linear), widest(results.linear), results.limit
    sd = float(expected.variance[-1] ** 0.5)
    made = [
        *(
            at_most(f"N = {n}: mean of c² off v - 0.292/N, standard errors",
                    abs(f.mean()[0] - VARIANCE - bias() / n) / f.mean()[1], LEVEL)
            for n, f in results.linear.items()
        ),
        at_most("mean of c² for N -> ∞ off v, standard errors", found.mean.off(VARIANCE), LEVEL),
        at_most("N (mean - v) off -0.292, standard errors", found.bias.off(bias()), LEVEL),
        at_most(f"in time, N = {wide.n}: mean off the limit's, most standard errors",
                _off_in_time(wide, expected), 4),
        at_most("scatter over networks: exponent of N off -1/2, standard errors",
                found.exponent.off(-0.5, 1), LEVEL),
        at_most("the exponent's own standard error", found.exponent.errors[1], 0.05),
        at_most("√N times it for N -> ∞ off 0.5353, standard errors", found.spread.off(sd), LEVEL),
        at_least("it is Gaussian: p-value of the widest networks", _gaussian(wide, sd), 1e-3),
        at_most("at t = 0.5 it has that of the samples too: off by standard errors",
                _spread_off(results, expected.variance), LEVEL),
        at_least("the scatter of the start alone would be off by",
                 _spread_off(results, expected.of_the_start), 5),
        at_most("N times the correlation of two c² off -0.8844, standard errors",
                found.correlation.off(correlation()), LEVEL),
        at_most("N times total variation, joint law of two from product, off 0.2071, st. errors",
                found.total_variation.off(total_variation()), LEVEL),
        at_least("all of these are constants + O(1/N): least p-value",
                 min(f.p_value for f in vars(found).values()), 1e-3),
    ]  # fmt: skip
    return made + _of_digits(results.digits)


def _off_in_time(found: Linear, expected: Limit) -> float:
    measured = np.array([found.mean(k) for k in range(len(TIMES))])
    return float((abs(measured[:, 0] - expected.mean) / measured[:, 1]).max())


def _gaussian(found: Linear, sd: float) -> float:
    law = stats.norm(VARIANCE + bias() / found.n, sd / found.n**0.5)
    return float(stats.kstest(found.squares[-1], law.cdf).pvalue)


def _spread_off(results: Results, variance: Array) -> float:
    """At t = 0.5, extrapolated to N -> ∞."""
    k = int(abs(TIMES - 0.5).argmin())
    n = np.array(list(results.linear), float)
    fit = fitted([f.spread(k) for f in results.linear.values()], 1 / n)
    return fit.off(float(variance[k] ** 0.5))


def _of_digits(found: Digits) -> list[Claim]:
    apart, size = pairs_apart(found.end), sizes_of_weights(found.end)
    logs = fitted([(np.log(d), e / d) for d, e in apart.values()], np.log(list(apart)))
    law = fitted(list(size.values()), 1 / np.array(list(size), float))
    wide, samples = max(found.end), samples_apart(found.end)
    return [
        at_most("digits: largest share on the wrong side", max(found.wrong.values()), 0.02),
        at_most("digits: W1 of networks of N and 2N, exponent off -1/2, standard errors",
                logs.off(-0.5, 1), LEVEL),
        at_most("digits: the exponent's own standard error", logs.errors[1], 0.1),
        at_most("digits: that W1 over the W1 of independent samples of one law, largest",
                max(d / samples[n] for n, (d, _) in apart.items()), 0.95),
        at_least("digits: mean of |c| over networks is a constant + O(1/N): p-value",
                 law.p_value, 1e-3),
        at_least(f"digits, N = {wide}: two modes, over the valley by standard errors",
                 two_modes(found.end[wide]), 4),
        at_least("digits: but they move: W1 from half way to the end over W1 of N and 2N",
                 moved(found) / min(d for d, _ in apart.values()), 3),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = ("#E69F00", "#009E73", "#0072B2")  # told apart by the colour-blind


def plot(results: Results) -> Figure:
    """Law, fluctuations and chaos of linear networks; weights of networks that read digits."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 3)
    _path_panel(axes[0, 0], results)
    _spread_panel(axes[0, 1], results)
    _rate_panel(axes[0, 2], results)
    _gauss_panel(axes[1, 0], results)
    _weights_panel(axes[1, 1], results.digits)
    _distance_panel(axes[1, 2], results.digits)
    return figure


def _shown(sizes: Any) -> list[int]:
    """Smallest, middle and largest."""
    n = sorted(sizes)
    return [n[0], n[len(n) // 2], n[-1]]


def _path_panel(ax: Any, results: Results) -> None:
    for n, colour in zip(_shown(results.linear), COLOURS, strict=True):
        low, high = np.quantile(results.linear[n].squares, (0.05, 0.95), axis=1)
        ax.fill_between(TIMES, low, high, color=colour, alpha=0.35, lw=0, label=f"N = {n:,}")
    ax.plot(TIMES, results.limit.mean, color="black", lw=1.2, label="limit")
    ax.set(xlabel="steps / N", ylabel="mean of c²", title="a network's mean of c² (90 % of runs)")
    ax.legend(fontsize=8, frameon=False)


def _spread_panel(ax: Any, results: Results) -> None:
    ax.plot(TIMES, results.limit.variance**0.5, color="black", lw=1.2, label="limit")
    ax.plot(TIMES, results.limit.of_the_start**0.5, "--", color="0.4", lw=1.2,
            label="of the start alone")  # fmt: skip
    for n, colour, marker in zip(_shown(results.linear), COLOURS, "os^", strict=True):
        spreads = [results.linear[n].spread(k)[0] for k in range(len(TIMES))]
        ax.plot(TIMES, spreads, marker, color=colour, ms=4, mfc="none", label=f"N = {n:,}")
    ax.set(xlabel="steps / N", ylabel="√N × standard deviation", title="its scatter over networks")
    ax.legend(fontsize=8, frameon=False)


def _rate_panel(ax: Any, results: Results) -> None:
    n = np.array(list(results.linear), float)
    each = list(results.linear.values())
    lines = (
        ("scatter of mean c²", "o", [(a / k**0.5, e / k**0.5) for k, f in zip(n, each, strict=True)
         for a, e in [f.spread()]], results.limit.variance[-1] ** 0.5 * n**-0.5),
        ("-correlation of two c²", "s", [(-a / k, e / k) for k, f in zip(n, each, strict=True)
         for a, e in [f.correlation()]], -correlation() / n),
        ("TV(joint, product)", "^", [(a / k, e / k) for k, f in zip(n, each, strict=True)
         for a, e in [f.total_variation()]], total_variation() / n),
    )  # fmt: skip
    for (label, marker, measured, line), colour in zip(lines, COLOURS, strict=True):
        y, error = np.transpose(measured)
        ax.plot(n, line, color=colour, lw=1)
        ax.errorbar(n, y, 2 * error, fmt=marker, color=colour, ms=5, mfc="none", label=label)
    ax.set(xscale="log", yscale="log", xlabel="N", title="rates -1/2, -1, -1 (lines: limit)")
    ax.set_xticks(n, [f"{k:g}" for k in n], fontsize=8)
    ax.minorticks_off()
    ax.legend(fontsize=8, frameon=False, loc="lower left")


def _gauss_panel(ax: Any, results: Results) -> None:
    z = np.linspace(-2, 2, 201)
    for n, colour in zip(_shown(results.linear), COLOURS, strict=True):
        scaled = n**0.5 * (results.linear[n].squares[-1] - VARIANCE)
        ax.hist(scaled, np.linspace(-2, 2, 41), density=True, histtype="step", color=colour, lw=1.2,
                label=f"N = {n:,}")  # fmt: skip
    ax.plot(z, stats.norm.pdf(z, 0, results.limit.variance[-1] ** 0.5), color="black", lw=1.2,
            label="limit")  # fmt: skip
    ax.set(xlabel="√N (mean of c² - v)", title="at rest, over networks", yticks=[])
    ax.legend(fontsize=8, frameon=False)


def _weights_panel(ax: Any, found: Digits) -> None:
    bins = np.linspace(-3.5, 3.5, 43)
    for n, colour in zip(_shown(found.end), COLOURS, strict=True):
        ax.hist(found.end[n][:10].ravel(), bins, density=True, histtype="step", color=colour,
                lw=1.2, label=f"N = {n:,}")  # fmt: skip
    ax.hist(found.half[max(found.half)].ravel(), bins, density=True, color="0.85",
            label="half way")  # fmt: skip
    ax.set(xlabel="c", title="digits (is it a 0?): law of c", yticks=[])
    ax.set_ylim(top=1.35 * ax.get_ylim()[1])
    ax.legend(fontsize=8, frameon=False, ncols=2)


def _distance_panel(ax: Any, found: Digits) -> None:
    apart = pairs_apart(found.end)
    n = np.array(list(apart), float)
    y, error = np.transpose(list(apart.values()))
    ax.errorbar(n, y, 2 * error, fmt="o", color=COLOURS[2], mfc="none", label="two networks")
    ax.plot(n, y[0] * (n / n[0]) ** -0.5, color=COLOURS[2], lw=1, label="slope -1/2")
    ax.plot(n, list(samples_apart(found.end).values()), "s", color=COLOURS[0], mfc="none",
            label="samples of one law")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="N", title="digits: W1 of c between N and 2N")
    ax.set_xticks(n, [f"{k:g}" for k in n])
    ax.set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
    ax.minorticks_off()
    ax.legend(fontsize=8, frameon=False)
