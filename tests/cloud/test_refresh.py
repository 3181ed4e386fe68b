"""A refresh, against EC2's own answers (as moto carries them) and against AWS's wire format for the rest."""

import copy
import datetime as dt
import io
import json
import sys
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud import aws, snapshot
from gpuslice.cloud.aws import Clients, connect, dollars
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.ec2 import gpu_instance_types, spot_prices
from gpuslice.cloud.price_list import on_demand_prices
from gpuslice.cloud.refresh import refresh
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError, InputError

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


class Answers:
    """A client whose operations answer with the pages given to it, and which remembers what it was asked."""

    def __init__(self, **pages):
        self.pages = pages
        self.asked = []

    def get_paginator(self, operation):
        answers = self

        class Pages:
            def paginate(self, **parameters):
                answers.asked.append((operation, parameters))
                found = answers.pages[operation]
                return iter(found(parameters) if callable(found) else found)

        return Pages()


@pytest.fixture(scope="module")
def us_east_1(ec2_answers):
    return ec2_answers["us-east-1"]


def listed(name, usd, *, unit="Hrs", currency="USD"):
    dimension = {"unit": unit, "pricePerUnit": {currency: usd}, "description": "ignored"}
    return json.dumps(
        {
            "product": {"attributes": {"instanceType": name, "vcpu": "4"}, "sku": "A"},
            "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}},
        }
    )


def asked(name, zone, usd, minutes_ago=0, product="Linux/UNIX"):
    return {
        "InstanceType": name,
        "AvailabilityZone": zone,
        "ProductDescription": product,
        "SpotPrice": usd,
        "Timestamp": NOW - dt.timedelta(minutes=minutes_ago),
    }


def test_a_refresh_finds_every_type_that_the_region_offers_with_the_sizes_of_the_bundled_one(us_east_1):
    prices = [{"PriceList": [listed("g6.xlarge", "0.8048000000"), listed("m5.large", "0.096")]}]
    spot = [{"SpotPriceHistory": [asked("g6.xlarge", "us-east-1a", "0.31")]}]
    ec2 = Answers(**us_east_1, describe_spot_price_history=spot)
    made = refresh(Clients(ec2, Answers(get_products=prices)), "us-east-1", NOW)
    offered = [
        each for each in snapshot.bundled().instance_types if each.name != "p5e.48xlarge"
    ]  # as EC2 says
    assert [replace(each, prices={}) for each in made.catalog.instance_types] == [
        replace(each, prices={}) for each in offered
    ]
    g6 = made.catalog.by_name()["g6.xlarge"]
    assert g6.prices == {Purchase.ON_DEMAND: 804_800, Purchase.SPOT: 310_000}
    assert (made.catalog.region, made.catalog.prices_date) == ("us-east-1", "2026-11-22")
    assert "g6.2xlarge has no on-demand price in the Price List" in made.notes
    assert len(made.notes) == len(offered) - 1


def test_a_refreshed_catalog_is_what_the_catalog_option_takes(us_east_1, tmp_path):
    ec2 = Answers(**us_east_1, describe_spot_price_history=[])
    made = refresh(Clients(ec2, Answers(get_products=[])), "us-east-1", NOW)
    path = str(tmp_path / "catalog.json")
    snapshot.write(made.catalog, path)
    assert snapshot.read(path) == made.catalog


def test_another_region_has_only_what_it_offers(ec2_answers):
    entries, skipped = gpu_instance_types(Answers(**ec2_answers["eu-west-1"]))
    names = {each.name for each in entries}
    assert "g4dn.xlarge" in names
    assert "p5.48xlarge" not in names
    assert not skipped


def test_ec2_types_are_read_in_pages(us_east_1):
    types = [each for page in us_east_1["describe_instance_types"] for each in page["InstanceTypes"]]
    pages = [{"InstanceTypes": types[at : at + 10]} for at in range(0, len(types), 10)]
    assert len(pages) > 5
    entries, _ = gpu_instance_types(Answers(**us_east_1 | {"describe_instance_types": pages}))
    assert len(entries) == 64


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ({"Name": "R100", "Count": 8}, "8 R100 with 22888 MiB"),
        ({"MemoryInfo": {"SizeInMiB": 99999}}, "1 L4 with 99999 MiB"),
        ({"Count": 0, "MemoryInfo": {"SizeInMiB": 7000}}, "a part of L4 with 7000 MiB"),
        ({"Count": 0, "LogicalGpuCount": 2, "MemoryInfo": {"SizeInMiB": 11444}}, "a part of L4"),
    ],
)
def test_a_gpu_that_nobody_knows_is_left_out_with_a_note_never_guessed(us_east_1, gpu, said):
    answers = copy.deepcopy(us_east_1)
    (g6,) = (
        each
        for page in answers["describe_instance_types"]
        for each in page["InstanceTypes"]
        if each["InstanceType"] == "g6.xlarge"
    )
    g6["GpuInfo"]["Gpus"][0].update(gpu)
    entries, skipped = gpu_instance_types(Answers(**answers))
    assert "g6.xlarge" not in {each.name for each in entries}
    assert len(entries) == 63
    (note,) = skipped
    assert note.startswith("g6.xlarge is left out: ")
    assert said in note


def test_only_the_default_network_card_has_addresses_for_pods(us_east_1):
    answers = copy.deepcopy(us_east_1)
    types = [each for page in answers["describe_instance_types"] for each in page["InstanceTypes"]]
    (p5,) = (each for each in types if each["InstanceType"] == "p5.48xlarge")
    p5["NetworkInfo"]["NetworkCards"][3]["MaximumNetworkInterfaces"] = 5
    p5["NetworkInfo"]["DefaultNetworkCardIndex"] = 3
    entries, _ = gpu_instance_types(Answers(**answers))
    assert {each.max_pods for each in entries if each.name == "p5.48xlarge"} == {5 * 49 + 2}


def test_fractions_are_told_by_memory_where_boto3_is_too_old_to_pass_them_on(us_east_1):
    answers = copy.deepcopy(us_east_1)
    for page in answers["describe_instance_types"]:
        for each in page["InstanceTypes"]:
            for gpu in each.get("GpuInfo", {}).get("Gpus", ()):
                gpu.pop("GpuPartitionSize", None)
                gpu.pop("LogicalGpuCount", None)
    entries, skipped = gpu_instance_types(Answers(**answers))
    assert {each.name: each.gpu_fraction for each in entries if each.gpu_fraction} == {
        "g6f.large": "1/8",
        "g6f.xlarge": "1/8",
        "g6f.2xlarge": "1/4",
        "g6f.4xlarge": "1/2",
        "gr6f.4xlarge": "1/2",
    }
    assert not skipped


def test_a_region_without_gpus_is_an_answer(us_east_1):
    ec2 = Answers(**us_east_1 | {"describe_instance_type_offerings": [{}]})
    with pytest.raises(AnswerIsNoError, match="no GPU that gpuslice knows in us-east-1"):
        refresh(Clients(ec2, Answers()), "us-east-1", NOW)


def test_on_demand_prices_are_of_linux_shared_or_bare_metal():
    def pages(parameters):
        filters = {each["Field"]: each["Value"] for each in parameters["Filters"]}
        assert {each["Type"] for each in parameters["Filters"]} == {"TERM_MATCH"}
        assert filters["regionCode"] == "eu-west-1"
        assert (filters["operatingSystem"], filters["preInstalledSw"]) == ("Linux", "NA")
        assert filters["capacitystatus"] == "Used"
        metal = filters["productFamily"] == "Compute Instance (bare metal)"
        assert filters["tenancy"] == ("Dedicated" if metal else "Shared")
        return (
            [{"PriceList": [listed("g4dn.metal", "7.8")]}]
            if metal
            else [{"PriceList": [listed("g6.xlarge", "0.9")]}]
        )

    prices = on_demand_prices(Answers(get_products=pages), "eu-west-1", ["g6.xlarge", "g4dn.metal"])
    assert prices == {"g6.xlarge": 0.9, "g4dn.metal": 7.8}


def test_a_listed_price_is_taken_only_where_it_is_one():
    page = {
        "PriceList": [
            listed("zero", "0.0000000000"),
            listed("yuan", "5.5", currency="CNY"),
            listed("upfront", "30000", unit="Quantity"),
            listed("words", "free"),
            listed("twice", "1.5"),
            listed("twice", "1.0"),
            listed("unasked", "1.0"),
        ]
    }
    wanted = ["zero", "yuan", "upfront", "words", "twice"]
    assert on_demand_prices(Answers(get_products=[page]), "us-east-1", wanted) == {"twice": 1.5}


def test_spot_is_the_middle_of_the_zones_newest_prices():
    history = [
        asked("g6.xlarge", "a", "0.20", minutes_ago=60),
        asked("g6.xlarge", "a", "0.40", minutes_ago=5),
        asked("g6.xlarge", "a", "0.10", minutes_ago=30),
        asked("g6.xlarge", "b", "0.30"),
        asked("g6.xlarge", "c", "0.90", product="Linux/UNIX (Amazon VPC)"),
        asked("g6.xlarge", "d", "0.01", product="Windows"),
        asked("g5.xlarge", "a", "0.50"),
        asked("g5.xlarge", "b", "0.60"),
        asked("g4dn.xlarge", "a", "0"),
    ]
    ec2 = Answers(
        describe_spot_price_history=[{"SpotPriceHistory": history[:4]}, {"SpotPriceHistory": history[4:]}]
    )
    names = ["g4dn.xlarge", "g5.xlarge", "g6.xlarge"]
    assert spot_prices(ec2, names, NOW) == {"g6.xlarge": 0.4, "g5.xlarge": 0.6}
    ((_, parameters),) = ec2.asked
    assert parameters["InstanceTypes"] == names
    assert parameters["StartTime"] == NOW


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_spot_is_always_a_price_that_some_zone_asks_and_never_below_the_middle(milli_usd):
    history = [asked("g6.xlarge", f"zone-{at}", f"{price / 1000}") for at, price in enumerate(milli_usd)]
    found = spot_prices(
        Answers(describe_spot_price_history=[{"SpotPriceHistory": history}]), ["g6.xlarge"], NOW
    )
    price = found["g6.xlarge"]
    assert price in {each / 1000 for each in milli_usd}
    assert sum(each / 1000 <= price for each in milli_usd) * 2 >= len(milli_usd)


@given(st.text(max_size=12) | st.decimals(allow_nan=True).map(str))
def test_a_price_is_dollars_or_nothing(text):
    found = dollars(text)
    assert found is None or snapshot.LEAST_USD <= found <= snapshot.MOST_USD


def test_an_answer_in_another_form_is_named():
    ec2 = Answers(describe_spot_price_history=[{"SpotPriceHistory": [{"InstanceType": 7}]}])
    with pytest.raises(EnvironmentFailedError, match="describe_spot_price_history answered in a form"):
        spot_prices(ec2, ["g6.xlarge"], NOW)


# --- The wire: pages, throttling, failures ---------------------------------------------------------------------


class Wire:
    """AWS's end of the connection: answers requests from a list by operation, each used once."""

    def __init__(self, monkeypatch):
        self.answers = {}
        self.calls: Counter[str] = Counter()
        self.hosts: set[str] = set()
        self.tokens: list[str | None] = []
        self.slept: list[float] = []
        monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", self.send)
        monkeypatch.setattr("botocore.endpoint.time.sleep", self.slept.append)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.delenv("AWS_PROFILE", raising=False)

    def send(self, request):
        self.hosts.add(urlsplit(request.url).hostname)
        target = request.headers.get("X-Amz-Target")
        if target:
            operation = (
                target.decode().rpartition(".")[2] if isinstance(target, bytes) else target.rpartition(".")[2]
            )
            self.tokens.append(json.loads(request.body).get("NextToken"))
        else:
            body = request.body.decode() if isinstance(request.body, bytes) else request.body
            form = parse_qs(body) if isinstance(body, str) else {key: [value] for key, value in body.items()}
            operation = form["Action"][0]
            self.tokens.append(form.get("NextToken", [None])[0])
        self.calls[operation] += 1
        queue = self.answers[operation]
        status, content = queue.pop(0) if len(queue) > 1 else queue[0]
        return AWSResponse(request.url, status, {}, Body(content.encode()))


class Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, **_):
        yield self.read()


def spot_page(zone, usd, token=""):
    return (
        200,
        f"""<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <spotPriceHistorySet><item><instanceType>g6.xlarge</instanceType>
        <productDescription>Linux/UNIX</productDescription><spotPrice>{usd}</spotPrice>
        <timestamp>2026-11-22T11:00:00.000Z</timestamp><availabilityZone>{zone}</availabilityZone></item>
        </spotPriceHistorySet><nextToken>{token}</nextToken></DescribeSpotPriceHistoryResponse>""",
    )


def ec2_error(status, code):
    return (
        status,
        f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>",
    )


@pytest.fixture
def wire(monkeypatch):
    return Wire(monkeypatch)


def test_a_long_history_is_read_to_its_last_page(wire):
    wire.answers["DescribeSpotPriceHistory"] = [
        spot_page("a", "0.1", "next"),
        spot_page("b", "0.3", ""),
        None,
    ]
    prices = spot_prices(connect("eu-west-1").ec2, ["g6.xlarge"], NOW)
    assert prices == {"g6.xlarge": 0.3}
    assert wire.tokens == [None, "next"]


def test_a_long_price_list_is_read_to_its_last_page(wire):
    first = {"FormatVersion": "aws_v1", "PriceList": [listed("g6.xlarge", "0.9")], "NextToken": "next"}
    second = {"FormatVersion": "aws_v1", "PriceList": [listed("g5.xlarge", "1.1")]}
    empty = {"FormatVersion": "aws_v1", "PriceList": []}
    wire.answers["GetProducts"] = [(200, json.dumps(each)) for each in (first, second, empty)]
    prices = on_demand_prices(connect("eu-west-1").price_list, "eu-west-1", ["g5.xlarge", "g6.xlarge"])
    assert prices == {"g6.xlarge": 0.9, "g5.xlarge": 1.1}
    assert wire.tokens == [None, "next", None]


def test_throttling_is_waited_out(wire):
    throttled = ec2_error(503, "RequestLimitExceeded")
    wire.answers["DescribeSpotPriceHistory"] = [throttled, throttled, throttled, spot_page("a", "0.2"), None]
    assert spot_prices(connect("eu-west-1").ec2, ["g6.xlarge"], NOW) == {"g6.xlarge": 0.2}
    assert wire.calls["DescribeSpotPriceHistory"] == 4
    assert len(wire.slept) == 3


def test_throttling_without_end_is_a_failure_of_the_environment(wire):
    wire.answers["DescribeSpotPriceHistory"] = [ec2_error(503, "RequestLimitExceeded")]
    with pytest.raises(EnvironmentFailedError, match="RequestLimitExceeded") as caught:
        spot_prices(connect("eu-west-1").ec2, ["g6.xlarge"], NOW)
    assert caught.value.exit_code == 3
    assert wire.calls["DescribeSpotPriceHistory"] == aws.ATTEMPTS


def test_a_refused_call_is_not_repeated_and_the_permissions_are_named(wire):
    wire.answers["DescribeSpotPriceHistory"] = [ec2_error(403, "UnauthorizedOperation")]
    with pytest.raises(EnvironmentFailedError, match="UnauthorizedOperation") as caught:
        spot_prices(connect("eu-west-1").ec2, ["g6.xlarge"], NOW)
    assert wire.calls["DescribeSpotPriceHistory"] == 1
    assert all(each in caught.value.fix for each in aws.PERMISSIONS)
    assert len(str(caught.value).splitlines()) == 2


def test_missing_credentials_are_a_failure_in_words(wire, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(EnvironmentFailedError, match="Unable to locate credentials"):
        spot_prices(connect("eu-west-1").ec2, ["g6.xlarge"], NOW)


def test_the_price_list_is_asked_where_it_is_served(wire):
    clients = connect("ap-southeast-2")
    wire.answers["GetProducts"] = [(200, '{"PriceList": []}')]
    wire.answers["DescribeSpotPriceHistory"] = [spot_page("a", "0.1"), None]
    on_demand_prices(clients.price_list, "ap-southeast-2", [])
    spot_prices(clients.ec2, [], NOW)
    assert wire.hosts == {"api.pricing.us-east-1.amazonaws.com", "ec2.ap-southeast-2.amazonaws.com"}


def test_without_boto3_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(EnvironmentFailedError, match="needs boto3") as caught:
        connect("eu-west-1")
    assert "gpuslice[aws]" in caught.value.fix


@pytest.mark.parametrize("region", ["", "Ireland", "eu-west", "eu-west-1a", "eu-west-1\n", "x" * 10_000])
def test_what_is_no_region_is_refused_before_anything_is_asked(region):
    with pytest.raises(InputError, match="is not the name of a region"):
        connect(region)
