"""Particles: stochastic dynamics, their noise and the one loop that moves them.

The names are imported on first use, because torch and numba are slow to load.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ChebyshevSum": "forces",
    "Consensus": "forces",
    "ControlledLangevin": "controlled",
    "Ensemble": "ensemble",
    "EulerMaruyama": "integrators",
    "ExactSum": "forces",
    "InteractingLangevin": "interacting",
    "L1": "forces",
    "Langevin": "langevin",
    "LeimkuhlerMatthews": "integrators",
    "NonFiniteError": "guards",
    "RandomBatch": "forces",
    "SmoothedDescent": "smoothed",
    "StepSizeWarning": "guards",
    "StochasticHeun": "integrators",
    "simulate": "ensemble",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pdekit.particles' has no attribute {name!r}")
    value = getattr(import_module(f"pdekit.particles.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
