"""Initial laws: density, mass and samples are those of one law."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import ndtr

import pdekit as pk
from pdekit.laws import Gaussian, Law, Mixture, Uniform

# law and the cdf of each coordinate (None where the law is not a product)
LAWS = [
    (Gaussian(-1.0, 0.1), [stats.norm(-1, 0.1).cdf]),
    (Gaussian(0.3, 1.7), [stats.norm(0.3, 1.7).cdf]),
    (Uniform(-0.7, 1.3), [stats.uniform(-0.7, 2.0).cdf]),
    (Gaussian((0.5, -0.2), (0.3, 0.6)), [stats.norm(0.5, 0.3).cdf, stats.norm(-0.2, 0.6).cdf]),
    (Uniform((-1, 0), (1, 0.5)), [stats.uniform(-1, 2).cdf, stats.uniform(0, 0.5).cdf]),
    (
        Mixture((1, 3), (Gaussian(-1, 0.2), Uniform(0, 1))),
        [lambda x: 0.25 * stats.norm(-1, 0.2).cdf(x) + 0.75 * stats.uniform(0, 1).cdf(x)],
    ),
    (
        Mixture((1, 1), (Gaussian((-1, 0), 0.2), Gaussian((1, 0.3), (0.2, 0.4)))),
        [
            lambda x: (stats.norm(-1, 0.2).cdf(x) + stats.norm(1, 0.2).cdf(x)) / 2,
            lambda y: (stats.norm(0, 0.2).cdf(y) + stats.norm(0.3, 0.4).cdf(y)) / 2,
        ],
    ),
]
CASES = pytest.mark.parametrize(("law", "cdfs"), LAWS, ids=[f"law{k}" for k in range(len(LAWS))])


class Noise:
    """Independent numbers from numpy, as torch tensors."""

    def __init__(self, seed, dtype=torch.float64):
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def normal(self, n, d):
        return torch.from_numpy(self.rng.normal(size=(n, d))).to(self.dtype)

    def uniform(self, n, d):
        return torch.from_numpy(self.rng.random((n, d))).to(self.dtype)


class RepeatedNoise(Noise):
    """What a counter-based noise may do: the same numbers at every call, uniform like normal.

    The last column of a draw is the same whatever its width, so two draws share numbers.
    """

    def normal(self, n, d):
        return torch.from_numpy(np.random.default_rng(5).normal(size=(d, n))[::-1].T.copy())

    def uniform(self, n, d):
        return torch.special.ndtr(self.normal(n, d))


def box(law, cells):
    return pk.Grid((-3.0,) * law.dim, (2.5,) * law.dim, (cells,) * law.dim)


@CASES
@pytest.mark.parametrize("cells", [5, 12, 150])
def test_density_integrates_to_the_mass(law, cdfs, cells):
    grid = box(law, cells)
    density = law.density(grid)
    assert density.shape == grid.shape and (density >= 0).all()
    assert grid.integrate(density) == pytest.approx(law.mass(grid), rel=1.1e-9)


@CASES
def test_mass_is_that_of_the_cdf(law, cdfs):
    grid = box(law, 8)
    # the mixture in the plane is no product, but has all but 1e-20 of its mass inside
    exact = np.prod([cdf(2.5) - cdf(-3.0) for cdf in cdfs])
    assert law.mass(grid) == pytest.approx(exact, rel=1e-12)


@CASES
def test_density_is_the_pdf_or_its_cell_average(law, cdfs):
    coarse = box(law, 10)
    density = law.density(coarse)
    # independent quadrature: 400 points a cell and axis; jumps of uniform laws cost 1/400 of a cell
    fine = coarse.refined(400 if law.dim == 1 else 60)
    split = itertools.chain.from_iterable((10, n // 10) for n in fine.shape)
    blocks = law.pdf(fine.centres).reshape(tuple(split))
    average = blocks.mean(axis=tuple(range(1, 2 * law.dim, 2)))
    point = law.pdf(coarse.centres)
    smooth = isinstance(law, Gaussian)
    tolerance = 1e-4 if smooth else 0.03
    gap = np.minimum(np.abs(density - average), np.abs(density - point) if smooth else np.inf)
    assert gap.max() <= tolerance * average.max()


def test_resolved_means_point_values():
    law, grid = Gaussian(-1.0, 0.1), pk.Grid(-3, 3, 1000)
    np.testing.assert_allclose(
        law.density(grid), stats.norm(-1, 0.1).pdf(grid.axes[0]), rtol=1e-12, atol=1e-300
    )


def test_cell_averages_where_the_law_is_narrow_or_cut_by_the_wall():
    for law, grid in (
        (Gaussian(0.1, 1e-3), pk.Grid(-3, 3, 60)),
        (Gaussian(2.0, 1.0), pk.Grid(0, 3, 30)),
    ):
        mean, std = law.mean[0], law.std[0]
        exact = np.diff(stats.norm(mean, std).cdf(grid.faces[0])) / grid.spacing[0]
        np.testing.assert_allclose(law.density(grid), exact, rtol=1e-12, atol=1e-15)


def test_one_axis_may_be_resolved_and_the_other_not():
    grid = pk.Grid((-3, -3), (3, 3), (60, 60))
    density = Gaussian((0, 0), (0.5, 1e-3)).density(grid)
    line = pk.Grid(-3, 3, 60)
    expected = np.outer(Gaussian(0, 0.5).density(line), Gaussian(0, 1e-3).density(line))
    np.testing.assert_allclose(density, expected, rtol=1e-15)


@pytest.mark.parametrize("side", [1, -1])
def test_no_cancellation_in_the_tails(side):
    # cells at 10 to 30 standard deviations on either side: 1 - Φ is 0 in floating point there
    grid = pk.Grid(10, 30, 5) if side > 0 else pk.Grid(-30, -10, 5)
    got = Gaussian(0, 1).density(grid)[::side] * 4
    faces = np.linspace(10, 30, 6)
    exact = stats.norm.sf(faces[:-1]) - stats.norm.sf(faces[1:])
    # the tail at z has the condition number z^2: two ways to it differ by 900 roundings
    np.testing.assert_allclose(got, exact, rtol=5e-13)
    assert Gaussian(0, 1).mass(grid) == pytest.approx(stats.norm.sf(10), rel=1e-13)


def test_uniform_shares_the_cells_it_cuts():
    np.testing.assert_allclose(
        Uniform(0.25, 1.75).density(pk.Grid(-1, 3, 8)), np.array([0, 0, 0.5, 1, 1, 0.5, 0, 0]) / 1.5
    )
    assert Uniform(0, 4).mass(pk.Grid(-1, 1, 10)) == 0.25


@CASES
def test_pdf_in_numpy_and_torch(law, cdfs):
    x = np.random.default_rng(0).uniform(-2, 2, (3, 40, law.dim))
    np.testing.assert_allclose(law.pdf(torch.from_numpy(x)).numpy(), law.pdf(x), rtol=1e-13)
    assert law.pdf(x).shape == (3, 40)
    with pytest.raises(ValueError, match="takes points of shape"):
        law.pdf(np.zeros((5, law.dim + 1)))


@CASES
@pytest.mark.parametrize("noise", [Noise(11), RepeatedNoise(0)], ids=["fresh", "repeated"])
def test_samples_follow_the_law(law, cdfs, noise):
    # false alarm: 1e-4 a coordinate, 18 coordinates in all, with fixed seeds
    x = law.sample(20_000, noise)
    assert x.shape == (20_000, law.dim) and x.dtype == torch.float64
    for k, cdf in enumerate(cdfs):
        assert stats.kstest(x[:, k].numpy(), cdf).pvalue > 1e-4


def test_mixture_in_the_plane_keeps_its_laws_apart():
    law = LAWS[-1][0]
    x = law.sample(40_000, Noise(3)).numpy()
    # each half by the sign of x (the laws are ten deviations apart); false alarm 1e-4 a half
    for sign, cdf in ((-1, stats.norm(0, 0.2).cdf), (1, stats.norm(0.3, 0.4).cdf)):
        assert stats.kstest(x[sign * x[:, 0] > 0, 1], cdf).pvalue > 1e-4


def test_samples_have_the_type_of_the_noise():
    for law, _ in LAWS:
        assert law.sample(10, Noise(0, torch.float32)).dtype == torch.float32


@CASES
def test_value_semantics(law, cdfs):
    assert isinstance(law, Law) and hash(law) == hash(law) and law == law


def test_equal_by_meaning():
    assert Gaussian(0, 1) == Gaussian((0.0,), (1.0,)) and Gaussian((0, 0), 1) == Gaussian(
        (0, 0), (1, 1)
    )
    assert Gaussian(0, (1, 2)) == Gaussian((0, 0), (1, 2)) != Gaussian(0, 1)
    assert Mixture((1, 1), (Gaussian(), Uniform())) == Mixture((2, 2), [Gaussian(), Uniform()])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(0, 0), r"std must be positive, got \(0.0,\)"),
        (lambda: Gaussian((0, 0), (1, -1)), "std must be positive"),
        (lambda: Gaussian(np.nan, 1), "finite"),
        (lambda: Gaussian((0, 0), (1, 1, 1)), "one per coordinate"),
        (lambda: Uniform(1, 1), "lower < upper"),
        (lambda: Uniform((0, 1), (1, 0)), "lower < upper"),
        (lambda: Mixture((1,), (Gaussian(), Gaussian())), "one weight per law, got 1 for 2"),
        (lambda: Mixture((1, 0), (Gaussian(), Gaussian())), "weights must be positive"),
        (lambda: Mixture((1, 1), (Gaussian(), Gaussian((0, 0)))), r"one dimension, got \[1, 2\]"),
    ],
)
def test_bad_laws_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "law", [Gaussian(0, 1), Uniform(0, 1), Gaussian((0, 0)), Uniform((0, 0), 1)]
)
def test_a_grid_of_another_dimension_says_what_to_write(law):
    grid = pk.Grid(0, 1, 8) if law.dim == 2 else pk.Grid((0, 0), (1, 1), 8)
    write = r"mean=\(0" if isinstance(law, Gaussian) else r"lower=\(0"
    write = write if grid.dim == 2 else write.replace(r"\(0", "0.0")
    for function in (law.density, law.mass):
        with pytest.raises(
            ValueError, match=f"has {law.dim} coordinates, the grid {grid.dim}; .*{write}"
        ):
            function(grid)


def test_mass_outside_counts_as_missing():
    grid = pk.Grid(-1, 1, 100)
    assert Gaussian(0, 1).mass(grid) == pytest.approx(ndtr(1) - ndtr(-1), rel=1e-14)
    assert grid.integrate(Gaussian(0, 1).density(grid)) == pytest.approx(
        0.6826894921370859, rel=1e-9
    )
