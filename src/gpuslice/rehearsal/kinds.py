"""The custom kinds that a scratch cluster is asked about, as lightkube's generic resources (dicts with metadata)."""

from __future__ import annotations

from typing import Final

from lightkube.generic_resource import create_global_resource, create_namespaced_resource

CustomResourceDefinition: Final = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)
NodePool: Final = create_global_resource("karpenter.sh", "v1", "NodePool", "nodepools")
NodeClaim: Final = create_global_resource("karpenter.sh", "v1", "NodeClaim", "nodeclaims")
NodeOverlay: Final = create_global_resource("karpenter.sh", "v1alpha1", "NodeOverlay", "nodeoverlays")
EC2NodeClass: Final = create_global_resource("karpenter.k8s.aws", "v1", "EC2NodeClass", "ec2nodeclasses")
ClusterPolicy: Final = create_global_resource("nvidia.com", "v1", "ClusterPolicy", "clusterpolicies")
NodeFeature: Final = create_namespaced_resource("nfd.k8s-sigs.io", "v1alpha1", "NodeFeature", "nodefeatures")
NodeFeatureRule: Final = create_global_resource(
    "nfd.k8s-sigs.io", "v1alpha1", "NodeFeatureRule", "nodefeaturerules"
)
