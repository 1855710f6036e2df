"""Every block of Python in README and the documents runs, in the order of its page."""

import re
import socket
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]
# what a page takes for granted: the reader's own network, data and ensemble
NETWORK = """
import pdekit as pk
import torch
torch.manual_seed(0)
model, criterion = torch.nn.Linear(4, 3), torch.nn.CrossEntropyLoss()
images, labels = torch.randn(30, 4), torch.randint(3, (30,))
loader = [(images, labels)]
"""
ENSEMBLE = """
import pdekit as pk
V, rho0, n, t, dt = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1), 1000, [1, 10], 0.01
dynamics = pk.Langevin(V, 4.0)
rho = pk.solve(pk.FokkerPlanck(V, 4.0), pk.Grid(-3, 3, 600), rho0, t)
X = pk.simulate(dynamics, rho0, n, t, dt)
"""
LOSS = """
from pathlib import Path
Path("my_loss.csv").write_text("x,value\\n" + "\\n".join(f"{k},{k * k}" for k in range(-4, 5)))
beta, particles, t = 4.0, 1000, 1.0
"""
GIVEN = {
    "README.md": NETWORK + LOSS, "optimizers.md": NETWORK, "scale.md": ENSEMBLE,
    "statistics.md": ENSEMBLE,
}  # fmt: skip
SMALLER = {"10**8": "10**4", 'device="cuda", ': ""}  # what one core, without a GPU, does at once


def alone():
    """What torchrun tells a process: it is the only one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in alone().items():
        monkeypatch.setenv(name, value)
    space = {"__name__": "page"}
    exec(GIVEN.get(page.name, ""), space)
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for large, small in SMALLER.items():
            block = block.replace(large, small)
        exec(compile(block, str(page), "exec"), space)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
