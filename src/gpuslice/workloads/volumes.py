"""Volumes that bind a pod to a place, as far as the claims and volumes of the input tell.

A volume of EBS is in one zone, a local one on one node, and a pod that uses it can run nowhere else. Pods of one
workload may each be bound to another zone. What a plan puts on one node must be able to be there together, so whoever
has such a volume stays where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.workloads.neighbours import HOST
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuslice.workloads.objects import Fields
    from gpuslice.workloads.owners import Object
    from gpuslice.workloads.template import Template

_ZONES: Final = frozenset(
    {
        "topology.kubernetes.io/zone",
        "topology.ebs.csi.aws.com/zone",
        "failure-domain.beta.kubernetes.io/zone",
    }
)


class Volumes:
    """The claims and volumes of one input."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Keep those among the objects."""
        self._volume_of: dict[tuple[str, str], str] = {}
        self._volumes: dict[str, Fields] = {}
        for obj in objects:
            if obj.kind == "PersistentVolumeClaim":
                named = fields_of(obj.data, "spec").get("volumeName")
                self._volume_of[obj.namespace, obj.name] = named if isinstance(named, str) else ""
            elif obj.kind == "PersistentVolume":
                self._volumes[obj.name] = obj.data

    def bound(self, owner: Object, template: Template) -> tuple[str, ...]:
        """Why a workload can't leave the places of its volumes; empty where nothing of the kind is known."""
        zones: set[str] = set()
        nodes: set[str] = set()
        for claim in _claims(owner, template):
            volume = self._volumes.get(self._volume_of.get((owner.namespace, claim), ""))
            if volume is not None:
                zones |= _places(volume, _ZONES)
                nodes |= _places(volume, frozenset({HOST}))
        if nodes:
            return (f"its volumes are on {_listed(nodes)}",)
        return (f"its volumes are in {_listed(zones)}, and it can run nowhere else",) if zones else ()


def _claims(owner: Object, template: Template) -> Iterator[str]:
    volumes = template.pod.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        claim = fields_of(volume, "persistentVolumeClaim").get("claimName")
        if isinstance(claim, str):
            yield claim
    made = fields_of(owner.data, "spec").get("volumeClaimTemplates")
    for claim_template in made if isinstance(made, list) else ():
        name = fields_of(claim_template, "metadata").get("name")
        # A StatefulSet's claims stay when it is scaled down; those that there may be by now are looked for.
        for ordinal in range(max(template.replicas, template.most_replicas)):
            yield f"{name}-{owner.name}-{ordinal}"


def _places(volume: Fields, keys: frozenset[str]) -> set[str]:
    """The values of these keys that a volume's required node affinity, or its labels, name."""
    terms = fields_of(volume, "spec", "nodeAffinity", "required").get("nodeSelectorTerms")
    zones = {
        str(value)
        for term in (terms if isinstance(terms, list) else ())
        for expression in _entries(term, "matchExpressions")
        if expression.get("key") in keys and expression.get("operator") == "In"
        for value in _values(expression)
    }
    labels = fields_of(volume, "metadata", "labels")
    return zones | {str(value) for key, value in labels.items() if key in keys}


def _entries(data: object, key: str) -> Iterator[Fields]:
    entries = fields_of(data).get(key)
    for entry in entries if isinstance(entries, list) else ():
        yield fields_of(entry)


def _values(expression: Fields) -> list[object]:
    values = expression.get("values")
    return values if isinstance(values, list) else []


def _listed(places: set[str]) -> str:
    return ", ".join(shorten(place) for place in sorted(places))
