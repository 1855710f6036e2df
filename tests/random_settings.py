"""Random landscapes, temperatures and starts on the line and in the plane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import pdekit as pk

TIMES = np.linspace(0, 0.6, 13) ** 1.5 / 0.6**0.5


@dataclass(frozen=True)
class Landscape:
    """Σ_k bend x⁴/4 + stiff x²/2 + tilt x + ripple cos 2x, and mixed x y in the plane."""

    bend: float
    stiff: float
    tilt: float
    ripple: float
    mixed: float
    dim: int

    def __call__(self, x: Any) -> Any:
        each = self.bend * x**4 / 4 + self.stiff * x**2 / 2 + self.tilt * x
        values = (each + self.ripple * np.cos(2 * x)).sum(-1)
        return values + self.mixed * x[..., 0] * x[..., 1] if self.dim == 2 else values

    def grad(self, x: Any) -> Any:
        slope = self.bend * x**3 + self.stiff * x + self.tilt - 2 * self.ripple * np.sin(2 * x)
        return slope + self.mixed * np.flip(x, -1) if self.dim == 2 else slope


@dataclass(frozen=True)
class Setting:
    """What a row is made of."""

    potential: Landscape
    beta: float
    start: pk.Gaussian
    grid: pk.Grid
    seed: int

    @property
    def dim(self) -> int:
        return self.potential.dim

    @property
    def equation(self) -> Any:
        return pk.FokkerPlanck(self.potential, self.beta)

    def wave(self, x: Any) -> Any:
        """Bounded data, rough enough to be smoothed."""
        return np.cos(2 * x[..., 0] + self.potential.tilt)

    def cost(self, x: Any) -> Any:
        return (x[..., 0] - 0.5) ** 2 + self.potential.tilt * x[..., 0]

    def solve(self, equation: Any, initial: Any, times: Any = TIMES) -> Any:
        return pk.solve(equation, self.grid, initial, times)

    def simulate(self, beta: float, times: Any = (0.0, 0.1, 0.4)) -> Any:
        motion = pk.Langevin(
            pk.potentials.Custom(self.potential, self.potential.grad, self.dim), beta
        )
        return pk.simulate(motion, self.start, 1_000, list(times), 0.01, seed=self.seed)

    def controlled(self) -> Any:
        return pk.control(
            self.potential, self.beta, self.grid, self.start, self.cost, np.linspace(0, 0.6, 13)
        )


def settings_of(dim: int, convex: bool) -> st.SearchStrategy[Setting]:
    """Landscapes of dimension 1 or 2, with Hess V >= 0.3 on all of space where ``convex``."""
    side = (2.6, 60) if dim == 1 else (2.6, 20)
    grid = pk.Grid((-side[0],) * dim, (side[0],) * dim, (side[1],) * dim)

    def made(numbers: tuple[float, ...]) -> Setting:
        bend, stiff, tilt, ripple, mixed, beta, mean, std, seed = numbers
        if convex:
            stiff += 4 * abs(ripple) + abs(mixed)
        else:
            stiff -= 1.3
        law = pk.Gaussian((mean, -mean)[:dim] if dim == 2 else mean, std)
        return Setting(Landscape(bend, stiff, tilt, ripple, mixed, dim), beta, law, grid, int(seed))

    return st.tuples(
        st.floats(0.2, 1), st.floats(0.3, 1.5), st.floats(-0.5, 0.5), st.floats(-0.3, 0.3),
        st.floats(-0.3, 0.3), st.floats(2.0, 6.0), st.floats(-0.8, 0.8), st.floats(0.25, 0.4),
        st.integers(0, 10**6),
    ).map(made)  # fmt: skip
