"""The catalog as a file: what the bundled one holds, what is refused, and that writing and reading are inverse."""

import contextlib
import copy
import json
import os
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud import snapshot
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose, find, of_gpu
from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.hardware.gpus import GPUS

# EC2's names of GPUs that are not ours in another case.
EC2_GPU = {
    ("A100", 40960): "A100-40GB",
    ("A100", 81920): "A100-80GB",
    ("V100", 32768): "V100-32GB",
    ("T4g", 16384): "T4G",
    ("RTX PRO 4500", 32768): "RTX-PRO-4500",
    ("RTX PRO Server 6000", 98304): "RTX-PRO-6000",
}


@pytest.fixture(scope="module")
def nvidia(ec2_answers):
    """EC2's answer for each of its types with NVIDIA GPUs."""
    return {
        each["InstanceType"]: each
        for page in ec2_answers["us-east-1"]["describe_instance_types"]
        for each in page["InstanceTypes"]
        if any(gpu["Manufacturer"] == "NVIDIA" for gpu in each.get("GpuInfo", {}).get("Gpus", ()))
    }


def test_the_bundled_catalog_has_all_types_with_nvidia_gpus(nvidia):
    catalog = snapshot.bundled()
    assert catalog.region == "us-east-1"
    assert catalog.prices_date == "2026-07-20"
    assert len(catalog.instance_types) == 65
    assert [each.name for each in catalog.instance_types] == sorted(nvidia)
    assert {each.gpu for each in catalog.instance_types} == set(GPUS)


def test_sizes_and_gpus_are_what_ec2_itself_answers(nvidia):
    # Types that moto doesn't carry would be listed here; its copy has them all.
    assert {each.name for each in snapshot.bundled().instance_types} - set(nvidia) == set()
    for ours in snapshot.bundled().instance_types:
        theirs = nvidia[ours.name]
        (gpu,) = theirs["GpuInfo"]["Gpus"]
        memory = gpu["MemoryInfo"]["SizeInMiB"]
        architectures = {"amd64": ["x86_64"], "arm64": ["arm64"]}
        network = theirs["NetworkInfo"]
        card = network["NetworkCards"][network["DefaultNetworkCardIndex"]]
        pods = card["MaximumNetworkInterfaces"] * (network["Ipv4AddressesPerInterface"] - 1) + 2
        assert ours.vcpu == theirs["VCpuInfo"]["DefaultVCpus"], ours.name
        assert ours.memory_mib == theirs["MemoryInfo"]["SizeInMiB"], ours.name
        assert ours.gpu_count == gpu["Count"], ours.name
        assert ours.gpu_memory_mib == memory, ours.name
        assert ours.gpu == EC2_GPU.get((gpu["Name"], memory), gpu["Name"]), ours.name
        assert ours.gpu_fraction == Fraction(gpu["GpuPartitionSize"]), ours.name
        assert architectures[ours.arch] == theirs["ProcessorInfo"]["SupportedArchitectures"], ours.name
        assert ours.max_pods == pods, ours.name


def test_fractional_types_are_parts_of_a_card():
    types = snapshot.bundled().by_name()
    fractional = {each.name: each.gpu_fraction for each in types.values() if not each.gpu_count}
    assert fractional == {
        "g6f.large": Fraction(1, 8),
        "g6f.xlarge": Fraction(1, 8),
        "g6f.2xlarge": Fraction(1, 4),
        "g6f.4xlarge": Fraction(1, 2),
        "gr6f.4xlarge": Fraction(1, 2),
    }


def test_a_price_that_nobody_published_is_absent_not_invented():
    types = snapshot.bundled().instance_types
    assert {each.name for each in types if Purchase.ON_DEMAND not in each.prices} == {"p5e.48xlarge"}
    assert not any(Purchase.SPOT in each.prices or Purchase.RESERVED in each.prices for each in types)
    assert snapshot.bundled().by_name()["g6.xlarge"].prices[Purchase.ON_DEMAND] == 804_800


def test_the_bundled_file_is_what_writing_it_again_gives():
    from importlib import resources

    text = resources.files("gpuslice.cloud").joinpath("data", snapshot.BUNDLED).read_text()
    assert snapshot.render(snapshot.bundled()) == text
    assert max(map(len, text.splitlines())) < 250  # one type, one line: a changed price is one changed line


def entries():
    def entry(index, gpu, fraction, vcpu, memory, pods, prices):
        part = fraction or 1
        written = {
            "name": f"t{index}.large",
            "arch": "amd64",
            "gpu": gpu,
            "gpuCount": 0 if fraction else 2,
            "gpuMemory": f"{int(GPUS[gpu].memory_mib * part)}Mi",
            "vcpu": vcpu,
            "memory": f"{memory}Mi",
            "maxPods": pods,
            "usdPerHour": {purchase: micro / 1_000_000 for purchase, micro in prices.items()},
        }
        return written | ({"gpuFraction": str(fraction)} if fraction else {})

    return st.builds(
        entry,
        st.integers(0, 10**6),
        st.sampled_from(sorted(GPUS)),
        st.sampled_from([None, Fraction(1, 8), Fraction(3, 4)]),
        st.integers(1, 448),
        st.integers(16384, 2**22),
        st.integers(4, 500),
        st.dictionaries(st.sampled_from(list(map(str, Purchase))), st.integers(1_000, 10**10)),
    )


def file_of(types, **fields):
    return {
        "apiVersion": "gpuslice.io/v1alpha1",
        "kind": "Catalog",
        "region": "eu-west-1",
        "prices": "2026-11-22",
        "source": "a test",
        "instanceTypes": types,
    } | fields


@given(st.lists(entries(), min_size=1, max_size=5, unique_by=lambda each: each["name"]))
def test_a_catalog_written_and_read_again_is_the_same(types):
    catalog = snapshot.catalog_of(msgspec.convert(file_of(types), snapshot.CatalogFile))
    again = msgspec.json.decode(snapshot.render(catalog), type=snapshot.CatalogFile)
    assert snapshot.catalog_of(again) == catalog
    assert [each.name for each in catalog.instance_types] == sorted(each["name"] for each in types)


def test_a_file_may_be_json_or_yaml(tmp_path):
    as_json, as_yaml = tmp_path / "catalog.json", tmp_path / "catalog.yaml"
    snapshot.write(snapshot.bundled(), str(as_json))
    assert snapshot.read(str(as_json)) == snapshot.bundled()
    as_yaml.write_text(
        "apiVersion: gpuslice.io/v1alpha1\nkind: Catalog\nregion: eu-west-1\nprices: '2026-11-22'\n"
        "instanceTypes:\n"
        "- {name: g6.xlarge, arch: amd64, gpu: L4, gpuCount: 1, gpuMemory: 22888Mi, vcpu: 4, memory: 16Gi,"
        " maxPods: 58, usdPerHour: {on-demand: 0.9, spot: 0.3}}\n"
    )
    (only,) = snapshot.read(str(as_yaml)).instance_types
    assert only.prices == {Purchase.ON_DEMAND: 900_000, Purchase.SPOT: 300_000}


GOOD = {
    "name": "g6.xlarge",
    "arch": "amd64",
    "gpu": "L4",
    "gpuCount": 1,
    "gpuMemory": "22888Mi",
    "vcpu": 4,
    "memory": "16Gi",
    "maxPods": 58,
    "usdPerHour": {"on-demand": 0.8048},
}
PLACE = "instanceTypes[1] (g6.2xlarge)"


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"usdPerHour": {"on-demand": 0}}, f"{PLACE}.usdPerHour.on-demand", "$0 per hour can't be its price"),
        ({"usdPerHour": {"spot": -1.5}}, f"{PLACE}.usdPerHour.spot", "$-1.5 per hour"),
        ({"usdPerHour": {"on-demand": 1e9}}, f"{PLACE}.usdPerHour.on-demand", "$1e+09 per hour"),
        ({"usdPerHour": {"on-demand": float("nan")}}, f"{PLACE}.usdPerHour.on-demand", "no number"),
        ({"usdPerHour": {"on-demand": "0.8"}}, f"{PLACE}.usdPerHour.on-demand", "without quotes"),
        ({"usdPerHour": {"ondemand": 80}}, f"{PLACE}.usdPerHour.ondemand", "did you mean 'on-demand'"),
        ({"gpu": "L40"}, f"{PLACE}.gpu", "did you mean 'L40S'? known: T4, "),
        ({"gpu": "MI300X"}, f"{PLACE}.gpu", "known: T4, "),
        ({"gpuMemory": "183104Mi"}, f"{PLACE}.gpuMemory", "isn't L4's"),
        ({"gpuMemory": "22888"}, f"{PLACE}.gpuMemory", "has no unit"),
        ({"gpuMemory": "-1Gi"}, f"{PLACE}.gpuMemory", "is not positive"),
        ({"memory": "16"}, f"{PLACE}.memory", "has no unit"),
        ({"memory": "1Gi"}, f"{PLACE}.memory", "leaves no memory for pods"),
        ({"memory": "9Ei"}, f"{PLACE}.memory", "beyond 64 bits"),
        ({"memory": "2Pi"}, f"{PLACE}.memory", "more than any machine has"),
        ({"gpuCount": 0}, f"{PLACE}.gpuFraction", "'' is not a part of a card"),
        ({"gpuCount": 0, "gpuFraction": "1/0"}, f"{PLACE}.gpuFraction", "is not a part of a card"),
        ({"gpuCount": 0, "gpuFraction": "9/8"}, f"{PLACE}.gpuFraction", "is not a part of a card"),
        ({"gpuCount": 0, "gpuFraction": "²/8"}, f"{PLACE}.gpuFraction", "is not a part of a card"),
        ({"gpuFraction": "1/8"}, f"{PLACE}.gpuFraction", "exclude each other"),
        ({"vcpu": 0}, f"{PLACE}.vcpu", "found 0"),
        ({"maxPods": -1}, f"{PLACE}.maxPods", "found -1"),
        ({"arch": "x86_64"}, f"{PLACE}.arch", "amd64, arm64"),
        ({"vcpus": 8}, f"{PLACE}.vcpus", "did you mean 'vcpu'"),
        ({"name": "g6.xlarge"}, "instanceTypes[1] (g6.xlarge)", "is listed twice"),
    ],
)
def test_a_wrong_type_is_refused_with_file_field_and_fix(tmp_path, changes, place, said):
    path = tmp_path / "catalog.yaml"
    path.write_text(
        json.dumps(file_of([GOOD, GOOD | {"name": "g6.2xlarge"} | changes])).replace("NaN", ".nan")
    )
    with pytest.raises(InputError) as caught:
        snapshot.read(str(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: {place}"), text
    assert said in text
    assert len(text.splitlines()) == 2
    assert len(text) < 600


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prices": "yesterday"}, "prices: 'yesterday' is not a date"),
        ({"region": "Virginia"}, "region: found"),
        ({"instanceTypes": []}, "instanceTypes: is empty"),
        ({"kind": "Plan"}, "kind Catalog is wanted"),
        ({"apiVersion": "gpuslice.io/v2"}, "apiVersion"),
        ({"reigon": "x"}, "did you mean 'region'"),
    ],
)
def test_a_wrong_head_is_refused(tmp_path, fields, said):
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(file_of([GOOD], **fields)))
    with pytest.raises(InputError) as caught:
        snapshot.read(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_several_documents_are_no_catalog(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text("a: 1\n---\nb: 2\n")
    with pytest.raises(InputError, match="has 2 documents"):
        snapshot.read(str(path))


@given(st.data())
def test_a_mutated_file_is_read_or_refused_never_worse(data):
    content = copy.deepcopy(file_of([dict(GOOD)]))
    where = data.draw(st.sampled_from([content, content["instanceTypes"][0]]))
    key = data.draw(st.sampled_from(sorted(where)))
    junk = st.none() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
    where[key] = data.draw(junk | st.dictionaries(st.text(max_size=3), junk, max_size=2))
    from gpuslice.artefacts.strict import decode

    with contextlib.suppress(InputError):
        catalog = snapshot.catalog_of(decode(content, snapshot.CatalogFile, where="catalog.yaml"))
        assert all(price > 0 for each in catalog.instance_types for price in each.prices.values())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "catalog.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space left"):
        snapshot.write(snapshot.bundled(), str(path))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["catalog.json"]


def test_another_regions_prices_are_never_taken():
    assert choose("", "us-east-1") is snapshot.bundled()
    with pytest.raises(InputError, match="prices of us-east-1, not of eu-west-1") as caught:
        choose("", "eu-west-1")
    assert "gpuslice catalog refresh --region eu-west-1" in caught.value.fix


def test_types_are_found_by_gpu_and_by_name():
    catalog = snapshot.bundled()
    assert {each.family for each in of_gpu(catalog, "l40s").instance_types} == {"g6e"}
    assert of_gpu(catalog, "") is catalog
    only_g6e = of_gpu(catalog, "L40S")
    with pytest.raises(AnswerIsNoError, match="no instance type with T4"):
        of_gpu(only_g6e, "T4")
    assert find(catalog, "g6.xlarge").gpu == "L4"
    with pytest.raises(InputError, match=r"did you mean 'g6\.xlarge'"):
        find(catalog, "g6.xlage")
