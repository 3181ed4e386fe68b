"""`gpuslice catalog`: what goes to stdout, in each form; refusals; and that a listed catalog is one to plan with."""

import datetime as dt
import json
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from gpuslice.cli.catalog import app
from gpuslice.cloud import aws, refresh, snapshot
from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import EnvironmentFailedError, InputError


@pytest.fixture
def run():
    """Run `gpuslice catalog …`: stdout and stderr of a call that must succeed; errors come up as they are."""

    def call(*arguments):
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return result.stdout, result.stderr

    return call


def test_without_a_verb_it_lists_every_type(run):
    out, said = run()
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "GPU", "GPUS"]
    assert len(lines) == 66
    assert said == "us-east-1, prices of 2026-07-20, Linux\n"
    assert run("list") == (out, said)


def test_a_list_of_one_gpu_is_cheapest_first(run):
    out, _ = run("list", "--gpu", "l4")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert {row[1] for row in rows} == {"L4"}
    assert rows[0][:3] == ["g6f.large", "L4", "1/8"]
    prices = [float(row[7].removeprefix("$")) for row in rows]
    assert prices == sorted(prices)


def test_a_missing_price_is_a_dash_and_last(run):
    out, _ = run("list", "--gpu", "H200")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["p5en.48xlarge", "p5e.48xlarge"]
    assert out.splitlines()[-1].split()[-2:] == ["-", "-"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_listed_catalog_is_what_the_catalog_option_takes(run, tmp_path, form):
    out, _ = run("list", "--gpu", "L4", "-o", form)
    path = tmp_path / f"l4.{form}"
    path.write_text(out)
    assert run("list", "--catalog", str(path), "-o", form)[0] == out
    types = (json.loads if form == "json" else yaml.safe_load)(out)["instanceTypes"]
    assert len(types) == 15
    assert {"name": "g6.xlarge", "usdPerHour": {"on-demand": 0.8048}}.items() <= next(
        each for each in types if each["name"] == "g6.xlarge"
    ).items()


def test_names_are_one_a_line(run):
    assert run("list", "--gpu", "T4G", "-o", "name")[0].splitlines() == [
        "g5g.16xlarge",
        "g5g.2xlarge",
        "g5g.4xlarge",
        "g5g.8xlarge",
        "g5g.metal",
        "g5g.xlarge",
    ]
    assert run("show", "g6.xlarge", "-o", "name")[0] == "g6.xlarge\n"


def test_spot_prices_are_shown_where_the_catalog_has_them(run, tmp_path):
    content = json.loads(run("list", "--gpu", "L4", "-o", "json")[0])
    content["instanceTypes"][0]["usdPerHour"]["spot"] = 0.25
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(content))
    out, _ = run("list", "--catalog", str(path))
    assert out.splitlines()[0].endswith("$/HOUR SPOT")
    assert out.count("$0.2500") == 1


def test_show_says_what_a_person_asks_of_a_type(run):
    out, _ = run("show", "p5.48xlarge")
    for words in (
        "192 vCPU, 2048Gi",
        "cpu 191450m, memory 1938410Mi, 100 pods",
        "8 × H100",
        "$55.0400 an hour, $40,179 a month, $6.8800 an hour for each whole card",
        "whole, time-slicing, mps, mig",
        "1g.10gb",
        "(assumed)",
    ):
        assert words in out


def test_show_for_programs_has_the_same_figures(run):
    found = json.loads(run("show", "g6.xlarge", "-o", "json", "--overhead", "cpu=500m,memory=1Gi,pods=9")[0])
    assert found["workloads"] == {"cpu": "3420m", "memory": "13138Mi", "pods": 49}
    assert found["daemonsetsAssumed"] is False
    assert found["usdPerHour"] == {"on-demand": 0.8048}
    assert found["mechanisms"] == ["whole", "time-slicing", "mps"]
    assert yaml.safe_load(run("show", "g6.xlarge", "-o", "yaml")[0])["gpu"]["model"] == "L4"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "g6.xlage"], "did you mean 'g6.xlarge'"),
        (["list", "--gpu", "a100"], "A100-40GB or A100-80GB"),
        (["list", "--region", "eu-west-1"], "gpuslice catalog refresh --region eu-west-1"),
        (["list", "--catalog", "/nowhere.json"], "no such file"),
        (["show", "g6.xlarge", "--overhead", "cpu"], "is not understood"),
        (["refresh", "--region", "Ireland"], "is not the name of a region"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(arguments, said):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said in str(caught.value)


@pytest.fixture
def refreshed(monkeypatch):
    """AWS out of the way: a refresh that finds the bundled catalog, with a spot price."""

    def made(_clients, region, now):
        assert (region, now.tzinfo) == ("us-east-1", dt.UTC)
        file = snapshot.to_file(snapshot.bundled())
        return refresh.Refreshed(snapshot.catalog_of(file), ("x9.large is left out: reason",))

    monkeypatch.setattr(aws, "connect", lambda _region: None)
    monkeypatch.setattr(refresh, "refresh", made)


def test_refresh_prints_a_catalog_and_says_what_it_left_out(run, refreshed):
    out, said = run("refresh", "--region", "us-east-1")
    assert out == snapshot.render(snapshot.bundled())
    assert said == "note: x9.large is left out: reason\n"


def test_refresh_writes_a_file_to_plan_with(run, refreshed, tmp_path):
    path = tmp_path / "catalog.json"
    out, said = run("refresh", "--region", "us-east-1", "--out", str(path))
    assert not out
    assert f"65 instance types of us-east-1 written to {path}" in said
    assert snapshot.read(str(path)).by_name()["g6.xlarge"].prices[Purchase.ON_DEMAND] == 804_800


def test_a_failed_refresh_writes_nothing(monkeypatch, tmp_path):
    def fails(_region):
        raise EnvironmentFailedError("no network")

    monkeypatch.setattr(aws, "connect", fails)
    path = tmp_path / "catalog.json"
    with pytest.raises(EnvironmentFailedError):
        CliRunner().invoke(
            app, ["refresh", "--region", "us-east-1", "--out", str(path)], catch_exceptions=False
        )
    assert not path.exists()


def test_starting_up_and_listing_load_neither_boto3_nor_the_solver():
    script = (
        "import sys\n"
        "import gpuslice.cli.catalog\n"
        "assert not {'boto3', 'rich.table', 'msgspec', 'gpuslice.cloud'} & set(sys.modules)\n"
        "import gpuslice.cloud.refresh, gpuslice.cloud.selection\n"
        "gpuslice.cloud.selection.choose()\n"
        "assert not {'boto3', 'botocore', 'highspy', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
