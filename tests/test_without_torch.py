"""Equations, control, phases and their certificates work where torch is not installed."""

import subprocess
import sys
import textwrap

HIDDEN = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "torch":
                raise ModuleNotFoundError("No module named 'torch'", name="torch")

    sys.meta_path.insert(0, Hidden())
    import pdekit as pk

    V, grid, start = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 300), pk.Gaussian(-1, 0.2)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    text = textwrap.dedent(HIDDEN) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)


def test_the_half_of_the_equations_works():
    done = run("""
        law = pk.FokkerPlanck(V, 4.0)
        rho = pk.solve(law, grid, start, [0, 1])
        assert pk.certify(rho).passed
        assert pk.spectral_gap(law, grid) > 0
        f = pk.potentials.Custom(lambda x: x[..., 0] ** 4)
        u = pk.solve(pk.HamiltonJacobi(), grid, f, [0, 0.1])
        assert pk.semiconcavity(u).holds
        crowd = pk.McKeanVlasov(V, 4.0, pk.CurieWeiss(1.0))
        assert len(pk.self_consistent_states(crowd, grid)) == 3
        assert pk.control(V, 4.0, grid, start, V, 1.0).improvement.gap >= 0
        gap = lambda beta: pk.spectral_gap(pk.FokkerPlanck(V, beta), grid)
        found = pk.sweep(gap, {"beta": [2, 4]})
        assert found.value.size == 2
        assert "torch" not in sys.modules
    """)
    assert done.returncode == 0, done.stderr


def test_particles_say_what_they_need():
    done = run("pk.simulate")
    assert done.returncode == 1
    assert "pdekit.simulate needs torch, which is not installed: pip install torch" in done.stderr
    assert "Equations, control" in done.stderr
