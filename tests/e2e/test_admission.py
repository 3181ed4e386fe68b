"""A plan applied where an admission webhook has its say: refuses, hangs, isn't there, comes back."""

import threading

import pytest
from lightkube.resources.core_v1 import ConfigMap

from gpuslice.rehearsal.kinds import NodeOverlay, NodePool
from tests.e2e.applying import QUICK, gpuslice, rendered, standing, two_pools
from tests.e2e.webhooks import NAME, Webhook, asked

REFUSED = ("NodeOverlay", "chat-l4-704-1gpu")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return rendered(two_pools(), tmp_path_factory.mktemp("plan"))


@pytest.fixture
def goal(cluster, control_plane, directory):
    """What stands once the plan was applied without anybody's say; it was taken back since."""
    assert gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
    after = standing(cluster)
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    return after


def refusing(request):
    """Words against one overlay."""
    if (request["kind"]["kind"], request["name"]) == REFUSED:
        return "overlays of chat are made by the chat team"
    return None


def refusing_what_is_kept(request):
    """The same, of a webhook that lets every dry run pass."""
    return None if request["dryRun"] else refusing(request)


def test_what_a_webhook_refuses_is_known_before_the_first_write(
    cluster, control_plane, directory, tmp_path, goal
):
    webhook, before = Webhook(), standing(cluster)
    webhook.answer = refusing
    with webhook.serving(tmp_path) as (url, authority), asked(cluster, url, authority):
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        assert standing(cluster) == before
    assert code == 3
    assert "NodeOverlay chat-l4-704-1gpu" in err
    assert f'admission webhook "{NAME}" denied the request: overlays of chat are made by the chat team' in err
    assert "ask those who run the webhook" in err
    assert len(err.strip().splitlines()[-2:]) == 2
    assert (*REFUSED, True) in webhook.asked
    assert all(dry for _, _, dry in webhook.asked)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert standing(cluster) == goal


@pytest.mark.parametrize("then", ["again", "back"])
def test_what_a_webhook_refuses_in_the_middle_is_finished_or_taken_back_without_it(
    cluster, control_plane, directory, tmp_path, goal, then
):
    webhook, before = Webhook(), standing(cluster)
    webhook.answer = refusing_what_is_kept
    with webhook.serving(tmp_path) as (url, authority), asked(cluster, url, authority):
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        assert code == 3
        assert "NodeOverlay chat-l4-704-1gpu" in err
        assert f'admission webhook "{NAME}" denied the request: overlays of chat are made' in err
        assert REFUSED[1] not in {each.metadata.name for each in cluster.list(NodeOverlay)}
        assert not list(cluster.list(NodePool))  # no pool before its overlay
        assert standing(cluster) != before
        # As long as it refuses, running it again changes nothing and says the same.
        halfway = standing(cluster)
        again = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        assert (again[0], standing(cluster)) == (3, halfway)
    if then == "again":
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        assert code == 0, err
        assert standing(cluster) == goal
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")
    assert code == 0, err
    assert standing(cluster) == before


def test_a_webhook_that_is_not_there_is_named_and_running_again_finishes(
    cluster, control_plane, directory, tmp_path, goal
):
    webhook, before = Webhook(), standing(cluster)
    with webhook.serving(tmp_path) as there:
        pass
    arguments = ("apply", "-f", directory, *QUICK)
    with asked(cluster, *there):
        code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
        assert standing(cluster) == before
    assert code == 3
    assert f'failed calling webhook "{NAME}"' in err
    assert "connection refused" in err
    assert "ask those who run the webhook why it doesn't answer" in err
    with asked(cluster, *there, fails="Ignore"):
        code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
    assert code == 0, err
    assert standing(cluster) == goal


def test_a_webhook_that_hangs_in_the_middle_is_named_and_running_again_finishes(
    cluster, control_plane, directory, tmp_path, goal
):
    webhook, over = Webhook(), threading.Event()

    def hang(request):
        if refusing_what_is_kept(request):
            over.wait(30)

    webhook.answer = hang
    with webhook.serving(tmp_path) as (url, authority), asked(cluster, url, authority, seconds=1):
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        over.set()
        assert REFUSED[1] not in {each.metadata.name for each in cluster.list(NodeOverlay)}
    assert code == 3
    assert f'failed calling webhook "{NAME}"' in err
    assert "context deadline exceeded" in err
    assert "ask those who run the webhook why it doesn't answer" in err
    assert list(cluster.list(ConfigMap, namespace="gpuslice", fields={"metadata.name": "gpuslice"}))
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert standing(cluster) == goal


def test_a_webhook_that_comes_back_is_lived_through(cluster, control_plane, directory, tmp_path, goal):
    webhook = Webhook()

    def restarts(_request):
        if len(webhook.asked) in {2, 3, 9, 10}:
            raise ConnectionResetError

    webhook.answer = restarts
    with webhook.serving(tmp_path) as (url, authority), asked(cluster, url, authority):
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
        assert code == 0, err
        assert standing(cluster) == goal
    assert len(webhook.asked) > 10
