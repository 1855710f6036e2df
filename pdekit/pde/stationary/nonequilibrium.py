"""Stationary states out of equilibrium: construction, decomposition, and entropy production.

Thesis chapter 6, corrected: dX = -∇f dt + sqrt(2 D / beta) dB (Ito) has the stationary density
exp(-beta Φ) exactly when ∇f = (D + Q) ∇Φ - beta^-1 ∇·(D + Q), Q antisymmetric, with the row
divergence (∇·M)_i = sum_j ∂_j M_ij. Mathematics 1.11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp, inf, pi, sqrt
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from numpy.typing import ArrayLike

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import slopes
from pdekit.diffusions import Ito, as_diffusion
from pdekit.errors import FieldError
from pdekit.grid import Grid
from pdekit.pde.discrete.drift_diffusion import ends_of
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import as_field, evaluate_tensor
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.stationary.stationary import current, refuse_resetting, stationary, steady
from pdekit.protocols import Corner, Equation, Function, Numbers, Potential

Field = Callable[[Array], Any]


@dataclass(frozen=True)
class Circulating:
    """Non-gradient part (I - D - Q) ∇Φ + beta^-1 ∇·(D + Q) of a drift with known stationary law.

    Added to -∇Φ it makes exp(-beta Φ) stationary under the diffusion D. ``diffusion`` and
    ``circulation`` are constant matrices (d, d) or fields ``(..., d) -> (..., d, d)``, the first
    also a number or a field of numbers; None is I and 0. Maps points ``(..., d)`` to vectors
    ``(..., d)``. The divergence of a field is taken by differences, right to about 1e-10, with a
    step that suits its scale.
    """

    potential: Any
    beta: float
    diffusion: Any = None
    circulation: Any = None

    def __call__(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        mobility = matrices("diffusion", self.diffusion, x, np.eye(x.shape[-1]))
        turning = matrices("circulation", self.circulation, x, np.zeros((x.shape[-1],) * 2))
        if not np.abs(turning + turning.swapaxes(-1, -2)).max() <= 1e-9 * np.abs(turning).max():
            raise FieldError(
                "circulation must be antisymmetric with values (..., d, d) at points (..., d); it "
                f"has {turning.reshape(-1, *turning.shape[-2:])[0].tolist()} at the first"
            )
        mobility = mobility + turning
        slope = np.asarray(self.potential.grad(x), dtype=float)
        drift = slope - np.einsum("...ij,...j->...i", mobility, slope)
        spread = row_divergence("diffusion", self.diffusion, x)
        spread = spread + row_divergence("circulation", self.circulation, x)
        out: Array = drift + spread / self.beta
        return out


def with_steady_state(
    potential: Potential,
    beta: float,
    diffusion: float | Function | Numbers | None = None,
    circulation: Function | Numbers | None = None,
) -> FokkerPlanck:
    """The Fokker-Planck equation with stationary density exp(-beta Φ) / Z, Φ = ``potential``.

    Drift -∇f, ∇f = (D + Q) ∇Φ - beta^-1 ∇·(D + Q) with D = ``diffusion`` (symmetric, positive
    semidefinite) and Q = ``circulation`` (antisymmetric), constant or fields ``(..., d) -> (..., d,
    d)``. Q moves probability along the level sets of Φ: J = beta^-1 ∇·(Q exp(-beta Φ)) / Z.
    Mathematics 1.11; thesis (6.48), (6.53) with the row divergence.

    Raises ``TypeError`` for a potential without ``grad`` and ``ValueError`` for a constant D that
    is not symmetric positive semidefinite or a constant Q that is not antisymmetric.
    """
    beta = checks.inverse_temperature(beta)
    checks.fixed("potential", potential)
    checks.value_not_class("potential", potential)
    if not hasattr(potential, "grad"):
        raise TypeError(
            f"the potential needs grad; wrap a function as Custom(f), got {potential!r}"
        )
    if diffusion is not None:
        reading: Any = Ito(diffusion)
        diffusion = reading.D
    if circulation is not None:
        circulation = _antisymmetric(circulation)
    if diffusion is None and circulation is None:
        return FokkerPlanck(potential, beta)
    force = Circulating(potential, beta, diffusion, circulation)
    return FokkerPlanck(potential, beta, force=force, diffusion=diffusion)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """F = (D + Q) U of a linear drift -F x with diffusion D; see ``decompose``.

    ``circulation`` Q is antisymmetric, ``curvature`` U symmetric: Φ = x·U x / 2, and where
    ``stable`` the stationary law is N(0, ``covariance`` / beta). All (d, d).
    """

    diffusion: Array
    circulation: Array
    curvature: Array
    covariance: Array
    stable: bool

    @property
    def equilibrium(self) -> bool:
        """Whether detailed balance holds: Q = 0, to rounding."""
        size = np.abs(self.diffusion).max() + np.abs(self.circulation).max()
        return bool(np.abs(self.circulation).max() <= 1e-12 * size)


def decompose(drift: Corner, diffusion: Corner | None = None) -> Decomposition:
    """The decomposition F = (D + Q) U of dX = -F X dt + sqrt(2 D / beta) dB about a critical point.

    F Σ + Σ Fᵀ = 2 D (Lyapunov), U = Σ⁻¹, Q = (F Σ - Σ Fᵀ) / 2. Unique where no two eigenvalues of F
    add up to zero. ``drift`` F and ``diffusion`` D (None: I) are (d, d). At a saddle it exists too,
    but Σ is not positive and there is no stationary law (``stable`` is False).
    Mathematics 1.11; thesis Lemma 6.44 with its hypotheses.

    Raises ``ValueError`` where F is not square, D not symmetric positive definite, or
    λ_i(F) + λ_j(F) = 0 to within 1e-10 of the largest |λ|, and where Σ is singular.
    """
    from scipy.linalg import solve_continuous_lyapunov

    f = np.atleast_2d(checks.numbers("drift", drift, "a finite square matrix"))
    if f.ndim != 2 or f.shape[0] != f.shape[1] or not np.isfinite(f).all():
        raise ValueError(f"the drift must be a finite square matrix, got {drift!r}")
    d = _covariance(np.eye(len(f)) if diffusion is None else diffusion)
    if d.shape != f.shape or not np.linalg.eigvalsh(d)[0] > 0:
        raise ValueError(
            f"the diffusion must be symmetric positive definite of shape {f.shape}, got "
            f"{diffusion!r}"
        )
    eigenvalues = np.linalg.eigvals(f)
    sums = np.abs(eigenvalues[:, None] + eigenvalues)
    i, j = np.unravel_index(int(sums.argmin()), sums.shape)
    if sums[i, j] <= 1e-10 * np.abs(eigenvalues).max():
        raise ValueError(
            f"the eigenvalues {eigenvalues[i]:.6g} and {eigenvalues[j]:.6g} of the drift add up to "
            f"zero, to within 1e-10 of the largest ({np.abs(eigenvalues).max():.3g}): "
            "F Σ + Σ Fᵀ = 2 D has no unique solution (Lemma 6.44 needs λ_i + λ_j != 0)"
        )
    sigma = solve_continuous_lyapunov(f, 2 * d)
    sigma = (sigma + sigma.T) / 2
    if np.linalg.cond(sigma) > 1e14:
        raise ValueError("Σ is singular to rounding, so that no U = Σ⁻¹ exists for this F and D")
    flow = f @ sigma
    inverse = np.linalg.inv(sigma)
    stable = bool(eigenvalues.real.min() > 0)
    return Decomposition(d, (flow - flow.T) / 2, (inverse + inverse.T) / 2, sigma, stable)


@dataclass(frozen=True)
class LimitCycle:
    """Thesis example 6.43: Φ = (x² - 1)²/4 + y²/2 with a current round the origin, in the plane.

    Drift -∇f = -∇Φ + j, j = λ exp(βΦ - r⁴/4) (-y, x), D = I. For every λ = ``strength`` exp(-βΦ)/Z
    stays stationary, with J = λ exp(-r⁴/4) (-y, x) / Z, although ∇·j does not vanish. The zeros of
    ∇f move with λ (for λ = 1.5 only the origin is left), the mode of the density does not. For
    β > 1 the force grows like exp((β - 1) x⁴ / 4): choose the box as small as the density allows.
    Mathematics 1.11, errata 43.
    Good values: λ = 0.5 or 1.5, β = 1, the box [-4.5, 4.5]².
    """

    strength: float
    beta: float = 1.0

    def __post_init__(self) -> None:
        checks.parameters(self, strength=checks.number)
        object.__setattr__(self, "beta", checks.inverse_temperature(self.beta))

    @property
    def equation(self) -> FokkerPlanck:
        """The Fokker-Planck equation with potential Φ and force j."""
        return FokkerPlanck(_SidewaysWell(), self.beta, force=self.force)

    def potential(self, x: Any) -> Any:
        """Φ at points (..., 2), arrays or tensors, as everything here."""
        return _SidewaysWell()(x)

    def force(self, x: Any) -> Any:
        """j at points (..., 2)."""
        x = _points(x)
        rise = self.beta * self.potential(x) - self._quartic(x)
        return array_namespace(x).exp(rise)[..., None] * self._turn(x)

    def drift(self, x: Any) -> Any:
        """∇f = ∇Φ - j at points (..., 2)."""
        return _SidewaysWell().grad(x) - self.force(x)

    def density(self, x: Any) -> Any:
        """The stationary density on the plane at points (..., 2)."""
        x = _points(x)
        return array_namespace(x).exp(-self.beta * self.potential(x)) / self.normalisation

    def current(self, x: Any) -> Any:
        """The stationary current J at points (..., 2)."""
        x = _points(x)
        weight = array_namespace(x).exp(-self._quartic(x)) / self.normalisation
        return weight[..., None] * self._turn(x)

    @cached_property
    def normalisation(self) -> float:
        """Z = ∫ exp(-βΦ) over the plane: by quadrature in x, in closed form in y."""
        from scipy.integrate import quad

        def weight(x: float) -> float:
            return exp(-self.beta * (x * x - 1) ** 2 / 4)

        reach = sqrt(1 + sqrt(160 / self.beta))
        line = quad(weight, 0, reach, points=[1.0], epsabs=0, epsrel=1e-13, limit=200)[0]
        return 2 * float(line) * sqrt(2 * pi / self.beta)

    def _quartic(self, x: Any) -> Any:
        return ((x**2).sum(-1)) ** 2 / 4

    def _turn(self, x: Any) -> Any:
        return self.strength * array_namespace(x).stack([-x[..., 1], x[..., 0]], axis=-1)


@dataclass(frozen=True)
class _SidewaysWell:
    """Φ = (x² - 1)² / 4 + y² / 2."""

    dim: int = 2

    def __call__(self, x: Any) -> Any:
        x = _points(x)
        return (x[..., 0] ** 2 - 1) ** 2 / 4 + x[..., 1] ** 2 / 2

    def grad(self, x: Any) -> Any:
        x = _points(x)
        slopes = [x[..., 0] * (x[..., 0] ** 2 - 1), x[..., 1]]
        return array_namespace(x).stack(slopes, axis=-1)


def _points(x: Any) -> Any:
    """Tensors as they are, all else as an array of floats."""
    return x if is_torch_array(x) else np.asarray(x, dtype=float)


def entropy_production(equation: Equation, density: Numbers, grid: Grid) -> float:
    """Total rate of entropy production β ∫ J·D⁻¹ J / rho of a density, J its current; >= 0.

    In units of 1 / time; zero exactly in detailed balance. Where mass is kept, it is the
    housekeeping rate (which maintains the stationary state) plus β times the rate at which the
    free energy falls. It is that of the motion in the box: killing and sources are not counted.
    Second order. ``density``: an array or DataArray of ``grid.shape``. Mathematics 1.11; thesis
    (6.24).

    Raises ``TypeError`` for another equation and ``ValueError`` for a diffusion that is singular
    somewhere (the rate is not defined there), and under resetting and where a wall absorbs all (it
    is infinite there).
    """
    problem = _of_motion(equation, grid, "entropy_production")
    rho = _density(density, problem.grid)
    flow = current(equation, rho, grid).values
    return _dissipated(equation, flow, rho, grid)


def housekeeping(equation: Equation, density: Numbers, grid: Grid) -> float:
    """Housekeeping part β ∫ rho j·D⁻¹ j of the entropy production, j = J_ss / rho_ss; >= 0.

    At the stationary density it is all of ``entropy_production``; whatever the density it vanishes
    exactly in detailed balance. Second order; mathematics 1.11. Raises as ``entropy_production``.
    """
    problem = _of_motion(equation, grid, "housekeeping")
    rho = _density(density, problem.grid)
    still = stationary(equation, grid).values
    velocity = current(equation, still, grid).values
    safe = np.where(still > 0, still, 1.0)[..., None]
    return _dissipated(equation, rho[..., None] * velocity / safe, rho, grid)


def _of_motion(equation: Any, grid: Grid, verb: str) -> Problem:
    """The problem of an equation whose production of entropy is finite."""
    problem = steady(equation, grid, verb)
    refuse_resetting(equation, verb)
    ends = [end for pair in ends_of(equation.walls, grid) for end in pair]
    if any(end.rate == inf and end.value == 0 for end in ends):
        raise ValueError(
            f"{verb} is infinite where a wall absorbs: a current leaves where the density is zero; "
            "take PartlyAbsorbing(rate) or Held(value) there, or free_energy and dissipation"
        )
    return problem


def _density(given: Numbers, grid: Grid) -> Array:
    rho = as_field(given, grid, "the density")
    if rho.min() < -1e-10 * np.abs(rho).max():  # more than rounding of a solution
        cell = tuple(int(k) for k in np.unravel_index(rho.argmin(), rho.shape))
        raise ValueError(f"a density must not be negative; it is {rho.min():g} in cell {cell}")
    return rho


def _dissipated(equation: Any, flow: Array, rho: Array, grid: Grid) -> float:
    """β ∫ flow·D⁻¹ flow / rho over the cells with positive probability."""
    d = evaluate_tensor(as_diffusion(equation.diffusion).D, grid, "the diffusion")
    d = d if d.ndim > grid.dim else d[..., None, None] * np.eye(grid.dim)
    least = np.linalg.eigvalsh(d)[..., 0]
    if not (least > 0).all():
        raise ValueError(
            "entropy production needs a diffusion that is positive definite everywhere; its "
            f"smallest eigenvalue on the grid is {least.min():g}"
        )
    power = (flow * np.linalg.solve(d, flow[..., None])[..., 0]).sum(-1)
    rate = np.where(rho > 0, power / np.where(rho > 0, rho, 1.0), 0.0)
    return float(equation.beta * grid.integrate(rate))


def minibatch_covariance(gradients: Numbers, size: int, replacement: bool = True) -> Array:
    """Covariance (d, d) of the mean of ``size`` gradients drawn from the N rows of ``gradients``.

    With replacement (S/N - g gᵀ) / ℓ; without, (1 - ℓ/N) (S/(N-1) - N/(N-1) g gᵀ) / ℓ, where
    S = sum_k g_k g_kᵀ and g is their mean: zero for identical gradients, and for ℓ = N without
    replacement. Then β⁻¹ = η / (2 ℓ) with D = ℓ Cov for the learning rate η. Mathematics 1.11;
    thesis (6.4), (6.5) corrected.

    Raises ``ValueError`` for a size outside 1..N (without replacement) or below 1, or N < 2.
    """
    rows = checks.finite("gradients", gradients, "finite numbers (N, d)")
    if rows.ndim != 2:
        raise ValueError(f"gradients must have shape (N, d), got shape {rows.shape}")
    centred = rows - rows.mean(0)
    covariance: Array = (
        minibatch_factor(len(rows), size, replacement) / len(rows) * (centred.T @ centred)
    )
    return covariance


def minibatch_factor(n: int, size: int, replacement: bool = True) -> float:
    """Covariance of the mean of ``size`` of N gradients over S/N - g gᵀ, that of one of them."""
    size, replacement = checks.whole("size", size, 1), checks.flag("replacement", replacement)
    if n < 2 or (size > n and not replacement):
        raise ValueError(
            f"a batch must be of 1 to N gradients from N >= 2, got size {size!r} of N = {n}"
        )
    return 1 / size if replacement else (1 - size / n) * n / (size * (n - 1))


def matrices(what: str, field: Any, x: Array, default: Array) -> Array:
    """A matrix, scalar or field of either at points (..., d): matrices (..., d, d) or (d, d)."""
    if field is None:
        return default
    try:
        values: Array = checks.numbers("its values", field(x) if callable(field) else field)
    except Exception as error:
        raise FieldError(
            f"{what} must take points of shape {x.shape}, got a function that fails on them: "
            f"{error} ({type(error).__name__})"
        ) from error
    d = x.shape[-1]
    if values.shape[-2:] == (d, d) and values.ndim in (2, x.ndim + 1):
        return values
    if values.shape in ((), x.shape[:-1]):
        return values[..., None, None] * np.eye(d)
    raise FieldError(
        f"{what} at points of shape {x.shape} must have shape {(*x.shape, d)}, or {x.shape[:-1]} "
        f"for a multiple of the identity; got {values.shape}"
    )


def row_divergence(what: str, field: Any, x: Array) -> Array:
    """(∇·M)_i = sum_j ∂_j M_ij at points (..., d), by differences; 0 if constant."""
    if field is None or not callable(field):
        return np.zeros_like(x)
    d = x.shape[-1]

    def everywhere(y: Array) -> Array:
        return np.broadcast_to(matrices(what, field, y, np.eye(d)), (*y.shape, d))

    out: Array = np.einsum("...jij->...i", slopes(everywhere, x)[0])
    return out


def _covariance(matrix: ArrayLike) -> Array:
    d = np.atleast_2d(np.asarray(matrix, dtype=float))
    symmetric = d.ndim == 2 and d.shape[0] == d.shape[1] and np.allclose(d, d.T, rtol=1e-12)
    if not symmetric or np.linalg.eigvalsh(d)[0] < -1e-12 * np.abs(d).max():
        raise ValueError(
            f"a constant diffusion must be symmetric positive semidefinite, got {matrix!r}"
        )
    return d


def _antisymmetric(matrix: Any) -> Any:
    """A constant matrix as nested tuples (comparable), a function as it is."""
    what = "an antisymmetric matrix or a function of points (..., d) with values (..., d, d)"
    checks.value_not_class("circulation", matrix)
    if callable(matrix):
        checks.takes("circulation", matrix, what)
        return matrix
    q = checks.finite("circulation", matrix, what)
    if q.ndim != 2 or q.shape[0] != q.shape[1] or not np.allclose(q, -q.T, rtol=1e-12, atol=0):
        raise ValueError(f"a constant circulation must be antisymmetric, got {matrix!r}")
    return tuple(tuple(map(float, row)) for row in q)
