"""``certify``: measure the proved properties of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pdekit import checks
from pdekit.comparison.certificates import EVERY
from pdekit.comparison.certificates.certificate import Certificate, Certificates
from pdekit.pde.control.control import Control
from pdekit.pde.solution import Solution

if TYPE_CHECKING:
    from pdekit.particles.results import Ensemble

Check = Callable[[Any], Certificate]


def certify(result: Solution | Control | Ensemble, *certificates: Check) -> Certificates:
    """Measure proved properties of a ``Solution``, a ``Control`` or an ``Ensemble``.

    ``certificates``: values of ``pdekit.certificates``, such as ``Mass()``, or any callable from a
    result to a ``Certificate``. None: all that are proved for this kind of result and do not need
    a second result. Each gives value, bound, margin, an allowance for grid, step or sample, whether
    it passed and where it is worst; if its hypotheses fail, it reports that it does not apply, and
    why. ``print(certify(rho))`` shows a table; its rows are claims, as a study returns them.

    Raises ``TypeError`` for another kind of result or something that is not a certificate.
    """
    asked = certificates or _default(result)
    for check in asked:
        if isinstance(check, type) or not callable(check):
            raise TypeError(
                "a certificate must be a value such as pdekit.certificates.Mass(), got "
                f"{checks.shown(check)}"
            )
    if not any(hasattr(result, part) for part in ("fields", "density", "dynamics")):
        _default(result)  # raises with what is expected
    if hasattr(result, "since_start"):  # properties are proved in the time since the initial data
        result = result.since_start()
    return Certificates(tuple(check(result) for check in asked))


def _default(result: object) -> tuple[Check, ...]:
    """The certificates proved for a result that do not need a second one."""
    known = any(
        all(hasattr(result, part) for part in parts)
        for parts in (("value", "density"), ("fields", "equation"), ("dynamics", "x"))
    )
    if not known:
        raise TypeError(
            "certify takes a Solution, a Control or an Ensemble (what solve, control and simulate "
            f"return), got {type(result).__name__}"
        )
    return tuple(kind() for kind in EVERY if kind.proved_for(result))
