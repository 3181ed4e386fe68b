"""A pod template, with what the object around it says of its pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Fields


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template inside an object.

    Attributes:
        pod: the pod's spec, as it stands.
        replicas: pods made from it that are planned for.
        most_replicas: pods made from it at the most, where it is autoscaled; 0: it isn't.
        pointer: JSON pointer to the pod's spec inside the object.
        role: what tells it from the object's other templates; empty where there is only one by nature.
        annotations: its own.
        labels: of its pods, as far as it states them.
        container_path: where its one container stands, if not in a list of containers.
        framework_hint: a framework that the object names instead of an image.
        own_command: whether that framework is started by KServe's own runtime, which hands the arguments on.
        application: what a Ray object says of the program that its workers run, as text; None: it is no Ray object.
        gang: whether its pods work as one job, and talk to each other by NCCL.
        notes: what a person should know.
    """

    pod: Fields
    replicas: int
    pointer: str
    role: str = ""
    annotations: Fields | None = None
    container_path: str = ""
    framework_hint: str = ""
    own_command: bool = False
    application: str | None = None
    gang: bool = False
    notes: tuple[str, ...] = ()
    most_replicas: int = 0
    labels: Fields | None = None
