"""What today's ways would cost: none is made dearer than whoever runs it would have it."""

from gpuslice.hardware.need import Need
from gpuslice.plan.artefact import Baseline
from gpuslice.workloads.model import Workload
from tests.planner.planned import solved
from tests.strategies import H100, catalog_of, instance_type

H100_X8 = instance_type("p5.48xlarge", "H100", 55.04, count=8, cpu=191_450, memory=1_970_000, pods=100)
CATALOG = catalog_of(H100, H100_X8)
TRAINING = Workload("red/train", 1, 90_000, 700_000, Need(gpus=8, on="H100"), tenant="red")


def _alone(replicas: int) -> Workload:
    need = Need(memory_mib=60_000, duty_ppm=500_000, on="H100")
    return Workload("red/alone", replicas, 8_000, 64_000, need, tenant="red")


def _baselines(*fleet: Workload) -> dict[str, Baseline]:
    return {each.name: each for each in solved(fleet, CATALOG).plan.summary.baselines}


def test_a_single_pod_is_not_given_a_node_of_eight_gpus_that_costs_no_more_per_gpu():
    found = _baselines(TRAINING, _alone(1))
    assert found["whole-gpu"].usd_per_hour == 55.04 + 6.88
    assert found["time-slicing-4"].usd_per_hour == 55.04 + 6.88


def test_nothing_is_said_to_be_saved_where_nothing_can_be_shared():
    plan = solved((TRAINING, _alone(1)), CATALOG).plan
    assert plan.summary.usd_per_hour == _baselines(TRAINING, _alone(1))["whole-gpu"].usd_per_hour


def test_pods_that_fill_a_large_node_have_one():
    large = instance_type("p5.48xlarge", "H100", 50.0, count=8, cpu=191_450, memory=1_970_000, pods=100)
    (today, *_) = solved((_alone(8),), catalog_of(H100, large)).plan.summary.baselines
    assert (today.name, today.usd_per_hour) == ("whole-gpu", 50.0)
