"""Writes: whose fields they meet, and what is never taken unasked."""

import httpx2 as httpx
import pytest

from gpuslice.cluster.apply.journal import Ref
from gpuslice.cluster.apply.writing import put
from gpuslice.cluster.client.api import Api
from gpuslice.cluster.client.resources import NODE_POOL
from gpuslice.errors import AnswerIsNoError
from tests.cluster.served import status

POOL = Ref.of(NODE_POOL, "l4")


@pytest.fixture
def owned():
    """An API server at which helm manages a field of the pool, and the requests that came."""
    requests: list[httpx.Request] = []

    def answer(request):
        requests.append(request)
        if request.url.params.get("force") == "true":
            return httpx.Response(200, json={})
        cause = {"reason": "FieldManagerConflict", "message": 'conflict with "helm"', "field": ".spec.weight"}
        return status(409, "Apply failed with 1 conflict", "Conflict", causes=[cause])

    http = httpx.Client(base_url="https://cluster", transport=httpx.MockTransport(answer))
    return Api(http, pause=lambda _seconds: None), requests


def test_whose_fields_are_in_the_way_is_said_and_they_are_not_taken(owned):
    api, requests = owned
    with pytest.raises(AnswerIsNoError, match=r'\.spec\.weight \(conflict with "helm"\)') as error:
        put(api, POOL, {}, force=False)
    assert "--force-conflicts" in error.value.fix
    assert len(requests) == 1
    assert "force" not in requests[0].url.params


def test_they_are_taken_where_that_is_asked_for(owned):
    api, requests = owned
    put(api, POOL, {}, force=True)
    assert requests[0].url.params["fieldManager"] == "gpuslice"
    assert requests[0].url.params["fieldValidation"] == "Strict"
