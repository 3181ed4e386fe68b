"""The report's pictures in docs/, in a real browser. That they are the page's own is held with the generated pages."""

from xml.etree import ElementTree as ET

import pytest

from tools.report_pictures import PICTURES, WIDTH, pictured, report_pictures

NAMES = list(PICTURES)
FILES = list(report_pictures().items())


@pytest.mark.parametrize(("path", "text"), FILES, ids=NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.services
def test_all_of_a_picture_is_seen_and_nothing_is_asked_for(browser, tmp_path, path, text, scheme):
    file = tmp_path / "picture.svg"
    file.write_text(text)
    context = browser.new_context(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    height, inside, across = page.evaluate(
        """() => { const section = document.querySelector('foreignObject > * > *');
                   return [document.documentElement.getAttribute('height') - 0,
                           section.getBoundingClientRect().height, section.scrollWidth]; }"""
    )
    # Room for the wider fonts of other systems, and no empty quarter.
    assert 0.85 * height < inside <= height
    assert across <= WIDTH
    assert said == [file.as_uri()]
    paper, ink = page.evaluate(
        """() => { const body = getComputedStyle(document.querySelector('foreignObject > *'));
                   return [body.backgroundColor, body.color]; }"""
    )
    assert (paper, ink) == {
        "light": ("rgb(251, 251, 249)", "rgb(29, 31, 34)"),
        "dark": ("rgb(21, 23, 26)", "rgb(232, 233, 234)"),
    }[scheme]
    context.close()


@pytest.mark.parametrize(("path", "text"), FILES, ids=NAMES)
def test_a_picture_is_small_has_words_and_does_nothing(path, text):
    assert len(text) < 40_000
    root = ET.fromstring(text)
    assert len(root.get("aria-label", "")) > 40
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert not tags & {"script", "input", "button", "image", "use"}
    assert not any("href" in each.attrib for each in root.iter())


def test_the_pictures_show_every_way_to_share_a_gpu():
    layouts = [each.layout for each in pictured().plan.pools]
    assert {each.mechanism for each in layouts} == {"whole", "time-slicing", "mps", "mig"}
    assert any(each.metered for each in layouts)
    assert not pictured().violations
