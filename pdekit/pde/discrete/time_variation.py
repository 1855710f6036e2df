"""Detection of pulses of the coefficients in time that are shorter than the steps.

Step doubling only sees the coefficients at the few times of a step, so a
short pulse in between is missed. Coefficients are cheap compared with a step: they are sampled at
many times, and refined where they deviate from linear interpolation, until a pulse is resolved.
"""

from collections.abc import Callable
from functools import partial
from math import log, sqrt

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_rate
from pdekit.pde.equations import frozen

_LOOKS = 400  # unevenly spaced, to avoid aliasing
_GOLDEN = (sqrt(5) - 1) / 2
_OUT = 8.0  # factor of the median second difference, above which a time is refined
# share of a pulse: deviation from linear up to which an interval is not halved further
_RESOLVED = 0.25
_HALVINGS = 10
_MOST = 3_000  # total number of samples
_PARTS = 16  # of the time, each with its own steps, of a control problem whose parts move
_CELLS = 32  # looked at
_LINES = 8  # per axis of a plane

_GAUSS = sqrt(3) / 6
# of a step, in the commutator-free Magnus method of order four (Blanes and Moan 2006): where the
# coefficients A_1, A_2 are taken, and the weights with which they make its two exponentials
GAUSS_POINTS = 0.5 - _GAUSS, 0.5 + _GAUSS
MAGNUS_STAGES = (0.25 + _GAUSS, 0.25 - _GAUSS), (0.25 - _GAUSS, 0.25 + _GAUSS)
Interval = tuple[float, float]
Sampled = Callable[[float], Array]


def ends_of_pulses(problem: Problem, until: float, least: float) -> list[float]:
    """Ends of intervals, one after the other, of which steps longer than one might miss a pulse.

    Changes of beta times the potential below ``least`` are ignored. On a line, coefficients linear
    between stored times are not checked, since steps end at these.
    """
    known = problem.grid.dim == 1 and _linear_between_times(problem)
    pulses = [] if known else _pulses(partial(_sampled, problem), until, least)
    return [float(t) for ends in pulses for t in ends]


def breaks_of(problem: Problem, least: float) -> list[float]:
    """Times up to which a step of a control problem may lead, where its parts move."""
    until = problem.until
    if not (problem.time_dependent and until):
        return []
    even = np.linspace(0.0, until, _PARTS + 1)[1:-1].tolist()
    return sorted({*even, *problem.breakpoints, *ends_of_pulses(problem, until, least)})


def pieces(problem: Problem, until: float, longest: float, least: float) -> list[Interval]:
    """Ends of time intervals, one for each pulse, and the maximal first step in each."""
    out: list[Interval] = []
    before = 0.0
    for start, end, step in [
        *_groups(_pulses(partial(_sampled, problem), until, least)),
        (until, until, np.inf),
    ]:
        count = int(np.ceil((start - before) / longest))
        out += [(float(t), np.inf) for t in np.linspace(before, start, count + 1)[1:]]
        out += [(end, step)] if end > start else []
        before = end
    return out


def _groups(pulses: list[Interval]) -> list[tuple[float, float, float]]:
    """Start, end and shortest interval of adjacent groups."""
    out: list[tuple[float, float, float]] = []
    for a, b in pulses:
        if out and a <= out[-1][1] * (1 + 1e-12):
            first, _, shortest = out.pop()
            out.append((first, b, min(shortest, b - a)))
        else:
            out.append((a, b, b - a))
    return out


def ends_where_fast(sampled: Sampled, until: float, least: float) -> list[float]:
    """Ends of intervals as above, of whatever is ``sampled`` at a time."""
    return sorted({float(t) for ends in _pulses(sampled, until, least) for t in ends})


def _pulses(sampled: Sampled, until: float, least: float) -> list[Interval]:
    """Consecutive intervals on which fast coefficients are nearly linear."""
    if not until > 0:
        return []
    inner = np.sort(np.arange(1, _LOOKS) * _GOLDEN % 1.0)
    times = until * np.concatenate([[0.0], inner, [1.0]])
    values = np.array([sampled(t) for t in times])
    gaps = np.diff(times)[:, None]
    line = (values[:-2] * gaps[1:] + values[2:] * gaps[:-1]) / (gaps[1:] + gaps[:-1])
    away = np.abs(values[1:-1] - line).max(1)
    bend = away / (gaps[1:, 0] * gaps[:-1, 0])
    out = np.flatnonzero((bend > _OUT * np.median(bend)) & (away > least)) + 1
    fast: dict[int, float] = {}
    for j in map(int, out):
        for k in (j - 1, j):
            fast[k] = max(fast.get(k, 0.0), float(away[j - 1]))
    return _halved(sampled, [(times[k], times[k + 1], size) for k, size in fast.items()])


def _halved(sampled: Sampled, intervals: list[tuple[float, float, float]]) -> list[Interval]:
    """Halve each until it is linear to a quarter of its change."""
    done, samples = [], 0
    stack = [(a, b, sampled(a), sampled(b), z, 0) for a, b, z in intervals]
    while stack:
        a, b, first, last, size, depth = stack.pop()
        middle = (a + b) / 2
        value = sampled(middle)
        samples += 1
        away = float(np.abs(value - (first + last) / 2).max())
        if away <= _RESOLVED * size or depth >= _HALVINGS or samples > _MOST:
            done.append((a, b))
            continue
        stack += [
            (a, middle, first, value, size, depth + 1),
            (middle, b, value, last, size, depth + 1),
        ]
    return sorted(done)


def _linear_between_times(problem: Problem) -> bool:
    """Whether all coefficients are linear between stored times, at which steps end."""
    parts, beta = problem.time_dependent_terms, problem.equation.beta
    return all(part is not beta and len(getattr(part, "times", ())) > 1 for part in parts)


def _sampled(problem: Problem, t: float) -> Array:
    """beta V up to a constant, log beta, beta h F and log D at some cells."""
    equation, grid, beta = problem.equation, problem.grid, problem.beta(t)
    if grid.dim > 1:
        grid = Grid(grid.lower, grid.upper, (_LINES, _LINES), grid.periodic)
    V = beta * problem.potential(t, grid)
    parts = [(V - V.mean()).ravel(), np.array([log(beta)])]
    if drift_diffusion.is_general(equation):
        found = problem.coefficients(t, grid)
        if found.force is not None:
            parts += [beta * (found.force * np.array(grid.spacing)).ravel()]
        with np.errstate(divide="ignore"):
            parts += [np.maximum(np.log(np.abs(found.tensor)), -700.0).ravel()]
    if getattr(equation, "running_cost", None) is not None:
        cost = beta * (problem.until or 1.0) * np.asarray(problem.running_cost(t, grid))
        parts += [cost.ravel()]
    if getattr(equation, "killing", None) is not None:
        still = frozen(equation, problem.motion_time(t)) if problem.time_dependent else equation
        rates = evaluate_rate(still.killing, grid, "the killing rate")
        parts += [(problem.until or 1.0) * rates.ravel()]
    return np.concatenate([part[:: max(1, part.size // _CELLS)] for part in parts])
