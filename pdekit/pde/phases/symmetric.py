"""The symmetric branch of states of a general interaction, and where it loses stability."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError, TruncationWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.gibbs_map import FieldMap
from pdekit.pde.discrete.mean_field import pair_field, pair_kernel, warn_if_narrow
from pdekit.pde.discrete.peclet import upwinded
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.self_consistent import newton

_FIRST = 0.05  # beta times the range of W: small enough that a unique stable state exists
_RATIO = 1.25  # of consecutive inverse temperatures
_LAST = 1e5
_CLEAR = 1e-9  # tolerance of a response: for flat V it tends to one, and rounding is not a crossing
# share of the critical beta at which other states indicate a first-order transition
_BEFORE = 0.999
_APART = 1e-2  # L1 distance of other states: those of the pitchfork itself are closer
OTHERS = (
    "Transitions of first order, to states that come into being elsewhere, are not looked for: see "
    "self_consistent_states over beta, and follow_branch"
)
_AT_WALLS = 1e-6  # of the mean density at a wall, above which the box matters


def critical_beta_on_grid(potential: Any, interaction: Any, grid: Grid) -> float:
    """Least beta at which the symmetric state loses stability, by sums over the cells of a grid.

    The symmetric state is followed from high temperature, where it is the only one; the root is
    that of (largest eigenvalue of -beta W in the covariance of rho) = 1.
    """
    from scipy.optimize import brentq

    equation = McKeanVlasov(potential, 1.0, interaction)
    _require_symmetric(equation, grid)
    low = _hottest(interaction, grid)
    branch = _Symmetric(equation, grid)
    above = branch.excess(low)
    if above >= 0:
        raise ConvergenceError(
            f"the symmetric state of {potential!r} with {interaction!r} is unstable at beta = "
            f"{low:.3g} already, where it should be the only state: no transition found"
        )
    high = low
    while high < _LAST:
        start, high = branch.field, high * _RATIO
        above = branch.excess(high)
        if above >= _CLEAR:

            def excess(beta: float, start: Array = start) -> float:
                branch.field = start  # the same state at the same beta, in any order
                return branch.excess(beta)

            found = float(brentq(excess, low, high, xtol=1e-13 * high, rtol=1e-14))
            branch.require_resolved(found)
            branch.warn_if_walls_decide(found)
            branch.warn_if_first_order(found)
            warn_if_narrow(interaction, grid, found, stacklevel=3)
            return found
        low = high if above < -_CLEAR else low
        if high > low * _RATIO**4:
            break
    if abs(above) < _CLEAR:
        raise ConvergenceError(
            f"the response of the symmetric state of {potential!r} with {interaction!r} reaches "
            f"one at beta = {high:.4g} and stays there: shifting its cluster costs nothing, as "
            "where V is flat, so no temperature is critical. Use a potential with two wells"
        )
    raise ConvergenceError(
        f"the symmetric state of {potential!r} with {interaction!r} is stable up to beta = "
        f"{high:.4g}, response {above + 1:.6g}: the attraction is too weak for a continuous "
        f"transition. {OTHERS}"
    )


def _crowded(system: FieldMap) -> Iterator[Array]:
    """Mean fields of masses in one cell, at several places, or half at the opposite."""
    grid = system.grid
    shares = [0.5] if system.shifts else [0.5, 0.3, 0.1, 0.4, 0.2][: 5 if grid.dim == 1 else 3]
    spots = [[int(s * n) for s in shares] for n in grid.cells]
    for place in product(*spots):
        crowd = np.zeros(grid.shape)
        crowd[place] = 1 / grid.cell_volume
        for part in (1.0, 0.5):
            yield system.pair(part * crowd + (1 - part) * np.flip(crowd))


def _hottest(interaction: Any, grid: Grid) -> float:
    """The inverse temperature to begin with; ``ValueError`` if W has no effect there."""
    pair_field(interaction, grid)  # refuses overflow, and means on periodic axes
    kernel, _ = pair_kernel(interaction, grid)
    height = float(np.ptp(kernel))
    if not height * _LAST > _FIRST:
        raise ValueError(
            f"expected an attractive interaction, but W varies by {height:.3g} over {grid}, which "
            f"beta up to {_LAST:g} does not make a matter; got {interaction!r}. Take units in "
            "which W is of order one"
        )
    return _FIRST / height


class _Symmetric:
    """States invariant under x -> -x about the middle of the box, each found from the last one."""

    def __init__(self, equation: McKeanVlasov, grid: Grid) -> None:
        self.equation, self.grid = equation, grid
        self.field = np.zeros(grid.shape)

    def excess(self, beta: float) -> float:
        """The response at beta, less one; for a constant V on a circle the shifts count."""
        system = FieldMap(replace(self.equation, beta=beta), self.grid)
        field = newton(system, self.field, [], even=True)
        if field is None:
            raise ConvergenceError(
                f"Newton's method loses the symmetric state at beta = {beta:.6g}: it may turn back "
                "there; see follow_branch"
            )
        self.field = (field + np.flip(field)) / 2
        return float(system.leading(system.density(self.field)).max()) - 1

    def require_resolved(self, beta: float) -> None:
        """Check that the cells resolve the state, against spurious transitions."""
        system = FieldMap(replace(self.equation, beta=beta), self.grid)
        share = upwinded(system.density(self.field), system.V + self.field, beta, self.grid)
        if share > 0.1:
            raise ConvergenceError(
                f"the response reaches one at beta = {beta:.4g} only, where {share:.0%} of the "
                "symmetric state is in cells over which beta (V + W * rho) changes by more than "
                "2: an artefact of the cells, not of the equation. Use a finer grid; if it stays "
                f"so, there is no continuous transition. {OTHERS}"
            )

    def warn_if_first_order(self, beta: float) -> None:
        """Warn where other states exist before the symmetric one loses stability."""
        self.excess(_BEFORE * beta)
        system = FieldMap(replace(self.equation, beta=_BEFORE * beta), self.grid)
        even = system.density(self.field)
        for start in _crowded(system):
            field = newton(system, start, [])
            if field is None:
                continue
            rho = system.density(field)
            if float(self.grid.integrate(np.abs(rho - even))) > _APART:
                warnings.warn(
                    f"at {_BEFORE:g} of beta = {beta:.6g}, where the symmetric state loses its "
                    "stability, there are other states already: the transition is of first order "
                    "and earlier; see follow_branch and the free energies of "
                    "self_consistent_states",
                    AccuracyWarning,
                    stacklevel=4,
                )
                return

    def warn_if_walls_decide(self, beta: float) -> None:
        """Warn where the symmetric state reaches the walls: the box then matters."""
        rho = FieldMap(replace(self.equation, beta=beta), self.grid).density(self.field)
        rims = [
            float(np.take(rho, (0, -1), axis).max())
            for axis, periodic in enumerate(self.grid.periodic)
            if not periodic
        ]
        most, mean = max(rims, default=0.0), float(rho.mean())
        if most > _AT_WALLS * mean:
            warnings.warn(
                f"at beta = {beta:.6g} the symmetric state has {most / mean:.2g} of its mean "
                "density at a wall of the grid: the box decides, and a wider one has a transition "
                "elsewhere. Use a wider grid, unless the walls are intended",
                TruncationWarning,
                stacklevel=4,
            )


def _require_symmetric(equation: McKeanVlasov, grid: Grid) -> None:
    V = Problem(equation, grid, None).potential()
    if not np.allclose(V, np.flip(V), rtol=1e-9, atol=1e-9 * (1 + float(np.abs(V).max()))):
        raise ValueError(
            f"there is no symmetric state: {equation.potential!r} is not even about the middle of "
            f"{grid}; a tilted V has folds instead: see follow_branch"
        )
