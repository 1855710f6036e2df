"""A dynamics of one's own that keeps its noise, or shares it among particles, is refused."""

import numpy as np
import pytest

import pdekit as pk


class Keeps:
    def step(self, state, step, noise):
        if not hasattr(self, "z"):
            self.z = noise.normals()
        return state + self.z * step.size**0.5


class Shares:
    def step(self, state, step, noise):
        return state + noise.normals()[..., :1, :] * step.size**0.5


class Flips:
    def step(self, state, step, noise):
        return state + (noise.uniforms() > 0.5) * step.size


@pytest.mark.parametrize("n", [2, 192, 300])
def test_kept_and_shared_noise(n):
    start = np.zeros((n, 1))
    with pytest.raises(ValueError, match="keep nothing"):
        pk.simulate(Keeps(), start, n, 0.5, 0.25)
    with pytest.raises(ValueError, match="same noise"):
        pk.simulate(Shares(), start, n, 0.5, 0.25)
    pk.simulate(Flips(), start, n, 0.5, 0.25)
