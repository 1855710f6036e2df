"""min_y f(y) + t L((x - y) / t) on a grid, axis by axis."""

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.hamiltonian_terms import Term
from pdekit.pde.hamiltonians import Hamiltonian


def conjugates(hamiltonian: Hamiltonian, dim: int) -> tuple[Term, ...] | None:
    """The terms of a Hamiltonian whose Legendre transforms are known, None for any other."""
    terms = hamiltonian.terms(dim)
    if terms is None or not all(term.convex and term.conjugate for term in terms):
        return None
    return terms


def minimum(
    values: Array, grid: Grid, t: float, terms: tuple[Term, ...] | None, refine: bool
) -> tuple[Array, Array]:
    """min_y f(y) + t sum_k L_k((x_k - y_k) / t), axis by axis; for ``gaps`` see ``envelope``."""
    if terms is None:
        return _of_squares(values, grid, t, refine)
    from pdekit.pde.discrete.min_plus_lines import convolve

    u, gaps = values, np.zeros(2)
    for axis, (h, term) in enumerate(zip(grid.spacing, terms, strict=True)):
        lines = np.moveaxis(u, axis, -1)
        flat = np.ascontiguousarray(lines).reshape(-1, grid.cells[axis])
        out, found = convolve(flat, float(h), t, term, grid.periodic[axis], refine)
        u, gaps = np.moveaxis(out.reshape(lines.shape), -1, axis), np.maximum(gaps, found)
    return np.ascontiguousarray(u), gaps


def hopf_lax(values: Array, grid: Grid, t: float, refine: bool = True) -> Array:
    """Inf-convolution of a field with |x|^2 / (2t) over the cells of the grid."""
    return _of_squares(values, grid, t, refine)[0]


def hopf_lax_gaps(values: Array, grid: Grid, t: float) -> Array:
    """How much lower the minima may be between samples not fitted by a parabola."""
    return _of_squares(values, grid, t, True)[1]


def _of_squares(values: Array, grid: Grid, t: float, refine: bool) -> tuple[Array, Array]:
    from pdekit.pde.kernels.envelope import inf_convolve_columns, inf_convolve_rows

    rows = np.ascontiguousarray(values).reshape(-1, grid.cells[-1])
    out = np.empty(rows.shape)
    gaps = inf_convolve_rows(rows, grid.spacing[-1], t, grid.periodic[-1], refine, out)
    if grid.dim == 2:
        more = inf_convolve_columns(out, grid.spacing[0], t, grid.periodic[0], refine)
        gaps = np.maximum(gaps, more)
    return out.reshape(grid.shape), gaps
