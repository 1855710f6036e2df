"""Optimizers for networks: each is the algorithm of its paper, and a good torch.optim.Optimizer."""

import copy
import io
import math
from inspect import signature
from itertools import count as count_from
from itertools import islice, product

import numpy as np
import pytest
import torch
from optimizer_cases import CASES, OPTIMIZERS
from torch.optim.optimizer import register_optimizer_step_post_hook

from pdekit import optim
from pdekit.particles import ExponentialAverage, LinearAverage
from pdekit.particles.noise import Address, fill_normals

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
with_closure = pytest.mark.parametrize(
    "case", [c for c in CASES if c.calls > 1], ids=lambda case: case.name
)
noisy = pytest.mark.parametrize("case", [c for c in CASES if c.noisy], ids=lambda case: case.name)

SHAPES = ((3, 2), (5,), (2, 2), (), (2, 1, 2), (1, 3))  # the first three are the first group


class Problem:
    """f(x) = Σ (x_i² - 1)²/4 + sin(x_i x_{i+1})/2 over all parameters in one circle; in replica a
    with a Σ x_i/10 more."""

    def __init__(self):
        draw = np.random.default_rng(3)
        self.parameters = [torch.tensor(draw.normal(size=s), requires_grad=True) for s in SHAPES]
        self.losses, self.made = [], None

    def closure(self):
        for p in self.parameters:
            p.grad = None
        x = torch.cat([p.reshape(-1) for p in self.parameters])
        loss = ((x**2 - 1) ** 2 / 4 + torch.sin(x * x.roll(-1)) / 2).sum()
        loss = loss + 0.1 * getattr(self.made, "replica", 0) * x.sum()
        loss.backward()
        self.losses.append(loss.item())
        return loss

    def optimizer(self, case, **changes):
        self.made = case.in_two_groups(self.parameters[:3], self.parameters[3:], **changes)
        return self.made

    def run(self, optimizer, steps):
        for _ in range(steps):
            optimizer.step(self.closure)
        return self

    def run_with(self, case, steps=5, **changes):
        return self.run(self.optimizer(case, **changes), steps).x

    @property
    def x(self):
        return np.concatenate([p.detach().numpy().reshape(-1) for p in self.parameters])


def slope(x, replica=0):
    """∇f of `Problem`."""
    here = np.cos(x * np.roll(x, -1)) * np.roll(x, -1)
    behind = np.cos(np.roll(x, 1) * x) * np.roll(x, 1)
    return x**3 - x + (here + behind) / 2 + 0.1 * replica


def normals_at(at, size, dtype=torch.float64):
    """The numbers of `pdekit.particles.noise`, which has tests of its own."""
    return fill_normals(torch.empty(1, size, dtype=dtype), at)[0]


def normals_of(shapes, seed):
    """``normals(k)`` of parameters with these shapes, in one vector."""
    sizes = [int(np.prod(s)) for s in shapes]

    def normals(k, channel=0, row=0, rows=1):
        runs = [i * rows + row for i in range(len(sizes))]
        drawn = [normals_at(Address(seed, i, channel, k), n)
                 for i, n in zip(runs, sizes, strict=True)]  # fmt: skip
        return torch.cat(drawn).numpy()

    return normals


def vectors(case):
    """The options of the reference, those that differ between the groups as vectors."""
    sizes = [int(np.prod(s)) for s in SHAPES]
    counts = sum(sizes[:3]), sum(sizes[3:])
    given = {**defaults(case.cls), **case.options, **case.known}
    merged = {**case.options, **case.known}
    for name, value in case.second.items():
        merged[name] = np.repeat([given[name], value], counts)
    return merged


def defaults(cls):
    """Default values of options."""
    return {name: p.default for name, p in signature(cls).parameters.items()}


@every_case
def test_follows_the_algorithm_of_the_paper(case):
    """100 steps of a nonconvex loss over six tensors, to rounding of the largest component."""
    seed = {"seed": 11} if case.noisy else {}
    problem = Problem()
    steps = case.reference(problem.x, slope, normals_of(SHAPES, 11), **vectors(case))
    optimizer = problem.optimizer(case, **seed)
    for expected in islice(steps, 100):
        problem.run(optimizer, 1)
        rounding = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(problem.x, expected, rtol=0, atol=rounding)
    assert len(problem.losses) == 100 * case.calls


# ---- layouts, types, threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def wells(x):
    """Products and sums of each element alone, so that no bit depends on the layout."""
    return ((x**2 - 1) ** 2 / 4).sum()


def descended(case, x, steps=12, **changes):
    """x after some steps on ``wells``."""
    optimizer = case.make([x], **changes)

    def closure():
        optimizer.zero_grad()
        loss = wells(x)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return x.detach()


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layout_does_not_matter(case, dtype):
    """A transposed matrix is moved by the plain form, with the same normals: the same bits."""
    start = torch.linspace(-2, 2, 43 * 27, dtype=dtype).view(43, 27)
    lines = descended(case, start.clone().requires_grad_())
    strided = start.T.contiguous().T.requires_grad_()
    assert not strided.is_contiguous()
    assert torch.equal(lines, descended(case, strided))


@every_case
@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_does_not_matter(case):
    start = torch.linspace(-1.5, 1.5, 2 * (1 << 18) + 1025)
    steps = 1 + case.lag
    two = descended(case, start.clone().requires_grad_(), steps)
    torch.set_num_threads(1)
    assert torch.equal(two, descended(case, start.clone().requires_grad_(), steps))


@every_case
def test_short_types_have_the_same_noise(case):
    """bfloat16 rounds by 2^-9, here numbers of about 1 and up to 20 times in a step; other normals
    would differ from these by the width of the noise."""
    start = torch.linspace(-1, 1, 999).bfloat16()
    steps = 1 + case.lag
    long = descended(case, start.float().requires_grad_(), steps)
    short = descended(case, start.clone().requires_grad_(), steps)
    assert short.dtype == torch.bfloat16
    assert (long - short).abs().max() < 20 * 2**-9
    if case.noisy:
        other = descended(case, start.clone().requires_grad_(), steps, seed=1)
        assert (short - other).abs().max() > 20 * 2**-9


@pytest.mark.parametrize("cls", [optim.EntropySGD, optim.HJ])
def test_without_a_width_each_group_has_its_learning_rate(cls):
    """x ← z in all of them; with the γ of the first, that of rate 1 would go ten times too far."""
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = cls([{"params": [x]}, {"params": [y], "lr": 1.0}], lr=0.1)
    assert [group["gamma"] for group in optimizer.param_groups] == [0.1, 1.0]
    later = {"params": [torch.ones(2, requires_grad=True)], "lr": 0.3}
    optimizer.add_param_group(later)
    assert optimizer.param_groups[2]["gamma"] == 0.3


@pytest.mark.parametrize("cls", [optim.EntropySGD, optim.HJ, optim.MFHomSGLD])
def test_a_rate_of_zero_is_one_too(cls):
    """As where a schedule warms up from it: the width is the default one."""
    x = torch.ones(2, requires_grad=True)
    optimizer = cls([x], lr=0.0, inner_steps=5)
    assert optimizer.param_groups[0]["gamma"] == 1.0

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum() / 4
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.equal(x.detach(), torch.ones(2))
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step(closure)
    assert (x < 1).all()


# ---- what torch expects of an optimizer


def saved(state):
    """A state dictionary through a file, of tensors and plain values only."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_case
def test_goes_on_from_a_saved_state_with_the_same_bits(case):
    """In a new optimizer over a copy of the parameters: counters of the noise, w, α and field."""
    problem = Problem()
    optimizer = problem.optimizer(case)
    problem.run(optimizer, 7)
    other = copy.deepcopy(problem)
    new = other.optimizer(case)
    new.load_state_dict(saved(optimizer.state_dict()))
    assert np.array_equal(problem.run(optimizer, 6).x, other.run(new, 6).x)


@every_case
def test_schedulers_act(case):
    """StepLR is the hand that sets ``group["lr"]``, and steps of a smaller rate are shorter."""
    by_scheduler, by_hand, neither = Problem(), Problem(), Problem()
    optimizers = [p.optimizer(case) for p in (by_scheduler, by_hand, neither)]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers[0], step_size=3, gamma=0.1)
    for i in range(7):
        for problem, optimizer in zip((by_scheduler, by_hand, neither), optimizers, strict=True):
            problem.run(optimizer, 1)
        scheduler.step()
        if i % 3 == 2:
            for group in optimizers[1].param_groups:
                group["lr"] *= 0.1
    assert np.allclose(by_scheduler.x, by_hand.x, rtol=1e-12)
    assert not np.allclose(by_scheduler.x, neither.x, atol=1e-3)


@every_case
def test_parameters_without_gradient_stay(case):
    """Frozen ones and ones that the loss does not know, though the others move."""
    start = [torch.full((4,), v, dtype=torch.float64) for v in (0.7, -0.3, 1.1)]
    used, unknown, frozen = (v.clone().requires_grad_(i < 2) for i, v in enumerate(start))
    optimizer = case.make([used, unknown, frozen])

    def closure():
        optimizer.zero_grad()
        loss = (used * frozen).sin().sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert torch.equal(unknown.detach(), start[1]) and torch.equal(frozen, start[2])
    assert (used.detach() - start[0]).abs().min() > 1e-3


@every_case
def test_frozen_parameters_are_not_walked(case):
    """In no evaluation is a frozen parameter elsewhere: what is fixed is not smoothed over."""
    used, frozen = torch.ones(3, requires_grad=True), torch.full((3,), 0.5)
    optimizer = case.make([used, frozen])

    def closure():
        assert (frozen == 0.5).all()
        optimizer.zero_grad()
        loss = (used * frozen).sin().sum()
        loss.backward()
        return loss

    for _ in range(1 + case.lag):
        optimizer.step(closure)
    assert (used != 1).all()


def test_the_dual_step_without_a_gradient_at_y_is_none():
    """As with layers that are left out at random: such a parameter is back at x, not left at y."""
    used, dropped = (torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer, calls = optim.HJ([used, dropped], lr=0.1, inner_steps=2, dual=True), []

    def closure():
        optimizer.zero_grad()
        loss = (used**2).sum() + (dropped.sum() if len(calls) < 2 else 0)
        loss.backward()
        calls.append(dropped.detach().clone())
        return loss

    optimizer.step(closure)
    assert (calls[2] < 1).all() and (dropped == 1).all() and (used < 1).all()


@every_case
def test_the_loss_of_the_closure_comes_back(case):
    """f(x) before the step, or the mean over the samples; as a tensor without a graph."""
    problem = Problem()
    optimizer = problem.optimizer(case)
    for _ in range(3):
        problem.losses.clear()
        loss = optimizer.step(problem.closure)
        assert not loss.requires_grad
        assert loss.item() == pytest.approx(case.loss(problem.losses), rel=1e-14)
        assert len(problem.losses) == case.calls


@pytest.mark.parametrize("case", [c for c in CASES if c.calls == 1], ids=lambda case: case.name)
def test_one_gradient_needs_no_closure(case):
    """The gradients that are there do as well; then there is no loss to give back."""
    with_closure, without = Problem(), Problem()
    one, other = with_closure.optimizer(case), without.optimizer(case)
    for _ in range(5):
        with_closure.run(one, 1)
        without.closure()
        assert other.step() is None
    assert np.array_equal(with_closure.x, without.x)


@every_case
def test_a_closure_that_raises_leaves_the_parameters_as_they_were(case):
    """At any of its calls; and the optimizer can go on."""
    for failing in range(case.calls):
        problem = Problem()
        optimizer = problem.optimizer(case)
        problem.run(optimizer, 2)
        before = problem.x
        problem.losses.clear()

        def closure(problem=problem, failing=failing):
            if len(problem.losses) == failing:
                raise KeyboardInterrupt
            return problem.closure()

        with pytest.raises(KeyboardInterrupt):
            optimizer.step(closure)
        assert np.array_equal(problem.x, before)
        problem.run(optimizer, 1)
        assert not np.array_equal(problem.x, before) and np.isfinite(problem.x).all()


NO_LOSSES = {
    "None": None,
    "several": torch.ones(3),
    "complex": torch.tensor(1j),
    "text": "0.3",
}


@every_case
@pytest.mark.parametrize("loss", NO_LOSSES.values(), ids=NO_LOSSES)
def test_a_closure_returns_one_number(case, loss):
    x = torch.ones(3, requires_grad=True)
    optimizer = case.make([x])

    def closure():
        x.sum().backward()
        return loss

    with pytest.raises(TypeError, match=r"closure\(\) must return the loss, one real.*, got"):
        optimizer.step(closure)
    assert torch.equal(x.detach(), torch.ones(3))


@every_case
@pytest.mark.parametrize("loss", [0.5, np.float32(0.5), torch.tensor([0.5]), math.nan], ids=str)
def test_a_loss_is_any_real_number(case, loss):
    x = torch.ones(3, requires_grad=True)

    def closure():
        x.grad = torch.ones(3)
        return loss

    found = float(case.make([x]).step(closure))
    assert np.array_equal(found, float(loss), equal_nan=True)


@every_case
def test_the_seed_decides_and_torchs_generator_does_not(case):
    torch.manual_seed(1)
    one = Problem().run_with(case)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert np.array_equal(one, Problem().run_with(case))
    assert torch.equal(torch.get_rng_state(), state)
    if case.noisy:
        assert np.abs(one - Problem().run_with(case, seed=1)).max() > 1e-3


@noisy
def test_parameters_do_not_share_noise(case):
    """Two equal parameters of equal gradient part, and each element of one from the others."""
    start = torch.full((50,), 0.5, dtype=torch.float64)
    one, other = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizer = case.make([one, other])

    def closure():
        optimizer.zero_grad()
        loss = wells(one) + wells(other)
        loss.backward()
        return loss

    for _ in range(1 + case.lag):
        optimizer.step(closure)
    moved = torch.cat([one, other]).detach()
    assert moved.unique().numel() == 100


@every_case
def test_groups_may_be_added_on_the_way(case):
    """Those that were there go on with the same bits. The new one starts at the bottom of a well,
    where without noise it stays, so that it has no part in restarts."""
    alone, added = (torch.full((40,), 0.5, dtype=torch.float64) for _ in range(2))
    new = torch.ones(40, dtype=torch.float64, requires_grad=True)
    for x, others in ((alone, ()), (added, (new,))):
        x.requires_grad_()
        optimizer = case.make([x])

        def closure(optimizer=optimizer, x=x):
            optimizer.zero_grad()
            loss = wells(x) + wells(new)
            loss.backward()
            return loss

        for step in range(6):
            if step == 3:
                for other in others:
                    optimizer.add_param_group({"params": [other], "weight_decay": 0.0})
            optimizer.step(closure)
    assert torch.equal(alone, added)
    assert ((new != 1) == case.noisy).all()


@every_case
def test_copies_go_their_own_way(case):
    """A deep copy is independent of what it was made from and steps with the same bits."""
    problem = Problem()
    optimizer = problem.optimizer(case)
    problem.run(optimizer, 3)
    other, new = copy.deepcopy((problem, optimizer))
    problem.run(optimizer, 4)
    assert not np.array_equal(problem.x, other.x)
    assert np.array_equal(problem.x, other.run(new, 4).x)


@every_case
def test_a_whole_optimizer_can_be_saved(case):
    """As torch.save keeps any object; with it the parameters."""
    problem = Problem()
    optimizer = problem.optimizer(case)
    problem.run(optimizer, 3)
    file = io.BytesIO()
    torch.save((problem, optimizer), file)
    file.seek(0)
    other, new = torch.load(file, weights_only=False)
    assert np.array_equal(problem.run(optimizer, 4).x, other.run(new, 4).x)


@pytest.mark.parametrize(
    ("cls", "switch"), [(optim.HJ, "dual"), (optim.HEAT, "antithetic"), (optim.MaSS, "restart")]
)
def test_switches_belong_to_the_saved_state(cls, switch):
    """Training goes on as it was begun, though the new optimizer was made without the switch."""
    problem = Problem()
    optimizer = cls(problem.parameters, lr=0.1, **{switch: True})
    problem.run(optimizer, 7)
    other = copy.deepcopy(problem)
    new = cls(other.parameters, lr=0.1)
    new.load_state_dict(saved(optimizer.state_dict()))
    assert np.array_equal(problem.run(optimizer, 6).x, other.run(new, 6).x)


def regression():
    """y = sin of two inputs, 64 points, and a network of 65 parameters."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 2, generator=draw)
    targets = torch.sin(inputs @ torch.tensor([[1.0], [-0.5]]))
    model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=draw))
    return model, lambda: torch.nn.functional.mse_loss(model(inputs), targets)


def trained(make, steps, autocast=False):
    """All parameters and the loss, before and after the training."""
    model, loss_of = regression()
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = loss_of()
        loss.backward()
        return loss

    def now():
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach(), loss_of().item()

    before = now()
    for _ in range(steps):
        optimizer.step(closure)
    return before, now()


CLASSES = list(dict.fromkeys(case.cls for case in CASES))


@every_case
def test_closures_under_autocast(case):
    """A loss in bfloat16 moves the parameters, which stay in float32, as one in float32 does, but
    for a tenth of the way (2^-9 in each of a few products)."""
    (start, _), (plain, _) = trained(case.make, 8)
    _, (rounded, _) = trained(case.make, 8, autocast=True)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - plain).norm() < 0.1 * (plain - start).norm()


# ---- what is refused

NOT_POSITIVE = (0.0, -1.0, float("nan"), float("inf"), "wide", None)
NEGATIVE = (-1.0, float("nan"), float("inf"), "hot", None)
NOT_SHARES = (-0.1, 1.0, float("nan"), "most", None)
NOT_COUNTS = (0, -1, 2.5, "many", True, None)
NOT_SEEDS = (-1, 2**64, 1.5, "lucky", None)
BAD = {
    optim.SGLD: {"lr": NEGATIVE, "temperature": NEGATIVE, "seed": NOT_SEEDS},
    optim.EntropySGD: {
        "lr": NEGATIVE[:-1],  # None for 0.2 a gradient
        "gamma": NOT_POSITIVE[:-1],  # None for the learning rate
        "inner_steps": NOT_COUNTS,
        "temperature": NEGATIVE,
        "inner_lr": NOT_POSITIVE[:-1],
        "alpha": NOT_SHARES,
        "seed": NOT_SEEDS,
    },
    optim.HJ: {
        "lr": NEGATIVE[:-1],
        "gamma": NOT_POSITIVE[:-1],
        "inner_steps": NOT_COUNTS,
        "inner_lr": NOT_POSITIVE[:-1],
    },
    optim.HEAT: {
        "lr": NEGATIVE[:-1],
        "gamma": NOT_POSITIVE,
        "inner_steps": NOT_COUNTS,
        "temperature": NEGATIVE,
        "seed": NOT_SEEDS,
    },
    optim.TrivializedSGD: {
        "lr": NEGATIVE[:-1],  # None for 0.2
        "coupling": NEGATIVE,
        "decay": NOT_POSITIVE,
        "layers": (2, -3, float("nan"), "deep"),
        "seed": NOT_SEEDS,
    },
    optim.NesterovRestart: {"lr": NEGATIVE},
    optim.MaSS: {"lr": NEGATIVE, "momentum": NOT_SHARES, "compensation": NOT_SHARES},
    optim.ElasticSGD: {
        "lr": NEGATIVE[:-1],
        "rho": NOT_POSITIVE,
        "replicas": NOT_COUNTS,
        "master_lr": NEGATIVE[:-1],
    },
    optim.Parle: {
        "lr": NEGATIVE[:-1],
        "rho": (0.0, -1.0, float("nan"), "wide", None),
        "gamma": NOT_POSITIVE,
        "inner_steps": NOT_COUNTS,
        "replicas": NOT_COUNTS,
        "inner_lr": NOT_POSITIVE[:-1],
        "alpha": NOT_SHARES,
        "temperature": NEGATIVE,
        "seed": NOT_SEEDS,
    },
    optim.MFSGLD: {
        "lr": NEGATIVE[:-1],
        "strength": NEGATIVE,
        "replicas": NOT_COUNTS,
        "temperature": NEGATIVE,
        "seed": NOT_SEEDS,
    },
    optim.MFHomSGLD: {
        "lr": NEGATIVE[:-1],
        "gamma": NOT_POSITIVE[:-1],
        "strength": NEGATIVE,
        "inner_steps": NOT_COUNTS,
        "burn_in": NOT_COUNTS,
        "replicas": NOT_COUNTS,
        "temperature": NEGATIVE,
        "inner_lr": NOT_POSITIVE[:-1],
        "seed": NOT_SEEDS,
    },
}
BAD = {cls: {**options, "weight_decay": NEGATIVE} for cls, options in BAD.items()}


def test_every_class_has_its_bad_options():
    assert set(BAD) == set(CLASSES)


@pytest.mark.parametrize(
    ("cls", "option"),
    [(c, o) for c in BAD for o in BAD[c]],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_bad_options_are_refused_by_name(cls, option):
    """For all parameters or for a group, before or after others: with the name and the value."""
    for value in BAD[cls][option]:
        x, y = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
        message = rf"{option} must be .* got {value!r}"
        with pytest.raises(ValueError, match=message):
            cls([x], **{option: value})
        optimizer = cls([x])
        with pytest.raises(ValueError, match=message):
            optimizer.add_param_group({"params": [y], option: value})
        assert len(optimizer.param_groups) == 1


@with_closure
@pytest.mark.parametrize("closure", [None, 3.0])
def test_several_gradients_need_a_closure(case, closure):
    problem = Problem()
    before = problem.x
    with pytest.raises(TypeError, match=r"step\(closure\).*backward.*got"):
        problem.optimizer(case).step(closure)
    assert np.array_equal(problem.x, before)


@every_case
@pytest.mark.parametrize("several", [True, False])
def test_sparse_gradients_are_refused(case, several):
    """Before anything is moved, also what has dense ones; with or without a closure."""
    table = torch.nn.Embedding(5, 2, sparse=True, dtype=torch.float64)
    dense = torch.ones(2, dtype=torch.float64, requires_grad=True)
    start = table.weight.detach().clone()
    optimizer = case.make([dense, table.weight])

    def closure():
        optimizer.zero_grad()
        loss = (table(torch.tensor([1, 3])) * dense).sin().sum()
        loss.backward()
        return loss

    closure()
    with pytest.raises(TypeError, match=r"dense gradients.*sparse=False"):
        optimizer.step(closure if several or case.calls > 1 else None)
    assert torch.equal(table.weight, start) and (dense == 1).all()


@pytest.mark.parametrize(
    ("cls", "count"),
    [
        (optim.EntropySGD, "inner_steps"),
        (optim.HJ, "inner_steps"),
        (optim.HEAT, "inner_steps"),
        (optim.MFHomSGLD, "inner_steps"),
        (optim.ElasticSGD, "replicas"),
        (optim.Parle, "replicas"),
    ],
)
def test_all_groups_take_the_same_number_of_gradients(cls, count):
    problem = Problem()
    groups = [{"params": problem.parameters[:3]}, {"params": problem.parameters[3:], count: 8}]
    before = problem.x
    with pytest.raises(
        ValueError, match=rf"{count} must be the same in all parameter groups, got \["
    ):
        cls(groups, lr=0.1).step(problem.closure)
    assert np.array_equal(problem.x, before)


def test_antithetic_samples_come_in_pairs():
    x, y = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match="even number, got 5"):
        optim.HEAT([x], inner_steps=5, antithetic=True)
    with pytest.raises(ValueError, match="even number, got 3"):
        optim.HEAT([x], antithetic=True).add_param_group({"params": [y], "inner_steps": 3})
    with pytest.raises(ValueError, match="inner_steps must be a whole number"):
        optim.HEAT([x], inner_steps="some", antithetic=True)


def stepped(optimizer, p):
    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    return optimizer.step(closure)


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_options_that_are_set_later_are_checked_too(cls):
    """An option that the optimizer does not have, one out of range, and the state of another."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = cls([p], lr=0.1)
    stepped(optimizer, p)
    optimizer.param_groups[0]["weight_decays"] = 0.1
    with pytest.raises(ValueError, match="no option 'weight_decays'"):
        stepped(optimizer, p)
    del optimizer.param_groups[0]["weight_decays"]
    for bad in (float("nan"), -1.0, "a"):
        before = p.detach().clone()
        optimizer.param_groups[0]["lr"] = bad
        with pytest.raises(ValueError, match="lr must be a finite number >= 0"):
            stepped(optimizer, p)
        assert torch.equal(p.detach(), before)
    optimizer.param_groups[0]["lr"] = 0.05
    stepped(optimizer, p)
    other = torch.optim.SGD([p], lr=0.1).state_dict()
    with pytest.raises(ValueError, match=r"a parameter group has no '"):
        optimizer.load_state_dict(other)
        stepped(optimizer, p)


# ---- what is left out of a mean


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("burn_in", [1, 12])
@pytest.mark.parametrize(
    "average", [*map(ExponentialAverage, (0.0, 0.1, 0.25, 0.7)), LinearAverage()]
)
def test_a_mean_leaves_out_only_what_rounding_would(dtype, average, burn_in):
    """Of 30 iterates the last 1 to 30 are averaged. Four tensors, of which one has a gradient in
    all evaluations, one in the first five, one in the last ten, one not in every third.
    """
    start = torch.linspace(-2, 2, 50, dtype=dtype)
    tensors = [(start + k).requires_grad_() for k in range(4)]
    known = [range(30), range(5), range(20, 30), [k for k in range(30) if k % 3]]
    eta, calls = 0.01, []
    optimizer = optim.EntropySGD(
        tensors, 0.5, 1.0, 30, inner_lr=eta, average=average, burn_in=burn_in
    )

    def closure():
        optimizer.zero_grad()
        here = [p for p, those in zip(tensors, known, strict=True) if len(calls) in those]
        loss = sum((p**2).sum() for p in here)
        loss.backward()
        calls.append(1)
        return loss

    optimizer.step(closure)
    for k, those in enumerate(known):
        x = start.double().numpy() + k
        ys = [x]
        for i in range(30):
            y = ys[-1]
            ys.append(y - eta * (2 * y + y - x) if i in those else y)
        counted = zip(average.weights(31 - burn_in), ys[burn_in - 1 :], strict=True)
        expected = x - 0.5 * (x - sum(weight * y for weight, y in counted))
        error = np.abs(tensors[k].detach().double().numpy() - expected).max()
        assert error < 8 * torch.finfo(dtype).eps * np.abs(x).max()


def test_hooks_and_profilers_see_every_step():
    """Though steps go past torch's wrapper where nobody waits for them."""
    x, seen = torch.ones(2, requires_grad=True), []
    optimizer = optim.SGLD([x], temperature=0.0)
    x.grad = torch.ones(2)
    hooks = [
        optimizer.register_step_pre_hook(lambda *of: seen.append("before")),
        optimizer.register_step_post_hook(lambda *of: seen.append("after")),
    ]
    optimizer.step()
    for hook in hooks:
        hook.remove()
    optimizer.step()
    everywhere = register_optimizer_step_post_hook(lambda *of: seen.append("anywhere"))
    optimizer.step()
    everywhere.remove()
    assert seen == ["before", "after", "anywhere"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert "Optimizer.step#SGLD.step" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("burn_in", [1, 2, 3])
@pytest.mark.parametrize("steps", [5, 6])
def test_an_average_is_that_of_every_iterate_whoever_has_a_gradient(steps, burn_in):
    """Iterates are added to z in pairs; layers get their first gradient at each step, and have
    none at another: z is the plain mean of the iterates from burn_in on.
    """
    average, h = LinearAverage(), 0.1
    for start, gap in product(range(1, steps + 1), repeat=2):
        x, never = (torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        optimizer = optim.EntropySGD(
            [x, never], 1.0, 1.0, steps, inner_lr=h, average=average, burn_in=burn_in
        )
        count = count_from(1)

        def closure(x=x, never=never, start=start, gap=gap, count=count):
            m = next(count)
            x.grad = x.detach().clone() if m >= start and m != gap else None
            never.grad = None
            return 0.0

        optimizer.step(closure)
        y, met = 1.0, []
        for m in range(1, steps + 1):
            if m >= start and m != gap:
                y -= h * (y + (y - 1.0))
            met.append(y)
        expected = np.mean(met[burn_in - 1 :])
        np.testing.assert_allclose(x.detach().numpy(), expected, rtol=1e-14)
        assert torch.equal(never.detach(), torch.ones(3, dtype=torch.float64))
