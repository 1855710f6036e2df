"""Time against error: pdekit beside the packages and hand-written SciPy, one thread, one run.

Every method starts from the same potential and initial values and is timed to the field it
returns; matrix, mesh and factors are part of it, compilation is not. Times are processor seconds,
medians of warm runs taken in turn (a peer that needs more than a second runs once). Trust ratios
within one run, never seconds.

  W1   Fokker-Planck, V = (x^2-1)^2/4, beta 4, 1,000 cells of [-3, 3], N(-1, 0.1^2), t 10; L1 error
       against the spectral expansion of pdekit.pde.exact.solutions.
  W1s  its stationary state; L1 error against exp(-beta V) / Z.
  W2   Fokker-Planck, V = (x^2-1)^2/4 + y^2/2 + 0.3 x y, beta 4, [-3, 3]^2, N((-1, 0), 0.3^2), t 1;
       L1 error in space and time together against an expansion in sinc functions.
  W3   viscous Hamilton-Jacobi from the double well, summed over the coordinates, beta 10, t 0.5;
       greatest error against quadrature.
  W4   Hamilton-Jacobi from the same; greatest error against Newton's method.
  W5   heat smoothing of two Gaussian bumps, beta 10, t 0.5; greatest error against the formula.
  W6   McKean-Vlasov: W1's potential and start, beta 3, attraction 1 to the mean, t 10; L1 error
       against an expansion in sinc functions.
  W7   linear-quadratic mean-field game, 400 cells, horizon 1; greatest error of the value at time 0
       where |x| < 2, against its ordinary differential equations.

The peers are optional, those absent are named: ``pip install ".[peers]"`` brings them, on an older
NumPy that mfgsolver and fplanck need (pdekit itself takes both); for that a virtual environment of
its own is best. ``--quick`` measures pdekit and SciPy alone. A peer is a file of ``studies/peers``,
a function for each workload and a table of them. The printed bars are what this project aims at,
met or missed; the claims are what any run should confirm.
"""

import sys
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from peers import figure, limits
from peers.measure import Row, absent, methods, one_thread, table, timed, versions
from peers.problems import problems

TRIAD = 16.0  # GB/s of the machine for which the bars in seconds are stated
GROWTH = {
    "W2": "Fokker-Planck", "W3": "viscous Hamilton-Jacobi", "W4": "Hamilton-Jacobi", "W5": "heat",
}  # fmt: skip


@dataclass(frozen=True)
class Results:
    rows: list[Row]
    titles: dict[str, str]
    numbers: dict[str, Any] = field(default_factory=dict)


def run(quick: bool = False) -> Results:
    """``--quick``: pdekit and SciPy alone, and planes of 128 x 128 cells."""
    rows, titles, failed = [], {}, {}
    with one_thread() as threads:
        rates = [limits.triad()]
        tried = methods(quick)
        for problem in problems(quick):
            titles[problem.name] = problem.title
            measured, wrong = timed(problem, tried, 2 if quick else 7)
            rows, failed = rows + measured, failed | wrong
        numbers = {
            "quick": quick,
            "threads": threads,
            "titles": titles,
            "absent": absent(),
            "failed": failed,
            "peers": versions(),
            "errors_at_stated_cells": limits.accuracy()
            | {"time": limits.time_error(128 if quick else 256)},
            "largest": limits.growth(256 if quick else 2048),
            "fields_in_memory": limits.memory(256 if quick else 512),
        }
        numbers["triad_GB_per_s"] = max(*rates, limits.triad())
    # JSON has no NaN: a run that diverged has no error
    numbers["rows"] = [vars(r) | ({} if isfinite(r.error) else {"error": None}) for r in rows]
    numbers["bars"] = [bar.as_dict() for bar in bars(rows, numbers, quick)]
    report(rows, numbers)
    return Results(rows, titles, numbers)


def report(rows: list[Row], numbers: dict[str, Any]) -> None:
    print(table(rows))
    for name, reason in numbers["failed"].items():
        print(f"failed: {name}: {reason}")
    if numbers["absent"]:
        print(f"absent: {', '.join(numbers['absent'])}")
    print(f"triad {numbers['triad_GB_per_s']:.3g} GB/s")
    for bar in numbers["bars"]:
        verdict = "met" if bar["holds"] else "MISSED"
        print(
            f"bar {verdict:<6} {bar['text']}: {bar['measured']:.3g} "
            f"({bar['relation']} {bar['bound']:g})"
        )


def ratio(rows: list[Row], workload: str, start: str, error: float = float("inf")) -> float | None:
    """The least ratio among a workload's methods whose name starts so and that err no more."""
    found = [
        r.ratio for r in rows
        if r.workload == workload and r.method.startswith(start) and r.ratio and r.error <= error
    ]  # fmt: skip
    return min(found, default=None)


def fastest(rows: list[Row], workload: str, error: float) -> float:
    """Seconds of pdekit's fastest method within an error; NaN if there is none."""
    found = [r.seconds for r in rows if r.workload == workload and r.ours and r.error <= error]
    return min(found, default=float("nan"))


def bars(rows: list[Row], numbers: dict[str, Any], quick: bool) -> list[Claim]:
    """What the project aims at; seconds are scaled to a triad of 16 GB/s."""
    scale = numbers["triad_GB_per_s"] / TRIAD
    large = numbers["largest"]
    aims = [
        ("W1: best SciPy route to 1e-6 over pdekit", ratio(rows, "W1 line", "SciPy", 1e-6), 8),
        ("W1: FiPy over pdekit", ratio(rows, "W1 line", "FiPy"), 1000),
        ("W1: py-pde's own steps over pdekit", ratio(rows, "W1 line", "py-pde, Euler"), 1000),
        ("W1: LSODA on py-pde over pdekit", ratio(rows, "W1 line", "py-pde, LSODA"), 1000),
        ("W2 512²: FiPy over pdekit", ratio(rows, "W2 512²", "FiPy"), 300),
        (
            "W3 512²: gaussian_filter to 1e-6 over pdekit",
            ratio(rows, "W3 512²", "SciPy gaussian_filter", 1e-6), 1,
        ),
    ]  # fmt: skip
    out = [at_least(text, value, bound) for text, value, bound in aims if value is not None]
    if quick:
        return out
    return [
        *out,
        at_most("W2 512²: seconds to 1e-4", scale * fastest(rows, "W2 512²", 1e-4), 0.08),
        at_most("W4 512²: seconds to 1e-5", scale * fastest(rows, "W4 512²", 1e-5), 0.01),
        at_most("W5 512²: seconds to 1e-13", scale * fastest(rows, "W5 512²", 1e-13), 0.006),
        at_most("W6: seconds to 5e-6", scale * fastest(rows, "W6 line", 5e-6), 0.01),
        at_most("W7, 400 x 200: seconds", scale * fastest(rows, "W7 line", 2e-4), 0.06),
        at_most("W2 2048²: seconds", scale * large["seconds"]["Fokker-Planck"], 3),
        *(
            at_most(f"{name}: cost per cell, 2048² over 128²", large["cost per cell"][key], 1.5)
            for name, key in GROWTH.items()
        ),
        at_most("W2: fields in memory", numbers["fields_in_memory"], 12),
    ]


def claims(results: Results) -> list[Claim]:
    """What holds on any machine: errors of the default schemes, and ratios with room to spare.

    ``--quick`` takes too few turns to judge speed: it prints ratios and claims none.
    """
    found, rows = results.numbers["errors_at_stated_cells"], results.rows
    texts = {
        "viscous": ("viscous HJ at the reference points, 2,000 cells, beta 1 to 1000: error", 1e-6),
        "hopf-lax": ("Hopf-Lax at the reference points, 2,000 cells: error", 1e-5),
        "time": ("W2: L1 error of the default steps in time alone", 5e-5),
        "references": ("W1: L1 between 9,000 cells and the spectral expansion", 5e-8),
    }
    out = [at_most(text, found[key], bound) for key, (text, bound) in texts.items()]
    out.append(at_most("W2: fields in memory", results.numbers["fields_in_memory"], 12))
    judged = [] if results.numbers.get("quick") else margins(rows)
    return out + own_errors(results) + cosines(rows) + judged


def own_errors(results: Results) -> list[Claim]:
    bounds = {
        "W1": 1e-6, "W1s": 1e-12, "W2": 1e-3, "W3": 1e-10, "W4": 1e-3, "W5": 1e-10, "W6": 5e-6,
        "W7": 5e-3,
    }  # fmt: skip
    out = []
    for name in results.titles:
        error = next(r.error for r in results.rows if r.workload == name and r.ours)
        text = f"{name}: error of the default scheme"
        out.append(at_most(text, error, bounds[name.split()[0]]))
    return out


def margins(rows: list[Row]) -> list[Claim]:
    """Least ratios to each package, of those that ran, a third of the usual or less."""
    least = {
        ("W1 line", "SciPy"): 2, ("W1 line", "FiPy"): 300, ("W1 line", "py-pde"): 10,
        ("W1 line", "fplanck"): 1000, ("W1s line", "FiPy"): 5, ("W1s line", "fplanck"): 5,
        ("W2 256²", "FiPy"): 20, ("W2 256²", "py-pde"): 20, ("W2 256²", "fplanck"): 20,
        ("W2 512²", "FiPy"): 50, ("W3 line", "py-pde"): 15, ("W3 512²", "py-pde"): 50,
        ("W4 line", "hj_reachability"): 20, ("W4 512²", "hj_reachability"): 100,
        ("W5 512²", "FiPy"): 20, ("W5 512²", "py-pde"): 50, ("W6 line", "SciPy"): 1,
        ("W6 line", "FiPy"): 20, ("W6 line", "py-pde"): 3, ("W7 line", "mfgsolver"): 10,
    }  # fmt: skip
    found = {key: ratio(rows, *key) for key in least}
    return [
        at_least(f"{workload}: {package}'s time over pdekit's", value, least[workload, package])
        for (workload, package), value in found.items()
        if value is not None
    ]


def cosines(rows: list[Row]) -> list[Claim]:
    """That the peer's fast route answers another question: reflection in place of a line."""
    wrong = [r.error for r in rows if r.workload[:2] == "W3" and "cosine" in r.method]
    return [at_least("W3 in the plane: error of the cosine transform", max(wrong), 1e-2)]


def plot(results: Results) -> Any:
    return figure.figure(results.rows, results.titles)
