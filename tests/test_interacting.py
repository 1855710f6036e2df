"""Particles that act on each other: sums, N-particle laws, mean-field limit, what is refused."""

import json
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import cumulative_simpson

import pdekit as pk
from pdekit.particles import (
    L1,
    ChebyshevSum,
    Consensus,
    EulerMaruyama,
    ExactSum,
    InteractingLangevin,
    RandomBatch,
    StepSizeWarning,
)
from pdekit.particles.forces import mean_force, means
from pdekit.potentials import Custom, DoubleWell, Quadratic
from pdekit.potentials.exponential import power_32, power_64

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
LEVEL = 0.01


def gaussian(dim):
    """W(z) = -exp(-|z|²/2)."""
    return pk.PairPotential(
        Custom(
            lambda z: -(-(z * z).sum(-1) / 2).exp(),
            grad=lambda z: z * (-(z * z).sum(-1, keepdim=True) / 2).exp(),
            dim=dim,
        )
    )


def gaussian_force(x):
    """The same by numpy, pair by pair: N⁻¹ Σ_j ∇W(x_i - x_j)."""
    out = np.zeros_like(x)
    for i, a in enumerate(x):
        for b in x:
            z = a - b
            out[i] += z * exp(-(z @ z) / 2) / len(x)
    return out


def points(runs, n, dim, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(runs, n, dim)))


@pytest.mark.parametrize(
    ("summation", "tolerance", "dim"),
    [
        *((ExactSum(), 1e-14, dim) for dim in (1, 2, 3)),
        *((ChebyshevSum(t), t, dim) for t in (1e-4, 1e-8) for dim in (1, 2)),
        (ChebyshevSum(1e-4), 1e-4, 3),
    ],
    ids=str,
)
def test_sums_are_those_over_all_pairs(summation, tolerance, dim):
    x = points(2, 41, dim) * (1.0 if dim < 3 else 0.4)
    force = summation(gaussian(dim).grad, x, None).numpy()
    expected = np.stack([gaussian_force(run) for run in x.numpy()])
    assert np.abs(force - expected).max() < tolerance


# of sums over 600 pairs in the type
ROUNDING = {torch.float32: 3e-7, torch.float64: 1e-14}


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_the_compiled_gaussian_is_that_over_all_pairs(dim, dtype):
    """603 particles are more than a chunk; two far off act on nobody (underflow, not NaN)."""
    x = points(2, 603, dim).to(dtype)
    x[:, 3], x[:, 7] = 60.0, -4000.0
    well = pk.PairPotential(pk.interactions.GaussianWell(0.7, 1.3, dim))
    force = mean_force(well, ExactSum(), x, 603, None)
    assert force.dtype == dtype
    z = x.double().numpy()[:, :, None] - x.double().numpy()[:, None]
    weight = np.exp(-(z**2).sum(-1, keepdims=True) / (2 * 1.3**2))
    assert force.numpy() == pytest.approx((0.7 / 1.3**2 * z * weight).mean(2), abs=ROUNDING[dtype])
    assert force[:, [3, 7]].abs().max() < (1e-100 if dtype == torch.float64 else 1e-30)


@pytest.mark.parametrize(
    ("power", "kind", "least"), [(power_64, "d", -1022), (power_32, "f", -126)]
)
def test_the_compiled_powers_of_two_are_those_of_the_library(power, kind, least):
    t = -np.concatenate([np.linspace(0, -least, 5001), [1e-30, 1e-17, 0.5, 1.5]]).astype(kind)
    found = np.array([power(v) for v in t], dtype=kind).astype(float)
    assert found == pytest.approx(
        np.exp2(t.astype(float)), rel=2 * float(np.finfo(kind).eps), abs=0
    )
    assert 0 < power(t.dtype.type(-1e9)) <= 2.0**least


def test_smooth_kernels_in_single_precision():
    """The interpolant is made in double: a tolerance of 1e-6 is met up to the rounding of sums."""
    x = points(2, 3000, 2).float()
    well = pk.PairPotential(pk.interactions.GaussianWell(1.0, 1.0, 2))
    exact, smooth = (
        mean_force(well, how, x, 3000, None) for how in (ExactSum(), ChebyshevSum(1e-6))
    )
    assert smooth.dtype == torch.float32 and (smooth - exact).abs().max() < 2e-6


def test_exact_sum_in_pieces(monkeypatch):
    """Pieces that do not divide the particles; a lost row would show."""
    x = points(1, 41, 2)
    whole = ExactSum()(gaussian(2).grad, x)
    monkeypatch.setattr(pk.particles.forces, "_ROOM", 41 * 2 * 7)
    assert torch.allclose(ExactSum()(gaussian(2).grad, x), whole, atol=1e-15)


def test_a_kernel_too_rough_for_polynomials_is_refused():
    rough = pk.PairPotential(Custom(lambda z: z.abs().sum(-1), grad=lambda z: z.sign()))
    with pytest.raises(ValueError, match=r"128 Chebyshev nodes .* ExactSum"):
        ChebyshevSum(1e-6)(rough.grad, points(1, 50, 1))
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        ChebyshevSum(1e-6)(gaussian(4).grad, points(1, 50, 4))


@pytest.mark.parametrize("width", [1e-7, 1e-40])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_kernel_far_narrower_than_the_box_is_refused(width, dim):
    """Particles some widths apart feel it, and no polynomial of the box does."""
    well = pk.PairPotential(pk.interactions.GaussianWell(width**2, width, dim))
    x = torch.cat([points(1, 60, dim) * width, torch.ones(1, 1, dim), -torch.ones(1, 1, dim)], 1)
    assert ExactSum()(well.grad, x).abs().max() > 0.05 * width
    with pytest.raises(ValueError, match="not resolved"):
        ChebyshevSum()(well.grad, x)


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 10**6))
def test_forces_by_formula_are_those_over_all_pairs(n, dim, seed):
    """CurieWeiss by the mean and L1 by ranks, ties included, against the sum over pairs."""
    x = (points(2, n, dim, seed) * 2).round() / 2
    for interaction in (pk.CurieWeiss(1.3), L1(0.7)):
        pairs = ExactSum()(interaction.grad, x)
        padded = torch.cat((x, torch.full((2, 5, dim), 9.0).double()), dim=1)
        force = mean_force(interaction, ExactSum(), padded, n, None)[:, :n]
        assert torch.allclose(force, pairs, atol=1e-13)


@given(st.integers(1, 9000), st.integers(1, 3))
def test_means_count_the_particles_that_count(n, dim):
    x = points(2, n + 3, dim)
    assert torch.allclose(means(x, n)[:, 0], x[:, :n].mean(dim=1), atol=1e-14)


def test_consensus_is_a_weighted_mean():
    """Against numpy; sharpness 0 is Curie-Weiss, a large one the best particle."""
    V, x = DoubleWell(2), points(2, 30, 2)
    cost = V(x.numpy())
    for sharpness in (0.0, 3.0, 1e6):
        force = mean_force(Consensus(1.5, sharpness), ExactSum(), x, 30, V).numpy()
        weight = np.exp(-sharpness * (cost - cost.min(axis=1, keepdims=True)))
        centre = (weight[..., None] * x.numpy()).sum(1) / weight.sum(1)[:, None]
        assert force == pytest.approx(1.5 * (x.numpy() - centre[:, None]), abs=1e-12)
    best = np.take_along_axis(x.numpy(), cost.argmin(1)[:, None, None], 1)
    assert force == pytest.approx(1.5 * (x.numpy() - best), abs=1e-9)


@pytest.mark.parametrize("partners", [2, 6])
def test_random_batches_are_unbiased_and_mutual(partners):
    """Mean over 20,000 drawn orders, each particle at level 0.001 / 9; forces sum to zero."""
    x, draws = points(1, 9, 1), 20_000
    order = torch.from_numpy(np.random.default_rng(1).uniform(size=(draws, 9)))
    force = RandomBatch(partners)(gaussian(1).grad, x.expand(draws, -1, -1), lambda: order)
    assert force.sum(dim=1).abs().max() < 1e-13
    error = force.mean(dim=0).numpy() - gaussian_force(x[0].numpy())
    spread = force.std(dim=0).numpy() / sqrt(draws)
    assert (np.abs(error) < stats.norm.isf(0.001 / 18) * spread).all()
    assert (spread > 1e-6).all()


BETA, STRENGTH = 4.0, 1.0
AXIS = np.linspace(-2.6, 2.6, 161)


def joint_law(n, pair_energy):
    """exp(-β [ΣV + (2N)⁻¹ Σ_ij W(x_i - x_j)]) on a lattice, normalised: mathematics 1.6."""
    V = (AXIS**2 - 1) ** 2 / 4
    grids = np.meshgrid(*[AXIS] * n, indexing="ij", sparse=True)
    energy = sum(np.interp(g, AXIS, V) for g in grids)
    for i in range(n):
        for j in range(n):
            energy = energy + pair_energy(grids[i] - grids[j]) / (2 * n)
    weight = np.exp(-BETA * (energy - energy.min()))
    return weight / weight.sum()


def check(n, dynamics, law, runs=5000):
    """KS p-value of the first particle, and z-score of the correlation of the first two."""
    x = pk.simulate(dynamics, pk.Uniform(-1.5, 1.5), n=n, t=8.0, dt=0.1, runs=runs, seed=2)
    x = x.final.values[..., 0]
    marginal = law.reshape(len(AXIS), -1).sum(1)
    distribution = cumulative_simpson(marginal, x=AXIS, initial=0)
    p = stats.kstest(x[:, 0], lambda v: np.interp(v, AXIS, distribution / distribution[-1])).pvalue
    pair = law.reshape(len(AXIS), len(AXIS), -1).sum(2)
    product = AXIS[:, None] * AXIS
    mean, square = (pair * product).sum(), (pair * product**2).sum()
    z = ((x[:, 0] * x[:, 1]).mean() - mean) / sqrt((square - mean**2) / runs)
    return p, z


INTERACTIONS = {
    "Curie-Weiss": (pk.CurieWeiss(STRENGTH), lambda z: STRENGTH * z * z / 2),
    "Gaussian": (gaussian(1), lambda z: -np.exp(-z * z / 2)),
    "l1": (L1(0.5), lambda z: 0.5 * np.abs(z)),
}


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", INTERACTIONS)
def test_law_of_few_particles(name, n):
    """Against quadrature: KS of one particle at level 0.01, E x₁x₂ at level 0.001."""
    interaction, energy = INTERACTIONS[name]
    dynamics = InteractingLangevin(DoubleWell(), BETA, interaction)
    p, z = check(n, dynamics, joint_law(n, energy))
    assert p > LEVEL and abs(z) < stats.norm.isf(5e-4)


def test_a_force_of_twice_the_strength_is_refuted():
    """Errata 13: λ counted twice; also a sum over j divided by N - 1 instead of N."""
    law = joint_law(3, INTERACTIONS["Curie-Weiss"][1])
    for strength in (2 * STRENGTH, STRENGTH * 3 / 2):
        dynamics = InteractingLangevin(DoubleWell(), BETA, pk.CurieWeiss(strength))
        assert abs(check(3, dynamics, law)[1]) > 6


def test_random_batches_reach_the_law_as_the_step_shrinks():
    """Variance of six particles with two partners: of exact sums' within 0.02 (noise 0.006).

    W = 0.8 z²/2, whose law is known: λ(1 - 1/6) added to the curvature of V.
    """
    strength, n = 0.8, 6
    pair = pk.PairPotential(Quadratic(strength))
    curvature = np.eye(n) + strength * (np.eye(n) - 1 / n)
    exact = np.linalg.inv(curvature)[0, 0] / BETA
    for summation in (ExactSum(), RandomBatch(2)):
        dynamics = InteractingLangevin(Quadratic(1.0), BETA, pair, summation)
        x = pk.simulate(dynamics, pk.Gaussian(0.0, 0.4), n=n, t=4.0, dt=0.05, runs=2000, seed=4)
        assert x.final.values.var() == pytest.approx(exact, rel=0.04)


def linear_limit(t, a=1.0, strength=2.0, beta=4.0, v0=0.5):
    rate, limit = a + strength, 1 / (beta * (a + strength))
    return exp(-a * t), limit + (v0 - limit) * exp(-2 * rate * t)


def test_mean_field_limit_of_the_linear_reference():
    """mv.linear: m' = -a m, v' = -2 (a + λ) v + 2/β. Mean and variance at level 0.001, with the
    exact correction of order 1/N of the variance: its N⁻¹ part forgets at the rate a alone."""
    n, runs = 500, 60
    dynamics = InteractingLangevin(
        Quadratic(1.0), 4.0, pk.CurieWeiss(2.0), integrator=pk.particles.StochasticHeun()
    )
    start = pk.Gaussian(1.0, sqrt(0.5))
    times = [0.25, 0.5, 1.0, 2.0]
    x = pk.simulate(dynamics, start, n=n, t=times, dt=0.01, runs=runs, seed=3).x
    quantile = stats.norm.isf(5e-4)
    for t in times:
        at = x.sel(time=t).values[..., 0]
        mean, variance = (float(VALUES["mv.linear"]["value"][f"{t:g}"][k]) for k in ("mean", "var"))
        assert (mean, variance) == pytest.approx(linear_limit(t), rel=1e-9)
        common = (1 / 4.0) * (1 - exp(-2 * t)) + 0.5 * exp(-2 * t)  # N times the variance of X̄
        assert abs(at.mean() - mean) < quantile * sqrt(common / (n * runs))
        within = at.var(axis=1, ddof=1).mean()
        assert abs(within / variance - 1) < quantile * sqrt(2 / (n * runs))


def magnetisation(n, runs, interaction=None, seed=1):
    """Mean and spread over runs of X̄ at a long time, from the basin of +1: cw.m.b4.l1."""
    dynamics = InteractingLangevin(DoubleWell(), 4.0, interaction or pk.CurieWeiss(1.0))
    x = pk.simulate(dynamics, pk.Gaussian(0.8, 0.35), n=n, t=6.0, dt=0.05, runs=runs, seed=seed)
    return x.final.values[..., 0].mean(axis=1)


def test_self_consistent_mean_of_the_ordered_state():
    """X̄ of 4,000 particles against cw.m.b4.l1: level 0.001 plus the 1/N shift of finite N."""
    expected = float(VALUES["cw.m.b4.l1"]["value"]["m"])
    means_of_runs = magnetisation(4000, 12)
    error = means_of_runs.mean() - expected
    assert abs(error) < stats.t.isf(5e-4, 11) * means_of_runs.std(ddof=1) / sqrt(12) + 3 / 4000


def test_chaos_propagates_at_the_rate_of_root_n():
    """Spread of X̄ over runs, 400 each: order N^-1/2 within 0.12 (its own error is 0.04)."""
    sizes = np.array([64, 256, 1024])
    spread = [magnetisation(n, 400, seed=n).std(ddof=1) for n in sizes]
    assert np.polyfit(np.log(sizes), np.log(spread), 1)[0] == pytest.approx(-0.5, abs=0.12)


def test_particles_in_a_periodic_box_see_the_shortest_displacement():
    """Two clusters across the seam attract through it; Curie-Weiss is refused there."""
    box = pk.Grid(0, 10, 8, periodic=True)
    flat = Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
    dynamics = InteractingLangevin(flat, 1e6, gaussian(1), box=box, integrator=EulerMaruyama())
    x0 = np.array([[0.5], [9.6]])
    x = pk.simulate(dynamics, x0, n=2, t=1.0, dt=0.1).final.values.ravel()
    assert x[0] < 0.45 and x[1] > 9.65
    with pytest.raises(ValueError, match="shortest displacement"):
        InteractingLangevin(flat, 1.0, pk.CurieWeiss(1.0), box=box)
    with pytest.raises(ValueError, match="shortest displacement"):
        InteractingLangevin(flat, 1.0, gaussian(1), ChebyshevSum(), box=box)


@pytest.mark.parametrize(("strength", "warns"), [(15.0, False), (25.0, True)])
def test_the_stability_limit_counts_the_interaction(strength, warns, recwarn):
    """dt (V'' + λ) = 2 at λ = 19."""
    dynamics = InteractingLangevin(Quadratic(1.0), 1.0, pk.CurieWeiss(strength))
    x0 = np.random.default_rng(0).normal(size=(400, 1))
    pk.simulate(dynamics, x0, n=400, t=0.1, dt=0.1)
    assert [w.category for w in recwarn] == [StepSizeWarning] * warns


def test_a_particle_that_blows_up_is_named():
    start = np.full((20, 1), 0.5)
    start[7] = 60.0
    dynamics = InteractingLangevin(DoubleWell(), 4.0, pk.CurieWeiss(0.0))
    with (
        pytest.warns(StepSizeWarning),
        pytest.raises(pk.particles.NonFiniteError, match=r"particle 7 of run 0 .* step \d+"),
    ):
        pk.simulate(dynamics, start, n=20, t=2.0, dt=0.01)


BAD = {
    "beta": (lambda: InteractingLangevin(DoubleWell(), 0.0, pk.CurieWeiss(1.0)), ValueError),
    "interaction": (lambda: InteractingLangevin(DoubleWell(), 1.0, 3.0), TypeError),
    "class": (lambda: InteractingLangevin(DoubleWell(), 1.0, pk.CurieWeiss), TypeError),
    "dimension": (lambda: InteractingLangevin(DoubleWell(2), 1.0, gaussian(1)), ValueError),
    "odd partners": (lambda: RandomBatch(3), ValueError),
    "tolerance": (lambda: ChebyshevSum(0.0), ValueError),
    "strength": (lambda: L1(float("nan")), ValueError),
    "sharpness": (lambda: Consensus(1.0, "sharp"), TypeError),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    make, error = BAD[name]
    with pytest.raises(error):
        make()


def test_too_many_partners_are_refused():
    dynamics = InteractingLangevin(DoubleWell(), 1.0, gaussian(1), RandomBatch(4))
    with pytest.raises(ValueError, match="partners among 4 particles"):
        pk.simulate(dynamics, pk.Gaussian(), n=4, t=0.1, dt=0.01)


def test_consensus_has_no_mean_field_equation_of_this_kind():
    with pytest.raises(TypeError, match="not a pair interaction"):
        InteractingLangevin(DoubleWell(), 1.0, Consensus(1.0)).law()
