"""Particles: stochastic dynamics, their noise and the one loop that moves them.

The names are imported on first use, because torch and numba are slow to load.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "AnnealedLangevin": "dynamics.annealed",
    "BasinCounts": "observation",
    "Basins": "basins",
    "ChebyshevSum": "forces",
    "Checkpoint": "run.checkpoint",
    "CheckpointError": "run.checkpoint",
    "CheckpointWarning": "run.checkpoint",
    "Consensus": "pdekit.interactions",
    "ControlledLangevin": "dynamics.controlled",
    "Displacement": "dynamics.two_scale",
    "ElasticSGD": "dynamics.elastic",
    "Ensemble": "ensemble",
    "EntropySGD": "dynamics.entropy_sgd",
    "EulerMaruyama": "integrators",
    "ExactSum": "forces",
    "ExponentialAverage": "dynamics.two_scale",
    "FiniteSum": "dynamics.gradients",
    "FreeDisplacement": "dynamics.two_scale",
    "FullGradient": "dynamics.gradients",
    "Histogram": "observation",
    "InteractingLangevin": "dynamics.interacting",
    "Interrupted": "ensemble",
    "L1": "pdekit.interactions",
    "Langevin": "dynamics.langevin",
    "LastIterate": "dynamics.two_scale",
    "LeimkuhlerMatthews": "integrators",
    "LinearAverage": "dynamics.two_scale",
    "Logarithmic": "dynamics.annealed",
    "MaSS": "dynamics.momentum",
    "MetropolisLangevin": "dynamics.metropolis",
    "MiniBatch": "dynamics.gradients",
    "Moments": "observation",
    "MultiplicativeLangevin": "dynamics.multiplicative",
    "Nesterov": "dynamics.momentum",
    "NoisyGradient": "dynamics.gradients",
    "NonFiniteError": "run.guards",
    "Position": "dynamics.two_scale",
    "RandomBatch": "forces",
    "RankError": "run.ranks",
    "Ranks": "run.ranks",
    "RestartedMaSS": "dynamics.momentum",
    "RestartedNesterov": "dynamics.momentum",
    "SampledDescent": "dynamics.sampled",
    "Scoping": "dynamics.two_scale",
    "SmoothedDescent": "dynamics.smoothed",
    "StepSizeWarning": "run.guards",
    "StochasticHeun": "integrators",
    "TwoScaleLangevin": "dynamics.two_scale",
    "UnderdampedLangevin": "dynamics.underdamped",
    "simulate": "ensemble",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pdekit.particles' has no attribute {name!r}")
    home = _HOME[name] if _HOME[name].startswith("pdekit.") else f"{__name__}.{_HOME[name]}"
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
