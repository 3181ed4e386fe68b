"""The same input gives the same bytes: here, again, in another process, and on a machine that has no time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import gpuslice
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.plan.artefact import Plan
from tests.planner.good_plans import CATALOG, CUT, SHARED, SLOTS
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.random_fleets import fleet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGE = Path(gpuslice.__file__).parents[1]
MIXED = (
    *SHARED,
    *SLOTS,
    *CUT,
    *(
        workload(
            f"lime/app{i}", 1 + i % 3, "L4", 900 + 700 * i, 0.01 * (i + 1), isolation=list(Isolation)[i % 2]
        )
        for i in range(9)
    ),
)


def _bytes() -> bytes:
    plan: Plan = solved(MIXED, CATALOG).plan
    return msgspec.json.encode(plan)


def test_the_same_input_gives_the_same_plan_twice():
    assert _bytes() == _bytes()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_same_input_gives_the_same_plan_in_another_process(seed):
    script = (
        "import sys; from tests.planner.test_determinism import _bytes; sys.stdout.buffer.write(_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{PACKAGE}"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == _bytes()


BUSY = "import sys; sys.stdin.readline()\nwhile True: pass"
PLAN = (sys.executable, "-m", "gpuslice", "plan", "-o", "json", "-f")


def _planned(path: Path, *before: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*before, *PLAN, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )


def _answer(process: subprocess.Popen[bytes]) -> bytes:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err.decode()
    return out


@pytest.mark.slow
def test_a_busy_machine_makes_the_same_plan_as_one_at_rest(tmp_path):
    """Two at once, and one that gets what is left by loops that never rest."""
    path = tmp_path / "workloads.yaml"
    path.write_text(fleet(7, 20))
    alone = _answer(_planned(path))
    assert json.loads(alone)["summary"]["termination"] != "time-limit"
    # Ahead of the starved one, and behind the other tests.
    loops = [
        subprocess.Popen(["nice", "-n", "15", sys.executable, "-c", BUSY], stdin=subprocess.PIPE)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for loop in loops:
            assert loop.stdin is not None
            loop.stdin.close()
        starved = _planned(path, "nice", "-n", "19")
        both = [_planned(path), _planned(path)]
        assert [_answer(process) for process in (*both, starved)] == [alone] * 3
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
