"""McKean-Vlasov equations by extrapolated implicit steps under a frozen mean field."""

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.interactions import is_quadratic, of_two_points
from pdekit.pde.discrete.gibbs_map import FieldMap
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.mean_field import free_energy_terms, pair_field, warn_if_narrow
from pdekit.pde.discrete.peclet import Met, report_fields
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import McKeanVlasov

_ROUNDING = 2e-14  # of the sum of absolute terms: accuracy of the free energy
_LOOSER = 10.0  # ratio of the companion's local tolerance to that of the run
_RESOLVED = 0.02  # of the change over an interval: small growing deviations are resolved
_SHORTEST = 1e-12  # of the time reached so far
_ROUNDS = 5
_LOOK, _MANY = (
    512,
    20_000,
)  # intervals after which to check, and number of remaining intervals that is too many
_SETTLED = 1e-9  # tolerated L1 distance of a density from the Gibbs state of its own mean field
_FINEST = 1e-13  # smallest local tolerance, limited by rounding


class MeanFieldStats(Stats, total=False):
    """Also the free energies at the requested times, and the work of the runs.

    Here ``negative_before_clipping`` is a share of the mass.
    """

    energies: list[float]
    intervals: int
    rejections: int
    energy_rejections: int
    largest_energy_step: float
    real_ffts: int


@dataclass(frozen=True)
class MeanField:
    """rho_t = ∇·(rho ∇(V + W * rho) + ∇rho / beta) by extrapolated linearly implicit Euler steps.

    The basic step: freeze U = V + W * rho and take a backward Euler step of the
    Scharfetter-Gummel generator of U (in the plane along x, then y), each face with a factor
    1 + h² beta U''/5 that makes moments within a well a few times more accurate
    (``pde.implicit_lines``). It keeps mass, sign and the discrete states
    rho = exp(-beta (V + W * rho)) / Z exactly, at any length, and costs one mean field: two
    real FFTs, or the moments for ``CurieWeiss``. An interval is taken in 1, 2, ...,
    ``order`` such steps, and the results are extrapolated to that order
    (Deuflhard, Hairer and Zugck 1987; Hairer and Wanner IV.9); where that is negative,
    in far tails, the last row is used. Intervals are chosen by the last two columns of the scheme.
    The free energy is computed after each; an interval with an increase beyond rounding is repeated
    with a shorter length.

    ``rtol`` bounds the L1 error in time at the output times, relative to the mass. It is
    estimated by a companion run of one order less and ten times the local tolerance; if the two
    differ by more than ``rtol``, both restart with shorter intervals. Negative values count as
    error. The discretisation error in space is separate, of second order: a ``ResolutionWarning``
    tells where more than a tenth of the mass is in cells over which beta (V + W * rho) changes by
    more than 2. ``.stats``: ``error_estimate`` (that difference: the companion's error, a few times
    the solution's), ``energies`` (at the start and the output times), ``largest_energy_step`` (over
    all intervals; at most rounding), ``steps`` (Euler steps of both runs), ``intervals``,
    ``rejections`` (for the error), ``energy_rejections`` and ``real_ffts``.

    Where V and the initial density are even about the middle of the box, so is the solution:
    rounding is prevented from breaking the symmetry of an unstable state.
    Raises ``ConvergenceError`` if ``rtol`` is not reached or the energy does not decrease. Good
    values: rtol = 1e-8 to 1e-4; order 7 on a line, 6 in the plane. Mathematics 1.6.
    """

    rtol: float = 1e-5
    order: int = 7

    solves = (McKeanVlasov,)

    def __post_init__(self) -> None:
        checks.within("rtol", self.rtol, 1e-11, 1)
        if checks.whole("order", self.order, 3) > 10:
            raise ValueError(f"order must be a whole number from 3 to 10, got {self.order!r}")

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return ""

    def start(self, problem: Problem, stats: MeanFieldStats) -> Advance:
        system = _System(problem)
        warn_if_narrow(system.interaction, system.grid, system.beta, stacklevel=5)
        return _Measured(self, system, stats).advance


class _Measured:
    """A run and its companion, restarted with shorter intervals if they differ too much."""

    def __init__(self, scheme: MeanField, system: "_System", stats: MeanFieldStats) -> None:
        self.rtol, self.order, self.system, self.stats = scheme.rtol, scheme.order, system, stats
        self.local, self.met = self.rtol / _LOOSER, Met()
        first = _Run(system, np.inf, self.order)
        self.runs: list[_Run] = []
        self.spent, self.error = [first], 0.0
        stats.update(first.counts)
        stats["energies"], stats["error_estimate"] = [first.energy], 0.0

    def advance(self, t: float) -> Array:
        fine, error = self._pair_at(t)
        run, self.error = self.runs[1], max(error, self.error)
        self.stats.update(_combined_stats([*self.spent, *self.runs]))
        self.stats["error_estimate"] = self.error
        self.stats["energies"].append(run.energy)
        U, system = self.system.V + run.field, self.system
        self.met = report_fields(fine, U, system.beta, system.grid, self.met)
        self.stats["upwinded"], self.stats["cell_peclet"] = self.met
        return fine.copy()

    def _pair_at(self, t: float) -> tuple[Array, float]:
        """The density at a time, and how far the companion's is from it."""
        for _ in range(_ROUNDS):
            runs = self.runs or _pair(self.system, self.local, self.order)
            coarse, fine = (run.to(t) for run in runs)
            error = float(np.abs(fine - coarse).sum() / fine.sum())
            if error <= self.rtol:
                self.runs = runs
                return fine, error
            self.local *= max(0.3 * self.rtol / error, 1e-4)
            self.runs, self.spent = [], [*self.spent, *runs]
            if self.local < _FINEST:
                break
        raise ConvergenceError(
            f"at t = {t:g} the mean-field steps still have an error of about {error:.2g}, above "
            f"rtol={self.rtol:g}; raise rtol, or stop before the density leaves an unstable state, "
            "where small errors grow without bound"
        )


class _System:
    """Constants of a run: potential, mean field, symmetry."""

    def __init__(self, problem: Problem) -> None:
        self.grid, self.equation = problem.grid, problem.equation
        self.beta = self.equation.beta
        self.interaction = problem.equation.interaction
        self.V, self.start = problem.potential(), problem.values
        self.field = pair_field(self.interaction, self.grid, self.beta)
        on_line = is_quadratic(self.interaction) and self.grid.dim == 1
        self.strength = float(self.interaction.strength) if on_line else None  # of Curie-Weiss
        # relative to the middle, to avoid cancellation
        self.x = self.grid.axes[0] - (self.grid.lower[0] + self.grid.upper[0]) / 2
        self.mass = float(self.start.sum())
        # the sums of W * rho may cancel, but not their rounding errors
        self.noise = 0.02 * self.field.largest * (self.mass * self.grid.cell_volume) ** 2
        reflects = not of_two_points(self.interaction)  # U(-x, -y) may be another number
        self.even = reflects and _is_even(self.V) and _is_even(self.start)
        self.shortest = float(np.min(self.grid.spacing)) ** 2 * self.beta  # of a cell

    def energy(self, rho: Array, field: Array) -> tuple[float, float]:
        """The free energy, and its accuracy in units of rounding."""
        energy, size = free_energy_terms(rho, self.V, field, self.beta, self.grid)
        return energy, size + self.mass * self.grid.cell_volume / self.beta + self.noise

    def stationary(self, rho: Array, field: Array) -> bool:
        """Whether rho is a stable state exp(-beta (V + W * rho)) / Z, beyond all barriers."""
        power = self.beta * (self.V + field)
        own = np.exp(power.min() - power)
        own *= rho.sum() / own.sum()
        if not np.abs(rho - own).sum() <= _SETTLED * rho.sum():
            return False
        unit = rho / self.grid.integrate(rho)
        return FieldMap(self.equation, self.grid).response(unit) < 1

    def rows(self, rho: Array, field: Array, dt: float, order: int) -> Array:
        """rho after dt in 1, 2, ..., ``order`` Euler steps; shape (order, *grid.shape)."""
        from pdekit.pde.kernels.implicit_lines import curie_weiss_rows

        if self.strength is not None and order <= 7:
            x, h, strength = self.x, self.grid.spacing[0], self.strength
            rows: Array = curie_weiss_rows(self.V, x, strength, self.beta, h, dt, order, rho)
            return rows
        counts = range(1, order + 1)
        return np.stack([self.steps(rho, field, dt / count, count) for count in counts])

    def steps(self, rho: Array, field: Array, dt: float, count: int) -> Array:
        """rho after ``count`` Euler steps of length dt; ``field`` is its mean field."""
        from pdekit.pde.kernels.implicit_lines import curie_weiss_steps

        if self.strength is not None:
            x, h, strength = self.x, self.grid.spacing[0], self.strength
            last: Array = curie_weiss_steps(self.V, x, strength, self.beta, h, dt, count, rho)
            return last
        for k in range(count):
            rho = self._euler(rho, self.V + (self.field(rho) if k else field), dt)
        return rho

    def first(self, field: Array) -> float:
        """A first interval, during which about a hundredth of the mass moves."""
        speed, dt = 0.0, 1e-9 * float(np.min(self.grid.spacing)) ** 2 * self.beta
        for _ in range(40):
            moved = self.steps(self.start, field, dt, 1)
            share = float(np.abs(moved - self.start).sum()) / self.mass
            speed = share / dt
            if share > 1e-6:
                break
            dt *= 10
        return 1e-2 / max(speed, 1e-300)

    def _euler(self, rho: Array, U: Array, dt: float) -> Array:
        from pdekit.pde.kernels.implicit_lines import euler_lines

        for axis, (h, seam) in enumerate(zip(self.grid.spacing, self.grid.periodic, strict=True)):
            lines, values = _along(rho, axis), _along(U, axis)
            out = np.empty_like(lines)
            euler_lines(values, self.beta, h, dt, seam, lines, out)
            rho = _along(out, axis).reshape(rho.shape)
        return np.ascontiguousarray(rho)

    def restore_invariants(self, rho: Array, positive: Array) -> Array:
        """Restore signs from ``positive``, the initial mass, and the symmetry."""
        rho = np.where(rho > 0, rho, positive)
        if self.even:
            rho = 0.5 * (rho + np.flip(rho))
        rho *= self.mass / rho.sum()
        return rho


def _pair(system: _System, local: float, order: int) -> list["_Run"]:
    """The companion, of one order less, and the run."""
    return [_Run(system, _LOOSER * local, order - 1), _Run(system, local, order)]


class _Run:
    """One run with a local tolerance: density, mean field and free energy at the time reached."""

    def __init__(self, system: _System, local: float, order: int) -> None:
        self.system, self.local, self.order = system, local, order
        self.t, self.rho, self.speed = 0.0, system.start, 0.0
        self.field = system.field(self.rho)
        self.dt = system.first(self.field)
        self.energy, self.size = system.energy(self.rho, self.field)
        self.counts: MeanFieldStats = {
            "steps": 0, "intervals": 0, "rejections": 0, "energy_rejections": 0,
            "largest_energy_step": -np.inf, "real_ffts": system.field.real_ffts,
            "negative_before_clipping": 0.0,
        }  # fmt: skip

    def to(self, t: float) -> Array:
        taken = 0
        while self.t < t:
            self._interval(t)
            taken += 1
            if taken % _LOOK == 0 and t - self.t > _MANY * self.dt:
                self._try_stationary(t)
        return self.rho

    def _try_stationary(self, t: float) -> None:
        """Jump to t if the state is stationary and stable; else too many steps remain."""
        if not self.system.stationary(self.rho, self.field):
            raise ConvergenceError(
                f"at t = {self.t:.3g} the mean field allows steps of {self.dt:.2g} only, and the "
                f"density still moves: it would take {(t - self.t) / self.dt:.2g} of them to "
                f"t = {t:.3g}. Ask for earlier times, or for the stationary states by "
                "self_consistent_states"
            )
        self.t = t

    def _interval(self, end: float) -> None:
        """One accepted interval; the next one's length from its error."""
        left = end - self.t
        dt = min(self.dt, left)
        while True:
            rho, error = self._extrapolated(dt)
            change = float(np.abs(rho - self.rho).sum()) / self.system.mass
            allowed = self.local
            if change > self.speed * dt:  # it grows, however small: resolve it
                allowed = min(self.local, max(_RESOLVED * change, 1e-4 * self.local, 1e-11))
            growth = 0.9 * (allowed / max(error, 1e-300)) ** (1 / self.order)
            if not error <= allowed:
                self.counts["rejections"] += 1
                dt *= max(growth, 0.05) if np.isfinite(error) else 0.05
            elif self._accept(rho):
                self.t, self.speed = end if dt == left else self.t + dt, change / dt
                self.dt = max(dt * min(growth, 5.0), self.dt if dt == left else 0.0)
                return
            else:
                self.counts["energy_rejections"] += 1
                dt /= 4
            if not dt > max(_SHORTEST * self.t, 1e-12 * self.system.shortest):
                raise ConvergenceError(
                    f"at t = {self.t:g} no step keeps the local error below {self.local:.2g} and "
                    f"the free energy from rising, down to {dt:.2g}; refine the grid or raise rtol"
                )

    def _extrapolated(self, dt: float) -> tuple[Array, float]:
        """The rows of 1, 2, ... Euler steps extrapolated to none; result and error estimate."""
        system, order = self.system, self.order
        rows = system.rows(self.rho, self.field, dt, order)
        self.counts["steps"] += order * (order + 1) // 2
        self.counts["real_ffts"] += order * (order - 1) // 2 * system.field.real_ffts
        best, next_best = (extrapolation(order) @ rows.reshape(order, -1)).reshape(
            2, *self.rho.shape
        )
        error = float(np.abs(best - next_best).sum()) / system.mass
        lost = -float(np.minimum(best, 0.0).sum()) / system.mass
        self.counts["negative_before_clipping"] = max(lost, self.counts["negative_before_clipping"])
        return system.restore_invariants(best, rows[-1]), error + lost

    def _accept(self, rho: Array) -> bool:
        """Accept the density if the free energy did not increase, up to rounding."""
        field = self.system.field(rho)
        self.counts["real_ffts"] += self.system.field.real_ffts
        energy, size = self.system.energy(rho, field)
        rise = energy - self.energy
        if rise > _ROUNDING * max(size, self.size):
            return False
        self.rho, self.field, self.energy, self.size = rho, field, energy, size
        self.counts["intervals"] += 1
        self.counts["largest_energy_step"] = max(rise, self.counts["largest_energy_step"])
        return True


@cache
def extrapolation(order: int) -> Array:
    """Weights of rows of 1, ..., order steps in the polynomial through them, at step length zero.

    And those of the polynomial through all rows but the first, of one order less.
    """
    numbers = range(1, order + 1)
    best = [prod(n / (n - m) for m in numbers if m != n) for n in numbers]
    less = [prod(n / (n - m) for m in numbers[1:] if m != n) for n in numbers[1:]]
    return np.array([best, [0.0, *less]])


def _combined_stats(runs: list[_Run]) -> MeanFieldStats:
    """Total work of all runs; intervals and energies of the last one."""
    counts, last = [run.counts for run in runs], runs[-1].counts
    return {
        **last,
        "steps": sum(c["steps"] for c in counts),
        "rejections": sum(c["rejections"] for c in counts),
        "energy_rejections": sum(c["energy_rejections"] for c in counts),
        "real_ffts": sum(c["real_ffts"] for c in counts),
    }


def _is_even(values: Array) -> bool:
    scale = float(np.abs(values).max())
    return bool(np.abs(values - np.flip(values)).max() <= 1e-13 * scale)


def _along(field: Array, axis: int) -> Array:
    """Lines of an axis as rows, and back."""
    if field.ndim == 1:
        return field[None, :]
    return field if axis == 1 else np.ascontiguousarray(field.T)
