import gzip

import pytest

from gpuslice.artefacts.documents import read_documents
from gpuslice.errors import InputError
from gpuslice.measure.statistics import Window, pool
from gpuslice.measure.trace import read_trace
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.measurement import Means


@pytest.fixture
def trace(tmp_path):
    def write(*lines, packed=False):
        path = tmp_path / ("trace.csv.gz" if packed else "trace.csv")
        text = "\n".join(lines) + "\n"
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        return str(path)

    return write


def needs(read):
    return {name: pool(each, Window(0, "", Means.TRACE)) for name, each in read.by_workload.items()}


def test_each_pod_of_gentd26_has_its_peak_and_its_mean(trace):
    rows = [
        f"sd-{pod},{minute},{10 * pod + 10},{1000 * (pod + 1) + minute}"
        for pod in range(2)
        for minute in range(90)
    ]
    found = needs(read_trace(trace("pod,minute,duty,mem_mib", *rows, packed=True), today="A100-80GB"))
    assert (found["sd-0"].memory_mib, found["sd-0"].duty_ppm) == (1089, 100_000)
    assert (found["sd-1"].memory_mib, found["sd-1"].duty_ppm) == (2089, 200_000)
    assert found["sd-0"].on == "A100-80GB"


def test_columns_say_their_units(trace):
    rows = [
        f"2026-11-01T{hour:02}:{minute:02}:00Z,a,0.5,{2**30},L4" for hour in range(3) for minute in range(60)
    ]
    read = read_trace(trace("time,pod,duty_share,mem_bytes,gpu", *rows))
    found = needs(read)["a"]
    assert (found.memory_mib, found.duty_ppm, found.on) == (1024, 500_000, "L4")
    assert read.until == "2026-11-01T02:59:00Z"
    assert read_trace(trace("time,pod,duty_share,mem_bytes,gpu", *reversed(rows))).until == read.until


def test_pods_of_one_workload_are_pooled_by_their_worst(trace):
    rows = [
        f"{pod},{minute},{duty},1000,shop/search"
        for pod, duty in (("a", 10), ("b", 30))
        for minute in range(70)
    ]
    found = needs(read_trace(trace("pod,minute,duty,mem_mib,workload", *rows), today="T4"))
    assert found["shop/search"].duty_ppm == 300_000
    assert found["shop/search"].measurement.replicas == 2


def test_blank_readings_are_left_out_and_bad_rows_are_counted(trace):
    rows = [f"a,{minute},,{100 if minute else ''}" for minute in range(70)]
    read = read_trace(trace("pod,minute,duty,mem_mib", *rows, "a,1,200,5", "a,x,1,5", "a,1,1"), today="T4")
    found = needs(read)["a"]
    assert found.duty_ppm is None
    assert found.memory_mib == 100
    assert "skipped: rows that are no reading: 3 (lines 72, 73, 74)" in read.notes


@pytest.mark.parametrize(
    ("lines", "today", "said"),
    [
        (["pod,minute,duty", "a,1,1"], "T4", "no column of mem_mib, mem_bytes"),
        (["pod,minute,time,duty,mem_mib", "a,1,1,1,1"], "T4", "more than one column of minute"),
        (["minute,duty,mem_mib", "1,1,1"], "T4", "no column pod"),
        (["pod,minute,duty,mem_mib", "a,1,1,1"], "", "doesn't say which GPU"),
        (["pod,minute,duty,mem_mib", "a,b,1,1"], "T4", "no usable row"),
        (["pod,minute,duty,mem_mib", "a,1,1,1"], "T5", "no GPU of EC2"),
    ],
)
def test_a_trace_that_says_too_little_is_refused(trace, lines, today, said):
    with pytest.raises(InputError, match=said):
        read_trace(trace(*lines), today=today)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,0,5,40000,T4", "a held 40000Mi, which no T4 has"),
        ("a,0,5,40000,Frob", "no GPU of EC2 is named 'Frob'"),
    ],
)
def test_a_gpu_that_it_can_not_have_been_is_refused(trace, row, said):
    path = trace("pod,minute,duty,mem_mib,gpu", "b,0,5,15200,T4", row)
    with pytest.raises(InputError) as refused:
        read_trace(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)


def test_pods_by_any_name_make_a_file_that_can_be_read(gpuslice, trace, tmp_path):
    rows = [f"{pod},0,5,100" for pod in ("A_x", "a-x", "a.x", "NS_1/b", "ns/b/c", "//", "_")]
    out = tmp_path / "workloads.yaml"
    ended = gpuslice(
        "measure", "trace", trace("pod,minute,duty,mem_mib", *rows), "--today", "T4", "--out", out
    )
    assert ended.code == 0, ended.err
    found = [each.name for each in parse_workloads(read_documents(out)).workloads]
    assert sorted(found) == [
        "ns-1/b",
        "ns/b-c",
        "trace/a-x",
        "trace/a-x-2",
        "trace/a-x-3",
        "trace/pod",
        "trace/pod-2",
    ]
