"""What the verbs take: the protocols of the values, and short names for what else is welcome.

A value of one's own needs no base class: it is a ``Law`` if it has a law's methods. Coordinates
sit on the last axis of points, numpy arrays and torch tensors alike.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeAlias

from numpy.typing import NDArray

from pdekit.arrays import Coefficient, Corner, Function, Moving, Numbers
from pdekit.diffusions import Ito
from pdekit.laws import Law, Source
from pdekit.potentials.protocol import Potential

__all__ = [
    "Coefficient",
    "Corner",
    "Diffusivity",
    "Dynamics",
    "Equation",
    "Field",
    "Function",
    "Initial",
    "Interaction",
    "Law",
    "MeanForce",
    "Moving",
    "Numbers",
    "Potential",
    "Sampler",
    "Scheme",
    "Start",
    "Times",
]


class Equation(Protocol):
    """A statement of what evolves: a value of ``pdekit.pde.equations``, whose ``Facts`` it has."""

    carries_density: ClassVar[bool]
    """Whether the unknown is a density, which has a mass."""


class Scheme(Protocol):
    """How an equation is advanced: a value of ``pdekit.schemes``."""

    @property
    def solves(self) -> tuple[type[Any], ...]:
        """The kinds of equations."""
        ...

    def start(self, problem: Any, stats: Any, /) -> Callable[[float], NDArray[Any]]:
        """From a ``Problem``: t -> the field at time t, to be asked for increasing times."""
        ...


class Dynamics(Protocol):
    """How particles move; what else a dynamics may have is told in ``docs/dynamics.md``."""

    def step(self, state: Any, step: Any, noise: Any, /) -> Any:
        """The state one step later; ``state``, a tensor, may be overwritten."""
        ...


class Interaction(Protocol):
    """How particles act on each other: by the even function W(x - y) of the displacement."""

    def __call__(self, z: Any, /) -> Any:
        """W(z): (..., d) -> (...)."""
        ...

    def grad(self, z: Any, /) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        ...


class MeanForce(Protocol):
    """How particles act on each other, by a formula for all of a run together."""

    def mean_force(self, x: Any, values: Any, crowd: Any, /) -> Any:
        """What to subtract from the drift."""
        ...


class Sampler(Protocol):
    """What particles may start from: of a ``Law`` they need no more."""

    def sample(self, n: int, noise: Source, /) -> Any:
        """A tensor ``(n, d)``, of ``noise.normal(n, d)`` and ``noise.uniform(n, d)``."""
        ...


Times: TypeAlias = float | Numbers
"""One, or several that increase."""

Diffusivity: TypeAlias = float | Numbers | Coefficient | Ito
"""A number, a matrix or a function of points, Itô's unless it says how it is to be read."""

Field: TypeAlias = Function | Numbers
"""On a grid: a function of points, or the values at the cells."""

Initial: TypeAlias = Law | Field
"""What a PDE starts from."""

Start: TypeAlias = Sampler | Numbers
"""What particles start from: a law, or positions ``(n, d)`` or ``(runs, n, d)``."""
