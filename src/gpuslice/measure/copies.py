"""A person's own program, run once or several times on one GPU, with how far each copy gets.

Copies run in sessions of their own, so that what they start is found and ended with them. Under MPS a control daemon
of our own serves them, in a directory of its own, and each is limited as the device plugin would: nothing of the GPU's
settings is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from gpuslice.errors import EnvironmentFailedError, InputError

_GRACE: Final = 5.0  # seconds that a program has to end by itself
_CONTROL: Final = "nvidia-cuda-mps-control"
_CONTROL_PLACES: Final = ("/usr/bin", "/usr/local/nvidia/bin", "/opt/nvidia/bin")
_LINES_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How a program tells how far it is.

    Attributes:
        pattern: of a line of its output; its first group, if any, is a counter, else each line counts one.
        counter_file: a file that holds a number; "{copy}" in its name stands for the copy's.
    """

    pattern: re.Pattern[str] | None = None
    counter_file: str = ""


@dataclass(slots=True)
class Copy:
    """One running copy.

    Attributes:
        process: its first process, and leader of its session.
        points: (seconds, units done) as they were seen; a counter that starts anew goes on from where it was.
        last_lines: of its output, for a person who asks why it failed.
        ended: seconds after its start, once it has.
        reader: who follows its output.
    """

    process: subprocess.Popen[str]
    progress: Progress
    counter_file: str = ""
    points: list[tuple[float, float]] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)
    _base: float = 0.0
    _raw: float = 0.0
    ended: float | None = None
    reader: threading.Thread | None = None

    def saw(self, units: float, now: float) -> None:
        """A reading of its counter."""
        if units < self._raw:  # the program, or its worker, was started anew
            self._base += self._raw
        self._raw = units
        self.points.append((now, self._base + units))

    def read_counter(self, now: float) -> None:
        """Look into its counter file."""
        with contextlib.suppress(OSError, ValueError):
            self.saw(float(Path(self.counter_file).read_text(encoding="utf-8").strip()), now)

    def rate(self, start: float, end: float) -> float | None:
        """Units a second between two times; None: fewer than three readings there, or no progress."""
        inside = [point for point in self.points if start <= point[0] <= end]
        if len(inside) < 3 or inside[-1][1] <= inside[0][1]:
            return None
        return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


@contextlib.contextmanager
def running(
    command: Sequence[str], copies: int, progress: Progress, environment: Mapping[str, str]
) -> Iterator[list[Copy]]:
    """So many copies of a command, ended at the end.

    Raises:
        InputError: the command can't be started.
    """
    started: list[Copy] = []
    try:
        # One by one: when one can't be started, those before it have to be ended.
        started.extend(_start(command, number, progress, environment) for number in range(copies))
        yield started
    finally:
        for copy in started:
            _signal(copy.process, signal.SIGTERM)
        until = time.monotonic() + _GRACE
        for copy in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                copy.process.wait(max(0.0, until - time.monotonic()))
        for copy in started:
            _signal(copy.process, signal.SIGKILL)
            copy.process.wait()
            if copy.reader is not None:
                copy.reader.join(_GRACE)


def _start(command: Sequence[str], number: int, progress: Progress, environment: Mapping[str, str]) -> Copy:
    own = {**os.environ, **environment, "GPUSLICE_COPY": str(number), "PYTHONUNBUFFERED": "1"}
    try:
        process = subprocess.Popen(  # noqa: S603  the user's own command
            list(command),
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{command[0][:80]!r} can't be started: {reason}", fix="name a program after --"
        ) from None
    copy = Copy(process, progress, progress.counter_file.replace("{copy}", str(number)))
    if process.stdout is not None:
        copy.reader = threading.Thread(target=_read, args=(copy, process.stdout), daemon=True)
        copy.reader.start()
    return copy


def _read(copy: Copy, stream: IO[str]) -> None:
    """Follow a copy's output to its end, and close it."""
    with stream:
        _follow(copy, stream)


def _follow(copy: Copy, stream: IO[str]) -> None:
    pattern, count = copy.progress.pattern, 0
    for line in stream:
        copy.last_lines[:] = [*copy.last_lines[1 - _LINES_KEPT :], line.rstrip()]
        match = pattern.search(line) if pattern is not None else None
        if match is None:
            continue
        count += 1
        units = float(count)
        if match.groups():
            try:
                units = float(match[1])
            except (TypeError, ValueError):
                continue
        copy.saw(units, time.monotonic())


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """To all of the copy's session, which is its process group too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def in_session(pid: int, leaders: frozenset[int]) -> bool:
    """Whether a process belongs to one of our copies."""
    try:
        return os.getsid(pid) in leaders
    except (ProcessLookupError, PermissionError):
        return False


def only(gpu: int) -> dict[str, str]:
    """The environment of a program that is to see one GPU alone, by NVML's index.

    NVML counts along the PCI bus; CUDA's own order begins with what it takes for the fastest.
    """
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}


@contextlib.contextmanager
def mps_daemon(gpu: int) -> Iterator[dict[str, str]]:
    """A control daemon of our own; yields the environment that its clients need.

    Raises:
        EnvironmentFailedError: it is not installed, or doesn't start.
    """
    program = shutil.which(_CONTROL, path=os.pathsep.join((os.environ.get("PATH", ""), *_CONTROL_PLACES)))
    if program is None:
        raise EnvironmentFailedError(
            f"{_CONTROL} is not there", fix="install NVIDIA's driver with its compute utilities"
        )
    with tempfile.TemporaryDirectory(prefix="gpuslice-mps-") as place:
        own = {
            "CUDA_MPS_PIPE_DIRECTORY": place,
            "CUDA_MPS_LOG_DIRECTORY": place,
            **only(gpu),
        }
        whole = {**os.environ, **own}
        done = subprocess.run([program, "-d"], env=whole, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise EnvironmentFailedError(
                f"{_CONTROL} doesn't start: {' '.join((done.stdout + done.stderr).split())[:200]}",
                fix="see whether another one runs on this GPU",
            )
        try:
            # The server that it starts sees the GPU that the daemon was started for, as its only one.
            yield {**own, "CUDA_VISIBLE_DEVICES": "0"}
        finally:
            subprocess.run(  # noqa: S603
                [program], env=whole, input="quit\n", capture_output=True, text=True, check=False, timeout=60
            )
