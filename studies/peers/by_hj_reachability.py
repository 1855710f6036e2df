"""hj_reachability: essentially non-oscillatory differences in JAX, compiled before timing.

Single precision, its default; one thread by XLA's flags, set before JAX is imported.
"""

import os
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hj_reachability as hj
import jax.numpy as jnp
import numpy as np

from peers.problems import Method, Problem


class FreeMotion(hj.dynamics.Dynamics):
    """u_t + |∇u|^2 / 2 = 0."""

    def __init__(self) -> None:
        super().__init__("min", "max", None, None)

    def __call__(self, state: Any, control: Any, disturbance: Any, time: Any) -> Any:
        return control

    def optimal_control_and_disturbance(self, state: Any, time: Any, grad_value: Any) -> Any:
        return grad_value, jnp.zeros_like(grad_value)

    def hamiltonian(self, state: Any, time: Any, value: Any, grad_value: Any) -> Any:
        return grad_value @ grad_value / 2

    def partial_max_magnitudes(self, state: Any, time: Any, value: Any, grad_value_box: Any) -> Any:
        return jnp.maximum(jnp.abs(grad_value_box.lo), jnp.abs(grad_value_box.hi))


def stepper(problem: Problem, accuracy: str) -> Any:
    grid, settings = problem.grid, hj.SolverSettings.with_accuracy(accuracy)
    low = np.array([axis[0] for axis in grid.axes])
    box = hj.sets.Box(low, -low)
    lattice = hj.Grid.from_lattice_parameters_and_boundary_conditions(
        box, grid.cells, (hj.boundary_conditions.extrapolate,) * grid.dim
    )
    dynamics, f = FreeMotion(), jnp.asarray(problem.given)

    def run(t: float = problem.t) -> Any:
        return np.asarray(hj.step(settings, dynamics, lattice, 0.0, f, t, progress_bar=False))

    run(1e-6)
    return run


def methods() -> tuple[Method, ...]:
    names = {"medium": "ENO2", "very_high": "WENO5"}
    return tuple(
        Method(
            "W4", f"hj_reachability {name}", lambda p, a=accuracy: stepper(p, a),
            largest=512**2 if accuracy == "medium" else 1000,
        )
        for accuracy, name in names.items()
    )  # fmt: skip
