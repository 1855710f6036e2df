"""Counter-based noise: published vectors, kernel = reference, laws, independence, addresses."""

import itertools
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdekit.particles import noise
from pdekit.particles.kernels import noise as noise_kernels
from pdekit.particles.noise import (
    Address,
    LawNoise,
    StepNoise,
    fill_normals,
    normals_reference,
    philox_reference,
    uniforms_reference,
    words_reference,
)

DTYPES = [torch.float32, torch.float64]

# kat_vectors of Random123 1.14: philox4x32-10; counter, key, result
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def normals(at, first, count, dtype=torch.float64):
    return fill_normals(torch.empty(1, count, dtype=dtype), at, first)[0]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_reference_gives_the_published_vectors(counter, key, expected):
    got = philox_reference(tuple(torch.tensor([c]) for c in counter), key)
    assert tuple(int(w) for w in got) == expected


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_kernel_gives_the_published_vectors(counter, key, expected):
    out = np.empty((4, 1), np.uint32)
    block = counter[0] | (counter[2] & 0xFFFF) << 32
    step = counter[1] | counter[2] >> 16 << 32
    arguments = (block, step, counter[3], key[1] << 32 | key[0])
    noise_kernels.words(out, 1, *(np.uint64(a) for a in arguments))
    assert tuple(out[:, 0].tolist()) == expected


addresses = st.builds(
    Address,
    seed=st.integers(0, 2**64 - 1),
    run=st.integers(0, 2**24 - 1),
    channel=st.integers(0, 255),
    step=st.integers(0, 2**48 - 1),
)


@settings(max_examples=60, deadline=None)
@given(addresses, st.integers(0, 2**47), st.integers(1, 700), st.sampled_from(DTYPES))
def test_kernel_equals_reference_to_the_bit(at, first, count, dtype):
    assert torch.equal(normals(at, first, count, dtype), normals_reference(at, first, count, dtype))


@settings(max_examples=60, deadline=None)
@given(addresses, st.integers(0, 2**47), st.integers(1, 300), st.sampled_from(DTYPES))
def test_uniforms_of_kernel_and_reference_are_the_same_bits(at, first, count, dtype):
    got = noise.fill_uniforms(torch.empty(1, count, dtype=dtype), at, first)[0]
    assert torch.equal(got, uniforms_reference(at, first, count, dtype))


@settings(max_examples=30, deadline=None)
@given(addresses, st.integers(0, 2**47), st.integers(1, 300))
def test_words_of_kernel_and_reference_are_the_same_integers(at, first, blocks):
    out = np.empty((4, blocks), np.uint32)
    noise_kernels.words(out, blocks, *(np.uint64(v) for v in (first, at.step, at.stream, at.seed)))
    assert np.array_equal(out, torch.stack(words_reference(at, first, blocks)).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_muller_is_that_of_the_library_functions(dtype):
    """Against log, sin, cos of numpy in double: a few ulp (errors in units of max(|z|, 1))."""
    at, n = Address(seed=11), 40_000
    w = [v.numpy().astype(np.uint64) for v in words_reference(at, 0, n)]
    if dtype == torch.float64:
        pairs, bits = [(w[1] << 32 | w[0], w[3] << 32 | w[2])], 64
    else:
        pairs, bits = [(w[0], w[1]), (w[2], w[3])], 32
    expected = np.stack([z for a, b in pairs for z in _polar(a, b, bits)], axis=-1).ravel()
    got = normals(at, 0, expected.size, dtype).double().numpy()
    error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
    assert error.max() < 4 * torch.finfo(dtype).eps


def _polar(a, b, bits):
    """Box-Muller with the angle in the order of the reflections."""
    if bits == 64:
        u = ((a >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52
        turn = ((b >> np.uint64(10) & np.uint64(2**52 - 1)).astype(float) + 0.5) * 2.0**-52
    else:
        u = ((a >> np.uint64(1)).astype(np.float32) + np.float32(0.5)).astype(float) * 2.0**-31
        turn = ((b >> np.uint64(7) & np.uint64(2**23 - 1)).astype(float) + 0.5) * 2.0**-23
    radius, angle = np.sqrt(-2 * np.log(u)), np.pi / 2 * (turn - 0.5)
    sign = 1 - 2 * (b >> np.uint64(bits - 1)).astype(float)
    swap = (b >> np.uint64(bits - 2) & np.uint64(1)).astype(bool)
    x, y = radius * np.cos(angle) * sign, radius * np.sin(angle)
    return np.where(swap, y, x), np.where(swap, x, y)


@pytest.mark.parametrize(("dtype", "tail"), [(torch.float32, 6.66), (torch.float64, 8.57)])
def test_the_farthest_normal_is_the_documented_one(dtype, tail):
    """The smallest uniform (word 0) gives the longest radius, on an axis: no infinity."""
    zero = torch.zeros(1, dtype=torch.int64)
    middle = 1 << (61 if dtype == torch.float64 else 29)  # angle about 0
    pair = noise._pair_64 if dtype == torch.float64 else noise._pair_32
    x, y = pair(zero, torch.tensor([middle]))
    assert float(x) == pytest.approx(tail, abs=5e-3) and abs(float(y)) < 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_words_give_finite_normals_and_open_uniforms(dtype):
    lanes = noise.LANES[dtype]
    ends = torch.tensor([0, 1, 2**32 - 1, 2**31, 2**31 - 1])
    a, b = torch.meshgrid(ends, ends, indexing="ij")
    if lanes == 2:
        a, b = a << 32 | a, b << 32 | b
    pair = noise._pair_64 if lanes == 2 else noise._pair_32
    assert all(bool(torch.isfinite(z).all()) for z in pair(a.flatten(), b.flatten()))
    u = uniforms_reference(Address(5), 0, 200_000, dtype)
    assert u.dtype == dtype and float(u.min()) > 0 and float(u.max()) < 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_normals_have_the_normal_law(dtype):
    """KS and four moments, false-alarm level 0.001 each (seed fixed, so no flake)."""
    n = 1_000_000
    z = normals(Address(seed=2024), 0, n, dtype).double().numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    quantile = stats.norm.isf(5e-4)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) < quantile * sqrt(variance / n)
    beyond = (np.abs(z) > 4).sum()
    assert stats.binomtest(int(beyond), n, 2 * stats.norm.sf(4)).pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniforms_have_the_uniform_law(dtype):
    u = uniforms_reference(Address(seed=7), 0, 300_000, dtype).double().numpy()
    assert stats.kstest(u, "uniform").pvalue > 1e-3


NEIGHBOURS = {
    "seed": (Address(5), Address(6), 0),
    "run": (Address(5), Address(5, run=1), 0),
    "channel": (Address(5), Address(5, channel=1), 0),
    "step": (Address(5), Address(5, step=1), 0),
    "step beyond 32 bits": (Address(5), Address(5, step=1 << 32), 0),
    "component": (Address(5), Address(5), 1),
    "particle in 2-D": (Address(5), Address(5), 2),
    "next block": (Address(5), Address(5), 4),
    "particle beyond 32 bits": (Address(5), Address(5), 1 << 36),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbouring_addresses_are_uncorrelated(name, dtype):
    """Correlation of values and of squares, each at level 0.001 two-sided."""
    a, b, shift = NEIGHBOURS[name]
    n = 200_000
    x, y = (v.double().numpy() for v in (normals(a, 0, n, dtype), normals(b, shift, n, dtype)))
    bound = stats.norm.isf(5e-4) / sqrt(n)
    assert abs(np.corrcoef(x, y)[0, 1]) < bound
    assert abs(np.corrcoef(x * x, y * y)[0, 1]) < bound


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=5), st.sampled_from(DTYPES))
def test_chunks_give_the_same_bits(cuts, dtype):
    at, n = Address(9, step=3), 1000
    whole = normals(at, 0, n, dtype)
    edges = sorted({0, n, *cuts})
    parts = [normals(at, a, b - a, dtype) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_the_runs(dtype):
    rows = fill_normals(torch.empty(3, 101, dtype=dtype), Address(1, run=4))
    for r in range(3):
        assert torch.equal(rows[r], normals(Address(1, run=4 + r), 0, 101, dtype))


def test_step_noise_is_addressed_by_particle_and_component():
    tile = StepNoise(3, 0, 10, torch.empty(1, 6, 3, dtype=torch.float64))
    whole = normals(Address(3, step=2), 0, 48).view(16, 3)
    assert torch.equal(tile.at(2)[0], whole[10:])
    assert torch.equal(tile.at(5)[0], normals(Address(3, step=5), 0, 48).view(16, 3)[10:])


def test_law_noise_is_fresh_at_each_call_and_apart_from_the_dynamics():
    source = LawNoise(3)
    draws = [source.normal(50, 1), source.normal(50, 1), normals(Address(3), 0, 50).view(50, 1)]
    assert len({float(d[0]) for d in draws}) == 3
    assert not torch.equal(source.uniform(50, 2), source.uniform(50, 2))


@pytest.mark.parametrize(
    "field", [{"seed": -1}, {"seed": 2**64}, {"run": 2**24}, {"step": 2**48}, {"channel": 256}]
)
def test_an_address_out_of_range_is_refused(field):
    with pytest.raises(ValueError, match=r"expected 0 <= \w+ < 2\*\*"):
        Address(**{"seed": 0, **field})


def test_streams_beyond_the_last_run_are_refused():
    with pytest.raises(ValueError, match="run"):
        fill_normals(torch.empty(2, 8), Address(0, run=2**24 - 1))


def test_the_last_run_has_noise():
    last = fill_normals(torch.empty(2, 8, dtype=torch.float64), Address(0, run=2**24 - 2))[1]
    assert torch.equal(last, normals(Address(0, run=2**24 - 1), 0, 8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_too_many_particles_are_refused(dtype):
    with pytest.raises(ValueError, match="too many particles"):
        normals(Address(0), noise.LANES[dtype] << 48, 8, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pieces_of_the_plain_form_are_the_whole(monkeypatch, dtype):
    """As on a device; pieces of 6 numbers cut blocks of 4."""
    monkeypatch.setattr(noise, "_PIECE", 6)
    at, out = Address(7, 3, 1, 5), torch.empty(2, 50, dtype=dtype)
    noise.fill_by_reference(out, at, 3, normals_reference)
    rows = [normals_reference(Address(7, run, 1, 5), 3, 50, dtype) for run in (3, 4)]
    assert torch.equal(out, torch.stack(rows))
