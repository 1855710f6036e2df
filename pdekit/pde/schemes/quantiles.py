"""Transport without noise on a line: the quantiles of the initial density along their paths."""

from dataclasses import dataclass

from pdekit import checks
from pdekit.arrays import Array
from pdekit.pde.discrete import quantiles
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.mean_field import pair_field
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import TransportStats
from pdekit.pde.equations import FokkerPlanck, McKeanVlasov


@dataclass(frozen=True)
class Quantiles:
    """rho_t = ∇·(rho ∇U) on a line by X' = -U'(X) for n quantiles: exact but for n and ``rtol``.

    U = V, or V + W * rho with means over the quantiles: these are then an exact weak solution
    themselves, from a start that is off by O(n^-2). Fields are the masses of the cells, from the
    distribution function, linear between quantiles (and in tails of geometric levels), over their
    width; ``quantile_flow`` gives the quantiles themselves. What arrives at a no-flux wall stays
    there as long as it is pushed outwards. Paths are integrated by LSODA (orders up to 12, implicit
    in steep wells) to ``rtol`` of their extent a step.

    Cost: O(n) an evaluation of the drift for no interaction, ``CurieWeiss`` and
    ``FeatureInteraction``, else O(n²). ``.stats``: ``w1_error``, an estimate of the Wasserstein-1
    error of the distribution function (in units of x, per unit of mass): the distance from the same
    with half as many quantiles, what it may be off between two, by the bends of the quantile
    function, and what the mass in the widest gap, as over a hilltop, may be; ``steps``, evaluations
    of the drift. Raises ``ConvergenceError`` where paths cannot be followed, as behind a jump of
    the drift; ``Upwind()`` can. Good values: n = 500 to 4,000.
    """

    n: int = 1000
    rtol: float = 1e-9

    solves = (FokkerPlanck, McKeanVlasov)
    without_noise = True
    by_particles = True  # fields are sums over quantiles, not of fluxes between cells

    def __post_init__(self) -> None:
        checks.whole("Quantiles: n", self.n, 16)
        checks.within("Quantiles: rtol", self.rtol, 1e-13, 1e-2)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if not problem.equation.without_noise:
            return "Quantiles follows equations without noise, beta = math.inf; use the default"
        if problem.grid.dim > 1:
            return "Quantiles are those of a line; use the default scheme, Upwind()"
        if problem.time_dependent:
            return "Quantiles takes a potential and a force that are fixed in time"
        return ""

    def flow(self, problem: Problem, n: int) -> quantiles.Flow:
        """The n quantiles of the initial density, with their tails, to be advanced."""
        grid, equation, given = problem.grid, problem.equation, problem.initial
        if equation.mean_field:
            pair_field(equation.interaction, grid, equation.beta)  # refuses what it must
        density = problem.values  # checked
        made = given if hasattr(given, "pdf") or callable(given) else density
        mass, x = float(grid.integrate(density)), quantiles.start(made, grid, n)
        return quantiles.Flow(equation, x, self.rtol, grid, mass=mass)

    def start(self, problem: Problem, stats: TransportStats) -> Advance:
        grid, counts = problem.grid, (self.n, self.n // 2)
        mass = float(grid.integrate(problem.values))
        flows = [self.flow(problem, n) for n in counts]
        u, v = (quantiles.levels(n) for n in counts)
        stats["w1_error"] = 0.0

        def advance(t: float) -> Array:
            x, y = (flow.to(t) for flow in flows)
            stats["steps"] += sum(flow.calls for flow in flows)
            error = quantiles.w1(x, u, y, v) + quantiles.between(x, u, grid)
            error += quantiles.widest_gap(x) / (2 * self.n)
            stats["w1_error"] = max(stats["w1_error"], error)
            return quantiles.cell_masses(x, u, grid) * (mass / grid.cell_volume)

        return advance
