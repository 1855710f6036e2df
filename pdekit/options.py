"""The options of a study, read from its file without running it or importing what it imports."""

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

_LIGHT = {"typing", "pathlib", "math", "typer", "enum", "__future__", "collections"}


def outline(path: Path) -> ModuleType | None:
    """A module with the docstrings and the signatures of run and plot; None where it needs more.

    Of the file only imports of light modules, constants and these signatures are executed.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    module = ModuleType(path.stem, ast.get_docstring(tree))
    module.__file__ = str(path)
    for node in tree.body:
        if not _is_light(node):
            continue
        if isinstance(node, ast.FunctionDef):
            node.body = [*_docstring(node), ast.Pass()]
            node.decorator_list, node.returns = [], None
            for argument in ast.walk(node.args) if node.name != "run" else ():
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        try:
            whole = ast.fix_missing_locations(ast.Module([node], []))
            code = compile(whole, str(path), "exec")
            exec(code, module.__dict__)
        except Exception:  # a constant that is made of something heavy: it may not be needed
            continue
    return module if _is_whole(module) else None


def _is_light(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in _LIGHT for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in _LIGHT
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return not any(isinstance(part, ast.Await) for part in ast.walk(node))
    return isinstance(node, ast.FunctionDef) and node.name in ("run", "plot", "claims")


def _docstring(node: ast.FunctionDef) -> list[ast.stmt]:
    text = ast.get_docstring(node, clean=False)
    return [] if text is None else [ast.Expr(ast.Constant(text))]


def _is_whole(module: ModuleType) -> bool:
    """Whether run, plot and claims are there, and the signature of run can be read."""
    if not all(hasattr(module, part) for part in ("run", "plot", "claims")):
        return False
    try:
        inspect.signature(module.run, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return False
    return True


def checked(module: ModuleType, given: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """Options as the study takes them: shipped data by name, counts of at least one.

    ``ValueError`` in terms of the option for a count below one.
    """
    parameters = inspect.signature(module.run, eval_str=True).parameters
    return {
        name: _one(name, value, parameters[name].default, data) for name, value in given.items()
    }


def _one(name: str, value: Any, default: Any, data: Path | None) -> Any:
    option = f"--{name.replace('_', '-')}"
    whole = isinstance(default, int) and isinstance(value, int) and not isinstance(default, bool)
    if whole and default >= 1 > value and "seed" not in name:
        raise ValueError(f"{option} must be a whole number >= 1, got {value}")
    if isinstance(value, Path) and not value.exists() and value.name == str(value):
        return shipped(value, default, data) or value
    return value


def shipped(name: Path, default: Any, data: Path | None) -> Path | None:
    """The file of that name among the data that come with the studies; of the default's kind."""
    if data is None:
        return None
    kind = default.suffix if isinstance(default, Path) else ".csv"
    found = (sorted(data.glob(f"{name.name}*{end}")) for end in (kind, ".csv", ".npz"))
    return next((files[0] for files in found if files), None)
