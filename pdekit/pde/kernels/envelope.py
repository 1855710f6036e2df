"""Lower envelope of parabolas: the inf-convolution of a sampled line in linear time."""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

_ONE = np.uint64(1)  # unsigned indices avoid checks for negative values
_TILE = 32  # columns copied together: a few cache lines of each row
_APART = 8  # padding: lines a power of two apart would map to the same cache sets


@nb.njit(cache=True, error_model="numpy")
def _minimisers(f, a, hull, breaks, best):  # type: ignore[no-untyped-def]
    """For every node i the j that minimises f_j + a (i - j)^2 (Felzenszwalb and Huttenlocher).

    ``hull`` collects the parabolas on the lower envelope, ``breaks`` where each begins.
    """
    n, half = f.size, 0.5 / a
    k, i, here, last = _ONE - _ONE, 0, f[0], -np.inf
    hull[0] = 0
    for j in range(1, n):
        # neighbours, nearly always: no division
        cross = (f[j] - here) * (half if j - i == 1 else half / (j - i)) + 0.5 * (j + i)
        while cross <= last:
            k -= _ONE
            i = hull[k]
            here, last = f[np.uint64(i)], breaks[k] if k > 0 else -np.inf
            cross = (f[j] - here) * (half / (j - i)) + 0.5 * (j + i)
        k += _ONE
        i, here, last = j, f[j], cross
        hull[k], breaks[k] = j, cross
    node, end = _ONE - _ONE, np.uint64(n)
    for p in range(k):
        stop, j = breaks[p + _ONE], hull[p]
        while node < end and node <= stop:
            best[node] = j
            node += _ONE
    best[np.int64(node) :] = hull[k]


@nb.njit(cache=True, error_model="numpy")
def find_doubts(f, second, doubt):  # type: ignore[no-untyped-def]
    """Nodes where a parabola through three samples does not fit f; returns their number.

    There the second differences of neighbours up to two nodes away differ by more than 0.85 of the
    largest; for waves of eight cells and more they never do.
    """
    n, two = f.size, _ONE + _ONE
    for j in range(_ONE, np.uint64(n - 1)):
        second[j] = f[j + _ONE] - 2 * f[j] + f[j - _ONE]
    found = 0
    for j in range(two + _ONE, np.uint64(n - 3)):
        a, b, c, d, e = (
            second[j - two], second[j - _ONE], second[j], second[j + _ONE], second[j + two],
        )  # fmt: skip
        change = max(max(abs(b - a), abs(c - b)), max(abs(d - c), abs(e - d)))
        most = max(max(abs(a), abs(b)), max(max(abs(c), abs(d)), abs(e)))
        doubt[j] = change > 0.85 * most + 1e-12 * max(abs(f[j]), abs(f[j + _ONE]))
        found += doubt[j]
    for k in range(min(3, n // 2)):
        for j in (k, n - 1 - k):
            c = min(max(j, 1), n - 2)
            change, most = 0.0, abs(second[c])
            for step in (-1, 1):
                if 1 <= c + step <= n - 2:
                    change = max(change, abs(second[c + step] - second[c]))
                    most = max(most, abs(second[c + step]))
                if 1 <= c + 2 * step <= n - 2:
                    change = max(change, abs(second[c + 2 * step] - second[c + step]))
                    most = max(most, abs(second[c + 2 * step]))
            doubt[j] = change > 0.85 * most + 1e-12 * max(abs(f[c]), abs(f[c + 1]))
            found += doubt[j]
    return found


@nb.njit(cache=True, error_model="numpy")
def is_kink(second, j):  # type: ignore[no-untyped-def]
    """Whether f consists of two lines with a convex kink within a cell of node j."""
    n = second.size
    if j < 3 or j > n - 4:
        return False
    bend = second[j - 1] + second[j] + second[j + 1]
    quiet = min(abs(second[j - 1]), abs(second[j + 1]))
    for k in (2, 3):
        if j - k >= 1:
            quiet = max(quiet, abs(second[j - k]))
        if j + k <= n - 2:
            quiet = max(quiet, abs(second[j + k]))
    return bend > 0 and 8 * quiet <= bend


@nb.njit(cache=True, error_model="numpy")
def kink_by(second, j):  # type: ignore[no-untyped-def]
    """The node of a convex kink at j or up to two beside it, -1 where there is none."""
    for k in (j, j + 1, j - 1, j + 2, j - 2):
        if is_kink(second, k):
            return k
    return -1


@nb.njit(cache=True, error_model="numpy")
def _cost_at_kink(f, a, i, j):  # type: ignore[no-untyped-def]
    """Least cost over the lines through two samples on each side of node j, up to their kink."""
    falling, rising = f[j - 1] - f[j - 2], f[j + 2] - f[j + 1]
    kink = min(max((f[j - 1] - f[j + 1] + falling + rising) / (rising - falling), -1.0), 1.0)
    left = min(max(i - j - falling / (2 * a), -3.0), kink)
    right = min(max(i - j - rising / (2 * a), kink), 3.0)
    on_left = f[j - 1] + falling * (left + 1) + a * (i - j - left) ** 2
    on_right = f[j + 1] + rising * (right - 1) + a * (i - j - right) ** 2
    return min(on_left, on_right)


@nb.njit(cache=True, error_model="numpy")
def _refined(f, a, i, j, periodic):  # type: ignore[no-untyped-def]
    """Minimum over a neighbourhood of node j of a(i-y)^2 + the parabola through three samples.

    At a no-flux end the parabola of the last three samples is used up to the wall, half a cell out.
    """
    n = f.size
    c = j
    if not periodic:
        c = min(max(j, 1), n - 2)
    left, mid, right = f[c - 1 if c > 0 else n - 1], f[c], f[c + 1 if c < n - 1 else 0]
    second = right - 2 * mid + left
    # about j, or a (i - c)^2 would dominate f by rounding for tiny t
    slope = (right - left) / 2 + second * (j - c) - 2 * a * (i - j)
    curvature = second + 2 * a
    low, high = -1.0, 1.0
    if not periodic and j == 0:
        low = -0.5
    if not periodic and j == n - 1:
        high = 0.5
    best = min(low * (slope + low * curvature / 2), high * (slope + high * curvature / 2))
    if curvature > 0:
        s = min(max(-slope / curvature, low), high)
        best = s * (slope + s * curvature / 2)
    return f[j] + a * (i - j) ** 2 + min(best, 0.0)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "nnan"})
def _parabolas(f, a, best, first, near, out):  # type: ignore[no-untyped-def]
    """``_refined`` at the nodes from ``first`` on as if no minimiser were at an end or a kink.

    In two loops, the second one vectorised: samples into ``near``, then the minima.
    """
    left, mid, right, away = near[0], near[1], near[2], near[3]
    for i in range(np.uint64(out.size)):
        c = np.uint64(min(max(best[i + np.uint64(first)], 1), f.size - 2))
        left[i], mid[i], right[i] = f[c - _ONE], f[c], f[c + _ONE]
        away[i] = float(np.int64(i) + first - np.int64(c))
    for i in range(np.uint64(out.size)):
        x = away[i]
        slope = (right[i] - left[i]) / 2 - 2 * a * x
        curvature = right[i] - 2 * mid[i] + left[i] + 2 * a
        s = min(max(-slope / max(curvature, 1e-300), -1.0), 1.0)
        s = s if curvature > 0 else 0.0
        value = mid[i] + a * x * x
        out[i] = min(value, value + s * (slope + s * curvature / 2))


@nb.njit(cache=True, error_model="numpy")
def _buffers(n, periodic):  # type: ignore[no-untyped-def]
    """Workspace of the inf-convolution of a line of n nodes, over all images needed."""
    m = 3 * n if periodic else n
    hull, breaks, best = np.empty(m, np.int64), np.empty(m), np.empty(m, np.int64)
    return (
        np.empty(m),
        hull,
        breaks,
        best,
        np.empty((4, n + _APART)),
        np.empty(m),
        np.zeros(m, np.bool_),
    )


@nb.njit(cache=True, error_model="numpy")
def _between(row, a, i, j, periodic, second, doubt, gaps):  # type: ignore[no-untyped-def]
    """Least cost beside node j: by the parabola, at a kink, or of the node if neither applies."""
    if not doubt[j]:
        return _refined(row, a, i, j, periodic)
    node, kink = row[j] + a * (i - j) ** 2, kink_by(second, j)
    if kink >= 0:
        least = min(node, _cost_at_kink(row, a, i, kink))
        gaps[1] = max(gaps[1], node - least)
        return least
    gaps[0] = max(gaps[0], node - _refined(row, a, i, j, periodic))
    return node


@nb.njit(cache=True, error_model="numpy")
def _jumps(best):  # type: ignore[no-untyped-def]
    """Whether neighbours have minimisers more than two nodes apart."""
    widest = 0
    for i in range(np.uint64(best.size - 1)):
        widest = max(widest, best[i + _ONE] - best[i])
    return widest > 2


@nb.njit(cache=True, error_model="numpy")
def _over_jumps(row, a, best, first, periodic, second, doubt, gaps, out):  # type: ignore[no-untyped-def]
    """The wall, and where the minimiser jumps that of the next node: between nodes it may be less.

    Minimisers are monotone, so that those of the previous node are tried in both directions.
    """
    n, m = out.size, row.size
    for way in (1, -1):
        i = 0 if way == 1 else n - 1
        other = best[first + n - 1] - n if way == 1 else best[first] + n
        if not periodic:
            other = 0 if way == 1 else m - 1
            if row[other] >= row[other + way]:  # f does not fall to this wall
                other = best[first + i]
        for _ in range(n):
            j = best[first + i]
            if (j - other) * way > 2:
                cost = _between(row, a, first + i, other, periodic, second, doubt, gaps)
                if cost < out[i]:
                    out[i], j = cost, other
                    best[first + i] = j
            other = j
            i += way


@nb.njit(cache=True, error_model="numpy")
def _at_ends(row, a, best, first, periodic, out):  # type: ignore[no-untyped-def]
    """``_refined`` where the minimiser is the first or the last node: minimisers are monotone."""
    i, last = 0, row.size - 1
    while i < out.size and best[first + i] == 0:
        out[i] = _refined(row, a, first + i, 0, periodic)
        i += 1
    i = out.size - 1
    while i >= 0 and best[first + i] == last:
        out[i] = _refined(row, a, first + i, last, periodic)
        i -= 1


@nb.njit(cache=True, error_model="numpy")
def _along(f, a, periodic, refine, buffers, out, gaps):  # type: ignore[no-untyped-def]
    """out = inf-convolution of the line f with a |.|^2 in cells; ``out`` may be f.

    ``gaps``: how far at most a parabola, or the lines of a kink, would be below the samples where
    a parabola is in doubt.
    """
    row, hull, breaks, best, near, second, doubt = buffers
    n, m = f.size, row.size
    first = n if periodic else 0
    for image in range(0, m, n):
        row[image : image + n] = f
    _minimisers(row, a, hull, breaks, best)
    if refine:
        _parabolas(row, a, best, first, near, out)
        doubts = find_doubts(row, second, doubt)
        tries = not periodic and (row[0] < row[1] or row[n - 1] < row[n - 2])
        tries |= _jumps(best[first : first + n])
        if doubts == 0:
            _at_ends(row, a, best, first, periodic, out)
        else:
            for i in range(n):
                j = best[first + i]
                if j == 0 or j == m - 1 or doubt[j]:
                    out[i] = _between(row, a, first + i, j, periodic, second, doubt, gaps)
        if tries:
            _over_jumps(row, a, best, first, periodic, second, doubt, gaps, out)
    else:
        for i in range(n):
            j = best[first + i]
            out[i] = row[j] + a * (first + i - j) ** 2


@nb.njit(cache=True, error_model="numpy")
def inf_convolve_rows(f, h, t, periodic, refine, out):  # type: ignore[no-untyped-def]
    """out[l] = inf-convolution of every row f[l] with |.|^2 / (2 t), spacing h; out may be f.

    Returns the ``gaps`` of ``_along``.
    """
    buffers, gaps = _buffers(f.shape[1], periodic), np.zeros(2)
    for line in range(f.shape[0]):
        _along(f[line], h * h / (2 * t), periodic, refine, buffers, out[line], gaps)
    return gaps


@nb.njit(cache=True, error_model="numpy")
def inf_convolve_columns(u, h, t, periodic, refine):  # type: ignore[no-untyped-def]
    """The same for every column of u, in place, a few at a time in a cached copy."""
    n, lines = u.shape
    buffers, tile, gaps = _buffers(n, periodic), np.empty((_TILE, n + _APART)), np.zeros(2)
    for start in range(0, lines, _TILE):
        some = min(_TILE, lines - start)
        for i in range(n):
            far = u[i, start : start + some]
            for k in range(some):
                tile[k, i] = far[k]
        for k in range(some):
            line = tile[k, :n]
            _along(line, h * h / (2 * t), periodic, refine, buffers, line, gaps)
        for i in range(n):
            far = u[i, start : start + some]
            for k in range(some):
                far[k] = tile[k, i]
    return gaps
