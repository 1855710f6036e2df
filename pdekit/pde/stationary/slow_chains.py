"""The slowest modes of Markov chains on the cells of a grid, each rate to full relative accuracy.

A reversible chain is symmetric in the frame of sqrt(pi), and so are the factors of its elimination
without subtractions: neither underflows, however small pi is. The inverse T = (kill - L)^-1 then
has errors of a rounding of its norm 1 / λ_1, which hides modes that are faster by many
orders of magnitude than the slowest. These are found in stages: known modes are projected out,
before and after T, and where the next ones are too far from the first, functions are pinned at zero
on one cell for each mode that is slower by 1e10, where it is large. On what is orthogonal to the
known modes the inverse that is left is T but for a share λ_pinned / λ_next.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete import chains

Apply = Callable[[Array], Array]
_LONGEST = 1e290  # times above it count as infinite
_SMALL = 1e-300  # pivots below it are inaccurate
_RESOLVED = 1e-5  # of the largest eigenvalue: smaller ones are left to the next stage
_FAR = 1e-10  # of the norm of the inverse: smaller ones need another inverse
_RESOLVED_DRIVEN = 1e-8  # as _RESOLVED, if there is no next stage
_ALONE = 1e-5  # residual of a power iteration that indicates a single mode
_BASIS = 18  # vectors of a Lanczos iteration; its start vector is multiplied twice by the inverse
_RESTARTS = 40  # attempts of a Lanczos iteration before modes are computed one by one
_SURE = 1e-6  # of the largest entry: smaller ones of a symmetrised vector are not significant
_LEAST = 1e-150  # sqrt(pi) below which a mode is not represented as a function
_SETTLED = 1e-8  # of the largest value: tolerated change of a continuation round
_ROUNDS, _GROWTH = 100, 1e6  # maximal continuation rounds, and maximal growth
_TOO_SLOW = "the slowest rates are below 1e-290, beyond floating-point range; lower beta"


@dataclass(frozen=True, eq=False)
class Chain:
    """Jump rates between cells, what each loses to the walls (or None), and sqrt(pi) or a frame.

    ``root`` has norm one; where ``reversible``, root² is in detailed balance with the jumps.
    """

    matrix: Any
    grid: Grid
    loss: Array | None
    root: Array
    reversible: bool

    @cached_property
    def jumps(self) -> Any:
        return chains.rates(self.matrix)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        return chains.order(self.matrix, self.grid)

    @property
    def known(self) -> Array:
        """The modes known in advance: the constant one if nothing is lost."""
        return self.root[:, None] if self.loss is None else np.empty((self.root.size, 0))


@dataclass(frozen=True, eq=False)
class Inverse:
    """(kill - L)^-1 on functions that vanish in the cells ``pinned``."""

    chain: Chain
    made: Any
    pinned: NDArray[np.int64]

    def functions(self, b: Array) -> Array:
        """x of (kill - L) x = b outside the cells that are pinned."""
        b = b.copy()
        b[self.pinned] = 0.0
        out: Array = self.made.solve(b)
        return out

    @cached_property
    def _in_frame(self) -> Any:
        """The factors of sqrt(pi) (kill - L) / sqrt(pi), symmetric: P_i M_ji = U_ij."""
        pivot = np.repeat(self.made.pivot, np.diff(self.made.start))
        root = np.sqrt(self.made.upper) * np.sqrt(self.made.lower)
        upper = root * np.sqrt(pivot)
        return replace(self.made, upper=upper, lower=upper / pivot)

    def off(self, known: Array) -> Apply:
        """The inverse in the frame, on what is orthogonal to ``known`` vectors."""
        root = self.chain.root

        def apply(y: Array) -> Array:
            y = _without(y.ravel(), known)
            if self.chain.reversible:
                y[self.pinned] = 0.0
                x = self._in_frame.solve(y)
            else:
                x = self.functions(y / root) * root
            if not (np.abs(x) < _LONGEST).all():
                raise ConvergenceError(_TOO_SLOW)
            return _without(x, known)

        return apply


def pin(chain: Chain, pinned: NDArray[np.int64]) -> Inverse:
    """Factorise kill - L with functions fixed to zero on some cells: jumps there are killed."""
    from scipy.sparse import coo_array

    from pdekit.pde.kernels.elimination import eliminate

    jumps, n = chain.jumps, chain.root.size
    stays = np.ones(n, dtype=bool)
    stays[pinned] = False
    keep = stays[jumps.row] & stays[jumps.col]
    inner = coo_array((jumps.data[keep], (jumps.row[keep], jumps.col[keep])), shape=jumps.shape)
    leaves = ~stays[jumps.col]
    killed = np.zeros(n) if chain.loss is None else chain.loss.copy()
    np.add.at(killed, jumps.row[leaves], jumps.data[leaves])
    made = eliminate(inner, chain.order, np.where(stays, killed, 1.0))
    if made.stuck.size or not made.pivot[-1] >= _SMALL:
        if chain.loss is None:
            chains.recurrent(chain.matrix, chain.grid)  # reports the closed sets of cells
        raise ConvergenceError(_TOO_SLOW)
    return Inverse(chain, made, pinned)


def start(chain: Chain) -> Inverse:
    """The inverse of the first stage."""
    return pin(chain, _cells_of(chain.known))


def reversible_modes(chain: Chain, count: int) -> tuple[Array, Array, Inverse]:
    """The ``count`` smallest rates, their vectors in the frame, and the last inverse."""
    known, inverse, norm = chain.known, start(chain), 0.0
    first, rates = known.shape[1], np.empty(0)
    while len(rates) < count:
        apply = inverse.off(known)
        vector, size, rest = _power(apply, known.shape[0])
        norm = max(norm, size)
        if size < _FAR * norm:
            inverse, norm = _next_inverse(chain, known, rates), 0.0
            continue
        wanted = count - len(rates)
        values, vectors = (
            _alone(apply, vector) if rest < _ALONE else _lanczos(apply, vector, wanted)
        )
        resolved = (values > _RESOLVED * values[0]) & (values > 0)
        if not resolved.any():
            raise ConvergenceError(
                "the slow modes cannot be distinguished in floating point; ask for fewer, or lower "
                "beta"
            )
        rates = np.append(rates, 1 / values[resolved])
        known = np.hstack([known, vectors[:, resolved]])
    slowest = np.argsort(rates, kind="stable")[:count]
    return rates[slowest], known[:, first:][:, slowest], inverse


def _next_inverse(chain: Chain, known: Array, rates: Array) -> Inverse:
    """The inverse with a cell pinned for each mode that is far slower than the next one."""
    every = pin(chain, _cells_of(known))
    _, longest, _ = _power(every.off(known), known.shape[0])
    far = np.append(np.ones(known.shape[1] - len(rates), dtype=bool), rates * longest < _FAR)
    return every if far.all() else pin(chain, _cells_of(known[:, far]))


def driven_modes(chain: Chain, count: int, among: int) -> tuple[Any, Any, Inverse]:
    """The ``count`` rates of smallest real part ``among`` those of smallest modulus; vectors."""
    inverse = start(chain)
    apply = inverse.off(chain.known)
    vector, _, rest = _power(apply, chain.root.size)
    values, vectors = _alone(apply, vector) if rest < _ALONE else _arnoldi(apply, vector, among)
    resolved = np.abs(values) > _RESOLVED_DRIVEN * np.abs(values).max()
    rates, vectors = 1 / values[resolved], vectors[:, resolved]
    if len(rates) < count or not (rates.real > 0).all():
        raise ConvergenceError(
            f"the {count} slowest rates differ by more than floating-point numbers resolve without "
            f"detailed balance: the slowest is {np.abs(rates).min():.3g}; ask for fewer, or lower "
            "beta"
        )
    chosen = sorted(range(len(rates)), key=lambda k: (_digits(rates[k].real), -rates[k].imag))
    rates, vectors = rates[chosen[:count]], vectors[:, chosen[:count]]
    if np.abs(rates.imag).max() <= 1e-9 * np.abs(rates).max():
        rates, vectors = rates.real, np.ascontiguousarray(_real(vectors))
    return rates, vectors, inverse


def functions(inverse: Inverse, rates: Any, vectors: Any) -> Any:
    """The modes as functions (count, cells), from their symmetrised vectors, slowest first.

    A vector is not significant where it and sqrt(pi) are small: there the function solves
    (kill - L) φ = λ φ with the values that are known around it.
    """
    made = [_function(inverse, rate, vectors[:, : k + 1]) for k, rate in enumerate(rates)]
    return np.array(made)


def _function(inverse: Inverse, rate: Any, vectors: Any) -> Any:
    root, vector = inverse.chain.root, vectors[:, -1]
    sure = (np.abs(vector) > _SURE * np.abs(vector).max()) | (root > _SURE * root.max())
    if (root[sure] < _LEAST).any():
        raise ConvergenceError(
            "a mode lives where the stationary density is below 1e-300 of its largest, so that "
            "the mode cannot be represented; use spectral_gap, ask for fewer modes, or lower beta"
        )
    phi = np.where(sure, vector / np.where(sure, root, 1.0), 0.0)
    if sure.all():
        return phi
    found = _continued(inverse, rate, phi, sure) if sure[inverse.pinned].all() else None
    if found is not None:
        return found
    # a slower mode dominates where this one is unknown: there it is nearly zero
    slower = _cells_of(np.abs(vectors[:, :-1]))
    there = pin(inverse.chain, np.union1d(np.flatnonzero(sure), slower))
    found = _continued(there, rate, phi, sure)
    return phi if found is None else found


def _continued(inverse: Inverse, rate: Any, phi: Any, sure: NDArray[np.bool_]) -> Any:
    """φ where it is not known yet, by φ = (kill - L)^-1 λ φ with λ φ from the last round.

    None if it does not converge: then a slower mode is there.
    """
    known = sure.copy()
    known[inverse.pinned] = True
    from_pinned = inverse.chain.jumps.tocsc()[:, inverse.pinned] @ phi[inverse.pinned]
    most = _GROWTH * np.abs(phi).max()
    for _ in range(_ROUNDS):
        new = np.where(known, phi, _solved(inverse, from_pinned + rate * phi))
        moved, phi = np.abs(new - phi).max(), new
        size = np.abs(phi).max()
        if not size < most:
            return None
        if moved <= _SETTLED * size:
            return phi
    return None


def _solved(inverse: Inverse, b: Any) -> Any:
    if not np.iscomplexobj(b):
        return inverse.functions(b)
    return inverse.functions(b.real.copy()) + 1j * inverse.functions(b.imag.copy())


def _without(y: Array, known: Array) -> Array:
    out: Array = y - known @ (known.T @ y)
    return out


def _cells_of(known: Array) -> NDArray[np.int64]:
    """One cell for each known vector, so that their values there are as independent as can be."""
    from scipy.linalg import qr

    if known.shape[1] < 2:
        place: NDArray[np.intp] = np.abs(known).argmax(0)
        return place
    _, pivots = qr(known.T, mode="r", pivoting=True)
    return np.sort(pivots[: known.shape[1]])


def _power(apply: Apply, n: int) -> tuple[Array, float, float]:
    """A vector in which the largest modes are large, its eigenvalue, and the residual. It

    starts from noise independent of pi, as a mode may live where pi is smallest.
    """
    y = apply(np.random.default_rng(0).standard_normal(n))
    return _once(apply, y / _norm(y))


def _once(apply: Apply, y: Array) -> tuple[Array, float, float]:
    z = apply(y)
    size = _norm(z)
    z /= size
    return z, size, _norm(z - (y @ z) * y)


def _norm(y: Array) -> float:
    """The length of a vector whose squares may overflow."""
    most = float(np.abs(y).max())
    return most * float(np.linalg.norm(y / most)) if most > 0 else 0.0


def _alone(apply: Apply, y: Array) -> tuple[Array, Array]:
    """The largest eigenvalue where the others are far below it."""
    rest = 1.0
    for _ in range(10):
        z, _, now = _once(apply, y)
        if not now < rest / 2:
            break
        y, rest = z, now
    return np.array([y @ apply(y)]), y[:, None]


def _lanczos(apply: Apply, y: Array, wanted: int) -> tuple[Array, Array]:
    """Up to ``wanted`` of the largest eigenvalues of a symmetric inverse, largest first."""
    from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

    inverse = LinearOperator((y.size, y.size), matvec=apply, dtype=float)
    most = _RESTARTS if wanted > 1 else 10 * _RESTARTS
    basis = min(y.size, max(2 * wanted + 1, _BASIS))
    try:
        values, vectors = eigsh(inverse, wanted, v0=y, which="LM", maxiter=most, ncv=basis)
    except ArpackError as error:
        if isinstance(error, ArpackNoConvergence) and len(error.eigenvalues):
            values, vectors = error.eigenvalues, error.eigenvectors
        elif wanted > 1:
            return _lanczos(apply, y, 1)
        else:
            raise _unsettled(error) from error
    falling = np.argsort(-values)
    return values[falling], vectors[:, falling]


def _arnoldi(apply: Apply, y: Array, wanted: int) -> tuple[Any, Any]:
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    inverse = LinearOperator((y.size, y.size), matvec=apply, dtype=float)
    try:
        pairs: tuple[Any, Any] = eigs(inverse, wanted, v0=y, which="LM", maxiter=100 * wanted + 300)
        return pairs
    except ArpackError as error:
        raise _unsettled(error) from error


def _unsettled(error: Exception) -> ConvergenceError:
    return ConvergenceError(
        f"the slow modes do not settle: {error}; ask for fewer, or refine the grid"
    )


def _digits(rate: float) -> float:
    """A rate rounded to nine digits, so that complex pairs are equal."""
    return float(f"{rate:.8e}")


def _real(vectors: NDArray[Any]) -> Array:
    """Vectors turned so that their largest entry is real, and then their real part."""
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    out: Array = (vectors * (np.abs(largest) / largest)).real
    return out
