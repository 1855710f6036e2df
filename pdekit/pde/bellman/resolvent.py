"""The resolvent (1 - tau L)^-1 of a generator, and its transpose: an implicit Euler step."""

from collections.abc import Callable, Iterator
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.kernels.sparse_lu import factorised

EXACT = 1e-14  # relative residual: rounding
_MOST = 100  # number of products above which a factorisation is cheaper
_LOOSE = 1e-12  # residual accepted if rounding stops the iteration earlier


class Resolvent:
    """b -> (1 - tau L)^-1 b or (1 - tau L^T)^-1 b; both directions from one

    elimination. Direct on a line or a circle. In the plane by BiCGStab, preconditioned with one
    step of Peaceman and Rachford's alternating directions: with X = 1/2 - tau L_x, Y = 1/2 - tau
    L_y the matrix is X + Y, and 2r (r + Y)^-1 (r + X)^-1 is near its inverse, with r the geometric
    mean of the ends of their spectra. By sparse LU where a hundred products do not suffice.
    """

    def __init__(self, generator: Generator, tau: float) -> None:
        self.generator, self.tau = generator, tau
        if generator.grid.dim == 1:
            self.lines = [Lines(generator, 0, tau)]
            return
        stiffest = 2 * tau * max(float(a.mean() + b.mean()) for a, b in _rates(generator))
        r = sqrt(0.5 * (0.5 + stiffest))
        self.lines = [Lines(generator, axis, tau / (r + 0.5)) for axis in (0, 1)]
        self.scale = 2 * r / (r + 0.5) ** 2

    def __call__(self, b: Array, transposed: bool = False, rtol: float = EXACT) -> Array:
        """The solution; in the plane up to the residual ``rtol`` relative to b."""
        if len(self.lines) == 1:
            return self.lines[0](b, transposed)
        if "_lu" in self.__dict__:
            return self._factored(b, transposed)
        found = _stabilised(self._operator(transposed), self._split(transposed), b, rtol)
        return self._factored(b, transposed) if found is None else found

    def _operator(self, transposed: bool) -> Callable[[Array], Array]:
        from pdekit.pde.kernels.resolvent_lines import backward, forward

        kernel = forward if transposed else backward
        (up0, up1), (down0, down1) = self.generator.up, self.generator.down

        def apply(x: Array) -> Array:
            out = np.empty_like(x)
            kernel(up0, down0, up1, down1, self.tau, x, out)
            return out

        return apply

    def _split(self, transposed: bool) -> Callable[[Array], Array]:
        one, two = self.lines[::-1] if transposed else self.lines
        return lambda b: self.scale * two(one(b, transposed), transposed)

    def _factored(self, b: Array, transposed: bool) -> Array:
        out: Array = self._lu.solve(b.ravel(), "T" if transposed else "N").reshape(b.shape)
        return out

    @cached_property
    def _lu(self) -> Any:
        return factorised(self.generator.matrix(), self.tau)


def _rates(generator: Generator) -> Iterator[tuple[Array, Array]]:
    return zip(generator.up, generator.down, strict=True)


class Lines:
    """The resolvent of the part of a generator along one axis."""

    def __init__(self, generator: Generator, axis: int, tau: float) -> None:
        from pdekit.pde.kernels.resolvent_lines import pivots

        self.turned, self.tau = axis == 1, tau
        self.seam = generator.grid.periodic[axis]
        self.up, self.down = self._columns(generator.up[axis]), self._columns(generator.down[axis])
        self.inverse = np.empty((generator.grid.cells[axis], self.up.shape[1]))
        pivots(self.up, self.down, tau, self.seam, self.inverse)
        self.borders: dict[bool, tuple[Array, Array]] = {}

    def __call__(self, b: Array, transposed: bool = False) -> Array:
        from pdekit.pde.kernels.resolvent_lines import circle, sweep

        lines = self._columns(b)
        x = np.empty_like(lines)
        system = self.up, self.down, self.inverse, self.tau, transposed
        if self.seam:
            circle(*system, *self._border(transposed), lines, x)
        else:
            sweep(*system, len(x), lines, x)
        return np.ascontiguousarray(x.T) if self.turned else x.reshape(b.shape)

    def _columns(self, field: Array) -> Array:
        """Lines along the first axis."""
        return np.ascontiguousarray(field.T) if self.turned else field.reshape(len(field), -1)

    def _border(self, transposed: bool) -> tuple[Array, Array]:
        from pdekit.pde.kernels.resolvent_lines import border

        if transposed not in self.borders:
            made = np.empty_like(self.inverse), np.empty(self.inverse.shape[1])
            border(self.up, self.down, self.inverse, self.tau, transposed, *made)
            self.borders[transposed] = made
        return self.borders[transposed]


def _stabilised(
    apply: Callable[[Array], Array], precondition: Callable[[Array], Array], b: Array, rtol: float
) -> Array | None:
    """x with |b - A x| <= rtol |b| by BiCGStab, or None if it takes too

    long. The residual is recomputed before acceptance; the last correction, x + (b - A x), makes
    sums right to rounding where the columns of A sum to one.
    """
    size = float(np.linalg.norm(b))
    x = precondition(b)
    if size == 0:
        return x
    spent, reached = 0, np.inf
    while spent < _MOST:
        r = b - apply(x)
        before, reached = reached, float(np.linalg.norm(r))
        if reached <= rtol * size or (reached <= _LOOSE * size and reached > before / 2):
            return x + r
        if not np.isfinite(reached):
            return None
        spent += 1
        change, products = _descended(apply, precondition, r, rtol * size / 2, _MOST - spent)
        x, spent = x + change, spent + products
    return None


def _descended(
    apply: Callable[[Array], Array], precondition: Callable[[Array], Array], r: Array,
    goal: float, most: int,
) -> tuple[Array, int]:  # fmt: skip
    """BiCGStab from zero for A x = r until the recursive residual meets the goal; the products."""
    shadow, p, x = r, r, np.zeros_like(r)
    rho = float(np.vdot(shadow, r))
    for k in range(0, most, 2):
        ready = precondition(p)
        v = apply(ready)
        slope = float(np.vdot(shadow, v))
        if slope == 0 or rho == 0:
            return x, k + 2
        alpha = rho / slope
        s = r - alpha * v
        near = precondition(s)
        t = apply(near)
        square = float(np.vdot(t, t))
        omega = float(np.vdot(t, s)) / square if square > 0 else 0.0
        x = x + alpha * ready + omega * near
        r = s - omega * t
        if np.linalg.norm(r) <= goal or omega == 0:
            return x, k + 2
        last, rho = rho, float(np.vdot(shadow, r))
        p = r + (rho / last) * (alpha / omega) * (p - omega * v)
    return x, most
