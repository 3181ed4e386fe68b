"""What the handwritten pages say can be done: commands that parse, files that are read, links that lead somewhere."""

import re
import shlex
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from gpuslice.artefacts.documents import Document
from gpuslice.cli.main import command_line
from gpuslice.cloud.aws import PERMISSIONS
from gpuslice.hardware import sharing
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import is_seat
from gpuslice.workloads.annotations import KNOWN, OURS, PREFIX
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.frameworks import LIMIT_ARGUMENT, LIMIT_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "examples/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BUILT = {"docs/examples/report.html"}  # made by `make docs`: tools/site.py
COMMAND = re.compile(r"(?:^\$ |\| |`)((?:\.venv/bin/)?gpuslice [^`|#\n]+)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands() -> list[tuple[str, str]]:
    return [
        (name(page), line.strip())
        for page in PAGES
        if "reference" not in page.parts
        for line in COMMAND.findall(page.read_text())
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_on_a_page_names_verbs_and_options_that_exist(page, line):
    words = shlex.split(line.replace("…", "").split(" > ")[0])[1:]
    words = words[: words.index("--")] if "--" in words else words  # what follows is somebody else's command
    command: Any = typer.main.get_command(command_line())
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {each for parameter in command.params for each in parameter.opts} | {"--help"}
    if not hasattr(command, "commands"):
        assert not [word for word in words if word.startswith("-") and word != "-" and word not in known]
    elif words and not words[0].startswith("-"):
        pytest.fail(f"gpuslice has no verb {words[0]}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_that_exist(page):
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", page.read_text())):
        path = (page.parent / target).resolve()
        assert path.exists() or path.relative_to(ROOT).as_posix() in BUILT, target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_yaml_on_a_page_is_yaml_and_workloads_are_read(page):
    for text in YAML.findall(page.read_text()):
        # Blocks inside a list are indented.
        for data in yaml.safe_load_all(
            re.sub(r"^   ", "", text, flags=re.MULTILINE) if text[0] == " " else text
        ):
            if isinstance(data, dict) and data.get("kind") == "Workloads":
                parse_workloads([Document(data, name(page))])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_annotations_on_a_page_are_known(page):
    resources = {"gpuslice.io/gpu-memory", "gpuslice.io/gpu-time"}
    known = KNOWN | resources | {PREFIX + each for each in OURS}
    for found in re.findall(r"gpuslice\.io/[a-z][a-z-]*", page.read_text()):
        if is_seat(found):
            continue  # of a workload
        assert found in known or found in {"gpuslice.io/v", "gpuslice.io/schemas", "gpuslice.io/layout"}, (
            found
        )


def test_the_pages_name_the_settings_and_permissions_that_the_code_uses():
    preallocators = (ROOT / "docs/how-to/preallocators.md").read_text()
    for setting in (*LIMIT_ARGUMENT.values(), *LIMIT_ENVIRONMENT.values()):
        assert setting in preallocators
    prices = (ROOT / "docs/how-to/prices.md").read_text()
    for permission in PERMISSIONS:
        assert permission in prices


def test_the_example_of_slowdown_is_what_the_code_computes():
    fit = (ROOT / "docs/concepts/fit.md").read_text()
    slicing = Mechanism.TIME_SLICING
    share = sharing.sustained_milli(slicing) // 4
    assert f"each may take {share} thousandths" in fit
    for own, words in ((share, "the contention 2.5"), (110, "contention 1.6")):
        times = float(sharing.contention(slicing, 4, Fraction(3 * own, 1000)))
        assert f"{times:.1f}" in words
        assert words in fit
    assert f"{float(sharing.SUSTAINED_LOAD)} × {float(sharing.EFFICIENCY[slicing])}" in fit


def test_no_page_is_left_out_of_the_navigation():
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} == listed
