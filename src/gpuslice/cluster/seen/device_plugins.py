"""How NVIDIA's device plugin is told what to do: by the GPU Operator's ClusterPolicy, or by a DaemonSet of its own.

Without the GPU Operator, people run the device plugin from NVIDIA's chart, or from a DaemonSet that they wrote. Beside
it there may be a config-manager, which puts that entry of a ConfigMap in its place which a node's label names, and ends
on an entry that isn't there. Without one, the plugin reads one file, and nobody reads the label.

Behaviour: k8s-device-plugin v0.20.0, its chart, and cmd/config-manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.seen.operator_names import DEFAULT_KEY, PLUGIN_LABEL

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import Node, NodePool, Runner
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.workloads.objects import Container

_MANAGER: Final = "config-manager"
_FILE: Final = ("CONFIG_FILE", "--config-file")
_STRATEGY: Final = ("MIG_STRATEGY", "--mig-strategy")


@dataclass(frozen=True, slots=True)
class DevicePlugin:
    """One device plugin's settings.

    Attributes:
        title: where they stand: "ClusterPolicy cluster-policy", "DaemonSet kube-system/nvdp".
        namespace: of its ConfigMap; empty: the operator's, wherever that runs.
        config: name of the ConfigMap; empty: none.
        label: of nodes, by which each gets its entry; empty: nobody reads one.
        default: entry of nodes without the label; empty: none is named.
        fallbacks: what is tried where no default is named: "named", "single", "empty".
        file: the one entry of a plugin without config-manager; empty: not known, or none.
        mig_strategy: that overrides what the entries say; empty: none does.
        runner: its DaemonSet; None: the GPU Operator makes it.
    """

    title: str
    namespace: str
    config: str
    label: str
    default: str = ""
    fallbacks: tuple[str, ...] = ()
    file: str = ""
    mig_strategy: str = ""
    runner: Runner | None = None

    def serves(self, who: Node | NodePool) -> bool:
        """Whether it runs on a node, or on a pool's, by its node selector; affinities are not looked at."""
        wanted = {} if self.runner is None else self.runner.pod.node_selector
        return all(who.labels.get(key) == value for key, value in wanted.items())


def device_plugins(snapshot: Snapshot) -> tuple[DevicePlugin, ...]:
    """All of a cluster, the GPU Operator's first."""
    by_policy = tuple(
        DevicePlugin(
            f"ClusterPolicy {policy.name}",
            "",
            policy.spec.device_plugin.config.name,
            PLUGIN_LABEL,
            policy.spec.device_plugin.config.default,
            mig_strategy=policy.spec.mig.strategy,
        )
        for policy in snapshot.cluster_policies
    )
    return (
        *by_policy,
        *(
            _standalone(device_plugin)
            for device_plugin in snapshot.device_plugins
            if _is_one(device_plugin, snapshot)
        ),
    )


def _is_one(runner: Runner, snapshot: Snapshot) -> bool:
    """Whether a DaemonSet is a device plugin by itself, and none that the GPU Operator makes."""
    if any(owner_reference.kind == "ClusterPolicy" for owner_reference in runner.metadata.owner_references):
        return False
    operator = snapshot.gpu_operator
    operators = "gpu-operator" if operator is None else operator.metadata.namespace
    return not (snapshot.cluster_policies and runner.metadata.namespace == operators)


def _standalone(runner: Runner) -> DevicePlugin:
    containers = (*runner.pod.containers, *runner.pod.init_containers)
    managers = [container for container in containers if _manages(container)]
    plugins = [container for container in runner.pod.containers if not _manages(container)]
    volumes = [volume.config_map for volume in runner.pod.volumes if volume.config_map.name]
    # Mounts are not read, so of several ConfigMaps the one is taken that the chart names so.
    named = [volume.config_map for volume in runner.pod.volumes if volume.name == "available-configs"]
    (config,) = named or (volumes if len(volumes) == 1 else (None,))
    path = next(_settings(plugins, *_FILE), "")
    file = path.rpartition("/")[2]
    if config is not None:
        file = next((item.key for item in config.items if path.endswith(f"/{item.path}")), file)
    return DevicePlugin(
        f"DaemonSet {runner.name}",
        runner.metadata.namespace,
        "" if config is None else config.name,
        next(_settings(managers, "NODE_LABEL", "--node-label"), PLUGIN_LABEL) if managers else "",
        next(_settings(managers, "DEFAULT_CONFIG", "--default-config"), ""),
        tuple(
            name
            for name in next(_settings(managers, "FALLBACK_STRATEGIES", "--fallback-strategies"), "").split(
                ","
            )
            if name
        ),
        "" if managers else file,
        next(_settings(plugins, *_STRATEGY), ""),
        runner,
    )


def default_of(plugin: DevicePlugin, entries: Iterable[str]) -> str | None:
    """The entry of nodes without the label; empty: none is needed; None: there is none, and the plugin ends."""
    known = list(entries)
    if plugin.default:
        return plugin.default if plugin.default in known else None
    for fallback in plugin.fallbacks:
        if fallback == "named" and DEFAULT_KEY in known:
            return DEFAULT_KEY
        if fallback == "single" and len(known) == 1:
            return known[0]
        if fallback == "empty":
            return ""
    return None


def _manages(container: Container) -> bool:
    return any(name.rpartition("/")[2] == _MANAGER for name in (*container.command, *container.args)) or any(
        variable.name == "CONFIG_FILE_SRCDIR" for variable in container.env
    )


def _settings(containers: Iterable[Container], variable: str, flag: str) -> Iterator[str]:
    """What containers are told, on their command lines first, as the programs have it."""
    for container in containers:
        words = (*container.command, *container.args)
        for number, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name == flag:
                yield value if equals else "".join(words[number + 1 : number + 2])
        yield from (entry.value for entry in container.env if entry.name == variable and entry.value)
