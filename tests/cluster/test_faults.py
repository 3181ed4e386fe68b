"""What an apply does where something between it and the API server breaks: at every single request."""

import httpx2 as httpx
import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.apply import journal
from gpuslice.cluster.apply.apply import Wishes, prepare, prepare_rollback
from gpuslice.cluster.apply.waiting import Patience, RolloutFailedError
from gpuslice.cluster.client.api import ApiError
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError, GpusliceError
from gpuslice.render import manifests
from tests.cluster.kept import Kept
from tests.cluster.made import deployment
from tests.cluster.served import status
from tests.render.plans import METERED_704, SETTINGS, SHARED, TS4, assignment, plan, pool

pytestmark = pytest.mark.slow

GPU = {"nvidia.com/gpu": "1"}
TARGET = {"container": "main", "gpuLimits": ["nvidia.com/gpu"]}


def wanted(*, metered=True):
    pools = [pool("search-l4-ts4", TS4, ("g6.xlarge",), tenant="search")]
    moves = [assignment("search/embedder", "search-l4-ts4", SHARED, target=TARGET)]
    if metered:
        pools.append(pool("chat-l4-704", METERED_704, ("g6.xlarge",), tenant="chat"))
        asked = {"gpuMemory": "3Gi", "gpuTime": 90}
        moves.append(assignment("chat/worker", "chat-l4-704", SHARED, **asked, target=TARGET))
    return manifests.bundle(plan(tuple(pools), tuple(moves)), catalogs.bundled(), SETTINGS)


def policy():
    spec = {"devicePlugin": {"enabled": True}, "driver": {"enabled": False}}
    return {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "cluster-policy"},
        "spec": spec,
    }


def cluster():
    return Kept(
        policy(),
        deployment("embedder", "search", asks=GPU),
        deployment("worker", "chat", asks=GPU, replicas=3),
    )


def patience(seconds=5, said=lambda _text: None, pause=lambda _seconds: None):
    return Patience(seconds, said, clock=lambda: 0.0, pause=pause)


def apply(served, desired, exclude=(), **how):
    wishes = Wishes(workloads=True, exclude=tuple(exclude))
    return prepare(served.api(), desired, catalogs.bundled(), wishes).carry_out(patience(**how))


def roll_back(served, **how):
    return prepare_rollback(served.api()).carry_out(patience(**how))


@pytest.fixture(scope="module")
def plans():
    return wanted(), wanted(metered=False)


@pytest.fixture(scope="module")
def goal(plans):
    served = cluster()
    assert apply(served, plans[0]) == []
    return served.standing()


def hang(request):
    raise httpx.ReadTimeout("timed out", request=request)


def reset(request):
    raise httpx.ReadError("connection reset by peer", request=request)


def half(request):
    raise httpx.RemoteProtocolError(
        "peer closed connection without sending complete message body", request=request
    )


TRANSIENT = {
    "429": lambda _request: busy(),
    "500": lambda _request: status(500, "etcdserver: leader changed"),
    "503": lambda _request: status(503, "the server is currently unable to handle the request"),
    "hang": hang,
    "reset": reset,
    "half an answer": half,
}


def busy():
    answer = status(429, "too many requests", "TooManyRequests")
    answer.headers["Retry-After"] = "1"
    return answer


def every_other(fault):
    """A fault that meets every request once."""
    turn = iter(range(100_000))
    return lambda _number, request: fault(request) if next(turn) % 2 == 0 else None


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_what_passes_is_lived_through_at_every_request(plans, goal, fault):
    served = cluster()
    served.fault = every_other(fault)
    before = served.standing()
    assert apply(served, plans[0]) == []
    assert served.standing() == goal
    assert roll_back(served) == []
    assert served.standing() == before


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_an_answer_that_is_lost_after_the_write_does_no_harm(plans, goal, fault):
    served = cluster()
    before = served.standing()
    served.lost = every_other(fault)
    assert apply(served, plans[0]) == []
    assert served.standing() == goal
    assert roll_back(served) == []
    assert served.standing() == before


def forbidden(_request):
    return status(403, 'nodepools is forbidden: User "x" cannot patch')


EVERYWHERE = (reset, forbidden)
"""Met at every write; the others at the first that is tried, at the first that is made, and at the last."""

LASTING = {
    "nobody answers": (reset, "no answer from the API server", 3),
    "permission": (
        forbidden,
        "is forbidden",
        3,
    ),
    "webhook": (
        lambda _request: status(400, 'admission webhook "policy.corp" denied the request: no'),
        'admission webhook "policy.corp" denied the request',
        3,
    ),
    "namespace": (
        lambda _request: status(403, "x is forbidden", causes=[{"reason": "NamespaceTerminating"}]),
        "x is forbidden",
        3,
    ),
    "conflict": (
        lambda _request: status(
            409,
            "Apply failed with 1 conflict",
            "Conflict",
            causes=[
                {"reason": "FieldManagerConflict", "message": 'conflict with "helm"', "field": ".spec.weight"}
            ],
        ),
        "",
        None,
    ),
    "token": (lambda _request: status(401, "Unauthorized"), "the credentials are refused", 3),
}


@pytest.mark.parametrize(("fault", "said", "code"), LASTING.values(), ids=LASTING)
def test_what_lasts_ends_with_words_and_running_again_finishes(plans, goal, fault, said, code):
    tried, written = writes(plans[0])
    everywhere = fault in EVERYWHERE
    for number in range(tried + written) if everywhere else (0, tried, tried + written - 1):
        served = cluster()
        met = iter(range(100_000))

        def broken(_number, request, met=met, number=number):
            return fault(request) if request.method != "GET" and next(met) >= number else None

        served.fault = broken
        with pytest.raises(GpusliceError) as error:
            apply(served, plans[0])
        assert said in error.value.message
        assert code in {None, error.value.exit_code}
        assert len(str(error.value).splitlines()) <= 2
        served.fault = lambda _number, _request: None
        assert apply(served, plans[0]) == []
        assert served.standing() == goal, f"broken at write {number}"


def writes(desired):
    """How many an apply tries, and how many it makes."""
    served = cluster()
    apply(served, desired)
    return len(served.tried), len(served.written)


def test_an_apply_that_met_another_write_is_sent_again(plans, goal):
    served = cluster()
    met = []

    def meet(_number, request):
        if request.headers.get("Content-Type", "").startswith("application/apply-patch"):
            met.append(request.url.path)
            return status(409, "the object has been modified", "Conflict") if met.count(met[-1]) % 3 else None
        return None

    served.fault = meet
    assert apply(served, plans[0]) == []
    assert served.standing() == goal


def test_everything_is_tried_before_the_first_write(plans):
    served = cluster()
    apply(served, plans[0])
    apply(served, plans[1])
    first = {path for _, path in served.tried}
    assert {path for method, path in served.written if method in {"PATCH", "DELETE"}} == first
    assert ("DELETE", "/apis/karpenter.sh/v1/nodepools/chat-l4-704") in served.tried


def cut_short_while_removing(plans, moment):
    """Clusters that had the first plan, in which applying the second was cut short at each of its writes."""
    served = cluster()
    apply(served, plans[0])
    first = len(served.written)
    apply(served, plans[1])
    assert any(method == "DELETE" for method, _ in served.written[first:])
    for number in range(len(served.written) - first):
        each = cluster()
        apply(each, plans[0])
        before = each.standing()
        cut_short(each, moment, number, lambda each=each: apply(each, plans[1]))
        yield number, each, before, served.standing()


@pytest.mark.parametrize("moment", ["fault", "lost"])
def test_cut_short_at_any_write_of_a_plan_that_removes_a_pool_and_run_again_it_ends_the_same(plans, moment):
    for number, served, before, wanted in cut_short_while_removing(plans, moment):
        assert apply(served, plans[1]) == []
        assert served.standing() == wanted, f"cut short at write {number}"
        assert roll_back(served) == []
        assert served.standing() == before, f"cut short at write {number}, then taken back"


@pytest.mark.parametrize("moment", ["fault", "lost"])
def test_cut_short_at_any_write_of_a_plan_that_removes_a_pool_it_can_be_taken_back_at_once(plans, moment):
    for number, served, before, _ in cut_short_while_removing(plans, moment):
        if number:  # before the journal there is nothing to take back
            assert roll_back(served) == []
            assert served.standing() == before, f"cut short at write {number}"


@pytest.fixture
def failing():
    """A cluster in which the new pods of chat/worker never come."""
    served = cluster()
    served.never_ready = {("chat", "worker")}
    return served


def put_back(served, desired, **how):
    """An apply that ends with the workload put back."""
    with pytest.raises(RolloutFailedError, match="so it was put back"):
        apply(served, desired, **how)


def test_a_workload_whose_pods_do_not_come_is_put_back_and_the_others_stay_moved(plans, failing, goal):
    before = failing.standing()
    said: list[str] = []
    put_back(failing, plans[0], said=said.append)
    assert "  Deployment chat/worker: put back" in said
    worker, embedder = ("deployments.apps", "chat", "worker"), ("deployments.apps", "search", "embedder")
    wanted = goal | {worker: before[worker]}
    # In the order of the plan's workloads: what comes after the one that failed waits.
    assert failing.standing() in (wanted, wanted | {embedder: before[embedder]})


@pytest.mark.parametrize("moment", ["fault", "lost"])
@pytest.mark.parametrize("then", ["again", "without it", "back"])
def test_cut_short_at_any_write_of_an_apply_that_puts_a_workload_back(plans, moment, then):
    """Killed between the change and its being put back, too: whoever runs it again finds what to do."""

    def made():
        served = cluster()
        served.never_ready = {("chat", "worker")}
        return served

    served = made()
    before = served.standing()
    put_back(served, plans[0])
    wanted, count = served.standing(), len(served.written)
    worker = [path.endswith("/worker") for _, path in served.written]
    assert worker.count(True) == 2  # there, and back
    for number in range(1, count):
        served = made()
        cut_short(served, moment, number, lambda served=served: apply(served, plans[0]))
        if then == "again":
            put_back(served, plans[0])
            assert served.standing() == wanted, f"cut short at write {number}"
        elif then == "without it":
            assert apply(served, plans[0], exclude={"chat/worker"}) == []
        elif journal.load(served.api()) is None:
            assert served.standing() == before, f"cut short at write {number}, before the journal"
            continue
        assert roll_back(served) == []
        assert served.standing() == before, f"cut short at write {number}, then taken back"


def cut_short(served, moment, number, run):
    """Run until the write of this number: it, and all after it, are lost, or only their answers are."""
    stop = len(served.written) + number + (moment == "lost")

    def cut(_number, request):
        tried = "dryRun" in request.url.params or b"dryRun" in request.content
        return (
            reset(request) if request.method != "GET" and not tried and len(served.written) >= stop else None
        )

    setattr(served, moment, cut)
    with pytest.raises(EnvironmentFailedError):
        run()
    setattr(served, moment, lambda _number, _request: None)


def test_a_refused_delete_is_known_before_anything_is_written(plans, goal):
    served = cluster()
    apply(served, plans[0])
    before = len(served.written)
    served.fault = lambda _number, request: (
        status(403, "nodepools is forbidden") if request.method == "DELETE" else None
    )
    with pytest.raises(ApiError, match="nodepools is forbidden"):
        apply(served, plans[1])
    assert len(served.written) == before
    assert served.standing() == goal


@pytest.mark.parametrize("name", ["clusterpolicies/cluster-policy", "deployments/worker"])
def test_what_a_controller_changes_between_reading_and_trying_is_read_again(plans, goal, name):
    """Controllers write the status of what they look after, and its version with it."""
    served = cluster()
    touched: list[str] = []

    def touch(_number, request):
        if request.method == "PATCH" and request.url.path.endswith(name) and len(touched) < 3:
            touched.append(request.url.path)
            kind = {"clusterpolicies": "ClusterPolicy", "deployments": "Deployment"}[name.partition("/")[0]]
            (live,) = [
                each
                for each in served.objects
                if each["kind"] == kind and each["metadata"]["name"] == name.partition("/")[2]
            ]
            served.store({**live, "touched": len(touched)})

    served.fault = touch
    assert apply(served, plans[0]) == []
    assert len(touched) == 3
    served.fault = lambda _number, _request: None
    assert roll_back(served) == []
    for data in served.standing().values():
        assert "gpuslice.io/pool" not in str(data)


def test_an_object_that_is_being_deleted_is_waited_for_and_made_anew(plans, goal):
    served = cluster()
    apply(served, plans[0])
    key = ("ec2nodeclasses.karpenter.k8s.aws", "", "gpuslice-al2023")
    leaving = served.kept[key]
    leaving["metadata"] |= {
        "deletionTimestamp": "2026-11-23T00:00:00Z",
        "finalizers": ["karpenter.k8s.aws/termination"],
    }
    with pytest.raises(AnswerIsNoError, match="is still being deleted after 0 s, held by karpenter"):
        apply(served, plans[0], seconds=0)
    said: list[str] = []
    apply(served, plans[0], said=said.append, pause=lambda _seconds: served.kept.pop(key, None))
    assert said == ["waiting until the old EC2NodeClass gpuslice-al2023 is gone …"]
    assert served.standing() == goal


def test_a_rollback_that_was_cut_short_waits_for_the_pods_that_it_brought_back(plans):
    served = cluster()
    apply(served, plans[0])
    key = ("deployments.apps", "chat", "worker")
    served.lost = lambda _number, request: (
        reset(request) if request.method == "PATCH" and request.url.path.endswith("/worker") else None
    )
    with pytest.raises(EnvironmentFailedError):
        roll_back(served)
    served.lost = lambda _number, _request: None
    served.kept[key]["status"]["availableReplicas"] = 0
    said: list[str] = []

    def arrive(_seconds):
        served.kept[key]["status"]["availableReplicas"] = 3

    roll_back(served, said=said.append, pause=arrive)
    assert "  Deployment chat/worker: 0 of 3 new pods are available" in said
