"""How an equation is advanced; each scheme is a frozen value with ``solves`` and ``start``."""

from typing import Any

from pdekit import checks
from pdekit.grid import Grid, require_grid
from pdekit.pde.discrete.inf_convolution import conjugates
from pdekit.pde.discrete.sampling import evaluate_tensor
from pdekit.pde.equations import (
    BackwardKolmogorov,
    Burgers,
    FokkerPlanck,
    HamiltonJacobi,
    HamiltonJacobiBellman,
    Heat,
    McKeanVlasov,
    ViscousHJ,
    moving,
)
from pdekit.pde.schemes.colehopf import ColeHopf
from pdekit.pde.schemes.doob import DoobTransform
from pdekit.pde.schemes.exponential import Exponential
from pdekit.pde.schemes.filtered import Filtered
from pdekit.pde.schemes.godunov import Godunov
from pdekit.pde.schemes.hopflax import HopfLax
from pdekit.pde.schemes.implicit import Implicit
from pdekit.pde.schemes.krylov import Krylov
from pdekit.pde.schemes.mean_field import MeanField
from pdekit.pde.schemes.policy_iteration import PolicyIteration
from pdekit.pde.schemes.spectral import Spectral
from pdekit.pde.schemes.split import Split
from pdekit.protocols import Equation, Scheme

__all__ = [
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
    "Spectral",
    "Split",
    "default_scheme",
]

_SMALL = 32  # cells along an axis of the plane


# by dimension; made once, as a call may be shorter than their checks
_BEST: dict[int, dict[type, Any]] = {
    dim: {
        Burgers: HopfLax(),
        Heat: Spectral(),
        HamiltonJacobi: HopfLax(),
        ViscousHJ: ColeHopf(),
        FokkerPlanck: linear,
        BackwardKolmogorov: linear,
        HamiltonJacobiBellman: DoobTransform(),
        McKeanVlasov: mean_field,
    }
    for dim, linear, mean_field in (
        (1, Exponential(), MeanField()),
        (2, Split(), MeanField(1e-4, order=6)),
    )
}


def default_scheme(equation: Equation, grid: Grid) -> Scheme:
    """The most accurate scheme for an equation: exact in time wherever there is such a one.

    A Hamiltonian without a known Legendre transform, axis by axis, goes to ``Filtered``; tensor
    diffusion that couples the axes, and planes of up to 32 cells an axis, to ``Krylov``.
    """
    require_grid("grid", grid)
    best = _BEST[grid.dim]
    if type(equation) not in best:
        known = ", ".join(kind.__name__ for kind in best)
        raise TypeError(f"solve knows the equations {known}; got {checks.shown(equation)}")
    hamiltonian = getattr(equation, "hamiltonian", None)
    if hamiltonian is not None and conjugates(hamiltonian, grid.dim) is None:
        return Filtered()
    if grid.dim == 2 and isinstance(equation, Krylov.solves) and not isinstance(equation, Heat):
        # one factorisation costs less than the steps of a splitting
        small = max(grid.cells) <= _SMALL
        if not moving(equation) and (small or _is_oblique(equation, grid)):
            return Krylov()
    return best[type(equation)]


def _is_oblique(equation: Any, grid: Grid) -> bool:
    """Whether tensor diffusion couples the axes."""
    if getattr(equation, "diffusion", None) is None:
        return False
    tensor = evaluate_tensor(equation.diffusion.D, grid, "the diffusion")
    return tensor.ndim > grid.dim and bool(tensor[..., 0, 1].any())
