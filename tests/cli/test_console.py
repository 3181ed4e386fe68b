"""Tables and lists, in terminals of any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cli import console
from gpuslice.cli.console import print_list, print_names, print_table

PROSE = "one of 3 slots of an A10G, because nothing that fits it costs less, wherever one looks"
ROWS = [("search/embedder", 12, PROSE), ("a", None, "short"), ("b", 1, None)]


@pytest.fixture
def table(monkeypatch, capsys):
    def lines(columns, *, rows=ROWS, right=("pods",)) -> list[str]:
        monkeypatch.setattr(console, "_width", lambda: columns)
        print_table(("workload", "pods", "why"), rows, right=right)
        found: list[str] = capsys.readouterr().out.splitlines()
        return found

    return lines


def test_columns_are_as_wide_as_needed_and_numbers_align_right(table):
    assert table(None) == [
        "WORKLOAD          PODS   WHY",
        f"search/embedder     12   {PROSE}",
        "a                    -   short",
        "b                    1   -",
    ]


def test_prose_is_wrapped_beside_its_row_where_there_is_room(table):
    assert table(75)[1:4] == [
        "search/embedder     12   one of 3 slots of an A10G, because nothing that",
        "                         fits it costs less, wherever one looks",
        "a                    -   short",
    ]


def test_prose_stands_below_its_row_where_there_is_none(table):
    assert table(60) == [
        "WORKLOAD          PODS",
        "search/embedder     12",
        "    one of 3 slots of an A10G, because nothing that fits it",
        "    costs less, wherever one looks",
        "a                    -",
        "    short",
        "b                    1",
    ]


def test_a_table_of_numbers_alone_is_never_wrapped(table):
    assert table(10, rows=[("x", 1, 2)], right=("pods", "why")) == [
        "WORKLOAD   PODS   WHY",
        "x             1     2",
    ]


def test_a_cell_of_several_lines_is_one_line(table):
    assert table(None, rows=[("x", 1, "two\nlines")])[1].endswith("   two lines")


def test_names_are_a_line_each_and_none_is_nothing(capsys):
    print_names(["a", "b"])
    assert capsys.readouterr().out == "a\nb\n"
    print_names([])
    assert capsys.readouterr().out == ""


def test_a_list_hangs_below_its_title_and_an_empty_one_is_nothing(monkeypatch, capsys):
    monkeypatch.setattr(console, "_width", lambda: 60)
    print_list("Assumed", [PROSE])
    assert capsys.readouterr().out.splitlines() == [
        *("", "Assumed:", "  one of 3 slots of an A10G, because nothing that fits it"),
        "    costs less, wherever one looks",
    ]
    print_list("Assumed", [])
    assert capsys.readouterr().out == ""


@given(width=st.integers(20, 200), words=st.lists(st.text("abc", min_size=1, max_size=12), max_size=30))
def test_no_word_is_lost_at_any_width(width, words):
    front = console._aligned(("name", "7"), (10, 3), (False, True))
    text = "\n".join(console._with_prose(front, " ".join(words), 16, width, heading=False))
    assert text.split() == ["name", "7", *words]
