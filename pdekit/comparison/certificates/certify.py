"""The verb ``certify``: the proved properties of a result, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pdekit import checks
from pdekit.comparison.certificates import (
    balance,
    contraction,
    controls,
    densities,
    ensembles,
    functions,
)
from pdekit.comparison.certificates.certificate import Certificate, Certificates
from pdekit.comparison.certificates.rates import is_density, reversible
from pdekit.pde.equations import (
    BackwardKolmogorov,
    FokkerPlanck,
    HamiltonJacobi,
    HamiltonJacobiBellman,
    Heat,
    McKeanVlasov,
    ViscousHJ,
)

Check = Callable[[Any], Certificate]


def certify(result: Any, *certificates: Check) -> Certificates:
    """Measure proved properties of a ``Solution``, a ``Control`` or an ``Ensemble``.

    ``certificates``: values of ``pdekit.certificates``, such as ``Mass()``, or any callable from a
    result to a ``Certificate``. None: those that are proved for this kind of result and need no
    second one. Each gives value, bound, margin, an allowance for grid, step or sample, whether it
    passed and where it is worst; one whose hypotheses fail says that it does not apply, and why.
    ``print(certify(rho))`` shows a table, ``pdekit.claims.certified`` makes claims of it.

    Raises ``TypeError`` for another kind of result or something that is no certificate.
    """
    asked = certificates or tuple(_default(result))
    for check in asked:
        if isinstance(check, type) or not callable(check):
            raise TypeError(
                "a certificate must be a value such as pdekit.certificates.Mass(), got "
                f"{checks.shown(check)}"
            )
    if not any(hasattr(result, part) for part in ("fields", "density", "dynamics")):
        tuple(_default(result))  # says what is expected
    return Certificates(tuple(check(result) for check in asked))


def _default(result: Any) -> Iterator[Check]:
    if hasattr(result, "value") and hasattr(result, "density"):
        return _of_control()
    if hasattr(result, "fields") and hasattr(result, "equation"):
        return _of_solution(result.equation, is_density(result))
    if hasattr(result, "dynamics") and hasattr(result, "x"):
        return _of_ensemble(result)
    raise TypeError(
        "certify takes a Solution, a Control or an Ensemble (what solve, control and simulate "
        f"return), got {type(result).__name__}"
    )


def _of_solution(equation: Any, density: bool) -> Iterator[Check]:
    if density:
        yield from (densities.Mass(), densities.Positivity(), densities.FreeEnergyDecay())
    if isinstance(equation, McKeanVlasov) or (isinstance(equation, FokkerPlanck) and
                                              reversible(equation)):  # fmt: skip
        yield densities.DissipationIdentity()
    if isinstance(equation, FokkerPlanck) and reversible(equation):
        yield from (densities.SpectralGapDecay(), densities.BakryEmery())
        yield from (contraction.WassersteinContraction(), balance.DetailedBalance())
    if isinstance(equation, FokkerPlanck) and not reversible(equation):
        yield balance.SecondLaw()
    if isinstance(equation, Heat):
        yield from (densities.Mass(), functions.HeatCurvature())
    if isinstance(equation, Heat | BackwardKolmogorov | ViscousHJ | HamiltonJacobi
                  | HamiltonJacobiBellman):  # fmt: skip
        yield functions.MaximumPrinciple()
    if isinstance(equation, ViscousHJ | HamiltonJacobi):
        yield from (functions.JensenBounds(), functions.Semiconcave())
    if isinstance(equation, HamiltonJacobiBellman):
        yield functions.ImprovesOnIdle()


def _of_control() -> Iterator[Check]:
    yield lambda control: densities.Mass()(control.density)
    yield lambda control: densities.Positivity()(control.density)
    yield controls.ControlDuality()
    yield from (controls.Improvement(), controls.ImprovementIdentity())


def _of_ensemble(ensemble: Any) -> Iterator[Check]:
    yield ensembles.Contained()
    if type(ensemble.dynamics).__name__ == "Langevin":
        yield ensembles.Spread()
