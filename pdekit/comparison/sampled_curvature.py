"""Semiconcavity from particles: the Hessian of the local entropy from the fast process."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from pdekit.arrays import Array
from pdekit.checks import (
    finite,
    inverse_temperature,
    number,
    one_of,
    parameters,
    positive,
    shown,
    whole,
)
from pdekit.comparison.certificates.certificate import (
    Certificate,
    Certificates,
    at_most,
    does_not_apply,
)
from pdekit.differences import hessian
from pdekit.errors import AccuracyWarning
from pdekit.particles.dynamics.langevin import Langevin
from pdekit.particles.ensemble import simulate
from pdekit.particles.integrators import LeimkuhlerMatthews
from pdekit.potentials import Quadratic, Sum, as_potential
from pdekit.protocols import Function, Numbers

_RELAXED = 8.0  # duration of the fast process, in relaxation times
_SMALL_STEP = 0.05  # dt times the largest curvature
_CURVED = 1e-3  # tolerance of the curvatures


@dataclass(frozen=True)
class SampledCurvature:
    """∇u and Hess u of the local entropy u(., t) at points, from samples, with standard errors.

    ``data``: over ``point``: ``x`` (point, i), ``gradient`` and ``gradient_error`` (point, i),
    ``hessian`` and ``hessian_error`` (point, i, j), ``trace_error`` and ``harmonic`` (harmonic mean
    of the eigenvalues, NaN unless all are positive), ``harmonic_error``. ``rate``: least eigenvalue
    of Hess V + I/t observed, the relaxation rate of the fast process (<= 0: no rate is known,
    and errors are those of the samples only).
    """

    data: xr.Dataset
    t: float
    beta: float
    rate: float

    def __post_init__(self) -> None:
        one_of("SampledCurvature: data", self.data, "a Dataset", xr.Dataset)
        parameters(self, t=positive, rate=number)
        inverse_temperature(self.beta)

    def __str__(self) -> str:
        lines = [f"{'x':>22} {'Hess u, its diagonal':>26} {'standard error':>15}"]
        for k in range(self.data.sizes["point"]):
            at = self.data.isel(point=k)
            diagonal, error = np.diag(at["hessian"].values), np.diag(at["hessian_error"].values)
            shown = [" ".join(f"{v:.4g}" for v in row) for row in (at["x"].values, diagonal, error)]
            lines.append(f"{shown[0]:>22} {shown[1]:>26} {shown[2]:>15}")
        return "\n".join(lines)

    def certificates(
        self,
        constants: ArrayLike,
        level: float = 1e-3,
        minima: bool = False,
        directions: Sequence[tuple[ArrayLike, float]] = (),
    ) -> Certificates:
        """The bounds of mathematics 1.8 at the points: per direction, Laplacian, harmonic mean.

        ``constants``: C_k = sup V_kk per axis (inf allowed). Allowance at each point: the normal
        quantile of ``level`` divided among the points, times the standard error. ``minima``: the
        points are local minima of u(., t), so that the bound of the harmonic mean is
        included (this is its hypothesis). ``directions``: more of them, pairs of a vector v and
        C_v = sup V_vv; the error of u_vv is at most Σ |v_i v_j| times that of u_ij.
        """
        d, data = self.data.sizes["i"], self.data
        c = np.broadcast_to(np.asarray(constants, dtype=float), (d,))
        quantile = NormalDist().inv_cdf(1 - level / data.sizes["point"])
        rows = []
        for k in range(d):
            measured = data["hessian"].values[:, k, k], data["hessian_error"].values[:, k, k]
            rows.append(self._row(f"sup u_{k + 1}{k + 1}", *measured, c[k], self.t, quantile))
        rows += [self._along(v, float(bend), quantile) for v, bend in directions]
        trace = np.trace(data["hessian"].values, axis1=1, axis2=2)
        total = float(c.sum())
        rows.append(self._row("sup laplacian", trace, data["trace_error"].values, total,
                              self.t / d, quantile))  # fmt: skip
        rows.append(self._harmonic(c, quantile, minima))
        return Certificates(tuple(rows))

    def _along(self, v: ArrayLike, c: float, quantile: float) -> Certificate:
        unit = np.asarray(v, dtype=float)
        if unit.shape != (self.data.sizes["i"],) or not (unit**2).sum() > 0:
            raise ValueError(f"a direction has {self.data.sizes['i']} coordinates, got {v!r}")
        unit = unit / np.linalg.norm(unit)
        values = np.einsum("pij,i,j->p", self.data["hessian"].values, unit, unit)
        weights = np.abs(np.outer(unit, unit))
        errors = np.einsum("pij,ij->p", self.data["hessian_error"].values, weights)
        name = f"sup u_vv, v = ({', '.join(f'{x:.3g}' for x in unit)})"
        return self._row(name, values, errors, c, self.t, quantile)

    def _harmonic(self, c: Array, quantile: float, minima: bool) -> Certificate:
        name = "harmonic mean at minima"
        if not minima:
            return does_not_apply(name, "the points are not said to be minima of u(., t)")
        if not (c > 0).all():
            return does_not_apply(name, f"C = {c.tolist()} is not positive")
        if np.isnan(self.data["harmonic"].values).any():
            return does_not_apply(name, "Hess u is not positive definite at a point")
        with np.errstate(divide="ignore"):
            mean = len(c) / float((1 / c).sum()) if np.isfinite(c).any() else inf
        measured = self.data["harmonic"].values, self.data["harmonic_error"].values
        return self._row(name, *measured, mean, self.t, quantile)

    def _row(
        self, name: str, values: Array, errors: Array, c: float, t: float, quantile: float
    ) -> Certificate:
        if not c > 0:
            return does_not_apply(name, f"C = {c:.4g} <= 0, the lemma does not apply")
        bound = 1 / (1 / c + t)
        k = int(np.argmax(values - quantile * errors))
        where = f"t = {self.t:g}, x = " + ", ".join(f"{v:.4g}" for v in self.data["x"].values[k])
        note = f"at {len(values)} points, allowance {quantile:.3g} standard errors"
        return at_most(name, values[k], bound, quantile * float(errors[k]), where, note)


def sampled_curvature(
    potential: Function,
    beta: float,
    t: float,
    points: Numbers,
    n: int = 10_000,
    dt: float | None = None,
    duration: float | None = None,
    seed: int = 0,
) -> SampledCurvature:
    """∇u and Hess u of the local entropy u(., t) of V at ``points``, from the fast process.

    u = -β⁻¹ log(G_{t/β} * exp(-β V)). With y distributed as exp(-β (V(y) + |x - y|²/(2t))) / Z::

        ∇u = (x - E y) / t        Hess u = (I - β Cov(y) / t) / t

    ``n`` particles per point run ``Langevin`` in that energy from the point (and noise), for
    ``duration`` and in steps ``dt``; each is one independent sample, so the standard errors are
    those of means. ``points``: (m, d), or (m,) on a line.

    The samples follow the Gibbs law once the process has relaxed, exponentially at
    the rate c, where Hess V + I/t >= c > 0. Defaults: 8 / c (16 t if no c > 0 is found: then
    choose it yourself), and dt of 0.05 over the largest curvature seen, by Leimkuhler and Matthews'
    step, whose bias is of order dt². Mathematics 1.2, 1.8, 1.9 (errata 2: noise sqrt(2/β)).

    Warns (``AccuracyWarning``) if no c > 0 is found and no duration is given. Raises
    ``ValueError`` for t <= 0, points of another dimension, or dt > duration. Good values:
    n = 10,000 is right to 0.02 / t.
    """
    t, beta = number("t", t), inverse_temperature(beta)
    if not t > 0:
        raise ValueError(f"t must be positive (at t = 0 u is V itself), got {t!r}")
    n, seed = whole("n", n, 2), whole("seed", seed, 0)
    duration = None if duration is None else positive("duration", duration)
    dt = None if dt is None else positive("dt", dt)
    at = finite("points", points)
    at = at[:, None] if at.ndim == 1 else at
    if at.ndim != 2 or not at.size:
        raise ValueError(f"points must have shape (m, d), or (m,) on a line, got {shown(points)}")
    energy = as_potential(potential, at.shape[-1])
    known = getattr(energy, "dim", None)
    if known is not None and known != at.shape[1]:
        raise ValueError(f"points must have shape (m, {known}), got {np.shape(points)}")
    least, most = _curvatures(energy, at, beta, t)
    rate = least + 1 / t
    if rate <= 0 and duration is None:
        warnings.warn(
            f"Hess V + 1/t has the value {rate:.3g} where the particles go, so no rate is known at "
            f"which they forget their start; errors after {2 * _RELAXED * t:.3g} are those of the "
            "samples only: choose a duration, and compare with twice as long",
            AccuracyWarning,
            stacklevel=2,
        )
    long = duration or (_RELAXED / rate if rate > 0 else 2 * _RELAXED * t)
    if dt is not None and dt > long:
        raise ValueError(f"dt must be at most the duration, {long:.3g}, got {dt:g}")
    short = dt or _SMALL_STEP / max(most + 1 / t, 1 / t)
    rows = [
        _moments(_samples(energy, beta, t, x, (n, long, short, seed + k)), x, beta, t)
        for k, x in enumerate(at)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    dims: dict[int, tuple[str, ...]] = {1: ("point",), 2: ("point", "i"), 3: ("point", "i", "j")}
    data = xr.Dataset({name: (dims[v.ndim], v) for name, v in columns.items()})
    return SampledCurvature(data, float(t), float(beta), float(rate))


def _samples(
    energy: Any, beta: float, t: float, x: Array, how: tuple[int, float, float, int]
) -> Array:
    n, long, short, seed = how
    confined = Sum((energy, Quadratic(1 / t, len(x)).shifted(x)))
    fast = Langevin(confined, beta, LeimkuhlerMatthews())
    start = np.random.default_rng((seed, 20)).standard_normal((n, len(x))) * sqrt(t / beta)
    found = simulate(fast, x + start, n, long, short, seed=seed)
    return np.asarray(found.final.values, dtype=float)


def _moments(y: Array, x: Array, beta: float, t: float) -> dict[str, Any]:
    n, d = y.shape
    mean = y.mean(0)
    product = np.einsum("ni,nj->nij", y - mean, y - mean)
    covariance = product.sum(0) / (n - 1)
    hessian = (np.eye(d) - beta * covariance / t) / t
    scale = beta / (t * t * sqrt(n))
    eigenvalues = np.linalg.eigvalsh(hessian)
    harmonic = error = np.nan
    if eigenvalues[0] > 0:
        inverse = np.linalg.inv(hessian)
        harmonic = d / np.trace(inverse)
        # by the delta method: d HM = HM²/d tr(H⁻¹ dH H⁻¹)
        gain = inverse @ inverse * harmonic**2 / d
        error = scale * float(np.einsum("nij,ij->n", product, gain).std())
    return {
        "x": x,
        "gradient": (x - mean) / t,
        "gradient_error": y.std(0) / (t * sqrt(n)),
        "hessian": hessian,
        "hessian_error": scale * product.std(0),
        "trace_error": scale * float(np.trace(product, axis1=1, axis2=2).std()),
        "harmonic": harmonic,
        "harmonic_error": error,
    }


def _curvatures(energy: Any, at: Array, beta: float, t: float) -> tuple[float, float]:
    """Least and largest eigenvalue of Hess V seen where the fast process goes from the points."""
    visited = _visited(energy, at, beta, t)
    if not len(visited):
        raise ValueError(
            f"{energy!r} is not finite around the points {at.tolist()[:3]}; give points in which V "
            "and its neighbourhood are"
        )
    eigenvalues = np.linalg.eigvalsh(hessian(energy.grad, visited, _CURVED))
    return float(np.min(eigenvalues)), float(np.max(eigenvalues))


def _visited(energy: Any, at: Array, beta: float, t: float) -> Array:
    """Places along the axes and down the slope, ``(n, d)``, where the process starts or stays.

    From x it starts within a few √(t/β), and stays where V(y) + |x - y|²/(2t) <= V(x) + (a few)/β,
    so that |x - y| is at most √(2t (V(x) - inf V)) and a few √(t/β).
    """
    slope = np.asarray(energy.grad(at), dtype=float)
    width = 3 * sqrt(t / beta)
    directions = [*np.eye(at.shape[1])[:, None], slope / _norm(slope).clip(np.finfo(float).tiny)]
    ways = np.stack([np.broadcast_to(v, at.shape) for v in directions])

    def around(reach: float) -> Array:
        return np.asarray(at + reach * np.linspace(-1, 1, 41)[:, None, None, None] * ways)

    def falls(y: Array) -> Array:
        found: Array = np.asarray(energy(at), dtype=float) - np.asarray(energy(y), dtype=float)
        return found

    reach = width + t * float(np.abs(slope).max())
    deep = float(np.nanmax(falls(around(reach))))
    y = around(min(reach, width + sqrt(2 * t * max(deep, 0.0))))
    far = _norm(y - at)[..., 0]
    return y[(far <= width) | (far**2 / (2 * t) <= falls(y) + width**2 / (2 * t))]


def _norm(x: Array) -> Array:
    return np.asarray(np.linalg.norm(x, axis=-1, keepdims=True))
