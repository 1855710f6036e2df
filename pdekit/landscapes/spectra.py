"""Spectra of large symmetric matrices: stochastic Lanczos quadrature and leading eigenpairs.

A random v of norm 1 sees the spectrum of M through the measure Σ |v·u_i|² δ(λ_i), whose mean over v
is the density of eigenvalues. After m steps of Lanczos from v its Gauss quadrature is known: nodes
and weights that integrate polynomials of degree 2m - 1 exactly (Golub and Meurant 1994; Ubaru,
Chen and Saad 2017).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.landscapes.curvature import Matrix, curvature_operator
from pdekit.landscapes.empirical_risk import Data, Loss

_KEPT = 1 << 27  # numbers of Lanczos vectors that are kept at once: 1 GiB
_FAR = 1e140  # size of eigenvalues, from which squares overflow or vanish
_SMALL = 64  # rows, up to which a matrix is formed for its leading eigenpairs


class Estimate(NamedTuple):
    """A value and its error: standard error over probes, and what half as many steps change.

    Of shares also what has not settled on a side.
    """

    value: Any
    error: Any


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What Lanczos saw of a symmetric matrix (d, d).

    ``diagonal`` and ``beside`` (probes, m) are its tridiagonal matrices, with what the next step
    would have beside them; ``eigenvalues`` (k,), those of largest modulus, decreasing, with
    ``eigenvectors`` (d, k) and ``residuals`` (k,), |M u - λ u|: an eigenvalue lies within each.
    """

    dim: int
    diagonal: Array
    beside: Array
    eigenvalues: Array
    eigenvectors: Array
    residuals: Array

    @cached_property
    def quadrature(self) -> tuple[Array, Array]:
        """Nodes and weights (probes, m); weights of a probe sum to 1."""
        return self._after(self.diagonal.shape[1])[:2]

    @property
    def resolution(self) -> float:
        """The least width of a density: range/m, and 0 where Lanczos came to its end."""
        ends = self.quadrature[0]
        return float(np.ptp(ends) / ends.shape[1]) if self.beside[:, -1].any() else 0.0

    def _after(self, steps: int) -> tuple[Array, Array, Array]:
        """Nodes, weights and residuals of the Ritz vectors after so many of the steps."""
        nodes, vectors = _ritz(self.diagonal[:, :steps], self.beside[:, : steps - 1])
        return nodes, vectors[:, 0] ** 2, np.abs(self.beside[:, steps - 1, None] * vectors[:, -1])

    def mean(self, function: Callable[[Array], Array]) -> Estimate:
        """d⁻¹ tr φ(M), of a function φ that acts on each number of an array.

        φ may return further axes behind those of its argument. Exact but for the probes where φ is
        a polynomial of degree below 2m, and to be smooth over ``resolution``.
        """
        checks.function("function", function, "map eigenvalues to numbers")
        m = self.diagonal.shape[1]
        each, coarse = (_integral(function, *self._after(k)[:2]) for k in (m, (m + 1) // 2))
        value = each.mean(0)
        spread = each.std(0, ddof=1) / np.sqrt(len(each))
        spread = np.maximum(spread, self._between_probes(function, value))
        return Estimate(value, np.hypot(spread, value - coarse.mean(0)))

    def _between_probes(self, function: Callable[[Array], Array], value: Any) -> Any:
        """The standard error by theory: of v^T φ v/d, 2 (tr φ²/d - (tr φ/d)²)/(d + 2) a probe.

        A few probes that happen to miss an eigenvalue apart from the others agree with each other:
        one of the largest φ is always added.
        """
        nodes, weights = self.quadrature
        squares = np.asarray(function(nodes), dtype=float) ** 2
        square = np.einsum("nm,nm...->...", weights, squares) / len(nodes)
        apart = square - value**2 + squares.max((0, 1)) / self.dim
        return np.sqrt(2 / (self.dim + 2) * np.maximum(apart, 0.0) / len(nodes))

    @property
    def trace(self) -> Estimate:
        """tr M."""
        return self.moment(1)

    def moment(self, power: int) -> Estimate:
        """tr M^k."""
        power = checks.whole("power", power, 1)
        value, error = self.mean(lambda x: x**power)
        return Estimate(self.dim * value, self.dim * error)

    def density(self, x: Any, width: float) -> Estimate:
        """Of eigenvalues at x, of mass 1, each a Gaussian of standard deviation ``width``.

        ``AccuracyWarning`` for a width below ``resolution``: the nodes of single probes show.
        """
        x, width = checks.finite("x", x), checks.positive("width", width)
        if width < self.resolution:
            warnings.warn(
                f"width {width:g} is less than {self.resolution:.3g}, which {len(self.beside[0])} "
                "steps resolve, so that the density and its error are not to be believed; take "
                "that, or more steps",
                AccuracyWarning,
                stacklevel=2,
            )

        def bells(values: Array) -> Array:
            z = (x - values.reshape(values.shape + (1,) * x.ndim)) / width
            return np.asarray(np.exp(-z * z / 2) / (width * np.sqrt(2 * np.pi)))

        return self.mean(bells)

    def cdf(self, x: Any) -> Estimate:
        """The share of eigenvalues at most x."""
        x = checks.finite("x", x)
        value, error = self.mean(lambda v: v.reshape(v.shape + (1,) * x.ndim) <= x)
        return Estimate(value, np.hypot(error, self._unsettled(x)))

    def near_zero(self, below: Any) -> Estimate:
        """The share of eigenvalues of |λ| <= ``below``."""
        x = checks.finite("below", below)
        value, error = self.mean(lambda v: np.abs(v).reshape(v.shape + (1,) * x.ndim) <= x)
        return Estimate(value, np.hypot(error, self._unsettled(x) + self._unsettled(-x)))

    def _unsettled(self, x: Array) -> Array:
        """How much weight may lie on the other side of x.

        By Chebyshev, Markov and Stieltjes at most that of the nodes next to x; of a node at the
        distance δ, with the residual r, at most (r/δ)² of it.
        """
        nodes, weights, residuals = self._after(self.diagonal.shape[1])
        out = np.zeros((len(nodes), x.size))
        for total, node, weight, r in zip(out, nodes, weights, residuals, strict=True):
            after = np.searchsorted(node, x.ravel(), side="right")
            for k, there in ((after - 1, after > 0), (after, after < len(node))):
                k = k[there]
                apart = np.maximum(np.abs(x.ravel()[there] - node[k]), np.finfo(float).tiny)
                total[there] += weight[k] * np.minimum(1, r[k] / apart) ** 2
        return np.asarray(out.mean(0).reshape(x.shape))


def hessian_spectrum(
    model: torch.nn.Module,
    loss: Loss,
    data: Data,
    matrix: Matrix | None = None,
    *,
    steps: int = 80,
    probes: int = 10,
    leading: int = 8,
    seed: int = 0,
    batch: int = 1024,
) -> Spectrum:
    """The spectrum of ∇²f, or of another ``matrix``, at the weights that the model has now.

    ``model``, ``loss``, ``data``, ``matrix`` and ``batch`` are those of ``curvature_operator``, the
    rest those of ``spectrum``. Costs ``steps * probes`` passes through the data, about, each four
    times as dear as a loss. Thesis section 3.3.1.
    """
    operator = curvature_operator(model, loss, data, matrix, batch=batch)
    return spectrum(operator, steps=steps, probes=probes, leading=leading, seed=seed)


def spectrum(
    operator: LinearOperator | Array,
    *,
    steps: int = 80,
    probes: int = 10,
    leading: int = 8,
    seed: int = 0,
) -> Spectrum:
    """Of any symmetric matrix, given itself or by its products.

    Parameters
    ----------
    operator : (d, d), symmetric: an array, or a ``scipy.sparse.linalg.LinearOperator``
    steps : m of Lanczos, each vector kept orthogonal to all before: features of range/m are seen
    probes : random starts with entries ±1, at least two; errors fall as their number^(-1/2), and
        as d^(-1/2)
    leading : eigenpairs of largest modulus; all of them where d is less
    seed : of the probes

    Raises ``ValueError`` for a matrix that is not symmetric, ``ConvergenceError`` where eigenpairs
    do not converge.
    """
    operator = _square(operator)
    d = operator.shape[0]
    steps = min(checks.whole("steps", steps, 2), d)
    probes, leading = checks.whole("probes", probes, 2), checks.whole("leading", leading, 1)
    leading = min(leading, d)
    rng = np.random.default_rng(checks.whole("seed", seed, 0))
    starts = rng.choice([-1.0, 1.0], (probes, d)) / np.sqrt(d)
    together = max(1, _KEPT // (steps * d))
    parts = [
        lanczos(lambda v: (operator @ v.T).T, rows, steps, _rounding(operator))
        for rows in np.split(starts, range(together, probes, together))
    ]
    _require_moderate(parts)
    diagonal, beside = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Spectrum(d, diagonal, beside, *_leading(operator, leading, starts[0], diagonal, beside))


def lanczos(
    product: Callable[[Array], Array], starts: Array, steps: int, rounding: float = 1e-14
) -> tuple[Array, Array]:
    """Diagonals and what is beside them (n, m) of the tridiagonal Qᵀ M Q, m <= d steps.

    ``starts`` (n, d) has rows of norm 1, ``product`` maps rows v to M v (of a matrix for every row,
    if need be) with a relative error ``rounding``. Where the space is exhausted the rest is 0.
    """
    n, d = starts.shape
    basis = np.zeros((n, steps, d))
    diagonal, beside = np.zeros((n, steps)), np.zeros((n, steps))
    v = starts
    for k in range(steps):
        basis[:, k], known = v, basis[:, : k + 1]
        r = np.array(product(v))
        overlaps = np.einsum("nid,nd->ni", known, r)
        diagonal[:, k] = overlaps[:, k]
        scale = np.maximum(np.abs(diagonal), beside).max(1)
        expected = np.zeros_like(overlaps[:, :k])
        if k:
            expected[:, -1] = beside[:, k - 1]
        _look_at_symmetry(overlaps[:, :k] - expected, scale, rounding)
        for _ in range(2):
            r -= np.einsum("nid,ni->nd", known, np.einsum("nid,nd->ni", known, r))
        norm = np.sqrt((r * r).sum(1))
        goes_on = norm > rounding * scale
        beside[:, k] = np.where(goes_on, norm, 0)
        v = np.where(goes_on, 1 / np.where(goes_on, norm, 1), 0)[:, None] * r
        if not goes_on.any():
            break
    return diagonal, beside


def _look_at_symmetry(excess: Array, scale: Array, rounding: float) -> None:
    """Of a symmetric matrix Qᵀ M Q is tridiagonal."""
    if excess.size and (np.abs(excess).max(1) > np.sqrt(rounding) * scale).any():
        raise ValueError(
            "operator must be symmetric; its products with vectors differ from those of its "
            "transpose: pass (A + A.T)/2, or look for a model that draws at random"
        )


def _integral(function: Callable[[Array], Array], nodes: Array, weights: Array) -> Array:
    """Of each probe, (probes, ...)."""
    values = np.asarray(function(nodes), float)
    if values.shape[:2] != nodes.shape:
        raise ValueError(
            f"function must map eigenvalues of shape {nodes.shape} to numbers of this shape, or "
            f"with axes behind; got {values.shape}"
        )
    out: Array = np.einsum("ps,ps...->p...", weights, values)
    return out


def _ritz(diagonal: Array, beside: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of tridiagonal matrices (Golub and Welsch 1969)."""
    steps = diagonal.shape[1]
    matrix = np.zeros((*diagonal.shape, steps))
    k = np.arange(steps)
    matrix[:, k, k] = diagonal
    matrix[:, k[1:], k[:-1]] = beside  # eigh reads what is below
    nodes, vectors = np.linalg.eigh(matrix)
    return np.asarray(nodes), np.asarray(vectors)


def _leading(
    operator: LinearOperator, count: int, start: Array, diagonal: Array, beside: Array
) -> tuple[Array, Array, Array]:
    """Eigenpairs of largest modulus and their residuals, checked against what Lanczos saw."""
    size = np.abs(_ritz(diagonal, beside[:, :-1])[0]).max()
    values, vectors = _eigenpairs(operator, count, start) if size > 0 else _of_zero(len(start))
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    order = order[np.argsort(-values[order], kind="stable")]
    values, vectors = values[order], vectors[:, order]
    residuals = np.sqrt(((operator @ vectors - vectors * values) ** 2).sum(0))
    slack = np.sqrt(_rounding(operator)) * size
    if (residuals > slack).any() or np.abs(values).max() < size - slack:
        raise ConvergenceError(
            f"the leading eigenpairs have residuals up to {residuals.max():.3g}, and the largest "
            f"of {np.abs(values).max():.6g} is to be at least {size:.6g}; take fewer, or weights "
            "of float64"
        )
    return values, vectors, residuals


def _eigenpairs(operator: LinearOperator, count: int, start: Array) -> tuple[Array, Array]:
    from scipy.sparse.linalg import ArpackError, eigsh

    d = len(start)
    if d <= max(_SMALL, 2 * count + 1):
        full = np.asarray(operator @ np.eye(d), float)
        values, vectors = np.linalg.eigh((full + full.T) / 2)
        return values, vectors
    try:
        found: tuple[Array, Array] = eigsh(
            operator, count, which="LM", v0=start, tol=10 * _rounding(operator)
        )
    except ArpackError as error:
        raise ConvergenceError(
            f"the {count} leading eigenpairs do not converge: {error}; take fewer, "
            "or, of a cluster of nearly equal ones, all"
        ) from error
    return found


def _require_moderate(parts: list[tuple[Array, Array]]) -> None:
    """``ValueError`` where squares of the eigenvalues leave the range of floats."""
    largest = max(float(np.abs(part).max()) for pair in parts for part in pair)
    if not (largest == 0 or 1 / _FAR < largest < _FAR):
        raise ValueError(
            f"the eigenvalues must be between {1 / _FAR:g} and {_FAR:g} in size, for their squares "
            f"to be numbers; got about {largest:.3g}: multiply the matrix by a constant"
        )


def _of_zero(d: int) -> tuple[Array, Array]:
    return np.zeros(d), np.eye(d)


def _rounding(operator: LinearOperator) -> float:
    """Of a product, relative to the largest eigenvalue."""
    return float(100 * np.finfo(operator.dtype).eps)


def _square(operator: Any) -> LinearOperator:
    what = "a symmetric matrix, or a LinearOperator of one"
    if not hasattr(operator, "matvec"):
        operator = aslinearoperator(np.atleast_2d(checks.finite("operator", operator, what)))
    if len(operator.shape) != 2 or operator.shape[0] != operator.shape[1]:
        raise ValueError(f"operator must be {what}, got shape {operator.shape}")
    return operator
