"""Spherical spin glasses: derivatives, covariance, exact counts, what Newton and descents find."""

import itertools
from math import comb, factorial, log, prod, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import erf

import pdekit as pk
from pdekit.landscapes import counts
from pdekit.landscapes.coupling_kernels import fill_table

SpinGlass = pk.landscapes.SphericalSpinGlass


# --- the Hamiltonian ------------------------------------------------------------------------------


def by_all_orders(glass, x):
    """H of one point with one coupling for each multiset of spins, in plain Python."""
    couplings = glass._couplings[0].numpy()
    total = float(glass.h[0] @ x)
    sets = itertools.combinations_with_replacement(range(glass.n), glass.p)
    rank = {
        alpha: sum(comb(a + k, k + 1) for k, a in enumerate(alpha)) for alpha in sets
    }  # as combinatorial numbers
    assert sorted(rank.values()) == list(range(len(rank)))
    for alpha, place in rank.items():
        orders = factorial(glass.p) / prod(factorial(alpha.count(i)) for i in {*alpha})
        total += sqrt(orders) * couplings[place] * prod(float(x[i]) for i in alpha)
    return total


@pytest.mark.parametrize("p", [2, 3, 4, 5])
@pytest.mark.parametrize("n", [2, 5])
def test_energy_gradient_and_hessian_are_those_of_the_sum(p, n):
    glass = SpinGlass(p, n, field=0.7, seed=11)
    x = glass.starts(3).requires_grad_()
    energy = glass.energy(x)
    assert [by_all_orders(glass, y) for y in x.detach()] == pytest.approx(energy.tolist())
    (slope,) = torch.autograd.grad(energy.sum(), x)
    np.testing.assert_allclose(glass.grad(x.detach()), slope, atol=1e-12)
    for y in x.detach():
        full = torch.autograd.functional.hessian(lambda z: glass.energy(z[None])[0], y)
        np.testing.assert_allclose(glass.hessian(y), full, atol=1e-11)


@pytest.mark.parametrize("p", [2, 3, 4])
def test_the_covariance_is_n_f_of_the_overlap(p):
    """N (q^p + v² q), within 4.5 standard errors of 4,000 disorders."""
    glass, v, size = SpinGlass(p, 3, field=0.6, seed=range(4000)), 0.6, 4000
    x = SpinGlass(p, 3, seed=5).starts(2)
    energy = glass.energy(x.expand(size, 2, 3))
    q = float(x[0] @ x[1]) / 3
    products = torch.stack([energy[:, 0] ** 2, energy[:, 0] * energy[:, 1]], 1)
    error = products.std(0) / sqrt(size)
    expected = torch.tensor([3 * (1 + v * v), 3 * (q**p + v * v * q)])
    assert ((products.mean(0) - expected).abs() < 4.5 * error).all()


def test_several_disorders_are_those_one_by_one():
    glass = SpinGlass(3, 6, field=0.5, seed=[4, 9])
    x = glass.starts(5)
    for k, one in enumerate(glass.parted()):
        assert torch.equal(one.starts(5), x[k])
        np.testing.assert_allclose(one.energy(x[k]), glass.energy(x)[k], atol=1e-13)
        np.testing.assert_allclose(one.curvatures(x[k]), glass.curvatures(x)[k], atol=1e-10)
    assert torch.equal(glass.starts(5)[:, :2], glass.starts(2))


def test_points_of_either_precision_are_taken():
    glass = SpinGlass(3, 5, field=0.4, seed=2)
    x = glass.starts(3).float()
    np.testing.assert_array_equal(glass.curvatures(x), glass.curvatures(x.double()))
    np.testing.assert_array_equal(glass.tangent_hessian(x), glass.tangent_hessian(x.double()))


def test_curvatures_are_those_along_great_circles():
    glass = SpinGlass(3, 4, field=0.3, seed=2)
    x = glass.starts(1)
    values, vectors = torch.linalg.eigh(glass.tangent_hessian(x)[0])
    h = 1e-3
    for k in range(4):
        u = vectors[:, k]
        if abs(float(u @ x[0])) > 1e-6:  # along σ itself
            continue
        angle = torch.tensor([-h, 0.0, h], dtype=torch.float64)[:, None] / 2
        path = x * angle.cos() + 2 * u * angle.sin()
        a, b, c = glass.energy(path).tolist()
        assert (a - 2 * b + c) / h**2 == pytest.approx(float(values[k]), abs=1e-5)


def test_the_kernel_is_its_plain_form():
    """∂^taken of σ^(m + taken), by counting."""
    rng = np.random.default_rng(0)
    n, p = 4, 4
    couplings = rng.standard_normal(comb(n + p - 1, p))
    binomials = np.array([[comb(a, k) for k in range(p + 1)] for a in range(n + p)])
    for order in (1, 2):
        sets = list(itertools.combinations_with_replacement(range(n), order))
        rest = list(itertools.combinations_with_replacement(range(n), p - order))
        out = np.empty((len(sets), len(rest)))
        fill_table(out, np.array(sets), np.array(rest), couplings, binomials)
        for t, m in itertools.product(range(len(sets)), range(len(rest))):
            alpha = sorted(sets[t] + rest[m])
            power, left = 1, list(alpha)
            for spin in sets[t]:
                power *= left.count(spin)
                left.remove(spin)
            orders = factorial(p) / prod(factorial(alpha.count(i)) for i in {*alpha})
            place = sum(comb(a + k, k + 1) for k, a in enumerate(alpha))
            assert out[t, m] == pytest.approx(power * sqrt(orders) * couplings[place])


# --- exact answers --------------------------------------------------------------------------------


def test_energies_of_ground_state_and_threshold():
    """Twelve digits, by mpmath at thirty."""
    assert pk.landscapes.ground_state(3) == pytest.approx(1.65699836352747325, abs=1e-13)
    assert pk.landscapes.ground_state(3, index=1) == pytest.approx(1.65287319810304302, abs=1e-13)
    assert pk.landscapes.threshold(3) == pytest.approx(1.63299316185545207, abs=1e-14)
    assert pk.landscapes.complexity(0.0, 3) == pytest.approx(log(2) / 2)
    ladder = [pk.landscapes.ground_state(4, k) for k in range(6)]
    assert ladder == sorted(ladder, reverse=True) and ladder[-1] > pk.landscapes.threshold(4)


@pytest.mark.parametrize("p", [3, 5])
def test_complexity_close_to_the_threshold(p):
    """I₁ = (2/E²) ∫ √(z² - E²) dz from E to -u ~ (4 √2/3) (δ/E)^(3/2) at u = -E - δ."""
    edge = pk.landscapes.threshold(p)
    for delta in (1e-4, 1e-9):
        u = -edge - delta
        plain = log(p - 1) / 2 - (p - 2) / (4 * (p - 1)) * u**2
        rate = plain - float(pk.landscapes.complexity(u, p, 0))
        expected = 4 * sqrt(2) / 3 * ((-u - edge) / edge) ** 1.5
        assert rate == pytest.approx(expected, rel=1e-3, abs=1e-15)
    with np.errstate(over="ignore"):
        assert pk.landscapes.complexity(-1e200, p, 0) == -np.inf


@pytest.mark.parametrize("p", [3, 4, 5])
def test_complexity_is_the_growth_of_the_counts(p):
    """log E crt(N) - log E crt(N/2) over N/2, without the power of N."""
    n = 400
    grown = np.diff(
        [pk.landscapes.expected_critical_points(k, p, logarithm=True) for k in (n // 2, n)]
    )[0]
    rate = (grown - log(2) / 2) / (n / 2)
    assert rate == pytest.approx(float(pk.landscapes.complexity(0.0, p)), abs=2e-5)


@pytest.mark.parametrize("n", [2, 3, 8, 33, 200])
def test_two_spins_have_a_pair_for_each_axis(n):
    assert pk.landscapes.expected_critical_points(n, 2) == pytest.approx(2 * n, rel=1e-11)


@pytest.mark.parametrize("p", [2, 3, 5, 10**6, 10**12])
@pytest.mark.parametrize("v", [0.0, 0.4, 3.0, 1e3])
def test_on_a_circle_it_is_rices_count(p, v):
    """2 √((f' + 3 f'')/f') zeros of the slope of a stationary Gaussian process on the circle."""
    first, second = p + v * v, p * (p - 1)
    rice = 2 * sqrt((first + 3 * second) / first)
    assert pk.landscapes.expected_critical_points(2, p, v) == pytest.approx(rice, rel=1e-11)


@pytest.mark.parametrize(
    ("n", "v", "count"),
    [(6, 0.0, 50.873137), (10, 0.0, 286.915880), (6, sqrt(3), 12.0), (100, 1e4, 2.0)],
)
def test_counts_that_are_known(n, v, count):
    assert pk.landscapes.expected_critical_points(n, 3, v) == pytest.approx(count, abs=6e-7)


@pytest.mark.parametrize("v", [1e3, 1e5, 1e7, 1e13, 1e200])
def test_a_field_however_strong_leaves_two(v):
    """1e200² overflows; places of 1e7 have squares that differ by more than one."""
    assert pk.landscapes.expected_critical_points(10, 3, v) == pytest.approx(2, abs=1e-12)
    assert pk.landscapes.asymptotic_critical_points(10, 3, v) == 2


def test_the_density_is_that_of_small_matrices():
    """N = 1 and N = 2 in closed form; mass N far beyond where e^(-y²/2) underflows."""
    y = np.linspace(0, 6, 13)
    one = np.exp(-(y**2) / 2) / sqrt(2 * np.pi)
    np.testing.assert_allclose(np.exp(counts.log_goe_density(1, y)), one, rtol=1e-12)
    gauss = np.exp(-(y**2) / 2)
    raw = 2 * (gauss**2 + gauss * y * sqrt(np.pi / 2) * erf(y / sqrt(2)))
    mass = 2 * quad(lambda x: np.exp(-x * x) + x * np.exp(-x * x / 2) * sqrt(np.pi / 2)
                    * erf(x / sqrt(2)), 0, 40)[0] * 2  # fmt: skip
    np.testing.assert_allclose(np.exp(counts.log_goe_density(2, y)), 2 * raw / mass, rtol=1e-10)
    nodes, weights = counts._quadrature(1000, 1.0)
    total = 2 * (np.exp(counts.log_goe_density(1000, nodes)) * weights).sum()
    assert total == pytest.approx(1000, rel=1e-11)


@pytest.mark.parametrize("v", [0.0, 1.0, 1.7, 1.732, 1.74, 3.0])
def test_asymptotics_are_approached(v):
    ratio = [
        pk.landscapes.asymptotic_critical_points(n, 3, v)
        / pk.landscapes.expected_critical_points(n, 3, v)
        for n in (250, 1000)
    ]
    assert abs(ratio[1] - 1) < 0.04
    if abs(v - sqrt(3)) > 0.1:  # elsewhere the two pass from one formula to the other
        assert abs(ratio[1] - 1) <= abs(ratio[0] - 1) + 1e-9


def strength(B):
    """v of B, p = 3."""
    return sqrt((3 - 9 * B) / (1 + B))


def test_row_51_the_square_root_of_the_counts_is_of_one_minus_b():
    n, B = 400, 1 / 3
    printed = 4 * sqrt(n) * sqrt((1 + B) / (np.pi * B)) * ((1 + B) / (1 - B)) ** (n / 2)
    exact = pk.landscapes.expected_critical_points(n, 3)
    assert exact / printed == pytest.approx(0.7053, abs=5e-5)
    assert exact / pk.landscapes.asymptotic_critical_points(n, 3) == pytest.approx(0.9975, abs=5e-5)


def test_row_52_two_points_are_left_only_far_below_one_over_n():
    exact = pk.landscapes.expected_critical_points(200, 3, strength(-10 / 200))
    assert exact == pytest.approx(8.87, abs=5e-3)


def test_row_56_the_hessian_is_shifted_by_p_times_the_energy_per_spin():
    """The mean curvature against u over 400 disorders: slope -p, within 4.5 standard errors."""
    glass = SpinGlass(3, 8, seed=range(400))
    x = glass.starts(1)
    u, mean = glass.energy(x)[:, 0] / 8, glass.curvatures(x).mean(-1)[:, 0]
    slope = (u @ mean) / (u @ u)
    error = (mean - slope * u).std() / (u.norm())
    assert abs(float(slope) + 3) < 4.5 * float(error) < 0.5


@pytest.mark.parametrize("p", [3, 4])
def test_opposites_are_critical_where_h_is_odd_or_even(p):
    """Found by themselves: with a field of even p they are not."""
    for v in (0.0, 0.8):
        glass = SpinGlass(p, 3, v, seed=3)
        points = torch.from_numpy(pk.landscapes.critical_points(glass, starts=100).points)
        slope = glass.project(-points, glass.grad(-points)).norm(dim=-1)
        assert bool((slope < 1e-8).all()) == (v == 0 or p == 3)


def test_points_that_few_starts_lead_to_are_found():
    """A minimum and a maximum that one start in 300 leads to: being met three times is too few."""
    found = pk.landscapes.critical_points(SpinGlass(3, 6, field=1.0, seed=9), starts=300)
    assert len(found.points) == 46 and found.of_index(0) == 5


def test_row_57_field_and_spins_hardly_align_at_random():
    """|h·σ|/N: v/√N is typical (root mean square), |h|/√N ~ v the bound."""
    glass = SpinGlass(3, 400, field=1.0, seed=6)
    x = glass.starts(500)
    along = (x @ glass.h[0]).square().mean().sqrt() / 400
    assert float(along) == pytest.approx(1 / sqrt(400), rel=0.15)
    best = glass.retract(glass.h)
    assert float(best @ glass.h.T) / 400 == pytest.approx(float(glass.h.norm()) / sqrt(400))
    assert float(glass.h.norm()) / sqrt(400) == pytest.approx(1.0, abs=0.15)


def test_the_examples_of_the_page_run():
    page = (Path(__file__).parents[1] / "docs" / "landscapes.md").read_text(encoding="utf-8")
    space: dict = {}
    for part in page.split("```python\n")[1:]:
        exec(part.split("```")[0], space)
    assert space["counts"] == [5, 9, 11, 11, 9, 5] and space["found"].morse_sum == 0
    assert space["found"].bound == 126 and space["mean"] == pytest.approx(27.12, abs=5e-3)
    assert space["per_spin"].mean() == pytest.approx(-1.49, abs=5e-3)
    assert space["per_spin"].min() == pytest.approx(-1.59, abs=5e-3)
    assert space["levels"] == pytest.approx((-1.633, -1.657), abs=5e-4)
    assert (space["lowest"] > 0).all()


def test_counts_that_overflow_have_logarithms():
    with pytest.raises(OverflowError, match="logarithm=True"):
        pk.landscapes.expected_critical_points(1100, 5)
    assert pk.landscapes.expected_critical_points(1100, 5, logarithm=True) == pytest.approx(
        767, abs=1
    )

    with pytest.raises(OverflowError, match="logarithm=True"):
        pk.landscapes.asymptotic_critical_points(5000, 3)


def test_by_index_on_a_circle_and_in_sum():
    """On a circle maxima and minima alternate; in all, Morse's sum and Kac and Rice's."""
    circle = pk.landscapes.expected_by_index(2, 3, 0.5, samples=200)
    exact = pk.landscapes.expected_critical_points(2, 3, 0.5)
    np.testing.assert_allclose(circle.mean, [exact / 2] * 2, rtol=1e-10)
    axes = pk.landscapes.expected_by_index(5, 2, samples=2000)  # a quadratic form's
    assert (np.abs(axes.mean - 2) < 4 * axes.error).all()
    for n in (5, 8):
        found = pk.landscapes.expected_by_index(n, 3, 0.5, samples=2000)
        signs = (-1.0) ** np.arange(n)
        error = sqrt(float((found.error**2).sum()))
        assert abs(found.mean @ signs - (1 + signs[-1])) < 4 * error + 1e-9
        exact = pk.landscapes.expected_critical_points(n, 3, 0.5)
        assert found.mean.sum() == pytest.approx(exact, rel=1e-9)


def test_few_effective_samples_are_said():
    with pytest.warns(pk.AccuracyWarning, match="take more samples"):
        pk.landscapes.expected_by_index(30, 4, samples=60)


# --- looked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "n", "v"), [(3, 5, 0.0), (3, 6, 0.8), (4, 4, 0.0), (2, 6, 0.0)])
def test_all_critical_points_of_small_systems(p, n, v):
    glass = SpinGlass(p, n, field=v, seed=3)
    found = pk.landscapes.critical_points(glass, starts=300)
    x = torch.from_numpy(found.points)
    assert float(glass.project(x, glass.grad(x)).norm(dim=1).max()) < 1e-9
    assert found.morse_sum == 1 + (-1) ** (n - 1)
    assert len(found.points) <= found.bound
    assert (np.diff(found.energy) >= 0).all() and found.index[0] == 0
    if p == 2:
        assert len(found.points) == 2 * n == found.bound
    if v == 0:
        opposite = np.abs(found.points[:, None] + found.points).sum(-1).argmin(1)
        sign = (-1) ** p
        np.testing.assert_allclose(found.energy[opposite], sign * found.energy, atol=1e-9)
        turned = found.index if p % 2 == 0 else n - 1 - found.index
        assert (found.index[opposite] == turned).all()


def test_the_mean_count_is_the_expected_one():
    """N = 3 over 30 disorders, within 3.3 standard errors; minima by index too."""
    every = [
        pk.landscapes.critical_points(SpinGlass(3, 3, 0.5, seed=s), starts=40)
        for s in range(1000, 1030)
    ]
    for sizes, exact in (
        ([len(f.points) for f in every], pk.landscapes.expected_critical_points(3, 3, 0.5)),
        ([f.of_index(0) for f in every], pk.landscapes.expected_by_index(3, 3, 0.5).mean[0]),
    ):
        assert abs(np.mean(sizes) - exact) < 3.3 * np.std(sizes, ddof=1) / sqrt(30)


def test_points_that_are_rarely_met_are_not_called_all():
    with pytest.raises(pk.ConvergenceError, match="use more starts"):
        pk.landscapes.critical_points(SpinGlass(3, 6, seed=0), starts=5, rounds=2)


@pytest.mark.parametrize("polish", [True, False])
def test_descents_end_in_minima(polish):
    glass = SpinGlass(3, 20, field=0.2, seed=[1, 2])
    x = glass.starts(6)
    ends = pk.landscapes.descend(glass, x, polish=polish)
    assert float(ends.gradient.max()) <= 1e-4
    assert (ends.energy < glass.energy(x)).all()
    np.testing.assert_allclose(ends.points.norm(dim=-1), sqrt(20), rtol=1e-12)
    assert float(glass.curvatures(ends.points).min()) > 0


def test_a_strong_field_leaves_one_minimum():
    glass = SpinGlass(3, 30, field=4.0, seed=1)
    ends = pk.landscapes.descend(glass, glass.starts(10), rate=0.05)
    assert float((ends.points - ends.points[0]).norm(dim=1).max()) < 1e-4


def test_a_field_that_is_removed_is_gone_at_the_end():
    glass = SpinGlass(3, 12, field=2.0, seed=1)
    ends = pk.landscapes.descend(glass, glass.starts(4), field=lambda k: max(0.0, 1 - k / 100))
    slope = glass.project(ends.points, glass.grad(ends.points, field=0.0))
    assert float(slope.norm(dim=1).max()) <= 1e-4 and int(ends.steps.min()) > 100


def removed(field, steps=100):
    glass = SpinGlass(3, 6, field=1.0)
    return pk.landscapes.descend(glass, glass.starts(2), field=field, steps=steps)


def test_a_field_that_never_rests_has_no_end():
    with pytest.raises(pk.ConvergenceError, match="after 100 steps the field still changes"):
        removed(lambda k: 1 / (1 + k))


def test_no_starts_have_no_ends():
    for front in ((), (2,)):
        glass = SpinGlass(3, 6, seed=[1, 2] if front else 1)
        ends = pk.landscapes.descend(glass, torch.zeros(*front, 0, 6))
        assert ends.points.shape == (*front, 0, 6) and ends.energy.shape == (*front, 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SpinGlass(6, 5), "p must be 2, 3, 4 or 5"),
        (lambda: SpinGlass(3, 1), "n must be"),
        (lambda: SpinGlass(3, 5, field=-1.0), "field must be >= 0"),
        (lambda: SpinGlass(3, 5, seed=-1), "seed"),
        (lambda: SpinGlass(3, 5, seed=[]), "at least one"),
        (lambda: SpinGlass(3, 5, dtype=torch.int64), "dtype must be"),
        (lambda: SpinGlass(5, 400), "take fewer spins"),
        (lambda: SpinGlass(3, 5).energy(torch.zeros(4)), r"shape \(..., 5\)"),
        (lambda: SpinGlass(3, 5, seed=[1, 2]).energy(torch.zeros(3, 5)), r"shape \(2, ..., 5\)"),
        (lambda: SpinGlass(3, 5).energy(np.ones(5)), "must be a torch tensor"),
        (lambda: SpinGlass(3, 5).energy(torch.ones(5) * 1j), "must be real"),
        (lambda: SpinGlass(3, 5).grad(torch.ones(5), np.nan), "field must be a finite number"),
        (lambda: pk.landscapes.expected_by_index(4, 1), "p must be"),
        (lambda: pk.landscapes.descend(SpinGlass(3, 4), np.ones((2, 4))), "a torch tensor"),
        (lambda: removed(0.5), "field must map the number of a step"),
        (lambda: removed(lambda k: np.nan), r"field\(0\) must be a finite number"),
        (lambda: pk.landscapes.critical_points(SpinGlass(3, 4, seed=[1])), "one disorder"),
        (lambda: pk.landscapes.complexity(np.nan, 3), "energies per spin"),
        (lambda: pk.landscapes.expected_critical_points(1, 3), "n must be"),
        (lambda: pk.landscapes.expected_critical_points(5, 3, -1.0), "field"),
        (lambda: pk.landscapes.descend(SpinGlass(3, 4), torch.zeros(2, 4)), "not 0"),
    ],
)
def test_bad_input_is_refused(make, said):
    with pytest.raises((ValueError, TypeError), match=said):
        make()


def test_a_descent_that_does_not_arrive_raises():
    glass = SpinGlass(3, 10, seed=1)
    with pytest.raises(pk.ConvergenceError, match="allow more steps"):
        pk.landscapes.descend(glass, glass.starts(2), steps=60, polish=False, tolerance=1e-9)


def test_a_field_that_falls_in_stairs_is_gone_at_the_end() -> None:
    """Points at rest on a stair are not the end of a descent."""
    glass = pk.landscapes.SphericalSpinGlass(3, 20, 3.0, seed=1)
    stairs = lambda k: max(0.0, 1 - (k // 200) / 10)  # noqa: E731
    ends = pk.landscapes.descend(glass, glass.starts(3), field=stairs)
    slope = glass.project(ends.points, glass.grad(ends.points, 0.0)).norm(dim=-1)
    assert ends.steps.min() >= 2000 and slope.max() < 1e-4


def test_a_count_beyond_floats_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(counts, "_quadrature", None)
    with pytest.raises(OverflowError, match=r"e\^1738.*logarithm=True"):
        counts.expected_critical_points(5000, 3)
