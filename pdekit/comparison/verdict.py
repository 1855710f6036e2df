"""What a comparison of particles and a density found, and the verdict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.checks import number
from pdekit.comparison.diagnosis_words import listed
from pdekit.comparison.distances import combined
from pdekit.errors import AccuracyWarning

INDEPENDENT, RUNS, INDICATIVE = (
    "independent particles",
    "independent runs of particles that act on each other",
    "independent particles, though these act on each other: the p-value is only indicative",
)
"""What the null hypothesis draws (``attrs["null"]``)."""


@dataclass(frozen=True)
class Comparison:
    """Distances between particles and a density, and the verdict, for each time.

    ``data`` is a Dataset over ``time``. Distances: ``l1`` and ``kl`` (on pooled bins), ``w1``,
    ``ks``, ``chi2`` (with ``bins``), scores ``mean_z`` and ``variance_z`` (over ``axis``). A
    ``floor_*`` is what an ensemble of the same size drawn from the density itself would show on
    average. ``outside`` is the fraction of particles beyond the walls, ``expected_outside`` the
    estimated fraction cut off by the box. ``p_parameters`` is that of the standard ``score`` along
    each ``parameter``, where the density has such (see ``compare``), and ``parameters`` the one of
    all times together. ``p_broad``, ``p_smooth``, ``p_rest`` and ``p_outside`` (beyond the walls,
    or where the density is next to nothing) belong to one test each, ``others`` combines them and
    ``p_value`` all. ``p_mean``, ``p_second``, ``p_ks`` and ``p_chi2`` are for information and not
    part of it. ``blur`` is the discretisation error (see ``compare``), ``blurred``
    the p-value if the cells had twice that error.
    For requested metrics, ``<name>``, ``floor_<name>``, ``p_<name>`` and their
    joint p-value ``p_metrics`` are included.
    """

    data: xr.Dataset
    compared: tuple[Any, Any] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def diagnosis(self) -> xr.Dataset:
        """What is wrong: over ``parameter`` (``beta``, ``drift``, ``clock``) the factor of it that
        makes the particles most likely, all else as in the equation; of ``step``, in units of time,
        the size of an integrator's steps that does.

        Of the integrator of the ensemble's dynamics, of Euler's and Maruyama's where there is no
        dynamics, the leading term of the modified equation is used; second-order ones have none.
        ``estimate`` with ``lower`` and ``upper``, an interval that holds the factor in 95 % of
        cases if that parameter alone is wrong; ``p_alone``, the p-value that it alone explains the
        particles, and ``explained``, the share of the chi-square of all scores that it explains;
        ``blur``, by how much the cells alone may shift the factor (an
        ``AccuracyWarning`` from half of the interval on); ``attrs["p_value"]``, that all agree, and
        ``attrs["words"]``, in a line. For independent particles with positions, and densities of
        ``solve`` whose coefficients are fixed in time (see ``sensitivity``). A parameter of which
        no factor makes the particles likely, or that they do not show, has a NaN. Raises
        ``ValueError`` and ``TypeError`` for others.
        """
        if self.compared is None or self.data.attrs["null"] != INDEPENDENT:
            raise ValueError(
                "a diagnosis is of independent particles compared with a solution by compare; got "
                f"{self.data.attrs.get('null')}"
            )
        from pdekit.comparison.diagnosis import diagnosis

        return diagnosis(*self.compared)

    @property
    def p_value(self) -> float:
        """All times together: the smallest p-value times the number of times (Bonferroni); of the
        scores of parameters the one of all times by their joint law.
        """
        return self._of_all_times("p_value", "parameters", "others")

    @property
    def p_blurred(self) -> float:
        """The same with the errors of the cells taken off: from ``level`` on they may be why."""
        return self._of_all_times("blurred", "parameters_blurred", "others_blurred")

    def _of_all_times(self, every: str, parameters: str, others: str) -> float:
        if parameters not in self.data:
            return self._least(every)
        ended = [name for name in _ENDED if f"p_{name}" in self.data]
        p = outer(float(self.data[parameters]), self._least(others), ended)
        return p if "p_metrics" not in self.data else min(1.0, 2 * min(p, self._least("p_metrics")))

    def _least(self, name: str) -> float:
        p = self.data[name].values
        return float(min(1.0, p.size * p.min()))

    def consistent(self, level: float = 0.01) -> bool:
        """Whether the particles follow the density at every time, with false alarms <= ``level``.

        A single test of the hypothesis that all times agree. The p-value of a time already accounts
        for the tests behind it, which are independent for many particles. Scores of parameters are
        added up over the times, by their correlation over the particles; the other tests are
        corrected for the number of times by Bonferroni, which holds under any dependence.
        Warns (``AccuracyWarning``) where it is False and too coarse cells may be the reason. Raises
        ``ValueError`` unless ``0 < level < 1``. Good values: 0.01, 0.001.
        """
        level = checked_level(level)
        if self.p_value >= level:
            return True
        if level <= self.p_blurred:
            worst = self.data.isel(time=int(self.data["p_value"].values.argmin()))
            warnings.warn(
                f"rejected at t = {worst['time'].item():g}, but the cells are too coarse to "
                f"decide: centre value and average of a cell differ by {worst['blur'].item():.2g} "
                "standard errors of these particles; take more cells",
                AccuracyWarning,
                stacklevel=2,
            )
        return False

    @property
    def indicative(self) -> bool:
        """Whether the p-values treat interacting particles as independent."""
        return bool(self.data.attrs["null"] == INDICATIVE)

    def findings(self, level: float = 0.01) -> xr.DataArray:
        """Which tests reject, and when: booleans over ``("time", "test")``.

        Holm's procedure over every time and test: the probability of one or more false findings
        among all of them is at most ``level``, under any dependence. Raises ``ValueError`` unless
        ``0 < level < 1``.
        """
        level = checked_level(level)
        names = [str(k) for k in self.data if str(k).startswith("p_")]
        tests = [k for k in names if k not in ("p_value", "p_layers", "p_metrics")]
        p = self.data[tests].to_dataarray("test").transpose("time", "test")
        return p.assign_coords(test=[k[2:] for k in tests]).copy(data=_holm(p.values, level))

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = f"{'time':>10} {'l1 (floor)':>21} {'w1 (floor)':>21} {'kl':>10} {'p':>9}"
        n, runs = self.data.attrs["particles"], self.data.attrs["runs"]
        title = f"{n} particles" + (f" ({runs} runs pooled)" if runs > 1 else "")
        lines = [f"{title} against the density; {self.data.attrs['w1']}", head, *self._rows()]
        if self.data.attrs["null"] != INDEPENDENT:
            lines.append(f"null: {self.data.attrs['null']}")
        return "\n".join([*lines, *self._diagnosed()])

    def _diagnosed(self) -> list[str]:
        """What is wrong, where it was looked for: computed on a line, where that is quick."""
        if "parameters" not in self.data or self.compared is None:
            return []
        names = [str(name) for name in self.data["parameter"].values if name != "step"]
        if float(self.data["parameters"]) >= _AGREES:
            return [f"{listed(names)} agree{'s' if len(names) == 1 else ''} with the equation"]
        if self.compared[0].grid.dim > 1:
            return [f"{listed(names)} do not agree with the equation; .diagnosis says which"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a string warns of nothing; .diagnosis does
            return [str(self.diagnosis.attrs["words"])]

    def _rows(self) -> list[str]:
        rows = []
        for time in self.data["time"].values:
            v = {name: self.data[name].sel(time=time).item() for name in _COLUMNS}
            l1, w1 = (f"{v[m]:.3g} ({v['floor_' + m]:.3g})" for m in ("l1", "w1"))
            rows.append(f"{time:>10.4g} {l1:>21} {w1:>21} {v['kl']:>10.3g} {v['p_value']:>9.2g}")
        return rows


_AGREES = 0.01
PARAMETERS, OTHERS, _ENDED = 0.95, 0.05, {"survival": 0.2, "exits": 0.2}


def outer(parameters: float, others: float, ended: Sequence[str] = ()) -> float:
    """The p-value of the scores of parameters and of all other tests, which are independent.

    ``ended``: tests of the particles that stop among the others.
    """
    rest = OTHERS + sum(_ENDED[name] for name in ended)
    shares = {"parameters": PARAMETERS, "others": rest}
    return combined({"parameters": parameters, "others": others}, shares)


_COLUMNS = ("l1", "floor_l1", "w1", "floor_w1", "kl", "p_value")


def checked_level(level: float) -> float:
    value = number("level", level, "a false-alarm probability in (0, 1)")
    if not 0 < value < 1:
        raise ValueError(f"level must be a probability of false alarms in (0, 1), got {level!r}")
    return value


def _holm(p: Array, level: float) -> NDArray[np.bool_]:
    flat = p.ravel()
    order = np.argsort(flat)
    passed = np.cumprod(flat[order] <= level / (flat.size - np.arange(flat.size))).astype(bool)
    found = np.zeros(flat.size, dtype=bool)
    found[order] = passed
    return found.reshape(p.shape)
