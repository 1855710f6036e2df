"""``pdekit list | run``: studies found, run with their own options, and their claims checked."""

import difflib
import inspect
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import click
import typer

from pdekit import __version__
from pdekit.claims import Claim, all_hold
from pdekit.errors import ConvergenceError

Out = Annotated[Path, typer.Option(help="Folder for the figure and its JSON.")]
_VERSIONS = ("numpy", "scipy", "numba", "torch", "xarray", "matplotlib")


def shipped_studies() -> dict[str, Path]:
    """Name -> file of the studies that come with pdekit (beside it in a clone, inside a wheel)."""
    here = Path(__file__).parent
    folder = next(
        (f for f in (here.parent / "studies", here / "studies") if (f / "smoothing.py").is_file()),
        None,
    )
    files = sorted(folder.glob("*.py")) if folder else []
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def load_study(name: str) -> ModuleType:
    """The study module of that name or path; it must define run, plot and claims.

    Raises ``click.UsageError`` for an unknown name (with the nearest one) or a file that is no
    study.
    """
    path = shipped_studies().get(name, Path(name))
    if not path.is_file():
        known = list(shipped_studies())
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise click.UsageError(
            f"no study named {name!r} and no such file; {hint}Known studies: {', '.join(known)}. "
            "A study of your own is given by its path, as in `pdekit run path/to/my_study.py`."
        )
    spec = util.spec_from_file_location(f"pdekit_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{path} is not a Python file")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the study look themselves up here
    spec.loader.exec_module(module)
    missing = [part for part in ("run", "plot", "claims") if not hasattr(module, part)]
    if missing:
        raise click.UsageError(
            f"{path} is not a study: it lacks {', '.join(missing)}. A study defines "
            "run(...) -> results, plot(results) -> Figure and claims(results) -> claims"
        )
    return module


def headline(module_file: Path) -> str:
    """First line of a study's docstring, without running the study."""
    import ast

    doc = ast.get_docstring(ast.parse(module_file.read_text(encoding="utf-8"))) or ""
    return doc.strip().split("\n")[0]


def perform(module: ModuleType, name: str, out: Path, options: dict[str, Any]) -> list[Claim]:
    """Run a study, write ``out/name.png`` and ``out/name.json``, print and return its claims."""
    start = time.perf_counter()
    results = module.run(**options)
    claims = list(module.claims(results))
    seconds = time.perf_counter() - start
    out.mkdir(parents=True, exist_ok=True)
    figure = module.plot(results)
    _replace(out / f"{name}.png", lambda path: figure.savefig(path, format="png", dpi=150))
    record = {
        "study": name,
        "options": {key: _plain(value) for key, value in options.items()},
        "claims": [claim.as_dict() for claim in claims],
        "numbers": _plain(getattr(results, "numbers", {})),
        "seconds": round(seconds, 2),
        "versions": _versions(),
    }
    text = json.dumps(record, indent=1) + "\n"
    _replace(out / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))
    for claim in claims:
        colour = "green" if claim.holds else "red"
        typer.secho(str(claim), fg=colour)
    held = sum(claim.holds for claim in claims)
    typer.echo(
        f"{name}: {held} of {len(claims)} claims hold; {seconds:.1f} s; "
        f"{out / name}.png, {out / name}.json"
    )
    return claims


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and move it there, so that no half-written file is left."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in _VERSIONS}
    return {"pdekit": __version__, "python": platform.python_version(), **packages}


def study_command(name: str) -> click.Command:
    """The click command of a study: its options are the parameters of its ``run``."""
    module = load_study(name)
    stem = Path(name).stem

    def command(out: Path, **options: Any) -> None:
        if not all_hold(perform(module, stem, out, options)):
            raise typer.Exit(1)

    signature = inspect.signature(module.run, eval_str=True)
    folder = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=Path("figures"),
                               annotation=Out)  # fmt: skip
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()
    ]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*parameters, folder], return_annotation=None
    )
    command.__annotations__ = {p.name: p.annotation for p in [*parameters, folder]}
    command.__doc__ = f"{module.__doc__ or ''}\n\n{module.run.__doc__ or ''}"
    single = typer.Typer(add_completion=False)
    single.command(stem)(command)
    return typer.main.get_command(single)


class Studies(typer.core.TyperGroup):
    """The group behind ``run``: each study is a command with its own options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(shipped_studies())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return study_command(cmd_name)


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Losses smoothed by PDEs, densities moved by PDEs, and particles that check both.",
)
runner = typer.Typer(
    cls=Studies,
    invoke_without_command=True,
    help="Run a study by name or path; `pdekit run NAME --help` lists its options.",
)
app.add_typer(runner, name="run")


@app.callback(invoke_without_command=True)
def options(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"pdekit {__version__}")
        raise typer.Exit()


@app.command("list")
def list_studies() -> None:
    """List the studies, one line each."""
    for name, path in shipped_studies().items():
        typer.echo(f"{name:<16} {headline(path)}")


@runner.callback()
def run(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Run every shipped study.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="With --all: small and fast.")] = False,
    out: Out = Path("figures"),
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    if not every:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)
    failed = []
    for name in shipped_studies():
        module = load_study(name)
        takes_quick = "quick" in inspect.signature(module.run).parameters
        chosen = {"quick": True} if quick and takes_quick else {}
        if not all_hold(perform(module, name, out, chosen)):
            failed.append(name)
    if failed:
        typer.secho(f"claims failed in: {', '.join(failed)}", fg="red")
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors a user can mend are one message, without a traceback."""
    try:
        app()
    except (ValueError, TypeError, ConvergenceError, OSError) as error:
        if os.environ.get("PDEKIT_TRACEBACK"):
            raise
        typer.secho(f"pdekit: {error}", fg="red", err=True)
        typer.echo("(PDEKIT_TRACEBACK=1 shows where it came from)", err=True)
        sys.exit(2)
