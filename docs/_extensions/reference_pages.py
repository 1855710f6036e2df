"""A page a public name, grouped by what it is for, and the lists that lead to them."""

import inspect
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from plain_docstrings import plain
from study_pages import renew

import pdekit as pk

# title: (what is said of the group, module, names or None for all that the module lists)
GROUPS: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
    "Problems": (
        "Where, from what, and between which walls.", "pdekit",
        ("Grid", "Gaussian", "Uniform", "LogDensity", "Walls", "PartlyAbsorbing", "Inflow", "Held",
         "Resetting", "InTime", "Ito", "Stratonovich", "HaenggiKlimontovich", "Specular"),
    ),
    "Equations": (
        "What `solve` takes. The mathematics behind them: [](../mathematics.md).", "pdekit",
        ("HamiltonJacobi", "Burgers", "ViscousHJ", "Heat", "FokkerPlanck", "BackwardKolmogorov",
         "McKeanVlasov", "HamiltonJacobiBellman"),
    ),
    "Solving": (
        "The verbs of the equations.", "pdekit",
        ("solve", "stationary", "current", "spectral_gap", "slow_modes", "mean_first_passage_time",
         "committor", "kramers_time", "local_entropy", "free_energy", "sensitivity",
         "expectation_gradient", "arrival_time", "decompose",
         "detailed_balance", "dissipation", "entropy_production", "housekeeping",
         "with_steady_state", "shock_time", "quantile_flow"),
    ),
    "Phases": (
        "States of mean-field equations, and where they change.", "pdekit",
        ("self_consistent_states", "critical_beta", "phase_diagram", "follow_branch"),
    ),
    "Control and games": (
        "The forward-backward system, and the theorem on improvement.", "pdekit",
        ("control", "improvement", "Congestion", "MeanTracking", "Nonlocal", "FixedPoint",
         "FictitiousPlay", "Newton"),
    ),
    "Dynamics": (
        "What `simulate` takes.", "pdekit",
        ("simulate", "Langevin", "MultiplicativeLangevin", "MetropolisLangevin",
         "UnderdampedLangevin", "AnnealedLangevin", "ItoProcess", "InteractingLangevin",
         "ControlledLangevin", "TwoScaleLangevin", "TwoLayerNetwork", "EntropySGD", "ElasticSGD",
         "SampledDescent", "SmoothedDescent", "Nesterov", "RestartedNesterov", "MaSS",
         "RestartedMaSS", "Checkpoint", "Ranks", "quantile_particles", "sweep"),
    ),
    "Interactions": (
        "How particles act on each other.", "pdekit",
        ("CurieWeiss", "PairPotential", "FeatureInteraction", "KernelInteraction"),
    ),
    "What is observed": (
        "Instead of all positions.", "pdekit",
        ("Histogram", "Moments", "Basins", "BasinCounts", "FirstPassage"),
    ),
    "Comparison": (
        "Particles against equations, and results against theorems.", "pdekit",
        ("compare", "certify", "convergence", "semiconcavity", "sampled_curvature",
         "area_rate", "robust_width", "widening", "minibatch_covariance", "cite",
         "compare_passages", "fit"),
    ),
    "Results": (
        "What comes back.", "pdekit",
        ("load", "Solution", "Ensemble", "Control", "Passages", "Comparison", "Fit", "PhaseDiagram",
         "SlowModes",
         "Certificates", "Certificate", "Convergence", "Improvement", "Semiconcavity", "AreaRates",
         "Branch", "Decomposition", "LimitCycle", "SampledCurvature", "SelfConsistentState"),
    ),
    "Warnings and errors": (
        "What is said when an answer is not to be believed.", "pdekit",
        ("AccuracyWarning", "ResolutionWarning", "TruncationWarning", "ConvergenceError"),
    ),
    "Potentials": ("`pk.potentials`.", "pdekit.potentials", None),
    "Schemes": (
        "`pk.schemes`: what `solve(..., scheme=)` takes; [](../methods.md) says what each keeps.",
        "pdekit.schemes", None,
    ),
    "Hamiltonians": (
        "`pk.hamiltonians`: what `HamiltonJacobi` takes.", "pdekit.hamiltonians",
        ("Quadratic", "Power", "Eikonal", "Separable", "Shifted", "Custom", "Advection",
         "StateDependent", "Sum"),
    ),
    "Integrators and sums": (
        "`pk.particles`.", "pdekit.particles",
        ("EulerMaruyama", "LeimkuhlerMatthews", "StochasticHeun", "TamedEuler", "ExactSum",
         "ChebyshevSum", "RandomBatch", "FullGradient", "MiniBatch", "NoisyGradient", "FiniteSum",
         "Scoping", "Logarithmic", "LastIterate", "ExponentialAverage", "LinearAverage", "L1",
         "Consensus", "CheckpointError", "CheckpointWarning", "StepSizeWarning", "NonFiniteError",
         "Interrupted"),
    ),
    "Metrics": (
        "`pk.comparison`: distances that `compare` takes.", "pdekit.comparison",
        ("W1", "W2", "L1", "KL", "ChiSquare", "KolmogorovSmirnov", "Energy", "Moments",
         "SlicedW2"),
    ),
    "Optimizers": (
        "`pk.optim`, for `torch.nn` networks: [](../optimizers.md).", "pdekit.optim", None,
    ),
    "Landscapes": (
        "`pk.landscapes`: [](../landscapes.md).", "pdekit.landscapes", None,
    ),
    "Networks": (
        "`pk.networks`: activations and tasks of two-layer networks.", "pdekit.networks",
        ("PiecewiseLinear", "GaussianClasses", "Samples"),
    ),
    "Testing": (
        "`pk.testing`: for the tests of any package.", "pdekit.testing", ("assert_follows",),
    ),
    "Plotting": (
        "`pk.plotting`, on axes of matplotlib.", "pdekit.plotting",
        ("line", "density", "histogram", "spectrum", "field", "bands"),
    ),
}  # fmt: skip


def names_of(module: Any, listed: tuple[str, ...] | None) -> list[str]:
    if listed is not None:
        return list(listed)
    return [name for name in module.__all__ if callable(getattr(module, name))]


@cache
def tables(document: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The rows of a document's tables: the first cell, and the others with their headings."""
    found, heads = [], None
    for line in (Path(__file__).parents[1] / document).read_text("utf-8").splitlines():
        cells = [c.strip().replace("\0", "|") for c in line.replace("\\|", "\0").split("|")[1:-1]]
        if not cells:
            heads = None
        elif heads is None:
            heads = cells
        elif not set("".join(cells)) <= set("-: "):
            pairs = zip(heads[1:], cells[1:], strict=False)
            found.append((cells[0], [(head, cell) for head, cell in pairs if head and cell]))
    return found


def promises(name: str) -> str:
    """What the tables of docs/methods.md and docs/trust.md say of a name: orders, what is kept."""
    said: dict[str, str] = {}
    for document in ("methods.md", "trust.md"):
        for first, cells in tables(document):
            if re.search(rf"`(?:\w+\.)?{name}\b[^`]*`", first):
                said |= {head: cell for head, cell in cells if head not in said}
    rows = "".join(
        f"{head[0].upper() + head[1:]}\n   {plain(told(cell))}\n" for head, cell in said.items()
    )
    return f"What is promised\n----------------\n\n{rows}\n" if rows else ""


def told(cell: str) -> str:
    """Markdown of a cell as text: names stay names, links lose their targets."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell).replace("**", "").replace("`", "``")


def page(module: str, name: str, thing: Any) -> str:
    """Of one name: its docstring, members, and examples that use it."""
    kind = "class" if inspect.isclass(thing) else "function"
    kind = "exception" if kind == "class" and issubclass(thing, Exception) else kind
    members = "   :members:\n   :inherited-members: object, tuple, Exception, Warning, Optimizer\n"
    return (
        f"{name}\n{'=' * len(name)}\n\n.. currentmodule:: {module}\n\n"
        f".. auto{kind}:: {name}\n{members if kind == 'class' else ''}\n"
        f"{promises(name)}\n"
        f".. minigallery:: {module}.{name}\n   :add-heading: Examples\n   :heading-level: -\n"
    )


def summary(thing: Any) -> str:
    """The first sentence of its docstring."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    return text.replace("|", "\\|").replace("*", "\\*").replace("[", "\\[").rstrip(":")


def group(title: str, about: str, module: str, things: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| [{name}](pages/{module}.{name}.rst) | {summary(thing)} |"
        for name, thing in things.items()
    )
    tree = "\n".join(f"pages/{module}.{name}" for name in things)
    return (
        f"# {title}\n\n{about}\n\n| name | |\n| --- | --- |\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    )


def write(app: Any) -> None:
    """Before pages are looked for."""
    folder = Path(app.srcdir) / "reference"
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    missing = {n for n in pk.__all__ if callable(getattr(pk, n))}
    listed = []
    for title, (about, module, given) in GROUPS.items():
        home = pk if module == "pdekit" else getattr(pk, module.removeprefix("pdekit."))
        sys.modules.setdefault(module, home)  # autodoc imports by the public name
        names = names_of(home, given)
        missing -= set(names)
        for name in names:
            renew(
                folder / "pages" / f"{module}.{name}.rst", page(module, name, getattr(home, name))
            )
        stem = title.lower().replace(" ", "_")
        listed.append(stem)
        things = {name: getattr(home, name) for name in names}
        renew(folder / f"{stem}.md", group(title, about, module, things))
    if missing:
        raise ValueError(
            f"docs/_extensions/reference_pages.py lists no group for {sorted(missing)}"
        )
    tree = "\n".join(listed)
    renew(folder / "index.md", f"# Reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n")


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write, priority=100)
    return {"version": "1", "parallel_read_safe": True}
