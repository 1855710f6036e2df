"""Particles: stochastic dynamics, their noise and the one loop that moves them.

The names are imported on first use, because torch and numba are slow to load.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "AnnealedLangevin": "annealed",
    "BasinCounts": "observation",
    "Basins": "basins",
    "ChebyshevSum": "forces",
    "Checkpoint": "checkpoint",
    "CheckpointError": "checkpoint",
    "CheckpointWarning": "checkpoint",
    "Consensus": "forces",
    "ControlledLangevin": "controlled",
    "Displacement": "two_scale",
    "ElasticSGD": "elastic",
    "Ensemble": "ensemble",
    "EntropySGD": "entropy_sgd",
    "EulerMaruyama": "integrators",
    "ExactSum": "forces",
    "ExponentialAverage": "two_scale",
    "FiniteSum": "gradients",
    "FreeDisplacement": "two_scale",
    "FullGradient": "gradients",
    "Histogram": "observation",
    "InteractingLangevin": "interacting",
    "Interrupted": "ensemble",
    "L1": "forces",
    "Langevin": "langevin",
    "LastIterate": "two_scale",
    "LeimkuhlerMatthews": "integrators",
    "LinearAverage": "two_scale",
    "Logarithmic": "annealed",
    "MaSS": "momentum",
    "MetropolisLangevin": "metropolis",
    "MiniBatch": "gradients",
    "Moments": "observation",
    "MultiplicativeLangevin": "multiplicative",
    "Nesterov": "momentum",
    "NoisyGradient": "gradients",
    "NonFiniteError": "guards",
    "Position": "two_scale",
    "RandomBatch": "forces",
    "RankError": "ranks",
    "Ranks": "ranks",
    "RestartedMaSS": "momentum",
    "RestartedNesterov": "momentum",
    "SampledDescent": "sampled",
    "Scoping": "two_scale",
    "SmoothedDescent": "smoothed",
    "StepSizeWarning": "guards",
    "StochasticHeun": "integrators",
    "TwoScaleLangevin": "two_scale",
    "UnderdampedLangevin": "underdamped",
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
