"""Grids: geometry, quadrature, and arguments that make no grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk

bounds = st.tuples(st.floats(-5, 5), st.floats(0.1, 10)).map(lambda p: (p[0], p[0] + p[1]))


@settings(max_examples=200)
@given(bounds, st.integers(4, 50))
def test_centres_lie_between_faces(box: tuple[float, float], cells: int) -> None:
    grid = pk.Grid(*box, cells)
    (x,), (faces,) = grid.axes, grid.faces
    assert x.shape == (cells,) and faces.shape == (cells + 1,)
    np.testing.assert_allclose(x, (faces[1:] + faces[:-1]) / 2, atol=1e-12)
    np.testing.assert_allclose(np.diff(faces), grid.spacing[0], rtol=1e-9)
    assert grid.contains(grid.centres).all()
    assert grid.integrate(np.ones(grid.shape)) == pytest.approx(box[1] - box[0])


def test_plane_has_coordinates_last_and_x_first() -> None:
    grid = pk.Grid((-3, 0), (3, 1), (6, 4))
    assert grid.centres.shape == (6, 4, 2) and grid.names == ("x", "y") and grid.dim == 2
    np.testing.assert_allclose(grid.centres[1, 2], [-1.5, 0.625])
    assert grid.cell_volume == pytest.approx(0.25)


def test_integral_is_of_second_order() -> None:
    errors = []
    for n in (20, 40, 80):
        grid = pk.Grid((0, 0), (1, 2), (n, n))
        field = np.exp(grid.centres.sum(-1))
        errors.append(abs(grid.integrate(field) - (np.e - 1) * (np.e**2 - 1)))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.15)


def test_leading_axes_are_kept() -> None:
    grid = pk.Grid((0, 0), (1, 1), (4, 5))
    assert grid.integrate(np.ones((3, 4, 5))).shape == (3,)


def test_equal_by_value_and_immutable() -> None:
    assert pk.Grid(-3, 3, 60) == pk.Grid(-3.0, 3.0, (60,)) and len({pk.Grid(0, 1, 4)}) == 1
    assert pk.Grid(0, 1, 4) != pk.Grid(0, 1, 4, periodic=True)
    with pytest.raises(ValueError, match="read-only"):
        pk.Grid(0, 1, 4).centres[0] = 1
    with pytest.raises(AttributeError):
        pk.Grid(0, 1, 4).cells = 5


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((1, 0, 10), ValueError, "lower < upper"),
        ((0, np.inf, 10), ValueError, "finite"),
        ((0, 1, 3), ValueError, "at least 4 cells"),
        ((0, 1, 10.5), TypeError, "whole numbers"),
        (((0, 0, 0), (1, 1, 1), 5), ValueError, "one or two dimensions"),
        (((0, 0), (1, 1), (5, 5, 5)), ValueError, "dimensions|one per axis"),
        (("a", 1, 5), TypeError, "lower must be numbers"),
    ],
)
def test_no_grid(arguments: tuple, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        pk.Grid(*arguments)


def test_wrong_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(4,\), got shape \(5,\)"):
        pk.Grid(0, 1, 4).integrate(np.ones(5))
