"""What pdekit raises beside ``ValueError`` and ``TypeError``, and warns of, once a call."""

from collections.abc import Hashable
from contextvars import ContextVar, Token

_SAID: ContextVar[set[Hashable] | None] = ContextVar("said", default=None)


class each_once:  # a class: a generator takes three times as long to enter
    """A call in which ``first`` is true once for each key; inner calls are parts of it."""

    token: Token[set[Hashable] | None] | None

    def __enter__(self) -> None:
        self.token = _SAID.set(set()) if _SAID.get() is None else None

    def __exit__(self, *raised: object) -> None:
        if self.token is not None:
            _SAID.reset(self.token)


def first(key: Hashable) -> bool:
    """Whether nothing was said about it in this call; always outside of one."""
    said = _SAID.get()
    if said is None:
        return True
    new = key not in said
    said.add(key)
    return new


class ConvergenceError(RuntimeError):
    """A computation did not reach its tolerance; no answer is returned."""


class FieldError(ValueError):
    """A user's function inside a value of pdekit fails, or has wrong values; it is named."""


class AccuracyWarning(UserWarning):
    """The answer may be further from the truth than its own estimate or tolerance says."""


class ResolutionWarning(UserWarning):
    """The grid is too coarse for what it carries, so the scheme is only of first order there."""


class TruncationWarning(UserWarning):
    """Mass, or a minimiser, reaches the boundary of the box, so the result depends on the box."""
