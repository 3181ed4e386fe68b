"""Plan files: of today's version and of the first, as written by the last gpuslice that wrote it (v1alpha1/)."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuslice.artefacts.documents import Document, dump_yaml, parse_documents, read_documents, to_plain
from gpuslice.errors import InputError
from gpuslice.plan.artefact import API_VERSION, Extended
from gpuslice.plan.reading import plan_in, read_plan
from gpuslice.render.manifests import render
from gpuslice.verifier.verify import verify
from tests.planner.good_plans import case
from tests.render.plans import PLANS, SETTINGS

OLD = Path(__file__).parent / "v1alpha1"
NAMES = sorted(path.stem for path in OLD.iterdir())


def old(name):
    """An old plan as plain data, to be changed."""
    (document,) = read_documents(OLD / f"{name}.yaml")
    return document.data


def asks_of(name, workload):
    return next(
        each.asks for each in read_plan(str(OLD / f"{name}.yaml")).assignments if each.workload == workload
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_of_the_first_version_breaks_no_rule_and_renders(name):
    plan, good = read_plan(str(OLD / f"{name}.yaml")), case(name)
    assert plan.api_version == API_VERSION
    assert {each.carrier for each in plan.pools} == {"device-plugin"}
    assert verify(plan, good.workloads, good.catalog) == []
    assert render(plan, good.catalog, SETTINGS)


def test_the_files_hold_slots_metered_pools_mig_and_seats_and_say_so_in_the_old_way():
    assert NAMES == ["cut", "seated", "shared", "slots"]
    for name in NAMES:
        data = old(name)
        assert data["apiVersion"] == "gpuslice.io/v1alpha1"
        assert all("resource" in each and "asks" not in each for each in data["assignments"])


def test_what_pods_ask_for_is_what_the_old_file_says_in_four_fields():
    assert asks_of("slots", "red/app1") == Extended("nvidia.com/gpu.shared", 1)
    assert asks_of("shared", "red/embed") == Extended("nvidia.com/gpu.shared", 1, "6000Mi", 100)
    assert asks_of("shared", "blue/llm") == Extended("nvidia.com/gpu", 4)
    assert asks_of("cut", "blue/large") == Extended("nvidia.com/mig-3g.40gb", 1)
    (seat,) = {each["seat"] for each in old("seated")["assignments"] if each["workload"] == "red/a"}
    assert asks_of("seated", "red/a") == Extended("nvidia.com/gpu.shared", 1, seat=seat)


def test_whole_gpus_that_were_named_as_shared_ones_still_are():
    said = {each["name"]: each.get("resource") for each in old("seated")["pools"]}
    pools = read_plan(str(OLD / "seated.yaml")).pools
    shared = [each.name for each in pools if each.as_shared]
    assert shared
    assert all(said[name] == "nvidia.com/gpu.shared" for name in shared)
    assert all(each.layout.mechanism == "whole" for each in pools if each.as_shared)
    assert any(said[each.name] == "nvidia.com/gpu" for each in pools if not each.as_shared)


def broken(change):
    data = msgspec.json.decode(msgspec.json.encode(old("shared")))
    change(data)
    return [Document(data, "plan.yaml")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["assignments"][0].pop("resource"), "assignments[0].asks: has no resource"),
        (lambda d: d["assignments"][0].update(quantity=0), "assignments[0].asks.count: found 0"),
        (
            lambda d: d["assignments"][0].update(request={"memory": "6Gi"}),
            "assignments[0].request: unknown field",
        ),
        (lambda d: d["assignments"][0].update(ask="x"), "assignments[0].ask: unknown field"),
        (lambda d: d.update(assignments={}), "assignments: found"),
        (lambda d: d.update(pools=["p"]), "pools[0]: found"),
        (lambda d: d["pools"][0].update(layout="whole", resource="nvidia.com/gpu.shared"), "layout: found"),
        (
            lambda d: d.update(apiVersion="gpuslice.io/v1alpha3"),
            "apiVersion 'gpuslice.io/v1alpha3' is not one",
        ),
    ],
)
def test_what_is_wrong_in_an_old_file_is_said(change, message):
    with pytest.raises(InputError) as refused:
        plan_in(broken(change))
    assert message in str(refused.value)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_is_written_is_read_as_it_was(name):
    text = dump_yaml(PLANS[name])
    assert plan_in(parse_documents(text.encode(), "plan.yaml")) == PLANS[name]
    assert text.startswith(f"apiVersion: {API_VERSION}\n")


def test_a_file_says_in_which_form_pods_ask():
    plain: Any = to_plain(PLANS["metered"])
    asks = plain["assignments"][0]["asks"]
    assert asks == {
        "by": "extended-resources",
        "resource": "nvidia.com/gpu.shared",
        "count": 1,
        "gpuMemory": "6Gi",
        "gpuTime": 180,
    }
    asks["by"] = "a-smoke-signal"
    with pytest.raises(InputError, match=r"assignments\[0\].asks.by: found 'a-smoke-signal'"):
        plan_in([Document(plain, "plan.yaml")])


def test_two_documents_are_no_plan():
    two = parse_documents(dump_yaml(PLANS["mig"], PLANS["slots"]).encode(), "plan.yaml")
    with pytest.raises(InputError, match="holds 2 documents"):
        plan_in(two)
