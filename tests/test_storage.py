"""What ``save`` writes ``pk.load`` reads, bit by bit; what it cannot have, it says."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit.storage.values import Reader, Unknown, Writer

V = pk.potentials.DoubleWell()
LINE = pk.Grid(-3, 3, 40)
START = pk.Gaussian(-1.0, 0.2)


def well(x):
    return (x[..., 0] ** 2 - 1) ** 2 / 4


def turned(x):
    return np.stack([-x[..., 1], x[..., 0]], -1)


def saved(result, folder):
    return result.save(folder / "result.nc")


def same(one, other):
    """Whether results have the same bits everywhere, functions apart."""
    first, second = Writer(), Writer()
    assert text(first.tree("", one)) == text(second.tree("", other))
    for name, variable in first.variables.items():
        assert variable.values.tobytes() == second.variables[name].values.tobytes(), name


def text(tree):
    return json.dumps(tree, sort_keys=True)


numbers = st.floats(-5, 5, allow_nan=False)
positive = st.floats(0.05, 20.0)
potentials = st.one_of(
    st.just(V),
    st.builds(lambda k, c: pk.potentials.Quadratic(k) + c * V, positive, positive),
    st.builds(lambda a: V.shifted(a), numbers),
    st.builds(lambda v: pk.potentials.Tabulated(np.arange(6.0), v),
              st.lists(numbers, min_size=6, max_size=6)),
    st.builds(lambda v: pk.potentials.Evolving([0.0, 2.0], np.arange(5.0), v),
              st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=2, max_size=2)),
)  # fmt: skip
laws = st.one_of(
    st.builds(pk.Gaussian, numbers, positive),
    st.builds(lambda a, w: pk.Uniform(a, a + w), numbers, positive),
    st.builds(lambda a, b: pk.laws.Mixture((a, b), (START, pk.Gaussian(1.0, 0.3))), positive,
              positive),
)  # fmt: skip
betas = st.one_of(positive, st.just(math.inf))
walls = st.one_of(
    st.none(),
    st.builds(lambda k, low: pk.Walls(low, pk.PartlyAbsorbing(k)), positive, st.booleans()),
)


@st.composite
def solutions(draw):
    """Solutions of any values, as if solved: what is stored does not depend on how."""
    beta = draw(betas)
    ends = None if beta == math.inf else draw(walls)
    equation = draw(st.sampled_from([
        pk.FokkerPlanck(draw(potentials), beta, walls=ends),
        pk.McKeanVlasov(V, beta, pk.CurieWeiss(draw(numbers))),
        pk.HamiltonJacobi(pk.hamiltonians.Power(1.5)), pk.Heat(draw(positive)),
    ]))  # fmt: skip
    periodic = draw(st.booleans())
    grid = pk.Grid(draw(st.floats(-9, -1)), 2.0, draw(st.integers(4, 9)), periodic)
    times = np.cumsum(draw(st.lists(positive, min_size=1, max_size=4)))
    fields = draw(st.lists(numbers, min_size=len(times) * grid.cells[0],
                           max_size=len(times) * grid.cells[0]))  # fmt: skip
    stats = {"steps": draw(st.integers(0, 10**12)), "seconds": draw(positive), "minimum": math.nan,
             "maximum": draw(numbers), "survival": draw(st.lists(numbers, max_size=3))}  # fmt: skip
    scheme = draw(st.sampled_from([pk.schemes.Exponential(), pk.schemes.Upwind()]))
    values = np.array(fields).reshape(len(times), -1)
    t0 = draw(st.sampled_from([0.0, 0.01]))
    return pk.Solution(values, times, equation, grid, scheme, stats, draw(laws), t0)


@given(result=solutions())
@settings(max_examples=40, deadline=None)
def test_any_solution_comes_back_as_it_was(result, tmp_path_factory):
    path = saved(result, tmp_path_factory.mktemp("any"))
    back = pk.load(path)
    same(result, back)
    assert back.equation == result.equation and back.grid == result.grid
    assert back.initial == result.initial and back.scheme == result.scheme
    xr.testing.assert_identical(back.u, result.u)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@given(
    seed=st.integers(0, 2**64 - 1), runs=st.integers(1, 3), dim=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "float64"]), stops=st.booleans(),
)  # fmt: skip
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
def test_any_ensemble_comes_back_as_it_was(seed, runs, dim, dtype, stops, tmp_path_factory):
    bowl = pk.potentials.Quadratic(1.0, dim=dim)
    box = pk.Grid((-1.0,) * dim, (2.0,) * dim, (8,) * dim) if stops and dim < 3 else None
    ends = pk.Walls(lower=(True,) * dim if dim > 1 else True) if box else None
    dynamics = pk.Langevin(bowl, 2.0, box=box, walls=ends)
    law = pk.Uniform((0.0,) * dim, (1.0,) * dim)
    observe = [pk.Moments(), *([pk.Histogram(box)] if box else [])]
    X = pk.simulate(
        dynamics, law, 7, [0.1, 0.2], 0.05, runs=runs, seed=seed, dtype=dtype, observe=observe
    )
    back = pk.load(saved(X, tmp_path_factory.mktemp("any")))
    same(X, back)
    xr.testing.assert_identical(back.x, X.x)
    xr.testing.assert_identical(back.observed, X.observed)
    assert back.x.dtype == X.x.dtype and back.dynamics == dynamics and back.seed == seed


def test_momenta_controls_games_and_phases_come_back(tmp_path):
    momenta = pk.simulate(pk.UnderdampedLangevin(V, 4.0), START, 20, [0.1, 0.2], 0.05)
    control = pk.control(V, 4.0, LINE, START, terminal_cost=V, t=[0.5, 1.0], running_cost=V)
    game = pk.control(V, 4.0, LINE, START, V, np.linspace(0, 1, 41), coupling=pk.Congestion(1.0))
    phases = pk.phase_diagram(V, [1.0, 4.0], [1.0], LINE)
    for result in (momenta, control, game, phases):
        same(result, pk.load(saved(result, tmp_path)))
    back = pk.load(saved(game, tmp_path))
    assert back.residuals == game.residuals and back.improvement == game.improvement
    assert pk.load(saved(control, tmp_path)).effort == control.effort
    assert [c.passed for c in pk.certify(back)] == [c.passed for c in pk.certify(game)]


def test_others_read_it_too(tmp_path):
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, [0.1, 1.0])
    with xr.open_dataset(saved(rho, tmp_path)) as table:
        np.testing.assert_array_equal(table["u"], rho.u)
        np.testing.assert_array_equal(table["x"], LINE.axes[0])
        said = table.attrs
    assert said["equation"] == "FokkerPlanck(potential=DoubleWell(), beta=4.0)"
    assert json.loads(said["stats"])["steps"] == rho.stats["steps"]
    assert json.loads(said["versions"])["pdekit"] == pk.__version__
    assert "none" in said["functions"]


@pytest.fixture(scope="module")
def with_functions():
    plane = pk.Grid((-2, -2), (2, 2), (8, 7))
    bowl = pk.potentials.Custom(lambda x: 2 * (x**2).sum(-1), dim=2)
    equation = pk.FokkerPlanck(bowl, 4.0, force=turned)
    with pytest.warns():
        return pk.solve(equation, plane, lambda x: np.exp(-(x**2).sum(-1)), [0.1, 0.3])


def test_functions_are_named_and_brought_back(with_functions, tmp_path):
    path = saved(with_functions, tmp_path)
    bare = pk.load(path)
    assert "turned, not stored" in repr(bare) and bare.fields.tobytes() == (
        with_functions.fields.tobytes()
    )
    np.testing.assert_array_equal(bare.initial, with_functions.problem().values)
    bare.plot()
    with pytest.raises(ValueError, match=r"turned is not in the file.*equation=.*def turned"):
        bare.equation.force(LINE.centres)
    with xr.open_dataset(path) as table:
        assert "np.stack([-x[..., 1], x[..., 0]], -1)" in table.attrs["functions"]
    whole = pk.load(path, equation=with_functions.equation)
    assert whole.equation == with_functions.equation and whole.equation.force is turned
    certificates = [str(c) for c in pk.certify(whole)]
    assert certificates == [
        str(c) for c in pk.certify(replace(with_functions, initial=bare.initial))
    ]


def test_functions_of_one_line_are_not_mistaken(tmp_path):
    V, F = pk.InTime(lambda x, t: x[..., 0] ** 2 * (1 + t)), pk.InTime(lambda x, t: 0 * x - t)
    rho = pk.solve(pk.FokkerPlanck(V, 4.0, force=F), LINE, START, 0.5)
    path = saved(rho, tmp_path)
    whole = pk.load(path, equation=rho.equation)
    assert whole.equation.potential.f is V.f and whole.equation.force.f is F.f
    with pytest.raises(ValueError, match=r"potential\.f has values of another shape"):
        pk.load(path, equation=replace(rho.equation, potential=F))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"beta": 5.0}, "equation.beta is 4.0 there, 5.0 here"),
        ({"force": lambda x: turned(x) * (1 + 1e-6)}, "force differs by 1e-06 from turned"),
        ({"force": None}, "force has values of another shape from turned there"),
        ({"potential": pk.potentials.Quadratic(4.0, dim=2)}, "potential is of Custom there"),
        ({"killing": 0.1}, "killing is None there, 0.1 here"),
    ],
)
def test_another_equation_is_not_taken_for_it(change, said, with_functions, tmp_path):
    path = saved(with_functions, tmp_path)
    with pytest.raises(ValueError, match=said):
        pk.load(path, equation=replace(with_functions.equation, **change))


def test_dynamics_are_brought_back_too(tmp_path):
    X = pk.simulate(pk.Langevin(well, 4.0), START, 60, [0.1, 0.5], 0.05)
    path = saved(X, tmp_path)
    assert pk.load(path, dynamics=X.dynamics).dynamics == X.dynamics
    with pytest.raises(ValueError, match=r"not stored|not in the file"):
        pk.simulate(pk.load(path).dynamics, START, 60, 0.1, 0.05)
    with pytest.raises(ValueError, match=r"come back by dynamics="):
        pk.load(path, equation=pk.Heat(1.0))
    with pytest.raises(ValueError, match=r"dynamics\.beta"):
        pk.load(path, dynamics=pk.Langevin(well, 3.0))


def test_a_function_that_cannot_be_compared_is_said(tmp_path):
    class Odd:
        """Its values are words."""

        def __call__(self, x):
            return "words"

    rho = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, 0.5)
    odd = replace(rho, equation=replace(rho.equation, potential=Odd()))
    path = saved(odd, tmp_path)
    with pytest.warns(pk.AccuracyWarning, match="could not be compared"):
        pk.load(path, equation=replace(rho.equation, potential=Odd()))


def spoilt(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "a bit":
        data[-9] ^= 1
    elif how == "text":
        data = bytearray(b"x,value\n1,2\n")
    elif how == "empty":
        data = bytearray()
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["cut", "a bit", "text", "empty"])
def test_damaged_and_foreign_files_are_told_apart(how, tmp_path):
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, 0.5)
    path = saved(rho, tmp_path)
    spoilt(path, how)
    said = "is damaged" if how in ("cut", "a bit") else "is not a file that pdekit wrote"
    with pytest.raises(ValueError, match=said):
        pk.load(path)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_no_flipped_bit_goes_unnoticed(where, bit, tmp_path_factory):
    rho = pk.Solution(np.ones((1, 5)), np.ones(1), pk.Heat(1.0), pk.Grid(0, 1, 5),
                      pk.schemes.Spectral(), {"steps": 1, "seconds": 0.0, "minimum": 1.0,
                                              "maximum": 1.0}, None)  # fmt: skip
    path = saved(rho, tmp_path_factory.mktemp("bit"))
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))
    try:
        back = pk.load(path)
    except ValueError:
        return
    same(rho, back)  # words for readers, and padding


def test_other_netcdf_and_newer_formats_are_named(tmp_path):
    path = tmp_path / "other.nc"
    xr.Dataset({"u": ("x", np.arange(3.0))}).to_netcdf(path, engine="scipy")
    with pytest.raises(ValueError, match="of another program"):
        pk.load(path)
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, 0.5)
    with xr.load_dataset(saved(rho, tmp_path)) as table:
        table.attrs["pdekit_format"] = 2
        table.to_netcdf(path, engine="scipy")
    with pytest.raises(ValueError, match=r"newer pdekit.*format 2"):
        pk.load(path)
    with pytest.raises(FileNotFoundError):
        pk.load(tmp_path / "none.nc")


@pytest.mark.parametrize(
    "tree, said",
    [
        ({"value": "os.system", "fields": {}}, "not a class of pdekit"),
        ({"value": "pdekit.cli.main", "fields": {}}, "not a value of pdekit"),
        ({"value": "pdekit.potentials.analytic.Gone", "fields": {}}, "has no"),
        ({"value": "pdekit.pde.equations.Heat", "fields": {"gamma": 1}}, "has no gamma"),
        ({"value": "pdekit.pde.equations.Heat", "fields": {}}, "needs beta"),
        ({"ufunc": "load"}, "no function 'load'"),
        ({"result": "pdekit.grid.Grid", "parts": {}}, "not a result"),
    ],
)
def test_only_values_of_pdekit_are_made(tree, said):
    with pytest.raises(Unknown, match=said):
        Reader({}, "equation").value(tree)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, 0.5)
    path = saved(rho, tmp_path)
    old = path.read_bytes()

    def full(self, file, **how):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="No space"):
        saved(rho, tmp_path)
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_too_large_for_the_format_is_refused(tmp_path):
    from pdekit.storage.netcdf import _check_sizes

    huge = np.broadcast_to(np.zeros(1), (1 << 28) + 1)
    with pytest.raises(ValueError, match=r"2\.1 GB, more than the 2 GB"):
        _check_sizes({"x": xr.Variable("particle", huge)})
    assert Writer().array("n", np.array([1 << 40]))["dtype"] == "<i8"
    with pytest.raises(ValueError, match="exactly"):
        Writer().array("n", np.array([(1 << 60) + 1]))
