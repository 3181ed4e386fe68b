"""Kinds that use GPUs and that no plan can move, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.workloads.objects import Fields, fields_of, group_of
from gpuslice.workloads.use import Use

if TYPE_CHECKING:
    from gpuslice.workloads.owners import Object

# What makes the pods of each kind, and where a slice would have to be written.
_WHY: Final = {
    (
        "apps.nvidia.com",
        "NIMService",
    ): "the NIM Operator makes its pods: write a slice into spec.resources yourself",
    (
        "apps.nvidia.com",
        "NIMPipeline",
    ): "the NIM Operator makes its pods: write a slice into its services' resources",
    ("apps.nvidia.com", "NIMCache"): "the NIM Operator makes its Job, which ends when the cache is full",
    ("apps.nvidia.com", "NIMBuild"): "the NIM Operator makes its pod, which ends when the engine is built",
    ("trainer.kubeflow.org", "TrainJob"): "its pods' template is in the runtime that it names",
    ("sparkoperator.k8s.io", "SparkApplication"): "Spark makes its pods, and takes a GPU by the field gpu",
    (
        "sparkoperator.k8s.io",
        "ScheduledSparkApplication",
    ): "Spark makes its pods, and takes a GPU by the field gpu",
    ("argoproj.io", "Workflow"): "its steps come and go, and how many run at a time isn't in it",
    ("argoproj.io", "WorkflowTemplate"): "its steps come and go, and how many run at a time isn't in it",
    (
        "argoproj.io",
        "ClusterWorkflowTemplate",
    ): "its steps come and go, and how many run at a time isn't in it",
    ("argoproj.io", "CronWorkflow"): "its steps come and go, and how many run at a time isn't in it",
    ("tekton.dev", "Task"): "its steps come and go, and how many run at a time isn't in it",
    ("tekton.dev", "Pipeline"): "its steps come and go, and how many run at a time isn't in it",
    ("nvidia.com", "DynamoGraphDeployment"): "Dynamo makes its pods, and takes whole GPUs by the field gpu",
    (
        "nvidia.com",
        "DynamoComponentDeployment",
    ): "Dynamo makes its pods, and takes whole GPUs by the field gpu",
    ("batch.volcano.sh", "Job"): "Volcano places its pods by itself, all or none",
    ("keda.sh", "ScaledJob"): "KEDA makes its Jobs, as many as there is work: counted at the most",
    ("argoproj.io", "Application"): "it deploys a chart or a directory: build that, and scan what comes out",
    ("helm.toolkit.fluxcd.io", "HelmRelease"): "it deploys a chart: render that, and scan what comes out",
}
# Kinds that always run on a GPU, even where they don't say how many.
_ALWAYS: Final = frozenset({"NIMService", "NIMPipeline"})
_MAYBE: Final = {
    "NIMCache": "a GPU, perhaps, while it fills the cache",
    "TrainJob": "as many GPUs as its runtime says",
    "LLMInferenceService": "as many GPUs as the configuration that it names says",
}


def why_left_out(obj: Object, used: tuple[Use, ...], *, known: bool) -> str:
    """The reason why an object that uses GPUs isn't planned.

    Args:
        obj: the object.
        used: how it uses them.
        known: whether its kind is one whose pods are understood, so that it is what they ask for that isn't.
    """
    if known:
        return "; ".join(dict.fromkeys(use.why for use in used if use.why))
    reason = _WHY.get((group_of(obj.data), obj.kind))
    return reason or f"{shorten(obj.kind)} ({shorten(str(obj.data.get('apiVersion', '')))}) is not understood"


def always_uses(data: Fields) -> tuple[Use, ...]:
    """What an object uses by its kind, where it names no GPU."""
    kind = str(data.get("kind"))
    if (group_of(data), kind) not in _WHY and kind not in _MAYBE:
        return ()
    replicas = fields_of(data, "spec").get("replicas")
    pods = replicas if isinstance(replicas, int) and not isinstance(replicas, bool) and replicas >= 0 else 1
    if kind in _ALWAYS:
        return (Use("the GPUs that its model needs", 0, pods),)
    return (Use(_MAYBE[kind], 0, pods),) if kind in _MAYBE else ()
