"""The rooms are as the page says, and no files import each other in a circle."""

import re

import grimp
import pytest

from tools.architecture import PAGE, PICTURE, ROOT, arrows, circle, imports, layers, page, picture


def test_the_table_and_the_picture_are_what_the_imports_say():
    assert (ROOT / PAGE).read_text() == page(), "run `make reference`"
    assert (ROOT / PICTURE).read_text() == picture(), "run `make reference`"


def test_every_room_and_every_arrow_is_in_the_picture():
    drawn = picture()
    rooms = [room for layer in layers() for room in layer]
    assert [room for room in rooms if f">{room}</text>" not in drawn] == []
    assert drawn.count("marker-end=") == len(arrows(imports()))


def test_arrows_lead_to_lower_rooms_and_none_is_there_twice_over():
    graph = grimp.ImportGraph()
    for importer, imported in (("cli.plan", "plan"), ("cli.plan", "units"), ("plan.words", "units")):
        graph.add_import(importer=f"gpuslice.{importer}", imported=f"gpuslice.{imported}")
    assert arrows(graph) == [("cli", "plan"), ("plan", "units")]


def test_no_files_import_each_other_in_a_circle():
    assert circle(imports()) == []


@pytest.mark.parametrize("importer", ["gpuslice.units", "gpuslice.hardware.need"])
def test_a_circle_is_told_file_by_file(importer):
    graph = grimp.build_graph("gpuslice", exclude_type_checking_imports=False, cache_dir=None)
    graph.add_import(importer=importer, imported="gpuslice.planner.solve")
    files = circle(graph)
    assert files[0] == files[-1]
    assert {importer, "gpuslice.planner.solve"} <= set(files)


def test_files_that_the_page_names_exist():
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", (ROOT / PAGE).read_text()))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / "src/gpuslice" / path).exists()] == []
