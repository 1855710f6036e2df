"""Gradients of single examples and their covariance, against sums, enumeration and autograd."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk

CROSS = torch.nn.CrossEntropyLoss()


def classifier(seed: int = 0, width: int = 5) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 3)
    ).double()


def examples(n: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=draw, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=draw)


def flat_gradient(model: torch.nn.Module, loss: Any, x: Any, y: Any) -> torch.Tensor:
    weights = [w for w in model.parameters() if w.requires_grad]
    found = torch.autograd.grad(loss(model(x), y), weights)
    return torch.cat([g.reshape(-1) for g in found])


class Tied(torch.nn.Module):
    """One matrix twice, a frozen bias, and a recurrent layer that vmap has no rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.norm, self.drop = torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
        self.memory = torch.nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.norm(self.second(torch.tanh(self.first(x)))))
        return self.memory(x[:, None])[0][:, 0]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("make", [classifier, lambda: Tied().double()])
@pytest.mark.parametrize("batch", [3, 100])
def test_gradients_of_examples_are_those_of_autograd_one_by_one(make: Any, batch: int) -> None:
    model, (x, y) = make(), examples(7)
    model.train()
    rows = pk.landscapes.per_sample_gradients(model, CROSS, (x, y), batch=batch)
    assert model.training and all(m.training for m in model.modules())  # as it was
    model.eval()
    alone = torch.stack([flat_gradient(model, CROSS, x[[k]], y[[k]]) for k in range(7)])
    assert torch.allclose(rows, alone, rtol=1e-12, atol=1e-14)
    assert torch.allclose(rows.mean(0), flat_gradient(model, CROSS, x, y), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [4, 60])  # fewer examples than weights, and more
def test_covariance_by_its_definition(n: int) -> None:
    model, data = classifier(), examples(n)
    rows = pk.landscapes.per_sample_gradients(model, CROSS, data).numpy()
    found = pk.landscapes.gradient_covariance(model, CROSS, data, batch=7)
    right = np.cov(rows.T, bias=True)
    assert np.allclose(found.matrix(), right, atol=1e-15)
    assert found.trace == pytest.approx(np.trace(right), rel=1e-12)
    values, vectors = found.leading(3)
    assert np.allclose(right @ vectors, vectors * values, atol=1e-14)
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=1e-10)
    full = np.linalg.eigvalsh(right)[::-1]
    assert np.allclose(found.eigenvalues, full[: len(found.eigenvalues)], atol=1e-14)
    assert found.rank == np.linalg.matrix_rank(right, hermitian=True, tol=1e-13 * full[0])
    k = found.directions(0.9)
    assert full[: k - 1].sum() < 0.9 * found.trace <= full[:k].sum()


@pytest.mark.parametrize("replacement", [True, False])
def test_covariance_of_batches_by_enumeration(replacement: bool) -> None:
    """All batches of 2 of 5 examples; thesis (6.4) and (6.5) with erratum 38."""
    model, data = classifier(), examples(5)
    rows = pk.landscapes.per_sample_gradients(model, CROSS, data).numpy()
    drawn = product(range(5), repeat=2) if replacement else combinations(range(5), 2)
    means = np.array([rows[list(k)].mean(0) for k in drawn])
    found = pk.landscapes.gradient_covariance(model, CROSS, data).minibatch(2, replacement)
    assert np.allclose(found.matrix(), np.cov(means.T, bias=True), atol=1e-15)
    assert np.allclose(found.matrix(), pk.minibatch_covariance(rows, 2, replacement), atol=1e-15)


def test_nothing_varies_where_all_are_alike_or_all_are_taken() -> None:
    model, (x, y) = classifier(), examples(5)
    alike = pk.landscapes.gradient_covariance(model, CROSS, (x[[0] * 5], y[[0] * 5]))
    assert alike.trace == 0 and alike.directions(0.5) == 0 and alike.rank == 0
    assert np.linalg.norm(alike.gradient) > 0.1
    every = pk.landscapes.gradient_covariance(model, CROSS, (x, y)).minibatch(5, replacement=False)
    assert every.trace == 0


def test_a_loader_is_its_batches() -> None:
    model, (x, y) = classifier(), examples(10)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    one, two = (pk.landscapes.per_sample_gradients(model, CROSS, d) for d in (loader, (x, y)))
    assert torch.equal(one, two)


class Mixing(torch.nn.Module):
    """Takes the mean of the batch away, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x - x.mean(0))


class Noisy(Mixing):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.nn.functional.dropout(x, training=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": torch.nn.CrossEntropyLoss(reduction="sum")}, "reduction='mean'"),
        ({"loss": torch.nn.CrossEntropyLoss(weight=torch.tensor([1, 2, 3.0]).double())}, "classes"),
        ({"model": Mixing().double()}, "every example alone"),
        ({"model": Noisy().double()}, "draws at random"),
        ({"model": classifier().requires_grad_(False)}, "no trainable weights"),
        ({"model": torch.nn.Linear(4, 3, dtype=torch.complex128)}, "float64"),
        ({"model": classifier().float()}, "float32"),
        ({"data": (torch.ones(3, 4).double(), torch.zeros(2).long())}, "target for each input"),
        ({"data": (torch.full((3, 4), np.nan).double(), torch.zeros(3).long())}, "finite"),
        ({"data": (torch.ones(1, 4).double(), torch.zeros(1).long())}, "at least two"),
    ],
)
def test_what_has_no_covariance_is_refused(changes: Any, message: str) -> None:
    given = {"model": classifier(), "loss": CROSS, "data": examples(6)} | changes
    with pytest.raises(ValueError, match=message):
        pk.landscapes.gradient_covariance(**given)


def test_eigenvectors_beyond_the_rank_are_refused() -> None:
    found = pk.landscapes.gradient_covariance(classifier(), CROSS, examples(4))
    with pytest.raises(ValueError, match="at most 3"):
        found.leading(4)
