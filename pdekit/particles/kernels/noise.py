"""The fused CPU form of `pdekit.particles.noise`: integers, then Box-Muller, in cache.

No ``fastmath``: without contraction every operation is rounded as IEEE says, so the bits do not
depend on the width of the machine's vectors, and equal those of the torch form. The two loops per
tile are written so that LLVM vectorises both (32 x 32 -> 64 bit products; no branch, no call).
"""

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

# Interpolants at Chebyshev nodes in z = g**2 on [0, 1/4] and z = s**2 on [0, tan(pi/8)**4]:
# sin(pi g / 2) / g, cos(pi g / 2) and 2 artanh(s) / s; relative error below 4e-18 for
# float64 and 4e-9 for float32.
SINE_64 = (
    1.5707963267948966,
    -0.6459640975062463,
    0.07969262624616692,
    -0.004681754135314827,
    0.0001604411847266723,
    -3.598842717144858e-06,
    5.691927850489633e-08,
    -6.627624938992472e-10,
)
COSINE_64 = (
    1.0,
    -1.2337005501361697,
    0.2536695079010467,
    -0.02086348076331121,
    0.0009192602741831558,
    -2.520203677046026e-05,
    4.710609726757823e-07,
    -6.321256869628588e-09,
)
LOG_64 = (
    2.0,
    0.6666666666666765,
    0.3999999999930234,
    0.2857142876064168,
    0.22222197056726048,
    0.18183631680229329,
    0.1531252814836419,
    0.14809710360655276,
)
SINE_32 = (1.5707963219532366, -0.6459634776648118, 0.07968021764775542, -0.004602149212814176)
COSINE_32 = (
    0.9999999999524894,
    -1.2337005406331623,
    0.2536692036551135,
    -0.02086006950026408,
    0.0009036280663802505,
)
LOG_32 = (1.9999999986313182, 0.6666681533815119, 0.3997485051751905, 0.29924390479144986)

_u32, _i32, _f32 = np.uint32, np.int32, np.float32
_u64, _i64, _f64 = np.uint64, np.int64, np.float64

_TILE = 256  # blocks per tile: 4 kB of words
_LOW, _32 = _u64(0xFFFFFFFF), _u64(32)
_M0, _M1 = _u64(0xD2511F53), _u64(0xCD9E8D57)
_W0, _W1 = _u64(0x9E3779B9), _u64(0xBB67AE85)

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")


@_inlined
def _words_of_block(block, low, high, stream, seed):
    """The four words of a block, each in 64 bits."""
    k0, k1 = seed & _LOW, seed >> _32
    c0, c1, c2, c3 = block & _LOW, low, high | (block >> _32), stream
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW
        c2, c3 = (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@_compiled
def words(out, blocks, first, step, stream, seed):
    """Philox4x32-10 words of the blocks ``first, ...`` into ``out[:, :blocks]`` (uint64)."""
    w0, w1, w2, w3 = out[0], out[1], out[2], out[3]
    low, high = step & _LOW, (step >> _32) << _u64(16)
    for j in range(blocks):
        c0, c1, c2, c3 = _words_of_block(first + _u64(j), low, high, stream, seed)
        w0[j], w1[j], w2[j], w3[j] = _u32(c0), _u32(c1), _u32(c2), _u32(c3)


@_compiled
def words_of(out, blocks, step, stream, seed):
    """The same of ``blocks`` anywhere."""
    w0, w1, w2, w3 = out[0], out[1], out[2], out[3]
    low, high = step & _LOW, (step >> _32) << _u64(16)
    for j in range(blocks.size):
        c0, c1, c2, c3 = _words_of_block(blocks[j], low, high, stream, seed)
        w0[j], w1[j], w2[j], w3[j] = _u32(c0), _u32(c1), _u32(c2), _u32(c3)


_ONE_64, _MANTISSA_64 = _u64(0x3FF0000000000000), _u64(0x000FFFFFFFFFFFFF)
_ROOT_64 = _u64(0x3FE6A09E667F3BCD)  # sqrt(1/2)
_SHIFT_64 = _u64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_LN2_64, _HALF_ULP_64 = 0.6931471805599453, 2.0**-53
_S0, _S1, _S2, _S3, _S4, _S5, _S6, _S7 = SINE_64
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7 = COSINE_64
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = LOG_64


@_compiled
def _pair_64(a, b):
    u = _u64((a >> _u64(12)) | _ONE_64).view(_f64) - 1.0 + _HALF_ULP_64
    shifted = _u64(_f64(u).view(_u64) + _SHIFT_64)
    e = _f64(_i64(shifted >> _u64(52)) - _i64(1023))
    m = _u64((shifted & _MANTISSA_64) + _ROOT_64).view(_f64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z2 = z * z
    log_m = s * (
        ((_L0 + z * _L1) + z2 * (_L2 + z * _L3))
        + z2 * z2 * ((_L4 + z * _L5) + z2 * (_L6 + z * _L7))
    )
    radius = np.sqrt((e * _LN2_64 + log_m) * -2.0)
    g = _u64(((b >> _u64(10)) & _MANTISSA_64) | _ONE_64).view(_f64) - 1.0 + _HALF_ULP_64 - 0.5
    z = g * g
    z2 = z * z
    sine = radius * (
        g
        * (
            ((_S0 + z * _S1) + z2 * (_S2 + z * _S3))
            + z2 * z2 * ((_S4 + z * _S5) + z2 * (_S6 + z * _S7))
        )
    )
    cosine = radius * (
        ((_C0 + z * _C1) + z2 * (_C2 + z * _C3))
        + z2 * z2 * ((_C4 + z * _C5) + z2 * (_C6 + z * _C7))
    )
    cosine = _u64(_f64(cosine).view(_u64) ^ (b & _u64(0x8000000000000000))).view(_f64)
    swap = (b & _u64(0x4000000000000000)) != _u64(0)
    return (sine if swap else cosine), (cosine if swap else sine)


@_compiled
def box_muller_64(w0, w1, w2, w3, out):
    """Normals ``(2 * blocks,)`` from the words of as many blocks."""
    for j in range(out.size // 2):
        x, y = _pair_64((_u64(w1[j]) << _32) | _u64(w0[j]), (_u64(w3[j]) << _32) | _u64(w2[j]))
        out[2 * j] = x
        out[2 * j + 1] = y


_ONE_32, _MANTISSA_32 = _u32(0x3F800000), _u32(0x7FFFFF)
_ROOT_32, _SHIFT_32 = _u32(0x3F3504F3), _u32(0x3F800000 - 0x3F3504F3)
_LN2_32, _1, _HALF, _MINUS_2 = _f32(0.6931471805599453), _f32(1.0), _f32(0.5), _f32(-2.0)
_STEP_31, _HALF_ULP_32 = _f32(2.0**-31), _f32(2.0**-24)
_s0, _s1, _s2, _s3 = (_f32(c) for c in SINE_32)
_c0, _c1, _c2, _c3, _c4 = (_f32(c) for c in COSINE_32)
_l0, _l1, _l2, _l3 = (_f32(c) for c in LOG_32)


@_compiled
def _pair_32(a, b):
    u = (_f32(_i32(a >> _u32(1))) + _HALF) * _STEP_31
    shifted = _u32(_f32(u).view(_u32) + _SHIFT_32)
    e = _f32(_i32(_i32(shifted >> _u32(23)) - _i32(127)))
    m = _u32((shifted & _MANTISSA_32) + _ROOT_32).view(_f32)
    s = (m - _1) / (m + _1)
    z = s * s
    log_m = s * (_l0 + z * (_l1 + z * (_l2 + z * _l3)))
    radius = np.sqrt((e * _LN2_32 + log_m) * _MINUS_2)
    g = _u32(_u32((b >> _u32(7)) & _MANTISSA_32) | _ONE_32).view(_f32) - _1
    g = g + _HALF_ULP_32 - _HALF
    z = g * g
    sine = radius * (g * (_s0 + z * (_s1 + z * (_s2 + z * _s3))))
    cosine = radius * (_c0 + z * (_c1 + z * (_c2 + z * (_c3 + z * _c4))))
    cosine = _u32(_f32(cosine).view(_u32) ^ (b & _u32(0x80000000))).view(_f32)
    swap = (b & _u32(0x40000000)) != _u32(0)
    return (sine if swap else cosine), (cosine if swap else sine)


@_compiled
def _pairs_32(a, b, first, second, blocks):
    for j in range(blocks):
        first[j], second[j] = _pair_32(a[j], b[j])


@_compiled
def _box_muller_32(w, out):
    """Normals ``(4 * blocks,)`` from the first four rows of ``w``; the others are scratch space.

    The normals of a row are contiguous until the end: interleaving them at once is slower by a
    third.
    """
    blocks, made = out.size // 4, w[4:].view(np.float32)
    _pairs_32(w[0], w[1], made[0], made[1], blocks)
    _pairs_32(w[2], w[3], made[2], made[3], blocks)
    x, y, p, q = made[0], made[1], made[2], made[3]
    for j in range(blocks):
        i = 4 * j
        out[i] = x[j]
        out[i + 1] = y[j]
        out[i + 2] = p[j]
        out[i + 3] = q[j]


@_compiled
def normals(out, w, first, step, stream, seed):
    """Fill a line ``out`` of whole blocks, no more than ``w`` (8, blocks) holds, in either type."""
    if out.itemsize == 4:
        words(w, out.size // 4, first, step, stream, seed)
        _box_muller_32(w, out)
    else:
        words(w, out.size // 2, first, step, stream, seed)
        box_muller_64(w[0], w[1], w[2], w[3], out)


@_compiled
def unit_32(word):
    """A uniform in (0, 1) of 32 bits."""
    return _u32((word >> _u32(9)) | _ONE_32).view(_f32) - _1 + _HALF_ULP_32


@_compiled
def unit_64(low, high):
    """The same of 64."""
    bits = (_u64(high) << _32) | _u64(low)
    return _u64((bits >> _u64(12)) | _ONE_64).view(_f64) - 1.0 + _HALF_ULP_64


@_compiled
def uniforms(out, w, first, step, stream, seed):
    """``normals`` with uniforms in (0, 1)."""
    if out.itemsize == 4:
        words(w, out.size // 4, first, step, stream, seed)
        for j in range(out.size // 4):
            for k in range(4):
                out[4 * j + k] = unit_32(w[k, j])
    else:
        words(w, out.size // 2, first, step, stream, seed)
        for j in range(out.size // 2):
            for k in range(2):
                out[2 * j + k] = unit_64(w[2 * k, j], w[2 * k + 1, j])


@_compiled
def fill(out, uniform, first, step, stream, seed):
    """Fill lines ``(runs, n)`` of whole blocks tile by tile; row r takes the stream of run + r."""
    lanes = 16 // out.itemsize
    w, blocks = np.empty((8, _TILE), np.uint32), out.shape[1] // lanes
    for r in range(out.shape[0]):
        row, row_stream = out[r], _u64(stream) + (_u64(r) << _u64(8))
        for t in range(0, blocks, _TILE):
            part = row[lanes * t : lanes * min(t + _TILE, blocks)]
            there = _u64(first) + _u64(t)
            if uniform:
                uniforms(part, w, there, _u64(step), row_stream, _u64(seed))
            else:
                normals(part, w, there, _u64(step), row_stream, _u64(seed))
