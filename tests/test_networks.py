"""Networks of the thesis have as many weights as it says; image files are read or refused."""

import gzip
import importlib
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "studies"))
papers = importlib.import_module("networks.papers")
images = importlib.import_module("networks.images")

COUNTS = {  # as printed in the thesis: 3.3.1, 6.3.1 and 4.6
    "small_lenet": 47_658,
    "smallfc": 50_890,
    "small_lenet_normalised": 13_338,
    "lenet": 131_220,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_networks_have_the_weights_of_the_thesis(name: str, count: int) -> None:
    network = getattr(papers, name)()
    assert papers.weights(network) == count
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_recurrent_network() -> None:
    """32,640 weights (3.3.1), and no other choice of biases has them."""
    network = papers.char_lstm()
    assert papers.weights(network) == 32_640
    assert network(torch.zeros(2, 5, 96)).shape == (2, 5, 96)
    gates, scores = 4 * (96 + 48) * 48, 48 * 96
    choices = [gates + a * 4 * 48 + scores + b * 96 for a in (0, 1, 2) for b in (0, 1)]
    assert choices.count(32_640) == 1


def test_the_convolutional_network_for_cifar() -> None:
    """1.67 million (4.6.3); 26,982 with 12 and 24 channels (6.3.1)."""
    small, network = papers.allcnn((12, 24)), papers.allcnn()
    assert papers.weights(small) == 26_982
    assert round(papers.weights(network) / 1e6, 2) == 1.67
    pixels = torch.zeros(2, 3, 32, 32)
    assert network[:-2](pixels).shape == (2, 10, 8, 8)  # of which the mean is taken
    assert network(pixels).shape == (2, 10)


def test_the_fully_connected_network() -> None:
    network = papers.mnistfc()
    norms = sum(papers.weights(m) for m in network if isinstance(m, torch.nn.BatchNorm1d))
    assert papers.weights(network) - norms == 1_863_690
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


# ------------------------------------------------------------------------------------- the files

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def idx(array: Any) -> bytes:
    """By the format's description, independent of the reader."""
    head = b"\x00\x00\x08" + bytes([array.ndim])
    return head + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Images plain, labels gzipped."""
    for part, count in (("train", 7), ("t10k", 3)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(PIXELS[:count]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:count])))
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two records a file: label k, then red k, green 10 + k, blue 20 + k, but for one pixel."""
    monkeypatch.setattr(images, "RECORDS", 2)
    for k, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        planes = [np.full(1024, c + k, np.uint8) for c in (0, 10, 20)]
        planes[1][33] = 99  # second row, second column
        record = bytes([k]) + b"".join(p.tobytes() for p in planes)
        (tmp_path / f"{name}.bin").write_bytes(2 * record)
    return tmp_path


def test_mnist_is_read(mnist: Path) -> None:
    training, test = images.mnist(mnist)
    assert training.images.shape == (7, 1, 28, 28) and test.images.shape == (3, 1, 28, 28)
    np.testing.assert_array_equal(training.images[:, 0], PIXELS)
    np.testing.assert_array_equal(training.classes, LABELS)
    assert training.classes.dtype == np.int64


def test_mnist_under_its_other_names(mnist: Path) -> None:
    raw = mnist / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in list(mnist.glob("*ubyte*")):
        file.rename(raw / file.name.replace("-idx", ".idx"))
    assert len(images.mnist(mnist)[0].classes) == 7


def test_cifar_is_read(cifar: Path) -> None:
    training, test = images.cifar10(cifar)
    assert training.images.shape == (10, 3, 32, 32) and test.images.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(training.classes, np.repeat(np.arange(5), 2))
    assert training.images[2, :, 0, 0].tolist() == [1, 11, 21]
    assert training.images[2, :, 1, 1].tolist() == [1, 99, 21]


def test_cifar_in_its_own_folder(cifar: Path) -> None:
    (cifar / "cifar-10-batches-bin").mkdir()
    for file in cifar.glob("*.bin"):
        file.rename(cifar / "cifar-10-batches-bin" / file.name)
    assert len(images.cifar10(cifar)[1].classes) == 2


FILE, LABELS_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"
GOOD, PACKED = idx(PIXELS), gzip.compress(idx(LABELS))
DAMAGED = {
    "magic of labels": (FILE, idx(LABELS), "starts with 00 00 08 01, expected 00 00 08 03"),
    "another type": (FILE, b"\0\0\x0d\x03" + GOOD[4:], "starts with 00 00 0d 03"),
    "empty": (FILE, b"", "starts with , expected"),
    "cut off in the head": (FILE, GOOD[:9], "cut off within its sizes, after 9 bytes"),
    "cut off": (FILE, GOOD[:-1], "cut off: 5,503 bytes, expected 5,504"),
    "too long": (FILE, GOOD + b"\0", "too long: 5,505 bytes, expected 5,504"),
    "sizes beyond memory": (FILE, GOOD[:4] + b"\xff" * 12 + GOOD[16:], "cut off: 5,504 bytes"),
    "fewer labels": (LABELS_FILE, idx(LABELS[:6]), "7 images, .* 6 labels"),
    "gzip cut off": (LABELS_FILE, PACKED[:-9], "damaged or cut off"),
    "gzip's sum": (LABELS_FILE, PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "CRC check failed"),
    "gzip's length": (LABELS_FILE, PACKED[:-4] + b"\0\0\0\1", "[Ii]ncorrect length"),
    "gzip's stream": (LABELS_FILE, PACKED[:12] + b"\xff" * 4 + PACKED[16:], "damaged or cut off"),
    "another set": (LABELS_FILE, idx(LABELS + np.uint8(4)), "label 10, expected 0 to 9"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_idx_files_are_refused(mnist: Path, fault: str) -> None:
    name, data, message = DAMAGED[fault]
    (mnist / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        images.mnist(mnist)
    assert name in str(error.value)


def test_missing_files_are_named(mnist: Path, cifar: Path) -> None:
    (mnist / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="no t10k-images-idx3-ubyte"):
        images.mnist(mnist)
    (cifar / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4\.bin is missing"):
        images.cifar10(cifar)
    with pytest.raises(FileNotFoundError, match=r"no data_batch_1\.bin"):
        images.cifar10(cifar / "elsewhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-1], "cut off: 6,145 bytes, expected 6,146"),
        (lambda d: d[:3073], "cut off: 3,073 bytes, expected 6,146"),
        (lambda d: d + d, "too long: 12,292 bytes"),
        (lambda d: d[1:] + d[:1], "label 10, expected 0 to 9"),
    ],
    ids=["a byte", "a record", "twice", "shifted"],
)
def test_damaged_records_are_refused(cifar: Path, change: Any, message: str) -> None:
    file = cifar / "data_batch_1.bin"
    data = bytearray(file.read_bytes())
    data[1] = 10  # red of the first pixel
    file.write_bytes(change(bytes(data)))
    with pytest.raises(ValueError, match=message) as error:
        images.cifar10(cifar)
    assert "data_batch_1.bin" in str(error.value)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-py"])
def test_pickles_are_not_read(tmp_path: Path, inside: str) -> None:
    """The file is a pickle that would make a folder."""
    (tmp_path / inside).mkdir(exist_ok=True)
    code = f"cos\nmkdir\n(S'{tmp_path / 'made'}'\ntR."
    (tmp_path / inside / "data_batch_1").write_bytes(code.encode())
    with pytest.raises(ValueError, match=r"Python version .* cifar-10-binary\.tar\.gz"):
        images.cifar10(tmp_path)
    assert not (tmp_path / "made").exists()


def test_whitened_images_have_no_correlations() -> None:
    """Eigenvalues c of the covariance become c/(c + BIAS); test images go through the same map."""
    draw = np.random.default_rng(1)
    mix = draw.normal(size=(12, 12))
    raw = draw.normal(size=(400, 12)) @ mix + 100
    training, test = images.whitened(raw.reshape(400, 3, 2, 2), raw[:5].reshape(5, 3, 2, 2))
    flat = raw - raw.mean(1, keepdims=True)
    flat = images.SCALE * flat / np.linalg.norm(flat, axis=1, keepdims=True)
    before = np.linalg.eigvalsh(np.cov(flat.T))
    after = np.linalg.eigvalsh(np.cov(training.reshape(400, 12).T))
    np.testing.assert_allclose(after, np.maximum(before, 0) / (before + images.BIAS), atol=1e-4)
    np.testing.assert_allclose(test, training[:5], atol=1e-4)
    # symmetric, unlike other whitenings: images stay as near to themselves as can be
    moved = np.linalg.lstsq(flat - flat.mean(0), training.reshape(400, 12), rcond=None)[0]
    np.testing.assert_allclose(moved, moved.T, atol=1e-3)
