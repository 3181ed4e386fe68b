"""The process that talks to a Ray cluster for `gpuslice simulate --sweep --ray`: cells in, what they came to out.

Ray ends its driver's process where it loses the cluster, and writes what it likes to its streams. So the driver is a
process of its own: `gpuslice.cli.ray_sweep` starts it, gives it a task as JSON on stdin, and reads JSON lines:

    {"again": "…"}                                    no session was started, and why; another is asked for
    {"connected": 4}                                  how many CPUs the cluster has now
    {"cell": 0, "code": 0, "out": "…", "err": "…"}    a cell has ended; in the order in which they end
    {"failed": "…", "fix": "…"}                       nothing more will come

It is run as a script (`python -m gpuslice.cli.ray_driver`): Ray sends functions of a script to its workers by value,
so that a worker without gpuslice, or with another, can say so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

RETRIES: Final = 3
"""How often a cell is tried again whose worker died."""
SESSIONS: Final = 5
"""How often Ray Client's server is asked to start a session.

For each it forks a process, beside threads that are in gRPC. The child may die of that before it is another program
(ray-project/ray#63202). Of 63 sessions that four clients asked for at once, 10 did; of 100 that three did with
GRPC_ENABLE_FORK_SUPPORT=0 at the head, none (Ray 2.60, gRPC 1.85). Nothing has been handed in by then.
"""
_AT_ONCE: Final = 1000  # cells handed in: enough for any cluster to scale by, and few enough to be waited for


def parts() -> dict[str, str]:
    """What has to be the same here and at a worker, if the same bytes are to come out: versions, and our own code."""
    import hashlib
    from importlib.metadata import version

    import gpuslice

    root = Path(gpuslice.__file__).parent
    content = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        content.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    own = f"{gpuslice.__version__} (code {content.hexdigest()[:8]})"
    return {"gpuslice": own, **{name: version(name) for name in ("highspy", "msgspec", "numpy")}}


def replayed(
    command: Sequence[str], names: Mapping[int, str], wanted: Mapping[str, str], *contents: bytes
) -> tuple[int, str, str]:
    """At a worker: `gpuslice simulate` in a folder of its own, which has the files that it reads.

    Args:
        command: its arguments.
        names: of its files, by their place among the arguments.
        wanted: `parts` of the driver.
        contents: of the files, in the order of `names`.

    Returns:
        Exit code, stdout and stderr.
    """
    import contextlib
    import io
    import os
    import socket
    import tempfile

    here = socket.gethostname()
    try:
        versions = parts()
    except ModuleNotFoundError as error:
        lines = (
            f"error: Ray's worker on {here} has no {error.name}\ninstall gpuslice {wanted['gpuslice']} there"
        )
        return 3, "", lines
    for name, version in wanted.items():
        if versions[name] != version:
            lines = f"error: Ray's worker on {here} has {name} {versions[name]}, here is {version}\ninstall the same"
            return 3, "", lines
    from gpuslice.cli.main import main as gpuslice

    out, err = io.StringIO(), io.StringIO()
    before, arguments = Path.cwd(), list(command)
    with tempfile.TemporaryDirectory(prefix="gpuslice-") as folder:
        os.chdir(folder)
        for number, ((place, name), content) in enumerate(zip(names.items(), contents, strict=True)):
            file = Path(str(number)) / Path(name).name
            file.parent.mkdir()
            file.write_bytes(content)
            arguments[place] = str(file)
        sys.argv = ["gpuslice", "simulate", *arguments, "-o", "json"]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                gpuslice()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 3
        finally:
            os.chdir(before)
    words = err.getvalue()
    for place, name in names.items():
        words = words.replace(arguments[place], name)
    return code, out.getvalue(), words


def _run(task: Mapping[str, Any]) -> Generator[dict[str, object]]:
    """Connect, hand the cells in, and tell how each ended."""
    import ray

    for left in reversed(range(SESSIONS)):
        try:
            ray.init(address=task["address"], log_to_driver=False, logging_level="ERROR")
            break
        except ConnectionAbortedError as error:  # the server is there, and has started no session
            if not left:
                raise
            yield {"again": _last_words(error)}
    running: dict[Any, int] = {}
    try:
        yield {"connected": int(ray.cluster_resources().get("CPU", 0))}
        remote = ray.remote(num_cpus=1, max_calls=1, max_retries=RETRIES)(replayed)
        wanted = parts()
        files = {path: ray.put(Path(path).read_bytes()) for path in task["files"]}
        waiting = deque(enumerate(task["cells"]))
        while waiting or running:
            while waiting and len(running) < (task["jobs"] or _AT_ONCE):
                number, (command, places) = waiting.popleft()
                paths = [task["paths"][command[place]] for place in places]
                names = {place: command[place] for place in places}
                running[remote.remote(command, names, wanted, *(files[path] for path in paths))] = number
            for done in ray.wait(list(running))[0]:
                code, out, err = ray.get(done)
                yield {"cell": running.pop(done), "code": code, "out": out, "err": err}
    finally:
        for entry in running:
            ray.cancel(entry, force=True)
        ray.shutdown()


def _last_words(error: Exception) -> str:
    """The line that says what it is: of a traceback the last one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if any("Traceback" in line for line in lines) else " ".join(" ".join(lines).split())


def _in_words(error: Exception, *, connected: bool) -> dict[str, object]:
    """What Ray says, for people."""
    from ray import exceptions

    words = _last_words(error)
    match error:
        case exceptions.OutOfMemoryError():
            failed = f"a worker ran out of memory {RETRIES + 1} times"
            fix = "add memory to the cluster's nodes, or let fewer replays run at once: --jobs N"
        case exceptions.WorkerCrashedError() | exceptions.NodeDiedError():
            failed, fix = f"a worker died {RETRIES + 1} times", "the logs of Ray's nodes tell why"
        case exceptions.RayTaskError():
            failed, fix = f"a worker failed: {str(error).strip().splitlines()[-1]}", ""
        case ConnectionAbortedError() if not connected:
            failed = f"its Ray Client server started no session, {SESSIONS} times: {words}"
            fix = "start Ray's head with GRPC_ENABLE_FORK_SUPPORT=0, or see its ray_client_server*.err"
        case _ if connected:
            failed, fix = f"was lost: {words}", "run it again: what is done is kept"
        case _:
            # Of a wrong token Ray's client says nothing, and others only deep down.
            failed = "its token is missing or wrong here" if _unknown(error) else f"can't be used: {words}"
            fix = "where it has a token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token"
    return {"failed": failed, "fix": fix}


def _unknown(error: BaseException | None) -> bool:
    while error is not None:
        if "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__
    return False


def main() -> None:
    """Read the task, do it, tell."""
    sys.argv = [
        ""
    ]  # Ray puts the folder of a script on its workers' path; this one's modules are no packages
    # It is how we are told to take the cells back, also where all of a background job ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connected = False
    tell = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Ray prints, in Python or below it, is no line of ours
    sys.stdout = sys.stderr
    try:
        with closing(_run(json.load(sys.stdin))) as told:
            for entry in told:
                connected = connected or "connected" in entry
                tell.write(json.dumps(entry) + "\n")
                tell.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  the process that reads this has the words and the exit code
        tell.write(json.dumps(_in_words(error, connected=connected)) + "\n")
        tell.flush()
        sys.exit(1)


if __name__ == "__main__":
    main()
