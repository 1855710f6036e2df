"""Phase transitions of interacting particles: critical points and phase diagrams."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.grid import Grid, require_grid
from pdekit.interactions import CurieWeiss, is_quadratic, of_two_points
from pdekit.pde.discrete.sampling import called
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.branches import Branch, follow_branch
from pdekit.pde.phases.self_consistent import MeanMap, self_consistent_states
from pdekit.pde.phases.symmetric import OTHERS, critical_beta_on_grid
from pdekit.protocols import Function, Interaction, Numbers
from pdekit.storage.result import Result, Rows

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_WIDENINGS, _NARROWEST = 160, 1e-12  # of a box by 1.3, from a half; its least half width
_TAIL = 45.0  # exp(-45) = 3e-20
_LARGEST = 1e8  # limits of strengths and inverse temperatures of a diagram
_SEARCHED = (1e-3, 1e5)  # range of inverse temperatures in which a transition is searched
_CLEAR = 1e-9  # tolerance of a response, above rounding
_PEAK = 1e-3  # of log beta: how well the peak of a response is found
_WELLS = 12  # among which other states are looked for
SEE = "see self_consistent_states over beta, and follow_branch"
_LOOKED, _LOOKS = (1e-2, 1e3), 26  # inverse temperatures at which other states are looked for


def critical_beta(
    potential: Function,
    interaction: Interaction,
    dim: int | None = None,
    grid: Grid | None = None,
) -> float:
    """Inverse temperature at which the symmetric state of an even V loses its stability.

    Curie-Weiss: the root of beta λ Var(x) = 1 under the CONFINED state exp(-beta (V + λ|x|²/2)) / Z
    (mathematics 1.6; the variance under exp(-beta V) printed by Kantas et al. p. 6 is erratum 15),
    in the plane with the largest eigenvalue of the covariance. By trapezoidal sums over the whole
    space, halved until they converge to 1e-12: at least eight digits.

    Any pair potential, with a ``grid`` about whose middle V is even: the least beta at which the
    second variation of the free energy at the symmetric state, that is the leading eigenvalue of
    the linearised equation, passes zero: largest eigenvalue of -beta W in the covariance of rho
    = 1. The state is followed from high temperatures. Kuramoto's oscillators of strength K (V = 0,
    a circle of 2π): beta K = 2. Sums over the cells, so the bifurcation is that of ``solve`` there.

    Transitions of first order, at which the symmetric state stays stable, are not looked for: the
    error says so, and on a line from where on Curie-Weiss has other states.
    Where states of another mean exist before (a transition of first order), an ``AccuracyWarning``
    says so; a ``TruncationWarning``, where the state reaches the walls of the grid, that the
    box matters. Raises ``ValueError`` where V is not even (no pitchfork then: see
    ``follow_branch``), flat or time-dependent, W is not attractive, or a pair potential is given
    without a grid, and ``ConvergenceError`` where no transition lies between 1e-3 (on a grid: a
    twentieth over the range of W) and 1e5, or only one that the cells of the grid do not resolve.
    """
    from scipy.optimize import brentq

    require_grid("grid", grid, optional=True)
    dim = None if dim is None else checks.whole("dim", dim, 1)
    _require_still(potential)
    checks.value_not_class("interaction", interaction)
    if of_two_points(interaction):
        raise ValueError(
            f"critical_beta takes W(x - y), which keeps the symmetry of an even V; got "
            f"{interaction!r}, of two points: see follow_branch and self_consistent_states"
        )
    if grid is not None:
        return critical_beta_on_grid(potential, interaction, grid)
    if not is_quadratic(interaction):
        raise ValueError(
            f"{interaction!r} needs a grid for its states: critical_beta(V, W, grid=grid); only "
            "CurieWeiss works without one"
        )
    d = getattr(potential, "dim", 1) if dim is None else dim
    _require_even(potential, d)
    if interaction.strength <= 0:
        raise ValueError(
            "there is no transition without attraction: expected a strength above 0, got "
            f"{interaction.strength}"
        )

    def excess(log_beta: float) -> float:
        beta = float(np.exp(log_beta))
        return beta * interaction.strength * _variance(potential, interaction, beta, d) - 1

    ends = np.linspace(np.log(_SEARCHED[0]), np.log(_SEARCHED[1]), 109 if d == 1 else 28)
    # for flat V it is zero at any beta: rounding is not a crossing
    negative, largest = None, 0.0
    for place, value in _with_peaks(excess, ends):
        largest = max(largest, abs(value))
        if value > _CLEAR and negative is not None:
            found = float(np.exp(brentq(excess, negative, place, xtol=1e-13, rtol=1e-14)))
            _warn_if_first_order(potential, interaction, found, d)
            return found
        if value < -_CLEAR or (value < 0 and negative is not None):
            negative = place
    if largest < _CLEAR:
        raise ValueError(
            f"{potential!r} is flat where the particles are: beta λ Var = 1 at every beta, and no "
            "temperature is critical. Use a potential with two wells"
        )
    raise ConvergenceError(
        f"beta λ Var does not rise through one between beta = {_SEARCHED[0]:g} and "
        f"{_SEARCHED[1]:g} for {potential!r} with {interaction!r}: the symmetric state stays "
        f"stable, with no continuous transition. {_of_first_order(potential, interaction, d)}"
    )


def _with_peaks(f: Callable[[float], float], ends: Array) -> Iterator[tuple[float, float]]:
    """Places and f there: the ends, and peaks between them, each after the end to its left."""
    from scipy.optimize import minimize_scalar

    seen: list[tuple[float, float]] = []
    for place in map(float, ends):
        seen = [*seen[-2:], (place, f(place))]
        values = [value for _, value in seen]
        if len(seen) == 3 and values[0] < values[1] >= values[2] and values[1] < -_CLEAR:
            peak = minimize_scalar(lambda x: -f(x), bounds=(seen[0][0], place), method="bounded",
                                   options={"xatol": _PEAK})  # fmt: skip
            yield from (seen[0], (float(peak.x), -float(peak.fun)))
        yield seen[-1]


def _of_first_order(potential: Any, interaction: CurieWeiss, dim: int) -> str:
    """What is known of other states, which come into being at a distance from the symmetric one."""
    if dim > 1:
        return OTHERS
    born = lower = None
    for beta in np.geomspace(*_LOOKED, _LOOKS):
        try:
            mean, gain = _other_state(potential, interaction, float(beta))
        except ConvergenceError:
            continue
        except _ManyWells:
            return f"Other states are not looked for among more than {_WELLS} wells; {SEE}"
        if mean and born is None:
            born = f"states of mean {mean:.3g} are there from below beta = {beta:.3g} on"
        if mean and gain > 0:
            lower = f" and of less free energy from below beta = {beta:.3g} on: a first-order one"
            break
    found = f"Other {born}" if born else "No other states are found on a line"
    return f"{found}{lower or ''}; {SEE}"


class _ManyWells(Exception):
    """Too many to look for the states of each, only to tell of them in an error."""


def _other_state(potential: Any, interaction: CurieWeiss, beta: float) -> tuple[float, float]:
    """The mean of the state of least free energy off the middle (0 for none), and by how much it
    is below that of the middle."""
    reach = _reach(lambda x: np.asarray(potential(x)) + interaction(x), beta, 1)
    means = MeanMap.of(McKeanVlasov(potential, beta, interaction), Grid(-reach, reach, 500))
    V = means.V
    if np.count_nonzero((V[1:-1] < V[:-2]) & (V[1:-1] <= V[2:])) > _WELLS:
        raise _ManyWells
    others = [m for m in means.fixed_points() if m > 1e-3 * reach]
    if not others:
        return 0.0, 0.0
    energy, mean = min((means.summary(m)[0], m) for m in others)
    return mean, means.summary(0.0)[0] - energy


def _warn_if_first_order(potential: Any, interaction: CurieWeiss, beta: float, dim: int) -> None:
    """Warn where broken states exist before the symmetric one loses stability (on a line)."""
    if dim > 1:
        return
    reach = _reach(lambda x: np.asarray(potential(x)) + interaction(x), 0.999 * beta, 1)
    line = Grid(-reach, reach, 2000)
    means = MeanMap.of(McKeanVlasov(potential, 0.999 * beta, interaction), line).fixed_points()
    if any(abs(m) > 1e-3 * reach for m in means):
        warnings.warn(
            f"at 0.999 of beta = {beta:.6g}, where the symmetric state loses its stability, there "
            f"are states of mean {max(means):.3g} already: the transition is of first order and "
            "earlier; see phase_diagram and the free energies of self_consistent_states",
            AccuracyWarning,
            stacklevel=3,
        )


def _require_still(potential: Any) -> None:
    """Check that a potential does not depend on time."""
    checks.function("potential", potential, "map points (..., d) to values (...)")
    checks.fixed("potential", potential)


@dataclass(frozen=True, eq=False, repr=False)
class PhaseDiagram(Result):
    """The result of ``phase_diagram``.

    ``data``: over (strength, beta) the number of ``states``, the ``mean`` of the one of least
    ``free_energy`` (the last of equal ones, by increasing mean), the means of all (``others``, dim
    ``state``, by increasing mean, NaN where there are fewer), and their ``energies``, whether each
    is ``stable``, and ``response``. In the plane means have a last dimension ``component``.
    ``critical``: over strength, the inverse temperature of the pitchfork (NaN where V is not even,
    or there is none). ``branches``: for each strength, the curves over beta, folds included.
    """

    data: xr.Dataset
    critical: xr.DataArray
    branches: dict[float, list[Branch]]
    grid: Grid

    def plot(self, ax: Axes | None = None, component: int = 0) -> Axes:
        """Draw the means of all states over β; returns the axes.

        Branches of stable states are drawn through, of unstable ones dashed; dots are the states
        at the ``betas``, hollow if unstable; the pitchforks are dotted. ``component`` of the mean.
        """
        from pdekit.pictures import phases

        return phases.plot(self, ax, component)

    def _said(self) -> tuple[str, Rows]:
        from pdekit.pictures import words

        return words.of_phases(self)

    def _parts(self) -> dict[str, Any]:
        kept = ("data", "critical", "branches", "grid")
        return {name: getattr(self, name) for name in kept}


def phase_diagram(
    potential: Function,
    betas: Numbers,
    strengths: Numbers,
    grid: Grid | None = None,
    interaction: Callable[[float], Interaction] = CurieWeiss,
) -> PhaseDiagram:
    """All self-consistent states of V over inverse temperatures and strengths of an interaction.

    ``betas`` and ``strengths`` (λ): increasing positive numbers. ``interaction`` makes W from a
    strength: ``CurieWeiss``, or ``lambda s: PairPotential(GaussianWell(s, 0.5))``. ``grid``
    defaults to a box that contains every Curie-Weiss state, of 800 cells on a line, of 32² in
    the plane; other interactions need one. At each strength the branches over beta are followed
    through their folds from the states at both ends of ``betas`` (none for a single one).
    Curie-Weiss on a line finds all states; else they are those that ``self_consistent_states``
    finds, at seconds a point in the plane. Mathematics 1.6.
    """
    import xarray as xr

    require_grid("grid", grid, optional=True)
    _require_still(potential)
    betas, strengths = _rising("betas", betas), _rising("strengths", strengths)
    box = grid or _box(potential, float(betas[0]), interaction)

    def equation(strength: float, beta: float) -> McKeanVlasov:
        return McKeanVlasov(potential, beta, interaction(strength))

    found = {
        (float(s), float(b)): self_consistent_states(equation(float(s), float(b)), box)
        for s in strengths
        for b in betas
    }
    own = None if is_quadratic(interaction(float(strengths[0]))) else grid
    critical = [_critical_or_nan(potential, interaction(float(s)), own) for s in strengths]
    branches = {
        float(s): _branches(
            partial(equation, float(s)), box, {b: found[float(s), b] for b in betas.tolist()}
        )
        for s in strengths
    }
    curve = xr.DataArray(critical, coords={"strength": strengths}, dims="strength")
    return PhaseDiagram(_table(found, strengths, betas), curve, branches, box)


def _table(found: dict[tuple[float, float], list[Any]], strengths: Array, betas: Array) -> Any:
    """The states as a Dataset."""
    import xarray as xr

    shape, most = (strengths.size, betas.size), max(map(len, found.values()))
    components = np.shape(next(iter(found.values()))[0].mean)
    means = np.full((*shape, most, *components), np.nan)
    energies, response = np.full((2, *shape, most), np.nan)
    stable, mean = np.zeros((*shape, most), bool), np.empty((*shape, *components))
    for i, j in np.ndindex(shape):
        states = found[float(strengths[i]), float(betas[j])]
        for k, state in enumerate(states):
            means[i, j, k], energies[i, j, k] = state.mean, state.free_energy
            stable[i, j, k], response[i, j, k] = state.stable, state.response
        lowest = np.nanmin(energies[i, j])
        level = lowest + 1e-12 * (abs(lowest) + 1 / betas[j])  # equal, but for rounding
        mean[i, j] = means[i, j, np.flatnonzero(energies[i, j] <= level)[-1]]
    over, last = ("strength", "beta"), ("component",) * len(components)
    return xr.Dataset(
        {
            "states": (over, np.isfinite(energies).sum(-1)),
            "mean": ((*over, *last), mean),
            "free_energy": (over, np.nanmin(energies, -1)),
            "others": ((*over, "state", *last), means),
            "energies": ((*over, "state"), energies),
            "stable": ((*over, "state"), stable),
            "response": ((*over, "state"), response),
        },
        coords={"strength": strengths, "beta": betas},
    )


def _branches(
    family: Callable[[float], McKeanVlasov], grid: Grid, found: dict[float, list[Any]]
) -> list[Branch]:
    """Curves from the states at the largest, then at the least beta, without duplicates."""
    bounds = (min(found), max(found))
    made: list[Branch] = []
    if bounds[0] == bounds[1]:
        return made
    for end in bounds[::-1]:
        for state in found[end]:
            if not any(_ends_at(branch, end, state, grid) for branch in made):
                made.append(follow_branch(family, grid, state, bounds, end))
    return made


def _ends_at(branch: Branch, parameter: float, state: Any, grid: Grid) -> bool:
    """Whether the first or the last point of a branch is this state, up to the errors of both."""
    width = np.subtract(grid.upper, grid.lower)
    energy = abs(state.free_energy) + 1 / parameter
    return any(
        abs(branch.parameter[k] - parameter) < 1e-9 * parameter
        and (np.abs(np.subtract(branch.mean[k], state.mean)) / width).max() < 2e-7
        and abs(branch.free_energy[k] - state.free_energy) < 1e-8 * energy
        for k in (0, -1)
    )


def _critical_or_nan(potential: Any, interaction: Any, grid: Grid | None) -> float:
    try:
        return critical_beta(potential, interaction, grid=grid)
    except (ValueError, ConvergenceError):
        return float("nan")


def _rising(name: str, values: ArrayLike) -> Array:
    array = np.atleast_1d(checks.finite(name, values, "increasing positive numbers"))
    if array.ndim != 1 or not array.size or not (array > 0).all() or not (np.diff(array) > 0).all():
        raise ValueError(f"{name} must be increasing positive numbers, got {values!r}")
    if array[-1] > _LARGEST:
        raise ValueError(f"{name} must be at most {_LARGEST:g}, got {checks.shown(values)}")
    return array


def _require_even(potential: Any, dim: int) -> None:
    probe = np.outer(np.linspace(0.1, 2.3, 12), np.cos(np.arange(dim)))
    there, back = (called("the potential", potential, z) for z in (probe, -probe))
    if there.shape != (len(probe),):
        raise ValueError(
            f"the potential must map points of shape {probe.shape} to values of shape "
            f"({len(probe)},), got shape {there.shape}"
        )
    for points, values in ((probe, there), (-probe, back)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"the potential must be finite; {potential!r} is {values[bad[0]]} at "
                f"{points[bad[0]]}. Use a wall of finite height, with a grid"
            )
    if not np.allclose(there, back, rtol=1e-9, atol=1e-12):
        raise ValueError(_NOT_EVEN.format(potential))


_NOT_EVEN = (
    "the pitchfork condition needs V(x) = V(-x), which {!r} has not; a tilted V has folds instead: "
    "see follow_branch and phase_diagram"
)


def _reach(energy: Any, beta: float, dim: int) -> float:
    """Half width of a box about 0 beyond which beta times the energy exceeds its least by _TAIL."""

    def holds(reach: float) -> bool:
        line = np.linspace(-2 * reach, 2 * reach, 801)
        points = np.zeros((dim, line.size, dim))
        for axis in range(dim):
            points[axis, :, axis] = line
        values = beta * np.asarray(energy(points))
        outside = np.abs(line) >= reach
        return bool(values[:, outside].min() > values.min() + _TAIL)

    reach = 0.5
    for _ in range(_WIDENINGS):
        if not holds(reach):
            reach *= 1.3
        elif reach > 0.5 or not holds(reach / 1.3):
            return reach
        else:  # narrower than the first box: go in as far as it is known to hold
            while holds(reach / 1.3) and reach > _NARROWEST:
                reach /= 1.3
            return reach
    raise ConvergenceError(
        "V + λ|x|²/2 must grow at infinity, but the confined state does not decay"
    )


def _box(potential: Any, beta: float, interaction: Any) -> Grid:
    dim = getattr(potential, "dim", 1)
    if not is_quadratic(interaction(1.0)):
        raise ValueError(f"{interaction!r} needs a grid: phase_diagram(V, betas, strengths, grid)")
    if dim > 2:
        raise ValueError(f"phase_diagram takes a potential on a line or a plane, got {potential!r}")
    reach = _reach(potential, beta, dim)
    return Grid([-reach] * dim, [reach] * dim, [800] if dim == 1 else [32, 32])


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
        if not np.abs(w - w[::-1]).sum() <= _CLEAR * w.sum():  # -x in the reverse order
            raise ValueError(_NOT_EVEN.format(potential))
        now = float(np.linalg.eigvalsh((x * w[:, None]).T @ x / w.sum())[-1])
        apart, before = abs(now - before), now
        if apart <= 1e-12 * now:
            return now
        n *= 2
    if apart <= 1e-8 * now:  # a V with kinks
        return now
    raise ConvergenceError(
        f"the variance at beta = {beta:g} does not settle on {n // 2} nodes: V + λ|x|²/2 is too "
        "narrow there, or has kinks, and no transition was found at smaller beta"
    )
