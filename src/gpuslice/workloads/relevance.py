"""Which documents of a YAML text can matter to a scan, told before they are parsed.

Parsing is slow (a few MB a second) and most of a repository or of a dump has nothing to do with a GPU. What is passed
over stays at hand by its kind: an owner of a pod with a GPU need not name one itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GPU_WORDS: Final = (
    *(b"gpu", b"nvidia", b"vcuda", b"resourceclaim", b"deviceclassname"),
    # Servers that use a GPU even where their manifest asks for none.
    *(b"vllm", b"sglang", b"text-generation", b"tritonserver", b"/nim/"),
)
"""Words of which every document has one that uses a GPU, in small letters."""
# Kinds that say something about pods elsewhere.
_ALWAYS: Final = frozenset(
    {"HorizontalPodAutoscaler", "ScaledObject", "Rollout", "Node", "DeviceClass", "ResourceClaimTemplate"}
    | {"ResourceClaim", "TrainJob", "LLMInferenceService", "PersistentVolume", "PersistentVolumeClaim"}
)
# Kinds that hold no pods, whatever words are in them; those of other groups than Kubernetes' own may.
_NEVER: Final = frozenset(
    {"CustomResourceDefinition", "ConfigMap", "Secret", "Service", "ServiceAccount", "Namespace", "Event"}
    | {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Ingress", "NetworkPolicy", "Endpoints"}
    | {"StorageClass", "EndpointSlice", "Lease"}
    | {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService", "PodDisruptionBudget"}
)
_PODS: Final = frozenset({"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet"})

_SEPARATOR: Final = re.compile(rb"\n---(?=[ \t\r\n]|$)")
# A line that is neither empty, nor a comment, nor a mark of a document's beginning or end.
_CONTENT: Final = re.compile(rb"^(?!(?:---|\.\.\.)[ \t]*(?:#[^\n]*)?\r?$)[ \t]*[^#\s]", re.MULTILINE)
_KIND: Final = re.compile(rb"\nkind:[ \t]*[\"']?(\w+)")
_API_VERSION: Final = re.compile(rb"\napiVersion:[ \t]*[\"']?([\w./-]+)")
# Kubernetes' own groups, in which `_NEVER` and `_PODS` mean what they say.
_BUILT_IN: Final = re.compile(rb"(?:|apps|batch|[\w.]+\.k8s\.io|autoscaling|policy|extensions)")
# An expression of a template that stands where YAML wants a value or a key, and a tag of a program's own.
_NOT_PLAIN: Final = re.compile(rb"\n[ \t]*(?:- +)*(?:[\w./-]+:[ \t]+)?(?:\{\{|\{%|![A-Za-z!])", re.IGNORECASE)
# What asks for a GPU in values and templates: a resource, or a key of a chart's own.
_ASKS: Final = re.compile(
    rb"nvidia\.com/(?:gpu|mig)|\bgpus?\b[\"']?[ \t]*:|requestGPU|numGPU|VISIBLE_DEVICES|resourceClaim",
    re.IGNORECASE,
)
# A list as kubectl prints one: short heads, and items at the left margin.
_LIST_HEAD: Final = re.compile(
    rb"(?:(?:apiVersion|kind|metadata):[^\n]*\n|[ ]+[^\n]*\n|#[^\n]*\n|\n)*items:[ \t]*\n(?=- )"
)
_ITEM: Final = re.compile(rb"\n(?=- )")
_AFTER_ITEMS: Final = re.compile(rb"\n(?=[A-Za-z])")
_ITEM_KIND: Final = re.compile(rb"\n(?:  |- )kind:[ \t]*[\"']?(\w+)")
_ALIAS: Final = re.compile(rb"[:-] [&*]\w")
_LONG_LIST: Final = 256 * 1024
_LONGEST_CHECKED: Final = 64 * 1024  # of what names no GPU, to say why it can't be read


@dataclass(frozen=True, slots=True)
class Piece:
    """One document of a text, or one item of a long list.

    Attributes:
        text: the whole text.
        start, end: where in it.
        first_line: lines before it.
        kind: of the object, as it is written; empty: it couldn't be told.
        group: of its API version; "?": it couldn't be told.
        item_of: apiVersion and kind of the list that it is an item of; empty: it is a document.
        plain: False for what looks like no YAML: a template, or tags of a program's own.
    """

    text: bytes
    start: int
    end: int
    first_line: int
    kind: str
    group: bytes
    item_of: tuple[str, str] | None = None
    plain: bool = True

    @property
    def content(self) -> bytes:
        """What stands in the piece."""
        return self.text[self.start : self.end]

    @property
    def names_gpu(self) -> bool:
        """Whether a word stands in it without which no GPU is used."""
        return has_gpu_word(self.content)

    @property
    def matters(self) -> bool:
        """Whether it has to be parsed."""
        if not self.plain and self.end - self.start <= _LONGEST_CHECKED:
            return True  # to say why it can't be read
        if self.kind in _NEVER and _BUILT_IN.fullmatch(self.group) is not None:
            return False
        return self.kind in _ALWAYS or self.names_gpu

    @property
    def holds_pods(self) -> bool:
        """Whether it is an object of Kubernetes with pods, which nothing else owns."""
        if self.kind not in _PODS or _BUILT_IN.fullmatch(self.group) is None:
            return False
        return b"ownerReferences:" not in self.content


def may_ask(text: bytes) -> bool:
    """Whether objects in a text that has to be built first may ask for a GPU; comments and CRDs don't count."""
    return any(
        _ASKS.search(without_comments(piece.content)) is not None
        for piece in pieces(text)
        if piece.kind not in _NEVER
    )


def has_gpu_word(text: bytes) -> bool:
    """Whether one of `GPU_WORDS` is in a text, in any case."""
    low = text.lower()
    return any(word in low for word in GPU_WORDS)


def without_comments(text: bytes) -> bytes:
    """The text without lines that are comments only."""
    return b"\n".join(line for line in text.split(b"\n") if not line.lstrip().startswith(b"#"))


def pieces(text: bytes) -> Iterator[Piece]:
    """The documents of a YAML text, the items of a long list each for itself; those of comments only are left out."""
    line, start = 0, 0
    bounds = [match.start() + 1 for match in _SEPARATOR.finditer(text)]
    for end in (*bounds, len(text)):
        document = text[start:end]
        if _says_something(document):
            yield from _document(text, start, end, line, document)
        line += document.count(b"\n")
        start = end


def _document(text: bytes, start: int, end: int, line: int, document: bytes) -> Iterator[Piece]:
    if end - start > _LONG_LIST:
        marker = re.match(rb"---[^\n]*\n", document)
        skipped = marker.end() if marker else 0
        head = _LIST_HEAD.match(document, skipped)
        if head is not None and not _ALIAS.search(document):
            yield from _items(text, start, document, head, line)
            return
    led = b"\n" + document
    yield Piece(text, start, end, line, _word(_KIND, led), _group(led), plain=_is_plain(led))


def _is_plain(led: bytes) -> bool:
    # Looked for at first by their letters alone, which is ten times as fast.
    marked = b"{{" in led or b"{%" in led or b" !" in led or b"\n!" in led
    return not marked or _NOT_PLAIN.search(led) is None


def _items(text: bytes, start: int, document: bytes, head: re.Match[bytes], line: int) -> Iterator[Piece]:
    first = head.end()
    after = _AFTER_ITEMS.search(document, first)
    last = after.start() + 1 if after else len(document)
    outside = b"\n" + document[:first] + document[last:]
    of = (_word(_API_VERSION, outside), _word(_KIND, outside))
    line += document.count(b"\n", 0, first)
    bounds = [match.start() + 1 for match in _ITEM.finditer(document, first, last)]
    for end in (*bounds, last):
        item = document[first:end]
        led = b"\n" + item
        group = _group(led.replace(b"\n- ", b"\n", 1).replace(b"\n  apiVersion", b"\napiVersion", 1))
        yield Piece(
            text,
            start + first,
            start + end,
            line,
            _word(_ITEM_KIND, led) or of[1].removesuffix("List"),
            group,
            item_of=of,
        )
        line += item.count(b"\n")
        first = end


def _says_something(document: bytes) -> bool:
    return _CONTENT.search(document) is not None


def _word(pattern: re.Pattern[bytes], text: bytes) -> str:
    match = pattern.search(text)
    return match[1].decode(errors="replace") if match else ""


def _group(led: bytes) -> bytes:
    match = _API_VERSION.search(led)
    return match[1].rpartition(b"/")[0] if match else b"?"
