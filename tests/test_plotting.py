"""What is drawn is what was computed, on the axes that were given and nowhere else."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pdekit import plotting
from pdekit.grid import Grid

LINE = Grid(-2, 2, 80)
PLANE = Grid((-2, 0), (2, 3), (8, 6))
CURVE = xr.DataArray(np.exp(-(LINE.axes[0] ** 2)), {"x": LINE.axes[0]}, ("x",))
FIELD = xr.DataArray(
    PLANE.centres[..., 0] + 10 * PLANE.centres[..., 1],
    dict(zip(PLANE.names, PLANE.axes, strict=True)),
    ("x", "y"),
)


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_a_line_goes_through_the_cell_centres(ax):
    artist = plotting.line(ax, CURVE, color="C3", label="u")
    np.testing.assert_array_equal(artist.get_xydata(), np.stack([LINE.axes[0], CURVE], axis=-1))
    assert (artist.get_color(), artist.get_label()) == ("C3", "u")
    assert ax.lines[0] is artist


def test_a_spectrum_is_its_density_in_a_band(ax):
    from pdekit import landscapes

    found = landscapes.spectrum(np.diag(np.linspace(-1, 2, 90)), steps=30, leading=1)
    curve, band = plotting.spectrum(ax, found, width=0.2, color="C4")
    x, y = curve.get_xydata().T
    np.testing.assert_array_equal(y, found.density(x, 0.2).value)
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-4)
    assert to_hex(band.get_facecolor()[0]) == to_hex("C4")
    assert plotting.spectrum(ax, found)[0].get_ydata().min() > -1e-12


def test_a_density_is_filled_in_its_own_colour(ax):
    curve, area = plotting.density(ax, CURVE, color="C2")
    assert curve.get_color() == "C2"
    assert to_hex(area.get_facecolor()[0]) == to_hex("C2")
    assert area.get_datalim(ax.transData).y0 == 0
    assert len(plotting.density(ax, CURVE, filled=False)) == 1


@given(n=st.integers(1, 5_000), bins=st.sampled_from([None, 7, 40]))
@settings(max_examples=30, deadline=None)
def test_a_histogram_integrates_to_the_fraction_inside(n, bins):
    x = np.random.default_rng(n).normal(size=(n, 1))
    steps = plotting.histogram(Figure().add_subplot(), x, LINE, bins=bins)
    values, edges, _ = steps.get_data()
    assert values @ np.diff(edges) == pytest.approx(np.mean(np.abs(x) <= 2))
    assert (edges[0], edges[-1]) == (-2, 2)


def test_histogram_steps_end_on_cell_faces(ax):
    x = np.random.default_rng(0).normal(size=1_000)
    _, edges, _ = plotting.histogram(ax, x, LINE).get_data()
    assert set(edges) <= set(LINE.faces[0])
    assert 15 <= len(edges) - 1 <= 40


def test_a_field_covers_the_box_with_x_to_the_right(ax):
    mesh = plotting.field(ax, FIELD)
    corners = np.asarray(mesh.get_coordinates()).reshape(-1, 2)
    assert corners.min(axis=0) == pytest.approx([-2, 0])
    assert corners.max(axis=0) == pytest.approx([2, 3])
    np.testing.assert_array_equal(mesh.get_array(), FIELD.values.T)


def test_bands_lie_between_their_curves(ax):
    band = plotting.bands(ax, [0, 1], [1, 2], [3, 5], color="C1")
    box = band.get_datalim(ax.transData)
    assert (box.x0, box.x1, box.y0, box.y1) == (0, 1, 1, 5)


def test_wrong_dimensions_are_named(ax):
    with pytest.raises(ValueError, match="take one time"):
        plotting.line(ax, CURVE.expand_dims(time=[1.0]))
    with pytest.raises(ValueError, match=r"expected a field with dims \('x', 'y'\)"):
        plotting.field(ax, CURVE)
    with pytest.raises(ValueError, match="drawn on a line"):
        plotting.histogram(ax, np.zeros((5, 2)), LINE)


def test_pyplot_is_left_alone():
    assert "matplotlib.pyplot" not in vars(plotting).values()
    assert "pyplot" not in vars(plotting)
    code = "import sys, pdekit.plotting; from matplotlib.figure import Figure as F; "
    code += "pdekit.plotting.bands(F().add_subplot(), [0, 1], [0, 0], [1, 1]); "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
