"""python -m bench.api_server: an API server that only reads, with a made cluster of ten thousand pods.

Lists come in pages and gzip, as the real one's. Objects are as large as those of real clusters: what controllers and
kubelets write of themselves is in them. It is a process of its own, so that whoever asks is measured alone, and ends
with its stdin.
"""

from __future__ import annotations

import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bench.timing import ROOT

PODS: Final = 10_000
NODES: Final = 1_000
GPU_NODES: Final = 600
WORKLOADS: Final = 1_000
GPU_WORKLOADS: Final = 150
OLD_REVISIONS: Final = 4  # ReplicaSets of a Deployment that have no pods any more
_GZIP_FROM: Final = 128 * 1024  # as the real one
_GZIP_LEVEL: Final = 1
_TYPES: Final = ("g5.xlarge", "g6.xlarge", "g6.2xlarge", "g4dn.xlarge")
_POOLS: Final = ("gpu-a10g", "gpu-l4", "gpu-l4-large", "gpu-t4")

Json = dict[str, object]


def lists() -> dict[str, list[bytes]]:
    """The objects of each list that holds any, as JSON, by path."""
    apps = "/apis/apps/v1"
    return {
        "/api/v1/pods": [_encoded(_pod(number)) for number in range(PODS)],
        "/api/v1/nodes": [_encoded(_node(number)) for number in range(NODES)],
        f"{apps}/deployments": [_encoded(_deployment(number)) for number in range(WORKLOADS)],
        f"{apps}/replicasets": [
            _encoded(_replica_set(number, revision))
            for number in range(WORKLOADS)
            for revision in range(OLD_REVISIONS + 1)
        ],
        "/apis/karpenter.sh/v1/nodepools": [_encoded(_node_pool(each)) for each in range(len(_POOLS))],
        "/apis/karpenter.sh/v1/nodeclaims": [_encoded(_node_claim(each)) for each in range(GPU_NODES)],
    }


@dataclass(frozen=True)
class Server:
    """One that runs.

    Attributes:
        address: of its own, on loopback.
        mib: of JSON that its lists are.
    """

    address: str
    mib: int


@contextmanager
def serving() -> Iterator[Server]:
    """Run it beside this process."""
    command = [sys.executable, "-m", "bench.api_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        address, mib = line.split()
        try:
            yield Server(address, int(mib))
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()


def main() -> None:
    """Serve, and say where and how much."""
    objects = lists()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(objects))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    size = sum(len(each) for items in objects.values() for each in items)
    print(f"http://127.0.0.1:{server.server_address[1]}", size >> 20, flush=True)
    sys.stdin.read()


def _handler(objects: Mapping[str, list[bytes]]) -> type[http.server.BaseHTTPRequestHandler]:
    groups = sorted({path.split("/")[2] for path in objects if path.startswith("/apis/")})
    served = [{"name": each, "versions": [], "preferredVersion": {}} for each in groups]
    fixed = {"/version": {"gitVersion": "v1.35.4"}, "/apis": {"groups": served}}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path in fixed:
                self._send(200, json.dumps(fixed[url.path]).encode())
            elif "/configmaps/" in url.path:
                self._send(404, b'{"kind":"Status","code":404,"reason":"NotFound","message":"not found"}')
            else:
                query = parse_qs(url.query)
                start = int(query.get("continue", ["0"])[0])
                self._send(200, _page(objects.get(url.path, []), start, int(query.get("limit", ["0"])[0])))

        def _send(self, code: int, body: bytes) -> None:
            packed = len(body) > _GZIP_FROM and "gzip" in self.headers.get("Accept-Encoding", "")
            content = gzip.compress(body, _GZIP_LEVEL) if packed else body
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class's name
            """Nothing: a line for each request would be in the way."""

    return Handler


def _page(items: list[bytes], start: int, limit: int) -> bytes:
    end = start + limit if limit else len(items)
    rest = {"continue": str(end), "remainingItemCount": len(items) - end} if end < len(items) else {}
    metadata = json.dumps({"resourceVersion": "1000", **rest}).encode()
    return b'{"kind":"List","apiVersion":"v1","metadata":%b,"items":[%b]}' % (
        metadata,
        b",".join(items[start:end]),
    )


def _encoded(data: Json) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _is_gpu(workload: int) -> bool:
    return workload < GPU_WORKLOADS


def _metadata(name: str, namespace: str = "", *, labels: Json, owner: tuple[str, str] | None = None) -> Json:
    """With managedFields of the size that they have: a third of an object or more."""
    fields: Json = {f"f:{key}": {} for key in labels} | {
        "f:spec": {f"f:field-{each}": {} for each in range(40)}
    }
    managed = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-20T08:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": fields, "f:status": {f"k:{each}": fields for each in range(2)}},
        }
        for manager in ("kube-controller-manager", "kubelet")
    ]
    made: Json = {
        "name": name,
        "uid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012}",
        "resourceVersion": "123456789",
        "creationTimestamp": "2026-11-20T08:00:00Z",
        "labels": labels,
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
        "managedFields": managed,
    }
    if namespace:
        made["namespace"] = namespace
    if owner:
        kind, owner_name = owner
        made["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": kind, "name": owner_name, "uid": "x", "controller": True}
        ]
    return made


def _namespace(workload: int) -> str:
    return f"team-{workload % 20}"


def _template(workload: int) -> Json:
    """Of pods: twenty variables, probes, mounts; one container in five uses a GPU."""
    gpus = {"nvidia.com/gpu": "1"} if _is_gpu(workload) else {}
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
    container = {
        "name": "main",
        "image": f"registry.example.com/team/app-{workload}:v1.2.3",
        "args": ["--listen=0.0.0.0:8080", f"--name=app-{workload}"],
        "env": [{"name": f"SETTING_{each}", "value": f"value of setting {each}"} for each in range(20)],
        "resources": {"limits": {"memory": "4Gi", **gpus}, "requests": {"cpu": "1", "memory": "4Gi", **gpus}},
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": [{"name": f"volume-{each}", "mountPath": f"/mnt/{each}"} for each in range(3)],
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
    }
    return {
        "containers": [container],
        "volumes": [{"name": f"volume-{each}", "emptyDir": {}} for each in range(3)],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}] if gpus else [],
        "serviceAccountName": "default",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
    }


def _pod(number: int) -> Json:
    workload = number % WORKLOADS
    name = f"app-{workload}"
    node = number % GPU_NODES if _is_gpu(workload) else GPU_NODES + number % (NODES - GPU_NODES)
    moment = "2026-11-20T08:00:00Z"
    conditions = [
        {"type": each, "status": "True", "lastProbeTime": None, "lastTransitionTime": moment}
        for each in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "metadata": _metadata(
            f"{name}-6d4cf56db6-{number:05}",
            _namespace(workload),
            labels={"app": name, "team": _namespace(workload), "pod-template-hash": "6d4cf56db6"},
            owner=("ReplicaSet", f"{name}-6d4cf56db6"),
        ),
        "spec": {**_template(workload), "nodeName": f"ip-10-0-{node}.ec2.internal"},
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "hostIP": "10.0.0.1",
            "podIP": f"10.1.{number // 250}.{number % 250}",
            "startTime": moment,
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": True,
                    "restartCount": 0,
                    "image": f"registry.example.com/team/app-{workload}:v1.2.3",
                    "imageID": f"registry.example.com/team/app-{workload}@sha256:{number:064x}",
                    "containerID": f"containerd://{number:064x}",
                    "state": {"running": {"startedAt": moment}},
                }
            ],
        },
    }


def _node(number: int) -> Json:
    gpu = number < GPU_NODES
    kind = number % len(_TYPES)
    instance_type = _TYPES[kind] if gpu else "m7i.4xlarge"
    offered = {"cpu": "4", "memory": "16Gi", "pods": "58", "ephemeral-storage": "100Gi"} | (
        {"nvidia.com/gpu": "1"} if gpu else {}
    )
    labels: Json = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": instance_type,
        "topology.kubernetes.io/region": "us-east-1",
        "topology.kubernetes.io/zone": f"us-east-1{'abc'[number % 3]}",
        "karpenter.sh/capacity-type": "on-demand",
        "karpenter.sh/nodepool": _POOLS[kind] if gpu else "general",
    }
    labels |= {f"feature.node.kubernetes.io/cpu-cpuid.F{each}": "true" for each in range(60)}
    images = [
        {
            "names": [
                f"registry.example.com/team/image-{each}@sha256:{each:064x}",
                f"registry.example.com/team/image-{each}:v1",
            ],
            "sizeBytes": 123456789,
        }
        for each in range(50)
    ]
    return {
        "metadata": _metadata(f"ip-10-0-{number}.ec2.internal", labels=labels),
        "spec": {"providerID": f"aws:///us-east-1a/i-{number:017x}"},
        "status": {
            "capacity": offered,
            "allocatable": offered,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "images": images,
            "nodeInfo": {"osImage": "Amazon Linux 2023.9", "kubeletVersion": "v1.35.4-eks"},
        },
    }


def _controller(number: int, name: str, *, owner: tuple[str, str] | None = None, replicas: int) -> Json:
    labels: Json = {"app": f"app-{number}"}
    return {
        "metadata": _metadata(name, _namespace(number), labels=labels, owner=owner),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _template(number)},
        },
        "status": {"replicas": replicas},
    }


def _deployment(number: int) -> Json:
    return _controller(number, f"app-{number}", replicas=PODS // WORKLOADS)


def _replica_set(number: int, revision: int) -> Json:
    name = f"app-{number}-{'6d4cf56db6' if revision == 0 else f'old{revision}'}"
    replicas = 0 if revision else PODS // WORKLOADS
    return _controller(number, name, owner=("Deployment", f"app-{number}"), replicas=replicas)


def _node_pool(number: int) -> Json:
    requirement = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [_TYPES[number]]}
    return {
        "metadata": _metadata(_POOLS[number], labels={}),
        "spec": {"template": {"metadata": {"labels": {}}, "spec": {"requirements": [requirement]}}},
    }


def _node_claim(number: int) -> Json:
    return {
        "metadata": _metadata(
            f"gpu-{number:05}", labels={"karpenter.sh/nodepool": _POOLS[number % len(_POOLS)]}
        ),
        "spec": {"resources": {"requests": {"cpu": "3", "nvidia.com/gpu": "1"}}},
        "status": {"nodeName": f"ip-10-0-{number}.ec2.internal", "conditions": []},
    }


if __name__ == "__main__":
    main()
