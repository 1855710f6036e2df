"""What a potential is, to its users and to compiled loops, and the points it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from pdekit import checks

_NUMPY = array_namespace(np.empty(0))


@runtime_checkable
class Potential(Protocol):
    """A scalar function V on R^d with its gradient.

    ``V(x)`` maps points ``(..., d)`` to values ``(...)`` and ``V.grad(x)`` to ``(..., d)``, for
    numpy arrays and torch tensors alike; a tensor keeps its dtype, device and autograd graph.
    """

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        ...

    def __call__(self, x: Any) -> Any:
        """Values V(x), shape ``(...)``."""
        ...

    def grad(self, x: Any) -> Any:
        """Gradient of V at x, shape ``(..., d)``."""
        ...


def _always(times: Any) -> tuple[Any, Any]:
    return np.zeros(times.shape, int), np.zeros(times.shape)


class Kernel(NamedTuple):
    """The gradient of a potential in compiled particle loops; the result of its ``kernel``.

    Of factor V(x - shift), the shift a number or one for each coordinate.
    ``down(x, b, m, numbers, rows)`` does b[j] -= ∂_j V once for each j < m, where x holds m
    coordinates: those of a point beside each other, of one whole point after the other. A function
    of each coordinate alone need not know where a point begins; one of the plane reads x[j] and
    x[j + 1] for j = 0, 2, 4, .... numba compiles it, for float32 and for float64, from its source:
    constants come as ``numbers``, which have the type of x, or are made by ``type(x[0])``, as
    integers would promote float32 to float64. Products and sums in the order of ``grad`` give its
    bits. A user's is compared with ``grad`` where particles start and, for the outermost and a few
    of each tile, where they are at output times.

    A spline has a ``table`` (rows, 4) of coefficients, over the slots that its ``bases`` are of, at
    one stored time after the other; ``between(t)`` is the stored time before t and the weight of
    the next one. ``rows`` are those of the time it is, the bases in the place of the constants.
    """

    down: Callable[[Any, Any, int, Any, Any], None]
    numbers: tuple[float, ...] = ()
    factor: float = 1.0
    shift: float | tuple[float, ...] = 0.0
    bases: Any = np.empty(0)
    table: Any = np.empty((0, 4))
    between: Callable[[Any], tuple[Any, Any]] = _always


def kernels_of(potential: Any) -> tuple[Kernel, ...]:
    """Those whose gradients add up to the potential's, in order; none if it has none.

    What a class offers as ``kernel`` is its own and of those that inherit its slope.
    """
    if checks.offers(potential, "kernels"):
        return tuple(potential.kernels)
    made = potential.kernel if checks.offers(potential, "kernel") else None
    if isinstance(made, Kernel):
        _check(potential, made)
        return (made,)
    if _is_slope(made):
        raise TypeError(_expected(potential, "the bare function"))
    return ()


def _check(potential: Any, kernel: Kernel) -> None:
    """``TypeError`` unless it is made of a function of five arguments, and numbers."""
    if not _is_slope(kernel.down):
        raise TypeError(_expected(potential, f"down = {checks.shown(kernel.down)}"))
    name = f"numbers of the kernel of {type(potential).__name__}"
    checks.numbers(name, kernel.numbers, "a tuple of numbers")


def _expected(potential: Any, got: str) -> str:
    return (
        f"the kernel of {type(potential).__name__} must be Kernel(down, numbers), with a function "
        f"down(x, b, m, numbers, rows); got {got}"
    )


def _is_slope(value: Any) -> bool:
    """Whether it is written as ``down`` is: a function of five arguments, or such a method."""
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return code is not None and code.co_argcount == (6 if _has_self(code) else 5)


def _has_self(code: Any) -> bool:
    return bool(code.co_varnames[:1] == ("self",))


def time_of(owner: Any, t: Any) -> float:
    """``t`` as a number; an error if a time-dependent potential is evaluated without a time."""
    if t is None:
        raise TypeError(
            f"{type(owner).__name__} changes in time: evaluate it as V(x, t), or pass V.at(t), the "
            "potential at time t, where a constant one is expected"
        )
    return checks.number("t", t, "a finite time")


def points(x: Any, dim: int, owner: object) -> tuple[Any, Any]:
    """The array namespace of ``x`` and ``x`` as floating-point points ``(..., dim)``.

    Raises ``ValueError`` where the last axis is not ``dim`` long.
    """
    masked = isinstance(x, np.ma.MaskedArray)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and not masked:  # the common case
        xp = _NUMPY
    else:
        xp, x = _floating(x, dim, owner)
    if x.ndim == 0 or x.shape[-1] != dim:
        hint = "; write x[..., None] for coordinates on a line" if dim == 1 else ""
        raise ValueError(
            f"{type(owner).__name__} takes points of shape (..., {dim}), "
            f"got shape {tuple(x.shape)}{hint}"
        )
    return xp, x


def _floating(x: Any, dim: int, owner: object) -> tuple[Any, Any]:
    """The namespace of what may be no array yet, or not of floats, and the array of floats."""
    if not is_array_api_obj(x) or isinstance(x, np.ma.MaskedArray):
        x = checks.numbers("points", x, f"points of shape (..., {dim})")
    xp = array_namespace(x)
    if not xp.isdtype(x.dtype, "real floating"):
        if not xp.isdtype(x.dtype, ("bool", "integral")):
            raise TypeError(f"{type(owner).__name__} takes real points, got {checks.shown(x)}")
        x = xp.astype(x, xp.float64)
    return xp, x


def whole_dim(dim: Any, owner: object) -> int:
    """``dim`` as an int of at least 1, or an error that names the potential."""
    return checks.whole(f"{type(owner).__name__}: dim", dim, 1)
