"""Derivatives of one expectation along many parameters, by the adjoint equation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, TruncationWarning
from pdekit.pde.discrete import rate_changes, responses
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate
from pdekit.pde.kernels.rational import exponential_poles, radau
from pdekit.pde.sensitivity import INITIAL, checked, derivatives
from pdekit.pde.solution import Solution

if TYPE_CHECKING:
    import xarray as xr

_RTOL, _MOST_STEPS, _STAGES = 1e-8, 4096, 6
Parameter = str | tuple[str, Callable[[Array], Array]]


def expectation_gradient(
    solution: Solution, observable: Callable[[Array], Array], parameters: Sequence[Parameter]
) -> xr.DataArray:
    """∂/∂θ ∫ φ ρ_t, of one observable φ along many parameters θ, at the times of a solution.

    Parameters
    ----------
    solution, and each parameter : as for ``sensitivity``; a name such as ``"beta"``, or a pair
        ``("potential", field)`` of one and its direction
    observable : φ, a function of points ``(..., d)`` with values ``(...)``

    By the adjoint: ρ forward and λ_t = exp((T - t) Aᵀ) φ backward once for a time,
    ∂/∂θ ∫ φ ρ_T = ∫_0^T <λ_t, A_θ ρ_t> dt, and every parameter costs a product with its A_θ. The
    derivative of the rational steps themselves, so that it is that of ``sensitivity`` integrated,
    and dual to it to rounding; exact in time to 1e-8 of the range of φ. Solutions of
    ``McKeanVlasov`` are differentiated parameter by parameter. Dims ``("time", "parameter")``.

    Raises as ``sensitivity`` does, and ``TypeError`` for parameters that are a text, not a list.
    """
    import xarray as xr

    pairs = _pairs(parameters)
    problem, *_ = [checked(solution, *pair) for pair in pairs]
    phi = evaluate(observable, problem.grid, "observable")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        found = (_direct if problem.equation.mean_field else _adjoint)(
            problem, phi, pairs, solution.times
        )
    names = [name for name, _ in pairs]
    coords = {"time": solution.u["time"].values, "parameter": names}
    return xr.DataArray(found, coords, ("time", "parameter"), "d/d parameter")


def _pairs(parameters: Any) -> list[tuple[str, Any]]:
    if isinstance(parameters, str) or not isinstance(parameters, Sequence) or not parameters:
        raise TypeError(
            'parameters must be a list such as ["beta", ("potential", field)], got '
            f"{checks.shown(parameters)}"
        )
    return [(one, None) if isinstance(one, str) else _pair(one) for one in parameters]


def _pair(one: Any) -> tuple[str, Any]:
    if not isinstance(one, tuple) or len(one) != 2:
        raise TypeError(
            f'a parameter must be a name or a pair ("potential", field), got {checks.shown(one)}'
        )
    return one


def _direct(problem: Problem, phi: Array, pairs: list[tuple[str, Any]], times: Array) -> Array:
    every = [derivatives(problem, *pair, times) for pair in pairs]
    return np.array(
        [[problem.grid.integrate(phi * s[k]) for s in every] for k in range(len(times))]
    )


def _adjoint(problem: Problem, phi: Array, pairs: list[tuple[str, Any]], times: Array) -> Array:
    A = rate_changes.matrix(problem.generator())
    changes = [_change(problem, A, *pair) for pair in pairs]
    starts = {k: evaluate(field, problem.grid, "field").ravel()
              for k, (name, field) in enumerate(pairs) if name == INITIAL}  # fmt: skip
    flat = phi.ravel() * problem.grid.cell_volume
    rho = problem.values.ravel()
    out = np.zeros((len(times), len(pairs)))
    for row, t in zip(out, times, strict=True):
        if t > 0:
            row[:] = _converged(A, changes, rho, flat, float(t), starts, responses.swept(problem))
        else:
            row[list(starts)] = [flat @ start for start in starts.values()]
    return out


def _change(problem: Problem, A: Any, name: str, field: Any) -> Any:
    if name == INITIAL:
        return 0 * A
    if name == rate_changes.CLOCK or not hasattr(problem.equation, "potential"):
        return A if name == rate_changes.CLOCK else -A
    return rate_changes.change(problem, name, field)


def _converged(
    A: Any, changes: list[Any], rho: Array, phi: Array, t: float, starts: dict[int, Array],
    swept: bool,
) -> Array:  # fmt: skip
    """In one sweep where that is exact, else in 1, 2, 4, ... steps of Radau's collocation."""
    if swept:
        return gradient(A, changes, rho, phi, t, 1, exponential_poles(), starts)
    method, before = radau(_STAGES), None
    allowed, steps = _RTOL * float(np.ptp(phi)) * float(np.abs(rho).sum()), 1
    while steps <= _MOST_STEPS:
        found = gradient(A, changes, rho, phi, t, steps, (method.poles, method.residues), starts)
        if before is not None and np.abs(found - before).max() <= allowed:
            return found
        before, steps = found, 2 * steps
    raise ConvergenceError(
        f"the gradient at t = {t:g} is not known to {_RTOL:g} after {_MOST_STEPS} steps; use fewer "
        "cells, or shorter times"
    )


def gradient(
    A: Any, changes: list[Any], rho: Array, phi: Array, t: float, steps: int,
    method: tuple[Any, Any], starts: dict[int, Array],
) -> Array:  # fmt: skip
    """Of <φ, r(τ A)^steps ρ>, r = Σ_k c_k / (z - z_k) and τ = t / steps, along changes of A.

    With x_k = (τ A - z_k)⁻¹ ρ and y_k = (τ A - z_k)⁻ᵀ λ, from ρ before and λ after a step, that
    adds -Σ_k c_k <y_k, τ A_θ x_k>.
    """
    tau, poles = t / steps, _Poles(t / steps * A, *method)
    before = []
    for _ in range(steps):
        before.append(rho)
        rho = poles.summed(poles.solved(rho, "N"))
    out, lost = np.zeros(len(changes)), phi
    for rho in reversed(before):
        x, y = poles.solved(rho, "N"), poles.solved(lost, "T")
        for j, change in enumerate(changes):
            out[j] -= tau * poles.summed([b @ (change @ a) for a, b in zip(x, y, strict=True)])
        lost = poles.summed(y)
    for j, start in starts.items():
        out[j] = lost @ start
    return out


class _Poles:
    """(M - z_k)⁻¹ for the poles of the upper half plane, and of a real one."""

    def __init__(self, M: Any, poles: Array, residues: Array) -> None:
        from scipy.sparse import eye_array
        from scipy.sparse.linalg import splu

        kept = poles.imag > -1e-12 * np.abs(poles)
        twice = np.where(poles.imag > 1e-12 * np.abs(poles), 2.0, 1.0)
        self.residues = (twice * residues)[kept]
        unit = eye_array(M.shape[0], format="csc")
        self.factors = [splu((M - z * unit).tocsc()) for z in poles[kept]]

    def solved(self, b: Array, way: str) -> list[Array]:
        return [lu.solve(b.astype(complex), way) for lu in self.factors]

    def summed(self, parts: list[Any]) -> Any:
        """Re Σ_k c_k of the parts."""
        return sum((c * part).real for c, part in zip(self.residues, parts, strict=True))
