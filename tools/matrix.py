"""The tests on other Pythons and with other versions of what gpuslice depends on than the lock's.

python -m tools.matrix                      every Python of this machine, with locked, newest and lowest versions
python -m tools.matrix --brief              the newest versions on every Python, the lowest on the oldest: what CI adds
python -m tools.matrix 3.12-newest          one of them; what follows -- goes to pytest

Each has an environment of its own in .venv-matrix/, which is made anew. "lowest" are the floors of pyproject.toml's
ranges; the tools that test are the newest there too. One line is printed for each, and the exit code is 1 where one
fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
VERSIONS: Final = ("locked", "newest", "lowest")

LOG: Final = "pytest.log"  # in a cell's environment

_OURS: Final = frozenset({"PYTHONPATH", "VIRTUAL_ENV"})  # of the environment that runs this
_FOLDER: Final = ROOT / ".venv-matrix"
_UV: Final = str(Path(sys.executable).with_name("uv"))
# What make check runs, but for the pages of docs/: they have the words of the locked typer in them.
_TESTS: Final = (
    *("-q", "-p", "no:cacheprovider", "--hypothesis-profile=check"),
    *("-m", "not e2e and not slow and not services", "--ignore=tests/docs"),
)
# Old libraries meet newer ones, of which they call what will go; that is theirs to know.
_OLD: Final = ("-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning")
_TAIL: Final = 40  # lines shown of what fails


class Cell(NamedTuple):
    """One Python with one choice of versions."""

    python: str
    versions: str

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"{self.python}-{self.versions}"


class FailedError(RuntimeError):
    """A command that exited otherwise than by 0; the text is the end of what it printed."""


def interpreter(python: str) -> str | None:
    """The path of a Python of this minor version, on the PATH or among pyenv's; None: there is none that runs."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        shutil.which(f"python{python}"),
        *sorted(versions.glob(f"{python}.*/bin/python"), reverse=True),
    ]
    for candidate in candidates:
        # A name on the PATH may be a shim with nothing behind it.
        if candidate and _prints(candidate, "import sys; print('%d.%d' % sys.version_info[:2])") == python:
            return str(candidate)
    return None


def cells(pythons: list[str], *, brief: bool) -> list[Cell]:
    """What is run on these Pythons, oldest first."""
    if brief:
        return (
            [Cell(pythons[0], "lowest"), *(Cell(python, "newest") for python in pythons)] if pythons else []
        )
    return [Cell(python, versions) for python in pythons for versions in VERSIONS]


def install(cell: Cell, python: str) -> Path:
    """An environment for a cell, made anew.

    Returns:
        Its Python.

    Raises:
        FailedError: something can't be installed.
    """
    folder = _FOLDER / cell.name
    _run(_UV, "venv", "--quiet", "--no-config", "--clear", "--python", python, str(folder))
    own = folder / "bin" / "python"
    pip = (_UV, "pip", "install", "--quiet", "--no-config", "--python", str(own))
    if cell.versions == "locked":
        _run(*pip, "--require-hashes", "--no-deps", "-r", "requirements/dev.txt")
        _run(*pip, "--no-deps", ".")
        return own
    pins: tuple[str, ...] = ()
    if cell.versions == "lowest":
        floors = str(folder / "floors.txt")
        compiled = (_UV, "pip", "compile", "--quiet", "--no-config", "--python", str(own))
        _run(*compiled, "--resolution", "lowest-direct", "--extra", "aws", "pyproject.toml", "-o", floors)
        pins = ("--constraints", floors)
    _run(*pip, *pins, ".[aws,rehearse]", "--group", "test")
    return own


def tested(cell: Cell, own: Path, workers: int, arguments: list[str]) -> str:
    """What pytest says at last.

    Raises:
        FailedError: a test failed.
    """
    old = _OLD if cell.versions == "lowest" else ()
    command = (str(own), "-m", "pytest", "-n", str(workers), *_TESTS, *old, *arguments)
    return _run(*command, log=own.parents[1] / LOG).strip().rpartition("\n")[2].strip("= ")


def main(arguments: list[str]) -> int:
    """Run the cells that are asked for."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__.partition("\n")[0])
    parser.add_argument("cells", nargs="*", metavar="PYTHON-VERSIONS")
    parser.add_argument("--brief", action="store_true", help="what CI adds to make test")
    parser.add_argument("--workers", type=int, default=2, help="of pytest")
    options = parser.parse_args(arguments[:end])
    found = {python: path for python in PYTHONS if (path := interpreter(python))}
    for python in PYTHONS:
        if python not in found:
            print(f"{python}: skipped, this machine has no Python {python}", flush=True)
    wanted = cells(list(found), brief=options.brief)
    if options.cells:
        wanted = [cell for cell in wanted if cell.name in options.cells]
    failed = 0
    for cell in wanted:
        start = time.monotonic()
        try:
            said = tested(cell, install(cell, found[cell.python]), options.workers, arguments[end + 1 :])
        except FailedError as error:
            failed += 1
            print(f"{cell.name}: FAILED\n{error}", flush=True)
        else:
            print(f"{cell.name}: {said}, {time.monotonic() - start:.0f} s with installing", flush=True)
    return 1 if failed or not wanted else 0


def _run(*command: str, log: Path = Path(os.devnull)) -> str:
    """What a command prints; it can be read in the log meanwhile.

    Raises:
        FailedError: it failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    lines = []
    with (
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running,
        log.open("w") as output,
    ):
        for line in running.stdout or ():
            lines.append(line)
            output.write(line)
            output.flush()
    if running.returncode:
        raise FailedError(" ".join(command) + "\n" + "".join(lines[-_TAIL:]))
    return "".join(lines)


def _prints(python: str | Path, script: str) -> str:
    try:
        return subprocess.run(
            [python, "-c", script], capture_output=True, text=True, check=False, timeout=60
        ).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
