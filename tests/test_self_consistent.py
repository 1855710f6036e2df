"""Stationary states of McKean-Vlasov equations: all found, right, and rightly called stable."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, fsolve
from scipy.special import iv

import pdekit as pk
from pdekit import schemes
from pdekit.interactions import GaussianWell, Kuramoto
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.phases.self_consistent import MeanMap

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
QUARTIC = pk.potentials.Custom(lambda x: x[..., 0] ** 4 / 4 - x[..., 0] ** 2 / 2)
LINE, SMALL = pk.Grid(-4, 4, 1000), pk.Grid(-3, 3, 120)
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0])


def tilted(h: float) -> Any:
    return pk.potentials.Custom(lambda x: x[..., 0] ** 4 / 4 - x[..., 0] ** 2 / 2 + h * x[..., 0])


def curie_weiss(V: Any, beta: float, strength: float) -> pk.McKeanVlasov:
    return pk.McKeanVlasov(V, beta, pk.CurieWeiss(strength))


@pytest.mark.parametrize("name", [n for n in VALUES if n.startswith("cw.m.")])
def test_states_of_the_reference(name: str) -> None:
    """Means, free energies, variances and R' to 1e-6 (here 1e-10) on 1,000 cells."""
    beta, strength = (float(part[1:]) for part in name.split(".", 2)[2].split("."))
    true = {k: float(v) for k, v in VALUES[name]["value"].items()}
    lower, middle, upper = pk.self_consistent_states(curie_weiss(QUARTIC, beta, strength), LINE)
    assert [lower.stable, middle.stable, upper.stable] == [True, False, True]
    assert upper.mean == pytest.approx(true["m"], abs=1e-10)
    assert lower.mean == pytest.approx(-true["m"], abs=1e-10)
    assert middle.mean == pytest.approx(0, abs=1e-10)
    assert upper.free_energy == pytest.approx(true["F_broken"], abs=1e-10)
    assert middle.free_energy == pytest.approx(true["F_sym"], abs=1e-10)
    assert upper.response == pytest.approx(true["Rprime_m"], abs=1e-9)
    assert middle.response == pytest.approx(true["Rprime0"], abs=1e-9)
    assert max(s.residual for s in (lower, middle, upper)) < 1e-13


def test_the_only_state_of_a_tilted_well() -> None:
    (state,) = pk.self_consistent_states(curie_weiss(tilted(0.3), 1.0, 0.5), LINE)
    assert state.mean == pytest.approx(float(VALUES["cw.tilted.b1.l0.5"]["value"]), abs=1e-8)
    assert state.stable


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_critical_points_of_the_reference_and_of_an_adaptive_quadrature(strength: float) -> None:
    """Eight digits. The condition printed in the paper has another root (erratum 15)."""

    def excess(beta: float, confined: float) -> float:
        def weight(x: float) -> float:
            return np.exp(-beta * (x**4 / 4 - x**2 / 2 + confined * strength * x**2 / 2))

        Z = quad(weight, 0, 12, limit=200, epsabs=1e-14)[0]
        second = quad(lambda x: x**2 * weight(x), 0, 12, limit=200, epsabs=1e-14)[0]
        return beta * strength * second / Z - 1

    found = pk.critical_beta(WELL, pk.CurieWeiss(strength))
    assert found == pytest.approx(brentq(excess, 0.5, 6, args=(1,), xtol=1e-12), rel=1e-8)
    known = VALUES.get(f"cw.beta_c.lambda{strength:g}")
    if known:
        assert found == pytest.approx(float(known["value"]["beta_c"]), rel=1e-8)
        printed = brentq(excess, 0.2, 6, args=(0,), xtol=1e-12)
        assert printed == pytest.approx(float(known["value"]["printed_condition_root"]), rel=1e-8)
        assert abs(printed - found) > 1


def test_critical_strength_of_the_reference() -> None:
    true = float(VALUES["cw.lambda_c.beta2"]["value"]["lambda_c"])
    assert pk.critical_beta(WELL, pk.CurieWeiss(true)) == pytest.approx(2.0, rel=1e-8)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_critical_point_from_the_equation_alone(strength: float) -> None:
    """1e-4: the growth rate of a small magnetisation under ``solve`` changes sign there."""
    x, exact = SMALL.axes[0], pk.critical_beta(WELL, pk.CurieWeiss(strength))

    def growth(beta: float) -> float:
        equation = curie_weiss(WELL, beta, strength)
        start = np.exp(-beta * (WELL(SMALL.centres) + strength * x**2 / 2)) * (1 + 1e-4 * x)
        start /= SMALL.integrate(start)
        times = [4.0, 6.0]
        fields = pk.solve(equation, SMALL, start, times, schemes.MeanField(1e-8)).fields
        mean = SMALL.integrate(x * fields)
        return float(np.log(mean[1] / mean[0])) / 2

    a, b = 0.98 * exact, 1.02 * exact
    assert growth(a) < 0 < growth(b)
    assert brentq(growth, a, b, xtol=2e-5) == pytest.approx(exact, abs=1e-4)


def brute_force(V: Any, beta: float, strength: float) -> list[float]:
    """Zeros of R(m) - m by sign changes on a very fine mesh and 160-point quadrature."""
    x = np.linspace(-4, 4, 161)
    m = np.linspace(-1.6, 1.6, 6_001)
    values = V(x[:, None])
    power = -beta * (values - values.min() + strength * (x - m[:, None]) ** 2 / 2)
    w = np.exp(power - power.max(1, keepdims=True))
    gap = (w @ x) / w.sum(1) - m
    k = np.flatnonzero((gap[:-1] > 0) != (gap[1:] > 0))
    return [float(v) for v in m[k] - gap[k] * (m[k + 1] - m[k]) / (gap[k + 1] - gap[k])]


@settings.get_profile("often")
@given(h=st.floats(-0.12, 0.12), beta=st.floats(1.0, 9.0), strength=st.floats(0.3, 2.5))
def test_no_state_is_missed(h: float, beta: float, strength: float) -> None:
    """Random tilted wells; every stable state and every unstable one, alternately."""
    V = tilted(h)
    states = pk.self_consistent_states(curie_weiss(V, beta, strength), pk.Grid(-4, 4, 300))
    true = brute_force(V, beta, strength)
    if min(abs(s.response - 1) for s in states) > 1e-4:  # else the mesh above is too coarse
        assert len(states) == len(true)
        np.testing.assert_allclose([s.mean for s in states], true, atol=2e-5)
        assert [s.stable for s in states] == [k % 2 == 0 for k in range(len(states))]


def test_states_just_born_at_a_fold_are_found() -> None:
    """A tilt just within the fold has two states 1e-4 apart, just beyond it none of them."""
    grid = pk.Grid(-3, 3, 300)
    fold = pk.follow_branch(lambda h: curie_weiss(tilted(h), 4.0, 1.0), grid, 1.1, (-0.3, 0.3))
    edge = fold.folds.max()
    within = pk.self_consistent_states(curie_weiss(tilted(edge - 1e-9), 4.0, 1.0), grid)
    beyond = pk.self_consistent_states(curie_weiss(tilted(edge + 1e-9), 4.0, 1.0), grid)
    assert (len(within), len(beyond)) == (3, 1)
    assert within[2].mean - within[1].mean < 3e-4


def test_stability_is_what_the_equation_does() -> None:
    """Moved a little, a state comes back if called stable, and departs if not."""
    equation = curie_weiss(WELL, 4.0, 1.0)
    for state in pk.self_consistent_states(equation, SMALL):
        rho = state.density.values * (1 + 1e-3 * SMALL.axes[0])
        rho /= SMALL.integrate(rho)
        means = SMALL.integrate(SMALL.axes[0] * pk.solve(equation, SMALL, rho, [2.0, 8.0]).fields)
        away = np.abs(means - state.mean)
        assert (away[1] < away[0]) == state.stable


def test_general_kernel_that_is_curie_weiss_has_its_states() -> None:
    """Newton with deflation against bracketing, quadratic W by FFT against the mean."""
    bracketed = pk.self_consistent_states(curie_weiss(WELL, 4.0, 1.0), SMALL)
    pair = pk.PairPotential(pk.potentials.Quadratic(1.0))
    found = pk.self_consistent_states(pk.McKeanVlasov(WELL, 4.0, pair), SMALL)
    assert len(found) == len(bracketed) == 3
    for one, other in zip(found, bracketed, strict=True):
        assert one.mean == pytest.approx(other.mean, abs=1e-10)
        assert one.free_energy == pytest.approx(other.free_energy, abs=1e-12)
        assert one.response == pytest.approx(other.response, abs=1e-8)
        assert one.stable == other.stable


def test_nine_states_in_the_plane() -> None:
    """Two independent coordinates: every pair of states of the line; sums of free energies."""
    grid = pk.Grid((-3, -3), (3, 3), (48, 48))
    line = pk.self_consistent_states(curie_weiss(WELL, 4.0, 1.0), pk.Grid(-3, 3, 48))
    found = pk.self_consistent_states(curie_weiss(pk.potentials.DoubleWell(2), 4.0, 1.0), grid)
    assert len(found) == 9
    for a in line:
        for b in line:
            near = min(found, key=lambda s: np.hypot(s.mean[0] - a.mean, s.mean[1] - b.mean))
            np.testing.assert_allclose(near.mean, (a.mean, b.mean), atol=1e-8)
            assert near.free_energy == pytest.approx(a.free_energy + b.free_energy, abs=1e-10)
            assert near.stable == (a.stable and b.stable)
            assert near.response == pytest.approx(max(a.response, b.response), abs=1e-8)


@pytest.mark.parametrize("strength", [1.5, 3.0])
def test_synchronisation_of_oscillators(strength: float) -> None:
    """Order parameter r = I_1(K r) / I_0(K r) at beta = 1: incoherent below K = 2."""
    grid = pk.Grid(0, 2 * np.pi, 100, periodic=True)
    equation = pk.McKeanVlasov(FLAT, 1.0, pk.PairPotential(Kuramoto(strength)))
    states = sorted(pk.self_consistent_states(equation, grid), key=lambda s: -s.free_energy)
    order = [float(np.abs(grid.integrate(np.exp(1j * grid.axes[0]) * s.density))) for s in states]
    assert order[0] == pytest.approx(0, abs=1e-9)
    assert states[0].response == pytest.approx(strength / 2, abs=1e-9)
    assert states[0].stable == (strength < 2)
    assert len(states) == (1 if strength < 2 else 2)
    if strength > 2:
        r = fsolve(lambda r: iv(1, strength * r) / iv(0, strength * r) - r, 0.9, xtol=1e-12)[0]
        assert order[1] == pytest.approx(r, abs=1e-9)
        assert states[1].stable


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("strengths", [(1.0, 1.0, 1.0), (1.0, 0.9, 0.8), (0.2, 1.0, 0.6)])
def test_waves_of_two_and_three_crests_are_found(
    strengths: tuple[float, ...], scale: float
) -> None:
    """W = -Σ a_k cos k z, k = 1, 2, 3, V = 0: k > 1 crests have r = I_1(β a_k r) / I_0(β a_k r).

    Those of equal a_k have equal energies, and are not equal up to a shift.
    """
    beta, grid = 6.0, pk.Grid(0, 2 * np.pi, 120, periodic=True)

    def W(z: Any) -> Any:
        return -scale * sum(a * np.cos((k + 1) * z[..., 0]) for k, a in enumerate(strengths))

    equation = pk.McKeanVlasov(FLAT, beta / scale, pk.PairPotential(W))
    densities = [state.density.values for state in pk.self_consistent_states(equation, grid)]
    waves = np.exp(1j * np.arange(1, 7)[:, None] * grid.axes[0])
    found = [np.abs(grid.integrate(waves * rho)) for rho in densities]
    expected = np.zeros((3, 6))  # the uniform one first
    for k, a in ((2, strengths[1]), (3, strengths[2])):
        r = brentq(lambda r, a=a: iv(1, beta * a * r) / iv(0, beta * a * r) - r, 1e-2, 1)
        expected[k - 1, k - 1 :: k] = iv(range(1, 6 // k + 1), beta * a * r) / iv(0, beta * a * r)
    for orders in expected:
        assert min(np.abs(orders - other).max() for other in found) < 1e-6
    apart = [np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    assert min(apart) > 1e-4  # and none twice


def test_response_is_the_growth_of_the_linearised_operator() -> None:
    """Its leading eigenvalue, from the discrete equation differentiated, has the same sign."""
    for beta, interaction in ((2.0, pk.PairPotential(GaussianWell(1.2, 0.8))),
                              (4.0, pk.PairPotential(GaussianWell(1.2, 0.8)))):  # fmt: skip
        equation = pk.McKeanVlasov(WELL, beta, interaction)
        for state in pk.self_consistent_states(equation, SMALL):
            rho, h = state.density.values, SMALL.spacing[0]
            x = SMALL.axes[0]
            W = interaction((x[:, None] - x)[..., None]) * h

            def rate(r: np.ndarray, W: Any = W, beta: float = beta) -> np.ndarray:
                U = WELL(SMALL.centres) + W @ r
                return scharfetter_gummel(U, beta, SMALL).forward(r)

            eps = 1e-6
            jacobian = np.stack([(rate(rho + eps * e) - rate(rho - eps * e)) / (2 * eps)
                                 for e in np.eye(x.size)], -1)  # fmt: skip
            leading = np.sort(np.linalg.eigvals(jacobian).real)[::-1]
            grows = leading[0] > 1e-4  # one zero is the mass
            assert grows == (not state.stable)


def test_branches_pass_their_folds() -> None:
    """A hysteresis loop over the tilt: two folds, opposite for an even well, where R' = 1."""
    grid = pk.Grid(-3, 3, 300)
    branch = pk.follow_branch(lambda h: curie_weiss(tilted(h), 4.0, 1.0), grid, 1.1, (-0.3, 0.3))
    assert branch.folds.size == 2
    assert branch.folds[0] == pytest.approx(-branch.folds[1], abs=1e-9)
    for h, m in zip(branch.folds, branch.fold_means, strict=True):
        R, slope = MeanMap.of(curie_weiss(tilted(h), 4.0, 1.0), grid)(np.array([m]))
        assert R[0] == pytest.approx(m, abs=1e-11)
        assert slope[0] == pytest.approx(1, abs=1e-8)
    assert branch.parameter[0] == -0.3 and branch.parameter[-1] == pytest.approx(0.3)
    k = len(branch.mean) // 3
    states = pk.self_consistent_states(curie_weiss(tilted(branch.parameter[k]), 4.0, 1.0), grid)
    near = min(states, key=lambda state: abs(state.mean - branch.mean[k]))
    assert near.mean == pytest.approx(branch.mean[k], abs=1e-9)
    assert near.free_energy == pytest.approx(branch.free_energy[k], abs=1e-11)
    assert near.response == pytest.approx(branch.response[k], abs=1e-8)
    maps = [MeanMap.of(curie_weiss(tilted(h), 4.0, 1.0), grid) for h in branch.parameter]
    gaps = [abs(one.gap(m)) for one, m in zip(maps, branch.mean, strict=True)]
    assert max(gaps) < 1e-11


def test_phase_diagram_of_the_double_well() -> None:
    betas, strengths = np.linspace(1.0, 5.0, 5), [0.5, 1.0]
    diagram = pk.phase_diagram(WELL, betas, strengths)
    exact = [pk.critical_beta(WELL, pk.CurieWeiss(s)) for s in strengths]
    np.testing.assert_allclose(diagram.critical, exact, rtol=1e-10)
    ordered = betas[None, :] > np.array(exact)[:, None]
    np.testing.assert_array_equal(diagram.data.states, np.where(ordered, 3, 1))
    assert ((diagram.data["mean"].values > 1e-3) == ordered).all()
    for strength, critical in zip(strengths, exact, strict=True):
        broken = [b for b in diagram.branches[strength] if b.folds.size]
        assert len(broken) == 1 and len(diagram.branches[strength]) == 2
        assert broken[0].folds[0] == pytest.approx(critical, abs=1e-3)
        np.testing.assert_allclose(sorted(broken[0].mean[[0, -1]]),
                                   diagram.data.others.sel(strength=strength, beta=5.0)[[0, 2]],
                                   atol=1e-9)  # fmt: skip


MISTAKES = {
    "tilted": (lambda: pk.critical_beta(tilted(0.1), pk.CurieWeiss(1.0)), ValueError, "folds"),
    "repulsive": (
        lambda: pk.critical_beta(WELL, pk.CurieWeiss(-1.0)), ValueError, "no transition"),
    "no transition": (
        lambda: pk.critical_beta(pk.potentials.Quadratic(), pk.CurieWeiss(1.0)),
        pk.ConvergenceError, "does not rise"),
    "kernel": (
        lambda: pk.critical_beta(WELL, pk.PairPotential(Kuramoto())), ValueError, "needs a grid"),
    "box": (
        lambda: pk.phase_diagram(WELL, [1], [1], interaction=lambda s: None), ValueError,
        "needs a grid"),
    "off centre": (
        lambda: pk.critical_beta(WELL, pk.CurieWeiss(1.0), grid=pk.Grid(-2, 3, 50)), ValueError,
        "no symmetric state"),
    "repulsive on a grid": (
        lambda: pk.critical_beta(WELL, pk.PairPotential(GaussianWell(-1.0)), grid=SMALL),
        pk.ConvergenceError, "stable up to"),
    "equation": (
        lambda: pk.self_consistent_states(pk.FokkerPlanck(WELL, 4.0), SMALL), TypeError,
        "McKeanVlasov"),
    "betas": (lambda: pk.phase_diagram(WELL, [2, 1], [1]), ValueError, "increasing"),
    "space": (
        lambda: pk.phase_diagram(pk.potentials.DoubleWell(3), [1, 2], [1]), ValueError, "line or"),
    "bounds": (
        lambda: pk.follow_branch(lambda b: curie_weiss(WELL, b, 1.0), SMALL, 0.0, (2, 1)),
        ValueError, "increasing bounds"),
}  # fmt: skip


@pytest.mark.parametrize("make, kind, message", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()
