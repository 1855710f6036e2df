"""What landscapes are like: spherical spin glasses, and the curvature of the loss of a network.

``SphericalSpinGlass`` is a Hamiltonian in torch; ``complexity``, ``ground_state``, ``threshold``
and ``expected_critical_points`` are exact answers about it, ``critical_points`` and ``descend``
look for themselves. ``hessian_spectrum`` and ``gradient_covariance`` look at any torch model.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdekit.landscapes.counts import CountsByIndex as CountsByIndex
    from pdekit.landscapes.counts import asymptotic_critical_points as asymptotic_critical_points
    from pdekit.landscapes.counts import expected_by_index as expected_by_index
    from pdekit.landscapes.counts import expected_critical_points as expected_critical_points
    from pdekit.landscapes.critical import CriticalPoints as CriticalPoints
    from pdekit.landscapes.critical import critical_points as critical_points
    from pdekit.landscapes.curvature import CurvatureOperator as CurvatureOperator
    from pdekit.landscapes.curvature import EmpiricalFisher as EmpiricalFisher
    from pdekit.landscapes.curvature import Fisher as Fisher
    from pdekit.landscapes.curvature import GaussNewton as GaussNewton
    from pdekit.landscapes.curvature import Hessian as Hessian
    from pdekit.landscapes.curvature import curvature_operator as curvature_operator
    from pdekit.landscapes.descents import Descents as Descents
    from pdekit.landscapes.descents import descend as descend
    from pdekit.landscapes.exponents import complexity as complexity
    from pdekit.landscapes.exponents import ground_state as ground_state
    from pdekit.landscapes.exponents import threshold as threshold
    from pdekit.landscapes.gradients import GradientCovariance as GradientCovariance
    from pdekit.landscapes.gradients import gradient_covariance as gradient_covariance
    from pdekit.landscapes.gradients import per_sample_gradients as per_sample_gradients
    from pdekit.landscapes.spectra import Estimate as Estimate
    from pdekit.landscapes.spectra import Spectrum as Spectrum
    from pdekit.landscapes.spectra import hessian_spectrum as hessian_spectrum
    from pdekit.landscapes.spectra import lanczos as lanczos
    from pdekit.landscapes.spectra import spectrum as spectrum
    from pdekit.landscapes.spin_glass import SphericalSpinGlass as SphericalSpinGlass
else:
    from pdekit import lazy

    __all__, __getattr__, __dir__ = lazy.names(__name__)
