"""What nodes register follows from the files that are rendered, and is what Karpenter was promised."""

from collections import Counter
from typing import Any

import pytest
import yaml

from gpuslice.carriers.device_plugin.gpu_operator import cluster_policy_patch
from gpuslice.carriers.device_plugin.terms import configured
from gpuslice.carriers.table import carrier_of
from gpuslice.errors import InputError
from gpuslice.hardware.stacks import Stack
from gpuslice.rehearsal.device_plugin import Operator, bottlerocket_registered, feature_labels, registered
from gpuslice.rehearsal.user_data import boot
from gpuslice.render import karpenter, manifests
from tests.rehearsal.made_user_data import bottlerocket_user_data, nodeadm_user_data
from tests.render.plans import CATALOG, PLANS, SETTINGS

TYPES = CATALOG.by_name()


def objects(plan, kind) -> list[Any]:
    files = manifests.objects(plan, CATALOG, SETTINGS)
    return [each for file in files if file.applied for each in file.objects if each["kind"] == kind]


def operator(plan):
    patch: Any = cluster_policy_patch(configured(each) for each in plan.pools)["spec"]
    maps = {each["metadata"]["name"]: each["data"] for each in objects(plan, "ConfigMap")}
    return Operator(patch, maps)


def node_features(plan, features):
    """What Node Feature Discovery adds: the extended resources of the rules that match the node's features."""
    found = Counter[str]()
    for each in objects(plan, "NodeFeatureRule"):
        for rule in each["spec"]["rules"]:
            wanted = rule["matchFeatures"][0]["matchExpressions"]
            if all(features.get(name) in term["value"] for name, term in wanted.items()):
                found.update({name: int(amount) for name, amount in rule["extendedResources"].items()})
    return found


@pytest.mark.parametrize(
    ("plan", "pool", "name"),
    [
        pytest.param(plan, pool, name, id=f"{stack}-{pool.name}-{name}")
        for stack, plan in PLANS.items()
        for pool in plan.pools
        for name in pool.instance_types
    ],
)
def test_a_node_registers_what_karpenter_was_promised(plan, pool, name):
    instance = TYPES[name]
    gpus = max(instance.gpu_count, 1)
    labels = next(
        each["spec"]["template"]["metadata"]["labels"]
        for each in objects(plan, "NodePool")
        if each["metadata"]["name"] == pool.name
    )
    custom = karpenter.node_class(pool, plan.stack, SETTINGS, plan.policy).get("spec")
    assert isinstance(custom, dict)
    text = str(custom.get("userData", ""))

    if plan.stack == Stack.BOTTLEROCKET:
        found = bottlerocket_registered(instance.gpu, gpus, boot(bottlerocket_user_data(labels, text)).nvidia)
    else:
        booted = boot(nodeadm_user_data(labels, text))
        assert booted.labels == labels
        found = registered(gpus, labels, operator(plan)) | node_features(plan, booted.features)

    amounts = carrier_of(pool, plan.stack).offers(pool, instance).amounts
    assert found == {each: amount for each, amount in amounts.items() if amount}


def test_whole_gpus_stay_whole_where_the_cluster_shares_gpus_by_default():
    plan = PLANS["slots"]
    made = operator(plan)
    theirs = {"tutorial": yaml.safe_dump({"sharing": {"timeSlicing": SHARED}})}
    shared = Operator(
        {**made.policy, "devicePlugin": {"config": {"name": "all", "default": "tutorial"}}},
        {"all": {**made.config_maps["gpuslice-device-plugin"], **theirs}},
    )
    labels = next(
        each["spec"]["template"]["metadata"]["labels"]
        for each in objects(plan, "NodePool")
        if each["metadata"]["name"] == "l4-whole"
    )
    assert registered(1, labels, shared) == {"nvidia.com/gpu": 1}
    assert registered(1, {}, shared) == {"nvidia.com/gpu": 4}


def config(**data):
    return Operator(
        {"devicePlugin": {"config": {"name": "plugin", "default": "default"}}},
        {"plugin": {name: yaml.safe_dump(each) for name, each in data.items()}},
    )


SHARED = {"resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}


def test_a_node_that_names_an_entry_which_is_not_there_registers_nothing():
    with pytest.raises(InputError, match="no entry 'gone'"):
        registered(1, {"nvidia.com/device-plugin.config": "gone"}, config(default={}))


def test_mps_does_not_start_under_a_mig_strategy_of_the_whole_cluster():
    entry = {"flags": {"migStrategy": "none"}, "sharing": {"mps": SHARED}}
    made = config(default=entry)
    assert registered(1, {}, made) == {"nvidia.com/gpu": 4}
    with pytest.raises(InputError, match="doesn't start"):
        registered(1, {}, Operator({**made.policy, "mig": {"strategy": "mixed"}}, made.config_maps))


def test_without_a_new_name_slices_are_offered_as_whole_gpus():
    assert registered(2, {}, config(default={"sharing": {"timeSlicing": SHARED}})) == {"nvidia.com/gpu": 8}


def test_a_policy_that_names_a_map_which_is_not_there_is_a_plugin_that_does_not_start():
    with pytest.raises(InputError, match="no ConfigMap plugin"):
        registered(1, {}, Operator(config().policy, {}))


@pytest.mark.parametrize(("renamed", "product"), [(True, "NVIDIA-L4"), (False, "NVIDIA-L4-SHARED")])
def test_the_product_says_that_a_gpu_is_shared_unless_its_slices_have_a_name_of_their_own(renamed, product):
    made = config(default={"sharing": {"timeSlicing": {**SHARED, "renameByDefault": renamed}}})

    labels = feature_labels("NVIDIA-L4", 23034, 1, {}, made)

    assert labels["nvidia.com/gpu.product"] == product
    assert labels["nvidia.com/gpu.sharing-strategy"] == "time-slicing"
    assert labels["nvidia.com/gpu.replicas"] == "4"
