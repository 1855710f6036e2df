"""Checkpoints of a simulation: written atomically, rejected if damaged."""

import json
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.checks import positive
from pdekit.particles.run.descriptions import Indescribable
from pdekit.particles.run.fingerprint import described, differences

_FORMAT = 1
Arrays = dict[str, NDArray[Any]]


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to another simulation; nothing was computed."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged, could not be written, or does not cover all that it should."""


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a simulation is saved, so that the same call resumes where it stopped.

    ``path`` is written every ``minutes`` minutes, when ``simulate`` is interrupted, and when it
    ends: called again with the same arguments it returns the result at once. The previous
    one is kept as ``path.previous``. The file is a plain .npz with a digest of every array;
    nothing in it is ever executed. It contains all kept positions: with ``keep=False``
    it is small. Delete both files to start again.

    The arguments include the code of user functions and classes and all that they depend
    on: what they call, close over and look up in user modules. Comments, docstrings and functions
    that are not used may change. Libraries are identified by their version, and what is set for all
    of torch (default dtype and device, denormals, deterministic algorithms) counts. A value that
    cannot be identified is refused, and there is a warning for functions that read files when
    called. An object with irrelevant changing state, for example a counter, should define
    ``__fingerprint__`` to return the relevant part.

    Raises ``CheckpointError`` (a ``ValueError``) for a file of other arguments, naming what
    differs, for a damaged one without an intact previous one, and, before anything is
    computed, for a path that is not writable. If writing fails later (a full disk), the old file is
    kept, with a ``CheckpointWarning``, and the computation continues. Good values: 5 minutes.
    """

    path: Path
    minutes: float

    def __init__(self, path: str | os.PathLike[str], minutes: float = 5.0) -> None:
        if not isinstance(path, str | os.PathLike) or "\0" in str(path):
            raise TypeError(f"Checkpoint: path must be the path of a file, got {path!r}")
        if not Path(path).name:
            raise CheckpointError(f"Checkpoint: {str(path)!r} is a folder, not a file")
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "minutes", positive("Checkpoint: minutes", minutes))

    @property
    def previous(self) -> Path:
        """The previous checkpoint."""
        return _beside(self.path, ".previous")


@dataclass(frozen=True)
class Saved:
    """The contents of a checkpoint."""

    arrays: Arrays
    facts: dict[str, Any]


def described_arguments(**arguments: Any) -> dict[str, str]:
    """The fingerprint of a simulation; warns of what it cannot cover."""
    try:
        account = described(**arguments)
    except Indescribable as error:
        raise CheckpointError(f"the checkpoint cannot identify the simulation: {error}") from error
    if account.reads:
        warnings.warn(
            f"{'; '.join(sorted(account.reads))}: what is read there is not part of the "
            "checkpoint, and changes will go unnoticed; read it beforehand and pass it as an "
            "array",
            CheckpointWarning,
            stacklevel=3,
        )
    return account.found


def check_writable(path: Path) -> None:
    """``CheckpointError`` unless a file can be written at ``path`` (this is tested)."""
    trial = _beside(path, ".new")
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder; a checkpoint is a file: {path / 'run.npz'}")
        if not path.parent.is_dir():
            raise CheckpointError(f"{path} cannot be written: there is no folder {path.parent}")
        with trial.open("wb") as file:
            file.write(b"0")
        trial.unlink()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror or error}); use a path in a writable folder"
        ) from error


def found(path: Path, asked: dict[str, str]) -> tuple[list[Saved], bool]:
    """The intact checkpoints at ``path``, newest first, and whether ``path`` itself is one."""
    here = [p for p in (path, _beside(path, ".previous")) if p.exists()]
    good, damaged = [], []
    for p in here:
        try:
            good.append((p, _read(p)))
        except _Damaged as error:
            damaged.append(f"{p} is damaged ({error})")
    for p, saved in good:
        _check_same(p, saved.facts["asked"], asked)
    advice = "to start again delete or move it"
    if damaged and not good:
        raise CheckpointError(
            f"{'; '.join(damaged)}; no intact previous checkpoint exists; {advice}"
        )
    if damaged:
        used = good[0][0]
        warnings.warn(f"{'; '.join(damaged)}; {used} is used", CheckpointWarning, stacklevel=4)
    return [saved for _, saved in good], bool(good) and good[0][0] == path


def write(path: Path, arrays: Arrays, facts: dict[str, Any], rotate: bool) -> None:
    """Replace the checkpoint at ``path`` atomically; the old one is kept as previous if ``rotate``.

    At any time there is an intact one, at ``path`` or as previous. Raises ``OSError``
    if it cannot be written; the old one is then unchanged.
    """
    facts = {**facts, "format": _FORMAT, "digests": {k: _digest(v) for k, v in arrays.items()}}
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    seal = np.frombuffer(_digest(text).encode(), np.uint8)
    new = _beside(path, ".new")
    try:
        with new.open("wb") as file:
            contents: dict[str, Any] = {f"array_{k}": v for k, v in arrays.items()}
            np.savez(file, facts=text, seal=seal, **contents)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            new.unlink()  # a partial file would only waste disk space
        raise
    if rotate and path.exists():
        os.replace(path, _beside(path, ".previous"))
    os.replace(new, path)
    _sync_folder(path.parent)


class _Damaged(Exception):
    """The reason why a file is not an intact checkpoint."""


def _read(path: Path) -> Saved:
    try:
        # arrays of numbers only: nothing is unpickled
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            contents = {name: archive[name] for name in archive.files}
    except PermissionError as error:
        raise CheckpointError(f"{path} may not be read: {error.strerror}") from error
    except Exception as error:  # any error of zipfile and numpy on a broken file
        reason = "no checkpoint" if "pickle" in str(error) else f"not a whole .npz: {error}"
        raise _Damaged(reason) from error
    text, seal = contents.pop("facts", None), contents.pop("seal", None)
    if text is None or seal is None or _digest(text).encode() != seal.tobytes():
        raise _Damaged("its list of contents does not match its checksum")
    facts = json.loads(text.tobytes())
    arrays = {name.removeprefix("array_"): value for name, value in contents.items()}
    if {name: _digest(value) for name, value in arrays.items()} != facts["digests"]:
        raise _Damaged("its numbers do not match their checksums")
    return Saved(arrays, facts)


def _check_same(path: Path, there: dict[str, str], here: dict[str, str]) -> None:
    lines = differences(there, here)
    if lines:
        raise CheckpointError(
            f"{path} belongs to another simulation: "
            f"{'; '.join(lines[:5])}{f' and {len(lines) - 5} more' if len(lines) > 5 else ''}; "
            "call with the same arguments to resume, or use another path"
        )


def _digest(array: NDArray[Any]) -> str:
    whole = np.ascontiguousarray(array)
    state = blake2b(f"{whole.dtype.str} {whole.shape}".encode(), digest_size=20)
    state.update(whole.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _sync_folder(folder: Path) -> None:
    """Flush the renaming to disk, if supported (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
