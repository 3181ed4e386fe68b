"""What is paid now, and plans that cost more than they need, on a folder of cases, where one is named."""

import json
import os
from pathlib import Path

import pytest

CASES = Path(os.environ.get("GPUSLICE_CASES", ""))
pytestmark = pytest.mark.skipif(Path() == CASES, reason="GPUSLICE_CASES names no folder of cases")

# By case: options of plan, words that are said, and words that are not.
PLANS = {
    "today-mig-in-manifests": (
        (),
        [
            "parts of GPUs already (8 of gpu.shared, 14 of mig-1g.5gb, 2 of mig-3g.20gb)",
            "less than whole GPUs",
        ],
        ["today's"],
    ),
    "today-spot": ((), ["less than whole GPUs", "on spot now", "leaving spot may cost more"], []),
    "money-negative-baseline/two.yaml": (("--overhead", "pods=35"), ["whole GPUs"], ["error"]),
    "money-at-it-wording/workloads.yaml": (("--time-limit", "0"), ["proven least"], []),
}
SCANS = {
    "today-slices-renamed": (
        ["now: $2.01 an hour", "8 pods have 1 of 4 slots by time-slicing of A10G each"],
        ["as much as now"],
    ),
    "today-slices-not-renamed": (
        ["now: $2.01 an hour", "8 pods have 1 of 4 slots by time-slicing of A10G each"],
        ["whole GPUs for it would be $8.05 an hour", "it has 1 of 4 slots by time-slicing"],
    ),
}


@pytest.mark.parametrize("case", sorted(PLANS))
def test_what_a_plan_of_a_case_says(gpuslice, case):
    options, words, never = PLANS[case]
    ended = gpuslice("plan", "-f", CASES / case, *options)
    said = ended.out + ended.err
    assert ended.code == 0
    assert [word for word in words if word not in said] == []
    assert [word for word in never if word in said] == []
    assert not any(line.startswith(("today", "now")) for line in ended.out.splitlines())


@pytest.mark.parametrize("case", sorted(SCANS))
def test_a_dump_says_what_is_paid_now_and_the_plan_is_put_beside_it(gpuslice, case, tmp_path):
    scanned, planned = SCANS[case]
    out = tmp_path / "workloads.yaml"
    scan = gpuslice("scan", "--from", CASES / case / "dump", "--out", out)
    assert [word for word in scanned if word not in scan.err] == []
    plan = gpuslice("plan", "-f", out)
    assert plan.code == 0
    assert [word for word in planned if word not in plan.out] == []
    assert "75.0% less" not in plan.out


def test_nobody_waits_for_good_in_a_replay_of_a_plan_that_has_room_for_everybody(gpuslice):
    case = CASES / "money-pending-in-own-simulation"
    ended = gpuslice(
        *("simulate", "-f", case / "workloads.yaml", "-f", case / "plan.yaml", "--days", "1"),
        *("--policies", "plan", "-o", "json"),
    )
    outcome = json.loads(ended.out)["outcomes"][0]
    assert outcome["neverPlaced"] == 0
    assert outcome["pending"]["longest"] < 600
