"""How ``dX = b(X, t) dt + σ dB`` is advanced, as values.

An integrator carries a state y through ``step`` and says by ``positions`` where the particles are.
For most of them the state is the position. ``weak_order`` is the order in h of expectations at a
finite time, ``invariant_order`` that of the stationary law. Tensors have the axes (runs, particles,
dim); ``step`` overwrites its state. With σ = 0 no noise is drawn.

Products and sums are rounded one by one, as in the fused kernel, and never as ``alpha=`` of torch,
which fuses the two where the processor can.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Drift = Callable[[Any, float], Any]


class Step(NamedTuple):
    """Step ``number`` (counted from the start of the simulation) leads from ``start`` to ``stop``.

    ``size`` is the same for all steps between two output times, ``stop - start`` up to rounding.
    """

    number: int
    start: float
    stop: float
    size: float


class Normals(Protocol):
    """Standard normals of a step, of the shape of the state; `pdekit.particles.noise.StepNoise`."""

    def at(self, step: int) -> Any: ...


class Integrator(Protocol):
    """What a dynamics asks of its integrator."""

    @property
    def weak_order(self) -> int: ...

    @property
    def invariant_order(self) -> int: ...

    def step(self, drift: Drift, y: Any, sigma: float, step: Step, noise: Normals) -> Any:
        """The state after ``step``; ``y`` is overwritten."""
        ...

    def positions(self, y: Any, sigma: float, step: Step, noise: Normals) -> Any:
        """Where the particles of state ``y`` are after ``step``."""
        ...


@dataclass(frozen=True)
class EulerMaruyama:
    """X⁺ = X + h b(X, t) + σ √h ξ_n: the papers' algorithm. Good steps: h V'' <= 0.1.

    Its stationary law is too wide: relative error h V''/2 of the variance.
    """

    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[int] = 1

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        y = y.add_(drift(y, step.start) * step.size)
        return y.add_(noise.at(step.number) * (sigma * sqrt(step.size))) if sigma else y

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y


@dataclass(frozen=True)
class LeimkuhlerMatthews:
    """X⁺ = X + h b(X) + σ √h (ξ_n + ξ_{n+1}) / 2: second order where it matters for sampling.

    Leimkuhler and Matthews 2013. The stationary law has error O(h²), exact for a quadratic; at
    finite time the order is one. The state is Y_n = X_n - σ √h ξ_n / 2, which obeys
    ``Y⁺ = Y + h b(X) + σ √h ξ_n`` with noise that is new in each step; so the step may change
    between output times. The first step starts from Y_0 = X_0 and draws with variance 3/4: the
    half-noise to come then makes pure diffusion exact from the first step on. (Started with the
    plain formula, the variance would lack σ² h / 2 at once and for as long as the memory lasts.)
    """

    weak_order: ClassVar[int] = 1
    invariant_order: ClassVar[int] = 2

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        if not sigma:
            return y.add_(drift(y, step.start) * step.size)
        scale, xi = sigma * sqrt(step.size), noise.at(step.number)
        if step.number == 0:
            slope, scale = drift(y, step.start), scale * sqrt(0.75)
        else:
            slope = drift(y + xi * (scale / 2), step.start)
        return y.add_(slope * step.size).add_(xi * scale)

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        if not sigma:
            return y
        return y + noise.at(step.number + 1) * (sigma * sqrt(step.size) / 2)


@dataclass(frozen=True)
class StochasticHeun:
    """X* = X + h b(X, t) + σ √h ξ;  X⁺ = X + h (b(X, t) + b(X*, t + h)) / 2 + σ √h ξ.

    Second order at finite time and in the stationary law, because the noise is additive; two
    gradients a step. The choice for drifts that depend on time.
    """

    weak_order: ClassVar[int] = 2
    invariant_order: ClassVar[int] = 2

    def step(self, drift: Drift, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        before = drift(y, step.start)
        if sigma:
            scale = sigma * sqrt(step.size)
            y = y.add_(noise.at(step.number) * scale)
        predictor = y + before * step.size
        return y.add_((drift(predictor, step.stop) + before) * (step.size / 2))

    def positions(self, y: "Tensor", sigma: float, step: Step, noise: Normals) -> "Tensor":
        return y
