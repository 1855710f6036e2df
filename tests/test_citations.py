"""``cite``: the papers that the docstrings of a result's parts name."""

import inspect
import re

import pytest

import pdekit as pk
from pdekit import citations


def keys(text):
    return re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)


def public_classes():
    homes = (pk, pk.schemes, pk.particles, pk.optim, pk.comparison, pk.potentials, pk.hamiltonians)
    return {c for home in homes for _, c in inspect.getmembers(home, inspect.isclass)}


def test_a_solution_names_its_equation_scheme_and_interaction():
    V = pk.potentials.DoubleWell()
    crowd = pk.McKeanVlasov(V, 2.0, pk.CurieWeiss(1.0))
    rho = pk.solve(crowd, pk.Grid(-3, 3, 60), pk.Gaussian(0.5, 0.5), 0.1)
    assert keys(pk.cite(rho))[0] == "pdekit"
    assert {"kantas", "deuflhard1987"} <= {*keys(pk.cite(rho))}
    assert "felzenszwalb2012" not in keys(pk.cite(rho))
    u = pk.solve(pk.HamiltonJacobi(), pk.Grid(-3, 3, 60), V, 0.1)
    assert "felzenszwalb2012" in keys(pk.cite(u))
    assert {*keys(pk.cite(rho, u))} == {*keys(pk.cite(rho)), *keys(pk.cite(u))}


def test_an_ensemble_names_its_dynamics_and_integrator():
    X = pk.simulate(pk.Langevin(pk.potentials.DoubleWell(), 2.0), pk.Gaussian(0, 1), 10, 0.1, 0.01)
    assert "leimkuhler2013" in keys(pk.cite(X))


@pytest.mark.parametrize("key", list(citations._entries()))
def test_every_entry_is_named_by_something_public(key):
    pattern = citations._pattern(key, citations._entries()[key])
    said = [" ".join((inspect.getdoc(c) or "").split()) for c in public_classes()]
    assert any(re.search(pattern, text) for text in said)


def test_every_work_that_a_result_may_name_has_an_entry():
    """Equations, schemes, dynamics and what they are made of: authors with a year."""
    homes = (pk, pk.schemes, pk.particles, pk.optim)
    named = re.compile(r"[A-Z]\w+ and [A-Z]\w+,? \(?(?:19|20)\d\d\b")
    patterns = [citations._pattern(key, entry) for key, entry in citations._entries().items()]
    missing = set()
    for home in homes:
        for name, kind in inspect.getmembers(home, inspect.isclass):
            text = " ".join((kind.__doc__ or "").split())
            for match in named.finditer(text):
                around = text[max(0, match.start() - 60) : match.end()]
                if not any(re.search(pattern, around) for pattern in patterns):
                    missing.add((name, match[0]))
    assert missing == set()


def test_what_is_no_part_of_pdekit_is_named():
    with pytest.raises(TypeError, match=r"got 3\.5: such as pk\.cite"):
        pk.cite(3.5)
