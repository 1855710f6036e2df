"""What does the Hessian of a trained network look like, and is the noise of SGD the Hessian?

Of thesis section 3.3.1 it holds in small that a long positive and a short negative tail stand
beside a bulk near zero; not that few eigenvalues are negative, nor that 90 to 95 % of them are zero
in any sense but that of a fixed number such as 1e-4, nor that the variance of mini-batch gradients
is "exactly equal" to the Hessian. A network of 64-32-10 units on digits, 2,410 weights, whose
Hessian can be formed:

* the tails hold, and negative eigenvalues are tiny beside the largest. That few directions have
  them does not hold: nearly a quarter of all do;
* that nearly all are near zero holds below any fixed number, since the Hessian falls with the loss:
  the share of |λ| <= 1e-4 goes from a third to 95 %, while that below a hundredth of the largest
  hardly changes once the network fits. Some are zero by symmetry, and can be counted;
* the variance of gradients is not the Hessian (errata 72): at the end a thousandth of it in trace,
  and no multiple of it either. The Fisher matrix, of labels that the model draws itself, is the
  Gauss-Newton matrix exactly, and the Hessian up to a tenth;
* one of its four networks has not the number of weights that it prints (errata 71);
* run to the same loss, batches of all examples end where it is twice as sharp, and one and a half
  times as narrow by local entropy, as batches of 16 do. The width sampled is that of the spectrum.

Stochastic Lanczos quadrature is beside all of it. What it gives is right within its errors, which
tell that shares far below a hundredth of the largest eigenvalue are beyond it. Regression on noise
has the law of Marchenko and Pastur. Mathematics 1.1, 1.11.
"""

import sys
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy.stats import wasserstein_distance
from tqdm import tqdm

import pdekit as pk
from pdekit import landscapes
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))
from networks import papers
from networks.digits import load, one_thread
from networks.intervals import interval

CROSS_ENTROPY = torch.nn.CrossEntropyLoss()
RATE, BATCH, MOMENTUM = 0.1, 64, 0.9
FRACTIONS = (1e-2, 1e-3, 1e-4)  # of the largest eigenvalue
FIXED = (1e-2, 1e-3, 1e-4)  # absolute, as in the thesis
SMALL = 16
SIGMA, GAMMA = 0.005, 2.0  # width of the Gaussian and γ of the local entropy; β = γ/σ²
EXAMPLES, WEIGHTS = 4000, 400  # of the regression
ZERO = 1e-14  # of the largest eigenvalue
SAMPLES = 600  # of the local entropy, each of both signs
DRAWS = 32  # of labels by the model
TRACY_WIDOM = 1.2065  # of its scale, that ends of a spectrum are inside on the average


@dataclass(frozen=True)
class Stage:
    """The Hessian of the training loss after some gradients."""

    gradients: int
    loss: float
    wrong: float  # share of the examples to test
    values: np.ndarray  # all eigenvalues
    lanczos: Any  # landscapes.Spectrum

    @property
    def largest(self) -> float:
        return float(self.values[-1])

    @property
    def distance(self) -> float:
        """W1 between full and sampled spectrum, over the range."""
        nodes, weights = self.lanczos.quadrature
        apart = wasserstein_distance(nodes.ravel(), self.values, weights.ravel())
        return float(apart / np.ptp(self.values))

    def below(self, bounds: Any) -> np.ndarray:
        """Shares of |λ| <= bound."""
        return (np.abs(self.values) <= np.asarray(bounds)[:, None]).mean(1)


@dataclass(frozen=True)
class Matrices:
    """Others beside the Hessian at the end; distances are Frobenius, over the Hessian's norm."""

    gauss_newton: float
    fisher_is_gauss_newton: float
    covariance: float
    multiple: tuple[float, float]  # the best multiple of the covariance, and what it misses
    traces: tuple[float, float]  # of the covariance and of the Hessian
    own_labels: tuple[float, float, float]  # E |g|² over draws, its error, trace of Fisher
    diagonals: tuple[np.ndarray, np.ndarray]  # of covariance and Hessian
    spectra: dict[str, np.ndarray]


@dataclass(frozen=True)
class Basin:
    """Where training with batches of one size reached the target."""

    batch: int
    gradients: int
    wrong: float
    largest: float
    trace: float
    width: float  # (2β)⁻¹ log det(I + γH), by Lanczos
    width_error: float
    entropy: tuple[float, float]  # the same by sampling, and its error


@dataclass(frozen=True)
class Regression:
    """XᵀX/n of Gaussian data."""

    lanczos: Any
    ends: np.ndarray  # (draws, 2)
    zeros: tuple[float, float, float]  # share with d/2 examples, its error, exact


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    hidden: int
    stages: list[Stage]
    target: float  # loss at which small and large batches are compared
    zeros: tuple[int, int]  # counted at the second look, by symmetry
    matrices: Matrices
    basins: dict[int, list[Basin]]
    regression: Regression
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="A smaller network, fewer seeds.")] = False,
    hidden: Annotated[int | None, typer.Option(min=2, help="Hidden units.")] = None,
    gradients: Annotated[int | None, typer.Option(min=100, help="Of the training.")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Networks a size of batch.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and probes.")] = 0,
) -> Results:
    """Train, look at the Hessian on the way, compare batches, and check on regression."""
    hidden, seeds = hidden or (12 if quick else 32), seeds or (2 if quick else 5)
    gradients, target = gradients or (2_000 if quick else 20_000), 1e-2 if quick else 3e-3
    data = _examples()
    with one_thread(), tqdm(total=3 + seeds, desc="hessian_spectra", unit="part") as bar:
        model = _network(hidden, seed)
        marks = [0, *(gradients // k for k in ((50, 5, 1) if quick else (500, 50, 5, 1)))]
        stages = [_stage(model, k, data, seed) for k in _trained(model, BATCH, data, marks, seed)]
        bar.update()
        # later the rarest pixels have less than rounding, too
        zeros = int((np.abs(stages[1].values) <= ZERO * stages[1].largest).sum())
        matrices = _matrices(model, data, seed)
        bar.update()
        basins: dict[int, list[Basin]] = {SMALL: [], len(data[0]): []}
        for k in range(seeds):
            for batch, found in basins.items():
                found.append(_basin(_network(hidden, seed + k), batch, data, seed + k, target))
            bar.update()
        regression = _regression(2 if quick else 8, seed)
        bar.update()
    symmetric = _zeros_by_symmetry(hidden, data[0])
    results = Results(hidden, stages, target, (zeros, symmetric), matrices, basins, regression, {})
    results.numbers.update(_numbers(results))
    return results


# ---- the network ---------------------------------------------------------------------------------

Examples = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _examples() -> Examples:
    data = load()
    return (
        data.images.double(), data.classes, data.images_to_test.double(), data.classes_to_test,
    )  # fmt: skip


def _network(hidden: int, seed: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Linear(64, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 10)
        ).double()


def _steps(model: torch.nn.Module, batch: int, data: Examples, seed: int) -> Any:
    """SGD with Nesterov's momentum; the number of gradients taken, from 0 on."""
    images, classes, *_ = data
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True)
    draw, taken = torch.Generator().manual_seed(seed), 0
    while True:
        order = torch.randperm(len(images), generator=draw)
        for k in order.split(batch)[: len(order) // batch]:
            yield taken
            optimizer.zero_grad()
            CROSS_ENTROPY(model(images[k]), classes[k]).backward()
            optimizer.step()
            taken += 1


def _trained(
    model: torch.nn.Module, batch: int, data: Examples, marks: list[int], seed: int
) -> Any:
    for taken in _steps(model, batch, data, seed):
        if taken in marks:
            yield taken
        if taken == marks[-1]:
            return


def _loss(model: torch.nn.Module, data: Examples) -> float:
    with torch.no_grad():
        return float(CROSS_ENTROPY(model(data[0]), data[1]))


def _wrong(model: torch.nn.Module, data: Examples) -> float:
    with torch.no_grad():
        return float((model(data[2]).argmax(1) != data[3]).double().mean())


def _operator(model: torch.nn.Module, data: Examples, matrix: Any = None) -> Any:
    return landscapes.curvature_operator(model, CROSS_ENTROPY, data[:2], matrix, batch=2048)


def _full(operator: Any) -> np.ndarray:
    found = operator @ np.eye(operator.shape[0])
    return np.asarray((found + found.T) / 2)


def _stage(model: torch.nn.Module, taken: int, data: Examples, seed: int) -> Stage:
    operator = _operator(model, data)
    lanczos = landscapes.spectrum(operator, steps=80, probes=10, leading=4, seed=seed)
    values = np.linalg.eigvalsh(_full(operator))
    return Stage(taken, _loss(model, data), _wrong(model, data), values, lanczos)


def _zeros_by_symmetry(hidden: int, images: torch.Tensor) -> int:
    """Pixels that are never lit; scores that all move alike, by a bias or by a hidden unit."""
    dark = int((images == 0).all(0).sum())
    return dark * hidden + hidden + 1


def _matrices(model: torch.nn.Module, data: Examples, seed: int) -> Matrices:
    hessian = _full(_operator(model, data))
    newton, fisher = (
        _full(_operator(model, data, m)) for m in (landscapes.GaussNewton(), landscapes.Fisher())
    )
    noise = landscapes.gradient_covariance(model, CROSS_ENTROPY, data[:2])
    covariance = noise.matrix()
    size = np.linalg.norm(hessian)
    best = float((covariance * hessian).sum() / (covariance**2).sum())

    def apart(matrix: np.ndarray) -> float:
        return float(np.linalg.norm(matrix - hessian) / size)

    return Matrices(
        gauss_newton=apart(newton),
        fisher_is_gauss_newton=float(np.linalg.norm(fisher - newton) / np.linalg.norm(newton)),
        covariance=apart(covariance),
        multiple=(best, apart(best * covariance)),
        traces=(noise.trace, float(np.trace(hessian))),
        own_labels=(*_own_labels(model, data, seed), float(np.trace(fisher))),
        diagonals=(np.diag(covariance).copy(), np.diag(hessian).copy()),
        spectra={"Hessian": np.linalg.eigvalsh(hessian)[::-1],
                 "Gauss-Newton = Fisher": np.linalg.eigvalsh(newton)[::-1],
                 "covariance of gradients": noise.eigenvalues},
    )  # fmt: skip


def _own_labels(model: torch.nn.Module, data: Examples, seed: int) -> tuple[float, float]:
    """E |g|² of an example under labels drawn by the model, and its standard error."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        chances = torch.softmax(model(data[0]), 1)
    squares = []
    for _ in range(DRAWS):  # rare labels have the most of it
        labels = torch.multinomial(chances, 1, generator=draw)[:, 0]
        each = landscapes.per_sample_gradients(model, CROSS_ENTROPY, (data[0], labels), batch=2048)
        squares.append(float((each**2).sum(1).mean()))
    return float(np.mean(squares)), float(np.std(squares, ddof=1) / sqrt(DRAWS))


# ---- flat and sharp ------------------------------------------------------------------------------


def _basin(model: torch.nn.Module, batch: int, data: Examples, seed: int, target: float) -> Basin:
    for taken in _steps(model, batch, data, seed):
        if taken % 20 == 0 and _loss(model, data) <= target:
            break
        if taken > 100_000:
            raise pk.ConvergenceError(f"batches of {batch} do not reach a loss of {target}")
    operator = _operator(model, data)
    found = landscapes.spectrum(operator, steps=40, probes=20, leading=1, seed=seed)
    beta, d = GAMMA / SIGMA**2, operator.shape[0]
    logs = found.mean(lambda x: np.log1p(GAMMA * x))
    width, error = (d / (2 * beta) * float(v) for v in logs)
    return Basin(
        batch, taken, _wrong(model, data), float(found.eigenvalues[0]), float(found.trace.value),
        width, error, _local_entropy(model, beta, data, seed),
    )  # fmt: skip


def _local_entropy(
    model: torch.nn.Module, beta: float, data: Examples, seed: int
) -> tuple[float, float]:
    """-β⁻¹ log E exp(-β (f(θ + σξ) + f(θ - σξ) - 2f)/2), and its standard error.

    f_γ - f of the even part of f about θ: training stops beside a minimum, and its slope is not its
    width.
    """
    draw, weights = torch.Generator().manual_seed(seed), list(model.parameters())
    centre = torch.nn.utils.parameters_to_vector(weights).detach().clone()
    here, pairs = _loss(model, data), np.empty(SAMPLES)
    for k in range(SAMPLES):
        xi = SIGMA * torch.randn(len(centre), generator=draw, dtype=centre.dtype)
        both = []
        for sign in (1, -1):
            torch.nn.utils.vector_to_parameters(centre + sign * xi, weights)
            both.append(_loss(model, data))
        pairs[k] = np.exp(-beta * (np.mean(both) - here))
    torch.nn.utils.vector_to_parameters(centre, weights)
    mean = float(pairs.mean())
    return -float(np.log(mean)) / beta, float(pairs.std(ddof=1) / sqrt(SAMPLES) / mean / beta)


# ---- regression ----------------------------------------------------------------------------------


def _regression(draws: int, seed: int) -> Regression:
    def half_square(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(z, y) / 2

    def drawn(n: int, k: int) -> torch.Tensor:
        return torch.as_tensor(np.random.default_rng((seed, k)).standard_normal((n, WEIGHTS)))

    model = torch.nn.Linear(WEIGHTS, 1, bias=False).double()
    ends = np.empty((draws, 2))
    for k in range(draws):
        x = drawn(EXAMPLES, k).numpy()
        nodes, _ = landscapes.spectrum(
            x.T @ x / EXAMPLES, steps=120, probes=2, leading=1
        ).quadrature
        ends[k] = nodes.min(), nodes.max()
    x, few = drawn(EXAMPLES, 0), drawn(WEIGHTS // 2, draws)
    spectrum, flat = (
        landscapes.hessian_spectrum(
            model, half_square, (a, a[:, :1]), steps=50, leading=1, batch=4096
        )
        for a in (x, few)
    )
    share = flat.near_zero(1e-3)
    return Regression(spectrum, ends, (float(share.value), float(share.error), 0.5))


def marchenko_pastur(x: np.ndarray) -> np.ndarray:
    """Density of eigenvalues of XᵀX/n as d, n -> ∞."""
    low, high = edges()
    inside = np.sqrt(np.maximum((high - x) * (x - low), 0))
    return np.asarray(inside / (2 * np.pi * WEIGHTS / EXAMPLES * x))


def edges() -> np.ndarray:
    """(1 ± √(d/n))²."""
    return (1 + np.array([-1, 1]) * sqrt(WEIGHTS / EXAMPLES)) ** 2


def _inside() -> np.ndarray:
    """How far inside the edges the ends of a spectrum are on the average (Johnstone 2001)."""
    a, b = sqrt(EXAMPLES), sqrt(WEIGHTS) * np.array([-1, 1])
    return np.asarray(TRACY_WIDOM * (a + b) * np.cbrt(1 / a + 1 / b) / EXAMPLES)


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    m = results.matrices
    return {
        "weights": len(results.stages[0].values),
        "stages": [
            {"gradients": s.gradients, "loss": s.loss, "test_error": s.wrong,
             "largest": s.largest, "lowest": float(s.values[0]), "trace": float(s.values.sum()),
             "trace_by_lanczos": [float(v) for v in s.lanczos.trace], "distance": s.distance,
             "below_fractions_of_largest":
                 dict(zip(map(str, FRACTIONS), s.below(np.array(FRACTIONS) * s.largest).tolist(),
                          strict=True)),
             "below": dict(zip(map(str, FIXED), s.below(FIXED).tolist(), strict=True)),
             "negative": _negative(s)}
            for s in results.stages
        ],
        "zeros": {"counted": results.zeros[0], "by_symmetry": results.zeros[1]},
        "matrices": {
            "gauss_newton_off": m.gauss_newton, "fisher_off_gauss_newton": m.fisher_is_gauss_newton,
            "covariance_off": m.covariance, "best_multiple": m.multiple[0],
            "best_multiple_off": m.multiple[1], "trace_of_covariance": m.traces[0],
            "trace_of_hessian": m.traces[1],
            "own_labels": dict(zip(("mean_square", "error", "trace_of_fisher"), m.own_labels,
                                   strict=True)),
        },
        "basins": [vars(b) for found in results.basins.values() for b in found],
        "large_over_small_batch_and_half_95": {
            key: [*_ratio(results, key)] for key in ("largest", "trace", "width", "wrong")
        },
        "regression": {"ends": results.regression.ends.mean(0).tolist(),
                       "edges": edges().tolist(), "inside": _inside().tolist(),
                       "zeros": list(results.regression.zeros)},
        "architectures": _architectures(),
    }  # fmt: skip


def _negative(stage: Stage) -> float:
    return float((stage.values < -ZERO * stage.largest).mean())


def _architectures() -> dict[str, int]:
    """Numbers of weights of the networks of section 3.3.1."""
    return {
        "small_lenet": papers.weights(papers.small_lenet()),
        "smallfc, 64 hidden units": papers.weights(papers.smallfc()),
        "smallfc, 32 hidden units": 784 * 32 + 32 + 32 * 10 + 10,
        "char_lstm": papers.weights(papers.char_lstm()),
    }


def _ratio(results: Results, key: str) -> tuple[float, float]:
    """Of large over small batches, mean over seeds and half the 95 % interval."""
    small, large = (np.array([getattr(b, key) for b in found]) for found in results.basins.values())
    return interval(large / small, 0.95)


def claims(results: Results) -> list[Claim]:
    """The sentences of the first paragraph, each with its number."""
    return [
        *_of_lanczos(results), *_of_shape(results), *_of_noise(results.matrices),
        *_of_basins(results), *_of_regression(results.regression), *_of_counts(),
    ]  # fmt: skip


def _of_lanczos(results: Results) -> list[Claim]:
    stages = results.stages
    traces = [abs(s.lanczos.trace.value - s.values.sum()) / s.lanczos.trace.error for s in stages]
    shares = [
        np.max(np.abs(found.value - s.below(bounds)) / found.error)
        for s in stages
        for bounds in [np.array(FRACTIONS) * s.largest]
        for found in [s.lanczos.near_zero(bounds)]
    ]
    leading = [
        abs(np.abs(s.values).max() / np.abs(s.lanczos.eigenvalues).max() - 1) for s in stages
    ]
    return [
        at_most("Lanczos: W1 from the full spectrum, over its range",
                max(s.distance for s in stages), 0.01),
        at_most("Lanczos: largest eigenvalue off, relative", max(leading), 1e-8),
        at_most("Lanczos: trace off, standard errors", max(traces), 4.5),
        at_most("Lanczos: shares near zero off, in units of their error", max(shares), 4.5),
    ]  # fmt: skip


def _of_shape(results: Results) -> list[Claim]:
    first, last = results.stages[1], results.stages[-1]
    change = abs(last.below([1e-2 * last.largest]) - results.stages[-2].below(
        [1e-2 * results.stages[-2].largest]))[0]  # fmt: skip
    return [
        at_least("share of |λ| <= 1e-4: gain from the second look to the end",
                 last.below([1e-4])[0] - first.below([1e-4])[0], 0.15),
        at_most("share within 1e-2 of the largest: change over the last four fifths", change, 0.03),
        at_most("tails: least eigenvalue over the largest, at the end",
                -last.values[0] / last.largest, 0.01),
        at_least("but the share of negative eigenvalues", _negative(last), 0.05),
        at_most("zeros counted against zeros by symmetry, apart",
                abs(results.zeros[0] - results.zeros[1]), 0),
    ]  # fmt: skip


def _of_noise(m: Matrices) -> list[Claim]:
    mean, error, fisher = m.own_labels
    return [
        at_most("Fisher is Gauss-Newton, relative", m.fisher_is_gauss_newton, 1e-10),
        at_most("Gauss-Newton is off the Hessian by", m.gauss_newton, 0.25),
        at_least("covariance of gradients is off the Hessian by", m.covariance, 0.9),
        at_most("its trace over that of the Hessian", m.traces[0] / m.traces[1], 0.1),
        at_least("its best multiple is still off by", m.multiple[1], 0.2),
        at_most("under the model's own labels E |g|² is the trace of Fisher, standard errors",
                abs(mean - fisher) / error, 4),
    ]  # fmt: skip


def _of_basins(results: Results) -> list[Claim]:
    every = [b for found in results.basins.values() for b in found]
    off = max(
        (abs(b.entropy[0] - b.width) - 0.1 * b.width) / np.hypot(b.entropy[1], b.width_error)
        for b in every
    )
    text = "local entropy by sampling off that of the spectrum, less 10 % of the width, in errors"
    made = [at_most(text, off, 4)]
    if len(every) >= 10:
        for key in ("largest", "width"):
            mean, half = _ratio(results, key)
            text = f"{key}: of large over small batches, 95 % lower end"
            made.append(at_least(text, mean - half, 1))
    return made


def _of_regression(found: Regression) -> list[Claim]:
    off = np.abs(found.ends.mean(0) + _inside() - edges()).max()
    share, error, exact = found.zeros
    few = len(found.ends) < 8
    return [
        at_most("Marchenko-Pastur: mean ends off the edges, less Tracy and Widom's distance",
                off, 0.03 if few else 0.01),
        at_most("regression with half as many examples as weights: share of zeros off, errors",
                abs(share - exact) / error, 4),
    ]  # fmt: skip


def _of_counts() -> list[Claim]:
    counted = _architectures()
    return [
        at_most("small-LeNet: weights beside the 47,658 of the thesis",
                abs(counted["small_lenet"] - 47_658), 0),
        at_most("smallfc: 64 hidden units beside its 50,890",
                abs(counted["smallfc, 64 hidden units"] - 50_890), 0),
        at_least("smallfc: the 32 hidden units that it prints are off by",
                 abs(counted["smallfc, 32 hidden units"] - 50_890), 1),
        at_most("char-LSTM: weights beside its 32,640", abs(counted["char_lstm"] - 32_640), 0),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Spectra along training, other matrices at the end, batches, and regression."""
    figure = Figure(figsize=(13, 7.6), layout="constrained")
    axes = figure.subplots(2, 3)
    _plot_stages(axes[0, 0], results.stages)
    _plot_training(axes[0, 1], results.stages)
    _plot_matrices(axes[0, 2], results.matrices)
    _plot_diagonals(axes[1, 0], results.matrices)
    _plot_basins(axes[1, 1], results)
    _plot_regression(axes[1, 2], results.regression)
    return figure


SHADES = ("#fdae61", "#d95f02", "#a6611a", "#5e3c99", "#1b1b4b")


def _plot_stages(ax: Any, stages: list[Stage]) -> None:
    x = np.geomspace(1e-6, 1, 200)
    wide = np.geomspace(1e-2, 1, 60)
    for stage, colour in zip(stages, SHADES, strict=False):
        label = f"{stage.gradients:,} gradients, loss {stage.loss:.2g}"
        ax.plot(x, stage.below(x * stage.largest), color=colour, label=label)
        value, error = stage.lanczos.near_zero(wide * stage.largest)
        ax.fill_between(wide, np.maximum(value - error, 0), np.minimum(value + error, 1),
                        color=colour, alpha=0.25, lw=0)  # fmt: skip
    ax.set(xscale="log", xlabel="bound on |λ|, over the largest", ylabel="share of eigenvalues",
           ylim=(0, 1.02))  # fmt: skip
    ax.set_title("Hessian: full matrix, and Lanczos ± error (bands)", fontsize=10)
    ax.legend(fontsize=7.5, frameon=False, loc="lower right")


def _plot_training(ax: Any, stages: list[Stage]) -> None:
    loss = [s.loss for s in stages]
    for bound, mark in ((1e-2, "o"), (1e-4, "s")):
        ax.plot(loss, [s.below([bound])[0] for s in stages], mark + "-", color="tab:blue", ms=5,
                label=f"|λ| <= {bound:g}")  # fmt: skip
        ax.plot(loss, [s.below([bound * s.largest])[0] for s in stages], mark + "--", ms=5,
                color="tab:orange", label=f"|λ| <= {bound:g} of the largest")  # fmt: skip
    ax.set(xscale="log", xlabel="training loss", ylabel="share of eigenvalues", ylim=(0, 1.02))
    ax.invert_xaxis()
    ax.set_title("fixed bounds follow the loss", fontsize=10)
    ax.legend(fontsize=7.5, frameon=False, loc="lower left")


def _plot_matrices(ax: Any, matrices: Matrices) -> None:
    styles = {"Hessian": ("black", "-"), "Gauss-Newton = Fisher": ("tab:orange", "--"),
              "covariance of gradients": ("tab:blue", "-")}  # fmt: skip
    for name, values in matrices.spectra.items():
        positive = values[values > ZERO * values[0]]
        colour, style = styles[name]
        ax.plot(np.arange(1, len(positive) + 1), positive, style, color=colour, label=name)
    values = matrices.spectra["Hessian"]
    negative = -values[values < -ZERO * values[0]][::-1]
    ax.plot(
        np.arange(1, len(negative) + 1), negative, ":", color="black", label="Hessian, -λ of λ < 0"
    )
    ax.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue",
           ylim=(values[0] * 1e-9, 3 * values[0]))  # fmt: skip
    ax.set_title("at the end of training", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="lower left")


def _plot_diagonals(ax: Any, matrices: Matrices) -> None:
    noise, hessian = matrices.diagonals
    shown = (noise > 0) & (hessian > 1e-6 * hessian.max())
    ax.plot(hessian[shown], noise[shown], ".", color="tab:blue", ms=2, rasterized=True)
    span = np.array([1e-6, 2]) * hessian.max()
    ax.plot(span, span, color="black", lw=1, label="equal, as the thesis has it")
    ax.set(xscale="log", yscale="log", xlabel="diagonal of the Hessian", xlim=span,
           ylabel="variance of the gradient")  # fmt: skip
    ax.set_title("each weight: E g² - (E g)² against the Hessian", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _plot_basins(ax: Any, results: Results) -> None:
    for (batch, found), (colour, mark) in zip(
        results.basins.items(), (("tab:blue", "o"), ("tab:orange", "s")), strict=True
    ):
        x, y = [b.largest for b in found], [1e5 * b.entropy[0] for b in found]
        e = [1e5 * b.entropy[1] for b in found]
        ax.errorbar(x, y, e, fmt=mark, color=colour, ms=6, label=f"batches of {batch:,}")
        ax.plot(x, [1e5 * b.width for b in found], "x", color="black", ms=7)
    ax.plot([], [], "x", color="black", ms=7, label="by the spectrum")
    ax.set(xlabel="largest eigenvalue", ylabel=f"local entropy less loss, γ = {GAMMA:g}, 1e-5")
    ax.set_title(f"where batches reach a loss of {results.target:g}", fontsize=10)
    ax.legend(fontsize=8, frameon=False)


def _plot_regression(ax: Any, found: Regression) -> None:
    x = np.linspace(0.35, 1.85, 300)
    width = max(found.lanczos.resolution, 0.05)
    value, error = found.lanczos.density(x, width)
    ax.plot(x, marchenko_pastur(x), color="black", lw=1, label="Marchenko and Pastur")
    ax.plot(x, value, "--", color="tab:blue", label=f"Lanczos, width {width:.2g}, ± error")
    pk.plotting.bands(ax, x, value - error, value + error, color="tab:blue")
    ax.plot(found.ends.ravel(), np.zeros(found.ends.size), "|", color="tab:orange", ms=14,
            label="ends of the spectra drawn")  # fmt: skip
    ax.set(xlabel="eigenvalue", ylabel="density")
    ax.set_title(f"regression, {EXAMPLES:,} x {WEIGHTS}", fontsize=10)
    ax.legend(fontsize=8, frameon=False)
