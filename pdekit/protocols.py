"""Protocols of the arguments of the main functions, and type aliases.

User-defined values need no base class: a ``Law`` is anything with a law's methods. Coordinates
sit on the last axis of points, numpy arrays and torch tensors alike.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeAlias

from numpy.typing import NDArray

from pdekit.arrays import Coefficient, Corner, Function, Numbers, TimeDependent
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
    "Numbers",
    "Potential",
    "Sampler",
    "Scheme",
    "Start",
    "TimeDependent",
    "Times",
]


class Equation(Protocol):
    """A statement of what evolves: a value of ``pdekit.pde.equations``, whose ``Facts`` it has."""

    carries_density: ClassVar[bool]
    """Whether the unknown is a density, which has a mass."""

    @property
    def obstacle(self) -> Any:
        """What the solution is kept above by stopping, or None."""

    @property
    def loses(self) -> str:
        """By what mass is lost or gained; "" where it is kept."""

    @property
    def supplied(self) -> bool:
        """Whether something is added per time, by a source or a wall."""


class Scheme(Protocol):
    """How an equation is advanced: a value of ``pdekit.schemes``.

    One that chooses its own steps has a tolerance, and keeps it or raises ``ConvergenceError``. One
    whose steps ``dt`` are given by the user may be inaccurate, but says how much: it records
    ``stats["error_estimate"]``, of the error in time at the last time including what was clipped,
    relative to the data (``Problem.distance``: L1 over the mass, of functions the maximum over that
    of the data), not below the true error where steps are short enough for their order to show;
    and it warns (``AccuracyWarning``, with the dt and what to use instead) where that is above a
    tenth, also and above all where steps are too long. Preserved properties hold at any ``dt``.
    """

    @property
    def solves(self) -> tuple[type[Any], ...]:
        """The kinds of equations."""
        ...

    def start(self, problem: Any, stats: Any, /) -> Callable[[float], NDArray[Any]]:
        """From a ``Problem``: t -> the field at time t, called with increasing times."""
        ...


class Dynamics(Protocol):
    """How particles move; optional members are described in ``docs/dynamics.md``."""

    def step(self, state: Any, step: Any, noise: Any, /) -> Any:
        """The state one step later; ``state``, a tensor, may be overwritten."""
        ...


class Interaction(Protocol):
    """A pair interaction: the even function W(x - y) of the displacement."""

    def __call__(self, z: Any, /) -> Any:
        """W(z): (..., d) -> (...)."""
        ...

    def grad(self, z: Any, /) -> Any:
        """∇W(z): (..., d) -> (..., d)."""
        ...


class MeanForce(Protocol):
    """An interaction by a formula for all particles of a run together."""

    def mean_force(self, x: Any, values: Any, crowd: Any, /) -> Any:
        """What to subtract from the drift."""
        ...


class Sampler(Protocol):
    """Initial samples for particles: the part of a ``Law`` that they need."""

    def sample(self, n: int, noise: Source, /) -> Any:
        """A tensor ``(n, d)``, of ``noise.normal(n, d)``, ``noise.uniform(n, d)``."""
        ...


Times: TypeAlias = float | Numbers
"""One, or several that increase."""

Diffusivity: TypeAlias = float | Numbers | Coefficient | Ito
"""A number, a matrix or a function of points, in Itô's sense unless wrapped."""

Field: TypeAlias = Function | Numbers
"""On a grid: a function of points, or the values at the cells."""

Initial: TypeAlias = Law | Field
"""Initial data of a PDE."""

Start: TypeAlias = Sampler | Numbers
"""Initial data of particles: a law, or positions ``(n, d)`` or ``(runs, n, d)``."""
