"""Implicit steps of the Hamilton-Jacobi-Bellman equation by policy iteration (Howard's algorithm).

``PolicyStep`` is an implicit Euler step, ``PairedStep`` a second-order one made of two such,
``ChainedStep`` two shorter ones in place of one that fails, and ``PolicySteps`` selects
among them. Whatever the step, the density is propagated by exactly the transpose of its derivative.
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
from pdekit.pde.bellman.steps import ForwardBackward
from pdekit.pde.bellman.value_checks import inner

_MOST_POLICIES = 100
_ROUGH = 1e-4  # residual to which intermediate policies are evaluated
_SETTLED = 1e-13  # relative change of the value at which policy iteration stops
GAMMA = 1 - sqrt(0.5)
REACH = 1 + sqrt(2)  # (1 - GAMMA) / GAMMA: the second stage starts that far beyond the first
_BAND = 2.0  # of the filter; see ``PolicySteps.band``
_WIDEST = 1 / 16  # of the range: largest mean change of a step used in the filter
_MOST_HELD = 0.25  # of the cells: a step with more filtered cells is halved
_DEEPEST = 12  # maximal number of halvings
# Allowed change of a step as a share of the range, by order, away from the walls
_SUDDEN = {1: 0.25, 2: 0.5}
_BLIND = {1: 4.0, 2: 0.5}  # the same for steps not yet halved: those of order one are crude
_BENT = 0.1  # of beta / 2 times the range: below it only the mean matters, which steps preserve
_SHORTEST = 50  # maximal halvings of a step with fast changes
_SLACK = 1e-12  # of the largest value: rounding allowed beyond the bounds
ALL = np.ones((), dtype=bool)  # no cell is filtered
_TAILS = (1e-6, 1e-4, 1e-2)  # of the largest density: thresholds of its tail, tried in order
_NEGATIVE = 1e-9  # of the largest density: tolerated negative values of a step


class PolicySteps:
    """Φ at (U, dt) for the fitted right-hand side 𝓕 of the HJB equation.

    Of order one: u - dt 𝓕(u) = U, monotone and concave at any dt: every policy is a linear equation
    with an M-matrix, and Newton's method is Howard's. Of order two: the L-stable SDIRK2 steps u =
    Φ_γ((1 + √2) Φ_γ(U) - √2 U), Φ_γ of order one and length γ dt, γ = 1 - 1/√2, filtered: no
    cell differs by more than ``band`` dt from the monotone step of order one, or leaves U's range.
    A step that leaves the range by more than the band, or is filtered in
    more than a quarter of the cells, is too long for the data: it is halved, recursively. So is a
    step, of either order, during which the value changes too fast: waves damped by diffusion within
    it have an effect, since -(2/beta) log of a mean is not the mean, which too long steps do not
    resolve. ``filtered_share``: largest share of filtered cells; ``monotone_densities``: how many
    densities were propagated by the step of order one because the other one would have made them
    negative; ``cuts``: how many steps were halved. ``parts``: every step is divided into this many,
    to estimate the error of halved steps.
    """

    divisible: ClassVar[bool] = True  # whether it may take a step in ``parts``

    def __init__(self, potential: Array, beta: float, grid: Grid, order: int = 1) -> None:
        self.hamiltonian = FittedHamiltonian(potential, beta, grid)
        self.order, self.filtered_share, self.monotone_densities = order, 0.0, 0
        self.cuts, self.parts = 0, 1

    def take(self, potential: Array) -> None:
        """Another potential, from now on."""
        if potential is not self.hamiltonian.potential:
            there = self.hamiltonian
            self.hamiltonian = FittedHamiltonian(potential, there.beta, there.grid)

    def forward_backward(self, times: Array, running: Array, terminal: Array) -> ForwardBackward:
        """Over the nodes."""
        return ForwardBackward(self, times, running, terminal)

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
        """A step, or several shorter ones if needed."""
        begin = self.hamiltonian.linearised(value)
        step = None
        if depth >= _SHORTEST or not self._changes_too_fast(value, dt, begin[0], depth):
            step = self._once(value, dt, begin)
        if step is None or (step.diverged and depth < _DEEPEST):
            self.cuts += 1
            late = self._cut(value, dt / 2, depth + 1)
            return ChainedStep(late, self._cut(late.value, dt / 2, depth + 1))
        self.filtered_share = max(self.filtered_share, 1 - float(np.mean(step.within_band)))
        if self.parts == 1:
            return step
        short: PolicyStep | PairedStep | ChainedStep = self._once(value, dt / self.parts, begin)
        for _ in range(self.parts - 1):
            short = ChainedStep(short, self._once(short.value, dt / self.parts))
        return short

    def _changes_too_fast(self, value: Array, dt: float, rate: Array, depth: int) -> bool:
        """Whether the value changes too fast for a step of that length."""
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
        """The step of order one, by policies from that of ``guess`` (``begin``: linearised)."""
        u, size = guess, np.inf
        for _ in range(_MOST_POLICIES):
            rate, generator = self.hamiltonian.linearised(u) if begin is None else begin
            begin = None
            change = Resolvent(generator, dt)(u - dt * rate - value, rtol=_ROUGH)
            u, size = u - change, float(np.abs(change).max())
            # 𝓕 varies on the scale 1 / beta: the error of Newton's
            # method is beta size^2, plus that of the crude evaluation
            left = min(self.hamiltonian.beta * size + _ROUGH * (u.ndim > 1), 1.0) * size
            if left <= _SETTLED * self.size(u):
                return PolicyStep(self.hamiltonian, u, dt)
        raise ConvergenceError(
            f"{_MOST_POLICIES} policies still change the value by {size:.2g} in a step of "
            f"{dt:.2g}; use more times"
        )

    def band(self, value: Array, first: Array, dt: float) -> float:
        """Allowed distance per time from the monotone step: 2 r sqrt(dt r / range), r mean |u_t|.

        Of order sqrt(dt), so that the filtered steps converge because the monotone ones do, while
        smooth steps differ by no more than dt |u_tt| / 2 and pass. r is that of the monotone
        first stage, and dt r at most a sixteenth of the range: for any step, the
        band is at most a thirtieth of the range.
        """
        span = max(float(np.ptp(value)), 1e-300)
        change = min(float(np.abs(first - value).mean()) / GAMMA, _WIDEST * span)
        return (_BAND * change * sqrt(change / span) + self.slack(value)) / dt

    def slack(self, value: Array) -> float:
        """Rounding of a value."""
        return _SLACK * self.size(value)

    def size(self, value: Array) -> float:
        """Of a value, at least 1 / beta, in whose units it matters."""
        return 1 / self.hamiltonian.beta + float(np.abs(value).max())


class PolicyStep:
    """The implicit Euler step at u: the resolvent of the controlled generator, its transpose."""

    diverged: ClassVar[bool] = False  # monotone: it never fails and is never filtered
    within_band: ClassVar[NDArray[np.bool_]] = ALL

    def __init__(self, hamiltonian: FittedHamiltonian, u: Array, dt: float) -> None:
        self.hamiltonian, self.value, self.dt = hamiltonian, u, dt
        self.resolvent = Resolvent(hamiltonian.linearised(u)[1], dt)

    def derivative(self, change: Array) -> Array:
        return self.resolvent(change)

    def adjoint(self, rho: Array) -> Array:
        return self.resolvent(rho, transposed=True)

    transport = adjoint

    def adjoint_derivative(
        self, rho: Array, adjoint_rho: Array, change: Array, tangent: Array
    ) -> Array:
        """From (1 - dt L_u^T) y = rho: dy = adjoint(dt (dL_u)^T y), y = ``adjoint_rho``."""
        bent = self.dt * self.hamiltonian.curvature(self.value, tangent, adjoint_rho)
        return np.stack([bent, np.zeros_like(bent)])


class PairedStep:
    """The second-order step: two of order one, with the monotone step in filtered cells.

    Its derivative is m P + (1 - m) Q with P = P_2 ((1 + √2) P_1 - √2), Q the resolvent of the
    monotone step and m the cells that were not filtered: rows sum to one, and P is positive but
    for what is narrower than the diffusion of a third of a step.
    """

    def __init__(
        self, steps: PolicySteps, start: tuple[Array, float], first: PolicyStep, second: PolicyStep
    ) -> None:
        self.steps, self.start, self.first, self.second = steps, start, first, second
        self.diverged = False  # whether its error is too large for the filter
        self.value, self.within_band = second.value, self._within_band()
        if self.within_band is not ALL:
            self.value = np.where(self.within_band, second.value, self.monotone.value)

    def _within_band(self) -> NDArray[np.bool_]:
        """The cells within the band about the monotone step and within the range of the data."""
        (value, dt), new = self.start, self.second.value
        allowed, slack = dt * self.steps.band(value, self.first.value, dt), self.steps.slack(value)
        beyond = np.maximum(value.min() - new, new - value.max())
        farthest = float(beyond.max())
        # the monotone step is non-expansive: its distance is at most the largest residual
        if (
            farthest <= slack
            and np.abs(new - dt * self.steps.hamiltonian(new) - value).max() <= allowed
        ):
            return ALL
        within_band: NDArray[np.bool_] = np.abs(self.monotone.value - new) <= allowed
        within_band &= beyond <= slack
        self.diverged = farthest > allowed or float(np.mean(within_band)) < 1 - _MOST_HELD
        if farthest > allowed:
            within_band = np.zeros_like(within_band)
        return ALL if within_band.all() else within_band

    @cached_property
    def monotone(self) -> PolicyStep:
        """The step of order one over the same time."""
        value, dt = self.start
        guess = np.clip(self.second.value, value.min(), value.max())
        return self.steps.euler(value, dt, guess)

    def derivative(self, change: Array) -> Array:
        tangent = self._derivative(change)
        if self.within_band is ALL:
            return tangent
        return np.where(self.within_band, tangent, self.monotone.derivative(change))

    def adjoint(self, rho: Array) -> Array:
        return self._adjoint_within(rho, self.within_band)

    def transport(self, rho: Array) -> Array:
        """``adjoint`` where that is positive; else Q for the tail of the density, or all of it."""
        moved = self.adjoint(rho)
        if _is_nonnegative(moved):
            return moved
        self.steps.monotone_densities += 1
        for share in _TAILS:
            moved = self._adjoint_within(rho, self.within_band & (rho > share * rho.max()))
            if _is_nonnegative(moved):
                return moved
        return self.monotone.adjoint(rho)

    def _adjoint_within(self, rho: Array, within_band: NDArray[np.bool_]) -> Array:
        if within_band is ALL:
            return self._adjoint(rho)
        return self._adjoint(within_band * rho) + self.monotone.adjoint(~within_band * rho)

    def adjoint_derivative(
        self, rho: Array, adjoint_rho: Array, change: Array, tangent: Array
    ) -> Array:
        """The policies of both stages change; with filtered cells, those of Q too."""
        if self.within_band is ALL:
            return self._adjoint_derivative(rho, change, tangent)
        inside, outside = self._adjoint_derivative(
            self.within_band * rho, change, self._derivative(change)
        )
        rest, monotone = ~self.within_band * rho, self.monotone
        bent = monotone.adjoint_derivative(
            rest, monotone.adjoint(rest), change, monotone.derivative(change)
        )[0]
        moved = self._adjoint(inside) - outside + monotone.adjoint(bent)
        return np.stack([np.zeros_like(moved), -moved])

    def _derivative(self, change: Array) -> Array:
        ahead = change + REACH * (self.first.derivative(change) - change)
        return self.second.derivative(ahead)

    def _adjoint(self, rho: Array) -> Array:
        back = self.second.adjoint(rho)
        return back + REACH * (self.first.adjoint(back) - back)

    def _adjoint_derivative(self, rho: Array, change: Array, tangent: Array) -> Array:
        back = self.second.adjoint(rho)
        inside = self.second.adjoint_derivative(rho, back, change, tangent)[0]
        on = self.first.derivative(change)
        early = self.first.adjoint_derivative(back, self.first.adjoint(back), change, on)[0]
        return np.stack([inside, -REACH * self.first.adjoint(early)])


class ChainedStep:
    """Two steps in place of one: the value by ``late`` (next to its start), then by ``early``."""

    def __init__(self, late: Any, early: Any) -> None:
        self.late, self.early, self.value = late, early, early.value

    def derivative(self, change: Array) -> Array:
        out: Array = self.early.derivative(self.late.derivative(change))
        return out

    def adjoint(self, rho: Array) -> Array:
        out: Array = self.late.adjoint(self.early.adjoint(rho))
        return out

    def transport(self, rho: Array) -> Array:
        out: Array = self.late.transport(self.early.transport(rho))
        return out

    def adjoint_derivative(
        self, rho: Array, adjoint_rho: Array, change: Array, tangent: Array
    ) -> Array:
        """Both steps change: the result of the early one is propagated by the late one."""
        half, on = self.early.adjoint(rho), self.late.derivative(change)
        inside, outside = self.early.adjoint_derivative(rho, half, on, tangent)
        turned, lost = self.late.adjoint_derivative(half, adjoint_rho, change, on)
        return np.stack([inside, lost - self.late.adjoint(turned - outside)])


def _is_nonnegative(rho: Array) -> bool:
    return bool(rho.min() >= -_NEGATIVE * rho.max())
