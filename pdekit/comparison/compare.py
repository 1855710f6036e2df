"""Comparison and compare(): do these particles follow that density?"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit.comparison import metrics
from pdekit.grid import Array, Grid

# Shares of the false alarms that each test may cause. The walls' test is silent unless particles
# have left the box and gets little.
SHARES = {"mean": 0.2, "second": 0.2, "smooth": 0.35, "rest": 0.24, "outside": 0.01}


class HasDensity(Protocol):
    """A density on a grid over times: ``.u`` with dims ("time", "x"[, "y"]) and ``.grid``."""

    @property
    def u(self) -> xr.DataArray: ...
    @property
    def grid(self) -> Grid: ...


class HasParticles(Protocol):
    """Particles over times: ``.x`` with dims ("time", ["run",] "particle", "dim")."""

    @property
    def x(self) -> xr.DataArray: ...


@dataclass(frozen=True)
class Comparison:
    """Distances and verdict of particles against a density, time by time.

    ``data`` is a Dataset over ``time``. Distances: ``l1`` and ``kl`` (on pooled bins), ``w1``,
    ``ks``, ``chi2`` (with ``bins``), scores ``mean_z`` and ``variance_z`` (over ``axis``). A
    ``floor_*`` is what an ensemble of the same size drawn from the density itself would show on
    average. ``outside`` is the fraction of particles beyond the walls, ``expected_outside`` what
    the box is thought to cut off. ``p_mean``, ``p_second``, ``p_smooth``, ``p_rest`` and
    ``p_outside`` belong to one test each; ``p_value`` combines them. ``p_ks`` and ``p_chi2`` are
    there to be read, not part of it. ``blur`` is the cells' share in the error (see ``compare``).
    """

    data: xr.Dataset

    @property
    def p_value(self) -> float:
        """All times together: the smallest p-value times the number of times (Bonferroni)."""
        p = self.data["p_value"].values
        return float(min(1.0, p.size * p.min()))

    def consistent(self, level: float = 0.01) -> bool:
        """Whether the particles follow the density at every time, with false alarms <= ``level``.

        One verdict on the hypothesis that all times agree. The p-value of a time already accounts
        for the tests behind it, which are independent for many particles; the verdict is corrected
        for the number of times by Bonferroni (Holm's procedure gives the same verdict), which holds
        under any dependence between times, so for many close times the true rate lies below.
        Raises ``ValueError`` unless ``0 < level < 1``. Good values: 0.01, 0.001.
        """
        if not 0 < level < 1:
            raise ValueError(f"level is a false-alarm probability in (0, 1), got {level!r}")
        return self.p_value >= level

    def __str__(self) -> str:
        head = f"{'time':>10} {'l1 (floor)':>21} {'w1 (floor)':>21} {'kl':>10} {'p':>9}"
        n, runs = self.data.attrs["particles"], self.data.attrs["runs"]
        title = f"{n} particles" + (f" ({runs} runs pooled)" if runs > 1 else "")
        return "\n".join(
            [f"{title} against the density; {self.data.attrs['w1']}", head, *self._rows()]
        )

    def _rows(self) -> list[str]:
        rows = []
        for time in self.data["time"].values:
            v = {name: self.data[name].sel(time=time).item() for name in _COLUMNS}
            l1, w1 = (f"{v[m]:.3g} ({v['floor_' + m]:.3g})" for m in ("l1", "w1"))
            rows.append(f"{time:>10.4g} {l1:>21} {w1:>21} {v['kl']:>10.3g} {v['p_value']:>9.2g}")
        return rows


_COLUMNS = ("l1", "floor_l1", "w1", "floor_w1", "kl", "p_value")


def compare(solution: HasDensity, ensemble: HasParticles) -> Comparison:
    """Compare particles with a density, at every time that both have.

    Null hypothesis: the particles are independent draws from the density, so the counts in cells
    are multinomial with probabilities ``rho * cell_volume``. Every run of a ``run`` axis is pooled.

    Parameters
    ----------
    solution : has ``.u``, dims ``("time", "x"[, "y"])``, a density (1/length^dim), and ``.grid``
    ensemble : has ``.x``, dims ``("time", ["run",] "particle", "dim")``, positions

    Distances
    ---------
    ``l1``, ``kl`` and ``chi2`` live on bins of near-equal mass, unions of cells with at least 25
    particles expected; masses of bins are exact sums. ``w1`` is exact on the line; in the plane it
    is the mean over 16 fixed directions (sliced), a lower bound of the true distance. ``ks`` is the
    largest difference of marginal distribution functions at cell faces. Floors are expectations in
    closed form: no random number is drawn.

    The p-value
    -----------
    Deviations are tested layer by layer, largest scale first: mean; second moments; Neyman's smooth
    test on the distribution functions (a wrong temperature, drift or step); what chi-square on the
    bins sees beyond these (any shape). For many particles the layers are independent and have
    chi-square laws, accurate far into the tail. The number of particles beyond the walls joins them
    (Poisson). The smallest p-value, weighted, is turned into one (Tippett).

    Boundaries
    ----------
    No-flux walls: a particle outside counts in the wall's cell for ``l1, kl, chi2, ks`` (and ``w1``
    in the plane), and at its own place for ``w1`` on the line and the moments: a box that cuts off
    a thin tail costs nothing. Independently, more particles outside than the density's own tail
    promises (``expected_outside``, never below 1e-6) are evidence against the law, by a Poisson
    test. Periodic axes: positions modulo the period; ``w1`` and moments are those of the coordinate
    in the box.

    Limits
    ------
    Values on cells leave ``O(h^2)`` open (centre value or cell average); ``blur`` gives it in
    standard errors: trust the p-value below 0.5. A standard deviation of 10 cells and 100,000
    particles: 0.19. Interacting particles are not independent; for them the p-value is only
    indicative.

    Raises ``ValueError`` for no shared time, a dimension mismatch, a negative density or one whose
    mass is not 1 (within 1e-3; smaller errors are divided out), values that are not finite, or
    fewer than 50 particles; ``TypeError`` for objects without ``.u``/``.grid`` or ``.x``.

    Source: the law of the dynamics, MODEL.md 1.4. Good values: 1e4 to 1e6 particles, 400 cells.
    """
    grid, u = _density_of(solution)
    x = _particles_of(ensemble, grid)
    shared = _shared_times(u["time"].values, x["time"].values)
    rows = []
    for here, there in shared:
        time = float(x["time"].values[there])
        points = _points(x.isel(time=there), grid.dim, time)
        rows.append(_at_one_time(points, _mass(u.isel(time=here), grid, time), grid))
    data = xr.Dataset(
        {name: _variable(name, [row[name] for row in rows]) for name in rows[0]},
        coords={"time": [float(x["time"].values[there]) for _, there in shared]},
        attrs={
            "particles": int(x.sizes["particle"] * x.sizes.get("run", 1)),
            "runs": int(x.sizes.get("run", 1)),
            "independent": True,
            "w1": "w1 exact" if grid.dim == 1 else f"w1 sliced ({metrics.DIRECTIONS} directions)",
        },
    ).assign_coords(axis=list(grid.names))
    return Comparison(data)


def _at_one_time(points: Array, mass: Array, grid: Grid) -> dict[str, Any]:
    n = len(points)
    points = metrics.wrapped(points, grid)
    outside = int(n - np.count_nonzero(grid.contains(points)))
    expected = metrics.expected_outside(mass, grid)
    counts = metrics.cell_counts(points, grid)
    labels = metrics.equal_mass_bins(mass, metrics.smallest_bin(n))
    bin_counts, bin_mass = metrics.pooled(counts, labels), metrics.pooled(mass, labels)
    l1, floor_l1 = metrics.l1(bin_counts, bin_mass)
    kl, floor_kl = metrics.kl(bin_counts, bin_mass)
    w1, floor_w1 = (
        metrics.w1_line(points[:, 0], grid.faces[0], mass)
        if grid.dim == 1
        else metrics.w1_sliced(counts, mass, grid)
    )
    chi2, p_chi2 = metrics.chi_square(bin_counts, bin_mass)
    ks, p_ks = metrics.kolmogorov_smirnov(counts, mass)
    mean_z, variance_z = metrics.moment_scores(points, mass, grid)
    cells = metrics.layers(n, mass, grid)
    p = metrics.layered_tests(counts, mass, labels, cells)
    p["outside"] = metrics.outside_test(outside, n, expected)
    return {
        **{"l1": l1, "floor_l1": floor_l1, "w1": w1, "floor_w1": floor_w1},
        **{"kl": kl, "floor_kl": floor_kl, "ks": ks, "chi2": chi2, "bins": len(bin_mass)},
        **{"mean_z": mean_z, "variance_z": variance_z},
        **{"outside": outside / n, "expected_outside": expected},
        **{"blur": metrics.cell_blur(n, mass, grid, cells), "p_ks": p_ks, "p_chi2": p_chi2},
        **{f"p_{test}": value for test, value in p.items()},
        "p_value": metrics.combined(p, SHARES),
    }


def _variable(name: str, values: list[Any]) -> tuple[tuple[str, ...], NDArray[Any]]:
    return (("time", "axis") if name in ("mean_z", "variance_z") else ("time",), np.array(values))


# --- reading the two sides ----------------------------------------------------------------


def _density_of(solution: HasDensity) -> tuple[Grid, xr.DataArray]:
    u, grid = getattr(solution, "u", None), getattr(solution, "grid", None)
    if not isinstance(u, xr.DataArray) or not isinstance(grid, Grid):
        raise TypeError(
            f"the first argument is a solution with .u (DataArray) and .grid (Grid), got "
            f"{type(solution).__name__}; the particles come second: compare(solution, ensemble)"
        )
    if set(u.dims) != {"time", *grid.names}:
        raise ValueError(f"solution.u has dims {u.dims}, expected {('time', *grid.names)}")
    u = u.transpose("time", *grid.names)
    if u.shape[1:] != grid.shape:
        raise ValueError(f"solution.u has {u.shape[1:]} values a time, its grid {grid.shape} cells")
    return grid, u


def _particles_of(ensemble: HasParticles, grid: Grid) -> xr.DataArray:
    x = getattr(ensemble, "x", None)
    if not isinstance(x, xr.DataArray):
        raise TypeError(f"the second argument has .x (a DataArray), got {type(ensemble).__name__}")
    if set(x.dims) - {"run"} != {"time", "particle", "dim"}:
        raise ValueError(f"ensemble.x has dims {x.dims}, expected (time, [run,] particle, dim)")
    if x.sizes["dim"] != grid.dim:
        raise ValueError(
            f"the particles have {x.sizes['dim']} coordinates, the density's grid has {grid.dim}; "
            f"select the coordinates to compare"
        )
    n = x.sizes["particle"] * x.sizes.get("run", 1)
    if n < 50:
        raise ValueError(f"{n} particles are too few for a comparison, expected at least 50")
    return x


def _shared_times(here: Array, there: Array) -> list[tuple[int, int]]:
    nearest = [int(np.argmin(np.abs(here - t))) for t in there]
    pairs = [(i, j) for j, i in enumerate(nearest) if np.isclose(here[i], there[j], rtol=1e-6)]
    if not pairs:
        raise ValueError(
            f"no time is shared: the density has t = {_listed(here)}, the particles have "
            f"t = {_listed(there)}; ask both for the same times"
        )
    return pairs


def _listed(times: Array) -> str:
    shown = ", ".join(f"{t:g}" for t in times[:8])
    return f"[{shown}{', ...' if len(times) > 8 else ''}]"


def _points(x: xr.DataArray, dim: int, time: float) -> Array:
    order = [d for d in ("run", "particle", "dim") if d in x.dims]
    points = np.asarray(x.transpose(*order).values, dtype=float).reshape(-1, dim)
    bad = len(points) - np.count_nonzero(np.isfinite(points).all(axis=1))
    if bad:
        raise ValueError(
            f"{bad} of {len(points)} particles are not finite at t = {time:g}; "
            f"a smaller dt may help"
        )
    return points


def _mass(u: xr.DataArray, grid: Grid, time: float) -> Array:
    rho = np.asarray(u.values, dtype=float)
    if not np.isfinite(rho).all():
        raise ValueError(f"the density is not finite at t = {time:g}")
    if rho.min() < -1e-10 * np.abs(rho).max():
        raise ValueError(
            f"the density is negative at t = {time:g}: its minimum is {rho.min():.3g}; "
            f"compare() takes a solution of a Fokker-Planck equation"
        )
    total = float(grid.integrate(rho))
    if abs(total - 1) > 1e-3:
        raise ValueError(
            f"the density integrates to {total:.6g} at t = {time:g}, expected 1; "
            f"divide by its mass, or enlarge the box if it lost some"
        )
    mass = np.maximum(rho, 0.0)
    return np.asarray(mass / mass.sum())
