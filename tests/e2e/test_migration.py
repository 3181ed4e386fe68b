"""The whole way: fourteen workloads on whole GPUs are scanned, planned, moved onto slices, and brought back.

By somebody who has no right but those of the role apply-workloads.
"""

import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.core_v1 import Namespace, Node, Pod

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose
from gpuslice.cluster.client.roles import Role
from gpuslice.plan.artefact import Plan
from gpuslice.plan.reading import read_plan
from gpuslice.rehearsal import ec2
from gpuslice.rehearsal.kinds import EC2NodeClass, NodePool
from gpuslice.units import MIB, parse_quantity
from tests.e2e.allowed import grant
from tests.e2e.applying import gpuslice, policy, standing_in, wait_for_storage
from tests.e2e.restarts import watched

CATALOG = choose("", "us-east-1")
TODAY = Path(__file__).parent / "whole_gpus.yaml"
OLD = "gpu"
"""Today's NodePool."""
OPERATOR = "gpu-operator"
TENANTS = ("search", "media", "research", "health")
POOL = "karpenter.sh/nodepool"
KINDS = {
    each.__name__: each for each in (EC2NodeClass, NodePool, DaemonSet, Namespace, Deployment, StatefulSet)
}
HOLDS = 12
"""Seconds: longer than the ten that Karpenter lets pass between two looks for nodes that it can do without."""


class Moved(NamedTuple):
    """Workloads on slices, as planned.

    Attributes:
        on_whole, before: where pods and what objects were before.
        seen: all pods that there ever were.
        say: a line for people.
    """

    client: Any
    kubeconfig: Path
    plan: Plan
    file: Path
    on_whole: dict[tuple[str, str], int]
    before: Any
    seen: Any
    say: Any


@pytest.fixture
def cluster(scratch):
    """Fourteen workloads, about to get their whole GPUs."""
    with scratch.control_plane.client() as client:
        wait_for_storage(client)
        client.create(Namespace(metadata=ObjectMeta(name=OPERATOR)))
        client.create(policy(), field_manager="helm")
        for data in sorted(today(), key=lambda each: each["kind"] != "Namespace"):
            made: Any = KINDS[data["kind"]].from_dict(data)
            client.create(made, field_manager="kubectl")
    return scratch


def today():
    return list(yaml.safe_load_all(TODAY.read_text()))


def nodes(client):
    """How many there are, by pool, type and purchase."""
    labels = [each.metadata.labels for each in client.list(Node)]
    return Counter(
        (each[POOL], each["node.kubernetes.io/instance-type"], each["karpenter.sh/capacity-type"])
        for each in labels
    )


def bill(found):
    """Micro-dollars an hour."""
    types = CATALOG.by_name()
    return sum(types[name].prices[Purchase(purchase)] * count for (_, name, purchase), count in found.items())


def places(client):
    """How many pods there are, by workload and pool; of one that doesn't run, the pool is its phase."""
    pool_of = {each.metadata.name: each.metadata.labels[POOL] for each in client.list(Node)}
    found: Counter[tuple[str, str]] = Counter()
    for namespace in TENANTS:
        for each in client.list(Pod, namespace=namespace):
            runs = each.status.phase == "Running" and not each.metadata.deletionTimestamp
            where = pool_of.get(each.spec.nodeName, "?") if runs else each.status.phase
            found[f"{namespace}/{each.metadata.labels['app']}", where] += 1
    return found


def until(look, wanted, seconds=150, holds=0):
    """Wait until something is as wanted, and stays so; when it became so, by the monotonic clock."""
    start = time.monotonic()
    since = None
    while since is None or time.monotonic() - since < holds:
        found, now = look(), time.monotonic()
        if found != wanted:
            since = None
            assert now - start < seconds, f"{found} is not {wanted}"
        elif since is None:
            since = now
        time.sleep(0.3)
    return since


def scanned(client, kubeconfig, out):
    """Scan while Karpenter holds still; the nodes then."""
    for _ in range(10):
        before = nodes(client)
        code, _, err = gpuslice(kubeconfig, "scan", "--out", out)
        assert code == 0, err
        if nodes(client) == before:
            assert f"now: ${bill(before) / 1e6:,.2f} an hour" in err
            return before
    raise AssertionError(f"Karpenter never holds still: {before}")


def planned(directory, source, *options):
    """A plan for what was scanned, and where it was rendered to."""
    file, manifests = directory / "plan.yaml", directory / "manifests"
    code, _, err = gpuslice(None, "plan", "-f", source, "--out", file, *options)
    assert code == 0, err
    # Karpenter is to tidy up while the test looks on: its pools wait for 5 s, not for 5 m.
    settings = ("--cluster", ec2.CLUSTER, "--role", ec2.ROLE, "--consolidate-after", "5s")
    code, _, err = gpuslice(None, "render", "-f", file, "--out", manifests, *settings)
    assert code == 0, err
    return read_plan(str(file)), file, manifests


def wanted_nodes(plan):
    found: Counter[tuple[str, str, str]] = Counter()
    for pool in plan.pools:
        for each in pool.nodes:
            found[pool.name, each.instance_type, each.purchase] += each.count
    return found


def wanted_places(plan):
    return {(each.workload, each.pool): each.replicas for each in plan.assignments}


def grown(source, out, plan):
    """Workloads one of which has a little more need than a plan knows, of those that share nodes with others."""
    shares = next(name for pool in plan.pools if len(pool.seats) > 1 for name in sorted(pool.seats))
    data = yaml.safe_load(source.read_text())
    need = next(each["need"] for each in data["workloads"] if each["name"] == shares)
    need["memory"] = f"{int(parse_quantity(need['memory']) / MIB) + 1}Mi"
    out.write_text(yaml.safe_dump(data))
    return shares


@pytest.fixture
def moved(cluster, tmp_path, capfd):
    """Moves the fourteen workloads onto slices; what has come of it, and a way to say more."""

    @contextmanager
    def move(*options):
        kubeconfig = cluster.control_plane.stranger_kubeconfig
        replicas = {
            f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["spec"]["replicas"]
            for each in today()
            if each["kind"] in {"Deployment", "StatefulSet"} and each["metadata"]["namespace"] in TENANTS
        }
        total = sum(replicas.values())

        def say(text):
            with capfd.disabled():
                sys.stderr.write(f"\n{text}")

        assert len(replicas) == 14
        on_whole = {(name, OLD): count for name, count in replicas.items()}
        with cluster.control_plane.client() as client, watched(cluster.control_plane, TENANTS) as seen:
            grant(cluster.control_plane, client, Role.APPLY_WORKLOADS)
            until(lambda: places(client), on_whole)
            before = standing_in(client, (OPERATOR, *TENANTS))
            old = scanned(client, kubeconfig, tmp_path / "workloads.yaml")
            plan, file, manifests = planned(tmp_path, tmp_path / "workloads.yaml", *options)
            sliced = [each.name for each in plan.pools if each.nodes and each.layout.mechanism != "whole"]
            assert len(sliced) > 3
            spread = plan.summary.spread
            assert spread.lowest == spread.highest == plan.summary.usd_per_hour  # in whatever order pods come

            earlier, start = set(seen.pods), time.monotonic()
            apply = ("apply", "-f", manifests, "--workloads", "--yes")
            code, _, err = gpuslice(kubeconfig, *apply, seconds=300)
            assert code == 0, err
            done = time.monotonic()
            on_slices = wanted_places(plan)
            assert sum(on_slices.values()) == total
            until(lambda: places(client), on_slices)
            tidy = until(lambda: nodes(client), wanted_nodes(plan), holds=HOLDS)
            assert places(client) == on_slices
            now = nodes(client)
            assert bill(now) == round(plan.summary.usd_per_hour * 1e6)
            for verb in ("status", "doctor"):
                code, out, err = gpuslice(kubeconfig, verb, "-f", file)
                assert code == 0, out + err
            restarts = seen.since(earlier).total()
            assert restarts >= total
            say(f"14 workloads, {total} pods: {shown(old)}; on slices {shown(now)}, as planned")
            say(f"{restarts} pods made anew, {restarts - total} more than the rollouts need")
            say(f"moved in {done - start:.0f} s, old nodes gone after {tidy - start:.0f} s")
            yield Moved(client, kubeconfig, plan, file, on_whole, before, seen, say)

    return move


def test_fourteen_workloads_move_from_whole_gpus_to_slices_and_back(moved):
    with moved() as now:
        client, total = now.client, sum(now.on_whole.values())
        earlier, start = set(now.seen.pods), time.monotonic()
        code, _, err = gpuslice(now.kubeconfig, "apply", "--rollback", "--yes", seconds=300)
        assert code == 0, err
        back = time.monotonic()
        until(lambda: {pool for pool, _, _ in nodes(client)}, {OLD})
        until(lambda: standing_in(client, (OPERATOR, *TENANTS)), now.before)
        tidy = until(lambda: places(client), now.on_whole)
        there, restarts = nodes(client), now.seen.since(earlier).total()
        now.say(
            f"taken back: {shown(there)}; {restarts} pods made anew, {restarts - total} more than need be"
        )
        now.say(f"moved back in {back - start:.0f} s, all as before after {tidy - start:.0f} s")


def test_fourteen_workloads_move_onto_seats_and_whoever_needs_more_onto_others(moved, tmp_path):
    with moved("--seats") as now:
        later = tmp_path / "later"
        later.mkdir()
        name = grown(tmp_path / "workloads.yaml", later / "workloads.yaml", now.plan)
        options = ("--seats", "--previous", now.file)
        plan, file, manifests = planned(later, later / "workloads.yaml", *options)
        assert plan.summary.change.kept
        earlier = set(now.seen.pods)
        apply = ("apply", "-f", manifests, "--workloads", "--yes")
        code, out, err = gpuslice(now.kubeconfig, *apply, seconds=300)
        # Whoever shared nodes with it has the same template, and stays until its pool goes.
        assert (code, err.count("kubectl delete nodepool") > 0) == (1, True), out + err
        until(lambda: places(now.client)[name, "Pending"], 0)
        seats = {each.asks.seat for each in plan.assignments if each.workload == name}
        namespace, _, short = name.partition("/")
        pods = [
            each
            for each in now.client.list(Pod, namespace=namespace)
            if each.metadata.labels["app"] == short and not each.metadata.deletionTimestamp
        ]
        assert {
            seat for each in pods for seat in each.spec.containers[0].resources.limits if "seat" in seat
        } == seats
        left = sorted({pool for _, pool in places(now.client)} - {pool.name for pool in plan.pools})
        now.say(
            f"{name} needs more: {now.seen.since(earlier).total()} pods made anew; pools left over: {left}"
        )
        for pool in left:
            now.client.delete(NodePool, pool)
        until(lambda: places(now.client), wanted_places(plan))
        until(lambda: nodes(now.client), wanted_nodes(plan), holds=HOLDS)
        code, out, err = gpuslice(now.kubeconfig, *apply, seconds=300)
        assert code == 0, out + err
        code, out, err = gpuslice(now.kubeconfig, "status", "-f", file)
        assert code == 0, out + err


def shown(found):
    return f"${bill(found) / 1e6:,.2f} an hour on {found.total()} nodes"
