"""Potentials: one definition each, for numpy arrays and torch tensors.

Coordinates sit on the last axis: ``V(x)`` maps ``(..., d)`` to ``(...)`` and ``V.grad(x)`` to
``(..., d)``, also for d = 1. Potentials are values: equal when they mean the same, hashable, and
``V + W`` is a potential. Nothing is checked for finiteness here; solvers say where a value is not.
"""

from pdekit.potentials.analytic import (
    DoubleWell,
    MullerBrown,
    Quadratic,
    Rippled,
    Rough,
    SixHumpCamel,
)
from pdekit.potentials.protocol import Custom, MovingSum, Potential, Sum, as_potential
from pdekit.potentials.tabulated import Evolving, Tabulated

__all__ = [
    "Custom",
    "DoubleWell",
    "Evolving",
    "MovingSum",
    "MullerBrown",
    "Potential",
    "Quadratic",
    "Rippled",
    "Rough",
    "SixHumpCamel",
    "Sum",
    "Tabulated",
    "as_potential",
]
