"""Optimizers: what goes wrong quietly in a training, and does not here."""

import copy
import warnings
import weakref
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from optimizer_cases import OPTIMIZERS
from torch.optim.swa_utils import update_bn

from pdekit import cli, optim

cli.load_study("optimizer_speed")  # puts its neighbours on the path
from networks import defaults  # noqa: E402

every = pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
MANY = [optim.EntropySGD, optim.HJ, optim.HEAT]


def descend(optimizer: Any, tensors: list[Any], steps: int = 1) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - 1).abs() ** 2).sum() for p in tensors if p.requires_grad)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


# ---- complex parameters


@every
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_parameters_are_pairs_of_reals(cls: Any, dtype: Any) -> None:
    """The same bits as of the tensor of real and imaginary parts, noise included."""
    start = torch.randn(7, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))
    z = start.clone().requires_grad_()
    pair = torch.view_as_real(start.clone()).contiguous().requires_grad_()
    options = {"temperature": 0.3} if "temperature" in signature(cls).parameters else {}
    one, other = cls([z], lr=0.05, **options), cls([pair], lr=0.05, **options)
    for _ in range(4):
        descend(one, [z])

        def closure() -> Any:
            other.zero_grad()
            shift = torch.tensor([1.0, 0.0], dtype=pair.dtype)
            loss = ((pair - shift) ** 2).sum()
            loss.backward()
            return loss

        other.step(closure)
    torch.testing.assert_close(torch.view_as_real(z.detach()), pair.detach(), rtol=2e-6, atol=2e-6)
    assert (z.imag - start.imag).abs().min() > 1e-6


def test_noise_of_a_complex_parameter_is_in_both_parts() -> None:
    """Each component has the variance 2 η T, within 5 standard errors."""
    z = torch.zeros(20_000, dtype=torch.complex128, requires_grad=True)
    z.grad = torch.zeros_like(z)
    optim.SGLD([z], lr=0.1, temperature=0.5).step()
    error = 5 * 0.1 * np.sqrt(2 / 20_000)
    assert abs(z.real.var().item() - 0.1) < error and abs(z.imag.var().item() - 0.1) < error
    assert abs(np.corrcoef(z.real.detach(), z.imag.detach())[0, 1]) < 5 / np.sqrt(20_000)


@every
def test_half_complex_numbers_are_refused(cls: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, once
        short = torch.zeros(3, dtype=torch.complex32)
    with pytest.raises(TypeError, match="complex32; take complex64"):
        cls([short])


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_descend(cls: Any, dtype: Any) -> None:
    x = torch.zeros(40, dtype=dtype, requires_grad=True)
    descend(cls([x], lr=0.1), [x], 30)
    assert x.dtype == dtype and x.isfinite().all() and x.mean() > 0.2


@every
def test_empty_groups_tensors_without_numbers_and_whole_numbers_are_no_trouble(cls: Any) -> None:
    x, none = torch.zeros(3, requires_grad=True), torch.zeros(0, 4, requires_grad=True)
    count = torch.nn.Parameter(torch.arange(3), requires_grad=False)
    optimizer = cls([{"params": []}, {"params": [none, count, x]}], lr=0.1)
    descend(optimizer, [x, none], 3)
    assert (x > 0).all() and torch.equal(count, torch.arange(3))
    optimizer = cls([{"params": []}], lr=0.1)
    assert optimizer.step(lambda: torch.tensor(2.0)) == 2.0


# ---- options that would go by unnoticed


@every
def test_unknown_options_of_a_group_are_refused_with_those_there_are(cls: Any) -> None:
    x, y = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"no option 'weight_decays', only lr"):
        cls([{"params": [x], "weight_decays": 1e-4}])
    optimizer = cls([x])
    with pytest.raises(ValueError, match=r"no option 'momentun', only lr"):
        optimizer.add_param_group({"params": [y], "momentun": 0.9})
    assert len(optimizer.param_groups) == 1
    for bad in ([y], {"lr": 0.1}, None):
        with pytest.raises(TypeError, match="a dict with 'params'"):
            optimizer.add_param_group(bad)


@every
def test_groups_of_a_scheduled_optimizer_make_another(cls: Any) -> None:
    """Counters and what schedulers leave in a group are no unknown options."""
    x = torch.zeros(2, requires_grad=True)
    optimizer = cls([x], lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 10, cycle_momentum=False)
    torch.optim.swa_utils.SWALR(optimizer, 0.01)
    again = cls(copy.deepcopy(optimizer.param_groups))
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    named = cls(torch.nn.Linear(2, 1).named_parameters(), lr=0.1)
    assert len(named.param_groups[0]["params"]) == 2


def test_hj_has_no_noise_to_be_turned_on() -> None:
    x = torch.zeros(2, requires_grad=True)
    for option in ("temperature", "alpha"):
        with pytest.raises(ValueError, match="no options temperature and alpha; use EntropySGD"):
            optim.HJ([{"params": [x], option: 0.3}])


# ---- closures that raise


@every
def test_a_closure_that_raises_leaves_everything_as_it_was(cls: Any) -> None:
    """Parameters, counters, state and the number of the replica, at the first step and later."""
    x = torch.linspace(-1, 1, 5).requires_grad_()
    optimizer = cls([x], lr=0.1)
    for steps in (0, 2):
        descend(optimizer, [x], steps)
        calls = 0

        def closure(failing: int) -> Any:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise KeyboardInterrupt
            optimizer.zero_grad()
            loss = (x**4).sum()
            loss.backward()
            return loss

        for failing in (1, 2):
            calls = 0
            before, state = x.detach().clone(), copy.deepcopy(optimizer.state_dict())
            replica = getattr(optimizer, "replica", None)
            try:
                optimizer.step(partial(closure, failing))
            except KeyboardInterrupt:
                assert torch.equal(x, before) and getattr(optimizer, "replica", None) == replica
                assert optimizer.state_dict()["param_groups"] == state["param_groups"]
                assert str(optimizer.state_dict()["state"]) == str(state["state"])
            else:
                assert calls == 1 < failing


def test_a_step_refused_after_its_gradients_counts_none() -> None:
    """``restart`` differs between the groups: seen before anything is counted."""
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = optim.MaSS([{"params": [x], "restart": True}, {"params": [y]}])
    with pytest.raises(ValueError, match="restart must be the same in all"):
        descend(optimizer, [x, y])
    assert [g["evaluations"] for g in optimizer.param_groups] == [0, 0]


# ---- replicas at rest


@pytest.mark.parametrize("cls", [optim.ElasticSGD, optim.Parle])
@pytest.mark.parametrize("replicas", range(1, 8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_what_does_not_move_stays_to_the_bit(cls: Any, replicas: int, dtype: Any) -> None:
    """No learning rate, a frozen parameter, one that the loss does not know."""
    start = torch.randn(999, dtype=dtype, generator=torch.Generator().manual_seed(2))
    still, frozen, unknown = (start.clone().requires_grad_(k != 1) for k in range(3))
    moving = start.clone().requires_grad_()
    optimizer = cls([{"params": [still], "lr": 0.0}, {"params": [frozen, unknown, moving]}],
                    lr=0.01, replicas=replicas)  # fmt: skip
    descend(optimizer, [still, moving], 4)
    for p in (still, frozen, unknown):
        assert torch.equal(p.detach(), start)
    assert not torch.equal(moving.detach(), start)


@pytest.mark.parametrize("cls", [optim.ElasticSGD, optim.Parle])
def test_replicas_that_have_come_to_rest_keep_the_master_where_it_is(cls: Any) -> None:
    """A scheduler that ends at 0: nothing creeps by an ulp a step."""
    x = torch.randn(999, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimizer = cls([x], lr=0.05, master_lr=0.05) if cls is optim.ElasticSGD else cls([x], lr=0.05)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((x - optimizer.replica) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    for name in ("lr", "master_lr"):
        if name in optimizer.param_groups[0]:
            optimizer.param_groups[0][name] = 0.0
    optimizer.step(closure)
    rest = x.detach().clone()
    for _ in range(5):
        optimizer.step(closure)
    assert torch.equal(x.detach(), rest)


# ---- training with the defaults


@pytest.fixture(scope="module")
def digits() -> Any:
    return defaults.digits()


@pytest.fixture(scope="module")
def bar(digits: Any) -> float:
    """1.5 times what SGD leaves."""
    return 1.5 * defaults.trained(defaults.makes()[defaults.SGD], digits)


@every
def test_a_network_is_trained_with_nothing_said(cls: Any, digits: Any, bar: float) -> None:
    """As in docs/optimizers.md: at equal numbers of gradients within 1.5 times of SGD's loss."""
    assert defaults.trained(cls, digits) < bar


COUNTS = {optim.EntropySGD: "inner_steps", optim.HJ: "inner_steps", optim.HEAT: "inner_steps"}


@pytest.mark.parametrize(("cls", "count"), COUNTS.items())
@pytest.mark.parametrize("gradients", [1, 4, 40])
def test_the_default_rate_follows_the_number_of_gradients(
    cls: Any, count: str, gradients: int, digits: Any
) -> None:
    """0.2 a gradient, whatever a step takes."""
    x = torch.zeros(1, requires_grad=True)
    assert cls([x], **{count: gradients}).param_groups[0]["lr"] == pytest.approx(0.2 * gradients)
    if gradients == 4:
        assert defaults.trained(lambda p: cls(p, **{count: gradients}), digits) < 0.15


# ---- batch normalisation


@pytest.mark.parametrize("cls", MANY, ids=lambda cls: cls.__name__)
def test_running_statistics_are_of_the_inner_points_until_they_are_updated(cls: Any) -> None:
    """``update_bn`` leaves those of the network as it is, to rounding."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(),
                                torch.nn.Linear(8, 1))  # fmt: skip
    more = {"gamma": 0.25} if cls is optim.HEAT else {}
    optimizer = cls(model.parameters(), lr=0.5, **more)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((model(inputs)[:, 0] - inputs[:, 0].sin()) ** 2).mean()
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)
    with torch.no_grad():
        here = model[0](inputs)
        assert (model[1].running_mean - here.mean(0)).abs().max() > 1e-4
        update_bn([inputs], model)
    torch.testing.assert_close(model[1].running_mean, here.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model[1].running_var, here.var(0), rtol=1e-4, atol=1e-6)


# ---- memory


@every
def test_no_gradient_is_kept_while_the_next_is_computed(cls: Any) -> None:
    """The memory of the last is free when the closure has set it to None, also after the step."""
    x, seen = torch.ones(3, requires_grad=True), []

    def closure() -> Any:
        x.grad = None
        assert not any(ref() is not None for ref in seen)
        loss = (x**2).sum()
        loss.backward()
        seen.append(weakref.ref(x.grad))
        return loss

    optimizer = cls([x], lr=0.1)
    for _ in range(2):
        optimizer.step(closure)
    assert len(seen) > 1
