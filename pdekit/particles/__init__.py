"""Particles: stochastic dynamics, their noise and the simulation loop.

The names are imported on first use, because torch and numba are slow to load.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdekit.interactions import L1 as L1
    from pdekit.interactions import Consensus as Consensus
    from pdekit.particles.basins import Basins as Basins
    from pdekit.particles.dynamics.annealed import AnnealedLangevin as AnnealedLangevin
    from pdekit.particles.dynamics.annealed import Logarithmic as Logarithmic
    from pdekit.particles.dynamics.controlled import ControlledLangevin as ControlledLangevin
    from pdekit.particles.dynamics.elastic import ElasticSGD as ElasticSGD
    from pdekit.particles.dynamics.entropy_sgd import EntropySGD as EntropySGD
    from pdekit.particles.dynamics.gradients import FiniteSum as FiniteSum
    from pdekit.particles.dynamics.gradients import FullGradient as FullGradient
    from pdekit.particles.dynamics.gradients import MiniBatch as MiniBatch
    from pdekit.particles.dynamics.gradients import NoisyGradient as NoisyGradient
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
    from pdekit.particles.dynamics.two_scale import Displacement as Displacement
    from pdekit.particles.dynamics.two_scale import ExponentialAverage as ExponentialAverage
    from pdekit.particles.dynamics.two_scale import FreeDisplacement as FreeDisplacement
    from pdekit.particles.dynamics.two_scale import LastIterate as LastIterate
    from pdekit.particles.dynamics.two_scale import LinearAverage as LinearAverage
    from pdekit.particles.dynamics.two_scale import Position as Position
    from pdekit.particles.dynamics.two_scale import Scoping as Scoping
    from pdekit.particles.dynamics.two_scale import TwoScaleLangevin as TwoScaleLangevin
    from pdekit.particles.dynamics.underdamped import UnderdampedLangevin as UnderdampedLangevin
    from pdekit.particles.ensemble import simulate as simulate
    from pdekit.particles.forces import ChebyshevSum as ChebyshevSum
    from pdekit.particles.forces import ExactSum as ExactSum
    from pdekit.particles.forces import RandomBatch as RandomBatch
    from pdekit.particles.integrators import EulerMaruyama as EulerMaruyama
    from pdekit.particles.integrators import LeimkuhlerMatthews as LeimkuhlerMatthews
    from pdekit.particles.integrators import StochasticHeun as StochasticHeun
    from pdekit.particles.integrators import TamedEuler as TamedEuler
    from pdekit.particles.observables import BasinCounts as BasinCounts
    from pdekit.particles.observables import Histogram as Histogram
    from pdekit.particles.observables import Moments as Moments
    from pdekit.particles.results import Ensemble as Ensemble
    from pdekit.particles.results import Interrupted as Interrupted
    from pdekit.particles.run.checkpoint import Checkpoint as Checkpoint
    from pdekit.particles.run.checkpoint import CheckpointError as CheckpointError
    from pdekit.particles.run.checkpoint import CheckpointWarning as CheckpointWarning
    from pdekit.particles.run.guards import NonFiniteError as NonFiniteError
    from pdekit.particles.run.guards import StepSizeWarning as StepSizeWarning
    from pdekit.particles.run.ranks import RankError as RankError
    from pdekit.particles.run.ranks import Ranks as Ranks
else:
    from pdekit import lazy

    __all__, __getattr__, __dir__ = lazy.names(__name__)
