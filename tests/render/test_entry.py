"""What could never be scheduled is refused instead of rendered, and what is rendered carries what pods require."""

import re

import pytest
import yaml

from gpuslice.errors import InputError
from gpuslice.render.manifests import render
from tests.render import schemas
from tests.render.plans import CATALOG, SETTINGS, WHOLE, assignment, plan, pool

ZONE = "topology.kubernetes.io/zone"
VISION = {"key": "team", "operator": "In", "values": ["vision"]}
IN_A = {"key": ZONE, "operator": "In", "values": ["us-east-1a"]}


def rendered(target, requires=(), **more):
    pools = (
        pool("p", {"gpu": "L4", "mechanism": "whole"}, ("g6.xlarge", "g6.2xlarge"), requires=list(requires)),
    )
    return render(plan(pools, (assignment("ns/app", "p", WHOLE, target=target, **more),)), CATALOG, SETTINGS)


def test_labels_go_on_the_template_and_zones_among_the_requirements():
    files = rendered({"nodeSelector": {"team": "vision", ZONE: "us-east-1a"}}, [VISION, IN_A])
    *_, node_pool = yaml.safe_load_all(files["karpenter/pools/p.yaml"])
    template = node_pool["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert IN_A in template["spec"]["requirements"]
    assert ZONE not in template["metadata"]["labels"]
    assert schemas.parse(files["karpenter/pools/p.yaml"])
    assert "- `p`: `team=vision`, `topology.kubernetes.io/zone In [us-east-1a]`" in files["README.md"]
    assert "team=vision" in files["workloads/ns.app.yaml"]


def condition(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("target", "requires", "says"),
    [
        ({"nodeSelector": {"team": "vision"}}, [], "team In [vision]"),
        ({"nodeSelector": {"team": "speech"}}, [VISION], "team In [speech]"),
        ({"nodeSelector": {ZONE: "us-east-1a"}}, [], ZONE),
        ({"nodeSelector": {ZONE: "us-east-1b"}}, [IN_A], "us-east-1b"),
        ({"nodeAffinity": [[condition("kubernetes.io/hostname", "In", "n1")]]}, [], "hostname"),
        (
            {"nodeAffinity": [[condition("node.kubernetes.io/instance-type", "In", "g5.xlarge")]]},
            [],
            "g5.xlarge",
        ),
        ({"nodeAffinity": [[condition("karpenter.sh/capacity-type", "In", "spot")]]}, [], "spot"),
        ({"nodeAffinity": [[condition("nvidia.com/gpu.product", "In", "NVIDIA-L4")]]}, [], "gpu.product"),
        ({"nodeAffinity": [[condition("team", "DoesNotExist")]]}, [VISION], "team DoesNotExist"),
    ],
)
def test_a_pod_that_no_node_of_its_pool_takes_is_refused(target, requires, says):
    with pytest.raises(InputError, match=r"ns/app could never run in pool p") as error:
        rendered(target, requires)
    assert says in str(error.value)
    assert "--drop-selector" in error.value.fix


@pytest.mark.parametrize(
    ("target", "requires"),
    [
        ({"nodeAffinity": [[condition("node.kubernetes.io/instance-type", "In", "g6.2xlarge")]]}, []),
        ({"nodeAffinity": [[condition("team", "In", "a")], [condition("team", "DoesNotExist")]]}, []),
        ({"nodeAffinity": [[condition("kubernetes.io/hostname", "NotIn", "n1")]]}, []),
        ({"nodeAffinity": [[condition("nvidia.com/gpu.present", "Exists")]], "patchedAffinity": []}, []),
        ({"nodeSelector": {"topology.kubernetes.io/region": "us-east-1"}}, []),
    ],
)
def test_a_pod_that_some_node_takes_is_rendered(target, requires):
    assert "workloads/ns.app.yaml" in rendered(target, requires)


def test_the_patch_writes_what_is_left_of_the_affinity():
    left = [[condition("team", "In", "vision"), condition("metadata.name", "NotIn", "n1")]]
    whole = [[*left[0], condition("nvidia.com/gpu.present", "Exists")]]
    files = rendered({"nodeAffinity": whole, "patchedAffinity": left, "container": "main"}, [VISION])
    patch = yaml.safe_load(files["workloads/ns.app.yaml"])
    affinity = patch["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": [{"matchExpressions": [left[0][0]], "matchFields": [left[0][1]]}]
    }
    assert re.search("required node affinity", files["workloads/ns.app.yaml"])


def test_where_no_patch_can_be_made_a_person_is_told_what_to_take_out():
    present = [[condition("nvidia.com/gpu.present", "Exists")]]
    files = rendered({"kind": "Unheard", "nodeAffinity": present, "patchedAffinity": []})
    assert (
        "take nvidia.com/gpu.present out of the pods' required node affinity"
        in (files["workloads/unpatched.txt"])
    )
