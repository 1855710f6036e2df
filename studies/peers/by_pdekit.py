"""pdekit: each problem by the default scheme, first, and by others where there is a choice."""

from collections.abc import Callable
from typing import Any

import numpy as np

import pdekit as pk
from peers.problems import ATTRACTION, BETA, CROWD_BETA, HOT, LQ, Array, Method, Problem, plain

PACKAGE = "pdekit"
EQUATIONS: dict[str, Callable[[Problem], Any]] = {
    "W1": lambda p: pk.FokkerPlanck(p.potential, BETA),
    "W2": lambda p: pk.FokkerPlanck(pk.potentials.Custom(p.potential, dim=2), BETA),
    "W3": lambda p: pk.ViscousHJ(HOT),
    "W4": lambda p: pk.HamiltonJacobi(),
    "W5": lambda p: pk.Heat(HOT),
    "W6": lambda p: pk.McKeanVlasov(p.potential, CROWD_BETA, pk.CurieWeiss(ATTRACTION)),
}


def final(problem: Problem, scheme: Any = None) -> Array:
    equation = EQUATIONS[problem.kind](problem)
    return pk.solve(equation, problem.grid, problem.given, problem.t, scheme).fields[-1]


def stationary(problem: Problem) -> Array:
    return pk.stationary(pk.FokkerPlanck(problem.potential, BETA), problem.grid).values


def game(problem: Problem, steps: int, scheme: Any = None) -> Array:
    times = np.linspace(0, problem.t, steps + 1)
    running, terminal = pk.MeanTracking(LQ.q, LQ.kappa), pk.MeanTracking(LQ.g, LQ.kappa_T)
    return pk.control(
        pk.potentials.Quadratic(LQ.a), LQ.beta, problem.grid, problem.given,
        lambda x: 0 * x[..., 0], times, coupling=running, terminal_coupling=terminal, scheme=scheme,
    ).value.fields[0]  # fmt: skip


def methods() -> tuple[Method, ...]:
    s = pk.schemes
    return (
        Method("W1", "pdekit", plain(final)),
        Method("W1", "pdekit Implicit, 40 steps", plain(final, s.Implicit(0.25))),
        Method("W1", "pdekit Implicit, 200 steps", plain(final, s.Implicit(0.05))),
        Method("W1s", "pdekit", plain(stationary)),
        Method("W2", "pdekit", plain(final)),
        *(
            Method("W2", f"pdekit Split({r:g})", plain(final, s.Split(r)))
            for r in (1e-2, 1e-3, 1e-5)
        ),
        Method("W3", "pdekit", plain(final)),
        Method("W4", "pdekit", plain(final)),
        Method("W4", "pdekit Filtered", plain(final, s.Filtered())),
        Method("W4", "pdekit Godunov", plain(final, s.Godunov())),
        Method("W5", "pdekit", plain(final)),
        Method("W6", "pdekit", plain(final)),
        *(
            Method("W6", f"pdekit MeanField({r:g})", plain(final, s.MeanField(r)))
            for r in (1e-3, 1e-7)
        ),
        Method("W7", "pdekit, 200 steps", plain(game, 200)),
        Method("W7", "pdekit, 50 steps", plain(game, 50)),
    )
