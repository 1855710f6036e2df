"""mfgsolver: policy iteration with upwind differences and sparse solves."""

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from mfgsolver import MfgBase

from peers.problems import LQ, Array, Method, Problem, plain


class Game(MfgBase):
    """W7; the policy q is the whole velocity a x + u_x, so the drift needs no place of its own."""

    def M0_func(self, x: Array) -> Array:
        return np.exp(-((x - LQ.initial_mean) ** 2) / (2 * LQ.initial_std**2))

    def UT_func(self, x: Array) -> Array:
        return self.get_UT(self.M0)

    def get_UT(self, m: Array) -> Array:
        return LQ.g / 2 * (self.xs - LQ.kappa_T * self.mean(m)) ** 2

    def mean(self, m: Array) -> Any:
        return self.xs @ m / m.sum()

    def optimal_control(self, m: Array, du: Array) -> Array:
        return LQ.a * self.xs + du

    def running_cost(self, m: Array, q: Any) -> Array:
        effort = (sum(q) - LQ.a * self.xs) ** 2 / 2
        return effort + LQ.q / 2 * (self.xs - LQ.kappa * self.mean(m)) ** 2


def value(problem: Problem, steps: int, rounds: int) -> Array:
    """At time 0 on the cells; its nodes are the cells' centres."""
    x = problem.grid.axes[0]
    with redirect_stdout(StringIO()):  # it prints each round
        game = Game(
            nv=1 / LQ.beta, x1=x[0], x2=x[-1], Nx=x.size - 1, Nt=steps, T=problem.t, bc="neumann"
        )
        game.UT = game.get_UT(game.M0)
        game.solve(maxit=rounds)
    return game.U[0]


def methods() -> tuple[Method, ...]:
    return (Method("W7", "mfgsolver, 200 steps", plain(value, 200, 10)),)
