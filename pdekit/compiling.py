"""Kernels are compiled once a machine: where they are kept, and a line that says so.

Imported by every module that has kernels. numba keeps what it compiled beside the
source, or in the user's cache; where neither can be written (a read-only installation without a
home), a folder of the user's among the temporary files stands in. ``NUMBA_CACHE_DIR`` goes first.
"""

import getpass
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_QUIET = ("PDEKIT_QUIET", "PYTEST_CURRENT_TEST")  # of the environment
_SOON = 1.0  # seconds of compiling before a line is said
_EVERY = 0.5  # seconds between two counts on a terminal


def prepare() -> None:
    """A cache that can be written, and a listener for what is compiled."""
    folder = fallback()
    if folder is not None:
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        import numba

        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    _listen()


def fallback() -> Path | None:
    """Where kernels are kept if numba's own places cannot be written; None where one can."""
    here = Path(__file__).parent
    if os.environ.get("NUMBA_CACHE_DIR") or writable(here) or _home_is_writable():
        return None
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        name = str(os.getuid()) if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"pdekit-kernels-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    strange = hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()
    return Path(tempfile.mkdtemp(prefix="pdekit-kernels-")) if strange else folder


def _home_is_writable() -> bool:
    """Whether numba's folder in the user's cache can be made."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home
        return False
    there = next((p for p in (home, *home.parents) if p.exists()), None)
    return there is not None and writable(there)


def writable(folder: Path) -> bool:
    """Whether a file can be made in a folder; permissions alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Line:
    """Says once that kernels are compiled, and on a terminal how many and how long so far."""

    def __init__(self) -> None:
        self.depth, self.count, self.seconds = 0, 0, 0.0
        self.began, self.shown, self.said = 0.0, 0.0, False

    def on_start(self, event: Any) -> None:
        self.depth += 1
        if self.depth == 1:
            self.began = time.perf_counter()

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        self.count += 1
        if self.depth:
            return
        now = time.perf_counter()
        self.seconds += now - self.began
        if self.seconds > _SOON and now - self.shown > _EVERY:
            self.say()
            self.shown = now

    def say(self) -> None:
        """On stderr; a file gets the first line only."""
        error = sys.stderr
        if error is None or any(name in os.environ for name in _QUIET):
            return
        moving = error.isatty()
        if self.said and not moving:
            return
        start, end = ("\r", "") if moving else ("", "\n")
        text = f"{start}compiling kernels, once: {self.count} in {self.seconds:.0f} s{end}"
        text = text if moving else "compiling kernels, once: a minute or two at first, then kept\n"
        try:
            error.write(text)
            error.flush()
        except (OSError, ValueError):  # closed
            return
        self.said = True

    def finish(self) -> None:
        """Ends the line on a terminal."""
        if self.said and sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\n")


LINE = Line()
_listening = False


def _listen() -> None:
    global _listening
    if _listening:
        return
    _listening = True
    import atexit

    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            LINE.on_start(event)

        def on_end(self, event: Any) -> None:
            LINE.on_end(event)

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]
    atexit.register(LINE.finish)


prepare()
