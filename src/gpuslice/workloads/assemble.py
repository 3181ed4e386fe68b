"""One pod template, with what its object and its owner state, as a workload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU, Need, Source
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, is_mig
from gpuslice.workloads.annotations import NoLimit, read_annotations
from gpuslice.workloads.artefact import default_slowdown, limitable
from gpuslice.workloads.frameworks import (
    recognise,
    recognise_in_kserve,
    recognise_in_ray,
    starts_ranks,
    why_no_limit,
)
from gpuslice.workloads.kinds import built_in
from gpuslice.workloads.makers import SETTINGS
from gpuslice.workloads.model import Workload
from gpuslice.workloads.names import is_namespace, is_object_name
from gpuslice.workloads.node_limits import Take, host_port
from gpuslice.workloads.objects import PodSpec, convert
from gpuslice.workloads.placement import patched, placement
from gpuslice.workloads.pods import goes_with_gpu, pod_requests
from gpuslice.workloads.target import POD_SPEC_OF, Framework, Target

if TYPE_CHECKING:
    from gpuslice.workloads.annotations import Stated
    from gpuslice.workloads.owners import Object, Owner
    from gpuslice.workloads.placement import Placement
    from gpuslice.workloads.pods import GpuContainer, PodRequests
    from gpuslice.workloads.template import Template

_MOST_GPUS: Final = 64
_RUNS_ONCE: Final = frozenset({"Never", "OnFailure"})


def workload_of(owner: Object, template: Template) -> Workload:
    """A pod template that asks for a GPU, as a workload.

    Args:
        owner: the object that holds it.
        template: the template.

    Raises:
        InputError: a field, annotation or quantity that can't be understood.
    """
    where = owner.where + (f" ({template.role})" if template.role else "")
    if not is_object_name(owner.name) or not is_namespace(owner.namespace):
        raise InputError(
            "has a name that is none" if owner.name else "has no name",
            where=where,
            fix="write metadata.name and namespace with small letters, digits, '-' and '.'",
        )
    pod = convert(template.pod, PodSpec, where)
    requests = pod_requests(pod, where)
    gpus = sum(requests.gpus.values())
    if not 0 < gpus <= _MOST_GPUS:
        raise InputError(f"a pod asks for {gpus:,} GPUs", where=where, fix="no machine of EC2 has so many")
    user = requests.users[0]
    stated = read_annotations(
        {**owner.metadata.annotations, **convert(template.annotations or {}, dict[str, str], where)}, where
    )
    place = placement(pod, where)
    framework = _framework(user, template)
    gang = template.gang or (template.replicas > 1 and starts_ranks(user.container))
    gang = gang if stated.gang is None else stated.gang
    need, notes = _need(stated, place, requests, framework, where)
    if framework is not None and need.gpus == 1:
        why = why_no_limit(framework, in_ray=template.application is not None)
        notes += [f"{framework.name}'s own limit can't be set in the pod: {why}"] if why else []
    if gang and need.gpus == 1:
        notes.append(
            "its pods are one job, whose ranks share no GPU with each other, since NCCL takes none twice: state "
            'gpuslice.io/gang: "false" if they don\'t talk by NCCL'
        )
    target = _target(owner, template, pod, user, place, framework)
    slowdown, defaulted = _slowdown(stated, owner.kind, pod)
    return Workload(
        name="-".join(filter(None, (f"{owner.namespace}/{owner.name}", template.role))),
        replicas=template.replicas,
        most_replicas=template.most_replicas,
        cpu_milli=requests.cpu_milli,
        memory_mib=requests.memory_mib,
        need=replace(
            need,
            max_slowdown_milli=slowdown,
            gang=gang,
            limitable=limitable(target, preallocates=framework is not None),
        ),
        target=target,
        tenant=stated.tenant or owner.namespace,
        slowdown_defaulted=defaulted,
        interruptible=bool(stated.interruptible),
        on_spot=place.spot,
        arch=place.arch,
        preallocates=framework is not None,
        notes=(
            *template.notes,
            *_request_notes(requests),
            *notes,
            *place.notes,
            *_place_notes(stated, place),
        ),
        takes=_takes(pod, requests),
        stays=_bound_to_a_node(owner, pod),
    )


def _takes(pod: PodSpec, requests: PodRequests) -> tuple[Take, ...]:
    """What a pod takes of its node beside CPU, memory and GPUs, as far as its own template says."""
    ports = {
        # A pod on the host's network has all of its ports there.
        (port.protocol, port.host_port or port.container_port)
        for container in (*pod.containers, *pod.init_containers)
        for port in container.ports
        if port.host_port or pod.host_network
    }
    return tuple(
        sorted(
            [
                *(Take(resource, amount) for resource, amount in requests.others.items()),
                *(host_port(protocol, number) for protocol, number in ports if number),
            ]
        )
    )


def _bound_to_a_node(owner: Object, pod: PodSpec) -> tuple[str, ...]:
    """Why it can only run on one node; in a pod that runs already, the node's name is the scheduler's."""
    placed = owner.kind == "Pod" and "status" in owner.data
    if not pod.node_name or placed:
        return ()
    return (f"its template names the node {shorten(pod.node_name)} (spec.nodeName)",)


def adopted(workload: Workload, child: Object, owner: Owner) -> Workload:
    """The workload of pods, seen as that of their owner, whose template isn't in the input."""
    known = owner.kind in POD_SPEC_OF
    target = msgspec.structs.replace(
        workload.target,
        kind=owner.kind,
        api_version="" if built_in({"apiVersion": owner.api_version}) else owner.api_version,
        name="",
        pod_spec="",
    )
    notes = [f"the template of {shorten(owner.kind)} {owner.name} is not in the input: its pods were counted"]
    if owner.kind in SETTINGS and not owner.api_version:
        setting = SETTINGS[owner.kind]
        notes = [
            f"{owner.kind} makes these pods, and the next as before: no patch changes them, but {setting}"
        ]
    elif not known:
        notes.append(
            f"where a {shorten(owner.kind)} keeps its pod template is not known: it can't be patched"
        )
    return replace(
        workload, name=f"{child.namespace}/{owner.name}", target=target, notes=(*workload.notes, *notes)
    )


def _slowdown(stated: Stated, kind: str, pod: PodSpec) -> tuple[int | None, bool]:
    """The limit, thousandths, and whether it is only the default."""
    if isinstance(stated.max_slowdown, NoLimit):
        return None, False
    if stated.max_slowdown is not None:
        return stated.max_slowdown, False
    if kind == "Pod" and pod.restart_policy in _RUNS_ONCE:
        return None, False
    return default_slowdown(kind)


def _need(
    stated: Stated,
    place: Placement,
    requests: PodRequests,
    framework: Framework | None,
    where: str,
) -> tuple[Need, list[str]]:
    notes = []
    # A need is of one container that is cut one slice; which of several it is of, nobody said.
    alone = len(requests.users) == 1
    memory = stated.memory_mib if alone else None
    source = stated.source or Source.DECLARED
    if (
        framework is not None
        and sum(requests.gpus.values()) == 1
        and (memory is None or source is Source.MEASURED)
    ):
        why = "takes most of the GPU memory it sees" + (
            "" if memory is None else ", so a measured figure is no need"
        )
        notes.append(
            f"{framework.name} {why}: state what it needs (weights, cache and context) in gpuslice.io/gpu-memory, "
            "with gpuslice.io/need-source: declared"
        )
        memory = None
    return (
        Need(
            gpus=sum(requests.gpus.values()),
            memory_mib=memory,
            duty_ppm=stated.duty_ppm if alone else None,
            on=stated.on or place.on,
            source=source,
            isolation=stated.isolation or Isolation.NONE,
            allow=_allow(stated, place, where),
            min_compute_capability=stated.min_compute_capability,
            features=stated.features or frozenset(),
        ),
        notes,
    )


def _allow(stated: Stated, place: Placement, where: str) -> frozenset[str]:
    """The models that both the owner and the pod's required affinity admit."""
    if not place.allow:
        return stated.allow or frozenset()
    if stated.allow is None or ANY_GPU in stated.allow:
        return place.allow
    both = stated.allow & place.allow
    if not both:
        raise InputError(
            f"gpuslice.io/allow-gpus names {', '.join(sorted(stated.allow))}, and the required node affinity admits "
            f"only {', '.join(sorted(place.allow))}",
            where=where,
            fix="make them agree",
        )
    return both


def _framework(user: GpuContainer, template: Template) -> Framework | None:
    if template.application is not None:
        return recognise_in_ray(user.container, template.application)
    framework = recognise(user.container)
    made_by_kserve = template.container_path and user.path == "/containers/0"
    if framework is None and template.framework_hint and made_by_kserve:
        return recognise_in_kserve(user.container, template.framework_hint, own_command=template.own_command)
    return framework


def _target(
    owner: Object,
    template: Template,
    pod: PodSpec,
    user: GpuContainer,
    place: Placement,
    framework: Framework | None,
) -> Target:
    made_by_kserve = template.container_path and user.path == "/containers/0"
    # KServe's own container stands first in what was counted, but not in the list that the object has.
    index = user.index - (1 if template.container_path and not made_by_kserve else 0)
    plain_path = f"/containers/{user.index}" == user.path
    return Target(
        kind=owner.kind,
        api_version="" if built_in(owner.data) else str(owner.data.get("apiVersion", "")),
        name=owner.name if template.role else "",
        container=user.container.name,
        container_index=0 if made_by_kserve else index,
        container_path=template.container_path if made_by_kserve else "" if plain_path else user.path,
        pod_spec="" if POD_SPEC_OF.get(owner.kind) == template.pointer else template.pointer,
        drop_node_selector=place.drop,
        node_selector=place.selector,
        node_affinity=place.affinity,
        patched_affinity=patched(place.affinity),
        framework=framework,
        tolerations=pod.tolerations,
        gpu_limits=tuple(sorted(filter(goes_with_gpu, user.container.resources.limits))),
        gpu_requests=tuple(sorted(filter(goes_with_gpu, user.container.resources.requests))),
        has_node_selector=bool(pod.node_selector),
        has_env=bool(user.container.env),
    )


def _place_notes(stated: Stated, place: Placement) -> list[str]:
    """Where what its owner states and what the pod requires don't go together."""
    notes = []
    if place.spot and stated.interruptible is None:
        notes.append(
            'its node selector asks for spot, which is dropped: state gpuslice.io/interruptible: "true" if it may go on'
        )
    if stated.on and place.allow and stated.on not in place.allow:
        notes.append(
            f"gpuslice.io/gpu-model says {stated.on}, where its required node affinity lets it not run: that admits "
            f"{', '.join(sorted(place.allow))}"
        )
    return notes


def _request_notes(requests: PodRequests) -> list[str]:
    notes = []
    if len(requests.users) > 1:
        names = ", ".join(shorten(user.container.name) for user in requests.users)
        notes.append(f"containers {names} ask for GPUs: such a pod is never sliced")
    for resource, quantity in requests.gpus.items():
        if resource == SHARED_GPU:
            notes.append(
                "it shares a GPU already: a duty read there holds for the whole GPU, not for its replica"
            )
        elif is_mig(resource):
            notes.append(
                f"it runs on {resource.removeprefix('nvidia.com/')} now: state its need as of a whole GPU"
            )
        if resource != WHOLE_GPU and quantity > 1:
            notes.append(f"it asks for {quantity} of {resource}: planned as {quantity} whole GPUs")
    if not requests.cpu_milli or not requests.memory_mib:
        missing = [
            word
            for word, amount in (("CPU", requests.cpu_milli), ("memory", requests.memory_mib))
            if not amount
        ]
        notes.append(f"it requests no {' and no '.join(missing)}: a node may be filled beyond what it has")
    return notes
