"""What the walls of a box do to what reaches them: equations and particles read the same values.

Each end of an axis that is not periodic reflects, absorbs, absorbs in part, lets in, or holds a
value. What an end does is stated by three numbers, so that nobody asks for its kind: ``rate``, the
outward flux over the density at the wall (infinite where it absorbs), ``flux``, what it lets in,
and ``value``, held there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, NamedTuple

from pdekit import checks


@dataclass(frozen=True)
class PartlyAbsorbing:
    """A wall with outward flux ``rate`` times the density there (Robin, radiation, partial
    reflection): n·J = rate rho.

    ``rate`` >= 0 in length per time: 0 reflects, and a rate far above D / (beta h) absorbs. The
    expectations of the backward equation satisfy beta^-1 n·D∇u = -rate u. A particle that meets
    the wall is absorbed at ``rate`` times its local time there.
    """

    rate: float
    flux: ClassVar[float] = 0.0
    value: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        rate = checks.not_negative("the rate of PartlyAbsorbing", self.rate)
        object.__setattr__(self, "rate", rate)


@dataclass(frozen=True)
class Inflow:
    """A wall that lets ``flux`` >= 0 in, mass per area and time: n·J = -flux; else it reflects.

    Of particles, n at the start for the mass one, n times flux times area enter per time
    (`pdekit.particles.dynamics.entering`).
    """

    flux: float
    rate: ClassVar[float] = 0.0
    value: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "flux", checks.not_negative("the flux of Inflow", self.flux))


@dataclass(frozen=True)
class Held:
    """A wall at which the density, or the expectation, is held at ``value`` (Dirichlet)."""

    value: float
    rate: ClassVar[float] = inf
    flux: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", checks.number("the value of Held", self.value))


@dataclass(frozen=True)
class Specular:
    """A wall of a kinetic equation at which momenta turn round: rho(q, p) = rho(q, -p) there.

    For both ends of the axis of positions, by ``schemes.SemiLagrangian`` on a grid whose momenta
    lie symmetrically about 0; as the walls of the ``box`` of ``UnderdampedLangevin``.
    """

    rate: ClassVar[float] = 0.0
    flux: ClassVar[float] = 0.0
    value: ClassVar[float] = 0.0
    turns: ClassVar[bool] = True


class _Plain(NamedTuple):
    """A wall that reflects (rate 0) or absorbs (infinite)."""

    rate: float
    flux: float = 0.0
    value: float = 0.0


REFLECTING, ABSORBING = _Plain(0.0), _Plain(inf)
End = Any  # bool, or a value with rate, flux and value
_ENDS = "True (absorbs), False (reflects), PartlyAbsorbing(rate), Inflow(flux) or Held(value)"


@dataclass(frozen=True)
class Walls:
    """What the lower and the upper ends of the axes do: one end for all axes, or one per axis.

    An end is False (reflects), True (absorbs), ``PartlyAbsorbing(rate)``, ``Inflow(flux)``,
    ``Held(value)`` or, in kinetic equations, ``Specular()``. ``Walls(upper=True)`` absorbs at the
    upper end of every axis that is not periodic, ``Walls(lower=(True, False))`` at the lower end of
    x only. The density is zero where a wall absorbs.
    """

    lower: End | Sequence[End] = False
    upper: End | Sequence[End] = False

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = getattr(self, name)
            ends = tuple(value) if isinstance(value, tuple | list) else (value,)
            if not ends or not all(map(_is_end, ends)):
                raise TypeError(
                    f"Walls: {name} must be {_ENDS}, or one of them per axis, got "
                    f"{checks.shown(value)}"
                )

    def per_axis(self, periodic: tuple[bool, ...]) -> tuple[tuple[End, End], ...]:
        """(lower, upper) of every axis; ``ValueError`` where their number is not the grid's."""
        dim, sides = len(periodic), []
        for name in ("lower", "upper"):
            value = getattr(self, name)
            side = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dim
            if len(side) != dim:
                raise ValueError(
                    f"Walls: {name} must be one end, or {dim} of them, one per axis of the grid; "
                    f"got {checks.shown(value)}"
                )
            sides.append(side)
        return tuple(
            (REFLECTING, REFLECTING) if wraps else (_plain(a), _plain(b))
            for a, b, wraps in zip(*sides, periodic, strict=True)
        )


def require_walls(what: str, value: Any) -> None:
    """``TypeError`` unless ``value`` is ``Walls``."""
    if not isinstance(value, Walls):
        raise TypeError(f"{what} must be Walls(lower=..., upper=...), got {checks.shown(value)}")


def not_closed(end: End) -> bool:
    """Whether an end takes something, or lets something in."""
    return bool(end.rate > 0 or end.flux > 0)


def takes(end: End) -> bool:
    """Whether an end takes something, wholly or in part."""
    return bool(end.rate > 0)


def turns(end: End) -> bool:
    """Whether an end turns momenta round."""
    return bool(getattr(end, "turns", False))


def supplies(walls: Walls | None) -> bool:
    """Whether some end lets in, or holds a value that is not zero."""
    return lets_in(walls) or holds(walls)


def holds(walls: Walls | None) -> bool:
    """Whether some end holds a value that is not zero."""
    return any(end.value != 0 for end in _all_ends(walls))


def lets_in(walls: Walls | None) -> bool:
    """Whether some end has an influx."""
    return any(end.flux != 0 for end in _all_ends(walls))


def _all_ends(walls: Walls | None) -> list[End]:
    sides = () if walls is None else (walls.lower, walls.upper)
    ends = [end for side in sides for end in (side if isinstance(side, tuple | list) else (side,))]
    return [_plain(end) for end in ends]


def _is_end(end: Any) -> bool:
    facts = ("rate", "flux", "value")
    return isinstance(end, bool) or (
        not isinstance(end, type) and all(hasattr(end, fact) for fact in facts)
    )


def _plain(end: Any) -> Any:
    """A bool as the value it stands for."""
    return (ABSORBING if end else REFLECTING) if isinstance(end, bool) else end
