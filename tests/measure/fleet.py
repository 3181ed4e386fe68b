"""A made-up fleet as the DCGM exporter and kube-state-metrics would show it: a service of many pods, and the odd cases.

The service is made in the image of a public trace of an image-generation service (144 pods, a reading a minute): bursts
of full load between pauses, memory that grows in steps.
"""

from dataclasses import dataclass

import numpy as np

from tests.measure.prometheus_server import line

START = 1_793_491_200  # 2026-11-01T00:00:00Z
MINUTES = 1000
END = START + 60_000
UNTIL = "2026-11-01T16:40:00Z"
SEED = 26
WORKLOADS = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
""" + "".join(
    f"- {{name: {name}, target: {{kind: {kind}{more}}}, replicas: 1}}\n"
    for name, kind, more in (
        *((f"gen/sd-{each:02}", "Deployment", "") for each in range(12)),
        ("shop/rank", "StatefulSet", ""),
        ("shop/alone", "Pod", ""),
        ("shop/full", "Pod", ""),
        ("shop/stuck", "Pod", ""),
        ("shop/one", "Pod", ""),
        ("shop/two", "Pod", ""),
        ("shop/slice", "Pod", ""),
        ("shop/pool", "Pod", ""),
        ("shop/sized", "Pod", ""),
        ("shop/told", "Pod", ""),
        ("shop/moved", "Deployment", ""),
        ("shop/flaky", "StatefulSet", ""),
        ("shop/gone", "Pod", ""),
    )
)


@dataclass
class Pod:
    """One pod on one GPU, a reading a minute."""

    namespace: str
    name: str
    duty: np.ndarray
    memory: np.ndarray
    model: str = "NVIDIA A100-SXM4-80GB"
    gpu: str = ""
    owner: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    first: int = 0
    spelling: str = ""
    metric: str = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
    percent: np.ndarray | None = None
    job: str = "dcgm"


def service(random):
    """Twelve Deployments of twelve pods."""
    for deployment in range(12):
        for replica in range(12):
            load = random.beta(0.6, 4, MINUTES) * (0.5 + 0.5 * np.sin(np.arange(MINUTES) / 120 + replica))
            yield Pod(
                "gen",
                f"sd-{deployment:02}-5d4f7c9b8{deployment % 10}-{replica:02}abc",
                np.clip(load, 0, 1).round(4),
                np.maximum.accumulate(random.integers(8_000, 40_000, MINUTES) // 500 * 500).astype(float),
                owner=("ReplicaSet", f"sd-{deployment:02}-5d4f7c9b8{deployment % 10}", f"sd-{deployment:02}"),
            )


def odd():
    """What goes wrong in clusters."""
    steady, grows = np.full(MINUTES, 0.3), np.linspace(1000, 3000, MINUTES).round()
    yield Pod("shop", "rank-0", steady, grows, spelling="exported_", job="other")
    yield Pod("shop", "rank-1", steady / 2, grows, spelling="exported_", job="other")
    blank = steady.copy()
    blank[100] = 9223372036854775794.0
    hides = grows.copy()
    hides[-5] = 9223372036854775794.0  # in the hour of the peak
    yield Pod("shop", "alone", blank, hides, gpu="GPU-alone")
    # The exporter's profiling stops half way.
    yield Pod(
        "shop", "stuck", np.where(np.arange(MINUTES) < 500, 0.3, 0.0), grows, percent=np.full(MINUTES, 40.0)
    )
    yield Pod("shop", "full", np.where(np.arange(MINUTES) % 10 < 5, 1.0, 1.02), grows)
    yield Pod("shop", "one", steady, grows, gpu="GPU-both")
    yield Pod("shop", "two", steady, grows, gpu="GPU-both")
    yield Pod("shop", "slice", steady, grows, labels=(("GPU_I_ID", "3"), ("GPU_I_PROFILE", "1g.10gb")))
    yield Pod("shop", "pool", steady, np.full(MINUTES, 73_000.0))
    yield Pod("shop", "sized", steady, np.full(MINUTES, 73_000.0))
    yield Pod("shop", "told", steady, grows, gpu="GPU-told")
    half = MINUTES // 4
    yield Pod("shop", "moved-7d9f6bcdf4-x2x4z", steady[:half], grows[:half], model="Tesla T4")
    yield Pod("shop", "moved-7d9f6bcdf4-b5c6d", steady[half:] * 100, grows[half:], model="NVIDIA L4", first=half,
              metric="DCGM_FI_DEV_GPU_UTIL")  # fmt: skip
    # Restarted in place, then made anew under its name on another GPU, where it is busier.
    yield Pod("shop", "flaky-0", steady[:750], grows[:750], gpu="GPU-first")
    yield Pod("shop", "flaky-0", steady[:250] * 2, grows[:250], gpu="GPU-second", first=750)


def pods():
    return [*service(np.random.default_rng(SEED)), *odd()]


def labels(pod, **more):
    found = {
        "gpu": "0",
        "UUID": pod.gpu or f"GPU-{pod.namespace}-{pod.name}",
        "Hostname": "node",
        "modelName": pod.model,
        "job": pod.job,
        f"{pod.spelling}namespace": pod.namespace,
        f"{pod.spelling}pod": pod.name,
        **dict(pod.labels),
        **more,
    }
    return {"namespace": "gpu-operator", "pod": "dcgm-exporter-x"} | found if pod.spelling else found


def metrics(found):
    """OpenMetrics, each metric's lines together."""
    for name, values in (
        ("DCGM_FI_DEV_FB_USED", lambda pod: pod.memory),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", lambda pod: pod.duty),
        ("DCGM_FI_DEV_GPU_UTIL", lambda pod: pod.duty if pod.percent is None else pod.percent),
        ("DCGM_FI_PROF_SM_ACTIVE", lambda pod: pod.duty / 2),
    ):
        yield f"# TYPE {name} gauge\n"
        for pod in found:
            both = pod.percent is not None
            if name.endswith(("ENGINE_ACTIVE", "GPU_UTIL")) and pod.metric != name and not both:
                continue
            if name.endswith("SM_ACTIVE") and pod.namespace != "shop":
                continue
            for minute, value in enumerate(values(pod)):
                yield line(name, labels(pod), value, START + 30 + 60 * (pod.first + minute))
    for name, of in (("pod", "pod"), ("replicaset", "replicaset")):
        yield f"# TYPE kube_{name}_owner gauge\n"
        seen = set()
        for pod in found:
            if not pod.owner:
                continue
            kind, set_name, deployment = pod.owner
            own, owner = (
                (pod.name, (kind, set_name)) if name == "pod" else (set_name, ("Deployment", deployment))
            )
            if own not in seen:
                seen.add(own)
                yield line(
                    f"kube_{name}_owner",
                    {"namespace": pod.namespace, of: own, "owner_kind": owner[0], "owner_name": owner[1]},
                    1,
                    START + 30,
                )
    # Of servers that tell of their caches, as vLLM does: one of its size too, one lets vLLM find the size.
    yield "# TYPE vllm:kv_cache_usage_perc gauge\n"
    for name in ("pool", "sized"):
        for minute in range(MINUTES):
            share = 0.25 if minute == 700 else 0.1
            server = {"namespace": "shop", "pod": name, "engine": "0"}
            yield line("vllm:kv_cache_usage_perc", server, share, START + 30 + 60 * minute)
    yield "# TYPE vllm:cache_config_info gauge\n"
    for name, size in (("pool", "None"), ("sized", str(40 * 2**30))):
        server = {"namespace": "shop", "pod": name, "engine": "0", "kv_cache_memory_bytes": size}
        yield line("vllm:cache_config_info", server, 1, START + 30)
    # Of Triton with the TensorRT-LLM backend.
    yield "# TYPE nv_trt_llm_kv_cache_block_metrics gauge\n"
    for kind, count in (("max", 6240), ("used", 1560), ("tokens_per", 64)):
        server = {"namespace": "shop", "pod": "alone", "model": "m", "kv_cache_block_type": kind}
        for minute in range(MINUTES):
            yield line("nv_trt_llm_kv_cache_block_metrics", server, count, START + 30 + 60 * minute)
    yield "# TYPE kube_pod_container_status_restarts counter\n"
    for name, uid, first, counts in (
        ("flaky-0", "a", 0, [2] * 300 + [3] * 200 + [5] * 250),
        ("flaky-0", "b", 750, [1] * 250),
        ("rank-0", "c", 0, [4] * MINUTES),
    ):
        for minute, count in enumerate(counts, first):
            pod = {"namespace": "shop", "pod": name, "uid": uid, "container": "main"}
            yield line("kube_pod_container_status_restarts_total", pod, count, START + 30 + 60 * minute)
    yield "# TYPE kube_pod_container_resource_requests gauge\n"
    yield line(
        "kube_pod_container_resource_requests",
        {"namespace": "shop", "pod": "told", "resource": "nvidia_com_gpu_shared"},
        1,
        START + 30,
    )
