"""The behaviour and lookups of a user function, from its bytecode.

The text of a code object contains its instructions and constants, but no comment, line number,
docstring or name of a local variable; it is the same in every process of one version of Python.
"""

import dis
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME")
_SILENT = ("CACHE", "NOP", "RESUME", "EXTENDED_ARG")


@dataclass
class Lookups:
    """Names looked up by a code object and nested ones."""

    chains: set[tuple[str, ...]] = field(default_factory=set)  # ("np", "random", "normal")
    alone: set[str] = field(default_factory=set)  # globals used without attribute access
    attributes: set[str] = field(default_factory=set)  # of anything
    words: set[str] = field(default_factory=set)  # these, globals, and strings that may be names
    # level, module and imported names, empty if unknown
    imports: set[tuple[int, str, tuple[str, ...]]] = field(default_factory=set)


@lru_cache(maxsize=1024)
def text(code: types.CodeType) -> str:
    """The instructions as text."""
    count = code.co_argcount + code.co_kwonlyargcount
    head = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    lines = [repr((*head, code.co_varnames[:count], code.co_exceptiontable))]
    for step in dis.get_instructions(code):
        if step.opname in _SILENT:
            continue
        if step.opcode in dis.hasconst:
            argument = constant(step.argval)
        elif step.opcode in dis.haslocal or step.argval is None:
            argument = str(step.arg)  # by index: names of local variables are irrelevant
        else:
            argument = str(step.argval)
        lines.append(f"{step.opname} {argument}")
    return "\n".join(lines)


def constant(value: Any) -> str:
    """A constant as text, independent of the iteration order of sets."""
    if isinstance(value, types.CodeType):
        return f"code {text(value)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(constant, value))},)"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(constant, value)))}}}"
    return repr(value)


@lru_cache(maxsize=1024)
def lookups(code: types.CodeType) -> Lookups:
    """Its lookups, including nested functions and classes."""
    found = Lookups()
    for inner in _all(code):
        steps = [s for s in dis.get_instructions(inner) if s.opname not in _SILENT]
        found.words.update(inner.co_names)
        for k, step in enumerate(steps):
            if step.opcode in dis.hasconst:
                found.words.update(_words(step.argval))
            elif step.opname in _ATTRIBUTES:
                found.attributes.add(step.argval)
            elif step.opname in _GLOBALS:
                chain = (step.argval, *_attributes(steps[k + 1 :]))
                found.chains.add(chain)
                if len(chain) == 1:
                    found.alone.add(chain[0])
            elif step.opname == "IMPORT_NAME":
                level, names = steps[k - 2].argval, steps[k - 1].argval
                if not names and _only_asked(steps, k + 1):
                    names = tuple(inner.co_names)
                found.imports.add((level, step.argval, tuple(names or ())))
    return found


def _all(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _all(inner)


def _attributes(steps: list[dis.Instruction]) -> Iterator[str]:
    for step in steps:
        if step.opname not in _ATTRIBUTES:
            return
        yield step.argval


def _only_asked(steps: list[dis.Instruction], k: int) -> bool:
    """Whether the local variable stored in instruction ``k`` is only used for its attributes."""
    if steps[k].opname != "STORE_FAST":
        return False
    loads = [i for i, s in enumerate(steps) if s.opname == "LOAD_FAST" and s.arg == steps[k].arg]
    return all(steps[i + 1].opname in _ATTRIBUTES for i in loads)


def _words(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value} if value.isidentifier() else set()
    if isinstance(value, tuple | frozenset):
        return set().union(*map(_words, value))
    return set()
