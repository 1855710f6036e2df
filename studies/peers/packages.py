"""Which packages a benchmark compares, which of them are installed, and their methods."""

from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Packages:
    """``table``: name in the rows -> (import, distribution, file here of its methods).

    ``own`` are always there, and all that a quick run measures.
    """

    table: dict[str, tuple[str, str, str]]
    own: tuple[str, ...]

    def absent(self) -> list[str]:
        """Names of those that are not installed."""
        return [name for name, (module, *_) in self.table.items() if find_spec(module) is None]

    def versions(self) -> dict[str, str]:
        """Of the distributions that are installed, but for pdekit."""
        there = [p for name, p in self.table.items() if name not in ("pdekit", *self.absent())]
        return {distribution: metadata.version(distribution) for _, distribution, _ in there}

    def methods(self, quick: bool) -> list[Any]:
        """Every method of the packages that are installed."""
        there = [name for name in self.table if name not in self.absent()]
        wanted = [name for name in there if not quick or name in self.own]
        files = [import_module(f"peers.{self.table[name][2]}") for name in wanted]
        return [m for file in files for m in file.methods()]
