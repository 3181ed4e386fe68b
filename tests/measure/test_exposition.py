"""What a DCGM exporter serves, read without a Prometheus."""

import http.server
import threading
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.measure.exposition import Moment, load, parse

NEW = """\
# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA L4",Hostname="n1"} 2040
# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).
# TYPE DCGM_FI_DEV_FB_USED gauge
"""


def used(value, gpu="a", pod="search-1", namespace="search", **labels):
    named = {"pod": pod, "namespace": namespace, "container": "main"} if pod else {}
    all_labels = {
        "gpu": "0",
        "UUID": f"GPU-{gpu}",
        "modelName": "NVIDIA L4",
        "Hostname": "n1",
        **named,
        **labels,
    }
    listed = ",".join(f'{name}="{text}"' for name, text in all_labels.items() if text is not None)
    return f"DCGM_FI_DEV_FB_USED{{{listed}}} {value}\n"


def moments(*lines):
    return parse(NEW + "".join(lines), "metrics")


def test_each_gpu_is_read_with_its_node_and_the_pods_that_are_named():
    assert moments(used(5000), used(0, "b", pod="")) == [
        Moment("n1", "GPU-a", frozenset({("search", "search-1")}), 5000),
        Moment("n1", "GPU-b", frozenset(), 0),
    ]


def test_a_figure_beside_each_of_several_pods_is_one_gpus():
    (one,) = moments(used(9000, vgpu="0"), used(9000, pod="search-2", vgpu="1"))
    assert one == Moment("n1", "GPU-a", frozenset({("search", "search-1"), ("search", "search-2")}), 9000)


def test_the_first_generation_is_read_by_its_own_names():
    old = (
        "# TYPE dcgm_fb_used gauge\n"
        'dcgm_fb_used{gpu="0",uuid="GPU-a",device="nvidia0",Hostname="n1",container_name="main",'
        'pod_name="search-1",pod_namespace="search"} 5000\n'
    )
    assert parse(old, "metrics") == moments(used(5000))
    # A later exporter told to use the old names for labels; and Prometheus put its own beside them.
    renamed = used(5000, pod="", UUID=None, uuid="GPU-a", pod_name="search-1", pod_namespace="search")
    assert moments(renamed) == moments(used(5000))
    scraped = used(
        5000, pod="exporter", namespace="gpu-operator", pod_name="search-1", pod_namespace="search"
    )
    assert moments(scraped) == moments(used(5000))


def test_pods_that_a_scrape_renamed_are_found():
    line = used(5000, pod="exporter", namespace="o", exported_pod="search-1", exported_namespace="search")
    assert moments(line) == moments(used(5000))


def test_mig_instances_are_apart():
    found = moments(
        used(100, pod="", GPU_I_ID="1", GPU_I_PROFILE="1g.10gb"),
        used(200, GPU_I_ID="2", GPU_I_PROFILE="1g.10gb"),
    )
    assert {each.gpu: each.memory_mib for each in found} == {"GPU-a/1": 100, "GPU-a/2": 200}


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf"])
def test_a_blank_is_no_reading(value):
    assert moments(used(value)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no DCGM_FI_DEV_FB_USED"),
        ("node_load1 0.3\n", "has no DCGM_FI_DEV_FB_USED"),
        ("<html><body>not found</body></html>\n", "is not what an exporter serves"),
        ('DCGM_FI_DEV_FB_USED{gpu="0"\n', "is not what an exporter serves"),
        ('DCGM_FI_DEV_FB_USED{gpu="0"} many\n', "is not what an exporter serves"),
    ],
)
def test_what_is_something_else_is_said_to_be(text, words):
    with pytest.raises(InputError, match=words) as error:
        parse(text, "saved.prom")
    assert str(error.value).startswith("saved.prom")
    assert error.value.fix


@given(st.integers(0, 600), st.text(max_size=8))
def test_whatever_a_file_holds_it_is_read_or_refused(at, junk):
    text = NEW + used(5000)
    with suppress(InputError):
        parse(text[:at] + junk + text[at:], "x")


@contextmanager
def serving(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_an_exporter_is_asked_and_a_file_is_read(tmp_path):
    text = NEW + used(5000)
    with serving((200, text.encode())) as url:
        asked = load(url)
    (tmp_path / "saved").write_text(text)
    assert asked == load(str(tmp_path / "saved")) == moments(used(5000))


def test_an_exporter_that_is_not_there_or_refuses_is_an_environment_that_failed():
    with serving((404, b"no")) as url, pytest.raises(EnvironmentFailedError, match="answered 404"):
        load(url)
    with pytest.raises(EnvironmentFailedError, match="no answer from the exporter") as error:
        load(url)
    assert "port-forward" in error.value.fix


def test_a_file_that_is_not_there_or_is_no_text_is_refused(tmp_path):
    for path in (tmp_path / "gone", tmp_path, "a\0b"):
        with pytest.raises(InputError, match="can't be read"):
            load(str(path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no text"):
        load(str(tmp_path / "binary"))
