"""Tables of cases; the tests named after properties read them. A row puts a new case under all."""

import math
from typing import Any, NamedTuple

import numpy as np

from pdekit import potentials as p


class PotentialCase(NamedTuple):
    """A potential and a box in which its structure lies."""

    name: str
    potential: Any
    lower: tuple[float, ...]
    upper: tuple[float, ...]


def _slice() -> p.Tabulated:
    x = np.linspace(-2.0, 3.0, 41)
    return p.Tabulated(x, np.cos(3 * x) + x**2 / 5)


def _plane() -> p.Tabulated:
    # the axes differ in length, step and evenness, so a swapped axis shows
    x, y = np.linspace(-1.0, 1.0, 9), np.array([-2.0, -1.5, -0.7, 0.0, 0.4, 1.2, 2.0])
    return p.Tabulated((x, y), np.sin(2 * x)[:, None] * y + np.cos(y) + x[:, None])


# boxes reach beyond the samples of the tabulated ones, where they go on linearly
POTENTIALS = [
    PotentialCase("quadratic", p.Quadratic(), (-3.0,), (3.0,)),
    PotentialCase("hilltop", p.Quadratic(-2.0), (-3.0,), (3.0,)),
    PotentialCase("double_well", p.DoubleWell(), (-3.0,), (3.0,)),
    PotentialCase("rippled", p.Rippled(), (-5.0,), (5.0,)),
    PotentialCase("rough", p.Rough(), (-0.2,), (0.2,)),
    PotentialCase("slice", _slice(), (-3.0,), (4.0,)),
    PotentialCase("sum", p.DoubleWell() + p.Rippled(), (-3.0,), (3.0,)),
    PotentialCase("custom", p.Custom(lambda x: x[..., 0] ** 4 / 4), (-2.0,), (2.0,)),
    PotentialCase("diagonal", p.Quadratic((1.0, 4.0)), (-3.0, -3.0), (3.0, 3.0)),
    PotentialCase("coupled", p.Quadratic(((2.0, 0.3), (0.3, 1.0))), (-3.0, -3.0), (3.0, 3.0)),
    PotentialCase("double_wells", p.DoubleWell(2), (-2.5, -2.5), (2.5, 2.5)),
    PotentialCase("rippled_plane", p.Rippled(2), (-4.0, -4.0), (4.0, 4.0)),
    PotentialCase("rough_plane", p.Rough(2, 0.3), (-2.0, -2.0), (2.0, 2.0)),
    PotentialCase("camel", p.SixHumpCamel(), (-2.5, -1.5), (2.5, 1.5)),
    PotentialCase("muller_brown", p.MullerBrown(), (-1.5, -0.3), (1.2, 2.0)),
    PotentialCase("plane", _plane(), (-1.5, -2.5), (1.5, 2.5)),
    PotentialCase(
        "custom_plane",
        p.Custom(lambda x: (x[..., 0] * x[..., 1] - math.pi) ** 2, dim=2),
        (-2.0, -2.0),
        (2.0, 2.0),
    ),
]
