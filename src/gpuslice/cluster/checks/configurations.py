"""The device plugin's configurations: whether those that are named exist, are what they were, and are heard.

Behaviour: GPU Operator v26.7.0, k8s-device-plugin v0.20.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import parse_documents
from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.resources import CLUSTER_POLICY, CONFIG_MAP, DAEMON_SET, NODE, NODE_POOL, POD
from gpuslice.cluster.seen.device_plugins import DevicePlugin, default_of, device_plugins
from gpuslice.cluster.seen.operator_names import (
    ALL_DISABLED,
    DEFAULT_KEY,
    MIG_LABEL,
    PLUGIN_LABEL,
    PLUGIN_MAP,
)
from gpuslice.errors import InputError, nearest
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import ConfigMap, Node

_OURS: Final = re.compile(r".+-(?P<digest>[0-9a-f]{6})")


def _plugin_map(seen: Seen, plugin: DevicePlugin) -> ConfigMap | None:
    return next(
        (
            config_map
            for (namespace, name), config_map in seen.cluster.config_maps.items()
            if name == plugin.config and plugin.namespace in {"", namespace}
        ),
        None,
    )


def _wanting(seen: Seen, plugin: DevicePlugin) -> list[tuple[str, str]]:
    """Who names an entry to a device plugin, and the entry; in the order of entries."""
    label = plugin.label or PLUGIN_LABEL
    # Beside a GPU Operator, a plugin of its own is for nodes that it is seen on.
    seen_on = {node.name for node in seen.cluster.nodes if _runs(seen, plugin, node)}
    alone = plugin.runner is None or not (seen_on or seen.cluster.cluster_policies)
    nodes = [node for node in seen.cluster.nodes if (plugin.serves(node) if alone else node.name in seen_on)]
    pools = [
        node_pool
        for node_pool in seen.cluster.node_pools
        if plugin.runner is None or (plugin.serves(node_pool) and not seen.cluster.cluster_policies)
    ]
    wanting = [(f"Node {node.name}", node.labels[label]) for node in nodes if label in node.labels]
    wanting += [(f"NodePool {pool.name}", pool.labels[label]) for pool in pools if label in pool.labels]
    return sorted(wanting, key=lambda pair: (pair[1], pair[0]))


def _unknown_key(seen: Seen) -> Iterator[Finding]:
    for plugin in device_plugins(seen.cluster):
        wanted = _wanting(seen, plugin)
        if not plugin.config or not plugin.label:
            if wanted:
                yield _nobody_reads(plugin, *wanted[0])
            if not plugin.config:
                continue
        config = _plugin_map(seen, plugin)
        if config is None:
            yield Finding(
                plugin.title,
                f"names ConfigMap {plugin.config!r} for the device plugin, and there is none in "
                f"{_place(plugin)}",
                "the device plugin starts on no node: no GPU is offered anywhere",
                f"make it, or correct the name: kubectl edit {_object(plugin)}",
            )
            continue
        yield from _missing_entries(seen, plugin, config, wanted if plugin.label else [])


def _missing_entries(
    seen: Seen, plugin: DevicePlugin, config: ConfigMap, wanted: list[tuple[str, str]]
) -> Iterator[Finding]:
    told: set[str] = set()
    named = [(plugin.title, name) for name in (plugin.default, plugin.file) if name]
    for who, key in [*wanted, *named]:
        if key not in config.data and key not in told:
            told.add(key)
            yield Finding(
                who,
                f"wants the device plugin's configuration {key!r}; ConfigMap {plugin.config} has "
                f"{', '.join(sorted(config.data)[:6]) or 'nothing'}",
                "the device plugin ends on a key that isn't there: the node offers no GPU at all",
                nearest(key, config.data)
                or f"add the key to ConfigMap {plugin.config}, or correct the label",
            )
    if plugin.runner is None or not plugin.label or plugin.default:
        return
    without = [
        node for node in seen.cluster.nodes if _runs(seen, plugin, node) and plugin.label not in node.labels
    ]
    if without and default_of(plugin, config.data) is None:
        yield Finding(
            plugin.title,
            f"runs on node {without[0].name}, which has no label {plugin.label}; it names no default, and ConfigMap "
            f"{plugin.config} has {', '.join(sorted(config.data)[:6]) or 'nothing'}",
            "the device plugin ends where it is told no configuration: the node offers no GPU at all",
            "give it one (in NVIDIA's chart: config.default), or label the node",
        )


def _runs(seen: Seen, plugin: DevicePlugin, node: Node) -> bool:
    """Whether a pod of its DaemonSet is on a node."""
    return plugin.runner is not None and any(
        pod.metadata.namespace == plugin.namespace
        and any(
            owner.kind == "DaemonSet" and owner.name == plugin.runner.metadata.name
            for owner in pod.metadata.owner_references
        )
        for pod in seen.cluster.pods_by_node.get(node.name, ())
    )


def _nobody_reads(plugin: DevicePlugin, who: str, key: str) -> Finding:
    """A label that is set, where the device plugin isn't told to look at it."""
    if plugin.runner is None:
        why = f"{plugin.title} names no ConfigMap (devicePlugin.config.name)"
        fix = (
            f"kubectl patch {_object(plugin)} --type merge -p "
            f'\'{{"spec":{{"devicePlugin":{{"config":{{"name":"{PLUGIN_MAP}"}}}}}}}}\''
        )
    else:
        lacking = "has no config-manager beside the plugin" if plugin.config else "mounts no ConfigMap"
        why = f"{plugin.title} {lacking}"
        fix = (
            "run it from NVIDIA's chart with a ConfigMap, which brings a config-manager: helm upgrade nvdp "
            f"nvdp/nvidia-device-plugin --namespace {plugin.namespace} --reuse-values "
            f"--set config.name={PLUGIN_MAP}"
        )
    return Finding(
        who,
        f"wants the device plugin's configuration {key!r}, and {why}",
        "the label is ignored: the node's GPUs aren't shared as it says, and its slices never register",
        fix,
    )


def _place(plugin: DevicePlugin) -> str:
    return "the operator's namespace" if plugin.runner is None else f"namespace {plugin.namespace}"


def _object(plugin: DevicePlugin) -> str:
    """What holds a plugin's settings, as kubectl names it."""
    kind, _, name = plugin.title.partition(" ")
    if plugin.runner is None:
        return f"{kind.lower()} {name}"
    return f"{kind.lower()} {plugin.runner.metadata.name} -n {plugin.namespace}"


def _edited(seen: Seen) -> Iterator[Finding]:
    for (_, name), config in seen.cluster.config_maps.items():
        if name != PLUGIN_MAP and config.metadata.labels.get("app.kubernetes.io/managed-by") != "gpuslice":
            continue
        for key, text in sorted(config.data.items()):
            match = _OURS.fullmatch(key)
            if (
                match
                and key != DEFAULT_KEY
                and hashlib.sha256(text.encode()).hexdigest()[:6] != match["digest"]
            ):
                users = [who for who, wanted in seen.labelled(PLUGIN_LABEL) if wanted == key]
                yield Finding(
                    f"ConfigMap {config.metadata.namespace}/{name}",
                    f"entry {key!r} was edited: its name is no longer the hash of its content; used by "
                    f"{', '.join(users[:3]) or 'nobody now'}",
                    "nodes that use it go on with what they read at their start, new nodes get the new text: two nodes "
                    "of one pool offer different slices",
                    "put it back (gpuslice apply), and make a new entry for what is wanted",
                )


def _strategy(seen: Seen) -> Iterator[Finding]:
    for plugin in device_plugins(seen.cluster):
        strategy, config = plugin.mig_strategy, _plugin_map(seen, plugin)
        if not strategy or config is None:
            continue
        operated = plugin.runner is None
        said = f"{'mig.strategy' if operated else 'MIG_STRATEGY'} is {strategy}"
        cut = {who for who, wanted in seen.labelled(MIG_LABEL) if wanted != ALL_DISABLED}
        for who, key in _wanting(seen, plugin) if plugin.label else [(plugin.title, plugin.file)]:
            try:
                data = parse_documents(config.data[key].encode(), key)[0].data
            except (InputError, KeyError):
                continue
            wanted = fields_of(data, "flags").get("migStrategy")
            if fields_of(data, "sharing", "mps") and strategy == "mixed":
                yield Finding(
                    plugin.title,
                    f"{said}, and {who} with {key!r} shares by MPS",
                    "the strategy overrides the nodes' own, and the device plugin doesn't start with MPS under "
                    "mixed: such nodes offer nothing",
                    f"kubectl patch {_object(plugin)} --type json -p "
                    '\'[{"op":"remove","path":"/spec/mig/strategy"}]\''
                    if operated
                    else _leave_it_to_entries(plugin),
                )
                break
            if wanted == "mixed" and strategy != "mixed" and who in cut:
                yield Finding(
                    plugin.title,
                    f"{said}, and {who} with {key!r} wants mixed",
                    "the strategy overrides the nodes' own: their MIG instances come under other names than pods "
                    "ask for",
                    f"kubectl patch {_object(plugin)} --type merge -p "
                    '\'{"spec":{"mig":{"strategy":"mixed"}}}\''
                    if operated
                    else _leave_it_to_entries(plugin),
                )
                break


def _leave_it_to_entries(plugin: DevicePlugin) -> str:
    return (
        f"leave the strategy to the entries: kubectl set env {_object(plugin)} MIG_STRATEGY- (in NVIDIA's chart: "
        "migStrategy: null)"
    )


_READS: Final = (NODE, POD, NODE_POOL, CLUSTER_POLICY, DAEMON_SET, CONFIG_MAP)
CHECKS: Final = (
    Check(
        "GS401",
        "Every device plugin configuration that is named exists",
        Severity.BROKEN,
        _READS,
        _unknown_key,
    ),
    Check("GS402", "No configuration was edited in place", Severity.BROKEN, (CONFIG_MAP,), _edited),
    Check(
        "GS505", "The device plugin's MIG strategy is that of its pools", Severity.BROKEN, _READS, _strategy
    ),
)
