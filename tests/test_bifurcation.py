"""Critical points, branches and phase diagrams of any interaction, against other derivations."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import iv

import pdekit as pk
from pdekit import schemes
from pdekit.interactions import GaussianWell, Kuramoto, Morse
from pdekit.pde.phases.branch_systems import FieldSystem
from pdekit.pde.phases.continuation import Curve

WELL = pk.potentials.DoubleWell()
LINE, SMALL = pk.Grid(-4, 4, 120), pk.Grid(-3, 3, 64)
CIRCLE = pk.Grid(0, 2 * np.pi, 48, periodic=True)
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0])
PULL = pk.CurieWeiss(1.0)
SPRING = pk.PairPotential(pk.potentials.Quadratic(1.0))  # the same, as any pair potential


def tilted(h: float) -> Any:
    return pk.potentials.Custom(lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4 + h * x[..., 0])


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_critical_points_of_a_spring_are_those_of_curie_weiss(strength: float) -> None:
    """By convolutions and eigenvalues against quadrature of a variance over the whole space."""
    exact = pk.critical_beta(WELL, pk.CurieWeiss(strength))
    spring = pk.PairPotential(pk.potentials.Quadratic(strength))
    assert pk.critical_beta(WELL, spring, grid=LINE) == pytest.approx(exact, rel=1e-9)
    same = pk.critical_beta(WELL, pk.CurieWeiss(strength), grid=LINE)
    assert same == pytest.approx(exact, rel=1e-9)


def test_critical_points_in_the_plane_are_those_of_the_line() -> None:
    """Independent coordinates order at the same temperature, by three routes."""
    plane, well = pk.Grid((-3.5, -3.5), (3.5, 3.5), (36, 36)), pk.potentials.DoubleWell(2)
    exact = pk.critical_beta(WELL, PULL)
    spring = pk.PairPotential(pk.potentials.Quadratic(1.0, 2))
    assert pk.critical_beta(well, PULL) == pytest.approx(exact, rel=1e-9)
    assert pk.critical_beta(well, PULL, grid=plane) == pytest.approx(exact, rel=1e-8)
    assert pk.critical_beta(well, spring, grid=plane) == pytest.approx(exact, rel=1e-8)


@pytest.mark.filterwarnings("ignore::pdekit.AccuracyWarning")  # some are of first order
@settings(max_examples=25)
@given(a=st.floats(-2, 2), b=st.floats(-2, 2), c=st.floats(0.2, 2))
def test_incoherence_ends_where_its_strongest_wave_grows(a: float, b: float, c: float) -> None:
    """V = 0 on a circle, W = -a cos z - b cos 2z - c cos 3z: δρ = cos kx obeys
    δρ' = k² (K_k / 2 - 1/beta) δρ, hence beta_c = 2 / max K_k; Kuramoto's is 2 / K."""
    kernel = pk.PairPotential(
        lambda z: -sum(K * np.cos((k + 1) * z[..., 0]) for k, K in enumerate((a, b, c)))
    )
    found = pk.critical_beta(FLAT, kernel, grid=CIRCLE)
    assert found == pytest.approx(2 / max(a, b, c), rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2])
def test_kuramoto_on_circle_and_torus(dim: int) -> None:
    grid = pk.Grid([0.0] * dim, [2 * np.pi] * dim, [24] * dim, periodic=True)
    flat = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=dim)
    found = pk.critical_beta(flat, pk.PairPotential(Kuramoto(3.0, dim)), grid=grid)
    assert found == pytest.approx(2 / 3, rel=1e-10)


def by_matrices(W: Any, beta: float) -> float:
    """Response of the even state: Picard's iteration, then all eigenvalues of -beta W cov."""
    x = SMALL.axes[0]
    kernel = np.asarray(W((x[:, None] - x)[..., None])) * SMALL.spacing[0]
    rho = np.exp(-beta * WELL(SMALL.centres))
    for _ in range(400):
        weight = np.exp(-beta * (WELL(SMALL.centres) + kernel @ rho))
        rho = (rho + weight / SMALL.integrate(weight)) / 2
        rho = (rho + rho[::-1]) / 2
        rho /= SMALL.integrate(rho)
    covariance = np.diag(rho) - np.outer(rho, rho) * SMALL.spacing[0]
    return float(np.linalg.eigvals(-beta * kernel @ covariance).real.max())


ATTRACTIVE = {
    "Gaussian": pk.PairPotential(GaussianWell(1.2, 0.8)),
    "Morse": pk.PairPotential(Morse(2.0, 1.0, 0.5, 0.3, 0.1)),
}


@pytest.mark.parametrize("name", ATTRACTIVE)
def test_critical_points_of_short_range_attraction_by_matrices(name: str) -> None:
    W = ATTRACTIVE[name]
    found = pk.critical_beta(WELL, W, grid=SMALL)
    exact = brentq(lambda b: by_matrices(W, b) - 1, 0.9 * found, 1.1 * found, xtol=1e-9)
    assert found == pytest.approx(exact, rel=1e-7)


def test_critical_point_of_short_range_attraction_from_the_equation_alone() -> None:
    """The growth rate of a small magnetisation under ``solve`` changes sign there."""
    W = ATTRACTIVE["Gaussian"]
    grid = pk.Grid(-3, 3, 48)
    exact, x = pk.critical_beta(WELL, W, grid=grid), grid.axes[0]

    def growth(beta: float) -> float:
        equation = pk.McKeanVlasov(WELL, beta, W)
        states = pk.self_consistent_states(equation, grid)
        rho = min(states, key=lambda s: abs(s.mean)).density.values * (1 + 1e-4 * x)
        rho /= grid.integrate(rho)
        fields = pk.solve(equation, grid, rho, [6.0, 9.0], schemes.MeanField(1e-6)).fields
        mean = grid.integrate(x * fields)
        return float(np.log(mean[1] / mean[0])) / 3

    low, high = 0.99 * exact, 1.01 * exact
    below, above = growth(low), growth(high)
    assert below < 0 < above
    assert low + (high - low) * below / (below - above) == pytest.approx(exact, rel=3e-4)


def test_branches_of_a_spring_are_those_of_curie_weiss() -> None:
    """A tilt with two folds: continuation of fields against continuation of the mean."""

    def family(interaction: Any) -> Any:
        return lambda h: pk.McKeanVlasov(tilted(h), 4.0, interaction)

    mean = pk.follow_branch(family(PULL), SMALL, 1.1, (-0.3, 0.3))
    field = pk.follow_branch(family(SPRING), SMALL, 1.1, (-0.3, 0.3))
    np.testing.assert_allclose(field.folds, mean.folds, atol=1e-9)
    np.testing.assert_allclose(field.fold_means, mean.fold_means, atol=1e-5)
    assert field.parameter[-1] == pytest.approx(0.3, abs=1e-12)
    for k in range(0, len(field.mean), 7):
        states = pk.self_consistent_states(family(PULL)(field.parameter[k]), SMALL)
        near = min(states, key=lambda state: abs(state.mean - field.mean[k]))
        assert near.mean == pytest.approx(field.mean[k], abs=1e-7)
        assert near.free_energy == pytest.approx(field.free_energy[k], abs=1e-10)
        assert near.response == pytest.approx(field.response[k], abs=1e-5)


@pytest.mark.parametrize(("origin", "unit"), [(0.0, 1e9), (0.0, 1e-9), (1e6, 1.0), (1e9, 1.0)])
def test_a_branch_does_not_depend_on_how_its_parameter_is_counted(origin, unit) -> None:
    """Up to its rounding; and the family is asked of parameters within the bounds only."""
    low, high = origin - 0.3 * unit, origin + 0.3 * unit

    def family(p: float) -> pk.McKeanVlasov:
        assert low <= p <= high
        return pk.McKeanVlasov(tilted((p - origin) / unit), 4.0, PULL)

    plain = pk.follow_branch(
        lambda h: pk.McKeanVlasov(tilted(h), 4.0, PULL), SMALL, 1.1, (-0.3, 0.3)
    )
    branch = pk.follow_branch(family, SMALL, 1.1, (low, high))
    rounding = 1e-9 + 4 * np.spacing(origin)
    assert (branch.folds - origin) / unit == pytest.approx(plain.folds, abs=rounding)
    assert branch.fold_means == pytest.approx(plain.fold_means, abs=1e-8 + 4 * rounding)
    assert branch.mean[-1] == pytest.approx(plain.mean[-1], abs=rounding)


def test_a_branch_that_bends_many_times_is_followed_through_every_bend() -> None:
    def family(p: float) -> pk.McKeanVlasov:
        return pk.McKeanVlasov(tilted(0.05), 4 + np.sin(60 * p), PULL)

    branch = pk.follow_branch(family, SMALL, -1.0, (0.0, 1.0))
    assert not branch.folds.size and branch.parameter[-1] == 1
    for p, m in zip(branch.parameter[::60], branch.mean[::60], strict=True):
        states = pk.self_consistent_states(family(p), SMALL)
        assert min(abs(state.mean - m) for state in states) < 1e-12


def test_a_fold_of_short_range_attraction_is_where_two_states_meet() -> None:
    """Just within the fold three states, just beyond it one; there the response is one."""
    W = ATTRACTIVE["Gaussian"]

    def family(h: float) -> pk.McKeanVlasov:
        return pk.McKeanVlasov(tilted(h), 6.0, W)

    branch = pk.follow_branch(family, SMALL, 1.0, (-0.3, 0.3))
    assert branch.folds.size == 2 and branch.folds.sum() == pytest.approx(0, abs=1e-8)
    edge = branch.folds.max()
    counts = [len(pk.self_consistent_states(family(edge + d), SMALL)) for d in (-5e-4, 5e-4)]
    assert counts == [3, 1]
    turn = np.abs(branch.parameter - edge).argmin()
    assert branch.response[turn] == pytest.approx(1, abs=0.05)


def test_the_broken_branch_of_oscillators_ends_at_the_critical_point() -> None:
    """Kuramoto over K: order r = I_1(K r) / I_0(K r), met at K = 2 by the incoherent state."""

    def family(K: float) -> pk.McKeanVlasov:
        return pk.McKeanVlasov(FLAT, 1.0, pk.PairPotential(Kuramoto(K)))

    (start,) = (s for s in pk.self_consistent_states(family(4.0), CIRCLE) if s.stable)
    branch = pk.follow_branch(family, CIRCLE, start, (1.5, 4.0), 4.0)
    assert branch.folds == pytest.approx([2.0], abs=1e-4)
    for K, energy in zip(branch.parameter[:40:8], branch.free_energy[:40:8], strict=True):
        r = brentq(lambda r, K=K: iv(1, K * r) / iv(0, K * r) - r, 0.05, 1)
        # F = K r²/2 - log(2π I_0(K r)): mean field -K r cos, whose own energy is counted half
        assert energy == pytest.approx(K * r**2 / 2 - np.log(2 * np.pi * iv(0, K * r)), abs=1e-9)


def test_tangents_are_differences_of_the_curve() -> None:
    """A step along the tangent leaves the curve by second order only, and its constant."""
    system = FieldSystem(lambda b: pk.McKeanVlasov(WELL, b, SPRING), SMALL, 2.0)
    curve = Curve(system, (2.0, 5.0))
    q = curve.landed(4.0, 0.8)
    tangent = curve.tangent(q, None)
    sizes = [np.linalg.norm(curve.residual(q + s * tangent)) for s in (2e-2, 1e-2, 5e-3)]
    assert np.log2(sizes[0] / sizes[1]) == pytest.approx(2, abs=0.15)
    assert np.log2(sizes[1] / sizes[2]) == pytest.approx(2, abs=0.15)


def test_phase_diagram_of_a_spring_is_that_of_curie_weiss() -> None:
    betas, strengths = [1.6, 4.0], [1.0]
    made = pk.phase_diagram(
        WELL, betas, strengths, SMALL, lambda s: pk.PairPotential(pk.potentials.Quadratic(s))
    )
    known = pk.phase_diagram(WELL, betas, strengths, SMALL)
    for name in ("mean", "free_energy", "others", "energies", "response"):
        np.testing.assert_allclose(made.data[name], known.data[name], atol=1e-8, err_msg=name)
    np.testing.assert_array_equal(made.data.stable, known.data.stable)
    np.testing.assert_allclose(made.critical, known.critical, rtol=1e-9)
    assert len(made.branches[1.0]) == len(known.branches[1.0]) == 2
    ends = [sorted(b.mean[k] for b in d.branches[1.0] for k in (0, -1)) for d in (made, known)]
    np.testing.assert_allclose(*ends, atol=1e-8)


def test_phase_diagram_in_the_plane_is_the_product_of_that_on_the_line() -> None:
    """Two independent coordinates: 1 and 9 states, sums of free energies, one critical beta."""
    well, box = pk.potentials.DoubleWell(2), pk.Grid((-3, -3), (3, 3), (20, 20))
    plane = pk.phase_diagram(well, [1.8, 3.0], [1.0], box)
    line = pk.phase_diagram(WELL, [1.8, 3.0], [1.0], pk.Grid(-3, 3, 20))
    assert plane.data.states.values.tolist() == [[1, 9]]
    np.testing.assert_allclose(plane.data.free_energy, 2 * line.data.free_energy, atol=1e-10)
    np.testing.assert_allclose(plane.critical, line.critical, rtol=1e-9)
    alone = line.data.others.sel(beta=3.0).values.ravel()
    pairs = {(round(a, 6) + 0.0, round(b, 6) + 0.0) for a in alone for b in alone}
    found = np.round(plane.data.others.sel(beta=3.0).values.reshape(-1, 2), 6) + 0.0
    assert set(map(tuple, found.tolist())) == pairs
    assert plane.data.stable.sel(beta=3.0).sum() == 4
    broken = [b for b in plane.branches[1.0] if b.folds.size]
    assert broken and all(abs(b.folds[0] - line.critical.item()) < 1e-2 for b in broken)


def test_a_branch_in_the_plane_starts_from_a_mean_or_a_state() -> None:
    well, box = pk.potentials.DoubleWell(2), pk.Grid((-3, -3), (3, 3), (20, 20))

    def family(beta: float) -> pk.McKeanVlasov:
        return pk.McKeanVlasov(well, beta, PULL)

    state = max(pk.self_consistent_states(family(3.0), box), key=lambda s: sum(s.mean))
    by_state = pk.follow_branch(family, box, state, (3.0, 3.5))
    by_mean = pk.follow_branch(family, box, tuple(np.round(state.mean, 2)), (3.0, 3.5))
    for name in ("parameter", "mean"):
        ends = [getattr(branch, name)[[0, -1]] for branch in (by_mean, by_state)]
        np.testing.assert_allclose(*ends, atol=1e-8)


def test_a_lost_start_is_an_error() -> None:
    state = pk.self_consistent_states(pk.McKeanVlasov(WELL, 4.0, SPRING), SMALL)[0]
    nowhere = replace(state, density=state.density * np.nan)
    with pytest.raises(pk.ConvergenceError, match="no state near mean"):
        pk.follow_branch(lambda b: pk.McKeanVlasov(WELL, b, SPRING), SMALL, nowhere, (1, 4), 4.0)


@pytest.mark.parametrize("s", [1e-6, 300.0, 1e6])
def test_critical_beta_is_the_same_at_any_scale(s):
    """V(x/s) under λ/s²: β has no unit of length."""
    V = pk.potentials.Custom(lambda x: ((x[..., 0] / s) ** 2 - 1) ** 2 / 4)
    assert pk.critical_beta(V, pk.CurieWeiss(s**-2)) == pytest.approx(2.18843961522648, rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("bump", [0.3925, 0.4])
def test_narrow_windows_of_instability_are_found(dim, bump):
    """Three wells, of which the middle one wins in the end; the plane is the line on both axes."""
    well = lambda x: 10 * x**2 * (x**2 - 1) ** 2 + bump * np.exp(-8 * x**2)  # noqa: E731
    line = np.linspace(-3, 3, 4001)

    def excess(beta):
        w = np.exp(-beta * (well(line) + line**2))
        return 2 * beta * (w * line**2).sum() / w.sum() - 1

    betas = np.geomspace(1.0, 5.0, 4000)
    first = int(np.argmax(np.array([excess(b) for b in betas]) > 0))
    exact = brentq(excess, betas[first - 1], betas[first], rtol=1e-13)
    with pytest.warns(pk.AccuracyWarning) if dim == 1 else nullcontext():
        found = pk.critical_beta(lambda x: well(x).sum(-1), pk.CurieWeiss(2.0), dim=dim)
    assert found == pytest.approx(exact, rel=1e-9)
