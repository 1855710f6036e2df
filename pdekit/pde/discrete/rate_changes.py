"""How the rates of a generator change along a parameter, or a field added to a coefficient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.differences import central_gradient, row_divergence
from pdekit.pde.discrete.drift_diffusion import Coefficients
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import called, evaluate, evaluate_vector

_STEP = 1e-3  # relative change of a parameter, for the difference of fourth order of its rates
BETA, DRIFT, CLOCK, STEP = "beta", "drift", "clock", "step"
FIELDS = "potential", "force", "diffusion"

Seen = Callable[[Generator], Any]
"""What is read off a generator: its matrix, or its rates on a line."""


class StepBias(NamedTuple):
    """The leading term, h, of the modified equation of an integrator of dX = b dt + √(2/β) dB.

    Drift b + h (``along`` (b·∇b + Δb/β) + ``tamed`` |b| b), diffusion β⁻¹ (1 + h ``spread``
    (∇b + ∇bᵀ) / 2).
    """

    along: float
    spread: float
    tamed: float = 0.0


def matrix(generator: Generator) -> Any:
    """That moves densities."""
    return generator.matrix().T.tocsc()


def line(generator: Generator) -> Array:
    """Rates up, down and of killing on a line, ``(3, n)``; up and down end with a zero."""
    n, lost = generator.grid.shape[0], generator.loss
    out = np.zeros((3, n))
    out[0, : n - 1], out[1, : n - 1] = generator.up[0], generator.down[0]
    if lost is not None:
        out[2] = lost
    return out


def change(problem: Problem, parameter: str, field: Any, seen: Seen = matrix) -> Any:
    """A_θ, as ``seen``: the rates are smooth functions of θ, differenced to rounding (those of a
    force that circulates piece by piece, to 1e-5).
    """
    base = _coefficients(problem)
    along = None if field is None else _along(field, parameter, problem.grid)
    return _differenced(base, parameter, along, seen)


def of_step(problem: Problem, bias: StepBias, seen: Seen = matrix) -> Any:
    """A_h, as ``seen``, along the size h of an integrator's steps."""
    base = _coefficients(problem)
    force, spread = _modified(base, bias)
    pushed = _differenced(base, "force", force, seen)
    return pushed + _differenced(base, "diffusion", spread, seen)


def _coefficients(problem: Problem) -> Coefficients:
    return replace(problem.coefficients(0.0), values=problem.potential())


def _differenced(base: Coefficients, parameter: str, along: Array | None, seen: Seen) -> Any:
    size = 1.0 if along is None else _size(along, parameter, base)

    def at(step: float) -> Any:
        changed = _changed(base, parameter, along, step * size)
        return seen(drift_diffusion.generator(changed))

    h = _STEP
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h * size)


def _modified(base: Coefficients, bias: StepBias) -> tuple[Array, Array]:
    """The directions of force and diffusion of a ``StepBias``."""
    grid = base.grid
    b = -central_gradient(base.values, grid)
    b = b if base.force is None else b + base.force
    slopes = np.moveaxis(central_gradient(np.moveaxis(b, -1, 0), grid), 0, -2)  # ∂_j b_i
    laplacian = row_divergence(slopes, grid)
    force = bias.along * (np.einsum("...ij,...j->...i", slopes, b) + laplacian / base.beta)
    force += bias.tamed * np.linalg.norm(b, axis=-1, keepdims=True) * b
    spread = bias.spread * (slopes + slopes.swapaxes(-1, -2)) / 2
    return force, spread[..., 0, 0] if grid.dim == 1 else spread


def _along(field: Any, parameter: str, grid: Grid) -> Array:
    """A direction at the centres, of the shape that the coefficient may have there."""
    if parameter == "potential":
        return evaluate(field, grid, "field")
    if parameter == "force":
        return evaluate_vector(field, grid, "field")
    values = called("field", field, grid.centres)
    tensors = (*grid.shape, grid.dim, grid.dim)
    if values.shape not in (grid.shape, tensors) or not np.isfinite(values).all():
        raise ValueError(
            f"field must map points of shape {grid.centres.shape} to finite values of shape "
            f"{grid.shape} or {tensors}, got shape {values.shape}"
        )
    return values[..., 0, 0] if grid.dim == 1 and values.shape == tensors else values


def _size(along: Array, parameter: str, base: Coefficients) -> float:
    """Of a field, in its units, so that its change is one of order one."""
    reach = float(np.ptp(along) if parameter == "potential" else np.abs(along).max())
    of = {"potential": base.beta, "force": base.beta * base.grid.narrowest, "diffusion": 1.0}
    return 1.0 / (of[parameter] * reach) if reach > 0 else 1.0


def _changed(base: Coefficients, parameter: str, along: Any, change: float) -> Coefficients:
    """The coefficients with a parameter changed, by a share or along a field."""
    force = base.force
    if parameter == BETA:
        return replace(base, beta=base.beta * (1 + change))
    if parameter == DRIFT:
        pushed = None if force is None else (1 + change) * force
        return replace(base, values=(1 + change) * base.values, force=pushed)
    if parameter == "potential":
        return replace(base, values=base.values + change * along)
    if parameter == "force":
        return replace(base, force=change * along if force is None else force + change * along)
    tensor, dim = base.tensor, base.grid.dim
    if along.ndim > tensor.ndim:
        tensor = tensor[..., None, None] * np.eye(dim)
    elif along.ndim < tensor.ndim:
        along = along[..., None, None] * np.eye(dim)
    return replace(base, tensor=tensor + change * along)
