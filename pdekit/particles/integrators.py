"""How ``dX = b(X, t) dt + σ dB`` is advanced, as values.

An integrator carries a state y through ``step`` and gives by ``positions`` the particles, by
``points`` where the next gradient is evaluated. For most of them the state is the position.
``weak_order`` is the order in h of expectations at a finite time, ``invariant_order`` that of the
stationary law. Tensors have the axes (runs, particles, dim); ``step`` overwrites its state. With
σ = 0 no noise is drawn.

If compiled loops support it, its class declares the number of gradients of a step,
``fused_slopes``, and by ``scales`` and ``adjusted`` what noise goes in. ``centred``: this lies
about the start of the step, half before the slope is taken. ``tamed``: the drift is shortened, see
``TamedEuler``. ``step_bias``: coefficients of h in its modified equation, as in
`pdekit.pde.discrete.rate_changes.StepBias`; none where that starts at h². ``stability``:
coefficients of the polynomial R(z) by which a step multiplies x where b(x) = -λx and z = hλ;
Euler's if it says nothing.

Products and sums are rounded one by one, as in the fused kernel, and never by ``alpha=`` of
torch, which may use fused multiply-add. Drift and noise of a step are added first, and their sum to
the state: of a drift below the spacing of its numbers the noise then makes the right average, as
rounding is as often up as down, where a drift added alone would be lost in every step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT = 8  # channel of the noise of output positions, see `pdekit.particles.noise`
LARGEST = 1e28  # slope of tamed steps: of one that overflows they have length 1 too
Drift = Callable[["Tensor", float], "Tensor"]


class Step(NamedTuple):
    """Step ``number`` (counted from the start of the simulation) leads from ``start`` to ``stop``.

    ``size`` is the same for all steps between two output times, ``stop - start`` up to rounding;
    ``before`` is that of the step before it, None where it is the same or there is none.
    """

    number: int
    start: float
    stop: float
    size: float
    before: float | None = None


class Normals(Protocol):
    """Standard normals of a step, of the shape of the state; `pdekit.particles.noise.StepNoise`."""

    def at(self, step: int, channel: int = ...) -> "Tensor": ...


class Draws(Normals, Protocol):
    """What a step may draw besides, ``each`` numbers per particle, and for how many particles."""

    @property
    def size(self) -> int: ...

    def uniforms(self, step: int, channel: int, each: int = ...) -> "Tensor":
        """In (0, 1), of the dtype of the particles."""
        ...

    def choices(self, step: int, channel: int, each: int = ...) -> "Tensor":
        """The same in float64, to choose among many."""
        ...


Fast = Callable[["Tensor", list[Step], Any], "Tensor"]
"""Many steps at once, with the noise of a tile: the state after them."""


class Integrator(Protocol):
    """The interface of an integrator."""

    @property
    def weak_order(self) -> int: ...

    @property
    def invariant_order(self) -> int: ...

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        """The state after ``step``; ``y`` is overwritten."""
        ...

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        """Positions of the particles of state ``y`` after ``step``."""
        ...

    def points(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        """Where the gradient of the step after ``step`` is evaluated."""
        ...


class _AtThePositions:
    """What steps have in common that start at the position, and add their noise in one piece."""

    centred: ClassVar[bool] = False

    @property
    def positioned(self) -> "Integrator":
        """The integrator whose states are positions, for particles that stop on their way."""
        own: Any = self
        integrator: Integrator = own
        return integrator

    def scales(self, step: Step) -> tuple[float, float]:
        """In units of σ: of ξ before the gradient, and of ξ in the noise of the step."""
        return 0.0, sqrt(step.size)

    def adjusted(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        """``y``: steps of any size follow each other."""
        return y

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y

    def points(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y


@dataclass(frozen=True)
class EulerMaruyama(_AtThePositions):
    """X⁺ = X + h b(X, t) + σ √h ξ_n: the papers' algorithm. Good steps: h V'' <= 0.1.

    Its stationary law is too broad: relative error h V''/2 of the variance.
    """

    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[int] = 1
    step_bias: ClassVar[tuple[float, ...]] = (-0.5, -1.0)
    fused_slopes: ClassVar[int] = 1
    stability: ClassVar[tuple[float, ...]] = (1.0, -1.0)

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y.add_(_moved(drift(y, step.start) * step.size, sigma, step, noise))


@dataclass(frozen=True)
class TamedEuler(_AtThePositions):
    """X⁺ = X + h b / (1 + h |b|) + σ √h ξ_n, b = b(X, t), |b| the norm over coordinates.

    Hutzenthaler, Jentzen and Kloeden 2012: finite where Euler's steps grow without bound, as under
    slopes that grow faster than x. Strong order 1/2 (their theorem 1.1, for drifts of polynomial
    growth that are one-sided Lipschitz), here 1 because the noise is additive; weak order 1.

    The drift moves a particle by less than 1, in the unit of x, so the method depends on that unit.
    Its law is worth something only where h |b| is small: to first order it is that of the
    potential V - h ∫ |V'| dV, for a well of rate a too broad by the factor
    1 + a h/2 + 2 h √(2 a/(π β)). Use it for losses that other steps leave for infinity, with h |b|
    <= 0.1 where particles end; there StochasticHeun is better if it is stable. Where h |b| is large
    steps have length 1 whatever V does between: finite, even of a slope that overflows, but no
    approximation of anything.
    """

    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[int] = 1
    step_bias: ClassVar[tuple[float, ...]] = (-0.5, -1.0, -1.0)
    fused_slopes: ClassVar[int] = 1
    stability: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    tamed: ClassVar[bool] = True

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        b = drift(y, step.start).clamp(-LARGEST, LARGEST)
        return y.add_(_moved(b / (length(b) * step.size + 1) * step.size, sigma, step, noise))


def _moved(way: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
    """``way`` and σ √h ξ_n."""
    return (noise.at(step.number) * (sigma * sqrt(step.size))).add_(way) if sigma else way


def length(b: "Tensor") -> "Tensor":
    """|b| along the last axis, kept, of b that may overflow; no square does."""
    b = b.clamp(-LARGEST, LARGEST)
    largest = b.abs().amax(dim=-1, keepdim=True).clamp_min(1e-30)
    norm: Tensor = (b / largest).norm(dim=-1, keepdim=True)
    return norm.mul_(largest)


@dataclass(frozen=True)
class LeimkuhlerMatthews:
    """Y⁺ = Y + h b(Z) + σ √h ξ_n, Z = Y + σ √h ξ_n / 2: second order in the stationary law.

    Leimkuhler and Matthews 2013, whose X⁺ = X + h b(X) + σ √h (ξ_n + ξ_{n+1}) / 2 are the points Z.
    The state Y is Markov. Output positions are X = Y + σ √h (ξ_n / 2 + √3/2 ζ_n) / 2, ζ_n
    independent normals: in law at one time the same as Z, with error O(h²) of the stationary law,
    exact for a quadratic. Two Z share a noise: their correlations are those of a lag shorter by
    h/2, and without ξ_n in X of one longer by h/2. With half of it X has the right ones: pure
    diffusion is exact in law at all times together, and for a slope a the stationary correlation
    at the lag k h is (1 - a h)^k (1 + O(h²)). The remaining error at finite time is first order in
    the time scale: rates a are a (1 + a h / 2).

    The step may change between output times, and the first one starts at X. In
    terms of u = ξ/2 + √3/2 ζ, and with v = √3/2 ξ - ζ/2, the noise of a step is
    σ (√p u + √3h v) / 2 after a step of size p, 0 before the first. The gradient is evaluated with
    its part in ζ, and with a multiple of ξ such that their covariance is σ² (h + p) / 4 (in the
    first step it is evaluated at X). So the noise between any two X has the variance σ² (t - s),
    for any steps.
    """

    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[int] = 2
    step_bias: ClassVar[tuple[float, ...]] = (-0.5, -0.5)
    fused_slopes: ClassVar[int] = 1
    stability: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    centred: ClassVar[bool] = True

    @property
    def positioned(self) -> "Integrator":
        """Heun's method: Euler's steps, as those of the states, have ten times its error."""
        return StochasticHeun()

    def scales(self, step: Step) -> tuple[float, float]:
        """In units of σ: of ξ before the gradient, and of ξ in the noise of the step."""
        h, p = step.size, step.before
        if step.number == 0 or p == 0:
            return 0.0, sqrt(h) * sqrt(0.75)
        if p is None or p == h:
            return sqrt(h) / 2, sqrt(h)
        scale, own = (sqrt(p) + 3 * sqrt(h)) / 4, self.own_scale(step)
        return ((h + p) / 4 - own * own) / scale, scale

    def own_scale(self, step: Step) -> float:
        """Over σ: of ζ in the noise of the step, and before its gradient; 0 for equal steps."""
        return (sqrt(step.before) - sqrt(step.size)) * sqrt(3) / 4 if step.before else 0.0

    def adjusted(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        """``y`` with the ζ of a step of another size than the last; overwritten."""
        own = sigma * self.own_scale(step)
        return y.add_(noise.at(step.number, OUTPUT) * own) if own else y

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        if not sigma:
            return y.add_(drift(y, step.start) * step.size)
        y, (ahead, scale) = self.adjusted(y, sigma, step, noise), self.scales(step)
        xi = noise.at(step.number)
        slope = drift(y + xi * (sigma * ahead) if ahead else y, step.start)
        return y.add_((xi * (sigma * scale)).add_(slope * step.size))

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        if not sigma:
            return y
        half = sigma * sqrt(step.size) / 2
        x: Tensor = noise.at(step.number + 1, OUTPUT) * (half * sqrt(0.75))
        return x.add_(noise.at(step.number + 1) * (half / 2)).add_(y)

    def points(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y + noise.at(step.number + 1) * (sigma * sqrt(step.size) / 2) if sigma else y


@dataclass(frozen=True)
class StochasticHeun(_AtThePositions):
    """X* = X + h b(X, t) + σ √h ξ;  X⁺ = X + h (b(X, t) + b(X*, t + h)) / 2 + σ √h ξ.

    Second order at finite time and in the stationary law, because the noise is additive; two
    gradients a step. Recommended for time-dependent drifts.
    """

    weak_order: ClassVar[int] = 2
    invariant_order: ClassVar[int] = 2
    fused_slopes: ClassVar[int] = 2
    stability: ClassVar[tuple[float, ...]] = (1.0, -1.0, 0.5)

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        before = drift(y, step.start)
        kick = noise.at(step.number) * (sigma * sqrt(step.size)) if sigma else 0.0
        predictor = (before * step.size).add_(kick).add_(y)
        both = drift(predictor, step.stop) + before
        return y.add_((both * (step.size / 2)).add_(kick))
