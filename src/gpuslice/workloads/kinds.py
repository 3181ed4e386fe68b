"""Where each kind of object keeps its pod templates, and how many pods come from each.

A kind with several templates (a Ray head and its worker groups, a leader and its workers) gives one entry for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from gpuslice.workloads.autoscaling import AS_WRITTEN, LEAST, Bounds, planned
from gpuslice.workloads.objects import Fields, fields_of, group_of, whole_number
from gpuslice.workloads.template import Template

_KNATIVE: Final = "autoscaling.knative.dev/"

Reader = Callable[[Fields, str], Iterator[Template]]


def templates(data: Fields, where: str) -> tuple[Template, ...] | None:
    """The pod templates of an object; None where its kind isn't known to have any.

    Raises:
        InputError: a number of replicas that is none.
    """
    reader = _READERS.get((group_of(data), str(data.get("kind"))))
    return None if reader is None else tuple(template for template in reader(data, where) if template.pod)


def built_in(data: Fields) -> bool:
    """Whether Kubernetes itself has the kind: no apiVersion is needed to name it."""
    return group_of(data) in {"", "apps", "batch"}


def finished(data: Fields) -> bool:
    """Whether a Job or Pod has run to its end and holds no GPU any more."""
    status = fields_of(data, "status")
    if data.get("kind") == "Pod":
        return str(status.get("phase")) in {"Succeeded", "Failed"}
    conditions = status.get("conditions")
    return data.get("kind") in {"Job", "PyTorchJob", "TFJob", "MPIJob", "JAXJob", "JobSet"} and any(
        isinstance(condition, dict)
        and str(condition.get("type")) in {"Complete", "Completed", "Failed", "Succeeded"}
        and condition.get("status") == "True"
        for condition in (conditions if isinstance(conditions, list) else [])
    )


def _at(
    data: Fields, path: tuple[str, ...], replicas: int, role: str = "", notes: tuple[str, ...] = ()
) -> Template:
    """The pod template at a path of keys."""
    template = fields_of(data, *path)
    return Template(
        pod=fields_of(template, "spec"),
        replicas=replicas,
        pointer="/" + "/".join(key.replace("~", "~0").replace("/", "~1") for key in (*path, "spec")),
        role=role,
        annotations=fields_of(template, "metadata", "annotations"),
        labels=fields_of(template, "metadata", "labels"),
        notes=notes,
    )


def _replicated(data: Fields, where: str) -> Iterator[Template]:
    replicas = whole_number(fields_of(data, "spec"), "replicas", 1, where)
    yield _at(data, ("spec", "template"), replicas)


def _single(data: Fields, where: str) -> Iterator[Template]:
    del where
    yield _at(data, ("spec", "template"), 1)


def _knative(data: Fields, where: str) -> Iterator[Template]:
    """A service that Knative scales, from zero without a bound unless its annotations say otherwise."""
    template = _at(data, ("spec", "template"), 1)
    stated = template.annotations or {}
    counts = {}
    for bound in ("min", "max"):
        text = stated.get(f"{_KNATIVE}{bound}-scale", stated.get(f"{_KNATIVE}{bound}Scale"))
        value = int(text) if isinstance(text, str) and text.isdecimal() else text
        counts[bound] = whole_number({f"{bound}-scale": value}, f"{bound}-scale", 0, where)
    if counts["max"] > counts["min"]:
        template = planned(template, Bounds(counts["min"], counts["max"]), counts["min"], LEAST)
    yield replace(template, replicas=max(template.replicas, counts["min"]))


def _pod(data: Fields, where: str) -> Iterator[Template]:
    del where
    labels = fields_of(data, "metadata", "labels")
    yield Template(pod=fields_of(data, "spec"), replicas=1, pointer="/spec", labels=labels)


def _daemon_set(data: Fields, where: str) -> Iterator[Template]:
    nodes = whole_number(fields_of(data, "status"), "desiredNumberScheduled", 0, where)
    note = (
        f"a DaemonSet runs on every node that it may: counted as the {nodes} that it has now"
        if nodes
        else "a DaemonSet runs on every node that it may: counted as one"
    )
    yield _at(data, ("spec", "template"), nodes or 1, notes=(note,))


def _parallel(spec: Fields, where: str) -> int:
    """Pods of a Job at one time."""
    parallelism = whole_number(spec, "parallelism", 1, where)
    return min(parallelism, whole_number(spec, "completions", parallelism, where))


def _job(data: Fields, where: str) -> Iterator[Template]:
    yield _at(data, ("spec", "template"), _parallel(fields_of(data, "spec"), where))


def _cron_job(data: Fields, where: str) -> Iterator[Template]:
    job = fields_of(data, "spec", "jobTemplate")
    template = _at(
        data,
        ("spec", "jobTemplate", "spec", "template"),
        _parallel(fields_of(job, "spec"), where),
        notes=("a CronJob is planned as if it always ran",),
    )
    own = {**fields_of(job, "metadata", "annotations"), **(template.annotations or {})}
    yield replace(template, annotations=own)


def _job_set(data: Fields, where: str) -> Iterator[Template]:
    for index, entry in _listed(fields_of(data, "spec"), "replicatedJobs"):
        replicas = whole_number(entry, "replicas", 1, where) * _parallel(
            fields_of(entry, "template", "spec"), where
        )
        inner = _at(entry, ("template", "spec", "template"), replicas, _role(entry.get("name", index)))
        yield replace(inner, pointer=f"/spec/replicatedJobs/{index}{inner.pointer}")


def _role_specs(key: str) -> Reader:
    """Kubeflow's training kinds: one template a role."""

    def read(data: Fields, where: str) -> Iterator[Template]:
        roles = sorted(fields_of(data, "spec", key))
        counts = {
            role: whole_number(fields_of(data, "spec", key, role), "replicas", 1, where) for role in roles
        }
        for role in roles:
            template = _at(data, ("spec", key, role, "template"), counts[role], role.lower())
            yield replace(template, gang=sum(counts.values()) > 1)

    return read


# Where RayService and RayJob say what the workers run.
_RAY_APPLICATION: Final = ("serveConfigV2", "entrypoint", "runtimeEnvYAML")


def _ray(*path: str) -> Reader:
    """Ray's kinds: a head, and worker groups."""

    def read(data: Fields, where: str) -> Iterator[Template]:
        cluster = fields_of(data, *path)
        spec = fields_of(data, "spec")
        application = " ".join(str(spec.get(key, "")) for key in _RAY_APPLICATION)
        head = _at(data, (*path, "headGroupSpec", "template"), 1, "head")
        yield replace(head, application=application)
        for index, entry in _listed(cluster, "workerGroupSpecs"):
            least = whole_number(entry, "minReplicas", 0, where)
            groups = whole_number(entry, "replicas", least, where)
            hosts = whole_number(entry, "numOfHosts", 1, where)
            group = _at(
                entry, ("template",), groups * hosts, _role(entry.get("groupName", f"workers-{index}"))
            )
            if cluster.get("enableInTreeAutoscaling") is True:
                bounds = Bounds(least, whole_number(entry, "maxReplicas", max(groups, least), where))
                stated = entry.get("replicas") is not None
                group = planned(group, bounds, groups, AS_WRITTEN if stated else LEAST, group=hosts)
            pointer = f"/{'/'.join(path)}/workerGroupSpecs/{index}{group.pointer}"
            yield replace(group, pointer=pointer, application=application)

    return read


def _leader_worker_set(data: Fields, where: str) -> Iterator[Template]:
    path = ("spec", "leaderWorkerTemplate")
    groups = whole_number(fields_of(data, "spec"), "replicas", 1, where)
    size = whole_number(fields_of(data, *path), "size", 1, where)
    if not fields_of(data, *path, "leaderTemplate"):
        alone = _at(data, (*path, "workerTemplate"), groups * size, "worker")
        yield replace(alone, gang=size > 1)
        return
    yield replace(_at(data, (*path, "leaderTemplate"), groups, "leader"), gang=size > 1)
    if size > 1:
        workers = _at(data, (*path, "workerTemplate"), groups * (size - 1), "worker")
        yield replace(workers, gang=True)


# The sections of KServe that hold one container each; the older ones name their framework.
_KSERVE_MODELS: Final = (
    *("model", "huggingface", "tensorflow", "triton", "pytorch", "onnx"),
    *("sklearn", "xgboost", "lightgbm", "paddle", "pmml"),
)
# Words in the name of the runtime or of the model's format; a runtime says more than a format.
_KSERVE_FRAMEWORKS: Final = (
    (re.compile(r"(?:^|\s)(?:nvidia-)?nim-"), "nim"),
    (re.compile("triton"), "triton"),
    (re.compile("tensorrt|trt-?llm"), "tensorrt-llm"),
    (re.compile("sglang"), "sglang"),
    (re.compile("vllm|huggingface"), "vllm"),
    (re.compile("tensorflow"), "tensorflow-serving"),
)


def _inference_service(data: Fields, where: str) -> Iterator[Template]:
    for role in ("predictor", "transformer", "explainer"):
        component = fields_of(data, "spec", role)
        least = whole_number(component, "minReplicas", 1, where)
        most = whole_number(component, "maxReplicas", 0, where)
        template = Template(
            pod=component,
            replicas=max(1, least),
            pointer=f"/spec/{role}",
            role=role,
            annotations=fields_of(component, "annotations"),
            labels=fields_of(component, "labels"),
            notes=() if least or most else ("it may scale to zero: counted as one",),
        )
        if most > least:
            template = planned(template, Bounds(least, most), least, LEAST)
        section = next((model_key for model_key in _KSERVE_MODELS if fields_of(component, model_key)), None)
        if section is None:
            yield template
            continue
        # KServe makes a container of it, beside those that are listed.
        container = fields_of(component, section)
        listed = component.get("containers")
        made = {"name": "kserve-container", **container}
        model_format = fields_of(container, "modelFormat").get("name", section)
        served_by = f"{container.get('runtime', '')} {model_format}".lower()
        yield replace(
            template,
            pod={**component, "containers": [made, *(listed if isinstance(listed, list) else [])]},
            container_path=f"/{section}",
            framework_hint=next((name for word, name in _KSERVE_FRAMEWORKS if word.search(served_by)), ""),
            own_command=str(container.get("runtime") or f"kserve-{model_format}")
            .lower()
            .startswith("kserve-"),
        )


def _role(name: object) -> str:
    """The role as a part of a workload's name."""
    return re.sub(r"[^a-z0-9]+", "-", str(name)[:60].lower()).strip("-")


def _listed(data: Fields, key: str) -> Iterator[tuple[int, Fields]]:
    entries = data.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        yield index, fields_of(entry)


_READERS: Final[dict[tuple[str, str], Reader]] = {
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replicated,
    ("apps", "Deployment"): _replicated,
    ("apps", "StatefulSet"): _replicated,
    ("apps", "ReplicaSet"): _replicated,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("argoproj.io", "Rollout"): _replicated,
    ("jobset.x-k8s.io", "JobSet"): _job_set,
    ("kubeflow.org", "JAXJob"): _role_specs("jaxReplicaSpecs"),
    ("kubeflow.org", "MPIJob"): _role_specs("mpiReplicaSpecs"),
    ("kubeflow.org", "Notebook"): _single,
    ("kubeflow.org", "PyTorchJob"): _role_specs("pytorchReplicaSpecs"),
    ("kubeflow.org", "TFJob"): _role_specs("tfReplicaSpecs"),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): _leader_worker_set,
    ("ray.io", "RayCluster"): _ray("spec"),
    ("ray.io", "RayJob"): _ray("spec", "rayClusterSpec"),
    ("ray.io", "RayService"): _ray("spec", "rayClusterConfig"),
    ("serving.knative.dev", "Service"): _knative,
    ("serving.kserve.io", "InferenceService"): _inference_service,
}
