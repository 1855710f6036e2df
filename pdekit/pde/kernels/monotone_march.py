"""Godunov's Hamiltonian of sum_k a_k p_k^2 / 2 in one pass; ``pde.fluxes`` has its plain form.

Of both one-sided slopes only the steeper descent counts, r = max(u - min(u_left, u_right), 0), so
that the Hamiltonian is a_k r^2 / (2 h^2) an axis.
"""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

_FAST = {"contract", "nsz", "nnan"}  # data are finite; selections are then vectorised


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _neighbours(i, n, periodic):  # type: ignore[no-untyped-def]
    """Indices of the cells below and above, the cell itself through a no-flux wall."""
    below, above = i - 1, i + 1
    if below < 0:
        below = n - 1 if periodic else 0
    if above == n:
        above = 0 if periodic else n - 1
    return below, above


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _row(below, here, above, periodic, keep, c0, c1, out, most0, most1):  # type: ignore[no-untyped-def]
    """out = keep here - c0 r0^2 - c1 r1^2 on one row; column by column the largest r0 and r1.

    Indices from zero and maxima by columns, so that the loop is vectorised.
    """
    n = here.size
    for j in range(n - 2):
        r0 = max(here[j + 1] - min(below[j + 1], above[j + 1]), 0.0)
        r1 = max(here[j + 1] - min(here[j], here[j + 2]), 0.0)
        out[j + 1] = keep * here[j + 1] - c0 * r0 * r0 - c1 * r1 * r1
        most0[j + 1] = max(most0[j + 1], r0)
        most1[j + 1] = max(most1[j + 1], r1)
    for j in (0, n - 1):
        left, right = _neighbours(j, n, periodic)
        r0 = max(here[j] - min(below[j], above[j]), 0.0)
        r1 = max(here[j] - min(here[left], here[right]), 0.0)
        out[j] = keep * here[j] - c0 * r0 * r0 - c1 * r1 * r1
        most0[j], most1[j] = max(most0[j], r0), max(most1[j], r1)


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def sweep(u, periodic, keep, factors, out):  # type: ignore[no-untyped-def]
    """out = keep u - sum_k factors[k] r_k^2 of a 2-D field, and the largest r_k."""
    rows, columns = u.shape
    most = np.zeros((2, columns))
    for i in range(rows):
        below, above = _neighbours(i, rows, periodic[0])
        _row(
            u[below], u[i], u[above], periodic[1], keep, factors[0], factors[1], out[i],
            most[0], most[1],
        )  # fmt: skip
    return most[0].max(), most[1].max()


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def march(u, other, rates, halves, periodic, span, cfl, most_steps):  # type: ignore[no-untyped-def]
    """Steps of Godunov's scheme over ``span`` between two fields; returns the location of the
    result, and the steps.

    The step is bounded by the previous slopes, which never grow. ``rates`` are
    a_k / h_k^2, ``halves`` a_k / (2 h_k^2). Returns -1 steps where too many would be needed.
    """
    r0, r1 = sweep(u, periodic, 1.0, np.zeros(2), other)
    left, steps, here = span, 0, 0
    factors = np.empty(2)
    while left > 0:
        rate = rates[0] * r0 + rates[1] * r1
        dt = left if rate * left <= cfl else cfl / rate
        if left > dt * most_steps:
            return here, -1, dt
        for k in range(2):
            factors[k] = dt * halves[k]
        if here == 0:
            r0, r1 = sweep(u, periodic, 1.0, factors, other)
        else:
            r0, r1 = sweep(other, periodic, 1.0, factors, u)
        here = 1 - here
        left = 0.0 if dt >= left else left - dt
        steps += 1
    return here, steps, 0.0
