"""What an earlier plan had a workload ask for is taken away, whether this plan knows of it or not."""

from gpuslice.cluster.apply.stale_requests import with_stale_removed

SHARED = "nvidia.com/gpu.shared"
OLD, NEW = "gpuslice.io/seat-search.x-0001", "gpuslice.io/seat-search.x-0002"


def deployment(*containers):
    return {
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"containers": [*containers]}}},
    }


def container(name, limits, requests=None):
    resources = {"limits": limits, **({} if requests is None else {"requests": requests})}
    return {"name": name, "resources": resources}


def containers(data):
    return {each["name"]: each for each in data["spec"]["template"]["spec"]["containers"]}


def test_a_seat_of_another_size_is_given_up():
    live = deployment(container("main", {SHARED: "1", OLD: "1", "cpu": "2"}, {OLD: "1", "cpu": "1"}))
    patch = deployment(container("main", {SHARED: "1", NEW: "1"}))
    found = containers(with_stale_removed(live, patch))
    assert found == {
        "main": {
            "name": "main",
            "resources": {"limits": {OLD: None, SHARED: "1", NEW: "1"}, "requests": {OLD: None}},
        }
    }


def test_memory_and_time_that_were_counted_go_as_well():
    counted = {"gpuslice.io/gpu-memory": "3Gi", "gpuslice.io/gpu-time": "200"}
    live = deployment(container("main", {SHARED: "1", **counted}), container("proxy", {"cpu": "1"}))
    patch = deployment(container("main", {SHARED: "1", NEW: "1"}))
    found = containers(with_stale_removed(live, patch))
    assert found["main"]["resources"]["limits"] == {**dict.fromkeys(counted), SHARED: "1", NEW: "1"}
    assert "proxy" not in found


def test_a_patch_without_containers_takes_seats_away():
    live = deployment(container("main", {"nvidia.com/gpu": "1", OLD: "1"}))
    patch = {
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}},
    }
    made = with_stale_removed(live, patch)
    assert containers(made)["main"]["resources"] == {"limits": {OLD: None}}
    assert made["spec"]["template"]["spec"]["nodeSelector"] == {"a": "b"}


def test_what_is_asked_for_again_and_what_is_not_ours_stays():
    live = deployment(container("main", {SHARED: "1", NEW: "1", "example.com/foo": "1"}))
    patch = deployment(container("main", {SHARED: "1", NEW: "1"}))
    assert with_stale_removed(live, patch) == patch
