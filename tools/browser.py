"""Chromium for the tests of the report: found, or installed where that takes no question.

python -m tools.browser     says where it is; as root on Debian and Ubuntu installs it if it is missing

Elsewhere a missing browser is said, and its tests are skipped; where CI is set, it is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Somebody else may be installing at the same time.
_APT: Final = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")


def chromium() -> str:
    """Its path: $GPUSLICE_CHROMIUM, else the first of its names on the PATH; "" if there is none."""
    return os.environ.get("GPUSLICE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")


def main() -> int:
    """Find it, or install it."""
    if chromium():
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("== chromium, from the system's packages")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (("update",), ("install", "-y", "--no-install-recommends", "chromium")):
            subprocess.run([*_APT, *command], check=True, env=environment, stdout=subprocess.DEVNULL)
        return 0 if chromium() else 1
    print("no Chromium: the tests of the report in a browser will be skipped", file=sys.stderr)
    print("install it (Debian: apt-get install chromium), or set GPUSLICE_CHROMIUM to one", file=sys.stderr)
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
