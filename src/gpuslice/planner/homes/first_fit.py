"""How many nodes pods take if each goes to the node with the fewest pods that it fits, as Karpenter has it in a batch.

Nodes that are alike are counted, not listed: it takes as many steps as there are kinds of pods and of nodes.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from operator import sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Amounts = tuple[int, ...]  # by resource
    Nodes = dict[tuple[int, Amounts], int]  # how many, by pods on each and what is left of each


def first_fit(room: Amounts, pods: Iterable[tuple[Amounts, int]]) -> Nodes | None:
    """The nodes of one type that are opened for pods.

    Args:
        room: of an empty node.
        pods: in the order in which they come: what one takes, and how many such there are.

    Returns:
        None where a pod fits no node.
    """
    nodes: Nodes = {}
    for size, count in pods:
        left = _placed(nodes, size, count)
        if not left:
            continue
        most = min((have // need for have, need in zip(room, size, strict=True) if need), default=left)
        if not most:
            return None
        full, rest = divmod(left, most)
        for on_one, number in ((most, full), (rest, 1)):
            if on_one and number:
                key = on_one, tuple(have - need * on_one for have, need in zip(room, size, strict=True))
                nodes[key] = nodes.get(key, 0) + number
    return nodes


def _placed(nodes: Nodes, size: Amounts, count: int) -> int:
    """Put pods on nodes that there are, as many as fit; how many are left over."""
    waiting = list(nodes)
    heapify(waiting)
    while count and waiting:
        held, free = key = heappop(waiting)
        after = tuple(map(sub, free, size))
        if min(after) < 0:
            continue
        moved = min(nodes[key], count)
        count -= moved
        if moved == nodes[key]:
            del nodes[key]
        else:
            nodes[key] -= moved
        fuller = held + 1, after
        if fuller not in nodes:
            heappush(waiting, fuller)
        nodes[fuller] = nodes.get(fuller, 0) + moved
    return count
