"""Objects of ours deleted, as far as no pod needs them: checked again right before each.

A NodePool takes its nodes with it, and pods on them. Pods with seats name no pool: the one that alone offers a seat is
needed by whoever asks for that seat, also while none of them is on its nodes. And a NodePool that stays goes on needing
what was made for it: without its overlays Karpenter takes its nodes for others, and Node Feature Discovery takes away
what a rule gave to nodes once the rule is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gpuslice.cluster.apply import applyset
from gpuslice.cluster.apply.ownership import applied
from gpuslice.cluster.apply.writing import delete, leaving
from gpuslice.cluster.client.api import Api, joined
from gpuslice.cluster.client.objects import NodeOverlay, Pod
from gpuslice.cluster.client.resources import NODE, NODE_OVERLAY, NODE_POOL, POD
from gpuslice.cluster.seen.offers import amount, seats_asked
from gpuslice.cluster.seen.read import decoded
from gpuslice.hardware.resource_names import is_seat

if TYPE_CHECKING:
    from gpuslice.cluster.apply.journal import Ref
    from gpuslice.cluster.apply.waiting import Patience

_POOL: Final = "karpenter.sh/nodepool"


@dataclass(frozen=True, slots=True)
class Stayed:
    """Why an object wasn't deleted.

    Attributes:
        why: in words.
        for_pods: whether it is a pool that pods need: that passes.
    """

    why: str
    for_pods: bool


def remove(api: Api, ref: Ref, going: Iterable[Ref]) -> Stayed | None:
    """Delete an object of ours; None: it is gone, or goes.

    Args:
        api: the cluster.
        ref: the object.
        going: all that is to be deleted together with it: what these offer is soon offered no more.
    """
    live = api.find(ref.path, dict[str, Any])
    if live is None:
        return None
    if applied(live) is None or not applyset.is_member(live):
        return Stayed(f"{ref.title} stays: it isn't gpuslice's any more", for_pods=False)
    if ref.is_a(NODE_POOL):
        users = _pods_of_pool(api, ref.name)
        if users:
            names = joined([user.name for user in users])
            why = f"{ref.title} stays: {len(users)} pods still run on its nodes ({names})"
            if any(map(seats_asked, users)):
                why += f"; who has a seat leaves it when you drain it: kubectl delete nodepool {ref.name}"
            return Stayed(why, for_pods=True)
        seated = _pods_with_its_seats(api, ref, going)
        if seated:
            why = f"{ref.title} stays: {len(seated)} pods ask for seats that nothing else offers ({joined(seated)})"
            return Stayed(why, for_pods=True)
    if not leaving(live):
        delete(api, ref, live)
    return None


def remove_when_empty(api: Api, ref: Ref, going: Iterable[Ref], patience: Patience) -> Stayed | None:
    """Delete an object once its pods have left."""
    deadline = patience.clock() + patience.seconds
    while True:
        stayed = remove(api, ref, going)
        if stayed is None or not stayed.for_pods or patience.clock() >= deadline:
            return stayed
        patience.pause(1.0)


def _pods_of_pool(api: Api, pool: str) -> list[Pod]:
    """Pods on a pool's nodes that would have to move."""

    def name(raw: msgspec.Raw) -> str:
        return str(msgspec.json.decode(raw)["metadata"]["name"])

    def pod(raw: msgspec.Raw) -> Pod:
        return decoded(raw, Pod, api.name)

    pods: list[Pod] = []
    for node in api.list(NODE.path(), name, {"labelSelector": f"{_POOL}={pool}"}):
        for one_pod in api.list(POD.path(), pod, {"fieldSelector": f"spec.nodeName={node}"}):
            daemon = any(one.kind in {"DaemonSet", "Node"} for one in one_pod.metadata.owner_references)
            if not one_pod.ended and not daemon:
                pods.append(one_pod)
    return pods


def _pods_with_its_seats(api: Api, pool: Ref, going: Iterable[Ref]) -> list[str]:
    """Pods, wherever they are, that ask for a seat which is offered by no overlay but those that go, by name."""

    def overlay(raw: msgspec.Raw) -> NodeOverlay:
        return decoded(raw, NodeOverlay, api.name)

    names = {ref.name for ref in going if ref.is_a(NODE_OVERLAY)}
    own: set[str] = set()
    others: set[str] = set()
    for node_overlay in api.list(NODE_OVERLAY.path(), overlay):
        seats = {
            name for name, figure in node_overlay.spec.capacity.items() if is_seat(name) and amount(figure)
        }
        if pool.name in _scope(node_overlay):
            own |= seats
        if node_overlay.name not in names:
            others |= seats
    alone = own - others
    if not alone:
        return []

    def seated(raw: msgspec.Raw) -> str | None:
        pod = decoded(raw, Pod, api.name)
        stays = not pod.ended and not pod.metadata.deletion_timestamp
        return pod.name if stays and alone & seats_asked(pod) else None

    return api.list(POD.path(), seated)


def _scope(overlay: NodeOverlay) -> set[str]:
    return {
        name
        for requirement in overlay.spec.requirements
        if requirement.key == _POOL and requirement.operator == "In"
        for name in requirement.values
    }
