"""Whether the kernels of users have the gradients of their potentials, where particles are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.particles.formulas import Formulas
from pdekit.particles.kernels.drift import CHUNK
from pdekit.potentials.algebra import leaves
from pdekit.potentials.protocol import kernels_of

_FEW, _ON_THE_WAY = 8, 64  # particles looked at along the run, besides the outermost
_GOLDEN = 0.6180339887498949


class UsersKernel:
    """The kernel of a user's potential V, for particles like ``x``."""

    def __init__(self, V: Any, x: Tensor) -> None:
        kernels = [*kernels_of(V)] * 2  # so that one that assigns, or writes to the points, is seen
        self.V, self.twice, self.looked = V, Formulas(kernels, x), 0
        self.blocks = 0

    def check_start(self, x: Tensor, box: Any) -> None:
        """``ValueError`` where it is not the gradient of V, at points ``x`` and some about them."""
        t = min(getattr(self.V, "times", (0.0,)), default=0.0)
        for y in _around(x, box):
            self.check(y, float(t))

    def check_along(self, before: Tensor, x: Tensor, start: float, stop: float, last: bool) -> None:
        """The same after a block of steps, of some of the particles and the outermost, and of more

        of them on their way there, at a time and at places between: ``before`` and ``x`` are of
        shape ``(..., dim)``. After the ``last`` block before an output time, and ever fewer others.
        """
        self.blocks += 1
        if not (last or _is_round(self.blocks)):
            return
        before, x = (y.reshape(-1, y.shape[-1]) for y in (before, x))
        ends = torch.cat((x.argmin(dim=0), x.argmax(dim=0)))
        self.check(torch.cat((x[:_FEW], x[ends])), stop)
        self.looked += 1
        some = torch.cat((torch.arange(min(_ON_THE_WAY, len(x))), ends))
        share = torch.remainder(_GOLDEN * (self.looked + torch.arange(len(some))), 1)[:, None]
        there = before[some] + share.to(x.dtype) * (x[some] - before[some])
        self.check(there, start + (_GOLDEN * self.looked % 1) * (stop - start))

    def check(self, x: Tensor, t: float) -> None:
        """``ValueError`` where it differs from the gradient of V at the points, at the time t."""
        V, found = self.V, self.twice.slopes(x.numpy(), t) / 2
        still = V.at(t) if checks.time_dependent(V) else V
        grad: Any = getattr(still, "grad", None)
        if grad is None:
            total: Any = lambda y: still(y).sum()  # noqa: E731
            grad = torch.func.grad(total)
        try:
            exact = grad(x).detach().numpy()
        except Exception:  # beyond its domain; where particles are, steps report it
            return
        known = np.isfinite(exact) & np.isfinite(found)
        apart = np.where(known, np.abs(found - exact), 0.0)
        size = np.where(known, np.maximum(np.abs(found), np.abs(exact)), 0.0)
        eps = np.finfo(found.dtype).eps
        allowed = eps**0.4 * size.max(axis=0) + 100 * eps * size.max(
            initial=0.0
        )  # of each coordinate
        if (apart > allowed).any():
            apart = apart / np.maximum(allowed, np.finfo(found.dtype).tiny)
            k = np.unravel_index(int(apart.argmax()), apart.shape)
            raise ValueError(
                f"the kernel of {type(V).__name__} must have the gradient of grad; at "
                f"{x[k[0]].tolist()} it has {found[k]:.6g}, grad {exact[k]:.6g}. Its down(x, b, m, "
                "numbers, rows) subtracts ∂_j V from b[j] for j < m"
            )


def _is_round(count: int) -> bool:
    """Whether it is 1, 2, 3, 4, 6, 8, 12, 16, 24, ...."""
    odd = count // (count & -count)
    return odd in (1, 3)


def users_kernels(dynamics: Any, x: Tensor) -> list[UsersKernel]:
    """Those that the compiled loops call for ``dynamics``, which may have no potential."""
    alone = (dynamics.potential,) if hasattr(dynamics, "potential") else ()
    potentials = getattr(dynamics, "potentials", None) or alone
    parts = [V for potential in potentials for V in leaves(potential)]
    return [UsersKernel(V, x) for V in parts if not type(V).__module__.startswith("pdekit.")]


def _around(x: Tensor, box: Any) -> Iterator[Tensor]:
    """Some of the points, and some on rings about them, in the box."""
    some = x[: max(1, min(64, CHUNK // x.shape[-1]))]
    spread = float(x.std(0, correction=0).max()) or float(x.abs().max()) or 1.0
    yield some
    for reach in (0.1, -0.1, 1.0, -1.0):
        ring = some[:8] + reach * spread
        yield (
            ring
            if box is None
            else ring.clamp(ring.new_tensor(box.lower), ring.new_tensor(box.upper))
        )
