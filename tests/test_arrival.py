"""Times of arrival, c |∇T| = 1: against closed forms, the discrete equation, and a moving front."""

import numpy as np
import pytest

import pdekit as pk
from pdekit.pde.hamiltonians import Eikonal

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")


def disc(x0, y0, r):
    return lambda x: np.hypot(x[..., 0] - x0, x[..., 1] - y0) < r


def worst(speed, grid, target, exact, order=2):
    made = pk.arrival_time(speed, grid, target, order).values
    assert (made >= 0).all()
    return float(np.abs(made - np.maximum(exact(grid.centres), 0.0)).max())


def orders(error, cells):
    off = [error(n) for n in cells]
    return off, np.log2(off[0] / off[-1]) / np.log2(cells[-1] / cells[0])


def test_a_disc_has_cones_of_second_order():
    """Unequal cells: errors of 1.8 h² at most, and of .5 h for the monotone scheme."""

    def error(n, order=2):
        grid = pk.Grid((-2, -2), (2, 2.2), (n, n + 7))
        return worst(1.0, grid, disc(0, 0, 0.7), lambda x: np.hypot(*x.T).T - 0.7, order)

    off, order = orders(error, (40, 80, 160))
    assert order > 1.65 and off[-1] < 0.0005
    off, order = orders(lambda n: error(n, 1), (40, 160))
    assert 0.8 < order < 1.1 and off[-1] < 0.016


def test_a_speed_that_rises_along_y_bends_the_rays():
    """c = 1 + y / 2: T = arccosh(1 + |x|² / (8 c)) / (1/2), circles about centres that rise."""

    def exact(x):
        c = 1 + x[..., 1] / 2
        return 2 * np.arccosh(1 + (x**2).sum(-1) / 8 / c) - 0.4

    def error(n):
        grid = pk.Grid((-1.5, -1.2), (1.5, 1.8), n)
        return worst(lambda x: 1 + x[..., 1] / 2, grid, lambda x: exact(x) < 0, exact)

    off, order = orders(error, (40, 80, 160))
    assert order > 1.6 and off[-1] < 0.0015


def test_two_media_break_rays_by_snells_law():
    """Twice as fast above y = 0: the least time over where the ray crosses; head waves below."""
    s = np.linspace(-6, 6, 1001)

    def exact(x):
        a, y = x[..., 0, None], x[..., 1, None]
        broken = np.hypot(s, 1) + np.hypot(a - s, y) / 2
        direct = np.hypot(a[..., 0], y[..., 0] + 1)
        angle = np.arcsin(0.5)  # of total reflection: the head wave leaves the interface at it
        run = np.abs(a[..., 0]) - (1 - y[..., 0]) * np.tan(angle)
        wave = (1 - y[..., 0]) / np.cos(angle) + run / 2
        below = np.where(run > 0, np.minimum(direct, wave), direct)
        return np.where(y[..., 0] > 0, broken.min(-1), below) - 0.3

    def speed(x):
        return np.where(x[..., 1] > 0, 2.0, 1.0)

    def error(n):
        grid = pk.Grid((-4, -2), (4, 2), (2 * n, n))
        return worst(speed, grid, disc(0, -1, 0.3), exact)

    off, order = orders(error, (30, 60))
    assert order > 0.8 and off[-1] < 0.04


def test_obstacles_are_passed_round_their_corners():
    """Behind a wall the way is a string pulled tight; the wall itself and rooms are not reached."""
    grid = pk.Grid((-2, -2), (2, 2), 120)

    def speed(x):
        wall = (np.abs(x[..., 0]) < 0.1) & (x[..., 1] < 0.5)
        room = np.maximum(np.abs(x[..., 0] - 1.2), np.abs(x[..., 1] - 1.2))
        return np.where(wall | ((room > 0.3) & (room < 0.4)), 0.0, 1.0)

    made = pk.arrival_time(speed, grid, disc(-1.0, 0.0, 0.3))
    hidden = float(made.interp(x=1.0, y=-1.0))
    tight = np.hypot(0.9, 0.5) - 0.3 + 0.2 + np.hypot(0.9, 1.5)
    assert hidden == pytest.approx(tight, abs=0.05)
    assert float(made.interp(x=-1.0, y=-1.5)) == pytest.approx(1.2, abs=0.003)
    assert np.isinf(made.sel(x=1.2, y=1.2, method="nearest"))
    assert np.isinf(made.sel(x=0.0, y=0.0, method="nearest"))


@pytest.mark.parametrize("order", [1, 2])
def test_a_line_is_exact(order):
    """|x - edge| / c, and round a ring the shorter way."""
    line = pk.Grid(-1.0, 3.0, 40)
    made = pk.arrival_time(2.0, line, (0.33, 0.8), order).values
    x = line.axes[0]
    exact = np.maximum(np.maximum(0.33 - x, x - 0.8), 0) / 2
    np.testing.assert_allclose(made, exact, atol=1e-12)
    ring = pk.Grid(0.0, 4.0, 40, periodic=True)
    made = pk.arrival_time(1.0, ring, lambda x: np.abs(x[..., 0] - 3.5) < 0.27, order).values
    apart = np.abs(ring.axes[0] - 3.5)
    exact = np.maximum(np.minimum(apart, 4 - apart) - 0.27, 0)
    np.testing.assert_allclose(made, exact, atol=1e-10)


def test_a_torus_is_gone_round():
    grid = pk.Grid((0, 0), (3, 2), (90, 60), periodic=(True, False))
    centre = np.array([2.8, 1.0])

    def gap(x):
        along = np.abs(x[..., 0] - centre[0])
        return np.hypot(np.minimum(along, 3 - along), x[..., 1] - 1) - 0.3

    assert worst(1.0, grid, lambda x: gap(x) < 0, gap) < 0.003
    box = pk.arrival_time(1.0, grid, ((2.6, 0.9), (3.3, 1.1))).values  # across the seam
    assert box[np.argmin(np.abs(grid.axes[0] - 0.5))].min() == pytest.approx(0.2, abs=0.02)


def test_the_monotone_scheme_solves_rouy_and_tourins_equation():
    """Σ max((T - T₋)/h, (T - T₊)/h, 0)² = 1/c² in every cell but those beside the target, and a
    larger target or speed is nowhere later."""
    grid = pk.Grid((-1, -1.3), (1.2, 1), (37, 41))

    def speed(x):
        return 1 + 0.8 * np.sin(5 * x[..., 0]) * np.cos(4 * x[..., 1])

    T = pk.arrival_time(speed, grid, disc(0.1, 0, 0.2), 1).values
    total = np.zeros(grid.shape)
    for axis, h in enumerate(grid.spacing):
        U = np.pad(T, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], constant_values=np.inf)
        low = np.minimum(np.roll(U, 1, axis), np.roll(U, -1, axis))
        low = np.moveaxis(np.moveaxis(low, axis, 0)[1:-1], 0, axis)
        total += np.maximum((T - low) / h, 0) ** 2
    gap = np.hypot(grid.centres[..., 0] - 0.1, grid.centres[..., 1]) - 0.2
    far = gap > 2 * max(grid.spacing)
    np.testing.assert_allclose(np.sqrt(total[far]) * speed(grid.centres)[far], 1, rtol=1e-10)
    faster = pk.arrival_time(lambda x: 1.1 * speed(x), grid, disc(0.1, 0, 0.25), 1).values
    assert (faster <= T + 1e-13).all()


def test_fronts_of_the_equation_in_time_arrive_then():
    """{u(., t) <= 0} of u_t + c |∇u| = 0 from the signed distance, by another scheme."""
    c = lambda x: 1.2 + 0.5 * np.sin(2 * x[..., 0])  # noqa: E731
    grid = pk.Grid((-2, -2), (2, 2), 64)
    start = lambda x: np.hypot(x[..., 0], x[..., 1]) - 0.5  # noqa: E731
    T = pk.arrival_time(c, grid, disc(0, 0, 0.5)).values
    u = pk.solve(pk.HamiltonJacobi(hamiltonian=Eikonal(c)), grid, start, [0.4, 0.8])
    for t, field in zip(u.times, u.fields, strict=True):
        front = np.abs(field) < 0.05
        steep = np.hypot(*np.gradient(field, *grid.spacing))
        found = T[front] - field[front] / (c(grid.centres) * steep)[front]
        np.testing.assert_allclose(found, t, atol=0.01)


def test_what_is_refused():
    grid = pk.Grid((-1, -1), (1, 1), 16)
    with pytest.raises(ValueError, match="speed must be >= 0 everywhere"):
        pk.arrival_time(lambda x: x[..., 0], grid, disc(0, 0, 0.5))
    with pytest.raises(ValueError, match=r"order must be 1 \(monotone\) or 2"):
        pk.arrival_time(1.0, grid, disc(0, 0, 0.5), 3)
    with pytest.raises(ValueError, match="no cell centre"):
        pk.arrival_time(1.0, grid, disc(0, 0, 0.01))


def test_cells_too_coarse_are_told():
    grid = pk.Grid((-1, -1), (1, 1), 20)
    with pytest.warns(pk.ResolutionWarning, match="time of arrival"):
        pk.arrival_time(lambda x: 0.05 + (np.abs(x[..., 0] - 0.3) > 0.03), grid, disc(-0.5, 0, 0.2))
