"""Compiled integrals of Bernoulli's function B(w) = w / (e^w - 1) over short intervals."""

import numba as nb
import numpy as np

_THREE, _FIVE, _EIGHT = (np.polynomial.legendre.leggauss(k) for k in (3, 5, 8))


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _bernoulli(w):  # type: ignore[no-untyped-def]
    if abs(w) < 0.5:  # its series to w^12, which leaves 8e-16
        q = w * w
        tail = 1 / 30240 - q * (1 / 1209600 - q * (1 / 47900160 - q * (691 / 1307674368000)))
        return 1 - w / 2 + q * (1 / 12 - q * (1 / 720 - q * tail))
    return w / np.expm1(w)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _gauss(w, length, nodes, weights):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(nodes.size):
        total += weights[k] * _bernoulli(w + length * (1 + nodes[k]) / 2)
    return length * total / 2


@nb.njit(cache=True, error_model="numpy")
def short_integrals(w, length, longest, out):  # type: ignore[no-untyped-def]
    """out = ∫ B(w + s) ds over s from 0 to ``length``, to 1e-13; how many are longer than that.

    Gauss-Legendre; the remainder of k nodes is length^(2k + 1) B^(2k) / 10^(3 to 23).
    """
    long = 0
    for i in range(w.size):
        size = abs(length[i])
        if size < 0.25:
            out[i] = _gauss(w[i], length[i], _THREE[0], _THREE[1])
        elif size < 1.0:
            out[i] = _gauss(w[i], length[i], _FIVE[0], _FIVE[1])
        elif size <= longest:
            out[i] = _gauss(w[i], length[i], _EIGHT[0], _EIGHT[1])
        else:
            long += 1
    return long
