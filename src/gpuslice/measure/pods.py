"""Whose readings they are: from the labels of metrics to pods, and from pods to the workloads of a file.

Label spellings of both generations are read: where a scrape keeps its own labels (honor_labels: false), the pod of the
metric is `exported_pod`, and `pod` is the exporter's own. Owners come from kube-state-metrics where it is scraped, and
else from how Kubernetes names pods.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gpuslice.workloads.model import Workload

Labels = Mapping[str, str]


class Source(NamedTuple):
    """One pod on one GPU, or MIG instance, as labels name it."""

    namespace: str
    pod: str
    container: str
    gpu: str
    model: str
    profile: str
    node: str


@dataclass(frozen=True, slots=True)
class Owner:
    """An object at the top of a chain of owners."""

    kind: str
    name: str


# How controllers name pods; the object's own name stands for NAME.
_PATTERNS: Final = {
    "Pod": "NAME",
    "KubeSpawner": "jupyter-.+",
    "StatefulSet": r"NAME-\d+",
    "DaemonSet": r"NAME-[a-z0-9]{5}",
    "ReplicaSet": r"NAME-[a-z0-9]{5}",
    "Job": r"NAME(-\d+)?-[a-z0-9]{5}",
    "CronJob": r"NAME-\d{7,10}(-\d+)?-[a-z0-9]{5}",
    "Deployment": r"NAME-[a-f0-9]{1,10}-[a-z0-9]{5}|NAME-[bcdf-hj-np-tv-z2-9]{1,10}-[a-z0-9]{5}",
}
_OTHERS: Final = r"NAME(-[a-z0-9]+)*"
# What custom kinds make, as their controllers name it: (kind, what it makes). kube-state-metrics' chains end there.
_RAY: Final = r"NAME-(raycluster-)?[a-z0-9]{5}"
_MADE: Final = {
    ("RayService", "RayCluster"): _RAY,
    ("RayJob", "RayCluster"): _RAY,
    ("InferenceService", "Deployment"): r"NAME-predictor(-default)?(-\d{5}-deployment)?",
    ("Service", "Deployment"): r"NAME-\d{5}-deployment",  # Knative's, of a revision
    ("LeaderWorkerSet", "StatefulSet"): r"NAME(-\d+)?",
}


def source_of(labels: Labels, *, exported: bool) -> Source | None:
    """The pod and GPU that a series of the DCGM exporter is about; None: a GPU without a pod.

    Args:
        labels: of the series.
        exported: another series of the same job has `exported_pod`, so that a bare `pod` is the exporter's.
    """
    prefix = "exported_" if exported else ""
    namespace, pod = labels.get(f"{prefix}namespace", ""), labels.get(f"{prefix}pod", "")
    if not namespace or not pod:
        return None
    instance = labels.get("GPU_I_ID", "")
    card = labels.get("UUID") or f"{labels.get('Hostname', '')}/{labels.get('gpu', '')}"
    return Source(
        namespace,
        pod,
        labels.get(f"{prefix}container", ""),
        f"{card}/{instance}" if instance else card,
        labels.get("modelName", ""),
        labels.get("GPU_I_PROFILE", ""),
        labels.get("Hostname", ""),
    )


def exporting_jobs(series: Iterable[Labels]) -> frozenset[str]:
    """Scrape jobs whose metrics' pods are spelled `exported_pod`."""
    return frozenset(labels.get("job", "") for labels in series if "exported_pod" in labels)


class Owners:
    """The owners that kube-state-metrics tells of.

    Args:
        series: labels of kube_pod_owner, kube_replicaset_owner and kube_job_owner.
    """

    def __init__(self, series: Iterable[Labels]) -> None:
        self._of: dict[tuple[str, str, str], Owner] = {}
        for labels in series:
            for kind, name in (("Pod", "pod"), ("ReplicaSet", "replicaset"), ("Job", "job_name")):
                if labels.get("__name__") != f"kube_{kind.lower()}_owner" or labels.get("owner_name", "") in {
                    "",
                    "<none>",
                }:
                    continue
                # kube-state-metrics speaks of other objects than itself, so its labels may be renamed likewise.
                own = labels.get(f"exported_{name}") or labels.get(name, "")
                namespace = labels.get("exported_namespace") or labels.get("namespace", "")
                self._of[kind, namespace, own] = Owner(labels.get("owner_kind", ""), labels["owner_name"])

    def top(self, namespace: str, pod: str) -> Owner | None:
        """The object at the top of a pod's chain, as far as it is known; None: not a word about the pod."""
        owner = self._of.get(("Pod", namespace, pod))
        while owner is not None and (above := self._of.get((owner.kind, namespace, owner.name))) is not None:
            owner = above
        return owner


class Matcher:
    """Which workload of a file a pod belongs to."""

    def __init__(self, workloads: Iterable[Workload], owners: Owners) -> None:
        self._owners = owners
        self._by_namespace: dict[str, list[tuple[Workload, str, re.Pattern[str]]]] = {}
        for workload in workloads:
            name = workload.target.name or workload.name.partition("/")[2]
            pattern = _PATTERNS.get(workload.target.kind, _OTHERS).replace("NAME", re.escape(name))
            self._by_namespace.setdefault(workload.namespace, []).append(
                (workload, name, re.compile(pattern))
            )
        self._found: dict[tuple[str, str, str], str | None] = {}

    def workload(self, source: Source) -> str | None:
        """Its name; None: none of the file's, or more than one might be meant."""
        key = source.namespace, source.pod, source.container
        if key not in self._found:
            self._found[key] = self._match(source)
        return self._found[key]

    def _match(self, source: Source) -> str | None:
        candidates = [
            pair
            for pair in self._by_namespace.get(source.namespace, ())
            if not (source.container and pair[0].target.container)
            or pair[0].target.container == source.container
        ]
        owner = self._owners.top(source.namespace, source.pod)
        if owner is not None:
            exact = [w.name for w, name, _ in candidates if (w.target.kind, name) == (owner.kind, owner.name)]
            exact = exact or [w.name for w, name, _ in candidates if _made(w.target.kind, name, owner)]
            if exact or owner.kind != "ReplicaSet":
                return exact[0] if len(exact) == 1 else None
        # A ReplicaSet whose own owner isn't told, or no word at all: by how pods are named. The longest name wins:
        # "search-api-…" is the pod of search-api, even where there is a "search" too.
        named = sorted(
            ((len(name), w.name) for w, name, pattern in candidates if pattern.fullmatch(source.pod)),
            reverse=True,
        )
        if not named or (len(named) > 1 and named[0][0] == named[1][0]):
            return None
        return named[0][1]


def _made(kind: str, name: str, owner: Owner) -> bool:
    """Whether an object of a custom kind makes such owners of pods."""
    pattern = _MADE.get((kind, owner.kind))
    return (
        pattern is not None and re.fullmatch(pattern.replace("NAME", re.escape(name)), owner.name) is not None
    )
