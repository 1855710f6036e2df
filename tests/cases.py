"""Tables of cases; the tests named after properties read them. A row puts a new case under all."""

import math
from typing import Any, NamedTuple

import numpy as np

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import potentials as p
from pdekit import schemes as s
from pdekit.interactions import Kuramoto
from pdekit.pde.discrete.problem import Problem


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
    PotentialCase("tilted", p.DoubleWell() + p.Linear(0.3), (-3.0,), (3.0,)),
    PotentialCase(
        "difference", (p.Quadratic(2.0) - 0.5 * p.Cosine(4.0)).shifted(0.3), (-3.0,), (3.0,)
    ),
    PotentialCase("custom", p.Custom(lambda x: x[..., 0] ** 4 / 4), (-2.0,), (2.0,)),
    PotentialCase("diagonal", p.Quadratic((1.0, 4.0)), (-3.0, -3.0), (3.0, 3.0)),
    PotentialCase("coupled", p.Quadratic(((2.0, 0.3), (0.3, 1.0))), (-3.0, -3.0), (3.0, 3.0)),
    PotentialCase("double_wells", p.DoubleWell(2), (-2.5, -2.5), (2.5, 2.5)),
    PotentialCase("rippled_plane", p.Rippled(2), (-4.0, -4.0), (4.0, 4.0)),
    PotentialCase("shifted_plane", 2 * p.Rippled(2).shifted((0.5, -1.0)), (-3.0, -3.0), (3.0, 3.0)),
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


class EquationCase(NamedTuple):
    """An equation on a small grid; ``initial`` suits it."""

    name: str
    equation: Any
    grid: Any
    initial: Any


def _cosine(x: Any) -> Any:
    return np.cos(x).sum(-1)


def _spread(x: Any) -> Any:
    """A density that is positive everywhere, with a bump."""
    return 0.05 + np.exp(-4 * ((x - 0.7) ** 2).sum(-1))


_LINE, _CIRCLE = pk.Grid(-2.5, 2.5, 64), pk.Grid(0.0, 2 * np.pi, 60, periodic=True)
_PLANE = pk.Grid((-2.5, -2.0), (2.5, 2.0), (24, 20))
_TORUS = pk.Grid((0.0, 0.0), (2 * np.pi, 2 * np.pi), (16, 20), periodic=True)
_PIPE = pk.Grid((-2.0, 0.0), (2.0, 2 * np.pi), (20, 18), periodic=(False, True))
GRIDS = {"line": _LINE, "circle": _CIRCLE, "plane": _PLANE, "torus": _TORUS, "pipe": _PIPE}


def _pull(grid: pk.Grid) -> Any:
    """An attraction that the grid allows."""
    round_it = any(grid.periodic)
    return pk.PairPotential(Kuramoto(0.5, grid.dim)) if round_it else pk.CurieWeiss(1.0)


def _landscape(grid: pk.Grid) -> Any:
    return _cosine if any(grid.periodic) else p.DoubleWell(grid.dim)


def _swirl(x: Any) -> Any:
    """A force that is no gradient in the plane, nor on the circle."""
    return 0.6 + 0.5 * np.sin(x[..., ::-1] + 0.3)


def _varying(x: Any) -> Any:
    """A scalar diffusion that depends on the position."""
    return 1 + 0.6 * np.sin(x).prod(-1)


def _rate(x):
    return 2 * np.sin(x[..., 0]) ** 2


def turning(x: Any, ratio: float = 20.0) -> Any:
    """A tensor of the given anisotropy whose axes turn from point to point."""
    angle = np.sin(x).sum(-1)
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    return (np.eye(2) + (ratio - 1) * along[..., :, None] * along[..., None, :]) / ratio


def _momentum(x: Any) -> Any:
    """q' = p, p' = -q - p: Hamilton's equations with friction, x = (q, p)."""
    return np.stack([x[..., 1], -np.sin(x[..., 0]) - x[..., 1]], -1)


def _general(grid: pk.Grid) -> dict[str, dict[str, Any]]:
    """Fields of the drift-diffusions that a potential alone does not make."""
    fields: dict[str, dict[str, Any]] = {
        "driven": {"force": _swirl},
        "ito": {"diffusion": _varying},
        "stratonovich": {"diffusion": pk.Stratonovich(_varying), "force": _swirl},
    }
    if grid.dim == 2:
        fields["tensor"] = {"diffusion": turning}
        fields["tensor_stratonovich"] = {"diffusion": pk.Stratonovich(turning), "force": _swirl}
        fields["kinetic"] = {"diffusion": ((0.0, 0.0), (0.0, 1.0)), "force": _momentum}
        fields["oblique"] = {"diffusion": pk.HaenggiKlimontovich(((1.0, 0.9), (0.9, 1.0)))}
    if not all(grid.periodic):
        fields["absorbed"] = {"walls": pk.Walls(upper=True)}
        fields["absorbed_driven"] = {"walls": pk.Walls(True, True), "force": _swirl}
        fields["absorbed_in_part"] = {"walls": pk.Walls(pk.PartlyAbsorbing(0.7), True)}
    if grid.dim == 2 and not all(grid.periodic):
        fields["absorbed_tensor"] = {"walls": pk.Walls(upper=True), "diffusion": turning}
        part = {"walls": pk.Walls(upper=pk.PartlyAbsorbing(0.7)), "diffusion": turning}
        fields["absorbed_in_part_tensor"] = part
    fields["killed"] = {"killing": _rate}
    fields["growing"] = {"killing": lambda x: _rate(x) - 2, "force": _swirl}
    return fields


# every equation on every kind of grid that it is solved on
EQUATIONS = [
    EquationCase(f"{name}-{where}", equation, grid, initial)
    for where, grid in GRIDS.items()
    for name, equation, initial in (
        ("heat", pk.Heat(3.0), _landscape(grid)),
        ("hamilton_jacobi", pk.HamiltonJacobi(), _landscape(grid)),
        ("hamilton_jacobi_power", pk.HamiltonJacobi(h.Power(1.5, 0.7)), _landscape(grid)),
        ("viscous", pk.ViscousHJ(5.0), _landscape(grid)),
        ("fokker_planck", pk.FokkerPlanck(_landscape(grid), 4.0), _spread),
        ("mean_field", pk.McKeanVlasov(_landscape(grid), 4.0, _pull(grid)), _spread),
        ("backward", pk.BackwardKolmogorov(_landscape(grid), 4.0), _cosine),
        ("bellman", pk.HamiltonJacobiBellman(_landscape(grid), 4.0), _cosine),
    )
] + [
    EquationCase(f"{kind}_{name}-{where}", make(_landscape(grid), 4.0, **fields), grid, initial)
    for where, grid in GRIDS.items()
    for name, fields in _general(grid).items()
    for kind, make, initial in (
        ("fokker_planck", pk.FokkerPlanck, _spread),
        ("backward", pk.BackwardKolmogorov, _cosine),
    )
]


# carried along without noise
CARRIED = [
    EquationCase(f"{name}-{where}", equation, GRIDS[where], _spread)
    for where in ("line", "circle", "plane", "pipe")
    for name, equation in (
        ("transport", pk.FokkerPlanck(_landscape(GRIDS[where]), math.inf)),
        ("transport_driven", pk.FokkerPlanck(_landscape(GRIDS[where]), math.inf, force=_swirl)),
        (
            "transport_mean_field",
            pk.McKeanVlasov(_landscape(GRIDS[where]), math.inf, _pull(GRIDS[where])),
        ),
    )
]


def conserves(case: EquationCase) -> bool:
    """Whether no wall absorbs and nothing is killed."""
    return not case.equation.loses


def has_gibbs_state(case: EquationCase) -> bool:
    """Whether exp(-beta V) is stationary: no force, diffusion of its own, walls or killing."""
    fields = ("force", "diffusion", "walls", "killing")
    return not case.equation.without_noise and all(
        getattr(case.equation, name, None) is None for name in fields
    )


SCHEMES = {
    "spectral": s.Spectral(),
    "exponential": s.Exponential(),
    "krylov": s.Krylov(),
    "implicit": s.Implicit(0.01),
    "split": s.Split(),
    "godunov": s.Godunov(),
    "filtered": s.Filtered(),
    "hopf_lax": s.HopfLax(),
    "hopf_lax_unrefined": s.HopfLax(refine=False),
    "cole_hopf": s.ColeHopf(),
    "doob": s.DoobTransform(),
    "mean_field": s.MeanField(1e-5, order=5),
    "policy_iteration": s.PolicyIteration(0.05, order=1),
    "policy_pairs": s.PolicyIteration(0.05),
    "upwind": s.Upwind(),
    "monotone_upwind": s.Upwind(1),
    "quantiles": s.Quantiles(64, 1e-7),
}


def solves(scheme: Any, case: EquationCase) -> bool:
    """Whether it declares that it does."""
    problem = Problem(case.equation, case.grid, case.initial)
    if case.equation.without_noise and not getattr(scheme, "without_noise", False):
        return False
    return isinstance(case.equation, scheme.solves) and not scheme.refuses(problem)


# every equation with every scheme that solves it there
PAIRS = [
    (f"{case.name}-{name}", case, scheme)
    for case in EQUATIONS
    for name, scheme in SCHEMES.items()
    if solves(scheme, case)
    # a tensor that turns has a dozen directions to split, and thousands of steps
    and not (name == "split" and "tensor" in case.name)
]

TRANSPORTED = [
    (f"{case.name}-{name}", case, scheme)
    for case in CARRIED
    for name, scheme in SCHEMES.items()
    if solves(scheme, case)
]

# for what concerns the handling of a run rather than its mathematics: no more than needed
_SPARED = ("driven", "ito", "oblique", "tensor_stratonovich", "absorbed", "absorbed_tensor")
HANDLED = [
    row
    for row in PAIRS
    if has_gibbs_state(row[1])
    or not (
        row[1].grid in (_CIRCLE, _TORUS)
        or row[1].name.startswith("backward")
        or row[1].name.split("-")[0].removeprefix("fokker_planck_") in _SPARED
    )
]


def generator(case: EquationCase) -> Any:
    """Generator of a linear equation on the case's grid."""
    return Problem(case.equation, case.grid, None).generator()
