"""Sparse LU of 1 - tau A and of -A, A the matrix of a Markov generator or its transpose."""

from typing import Any


def factorised(matrix: Any, tau: float) -> Any:
    """LU of 1 - tau A: an M-matrix, so without pivoting, and with a symmetric ordering."""
    from scipy.sparse import eye_array

    return _factors(eye_array(matrix.shape[0], format="csc") - tau * matrix)


def inverted(matrix: Any) -> Any:
    """LU of -A, where all that is in the cells is lost in the end."""
    return _factors(-matrix)


def _factors(system: Any) -> Any:
    from scipy.sparse.linalg import splu

    return splu(
        system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )  # fmt: skip
