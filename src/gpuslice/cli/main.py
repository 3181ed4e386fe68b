"""`gpuslice`: the verbs put together, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Final, Protocol, runtime_checkable

import typer

import gpuslice
from gpuslice.errors import GpusliceError

_UNEXPECTED: Final = 3
_INTERRUPTED: Final = 130  # as shells have it: 128 and the number of SIGINT
_LONGEST_LINE: Final = 400

_VERBS: Final = (
    "scan",
    "plan",
    "explain",
    "simulate",
    "report",
    "render",
    "rehearse",
    "apply",
    "doctor",
    "status",
    "catalog",
    "measure",
    "demo",
)
"""As help lists them; each is a module of this package."""


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"gpuslice {gpuslice.__version__}\n")
        raise typer.Exit


def gpuslice_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GPUSLICE_DEBUG", help="Show tracebacks; may stand anywhere.")
    ] = False,
) -> None:
    """Find the cheapest safe way to slice an EKS cluster's NVIDIA GPUs, and make it so."""


@cache
def command_line(verbs: tuple[str, ...] = _VERBS) -> typer.Typer:
    """The verbs put together.

    Args:
        verbs: that are wanted: the others' modules needn't be there before one of them is run.
    """
    # Plain help: drawing it by rich would double the time to start.
    app = typer.Typer(
        name="gpuslice",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(gpuslice_command)
    for verb in verbs:
        module = import_module(f"gpuslice.cli.{verb}")
        if verb == "measure":
            module.app.command("gpu")(import_module("gpuslice.cli.measure_gpu").measure_gpu)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command()(getattr(module, verb))
    return app


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the answer is no, 2 bad usage or input, 3 environment failed."""
    debug = "--debug" in sys.argv or bool(os.environ.get("GPUSLICE_DEBUG"))
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    verb = arguments[0] if arguments else ""
    app = command_line((verb,) if verb in _VERBS else _VERBS)
    try:
        exit_code = app(args=arguments or ["--help"], prog_name=_program(arguments), standalone_mode=False)
    except GpusliceError as error:
        _fail(str(error), error.exit_code, debug=debug)
    except Exception as error:  # noqa: BLE001  a person gets words, --debug gets the traceback
        if isinstance(error, _UsageError):
            _fail(_usage(error, arguments), error.exit_code, debug=debug)
        _fail(
            f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}\n"
            "this is a fault of gpuslice: --debug shows where",
            _UNEXPECTED,
            debug=debug,
        )
    if exit_code == _INTERRUPTED:  # what typer makes of Ctrl-C
        _fail("interrupted", _INTERRUPTED, debug=debug)
    sys.exit(exit_code or 0)


@runtime_checkable
class _UsageError(Protocol):
    """What typer raises about options and verbs: a class of click's once, now its own, and public in neither."""

    exit_code: int
    ctx: typer.Context | None

    def format_message(self) -> str: ...


def _usage(error: _UsageError, arguments: list[str]) -> str:
    """One line on what is wrong, and one on where the right is listed."""
    # What is raised while options are told apart has no context yet.
    verb = arguments[0] if arguments and arguments[0].isalpha() else ""
    command = error.ctx.command_path if error.ctx is not None else f"{_program(arguments)} {verb}".strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        return f"{command} wants a verb\nsee {command} --help"
    message = " ".join(error.format_message().replace("Value error, ", "").split()).removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}\nsee {command} --help"


def _program(arguments: list[str]) -> str:
    """What the user typed to start this: "kubectl gpuslice" where kubectl found it as a plugin."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119  pathlib costs start-up time
    if any(argument.endswith("-completion") for argument in arguments):
        return "gpuslice"  # shells complete the first word of a line, and kubectl its own plugins
    return name.replace("kubectl-", "kubectl ", 1)


def _fail(text: str, exit_code: int, *, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    half = _LONGEST_LINE // 2
    lines = [
        line if len(line) <= _LONGEST_LINE else f"{line[:half]} … {line[-half:]}" for line in text.split("\n")
    ]
    # What is quoted may be anybody's: nothing in it may move a terminal's cursor.
    shown = "\n".join(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line) for line in lines
    )
    sys.stderr.write(f"error: {shown}\n")
    sys.exit(exit_code)
