"""pdekit: losses smoothed by PDEs, densities moved by PDEs, and particles that check both.

The public names are imported on first use, so that ``import pdekit`` stays light: torch and
matplotlib are loaded only by the parts that need them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> module that defines it; the one place where the top-level contract is listed
_HOME = {
    "Grid": "pdekit.grid",
    "ConvergenceError": "pdekit.errors",
    "TruncationWarning": "pdekit.errors",
    "Gaussian": "pdekit.laws",
    "Uniform": "pdekit.laws",
    "CurieWeiss": "pdekit.interactions",
    "PairPotential": "pdekit.interactions",
    "Heat": "pdekit.pde.equations",
    "HamiltonJacobi": "pdekit.pde.equations",
    "ViscousHJ": "pdekit.pde.equations",
    "FokkerPlanck": "pdekit.pde.equations",
    "BackwardKolmogorov": "pdekit.pde.equations",
    "McKeanVlasov": "pdekit.pde.equations",
    "HamiltonJacobiBellman": "pdekit.pde.equations",
    "Solution": "pdekit.pde.solution",
    "solve": "pdekit.pde.solution",
    "Control": "pdekit.pde.control",
    "control": "pdekit.pde.control",
    "stationary": "pdekit.pde.stationary",
    "SelfConsistentState": "pdekit.pde.selfconsistent",
    "self_consistent_states": "pdekit.pde.selfconsistent",
    "local_entropy": "pdekit.pde.localentropy",
    "critical_beta": "pdekit.pde.phase_transition",
    "PhaseDiagram": "pdekit.pde.phase_transition",
    "phase_diagram": "pdekit.pde.phase_transition",
    "Branch": "pdekit.pde.branches",
    "follow_branch": "pdekit.pde.branches",
    "Langevin": "pdekit.particles.langevin",
    "InteractingLangevin": "pdekit.particles.interacting",
    "ControlledLangevin": "pdekit.particles.controlled",
    "SmoothedDescent": "pdekit.particles.smoothed",
    "TwoScaleLangevin": "pdekit.particles.two_scale",
    "UnderdampedLangevin": "pdekit.particles.underdamped",
    "AnnealedLangevin": "pdekit.particles.annealed",
    "MetropolisLangevin": "pdekit.particles.metropolis",
    "MultiplicativeLangevin": "pdekit.particles.multiplicative",
    "ElasticSGD": "pdekit.particles.elastic",
    "SampledDescent": "pdekit.particles.sampled",
    "Nesterov": "pdekit.particles.momentum",
    "RestartedNesterov": "pdekit.particles.momentum",
    "MaSS": "pdekit.particles.momentum",
    "RestartedMaSS": "pdekit.particles.momentum",
    "Ensemble": "pdekit.particles.ensemble",
    "simulate": "pdekit.particles.ensemble",
    "Comparison": "pdekit.comparison.compare",
    "compare": "pdekit.comparison.compare",
    "Semiconcavity": "pdekit.comparison.semiconcavity",
    "semiconcavity": "pdekit.comparison.semiconcavity",
}
_ROOMS = ("comparison", "interactions", "laws", "particles", "pde", "plotting", "potentials")

__all__ = ["__version__", *_HOME, "potentials", "particles", "schemes"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name == "schemes":
        value = import_module("pdekit.pde.schemes")
    elif name in _ROOMS:
        value = import_module(f"pdekit.{name}")
    else:
        raise AttributeError(f"module 'pdekit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
