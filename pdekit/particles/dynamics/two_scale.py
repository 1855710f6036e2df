"""Two time scales: descent along gradients averaged by a fast process (HOM-SGLD, MF-HOM-SGLD)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pdekit.checks import parameters, positive
from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time, check_beta, slope
from pdekit.particles.dynamics.interacting import check_interaction
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.forces import ExactSum, Summation, mean_force
from pdekit.particles.integrators import Draws, EulerMaruyama, Fast, Integrator, Step
from pdekit.particles.kernels import DISPLACEMENT, FREE, POSITION
from pdekit.particles.noise import CHOICE, INNER
from pdekit.protocols import Coefficient, Interaction, MeanForce

if TYPE_CHECKING:
    from torch import Tensor

Slope = Callable[["Tensor"], "Tensor"]


class FastProcess(Protocol):
    """The fast variable Y in its own time, and the averages passed to X.

    One without ``rates`` is taken to have those of ``Position``. If compiled loops support it, it
    has a ``formula``, a number of `pdekit.particles.kernels`.
    ``free``: Y does not feel V.
    """

    def rates(self, curvature: float, gamma: float) -> tuple[float, float]:
        """Of X while Y rests, and of Y in its own time, to be divided by ε, where V'' is this."""
        ...

    def start(self, x: Tensor) -> Tensor:
        """Initial value of Y, also after a reset."""
        ...

    def drift(self, slope: Slope, x: Tensor, y: Tensor, gamma: float) -> Tensor:
        """Drift of Y, to be divided by ε."""
        ...

    def seen(self, slope: Slope, x: Tensor, y: Tensor) -> Tensor:
        """The quantity that is averaged."""
        ...

    def velocity(self, x: Tensor, average: Tensor, gamma: float) -> Tensor:
        """dX/dt, without the interaction."""
        ...


@dataclass(frozen=True)
class Position:
    """Kantas et al. (13): ε Y' = (X - Y)/γ - ∇V(Y) + noise, X' = -(X - Y)/γ; Algorithm 1."""

    formula: ClassVar[int] = POSITION

    def rates(self, curvature: float, gamma: float) -> tuple[float, float]:
        return 1 / gamma, curvature + 1 / gamma

    def start(self, x: Tensor) -> Tensor:
        return x.clone()

    def drift(self, slope: Slope, x: Tensor, y: Tensor, gamma: float) -> Tensor:
        return (x - y) / gamma - slope(y)

    def seen(self, slope: Slope, x: Tensor, y: Tensor) -> Tensor:
        return y

    def velocity(self, x: Tensor, average: Tensor, gamma: float) -> Tensor:
        return (average - x) / gamma


@dataclass(frozen=True)
class Displacement:
    """Kantas et al. (11): ε Y' = ∇V(X - Y) - Y/γ + noise, X' = -∇V(X - Y) (errata 3)."""

    formula: ClassVar[int] = DISPLACEMENT

    def rates(self, curvature: float, gamma: float) -> tuple[float, float]:
        return curvature, curvature + 1 / gamma

    def follows(self, curvature: float, gamma: float) -> float:
        """The part of a move of X that Y at rest takes away from X - Y."""
        return curvature * gamma / (1 + curvature * gamma)

    def start(self, x: Tensor) -> Tensor:
        return x * 0

    def drift(self, slope: Slope, x: Tensor, y: Tensor, gamma: float) -> Tensor:
        return slope(x - y) - y / gamma

    def seen(self, slope: Slope, x: Tensor, y: Tensor) -> Tensor:
        return slope(x - y)

    def velocity(self, x: Tensor, average: Tensor, gamma: float) -> Tensor:
        return -average


@dataclass(frozen=True)
class FreeDisplacement(Displacement):
    """HEAT: ε Y' = -Y/γ + noise, stationary at N(0, γ/β); X' = -∇V(X - Y) (errata 29)."""

    formula: ClassVar[int] = FREE
    free: ClassVar[bool] = True

    def rates(self, curvature: float, gamma: float) -> tuple[float, float]:
        return curvature, 1 / gamma

    def follows(self, curvature: float, gamma: float) -> float:
        return 0.0

    def drift(self, slope: Slope, x: Tensor, y: Tensor, gamma: float) -> Tensor:
        return y / -gamma


@dataclass(frozen=True)
class LinearAverage:
    """Equal weights 1/M for the M iterates after burn-in (errata 18)."""

    def weights(self, count: int) -> list[float]:
        """Weight of the start, then of each iterate."""
        return [0.0] + [1 / count] * count

    def past(self, m: int) -> float:
        """Weight of the average of m - 1 iterates when the m-th is added."""
        return (m - 1) / m


@dataclass(frozen=True)
class ExponentialAverage:
    """z ← alpha z + (1 - alpha) y from z = start (Entropy-SGD; T Alg. 2, alpha = 0.25)."""

    alpha: float = 0.25

    def __post_init__(self) -> None:
        check_parts(self)

    def weights(self, count: int) -> list[float]:
        """Weight of the start, then of each iterate."""
        a = self.alpha
        return [a**count] + [(1 - a) * a ** (count - m) for m in range(1, count + 1)]

    def past(self, m: int) -> float:
        """Weight of the start and of m - 1 iterates when the m-th is added."""
        return self.alpha


@dataclass(frozen=True)
class LastIterate:
    """The last iterate alone: with beta = inf the proximal point (Hamilton-Jacobi limit)."""

    proximal: ClassVar[bool] = True  # for outer steps of any length

    def weights(self, count: int) -> list[float]:
        """Weight of the start, then of each iterate."""
        return [0.0] * count + [1.0]

    def past(self, m: int) -> float:
        """Weight of the iterates before the m-th."""
        return 0.0


_COARSE = 0.25  # limit of dt / γ: rates are then off by an eighth
Average = LinearAverage | ExponentialAverage | LastIterate


@dataclass(frozen=True)
class Scoping:
    """γ(t) = max(floor, initial e^{-rate t}): decreasing smoothing (thesis (5.10))."""

    initial: float
    rate: float
    floor: float = 1e-3

    def __post_init__(self) -> None:
        parameters(self, initial=positive, floor=positive)
        check_parts(self)

    def __call__(self, t: float) -> float:
        """γ at time t."""
        return max(self.floor, self.initial * exp(-self.rate * t))


@dataclass(frozen=True)
class TwoScaleLangevin(GradientDynamics):
    """dX = -(X - Y)/γ dt [- ∇W*ρ_N dt], ε dY = -(∇V(Y) + (Y - X)/γ) dt + √(2ε/β) dB.

    HOM-SGLD, with ``interaction`` MF-HOM-SGLD: mathematics 1.9 and 1.10, Kantas et al. Algorithm 1
    with its indices and weights corrected (errata 2, 3, 12, 18). Each step of X takes
    ``burn_in + inner_steps - 1`` steps of Y with X fixed, and averages the last ``inner_steps``. As
    ε -> 0, X' = -∇u(X, γ), u the local entropy of V (``ViscousHJ``); the error is O(ε).

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the beginning of the step of X
    beta : inverse temperature of the fast process; ``inf`` for the non-viscous limit (HJ)
    gamma : width γ of the smoothing, or a function of time such as ``Scoping``
    epsilon : ε, ratio of the time scales
    inner_steps, burn_in : M and m' >= 1, where m' is the first inner iterate in the average
    interaction : of the X; None for no interaction
    fast : ``Position()``, ``Displacement()``, or ``FreeDisplacement()`` for the HEAT limit
    average : ``LinearAverage()``, ``ExponentialAverage(alpha)``, ``LastIterate()``
    warm_start : Y continues from its last value; else it restarts from X in every step
    inner_dt : δ; None for dt / inner_steps, so that Y is resolved in real time
    integrator : of Y; ``LeimkuhlerMatthews()`` removes the error of order δ/ε from the average
    summation : of the interaction, as for ``InteractingLangevin``

    The noise of Y has its own channel, with steps counted through all outer steps.
    Raises ``ValueError`` for numbers out of range. Stable if dt (1/γ + λ) < 2, λ the rate of the
    interaction, and (δ/ε)(V'' + 1/γ) < 2; X moves at the rate V'' instead of 1/γ by
    displacements (less as Y comes to rest in a step), and Y at 1/γ if free. Both steps are first
    order, with relative errors of rates of about half of the first and half of the second. Good
    values: 0.1 for the first (dt = 1.5 ε at ε = 0.2 γ is 0.3: 4 % too low a mean where dt = 0.3 ε,
    0.06, has 1 %) and 0.05 for the second; warns (``AccuracyWarning``) of dt/γ above 0.25 in
    ``Position``. ε itself may be far below dt, in the averaging limit.
    """

    potential: Coefficient
    beta: float
    gamma: float | Callable[[float], float]
    epsilon: float
    inner_steps: int
    burn_in: int = 1
    interaction: Interaction | MeanForce | None = None
    fast: FastProcess = field(default_factory=Position)
    average: Average = field(default_factory=LinearAverage)
    warm_start: bool = True
    inner_dt: float | None = None
    integrator: Integrator = field(default_factory=EulerMaruyama)
    summation: Summation = field(default_factory=ExactSum)
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        check_parts(self)
        if self.interaction is not None:
            check_interaction(self.interaction, self.potential)

    @property
    def coupled(self) -> bool:
        """Whether the particles of a run interact."""
        return self.interaction is not None

    @property
    def weak_order(self) -> int:
        """Order in dt, at fixed δ/dt, towards the coupled equations."""
        return 1

    @property
    def mutual(self) -> Mutual | None:
        """What X feels of the interaction, whose curvature ``stiffness`` takes."""
        return None if self.interaction is None else Mutual(self)

    def stiffness(self, curvature: float, size: float, t: float, mutual: float = 0.0) -> float:
        """The larger of the rates of the slow and of the fast step, per unit of outer time."""
        slow, fast = self._rates(curvature, t)
        follows = getattr(self.fast, "follows", lambda curvature, gamma: 0.0)
        slow *= 1 - follows(curvature, gamma_at(self.gamma, t)) * self._followed(fast, size)
        share = self.inner_dt / size if self.inner_dt and size else 1 / self.inner_steps
        return max(slow + mutual, fast * share / self.epsilon)

    def _followed(self, rate: float, size: float) -> float:
        """The part of the way to its rest that Y, from a rest at the last X, is seen to have gone.

        Between 1 for a Y at rest in every step and 0 for one that hardly moves; exact where X
        turns about in every step, which is at the end of stability.
        """
        factor = 1 - rate * self.inner_size(size)
        if not abs(factor) < 1:
            return 0.0
        first, *weights = self.average.weights(self.inner_steps)
        ahead = first + sum(w * factor ** (k + self.burn_in) for k, w in enumerate(weights))
        kept = factor ** (self.burn_in + self.inner_steps - 1) if self.warm_start else 1.0
        return max(1 - 2 * ahead / (1 + kept), 0.0)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if a stable step of X is inaccurate."""
        pull = self._rates(0.0, t)[0]
        if size * pull <= _COARSE or getattr(self.average, "proximal", False):
            return ""
        return (
            f"dt / gamma = {size * pull:.2g}: the outer step is of order one, and the rates of X "
            f"come out wrong by up to {size * pull / 2:.0%}; dt <= {0.1 / pull:.1g} has 5 %"
        )

    def _rates(self, curvature: float, t: float) -> tuple[float, float]:
        rates = getattr(self.fast, "rates", Position().rates)  # a user's own may not say
        slow, fast = rates(curvature, gamma_at(self.gamma, t))
        return slow, fast

    def init(self, x: Tensor) -> Tensor:
        """X and Y, stacked in front."""
        state = x.new_empty(2, *x.shape)
        state[0], state[1] = x, self.fast.start(x)
        return state

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        x = state[0]
        gamma = gamma_at(self.gamma, step.start)
        average = self._average(state, gamma, step, noise)
        velocity = self.fast.velocity(x, average, gamma)
        if self.interaction is not None:

            def draw() -> Tensor:
                return noise.choices(step.number, CHOICE)[:, : noise.size, 0]

            velocity -= self.pulled(x, step.start, noise.size, draw)
        x += velocity * step.size
        return state

    def pulled(self, x: Tensor, t: float, size: int, draw: Any = None) -> Tensor:
        """The mean of ∇W over the particles of a run; over all pairs where nothing is drawn."""
        V = at_time(self.potential, t)
        return mean_force(self.interaction, self.summation, x, size, V, draw)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """X."""
        return state[0]

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        from pdekit.particles.fused import of_two_scales

        return of_two_scales(self, x)

    def width(self, t: float) -> float:
        """γ at time t."""
        return gamma_at(self.gamma, t)

    def _average(self, state: Tensor, gamma: float, step: Step, noise: Draws) -> Tensor:
        """Move Y, in place, and average the quantity that X needs."""
        x = state[0]

        count = self.burn_in + self.inner_steps - 1
        size, before = self.inner_size(step.size), None if self.warm_start else 0.0
        first, *weights = self.average.weights(self.inner_steps)
        y = state[1].clone() if self.warm_start else self.fast.start(x)
        total = self.fast.seen(self._slope_at(step.start), x, y) * first if first else x * 0
        for m in range(count):
            number = step.number * count + m
            now = Step(number, step.start, step.stop, size, None if m else before)
            weight = weights[m - self.burn_in + 1] if m >= self.burn_in - 1 else 0.0
            self.traced(x, y, total, gamma, weight, now, noise)
        state[1] = y
        return total

    def inner_size(self, size: float) -> float:
        """Size of a step of Y in its own time, within a step of X of this ``size``."""
        return (self.inner_dt or size / self.inner_steps) / self.epsilon

    def traced(
        self,
        x: Tensor,
        y: Tensor,
        total: Tensor,
        gamma: float,
        weight: float,
        now: Step,
        noise: Draws,
    ) -> None:
        """One inner step of ``y``, added to ``total``, for `pdekit.particles.run.compiled`."""

        sloping = self._slope_at(now.start)

        def drift(points: Tensor, t: float) -> Tensor:
            return self.fast.drift(sloping, x, points, gamma)

        sigma, source = sqrt(2 / self.beta), _Inner(noise)
        y.copy_(self.integrator.step(drift, y, sigma, now, source))
        if weight:
            at = self.integrator.points(y, sigma, now, source)
            total += self.fast.seen(sloping, x, at) * weight

    def _slope_at(self, t: float) -> Slope:
        V = at_time(self.potential, t)
        return lambda points: slope(V, points)


@dataclass(frozen=True)
class Mutual:
    """The interaction of the slow variables alone, as a drift."""

    dynamics: TwoScaleLangevin
    coupled: ClassVar[bool] = True

    def drift(self, x: Tensor, t: float) -> Tensor:
        return -self.dynamics.pulled(x, t, x.shape[1])


@dataclass(frozen=True)
class _Inner:
    """The noise of the inner steps."""

    noise: Draws

    def at(self, step: int, channel: int = 0) -> Any:
        return self.noise.at(step, INNER + channel)


def gamma_at(gamma: float | Callable[[float], float], t: float) -> float:
    """γ at time t, > 0."""
    return positive("gamma", gamma(t)) if callable(gamma) else float(gamma)
