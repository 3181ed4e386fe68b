"""The whole way: fourteen workloads on whole GPUs are scanned, planned, moved onto slices, and brought back.

By somebody who has no right but those of the role apply-workloads.
"""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.core_v1 import Namespace, Node, Pod

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.strict import decode
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose
from gpuslice.cluster.permissions import Role
from gpuslice.planner.plan import Plan
from gpuslice.rehearsal import ec2
from gpuslice.rehearsal.kinds import EC2NodeClass, NodePool
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
            assert f"today: ${bill(before) / 1e6:,.2f} an hour" in err
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
    return decode(read_documents(str(file))[0].data, Plan, where="plan.yaml"), file, manifests


@pytest.mark.parametrize("options", [(), ("--seats",)], ids=["one pool each", "seats"])
def test_fourteen_workloads_move_from_whole_gpus_to_slices_and_back(cluster, tmp_path, capfd, options):
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
        assert not [each.name for each in plan.pools if each.nodes and each.layout.mechanism == "whole"]
        spread = plan.summary.spread
        assert spread.lowest == spread.highest == plan.summary.usd_per_hour  # in whatever order pods come

        earlier, start = set(seen.pods), time.monotonic()
        apply = ("apply", "-f", manifests, "--workloads", "--yes")
        code, _, err = gpuslice(kubeconfig, *apply, seconds=300)
        assert code == 0, err
        moved = time.monotonic()
        on_slices = {(each.workload, each.pool): each.replicas for each in plan.assignments}
        assert sum(on_slices.values()) == total
        until(lambda: places(client), on_slices)
        wanted: Counter[tuple[str, str, str]] = Counter()
        for pool in plan.pools:
            for each in pool.nodes:
                wanted[pool.name, each.instance_type, each.purchase] += each.count
        tidy = until(lambda: nodes(client), wanted, holds=HOLDS)
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
        say(f"moved in {moved - start:.0f} s, old nodes gone after {tidy - start:.0f} s")

        earlier, start = set(seen.pods), time.monotonic()
        code, _, err = gpuslice(kubeconfig, "apply", "--rollback", "--yes", seconds=300)
        assert code == 0, err
        back = time.monotonic()
        until(lambda: {pool for pool, _, _ in nodes(client)}, {OLD})
        until(lambda: standing_in(client, (OPERATOR, *TENANTS)), before)
        tidy = until(lambda: places(client), on_whole)
        now, restarts = nodes(client), seen.since(earlier).total()
        say(f"taken back: {shown(now)}; {restarts} pods made anew, {restarts - total} more than need be")
        say(f"moved back in {back - start:.0f} s, all as before after {tidy - start:.0f} s")


def shown(found):
    return f"${bill(found) / 1e6:,.2f} an hour on {found.total()} nodes"
