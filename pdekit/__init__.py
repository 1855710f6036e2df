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
    "AccuracyWarning": "pdekit.errors",
    "ConvergenceError": "pdekit.errors",
    "ResolutionWarning": "pdekit.errors",
    "TruncationWarning": "pdekit.errors",
    "Gaussian": "pdekit.laws",
    "Uniform": "pdekit.laws",
    "Ito": "pdekit.diffusions",
    "Stratonovich": "pdekit.diffusions",
    "HaenggiKlimontovich": "pdekit.diffusions",
    "CurieWeiss": "pdekit.interactions",
    "PairPotential": "pdekit.interactions",
    "Walls": "pdekit.pde.equations",
    "Heat": "pdekit.pde.equations",
    "HamiltonJacobi": "pdekit.pde.equations",
    "ViscousHJ": "pdekit.pde.equations",
    "Burgers": "pdekit.pde.equations",
    "FokkerPlanck": "pdekit.pde.equations",
    "BackwardKolmogorov": "pdekit.pde.equations",
    "McKeanVlasov": "pdekit.pde.equations",
    "HamiltonJacobiBellman": "pdekit.pde.equations",
    "shock_time": "pdekit.pde.smoothing",
    "Solution": "pdekit.pde.solution",
    "solve": "pdekit.pde.solution",
    "Control": "pdekit.pde.control.control",
    "Improvement": "pdekit.pde.control.control",
    "Congestion": "pdekit.pde.control.couplings",
    "LogDensity": "pdekit.pde.control.couplings",
    "MeanTracking": "pdekit.pde.control.couplings",
    "Nonlocal": "pdekit.pde.control.couplings",
    "Newton": "pdekit.pde.control.games",
    "FixedPoint": "pdekit.pde.control.games",
    "FictitiousPlay": "pdekit.pde.control.games",
    "control": "pdekit.pde.control.control",
    "stationary": "pdekit.pde.stationary.stationary",
    "current": "pdekit.pde.stationary.stationary",
    "detailed_balance": "pdekit.pde.stationary.stationary",
    "SlowModes": "pdekit.pde.stationary.spectrum",
    "slow_modes": "pdekit.pde.stationary.spectrum",
    "spectral_gap": "pdekit.pde.stationary.spectrum",
    "mean_first_passage_time": "pdekit.pde.stationary.first_passage",
    "committor": "pdekit.pde.stationary.first_passage",
    "kramers_time": "pdekit.pde.exact.escape",
    "free_energy": "pdekit.pde.stationary.free_energy",
    "dissipation": "pdekit.pde.stationary.free_energy",
    "with_steady_state": "pdekit.pde.stationary.nonequilibrium",
    "Decomposition": "pdekit.pde.stationary.nonequilibrium",
    "decompose": "pdekit.pde.stationary.nonequilibrium",
    "LimitCycle": "pdekit.pde.stationary.nonequilibrium",
    "entropy_production": "pdekit.pde.stationary.nonequilibrium",
    "housekeeping": "pdekit.pde.stationary.nonequilibrium",
    "minibatch_covariance": "pdekit.pde.stationary.nonequilibrium",
    "SelfConsistentState": "pdekit.pde.discrete.gibbs_map",
    "self_consistent_states": "pdekit.pde.phases.self_consistent",
    "local_entropy": "pdekit.pde.smoothing",
    "critical_beta": "pdekit.pde.phases.phase_diagram",
    "PhaseDiagram": "pdekit.pde.phases.phase_diagram",
    "phase_diagram": "pdekit.pde.phases.phase_diagram",
    "Branch": "pdekit.pde.phases.branches",
    "follow_branch": "pdekit.pde.phases.branches",
    "Langevin": "pdekit.particles.dynamics.langevin",
    "InteractingLangevin": "pdekit.particles.dynamics.interacting",
    "ControlledLangevin": "pdekit.particles.dynamics.controlled",
    "SmoothedDescent": "pdekit.particles.dynamics.smoothed",
    "TwoScaleLangevin": "pdekit.particles.dynamics.two_scale",
    "UnderdampedLangevin": "pdekit.particles.dynamics.underdamped",
    "AnnealedLangevin": "pdekit.particles.dynamics.annealed",
    "MetropolisLangevin": "pdekit.particles.dynamics.metropolis",
    "MultiplicativeLangevin": "pdekit.particles.dynamics.multiplicative",
    "ElasticSGD": "pdekit.particles.dynamics.elastic",
    "EntropySGD": "pdekit.particles.dynamics.entropy_sgd",
    "SampledDescent": "pdekit.particles.dynamics.sampled",
    "Nesterov": "pdekit.particles.dynamics.momentum",
    "RestartedNesterov": "pdekit.particles.dynamics.momentum",
    "MaSS": "pdekit.particles.dynamics.momentum",
    "RestartedMaSS": "pdekit.particles.dynamics.momentum",
    "BasinCounts": "pdekit.particles.observation",
    "Basins": "pdekit.particles.basins",
    "Checkpoint": "pdekit.particles.run.checkpoint",
    "Ensemble": "pdekit.particles.ensemble",
    "Histogram": "pdekit.particles.observation",
    "Moments": "pdekit.particles.observation",
    "Ranks": "pdekit.particles.run.ranks",
    "simulate": "pdekit.particles.ensemble",
    "Comparison": "pdekit.comparison.compare",
    "compare": "pdekit.comparison.compare",
    "Convergence": "pdekit.comparison.convergence",
    "convergence": "pdekit.comparison.convergence",
    "improvement": "pdekit.comparison.improvement",
    "Certificate": "pdekit.comparison.certificates.certificate",
    "Certificates": "pdekit.comparison.certificates.certificate",
    "certify": "pdekit.comparison.certificates.certify",
    "Semiconcavity": "pdekit.comparison.semiconcavity",
    "SampledCurvature": "pdekit.comparison.sampled_curvature",
    "sampled_curvature": "pdekit.comparison.sampled_curvature",
    "robust_width": "pdekit.comparison.widths",
    "widening": "pdekit.comparison.widths",
    "semiconcavity": "pdekit.comparison.semiconcavity",
}
_ROOMS = (
    "comparison",
    "interactions",
    "laws",
    "optim",
    "particles",
    "pde",
    "plotting",
    "potentials",
)

__all__ = [
    "__version__",
    *_HOME,
    "potentials",
    "particles",
    "optim",
    "schemes",
    "hamiltonians",
    "certificates",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in ("schemes", "hamiltonians"):
        value = import_module(f"pdekit.pde.{name}")
    elif name == "certificates":
        value = import_module("pdekit.comparison.certificates")
    elif name in _ROOMS:
        value = import_module(f"pdekit.{name}")
    else:
        raise AttributeError(f"module 'pdekit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
