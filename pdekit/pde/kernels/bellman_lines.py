"""Compiled kernels for Bellman steps along lines: the exponential of a

generator. Fields are arrays of lines ``(lines, n)``. The tilted generator is factorised for every
value function, the generator itself once per step length; at the end, whole sweeps in time on one
line. The plain form beside them is ``bellman.ForwardBackward`` with ``PlainLines``.
"""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.pde.kernels.tridiagonal import LANES, rational_sweep
from pdekit.pde.kernels.uniformization import RATIO, product


@nb.njit(cache=True, error_model="numpy")
def tilt(up, down, u, beta, there, back, kill):  # type: ignore[no-untyped-def]
    """(up e, down / e, kill) of exp(beta u / 2) L exp(-beta u / 2) on every line.

    e = exp(-beta (u_{i+1} - u_i) / 2); kill is the difference of the exit rates from those of L.
    """
    lines, n = u.shape
    kill[:] = 0.0
    for line in range(lines):
        for i in range(up.shape[1]):
            j = i + 1 if i + 1 < n else 0
            e = np.exp(-0.5 * beta * (u[line, j] - u[line, i]))
            on, off = up[line, i], down[line, i]
            there[line, i], back[line, i] = on * e, off / e
            kill[line, i] += on - on * e
            kill[line, j] += off - off / e


@nb.njit(cache=True, error_model="numpy")
def exponential(up, down, kill, b, tau, forward, poles, work, out):  # type: ignore[no-untyped-def]
    """out = exp(tau A) b on every line, A the generator less kill or (``forward``) its transpose.

    With as many rates as cells the lines are circles.
    """
    for k in range(b.shape[0]):
        rational_sweep(up[k], down[k], kill[k], b[k], tau, forward, poles, work, out[k])


@nb.njit(cache=True, error_model="numpy")
def jumped(stay, before, after, mean, most):  # type: ignore[no-untyped-def]
    """z = sum_k e^-mean mean^k / k! P^k 1, with every entry accurate relative to itself, and
    whether it converged.

    (P v)_i = before v_{i-1} + stay v_i + after v_{i+1}, all >= 0, round a circle or between walls
    (there before_0 = after_{n-1} = 0). With the last term at most c z and P z <= r z, what is left
    out is at most c (q + q^2 + ...) z, q = mean r / (k + 1).
    """
    n = stay.size
    now, new = np.ones(n + 2), np.empty(n + 2)
    weight = np.exp(-mean)
    z = np.full(n + 2, weight)
    for k in range(1, most):
        weight *= mean / k
        last = 0.0
        for i in range(1, n + 1):
            new[i] = before[i - 1] * now[i - 1] + stay[i - 1] * now[i] + after[i - 1] * now[i + 1]
            term = weight * new[i]
            z[i] += term
            last = max(last, term / z[i])
        new[0], new[n + 1] = new[n], new[1]
        now, new = new, now
        if not np.isfinite(z[1 : n + 1].sum()):
            break
        if k > mean and last < 1e-16:
            z[0], z[n + 1] = z[n], z[1]
            r = 0.0
            for i in range(1, n + 1):
                on = before[i - 1] * z[i - 1] + stay[i - 1] * z[i] + after[i - 1] * z[i + 1]
                r = max(r, on / z[i])
            if mean * r < 0.5 * (k + 1):
                return z[1 : n + 1].copy(), True
    return z[1 : n + 1].copy(), False


# Rows of the workspace of a factored line, a cell each. Real and imaginary parts lie side by side,
# eight poles each, so that one loop of sixteen does a complex product: x y = x A + swap(x) B, where
# the unknown x stands there with its real part repeated behind it, so that swap(x) is an offset.
_A, _B, _C, _X = 0, 2 * LANES, 4 * LANES, 6 * LANES
_ROW = 9 * LANES


@nb.njit(cache=True, error_model="numpy")
def factor(up, down, tau, poles):  # type: ignore[no-untyped-def]
    """Inverse pivots of z_p - tau L for every line and pole, and workspace for the solves.

    Shape (lines, (n + 2) _ROW): a row per cell and one beyond each end.
    """
    lines, n = up.shape[0], up.shape[1] + 1
    out = np.zeros((lines, (n + 2) * _ROW))
    for line in range(lines):
        for p in range(LANES):
            z = complex(poles[0, p], poles[1, p])
            excess = 0j
            for i in range(n):
                s = z + (tau * down[line, i - 1] * excess if i > 0 else 0j)
                one = 1.0 / (s + (tau * up[line, i] if i < n - 1 else 0.0))
                excess = s * one
                row = out[line, (i + 1) * _ROW : (i + 2) * _ROW]
                row[_A + p] = row[_A + LANES + p] = row[_C + p] = one.real
                row[_B + p], row[_B + LANES + p] = -one.imag, one.imag
                row[_C + LANES + p] = one.imag
    return out


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def _solve(w, to, back, b, tau, residues, out):  # type: ignore[no-untyped-def]
    """out = Re sum_p c_p x_p, (z_p - tau A) x_p = b on one line; with rates from both sides.

    Unsigned offsets avoid checks for negative indices, and without slices the compiler
    sees that the groups of a row do not overlap.
    """
    n = b.size
    for i in range(n):
        rate, r = (tau * to[i - 1] if i > 0 else 0.0), b[i]
        o = np.uint64(i * _ROW)
        for q in range(2 * LANES):
            turned = (
                w[o + np.uint64(_X + q)] * w[o + np.uint64(_ROW + _A + q)]
                + w[o + np.uint64(_X + LANES + q)] * w[o + np.uint64(_ROW + _B + q)]
            )
            w[o + np.uint64(_ROW + _X + q)] = r * w[o + np.uint64(_ROW + _C + q)] + rate * turned
        for q in range(LANES):
            w[o + np.uint64(_ROW + _X + 2 * LANES + q)] = w[o + np.uint64(_ROW + _X + q)]
    for i in range(n - 1, -1, -1):
        rate, total = (tau * back[i] if i < n - 1 else 0.0), 0.0
        o = np.uint64((i + 1) * _ROW)
        for q in range(2 * LANES):
            turned = (
                w[o + np.uint64(_ROW + _X + q)] * w[o + np.uint64(_A + q)]
                + w[o + np.uint64(_ROW + _X + LANES + q)] * w[o + np.uint64(_B + q)]
            )
            x = w[o + np.uint64(_X + q)] + rate * turned
            w[o + np.uint64(_X + q)] = x
            total += residues[q] * x
        for q in range(LANES):
            w[o + np.uint64(_X + 2 * LANES + q)] = w[o + np.uint64(_X + q)]
        out[i] = total


@nb.njit(cache=True, error_model="numpy")
def factored(buffer, up, down, b, tau, forward, poles, out):  # type: ignore[no-untyped-def]
    """out = exp(tau L) b on every line, or exp(tau L^T) b, with the pivots of ``factor``."""
    residues = np.concatenate((poles[2], -poles[3]))
    for line in range(b.shape[0]):
        to, back = (up[line], down[line]) if forward else (down[line], up[line])
        _solve(buffer[line], to, back, b[line], tau, residues, out[line])


@nb.njit(cache=True, error_model="numpy")
def _moved(steps, which, tau, forward, narrow, b, buffer, out):  # type: ignore[no-untyped-def]
    """out = M b or, if ``forward``, M^T b: a band's product if ``narrow``, else a sweep."""
    factors, bands, up, down, residues = steps
    if narrow:
        product(bands[which, 1 if forward else 0], b, buffer, out)
    else:
        to, back = (up, down) if forward else (down, up)
        _solve(factors[which], to, back, b, tau, residues, out)


@nb.njit(cache=True, error_model="numpy")
def weights_of_costs(steps, halves, costs, which, before, after, narrow, largest):  # type: ignore[no-untyped-def]
    """exp(-beta u / 2) for the value function u on a line, from the last step backward; in place.

    Step k leads from ``before[k]`` (given for the last) to ``after[k]`` = M before[k], with the
    exponential ``which[k]`` of ``steps``; then ``before[k - 1]`` = costs[k] after[k], over its
    ``largest[k - 1]``. ``narrow``: whether M before is computed by a band matrix. False if a weight
    is not positive. No logarithms are taken, which would take as long as the rest.
    """
    n = before.shape[1]
    buffer = np.zeros(n + steps[1].shape[2] + 8)
    for k in range(halves.size - 1, -1, -1):
        smooth, last = True, before[k, 0]
        for i in range(n):
            here = before[k, i]
            smooth &= (here <= RATIO * last) & (last <= RATIO * here)
            last = here
        narrow[k] = steps[1].shape[2] > 0 and smooth
        _moved(steps, which[k], 2 * halves[k], False, narrow[k], before[k], buffer, after[k])
        if not after[k].min() > 0:
            return False
        if k > 0:
            most = 0.0
            for i in range(n):
                weight = costs[k, i] * after[k, i]
                before[k - 1, i] = weight
                most = max(most, weight)
            before[k - 1] /= most
            largest[k - 1] = most
    return True


@nb.njit(cache=True, error_model="numpy")
def flow_of_values(steps, halves, which, before, after, narrow, rho):  # type: ignore[no-untyped-def]
    """rho[k+1] = before[k] M^T (rho[k] / after[k]), in place from rho[0]."""
    n = rho.shape[1]
    buffer, b = np.zeros(n + steps[1].shape[2] + 8), np.empty(n)
    for k in range(halves.size):
        for i in range(n):
            b[i] = rho[k, i] / after[k, i]
        _moved(steps, which[k], 2 * halves[k], True, narrow[k], b, buffer, rho[k + 1])
        for i in range(n):
            rho[k + 1, i] *= before[k, i]


@nb.njit(cache=True, error_model="numpy")
def change_of_flow(  # type: ignore[no-untyped-def]
    steps, halves, running, terminal, beta, which, before, after, narrow, rho, out
):  # fmt: skip
    """The derivative of the flow by the costs: value backward, density forward, both linearised."""
    count, n = before.shape
    buffer, b, d = np.zeros(n + steps[1].shape[2] + 8), np.empty(n), terminal.copy()
    changes, pushed = np.empty((count, n)), np.empty((count, n))
    for k in range(count - 1, -1, -1):
        half = halves[k]
        for i in range(n):
            change = d[i] + half * running[k + 1, i]
            changes[k, i], b[i] = change, before[k, i] * change
        _moved(steps, which[k], 2 * half, False, narrow[k], b, buffer, pushed[k])
        for i in range(n):
            change = pushed[k, i] / after[k, i]
            pushed[k, i], d[i] = change, change + half * running[k, i]
    out[0], half = 0.0, 0.5 * beta
    for k in range(count):
        for i in range(n):
            b[i] = (out[k, i] + half * rho[k, i] * pushed[k, i]) / after[k, i]
        _moved(steps, which[k], 2 * halves[k], True, narrow[k], b, buffer, out[k + 1])
        for i in range(n):
            out[k + 1, i] = out[k + 1, i] * before[k, i] - half * rho[k + 1, i] * changes[k, i]
