"""The kinds of objects that are read and written, with their paths at the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gpuslice.cluster.client.api import segments


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Group and version as an object states them: "karpenter.sh/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def title(self) -> str:
        """The name that kubectl knows it by: "nodepools.karpenter.sh"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """The name that the ApplySet convention has for it: "NodePool.karpenter.sh"."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def path(self, name: str = "", namespace: str = "") -> str:
        """Of one object, or of the list where no name is given; of all namespaces where none is given."""
        root = ("apis", self.group, self.version) if self.group else ("api", self.version)
        within = ("namespaces", namespace) if namespace and self.namespaced else ()
        return segments(*root, *within, self.plural, name)


POD: Final = Resource("Pod", "", "v1", "pods")
NODE: Final = Resource("Node", "", "v1", "nodes", namespaced=False)
NAMESPACE: Final = Resource("Namespace", "", "v1", "namespaces", namespaced=False)
CONFIG_MAP: Final = Resource("ConfigMap", "", "v1", "configmaps")
DEPLOYMENT: Final = Resource("Deployment", "apps", "v1", "deployments")
DAEMON_SET: Final = Resource("DaemonSet", "apps", "v1", "daemonsets")
STATEFUL_SET: Final = Resource("StatefulSet", "apps", "v1", "statefulsets")
REPLICA_SET: Final = Resource("ReplicaSet", "apps", "v1", "replicasets")
REPLICATION_CONTROLLER: Final = Resource("ReplicationController", "", "v1", "replicationcontrollers")
JOB: Final = Resource("Job", "batch", "v1", "jobs")
CRON_JOB: Final = Resource("CronJob", "batch", "v1", "cronjobs")
AUTOSCALER: Final = Resource("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers")
VOLUME: Final = Resource("PersistentVolume", "", "v1", "persistentvolumes", namespaced=False)
VOLUME_CLAIM: Final = Resource("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
NODE_POOL: Final = Resource("NodePool", "karpenter.sh", "v1", "nodepools", namespaced=False)
NODE_CLAIM: Final = Resource("NodeClaim", "karpenter.sh", "v1", "nodeclaims", namespaced=False)
NODE_OVERLAY: Final = Resource("NodeOverlay", "karpenter.sh", "v1alpha1", "nodeoverlays", namespaced=False)
NODE_CLASS: Final = Resource("EC2NodeClass", "karpenter.k8s.aws", "v1", "ec2nodeclasses", namespaced=False)
AUTO_NODE_CLASS: Final = Resource("NodeClass", "eks.amazonaws.com", "v1", "nodeclasses", namespaced=False)
CLUSTER_POLICY: Final = Resource("ClusterPolicy", "nvidia.com", "v1", "clusterpolicies", namespaced=False)
NODE_FEATURE_RULE: Final = Resource(
    "NodeFeatureRule", "nfd.k8s-sigs.io", "v1alpha1", "nodefeaturerules", namespaced=False
)

OWNERS: Final = (
    DEPLOYMENT,
    STATEFUL_SET,
    DAEMON_SET,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    JOB,
    CRON_JOB,
)
"""Kinds of Kubernetes itself whose objects hold pod templates."""

CUSTOM_OWNERS: Final = (
    Resource("Rollout", "argoproj.io", "v1alpha1", "rollouts"),
    Resource("JobSet", "jobset.x-k8s.io", "v1alpha2", "jobsets"),
    Resource("JAXJob", "kubeflow.org", "v1", "jaxjobs"),
    Resource("MPIJob", "kubeflow.org", "v2beta1", "mpijobs"),
    Resource("Notebook", "kubeflow.org", "v1", "notebooks"),
    Resource("PyTorchJob", "kubeflow.org", "v1", "pytorchjobs"),
    Resource("TFJob", "kubeflow.org", "v1", "tfjobs"),
    Resource("LeaderWorkerSet", "leaderworkerset.x-k8s.io", "v1", "leaderworkersets"),
    Resource("RayCluster", "ray.io", "v1", "rayclusters"),
    Resource("RayJob", "ray.io", "v1", "rayjobs"),
    Resource("RayService", "ray.io", "v1", "rayservices"),
    Resource("Service", "serving.knative.dev", "v1", "services"),
    Resource("InferenceService", "serving.kserve.io", "v1beta1", "inferenceservices"),
)
"""Kinds of others that hold pod templates; each is read where it is served."""

NODE_SIDE: Final = (
    NODE_POOL,
    NODE_CLAIM,
    NODE_OVERLAY,
    NODE_CLASS,
    AUTO_NODE_CLASS,
    CLUSTER_POLICY,
    NODE_FEATURE_RULE,
)
"""What decides over nodes; each is read where it is served."""

KNOWN: Final = {
    (resource.group, resource.kind): resource
    for resource in (
        POD,
        NODE,
        NAMESPACE,
        CONFIG_MAP,
        AUTOSCALER,
        VOLUME,
        VOLUME_CLAIM,
        *OWNERS,
        *CUSTOM_OWNERS,
        *NODE_SIDE,
    )
}
"""All of them, by group and kind."""


def resource_of(api_version: str, kind: str) -> Resource | None:
    """The resource that serves an object; None where it isn't known."""
    return KNOWN.get((api_version.rpartition("/")[0], kind))
