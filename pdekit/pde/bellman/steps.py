"""One step of a Bellman semigroup, and its derivative, whose transpose propagates densities.

A step is a map U -> Φ(U) of value functions that is monotone and concave and commutes with
constants: the least expected cost one step ahead. Its derivative Φ'(U) is a stochastic matrix, the
transition probabilities under the optimal control, and its transpose propagates the density.
Duality of value and density, comparison and the sign of the improvement theorem are properties of
the step, whatever its accuracy.
"""

from typing import Any, ClassVar, Protocol

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.lazy import cached_property
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.march import March, fields_at
from pdekit.pde.kernels.rational import exponential_poles

_RANGE = 500.0  # of beta u / 2: beyond it exp(-beta u / 2) would come close to underflow
_STEPS = 4.0  # of such a range, at least, as a weight is multiplied with the cost of a step
# number of step lengths for which a band matrix is made; it costs some thirty sweeps
_MOST_BANDS = 4
_TOO_STEEP = (
    "a step of the value function lost its sign: it is too steep for the grid or the step is too "
    "long; refine the grid, ask for more times or use schemes.PolicyIteration()"
)


class TooSteep(ConvergenceError):
    """A step of the value function lost its sign; shorter steps may keep it."""


class Step(Protocol):
    """Φ at a value function U: the result of ``DoobSteps`` and ``PolicySteps`` at (U, dt)."""

    value: Array  # Φ(U)

    def derivative(self, change: Array) -> Array:
        """Φ'(U) change."""

    def adjoint(self, rho: Array) -> Array:
        """Φ'(U)^T rho."""

    def transport(self, rho: Array) -> Array:
        """``adjoint`` for a density, which preserves its sign, by a monotone step if necessary."""

    def adjoint_derivative(
        self, rho: Array, adjoint_rho: Array, change: Array, tangent: Array
    ) -> Array:
        """(b, c), stacked: ``adjoint(rho)`` changes by adjoint(b) - c where U does by ``change``.

        ``adjoint_rho`` is adjoint(rho) and ``tangent`` is derivative(change).
        """


class DoobSteps:
    """Φ(U) = -(2/beta) log M exp(-beta U / 2), M = exp(dt L) (mathematics 1.7): the h-transform.

    Φ(U)_i = min over q of sum_j q_j U_j + (2/beta) KL(q | M_i): control with an entropy cost. In
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
        """Whether whole sweeps in time can be compiled: one axis with walls."""
        return len(self.factors) == 1 and not self.factors[0][0].seam

    def forward_backward(
        self, times: Array, running: Array, terminal: Array
    ) -> "ForwardBackward | FusedForwardBackward":
        """Over the nodes, compiled where it can be.

        It is not in two dimensions, on a periodic axis and where exp(-beta u / 2) might underflow.
        """
        longest = float(np.diff(times).max())
        costs, span = np.ptp(running), terminal.max() - terminal.min()
        span = max(span + (times[-1] - times[0]) * costs, _STEPS * longest * costs)
        if self.fusible and self.beta / 2 * span <= _RANGE:
            return FusedForwardBackward(self, times, running, terminal)
        return ForwardBackward(self, times, running, terminal)

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

    def derivative(self, change: Array) -> Array:
        for factor in self.factors:
            change = factor.derivative(change)
        return change

    def adjoint(self, rho: Array) -> Array:
        for factor in reversed(self.factors):
            rho = factor.adjoint(rho)
        return rho

    transport = adjoint

    def adjoint_derivative(
        self, rho: Array, adjoint_rho: Array, change: Array, tangent: Array
    ) -> Array:
        """d(P^T rho) = (beta/2) (P^T diag(rho) P - diag(P^T rho)) dU: minus a covariance."""
        return self.beta / 2 * np.stack([rho * tangent, adjoint_rho * change])


class Weighted:
    """P = diag(1 / M w) M diag(w) with M from ``apply(field, transposed)`` and weights w > 0."""

    def __init__(self, apply: Any, before: Array, shift: Array | float) -> None:
        self.apply, self.before, self.shift = apply, before, shift
        self.after: Array = apply(before, False)
        if not self.after.min() > 0:  # a NaN is not either
            raise TooSteep(_TOO_STEEP)

    def derivative(self, change: Array) -> Array:
        out: Array = self.apply(self.before * change, False) / self.after
        return out

    def adjoint(self, rho: Array) -> Array:
        out: Array = self.before * self.apply(rho / self.after, True)
        return out


class FusedLines:
    """The generator along one axis; compiled."""

    def __init__(self, generator: Generator, axis: int, beta: float) -> None:
        self.grid, self.beta, self.seam = generator.grid, beta, generator.grid.periodic[axis]
        self.swap = generator.grid.dim == 2 and axis == 0
        self.up, self.down = (self._lines(r[axis]) for r in (generator.up, generator.down))
        self.factors: dict[float, Array] = {}  # few step lengths, each used many times
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
        # log M w is -beta (u - lowest) / 2 in total; the step adds it to the old value
        return Weighted(self._plain(tau), weights, lowest - value)

    def factor(self, tau: float) -> Array:
        """The factored generator for a step length, cached."""
        from pdekit.pde.kernels.bellman_lines import factor

        if tau not in self.factors:
            self.factors[tau] = factor(self.up, self.down, tau, packed_poles())
        return self.factors[tau]

    def exponentials(self, lengths: tuple[float, ...]) -> Any:
        """For whole sweeps in time on one line: factors and, if narrow and few, band matrices."""
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

        poles, buffer = packed_poles(), self.factor(tau)

        def apply(field: Array, forward: bool) -> Array:
            lines = self._lines(field)
            out = np.empty_like(lines)
            factored(buffer, self.up, self.down, lines, tau, forward, poles, out)
            return self._field(out)

        return apply

    def _tilted(self, value: Array, tau: float) -> Weighted:
        from pdekit.pde.kernels.bellman_lines import tilt

        lines = self._lines(value)
        there, back, kill = np.empty_like(self.up), np.empty_like(self.up), np.empty_like(lines)
        tilt(self.up, self.down, lines, self.beta, there, back, kill)
        return Weighted(self._exponential(there, back, kill, tau), np.ones(self.grid.shape), 0.0)

    def _exponential(self, up: Array, down: Array, kill: Array, tau: float) -> Any:
        """exp(tau A) with pivots recomputed."""
        from pdekit.pde.kernels.bellman_lines import exponential
        from pdekit.pde.kernels.tridiagonal import sweep_workspace

        def apply(field: Array, forward: bool) -> Array:
            lines = self._lines(field)
            out, work = np.empty_like(lines), sweep_workspace(lines.shape[1], up.shape[1])
            lost = np.broadcast_to(kill, lines.shape)
            exponential(up, down, lost, lines, tau, forward, packed_poles(), work, out)
            return self._field(out)

        return apply


def _widened(band: Array, width: int) -> Array:
    """The same band padded with zeros on both sides, up to ``width`` diagonals."""
    more = (width - band.shape[1]) // 2
    if not more:
        return band
    return np.pad(band, ((0, 0), (more, more), (0, 0)))


def _alike(lengths: Array) -> tuple[Array, Any]:
    """The lengths that differ by more than rounding, and which of them each is."""
    longest = lengths.max()
    different, which = np.unique(np.round(lengths / longest, 13), return_inverse=True)
    return different * longest, which


def packed_poles() -> Array:
    """Poles and residues as the kernels take them: (z_r, z_i, c_r, c_i), an idle lane last."""
    from pdekit.pde.kernels.tridiagonal import pole_lanes

    poles, residues = exponential_poles()
    return pole_lanes(poles.tobytes(), residues.tobytes())


class ForwardBackward:
    """The value function at given nodes for given costs, and the densities under its control.

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
        march = March(initial, lambda rho, begin, end: (next(steps).transport(rho), 1))
        return fields_at(self.times - self.times[0], march, initial)

    def change(self, running: Array, terminal: Array, flow: Array) -> Array:
        """The derivative of ``flow`` with respect to the costs along a change of these."""
        moved, d = [], terminal
        for k in range(len(self.halves) - 1, -1, -1):
            before = d + self.halves[k] * running[k + 1]
            tangent = self.made[k].derivative(before)
            moved.append((before, tangent))
            d = tangent + self.halves[k] * running[k]
        out = np.zeros_like(flow)
        for k, (step, (before, tangent)) in enumerate(zip(self.made, moved[::-1], strict=True)):
            inside, outside = step.adjoint_derivative(flow[k], flow[k + 1], before, tangent)
            out[k + 1] = step.adjoint(out[k] + inside) - outside
        return out


class FusedForwardBackward:
    """``ForwardBackward`` by ``DoobSteps`` on a line with walls, compiled as a whole."""

    def __init__(self, steps: DoobSteps, times: Array, running: Array, terminal: Array) -> None:
        from pdekit.pde.kernels.bellman_lines import weights_of_costs

        self.beta, self.halves = steps.beta, np.diff(times) / 2
        self.running, self.terminal = running, terminal
        lengths, which = _alike(2 * self.halves)
        self.steps = steps.factors[0][0].exponentials(tuple(map(float, lengths)))
        self.which = which.astype(np.int64)
        self.before, self.after = np.empty_like(running[1:]), np.empty_like(running[1:])
        self.narrow = np.empty(len(self.halves), dtype=bool)
        last = terminal + self.halves[-1] * running[-1]
        self.levels = np.full(len(self.halves), last.min())
        np.exp(-self.beta / 2 * (last - last.min()), out=self.before[-1])
        largest, least = np.ones(len(self.halves)), running.min(1)
        around = self.halves[:-1] + self.halves[1:]  # of the nodes between: weights of their costs
        costs = running[:-1] - least[:-1, None]
        costs *= np.append(0.0, -self.beta / 2 * around)[:, None]  # of the first node later
        sound = weights_of_costs(
            self.steps, self.halves, np.exp(costs, out=costs), self.which, self.before, self.after,
            self.narrow, largest,
        )  # fmt: skip
        if not sound:
            raise TooSteep(_TOO_STEEP)
        added = around * least[1:-1] - 2 / self.beta * np.log(largest[:-1])
        self.levels[:-1] += np.cumsum(added[::-1])[::-1]

    @cached_property
    def values(self) -> Array:
        """The value function at the nodes, shape ``(times, n)``."""
        out = np.empty_like(self.running)
        out[-1], here = self.terminal, out[:-1]
        np.log(self.after, out=here)
        here *= -2 / self.beta
        here += self.levels[:, None]
        here += self.halves[:, None] * self.running[:-1]
        return out

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
        """The derivative of ``flow`` with respect to the costs along a change of these."""
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

    Returns the value and the steps, in the order in which they propagate densities.
    """
    half, made = span / count / 2, []
    for _ in range(count):
        step = steps(value + half * cost, 2 * half)
        value = step.value + half * cost
        made.append(step)
    return value, made[::-1]
