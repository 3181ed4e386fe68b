"""Measuring on a GPU, with a library in NVML's place for its faults and one busy program; the real one has been run."""

import json
import os
import re
import sys

import pytest

from gpuslice.cli.console import Output
from gpuslice.cli.shown.gpu import WatchedGpu, print_watched
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError, InputError
from gpuslice.measure import gpu as watching
from gpuslice.measure import nvml, probe
from gpuslice.measure import shares as sharing
from gpuslice.measure.copies import Progress, running
from gpuslice.measure.gpu import need_of, watch
from gpuslice.measure.nvml import Card
from gpuslice.measure.shares import Share, Timing, measure_copies
from tests.measure.played_nvml import Nvml

COUNTS = "import time\nfor n in range(10000):\n print('step', n % 50, flush=True)\n time.sleep(0.01)"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sharing, "_PATIENCE", 2.0)
    monkeypatch.setattr(watching, "INTERVAL", 0.02)


def card(library, index=0):
    return Card(index, library=library)


def mine(pid):
    return pid == os.getpid()


def test_a_process_alone_has_its_memory_and_its_activity():
    found = need_of(watch(card(Nvml()), 0.2, ours=mine), quantile=0.95)
    assert (found.memory_mib, found.duty_ppm, found.on) == (3001, 400_000, "H100")
    assert (found.measurement.sm, found.measurement.tensor, found.measurement.dram) == (0.3, 0.1, 0.2)
    assert found.measurement.confidence == "low"
    assert found.suspicion is None


def test_beside_others_the_cards_counters_are_nobodys():
    library = Nvml()
    library.foreign = [1]
    found = need_of(watch(card(library), 0.2, ours=mine), quantile=0.95)
    assert (found.memory_mib, found.duty_ppm) == (None, None)


def test_a_card_without_gpm_tells_utilisation_and_says_so():
    found = need_of(watch(card(Nvml(gpm=False)), 0.2, ours=mine), quantile=0.95)
    assert found.duty_ppm == 700_000
    assert any("nvidia-smi" in each for each in found.measurement.notes)


def test_every_sample_is_freed():
    library = Nvml()
    found = card(library)
    for _ in range(4):
        found.activity()
    found.close()
    assert library.freed == 4


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetMemoryInfo"])
def test_a_failing_nvml_is_said(call):
    library = Nvml()
    library.fail = call
    with pytest.raises(EnvironmentFailedError, match="gone"):
        card(library)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="GPU 5"):
        card(Nvml(), 5)


def test_copies_are_run_and_compared_with_one():
    words: list[str] = []
    alone, shares = measure_copies(
        card(Nvml()),
        [sys.executable, "-c", COUNTS],
        (2,),
        Progress(re.compile(r"step \d+")),
        mps=False,
        timing=Timing(0.1, 0.6),
        say=words.append,
    )
    assert [each.copies for each in shares] == [1, 2]
    assert shares[0].slowdown == 1
    assert shares[1].throughput == pytest.approx(2, rel=0.4)  # they only sleep
    assert (shares[1].expected or 0) > 1
    assert alone.foreign == {os.getpid()}
    assert words[0].startswith("1 copy")


def test_a_program_is_measured_from_its_first_progress_and_not_while_it_loads():
    loads = "import time\ntime.sleep(0.8)\n" + COUNTS
    _, shares = measure_copies(
        card(Nvml()),
        [sys.executable, "-c", loads],
        (1,),
        Progress(re.compile(r"step \d+")),
        mps=False,
        timing=Timing(0.1, 0.4),
        say=lambda _: None,
    )
    assert shares[0].rate  # else it would have been measured before it told anything


def test_a_program_that_ends_before_it_is_measured_is_an_answer_of_no():
    with pytest.raises(AnswerIsNoError, match="ended before"):
        measure_copies(
            card(Nvml()),
            [sys.executable, "-c", "print('step 1')"],
            (1,),
            Progress(re.compile("step")),
            mps=False,
            timing=Timing(5, 0.3),
            say=lambda _: None,
        )


def test_a_counter_that_starts_anew_goes_on():
    with running([sys.executable, "-c", COUNTS], 1, Progress(re.compile(r"step (\d+)")), {}) as (copy,):
        for now, units in enumerate((0, 10, 20, 5, 15)):
            copy.saw(units, now - 1000.0)
        assert copy.rate(-1000, -990) == pytest.approx(35 / 4)
    assert copy.process.poll() is not None


@pytest.mark.parametrize(
    ("script", "said"),
    [("raise SystemExit(3)", "exit code 3"), ("import time; time.sleep(9)", "no progress")],
)
def test_a_copy_that_fails_or_stalls_is_an_answer_of_no(script, said):
    with pytest.raises(AnswerIsNoError, match=said):
        measure_copies(
            card(Nvml()),
            [sys.executable, "-c", script],
            (1,),
            Progress(re.compile("step")),
            mps=False,
            timing=Timing(0.3, 0.3),
            say=lambda _: None,
        )


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no-such-program"), running(["no-such-program"], 2, Progress(), {}):
        pass


@pytest.mark.slow
def test_all_gpus_of_a_node_are_watched_side_by_side(gpuslice, monkeypatch):
    library = Nvml(count=2)
    monkeypatch.setattr(nvml, "_library", lambda: library)
    both = json.loads(gpuslice("measure", "gpu", "--all", "--seconds", "2", "-o", "json").out)["gpus"]
    assert [each["gpu"]["index"] for each in both] == [0, 1]
    assert [each["need"]["name"] for each in both] == ["gpu-0", "gpu-1"]
    assert both[0]["processes"][0]["memoryMiB"] == 3001
    one = json.loads(gpuslice("measure", "gpu", "--all", "--gpu", "1", "--seconds", "2", "-o", "json").out)
    assert [each["gpu"]["index"] for each in one["gpus"]] == [1]


SILENT = "import time\nwhile True: time.sleep(0.01)"
# In the probe's place: twelve cycles in so many, whatever shares the GPU with it; slower once it is told its turns.
PROBE = """
import sys, time
turns = int(sys.argv[sys.argv.index("--turns") + 1]) if "--turns" in sys.argv else 0
for cycle in range(100000):
    print(f"{cycle} cycles, 77 turns, 9 blocks", flush=True)
    time.sleep(0.04 if turns == 77 and sys.argv[-2:] == ["--blocks", "9"] else 0.02)
"""


@pytest.mark.slow
def test_a_probe_stands_in_for_a_program_that_tells_no_progress(monkeypatch, tmp_path):
    (tmp_path / "standin.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(probe, "__name__", "standin")
    library = Nvml()
    library.foreign = []
    alone, shares = measure_copies(
        card(library),
        [sys.executable, "-c", SILENT],
        (2,),
        Progress(),
        mps=False,
        timing=Timing(0.1, 0.8),
        say=lambda _: None,
        probe=True,
    )
    assert alone.readings.mean_duty == pytest.approx(0.4)
    assert [each.by_probe for each in shares] == [True, True]
    assert shares[1].slowdown == pytest.approx(2, rel=0.3)


def test_silent_copies_without_a_probe_are_not_run_for_nothing():
    with pytest.raises(AnswerIsNoError, match="--probe"):
        measure_copies(
            card(Nvml()),
            [sys.executable, "-c", SILENT],
            (2,),
            Progress(),
            mps=False,
            timing=Timing(0, 0.2),
            say=lambda _: None,
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to measure"),
        (["--probe", "--", "true"], "--probe is timed in place"),
        (["--probe", "--copies", "2", "--progress", "x", "--", "true"], "--probe is timed in place"),
        (["--demand", "many", "--slo-ms", "5", "--", "true"], "go together"),
        (["--all", "-f", "w.yaml", "--workload", "a/b"], "name it: --gpu N"),
        (["--all", "--pid", "1"], "nothing to measure, or too much"),
        (["--all", "--mps"], "are for -- COMMAND"),
        (["--copies", "0", "--", "true"], "no numbers of copies"),
        (["--progress", "(", "--", "true"], "can't be read"),
        (["-f", "w.yaml", "--all"], "go together"),
    ],
)
def test_contradictions_are_refused_before_anything_runs(gpuslice, arguments, said):
    ended = gpuslice("measure", "gpu", *arguments)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize(("slowdown", "said"), [(0.63, True), (1.0, False), (1.8, False)])
def test_copies_that_outrun_one_alone_are_not_believed(capsys, slowdown, said):
    with_shares = [
        Share(1, 1.0, 1.0, 100.0, 800, 1.0),
        Share(2, slowdown, 2 / slowdown, 100 / slowdown, 800, 1.1),
    ]
    watched = watch(card(Nvml()), 0.1, ours=mine)
    found = WatchedGpu("a", 0, card(Nvml()).identity, watched, tuple(with_shares))
    print_watched([found], [], quantile=0.95, output=Output.TABLE, everything=False)
    assert ("copies ran faster than one alone" in capsys.readouterr().err) is said
