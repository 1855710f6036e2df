"""Random networks and matrices: curvature and its spectrum against matrices by autograd."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev
from truth import Row, Trial, log_uniform, pick, tally

import pdekit as pk

ls = pk.landscapes


def network(rng):
    """A small network, its loss, and data of it; some weights frozen."""
    torch.manual_seed(int(rng.integers(1e9)))
    width, depth, out = (int(rng.integers(*span)) for span in ((1, 7), (0, 3), (2, 5)))
    layers, before = [], 3
    for _ in range(depth):
        bend = pick(rng, torch.nn.Tanh, torch.nn.Softplus, torch.nn.ReLU)()
        layers += [torch.nn.Linear(before, width, bias=pick(rng, True, False)), bend]
        layers += pick(rng, [], [torch.nn.Dropout(0.5)], [torch.nn.BatchNorm1d(width)])
        before = width
    model = torch.nn.Sequential(*layers, torch.nn.Linear(before, out)).double()
    scale = log_uniform(rng, 0.1, 3)
    with torch.no_grad():
        for w in model.parameters():
            w.mul_(scale)
    if depth and pick(rng, True, False):
        model[0].weight.requires_grad_(False)
    n = int(rng.integers(2, 12))
    x = torch.as_tensor(rng.standard_normal((n, 3)))
    if pick(rng, True, False):
        return model, torch.nn.CrossEntropyLoss(), x, torch.as_tensor(rng.integers(0, out, n))
    y = torch.as_tensor(rng.standard_normal((n, out)))
    return model, pick(rng, torch.nn.MSELoss, torch.nn.SmoothL1Loss)(), x, y


def losses(model, loss, x, y):
    """θ -> the loss of each example, and θ."""
    named = {k: w.detach() for k, w in model.named_parameters() if w.requires_grad}
    shapes = [w.shape for w in named.values()]

    def each(theta):
        parts = theta.split([s.numel() for s in shapes])
        own = {k: p.view(s) for k, p, s in zip(named, parts, shapes, strict=True)}
        z = functional_call(model, own, (x,))
        return torch.stack([loss(a[None], b[None]) for a, b in zip(z, y, strict=True)])

    return each, torch.cat([w.reshape(-1) for w in named.values()])


def hessians(rng):
    model, loss, x, y = network(rng)
    batch = int(rng.integers(1, 15))
    model.eval()
    each, theta = losses(model, loss, x, y)
    right = torch.autograd.functional.hessian(lambda t: each(t).mean(), theta).numpy()
    model.train()

    def judge(found):
        return np.abs(found - right).max(), 1e-10 * np.abs(right).max() + 1e-14

    def call():
        operator = ls.curvature_operator(model, loss, (x, y), batch=batch)
        return operator @ np.eye(len(theta))

    return Trial(f"{model}, {loss}, {len(x)} examples, batch {batch}", call, judge)


def covariances(rng):
    model, loss, x, y = network(rng)
    size, replacement = int(rng.integers(1, len(x) + 1)), pick(rng, True, False)
    model.eval()
    each, theta = losses(model, loss, x, y)
    rows = jacrev(each)(theta).numpy()
    n = len(x)
    S, g = rows.T @ rows, rows.mean(0)
    if replacement:
        right = (S / n - np.outer(g, g)) / size
    else:
        right = (1 - size / n) / size * (S - n * np.outer(g, g)) / (n - 1)
    model.train()

    def judge(found):
        return np.abs(found.matrix() - right).max(), 1e-10 * np.abs(S).max() + 1e-14

    def call():
        found = ls.gradient_covariance(model, loss, (x, y), batch=int(rng.integers(1, 15)))
        return found.minibatch(size, replacement)

    return Trial(f"{model}, {loss}, {n} examples, batches of {size}", call, judge)


def spectra(rng):
    """Shares, traces and leading eigenpairs of matrices with bulks, atoms and outliers."""
    d = int(log_uniform(rng, 3, 200))
    values = log_uniform(rng, 1e-6, 1e6) * np.concatenate([
        rng.standard_normal(d // 2) * log_uniform(rng, 1e-4, 1), np.zeros(d - d // 2 - 2),
        rng.uniform(-2, 5, 2),
    ])  # fmt: skip
    q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    A = (q * values) @ q.T
    A, steps = (A + A.T) / 2, int(rng.integers(2, 60))
    at = np.abs(values).max() * rng.uniform(-0.5, 0.5)

    def judge(found):
        largest = np.abs(values).max()
        (trace, noise), (share, error) = found.trace, found.cdf(at)
        off = [
            abs(np.abs(found.eigenvalues).max() / largest - 1) / 1e-9,
            abs(trace - values.sum()) / (6 * noise + 1e-9 * largest * d),
            abs(share - (values <= at).mean()) / (6 * error + 1 / d),
        ]
        return max(off), 1.0

    return Trial(
        f"{d} eigenvalues, {steps} steps",
        lambda: ls.spectrum(A, steps=steps, probes=30, leading=1, seed=int(rng.integers(1e6))),
        judge,
    )


ROWS = [
    Row(
        "Hessians of random networks", ("hessian_spectrum", "curvature_operator"), hessians, 0.9, 3
    ),
    Row("covariances of random networks", ("gradient_covariance",), covariances, 0.9, 3),
    Row("spectra of random matrices", ("hessian_spectrum", "spectrum"), spectra, 0.9, 3),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_batches_without_their_finite_number_are_caught(monkeypatch):
    from pdekit.landscapes import gradients

    monkeypatch.setattr(gradients, "minibatch_factor", lambda n, size, replacement: 1 / size)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[1], 0, 30)
