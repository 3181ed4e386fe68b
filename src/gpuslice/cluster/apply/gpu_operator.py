"""The GPU Operator that is there already, changed as little as a plan needs.

Its owner's own configurations stay: keys are added to a ConfigMap of his, or his entries are carried along where the
format is one blob; of the ClusterPolicy only the fields are touched that keep the plan from working as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuslice.artefacts.documents import dump_yaml, parse_documents
from gpuslice.cluster.checks.mig import MIG_STATE
from gpuslice.cluster.seen.operator_names import (
    ALL_DISABLED,
    DEFAULT_KEY,
    MIG_LABEL,
    MIG_MAP,
    PLUGIN_LABEL,
    PLUGIN_MAP,
)
from gpuslice.cluster.seen.read import OPERATORS_MIG_CONFIG
from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.render.bundle import Bundle

Json = Any  # as in Kubernetes objects
_MIG_FILE: Final = "config.yaml"


@dataclass(frozen=True, slots=True)
class Adapted:
    """A plan's wishes of the operator, adapted to the one that is there.

    Attributes:
        config_maps: to be applied: ours, or only our keys of his.
        shared: names of those of which only keys are ours.
        policy: the ClusterPolicy as it should be; None: there is none, or it stays.
        why: what changes cluster-wide, in words.
    """

    config_maps: tuple[dict[str, Json], ...]
    shared: frozenset[str]
    policy: dict[str, Json] | None
    why: tuple[str, ...]


def adapt(desired: Bundle, live: Mapping[str, Json] | None, snapshot: Snapshot) -> Adapted:
    """How the operator and its ConfigMaps should be.

    Args:
        desired: what the plan wants.
        live: the ClusterPolicy, as it is; None: there is none.
        snapshot: the cluster, with the ConfigMaps that the policy names.

    Raises:
        AnswerIsNoError: nodes outside the plan would lose what they have.
    """
    maps = {
        str(object_["metadata"]["name"]): object_
        for object_ in desired.objects
        if object_.get("kind") == "ConfigMap"
    }
    if live is None or desired.cluster_policy is None:
        return Adapted(
            tuple(_with_old_keys(entry, snapshot) for entry in maps.values()), frozenset(), None, ()
        )
    spec = copy.deepcopy(dict(fields_of(live, "spec")))
    why: list[str] = []
    shared: set[str] = set()
    made: list[dict[str, Json]] = []
    for name, data in maps.items():
        if name == PLUGIN_MAP:
            theirs = str(fields_of(spec, "devicePlugin", "config").get("name") or "")
            wanted = desired.cluster_policy["devicePlugin"]["config"]
            if theirs and theirs != PLUGIN_MAP:
                shared.add(theirs)
                made.append(_only_our_keys(data, theirs))
            else:
                _set(spec, ("devicePlugin", "config"), wanted, keep_existing=bool(theirs))
                made.append(_with_old_keys(data, snapshot))
            why += _default(spec, str(wanted.get("default", "")))
        elif name == MIG_MAP:
            manager = fields_of(spec, "migManager", "config")
            made.append(_with_old_entries(data, str(manager.get("name") or OPERATORS_MIG_CONFIG), snapshot))
            _set(spec, ("migManager", "config"), desired.cluster_policy["migManager"]["config"])
        else:
            made.append(data)
    _add_tolerations(spec, desired.cluster_policy)
    _add_variables(spec, desired.cluster_policy)
    why += _strategy(spec, desired, snapshot)
    if spec == fields_of(live, "spec"):
        return Adapted(tuple(made), frozenset(shared), None, ())
    return Adapted(tuple(made), frozenset(shared), {**copy.deepcopy(dict(live)), "spec": spec}, tuple(why))


def _set(
    spec: dict[str, Json], path: tuple[str, str], value: Mapping[str, Json], *, keep_existing: bool = False
) -> None:
    section = spec.setdefault(path[0], {})
    present = section.get(path[1]) or {}
    section[path[1]] = {**value, **present} if keep_existing else {**present, **value}


def _default(spec: dict[str, Json], wanted: str) -> list[str]:
    """The configuration of nodes without a label, changed only by what is for the whole cluster."""
    config = spec["devicePlugin"]["config"]
    if wanted in {"", DEFAULT_KEY}:
        return []
    config["default"] = wanted
    return [f"every node without the label {PLUGIN_LABEL} gets {wanted}"]


def _only_our_keys(data: Mapping[str, Json], name: str) -> dict[str, Json]:
    """Our entries of a ConfigMap of somebody else's; their names are hashes, so they meet none of his."""
    entries = {key: text for key, text in data["data"].items() if key != DEFAULT_KEY}
    metadata = {"name": name, "namespace": data["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": entries}


def _with_old_keys(data: Mapping[str, Json], snapshot: Snapshot) -> dict[str, Json]:
    """Entries of earlier plans stay: nodes may use them, and the device plugin ends on a key that isn't there."""
    metadata = data["metadata"]
    known = snapshot.config_maps.get((metadata["namespace"], metadata["name"]))
    if known is None or metadata["name"] != PLUGIN_MAP:
        return dict(data)
    return {**data, "data": dict(sorted({**known.data, **data["data"]}.items()))}


def _with_old_entries(data: Mapping[str, Json], theirs: str, snapshot: Snapshot) -> dict[str, Json]:
    """MIG layouts that are there today, beside the plan's: the format is one text."""
    namespace = data["metadata"]["namespace"]
    wanted = _mig_file(data["data"][_MIG_FILE], f"ConfigMap {MIG_MAP}")
    entries: dict[str, Json] = {}
    for name in dict.fromkeys((theirs, MIG_MAP)):
        known = snapshot.config_maps.get((namespace, name))
        if known is not None:
            entries |= _mig_file(known.data.get(_MIG_FILE, ""), f"ConfigMap {namespace}/{name}")
    entries |= wanted
    for node in snapshot.nodes:
        used = node.labels.get(MIG_LABEL, ALL_DISABLED)
        if used not in entries and MIG_STATE in node.labels:
            raise AnswerIsNoError(
                f"node {node.name} uses the MIG layout {used!r}, which ConfigMap {theirs} doesn't have to be carried "
                "along",
                where="ClusterPolicy",
                fix=f"make that layout readable in a ConfigMap of the operator's namespace, or set its "
                f"{MIG_LABEL} to {ALL_DISABLED}",
            )
    first = {ALL_DISABLED: entries.pop(ALL_DISABLED)} if ALL_DISABLED in entries else {}
    text = dump_yaml({"version": "v1", "mig-configs": first | dict(sorted(entries.items()))})
    return {**data, "data": {_MIG_FILE: text}}


def _mig_file(text: str, where: str) -> dict[str, Json]:
    if not text.strip():
        return {}
    try:
        return dict(fields_of(parse_documents(text.encode(), where)[0].data, "mig-configs"))
    except InputError as error:
        raise AnswerIsNoError(
            f"{where} can't be carried along: {error.message}", fix="correct it first"
        ) from None


def _add_tolerations(spec: dict[str, Json], policy: Mapping[str, Json]) -> None:
    wanted: list[Json] = _list(policy, "daemonsets", "tolerations")
    section = spec.setdefault("daemonsets", {})
    present: list[Json] = _list(spec, "daemonsets", "tolerations")
    known = {
        (toleration.get("key"), toleration.get("operator"), toleration.get("effect"))
        for toleration in present
    }
    new = [
        toleration
        for toleration in wanted
        if (toleration["key"], toleration["operator"], toleration["effect"]) not in known
    ]
    if present and not any(entry["key"].startswith("gpuslice.io/") for entry in new):
        new = []  # what else is tolerated is the owner's affair
    if new:
        section["tolerations"] = [
            *present,
            *(toleration for toleration in new if not present or "gpuslice.io/" in toleration["key"]),
        ]
    elif not section:
        del spec["daemonsets"]


def _add_variables(spec: dict[str, Json], policy: Mapping[str, Json]) -> None:
    wanted, present = _list(policy, "migManager", "env"), _list(spec, "migManager", "env")
    named = {variable.get("name"): variable for variable in present}
    new = [variable for variable in wanted if named.get(variable["name"]) != variable]
    if new:
        kept = [variable for variable in present if variable.get("name") not in {one["name"] for one in new}]
        spec.setdefault("migManager", {})["env"] = [*kept, *new]


def _list(data: Mapping[str, Json], section: str, key: str) -> list[Json]:
    entries = fields_of(data, section).get(key)
    return entries if isinstance(entries, list) else []


def _strategy(spec: dict[str, Json], desired: Bundle, snapshot: Snapshot) -> list[str]:
    """The cluster-wide MIG strategy, changed only where the plan can't work with it."""
    pools = [object_ for object_ in desired.objects if object_.get("kind") == "NodePool"]
    mig = any(MIG_LABEL in fields_of(pool, "spec", "template", "metadata", "labels") for pool in pools)
    texts = [
        text
        for entry in desired.objects
        if entry.get("kind") == "ConfigMap"
        for text in fields_of(entry, "data").values()
        if isinstance(text, str)
    ]
    mps = any("\n  mps:" in text for text in texts)
    current = fields_of(spec, "mig").get("strategy") or ""
    single = (
        desired.cluster_policy is not None
        and fields_of(desired.cluster_policy, "mig").get("strategy") == "single"
    )
    if single and current != "single":
        spec.setdefault("mig", {})["strategy"] = "single"
    elif mps and (current == "mixed" or (mig and current)):
        del spec["mig"]["strategy"]
    elif mig and not mps and current in {"single", "none"}:
        spec["mig"]["strategy"] = "mixed"
    else:
        return []
    cut = sorted(
        node.name
        for node in snapshot.nodes
        if (_cut_mixed(node.labels) if single else _cut_single(node.labels))
    )
    if cut:
        more = f" and {len(cut) - 1} more use" if len(cut) > 1 else " uses"
        raise AnswerIsNoError(
            f"node {cut[0]}{more} MIG's {'mixed' if single else 'single'} strategy: what "
            f"{'is wanted' if single else 'the plan needs'} would rename their resources",
            where="ClusterPolicy mig.strategy",
            fix="move the pods that ask for nvidia.com/mig-… away first"
            if single
            else "move their pods to nvidia.com/mig-… first, or plan with --without mig and --without mps",
        )
    now = fields_of(spec, "mig").get("strategy") or "each pool its own"
    return [f"mig.strategy of the whole cluster: {current or 'not set'} → {now}"]


def _cut_single(labels: Mapping[str, str]) -> bool:
    product = labels.get("nvidia.com/gpu.product", "")
    return labels.get("nvidia.com/mig.strategy") == "single" and "-MIG-" in product


def _cut_mixed(labels: Mapping[str, str]) -> bool:
    """GPU Feature Discovery counts each profile: nvidia.com/mig-1g.10gb.count."""
    return any(label.startswith("nvidia.com/mig-") and label.endswith(".count") for label in labels)
