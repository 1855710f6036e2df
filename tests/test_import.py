"""What an import and a first solve load: `import pdekit` stays light."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from grimp import build_graph

from pdekit import lazy

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


@pytest.mark.parametrize("package", ["pdekit", "pdekit.optim", "pdekit.particles"])
def test_every_public_name_resolves(package: str) -> None:
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        assert vars(module)[name] is value
        assert inspect.ismodule(value) or value.__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'slove'"):
        module.slove  # noqa: B018


def test_no_imports_go_round() -> None:
    """Those for type checkers apart; an error names the circle."""
    graph = build_graph("pdekit", exclude_type_checking_imports=True, cache_dir=None)
    arrows = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(arrows) > 200 and [*TopologicalSorter(arrows).static_order()]
    arrows["pdekit.grid"] = {"pdekit.comparison.certify"}
    with pytest.raises(CycleError):
        TopologicalSorter(arrows).prepare()


def test_names_are_listed_where_type_checkers_read_them() -> None:
    source = """
if TYPE_CHECKING:
    from package.module import Table as Table
    from package import (
        part as part,
    )
    from package.other import hidden
else:
    from package import street as street
"""
    assert lazy.listed(source) == {"Table": "package.module", "part": "package"}


def test_the_readme_uses_every_public_name_and_the_documents_no_other() -> None:
    import pdekit as pk

    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text()
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", readme, re.DOTALL))
    assert sorted(set(dir(pk)) - set(re.findall(r"[A-Za-z]\w*", code))) == []
    text = readme + "\n".join(page.read_text() for page in root.glob("docs/*.md"))
    assert set(re.findall(r"\bpk\.(\w+)", text)) <= set(dir(pk))


PACKAGES = ["pdekit", "pdekit.particles", "pdekit.optim", "pdekit.potentials", "pdekit.comparison"]


@pytest.mark.parametrize("package", [*PACKAGES, "pdekit.comparison.certificates"])
def test_help_is_short(package: str) -> None:
    module = importlib.import_module(package)
    values = [getattr(module, name) for name in module.__all__]
    told = [v for v in values if inspect.isroutine(v) or inspect.isclass(v)]
    told = [v for v in told if Exception not in getattr(v, "__mro__", ())]
    for value in told:
        signature = inspect.signature(value)
        parts = [p.annotation for p in signature.parameters.values()]
        for part in (*parts, signature.return_annotation):
            assert len(inspect.formatannotation(part)) < 100, value


def test_no_verb_is_hidden_by_a_module() -> None:
    import pdekit as pk

    # a function that shares its name with a module would be hidden by the import of that module
    import pdekit.comparison

    assert callable(pk.compare) and callable(pk.control) and callable(pk.semiconcavity)
