"""What a DCGM exporter serves, read without a Prometheus: what each GPU of its node holds at that moment.

Labels of both its generations are read: `pod`, `namespace`, `UUID`, and those of 1.x, which later ones still write
under --use-old-namespace: `pod_name`, `pod_namespace`, `uuid`. Of a GPU that several pods share, the exporter names one
of them, or each beside the same figure (--kubernetes-virtual-gpus, label `vgpu`): either way that figure is the GPU's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.measure.dcgm_metrics import MEMORY
from gpuslice.measure.pods import Labels, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEMORY: Final = frozenset({MEMORY, "dcgm_fb_used"})
_OLD: Final = {
    "pod_name": "pod",
    "pod_namespace": "namespace",
    "container_name": "container",
    "uuid": "UUID",
}
_LARGEST: Final = 64 * 1024**2  # bytes; a node's exporter serves some 100 KB
_SECONDS: Final = 10.0
_GET: Final = "kubectl get --raw /api/v1/namespaces/gpu-operator/pods/NAME:9400/proxy/metrics > FILE"


@dataclass(frozen=True, slots=True)
class Moment:
    """A GPU, or a MIG instance, at the moment of a scrape.

    Attributes:
        node: as the exporter calls it: the node's name, or where it isn't told that, its own pod's.
        gpu: UUID, or where there is none, its number on that node; of a MIG instance with its number.
        pods: that are named beside it, as (namespace, pod): not all that are on it.
        memory_mib: in use on it, by whomever.
    """

    node: str
    gpu: str
    pods: frozenset[tuple[str, str]]
    memory_mib: int


def load(source: str) -> list[Moment]:
    """What an exporter serves now, or served when it was saved.

    Args:
        source: URL of an exporter's metrics, a file, or "-" for standard input.

    Raises:
        InputError: it isn't what an exporter serves, or has no memory of a GPU.
        EnvironmentFailedError: the exporter doesn't answer.
    """
    if source.startswith(("http://", "https://")):
        return parse(_fetch(source), source.partition("?")[0])
    name = "stdin" if source == "-" else source
    try:
        if source == "-":
            content = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) and error.strerror else "is no file name"
        raise InputError(f"can't be read: {why}", where=name[:200], fix=f"save one: {_GET}") from None
    if len(content) > _LARGEST:
        raise InputError(f"is larger than {_LARGEST >> 20} MiB", where=name, fix=f"save one: {_GET}")
    return parse(_decoded(content, name), name)


def parse(text: str, where: str) -> list[Moment]:
    """The GPUs in the text format of Prometheus, each once; of several figures of one GPU the largest.

    Args:
        text: version 0.0.4 of the format.
        where: it is from, for messages.

    Raises:
        InputError: another format, or no memory of a GPU in it.
    """
    from prometheus_client.parser import text_string_to_metric_families

    series: list[tuple[Labels, float]] = []
    try:
        for family in text_string_to_metric_families(text):
            series += [
                (_renamed(sample.labels), sample.value) for sample in family.samples if sample.name in _MEMORY
            ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(
            f"is not what an exporter serves{f': {said}' if said else ''}",
            where=where,
            fix=f"save one: {_GET}",
        ) from None
    if not series:
        raise InputError(
            f"has no {MEMORY}: is it a DCGM exporter's?",
            where=where,
            fix="name the exporter's metrics, and let it count that field (its default)",
        )
    return _gpus(series)


def _gpus(series: Iterable[tuple[Labels, float]]) -> list[Moment]:
    exported = any("exported_pod" in labels for labels, _ in series)
    moments: dict[tuple[str, str], Moment] = {}
    for labels, value in series:
        if not 0 <= value < math.inf:  # a blank: no number, or one that no GPU has
            continue
        source = source_of(labels, exported=exported)
        node = labels.get("Hostname", "")
        gpu = source.gpu if source is not None else _card(labels)
        named = frozenset() if source is None else frozenset({(source.namespace, source.pod)})
        known = moments.get((node, gpu), Moment(node, gpu, frozenset(), 0))
        moments[node, gpu] = Moment(node, gpu, known.pods | named, max(known.memory_mib, int(value)))
    return list(moments.values())


def _card(labels: Labels) -> str:
    card = labels.get("UUID") or labels.get("gpu", "")
    instance = labels.get("GPU_I_ID", "")
    return f"{card}/{instance}" if instance else card


def _renamed(labels: Mapping[str, str]) -> dict[str, str]:
    """The first generation's labels by the names of the second."""
    return {**labels, **{new: labels[old] for old, new in _OLD.items() if old in labels}}


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError("is no text", where=where, fix=f"save one: {_GET}") from None


def _fetch(url: str) -> str:
    import httpx2 as httpx

    where = url.partition("?")[0].rpartition("@")[2]
    try:
        with (
            httpx.Client(timeout=_SECONDS, follow_redirects=False) as http,
            http.stream("GET", url) as response,
        ):
            parts: list[bytes] = []
            for part in response.iter_bytes():
                parts.append(part)
                if sum(map(len, parts)) > _LARGEST:
                    raise InputError(
                        f"answers over {_LARGEST >> 20} MiB",
                        where=where,
                        fix="name a DCGM exporter's metrics",
                    )
            status = response.status_code
    except httpx.InvalidURL:
        raise InputError("is no URL", where=where, fix="such as http://127.0.0.1:9400/metrics") from None
    except httpx.HTTPError as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise EnvironmentFailedError(
            f"no answer from the exporter: {said}",
            where=where,
            fix="kubectl port-forward -n gpu-operator pod/NAME 9400, and name http://127.0.0.1:9400/metrics; or "
            f"save it: {_GET}",
        ) from None
    if status != 200:
        raise EnvironmentFailedError(
            f"answered {status}", where=where, fix="the exporter's metrics are at /metrics, port 9400"
        )
    return _decoded(b"".join(parts), where)
