"""The parts of the inf-convolution of a sampled line, each by brute force."""

import numpy as np
import pytest

from pdekit.pde.kernels import envelope

NODES = np.arange(12.0)


@pytest.mark.parametrize("curve", [-0.7, 0.4])
def test_of_a_parabola_no_node_is_in_doubt_whatever_the_workspace_has(curve: float) -> None:
    f = curve * (NODES - 3.3) ** 2
    second, doubt = np.full(12, 1e9), np.ones(12, bool)
    assert envelope.find_doubts(f, second, doubt) == 0 and not doubt.any()


def seconds(f: np.ndarray) -> np.ndarray:
    out = np.zeros(f.size)
    out[1:-1] = np.diff(f, 2)
    return out


def test_a_kink_is_alone() -> None:
    """Two lines that meet; another bend up to three nodes away, and it is a curve."""
    f = np.abs(NODES - 5.2)
    assert envelope.is_kink(seconds(f), 5) and not envelope.is_kink(seconds(-f), 5)
    assert not any(envelope.is_kink(seconds(f), j) for j in (2, 3, 7, 8, 9))
    for away in (-3, -2, 2, 3):
        bent = f + 0.3 * np.maximum(np.sign(away) * (NODES - 5 - away), 0)
        assert not envelope.is_kink(seconds(bent), 5), away


@pytest.mark.parametrize("a", [0.05, 0.4, 3.0])
@pytest.mark.parametrize(("left", "right"), [(-2.0, 1.5), (-0.3, 0.9), (0.2, 1.0)])
def test_the_least_cost_at_a_kink(a: float, left: float, right: float) -> None:
    f = np.maximum(left * (NODES - 5.3), right * (NODES - 5.3))
    y = np.linspace(2, 8, 60_001)
    for i in range(12):
        true = (np.maximum(left * (y - 5.3), right * (y - 5.3)) + a * (i - y) ** 2).min()
        assert envelope._cost_at_kink(f, a, i, 5) == pytest.approx(true, abs=1e-7)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("a", [0.05, 0.4, 3.0])
def test_the_least_cost_beside_a_node(a: float, periodic: bool) -> None:
    """Over a cell on either side, half a cell up to a wall; never above the node itself."""
    f = np.random.default_rng(3).normal(size=12)
    for j in range(12):
        c = j if periodic else min(max(j, 1), 10)
        fit = np.polyfit([-1, 0, 1], f[[c - 1, c, (c + 1) % 12]], 2)
        low = -0.5 if j == 0 and not periodic else -1.0
        high = 0.5 if j == 11 and not periodic else 1.0
        s = np.linspace(low, high, 20_001)
        for i in (0, 3, 11):
            at = f[j] + np.polyval(fit, s + j - c) - np.polyval(fit, j - c) + a * (i - j - s) ** 2
            found = envelope._refined(f, a, i, j, periodic)
            assert found == pytest.approx(at.min(), abs=1e-7), (i, j)


def test_parabolas_of_a_whole_line() -> None:
    """As node by node where the minimiser is inside."""
    rng = np.random.default_rng(4)
    f, best = rng.normal(size=12), np.array([1, 1, 3, 4, 4, 4, 6, 8, 9, 10, 10, 10])
    for a in (0.05, 0.4, 3.0):
        out, near = np.empty(12), np.empty((4, 20))
        envelope._parabolas(f, a, best, 0, near, out)
        for i in range(12):
            value, j = f[best[i]] + a * (i - best[i]) ** 2, best[i]
            fit = np.polyfit([-1, 0, 1], f[j - 1 : j + 2], 2)
            s = np.linspace(-1, 1, 20_001)
            at = np.polyval(fit, s) + a * (i - j - s) ** 2
            convex = f[j - 1] - 2 * f[j] + f[j + 1] + 2 * a > 0
            assert out[i] == pytest.approx(min(value, at.min()) if convex else value, abs=1e-7)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", [6, 16])
def test_minima_at_a_wall_are_found_where_no_node_is_as_low(seed: int, mirrored: bool) -> None:
    """f falls to one wall; from many nodes the least is there, or beyond a jump of the nodes' own.

    Looking beside the best nodes only errs by 0.04 and more in these.
    """
    rng, n, t = np.random.default_rng(seed), 24, 0.5
    numbers = rng.normal(), rng.uniform(0.3, 2), rng.uniform(0, 6), rng.normal()
    more = 0.5 * rng.normal(), rng.uniform(0.3, 2.5), rng.uniform(0, 6)

    def f(x: np.ndarray) -> np.ndarray:
        x = 1 - x if mirrored else x
        waves = [c * np.cos(2 * np.pi * x * k + p) for c, k, p in (numbers[:3], more)]
        return sum(waves) + numbers[3] * x

    x, y, out = (np.arange(n) + 0.5) / n, np.linspace(0, 1, 5001), np.empty((1, n))
    envelope.inf_convolve_rows(f(x)[None], 1 / n, t, False, True, out)
    true = (f(y) + (x[:, None] - y) ** 2 / (2 * t)).min(1)
    np.testing.assert_allclose(out[0], true, rtol=0, atol=5e-3)
