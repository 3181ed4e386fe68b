"""Programs that make bare pods, which no object of Kubernetes owns: known by the labels that they put on them.

Such pods are one workload, and no patch changes the next one: the program's own setting does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Maker:
    """A program that makes pods.

    Attributes:
        kind: its name, which stands as the kind of what owns the pods.
        pods: the workload's name, for all of its pods in a namespace.
        labels: those that all of its pods have, with a value or "" for any.
        setting: where in its configuration a slice, a node selector and a toleration are written.
        named: how the names of its pods begin, where they tell as much as the labels.
    """

    kind: str
    pods: str
    labels: Mapping[str, str]
    setting: str
    named: str = ""


MAKERS: Final = (
    Maker(
        "KubeSpawner",
        "jupyter-users",
        {"component": "singleuser-server"},
        "extra_resource_limits, node_selector and tolerations of KubeSpawner (in Zero to JupyterHub: "
        "singleuser.extraResource.limits, nodeSelector and extraTolerations), or kubespawner_override of each profile "
        "in its profileList",
    ),
    Maker(
        "KubeSpawner",
        "jupyter-users",
        {"app.kubernetes.io/component": "singleuser-server"},
        "extra_resource_limits, node_selector and tolerations of KubeSpawner",
        named="jupyter-",
    ),
    Maker(
        "Airflow",
        "airflow-tasks",
        {"dag_id": "", "task_id": ""},
        "container_resources, node_selector and tolerations of KubernetesPodOperator, or the pod_override of its tasks",
    ),
    Maker(
        "GitLabRunner",
        "gitlab-jobs",
        {"manager.runner.gitlab.com/id-short": ""},
        "pod_spec, node_selector and node_tolerations in [runners.kubernetes] of the runner's config.toml",
    ),
    Maker(
        "Spark",
        "spark-drivers",
        {"spark-role": "driver", "spark-app-selector": ""},
        "spark.kubernetes.driver.podTemplateFile and spark.driver.resource.gpu of spark-submit",
    ),
)

SETTINGS: Final = {maker.kind: maker.setting for maker in reversed(MAKERS)}
"""By kind, what a person changes instead of a patch."""


def maker_of(kind: str, name: str, labels: Mapping[str, str]) -> Maker | None:
    """The program that made a pod; None: nobody knows."""
    if kind != "Pod":
        return None
    for maker in MAKERS:
        if (maker.named and name.startswith(maker.named)) or all(
            labels.get(key, "") == (value or labels.get(key)) for key, value in maker.labels.items()
        ):
            return maker
    return None
