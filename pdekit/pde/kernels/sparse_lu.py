"""Sparse LU of 1 - tau A, A the matrix of a Markov generator or its transpose."""

from typing import Any


def factorised(matrix: Any, tau: float) -> Any:
    """LU of 1 - tau A: an M-matrix, so without pivoting, and with a symmetric ordering."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    system = (eye_array(matrix.shape[0], format="csc") - tau * matrix).tocsc()
    return splu(
        system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
