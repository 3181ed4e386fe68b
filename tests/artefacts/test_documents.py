"""What YAML and JSON mean here, what is refused, and that what is written reads back."""

import io
import math
import os
import sys
from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts import documents
from gpuslice.artefacts.documents import dump_json, dump_yaml, parse_documents, read_documents
from gpuslice.artefacts.yaml_reader import DEEPEST, scalar
from gpuslice.errors import InputError


def parsed(text: str) -> object:
    (document,) = parse_documents(text.encode(), "fleet.yaml")
    return document.data


def refusal(text: bytes, name: str = "fleet.yaml") -> str:
    with pytest.raises(InputError) as caught:
        parse_documents(text, name)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("null", None),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("0644", "0644"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-07-20", "2026-07-20"),
        ("2026-07-20T10:00:00Z", "2026-07-20T10:00:00Z"),
        ("0.18", 0.18),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("12e4567", "12e4567"),
        ("9" * 60, "9" * 60),
        ("1.2.3", "1.2.3"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("<<", "<<"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12.0),
    ],
)
def test_a_scalar_means_what_the_core_schema_of_yaml_1_2_says(written, meant):
    data = parsed(f"key: {written}")
    assert isinstance(data, dict)
    assert data == {"key": meant}
    assert type(data["key"]) is type(meant)


def test_not_a_number_is_read_as_such():
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_keys_are_text_as_written():
    assert parsed("{on: A10G, 12: a, true: b, 2026-07-20: c, ~: d}") == {
        "on": "A10G",
        "12": "a",
        "true": "b",
        "2026-07-20": "c",
        "~": "d",
    }


def test_merge_keys_fill_in_what_a_mapping_does_not_say_itself():
    text = """
base: &base {x: 1, y: 2}
other: &other {y: 8, z: 9}
one: {y: 3, <<: *base}
two:
  <<: [*base, *other]
  w: 4
"""
    data = parsed(text)
    assert isinstance(data, dict)
    assert data["one"] == {"x": 1, "y": 3}
    assert data["two"] == {"x": 1, "y": 2, "z": 9, "w": 4}
    assert data["base"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_is_an_ordinary_key():
    assert parsed("'<<': 1") == {"<<": 1}


def test_documents_are_numbered_where_there_are_several():
    found = parse_documents(b"---\na: 1\n---\n# nothing\n---\nb: 2\n", "all.yaml")
    assert [(each.data, each.where) for each in found] == [
        ({"a": 1}, "all.yaml (document 1)"),
        ({"b": 2}, "all.yaml (document 3)"),
    ]


def test_a_lone_document_goes_by_the_name_of_its_file():
    (only,) = parse_documents(b"---\na: 1\n---\n", "all.yaml")
    assert only.where == "all.yaml"


@pytest.mark.parametrize(("name", "text"), [("a.json", b' {"a": [1, null]}'), ("-", b'{"a": [1, null]}')])
def test_json_is_read_as_json(name, text):
    assert parse_documents(text, name)[0].data == {"a": [1, None]}


def test_yaml_that_starts_like_json_is_read_as_yaml():
    assert parsed("{a: 1, b: [x]}") == {"a": 1, "b": ["x"]}


def test_a_byte_order_mark_is_no_content():
    assert parse_documents(b"\xef\xbb\xbfa: 1", "a.yaml")[0].data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (b"a: 1\nb: 2\na: 3\n", "fleet.yaml:3:1", "key 'a' is written twice"),
        (b"a: {<<: {x: 1}, <<: {y: 1}}", "fleet.yaml:1:17", "'<<' is written twice"),
        (b"a: {<<: 3}", "fleet.yaml:1:9", "no mapping"),
        (b'{"a": 1, "a": 2}', "fleet.yaml", "key 'a' is written twice"),
        (b"a: b: c", "fleet.yaml:1:5", "not valid YAML"),
        (b"a:\n\tb: 1", "fleet.yaml:2:1", "not valid YAML"),
        (b"a: \x07", "fleet.yaml:1:4", "control characters"),
        (
            b"a: !!python/object/apply:os.system [x]",
            "fleet.yaml:1:4",
            "tag '!!python/object/apply:os.system'",
        ),
        (b"a: !Ref x", "fleet.yaml:1:4", "tag '!Ref'"),
        (b"a: !!int x", "fleet.yaml:1:4", "!!int"),
        (b"!!binary x: y", "fleet.yaml:1:1", "tag"),
        (b"a: &a [*a]", "fleet.yaml:1:8", "inside the value it stands for"),
        (b"a: *b", "fleet.yaml:1:4", "no anchor"),
        (b"? [a]\n: b", "fleet.yaml:1:3", "a key is no plain text"),
        (b"a: {{ .Values.x }}", "fleet.yaml:1:5", "rendered first"),
        (b"# {{ a }}\na: b: c", "fleet.yaml:2:5", "helm template"),
        (b"", "fleet.yaml", "is empty"),
        (b" \n\t\n", "fleet.yaml", "is empty"),
        (b"# only words\n---\n", "fleet.yaml", "is empty"),
        (b"a\0b", "fleet.yaml", "binary"),
        (b"\x7fELF\x02\x01\x01\xff", "fleet.yaml", "not UTF-8: byte 7, on line 1"),
        ("a: 1".encode("utf-16"), "fleet.yaml", "UTF-16"),
    ],
)
def test_what_could_be_misread_is_refused_with_its_place(text, place, problem):
    message = refusal(text)
    assert message.startswith(f"{place}: ")
    assert problem in message


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (b'{"a": 1,\n "b": }', "a.json:2:7", "invalid character"),
        (b'{"a": ', "a.json", "truncated"),
        (b'{"a": NaN}', "a.json:1:7", "invalid character"),
        (b'{"a": 1} {"b": 2}', "a.json:1:11", "trailing"),
        (b'{"a": "\xff"}', "a.json", "not UTF-8"),
        (b"null", "a.json", "empty"),
    ],
)
def test_a_file_named_json_has_to_be_json(text, place, problem):
    message = refusal(text, "a.json")
    assert message.startswith(f"{place}: ")
    assert problem in message.lower() or problem in message


def test_a_bomb_of_aliases_is_refused_before_it_is_expanded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "more than 5,000,000 values" in refusal("\n".join(lines).encode())


def test_a_bomb_of_a_long_text_is_refused():
    lines = [f"a: &a {'x' * 1_000_000}", "b:", *["- *a"] * 400]
    assert "more than 5,000,000 values" in refusal("\n".join(lines).encode())


def test_many_bombs_below_the_limit_are_one_bomb():
    one = "\n".join(
        ["---", "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    )
    assert parse_documents(one.encode(), "a.yaml")
    assert "more than 5,000,000 values" in refusal("\n".join([one] * 10).encode())


def test_anchors_end_with_their_document():
    assert "no anchor" in refusal(b"a: &x 1\n---\nb: *x\n")


@pytest.mark.parametrize("text", [b"[", b"{a: ", b"- ", b'{"a":'])
@pytest.mark.parametrize("name", ["deep.yaml", "deep.json"])
def test_nesting_of_thousands_is_refused_without_recursion(text, name):
    message = refusal(text * 100_000, name)
    assert "nested deeper" in message or "not valid" in message


def test_nesting_is_allowed_up_to_its_limit_in_both_forms():
    for deepest in (b"[" * DEEPEST + b"1" + b"]" * DEEPEST, b"- " * DEEPEST + b"1"):
        assert parse_documents(deepest, "deep.yaml")
    assert "nested deeper" in refusal(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))
    assert "nested deeper" in refusal(b"- " * (DEEPEST + 1) + b"1")


def test_nesting_behind_aliases_counts():
    deep = "[" * 60 + "]" * 60
    assert "aliases followed" in refusal(f"a: &a {deep}\nb: {'[' * 60}*a{']' * 60}".encode())


def test_a_yaml_of_100_mb_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "read_yaml", lambda *_: pytest.fail("it was parsed"))
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.write(b"a: 1\n")
        file.truncate(100_000_000)
    with pytest.raises(InputError, match="larger than 32 MiB"):
        read_documents(path)


def test_json_may_be_larger_than_yaml(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LARGEST_YAML", 10)
    monkeypatch.setattr(documents, "LARGEST_JSON", 40)
    path = tmp_path / "dump"
    path.write_text('{"a": "bbbbbbbbbb"}')
    assert read_documents(path)[0].data == {"a": "b" * 10}
    path.write_text('{"a": "' + "b" * 40 + '"}')
    with pytest.raises(InputError, match="larger than"):
        read_documents(path)
    path.write_text("{a: bbbbbbbbbbbbbbb}")
    with pytest.raises(InputError, match="not valid JSON"):
        read_documents(path)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("absent.yaml", "no such file"),
        (".", "is a directory"),
        ("file/below", "no such file"),
        ("\0", "is no file name"),
        ("x" * 300, "can't be read"),
    ],
)
def test_a_path_that_is_no_file_is_refused(tmp_path, path, problem):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=problem) as caught:
        read_documents(f"{tmp_path}/{path}")
    assert caught.value.exit_code == 2


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "secret.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything

        def refuse(self, mode):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="permission denied"):
        read_documents(path)


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1")))
    (only,) = read_documents("-")
    assert (only.data, only.where) == ({"a": 1}, "stdin")


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "on",
        "y",
        "No",
        "0123",
        "1e3",
        "12:30",
        "1_0",
        "2026-07-20",
        "null",
        "~",
        "<<",
        "=",
        "",
        " x",
        "x ",
        "0x1F",
        "-",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


@given(plain.filter(lambda data: data is not None))
def test_what_is_written_as_yaml_reads_back_equal(data):
    assert parsed(dump_yaml(data)) == data


@given(st.dictionaries(texts, plain, min_size=1))
def test_what_is_written_as_json_reads_back_equal(data):
    assert parse_documents(dump_json(data).encode(), "a.json")[0].data == data


@given(texts.filter(lambda text: text not in {"<<", "="}))
def test_a_reader_of_yaml_1_1_takes_a_written_text_for_text(text):
    assert yaml.safe_load(dump_yaml({"key": text, text: "key"}))["key"] in {text, "key"}
    assert text in yaml.safe_load(dump_yaml({text: "key"}))


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "n", "Y", "12:30", "0123", "1e3", "+.5e3", "1_000", str(date(2026, 7, 20))]
)
def test_a_text_that_someone_could_misread_is_quoted_as_key_and_value(text):
    assert dump_yaml({text: text}) == f"'{text}': '{text}'\n"


def test_yaml_is_written_in_blocks_in_order_without_aliases():
    shared = {"b": 1, "a": ["é", {"c": None}]}
    assert dump_yaml({"z": shared, "b": shared}) == (
        "z:\n  b: 1\n  a:\n  - é\n  - c: null\nb:\n  b: 1\n  a:\n  - é\n  - c: null\n"
    )


def test_texts_of_several_lines_are_written_as_lines():
    assert dump_yaml({"a": "one\ntwo\n"}) == "a: |\n  one\n  two\n"


def test_several_documents_are_kept_apart():
    text = dump_yaml({"a": 1}, {"b": 2})
    assert text == "---\na: 1\n---\nb: 2\n"
    assert [each.data for each in parse_documents(text.encode(), "x")] == [{"a": 1}, {"b": 2}]
