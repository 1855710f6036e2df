"""Local entropy: a potential smoothed by a viscous Hamilton-Jacobi equation."""

from __future__ import annotations

from pdekit import checks
from pdekit.grid import Grid, require_grid
from pdekit.pde.equations import ViscousHJ
from pdekit.pde.schemes.colehopf import ColeHopf
from pdekit.pde.solution import solve
from pdekit.potentials import Tabulated
from pdekit.protocols import Function


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
