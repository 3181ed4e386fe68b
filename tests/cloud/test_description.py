"""What is said of one instance type: room, prices, mechanisms."""

import pytest

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.catalog import DaemonsetOverhead, Purchase
from gpuslice.cloud.description import card_price, describe, mechanisms, mig_confidence, rows
from gpuslice.cloud.snapshot import bundled
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.mechanisms import Mechanism

TYPES = bundled().by_name()


def test_a_price_is_shown_by_the_hour_the_month_and_the_card():
    said = describe(bundled(), TYPES["g6.12xlarge"], daemonset_overhead(), assumed=True)
    assert said.usd_per_hour == {"on-demand": 4.6016}
    assert said.usd_per_month == {"on-demand": pytest.approx(4.6016 * 730)}
    assert said.usd_per_hour_per_card == {"on-demand": 1.1504}


def test_a_part_of_a_card_is_priced_by_the_whole_card():
    assert card_price(TYPES["g6f.large"]) == 8 * 202_000
    assert card_price(TYPES["p5e.48xlarge"]) is None
    assert card_price(TYPES["g6.xlarge"], Purchase.SPOT) is None


def test_fractional_types_are_cut_by_aws_and_by_nobody_else():
    assert mechanisms(TYPES["g6f.large"]) == (Mechanism.FRACTIONAL,)
    assert Mechanism.FRACTIONAL not in mechanisms(TYPES["g6.xlarge"])


@pytest.mark.parametrize(
    ("name", "confidence"),
    [
        ("p5.48xlarge", Confidence.PUBLISHED),
        ("p5.4xlarge", Confidence.INFERRED),
        ("g7e.2xlarge", Confidence.INFERRED),
        ("g7e.48xlarge", Confidence.PUBLISHED),
        ("g6e.48xlarge", None),
        ("g6f.large", None),
    ],
)
def test_mig_is_as_sure_as_its_source(name, confidence):
    assert mig_confidence(TYPES[name]) is confidence
    assert (Mechanism.MIG in mechanisms(TYPES[name])) == (confidence is not None)
    noted = any(
        "MIG" in note for note in describe(bundled(), TYPES[name], daemonset_overhead(), assumed=True).notes
    )
    assert noted == (confidence is Confidence.INFERRED)


def test_assumed_daemonsets_are_called_so():
    assumed = describe(bundled(), TYPES["g6.xlarge"], daemonset_overhead(), assumed=True)
    stated = describe(bundled(), TYPES["g6.xlarge"], DaemonsetOverhead(500, 1024, 9), assumed=False)
    assert dict(rows(assumed))["daemonsets"] == "cpu 185m, memory 184Mi, 10 pods (assumed)"
    assert dict(rows(stated))["daemonsets"] == "cpu 500m, memory 1Gi, 9 pods"
    assert dict(rows(stated))["for workloads"] == "cpu 3420m, memory 13138Mi, 49 pods"


def test_every_type_can_be_described():
    for each in bundled().instance_types:
        said = dict(rows(describe(bundled(), each, daemonset_overhead(), assumed=True)))
        assert each.name in said["instance type"]
        assert ("price, on-demand" in said) == (each.name != "p5e.48xlarge")
