"""The page in a real browser: read, tabbed through, coloured, folded, printed, on a desk and on a phone."""

from importlib import resources

import pytest

from tests.report.subjects import big, broken, hostile, simulated, subject, unplaced, without_workloads
from tools.report_pictures import pictured as docs

pytestmark = pytest.mark.services

SUBJECTS = {
    "shared": subject,
    "cut": lambda: subject("cut"),
    "unplaced": unplaced,
    "simulated": simulated,
    "broken": broken,
    "hostile": hostile,
    "alone": without_workloads,
}
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


def _computed(page, selector, name):
    return page.locator(selector).first.evaluate(f"e => getComputedStyle(e).getPropertyValue('{name}')")


@pytest.mark.parametrize("width", [360, 780, 1440])
@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_is_wider_than_the_window(opened, name, width):
    page = opened(SUBJECTS[name](), width=width).page
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        """width => [...document.querySelectorAll('main *')].filter(each => {
             const box = each.getBoundingClientRect();
             return box.width && (box.right > width + 1 || box.left < -1) && !each.closest('.unseen, .skip');
           }).map(each => each.outerHTML.slice(0, 120))""",
        width,
    )
    assert wide == []


def test_names_of_policies_are_not_broken_on_a_tablet(opened):
    page = opened(docs(), width=780).page
    heights = page.locator(".outcomes th[scope=row]").evaluate_all(
        "all => all.map(each => each.clientHeight)"
    )
    assert len(heights) == 4
    assert max(heights) < 2 * 21 + 12  # a line is 21 px high


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_picture_has_words(opened, name):
    page = opened(SUBJECTS[name]()).page
    mute = page.evaluate(
        """() => [...document.querySelectorAll('svg')].filter(each =>
             each.getAttribute('role') === 'img' ? !each.getAttribute('aria-label')
                                                 : each.getAttribute('aria-hidden') !== 'true')
           .concat([...document.querySelectorAll('figure')].filter(each =>
             !each.querySelector('figcaption').textContent.trim()))
           .map(each => each.outerHTML.slice(0, 120))"""
    )
    assert mute == []


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("unplaced", "light"),
        ("unplaced", "dark"),
        ("hostile", "light"),
        ("broken", "dark"),
        ("alone", "light"),
        ("simulated", "dark"),
        ("simulated", "light"),
        ("cut", "dark"),
    ],
)
def test_axe_finds_no_serious_fault(opened, name, scheme):
    found = opened(SUBJECTS[name](), scheme=scheme)
    found.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    # Evaluated by the debugger, which the page's content policy doesn't bind.
    found.page.evaluate(AXE)
    results = found.page.evaluate("axe.run(document)")
    faults = [
        (each["id"], [node["html"][:160] for node in each["nodes"][:3]])
        for each in results["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
    assert faults == []
    assert len(results["passes"]) > 5


def test_the_figures_on_the_page_are_the_plans(opened):
    found = subject()
    page = opened(found).page
    summary = found.plan.summary
    assert page.locator(".figure.planned b").inner_text() == f"${summary.usd_per_hour * 730:,.0f}"
    assert page.locator(".figure.before b").inner_text() == f"${summary.baselines[0].usd_per_hour * 730:,.0f}"
    total = page.locator(".costs tfoot td.n").nth(1).inner_text()
    assert total == f"${summary.usd_per_hour * 730:,.0f}"
    saved = summary.baselines[0].usd_per_hour - summary.usd_per_hour
    assert page.locator(".figure.saved b").inner_text() == f"${saved * 730:,.0f}"
    left = summary.usd_per_hour - summary.bound_usd_per_hour
    assert page.locator(".figure.left b").inner_text() == f"${left * 730:,.0f}"
    bills = [each.usd_per_hour for each in (summary.baselines[0], summary, summary.baselines[1])]
    shown = page.locator(".ladder tbody tr td.n:not(.soft)").all_inner_texts()
    assert {f"${each * 730:,.0f}" for each in (*bills, summary.bound_usd_per_hour)} <= set(shown)
    costs = page.locator(".costs").nth(1).locator("tbody tr td.n:nth-last-child(2)").all_inner_texts()
    idle = page.locator(".costs .idle td.n:nth-last-child(2)").inner_text()
    dollars = sum(int(each.strip("$").replace(",", "")) for each in (*costs, idle))
    assert dollars == pytest.approx(summary.usd_per_hour * 730, abs=len(costs))
    counted = page.evaluate(
        "[...document.querySelectorAll('figure.node b')].map(e => Number(e.textContent.replace(/,/g, '')))"
    )
    assert sum(counted) == sum(node.count for pool in found.plan.pools for node in pool.nodes)


def test_colours_follow_the_choice_even_without_script(opened):
    page = opened(subject(), script=False).page
    assert page.locator("#by-tenant").is_checked()
    assert page.locator(".legend.tenants").is_visible()
    first = page.locator("figure.node g").first
    by_tenant = first.evaluate("e => getComputedStyle(e.querySelector('.room')).fill")
    page.get_by_label("Workload", exact=True).check()
    assert page.locator(".legend.workloads").is_visible()
    assert not page.locator(".legend.tenants").is_visible()
    fills = page.evaluate(
        "[...document.querySelectorAll('figure.node g .room')].map(e => getComputedStyle(e).fill)"
    )
    assert len(set(fills)) == 8
    page.get_by_label("Tenant", exact=True).check()
    assert first.evaluate("e => getComputedStyle(e.querySelector('.room')).fill") == by_tenant


def test_without_script_everything_is_still_there(opened):
    page = opened(subject(), script=False).page
    assert not page.locator("#open-all").is_visible()
    assert not page.locator("#find").is_visible()
    page.locator("details.workload summary").first.click()
    assert page.locator("details.workload .gist").first.is_visible()


def test_a_slice_under_the_mouse_tells_who_is_in_it_and_why(opened):
    found = subject()
    page = opened(found).page
    shape = page.locator("figure.node g[data-w]").first
    shape.locator(".room").hover(position={"x": 5, "y": 5})
    tip = page.locator("#tip")
    assert tip.is_visible()
    number = shape.get_attribute("data-w")
    name = page.locator(f"#w{number} .name").inner_text()
    because = next(each.because for each in found.plan.assignments if each.workload == name)
    assert name in tip.inner_text()
    assert because in tip.inner_text()
    page.mouse.move(5, 5)
    assert not tip.is_visible()


def test_the_keyboard_reaches_everything(opened):
    page = opened(subject()).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    seen = []
    for _ in range(200):
        page.keyboard.press("Tab")
        kind = page.evaluate(
            """() => { const e = document.activeElement;
                       return e === document.body ? '' : `${e.tagName} ${e.id} ${e.dataset.w || ''}`; }"""
        )
        if not kind:
            break
        seen.append(kind)
    workloads = len(subject().workloads)
    assert any("by-tenant" in each for each in seen)
    assert any("open-all" in each for each in seen)
    assert any("find" in each for each in seen)
    assert sum(each.startswith("A ") and each[-1].isdigit() for each in seen) >= workloads
    assert sum(each.startswith("SUMMARY") for each in seen) >= workloads


def test_a_focused_link_shows_its_tip_describes_itself_by_it_and_leads_to_the_workload(opened):
    page = opened(subject()).page
    link = page.locator("figcaption a").first
    link.focus()
    assert page.locator("#tip").is_visible()
    assert link.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    number = link.get_attribute("data-w")
    link.press("Enter")
    row = page.locator(f"#w{number}")
    assert row.evaluate("e => e.open")
    assert row.locator("summary").first.evaluate("e => e === document.activeElement")


def test_finding_leaves_the_rows_that_hold_all_the_words(opened):
    page = opened(subject()).page
    page.locator("#find").fill("red embed")
    rows = page.locator("details.workload:visible")
    assert rows.count() == 1
    assert "red/embed" in rows.first.inner_text()
    assert page.locator("#found").inner_text() == f"1 of {len(subject().workloads)}"
    page.locator("#find").fill("")
    assert page.locator("details.workload:visible").count() == len(subject().workloads)


def test_pools_fold_and_open_together(opened):
    page = opened(subject()).page
    pools = page.locator("details.pool")
    page.locator("#fold-all").click()
    assert page.locator("details.pool[open]").count() == 0
    page.locator("#open-all").click()
    assert page.locator("details.pool[open]").count() == pools.count() > 3


def test_dark_and_light_differ_and_paper_is_always_light(opened):
    dark, light = (opened(subject(), scheme=scheme).page for scheme in ("dark", "light"))
    background = _computed(dark, "body", "background-color")
    assert background != _computed(light, "body", "background-color")
    dark.emulate_media(media="print")
    assert _computed(dark, "body", "background-color") == "rgb(255, 255, 255)"
    assert not dark.locator("nav").is_visible()
    assert dark.pdf()[:4] == b"%PDF"


def test_a_broken_plan_is_red_and_has_no_picture(opened):
    page = opened(broken()).page
    assert page.locator("figure, main svg").count() == 0
    assert (
        _computed(page, ".state.bad", "color") == _computed(page, ".broken h2", "color") == "rgb(179, 38, 30)"
    )


def test_a_thousand_nodes_open_in_two_seconds_folded_by_pool(opened):
    page = opened(big(1000)).page
    took: list[float] = []
    while len(took) < 5 and (not took or took[-1] >= 2000):  # a busy machine may try again
        page.reload()
        timing = "performance.timing.loadEventEnd - performance.timing.navigationStart"
        took.append(page.evaluate(timing))
    assert min(took) < 2000
    pools = page.locator("details.pool")
    assert pools.count() == 25
    assert page.locator("details.pool[open]").count() == 0
    assert not page.locator("figure.node").first.is_visible()
    pools.first.locator("summary").first.click()
    assert pools.first.locator("figure.node").first.is_visible()
