"""One's own stochastic differential equation."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import array_namespace, device
from torch import Tensor

from pdekit import checks
from pdekit.diffusions import derivatives
from pdekit.grid import Grid
from pdekit.in_time import InTime
from pdekit.particles.dynamics.diffusion import (
    at_time,
    check_in_box,
    fold,
    force_values,
    reflected,
    wide_step,
)
from pdekit.particles.dynamics.multiplicative import semidefinite_factor
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Draws, Step
from pdekit.potentials import Linear
from pdekit.protocols import Coefficient
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class ItoProcess:
    """dX = drift(X, t) dt + noise(X, t) dB; no potential need exist.

    Parameters
    ----------
    drift : maps points ``(..., d)``, or points and a time, to vectors ``(..., d)``
    noise : maps them to numbers ``(...)``, to one number a coordinate ``(..., d)``, or to matrices
        ``(..., d, m)`` of m Brownian motions; or is a number, a vector (d,) or a matrix (d, m).
        It may be zero in some directions (coloured noise, kinetic equations). As Itô reads it
        unless wrapped: ``Stratonovich(noise)``, the limit of smooth noises, with the drift
        ½ Σ_jk B_kj ∂_k B_ij more, or ``HaenggiKlimontovich(noise)``, with ½ Σ_k ∂_k (B Bᵀ)_ik
    dim : d
    box : a Grid with reflecting walls and wrapping periodic axes; None for the whole space
    walls, killing, resetting : as for ``Langevin``

    A function with two required arguments, place and time, stands for ``InTime(f)``; within a
    reading it must be ``InTime``. They are called with torch tensors by ``simulate``, and with
    numpy arrays by ``solve`` of the ``law()``.
    Euler's steps, of weak order 1. Raises ``TypeError`` and ``ValueError`` for values of another
    shape. Good steps: dt times the largest slope of the drift below 0.1, and a noise that is nearly
    the same over one of its kicks. Mathematics 1.11.
    """

    drift: Any
    noise: Any
    dim: int = 1
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    weak_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", checks.whole("ItoProcess: dim", self.dim, 1))
        what = "a function of points (..., d), or of points and a time, with values (..., d)"
        given: Any = self.drift
        reading = None
        if hasattr(given, "in_itos_reading"):  # of an ItoProcess of which a field is replaced
            reading = given.noise.reading if given.noise is not None else None
            given = given.coefficient
        drift = _coefficient("ItoProcess: drift", given, what)
        if hasattr(self.noise, "share"):
            reading = type(self.noise) if self.noise.share < 1 else None
            object.__setattr__(self, "noise", self.noise.D)
        object.__setattr__(self, "noise", self._noise())
        read = None if reading is None else Noise(self.noise, self.dim, reading)
        object.__setattr__(self, "drift", Drift(drift, read))
        check_parts(self)
        check_in_box(self)
        check_stopping(self)

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
        return Noise(self.noise, self.dim).matrix(x, t)

    def init(self, x: Tensor) -> Tensor:
        """The positions, in the box, are the state."""
        return fold(x, self.box)[0]

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Euler's step, reflected at walls; ``state`` is overwritten."""
        y = self.proposal(state, step, noise)
        return reflected(y, self.box, lambda x: self.covariance(x, step.start))

    def proposal(self, x: Tensor, step: Step, noise: Draws) -> Tensor:
        """Where the step leads as if there were no walls."""
        return self.euler(x, step.start, step.size, sqrt(step.size), noise.at(step.number))

    def euler(self, x: Tensor, t: float, h: Any, root: Any, xi: Tensor) -> Tensor:
        """Euler's step from x, of the size h with the square root ``root``."""
        factor = self._square(self.matrix(x, t))
        kicks: Tensor = (factor @ xi[..., : factor.shape[-1], None])[..., 0]
        moved: Tensor = x + (self.drift(x, t) * h + kicks * root)
        return moved

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

    def covariance(self, x: Tensor, t: float) -> Tensor:
        """Of the noise per time at ``x``, matrices ``(..., d, d)``."""
        matrix = self.matrix(x, t)
        square: Tensor = matrix @ matrix.mT
        return square.expand(*x.shape, x.shape[-1])

    def variance(self, x: Tensor, step: Step) -> Tensor:
        """Of the noise of a step from ``x`` in each coordinate, shape of ``x``."""
        return self.covariance(x, step.start).diagonal(dim1=-2, dim2=-1) * step.size

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning of steps too long for walls that take particles."""
        return wide_step(self, x, size, t)

    def law(self) -> FokkerPlanck:
        """ρ_t = -∇·(drift ρ) + ½ ∇·∇·(noise noiseᵀ ρ), in one or two dimensions."""
        from pdekit.pde.equations import FokkerPlanck

        nothing = Linear((0.0,) * self.dim)
        diffusion = HalfSquare(self, 0.0)
        return FokkerPlanck(
            nothing,
            1.0,
            self._force(),
            InTimeOf(self) if checks.time_dependent(self.noise) else diffusion,
            **endings(self),
        )

    def _force(self) -> Any:
        """The drift of Itô's equation, as a force."""
        drift: Drift = self.drift
        if drift.noise is None:
            return drift.coefficient
        moves = checks.time_dependent(drift.coefficient) or checks.time_dependent(self.noise)
        return ItoForceInTime(drift) if moves else ItoForce(drift)


@dataclass(frozen=True)
class Noise:
    """What multiplies the Brownian motions, in ``dim`` coordinates; ``reading`` is None for Itô."""

    coefficient: Any
    dim: int
    reading: Any = None

    def matrix(self, x: Any, t: float) -> Any:
        """At points ``(..., d)`` and time t: matrices ``(..., d, m)``."""
        xp = array_namespace(x)
        made = at_time(self.coefficient, t)
        try:
            value = made(x) if callable(made) else made
            value = xp.asarray(value, device=device(x))
        except Exception as error:
            raise checks.failed(
                error,
                f"the noise must take arrays and tensors of points (..., {self.dim}); it failed on "
                f"shape {tuple(x.shape)}: {error} ({type(error).__name__})",
            ) from error
        if xp.isdtype(value.dtype, "complex floating"):
            raise TypeError(
                f"the noise must map points of shape {tuple(x.shape)} to real numbers, got "
                f"{value.dtype}"
            )
        value = xp.astype(value, x.dtype)
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

    def correction(self, x: Any, t: float) -> Any:
        """The drift that makes Itô's equation of the reading, shape of ``x``."""
        if self.reading is None or not callable(at_time(self.coefficient, t)):
            return x * 0
        B = self.matrix(x, t)
        changes = list(derivatives(lambda y: self.matrix(y, t), x))
        along = (change @ B[..., k, :, None] for k, change in enumerate(changes))
        half = sum(along)[..., 0] / 2
        if self.reading.share > 0:
            return half
        xp = array_namespace(x)  # the rest of the divergence of ½ B Bᵀ
        spread = sum(change[..., k, :] for k, change in enumerate(changes))
        return half + xp.matmul(B, spread[..., None])[..., 0] / 2


@dataclass(frozen=True)
class Drift:
    """A drift as a function of place and time, in Itô's reading."""

    coefficient: Any
    noise: Noise | None = None
    in_itos_reading: ClassVar[bool] = True

    def __call__(self, x: Tensor, t: float) -> Tensor:
        """Vectors, of the shape of ``x``."""
        b = force_values(at_time(self.coefficient, t), x).expand(x.shape)
        return b if self.noise is None else b + self.noise.correction(x, t)


@dataclass(frozen=True)
class ItoForce:
    """The same as the force of an equation, at a time."""

    drift: Drift
    t: float = 0.0

    def __call__(self, x: Any) -> Any:
        """Vectors ``(..., d)``, of arrays and tensors."""
        noise: Any = self.drift.noise
        return at_time(self.drift.coefficient, self.t)(x) + noise.correction(x, self.t)


@dataclass(frozen=True)
class ItoForceInTime:
    """The same, as a coefficient that changes in time."""

    drift: Drift

    def at(self, t: float) -> ItoForce:
        """That at time t."""
        return ItoForce(self.drift, t)


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
