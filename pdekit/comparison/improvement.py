"""The improvement theorem by Monte Carlo: particles with and without control, equal noise."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.estimate import Estimate
from pdekit.pde.control.control import Control
from pdekit.potentials import Evolving, Tabulated
from pdekit.protocols import Start


@dataclass(frozen=True)
class SampledImprovement:
    """The terms of the theorem, measured on particles; the fields of ``Control.improvement``.

    ``gap`` = plain - controlled - effort and ``exact`` = E_plain ∫|∇u|^2 / 2 are formed particle by
    particle, with the same noise on both sides, and so is ``difference`` = gap - exact, whose mean
    is zero. Each interval (normal) covers at ``level``, apart from the time step's error.
    """

    plain: Estimate
    controlled: Estimate
    effort: Estimate
    gap: Estimate
    exact: Estimate
    difference: Estimate
    level: float

    def passed(self, slack: float = 0.0) -> bool:
        """Whether gap >= 0 and the identity are not rejected at ``level``."""
        return self.gap.upper >= -slack and self.difference.covers(0.0, slack)


def improvement(
    control: Control, initial: Start, n: int, dt: float, seed: int = 0, level: float = 0.99
) -> SampledImprovement:
    """Measure the improvement theorem for a computed ``control`` (``pk.control``) on particles.

    gap = E cost(plain) - E cost(controlled) - E ∫|α|^2 / 2 >= 0, equal to E_plain ∫|∇u|^2 / 2
    (mathematics 1.7; thesis, theorem 4.11). ``n`` particles from ``initial`` move as ``Langevin``
    and as ``ControlledLangevin`` in the box of the control's grid, in steps of at most ``dt``;
    integrals over time run over the times of ``control.dense`` (trapezoidal rule), at least a
    hundred. Good values: n = 20,000, dt a twentieth of the fastest time of V + u.
    """
    checks.has("control", control, "a Control, what pk.control returns", "value", "density")
    level = checks.share("level", level)
    control = control.dense
    value, equation = control.value, control.value.equation
    times, grid = value.times, value.grid
    u = value.potential()
    # the first that need torch
    from pdekit.particles.dynamics.controlled import ControlledLangevin
    from pdekit.particles.dynamics.langevin import Langevin
    from pdekit.particles.ensemble import simulate

    alone = Langevin(equation.potential, equation.beta, box=grid)
    steered = ControlledLangevin(equation.potential, equation.beta, u, box=grid)
    plain, controlled = (
        np.asarray(simulate(motion, initial, n, times, dt, seed=seed).x.values)
        for motion in (alone, steered)
    )
    cost = _costs(control)
    cost_plain, square_plain = cost(plain), _half_square(u, times, plain)
    cost_controlled, effort = cost(controlled), _half_square(u, times, controlled)
    gap = cost_plain - cost_controlled - effort
    return SampledImprovement(
        plain=_estimate(cost_plain, level),
        controlled=_estimate(cost_controlled, level),
        effort=_estimate(effort, level),
        gap=_estimate(gap, level),
        exact=_estimate(square_plain, level),
        difference=_estimate(gap - square_plain, level),
        level=level,
    )


def _costs(control: Any) -> Any:
    """Paths (time, particle, dim) -> terminal and running cost of every particle."""
    value = control.value
    axes = value.grid.axes if value.grid.dim > 1 else value.grid.axes[0]
    terminal = Tabulated(axes, control.terminal_cost)
    if control.running_cost is None:
        return lambda paths: np.asarray(terminal(paths[-1]))
    running = Evolving(value.times, axes, control.running_cost)

    def total(paths: Array) -> Array:
        rates = np.stack([running.at(t)(x) for t, x in zip(value.times, paths, strict=True)])
        out: Array = terminal(paths[-1]) + np.trapezoid(rates, value.times, axis=0)
        return out

    return total


def _half_square(u: Any, times: Array, paths: Array) -> Array:
    """∫|∇u(X_t, t)|^2 / 2 dt along every path."""
    slopes = np.stack([u.at(t).grad(x) for t, x in zip(times, paths, strict=True)])
    out: Array = np.trapezoid((slopes**2).sum(-1) / 2, times, axis=0)
    return out


def _estimate(samples: Array, level: float) -> Estimate:
    mean, spread = float(samples.mean()), float(samples.std(ddof=1)) / len(samples) ** 0.5
    reach = NormalDist().inv_cdf((1 + level) / 2) * spread
    return Estimate(mean, mean - reach, mean + reach)
