"""``pdekit warmup``: small problems of every kind, which compile the kernels of the verbs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def tasks() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names, and what to call; each uses the kernels of its kind."""
    import pdekit as pk

    V, W = pk.potentials.DoubleWell(), pk.potentials.DoubleWell(dim=2)
    line, plane = pk.Grid(-3, 3, 200), pk.Grid((-3, -3), (3, 3), (40, 40))
    start, there = pk.Gaussian(-1.0, 0.3), pk.Gaussian((-1.0, 0.0), 0.3)
    noisy, times = pk.Langevin(V, 4.0), np.linspace(0, 0.5, 21)
    crowd = pk.McKeanVlasov(V, 2.0, pk.CurieWeiss(1.0))

    def solve(equation: Any, grid: Any, initial: Any) -> Callable[[], Any]:
        return lambda: pk.solve(equation, grid, initial, 0.1)

    yield "densities on a line", solve(pk.FokkerPlanck(V, 4.0), line, start)
    yield "densities in the plane", solve(pk.FokkerPlanck(W, 2.0), plane, there)
    yield "transport without noise", solve(pk.FokkerPlanck(V, np.inf), line, start)
    yield "mean fields", solve(crowd, line, start)
    yield "Hamilton-Jacobi on a line", solve(pk.HamiltonJacobi(), line, V)
    yield "Hamilton-Jacobi in the plane", solve(pk.HamiltonJacobi(), plane, W)
    yield "local entropy", solve(pk.ViscousHJ(4.0), line, V)
    yield "control", lambda: pk.control(V, 1.0, line, start, V, 0.5).improvement
    yield "games", lambda: pk.control(V, 1.0, line, start, V, times, coupling=pk.Congestion(0.5))
    yield "particles", lambda: pk.simulate(noisy, start, 2_000, 0.1, 0.01)
    yield "momenta", lambda: pk.simulate(pk.UnderdampedLangevin(V, 4.0), start, 2_000, 0.1, 0.01)
    yield "particles in the plane", lambda: pk.simulate(pk.Langevin(W, 4.0), there, 999, 0.1, 0.01)
    yield "stationary states", lambda: pk.spectral_gap(pk.FokkerPlanck(V, 4.0), line)


def warm_up(say: Callable[[str], Any]) -> float:
    """Run them all; returns the seconds."""
    import time
    import warnings

    begin = time.perf_counter()
    for name, call in tasks():
        before = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the problems are small, their answers thrown away
            call()
        say(f"{name:<30} {time.perf_counter() - before:6.1f} s")
    return time.perf_counter() - begin
