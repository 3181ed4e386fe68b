import numpy as np
import pytest

from gpuslice.artefacts.documents import parse_documents, read_documents
from gpuslice.measure.dcgm import read_needs
from gpuslice.measure.prometheus import Access, Server
from gpuslice.measure.statistics import Window, pool
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.measurement import Means
from tests.measure.fleet import END, MINUTES, START, UNTIL, WORKLOADS, metrics, pods
from tests.measure.prometheus_server import served

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def fleet():
    return pods()


@pytest.fixture(scope="module")
def url(tmp_path_factory, fleet):
    with served(tmp_path_factory.mktemp("prometheus"), metrics(fleet)) as found:
        yield found


@pytest.fixture(scope="module")
def needs(url):
    return measured(url)


def measured(url):
    workloads = parse_workloads(parse_documents(WORKLOADS.encode(), "w")).workloads
    server = Server(Access(url), sleep=lambda _: None)
    found = read_needs(server, workloads, start=START, end=END)
    server.close()
    return {name: pool(each, Window(END - START, UNTIL, Means.PROMETHEUS)) for name, each in found.items()}


def notes(needs, name):
    return "; ".join(needs[name].measurement.notes)


def test_the_needs_are_those_of_the_raw_readings(needs, fleet):
    for deployment in range(12):
        own = [pod for pod in fleet if pod.name.startswith(f"sd-{deployment:02}-")]
        found = needs[f"gen/sd-{deployment:02}"]
        assert found.memory_mib == max(pod.memory.max() for pod in own)
        assert found.duty_ppm / 1e6 == pytest.approx(max(pod.duty.mean() for pod in own), abs=1.1e-6)
        means = [pod.duty.reshape(-1, 5).mean(axis=1) for pod in own]
        peak = max(np.quantile(each, 0.95) for each in means)
        assert found.measurement.duty_peak == pytest.approx(peak, abs=2e-4)
        assert found.measurement.replicas == 12
        assert found.measurement.samples == 12 * MINUTES
        assert found.on == "A100-80GB"


def test_both_spellings_of_labels_lead_to_the_pod(needs):
    found = needs["shop/rank"]
    assert (found.memory_mib, found.duty_ppm, found.measurement.replicas) == (3000, 300_000, 2)
    assert found.measurement.sm == pytest.approx(0.15)


def test_a_blank_reading_of_dcgm_is_left_out(needs):
    assert needs["shop/alone"].duty_ppm == 300_000
    assert needs["shop/alone"].memory_mib == 3000
    assert "3 times with a reading that no GPU can give" in notes(needs, "shop/alone")


def test_a_counter_a_little_above_all_of_the_time_is_all_of_it(needs):
    assert needs["shop/full"].duty_ppm == 1_000_000
    assert "no GPU can give" not in notes(needs, "shop/full")


def test_an_activity_that_stands_at_zero_beside_a_busy_gpu_is_not_believed(needs):
    assert needs["shop/stuck"].duty_ppm == 400_000
    assert needs["shop/stuck"].measurement.sm is None
    assert "stood at zero for hours while utilisation did not" in notes(needs, "shop/stuck")
    assert "was not scraped" not in notes(needs, "shop/stuck")


def test_pods_on_one_gpu_have_no_figures_of_their_own_but_bounds(needs):
    for name in ("shop/one", "shop/two"):
        assert (needs[name].memory_mib, needs[name].duty_ppm) == (None, None)
        assert "at most 3000Mi and busy at most 30.0% of the time" in notes(needs, name)


def test_a_pod_that_asked_for_a_shared_gpu_has_none_either(needs):
    assert needs["shop/told"].memory_mib is None


def test_a_mig_instance_tells_memory_and_no_duty(needs):
    assert (needs["shop/slice"].memory_mib, needs["shop/slice"].duty_ppm) == (3000, None)


def test_a_pool_is_suspected(needs):
    assert needs["shop/pool"].suspicion.like == "vllm"


def test_what_a_server_never_used_of_its_cache_is_no_need(needs):
    found = needs["shop/sized"]
    assert found.memory_mib == 73_000 - 0.75 * 40 * 1024
    assert (found.of_caches, found.suspicion) == (True, None)
    assert "its key-value cache was at most 25% in use" in notes(needs, "shop/sized")


def test_a_cache_whose_size_is_not_told_is_said_and_nothing_is_concluded(needs):
    found = needs["shop/pool"]
    assert (found.memory_mib, found.of_caches) == (73_000, False)
    assert "at most 25% in use, by its own word, which doesn't say how large" in notes(needs, "shop/pool")


def test_blocks_of_tritons_cache_tell_what_share_of_it_is_used(needs):
    assert "its key-value cache was at most 25% in use" in notes(needs, "shop/alone")


def test_a_pod_that_moved_has_the_duty_of_the_model_it_ran_on_most(needs):
    found = needs["shop/moved"]
    assert (found.on, found.duty_ppm, found.memory_mib) == ("L4", 300_000, 3000)
    assert "also ran on T4" in notes(needs, "shop/moved")
    assert "nvidia-smi's utilisation" in notes(needs, "shop/moved")


def test_restarts_are_told_and_a_new_pods_counter_is_no_step_back(needs):
    told = notes(needs, "shop/flaky")
    assert "containers restarted 4 times (shop/flaky-0: 4)" in told  # 2 to 5, and one of the new pod
    assert "made anew under the same name once" in told
    assert "restarted" not in notes(needs, "shop/rank")  # all of its restarts were before


def test_a_replica_that_moved_to_another_gpu_has_the_mean_of_all_its_time(needs):
    assert needs["shop/flaky"].duty_ppm == 375_000
    assert needs["shop/flaky"].measurement.replicas == 1
    assert "moved once to another GPU of the same model" in notes(needs, "shop/flaky")


def test_a_workload_of_which_nothing_was_read_has_no_need(needs):
    assert "shop/gone" not in needs


def test_a_server_with_a_small_limit_is_asked_smaller_questions(tmp_path, fleet, needs):
    few = [pod for pod in fleet if pod.namespace == "shop"]
    with served(tmp_path, metrics(few), "--query.max-samples=2000") as url:
        assert measured(url) == {name: each for name, each in needs.items() if name.startswith("shop/")}


def test_the_program_writes_them_into_the_file(gpuslice, url, tmp_path):
    path = tmp_path / "workloads.yaml"
    path.write_text("# ours\n" + WORKLOADS)
    ended = gpuslice("measure", "prometheus", "--url", url, "-f", path, "--window", "1000m", "--until", UNTIL)
    assert ended.code == 0, ended.err
    assert "24 needs written" in ended.err
    assert "nothing was read of 1 workloads: shop/gone" in ended.err
    assert "containers restarted 4 times" in ended.out
    assert "containers restarted" not in ended.err  # once is enough
    found = {each.name: each for each in parse_workloads(read_documents(path)).workloads}
    assert found["shop/rank"].need.known
    assert found["shop/pool"].preallocates
    assert found["shop/pool"].need.memory_mib is None
    assert found["shop/sized"].preallocates
    assert found["shop/sized"].need.memory_mib == 42_280
    assert getattr(found["shop/rank"].measurement, "until", "") == UNTIL
    assert path.read_text().startswith("# ours\n")


def test_a_window_without_a_reading_is_an_answer_of_no(gpuslice, url, tmp_path):
    path = tmp_path / "workloads.yaml"
    path.write_text(WORKLOADS)
    ended = gpuslice(
        "measure", "prometheus", "--url", url, "-f", path, "--window", "1h", "--until", "2025-01-01T00:00:00Z"
    )
    assert ended.code == 1
    assert "no metric of the DCGM exporter" in ended.err
    assert path.read_text() == WORKLOADS
