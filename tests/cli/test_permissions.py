"""What the verbs that look at a cluster say where they may not look at all of it."""

import json
from contextlib import contextmanager

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cli import connection
from gpuslice.cli import status as status_verb
from gpuslice.cluster.apply.permissions import of_role
from gpuslice.cluster.client.resources import CONFIG_MAP, NODE, NODE_POOL, POD
from gpuslice.cluster.client.roles import Role
from tests.cluster.planned import plan, pool
from tests.cluster.served import Served
from tests.cluster.sliced import healthy

VERBS = ("scan", "doctor", "status")
ROWS = of_role(Role.VIEW)


@pytest.fixture
def without(monkeypatch):
    """A cluster of which one kind may not be looked at."""

    def made(resource):
        served = Served(*healthy().values())
        served.forbidden = {resource.plural} if resource else set()

        @contextmanager
        def connected(*_):
            yield served.api()

        for each in (connection, status_verb):
            monkeypatch.setattr(each, "connected", connected)

    return made


@pytest.mark.parametrize("verb", VERBS)
def test_whoever_may_look_at_everything_is_told_of_nothing_missing(gpuslice, without, verb):
    without(None)
    ended = gpuslice(verb)
    assert ended.code == 0
    assert "can't be read" not in ended.out + ended.err


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.resource.plural)
@pytest.mark.parametrize("verb", VERBS)
def test_one_permission_less_is_named_by_verb_and_resource_and_who_has_it(gpuslice, without, verb, row):
    without(row.resource)
    ended = gpuslice(verb)
    said = " ".join((ended.out + ended.err).split())
    (needed,) = row.verbs
    assert f'cannot {needed} resource "{row.resource.plural}" in API group "{row.resource.group}"' in said
    if row.resource is POD:
        assert ended.code == 3
        assert "gpuslice render --rbac ROLE" in said
        assert ended.out == ""
        return
    assert ended.code == 0, said
    assert f"{row.resource.title} can't be read" in said
    assert "gpuslice render --rbac view --bind-to user:NAME" in said
    # Named, and nothing else is called missing.
    assert {each for each in ROWS if f" {each.resource.title} can't be read" in said} == {row}


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [each for each in ROWS if each.resource is not POD], ids=lambda row: row.resource.plural
)
def test_programs_are_told_too(gpuslice, without, row):
    """A JSON of what stands there says what it doesn't know, or standard error does."""
    without(row.resource)
    for verb in VERBS:
        ended = gpuslice(verb, "-o", "json")
        assert ended.code == 0
        json.loads(ended.out)
        assert f"{row.resource.title} can't be read" in ended.out + ended.err


@pytest.mark.parametrize("resource", [NODE, NODE_POOL], ids=lambda each: each.plural)
def test_what_can_not_be_compared_with_a_plan_is_an_environment_that_failed(
    gpuslice, without, tmp_path, resource
):
    without(resource)
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(plan(pool())))
    ended = gpuslice("status", "-f", path)
    assert (ended.code, ended.out) == (3, "")
    assert f"{resource.title} can't be read" in ended.err
    assert "gpuslice render --rbac view" in ended.err


def test_doctor_says_where_else_the_config_map_may_be(gpuslice, without):
    without(CONFIG_MAP)
    assert "--operator-namespace" in " ".join(gpuslice("doctor", "--only", "GS401").out.split())


def test_checks_that_were_not_asked_for_are_not_what_is_missing(gpuslice, without):
    without(CONFIG_MAP)
    ended = gpuslice("doctor", "--only", "GS304")
    assert "0 unknown" not in ended.err
    assert "note: configmaps can't be read" in ended.err
