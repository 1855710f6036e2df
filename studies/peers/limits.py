"""What no peer is needed for: errors at stated points, growth of the cost, memory, the machine."""

import tracemalloc
from typing import Any

import numba
import numpy as np

import pdekit as pk
from peers.measure import seconds
from peers.problems import BETA, HOT, LINE, SMOOTHING, WELL, bowl, fokker_planck_line, l1

# public reference points: potential, x, t, beta (None: non-viscous), u to 16 digits (by mpmath)
POINTS = (
    ("dw", 0.0, 0.5, 1, 0.16212955306888284), ("dw", 1.0, 0.5, 1, 0.29472472828395847),
    ("dw", 0.3, 2.0, 1, 0.3995041311491555), ("dw", 0.3, 0.5, 4, 0.1610971901928721),
    ("dw", 0.0, 2.0, 1000, 0.18715037674178562), ("dw", 1.5, 0.25, 1000, 0.19878483334603473),
    ("rip", 0.0, 0.05, 1, 0.7663422468797063), ("rip", 0.5, 0.05, 1, -0.04779525698011831),
    ("rip", 0.5, 0.2, 1, -0.1360640219843672), ("rip", 1.0, 0.2, 4, -0.7649493896311281),
    ("rip", 0.5, 1.0, 20, -0.7115642436772183), ("rip", 0.5, 0.2, 1000, -0.4535269413876604),
    ("dw", 0.3, 0.5, None, 0.18044495433832614), ("dw", 0.3, 2.0, None, 0.09440603364473338),
    ("dw", 0.0, 0.5, None, 0.25), ("dw", 2.0, 0.25, None, 0.8898268576942236),
    ("dw", -0.7, 0.9, None, 0.03072339475451512), ("rip", 0.5, 0.2, None, -0.4539793939482316),
    ("rip", 1.0, 0.2, None, -0.8917580869069494), ("rip", 2.0, 0.1, None, 1.1159838913348425),
    ("rip", 2.0, 0.5, None, -0.11280970558013033),
)  # fmt: skip
PLANE_START = pk.Gaussian((-1.0, 0.0), 0.3)


def accuracy() -> dict[str, float]:
    """Greatest errors at the public reference points, and W1 on 9,000 cells against its series."""
    worst, h = {"viscous": 0.0, "hopf-lax": 0.0}, 12 / 2000
    for name, x, t, beta, true in POINTS:
        f = WELL if name == "dw" else pk.potentials.Rippled()
        grid = pk.Grid(x - 6 - h / 2, x + 6 - h / 2, 2000)  # with x at the centre of cell 1000
        equation = pk.ViscousHJ(beta) if beta else pk.HamiltonJacobi()
        kind = "viscous" if beta else "hopf-lax"
        error = abs(float(pk.solve(equation, grid, f, t).fields[-1][1000]) - true)
        worst[kind] = max(worst[kind], error)
    fine = fokker_planck_line(pk.Grid(LINE.lower, LINE.upper, 9000))
    rho = pk.solve(pk.FokkerPlanck(WELL, BETA), fine.grid, fine.given, fine.t).fields[-1]
    return worst | {"references": fine.error(rho)}


def time_error(n: int) -> float:
    """Error of W2's default steps in time alone: L1 distance to the finest steps, same grid."""
    grid, equation = plane(n), pk.FokkerPlanck(bowl, BETA)
    fine, default = (
        pk.solve(equation, grid, PLANE_START, 1.0, scheme).fields[-1]
        for scheme in (pk.schemes.Split(1e-7), None)
    )
    return l1(fine, grid)(default)


def plane(n: int) -> pk.Grid:
    return pk.Grid((-3, -3), (3, 3), n)


def growth(largest: int) -> dict[str, dict[str, float]]:
    """Of the default schemes: seconds a cell on ``largest``² cells over those on 128², seconds.

    From the law (Fokker-Planck) or the field at time 0, as in W2 to W5.
    """
    cases = {
        "Fokker-Planck": (pk.FokkerPlanck(bowl, BETA), PLANE_START, 1.0),
        "viscous Hamilton-Jacobi": (pk.ViscousHJ(HOT), bowl, SMOOTHING),
        "Hamilton-Jacobi": (pk.HamiltonJacobi(), bowl, SMOOTHING),
        "heat": (pk.Heat(HOT), bowl, SMOOTHING),
    }
    out: dict[str, dict[str, float]] = {"cost per cell": {}, "seconds": {}}
    for name, (equation, initial, t) in cases.items():
        few, many = (quickest(equation, plane(n), initial, t) for n in (128, largest))
        out["cost per cell"][name] = many / largest**2 / (few / 128**2)
        out["seconds"][name] = many
    return out


def quickest(equation: Any, grid: pk.Grid, initial: Any, t: float) -> float:
    given = initial(grid.centres) if callable(initial) else initial
    return min(seconds(lambda: pk.solve(equation, grid, given, t)) for _ in range(4))


def memory(n: int) -> float:
    """Most fields of ``n``² cells that NumPy holds at once in a default run of W2."""
    grid, equation = plane(n), pk.FokkerPlanck(bowl, BETA)
    held = grid.centres.nbytes  # the grid's own, made once
    tracemalloc.start()
    pk.solve(equation, grid, PLANE_START, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (held / 2)


@numba.njit
def _triad(a, b, c, scale):  # type: ignore[no-untyped-def]
    for i in range(a.size):
        a[i] = b[i] + scale * c[i]


def triad(size: int = 8_000_000) -> float:
    """STREAM's triad on this machine now, GB/s as counted: 24 bytes an entry."""
    a, b, c = np.zeros(size), np.ones(size), np.ones(size)
    _triad(a, b, c, 3.0)
    return 24e-9 * size / min(seconds(lambda: _triad(a, b, c, 3.0)) for _ in range(5))
