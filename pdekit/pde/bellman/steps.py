"""One step of a Bellman semigroup, with the derivative that moves densities.

A step is a map U -> Φ(U) of value functions that is monotone and concave and commutes with
constants: the least expected cost one step ahead. Its derivative Φ'(U) is a stochastic matrix, the
transition probabilities under the optimal control, and its transpose carries the density. Duality
of value and density, comparison and the sign of the improvement theorem are properties of the step,
whatever its accuracy.
"""

from typing import Any, ClassVar, Protocol

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.march import March, fields_at
from pdekit.pde.kernels.rational import exponential_poles

_RANGE = 500.0  # of beta u / 2: beyond it exp(-beta u / 2) would come close to underflow
_MOST_BANDS = 4  # different step lengths for which a band is made; it costs some thirty sweeps
_TOO_STEEP = (
    "a step of the value function lost its sign: it is too steep for the grid or the step is too "
    "long; refine the grid, ask for more times or use schemes.PolicyIteration()"
)


class TooSteep(ConvergenceError):
    """A step of the value function lost its sign; shorter steps may keep it."""


class Step(Protocol):
    """Φ at a value function U: what ``DoobSteps`` and ``PolicySteps`` make of (U, dt)."""

    value: Array  # Φ(U)

    def push(self, change: Array) -> Array:
        """Φ'(U) change."""

    def carry(self, rho: Array) -> Array:
        """Φ'(U)^T rho."""

    def move(self, rho: Array) -> Array:
        """``carry`` for a density, which keeps its sign: by a monotone step if need be."""

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """The derivative of ``carry(rho)`` by U along ``change`` is carry(b) - c: (b, c) stacked.

        ``carried`` is carry(rho) and ``pushed`` is push(change).
        """


class DoobSteps:
    """Φ(U) = -(2/beta) log M exp(-beta U / 2), M = exp(dt L) (mathematics 1.7): the h-transform.

    Φ(U)_i = min over q of sum_j q_j U_j + (2/beta) KL(q | M_i): control that pays by entropy. In
    two dimensions M = exp(dt L_x / 2) exp(dt L_y) exp(dt L_x / 2), and Φ is the composition of the
    Bellman steps along lines. Where exp(-beta U / 2) would underflow, the exponentials act on the
    generator tilted with U instead: the same numbers up to rounding, at any beta.
    """

    divisible: ClassVar[bool] = False  # whether it may take a step in ``parts``
    filtered: ClassVar[bool] = False  # whether a filter switches between its steps and others

    def __init__(self, generator: Generator, beta: float) -> None:
        self.beta = beta
        lines = [FusedLines(generator, axis, beta) for axis in range(generator.grid.dim)]
        self.factors: list[tuple[Any, float]] = [(lines[0], 1.0)]
        if generator.grid.dim == 2:
            self.factors = [(lines[0], 0.5), (lines[1], 1.0), (lines[0], 0.5)]

    @property
    def fusible(self) -> bool:
        """Whether whole passages can be compiled: one axis with walls."""
        return len(self.factors) == 1 and not self.factors[0][0].seam

    def passage(self, times: Array, running: Array, terminal: Array) -> "Passage | FusedPassage":
        """Over the nodes, compiled where it can be.

        It cannot in two dimensions, on a periodic axis and where exp(-beta u / 2) might underflow.
        """
        span = terminal.max() - terminal.min() + (times[-1] - times[0]) * np.ptp(running)
        if self.fusible and self.beta / 2 * span <= _RANGE:
            return FusedPassage(self, times, running, terminal)
        return Passage(self, times, running, terminal)

    def __call__(self, value: Array, dt: float) -> "DoobStep":
        factors = []
        for lines, share in self.factors:
            factor = lines.weighted(value, share * dt)
            value = value - 2 / self.beta * np.log(factor.after)
            value += factor.shift
            factors.append(factor)
        return DoobStep(self.beta, value, factors)


class DoobStep:
    """The step at one value function: a product of weighted line exponentials."""

    def __init__(self, beta: float, value: Array, factors: list["Weighted"]) -> None:
        self.beta, self.value, self.factors = beta, value, factors

    def push(self, change: Array) -> Array:
        for factor in self.factors:
            change = factor.push(change)
        return change

    def carry(self, rho: Array) -> Array:
        for factor in reversed(self.factors):
            rho = factor.carry(rho)
        return rho

    move = carry

    def bend(self, rho: Array, carried: Array, change: Array, pushed: Array) -> Array:
        """d(P^T rho) = (beta/2) (P^T diag(rho) P - diag(P^T rho)) dU: minus a covariance."""
        return self.beta / 2 * np.stack([rho * pushed, carried * change])


class Weighted:
    """P = diag(1 / M w) M diag(w) with M from ``apply(field, transposed)`` and weights w > 0."""

    def __init__(self, apply: Any, before: Array, shift: Array | float) -> None:
        self.apply, self.before, self.shift = apply, before, shift
        self.after: Array = apply(before, False)
        if not self.after.min() > 0:  # a NaN is not either
            raise TooSteep(_TOO_STEEP)

    def push(self, change: Array) -> Array:
        out: Array = self.apply(self.before * change, False) / self.after
        return out

    def carry(self, rho: Array) -> Array:
        out: Array = self.before * self.apply(rho / self.after, True)
        return out


class FusedLines:
    """The generator along one axis; compiled."""

    def __init__(self, generator: Generator, axis: int, beta: float) -> None:
        self.grid, self.beta, self.seam = generator.grid, beta, generator.grid.periodic[axis]
        self.swap = generator.grid.dim == 2 and axis == 0
        self.up, self.down = (self._lines(r[axis]) for r in (generator.up, generator.down))
        self.factors: dict[float, Array] = {}  # a few step lengths, each used many times
        self.passages: dict[tuple[float, ...], Any] = {}

    def _lines(self, field: Array) -> Array:
        return np.ascontiguousarray(field.T if self.swap else np.atleast_2d(field))

    def _field(self, lines: Array) -> Array:
        return np.ascontiguousarray(lines.T) if self.swap else lines.reshape(self.grid.shape)

    def weighted(self, value: Array, tau: float) -> Weighted:
        lowest = value.min()
        if self.beta / 2 * (value.max() - lowest) > _RANGE:
            return self._tilted(value, tau)
        weights = np.exp(-self.beta / 2 * (value - lowest))
        # log M w is -beta (u - lowest) / 2 as a whole; the step adds it to the value it had
        return Weighted(self._plain(tau), weights, lowest - value)

    def factor(self, tau: float) -> Array:
        """The factored generator for a step length, made once."""
        from pdekit.pde.kernels.bellman_lines import factor

        if tau not in self.factors:
            self.factors[tau] = factor(self.up, self.down, tau, packed_poles())
        return self.factors[tau]

    def exponentials(self, lengths: tuple[float, ...]) -> Any:
        """For whole passages on one line: factors and, where they are narrow and few, bands."""
        if lengths not in self.passages:
            from pdekit.pde.kernels.uniformization import exponential_band

            up, down, poles = self.up[0], self.down[0], packed_poles()
            made = [exponential_band(up, down, tau) for tau in lengths[:_MOST_BANDS]]
            bands = [band for band in made if band is not None]
            if len(bands) < len(lengths):
                bands = [np.zeros((2, 0, up.size + 1))]
            widest = max(band.shape[1] for band in bands)
            self.passages[lengths] = (
                np.concatenate([self.factor(tau) for tau in lengths]),
                np.stack([_widened(band, widest) for band in bands]),
                up, down, np.concatenate([poles[2], -poles[3]]),
            )  # fmt: skip
        return self.passages[lengths]

    def _plain(self, tau: float) -> Any:
        if self.seam:
            return self._exponential(self.up, self.down, np.zeros((1, 1)), tau)
        from pdekit.pde.kernels.bellman_lines import factored

        poles, room = packed_poles(), self.factor(tau)

        def apply(field: Array, forward: bool) -> Array:
            lines = self._lines(field)
            out = np.empty_like(lines)
            factored(room, self.up, self.down, lines, tau, forward, poles, out)
            return self._field(out)

        return apply

    def _tilted(self, value: Array, tau: float) -> Weighted:
        from pdekit.pde.kernels.bellman_lines import tilt

        lines = self._lines(value)
        there, back, kill = np.empty_like(self.up), np.empty_like(self.up), np.empty_like(lines)
        tilt(self.up, self.down, lines, self.beta, there, back, kill)
        return Weighted(self._exponential(there, back, kill, tau), np.ones(self.grid.shape), 0.0)

    def _exponential(self, up: Array, down: Array, kill: Array, tau: float) -> Any:
        """exp(tau A) with pivots made anew."""
        from pdekit.pde.kernels.bellman_lines import exponential
        from pdekit.pde.kernels.tridiagonal import sweep_room

        def apply(field: Array, forward: bool) -> Array:
            lines = self._lines(field)
            out, work = np.empty_like(lines), sweep_room(lines.shape[1], up.shape[1])
            lost = np.broadcast_to(kill, lines.shape)
            exponential(up, down, lost, lines, tau, forward, packed_poles(), work, out)
            return self._field(out)

        return apply


def _widened(band: Array, width: int) -> Array:
    """The same band with zeros on both sides, up to ``width`` diagonals."""
    more = (width - band.shape[1]) // 2
    return np.pad(band, ((0, 0), (more, more), (0, 0)))


def packed_poles() -> Array:
    """Poles and residues as the kernels take them: (z_r, z_i, c_r, c_i), an idle lane last."""
    from pdekit.pde.kernels.tridiagonal import pole_lanes

    poles, residues = exponential_poles()
    return pole_lanes(poles.tobytes(), residues.tobytes())


class Passage:
    """The value function over given nodes for given costs, and what moves with it.

    Between nodes a step; at the nodes the running cost, with the weights of the trapezoidal rule.
    """

    def __init__(self, steps: Any, times: Array, running: Array, terminal: Array) -> None:
        self.times, self.halves = times, np.diff(times) / 2
        self.values = np.empty_like(running)
        self.values[-1] = u = terminal
        made = []
        for k in range(len(self.halves) - 1, -1, -1):
            step = steps(u + self.halves[k] * running[k + 1], 2 * self.halves[k])
            u = self.values[k] = step.value + self.halves[k] * running[k]
            made.append(step)
        self.made: list[Step] = made[::-1]

    def flow(self, initial: Array) -> Array:
        """The densities at the nodes, shape ``(times, *grid.shape)``."""
        steps = iter(self.made)
        march = March(initial, lambda rho, begin, end: (next(steps).move(rho), 1))
        return fields_at(self.times - self.times[0], march, initial)

    def change(self, running: Array, terminal: Array, flow: Array) -> Array:
        """The derivative of ``flow`` by the costs along a change of these."""
        moved, d = [], terminal
        for k in range(len(self.halves) - 1, -1, -1):
            before = d + self.halves[k] * running[k + 1]
            pushed = self.made[k].push(before)
            moved.append((before, pushed))
            d = pushed + self.halves[k] * running[k]
        out = np.zeros_like(flow)
        for k, (step, (before, pushed)) in enumerate(zip(self.made, moved[::-1], strict=True)):
            inside, outside = step.bend(flow[k], flow[k + 1], before, pushed)
            out[k + 1] = step.carry(out[k] + inside) - outside
        return out


class FusedPassage:
    """``Passage`` by ``DoobSteps`` on a line with walls, compiled as a whole."""

    def __init__(self, steps: DoobSteps, times: Array, running: Array, terminal: Array) -> None:
        from pdekit.pde.kernels.bellman_lines import values_of_costs

        self.beta, self.halves = steps.beta, np.diff(times) / 2
        lengths, which = np.unique(np.round(2 * self.halves, 15), return_inverse=True)
        self.steps = steps.factors[0][0].exponentials(tuple(map(float, lengths)))
        self.which = which.astype(np.int64)
        self.values = np.empty_like(running)
        self.values[-1] = terminal
        self.before, self.after = np.empty_like(running[1:]), np.empty_like(running[1:])
        self.narrow = np.empty(len(self.halves), dtype=bool)
        sound = values_of_costs(
            self.steps, self.halves, running, self.beta, self.which, self.values, self.before,
            self.after, self.narrow,
        )  # fmt: skip
        if not sound:
            raise TooSteep(_TOO_STEEP)

    def flow(self, initial: Array) -> Array:
        """The densities at the nodes, shape ``(times, n)``."""
        from pdekit.pde.kernels.bellman_lines import flow_of_values

        out = np.empty_like(self.values)
        out[0] = initial
        flow_of_values(
            self.steps, self.halves, self.which, self.before, self.after, self.narrow, out
        )
        return out

    def change(self, running: Array, terminal: Array, flow: Array) -> Array:
        """The derivative of ``flow`` by the costs along a change of these."""
        from pdekit.pde.kernels.bellman_lines import change_of_flow

        out = np.empty_like(flow)
        change_of_flow(
            self.steps, self.halves, running, terminal, self.beta, self.which, self.before,
            self.after, self.narrow, flow, out,
        )  # fmt: skip
        return out


def advanced(
    steps: Any, value: Array, span: float, count: int, cost: Array | float
) -> tuple[Array, list[Step]]:
    """``count`` equal steps over ``span`` of time to go, half the running cost at either end.

    Returns the value and the steps, the last in time to go first: as they carry densities.
    """
    half, made = span / count / 2, []
    for _ in range(count):
        step = steps(value + half * cost, 2 * half)
        value = step.value + half * cost
        made.append(step)
    return value, made[::-1]
