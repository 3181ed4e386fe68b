"""The device plugin's configuration and MIG's: whether nodes name entries that exist and got what these say.

Behaviour: GPU Operator v26.7.0, k8s-device-plugin v0.20.0, mig-parted v0.15.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import parse_documents
from gpuslice.cluster.finding import PATIENCE, Check, Finding, Seen, Severity
from gpuslice.cluster.inventory import INSTANCE_TYPE, model_of
from gpuslice.cluster.machines import types_of
from gpuslice.cluster.resources import CLUSTER_POLICY, CONFIG_MAP, NODE, NODE_POOL, POD
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.render.device_plugin import CONFIG_LABEL as PLUGIN_LABEL
from gpuslice.render.device_plugin import CONFIG_MAP as OUR_PLUGIN_MAP
from gpuslice.render.device_plugin import DEFAULT_KEY
from gpuslice.render.mig_parted import ALL_DISABLED
from gpuslice.render.mig_parted import CONFIG_LABEL as MIG_LABEL
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.objects import ClusterPolicy, ConfigMap, Node

MIG_STATE: Final = "nvidia.com/mig.config.state"
_PAUSED: Final = "paused-for-mig-change"
_OURS: Final = re.compile(r".+-(?P<digest>[0-9a-f]{6})")
_MIG_FILE: Final = "config.yaml"


def _labelled(seen: Seen, label: str) -> Iterator[tuple[str, str]]:
    """Who names an entry, and the entry's name: nodes, and NodePools for nodes to come."""
    for node in seen.cluster.nodes:
        if label in node.labels:
            yield f"Node {node.name}", node.labels[label]
    for pool in seen.cluster.node_pools:
        if label in pool.labels:
            yield f"NodePool {pool.name}", pool.labels[label]


def _plugin_map(seen: Seen, policy: ClusterPolicy) -> ConfigMap | None:
    name = policy.spec.device_plugin.config.name
    return next((each for (_, found), each in seen.cluster.config_maps.items() if found == name), None)


def _unknown_key(seen: Seen) -> Iterator[Finding]:
    for policy in seen.cluster.cluster_policies:
        named = policy.spec.device_plugin.config.name
        wanted = sorted(_labelled(seen, PLUGIN_LABEL), key=lambda pair: (pair[1], pair[0]))
        if not named:
            if wanted:
                who, key = wanted[0]
                yield Finding(
                    who,
                    f"wants the device plugin's configuration {key!r}, and ClusterPolicy {policy.name} names no "
                    "ConfigMap (devicePlugin.config.name)",
                    "the label is ignored: the node's GPUs aren't shared, and its slices never register",
                    f"kubectl patch clusterpolicy {policy.name} --type merge -p "
                    f'\'{{"spec":{{"devicePlugin":{{"config":{{"name":"{OUR_PLUGIN_MAP}"}}}}}}}}\'',
                )
            continue
        config = _plugin_map(seen, policy)
        if config is None:
            yield Finding(
                f"ClusterPolicy {policy.name}",
                f"names ConfigMap {named!r} for the device plugin, and there is none in the operator's namespace",
                "the device plugin starts on no node: no GPU is offered anywhere",
                f"make it, or correct the name: kubectl edit clusterpolicy {policy.name}",
            )
            continue
        told: set[str] = set()
        default = policy.spec.device_plugin.config.default
        for who, key in [*wanted, *([(f"ClusterPolicy {policy.name}", default)] if default else [])]:
            if key not in config.data and key not in told:
                told.add(key)
                yield Finding(
                    who,
                    f"wants the device plugin's configuration {key!r}; ConfigMap {named} has "
                    f"{', '.join(sorted(config.data)[:6]) or 'nothing'}",
                    "the device plugin ends on a key that isn't there: the node offers no GPU at all",
                    nearest(key, config.data) or f"add the key to ConfigMap {named}, or correct the label",
                )


def _edited(seen: Seen) -> Iterator[Finding]:
    for (_, name), config in seen.cluster.config_maps.items():
        if (
            name != OUR_PLUGIN_MAP
            and config.metadata.labels.get("app.kubernetes.io/managed-by") != "gpuslice"
        ):
            continue
        for key, text in sorted(config.data.items()):
            match = _OURS.fullmatch(key)
            if (
                match
                and key != DEFAULT_KEY
                and hashlib.sha256(text.encode()).hexdigest()[:6] != match["digest"]
            ):
                users = [who for who, wanted in _labelled(seen, PLUGIN_LABEL) if wanted == key]
                yield Finding(
                    f"ConfigMap {config.metadata.namespace}/{name}",
                    f"entry {key!r} was edited: its name is no longer the hash of its content; used by "
                    f"{', '.join(users[:3]) or 'nobody now'}",
                    "nodes that use it go on with what they read at their start, new nodes get the new text: two nodes "
                    "of one pool offer different slices",
                    "put it back (gpuslice apply), and make a new entry for what is wanted",
                )


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
            each
            for each in seen.cluster.pods_by_node.get(node.name, ())
            if any(
                name.startswith("nvidia.com/")
                for one in each.spec.containers
                for name in one.resources.limits
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
        models = sorted({each.gpu for each in types_of(pool, seen.catalog) if GPUS[each.gpu].mig is None})
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
        found = [each for (_, one), each in seen.cluster.config_maps.items() if one == name]
        if not name or not found:
            continue
        entries = _entries(found[0])
        for who, wanted in sorted(set(_labelled(seen, MIG_LABEL)), key=lambda pair: (pair[1], pair[0])):
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


def _strategy(seen: Seen) -> Iterator[Finding]:
    for policy in seen.cluster.cluster_policies:
        strategy, config = policy.spec.mig.strategy, _plugin_map(seen, policy)
        if not strategy or config is None:
            continue
        cut = {who for who, wanted in _labelled(seen, MIG_LABEL) if wanted != ALL_DISABLED}
        for who, key in sorted(set(_labelled(seen, PLUGIN_LABEL)), key=lambda pair: (pair[1], pair[0])):
            try:
                data = parse_documents(config.data[key].encode(), key)[0].data
            except (InputError, KeyError):
                continue
            wanted = fields_of(data, "flags").get("migStrategy")
            if fields_of(data, "sharing", "mps") and strategy == "mixed":
                yield Finding(
                    f"ClusterPolicy {policy.name}",
                    f"mig.strategy is mixed, and {who} with {key!r} shares by MPS",
                    "the strategy overrides the nodes' own, and the device plugin doesn't start with MPS under "
                    "mixed: such nodes offer nothing",
                    f"kubectl patch clusterpolicy {policy.name} --type json -p "
                    '\'[{"op":"remove","path":"/spec/mig/strategy"}]\'',
                )
                return
            if wanted == "mixed" and strategy != "mixed" and who in cut:
                yield Finding(
                    f"ClusterPolicy {policy.name}",
                    f"mig.strategy is {strategy}, and {who} with {key!r} wants mixed",
                    "the strategy overrides the nodes' own: their MIG instances come under other names than pods "
                    "ask for",
                    f"kubectl patch clusterpolicy {policy.name} --type merge -p "
                    '\'{"spec":{"mig":{"strategy":"mixed"}}}\'',
                )
                return


_CONFIG: Final = (NODE, NODE_POOL, CLUSTER_POLICY, CONFIG_MAP)
CHECKS: Final = (
    Check(
        "GS401",
        "Every device plugin configuration that is named exists",
        Severity.BROKEN,
        _CONFIG,
        _unknown_key,
    ),
    Check("GS402", "No configuration was edited in place", Severity.BROKEN, (CONFIG_MAP,), _edited),
    Check("GS501", "MIG changes ended well", Severity.BROKEN, (NODE,), _mig_failed),
    Check("GS502", "No MIG change waits for pods", Severity.BROKEN, (NODE, POD), _mig_pending),
    Check("GS503", "MIG is asked only of GPUs that have it", Severity.BROKEN, (NODE, NODE_POOL), _mig_cannot),
    Check("GS504", "Every MIG layout that is named exists", Severity.BROKEN, _CONFIG, _mig_entry),
    Check("GS505", "The cluster's MIG strategy is that of its pools", Severity.BROKEN, _CONFIG, _strategy),
    Check("GS506", "No MIG change goes on and on", Severity.RISK, (NODE,), _mig_stuck),
)
