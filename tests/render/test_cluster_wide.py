"""One setting for a whole cluster: what is accepted, the rendered bytes, and that the operator takes them."""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.render.cluster_wide import Setting, notes, parse, render
from tests.render import schemas

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = {
    "cluster-wide-time-slicing": "time-slicing=4",
    "cluster-wide-mps": "mps=4",
    "cluster-wide-mig": "mig=all-1g.10gb",
}
every_setting = pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)


# Less than a plan sets: what isn't named stays as it is.


class MigManager(schemas.Strict):
    env: list[schemas.EnvVar]


class Spec(schemas.Strict):
    device_plugin: schemas.WithConfig
    mig: schemas.PolicyMig | None = None
    mig_manager: MigManager | None = None


class Patch(schemas.Strict):
    spec: Spec


class ValuesMig(schemas.Strict):
    strategy: Literal["", "single"]


class Values(schemas.Strict):
    driver: schemas.Enabled
    toolkit: schemas.Enabled
    device_plugin: schemas.WithConfig
    mig: ValuesMig | None = None
    mig_manager: MigManager | None = None


OTHERS: dict[str, Any] = {
    "gpu-operator/values.yaml": Values,
    "gpu-operator/cluster-policy-patch.yaml": Patch,
    "kustomization.yaml": schemas.Kustomization,
}


def rendered(text, namespace="gpu-operator"):
    return render(parse(text), namespace)


def patch(text):
    return yaml.safe_load(rendered(text)["gpu-operator/cluster-policy-patch.yaml"])["spec"]


def entries(text):
    [config_map] = schemas.parse(rendered(text)["gpu-operator/device-plugin-config.yaml"])
    return config_map.data


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_renders_the_same_bytes_as_ever(name):
    files = rendered(SETTINGS[name])
    folder = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    kept = {
        each.relative_to(folder).as_posix(): each.read_text() for each in folder.rglob("*") if each.is_file()
    }
    assert dict(files) == kept


@every_setting
def test_every_document_is_one_that_its_api_accepts(text):
    for path, written in rendered(text).items():
        if path.endswith(".yaml"):
            assert schemas.parse(written, OTHERS.get(path, schemas.OBJECT))


@every_setting
def test_a_misspelt_field_would_be_noticed(text):
    written = rendered(text)["gpu-operator/cluster-policy-patch.yaml"]
    with pytest.raises(msgspec.ValidationError):
        schemas.parse(written.replace("devicePlugin:", "deviceplugin:"), Patch)


@every_setting
def test_the_default_is_the_one_entry_and_the_device_plugin_accepts_it(text):
    [(key, entry)] = entries(text).items()
    assert patch(text)["devicePlugin"]["config"] == {"name": "gpuslice-device-plugin", "default": key}
    values = yaml.safe_load(rendered(text)["gpu-operator/values.yaml"])
    assert values["devicePlugin"] == patch(text)["devicePlugin"]
    assert schemas.parse(entry, schemas.DevicePluginConfig)


@pytest.mark.parametrize(("kind", "section"), [("time-slicing", "timeSlicing"), ("mps", "mps")])
def test_pods_go_on_asking_for_the_same_resource(kind, section):
    [entry] = entries(f"{kind}=4").values()
    assert yaml.safe_load(entry)["sharing"] == {
        section: {
            "renameByDefault": False,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
        }
    }


def test_another_number_is_another_entry():
    assert set(entries("time-slicing=4")).isdisjoint(entries("time-slicing=5"))


def test_time_slicing_leaves_mig_as_it_is_and_mps_leaves_no_strategy_that_it_would_be_refused_under():
    assert "mig" not in patch("time-slicing=4")
    assert patch("mps=4")["mig"] == {"strategy": None}


def test_mig_is_single_and_the_operators_default_layout_is_left_alone():
    spec = patch("mig=all-1g.10gb")
    assert spec["mig"] == {"strategy": "single"}
    assert "config" not in spec["migManager"]  # it takes no default but all-disabled
    assert (
        "kubectl label node NODE nvidia.com/mig.config=all-1g.10gb"
        in rendered("mig=all-1g.10gb")["README.md"]
    )


def test_only_an_a100_may_need_a_reboot():
    assert patch("mig=all-1g.5gb")["migManager"] == {"env": [{"name": "WITH_REBOOT", "value": "true"}]}
    assert "migManager" not in patch("mig=all-1g.18gb")


def test_every_plain_profile_of_every_gpu_is_accepted_and_no_other():
    for gpu in GPUS.values():
        for each in gpu.mig.profiles if gpu.mig else ():
            if each.media_extensions:
                with pytest.raises(InputError, match="no way to cut every GPU alike"):
                    parse(f"mig=all-{each.name}")
            else:
                assert parse(f"mig=all-{each.name}") == Setting(Mechanism.MIG, profile=each.name)


@pytest.mark.parametrize(("text", "slots"), [("time-slicing=2", 2), ("time-slicing=48", 48), ("mps=48", 48)])
def test_two_to_forty_eight_pods_may_share_a_gpu(text, slots):
    assert parse(text).slots == slots


@pytest.mark.parametrize(
    ("text", "found", "fix"),
    [
        (
            "time-slicing=1",
            "'1' is no number of pods that can share a GPU by time-slicing",
            "time-slicing=2 to ",
        ),
        ("time-slicing=49", "'49' is no number", "time-slicing=48"),
        ("time-slicing=x", "'x' is no number", "time-slicing=2"),
        ("time-slicing=4.0", "'4.0' is no number", "time-slicing=2"),
        ("time-slicing=٤", "'٤' is no number", "time-slicing=2"),
        ("time-slicing=-4", "'-4' is no number", "time-slicing=2"),
        ("time-slicing", "'' is no number", "time-slicing=2"),
        ("mps=0", "'0' is no number of pods that can share a GPU by mps", "mps=2 to mps=48"),
        ("mig=all-9g.1gb", "'all-9g.1gb' is no way to cut", "nearest is mig=all-1g.5gb, which A100-40GB can"),
        ("mig=1g.10gb", "'1g.10gb' is no way", "mig=all-1g.10gb, which A100-40GB, A100-80GB and H100 can"),
        ("mig=all-1g.36gb", "'all-1g.36gb' is no way", "mig=all-1g.35gb, which H200 can"),
        ("mig=all-balanced", "'all-balanced' is no way", "such as mig=all-1g.10gb"),
        ("timeslicing=4", "'timeslicing=4' is nothing", "did you mean 'time-slicing'?"),
        ("", "'' is nothing", "write time-slicing=4, mps=4 or mig=all-1g.10gb"),
        ("x" * 10_000_000, "is nothing that a whole cluster", "write time-slicing=4"),
    ],
    ids=lambda each: each[:20],
)
def test_what_is_no_setting_is_refused_with_what_would_be_one(text, found, fix):
    with pytest.raises(InputError) as refused:
        parse(text)
    assert found in refused.value.message
    assert fix in refused.value.fix
    assert len(str(refused.value)) < 250
    assert refused.value.where == "--cluster-wide"


def test_what_is_left_open_is_said():
    assert "no limit of memory" in notes(parse("time-slicing=4"))[0]
    assert "1/4 of its memory" in notes(parse("mps=4"))[0]
    assert "nvidia.com/mig.config=all-1g.10gb" in notes(parse("mig=all-1g.10gb"))[0]
    for text in SETTINGS.values():
        assert any("Karpenter isn't told" in each for each in notes(parse(text)))
    assert [each for each in notes(parse("mps=17")) if "V100" in each]
    assert not [each for each in notes(parse("mps=16")) if "V100" in each]
