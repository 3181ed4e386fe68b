"""What is known before an apply or a rollback is carried out, as values."""

from contextlib import nullcontext
from typing import Any

import httpx2 as httpx
import msgspec
import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.apply.apply import Wishes, prepare, prepare_rollback
from gpuslice.cluster.apply.preflight import OperatorMissingError
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError
from gpuslice.render.bundle import LeftAlone
from tests.cluster.kept import Kept
from tests.cluster.made import deployment
from tests.cluster.test_faults import GPU, apply, cluster, patience, wanted

ALL = Wishes(workloads=True)


def prepared(served, wishes=ALL, **how):
    return prepare(served.api(), wanted(), catalogs.bundled(), wishes, **how)


def titles(works):
    return {work.ref.title for work in works}


def test_preparing_writes_nothing_and_says_what_would_change():
    served = cluster()
    made = prepared(served, Wishes(workloads=True, exclude=("chat/*",)))
    assert served.written == []
    assert {"NodePool chat-l4-704", "Deployment search/embedder"} <= titles(
        step.work for step in made.differences
    )
    assert made.left == (LeftAlone("Deployment chat/worker", "excluded"),)
    assert made.previous is None
    assert made.moves
    assert not prepared(served, Wishes()).moves


def test_once_carried_out_nothing_differs():
    served = cluster()
    assert prepared(served).carry_out(patience()) == []
    again = prepared(served)
    assert (again.differences, again.previous is None) == ((), False)


def test_what_was_prepared_before_somebody_else_began_is_not_carried_out():
    served = cluster()
    late = prepared(served)
    apply(served, wanted())
    standing = served.standing()
    with pytest.raises(AnswerIsNoError, match="another gpuslice"):
        late.carry_out(patience())
    assert served.standing() == standing


def test_without_the_operator_it_is_said_which_error_that_is():
    served = Kept(deployment("embedder", "search", asks=GPU))
    with pytest.raises(OperatorMissingError):
        prepared(served)
    assert served.written == served.tried == []


@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
def test_who_may_not_do_it_to_the_end_does_not_begin(verb):
    served = cluster()

    def deny(_number, request):
        if not request.url.path.endswith("/selfsubjectaccessreviews"):
            return None
        asked = msgspec.json.decode(request.content)["spec"]["resourceAttributes"]
        return httpx.Response(201, json={"status": {"allowed": asked["verb"] != verb}})

    served.fault = deny
    with pytest.raises(EnvironmentFailedError, match=f"you may not {verb}"):
        prepared(served)
    assert served.written == []


def test_each_stage_that_takes_time_is_shown():
    said: list[str] = []

    def stage(words):
        said.append(words)
        return nullcontext()

    prepared(cluster(), stage=stage)
    assert said == ["reading the cluster …", "trying it at the API server …"]


def test_a_rollback_names_what_is_taken_back_and_leaves_what_is_excluded():
    served = cluster()
    before = served.standing()
    apply(served, wanted())
    worker = ("deployments.apps", "chat", "worker")
    moved = served.standing()[worker]
    rollback = prepare_rollback(served.api(), Wishes(exclude=("chat/*",)))
    assert "Deployment search/embedder" in titles(rollback.works)
    assert "Deployment chat/worker" not in titles(rollback.works)
    assert rollback.journal.state == "applied"
    rollback.carry_out(patience())
    assert served.standing()[worker] == moved != before[worker]
    assert (
        served.standing()["deployments.apps", "search", "embedder"]
        == before["deployments.apps", "search", "embedder"]
    )


def test_what_was_taken_back_is_not_taken_back_again():
    served = cluster()
    with pytest.raises(AnswerIsNoError, match="nothing to take back"):
        prepare_rollback(served.api())
    apply(served, wanted())
    prepare_rollback(served.api()).carry_out(patience())
    with pytest.raises(AnswerIsNoError, match="nothing to take back"):
        prepare_rollback(served.api())


def set_by(manager, *names):
    """A cluster in which somebody set what workloads ask for."""
    limits: dict[str, Any] = {"f:resources": {"f:limits": {"f:nvidia.com/gpu": {}}}}
    containers = {"f:containers": {'k:{"name":"main"}': limits}}
    entry = {
        "manager": manager,
        "operation": "Update",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": containers}}},
    }
    served = cluster()
    for live in served.objects:
        if live["kind"] == "Deployment" and live["metadata"]["name"] in names:
            served.store({**live, "metadata": live["metadata"] | {"managedFields": [entry]}})
    return served


def test_who_may_undo_a_move_by_its_next_write_is_named():
    undone = "helm set what changes: put the patches there too, or the next one undoes it"
    assert f"Deployment chat/worker: {undone}" in prepared(set_by("helm", "worker")).notes
    both = prepared(set_by("helm", "worker", "embedder"))
    assert f"2 workloads, Deployment chat/worker among them: {undone}" in both.notes
    assert both.left == ()
    assert not [note for note in prepared(cluster()).notes if "undoes" in note]


def test_a_workload_that_would_be_put_back_at_once_stays_unless_forced():
    served = set_by("argocd-controller", "worker")
    why = "argocd-controller would put it back: commit the patch there (gpuslice render --out)"
    assert prepared(served).left == (LeftAlone("Deployment chat/worker", why),)
    assert prepared(served, Wishes(workloads=True, force=True)).left == ()
