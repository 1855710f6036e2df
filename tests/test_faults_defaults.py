"""Defaults and settings that gave a wrong answer, or a message about something else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles.run.provenance import torch_settings
from pdekit.potentials import Custom, Quadratic, Rippled

PLANE = pk.Grid((-2, -2), (2, 2), (16, 16))


# ---- settings of torch ---------------------------------------------------------------------------

SETTINGS: dict[str, tuple[Callable[[Any], None], Any, Any]] = {
    "default_dtype": (torch.set_default_dtype, torch.float64, torch.float32),
    "flush_denormal": (torch.set_flush_denormal, True, False),
    "deterministic_algorithms": (torch.use_deterministic_algorithms, True, False),
    "float32_matmul_precision": (torch.set_float32_matmul_precision, "high", "highest"),
}


@contextmanager
def setting(name: str) -> Iterator[None]:
    put, other, usual = SETTINGS[name]
    put(other)
    try:
        yield
    finally:
        put(usual)


class Made:
    """A potential whose numbers take their type from torch's default."""

    dim = 1

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.tensor(0.1).to(x.dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (x**2).sum(-1) * torch.tensor(0.1).to(x.dtype) / 2


@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoint_sees_what_is_set_for_all_of_torch(name: str, tmp_path: Path) -> None:
    saved = pk.Checkpoint(tmp_path / "run.npz")

    def run() -> Any:
        return pk.simulate(
            pk.Langevin(Made(), 1.0), pk.Gaussian(), 32, 0.5, 0.1, device="cpu", checkpoint=saved
        )

    run()
    with setting(name), pytest.raises(ValueError, match=rf"torch.*{name}.* is .* there, .* here"):
        run()
    assert run().stats["resumed"] == 1


def test_and_the_default_device() -> None:
    before = torch_settings()
    with torch.device("meta"):
        assert torch_settings() == {**before, "default_device": torch.device("meta")}
