"""Mean field -> its Gibbs state -> the mean field of that; fixed points are states."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.interactions import is_quadratic
from pdekit.pde.discrete.generators import gibbs
from pdekit.pde.discrete.mean_field import PairField, free_energy_terms, pair_field
from pdekit.pde.discrete.problem import Problem, require_noise
from pdekit.pde.equations import McKeanVlasov

if TYPE_CHECKING:
    import xarray as xr


_SAME = 1e-5  # L1 distance below which two densities are one state


_DENSE = 400  # cells up to which the stability operator is diagonalised as a matrix


@dataclass(frozen=True, eq=False)
class SelfConsistentState:
    """A density with rho = exp(-beta (V + W * rho)) / Z.

    ``mean`` is a float on a line and a tuple in the plane; ``response`` is R'(m) for Curie-Weiss on
    a line, in general the largest eigenvalue of -beta W in the covariance of rho (of
    beta λ Cov for Curie-Weiss): the state is ``stable``, a strict local minimum of the free energy,
    where it is below one (apart from shifts, where V is constant round a circle). ``residual`` is
    the L1 distance of rho from exp(-beta (V + W * rho)) / Z.
    """

    mean: float | tuple[float, ...]
    density: "xr.DataArray"
    free_energy: float
    stable: bool
    response: float
    residual: float


class FieldMap:
    """Mean field -> its Gibbs state -> the mean field of that, on a grid: residuals, Newton steps.

    A state is a fixed point. ``shifts``: V is constant round a circle.
    """

    def __init__(self, equation: McKeanVlasov, grid: Grid) -> None:
        checks.fixed("potential", equation.potential)
        require_noise(equation, "a self-consistent state")
        self.equation, self.grid, self.beta = equation, grid, equation.beta
        self.V = Problem(equation, grid, None).potential()
        self.pair: PairField = pair_field(equation.interaction, grid, equation.beta)
        self.shifts = self.beta * float(np.ptp(self.V)) < 1e-12 and all(grid.periodic)

    def density(self, field: Array) -> Array:
        return gibbs(self.V + field, self.beta, self.grid)

    def same(self, rho: Array, other: Array) -> bool:
        """Whether two densities are one state, or one up to a shift where ``shifts``.

        A shift turns the phases of the Fourier coefficients and leaves their moduli.
        """
        if self.shifts:
            rho, other = np.abs(np.fft.fftn(rho)), np.abs(np.fft.fftn(other))
            return float(np.abs(rho - other).max()) * self.grid.cell_volume <= _SAME
        return float(self.grid.integrate(np.abs(rho - other))) <= _SAME

    def curie_weiss_field(self, mean: float) -> Array:
        out: Array = self.equation.interaction(self.grid.centres - mean)
        return out

    def energy(self, rho: Array) -> float:
        return free_energy_terms(rho, self.V, self.pair(rho), self.beta, self.grid)[0]

    def newton_step(self, field: Array, rho: Array, residual: Array) -> Array:
        """p with p + beta W * (rho (p - <p>)) = -residual, by GMRES: W is a compact operator."""
        from scipy.sparse.linalg import LinearOperator, gmres

        def apply(p: Array) -> Array:
            p = p.reshape(rho.shape)
            share = rho * (p - self.grid.integrate(rho * p))
            return (p + self.beta * self.pair(share)).ravel()

        operator = LinearOperator((rho.size, rho.size), matvec=apply, dtype=float)
        step, _ = gmres(operator, -residual.ravel(), rtol=1e-5, restart=40, maxiter=2)
        return np.asarray(step).reshape(rho.shape)

    def state(self, field: Array) -> SelfConsistentState:
        import xarray as xr

        rho = self.density(field)
        own = self.pair(rho)
        coords = dict(zip(self.grid.names, self.grid.axes, strict=True))
        density = xr.DataArray(rho, coords=coords, dims=self.grid.names, name="density")
        mean = self.grid.centres.reshape(-1, self.grid.dim).T @ rho.ravel() * self.grid.cell_volume
        energy = self.energy(rho)
        response = self.response(rho)
        residual = float(self.grid.integrate(np.abs(rho - self.density(own))))
        where = float(mean[0]) if self.grid.dim == 1 else tuple(mean.tolist())
        return SelfConsistentState(where, density, energy, response < 1 - 1e-9, response, residual)

    def response(self, rho: Array) -> float:
        """Largest eigenvalue of -beta sqrt(rho) W sqrt(rho) on what carries no mass.

        One minus it is the least curvature of the free energy, relative to that of the entropy.
        """
        found = self.leading(rho)
        if self.shifts:  # a shift costs nothing: that direction is no instability
            others = found[np.abs(found - 1) > 1e-6]
            return float(others.max() if others.size else found.max())
        return float(found.max())

    def leading(self, rho: Array) -> Array:
        """The largest eigenvalues of that operator, one more than there are axes, or so."""
        if is_quadratic(self.equation.interaction):
            x = self.grid.centres.reshape(-1, self.grid.dim)
            cov = np.atleast_2d(np.cov(x.T, aweights=rho.ravel(), ddof=0))
            eigenvalues = self.beta * self.equation.interaction.strength * np.linalg.eigvalsh(cov)
            return np.asarray(eigenvalues)
        from scipy.sparse.linalg import LinearOperator, eigsh

        root = np.sqrt(rho * self.grid.cell_volume)

        def apply(p: Array) -> Array:
            p = p.reshape(rho.shape)
            p = p - root * (root * p).sum()
            q = -self.beta / self.grid.cell_volume * root * self.pair(root * p)
            rest: Array = (q - root * (root * q).sum()).ravel()
            return rest

        if rho.size <= _DENSE:
            matrix = np.stack([apply(e) for e in np.eye(rho.size)])
            return np.asarray(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1 - self.grid.dim :])
        operator = LinearOperator((rho.size, rho.size), matvec=apply, dtype=float)
        start = np.cos(np.arange(rho.size, dtype=float)) * root.ravel()
        found = eigsh(operator, k=1 + self.grid.dim, which="LA", v0=start,
                      return_eigenvectors=False)  # fmt: skip
        return np.asarray(found)
