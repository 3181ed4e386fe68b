"""Rehearses a plan: its manifests on a scratch cluster with real Karpenter, its pods created, and what comes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuslice.carriers.device_plugin import gpu_operator as operator
from gpuslice.carriers.device_plugin.terms import configured
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.carriers.table import carrier_asked
from gpuslice.cloud.allocatable import EFA
from gpuslice.cloud.catalog import Catalog
from gpuslice.errors import EnvironmentFailedError, InputError, nearest
from gpuslice.launches.pools import offers_of
from gpuslice.plan.artefact import Assignment, Plan
from gpuslice.rehearsal import cluster as scratch
from gpuslice.rehearsal.comparison import Comparison, LaunchedNode, Outcome, compare
from gpuslice.rehearsal.node_rules import rules_of
from gpuslice.render import manifests
from gpuslice.render.patches import tolerations
from gpuslice.units import parse_quantity
from gpuslice.workloads.model import Workload

if TYPE_CHECKING:
    from lightkube import Client

    from gpuslice.rehearsal.cluster import ScratchCluster

NAMESPACE: Final = "rehearsal"
_WORKLOAD: Final = "gpuslice.io/workload"
_POOL: Final = "karpenter.sh/nodepool"
_OPERATOR_NAMESPACE: Final = "gpu-operator"
_POLICY: Final = "cluster-policy"
_IMAGE: Final = "rehearsal"  # never pulled
_ACCEPTED_S: Final = 60
_ACCEPTED_EACH_S: Final = 2
_LOOK_EVERY_S: Final = 0.5
_AT_ONCE: Final = 8
# What the definition of ClusterPolicy requires beside the fields that a plan sets.
_OPERANDS: Final = (
    "daemonsets",
    "dcgm",
    "dcgmExporter",
    "devicePlugin",
    "driver",
    "gfd",
    "nodeStatusExporter",
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for pods.

    Attributes:
        quiet_s: without any change, nothing more is expected: longer than Karpenter's own pauses between tries.
        total_s: the longest rehearsal.
    """

    quiet_s: float = 30
    total_s: float = 900


def rehearse(
    cluster: ScratchCluster,
    plan: Plan,
    catalog: Catalog,
    workloads: Iterable[Workload],
    *,
    patience: Patience = Patience(),
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Carry a plan out on a scratch cluster with nothing on it, and compare.

    Args:
        cluster: to rehearse on.
        plan: to rehearse.
        catalog: that it was made with.
        workloads: that it was made for: their pods' CPU and memory.
        patience: how long to wait.
        say: gets a line at each step.

    Raises:
        InputError: the plan has a workload that isn't among the workloads, or can't be rendered.
        EnvironmentFailedError: the cluster refuses an object of ours.
    """
    pods = list(_pods(plan, {workload.name: workload for workload in workloads}))
    with cluster.control_plane.client() as client:
        judged = _apply(client, plan, catalog)
        refused = len(_unready(client, judged, wait_s=_accepted_s(judged)))
        say(f"{len(plan.pools)} pools, {refused or 'no'} objects refused; creating {len(pods)} pods")
        _create(client, pods)
        _wait(cluster, client, len(pods), patience, say)
        # An overlay that looked well before its pool was known may turn out to contradict another one.
        troubles = _unready(client, judged, wait_s=0)
        outcome = _look(client, [*troubles, *cluster.nodes.troubles])
    return compare(plan, catalog, _promised(plan, catalog), outcome)


def check(plan: Plan, catalog: Catalog, workloads: Iterable[Workload], missing: Iterable[str]) -> None:
    """Accept what is to be rehearsed, before anything is started.

    Args:
        plan: to rehearse.
        catalog: that it was made with.
        workloads: that it was made for.
        missing: instance types that are to be out of capacity.

    Raises:
        InputError: the plan can't be rendered, a workload isn't there, or an instance type is unknown.
    """
    manifests.objects(plan, catalog, scratch.settings())
    for _ in _pods(plan, {workload.name: workload for workload in workloads}):
        pass
    for name in missing:
        if name not in catalog.by_name():
            raise InputError(
                f"no instance type {name[:60]!r}",
                where="--out-of-capacity",
                fix=nearest(name, catalog.by_name()) or "gpuslice catalog lists them",
            )


def _promised(plan: Plan, catalog: Catalog) -> dict[str, dict[str, dict[str, int]]]:
    """By pool, instance type and resource."""
    offers = offers_of(plan.pools, plan.assignments, plan.stack, catalog, ())
    return {
        name: {kind.name: dict(promised) for kind, promised in offer.machines}
        for name, offer in offers.items()
    }


def _apply(client: Client, plan: Plan, catalog: Catalog) -> list[tuple[Any, str]]:
    """Apply all that is rendered; returns kinds and names of what Karpenter judges."""
    from lightkube import ApiError
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Namespace

    from gpuslice.rehearsal import kinds

    for name in (_OPERATOR_NAMESPACE, NAMESPACE):
        client.create(Namespace(metadata=ObjectMeta(name=name)))
    policy = {literal: {} for literal in (*_OPERANDS, "operator", "toolkit")} | _settings_of(plan)
    own = {"metadata": {"name": _POLICY}, "spec": policy}
    client.create(kinds.ClusterPolicy.from_dict(own))
    by_name: dict[str, Any] = {
        "ConfigMap": ConfigMap,
        **{
            kind_name: getattr(kinds, kind_name)
            for kind_name in ("NodePool", "NodeOverlay", "EC2NodeClass", "NodeFeatureRule")
        },
    }
    judged: list[tuple[Any, str]] = []
    for file in manifests.objects(plan, catalog, scratch.settings()):
        for entry in file.objects if file.applied else ():
            kind = by_name[str(entry["kind"])]
            try:
                client.apply(kind.from_dict(dict(entry)), field_manager="gpuslice", force=True)
            except ApiError as error:
                raise EnvironmentFailedError(str(error), where=f"{file.path}") from None
            if entry["kind"] in {"NodePool", "NodeOverlay", "EC2NodeClass"}:
                metadata: Any = entry["metadata"]
                judged.append((kind, metadata["name"]))
        if file.path == manifests.NODE_CLASSES:
            # Karpenter passes a pool over whose node class wasn't ready when it last looked at the overlays, though it
            # calls all of them ready by now: pods that may go to several pools would go to one of lower weight.
            _unready(client, judged, wait_s=_accepted_s(judged))
    client.create(_daemonset(plan))
    return judged


def _settings_of(plan: Plan) -> dict[str, Any]:
    patch: Any = operator.cluster_policy_patch(configured(pool) for pool in plan.pools)["spec"]
    return {name: value for name, value in patch.items() if name != "mig"} | {
        "mig": {name: value for name, value in patch["mig"].items() if value}
    }


def _unready(client: Client, judged: Iterable[tuple[Any, str]], *, wait_s: float) -> list[str]:
    """What the conditions of objects complain of that don't become ready in so many seconds altogether."""
    end = time.monotonic() + wait_s
    return [said for kind, name in judged if (said := _complaint(client, kind, name, end))]


def _accepted_s(judged: Sequence[tuple[Any, str]]) -> float:
    """How long Karpenter may take to look at so many objects, seconds: each node class is tried at EC2."""
    return _ACCEPTED_S + len(judged) * _ACCEPTED_EACH_S


def _complaint(client: Client, kind: Any, name: str, end: float) -> str:  # noqa: ANN401  a generic resource
    while True:
        conditions = (client.get(kind, name).get("status") or {}).get("conditions", ())
        if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
            return ""
        if time.monotonic() > end:
            # Ready itself only says that another condition doesn't hold, which says why.
            said = [
                " ".join(filter(None, (condition["type"], condition.get("reason"), condition.get("message"))))
                for condition in sorted(conditions, key=lambda condition: condition["type"] == "Ready")
                if condition["status"] != "True"
            ]
            return f"{kind.__name__} {name} is not ready: {'; '.join(said) or 'nothing said of it'}"
        time.sleep(_LOOK_EVERY_S)


def _daemonset(plan: Plan) -> Any:  # noqa: ANN401  lightkube's
    """What the plan reckons that daemonsets take of each node, as one that does."""
    from lightkube.resources.apps_v1 import DaemonSet

    label = {"app": "overhead"}
    asked = {"cpu": plan.overhead.cpu, "memory": plan.overhead.memory}
    container = {"name": "main", "image": _IMAGE, "resources": {"requests": asked}}
    pod = {"containers": [container], "tolerations": [{"operator": "Exists"}]}
    return DaemonSet.from_dict(
        {
            "metadata": {"name": "overhead", "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": label},
                "template": {"metadata": {"labels": label}, "spec": pod},
            },
        }
    )


def _pods(plan: Plan, workloads: Mapping[str, Workload]) -> Iterator[dict[str, Any]]:
    """The pods of a plan as their patched templates would have them."""
    for index, assignment in enumerate(plan.assignments):
        if assignment.workload not in workloads:
            raise InputError(
                f"the plan's {assignment.workload} is not there",
                where="--workloads",
                fix=nearest(assignment.workload, workloads) or "give what the plan was made of",
            )
        for replica in range(assignment.replicas):
            yield _pod(f"w{index}-{replica}", assignment, workloads[assignment.workload])


def _pod(name: str, assignment: Assignment, workload: Workload) -> dict[str, Any]:
    limits = rules_of(workload.takes)
    resources = {
        "requests": {
            "cpu": f"{workload.cpu_milli}m",
            "memory": f"{workload.memory_mib}Mi",
            **limits.requests,
        },
        "limits": {**carrier_asked(assignment.asks).requests(assignment.asks), **limits.requests},
    }
    pool = {} if assignment.asks.seat else {POOL_LABEL: assignment.pool}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": limits.labels,
            "annotations": {_WORKLOAD: assignment.workload},
        },
        "spec": {
            "nodeSelector": {**pool, "kubernetes.io/arch": workload.arch},
            "tolerations": tolerations(assignment),
            "containers": [{"name": "main", "image": _IMAGE, "resources": resources, "ports": limits.ports}],
            **limits.spec,
        },
    }


def _create(client: Client, pods: Sequence[Object]) -> None:
    from lightkube.resources.core_v1 import Pod, ServiceAccount

    def create(pod: Object) -> None:
        typed: Any = Pod.from_dict(dict(pod))
        client.create(typed)

    end = time.monotonic() + _ACCEPTED_S
    while not any(True for _ in client.list(ServiceAccount, namespace=NAMESPACE)):
        if time.monotonic() > end:
            raise EnvironmentFailedError("no service account", where=f"namespace {NAMESPACE}")
        time.sleep(_LOOK_EVERY_S)
    with ThreadPoolExecutor(_AT_ONCE) as several:
        list(several.map(create, pods))


def _wait(
    cluster: ScratchCluster, client: Client, pods: int, patience: Patience, say: Callable[[str], None]
) -> None:
    """Until all pods run, or nothing has changed for long."""
    from gpuslice.rehearsal import kinds

    start = changed = time.monotonic()
    last: tuple[int, int, int] | None = None
    while True:
        cluster.control_plane.processes.check()
        running = sum(pod.status.phase == "Running" for pod in _rehearsed(client))
        claims = [resource.get("status") or {} for resource in client.list(kinds.NodeClaim)]
        initialized = sum(_holds(claim, "Initialized") for claim in claims)
        now = time.monotonic()
        if (seen := (len(claims), initialized, running)) != last:
            say(
                f"{now - start:5.0f} s: {initialized} of {len(claims)} nodes ready, {running} of {pods} pods running"
            )
            last, changed = seen, now
        done = running == pods and initialized == len(claims)
        if done or now - changed > patience.quiet_s or now - start > patience.total_s:
            return
        time.sleep(_LOOK_EVERY_S)


def _rehearsed(client: Client) -> list[Any]:
    from lightkube.resources.core_v1 import Pod

    pods: list[Any] = list(client.list(Pod, namespace=NAMESPACE))
    return [pod for pod in pods if _WORKLOAD in (pod.metadata.annotations or {})]


def _holds(status: Mapping[str, Any], condition: str) -> bool:
    return any(
        entry["type"] == condition and entry["status"] == "True" for entry in status.get("conditions", ())
    )


def _look(client: Client, troubles: list[str]) -> Outcome:
    """What there is at the end."""
    from lightkube.resources.core_v1 import Event, Node

    from gpuslice.rehearsal import kinds

    pods = _rehearsed(client)
    workload_of = {pod.metadata.name: pod.metadata.annotations[_WORKLOAD] for pod in pods}
    waiting = {pod.metadata.name for pod in pods if pod.status.phase != "Running"}
    why: dict[str, str] = {}
    for event in sorted(client.list(Event, namespace=NAMESPACE), key=_karpenter_last):
        if event.involvedObject.name in waiting and event.type == "Warning":
            why[workload_of[event.involvedObject.name]] = " ".join((event.message or "").split())
    listed: Iterable[Any] = client.list(Node)
    nodes = {item.metadata.name: item for item in listed}
    # Where a pod runs its node says: one with a seat names no pool.
    bound = Counter(
        (workload_of[pod.metadata.name], nodes[pod.spec.nodeName].metadata.labels[_POOL])
        for pod in pods
        if pod.status.phase == "Running" and pod.spec.nodeName in nodes
    )
    claims: Iterable[Any] = client.list(kinds.NodeClaim)
    launched = []
    for claim in claims:
        status, labels = claim.get("status") or {}, claim.metadata.labels or {}
        node = nodes.get(status.get("nodeName", ""))
        allocatable = (node.status.allocatable or {}) if node else {}
        extended = {
            name: int(parse_quantity(amount, field=name))
            for name, amount in allocatable.items()
            if "/" in name and name != EFA  # the machine has that by itself, whatever the plan
        }
        name = labels.get("node.kubernetes.io/instance-type", "")
        if not name:  # not launched: there is no instance, and the pods' lines say so
            continue
        launched.append(LaunchedNode(labels[_POOL], name, labels["karpenter.sh/capacity-type"], extended))
        for condition in status.get("conditions", ()):
            if condition["type"] == "Initialized" and condition["status"] != "True":
                pool = labels[_POOL]
                troubles.append(
                    f"a {name} of {pool} is not initialized: {condition['message'] or condition['reason']}"
                )
    return Outcome(launched, bound, why, sorted(set(troubles)))


def _karpenter_last(event: Any) -> tuple[bool, str]:  # noqa: ANN401  lightkube's
    """Karpenter says more than the scheduler: its words come last, and stay."""
    component = event.reportingComponent or (event.source.component if event.source else "") or ""
    return component == "karpenter", str(event.lastTimestamp or event.eventTime or "")
