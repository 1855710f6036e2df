"""MF-SGLD and MF-HOM-SGLD are the particles of Kantas et al., step by step and in law."""

import io
from math import inf

import numpy as np
import pytest
import torch
from scipy import stats

import pdekit as pk
from pdekit import optim
from pdekit.particles import EulerMaruyama, ExponentialAverage, LastIterate, LinearAverage
from pdekit.particles.integrators import Step
from pdekit.particles.noise import Address, fill_normals
from pdekit.potentials import DoubleWell

SHAPE, N = (2, 3), 4
V = DoubleWell(6)


class Drawn:
    """The normals of the optimizer, replica by replica, where particles ask for theirs."""

    size = N

    def at(self, step, channel=0):
        rows = [fill_normals(torch.empty(1, 6, dtype=torch.float64), Address(5, a, step=step))
                for a in range(N)]  # fmt: skip
        return torch.stack(rows).view(1, N, 6)


def starts():
    return torch.linspace(-1.5, 1.5, N * 6, dtype=torch.float64).view(N, 6)


def replicas(cls, steps, **options):
    """x^a of the optimizer after some steps, from ``starts``."""
    x = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
    optimizer = cls([x], replicas=N, seed=5, **options)

    def closure():
        x.grad = V.grad(x.detach().reshape(-1)).view(SHAPE)
        return 0.0

    state = optimizer.state[x]
    state["replicas"] = starts().view(N, *SHAPE).clone()
    with torch.no_grad():
        x.copy_(state["replicas"].mean(0))
    found = []
    for _ in range(steps):
        optimizer.step(closure)
        found.append(state["replicas"].view(N, 6).clone())
        torch.testing.assert_close(x.detach(), state["replicas"].mean(0), rtol=0, atol=1e-14)
    return found


def particles(dynamics, steps, dt):
    """The same of a dynamics."""
    state, noise, found = dynamics.init(starts()[None]), Drawn(), []
    for k in range(steps):
        state = dynamics.step(state, Step(k, k * dt, (k + 1) * dt, dt, dt if k else None), noise)
        at = dynamics.positions(state, Step(k, 0.0, dt, dt, None), noise)
        found.append(at.reshape(N, 6).clone())
    return found


@pytest.mark.parametrize("temperature", [0.03, 0.3])
def test_mf_sgld_is_the_interacting_particles(temperature):
    euler = EulerMaruyama()
    dynamics = pk.InteractingLangevin(V, 1 / temperature, pk.CurieWeiss(0.8), integrator=euler)
    moved = replicas(optim.MFSGLD, 30, lr=0.05, strength=0.8, temperature=temperature)
    for x, y in zip(moved, particles(dynamics, 30, 0.05), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("burn_in", [1, 3])
def test_mf_hom_sgld_is_the_two_scale_particles(temperature, burn_in):
    """Algorithm 1 with M averaged iterates and M + burn_in - 1 gradients."""
    M, delta, epsilon, gamma = 4, 0.02, 0.4, 0.5
    dynamics = pk.TwoScaleLangevin(
        V, 1 / temperature if temperature else inf, gamma, epsilon, M, burn_in,
        pk.CurieWeiss(0.8), inner_dt=delta, integrator=EulerMaruyama(),
    )  # fmt: skip
    moved = replicas(
        optim.MFHomSGLD, 30, lr=0.05, gamma=gamma, strength=0.8, inner_steps=M + burn_in - 1,
        burn_in=burn_in, temperature=temperature, inner_lr=delta / epsilon,
    )  # fmt: skip
    for x, y in zip(moved, particles(dynamics, 30, 0.05), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


def test_the_law_of_mf_sgld_on_a_parabola():
    """n replicas of f = x²/2: their mean has variance T/(n (1 - η/2)), the distances from it
    T (1 - 1/n)/((1 + λ)(1 - η (1 + λ)/2)); 20,000 systems side by side, each at level 0.001."""
    size, n, eta, T, pull = 20_000, 3, 0.2, 0.4, 1.5
    x = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = optim.MFSGLD([x], lr=eta, strength=pull, replicas=n, temperature=T, seed=3)

    def closure():
        x.grad = x.detach().clone()
        return 0.0

    for _ in range(60):
        optimizer.step(closure)
    off = optimizer.state[x]["replicas"] - x.detach()
    of_mean = T / (n * (1 - eta / 2))
    inside = T * (1 - 1 / n) / ((1 + pull) * (1 - eta * (1 + pull) / 2))
    for values, exact, free in ((x.detach(), of_mean, size), (off, inside, size * (n - 1))):
        lower, upper = stats.chi2.ppf([0.0005, 0.9995], free) / free
        assert lower < values.square().mean() / exact < upper


def test_one_replica_without_attraction_is_the_plain_sampler():
    """MF-SGLD that of SGLD, to the bit, noise included."""
    ends = []
    for cls, options in ((optim.SGLD, {}), (optim.MFSGLD, {"strength": 0.0, "replicas": 1})):
        x = torch.linspace(-1, 1, 50, requires_grad=True)
        optimizer = cls([x], lr=0.1, temperature=0.2, seed=3, **options)

        def closure(x=x):
            x.grad = x.detach() ** 3
            return 0.0

        for _ in range(9):
            optimizer.step(closure)
        ends.append(x.detach())
    assert torch.equal(*ends)


def test_the_parameters_can_hold_a_replica():
    """With ``at``, and the mean again afterwards, also after an error."""
    x = torch.zeros(5, requires_grad=True)
    optimizer = optim.MFSGLD([x], temperature=1.0, replicas=2)

    def closure():
        x.grad = torch.zeros_like(x)
        return 0.0

    optimizer.step(closure)
    mean = x.detach().clone()
    for a in range(2):
        with optimizer.at(a):
            assert torch.equal(x.detach(), optimizer.state[x]["replicas"][a])
    with pytest.raises(KeyboardInterrupt), optimizer.at(1):
        raise KeyboardInterrupt
    assert torch.equal(x.detach(), mean)
    with pytest.raises(IndexError, match=r"one of 0, \.\.\., 1, got 2"), optimizer.at(2):
        pass


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (
            optim.MFSGLD,
            {"lr": 0.5, "strength": 5.0},
            r"lr \* strength must be below 2, .* lr < 0.4",
        ),
        (optim.MFHomSGLD, {"lr": 1.0, "gamma": 0.4}, r"\(1/gamma \+ strength\) must be below 2"),
        (optim.MFHomSGLD, {"burn_in": 6}, "burn_in must be at most inner_steps, got 6 and 5"),
    ],
)
def test_what_would_run_away_is_refused(cls, options, words):
    with pytest.raises(ValueError, match=words):
        cls([torch.zeros(1, requires_grad=True)], **options)


# ---- bases


def climbed(make, steps=12):
    """x, and the optimizer."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    optimizer = make(x)

    def closure():
        optimizer.zero_grad()
        loss = ((x**2 - 1) ** 2 / 4).sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return x, optimizer, closure


def test_decay_around_adam_is_adamw():
    """The same decoupled decay outside and inside of the base."""
    outside, _, _ = climbed(lambda x: optim.EntropySGD(
        [x], 0.05, base=torch.optim.Adam, weight_decay=0.3, gamma=0.2))  # fmt: skip
    inside, _, _ = climbed(lambda x: optim.EntropySGD(
        [x], base=lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.3), gamma=0.2))  # fmt: skip
    torch.testing.assert_close(outside, inside, rtol=0, atol=1e-14)


@pytest.mark.parametrize("of_base", [False, True])
def test_schedulers_of_either_reach_the_base(of_base):
    """Of the optimizer, or of its base: the learning rate is one."""
    ends = []
    for scheduled in (True, False):
        x, optimizer, closure = climbed(
            lambda x: optim.HJ([x], base=lambda p: torch.optim.SGD(p, 0.1)), steps=0
        )
        target = optimizer.bases[0] if of_base else optimizer
        for k in range(6):
            if scheduled:
                if not k:
                    schedule = torch.optim.lr_scheduler.ExponentialLR(target, 0.5)
            else:
                optimizer.param_groups[0]["lr"] = 0.1 * 0.5**k
            optimizer.step(closure)
            if scheduled:
                schedule.step()
        ends.append((x.detach().clone(), optimizer.bases[0].param_groups[0]["lr"]))
        assert optimizer.param_groups[0]["lr"] in (0.1 * 0.5**5, 0.1 * 0.5**6)
    assert torch.equal(ends[0][0], ends[1][0])


def test_rates_of_groups_reach_the_base_else_its_own_hold():
    x, y, z = (torch.ones(2, requires_grad=True) for _ in range(3))
    groups = [{"params": [x]}, {"params": [y], "lr": 0.3}]
    optimizer = optim.EntropySGD(groups, base=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    optimizer.add_param_group({"params": [z], "lr": 0.7})
    assert [g["lr"] for g in optimizer.bases[0].param_groups] == [0.1, 0.3, 0.7]
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.3, 0.7]
    assert {g["gamma"] for g in optimizer.param_groups} == {4.0}  # 0.2 a gradient


def test_gradients_stay_as_the_closure_left_them():
    x, optimizer, closure = climbed(
        lambda x: optim.TrivializedSGD([x], coupling=3.0, base=torch.optim.Adam), steps=0
    )
    closure()
    left = x.grad.clone()
    optimizer.step()
    assert torch.equal(x.grad, left)


def test_a_state_with_values_goes_through_a_file_of_plain_ones():
    """Averages and schedules are loaded by ``torch.load`` as numbers are."""
    schedule = optim.schedules.Scoping(4.0, 10, floor=0.5)
    _, optimizer, _ = climbed(lambda x: optim.EntropySGD(
        [x], gamma=schedule, average=LinearAverage(), burn_in=3))  # fmt: skip
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    group = torch.load(file, weights_only=True)["param_groups"][0]
    assert group["gamma"] == schedule and group["steps"] == 12


REFUSED = {
    "no function": (3.0, TypeError, "base must be a function from parameters"),
    "no optimizer": (lambda p: p, TypeError, "base must return a torch optimizer"),
    "other parameters": (
        lambda p: torch.optim.Adam([torch.zeros(1)]), ValueError, "must keep the parameters"
    ),
    "a closure": (torch.optim.LBFGS, ValueError, "must step without a closure, LBFGS needs one"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_bases_that_cannot_be_are_refused(why):
    base, error, words = REFUSED[why]
    with pytest.raises(error, match=words):
        optim.EntropySGD([torch.zeros(2, requires_grad=True)], base=base)


def test_the_state_of_another_kind_of_optimizer_is_refused():
    _, plain, _ = climbed(lambda x: optim.EntropySGD([x]))
    _, based, _ = climbed(lambda x: optim.EntropySGD([x], base=torch.optim.Adam))
    with pytest.raises(ValueError, match="has 1 bases, got a state of 0"):
        based.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(
    ("cls", "old", "new"),
    [(optim.HEAT, "samples", "inner_steps"), (optim.Parle, "batches", "Scoping")],
)
def test_former_names_say_what_to_take(cls, old, new):
    x = torch.zeros(2, requires_grad=True)
    with pytest.raises(TypeError, match=f"no option '{old}' any more: use .*{new}"):
        cls([x], **{old: 4})
    with pytest.raises(TypeError, match=f"no option '{old}' any more: use .*{new}"):
        cls([{"params": [x], old: 4}])


# ---- averages


@pytest.mark.parametrize(
    "average",
    [
        LinearAverage(),
        ExponentialAverage(0.7),
        LastIterate(),
    ],
)
def test_weights_of_an_average_are_those_of_its_recursion(average):
    """z ← past(m) z + (1 - past(m)) y_m from the start gives ``weights``."""
    z = np.eye(8)[0]
    for m in range(1, 8):
        z = average.past(m) * z + (1 - average.past(m)) * np.eye(8)[m]
    assert z == pytest.approx(average.weights(7), abs=1e-15)


# ---- batch normalisation


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh())


def test_recalibrated_statistics_are_those_of_the_data():
    """Of a replica as of the mean; layers keep their modes and momenta."""
    model, data = network(), torch.randn(96, 4, generator=torch.Generator().manual_seed(1))
    optimizer = optim.MFSGLD(model.parameters(), temperature=0.1, replicas=2)

    def closure():
        optimizer.zero_grad()
        loss = model(data).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    model.eval()
    with optimizer.at(1):
        optim.recalibrate(model, data.split(32))
        here = model[0](data).detach()
        torch.testing.assert_close(model[1].running_mean, here.mean(0), rtol=1e-5, atol=1e-6)
    assert not any(m.training for m in model.modules()) and model[1].momentum == 0.1
    optim.recalibrate(torch.nn.Linear(2, 1), [])  # without such layers there is nothing to do


def test_an_empty_loader_is_refused_and_the_statistics_stay():
    model = network()
    model(torch.randn(16, 4))
    before = model[1].running_mean.clone()
    with pytest.raises(ValueError, match="no batch that reaches each BatchNorm layer"):
        optim.recalibrate(model, iter(()))
    assert torch.equal(model[1].running_mean, before) and model[1].momentum == 0.1
