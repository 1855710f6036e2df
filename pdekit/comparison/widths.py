"""How minima widen: convex intervals and curvature over time, and the robust width."""

from math import log, pi, sqrt
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pdekit import checks
from pdekit.comparison.semiconcavity import convex_intervals, semiconcavity
from pdekit.grid import Grid
from pdekit.pde.equations import HamiltonJacobi, Heat, ViscousHJ
from pdekit.pde.solution import solve
from pdekit.potentials import as_potential

Array = NDArray[np.float64]
_NODES = {1: 2001, 2: 201}


def widening(
    potential: Any, beta: float, grid: Grid, t: ArrayLike, window: Any = None, step: int = 1
) -> xr.Dataset:
    """The largest curvature over time under local entropy, without viscosity, and under heat.

    A Dataset over ``time``: ``bound`` 1/(1/C + t), C = sup V'' on the box; ``local_entropy``,
    ``non_viscous`` and ``heat`` sup u_xx of ``ViscousHJ``, ``HamiltonJacobi`` and ``Heat``, each
    with its ``allowance_*``; on a line also ``convex_length_*`` and ``convex_number_*`` of the
    intervals on which each is convex. In the plane the largest over the axes.
    Heat keeps sup v_kk from rising but obeys no 1/t bound: beside C exp(-c t/β) of a ripple it
    barely moves at large β. ``window`` and ``step`` as for ``pk.semiconcavity``.
    MODEL 1.1, 1.3, 1.8. Raises as ``pk.solve`` and ``semiconcavity``.
    """
    times = np.concatenate([[0.0], checks.output_times(t)])
    columns: dict[str, Any] = {}
    flows = {"local_entropy": ViscousHJ(beta), "non_viscous": HamiltonJacobi(), "heat": Heat(beta)}
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
    potential: Any, minimum: ArrayLike, tolerance: float, beta: float, longest: float = 100.0
) -> float:
    """The robust width γ* of a minimum x of V: the largest γ* with

        u(x, γ) - V(x) <= tolerance   for all 0 <= γ <= γ*

    where u(., γ) is the local entropy of V (thesis, definition 4.20 and (4.38), with the normalised
    u: errata 22, 23); ``inf`` where the tolerance lasts beyond ``longest``. For a quadratic
    of curvature c on a line γ* = (exp(2 β tolerance) - 1) / c: the flatter, the wider.

    ``minimum``: a number or d <= 2 coordinates. By quadrature, with nodes over 9 standard
    deviations of the Gaussian, the first crossing bracketed on values of γ a factor of 1.05 apart
    from 1e-10 ``longest``: a shorter excursion can be missed.
    Raises ``ValueError`` for a tolerance or beta that is not positive, or more than two
    coordinates.
    """
    from scipy.optimize import brentq

    x = np.atleast_1d(checks.finite("minimum", minimum, "one or two coordinates"))
    if x.ndim != 1 or len(x) not in _NODES:
        raise ValueError(f"minimum must be one or two coordinates, got {minimum!r}")
    for name, value in (("tolerance", tolerance), ("beta", beta), ("longest", longest)):
        checks.positive(name, value)
    energy = as_potential(potential, len(x))
    lowest = float(energy(x))

    def excess(gamma: float) -> float:
        above = _local_entropy(energy, x, beta, gamma) - lowest - tolerance
        if np.isnan(above):
            raise ValueError(
                f"the potential must be finite about the minimum {x.tolist()}; its local entropy "
                f"at gamma = {gamma:.3g} is not a number"
            )
        return above

    below = 0.0
    for gamma in longest * 1.05 ** np.arange(-472.0, 1.0):
        if excess(gamma) > 0:
            return float(brentq(excess, below, gamma, xtol=1e-12 * gamma, rtol=1e-10))
        below = gamma
    return float("inf")


def _local_entropy(energy: Any, x: Array, beta: float, gamma: float) -> float:
    """-β⁻¹ log of the mean of exp(-β V) under N(x, γ/β), by trapezoidal sums."""
    from scipy.special import logsumexp

    d = len(x)
    z = np.linspace(-9, 9, _NODES[d])
    nodes = np.stack(np.meshgrid(*[z] * d, indexing="ij"), -1)
    weights = -(nodes**2).sum(-1) / 2 + d * log((z[1] - z[0]) / sqrt(2 * pi))
    values = -beta * np.asarray(energy(x + sqrt(gamma / beta) * nodes), dtype=float)
    return -float(logsumexp(values + weights)) / beta
