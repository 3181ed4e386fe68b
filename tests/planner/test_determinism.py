"""The same input gives the same bytes: here, again, and in another process."""

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
