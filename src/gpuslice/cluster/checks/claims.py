"""GPUs that pods claim by Dynamic Resource Allocation, instead of asking for a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.resources import POD
from gpuslice.cluster.seen.claims import NO_NODES, waiting_for_claims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuslice.cluster.client.objects import Pod


def _no_node(seen: Seen) -> Iterator[Finding]:
    waiting: dict[tuple[str, str, tuple[str, ...]], list[Pod]] = {}
    for pod, claimed in waiting_for_claims(seen.cluster):
        owners = pod.metadata.owner_references
        owner = owners[0].name if owners else pod.metadata.name
        waiting.setdefault((pod.metadata.namespace, owner, claimed), []).append(pod)
    for (_, _, claimed), (first, *others) in waiting.items():
        more = f", as {len(others)} more of its owner's do" if others else ""
        yield Finding(
            f"Pod {first.name}",
            f"claims {' and '.join(claimed)}{more}, and has no node",
            f"{NO_NODES}: it waits until a node that is there already has such a device free",
            "ask for it as a resource (nvidia.com/gpu in resources.limits), for which Karpenter makes a node; or run "
            "a node group with NVIDIA's DRA driver yourself",
        )


CHECKS: Final = (
    Check("GS310", "No pod waits for a GPU that it claims by DRA", Severity.BROKEN, (POD,), _no_node),
)
