"""Wrong dynamics are found out: power at N = 100,000, drawn from the laws that they lead to.

For independent particles a draw from the density of the wrong equation is a simulation of the wrong
dynamics; ``studies/detection.py`` simulates. Probability of detection at level 0.01 at least 0.95:
20 ensembles, of which 17 must be found (fewer with probability 0.016 at 0.95).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import pdekit as pk
from pdekit import cli
from pdekit.claims import all_hold
from pdekit.particles.integrators import EulerMaruyama, StochasticHeun

BETA, N, ROUNDS = 4.0, 100_000, 20
WELL, START, GRID = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1), pk.Grid(-3, 3, 600)
ENOUGH = int(stats.binom.ppf(0.05, ROUNDS, 0.95))
TIMES = list(range(1, ROUNDS + 1))


def density(equation, grid=GRID):
    return pk.solve(equation, grid, START, 1.0)


def drawn(rho, grid, rng, n=N):
    """Clouds of a density that is even in each cell, along a time axis."""
    faces = grid.faces[0]
    cdf = np.concatenate([[0.0], np.cumsum(rho)]) * grid.cell_volume
    x = np.interp(rng.random((ROUNDS, n, 1)) * cdf[-1], cdf, faces)
    return SimpleNamespace(x=xr.DataArray(x, {"time": TIMES}, ("time", "particle", "dim")))


def repeated(rho, grid=GRID):
    field = np.broadcast_to(rho, (ROUNDS, *grid.shape))
    return SimpleNamespace(u=xr.DataArray(field, {"time": TIMES}, ("time", "x")), grid=grid)


def found(right, clouds, grid=GRID):
    """Ensembles found at level 0.01 out of ``ROUNDS``."""
    p = pk.compare(repeated(right, grid), clouds).data["p_value"]
    return int((p < 0.01).sum())


@pytest.fixture(scope="module")
def right():
    return density(pk.FokkerPlanck(WELL, BETA)).fields[-1]


def scaled(factor):
    return pk.potentials.Custom(lambda x: factor * WELL(x), lambda x: factor * WELL.grad(x))


WRONG = {
    "beta 5 % too high": pk.FokkerPlanck(WELL, 1.05 * BETA),
    "noise sqrt(1/beta)": pk.FokkerPlanck(WELL, 2 * BETA),
    "drift 3 % too strong": pk.FokkerPlanck(scaled(1.03), BETA),
    "drift 3 % too weak": pk.FokkerPlanck(scaled(0.97), BETA),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_dynamics_are_found_out(right, name):
    wrong = density(WRONG[name]).fields[-1]
    assert found(right, drawn(wrong, GRID, np.random.default_rng(1))) >= ENOUGH


def test_no_test_can_do_much_better_against_the_wrong_drift(right):
    """Neyman and Pearson: told the alternative, at level 0.01, power 0.986 at N = 100,000."""
    wrong = density(WRONG["drift 3 % too strong"]).fields[-1]
    held = right > 1e-12
    distance = GRID.cell_volume * ((wrong - right)[held] ** 2 / right[held]).sum()
    power = stats.norm.sf(stats.norm.isf(0.01) - np.sqrt(N * distance))
    assert power == pytest.approx(0.986, abs=0.002)


def test_the_right_dynamics_is_not(right):
    """At most 3 of 20 at level 0.01, exceeded with probability 4e-5."""
    assert found(right, drawn(right, GRID, np.random.default_rng(2))) <= 3


def test_euler_maruyama_with_a_large_step_is_found_out(right):
    dynamics = pk.Langevin(WELL, BETA, integrator=EulerMaruyama())
    x = pk.simulate(dynamics, START, N, 1.0, 0.2, runs=ROUNDS, seed=3).final.values
    cloud = SimpleNamespace(x=xr.DataArray(x, {"time": TIMES}, ("time", "particle", "dim")))
    assert found(right, cloud) >= ENOUGH


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")  # the walls are meant
def test_reflection_in_place_of_transport_through_the_wall_is_found_out():
    walls, wound = pk.Grid(-1.5, 1.5, 300), pk.Grid(-1.5, 1.5, 300, periodic=True)
    equation = pk.FokkerPlanck(WELL, BETA)
    reflected, wrapped = (density(equation, g).fields[-1] for g in (walls, wound))
    rng = np.random.default_rng(4)
    assert found(wrapped, drawn(reflected, wound, rng, 5_000), wound) >= ENOUGH
    assert found(wrapped, drawn(wrapped, wound, rng, 5_000), wound) <= 3


@pytest.mark.parametrize(("strength", "few"), [(1.0, True), (1.1, False)])
def test_a_coupling_wrong_by_a_tenth_is_found_out_from_independent_runs(strength, few):
    """20 runs of 5,000 that act on each other, against the McKean-Vlasov equation; 6 ensembles.

    Right: at most 1 found at level 0.01 (more with probability 1.5e-3). Wrong: 4 at least (fewer
    with probability 0.002 at 0.95).
    """
    rho = density(pk.McKeanVlasov(WELL, BETA, pk.CurieWeiss(1.0)))
    dynamics = pk.InteractingLangevin(WELL, BETA, pk.CurieWeiss(strength))
    x = pk.simulate(dynamics, START, N // 20, 1.0, 0.02, runs=120, seed=5).x
    hits = 0
    for k in range(6):
        part = x.isel(run=slice(20 * k, 20 * k + 20))
        verdict = pk.compare(rho, SimpleNamespace(x=part, dynamics=dynamics))
        assert "independent runs" in verdict.data.attrs["null"]
        hits += not verdict.consistent(0.01)
    assert hits <= 1 if few else hits >= 4


def test_false_alarms_of_interacting_particles_over_1000_repetitions():
    """10 runs of 200 that act on each other, 1,000 times over: at level 0.05 inside the 99.9 %
    binomial interval."""
    repeats, runs = 1_000, 10
    equation = pk.McKeanVlasov(WELL, BETA, pk.CurieWeiss(1.0))
    dynamics = pk.InteractingLangevin(WELL, BETA, pk.CurieWeiss(1.0), integrator=StochasticHeun())
    grid = pk.Grid(-2.5, 2.5, 50)
    rho = density(equation, grid).fields[-1]
    x = pk.simulate(dynamics, START, 200, 1.0, 0.05, runs=repeats * runs, seed=7).final.values
    times = np.arange(1, repeats + 1)
    field = np.broadcast_to(rho, (repeats, *grid.shape))
    right = SimpleNamespace(u=xr.DataArray(field, {"time": times}, ("time", "x")), grid=grid)
    dims = ("time", "run", "particle", "dim")
    clouds = xr.DataArray(x.reshape(repeats, runs, 200, 1), {"time": times}, dims)
    low, high = stats.binom.ppf([0.0005, 0.9995], repeats, 0.05) / repeats
    aware = pk.compare(right, SimpleNamespace(x=clouds, dynamics=dynamics), draws=19)
    rate = float((aware.data["p_value"] < 0.05).mean())
    assert "independent runs" in aware.data.attrs["null"] and low <= rate <= high, rate


def test_the_study_runs_and_a_wrong_equation_breaks_its_claims(monkeypatch):
    study = cli.load_study("detection")
    kept = ("nothing wrong", "noise sqrt(1/beta)")
    cases = {name: case for name, case in study.suspects().items() if name in kept}
    monkeypatch.setattr(study, "suspects", lambda: cases)
    results = study.run(quick=True, repeats=10, largest=3_000)
    assert all_hold(study.claims(results))
    assert results.numbers["enough"] == {"noise sqrt(1/beta)": 1_000}
    study.plot(results)
    swapped = {"nothing wrong": cases["noise sqrt(1/beta)"]}
    monkeypatch.setattr(study, "suspects", lambda: swapped)
    assert not all_hold(study.claims(study.run(quick=True, repeats=10, largest=3_000)))


ROWS = {  # the study's names, as the page says them
    "noise `sqrt(1/beta)` for `sqrt(2/beta)`": "noise sqrt(1/beta)",
    "reflected at the wall, not carried round": "reflected, not carried round",
}


def test_the_table_of_the_docs_is_what_the_study_found():
    """Every number of docs/statistics.md against figures/detection.json, and nothing left out."""
    top = Path(__file__).parents[1]
    found = json.loads((top / "figures" / "detection.json").read_text())
    page = (
        (top / "docs" / "statistics.md")
        .read_text()
        .split("## Which sample size")[1]
        .split("## ")[0]
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()
             if line.startswith("|") and "---" not in line]  # fmt: skip
    (_, *sizes), *rows = lines
    table = {ROWS.get(name, name): shares for name, *shares in rows}
    assert all(claim["holds"] for claim in found["claims"])
    numbers = found["numbers"]
    detected, possible = numbers["detected"], numbers["likelihood_ratio"]

    def cell(name, key):
        most = possible[name][key]
        beside = "" if most is None or "nothing" in name else f" ({most:.3f})"
        return f"{detected[name][key]:.3f}{beside}"

    keys = [size.replace(",", "") for size in sizes]
    assert table == {name: [cell(name, k) for k in keys] for name in detected}
    counts = {count for row in numbers["repeats"].values() for count in row.values()}
    assert counts == {100, 400, 1000} and all(f"{n:,}" in page for n in counts)
    assert set(detected) == set(cli.load_study("detection").suspects())


def test_a_million_particles_in_the_plane_take_no_second():
    """Processor time, best of three; the density on 256 x 256 cells, p-value included."""
    from time import process_time

    grid = pk.Grid((-5, -5), (5, 5), (256, 256))
    rho = pk.Gaussian((0, 0), 1.0).density(grid)[None]
    coords = {"time": [1.0], "x": grid.axes[0], "y": grid.axes[1]}
    solution = SimpleNamespace(u=xr.DataArray(rho, coords, ("time", "x", "y")), grid=grid)
    x = np.random.default_rng(6).normal(size=(1, 1_000_000, 2))
    cloud = SimpleNamespace(x=xr.DataArray(x, {"time": [1.0]}, ("time", "particle", "dim")))
    taken = []
    for _ in range(3):
        start = process_time()
        verdict = pk.compare(solution, cloud)
        taken.append(process_time() - start)
    assert min(taken) < 1.0
    assert verdict.consistent(0.001)
