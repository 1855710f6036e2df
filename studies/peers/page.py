"""What the records of studies say, as Markdown: the tables of README.md, docs/speed.md and others.

After a full run, ``python studies/peers/page.py`` rewrites what stands between the marks
``<!-- NAME -->`` and ``<!-- end -->`` of these pages from figures/*.json. No number is typed there.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "studies"))

from peers import optimizers, particles  # noqa: E402  (found on the path just added)

EQUAL = 1.05  # errors within 5 % count as equal, as in measure.compared
COLUMNS = ("SciPy", "FiPy", "py-pde", "fplanck", "hj_reachability", "mfgsolver")


def brief(value: float) -> str:
    """Two digits of a ratio or a number of figures, with thousands apart."""
    two = float(f"{value:.2g}")
    return f"{two:,.0f}" if two >= 10 else f"{two:.2g}"


def aligned(rows: Iterable[tuple[str, ...]], head: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of(rows: list[dict[str, Any]], workload: str, package: str) -> list[dict[str, Any]]:
    return [r for r in rows if r["workload"] == workload and r["method"].startswith(package)]


def default(rows: list[dict[str, Any]], workload: str) -> dict[str, Any]:
    """pdekit's own first method of a workload: what it does when nothing is chosen."""
    return of(rows, workload, "pdekit")[0]


def best(rows: list[dict[str, Any]], error: float) -> dict[str, Any] | None:
    """The fastest of a package's methods that err no more; if none does, of its most accurate."""
    sound = [r for r in rows if r["error"] is not None]
    least = min((r["error"] for r in sound), default=0.0)
    level = [r for r in sound if r["error"] <= max(EQUAL * max(error, least), 1e-13)]
    return min(level, key=lambda r: r["seconds"], default=None)


def cell(row: dict[str, Any] | None, own: dict[str, Any]) -> str:
    """Time over that of pdekit's default scheme, and the error."""
    if row is None:
        return "-"
    return f"{brief(row['seconds'] / own['seconds'])} at {row['error']:.0e}"


def ratios(numbers: dict[str, Any]) -> str:
    """A line per workload, a column per package."""
    rows, lines = numbers["rows"], []
    for workload in dict.fromkeys(r["workload"] for r in rows):
        own = default(rows, workload)
        cells = (cell(best(of(rows, workload, p), own["error"]), own) for p in COLUMNS)
        lines.append((f"{workload}, {numbers['titles'][workload]}", f"{own['error']:.0e}", *cells))
    return aligned(lines, ("workload", "error of pdekit", *COLUMNS))


def every_row(numbers: dict[str, Any]) -> str:
    """All that was measured; the ratio is to pdekit's fastest method that errs no more."""
    lines = []
    for r in numbers["rows"]:
        error = "diverges" if r["error"] is None else f"{r['error']:.1e}"
        ratio = "" if r["ratio"] is None else brief(r["ratio"])
        lines.append((r["workload"], r["method"], f"{1e3 * r['seconds']:.3g}", error, ratio))
    return aligned(lines, ("workload", "method", "ms", "error", "time over pdekit's"))


def bars(numbers: dict[str, Any]) -> str:
    lines = [
        (b["text"], brief(b["measured"]) if b["measured"] >= 1 else f"{b['measured']:.2g}",
         f"{b['relation']} {b['bound']:g}".replace(">=", "≥").replace("<=", "≤"),
         "met" if b["holds"] else "**missed**")
        for b in numbers["bars"]
    ]  # fmt: skip
    return aligned(lines, ("aim", "measured", "bound", ""))


def particle_rows(numbers: dict[str, Any]) -> list[particles.Row]:
    return [particles.Row(**r) for r in numbers["rows"]]


def particle_ratios(numbers: dict[str, Any]) -> str:
    return particles.readme(particle_rows(numbers))


def every_particle_row(numbers: dict[str, Any]) -> str:
    lines = []
    for r in particle_rows(numbers):
        answer = "" if r.answer is None else f"{r.answer:.3g}"
        ratio = "" if r.ratio is None else brief(r.ratio)
        lines.append((r.workload, r.method, f"{r.rate:.3g}", answer, ratio))
    return aligned(lines, ("workload", "method", "a second", "answer", "pdekit's rate over it"))


def every_optimizer_row(numbers: dict[str, Any]) -> str:
    rows = [optimizers.Row(**r) for r in numbers["rows"]]
    bare, sgd = (next(r for r in rows if r.method == m) for m in (optimizers.BARE, optimizers.SGD))
    lines = [
        (r.method, f"{r.milliseconds:.3g}", f"{1 + r.overhead / bare.milliseconds:.2f}",
         *(("", "") if r is bare else (f"{r.overhead:.2g}", brief(r.overhead / sgd.overhead))))
        for r in rows
    ]  # fmt: skip
    head = ("method", "ms a gradient", "over the bare one", "ms beyond it", "over SGD's")
    return aligned(lines, head)


def ends(numbers: dict[str, Any]) -> str:
    """Of the line: optimizer at γ, how far its mean ends are from the minima of the PDE."""
    lines = []
    for row in numbers["ends"]:
        far = max(row["minima"], key=lambda m: abs(m["offset"]))
        off = f"{abs(far['offset']):.3f} ± {far['error']:.3f}"
        share = f"{100 * row['share']:.0f} %"
        lines.append((row["optimizer"], f"{row['gamma']:g}", str(len(row["minima"])), off, share))
    head = ("optimizer", "γ", "minima of the solution", "farthest mean of ends (± standard error)",
            "ends in f's two lowest wells")  # fmt: skip
    return aligned(lines, head)


def flatness(numbers: dict[str, Any]) -> str:
    """Of the network: every quantity over SGD's, with half its 99 % interval."""
    keys = ("gap", "largest eigenvalue", "trace", "training loss", "test error")
    found = numbers["network"]["over_sgd_and_half_99"]
    lines = [
        (name, *("-" if row[k] is None else "{:.2f} ± {:.2f}".format(*row[k]) for k in keys))
        for name, row in found.items()
        if name != "SGD"
    ]
    return aligned(lines, ("over SGD's", *keys))


def told(difference: tuple[float, float], scale: float, digits: int) -> str:
    """A difference and half its interval, bold where 0 lies outside; "-" to oneself."""
    if not any(difference):
        return "-"
    mean, half = (scale * x for x in difference)
    text = f"{mean:+.{digits}f} ± {half:.{digits}f}"
    return f"**{text}**" if abs(mean) > half else text


def training(numbers: dict[str, Any]) -> str:
    """Who trains best: at each budget test error, and what is less than SGD's or more."""
    rows = {(r["optimizer"], r["gradients"]): r for r in numbers["rows"]}
    budgets = sorted({g for _, g in rows}, reverse=True)

    def cells(r: dict[str, Any]) -> tuple[str, ...]:
        mean, half = (100 * x for x in r["mean_and_half_95"]["error"])
        less = r["less_sgd_and_half"]
        return (f"{mean:.2f} ± {half:.2f}", told(less["error"], 100, 2),
                told(less["training"], 1, 3))  # fmt: skip

    order = [n for n, g in rows if g == budgets[0]]
    order.sort(key=lambda n: rows[n, budgets[0]]["mean_and_half_95"]["error"][0])
    lines = [(n, *(c for g in budgets for c in cells(rows[n, g]))) for n in order]
    head = [(f"{g:,} gradients: test error, %", "less SGD's", "training loss less SGD's")
            for g in budgets]  # fmt: skip
    return aligned(lines, ("optimizer", *(c for part in head for c in part)))


def split(numbers: dict[str, Any]) -> str:
    """Replicas that share the data: test errors, and those less SGD's on all."""
    lines = []
    for r in numbers["together"]:
        mean, half = (100 * x for x in r["error_and_half_95"])
        less = told(r["less_sgd_on_all_and_half_99"], 100, 2)
        lines.append((r["method"], str(r["replicas"]), f"{r['share']:.0%}", f"{r['gradients']:,}",
                      f"{mean:.2f} ± {half:.2f}", less))  # fmt: skip
    head = ("method", "networks", "each sees", "gradients of each", "test error, %",
            "less SGD's on all")  # fmt: skip
    return aligned(lines, head)


def defaults(numbers: dict[str, Any]) -> str:
    """Of each optimizer the loss that it leaves, and its ratio to that of SGD."""
    lines = [
        (r["optimizer"], f"{r['loss']:.4f} ± {r['error']:.4f}", f"{r['ratio']:.2f}")
        for r in numbers["rows"]
    ]
    return aligned(lines, ("optimizer", "loss (± standard error)", "over SGD's"))


def optimizer_bars(numbers: dict[str, Any]) -> str:
    lines = [
        (b["text"].split(": over")[0], f"{b['measured']:.2f}", f"≤ {b['bound']:.2f}",
         "met" if b["holds"] else "**missed**")
        for b in numbers["bars"]
    ]  # fmt: skip
    return aligned(lines, ("time over the bare gradient's", "measured", "bound", ""))


# mark: (record, what is written there)
PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "particle ratios": ("particle_speed", particle_ratios),
    "particle bars": ("particle_speed", bars),
    "every particle row": ("particle_speed", every_particle_row),
    "ends": ("smoothed_training", ends),
    "defaults": ("../studies/networks/defaults", defaults),
    "flatness": ("smoothed_training", flatness),
    "training": ("training_tables", training),
    "split": ("replicas", split),
    "every optimizer row": ("optimizer_speed", every_optimizer_row),
    "optimizer bars": ("optimizer_speed", optimizer_bars),
    "ratios": ("work_precision", ratios),
    "bars": ("work_precision", bars),
    "every row": ("work_precision", every_row),
}


def record(name: str, figures: Path) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((figures / f"{name}.json").read_text())["numbers"]
    return numbers


def rewritten(text: str, figures: Path) -> str:
    """A page with each of its marked parts as the records in ``figures`` have it."""
    for mark, (name, part) in PARTS.items():
        pattern = rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- end -->)"
        if re.search(pattern, text, re.S):
            table = part(record(name, figures))
            text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.S)
    return text


PAGES = ("README.md", "docs/speed.md", "docs/optimizers.md")

if __name__ == "__main__":
    for name in PAGES:
        page = ROOT / name
        page.write_text(rewritten(page.read_text(), ROOT / "figures"))
