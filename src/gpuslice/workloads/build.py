"""Objects of a Helm chart or a Kustomize overlay, built by the tools that people have for it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.workloads.repository import Build

_SECONDS: Final = 120  # a remote base has to be fetched
_TOOLS: Final = {
    "helm": (("helm", "template"),),
    "kustomize": (("kubectl", "kustomize"), ("kustomize", "build")),
}


def built(build: Build) -> bytes:
    """The objects of a chart or an overlay, as YAML.

    Raises:
        InputError: there is no tool for it, or the tool refuses; with the tool's own words.
    """
    place = str(build.directory)
    for program, verb in _TOOLS[build.tool]:
        path = shutil.which(program)
        if path is None:
            continue
        # A path that begins with "-" would be an option.
        argument = place if place.startswith("/") else f"./{place}"
        try:
            done = subprocess.run(  # noqa: S603  the user asked for it, and named the directory
                [path, verb, argument], capture_output=True, check=False, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(
                f"{program} {verb} doesn't end: {error}", where=place, fix=build.command
            ) from None
        if done.returncode == 0:
            return done.stdout
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            f"{program} {verb} refuses: {shorten(lines[-1] if lines else 'without a word')}",
            where=place,
            fix=f"see what it needs: {program} {verb} {argument}",
        )
    names = " or ".join(program for program, _ in _TOOLS[build.tool])
    raise InputError(
        f"there is no {names} here to build it", where=place, fix="install it, or leave out --build"
    )
