"""Langevin dynamics with multiplicative noise, and its interpretations."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from pdekit.diffusions import Ito, as_diffusion
from pdekit.grid import Grid
from pdekit.particles.dynamics.diffusion import (
    GradientDynamics,
    at_time,
    check_beta,
    fold,
    force_values,
    reflected,
    slope,
    wide_step,
)
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.dynamics.stopping import check_stopping, endings
from pdekit.particles.integrators import Draws, Step
from pdekit.protocols import Coefficient, Diffusivity
from pdekit.resetting import Resetting
from pdekit.walls import Walls

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


_SYMMETRIC = 1e-4  # tolerance for single precision


@dataclass(frozen=True)
class MultiplicativeLangevin(GradientDynamics):
    """dX = (-∇V(X) + F(X)) dt + √(2D(X)/β) dB, as Itô, Stratonovich or Hänggi-Klimontovich read it.

    SGD as a diffusion: V the loss, D the covariance of its gradients, β = 2 batch / learning rate
    (mathematics 1.11, thesis (6.2), errata 37). Euler's method with the drift correction of the
    interpretation.

    Parameters
    ----------
    potential : V
    beta : inverse temperature, > 0
    diffusion : D, a number, a matrix, or a function of points ``(..., d)`` with values ``(...)``
        or ``(..., d, d)``, symmetric and positive semidefinite; Itô's unless wrapped in
        ``Stratonovich`` or ``HaenggiKlimontovich`` (`pdekit.diffusions`)
    force : F, a drift that need not be a gradient, ``(..., d) -> (..., d)``; None for no force
    box : a Grid with reflecting walls, along D's conormals, and wrapping periodic axes; None for
        the whole space
    walls, killing, resetting : as for ``Langevin``

    V and F may be time-dependent (``at(t)``); they are evaluated at the beginning of the step. D
    may be singular, if noise acts in some directions only (coloured noise, momenta).

    Raises ``ValueError`` for beta <= 0 or a D of the wrong shape, not symmetric or with a negative
    eigenvalue, ``TypeError`` for a time-dependent D. In more than one dimension D is factorised at
    each particle in each step.
    """

    potential: Coefficient
    beta: float
    diffusion: Diffusivity
    force: Coefficient | None = None
    box: Grid | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    resetting: Resetting | None = None
    weak_order: ClassVar[int] = 1
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)
        if hasattr(self.diffusion, "at"):
            raise TypeError(
                "MultiplicativeLangevin needs a diffusion that is fixed in time, got one with "
                f"at(t): {self.diffusion!r}; pass what it is at one time, .at(t)"
            )
        object.__setattr__(self, "diffusion", as_diffusion(self.diffusion))
        check_parts(self)
        check_stopping(self)

    @property
    def _reading(self) -> Ito:
        return as_diffusion(self.diffusion)

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Itô's drift: -∇V + F and the correction of the interpretation."""
        added: Tensor = self._reading.correction(x)
        drift = added / self.beta - slope(at_time(self.potential, t), x)
        return drift if self.force is None else drift + force_values(at_time(self.force, t), x)

    def init(self, x: Tensor) -> Tensor:
        """The positions, in the box, are the state."""
        return fold(x, self.box)[0]

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Euler's step, reflected at walls; ``state`` is overwritten."""
        return reflected(self.proposal(state, step, noise), self.box, self._reading.tensor)

    def proposal(self, x: Tensor, step: Step, noise: Draws) -> Tensor:
        """Where the step leads as if there were no walls."""
        root = sqrt(2 * step.size / self.beta)
        return self._euler(x, step.start, step.size, root, noise.at(step.number))

    def euler(self, x: Tensor, t: float, h: Any, root: Any, xi: Tensor) -> Tensor:
        """Euler's step from x, of the size h with the square root ``root``."""
        return self._euler(x, t, h, root * sqrt(2 / self.beta), xi)

    def _euler(self, x: Tensor, t: float, h: Any, scale: Any, xi: Tensor) -> Tensor:
        kicks: Tensor = (self._factor(x) @ xi[..., None])[..., 0]
        moved: Tensor = x + (self.drift(x, t) * h + kicks * scale)
        return moved

    def sigmas(self, x: Tensor) -> Tensor:
        """√(2 D_kk/β) at points (n, d): the noise of each coordinate per square root of time."""
        rows: Tensor = self._factor(x[None])[0].norm(dim=-1)
        return rows * sqrt(2 / self.beta)

    def covariance(self, x: Tensor, t: float) -> Tensor:
        """Of the noise per time at ``x``, matrices ``(..., d, d)``."""
        D: Tensor = self._reading.tensor(x)
        return D * (2 / self.beta)

    def variance(self, x: Tensor, step: Step) -> Tensor:
        """Of the noise of a step from ``x`` in each coordinate, shape of ``x``."""
        return self.covariance(x, step.start).diagonal(dim1=-2, dim2=-1) * step.size

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if D changes too much over one increment, or steps are too long for walls."""
        wide = wide_step(self, x, size, t)
        if wide or not callable(self._reading.D):
            return wide
        points = x[None]
        reach = sqrt(2 * size / self.beta) * self._factor(points).sum(dim=-1)
        there, here = self._reading.tensor(points + reach), self._reading.tensor(points)
        _check_symmetric(here, points)
        _check_symmetric(there, points + reach)
        change = (there - here).abs().amax(dim=(-2, -1)) / here.abs().amax(dim=(-2, -1))
        largest = float(change.nan_to_num(0.0, 0.0, 0.0).max())
        if largest <= 1.5:
            return ""
        return (
            f"the diffusion changes by {largest:.0%} within one kick of the noise, too much for "
            f"Euler's method; take dt <= {size * (0.5 / largest) ** 2:.1g}"
        )

    def law(self) -> FokkerPlanck:
        """ρ_t = ∇·((∇V - F)ρ) + β⁻¹ times ∇·∇·(Dρ), or the analogue of other readings."""
        from pdekit.pde.equations import FokkerPlanck

        return FokkerPlanck(self.potential, self.beta, self.force, self.diffusion, **endings(self))

    def _factor(self, x: Tensor) -> Tensor:
        """A matrix with ``B Bᵀ = D(x)``."""
        points = x if callable(self._reading.D) else x[:1, :1]  # a constant is factored once
        factor, bad = semidefinite_factor(self._reading.tensor(points))
        if torch.compiler.is_compiling():  # values cannot be inspected: NaN stops the simulation
            return factor.masked_fill(bad[..., None, None], nan)
        if bool(bad.any()):
            raise ValueError(
                "diffusion must be positive semidefinite, which it is not at "
                f"{points[bad][0].tolist()}"
            )
        return factor


def _check_symmetric(matrix: Tensor, points: Tensor) -> None:
    """``ValueError`` for asymmetric matrices, of which a factorisation would read one half only."""
    scale = matrix.abs().amax(dim=(-2, -1), keepdim=True)
    bad = ((matrix - matrix.mT).abs() > _SYMMETRIC * scale).any(dim=-1).any(dim=-1)
    if bool(bad.any()):
        raise ValueError(
            f"diffusion must be symmetric, which it is not at {points[bad][0].tolist()}, where it "
            f"is {matrix[bad][0].tolist()}"
        )


def semidefinite_factor(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """B with ``B Bᵀ`` the symmetric matrices ``(..., d, d)``, and which have negative eigenvalues.

    Cholesky's; where a matrix is singular by its eigenvectors (except in compiled steps in
    more than two dimensions, where it counts as negative).
    """
    slack = 100 * torch.finfo(matrix.dtype).eps
    if matrix.shape[-1] == 1:
        return matrix.clamp_min(0).sqrt(), ~(matrix[..., 0, 0] >= 0)
    if matrix.shape[-1] == 2:
        return _factor_in_the_plane(matrix, slack)
    factor, info = torch.linalg.cholesky_ex(matrix)
    singular = info > 0
    if torch.compiler.is_compiling() or not bool(singular.any()):
        return factor, singular
    values, vectors = torch.linalg.eigh(matrix[singular])
    factor = factor.clone()
    factor[singular] = vectors * values.clamp_min(0).sqrt()[..., None, :]
    bad = torch.zeros_like(singular)
    bad[singular] = ~(values[..., 0] >= -slack * values.abs().amax(dim=-1))
    return factor, bad


def _factor_in_the_plane(matrix: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    a, b, c = matrix[..., 0, 0], matrix[..., 1, 0], matrix[..., 1, 1]
    nothing = a <= 0
    below = (b / a.masked_fill(nothing, 1.0).sqrt()).masked_fill(nothing, 0.0)
    rest = c - below * below
    rest = rest.masked_fill(
        rest.abs() <= slack / 10 * c, 0.0
    )  # set rounding errors to zero, since their root is not small
    rows = a.clamp_min(0).sqrt(), torch.zeros_like(a), below, rest.clamp_min(0).sqrt()
    good = (a >= 0) & (rest >= -slack * c.abs()) & ~(nothing & (b != 0))
    return torch.stack(rows, dim=-1).reshape(matrix.shape), ~good
