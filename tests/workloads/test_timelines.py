"""Demand over time, read and made."""

import json
from dataclasses import replace

import pytest

from gpuslice.errors import InputError
from gpuslice.hardware.need import Need
from gpuslice.workloads.artefact import WorkloadSet
from gpuslice.workloads.model import Workload
from gpuslice.workloads.timelines import Life, from_file, wave

OPENB = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
WORKLOADS = WorkloadSet(
    "us-east-1",
    (
        Workload("shop/web", 2, 500, 1024, Need(memory_mib=1000, duty_ppm=100_000, on="T4"), tenant="shop"),
        Workload("shop/night", 3, 500, 1024, Need(memory_mib=1000, duty_ppm=100_000, on="T4"), tenant="shop"),
    ),
)


@pytest.fixture
def read(tmp_path):
    def read_(*lines, **more):
        path = tmp_path / "trace.csv"
        path.write_text("\n".join(lines) + "\n")
        return from_file(str(path), **more)

    return read_


def test_openb_pods_come_and_go_by_the_second(read):
    found = read(
        OPENB,
        "a,1000,1024,1,500,,LS,Running,100,400,100",
        "b,1000,1024,1,500,,LS,Running,0,200,0",
        "c,1000,1024,0,0,,LS,Running,0,200,0",
    )
    (workload,) = found.workloads
    assert found.lives == (Life(workload.name, 0, 200), Life(workload.name, 100, 400))
    assert (workload.replicas, found.seconds) == (2, 400)
    assert found.notes == ("1 pods without a GPU: left out",)


def test_rows_with_bad_times_are_counted_and_named(read):
    found = read(
        OPENB,
        "a,1000,1024,1,500,,LS,Running,0,400,0",
        "b,1000,1024,1,500,,LS,Running,-5,400,0",
        "c,1000,1024,1,500,,LS,Running,,400,0",
        "d,1000,1024,1,500,,LS,Running,300,200,0",
    )
    assert len(found.lives) == 1
    assert found.notes == (
        "skipped: rows that are no pod, or have no times: 2 (lines 3, 4)",
        "skipped: pods that end before they start, or at once: 1 (line 5)",
    )


def test_a_pod_of_gentd26_is_there_from_its_first_minute_to_its_last(read):
    found = read(
        "pod,minute,duty,mem_mib",
        "a,3,10,5000",
        "a,9,30,6000",
        "b,5,20,6000",
        "b,x,20,6000",
        today="A100-80GB",
    )
    assert {(each.start, each.end) for each in found.lives} == {(180, 600), (300, 360)}
    assert not [each for each in found.notes if "blank" in each or "without a usable" in each]
    assert sum(each.replicas for each in found.workloads) == 2
    assert "skipped: rows without a pod or a minute: 1 (line 5)" in found.notes


def test_blank_and_unusable_readings_of_gentd26_are_counted(read):
    lines = ("a,3,10,5000", "a,4,,5000", "a,5,10,", "a,6,,", "b,1,200,5000")
    found = read("pod,minute,duty,mem_mib", *lines, today="A100-80GB")
    assert "2 blank duty and 2 blank memory readings" in found.notes[1]
    assert "1 pods without a usable reading left out: 'b'" in found.notes


def test_a_pod_of_openb_that_is_named_twice_counts_once(read):
    pod = "a,1000,1024,1,500,,LS,Running,100,400,100"
    found = read(OPENB, pod, pod)
    assert len(found.lives) == 1
    assert "skipped: pods of a name that another had before: 1 (line 3)" in found.notes


def test_gentd26_needs_a_gpu_model(read):
    with pytest.raises(InputError, match="doesn't say which GPU"):
        read("pod,minute,duty,mem_mib", "a,3,10,5000")


def test_counts_start_pods_and_stop_the_youngest(read):
    found = read(
        "time,workload,replicas",
        "0,shop/web,2",
        "60,shop/web,3",
        "120,shop/web,1",
        "300,shop/web,1",
        workloads=WORKLOADS,
    )
    assert found.lives == (
        Life("shop/web", 0, 120),
        Life("shop/web", 0, None),
        Life("shop/web", 60, 120),
    )
    assert [(each.name, each.replicas) for each in found.workloads] == [("shop/web", 3)]
    assert found.seconds == 300


def test_counts_of_unknown_workloads_negative_and_double_ones_are_named(read):
    found = read(
        "time,workload,replicas",
        "0,shop/web,2",
        "0,shop/web,5",
        "10,shop/other,1",
        "-3,shop/web,1",
        "20,shop/web,",
        "60,shop/web,2",
        workloads=WORKLOADS,
    )
    assert len(found.lives) == 2
    assert found.notes == (
        "skipped: rows of 'shop/other', which is no workload: 1 (line 4)",
        "skipped: rows without a time and a count: 2 (lines 5, 6)",
        "skipped: rows that count a workload a second time at one moment: 1 (line 3)",
    )


def test_of_many_unknown_workloads_the_first_are_named(read):
    rows = [f"0,shop/other-{index},1" for index in range(9)]
    ours = ("0,shop/web,2", *rows, "60,shop/web,2")
    notes = read("time,workload,replicas", *ours, workloads=WORKLOADS).notes
    assert len(notes) == 6
    assert notes[-1] == "skipped: rows of other names that are no workload: 4 (lines 8, 9, 10, 11)"


def answered(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> str:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def test_an_answer_of_prometheus_is_counts_of_replicas(read):
    web = {"namespace": "shop", "deployment": "web"}
    found = read(
        answered(
            (
                web,
                [
                    (1000.0, "2"),
                    (1300.0, "1"),
                    (1600.2, "2"),
                    (1900.0, "NaN"),
                    (2200.0, "-1"),
                    (2500.0, "1.5"),
                ],
            ),
            ({**web, "instance": "another"}, [(1000.0, "9")]),
            ({"namespace": "shop", "statefulset": "night"}, [(1300.0, "1")]),
            ({"namespace": "shop", "deployment": "gone"}, [(1000.0, "4"), (1300.0, "4")]),
            ({"namespace": "shop", "cronjob": "odd"}, [(1000.0, "4")]),
            (web, []),
        ),
        workloads=WORKLOADS,
    )
    assert found.lives == (
        Life("shop/web", 0, 300),
        Life("shop/web", 0, None),
        Life("shop/night", 300, None),
        Life("shop/web", 600, None),
    )
    assert found.seconds == 600
    assert found.notes == (
        "3 samples of 2 names that are no workload skipped: 'shop/gone', 'shop/'",
        "3 samples that are no count skipped",
        "1 samples that count a workload a second time at one moment skipped",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status":"error","error":"nope"}', "no answer of Prometheus"),
        ('{"status":"success","data":{"resultType":"vector","result":[]}}', "no answer of Prometheus"),
        (
            '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}',
            "no answer",
        ),
        ('{"status":', "no answer of Prometheus"),
        ('{"status":"success","x":' + "[" * 100_000, "no answer of Prometheus"),
        (answered(), "no usable row"),
        (answered(({"namespace": "shop", "deployment": "web"}, [(0, "x")])), "no usable row"),
    ],
)
def test_an_answer_that_is_none_or_empty_is_refused(read, text, words):
    with pytest.raises(InputError, match=words):
        read(text, workloads=WORKLOADS)


def test_an_answer_of_prometheus_needs_workloads(read):
    with pytest.raises(InputError, match="counts replicas of workloads"):
        read(answered())


def test_counts_need_workloads_and_a_usable_row(read):
    with pytest.raises(InputError, match="counts replicas of workloads"):
        read("time,workload,replicas", "0,shop/web,2")
    with pytest.raises(InputError, match="no usable row"):
        read("time,workload,replicas", "0,shop/else,2", workloads=WORKLOADS)


def test_counts_of_one_moment_cover_no_time(read):
    with pytest.raises(InputError, match="covers no time: all its counts are of one moment"):
        read("time,workload,replicas", "0,shop/web,2", workloads=WORKLOADS)


def test_something_else_is_no_trace(read):
    with pytest.raises(InputError, match="is no known trace"):
        read("a,b", "1,2")


def test_a_wave_stays_between_now_and_peak_is_highest_in_the_afternoon_and_has_a_seed():
    found = wave(WORKLOADS, {"shop/web": 10}, days=3, seed=1)
    assert found == wave(WORKLOADS, {"shop/web": 10}, days=3, seed=1)
    assert found != wave(WORKLOADS, {"shop/web": 10}, days=3, seed=2)
    assert found.seconds == 3 * 86_400
    assert all(each.end is not None and each.end <= found.seconds for each in found.lives)

    def count(name, hour):
        at = hour * 3600 + 1
        return sum(each.workload == name and each.start <= at < (each.end or 0) for each in found.lives)

    counts = [count("shop/web", hour) for hour in range(72)]
    assert 2 <= min(counts) <= max(counts) <= 10
    assert min(counts[13:18]) > max(counts[1:5])
    assert {count("shop/night", hour) for hour in range(72)} == {3}


def test_a_peak_below_now_changes_nothing():
    quiet = replace(WORKLOADS, workloads=WORKLOADS.workloads[:1])
    found = wave(quiet, {"shop/web": 1}, days=1, seed=0)
    assert {each.end for each in found.lives} == {86_400}
    assert len(found.lives) == 2
