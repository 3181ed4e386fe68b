"""Instance types of the catalog, as Karpenter sees them."""

from gpuslice.cloud.snapshot import bundled
from gpuslice.karpenter.machines import machine


def test_a_machine_has_what_the_catalog_says_and_the_labels_of_the_aws_provider():
    kind = bundled().by_name()["g6.12xlarge"]
    made = machine(kind, ("us-east-1a", "us-east-1b"), missing=[("g6.12xlarge", "on-demand", "us-east-1b")])
    assert made.allocatable()["cpu"] == kind.allocatable_cpu_milli
    assert made.allocatable()["memory"] == kind.allocatable_memory_mib
    assert made.allocatable()["pods"] == kind.max_pods
    assert made.capacity["nvidia.com/gpu"] == 4
    assert [(each.zone, each.available) for each in made.offerings] == [
        ("us-east-1a", True),
        ("us-east-1b", False),
    ]
    labels = {key: sorted(each.values) for key, each in made.requirements().items()}
    assert labels["karpenter.k8s.aws/instance-gpu-count"] == ["4"]
    assert labels["karpenter.k8s.aws/instance-category"] == ["g"]
    assert labels["karpenter.k8s.aws/instance-generation"] == ["6"]
    assert labels["karpenter.k8s.aws/instance-size"] == ["12xlarge"]
    assert labels["topology.kubernetes.io/zone"] == ["us-east-1a", "us-east-1b"]


def test_a_fraction_of_a_card_is_no_whole_gpu():
    made = machine(bundled().by_name()["g6f.xlarge"])
    assert "nvidia.com/gpu" not in made.capacity
    assert made.requirements()["karpenter.k8s.aws/instance-gpu-count"].values == {"0"}
