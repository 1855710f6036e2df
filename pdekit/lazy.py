"""Names imported, and properties computed, on first use; so importing a package stays fast.

A package lists its public names once, as imports read by type checkers and skipped at run time:

    if TYPE_CHECKING:
        from pdekit.grid import Grid as Grid
    else:
        __all__, __getattr__, __dir__ = lazy.names(__name__)
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:

    class cached_property:
        """That of Python 3.12, without the lock of before, which costs a microsecond."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            return value


def names(package: str) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` of a package, from its own source."""
    module = sys.modules[package]
    with open(
        str(module.__file__), encoding="utf-8"
    ) as source:  # importing pathlib would take longer
        homes = listed(source.read())

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = _found(homes[name], name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ModuleNotFoundError(
                f"{package}.{name} needs torch, which is not installed: pip install torch. "
                "Equations, control, phases and their certificates work without it",
                name="torch",
            ) from None
        setattr(module, name, value)  # cached for later accesses
        return value

    return sorted(homes), get, lambda: sorted(homes)


def listed(source: str) -> dict[str, str]:
    """Public name -> where it is imported from under ``if TYPE_CHECKING:``."""
    return {
        alias.asname: str(line.module)
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
        if alias.asname
    }


def _found(home: str, name: str) -> Any:
    """What ``from home import name`` gives; a module of a package may not have been loaded yet."""
    inside = vars(import_module(home))
    return inside[name] if name in inside else import_module(f"{home}.{name}")
