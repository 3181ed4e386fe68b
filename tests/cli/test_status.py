"""`gpuslice status`, from a dump and from a served cluster."""

import json
from contextlib import contextmanager

import pytest

from gpuslice.artefacts.documents import dump_yaml, read_documents
from gpuslice.cli import status as verb
from gpuslice.cluster.seen import dump
from gpuslice.cluster.seen import read as reading
from gpuslice.cluster.seen.read import read
from gpuslice.errors import EnvironmentFailedError
from tests.cluster.made import pod
from tests.cluster.planned import plan, pool
from tests.cluster.served import Served
from tests.cluster.sliced import ONE, cluster, healthy, node_pool, sliced_node


@pytest.fixture
def dumped(tmp_path):
    def made(changes=None):
        path = tmp_path / "dump"
        dump.write(cluster(changes), str(path))
        return path

    return made


@pytest.fixture
def planned(tmp_path):
    def made(*pools):
        path = tmp_path / "plan.yaml"
        path.write_text(dump_yaml(plan(*pools)))
        return path

    return made


@pytest.fixture
def live(monkeypatch):
    """A served cluster, and how often somebody watches it before he has seen enough."""
    served = Served(*healthy().values())
    pauses: list[float] = []

    @contextmanager
    def connected(*_):
        yield served.api()

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(verb, "connected", connected)
    monkeypatch.setattr("time.sleep", pause)
    return pauses


def test_pools_slices_and_pending_pods_are_three_tables(gpuslice, dumped):
    waiting = {each: pod(each, asks=ONE, phase="Pending") for each in ("w1", "w2")}
    ended = gpuslice("status", "--from", dumped(waiting))
    assert ended.code == 0
    table = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert table == [
        "POOL NODES READY $/HOUR MACHINES",
        "l4-ts4 1 0 0.80 1 g6.xlarge on-demand",
        "",
        "POOL RESOURCE PROMISED REGISTERED USED",
        "l4-ts4 nvidia.com/gpu.shared 4 4 1",
        "",
        "PENDING PODS ASKS FOR WHY",
        "shop/w1, … 2 1 nvidia.com/gpu.shared no scheduler has said anything of it yet",
    ]
    assert "1 GPU nodes in 1 pools, $0.80 an hour; 2 GPU pods pending" in ended.err


def test_a_cluster_without_gpus_is_no_error(gpuslice, dumped):
    ended = gpuslice("status", "--from", dumped(dict.fromkeys(healthy())))
    assert (ended.code, ended.out) == (0, "")
    assert "0 GPU nodes in 0 pools" in ended.err


def test_a_cluster_as_planned_ends_with_zero(gpuslice, dumped, planned):
    ended = gpuslice("status", "--from", dumped(), "-f", planned(pool()))
    assert ended.code == 0
    assert "$0.80 of it in the plan's pools, where $0.80 is planned" in ended.err


def test_another_than_the_plan_ends_with_one_and_says_where(gpuslice, dumped, planned):
    ended = gpuslice("status", "--from", dumped(), "-f", planned(pool(count=2), pool("gone")))
    assert ended.code == 1
    assert "there is no such NodePool; 0 of 1 nodes" in ended.out
    assert "1 of 2 nodes" in ended.out
    assert "2 pools differ from the plan" in ended.err


def test_an_unknown_price_is_printed_as_such(gpuslice, dumped):
    odd = {"node.kubernetes.io/instance-type": "x9.huge"}
    assert (
        "   unknown   1 x9.huge"
        in gpuslice("status", "--from", dumped({"node": sliced_node(labels=odd)})).out
    )
    ended = gpuslice("status", "--from", dumped({"b": sliced_node("n2", labels=odd)}))
    assert "0.80 and 1 unknown" in ended.out
    assert "and 1 nodes of unknown price" in ended.err


def test_programs_get_every_field(gpuslice, dumped, planned):
    path = dumped({"w": pod("w", asks=ONE, phase="Pending")})
    ended = gpuslice("status", "--from", path, "-f", planned(pool()), "-o", "json")
    found = json.loads(ended.out)
    (one,) = found["pools"]
    assert one["slices"] == [{"resource": "nvidia.com/gpu.shared", "promised": 4, "registered": 4, "used": 1}]
    assert one["plan"] == {"nodes": 1, "usdPerHour": 0.8048, "differs": []}
    assert found["pending"][0]["asks"] == {"nvidia.com/gpu.shared": 1}
    assert gpuslice("status", "--from", path, "-o", "name").out == "l4-ts4\n"


def test_hostile_names_break_no_table(gpuslice, dumped):
    hostile = {"node.kubernetes.io/instance-type": "a\x1b[2J\nb", "karpenter.sh/nodepool": "p\x9b\nq"}
    changes = {"b": sliced_node("n2", labels=hostile), "w": pod("w\x1b[H\n", asks=ONE, phase="Pending")}
    path = dumped(changes)
    for form in ("table", "name"):
        out = gpuslice("status", "--from", path, "-o", form).out
        assert all(line.isprintable() for line in out.splitlines())
        assert not set("\x1b\x9b") & set(out)
        assert "p\\x9b\\nq" in out


def test_watching_prints_a_block_each_time_until_it_is_interrupted(gpuslice, live):
    ended = gpuslice("status", "--watch", "--interval", "7")
    assert ended.code == 0
    assert ended.out.count("POOL     NODES") == 2
    assert "\x1b" not in ended.out
    assert live == [7, 7]


def test_a_watch_outlives_an_api_server_that_is_away_for_a_while(gpuslice, live, monkeypatch):
    away = iter([None, EnvironmentFailedError("no answer from the API server: refused"), None])

    def read_between(api):
        error = next(away)
        if error is not None:
            raise error
        return read(api)

    monkeypatch.setattr(reading, "read", read_between)
    ended = gpuslice("status", "--watch")
    assert ended.code == 0
    assert "no answer from the API server: refused; looking again in 10 s" in ended.err


def test_watching_on_a_terminal_draws_anew(gpuslice, live, monkeypatch):
    monkeypatch.setattr(verb, "_redraws", lambda _: True)
    assert gpuslice("status", "--watch").out.count("\x1b[H\x1b[2J") == len(live) == 2


def test_watching_as_yaml_is_a_stream_of_documents(gpuslice, live, tmp_path):
    path = tmp_path / "stream.yaml"
    path.write_text(gpuslice("status", "--watch", "-o", "yaml").out)
    assert len(read_documents(path)) == len(live)


def test_one_look_needs_no_pause(gpuslice, live):
    assert gpuslice("status").code == 0
    assert live == []


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--context", "x"], "a dump and a cluster were named"), (["--watch"], "a dump doesn't change")],
)
def test_what_contradicts_a_dump_is_refused(gpuslice, dumped, options, says):
    ended = gpuslice("status", "--from", dumped(), *options)
    assert ended.code == 2
    assert says in ended.err


def test_many_pools_without_nodes_are_counted_rather_than_listed(gpuslice, dumped):
    few = {f"own {each}": node_pool(f"own-{each}") for each in range(5)}
    many = few | {"own 5": node_pool("own-5")}
    listed = gpuslice("status", "--from", dumped(few))
    assert "own-4" in listed.out
    assert "have no nodes" not in listed.err
    counted = gpuslice("status", "--from", dumped(many))
    assert "own-" not in counted.out
    assert "6 pools have no nodes and need none" in counted.err
    assert len(json.loads(gpuslice("status", "--from", dumped(many), "-o", "json").out)["pools"]) == 7
