"""``pdekit list | run | sweep | report``: finds and runs studies, checks claims, writes reports."""

import difflib
import inspect
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from pdekit import __version__, consoles, files, report, report_diff
from pdekit import options as options_of
from pdekit.claims import Claim, all_hold
from pdekit.errors import ConvergenceError

Out = Annotated[Path, typer.Option(help="Folder for the figure and its JSON.")]
_VERSIONS = ("numpy", "scipy", "numba", "torch", "xarray", "matplotlib")


def shipped_studies() -> dict[str, Path]:
    """Name -> file of the studies shipped with pdekit (next to it in a clone, inside a wheel)."""
    here = Path(__file__).parent
    folder = next(
        (f for f in (here.parent / "studies", here / "studies") if (f / "smoothing.py").is_file()),
        None,
    )
    files = sorted(folder.glob("*.py")) if folder else []
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def path_of(name: str) -> Path:
    """The file of the study of that name or path; ``LookupError`` with the closest match."""
    path = shipped_studies().get(name, Path(name))
    if not path.is_file():
        known = list(shipped_studies())
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise LookupError(
            f"no study named {name!r} and no such file; {hint}Known studies: {', '.join(known)}. "
            "A study of your own is given by its path, as in `pdekit run path/to/my_study.py`."
        )
    return path


def load_study(name: str) -> ModuleType:
    """The study module of that name or path; it must define run, plot and claims.

    Raises ``LookupError`` for an unknown name (with the closest match) or a file that is
    not a study.
    """
    path = path_of(name)
    spec = util.spec_from_file_location(f"pdekit_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise LookupError(f"{path} is not a Python file")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their own module here
    spec.loader.exec_module(module)
    missing = [part for part in ("run", "plot", "claims") if not hasattr(module, part)]
    if missing:
        raise LookupError(
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
    """Run a study, write ``out/name.png`` and ``out/name.json``, print and return its claims.

    The folder is checked before the study runs; if writing still fails afterwards (a
    full disk), the result is kept in a temporary folder, or printed, and ``OSError`` raised.
    """
    start = time.perf_counter()
    try_folder(out)
    results = module.run(**options)
    claims = list(module.claims(results))
    seconds = time.perf_counter() - start
    figure = module.plot(results)
    record = {
        "study": name,
        "question": _first_line(module),
        "about": _rest(module),
        **_asked(module, options),
        "claims": [claim.as_dict() for claim in claims],
        "numbers": _plain(getattr(results, "numbers", {})),
        "date": report.now(),
        "seconds": round(seconds, 2),
        "versions": _versions(),
    }
    caption, trouble, place = _first_line(module.plot), None, out
    try:
        _write(out, name, figure, caption, record)
    except OSError as error:
        trouble = error
        place = _kept(name, figure, caption, record)
    for claim in claims:
        colour = "green" if claim.holds else "red"
        typer.secho(str(claim), fg=colour)
    held = sum(claim.holds for claim in claims)
    typer.echo(
        f"{name}: {held} of {len(claims)} claims hold; {seconds:.1f} s; "
        f"{place / name}.png, {place / name}.json"
    )
    if trouble is not None:
        raise OSError(
            f"the result of {name} could not be written to {out}: {trouble}; it is kept in {place}"
        ) from trouble
    return claims


def try_folder(out: Path) -> None:
    """Make the folder; ``OSError`` with a clear message where it is not writable."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return
    except OSError as error:
        raise OSError(
            f"nothing can be written to the folder {out} ({error.strerror or error}); choose "
            "another one by --out"
        ) from error


def _write(out: Path, name: str, figure: Any, caption: str, record: dict[str, Any]) -> None:
    """The image and the record of a run."""
    image = out / f"{name}.png"
    files.replace_file(image, lambda path: figure.savefig(path, format="png", dpi=150))
    digest = report.sha256(image.read_bytes())
    shown = {"file": image.name, "caption": caption, "sha256": digest}
    text = json.dumps(record | {"figures": [shown]}, indent=1) + "\n"
    files.replace_file(out / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))


def _kept(name: str, figure: Any, caption: str, record: dict[str, Any]) -> Path:
    """The fallback location of a result that could not be written to its folder."""
    try:
        place = Path(tempfile.mkdtemp(prefix="pdekit-"))
        _write(place, name, figure, caption, record)
        return place
    except OSError:
        typer.echo(json.dumps(record))
        return Path("(printed above)")


def _asked(module: ModuleType, options: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run: every option with its default, the seeds, the files it read."""
    declared = inspect.signature(module.run, eval_str=True)
    bound = declared.bind(**options)
    bound.apply_defaults()
    values = {key: _plain(value) for key, value in bound.arguments.items()}
    parameters = {
        key: {
            "value": value,
            "given": _plain(declared.parameters[key].default) != value,
            "help": _help(declared.parameters[key].annotation),
        }
        for key, value in values.items()
    }
    read = {k: v for k, v in bound.arguments.items() if isinstance(v, Path) and v.is_file()}
    return {
        "options": values,
        "parameters": parameters,
        "seeds": report.seeds(values),
        "inputs": {key: report.sha256(path.read_bytes()) for key, path in read.items()},
    }


def _help(annotation: Any) -> str:
    """The help text of an option declared as ``Annotated[type, typer.Option(help=...)]``."""
    said = (getattr(note, "help", None) for note in getattr(annotation, "__metadata__", ()))
    return next(filter(None, said), "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return report.neutral(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in _VERSIONS}
    return {"pdekit": __version__, "python": platform.python_version(), **packages}


def command_of(name: str) -> Callable[..., None]:
    """The command of a study: its options are the parameters of its ``run``, and ``--out``.

    They are read from the file, where that is possible, so that help is there at once.
    """
    path = path_of(name)
    module = options_of.outline(path) or load_study(name)

    def command(out: Path, **given: Any) -> None:
        data = next((f.parent / "data" for f in shipped_studies().values()), None)
        asked = options_of.checked(module, given, data)
        try_folder(out)
        with interrupted_politely(path.stem, out):
            holds = all_hold(perform(load_study(name), path.stem, out, asked))
        if not holds:
            raise typer.Exit(1)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = inspect.signature(module.run, eval_str=True).parameters.values()
    folder = inspect.Parameter("out", keyword, default=Path("figures"), annotation=Out)
    parameters = [*(p.replace(kind=keyword) for p in own), folder]
    for parameter in parameters:  # shipped data go by names, which are no files yet
        for note in getattr(parameter.annotation, "__metadata__", ()):
            if getattr(note, "exists", False):
                note.exists = False
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"{_first_line(module)}\n\n{_first_line(module.run)}"
    return command


@contextmanager
def interrupted_politely(name: str, out: Path) -> Iterator[None]:
    """On Ctrl-C: what there is is kept, and how to go on is said; exit status 130."""
    start = time.perf_counter()
    try:
        yield
    except KeyboardInterrupt as stopped:
        typer.echo("", err=True)
        part = getattr(stopped, "ensemble", None)
        if part is not None:
            kept = part.save(out / f"{name}.interrupted.nc")
            typer.secho(f"the particles so far are in {kept}: pk.load({str(kept)!r})", err=True)
        typer.secho(
            f"pdekit: {name} was interrupted after {time.perf_counter() - start:.0f} s and wrote "
            "no figure or record; the same command starts it again, and `pdekit run all --resume` "
            "leaves out what is done",
            fg="red",
            err=True,
        )
        raise typer.Exit(130) from None


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


def _rest(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[2].strip()


def run_all(
    quick: Annotated[bool, typer.Option("--quick", help="Small and fast.")] = False,
    out: Out = Path("figures"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out those that hold already in --out.")
    ] = False,
) -> None:
    """Run every shipped study; one that stops by an error does not keep the others from running."""
    failed, studies = [], shipped_studies()
    try_folder(out)
    for name in studies:
        if resume and _is_done(out / f"{name}.json", quick):
            typer.echo(f"{name}: done already, {out / name}.json")
            continue
        try:
            with interrupted_politely(name, out):
                holds = _holds(name, quick, out)
        except typer.Exit:
            raise
        except Exception:
            traceback.print_exc()
            holds = False
        if not holds:
            failed.append(name)
    typer.echo(f"{len(studies) - len(failed)} of {len(studies)} studies ran and hold; {out}")
    if failed:
        typer.secho(f"stopped by an error or a claim: {', '.join(failed)}", fg="red")
        raise typer.Exit(1)


def _is_done(record: Path, quick: bool) -> bool:
    """Whether a record of this version, as quick as asked for, is there, and its claims hold."""
    try:
        (found,) = report.read_runs([record])
        facts = json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return False
    asked = bool(facts["options"].get("quick", quick))
    return bool(found.holds and asked == quick and facts["versions"]["pdekit"] == __version__)


def _holds(name: str, quick: bool, out: Path) -> bool:
    """Whether all claims of this shipped study hold, once it has run and been written."""
    module = load_study(name)
    takes_quick = "quick" in inspect.signature(module.run).parameters
    return all_hold(perform(module, name, out, {"quick": True} if quick and takes_quick else {}))


def report_runs(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders or JSON files of `pdekit run`.")
    ],
    out: Annotated[Path, typer.Option(help="The page; its JSON goes beside it.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "pdekit report",
    diff: Annotated[
        bool, typer.Option("--diff", help="Two runs, or folders of runs, side by side.")
    ] = False,
) -> None:
    """Write one HTML page and one JSON about runs; fails, once written, if a claim does.

    With --diff: what moved from the first to the second; fails if a claim that held fails.
    """
    if diff:
        return _report_diff(runs, out, title)
    found = report.read_runs(runs)
    written = report.write(found, out, title)
    for run in found:
        for claim in run.failed:
            typer.secho(f"{run.source}: {claim}", fg="red")
    claims = [claim for run in found for claim in run.claims]
    held = sum(claim.holds for claim in claims)
    typer.echo(f"{held} of {len(claims)} claims hold; {written[0]}, {written[1]}")
    if not all(run.holds for run in found):
        raise typer.Exit(1)


def _report_diff(runs: list[Path], out: Path, title: str) -> None:
    if len(runs) != 2:
        raise ValueError(
            f"--diff compares two runs, or two folders of runs; got {len(runs)}: "
            "pdekit report BEFORE AFTER --diff"
        )
    pairs = report_diff.pairs(*(report.read_runs([path]) for path in runs))
    written = report_diff.write(pairs, out, title)
    broken = [claim for pair in pairs for claim in pair.broken]
    for claim in broken:
        typer.secho(f"held, and fails now: {claim.after}", fg="red")
    moved = sum(claim.change != "same" for pair in pairs for claim in pair.claims)
    total = sum(len(pair.claims) for pair in pairs)
    typer.echo(f"{moved} of {total} claims changed; {written[0]}, {written[1]}")
    if broken:
        raise typer.Exit(1)


def sweep_study(
    context: typer.Context,
    study: Annotated[str, typer.Argument(metavar="NAME", help="A study, by name or path.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    scheduler: Annotated[str, typer.Option(help="Address of a running dask scheduler.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for NAME.nc, and the points.")] = Path("sweeps"),
) -> None:
    """Run a study at every combination of values: pdekit sweep NAME --beta 1,2,4 --seed 0:10.

    Finished points are kept: the same command goes on with the rest. Fails, once written, if a
    point does, or a claim at one.
    """
    from pdekit import sweeps  # xarray takes long to load

    module, name = load_study(study), Path(study).stem
    asked = _values_asked(context.args, module)
    try_folder(out)
    with _client(workers, scheduler) as client:
        found = sweeps.sweep(module, asked, client, folder=out / f"{name}.points", progress=True)
    target = out / f"{name}.nc"
    files.replace_file(target, lambda path: found.to_netcdf(path, engine="scipy"))
    lost = int((found.error != "").sum())
    held = int((found.holds.where(found.error == "", 0) == 1).sum())
    typer.echo(f"{held} of {found.error.size} points ran and hold, {lost} failed; {target}")
    if held < found.error.size:
        raise typer.Exit(1)


def _values_asked(words: list[str], module: ModuleType) -> dict[str, list[Any]]:
    """``--beta 1,2 --quick`` as parameters of the study's run."""
    from pdekit.sweeps import values_of

    known, asked = inspect.signature(module.run).parameters, {}
    for k, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, _, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name not in known:
            raise LookupError(f"no option --{name}; this study takes {', '.join(known)}")
        follows = words[k + 1] if k + 1 < len(words) else "--"
        value = value or ("true" if follows.startswith("--") else follows)
        asked[name] = values_of(value)
    return asked


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Any]:
    """Of the scheduler, or of processes started here; None for this process alone."""
    if workers == 1 and not scheduler:
        yield None
        return
    try:
        import distributed as dask  # its classes have no types
    except ModuleNotFoundError as error:
        raise ValueError(
            'sweeps on several workers need dask.distributed: pip install "pdekit[sweep]"'
        ) from error
    engine: Any = dask
    if scheduler:
        with engine.Client(scheduler) as client:
            yield client
        return
    own = {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with engine.LocalCluster(workers, **own) as here, engine.Client(here) as client:
        yield client


def list_studies() -> None:
    """List the studies, one line each."""
    for name, path in shipped_studies().items():
        typer.echo(f"{name:<16} {headline(path)}")


def warm_up() -> None:
    """Compile the kernels now, so that no later call waits for it."""
    from pdekit import warming

    seconds = warming.warm_up(typer.echo)
    typer.echo(f"kernels are compiled and kept; {seconds:.0f} s")


def new_study(
    name: Annotated[str, typer.Argument(help="Of the study, and of the file NAME.py.")],
) -> None:
    """Write NAME.py, a small study that runs, to be changed into your own."""
    path = Path(f"{name.removesuffix('.py')}.py")
    if not path.stem.isidentifier():
        raise ValueError(f"a study is named like a Python module, such as my_loss; got {name!r}")
    text = (Path(__file__).parent / "templates" / "study.py.txt").read_text(encoding="utf-8")
    with path.open("x", encoding="utf-8") as file:  # FileExistsError: nothing is overwritten
        file.write(text)
    typer.echo(f"{path} is written; `pdekit run {path}` runs it, `pdekit run {path} --help` tells")


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pdekit {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, help="Print the version.")
    ] = False,
) -> None:
    """Losses smoothed by PDEs, densities evolved by PDEs, and particles that check both."""


def build(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: only the study named in them is loaded.

    ``run NAME`` needs the study's own options, hence its module; the others are listed by
    their headline only.
    """
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.callback()(options)
    app.command("list")(list_studies)
    app.command("report")(report_runs)
    free = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("sweep", context_settings=free)(sweep_study)
    app.command("warmup")(warm_up)
    maker = typer.Typer(no_args_is_help=True, help="Write the beginnings of something of your own.")
    maker.callback()(lambda: None)
    maker.command("study")(new_study)
    app.add_typer(maker, name="new")
    runner = typer.Typer(
        no_args_is_help=True,
        help="Run a study by NAME or PATH (`run NAME --help`), or --all of them.",
    )
    app.add_typer(runner, name="run")
    runner.command("all")(run_all)
    named = arguments[1] if len(arguments) > 1 and arguments[0] == "run" else None
    for name, path in shipped_studies().items():
        if name != named:
            runner.command(name, help=headline(path))(list_studies)
    if named not in (None, "all", "--help"):
        runner.command(named)(command_of(named))
    return app


def main() -> None:
    """Entry point: errors that a user can fix are one message, without a traceback."""
    consoles.speak_plainly()
    try:
        arguments = sys.argv[1:]
        if arguments[:2] == ["run", "--all"]:
            arguments[1] = "all"
        build(arguments)(arguments)
    except (ValueError, TypeError, LookupError, ConvergenceError, OSError) as error:
        if os.environ.get("PDEKIT_TRACEBACK"):
            raise
        typer.secho(f"pdekit: {error}", fg="red", err=True)
        typer.echo("(PDEKIT_TRACEBACK=1 shows where it came from)", err=True)
        sys.exit(2)
    except KeyboardInterrupt:  # before anything was begun
        typer.secho("pdekit: interrupted", fg="red", err=True)
        sys.exit(130)
