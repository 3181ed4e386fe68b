"""GPUs that pods claim by Dynamic Resource Allocation (resource.k8s.io), as far as the input tells.

A claim names a DeviceClass; the class's driver, or its name, says whether it gives out GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.workloads.objects import Fields, fields_of
from gpuslice.workloads.use import Use

if TYPE_CHECKING:
    from gpuslice.workloads.owners import Object

_PROFILE: Final = re.compile(r"profile\s*==\s*[\"']([\w.+]+)[\"']")
_GPU_CLASS: Final = re.compile(r"(?:^|[.\-])(?:gpu|mig|vgpu|mps)(?:$|[.\-])|nvidia\.com$", re.IGNORECASE)
_NO_GPU_CLASS: Final = re.compile(
    r"compute-domain|imex|amd\.com|intel\.com|neuron|tpu|rdma|sriov|dranet|net|cpu|habana", re.IGNORECASE
)
_MOST_DEVICES: Final = 64
_WHY: Final = "claims aren't planned: ask for a GPU in resources.limits to have it planned"


class Claims:
    """The claims, templates of claims and device classes of one input."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._specs: dict[tuple[str, str, str], Fields] = {}
        self._classes: dict[str, Fields] = {}
        for obj in objects:
            if obj.kind == "ResourceClaim":
                self._specs[obj.kind, obj.namespace, obj.name] = fields_of(obj.data, "spec")
            elif obj.kind == "ResourceClaimTemplate":
                self._specs[obj.kind, obj.namespace, obj.name] = fields_of(obj.data, "spec", "spec")
            elif obj.kind == "DeviceClass":
                self._classes[obj.name] = fields_of(obj.data, "spec")

    def uses(self, pod: Fields, pods: int, namespace: str) -> Iterator[Use]:
        """What a pod claims of GPUs."""
        words = list(self._claimed(pod, namespace))
        if words:
            yield Use(f"{' and '.join(words)} by DRA", 0, pods, _WHY)

    def _claimed(self, pod: Fields, namespace: str) -> Iterator[str]:
        entries = pod.get("resourceClaims")
        for entry in entries if isinstance(entries, list) else ():
            claim = fields_of(entry)
            # Before Kubernetes 1.31 both stood below `source`.
            source = {**claim, **fields_of(claim, "source")}
            template, name = source.get("resourceClaimTemplateName"), source.get("resourceClaimName")
            if not template and not name:
                continue
            kind = "ResourceClaimTemplate" if template else "ResourceClaim"
            called = str(template or name)
            spec = self._specs.get((kind, namespace, called))
            if spec is not None:
                shared = "" if template else f", shared by all that name {shorten(called)},"
                yield from (f"{words}{shared}" for words in self._devices(spec))
            elif _NO_GPU_CLASS.search(called) is None:
                yield f"a device ({kind} {shorten(called)}, which is not in the input)"

    def _devices(self, spec: Fields) -> Iterator[str]:
        requests = fields_of(spec, "devices").get("requests")
        for entry in requests if isinstance(requests, list) else ():
            request = fields_of(entry)
            alternatives = request.get("firstAvailable")
            listed = alternatives if isinstance(alternatives, list) else [request.get("exactly") or request]
            words = [word for one in listed if (word := self._device(fields_of(one)))]
            if words:
                yield " or ".join(dict.fromkeys(words))

    def _device(self, request: Fields) -> str:
        """A request in words; empty where it is for no GPU."""
        name = str(request.get("deviceClassName", ""))
        said = f"{self._classes.get(name, '')} {request.get('selectors', '')}"
        named = _GPU_CLASS.search(name) is not None and _NO_GPU_CLASS.search(name) is None
        if not named and "gpu.nvidia.com" not in said:
            return ""
        profile = _PROFILE.search(said)
        count = request.get("count")
        many = count if isinstance(count, int) and 1 < count <= _MOST_DEVICES else 1
        if request.get("allocationMode") == "All":
            return f"all GPUs of a node ({shorten(name)})"
        one = profile[1] if profile else "MIG instance" if name.startswith("mig") else "GPU"
        return f"{many if many > 1 else 'a'} {one}{'s' * (many > 1)} ({shorten(name)})"
