"""What the scheduler counts for a pod."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.workloads.objects import PodSpec, convert
from gpuslice.workloads.pods import PodRequests, pod_requests


def requests(spec: object) -> PodRequests:
    return pod_requests(convert(spec, PodSpec, "test"), "test")


def container(
    name: str = "main", cpu: object = None, memory: object = None, gpu: object = None, **more: object
) -> dict[str, object]:
    asked = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value is not None}
    limits = {} if gpu is None else {"nvidia.com/gpu": gpu}
    return {"name": name, "resources": {"requests": asked, "limits": limits}, **more}


def sidecar(name: str = "sidecar", cpu: object = None, gpu: object = None) -> dict[str, object]:
    return container(name, cpu, gpu=gpu, restartPolicy="Always")


def test_main_containers_are_summed():
    found = requests(
        {"containers": [container(cpu="1500m", memory="4Gi", gpu=1), container("b", cpu=1, memory="512Mi")]}
    )
    assert (found.cpu_milli, found.memory_mib, found.gpus) == (2500, 4608, {"nvidia.com/gpu": 1})


def test_limits_stand_for_missing_requests():
    found = requests(
        {"containers": [{"resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}
    )
    assert (found.cpu_milli, found.memory_mib) == (1000, 1024)


def test_an_init_container_counts_only_where_it_needs_more_than_what_follows():
    small = requests({"containers": [container(cpu=2)], "initContainers": [container("init", cpu=1)]})
    large = requests({"containers": [container(cpu=2)], "initContainers": [container("init", cpu=3)]})
    assert (small.cpu_milli, large.cpu_milli) == (2000, 3000)


def test_a_sidecar_runs_beside_the_main_containers():
    found = requests({"containers": [container(cpu=2)], "initContainers": [sidecar(cpu="500m")]})
    assert found.cpu_milli == 2500


def test_a_sidecar_counts_for_the_init_containers_after_it_and_not_for_those_before():
    before = requests(
        {"containers": [container(cpu=1)], "initContainers": [container("i", cpu=5), sidecar(cpu=1)]}
    )
    after = requests(
        {"containers": [container(cpu=1)], "initContainers": [sidecar(cpu=1), container("i", cpu=5)]}
    )
    assert (before.cpu_milli, after.cpu_milli) == (5000, 6000)


def test_overhead_comes_on_top():
    found = requests(
        {"containers": [container(cpu=1, memory="1Gi")], "overhead": {"cpu": "250m", "memory": "120Mi"}}
    )
    assert (found.cpu_milli, found.memory_mib) == (1250, 1144)


def test_pod_level_requests_replace_the_sum_and_pod_level_limits_only_stand_in():
    pod = {
        "containers": [container(cpu=1)],
        "resources": {"requests": {"cpu": 4}, "limits": {"cpu": 8, "memory": "2Gi"}},
    }
    found = requests(pod)
    assert (found.cpu_milli, found.memory_mib) == (4000, 2048)
    limited = {"containers": [container(cpu=1)], "resources": {"limits": {"cpu": 8}}}
    assert requests(limited).cpu_milli == 1000


def test_the_container_that_asks_for_the_gpu_is_told():
    found = requests({"containers": [container("proxy"), container("server", gpu=2)]})
    assert [(user.container.name, user.index, user.path, user.quantity) for user in found.users] == [
        ("server", 1, "/containers/1", 2)
    ]


def test_a_sidecar_that_asks_for_the_gpu_is_told_by_its_path():
    (user,) = requests({"containers": [container()], "initContainers": [sidecar(gpu=1)]}).users
    assert user.path == "/initContainers/0"


def test_shared_and_mig_resources_are_gpus_and_others_are_not():
    limits = {"nvidia.com/gpu.shared": 1, "nvidia.com/mig-1g.10gb": 1, "vpc.amazonaws.com/efa": 4}
    found = requests({"containers": [{"name": "a", "resources": {"limits": limits}}]})
    assert found.gpus == {"nvidia.com/gpu.shared": 1, "nvidia.com/mig-1g.10gb": 1}


@pytest.mark.parametrize(
    ("quantity", "says"),
    [("0.5", "no whole number"), ("-1", "negative"), ("one", "not a quantity")],
)
def test_a_number_of_gpus_that_is_none_is_refused_with_its_container(quantity, says):
    with pytest.raises(InputError, match=says) as raised:
        requests({"containers": [container("server", gpu=quantity)]})
    assert "container server" in str(raised.value)


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"requests": {"nvidia.com/gpu": 1}}, "nvidia.com/gpu is 1 in requests and none in limits"),
        (
            {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}},
            "nvidia.com/gpu is 1 in requests and 2 in limits",
        ),
        (
            {"requests": {"nvidia.com/mig-1g.5gb": 1, "nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}},
            "nvidia.com/mig-1g.5gb is 1 in requests and none in limits",
        ),
    ],
)
def test_gpus_that_the_api_server_refuses_are_refused(resources, says):
    with pytest.raises(InputError, match=f"{says}: the API server refuses such a pod"):
        requests({"containers": [{"name": "a", "resources": resources}]})


@pytest.mark.parametrize(
    "resources",
    [
        {"limits": {"nvidia.com/gpu": 1}},
        {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": 1}},
        {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": 1}},
    ],
)
def test_gpus_that_the_api_server_takes_are_counted_once(resources):
    assert requests({"containers": [{"name": "a", "resources": resources}]}).gpus == {"nvidia.com/gpu": 1}


def test_a_field_of_the_wrong_type_is_refused_with_its_path():
    with pytest.raises(InputError, match=r"containers\[0\]\.image"):
        requests({"containers": [{"image": 3}]})


def test_a_null_is_an_absent_field():
    assert requests({"containers": [{"name": "a", "resources": None, "env": None}]}).cpu_milli == 0


amounts = st.integers(0, 10_000)


@given(st.lists(amounts, min_size=1, max_size=4), st.lists(st.tuples(amounts, st.booleans()), max_size=5))
def test_a_pod_never_takes_less_than_any_moment_of_its_life(main, inits):
    found = requests(
        {
            "containers": [container(cpu=f"{each}m") for each in main],
            "initContainers": [
                sidecar(cpu=f"{each}m") if stays else container(cpu=f"{each}m") for each, stays in inits
            ],
        }
    )
    running = 0
    moments = []
    for each, stays in inits:
        moments.append(running + each)
        running += each if stays else 0
    assert found.cpu_milli == max([*moments, running + sum(main)])
