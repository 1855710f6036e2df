"""Does a ReLU network find the coordinates that matter, and does SGD follow its equation?

Report 3.2.2, (39), (40), figure 9, after Mei, Montanari and Nguyen: two centred Gaussians differ in
the width 1 ± Δ of s₀ coordinates and are alike in d - s₀, for N neurons a max(<w, x> + b, 0) with
a, b and w trained. The report prints neither d, s₀, N, Δ nor the start. Here d = 320, s₀ = 60,
N = 800, Δ = 1/2, w ~ N(0, 0.64 I/d), and three starts: a = ±1, b = 0; a = 1, b = 0; a = b = 1.

* "SGD runs fail to match the PDE profiles exactly": so it is for the equation of d = ∞, whose risk
  from both signs is 0.171 at t = 6 where SGD has 0.202. What is missing is mainly 1/d, not 1/N: in
  finite d neurons see correlated numbers, of mean square 1/d, which adds features of second degree
  to the kernel. With them, and finite N, SGD is within 0.005, once its own noise (∝ dt/batch) is
  extrapolated away. Gradient flow of a whole network, without noise, agrees as well. The risk ends
  at 0.041, not at zero as for d = ∞.
* The excess of finite N is below Var σ*/N: the part of the chance that is linear in x, three
  quarters of it, is itself trained away, as a Volterra equation says.
* The start decides. Every neuron keeps a² - b² - |w|². From a = 1, b = 0 it is positive, so no a
  ever changes its sign, ŷ >= 0 on both classes and the risk stays above 1/2 for ever, by SGD also.
  From a = b = 1 it is negative: after a plateau near 1 some a turn, and the risk ends at 0.041 too.
* Neurons of a > 0 turn to the coordinates that matter: their weights there grow, in the others they
  fade, to a hundredth by t = 8 from a = 1, b = 0. From both signs the network does not forget the
  others: neurons of a < 0 turn to these, as the level to compare with.

Equations: mathematics 1.13.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy import integrate
from scipy.stats import chi, qmc
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks.relu_classes import ReluClasses

Array = np.ndarray

DIMS, DELTAS = (60, 260), (0.5, 0.0)
DIM = sum(DIMS)
TASK = ReluClasses(DIMS, DELTAS)
KAPPA = 0.8  # w ~ N(0, κ²/d)
STARTS = {"a = ±1, b = 0": ((1, -1), 0.0), "a = 1, b = 0": ((1,), 0.0), "a = b = 1": ((1,), 1.0)}
BOTH, ONE, TURNING = STARTS
TIMES = (2.0, 4.0, 6.0, 8.0)
LATE = tuple(np.arange(9.0, 33.0))
STEP = 0.1  # between the times of the equation up to TIMES[-1]
POINTS = 256
LEVEL = 3.3  # standard errors
NEAR = 0.005


@dataclass(frozen=True)
class Networks:
    """Networks of N neurons: risks on all data (runs, TIMES), and neurons z (runs, TIMES, N, 4)."""

    n: int
    noise: float  # dt/batch
    risks: Array
    z: Array
    error: float  # of the risks' series


@dataclass(frozen=True)
class Start:
    """One start by the equation, at times 0, STEP, ..., TIMES[-1] and LATE, and by networks."""

    times: Array
    z: Array  # characteristics (times, points, 4)
    risks: Array
    limit: Array  # risks for d = ∞
    variance: Array  # mean Var σ*
    relaxed: Array  # what is left of it, at times up to TIMES[-1]
    finer: Array  # risks at TIMES by four times as many points
    stepped: Array  # and by pdekit's particles
    trained: tuple[Networks, Networks]  # SGD, the noisier first
    flow: Networks


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    starts: dict[str, Start]
    allowance: float  # for the curvature of SGD's risk in dt/batch
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer neurons, data and runs.")] = False,
    samples: Annotated[int | None, typer.Option(min=2000, help="Data of the longest run.")] = None,
    neurons: Annotated[int | None, typer.Option(min=20, help="N of SGD.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of starts and data.")] = 0,
) -> Results:
    """Solve the equations, then train networks from the same three starts."""
    neurons, samples = neurons or (300 if quick else 800), samples or (40_000 if quick else 240_000)
    runs, dt = (2, 0.08) if quick else (3, 0.04)
    starts = {}
    with tqdm(total=3 * len(STARTS), desc="variable_selection") as bar:
        for name in STARTS:
            equation = _equation(name)
            bar.update()
            flow = _flow(name, neurons // 2, seed)
            bar.update()
            seeds = range(seed, seed + runs)
            trained = tuple(_trained(name, neurons, count, dt, seeds)
                            for count in (samples // 3, samples))  # fmt: skip
            starts[name] = Start(**equation, trained=trained, flow=flow)
            bar.update()
    noise = starts[BOTH].trained[1].noise
    results = Results(starts, 0.0 if noise < 4e-5 else 150 * noise, {})
    results.numbers.update(_numbers(results))
    return results


# ---- the equation --------------------------------------------------------------------------------


def _start(name: str, n: int) -> Array:
    """z of n neurons: a, b as they are, radii at quantiles of their law, evenly in the plane, the
    same for each sign of a."""
    signs, b = STARTS[name]
    levels = qmc.Sobol(len(DIMS), rng=0).random_base2(math.ceil(math.log2(n / len(signs))))
    radii = chi.ppf(levels[: n // len(signs)], DIMS) * KAPPA / DIM**0.5
    return np.concatenate([np.column_stack([np.full((len(radii), 2), (a, b)), radii])
                           for a in signs])  # fmt: skip


def _equation(name: str) -> dict[str, Array]:
    """The risk of the characteristics of the reduced equation, in d = 320 and in d = ∞."""
    times = np.arange(0, TIMES[-1] + STEP / 2, STEP)
    all_times, at = np.concatenate([times, LATE]), _at(times)
    network, limit = pk.TwoLayerNetwork(TASK), pk.TwoLayerNetwork(ReluClasses(DIMS, DELTAS, False))
    z = _characteristics(network, _start(name, POINTS), all_times)
    without = _characteristics(limit, _start(name, POINTS), all_times)
    finer = _characteristics(network, _start(name, 4 * POINTS), times[at])
    variance = TASK.variance(z).mean(-1)
    return {
        "times": all_times, "z": z, "risks": network.risk(z), "limit": limit.risk(without),
        "variance": variance, "relaxed": variance[: len(times)] + _linear(z[: len(times)]),
        "finer": network.risk(finer), "stepped": network.risk(_stepped(network, name)),
    }  # fmt: skip


def _at(times: Array) -> Array:
    """Where TIMES are."""
    return np.searchsorted(times, np.array(TIMES) - STEP / 2)


def _characteristics(network: pk.TwoLayerNetwork, start: Array, times: Array) -> Array:
    """z' = -∇(2V) - ∫∇(2U) rho, the transport's weak solution from points of equal mass."""
    law, shape, masses = network.law(), start.shape, np.full(len(start), 1 / len(start))
    force: Any = law.interaction

    def velocity(t: float, flat: Array) -> Array:
        z = flat.reshape(shape)
        return -(law.potential.grad(z) + force.slope(z, z, masses)).ravel()

    found = integrate.solve_ivp(velocity, (0, times[-1]), start.ravel(), t_eval=times, rtol=1e-6,
                                atol=1e-9)  # fmt: skip
    return found.y.T.reshape(-1, *shape)


def _stepped(network: pk.TwoLayerNetwork, name: str, dt: float = 0.02) -> Array:
    """The same at TIMES by Euler's steps of ``InteractingLangevin`` without noise, less the first
    order of their error."""
    law = network.law()
    dynamics = pk.InteractingLangevin(law.potential, math.inf, law.interaction)
    one, two = (
        pk.simulate(dynamics, _start(name, POINTS), POINTS, TIMES, h).x.values for h in (dt, 2 * dt)
    )
    return 2 * one - two


def _linear(z: Array) -> Array:
    """N times what training takes off Var σ*/N: (times,), from characteristics (times, n, 4).

    The part of ŷ on class y that is linear in x has the slope M_y = N⁻¹ Σ A_y w, A = a Φ(b/s), in
    each block. At first it is chance, of E |M|² = <(A |w|)²>/N. A neuron's w is pushed back along
    it: with r = |w| and c_y = (1 + y Δ)²,

        M_y(t) = (chance)_y(t) - Σ_y' c_y' ∫_0^t <A_y(t) r(t) A_y'(s)/r(s)> M_y'(s) ds,

    solved here by trapezoids. The risk changes by Σ c_y (E |M_y|² - E |chance|²)/2.
    """
    size, n = len(z), z.shape[1]
    widths = TASK.classes.features.widths(z[..., 2:])
    slope = z[..., 0] * torch.special.ndtr(torch.tensor(z[..., 1] / np.array(widths))).numpy()
    weights = np.tril(np.full((size, size), STEP))
    weights[:, 0] /= 2
    weights[np.diag_indices(size)] /= 2
    weights[0] = 0
    change = np.zeros(size)
    for k, delta in enumerate(DELTAS):
        c, r = np.array([1 + delta, 1 - delta])[:, None, None] ** 2, z[..., 2 + k]
        rows = (slope * r).reshape(2 * size, n)
        kernel = rows @ (slope / r * c).reshape(2 * size, n).T / n
        answer = np.linalg.inv(np.eye(2 * size) + kernel * np.tile(weights, (2, 2)))
        chance = rows @ rows.T / n
        gone = np.diag(answer @ chance @ answer.T - chance).reshape(2, size)
        change += (c[..., 0] * gone).sum(0) / 2
    return change


# ---- networks ------------------------------------------------------------------------------------


def _weights(name: str, n: int, seed: int) -> Array:
    """θ (n, D): z as in ``_start``, directions uniform in each block."""
    rng, z = np.random.default_rng([seed, n]), _start(name, n)
    blocks = [rng.normal(size=(n, dim)) for dim in DIMS]
    turned = [w / np.linalg.norm(w, axis=1, keepdims=True) * z[:, [2 + k]]
              for k, w in enumerate(blocks)]  # fmt: skip
    return np.concatenate([z[:, :2], *turned], axis=1)


def _trained(name: str, n: int, samples: int, dt: float, seeds: range) -> Networks:
    """SGD, one pass over that many data."""
    batch = max(1, round(samples * dt / TIMES[-1]))
    network = pk.TwoLayerNetwork(TASK, batch=batch)
    theta = [
        pk.simulate(network, _weights(name, n, s), n, TIMES, dt, seed=s, dtype="float32").x.values
        for s in seeds
    ]
    return _networks(np.array(theta, dtype=float), dt / batch)


def _networks(theta: Array, noise: float) -> Networks:
    """Of weights (runs, TIMES, n, D)."""
    found = np.array([[[float(v) for v in TASK.exact_risk(torch.tensor(w))] for w in each]
                      for each in theta])  # fmt: skip
    return Networks(theta.shape[2], noise, found[..., 0], TASK.reduced(theta), found[..., 1].max())


def _flow(name: str, n: int, seed: int) -> Networks:
    """Gradient flow of the risk of a whole network on all data, by Heun's steps of STEP."""
    theta, kept = torch.tensor(_weights(name, n, seed)), []
    for k in range(1, round(TIMES[-1] / STEP) + 1):
        first = _descent(theta)
        theta = theta + STEP / 2 * (first + _descent(theta + STEP * first))
        if any(abs(k * STEP - t) < STEP / 2 for t in TIMES):
            kept.append(theta.numpy())
    return _networks(np.array([kept]), 0.0)


def _descent(theta: torch.Tensor) -> torch.Tensor:
    """-N times the slope of the risk; six orders of the series."""
    theta = theta.detach().requires_grad_()
    return -len(theta) * torch.autograd.grad(TASK.exact_risk(theta, 6)[0], theta)[0]


# ---- what is claimed -----------------------------------------------------------------------------


def expected(start: Start, n: int) -> Array:
    """Risks at TIMES of n neurons in finite d."""
    at = _at(start.times)
    return np.asarray(start.risks[at] + start.relaxed[at] / n)


def noiseless(start: Start) -> tuple[Array, Array]:
    """SGD's risks at TIMES extrapolated to dt/batch = 0, linearly, and standard errors."""
    noisy, quiet = start.trained
    share = quiet.noise / (noisy.noise - quiet.noise)
    each = quiet.risks + share * (quiet.risks - noisy.risks)
    return each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5


def kept(z: Array) -> Array:
    """a² - b² - |w|²."""
    return np.asarray(z[..., 0] ** 2 - (z[..., 1:] ** 2).sum(-1))


def _numbers(results: Results) -> dict[str, Any]:
    def of(start: Start) -> dict[str, Any]:
        at, (noisy, quiet) = _at(start.times), start.trained
        mean, error = noiseless(start)
        return {
            "equation": start.risks[at], "late": start.risks[-1:],
            "infinite_d": start.limit[at], "variance_over_n": start.variance[at] / quiet.n,
            "relaxed_over_n": start.relaxed[at] / quiet.n, "sgd": mean, "standard_errors": error,
            "dt_over_batch": np.array([noisy.noise, quiet.noise]),
            "sgd_noisy": noisy.risks.mean(0), "sgd_quiet": quiet.risks.mean(0),
            "flow": start.flow.risks[0], "flow_expected": expected(start, start.flow.n),
            "grown": np.array([grown(start, sign)
                               for sign in np.unique(np.sign(start.z[at[-1], :, 0]))]),
        }  # fmt: skip

    return {name: {key: value.tolist() for key, value in of(start).items()}
            for name, start in results.starts.items()}  # fmt: skip


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    return [
        *_of_the_equation(results), *_of_networks(results), *_of_the_starts(results.starts)
    ]  # fmt: skip


def _of_the_equation(results: Results) -> list[Claim]:
    starts = results.starts.values()
    at = _at(results.starts[BOTH].times)
    return [
        at_most("a² - b² - |w|² of a characteristic changes by",
                max(np.abs(kept(s.z) - kept(s.z[0])).max() for s in starts), 1e-4),
        at_most("equation: four times as many points change the risk by",
                max(np.abs(s.finer - s.risks[at]).max() for s in starts), 2e-3),
        at_most("equation: characteristics and pdekit's particles, difference of risks",
                max(np.abs(s.stepped - s.risks[at]).max() for s in starts), 1e-3),
        at_least("the risk falls: least of its decrease from one time to the next",
                 min(-np.diff(s.risks).max() for s in starts), 0, 1e-9),
    ]  # fmt: skip


def _of_networks(results: Results) -> list[Claim]:
    made = []
    for name, start in results.starts.items():
        mean, error = noiseless(start)
        off = np.abs(mean - expected(start, start.trained[1].n)) - LEVEL * error
        made += [
            at_most(f"{name}: SGD off equation and finite N, less {LEVEL} standard errors",
                    off.max(), NEAR, results.allowance),
            at_most(f"{name}: gradient flow of {start.flow.n} neurons off the same",
                    np.abs(start.flow.risks[0] - expected(start, start.flow.n)).max(), NEAR,
                    0.0 if start.flow.n >= 400 else 2 / start.flow.n),
        ]  # fmt: skip
    both, at = results.starts[BOTH], _at(results.starts[BOTH].times)
    mean, error = noiseless(both)
    n = both.trained[1].n
    plain = both.risks[at] + both.variance[at] / n
    networks = [part for s in results.starts.values() for part in (*s.trained, s.flow)]
    return [
        *made,
        at_least(f"{BOTH}: above d = ∞ and Var/N at t = 6, less {LEVEL} standard errors",
                 mean[2] - both.limit[at[2]] - both.variance[at[2]] / n - LEVEL * error[2], 0.01,
                 results.allowance),
        at_least(f"{BOTH}: below d = 320 and Var/N at t = 8, less {LEVEL} standard errors",
                 plain[3] - mean[3] - LEVEL * error[3], 0.005),
        at_most(f"{BOTH}: share of Var/N that is left at t = 8", both.relaxed[at[3]]
                / both.variance[at[3]], 0.4),
        at_most("what the series of a network's risk leaves out",
                max(part.error for part in networks), 1e-3),
    ]  # fmt: skip


def _of_the_starts(starts: dict[str, Start]) -> list[Claim]:
    both, one, turning = (starts[name] for name in (BOTH, ONE, TURNING))
    return [
        at_most(f"{BOTH}: risk at t = 32 for d = ∞", both.limit[-1], 1e-3),
        at_least(f"{BOTH}: and for d = {DIM}", both.risks[-1], 0.03),
        at_least(f"{ONE}: least a of all points at t = 32", one.z[-1, :, 0].min(), 0),
        at_least(f"{ONE}: and of all neurons of SGD", min(part.z[..., 0].min()
                 for part in one.trained), 0),
        at_least(f"{ONE}: risk at t = 32", one.risks[-1], 0.5),
        at_least(f"{ONE}: least risk of a network", min(part.risks.min()
                 for part in (*one.trained, one.flow)), 0.5),
        at_most(f"{TURNING}: least a at t = 32", turning.z[-1, :, 0].min(), -1),
        at_most(f"{TURNING}: risk at t = 32 off that of {BOTH}",
                abs(turning.risks[-1] - both.risks[-1]), 0.001),
        at_least(f"{BOTH}, a > 0: |w| in the {DIMS[0]} coordinates at t = 8 over the start",
                 grown(both, 1)[0], 4),
        at_most(f"{BOTH}, a > 0: in the {DIMS[1]} others", grown(both, 1)[1], 0.1),
        at_most(f"{BOTH}, a < 0: in the {DIMS[0]}", grown(both, -1)[0], 0.1),
        at_least(f"{BOTH}, a < 0: in the {DIMS[1]} others", grown(both, -1)[1], 1.5),
        at_least(f"{ONE}: in the {DIMS[0]}", grown(one, 1)[0], 3),
        at_most(f"{ONE}: in the {DIMS[1]} others", grown(one, 1)[1], 0.02),
    ]  # fmt: skip


def of_sign(z: Array, sign: float) -> Array:
    """Mean z (times, 4) of the neurons (times, n, 4) whose a has that sign at the end."""
    return np.asarray(z[:, np.sign(z[-1, :, 0]) == sign].mean(1))


def grown(start: Start, sign: float) -> Array:
    """Of these, the radii at t = 8 over those at the start."""
    mean = of_sign(start.z[: len(start.relaxed)], sign)
    return np.asarray(mean[-1, 2:] / mean[0, 2:])


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = dict(zip(STARTS, ("#0072B2", "#D55E00", "#009E73"), strict=True))
MARKS = dict(zip(STARTS, "osv", strict=True))


def plot(results: Results) -> Figure:
    """Risks of networks and equation, what the risk is made of, radii, and neurons."""
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _risk_panel(axes[0, 0], results)
    _parts_panel(axes[0, 1], results.starts[BOTH])
    _radius_panel(axes[1, 0], results)
    _neuron_panel(axes[1, 1], results)
    return figure


def _risk_panel(ax: Any, results: Results) -> None:
    n = results.starts[BOTH].trained[1].n
    for name, s in results.starts.items():
        mean, error = noiseless(s)
        ax.plot(s.times, s.risks, color=COLOURS[name], label=f"{name}: equation, d = {DIM}")
        ax.plot(s.times, s.limit, ":", color=COLOURS[name], lw=1.2)
        ax.errorbar(TIMES, mean, LEVEL * error, fmt=MARKS[name], ms=6, mfc="none",
                    color=COLOURS[name], label=f"SGD, N = {n}, extrapolated")  # fmt: skip
    ax.plot([], [], ":", color="black", lw=1.2, label="equation, d = ∞")
    ax.axhline(0.5, color="black", lw=0.8, ls="--")
    ax.text(32, 0.42, "1/2: no network with a ≥ 0 is below", fontsize=8, ha="right")
    ax.set(title="risk from three starts", xlabel="time", ylabel="risk", ylim=(-0.03, 2.1))
    ax.legend(fontsize=8, frameon=False, loc="upper right")


def _parts_panel(ax: Any, start: Start) -> None:
    size, (_, quiet) = len(start.relaxed), start.trained
    t, limit, risk = (part[:size] for part in (start.times, start.limit, start.risks))
    mean, error = noiseless(start)
    at = _at(start.times)
    ax.plot(t, limit - limit, ":", color="black", label="d = ∞")
    ax.plot(t, risk - limit, color="black", label=f"d = {DIM}, N = ∞")
    ax.plot(t, risk - limit + start.relaxed / quiet.n, color=COLOURS[BOTH], lw=2,
            label=f"N = {quiet.n}")  # fmt: skip
    ax.plot(t, risk - limit + start.variance[:size] / quiet.n, "--", color="#CC79A7",
            label=f"N = {quiet.n}, chance not trained away")  # fmt: skip
    ax.errorbar(TIMES, mean - limit[at], LEVEL * error, fmt="o", ms=6, mfc="none",
                color=COLOURS[BOTH], label="SGD, noise extrapolated away")  # fmt: skip
    ax.plot(TIMES, quiet.risks.mean(0) - limit[at], "x", color="tab:gray",
            label=f"SGD, dt/batch = {quiet.noise:.0e}")  # fmt: skip
    ax.set(title=f"{BOTH}: risk above that of d = ∞", xlabel="time", ylabel="difference")
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _radius_panel(ax: Any, results: Results) -> None:
    for name, sign, colour, mark in ((BOTH, 1, COLOURS[BOTH], "o"), (BOTH, -1, "#56B4E9", "D"),
                                     (ONE, 1, COLOURS[ONE], "s")):  # fmt: skip
        s = results.starts[name]
        size, label = len(s.relaxed), f"{name}, a {'>' if sign > 0 else '<'} 0"
        found = np.mean([of_sign(z, sign) for z in s.trained[1].z], axis=0)
        for k, style in enumerate(("-", "--")):
            ax.plot(s.times[:size], of_sign(s.z[:size], sign)[:, 2 + k], style, color=colour,
                    label=label if k == 0 else None)  # fmt: skip
            ax.plot(TIMES, found[:, 2 + k], mark, color=colour, mfc="none", ms=6)
    for style, k in (("-", 0), ("--", 1)):
        ax.plot([], [], style, color="black", label=("in the {} that differ", "in the {} others")[k]
                .format(DIMS[k]))  # fmt: skip
    ax.set(title="mean |w| in each block: equation (lines), SGD and its noise", xlabel="time",
           ylabel="radius")  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def _neuron_panel(ax: Any, results: Results) -> None:
    for name, s in results.starts.items():
        z, points = s.trained[1].z[0, -1], s.z[len(s.relaxed) - 1]
        ax.plot(z[::2, 0], z[::2, 2], ".", ms=2.5, color=COLOURS[name], alpha=0.5)
        ax.plot(points[::8, 0], points[::8, 2], MARKS[name], ms=6, mfc="none", color="black",
                mew=0.8)  # fmt: skip
        ax.plot([], [], MARKS[name], color=COLOURS[name], label=name)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set(title="neurons at t = 8: SGD (dots), equation", xlabel="a",
           ylabel=f"radius in the {DIMS[0]} coordinates that differ")  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left")
