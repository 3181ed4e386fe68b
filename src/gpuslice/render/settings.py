"""What rendering needs to know of the cluster beyond the plan, checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpuslice.cloud.allocatable import ROOT_VOLUME_GIB
from gpuslice.errors import InputError
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.defaults import CONSOLIDATE_AFTER_SECONDS

PINNED_IMAGE: Final[Mapping[str, str]] = {Stack.AL2023: "v20260801", Stack.BOTTLEROCKET: "v1.54.0"}
"""The image version rendered where none is asked for. `latest` would replace every node whenever AWS releases one."""

_LEAST_VOLUME_GIB: Final = 20  # EC2 refuses a volume smaller than the image's snapshot

CONSOLIDATE_AFTER: Final = f"{CONSOLIDATE_AFTER_SECONDS // 60}m"
"""How long Karpenter waits after a change of a node's pods, as Kubernetes writes durations."""

_CLUSTER: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
_ROLE: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DURATION: Final = re.compile(r"([0-9]+(s|m|h))+|Never")
_IMAGE: Final = {
    Stack.AL2023: re.compile(r"latest|v\d{8}"),
    Stack.BOTTLEROCKET: re.compile(r"latest|v\d+\.\d+\.\d+"),
}
_IMAGE_EXAMPLE: Final = {Stack.AL2023: "v20260801", Stack.BOTTLEROCKET: "v1.54.0"}


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Where the manifests will live.

    Attributes:
        cluster: the EKS cluster's name; subnets and security groups are found by the tag
            `karpenter.sh/discovery: <cluster>`.
        role: name of the IAM role of nodes; empty where `instance_profile` is given.
        instance_profile: name of an instance profile of nodes; empty where `role` is given.
        image_version: such as "v20260801", or "latest"; empty: PINNED_IMAGE.
        root_volume_gib: of the volume that holds container images.
        consolidate_after: how long Karpenter leaves a node alone after a pod came or went.
        operator_namespace: where the GPU Operator runs.

    Raises:
        InputError: a value that AWS or Kubernetes would refuse.
    """

    cluster: str
    role: str = ""
    instance_profile: str = ""
    image_version: str = ""
    root_volume_gib: int = ROOT_VOLUME_GIB
    consolidate_after: str = CONSOLIDATE_AFTER
    operator_namespace: str = "gpu-operator"

    def __post_init__(self) -> None:
        if not _CLUSTER.fullmatch(self.cluster):
            raise InputError(
                f"{_shown(self.cluster)} is no name of an EKS cluster"
                if self.cluster
                else "no cluster is named",
                where="--cluster",
                fix="write the name that `aws eks list-clusters` shows",
            )
        if bool(self.role) == bool(self.instance_profile):
            raise InputError(
                "nodes need one role or one instance profile",
                where="--role",
                fix="give --role NAME, or --instance-profile NAME instead",
            )
        given = self.role or self.instance_profile
        if not _ROLE.fullmatch(given):
            arn = given.startswith("arn:")
            raise InputError(
                f"{_shown(given)} is no name of a role or instance profile",
                where="--role" if self.role else "--instance-profile",
                fix=f"write its name: {given.rpartition('/')[2]}"
                if arn
                else "write letters, digits and +=,.@_-",
            )
        if not _LEAST_VOLUME_GIB <= self.root_volume_gib <= 16384:
            raise InputError(
                f"{self.root_volume_gib} GiB is no size of a gp3 volume",
                where="--root-volume",
                fix=f"write {_LEAST_VOLUME_GIB} to 16384: the image alone needs the least",
            )
        if not _DURATION.fullmatch(self.consolidate_after):
            raise InputError(
                f"{_shown(self.consolidate_after)} is no duration",
                where="--consolidate-after",
                fix='write a duration such as "5m", or "Never"',
            )
        check_namespace(self.operator_namespace)

    def image_alias(self, stack: str) -> str:
        """The EC2NodeClass's alias of the machine image: "al2023@v20260801".

        Raises:
            InputError: the version asked for is not one of the stack's.
        """
        version = self.image_version or PINNED_IMAGE[stack]
        if not _IMAGE[Stack(stack)].fullmatch(version):
            raise InputError(
                f"{_shown(version)} is no version of {stack}",
                where="--image-version",
                fix=f'write one such as "{_IMAGE_EXAMPLE[Stack(stack)]}", or "latest"',
            )
        return f"{stack}@{version}"


def check_namespace(name: str) -> None:
    """Accept a name that the GPU Operator's namespace can have.

    Raises:
        InputError: Kubernetes would refuse it.
    """
    if not _DNS_LABEL.fullmatch(name):
        raise InputError(
            f"{_shown(name)} is no name of a namespace",
            where="--operator-namespace",
            fix="write lower-case letters, digits and -",
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
