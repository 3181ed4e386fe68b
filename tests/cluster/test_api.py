"""What is tried again, what isn't, and how a refusal reads."""

import httpx2 as httpx
import pytest

from gpuslice.cluster.client import api as api_module
from gpuslice.cluster.client.api import Api, ApiError
from gpuslice.cluster.client.resources import NODE, POD
from gpuslice.errors import EnvironmentFailedError
from tests.cluster.made import node, pod
from tests.cluster.served import Served, status


def names(raw):
    import msgspec

    return msgspec.json.decode(raw)["metadata"]["name"]


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadError("connection reset by peer"),
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
        httpx.ReadTimeout("timed out"),
        httpx.ConnectError("connection refused"),
        status(500, "etcdserver: leader changed"),
        status(503, "the server is currently unable to handle the request"),
        status(429, "too many requests"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each.status_code),
)
def test_what_may_pass_is_tried_again(fault):
    cluster = Served(node("n1"))
    cluster.faults = [fault, fault]
    assert cluster.api().list(NODE.path(), names) == ["n1"]
    assert len(cluster.requests) == 3
    assert len(cluster.pauses) == 2


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7.0), ("0", 0.0), ("3600", 30.0), ("-5", 0.25), ("nan", 0.25), ("soon", 0.25)]
)
def test_a_server_that_says_when_is_asked_then_within_reason(asked, waited):
    cluster = Served(node("n1"))
    busy = status(429, "slow down")
    busy.headers["Retry-After"] = asked
    cluster.faults = [busy]
    cluster.api().list(NODE.path(), names)
    assert cluster.pauses == [waited]


def test_a_server_that_hangs_is_given_up_after_two_minutes():
    now = [0.0]

    def hang(request):
        now[0] += 60
        raise httpx.ReadTimeout("timed out", request=request)

    with pytest.raises(EnvironmentFailedError, match=r"timed out \(tried 2 times\)"):
        asking(hang, now).list(NODE.path(), names)
    assert now == [120.0]


def test_an_answer_that_comes_in_drops_for_ever_is_given_up():
    now = [0.0]

    def drops():
        while True:
            now[0] += 59
            yield b" "

    with pytest.raises(EnvironmentFailedError, match="the answer has no end after 120 s"):
        asking(lambda _request: httpx.Response(200, content=drops()), now).list(NODE.path(), names)
    assert now[0] == 3 * 59


def asking(answer, now):
    """A connection whose time the test lets pass."""
    http = httpx.Client(base_url="https://cluster", transport=httpx.MockTransport(answer))
    return Api(http, pause=lambda _seconds: None, clock=lambda: now[0])


def test_a_server_that_never_answers_is_given_up_with_words():
    cluster = Served()
    cluster.faults = [httpx.ReadError("connection reset by peer")] * 50
    with pytest.raises(
        EnvironmentFailedError, match="no answer from the API server: connection reset"
    ) as error:
        cluster.api().list(NODE.path(), names)
    assert "kubectl get nodes" in error.value.fix
    assert len(cluster.requests) == 6
    assert sum(cluster.pauses) < 10


def test_a_wrong_certificate_is_not_tried_again():
    cluster = Served()
    cluster.faults = [httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")]
    with pytest.raises(EnvironmentFailedError, match="CERTIFICATE_VERIFY_FAILED"):
        cluster.api().list(NODE.path(), names)
    assert len(cluster.requests) == 1


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        (status(401, "Unauthorized"), "the credentials are refused", "log in again"),
        (
            status(403, 'pods is forbidden: User "x" cannot list'),
            "pods is forbidden",
            "ask for the permission",
        ),
        (
            status(
                403, "x is forbidden", causes=[{"reason": "NamespaceTerminating", "message": "", "field": ""}]
            ),
            "x is forbidden",
            "wait until the namespace is gone",
        ),
        (status(400, 'admission webhook "policy.corp" denied the request: no'), "policy.corp", "webhook"),
        (
            status(400, 'admission webhook "policy.corp" does not support dry run'),
            "policy.corp",
            "sideEffects",
        ),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_tried_again(fault, said, fix):
    cluster = Served()
    cluster.faults = [fault]
    with pytest.raises(ApiError) as error:
        cluster.api().list(POD.path(), names)
    assert said in error.value.message
    assert fix in error.value.fix
    assert len(cluster.requests) == 1


def test_a_webhook_that_does_not_answer_is_asked_again_and_then_named():
    cluster = Served()
    said = 'failed calling webhook "policy.corp": connection refused'
    cluster.faults = [status(500, said)] * 6
    with pytest.raises(ApiError, match="failed calling webhook") as error:
        cluster.api().list(POD.path(), names)
    assert "why it doesn't answer" in error.value.fix
    assert len(cluster.requests) == 6


def test_half_an_answer_that_looks_whole_is_no_answer():
    cluster = Served()
    cluster.faults = [httpx.Response(200, content=b'{"items": [{"metadata": {"na')]
    with pytest.raises(EnvironmentFailedError, match="makes no sense"):
        cluster.api().list(POD.path(), names)


def test_large_lists_come_in_pages(monkeypatch):
    monkeypatch.setattr(api_module, "PAGE", 10)
    cluster = Served(*(pod(f"p{number}") for number in range(35)))
    assert cluster.api().list(POD.path(), names) == [f"p{number}" for number in range(35)]
    assert len(cluster.requests) == 4


def test_a_list_that_expired_between_two_pages_is_read_from_its_start(monkeypatch):
    monkeypatch.setattr(api_module, "PAGE", 10)
    cluster = Served(*(pod(f"p{number}") for number in range(15)))
    cluster.faults = [None, status(410, "the provided continue parameter is too old", "Expired")]
    assert cluster.api().list(POD.path(), names) == [f"p{number}" for number in range(15)]


def test_a_list_that_always_expires_is_read_in_one_piece(monkeypatch):
    monkeypatch.setattr(api_module, "PAGE", 10)
    cluster = Served(*(pod(f"p{number}") for number in range(15)))
    gone = status(410, "the provided continue parameter is too old", "Expired")
    cluster.faults = [None, gone, None, gone]
    assert cluster.api().list(POD.path(), names) == [f"p{number}" for number in range(15)]
    assert "limit" not in cluster.requests[-1].url.params
