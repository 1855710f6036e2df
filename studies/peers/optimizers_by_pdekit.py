"""pdekit: each optimizer of ``pdekit.optim``, with a closure."""

from collections.abc import Callable
from typing import Any

from pdekit import optim
from peers.optimizers import RATE, TEMPERATURE, Method, Problem


def way(optimizer: Callable[..., Any], **options: Any) -> Any:
    def make(problem: Problem) -> Any:
        made = optimizer(problem.parameters, lr=RATE, **options)
        return lambda: made.step(problem.gradient)

    return make


def methods() -> tuple[Method, ...]:
    o, T = optim, TEMPERATURE
    return (
        Method("pdekit, SGLD, T = 0", way(o.SGLD, temperature=0.0), "SGD"),
        Method("pdekit, NesterovRestart", way(o.NesterovRestart), "Nesterov, restarted"),
        Method("pdekit, MaSS", way(o.MaSS), "MaSS"),
        Method("pdekit, HJ, L = 5", way(o.HJ), "HJ"),
        Method("pdekit, EntropySGD, L = 20, T = 0", way(o.EntropySGD), "Entropy-SGD"),
        Method("pdekit, ElasticSGD, 3 replicas", way(o.ElasticSGD), "Elastic-SGD"),
        Method("pdekit, Parle, 3 replicas, L = 25", way(o.Parle), "Parle"),
        Method("pdekit, SGLD", way(o.SGLD, temperature=T), "SGD", noise=True),
        Method("pdekit, EntropySGD, L = 20",
               way(o.EntropySGD, temperature=T), "Entropy-SGD", noise=True),
        Method("pdekit, HEAT, L = 20",
               way(o.HEAT, inner_steps=20, temperature=T), "HEAT", noise=True),
        Method("pdekit, TrivializedSGD",
               way(o.TrivializedSGD, coupling=1e-6), "SGD", noise=True),
    )  # fmt: skip
