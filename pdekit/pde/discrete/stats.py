"""The contents of ``.stats`` of a solution: recorded during the solve, never used for decisions.

Plain dictionaries, so that they are JSON. A scheme with additional entries extends
``Stats`` in its own file, and ``pdekit.pde.schemes`` lists all of them.
"""

from typing import Required, TypedDict


class Stats(TypedDict, total=False):
    """The entries of any scheme; a key is present if it applies.

    ``error_estimate``: of the error in time; ``negative_before_clipping``: the lowest value met;
    ``mass_drift`` or, where walls absorb, ``survival`` at the times; where something is supplied
    ``mass`` at the times; ``wall_mass``: mass beyond the box
    if it were larger, a share of what is left; ``upwinded``: share of
    the mass in cells of Péclet number above 2; ``cell_peclet``: its mean number; ``from_means``,
    ``on_other_cells``, ``cell_error``: how far second solutions are from this one; ``cell_jump``:
    of a value function over a cell; ``nodes_per_cell``: along an axis, on which a function was
    evaluated; ``filtered``: largest share of cells in which a step was filtered; ``substeps``:
    equal steps of every interval.
    """

    steps: Required[int]
    error_estimate: float
    negative_before_clipping: float
    mass_drift: float
    survival: list[float]
    mass: list[float]
    wall_mass: float
    upwinded: float
    cell_peclet: float
    from_means: float
    on_other_cells: float
    cell_jump: float
    cell_error: float
    nodes_per_cell: int
    filtered: float
    substeps: list[int]


class Summary(TypedDict):
    """The final entries of every solution, besides its steps."""

    seconds: float
    minimum: float
    maximum: float


class ControlledStats(Stats, total=False):
    """Also of densities under a control.

    ``mass_defect``: the largest over a step of the exact transform; ``monotone_steps``: that kept
    the sign where those of second order would not; ``step_error``: in L1, relative to the mass.
    """

    mass_defect: float
    monotone_steps: int
    step_error: float


class TransportStats(Stats, total=False):
    """Also of transport without noise.

    ``w1_error``: an estimate of the Wasserstein-1 distance from the solution, in units of the
    coordinate, per unit of mass, at the worst of the times; in the plane that of the marginals
    along the axes. ``unresolved``: the share of the mass where the density is narrower than the
    cells. ``energies`` at the times, and ``largest_energy_step``, over all steps.
    """

    w1_error: float
    unresolved: float
    energies: list[float]
    largest_energy_step: float


class GameStats(TypedDict, total=False):
    """Of games: the work of the solver, ``distances`` of all responses, and the error in time.

    ``products``: with the linearised response; ``strengths``: of the coupling, on the way.
    """

    responses: int
    products: int
    strengths: int
    distances: list[float]
    time_error: float
