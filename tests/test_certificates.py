"""Certificates: what solvers return passes, a planted fault fails, a failed hypothesis is told."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit import certificates as c
from pdekit.claims import all_hold, certified
from pdekit.comparison.certificates import contraction
from pdekit.comparison.certificates.certificate import at_least, at_most, does_not_apply
from pdekit.comparison.certificates.contraction import _both
from pdekit.comparison.certificates.rates import convexity
from pdekit.comparison.transport import w2_histograms

WELL, BOWL = pk.potentials.DoubleWell(), pk.potentials.Quadratic(2.0)
GRID, TIMES = pk.Grid(-2.5, 2.5, 100), np.linspace(0, 1, 11)
PLANE = pk.Grid((-4.5, -4.5), (4.5, 4.5), (36, 36))
START = pk.Gaussian(-0.5, 0.3)


def changed(solution: Any, **values: Any) -> Any:
    """The solution with other fields; what the solver noted of itself is forgotten."""
    return replace(solution, stats={}, **values)


def solved(equation: Any, initial: Any, times: Any = TIMES, grid: pk.Grid = GRID) -> Any:
    return pk.solve(equation, grid, initial, times)


@pytest.fixture(scope="module")
def density() -> Any:
    return solved(pk.FokkerPlanck(BOWL, 4), START)


@pytest.fixture(scope="module")
def entropy() -> Any:
    """Local entropy of ripples."""
    return solved(pk.ViscousHJ(20), RIPPLES, np.linspace(0, 0.2, 5), pk.Grid(-3.6, 3.6, 400))


RIPPLES = pk.potentials.Rippled()


def _to_the_right(x: Any) -> Any:
    return (x[..., 0] - 1) ** 2


def _swirl(x: Any) -> Any:
    return 0.7 * np.stack([-x[..., 1], x[..., 0]], -1)


def _scaled(fields: Any, factors: Any) -> Any:
    return fields * np.reshape(factors, (-1,) + (1,) * (fields.ndim - 1))


# --- what solvers return ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equation", "initial"),
    [
        (pk.FokkerPlanck(BOWL, 4), START),
        (pk.FokkerPlanck(WELL, 4), START),
        (pk.McKeanVlasov(WELL, 4, pk.CurieWeiss(1.0)), START),
        (pk.Heat(4), WELL),
        (pk.BackwardKolmogorov(WELL, 4), WELL),
        (pk.ViscousHJ(4), WELL),
        (pk.HamiltonJacobi(), WELL),
        (pk.HamiltonJacobiBellman(WELL, 4), WELL),
    ],
    ids=lambda v: type(v).__name__,
)
def test_solutions_pass_their_default_certificates(equation: Any, initial: Any) -> None:
    found = pk.certify(solved(equation, initial, np.linspace(0, 1, 21)))
    assert found.passed, f"\n{found}"
    assert len(found.applicable) >= 1 and not found.failures


def test_a_convex_potential_has_every_certificate(density: Any) -> None:
    assert all(row.applies for row in pk.certify(density))


def test_in_the_plane() -> None:
    bowl = pk.potentials.Quadratic(((2.0, 0.3), (0.3, 1.0)))
    start = pk.Gaussian((-0.5, 0.4), 0.5)
    rho = solved(pk.FokkerPlanck(bowl, 4), start, np.linspace(0, 1, 21), PLANE)
    found = pk.certify(rho)
    assert found.passed, f"\n{found}"
    assert found.named("entropy falls (Bakry-Emery)").applies
    assert found.named("W2 contracts").applies


@given(
    tilt=st.floats(-0.5, 0.5),
    bend=st.floats(0.3, 1.5),
    ripple=st.floats(-0.5, 0.5),
    beta=st.floats(1.0, 6.0),
    mean=st.floats(-1.0, 1.0),
)
@settings(settings.get_profile("often"), phases=(Phase.generate,))
@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")  # a box of its own right
def test_random_potentials_pass(
    tilt: float, bend: float, ripple: float, beta: float, mean: float
) -> None:
    """Convex or not: whatever applies passes, of densities, expectations and local entropies."""

    def landscape(x: Any) -> Any:
        y = x[..., 0]
        return bend * y**4 / 4 + tilt * y + ripple * np.cos(2 * y)

    grid, times = pk.Grid(-3, 3, 60), np.linspace(0, 0.5, 7)
    for equation, initial in (
        (pk.FokkerPlanck(landscape, beta), pk.Gaussian(mean, 0.3)),
        (pk.BackwardKolmogorov(landscape, beta), np.cos),
        (pk.ViscousHJ(beta), landscape),
    ):
        start = (lambda x: np.cos(3 * x[..., 0])) if initial is np.cos else initial
        found = pk.certify(solved(equation, start, times, grid))
        assert found.passed, f"\n{found}"


# --- planted faults ----------------------------------------------------------------------------


def test_a_leak_of_mass_is_seen(density: Any) -> None:
    leaking = changed(density, fields=_scaled(density.fields, np.exp(-1e-6 * TIMES)))
    row = pk.certify(leaking, c.Mass())[0]
    assert row.passed is False and row.where == "t = 1"
    assert row.value == pytest.approx(1e-6, rel=1e-3)


def test_mass_lost_before_the_first_stored_time_is_seen(density: Any) -> None:
    noted = replace(density, stats={"mass_drift": 1e-3})
    assert pk.certify(noted, c.Mass())[0].passed is False


def test_a_negative_cell_is_seen(density: Any) -> None:
    fields = density.fields.copy()
    fields[3, 17] = -1e-18
    row = pk.certify(changed(density, fields=fields), c.Positivity())[0]
    assert row.passed is False
    assert row.where == f"t = 0.3, x = {GRID.axes[0][17]:.4g}"


DECAYS = [c.FreeEnergyDecay(), c.SpectralGapDecay(), c.BakryEmery(), c.WassersteinContraction()]


@pytest.mark.parametrize("check", DECAYS, ids=lambda v: type(v).__name__)
def test_a_step_backwards_in_time_is_seen(check: Any, density: Any) -> None:
    order = [0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10]
    row = check(changed(density, fields=density.fields[order]))
    assert row.passed is False and row.where.startswith("t = 0.3"), str(row)


@pytest.mark.parametrize("check", DECAYS[1:], ids=lambda v: type(v).__name__)
def test_a_rate_that_is_3_percent_slow_is_seen(check: Any, density: Any) -> None:
    """The same fields at times 3 % later."""
    slow = changed(density, times=1.03 * density.times)
    assert check(density).passed
    assert check(slow).passed is False, str(check(slow))


def test_the_wrong_temperature_breaks_the_dissipation_identity() -> None:
    times = np.linspace(0, 1, 41)
    right = solved(pk.FokkerPlanck(WELL, 4), START, times)
    wrong = changed(solved(pk.FokkerPlanck(WELL, 5), START, times), equation=right.equation)
    assert c.DissipationIdentity()(right).passed
    assert c.DissipationIdentity()(wrong).passed is False


def test_a_wrong_interaction_breaks_the_dissipation_identity() -> None:
    times = np.linspace(0, 1, 41)
    right, weak = (pk.McKeanVlasov(WELL, 4, pk.CurieWeiss(s)) for s in (1.0, 0.8))
    wrong = changed(solved(weak, pk.Gaussian(-0.5, 0.4), times), equation=right)
    assert c.DissipationIdentity()(solved(right, pk.Gaussian(-0.5, 0.4), times)).passed
    assert c.DissipationIdentity()(wrong).passed is False


def test_two_densities_contract_and_a_foreign_one_does_not() -> None:
    equation = pk.McKeanVlasov(BOWL, 4, pk.CurieWeiss(0.5))
    a, b = (solved(equation, pk.Gaussian(m, 0.3)) for m in (-0.5, 0.6))
    assert c.WassersteinContraction(b)(a).passed
    stuck = changed(b, fields=np.broadcast_to(b.fields[0], b.fields.shape))
    assert c.WassersteinContraction(stuck)(a).passed is False


def test_two_densities_in_a_convex_plane_contract_and_slow_or_stuck_ones_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two initial laws; V = x²/2 + 0.6 y² + 0.3 xy, λ = 0.784. Shifts shrink at the rate itself."""
    bowl = pk.potentials.Quadratic(((1.0, 0.3), (0.3, 1.2)))
    equation, times = pk.FokkerPlanck(bowl, 4), np.linspace(0, 1, 6)
    least = np.linalg.eigvalsh([[1.0, 0.3], [0.3, 1.2]])[0]
    along = np.linalg.eigh([[1.0, 0.3], [0.3, 1.2]])[1][:, 0]
    grid = pk.Grid((-4, -4), (4, 4), (48, 48))
    a, b = (solved(equation, pk.Gaussian(tuple(r * along), 0.5), times, grid) for r in (-0.9, 1.1))
    row = c.WassersteinContraction(b)(a)
    assert row.passed and row.bound == pytest.approx(least, abs=1e-6)
    # two Gaussians of one width: W2 is the distance of their means, 2 exp(-λ t)
    fine, joined = _both(a.fields[2], b.fields[2], grid)
    centres = np.moveaxis(grid.centres, -1, 0)
    means = [grid.integrate(s.fields[2] * centres) for s in (a, b)]
    assert fine == pytest.approx(np.linalg.norm(means[1] - means[0]), rel=1e-6)
    assert fine == pytest.approx(2 * np.exp(-0.4 * least), rel=1e-2)
    assert joined == pytest.approx(fine, rel=1e-3)
    assert row.allowance < 0.06 * least  # what the cells do to the slowest rate
    slow = (replace(s, times=1.1 * times, stats={}) for s in (a, b))
    first, second = slow
    assert c.WassersteinContraction(second)(first).passed is False
    stuck = changed(b, fields=np.broadcast_to(b.fields[0], b.fields.shape))
    assert c.WassersteinContraction(stuck)(a).passed is False
    still = c.WassersteinContraction()(a)
    assert still.passed and still.applies
    monkeypatch.setattr(contraction, "find_spec", lambda name: None)
    assert "needs POT" in c.WassersteinContraction()(a).note


def test_a_circulating_current_breaks_detailed_balance() -> None:
    bowl = pk.potentials.Quadratic((1.0, 1.0))
    start = pk.Gaussian((0.0, 0.3), 0.5)
    turning = solved(pk.FokkerPlanck(bowl, 2, force=_swirl), start, TIMES, PLANE)
    still = solved(pk.FokkerPlanck(bowl, 2), start, [0.0, 0.5], PLANE)
    assert c.DetailedBalance()(still).passed and not c.BrokenBalance()(still).passed
    row = c.DetailedBalance()(turning)
    assert row.passed is False and "entropy production" in row.note
    assert c.BrokenBalance()(turning).passed
    found = pk.certify(turning)
    assert found.passed and found.named("entropy balance").applies
    assert c.SpectralGapDecay()(turning).passed is None


def test_a_density_of_another_temperature_breaks_the_entropy_balance() -> None:
    bowl, start = pk.potentials.Quadratic((1.0, 1.0)), pk.Gaussian((0.0, 0.3), 0.5)
    equation = pk.FokkerPlanck(bowl, 2, force=_swirl)
    assert c.SecondLaw()(solved(equation, start, TIMES, PLANE)).passed
    cold = solved(pk.FokkerPlanck(bowl, 3, force=_swirl), start, TIMES, PLANE)
    assert c.SecondLaw()(changed(cold, equation=equation)).passed is False


def test_the_gibbs_state_is_stationary_and_another_is_not() -> None:
    equation = pk.FokkerPlanck(WELL, 4)
    still = pk.stationary(equation, GRID).values
    assert c.Stationary()(solved(equation, still, 0.0)).passed
    warm = pk.stationary(pk.FokkerPlanck(WELL, 3.99), GRID).values
    assert c.Stationary()(solved(equation, warm, 0.0)).passed is False


def test_duality_needs_the_transpose() -> None:
    rho = solved(pk.FokkerPlanck(WELL, 4), START)
    u = solved(pk.BackwardKolmogorov(WELL, 4), _to_the_right)
    assert c.Duality(u)(rho).passed
    # upwind of the wrong side, as good as any to second order, is not the transpose
    other = solved(pk.BackwardKolmogorov(lambda x: 1.001 * WELL(x), 4), _to_the_right)
    assert c.Duality(other)(rho).passed is False
    averaged = changed(u, fields=u.fields + 1e-6 * np.sin(7 * TIMES)[:, None])
    assert c.Duality(averaged)(rho).passed is False


@pytest.mark.parametrize("beta", [4.0, None], ids=["viscous", "non-viscous"])
def test_the_maximum_principle_sees_an_overshoot(beta: float | None) -> None:
    equation = pk.HamiltonJacobi() if beta is None else pk.BackwardKolmogorov(WELL, beta)
    u = solved(equation, lambda x: np.cos(2 * x[..., 0]))
    assert c.MaximumPrinciple()(u).passed
    fields = u.fields.copy()
    fields[4, 50] = 1.01
    row = c.MaximumPrinciple()(changed(u, fields=fields))
    assert row.passed is False and row.where.startswith("t = 0.4")


def test_comparison_and_distance_of_two_solutions() -> None:
    equation = pk.ViscousHJ(4)
    low, high = (solved(equation, lambda x, r=r: WELL(x) + r * np.cos(x[..., 0]) ** 2) for r in
                 (0.0, 0.3))  # fmt: skip
    assert c.ComparisonPrinciple(high)(low).passed and c.NonExpansive(high)(low).passed
    assert c.ComparisonPrinciple(low)(high).passed is None
    drifting = changed(high, fields=high.fields - 0.5 * TIMES[:, None])
    assert c.ComparisonPrinciple(drifting)(low).passed is False
    spreading = changed(high, fields=high.fields + 0.5 * TIMES[:, None])
    assert c.NonExpansive(spreading)(low).passed is False


def test_jensen_sees_a_lost_viscosity_term(entropy: Any) -> None:
    assert c.JensenBounds()(entropy).passed
    lifted = changed(entropy, fields=entropy.fields + 0.3 * entropy.times[:, None])
    assert c.JensenBounds()(lifted).passed is False


def test_semiconcavity_sees_half_the_time(entropy: Any) -> None:
    assert c.Semiconcave(constants=9.2)(entropy).passed
    late = changed(entropy, times=2 * entropy.times)
    row = c.Semiconcave(constants=9.2)(late)
    assert row.passed is False and "direction" in row.where


def test_heat_that_sharpens_is_seen() -> None:
    v = solved(pk.Heat(20), RIPPLES, np.linspace(0, 0.5, 6), pk.Grid(-3.6, 3.6, 200))
    assert pk.certify(v).passed
    assert c.HeatCurvature()(changed(v, fields=v.fields[::-1])).passed is False


def test_a_value_above_the_idle_cost_is_seen() -> None:
    u = solved(pk.HamiltonJacobiBellman(WELL, 4), _to_the_right)
    assert c.ImprovesOnIdle()(u).passed
    v = solved(pk.BackwardKolmogorov(WELL, 4), _to_the_right)
    assert c.ImprovesOnIdle()(changed(u, fields=v.fields + 1e-3 * TIMES[:, None])).passed is False


# --- the values themselves -----------------------------------------------------------------------


def test_hypotheses_that_fail_are_reported_and_never_pass() -> None:
    rho = solved(pk.FokkerPlanck(WELL, 4), START)
    for check in (c.BakryEmery(), c.WassersteinContraction()):
        row = check(rho)
        assert row.passed is None and "-0.99" in row.note and "not convex" in row.note
        assert "does not apply" in str(row)
    found = pk.certify(rho, c.BakryEmery())
    assert not found.passed and not all_hold(certified(found))
    open_wall = pk.FokkerPlanck(WELL, 4, walls=pk.Walls(upper=True))
    assert c.Mass()(solved(open_wall, START, [0.1, 1.0])).passed is None


def test_certificates_become_claims(density: Any) -> None:
    found = pk.certify(density)
    claims = certified(found)
    assert [claim.text for claim in claims] == [row.name for row in found]
    assert all_hold(claims)
    assert [row.as_dict()["bound"] for row in found if row.name == "mass"] == [1e-10]
    fields = density.fields.copy()
    fields[0, 0] = -1.0
    assert not all_hold(certified(pk.certify(changed(density, fields=fields), c.Positivity())))


@given(value=st.floats(-1e3, 1e3), bound=st.floats(-1e3, 1e3), allowance=st.floats(0, 10))
@settings(max_examples=200)
def test_margin_and_verdict_agree(value: float, bound: float, allowance: float) -> None:
    for row in (at_most("a", value, bound, allowance), at_least("a", value, bound, allowance)):
        assert row.margin == (bound - value if row.relation == "<=" else value - bound)
        if abs(row.margin + allowance) > 1e-9:
            assert row.passed == (row.margin + allowance > 0)


def test_nan_never_passes_and_the_table_reads(density: Any) -> None:
    assert at_most("a", np.nan, 1.0).passed is False
    assert at_least("a", np.nan, 1.0).passed is False
    fields = density.fields.copy()
    fields[2, 3] = np.nan
    broken = changed(density, fields=fields)
    assert c.Mass()(broken).passed is False and c.Positivity()(broken).passed is False
    table = c.Certificates(
        (at_most("a", 2, 1, where="t = 3"), does_not_apply("b", "why"))
    ).__str__()
    assert "FAILED at t = 3" in table and "does not apply: why" in table


def test_wasserstein_of_shifts_and_of_uniform_boxes() -> None:
    h, bump = 0.01, np.exp(-(np.linspace(-6, 6, 300) ** 2))
    padded = np.concatenate([bump, np.zeros(57)]), np.concatenate([np.zeros(57), bump])
    faces = h * np.arange(358)
    assert w2_histograms(*padded, faces) == pytest.approx(0.57, rel=1e-12)
    wide, narrow = np.ones(100), np.concatenate([np.ones(50), np.zeros(50)])
    # quantiles s and s / 2: ∫ (s/2)² ds = 1/12
    assert w2_histograms(wide, narrow, faces[:101]) == pytest.approx(np.sqrt(1 / 12), rel=1e-12)


@given(a=st.floats(-2, 3), b=st.floats(-2, 3), mixed=st.floats(-2, 2))
@settings(max_examples=200)
def test_convexity_of_a_quartic_plane(a: float, b: float, mixed: float) -> None:
    def potential(x: Any) -> Any:
        return (a * x[..., 0] ** 2 + b * x[..., 1] ** 2) / 2 + mixed * x[..., 0] * x[..., 1]

    least, _ = convexity(potential, pk.Grid((-1, -1), (1, 1.5), (8, 9)))
    exact = np.linalg.eigvalsh([[a, mixed], [mixed, b]])[0]
    assert least == pytest.approx(exact, abs=1e-6)


def test_other_things_are_named(density: Any) -> None:
    with pytest.raises(TypeError, match="Solution, a Control or an Ensemble"):
        pk.certify(3)
    with pytest.raises(TypeError, match=r"certificates.Mass\(\)"):
        pk.certify(density, c.Mass)
    with pytest.raises(KeyError, match="no certificate 'mas'"):
        pk.certify(density, c.Mass()).named("mas")
