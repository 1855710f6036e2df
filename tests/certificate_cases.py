"""Certificates over random landscapes: one row each, what is right and what a planted fault makes.

A row makes, of one ``Setting`` (a landscape, a temperature, a start, a box), a certificate and the
result that it passes on, and one result for every fault, on which it must fail.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from random_settings import TIMES, Setting

import pdekit as pk
from pdekit import certificates as c

Made = tuple[Any, Any]  # a certificate, and the result to ask


@dataclass(frozen=True)
class Row:
    """``right(setting)`` passes; every ``fault(setting, check, result)`` fails."""

    name: str
    right: Callable[[Setting], Made]
    faults: dict[str, Callable[[Setting, Any, Any], Made]] = field(repr=False)
    convex: bool = False
    dims: tuple[int, ...] = (1, 2)
    examples: int = 12


def changed(solution: Any, **values: Any) -> Any:
    """Other fields or times; what the solver noted of itself is forgotten."""
    return replace(solution, stats={}, **values)


def _density(check: Any) -> Callable[[Setting], Made]:
    return lambda s: (check, s.solve(s.equation, s.start))


def _fields(change: Callable[[Setting, Any], Any]) -> Callable[[Setting, Any, Any], Made]:
    """A fault of the fields, for the same certificate."""
    return lambda s, check, u: (check, changed(u, fields=change(s, u)))


def _leak(s: Setting, u: Any) -> Any:
    return u.fields * _over_time(u, np.exp(-1e-7 * u.times))


def _over_time(u: Any, factors: Any) -> Any:
    return np.reshape(factors, (-1,) + (1,) * (u.fields.ndim - 1))


def _one_cell(value: float) -> Callable[[Setting, Any], Any]:
    def change(s: Setting, u: Any) -> Any:
        fields = u.fields.copy()
        cell = s.seed % u.fields[0].size
        fields[1 + s.seed % (len(fields) - 1)].flat[cell] = value
        return fields

    return change


def _stuck(s: Setting, u: Any) -> Any:
    """Nothing moves between two times early on."""
    fields = u.fields.copy()
    fields[3] = fields[2]
    return fields


def _backwards(s: Setting, u: Any) -> Any:
    return u.fields[::-1]


def _risen(rate: float) -> Callable[[Setting, Any], Any]:
    return lambda s, u: u.fields + _over_time(u, rate * u.times / u.times[-1])


def _warm(s: Setting, check: Any, u: Any) -> Made:
    """Another temperature under the right one's name."""
    other = replace(u.equation, beta=0.6 * s.beta)
    return check, changed(s.solve(other, s.start, u.times), equation=u.equation)


def _contraction(s: Setting) -> Made:
    other = pk.Gaussian(tuple(0.4 - m for m in s.start.mean), s.start.std)
    times = TIMES[::3]
    return c.WassersteinContraction(s.solve(s.equation, other, times)), s.solve(
        s.equation, s.start, times
    )


def _frozen_pair(s: Setting, check: Any, u: Any) -> Made:
    hold = np.broadcast_to
    v = check.other
    still = changed(v, fields=hold(v.fields[0], v.fields.shape))
    return replace(check, other=still), changed(u, fields=hold(u.fields[0], u.fields.shape))


def _driven(s: Setting) -> Any:
    """A drift that goes round: along a ring, or in the plane."""
    if s.dim == 1:
        ring = pk.Grid(-np.pi, np.pi, 48, periodic=True)
        hills = pk.potentials.Custom(lambda x: s.potential.tilt * np.cos(x[..., 0]), dim=1)
        equation = pk.FokkerPlanck(hills, s.beta, force=lambda x: 0.8 + 0 * x)
        rho = 1 + 0.7 * np.cos(ring.axes[0] - s.start.mean[0])
        return pk.solve(equation, ring, rho / ring.integrate(rho), np.linspace(0, 0.6, 25))
    bowl = pk.potentials.Quadratic((1.2, 1.2))
    swirl = pk.FokkerPlanck(bowl, s.beta, force=_swirl)
    return s.solve(swirl, s.start, np.linspace(0, 0.6, 25))


def _swirl(x: Any) -> Any:
    return 0.7 * np.stack([-x[..., 1], x[..., 0]], -1)


def _reversible(s: Setting, check: Any, u: Any) -> Made:
    return check, changed(u, equation=replace(u.equation, force=None))


def _driving(s: Setting, check: Any, u: Any) -> Made:
    return check, _driven(s)


def _slow_clock(s: Setting, check: Any, u: Any) -> Made:
    return check, changed(u, times=2 * u.times)


def _other_gibbs(s: Setting, check: Any, u: Any) -> Made:
    warm = pk.stationary(pk.FokkerPlanck(s.potential, 0.99 * s.beta), s.grid).values
    return check, changed(u, fields=warm[None])


def _duality(s: Setting) -> Made:
    back = pk.BackwardKolmogorov(s.potential, s.beta)
    times = np.linspace(0, 0.6, 5)
    return c.Duality(s.solve(back, s.wave, times)), s.solve(s.equation, s.start, times)


def _other_backward(s: Setting, check: Any, u: Any) -> Made:
    back = pk.BackwardKolmogorov(s.potential, 1.1 * s.beta)
    return c.Duality(s.solve(back, s.wave, check.backward.times)), u


def _backward(check: Any) -> Callable[[Setting], Made]:
    return lambda s: (check, s.solve(pk.BackwardKolmogorov(s.potential, s.beta), s.wave))


def _entropy(check: Any, times: Any = (0, 0.1, 0.3)) -> Callable[[Setting], Made]:
    return lambda s: (check, s.solve(pk.ViscousHJ(s.beta), s.wave, times))


def _pair(make: Any) -> Callable[[Setting], Made]:
    """A certificate of two local entropies, the second above the first."""

    def right(s: Setting) -> Made:
        equation, times = pk.ViscousHJ(s.beta), [0, 0.1, 0.3]
        higher = s.solve(equation, lambda x: s.wave(x) + 0.2 * (1 + np.sin(3 * x[..., 0])), times)
        return make(higher), s.solve(equation, s.wave, times)

    return right


def _other_sinks(s: Setting, check: Any, u: Any) -> Made:
    lower = changed(check.above, fields=check.above.fields - _over_time(u, 3 * u.times / 0.3))
    return c.ComparisonPrinciple(lower), u


def _other_leaves(s: Setting, check: Any, u: Any) -> Made:
    fields = check.other.fields + _over_time(u, u.times / 0.3)
    higher = replace(check.other, fields=fields)  # with what the solver noted of its nodes
    return c.NonExpansive(higher), u


def _kinked(s: Setting, u: Any) -> Any:
    """A convex kink in the middle of the box at the last time."""
    fields = u.fields.copy()
    fields[-1] += 3 * np.abs(u.grid.centres[..., 0] - u.grid.spacing[0] / 2)
    return fields


def _heat(s: Setting) -> Made:
    return c.HeatCurvature(), s.solve(pk.Heat(s.beta), s.wave, [0, 0.1, 0.3, 0.6])


def _idle(s: Setting) -> Made:
    equation = pk.HamiltonJacobiBellman(s.potential, s.beta)
    return c.ImprovesOnIdle(), s.solve(equation, s.cost, [0, 0.2, 0.5])


def _agreeing(s: Setting) -> Made:
    """A semigroup: the same equation over half the time twice."""
    whole = s.solve(s.equation, s.start, [0.0, 0.2, 0.4])
    half = s.solve(s.equation, whole.fields[1], [0.2])
    later = np.stack([whole.fields[0], whole.fields[1], half.fields[-1]])
    return c.Agrees(later, 2e-4), whole


def _control(check: Any) -> Callable[[Setting], Made]:
    return lambda s: (check, s.controlled())


def _half_the_value(s: Setting, check: Any, found: Any) -> Made:
    return check, replace(found, value=replace(found.value, fields=found.value.fields / 2))


def _uncontrolled(s: Setting, check: Any, found: Any) -> Made:
    """Effort on paper only: the density does not answer to the control."""
    return check, replace(found, density=replace(found.density, fields=found.idle))


def _particles(check: Any) -> Callable[[Setting], Made]:
    return lambda s: (check, s.simulate(s.beta))


def _moved(change: Callable[[Any], Any]) -> Callable[[Setting, Any, Any], Made]:
    return lambda s, check, e: (check, replace(e, x=e.x.copy(data=change(e.x.values))))


def _lost(x: Any) -> Any:
    x = x.copy()
    x[-1, 3, 0] = np.nan
    return x


def _grown(x: Any) -> Any:
    """Clouds that double their width at every stored time."""
    return x * 2.0 ** np.arange(len(x))[:, None, None]


def _two_starts(s: Setting) -> Made:
    one = s.simulate(s.beta)
    return c.SynchronousContraction(replace(s, start=_shifted(s.start)).simulate(s.beta)), one


def _shifted(law: pk.Gaussian) -> pk.Gaussian:
    return pk.Gaussian(tuple(m + 0.5 for m in law.mean), law.std)


def _law(s: Setting) -> Made:
    grid = pk.Grid((-4,) * s.dim, (4,) * s.dim, (200,) if s.dim == 1 else (100, 100))
    rho = pk.solve(s.equation, grid, s.start, [0.4])
    return c.FollowsLaw(rho, 1e-4), s.simulate(s.beta, [0.4])


def _inert(s: Setting) -> Made:
    V = pk.potentials.Custom(s.potential, s.potential.grad, s.dim)
    motion = pk.UnderdampedLangevin(V, s.beta, friction=2.0)
    return c.Equipartition(), pk.simulate(motion, s.start, 1_000, 8.0, 0.1, seed=s.seed)


def _at_rest(s: Setting) -> Made:
    """Particles of e^{-|x|²} under a rotation-free and stationary Ornstein-Uhlenbeck process."""
    return c.TimeReversal(), _turned(s, 0.0)


def _turning(s: Setting, check: Any, e: Any) -> Made:
    return check, _turned(s, 0.4)


def _turned(s: Setting, angle: float) -> Any:
    """Exact steps: each forgets a share and is turned; the law N(0, I/2) stays."""
    rng, kept = np.random.default_rng(s.seed), np.exp(-0.3)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    x = [rng.normal(0, 0.5**0.5, (1_000, 2))]
    for _ in range(2):
        x.append(kept * x[-1] @ turn + rng.normal(0, (0.5 * (1 - kept**2)) ** 0.5, (1_000, 2)))
    motion = pk.Langevin(pk.potentials.Quadratic((1.0, 1.0)), 2)
    made = pk.simulate(motion, pk.Gaussian((0.0, 0.0), 0.5**0.5), 1_000, [0, 0.3, 0.6], 0.3)
    return replace(made, x=made.x.copy(data=np.array(x)))


def _gibbs(s: Setting) -> Made:
    still = pk.stationary(s.equation, s.grid).values
    return c.Stationary(), s.solve(s.equation, still, 0.0)


CERTIFICATES = [
    Row("mass", _density(c.Mass()), {"a leak": _fields(_leak)}),
    Row("positivity", _density(c.Positivity()), {"a cell": _fields(_one_cell(-1e-15))}),
    Row("free energy", _density(c.FreeEnergyDecay()), {"backwards": _fields(_backwards)}),
    Row(
        "dissipation",
        _density(c.DissipationIdentity()),
        {"a slow clock": _slow_clock, "another temperature": _warm},
    ),
    Row("spectral gap", _density(c.SpectralGapDecay()), {"stuck": _fields(_stuck)}),
    Row("Bakry-Emery", _density(c.BakryEmery()), {"stuck": _fields(_stuck)}, convex=True),
    Row("W2", _contraction, {"frozen": _frozen_pair}, convex=True, examples=6),
    Row("detailed balance", _density(c.DetailedBalance()), {"driven": _driving}, examples=4),
    Row(
        "broken balance",
        lambda s: (c.BrokenBalance(), _driven(s)),
        {"nothing drives": _reversible},
        examples=4,
    ),
    Row(
        "second law",
        lambda s: (c.SecondLaw(), _driven(s)),
        {"a slow clock": _slow_clock},
        examples=4,
    ),
    Row("stationary", _gibbs, {"another temperature": _other_gibbs}),
    Row("duality", _duality, {"another temperature": _other_backward}),
    Row("maximum", _backward(c.MaximumPrinciple()), {"overshoot": _fields(_one_cell(1.1))}),
    Row(
        "maximum of local entropy",
        _entropy(c.MaximumPrinciple()),
        {"undershoot": _fields(_one_cell(-1.2))},
    ),
    Row("comparison", _pair(c.ComparisonPrinciple), {"the upper sinks": _other_sinks}),
    Row("distances", _pair(c.NonExpansive), {"the other leaves": _other_leaves}),
    Row("Jensen", _entropy(c.JensenBounds()), {"lifted": _fields(_risen(3.0))}),
    Row(
        "semiconcavity",
        _entropy(c.Semiconcave(constants=(4.0))),
        {"a kink": _fields(_kinked)},
        dims=(1,),
    ),
    Row(
        "semiconcavity in the plane",
        _entropy(c.Semiconcave(constants=(4.0, 1e-3))),
        {"a kink": _fields(_kinked)},
        dims=(2,),
    ),
    Row("heat", _heat, {"backwards": _fields(_backwards)}),
    Row("idle cost", _idle, {"risen": _fields(_risen(20.0))}),
    Row("agreement", _agreeing, {"risen": _fields(_risen(1e-3))}),
    Row(
        "control's duality",
        _control(c.ControlDuality()),
        {"half the value": _half_the_value, "uncontrolled": _uncontrolled},
        dims=(1,),
    ),
    Row("improvement", _control(c.Improvement()), {"uncontrolled": _uncontrolled}, dims=(1,)),
    Row(
        "improvement identity",
        _control(c.ImprovementIdentity()),
        {"half the value": _half_the_value},
        dims=(1,),
    ),
    Row("contained", _particles(c.Contained()), {"one is lost": _moved(_lost)}),
    Row("spread", _particles(c.Spread()), {"growing": _moved(_grown)}, convex=True),
    Row(
        "paths",
        _two_starts,
        {
            "apart": lambda s, check, e: (
                replace(
                    check, other=replace(check.other, x=check.other.x + 3 * check.other.x["time"])
                ),
                e,
            )
        },
        convex=True,
    ),
    Row("law", _law, {"hot": lambda s, check, e: (check, s.simulate(0.4 * s.beta, [0.4]))}),
    Row(
        "equipartition",
        _inert,
        {"hot": lambda s, check, e: (check, replace(e, p=1.3 * e.p))},
        dims=(1,),
    ),
    Row("area", _at_rest, {"turning": _turning}, dims=(2,)),
]
"""Every certificate of ``pdekit.certificates``; each on random settings of its ``dims``."""
