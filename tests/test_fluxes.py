"""Numerical Hamiltonians are consistent and monotone; Godunov's is the extremum, at its cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit.pde.discrete import fluxes
from pdekit.pde.discrete.fluxes import of_gradient, slope_bounds, slopes, speeds


def buckley(p):
    """Buckley and Leverett's fraction of flow, with an inflection: neither convex nor concave."""
    p = p[..., 0]
    return p**2 / (p**2 + (1 - p) ** 2 / 2)


TERMS = {
    "abs": h.Power(1.0),
    "power": h.Power(1.5),
    "square": h.Power(2.0, 0.7),
    "quartic": h.Power(4.0),
    "sine": h.Custom(lambda p: np.sin(3 * p).sum(-1)),
    "hollow": h.Custom(lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4, turns=(-1, 0, 1)),
    "hollow, turns found": h.Custom(lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4),
    "buckley": h.Custom(buckley),
    "rising": h.Custom(lambda p: np.exp(p).sum(-1), convex=True),
    "shifted": h.Shifted(h.Power(2.0), 0.4),
}
FLUXES = {
    "godunov": fluxes.godunov,
    "engquist_osher": fluxes.engquist_osher,
    "lax_friedrichs": fluxes.lax_friedrichs,
}
ENDS = (-2.0, 2.0)
p_s, seeds = st.floats(*ENDS), st.integers(0, 10_000)
any_term = st.sampled_from(list(TERMS)).map(lambda name: TERMS[name].terms(1)[0])
any_flux = st.sampled_from(list(FLUXES)).map(FLUXES.__getitem__)


def pairs(seed):
    """300 pairs of slopes a, b: near and far, equal, at zero, at the turns of the table."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(*ENDS, 300)
    b = np.where(rng.uniform(size=300) < 0.5, rng.uniform(*ENDS, 300), a + rng.normal(0, 0.05, 300))
    a[:10], b[10:20], b[20:30] = rng.choice([-1.0, 0.0, 1.0], 10), 0.0, a[20:30]
    return a, np.clip(b, *ENDS)


@settings(max_examples=300)
@given(term=any_term, flux=any_flux, seed=seeds, more=st.floats(0, 1))
def test_a_flux_rises_with_the_first_and_falls_with_the_second(term, flux, seed, more):
    a, b = pairs(seed)
    here = flux(a, b, term, ENDS)
    up, across = np.minimum(a + more, ENDS[1]), np.minimum(b + more, ENDS[1])
    assert (flux(up, b, term, ENDS) >= here - 1e-12).all()
    assert (flux(a, across, term, ENDS) <= here + 1e-12).all()


@settings(max_examples=300)
@given(term=any_term, flux=any_flux, seed=seeds)
def test_a_flux_is_consistent(term, flux, seed):
    p = np.concatenate([*pairs(seed)])
    np.testing.assert_allclose(flux(p, p, term, ENDS), term.value(p), atol=1e-12)


@settings(max_examples=200)
@given(term=any_term, seed=seeds)
def test_godunov_is_the_extremum_of_any_hamiltonian(term, seed):
    """By brute force; samples a step s apart miss a kink by |H'| s, a round maximum by far less."""
    a, b = pairs(seed)
    p = a + np.linspace(0, 1, 2001)[:, None] * (b - a)
    values = term.value(p)
    best = np.where(a <= b, values.min(0), values.max(0))
    found = fluxes.godunov(a, b, term, ENDS)
    beyond = np.where(a <= b, best - found, found - best)  # an extremum is at least the sampled one
    assert beyond.min() >= -1e-12
    fastest = max(np.abs(term.velocities(*ENDS)))
    assert (beyond <= 1e-12 + fastest * np.abs(b - a) / 2000).all()


@settings(max_examples=300)
@given(term=any_term, flux=any_flux, seed=seeds)
def test_godunov_is_the_least_diffusive(term, flux, seed):
    """Any monotone flux lies below the least H on [a, b] and above the greatest on [b, a]."""
    a, b = pairs(seed)
    gap = fluxes.godunov(a, b, term, ENDS) - flux(a, b, term, ENDS)
    assert (np.where(a <= b, gap, -gap) >= -1e-12).all()


@settings.get_profile("often")
@given(
    name=st.sampled_from(["square", "power", "sine", "hollow", "buckley", "rising"]), a=p_s, b=p_s
)
def test_engquist_osher_is_its_integral(name, a, b):
    """H(0) + ∫_0^a max(H', 0) + ∫_0^b min(H', 0); a change of base point changes nothing."""
    term = TERMS[name].terms(1)[0]
    knots = [c for c in term.extrema(*ENDS) if c != 0]

    def part(p, sign):
        points = [c for c in knots if min(0, p) < c < max(0, p)]
        rate = quad(
            lambda q: sign * max(sign * float(term.slope(np.array(q))), 0.0), 0, p,
            points=points or None, limit=200, epsabs=1e-9,
        )  # fmt: skip
        return rate[0]

    expected = float(term.value(0.0)) + part(a, 1) + part(b, -1)
    assert fluxes.engquist_osher(a, b, term, ENDS) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    "H, expected",
    [
        (h.Custom(lambda p: np.cos(p).sum(-1)), [-np.pi, 0, np.pi]),
        (h.Custom(lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4), [-1, 0, 1]),
        (h.Custom(lambda p: np.exp(p).sum(-1)), []),
    ],
)
def test_extrema_are_found(H, expected):
    np.testing.assert_allclose(H.terms(1)[0].extrema(-4.0, 4.0), expected, atol=1e-8)


PLANE = {
    "separable": h.Separable((h.Power(1.5), h.Custom(lambda p: np.sin(3 * p).sum(-1)))),
    "anisotropic": h.Power(2.0, (1.0, 3.0)),
    "oblique": h.Quadratic(((1.0, 0.6), (0.6, 2.0))),
    "eikonal": h.Eikonal(1.3),
    "saddle": h.Custom(lambda p: np.sin(p[..., 0]) * p[..., 1], dim=2),
}
any_plane = st.sampled_from(list(PLANE)).map(PLANE.__getitem__)


@settings(max_examples=300)
@given(H=any_plane, flux=any_flux, seed=seeds, walls=st.tuples(st.booleans(), st.booleans()))
def test_a_step_at_the_cfl_limit_is_monotone(H, flux, seed, walls):
    """u <= v stay in order: fields that touch in places, at the largest step allowed."""
    grid = pk.Grid((0, 0), (1, 2), (9, 12), walls)
    rng = np.random.default_rng(seed)
    u = 0.1 * rng.normal(size=grid.shape)
    v = u + 0.1 * np.maximum(rng.normal(size=grid.shape), 0)
    pair = [slopes(w, grid) for w in (u, v)]
    both = np.stack([slope_bounds(*s) for s in pair])
    bounds = np.stack([both[..., 0].min(0), both[..., 1].max(0)], axis=-1)
    dt = 1 / (speeds(H, bounds, flux) / grid.spacing).sum()
    after = [w - dt * of_gradient(H, *s, bounds, flux) for w, s in zip((u, v), pair, strict=True)]
    assert (after[1] - after[0]).min() >= -1e-13


@settings(max_examples=200)
@given(H=any_plane, p=st.tuples(p_s, p_s))
def test_the_plane_is_consistent(H, p):
    sides = [np.array([c]) for c in p]
    bounds = np.array([ENDS, ENDS])
    for flux in FLUXES.values():
        found = of_gradient(H, sides, sides, bounds, flux)
        assert found[0] == pytest.approx(float(H(np.array(p))), abs=1e-12)


@settings(max_examples=300)
@given(name=st.sampled_from([*TERMS, *PLANE]), seed=st.integers(0, 1000))
def test_gradients_are_derivatives(name, seed):
    H, dim = (TERMS | PLANE)[name], 2 if name in PLANE else 1
    p = np.random.default_rng(seed).uniform(-2, 2, (5, dim))
    for k in range(dim):
        e = 1e-6 * (np.arange(dim) == k)
        slope = (H(p + e) - H(p - e)) / 2e-6
        np.testing.assert_allclose(H.grad(p)[..., k], slope, atol=1e-5)
    terms = H.terms(dim)
    if terms is not None:
        parts = sum(t.value(p[:, k]) for k, t in enumerate(terms))
        np.testing.assert_allclose(parts, H(p), atol=1e-12)


@settings(max_examples=200)
@given(
    H=st.sampled_from([h.Power(1.0, 0.7), h.Power(1.5), h.Power(2.0, 3.0), h.Power(5.0)]),
    v=st.floats(-0.65, 0.65),
)
def test_conjugates_are_the_transform(H, v):
    (term,) = H.terms(1)
    p = np.linspace(-3, 3, 60_001)
    assert float(term.conjugate(v)) == pytest.approx((p * v - term.value(p)).max(), abs=1e-6)
