"""The scratch cluster's processes: started with a log each, waited for, and ended whatever happens.

Each runs in a session of its own, so that Ctrl-C reaches only us, and we end them. If we don't get to that,
`leash` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from gpuslice.errors import EnvironmentFailedError
from gpuslice.rehearsal import leash

_LOOK_EVERY_S: Final = 0.05
_LOG_LINES: Final = 5


class Processes:
    """Processes of one scratch cluster, in the order of their start.

    Args:
        logs: directory that gets one file for each process.
        temporary: a directory to remove if we are killed before `stop`; None: nothing is removed.
    """

    def __init__(self, logs: Path, temporary: Path | None = None) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._leash = subprocess.Popen(  # noqa: S603  our own file, by our own interpreter
            [sys.executable, "-I", leash.__file__, *([str(temporary)] if temporary else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] = {}) -> None:
        """Start a process.

        Args:
            name: of the process and its log.
            command: program and arguments.
            environment: added to ours.
        """
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  binaries that we built
                [str(name) for name in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self._tell_leash(f"+{process.pid}\n")
        self._running[name] = process

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._logs / f"{name}.log"

    def check(self) -> None:
        """Accept that all processes are running.

        Raises:
            EnvironmentFailedError: one has ended by itself.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise EnvironmentFailedError(
                    f"{name} ended with exit code {process.returncode}: {self._last_words(name)}",
                    where=str(self.log(name)),
                )

    def wait_until(self, done: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Look again and again until something has come true.

        Args:
            done: looks; an OSError counts as not yet.
            what: is waited for, for the message.
            timeout_s: the longest wait.

        Raises:
            EnvironmentFailedError: it took too long, or a process has ended.
        """
        end = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(OSError):
                if done():
                    return
            self.check()
            if time.monotonic() > end:
                raise EnvironmentFailedError(
                    f"{what} not ready after {timeout_s:g} s",
                    where=str(self._logs),
                    fix="the logs there say what it is waiting for",
                )
            time.sleep(_LOOK_EVERY_S)

    def stop(self, name: str) -> None:
        """End one process, and its children. What it keeps is scratch: nothing has to be written first."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._tell_leash(f"-{process.pid}\n")

    def stop_all(self) -> None:
        """End all processes, the last one first."""
        for name in reversed(list(self._running)):
            self.stop(name)
        if self._leash.stdin:
            self._leash.stdin.close()
        self._leash.wait()

    def _tell_leash(self, line: str) -> None:
        pipe = self._leash.stdin
        assert pipe is not None  # noqa: S101  asked for above
        pipe.write(line.encode())
        pipe.flush()

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()
        return " / ".join(line.strip()[:300] for line in lines[-_LOG_LINES:])
