"""FiPy solves the same equations on the same grids and agrees.

FiPy discretises ∇·(rho ∇V) with its own exponential convection term and marches in time with its
own solvers: nothing is shared but the equation. Both are second order in h and differ there: FiPy
takes the drift at the faces, pdekit the difference of the potential; so the distance is asked to
fall (four times, ideally) when h is halved, and to be small. For heat FiPy has the three-point
Laplacian and pdekit, where the kernel is narrow, too: there the distance is only asked to be small.
"""

import warnings
from typing import Any

import numpy as np
import pytest

import pdekit as pk

BETA, END = 4.0, 0.5


class Tilted:
    """(x^2 - 1)^2 / 4 + y^2 / 2 + 0.3 x y: no product of densities solves it."""

    dim = 2

    def __call__(self, x: Any) -> Any:
        return (x[..., 0] ** 2 - 1) ** 2 / 4 + x[..., 1] ** 2 / 2 + 0.3 * x[..., 0] * x[..., 1]

    def grad(self, x: Any) -> Any:
        first = x[..., 0] * (x[..., 0] ** 2 - 1) + 0.3 * x[..., 1]
        return np.stack([first, x[..., 1] + 0.3 * x[..., 0]], axis=-1)


def fipy_solution(
    grid: pk.Grid, start: np.ndarray, slope: Any, diffusion: float, steps: int
) -> np.ndarray:
    """rho_t = ∇·(rho ∇V) + diffusion Δrho by FiPy, Crank-Nicolson-like: two implicit runs, whose
    first-order time errors cancel in 2 rho(dt/2) - rho(dt)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FiPy's import warns of what it does not find
        import fipy

    lengths = {f"d{n}": float(h) for n, h in zip("xy", grid.spacing, strict=False)}
    counts = {f"n{n}": c for n, c in zip("xy", grid.cells, strict=False)}
    kind = fipy.Grid1D if grid.dim == 1 else fipy.Grid2D
    mesh = kind(**lengths, **counts) + [[a] for a in grid.lower]

    def marched(count: int) -> np.ndarray:
        # FiPy numbers cells with x fastest
        rho = fipy.CellVariable(mesh=mesh, value=start.T.ravel(), hasOld=True)
        terms = fipy.DiffusionTerm(coeff=diffusion)
        if slope is not None:
            drift = slope(np.moveaxis(np.array(mesh.faceCenters), 0, -1))
            drift[np.array(mesh.exteriorFaces)] = 0  # no flux through the walls
            velocity = fipy.FaceVariable(mesh=mesh, rank=1, value=-np.moveaxis(drift, -1, 0))
            terms = terms - fipy.ExponentialConvectionTerm(coeff=velocity)
        equation = fipy.TransientTerm() == terms
        solver = fipy.LinearLUSolver()
        for _ in range(count):
            rho.updateOld()
            equation.solve(var=rho, dt=END / count, solver=solver)
        return np.array(rho.value).reshape(grid.shape[::-1]).T

    return 2 * marched(2 * steps) - marched(steps)


def distance(grid: pk.Grid, equation: Any, start: Any, slope: Any, steps: int) -> float:
    ours = pk.solve(equation, grid, start, END)
    diffusion = 1 / equation.beta if slope is not None else 1 / (2 * equation.beta)
    first = pk.solve(equation, grid, start, 0.0).fields[0]
    theirs = fipy_solution(grid, first, slope, diffusion, steps)
    return float(grid.integrate(np.abs(ours.fields[-1] - theirs)))


def wave(x: np.ndarray) -> np.ndarray:
    return 1 + np.cos(x[..., 0]) * (np.cos(x[..., 1] / 2) if x.shape[-1] == 2 else 1)


ONE, PLANE = pk.potentials.DoubleWell(), Tilted()
CASES = {
    "Fokker-Planck on a line": (
        lambda n: pk.Grid(-3, 3, n), (75, 150), pk.FokkerPlanck(ONE, BETA),
        pk.Gaussian(-0.5, 0.4), ONE.grad, 40, 2e-3, 3,
    ),
    "Fokker-Planck on a plane": (
        lambda n: pk.Grid((-3, -3), (3, 3), (n, n)), (24, 48), pk.FokkerPlanck(PLANE, BETA),
        pk.Gaussian((-0.5, 0.3), 0.4), PLANE.grad, 40, 2e-2, 3,
    ),
    "heat on a line": (
        lambda n: pk.Grid(-np.pi, np.pi, n), (40, 80), pk.Heat(BETA), wave, None, 20, 2e-4, None,
    ),
    "heat on a plane": (
        lambda n: pk.Grid((-np.pi, 0), (np.pi, 2 * np.pi), (n, n)), (20, 40), pk.Heat(BETA),
        wave, None, 20, 2e-4, None,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning:fipy")
@pytest.mark.parametrize("name", CASES)
def test_fipy_agrees(name: str) -> None:
    box, cells, equation, start, slope, steps, close, falls = CASES[name]
    coarse, fine = (distance(box(n), equation, start, slope, steps) for n in cells)
    assert fine < close
    assert coarse < close if falls is None else fine < coarse / falls
