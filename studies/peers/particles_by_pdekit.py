"""pdekit: ``simulate`` from its arguments to the positions at the end; forces by its summations."""

from typing import Any

import torch

import pdekit as pk
from pdekit.particles import ChebyshevSum, EulerMaruyama, ExactSum
from pdekit.particles.forces import mean_force
from peers.particles import (
    ATTRACTION,
    BETA,
    DELTA,
    GAMMA,
    INNER,
    INNER_STEP,
    OUTER_STEP,
    PLANES,
    STEP,
    Method,
    Plane,
    Size,
)

EULER = EulerMaruyama()
LANDSCAPES = (pk.potentials.SixHumpCamel(), pk.potentials.MullerBrown())


def double_well(dtype: str, integrator: Any) -> Any:
    dynamics = pk.Langevin(pk.potentials.DoubleWell(), BETA, integrator)
    return lambda size: moved(dynamics, size, 1, dtype)


def curie_weiss(dtype: str) -> Any:
    V, pull = pk.potentials.DoubleWell(2), pk.CurieWeiss(ATTRACTION)
    dynamics = pk.InteractingLangevin(V, BETA, pull, integrator=EULER)
    return lambda size: moved(dynamics, size, 2, dtype)


def moved(dynamics: Any, size: Size, dim: int, dtype: str) -> Any:
    return final(dynamics, size.start(dim), dtype, STEP, size.steps)


def force(dim: int, dtype: Any, summation: Any) -> Any:
    well = pk.PairPotential(pk.interactions.GaussianWell(1.0, 1.0, dim))

    def make(size: Size) -> Any:
        x = torch.from_numpy(size.cloud(dim)).to(dtype)[None]
        return lambda: mean_force(well, summation, x, size.points, lambda p: p)[0].numpy()

    return make


def swarm(dtype: str) -> Any:
    def make(size: Size) -> Any:
        runs, agents, dim = size.swarm
        dynamics = pk.TwoScaleLangevin(
            pk.potentials.Rough(dim, DELTA), BETA, GAMMA, 1.0, INNER, inner_dt=INNER_STEP
        )
        start, t = size.swarms(), OUTER_STEP * size.outer

        def run() -> float:
            settings = {"n": agents, "t": t, "dt": OUTER_STEP, "runs": runs, "dtype": dtype}
            return float((pk.simulate(dynamics, start, **settings).final.values ** 2).mean())

        return run

    return make


def alone(V: Any, plane: Plane) -> Any:
    return pk.Langevin(V, plane.beta, EULER)


def drawn(V: Any, plane: Plane) -> Any:
    pull = pk.CurieWeiss(plane.attraction)
    return pk.InteractingLangevin(V, plane.beta, pull, integrator=EULER)


def two_scales(V: Any, plane: Plane) -> Any:
    return pk.TwoScaleLangevin(V, plane.beta, plane.gamma, 1.0, INNER, inner_dt=plane.step)


def many(dynamics: Any, plane: Plane, dtype: str) -> Any:
    return lambda size: final(dynamics, size.on(plane), dtype, plane.step, size.steps)


def fewer(dynamics: Any, plane: Plane, dtype: str) -> Any:
    return lambda size: final(dynamics, size.on(plane, 20), dtype, plane.outer_step, size.outer)


def final(dynamics: Any, start: Any, dtype: str, step: float, steps: int) -> Any:
    """A call that returns the second moment after so many steps."""

    def run() -> float:
        how = {"n": len(start), "t": step * steps, "dt": step, "dtype": dtype}
        return float((pk.simulate(dynamics, start, **how).final.values ** 2).mean(dtype=float))

    return run


def methods() -> tuple[Method, ...]:
    exact, single, double = ExactSum(), torch.float32, torch.float64
    forces = [
        Method(f"P3 d={dim}", f"pdekit{how}", force(dim, dtype, summation))
        for dim in (1, 2)
        for how, dtype, summation in (
            (", float32", single, exact),
            (", float64", double, exact),
            (", float32, Chebyshev 1e-6", single, ChebyshevSum(1e-6)),
            (", float64, Chebyshev 1e-6", double, ChebyshevSum(1e-6)),
        )
    ]
    landscapes = [
        Method(f"{kind} {plane.name}", f"pdekit, {dtype}", moves(make(V, plane), plane, dtype))
        for kind, make, moves in (
            ("P5", alone, many), ("P6", drawn, many), ("P7", two_scales, fewer)
        )
        for V, plane in zip(LANDSCAPES, PLANES, strict=True)
        for dtype in ("float32", "float64")
    ]  # fmt: skip
    return (
        Method("P1", "pdekit, float32", double_well("float32", EULER)),
        Method("P1", "pdekit, float32, second order",
               double_well("float32", pk.particles.LeimkuhlerMatthews())),
        Method("P1", "pdekit, float64", double_well("float64", EULER)),
        Method("P2", "pdekit, float32", curie_weiss("float32")),
        Method("P2", "pdekit, float64", curie_weiss("float64")),
        *forces,
        Method("P4", "pdekit, float32", swarm("float32")),
        Method("P4", "pdekit, float64", swarm("float64")),
        *landscapes,
    )  # fmt: skip
