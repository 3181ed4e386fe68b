"""Which Pythons and versions are run."""

import sys

from tools.matrix import Cell, cells, interpreter, main


def test_ci_adds_the_newest_everywhere_and_the_lowest_on_the_oldest():
    assert [cell.name for cell in cells(["3.11", "3.13"], brief=True)] == [
        "3.11-lowest",
        "3.11-newest",
        "3.13-newest",
    ]
    assert cells([], brief=True) == []


def test_all_of_them_are_every_python_with_every_choice():
    assert len(set(cells(["3.11", "3.12"], brief=False))) == 6
    assert Cell("3.12", "locked") in cells(["3.12"], brief=False)


def test_a_python_is_found_by_running_it_and_one_that_is_not_there_is_not():
    own = "{}.{}".format(*sys.version_info)
    assert interpreter(own)
    assert interpreter("3.99") is None


def test_a_name_that_is_none_of_them_is_no_success(capsys):
    assert main(["3.99-newest"]) == 1
