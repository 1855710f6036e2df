"""pdekit: losses smoothed by PDEs, densities evolved by PDEs, and particles that check both.

The public names are imported on first use, so that ``import pdekit`` stays fast: torch and
matplotlib are loaded only by the parts that need them.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# the one place where the top-level contract is listed, for type checkers and at run time
if TYPE_CHECKING:
    from pdekit import comparison as comparison
    from pdekit import interactions as interactions
    from pdekit import landscapes as landscapes
    from pdekit import networks as networks
    from pdekit import optim as optim
    from pdekit import particles as particles
    from pdekit import plotting as plotting
    from pdekit import potentials as potentials
    from pdekit import testing as testing
    from pdekit.citations import cite as cite
    from pdekit.comparison import certificates as certificates
    from pdekit.comparison.area_rate import AreaRates as AreaRates
    from pdekit.comparison.area_rate import area_rate as area_rate
    from pdekit.comparison.certificates.certificate import Certificate as Certificate
    from pdekit.comparison.certificates.certificate import Certificates as Certificates
    from pdekit.comparison.certify import certify as certify
    from pdekit.comparison.compare import compare as compare
    from pdekit.comparison.convergence import Convergence as Convergence
    from pdekit.comparison.convergence import convergence as convergence
    from pdekit.comparison.fit import Fit as Fit
    from pdekit.comparison.fit import fit as fit
    from pdekit.comparison.improvement import improvement as improvement
    from pdekit.comparison.passages import Passages as Passages
    from pdekit.comparison.passages import compare_passages as compare_passages
    from pdekit.comparison.sampled_curvature import SampledCurvature as SampledCurvature
    from pdekit.comparison.sampled_curvature import sampled_curvature as sampled_curvature
    from pdekit.comparison.semiconcavity import Semiconcavity as Semiconcavity
    from pdekit.comparison.semiconcavity import semiconcavity as semiconcavity
    from pdekit.comparison.verdict import Comparison as Comparison
    from pdekit.comparison.widths import robust_width as robust_width
    from pdekit.comparison.widths import widening as widening
    from pdekit.diffusions import HaenggiKlimontovich as HaenggiKlimontovich
    from pdekit.diffusions import Ito as Ito
    from pdekit.diffusions import Stratonovich as Stratonovich
    from pdekit.errors import AccuracyWarning as AccuracyWarning
    from pdekit.errors import ConvergenceError as ConvergenceError
    from pdekit.errors import ResolutionWarning as ResolutionWarning
    from pdekit.errors import TruncationWarning as TruncationWarning
    from pdekit.grid import Grid as Grid
    from pdekit.in_time import InTime as InTime
    from pdekit.interactions import CurieWeiss as CurieWeiss
    from pdekit.interactions import PairPotential as PairPotential
    from pdekit.laws import Gaussian as Gaussian
    from pdekit.laws import Uniform as Uniform
    from pdekit.particles.basins import Basins as Basins
    from pdekit.particles.dynamics.annealed import AnnealedLangevin as AnnealedLangevin
    from pdekit.particles.dynamics.controlled import ControlledLangevin as ControlledLangevin
    from pdekit.particles.dynamics.elastic import ElasticSGD as ElasticSGD
    from pdekit.particles.dynamics.entropy_sgd import EntropySGD as EntropySGD
    from pdekit.particles.dynamics.interacting import InteractingLangevin as InteractingLangevin
    from pdekit.particles.dynamics.ito import ItoProcess as ItoProcess
    from pdekit.particles.dynamics.langevin import Langevin as Langevin
    from pdekit.particles.dynamics.metropolis import MetropolisLangevin as MetropolisLangevin
    from pdekit.particles.dynamics.momentum import MaSS as MaSS
    from pdekit.particles.dynamics.momentum import Nesterov as Nesterov
    from pdekit.particles.dynamics.momentum import RestartedMaSS as RestartedMaSS
    from pdekit.particles.dynamics.momentum import RestartedNesterov as RestartedNesterov
    from pdekit.particles.dynamics.multiplicative import (
        MultiplicativeLangevin as MultiplicativeLangevin,
    )
    from pdekit.particles.dynamics.network import TwoLayerNetwork as TwoLayerNetwork
    from pdekit.particles.dynamics.passage import FirstPassage as FirstPassage
    from pdekit.particles.dynamics.sampled import SampledDescent as SampledDescent
    from pdekit.particles.dynamics.smoothed import SmoothedDescent as SmoothedDescent
    from pdekit.particles.dynamics.two_scale import TwoScaleLangevin as TwoScaleLangevin
    from pdekit.particles.dynamics.underdamped import UnderdampedLangevin as UnderdampedLangevin
    from pdekit.particles.ensemble import simulate as simulate
    from pdekit.particles.observables import BasinCounts as BasinCounts
    from pdekit.particles.observables import Histogram as Histogram
    from pdekit.particles.observables import Moments as Moments
    from pdekit.particles.results import Ensemble as Ensemble
    from pdekit.particles.run.checkpoint import Checkpoint as Checkpoint
    from pdekit.particles.run.ranks import Ranks as Ranks
    from pdekit.pde import hamiltonians as hamiltonians
    from pdekit.pde import schemes as schemes
    from pdekit.pde.arrival import arrival_time as arrival_time
    from pdekit.pde.control.control import Control as Control
    from pdekit.pde.control.control import Improvement as Improvement
    from pdekit.pde.control.control import control as control
    from pdekit.pde.control.couplings import Congestion as Congestion
    from pdekit.pde.control.couplings import LogDensity as LogDensity
    from pdekit.pde.control.couplings import MeanTracking as MeanTracking
    from pdekit.pde.control.couplings import Nonlocal as Nonlocal
    from pdekit.pde.control.games import FictitiousPlay as FictitiousPlay
    from pdekit.pde.control.games import FixedPoint as FixedPoint
    from pdekit.pde.control.games import Newton as Newton
    from pdekit.pde.discrete.gibbs_map import SelfConsistentState as SelfConsistentState
    from pdekit.pde.equations import BackwardKolmogorov as BackwardKolmogorov
    from pdekit.pde.equations import Burgers as Burgers
    from pdekit.pde.equations import FokkerPlanck as FokkerPlanck
    from pdekit.pde.equations import HamiltonJacobi as HamiltonJacobi
    from pdekit.pde.equations import HamiltonJacobiBellman as HamiltonJacobiBellman
    from pdekit.pde.equations import Heat as Heat
    from pdekit.pde.equations import McKeanVlasov as McKeanVlasov
    from pdekit.pde.equations import ViscousHJ as ViscousHJ
    from pdekit.pde.exact.escape import kramers_time as kramers_time
    from pdekit.pde.expectation_gradient import expectation_gradient as expectation_gradient
    from pdekit.pde.phases.branches import Branch as Branch
    from pdekit.pde.phases.branches import follow_branch as follow_branch
    from pdekit.pde.phases.phase_diagram import PhaseDiagram as PhaseDiagram
    from pdekit.pde.phases.phase_diagram import critical_beta as critical_beta
    from pdekit.pde.phases.phase_diagram import phase_diagram as phase_diagram
    from pdekit.pde.phases.self_consistent import self_consistent_states as self_consistent_states
    from pdekit.pde.quantile_flow import quantile_flow as quantile_flow
    from pdekit.pde.quantile_flow import quantile_particles as quantile_particles
    from pdekit.pde.sensitivity import sensitivity as sensitivity
    from pdekit.pde.shocks import shock_time as shock_time
    from pdekit.pde.smoothing import local_entropy as local_entropy
    from pdekit.pde.solution import Solution as Solution
    from pdekit.pde.solution import solve as solve
    from pdekit.pde.stationary.first_passage import committor as committor
    from pdekit.pde.stationary.first_passage import (
        mean_first_passage_time as mean_first_passage_time,
    )
    from pdekit.pde.stationary.free_energy import dissipation as dissipation
    from pdekit.pde.stationary.free_energy import free_energy as free_energy
    from pdekit.pde.stationary.nonequilibrium import Decomposition as Decomposition
    from pdekit.pde.stationary.nonequilibrium import LimitCycle as LimitCycle
    from pdekit.pde.stationary.nonequilibrium import decompose as decompose
    from pdekit.pde.stationary.nonequilibrium import entropy_production as entropy_production
    from pdekit.pde.stationary.nonequilibrium import housekeeping as housekeeping
    from pdekit.pde.stationary.nonequilibrium import minibatch_covariance as minibatch_covariance
    from pdekit.pde.stationary.nonequilibrium import with_steady_state as with_steady_state
    from pdekit.pde.stationary.spectrum import SlowModes as SlowModes
    from pdekit.pde.stationary.spectrum import slow_modes as slow_modes
    from pdekit.pde.stationary.spectrum import spectral_gap as spectral_gap
    from pdekit.pde.stationary.stationary import current as current
    from pdekit.pde.stationary.stationary import detailed_balance as detailed_balance
    from pdekit.pde.stationary.stationary import stationary as stationary
    from pdekit.point_kernels import FeatureInteraction as FeatureInteraction
    from pdekit.point_kernels import KernelInteraction as KernelInteraction
    from pdekit.resetting import Resetting as Resetting
    from pdekit.storage.load import load as load
    from pdekit.sweeps import sweep as sweep
    from pdekit.walls import Held as Held
    from pdekit.walls import Inflow as Inflow
    from pdekit.walls import PartlyAbsorbing as PartlyAbsorbing
    from pdekit.walls import Specular as Specular
    from pdekit.walls import Walls as Walls
else:
    from pdekit import lazy

    __all__, __getattr__, __dir__ = lazy.names(__name__)
