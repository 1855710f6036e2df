"""Phase transitions of the Curie-Weiss model: critical points and phase diagrams."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.interactions import CurieWeiss
from pdekit.pde.branches import Branch, follow_branch
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.selfconsistent import MeanMap

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
_TAIL = 45.0  # exp(-45) = 3e-20
_SEARCHED = (1e-3, 1e5)  # inverse temperatures between which a transition is looked for


def critical_beta(potential: Any, interaction: CurieWeiss, dim: int | None = None) -> float:
    """Inverse temperature at which the symmetric state of an even V loses its stability.

    The root of beta λ Var(x) = 1 under the CONFINED state exp(-beta (V + λ |x|²/2)) / Z (MODEL 1.6;
    the variance under exp(-beta V) printed by Kantas et al. p. 6 is erratum 15), in the plane with
    the largest eigenvalue of the covariance. By trapezoidal sums over the whole space, halved until
    they settle to 1e-12: eight digits and more.

    Raises ``ValueError`` where V is not even (there is no pitchfork: see ``follow_branch``) or
    nothing attracts, and ``ConvergenceError`` where no transition lies between 1e-3 and 1e5.
    """
    from scipy.optimize import brentq

    if not isinstance(interaction, CurieWeiss):
        raise TypeError(f"critical_beta takes a CurieWeiss interaction, got {interaction!r}")
    d = getattr(potential, "dim", 1) if dim is None else dim
    _require_even(potential, d)
    if interaction.strength <= 0:
        raise ValueError(f"no transition without attraction: strength {interaction.strength}")

    def excess(log_beta: float) -> float:
        beta = float(np.exp(log_beta))
        return beta * interaction.strength * _variance(potential, interaction, beta, d) - 1

    ends = np.linspace(np.log(_SEARCHED[0]), np.log(_SEARCHED[1]), 28 if d == 1 else 14)
    below = excess(ends[0])
    for low, high in pairwise(ends):
        above = excess(high)
        if below < 0 <= above:
            return float(np.exp(brentq(excess, low, high, xtol=1e-13, rtol=1e-14)))
        below = above
    raise ConvergenceError(
        f"beta λ Var does not rise through one between beta = {_SEARCHED[0]:g} and "
        f"{_SEARCHED[1]:g} for {potential!r} with {interaction!r}"
    )


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """What ``phase_diagram`` found.

    ``data``: over (strength, beta) the number of ``states``, the ``mean`` of the one of least
    ``free_energy`` (the larger of two equal ones), that of the ``others`` (dim ``state``, rising,
    NaN where there are fewer) and whether each is ``stable``. ``critical``: over strength, the
    inverse temperature of the pitchfork (NaN where V is not even, or there is none). ``branches``:
    for each strength, the curves over beta, folds included.
    """

    data: "xr.Dataset"
    critical: "xr.DataArray"
    branches: dict[float, list[Branch]]
    grid: Grid


def phase_diagram(
    potential: Any, betas: ArrayLike, strengths: ArrayLike, grid: Grid | None = None
) -> PhaseDiagram:
    """All self-consistent states of V with Curie-Weiss over inverse temperatures and strengths.

    ``betas`` and ``strengths`` (λ): increasing positive numbers. ``grid`` defaults to a box in
    which every state fits, of 800 cells. Line only. At each strength the branches over beta are
    followed through their folds from the states at both ends of ``betas``. MODEL 1.6.
    """
    import xarray as xr

    betas, strengths = _rising("betas", betas), _rising("strengths", strengths)
    if getattr(potential, "dim", 1) != 1:
        raise ValueError(f"phase_diagram takes a potential on a line, got {potential!r}")
    box = grid or _box(potential, float(betas[0]), 800)
    found = [[_means(potential, b, s, box) for b in betas] for s in strengths]
    most = max(len(means) for row in found for means in row)
    shape = (strengths.size, betas.size)
    means, stable = np.full((*shape, most), np.nan), np.zeros((*shape, most), bool)
    lowest, mean = np.empty(shape), np.empty(shape)
    for i, j in np.ndindex(shape):
        made = _map(potential, float(betas[j]), float(strengths[i]), box)
        states = np.array([made.summary(m) for m in found[i][j]])
        means[i, j, : len(states)], stable[i, j, : len(states)] = found[i][j], states[:, 1] < 1
        lowest[i, j] = states[:, 0].min()
        mean[i, j] = found[i][j][np.flatnonzero(states[:, 0] < lowest[i, j] + 1e-12)[-1]]
    over = ("strength", "beta")
    data = xr.Dataset(
        {
            "states": (over, np.isfinite(means).sum(-1)),
            "mean": (over, mean),
            "free_energy": (over, lowest),
            "others": ((*over, "state"), means),
            "stable": ((*over, "state"), stable),
        },
        coords={"strength": strengths, "beta": betas},
    )
    critical = xr.DataArray(
        [_critical_or_nan(potential, s) for s in strengths],
        coords={"strength": strengths}, dims="strength",
    )  # fmt: skip
    branches = {float(s): _branches(potential, betas, s, box) for s in strengths}
    return PhaseDiagram(data, critical, branches, box)


def _map(potential: Any, beta: float, strength: float, grid: Grid) -> MeanMap:
    equation = McKeanVlasov(potential, float(beta), CurieWeiss(float(strength)))
    return MeanMap.of(equation, grid)


def _means(potential: Any, beta: float, strength: float, grid: Grid) -> list[float]:
    return _map(potential, beta, strength, grid).fixed_points()


def _branches(potential: Any, betas: Array, strength: float, grid: Grid) -> list[Branch]:
    """Curves from the states at the largest, then at the least beta, none of them twice."""
    bounds = (float(betas[0]), float(betas[-1]))
    family = partial(_equation, potential, float(strength))
    made: list[Branch] = []
    for end in bounds[::-1]:
        for mean in _means(potential, end, strength, grid):
            ends = [(b.parameter[k], b.mean[k]) for b in made for k in (0, -1)]
            if not any(abs(p - end) < 1e-9 and abs(m - mean) < 1e-6 for p, m in ends):
                made.append(follow_branch(family, grid, mean, bounds, end))
    return made


def _equation(potential: Any, strength: float, beta: float) -> McKeanVlasov:
    return McKeanVlasov(potential, beta, CurieWeiss(strength))


def _critical_or_nan(potential: Any, strength: float) -> float:
    try:
        return critical_beta(potential, CurieWeiss(float(strength)))
    except (ValueError, ConvergenceError):
        return float("nan")


def _rising(name: str, values: ArrayLike) -> Array:
    array = np.atleast_1d(np.asarray(values, dtype=float))
    if array.ndim != 1 or not (array > 0).all() or not (np.diff(array) > 0).all():
        raise ValueError(f"{name} must be increasing positive numbers, got {values!r}")
    return array


def _require_even(potential: Any, dim: int) -> None:
    probe = np.outer(np.linspace(0.1, 2.3, 12), np.cos(np.arange(dim)))
    there, back = (np.asarray(potential(z), float) for z in (probe, -probe))
    if not np.allclose(there, back, rtol=1e-9, atol=1e-12):
        raise ValueError(
            f"the pitchfork condition needs V(x) = V(-x), which {potential!r} has not; a tilted V "
            "has folds instead: see follow_branch and phase_diagram"
        )


def _reach(energy: Any, beta: float, dim: int) -> float:
    """Half width of a box about 0 beyond which beta times the energy exceeds its least by _TAIL."""
    reach = 0.5
    for _ in range(40):
        line = np.linspace(-2 * reach, 2 * reach, 801)
        points = np.zeros((dim, line.size, dim))
        for axis in range(dim):
            points[axis, :, axis] = line
        values = beta * np.asarray(energy(points))
        outside = np.abs(line) >= reach
        if values[:, outside].min() > values.min() + _TAIL:
            return reach
        reach *= 1.3
    raise ConvergenceError("the confined state does not decay: V + λ|x|²/2 must grow")


def _box(potential: Any, beta: float, cells: int) -> Grid:
    reach = _reach(potential, beta, 1)
    return Grid(-reach, reach, cells)


def _variance(potential: Any, interaction: CurieWeiss, beta: float, dim: int) -> float:
    """Largest eigenvalue of the covariance of exp(-beta (V + λ|x|²/2)) / Z for even V."""

    def energy(x: Array) -> Any:
        return np.asarray(potential(x)) + interaction(x)

    reach, before = _reach(energy, beta, dim), np.inf
    n = 64
    while n <= (1 << 18 if dim == 1 else 1 << 12):
        line = reach * (2 * np.arange(n) + 1 - n) / n
        x = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
        power = beta * energy(x)
        w = np.exp(power.min() - power)
        now = float(np.linalg.eigvalsh((x * w[:, None]).T @ x / w.sum())[-1])
        if abs(now - before) <= 1e-12 * now:
            return now
        before, n = now, 2 * n
    raise ConvergenceError(f"the variance at beta = {beta:g} does not settle")
