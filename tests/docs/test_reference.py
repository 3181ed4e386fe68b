"""The generated pages are what the code says today."""

import json
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from gpuslice.artefacts.documents import dump_json
from gpuslice.cli.main import app
from gpuslice.cloud.snapshot import bundled, to_file
from tools import readme
from tools.reference import ROOT, files
from tools.schemas import schemas

FILES = files()
README = (ROOT / readme.PATH).read_text()


@pytest.mark.parametrize("path", FILES)
def test_a_generated_page_is_what_the_code_says(path):
    committed = (ROOT / path).read_text() if (ROOT / path).is_file() else ""
    assert committed == FILES[path], f"{path} is out of date: run `make reference`"


def test_every_verb_and_option_is_in_the_command_line_page():
    text = FILES["docs/reference/command-line.md"]
    root: Any = typer.main.get_command(app)
    for verb in root.commands:
        assert f"## gpuslice {verb}\n" in text
    for word in ("--accept-assumed", "--time-limit", "gpuslice catalog refresh", "GPUSLICE_DEBUG"):
        assert word in text


def test_the_schemas_take_what_the_program_writes():
    published = {name: json.loads(FILES[f"docs/reference/schemas/{name}.json"]) for name in schemas()}
    for schema in published.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(dump_json(to_file(bundled()))), published["catalog"])
    example = yaml.safe_load((ROOT / "examples/gentd26/workloads.yaml").read_text())
    jsonschema.validate(example, published["workloads"])


def test_the_readme_shows_todays_plan():
    # Another processor may break ties in another way, so dollars are compared, to the planner's own tolerance.
    shown, made = readme.figures(readme.shown(README)), readme.figures(readme.block())
    assert {"planned", "proven least", "whole-gpu"} <= shown.keys()
    assert shown == pytest.approx(made, rel=0.006), "the README shows another plan: run `make reference`"


def test_the_readme_names_every_dependency_and_no_other():
    project = (ROOT / "pyproject.toml").read_text()
    listed = project.partition("\ndependencies = [")[2].partition("]")[0]
    names = {line.strip().strip('"').partition(">")[0] for line in listed.splitlines() if line.strip()}
    table = README.partition("## Dependencies")[2].partition("\n\nRanges")[0]
    rows = {line.split("|")[1].split()[0] for line in table.splitlines() if line.startswith("| ")}
    assert rows - {"package", "boto3"} == names
