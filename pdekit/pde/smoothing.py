"""Burgers' equation as the derivative of a Hamilton-Jacobi equation, and when its shocks are born.

With u_x = p on the faces of the cells, p_t + H(p)_x = 0 is u_t + H(u_x) = 0, and the averages of p
over the cells are the differences of u: whatever solves u keeps sum(p) to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid, require_grid
from pdekit.pde.discrete.sampling import evaluate
from pdekit.pde.equations import ViscousHJ
from pdekit.pde.schemes.colehopf import ColeHopf
from pdekit.pde.solution import solve
from pdekit.potentials import Tabulated
from pdekit.protocols import Function


def shock_time(f: Function, grid: Grid) -> float:
    """The time t* = -1 / inf λ_min(∇²f) at which the slopes ∇u of ``HamiltonJacobi()`` first jump.

    ``f`` is the initial potential (for ``Burgers()``, p_0 = f'), a callable on points ``(..., d)``.
    Its curvatures are central differences at the cell centres, polished around the least one: six
    digits for an f smooth on the scale of a cell. Infinity where f is convex. Mathematics 1.3.
    """
    require_grid("grid", grid)
    checks.fixed("the initial function", f)
    evaluate(f, grid, "the initial function")
    x: Any = grid.centres.reshape(-1, grid.dim)
    if np.asarray(f(x[:1])).dtype == bool:
        raise TypeError(
            "the initial function must have real values, got True and False, whose slopes jump "
            "from the start"
        )
    width: Any = grid.spacing
    least = inf
    for _ in range(12):
        values = _least_curvature(f, x, grid.spacing / 20)
        k = int(values.argmin())
        least, centre = min(least, float(values[k])), x[k]
        near = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * grid.dim, indexing="ij"), axis=-1)
        x = np.clip(centre + near.reshape(-1, grid.dim) * width, grid.lower, grid.upper)
        width = width / 4
    return -1 / least if least < 0 else inf


def _least_curvature(f: Callable[[Array], Any], x: Array, step: Array) -> Array:
    """The least eigenvalue of the Hessian at points (n, d), by fourth-order differences."""
    d = x.shape[-1]
    hessian = np.empty((len(x), d, d))
    for i in range(d):
        for j in range(i + 1):
            e, g = step * (np.arange(d) == i), step * (np.arange(d) == j)
            hessian[:, i, j] = hessian[:, j, i] = _mixed(f, x, e, g) / (step[i] * step[j])
    return np.asarray(np.linalg.eigvalsh(hessian)[:, 0], dtype=float)


def _mixed(f: Callable[[Array], Any], x: Array, e: Array, g: Array) -> Array:
    """The second difference along two steps: (4 D(h) - D(2h)) / 3, each centred."""

    def difference(s: float) -> Array:
        ahead = np.asarray(f(x + s * (e + g))) + np.asarray(f(x - s * (e + g)))
        aside = np.asarray(f(x + s * (e - g))) + np.asarray(f(x - s * (e - g)))
        mixed: Array = (ahead - aside) / (4 * s * s)
        return mixed

    return (4 * difference(1.0) - difference(2.0)) / 3


def local_entropy(potential: Function, gamma: float, beta: float, grid: Grid) -> Tabulated:
    """V_γ(x) = -beta^-1 log ∫ G_{γ/beta}(x - y) exp(-beta V(y)) dy, a potential again.

    The solution of ``ViscousHJ(beta)`` from V at time γ, by the Cole-Hopf formula in the whole
    space (V is evaluated beyond the box; on a periodic axis it is wrapped), as cubic splines
    through the cells of ``grid``, continued linearly beyond. As ε -> 0 the two-scale dynamics
    descend V_γ; so the law of interacting ones tends to
    ``McKeanVlasov(local_entropy(V, γ, beta, grid), ...)`` (mathematics 1.2, 1.9; Kantas et al.
    (11)-(13), thesis Theorem 4.5). Raises ``ConvergenceError`` where V falls too fast to be
    smoothed.
    """
    require_grid("grid", grid)
    gamma = checks.positive("gamma", gamma)
    checks.fixed("potential", potential)
    wrapped = any(grid.periodic)
    scheme = ColeHopf() if wrapped else ColeHopf(extend=True)
    smoothed: Tabulated = solve(ViscousHJ(beta), grid, potential, gamma, scheme).potential()
    return smoothed
