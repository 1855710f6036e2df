"""Stochastic gradient descent of a two-layer network: its neurons are the particles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

from pdekit import checks
from pdekit.particles.dynamics.diffusion import check_beta
from pdekit.particles.integrators import Step
from pdekit.particles.noise import BATCH_NORMAL, BATCH_UNIFORM, StepNoise

if TYPE_CHECKING:
    from torch import Tensor

    from pdekit.pde.equations import McKeanVlasov

_SUM = 1e-3  # by which weights may miss 1, as the mass of a density may in compare
_PARTS = ("dim", "normals", "uniforms", "data", "neurons")


@dataclass(frozen=True)
class TwoLayerNetwork:
    """θ_i⁺ = θ_i + 2 s B⁻¹ Σ_b (y_b - ŷ(x_b)) ∇σ*(x_b; θ_i) + √(4 s/β) ξ_i, s = ξ(t) dt.

    One-pass stochastic gradient descent of ŷ(x) = N⁻¹ Σ_i σ*(x; θ_i) on the square loss, each of
    the N neurons by N times its slope: B fresh data a step, the same for all neurons of a run. As N
    grows and s decreases, the law ρ of the neurons follows the distributional dynamics
    ρ_t = 2 ξ ∇·(ρ ∇Ψ) + 2 (ξ/β) Δρ, Ψ = V + ∫U(., θ) ρ(dθ), under which the risk
    R(ρ) = E y² + 2 ∫Vρ + ∬Uρρ decreases (mathematics 1.13; Mei, Montanari and Nguyen 2018).

    Parameters
    ----------
    task : what is learnt, a value of `pdekit.networks` or one's own
    rate : ξ >= 0, or a function of time
    batch : B >= 1
    beta : inverse temperature of the added noise; ``math.inf`` for none

    ``simulate`` moves N = ``n`` neurons; ``dt`` is the step and t/dt the number of steps. A finite
    step has noise of its own, of variance proportional to dt/batch: with it d coordinates of θ
    grow in length as by a diffusion. Good values: dt (largest curvature) below 0.05 and, for
    dt/batch, half of it changes nothing that matters. Runs share nothing. Raises ``TypeError`` and
    ``ValueError`` for a task that lacks something, and numbers out of range.
    """

    task: Any
    rate: float | Callable[[float], float] = 1.0
    batch: int = 1
    beta: float = inf
    coupled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self, infinite=True)
        what = "a task such as networks.GaussianClasses(...)"
        checks.has("TwoLayerNetwork: task", self.task, what, *_PARTS)
        checks.parameters(self, batch=lambda name, value: checks.whole(name, value, 1))
        checks.value_not_class("TwoLayerNetwork: rate", self.rate)
        if callable(self.rate):
            checks.takes("TwoLayerNetwork: rate", self.rate, "a number or a function of time")
        else:
            checks.parameters(self, rate=checks.not_negative)

    @property
    def dim(self) -> int:
        """D, the parameters of a neuron."""
        return int(self.task.dim)

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions ``x`` (runs, neurons, D)."""
        return x

    def positions(self, state: Tensor, step: Step, noise: Any) -> Tensor:
        """θ, the state."""
        return state

    def step(self, state: Tensor, step: Step, noise: StepNoise) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        import torch

        s = self._rate_at(step.start) * step.size
        theta, (x, y) = state[:, : noise.size], self._data(step, noise)
        moved = torch.zeros_like(state)
        if self.beta < inf:
            moved = noise.at(step.number) * sqrt(4 * s / self.beta)
        # run by run on the CPU: torch may round a product of many matrices differently
        each: list[Any] = [slice(None)] if state.device.type != "cpu" else [*range(len(state))]
        for run in each:
            pull = self._pull(x[run], y[run], theta[run].clone())
            moved[run, : noise.size] += pull * (2 * s / self.batch)
        return state.add_(moved)

    def _data(self, step: Step, noise: StepNoise) -> tuple[Tensor, Tensor]:
        """Points and labels, with the axes (run, batch)."""
        drawn = [
            noise.of_runs(step.number, channel, self.batch, each)
            for channel, each in (
                (BATCH_NORMAL, self.task.normals),
                (BATCH_UNIFORM, self.task.uniforms),
            )
        ]
        x, y = self.task.data(*drawn)
        front = drawn[0].shape[:-1]
        if x.shape[:-1] != front or y.shape != front:
            raise ValueError(
                f"{type(self.task).__name__}: data must be points (..., batch, p) and labels "
                f"(..., batch), where (..., batch) is {tuple(front)}; got shapes {tuple(x.shape)} "
                f"and {tuple(y.shape)}"
            )
        return x, y

    def _pull(self, x: Tensor, y: Tensor, theta: Tensor) -> Tensor:
        """Σ_b (y_b - ŷ(x_b)) ∇σ*(x_b; θ_i), shape of ``theta``."""
        values, weighted = response(self.task, x, theta)
        pull: Tensor = weighted(y - values.mean(dim=-2))
        return pull

    def _rate_at(self, t: float) -> float:
        if not callable(self.rate):
            return self.rate
        return checks.not_negative(f"TwoLayerNetwork: rate({t:g})", self.rate(t))

    # ---- the limit of many neurons ---------------------------------------------------------------

    @property
    def drift(self) -> Callable[[Tensor, float], Tensor]:
        """-2 ξ ∇Ψ of neurons (runs, n, D), where the limit of the task is known."""
        if not hasattr(self.task, "features"):
            raise AttributeError(f"the limit of {self.task!r} is not known: it has no features")
        return self._drift

    def _drift(self, theta: Tensor, t: float) -> Tensor:
        import torch

        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            z = self.task.reduced(theta)
            f = self.task.features(z)
            psi = self.task.potential(z) + (f * f.detach().mean(dim=-2, keepdim=True)).sum(-1)
            return torch.autograd.grad(psi.sum(), theta)[0] * (-2 * self._rate_at(t))

    def reduced(self, theta: Any) -> Any:
        """The coordinates (..., m) of which ``law`` is the law, those of all θ (..., D) by default.

        ``compare`` applies it to the particles.
        """
        return self.task.reduced(theta) if hasattr(self.task, "reduced") else theta

    def risk(self, z: Any, weights: Any = None) -> Any:
        """R(ρ) = E y² + 2 ∫Vρ + ∬Uρρ of points z (..., n, m) in the coordinates of the law.

        Equal ``weights`` unless given, (n,) of sum 1: cells times their density. Of a network of N
        neurons it leaves out what the limit leaves out (``GaussianClasses.variance`` over N).
        """
        self._require_limit("risk")
        self._require_points(z, weights)
        w = 1 / z.shape[-2] if weights is None else weights
        V, f = self.task.potential(z), self.task.features(z)
        mean = (f * (w if weights is None else w[..., None])).sum(-2)
        return self.task.labels_square + 2 * (V * w).sum(-1) + (mean**2).sum(-1)

    def law(self) -> McKeanVlasov:
        """ρ_t = 2 ξ ∇·(ρ ∇(V + ∫Uρ)) + 2 (ξ/β) Δρ, in the coordinates ``reduced``.

        Raises ``TypeError`` for a task whose V and U are not known, or a rate that changes in time.
        """
        self._require_limit("law()")
        from pdekit.pde.equations import McKeanVlasov
        from pdekit.point_kernels import FeatureInteraction
        from pdekit.potentials import Custom

        if callable(self.rate):
            raise TypeError(
                "law() needs a constant rate; with rate = 1 its solution at the time ∫ξ dt is the "
                "law at t, also with noise"
            )
        V, dim = self.task.potential, self.task.potential.dim
        beta = self.beta / (2 * self.rate) if self.rate > 0 else inf  # at rate 0 nothing moves
        if self.beta < inf and hasattr(self.task, "log_volume"):
            V = V - Custom(self.task.log_volume, dim=dim) * (1 / self.beta)
        interaction: Any = FeatureInteraction(self.task.features, 2 * self.rate)
        return McKeanVlasov(V * (2 * self.rate), beta, interaction)

    def _require_points(self, z: Any, weights: Any) -> None:
        """``ValueError`` for points of another shape, or weights that are not theirs."""
        m, shape = self.task.potential.dim, tuple(getattr(z, "shape", ()))
        if len(shape) < 2 or shape[-1] != m or shape[-2] == 0:
            raise ValueError(
                f"risk needs an array of points (..., n, {m}) in the coordinates of the law, such "
                f"as reduced(theta) of neurons; got {checks.shown(z)}"
            )
        if weights is None:
            return
        total = checks.finite("weights", weights, f"{shape[-2]} finite numbers of sum 1")
        if total.shape != shape[-2:-1] or abs(total.sum() - 1) > _SUM:
            raise ValueError(
                f"weights must be {shape[-2]} numbers of sum 1, cells times their density; got "
                f"{checks.shown(weights)} of sum {total.sum():g}"
            )

    def _require_limit(self, what: str) -> None:
        if not hasattr(self.task, "features"):
            raise TypeError(
                f"{what} needs V and U of the task; {self.task!r} has no potential and features. "
                "networks.Samples(x, y, neuron, dim) has them for finitely many data"
            )


def response(task: Any, x: Tensor, theta: Tensor) -> Any:
    """σ*(x_b; θ_i), (..., n, batch), and w -> Σ_b w_b ∇σ*(x_b; θ_i): the task's, or by autograd."""
    if checks.offers(task, "response"):
        return task.response(x, theta)
    import torch

    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        values = _checked(task.neurons(x, theta), task, x, theta)

    def weighted(w: Tensor) -> Tensor:
        return torch.autograd.grad(values, theta, w[..., None, :].expand_as(values))[0]

    return values.detach(), weighted


def _checked(values: Any, task: Any, x: Tensor, theta: Tensor) -> Any:
    """``ValueError`` for neurons of another shape."""
    shape = (*theta.shape[:-1], x.shape[-2])
    if getattr(values, "shape", None) != shape or not values.requires_grad:
        raise ValueError(
            f"{type(task).__name__}: the neurons must be a tensor {shape}, one value for each "
            f"parameter and point, that depends on theta; got {checks.shown(values)}"
        )
    return values
