"""Ctrl-C while planning, no time to plan in, and what is shown meanwhile."""

import json
import signal

import pytest

from gpuslice.cli import planning
from gpuslice.cli.planning import in_words
from gpuslice.planner.solve import Found


@pytest.fixture
def _interrupted(monkeypatch):
    """A planning that is interrupted as soon as it has something to show."""
    sent: list[int] = []

    def send(found: Found) -> str:
        if not sent:
            sent.append(1)
            signal.raise_signal(signal.SIGINT)
        return in_words(found)

    monkeypatch.setattr(planning, "in_words", send)


@pytest.mark.usefixtures("_interrupted")
def test_ctrl_c_gives_the_best_plan_so_far_marked_as_such(gpuslice, fleet, tmp_path):
    ended = gpuslice("plan", "-f", fleet, "-o", "json", "--out", tmp_path / "plan.yaml")
    assert ended.code == 130
    plan = json.loads(ended.out)
    assert plan["summary"]["termination"] == "interrupted"
    assert {each["workload"] for each in plan["assignments"]} == {"shop/search", "shop/train"}
    assert "termination: interrupted" in (tmp_path / "plan.yaml").read_text()
    assert "this is the best plan so far" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("_interrupted")
def test_the_table_says_that_the_search_was_interrupted(gpuslice, fleet):
    assert "the search was interrupted" in gpuslice("plan", "-f", fleet).out


def test_ctrl_c_after_planning_is_the_programs_again(gpuslice, fleet):
    before = signal.getsignal(signal.SIGINT)
    assert gpuslice("plan", "-f", fleet).code == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_the_program(gpuslice, fleet, monkeypatch):
    def send(_found: Found) -> str:
        signal.raise_signal(signal.SIGINT)
        return ""

    monkeypatch.setattr(planning, "in_words", send)
    # The first found is told twice at least: by the relaxation or the packing, and by the pools.
    ended = gpuslice("plan", "-f", fleet, "--gap", "0")
    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("limit", ["0", "0.1"])
def test_a_plan_comes_out_however_little_time_there_is(gpuslice, fleet, limit):
    ended = gpuslice("plan", "-f", fleet, "--time-limit", limit, "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["assignments"]


def test_progress_tells_what_was_found_what_is_proven_and_the_gap():
    assert in_words(Found(12.5, 12.0, whole=True)) == "plan $12.50, nothing below $12.00 an hour, gap 4.0%"
    assert in_words(Found(12.5, 12.5, whole=False)).startswith("fractional mix $12.50")
    assert in_words(Found(0.0, 0.0, whole=True)).endswith("gap 0.0%")
