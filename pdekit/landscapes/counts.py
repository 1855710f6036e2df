"""Expected numbers of critical points of the spherical p-spin Hamiltonian, for finite N.

With a field of strength v, H has covariance N f(q), f(q) = q^p + v² q, and its landscape depends on

    B = (f'' - f')/(f'' + f') at q = 1, that is (p(p-2) - v²)/(p² + v²).

Fyodorov 2013: with the eigenvalue density ρ_N (of mass N) of the Gaussian orthogonal ensemble of
weight e^(-x²/4) an eigenvalue,

    E crt = 2 √(1+B) ((1+B)/(1-B))^((N-1)/2) ∫ ρ_N(x) e^(-B x²/4) dx,

and x, the radial slope of H in units of its Hessian, has k eigenvalues of the Hessian below it at a
critical point of index k. Mathematics 1.12; thesis (2.15) and (2.17) with errata 51, 52 and 54.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import exp, log, pi, sqrt

import numpy as np
from scipy.special import erf, ive, logsumexp

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning

_TAIL = 8  # pieces of the integral beyond the last eigenvalue
_LARGEST = 15_000  # spins of an exact count
_STRONG = 1e12  # field over p, from which counts are those of B = -1 to all digits
_MANY = 8.0  # N B from which on the formula for a fixed B > 0 is the nearest
_SURELY = 1.0  # beyond the largest exponent, for what the formula may miss
_PIECE = 1 << 22  # numbers per batch of samples
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def imbalance(p: int, field: float) -> float:
    """B: from (p-2)/p without field through 0 at v_c = √(p(p-2)) to -1 for a strong one."""
    p, v = _checked(p, field)
    return (p * (p - 2) - v * v) / (p * p + v * v)


def expected_critical_points(
    n: int, p: int, field: float = 0.0, *, logarithm: bool = False
) -> float:
    """E crt, exact for every n >= 2, to about 12 digits up to n = 1,000.

    ``field`` is v >= 0, the standard deviation of a component of h. ``logarithm`` gives log E crt,
    for counts that overflow. 2N for p = 2 without field; 2 where a field leaves one minimum and one
    maximum.
    """
    n, rest = checks.whole("n", n, 2), _remainder(p, field)
    if n > _LARGEST:
        raise ValueError(
            f"n must be at most {_LARGEST:,} (half a minute: the work grows as n²), got {n:,}; for "
            "more take the exponent n complexity(0.0, p) of a glass without field"
        )
    if not logarithm:
        _require_a_float(_log_asymptotic(n, p, field), n, p, _SURELY)
    y, w = _quadrature(n, rest)
    # a square integrates to -B y²/2 = y²/2 - (1 + B) y²/2, without the difference of large numbers
    terms = log_goe_density(n, y, extra=0.5) - rest * y * y / 2 + np.log(w)
    total = log(2) + logsumexp(terms)  # both signs of y
    value = float(log(2) + log(rest) / 2 + (n - 1) / 2 * _log_ratio(p, field) + total)
    if logarithm:
        return value
    _require_a_float(value, n, p)
    return exp(value)


def _require_a_float(value: float, n: int, p: int, margin: float = 0.0) -> None:
    """``OverflowError`` for a logarithm beyond that of the largest float."""
    if value > log(np.finfo(float).max) + margin:
        raise OverflowError(
            f"E crt is about e^{value:.6g} for n = {n}, p = {p}; logarithm=True "
            "of expected_critical_points gives the exponent"
        )


def _log_asymptotic(n: int, p: int, field: float) -> float:
    """The logarithm of the first formula of ``asymptotic_critical_points``; 0 where it is not."""
    B = imbalance(p, field)
    if n * B <= _MANY:
        return 0.0
    return (n - 1) / 2 * _log_ratio(p, field) + log(4 * sqrt(n * (1 + B) / (pi * B)))


def _remainder(p: int, field: float) -> float:
    """1 + B = 2 p (p-1)/(p² + v²), where B is near -1 to all its digits."""
    p, v = _checked(p, field)
    return 2 * p * (p - 1) / (p * p + v * v)


def _log_ratio(p: int, field: float) -> float:
    """log (1+B)/(1-B) = log f''/f', where B is near 1 to all its digits."""
    p, v = _checked(p, field)
    return log(p * (p - 1) / (p + v * v))


def _checked(p: int, field: float) -> tuple[int, float]:
    p, v = checks.whole("p", p, 2), checks.not_negative("field", field)
    return p, min(v, _STRONG * p)


def asymptotic_critical_points(n: int, p: int, field: float = 0.0) -> float:
    """What E crt tends to as N -> ∞, of the three regimes of the thesis (2.16), (2.17) corrected.

    B > 0 fixed: 4 √N √((1-B)/(π B)) ((1+B)/(1-B))^(N/2); |B| of order 1/N, τ = -N B:
    2 N e^(-τ/2) (I₀(τ/2) - I₁(τ/2)); B < 0 fixed: 2. The formula that is nearest: the first from
    N B = 8 on, the last where the middle one is below it.
    """
    n, B = checks.whole("n", n, 2), imbalance(p, field)
    if n * B > _MANY:
        value = _log_asymptotic(n, p, field)
        _require_a_float(value, n, p)
        return exp(value)
    tau = -n * B
    bessel = (ive(0, tau / 2) - np.sign(tau) * ive(1, abs(tau) / 2)) * exp(abs(tau) / 2 - tau / 2)
    return max(2.0, float(2 * n * bessel))


def log_goe_density(n: int, y: Array, extra: float = 0.0) -> Array:
    """log of the eigenvalue density (mass n) of the GOE of weight e^(-y²/2), plus ``extra`` y².

    Σ_{j<n} φ_j² + φ_{n-1} (√(n/2) ∫ sign(y-t)/2 φ_n(t) dt + [n odd] / ∫ φ_{n-1}), with the Hermite
    functions φ_j by their recurrences and an exponent for each point: at y = 40, e^(-y²/2)
    underflows. For y >= 0. Mehta, Random Matrices, section 7.2.
    """
    y = np.abs(np.asarray(y, float))
    scale = np.zeros_like(y)  # φ_j = m_j exp(scale - y²/2)
    before, now = np.zeros_like(y), np.full_like(y, pi**-0.25)
    squares = now**2
    whole = _integrals(n)
    half = -y * y / 2
    # Q_j = ∫ φ_j from 0 (j even: odd about 0) or from -∞ to y
    parts = {0: pi**-0.25 * sqrt(pi / 2) * erf(y / sqrt(2)), -1: np.zeros_like(y)}
    for j in range(n):
        value = now * np.exp(scale + half)
        parts[j + 1] = (sqrt(j) * parts.pop(j - 1) - sqrt(2) * value) / sqrt(j + 1)
        if j == n - 1:
            break
        before, now = now, (sqrt(2) * y * now - sqrt(j) * before) / sqrt(j + 1)
        squares = squares + now**2
        large = np.abs(now) > 1e100
        if large.any():
            shrink = np.where(large, 1e-100, 1.0)
            before, now, squares = before * shrink, now * shrink, squares * shrink**2
            scale = scale + np.where(large, log(1e100), 0.0)
    tail = sqrt(n / 2) * parts[n] + (1 / whole if n % 2 else 0.0)
    small = np.exp(np.minimum(scale + half, 300.0))
    density = squares * small + now * tail
    out: Array = np.log(density) + scale + (extra - 0.5) * y * y
    return out


def _integrals(n: int) -> float:
    """∫ φ_{n-1} over the line for odd n."""
    value = sqrt(2) * pi**0.25
    for j in range(2, n, 2):
        value *= sqrt((j - 1) / j)
    return float(value)


def _quadrature(n: int, rest: float) -> tuple[Array, Array]:
    """Nodes and weights on y > 0 for e^(-rest y²/2) y^(n-1), or for the spectrum and its edge."""
    edge = sqrt(2 * n)
    end = max(edge, sqrt((n - 1) / rest)) + 14 / sqrt(min(rest, 1.0)) + 6
    ends = [0.0]
    while ends[-1] < end:
        y = ends[-1]
        fine = 2.0 / sqrt(n) + 0.02
        ends.append(y + (fine if y < edge + 3 else min(1.0 / sqrt(rest), max(fine, 6 * y / n))))
    a, b = np.array(ends[:-1])[:, None], np.array(ends[1:])[:, None]
    return ((a + b) / 2 + (b - a) / 2 * _NODES).ravel(), ((b - a) / 2 * _WEIGHTS).ravel()


@dataclass(frozen=True)
class CountsByIndex:
    """``mean`` and ``error`` (standard error) of E crt_k, k = 0 to N-1; ``effective`` samples."""

    mean: Array
    error: Array
    effective: float


def expected_by_index(
    n: int, p: int, field: float = 0.0, *, samples: int = 4000, seed: int = 0
) -> CountsByIndex:
    """E crt_k of the critical points of each index k, by Kac and Rice with sampled Hessians.

    E crt_k is proportional to E ∫ |det(M - x)| e^(-(1+B) x²/4) dx over the x with k eigenvalues of
    M below: M of the GOE of size N-1 is sampled, by its tridiagonal form, x integrated over for
    each M, and both signs of M taken. The sum over k is ``expected_critical_points``. As N grows
    fewer samples count, ``effective`` of them. Where they are below 100 ``error`` is not to be
    believed, with an ``AccuracyWarning``: take more, or a smaller N.
    """
    n, samples = checks.whole("n", n, 2), checks.whole("samples", samples, 2)
    rng = np.random.default_rng(checks.whole("seed", seed, 0))
    rest = _remainder(p, field)
    spectra = np.array([_spectrum(n - 1, rng) for _ in range(samples)])
    piece = max(1, _PIECE // (24 * n * (n + 2 * _TAIL)))
    logs = np.concatenate(
        [_by_index(spectra[k : k + piece], rest) for k in range(0, samples, piece)]
    )
    weights = np.exp(logs - logs.max())
    weights = (weights + weights[:, ::-1]) / 2
    total = weights.sum(1)
    share = weights.sum(0) / total.sum()
    scatter = (weights - total[:, None] * share) / total.mean()
    exact = expected_critical_points(n, p, field)
    error = scatter.std(0, ddof=1) / sqrt(samples)
    effective = float(total.sum() ** 2 / (total**2).sum())
    if effective < 100:
        warnings.warn(
            f"expected_by_index: {samples} samples count as {effective:.3g}, so that the standard "
            "errors are not to be believed; take more samples, or a smaller n",
            AccuracyWarning,
            stacklevel=2,
        )
    return CountsByIndex(exact * share, exact * error, effective)


def _spectrum(size: int, rng: np.random.Generator) -> Array:
    """Eigenvalues of the GOE of weight e^(-x²/4) (Dumitriu and Edelman 2002)."""
    from scipy.linalg import eigvalsh_tridiagonal

    diagonal = sqrt(2) * rng.standard_normal(size)
    beside = np.sqrt(rng.chisquare(np.arange(size - 1, 0, -1))) if size > 1 else np.empty(0)
    values: Array = eigvalsh_tridiagonal(diagonal, beside)
    return values


def _by_index(spectra: Array, rest: float) -> Array:
    """log ∫ Π |λ - x| e^(-rest x²/4) dx between neighbouring eigenvalues, and beyond the last.

    ``(samples, N-1) -> (samples, N)``.
    """
    size = spectra.shape[1]
    far = sqrt(2 / rest) * (sqrt(2 * size) + 9) + np.abs(spectra).max(1, keepdims=True)
    steps = np.linspace(0, 1, _TAIL, endpoint=False)
    left = -far + steps * (spectra[:, :1] + far)
    right = far - steps[::-1] * (far - spectra[:, -1:])
    cuts = np.concatenate([left, spectra, right], 1)
    half = np.diff(cuts)[..., None] / 2
    x = cuts[:, :-1, None] + half * (1 + _NODES)
    values = -rest * x * x / 4
    for k in range(size):
        values += np.log(np.abs(x - spectra[:, k, None, None]))
    parts = logsumexp(values, axis=2, b=half * _WEIGHTS)
    first, last = parts[:, :_TAIL], parts[:, -_TAIL:]
    low, high = (logsumexp(tail, axis=1, keepdims=True) for tail in (first, last))
    return np.concatenate([low, parts[:, _TAIL:-_TAIL], high], 1)
