"""No pool before its overlays are accepted, and none whose overlays others keep from working."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.apply import preflight
from gpuslice.cluster.seen.read import read
from gpuslice.errors import AnswerIsNoError
from tests.cluster.kept import READY
from tests.cluster.sliced import overlay
from tests.cluster.test_faults import apply, cluster, wanted

REFUSED = [
    {
        "type": "Ready",
        "status": "False",
        "reason": "ValidationSucceeded",
        "message": "ValidationSucceeded=False",
    },
    {
        "type": "ValidationSucceeded",
        "status": "False",
        "reason": "RuntimeValidation",
        "message": "invalid capacity",
    },
]


def about(served, *kinds):
    """Plurals and names of what was written of these kinds, in order."""
    paths = [path.split("/") for method, path in served.written if method == "PATCH"]
    return [f"{path[-2]}/{path[-1]}" for path in paths if path[-2] in kinds]


@pytest.fixture(scope="module")
def desired():
    return wanted()


def refusing(served, name):
    served.verdict = lambda data: REFUSED if data["metadata"]["name"] == name else READY


def test_no_pool_is_made_and_nobody_moves_until_karpenter_accepts_every_overlay(desired):
    served = cluster()
    refusing(served, "chat-l4-704-1gpu")
    with pytest.raises(AnswerIsNoError, match="RuntimeValidation: invalid capacity"):
        apply(served, desired, seconds=0)
    assert about(served, "nodeoverlays") == [
        "nodeoverlays/chat-l4-704-1gpu",
        "nodeoverlays/search-l4-ts4-1gpu",
    ]
    assert about(served, "nodepools", "deployments") == []
    served.kept["nodeoverlays.karpenter.sh", "", "chat-l4-704-1gpu"]["status"] = {"conditions": READY}
    served.verdict = lambda _data: READY
    assert apply(served, desired) == []
    pools = about(served, "nodepools", "deployments")
    assert [each.partition("/")[0] for each in pools] == ["nodepools"] * 2 + ["deployments"] * 2


def test_what_is_waited_for_is_asked_before_the_first_pool_is_made(desired):
    served = cluster()
    apply(served, desired)
    asked = [
        (each.method, each.url.path.split("/")[-2])
        for each in served.requests
        if "dryRun" not in each.url.params
    ]
    first_pool = asked.index(("PATCH", "nodepools"))
    last_overlay = len(asked) - 1 - asked[::-1].index(("PATCH", "nodeoverlays"))
    assert last_overlay < first_pool
    assert asked[last_overlay:first_pool].count(("GET", "nodeoverlays")) >= 2


def test_a_pool_that_is_there_and_its_overlay_change_one_right_after_the_other(desired):
    """Between the two, nodes could be launched that are promised to be what they aren't."""
    served = cluster()
    apply(served, desired)
    count = len(served.written)
    apply(served, desired)
    again = [path.rpartition("/")[2] for method, path in served.written[count:] if "karpenter.sh/" in path]
    assert again == ["chat-l4-704-1gpu", "chat-l4-704", "search-l4-ts4-1gpu", "search-l4-ts4"]


def test_an_overlay_of_a_pool_that_is_there_is_accepted_before_anybody_moves(desired):
    served = cluster()
    apply(served, wanted(metered=False))
    refusing(served, "search-l4-ts4-1gpu")
    key = ("nodeoverlays.karpenter.sh", "", "search-l4-ts4-1gpu")
    served.kept[key]["status"] = {"conditions": REFUSED}
    count = len(served.written)
    with pytest.raises(AnswerIsNoError, match="RuntimeValidation"):
        apply(served, desired, seconds=0)
    assert not any("/deployments/" in path for _, path in served.written[count:])


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (
            overlay("blueprint", pools=(), weight=None, capacity={"nvidia.com/gpu": "4"}),
            None,
        ),
        (
            overlay("blueprint", pools=(), weight=1, capacity={"nvidia.com/gpu.shared": "4"}),
            None,
        ),
        (
            overlay("zz", pools=(), weight=9_999, capacity={"nvidia.com/gpu.shared": "8"}),
            "where zz with the higher weight says 8: chat-l4-704-1gpu shows Ready and has no effect there",
        ),
        (
            overlay("zz", pools=("chat-l4-704",), capacity={"nvidia.com/gpu": "0"}, weight="same"),
            "Karpenter drops",
        ),
        (
            overlay("aa", pools=("chat-l4-704",), capacity={"nvidia.com/gpu": "0"}, weight="same"),
            "Karpenter drops aa",
        ),
        (overlay("zz", pools=("others",), weight=9_999), None),
    ],
    ids=["unweighted", "lighter", "heavier", "equal", "equal, and theirs is dropped", "elsewhere"],
)
def test_an_overlay_of_others_that_would_meet_the_plans_is_told_before_anything_is_asked(
    desired, theirs, said
):
    weights = {
        each["metadata"]["name"]: each["spec"]["weight"]
        for each in desired.objects
        if each["kind"] == "NodeOverlay"
    }
    if theirs["spec"]["weight"] == "same":
        theirs = {**theirs, "spec": theirs["spec"] | {"weight": weights["chat-l4-704-1gpu"]}}
    theirs["spec"] = {key: each for key, each in theirs["spec"].items() if each is not None}
    served = cluster()
    served.store(theirs)
    snapshot = read(served.api())
    if said is None:
        preflight.check(desired, snapshot, catalogs.bundled())
        return
    with pytest.raises(AnswerIsNoError) as error:
        preflight.check(desired, snapshot, catalogs.bundled())
    assert said in error.value.message
    assert "NodeOverlay" in error.value.where
