"""Doob's h-transform on a line: the value function over a step, to full relative accuracy."""

from math import exp

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.propagator import line_of, propagate, sweep
from pdekit.pde.kernels.rational import exponential_poles

_GENTLE = 6.0  # of beta / 2 times the range of u: below it exp(-beta u / 2) keeps its accuracy


_FLAT = 1e-6  # of the same: below it z is one up to rounding


_UNIT = 1e-15  # factor of rounding accumulated over the cells


_FEW_JUMPS = 64.0  # expected in a step


_MOST_JUMPS = 1000  # summed over


ROUNDING = 1e-15


def tilted(
    generator: Generator, beta: float, cost: Array | float, u: Array
) -> tuple[Generator, Array]:
    """exp(beta u / 2) (L - beta cost / 2) exp(-beta u / 2) as tilted rates and losses."""
    new = _tilt(generator, beta, u)
    return new, generator.exit_rate() - new.exit_rate() + beta / 2 * cost


def _tilt(generator: Generator, beta: float, u: Array) -> Generator:
    difference = np.roll(u, -1) - u if generator.grid.periodic[0] else np.diff(u)
    tilt = np.exp(-beta / 2 * difference)
    return Generator(generator.grid, (generator.up[0] * tilt,), (generator.down[0] / tilt,))


class Evolution:
    """u -> u after a step, on a line, by the most accurate formula.

    Where beta u is moderate, by m = (1 - exp(-beta u / 2)) 2 / beta, m_t = (L - beta ℓ / 2) m + ℓ,
    which is u where beta is small, and nothing cancels at any step. Over steps of few jumps by the
    sum over their number, whose terms are positive: every entry of z is right to its own size,
    however different they are. Else z by rational approximation, with an error that is small
    against the largest entries alone: the error is then estimated by steps of other lengths;
    and the killing rate is a difference, with an error ``rounding`` per step.
    """

    def __init__(self, generator: Generator, beta: float, cost: Array | float) -> None:
        self.generator, self.beta, self.cost = generator, beta, cost
        self.least = float(np.min(cost))
        self.above = np.broadcast_to(np.asarray(cost) - self.least, generator.grid.shape)
        self.leave = generator.exit_rate() + beta / 2 * self.above
        self.fastest = float(self.leave.max())
        self.costly = float(self.above.max())

    def exponent_range(self, u: Array, step: float) -> float:
        """beta / 2 times the range of the value within a step."""
        return self.beta / 2 * (float(np.ptp(u)) + step * self.costly)

    def exact(self, u: Array, step: float) -> bool:
        """Whether a step is exact to rounding, so that no error estimate is needed."""
        return step * self.fastest <= _FEW_JUMPS and self.exponent_range(u, step) > _FLAT

    def rounding(self, u: Array, step: float) -> float:
        """Bound of the rounding error of a step, besides that of u itself."""
        if self.exact(u, step):
            return 2 / self.beta * ROUNDING
        if self.exponent_range(u, step) <= _GENTLE:
            return 0.0
        jump = self.beta / 2 * float(np.abs(np.diff(u)).max())
        if self.generator.grid.periodic[0]:
            jump = max(jump, self.beta / 2 * abs(float(u[0] - u[-1])))
        return 2 / self.beta * _UNIT * step * self.fastest * exp(min(jump, 300.0))

    def __call__(self, u: Array, step: float) -> Array | None:
        """u after ``step``, or None if z is not positive and finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            few = self.exact(u, step)
            if not few and self.exponent_range(u, step) <= _GENTLE:
                return self._linear(u, step)
            z = self._by_jumps(u, step) if few else self._by_poles(u, step)
            if z is None or not (np.isfinite(z).all() and z.min() > 0):
                return None
            out: Array = u - 2 / self.beta * np.log(z)
            if self.least:
                out += self.least * step
        return out

    def _by_poles(self, u: Array, step: float) -> Array:
        new, kill = tilted(self.generator, self.beta, self.above, u)
        return propagate(new, np.ones_like(u), step, forward=False, kill=kill)

    def _by_jumps(self, u: Array, step: float) -> Array | None:
        from pdekit.pde.kernels.bellman_lines import jumped

        if step * self.fastest == 0:
            return np.ones_like(u)
        new, n = _tilt(self.generator, self.beta, u), u.size
        before, after = np.zeros(n), np.zeros(n)
        after[: n - 1], before[1:] = new.up[0][: n - 1], new.down[0][: n - 1]
        if self.generator.grid.periodic[0]:
            after[-1], before[0] = new.up[0][-1], new.down[0][-1]
        stay = np.maximum(1 - self.leave / self.fastest, 0.0)
        z, sound = jumped(
            stay, before / self.fastest, after / self.fastest, step * self.fastest, _MOST_JUMPS
        )
        return z if sound else None

    def _linear(self, u: Array, step: float) -> Array:
        half, low = self.beta / 2, float(u.min())
        line = line_of(self.generator, False, half * self.above)
        m = sweep(line, -np.expm1(-half * (u - low)) / half, step)
        if self.costly > 0:  # and the mean of exp(s (L - kill)) ℓ over the step: f(x) - 1 over x
            poles, residues = exponential_poles()
            m += step * sweep(line, self.above.copy(), step, (poles, residues / poles))
        out: Array = low + self.least * step - np.log1p(-half * m) / half
        return out
