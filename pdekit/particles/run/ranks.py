"""Several processes that share an ensemble, by torch.distributed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import timedelta
from itertools import pairwise
from threading import Event, Thread
from time import sleep
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from pdekit.checks import whole
from pdekit.particles.run.guards import NonFiniteError
from pdekit.particles.run.tiles import PAD, Share

_ASKED = 0.2  # seconds between two polls of the other ranks
_TEXT = 1024  # characters of an error that are sent to other ranks


class RankError(RuntimeError):
    """Another rank stopped; the message names the rank and the reason."""


@dataclass(frozen=True)
class Ranks:
    """The rank of this process among those that share an ensemble; by default a single process.

    ``Ranks.joined()`` under torchrun, or after ``torch.distributed.init_process_group``. All ranks
    call the same functions with the same arguments in the same order.
    """

    rank: int = 0
    size: int = 1
    group: "distributed.ProcessGroup | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole("Ranks: size", self.size, 1)
        if whole("Ranks: rank", self.rank, 0) >= self.size:
            raise ValueError(f"Ranks: rank must be below size, got {self.rank} of {self.size}")

    def check_joined(self) -> None:
        """``ValueError`` if several processes have not joined."""
        if self.size > 1 and not distributed.is_initialized():
            raise ValueError(
                "Ranks: several processes must join first; write Ranks.joined() under torchrun"
            )

    @classmethod
    def joined(cls, minutes: float = 30.0) -> "Ranks":
        """The ranks of the default process group, which is initialised first under torchrun.

        gloo for tensors on the CPU, nccl for those on a GPU (of number LOCAL_RANK). ``minutes``
        is the timeout for other ranks. Without torchrun: a single process.
        """
        if not distributed.is_initialized():
            if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(os.environ):
                return cls()
            on_gpu = torch.cuda.is_available()
            if on_gpu:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=timedelta(minutes=minutes)
            )
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def device(self) -> str:
        """The GPU of this rank, or "cpu"."""
        gpus = torch.cuda.device_count()
        local = int(os.environ.get("LOCAL_RANK", self.rank))
        return f"cuda:{local % gpus}" if gpus else "cpu"

    def total(self, x: Tensor) -> Tensor:
        """Sum over the ranks in a fixed order: bitwise equal on all of them."""
        first, *rest = self.gathered(x)
        for part in rest:
            first = first + part
        return first

    def gathered(self, x: Tensor) -> list[Tensor]:
        """The tensors of all ranks, of equal shape."""
        there = self._reachable(x.contiguous())
        parts = [torch.empty_like(there) for _ in range(self.size)]
        try:
            distributed.all_gather(parts, there, group=self.group)
        except RuntimeError as error:  # raised by gloo if a process has died
            raise RankError(
                f"a rank is gone, and with it its particles: {str(error).splitlines()[0]}"
            ) from error
        return [part.to(x.device) for part in parts]

    def add_up(self, counts: NDArray[np.int64]) -> None:
        """Replace whole numbers by their sum over the ranks."""
        there = self._reachable(torch.from_numpy(counts))
        distributed.all_reduce(there, group=self.group)
        counts[...] = there.cpu().numpy()

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set on any rank."""
        said = self.gathered(torch.tensor(flags, dtype=torch.uint8))
        return torch.stack(said).amax(dim=0).bool().tolist()

    def gathered_texts(self, text: str) -> list[str]:
        """The texts of all ranks."""
        data = text.encode()[:_TEXT].ljust(_TEXT, b"\0")
        said = self.gathered(torch.tensor(list(data), dtype=torch.uint8))
        return [bytes(t.tolist()).rstrip(b"\0").decode(errors="ignore") for t in said]

    def collected(self, x: NDArray[Any], shapes: list[tuple[int, ...]]) -> list[NDArray[Any]]:
        """On rank 0 the arrays of all ranks, of these ``shapes``; empty on the others."""
        if self.rank:
            distributed.send(self._reachable(torch.from_numpy(x).contiguous()), 0, self.group)
            return []
        parts = [x]
        for rank in range(1, self.size):
            buffer = self._reachable(torch.from_numpy(np.empty(shapes[rank], x.dtype)))
            distributed.recv(buffer, rank, self.group)
            parts.append(buffer.cpu().numpy())
        return parts

    def _reachable(self, x: Tensor) -> Tensor:
        """``x`` on a device that the group's backend can send from."""
        backend = distributed.get_backend(self.group)
        if backend == "gloo":
            return x.cpu()
        return x.cuda() if backend == "nccl" else x


class Division(NamedTuple):
    """How an ensemble is divided among ranks."""

    ranks: Ranks
    axis: str  # "particle" or "run"
    shares: tuple[Share, ...]
    by_mean: bool = False  # interacting particles are divided: ranks are synchronised

    @property
    def here(self) -> Share:
        """The share of this rank."""
        return self.shares[self.ranks.rank]


def division(ranks: Ranks, n: int, runs: int, coupled: bool, by_mean: bool) -> Division:
    """Independent particles are divided; for interacting ones runs are divided.

    If there are fewer runs than ranks, particles that interact through a mean are divided
    too. Raises ``ValueError`` if no division is possible.
    """
    size, most = ranks.size, -(-n // PAD)
    if size == 1 or (size <= most and (not coupled or (by_mean and size > runs))):
        ends = [min(n, most * r // size * PAD) for r in range(size + 1)]
        shares = [Share(0, runs, a, b - a) for a, b in pairwise(ends)]
        return Division(ranks, "particle", tuple(shares), coupled and size > 1)
    if size > runs:
        raise ValueError(
            f"{size} ranks cannot share {n} particles in {runs} run{'s' * (runs > 1)}: "
            + (
                "those that act on each other in pairs stay together"
                if coupled and not by_mean
                else f"each takes at least {PAD}"
            )
            + "; take fewer ranks, or as many runs as ranks"
        )
    ends = [runs * r // size for r in range(size + 1)]
    return Division(ranks, "run", tuple(Share(a, b - a, 0, n) for a, b in pairwise(ends)))


@dataclass(frozen=True)
class Crowd:
    """The particles of a run, ``n`` in total, of which this rank has ``size``.

    A mean costs one exchange of d numbers a run and step, a weighted one two more of one. Equal to
    that of one process up to the order of the sum.
    """

    ranks: Ranks
    size: int
    n: int

    def mean(self, x: Tensor) -> Tensor:
        total = self.ranks.total(x[:, : self.size].sum(dim=1, dtype=torch.float64))
        return (total / self.n).to(x.dtype)[:, None]

    def weighted_mean(self, x: Tensor, cost: Tensor) -> Tensor:
        x, cost = x[:, : self.size], cost[:, : self.size]
        lowest = torch.stack(self.ranks.gathered(cost.amin(dim=1))).amin(dim=0)
        weight = (lowest[:, None] - cost).exp()[..., None]
        sums = torch.cat((weight * x, weight), dim=-1).sum(dim=1, dtype=torch.float64)
        total = self.ranks.total(sums)
        return (total[:, :-1] / total[:, -1:]).to(x.dtype)[:, None]


@dataclass(frozen=True)
class SharedMean:
    """An interaction by a mean, among ``n`` particles of which each rank has a share."""

    interaction: Any
    ranks: Ranks
    n: int

    @property
    def strength(self) -> float:
        """The strength of the interaction."""
        return float(self.interaction.strength)

    @property
    def quadratic(self) -> bool:
        """Whether the mean is that of the positions."""
        return bool(getattr(self.interaction, "quadratic", False))

    def mean_force(self, x: Tensor, values: Callable[[Tensor], Tensor], crowd: Any) -> Tensor:
        """The force of the interaction with all particles of the run."""
        force: Tensor = self.interaction.mean_force(
            x, values, Crowd(self.ranks, crowd.size, self.n)
        )
        return force


def interacts_by_mean(dynamics: Any) -> bool:
    """Whether the particles interact only through a mean."""
    interaction = getattr(dynamics, "interaction", None)
    return is_dataclass(dynamics) and bool(getattr(interaction, "by_mean", False))


def with_shared_mean(dynamics: Any, ranks: Ranks, n: int) -> Any:
    """The same dynamics for a rank's share of ``n`` particles."""
    return replace(dynamics, interaction=SharedMean(dynamics.interaction, ranks, n))


@dataclass
class FailureMonitor:
    """Detects whether a rank has failed, and then calls ``stop``."""

    ranks: Ranks
    stop: Callable[[], None] = lambda: None
    failed: bool = False
    lost: str = ""
    ended: Event = field(default_factory=Event)

    def run(self) -> None:
        """Poll until all ranks have ended."""
        while True:
            self.ended.wait(_ASKED)
            try:
                ended = self.ended.is_set()
                failed, going = self.ranks.any(ended and self.failed, not ended)
            except RankError as error:
                self.lost = str(error)
                self.stop()
                return
            if failed:
                self.stop()
            if not going:
                return
            if ended:
                sleep(_ASKED / 20)


@contextmanager
def monitored(division: Division) -> Iterator["FailureMonitor"]:
    """Stop all ranks if one fails: it raises its own error, the others raise ``RankError``.

    A thread polls the other ranks a few times a second, in a separate process group; it calls
    ``monitor.stop`` if one has failed. All ranks leave together, except for an error unknown to
    synchronised ranks: they wait for the sum of a step until the failed rank is gone.
    """
    ranks, together = division.ranks, True
    if ranks.size == 1:
        yield FailureMonitor(ranks)
        return
    group = distributed.new_group(backend="gloo")
    monitor = FailureMonitor(replace(ranks, group=group))
    thread = Thread(target=monitor.run, daemon=True)
    thread.start()
    text = ""
    try:
        yield monitor
    except BaseException as error:
        monitor.failed, text = True, f"{type(error).__name__}: {error}"
        known = isinstance(error, NonFiniteError | RankError | KeyboardInterrupt)
        together = known or not division.by_mean
        raise
    finally:
        monitor.ended.set()
        if together:
            thread.join()
            others = [] if monitor.lost else monitor.ranks.gathered_texts(text)
            distributed.destroy_process_group(group)
            if not text:
                raise_for(others, monitor.lost)


def raise_for(texts: list[str], lost: str = "") -> None:
    """``RankError`` for the first rank with a text, or for one that is gone."""
    if lost:
        raise RankError(lost)
    for rank, text in enumerate(texts):
        if text:
            raise RankError(f"rank {rank} stopped. {text}")
