"""Mean-field couplings: the cost of being at x while the others are distributed as rho.

A coupling is a frozen value with three methods on fields of shape ``(..., *grid.shape)``, leading
axes (time, say) one by one:

* ``cost(rho, grid)``: the field ℓ(x, rho);
* ``derivative(rho, change, grid)``: its derivative by rho along ``change``;
* ``cooperative()``: the coupling whose *game* is the control problem of a planner who minimises the
  sum of all costs: ℓ(x, rho) + ∫ δℓ(y, rho)/δrho(x) rho(dy), the derivative of ∫ ℓ(., rho) rho.

Couplings add. Mathematics 1.7; thesis, remark 4.10.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pdekit import checks
from pdekit.arrays import Array, Function
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.convolution import convolution, displacements
from pdekit.pde.discrete.mean_field import require_even_at, warn_if_narrow
from pdekit.pde.discrete.sampling import called

_COARSE = 0.05  # of the cost: difference on cells twice as wide, three times the error
_FEW = 8  # cells an axis below which nothing can be merged


class Coupling(Protocol):
    """The interface of ``control(coupling=..., terminal_coupling=...)``."""

    def cost(self, rho: Array, grid: Grid) -> Array: ...

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array: ...

    def cooperative(self) -> "Coupling": ...


@dataclass(frozen=True)
class Congestion:
    """ℓ = strength rho^power: crowds are costly (strength > 0) or attractive (< 0); local.

    ``power`` > 0; rho is a density, so ``strength`` has units cost times length^(dim power).
    """

    strength: float
    power: float = 1.0

    def __post_init__(self) -> None:
        _require_number(self, "strength", "power")
        if not self.power > 0:
            raise ValueError(f"Congestion: power must be positive, got {self.power}")

    def cost(self, rho: Array, grid: Grid) -> Array:
        out: Array = self.strength * np.maximum(rho, 0.0) ** self.power
        return out

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        slope = self.strength * self.power
        if self.power == 1:
            return slope * change
        # below power one the slope is infinite at an empty place
        safe = np.maximum(rho, 1e-12 * rho.max() if self.power < 1 else 0.0)
        out: Array = slope * safe ** (self.power - 1) * change
        return out

    def cooperative(self) -> "Congestion":
        """strength (1 + power) rho^power."""
        return Congestion(self.strength * (1 + self.power), self.power)

    def __add__(self, other: Coupling) -> "CouplingSum":
        return CouplingSum((self, other))


@dataclass(frozen=True)
class LogDensity:
    """ℓ = strength log(rho + floor): the entropic price of crowds; local.

    ``floor`` > 0 is the density below which the price is constant.
    """

    strength: float
    floor: float = 1e-4

    def __post_init__(self) -> None:
        _require_number(self, "strength", "floor")
        if not self.floor > 0:
            raise ValueError(f"LogDensity: floor must be a positive density, got {self.floor}")

    def cost(self, rho: Array, grid: Grid) -> Array:
        out: Array = self.strength * np.log(np.maximum(rho, 0.0) + self.floor)
        return out

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        return self.strength * change / (np.maximum(rho, 0.0) + self.floor)

    def cooperative(self) -> Coupling:
        """strength (log(rho + floor) + rho / (rho + floor))."""
        return CouplingSum((self, _Filled(self.strength, self.floor)))

    def __add__(self, other: Coupling) -> "CouplingSum":
        return CouplingSum((self, other))


@dataclass(frozen=True)
class _Filled:
    """ℓ = strength rho / (rho + floor): the planner's addition to ``LogDensity``."""

    strength: float
    floor: float

    def cost(self, rho: Array, grid: Grid) -> Array:
        full = np.maximum(rho, 0.0)
        out: Array = self.strength * full / (full + self.floor)
        return out

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        out: Array = self.strength * self.floor / (np.maximum(rho, 0.0) + self.floor) ** 2 * change
        return out

    def cooperative(self) -> Coupling:
        raise ValueError("this coupling is cooperative already; apply cooperative() only once")


@dataclass(frozen=True)
class MeanTracking:
    """ℓ = strength |x - share m|^2 / 2, m the mean of rho: the linear-quadratic game
    (mathematics 1.7). ``ValueError`` on a periodic axis, where no mean is defined.

    As polynomial strength |x|^2 / 2 - pull x·m + rest |m|^2 / 2, with pull = strength share and
    rest = strength share^2 unless given.
    """

    strength: float
    share: float = 1.0
    pull: float = field(default=np.nan, kw_only=True)
    rest: float = field(default=np.nan, kw_only=True)

    def __post_init__(self) -> None:
        _require_number(self, "strength", "share")
        if not abs(self.share) <= 1e100:
            raise ValueError(f"MeanTracking: share must be at most 1e100, got {self.share}")
        for name, power in (("pull", 1), ("rest", 2)):
            if np.isnan(getattr(self, name)):
                object.__setattr__(self, name, self.strength * self.share**power)

    def cost(self, rho: Array, grid: Grid) -> Array:
        mean = _mean(rho, rho, grid)
        rest: Array = self.rest * (mean * mean).sum(-1) / 2
        out = _along(-self.pull * mean, rest, grid)
        out += self.strength * (grid.centres**2).sum(-1) / 2
        return out

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        mean, moved = _mean(rho, rho, grid), _mean(change, rho, grid)
        return _along(-self.pull * moved, self.rest * (mean * moved).sum(-1), grid)

    def cooperative(self) -> "MeanTracking":
        """The pull grows to 2 pull - rest; terms without x are unchanged."""
        return MeanTracking(
            self.strength, self.share, pull=2 * self.pull - self.rest, rest=self.rest
        )

    def __add__(self, other: Coupling) -> "CouplingSum":
        return CouplingSum((self, other))


@dataclass(frozen=True)
class Nonlocal:
    """ℓ(x) = ∫ W(x - y) rho(dy): a pair cost W (even), such as ``PairPotential`` or a function.

    By FFT, zero-padded where the axis has walls and wrapped where it is periodic (W is then
    evaluated at the shortest displacement). O(N log N). ``ValueError`` for a W that is not even, a
    ``ResolutionWarning`` by ``control`` for one that varies within the cells.
    """

    kernel: Function

    def __post_init__(self) -> None:
        if isinstance(self.kernel, type) or not callable(self.kernel):
            raise TypeError(
                "Nonlocal takes a kernel on displacements (..., d) -> (...), such as "
                f"lambda z: np.exp(-(z**2).sum(-1)); got {self.kernel!r}"
            )

    @property
    def _kernels(self) -> tuple[Function, ...]:
        return (self.kernel,)

    def cost(self, rho: Array, grid: Grid) -> Array:
        return np.ascontiguousarray(convolution(_sampled(self.kernel, grid), grid)(rho))

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        return self.cost(change, grid)

    def cooperative(self) -> Coupling:
        """Twice the pair cost: a planner counts both members of every pair."""
        return CouplingSum((self, self))

    def __add__(self, other: Coupling) -> "CouplingSum":
        return CouplingSum((self, other))


@dataclass(frozen=True)
class CouplingSum:
    """The sum of several couplings."""

    parts: tuple[Coupling, ...]

    @property
    def _kernels(self) -> tuple[Function, ...]:
        return tuple(kernel for part in self.parts for kernel in _kernels_of(part))

    def cost(self, rho: Array, grid: Grid) -> Array:
        total: Array = np.sum([part.cost(rho, grid) for part in self.parts], 0)
        return total

    def derivative(self, rho: Array, change: Array, grid: Grid) -> Array:
        total: Array = np.sum([part.derivative(rho, change, grid) for part in self.parts], 0)
        return total

    def cooperative(self) -> "CouplingSum":
        return CouplingSum(tuple(part.cooperative() for part in self.parts))

    def __add__(self, other: Coupling) -> "CouplingSum":
        return CouplingSum((*self.parts, other))


def _mean(field: Array, rho: Array, grid: Grid) -> Array:
    """∫ x field dx over the mass of rho, shape ``(..., dim)``."""
    if any(grid.periodic):
        raise ValueError(
            "MeanTracking is about the mean, which is not defined on a periodic axis; use "
            "Nonlocal(pdekit.interactions.Kuramoto(strength))"
        )
    lead = rho.shape[: rho.ndim - grid.dim]
    moments = field.reshape(*lead, -1) @ grid.centres.reshape(-1, grid.dim)
    out: Array = moments / rho.reshape(*lead, -1).sum(-1)[..., None]
    return out


def _along(slope: Array, constant: Array, grid: Grid) -> Array:
    """x·slope + constant at the cell centres: one product, for the stacks are large."""
    points = grid.centres.reshape(-1, grid.dim)
    points = np.concatenate([points, np.ones((len(points), 1))], 1)
    out: Array = np.concatenate([slope, constant[..., None]], -1) @ points.T
    return out.reshape(*slope.shape[:-1], *grid.shape)


def look(coupling: Any, grid: Grid, beta: float, stacklevel: int) -> None:
    """Warn of kernels that vary within the cells."""
    for kernel in _kernels_of(coupling):
        _sampled(kernel, grid)  # names what is no kernel
        warn_if_narrow(kernel, grid, beta, stacklevel + 1)


def look_at_costs(
    coupling: Coupling, grid: Grid, rho: Array, times: Array, stacklevel: int
) -> None:
    """Warn where the cost of a flow (times, *grid.shape) is another on pairs of cells merged."""
    if min(grid.cells) < _FEW or any(n % 2 for n in grid.cells):
        return
    cells = tuple(n // 2 for n in grid.cells)
    merged, other = rho, Grid(grid.lower, grid.upper, cells, grid.periodic)
    for axis in range(1, rho.ndim):
        parts = np.moveaxis(merged, axis, -1)
        parts = (parts[..., ::2] + parts[..., 1::2]) / 2
        merged = np.moveaxis(parts, -1, axis)
    try:
        fine, coarse = coupling.cost(rho, grid), coupling.cost(np.ascontiguousarray(merged), other)
    except (TypeError, ValueError):  # one of these cells alone
        return
    over = [_over_flow(rho, cost, times) / np.prod(grid.cells) for cost in (fine, np.abs(fine))]
    apart = abs(_over_flow(merged, coarse, times) / np.prod(cells) - over[0])
    if not apart <= _COARSE * over[1]:
        warnings.warn(
            f"the cells are too coarse for the cost of {coupling!r}: on pairs of cells merged it "
            f"differs by {apart / max(over[1], 1e-300):.2g} of itself, as kernels or densities "
            "narrower than the cells make it; solve the control on more cells",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def _over_flow(rho: Array, cost: Array, times: Array) -> float:
    """The cost of a flow over the cells, without their volume, and time (at one, there)."""
    at = (rho * cost).reshape(len(rho), -1).sum(1)
    return float(np.trapezoid(at, times)) if len(times) > 1 else float(at[0])


def _kernels_of(coupling: Any) -> tuple[Function, ...]:
    out: tuple[Function, ...] = getattr(coupling, "_kernels", ())
    return out


def _sampled(kernel: Any, grid: Grid) -> Array:
    """A kernel at the displacements of a convolution: not kept, for a function may change."""
    steps, z = displacements(grid)
    values = called("a kernel", kernel, z)
    shape = z.shape[:-1]
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(
            f"a kernel must map displacements of shape {z.shape} to finite values of shape "
            f"{shape}, got shape {values.shape}"
        )
    require_even_at(steps, values, kernel)
    return values


def _require_number(coupling: Any, *names: str) -> None:
    for name in names:
        checks.number(f"{type(coupling).__name__}: {name}", getattr(coupling, name))
