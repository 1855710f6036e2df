"""Transport along lines by characteristics: masses between where the faces of cells were.

``pde.references`` has the plain form.
"""

import numba as nb
import numpy as np

_STRAIGHT = 1e-8  # growth of the speed over the time left, below which the motion is uniform


@nb.njit(cache=True, error_model="numpy")
def _before(w, j, tau, periodic):  # type: ignore[no-untyped-def]
    """Where the face j was a time tau ago, in cells: the speed is linear within a cell.

    ``w`` (n + 1) in cells per time at the faces. At a wall the way back ends.
    """
    n = w.size - 1
    speed = -w[j]
    ahead = speed > 0.0
    place, k = float(j), j  # k: the face that is reached last, within the period
    left = tau
    while left > 0.0 and speed != 0.0:
        if not periodic and ((ahead and k == n) or (not ahead and k == 0)):
            break
        if periodic:
            k %= n
            k = n if k == 0 and not ahead else k
        after = k + 1 if ahead else k - 1
        a, b = abs(speed), (-w[after] if ahead else w[after])
        growth = b - a
        if abs(growth) * left <= _STRAIGHT * max(1.0, a * left) or abs(growth) < 1e-12 * a:
            gone = a * left
            needed = 1.0 / a
        else:
            gone = a * np.expm1(growth * left) / growth
            needed = np.log(b / a) / growth if b > 0.0 else np.inf
        if gone < 1.0 or b <= 0.0:
            place += min(gone, 1.0) if ahead else -min(gone, 1.0)
            break
        left -= needed
        place += 1.0 if ahead else -1.0
        k, speed = after, -w[after]
    return place


@nb.njit(cache=True, error_model="numpy")
def feet(w, tau, periodic, opens, out):  # type: ignore[no-untyped-def]
    """out (rows, n + 1): where the faces of every line were a time tau ago, in order.

    What arrives at an end that ``opens`` (lower, upper) is gone; else it stays in the last cell.
    """
    rows, faces = w.shape
    for r in range(rows):
        for j in range(faces):
            out[r, j] = _before(w[r], j, tau, periodic)
        if periodic:
            out[r, faces - 1] = out[r, 0] + (faces - 1)
        else:
            if not opens[0]:
                out[r, 0] = 0.0
            if not opens[1]:
                out[r, faces - 1] = float(faces - 1)
        for j in range(1, faces):
            out[r, j] = max(out[r, j], out[r, j - 1])


@nb.njit(cache=True, error_model="numpy")
def _beside(rho, i, periodic):  # type: ignore[no-untyped-def]
    """The value of cell i, beyond the ends its mirror image or that of the circle."""
    n = rho.size
    if periodic:
        return rho[i % n]
    if i < 0:
        return rho[min(-1 - i, n - 1)]
    return rho[max(2 * n - 1 - i, 0)] if i >= n else rho[i]


@nb.njit(cache=True, error_model="numpy")
def _parabolas(rho, periodic, at_left, rise, bend):  # type: ignore[no-untyped-def]
    """a + s (d + c (1 - s)) within each cell, of its mean, fourth order at faces, nowhere < 0."""
    for i in range(rho.size):
        far, low = _beside(rho, i - 2, periodic), _beside(rho, i - 1, periodic)
        high, beyond = _beside(rho, i + 1, periodic), _beside(rho, i + 2, periodic)
        mean = rho[i]
        left = (7.0 * (low + mean) - (far + high)) / 12.0
        right = (7.0 * (mean + high) - (low + beyond)) / 12.0
        d, c = right - left, 6.0 * mean - 3.0 * (left + right)
        least = min(left, right)
        if c < 0.0 and abs(d) < -c:
            least = min(least, left + (d + c) ** 2 / (4.0 * c))
        if least < 0.0:  # towards the mean until it is not (Zhang and Shu)
            share = mean / (mean - least)
            left, d, c = mean + share * (left - mean), share * d, share * c
        at_left[i], rise[i], bend[i] = left, d, c


@nb.njit(cache=True, error_model="numpy")
def _up_to(s, left, d, c):  # type: ignore[no-untyped-def]
    """The mass of a cell below the share s of its width, in that of a mean of 1."""
    return s * (left + s * (0.5 * (d + c) - c * s / 3.0))


@nb.njit(cache=True, error_model="numpy")
def remap(rho, feet, periodic, out):  # type: ignore[no-untyped-def]
    """out: on every row the masses between neighbouring ``feet``, none negative, their sum kept."""
    rows, n = rho.shape
    left, d, c = np.empty(n), np.empty(n), np.empty(n)
    for r in range(rows):
        here = rho[r]
        _parabolas(here, periodic, left, d, c)
        for j in range(n):
            low, high = feet[r, j], feet[r, j + 1]
            k, m = int(np.floor(low)), int(np.floor(high))
            s, t = low - k, high - m
            first = k % n if periodic else min(k, n - 1)
            last = m % n if periodic else min(m, n - 1)
            if k == m:
                mass = _up_to(t, left[last], d[last], c[last])
                mass -= _up_to(s, left[first], d[first], c[first])
            else:
                mass = here[first] - _up_to(s, left[first], d[first], c[first])
                mass = max(mass, 0.0)
                for i in range(k + 1, m):
                    mass += here[i % n if periodic else i]
                if t > 0.0:
                    mass += max(_up_to(t, left[last], d[last], c[last]), 0.0)
            out[r, j] = max(mass, 0.0)
