"""Implicit steps of the Hamilton-Jacobi-Bellman equation by policy iteration (Howard's algorithm).

``PolicyStep`` is an implicit Euler step, ``PairedStep`` a second-order one made of two such,
``ChainedStep`` two shorter ones in place of one that goes astray, and ``PolicySteps`` says which is
taken. Whatever the step, the density is carried by exactly the transpose of its derivative.
"""

from functools import cached_property
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.bellman.hamiltonian import FittedHamiltonian
from pdekit.pde.bellman.resolvent import Resolvent
from pdekit.pde.bellman.steps import Passage
from pdekit.pde.bellman.vouched import inner

_MOST_POLICIES = 100
_ROUGH = 1e-4  # residual to which a policy is evaluated on the way
_SETTLED = 1e-13  # of the value: where the next policy would change it less
GAMMA = 1 - sqrt(0.5)
REACH = 1 + sqrt(2)  # (1 - GAMMA) / GAMMA: the second stage starts that far along the first
_BAND = 2.0  # of the filter; see ``PolicySteps.band``
_WIDEST = 1 / 16  # of the range: the largest mean change of a step that the filter counts on
_MOST_HELD = 0.25  # of the cells: a step of which the filter holds more is cut in two
_DEEPEST = 12  # how often
# Of the range, by order: what a step may change, off the walls, at the rate of its data
_SUDDEN = {1: 0.25, 2: 0.5}
_BLIND = {1: 4.0, 2: 0.5}  # the same for a step that is not yet cut: those of order one are rough
_BENT = 0.1  # of beta / 2 times the range: below it the mean alone counts, which steps keep
_SHORTEST = 50  # times that a sudden step is halved
_SLACK = 1e-12  # of the largest value: what rounding may take a step beyond its bounds
ALL = np.ones((), dtype=bool)  # no cell is held back
_TAILS = (1e-6, 1e-4, 1e-2)  # of the largest density: what counts as its tail, step by step
_NEGATIVE = 1e-9  # of the largest density: what a step may leave below zero


class PolicySteps:
    """Φ at (U, dt) for the fitted right-hand side 𝓕 of the HJB equation.

    Of order one: u - dt 𝓕(u) = U, monotone and concave at any dt: every policy is a linear equation
    with an M-matrix, and Newton's method is Howard's. Of order two: the L-stable SDIRK2 steps u =
    Φ_γ((1 + √2) Φ_γ(U) - √2 U), Φ_γ of order one and length γ dt, γ = 1 - 1/√2, filtered: no cell
    is taken further than ``band`` dt from the monotone step of order one, nor out of U's range.
    A step that leaves the range by more than the band, or is held back in more than a quarter of
    the cells, is too long for the data: it is made of two of half the length, and these likewise.
    So is a step, of either order, at whose start the value changes so fast that it would be
    somewhere else before the end: waves that diffusion takes out within it leave their mark, as
    -(2/beta) log of a mean is not the mean, and of that steps that are all too long know nothing.
    ``held``: largest share of cells that the filter held back; ``upright``: how many densities
    were moved by the step of order one because the other one would have left them below zero;
    ``cuts``: how many steps were cut. ``parts``: every step that is not cut further is taken as
    so many, which measures what the cut ones err by.
    """

    divisible: ClassVar[bool] = True  # whether it may take a step in ``parts``

    def __init__(self, potential: Array, beta: float, grid: Grid, order: int = 1) -> None:
        self.hamiltonian = FittedHamiltonian(potential, beta, grid)
        self.order, self.held, self.upright = order, 0.0, 0
        self.cuts, self.parts = 0, 1

    def passage(self, times: Array, running: Array, terminal: Array) -> Passage:
        """Over the nodes."""
        return Passage(self, times, running, terminal)

    @property
    def filtered(self) -> bool:
        """Whether a filter switches between its steps and monotone ones."""
        return self.order == 2

    def monotone(self) -> "PolicySteps":
        """The steps of order one of the same equation."""
        hamiltonian = self.hamiltonian
        return PolicySteps(hamiltonian.potential, hamiltonian.beta, hamiltonian.grid)

    def __call__(self, value: Array, dt: float) -> "PolicyStep | PairedStep | ChainedStep":
        return self._cut(value, dt, 0)

    def _cut(self, value: Array, dt: float, depth: int) -> "PolicyStep | PairedStep | ChainedStep":
        """A step, or as many shorter ones as the data need."""
        begin = self.hamiltonian.linearised(value)
        step = None
        if depth >= _SHORTEST or not self._sudden(value, dt, begin[0], depth):
            step = self._once(value, dt, begin)
        if step is None or (step.astray and depth < _DEEPEST):
            self.cuts += 1
            late = self._cut(value, dt / 2, depth + 1)
            return ChainedStep(late, self._cut(late.value, dt / 2, depth + 1))
        self.held = max(self.held, 1 - float(np.mean(step.near)))
        if self.parts == 1:
            return step
        short: PolicyStep | PairedStep | ChainedStep = self._once(value, dt / self.parts, begin)
        for _ in range(self.parts - 1):
            short = ChainedStep(short, self._once(short.value, dt / self.parts))
        return short

    def _sudden(self, value: Array, dt: float, rate: Array, depth: int) -> bool:
        """Whether the value changes too fast for a step of that length to see it."""
        span = float(np.ptp(value))
        if self.hamiltonian.beta / 2 * span <= _BENT:
            return False
        fastest = float(np.abs(rate[inner(self.hamiltonian.grid)]).max())
        return dt * fastest > (_SUDDEN if depth else _BLIND)[self.order] * span

    def _once(self, value: Array, dt: float, begin: Any = None) -> "PolicyStep | PairedStep":
        if self.order == 1:
            return self.euler(value, dt, value, begin)
        first = self.euler(value, GAMMA * dt, value, begin)
        rate = (first.value - value) / GAMMA
        second = self.euler(value + (1 - GAMMA) * rate, GAMMA * dt, value + rate)
        return PairedStep(self, (value, dt), first, second)

    def euler(self, value: Array, dt: float, guess: Array, begin: Any = None) -> "PolicyStep":
        """The step of order one, by policies from that of ``guess`` on (``begin``: linearised)."""
        u, size = guess, np.inf
        for _ in range(_MOST_POLICIES):
            rate, generator = self.hamiltonian.linearised(u) if begin is None else begin
            begin = None
            change = Resolvent(generator, dt)(u - dt * rate - value, rtol=_ROUGH)
            u, size = u - change, float(np.abs(change).max())
            # the slope of 𝓕 turns over jumps of 1 / beta: what Newton's method leaves is beta
            # size^2, and what a rough evaluation leaves comes to it
            left = min(self.hamiltonian.beta * size + _ROUGH * (u.ndim > 1), 1.0) * size
            if left <= _SETTLED * (1 + float(np.abs(u).max())):
                return PolicyStep(self.hamiltonian, u, dt)
        raise ConvergenceError(
            f"{_MOST_POLICIES} policies still change the value by {size:.2g} in a step of {dt:.2g};"
            " ask for more times"
        )

    def band(self, value: Array, first: Array, dt: float) -> float:
        """How fast a step may depart from the monotone one: 2 r sqrt(dt r / range), r mean |u_t|.

        Of order sqrt(dt), so that the filtered steps converge because the monotone ones do, while
        smooth steps depart by no more than dt |u_tt| / 2 and go through. r is that of the monotone
        first stage, and dt r at most a sixteenth of the range: whatever the step to be held does,
        the band is never more than a thirtieth of the range.
        """
        span = max(float(np.ptp(value)), 1e-300)
        change = min(float(np.abs(first - value).mean()) / GAMMA, _WIDEST * span)
        return (_BAND * change * sqrt(change / span) + _slack(value)) / dt


def _slack(value: Array) -> float:
    return _SLACK * (1 + float(np.abs(value).max()))


class PolicyStep:
    """The implicit Euler step at u: the resolvent of the controlled generator, its transpose."""

    astray: ClassVar[bool] = False  # monotone: it never goes wrong, nor is it held back anywhere
    near: ClassVar[NDArray[np.bool_]] = ALL

    def __init__(self, hamiltonian: FittedHamiltonian, u: Array, dt: float) -> None:
        self.hamiltonian, self.value, self.dt = hamiltonian, u, dt
        self.resolvent = Resolvent(hamiltonian.linearised(u)[1], dt)

    def push(self, change: Array) -> Array:
        return self.resolvent(change)

    def carry(self, rho: Array) -> Array:
        return self.resolvent(rho, transposed=True)

    move = carry

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """From (1 - dt L_u^T) carried = rho: d carried = carry(dt (dL_u)^T carried)."""
        bent = self.dt * self.hamiltonian.curvature(self.value, pushed, carried)
        return np.stack([bent, np.zeros_like(bent)])


class PairedStep:
    """The second-order step: two of order one, but the monotone step where that was held back.

    Its derivative is m P + (1 - m) Q with P = P_2 ((1 + √2) P_1 - √2), Q the resolvent of the
    monotone step and m the cells that were not held back: rows sum to one, and P is positive but
    for what is narrower than the diffusion of a third of a step.
    """

    def __init__(
        self, steps: PolicySteps, start: tuple[Array, float], first: PolicyStep, second: PolicyStep
    ) -> None:
        self.steps, self.start, self.first, self.second = steps, start, first, second
        self.astray = False  # whether it goes so far wrong that no filter mends it
        self.value, self.near = second.value, self._near()
        if self.near is not ALL:
            self.value = np.where(self.near, second.value, self.monotone.value)

    def _near(self) -> NDArray[np.bool_]:
        """The cells within the band about the monotone step and within the range of the data."""
        (value, dt), new = self.start, self.second.value
        allowed, slack = dt * self.steps.band(value, self.first.value, dt), _slack(value)
        beyond = np.maximum(value.min() - new, new - value.max())
        farthest = float(beyond.max())
        # the monotone step does not expand: its distance is at most the largest residual
        if (
            farthest <= slack
            and np.abs(new - dt * self.steps.hamiltonian(new) - value).max() <= allowed
        ):
            return ALL
        near: NDArray[np.bool_] = np.abs(self.monotone.value - new) <= allowed
        near &= beyond <= slack
        self.astray = farthest > allowed or float(np.mean(near)) < 1 - _MOST_HELD
        if farthest > allowed:
            near = np.zeros_like(near)
        return ALL if near.all() else near

    @cached_property
    def monotone(self) -> PolicyStep:
        """The step of order one over the same time."""
        value, dt = self.start
        guess = np.clip(self.second.value, value.min(), value.max())
        return self.steps.euler(value, dt, guess)

    def push(self, change: Array) -> Array:
        pushed = self._push(change)
        if self.near is ALL:
            return pushed
        return np.where(self.near, pushed, self.monotone.push(change))

    def carry(self, rho: Array) -> Array:
        return self._carried(rho, self.near)

    def move(self, rho: Array) -> Array:
        """``carry`` where that is positive; else the tail of the density moves by Q, or all."""
        moved = self.carry(rho)
        if _is_upright(moved):
            return moved
        self.steps.upright += 1
        for share in _TAILS:
            moved = self._carried(rho, self.near & (rho > share * rho.max()))
            if _is_upright(moved):
                return moved
        return self.monotone.carry(rho)

    def _carried(self, rho: Array, near: NDArray[np.bool_]) -> Array:
        if near is ALL:
            return self._carry(rho)
        return self._carry(near * rho) + self.monotone.carry(~near * rho)

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """Both stages' policies turn; where some cells are held back, those of Q too."""
        if self.near is ALL:
            return self._bend(rho, change, pushed)
        inside, outside = self._bend(self.near * rho, change, self._push(change))
        rest, monotone = ~self.near * rho, self.monotone
        bent = monotone.bend(rest, monotone.carry(rest), change, monotone.push(change))[0]
        moved = self._carry(inside) - outside + monotone.carry(bent)
        return np.stack([np.zeros_like(moved), -moved])

    def _push(self, change: Array) -> Array:
        ahead = change + REACH * (self.first.push(change) - change)
        return self.second.push(ahead)

    def _carry(self, rho: Array) -> Array:
        back = self.second.carry(rho)
        return back + REACH * (self.first.carry(back) - back)

    def _bend(self, rho: Array, change: Array, pushed: Array) -> Array:
        back = self.second.carry(rho)
        inside = self.second.bend(rho, back, change, pushed)[0]
        on = self.first.push(change)
        early = self.first.bend(back, self.first.carry(back), change, on)[0]
        return np.stack([inside, -REACH * self.first.carry(early)])


class ChainedStep:
    """Two steps in place of one: the value by ``late`` (next to its start), then by ``early``."""

    def __init__(self, late: Any, early: Any) -> None:
        self.late, self.early, self.value = late, early, early.value

    def push(self, change: Array) -> Array:
        out: Array = self.early.push(self.late.push(change))
        return out

    def carry(self, rho: Array) -> Array:
        out: Array = self.late.carry(self.early.carry(rho))
        return out

    def move(self, rho: Array) -> Array:
        out: Array = self.late.move(self.early.move(rho))
        return out

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """Both steps turn: what the early one carries is carried on by the late one."""
        half, on = self.early.carry(rho), self.late.push(change)
        inside, outside = self.early.bend(rho, half, on, pushed)
        turned, lost = self.late.bend(half, carried, change, on)
        return np.stack([inside, lost - self.late.carry(turned - outside)])


def _is_upright(rho: Array) -> bool:
    return bool(rho.min() >= -_NEGATIVE * rho.max())
