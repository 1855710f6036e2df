"""Transport without noise: exact laws, orders, energies, kernels of two points, and refusals."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi

import pdekit as pk
from pdekit import potentials as p
from pdekit import schemes
from pdekit.pde.kernels.transport_lines import advect
from pdekit.pde.references import advect_plain

INF = math.inf
WELL, LAW = p.DoubleWell(), pk.Gaussian(0.5, 0.4)
CARRIED, PULLED = pk.FokkerPlanck(WELL, INF), pk.McKeanVlasov(WELL, INF, pk.CurieWeiss(1.0))
LINE = pk.Grid(-3, 3, 120)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("periodic", [True, False])
def test_the_kernel_is_its_plain_form(linear, periodic):
    rng = np.random.default_rng(0)
    rho, v = rng.uniform(size=(5, 30)) ** 8, rng.normal(size=(5, 31))
    v[:, -1] = v[:, 0] if periodic else 0.0
    v[:, 0] = v[:, -1]
    for ratio in (0.1, 3.0):  # also where a cell would send more than it has
        out = np.zeros_like(rho)
        advect(rho, v, ratio, periodic, linear, 2.0, out)
        np.testing.assert_allclose(
            out, advect_plain(rho, v, ratio, periodic, linear, 2.0), atol=1e-15
        )
        assert (rho + 2 * np.minimum(out, 0)).min() >= -1e-15
        np.testing.assert_allclose(out.sum(), 0, atol=1e-13)


@pytest.mark.parametrize(("order", "constant"), [(1, 2.0), (2, 4.0)])
def test_order_and_constant(order, constant):
    """A Gaussian in a parabola stays one: N(m e^-t, (s e^-t)²)."""
    errors, cells = [], [60, 120, 240]
    for n in cells:
        grid, law = pk.Grid(-3, 3, n), pk.Gaussian(0.5, 0.45)
        equation = pk.FokkerPlanck(p.Quadratic(1.0), INF)
        u = pk.solve(equation, grid, law, 0.5, schemes.Upwind(order))
        there = pk.Gaussian(0.5 * math.exp(-0.5), 0.45 * math.exp(-0.5))
        apart = np.abs(np.cumsum(u.fields[0] - there.density(grid))) * grid.cell_volume
        errors.append(float(grid.integrate(apart)))
        assert errors[-1] <= u.stats["w1_error"]
    slope = np.polyfit(np.log(cells), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=0.2)
    assert errors[-1] <= constant * (6 / 240) ** order


@pytest.mark.parametrize("scheme", [None, schemes.Upwind(1), schemes.Quantiles(200)])
def test_any_time_and_the_wells_at_its_end(scheme):
    times = [1.0, 1e3, 1e6]
    kind = pytest.warns if scheme is None or scheme == schemes.Upwind(1) else None
    if kind:
        with kind(pk.ResolutionWarning, match="narrower than the cells"):
            u = pk.solve(CARRIED, LINE, LAW, times, scheme)
    else:
        u = pk.solve(CARRIED, LINE, LAW, times, scheme)
    right = float(u.fields[-1][LINE.axes[0] > 0].sum() * LINE.cell_volume)
    assert right == pytest.approx(float(ndtr(0.5 / 0.4)), abs=0.01)
    assert u.fields[-1][np.abs(np.abs(LINE.axes[0]) - 1) > 0.1].max() <= 0.05  # in the wells
    assert u.stats["w1_error"] <= 0.08


def test_walls_stop_and_a_circle_turns():
    wall = pk.FokkerPlanck(p.Linear(-1.0), INF)
    with pytest.warns(pk.TruncationWarning):
        q = pk.solve(wall, LINE, LAW, 10.0, schemes.Quantiles(100))
    assert q.fields[0][-1] * LINE.cell_volume == pytest.approx(1)
    ring = pk.Grid(0, 2 * np.pi, 100, periodic=True)
    drive = pk.FokkerPlanck(lambda x: 0 * x[..., 0], INF, force=lambda x: 1.0 + 0 * x)
    start = 1 + 0.5 * np.cos(ring.axes[0])
    for scheme, error in ((schemes.Upwind(), 8e-3), (schemes.Quantiles(500), 3e-3)):
        u = pk.solve(drive, ring, start, 2 * np.pi, scheme)  # once round
        assert np.abs(u.fields[0] - start).max() <= error


# --- the free energy ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [None, schemes.Quantiles(200)])
@pytest.mark.parametrize("equation", [CARRIED, PULLED], ids=["carried", "pulled"])
def test_the_free_energy_falls_and_what_needs_noise_does_not_apply(equation, scheme):
    u = pk.solve(equation, LINE, LAW, np.linspace(0, 1, 9), scheme)
    found = pk.certify(u)
    assert found.passed
    assert [row.name for row in found] == ["mass", "positivity", "free energy falls"]
    C = pk.certificates
    for other in (C.SpectralGapDecay(), C.DissipationIdentity(), C.DetailedBalance(),
                  C.WassersteinContraction(), C.Stationary(), C.BrokenBalance()):  # fmt: skip
        assert not pk.certify(u, other)[0].applies


def test_a_flow_uphill_is_found(monkeypatch):
    from pdekit.pde.discrete import transport

    right = transport._downhill
    monkeypatch.setattr(transport, "_downhill", lambda *a: -right(*a))
    u = pk.solve(CARRIED, pk.Grid(-1, 1, 60), pk.Gaussian(0, 0.1), [0.0, 0.02, 0.04])
    assert pk.certify(u).named("free energy falls").passed is False


# --- what needs noise refuses ---------------------------------------------------------------------

REFUSED = {
    "stationary": lambda e: pk.stationary(e, LINE),
    "current": lambda e: pk.current(e, LAW.density(LINE), LINE),
    "detailed_balance": lambda e: pk.detailed_balance(e, LINE),
    "entropy_production": lambda e: pk.entropy_production(e, LAW.density(LINE), LINE),
    "housekeeping": lambda e: pk.housekeeping(e, LAW.density(LINE), LINE),
    "spectral_gap": lambda e: pk.spectral_gap(e, LINE),
    "slow_modes": lambda e: pk.slow_modes(e, LINE),
    "mean_first_passage_time": lambda e: pk.mean_first_passage_time(e, LINE, lambda x: x > 1),
    "committor": lambda e: pk.committor(e, LINE, lambda x: x < -1, lambda x: x > 1),
    "dissipation": lambda e: pk.dissipation(pk.solve(e, LINE, LAW, 0.1)),
    "self_consistent_states": lambda _: pk.self_consistent_states(PULLED, LINE),
    "follow_branch": lambda _: pk.follow_branch(lambda b: PULLED, LINE, 1.0, (1.0, 2.0)),
    "kramers_time": lambda _: pk.kramers_time(WELL, -1.0, 0.0, INF),
    "control": lambda _: pk.control(WELL, INF, LINE, LAW, WELL, 1.0),
    "with_steady_state": lambda _: pk.with_steady_state(WELL, INF),
    "BackwardKolmogorov": lambda _: pk.BackwardKolmogorov(WELL, INF),
    "HamiltonJacobiBellman": lambda _: pk.HamiltonJacobiBellman(WELL, INF),
    "Heat": lambda _: pk.Heat(INF),
    "ViscousHJ": lambda _: pk.ViscousHJ(INF),
    "a diffusion": lambda _: pk.FokkerPlanck(WELL, INF, diffusion=2.0),
    "absorbing walls": lambda _: pk.FokkerPlanck(WELL, INF, walls=pk.Walls(True)),
    "Exponential": lambda e: pk.solve(e, LINE, LAW, 0.1, schemes.Exponential()),
    "MeanField": lambda _: pk.solve(PULLED, LINE, LAW, 0.1, schemes.MeanField()),
    "moving": lambda _: pk.solve(
        pk.FokkerPlanck(p.Evolving([0.0, 1.0], LINE.axes[0], np.zeros((2, 120))), INF), LINE, LAW, 1
    ),
    "a driven energy": lambda _: pk.free_energy(
        pk.solve(pk.FokkerPlanck(WELL, INF, force=lambda x: 1 + 0 * x), LINE, LAW, 0.1)
    ),
    "Upwind with noise": lambda _: pk.solve(
        pk.FokkerPlanck(WELL, 4.0), LINE, LAW, 0.1, schemes.Upwind()
    ),
    "Quantiles with noise": lambda _: pk.solve(
        pk.FokkerPlanck(WELL, 4.0), LINE, LAW, 0.1, schemes.Quantiles()
    ),
    "quantile_flow with noise": lambda _: pk.quantile_flow(
        pk.FokkerPlanck(WELL, 4.0), LAW, LINE, 0.1
    ),
    "quantiles in the plane": lambda _: pk.quantile_particles(pk.Gaussian((0, 0), 1.0), 10),
    "critical_beta of two points": lambda _: pk.critical_beta(
        WELL, pk.FeatureInteraction(lambda x: x), grid=LINE
    ),
    "an asymmetric kernel": lambda _: pk.KernelInteraction(lambda x, y: (x - 2 * y)[..., 0]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_noise_says_so(name):
    with pytest.raises(ValueError, match=r"noise|finite|needs|fixed|asymmetric|symm|line|inf"):
        REFUSED[name](CARRIED)


@pytest.mark.parametrize("scheme", [schemes.Upwind(), schemes.Quantiles(50)])
@pytest.mark.parametrize("force", [lambda x: x[..., 0], lambda x: np.ones(1), lambda x: np.nan * x])
def test_a_force_that_is_no_vector_is_refused(force, scheme):
    with pytest.raises((ValueError, pk.ConvergenceError), match="the force must"):
        pk.solve(pk.FokkerPlanck(WELL, math.inf, force=force), LINE, LAW, 0.1, scheme)


# --- kernels of two points ------------------------------------------------------------------------

# |x - y|²/2 = x²/2 + y²/2 - x·y: Curie-Weiss attraction as a potential and a kernel
TWO_POINTS = {
    "features": pk.FeatureInteraction(lambda x: x, -1.0),
    "numpy features": pk.FeatureInteraction(lambda x: np.asarray(x), -1.0),
    "kernel": pk.KernelInteraction(lambda x, y: -(x * y).sum(-1)),
    "numpy kernel": pk.KernelInteraction(lambda x, y: -np.sum(np.multiply(x, y), -1)),
}


@pytest.mark.parametrize("beta", [4.0, INF])
@pytest.mark.parametrize("name", TWO_POINTS)
def test_kernels_of_two_points_are_curie_weiss_where_they_should(name, beta):
    own = p.DoubleWell() + p.Quadratic(1.0)
    dynamics = pk.InteractingLangevin(own, beta, TWO_POINTS[name])
    plain = pk.InteractingLangevin(WELL, beta, pk.CurieWeiss(1.0))
    x, y = (pk.simulate(d, LAW, n=50, t=0.1, dt=0.01, seed=1).x.values for d in (dynamics, plain))
    np.testing.assert_allclose(x, y, atol=1e-9)
    u, w = (pk.solve(d.law(), LINE, LAW, 0.3) for d in (dynamics, plain))
    np.testing.assert_allclose(u.fields, w.fields, atol=1e-9)
    np.testing.assert_allclose(pk.free_energy(u), pk.free_energy(w), atol=1e-12)


def test_kernels_of_two_points_in_the_plane():
    grid, law = pk.Grid((-2, -2), (2, 2), 20), pk.Gaussian((0.2, 0), 0.3)
    own = p.DoubleWell(2) + p.Quadratic((1.0, 1.0))
    for beta in (4.0, INF):
        w = pk.solve(pk.McKeanVlasov(p.DoubleWell(2), beta, pk.CurieWeiss(1.0)), grid, law, 0.1)
        for kernel in (pk.FeatureInteraction(lambda x: x, -1.0),
                       pk.KernelInteraction(lambda x, y: -(x * y).sum(-1), dim=2)):  # fmt: skip
            u = pk.solve(pk.McKeanVlasov(own, beta, kernel), grid, law, 0.1)
            np.testing.assert_allclose(u.fields, w.fields, atol=1e-8)


def test_states_and_branches_of_two_points():
    equation = pk.McKeanVlasov(WELL + p.Quadratic(1.0), 4.0, TWO_POINTS["features"])
    states = pk.self_consistent_states(equation, LINE)
    plain = pk.self_consistent_states(pk.McKeanVlasov(WELL, 4.0, pk.CurieWeiss(1.0)), LINE)
    np.testing.assert_allclose([s.mean for s in states], [s.mean for s in plain], atol=1e-9)


def test_features_that_are_not_even_are_not_made_so():
    """V and the start are even, the kernel is not: nothing may be symmetrised."""
    f = pk.FeatureInteraction(lambda x: np.concatenate([x + x**2], -1), 2.0)
    u = pk.solve(pk.McKeanVlasov(p.Quadratic(1.0), 2.0, f), LINE, pk.Gaussian(0.0, 0.6), 1.0)
    assert abs(float(u.fields[0] @ LINE.axes[0]) * LINE.cell_volume) > 0.05


@pytest.mark.parametrize("features", [lambda x: x[..., 0], lambda x: x / 0])
def test_wrong_features_are_named(features):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="features must"):
        pk.solve(pk.McKeanVlasov(WELL, INF, pk.FeatureInteraction(features)), LINE, LAW, 0.1)


# --- particles ------------------------------------------------------------------------------------


def test_particles_without_noise_are_the_gradient_flow():
    x0 = pk.quantile_particles(LAW, 100)
    ensemble = pk.simulate(pk.Langevin(WELL, INF), x0, n=100, t=1.0, dt=1e-3)
    flow = pk.quantile_flow(CARRIED, LAW, pk.Grid(-10, 10, 10), 1.0, 100)
    assert np.abs(np.squeeze(ensemble.x.values) - flow.values[0]).max() <= 2e-3
    assert pk.certify(ensemble).passed


def test_an_ensemble_without_noise_follows_the_transported_density():
    ensemble = pk.simulate(pk.Langevin(WELL, INF), LAW, n=2000, t=0.5, dt=5e-3, seed=3)
    u = pk.solve(pk.Langevin(WELL, INF).law(), LINE, LAW, 0.5)
    assert pk.compare(u, ensemble).p_value > 1e-3
    other = pk.solve(pk.FokkerPlanck(p.Quadratic(1.0), INF), LINE, LAW, 0.5)
    assert pk.compare(other, ensemble).p_value < 1e-6


@pytest.mark.parametrize(
    "kernel",
    [pk.CurieWeiss(1.5), pk.FeatureInteraction(lambda x: x, -1.5),
     pk.PairPotential(pk.potentials.Custom(lambda z: 0.75 * z[..., 0] ** 2))],
)  # fmt: skip
@pytest.mark.parametrize("mass", [0.2, 3.0])
def test_quantiles_of_any_mass_attract_by_all_of_it(kernel, mass):
    """Under V = x²/2 the mean falls at the rate 1, or 1 - 1.5 mass where U is no function of x - y;
    the spread at 1 + 1.5 mass, or 1."""
    grid, t = pk.Grid(-4, 4, 200), 0.3
    start = mass * LAW.density(grid)
    equation = pk.McKeanVlasov(pk.potentials.Quadratic(), math.inf, kernel)
    x = pk.quantile_flow(equation, start, grid, [0, t], n=500).values
    product = 1.5 * mass * isinstance(kernel, pk.FeatureInteraction)
    other = 1.5 * mass - product
    assert x[1].mean() == pytest.approx(x[0].mean() * math.exp((product - 1) * t), rel=1e-7)
    assert x[1].std() == pytest.approx(x[0].std() * math.exp(-(1 + other) * t), rel=1e-7)
    rho = pk.solve(equation, grid, start, t, pk.schemes.Quantiles(500)).final
    assert float(grid.integrate(rho.values)) == pytest.approx(mass)
    mean = float(grid.integrate(rho.values * grid.axes[0])) / mass
    assert mean == pytest.approx(x[1].mean(), abs=1e-3)


def test_a_box_without_the_law_has_no_quantiles():
    with pytest.raises(ValueError, match="take a box that holds more of it"):
        pk.quantile_particles(pk.Gaussian(0.0, 1.0), 3, pk.Grid(8, 9, 5))


def test_quantile_particles_integrate_to_second_order():
    errors = [abs((pk.quantile_particles(LAW, n)[:, 0] ** 2).mean() - 0.41) for n in (100, 1000)]
    assert errors[1] < errors[0] / 5
    assert errors[1] < 2e-3


# --- two layers, infinitely wide (mathematics 1.13) -----------------------------------------------

_KNOTS = ((0.0, -3.0), (0.5, 14.5), (1.5, -11.5))  # of the activation, errata 63


def _mean_activation(t):
    """E sigma(t G), and its slope in t."""
    value, slope = -2.5 + 0 * t, 0 * t
    for k, jump in _KNOTS:
        bell = np.exp(-((k / t) ** 2) / 2) / math.sqrt(2 * math.pi)
        value, slope = value + jump * (t * bell - k * ndtr(-k / t)), slope + jump * bell
    return value, slope


class Outputs:
    """q((1 + D) r), q((1 - D) r) for D = 1/2."""

    def __call__(self, x):
        r = np.maximum(x[..., 0], 1e-12)
        return np.stack([_mean_activation(c * r)[0] for c in (1.5, 0.5)], -1)

    def grad(self, x):
        r = np.maximum(x[..., 0], 1e-12)
        return np.stack([c * _mean_activation(c * r)[1] for c in (1.5, 0.5)], -1)[..., None]


class Radius:
    """|w| for w ~ N(0, kappa²/d)."""

    dim = 1

    def __init__(self, d, kappa):
        self.of = chi(d, scale=kappa / math.sqrt(d))

    def pdf(self, x):
        return self.of.pdf(x[..., 0])

    def cdf(self, x):
        return self.of.cdf(x)

    def density(self, grid):
        return np.diff(self.of.cdf(grid.faces[0])) / grid.cell_volume

    def mass(self, grid):
        return float(np.diff(self.of.cdf([grid.lower[0], grid.upper[0]]))[0])

    def sample(self, n, noise):
        raise NotImplementedError


def test_the_risk_of_a_wide_network_falls_as_known():
    outputs, risks = Outputs(), [6.7724, 1.53087, 0.20217]
    V = p.Custom(lambda x: outputs(x) @ [-1.0, 1.0],
                 lambda x: np.einsum("...kd,k->...d", outputs.grad(x), [-1.0, 1.0]))  # fmt: skip
    equation = pk.McKeanVlasov(V, INF, pk.FeatureInteraction(outputs))
    box, law = pk.Grid(0, 4, 800), Radius(320, 0.4)
    flow = pk.quantile_flow(equation, law, box, [0.0, 0.1, 0.4], 400)
    a, b = outputs(flow.values[..., None]).mean(1).T
    np.testing.assert_allclose(((1 - a) ** 2 + (1 + b) ** 2) / 2, risks, atol=5e-5)
    u = pk.solve(equation, box, law, [0.0, 0.1, 0.4])
    np.testing.assert_allclose(1 + pk.free_energy(u).values, risks, atol=1e-3)
    assert pk.certify(u).passed
