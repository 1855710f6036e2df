"""Random problems over the whole admissible range, judged by answers that share no code with it.

A row of the tables in ``test_truth_*.py`` draws a problem and judges its answer. The property is
that of ``docs/trust.md``: the true error is at most what the answer promises, or there is an error
of pdekit's own, or a warning that names the reason. ``pytest --truth 5000`` draws more of each row,
``--truth-seed -1`` draws new ones, and the seed in the header of a report repeats its draws.
``--truth-rest 300`` draws those beyond the first that bring every verb to 300.
"""

import math
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pdekit as pk

Random = np.random.Generator
REFUSALS = (ValueError, TypeError, pk.ConvergenceError)
_SLOWEST = 120.0  # seconds for one draw, of the processor: others may use the machine
_PACKAGE = Path(pk.__file__).parent


@dataclass(frozen=True)
class Trial:
    """One random problem.

    ``call`` is what a user writes; ``judge`` takes its answer to (true error, promised error), both
    in the measure of the promise; ``what`` says the problem in a line, to be tried by hand.
    ``nonsense`` is input that must be refused.
    """

    what: str
    call: Callable[[], Any]
    judge: Callable[[Any], tuple[float, float]] | None = None
    nonsense: bool = False


@dataclass(frozen=True)
class Row:
    """Random problems of one kind.

    ``covers`` names the public verbs, schemes, dynamics or values that the row vouches for.
    ``answered`` is the least share of draws that must be answered without a warning: a verb that
    refuses all is not trusted. ``cost`` divides the number of draws of rows that are slow.
    """

    name: str
    covers: tuple[str, ...]
    make: Callable[[Random], Trial]
    answered: float = 0.7
    cost: int = 1

    def first(self, draws: int) -> range:
        """The draws that it is judged by where ``draws`` are asked of every row."""
        return range(max(1, draws // self.cost))


@dataclass(frozen=True)
class Verdict:
    """How one draw ended: right, warned, refused or wrong, and why."""

    kind: str
    why: str


def judged(trial: Trial) -> Verdict:
    """Run one trial."""
    start = time.process_time()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # a cliff at the seam of a circle is meant, by chains and by loops alike
        warnings.filterwarnings("ignore", ".* periodic where (the grid|its box) is")
        try:
            answer = trial.call()
        except REFUSALS as error:
            return _refusal(trial, error)
        except Exception as error:
            return Verdict("wrong", f"foreign error {type(error).__name__}: {error}")
    messages = [str(w.message) for w in said if issubclass(w.category, pk_warnings())]
    foreign = [w for w in said if not issubclass(w.category, pk_warnings())]
    if foreign:
        return Verdict("wrong", f"foreign warning {foreign[0].category.__name__}: "
                                f"{foreign[0].message}")  # fmt: skip
    if time.process_time() - start > _SLOWEST:
        return Verdict("wrong", f"took {time.process_time() - start:.0f} s")
    if trial.nonsense:
        return (
            Verdict("warned", messages[0])
            if messages
            else Verdict("wrong", "nonsense was accepted")
        )
    assert trial.judge is not None
    error, promised = trial.judge(answer)
    if error <= promised:  # NaN is not
        return Verdict("warned", messages[0]) if messages else Verdict("right", "")
    if messages and not math.isnan(error):
        return Verdict("warned", messages[0])
    return Verdict("wrong", f"error {error:.3g} where {promised:.3g} is promised")


def _refusal(trial: Trial, error: Exception) -> Verdict:
    """A refusal is one of pdekit's only if its last frame is in the package."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = frame.tb_frame.f_code.co_filename if frame is not None else ""
    if not Path(where).is_relative_to(_PACKAGE):
        return Verdict("wrong", f"foreign error {type(error).__name__}: {error} ({where})")
    return Verdict("refused", str(error))


def pk_warnings() -> tuple[type[Warning], ...]:
    """The warnings in which pdekit says what it does not vouch for."""
    from pdekit.particles.run.guards import StepSizeWarning

    return (pk.AccuracyWarning, pk.ResolutionWarning, pk.TruncationWarning, StepSizeWarning)


def draw(row: Row, seed: int, k: int) -> Trial:
    """The k-th problem of a row."""
    return row.make(np.random.default_rng([seed, zlib.crc32(row.name.encode()), k]))


def left_out(rows: list[Row], names: set[str], begun: int, draws: int) -> dict[str, range]:
    """The draws of each row beyond ``begun`` by which each of ``names`` has ``draws`` in all.

    Each row has its share of ``draws``, and rows of one name share what it lacks in proportion.
    """
    has: Counter[str] = Counter()
    for row in rows:
        has.update(dict.fromkeys(row.covers, len(row.first(draws))))
    rest = {}
    for row in rows:
        share = max([1.0, *(draws / has[name] for name in names & {*row.covers})])
        rest[row.name] = range(len(row.first(begun)), math.ceil(len(row.first(draws)) * share))
    return rest


def tally(row: Row, seed: int, draws: int) -> Counter[str]:
    """Judge the first problems of a row; an ``AssertionError`` names those that are wrong."""
    return tally_of(row, seed, row.first(draws))


def tally_of(row: Row, seed: int, draws: range) -> Counter[str]:
    """Judge these problems of a row."""
    kinds: Counter[str] = Counter()
    wrong = []
    for k in draws:
        trial = draw(row, seed, k)
        verdict = judged(trial)
        kinds[verdict.kind] += 1
        if verdict.kind == "wrong":
            wrong.append(f"  draw {k}: {trial.what}\n    {verdict.why}")
    total = kinds.total()
    assert not wrong, (
        f"{row.name}: {len(wrong)} silent wrong answers in {total} draws (--truth-seed {seed}):\n"
        + "\n".join(wrong[:5])
    )
    share = kinds["right"] / total
    assert share >= row.answered - 2 * math.sqrt(0.25 / total), (
        f"{row.name}: only {share:.0%} of {total} draws were answered without a word "
        f"({dict(kinds)}, --truth-seed {seed}); at least {row.answered:.0%} are expected"
    )
    return kinds


def noticed(row: Row, seed: int, draws: range) -> bool:
    """Whether any of these problems is answered wrongly and silently, up to the first."""
    return any(judged(draw(row, seed, k)).kind == "wrong" for k in draws)


def log_uniform(rng: Random, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def pick(rng: Random, *values: Any) -> Any:
    """One of the values."""
    return values[int(rng.integers(len(values)))]
