"""A real Prometheus, filled by promtool."""

import contextlib
import os
import subprocess

import pytest

from tools.prometheus import folder, serving


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
    text, data = folder / "metrics.txt", folder / "data"
    with text.open("w") as file:
        file.writelines(lines)
        file.write("# EOF\n")
    subprocess.run(
        [where / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, data],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with serving(where, data, *options) as server:
        yield server.url
