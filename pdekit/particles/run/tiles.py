"""How an ensemble is cut: into tiles that fit in cache, or in the memory of a device."""

from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor

# Tiles are filled up to this many particles, so that all of them run through torch's vector loops:
# its scalar loop for left-overs rounds some functions differently.
PAD = 64
# bytes a number of a tile may need with everything that is made on the way, noise above all
_BYTES = 256


class Share(NamedTuple):
    """The rectangle of runs times particles that this process moves."""

    run: int
    runs: int
    particle: int
    size: int


class Tile(NamedTuple):
    """A piece of it: runs and particles that count, and the tensor's, the rest being copies."""

    run: int
    particle: int
    runs: int
    size: int
    rows: int
    columns: int


def pieces(share: Share, dim: int, room: int) -> list[Tile]:
    """Pieces of about ``room`` numbers, particles in multiples of ``PAD``."""
    room = max(PAD, room // dim)
    number = -(-share.size // (room // PAD * PAD))
    width = -(-share.size // (number * PAD)) * PAD
    height = max(1, room // width)
    cut = []
    for r in range(0, share.runs, height):
        for p in range(0, share.size, width):
            runs, size = min(height, share.runs - r), min(width, share.size - p)
            columns = -(-size // PAD) * PAD
            cut.append(Tile(share.run + r, share.particle + p, runs, size, runs, columns))
    return cut


def whole_runs(share: Share, dim: int, room: int) -> list[Tile]:
    """Pieces that hold all particles of their runs, for particles that act on each other.

    Filled up with copies of particles, or of whole runs where that is less.
    """
    n, height = share.size, max(1, room // (share.size * dim))
    cut = []
    for r in range(0, share.runs, height):
        runs = min(height, share.runs - r)
        more, more_runs = -n % PAD, -runs % (PAD // gcd(PAD, n * dim))
        rows, columns = (runs, n + more) if runs * more <= more_runs * n else (runs + more_runs, n)
        cut.append(Tile(share.run + r, share.particle, runs, n, rows, columns))
    return cut


def shared_runs(share: Share, largest: int, dim: int, room: int) -> list[Tile]:
    """As many pieces on every rank, of runs whose particles are divided among the ranks.

    ``largest`` is the largest number of particles that a rank has of a run.
    """
    height, columns = max(1, room // (largest * dim)), -(-share.size // PAD) * PAD
    cut = []
    for r in range(0, share.runs, height):
        runs = min(height, share.runs - r)
        cut.append(Tile(share.run + r, share.particle, runs, share.size, runs, columns))
    return cut


def filled(x: Tensor, tile: Tile) -> Tensor:
    """``x`` (runs, size, dim) with copies up to the tile's rows and columns; its own memory."""
    runs, size, dim = x.shape
    out = x.new_empty(tile.rows, tile.columns, dim)
    out[:runs, :size] = x
    out[:runs, size:] = x[:, :1]
    out[runs:] = out[:1]
    return out


def device_room(device: torch.device, most: int) -> int:
    """Numbers per tile on a device: ``most``, or fewer where its free memory is short."""
    if device.type != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info(device)
    return max(PAD, min(most, free // _BYTES))
