"""The study of kernels on the sphere runs; its loss is exact, and wrong training fails claims."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("three_spin_network")


@pytest.mark.parametrize("dim", [3, 5])
def test_the_loss_is_the_mean_over_the_sphere(study: Any, dim: int) -> None:
    function, rng = study.spins(dim, 0), np.random.default_rng(0)
    c, z = (a.double().numpy() for a in study.started(dim, 20, [0]))
    x = rng.normal(size=(100_000, dim))
    x *= dim**0.5 / np.linalg.norm(x, axis=1, keepdims=True)
    phi = np.exp(-function.alpha * ((x[:, None] - z[0]) ** 2).sum(-1) / 2)
    f = np.einsum("ijk,ni,nj,nk->n", function.a, x, x, x, optimize=True) / dim
    for what, each, exact in (
        ("E f²", f**2, function.square),
        ("E f φ", f * phi[:, 0], function.projected(z[0])[0]),
        ("loss", (f - phi @ c[0] / 20) ** 2 / 2, function.loss(c, z)[0]),
    ):
        error = each.std() / x.shape[0] ** 0.5
        assert abs(each.mean() - exact) < 4 * error, what


def test_pulls_are_minus_n_times_the_slope(study: Any) -> None:
    function = study.spins(4, 1)
    c, z = (a.double() for a in study.started(4, 9, [2]))
    c, z = c.requires_grad_(), study.on_sphere(z).requires_grad_()
    draws = torch.Generator().manual_seed(0)
    x = study.on_sphere(torch.randn(1, 30, 4, dtype=torch.float64, generator=draws))
    phi = torch.exp(-function.alpha * ((x[:, :, None] - z[:, None]) ** 2).sum(-1) / 2)
    loss = ((function.tensor(x) - (phi * c[:, None]).mean(-1)) ** 2).mean() / 2
    of_c, of_z = torch.autograd.grad(loss, (c, z))
    of_z = of_z - z * (of_z * z).sum(-1, keepdim=True) / 4
    g_c, g_z = study.pulls(function, c.detach(), z.detach(), x)
    torch.testing.assert_close(g_c, -9 * of_c)
    torch.testing.assert_close(g_z, -9 * of_z)


def test_turning_kernels_leaves_the_mean(study: Any) -> None:
    """So the floor is what is left of the loss if c stays: below it no places z can go."""
    function = study.spins(3, 0)
    c, z = (a.double().numpy() for a in study.started(3, 40, [0, 1, 2]))
    mean = study.eigenvalue(0, 3, 5.0) * c.mean(-1)
    x = np.random.default_rng(1).normal(size=(50_000, 3))
    x *= 3**0.5 / np.linalg.norm(x, axis=1, keepdims=True)
    for run in range(3):
        values = np.exp(function.alpha * (x @ z[run].T - 3)) @ c[run] / 40
        assert abs(values.mean() - mean[run]) < 4 * values.std() / 50_000**0.5
        assert function.loss(c[run], z[run]) > study.floor(function, c[run])


def test_it_runs_and_planted_faults_fail(study: Any) -> None:
    results = study.run(steps=40, quick=True)
    study.plot(results)
    texts = failing(study, results)
    assert any("fall" in text for text in texts)  # too short to learn anything

    dims = {d: replace(case, printed=case.printed * 1e-3) for d, case in results.dims.items()}
    texts = failing(study, replace(results, dims=dims))
    assert any("floor" in text for text in texts)

    dims = {d: replace(case, homogenised=case.homogenised * 1e-3)
            for d, case in results.dims.items()}  # fmt: skip
    texts = failing(study, replace(results, dims=dims))
    assert any("MF-HOM-SGLD over SGD" in text for text in texts)


def test_agents_alone_and_held_by_nothing_descend_as_sgd(study: Any, monkeypatch: Any) -> None:
    """One replica, no noise, a wide coupling, one inner step: SGD on the same points, to a 30th
    of the way; a factor of two in the slopes of c or z puts it off by a third."""
    monkeypatch.setattr(study, "REPLICAS", 1)
    monkeypatch.setattr(study, "TEMPERATURE", 0.0)
    monkeypatch.setattr(study, "INNER", 1)
    function, rate = study.spins(3, 0), 1e-3
    agents = study.homogenised(function, [(rate, 1e9)], [1], 60, 1)
    sgd = study.trained(
        function, [rate], [1], study.KERNELS, 60, study.mobility(3), [(0.0, 0.0)], 1
    )
    start = study.started(3, study.KERNELS, [1])
    moved = [np.abs(a - b.numpy()).max() for a, b in ((sgd.c, start[0]), (sgd.z, start[1]))]
    for a, b, far in ((agents.c, sgd.c, moved[0]), (agents.z, sgd.z, moved[1])):
        assert np.abs(a - b).max() < 0.03 * far
