"""Proved properties as certificates, which ``pdekit.certify`` measures on any result."""

from pdekit.comparison.certificates.balance import (
    BrokenBalance,
    DetailedBalance,
    Duality,
    SecondLaw,
    Stationary,
)
from pdekit.comparison.certificates.certificate import Certificate, Certificates, Theorem
from pdekit.comparison.certificates.contraction import WassersteinContraction
from pdekit.comparison.certificates.controls import (
    ControlDuality,
    Improvement,
    ImprovementIdentity,
)
from pdekit.comparison.certificates.densities import (
    BakryEmery,
    DissipationIdentity,
    FreeEnergyDecay,
    Mass,
    Positivity,
    SpectralGapDecay,
)
from pdekit.comparison.certificates.ensembles import (
    Contained,
    Equipartition,
    FollowsLaw,
    Spread,
    SynchronousContraction,
    TimeReversal,
)
from pdekit.comparison.certificates.functions import (
    Agrees,
    ComparisonPrinciple,
    HeatCurvature,
    ImprovesOnIdle,
    JensenBounds,
    MaximumPrinciple,
    NonExpansive,
    Semiconcave,
)

# the default certificates, in this order: for each result those that are proved for it
EVERY: tuple[type[Theorem], ...] = (
    Mass,
    Positivity,
    FreeEnergyDecay,
    DissipationIdentity,
    SpectralGapDecay,
    BakryEmery,
    WassersteinContraction,
    DetailedBalance,
    SecondLaw,
    HeatCurvature,
    MaximumPrinciple,
    JensenBounds,
    Semiconcave,
    ImprovesOnIdle,
    ControlDuality,
    Improvement,
    ImprovementIdentity,
    Contained,
    Spread,
)

__all__ = [
    "Agrees",
    "BakryEmery",
    "BrokenBalance",
    "Certificate",
    "Certificates",
    "ComparisonPrinciple",
    "Contained",
    "ControlDuality",
    "DetailedBalance",
    "DissipationIdentity",
    "Duality",
    "Equipartition",
    "FollowsLaw",
    "FreeEnergyDecay",
    "HeatCurvature",
    "Improvement",
    "ImprovementIdentity",
    "ImprovesOnIdle",
    "JensenBounds",
    "Mass",
    "MaximumPrinciple",
    "NonExpansive",
    "Positivity",
    "SecondLaw",
    "Semiconcave",
    "SpectralGapDecay",
    "Spread",
    "Stationary",
    "SynchronousContraction",
    "TimeReversal",
    "WassersteinContraction",
]
