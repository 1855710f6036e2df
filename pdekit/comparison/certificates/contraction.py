"""Certificate of contraction: two densities in a convex potential contract in W2."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from pdekit.arrays import Array
from pdekit.comparison import transport
from pdekit.comparison.certificates.certificate import Certificate, does_not_apply
from pdekit.comparison.certificates.rates import (
    Rates,
    convexity,
    grid_error_of_rate,
    irreversible,
    not_convex,
    not_linear_reversible,
    reversible,
    solves,
    steps_error_of_rate,
)
from pdekit.grid import Grid
from pdekit.pde.equations import FokkerPlanck, McKeanVlasov
from pdekit.pde.solution import Solution
from pdekit.pde.stationary.stationary import stationary


@dataclass(frozen=True)
class WassersteinContraction:
    """W2(rho(t), sigma(t)) <= exp(-λ (t - s)) W2(rho(s), sigma(s)) where Hess V >= λ > 0.

    ``other`` is a second solution of the same equation on the same grid and times; None takes the
    stationary density. For ``McKeanVlasov`` a Curie-Weiss attraction keeps the rate (``other``
    is then required). On a line W2 is exact between densities that are constant on the cells. In
    the plane it is the root of the debiased Sinkhorn divergence on at most 32 x 32 boxes,
    regularised by ``(2 h)^2``, ``h`` the box: exact for a shift, else open by the square of that,
    and free of the floor that transport between atoms has. Value: the smallest rate over all pairs
    of stored times. Allowance: as for ``BakryEmery``, and the change of W2 when cells are merged in
    pairs, in the plane when the regularisation is doubled. Mathematics 1.4 (errata 5).
    Does not apply in the plane without POT.
    """

    other: Solution | None = None

    @staticmethod
    def proved_for(result: object) -> bool:
        """Reversible linear equations of densities."""
        return solves(result, FokkerPlanck) and reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        name = "W2 contracts"
        equation, grid = solution.equation, solution.grid
        reason = self._inapplicable(solution)
        if reason:
            return does_not_apply(name, reason)
        rate, _ = convexity(equation.potential, grid)
        others = (
            [stationary(equation, grid).values] * len(solution.times)
            if self.other is None
            else list(self.other.fields)
        )
        pairs = list(zip(solution.fields, others, strict=True))
        fine, joined = np.array([_both(p, q, grid) for p, q in pairs]).T
        plain = FokkerPlanck(equation.potential, equation.beta)
        allowance = grid_error_of_rate(plain, grid) + steps_error_of_rate(solution, rate)
        floor = (1e-5 if grid.dim == 1 else 1e-2) * float(grid.spacing[0])
        rates = Rates(name, fine, floor, 1.0, np.abs(fine - joined))
        return rates.certificate(solution, rate, allowance)

    def _inapplicable(self, solution: Solution) -> str:
        equation, other = solution.equation, self.other
        if solution.grid.dim == 2 and find_spec("ot") is None:
            return "in the plane it needs POT (pip install pot)"
        if solves(solution, McKeanVlasov):
            if not getattr(equation.interaction, "strength", -1.0) >= 0:
                return "the interaction is not known to be convex"
            if other is None:
                return "a mean-field equation needs a second solution: other=..."
            reason = irreversible(equation) or not_convex(solution)
        else:
            reason = not_linear_reversible(solution) or not_convex(solution)
        if not reason and other is not None:
            same = other.grid == solution.grid and np.array_equal(other.times, solution.times)
            if not same or other.equation != equation:
                return "the other solution has another equation, grid or times"
        return reason


def _both(p: Array, q: Array, grid: Grid) -> tuple[float, float]:
    """W2, and W2 with cells merged in pairs or with twice the regularisation."""
    if grid.dim == 2:
        p, q, centres = transport.occupied_boxes(p, q, grid)
        epsilon = transport.regularisation(centres)
        one, two = (transport.w2_sinkhorn(p[None], q, centres, k * epsilon)[0] for k in (1, 2))
        return float(one), float(two)
    even = len(p) // 2 * 2
    joined = (p[:even:2] + p[1:even:2], q[:even:2] + q[1:even:2])
    faces = grid.faces[0]
    wide = faces[: even + 1 : 2]
    return transport.w2_histograms(p, q, faces), transport.w2_histograms(*joined, wide)
