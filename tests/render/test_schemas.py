"""Every rendered object has the field names and values of its API, for every mechanism and both stacks."""

from typing import Any

import msgspec
import pytest

from gpuslice.render.manifests import render
from tests.render import schemas
from tests.render.plans import CATALOG, PLANS, SETTINGS

# What is no object of the API server, and what it is instead.
OTHERS = {
    "gpu-operator/values.yaml": schemas.HelmValues,
    "gpu-operator/cluster-policy-patch.yaml": schemas.ClusterPolicyPatch,
    "kustomization.yaml": schemas.Kustomization,
    "workloads/kustomization.yaml": schemas.Component,
}


def rendered() -> Any:
    for name, plan in PLANS.items():
        for path, text in render(plan, CATALOG, SETTINGS).items():
            if path.endswith(".yaml") and (not path.startswith("workloads/") or path in OTHERS):
                yield pytest.param(path, text, id=f"{name}/{path}")


@pytest.mark.parametrize(("path", "text"), tuple(rendered()))
def test_every_document_is_one_that_its_api_accepts(path, text):
    assert schemas.parse(text, OTHERS.get(path, schemas.OBJECT))


@pytest.mark.parametrize("name", ["slots", "metered", "mig"])
def test_every_device_plugin_entry_is_one_that_the_plugin_accepts(name):
    text = render(PLANS[name], CATALOG, SETTINGS)["gpu-operator/device-plugin-config.yaml"]
    [config_map] = schemas.parse(text)
    assert "default" in config_map.data
    for entry in config_map.data.values():
        assert schemas.parse(entry, schemas.DevicePluginConfig)


def test_the_mig_parted_file_is_one_that_it_accepts():
    [config_map] = schemas.parse(
        render(PLANS["mig"], CATALOG, SETTINGS)["gpu-operator/mig-parted-config.yaml"]
    )
    [config] = schemas.parse(config_map.data["config.yaml"], schemas.MigPartedConfig)
    assert "all-disabled" in config.mig_configs


def test_a_misspelt_field_would_be_noticed():
    text = render(PLANS["slots"], CATALOG, SETTINGS)["karpenter/pools/l4-whole.yaml"]
    with pytest.raises(msgspec.ValidationError):
        schemas.parse(text.replace("consolidateAfter", "consolidatedAfter"))
