"""Public traces as workloads."""

import gzip
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.workloads.artefact import WorkloadSet, parse_workloads
from gpuslice.workloads.dump import dump
from gpuslice.workloads.traces import from_trace

OPENB = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
GENTD26 = "pod,minute,duty,mem_mib"


NUMBERS = count()


def openb(
    cpu: int = 1000,
    memory: int = 2048,
    gpus: int = 1,
    milli: int = 500,
    spec: str = "",
    qos: str = "LS",
    name: str = "",
) -> str:
    return f"{name or f'p{next(NUMBERS)}'},{cpu},{memory},{gpus},{milli},{spec},{qos},Running,0,1,0"


@pytest.fixture
def read(tmp_path):
    def from_lines(*lines: str, **options: Any) -> WorkloadSet:
        path = tmp_path / "trace.csv"
        path.write_text("\n".join(lines) + "\n")
        return from_trace(str(path), **options)

    return from_lines


def test_pods_of_openb_that_ask_for_the_same_are_one_class(read):
    found = read(OPENB, openb(), openb(milli=300), openb(), openb(qos="BE"))
    assert [(each.name, each.replicas) for each in found.workloads] == [
        ("openb/class-0001-500m", 2),
        ("openb/class-0002-300m", 1),
        ("openb/class-0003-500m", 1),
    ]


def test_a_pod_of_openb_that_is_named_twice_counts_once_by_its_first_usable_row(read):
    found = read(OPENB, openb(milli=0, name="a"), openb(milli=300, name="a"), openb(milli=700, name="a"))
    assert [(each.name, each.replicas) for each in found.workloads] == [("openb/class-0001-300m", 1)]
    assert "skipped: pods of a name that another had before: 1 (line 4)" in found.notes


@pytest.mark.parametrize("cell", ["²", "٣" * 2, "9" * 5000, "1_0", " 1", "+1"])
def test_cells_that_only_look_like_numbers_are_bad_rows(read, cell):
    found = read(OPENB, openb(), openb().replace("1000", cell, 1))
    assert sum(each.replicas for each in found.workloads) == 1
    assert any(note.startswith("skipped: rows that are no pod: 1 ") for note in found.notes)


def test_a_share_of_a_gpu_is_a_share_of_a_t4s_memory_and_time(read):
    (found,) = read(OPENB, openb(milli=333)).workloads
    assert (found.cpu_milli, found.memory_mib) == (1000, 2048)
    assert (found.need.memory_mib, found.need.duty_ppm, found.need.on) == (4662, 233_100, "T4")
    assert found.need.known
    assert (found.tenant, found.need.max_slowdown_milli, found.splittable) == ("openb", None, True)


def test_whole_gpus_of_openb_may_be_of_any_model(read):
    found = read(OPENB, openb(milli=1000), openb(gpus=8, milli=1000))
    assert [(each.need.gpus, each.need.allow, each.need.memory_mib) for each in found.workloads] == [
        (1, frozenset({"any"}), None),
        (8, frozenset({"any"}), None),
    ]


def test_models_that_ec2_has_bind_and_others_are_told(read):
    found = read(
        OPENB, openb(spec="T4"), openb(spec="V100M16|V100M32"), openb(spec="P100"), openb(spec="G2|T4")
    )
    assert [each.need.allow for each in found.workloads] == [
        frozenset({"T4"}),
        frozenset(),
        frozenset({"T4"}),
        frozenset({"V100-32GB"}),
    ]
    assert "G2, P100: not on EC2" in found.notes[2]


def test_pods_without_a_gpu_and_bad_rows_are_counted_and_the_lines_named(read):
    bad = [
        openb(cpu=-1),
        openb(gpus=2, milli=500),
        openb(milli=0),
        openb(spec="H9000"),
        "p,1,2",
        openb().replace("1000", "x"),
    ]
    found = read(OPENB, openb(gpus=0, milli=0), openb(), *bad)
    assert [each.replicas for each in found.workloads] == [1]
    assert "1 pods without a GPU: left out" in found.notes
    assert "skipped: rows that are no pod: 6 (lines 4, 5, 6, 7, 8, …)" in found.notes


def test_a_pod_of_gentd26_has_its_mean_duty_and_peak_memory_rounded_up(read):
    found = read(GENTD26, "b,0,10,100.5", "b,1,20,3000.2", "a,0,0,50", today="l40s")
    assert [
        (each.name, each.need.duty_ppm, each.need.memory_mib, each.need.on) for each in found.workloads
    ] == [
        ("gentd26/1gi-1pct", 10_000, 1024, "L40S"),
        ("gentd26/3gi-15pct", 150_000, 3072, "L40S"),
    ]


def test_pods_of_gentd26_with_alike_needs_are_replicas_of_one_workload(read):
    found = read(GENTD26, "a,0,5.2,1000", "b,0,6,1024", "c,0,6.1,1024", "d,0,6,1025", today="L40S")
    assert [(each.name, each.replicas) for each in found.workloads] == [
        ("gentd26/1gi-6pct", 2),
        ("gentd26/1gi-7pct", 1),
        ("gentd26/2gi-6pct", 1),
    ]
    assert all(each.splittable for each in found.workloads)
    assert any("4 pods are 3 workloads" in note for note in found.notes)


def test_rounding_never_asks_for_more_memory_than_the_pods_gpu_has(read):
    def memory(mib: int) -> int | None:
        found: WorkloadSet = read(GENTD26, f"a,0,5,{mib}", today="L40S")
        return found.workloads[0].need.memory_mib

    usable = GPUS["L40S"].memory_mib
    assert usable % 1024
    assert memory(usable) == usable
    assert (memory(usable + 1) or 0) > usable  # not hidden: the pod ran on a larger card


def test_blank_readings_are_left_out_of_mean_and_peak_and_counted(read):
    found = read(GENTD26, "a,0,10,", "a,1,,500", "b,0,,700", "c,0,5,", "d,0,10,500", today="L40S")
    assert [(each.name, each.need.duty_ppm, each.need.memory_mib) for each in found.workloads] == [
        ("gentd26/1gi-10pct", 100_000, 1024),
        ("gentd26/b", None, 1024),
        ("gentd26/c", 50_000, None),
    ]
    assert "2 blank duty and 2 blank memory readings: left out of mean and peak" in found.notes


def test_pods_without_a_reading_stay_apart_and_unknown(read):
    found = read(GENTD26, "a,0,,700", "b,0,,700", "c,0,,", today="L40S")
    assert [(each.name, each.replicas, each.need.known) for each in found.workloads] == [
        ("gentd26/a", 1, False),
        ("gentd26/b", 1, False),
        ("gentd26/c", 1, False),
    ]
    assert found.workloads[2].notes == (
        "no duty was ever read: not known",
        "no memory in use was ever read: not known",
    )


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50_000)), min_size=1, max_size=30))
def test_no_pod_of_gentd26_is_lost_or_gets_less_than_it_was_seen_to_need(tmp_path_factory, readings):
    path = tmp_path_factory.mktemp("trace") / "gentd26.csv"
    path.write_text(
        "\n".join([GENTD26, *(f"p{at},0,{duty},{mib}" for at, (duty, mib) in enumerate(readings))])
    )
    workloads = from_trace(str(path), today="A100-80GB").workloads
    given_ = sorted(
        (each.need.memory_mib or 0, each.need.duty_ppm or 0)
        for each in workloads
        for _ in range(each.replicas)
    )
    assert given_ == sorted((-(-mib // 1024) * 1024, max(1, duty) * 10_000) for duty, mib in readings)


def test_readings_that_cannot_be_are_skipped_and_the_lines_named(read):
    found = read(
        GENTD26, "a,0,5,100", "a,1,-5,1", "a,2,101,1", "a,3,nan,1", "a,4,x,1", "a,5,1,inf", today="L40S"
    )
    assert found.workloads[0].need.duty_ppm == 50_000
    assert found.notes[-1] == "skipped: rows that are no reading: 5 (lines 3, 4, 5, 6, 7)"


def test_gentd26_does_not_say_its_gpu_so_the_flag_must(read):
    with pytest.raises(InputError, match="which GPU") as raised:
        read(GENTD26, "a,0,5,48000")
    assert "--today" in raised.value.fix
    assert "48,000 MiB" in raised.value.fix


def test_a_gpu_smaller_than_what_pods_held_is_told(read):
    assert any("more than one T4 has" in note for note in read(GENTD26, "a,0,5,48000", today="T4").notes)


def test_requests_that_gentd26_lacks_are_an_assumption_that_can_be_set(read):
    found = read(GENTD26, "a,0,5,100", today="L40S")
    assert (found.workloads[0].cpu_milli, found.workloads[0].memory_mib) == (2000, 8192)
    assert any("2 CPU and 8Gi" in note for note in found.notes)
    set_ = read(GENTD26, "a,0,5,100", today="L40S", pod_cpu_milli=500, pod_memory_mib=1024)
    assert (set_.workloads[0].cpu_milli, set_.workloads[0].memory_mib) == (500, 1024)


def test_packed_and_plain_files_are_read_alike(tmp_path, read):
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(f"{OPENB}\n{openb()}\n".encode()))
    assert from_trace(str(packed)) == read(OPENB, openb())


def test_a_trace_of_another_kind_is_refused_with_what_is_known(read):
    with pytest.raises(InputError, match="no known trace") as raised:
        read("time,gpu")
    assert "openb" in raised.value.fix
    assert "GenTD26" in raised.value.fix


def test_a_trace_without_a_usable_row_is_refused(read):
    with pytest.raises(InputError, match="no pod with a GPU"):
        read(OPENB, openb(gpus=0, milli=0))
    with pytest.raises(InputError, match="no usable row"):
        read(GENTD26, today="L40S")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02",
        b"\x1f\x8b broken",
        gzip.compress(b"x" * 1000, mtime=0)[:-9],
        b"\xff\xfe,",
        b'"' + b"x" * 200_000,
    ],
)
def test_files_that_are_no_trace_are_refused_in_two_lines(tmp_path, content):
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        from_trace(str(path), today="L40S")
    assert len(str(raised.value).splitlines()) == 2


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        from_trace(str(tmp_path / "none.csv"))


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 1000), st.sampled_from(["", "T4", "P100", "T4|G2"])),
        min_size=1,
    )
)
def test_no_pod_of_a_trace_is_lost(tmp_path_factory, pods):
    path = tmp_path_factory.mktemp("trace") / "openb.csv"
    rows = [openb(gpus=gpus, milli=milli if gpus == 1 else 1000, spec=spec) for gpus, milli, spec in pods]
    path.write_text("\n".join([OPENB, *rows, openb()]))
    found = from_trace(str(path))
    skipped = sum(gpus == 1 and milli == 0 for gpus, milli, _ in pods)
    assert sum(each.replicas for each in found.workloads) == len(pods) + 1 - skipped


def test_a_trace_can_be_written_and_read_back(read):
    for found in (
        read(OPENB, openb(), openb(gpus=4, milli=1000)),
        read(GENTD26, "a,0,5.5,100", "b,0,,1", today="L4"),
    ):
        assert parse_workloads(parse_documents(dump(found).encode(), "w.yaml")) == found
