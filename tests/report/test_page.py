"""The page as text: what it says, what it never lets through, how large it is."""

import re
from html.parser import HTMLParser

import pytest

from gpuslice.report.charts import charts, moments
from gpuslice.report.page import hour, month, page, percent, plural, sign
from gpuslice.report.sections import from_plan
from gpuslice.report.subject import Subject
from gpuslice.simulator.result import Outcome, Over, Waits
from tests.planner import seated
from tests.report.subjects import (
    HOSTILE,
    big,
    broken,
    hostile,
    simulated,
    subject,
    unplaced,
    without_workloads,
)

VOID = {"meta", "br", "input", "link", "img", "hr"}


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def test_the_figures_are_the_plans():
    found = subject()
    summary = found.plan.summary
    words = Elements(page(found)).words
    for usd in (
        summary.usd_per_hour,
        summary.baselines[0].usd_per_hour,
        summary.baselines[0].usd_per_hour - summary.usd_per_hour,
        summary.usd_per_hour - summary.bound_usd_per_hour,
    ):
        assert f"${usd * 730:,.0f} a month" in words
    assert "Wrong for 3 workloads:" in words
    for each in found.plan.assignments:
        assert each.workload in words
        assert each.because in words
    for assumption in found.plan.assumptions:
        assert assumption in words


def test_it_says_whether_the_plan_was_verified():
    assert "Verified: every rule recomputed" in Elements(page(subject())).words
    words = Elements(page(without_workloads())).words
    assert "Not verified: made without the workloads" in words
    assert "Verified: every rule" not in words


def test_a_plan_that_breaks_a_rule_is_not_drawn():
    text = page(broken())
    elements = Elements(text)
    assert "Fails verification" in elements.words
    assert "This plan must not be carried out" in elements.words
    assert "replicas are assigned" in elements.words
    assert "a month" not in elements.words
    assert not [tag for tag, _ in elements.found if tag in {"svg", "figure"}]


def test_workloads_without_a_place_stand_at_the_top_with_their_reason():
    words = Elements(page(unplaced())).words
    assert "Not placed: 1 workload" in words
    assert "red/giant (2 replicas): needs 600Gi" in words
    assert words.index("Not placed: 1 workload") < words.index("Where the money goes")


def test_nothing_in_a_plan_becomes_markup():
    text = page(hostile())
    clean = Elements(page(subject()))
    found = Elements(text)
    allowed = {tag for tag, _ in clean.found} | {"section", "li", "small", "strong"}
    assert {tag for tag, _ in found.found} <= allowed
    assert [tag for tag, _ in found.found].count("script") == 1
    for _, attributes in found.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert (attributes.get("href") or "#").startswith("#")
    words = found.words
    for each in HOSTILE:
        assert " ".join(each.split()) in words


def test_names_do_not_turn_their_surroundings_around():
    """Text from right to left stands in an element of its own direction wherever it stands."""
    text = page(hostile())
    for match in re.finditer("\u202e", text):
        before = text[: match.start()]
        inside = before.rfind("<bdi>") > before.rfind("</bdi>")
        command = before.rfind("<code>") > before.rfind("</code>")
        assert inside or command, text[match.start() - 80 : match.start() + 20]


def test_only_the_pages_own_script_and_style_may_run():
    import base64
    import hashlib

    text = page(subject())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|//[a-z]", text.replace(" // ", " "))


def test_the_same_plan_gives_the_same_bytes():
    assert page(subject()) == page(subject())


def test_a_thousand_nodes_are_a_light_page():
    text = page(big(1000))
    assert len(text.encode()) < 5_000_000
    assert text.count("<figure") > 400


@pytest.mark.parametrize("name", ["shared", "cut", "slots", "alike"])
def test_every_mechanism_has_a_picture(name):
    found = Elements(page(subject(name)))
    drawn = [attributes for tag, attributes in found.found if tag == "path" and attributes["class"] == "use"]
    assert drawn
    assert all(not re.search(r"nan|inf|-\d", str(each["d"]).replace("h-", "h")) for each in drawn)


def test_figures_are_written_for_people():
    assert month(101.757524) == "$74,283"
    assert hour(1234.5) == "$1,234.50"
    assert sign(-52.59) == "−$38,391"
    assert sign(0.5) == "+$365"
    assert sign(0.0) == "$0"
    assert percent(0.34073, 1) == "34.1%"
    assert plural(1, "pod") == "1 pod"
    assert plural(1200, "pod") == "1,200 pods"


def test_a_replay_has_its_figures_as_text_and_its_charts_in_words():
    found = Elements(page(simulated()))
    assert "by hand, over 24 hours" in found.words
    assert "181 / 182 / 190 s" in found.words
    assert "Wrong for 7 workloads:" in found.words
    charts = [
        attributes["aria-label"] or "" for tag, attributes in found.found if attributes.get("role") == "img"
    ]
    assert any(each.startswith("Dollars an hour. whole: 1.0 on average, 2.0 at most") for each in charts)
    assert [tag for tag, _ in found.found].count("script") == 1


def test_a_line_holds_each_mean_for_its_whole_bin():
    over = Over((2.0, 1.0, 1.0, 0.0), (), ())
    one = Outcome("one", "", 0, 0, 0, 0, Waits(0, 0, 0, 0), 0, 0, 0, 0, 0, 0, over)
    cost, gpus, _ = charts([one])
    assert cost.lines == ("M0.0 0.0H250.0V50.0H750.0V100.0H1000",)
    assert (cost.most, gpus.lines) == (2.0, ("",))
    assert moments(86_400) == ("0", "6", "12", "18", "24 hours")
    assert moments(8 * 86_400)[-1] == "8 days"


@pytest.mark.parametrize("given", [True, False])
def test_a_plan_with_seats_tells_each_pool_of_a_workload_and_why_once(given):
    plan = seated.seated()
    workloads = seated.WORKLOADS if given else from_plan(plan)
    words = Elements(page(Subject(plan, seated.CATALOG, workloads, given))).words
    assert "1 pod on L4/time-slicing/metered, in pool mixed 1 pod on L4/whole, in pool own-b" in words
    assert words.count("cheapest for red/b") == 1
    assert "1 more pool without nodes in the plan" in words
    assert "a place on a node for one replica" in words


def test_a_plan_without_seats_has_no_word_for_them():
    assert "a place on a node for one replica" not in Elements(page(subject())).words
