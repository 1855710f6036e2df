"""Exact in time without splitting: shift-and-invert Krylov subspaces of any generator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import ConvergenceError
from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck, Heat
from pdekit.pde.problem import Problem
from pdekit.pde.settled import settled

Array = NDArray[np.float64]
_SHIFT = 0.1  # of the interval: near the best for tolerances of 1e-6 to 1e-10
_LARGEST = 60  # vectors in a basis; an interval that needs more is halved
_EVERY = 4  # new vectors between two estimates
_SURE = 10.0  # the change over that many vectors must be this much below the tolerance
_MOST_PARTS = 4096


@dataclass(frozen=True)
class Krylov:
    """exp(t A) u in the space spanned by powers of (I - γ A)^-1 on u; one sparse LU, any stencil.

    For tensor diffusion, whose stencil has too many directions to split. An interval takes one
    factorisation (γ a tenth of its length) and 20 to 60 solves; the basis grows until its last
    vectors change the result by less than ``rtol / 10`` (L1 over the mass of densities, maximum
    over that of the data for functions), and the interval is halved where 60 do not do.
    Entries below zero (never beyond ``rtol``) are set to zero and the mass restored; ``.stats`` has
    the most negative value met. Memory: the factors, about 30 log2(cells) numbers a cell, and 60.
    Raises ``ConvergenceError`` when 4096 parts do not reach the tolerance.
    Source: van den Eshof and Hochbruck, SIAM J. Sci. Comput. 27 (2006).
    """

    rtol: float = 1e-8

    solves = (FokkerPlanck, BackwardKolmogorov, Heat)

    def __post_init__(self) -> None:
        if not 1e-12 <= self.rtol < 1:
            raise ValueError(f"rtol must lie in [1e-12, 1), got {self.rtol}")

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        if problem.moves:
            raise ValueError(
                "Krylov takes a potential fixed in time; use schemes.Split() in two dimensions and "
                "Exponential() in one"
            )
        matrix = problem.generator().matrix()
        operator = _Resolvent((matrix.T if problem.forward else matrix).tocsc())
        stats.update(negative_before_clipping=0.0, error_estimate=0.0, solves=0)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}

        def advance(t: float) -> Array:
            u = state["u"]
            new = self._interval(problem, operator, u, t - state["t"], stats)
            new, clipped = settled(problem, new, u, stats)
            stats["error_estimate"] += clipped
            state.update(u=new, t=t)
            return state["u"]

        return advance

    def _interval(
        self, problem: Problem, operator: "_Resolvent", u: Array, span: float, stats: Any
    ) -> Array:
        parts, done, before = 1, 0, u
        while done < parts:
            new, error = self._part(problem, operator, u, span / parts, parts, stats)
            stats["steps"] += 1
            if new is not None:
                u, done = new, done + 1
                stats["error_estimate"] += error
            elif parts >= _MOST_PARTS:
                raise ConvergenceError(
                    f"a Krylov space of {_LARGEST} vectors over {span / parts:.2g} still changes "
                    f"by {error:.2g}, above rtol={self.rtol:g}; raise rtol"
                )
            else:
                parts, done, u = 4 * parts, 0, before
        return u

    def _part(
        self,
        problem: Problem,
        operator: "_Resolvent",
        u: Array,
        step: float,
        parts: int,
        stats: Any,
    ) -> tuple[Array | None, float]:
        """exp(step A) u and an estimate of its error; None where the basis does not suffice."""
        basis = np.empty((_LARGEST + 1, u.size))
        hessenberg = np.zeros((_LARGEST + 1, _LARGEST))
        size = float(np.linalg.norm(u))
        if size == 0:
            return u, 0.0
        basis[0] = u.ravel() / size
        change, last = np.inf, None
        for m in range(1, _LARGEST + 1):
            w = operator.solve(basis[m - 1], _SHIFT * step)
            stats["solves"] += 1
            for _ in range(2):  # Gram and Schmidt, twice
                part = basis[:m] @ w
                w = w - part @ basis[:m]
                hessenberg[:m, m - 1] += part
            hessenberg[m, m - 1] = np.linalg.norm(w)
            closed = hessenberg[m, m - 1] < 1e-14
            if not closed:
                basis[m] = w / hessenberg[m, m - 1]
            if m % _EVERY == 0 or closed:
                new = (size * _exponential(hessenberg[:m, :m]) @ basis[:m]).reshape(u.shape)
                if closed:
                    return new, 0.0
                change = np.inf if last is None else problem.distance(last, new)
                if change <= self.rtol / (_SURE * parts):
                    return new, change
                last = new
        return None, change


def _exponential(hessenberg: Array) -> Array:
    """First column of exp(step A) in the basis: A = (I - H^-1) / γ there."""
    from scipy.linalg import expm

    inverse = np.linalg.inv(hessenberg)
    out: Array = expm((np.eye(len(inverse)) - inverse) / _SHIFT)[:, 0]
    return out


class _Resolvent:
    """(I - γ A)^-1 by sparse LU; the factors of the last γ are kept."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.shift = matrix, np.nan
        self.lu: Any = None

    def solve(self, b: Array, shift: float) -> Array:
        if self.lu is None or abs(shift / self.shift - 1) > 1e-9:
            self.lu, self.shift = factorise(self.matrix, shift), shift
        out: Array = self.lu.solve(b)
        return out


def factorise(matrix: Any, shift: float) -> Any:
    """LU of I - shift A: diagonally dominant, so without pivoting and with a symmetric ordering."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    system = (eye_array(matrix.shape[0], format="csc") - shift * matrix).tocsc()
    return splu(
        system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
