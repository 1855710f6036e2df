"""The equations, as statements only (convention: mathematics 0, noise sqrt(2/beta)).

All are posed on a box with no-flux (homogeneous Neumann) walls, or periodic where the grid is;
other ``Walls`` are specified in the equation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

from pdekit import checks
from pdekit.arrays import Schedule
from pdekit.diffusions import as_diffusion
from pdekit.in_time import beta_in_time, in_time
from pdekit.interactions import of_two_points
from pdekit.lazy import cached_property
from pdekit.pde.hamiltonians import Hamiltonian, require_hamiltonian
from pdekit.protocols import Coefficient, Diffusivity, Interaction
from pdekit.resetting import Resetting, require_resetting
from pdekit.walls import Walls, require_walls, supplies


class Facts:
    """Properties declared by an equation, so that code does not test for its type.

    ``carries_density``: the unknown is a density, which has a mass; ``carries_slope``: it is the
    slope of what solves a Hamilton-Jacobi equation; ``controlled``: it is the value of a control
    problem, which starts from its last cost; ``mean_field``: it makes a part of its own potential.
    ``linear``: a Markov generator makes it, or its transpose for densities, see ``LINEAR``;
    ``first_order``: nothing diffuses; ``looks_backward``: time is time to go;
    ``may_depend_on_time``: coefficients may change in time; ``without_noise``: a density is only
    transported, beta is infinite. ``label``: of a function, on the axes of figures.
    """

    carries_density: ClassVar[bool] = False
    carries_slope: ClassVar[bool] = False
    controlled: ClassVar[bool] = False
    mean_field: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    first_order: ClassVar[bool] = False
    looks_backward: ClassVar[bool] = False
    may_depend_on_time: ClassVar[bool] = False
    may_lack_noise: ClassVar[bool] = False
    label: ClassVar[str] = "u (units of the data)"
    obstacle: Any = None  # what u is kept above by stopping, where the equation takes that

    @cached_property
    def without_noise(self) -> bool:
        """Whether a density is only transported: beta is infinite."""
        return self.may_lack_noise and getattr(self, "beta", None) == inf

    @property
    def loses(self) -> str:
        """By what the mass of a density is lost or gained; "" where it is kept."""
        return ""

    @property
    def supplied(self) -> bool:
        """Whether something is added per time: by a source, or by a wall."""
        return False


@dataclass(frozen=True)
class Heat(Facts):
    """Heat smoothing v_t = (2 beta)^-1 Δv, v(., 0) = f, so v(., t) = G_{t/beta} * f.

    ``beta`` in inverse units of the coordinate squared per time. Mean, maximum principle and
    constants are kept. Mathematics 1.1; Deep relaxation (23); Kantas et al. (2)-(4).
    """

    beta: float
    linear: ClassVar[bool] = True
    label: ClassVar[str] = "smoothed loss v (units of the loss)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.inverse_temperature(self.beta, noiseless=_STILL))


@dataclass(frozen=True)
class _OfHamiltonian(Facts):
    """H, by which nothing diffuses; None is |p|²/2."""

    hamiltonian: Hamiltonian | None = None
    first_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.hamiltonian is not None:
            require_hamiltonian(self.hamiltonian)
        if self.obstacle is not None:
            _require_obstacle(self)


@dataclass(frozen=True)
class HamiltonJacobi(_OfHamiltonian):
    """Non-viscous smoothing u_t = -|∇u|^2 / 2, u(., 0) = f: the inf-convolution of f.

    u(x, t) = min_y f(y) + |x - y|^2 / (2 t) (Hopf-Lax). Mathematics 1.3; thesis (4.15)-(4.16).
    Fronts, arrivals and games: u_t = -H(x, ∇u, t) of place and time, by ``Eikonal(c)``,
    ``Advection(b)``, sums, ``StateDependent`` (mathematics 1.3.7).
    Another ``hamiltonian``, a value of ``pdekit.hamiltonians``, solves u_t = -H(∇u), in the sense
    of viscosity: for convex H the Hopf-Lax formula min_y f(y) + t L((x - y) / t).

    ``obstacle`` ψ, a function of points (and of time, with ``at(t)``): u >= ψ,
    min(u_t + H(∇u), u - ψ) = 0. For convex H a game of two: whoever smooths chooses the path from
    x to pay the least, an opponent may end it at any time s < t and be paid ψ there instead,
    u = inf over paths y, y(0) = x, of max over s <= t of ∫_0^s L(-y') dr + (ψ(y(s), t - s), or
    f(y(t)) at s = t). With H = |p| and L = 0 on |v| <= 1, u <= 0 where {f <= 0} is reached within
    t at unit speed without meeting {ψ > 0}. It starts from max(f, ψ).
    Crandall, Ishii and Lions 1992.
    """

    obstacle: Coefficient | None = None


@dataclass(frozen=True)
class Burgers(_OfHamiltonian):
    """Conservation law p_t + (p^2 / 2)_x = 0 on a line, p(., 0) = f': the slope of u_t = -u_x^2/2.

    Smooth until ``shock_time``; then the entropy solution, with p_x <= 1/t. Fields are averages
    over the cells; on a circle their sum is kept; walls are adjacent to a medium at rest (p = 0).
    Another ``hamiltonian`` H solves p_t + H(p)_x = 0. Mathematics 1.3.
    """

    carries_slope: ClassVar[bool] = True
    label: ClassVar[str] = "slope p (energy/length)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if checks.declared(self.hamiltonian, "of_state"):
            raise ValueError(
                "Burgers takes a Hamiltonian H(p) of the slope alone, not a sum or one of place "
                f"or time; got {checks.shown(self.hamiltonian)}. HamiltonJacobi takes it: p is the "
                "slope of its u"
            )


@dataclass(frozen=True)
class ViscousHJ(Facts):
    """Local entropy u_t = -|∇u|^2 / 2 + (2 beta)^-1 Δu, u(., 0) = f.

    u(., t) = -beta^-1 log(G_{t/beta} * exp(-beta f)) (Cole-Hopf). ``beta`` in inverse units of f.
    Mathematics 1.2; thesis (4.1), (4.11); Deep relaxation (11).

    ``obstacle`` ψ: u >= ψ, min(u_t + |∇u|^2 / 2 - (2 beta)^-1 Δu, u - ψ) = 0, from max(f, ψ): the
    game of ``HamiltonJacobiBellman`` without a potential, at the inverse temperature 2 beta. One
    that moves (``at(t)``) is read at the time t of this equation, not at the time to go.
    """

    beta: float
    obstacle: Coefficient | None = None
    label: ClassVar[str] = "local entropy u (energy)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.inverse_temperature(self.beta, noiseless=_VISCOUS))
        if self.obstacle is not None:
            _require_obstacle(self)


@dataclass(frozen=True)
class _DriftDiffusion(Facts):
    """The fields of dX = (-∇V + force) dt + sqrt(2/beta) σ dB, what its walls do, and its end."""

    potential: Coefficient
    beta: float | Schedule
    force: Coefficient | None = None
    diffusion: Diffusivity | None = None
    walls: Walls | None = None
    killing: float | Coefficient | None = None
    source: float | Coefficient | None = None
    resetting: Resetting | None = None
    linear: ClassVar[bool] = True
    may_depend_on_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("potential", "force", "killing", "source"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, in_time(given))
        _require_drift(self)
        if self.force is not None:
            what = f"{_POINTS} vectors (..., d), such as lambda x: 0.5 * x"
            checks.function("force", self.force, what)
        if self.diffusion is not None:
            object.__setattr__(self, "diffusion", as_diffusion(self.diffusion))
        if self.walls is not None:
            require_walls("walls", self.walls)
        if self.killing is not None:
            object.__setattr__(self, "killing", _per_time("killing", self.killing))
        if self.source is not None:
            object.__setattr__(self, "source", _per_time("source", self.source))
        if self.resetting is not None:
            _require_resetting(self)

    @cached_property
    def loses(self) -> str:
        """By what the mass of a density is lost or gained; "" where it is kept."""
        if self.supplied:
            return "there is a supply"
        if self.resetting is not None:
            return "there is resetting"
        if self.walls is not None:
            return "walls absorb"
        return "there is killing" if self.killing is not None else ""

    @cached_property
    def supplied(self) -> bool:
        """Whether something is added per time: by a source, or by a wall."""
        return self.source is not None or (self.walls is not None and supplies(self.walls))


@dataclass(frozen=True)
class FokkerPlanck(_DriftDiffusion):
    """Density of dX = (-∇V + force) dt + sqrt(2/beta) σ dB, D = σσᵀ, as Itô reads it:

    rho_t = ∇·(rho (∇V - force)) + beta^-1 Σ_ij ∂_i ∂_j (D_ij rho); with D = 1 and no force,
    rho_t = ∇·(rho ∇V + beta^-1 ∇rho), whose Gibbs state exp(-beta V) every scheme keeps exactly.
    Mass (but for what walls absorb and killing takes) and sign are kept always. Mathematics 1.4,
    1.11; thesis (4.9) corrected, (6.8).

    ``potential`` maps points ``(..., d)`` to values ``(...)``. ``force`` maps points to vectors
    ``(..., d)``. ``diffusion`` is a number, a matrix, or a function of points with values
    ``(...)`` or ``(..., d, d)``, positive semidefinite (zero in one direction for kinetic
    equations); wrap it in ``diffusions.Stratonovich`` or ``HaenggiKlimontovich`` for the other
    readings of the noise. Any of them may be time-dependent: it then has ``at(t)``, its value at
    time t (``InTime``), and, if it is linear in time between stored ``times``, these. ``beta``
    may be a function of time, such as ``lambda t: 1 + t`` or the schedule of an annealing.
    ``walls`` says which absorb, and how much (``Walls``); without it they are no-flux.
    ``killing`` k adds -k rho: a number, or a function of points with values ``(...)``, of a rate
    where it is positive, of growth where it is negative. Constant killing is exact in time.
    ``source`` s >= 0 adds s to rho_t, a number or a function likewise; so do walls that let in
    (``Inflow``) or hold a density (``Held``).
    ``resetting``, a ``Resetting(rate, law)``, whose rate may be a function of time, goes with walls
    that reflect alone.

    ``beta = math.inf``: no noise, rho_t = ∇·(rho (∇V - force)), by ``schemes.Upwind`` or, on a
    line, ``schemes.Quantiles``; mass then gathers in the wells, and is narrower than any cells in
    the end. A ``diffusion``, ``walls``, ``killing``, ``source`` and
    ``resetting`` are refused.
    """

    carries_density: ClassVar[bool] = True
    may_lack_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("diffusion", "walls", "killing", "source", "resetting"):
            if self.without_noise and getattr(self, name) is not None:
                raise ValueError(
                    f"FokkerPlanck without noise (beta = inf) takes no {name}, got "
                    f"{checks.shown(getattr(self, name))}; leave it out, or give a finite beta"
                )


@dataclass(frozen=True)
class BackwardKolmogorov(_DriftDiffusion):
    """Expectation u(x, t) = E[u_0(X_t) | X_0 = x]: u_t = (-∇V + force)·∇u + beta^-1 D:∇²u - k u.

    With a ``killing`` rate k and a ``source`` s (of any sign, what is earned per time),
    E[u_0(X_t) K_t + ∫ s(X_r) K_r dr], K_t = exp(-∫ k(X_r) dr) (Feynman and Kac). Where a wall is
    ``Held`` u has that value, paid once on absorption; ``Inflow`` is of densities and refused.

    Time is the time to go s, and time-dependent coefficients are evaluated at t = T - s,
    with T the last requested time: the motion ends at T, and ``solve(..., t=[s_1, ..., T])`` has
    at s_k the expectation from time T - s_k on. Its generator is the exact transpose of the
    Fokker-Planck one with the same fields, so <u(t), rho(T - t)> does not depend on t; u
    = 0 at absorbing walls, beta^-1 n·D∇u = -rate u where they absorb in part. Mathematics 1.5;
    thesis (4.7)-(4.8) corrected.

    ``obstacle`` ψ: the value of optimal stopping, the largest expectation over stopping times τ <=
    t of ψ(X_τ) K_τ + ∫_0^τ s K dr (u_0(X_t) K_t in place of the first if τ = t), which solves
    min(u_t - L u + k u - s, u - ψ) = 0 and u >= ψ. ψ is a function of points, and of the time of
    the motion if it has ``at(t)``; a large negative number where nobody may stop. Since one may
    stop at once, u starts from max(u_0, ψ). An American put on S = exp(x) with rate r and
    volatility σ has beta = 2/σ², V = -(r - σ²/2) x, killing r, u_0 = ψ = max(K - exp(x), 0).
    Without ``resetting``. Peskir and Shiryaev 2006.
    """

    obstacle: Coefficient | None = None
    looks_backward: ClassVar[bool] = True
    label: ClassVar[str] = "expectation u (units of the data)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.obstacle is None:
            return
        _require_obstacle(self)
        if self.resetting is not None:
            raise ValueError(
                "resetting and an obstacle do not go together (what comes back would depend on "
                f"the value at all places); got resetting={checks.shown(self.resetting)}: leave "
                "one of the two out"
            )


@dataclass(frozen=True)
class McKeanVlasov(Facts):
    """Density of infinitely many interacting particles: rho_t = ∇·(rho ∇(V + W * rho) + ∇rho/beta).

    The limit of dX^i = -∇V(X^i) dt - N^-1 Σ_j ∇W(X^i - X^j) dt + sqrt(2/beta) dB^i. A gradient
    flow of F(rho) = ∫ V rho + ½ ∬ W rho rho + beta^-1 ∫ rho log rho, which never increases.
    ``interaction``: ``CurieWeiss(strength)``, W = strength |z|²/2, ``PairPotential(W)``, or of two
    points ``FeatureInteraction(features)``, ``KernelInteraction(U)``, where W * rho stands for
    ∫ U(x, y) rho(dy). On a periodic axis W is evaluated at the shortest displacement. The mass of
    the initial density is kept as given: W * rho, and so the dynamics, are those of particles where
    it is one. ``beta = math.inf``: no noise; then ``schemes.Upwind`` or, on a line,
    ``schemes.Quantiles``. Mathematics 1.6, 1.13; Kantas et al. (5)-(9).
    """

    potential: Coefficient
    beta: float
    interaction: Interaction
    carries_density: ClassVar[bool] = True
    mean_field: ClassVar[bool] = True
    may_lack_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_drift(self)
        sums = hasattr(self.interaction, "grad") or of_two_points(self.interaction)
        if isinstance(self.interaction, type) or not (callable(self.interaction) and sums):
            raise TypeError(
                "interaction must be CurieWeiss(strength), PairPotential(W), "
                "FeatureInteraction(features) or KernelInteraction(U); "
                f"got {checks.shown(self.interaction)}"
            )


@dataclass(frozen=True)
class HamiltonJacobiBellman(Facts):
    """Value of min E[u_0(X_t) + ∫(ℓ + |α|^2 / 2)], dX = -(∇V + α) dt + sqrt(2/beta) dB.

    By time to go: u_t = -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu + ℓ, u(., 0) = terminal cost, optimal
    α = ∇u; linear in w = exp(-beta u / 2): w_t = L w - beta ℓ w / 2. ``running_cost`` ℓ maps
    points to values; None is zero. A potential or a running cost that changes in time (``InTime``)
    is read at T - t, T the last time to go asked for, by the default scheme and by
    ``PolicyIteration``. Mathematics 1.7; thesis (4.31)-(4.32).

    ``obstacle`` ψ: a game of two, min over α max over stopping times τ <= t of
    E[∫_0^τ (ℓ + |α|^2 / 2) + ψ(X_τ)] (u_0(X_t) in place of ψ if τ = t): α pays, and an opponent who
    is paid says when to stop. Then min(u_t - F(u), u - ψ) = 0, F(u) the right-hand side above, and
    u >= ψ. ψ maps points to values (and has ``at(t)``, t the time of the motion, if it moves);
    it starts from max(u_0, ψ).
    """

    potential: Coefficient
    beta: float
    running_cost: Coefficient | None = None
    obstacle: Coefficient | None = None
    looks_backward: ClassVar[bool] = True
    controlled: ClassVar[bool] = True
    label: ClassVar[str] = "value u (energy)"

    def __post_init__(self) -> None:
        _require_drift(self)
        object.__setattr__(self, "running_cost", in_time(self.running_cost))
        if self.running_cost is not None:
            what = f"{_POINTS} values (...), such as lambda x: x[..., 0]**2"
            checks.function("running_cost", self.running_cost, what)
        if self.obstacle is not None:
            _require_obstacle(self)


# those that have a generator, and are solved by whatever needs no more than it
LINEAR = (FokkerPlanck, BackwardKolmogorov, Heat)


def frozen(equation: Any, t: float) -> Any:
    """The equation with its coefficients frozen at time ``t``."""
    changed = {
        name: getattr(equation, name).at(t)
        for name in _MAY_MOVE
        if checks.time_dependent(getattr(equation, name, None))
    }
    reading = getattr(equation, "diffusion", None)
    if reading is not None and checks.time_dependent(reading.D):
        changed["diffusion"] = replace(reading, D=reading.D.at(t))
    resetting = getattr(equation, "resetting", None)
    if resetting is not None and checks.time_dependent(resetting.rate):
        changed["resetting"] = replace(resetting, rate=resetting.rate.at(t))
    return replace(equation, **changed)


_MAY_MOVE = ("potential", "beta", "force", "killing", "source", "running_cost")


def moving(equation: Any) -> list[Any]:
    """The coefficients of an equation that change in time."""
    reading = getattr(equation, "diffusion", None)
    parts = [
        part
        for name in _MAY_MOVE
        if not isinstance(part := getattr(equation, name, None), float | None)
    ]
    if reading is not None:
        parts.append(reading.D)
    if getattr(equation, "resetting", None) is not None:
        parts.append(equation.resetting.rate)
    return [part for part in parts if checks.time_dependent(part)]


_POINTS = "map points (..., d) to"
_STILL = "without noise nothing is smoothed by heat; by slopes use HamiltonJacobi()"
_VISCOUS = "without noise it is HamiltonJacobi()"
_NOISELESS = "without noise are HamiltonJacobi(), FokkerPlanck(V, inf) and McKeanVlasov(V, inf, W)"


def _require_resetting(equation: Any) -> None:
    require_resetting("resetting", equation.resetting)
    for name in ("walls", "killing", "source"):
        if getattr(equation, name) is not None:
            raise ValueError(
                f"resetting goes with walls that reflect, where the mass is kept; got {name}="
                f"{checks.shown(getattr(equation, name))} as well: leave one of the two out"
            )


def _require_obstacle(equation: Any) -> None:
    what = f"{_POINTS} values (...), such as lambda x: 1 - x[..., 0]**2"
    checks.function("obstacle", equation.obstacle, what)


def _per_time(name: str, value: Any) -> Any:
    """A rate of killing, or a source: a number, or a function of points."""
    if callable(value) or checks.time_dependent(value):
        checks.function(name, value, f"{_POINTS} rates (...), such as lambda x: x[..., 0]**2")
        return value
    return checks.number(name, value, "a finite number, or a function of points")


def _require_drift(equation: Any) -> None:
    beta = equation.beta
    if equation.may_depend_on_time and callable(beta):
        beta = beta_in_time(beta)
    else:
        beta = checks.inverse_temperature(beta, equation.may_lack_noise, _NOISELESS)
    object.__setattr__(equation, "beta", beta)
    what = f"{_POINTS} values (...), for example pdekit.potentials.DoubleWell()"
    checks.function("potential", equation.potential, what)
