"""A real Prometheus for tests and benchmarks: found, or unpacked from Debian's package into a cache, and served.

python -m tools.prometheus     says where it is

$GPUSLICE_PROMETHEUS names a folder with `prometheus` and `promtool`; else they are looked for on the PATH, else
fetched by apt-get, which needs no root for that and installs nothing. Elsewhere a missing one is said, and its tests
are skipped; where CI is set, it is an error. A server listens on loopback only, and is stopped at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2 as httpx

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuslice" / "prometheus"
_BOTH: Final = ("prometheus", "promtool")
_PATIENCE: Final = 60  # seconds until a server must be ready


@dataclass(frozen=True)
class Served:
    """A server that runs: where it listens, and its process."""

    url: str
    pid: int


def folder() -> Path | None:
    """Where both programs are; None: nowhere, and they can't be had."""
    named = os.environ.get("GPUSLICE_PROMETHEUS")
    if named:
        return Path(named)
    paths = [shutil.which(each) for each in _BOTH]
    if all(paths):
        return Path(str(paths[0])).parent
    found = _CACHE / "usr" / "bin"
    if (
        not all((found / each).is_file() for each in _BOTH)
        and shutil.which("apt-get")
        and shutil.which("dpkg")
    ):
        _unpack()
    return found if all((found / each).is_file() for each in _BOTH) else None


@contextlib.contextmanager
def serving(programs: Path, data: Path, *options: str) -> Iterator[Served]:
    """A server of the blocks in a folder.

    Args:
        programs: where `prometheus` is.
        data: its storage; it also gets an empty configuration, prometheus.yml.
        options: more of the program's.

    Raises:
        RuntimeError: it doesn't start.
    """
    config = data / "prometheus.yml"
    config.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            programs / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
            *options,
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _PATIENCE
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("Prometheus doesn't start")
            time.sleep(0.05)
        yield Served(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready", timeout=1).status_code == 200
    return False


def _unpack() -> None:
    """Debian's package, unpacked beside the cache and then moved there: several may do so at once."""
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE.parent) as place:
        own = ("-qq", "-o", f"Dir::State={place}", "-o", f"Dir::Cache={place}", "-o", "Debug::NoLocking=1")
        status = ("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=")
        # The machine's own lists, and where it has none or old ones, lists of our own.
        for before in ((), ("update",)):
            options = (*own, *status) if before else ("-qq",)
            if before and subprocess.run(["apt-get", *options, *before], check=False, cwd=place).returncode:
                continue
            done = subprocess.run(
                ["apt-get", *options, "download", "prometheus"],
                check=False,
                cwd=place,
                stderr=subprocess.DEVNULL,
            )
            packages = sorted(Path(place).glob("prometheus_*.deb"))
            if done.returncode == 0 and packages:
                target = Path(place) / "unpacked"
                subprocess.run(["dpkg", "-x", str(packages[0]), str(target)], check=True)
                if not _CACHE.exists():
                    target.rename(_CACHE)
                return


def main() -> int:
    """Find it, or fetch it."""
    found = folder()
    if found is not None:
        return 0
    print("no Prometheus: the tests that ask a real one will be skipped", file=sys.stderr)
    print(
        "install it (Debian: apt-get install prometheus), or set GPUSLICE_PROMETHEUS to its folder",
        file=sys.stderr,
    )
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
