"""Every published reference value that these equations produce, at the accuracy the method has."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.exact import solutions

TABLE = Path(__file__).with_name("reference_values.json")
VALUES = json.loads(TABLE.read_text())["values"]
WELL = pk.potentials.DoubleWell()
FUNCTIONS = {
    "dw": WELL,
    "rip": pk.potentials.Rippled(),
    "quad": pk.potentials.Quadratic(3.0),
    "quad3": pk.potentials.Quadratic(3.0),
    "camel": pk.potentials.SixHumpCamel(),
    "abs": lambda x: np.abs(x[..., 0]),
    "negabs": lambda x: -np.abs(x[..., 0]),
}
NAME = re.compile(r"(\w+)\.(\w+)\.x(-?[\d.]+(?:_-?[\d.]+)?)\.t([\d.]+?)(?:\.b(\d+))?$")
# the table writes camel.x.5_-.3.t.5 and the like; t and beta are separated by the last dots


def entries(kind):
    """(name, function, point, t, beta, value) of the table's rows colehopf.*, hopflax.*, heat.*"""
    rows = []
    for name, entry in VALUES.items():
        if name.startswith(kind + "."):
            _, f, x, t, beta = NAME.match(name).groups()
            point = np.array([float(v) for v in x.split("_")])
            rows.append((name, FUNCTIONS[f], point, float(t), beta and float(beta), entry["value"]))
    return rows


def each(kind):
    rows = entries(kind)
    return pytest.mark.parametrize(
        "f, x, t, beta, value", [r[1:] for r in rows], ids=[r[0] for r in rows]
    )


def number(value):
    return float(value["u"] if isinstance(value, dict) else value)


def centred(x, half, cells):
    """A grid of ``cells`` an axis whose middle cell has its centre at x."""
    h = 2 * np.asarray(half) / cells
    lower = x - half - (0 if cells % 2 else h / 2)
    return pk.Grid(tuple(lower), tuple(lower + 2 * np.asarray(half)), cells)


def middle(solution):
    return solution.fields[-1][tuple(n // 2 for n in solution.grid.shape)]


@each("colehopf")
def test_cole_hopf_at_2000_cells(f, x, t, beta, value):
    """On the grid the error is that of rounding, at any beta."""
    grid = centred(x, 3.0, 2000) if x.size == 1 else centred(x, 1.5, 200)
    solution = pk.solve(pk.ViscousHJ(beta), grid, f, t, schemes.ColeHopf(extend=True))
    tolerance = 1e-10 if x.size == 1 else 1e-9
    assert middle(solution) == pytest.approx(number(value), abs=tolerance)


@each("colehopf")
def test_cole_hopf_between_cells(f, x, t, beta, value):
    """``at`` adds a spline error of h^4 u''''; u has a kink as wide as a cell at x0.t2.b1000."""
    box = ((-3,), (3,), 2000) if x.size == 1 else ((-2.5, -1.5), (2.5, 1.5), (400, 240))
    solution = pk.solve(pk.ViscousHJ(beta), pk.Grid(*box), f, t, schemes.ColeHopf(extend=True))
    kink = beta == 1000 and t == 2
    assert solution.at(x) == pytest.approx(number(value), abs=5e-5 if kink else 1e-6)


@each("colehopf")
def test_cole_hopf_gradient_by_differences(f, x, t, beta, value):
    if x.size > 1 or "ux" not in value or (beta == 1000 and t == 2):
        gradient = solutions.cole_hopf_gradient(f, beta, t, x)
        table = value.get("grad", [value.get("ux")])
        np.testing.assert_allclose(gradient, np.array(table, float), atol=1e-12)
        return
    grid = centred(x, 3.0, 2000)
    u = pk.solve(pk.ViscousHJ(beta), grid, f, t, schemes.ColeHopf(extend=True)).fields[-1]
    h, i = grid.spacing[0], 1000
    slope = (8 * (u[i + 1] - u[i - 1]) - (u[i + 2] - u[i - 2])) / (12 * h)
    assert slope == pytest.approx(float(value["ux"]), abs=2e-7)


@each("hopflax")
def test_hopf_lax_on_the_grid(f, x, t, beta, value):
    del beta
    scheme, tolerance = schemes.HopfLax(), 1e-5
    grid = centred(x, 3.0, 2000) if x.size == 1 else centred(x, 1.5, 301)
    if not hasattr(f, "dim"):  # |x| and -|x|: odd, so that the kink of f lies at a centre
        grid, scheme = pk.Grid(-3, 3, 2001), schemes.HopfLax(refine=False)
    if x.size == 2:
        tolerance = 2e-5
    solution = pk.solve(pk.HamiltonJacobi(), grid, f, t, scheme)
    u = solution.at(x) if x[0] else middle(solution)
    assert u == pytest.approx(number(value), abs=tolerance)


@pytest.mark.parametrize("cells", [2000, 2001])
def test_the_kink_of_a_modulus_between_cells(cells):
    """Sampled beside its kink, |x| is known to h / 2; the refined minimum finds the kink itself."""
    x, grid = np.array([0.3]), pk.Grid(-3, 3, cells)
    u = pk.solve(pk.HamiltonJacobi(), grid, FUNCTIONS["abs"], 0.5)
    assert u.at(x) == pytest.approx(0.09, abs=2e-6)
    coarse = pk.solve(pk.HamiltonJacobi(), grid, FUNCTIONS["abs"], 0.5, schemes.HopfLax(False))
    assert u.at(x) <= coarse.at(x) + 1e-12


@each("hopflax")
def test_hopf_lax_minimisers_give_the_value(f, x, t, beta, value):
    """Any of the minimisers in the table, so that a kink is no trouble."""
    del beta
    found = np.atleast_1d(np.array(value["prox"], dtype=float)).reshape(-1, x.size)
    for y in found:
        u = f(y) + ((x - y) ** 2).sum() / (2 * t)
        assert u == pytest.approx(number(value), abs=1e-13)
    assert solutions.hopf_lax(f, t, x) == pytest.approx(number(value), abs=1e-13)


@each("heat")
def test_heat(f, x, t, beta, value):
    wide = centred(x, 12.0, 800)
    assert middle(pk.solve(pk.Heat(beta), wide, f, t)) == pytest.approx(number(value), abs=1e-11)
    assert solutions.heat(f, beta, t, x) == pytest.approx(number(value), abs=1e-15)


BURGERS = [("dw", "burgers.tstar.dw"), ("rip", "burgers.tstar.rip")]


@pytest.mark.parametrize("f, name", BURGERS)
def test_kinks_are_born_at_the_shock_time(f, name):
    """u stays smooth before t*; after it the slope jumps by more than any smooth branch allows."""
    grid, shock = pk.Grid(-4, 4, 4000), float(VALUES[name]["value"])

    def sharpest(t):
        u = pk.solve(pk.HamiltonJacobi(), grid, FUNCTIONS[f], t).fields[-1]
        inner = np.abs(grid.axes[0][1:-1]) < 2.5
        return np.abs(np.diff(u, 2))[inner].max() / grid.spacing[0]

    assert sharpest(0.9 * shock) < 0.3
    assert sharpest(1.1 * shock) > 3 * sharpest(0.9 * shock)


SEMICONCAVE = [n for n in VALUES if n.startswith("semiconc.rip")]


@pytest.mark.parametrize("name", SEMICONCAVE)
def test_semiconcavity(name):
    t, beta = map(float, re.search(r"t([\d.]+)\.b(\d+)", name).groups())
    table = {k: float(v) for k, v in VALUES[name]["value"].items()}
    grid = pk.Grid(-1, 3, 4000)  # the curves repeat up to x^2 / 10, the largest curvature is here
    u = pk.solve(
        pk.ViscousHJ(beta), grid, FUNCTIONS["rip"], t, schemes.ColeHopf(extend=True)
    ).fields[0]
    second = np.diff(u, 2).max() / grid.spacing[0] ** 2
    assert second == pytest.approx(table["sup_uxx"], abs=2e-4)
    assert second <= table["bound"] == pytest.approx(1 / (1 / table["C"] + t))


OU = [n for n in VALUES if n.startswith("ou1d")]


@pytest.mark.parametrize("name", OU)
def test_ornstein_uhlenbeck(name):
    """From a point: from the law at half the time, which the exact solution gives."""
    beta, t = map(float, re.search(r"b([\d.]+)\.t([\d.]+)$", name).groups())
    table = {k: float(v) for k, v in VALUES[name]["value"].items()}
    mean, cov = solutions.ornstein_uhlenbeck(2.0, beta, 1.0, 0.0, t)
    assert (mean[0], cov[0, 0]) == pytest.approx((table["mean"], table["var"]), abs=1e-15)
    mean, cov = solutions.ornstein_uhlenbeck(2.0, beta, 1.0, 0.0, t / 2)
    start = pk.Gaussian(mean[0], np.sqrt(cov[0, 0]))
    values = []
    for cells in (600, 1200):
        grid = pk.Grid(-5, 5, cells)
        equation = pk.FokkerPlanck(pk.potentials.Quadratic(2.0), beta)
        rho = pk.solve(equation, grid, start, t / 2)
        x, p = grid.axes[0], rho.fields[0] * grid.spacing[0]
        m = (x * p).sum()
        values.append([m, ((x - m) ** 2 * p).sum(), rho.at([0.0]), rho.at([1.0])])
    better = (4 * np.array(values[1]) - values[0]) / 3  # second order in h, hence Richardson
    true = [table[k] for k in ("mean", "var", "dens_at_0", "dens_at_1")]
    np.testing.assert_allclose(better, true, atol=1e-6)
    np.testing.assert_allclose(values[1], true, atol=3e-4)


def test_ornstein_uhlenbeck_in_the_plane():
    """The table's drift is no gradient: exact.ornstein_uhlenbeck, to rounding."""
    table = VALUES["ou2d.nonsym.b4"]["value"]
    a = np.array(table["A"], float)
    mean, cov = solutions.ornstein_uhlenbeck(a, 4.0, (1.0, -1.0), np.zeros((2, 2)), 0.5)
    np.testing.assert_allclose(mean, np.array(table["mean_t0p5_from_1_m1"], float), atol=1e-14)
    np.testing.assert_allclose(cov, np.array(table["Sigma_t0p5"], float), atol=1e-14)
    p = solutions.gaussian(mean, cov, (0.2, -0.1))
    assert p == pytest.approx(float(table["density_t0p5_at_0p2_m0p1"]), abs=1e-13)
    _, limit = solutions.ornstein_uhlenbeck(a, 4.0, (0.0, 0.0), np.eye(2), 40.0)
    np.testing.assert_allclose(limit, np.array(table["Sigma_inf"], float), atol=1e-13)


def test_divergence_from_the_gibbs_state():
    grid = pk.Grid(-4, 6, 4000)
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(), 4.0)
    start = pk.Gaussian(1.0, np.sqrt(0.5))
    table = {float(k): float(v) for k, v in VALUES["ou.KL"]["value"].items()}
    solution = pk.solve(equation, grid, start, list(table))
    log_gibbs = -2 * grid.axes[0] ** 2 - np.log(np.sqrt(np.pi / 2))
    for rho, kl in zip(solution.fields, table.values(), strict=True):
        log_rho = np.log(np.where(rho > 0, rho, 1.0))
        assert grid.integrate(rho * (log_rho - log_gibbs)) == pytest.approx(kl, abs=1e-5)


@pytest.mark.parametrize("beta", [2, 8])
def test_spectral_gap_of_the_double_well(beta):
    table = VALUES[f"dw.gap.b{beta}"]["value"]
    rates = [float(table[k]) for k in ("lambda1", "lambda2_even", "lambda3_odd")]
    spectrum = solutions.LangevinSpectrum(WELL, beta, -4, 4, 301)
    np.testing.assert_allclose(spectrum.rates[:4], [0, *rates], atol=1e-11)
    gaps = []
    for cells in (400, 800):
        made = scharfetter_gummel(WELL(pk.Grid(-4, 4, cells).centres), beta, pk.Grid(-4, 4, cells))
        eigenvalues = np.sort(np.linalg.eigvals(made.matrix().toarray()).real)[::-1]
        gaps.append(-eigenvalues[1:4])
    np.testing.assert_allclose((4 * gaps[1] - gaps[0]) / 3, rates, rtol=1e-6)
    np.testing.assert_allclose(gaps[1], rates, rtol=2e-3)


@pytest.mark.parametrize("beta", [1, 4, 8])
def test_mean_first_passage_time(beta):
    """-L m = 1 to the left of +1, m(1) = 0: the discrete generator's passage time from -1."""
    cells = 2400
    grid = pk.Grid(-3 - 0.5 * 4 / cells, 1 + 0.5 * 4 / cells, cells + 1)  # centres at -1 and 1
    matrix = scharfetter_gummel(WELL(grid.centres), beta, grid).matrix().tocsc()
    from scipy.sparse.linalg import spsolve

    m = spsolve(-matrix[:-1, :-1], np.ones(cells))
    start = int(np.argmin(np.abs(grid.axes[0] + 1)))
    true = float(VALUES[f"dw.mfpt.b{beta}"]["value"]["mfpt_m1_to_1"])
    assert m[start] == pytest.approx(true, rel=2e-5)


@pytest.mark.parametrize("beta", [4, 8])
def test_density_of_the_double_well_from_a_point(beta):
    """All mass in the cell about -1, refined: second order, so Richardson takes it to 1e-6."""
    table = VALUES[f"fp.dw.delta_m1.b{beta}"]["value"]
    times = [0.5, 1.0, 3.0]
    names = ("EX", "EX2", "EV", "p_m1", "p_0", "p_1")
    true = np.array([[float(table[f"T{t:g}"][k]) for k in names] for t in times])
    results = []
    for cells in (601, 1201):
        grid = pk.Grid(-3 - 1 / cells, 3 + 1 / cells, cells)
        h = 3 / ((cells - 1) / 2)
        grid = pk.Grid(-3 - h / 2, 3 + h / 2, cells)  # centres at -1, 0 and 1
        start = np.zeros(cells)
        start[np.argmin(np.abs(grid.axes[0] + 1))] = 1 / h
        solution = pk.solve(pk.FokkerPlanck(WELL, beta), grid, start, times)
        x, V = grid.axes[0], WELL(grid.centres)
        rows = []
        for rho in solution.fields:
            at = [rho[np.argmin(np.abs(x - y))] for y in (-1, 0, 1)]
            rows.append([*(grid.integrate(rho * w) for w in (x, x**2, V)), *at])
        results.append(np.array(rows))
    np.testing.assert_allclose((4 * results[1] - results[0]) / 3, true, atol=2e-6)
    np.testing.assert_allclose(results[1], true, atol=3e-4)
    spectrum = solutions.LangevinSpectrum(WELL, beta, -3, 3, 401)
    for t, row in zip(times, true, strict=True):
        p = spectrum.transition(-1.0, t, np.array([[-1.0], [0.0], [1.0]]))
        np.testing.assert_allclose(p, row[3:], atol=1e-10)


POINTS = (-1.0, 0.0, 0.5)


@pytest.mark.parametrize("beta", [1, 8])
def test_control_of_the_double_well(beta):
    """Theorem 4.11 from three points: value, plain and controlled expectation, effort."""
    table = VALUES[f"thm411.dw.VT=V.b{beta}"]["value"]
    box = (-5.0, 5.0) if beta == 1 else (-3.0, 3.0)
    results = []
    for cells in (800, 1600):
        grid = pk.Grid(*box, cells)
        u = pk.solve(pk.HamiltonJacobiBellman(WELL, beta), grid, WELL, 1.0)
        v = pk.solve(pk.BackwardKolmogorov(WELL, beta), grid, WELL, 1.0)
        weight = pk.solve(
            pk.BackwardKolmogorov(WELL, beta), grid, lambda x: np.exp(-beta * WELL(x) / 2), 1.0
        )
        tilted = pk.solve(
            pk.BackwardKolmogorov(WELL, beta),
            grid,
            lambda x: WELL(x) * np.exp(-beta * WELL(x) / 2),
            1.0,
        )
        x = np.array(POINTS)[:, None]
        under = tilted.at(x) / weight.at(x)
        results.append(np.stack([v.at(x), under, u.at(x), v.at(x) - u.at(x)]))
    keys = ("EV_sgd", "EV_csgd", "u", "gap")
    rows = [table[f"x0={x:g}"] for x in POINTS]
    true = np.array([[float(row[k]) for row in rows] for k in keys])
    np.testing.assert_allclose((4 * results[1] - results[0]) / 3, true, atol=2e-7)
    np.testing.assert_allclose(results[1], true, atol=3e-5)
    effort = np.array([float(row["half_int_alpha2"]) for row in rows])
    np.testing.assert_allclose(true[2] - true[1], effort, atol=1e-12)


def test_linear_quadratic_control():
    table = {k: float(v) for k, v in VALUES["lq.a1.g2.b4.T1"]["value"].items()}
    lq = solutions.LQControl(1.0, 2.0, 4.0, 1.0, table["m0"], np.sqrt(table["v0"]))
    closed = {
        "P0": lq.P(0), "R0": lq.R(0), "P_half": lq.P(0.5), "R_half": lq.R(0.5),
        "u_at_x1_t0": float(lq.value(0.0, [1.0])),
        "mean_half": lq.mean(0.5), "mean_T": lq.mean(1.0),
        "var_half": lq.variance(0.5), "var_T": lq.variance(1.0),
    }  # fmt: skip
    for name, value in closed.items():
        assert value == pytest.approx(table[name], abs=1e-14), name

    grid = pk.Grid(-5, 5, 1600)
    c = pk.control(
        pk.potentials.Quadratic(1.0), 4.0, grid, pk.Gaussian(table["m0"], np.sqrt(table["v0"])),
        pk.potentials.Quadratic(2.0), [0.0, 0.5, 1.0],
    )  # fmt: skip
    x, h = grid.axes[0], grid.spacing[0]
    near = np.abs(x) < 1.5
    for k, tail in ((0, "0"), (1, "_half")):
        fit = np.polynomial.Polynomial.fit(x[near], c.value.fields[k][near], 2).convert().coef
        assert (2 * fit[2], fit[0]) == pytest.approx(
            (table["P" + tail], table["R" + tail]), abs=2e-5
        )
    for k, tail in ((1, "_half"), (2, "_T")):
        p = c.density.fields[k] * h
        mean = (p * x).sum()
        var = (p * (x - mean) ** 2).sum()
        assert (mean, var) == pytest.approx((table["mean" + tail], table["var" + tail]), abs=2e-5)


def test_theorem_for_linear_quadratic_control():
    table = {k: float(v) for k, v in VALUES["thm411.lq"]["value"].items()}
    grid, x = pk.Grid(-6, 6, 2400), np.array([-1.0])
    V, cost = pk.potentials.Quadratic(1.0), pk.potentials.Quadratic(2.0)
    u = pk.solve(pk.HamiltonJacobiBellman(V, 4.0), grid, cost, 1.0).at(x)
    v = pk.solve(pk.BackwardKolmogorov(V, 4.0), grid, cost, 1.0).at(x)
    assert u == pytest.approx(table["u0"], abs=1e-5)
    assert v == pytest.approx(table["EV_sgd"], abs=1e-5)
    assert v - u == pytest.approx(table["gap"], abs=1e-5)


CURIE_WEISS = [("cw.m.b4.l1", 4.0, 1.0)]


@pytest.mark.parametrize("name, beta, strength", CURIE_WEISS)
def test_gibbs_state_of_the_self_consistent_potential(name, beta, strength):
    """At the given mean the mean-field state is a Gibbs state: its mean and variance."""
    table = {k: float(v) for k, v in VALUES[name]["value"].items()}
    grid = pk.Grid(-4, 4, 800)
    x = grid.axes[0]

    for m, var in ((0.0, "var_sym"), (table["m"], "var_broken")):
        V = pk.potentials.Custom(
            lambda y, m=m: y[..., 0] ** 4 / 4 - y[..., 0] ** 2 / 2
            + strength * (y[..., 0] - m) ** 2 / 2
        )  # fmt: skip
        p = pk.stationary(pk.FokkerPlanck(V, beta), grid).values * grid.spacing[0]
        assert (p * x).sum() == pytest.approx(m, abs=1e-12)
        assert (p * (x - m) ** 2).sum() == pytest.approx(table[var], abs=1e-12)


def test_the_work_precision_bar_of_the_double_well():
    """1,000 cells, t = 10, from N(-1, 0.1^2): L1 error at most 5e-6."""
    grid, start = pk.Grid(-3, 3, 1000), pk.Gaussian(-1.0, 0.1)
    rho = pk.solve(pk.FokkerPlanck(WELL, 4.0), grid, start, 10.0).fields[0]
    true = solutions.LangevinSpectrum(WELL, 4.0, -3, 3, 401).density(start.pdf, 10.0, grid.centres)
    assert grid.integrate(np.abs(rho - true)) < 2e-6
