"""The equations, as statements only (MODEL convention: noise sqrt(2/beta), see docs/model.md).

All are posed on a box with no-flux (homogeneous Neumann) walls, or periodic where the grid is.
"""

from dataclasses import dataclass
from math import isnan
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class Heat:
    """Heat smoothing v_t = (2 beta)^-1 Δv, v(., 0) = f, so v(., t) = G_{t/beta} * f.

    ``beta`` in inverse units of the coordinate squared per time. Mean, maximum principle and
    constants are kept. MODEL 1.1; Kantas et al. (2)-(4).
    """

    beta: float

    def __post_init__(self) -> None:
        _require_beta(self.beta)


@dataclass(frozen=True)
class HamiltonJacobi:
    """Non-viscous smoothing u_t = -|∇u|^2 / 2, u(., 0) = f: the inf-convolution of f.

    u(x, t) = min_y f(y) + |x - y|^2 / (2 t) (Hopf-Lax). MODEL 1.3; thesis (4.15)-(4.16).
    """


@dataclass(frozen=True)
class ViscousHJ:
    """Local entropy u_t = -|∇u|^2 / 2 + (2 beta)^-1 Δu, u(., 0) = f.

    u(., t) = -beta^-1 log(G_{t/beta} * exp(-beta f)) (Cole-Hopf). ``beta`` in inverse units of f.
    MODEL 1.2; thesis (4.1), (4.11).
    """

    beta: float

    def __post_init__(self) -> None:
        _require_beta(self.beta)


@dataclass(frozen=True)
class FokkerPlanck:
    """Density of dX = -∇V dt + sqrt(2/beta) dB: rho_t = ∇·(rho ∇V + beta^-1 ∇rho).

    ``potential`` maps points ``(..., d)`` to values ``(...)``; one that changes in time offers
    ``potential.at(t)``. Mass, sign and the Gibbs state exp(-beta V) are kept exactly by every
    scheme. MODEL 1.4; thesis (4.9) corrected.
    """

    potential: Any
    beta: float
    force: Any = None
    diffusion: Any = None

    def __post_init__(self) -> None:
        _require_drift(self)


@dataclass(frozen=True)
class BackwardKolmogorov:
    """Expectation u(x, t) = E[u_0(X_t) | X_0 = x]: u_t = -∇V·∇u + beta^-1 Δu.

    Time runs as time to go. Its generator is the exact transpose of the Fokker-Planck one, so
    <u(t), rho(T - t)> does not depend on t. MODEL 1.5; thesis (4.7)-(4.8) corrected.
    """

    potential: Any
    beta: float
    force: Any = None
    diffusion: Any = None

    def __post_init__(self) -> None:
        _require_drift(self)


@dataclass(frozen=True)
class McKeanVlasov:
    """Density of infinitely many interacting particles: rho_t = ∇·(rho ∇(V + W * rho) + ∇rho/beta).

    The limit of dX^i = -∇V(X^i) dt - N^-1 Σ_j ∇W(X^i - X^j) dt + sqrt(2/beta) dB^i. A gradient
    flow of F(rho) = ∫ V rho + ½ ∬ W rho rho + beta^-1 ∫ rho log rho, which never increases.
    ``interaction``: ``CurieWeiss(strength)``, W = strength |z|²/2, or ``PairPotential(W)``. On a
    periodic axis W is taken of the shortest displacement. MODEL 1.6; Kantas et al. (5)-(9).
    """

    potential: Any
    beta: float
    interaction: Any

    def __post_init__(self) -> None:
        _require_drift(self)
        if isinstance(self.interaction, type) or not (
            callable(self.interaction) and hasattr(self.interaction, "grad")
        ):
            raise TypeError(
                "interaction must be CurieWeiss(strength) or PairPotential(W); "
                f"got {self.interaction!r}"
            )


@dataclass(frozen=True)
class HamiltonJacobiBellman:
    """Value of min E[u_0(X_t) + ∫(ℓ + |α|^2 / 2)], dX = -(∇V + α) dt + sqrt(2/beta) dB.

    By time to go: u_t = -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu + ℓ, u(., 0) = terminal cost, optimal
    α = ∇u; linear in w = exp(-beta u / 2): w_t = L w - beta ℓ w / 2. ``running_cost`` ℓ maps
    points to values; None is zero. MODEL 1.7; thesis (4.31)-(4.32).
    """

    potential: Any
    beta: float
    running_cost: Any = None

    def __post_init__(self) -> None:
        _require_drift(self)
        if not (self.running_cost is None or callable(self.running_cost)):
            raise TypeError(
                "running_cost must map points (..., d) to values (...), such as "
                f"lambda x: x[..., 0]**2; got {self.running_cost!r}"
            )


def _require_beta(beta: Any) -> None:
    if not isinstance(beta, Real) or isinstance(beta, bool):
        raise TypeError(f"beta is an inverse temperature, a number; got {beta!r}")
    if isnan(beta) or beta <= 0 or beta == float("inf"):
        raise ValueError(
            f"beta must be positive and finite, got {beta}; "
            "for beta = infinity (no noise) use HamiltonJacobi()"
        )


def _require_drift(equation: Any) -> None:
    _require_beta(equation.beta)
    if isinstance(equation.potential, type) or not callable(equation.potential):
        raise TypeError(
            "potential must map points (..., d) to values (...), for example "
            f"pdekit.potentials.DoubleWell(); got {equation.potential!r}"
        )
    for name in ("force", "diffusion"):
        if getattr(equation, name, None) is not None:
            raise ValueError(
                f"{type(equation).__name__}({name}=...) is not solved by this version of pdekit, "
                "which takes gradient drifts and constant diffusion; leave it out"
            )
