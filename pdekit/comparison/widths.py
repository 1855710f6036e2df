"""Widening of minima: convex intervals and curvature over time, and the robust width."""

from __future__ import annotations

from math import log1p, sqrt
from typing import Any

import numpy as np
import xarray as xr

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.semiconcavity import Window, convex_intervals, semiconcavity
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.equations import HamiltonJacobi, Heat, ViscousHJ
from pdekit.pde.solution import solve
from pdekit.potentials import as_potential
from pdekit.protocols import Corner, Equation, Function, Times

_NODES = {1: 1025, 2: 129}
_MOST = {1: 1 << 17, 2: 2100}


def widening(
    potential: Function,
    beta: float,
    grid: Grid,
    t: Times,
    window: Window = None,
    step: int = 1,
) -> xr.Dataset:
    """The largest curvature over time under local entropy, without viscosity, and under heat.

    A Dataset over ``time``: ``bound`` 1/(1/C + t), C >= sup V'' on the box as `semiconcavity` has
    it; ``local_entropy``, ``non_viscous`` and ``heat`` sup u_xx of ``ViscousHJ``,
    ``HamiltonJacobi`` and ``Heat``, each with its ``allowance_*``; on a line also
    ``convex_length_*`` and ``convex_number_*`` of the intervals on which each is convex. In the
    plane the largest over the axes.
    Heat does not increase sup v_kk but satisfies no 1/t bound: for a ripple it decays as C exp(-c
    t/β), hardly at all at large β. ``window`` and ``step`` as for ``pk.semiconcavity``.
    Mathematics 1.1, 1.3, 1.8. Raises as ``pk.solve`` and ``semiconcavity``.
    """
    checks.fixed("potential", potential)
    times = np.concatenate([[0.0], checks.output_times(t)])
    columns: dict[str, Any] = {}
    flows: dict[str, Equation] = {
        "local_entropy": ViscousHJ(beta),
        "non_viscous": HamiltonJacobi(),
        "heat": Heat(beta),
    }
    for name, equation in flows.items():
        solution = solve(equation, grid, potential, times[times > 0])
        found = semiconcavity(solution, potential, window=window, step=step).data
        axes = [2 * axis for axis in grid.names]
        columns[name] = np.max([found[f"sup_{k}"].values for k in axes], axis=0)
        allowed = np.max([found[f"allowance_{k}"].values for k in axes], axis=0)
        columns[f"allowance_{name}"] = allowed
        columns["bound"] = np.max([found[f"bound_{k}"].values for k in axes], axis=0)
        if grid.dim == 1:
            spans = [convex_intervals(u, window=window) for u in solution.u]
            columns[f"convex_length_{name}"] = np.array([s.length for s in spans])
            columns[f"convex_number_{name}"] = np.array([s.number for s in spans])
    data = {name: ("time", values) for name, values in columns.items()}
    return xr.Dataset(data, coords={"time": times[times > 0]})


def robust_width(
    potential: Function, minimum: Corner, tolerance: float, beta: float, longest: float = 100.0
) -> float:
    """The robust width γ* of a minimum x of V: the largest γ* with

        u(x, γ) - V(x) <= tolerance   for all 0 <= γ <= γ*

    where u(., γ) is the local entropy of V (thesis, definition 4.20 and (4.38), with the normalised
    u: errata 22, 23); ``inf`` if the tolerance is not reached up to ``longest``. For a quadratic
    of curvature c on a line γ* = (exp(2 β tolerance) - 1) / c: the flatter, the wider.

    ``minimum``: a number or d <= 2 coordinates. By quadrature, with nodes over 9 standard
    deviations of the Gaussian, the first crossing bracketed on values of γ a factor of 1.05 apart
    from 1e-10 ``longest``: shorter excursions can be missed.
    Raises ``ValueError`` for a tolerance or beta that is not positive, or more than two
    coordinates, ``ConvergenceError`` where V is too rough for the quadrature.
    """
    from scipy.optimize import brentq

    x = np.atleast_1d(checks.finite("minimum", minimum, "one or two coordinates"))
    if x.ndim != 1 or len(x) not in _NODES:
        raise ValueError(f"minimum must be one or two coordinates, got {minimum!r}")
    for name, value in (("tolerance", tolerance), ("beta", beta), ("longest", longest)):
        checks.positive(name, value)
    checks.fixed("potential", potential)
    energy = as_potential(potential, len(x))
    checks.finite("potential", energy(x), "finite at the minimum")

    def excess(gamma: float) -> float:
        return _rise(energy, x, beta, gamma, tolerance) - tolerance

    below = 0.0
    for gamma in longest * 1.05 ** np.arange(-472.0, 1.0):
        if excess(gamma) > 0:
            if below == 0:  # narrower than all tested widths
                below = gamma
                while below > 1e-30 * gamma and excess(below) > 0:
                    below /= 16
                if excess(below) > 0:
                    raise ValueError(
                        f"tolerance must last beyond gamma = {below:.3g}; got {tolerance:.3g}, "
                        "exceeded there: take a larger tolerance, or a smaller longest"
                    )
            return float(brentq(excess, below, gamma, xtol=1e-300, rtol=1e-10, maxiter=500))
        below = gamma
    return float("inf")


def _rise(energy: Any, x: Array, beta: float, gamma: float, tolerance: float) -> float:
    """u(x, γ) - V(x) with the number of nodes doubled until two results agree."""
    n = _NODES[len(x)]
    while n <= _MOST[len(x)]:
        fine, coarse, size = _sums(energy, x, beta, gamma, n)
        if abs(fine - coarse) <= max(1e-6 * max(tolerance, abs(fine)), 1e-13 * size):
            return fine
        n = 2 * n - 1
    raise ConvergenceError(
        f"V changes too fast for its mean over a width of {sqrt(gamma / beta):.3g} on {n} nodes an "
        f"axis (gamma = {gamma:.3g}); give a smaller `longest`, or a smoother V"
    )


def _sums(energy: Any, x: Array, beta: float, gamma: float, n: int) -> tuple[float, float, float]:
    """-β⁻¹ log of the mean of exp(-β (V - V(x))) under N(x, γ/β), on n nodes and on half of them.

    And the sum of absolute values, which bounds rounding.

    Trapezoidal sums over s with z = 9 sinh(8 s) / sinh(8) standard deviations: dense near x, as
    needed for narrow wells.
    """
    from scipy.special import logsumexp

    d, s = len(x), np.linspace(-1, 1, n)
    z, dz = 9 * np.sinh(8 * s) / np.sinh(8), 72 * np.cosh(8 * s) / np.sinh(8)
    nodes = np.stack(np.meshgrid(*[z] * d, indexing="ij"), -1)
    one = np.log(dz) - z**2 / 2
    log_weights = one if d == 1 else one[:, None] + one
    with np.errstate(over="ignore"):
        rise = np.asarray(energy(x + sqrt(gamma / beta) * nodes), dtype=float) - float(energy(x))
        power = np.nan_to_num(-beta * rise, nan=-np.inf)
    found = []
    for step in (1, 2):
        some = (slice(None, None, step),) * d
        p, w = power[some], log_weights[some]
        w = w - logsumexp(w)
        terms = np.exp(w) * np.expm1(np.minimum(p, 700.0))
        total, size = float(terms.sum()), float(np.abs(terms).sum()) / beta
        if not -0.5 < total < 1e6:
            found.append(-float(logsumexp(p + w)) / beta)
        else:  # accurate for small rises
            found.append(-log1p(total) / beta)
    return found[0], found[1], size
