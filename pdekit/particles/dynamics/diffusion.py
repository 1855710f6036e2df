"""What the diffusions dX = -Σ ∇V_k(X, t) dt + √(2/β) dB share: gradients, walls, a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, Protocol

from pdekit import checks
from pdekit.grid import Grid
from pdekit.particles.integrators import Draws, Fast, Integrator, Step
from pdekit.protocols import Coefficient, Function
from pdekit.walls import takes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


_KICKS = 5  # in the width of a box, so that few particles meet both walls in a step


class Diffusion(Protocol):
    """Independent particles in a sum of potentials, with additive noise.

    A dynamics that inherits from it names its ``potentials``, ``beta``, ``integrator`` and ``box``;
    ``simulate`` may then advance many steps at once (``fused``). Any other object
    with ``dim``, ``drift``, ``init``, ``step`` and ``positions`` can be simulated step by step.
    """

    integrator: Integrator
    box: Grid | None

    @property
    def potentials(self) -> tuple[Coefficient, ...]:
        """The V_k; one that changes in time offers ``at(t)``."""
        ...

    @property
    def dim(self) -> int | None:
        """Number of coordinates, if a potential or the box determines it."""
        named = [(type(V).__name__, getattr(V, "dim", None)) for V in (*self.potentials, self.box)]
        said = [(name, dim) for name, dim in named if dim is not None]
        if len({dim for _, dim in said}) > 1:
            raise ValueError(f"the parts of a dynamics must have one dimension, got {said}")
        return said[0][1] if said else None

    @property
    def sigma(self) -> float:
        """√(2/β), the noise per square root of time."""
        own: Any = self  # a dynamics with a schedule has no beta
        return sqrt(2 / own.beta)

    @property
    def autonomous(self) -> bool:
        """Whether the drift does not depend on time: no V_k has ``at(t)``."""
        return not any(hasattr(V, "at") for V in self.potentials)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning of steps too long for walls that take particles."""
        return wide_step(self, x, size, t)

    def noise_of_step(self, step: Step) -> float:
        """σ in a step."""
        return self.sigma

    def variance(self, x: Tensor, step: Step) -> Tensor | float:
        """Of the noise of a step from ``x`` in each coordinate."""
        sigma = self.noise_of_step(step)
        return sigma * sigma * step.size

    def drift(self, x: Tensor, t: float) -> Tensor:
        """-Σ ∇V_k(x, t), shape of ``x``."""
        first, *rest = (slope(at_time(V, t), x) for V in self.potentials)
        return sum(rest, first).neg()

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions ``x`` (runs, particles, dim)."""
        return fold(x, self.box)[0]

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        return self.stepped(state, self.sigma, step, noise)

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions of the particles after ``step``."""
        return self.placed(state, self.sigma, step, noise)

    def stepped(self, state: Tensor, sigma: float, step: Step, noise: Draws) -> Tensor:
        """The state one step later under the noise σ."""
        return fold(self.integrator.step(self._mirrored, state, sigma, step, noise), self.box)[0]

    def placed(self, state: Tensor, sigma: float, step: Step, noise: Draws) -> Tensor:
        """Positions after ``step``, the noise then being σ."""
        x = self.integrator.positions(state, sigma, step, noise)
        return x if x is state else fold(x, self.box)[0]

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        from pdekit.particles.fused import of_diffusion

        return of_diffusion(self, x)

    def _mirrored(self, x: Tensor, t: float) -> Tensor:
        inside, sign = fold(x, self.box)
        drift = self.drift(inside, t)
        return drift if sign is None else drift * sign


def wide_step(dynamics: Any, x: Tensor, size: float, t: float) -> str:
    """A warning of steps that see two walls at once, of which a bridge knows one at a time."""
    if getattr(dynamics, "walls", None) is None:
        return ""
    box = dynamics.box
    variance = dynamics.variance(fold(x[None], box)[0], Step(0, t, t + size, size))
    sides = zip(box.lower, box.upper, dynamics.walls.per_axis(box.periodic), strict=True)
    worst, kick, width = 0.0, 0.0, inf
    for k, (a, b, ends) in enumerate(sides):
        own = sqrt(variance if isinstance(variance, float) else float(variance[..., k].max()))
        if any(map(takes, ends)) and own / (b - a) > worst:
            worst, kick, width = own / (b - a), own, b - a
    if worst <= 1 / _KICKS:
        return ""
    return (
        f"a step kicks particles by {kick:.2g}, not small beside the width {width:.3g} between the "
        "walls, so that survival is wrong by more than the order of dt; take dt <= "
        f"{size * (width / _KICKS / kick) ** 2:.1g}"
    )


class GradientDynamics(Protocol):
    """Base class: particles in one ``potential``; a time-dependent one has ``at(t)``.

    The state is the position unless a dynamics overrides this.
    """

    potential: Coefficient

    @property
    def dim(self) -> int | None:
        """Number of coordinates, if the potential or a box determines it."""
        dims = {getattr(part, "dim", None) for part in (self.potential, getattr(self, "box", None))}
        if len(dims - {None}) > 1:
            raise ValueError(f"the parts of a dynamics must have one dimension, got {dims}")
        return next(iter(dims - {None}), None)

    @property
    def autonomous(self) -> bool:
        """Whether the drift does not depend on time: V has no ``at(t)``."""
        return not hasattr(self.potential, "at")

    def drift(self, x: Tensor, t: float) -> Tensor:
        """-∇V(x, t), whose curvature limits the step."""
        return slope(at_time(self.potential, t), x).neg()

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions ``x`` (runs, particles, dim)."""
        return x

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions of the particles after ``step``."""
        return state


def at_time(field: Coefficient, t: float) -> Function:
    """A potential or a force at time ``t``: ``field.at(t)`` if it is time-dependent."""
    return field.at(t) if hasattr(field, "at") else field


def check_in_box(dynamics: Any) -> None:
    """``ValueError`` for a box of another dimension than the dynamics."""
    box, dim = dynamics.box, dynamics.dim
    if box is not None and dim != box.dim:
        raise ValueError(
            f"{type(dynamics).__name__}: the box has {box.dim} coordinates, the dynamics {dim}; "
            f"give a Grid of {dim} axes"
        )


def time_of_noise(integrator: Integrator, step: Step) -> float:
    """The middle of a step, or where its noise lies about the start, that."""
    centred = getattr(integrator, "centred", False)
    return step.start if centred else (step.start + step.stop) / 2


def check_beta(dynamics: Any, infinite: bool = False) -> None:
    """Set its ``beta`` to a float; ``ValueError`` unless it is > 0, finite by default."""
    noiseless = "particles without noise are Langevin(V, math.inf)"
    beta = checks.inverse_temperature(dynamics.beta, infinite, noiseless)
    object.__setattr__(dynamics, "beta", beta)


def fold(x: Tensor, box: Grid | None) -> tuple[Tensor, Tensor | None]:
    """The points of the box under ``x``, and per coordinate -1 if reflected, else +1.

    Walls reflect, periodic axes wrap. The drift is continued beyond a wall as its mirror
    image; the free motion in the continued drift, folded, has then the law of the reflected
    motion, for any integrator: the counterpart of the no-flux condition. Points in the box are
    returned bitwise unchanged; the signs may be None where all points are inside.
    """
    import torch

    if box is None:
        return x, None
    lower, upper, reflects = _walls(box, x.dtype, x.device)
    if (
        x.device.type == "cpu" and not torch.compiler.is_compiling()
    ):  # on other devices the check costs more
        leading = tuple(range(x.ndim - 1))
        if bool(((x.amin(leading) >= lower) & (x.amax(leading) <= upper)).all()):
            return x, None
    outside = (x < lower) | (x > upper)
    width = upper - lower
    boxes = ((x - lower) / width).floor()  # number of boxes away
    mirrored = (boxes - 2 * (boxes / 2).floor()) * reflects
    phase = x - lower - boxes * width
    folded = lower + (phase + mirrored * (width - 2 * phase))
    inside = folded.maximum(lower).minimum(upper).where(outside, x)
    return inside, (1 - 2 * mirrored).where(outside, x.new_ones(()))


def reflected(y: Tensor, box: Grid | None, covariance: Callable[[Tensor], Tensor]) -> Tensor:
    """``fold`` along the conormals of a noise that depends on place: off wall k by column k of D.

    The reflection without flux through the walls; D is read at the wall (Bossy, Gobet, Talay 2004).
    """
    inside, sign = fold(y, box)
    if box is None or sign is None or y.shape[-1] == 1:
        return inside
    lower, upper, reflects = _walls(box, y.dtype, y.device)
    edge = y.maximum(lower).minimum(upper).where(reflects > 0, y)
    return fold(y + aslant(covariance(edge), 2 * (edge - y)), box)[0]


def aslant(D: Tensor, push: Tensor) -> Tensor:
    """What a ``push`` (..., d) off the walls moves along them, by matrices D (..., d, d)."""
    own = D.diagonal(dim1=-2, dim2=-1)
    ratio = (D - own.diag_embed()) / own.masked_fill(own == 0, 1.0)[..., None, :]
    moved: Tensor = (ratio @ push[..., None])[..., 0]
    return moved


@lru_cache(maxsize=16)
def _walls(box: Grid, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ends of the axes, and 1 where they reflect; created on the device."""
    import torch

    def made(values: Any) -> Tensor:
        return torch.stack([torch.full((), v, dtype=dtype, device=device) for v in values])

    return made(box.lower), made(box.upper), made([1.0 - wraps for wraps in box.periodic])


def slope(potential: Function, x: Tensor) -> Tensor:
    """∇V at ``x`` of shape ``(..., d)``; same shape.

    Uses ``potential.grad`` if it exists, otherwise torch autograd of ``potential(x)``.
    Raises ``TypeError`` for a potential that cannot be called or does not work on tensors,
    ``ValueError`` for a wrong shape.
    """
    import torch

    grad = getattr(potential, "grad", None)
    value = grad(x) if callable(grad) else _autograd(potential, x)
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"the gradient of {_name(potential)} returned {type(value).__name__} for a torch "
            "tensor; write it with operators, or with the functions of "
            "array_api_compat.array_namespace(x)"
        )
    if value.shape != x.shape:
        raise ValueError(
            f"the gradient of {_name(potential)} has shape {tuple(value.shape)} for points of "
            f"shape {tuple(x.shape)}; coordinates sit on the last axis and a gradient has the "
            "shape of its points"
        )
    return value


def force_values(force: Function, x: Tensor) -> Tensor:
    """The force at ``x``; ``TypeError`` or ``ValueError`` if it does not return vectors."""
    import torch

    value: torch.Tensor
    if torch.compiler.is_compiling():
        value = force(x)
        return value  # checked before
    try:
        value = force(x)
    except Exception as error:
        raise checks.failed(
            error,
            f"the force {_name(force)} must take tensors of points (..., d); it failed on shape "
            f"{tuple(x.shape)}: {error} ({type(error).__name__})",
        ) from error
    real = isinstance(value, torch.Tensor) and not value.is_complex()
    if not real or (value.shape != x.shape and not _broadcasts(value.shape, x.shape)):
        raise TypeError(
            f"the force {_name(force)} must map tensors (..., d) to real ones (..., d), here of "
            f"shape {tuple(x.shape)}; got {checks.shown(value)}"
        )
    return value


def _broadcasts(shape: Any, over: Any) -> bool:
    """Whether one vector (d,), or one per particle, is to be broadcast."""
    behind = tuple(over)[len(over) - len(shape) :]
    return (
        0 < len(shape) <= len(over)
        and all(n in (1, m) for n, m in zip(shape[:-1], behind[:-1], strict=True))
        and shape[-1] == over[-1]
    )


def _autograd(potential: Function, x: Tensor) -> Tensor:
    import torch

    if not callable(potential):
        raise TypeError(
            f"expected a potential V(x) with V.grad(x), or a callable, got {_name(potential)}"
        )
    with torch.enable_grad():
        points = x.detach().requires_grad_()
        try:
            values = potential(points)
        except Exception as error:
            raise checks.failed(
                error,
                f"the potential {_name(potential)} must take tensors of points (..., d); it failed "
                f"on shape {tuple(x.shape)}: {error} ({type(error).__name__}); one written for "
                "NumPy goes as potentials.Custom(f)",
            ) from error
        if isinstance(values, torch.Tensor) and values.is_complex():
            raise TypeError(f"the potential {_name(potential)} must be real, got complex values")
        if not isinstance(values, torch.Tensor) or not values.requires_grad:
            raise TypeError(
                f"the potential {_name(potential)} has no grad and torch cannot differentiate "
                f"what it returned ({type(values).__name__}); give V.grad, or write V with torch "
                "operations"
            )
        if x.shape[-1] == 1 and values.shape == x.shape:
            values = values[..., 0]  # lambda x: x**2 of points (..., 1)
        if values.shape != x.shape[:-1]:
            raise ValueError(
                f"the potential {_name(potential)} has shape {tuple(values.shape)} for points of "
                f"shape {tuple(x.shape)}; it must map (..., d) to (...), so sum over the last axis"
            )
        return torch.autograd.grad(values.sum(), points)[0]


def _name(potential: Any) -> str:
    return getattr(potential, "__name__", None) or type(potential).__name__
