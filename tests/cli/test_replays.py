"""A replay, as a value, and the command by which another process is asked for it."""

from dataclasses import fields, replace

import pytest

from gpuslice.cli import simulate
from gpuslice.cli.main import command_line
from gpuslice.cli.replay import Replay
from gpuslice.cli.replays import command_of, file_places

USUAL = Replay(
    files=("workloads.yaml",),
    trace="trace.csv",
    today="",
    days=0,
    catalog="",
    overhead="",
    accept_assumed=False,
    consolidate_after=300.0,
    boot=180.0,
    stack="al2023",
    time_limit=60.0,
    policies="whole",
)
OTHER = replace(
    USUAL,
    files=("workloads.yaml", "plan.yaml"),
    trace="",
    today="A10G",
    days=2,
    catalog="catalog.yaml",
    overhead="cpu=1,memory=1Gi,pods=5",
    accept_assumed=True,
    consolidate_after=1234567.5,
    boot=0.0,
    stack="bottlerocket",
    time_limit=0.25,
    policies="whole,plan",
    seed=7,
    allow="L4,A10G",
    isolation="memory",
    prices="prices.yaml",
    spot_interruptions=0.05,
)


@pytest.mark.parametrize("asked", [USUAL, OTHER], ids=["usual", "other"])
def test_a_command_asks_for_just_the_replay_that_it_was_made_of(monkeypatch, asked):
    heard = []

    def read(given, _check):
        heard.append(given)
        raise SystemExit(0)

    monkeypatch.setattr(simulate, "read", read)
    with pytest.raises(SystemExit):
        command_line()(args=["simulate", *command_of(asked)], standalone_mode=False)
    assert heard == [asked]


def test_every_attribute_is_said_somehow():
    for field in fields(Replay):
        other = replace(USUAL, **{field.name: getattr(OTHER, field.name)})
        assert command_of(other) != command_of(USUAL), field.name


def test_the_files_are_found_among_the_arguments():
    command = command_of(OTHER)
    assert [command[place] for place in file_places(command)] == [
        "workloads.yaml",
        "plan.yaml",
        "catalog.yaml",
        "prices.yaml",
    ]
