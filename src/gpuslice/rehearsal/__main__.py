"""`python -m gpuslice.rehearsal`: a scratch cluster for developers, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from gpuslice.errors import GpusliceError
from gpuslice.rehearsal.build import build, find_go
from gpuslice.rehearsal.control_plane import ControlPlane


def main() -> None:
    """Say which Go there is, build the programs, or run a control plane.

    `up` prints the shell command that selects the control plane.
    """
    parser = argparse.ArgumentParser(prog="python -m gpuslice.rehearsal", description=__doc__)
    parser.add_argument("verb", choices=("go", "build", "up"))
    parser.add_argument(
        "--crd", type=Path, action="append", default=[], help="a file with more CRDs to install"
    )
    arguments = parser.parse_args()
    try:
        if arguments.verb == "go":
            sys.stdout.write(f"{find_go().program}\n")
        elif arguments.verb == "build":
            sys.stdout.write(f"{build(_say).directory}\n")
        else:
            _up(arguments.crd)
    except GpusliceError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


def _up(more_crds: list[Path]) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane.start(build(_say, ("control-plane",)), more_crds=more_crds) as control_plane:
            _say(f"logs in {control_plane.directory}/logs; Ctrl-C ends it and removes everything")
            sys.stdout.write(f"export KUBECONFIG={control_plane.kubeconfig}\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        _say("ended")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
