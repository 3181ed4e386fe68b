"""What commands may do in a cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A set of verbs that are allowed together; each has what those before it have."""

    VIEW = "view"
    APPLY = "apply"
    APPLY_WORKLOADS = "apply-workloads"


COMMANDS: Final = {
    Role.VIEW: ("gpuslice scan", "gpuslice doctor", "gpuslice status"),
    Role.APPLY: ("gpuslice apply", "gpuslice apply --rollback"),
    Role.APPLY_WORKLOADS: ("gpuslice apply --workloads", "gpuslice apply --rollback"),
}
"""What runs under each role; a rollback needs the role of the apply that it takes back."""


TO_VIEW: Final = f"gpuslice render --rbac {Role.VIEW} --bind-to user:NAME"
"""What makes the role of who looks; the GPU machinery's ConfigMaps may be elsewhere than in `gpu-operator`."""
