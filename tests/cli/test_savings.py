"""`gpuslice explain --savings`: what one change would save, planned again with it."""

import json
import signal
from dataclasses import replace

import pytest
import yaml
from msgspec import structs

from gpuslice.advice import savings as sensitivity
from gpuslice.cli import explain, planning

FLEET = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
policy: {forbid: [g6f, g6, gr6, g6e]}
workloads:
- name: shop/search
  target: {kind: Deployment}
  replicas: 4
  tenant: shop
  isolation: hardware
  pod: {cpu: 500m, memory: 1Gi}
  need: {memory: 3Gi, duty: 0.1, 'on': T4}
  gpu: {allow: [T4]}
- name: shop/rank
  target: {kind: Deployment}
  replicas: 1
  isolation: hardware
  pod: {cpu: 500m, memory: 1Gi}
  need: {memory: 6Gi, duty: 0.1, 'on': A10G}
  gpu: {allow: [A10G]}
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(FLEET)
    return path


def test_changes_are_ranked_by_what_they_save(gpuslice, rules):
    ended = gpuslice("explain", "-f", rules, "--savings")
    assert ended.code == 0
    table = ended.out.partition(
        "What one change would save, planned again with it and nothing else changed:\n"
    )[2]
    head, *rows = table.partition("\n\n")[0].splitlines()
    assert head.split() == ["$", "A", "MONTH", "ESTIMATE", "PROVEN", "WHOSE", "CHANGE"]
    # Four T4s become one, or two under MPS; a month has 730 hours.
    saved = [3 * 0.526, 2 * 0.526, 1.006 - 0.526]
    assert [row.split(maxsplit=3)[::2] for row in rows] == [[f"{each * 730:,.2f}"] * 2 for each in saved]
    assert [float(row.split()[1].replace(",", "")) for row in rows] == [
        pytest.approx(each * 730, rel=3e-3) for each in saved
    ]
    assert [row.split(maxsplit=3)[3] for row in rows] == [
        "shop/search   isolation none instead of hardware",
        "shop/search   isolation memory instead of hardware",
        "shop/rank     allow T4 too",
    ]
    assert "no plan is cheaper than this one as things are, so that these savings are proven" in ended.err
    assert "spot is left out, as the catalog has no prices for it" in ended.err
    last = ended.out.strip().splitlines()[-1]
    assert "changes were priced; by the prices of the proof no other saves $1 a month." in last


def test_savings_within_what_is_not_proven_say_so(gpuslice, rules, monkeypatch):
    """A plan that may be $0.60 an hour above the least: what a change saves beyond that is sure."""
    real = planning.make_plan

    def unsure(*arguments, **more):
        planned = real(*arguments, **more)
        summary = planned.solution.plan.summary
        loose = structs.replace(summary, bound_usd_per_hour=summary.usd_per_hour - 0.6)
        plan = structs.replace(planned.solution.plan, summary=loose)
        return replace(planned, solution=replace(planned.solution, plan=plan))

    monkeypatch.setattr(explain, "make_plan", unsure)
    ended = gpuslice("explain", "-f", rules, "--savings")
    assert (
        f"a plan might be found that costs up to ${0.6 * 730:,.2f} a month less than this one: what goes beyond "
        "that is proven" in ended.err
    )
    rows = ended.out.partition("nothing else changed:\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert [row.split()[2] for row in rows] == [f"{0.978 * 730:,.2f}", f"{0.452 * 730:,.2f}", "-"]
    alone = gpuslice("explain", "shop/rank", "-f", rules, "--savings")
    assert "so none of these savings is proven" in alone.err
    assert "PROVEN" not in alone.out


def test_what_bills_differ_by_beyond_the_estimate_ranks_nothing_higher(gpuslice, rules, monkeypatch):
    real = sensitivity.saving

    def lucky(change, *others):
        found = real(change, *others)
        assert found is not None
        return replace(found, usd_per_hour=50.0) if change.whose == "shop/rank" else found

    monkeypatch.setattr(sensitivity, "saving", lucky)
    rows = gpuslice("explain", "-f", rules, "--savings").out.partition("nothing else changed:\n")[2]
    last = rows.partition("\n\n")[0].splitlines()[-1]
    assert "shop/rank" in last
    assert last.startswith(f"{50 * 730:,.2f}")


def test_programs_get_savings_beside_the_rest(gpuslice, rules):
    found = json.loads(gpuslice("explain", "-f", rules, "--savings", "-o", "json").out)["savings"]
    assert found[0] == {
        "whose": "shop/search",
        "kind": "isolation",
        "change": "isolation none instead of hardware",
        "workloads": ["shop/search"],
        "estimatedUsdPerHour": pytest.approx(3 * 0.526, rel=2e-3),
        "usdPerHour": pytest.approx(3 * 0.526),
        "usdPerMonth": pytest.approx(3 * 0.526 * 730),
        "provenUsdPerHour": pytest.approx(3 * 0.526),
        "confirmed": True,
    }
    as_yaml = yaml.safe_load(gpuslice("explain", "shop/search", "-f", rules, "--savings", "-o", "yaml").out)
    assert {each["whose"] for each in as_yaml["savings"]} == {"shop/search"}


def test_nothing_of_it_without_the_option(gpuslice, rules):
    ended = gpuslice("explain", "-f", rules)
    assert "What one change would save" not in ended.out
    assert "savings" not in json.loads(gpuslice("explain", "-f", rules, "-o", "json").out)


def test_a_workload_is_told_of_its_own_changes_alone(gpuslice, rules):
    out = gpuslice("explain", "shop/rank", "-f", rules, "--savings").out
    rows = out.partition("nothing else changed:\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert rows
    assert all("shop/rank" in row for row in rows)


def test_without_time_to_plan_again_there_are_estimates_and_they_say_so(gpuslice, rules, monkeypatch):
    from gpuslice.cli import savings

    monkeypatch.setattr(savings, "_AGAIN", 1)
    ended = gpuslice("explain", "-f", rules, "--savings")
    assert len(ended.out.partition("nothing else changed:\n")[2].partition("\n\n")[0].splitlines()) == 2
    estimated = ended.out.partition("Estimated by the prices of the proof, not planned again:\n")[2]
    assert estimated.splitlines()[0].split() == ["$", "A", "MONTH", "WHOSE", "CHANGE"]
    found = json.loads(gpuslice("explain", "-f", rules, "--savings", "-o", "json").out)["savings"]
    assert [each["confirmed"] for each in found] == [True] + [False] * (len(found) - 1)
    assert all("usdPerHour" not in each for each in found[1:])


def test_without_any_time_nothing_is_said_of_what_was_not_asked(gpuslice, rules):
    out = gpuslice("explain", "-f", rules, "--savings", "--savings-limit", "0").out
    assert "There was no time for 2 workloads; a change of one of these saves $" in out
    assert "Of 4 changes, none would save $1 a month." in out  # of the policy
    assert (
        "There was no time for 1 workload; a"
        in gpuslice("explain", "shop/rank", "-f", rules, "--savings", "--savings-limit", "0").out
    )


def test_where_nothing_helps_that_is_said(gpuslice, fleet):
    out = gpuslice("explain", "-f", fleet, "--savings").out
    assert "What one change would save" not in out
    assert out.splitlines()[-1].startswith("Of ")
    assert out.endswith(" changes, none would save $1 a month.\n")


def test_where_there_is_no_rule_that_is_said(gpuslice, tmp_path):
    path = tmp_path / "free.yaml"
    path.write_text(
        FLEET[: FLEET.index("policy")]
        + "workloads:\n- {name: a/b, target: {kind: Job}, replicas: 1, need: {'on': T4}}\n"
    )
    assert gpuslice("explain", "-f", path, "--savings").out.endswith(
        "\nNothing that is placed has a rule to loosen.\n"
    )


def test_a_workload_that_is_not_placed_has_nothing_to_save(gpuslice, misfit):
    out = gpuslice("explain", "shop/giant", "-f", misfit, "--savings").out
    assert out.endswith("\nNothing that is placed has a rule to loosen.\n")


def test_ctrl_c_while_planning_again_keeps_what_was_found(gpuslice, rules, monkeypatch):
    real = sensitivity.saving
    asked = []

    def second_time(*arguments):
        asked.append(1)
        if len(asked) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(sensitivity, "saving", second_time)
    before = signal.getsignal(signal.SIGINT)
    ended = gpuslice("explain", "-f", rules, "--savings", "-o", "json")
    assert ended.code == 130
    assert [each["confirmed"] for each in json.loads(ended.out)["savings"]][:2] == [True, False]
    assert len(asked) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_names_have_no_savings(gpuslice, rules):
    ended = gpuslice("explain", "-f", rules, "--savings", "-o", "name")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: -o: names have no savings\nwith --savings, write table, json or yaml\n"


def test_a_wrong_name_is_refused_before_anything_is_planned_again(gpuslice, rules, monkeypatch):
    monkeypatch.setattr(sensitivity, "changes", lambda *_: pytest.fail("planned again"))
    assert gpuslice("explain", "shop/serach", "-f", rules, "--savings").code == 2
