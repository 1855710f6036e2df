"""Two small runs to report on: one with failing and awkward claims, and one that holds."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from matplotlib.figure import Figure

from pdekit import cli
from pdekit.claims import Claim, at_least, at_most

CLAIMS = [
    at_most("drift of mass", 2.2e-16, 1e-12),
    at_most("a <script>alert(1)</script> & \"quoted\" 'claim'", 0.5000000001, 0.5),
    at_least("a measurement that is not a number", math.nan, 0.01),
    at_least("no bound at all " + "verylongword" * 20, 3.0, -math.inf),
]
NUMBERS = {
    "beta": 4.0,
    "many": list(range(100)),
    "comparison": {"<plain>": {"l1": 0.018, "p": None}, "other": {"p": 0.5, "l1": 12345678.9}},
    "deep": {"er": {"est": [1, [2, "three"], {}]}},
}


def study(claims: list[Claim] = CLAIMS, numbers: Any = None) -> Any:
    """A study as a module would be, without a file and without computing anything."""

    def run(beta: float = 4.0, seed: int = 3, data: Path | None = None) -> Any:
        """Nothing is computed."""
        return SimpleNamespace(numbers=NUMBERS if numbers is None else numbers)

    def plot(results: Any) -> Figure:
        """A line that says "nothing" & more."""
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1])
        return figure

    doc = "Is <this> a question & an answer?\n\nFirst\nparagraph.\n\n* kept    by hand\n"
    return SimpleNamespace(run=run, plot=plot, claims=lambda results: claims, __doc__=doc)


def make(folder: Path) -> Path:
    """The runs as the command line leaves them."""
    cli.perform(study(), "mixed", folder, {"seed": 5})
    cli.perform(study(CLAIMS[:1], {}), "fine", folder, {})
    return folder
