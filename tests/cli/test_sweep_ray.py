"""`gpuslice simulate --sweep --ray`, on a real Ray cluster of this machine that listens on loopback alone."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import gpuslice as package
from gpuslice.cli import ray_driver, ray_sweep

pytestmark = pytest.mark.services

SWEEP = """\
apiVersion: gpuslice.io/v1alpha1
kind: Sweep
policies: [whole, plan]
whatIfs:
- name: as it is
- {name: cheap, prices: prices.yaml}
"""
COUNTS = "time,workload,replicas\n0,shop/search,2\n3600,shop/search,6\n7200,shop/search,1\n"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray listen on loopback alone
    "RAY_AUTH_MODE": "token",  # else it depends on what is in the home directory
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # as the guide advises: sessions fail where a test wants it, and nowhere else
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass(frozen=True)
class Ray:
    """A cluster of one node with two CPUs; all its processes are in the session of the first."""

    address: str
    client: str
    pid: int
    folder: Path

    def workers(self) -> list[int]:
        """Those that replay something now."""
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with contextlib.suppress(OSError):
                    if (each / "cmdline").read_bytes().startswith(b"ray::replayed"):
                        session = int((each / "stat").read_text().rpartition(")")[2].split()[3])
                        found += [int(each.name)] * (session == self.pid)
        return found


@pytest.fixture(scope="module")
def ray():
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets have a hundred characters
    port, client = free_port(), free_port()
    command = [
        *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--num-cpus=2", "--object-store-memory=80000000"),
        *("--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"),
    ]
    log = folder / "log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            command,
            cwd=folder,  # what it reads, it has been sent
            env={**os.environ, **ENVIRONMENT},
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    try:
        for each in (port, client):
            until = time.monotonic() + 90
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", each), 1).close()
                    break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield Ray(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}", process.pid, folder)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def arguments(fleet, tmp_path, monkeypatch):
    """Of a sweep whose files have names that mean nothing at a worker."""
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)
    Path("prices.yaml").write_text("g4dn.xlarge: {on-demand: 0.1}\n")
    Path("counts.csv").write_text(COUNTS)
    return ("simulate", "-f", fleet.name, "--trace", "counts.csv", "--sweep", "sweep.yaml")


def kept() -> dict[str, bytes]:
    """The cells that are done; one that is just being written has a hidden name."""
    return {each.name: each.read_bytes() for each in Path("sweep.cells").glob("[!.]*")}


def test_it_comes_to_the_same_bytes_as_here_and_goes_on_where_it_was(gpuslice, arguments, ray):
    assert gpuslice(*arguments, "--out", "here.json").code == 0
    cells = kept()
    shutil.rmtree("sweep.cells")

    ended = gpuslice(*arguments, "--ray", ray.address, "--out", "there.json")
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert Path("there.json").read_bytes() == Path("here.json").read_bytes()
    assert kept() == cells

    # Some are lost. Now from outside the cluster, by Ray's client; then nothing is left to be done, by nobody.
    for each in sorted(cells)[:2]:
        Path("sweep.cells", each).unlink()
    again = gpuslice(*arguments, "--ray", ray.client, "--jobs", 1, "--out", "again.json")
    assert (again.code, "2 of 4 replays" in again.err) == (0, True), again.err
    assert Path("again.json").read_bytes() == Path("here.json").read_bytes()
    assert kept() == cells
    assert gpuslice(*arguments, "--ray", f"127.0.0.1:{free_port()}").code == 0


@pytest.fixture
def no_session(ray, monkeypatch):
    """Ray Client's server can't start a session, for it can't open its log. Called, it can again."""
    monkeypatch.setenv(
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1"
    )  # its seconds are waited for after each that fails
    logs = ray.folder / "session_latest" / "logs"
    nowhere = [
        logs / f"ray_client_server_{port}.out" for port in range(23000, 24000)
    ]  # the ports of sessions
    nowhere = [each for each in nowhere if not each.exists()]
    for each in nowhere:
        each.symlink_to("no/folder")

    def over() -> None:
        for each in nowhere:
            each.unlink(missing_ok=True)

    yield over
    over()


def test_a_session_that_ray_fails_to_start_is_asked_for_again(
    gpuslice, arguments, ray, no_session, monkeypatch
):
    said = []

    def say(words: str) -> None:
        no_session()
        said.append(words)

    monkeypatch.setattr(ray_sweep, "say", say)
    ended = gpuslice(*arguments, "--ray", ray.client)
    assert ended.code == 0, ended.err
    assert len(kept()) == 4
    assert 0 < len(said) < ray_driver.SESSIONS
    assert "started no session: " in said[0]


def test_a_ray_that_starts_no_session_at_all_is_told_of(gpuslice, arguments, ray, no_session):
    ended = gpuslice(*arguments, "--ray", ray.client)
    assert ended.code == 3
    assert ended.err.count("another is asked for") == ray_driver.SESSIONS - 1
    assert f"its Ray Client server started no session, {ray_driver.SESSIONS} times: " in ended.err
    assert not kept()


def test_a_driver_that_breaks_when_it_has_told_all_has_done_its_job(gpuslice, arguments, ray, monkeypatch):
    Path("own").mkdir()
    Path("own", "sitecustomize.py").write_text("import atexit, os\natexit.register(os._exit, 1)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path("own").resolve()), *map(str, sys.path)]))
    ended = gpuslice(*arguments, "--ray", ray.address)
    assert ended.code == 0, ended.err


def test_a_cell_that_is_refused_is_told_of_as_here(gpuslice, arguments, ray):
    Path("sweep.yaml").write_text(SWEEP.partition("whatIfs")[0].replace("[whole, plan]", "[whole]"))
    Path("counts.csv").write_text("time,workload,replicas\nsoon,shop/search,2\n")
    here, there = (gpuslice(*arguments, *more) for more in ((), ("--ray", ray.address)))
    assert (here.code, there.code) == (2, 2)
    assert "counts.csv" in there.err
    assert there.err == here.err


@pytest.fixture
def killer(ray):
    """Kills so many workers of the cluster as they begin."""
    stop = threading.Event()
    killed: list[int] = []
    threads = []

    def start(most: int) -> list[int]:
        def kill():
            while not stop.wait(0.02) and len(killed) < most:
                for each in ray.workers():
                    if each not in killed and len(killed) < most:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(each, signal.SIGKILL)
                            killed.append(each)

        threads.append(threading.Thread(target=kill))
        threads[0].start()
        return killed

    yield start
    stop.set()
    for each in threads:
        each.join()


def test_a_replay_whose_worker_dies_is_tried_again(gpuslice, arguments, ray, killer):
    Path("sweep.yaml").write_text(SWEEP.replace("[whole, plan]", "[whole]"))
    killed = killer(2)
    ended = gpuslice(*arguments, "--ray", ray.address, "--out", "there.json")
    assert (ended.code, len(killed)) == (0, 2)
    shutil.rmtree("sweep.cells")
    assert gpuslice(*arguments, "--out", "here.json").code == 0
    assert Path("there.json").read_bytes() == Path("here.json").read_bytes()


def test_workers_that_always_die_are_told_of(gpuslice, arguments, ray, killer):
    killed = killer(1000)
    ended = gpuslice(*arguments, "--ray", ray.address, "--jobs", 1)
    assert ended.code == 3
    assert len(killed) > ray_driver.RETRIES
    assert "a worker died 4 times" in ended.err
    assert ended.out == ""


def test_ctrl_c_takes_back_what_is_handed_in_and_keeps_what_is_done(gpuslice, arguments, ray):
    policies = ", ".join(["whole", *(f"replan-{hours}h" for hours in range(1, 40))])
    Path("sweep.yaml").write_text(SWEEP.replace("[whole, plan]", f"[{policies}]"))
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuslice", *arguments, "--ray", ray.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 90
    while not (Path("sweep.cells").is_dir() and kept() and ray.workers()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: interrupted\n")
    until = time.monotonic() + 30
    while ray.workers():
        assert time.monotonic() < until, "replays go on though nobody waits for them"
        time.sleep(0.05)
    done = kept()
    assert 0 < len(done) < 80
    assert all(content.endswith(b"}\n") for content in done.values())
    assert not list(Path("sweep.cells").glob(".*"))


def test_a_worker_with_another_gpuslice_is_refused(gpuslice, arguments, ray, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(
        Path(package.__file__).parent, other / "gpuslice", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (other / "gpuslice" / "__init__.py").open("a") as file:
        file.write("__version__ = '9.9'\n")
    monkeypatch.setenv("PYTHONPATH", str(other))  # for the driver: the workers are their raylet's children
    ended = gpuslice(*arguments, "--ray", ray.address)
    assert ended.code == 3
    assert f"has gpuslice {package.__version__} (code" in ended.err
    assert "here is 9.9 (code" in ended.err
    assert not kept()


def test_a_worker_without_gpuslice_says_so(monkeypatch):
    wanted = ray_driver.parts()
    monkeypatch.setitem(sys.modules, "gpuslice", None)
    code, out, err = ray_driver.replayed([], {}, wanted)
    assert (code, out) == (3, "")
    assert "has no gpuslice\ninstall gpuslice" in err


def test_another_token_than_the_clusters_is_told_of(gpuslice, arguments, ray, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", "2")  # else Ray tries for twenty seconds
    ended = gpuslice(*arguments, "--ray", ray.address)
    assert ended.code == 3
    assert "its token is missing or wrong here\nwhere it has a token: RAY_AUTH_MODE=token" in ended.err


def test_without_the_extra_it_says_how_to_have_it(gpuslice, arguments, monkeypatch):
    monkeypatch.setattr(ray_sweep, "find_spec", lambda _name: None)
    ended = gpuslice(*arguments, "--ray", "127.0.0.1:6379")
    assert ended.code == 3
    assert ended.err.endswith("\npip install 'gpuslice[ray]'\n")


@pytest.mark.parametrize(
    "address", ["local", "auto", "http://127.0.0.1:8265", "127.0.0.1", "a:b", "h:1/x", "@:1"]
)
def test_what_is_no_address_is_refused(gpuslice, arguments, address):
    ended = gpuslice(*arguments, "--ray", address)
    assert ended.code == 2
    assert "is no address of a Ray cluster" in ended.err


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_nobody_at_the_address_is_soon_told_of(gpuslice, arguments, kind):
    ended = gpuslice(*arguments, "--ray", f"{kind}127.0.0.1:{free_port()}")
    assert ended.code == 3
    assert "can't be reached: connection refused" in ended.err


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_somebody_else_at_the_address_is_told_of(gpuslice, arguments, kind, monkeypatch):
    monkeypatch.setattr(ray_sweep, "ANSWER_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ended = gpuslice(*arguments, "--ray", f"{kind}127.0.0.1:{mute.getsockname()[1]}")
    assert ended.code == 3
    assert "doesn't answer as Ray does in 3 s" in ended.err


def test_a_cluster_is_named_for_a_sweep_alone(gpuslice, fleet):
    ended = gpuslice("simulate", "-f", fleet, "--days", 1, "--ray", "127.0.0.1:6379")
    assert ended.code == 2
    assert "--ray: is for a sweep" in ended.err
