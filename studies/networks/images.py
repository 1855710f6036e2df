"""MNIST and CIFAR-10, read from their original files.

MNIST: four idx files, gzipped or not. CIFAR-10: the *binary* version, six files of records; the
Python version is refused, because to read a pickle is to run what is in it. Nothing is downloaded.
Files that are damaged, cut off or of another format raise ``ValueError``, missing ones
``FileNotFoundError``; both name the file.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Array = np.ndarray

RECORDS = 10_000  # of each file of CIFAR-10
BYTE = 8  # idx's code of unsigned bytes
SCALE, BIAS = 55.0, 0.1  # norm of an image, and what is added to variances


@dataclass(frozen=True)
class Images:
    """Bytes ``(n, channels, height, width)`` and classes ``(n,)``."""

    images: Array
    classes: Array


def mnist(folder: Path) -> tuple[Images, Images]:
    """To train and to test, 28 x 28 pixels."""
    return _mnist(folder, "train"), _mnist(folder, "t10k")


def cifar10(folder: Path) -> tuple[Images, Images]:
    """To train and to test, 3 x 32 x 32 pixels."""
    place = next((p for p in (folder, folder / "cifar-10-batches-bin") if _has(p, ".bin")), None)
    if place is None:
        raise _without_binary(folder)
    parts = [_records(place / f"data_batch_{k}.bin") for k in range(1, 6)]
    images, classes = (np.concatenate(a) for a in zip(*parts, strict=True))
    return Images(images, classes), Images(*_records(place / "test_batch.bin"))


def _mnist(folder: Path, part: str) -> Images:
    pixels, names = _found(folder, f"{part}-images", 3), _found(folder, f"{part}-labels", 1)
    images, classes = _idx(pixels, 3), _idx(names, 1)
    if len(images) != len(classes):
        raise ValueError(
            f"{pixels} has {len(images):,} images, {names} {len(classes):,} labels; "
            "they must come from one copy of MNIST"
        )
    return Images(images[:, None], _checked(classes, names))


def _found(folder: Path, stem: str, dims: int) -> Path:
    """The idx file of that name, in one of the spellings in which it is handed round."""
    names = [f"{stem}{dot}idx{dims}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    places = [p / name for p in (folder, folder / "MNIST" / "raw") for name in names]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {names[0]} or {names[1]} in {folder}; MNIST has four files")
    return path


def _contents(path: Path) -> bytes:
    """Of a file, unpacked if it is gzipped; gzip checks length and sum."""
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}; fetch it again") from error


def _idx(path: Path, dims: int) -> Array:
    """Bytes of ``dims`` dimensions: 0, 0, type, dims, the sizes as big-endian words, the bytes."""
    data, magic, start = _contents(path), bytes((0, 0, BYTE, dims)), 4 + 4 * dims
    if data[:4] != magic:
        raise ValueError(
            f"{path} is no idx file of bytes in {dims} dimensions: it starts with "
            f"{data[:4].hex(' ')}, expected {magic.hex(' ')}"
        )
    if len(data) < start:
        raise ValueError(f"{path} is cut off within its sizes, after {len(data)} bytes")
    shape = struct.unpack(f">{dims}I", data[4:start])
    _sized(path, len(data), start + int(np.prod(shape, dtype=object)))
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _records(path: Path) -> tuple[Array, Array]:
    """Pixels and classes of CIFAR-10's records: a label, then red, green, blue of 32 x 32."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the binary version of CIFAR-10 has six files")
    data = _contents(path)
    _sized(path, len(data), RECORDS * 3073)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), _checked(rows[:, 0], path)


def _sized(path: Path, got: int, expected: int) -> None:
    if got != expected:
        fault = "cut off" if got < expected else "too long"
        raise ValueError(f"{path} is {fault}: {got:,} bytes, expected {expected:,}")


def _checked(classes: Array, path: Path) -> Array:
    if len(classes) and classes.max() > 9:
        raise ValueError(f"{path} has a label {classes.max()}, expected 0 to 9: is it another set?")
    return classes.astype(np.int64)


def _has(folder: Path, end: str) -> bool:
    return (folder / f"data_batch_1{end}").is_file()


def _without_binary(folder: Path) -> Exception:
    if _has(folder, "") or _has(folder / "cifar-10-batches-py", ""):
        return ValueError(
            f"{folder} has the Python version of CIFAR-10: pickles, which may run any code when "
            "read; take the binary version, cifar-10-binary.tar.gz, from the same page"
        )
    return FileNotFoundError(
        f"no data_batch_1.bin in {folder} or {folder / 'cifar-10-batches-bin'}; unpack "
        "cifar-10-binary.tar.gz there"
    )


def whitened(training: Array, test: Array) -> tuple[Array, Array]:
    """Global contrast normalisation, then ZCA by the training images (thesis 3.3.3).

    Every image gets mean 0 and norm SCALE, then all are multiplied by (C + BIAS)^(-1/2), C the
    covariance of those to train. Single precision, shapes as before.
    """
    flat = [_contrast(a.reshape(len(a), -1).astype(np.float32)) for a in (training, test)]
    mean = flat[0].mean(0)
    values, vectors = np.linalg.eigh(np.cov(flat[0], rowvar=False))
    root = (vectors / np.sqrt(np.maximum(values, 0) + BIAS)) @ vectors.T
    white = [(a - mean) @ root.astype(np.float32) for a in flat]
    return white[0].reshape(training.shape), white[1].reshape(test.shape)


def _contrast(a: Array) -> Array:
    a = a - a.mean(1, keepdims=True)
    return SCALE * a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-8)
