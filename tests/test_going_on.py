"""Solutions and ensembles that go on from stored ones, at their own times."""

import numpy as np
import pytest

import pdekit as pk

V = pk.potentials.DoubleWell()
LINE, START = pk.Grid(-3, 3, 40), pk.Gaussian(-1.0, 0.2)
MOVING = pk.InTime(lambda x, t: (1 + t) * (x[..., 0] ** 2 - 1) ** 2 / 4)
EQUATIONS = {
    "still": (pk.FokkerPlanck(V, 4.0), START, 1e-10),
    "potential": (pk.FokkerPlanck(MOVING, 4.0), START, 1e-6),
    "beta": (pk.FokkerPlanck(V, lambda t: 2 + t), START, 1e-6),
    "diffusion": (pk.FokkerPlanck(V, 4.0, diffusion=pk.Stratonovich(
        pk.InTime(lambda x, t: 1 + t + 0 * x[..., 0]))), START, 1e-6),
    "killing": (pk.FokkerPlanck(V, 4.0, killing=pk.InTime(lambda x, t: t + 0 * x[..., 0])), START,
                1e-6),
    "local entropy": (pk.ViscousHJ(4.0), V, 1e-6),
    "expectation": (pk.BackwardKolmogorov(V, 4.0), V, 1e-9),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUATIONS)
def test_two_parts_are_the_whole(name, tmp_path):
    equation, start, far = EQUATIONS[name]
    whole = pk.solve(equation, LINE, start, [1.0, 1.5, 2.0])
    half = pk.solve(equation, LINE, start, [0.5, 1.0])
    half = pk.load(half.save(tmp_path / "half.nc"), equation=equation)
    rest = pk.solve(equation, LINE, half, [1.5, 2.0])
    np.testing.assert_allclose(rest.fields, whole.fields[1:], rtol=0, atol=far)
    np.testing.assert_array_equal(rest.times, [1.5, 2.0])
    assert (rest.equation, rest.t0, rest.initial) == (equation, 0.0, start)
    early = pk.solve(equation, LINE, half, 1.0, t0=0.5)
    np.testing.assert_allclose(early.fields[0], whole.fields[0], rtol=0, atol=far)
    bare = pk.solve(equation, LINE, half.final.values, [1.5, 2.0], t0=1.0)
    np.testing.assert_allclose(bare.fields, rest.fields, rtol=0, atol=1e-12)
    assert bare.t0 == 1.0
    again = pk.load(bare.save(tmp_path / "bare.nc"), equation=equation)
    for part in (rest, bare, again):
        assert all(c.passed is not False for c in pk.certify(part))


def test_errors_of_both_parts_add_up():
    equation = pk.FokkerPlanck(MOVING, 4.0)
    half = pk.solve(equation, LINE, START, 1.0)
    rest = pk.solve(equation, LINE, half, 2.0)
    alone = pk.solve(equation, LINE, half.final, 2.0, t0=1.0)
    for key in ("error_estimate", "steps"):
        assert rest.stats[key] == pytest.approx(half.stats[key] + alone.stats[key])


def test_exits_count_from_where_it_went_on():
    equation = pk.FokkerPlanck(MOVING, 4.0, walls=pk.Walls(upper=True))
    grid = pk.Grid(-3, 0.5, 60)
    whole = pk.solve(equation, grid, START, [1.0, 2.0])
    rest = pk.solve(equation, grid, whole.u[0].values, 2.0, t0=1.0)
    left = whole.exits["left"]
    np.testing.assert_allclose(rest.exits["left"][0], left[1] - left[0], rtol=1e-5)
    np.testing.assert_allclose(rest.exits["flux"][0], whole.exits["flux"][1], rtol=1e-5)


def test_what_cannot_be_gone_on_with_is_said():
    half = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, 1.0)
    with pytest.raises(ValueError, match="not be before t0 = 1"):
        pk.solve(half.equation, LINE, half, 0.5)
    with pytest.raises(ValueError, match="a time that the solution has"):
        pk.solve(half.equation, LINE, half, 2.0, t0=0.5)
    with pytest.raises(ValueError, match="t0 must be a finite number >= 0"):
        pk.solve(half.equation, LINE, START, 2.0, t0=-1.0)
    with pytest.raises(ValueError, match="other cells"):
        pk.solve(half.equation, pk.Grid(-3, 3, 50), half, 2.0)
    moving = pk.BackwardKolmogorov(MOVING, 4.0)
    with pytest.raises(ValueError, match="times before its last one"):
        pk.solve(moving, LINE, V, 2.0, t0=1.0)
    fronts = pk.HamiltonJacobi(
        pk.hamiltonians.Eikonal(pk.InTime(lambda x, t: 1 + t + 0 * x[..., 0]))
    )
    with pytest.raises(ValueError, match="gone on with at t0"):
        pk.solve(fronts, LINE, V, 2.0, t0=1.0)


def test_particles_go_on_in_their_own_time(tmp_path):
    cooled = pk.AnnealedLangevin(MOVING, lambda t: 1 + 3 * t)
    rho = pk.solve(cooled.law(), LINE, START, 1.0)
    half = pk.simulate(cooled, START, 4000, [0.25, 0.5], 0.01)
    half = pk.load(half.save(tmp_path / "half.nc"), dynamics=cooled)
    rest = pk.simulate(cooled, half, 4000, 1.0, 0.01, seed=1)
    np.testing.assert_array_equal(rest.x["time"], [1.0])
    assert rest.dynamics == cooled and pk.compare(rho, rest).p_value > 0.01
    late = pk.simulate(cooled, half.final, 4000, 0.5, 0.01, seed=1)  # the same, from time 0
    assert pk.compare(rho, pk.Ensemble(late.x.assign_coords(time=[1.0]), cooled, 1, late.stats)
                      ).p_value < 1e-3  # fmt: skip


def test_momenta_go_on(tmp_path):
    swinging = pk.UnderdampedLangevin(pk.potentials.Quadratic(1.0), 1e6, friction=1e-9)
    half = pk.simulate(swinging, pk.Gaussian(1.0, 0.01), 50, [0.7], 1e-3, runs=2)
    half = pk.load(half.save(tmp_path / "half.nc"))
    rest = pk.simulate(swinging, half, 50, [0.7, 2.0], 1e-3, runs=2, seed=1)
    np.testing.assert_array_equal(rest.p[0], half.p[0])
    q, p = half.final.values, half.p[-1].values
    turned = q * np.cos(1.3) + p * np.sin(1.3), p * np.cos(1.3) - q * np.sin(1.3)
    np.testing.assert_allclose(rest.final, turned[0], atol=1e-4)
    np.testing.assert_allclose(rest.p[-1], turned[1], atol=1e-4)


def test_the_same_noise_again_is_warned_of(tmp_path):
    half = pk.simulate(pk.Langevin(V, 4.0), START, 60, 0.5, 0.05, seed=3)
    half = pk.load(half.save(tmp_path / "half.nc"))
    with pytest.warns(pk.AccuracyWarning, match="seed = 3"):
        pk.simulate(half.dynamics, half, 60, 1.0, 0.05, seed=3)


def test_exits_are_told_in_the_time_of_the_dynamics():
    dynamics = pk.Langevin(V, 1.0, box=pk.Grid(-1.5, 3, 30), walls=pk.Walls(lower=True))
    first = pk.FirstPassage(0.0, 3.0)
    X = pk.simulate(dynamics, pk.Uniform(-1, -0.9), 200, [5.5, 6.0], 0.02, t0=5.0, observe=[first])
    gone = X.exits["time"].values[np.isfinite(X.exits["time"])]
    assert gone.size and gone.min() > 5.0 and gone.max() <= 6.0
    entered = X.observed["passage_time"].values
    assert np.nanmin(entered) > 5.0 and np.nanmax(entered) <= 6.0
    with pytest.raises(ValueError, match="on their way"):
        pk.simulate(dynamics, X, 200, 7.0, 0.02, seed=1)
    with pytest.raises(ValueError, match="keep=True"):
        pk.simulate(dynamics, pk.simulate(dynamics, pk.Uniform(-1, -0.9), 9, 0.1, 0.02, keep=False),
                    9, 1.0, 0.02)  # fmt: skip
    with pytest.raises(ValueError, match="a time that the ensemble has"):
        pk.simulate(dynamics, X, 200, 7.0, 0.02, t0=5.2)
