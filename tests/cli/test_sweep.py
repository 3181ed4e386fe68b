"""`gpuslice simulate --sweep`: a grid of replays, kept cell by cell."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWEEP = """\
apiVersion: gpuslice.io/v1alpha1
kind: Sweep
policies: [whole, plan]
whatIfs:
- name: as it is
- {name: cheap, prices: prices.yaml}
seeds: [0, 1]
"""


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    (tmp_path / "prices.yaml").write_text("g4dn.xlarge: {on-demand: 0.1}\n")
    return path


@pytest.fixture
def arguments(fleet, tmp_path, sweep):
    counts = tmp_path / "counts.csv"
    counts.write_text("time,workload,replicas\n0,shop/search,2\n3600,shop/search,6\n7200,shop/search,1\n")
    return ("simulate", "-f", fleet, "--trace", counts, "--sweep", sweep)


@pytest.mark.slow
def test_each_cell_is_the_replay_that_it_names_and_is_not_replayed_again(
    gpuslice, arguments, tmp_path, sweep
):
    out = tmp_path / "result.json"
    ended = gpuslice(*arguments, "--jobs", 2, "--out", out)
    assert ended.code == 0
    assert [line.split("  ")[0] for line in ended.out.splitlines()[1:5]] == ["as it is"] * 2 + ["cheap"] * 2
    cells = json.loads(out.read_text())["cells"]
    names = [(each["whatIf"], each["policy"], each["seed"]) for each in cells]
    assert names == [
        (what_if, policy, seed)
        for what_if in ("as it is", "cheap")
        for policy in ("whole", "plan")
        for seed in (0, 1)
    ]
    alone = gpuslice(*arguments[:5], "--policies", "plan", "--seed", 1, "-o", "json")
    assert json.loads(alone.out)["outcomes"] == [cells[3]["outcome"]]

    # One cell is lost, as where a machine went down: it alone is replayed again, and the bytes are the same.
    before = out.read_bytes()
    kept = sorted((tmp_path / "sweep.cells").iterdir())
    assert len(kept) == 8
    kept[0].unlink()
    again = gpuslice(*arguments, "--jobs", 1, "--out", out)
    assert "7 of 8 replays" in again.err
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SWEEP.replace("[0, 1]", "[1, 1]"), "names a seed twice"),
        (SWEEP.replace("[whole, plan]", "[]"), "policies"),
        (SWEEP.replace("[whole, plan]", "[whole, plann]"), "policies: no policy is called 'plann'"),
        (SWEEP.replace("[whole, plan]", "['whole,plan']"), "'whole,plan' is more than one policy"),
        (SWEEP.replace("prices.yaml", "none.yaml"), "is no file"),
        (SWEEP.replace("whatIfs", "whatifs"), "whatIfs"),
        (SWEEP.replace("[0, 1]", str(list(range(5000)))), "20,000 replays"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(gpuslice, arguments, sweep, text, words):
    sweep.write_text(text)
    ended = gpuslice(*arguments)
    assert ended.code == 2
    assert words in " ".join(ended.err.split())
    assert not ended.out


def test_what_the_file_says_is_not_said_twice(gpuslice, arguments):
    ended = gpuslice(*arguments, "--allow", "L4", "--seed", 2)
    assert ended.code == 2
    assert "--seed, --allow: the sweep's file says that" in ended.err


def test_a_cell_that_is_refused_is_told_of_in_its_own_words(gpuslice, arguments, sweep):
    sweep.write_text(SWEEP.replace("whole, plan", "hole"))
    ended = gpuslice(*arguments)
    assert ended.code == 2
    assert "no policy is called 'hole'" in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.yaml", "none.yaml: can't be read: no such file"), ("-", "-f -: each replay of a sweep reads")],
)
def test_every_replay_reads_its_files_so_they_must_be_there(gpuslice, arguments, name, words):
    ended = gpuslice(*(each if index != 2 else name for index, each in enumerate(arguments)))
    assert ended.code == 2
    assert words in ended.err


@pytest.mark.slow
def test_ctrl_c_ends_what_runs_and_keeps_what_is_done(arguments, sweep, tmp_path):
    policies = ", ".join(["whole", *(f"replan-{hours}h" for hours in range(1, 40))])
    sweep.write_text(SWEEP.replace("whole, plan", policies))
    command = [sys.executable, "-m", "gpuslice", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cells = tmp_path / "sweep.cells"
    until = time.monotonic() + 90
    while not (cells.is_dir() and list(cells.iterdir())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    replays: list[str] = []
    while not replays:  # one has ended, and the next begins
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            replays = [each for task in tasks for each in (task / "children").read_text().split()]
    process.send_signal(signal.SIGINT)  # to it alone, as a supervisor may; a terminal tells the replays too
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: interrupted\n")
    assert not [each for each in replays if Path(f"/proc/{each}").exists()]
    assert all(each.read_bytes().endswith(b"}\n") for each in cells.iterdir())
