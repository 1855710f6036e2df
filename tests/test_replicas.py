"""Elastic-SGD and Parle are the algorithms of the thesis, in one process as in two."""

import io
import itertools
import os
import signal
import time

import numpy as np
import pytest
import torch
from test_ranks import ended, processes
from torch import distributed

from pdekit.optim import ElasticSGD, EntropySGD, Parle
from pdekit.optim.groups import now
from pdekit.optim.schedules import Linear, Scoping
from pdekit.particles import RankError

A, B, C = np.linspace(-1, 1, 6).reshape(3, 2), np.linspace(-0.5, 1.5, 4), np.array([0.7])
OPTIONS = {
    ElasticSGD: {"lr": 0.05, "rho": 0.4, "master_lr": 0.03},
    Parle: {"lr": 0.1, "rho": 1.0, "gamma": 2.0, "inner_steps": 5, "inner_lr": 0.05},
}
OTHERS = {ElasticSGD: {"lr": 0.02, "rho": 0.7}, Parle: {"lr": 0.15, "gamma": 3.0, "alpha": 0.5}}
BOTH = pytest.mark.parametrize("cls", [ElasticSGD, Parle])


def slope(x, replica):
    """Of Σ cos 3a + a²/10 + Σ (b² - 1)²/4 + c²/2 + c Σa Σb/10, in data that replicas differ in."""
    a, b, c = x
    return (
        a / 5 - 3 * np.sin(3 * a) + c * b.sum() / 10,
        b * (b * b - 1) + c * a.sum() / 10 + 0.2 * (replica - 1),
        c + a.sum() * b.sum() / 10,
    )


def made(cls, start=(A, B, C), **more):
    """An optimizer of three tensors in two groups, the parameters and the closure.

    The first one lies column by column in memory: neither kernel nor collective takes it as it is.
    """
    x = [torch.tensor(v.T.copy()).t().requires_grad_() for v in start]
    optimizer = cls(
        [{"params": x[:2]}, {"params": x[2:], **OTHERS[cls]}], **{**OPTIONS[cls], **more}
    )

    def closure():
        arrays = [p.detach().numpy() for p in x]
        for p, g in zip(x, slope(arrays, optimizer.replica), strict=True):
            p.grad = torch.tensor(g)
        return x[2].detach().sum() + optimizer.replica

    return optimizer, x, closure


def copies(optimizer, x):
    """The master, and the replicas."""
    return [p.detach().clone() for p in x] + [optimizer.state[p]["replicas"].clone() for p in x]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@BOTH
def test_the_loss_is_the_mean_of_the_first_of_each_replica(cls):
    optimizer, _, closure = made(cls)
    # at first all are at x, with loss 0.7 + a
    assert optimizer.step(closure).item() == pytest.approx(0.7 + 1.0, abs=1e-15)
    assert {g["evaluations"] for g in optimizer.param_groups} == {1 if cls is ElasticSGD else 5}


def quadratic(cls, Q, start, noise=None, **options):
    """f = x·Qx/2, and with noise on its gradient."""
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = cls([x], **options)

    def closure():
        x.grad = x.detach() @ Q
        if noise is not None:
            x.grad += noise(x)
        return (x.detach() @ Q @ x.detach()) / 2

    return optimizer, x, closure


Q = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.3]], dtype=torch.float64)
X = (1.0, -2.0, 0.5)


def elastic_energy(x, xs, rho):
    """Σ_a f(x^a) + |x^a - x|²/(2ρ)."""
    return ((xs @ Q * xs).sum() + (xs - x).square().sum() / rho) / 2


def test_elastic_sgd_is_gradient_descent_on_its_energy():
    """In x and all x^a together: with the rate of each the step is minus the gradient."""
    eta, master_eta, rho = 0.1, 0.05, 0.8
    optimizer, x, closure = quadratic(ElasticSGD, Q, X, lr=eta, master_lr=master_eta, rho=rho)
    optimizer.step(closure)
    optimizer.state[x]["replicas"] += torch.arange(9.0, dtype=torch.float64).view(3, 3)
    energies = []
    for _ in range(300):
        master, replicas = (v.requires_grad_() for v in copies(optimizer, [x]))
        energy = elastic_energy(master, replicas, rho)
        down = torch.autograd.grad(energy, (master, replicas))
        optimizer.step(closure)
        torch.testing.assert_close(x.detach(), master - master_eta * down[0], rtol=0, atol=1e-13)
        new = optimizer.state[x]["replicas"]
        torch.testing.assert_close(new, replicas - eta * down[1], rtol=0, atol=1e-13)
        energies.append(energy.item())
    assert all(b < a for a, b in itertools.pairwise(energies))
    assert energies[-1] < 1e-3 * energies[0]


def test_the_printed_elastic_sgd_descends_no_energy():
    """Errata 28: attraction to the mean, and x away from it. The energy above rises with it."""
    eta, rho = 0.1, 0.8
    x = torch.tensor(X, dtype=torch.float64)
    xs, energies = x + torch.arange(9.0, dtype=torch.float64).view(3, 3), []
    for _ in range(300):
        energies.append(elastic_energy(x, xs, rho).item())
        mean = xs.mean(0)
        xs, x = xs - eta * (xs @ Q + (xs - mean) / rho), x + 3 * eta / rho * (x - mean)
    assert energies[-1] > 1e3 * energies[0]


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_the_master_of_elastic_sgd_descends_the_local_entropy(replicas):
    """Replicas at rest: the next step of x is -n η' ∇u(x, ρ), ∇u = Q (I + ρQ)⁻¹ x, for every n."""
    rho, eta = 0.8, 0.05
    optimizer, x, closure = quadratic(
        ElasticSGD, Q, X, lr=0.2, rho=rho, replicas=replicas, master_lr=0.0
    )
    for _ in range(400):
        optimizer.step(closure)
    before = x.detach().clone()
    assert before.tolist() == list(X)
    optimizer.param_groups[0]["master_lr"] = eta
    optimizer.step(closure)
    down = Q @ torch.linalg.solve(torch.eye(3, dtype=Q.dtype) + rho * Q, before)
    expected = before - replicas * eta * down
    torch.testing.assert_close(x.detach(), expected, rtol=0, atol=1e-12)


def test_replicas_with_noisy_gradients_spread_as_sgd_does():
    """At rest around x each is at x/(1 + ρλ) with variance T/(κ (1 - ηκ/2)), κ = λ + 1/ρ,
    T = ησ²/2 (errata 6); level 1e-6 for each of mean and variance.
    """
    size, n, eta, rho, sigma = 4000, 8, 0.1, 0.5, 2.0
    numbers = torch.Generator().manual_seed(3)

    def noise(x):
        return sigma * torch.randn(size, generator=numbers, dtype=torch.float64)

    unit = torch.eye(size, dtype=torch.float64).to_sparse()
    optimizer, x, closure = quadratic(
        ElasticSGD, unit, [3.0] * size, noise, lr=eta, rho=rho, replicas=n, master_lr=0.0
    )
    for _ in range(100):
        optimizer.step(closure)
    kappa = 1 + 1 / rho
    variance = eta * sigma**2 / 2 / (kappa * (1 - eta * kappa / 2))
    off = optimizer.state[x]["replicas"] - 3.0 / (1 + rho)
    assert abs(off.mean()) < 4.9 * (variance / (n * size)) ** 0.5
    assert abs(off.square().mean() / variance - 1) < 4.9 * (2 / (n * size)) ** 0.5


@pytest.mark.parametrize("replicas", [1, 4])
def test_the_master_of_parle_descends_the_local_entropy(replicas):
    """Inner steps enough: replicas, then x, move by -ηγ ∇u(x, γ) on a quadratic."""
    gamma, eta = 2.0, 0.25
    optimizer, x, closure = quadratic(
        Parle,
        Q,
        X,
        lr=eta,
        gamma=gamma,
        inner_lr=0.4,
        inner_steps=200,
        replicas=replicas,
        rho=float("inf"),
    )
    start = x.detach().clone()
    optimizer.step(closure)
    assert torch.equal(x.detach(), start)  # it is a step behind
    for _ in range(3):
        before = x.detach().clone()
        optimizer.step(closure)
        down = Q @ torch.linalg.solve(torch.eye(3, dtype=Q.dtype) + gamma * Q, before)
        expected = before - eta * gamma * down
        torch.testing.assert_close(x.detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_one_replica_of_parle_alone_is_entropy_sgd(temperature):
    """To the bit, noise included, with the outer rate ηγ; the master is a step behind."""
    shared = {"inner_steps": 6, "inner_lr": 0.05, "temperature": temperature, "seed": 4}
    ends = []
    for cls, options in (
        (Parle, {"lr": 0.25, "gamma": 2.0, "rho": float("inf"), "replicas": 1}),
        (EntropySGD, {"lr": 0.5, "gamma": 2.0}),
    ):
        x = [torch.tensor(v, requires_grad=True) for v in (A, B, C)]
        optimizer = cls(x, **shared, **options)

        def closure(x=x):
            for p, g in zip(x, slope([p.detach().numpy() for p in x], 0), strict=True):
                p.grad = torch.tensor(g)
            return 0.0

        for _ in range(20):
            optimizer.step(closure)
        state = optimizer.state
        ends.append([state[p]["replicas"][0] if cls is Parle else p.detach() for p in x])
    assert same(*ends)


def test_one_inner_step_of_one_replica_is_sgd_whatever_gamma():
    """With rate η η_y (1 - α) = 0.0225 (errata 60)."""
    for gamma in (1.0, 100.0):
        optimizer, x, closure = quadratic(
            Parle,
            Q,
            X,
            lr=0.3,
            gamma=gamma,
            rho=float("inf"),
            inner_steps=1,
            inner_lr=0.1,
            replicas=1,
        )
        expected = x.detach().clone()
        optimizer.step(closure)
        for _ in range(10):
            optimizer.step(closure)
            expected = expected - 0.3 * 0.1 * 0.75 * (Q @ expected)
        torch.testing.assert_close(x.detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (ElasticSGD, {"rho": Scoping(1.0, 2, floor=0.1, every=3), "lr": 0.05}),
        (Parle, {"gamma": Scoping(100.0, 2, floor=1.0), "rho": Scoping(1.0, 2, 0.1), "lr": 0.05}),
        (EntropySGD, {"gamma": Scoping(0.5, 2, floor=1.0), "temperature": Linear(1.0, 0.2, 10)}),
    ],
)
def test_scheduled_options_narrow_and_stop(cls, options):
    """As (5.10) and a straight line say, in terms of the steps made; one below its floor stays."""
    x = torch.zeros(1, requires_grad=True)
    optimizer, seen = cls([x], **options), []
    for _ in range(20):
        seen.append([now(optimizer.param_groups[0])[name] for name in options])
        optimizer.step(lambda: 0.0)
    expected = {
        ElasticSGD: [(max(0.75 ** (k // 3), 0.1), 0.05) for k in range(20)],
        Parle: [(max(100 * 0.75**k, 1.0), max(0.75**k, 0.1), 0.05) for k in range(20)],
        EntropySGD: [(0.5, max(1.0 - 0.08 * k, 0.2)) for k in range(20)],
    }
    np.testing.assert_allclose(seen, expected[cls], rtol=1e-14)


def test_a_schedule_is_checked_where_it_ends():
    x = torch.zeros(1, requires_grad=True)
    with pytest.raises(ValueError, match=r"gamma must be a finite number > 0, got 0\.0"):
        EntropySGD([x], gamma=Scoping(1.0, 100))
    with pytest.raises(ValueError, match=r"rho must be a finite number > 0, got 0\.0"):
        Parle([x], rho=Scoping(4.0, 100))
    with pytest.raises(ValueError, match="temperature must be a finite number >= 0, got -1"):
        EntropySGD([x], temperature=lambda k: -1.0)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Parle, {"lr": 0.5}, r"lr \(1 \+ 2/rho\) must be below 2, got 0.5 \(1 \+ 2/0.5\)"),
        (ElasticSGD, {"lr": 0.5, "replicas": 2}, r"must be below 2, got \(0.5 \+ 2 \* 0.25\)/0.5"),
    ],
)
def test_stability_is_that_of_all_options_in_the_same_step(cls, options, message):
    """ρ falls to where the first η would be unstable: right if η falls too, refused if it stays."""
    for falls in (True, False):
        x = torch.ones(1, requires_grad=True)
        optimizer = cls([x], rho=Scoping(1.0, 1, floor=0.5), **options)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5 if falls else 1.0)
        optimizer.step(lambda: 0.0)
        scheduler.step()
        if falls:
            optimizer.step(lambda: 0.0)
            continue
        before = x.detach().clone()
        with pytest.raises(ValueError, match=message):
            optimizer.step(lambda: 0.0)
        assert torch.equal(x.detach(), before)


def test_the_inner_rate_stays_when_a_schedule_lowers_the_learning_rate():
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = Parle([x], lr=0.2, rho=float("inf"), inner_steps=1, replicas=1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    expected = 1.0
    for k in range(4):
        optimizer.step(lambda: x.backward() or 0.0 if x.grad is None else 0.0)
        schedule.step()
        expected -= 0.2 * 0.5**k * 0.75 * 0.2
    assert optimizer.state[x]["replicas"].item() == pytest.approx(expected, abs=1e-15)


def test_noise_differs_in_every_replica_and_parameter():
    """In flat f the moves are noise: correlations of 10,000 pairs below 0.049, level 1e-6 each."""
    x = [torch.zeros(10000, requires_grad=True) for _ in range(2)]
    optimizer = Parle(x, lr=1.0, rho=float("inf"), inner_steps=1, temperature=1.0, seed=2)

    def closure():
        for p in x:
            p.grad = torch.zeros_like(p)
        return 0.0

    optimizer.step(closure)
    rows = torch.cat([optimizer.state[p]["replicas"] for p in x])
    assert (torch.corrcoef(rows) - torch.eye(6)).abs().max() < 0.049


@BOTH
def test_state_in_the_middle_gives_the_same_bits(cls):
    more = {"temperature": 0.1} if cls is Parle else {}
    optimizer, x, closure = made(cls, **more)
    for _ in range(4):
        optimizer.step(closure)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again, y, other = made(cls, [p.detach().numpy() for p in x], **more)
    again.load_state_dict(torch.load(file))
    for _ in range(4):
        optimizer.step(closure)
        again.step(other)
    assert same(copies(optimizer, x), copies(again, y))


@BOTH
@pytest.mark.parametrize("made_before", [0, 3])
def test_a_closure_that_raises_changes_nothing(cls, made_before):
    """Whichever call it is, parameters, replicas, counts and all that follows are as without it."""
    more = {"temperature": 0.1} if cls is Parle else {}
    for stop in range(3 if cls is ElasticSGD else 15):
        optimizer, x, closure = made(cls, **more)
        undisturbed, y, other = made(cls, **more)
        for _ in range(made_before):
            optimizer.step(closure)
            undisturbed.step(other)
        calls = itertools.count()

        def failing(closure=closure, calls=calls, stop=stop):
            loss = closure()
            if next(calls) == stop:
                raise KeyboardInterrupt
            return loss

        with pytest.raises(KeyboardInterrupt):
            optimizer.step(failing)
        kept, expected = optimizer.state_dict(), undisturbed.state_dict()
        assert kept["param_groups"] == expected["param_groups"]
        assert kept["state"].keys() == expected["state"].keys()
        assert same([p.detach() for p in x], [p.detach() for p in y])
        for _ in range(2):
            optimizer.step(closure)
            undisturbed.step(other)
        assert same(copies(optimizer, x), copies(undisturbed, y))


@BOTH
def test_a_parameter_without_gradient_stays(cls):
    x, still = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = cls([x, still], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure) for _ in range(5)]
    assert losses[-1] < losses[0] and torch.equal(still.detach(), torch.ones(3))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_of_any_layout_and_type(cls, dtype):
    """Rows of the weights lie apart in memory: the plain form, not the kernel, and the same."""
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        start = torch.linspace(-1, 1, 48, dtype=dtype).view(2, 3, 2, 4)
        w = start.to(memory_format=layout, copy=True).requires_grad_()
        optimizer = cls([w], lr=0.1)

        def closure(w=w, optimizer=optimizer):
            w.grad = w.detach() - 0.1 * optimizer.replica
            return 0.0

        for _ in range(3):
            optimizer.step(closure)
        assert w.is_contiguous(memory_format=layout)
        ends.append(w.detach())
    torch.testing.assert_close(*ends)


PARTED = [(ElasticSGD, {}), (Parle, {}), (Parle, {"temperature": 0.1})]


def trained(cls, replicas, start=(A, B, C), **more):
    optimizer, x, closure = made(cls, start, replicas=replicas, **more)
    losses = [optimizer.step(closure).item() for _ in range(20)]
    return losses, *copies(optimizer, x)


def complex_ends(replicas, start=0.0):
    """Master and replicas of a complex tensor, whose gradient differs in the replicas."""
    z = torch.full((2, 3), complex(1 + start, 2 - start), dtype=torch.complex128).requires_grad_()
    optimizer = ElasticSGD([z], 0.05, 0.4, replicas)

    def closure():
        z.grad = (z * complex(1, optimizer.replica)).detach()
        return z.detach().abs().sum()

    for _ in range(5):
        optimizer.step(closure)
    return copies(optimizer, [z])


def train_together(folder):
    """One replica, and two, on each of two ranks, of which the second begins elsewhere."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    start = [v + rank for v in (A, B, C)]
    results = [trained(cls, k, start, **more) for k in (1, 2) for cls, more in PARTED]
    torch.save(results, folder / f"rank{rank}")
    torch.save(complex_ends(1, float(rank)), folder / f"complex{rank}")
    alone = distributed.new_group([0])
    if rank == 0:
        torch.save(trained(Parle, 2, process_group=alone), folder / "alone")
    else:
        with pytest.raises(ValueError, match="not in process_group"):
            Parle([torch.zeros(1, requires_grad=True)], process_group=alone)
    distributed.destroy_process_group()


def test_two_processes_are_one(tmp_path):
    """n = 2: to the bit, because a + b = b + a. n = 4: up to the order of the sum. The master is
    the same to the bit on both ranks.
    """
    codes = ended(processes(train_together, tmp_path), tmp_path)
    assert codes == [0, 0], (tmp_path / "stderr1").read_text() + (tmp_path / "stderr0").read_text()
    ranks = [torch.load(tmp_path / f"rank{r}") for r in range(2)]
    cases = [(2 * k, cls, more) for k in (1, 2) for cls, more in PARTED]
    for (n, cls, more), *parts in zip(cases, *ranks, strict=True):
        losses, *one = trained(cls, n, **more)
        masters = [part[1:4] for part in parts]
        assert same(*masters), "masters differ"
        replicas = [torch.cat([part[i] for part in parts]) for i in (4, 5, 6)]
        two = [*masters[0], *replicas]
        assert np.mean([part[0] for part in parts], axis=0) == pytest.approx(losses, abs=1e-12)
        if n == 2:
            assert same(one, two)
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert same(trained(Parle, 2)[1:], torch.load(tmp_path / "alone")[1:])
    one, *parts = complex_ends(2), *[torch.load(tmp_path / f"complex{r}") for r in range(2)]
    assert all(torch.equal(part[0], one[0]) for part in parts)
    assert torch.equal(torch.cat([part[1] for part in parts]), one[1])


def interrupted(cls, rank, last):
    """Twenty steps. In the middle of the fourth, rank ``last`` fails once, and all ask again.

    Returns what they say, and copies at the end.
    """
    optimizer, x, closure = made(cls, replicas=1)
    calls = itertools.count()

    def failing():
        if rank == last and next(calls) == OPTIONS[cls].get("inner_steps", 1) // 2:
            raise ArithmeticError("no more data")
        return closure()

    for k in range(20):
        if k == 3:
            before = copies(optimizer, x)
            with pytest.raises((ArithmeticError, RankError)) as said:
                optimizer.step(failing)
            assert same(copies(optimizer, x), before)
        optimizer.step(closure)
    return f"{type(said.value).__name__}: {said.value}", *copies(optimizer, x)


def fail_together(folder):
    """One replica a rank; at first, not of the same size. The last rank raises, then dies; the
    others live until all have been told.
    """
    ranks, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    distributed.init_process_group("gloo")
    larger, _, closure = made(ElasticSGD, (A, B, C if rank else B))
    with pytest.raises(ValueError, match=r"same parameters, got \[14, 11\D.* numbers"):
        larger.step(closure)
    results = [interrupted(cls, rank, ranks - 1) for cls in OPTIONS]
    optimizer, _, closure = made(Parle, replicas=1)
    optimizer.step(closure)
    traffic = [*optimizer.traffic]
    optimizer.step(closure)
    torch.save((results, [*traffic, *optimizer.traffic]), folder / f"rank{rank}")
    if rank == ranks - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    kept = []
    for _ in range(2):  # it stays so
        with pytest.raises(RankError, match="a rank is gone") as said:
            optimizer.step(closure)
        kept.append(said)
    (folder / f"told{rank}").touch()
    until = time.monotonic() + 60
    while not all((folder / f"told{r}").exists() for r in range(ranks - 1)):
        if time.monotonic() > until:
            os._exit(8)
        time.sleep(0.01)
    os._exit(7)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_that_fails_stops_the_others(ranks, tmp_path):
    """With its reason, long before a timeout, none moved; asked again, they go on as if it had not.

    When the last rank dies, those that are not its neighbours in a ring are told too.
    """
    codes = ended(processes(fail_together, tmp_path, ranks), tmp_path)
    texts = [(tmp_path / f"stderr{r}").read_text()[-2000:] for r in range(ranks)]
    assert codes == [7] * (ranks - 1) + [-signal.SIGKILL], "\n".join(texts)
    results, traffic = zip(*[torch.load(tmp_path / f"rank{r}") for r in range(ranks)], strict=True)
    own = "ArithmeticError: no more data"
    for cls, *parts in zip(OPTIONS, *results, strict=True):
        said = [part[0] for part in parts]
        assert said == [f"RankError: rank {ranks - 1} stopped. {own}"] * (ranks - 1) + [own]
        _, *one = trained(cls, ranks)
        two = [*parts[0][1:4], *(torch.cat([part[i] for part in parts]) for i in (4, 5, 6))]
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    size = 8 * (A.size + B.size + C.size)  # sent in each step, and before the first
    assert traffic == ([2 * size, 2 * size, size, 3 * size],) * ranks


@pytest.mark.parametrize(
    "cls, options, words",
    [
        (ElasticSGD, {"lr": 2.0}, r"use rho > 2\b"),
        (ElasticSGD, {"lr": 0.1, "master_lr": 1.4}, "must be below 2"),
        (ElasticSGD, {"rho": 0.0}, "rho must be a finite number > 0, got 0.0"),
        (ElasticSGD, {"replicas": 0}, "replicas must be a whole number >= 1, got 0"),
        (ElasticSGD, {"master_lr": -1.0}, "master_lr must be"),
        (ElasticSGD, {"lr": float("nan")}, "lr must be"),
        (Parle, {"lr": 2.0}, r"lr \(1 \+ 2/rho\) must be below 2, got 2 .* use lr < 1.33333$"),
        (Parle, {"rho": 1.0}, r"use lr < 0.666667, or rho > 2$"),
        (Parle, {"rho": float("nan")}, "rho must be"),
        (Parle, {"gamma": 0.0}, "gamma must be"),
        (Parle, {"replicas": 2.0}, "replicas must be a whole number >= 1, got 2.0"),
        (Parle, {"inner_steps": 0}, "inner_steps must be"),
        (Parle, {"alpha": 1.0}, "alpha must be"),
    ],
)
def test_settings_out_of_range_are_refused(cls, options, words):
    with pytest.raises(ValueError, match=words):
        cls([torch.zeros(1, requires_grad=True)], **options)


@BOTH
def test_replicas_once_made_stay_as_many(cls):
    optimizer, x, closure = made(cls)
    optimizer.step(closure)
    before = copies(optimizer, x)
    for group in optimizer.param_groups:
        group["replicas"] = 5
    with pytest.raises(ValueError, match="replicas cannot change, got 5 where there are 3"):
        optimizer.step(closure)
    assert same(copies(optimizer, x), before)


@BOTH
def test_what_is_one_for_all_groups_and_a_closure_are_asked_for(cls):
    x, y = (torch.zeros(1, requires_grad=True) for _ in range(2))
    with pytest.raises(TypeError, match=rf"{cls.__name__} needs .* call step\(closure\)"):
        cls([x]).step()
    groups = cls([{"params": [x]}, {"params": [y], "replicas": 2}])
    with pytest.raises(
        ValueError, match=r"replicas must be the same in all parameter groups, got \[3, 2\]"
    ):
        groups.step(lambda: 0.0)
