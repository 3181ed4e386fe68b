"""The rendered bytes, held by files that a person can read. After a change that is meant:

GOLDEN=write .venv/bin/pytest tests/render/test_golden.py, then read the difference.
"""

import os
import random
from pathlib import Path

import pytest

from gpuslice.render.manifests import render
from tests.render.plans import CATALOG, PLANS, SETTINGS, plan

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_renders_the_same_bytes_as_ever(name):
    files = render(PLANS[name], CATALOG, SETTINGS)
    folder = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        for path in (each for each in folder.rglob("*") if each.is_file()):
            path.unlink()
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    kept = {
        each.relative_to(folder).as_posix(): each.read_text() for each in folder.rglob("*") if each.is_file()
    }
    assert dict(files) == kept


@pytest.mark.parametrize("name", PLANS)
def test_the_order_in_which_a_plan_lists_things_changes_no_byte(name):
    one = PLANS[name]
    shuffle = random.Random(1)
    pools = shuffle.sample(one.pools, len(one.pools))
    assignments = shuffle.sample(one.assignments, len(one.assignments))
    other = plan(tuple(pools), tuple(assignments), one.stack)
    assert render(other, CATALOG, SETTINGS) == render(one, CATALOG, SETTINGS)
