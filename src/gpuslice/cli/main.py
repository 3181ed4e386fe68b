"""`gpuslice`: the verbs put together, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

import gpuslice
from gpuslice.cli import catalog, demo, explain, plan, render, scan
from gpuslice.errors import GpusliceError

_UNEXPECTED = 3

# Plain help: drawing it by rich would double the time to start.
app = typer.Typer(
    name="gpuslice",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"gpuslice {gpuslice.__version__}\n")
        raise typer.Exit


@app.callback()
def gpuslice_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GPUSLICE_DEBUG", help="Show tracebacks; may stand anywhere.")
    ] = False,
) -> None:
    """Find the cheapest safe way to slice an EKS cluster's NVIDIA GPUs, and make it so."""


app.command()(scan.scan)
app.command()(plan.plan)
app.command()(explain.explain)
app.command()(render.render)
app.add_typer(catalog.app, name="catalog")
app.command()(demo.demo)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the answer is no, 2 bad usage or input, 3 environment failed."""
    debug = "--debug" in sys.argv or bool(os.environ.get("GPUSLICE_DEBUG"))
    arguments = [each for each in sys.argv[1:] if each != "--debug"]
    name = os.path.basename(sys.argv[0]).replace("kubectl-", "kubectl ", 1)  # noqa: PTH119  pathlib costs start-up time
    try:
        app(args=arguments, prog_name=name)
    except GpusliceError as error:
        _fail(str(error), error.exit_code, debug=debug)
    except KeyboardInterrupt:
        _fail("interrupted", 130, debug=debug)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing more to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  a person gets words, --debug gets the traceback
        _fail(
            f"unexpected {type(error).__name__}: {str(error)[:200]}\nthis is a fault of gpuslice: --debug shows where",
            _UNEXPECTED,
            debug=debug,
        )


def _fail(text: str, exit_code: int, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"error: {text}\n")
    sys.exit(exit_code)
