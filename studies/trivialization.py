"""Does a random field empty a rugged landscape, and does removing it lead lower? Yes, and hardly.

Thesis chapter 2: a linear field h of strength v is added to the spherical 3-spin Hamiltonian. Its
critical points are to fall from exponentially many (v < v_c = √3) over a number of order N to one
minimum and one maximum; to start in the strong field and to remove it (2.20) is to lead to better
minima. What holds:

* the expected numbers, known exactly for every N, are those counted in systems of six spins, where
  all critical points can be found;
* at N = 100 descents end at many minima without field and at one in a strong field, as the thesis
  has it. But its "polynomial regime" v² = 3 (1 - 1/N) has one to a few minima: the critical
  points of order N there are saddles (errata 75);
* two minima of random descents are at right angles: their mean cosine distance is near 1, and
  cannot be the 1.16 of the thesis, since it is at most n/(n-1) for n minima (errata 70);
* removing the field slowly leads a little lower than plain descent does on average; the best of as
  many plain descents as take the same gradients is lower still.

Equations: mathematics 1.12, errata 50 to 55, 70, 75; Fyodorov (2013).
"""

from dataclasses import dataclass
from math import exp, sqrt
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import t as student
from tqdm import tqdm

from pdekit import landscapes
from pdekit.claims import Claim, at_least, at_most

P = 3
SMALL = 6  # spins, where all critical points are found
FIELDS = (0.0, 1.0, sqrt(3.0), 4.0)
SPINS = 100
REGIMES = {
    "exponential, v = 1/N": 1 / SPINS,
    "polynomial, v² = 3 (1 - 1/N)": sqrt(3 * (1 - 1 / SPINS)),
    "trivial, v = 3": 3.0,
}
APART = 0.01  # of the radius: minima closer than that are one
RATE = 0.1
START_B = -0.5  # of the thesis' schedule (2.20), where a field of 3.87 leaves one minimum
DECAYS = (30, 100, 300, 1000, 3000)  # steps τ₀ of that schedule


@dataclass(frozen=True)
class Counts:
    """Of one field: every disorder's critical points and minima, and what is expected."""

    points: np.ndarray
    minima: np.ndarray
    expected: float
    expected_minima: float
    error_minima: float  # standard error of the sampled expectation

    @property
    def deviations(self) -> tuple[float, float]:
        """Of the two means, in standard errors."""
        off = self.minima.mean() - self.expected_minima
        return (
            abs(self.points.mean() - self.expected) / _error(self.points),
            abs(off) / float(np.hypot(_error(self.minima), self.error_minima)),
        )


@dataclass(frozen=True)
class Regime:
    """Descents of one strength of the field: ``(disorders, starts)``."""

    energy: np.ndarray
    distinct: np.ndarray  # minima, of each disorder
    cosine: np.ndarray  # mean distance of two ends, of each disorder
    points: np.ndarray  # ends of the first disorder


@dataclass(frozen=True)
class Annealed:
    """Ends of descents in a field that is removed, and plain ones of as many gradients."""

    energy: np.ndarray  # (disorders,)
    plain: np.ndarray  # mean of the plain descents
    best: np.ndarray  # lowest of as many as take the same gradients
    gradients: float
    rivals: float  # how many these are

    def lower_than(self, other: np.ndarray) -> tuple[float, float]:
        """How far lower than ``other``, and half the 95 % interval over disorders."""
        gain = other - self.energy
        half = student.ppf(0.975, gain.size - 1) * _error(gain)
        return float(gain.mean()), float(half)


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    counts: dict[float, Counts]
    regimes: dict[str, Regime]
    annealed: dict[int, Annealed]
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer disorders and starts.")] = False,
    disorders: Annotated[int | None, typer.Option(min=4, help="Disorders.")] = None,
    starts: Annotated[int | None, typer.Option(min=5, help="Descents of each disorder.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first disorder.")] = 0,
) -> Results:
    """Count in small systems, descend in large ones, remove the field."""
    disorders = disorders or (5 if quick else 24)
    starts = starts or (8 if quick else 40)
    small = 10 if quick else 60
    with tqdm(total=small * len(FIELDS) + 2 * disorders, desc="trivialization") as bar:
        samples = 2000 if quick else 20_000
        counts = {v: _counted(v, range(seed, seed + small), samples, bar) for v in FIELDS}
        seeds = range(seed, seed + disorders)
        regimes = _regimes(seeds, starts, bar)
        annealed = _annealed(seeds, starts, DECAYS[:3] if quick else DECAYS, bar)
    results = Results(counts, regimes, annealed, {})
    results.numbers.update(_numbers(results))
    return results


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / sqrt(values.size))


# ---- counts in small systems ---------------------------------------------------------------------


def _counted(v: float, seeds: range, samples: int, bar: Any) -> Counts:
    found = []
    for seed in seeds:
        glass = landscapes.SphericalSpinGlass(P, SMALL, v, seed)
        found.append(landscapes.critical_points(glass, starts=300))
        bar.update()
    by_index = landscapes.expected_by_index(SMALL, P, v, samples=samples)
    return Counts(
        np.array([len(each.points) for each in found]),
        np.array([each.of_index(0) for each in found]),
        landscapes.expected_critical_points(SMALL, P, v),
        float(by_index.mean[0]),
        float(by_index.error[0]),
    )


# ---- descents in the three regimes ---------------------------------------------------------------


def _regimes(seeds: range, starts: int, bar: Any) -> dict[str, Regime]:
    found: dict[str, list[Any]] = {name: [] for name in REGIMES}
    for seed in seeds:
        for name, v in REGIMES.items():
            glass = landscapes.SphericalSpinGlass(P, SPINS, v, seed)
            found[name].append(landscapes.descend(glass, glass.starts(starts), rate=RATE))
        bar.update()
    return {name: _regime(ends) for name, ends in found.items()}


def _regime(ends: list[landscapes.Descents]) -> Regime:
    return Regime(
        np.stack([each.energy.numpy() for each in ends]) / SPINS,
        np.array([_distinct(each.points) for each in ends]),
        np.array([_cosine_distance(each.points) for each in ends]),
        ends[0].points.numpy(),
    )


def _distinct(points: torch.Tensor) -> int:
    return len(_minima(points.numpy())[0])


def _cosine_distance(points: torch.Tensor) -> float:
    """Mean of 1 - cos over pairs, n/(n-1) (1 - |mean unit vector|²): at most n/(n-1)."""
    n = len(points)
    return float(n / (n - 1) * (1 - (points.mean(0).norm() ** 2) / SPINS))


# ---- a field that is removed ---------------------------------------------------------------------


def _strength(B: float) -> float:
    """v of B = (p(p-2) - v²)/(p² + v²); none where B is above (p-2)/p."""
    return sqrt(max(0.0, (P * (P - 2) - B * P * P) / (1 + B)))


def _schedule(decay: int) -> Any:
    """v in step i over v in step 0, B = ½ - e^(-i/τ₀): (2.20) in terms of B."""
    return lambda i: _strength(0.5 - exp(-i / decay)) / _strength(START_B)


def _annealed(seeds: range, starts: int, decays: tuple[int, ...], bar: Any) -> dict[int, Annealed]:
    glasses = [landscapes.SphericalSpinGlass(P, SPINS, _strength(START_B), seed) for seed in seeds]
    rows: dict[int, list[tuple[float, ...]]] = {decay: [] for decay in decays}
    for glass in glasses:
        plain = landscapes.descend(glass, glass.starts(starts), rate=RATE / 2, field=lambda _: 0.0)
        spent, energy = plain.steps.numpy().cumsum(), plain.energy.numpy() / SPINS
        for decay in decays:
            slow = landscapes.descend(glass, glass.starts(1), rate=RATE / 2, field=_schedule(decay))
            gradients = int(slow.steps[0])
            rivals = max(1, int(np.searchsorted(spent, gradients, side="right")))
            end = float(slow.energy[0]) / SPINS
            rows[decay].append((end, energy.mean(), energy[:rivals].min(), gradients, rivals))
        bar.update()
    return {decay: _of_rows(np.array(found)) for decay, found in rows.items()}


def _of_rows(rows: np.ndarray) -> Annealed:
    energy, plain, best, gradients, rivals = rows.T
    return Annealed(energy, plain, best, float(gradients.mean()), float(rivals.mean()))


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    return {
        "counts": {
            f"{v:.4g}": {
                "counted": [c.points.mean(), _error(c.points)], "expected": c.expected,
                "minima": [c.minima.mean(), _error(c.minima)],
                "minima_expected": [c.expected_minima, c.error_minima],
            }
            for v, c in results.counts.items()
        },
        "regimes": {
            name: {
                "energy": [r.energy.mean(), r.energy.std()], "lowest": r.energy.min(),
                "minima": r.distinct.tolist(), "cosine_distance": r.cosine.mean(),
                "expected_critical_points":
                    landscapes.expected_critical_points(SPINS, P, REGIMES[name]),
            }
            for name, r in results.regimes.items()
        },
        "annealed": {
            str(decay): {
                "energy": [a.energy.mean(), _error(a.energy)], "gradients": a.gradients,
                "lower_than_plain": a.lower_than(a.plain), "plain_descents": a.rivals,
                "lower_than_their_best": a.lower_than(a.best),
            }
            for decay, a in results.annealed.items()
        },
        "threshold": landscapes.threshold(P),
        "ground_state": landscapes.ground_state(P),
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = []
    for v, counted in results.counts.items():
        points, minima = counted.deviations
        made += [
            at_most(f"N = {SMALL}, v = {v:.4g}: critical points counted against exact, "
                    "standard errors off", points, 3.3),
            at_most(f"N = {SMALL}, v = {v:.4g}: minima, standard errors off", minima, 3.3),
        ]  # fmt: skip
    return made + _of_descents(results) + _of_annealing(results)


def _of_descents(results: Results) -> list[Claim]:
    rugged, middle, trivial = results.regimes.values()
    starts = rugged.energy.shape[1]
    edge, ground = landscapes.threshold(P), landscapes.ground_state(P)
    return [
        at_most("no field: mean end energy above -E_∞, per spin", rugged.energy.mean() + edge, 0.1),
        at_most("no field: lowest end below -E_0, per spin", -ground - rugged.energy.min(), 0.02),
        at_least("no field: distinct minima per descent", rugged.distinct.mean() / starts, 0.4),
        at_most("the mean cosine distance of ends is at most n/(n-1): over it",
                rugged.cosine.max() - starts / (starts - 1), 0.0),
        at_most("and 1 at a distance of random minima: off", abs(rugged.cosine.mean() - 1), 0.1),
        at_most("v² = 3 (1 - 1/N): minima found in a disorder, mean", middle.distinct.mean(), 5.0),
        at_least("where critical points are of order N: expected, over N",
                 landscapes.expected_critical_points(SPINS, P, sqrt(3 * (1 - 1 / SPINS))) / SPINS,
                 1.5),
        at_most("v = 3: share of disorders with a second minimum (expected 0.027)",
                (trivial.distinct > 1).mean(), 0.15),
    ]  # fmt: skip


def _of_annealing(results: Results) -> list[Claim]:
    """What is slow enough is told from plain descents; of the rest, that it is no worse."""
    made = []
    for decay, found in results.annealed.items():
        name = f"field removed over τ₀ = {decay} steps"
        gain, half = found.lower_than(found.plain)
        ahead, margin = found.lower_than(found.best)
        made += [
            at_least(f"{name}: lower than plain descents, upper 95 % bound", gain + half, 0.0),
            at_most(f"{name}: lower than the best of as many gradients of them, lower 95 % bound",
                    ahead - margin, 0.0),
        ]  # fmt: skip
        if decay == max(DECAYS):
            made += [
                at_least(f"{name}: lower than plain descents, lower 95 % bound", gain - half, 0.0),
                at_most(f"{name}: lower than their best, upper 95 % bound", ahead + margin, 0.0),
            ]
    return made


# ---- the figure ----------------------------------------------------------------------------------


def plot(results: Results) -> Figure:
    """Counts, energies, an embedding of the ends, and the field that is removed."""
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _counts_panel(axes[0, 0], results.counts)
    _energy_panel(axes[0, 1], results.regimes)
    _embedding_panel(axes[1, 0], results.regimes)
    _annealing_panel(axes[1, 1], results.annealed)
    return figure


def _counts_panel(ax: Any, counts: dict[float, Counts]) -> None:
    v = np.linspace(0, 4.2, 85)
    for n, style in ((SMALL, "-"), (SPINS, "--")):
        exact = [landscapes.expected_critical_points(n, P, s) for s in v]
        ax.semilogy(v, exact, style, color="black", lw=1.2, label=f"all, exact, N = {n}")
    for name, colour, values in (
        ("all, counted", "tab:blue", {s: c.points for s, c in counts.items()}),
        ("minima, counted", "tab:orange", {s: c.minima for s, c in counts.items()}),
    ):
        means = [x.mean() for x in values.values()]
        errors = [2 * _error(x) for x in values.values()]
        ax.errorbar(list(values), means, errors, fmt="o", ms=4, color=colour, label=name, capsize=3)
    ax.plot(list(counts), [c.expected_minima for c in counts.values()], "_", ms=14, color="tab:red",
            label="minima, by Kac and Rice")  # fmt: skip
    ax.axvline(sqrt(P * (P - 2)), color="grey", lw=0.8, ls=":")
    ax.set(xlabel="strength v of the field", ylabel="critical points", ylim=(0.7, 1e6),
           title="critical points")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def _energy_panel(ax: Any, regimes: dict[str, Regime]) -> None:
    for k, regime in enumerate(regimes.values()):
        for j, row in enumerate(regime.energy):
            ax.plot(np.full(row.size, k + (j / len(regime.energy) - 0.5) * 0.7), row, ".", ms=2,
                    color=f"C{k}")  # fmt: skip
    for level, name in ((landscapes.threshold(P), "-E∞"), (landscapes.ground_state(P), "-E₀")):
        ax.plot([-0.5, 0.5], [-level, -level], color="black", lw=0.8)
        ax.text(0.52, -level, name, fontsize=9, va="bottom" if name == "-E∞" else "top")
    ax.set_xticks(range(len(regimes)), [name.replace(", ", "\n") for name in regimes], fontsize=8)
    ax.set(ylabel="energy per spin", title=f"ends of descents, N = {SPINS}, by disorder")


def _embedding_panel(ax: Any, regimes: dict[str, Regime]) -> None:
    """t-SNE of the minima of one disorder in all regimes together: equal ends are one point."""
    from sklearn.manifold import TSNE  # takes long to import

    minima = [_minima(regime.points) for regime in regimes.values()]
    ends = np.concatenate([points for points, _ in minima])
    tsne = TSNE(perplexity=min(10, len(ends) // 3), init="pca", random_state=0)
    place = np.split(tsne.fit_transform(ends), np.cumsum([len(x) for x, _ in minima])[:-1])
    for k, (name, x, (_, times)) in enumerate(zip(regimes, place, minima, strict=True)):
        ax.scatter(*x.T, s=25 * times, marker="o^s"[k], alpha=0.6, label=name, color=f"C{k}")
    ax.margins(0.15)
    ax.set(title="minima of one disorder (t-SNE), larger if met more often", xticks=[], yticks=[])
    for mark in ax.legend(fontsize=8, frameon=False).legend_handles:
        mark.set_sizes([25])


def _minima(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ends and how often each was met."""
    groups = fcluster(linkage(points), APART * sqrt(SPINS), "distance")
    _, first, times = np.unique(groups, return_index=True, return_counts=True)
    return points[first], times


def _annealing_panel(ax: Any, annealed: dict[int, Annealed]) -> None:
    for name, pick, style in (
        ("field removed", lambda a: a.energy, "o-"),
        ("plain descents", lambda a: a.plain, "--"),
        ("best of as many gradients", lambda a: a.best, "s:"),
    ):
        values = [pick(a) for a in annealed.values()]
        ax.errorbar([a.gradients for a in annealed.values()], [x.mean() for x in values],
                    [2 * _error(x) for x in values],
                    fmt=style, ms=4, capsize=3, label=name)  # fmt: skip
    ax.set(xscale="log", xlabel="gradients", ylabel="energy per spin",
           title="a field removed as in the thesis")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
