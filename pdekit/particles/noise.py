"""Counter-based noise: a pure function of (seed, stream, step, particle, component).

Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) turns a 128-bit counter and a 64-bit key into four
32-bit words, without state. The key is the seed. The counter is packed so that no two
draws of a seed share a counter:

    =====  ==========================================  =================================
    word   holds                                       range
    =====  ==========================================  =================================
    0      block, low 32 bits                          block < 2**48
    1      step, low 32 bits                           step < 2**48
    2      step, high 16 bits; block, high 16 bits
    3      run, 24 bits; channel, 8 bits               run < 2**24, channel < 2**8
    =====  ==========================================  =================================

The site ``particle * dim + component`` owns lane ``site % lanes`` of block ``site // lanes``. A
block gives 4 float32 numbers, or 2 float64 numbers of 52 bits each. Normals are Box-Muller pairs;
the largest possible absolute value is 6.66 in float32 and 8.57 in float64 (beyond it the
probability is 3e-11 and 1e-17). Uniforms lie strictly inside (0, 1): odd multiples of 2**-24 in
float32, of 2**-53 in float64.

Every function here exists as plain torch, on any device (``*_reference``). The CPU kernels do the
same additions, products, quotients and square roots in the same order, all correctly rounded and
none contracted, so that they agree to the last bit, not only in the integers.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit.particles.kernels import noise
from pdekit.particles.kernels.noise import COSINE_32, COSINE_64, LOG_32, LOG_64, SINE_32, SINE_64

# channels: a dynamics that draws more than one kind of numbers per step uses several:
# the fast process of an inner loop (whose step is the number of the inner step, numbered
# consecutively), initial momenta, acceptance of proposals, choice of partners or of samples; and,
# 8, the noise in the output positions of Leimkuhler and Matthews' method, OUTPUT in `integrators`
DYNAMICS, INITIAL_NORMAL, INITIAL_UNIFORM, PROBE = 0, 1, 2, 3
INNER, MOMENTUM, ACCEPTANCE, CHOICE = 4, 5, 6, 7
# of the data that all neurons of a run see
BATCH_NORMAL, BATCH_UNIFORM = 9, 10
# of what stops particles on their way, see `pdekit.particles.dynamics.stopping`
STOP_NORMAL, STOP_UNIFORM, KILL_UNIFORM, RESET_NORMAL, RESET_UNIFORM = 11, 12, 13, 14, 15
ENTRY_UNIFORM = 16  # of particles that enter, see `pdekit.particles.dynamics.entering`
WATCHED = 1 << 46  # added to steps: of those that look at paths, in the same channels
_CALLS = 256  # draws of a law in one step

RUN_BITS = 24
LANES = {torch.float32: 4, torch.float64: 2}
_LOW = 0xFFFFFFFF
_LN2 = 0.6931471805599453
_PIECE = 1 << 22  # numbers per batch of the plain form: a hundred bytes each of temporaries


@dataclass(frozen=True)
class Address:
    """The address of a row of noise, except the site. Ranges as in the module's table.

    Raises ``ValueError`` if a number is out of range (it would collide with another address).
    """

    seed: int
    run: int = 0
    channel: int = DYNAMICS
    step: int = 0

    def __post_init__(self) -> None:
        for name, bits in (("seed", 64), ("run", RUN_BITS), ("channel", 8), ("step", 48)):
            value = operator.index(getattr(self, name))
            if not 0 <= value < 1 << bits:
                raise ValueError(f"expected 0 <= {name} < 2**{bits}, got {name}={value}")

    @property
    def stream(self) -> int:
        """Counter word 3."""
        return self.run << 8 | self.channel


def philox_reference(counter: tuple[Tensor, ...], key: tuple[Any, Any]) -> tuple[Tensor, ...]:
    """Ten rounds of Philox4x32 on four int64 tensors of 32-bit words; four such tensors.

    ``key``: the low and the high word of the seed, numbers or tensors.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # the product of two 32-bit words may overflow into the sign bit; its bits are still correct
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            (p1 >> 32 & _LOW) ^ c1 ^ k0,
            p1 & _LOW,
            (p0 >> 32 & _LOW) ^ c3 ^ k1,
            p0 & _LOW,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


def words_reference(
    at: Address, first: int, blocks: int, device: Any = "cpu"
) -> tuple[Tensor, ...]:
    """The four words of blocks ``first, ..., first + blocks - 1``, int64 tensors ``(blocks,)``."""
    if first < 0 or first + blocks > 1 << 48:
        raise ValueError(
            f"noise block {first + blocks} must be below 2**48: too many particles; use fewer"
        )
    block = torch.arange(first, first + blocks, dtype=torch.int64, device=device)
    counter = (
        block & _LOW,
        torch.full_like(block, at.step & _LOW),
        block >> 32 | at.step >> 32 << 16,
        torch.full_like(block, at.stream),
    )
    return philox_reference(counter, (at.seed & _LOW, at.seed >> 32))


def normals_reference(
    at: Address, first: int, count: int, dtype: Any, device: Any = "cpu"
) -> Tensor:
    """Standard normals of the sites ``first, ..., first + count - 1``, shape ``(count,)``."""

    def lanes(w: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if dtype == torch.float32:
            return (*_pair_32(w[0], w[1]), *_pair_32(w[2], w[3]))
        return _pair_64(w[1] << 32 | w[0], w[3] << 32 | w[2])

    return _of_blocks(lanes, at, first, count, dtype, device)


def _of_blocks(
    lanes: Callable[[tuple[Tensor, ...]], Iterable[Tensor]],
    at: Address, first: int, count: int, dtype: Any, device: Any,
) -> Tensor:  # fmt: skip
    """The numbers of some sites from those that ``lanes`` makes of the words of their blocks."""
    many = LANES[dtype]
    skip = first % many
    w = words_reference(at, first // many, -(-(skip + count) // many), device)
    return torch.stack([*lanes(w)], dim=-1).reshape(-1)[skip : skip + count]


def normals_of_sites(
    sites: Tensor, step: Tensor, stream: Tensor, key: tuple[Any, Any], dtype: Any
) -> Tensor:
    """Standard normals of any sites, each from its own block: the form used for tracing.

    Shape of ``sites``, ``step`` and ``stream`` (word 3 of the counter) together; ``key`` as for
    ``philox_reference``. No checks are made.
    """
    lane = sites % LANES[dtype]
    w = _words_of_sites(sites, step, stream, key, dtype)
    if dtype == torch.float32:
        late = lane >= 2
        pair = _pair_32(torch.where(late, w[2], w[0]), torch.where(late, w[3], w[1]))
    else:
        pair = _pair_64(w[1] << 32 | w[0], w[3] << 32 | w[2])
    return torch.where(lane % 2 == 1, pair[1], pair[0])


def uniforms_of_sites(
    sites: Tensor, step: Tensor, stream: Tensor, key: tuple[Any, Any], dtype: Any
) -> Tensor:
    """The same with uniforms in the open interval (0, 1)."""
    odd = sites % 2 == 1
    w = _words_of_sites(sites, step, stream, key, dtype)
    if dtype == torch.float32:
        early, late = torch.where(odd, w[1], w[0]), torch.where(odd, w[3], w[2])
        return _uniform_32(torch.where(sites % 4 >= 2, late, early))
    return _uniform_64(torch.where(odd, w[3] << 32 | w[2], w[1] << 32 | w[0]))


def _words_of_sites(
    sites: Tensor, step: Tensor, stream: Tensor, key: tuple[Any, Any], dtype: Any
) -> tuple[Tensor, ...]:
    """The four words of the block of each site."""
    block = sites // LANES[dtype]
    counter = torch.broadcast_tensors(
        block & _LOW, step & _LOW, block >> 32 | step >> 32 << 16, stream
    )
    return philox_reference(counter, key)


def uniforms_reference(
    at: Address, first: int, count: int, dtype: Any, device: Any = "cpu"
) -> Tensor:
    """Uniforms in the open interval (0, 1) of the sites ``first, ...``, shape ``(count,)``."""

    def lanes(w: tuple[Tensor, ...]) -> Iterable[Tensor]:
        if dtype == torch.float32:
            return map(_uniform_32, w)
        return map(_uniform_64, (w[1] << 32 | w[0], w[3] << 32 | w[2]))

    return _of_blocks(lanes, at, first, count, dtype, device)


def fill_normals(out: Tensor, at: Address, first: int = 0) -> Tensor:
    """Overwrite ``out`` of shape ``(runs, count)`` with the normals of the sites ``first, ...``.

    Row ``r`` belongs to run ``at.run + r``. On the CPU the fused kernel, elsewhere the torch form:
    the same bits. ``out`` is float32 or float64 and contiguous. Returns ``out``.
    """
    return _fill(out, at, first, False)


def fill_uniforms(out: Tensor, at: Address, first: int = 0) -> Tensor:
    """The same with uniforms in the open interval (0, 1)."""
    return _fill(out, at, first, True)


def _fill(out: Tensor, at: Address, first: int, uniform: bool) -> Tensor:
    runs, count = out.shape
    if runs:
        Address(at.seed, at.run + runs - 1, at.channel, at.step)
    if out.device.type != "cpu":
        reference = uniforms_reference if uniform else normals_reference
        return fill_by_reference(out, at, first, reference)
    lanes = LANES[out.dtype]
    skip = first % lanes
    if skip or count % lanes:  # the kernel writes whole blocks
        whole = out.new_empty(runs, -(-(skip + count) // lanes) * lanes)
        filled = _fill(whole, at, first - skip, uniform)
        return out.copy_(filled[:, skip : skip + count])
    if first < 0 or (first + count) // lanes > 1 << 48:
        raise ValueError(
            f"noise site {first + count} must be below 2**48 blocks: too many particles; use fewer"
        )
    # unsigned counters, so that a 64-bit seed fits the compiled signature
    counter = (np.uint64(k) for k in (first // lanes, at.step, at.stream, at.seed))
    noise.fill(out.numpy(), uniform, *counter)
    return out


def fill_by_reference(out: Tensor, at: Address, first: int, reference: Any) -> Tensor:
    """``fill_normals`` by ``normals_reference`` (or uniforms): in pieces, for its integers."""
    for r, row in enumerate(out):
        there = Address(at.seed, at.run + r, at.channel, at.step)
        for begin in range(0, len(row), _PIECE):
            piece = row[begin : begin + _PIECE]
            piece.copy_(reference(there, first + begin, len(piece), out.dtype, out.device))
    return out


@dataclass
class StepNoise:
    """Normals of a tile of particles, of shape ``(runs, particles, dim)``, one array per step.

    ``at(step)`` returns a buffer that is valid until the next call with another step or channel;
    repeated requests for the same step are free. ``size`` particles are actual, the rest are
    copies.
    """

    seed: int
    run: int
    particle: int
    buffer: Tensor
    size: int = -1
    _cached: tuple[int, int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.size = self.buffer.shape[1] if self.size < 0 else self.size

    def at(self, step: int, channel: int = DYNAMICS) -> Tensor:
        if self._cached != (step, channel):
            runs, _, dim = self.buffer.shape
            where = Address(self.seed, self.run, channel, step)
            fill_normals(self.buffer.view(runs, -1), where, self.particle * dim)
            self._cached = (step, channel)
        return self.buffer

    def address(self, first: int, last: int, channel: int = DYNAMICS) -> Address:
        """Where the numbers of the steps ``first, ..., last`` of all runs begin.

        For kernels, which check nothing: ``ValueError`` if one of them is out of range.
        """
        Address(self.seed, self.run + len(self.buffer) - 1, channel, last)
        return Address(self.seed, self.run, channel, first)

    def uniforms(self, step: int, channel: int, each: int = 1) -> Tensor:
        """``each`` uniforms per particle in (0, 1), shape ``(runs, particles, each)``."""
        runs, particles, _ = self.buffer.shape
        out = self.buffer.new_empty(runs, particles * each)
        where = Address(self.seed, self.run, channel, step)
        return fill_uniforms(out, where, self.particle * each).view(runs, particles, each)

    def choices(self, step: int, channel: int, each: int = 1) -> Tensor:
        """The same in float64, for any dtype of the particles: for choosing among many."""
        runs, particles, _ = self.buffer.shape
        out = self.buffer.new_empty(runs, particles * each, dtype=torch.float64)
        where = Address(self.seed, self.run, channel, step)
        return fill_uniforms(out, where, self.particle * each).view(runs, particles, each)

    def of_runs(self, step: int, channel: int, count: int, each: int) -> Tensor:
        """Numbers of a run as a whole, ``(runs, count, each)``: normals, or uniforms in (0, 1)."""
        runs = len(self.buffer)
        out = self.buffer.new_empty(runs, count * each)
        if each:
            fill = fill_uniforms if channel == BATCH_UNIFORM else fill_normals
            fill(out, Address(self.seed, self.run, channel, step))
        return out.view(runs, count, each)


@dataclass(frozen=True)
class NoiseOfSome:
    """That of some particles of a tile, ``(1, count, dim)``, by their rows and columns there."""

    noise: StepNoise
    rows: Tensor
    columns: Tensor

    def at(self, step: int, channel: int = DYNAMICS) -> Tensor:
        """Standard normals."""
        return self._of(normals_of_sites, step, channel, self.noise.buffer.shape[-1])

    def uniforms(self, step: int, channel: int, each: int = 1) -> Tensor:
        """``each`` uniforms per particle in (0, 1)."""
        return self._of(uniforms_of_sites, step, channel, each)

    def _of(self, numbers: Any, step: int, channel: int, each: int) -> Tensor:
        at = self.noise.address(step, step, channel)
        first = (self.noise.particle + self.columns) * each
        sites = first[:, None] + torch.arange(each, device=first.device)
        streams = at.stream + (self.rows[:, None] << 8)
        where = sites, torch.full_like(sites, step), streams.expand_as(sites)
        drawn: Tensor = numbers(*where, (at.seed & _LOW, at.seed >> 32), self.noise.buffer.dtype)
        return drawn[None]


@dataclass
class LawNoise:
    """The noise of a law's ``sample``: ``normal(n, d)``, ``uniform(n, d)``, fresh at every call.

    Also by the names that the noise of a dynamics has, ``normals`` and ``uniforms``.

    Its numbers are independent of those of a dynamics: they use separate channels, and
    the calls are counted by the step of the counter. The n rows are those of particles ``first,
    ...``. ``step``: of a simulation, for places to which it resets; None for starts.
    """

    seed: int
    run: int = 0
    dtype: Any = torch.float64
    device: Any = "cpu"
    first: int = 0
    step: int | None = None
    _calls: int = field(default=0, init=False)

    def normal(self, n: int, d: int) -> Tensor:
        """Standard normals, shape ``(n, d)``."""
        out = torch.empty(1, n * d, dtype=self.dtype, device=self.device)
        return fill_normals(out, self._next(INITIAL_NORMAL, RESET_NORMAL), self.first * d).view(
            n, d
        )

    def uniform(self, n: int, d: int) -> Tensor:
        """Uniforms strictly between 0 and 1, shape ``(n, d)``."""
        out = torch.empty(1, n * d, dtype=self.dtype, device=self.device)
        return fill_uniforms(out, self._next(INITIAL_UNIFORM, RESET_UNIFORM), self.first * d).view(
            n, d
        )

    normals, uniforms = normal, uniform

    def _next(self, at_start: int, in_steps: int) -> Address:
        self._calls += 1
        if self.step is None:
            return Address(self.seed, self.run, at_start, self._calls - 1)
        return Address(self.seed, self.run, in_steps, self.step * _CALLS + self._calls - 1)


def _uniform_32(word: Tensor) -> Tensor:
    return ((word >> 9).float() + 0.5) * 2.0**-23


def _uniform_64(word: Tensor) -> Tensor:
    return ((word >> 12 & (1 << 52) - 1).double() + 0.5) * 2.0**-52


def _pair_64(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Box-Muller of two 64-bit words: radius from ``a``; angle, by reflections, from ``b``."""
    u = ((a >> 12 & (1 << 52) - 1).double() + 0.5) * 2.0**-52
    # u = 2**e * m with m in [sqrt(1/2), sqrt(2)), then log m = 2 artanh(s), s = (m - 1) / (m + 1)
    shifted = u.view(torch.int64) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    e = ((shifted >> 52) - 1023).double()
    m = ((shifted & (1 << 52) - 1) + 0x3FE6A09E667F3BCD).view(torch.float64)
    s = (m - 1.0) / (m + 1.0)
    radius = _root((e * _LN2 + s * _estrin(s * s, LOG_64)) * -2.0)
    g = ((b >> 10 & (1 << 52) - 1).double() + 0.5) * 2.0**-52 - 0.5
    sine, cosine = radius * (g * _estrin(g * g, SINE_64)), radius * _estrin(g * g, COSINE_64)
    return _reflected(sine, cosine, b >> 63 & 1, b >> 62 & 1)


def _pair_32(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The float32 form, from two 32-bit words."""
    u = ((a >> 1).float() + 0.5) * 2.0**-31
    shifted = u.view(torch.int32).long() + (0x3F800000 - 0x3F3504F3)
    e = ((shifted >> 23) - 127).float()
    m = ((shifted & 0x7FFFFF) + 0x3F3504F3).int().view(torch.float32)
    s = (m - 1.0) / (m + 1.0)
    radius = _root((e * _LN2 + s * _horner(s * s, LOG_32)) * -2.0)
    g = ((b >> 7 & 0x7FFFFF).float() + 0.5) * 2.0**-23 - 0.5
    sine, cosine = radius * (g * _horner(g * g, SINE_32)), radius * _horner(g * g, COSINE_32)
    return _reflected(sine, cosine, b >> 31 & 1, b >> 30 & 1)


def _reflected(sine: Tensor, cosine: Tensor, flip: Tensor, swap: Tensor) -> tuple[Tensor, Tensor]:
    """Map the arc |angle| < pi/4 to the circle by two reflections."""
    cosine = torch.where(flip.bool(), -cosine, cosine)
    return torch.where(swap.bool(), sine, cosine), torch.where(swap.bool(), cosine, sine)


def _root(x: Tensor) -> Tensor:
    # torch's own CPU square root may be MKL's, which is not correctly rounded; numpy's is
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else x.sqrt()


def _horner(z: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    *rest, before, last = coefficients
    value = before + z * last
    for c in reversed(rest):
        value = c + z * value
    return value


def _estrin(z: Tensor, c: tuple[float, ...]) -> Tensor:
    """Eight terms by pairs, so that the chain of dependent operations is short."""
    z2 = z * z
    low = (c[0] + z * c[1]) + z2 * (c[2] + z * c[3])
    return low + z2 * z2 * ((c[4] + z * c[5]) + z2 * (c[6] + z * c[7]))
