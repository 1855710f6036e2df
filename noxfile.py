#!/usr/bin/env -S uv run --script

# /// script
# dependencies = ["nox>=2025.10.14"]
# ///
"""Tasks by name, each in an environment of its own: ``nox -l`` lists, ``nox -s fast`` runs them.

What must hold before a release is ``.ci/run``; these are its parts, for everyday work.
"""

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"
PINNED = ("-c", ".ci/constraints.txt")


@nox.session
def fast(session: nox.Session) -> None:
    """Tests of less than a minute."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """All tests, as README runs them."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and which part may import which."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The site, with every example, in build/site."""
    session.install(*PINNED, "-e", ".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs", "build/site")


if __name__ == "__main__":
    nox.main()
