"""What a potential is, and the sum of several; the points it is evaluated at."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj


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


@dataclass(frozen=True)
class Sum:
    """V(x) = V_1(x) + ... + V_k(x), the potentials in ``terms``; written ``V + W``.

    Raises ``ValueError`` for no terms or terms of different dimension, ``TypeError`` for a term
    that is no potential (wrap a function as ``Custom(f)``).
    """

    terms: tuple[Potential, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        if not self.terms:
            raise ValueError("Sum expects at least one potential, got none")
        for term in self.terms:
            if not isinstance(term, Potential):
                raise TypeError(f"Sum adds potentials, got {term!r}; wrap a function as Custom(f)")
        dims = [term.dim for term in self.terms]
        if len(set(dims)) > 1:
            raise ValueError(f"Sum expects terms of one dimension, got {dims}")

    @property
    def dim(self) -> int:
        return self.terms[0].dim

    def __add__(self, other: Potential) -> "Sum":
        return added(self, other)

    def __call__(self, x: Any) -> Any:
        total = self.terms[0](x)
        for term in self.terms[1:]:
            total = total + term(x)
        return total

    def grad(self, x: Any) -> Any:
        total = self.terms[0].grad(x)
        for term in self.terms[1:]:
            total = total + term.grad(x)
        return total


def added(self: Potential, other: Potential) -> Sum:
    """What ``V + W`` means; a potential takes it over with ``__add__ = added``."""
    if not isinstance(other, Potential):
        return NotImplemented
    return Sum((*_terms(self), *_terms(other)))


def points(x: Any, dim: int, owner: object) -> tuple[Any, Any]:
    """The array namespace of ``x`` and ``x`` as floating-point points ``(..., dim)``.

    Raises ``ValueError`` where the last axis is not ``dim`` long.
    """
    if not is_array_api_obj(x):
        x = np.asarray(x, dtype=float)
    xp = array_namespace(x)
    if not xp.isdtype(x.dtype, "real floating"):
        x = xp.astype(x, xp.float64)
    if x.ndim == 0 or x.shape[-1] != dim:
        hint = "; write x[..., None] for coordinates on a line" if dim == 1 else ""
        raise ValueError(
            f"{type(owner).__name__} takes points of shape (..., {dim}), "
            f"got shape {tuple(x.shape)}{hint}"
        )
    return xp, x


def whole_dim(dim: Any, owner: object) -> int:
    """``dim`` as an int of at least 1, or an error that names the potential."""
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"{type(owner).__name__}: dim must be a whole number, got {dim!r}")
    if dim < 1:
        raise ValueError(f"{type(owner).__name__}: dim must be at least 1, got {dim}")
    return int(dim)


def _terms(potential: Potential) -> tuple[Potential, ...]:
    return potential.terms if isinstance(potential, Sum) else (potential,)
