"""Nodes that share their GPUs, and servers that hold several clusters, told by a real Prometheus."""

import pytest

from gpuslice.errors import InputError
from gpuslice.measure.prometheus import selected
from tests.measure.fleet import Pod
from tests.measure.shared_gpus import HELD, STEADY, asked, lines, measured, pods

pytestmark = pytest.mark.services


def test_a_node_that_offers_more_gpus_than_it_has_shares_them(tmp_path):
    with asked(tmp_path, lines([*pods()], {"n1": 4, "n2": 1, "n3": 7})) as server:
        found = measured(server)
    assert (found["shop/seen"].memory_mib, found["shop/seen"].duty_ppm) == (None, None)
    assert "its GPUs were shared, and their counters are sums" in "; ".join(
        found["shop/seen"].measurement.notes
    )
    assert (found["shop/own"].memory_mib, found["shop/own"].duty_ppm) == (2000, 250_000)
    assert found["shop/cut"].memory_mib == 2000  # MIG instances may be offered as GPUs


def test_memory_alone_of_two_pods_on_one_gpu_is_nobodys_own(tmp_path):
    both = [Pod("shop", name, STEADY, HELD, gpu="GPU-1") for name in ("seen", "own")]
    with asked(tmp_path, lines(both, {}, memory_only=True)) as server:
        found = measured(server)
    assert found["shop/seen"].memory_mib is None
    assert found["shop/own"].memory_mib is None


def test_whoever_shares_a_gpu_counts_though_nobody_asked_about_him(tmp_path):
    stranger = Pod("elsewhere", "stranger", STEADY, HELD, gpu="GPU-1")
    with asked(tmp_path, lines([Pod("shop", "seen", STEADY, HELD, gpu="GPU-1"), stranger], {})) as server:
        found = measured(server)
    assert list(found) == ["shop/seen"]
    assert found["shop/seen"].memory_mib is None


def test_pods_of_several_clusters_are_not_put_together(tmp_path):
    made = [
        *pods(cluster="prod"),
        *(Pod("shop", "own", STEADY * 2, HELD * 2, gpu="GPU-t", labels=(("cluster", "test"),)),),
    ]
    with asked(tmp_path, lines(made, {})) as server:
        with pytest.raises(InputError, match=r"in several clusters: prod, test") as refused:
            measured(server)
        assert refused.value.fix == "name one: --match 'cluster=\"prod\"'"
        one, other = (measured(server, f'cluster="{each}"') for each in ("prod", "test"))
    assert one["shop/own"].memory_mib == 2000
    assert other["shop/own"].memory_mib == 4000
    assert "shop/seen" not in other


def test_matchers_are_added_to_any_selector():
    assert selected("up", "") == "up"
    assert selected("up", 'a="b"') == 'up{a="b"}'
    assert selected('up{c="d"}', 'a="b"') == 'up{a="b",c="d"}'
