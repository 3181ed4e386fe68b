"""A real Prometheus, filled by promtool and stopped at the end; it listens on loopback only."""

import contextlib
import os
import socket
import subprocess
import time

import httpx2 as httpx
import pytest

from tools.prometheus import folder

PATIENCE = 60


def programs():
    found = folder()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Prometheus, and CI is set: make prometheus")
        pytest.skip("no Prometheus: make prometheus")
    return found


def line(name, labels, value, seconds):
    inside = ",".join(f'{key}="{each}"' for key, each in labels.items())
    return f"{name}{{{inside}}} {value} {seconds}\n"


@contextlib.contextmanager
def served(folder, lines, *options):
    """A server that holds these lines of OpenMetrics, each metric's together; yields its URL."""
    where = programs()
    text, data, config = folder / "metrics.txt", folder / "data", folder / "prometheus.yml"
    with text.open("w") as file:
        file.writelines(lines)
        file.write("# EOF\n")
    subprocess.run(
        [where / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, data],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    config.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            where / "prometheus",
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
        until = time.monotonic() + PATIENCE
        while not ready(url):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail("Prometheus doesn't start")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(url):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready", timeout=1).status_code == 200
    return False
