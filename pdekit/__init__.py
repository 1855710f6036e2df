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
    "shock_time": "pdekit.pde.burgers",
    "Solution": "pdekit.pde.solution",
    "solve": "pdekit.pde.solution",
    "Control": "pdekit.pde.control",
    "Improvement": "pdekit.pde.control",
    "Congestion": "pdekit.pde.couplings",
    "LogDensity": "pdekit.pde.couplings",
    "MeanTracking": "pdekit.pde.couplings",
    "Nonlocal": "pdekit.pde.couplings",
    "Newton": "pdekit.pde.games",
    "FixedPoint": "pdekit.pde.games",
    "FictitiousPlay": "pdekit.pde.games",
    "control": "pdekit.pde.control",
    "stationary": "pdekit.pde.stationary",
    "current": "pdekit.pde.stationary",
    "detailed_balance": "pdekit.pde.stationary",
    "SlowModes": "pdekit.pde.spectrum",
    "slow_modes": "pdekit.pde.spectrum",
    "spectral_gap": "pdekit.pde.spectrum",
    "mean_first_passage_time": "pdekit.pde.passage",
    "committor": "pdekit.pde.passage",
    "kramers_time": "pdekit.pde.escape",
    "free_energy": "pdekit.pde.freeenergy",
    "dissipation": "pdekit.pde.freeenergy",
    "with_steady_state": "pdekit.pde.nonequilibrium",
    "Decomposition": "pdekit.pde.nonequilibrium",
    "decompose": "pdekit.pde.nonequilibrium",
    "LimitCycle": "pdekit.pde.nonequilibrium",
    "entropy_production": "pdekit.pde.nonequilibrium",
    "housekeeping": "pdekit.pde.nonequilibrium",
    "minibatch_covariance": "pdekit.pde.nonequilibrium",
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
    "EntropySGD": "pdekit.particles.entropy_sgd",
    "SampledDescent": "pdekit.particles.sampled",
    "Nesterov": "pdekit.particles.momentum",
    "RestartedNesterov": "pdekit.particles.momentum",
    "MaSS": "pdekit.particles.momentum",
    "RestartedMaSS": "pdekit.particles.momentum",
    "BasinCounts": "pdekit.particles.observation",
    "Basins": "pdekit.particles.basins",
    "Checkpoint": "pdekit.particles.checkpoint",
    "Ensemble": "pdekit.particles.ensemble",
    "Histogram": "pdekit.particles.observation",
    "Moments": "pdekit.particles.observation",
    "Ranks": "pdekit.particles.ranks",
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
    "SampledCurvature": "pdekit.comparison.curvature_from_particles",
    "sampled_curvature": "pdekit.comparison.curvature_from_particles",
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
