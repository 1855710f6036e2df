"""One's own stochastic differential equation."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import array_namespace, device
from torch import Tensor

from pdekit import checks
from pdekit.in_time import InTime
from pdekit.particles.dynamics.diffusion import at_time, force_values
from pdekit.particles.dynamics.multiplicative import semidefinite_factor
from pdekit.particles.integrators import Draws, Step
from pdekit.potentials import Linear

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class ItoProcess:
    """dX = drift(X, t) dt + noise(X, t) dB, as Itô reads it; no potential need exist.

    Parameters
    ----------
    drift : maps points ``(..., d)``, or points and a time, to vectors ``(..., d)``
    noise : maps them to numbers ``(...)``, to one number a coordinate ``(..., d)``, or to matrices
        ``(..., d, m)`` of m Brownian motions; or is a number, a vector (d,) or a matrix (d, m).
        It may be zero in some directions (coloured noise, kinetic equations)
    dim : d

    A function with two required arguments, place and time, stands for ``InTime(f)``. Both are
    called with torch tensors by ``simulate``, and with numpy arrays by ``solve`` of the ``law()``.
    Euler's steps, of weak order 1. Raises ``TypeError`` and ``ValueError`` for values of another
    shape. Good steps: dt times the largest slope of the drift below 0.1, and a noise that is nearly
    the same over one of its kicks. Mathematics 1.11.
    """

    drift: Any
    noise: Any
    dim: int = 1
    weak_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", checks.whole("ItoProcess: dim", self.dim, 1))
        what = "a function of points (..., d), or of points and a time, with values (..., d)"
        object.__setattr__(
            self, "drift", Drift(_coefficient("ItoProcess: drift", self.drift, what))
        )
        object.__setattr__(self, "noise", self._noise())

    def _noise(self) -> Any:
        what = "a number, a vector (d,), a matrix (d, m), or a function of points with such values"
        if callable(self.noise) or checks.time_dependent(self.noise):
            return _coefficient("ItoProcess: noise", self.noise, what)
        given = np.array(checks.finite("ItoProcess: noise", self.noise, what))
        if given.shape not in ((), (self.dim,)) and (given.ndim != 2 or len(given) != self.dim):
            raise ValueError(
                f"ItoProcess: noise must be {what}, here with d = {self.dim}; got shape "
                f"{given.shape}"
            )
        return (
            tuple(map(tuple, given)) if given.ndim == 2 else tuple(np.broadcast_to(given, self.dim))
        )

    def matrix(self, x: Any, t: float) -> Any:
        """The noise at points ``(..., d)`` and time t as matrices ``(..., d, m)``."""
        xp = array_namespace(x)
        made = at_time(self.noise, t)
        try:
            value = made(x) if callable(made) else made
            value = xp.asarray(value, dtype=x.dtype, device=device(x))
        except Exception as error:
            raise checks.failed(
                error,
                f"the noise must take arrays and tensors of points (..., {self.dim}); it failed on "
                f"shape {tuple(x.shape)}: {error} ({type(error).__name__})",
            ) from error
        if value.shape in (x.shape[:-1], ()):
            value = value[..., None] * xp.ones(self.dim, dtype=x.dtype, device=device(x))
        if value.shape in (x.shape, (self.dim,)):
            return value[..., None] * xp.eye(self.dim, dtype=x.dtype, device=device(x))
        if value.shape[:-1] in (x.shape, (self.dim,)):
            return value
        raise ValueError(
            f"the noise must map points of shape {tuple(x.shape)} to values of shape "
            f"{tuple(x.shape[:-1])}, {tuple(x.shape)} or {(*x.shape, 'm')}, got shape "
            f"{tuple(value.shape)}"
        )

    def init(self, x: Tensor) -> Tensor:
        """The positions are the state."""
        return x

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Euler's step; ``state`` is overwritten."""
        factor = self._square(self.matrix(state, step.start))
        xi = noise.at(step.number)[..., : factor.shape[-1], None]
        change = self.drift(state, step.start) * step.size
        return state.add_(change + (factor @ xi)[..., 0] * sqrt(step.size))

    def _square(self, matrix: Tensor) -> Tensor:
        """With at most d columns: of more Brownian motions a factor of the same law."""
        if matrix.shape[-1] <= self.dim:
            return matrix
        factor, bad = semidefinite_factor(matrix @ matrix.mT)
        return factor.masked_fill(bad[..., None, None], nan)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """X."""
        return state

    def sigmas(self, x: Tensor) -> Tensor:
        """The noise of each coordinate per square root of time, at points (n, d)."""
        sizes: Tensor = self.matrix(x, 0.0).norm(dim=-1).expand(x.shape)
        return sizes

    def variance(self, x: Tensor, step: Step) -> Tensor:
        """Of the noise of a step from ``x`` in each coordinate, shape of ``x``."""
        squares: Tensor = (self.matrix(x, step.start) ** 2).sum(-1)
        return squares.expand(x.shape) * step.size

    def law(self) -> FokkerPlanck:
        """ρ_t = -∇·(drift ρ) + ½ ∇·∇·(noise noiseᵀ ρ), in one or two dimensions."""
        from pdekit.pde.equations import FokkerPlanck

        nothing = Linear((0.0,) * self.dim)
        diffusion = HalfSquare(self, 0.0)
        return FokkerPlanck(
            nothing,
            1.0,
            self.drift.coefficient,
            InTimeOf(self) if checks.time_dependent(self.noise) else diffusion,
        )


@dataclass(frozen=True)
class Drift:
    """A drift as a function of place and time."""

    coefficient: Any

    def __call__(self, x: Tensor, t: float) -> Tensor:
        """Vectors, of the shape of ``x``."""
        return force_values(at_time(self.coefficient, t), x).expand(x.shape)


@dataclass(frozen=True)
class HalfSquare:
    """½ noise noiseᵀ at a time, a function of points."""

    process: ItoProcess
    t: float

    def __call__(self, x: Any) -> Any:
        """Matrices ``(..., d, d)``."""
        xp, matrix = array_namespace(x), self.process.matrix(x, self.t)
        half = matrix @ xp.matrix_transpose(matrix) / 2
        return xp.broadcast_to(half, (*x.shape, x.shape[-1]))


@dataclass(frozen=True)
class InTimeOf:
    """The same, as a coefficient that changes in time."""

    process: ItoProcess

    def at(self, t: float) -> HalfSquare:
        """½ noise noiseᵀ at time t."""
        return HalfSquare(self.process, t)


def _coefficient(name: str, value: Any, what: str) -> Any:
    """A function of points as it is, one of points and a time as ``InTime``."""
    checks.value_not_class(name, value)
    if checks.time_dependent(value):
        return value
    if not callable(value):
        raise TypeError(f"{name} must be {what}; got {checks.shown(value)}")
    try:
        checks.takes(name, value, what)
    except TypeError:
        checks.takes(name, value, what, 2)
        return InTime(value)
    return value
