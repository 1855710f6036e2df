"""Division of an ensemble into tiles that fit in cache, or in the memory of a device."""

from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor

# Tiles are padded to a multiple of this many particles, so that all of them use torch's vector
# loops: its scalar loop for remainders rounds some functions differently.
PAD = 64
# bytes per number of a tile, including all temporaries, mainly noise
_BYTES = 256


class Share(NamedTuple):
    """The rectangle of runs times particles of this process."""

    run: int
    runs: int
    particle: int
    size: int


class Tile(NamedTuple):
    """A part of it: actual runs and particles, and the padded shape of the tensor."""

    run: int
    particle: int
    runs: int
    size: int
    rows: int
    columns: int


def pieces(share: Share, dim: int, capacity: int) -> list[Tile]:
    """Pieces of about ``capacity`` numbers, particles in multiples of ``PAD``."""
    capacity = max(PAD, capacity // dim)
    number = -(-share.size // (capacity // PAD * PAD))
    width = -(-share.size // (number * PAD)) * PAD
    height = max(1, capacity // width)
    cut = []
    for r in range(0, share.runs, height):
        for p in range(0, share.size, width):
            runs, size = min(height, share.runs - r), min(width, share.size - p)
            columns = -(-size // PAD) * PAD
            cut.append(Tile(share.run + r, share.particle + p, runs, size, runs, columns))
    return cut


def whole_runs(share: Share, dim: int, capacity: int) -> list[Tile]:
    """Tiles that contain all particles of their runs, for interacting particles.

    Padded with copies of particles, or of whole runs if these are fewer.
    """
    n, height = share.size, max(1, capacity // (share.size * dim))
    cut = []
    for r in range(0, share.runs, height):
        runs = min(height, share.runs - r)
        more, more_runs = -n % PAD, -runs % (PAD // gcd(PAD, n * dim))
        rows, columns = (runs, n + more) if runs * more <= more_runs * n else (runs + more_runs, n)
        cut.append(Tile(share.run + r, share.particle, runs, n, rows, columns))
    return cut


def shared_runs(share: Share, largest: int, dim: int, capacity: int) -> list[Tile]:
    """Equally many tiles on every rank, of runs whose particles are divided among the ranks.

    ``largest`` is the largest number of particles of a run on one rank.
    """
    height, columns = max(1, capacity // (largest * dim)), -(-share.size // PAD) * PAD
    cut = []
    for r in range(0, share.runs, height):
        runs = min(height, share.runs - r)
        cut.append(Tile(share.run + r, share.particle, runs, share.size, runs, columns))
    return cut


def filled(x: Tensor, tile: Tile) -> Tensor:
    """``x`` (runs, size, dim) padded with copies to the tile's shape; a new tensor."""
    runs, size, dim = x.shape
    out = x.new_empty(tile.rows, tile.columns, dim)
    out[:runs, :size] = x
    out[:runs, size:] = x[:, :1]
    out[runs:] = out[:1]
    return out


def device_capacity(device: torch.device, most: int) -> int:
    """Numbers per tile on a device: ``most``, or fewer if free memory is short."""
    if device.type != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info(device)
    return max(PAD, min(most, free // _BYTES))
