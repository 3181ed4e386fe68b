"""The report's pictures for docs/: sections of a real page, each as an SVG file that needs nothing else.

python -m tools.report_pictures     plan and replay tools/pictured/workloads.yaml anew (`make pictures` draws them then)

The plan and its replay are kept in tools/pictured/, so that the pictures change where the page does, and not with every
choice of the planner. Kept, they are still held to be right: a plan that breaks a rule has no picture.
"""

from __future__ import annotations

import json
import re
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.output import write_atomically
from gpuslice.artefacts.strict import decode
from gpuslice.cli.main import main as gpuslice
from gpuslice.cli.subject import subject_of
from gpuslice.plan.reading import read_plan
from gpuslice.report.page import page
from gpuslice.report.subject import Subject
from gpuslice.simulator.replay import digest
from gpuslice.simulator.result import Simulation
from gpuslice.workloads.artefact import parse_workloads

FOLDER: Final = Path(__file__).resolve().parent / "pictured"
WIDTH: Final = 780
"""About as wide as a column of text, so that letters are hardly smaller than those around the picture."""
_SVG: Final = "http://www.w3.org/2000/svg"
_HTML: Final = "http://www.w3.org/1999/xhtml"
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})
# What an HTML parser makes small letters of.
_CAMEL: Final = {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}
_STYLE: Final = "section{margin:0;padding:16px 18px}section>h2{margin:0}a{text-decoration:none}\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """A section of the page as a picture.

    Attributes:
        section: its id.
        height: of the picture; enough for the widest fonts that a system has.
        styles: parts of the style sheet that it wears, beside what all do.
        words: what is to be seen.
        without: classes and ids of what only a page can do, or what would make the picture too long.
        opened: ids of rows that are folded on the page.
    """

    section: str
    height: int
    styles: tuple[str, ...]
    words: str
    without: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()


PICTURES: Final = {
    "bill": Shown(
        "summary",
        660,
        ("Summary", "Tables"),
        "Planned, whole GPUs, saved, and left on the table, in dollars a month; below, bars of the bill beside others",
    ),
    "money": Shown(
        "money",
        790,
        ("Tables", "Hues"),
        "Bars of what each tenant and each workload costs with whole GPUs and would cost, and what stays idle",
    ),
    "fleet": Shown(
        "fleet",
        1545,
        ("Hues", "Fleet"),
        "Five pools of nodes: eight GPUs cut by MIG, whole GPUs, metered ones, and GPUs in slots; in each slice "
        "what its pod takes of memory and time",
        frozenset({"controls", "workloads"}),
    ),
    "workload": Shown(
        "workloads",
        1040,
        ("Tables", "Hues", "Fleet", "Workloads"),
        "A row for each workload; one is open, with its reason, need, what one change would save, and what else "
        "would do",
        frozenset({"find", "refusals"}),
        frozenset({"w3"}),
    ),
    "simulation": Shown(
        "simulation",
        770,
        ("Tables", "Hues", "Over time"),
        "A table of four policies, and charts of dollars an hour, GPUs and waiting pods over three days",
        frozenset({"assumptions"}),
    ),
}


def report_pictures() -> dict[str, str]:
    """The SVG files, by path from the root of the repository."""
    whole = _parsed(page(pictured()))
    return {f"docs/images/report-{name}.svg": _svg(whole, shown) for name, shown in PICTURES.items()}


@cache
def pictured() -> Subject:
    """What is kept in tools/pictured/.

    Raises:
        ValueError: the plan breaks a rule today, or the replay is of another.
    """
    workloads = parse_workloads(read_documents(FOLDER / "workloads.yaml"), at="peak")
    plan = read_plan(str(FOLDER / "plan.yaml"))
    document = read_documents(FOLDER / "simulation.json")[0]
    simulation = decode(document.data, Simulation, where=document.where)
    found = replace(subject_of(plan, workloads), simulation=simulation)
    if found.violations or simulation.plan != digest(plan):
        raise ValueError(f"tools/pictured/ is out of date: run make pictures ({found.violations[:1]})")
    return found


class _Tree(HTMLParser):
    """A page as a tree of elements, each in its namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.root = ET.Element("root")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = self._open[-1].tag
        space = _SVG if tag == "svg" or inside.startswith(f"{{{_SVG}}}") else _HTML
        named = {
            _CAMEL.get(name, name): name if value is None else value
            for name, value in attrs
            if name not in {"href", "data-w"}
        }
        new = ET.SubElement(self._open[-1], f"{{{space}}}{tag}", named)
        if tag not in _VOID:
            self._open.append(new)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].tag.rpartition("}")[2] != tag:
            raise ValueError(f"</{tag}> ends what is no {tag}")
        self._open.pop()

    def handle_data(self, data: str) -> None:
        within = self._open[-1]
        text = re.sub(r"\s+", " ", data)
        if len(within):
            within[-1].tail = (within[-1].tail or "") + text
        else:
            within.text = (within.text or "") + text


def _parsed(text: str) -> ET.Element:
    tree = _Tree()
    tree.feed(text)
    return tree.root


def _svg(whole: ET.Element, shown: Shown) -> str:
    section = next(each for each in whole.iter() if each.get("id") == shown.section)
    section = deepcopy(section)
    section.tail = None
    for parent in list(section.iter()):
        for child in list(parent):
            named = {*(child.get("class") or "").split(), child.get("id")}
            if named & shown.without:
                parent.remove(child)
            elif child.get("id") in shown.opened:
                child.set("open", "open")
    for each in section.iter():
        for name in ("id", "for", "aria-labelledby"):
            each.attrib.pop(name, None)
    svg = ET.Element(
        f"{{{_SVG}}}svg",
        {
            "viewBox": f"0 0 {WIDTH} {shown.height}",
            "width": str(WIDTH),
            "height": str(shown.height),
            "role": "img",
            "aria-label": shown.words,
        },
    )
    ET.SubElement(svg, f"{{{_SVG}}}style").text = _style(shown.styles)
    around = ET.SubElement(
        svg, f"{{{_SVG}}}foreignObject", {"width": str(WIDTH), "height": str(shown.height)}
    )
    ET.SubElement(around, f"{{{_HTML}}}body").append(section)
    ET.register_namespace("", _SVG)
    ET.register_namespace("h", _HTML)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _style(names: tuple[str, ...]) -> str:
    """Parts of the page's style sheet, which has their names in comments; what is for phones and paper is left out."""
    sheet = resources.files("gpuslice.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    parts = re.split(
        r"^/\* (.*?)\.? \*/\n|^(?=@media (?:print|\(max-width))", sheet, flags=re.MULTILINE | re.DOTALL
    )
    kept = [parts[2], _STYLE]
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    kept += [found[name] for name in names]
    return re.sub(r"\n\s*", "\n", "".join(kept)).strip()


def main() -> None:
    """Plan the workloads anew, and replay three days of them."""
    for name in ("plan.yaml", "simulation.json"):
        (FOLDER / name).unlink(missing_ok=True)
    workloads, plan, simulation = (
        str(FOLDER / name) for name in ("workloads.yaml", "plan.yaml", "simulation.json")
    )
    _done("plan", "-f", workloads, "--at", "peak", "--out", plan)
    _done("simulate", "-f", plan, "-f", workloads, "--days", "3", "--seed", "1", "--out", simulation)
    found = json.loads(Path(simulation).read_text())
    write_atomically(simulation, json.dumps(found, separators=(",", ":")) + "\n")  # thousands of lines else


def _done(*arguments: str) -> None:
    sys.argv = ["gpuslice", *arguments]
    try:
        gpuslice()
    except SystemExit as ended:
        if ended.code:
            raise


if __name__ == "__main__":
    main()
