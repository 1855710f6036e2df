"""Mistakes get an error that says what was got, what was expected, and what to try."""

import warnings
from typing import Any

import numpy as np
import pytest
from mistakes import named

import pdekit as pk
from pdekit import hamiltonians as H

V = pk.potentials.DoubleWell()
WELLS = pk.potentials.DoubleWell(2)
GRID = pk.Grid(-3, 3, 60)
PLANE = pk.Grid((-3, -3), (3, 3), (20, 20))
WAVY = H.Custom(lambda p: np.sin(p[..., 0]))
START = pk.Gaussian(-1.0, 0.3)
FP = pk.FokkerPlanck(V, 4)


def hole(x: np.ndarray) -> np.ndarray:
    """Infinite in one cell."""
    return np.where(np.abs(x[..., 0] - 1.05) < 0.01, np.inf, x[..., 0] ** 2)


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "beta of zero": (lambda: pk.ViscousHJ(0), ValueError, "beta must be positive.*got 0"),
    "beta below zero": (lambda: pk.FokkerPlanck(V, -1), ValueError, "beta must be positive"),
    "beta infinite": (lambda: pk.Heat(np.inf), ValueError, r"use HamiltonJacobi\(\)"),
    "beta not a number": (lambda: pk.FokkerPlanck(V, "cold"), TypeError, "inverse temperature"),
    "no potential": (lambda: pk.FokkerPlanck(3.0, 4), TypeError, "must map points"),
    "a number for a potential": (lambda: pk.Langevin(3.0, 1.0), TypeError, "must map points"),
    "a number for a force": (lambda: pk.FokkerPlanck(V, 4, force=1.0), TypeError, "map points"),
    "force without components": (
        lambda: pk.solve(pk.FokkerPlanck(V, 4, force=V), GRID, START, 1), ValueError,
        "vectors of the same shape"),
    "diffusion negative": (
        lambda: pk.FokkerPlanck(V, 4, diffusion=((1, 2), (2, 1))), ValueError,
        "smallest eigenvalue is -1"),
    "diffusion negative somewhere": (
        lambda: pk.solve(pk.FokkerPlanck(V, 4, diffusion=lambda x: x[..., 0]), GRID, START, 1),
        ValueError, r"semidefinite; its smallest eigenvalue is -2\.95 at x = -2\.95"),
    "diffusion not symmetric": (
        lambda: pk.FokkerPlanck(V, 4, diffusion=((1, 2), (0, 1))), ValueError, "symmetric"),
    "diffusion of another shape": (
        lambda: pk.solve(pk.FokkerPlanck(V, 4, diffusion=lambda x: np.ones(3)), GRID, START, 1),
        ValueError, "got shape \\(3,\\)"),
    "walls for another dimension": (
        lambda: pk.solve(pk.FokkerPlanck(V, 4, walls=pk.Walls((True, False))), GRID, START, 1),
        ValueError, "1 of them, one per axis"),
    "walls as a string": (
        lambda: pk.FokkerPlanck(V, 4, walls="upper"), TypeError, "Walls"),
    "diffusion along an irrational line": (
        lambda: pk.solve(
            pk.FokkerPlanck(WELLS, 4, diffusion=((2, np.sqrt(2)), (np.sqrt(2), 1))), PLANE,
            pk.Gaussian((0, 0), 0.3), 1),
        ValueError, "no stencil of moderate length"),
    "times fall": (lambda: pk.solve(FP, GRID, START, [1, 0.5]), ValueError, "increase"),
    "times repeat": (lambda: pk.solve(FP, GRID, START, [1, 1]), ValueError, "increase"),
    "time negative": (lambda: pk.solve(FP, GRID, START, -1), ValueError, ">= 0"),
    "time NaN": (lambda: pk.solve(FP, GRID, START, np.nan), ValueError, "finite"),
    "no grid": (lambda: pk.solve(FP, (-3, 3, 60), START, 1), TypeError, "pdekit.Grid"),
    "not an equation": (lambda: pk.solve(V, GRID, START, 1), TypeError, "solve knows"),
    "scheme of another equation": (
        lambda: pk.solve(FP, GRID, START, 1, pk.schemes.HopfLax()), TypeError, "HopfLax solves"),
    "a string for a scheme": (lambda: pk.solve(FP, GRID, START, 1, "implicit"), TypeError,
                              "value of pdekit.schemes"),
    "array of another shape": (
        lambda: pk.solve(FP, GRID, np.ones(59), 1), ValueError, r"\(60,\), got \(59,\)"),
    "law of another dimension": (
        lambda: pk.solve(FP, GRID, pk.Gaussian((0, 0), 1), 1), ValueError,
        "2 coordinates, the grid 1"),
    "potential of another dimension": (
        lambda: pk.solve(FP, PLANE, pk.Gaussian((0, 0), 0.3), 1), ValueError, "1 coordinate"),
    "law where a function is needed": (
        lambda: pk.solve(pk.Heat(1), GRID, START, 1), TypeError, "starts from a function"),
    "density negative": (
        lambda: pk.solve(FP, GRID, np.linspace(-1, 1, 60), 1), ValueError, "negative.*cell"),
    "density without mass": (
        lambda: pk.solve(FP, GRID, np.zeros(60), 1), ValueError, "positive somewhere"),
    "law outside the grid": (
        lambda: pk.solve(FP, GRID, pk.Gaussian(9.0, 0.1), 1), ValueError, "inside the grid"),
    "potential infinite": (
        lambda: pk.solve(pk.FokkerPlanck(pk.potentials.Custom(hole), 4), GRID, START, 1),
        ValueError, r"inf at x = 1\.05 \(cell \(40,\)\)"),
    "initial NaN": (
        lambda: pk.solve(pk.Heat(1), GRID, np.full(60, np.nan), 1), ValueError, "nan at x = -2.95"),
    "coordinates not summed": (
        lambda: pk.solve(pk.Heat(1), PLANE, lambda x: x**2, 1), ValueError, r"sum\(-1\)"),
    "cfl above one": (lambda: pk.schemes.Godunov(cfl=1.5), ValueError, r"\(0, 1\]"),
    "cfl of zero": (lambda: pk.schemes.Filtered(cfl=0), ValueError, r"\(0, 1\]"),
    "flux by name": (lambda: pk.schemes.Godunov(flux="godunov"), TypeError, "discrete.fluxes"),
    "epsilon below zero": (lambda: pk.schemes.Filtered(epsilon=-1), ValueError, "epsilon"),
    "steps without end": (
        lambda: pk.solve(pk.HamiltonJacobi(), GRID, lambda x: 1e12 * x[..., 0], 1.0,
                         pk.schemes.Godunov()), pk.ConvergenceError, "too steep"),
    "filtered steps without end": (
        lambda: pk.solve(pk.HamiltonJacobi(), GRID, lambda x: 1e12 * x[..., 0], 1.0,
                         pk.schemes.Filtered()), pk.ConvergenceError, "too steep"),
    "plain steps without end": (
        lambda: pk.solve(pk.HamiltonJacobi(WAVY), GRID, lambda x: 1e9 * x[..., 0], 1e9),
        pk.ConvergenceError, "too steep"),
    "Hamiltonian by name": (lambda: pk.HamiltonJacobi("abs"), TypeError, r"Power\(4\)"),
    "Hamiltonian a class": (lambda: pk.Burgers(H.Eikonal), TypeError, "must be a value"),
    "Hamiltonian a function": (lambda: pk.HamiltonJacobi(np.abs), TypeError, "Custom"),
    "Hopf-Lax without convexity": (
        lambda: pk.solve(pk.HamiltonJacobi(WAVY), GRID, V, 1.0, pk.schemes.HopfLax()),
        ValueError, r"Use schemes.Filtered\(\)"),
    "Hopf-Lax of an oblique plane": (
        lambda: pk.solve(pk.HamiltonJacobi(H.Eikonal()), PLANE, pk.potentials.DoubleWell(2), 1.0,
                         pk.schemes.HopfLax()), ValueError, r"Use schemes.Filtered\(\)"),
    "Hamiltonian NaN": (
        lambda: pk.solve(pk.HamiltonJacobi(H.Custom(lambda p: p[..., 0] * np.nan)), GRID, V, 1.0),
        ValueError, "must be finite; at the gradient"),
    "Hamiltonian of another shape": (
        lambda: pk.solve(pk.HamiltonJacobi(H.Custom(lambda p: p)), GRID, V, 1.0),
        ValueError, r"take p\[..., 0\]"),
    "Hamiltonian of another dimension": (
        lambda: pk.solve(pk.HamiltonJacobi(WAVY), PLANE, pk.potentials.DoubleWell(2), 1.0),
        ValueError, "1 coordinate"),
    "conjugate without convexity": (
        lambda: H.Custom(np.sum, conjugate=np.sum), ValueError, "convex=False"),
    "conjugate that is none": (
        lambda: pk.solve(pk.HamiltonJacobi(H.Custom(lambda p: p[..., 0] ** 2, convex=True,
                                                    conjugate=lambda v: -(v[..., 0] ** 2))),
                         GRID, V, 1.0), ValueError, "Legendre transform"),
    "power below one": (lambda: H.Power(0.5), ValueError, ">= 1"),
    "scale of zero": (lambda: H.Power(2, 0.0), ValueError, "positive"),
    "matrix indefinite": (lambda: H.Quadratic(((1, 2), (2, 1))), ValueError, "eigenvalue -1"),
    "matrix not symmetric": (lambda: H.Quadratic(((1, 2), (0, 1))), ValueError, "symmetric"),
    "Burgers in the plane": (
        lambda: pk.solve(pk.Burgers(), PLANE, pk.potentials.DoubleWell(2), 1.0), ValueError,
        "on a line"),
    "dt of zero": (lambda: pk.schemes.Implicit(dt=0), ValueError, "dt must be"),
    "tolerance out of reach": (lambda: pk.schemes.Exponential(rtol=1e-20), ValueError, "1e-11"),
    "extension of an array": (
        lambda: pk.solve(pk.ViscousHJ(1), GRID, V(GRID.centres), 1,
                         pk.schemes.ColeHopf(extend=True)), ValueError, "beyond the box"),
    "extension that falls": (
        lambda: pk.solve(pk.ViscousHJ(1), GRID, lambda x: -(x[..., 0] ** 2), 1,
                         pk.schemes.ColeHopf(extend=True)), pk.ConvergenceError, "falls there"),
    "coupling": (
        lambda: pk.control(V, 4, GRID, START, V, 1.0, coupling=V), TypeError, "Congestion"),
    "coupling without transposed steps": (
        lambda: pk.control(V, 4, GRID, START, V, 1.0, coupling=pk.Congestion(1.0),
                           scheme=pk.schemes.Godunov()), ValueError, "PolicyIteration"),
    "solver without coupling": (
        lambda: pk.control(V, 4, GRID, START, V, 1.0, solver=pk.Newton()), ValueError, "coupl"),
    "solver as a class": (
        lambda: pk.control(V, 4, GRID, START, V, 1.0, coupling=pk.Congestion(1.0),
                           solver=pk.Newton), TypeError, "Newton"),
    "coupling of no number": (lambda: pk.Congestion("strong"), TypeError, "finite number"),
    "damping beyond one": (lambda: pk.FixedPoint(1.5), ValueError, "damping"),
    "kernel that is no function": (lambda: pk.Nonlocal(3.0), TypeError, "displacements"),
    "control on a plane": (
        lambda: pk.control(V, 4, PLANE, START, V, 1.0), ValueError, "dimension"),
    "policy step of zero": (lambda: pk.schemes.PolicyIteration(0.0), ValueError, "number > 0"),
    "horizon of zero": (lambda: pk.control(V, 4, GRID, START, V, 0.0), ValueError, "horizon > 0"),
    "time not stored": (
        lambda: pk.solve(FP, GRID, START, [1, 2]).at([0.0], 1.5), ValueError, "a stored time"),
    "point outside": (
        lambda: pk.solve(FP, GRID, START, 1).at([4.0]), ValueError, "outside"),
    "steep beyond the grid": (
        lambda: pk.solve(pk.HamiltonJacobiBellman(V, 1e4), GRID, V, 1.0), pk.ConvergenceError,
        "refine the grid"),
    "stationary of heat": (lambda: pk.stationary(pk.Heat(1), GRID), TypeError, "FokkerPlanck"),
    "unknown name": (lambda: pk.Solve, AttributeError, "no attribute 'Solve'"),
}  # fmt: skip


test_a_mistake_is_named = named(MISTAKES)


@pytest.mark.parametrize(
    ("start", "message"),
    [(pk.Gaussian(2.0, 0.5), "beyond the grid"), (pk.Uniform(-3.5, 0.0), "beyond the grid")],
)
def test_mass_cut_off_at_the_start_is_named(start: Any, message: str) -> None:
    with pytest.warns(pk.TruncationWarning, match=message) as caught:
        rho = pk.solve(FP, GRID, start, 1.0)
    lost = 1 - start.mass(GRID)
    assert f"{lost:.3g}" in str(caught[0].message)
    assert GRID.integrate(rho.fields[-1]) == pytest.approx(1, abs=1e-12)


def test_density_at_the_wall_is_named() -> None:
    """A flat potential: the mass beyond the walls would be that of the Gaussian's tails.

    The walls reflect it, which doubles the density there: an overestimate by a few times.
    """
    flat = pk.FokkerPlanck(pk.potentials.Quadratic(1e-9), 1)
    with pytest.warns(pk.TruncationWarning, match="reaches the walls") as caught:
        rho = pk.solve(flat, GRID, pk.Gaussian(0.0, 0.1), 0.3)
    from scipy.stats import norm

    tail = 2 * norm.sf(3 / np.sqrt(0.01 + 0.6))
    assert tail < rho.stats["wall_mass"] < 5 * tail
    assert "Enlarge the grid" in str(caught[0].message)


def test_no_warning_far_from_the_wall() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pk.solve(FP, GRID, START, [0.1, 10])
