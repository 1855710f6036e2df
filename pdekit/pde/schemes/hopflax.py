"""The non-viscous Hamilton-Jacobi equation by its Hopf-Lax formula."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.beyond_walls import in_the_whole_space
from pdekit.pde.discrete.conservation import as_slopes
from pdekit.pde.discrete.direct_minimum import direct_minima, missed
from pdekit.pde.discrete.inf_convolution import conjugates, minimum
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.subcell import (
    LITTLE,
    MOST_NODES,
    least,
    on_finer_nodes,
    resolves,
    resolves_walls,
    warn_unresolved,
)
from pdekit.pde.discrete.users_hamiltonians import check_hamiltonian
from pdekit.pde.equations import Burgers, HamiltonJacobi
from pdekit.pde.hamiltonian_terms import Term

_BENDS = 0.0135  # of a second difference: error of cubics between samples, eight per wave
_FARTHEST, _HALVINGS = 1e200, 60
_MOST_IN_A_SECOND = 1 << 17  # nodes, of Hamiltonians other than |p|^2 / 2


@dataclass(frozen=True)
class HopfLax:
    """u(x, t) = min_y f(y) + |x - y|^2 / (2t), axis by axis, each line in linear time.

    The minimum over the cell centres is the lower envelope of parabolas (Felzenszwalb and
    Huttenlocher 2012); ``refine`` then minimises over the parabola through f at the minimiser and
    its neighbours, or over the two lines of a convex kink, up to the walls, which takes the error
    from O(h^2) to O(h^3): a wave of eight cells errs by 2.5 % of its height, one of twenty by
    0.15 %. Without it the map f -> u is exactly monotone; with it, up to that
    O(h^3). Both commute with constants. The minimum is over the box (over all images on a periodic
    axis), which is the no-flux solution.

    Where the samples are too far apart for a parabola (fewer than some eight a wave, a step, noise)
    a callable f is sampled on 3, 9, 27, ... nodes a cell until two of these agree to 1e-5 of its
    range: on a line the minimum is then searched between the samples, in the plane
    samples at irregular places must not be lower by 1e-4 of the range, or a ``ResolutionWarning``
    says how much (or how far the last two are apart, 2^21 nodes or about a second being spent). Of
    an array the unrefined minimum is taken there, which errs by (f'' + 1/t) h^2 / 8, and a
    ``ResolutionWarning`` says so if more than 1e-4 of its range depends on it. So
    inf f - t H(0) <= u (<= f where H(0) = 0), for a callable exactly. An array stands for the
    smoothest f through it, up to the walls: a well narrower than a cell, between two samples or
    next to a wall, is unknown, also in the result.

    Another convex Hamiltonian that is a sum over the axes of terms with known conjugates L:
    min_y f(y) + t L((x - y) / t), a line in O(n log n) as the minimisers are monotone. ``Burgers``
    is solved for its integral, whose differences are the cell averages. Raises ``ValueError`` for
    other Hamiltonians (use ``Filtered``).

    ``extend=True``: over the whole space, a callable f being evaluated beyond the walls as far as a
    minimum can be; not for ``Burgers``, whose walls are adjacent to a medium at rest. Raises
    ``ConvergenceError`` where that takes more than 2^24 nodes: where f falls like -|x|²/2t there
    is no minimum. Mathematics 1.3; thesis (4.16).
    """

    refine: bool = True
    extend: bool = False

    solves = (HamiltonJacobi, Burgers)

    def __post_init__(self) -> None:
        checks.parameters(self, refine=checks.flag, extend=checks.flag)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        given = problem.equation.hamiltonian
        if given is not None and conjugates(given, problem.grid.dim) is None:
            return (
                "HopfLax takes a convex Hamiltonian, a sum over the axes with known conjugates; "
                f"got {given!r}. Use schemes.Filtered() or Godunov()"
            )
        if self.extend and problem.equation.carries_slope:
            return (
                "HopfLax(extend=True) solves HamiltonJacobi; Burgers has walls, with a medium at "
                "rest: use HopfLax(), or a larger grid"
            )
        return ""

    def start(self, problem: Problem, stats: Stats) -> Advance:
        if self.extend:
            return self._extended(problem, stats)
        equation = problem.equation
        if equation.carries_slope:
            return as_slopes(problem, self, stats)
        given, grid = equation.hamiltonian, problem.grid
        terms = None if given is None else conjugates(given, grid.dim)
        if given is not None:
            check_hamiltonian(given, problem.values, grid, explicit=False)
        fall = 0.0 if given is None else float(np.asarray(given(np.zeros((1, grid.dim))))[0])
        resolved = not self.refine or (resolves(problem, _BENDS) and resolves_walls(problem))

        def advance(t: float) -> Array:
            stats["steps"] += 1
            u, gaps = minimum(problem.values, grid, t, terms, self.refine)
            if not self.refine:
                return u
            if callable(problem.initial):
                if not resolved or gaps.max() > 0:
                    return _looked_at(problem, u, t, terms, stats, fall)
                if u.min() < problem.values.min() - fall * t:
                    u = np.maximum(u, least(problem.initial, grid, problem.values) - fall * t)
            elif gaps[0] > 0 and gaps[0] > LITTLE * np.ptp(problem.values):
                warn_unresolved(float(gaps[0] / np.ptp(problem.values)), stacklevel=7)
            return u

        return advance

    def _extended(self, problem: Problem, stats: Stats) -> Advance:
        """Over a box so large that no minimum is beyond it."""
        given, grid = problem.equation.hamiltonian, problem.grid
        terms = None if given is None else conjugates(given, grid.dim)
        inside = replace(self, extend=False)

        def advance(t: float) -> Array:
            def needed(u: Array, f: Array) -> list[float]:
                return _reaches(terms or (None,) * grid.dim, float(u.max()) - float(f.min()), t)

            def smoothed(larger: Problem) -> Array:
                return inside.start(larger, stats)(t)

            first = minimum(problem.values, grid, t, terms, False)
            return in_the_whole_space(
                problem, t, needed(first[0], problem.values), needed, smoothed
            )

        return advance


def _looked_at(
    problem: Problem, u: Array, t: float, terms: tuple[Term, ...] | None, stats: Stats, fall: float
) -> Array:
    """The same for a callable that may be unresolved, on finer nodes and between them.

    ``fall`` is H(0): u >= inf f - t H(0).
    """

    costs = [_cost(t, None if terms is None else terms[axis]) for axis in range(problem.grid.dim)]

    def looking(values: Array, fine: Grid) -> Array | None:
        return direct_minima(problem, values, fine, costs[0])

    finest = [(problem.grid, problem.values)]

    def finer(values: Array, fine: Grid) -> Array:
        finest.append((fine, values))
        return minimum(values, fine, t, terms, True)[0]

    if problem.grid.dim == 1 and looking(problem.values, problem.grid) is not None:
        return on_finer_nodes(problem, u, looking, stats)

    def below(u: Array) -> float:
        return missed(problem, u, costs)

    # two may agree by chance, if both are limited to unresolved samples
    most = MOST_NODES if terms is None else _MOST_IN_A_SECOND
    u = on_finer_nodes(problem, u, finer, stats, most, below)
    fine, values = finest[-1]
    if not u.min() < values.min() - fall * t:
        return u
    return np.maximum(u, least(problem.initial, fine, values) - fall * t)


def _reaches(terms: tuple[Term | None, ...], height: float, t: float) -> list[float]:
    """Distances along the axes beyond which t L is above ``height`` with the least of the others.

    No minimum u <= min f + height is farther: f(y) + t L(x - y) is larger there.
    """
    costs = [_cost(t, term) for term in terms]
    least = [t * (0.0 if term is None else -float(term.value(np.zeros(1))[0])) for term in terms]
    reaches = []
    for k, cost in enumerate(costs):
        gap = height - sum(least) + least[k]
        low, high = 0.0, 1.0
        while high < _FARTHEST and float(cost(np.array([high, -high])).min()) < gap:
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = float(cost(np.array([middle, -middle])).min()) < gap
            low, high = (middle, high) if inside else (low, middle)
        reaches.append(high)
    return reaches


def _cost(t: float, term: Term | None) -> Callable[[Array], Array]:
    """t L(. / t) of one axis."""

    def cost(away: Array) -> Array:
        if term is None or term.conjugate is None:
            return away**2 / (2 * t)
        with np.errstate(over="ignore"):
            return t * np.asarray(term.conjugate(away / t), dtype=float)

    return cost
