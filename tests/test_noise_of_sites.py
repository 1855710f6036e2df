"""The form of the noise that is traced: of any sites at once, the same bits as of a row."""

import pytest
import torch

from pdekit.particles.noise import (
    Address,
    normals_of_sites,
    normals_reference,
    uniforms_of_sites,
    uniforms_reference,
)

FORMS = ((normals_of_sites, normals_reference), (uniforms_of_sites, uniforms_reference))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("of_sites", "of_row"), FORMS)
def test_sites_in_any_order_have_the_bits_of_the_row(of_sites, of_row, dtype):
    at = Address(seed=(7 << 40) + 3, run=5, channel=2, step=(1 << 33) + 11)
    first = 1 << 35  # beyond 32 bits, where blocks and steps have second words
    sites = first + torch.randperm(40, generator=torch.Generator().manual_seed(1))
    step, stream = torch.tensor(at.step), torch.tensor(at.stream)
    found = of_sites(sites, step, stream, (at.seed & 0xFFFFFFFF, at.seed >> 32), dtype)
    assert found.dtype == dtype
    assert torch.equal(found, of_row(at, first, 40, dtype)[sites - first])
