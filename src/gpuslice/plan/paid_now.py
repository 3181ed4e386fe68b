"""What is paid now, by workload: of each node that it is on, by the part of the GPUs that its pods have there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.hardware.gpus import GPUS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.today import NodesToday, ShareToday, Today


@dataclass(frozen=True, slots=True)
class PaidNow:
    """The bill of now, split: the parts add up to it.

    Attributes:
        workloads: dollars an hour of those that a plan places.
        left: of pods that it leaves where they are, whoever's they are.
        idle: of GPUs that no pod has.
    """

    workloads: Mapping[str, float]
    left: float
    idle: float


def paid_now(
    today: Today, workloads: Iterable[Workload], placed: Collection[str], catalog: Catalog
) -> PaidNow:
    """Who pays what of the bill of now.

    Args:
        today: what runs and is paid for; nodes without a known price are in none of the sums.
        workloads: that were read with it.
        placed: names of those that a plan places.
        catalog: knows how many GPUs a type has.
    """
    gpus_each = {workload.name: workload.need.gpus for workload in workloads}
    shares: dict[str, list[ShareToday]] = defaultdict(list)
    for share in today.shares:
        shares[share.workload].append(share)
    names = gpus_each.keys() | shares.keys()
    of_a_pod = {name: _part(shares.get(name, ())) * gpus_each.get(name, 1) for name in names}
    cards = {kind.name: max(kind.gpu_count, 1) for kind in catalog.instance_types}
    paid: dict[str, float] = defaultdict(float)
    left = idle = 0.0
    for node in today.nodes:
        price = (node.usd_per_hour or 0.0) * node.count
        parts = _parts(node, of_a_pod, cards.get(node.instance_type, 1))
        free = 1 - sum(parts.values())
        for name, part in parts.items():
            if name in placed:
                paid[name] += price * float(part)
            else:
                left += price * float(part)
        if node.others:  # nobody knows how much of the rest they have
            left += price * float(free)
        else:
            idle += price * float(free)
    return PaidNow(dict(paid), left, idle)


def _parts(node: NodesToday, of_a_pod: Mapping[str, Fraction], cards: int) -> dict[str, Fraction]:
    """The part of a node that each workload on it has, all together never more than the node."""
    parts = {name: of_a_pod.get(name, Fraction(1)) * pods / cards for name, pods in node.pods.items()}
    together = sum(parts.values(), Fraction(0))
    return {name: part / together for name, part in parts.items()} if together > 1 else parts


def _part(shares: Iterable[ShareToday]) -> Fraction:
    """The part of a GPU that one of its pods has, on average; all of one where nothing was seen."""
    listed = list(shares)
    if not listed:
        return Fraction(1)
    pods = sum(share.pods for share in listed)
    return sum((_of_a_gpu(share) * share.pods for share in listed), Fraction(0)) / pods


def _of_a_gpu(share: ShareToday) -> Fraction:
    table = GPUS[share.gpu].mig if share.gpu in GPUS else None
    profile = table.profile(share.profile) if table is not None and share.mechanism == "mig" else None
    whole = (
        Fraction(profile.memory_slices, table.grid)
        if table is not None and profile is not None
        else Fraction(1)
    )
    return whole / share.of
