"""Potentials that the centres of the cells do not show are reported by every verb, or resolved."""

import warnings
from math import pi

import numpy as np
import pytest

import pdekit as pk
from pdekit import schemes
from pdekit.potentials import Cosine, Custom, DoubleWell, MullerBrown, Quadratic, Rippled

BETA, HEIGHT, CELLS = 4.0, 0.5, 64
LINE, RING = pk.Grid(-3, 3, CELLS), pk.Grid(-3, 3, CELLS, periodic=True)
START = pk.Gaussian(0, 0.3)


def rippled(waves: float, height: float = HEIGHT):
    """A ramp with ripples, ``waves`` of them a cell."""
    k = 2 * pi * waves / LINE.spacing[0]
    return Custom(lambda x: 0.2 * x[..., 0] + height * np.cos(k * x[..., 0]))


def law(V):
    return pk.FokkerPlanck(V, BETA)


VERBS = {
    "solve": lambda V: pk.solve(law(V), LINE, START, 0.1),
    "backward": lambda V: pk.solve(pk.BackwardKolmogorov(V, BETA), LINE, Quadratic(), 0.1),
    "bellman": lambda V: pk.solve(pk.HamiltonJacobiBellman(V, BETA), LINE, Quadratic(), 0.1),
    "without noise": lambda V: pk.solve(
        pk.FokkerPlanck(V, np.inf), LINE, START, 0.1, schemes.Upwind()
    ),
    "mean field": lambda V: pk.solve(
        pk.McKeanVlasov(V, BETA, pk.CurieWeiss(1.0)), LINE, START, 0.1
    ),
    "control": lambda V: pk.control(V, BETA, LINE, START, Quadratic(), 0.1),
    "stationary": lambda V: pk.stationary(law(V), LINE),
    "current": lambda V: pk.current(law(V), np.full(CELLS, 1 / 6), LINE),
    "detailed_balance": lambda V: pk.detailed_balance(law(V), LINE),
    "spectral_gap": lambda V: pk.spectral_gap(law(V), LINE),
    "slow_modes": lambda V: pk.slow_modes(law(V), LINE),
    "passage": lambda V: pk.mean_first_passage_time(law(V), LINE, (1, 2)),
    "committor": lambda V: pk.committor(law(V), LINE, (-2, -1), (1, 2)),
    "states": lambda V: pk.self_consistent_states(
        pk.McKeanVlasov(V, BETA, pk.CurieWeiss(1.0)), LINE
    ),
    "godunov": lambda V: pk.solve(pk.HamiltonJacobi(), LINE, V, 0.1, schemes.Godunov()),
    "heat": lambda V: pk.solve(pk.Heat(BETA), LINE, V, 1e-3),
}


def said(call, V) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call(V)
    return [str(w.message) for w in told if w.category is pk.ResolutionWarning]


@pytest.mark.parametrize("waves", [1.0, 0.97, 2.0])
@pytest.mark.parametrize("verb", VERBS)
def test_ripples_that_are_a_ramp_at_the_centres_are_reported(verb, waves):
    assert said(VERBS[verb], rippled(waves))


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"godunov", "heat"}))
def test_ripples_that_slow_nothing_are_not(verb):
    if verb != "without noise":  # there any wave that the ramp does not outdo holds particles
        assert not [m for m in said(VERBS[verb], rippled(1.0, 0.02)) if "do not show" in m]


def test_kinetic_equations_say_it_too():
    plane = pk.Grid((-3, -3), (3, 3), (24, 24))
    k = 2 * pi / plane.spacing[0]
    V = Custom(lambda x: (x**2).sum(-1) / 2 + HEIGHT * np.cos(k * x[..., 0]), dim=2)
    kinetic = pk.FokkerPlanck(
        V, BETA, force=lambda x: np.stack([x[..., 1], -x[..., 0]], -1), diffusion=np.diag([0, 1.0])
    )
    law2 = pk.Gaussian((0, 0), 0.5)
    with pytest.warns(pk.ResolutionWarning, match="do not show"):
        pk.solve(kinetic, plane, law2, 0.05)


@pytest.mark.parametrize(
    "V, grid",
    [
        (DoubleWell(), pk.Grid(-4, 4, 16)),
        (Rippled(), pk.Grid(-5, 5, 400)),
        (Cosine(), pk.Grid(0, 2 * pi, 8, periodic=True)),
        (Custom(lambda x: np.abs(x[..., 0])), LINE),
        (Custom(lambda x: np.where(x[..., 0] > 1.01, 1e4, 0.0)), LINE),
        (MullerBrown(), pk.Grid((-1.7, -0.6), (1.2, 2.1), (32, 32))),
    ],
)
def test_potentials_that_the_cells_show_pass(V, grid):
    def looked(V):
        pk.stationary(pk.FokkerPlanck(V, 20.0), grid)

    assert not [m for m in said(looked, V) if "do not show" in m]


def test_smoothing_of_ripples_is_right():
    V, gamma = rippled(1.0), 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smoothed = pk.local_entropy(V, gamma, BETA, LINE)
    x = LINE.centres[20:44]
    z = np.linspace(-8, 8, 40_001) * np.sqrt(gamma / BETA)
    weights = np.exp(-(z**2) * BETA / gamma / 2)
    f = V((x + z)[..., None])
    exact = -np.log((np.exp(-BETA * f) * weights).sum(-1) / weights.sum()) / BETA
    np.testing.assert_allclose(smoothed(x), exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("height", [0.3, 0.03])
def test_the_share_that_is_said_is_that_of_the_ripples(height):
    (text,) = said(VERBS["godunov"], rippled(1.0, height))
    share = float(text.split("by about ")[1].split()[0])
    ramp = 0.2 * 6
    assert 1.5 * height / ramp < share < 2.2 * height / ramp  # from crest to trough


def wave(base, height, waves):
    k = 2 * pi * waves / LINE.spacing[0]
    return lambda x: base + height * np.cos(k * (x[..., 0] - 3))


def with_fields(V=None, **fields):
    return pk.FokkerPlanck(Quadratic() if V is None else V, BETA, **fields)


FIELDS = {
    "force": lambda a, w: {"force": lambda x: wave(1.0, a, w)(x)[..., None]},
    "diffusion": lambda a, w: {"diffusion": wave(1.0, a / 2, w)},
    "killing": lambda a, w: {"killing": wave(1.0, 0.9 * a, w)},
    "source": lambda a, w: {"source": wave(1.0, 0.9 * a, w), "killing": 1.0},
}
OF_FIELDS = {
    "solve": lambda law: pk.solve(law, LINE, START, 0.1),
    "stationary": lambda law: pk.stationary(law, LINE),
    "spectral_gap": lambda law: pk.spectral_gap(law, LINE),
    "passage": lambda law: pk.mean_first_passage_time(law, LINE, (1, 2)),
    "current": lambda law: pk.current(law, np.full(CELLS, 1 / 6), LINE),
    "detailed_balance": lambda law: pk.detailed_balance(law, LINE),
}
# what these equations are for
KNOWN = {"killing": ("solve", "spectral_gap"), "source": ("solve", "stationary")}


@pytest.mark.parametrize("waves", [1.0, 0.97, 2.0])
@pytest.mark.parametrize("field", FIELDS)
def test_ripples_of_fields_are_reported_by_every_verb(field, waves):
    for verb in KNOWN.get(field, OF_FIELDS):
        found = said(OF_FIELDS[verb], with_fields(**FIELDS[field](1.0, waves)))
        assert found, verb
        assert not said(OF_FIELDS[verb], with_fields(**FIELDS[field](0.002, waves))), verb
        assert not said(OF_FIELDS[verb], with_fields(**FIELDS[field](1.0, 0.02))), verb


@pytest.mark.parametrize("kind", ["turning", "tensor", "jump", "array"])
def test_fields_that_the_centres_show_are_not(kind):
    plane = pk.Grid((-3, -3), (3, 3), (24, 24))
    V = Quadratic(1.0, 2)
    fields = {
        "turning": {"force": lambda x: np.stack([x[..., 1], -x[..., 0]], -1)},
        "tensor": {"diffusion": lambda x: (1 + x[..., 0] ** 2)[..., None, None] * np.eye(2)},
        "jump": {"force": lambda x: np.where(x[..., :1] > 0.3, 0.5, 0.0) * np.ones(2)},
        "array": {"diffusion": np.diag([1.0, 0.5])},
    }[kind]
    call = lambda law: pk.solve(law, plane, pk.Gaussian((0, 0), 0.5), 0.05)  # noqa: E731
    assert not [m for m in said(call, pk.FokkerPlanck(V, 1.0, **fields)) if "do not show" in m]


def test_a_force_of_the_plane_is_looked_at_along_both_axes():
    plane = pk.Grid((-3, -3), (3, 3), (24, 24))
    k = 2 * pi / plane.spacing[1]
    law = pk.FokkerPlanck(
        Quadratic(1.0, 2), 1.0, force=lambda x: np.stack([0 * x[..., 0], np.cos(k * x[..., 1])], -1)
    )
    call = lambda law: pk.solve(law, plane, pk.Gaussian((0, 0), 0.5), 0.05)  # noqa: E731
    assert any("what the force does" in m for m in said(call, law))


@pytest.mark.parametrize("what", ["potential", "force"])
def test_complex_values_are_one_error_and_no_warning(what):
    """NumPy warns of the imaginary part that it drops."""
    values = {"potential": lambda x: x[..., 0] ** 2 + 1j * x[..., 0], "force": lambda x: 1j * x}
    given = {"potential": Quadratic()} | {what: values[what]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(TypeError, match="numbers, got ndarray"):
            pk.solve(pk.FokkerPlanck(beta=1.0, **given), LINE, START, 0.1)
    assert not said
