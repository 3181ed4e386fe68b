"""The cells of a sweep on an existing Ray cluster: the same `gpuslice simulate`, at workers that share no disk here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, cast
from urllib.parse import urlsplit

from gpuslice.cli.console import say
from gpuslice.cli.replays import Ended, file_places
from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

REACH_SECONDS: Final = 10.0
"""Until somebody must answer at the address."""
ANSWER_SECONDS: Final = 120.0
"""Until they must have answered as Ray does, each time that they are asked: a session that fails to start is told of
after 30 to 41 s (measured), of which 30 are Ray's grace; its server may wait for 30 more, and a busy head is slow."""
_CANCEL_SECONDS: Final = 15.0  # for taking back what is handed in, or leaving the cluster


def on_ray(commands: Sequence[Sequence[str]], address: str, jobs: int | None) -> Generator[tuple[int, Ended]]:
    """Replay on a Ray cluster, and tell which command has ended, in the order in which they do.

    Closing the generator takes back what has not ended.

    Args:
        commands: arguments of `gpuslice simulate`.
        address: HOST:PORT of the head, from one of the cluster's nodes, or ray://HOST:PORT of its Ray Client server.
        jobs: how many at once; None: as many as the cluster has CPUs.

    Raises:
        InputError: the address is none.
        EnvironmentFailedError: ray is missing here; the cluster can't be reached, is lost, or its workers die.
    """
    host, port = _parsed(address)
    if find_spec("ray") is None:
        raise EnvironmentFailedError(
            "a sweep on a Ray cluster needs ray, which is not installed",
            where="--ray",
            fix="pip install 'gpuslice[ray]'",
        )
    try:  # whether anybody listens there: Ray itself would try for minutes
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EnvironmentFailedError(f"can't be reached: {why}", where=_where(address)) from None
    with tempfile.TemporaryDirectory() as folder:
        driver = subprocess.Popen(
            [sys.executable, "-m", "gpuslice.cli.ray_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "GPUSLICE_DEBUG" in os.environ else subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is ours: we tell it to take the cells back
        )
        try:
            yield from _told(driver, _task(commands, address, jobs), len(commands), _where(address))
        finally:
            _end(driver)


def _where(address: str) -> str:
    return f"Ray cluster {address[:80]}"


def _parsed(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    kind, _, rest = address.rpartition("://")
    try:
        parsed = urlsplit(f"//{rest}")
        host, port = parsed.hostname, parsed.port
    except ValueError:
        host, port = None, None
    if kind not in {"", "ray"} or not host or not port or rest != parsed.netloc:
        raise InputError(
            f"{address[:80]!r} is no address of a Ray cluster",
            where="--ray",
            fix="name HOST:PORT of its head, or ray://HOST:PORT of its Ray Client server",
        )
    return host, port


def _task(commands: Sequence[Sequence[str]], address: str, jobs: int | None) -> bytes:
    """What the driver is to do, in its terms."""
    cells = []
    paths: dict[str, str] = {}
    for command in commands:
        places = file_places(command)
        paths |= {command[place]: str(Path(command[place]).resolve()) for place in places}
        cells.append((list(command), places))
    task = {
        "address": address,
        "jobs": jobs,
        "cells": cells,
        "paths": paths,
        "files": sorted(set(paths.values())),
    }
    return json.dumps(task).encode()


def _told(
    driver: subprocess.Popen[bytes], task: bytes, left: int, where: str
) -> Generator[tuple[int, Ended]]:
    """Until the driver has told of so many cells. How it ends after that, and whether it does, changes nothing."""
    asked, told = cast("IO[bytes]", driver.stdin), cast("IO[bytes]", driver.stdout)  # pipes, both
    connected = False
    with _Patience(driver) as patience:
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and why is said below
            asked.write(task)
            asked.close()
        while left and (line := told.readline()):
            match json.loads(line):
                case {"again": str(why)}:
                    say(f"{where} started no session: {why}; another is asked for")
                    patience.begin_again()
                case {"connected": int(cpus)}:
                    connected = True
                    patience.end()
                    if not cpus:
                        say(f"{where} has no CPU yet: replays wait for one")
                case {"cell": int(number), "code": int(code), "out": str(out), "err": str(err)}:
                    left -= 1
                    yield number, Ended(code, out, err)
                case {"failed": str(why), "fix": str(fix)}:
                    raise EnvironmentFailedError(why, where=where, fix=fix)
        if left:
            if driver.wait() == -signal.SIGKILL and not connected:  # by our patience
                raise EnvironmentFailedError(
                    f"doesn't answer as Ray does in {ANSWER_SECONDS:g} s", where=where
                )
            raise EnvironmentFailedError("was lost", where=where, fix="run it again: what is done is kept")
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(_CANCEL_SECONDS)  # it leaves the cluster


class _Patience:
    """Kills a driver that has not connected so many seconds after it was asked to."""

    def __init__(self, driver: subprocess.Popen[bytes]) -> None:
        self._driver = driver
        self._timer = threading.Timer(ANSWER_SECONDS, driver.kill)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def begin_again(self) -> None:
        """Give it all its time again, from now."""
        self.end()
        self._timer = threading.Timer(ANSWER_SECONDS, self._driver.kill)
        self._timer.start()

    def end(self) -> None:
        """Let it take as long as it does."""
        self._timer.cancel()


def _end(driver: subprocess.Popen[bytes]) -> None:
    """Let it take back what it has handed in."""
    try:
        if driver.poll() is None:
            driver.send_signal(signal.SIGINT)
            driver.wait(_CANCEL_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        driver.kill()
        driver.wait()
        if driver.stdout is not None:
            driver.stdout.close()
