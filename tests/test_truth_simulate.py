"""How particles are run, against plain loops of numpy that share nothing with it.

The noise is written down again from its description: Philox4x32-10 in unsigned numpy integers, and
Box-Muller by logarithm, sine and cosine. Positions, observables and basins are loops. Checkpoints
are judged by random modules that are edited between two runs.
"""

import importlib
import itertools
import math
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from edited_modules import FORMS, INGREDIENTS, NEUTRAL, written
from truth import Random, Row, Trial, log_uniform, pick, tally

import pdekit as pk
from pdekit import particles
from pdekit.particles import ensemble

Array = np.ndarray[Any, Any]
WORD = np.uint64(0xFFFFFFFF)


def philox(counter: list[Array], seed: int) -> list[Array]:
    """Ten rounds on four words, as in Salmon et al. 2011."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), p1 & WORD
        c2, c3 = (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1), p0 & WORD
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def normals(seed: int, run: int, step: int, n: int, dim: int, single: bool) -> Array:
    """Those of a step, (n, dim): sites in rows of 4 (float32) or 2 numbers a block."""
    lanes = 4 if single else 2
    block = np.arange(-(-n * dim // lanes), dtype=np.uint64)
    word = np.full_like(block, step & 0xFFFFFFFF), np.full_like(block, run << 8)
    w = philox([block, word[0], np.full_like(block, step >> 32 << 16), word[1]], seed)
    rows: list[Array] = []
    pairs = [(w[0], w[1], 32), (w[2], w[3], 32)]
    if not single:
        wide = [(w[1] << np.uint64(32)) | w[0], (w[3] << np.uint64(32)) | w[2]]
        pairs = [(wide[0], wide[1], 64)]
    for a, b, bits in pairs:
        fine, turn = (31, 23) if bits == 32 else (52, 52)
        u = ((a >> np.uint64(bits - fine)) + 0.5) * 2.0**-fine
        low = (b >> np.uint64(bits - 2 - turn)) & np.uint64(2**turn - 1)
        angle = math.pi / 2 * ((low + 0.5) * 2.0**-turn - 0.5)
        flip, swap = b >> np.uint64(bits - 1), (b >> np.uint64(bits - 2)) & np.uint64(1)
        radius = np.sqrt(-2 * np.log(u))
        sine, cosine = radius * np.sin(angle), radius * np.cos(angle)
        cosine = np.where(flip > 0, -cosine, cosine)
        rows += [np.where(swap > 0, sine, cosine), np.where(swap > 0, cosine, sine)]
    return np.stack(rows, axis=-1).ravel()[: n * dim].reshape(n, dim)


def steps_to(times: list[float], dt: float) -> list[tuple[float, float, int]]:
    """Start, size and number of the equal steps before each output time."""
    out, start = [], 0.0
    for stop in times:
        count, exact = 0, (stop - start) / dt
        while count < exact * (1 - 1e-12):
            count += 1
        out.append((start, (stop - start) / max(count, 1), count))
        start = stop
    return out


def folded(x: Array, box: Any) -> Array:
    """The point of the box that stands for each: mirrored at walls, wrapped on circles."""
    if box is None:
        return x
    x = x.copy()
    for k, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
        width = high - low
        if box.periodic[k]:
            x[..., k] = low + np.mod(x[..., k] - low, width)
        else:
            y = np.mod(x[..., k] - low, 2 * width)
            x[..., k] = low + np.where(y > width, 2 * width - y, y)
    return x


def mirrored(slope: Any, box: Any) -> Any:
    """The slope, continued beyond walls as its mirror image."""

    def beyond(x: Array, t: float) -> Array:
        value = slope(folded(x, box), t)
        for k in range(0 if box is None or all(box.periodic) else x.shape[-1]):
            width = box.upper[k] - box.lower[k]
            if not box.periodic[k]:
                value[..., k] *= np.where(
                    np.mod(x[..., k] - box.lower[k], 2 * width) > width, -1, 1
                )
        return value

    return beyond


def moved(
    slope: Any, x: Array, times: list[float], dt: float, sigma: float, how: str, **of: Any
) -> Array:
    """Positions (times, n, dim) of one run by Euler's or Heun's scheme."""
    seed, run, single, box = of["seed"], of["run"], of["single"], of["box"]
    y, number, out = folded(x.astype(float), box), 0, []
    slope = mirrored(slope, box)
    draw = lambda k: normals(seed, run, k, *x.shape, single)  # noqa: E731
    for start, h, count in steps_to(times, dt):
        scale = sigma * math.sqrt(h)
        for j in range(count):
            t, xi = start + j * h, draw(number)
            if how == "Euler":
                y = y - h * slope(y, t) + scale * xi
            else:
                first = slope(y, t)
                ahead = y + scale * xi - h * first
                y = y + scale * xi - h / 2 * (first + slope(ahead, t + h))
            y = folded(y, box)
            number += 1
        out.append(y)
    return np.stack(out)


WELLS = {
    "quadratic": (lambda d: pk.potentials.Quadratic(1.5, d), lambda x, t: 1.5 * x),
    "double well": (lambda d: pk.potentials.DoubleWell(d), lambda x, t: x**3 - x),
    "rippled": (lambda d: pk.potentials.Rippled(d), lambda x, t: x / 5 - 3 * np.sin(3 * x)),
    "own": (
        lambda d: lambda x: (x.cos() + x.square()).sum(-1) + x[..., 0] * x[..., -1],
        lambda x, t: -np.sin(x) + 2 * x + cross(x),
    ),
    "moving": (lambda d: Moving(d), lambda x, t: (1 + t) * x),
}  # fmt: skip
SCHEMES = {
    "Euler": particles.EulerMaruyama(),
    "Heun": particles.StochasticHeun(),
}


def cross(x: Array) -> Array:
    """Gradient of the product of the first and the last coordinate."""
    out = np.zeros_like(x)
    out[..., 0] += x[..., -1]
    out[..., -1] += x[..., 0]
    return out


class Moving:
    """(1 + t) |x|²/2."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def at(self, t: float) -> Any:
        return pk.potentials.Quadratic(1 + t, self.dim)


def output_times(rng: Random, last: float, count: int) -> list[float]:
    """Increasing, with 0 now and then."""
    times = sorted({float(t) for t in rng.uniform(0, last, count)})
    return [0.0, *times] if rng.random() < 0.3 else times


def box_of(rng: Random, dim: int) -> Any:
    if dim > 2 or rng.random() < 0.6:
        return None
    low, wraps = -rng.uniform(0.5, 3, dim), [bool(b) for b in rng.integers(0, 2, dim)]
    return pk.Grid(tuple(low), tuple(low + rng.uniform(1, 5, dim)), (8,) * dim, tuple(wraps))


def handed_over(rng: Random, x: Array) -> Any:
    """The same positions as a user may have them."""
    forms = {
        "array": x,
        "list": x.tolist(),
        "tensor": torch.tensor(x),
        "view": np.asfortranarray(x)[:, :],
        "read only": frozen(x),
        "data array": xr.DataArray(x, dims=("particle", "dim")),
        "turned": xr.DataArray(x.T, dims=("dim", "particle")),
        "time": xr.DataArray(x[None], dims=("time", "particle", "dim")),
        "masked": np.ma.array(x, mask=np.zeros(x.shape, bool)),
    }
    return forms[pick(rng, *forms)]


def frozen(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


class Stopped(Exception):
    """In the middle of a run."""


def stopped_and_resumed(call: Any, writes: int) -> Any:
    """Run with a checkpoint, stop after so many are written, and go on."""
    recorder = importlib.import_module("pdekit.particles.run.recorder")
    write, left = recorder.write, [writes]

    def counted(*arguments: Any, **more: Any) -> None:
        write(*arguments, **more)
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        saved = pk.Checkpoint(Path(folder) / "run.npz", minutes=1e-9)
        with patch.context() as inner:
            inner.setattr(recorder, "write", counted)
            with suppress(Stopped):
                call(checkpoint=saved)
        return call(checkpoint=saved)


def make_positions(rng: Random) -> Trial:
    """Positions of one's numpy loop, whatever the tiles, threads, types and stops."""
    name, how = pick(rng, *WELLS), pick(rng, *SCHEMES)
    dim, n, runs = int(rng.integers(1, 4)), int(log_uniform(rng, 1, 300)), int(rng.integers(1, 4))
    single = bool(rng.random() < 0.3)
    dt = log_uniform(rng, 1e-6, 0.05)
    times = output_times(rng, dt * rng.uniform(0.1, 25), int(rng.integers(1, 6)))
    beta, seed = log_uniform(rng, 0.1, 1e6), int(rng.integers(0, 2**64, dtype=np.uint64))
    box = box_of(rng, dim)
    x = rng.normal(size=(n, dim)) * 0.5
    x = x.astype(np.float32).astype(float) if single else x
    V, slope = WELLS[name][0](dim), WELLS[name][1]
    dynamics = pk.Langevin(V, beta, SCHEMES[how], box)
    tile, threads = int(pick(rng, 64, 192, 32704)), int(pick(rng, 1, 2))
    initial, writes = handed_over(rng, x), int(rng.integers(1, 4)) if rng.random() < 0.3 else 0

    def call() -> Any:
        before = torch.get_num_threads()
        settings = {"n": n, "t": times, "dt": dt, "runs": runs, "seed": seed}
        dtype = pick(rng, "float32", torch.float32) if single else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ensemble, "_TILE_CPU", tile)
            torch.set_num_threads(threads)
            try:
                run = lambda **more: pk.simulate(  # noqa: E731
                    dynamics, initial, **settings, dtype=dtype, ranks=particles.Ranks(), **more
                )
                return stopped_and_resumed(run, writes) if writes else run()
            finally:
                torch.set_num_threads(before)

    def judge(X: Any) -> tuple[float, float]:
        place = {"seed": seed, "single": single, "box": box}
        sigma = math.sqrt(2 / beta)
        right = np.stack(
            [moved(slope, x, times, dt, sigma, how, run=r, **place) for r in range(runs)], axis=1
        )
        got = X.gathered().x.values.reshape(right.shape)
        error = np.abs(got - right)
        if box is not None:  # a point near the seam of a circle has two places
            width = np.array(box.upper) - box.lower
            error = np.where(box.periodic, np.minimum(error, np.abs(width - error)), error)
        same = np.array_equal(X.final.values, X.x.values[-1])
        exact = np.array_equal(X.x["time"].values, times) and same and X.stats["finished"] == 1
        return float(error.max()) if exact else math.inf, 3e-4 if single else 1e-11

    what = f"{name}, {how}, d={dim}, n={n}, runs={runs}, dt={dt}, t={times}, beta={beta}, {box}, "
    return Trial(what + f"seed={seed}, single={single}, tile={tile}, {writes} writes", call, judge)


def make_observed(rng: Random) -> Trial:
    """What is seen on the way, counted again by loops over the positions."""
    dim, n, runs = int(rng.integers(1, 3)), int(log_uniform(rng, 1, 150)), int(rng.integers(1, 3))
    periodic = bool(rng.integers(0, 2))
    box = pk.Grid((-1.0,) * dim, (1.0,) * dim, (4,) * dim, periodic) if periodic else None
    grid = box or pk.Grid(
        tuple(-rng.uniform(0.2, 2, dim)), tuple(rng.uniform(0.2, 2, dim)),
        tuple(int(m) for m in rng.integers(4, 9, dim)),
    )  # fmt: skip
    shift, scale = log_uniform(rng, 1e-3, 1e6), log_uniform(rng, 1e-3, 1e3)
    shift, scale = (0.0, 0.5) if box else (shift, scale)
    x = shift + scale * rng.normal(size=(n, dim))
    count, every = int(rng.integers(3, 9)), pick(rng, None, 1, 2, 3)
    dt = 2.0 ** -int(rng.integers(3, 8))
    times = [count * dt, 2 * count * dt]
    dynamics = pk.Langevin(pk.potentials.Quadratic(1.0, dim), log_uniform(rng, 0.1, 100),
                           particles.EulerMaruyama(), box)  # fmt: skip
    single = bool(rng.random() < 0.3)
    seen = (
        pk.Moments(every),
        pk.Histogram(grid, every),
        pk.BasinCounts(lambda p: (p[..., 0] > shift).long() + 2 * (p[..., -1] > shift).long(), 3,
                       every),
    )  # fmt: skip
    settings = {"n": n, "dt": dt, "runs": runs, "seed": int(rng.integers(0, 2**63)),
                "dtype": "float32" if single else None}  # fmt: skip
    keep, tile = bool(rng.integers(0, 2)), int(pick(rng, 64, 128, 32704))
    writes = int(rng.integers(1, 4)) if rng.random() < 0.3 else 0

    def call() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ensemble, "_TILE_CPU", tile)
            run = lambda **more: pk.simulate(  # noqa: E731
                dynamics, x, t=times, observe=seen, keep=keep, **settings, **more
            )
            X = stopped_and_resumed(run, writes) if writes else run()
        all_steps = [dt * k for k in range(1, 2 * count + 1)]
        return X, pk.simulate(dynamics, x, t=all_steps, **settings)

    def judge(answer: Any) -> tuple[float, float]:
        X, full = answer
        path = full.x.values.reshape(2 * count, runs, n, dim).astype(float)
        wrong = 0.0 if keep == (X.x is not None) else math.inf
        for k, (r, out) in itertools.product(range(2), itertools.product(range(runs), [X])):
            table = out.observed.isel(time=k)
            table = table.isel(run=r) if runs > 1 else table
            some = [count - 1] if every is None else list(range(every - 1, count, every))
            points = np.concatenate([path[k * count + j, r] for j in some])
            wrong = max(wrong, difference(table, points, grid, shift))
        return wrong, 1e-12

    return Trial(
        f"d={dim}, n={n}, runs={runs}, shift={shift}, scale={scale}, every={every}, {grid}, "
        f"{settings}, keep={keep}, {writes} writes, tile={tile}, t={times}", call, judge,
    )  # fmt: skip


def difference(table: Any, points: Array, grid: Any, shift: float) -> float:
    """Of moments and counts from those of the points, inf where a count is another."""
    m, dim = points.shape
    if int(table["particles"]) != m:
        return math.inf
    mean = np.array([math.fsum(points[:, i]) / m for i in range(dim)])
    size = np.abs(points).max()
    error = np.abs(table["mean"].values - mean).max() / size
    for i, j in itertools.product(range(dim), repeat=2):
        exact = math.fsum((points[:, i] - mean[i]) * (points[:, j] - mean[j])) / m
        error = max(error, abs(float(table["covariance"][i, j]) - exact) / size**2)
    counts, outside, labels = np.zeros(grid.shape, int), 0, [0] * 4
    for p in points:
        cell, out = [], False
        for k in range(dim):
            low, high, cells = grid.lower[k], grid.upper[k], grid.shape[k]
            z = low + (p[k] - low) % (high - low) if grid.periodic[k] else p[k]
            out |= not low <= z <= high
            edges = [low + (high - low) * i / cells for i in range(1, cells)]
            cell.append(sum(z >= e for e in edges))
        counts[tuple(cell)] += 1
        outside += out
        labels[int(p[0] > shift) + 2 * int(p[-1] > shift)] += 1
    right = (
        np.array_equal(table["histogram"].values, counts)
        and int(table["outside"]) == outside
        and table["basins"].values.tolist() == labels[:3]
        and int(table["unassigned"]) == labels[3]
        and np.allclose(table["density"], counts / m / grid.cell_volume, rtol=1e-14)
    )
    return error if right else math.inf


def make_basins(rng: Random) -> Trial:
    """Basins of random landscapes, followed from cell to cell by hand."""
    dim = int(rng.integers(1, 3))
    shape = tuple(int(m) for m in rng.integers(4, 40 if dim == 1 else 12, dim))
    grid = pk.Grid((0.0,) * dim, tuple(rng.uniform(0.5, 4, dim)), shape, bool(rng.integers(0, 2)))
    V = rng.normal(size=shape)
    for axis in range(dim):
        V = V + np.roll(V, 1, axis)
    x = rng.uniform(-0.2, 1.2, size=(60, dim)) * (np.array(grid.upper) - grid.lower) + grid.lower

    def call() -> Any:
        basins = particles.Basins.of(V, grid)
        return basins, basins(torch.tensor(x)).numpy()

    def judge(answer: Any) -> tuple[float, float]:
        basins, labels = answer
        ends = {cell: descended(V, grid, cell) for cell in np.ndindex(shape)}
        minima = sorted(set(ends.values()))
        right = {cell: minima.index(end) for cell, end in ends.items()}
        places = np.array([grid.centres[m] for m in minima])
        wrong = sum(int(basins.labels[c]) != k for c, k in right.items())
        wrong += basins.count != len(minima) or not np.array_equal(basins.minima, places)
        for p, label in zip(x, labels, strict=True):
            cell = []
            for k in range(dim):
                low, high = grid.lower[k], grid.upper[k]
                z = low + (p[k] - low) % (high - low) if grid.periodic[k] else p[k]
                cell.append(sum(z >= low + (high - low) * i / shape[k] for i in range(1, shape[k])))
            wrong += right[tuple(cell)] != label
        return float(wrong), 0.0

    return Trial(f"Basins, shape {shape}, {grid}, V = {V.ravel()[:4]}...", call, judge)


def descended(V: Array, grid: Any, cell: tuple[int, ...]) -> tuple[int, ...]:
    """Where steepest descent from a cell ends."""
    while True:
        best, there = 0.0, cell
        for offset in itertools.product((-1, 0, 1), repeat=V.ndim):
            to = [c + o for c, o in zip(cell, offset, strict=True)]
            for k, m in enumerate(V.shape):
                to[k] = to[k] % m if grid.periodic[k] else to[k]
            if any(offset) and all(0 <= c < m for c, m in zip(to, V.shape, strict=True)):
                far = math.dist([0] * V.ndim, [o * s for o, s in zip(offset, grid.spacing,
                                                                     strict=True)])  # fmt: skip
                if (V[cell] - V[tuple(to)]) / far > best:
                    best, there = (V[cell] - V[tuple(to)]) / far, tuple(to)
        if there == cell:
            return cell
        cell = there


COUNT = itertools.count()


def module_of(folder: Path, texts: tuple[str, str]) -> Any:
    """Import the module of these texts anew, as another process would."""
    names = "edited_main", "edited_other"
    for name in names:
        sys.modules.pop(name, None)
    inside = folder / str(next(COUNT))
    inside.mkdir()
    for name, text in zip(names, texts, strict=True):
        (inside / f"{name}.py").write_text(text.replace("OTHER", names[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(str(inside))
        importlib.invalidate_caches()
        return importlib.import_module(names[0])


def ran(well: Any, **more: Any) -> Any:
    return pk.simulate(pk.Langevin(well, 1.0), [[0.5], [1.0]], 2, [0.01, 0.02], 0.01, **more)


def make_edited(rng: Random, matters: bool) -> Trial:
    """A module is edited between two runs with one checkpoint."""
    names = [str(s) for s in rng.choice(list(INGREDIENTS), int(rng.integers(1, 5)), False)]
    values = [round(float(v), 3) for v in rng.uniform(0.1, 0.9, len(names))]
    form, edit = pick(rng, *FORMS), pick(rng, *NEUTRAL)
    after = list(values)
    if matters:
        after[int(rng.integers(len(values)))] += 0.05
    used = bool(rng.integers(0, 2))

    def call() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            saved = pk.Checkpoint(Path(folder) / "run.npz")
            first, other = written(names, values, form)
            ran(module_of(Path(folder), (first, other)).well, checkpoint=saved)
            second, other = written(names, after, form)
            text = NEUTRAL["nothing" if matters else edit](second)
            well = module_of(Path(folder), (text, other)).well
            if used:  # caches are full
                ran(well)
            fresh = ran(well)
            try:
                return ran(well, checkpoint=saved), fresh
            except particles.CheckpointError:
                if matters:
                    raise
                return None

    def judge(answer: Any) -> tuple[float, float]:
        if answer is None:
            return math.inf, 0.0
        X, fresh = answer
        resumed = X.stats["resumed"] == 1 and not matters
        return float(np.abs(X.x - fresh.x).max()) if resumed else math.inf, 0.0

    return Trial(f"{names} {values} -> {after}, {form}, {edit}, used={used}", call, judge)


class Plain:
    """Euler's scheme as one would write it; what is wrong in it is named."""

    def __init__(self, fault: str, sigma: float, late: int) -> None:
        self.fault, self.sigma, self.count, self.late = fault, sigma, 0, late
        if fault in ("mean", "padded"):
            self.coupled = fault == "padded"

    def drift(self, x: Any, t: float) -> Any:
        return -x

    def step(self, state: Any, step: Any, noise: Any) -> Any:
        xi = self.drawn(step, noise)
        x = state - step.size * (state - self.centre(state, noise))
        x = x + self.sigma * math.sqrt(step.size) * xi
        if step.number < self.late and self.fault in LATER:
            return x
        return {"numpy": lambda: x.numpy(), "nothing": lambda: None, "shape": lambda: x[..., :1, :],
                "float16": lambda: x.half(), "nan": lambda: x / 0 * 0,
                "tag": lambda: self.tagged(state, x, xi),
                }.get(self.fault, lambda: x)()  # fmt: skip

    def tagged(self, state: Any, x: Any, xi: Any) -> Any:
        """With a note on the tensor, which no checkpoint keeps."""
        x = x + getattr(state, "kept", 0.0)
        x.kept = xi
        return x

    def kept(self, step: Any, xi: Any) -> Any:
        """The first noise for ever."""
        if step.number == 0:
            self.first = xi
        return getattr(self, "first", xi)

    def momentum(self, step: Any, xi: Any) -> Any:
        """Something that begins anew with every simulation, but not with every tile."""
        self.p = xi if step.number == 0 else 0.5 * self.p + xi
        return self.p

    def centre(self, state: Any, noise: Any) -> Any:
        if self.fault in ("mean", "padded"):
            return state.mean(dim=1, keepdim=True)
        return 0.0

    def drawn(self, step: Any, noise: Any) -> Any:
        self.count += 1
        wrong = {
            "at 0": lambda: noise.at(0),
            "at 7": lambda: noise.at(7),
            "half": lambda: noise.at(step.number // 2),
            "by turns": lambda: noise.at(step.number % 2),
            "backwards": lambda: noise.at(100 - step.number),
            "twice": lambda: noise.at(step.number) + noise.at(step.number),
            "the step": lambda: noise.at(step),
            "the time": lambda: noise.at(step.start),
            "of the law": lambda: noise.at(step.number, 1),
            "uniform too": lambda: noise.at(step.number, 9) + noise.uniforms(step.number, 9),
            "torch": lambda: torch.randn_like(noise.buffer),
            "counting": lambda: noise.normals() * self.count,
            "kept": lambda: self.kept(step, noise.normals()),
            "kept from step 1": lambda: self.kept(step._replace(number=step.number - 1),
                                                  noise.at(step.number)),
            "momentum": lambda: self.momentum(step, noise.normals()),
            "stops": lambda: noise.at(min(step.number, self.late)),
            "runs backwards later": lambda: noise.at(abs(self.late - step.number) + 100),
            "torch later": lambda: (torch.randn_like(noise.buffer) if step.number == 8
                                    else noise.at(step.number)),
        }  # fmt: skip
        return wrong.get(self.fault, lambda: noise.at(step.number))()


LATER = ("shape", "float16", "nothing", "numpy", "nan")
FAULTS = ("kept", "kept from step 1", "momentum", "stops", "runs backwards later", "torch later",
          "nan", "tag", "at 0", "at 7", "half", "by turns", "backwards", "twice", "the step",
          "the time", "of the law", "uniform too", "torch", "counting", "mean", "padded", "numpy",
          "nothing", "shape", "float16")  # fmt: skip


def make_own(rng: Random) -> Trial:
    """Dynamics of one's own, written right or wrong."""
    fault = pick(rng, *FAULTS, *["none"] * 6)
    n, runs = int(rng.integers(2, 200)), int(rng.integers(1, 3))
    dt = log_uniform(rng, 1e-3, 0.1)
    times = [dt * 3, dt * int(rng.integers(4, 30))]
    if fault == "torch later":
        times[1] = 260 * dt
    x, sigma = rng.normal(size=(n, 2)), log_uniform(rng, 0.01, 2)
    late = int(pick(rng, 1, 2))
    dynamics: Any = Plain(fault, sigma, late)
    if fault in ("twice", "at 0") and rng.random() < 0.5:  # the same by an integrator
        scheme = type("Scheme", (), {
            "step": lambda self, drift, y, s, step, noise: dynamics.step(y, step, noise),
            "positions": lambda self, y, s, step, noise: y,
        })()  # fmt: skip
        mover = pk.Langevin(pk.potentials.Quadratic(1.0, 2), 2 / sigma**2, scheme)
    else:
        mover = dynamics
    seed = int(rng.integers(0, 2**63))

    def call() -> Any:
        return pk.simulate(mover, x, n, times, dt, runs=runs, seed=seed)

    def judge(X: Any) -> tuple[float, float]:
        place = {"seed": seed, "single": False, "box": None}
        right = np.stack([moved(lambda y, t: y, x, times, dt, sigma, "Euler", run=r, **place)
                          for r in range(runs)], axis=1)  # fmt: skip
        return float(np.abs(X.x.values.reshape(right.shape) - right).max()), 1e-12

    what = (
        f"fault {fault} {late}, n={n}, runs={runs}, dt={dt}, t={times}, sigma={sigma}, seed={seed}"
    )
    return Trial(what, call, judge, nonsense=fault != "none")


def make_given(rng: Random) -> Trial:
    """Positions in any order along any axes start where their coordinates say."""
    n, runs, dim = int(rng.integers(2, 30)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    x = rng.normal(size=(runs, n, dim))
    names = {"run": np.arange(runs), "particle": np.arange(n),
             "dim": pick(rng, list("xy"[:dim]), np.arange(dim))}  # fmt: skip
    given = xr.DataArray(x, names, ("run", "particle", "dim"))
    order = {d: rng.permutation(given.sizes[d]) for d in given.dims}
    # without a coordinate, places are what is meant
    bare = pick(rng, [], ["run"], ["particle"], ["dim"], [*given.dims])
    mixed = given.isel(order).transpose(*rng.permutation(given.dims)).drop_vars(bare)
    if len(bare) == 3 and rng.random() < 0.5:
        mixed = mixed.variable
    if runs == 1 and "particle" not in bare and rng.random() < 0.3:
        mixed = mixed.isel(run=0).transpose("particle", "dim").to_pandas()
    place = [order[d] if d in bare else np.arange(given.sizes[d]) for d in given.dims]
    mover = pk.Langevin(pk.potentials.Quadratic(1.0, dim), 1.0)

    def call() -> Any:
        return pk.simulate(mover, mixed, n, 0.0, 0.1, runs=runs)

    def judge(X: Any) -> tuple[float, float]:
        return float(np.abs(X.x.values.reshape(x.shape) - x[np.ix_(*place)]).max()), 0.0

    return Trial(f"{type(mixed)} {given.shape} {order} without {bare}", call, judge)


D, E = (
    pk.Langevin(pk.potentials.DoubleWell(), 2.0),
    pk.FokkerPlanck(pk.potentials.DoubleWell(), 2.0),
)
X0 = np.linspace(-1, 1, 8)[:, None]


def nan_at(k: int) -> Any:
    """A slope that is not a number for one particle after a while."""

    class Bad:
        def __call__(self, x: Any) -> Any:
            return (x * x).sum(-1)

        def grad(self, x: Any) -> Any:
            return torch.where(x > 0.9 + 0.01 * k, math.nan, -x)

    return Bad()


class OwnLaw:
    """A law that gives something."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def sample(self, n: int, noise: Any) -> Any:
        return self.made(n)


class Halves:
    """An observable that counts in halves."""

    name, every = "halves", None

    def blank(self, runs: int, dim: int) -> Any:
        return np.zeros((runs, 1))

    def add(self, total: Any, x: Any) -> None:
        total += x.shape[1] / 2

    def table(self, total: Any, seen: Any, dim: int) -> Any:
        return xr.Dataset({"halves": (("time", "run"), total[..., 0])})


def checkpointed(path: Any) -> Any:
    return lambda **a: pk.simulate(**a, checkpoint=pk.Checkpoint(path))


def in_folder(name: str) -> Any:
    def call(**a: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return pk.simulate(**a, checkpoint=pk.Checkpoint(Path(folder) / name))

    return call


NONSENSE: dict[str, Any] = {
    "equation": {"dynamics": E},
    "potential": {"dynamics": pk.potentials.DoubleWell()},
    "class": {"dynamics": pk.Langevin},
    "text": {"dynamics": "Langevin"},
    "none": {"dynamics": None},
    "no step": {"dynamics": object()},
    "bad step": {"dynamics": type("A", (), {"step": lambda self, x, dt: x})()},
    "bad positions": {"dynamics": type("A", (), {
        "step": lambda self, s, a, b: s, "init": lambda self, x: x,
        "positions": lambda self, state: state})()},
    "init alone": {"dynamics": type("A", (), {
        "step": lambda self, s, a, b: s, "init": lambda self, x: x})()},
    "positions of another shape": {"dynamics": type("A", (), {
        "step": lambda self, s, a, b: s, "init": lambda self, x: x,
        "positions": lambda self, state, a, b: state[..., 0]})()},
    "mixing potential": {"dynamics": pk.Langevin(lambda x: (x - x.mean(-2, keepdim=True))
                                                 .square().sum(-1), 2.0)},
    "slope by chance": {"dynamics": pk.Langevin(type("A", (), {
        "__call__": lambda self, x: x.sum(-1), "grad": lambda self, x: torch.rand_like(x)})(), 2.0),
        "initial": X0[:1], "n": 1},
    "slope that writes": {"dynamics": pk.Langevin(type("A", (), {
        "__call__": lambda self, x: x.sum(-1), "grad": lambda self, x: x.mul_(2)})(), 2.0)},
    "nan slope": {"dynamics": pk.Langevin(nan_at(0), 2.0)},
    "nan slope in a box": {"dynamics": pk.Langevin(nan_at(1), 2.0, box=pk.Grid(-1, 1, 8))},
    "too few": {"initial": X0[:3]},
    "flat": {"initial": X0[:, 0]},
    "flat data array": {"initial": xr.DataArray(X0[:, 0], dims="particle")},
    "several times": {"initial": xr.DataArray(np.stack([X0, X0]),
                                              dims=("time", "particle", "dim"))},
    "particles in no order": {"initial": xr.DataArray(
        X0, {"particle": [3, 1, 4, 1, 5, 9, 2, 6]}, ("particle", "dim"))},
    "table in no order": {"initial": pd.DataFrame({"x": X0[:, 0]}, [3, 1, 4, 1, 5, 9, 2, 6])},
    "series": {"initial": pd.Series(X0[:, 0])},
    "diffusion of one half": {"dynamics": pk.MultiplicativeLangevin(
        pk.potentials.Quadratic(1.0, 2), 1.0, lambda x: torch.tensor(
            [[1.0, 0.5], [0.0, 1.0]], dtype=x.dtype).expand(*x.shape, 2)),
        "initial": np.hstack([X0, X0])},
    "field": {"initial": xr.DataArray(X0[:, 0], dims="x")},
    "runs": {"initial": xr.DataArray(np.stack([X0, X0]), dims=("run", "particle", "dim"))},
    "gradients": {"initial": torch.tensor(X0, requires_grad=True)},
    "masked": {"initial": np.ma.array(X0, mask=X0 > 0.9)},
    "complex": {"initial": X0 + 1j},
    "complex tensor": {"initial": torch.tensor(X0 + 1j)},
    "words": {"initial": [["a"]] * 8},
    "ragged": {"initial": [[1.0], [1.0, 2.0]] * 4},
    "objects": {"initial": np.array([[None]] * 8)},
    "bools": {"initial": X0 > 0},
    "number": {"initial": 3.0},
    "infinite": {"initial": np.where(X0 > 0.9, np.inf, X0)},
    "class of a law": {"initial": pk.Gaussian},
    "function": {"initial": lambda x: x},
    "law of nothing": {"initial": OwnLaw(lambda n: None)},
    "law of few": {"initial": OwnLaw(lambda n: torch.zeros(n - 1, 1))},
    "law of a line": {"initial": OwnLaw(lambda n: torch.zeros(n))},
    "law of nan": {"initial": OwnLaw(lambda n: torch.full((n, 1), math.nan))},
    "law whose rows meet": {"initial": type("A", (OwnLaw,), {"pointwise": True, "sample":
        lambda self, n, noise: noise.normal(n, 1) - noise.normal(n, 1).mean()})(None)},
    "law that counts its calls": {"initial": type("A", (OwnLaw,), {"calls": itertools.count(),
        "sample": lambda self, n, noise: noise.normal(n, 1) * next(self.calls)})(None)},
    "law of its own": {"initial": OwnLaw(lambda n: torch.randn(n, 1))},
    "observable of halves": {"observe": Halves()},
    "t huge": {"t": 1e30}, "t overflows": {"t": 1e300, "dt": 1e-300}, "t nan": {"t": math.nan},
    "t inf": {"t": math.inf}, "t text": {"t": "1"}, "t none": {"t": None}, "t back": {"t": [1, 0]},
    "t twice": {"t": [0.1, 0.1]}, "t complex": {"t": 1j}, "t table": {"t": [[0.1, 0.2]]},
    "dt 0": {"dt": 0}, "dt inf": {"dt": math.inf}, "dt text": {"dt": "1"}, "dt < 0": {"dt": -1},
    "n huge": {"n": 10**12, "initial": pk.Gaussian(0, 1)},
    "n beyond": {"n": 10**30, "initial": pk.Gaussian(0, 1), "keep": False},
    "runs beyond": {"runs": 2**24 + 1},
    "n 0": {"n": 0}, "n half": {"n": 8.5}, "n text": {"n": "8"}, "n true": {"n": True},
    "runs 0": {"runs": 0}, "seed < 0": {"seed": -1}, "seed half": {"seed": 0.5},
    "device": {"device": "abacus"}, "dtype": {"dtype": "int64"}, "half": {"dtype": "float16"},
    "observe text": {"observe": "Moments"}, "observe class": {"observe": pk.Moments},
    "observe none": {"observe": None}, "observe one": {"observe": 3},
    "observe too often": {"observe": pk.Moments(every=99)},
    "observe twice": {"observe": (pk.Moments(), pk.Moments())},
    "observe a plane": {"observe": pk.Histogram(pk.Grid((0, 0), (1, 1), (4, 4)))},
    "label of halves": {"observe": pk.BasinCounts(lambda x: x[..., 0] / 2, 2)},
    "label of another shape": {"observe": pk.BasinCounts(lambda x: x.long(), 2)},
    "label of nothing": {"observe": pk.BasinCounts(lambda x: None, 2)},
    "checkpoint text": {"checkpoint": "run.npz"}, "checkpoint path": {"checkpoint": Path("a.npz")},
    "ranks": {"ranks": 3},
}  # fmt: skip
CALLS = {
    "no folder": checkpointed("/no/such/folder/a.npz"),
    "kernel's folder": checkpointed("/proc/a.npz"),
    "a folder": checkpointed("/tmp"),
    "name too long": in_folder("a" * 400),
    "below a file": lambda **a: checkpointed(Path(__file__) / "a.npz")(**a),
    "no name of a file": checkpointed("a\0b"),
    "no path": lambda **a: pk.simulate(**a, checkpoint=pk.Checkpoint(None)),
    "no minutes": lambda **a: pk.simulate(**a, checkpoint=pk.Checkpoint("a.npz", math.nan)),
    "rank of none": lambda **a: pk.simulate(**a, ranks=particles.Ranks(1, 1)),
    "not joined": lambda **a: pk.simulate(**a, ranks=particles.Ranks(0, 2)),
    "no grid": lambda **a: pk.simulate(**a, observe=pk.Histogram((-1, 1, 8))),
    "no basins": lambda **a: particles.Basins.of(pk.potentials.DoubleWell(), (-1, 1, 8)),
    "basins of nan": lambda **a: particles.Basins.of(lambda x: x[..., 0] * np.nan,
                                                     pk.Grid(-1, 1, 8)),
    "no count": lambda **a: pk.BasinCounts(lambda x: x[..., 0].long()),
    "no label": lambda **a: pk.BasinCounts(3, 2),
}  # fmt: skip


def make_nonsense(rng: Random) -> Trial:
    """What is no simulation is refused, with a sentence."""
    name = pick(rng, *NONSENSE, *CALLS)
    good = {"dynamics": D, "initial": X0, "n": 8, "t": 0.1 * rng.uniform(0.5, 1), "dt": 0.01}
    change = NONSENSE.get(name, {})
    call = CALLS.get(name, pk.simulate)
    return Trial(name, lambda: call(**{**good, **change}), nonsense=True)


def make_stopped(rng: Random) -> Trial:
    """Walls, clocks and resetting, against the density of the equation: one alarm in 1e6."""
    width, beta = log_uniform(rng, 0.1, 10), log_uniform(rng, 0.3, 30)
    box = pk.Grid(0, width, 400)
    time = width**2 * beta * log_uniform(rng, 0.01, 0.3)
    steep = rng.uniform(-3, 3) / (beta * width)
    V = pk.potentials.Linear((steep,)) + pk.potentials.Quadratic(rng.uniform(0, 2) / time)
    rate = lambda: log_uniform(rng, 0.01, 100) * width / time  # noqa: E731
    enter = lambda: pk.Inflow(log_uniform(rng, 0.01, 1) / time)  # noqa: E731
    wall = lambda: pick(rng, False, True, pk.PartlyAbsorbing(rate()), enter())  # noqa: E731
    more: dict[str, Any] = {"walls": pk.Walls(wall(), wall())}
    if rng.random() < 0.4:
        more["killing"] = pick(rng, 0.7 / time, lambda x: x[..., 0] ** 2 / (width**2 * time))
    law = pk.Gaussian(rng.uniform(0.3, 0.7) * width, 0.05 * width)
    if rng.random() < 0.2:
        turning = lambda t: (2 + 2 * np.sin(7 * t / time)) / time  # noqa: E731
        more = {"resetting": pk.Resetting(pick(rng, 2 / time, turning), law)}
    how = pick(rng, {}, {"integrator": particles.StochasticHeun()})
    D = pk.Langevin(V, beta, box=box, **how, **more)
    dtype, seed = pick(rng, torch.float64, torch.float32), int(rng.integers(2**40))
    step = 1e-3 * width**2 * beta * pick(rng, 1.0, 0.3)

    def call() -> Any:
        X = pk.simulate(D, law, 4000, [time / 3, time], step, seed=seed, dtype=dtype)
        with warnings.catch_warnings():  # walls are meant
            warnings.simplefilter("ignore", pk.TruncationWarning)
            rho = pk.solve(D.law(), box, law, [time / 3, time])
        return pk.compare(rho, X).p_value

    return Trial(f"{D} {law} t={time:.4g} dt={step:.3g} {dtype} seed={seed}", call,
                 lambda p: (float(p < 1e-6), 0.0))  # fmt: skip


ROWS = [
    Row("positions", ("simulate", "Ensemble", "Checkpoint", "Ranks", "EulerMaruyama",
                      "StochasticHeun"), make_positions, answered=0.9, cost=2),
    Row("observables", ("simulate", "Moments", "Histogram", "BasinCounts", "Checkpoint"),
        make_observed, answered=0.9, cost=2),
    Row("basins", ("Basins",), make_basins, answered=1.0),
    Row("edits that matter", ("Checkpoint", "CheckpointError"),
        lambda rng: make_edited(rng, True), answered=0.0, cost=2),
    Row("edits that do not", ("Checkpoint",), lambda rng: make_edited(rng, False), answered=1.0,
        cost=2),
    Row("dynamics of one's own", ("simulate",), make_own, answered=0.1),
    Row("positions by their coordinates", ("simulate",), make_given, answered=1.0, cost=2),
    Row("particles that stop, and enter", ("simulate", "Langevin", "Walls", "Inflow", "Resetting"),
        make_stopped, answered=0.8, cost=2),
    Row("no simulation", ("simulate", "Checkpoint", "Ranks"), make_nonsense, answered=0.0),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


def test_a_planted_fault_is_seen(monkeypatch: Any) -> None:
    """A step that ends a little too late."""
    from pdekit.particles.run.schedule import Interval

    some = Interval.some
    late = lambda self, a, b: [s._replace(size=s.size * (1 + 1e-6)) for s in some(self, a, b)]  # noqa: E731
    monkeypatch.setattr(Interval, "some", late)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[0], 0, 20)


def test_a_fingerprint_that_sees_no_globals_is_seen(monkeypatch: Any) -> None:
    from pdekit.particles.run.fingerprint import Account

    monkeypatch.setattr(Account, "_globals", lambda self, f: None)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[3], 0, 40)
