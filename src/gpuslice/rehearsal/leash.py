"""Ends what its parent started, once the parent is gone: Ctrl-C, a crash, SIGKILL.

Run as a program of its own. Its standard input is a pipe whose other end only the parent holds, so that the end of
input means the end of the parent. It reads lines: `+PID` a process group was started, `-PID` it has been stopped.

Standard library only, and nothing of gpuslice: it starts in the blink of an eye and is there for the worst moments.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Wait for the parent's end, kill the process groups that are left, and remove the directories in the arguments."""
    # Ctrl-C reaches everything in the terminal's foreground, and this has to outlive that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: list[int] = []
    for line in sys.stdin:
        number = int(line[1:])
        if line.startswith("+"):
            groups.append(number)
        else:
            groups.remove(number)
    for number in reversed(groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
    if groups:  # a parent that stopped everything has tidied up as well
        for directory in sys.argv[1:]:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
