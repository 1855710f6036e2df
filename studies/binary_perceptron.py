"""Do dense solutions generalise better than isolated ones? Denser ones do; hardly one is isolated.

Thesis section 3.1.1: weights x in {-1, 1}^d, right about N = αd random patterns of signs, whose
labels are random or a teacher's. All 2^21 weights of d = 21 are looked at. Of the thesis' claims
those about density and error hold in so small a system, those about isolation do not:

* there are as many solutions as is known exactly. With random labels the last one goes at
  α = 0.83 on average, as for d → ∞ (0.833, where the entropy of replica theory vanishes): above it
  none is left, not below it, as printed (errata 62). The teacher is alone from 1.42 on, not yet
  from 1.245: his near neighbours stay, 3.6 within distance 4 on average, 8e-9 for d = 1,001;
* (3.3) is how likely x and the teacher are to disagree, not to agree (errata 62), and this only for
  d → ∞: for patterns of signs and d = 21 it is up to 0.036 off;
* the more solutions there are within distance 2 to 4 of one, the less is its error, also if the
  teacher is not among these; the densest are nearly the best of all;
* typical solutions are not isolated (wherever there are 20 or more): nearly all have another within
  distance 2 and are in one cluster with the rest. To be isolated takes a large d: at α = 1/2 a
  typical solution has 352 others within distance 4 on average for d = 21, 176 for d = 1,001,
  2e-10 for d = 10,001;
* who has most solutions for neighbours need not be one, which the thesis expects at small distance;
* annealing finds nearly typical solutions. Three replicas held together find denser ones with as
  many evaluations, and as often and of less error if these are 4,000, not yet if 1,000; annealing
  of the local entropy finds the densest, but in few walks.

Baldassi et al. (2015, 2016).
"""

from dataclasses import dataclass
from functools import cache
from math import comb, nan, sqrt
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from scipy import optimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import log_ndtr
from scipy.stats import binom, norm, rankdata
from scipy.stats import t as student
from tqdm import tqdm

from pdekit.claims import Claim, at_least, at_most

D = 21  # weights, an odd number: no pattern of signs is on the boundary
SIZES = (9, 13, 17, D)
LAST = 5  # patterns of a weight, after which hardly a disorder has more than its teacher
KEPT = {"random labels": 0, "teacher": 1}  # solutions that no pattern can remove
COUNTED = (4, 7, 10)  # patterns where counts meet their expectation; later tails are heavy
PATTERNS = {"random labels": (10, 12, 14), "teacher": (11, 14, 18)}  # where neighbours are met
RADII = (2, 3, 4)  # Hamming distances of local entropy
FEWEST = 20  # solutions, for a correlation over them
LARGE = (21, 101, 1001, 10_001)  # weights, for what is known exactly in any number
SEARCHED = 14  # patterns of the searches
BETAS = (1.0, 6.0)  # of annealing, from and to
WALKS = 64  # of every disorder, by every setting
PLAIN, REPLICAS, LOCAL = "annealing", "three replicas", "local entropy"


@dataclass(frozen=True)
class Counts:
    """Solutions after 0, 1, 2, ... patterns: ``(disorders, patterns + 1)``."""

    task: str
    d: int
    solutions: np.ndarray

    def deviations(self, patterns: int) -> float:
        """Of the mean from the exact expectation, in standard errors."""
        found = self.solutions[:, patterns]
        return abs(found.mean() - expected(self.task, self.d, patterns)) / _error(found)

    @property
    def alive(self) -> np.ndarray:
        """Whether there is a solution besides the teacher."""
        return self.solutions > KEPT[self.task]

    @property
    def last(self) -> np.ndarray:
        """Of every disorder the α up to which there is one."""
        return (self.alive.sum(1) - 1) / self.d


@dataclass(frozen=True)
class Neighbours:
    """Means over the solutions of a disorder, by name; NaN where there are none to average."""

    solutions: np.ndarray  # of every disorder
    means: dict[str, np.ndarray]  # of those with FEWEST or more
    tenths: np.ndarray  # error and error beyond by rank of local entropy, (disorders, 2, 10)


@dataclass(frozen=True)
class Search:
    """A setting: by disorder the share of walks that end in a solution, and more about ends."""

    solved: np.ndarray
    entropy: np.ndarray  # log of the solutions within 3 of those found, over a typical one's
    error: np.ndarray  # expected error of all ends, solved or not, over a typical solution's


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    counts: dict[tuple[str, int], Counts]  # by task and d
    neighbours: dict[tuple[str, int], Neighbours]  # by task and patterns
    centres: np.ndarray  # whether those with most solutions around are one
    searches: dict[int, dict[str, list[Search]]]  # by evaluations of the energy
    transitions: dict[str, float]
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer disorders.")] = False,
    disorders: Annotated[int | None, typer.Option(min=8, help="Disorders of the counts.")] = None,
    evaluations: Annotated[int, typer.Option(min=100, help="Of longer searches.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Of all patterns and walks.")] = 0,
) -> Results:
    """Count the solutions, look at the neighbours of all of them, search for one."""
    disorders = disorders or (60 if quick else 480)
    few = max(20, disorders // 8)
    rng = np.random.default_rng(seed)
    with tqdm(total=2 * len(SIZES) + 25, desc="binary_perceptron") as bar:
        counts = {(task, d): _counts(task, d, disorders, rng, bar) for task in KEPT for d in SIZES}
        neighbours = {
            (task, n): _neighbours(task, n, few, rng, bar)
            for task, patterns in PATTERNS.items() for n in patterns
        }  # fmt: skip
        centres = _centres(few, rng, bar)
        searches = _searches(few, (evaluations // 4, evaluations), rng, bar)
    results = Results(counts, neighbours, centres, searches, transitions(), {})
    results.numbers.update(_numbers(results))
    return results


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / sqrt(values.size))


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over the disorders that have a number, and half its 95 % interval."""
    known = values[np.isfinite(values)]
    if known.size < 2:
        return nan, nan
    return float(known.mean()), float(student.ppf(0.975, known.size - 1) * _error(known))


def _upper(values: np.ndarray) -> float:
    return -_lower(-values)


def _lower(values: np.ndarray) -> float:
    mean, half = _interval(values)
    return mean - half


# ---- weights and patterns: integers, whose binary digits 1 are signs -1 --------------------------


@cache
def ones(d: int) -> np.ndarray:
    """How many binary digits of 0, ..., 2^d - 1 are 1."""
    counted = np.zeros(1, np.uint8)
    for _ in range(d):
        counted = np.concatenate([counted, counted + np.uint8(1)])
    return counted


def draw(task: str, count: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """y ξ of random patterns ξ in {-1, 1}^d: a solution has x·yξ > 0 for all of them.

    y is random, or the label of the teacher (1, ..., 1), who is any other by symmetry.
    """
    patterns = rng.integers(0, 1 << d, count, dtype=np.int32)
    against = (ones(d)[patterns] > d // 2) & (task == "teacher")
    return np.where(against, patterns ^ np.int32((1 << d) - 1), patterns)


def fails(x: np.ndarray, pattern: Any, d: int) -> np.ndarray:
    """Whether x·yξ < 0: more than half of their digits differ."""
    return ones(d)[x ^ pattern] > d // 2


def sieve(patterns: np.ndarray, d: int, least: int = 0) -> tuple[np.ndarray, list[int]]:
    """Solutions among all 2^d weights, and how many there were after 0, 1, ... patterns.

    Stops once no more than ``least`` are left.
    """
    x = np.arange(1 << d, dtype=np.int32)
    counts = [x.size]
    for pattern in patterns:
        x = x[~fails(x, pattern, d)]
        counts.append(x.size)
        if x.size <= least:
            break
    return x, counts


def distances(x: np.ndarray, solutions: np.ndarray, d: int) -> np.ndarray:
    """How many solutions are at distance 0, ..., d of each x: ``(len(x), d + 1)``."""
    return np.stack([np.bincount(ones(d)[solutions ^ each], minlength=d + 1) for each in x])


@cache
def disagreement(d: int, k: int) -> float:
    """ε_k: how likely two weights at distance k are to disagree about a pattern of signs.

    They share d - k terms of x·ξ, with sum A, and differ in the sign of k, with sum B: |A| < |B|.
    """
    a, b = d - k - 2 * np.arange(d - k + 1), k - 2 * np.arange(k + 1)
    p = binom.pmf(np.arange(d - k + 1), d - k, 0.5)
    smaller = np.array([p[np.abs(a) < abs(each)].sum() for each in b])
    return float(smaller @ binom.pmf(np.arange(k + 1), k, 0.5))


@cache
def disagreements(d: int) -> np.ndarray:
    """ε_k for k = 0, ..., d; arccos(1 - 2k/d)/π as d → ∞."""
    return np.array([disagreement(d, k) for k in range(d + 1)])


# ---- numbers of solutions ------------------------------------------------------------------------


def _counts(task: str, d: int, disorders: int, rng: np.random.Generator, bar: Any) -> Counts:
    found = np.full((disorders, LAST * d + 1), KEPT[task])
    for row in found:
        _, counts = sieve(draw(task, LAST * d, d, rng), d, KEPT[task])
        row[: len(counts)] = counts
    bar.update()
    return Counts(task, d, found)


def expected(task: str, d: int, patterns: int) -> float:
    """Mean number of solutions: 2^(d-N), with a teacher Σ_k C(d, k) (1 - ε_k)^N."""
    if task == "random labels":
        return 2.0 ** (d - patterns)
    return sum(expected_at(d, k, patterns) for k in range(d + 1))


def expected_at(d: int, k: int, patterns: int) -> float:
    """Mean number at distance k of the teacher, who is a typical solution by Bayes' rule."""
    return comb(d, k) * (1 - disagreement(d, k)) ** patterns


def expected_near(d: int, alpha: float, radius: int = 4) -> float:
    """The same of solutions besides the teacher within a distance."""
    return sum(expected_at(d, k, round(alpha * d)) for k in range(1, radius + 1))


NODES = np.linspace(-9, 9, 1201)
MASS = norm.pdf(NODES) * (NODES[1] - NODES[0])


def entropy(task: str, alpha: float) -> float:
    """Mean of log(number of solutions)/d as d → ∞, replica symmetric, at its saddle point q, r.

    H is the tail of the normal law, φ its density, u = (q/(1-q))^½ z, <> the mean over a normal z:
    random: -r(1-q)/2 + <log 2cosh(r^½ z)> + α<log H(u)>; q = <tanh²>, r = α<(φ/H)²>/(1-q);
    teacher: -r(1+q)/2 + <log 2cosh(r + r^½ z)> + 2α<H log H>; q = <tanh>, r = 2α<φ²/H>/(1-q).
    Krauth and Mézard (1989); Györgyi (1990).
    """
    taught = int(task == "teacher")
    q = 0.0
    for _ in range(10_000):
        u = sqrt(q / (1 - q)) * NODES
        log_tail = log_ndtr(-u)
        weight = 2 * MASS * np.exp(log_tail) if taught else MASS
        r = alpha / (1 - q) * weight @ np.exp(2 * (norm.logpdf(u) - log_tail))
        field = taught * r + sqrt(r) * NODES
        old, q = q, float(MASS @ np.tanh(field) ** (2 - taught))
        if abs(q - old) < 1e-10:
            break
    prior = MASS @ np.logaddexp(field, -field) - r * (1 + (2 * taught - 1) * q) / 2
    return float(prior + alpha * weight @ log_tail)


@cache
def transitions() -> dict[str, float]:
    """α where that entropy vanishes: beyond it no solution is left, or the teacher alone."""
    return {task: optimize.brentq(lambda alpha, task=task: entropy(task, alpha), 0.7, 1.4)
            for task in KEPT}  # fmt: skip


# ---- neighbours of all solutions -----------------------------------------------------------------


def _neighbours(
    task: str, patterns: int, disorders: int, rng: np.random.Generator, bar: Any
) -> Neighbours:
    found = [sieve(draw(task, patterns, D, rng), D)[0] for _ in range(disorders)]
    pairs = [(x, distances(x, x, D)) for x in found if x.size >= FEWEST]
    rows = [_isolation(x, near) | (_errors(x, near) if KEPT[task] else {}) for x, near in pairs]
    bar.update()
    return Neighbours(
        np.array([x.size for x in found]),
        {name: np.array([row[name] for row in rows]) for name in rows[0]},
        np.array([_by_rank(near) for _, near in pairs]),
    )


def _isolation(x: np.ndarray, near: np.ndarray) -> dict[str, float]:
    """Shares of solutions: without another within distance 2, without within 1; in one cluster.

    A cluster is connected by steps to distance 2: the first is as likely as the second to be
    seen by a pattern of signs, since ε_1 = ε_2.
    """
    return {
        "share isolated": (near[:, 1:3].sum(1) == 0).mean(),
        "share without one at distance 1": (near[:, 1] == 0).mean(),
        "share in largest cluster": np.bincount(clusters(x, D)).max() / x.size,
    }


def clusters(x: np.ndarray, d: int) -> np.ndarray:
    """Labels of the clusters of the sorted solutions x."""
    digits = 1 << np.arange(d)
    flips = np.unique(digits[:, None] ^ np.append(digits, 0))  # of two digits or one, and none
    flipped = x[:, None] ^ flips
    place = np.minimum(np.searchsorted(x, flipped), x.size - 1)
    row, flip = np.nonzero(x[place] == flipped)
    linked = coo_array((np.ones(row.size), (row, place[row, flip])), shape=(x.size, x.size))
    return connected_components(linked, directed=False)[1]


def _errors(x: np.ndarray, near: np.ndarray) -> dict[str, float]:
    """Errors of kinds of solutions, and rank correlations of error with local entropy.

    By Bayes' rule the teacher is any of the solutions with equal probability: the expected error
    of one is a mean over all of them; "beyond", over those outside its ball.
    """
    error, own, ball = expected_error(near), disagreements(D)[ones(D)[x]], near[:, :5].sum(1)
    densest, sparsest = ball == ball.max(), ball == ball.min()
    found = {
        "typical": error.mean(), "typical, by its teacher": own.mean(), "best": error.min(),
        "densest": error[densest].mean(), "densest, by its teacher": own[densest].mean(),
        "sparsest": error[sparsest].mean(),
    }  # fmt: skip
    for radius in RADII:
        count, beyond = near[:, : radius + 1].sum(1), expected_error(near, radius + 1)
        found |= {
            f"correlation {radius}": rank_correlation(count, error),
            f"correlation {radius}, beyond": rank_correlation(count, beyond),
            f"correlation {radius}, by its teacher": rank_correlation(count, own),
        }
    return found


def expected_error(near: np.ndarray, least: int = 0) -> np.ndarray:
    """Mean of ε over the solutions at distance ``least`` or more; NaN where there are none."""
    counted, d = near[:, least:], near.shape[1] - 1
    with np.errstate(invalid="ignore"):
        return counted @ disagreements(d)[least:] / counted.sum(1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; NaN where one is constant."""
    known = np.isfinite(b)
    a, b = rankdata(a[known]), rankdata(b[known])
    return float(np.corrcoef(a, b)[0, 1]) if a.std() * b.std() > 0 else nan


def _by_rank(near: np.ndarray) -> np.ndarray:
    """Expected error, and with the teacher beyond distance 4, by tenths of local entropy."""
    count = near[:, :5].sum(1)
    tenth = (10 * (rankdata(count) - 0.5) / count.size).astype(int)
    return np.array([
        [error[tenth == k].mean() if (tenth == k).any() else nan for k in range(10)]
        for error in (expected_error(near), expected_error(near, 5))
    ])  # fmt: skip


def _centres(disorders: int, rng: np.random.Generator, bar: Any) -> np.ndarray:
    """Whether the weights with most solutions at distance 1, 2, 3 are one: ``(disorders, 3)``."""
    rows = []
    for _ in range(disorders):
        solutions, *around = spheres(sieve(draw("teacher", SEARCHED, D, rng), D)[0], D, 3)
        rows.append([solutions[count == count.max()].mean() for count in around])
    bar.update()
    return np.array(rows)


def spheres(solutions: np.ndarray, d: int, radius: int) -> list[np.ndarray]:
    """How many solutions are at distance 0, ..., radius of each of the 2^d weights.

    (k + 1) S_{k+1} = A S_k - (d - k + 1) S_{k-1}, A the sum over neighbours.
    """
    inside = np.zeros(1 << d, np.int32)
    inside[solutions] = 1
    found = [np.zeros_like(inside), inside]
    for k in range(radius):
        found.append((_over_neighbours(found[-1], d) - (d - k + 1) * found[-2]) // (k + 1))
    return found[1:]


def _over_neighbours(f: np.ndarray, d: int) -> np.ndarray:
    return sum((f.reshape(-1, 2, 1 << b)[:, ::-1].ravel() for b in range(d)), np.zeros_like(f))


# ---- searches ------------------------------------------------------------------------------------


def energies(patterns: np.ndarray, d: int) -> np.ndarray:
    """How many patterns each of the 2^d weights gets wrong."""
    x = np.arange(1 << d, dtype=np.int32)
    return sum((fails(x, p, d).astype(np.uint8) for p in patterns), np.zeros(x.size, np.uint8))


@dataclass(frozen=True)
class Annealing:
    """Metropolis of replicas with law exp(-β Σ_a E(x_a) - γ Σ_{a<b} distance(x_a, x_b)).

    β rises over ``betas``, γ from 0 to ``coupling``. One replica is simulated annealing, more are
    held together where solutions are dense: replicated annealing (Baldassi et al. 2016).
    """

    betas: tuple[float, float] = BETAS
    replicas: int = 1
    coupling: float = 0.0

    def search(self, energy: Any, walks: int, d: int, evaluations: int, rng: Any) -> np.ndarray:
        """Ends of the first replica of each walk, whose replicas share its evaluations."""
        x = rng.integers(0, 1 << d, (self.replicas, walks))
        e, steps = energy(x), evaluations - self.replicas
        for step in range(steps):
            a, share = step % self.replicas, step / steps
            flip = rng.integers(0, d, walks)
            moved = x[a] ^ (1 << flip)
            rise = energy(moved) - e[a]
            apart = self.replicas - 1 - 2 * ((x ^ x[a]) >> flip & 1).sum(0)
            exponent = _between(self.betas, share) * rise + self.coupling * share * apart
            taken = rng.random(walks) < np.exp(-exponent)
            x[a] = np.where(taken, moved, x[a])
            e[a] += np.where(taken, rise, 0)
        return x[0]


@dataclass(frozen=True)
class LocalEntropy:
    """Metropolis with law (Σ exp(-β E))^power, a sum over x and its d neighbours.

    Baldassi et al. (2016). A step takes d + 1 evaluations.
    """

    power: float

    def search(self, energy: Any, walks: int, d: int, evaluations: int, rng: Any) -> np.ndarray:
        """Ends of all walks."""
        ball = np.concatenate([[0], 1 << np.arange(d)])[:, None]
        x = rng.integers(0, 1 << d, walks)
        e, steps = energy(x ^ ball), evaluations // (d + 1) - 1
        for step in range(steps):
            beta = _between(BETAS, step / steps)
            moved = x ^ (1 << rng.integers(0, d, walks))
            new = energy(moved ^ ball)
            ratio = np.exp(-beta * new).sum(0) / np.exp(-beta * e).sum(0)
            taken = rng.random(walks) < ratio**self.power
            x, e = np.where(taken, moved, x), np.where(taken, new, e)
        return x


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


SETTINGS: dict[str, list[Any]] = {
    PLAIN: [Annealing(betas) for betas in ((1.0, 3.0), BETAS, (0.5, 5.0))],
    REPLICAS: [Annealing(BETAS, 3, coupling) for coupling in (0.5, 1.0, 2.0)],
    LOCAL: [LocalEntropy(power) for power in (1.0, 3.0, 10.0)],
}


def _searches(
    disorders: int, budgets: tuple[int, ...], rng: Any, bar: Any
) -> dict[int, dict[str, list[Search]]]:
    """All walks of all disorders of a setting at once."""
    problems = [draw("teacher", SEARCHED, D, rng) for _ in range(disorders)]
    table = np.stack([energies(patterns, D) for patterns in problems])
    solutions = [sieve(patterns, D)[0] for patterns in problems]
    which = np.repeat(np.arange(disorders), WALKS)

    def ends(setting: Any, evaluations: int) -> Search:
        found = setting.search(
            lambda x: table[which, x].astype(float), which.size, D, evaluations, rng
        )
        bar.update()
        return _judged(found.reshape(disorders, WALKS), solutions)

    return {
        evaluations: {
            name: [ends(setting, evaluations) for setting in settings]
            for name, settings in SETTINGS.items()
        }
        for evaluations in budgets
    }


def _judged(ends: np.ndarray, solutions: list[np.ndarray]) -> Search:
    rows = [_of_disorder(x, every) for x, every in zip(ends, solutions, strict=True)]
    return Search(*np.array(rows).T)


def _of_disorder(ends: np.ndarray, solutions: np.ndarray) -> tuple[float, float, float]:
    typical, near = distances(solutions, solutions, D), distances(ends, solutions, D)
    solved = near[:, 0] > 0
    found, usual = near[solved, :4].sum(1), typical[:, :4].sum(1)
    denser = np.log(found).mean() - np.log(usual).mean() if solved.any() else nan
    return solved.mean(), denser, expected_error(near).mean() - expected_error(typical).mean()


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    return {
        "transitions": results.transitions,
        "counted": {
            f"{task}, d = {d}": {
                "last_alpha": _interval(c.last),
                "solutions": {
                    str(n): [c.solutions[:, n].mean(), _error(c.solutions[:, n]),
                             expected(task, d, n)] for n in COUNTED
                },
            }
            for (task, d), c in results.counts.items()
        },
        "neighbours": {
            f"{task}, N = {n}": {
                "disorders": len(found.tenths), "of": found.solutions.size,
                "solutions_median": float(np.median(found.solutions)),
                **{name: _interval(values) for name, values in found.means.items()},
            }
            for (task, n), found in results.neighbours.items()
        },
        "centres": [_interval(share) for share in results.centres.T],
        "searches": {
            f"{name}, {evaluations} evaluations": [
                {"setting": str(setting), "solved": _interval(s.solved),
                 "denser": _interval(s.entropy), "error": _interval(s.error)}
                for setting, s in zip(SETTINGS[name], found, strict=True)
            ]
            for evaluations, by_name in results.searches.items()
            for name, found in by_name.items()
        },
        "expected_within_4": {
            str(d): {str(alpha): expected_near(d, alpha) for alpha in (0.5, 0.833, 1.245)}
            for d in LARGE
        },
    }  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return [
        *_of_counts(results),
        *_of_isolation(results),
        *_of_errors(results),
        *_of_searches(results),
    ]


def _of_counts(results: Results) -> list[Claim]:
    random, taught = (results.counts[task, D] for task in KEPT)
    last, half = _interval(random.last)
    alive = random.alive.mean(0)
    limits = zip(results.transitions.items(), (0.833, 1.245), strict=True)
    return [
        *(at_most(f"{task}, N = {n}: mean number of solutions from exact, standard errors off",
                  results.counts[task, D].deviations(n), 3.3) for task in KEPT for n in COUNTED),
        *(at_most(f"{task}, d = ∞: entropy vanishes at α = {printed}, off by",
                  abs(alpha - printed), 5e-4) for (task, alpha), printed in limits),
        at_most("random labels, d = 21: α of the last solution, on average, from that, off by",
                abs(last - results.transitions["random labels"]), 0.03, allowance=half),
        at_least("random labels: share of disorders with a solution below it, α = 0.48",
                 alive[10], 0.95),
        at_most("and above it (errata 62), α = 1.5", alive[31], 0.05),
        at_least("teacher, d = 21: α up to which it is not alone, over that, lower 95 % bound",
                 _lower(taught.last) - results.transitions["teacher"], 0.05),
    ]  # fmt: skip


def _of_isolation(results: Results) -> list[Claim]:
    every = {f"{task}, N = {n}": found.means for (task, n), found in results.neighbours.items()}
    return [
        *(at_most(f"{name}: mean share without another within distance 2",
                  means["share isolated"].mean(), 0.1) for name, means in every.items()),
        *(at_least(f"{name}: mean share in one cluster",
                   means["share in largest cluster"].mean(), 0.8)
          for name, means in every.items()),
        at_least("α = 0.5: solutions expected within distance 4 of a typical one, d = 21",
                 expected_near(21, 0.5), 100),
        at_least("and for d = 1,001", expected_near(1001, 0.5), 100),
        at_most("and for d = 10,001", expected_near(10_001, 0.5), 1e-9),
        at_least("α = 1.245: such within distance 4 of the teacher, d = 21",
                 expected_near(21, 1.245), 1),
        at_most("and for d = 1,001", expected_near(1001, 1.245), 1e-6),
        at_least("N = 14: who has most solutions at distance 1 need not be one: share that is not,"
                 " lower 95 % bound", _lower(1 - results.centres[:, 0]), 0.0),
    ]  # fmt: skip


def _of_errors(results: Results) -> list[Claim]:
    made = [
        at_least("(3.3) is not exact for patterns of signs: largest difference, d = 21",
                 _off(21), 0.03),
        at_most("but is as d → ∞: largest difference, d = 1,001", _off(1001), 0.006),
    ]  # fmt: skip
    for n in PATTERNS["teacher"]:
        found, name = results.neighbours["teacher", n].means, f"teacher, N = {n}"
        gap = found["typical, by its teacher"] - found["typical"]
        made += [
            at_most(f"{name}: the teacher is a typical solution: standard errors off",
                    abs(gap.mean()) / _error(gap), 3.3),
            *(at_least(f"{name}: error, {worse} over {better}, lower 95 % bound",
                       _lower(found[worse] - found[better]), 0.0)
              for better, worse in (("densest", "typical"), ("typical", "sparsest"))),
            at_least(f"{name}: and by the teacher itself, lower 95 % bound",
                     _lower(found["typical, by its teacher"] - found["densest, by its teacher"]),
                     0.0),
            at_most(f"{name}: error, densest over best of all, upper 95 % bound",
                    _upper(found["densest"] - found["best"]), 0.005),
            *(at_most(f"{name}: rank correlation of local entropy with error{how}, "
                      "radii 2 to 4, upper 95 % bound",
                      max(_upper(found[f"correlation {r}{how}"]) for r in RADII), bound)
              for how, bound in (("", -0.3), (", beyond", -0.1), (", by its teacher", 0.0))),
        ]  # fmt: skip
    return made


def _off(d: int) -> float:
    """Largest difference of ε_k from arccos(1 - 2k/d)/π over distances k from 1 to 20."""
    return max(abs(disagreement(d, k) - np.arccos(1 - 2 * k / d) / np.pi) for k in range(1, 21))


def _of_searches(results: Results) -> list[Claim]:
    short, long = results.searches
    made = []
    for evaluations, found in results.searches.items():
        plain, replicas, local = (found[name] for name in (PLAIN, REPLICAS, LOCAL))
        made += [
            at_most(f"{evaluations} evaluations, annealing: log of solutions within 3 over typical,"
                    " any setting, upper 95 % bound", max(_upper(s.entropy) for s in plain), 0.2),
            at_least("three replicas find denser ones: by, any settings, lower 95 % bound",
                     min(_lower(s.entropy - p.entropy) for p in plain for s in replicas), 0.02),
            at_least("local entropy itself finds denser ones: by, lower 95 % bound",
                     min(_lower(local[-1].entropy - p.entropy) for p in plain), 0.0),
            at_most("but solves fewer: ratio to annealing",
                    local[-1].solved.mean() / _most_solved(plain), 0.75),
        ]  # fmt: skip
    plain, replicas = (results.searches[long][name] for name in (PLAIN, REPLICAS))
    best = min(plain, key=lambda s: s.error.mean()).error
    hasty = [_most_solved(results.searches[short][name]) for name in (REPLICAS, PLAIN)]
    return [
        *made,
        at_least(f"{long} evaluations: replicas solve as many as annealing, at best: ratio",
                 _most_solved(replicas) / _most_solved(plain), 0.95),
        at_least("and have less error than annealing at best: by, on average, lower 95 % bound",
                 _lower(best - np.mean([s.error for s in replicas], axis=0)), 0.001),
        at_most(f"{short} evaluations are too few for them to solve as many: ratio",
                hasty[0] / hasty[1], 0.99),
    ]  # fmt: skip


def _most_solved(settings: list[Search]) -> float:
    return max(float(s.solved.mean()) for s in settings)


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = {"random labels": "tab:blue", "teacher": "tab:orange"}


def plot(results: Results) -> Figure:
    """Numbers of solutions, where they end, errors by local entropy, and searches."""
    figure = Figure(figsize=(10, 7.8), layout="constrained")
    axes = figure.subplots(2, 2)
    _counts_panel(axes[0, 0], results)
    _end_panel(axes[0, 1], results)
    _errors_panel(axes[1, 0], results.neighbours)
    _search_panel(axes[1, 1], results.searches)
    return figure


def _counts_panel(ax: Any, results: Results) -> None:
    n = np.arange(2 * D + 1)
    for task, colour in COLOURS.items():
        found = results.counts[task, D].solutions[:, : n.size]
        alpha = np.linspace(0.02, results.transitions[task], 40)
        ax.semilogy(n / D, [expected(task, D, k) for k in n], color=colour, lw=1.2,
                    label=f"{task}: mean, exact")  # fmt: skip
        ax.plot(n / D, found.mean(0), "o", ms=3.5, color=colour, label="mean, counted")
        ax.plot(n / D, np.median(found, 0), "_", ms=7, color=colour, label="median")
        ax.plot(alpha, [np.exp(D * entropy(task, a)) for a in alpha], ":", color=colour,
                label="exp(21 s), s of d = ∞")  # fmt: skip
    ax.set(xlabel="α = N/d", ylabel="solutions", ylim=(0.3, 2.0 ** (D + 1)),
           title="solutions among 2²¹ weights")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def _end_panel(ax: Any, results: Results) -> None:
    for task, colour in COLOURS.items():
        for d, style in ((SIZES[0], ":"), (D, "-")):
            alive = results.counts[task, d].alive.mean(0)
            ax.plot(np.arange(alive.size) / d, alive, style, color=colour, label=f"{task}, d = {d}")
        ax.axvline(results.transitions[task], color=colour, lw=0.8, ls="--")
        ax.text(results.transitions[task] + 0.03, 1.04, f"{results.transitions[task]:.3f}",
                fontsize=9, color=colour)  # fmt: skip
    ax.set(xlabel="α = N/d", ylabel="share of disorders", xlim=(0, 3), ylim=(-0.02, 1.12),
           title="a solution is left, besides the teacher")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def _errors_panel(ax: Any, neighbours: dict[tuple[str, int], Neighbours]) -> None:
    marks = zip(PATTERNS["teacher"], "os^", ("C0", "C1", "C2"), strict=True)
    for n, mark, colour in marks:
        found = neighbours["teacher", n]
        for which, style in ((0, "-"), (1, ":")):
            means, halves = np.array([_interval(tenth) for tenth in found.tenths[:, which].T]).T
            ax.errorbar(np.arange(10) + 0.5, means, halves, fmt=mark + style, ms=4, capsize=3,
                        color=colour, label=None if which else f"α = {n / D:.2f}")  # fmt: skip
    ax.plot([], [], ":", color="black", label="teacher not within 4")
    ax.set(xlabel="tenths of the solutions, from sparse to dense", ylabel="expected error",
           title="error by number of solutions within 4", ylim=(0.235, None))  # fmt: skip
    ax.legend(fontsize=8, frameon=False, ncols=2, loc="lower left")


def _search_panel(ax: Any, searches: dict[int, dict[str, list[Search]]]) -> None:
    for (evaluations, found), face in zip(searches.items(), ("white", None), strict=True):
        for name, mark, colour in zip(found, "os^", ("C0", "C1", "C2"), strict=True):
            x, dx = np.array([_interval(s.solved) for s in found[name]]).T
            y, dy = np.array([_interval(s.entropy) for s in found[name]]).T
            ax.errorbar(x, y, dy, dx, fmt=mark, ms=5, capsize=2, color=colour, mfc=face or colour,
                        label=f"{name}, {evaluations:,}")  # fmt: skip
    ax.axhline(0, color="black", lw=0.8, ls=":")
    ax.set(xlabel="share of walks that end in a solution", xlim=(0, 1),
           ylabel="log of solutions within 3, over typical",
           title="ends of searches, by evaluations of the energy")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
