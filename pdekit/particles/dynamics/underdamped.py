"""Langevin dynamics with inertia."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt, tanh
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from array_api_compat import array_namespace
from torch import Tensor

from pdekit import checks
from pdekit.grid import Grid
from pdekit.laws import Gaussian, Law, Product, require_law
from pdekit.particles.dynamics.diffusion import GradientDynamics, at_time, check_beta, fold
from pdekit.particles.dynamics.parts import check_parts
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.noise import MOMENTUM, LawNoise
from pdekit.potentials import Quadratic
from pdekit.potentials.algebra import as_potential
from pdekit.protocols import Coefficient
from pdekit.walls import Specular, Walls

if TYPE_CHECKING:
    from pdekit.pde.equations import FokkerPlanck


@dataclass(frozen=True)
class UnderdampedLangevin(GradientDynamics):
    """dX = P/m dt, dP = -∇V(X) dt - c P dt + √(2cm/β) dB, by BAOAB.

    Stationary at exp(-β (V(x) + |p|²/(2m))), so X has the Gibbs law of V (errata 1). A
    step is half a kick, half a drift, an exact Ornstein-Uhlenbeck step of the momentum, half a
    drift, half a kick (Leimkuhler and Matthews 2013): weak order 2, also of the stationary law of
    X, which is exact for a quadratic; one gradient a step.

    Parameters
    ----------
    potential : V; if time-dependent (``at(t)``), evaluated at the time of each kick
    beta : inverse temperature, > 0
    friction : c, in inverse time; 0 is Hamiltonian motion
    mass : m
    at_rest : momenta start at zero; otherwise they are drawn from
    momenta : a law of independent particles, one coordinate of it per coordinate of X; None for
        the stationary law, normal with variance m/β
    box : a Grid with walls at which particles turn back, X reflected and P across reversed, and
        periodic axes that wrap; None for the whole space

    Raises ``ValueError`` for numbers out of range. Stable if dt √(V''/m) < 2; good steps: 0.3.
    Free displacements grow (c dt/2) coth(c dt/2) times as fast as they should, 1 + (c dt)²/12;
    warns (``AccuracyWarning``) where dt times the friction exceeds 1.

    ``Ensemble.p`` has the momenta. On a line ``law()`` is the kinetic equation of their joint
    density in the plane (q, p), which starts from ``start(law)`` where particles start from a law
    of positions; ``compare`` then takes (q, p) of the particles.
    """

    potential: Coefficient
    beta: float
    friction: float = 1.0
    mass: float = 1.0
    at_rest: bool = False
    momenta: Law | None = None
    box: Grid | None = None
    weak_order: ClassVar[int] = 2
    invariant_order: ClassVar[int] = 2
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)
        check_parts(self)
        _ = self.dim  # raises where the parts disagree
        if self.momenta is not None:
            _check_momenta(self)

    @property
    def dim(self) -> int | None:
        """Number of coordinates, if the potential or the box determines it."""
        said = [getattr(part, "dim", None) for part in (self.potential, self.box)]
        known = [dim for dim in said if dim is not None]
        if len(set(known)) > 1:
            raise ValueError(
                f"UnderdampedLangevin: potential and box must have one dimension, got {said}"
            )
        return known[0] if known else None

    @property
    def speed(self) -> float:
        """Of thermal motion, √(1/(βm)): by which rounding is judged."""
        return sqrt(1 / (self.beta * self.mass))

    def stiffness(self, curvature: float, size: float, t: float) -> float:
        """The largest frequency √(V''/m)."""
        return sqrt(max(curvature, 0.0) / self.mass)

    def step_warning(self, x: Tensor, size: float, t: float) -> str:
        """A warning if steps are long compared with the friction time."""
        half = self.friction * size / 2
        if half <= 0.5:
            return ""
        return (
            f"dt * friction = {2 * half:.2g}: the stationary law is right, but displacements grow "
            f"{half / tanh(half):.3g} times as fast as they should; dt <= {0.3 / self.friction:.1g}"
            " has 1 %"
        )

    def init(self, x: Tensor) -> Tensor:
        """Positions, momenta and forces, stacked in front."""
        state, (inside, _) = x.new_zeros(3, *x.shape), fold(x, self.box)
        state[0], state[2] = inside, self.drift(inside, 0.0)
        return state

    def step(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """The state one step later."""
        if step.number == 0:
            state[1].copy_(self._first_momenta(state[0], noise))
        return self.traced(state, exp(-self.friction * step.size), step, noise)

    def traced(self, state: Tensor, decay: float, step: Step, noise: Draws) -> Tensor:
        """A step with this decay factor of the momentum, for `pdekit.particles.run.compiled`."""
        x, p, force = state
        h, scale = step.size, sqrt(self.mass / self.beta)
        p = p + force * (h / 2)
        x, p = self._flown(x, p, h / 2)
        p = p * decay + noise.at(step.number) * (scale * sqrt(1 - decay * decay))
        x, p = self._flown(x, p, h / 2)
        force = self.drift(x, step.stop)
        return torch.stack((x, p + force * (h / 2), force))

    def _flown(self, x: Tensor, p: Tensor, h: float) -> tuple[Tensor, Tensor]:
        """Free flight, between the walls of the box exactly."""
        x, sign = fold(x + p * (h / self.mass), self.box)
        return x, p if sign is None else p * sign

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """X."""
        return state[0]

    def momenta_of(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """P, also before the first step, by which they are drawn."""
        return self._first_momenta(state[0], noise) if step.number < 0 else state[1]

    def _first_momenta(self, x: Tensor, noise: Any) -> Tensor:
        if self.at_rest:
            return torch.zeros_like(x)
        if self.momenta is None:
            normals: Tensor = noise.at(0, MOMENTUM)
            return normals * sqrt(self.mass / self.beta)
        kind = x.dtype, x.device, noise.particle, 0
        draws = (LawNoise(noise.seed, noise.run + r, *kind) for r in range(len(x)))
        return torch.stack([self.momenta.sample(x.shape[1], draw) for draw in draws])

    def law(self) -> FokkerPlanck:
        """ρ_t = -∂_q(p/m ρ) + ∂_p((V'(q) + c p) ρ) + (c m/β) ∂_p²ρ in the plane (q, p).

        Stationary at exp(-β (V(q) + p²/(2m))); without friction Liouville's equation. Solved by
        ``schemes.SemiLagrangian``. The walls of the box are ``Specular()``. Raises ``ValueError``
        for V of more than one coordinate: the density would be of four and more. Mathematics
        (1.4.7).
        """
        from pdekit.pde.equations import FokkerPlanck

        if self.dim not in (None, 1):
            raise ValueError(
                f"the density of (q, p) is solved in the plane, for V of one coordinate; "
                f"{checks.shown(self.potential)} has {self.dim}, whose density has {2 * self.dim}"
            )
        moves = checks.time_dependent(self.potential)
        force = (MovingPhaseFlow if moves else PhaseFlow)(self.potential, self.mass)
        drag = Quadratic((0.0, self.friction))
        if self.friction == 0:  # Liouville's equation
            if self.box is not None and not self.box.periodic[0]:
                raise ValueError(
                    "Liouville's equation, without friction, takes no walls: give a friction > 0, "
                    "or leave the box out on a grid wider than the density"
                )
            return FokkerPlanck(drag, inf, force)
        noise = ((0.0, 0.0), (0.0, self.friction * self.mass))
        closed = self.box is not None and not self.box.periodic[0]
        ends = (Specular(), False) if closed else None
        walls = None if ends is None else Walls(ends, ends)
        return FokkerPlanck(drag, self.beta, force, noise, walls)

    def start(self, positions: Law) -> Product:
        """The law of (q, p) where particles start from a law of positions."""
        require_law("the law of positions", positions)
        if self.at_rest:
            raise ValueError(
                "momenta at rest have no density: give momenta=Gaussian(0.0, std) instead of "
                "at_rest=True, with a std of two cells or more"
            )
        thermal = Gaussian((0.0,) * positions.dim, sqrt(self.mass / self.beta))
        return Product(positions, thermal if self.momenta is None else self.momenta)


@dataclass(frozen=True)
class PhaseFlow:
    """(p/m, -V'(q)) at points (q, p): Hamilton's equations of V(q) + p²/(2m)."""

    potential: Coefficient
    mass: float

    def __call__(self, x: Any) -> Any:
        """Vectors, of the shape of ``x``."""
        xp = array_namespace(x)
        slope = as_potential(self.potential, 1).grad(x[..., :1])
        return xp.concat((x[..., 1:] / self.mass, -slope), axis=-1)


@dataclass(frozen=True)
class MovingPhaseFlow:
    """The same for V that changes in time."""

    potential: Coefficient
    mass: float

    @property
    def times(self) -> tuple[float, ...]:
        """Those between which V is linear in time, if it has some."""
        return tuple(getattr(self.potential, "times", ()))

    def at(self, t: float) -> PhaseFlow:
        """At time t."""
        return PhaseFlow(at_time(self.potential, t), self.mass)


def _check_momenta(dynamics: UnderdampedLangevin) -> None:
    law, dim = dynamics.momenta, dynamics.dim
    require_law("UnderdampedLangevin: momenta", law)
    assert law is not None
    if dynamics.at_rest:
        raise ValueError("UnderdampedLangevin: give at_rest=True or a law of momenta, not both")
    if not getattr(law, "pointwise", False):
        raise ValueError(
            "UnderdampedLangevin: momenta must be a law of independent particles, which declares "
            f"pointwise = True, such as Gaussian(0.0, 1.0); got {checks.shown(law)}"
        )
    if dim not in (None, law.dim):
        raise ValueError(
            f"UnderdampedLangevin: momenta must have the {dim} coordinate(s) of the potential, got "
            f"{checks.shown(law)} with {law.dim}"
        )
