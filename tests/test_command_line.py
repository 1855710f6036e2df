"""The command line loses nothing: options at once, any console, interruptions, starting points."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from pdekit import cli, consoles, options

HEAVY = ("torch", "numba", "scipy", "xarray", "matplotlib")


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pdekit", *arguments]
    here = os.environ | environment
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False, env=here)


@pytest.mark.parametrize("name", sorted(cli.shipped_studies()))
def test_options_are_read_without_what_the_study_imports(name: str) -> None:
    assert options.outline(cli.shipped_studies()[name]) is not None


def test_they_are_those_of_the_study() -> None:
    import inspect

    for name in ("smoothing", "loss_plane"):
        outline = options.outline(cli.shipped_studies()[name])
        assert outline is not None
        read, real = (
            inspect.signature(m.run, eval_str=True).parameters
            for m in (outline, cli.load_study(name))
        )
        assert list(read) == list(real)
        assert [p.default for p in read.values()] == [p.default for p in real.values()]


def test_help_and_wrong_options_load_nothing_heavy(tmp_path: Path) -> None:
    for arguments in (["run", "smoothing", "--help"], ["run", "smoothing", "--nonsense"]):
        code = (
            f"import sys; sys.argv = ['pdekit', *{arguments}]\n"
            "from pdekit import cli\n"
            "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
            f"assert not [m for m in {HEAVY} if m in sys.modules]"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()


def test_a_study_whose_options_need_its_imports_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("import numpy as np\ndef run(x: np.float64 = 1.0): ...\ndef plot(r): ...\n"
                    "def claims(r): ...\n")  # fmt: skip
    assert options.outline(path) is None


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_console_gets_words(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    consoles.speak_plainly()
    print("gap is E∫|∇u|²/2 ≤ ρ 鯨")
    stream.flush()
    assert raw.getvalue().decode(encoding).strip().replace("²", "^2") == (
        "gap is Eint|gradu|^2/2 <= rho ?"
    )


def test_ctrl_c_is_said_and_keeps_particles(tmp_path: Path, capsys) -> None:
    class Part:
        def save(self, path: Path) -> Path:
            path.write_text("particles")
            return path

    stopped = KeyboardInterrupt()
    stopped.ensemble = Part()
    with pytest.raises(typer.Exit) as left, cli.interrupted_politely("own", tmp_path):
        raise stopped
    assert left.value.exit_code == 130
    said = capsys.readouterr().err
    assert "own was interrupted" in said and "--resume" in said and "pk.load(" in said
    assert (tmp_path / "own.interrupted.nc").read_text() == "particles"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_a_run_has_no_traceback(tmp_path: Path) -> None:
    import signal

    path = tmp_path / "slow.py"
    path.write_text('"""Slow?"""\nimport time\ndef run():\n    open("begun", "w").close()\n'
                    "    time.sleep(60)\ndef plot(r): ...\ndef claims(r): ...\n")  # fmt: skip
    command = [sys.executable, "-m", "pdekit", "run", str(path)]

    def listen() -> None:  # a shell's background jobs, which this may be one of, ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=listen
    ) as process:
        for _ in range(300):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130
    assert "slow was interrupted" in said and "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text('"""Own?"""\ndef run():\n    open("begun", "w").close()\n'
                    "def plot(r): ...\ndef claims(r): ...\n")  # fmt: skip
    done = run("run", str(path), "--out", str(path), cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "begun").exists()


def test_a_new_study_runs_and_is_not_overwritten(tmp_path: Path) -> None:
    assert run("new", "study", "mine", cwd=tmp_path).returncode == 0
    text = (tmp_path / "mine.py").read_text()
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert text in readme
    assert run("new", "study", "mine", cwd=tmp_path).returncode == 2
    assert (tmp_path / "mine.py").read_text() == text
    done = run("run", "mine.py", "--particles", "0", cwd=tmp_path)
    assert done.returncode == 2 and b"--particles must be a whole number >= 1" in done.stderr
    done = run("run", "mine.py", "--particles", "2000", "--t", "0.2", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "figures" / "mine.png").exists()
    assert run("new", "study", "my-study", cwd=tmp_path).returncode == 2


def test_shipped_data_have_names() -> None:
    for name, file in (("smoothing", "digits_loss.csv"), ("loss_plane", "digits_plane.npz")):
        module = options.outline(cli.shipped_studies()[name])
        data = cli.shipped_studies()[name].parent / "data"
        found = options.checked(module, {"loss": Path("digits")}, data)["loss"]
        assert found == data / file
    unknown = options.checked(module, {"loss": Path("nothing")}, data)["loss"]
    assert unknown == Path("nothing")
