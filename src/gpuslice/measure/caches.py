"""How full the key-value caches of language-model servers ever were, where the servers themselves are scraped.

vLLM and SGLang take their cache in advance and tell what share of it is in use. vLLM also tells its size, if it was
started with one (--kv-cache-memory-bytes): all fields of its cache's configuration are labels of one metric. Triton has
no such metric of its own: with the TensorRT-LLM backend it counts the cache's blocks, with the vLLM backend it hands on
vLLM's metrics.
"""

from __future__ import annotations

import math
from typing import Final

from gpuslice.measure.prometheus import Server, ask_in_halves, labels_in_halves, selected, spans
from gpuslice.measure.readings import Cache
from gpuslice.units import MIB

# vLLM's current name and that until v0.10 (0 to 1, whatever "perc" says), SGLang's, and that of trtllm-serve.
USAGE: Final = (
    *("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    *("sglang:token_usage", "trtllm_kv_cache_utilization"),
)
BLOCKS: Final = (
    "nv_trt_llm_kv_cache_block_metrics"  # of Triton's TensorRT-LLM backend, a kind of block a series
)
CONFIGURATION: Final = "vllm:cache_config_info"
_SIZE: Final = "kv_cache_memory_bytes"
_HOUR: Final = 3600
_STEPS: Final = 500  # of one answer: a series is one server

Pod = tuple[str, str]


def read_caches(server: Server, within: str, *, start: int, end: int) -> dict[Pod, Cache]:
    """The caches of all pods that told of theirs between two times, by (namespace, pod).

    Args:
        server: to ask.
        within: matchers of every series.
        start: of the window, seconds since 1970.
        end: likewise.

    Raises:
        EnvironmentFailedError: the server fails.
    """
    selectors = [selected(literal, within) for literal in (*USAGE, BLOCKS, CONFIGURATION)]
    there = labels_in_halves(server, selectors, start, end)
    names = {entry.get("__name__", "") for entry in there}
    hours: dict[Pod, dict[int, float]] = {}
    usage = ((literal, _most(selected(literal, within))) for literal in USAGE)
    for metric, share in (*usage, (BLOCKS, _of_blocks(within))):
        if metric not in names:
            continue
        query = f"max by (namespace, pod) ({share})"
        first = end - (end - start - 1) // _HOUR * _HOUR
        for span in spans(first, end, _HOUR, _STEPS):
            for answer in ask_in_halves(server, query, span, _HOUR):
                for series in answer:
                    pod = series.metric.get("namespace", ""), series.metric.get("pod", "")
                    shares = {
                        int(at): value for at, text in series.values if 0 <= (value := float(text)) <= 1
                    }
                    if all(pod) and shares:
                        own = hours.setdefault(pod, {})
                        own |= {at: max(value, own.get(at, 0.0)) for at, value in shares.items()}
    sizes: dict[Pod, set[float | None]] = {}
    for labels in there:
        if labels.get("__name__") == CONFIGURATION:
            pod = labels.get("namespace", ""), labels.get("pod", "")
            sizes.setdefault(pod, set()).add(_size(labels.get(_SIZE, "")))
    return {
        pod: Cache(max(own.values()), _only(sizes.get(pod, set())), len(own)) for pod, own in hours.items()
    }


def _most(selector: str) -> str:
    return f"max_over_time({selector}[{_HOUR}s])"


def _of_blocks(within: str) -> str:
    used, most = (
        _most(selected(f'{BLOCKS}{{kv_cache_block_type="{kind}"}}', within)) for kind in ("used", "max")
    )
    return f"{used} / ignoring (kv_cache_block_type) {most}"


def _size(text: str) -> float | None:
    """MiB; None: not told ("None" where vLLM sizes its cache itself)."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value / MIB if math.isfinite(value) and value > 0 else None


def _only(sizes: set[float | None]) -> float | None:
    """The one size that was ever told: a pod that changed it says nothing of the cache whose use was read."""
    return next(iter(sizes)) if len(sizes) == 1 else None
