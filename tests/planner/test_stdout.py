"""The solver speaks to nobody: what its library writes to standard output, however it buffers, is no part of a plan."""

import subprocess
import sys

SCRIPT = """
import ctypes, os
from gpuslice.planner.programs.stdout import silenced
libc = ctypes.CDLL(None)
print("before", flush=True)
with silenced():
    os.write(1, b"a greeting\\n")
    libc.printf(b"and another, buffered by the library\\n")
print("after", flush=True)
"""
CLOSED = """
import os
os.close(1)
from gpuslice.planner.programs.stdout import silenced
with silenced():
    pass
os.write(2, b"fine")
"""


def _ran(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)


def test_what_a_library_prints_meanwhile_is_lost_and_nothing_else():
    assert _ran(SCRIPT).stdout.splitlines() == ["before", "after"]


def test_a_process_without_standard_output_can_plan():
    assert _ran(CLOSED).stderr == "fine"


def test_loading_the_solver_writes_nothing():
    loaded = _ran("import gpuslice.planner.programs.highs as highs; highs.LinearMaster([1.0], [1.0])")
    assert loaded.stdout == ""
