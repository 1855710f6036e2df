"""Every compiled kernel equals its plain form over random data."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import solve_banded

import pdekit as pk
from pdekit.pde.discrete.generators import bernoulli_pair, scharfetter_gummel
from pdekit.pde.discrete.monotone import hamiltonian_fused, hamiltonian_plain
from pdekit.pde.discrete.propagator import propagate
from pdekit.pde.discrete.strang import EULER, RADAU, Lines
from pdekit.pde.kernels.convolution import (
    log_convolve,
    margin,
    node_spacing,
    wide,
)
from pdekit.pde.kernels.envelope import inf_convolve_columns, inf_convolve_rows
from pdekit.pde.kernels.rational import exponential_poles
from pdekit.pde.kernels.tridiagonal import clip
from pdekit.pde.references import envelope_plain, log_convolve_plain

seeds = st.integers(0, 2**32 - 1)
periodic = st.tuples(st.booleans(), st.booleans())


@given(seeds, periodic, st.sampled_from([(37,), (9, 14)]))
@settings(max_examples=200)
def test_godunov_hamiltonian(seed: int, walls: tuple[bool, bool], cells: tuple[int, ...]) -> None:
    dim = len(cells)
    grid = pk.Grid((0.0,) * dim, (1.0, 2.0)[:dim], cells, walls[:dim])
    u = np.random.default_rng(seed).normal(size=grid.shape)
    (fused, rate), (plain, plain_rate) = hamiltonian_fused(u, grid), hamiltonian_plain(u, grid)
    assert_allclose(fused, plain, rtol=1e-13, atol=1e-13)
    assert rate == pytest.approx(plain_rate, rel=1e-13)


@given(seeds, st.floats(0.01, 3), st.booleans())
@settings.get_profile("often")
def test_envelope(seed: int, t: float, wraps: bool) -> None:
    f = np.random.default_rng(seed).normal(size=(3, 41))
    out, columns = np.empty(f.shape), f.T.copy()
    inf_convolve_rows(f, 0.1, t, wraps, False, out)
    inf_convolve_columns(columns, 0.1, t, wraps, False)
    np.testing.assert_array_equal(columns.T, out)
    for line, found in zip(f, out, strict=True):
        images = np.tile(line, 3) if wraps else line
        plain, _ = envelope_plain(images, 0.1, t)
        assert_allclose(found, plain[41:82] if wraps else plain, atol=1e-12)


@given(seeds, st.sampled_from([5.0, 60.0, 1e4]), st.sampled_from([1, 3]))
@settings.get_profile("often")
def test_log_convolution(seed: int, beta: float, stride: int) -> None:
    """Stored weights and the sum relative to its largest term: beta decides which is used."""
    noise = np.random.default_rng(seed)
    pad, n = 45, 60
    x = np.linspace(-3, 3, n + 2 * pad)
    padded = x**2 + noise.uniform(0, 2) * np.cos(7 * x + noise.uniform(0, 6)) + np.zeros((2, 1))
    a = 0.02
    out = np.empty((2, n // stride))
    log_convolve(padded, a, beta, pad + stride // 2, stride, out)
    plain = log_convolve_plain(padded, a, beta, pad + stride // 2, stride)
    # the padding is wider than any window, as the schemes see to
    assert_allclose(out, plain[:, : out.shape[1]], rtol=1e-9, atol=1e-9 / beta)


@given(
    seeds, st.integers(1, 40), st.integers(64, 300), st.floats(0, 4), st.sampled_from([0.0, 2.0]),
)  # fmt: skip
@settings(max_examples=200)
def test_wide_gaussians_on_few_nodes(
    seed: int, n: int, deviation: int, tilt: float, roughness: float
) -> None:
    """Weights exp(tilt x), rough besides, whose largest terms are ``tilt`` deviations away.

    The kernel reaches nine deviations beyond those, as the schemes see to; to 1e-12 of the sum.
    """
    rate, pad, spacing = 0.5 / deviation**2, round((9 + tilt) * deviation), node_spacing(deviation)
    edge = margin(pad, spacing)
    x = (np.arange(n + 2 * edge) - edge) / deviation
    w = np.exp(tilt * x + roughness * np.random.default_rng(seed).normal(size=x.size))
    kernel = np.exp(-rate * np.arange(-pad, pad + 1) ** 2)
    true = np.convolve(w[edge - pad : edge + pad + n], kernel, "valid") / kernel.sum()
    for axis in range(2):
        found = wide(np.stack([w, w], 1 - axis), rate, pad, axis, spacing)
        assert_allclose(found.take(0, 1 - axis), true, rtol=1e-12)


@given(seeds, st.floats(1e-3, 1.0), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_rational_exponential(seed: int, t: float, forward: bool, circle: bool) -> None:
    """One sweep for all poles against dense solves pole by pole, between walls and round."""
    noise = np.random.default_rng(seed)
    grid = pk.Grid(0, 1, 25, periodic=circle)
    generator = scharfetter_gummel(noise.normal(size=25), 2.0, grid)
    u, kill = noise.uniform(size=25), noise.uniform(size=25)
    matrix = generator.matrix().toarray() - np.diag(kill)
    matrix = matrix.T if forward else matrix
    terms = [
        c * np.linalg.solve(t * matrix - z * np.eye(25), u)
        for z, c in zip(*exponential_poles(), strict=True)
    ]
    plain = np.sum(terms, axis=0).real
    assert_allclose(propagate(generator, u, t, forward, kill), plain, atol=1e-11)


@given(seeds, periodic, st.integers(0, 1), st.booleans(), st.sampled_from([RADAU, EULER]))
@settings.get_profile("often")
def test_line_solves(
    seed: int, walls: tuple[bool, bool], axis: int, forward: bool, method: tuple[complex, complex]
) -> None:
    """Lines in SIMD blocks, cyclic or not, against a dense solve of every line."""
    noise = np.random.default_rng(seed)
    grid = pk.Grid((0, 0), (1, 2), (11, 37), walls)
    generator = scharfetter_gummel(noise.normal(size=grid.shape), 2.0, grid)
    u, out, tau = noise.uniform(size=grid.shape), np.empty(grid.shape), 0.01
    Lines(generator, axis, forward).apply(u, tau, method, out)
    along = type(generator)(grid, *(
        tuple(r if k == axis else 0 * r for k, r in enumerate(rates))
        for rates in (generator.up, generator.down)
    ))  # fmt: skip
    matrix = along.matrix().toarray()
    matrix = matrix.T if forward else matrix
    pole, residue = method
    solved = np.linalg.solve(tau * matrix - pole * np.eye(u.size), u.ravel())
    assert_allclose(out.ravel(), 2 * (residue * solved).real, atol=1e-11)


@given(seeds)
@settings(max_examples=200)
def test_clip(seed: int) -> None:
    u = np.random.default_rng(seed).normal(0.5, 1, size=(5, 7))
    expected, least = 1.5 * np.maximum(u, 0), min(u.min(), 0)
    assert clip(u, 1.5) == least
    assert_allclose(u, expected, rtol=1e-15)


@given(st.floats(-700, 700))
@settings(max_examples=200)
def test_bernoulli_function(w: float) -> None:
    """Both signs against w / (e^w - 1) in fifty digits, also where w is tiny."""
    for at in (w, w * 1e-3, w * 1e-12):
        for found, x in zip(bernoulli_pair(np.array([at])), (at, -at), strict=True):
            with localcontext(prec=60):
                exact = Decimal(x) / (Decimal(x).exp() - 1) if abs(x) > 1e-30 else Decimal(1)
            assert float(found[0]) == pytest.approx(float(exact), rel=1e-15, abs=1e-300)


def test_poles_against_published_values() -> None:
    """The fourteen poles of largest and smallest real part, as listed for CRAM of order 14.

    Pusa, Rational approximations to the matrix exponential in burnup calculations, Nucl. Sci.
    Eng. 169 (2011), table I (best approximation; the Carathéodory-Fejér one agrees to 1e-9).
    """
    published = [
        -8.8977731864688888199 + 16.630982619902085304j,
        -3.7032750494234480603 + 13.656371871483268171j,
        -0.2087586382501301251 + 10.991260561901260913j,
        3.9933697105785685194 + 6.0048316422350373178j,
        5.0893450605806245066 + 3.5888240290270065102j,
        5.6231425727459771248 + 1.1940690463439669766j,
        2.2697838292311127097 + 8.4617379730402214019j,
    ]
    poles, _ = exponential_poles(14)
    upper = poles[poles.imag > 0]
    for pole in published:
        assert np.abs(upper - pole).min() < 2e-3 * abs(pole)


def test_poles_reproduce_the_exponential() -> None:
    x = -np.concatenate([[0.0], np.logspace(-8, 8, 4001)])
    for order, bound in ((6, 3e-6), (10, 4e-10), (14, 3e-13)):
        poles, residues = exponential_poles(order)
        found = (residues / (x[:, None] - poles)).sum(1)
        assert np.abs(found - np.exp(x)).max() < bound


def test_banded_reference_is_a_solution() -> None:
    """The dense references above share nothing with the kernels; this ties one to LAPACK."""
    grid = pk.Grid(0, 1, 30)
    generator = scharfetter_gummel(np.sin(7 * grid.axes[0]), 3.0, grid)
    tau, u = 0.02, np.cos(grid.axes[0])
    bands = np.zeros((3, 30))
    bands[0, 1:], bands[2, :-1] = -tau * generator.down[0], -tau * generator.up[0]
    bands[1] = 1 + tau * generator.exit_rate()
    matrix = np.eye(30) - tau * generator.matrix().toarray().T
    assert_allclose(solve_banded((1, 1), bands, u), np.linalg.solve(matrix, u), atol=1e-13)
