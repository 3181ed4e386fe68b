"""Where pods insist on running today."""

import pytest
from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.workloads.objects import PodSpec, convert
from gpuslice.workloads.placement import Placement, patched, placement
from gpuslice.workloads.requirements import Requirement


def place(selector: object = None, *terms: object) -> Placement:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": each} for each in terms]
            }
        }
    }
    return placement(
        convert({"nodeSelector": selector, "affinity": affinity if terms else None}, PodSpec, "x"), "x"
    )


def term(key: str, operator: str, *values: str) -> dict[str, object]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("key", "value", "on"),
    [
        ("karpenter.k8s.aws/instance-gpu-name", "a10g", "A10G"),
        ("eks.amazonaws.com/instance-gpu-name", "l4", "L4"),
        ("karpenter.k8s.aws/instance-family", "g4dn", "T4"),
        ("karpenter.k8s.aws/instance-family", "p4d", "A100-40GB"),
        ("node.kubernetes.io/instance-type", "g6e.2xlarge", "L40S"),
        ("beta.kubernetes.io/instance-type", "p5.48xlarge", "H100"),
        ("nvidia.com/gpu.product", "NVIDIA-A10G-SHARED", "A10G"),
        ("k8s.amazonaws.com/accelerator", "nvidia-tesla-t4", "T4"),
    ],
)
def test_a_node_selector_tells_the_gpu_of_today_and_is_dropped(key, value, on):
    found = place({key: value})
    assert (found.on, found.drop, found.allow) == (on, (key,), frozenset())


def test_two_models_of_one_name_are_told_apart_by_another_key_or_not_at_all():
    name = "karpenter.k8s.aws/instance-gpu-name"
    assert place({name: "a100"}).on is None
    assert "A100-40GB and A100-80GB" in place({name: "a100"}).notes[0]
    assert place({name: "a100", "karpenter.k8s.aws/instance-family": "p4de"}).on == "A100-80GB"
    assert place({name: "a100", "karpenter.k8s.aws/instance-gpu-memory": "40960"}).on == "A100-40GB"


def test_keys_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="different GPUs"):
        place({"karpenter.k8s.aws/instance-gpu-name": "l4", "karpenter.k8s.aws/instance-family": "g5"})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("node.kubernetes.io/instance-type", "m7i.large", "m7i.large has no NVIDIA GPU"),
        (
            "karpenter.k8s.aws/instance-family",
            "g4ad",
            "AMD's GPUs and no NVIDIA GPU: the pod can't run there",
        ),
        ("karpenter.k8s.aws/instance-family", "p3", "has NVIDIA GPUs and is not in the catalog"),
        ("eks.amazonaws.com/instance-family", "p7e-gb400", "has NVIDIA GPUs and is not in the catalog"),
        ("node.kubernetes.io/instance-type", "g5.3xlarge", "g5.3xlarge is not in the catalog"),
        ("karpenter.k8s.aws/instance-gpu-name", "m60", "m60 is no GPU that is planned for"),
        ("nvidia.com/gpu.product", "NVIDIA-H100-SXM4-80GB", "did you mean 'H100'"),
        ("nvidia.com/gpu.product", "NVIDIA-GeForce-RTX-3090", "is no GPU that is planned for"),
    ],
)
def test_a_value_that_is_not_known_is_left_aside_with_a_note(key, value, says):
    selected = place({key: value, "kubernetes.io/os": "linux"})
    assert selected.on is None
    assert any(says in note for note in selected.notes)
    required = place(None, [term(key, "In", value)])
    assert any(says in note for note in required.notes)
    assert any("can't be placed as it stands" in note for note in required.notes)


def test_what_is_known_beside_it_still_counts():
    types = "node.kubernetes.io/instance-type"
    assert place(None, [term(types, "In", "g5.xlarge", "m5.large")]).allow == {"A10G"}
    name = "karpenter.k8s.aws/instance-gpu-name"
    assert "T4" not in place(None, [term(name, "NotIn", "t4", "m60")]).allow
    assert "L4" in place(None, [term(name, "NotIn", "t4", "m60")]).allow


def test_only_keys_that_pin_machines_are_dropped():
    found = place(
        {
            "eks.amazonaws.com/nodegroup": "gpu",
            "karpenter.sh/capacity-type": "on-demand",
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": "us-east-1a",
            "team": "search",
        }
    )
    assert found.drop == ("eks.amazonaws.com/nodegroup", "karpenter.sh/capacity-type")
    assert found.notes == ("its node selector team=search stays: its new pool carries that label",)


def test_the_architecture_is_that_of_the_selector_or_of_the_machine():
    assert place().arch == "amd64"
    assert place({"kubernetes.io/arch": "arm64"}).arch == "arm64"
    assert place({"karpenter.k8s.aws/instance-family": "g5g"}).arch == "arm64"
    assert place(None, [term("kubernetes.io/arch", "In", "arm64")]).arch == "arm64"


def test_a_required_affinity_bounds_the_models_and_is_kept():
    found = place(None, [term("karpenter.k8s.aws/instance-gpu-name", "In", "a10g", "l4")])
    assert (found.allow, found.on, found.drop) == (frozenset({"A10G", "L4"}), None, ())


def test_an_affinity_to_one_model_tells_the_gpu_of_today():
    assert place(None, [term("karpenter.k8s.aws/instance-family", "In", "g6", "gr6")]).on == "L4"


def test_terms_are_alternatives_and_their_expressions_hold_together():
    family, name = "karpenter.k8s.aws/instance-family", "karpenter.k8s.aws/instance-gpu-name"
    either = place(None, [term(family, "In", "g5")], [term(family, "In", "g6")])
    both = place(None, [term(family, "In", "g5", "g6"), term(name, "NotIn", "a10g")])
    open_ended = place(None, [term(family, "In", "g5")], [term("kubernetes.io/os", "In", "linux")])
    assert either.allow == {"A10G", "L4"}
    assert both.allow == {"L4"}
    assert open_ended.allow == frozenset()


def test_an_affinity_that_no_gpu_meets_is_refused():
    family = "karpenter.k8s.aws/instance-family"
    with pytest.raises(InputError, match="admits no GPU"):
        place(None, [term(family, "In", "g5"), term(family, "NotIn", "g5")])


def test_what_a_new_node_must_have_is_kept_and_what_every_node_has_is_not():
    found = place(
        {
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "team": "a",
            "nvidia.com/gpu.present": "true",
        },
        [term("kubernetes.io/arch", "In", "amd64"), term("rack", "NotIn", "r1")],
    )
    assert found.selector == {"team": "a"}
    assert found.drop == ("nvidia.com/gpu.present",)
    assert [str(one) for one in found.affinity[0]] == ["kubernetes.io/arch In [amd64]", "rack NotIn [r1]"]
    assert patched(found.affinity) is UNSET


@pytest.mark.parametrize(
    "key",
    [
        "nvidia.com/gpu.product",
        "nvidia.com/gpu.present",
        "karpenter.sh/nodepool",
        "eks.amazonaws.com/nodegroup",
        "eks.amazonaws.com/instance-gpu-name",
        "k8s.amazonaws.com/accelerator",
        "feature.node.kubernetes.io/pci-10de.present",
    ],
)
def test_labels_that_new_nodes_lack_are_taken_out_of_the_affinity_and_named(key):
    value = {"nvidia.com/gpu.product": "NVIDIA-A10G", "eks.amazonaws.com/instance-gpu-name": "a10g"}
    found = place(None, [term(key, "In", value.get(key, "nvidia-l4")), term("team", "Exists")])
    assert patched(found.affinity) == ((Requirement("team", "Exists"),),)
    assert any(note.startswith(f"its required node affinity on {key} is taken out") for note in found.notes)


def test_a_term_by_the_nodes_name_or_without_conditions_is_read_as_such():
    terms = [{"matchFields": [term("metadata.name", "In", "n1")]}, {}]
    affinity = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    }
    found = placement(convert({"affinity": affinity}, PodSpec, "x"), "x")
    assert found.affinity == (
        (Requirement("metadata.name", "In", ("n1",)),),
        (Requirement("metadata.name", "In", ()),),
    )


def test_an_operator_that_kubernetes_lacks_is_refused():
    with pytest.raises(InputError, match="operator 'Equals'"):
        place(None, [term("team", "Equals", "a")])


def test_a_number_binds_the_models_too():
    found = place(None, [term("karpenter.k8s.aws/instance-gpu-memory", "Gt", "40000")])
    assert "A10G" not in found.allow
    assert {"L40S", "A100-40GB"} <= found.allow
