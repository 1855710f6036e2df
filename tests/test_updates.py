"""The rules by which optimizers move parameters: kernels beside the plain form in torch's lists.

Lists of tensors of any shape, type and layout: rows that the kernels take among some that they do
not, none at all, empty ones. Every operation is rounded alike; without that a machine's answer
would not be another's.
"""

from collections.abc import Callable
from math import exp
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pdekit.optim import SGLD, tables, updates
from pdekit.optim.tables import Column
from pdekit.optim.updates import Noise
from pdekit.particles.noise import Address, fill_normals

SHAPES = [(), (0,), (1,), (5,), (3, 2), (511,), (512,), (513,), (2, 700), (4, 0)]
TYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bfloat16]
rows = st.lists(
    st.tuples(st.sampled_from(SHAPES), st.sampled_from(TYPES[:2] * 4 + TYPES), st.integers(0, 5)),
    max_size=6,
)
numbers = st.floats(0.01, 1.0)


def columns(rows: Any, many: int) -> list[list[Tensor]]:
    """So many lists of tensors; kind 1 is transposed, 2 a part of a longer line."""
    draw = torch.Generator().manual_seed(1)

    def tensor(shape: Any, dtype: Any, kind: int) -> Tensor:
        if kind == 1:
            turned = torch.randn(shape[::-1], dtype=dtype, generator=draw)
            return turned.permute([*range(len(shape))][::-1])
        if kind == 2:
            size = torch.Size(shape).numel()
            return torch.randn(size + 3, dtype=dtype, generator=draw)[3:].view(shape)
        return torch.randn(shape, dtype=dtype, generator=draw)

    return [[tensor(*row) for row in rows] for _ in range(many)]


def both(rule: Callable[..., Any], rows: Any, many: int) -> tuple[Any, Any]:
    """All tensors after a rule, and what it returns: by kernels where they can, and plain."""

    def after() -> Any:
        tensors = columns(rows, many)
        found = rule(*map(Column, tensors))
        return [t for column in tensors for t in column], found

    fast = after()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "supported", lambda table: False)
        return fast, after()


def same(fast: Any, plain: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(fast[0], plain[0], strict=True))


@settings(max_examples=60)
@given(rows, numbers, numbers, numbers, st.tuples(*[st.booleans()] * 6))
def test_a_step_is_the_plain_one(
    rows: Any, eta: float, gamma: float, alpha: float, has: tuple[bool, ...]
) -> None:
    """Any of noise, attraction, mean, one that begins there, and another place for the result; or
    a centre that is set.
    """
    noisy, drawn, averaged, begin, elsewhere, keep = has
    runs = [3 * k + 1 for k in range(len(rows))]
    noise = Noise(0.37, Address(2**64 - 5, channel=1, step=8), runs) if noisy else None

    def step(y: Any, g: Any, x: Any, z: Any, o: Any) -> None:
        updates.langevin_steps(
            y, g, eta, noise, x if drawn else None, gamma, z if averaged else None, alpha, begin,
            o if elsewhere else None, keep=keep and drawn,
        )  # fmt: skip

    assert same(*both(step, rows, 5))


@settings(max_examples=30)
@given(rows, numbers, numbers, numbers, st.booleans())
def test_acceleration_is_the_plain_one(
    rows: Any, eta: float, momentum: float, push: float, climb: bool
) -> None:
    def step(u: Any, w: Any, g: Any) -> float:
        return updates.accelerate(u, w, g, eta, momentum, push, climb)

    fast, plain = both(step, rows, 3)
    assert same(fast, plain) and fast[1] == pytest.approx(plain[1], rel=1e-5, abs=1e-2)
    assert climb or fast[1] == 0.0


RULES = {
    "scatter": (
        2,
        lambda y, x: updates.scatter(y, x, Noise(-0.3, Address(4), range(len(y.tensors)))),
    ),
    "near": (3, lambda y, x, z: updates.interpolate(y, x, z, 0.3)),
    "far": (3, lambda y, x, z: updates.interpolate(y, x, z, 0.9)),
    "relay": (5, lambda y, g, x, o, n: updates.relay(y, g, x, o, [n], 0.1, 0.7)),
    "relay to the mean": (
        6,
        lambda y, g, x, o, p, q: updates.relay(y, g, x, o, [p, q, y], 0.1, 0.7, 0.3),
    ),
    "couple": (3, lambda z, x, m: updates.couple(z, x, m, 0.7, 0.2)),
    **{f"mean of {n}": (n + 1, lambda y, *x: updates.average(y, x)) for n in (1, 2, 3, 4, 7)},
}


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=15)
@given(rows)
def test_every_rule_is_the_plain_one(name: str, rows: Any) -> None:
    many, rule = RULES[name]
    assert same(*both(rule, rows, many))


def one(value: float) -> tuple[Tensor, Column]:
    """A number, and the column of it alone."""
    t = torch.tensor([value], dtype=torch.float64)
    return t, Column([t])


def test_rules_do_what_they_say() -> None:
    """In numbers, of one row: the two forms above could be wrong together."""
    (y, ys), (_, gs), (_, xs), (z, zs), (o, os) = map(one, (2.0, 3.0, 1.0, 5.0, 0.0))
    updates.langevin_steps(ys, gs, 0.1, None, xs, 0.5, zs, 0.25, into=os)
    assert y.item() == 2.0 and o.item() == 2 - 0.1 * (3 + 1 / 0.5)
    assert z.item() == 0.25 * 5 + 0.75 * o.item()
    (v, vs), (centre, centres), (_, nexts) = map(one, (2.0, 7.0, 4.0))
    updates.langevin_steps(vs, gs, 0.1, None, centres, 0.5, into=os, keep=True)
    assert (centre.item(), o.item(), v.item()) == (2.0, 2 - 0.1 * 3, 2.0)
    updates.relay(vs, gs, xs, os, [nexts, vs, xs], 0.1, 0.5, 0.25)
    assert (v.item(), o.item()) == (pytest.approx(1 + 0.25 * (7 / 3 - 1)), 2 - 0.1 * (3 + 1 / 0.5))
    updates.langevin_steps(ys, gs, 0.1, None, xs, 0.5, into=os)
    updates.langevin_steps(ys, gs, 0.1, None, None, 0.5, zs, 0.25, begin=True)
    assert z.item() == pytest.approx(0.25 * 2 + 0.75 * 1.7, rel=1e-15)
    (u, us), (w, ws) = map(one, (2.0, 1.0))
    assert updates.accelerate(us, ws, gs, 0.1, 0.5, 0.2) == pytest.approx(3 * 0.7)
    assert (w.item(), u.item()) == (1.7, pytest.approx(1.7 + 0.5 * 0.7 + 0.1 * 0.2 * 3))
    updates.interpolate(ys, xs, zs, 0.25)
    assert y.item() == 1 + 0.25 * (z.item() - 1)
    updates.couple(zs, xs, os, 0.5, 0.1)
    assert z.item() == pytest.approx(1 - 0.5 * (1 - 1.775) - 0.1 * (1 - 1.5), rel=1e-15)
    mean, means = one(0.0)
    updates.average(means, [one(v)[1] for v in (1.0, 2.0, 6.0)])
    assert mean.item() == pytest.approx(3.0)


def test_noise_is_that_of_the_run_at_the_address() -> None:
    """Of a row, whatever the others are."""
    at, x = Address(2, step=9), torch.linspace(-1, 1, 3000)
    ys = [torch.empty(7), torch.full_like(x, torch.nan)]
    updates.scatter(Column(ys), Column([torch.zeros(7), x]), Noise(-0.3, at, [5, 7]))
    xi = fill_normals(torch.empty(1, 3000), Address(2, 7, step=9))[0]
    assert torch.equal(ys[1], x + xi * -0.3)
    with pytest.raises(ValueError, match=r"0 <= run < 2\*\*24"):
        Noise(1.0, at, [0, 1 << 24])


@pytest.mark.parametrize("sizes", [(2**19 - 1,), (2**19 + 1025,), (300_000, 0, 511, 300_000, 7)])
def test_threads_share_rows_without_a_seam(sizes: tuple[int, ...]) -> None:
    """From 2^19 elements on there are two parts, between chunks of any row."""
    rows = [((n,), torch.float32, 0) for n in sizes]
    noise = Noise(0.3, Address(2, step=4), range(len(sizes)))

    def step(y: Any, g: Any, x: Any, z: Any) -> float:
        updates.langevin_steps(y, g, 0.1, noise, x, 0.7, z, 0.3)
        return updates.accelerate(y, x, g, 0.1, 0.5, 0.0)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two, plain = both(step, rows, 4)
    finally:
        torch.set_num_threads(before)
    assert same(two, plain) and two[1] == both(step, rows, 4)[0][1]


class Wrapped(Tensor):
    """A tensor of a class of its own, which may keep its numbers anywhere."""


def test_only_numbers_that_lie_as_they_seem_go_to_the_kernels() -> None:
    """Others would be read wrong through a pointer, or out of bounds."""
    y = torch.randn(4)
    negative = torch.randn(4, dtype=torch.complex64).conj().imag.contiguous()
    flipped = torch._neg_view(torch.randn(4))
    assert flipped.is_neg() and not negative.is_neg()
    assert tables.supported([Column([y]), Column([negative]), None])
    bad = [flipped, torch.randn(3), torch.randn(4).double(), torch.randn(4).bfloat16(),
           torch.randn(8)[::2], torch.randn(4, device="meta"), Wrapped(torch.randn(4))]  # fmt: skip
    assert not any(tables.supported([Column([y, y]), Column([y, t])]) for t in bad)
    expected = y - flipped * 0.5
    updates.langevin_steps(Column([y]), Column([flipped]), 0.5)
    assert torch.equal(y, expected)


def test_steps_below_the_spacing_of_the_weights_are_not_lost_beside_noise():
    """SGLD in float32 around 1,001: noise makes a step of a sixth of a spacing right on average."""
    w = torch.full((20_000,), 1001.0, requires_grad=True)
    optimizer = SGLD([w], lr=1e-5, temperature=1.0)
    for _ in range(1000):
        w.grad = w.detach() - 1000
        optimizer.step()
    moved, error = float(w.detach().double().mean()) - 1001, (2 * 1e-2 / 20_000) ** 0.5
    assert abs(moved + 1 - exp(-1e-2)) < 4 * error
