"""How an equation is advanced; each scheme is a frozen value with ``solves`` and ``start``."""

from functools import lru_cache
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.grid import Grid, require_grid
from pdekit.pde.discrete.growth import without_growth
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_tensor
from pdekit.pde.discrete.stats import ControlledStats, GameStats, Summary, TransportStats
from pdekit.pde.discrete.strang import SplitStats
from pdekit.pde.schemes.active_set import ActiveSet, StoppingStats
from pdekit.pde.schemes.colehopf import ColeHopf
from pdekit.pde.schemes.doob import DoobTransform
from pdekit.pde.schemes.exponential import Exponential
from pdekit.pde.schemes.filtered import Filtered
from pdekit.pde.schemes.godunov import Godunov
from pdekit.pde.schemes.hopflax import HopfLax
from pdekit.pde.schemes.implicit import Implicit, ImplicitStats
from pdekit.pde.schemes.krylov import Krylov, KrylovStats
from pdekit.pde.schemes.mean_field import MeanField, MeanFieldStats
from pdekit.pde.schemes.policy_iteration import PolicyIteration, PolicyStats
from pdekit.pde.schemes.quantiles import Quantiles
from pdekit.pde.schemes.semi_lagrangian import SemiLagrangian
from pdekit.pde.schemes.spectral import Spectral, SpectralStats
from pdekit.pde.schemes.split import Split
from pdekit.pde.schemes.upwind import Upwind
from pdekit.protocols import Equation, Scheme

__all__ = [
    "ActiveSet",
    "ColeHopf",
    "DoobTransform",
    "Exponential",
    "Filtered",
    "Godunov",
    "HopfLax",
    "Implicit",
    "Krylov",
    "MeanField",
    "PolicyIteration",
    "Quantiles",
    "SemiLagrangian",
    "Spectral",
    "Split",
    "Upwind",
    "default_scheme",
]


class AnyStats(
    ImplicitStats, KrylovStats, MeanFieldStats, PolicyStats, SpectralStats, SplitStats,
    ControlledStats, GameStats, StoppingStats, TransportStats, Summary, total=False,
):  # fmt: skip
    """All entries of ``.stats`` of a solution: of ``solve``, and of its scheme."""


_SMALL = 32  # cells along an axis of the plane
_DRIVEN = 256  # the same with a force or killing: they cost a splitting many more steps
_MOST = 1 << 18  # cells up to which one scheme stands in for the other


_SPLIT, _KINETIC = Split(), SemiLagrangian()
# best first; created once, as a call may take less time than their checks
_BEST: tuple[Any, ...] = (
    HopfLax(),
    Spectral(),
    ColeHopf(),
    Exponential(),
    _KINETIC,
    _SPLIT,
    DoobTransform(),
    Filtered(),
)
_UPWIND = Upwind()
_ACTIVE_SET, _FILTERED = ActiveSet(), _BEST[-1]
_KRYLOV, _MEAN_FIELD = Krylov(), {1: MeanField(), 2: MeanField(1e-4, order=6)}


def default_scheme(equation: Equation, grid: Grid) -> Scheme:
    """The most accurate scheme that does not refuse: exact in time wherever such a scheme exists.

    A Hamiltonian without a known Legendre transform, axis by axis, goes to ``Filtered``; tensor
    diffusion that couples the axes, and planes of up to 32 cells an axis (256 with a force, or a
    killing rate that is not the same everywhere), to ``Krylov``. Where in the plane ``Split`` or
    ``Krylov`` does not reach its tolerance, ``solve`` tries the other; the scheme that was used is
    that of the solution. Densities of the plane without diffusion along an axis go to
    ``SemiLagrangian``, others without noise (beta = inf) to ``Upwind``. With an obstacle it is
    ``ActiveSet``, or ``Filtered`` for ``HamiltonJacobi``.
    """
    require_grid("grid", grid)
    require_known(equation)
    scheme: Scheme = best_scheme(Problem(without_growth(Problem(equation, grid, None)), grid, None))
    return scheme


def require_known(equation: Any) -> None:
    """``TypeError`` unless there is a scheme for the equation."""
    kind: Any = type(equation)
    if not _able(kind, 1):
        kinds = {kind.__name__ for s in (*_BEST, MeanField) for kind in s.solves}
        known = ", ".join(sorted(kinds))
        raise TypeError(f"solve knows the equations {known}; got {checks.shown(equation)}")


@lru_cache
def _able(kind: type, dim: int) -> tuple[Any, ...]:
    """The schemes for a kind of equations, best first."""
    return tuple(s for s in (*_BEST, _MEAN_FIELD[dim]) if issubclass(kind, s.solves))


def best_scheme(problem: Problem) -> Any:
    """``default_scheme`` of a problem."""
    equation, grid = problem.equation, problem.grid
    if equation.obstacle is not None:
        return _FILTERED if equation.first_order else _ACTIVE_SET
    kind: Any = type(equation)
    if equation.without_noise:
        carries = _KINETIC in _able(kind, grid.dim) and not _KINETIC.refuses(problem)
        return _KINETIC if carries else _UPWIND
    best = next(scheme for scheme in _able(kind, grid.dim) if not scheme.refuses(problem))
    # one factorisation is cheaper than the steps of a splitting
    small = best is _SPLIT and not problem.time_dependent and _few_or_oblique(equation, grid)
    return _KRYLOV if small else best


def second_scheme(problem: Problem, first: Any) -> Any:
    """What stands in for a default that does not reach its tolerance; None if nothing does."""
    if first not in (_SPLIT, _KRYLOV) or problem.grid.dim != 2 or problem.time_dependent:
        return None
    if int(np.prod(problem.grid.cells)) > _MOST:
        return None
    return _KRYLOV if first is _SPLIT else _SPLIT


def _few_or_oblique(equation: Any, grid: Grid) -> bool:
    """Whether the plane has few cells, or a force, or tensor diffusion that couples its axes."""
    driven = any(getattr(equation, what, None) is not None for what in ("force", "killing"))
    if max(grid.cells) <= (_DRIVEN if driven else _SMALL):
        return True
    if getattr(equation, "diffusion", None) is None:
        return False
    tensor = evaluate_tensor(equation.diffusion.D, grid, "the diffusion")
    return tensor.ndim > grid.dim and bool(tensor[..., 0, 1].any())
