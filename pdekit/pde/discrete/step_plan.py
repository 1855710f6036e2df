"""Steps in time of a splitting, chosen so that the error at the end is below a tolerance.

By step doubling; to avoid agreement of two wrong runs, first steps resolve
rotations, and a third run checks whether the changes decrease at the expected rate.
"""

from typing import Any, Protocol

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError

_DEEPEST = 24  # halvings of an output interval before giving up
_SHARE = 0.4  # of the change with steps twice as long: a third, and a margin
_ROUGH = 1.0  # the same if the coarser grid is insufficient: rough data or rates, first order
_MOST_STEPS = 40_000  # of all plans of an output interval
_CALM = 0.3  # of the tolerance: limit for errors extrapolated at the current rate
# The quotient of changes is not used below a part of the tolerance, nor near one
_SURE, _STUCK, _MARGIN = 0.02, 0.95, 1.2
# Of the tolerance, the local error that driven steps may show: smaller rotating
# waves, unresolved in both runs, are larger by at most this factor
_FORGOTTEN, _UNSEEN = 0.02, 10.0


class Stepper(Protocol):
    """Steps of one problem on one grid.

    ``blind``: whether the grid is coarser than the problem's; ``driven``: whether there is a
    force; ``tried`` counts the steps of all plans of an output interval.
    """

    problem: Any
    blind: bool
    tried: int

    @property
    def driven(self) -> bool: ...

    def march(self, u: Array, t: float, dt: float, count: int) -> Array: ...

    def run(self, u: Array, t: float, steps: list[float]) -> Array: ...

    def local_error(self, u: Array, t: float, dt: float) -> tuple[float, Array]: ...


def plan(
    pilot: Stepper, start: Array, t0: float, span: float, tolerance: float, first: float
) -> tuple[list[float], Array, float]:
    """Step lengths over [t0, t0 + span] that sum to it, the pilot's final field, its error."""
    pilot.tried = 0
    each = tolerance  # equal local errors minimise the number of steps
    if pilot.driven:
        each *= _FORGOTTEN
    while True:
        steps, u, error = _equidistribute(pilot, start, t0, span, each, first, tolerance)
        if pilot.driven and error <= tolerance:
            # the merged half steps of the first direction are longer than those tested, which
            # matters if the dynamics along a line is not only relaxation
            u = pilot.run(start.copy(), t0, steps)
            pairs = pilot.run(start.copy(), t0, [2 * dt for dt in steps[::2]])
            error = _extrapolated(pilot, start, t0, steps, pairs, u, tolerance) + _UNSEEN * each
        if error <= tolerance:
            return steps, u, error
        each *= (0.7 * tolerance / error) ** 1.5  # orders of the local and the global error


def _equidistribute(
    pilot: Stepper, start: Array, t0: float, span: float, each: float, longest: float,
    tolerance: float,
) -> tuple[list[float], Array, float]:  # fmt: skip
    """Steps span / 2^k whose local errors, by step doubling, stay below ``each``.

    The first is not longer than ``longest``, which resolves persistent rotations;
    later steps grow while their error is small. Returns them in pairs of equal ones, the
    field at the end, and its error, from its distance to the field of a run with every pair in
    one step.
    """
    steps: list[float] = []
    level, done = 2, 0  # done counts the finest steps span / 2^_DEEPEST
    while level < _DEEPEST and span > longest * (1 << level):
        level += 1
    u, doubled = start, start.copy()
    while done < 1 << _DEEPEST:
        dt, t = span / (1 << level), t0 + span * done / (1 << _DEEPEST)
        error, halves = pilot.local_error(u, t, dt)
        if error > each:
            level += 1
            if level > _DEEPEST:
                raise ConvergenceError(
                    f"splitting over [{t0:g}, {t0 + span:g}] does not reach a local error of "
                    f"{each:.2g}: a step of {dt:.2g} still has an error of {error:.2g}; raise the "
                    "tolerance"
                )
            continue
        pilot.tried += 2
        if pilot.tried > _MOST_STEPS:
            raise ConvergenceError(
                f"splitting over [{t0:g}, {t0 + span:g}] still does not reach its tolerance after "
                f"{pilot.tried} steps; raise the tolerance, or, where nothing moves, use Krylov()"
            )
        doubled = pilot.march(doubled, t, dt, 1)
        u = halves
        steps += [dt / 2] * 2
        done += 1 << (_DEEPEST - level)
        # a doubled step errs eight times as much; where the coarser grid does not do, it may be so
        # long that it shows no more than a part of what it misses, so that on the way there errors
        # going on at this rate must not matter
        calm = error * (t0 + span - t - dt) <= _CALM * tolerance * dt
        if (
            level > 0
            and error < each / 8
            and (pilot.blind or calm)
            and done % (1 << (_DEEPEST - level + 1)) == 0
        ):
            level -= 1
    return steps, u, _extrapolated(pilot, start, t0, steps, doubled, u, tolerance)


def _extrapolated(
    pilot: Stepper, start: Array, t0: float, steps: list[float], doubled: Array, u: Array,
    tolerance: float,
) -> float:  # fmt: skip
    """The error of u, from runs with steps twice and four times as long.

    The first changes u by d, the second that by D; where the order is two d / D is 1/4 and the
    error d / 3. If the steps are too long for both runs, d / D is near one,
    and the error of any size: d (d / D) / (1 - d / D) if the changes continue geometrically.
    """
    share = _SHARE if pilot.blind else _ROUGH
    change: float = pilot.problem.distance(doubled, u)
    if change < _SURE * tolerance:
        return share * change
    quads: list[float] = []
    pairs = [2 * dt for dt in steps[::2]]
    k = 0
    while k < len(pairs):
        same = k + 1 < len(pairs) and pairs[k + 1] == pairs[k]
        quads.append(pairs[k] * (2 if same else 1))
        k += 2 if same else 1
    before: float = pilot.problem.distance(pilot.run(start.copy(), t0, quads), doubled)
    ratio = min(change / max(before, 1e-300), _STUCK)
    return max(share, _MARGIN * ratio / (1 - ratio)) * change
