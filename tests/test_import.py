"""What an import and a first solve load: `import pdekit` stays light."""

import json
import subprocess
import sys

HEAVY = ("torch", "matplotlib", "numba", "xarray", "scipy")


def loaded_by(code: str) -> dict[str, bool]:
    probe = f"{code}\nimport sys, json\nprint(json.dumps({{m: m in sys.modules for m in {HEAVY}}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_import_loads_nothing_heavy() -> None:
    assert not any(loaded_by("import pdekit").values())


def test_values_load_neither_torch_nor_numba() -> None:
    loaded = loaded_by(
        "import pdekit as pk\n"
        "V = pk.potentials.DoubleWell(); pk.Grid(-3, 3, 600); pk.Gaussian(0.0, 1.0)\n"
        "pk.FokkerPlanck(V, beta=4); pk.schemes.Exponential()"
    )
    assert not loaded["torch"] and not loaded["matplotlib"] and not loaded["numba"]


def test_a_solve_loads_neither_torch_nor_matplotlib() -> None:
    loaded = loaded_by(
        "import pdekit as pk\n"
        "V = pk.potentials.DoubleWell()\n"
        "rho = pk.solve(pk.FokkerPlanck(V, 4), pk.Grid(-3, 3, 100), pk.Gaussian(-1.0, 0.2), 1)\n"
        "rho.u"
    )
    assert not loaded["torch"] and not loaded["matplotlib"]


def test_every_public_name_resolves() -> None:
    import pdekit as pk

    for name in pk.__all__:
        assert getattr(pk, name) is not None
    # a function that shares its name with a room would be hidden by the import of that room
    import pdekit.comparison

    assert callable(pk.compare) and callable(pk.control) and callable(pk.semiconcavity)
