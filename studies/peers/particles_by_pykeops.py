"""KeOps: its lazy tensors on one thread; it compiles a formula when it meets it first."""

import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from pykeops.torch import LazyTensor

from peers.particles import Method, Size


def force(dim: int, dtype: Any) -> Any:
    def make(size: Size) -> Any:
        x = torch.from_numpy(size.cloud(dim)).to(dtype)

        def run() -> Any:
            z = LazyTensor(x[:, None]) - LazyTensor(x[None])
            return ((z * (-(z * z).sum(-1) / 2).exp()).sum(1) / len(x)).numpy()

        return run

    return make


def methods() -> tuple[Method, ...]:
    kinds = ((torch.float32, "float32"), (torch.float64, "float64"))
    return tuple(
        Method(f"P3 d={dim}", f"KeOps, {name}", force(dim, dtype))
        for dim in (1, 2)
        for dtype, name in kinds
    )
