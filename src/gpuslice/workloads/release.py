"""Pods released from what they require of their nodes, with their owner's leave: key by key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError
from gpuslice.workloads.placement import models_admitted, said_of_affinity, said_of_selector
from gpuslice.workloads.requirements import without_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gpuslice.workloads.model import Workload


def released(workloads: Iterable[Workload], keys: Collection[str]) -> tuple[Workload, ...]:
    """Workloads whose patches drop keys of labels from node selector and required node affinity.

    Args:
        workloads: all of them.
        keys: to be dropped.

    Raises:
        InputError: none of them requires such a key.
    """
    before = tuple(workloads)
    known = {key for workload in before for key in _keys(workload)}
    for key in keys:
        if key not in known:
            raise InputError(
                f"no workload requires a label {quoted(key)} of its nodes",
                where="--drop-selector",
                fix=f"name one of {', '.join(sorted(known))}" if known else "leave the option out",
            )
    return tuple(_released(workload, keys) if _keys(workload) & {*keys} else workload for workload in before)


def _keys(workload: Workload) -> set[str]:
    target = workload.target
    in_affinity = {condition.key for term in target.node_affinity for condition in term}
    return {*target.node_selector, *target.drop_node_selector, *in_affinity}


def _released(workload: Workload, keys: Collection[str]) -> Workload:
    target, need = workload.target, workload.need
    affinity = without_keys(target.node_affinity, keys)
    left = target.node_affinity if target.patched_affinity is UNSET else target.patched_affinity
    patched = without_keys(left, keys)
    if patched == left:
        patched_affinity = target.patched_affinity
    else:
        patched_affinity = patched
    selector = {key: value for key, value in target.node_selector.items() if key not in keys}
    # Models that only the affinity allowed are no more bound than it is.
    if need.allow and need.allow == models_admitted(target.node_affinity):
        need = replace(need, allow=models_admitted(affinity))
    stale = tuple(said(key) for key in keys for said in (said_of_selector, said_of_affinity))
    return replace(
        workload,
        need=need,
        target=msgspec.structs.replace(
            target,
            node_selector=selector,
            drop_node_selector=tuple(
                sorted({*target.drop_node_selector, *(target.node_selector.keys() - selector.keys())})
            ),
            node_affinity=affinity,
            patched_affinity=patched_affinity,
        ),
        notes=(
            *(note for note in workload.notes if not note.startswith(stale)),
            *(
                f"what it requires of {key} is dropped by its patch, as --drop-selector asks"
                for key in sorted(_keys(workload) & {*keys})
            ),
        ),
    )
