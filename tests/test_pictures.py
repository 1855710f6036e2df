"""What ``.plot()``, ``.movie()`` and ``repr`` of results show is what was computed."""

import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

import pdekit as pk

matplotlib.use("agg")
import matplotlib.pyplot as plt

V = pk.potentials.DoubleWell()
LINE, PLANE = pk.Grid(-3, 3, 60), pk.Grid((-3, -2), (3, 2), (24, 16))
TIMES = [0.1, 0.4, 1.0]
START = pk.Gaussian(-1.0, 0.2)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def density():
    return pk.solve(pk.FokkerPlanck(V, 4.0), LINE, START, TIMES)


@pytest.fixture(scope="module")
def plane():
    bowl = pk.potentials.Quadratic(4.0, dim=2)
    turned = pk.FokkerPlanck(bowl, 4.0, force=lambda x: np.stack([-x[..., 1], x[..., 0]], -1))
    return pk.solve(turned, PLANE, pk.Gaussian((-1.0, 0.0), 0.2), TIMES)


@pytest.fixture(scope="module")
def ensemble():
    return pk.simulate(pk.Langevin(V, 4.0), START, 300, [0.0, *TIMES], 0.02, runs=2)


@pytest.fixture(scope="module")
def control():
    return pk.control(V, 4.0, LINE, START, terminal_cost=V, t=[0.2, 0.5, 1.0])


def test_lines_go_through_the_fields_of_their_times(density) -> None:
    ax = density.plot(t=[0.1, 1.0])
    for line, k in zip(ax.lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.c_[LINE.axes[0], density.fields[k]])
        assert line.get_label() == f"t = {TIMES[k]:g}"
    assert ax.get_xlabel() == "x (length)" and ax.get_ylabel() == "density ρ (1/length)"


def test_an_image_has_every_field_between_the_halves_of_its_times(density) -> None:
    (mesh,) = density.plot("image").collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).T, density.fields)
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.1, 0.25, 0.7, 1.0])
    np.testing.assert_allclose(corners[:, 0, 1], LINE.faces[0], atol=1e-12)


def test_cells_contours_and_currents_of_the_plane(plane) -> None:
    mesh = plane.plot("field", t=0.4).collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).T, plane.fields[1])
    flow = pk.current(plane.equation, plane.final, PLANE)
    ax = plane.plot(arrows=flow)
    arrows = ax.collections[-1]
    x, y = arrows.XY.T
    there = flow.sel(x=xr_of(x), y=xr_of(y)).values
    (
        np.testing.assert_allclose(there[:, 0], arrows.U),
        np.testing.assert_allclose(there[:, 1], arrows.V),
    )
    assert ax.get_title() == "t = 1" and len(x) > 10


def xr_of(values):
    import xarray as xr

    return xr.DataArray(values, dims="arrow")


def test_it_draws_on_given_axes_and_nowhere_else(density, ensemble) -> None:
    left, right = plt.subplots(1, 2)[1]
    assert density.plot(ax=left) is left and ensemble.plot(ax=right) is right
    assert plt.get_fignums() == [1] and left.lines and right.patches


def test_histograms_count_all_runs_and_all_particles(ensemble) -> None:
    values, edges, _ = ensemble.plot(t=1.0).patches[0].get_data()
    x = ensemble.final.values.ravel()
    inside = np.mean((x >= edges[0]) & (x <= edges[-1]))
    assert np.sum(values * np.diff(edges)) == pytest.approx(inside) and inside > 0.99


def test_stopped_particles_count_and_are_not_drawn() -> None:
    walls = pk.Walls(lower=True)
    dynamics = pk.Langevin(V, 2.0, box=pk.Grid(-1.5, 3, 30), walls=walls)
    left = pk.simulate(dynamics, pk.Uniform(-1.2, -0.8), 400, [0.5, 3.0], 0.02)
    values, edges, _ = left.plot(t=3.0).patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(float(left.alive[-1]), abs=0.01)


def test_clouds_and_paths_are_of_the_particles(ensemble) -> None:
    lines = ensemble.plot("trajectories").lines
    paths = ensemble.x.values.reshape(4, -1)
    assert all((line.get_ydata()[:, None] == paths).all(0).any() for line in lines)
    two = pk.simulate(pk.Langevin(pk.potentials.Quadratic(1.0, dim=3), 1.0),
                      pk.Gaussian((0.0, 0.0, 5.0), 0.1), 50, [0.1], 0.02)  # fmt: skip
    (dots,) = two.plot(axis=(0, 2)).lines
    np.testing.assert_array_equal(dots.get_xydata(), two.final.values[:, [0, 2]])


def test_controls_and_games_show_value_density_and_control(control) -> None:
    value, rho, alpha = control.plot().axes[:3]
    for ax, field in ((value, control.value.u), (rho, control.density.u),
                      (alpha, control.control.isel(component=0))):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()), field.values.T)
    _, high = value.collections[0].get_clim()
    assert high < float(control.value.u.max()) / 2, "corners without mass choose the colours"
    assert alpha.collections[0].get_clim()[0] == -alpha.collections[0].get_clim()[1]
    assert len(control.plot(t=[0.0, 1.0]).axes[1].lines) == 2


def test_branches_are_drawn_whole_and_dashed_where_unstable() -> None:
    diagram = pk.phase_diagram(V, [1.0, 3.0, 5.0], [1.0], pk.Grid(-3, 3, 100))
    ax = diagram.plot()
    drawn = [line.get_xydata() for line in ax.lines]
    for branch in diagram.branches[1.0]:
        for parameter, mean in zip(branch.parameter, branch.mean, strict=True):
            assert any((points == (parameter, mean)).all(1).any() for points in drawn)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    for line in dashed:
        at = np.isfinite(line.get_ydata())
        assert np.abs(line.get_ydata()[at]).max(initial=0) < 0.7
    assert any(np.isfinite(line.get_ydata()).any() for line in dashed)


@pytest.mark.parametrize("what", ["density", "plane", "ensemble", "control"])
def test_a_movie_has_a_frame_for_every_time(what, request, tmp_path) -> None:
    result = request.getfixturevalue(what)
    path = result.movie(tmp_path / "m.gif", fps=5)
    with Image.open(path) as movie:
        times = 4 if what in ("ensemble", "control") else 3
        frames = [np.array(each.convert("L")) for each in frames_of(movie)]
    assert len(frames) == times and not np.array_equal(frames[0], frames[-1])
    assert [p.name for p in tmp_path.iterdir()] == ["m.gif"]
    assert plt.get_fignums() == []


def frames_of(movie):
    for k in range(movie.n_frames):
        movie.seek(k)
        yield movie


def test_a_movie_that_fails_leaves_the_old_one(density, tmp_path, monkeypatch) -> None:
    path = density.movie(tmp_path / "m.gif")
    old = path.read_bytes()
    monkeypatch.setattr("pdekit.pictures.fields.plotting.line", None)
    monkeypatch.setattr("matplotlib.lines.Line2D.set_ydata", None)
    with pytest.raises(TypeError):
        density.movie(path)
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_drawn_is_said(density, plane, ensemble, tmp_path) -> None:
    with pytest.raises(ValueError, match="'lines', 'image'"):
        density.plot("contours")
    with pytest.raises(ValueError, match=r"stored times.*0.1, 0.4, 1.0.*got 0.2"):
        density.plot(t=0.2)
    with pytest.raises(ValueError, match="one stored time"):
        plane.plot(t=[0.1, 0.4])
    with pytest.raises(ValueError, match="numbers 0 to 0"):
        ensemble.plot(axis=1)
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4"):
        density.movie(tmp_path / "m.avi")
    with pytest.raises(ValueError, match="several stored times"):
        pk.solve(density.equation, LINE, START, 0.1).movie(tmp_path / "m.gif")
    bare = pk.simulate(pk.Langevin(V, 4.0), START, 10, 0.1, 0.02, keep=False)
    with pytest.raises(ValueError, match="keep=True"):
        bare.plot()
    assert "not kept" in repr(bare)


def test_a_repr_says_what_it_is_and_what_to_doubt(density, ensemble, control) -> None:
    for result in (density, ensemble, control):
        lines = repr(result).splitlines()
        assert 4 <= len(lines) <= 16 and max(map(len, lines)) < 300
        assert result._repr_html_().count("<tr>") == len(lines) - 1
    assert "FokkerPlanck(potential=DoubleWell(), beta=4.0)" in repr(density)
    assert "error in time" in repr(density) and "doubts" not in repr(density)
    with pytest.warns(pk.TruncationWarning):
        cut = pk.solve(pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0), LINE, START, 3.0)
    doubts = repr(cut).splitlines()[-1]
    assert re.search(r"doubts +mass beyond the walls \d", doubts)
    assert "0x" not in repr(cut) and "lambda" in repr(cut)
    assert "&lt;lambda&gt;" in cut._repr_html_()
