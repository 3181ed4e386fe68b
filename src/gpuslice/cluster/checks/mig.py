"""MIG layouts: whether nodes name layouts that exist and that their GPUs can have, and got what these say.

Behaviour: GPU Operator v26.7.0, mig-parted v0.15.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import parse_documents
from gpuslice.cluster.checks.finding import PATIENCE, Check, Finding, Seen, Severity
from gpuslice.cluster.client.resources import CLUSTER_POLICY, CONFIG_MAP, NODE, NODE_POOL, POD
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, model_of
from gpuslice.cluster.seen.machines import types_of
from gpuslice.cluster.seen.operator_names import ALL_DISABLED, MIG_LABEL
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import ConfigMap, Node

MIG_STATE: Final = "nvidia.com/mig.config.state"
_PAUSED: Final = "paused-for-mig-change"
_MIG_FILE: Final = "config.yaml"


def _mig_failed(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        state = node.labels.get(MIG_STATE, "")
        if state == "failed":
            yield Finding(
                f"Node {node.name}",
                f"{MIG_STATE}=failed for {MIG_LABEL}={node.labels.get(MIG_LABEL, '')}",
                "its GPUs are not cut as its pool promises; pods that hold the GPU, or a profile that the card "
                "doesn't have, are the usual reasons",
                f"kubectl logs of nvidia-mig-manager on {node.name}; then give the node up: kubectl delete node "
                f"{node.name}",
            )
    for node in seen.cluster.nodes:
        paused = sorted(key for key, value in node.labels.items() if value == _PAUSED)
        if paused and node.labels.get(MIG_STATE) in {"success", "failed", None}:
            yield Finding(
                f"Node {node.name}",
                f"{paused[0]}={_PAUSED}, while {MIG_STATE}={node.labels.get(MIG_STATE, 'not set')}",
                "the GPU Operator's operands stay off: the node offers no GPU (a known fault of mig-manager, "
                "NVIDIA/gpu-operator#2833)",
                f"kubectl label node {node.name} "
                + " ".join(f"{key}=true" for key in paused)
                + " --overwrite, or give the node up",
            )


def _mig_pending(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        state = node.labels.get(MIG_STATE, "")
        if state not in {"pending", "rebooting"}:
            continue
        users = [
            pod
            for pod in seen.cluster.pods_by_node.get(node.name, ())
            if any(
                name.startswith("nvidia.com/") for one in pod.spec.containers for name in one.resources.limits
            )
        ]
        if users:
            yield Finding(
                f"Node {node.name}",
                f"{MIG_STATE}={state} while {users[0].name} holds a GPU",
                "mig-manager evicts nobody: the change fails as long as the GPU is in use",
                f"move the pods: kubectl drain {node.name} --ignore-daemonsets",
            )


def _mig_stuck(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        state = node.labels.get(MIG_STATE, "")
        if state in {"pending", "rebooting"} and seen.age(node.metadata.creation_timestamp) > PATIENCE:
            yield Finding(
                f"Node {node.name}",
                f"{MIG_STATE}={state} for {MIG_LABEL}={node.labels.get(MIG_LABEL, '')}; the node is there since "
                f"{node.metadata.creation_timestamp or 'nobody knows when'}",
                "a change takes minutes, and the node offers nothing until it ends",
                f"look again in some minutes; if it stays: kubectl logs of nvidia-mig-manager on {node.name}, and give "
                f"the node up: kubectl delete node {node.name}",
            )


def _model(node: Node, seen: Seen) -> str | None:
    known = seen.catalog.by_name().get(node.labels.get(INSTANCE_TYPE, ""))
    return known.gpu if known is not None else model_of(node)


def _mig_cannot(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        wanted, model = node.labels.get(MIG_LABEL, ALL_DISABLED), _model(node, seen)
        if wanted != ALL_DISABLED and model is not None and GPUS[model].mig is None:
            yield _cannot(f"Node {node.name}", wanted, model)
    for pool in seen.cluster.node_pools:
        wanted = pool.labels.get(MIG_LABEL, ALL_DISABLED)
        models = sorted(
            {
                instance_type.gpu
                for instance_type in types_of(pool, seen.catalog)
                if GPUS[instance_type.gpu].mig is None
            }
        )
        if wanted != ALL_DISABLED and models:
            yield _cannot(f"NodePool {pool.name}", wanted, ", ".join(models))


def _cannot(subject: str, wanted: str, model: str) -> Finding:
    return Finding(
        subject,
        f"{MIG_LABEL}={wanted}, and {model} has no MIG",
        "the MIG manager fails there, and the promised slices never register",
        "take the label away, or keep the pool to GPUs that have MIG (gpuslice catalog list)",
    )


def _mig_entry(seen: Seen) -> Iterator[Finding]:
    for policy in seen.cluster.cluster_policies:
        name = policy.spec.mig_manager.config.name
        config_maps = [config_map for (_, one), config_map in seen.cluster.config_maps.items() if one == name]
        if not name or not config_maps:
            continue
        entries = _entries(config_maps[0])
        for who, wanted in sorted(set(seen.labelled(MIG_LABEL)), key=lambda pair: (pair[1], pair[0])):
            if entries is not None and wanted not in entries:
                yield Finding(
                    who,
                    f"{MIG_LABEL}={wanted}, and ConfigMap {name} has no such entry",
                    "the MIG manager fails on that node: its GPUs stay uncut",
                    nearest(wanted, entries) or f"add the entry to ConfigMap {name}",
                )


def _entries(config: ConfigMap) -> Mapping[str, object] | None:
    try:
        documents = parse_documents(config.data.get(_MIG_FILE, "").encode(), config.metadata.name)
    except InputError:
        return None
    return fields_of(documents[0].data, "mig-configs")


CHECKS: Final = (
    Check("GS501", "MIG changes ended well", Severity.BROKEN, (NODE,), _mig_failed),
    Check("GS502", "No MIG change waits for pods", Severity.BROKEN, (NODE, POD), _mig_pending),
    Check("GS503", "MIG is asked only of GPUs that have it", Severity.BROKEN, (NODE, NODE_POOL), _mig_cannot),
    Check(
        "GS504",
        "Every MIG layout that is named exists",
        Severity.BROKEN,
        (NODE, NODE_POOL, CLUSTER_POLICY, CONFIG_MAP),
        _mig_entry,
    ),
    Check("GS506", "No MIG change goes on and on", Severity.RISK, (NODE,), _mig_stuck),
)
