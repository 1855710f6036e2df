"""CBXpy: a step of its consensus-based optimisation, the nearest it has to Curie-Weiss.

Attraction to the weighted mean, and noise in proportion to the distance from it; no slope.
"""

from typing import Any

from cbx.dynamics import CBO

from peers.particles import ATTRACTION, STEP, Method, Size


def cost(x: Any) -> Any:
    return ((x * x - 1) ** 2).sum(-1) / 4


def consensus(size: Size) -> Any:
    start = size.start(2)[None]

    def run() -> float:
        swarm = CBO(
            cost, x=start.copy(), f_dim="3D", dt=STEP, lamda=ATTRACTION, sigma=0.7,
            alpha=1.0, max_it=size.steps, verbosity=0,
        )  # fmt: skip
        for _ in range(size.steps // 10):
            swarm.step()
        return float((swarm.x**2).mean(dtype=float))

    return run


def methods() -> tuple[Method, ...]:
    return (Method("P2", "CBXpy, consensus step", consensus, same=False, part=0.1),)
