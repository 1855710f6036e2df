"""Tabulated potentials: the spline and its accuracy, its continuation, files, bad samples."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from pdekit import potentials as p

EVEN = np.linspace(-1.0, 2.0, 13)
UNEVEN = np.array([-1.0, -0.9, -0.5, 0.1, 0.3, 1.0, 1.2, 1.9, 2.0])
AXES = pytest.mark.parametrize("x", [EVEN, UNEVEN], ids=["even", "uneven"])


def cubic(x):
    return 1 - 2 * x + 0.5 * x**2 + 0.7 * x**3


def cubic_slope(x):
    return -2 + x + 2.1 * x**2


@AXES
def test_cubics_are_exact(x):
    V, z = p.Tabulated(x, cubic(x)), np.linspace(-1, 2, 101)
    np.testing.assert_allclose(V(z[:, None]), cubic(z), atol=1e-13)
    np.testing.assert_allclose(V.grad(z[:, None])[:, 0], cubic_slope(z), atol=1e-12)


def test_products_of_cubics_are_exact_in_the_plane():
    y = UNEVEN[1:]
    V = p.Tabulated((EVEN, y), cubic(EVEN)[:, None] * np.cos(0 * y) * (y**3 - y))
    z = np.stack(np.meshgrid(np.linspace(-1, 2, 21), np.linspace(-0.9, 2, 17), indexing="ij"), -1)
    a, b = z[..., 0], z[..., 1]
    np.testing.assert_allclose(V(z), cubic(a) * (b**3 - b), atol=1e-12)
    np.testing.assert_allclose(V.grad(z)[..., 0], cubic_slope(a) * (b**3 - b), atol=1e-11)
    np.testing.assert_allclose(V.grad(z)[..., 1], cubic(a) * (3 * b**2 - 1), atol=1e-11)


@AXES
def test_inside_the_spline_is_that_of_scipy(x):
    values = np.random.default_rng(0).normal(size=x.size)
    z = np.append(np.random.default_rng(1).uniform(-1, 2, 500), x)
    V, reference = p.Tabulated(x, values), CubicSpline(x, values)
    np.testing.assert_allclose(V(z[:, None]), reference(z), atol=1e-12)
    np.testing.assert_allclose(V.grad(z[:, None])[:, 0], reference(z, 1), atol=1e-11)


def errors(n):
    """Largest error of V and of its slope for sin 2x from n intervals, away from the ends."""
    x = np.linspace(-2, 2, n + 1)
    V, z = p.Tabulated(x, np.sin(2 * x)), np.linspace(-1, 1, 1001)
    value = np.abs(V(z[:, None]) - np.sin(2 * z)).max()
    return value, np.abs(V.grad(z[:, None])[:, 0] - 2 * np.cos(2 * z)).max()


def test_fourth_order_with_the_constant_of_cubic_splines():
    coarse, fine = errors(64), errors(128)
    assert np.log2(coarse[0] / fine[0]) == pytest.approx(4, abs=0.15)
    assert np.log2(coarse[1] / fine[1]) == pytest.approx(3, abs=0.15)
    # max|V''''| = 16: the leading constants of cubic spline interpolation are 1/384 and 1/24
    # (5/384 is the bound for any C^4 function with clamped ends)
    h = 4 / 128
    assert fine[0] == pytest.approx(16 * h**4 / 384, rel=0.05)
    assert fine[1] <= 16 * h**3 / 24


def test_linear_beyond_the_samples_with_the_slope_at_the_end():
    V = p.Tabulated(EVEN, cubic(EVEN))
    for end, outward in ((2.0, 1.0), (-1.0, -1.0)):
        far = end + outward * np.array([0.0, 0.3, 40.0, 1e6])
        expected = cubic(end) + cubic_slope(end) * (far - end)
        np.testing.assert_allclose(V(far[:, None]), expected, rtol=1e-12)
        np.testing.assert_allclose(V.grad(far[:, None])[:, 0], cubic_slope(end), rtol=1e-11)


def test_bilinear_off_a_corner_and_once_differentiable_across_it():
    V = p.Tabulated((EVEN, EVEN), np.outer(cubic(EVEN), cubic(EVEN)))
    a = cubic(2.0) + cubic_slope(2.0) * 1.5
    b = cubic(-1.0) - cubic_slope(-1.0) * 0.5
    assert V(np.array([3.5, -1.5])) == pytest.approx(a * b, rel=1e-12)
    # across the line y = 2, for x inside and beyond the samples
    x = np.linspace(-2, 3.5, 23)
    below, above = (np.stack([x, np.full_like(x, 2 + s)], -1) for s in (-1e-9, 1e-9))
    np.testing.assert_allclose(V.grad(below), V.grad(above), atol=1e-5)


@AXES
@settings(max_examples=50, deadline=None)
@given(z=st.lists(st.floats(-3, 4), min_size=1, max_size=9))
def test_value_and_grad_is_both(x, z):
    V = p.Tabulated(x, np.sin(3 * x))
    z = np.array(z)[:, None]
    for y in (z, torch.from_numpy(z)):
        value, slope = V.value_and_grad(y)
        assert (value == V(y)).all() and (slope == V.grad(y)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_points_in_one_pass_are_the_same_as_few(dtype):
    V = p.Tabulated(EVEN, np.sin(3 * EVEN))
    z = np.random.default_rng(0).uniform(-2, 3, (2, 5000, 1)).astype(dtype)
    z[0, :4, 0] = -1.0, 2.0, np.nan, 1e30
    few = [V.value_and_grad(part) for part in np.split(z.reshape(-1, 1), 10)]
    value, slope = (np.concatenate(parts) for parts in zip(*few, strict=True))
    tolerance = 64 * np.finfo(dtype).eps
    graph = torch.from_numpy(z).requires_grad_()
    for y in (z, torch.from_numpy(z), graph):
        for got, expected in zip(V.value_and_grad(y), (value, slope), strict=True):
            got = got.detach().numpy() if y is graph else np.asarray(got)
            assert got.dtype == dtype and got.shape[:2] == (2, 5000)
            np.testing.assert_allclose(
                got.ravel(), expected.ravel(), rtol=tolerance, atol=tolerance
            )


def test_nan_points_give_nan_and_nothing_else():
    for x in (EVEN, UNEVEN):
        V = p.Tabulated(x, cubic(x))
        z = np.array([[np.nan], [0.5], [-1e300], [1e300]])
        for y in (z, torch.from_numpy(z)):
            values = np.asarray(V(y))
            assert np.isnan(values[0]) and np.isfinite(values[1])
            assert values[1] == pytest.approx(cubic(0.5)) and values[3] > 1e300


def test_the_plane_in_every_form_is_the_same_potential():
    x, y = UNEVEN, EVEN[:5]
    values = np.sin(x)[:, None] + y
    points = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    order = np.random.default_rng(0).permutation(len(points))
    V = p.Tabulated((x, y), values)
    assert p.Tabulated(points[order], values.ravel()[order]) == V
    assert p.Tabulated([x[::-1], y], values[::-1]) == V
    assert p.Tabulated((x, y), values.ravel()) == V
    assert V.lower == (-1.0, -1.0) and V.upper == (2.0, 0.0) and V.dim == 2


def test_samples_on_a_line_are_sorted():
    order = np.random.default_rng(0).permutation(EVEN.size)
    V = p.Tabulated(EVEN[order], cubic(EVEN[order]))
    twin = p.Tabulated(EVEN[:, None], cubic(EVEN))
    assert twin == V and hash(twin) == hash(V)
    assert V.lower == (-1.0,) and V.upper == (2.0,)
    assert repr(V) == "Tabulated(13 samples on (-1.0,) to (2.0,))"


def test_later_changes_of_the_arrays_do_not_reach_in():
    x, values = EVEN.copy(), cubic(EVEN)
    V = p.Tabulated(x, values)
    values[:], x[:] = 0.0, 0.0
    assert p.Tabulated(EVEN, cubic(EVEN)) == V
    with pytest.raises(ValueError, match="read-only"):
        V.values[0] = 1.0


def replaced(array, i, value):
    changed = np.array(array, dtype=float)
    changed[i] = value
    return changed


PLANE = np.stack(np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij"), -1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("points", "values", "error", "message"),
    [
        (EVEN[:3], EVEN[:3], ValueError, "at least 4 different x, got 3"),
        ((EVEN, EVEN[:3]), np.zeros((13, 3)), ValueError, "at least 4 different y, got 3"),
        (replaced(EVEN, 5, EVEN[2]), EVEN, ValueError, r"sample 2 and sample 5 .* point \(-0.5\)"),
        (EVEN, replaced(EVEN, 7, np.nan), ValueError, r"sample 7 is not finite: .* value nan"),
        (replaced(EVEN, 3, np.inf), EVEN, ValueError, r"sample 3 is not finite: point \(inf\)"),
        (EVEN, EVEN[:-1], ValueError, r"13 points need values of shape \(13,\), got shape \(12,\)"),
        ((EVEN, EVEN), np.zeros((13, 12)), ValueError, r"shape \(13, 13\), got shape \(13, 12\)"),
        (np.zeros((9, 3)), np.zeros(9), ValueError, r"got shape \(9, 3\)"),
        (PLANE[:-1], np.zeros(19), ValueError, r"ask for 20 samples, got 19; .* point is \(3, 4\)"),
        (np.vstack([PLANE, PLANE[6]]), np.zeros(21), ValueError, "sample 6 and sample 20"),
        (["a", "b"], EVEN, TypeError, "points must be numbers"),
        (
            (PLANE[:4, 1], EVEN[:4]),
            replaced(np.zeros((4, 4)), (1, 2), np.nan),
            ValueError,
            r"sample \[1, 2\]",
        ),
    ],
)
def test_bad_samples_are_named(points, values, error, message):
    with pytest.raises(error, match=message):
        p.Tabulated(points, values)


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("header", ["", "x,value\n", "alpha, loss\n", "\ufeffx,value\n"])
def test_csv_round_trip_on_a_line(tmp_path, header):
    rows = "".join(
        f"{a!r},{b!r}\n" for a, b in zip(UNEVEN.tolist(), cubic(UNEVEN).tolist(), strict=True)
    )
    path = tmp_path / "loss.csv"
    path.write_text("# a comment\n" + header + rows + "\n", encoding="utf-8")
    if header.startswith("\ufeff"):  # the mark stands first in a file
        path.write_text(header + rows, encoding="utf-8")
    assert p.Tabulated.from_csv(path) == p.Tabulated(UNEVEN, cubic(UNEVEN))


def test_csv_columns_go_by_name_where_they_have_these_names(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text("value,x\n" + "".join(f"{a**2},{a}\n" for a in range(5)))
    assert p.Tabulated.from_csv(path) == p.Tabulated(range(5), [a**2 for a in range(5)])


def test_csv_and_npz_round_trip_in_the_plane(tmp_path):
    x, y = UNEVEN, EVEN[:4]
    values = np.sin(x)[:, None] * y
    V = p.Tabulated((x, y), values)
    rows = [
        f"{a!r},{b!r},{v!r}"
        for a, r in zip(x.tolist(), values.tolist(), strict=True)
        for b, v in zip(y.tolist(), r, strict=True)
    ]
    (tmp_path / "f.csv").write_text("x,y,value\n" + "\n".join(rows[::-1]))
    assert p.Tabulated.from_csv(tmp_path / "f.csv") == V
    np.savez(tmp_path / "axes.npz", x=x, y=y, value=values)
    assert p.Tabulated.from_npz(tmp_path / "axes.npz") == V
    a, b = (c.ravel() for c in np.meshgrid(x, y, indexing="ij"))
    np.savez(tmp_path / "points.npz", x=a, y=b, value=values.ravel())
    assert p.Tabulated.from_npz(tmp_path / "points.npz") == V
    np.savez(tmp_path / "line.npz", x=x, value=np.sin(x))
    assert p.Tabulated.from_npz(tmp_path / "line.npz") == p.Tabulated(x, np.sin(x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,value\n0,1\n1,\n2,3\n", r"line 3 \('1,'\): empty cell"),
        ("x,value\n0,1\n1,high\n2,3\n", r"line 3 \('1,high'\): 'high' is not a number"),
        ("0,1\n1,nan\n2,3\n", r"line 2 \('1,nan'\): nan is not finite"),
        ("0,1\n1,inf\n2,3\n", r"line 2 \('1,inf'\): inf is not finite"),
        ("0,1\n1,2,3\n", r"line 2 .*expected 2 columns, got 3"),
        ("0;1\n1;2\n", r"line 1 .*2 columns x,value or 3 columns x,y,value .*got 1"),
        ("0,1,2,3\n", r"line 1 .*got 4"),
        ("x,value\n\n0,1\n1,1\n2,1\n1,5\n3,1\n", r"line 4 and line 6 are at the same point \(1\)"),
        ("0,1\n1,1\n2,1\n", r"loss.csv: .*at least 4 different x, got 3"),
        ("x,value\n", "no samples; expected lines"),
        ("", "no samples"),
        ("x,value\nx,value\n", "'x' is not a number"),
        (
            "".join(f"{a},{b},0\n" for a in range(4) for b in range(4) if (a, b) != (2, 1)),
            r"16 samples, got 15; the first missing point is \(2, 1\)",
        ),
    ],
)
def test_bad_csv_is_named_by_line_and_content(tmp_path, text, message):
    path = tmp_path / "loss.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        p.Tabulated.from_csv(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": EVEN}, "no array named 'value'; expected x, value or x, y, value, got x"),
        ({"points": EVEN, "value": EVEN}, "no array named 'x'.*got points, value"),
        ({"x": EVEN, "y": EVEN, "value": EVEN[:4]}, r"value has shape \(4,\); expected \(13, 13\)"),
        ({"x": EVEN, "value": replaced(EVEN, 1, np.nan)}, "f.npz: sample 1 is not finite"),
        ({"x": EVEN, "value": np.array([None] * 13)}, "allow_pickle=False"),
    ],
)
def test_bad_npz_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        p.Tabulated.from_npz(tmp_path / "f.npz")


def test_a_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "f.npy", EVEN)
    with pytest.raises(ValueError, match="holds one array"):
        p.Tabulated.from_npz(tmp_path / "f.npy")


# ---------------------------------------------------------------------------- the measured slice

DATA = Path(__file__).parents[1] / "studies" / "data"


def test_the_shipped_slice_is_rugged_and_confining():
    V = p.Tabulated.from_csv(DATA / "digits_loss.csv")
    x = np.linspace(*V.lower, *V.upper, 2741)
    v, slope = V.value_and_grad(x[:, None])
    wells = np.flatnonzero((v[1:-1] < v[:-2]) & (v[1:-1] < v[2:])) + 1
    assert len(wells) == 6
    assert x[v.argmin()] == pytest.approx(0, abs=3e-3)
    assert slope[0] < -1 < 1 < slope[-1]


def test_the_shipped_slice_is_what_its_script_writes(tmp_path):
    spec = importlib.util.spec_from_file_location("digits_loss", DATA / "digits_loss.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path / "again.csv")
    again = p.Tabulated.from_csv(tmp_path / "again.csv")
    shipped = p.Tabulated.from_csv(DATA / "digits_loss.csv")
    np.testing.assert_array_equal(again.points, shipped.points)
    np.testing.assert_allclose(again.values, shipped.values, atol=1e-6)


# ------------------------------------------------------------------------------------- evolving

TIMES = np.array([0.0, 0.5, 2.0])


def evolving(x=EVEN):
    return p.Evolving(TIMES, x, [np.sin(x + t) + x**2 for t in TIMES])


@AXES
def test_at_stored_times_it_is_the_tabulated_one(x):
    V, z = evolving(x), np.linspace(-2, 3, 41)[:, None]
    for k, t in enumerate(TIMES):
        reference = p.Tabulated(x, V.values[k])
        assert V.at(t) == reference
        for y in (z, torch.from_numpy(z)):
            for got in ((V(y, t), V.grad(y, t)), V.at(t).value_and_grad(y)):
                np.testing.assert_allclose(got[0], reference(y), atol=1e-13)
                np.testing.assert_allclose(got[1], reference.grad(y), atol=1e-12)


def test_linear_in_between_and_constant_outside():
    V, z = evolving(), np.linspace(-2, 3, 41)[:, None]
    np.testing.assert_allclose(V(z, 1.1), 0.6 * V(z, 0.5) + 0.4 * V(z, 2.0), atol=1e-13)
    np.testing.assert_allclose(V.grad(z, 1.1), V.at(1.1).grad(z), atol=1e-13)
    # the spline of the mixed values is the mixture of the splines
    np.testing.assert_allclose(V(z, 1.1), p.Tabulated(EVEN, V.at(1.1).values)(z), atol=1e-12)
    assert V.at(-1.0) == V.at(0.0) and V.at(9.0) == V.at(2.0)


def test_reversed_time():
    V, z = evolving(), np.linspace(-2, 3, 41)[:, None]
    for t in (0.0, 0.3, 1.5, 1.9, 2.0):
        np.testing.assert_allclose(V.reversed()(z, t), V(z, 2.0 - t), atol=1e-13)
    assert V.reversed().reversed() == V != V.reversed()


def test_evolving_in_the_plane():
    x, y = UNEVEN, EVEN[:5]
    values = [np.sin(x + t)[:, None] * y for t in TIMES]
    V = p.Evolving(TIMES, (x, y), values)
    z = np.random.default_rng(0).uniform(-1.5, 2.5, (40, 2))
    expected = p.Tabulated((x, y), 0.5 * (values[0] + values[1]))
    np.testing.assert_allclose(V(z, 0.25), expected(z), atol=1e-13)
    np.testing.assert_allclose(V.grad(z, 0.25), expected.grad(z), atol=1e-12)
    assert V.dim == V.at(0.1).dim == 2


def test_one_time_stands_still():
    V = p.Evolving([1.0], EVEN, [cubic(EVEN)])
    assert V.at(0.0) == V.at(5.0) == p.Tabulated(EVEN, cubic(EVEN))


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([0.0, 0.0], np.zeros((2, 13)), "times must increase"),
        ([0.0, np.nan], np.zeros((2, 13)), "finite numbers"),
        ([], np.zeros((0, 13)), "finite numbers"),
        ([0.0, 1.0], np.zeros((3, 13)), r"one entry per time \(2\) first, got shape \(3, 13\)"),
        ([0.0, 1.0], replaced(np.zeros((2, 13)), (1, 4), np.nan), "at time 1.0: sample 4"),
    ],
)
def test_bad_evolving_samples_are_named(times, values, message):
    with pytest.raises(ValueError, match=message):
        p.Evolving(times, EVEN, values)
