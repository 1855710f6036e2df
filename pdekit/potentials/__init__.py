"""Potentials: one definition each, for numpy arrays and torch tensors.

Coordinates sit on the last axis: ``V(x)`` maps ``(..., d)`` to ``(...)`` and ``V.grad(x)`` to
``(..., d)``, also for d = 1. Potentials are values: equal when their fields are, and hashable.
``V + W``, ``V - W``, ``c * V``, ``V.shifted(a)`` and ``V + Linear(h)`` are potentials, which move
if a part of them is time-dependent. Nothing is checked for finiteness here; solvers report
non-finite values.
"""

from pdekit.potentials.algebra import Combinable, Custom, Scaled, Sum, as_potential
from pdekit.potentials.analytic import (
    Cosine,
    DoubleWell,
    Linear,
    MullerBrown,
    Quadratic,
    Rippled,
    Rough,
    SixHumpCamel,
)
from pdekit.potentials.protocol import Kernel, Potential
from pdekit.potentials.tabulated import Evolving, Tabulated

__all__ = [
    "Combinable",
    "Cosine",
    "Custom",
    "DoubleWell",
    "Evolving",
    "Kernel",
    "Linear",
    "MullerBrown",
    "Potential",
    "Quadratic",
    "Rippled",
    "Rough",
    "Scaled",
    "SixHumpCamel",
    "Sum",
    "Tabulated",
    "as_potential",
]
