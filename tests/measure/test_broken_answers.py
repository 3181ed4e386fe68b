"""Answers of a real Prometheus, broken one at a time: the same needs or an error, never other needs.

A server that makes figures up can't be found out. What is broken here is the form: answers cut off, of another type, of
other times, without values, or with what is no number.
"""

import json

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuslice.errors import GpusliceError
from gpuslice.measure.prometheus import Access, Server
from tests.measure.prometheus_server import served
from tests.measure.shared_gpus import lines, measured, pods

pytestmark = pytest.mark.services

BODIES = (
    *(b"", b"{}", b"null", b"[]", b"<html>", b"\xff\xfe", b'{"status":"success"}', b"[" * 5000),
    b'{"status":"success","data":null}',
    b'{"status":"success","data":[null]}',
    b'{"status":"success","data":{"resultType":"matrix","result":null}}',
    b'{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}',
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[]}]}}',
    b'{"status":"error","errorType":"execution","error":"too many samples"}',
    b'{"status":"error","errorType":null,"error":null}',
)
CODES = (200, 204, 206, 301, 400, 401, 403, 404, 413, 418, 422, 429, 500, 502, 503, 504)
NO_VALUES: tuple[object, ...] = ("", "x", "0x10", None, 3, [], {})
NO_TIMES = (None, "1", -5, 0, 1e300, 10**30, 9.3e18)
NO_LISTS: tuple[object, ...] = ([], None, [[]], [[1]], [[1, "1", 2]], {}, "x")


def cut(answer, draw):
    return 200, answer[: draw(st.integers(0, len(answer) - 1))]


def another(_answer, draw):
    return draw(st.sampled_from(CODES[1:])), draw(st.sampled_from(BODIES))


def deformed(answer, draw):
    document = json.loads(answer)
    if not isinstance(document["data"], dict) or not document["data"]["result"]:
        return another(answer, draw)
    series = draw(st.sampled_from(document["data"]["result"]))
    match draw(st.sampled_from(["value", "time", "values", "metric"])):
        case "value":
            draw(st.sampled_from(series["values"]))[1] = draw(st.sampled_from(NO_VALUES))
        case "time":
            draw(st.sampled_from(series["values"]))[0] = draw(st.sampled_from(NO_TIMES))
        case "values":
            series["values"] = draw(st.sampled_from(NO_LISTS))
        case _:
            series["metric"] = draw(st.sampled_from([None, [], "x", {"pod": 1}, {"pod": None}]))
    return 200, json.dumps(document).encode()


class Replayed:
    """The server's answers by heart, one of them broken, as often as it is asked for."""

    def __init__(self, url):
        self.url = url
        self.answers: dict[tuple[str, bytes], bytes] = {}
        self.broken: tuple[tuple[str, bytes], tuple[int, bytes]] | None = None

    def __call__(self, request):
        key = request.url.path, request.content
        if self.broken and self.broken[0] == key:
            code, content = self.broken[1]
            return httpx.Response(code, content=content)
        if key not in self.answers:  # after a broken one there are smaller questions
            url = self.url + request.url.path
            self.answers[key] = httpx.post(
                url, content=request.content, headers=dict(request.headers)
            ).content
        return httpx.Response(200, content=self.answers[key])


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(a server, its answers, the questions of a run, the needs that it makes)"""
    made = lines([*pods()], {"n1": 4, "n2": 1, "n3": 7})
    with served(tmp_path_factory.mktemp("prometheus"), made) as url:
        server = Server(Access(url), sleep=lambda _: None)
        server.close()
        replayed = Replayed(url)
        server._http = httpx.Client(transport=httpx.MockTransport(replayed))
        needs = measured(server)
        yield server, replayed, sorted(replayed.answers), needs
        server.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_broken_answer_is_an_error_or_makes_the_same_needs(asked, data):
    server, replayed, questions, needs = asked
    question = data.draw(st.sampled_from(questions))
    how = data.draw(st.sampled_from([cut, another, deformed]))
    replayed.broken = question, how(replayed.answers[question], data.draw)
    try:
        found = measured(server)
    except GpusliceError:
        return
    assert found == needs


def test_whole_answers_make_the_needs(asked):
    server, replayed, questions, needs = asked
    replayed.broken = None
    assert len(questions) > 8
    assert measured(server) == needs
    assert needs["shop/own"].memory_mib == 2000
