"""Curvature of networks by products with vectors, against full matrices by torch's autograd."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

import pdekit as pk
from pdekit.landscapes.spectra import _ritz

ls = pk.landscapes
CROSS, SQUARE = torch.nn.CrossEntropyLoss(), torch.nn.MSELoss()
MATRICES = (ls.Hessian(), ls.GaussNewton(), ls.Fisher(), ls.EmpiricalFisher())


class Shared(torch.nn.Module):
    """A shared matrix, a frozen bias, normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.norm, self.drop = torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
        self.norm.running_mean[:] = torch.linspace(-1, 1, 4)
        self.last = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.last(self.drop(self.norm(x)))


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.last = torch.nn.LSTM(2, 3, batch_first=True), torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.memory(x.unflatten(1, (2, 2)))[0][:, -1])


def plain() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))


def made(make: Callable[[], torch.nn.Module], seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return make().double()


def examples(n: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=draw, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=draw)


def by_autograd(
    model: torch.nn.Module, value: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor], Any]:
    """θ -> value(outputs), θ -> outputs, and θ."""
    model.eval()
    named = {k: w for k, w in model.named_parameters() if w.requires_grad}

    def outputs(theta: torch.Tensor) -> torch.Tensor:
        parts = theta.split([w.numel() for w in named.values()])
        own = {k: p.view_as(w) for (k, w), p in zip(named.items(), parts, strict=True)}
        return functional_call(model, own, (x,))

    theta = parameters_to_vector(named.values()).detach()
    return lambda t: value(outputs(t)), outputs, theta


def full(operator: Any) -> Any:
    return operator @ np.eye(operator.shape[0])


@pytest.mark.parametrize("make", [plain, Shared, Recurrent])
def test_the_hessian_is_that_of_autograd(make: Any) -> None:
    """Also where the last batch is smaller, and the model was in training."""
    model, (x, y) = made(make), examples(7)
    model.train()
    found = full(ls.curvature_operator(model, CROSS, (x, y), batch=3))
    assert model.training
    f, _, theta = by_autograd(model, lambda z: CROSS(z, y), x)
    right = torch.autograd.functional.hessian(f, theta).numpy()
    assert np.abs(found - right).max() <= 1e-10 * np.abs(right).max()


def of_outputs(matrix: Any, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The middle of JᵀMJ, (n, 3, 3), from formulas for the cross-entropy."""
    p = torch.softmax(z, 1)
    if matrix == ls.EmpiricalFisher():
        s = p - torch.eye(3)[y]
        return s[:, :, None] * s[:, None]
    return torch.diag_embed(p) - p[:, :, None] * p[:, None]


@pytest.mark.parametrize("matrix", MATRICES[1:], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("make", [plain, Shared])
def test_the_others_are_made_of_the_slope_of_the_outputs(make: Any, matrix: Any) -> None:
    model, (x, y) = made(make), examples(7)
    found = full(ls.curvature_operator(model, CROSS, (x, y), matrix, batch=3))
    _, outputs, theta = by_autograd(model, lambda z: z.sum(), x)
    J = torch.autograd.functional.jacobian(outputs, theta)
    right = torch.einsum("nai,nab,nbj->ij", J, of_outputs(matrix, outputs(theta), y), J) / 7
    assert np.abs(found - right.numpy()).max() <= 1e-10 * right.abs().max()


def test_gauss_newton_is_the_hessian_of_a_linear_model() -> None:
    model, (x, _) = made(lambda: torch.nn.Linear(4, 3)), examples(9)
    data = (x, torch.randn(9, 3, generator=torch.Generator().manual_seed(3)).double())
    hessian, newton = (full(ls.curvature_operator(model, SQUARE, data, m)) for m in MATRICES[:2])
    assert np.allclose(hessian, newton, rtol=0, atol=1e-14)
    # of mean squares over 9 x 3 numbers: 2/(27) Σ (x, 1)(x, 1)ᵀ for every output
    ones = np.column_stack([x.numpy(), np.ones(9)])
    one = 2 / 27 * ones.T @ ones
    order = [*range(0, 4), 12]  # weights and bias of the first output
    assert np.allclose(hessian[np.ix_(order, order)], one, atol=1e-14)
    bent = made(plain), SQUARE, data
    hessian, newton = (full(ls.curvature_operator(*bent, m)) for m in MATRICES[:2])
    assert np.abs(hessian - newton).max() > 0.01


def test_row_72_gradients_of_batches_have_the_hessian_neither_exactly_nor_at_all() -> None:
    """Labels drawn by the model: their covariance is the Fisher matrix over the batch's size."""
    model, (x, y) = made(plain), examples(6)
    draw = torch.Generator().manual_seed(5)
    fisher = full(ls.curvature_operator(model, CROSS, (x, y), ls.Fisher()))
    many = x.repeat(1500, 1)
    labels = torch.multinomial(torch.softmax(model(many), 1), 1, generator=draw)[:, 0]
    own = full(
        ls.curvature_operator(model, CROSS, (many, labels), ls.EmpiricalFisher(), batch=9000)
    )
    size = np.abs(fisher).max()
    assert np.abs(own - fisher).max() < 0.05 * size  # 9,000 labels
    data = ls.gradient_covariance(model, CROSS, (x, y))
    batches = data.minibatch(2).matrix()
    hessian = full(ls.curvature_operator(model, CROSS, (x, y)))
    assert np.abs(batches - hessian).max() > 0.3 * np.abs(hessian).max()
    g = data.gradient
    second = full(ls.curvature_operator(model, CROSS, (x, y), ls.EmpiricalFisher()))
    assert np.allclose(second - np.outer(g, g), data.matrix(), atol=1e-14)


def test_the_weights_are_those_of_the_moment() -> None:
    model, data = made(plain), examples(6)
    operator = ls.curvature_operator(model, CROSS, data)
    before, v = full(operator), np.ones(operator.shape[0])
    with torch.no_grad():
        for w in model.parameters():
            w.add_(1.0)
    assert np.array_equal(full(operator), before)
    assert not np.allclose(ls.curvature_operator(model, CROSS, data) @ v, before @ v, rtol=0.01)


def test_a_loss_without_curvature_has_none() -> None:
    model, (x, _) = made(lambda: torch.nn.Linear(4, 1)), examples(5)
    found = ls.hessian_spectrum(model, lambda z, y: (z * y).mean(), (x, x[:, :1]), leading=2)
    assert not found.eigenvalues.any() and found.trace == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": torch.nn.CrossEntropyLoss(label_smoothing=0.1)}, "CrossEntropyLoss"),
        ({"loss": SQUARE, "data": (torch.ones(4, 4).double(),) * 2,
          "model": torch.nn.Linear(4, 4).double()}, "GaussNewton"),
    ],
)  # fmt: skip
def test_fisher_is_of_a_likelihood_of_classes(changes: Any, message: str) -> None:
    given = {"model": made(plain), "loss": CROSS, "data": examples(6)} | changes
    with pytest.raises(ValueError, match=message):
        ls.hessian_spectrum(**given, matrix=ls.Fisher())


def test_a_root_at_zero_has_no_hessian() -> None:
    def root(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (z - z.detach()).abs().sqrt().mean()

    model = made(lambda: torch.nn.Linear(4, 3))
    with pytest.raises(ValueError, match="not finite"):
        ls.curvature_operator(model, root, examples(6))


# ---- stochastic Lanczos quadrature ---------------------------------------------------------------


def symmetric(values: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return (q * values) @ q.T


def test_quadrature_integrates_polynomials_exactly() -> None:
    """Σ w θ^k = v·A^k v of every probe, up to k = 2m - 1 and no further."""
    rng = np.random.default_rng(0)
    A, v = symmetric(rng.uniform(-1, 1, 80)), np.linalg.qr(rng.standard_normal((80, 3)))[0].T
    nodes, vectors = _ritz(*(part[:, :k] for part, k in zip(
        ls.lanczos(lambda rows: rows @ A, v, 5), (5, 4), strict=True)))  # fmt: skip
    weights = vectors[:, 0] ** 2
    for k in range(12):
        right = np.einsum("pi,ij,pj->p", v, np.linalg.matrix_power(A, k), v)
        error = np.abs((weights * nodes**k).sum(1) - right).max()
        assert error < 1e-13 if k < 10 else error > 1e-6, k


def test_a_small_network_against_its_full_spectrum() -> None:
    """In Wasserstein distance below 1 % of the range; outliers, trace and moments too."""
    model, data = made(lambda: torch.nn.Sequential(
        torch.nn.Linear(4, 40), torch.nn.Tanh(), torch.nn.Linear(40, 3))), examples(60)  # fmt: skip
    right = np.linalg.eigvalsh(full(ls.curvature_operator(model, CROSS, data)))
    found = ls.hessian_spectrum(model, CROSS, data, steps=50, probes=10)
    nodes, weights = found.quadrature
    distance = wasserstein_distance(nodes.ravel(), right, weights.ravel())
    assert distance < 0.01 * np.ptp(right)
    largest = right[np.argsort(-np.abs(right))[:8]]
    assert np.allclose(found.eigenvalues, np.sort(largest)[::-1], rtol=1e-9)
    assert found.residuals.max() < 1e-9 * right[-1]
    for k in (1, 2, 3):
        value, error = found.moment(k)
        assert abs(value - (right**k).sum()) < 5 * error
    x, width = np.linspace(right[0], right[-1], 7), 0.05 * np.ptp(right)
    bells = np.exp(-(((x[:, None] - right) / width) ** 2) / 2) / (width * sqrt(2 * np.pi))
    density = found.density(x, width)
    assert (np.abs(density.value - bells.mean(1)) < 5 * density.error + 1e-6).all()
    for x in (-1e-3, 1e-3, 0.1):
        share = found.cdf(x)
        assert abs(share.value - (right <= x).mean()) < 5 * share.error
    below = found.near_zero([1e-4, 1e-2])
    counted = [(np.abs(right) <= b).mean() for b in (1e-4, 1e-2)]
    assert (np.abs(below.value - counted) < 5 * below.error).all()


@pytest.mark.parametrize("steps", [6, 30, 60])
def test_the_error_tells_of_steps_that_lack(steps: int) -> None:
    """Half of the eigenvalues at each of two clusters that six steps do not resolve."""
    values = np.concatenate([np.linspace(0, 0.1, 200), np.linspace(0.9, 1, 200)])
    found = ls.spectrum(symmetric(values), steps=steps, probes=20, leading=1)
    x = np.linspace(-0.05, 1.05, 23)
    share = found.cdf(x)
    off = np.abs(share.value - (values <= x[:, None]).mean(1))
    assert (off < 5 * share.error + 1e-12).all()
    if steps < 60:
        with pytest.warns(pk.AccuracyWarning, match="more steps"):
            found.density(x, 0.02)
        return
    value, error = found.density(x, 0.02)
    bells = np.exp(-(((x[:, None] - values) / 0.02) ** 2) / 2).mean(1) / (0.02 * sqrt(2 * np.pi))
    assert (np.abs(value - bells) < 5 * error + 1e-3).all() and error.max() < 0.2


def test_few_different_eigenvalues_end_the_iteration() -> None:
    values = np.repeat([0.0, 1.0, 3.0], [150, 40, 10])
    found = ls.spectrum(symmetric(values), steps=30, probes=30, leading=3)
    nodes, weights = found.quadrature
    seen = nodes[weights > 1e-10]
    assert np.abs(seen[:, None] - [0.0, 1.0, 3.0]).min(1).max() < 1e-10
    share = found.near_zero(1e-9)
    assert abs(share.value - 0.75) < 4 * share.error and share.error < 0.02
    assert np.allclose(found.eigenvalues, 3)


def regression(n: int, d: int, seed: int) -> tuple[torch.nn.Module, Any, Any]:
    """½ mean (w·x - y)² on Gaussian data: the Hessian is XᵀX/n."""
    x = torch.as_tensor(np.random.default_rng(seed).standard_normal((n, d)))
    model = torch.nn.Linear(d, 1, bias=False).double()
    return model, lambda z, y: SQUARE(z, y) / 2, (x, x[:, :1])


def test_marchenko_and_pastur_at_400_weights() -> None:
    """Edges (1 ± √γ)² to 1e-2, where Tracy and Widom have the ends 1.2065 of their scale inside."""
    n, d, draws = 4000, 400, 8
    model, loss, (x, y) = regression(n, d, 0)
    network = ls.hessian_spectrum(model, loss, (x, y), steps=20, probes=2, leading=1, batch=n)
    assert network.eigenvalues[0] == pytest.approx(np.linalg.norm(x, 2) ** 2 / n, rel=1e-12)
    ends = np.empty((draws, 2))
    for k in range(draws):
        z = np.random.default_rng(k).standard_normal((n, d))
        nodes, _ = ls.spectrum(z.T @ z / n, steps=120, probes=2, leading=1).quadrature
        ends[k] = nodes.min(), nodes.max()
    a, b = sqrt(n), sqrt(d) * np.array([-1, 1])
    inside = 1.2065 * (a + b) * np.cbrt(1 / a + 1 / b) / n
    off = ends.mean(0) + inside - (1 + b / a) ** 2
    assert np.abs(off).max() < 1e-2  # 2.6 standard deviations of the mean of 8


def test_the_number_of_zeros_is_counted() -> None:
    """Fewer examples than weights: d - n of the eigenvalues are 0."""
    found = ls.hessian_spectrum(*regression(30, 150, 1), steps=60, probes=100, leading=30)
    share = found.near_zero(1e-9)
    assert abs(share.value - 0.8) < 4 * share.error and share.error < 0.01
    assert found.eigenvalues[-1] > 0.1  # the thirty others


def test_single_precision_says_what_it_can() -> None:
    model, (x, y) = made(plain), examples(20)
    right = np.linalg.eigvalsh(full(ls.curvature_operator(model, CROSS, (x, y))))
    found = ls.hessian_spectrum(model.float(), CROSS, (x.float(), y), leading=2)
    assert np.allclose(found.eigenvalues, right[::-1][:2], rtol=1e-5)


def test_what_is_no_symmetric_matrix_is_refused() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((100, 100))
    with pytest.raises(ValueError, match="symmetric"):
        ls.spectrum(A + A.T + 1e-4 * A)
    with pytest.raises(ValueError, match="shape"):
        ls.spectrum(A[:50])
    with pytest.raises(ValueError, match="of this shape"):
        ls.spectrum(A + A.T).mean(lambda x: x.sum())


def test_an_eigenvalue_apart_that_probes_miss_is_within_the_error() -> None:
    """Of 60 estimates of a share that one eigenvalue in 300 makes, all within four errors."""
    values = np.r_[5.0, np.random.default_rng(0).uniform(-1, 1, 299)]
    M = symmetric(values)
    seen = (ls.spectrum(M, seed=k, leading=1).cdf(3.0) for k in range(60))
    apart = np.array([(share.value - 299 / 300) / share.error for share in seen])
    assert 0.3 < apart.std() < 1.2 and np.abs(apart).max() < 4


def test_weights_and_outputs_without_axes() -> None:
    """A learnable factor; outputs (n,); fewer weights than leading eigenpairs by default."""

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(3, 1)
            self.factor = torch.nn.Parameter(torch.tensor(1.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.factor * self.line(x)).squeeze(-1)

    torch.manual_seed(0)
    model, x = Scaled().double(), torch.randn(20, 3, dtype=torch.float64)
    data, loss = (x, torch.randn(20, dtype=torch.float64)), torch.nn.MSELoss()
    rows = ls.per_sample_gradients(model, loss, data)
    outer = ls.curvature_operator(model, loss, data, ls.EmpiricalFisher()) @ np.eye(5)
    np.testing.assert_allclose(outer, (rows.T @ rows / 20).numpy(), atol=1e-12)
    D = ls.gradient_covariance(model, loss, data)
    assert D.trace == pytest.approx(float(rows.var(0, correction=0).sum()), rel=1e-9)
    assert len(ls.hessian_spectrum(model, loss, data).eigenvalues) == 5
