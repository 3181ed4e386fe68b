"""Options that can't be what was meant: refused before anything is asked, and no credential is ever shown."""

import pytest

from tests.measure.fleet import WORKLOADS


@pytest.fixture
def refused(gpuslice, tmp_path):
    def run(*options):
        path = tmp_path / "workloads.yaml"
        path.write_text(WORKLOADS)
        ended = gpuslice("measure", "prometheus", "--url", "http://127.0.0.1:9", "-f", path, *options)
        assert ended.code == 2
        assert path.read_text() == WORKLOADS
        return ended.err

    return run


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is no text"),
        (b"secret\nsecret", "holds more than a token"),
    ],
)
def test_a_file_that_holds_no_token(refused, tmp_path, content, said):
    path = tmp_path / "token"
    path.write_bytes(content)
    found = refused("--token-file", path)
    assert said in found
    assert "secret" not in found


def test_a_user_without_a_password(refused, monkeypatch):
    monkeypatch.delenv("GPUSLICE_PROMETHEUS_PASSWORD", raising=False)
    assert "--user me has no password" in refused("--user", "me")


def test_two_ways_to_say_who_asks(refused, tmp_path):
    path = tmp_path / "token"
    path.write_text("secret")
    assert "exclude each other" in refused("--user", "me", "--token-file", path)


def test_half_a_client_certificate(refused):
    assert "go together" in refused("--client-cert", "a.pem")


@pytest.mark.parametrize(
    "match", ['job="dcgm"', '{cluster="prod", pod=~"a.*"}', 'a="job=\\"x\\"",instance!="b"']
)
def test_labels_by_which_nobody_would_be_seen_to_share(refused, match):
    assert "is not a label that all series of a cluster have" in refused("--match", match)


def test_a_match_of_nothing(refused):
    assert "'prod' matches no label" in refused("--match", "prod")


@pytest.mark.parametrize(
    "verb",
    [
        ("prometheus", "--url", "http://127.0.0.1:9"),
        ("trace", "t.csv"),
        ("gpu", "--pid", "1", "--workload", "a/b"),
    ],
)
def test_standard_input_can_not_be_written_back_and_that_is_said_first(gpuslice, verb):
    ended = gpuslice("measure", *verb, "-f", "-")
    assert (ended.code, ended.out) == (2, "")
    assert "standard input can't be written back" in ended.err
