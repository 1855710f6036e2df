"""The command line as a newcomer meets it: discovery, options, exit status, messages."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer

from pdekit import cli
from pdekit.claims import all_hold, at_least, at_most

STUDY = '''"""Does the double well keep its mass?"""
import pdekit as pk
from matplotlib.figure import Figure
from pdekit.claims import at_most

def run(beta: float = 4.0, bound: float = 1e-12):
    """Move a density."""
    grid = pk.Grid(-3, 3, 200)
    start = pk.Gaussian(-1.0, 0.2)
    return bound, pk.solve(pk.FokkerPlanck(pk.potentials.DoubleWell(), beta), grid, start, 1.0)

def plot(results):
    figure = Figure()
    pk.plotting.density(figure.subplots(), results[1].final)
    return figure

def claims(results):
    return [at_most("drift of mass", results[1].stats["mass_drift"], results[0])]
'''


def pdekit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pdekit", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(STUDY)
    return path


def test_list_has_one_line_a_study(tmp_path: Path) -> None:
    done = pdekit("list", cwd=tmp_path)
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert "smoothing" in names
    assert names == sorted(cli.shipped_studies())


def test_own_study_runs_and_writes_its_figure(study: Path, tmp_path: Path) -> None:
    done = pdekit("run", str(study), "--beta", "6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[holds] drift of mass" in done.stdout
    record = json.loads((tmp_path / "figures" / "own.json").read_text())
    assert record["options"]["beta"] == 6
    assert record["claims"][0]["holds"] is True
    assert (tmp_path / "figures" / "own.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["own.json", "own.png"]


def test_a_claim_that_fails_is_the_exit_status(study: Path, tmp_path: Path) -> None:
    done = pdekit("run", str(study), "--bound", "-1", "--out", "elsewhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "[FAILS] drift of mass" in done.stdout
    assert (tmp_path / "elsewhere" / "own.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "smoothng"), "did you mean 'smoothing'"),
        (("run", "no/such/file.py"), "no such file"),
        (("run", "own.py", "--beta", "-1"), "beta must be positive, got -1.0"),
        (("run", "own.py", "--beta", "cold"), "Invalid value for '--beta'"),
        (("run", "broken.py"), "it lacks plot, claims"),
        (
            ("run", "smoothing", "--quick", "--particles", "0"),
            "Invalid value for '--particles'",
        ),
        (
            ("run", "smoothing", "--quick", "--seed", "-1"),
            "Invalid value for '--seed'",
        ),
        (("run", "smoothing", "--quick", "--loss", "gaps.csv"), "line 3"),
        (("run", "smoothing", "--quick", "--loss", "absent.csv"), "absent.csv"),
    ],
)
def test_mistakes_get_one_clear_message(
    arguments: tuple[str, ...],
    message: str,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.py").write_text("def run(): ...\n")
    (tmp_path / "gaps.csv").write_text("x,value\n0,1\n1,\n2,3\n3,4\n4,5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pdekit", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 2
    assert message in capsys.readouterr().err


def test_a_mistake_is_an_exit_status_without_a_traceback(tmp_path: Path) -> None:
    done = pdekit("run", "smoothng", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'smoothing'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("out", ["own.py", "own.py/figures", "/proc/figures"])
def test_a_folder_that_cannot_be_written_is_found_before_the_run(
    out: str, study: Path, tmp_path: Path
) -> None:
    slow = STUDY.replace('    """Move a density."""', '    print("ran")')
    study.write_text(slow)
    done = pdekit("run", str(study), "--out", out, cwd=tmp_path)
    assert done.returncode == 2
    assert f"nothing can be written to the folder {out}" in done.stderr
    assert "ran" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_result_that_cannot_be_written_is_kept(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full, spare = tmp_path / "full", tmp_path / "spare"
    spare.mkdir()
    whole = cli.files.replace_file

    def replaced(path: Path, write: object) -> None:
        if path.parent == full:
            raise OSError(28, "No space left on device")
        whole(path, write)

    monkeypatch.setattr(cli.files, "replace_file", replaced)
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    with pytest.raises(OSError, match=r"No space left.*it is kept in"):
        cli.perform(cli.load_study(str(study)), "own", full, {})
    (kept,) = spare.iterdir()
    assert json.loads((kept / "own.json").read_text())["claims"][0]["holds"] is True
    assert (kept / "own.png").is_file()
    assert str(kept) in capsys.readouterr().out


def test_a_study_that_stops_does_not_keep_the_others_from_running(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(STUDY.replace("return bound,", "return {}['bars'],"))
    monkeypatch.setattr(cli, "shipped_studies", lambda: {"broken": broken, "own": study})
    with pytest.raises(typer.Exit) as stopped:
        cli.run_all(quick=True, out=tmp_path / "all")
    assert stopped.value.exit_code == 1
    said = capsys.readouterr()
    assert "1 of 2 studies ran and hold" in said.out and "KeyError: 'bars'" in said.err
    assert "stopped by an error or a claim: broken" in said.out
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["own.json", "own.png"]


def test_help_lists_the_options_of_the_study(study: Path, tmp_path: Path) -> None:
    done = pdekit("run", str(study), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--beta" in done.stdout and "--bound" in done.stdout and "--out" in done.stdout


def test_claims_do_not_hold_for_nan_or_in_absence() -> None:
    assert at_most("a", 1.0, 1.0).holds and at_least("a", 1.0, 1.0).holds
    assert not at_most("a", float("nan"), 1.0).holds
    assert not at_least("a", float("nan"), 1.0).holds
    assert not at_most("a", 1.1, 1.0).holds and not at_least("a", 0.9, 1.0).holds
    assert not all_hold([])
    assert not all_hold([at_most("a", 0, 1), at_most("b", 2, 1)])
