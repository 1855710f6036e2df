"""What the diffusions dX = b(X, t) dt + σ dB have in common: one step in their box."""

from math import inf, sqrt
from typing import TYPE_CHECKING, Any, Protocol

from pdekit.grid import Grid
from pdekit.particles.integrators import Integrator, Normals, Step

if TYPE_CHECKING:
    from torch import Tensor


class Diffusion(Protocol):
    """A dynamics whose particles move independently, with additive noise."""

    @property
    def integrator(self) -> Integrator: ...

    @property
    def box(self) -> Grid | None: ...

    @property
    def dim(self) -> int | None: ...

    @property
    def sigma(self) -> float: ...

    def drift(self, x: Any, t: float) -> Any: ...

    def init(self, x: Any) -> Any: ...

    def step(self, state: Any, step: Step, noise: Normals) -> Any: ...

    def positions(self, state: Any, step: Step, noise: Normals) -> Any: ...


def init(dynamics: Diffusion, x: "Tensor") -> "Tensor":
    return _folded(x, dynamics.box)


def step(dynamics: Diffusion, y: "Tensor", step: Step, noise: Normals) -> "Tensor":
    drift = dynamics.drift if dynamics.box is None else _Mirrored(dynamics)
    y = dynamics.integrator.step(drift, y, dynamics.sigma, step, noise)
    return _folded(y, dynamics.box)


def positions(dynamics: Diffusion, y: "Tensor", step: Step, noise: Normals) -> "Tensor":
    x = dynamics.integrator.positions(y, dynamics.sigma, step, noise)
    return x if x is y else _folded(x, dynamics.box)


def check_beta(beta: Any, infinite: bool = False) -> None:
    """``ValueError`` unless ``beta`` is a number > 0, finite if not said otherwise."""
    try:
        good = float(beta) > 0 and (infinite or float(beta) < inf)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"beta is an inverse temperature: expected a {'' if infinite else 'finite '}number "
            f"> 0, got {beta!r}"
        )


def noise_strength(beta: float) -> float:
    return sqrt(2 / beta)


def common_dim(**parts: Any) -> int | None:
    """The dimension that the named parts declare; ``ValueError`` where they differ."""
    said = {k: v.dim for k, v in parts.items() if getattr(v, "dim", None) is not None}
    if len(set(said.values())) > 1:
        raise ValueError(f"the parts of a dynamics have one dimension, got {said}")
    return next(iter(said.values()), None)


class _Mirrored:
    """The drift continued beyond the walls (see `pdekit.particles.walls`)."""

    def __init__(self, dynamics: Diffusion) -> None:
        self.dynamics = dynamics

    def __call__(self, x: "Tensor", t: float) -> "Tensor":
        from pdekit.particles.walls import fold

        assert self.dynamics.box is not None
        inside, sign = fold(x, self.dynamics.box)
        drift: Tensor = self.dynamics.drift(inside, t)
        return drift if sign is None else drift * sign


def _folded(x: "Tensor", box: Grid | None) -> "Tensor":
    from pdekit.particles.walls import fold

    return x if box is None else fold(x, box)[0]
