"""The fitted Hamiltonian and its derivative, compiled; B(w) = w / (e^w - 1) is Bernoulli's."""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

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
def integral(w, length):  # type: ignore[no-untyped-def]
    """∫ B(w + s) ds over s from 0 to ``length`` <= 4, to 1e-13.

    Gauss-Legendre; the remainder of k nodes is length^(2k + 1) B^(2k) / 10^(3 to 23).
    """
    size = abs(length)
    if size < 0.25:
        return _gauss(w, length, _THREE[0], _THREE[1])
    if size < 1.0:
        return _gauss(w, length, _FIVE[0], _FIVE[1])
    return _gauss(w, length, _EIGHT[0], _EIGHT[1])


@nb.njit(cache=True, error_model="numpy")
def linearised(V, u, beta, h, axis, seam, longest, out, up, down):  # type: ignore[no-untyped-def]
    """Adds 𝓕 along one axis of a plane to ``out``; the rates of 𝓕' there into up and down.

    False where a jump of beta u over a face is beyond ``longest``.
    """
    rows, columns = up.shape
    value, rate = 1 / (beta * h) ** 2, 1 / (beta * h * h)
    for i in range(rows):
        for k in range(columns):
            r, c = (i + 1, k) if axis == 0 else (i, k + 1)
            if seam:
                r, c = r % u.shape[0], c % u.shape[1]
            w, jump = beta * (V[r, c] - V[i, k]), beta * (u[r, c] - u[i, k])
            if not abs(jump) <= longest:
                return False
            gain = value * integral(w, jump)
            out[i, k] += gain
            out[r, c] -= gain + value * jump * (w + jump / 2)
            size = abs(w + jump)
            smaller = _bernoulli(size)  # B(-|w|) = B(|w|) + |w|
            up[i, k] = rate * (smaller + max(-w - jump, 0.0))
            down[i, k] = rate * (smaller + max(w + jump, 0.0))
    return True
