"""The study of optimizers on digits: equal terms, planted faults; thesis tables on tiny files."""

import gzip
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing
from torch import nn

from pdekit import cli

sys.path.insert(0, str(Path(__file__).parent.parent / "studies"))
study = cli.load_study("training_tables")
from networks import digits, images, recipes  # noqa: E402  (the study puts them on the path)


@pytest.fixture(scope="module")
def results() -> Any:
    return study.run(quick=True, seeds=2, gradients=40)


def test_claims_hold(results: Any) -> None:
    assert failing(study, results) == []
    assert len(study.plot(results).axes) == 3
    assert {r["taken"] - 40 for r in results.numbers["rows"]} <= set(range(30))


def row(name: str, errors: Any, **more: Any) -> Any:
    errors = np.asarray(errors, float)
    given = {"gradients": 2_000, "rate": 0.2, "tried": (0.1, 0.2, 0.4)} | more
    return study.Row(name=name, error=errors, test=errors, training=errors,
                     curve=np.array([[given["gradients"], 0.1]]), **given)  # fmt: skip


def test_a_difference_is_paired_and_holds_for_all_optimizers_together() -> None:
    draw = np.random.default_rng(0)
    common, noise = draw.normal(size=20), 0.01 * draw.normal(size=(3, 20))
    rows = [row("SGD", common)]
    rows += [row(str(k), common + shift + noise[k]) for k, shift in enumerate((0, 0.02, -0.02))]
    assert study.level(rows) == pytest.approx(1 - 0.05 / 3)
    found = [study.verdict(study.beside_sgd(rows, r, "error")) for r in rows[1:]]
    assert found == ["not told apart", "more", "less"]
    _, half = study.beside_sgd(rows, rows[1], "error")
    assert half == pytest.approx(study.interval(noise[0], 1 - 0.05 / 3)[1])


def rows_of(**errors: float) -> list[Any]:
    """All as SGD, but for those given, at both budgets."""
    noise = 1e-4 * np.random.default_rng(0).normal(size=(13, 20))
    return [
        row(name, errors.get(name, 0.02) + own, gradients=budget)
        for budget in study.BUDGETS for name, own in zip(study.ways(), noise, strict=True)
    ]  # fmt: skip


def test_planted_differences_pass_and_fail_their_claims() -> None:
    """Training losses are errors here, so a method of the papers must not be ahead in both."""
    apart = dict.fromkeys(study.SLOWER, 0.03) | dict.fromkeys(study.FASTER, 0.01)
    right = rows_of(**apart)
    assert failing(study, study.Results(right, 20, {})) == []
    assert len(failing(study, study.Results(rows_of(), 20, {}))) == 6
    ahead = rows_of(
        **dict.fromkeys(study.SLOWER, 0.03), **dict.fromkeys(study.FASTER, 0.01), HJ=0.01
    )
    (failed,) = failing(study, study.Results(ahead, 20, {}))
    assert "optimizers of the papers with fewer test errors" in failed
    edge = [replace(right[0], rate=0.4), *right[1:]]
    assert failing(study, study.Results(edge, 20, {})) == ["rates chosen at an end of those tried"]


def test_the_choice_does_not_see_the_test_data() -> None:
    data, way = digits.load(), study.ways()["SGD"]
    blind = replace(data, images_to_test=torch.full_like(data.images_to_test, torch.nan))
    rates = (1e-3, 0.8, 1e3)
    assert study.chosen(way, rates, 2, 30, blind) == study.chosen(way, rates, 2, 30, data) == 0.8


def test_seeds_one_by_one_are_those_together() -> None:
    data, way = digits.load(), study.ways()["SGD"]
    (both, curve), (alone, single) = (
        study.followed(replace(way, together=t), 0.4, [3, 4], 20, data) for t in (True, False)
    )
    for w, v in zip(both, alone, strict=True):
        torch.testing.assert_close(w, v, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(curve, single, rtol=1e-4)


def test_both_gradients_of_sam_are_of_one_batch(monkeypatch: Any) -> None:
    pytest.importorskip("pytorch_optimizer")
    data, seen, counted = digits.load(), [], digits.losses
    monkeypatch.setattr(digits, "losses", lambda w, x, y: (seen.append((x, w[0].detach().clone())),
                                                           counted(w, x, y))[1])  # fmt: skip
    weights, way = digits.drawn([0]), study.ways()["SAM"]
    list(digits.steps(weights, way.make, 0.1, [0], 4, data))
    batches, places = zip(*seen, strict=True)
    assert [torch.equal(batches[0], b) for b in batches] == [True, True, False, False]
    assert 0 < (places[1] - places[0]).norm() < 0.0501


def test_schedule_free_is_measured_at_its_average() -> None:
    pytest.importorskip("schedulefree")
    data, way, weights = digits.load(), study.ways()["schedule-free SGD"], digits.drawn([0])
    for _, optimizer in digits.steps(weights, way.make, 1.0, [0], 10, data, schedule=way.schedule):
        y = weights[0].detach().clone()
        with study.at_rest(optimizer):
            x = weights[0].detach().clone()
        torch.testing.assert_close(weights[0].detach(), y)
    assert (x - y).norm() > 1e-3 and optimizer.param_groups[0]["lr"] == 1.0


# ------------------------------------------------------------------------------ the thesis' tables


def small() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.LazyLinear(16), nn.ReLU(),
                         nn.BatchNorm1d(16), nn.Linear(16, 10))  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """Both sets, tiny and easy: class k is a bright square at place k; networks are small."""

    def made(network: str) -> Any:
        def network_of_size() -> nn.Module:
            net = small()
            net(torch.zeros(2, *((1, 28, 28) if network != "allcnn" else (3, 32, 32))))
            return net

        return network_of_size

    monkeypatch.setattr(recipes, "NETWORKS", {name: made(name) for name in recipes.NETWORKS})
    monkeypatch.setattr(images, "RECORDS", 20)
    monkeypatch.setattr(images, "whitened", lambda *a: [x / np.float32(255) for x in a])  # slow
    draw = np.random.default_rng(0)

    def pictures(n: int, size: int) -> tuple[Any, Any]:
        classes = np.arange(n) % 10
        x = draw.integers(0, 60, (n, size, size))
        for picture, k in zip(x, classes, strict=True):
            row, column = 4 + 6 * (k // 4), 4 + 6 * (k % 4)
            picture[row : row + 5, column : column + 5] = 250
        return x.astype(np.uint8), classes.astype(np.uint8)

    for part, n in (("train", 200), ("t10k", 50)):
        x, y = pictures(n, 28)
        for kind, array in (("images", x), ("labels", y)):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            name = f"{part}-{kind}-idx{array.ndim}-ubyte.gz"
            (tmp_path / name).write_bytes(gzip.compress(head + array.tobytes()))
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        x, y = pictures(20, 32)
        records = [bytes([k]) + 3 * p.tobytes() for p, k in zip(x, y, strict=True)]
        (tmp_path / f"{name}.bin").write_bytes(b"".join(records))
    return tmp_path


def test_every_table_runs_on_its_files(folder: Path) -> None:
    found = study.run(data=folder, seeds=2, effort=0.01)
    titles = [cell.title for cell in found.cells]
    assert len(titles) == len(set(titles)) == len(recipes.recipes())
    assert all(np.isfinite(cell.errors).all() for cell in found.cells)
    assert len(study.claims(found)) == len(titles) and len(study.plot(found).axes) == 1


@pytest.mark.parametrize("algorithm", ["SGD", "Entropy-SGD", "HJ", "HEAT", "Parle"])
def test_recipes_learn(folder: Path, algorithm: str) -> None:
    data = recipes.read("MNIST", folder, "cpu")
    recipe = next(r for r in recipes.recipes() if r.network == "lenet" and r.algorithm == algorithm)
    assert recipes.error_of(recipe, data, 0, 2.0 if algorithm == "Parle" else 1.0) < 5
    idle = replace(recipe, drops={0: 0.0})  # the thesis' 90 % of guessing, or so
    assert algorithm != "SGD" or recipes.error_of(idle, data, 0) > 50


def test_only_tables_with_data_run(folder: Path) -> None:
    for file in folder.glob("*.bin"):
        file.unlink()
    found = study.run(data=folder, table="4.1", seeds=2, effort=0.005)
    assert [c.title.split(", ")[1] for c in found.cells] == 4 * ["mnistfc"] + 4 * ["lenet"]
    with pytest.raises(FileNotFoundError, match=r"nothing to train on.*data_batch_1\.bin"):
        study.run(data=folder, table="5.2")
    with pytest.raises(ValueError, match=r"one of 3\.1, 4\.1, 5\.1, 5\.2, got '6'"):
        study.run(data=folder, table="6")


def test_another_error_than_printed_fails() -> None:
    cells = [
        study.Cell("right", 0.5, np.array([0.6, 0.5])),
        study.Cell("wrong", 5.0, np.full(3, 8)),
    ]
    assert failing(study, study.Results([], 2, {}, tuple(cells))) == [
        "wrong: mean test error over 5 %, less one"
    ]


def test_rates_fall_when_the_thesis_lets_them() -> None:
    by_title = {r.title: r for r in recipes.recipes()}
    adam = by_title["table 3.1, lenet, Adam"]
    found = [recipes.falling(adam, e) for e in (0, 29.9, 30, 60, 99)]
    assert found == pytest.approx([1, 1, 0.2, 0.04, 0.008])
    sgd = by_title["table 5.1, lenet, SGD"]
    assert recipes.falling(sgd, 95) == pytest.approx(1e-3)


def test_images_are_mirrored_and_shifted_and_nothing_else() -> None:
    """Pixels are numbered, so that every way to move an image is told apart."""
    torch.manual_seed(0)
    picture = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8)
    moved = recipes.mirrored_and_shifted(picture.expand(400, 1, 8, 8))
    ways = {}
    for mirrored in (False, True):
        padded = nn.functional.pad(picture.flip(3) if mirrored else picture, (4, 4, 4, 4))
        for i in range(9):
            for j in range(9):
                ways[mirrored, i, j] = padded[0, 0, i : i + 8, j : j + 8]
    seen = [next(k for k, v in ways.items() if torch.equal(v, m[0])) for m in moved]
    assert {k[0] for k in seen} == {False, True} and {k[1] for k in seen} == set(range(9))
    assert {k[2] for k in seen} == set(range(9)) and len(set(seen)) > 120


def test_shares_of_a_recipe_cover_the_data() -> None:
    for recipe in recipes.recipes():
        parts = recipes.parts(recipe, 1_000)
        assert {len(p) for p in parts} == {round(1_000 * recipe.share)}
        if recipe.replicas > 1:
            assert len(torch.cat(parts).unique()) == 1_000
