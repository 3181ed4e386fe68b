"""Who pays what of the bill of now: whoever has the GPUs, by the part that it has; nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud import snapshot
from gpuslice.hardware.need import Need
from gpuslice.plan.paid_now import paid_now
from gpuslice.workloads.model import Workload
from gpuslice.workloads.today import NodesToday, ShareToday, Today, bill

CATALOG = snapshot.bundled()


def today(*nodes, shares=()):
    return Today(usd_per_hour=bill(nodes), nodes=nodes, shares=tuple(shares))


def nodes(pods, *, kind="g5.xlarge", count=1, usd=1.0, others=0):
    return NodesToday(instance_type=kind, count=count, usd_per_hour=usd, pods=pods, others=others)


def workload(name, gpus=1):
    return Workload(name, 1, 500, 1024, Need(gpus=gpus))


def slots(name, of=4, pods=4):
    return ShareToday(workload=name, gpu="A10G", mechanism="time-slicing", of=of, pods=pods)


A, B = workload("x/a"), workload("x/b")


def test_who_has_all_slots_of_a_gpu_pays_all_of_its_node():
    paid = paid_now(today(nodes({"x/a": 4}, count=2), shares=[slots("x/a")]), [A], {"x/a"}, CATALOG)
    assert (paid.workloads, paid.left, paid.idle) == ({"x/a": 2.0}, 0, 0)


def test_slots_and_gpus_that_nobody_has_are_idle():
    paid = paid_now(
        today(nodes({"x/a": 1}), nodes({"x/b": 3}, kind="g5.12xlarge", usd=4.0), shares=[slots("x/a")]),
        [A, B],
        {"x/a", "x/b"},
        CATALOG,
    )
    assert paid.workloads == {"x/a": 0.25, "x/b": 3.0}
    assert paid.idle == 1.75


def test_a_pod_of_several_gpus_pays_for_them_all():
    four = workload("x/a", gpus=4)
    paid = paid_now(today(nodes({"x/a": 1}, kind="g5.12xlarge", usd=4.0)), [four], {"x/a"}, CATALOG)
    assert (paid.workloads, paid.idle) == ({"x/a": 4.0}, 0)


def test_a_mig_instance_is_its_part_of_the_memory():
    share = ShareToday(workload="x/a", gpu="A100-40GB", mechanism="mig", profile="3g.20gb", pods=1)
    paid = paid_now(
        today(nodes({"x/a": 1}, kind="p4d.24xlarge", usd=16.0), shares=[share]), [A], {"x/a"}, CATALOG
    )
    assert paid.workloads == {"x/a": 1.0}


def test_who_is_left_pays_apart_and_so_do_others():
    held = today(
        nodes({"x/a": 1, "x/b": 1}), nodes({"x/a": 2}, others=2), shares=[slots("x/a"), slots("x/b")]
    )
    paid = paid_now(held, [A, B], {"x/a"}, CATALOG)
    assert paid.workloads == {"x/a": 0.75}
    assert (paid.left, paid.idle) == (0.75, 0.5)


@given(
    st.lists(
        st.builds(
            nodes,
            st.dictionaries(st.sampled_from(["x/a", "x/b", "x/c"]), st.integers(1, 9)),
            kind=st.sampled_from(["g5.xlarge", "g5.12xlarge", "own-server"]),
            count=st.integers(1, 5),
            usd=st.sampled_from([None, 0.5, 7.25]),
            others=st.integers(0, 2),
        ),
        max_size=5,
    ),
    st.sets(st.sampled_from(["x/a", "x/b", "x/c"])),
)
def test_the_parts_add_up_to_the_bill(held, placed):
    seen = today(*held, shares=[slots("x/a"), slots("x/b", of=2)])
    paid = paid_now(seen, [A, B], placed, CATALOG)
    assert sum(paid.workloads.values()) + paid.left + paid.idle == pytest.approx(seen.usd_per_hour)
    assert min([*paid.workloads.values(), paid.left, paid.idle]) >= 0
