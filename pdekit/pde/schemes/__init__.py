"""How an equation is advanced; each scheme is a frozen value with ``solves`` and ``start``."""

from typing import Any

from pdekit.grid import Grid
from pdekit.pde.equations import (
    BackwardKolmogorov,
    FokkerPlanck,
    HamiltonJacobi,
    HamiltonJacobiBellman,
    Heat,
    McKeanVlasov,
    ViscousHJ,
)
from pdekit.pde.schemes.colehopf import ColeHopf
from pdekit.pde.schemes.doob import DoobTransform
from pdekit.pde.schemes.exponential import Exponential
from pdekit.pde.schemes.godunov import Godunov
from pdekit.pde.schemes.hopflax import HopfLax
from pdekit.pde.schemes.implicit import Implicit
from pdekit.pde.schemes.meanfield import MeanField
from pdekit.pde.schemes.spectral import Spectral
from pdekit.pde.schemes.split import Split

__all__ = [
    "ColeHopf",
    "DoobTransform",
    "Exponential",
    "Godunov",
    "HopfLax",
    "Implicit",
    "MeanField",
    "Spectral",
    "Split",
    "default_scheme",
]


def default_scheme(equation: Any, grid: Grid) -> Any:
    """The most accurate scheme for an equation: exact in time wherever there is such a one."""
    linear = Exponential() if grid.dim == 1 else Split()
    best = {
        Heat: Spectral(),
        HamiltonJacobi: HopfLax(),
        ViscousHJ: ColeHopf(),
        FokkerPlanck: linear,
        BackwardKolmogorov: linear,
        HamiltonJacobiBellman: DoobTransform(),
        McKeanVlasov: MeanField() if grid.dim == 1 else MeanField(1e-4, order=6),
    }
    if type(equation) not in best:
        known = ", ".join(kind.__name__ for kind in best)
        raise TypeError(f"solve knows the equations {known}; got {equation!r}")
    return best[type(equation)]
