"""Every optimizer beside the algorithm of its paper, written as plain loops over one numpy vector.

Random learning rates, widths, temperatures and momenta, one to three groups that differ, tensors of
any shape (numbers, none at all, transposed), real and complex in both precisions, frozen and unused
ones among them; on the way a closure raises at a random call and the state goes through a
dictionary into a new optimizer.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import optimizer_cases as paper
import pytest
import torch
from truth import Random, Row, Trial, draw, judged, log_uniform, pick

from pdekit import optim
from pdekit.particles.noise import Address, fill_normals

SHAPES = ((), (0,), (1,), (3,), (2, 3), (2, 1, 2), (0, 4), (30,), (5, 7))
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
OTHERS = ("moving",) * 4 + ("unused", "frozen")


def reals(p: Any) -> Any:
    """The real numbers of a tensor, in one line."""
    return (torch.view_as_real(p) if p.is_complex() else p).reshape(-1)


@dataclass
class Problem:
    """f(r) = Σ a_i r_i²/2 + cos(2 r_i + r_{i+1}) + 0.1 replica Σ r_i, over the moving tensors."""

    tensors: list[Any]
    kinds: list[str]

    def __post_init__(self) -> None:
        self.sizes = [reals(p).numel() for p in self.tensors]
        self.moving = [i for i, kind in enumerate(self.kinds) if kind == "moving"]
        self.bends = np.linspace(0.2, 2.0, max(1, sum(self.sizes[i] for i in self.moving)))
        self.bends = self.bends[: sum(self.sizes[i] for i in self.moving)]
        self.dtype = torch.float64

    @property
    def x(self) -> Any:
        return np.concatenate([reals(self.tensors[i].detach()).double().numpy()
                               for i in self.moving])  # fmt: skip

    @property
    def single(self) -> bool:
        return any(p.dtype in (torch.float32, torch.complex64) for p in self.tensors)

    def closure(self, optimizer: Any) -> Any:
        optimizer.zero_grad()
        r = torch.cat([1.0 * reals(self.tensors[i]).double() for i in self.moving])
        loss = (torch.tensor(self.bends) * r**2 / 2 + torch.cos(2 * r + r.roll(-1))).sum()
        loss = loss + 0.1 * getattr(optimizer, "replica", 0) * r.sum()
        loss.backward()
        return loss

    def slope(self, r: Any, replica: int = 0) -> Any:
        ahead, behind = np.sin(2 * r + np.roll(r, -1)), np.sin(2 * np.roll(r, 1) + r)
        return self.bends * r - 2 * ahead - behind + 0.1 * replica

    def normals(self, seed: int) -> Callable[..., Any]:
        """Of the k-th gradient, in the precision of each tensor."""

        def of(k: int, channel: int = 0, row: int = 0, rows: int = 1) -> Any:
            parts = []
            for i in self.moving:
                dtype = reals(self.tensors[i]).dtype
                at = Address(seed, i * rows + row, channel, k)
                parts.append(fill_normals(torch.empty(1, self.sizes[i], dtype=dtype), at)[0])
            return torch.cat([p.double() for p in parts]).numpy()

        return of


def problem(rng: Random) -> Problem:
    """One to five tensors, of which the first moves."""
    count = int(rng.integers(1, 6))
    kinds = ["moving"] + [pick(rng, *OTHERS) for _ in range(count - 1)]
    one = pick(rng, *DTYPES)
    tensors = []
    for kind in kinds:
        shape = pick(rng, *SHAPES)
        dtype = one if rng.random() < 0.7 else pick(rng, *DTYPES)
        start = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(
            int(rng.integers(1 << 30))))  # fmt: skip
        if len(shape) == 2 and rng.random() < 0.3:
            start = start.t().contiguous().t()
        tensors.append(start.requires_grad_(kind != "frozen"))
    return Problem(tensors, kinds)


@dataclass(frozen=True)
class Kind:
    """An optimizer, its algorithm, and how its options are drawn."""

    cls: Any
    reference: Any
    common: Callable[[Random], dict[str, Any]]  # of all groups
    each: Callable[[Random, dict[str, Any]], dict[str, Any]]  # of a group
    hidden: tuple[str, ...] = ()  # options that the reference is not told


def rate(rng: Random) -> float:
    return pick(rng, 0.0, log_uniform(rng, 1e-6, 0.15), log_uniform(rng, 1e-2, 0.15))


def heat_of(rng: Random) -> float:
    return pick(rng, 0.0, log_uniform(rng, 1e-6, 1.0))


def smoothing(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    """γ, η_y and η of a walk that does not run away."""
    gamma = log_uniform(rng, 0.02, 1e3)
    return {"gamma": gamma, "inner_lr": log_uniform(rng, 1e-5, min(0.12, gamma)),
            "lr": gamma * pick(rng, 0.0, 1.0, log_uniform(rng, 1e-4, 1.5))}  # fmt: skip


def walk_options(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    shares = pick(rng, 0.0, 0.25, rng.uniform(0, 1))
    return {**smoothing(rng, common), "temperature": heat_of(rng), "alpha": float(shares)}


def short(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    """Only the learning rate is said: γ = η and η_y = 2 γ/(L + 1)."""
    return {"lr": log_uniform(rng, 1e-4, 0.06 * (common["inner_steps"] + 1))}


def seed(rng: Random) -> int:
    return int(pick(rng, 0, 1, 2**63, int(rng.integers(1 << 62))))


def steps(rng: Random) -> int:
    return int(pick(rng, 1, 2, int(rng.integers(1, 12))))


def pairs(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    return {"lr": rate(rng), "gamma": log_uniform(rng, 1e-8, 1e2), "temperature": heat_of(rng)}


def options_of_elastic_sgd(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    """Options of Elastic-SGD that it does not refuse."""
    n, rho = common["replicas"], log_uniform(rng, 0.1, 1e3)
    master = pick(rng, None, 0.0, float(rng.uniform(0, 1)) * rho / n)
    lr = min(rate(rng), 0.9 * rho / (n + 1))
    return {"lr": lr, "rho": rho, "master_lr": lr if master is None else master}


def options_of_parle(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    """Options of Parle that it does not refuse."""
    lr = pick(rng, 0.0, log_uniform(rng, 1e-3, 0.8))
    rho = max(3 * lr, log_uniform(rng, 0.1, 1e3))
    return {"lr": lr, "rho": rho, "gamma": log_uniform(rng, 0.1, 1e3),
            "inner_lr": log_uniform(rng, 1e-5, 0.1), "alpha": float(rng.uniform(0, 0.99)),
            "temperature": heat_of(rng)}  # fmt: skip


def homogenised(rng: Random) -> dict[str, Any]:
    count = steps(rng)
    return {"replicas": int(rng.integers(1, 6)), "seed": seed(rng), "inner_steps": count,
            "burn_in": int(rng.integers(1, count + 1))}  # fmt: skip


def options_of_mf_hom_sgld(rng: Random, common: dict[str, Any]) -> dict[str, Any]:
    """Options of MF-HOM-SGLD that it does not refuse."""
    walk, strength = smoothing(rng, common), heat_of(rng)
    walk["lr"] = min(walk["lr"], 1.9 / (1 / walk["gamma"] + strength))
    return {**walk, "strength": strength, "temperature": heat_of(rng)}


KINDS = {
    "SGLD": Kind(optim.SGLD, paper.sgld, lambda r: {"seed": seed(r)},
                 lambda r, c: {"lr": rate(r), "temperature": heat_of(r)}),
    "EntropySGD": Kind(optim.EntropySGD, paper.entropy_sgd,
                       lambda r: {"inner_steps": steps(r), "seed": seed(r)}, walk_options),
    "EntropySGD, its rate alone": Kind(optim.EntropySGD, paper.entropy_sgd,
                                       lambda r: {"inner_steps": steps(r)}, short),
    "HJ": Kind(optim.HJ, paper.hj, lambda r: {"inner_steps": steps(r)}, smoothing),
    "HJ, dual": Kind(optim.HJ, paper.hj_dual, lambda r: {"inner_steps": steps(r), "dual": True},
                     lambda r, c: {**smoothing(r, c), "lr": rate(r)}),
    "HEAT": Kind(optim.HEAT, paper.heat,
                 lambda r: {"inner_steps": steps(r), "seed": seed(r)}, pairs),
    "HEAT, antithetic": Kind(optim.HEAT, paper.antithetic_heat, lambda r: {
        "inner_steps": 2 * steps(r), "seed": seed(r), "antithetic": True}, pairs),
    "TrivializedSGD": Kind(optim.TrivializedSGD, paper.trivialized_sgd, lambda r: {"seed": seed(r)},
                           lambda r, c: {"lr": rate(r), "coupling": heat_of(r),
                                         "decay": log_uniform(r, 1e-3, 1e6),
                                         "layers": int(r.integers(3, 200))}),
    "NesterovRestart": Kind(optim.NesterovRestart, paper.momentum, lambda r: {},
                            lambda r, c: {"lr": rate(r) / 2}),
    "MaSS": Kind(optim.MaSS, paper.momentum, lambda r: {"restart": bool(r.integers(2))},
                 lambda r, c: {"lr": rate(r) / 2, "momentum": float(r.uniform(0, 0.99)),
                               "compensation": float(r.uniform(0, 0.99))}),
    "ElasticSGD": Kind(optim.ElasticSGD, paper.elastic,
                       lambda r: {"replicas": int(r.integers(1, 6))}, options_of_elastic_sgd),
    "Parle": Kind(optim.Parle, paper.parle, lambda r: {
        "replicas": int(r.integers(1, 6)), "inner_steps": steps(r), "seed": seed(r)},
        options_of_parle),
    "MFSGLD": Kind(optim.MFSGLD, paper.mf_sgld, lambda r: {
        "replicas": int(r.integers(1, 6)), "seed": seed(r)}, lambda r, c: {
        "lr": rate(r), "strength": heat_of(r), "temperature": heat_of(r)}),
    "MFHomSGLD": Kind(optim.MFHomSGLD, paper.mf_hom_sgld, homogenised, options_of_mf_hom_sgld),
}  # fmt: skip


def as_vectors(of: Problem, groups: list[dict[str, Any]], common: dict[str, Any]) -> dict[str, Any]:
    """Options of the algorithm: those of the groups along the vector of moving numbers."""
    out = {name: value for name, value in common.items() if name != "seed"}
    numbered = [(i, group) for group in groups for i in group["numbers"]]
    for name in groups[0]["options"]:
        rows = [np.full(of.sizes[i], group["options"][name], float)
                for i, group in numbered if i in of.moving]  # fmt: skip
        out[name] = np.concatenate(rows)
    return out


def state_of(of: Problem, optimizer: Any) -> list[Any]:
    """All that a step may change, in copies."""
    return [[p.detach().clone() for p in of.tensors], copy.deepcopy(optimizer.state_dict())]


def same(one: Any, other: Any) -> bool:
    """Equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class Stop(Exception):
    """What a closure raises."""


def run(kind: Kind, of: Problem, make: Callable[[], Any], plan: Any) -> tuple[list[Any], bool]:
    """x after each step, and whether a failed step left everything as it was."""
    count, fails, call, saved, silent = plan
    optimizer, path, kept = make(), [], True
    for k in range(count):
        if k == saved:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = make()
            optimizer.load_state_dict(state)
        if k == fails:
            before, calls = state_of(of, optimizer), []

            def failing(optimizer: Any = optimizer, calls: list[int] = calls) -> Any:
                if len(calls) == call:
                    raise Stop
                calls.append(1)
                return of.closure(optimizer)

            try:
                optimizer.step(failing)
            except Stop:
                kept = kept and same(before, state_of(of, optimizer))
            else:  # it takes fewer gradients
                path.append(of.x)
                continue
        if silent:
            of.closure(optimizer)
            optimizer.step()
        else:
            optimizer.step(functools.partial(of.closure, optimizer))
        path.append(of.x)
    return path, kept


def trial(kind: Kind, name: str, rng: Random) -> Trial:
    of, common = problem(rng), kind.common(rng)
    cuts = np.sort(rng.integers(0, len(of.tensors) + 1, int(rng.integers(0, 3))))
    parts = np.split(np.arange(len(of.tensors)), cuts)
    groups = [{"numbers": part.tolist(), "options": kind.each(rng, common)} for part in parts]
    one_gradient = kind.cls in (optim.SGLD, optim.TrivializedSGD, optim.NesterovRestart, optim.MaSS)
    count = int(rng.integers(1, 7))
    plan = (count, int(rng.integers(0, 2 * count)), int(rng.integers(0, 6)),
            int(rng.integers(0, 2 * count)), one_gradient and rng.random() < 0.3)  # fmt: skip
    started, starts = [p.detach().clone() for p in of.tensors], of.x

    def make() -> Any:
        return kind.cls([{"params": [of.tensors[i] for i in group["numbers"]], **group["options"]}
                         for group in groups], **common)  # fmt: skip

    def call() -> Any:
        with torch.no_grad():
            for p, start in zip(of.tensors, started, strict=True):
                p.copy_(start)
        return run(kind, of, make, plan)

    def judge(answer: Any) -> tuple[float, float]:
        path, kept = answer
        fixed = [i for i, how in enumerate(of.kinds) if how != "moving"]
        still = all(torch.equal(of.tensors[i].detach(), started[i]) for i in fixed)
        if not (kept and still):
            return np.inf, 0.0
        if not starts.size:
            return 0.0, 0.0
        told = as_vectors(of, groups, common)
        algorithm = kind.reference(starts, of.slope, of.normals(common.get("seed", 0)), **told)
        expected = list(islice(algorithm, count))
        scale = 1 + max(np.abs(x).max() for x in expected)
        error = max(np.abs(x - y).max() for x, y in zip(path, expected, strict=True)) / scale
        return float(error), 1e-4 if of.single else 1e-11

    shapes = [(tuple(p.shape), str(p.dtype)[6:], k) for p, k in
              zip(of.tensors, of.kinds, strict=True)]  # fmt: skip
    return Trial(f"{name}: {shapes}, {groups}, {common}, plan {plan}", call, judge)


def row(name: str) -> Row:
    kind = KINDS[name]
    return Row(f"optim {name}", (f"optim {kind.cls.__name__}",),
               lambda rng: trial(kind, name, rng), answered=1.0)  # fmt: skip


NONSENSE: dict[str, Any] = {
    "text": lambda rng: "0.1", "a class": lambda rng: float, "nothing": lambda rng: [],
    "negative": lambda rng: -log_uniform(rng, 1e-8, 1e8), "nan": lambda rng: float("nan"),
    "inf": lambda rng: float("-inf"), "complex": lambda rng: 1j, "a bool": lambda rng: True,
    "a tensor with a graph": lambda rng: torch.tensor(0.1, requires_grad=True),
}  # fmt: skip
UNKNOWN = ("weight_decays", "momentums", "Lr", "betas", "nesterov", "rho_max", "maximize")


def downhill(x: Any) -> Any:
    """A loss and its gradient."""
    x.grad = None
    loss = (x**2).sum()
    loss.backward()
    return loss


def nonsense(rng: Random) -> Trial:
    """Options out of range or of no number, and names that there are not."""
    kind = KINDS[pick(rng, *KINDS)]
    x = torch.ones(2, requires_grad=True)
    options = {**kind.common(rng)}
    options |= kind.each(rng, options)
    if rng.random() < 0.3:
        bad = {pick(rng, *UNKNOWN): 0.1}
    else:
        numbers = [k for k in options if k not in ("dual", "antithetic", "restart")]
        bad = {pick(rng, *numbers): NONSENSE[pick(rng, *NONSENSE)](rng)}
    what = f"{kind.cls.__name__} with {bad}"
    if rng.random() < 0.3:  # as schedulers do
        made = kind.cls([x], **options)
        made.param_groups[0].update(bad)
        return Trial(what + " later", lambda: made.step(lambda: downhill(x)), nonsense=True)
    if rng.random() < 0.5 or next(iter(bad)) in UNKNOWN:
        return Trial(what, lambda: kind.cls([{"params": [x], **options, **bad}]), nonsense=True)
    return Trial(what, lambda: kind.cls([x], **{**options, **bad}), nonsense=True)


ROWS = [*map(row, KINDS), Row("optim, nonsense", (), nonsense, answered=0.0)]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


def verdicts(name: str, draws: int) -> set[str]:
    return {judged(draw(row(name), 7, k)).kind for k in range(draws)}


def test_a_noise_off_by_a_root_of_two_is_caught(monkeypatch: Any) -> None:
    from pdekit.optim import sgld

    monkeypatch.setattr(sgld, "sqrt", lambda v: np.sqrt(v / 2))
    assert "wrong" in verdicts("SGLD", 40)


def test_a_mean_that_forgets_a_replica_is_caught(monkeypatch: Any) -> None:
    from pdekit.optim import elastic_sgd, replicas

    average, relay = replicas.average, elastic_sgd.relay
    monkeypatch.setattr(replicas, "average", lambda ys, xs: average(ys, xs[:1]))
    monkeypatch.setattr(
        elastic_sgd, "relay", lambda y, g, x, o, those, *how: relay(y, g, x, o, those[:1], *how)
    )
    assert "wrong" in verdicts("Parle", 40)
    assert "wrong" in verdicts("ElasticSGD", 40)
