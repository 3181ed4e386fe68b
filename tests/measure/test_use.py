"""What Prometheus says of each node's GPU right now."""

import pytest

from gpuslice.measure.dcgm_metrics import BUSY, MEMORY
from gpuslice.measure.prometheus import Access, Series, Server
from gpuslice.measure.use import Lately, lately
from tests.measure.prometheus_server import line, served

NOW = 1_793_500_000


@pytest.mark.services
def test_the_last_quarter_of_an_hour_of_each_node_is_read(tmp_path):
    def lines(name, node, values):
        labels = {"Hostname": node, "UUID": f"GPU-{node}", "pod": "x", "instance": "10.0.0.1:9400"}
        return [
            line(name, labels, value, NOW - 60 * (len(values) - number))
            for number, value in enumerate(values)
        ]

    # Long ago there was more.
    memory = [90_000] * 10 + [5_000] * 14 + [6_000] * 6
    busy = [1.0] * 15 + [0.2] * 15
    made = [*lines(MEMORY, "n1", memory), *lines(MEMORY, "n2", [7_000]), *lines(BUSY, "n1", busy)]
    with served(tmp_path, made) as url:
        server = Server(Access(url))
        try:
            found = lately(server, NOW)
        finally:
            server.close()
    assert set(found) == {"n1", "n2"}
    assert found["n1"].memory_mib == 6_000
    assert 0.2 <= (found["n1"].busy or 0) < 0.3
    assert found["n2"] == Lately(7_000, None)


class Said(Server):
    """A server that answers the same to everything."""

    def __init__(self, *series):
        self.answers = [Series(labels, [(NOW, value)]) for labels, value in series]

    def range(self, query, start, end, step):
        return self.answers


def test_nodes_are_called_as_the_exporter_calls_them_and_of_several_gpus_the_most_counts():
    found = lately(
        Said(
            ({"Hostname": "n1", "node": "scraper", "UUID": "a"}, "3"),
            ({"Hostname": "n1", "UUID": "b"}, "4"),
            ({"exported_node": "n2", "node": "scraper"}, "1"),
            ({"node": "n3"}, "0"),
            ({"node": "n4"}, "NaN"),
            ({"node": "n5"}, "+Inf"),
            ({}, "9"),
        ),
        NOW,
    )
    assert {name: each.memory_mib for name, each in found.items()} == {"n1": 4, "n2": 1, "n3": 0}
