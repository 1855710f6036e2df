"""Two processes share an ensemble: the same bits as one, and no deadlock when one of them stops."""

import multiprocessing
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import particles
from pdekit.particles.run.ranks import division
from pdekit.potentials import DoubleWell, SixHumpCamel

LINE, START = pk.Grid(-2, 2, 16), pk.Gaussian(-1.0, 0.3)
MEAN = pk.CurieWeiss(1.0)
LIMIT = 120.0  # seconds for a test's processes to start and end


def curve(x):
    return (x * x - 1).square().sum(-1) / 4


def waves(x):
    return (
        torch.cat([x.sin(), x.cos()], -1)
        if isinstance(x, torch.Tensor)
        else np.concatenate([np.sin(x), np.cos(x)], -1)
    )


FEATURES = pk.FeatureInteraction(waves, 0.5)

# dynamics, start, runs, what is divided, tolerance
CASES = {
    "fused": (pk.Langevin(DoubleWell(), 2.0), START, 1, "particle", 0.0),
    "runs of independent particles": (pk.Langevin(curve, 2.0), START, 3, "particle", 0.0),
    "plane": (pk.Langevin(SixHumpCamel(), 2.0), pk.Gaussian((0, 0.3), 0.3), 1, "particle", 0.0),
    "particles that enter": (
        pk.Langevin(DoubleWell(), 2.0, box=LINE, walls=pk.Walls(pk.Inflow(0.5), True)),
        START,
        1,
        "particle",
        0.0,
    ),
    "with momenta": (pk.UnderdampedLangevin(DoubleWell(), 2.0), START, 1, "particle", 0.0),
    "two scales": (
        pk.TwoScaleLangevin(DoubleWell(), 2.0, 0.5, 0.1, 3),
        np.linspace(-1, 1, 1003)[:, None],
        1,
        "particle",
        0.0,
    ),
    "mean field, a run each": (
        pk.InteractingLangevin(DoubleWell(), 2.0, MEAN),
        START,
        2,
        "run",
        0.0,
    ),
    "pairs, runs": (
        pk.InteractingLangevin(DoubleWell(), 2.0, particles.L1(0.2)),
        START,
        3,
        "run",
        0.0,
    ),
    "features, a run each": (
        pk.InteractingLangevin(DoubleWell(), 2.0, FEATURES),
        START,
        2,
        "run",
        0.0,
    ),
    "features, one run": (
        pk.InteractingLangevin(DoubleWell(), 2.0, FEATURES),
        START,
        1,
        "particle",
        1e-13,
    ),
    # one sum of 1,003 numbers a step in another order: a few units in the last place each
    "mean field, one run": (
        pk.InteractingLangevin(DoubleWell(), 2.0, MEAN),
        START,
        1,
        "particle",
        1e-13,
    ),
    "mean field, one run, Euler in the plane": (
        pk.InteractingLangevin(DoubleWell(2), 2.0, MEAN, integrator=particles.EulerMaruyama()),
        pk.Gaussian((-1.0, 0.3), 0.3),
        1,
        "particle",
        1e-13,
    ),
    "mean field by torch": (
        pk.InteractingLangevin(SixHumpCamel(), 2.0, MEAN),
        pk.Gaussian((0, 0.3), 0.3),
        1,
        "particle",
        1e-12,
    ),
    "consensus": (
        pk.InteractingLangevin(SixHumpCamel(), 2.0, particles.Consensus(1.0)),
        pk.Gaussian((0, 0.3), 0.3),
        1,
        "particle",
        1e-12,
    ),
    "two scales, mean field": (
        pk.TwoScaleLangevin(DoubleWell(), 2.0, 0.5, 0.1, 3, interaction=MEAN),
        START,
        1,
        "particle",
        1e-13,
    ),
}
PASSED = pk.FirstPassage(-0.9, 0.0)
SEEN = (pk.Moments(), pk.Histogram(LINE, every=4))


def run(case, **more):
    dynamics, initial, runs, *_ = CASES[case]
    seen = SEEN if pk.simulate(dynamics, initial, 1003, 0.0, 1.0).x.sizes["dim"] == 1 else SEEN[:1]
    settings = {"n": 1003, "t": [0.0, 0.25, 0.5], "dt": 1 / 64, "runs": runs, "seed": 5}
    return pk.simulate(dynamics, initial, **{**settings, "observe": seen, **more})


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "xarray", "scipy.io", "pdekit.particles.ensemble"])


def processes(work, folder, ranks=2):
    """Start ``work(folder)`` on so many ranks, with what torchrun tells them, on loopback."""
    port = str(free_port())
    started = []
    for r in range(ranks):
        told = {"RANK": str(r), "LOCAL_RANK": str(r), "WORLD_SIZE": str(ranks)}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
        started.append(CONTEXT.Process(target=on_a_rank, args=(work, folder, told), daemon=True))
        started[-1].start()
    return started


def on_a_rank(work, folder, told):
    os.environ.update(told)
    torch.set_num_threads(1)
    with (folder / f"stderr{told['RANK']}").open("w") as file:
        os.dup2(file.fileno(), 2)
    work(folder)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ended(started, folder):
    """Exit codes; a process that hangs is killed and fails the test."""
    until = time.monotonic() + LIMIT
    for p in started:
        p.join(max(0.1, until - time.monotonic()))
    codes = [p.exitcode for p in started]
    for p in started:
        p.kill()
    if None in codes:
        texts = [(folder / f"stderr{r}").read_text()[-2000:] for r in range(len(started))]
        pytest.fail("deadlock:\n" + "\n".join(texts))
    return codes


def move_all(folder):
    """Every case, gathered on rank 0; what is seen on both."""
    ranks = pk.Ranks.joined()
    for number, case in enumerate(CASES):
        share = run(case, ranks=ranks)
        whole = share.gathered()
        assert (whole is None) == (ranks.rank == 1)
        if whole is not None:
            np.save(folder / f"x{number}.npy", whole.x.values)
            if whole.p is not None:
                np.save(folder / f"p{number}.npy", whole.p.values)
        axis = CASES[case][3]
        np.save(folder / f"{axis}{number}_{ranks.rank}.npy", share.x[axis].values)
        share.observed.to_netcdf(folder / f"seen{number}_{ranks.rank}.nc", engine="scipy")
    whole = run("fused", ranks=ranks, observe=PASSED).gathered()
    if whole is not None:
        whole.observed.to_netcdf(folder / "passed.nc", engine="scipy")
    try:
        pairs = pk.InteractingLangevin(DoubleWell(), 2.0, particles.L1(0.2))
        pk.simulate(pairs, START, 1003, 0.1, 0.01, ranks=ranks)
    except ValueError as error:
        (folder / f"refused{ranks.rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    codes = ended(processes(move_all, folder), folder)
    assert codes == [0, 0], (folder / "stderr0").read_text() + (folder / "stderr1").read_text()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_move_the_particles_of_one_process(case, moved):
    """Bit for bit, or up to the order of the sum where a mean is shared."""
    number, whole = list(CASES).index(case), run(case)
    axis, tolerance = CASES[case][3:]
    x = np.load(moved / f"x{number}.npy")
    assert x.shape == whole.x.shape
    if whole.p is not None:
        assert np.array_equal(np.load(moved / f"p{number}.npy"), whole.p)
    if tolerance:
        assert 0 < np.abs(x - whole.x.values).max() < tolerance
    else:
        assert np.array_equal(x, whole.x, equal_nan=True)
    shares = [np.load(moved / f"{axis}{number}_{r}.npy") for r in range(2)]
    assert np.array_equal(np.concatenate(shares), np.arange(whole.x.sizes[axis]))
    assert min(len(s) for s in shares) > 0


@pytest.mark.parametrize("case", CASES)
def test_what_is_seen_is_added_up_over_the_ranks(case, moved):
    import xarray as xr

    number, whole = list(CASES).index(case), run(case).observed
    for r in range(2):
        with xr.open_dataset(moved / f"seen{number}_{r}.nc", engine="scipy") as seen:
            for name in whole:
                if CASES[case][4]:
                    assert np.allclose(seen[name], whole[name], rtol=0, atol=1e-12)
                else:
                    assert np.array_equal(seen[name], whole[name])


def test_passage_times_are_collected(moved):
    import xarray as xr

    whole = run("fused", observe=PASSED).observed
    assert 0.1 < np.isfinite(whole.passage_time).mean() < 1
    with xr.open_dataset(moved / "passed.nc", engine="scipy") as seen:
        for name in ("passage_time", "survival"):
            np.testing.assert_array_equal(seen[name], whole[name])


def test_particles_that_act_in_pairs_are_not_divided(moved):
    for r in range(2):
        text = (moved / f"refused{r}").read_text()
        assert "stay together" in text and "as many runs as ranks" in text


class Trap:
    """A slope that is infinite right of 5, where only one particle starts."""

    dim = 1

    def __call__(self, x):
        return curve(x)

    def grad(self, x):
        return torch.where(x > 5, torch.inf, x * (x * x - 1))


def fail(folder):
    """A particle of rank 1 is lost, alone and in a mean."""
    ranks = pk.Ranks.joined()
    points = np.zeros((20_000, 1))
    points[15_000] = 6.0
    for interaction in (None, MEAN):
        moving = (
            pk.Langevin(Trap(), 2.0)
            if interaction is None
            else pk.InteractingLangevin(Trap(), 2.0, interaction)
        )
        try:
            pk.simulate(moving, points, len(points), 1000.0, 0.01, ranks=ranks)
        except (particles.NonFiniteError, particles.RankError) as error:
            with (folder / f"said{ranks.rank}").open("a") as file:
                file.write(f"{type(error).__name__}: {error}\n")
    os._exit(7)


@pytest.mark.filterwarnings("ignore")
def test_a_particle_lost_on_one_rank_stops_all(tmp_path):
    """100,000 steps are asked for, minutes of work; both ranks stop within the limit."""
    started = processes(fail, tmp_path)
    assert ended(started, tmp_path) == [7, 7], (tmp_path / "stderr0").read_text()
    said = [(tmp_path / f"said{r}").read_text().splitlines() for r in range(2)]
    assert all(line.startswith("NonFiniteError: particle 15000 of run 0") for line in said[1])
    assert said[0][0].startswith("RankError: rank 1 stopped. NonFiniteError: particle 15000")
    assert said[0][1].startswith("RankError") and len(said[0]) == len(said[1]) == 2


def mortal(x):
    """A well; after four hundred looks at it rank 1 dies, or has an error that only it knows of."""
    STEPS["left"] -= os.environ.get("RANK") == "1"
    if not STEPS["left"]:
        if STEPS["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("only here")
    return curve(x)


STEPS = {"left": 400, "dies": True}


def die(folder, moving=pk.Langevin(mortal, 2.0)):  # noqa: B008
    """Rank 0 is told what became of rank 1, and keeps its own share."""
    ranks, saved = pk.Ranks.joined(), pk.Checkpoint(folder / "run.npz")
    try:
        pk.simulate(moving, START, 20_000, 1000.0, 0.01, ranks=ranks, checkpoint=saved)
    except (particles.RankError, ValueError) as error:
        (folder / f"said{ranks.rank}").write_text(str(error))
    os._exit(7)


def die_in_step(folder):
    die(folder, pk.InteractingLangevin(mortal, 2.0, MEAN))


def err_in_step(folder):
    STEPS["dies"] = False
    die_in_step(folder)


@pytest.mark.parametrize("work", [die, die_in_step])
def test_a_rank_that_dies_stops_the_others(work, tmp_path):
    """Alone, where the other's share is saved, and while it waits for the sum of a step."""
    assert ended(processes(work, tmp_path), tmp_path) == [7, -signal.SIGKILL]
    assert "a rank is gone" in (tmp_path / "said0").read_text()
    assert (tmp_path / "run.npz.rank0").exists() == (work is die)


def test_an_error_on_one_rank_stops_all_that_are_in_step(tmp_path):
    assert ended(processes(err_in_step, tmp_path), tmp_path) == [7, 7]
    assert "only here" in (tmp_path / "said1").read_text()
    assert "a rank is gone" in (tmp_path / "said0").read_text()


LONG = {"t": [0.25, 1.0], "dt": 1 / 512}


def save(folder):
    """Checkpoints at every block of steps, a tenth of a second each: independent, then by mean."""
    ranks, sync = pk.Ranks.joined(), os.fsync
    os.fsync = lambda file: (time.sleep(0.05), sync(file))
    saved = pk.Checkpoint(folder / "run.npz", minutes=1e-9)
    run("mean field, one run", ranks=ranks, checkpoint=saved, **LONG)


def go_on(folder):
    """Resume what ``save`` began."""
    ranks = pk.Ranks.joined()
    X = run(
        "mean field, one run", ranks=ranks, checkpoint=pk.Checkpoint(folder / "run.npz"), **LONG
    )
    whole = X.gathered()
    if whole is not None:
        fresh = run("mean field, one run", **LONG)
        assert 0 < X.stats["resumed"] < 1
        assert np.abs(whole.x.values - fresh.x.values).max() < 1e-11
        assert np.array_equal(X.observed["histogram"], fresh.observed["histogram"])


def test_ranks_that_share_a_mean_resume_from_a_common_step(tmp_path):
    """Killed by -9 one after the other, so that their newest files may be of different steps."""
    started = processes(save, tmp_path)
    files = [tmp_path / f"run.npz.rank{r}.previous" for r in range(2)]
    until = time.monotonic() + LIMIT
    while not all(f.exists() for f in files):
        assert all(p.is_alive() for p in started) and time.monotonic() < until
        time.sleep(0.01)
    for p in started:
        p.kill()
    for p in started:
        p.join()
    assert [p.exitcode for p in started] == [-signal.SIGKILL] * 2
    assert ended(processes(go_on, tmp_path), tmp_path) == [0, 0], (
        tmp_path / "stderr0"
    ).read_text()[-3000:]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize(("coupled", "mean"), [(False, False), (True, True), (True, False)])
def test_shares_cover_the_ensemble_once(ranks, coupled, mean):
    for n, runs in ((1003, 1), (64, 7), (640, 8)):
        whole = np.zeros((runs, n), int)
        try:
            shares = division(pk.Ranks(0, ranks), n, runs, coupled, mean).shares
        except ValueError as error:
            assert "take fewer ranks" in str(error) and ranks > runs
            assert (coupled and not mean) or n < 64 * ranks
            continue
        for s in shares:
            whole[s.run : s.run + s.runs, s.particle : s.particle + s.size] += 1
            assert s.particle % 64 == 0 and s.size and s.runs
        assert (whole == 1).all()


def test_without_torchrun_there_is_one_rank(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    ranks = pk.Ranks.joined()
    assert ranks == pk.Ranks(0, 1)
    X = run("fused", ranks=ranks)
    assert X.gathered() is X and X.x.identical(run("fused").x)
