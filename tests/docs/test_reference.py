"""The generated pages are what the code says today."""

import json
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from gpuslice.artefacts.documents import dump_json
from gpuslice.cli.main import command_line
from gpuslice.cloud.snapshot import bundled, to_file
from tools import readme
from tools.reference import ROOT, files
from tools.schemas import schemas

README = (ROOT / readme.PATH).read_text()


@pytest.fixture(scope="module")
def made():
    return files()


def test_generated_pages_are_what_the_code_says(made):
    committed = {path: (ROOT / path).read_text() for path in made if (ROOT / path).is_file()}
    assert [path for path in made if committed.get(path) != made[path]] == [], "run `make reference`"


def test_no_page_is_left_over_from_an_earlier_reference(made):
    folders = (ROOT / "docs/reference", ROOT / "docs/images")
    found = {str(each.relative_to(ROOT)) for folder in folders for each in folder.rglob("*.*")}
    measured = {f"docs/reference/{name}.md" for name in ("benchmarks", "mutants", "parity")}
    assert found - measured == made.keys()


def test_every_verb_and_option_is_in_the_command_line_page(made):
    text = made["docs/reference/command-line.md"]
    root: Any = typer.main.get_command(command_line())
    for verb in root.commands:
        assert f"## gpuslice {verb}\n" in text
    for word in ("--accept-assumed", "--time-limit", "gpuslice catalog refresh", "GPUSLICE_DEBUG"):
        assert word in text


def test_the_schemas_take_what_the_program_writes(made):
    published = {name: json.loads(made[f"docs/reference/schemas/{name}.json"]) for name in schemas()}
    for schema in published.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(dump_json(to_file(bundled()))), published["catalog"])
    example = yaml.safe_load((ROOT / "examples/gentd26/workloads.yaml").read_text())
    jsonschema.validate(example, published["workloads"])


@pytest.mark.slow
def test_the_readme_shows_todays_plan():
    # Another processor may break ties in another way, so dollars are compared, to the planner's own tolerance.
    shown, now = readme.figures(readme.shown(README)), readme.figures(readme.block())
    assert {"whole GPUs", "planned", "proven least"} <= shown.keys()
    assert shown == pytest.approx(now, rel=0.006), "the README shows another plan: run `make reference`"


def test_the_readme_names_every_dependency_and_no_other():
    project = (ROOT / "pyproject.toml").read_text()
    listed = project.partition("\ndependencies = [")[2].partition("]")[0]
    names = {line.strip().strip('"').partition(">")[0] for line in listed.splitlines() if line.strip()}
    table = README.partition("## Dependencies")[2].partition("\n\nRanges")[0]
    rows = {line.split("|")[1].split()[0] for line in table.splitlines() if line.startswith("| ")}
    assert rows - {"package", "boto3", "nvidia-ml-py", "ray"} == names
