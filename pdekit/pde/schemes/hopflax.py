"""The non-viscous Hamilton-Jacobi equation by its Hopf-Lax formula."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.grid import Grid
from pdekit.pde.burgers import as_slopes
from pdekit.pde.equations import Burgers, HamiltonJacobi
from pdekit.pde.hamiltonians import Hamiltonian, Term
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HopfLax:
    """u(x, t) = min_y f(y) + |x - y|^2 / (2t), axis by axis, each line in linear time.

    The minimum over the cell centres is the lower envelope of parabolas (Felzenszwalb and
    Huttenlocher 2012); ``refine`` then minimises over the parabola through f at the minimiser and
    its neighbours, which takes the error from O(h^2) to O(h^3) away from kinks of f. Without it
    the map f -> u is exactly monotone; with it, up to that O(h^3). Both commute with constants.
    The minimum is over the box (over all images on a periodic axis), which is the no-flux solution.

    Another convex Hamiltonian that is a sum over the axes of terms with known conjugates L:
    min_y f(y) + t L((x - y) / t), a line in O(n log n) as the minimisers never go back. ``Burgers``
    is solved for its integral, whose differences are the cell averages. Raises ``ValueError`` for
    other Hamiltonians (use ``Filtered``). MODEL 1.3; thesis (4.16).
    """

    refine: bool = True

    solves = (HamiltonJacobi, Burgers)

    def __post_init__(self) -> None:
        checks.parameters(self, refine=checks.flag)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        equation, values, grid = problem.equation, problem.values, problem.grid
        if isinstance(equation, Burgers):
            return as_slopes(problem, self, stats)
        given = equation.hamiltonian
        terms = None if given is None else conjugates(given, grid.dim)
        if given is not None and terms is None:
            raise ValueError(
                "HopfLax takes a convex Hamiltonian, a sum over the axes whose conjugates are "
                f"known; got {given!r}. Use schemes.Filtered() or Godunov()"
            )

        def advance(t: float) -> Array:
            stats["steps"] += 1
            if terms is None:
                return hopf_lax(values, grid, t, self.refine)
            return hopf_lax_terms(values, grid, t, terms, self.refine)

        return advance


def conjugates(hamiltonian: Hamiltonian, dim: int) -> tuple[Term, ...] | None:
    """The terms of a Hamiltonian whose Legendre transforms are known, None for any other."""
    terms = hamiltonian.terms(dim)
    if terms is None or not all(term.convex and term.conjugate for term in terms):
        return None
    return terms


def hopf_lax_terms(
    values: Array, grid: Grid, t: float, terms: tuple[Term, ...], refine: bool = True
) -> Array:
    """min_y f(y) + t sum_k L_k((x_k - y_k) / t), axis by axis."""
    from pdekit.pde.minplus import convolve

    u = values
    for axis, (h, term) in enumerate(zip(grid.spacing, terms, strict=True)):
        lines = np.moveaxis(u, axis, -1)
        flat = np.ascontiguousarray(lines).reshape(-1, grid.cells[axis])
        out = convolve(flat, float(h), t, term, grid.periodic[axis], refine)
        u = np.moveaxis(out.reshape(lines.shape), -1, axis)
    return np.ascontiguousarray(u)


def hopf_lax(values: Array, grid: Grid, t: float, refine: bool = True) -> Array:
    """Inf-convolution of a field with |x|^2 / (2t) over the cells of the grid."""
    from pdekit.pde.envelope import inf_convolve_columns, inf_convolve_rows

    rows = np.ascontiguousarray(values).reshape(-1, grid.cells[-1])
    out = np.empty(rows.shape)
    inf_convolve_rows(rows, grid.spacing[-1], t, grid.periodic[-1], refine, out)
    if grid.dim == 2:
        inf_convolve_columns(out, grid.spacing[0], t, grid.periodic[0], refine)
    return out.reshape(grid.shape)
