"""An API server that also writes, in memory: enough of one for an apply, with the faults that a test asks for.

It knows server-side apply of one manager, JSON patches, strategic merge patches, dry runs and versions. Deployments
roll out at once, or, those in `never_ready`, never in a pool; Karpenter's objects are ready at once unless
`verdict` says otherwise, and everybody may do everything. The real API server has tests of its own, in tests/e2e.
"""

import copy
import json
from collections.abc import Callable

import httpx2 as httpx

from gpuslice.cluster.client.resources import KNOWN
from tests.cluster.served import Served, status

BY_PLURAL = {(each.group, each.plural): each for each in KNOWN.values()}
Fault = Callable[[int, httpx.Request], httpx.Response | None]
SERVERS = {"resourceVersion", "generation", "uid"}
GAVE_UP = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": "timed out",
}
READY = [{"type": "Ready", "status": "True"}, {"type": "ValidationSucceeded", "status": "True"}]


def located(path):
    """Resource, namespace and name of a path; the name is empty for a list."""
    parts = path.strip("/").split("/")
    group = parts[1] if parts[0] == "apis" else ""
    rest = parts[3:] if group else parts[2:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return BY_PLURAL[group, rest[0]], namespace, rest[1] if len(rest) > 1 else ""


class Kept(Served):
    """Objects that can be written.

    `fault(number, request)` may return an answer, or raise, instead of the right one; `lost(number, request)` does so
    after the right thing was done. Both count requests from 0.
    """

    def __init__(self, *objects):
        super().__init__()
        self.version = 0
        self.kept = {}
        self.fault: Fault = lambda _number, _request: None
        self.lost: Fault = lambda _number, _request: None
        self.never_ready = set()  # (namespace, name) of Deployments whose pods in a pool never come
        self.verdict = lambda _data: READY  # Karpenter's, of an object of its own
        self.tried = []
        self.written = []
        for each in objects:
            self.store(each)

    @property
    def objects(self):
        return list(self.kept.values())

    @objects.setter
    def objects(self, _given):
        """`store` puts them there."""

    def store(self, data):
        """An object as somebody else wrote it."""
        resource = KNOWN[data["apiVersion"].rpartition("/")[0], data["kind"]]
        metadata = data["metadata"]
        self._keep((resource.title, metadata.get("namespace", ""), metadata["name"]), copy.deepcopy(data))

    def standing(self):
        """Everything but the journal and its namespace, without what the server adds."""
        found = {}
        for key, data in self.kept.items():
            if "gpuslice" not in key[1:]:
                metadata = {name: each for name, each in data["metadata"].items() if name not in SERVERS}
                found[key] = {name: each for name, each in data.items() if name != "status"} | {
                    "metadata": metadata
                }
        return found

    def _answer(self, request):
        number = len(self.requests)
        made = self.fault(number, request)
        if made is not None:
            self.requests.append(request)
            return made
        if request.url.path.endswith("/selfsubjectaccessreviews"):
            self.requests.append(request)
            return httpx.Response(201, json={"status": {"allowed": True}})
        answer = self._read(request) if request.method == "GET" else self._write(request)
        return self.lost(number, request) or answer

    def _read(self, request):
        if request.url.path in {"/version", "/apis"}:
            return super()._answer(request)
        self.requests.append(request)
        resource, namespace, name = located(request.url.path)
        if not name:
            return self._page(resource, namespace, request.url.params)
        found = self.kept.get((resource.title, namespace, name))
        return httpx.Response(200, json=found) if found is not None else status(404, "not found", "NotFound")

    def _write(self, request):
        self.requests.append(request)
        resource, namespace, name = located(request.url.path)
        body = json.loads(request.content)
        dry = "dryRun" in request.url.params or (isinstance(body, dict) and bool(body.get("dryRun")))
        (self.tried if dry else self.written).append((request.method, request.url.path))
        key = (
            resource.title,
            namespace,
            name or (body["metadata"]["name"] if request.method == "POST" else ""),
        )
        live = self.kept.get(key)
        kind = request.headers.get("Content-Type", "")
        if request.method == "DELETE":
            if live is None:
                return status(404, "not found", "NotFound")
            if not dry:
                del self.kept[key]
            return httpx.Response(200, json={"kind": "Status", "status": "Success"})
        if request.method == "POST":
            if live is not None:
                return status(409, "already exists", "AlreadyExists")
            made = body
        elif kind.startswith("application/apply-patch"):
            made = applied(live, body)
        elif live is None:
            return status(404, "not found", "NotFound")
        elif request.method == "PUT":
            made = body
        elif kind.startswith("application/json-patch"):
            if body[0]["value"] != live["metadata"]["resourceVersion"]:
                return status(422, "the server rejected our request: testing value failed", "Invalid")
            made = patched(live, body[1:])
        else:
            made = merged(live, body)
        wanted = made["metadata"].get("resourceVersion")
        if live is not None and wanted not in {None, live["metadata"]["resourceVersion"]}:
            return status(409, "the object has been modified", "Conflict")
        return httpx.Response(200, json=made if dry else self._keep(key, made))

    def _keep(self, key, data):
        before = self.kept.get(key)
        if before is not None and before == data:
            return data
        self.version += 1
        metadata = data["metadata"]
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata["generation"] = metadata.get("generation", 0) + 1
        if data["kind"] == "Deployment":
            replicas = data["spec"]["replicas"]
            counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
            data["status"] = {"observedGeneration": metadata["generation"], **counts}
            in_pool = "gpuslice.io/pool" in data["spec"]["template"]["spec"].get("nodeSelector", {})
            if key[1:] in self.never_ready and in_pool:
                data["status"] |= {"availableReplicas": 0, "conditions": [GAVE_UP]}
        elif data["kind"] in {"NodePool", "NodeOverlay", "EC2NodeClass"}:
            data["status"] = {"conditions": self.verdict(data)}
        self.kept[key] = data
        return data


def applied(live, body):
    """Server-side apply by gpuslice, of which the fields are remembered; a list is one value."""
    made = copy.deepcopy(live or {})
    managed = made.get("metadata", {}).pop("managedFields", [])
    now = fields(body)
    for entry in managed:
        if entry["manager"] == "gpuslice":
            for path in set(paths(entry["fieldsV1"])) - set(paths(now)):
                removed(made, path)
    made = merged(made, body)
    made["metadata"]["managedFields"] = [each for each in managed if each["manager"] != "gpuslice"]
    if now:
        made["metadata"]["managedFields"].append(
            {"manager": "gpuslice", "operation": "Apply", "fieldsV1": now}
        )
    return made


def fields(value, above=()):
    """FieldsV1 of what is applied, without what names the object."""
    named = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
    found = {}
    for key, each in value.items():
        path = (*above, key)
        if path not in named:
            inner = fields(each, path) if isinstance(each, dict) and each else {}
            if inner or path != ("metadata",):
                found[f"f:{key}"] = inner
    return found


def paths(found, above=()):
    """The leaves of FieldsV1."""
    for key, inner in found.items():
        path = (*above, key[2:])
        if inner:
            yield from paths(inner, path)
        else:
            yield path


def removed(data, path):
    """Take a field away, and what is left empty by that."""
    if len(path) > 1 and path[0] in data:
        removed(data[path[0]], path[1:])
        if not data[path[0]]:
            del data[path[0]]
    elif len(path) == 1:
        data.pop(path[0], None)


def merged(live, change):
    """A strategic merge patch: maps are merged, containers by their names, other lists replaced, nulls removed."""
    made = copy.deepcopy(live)
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = merged(made.get(key) or {}, value)
        elif key == "containers" and made.get(key):
            changes = {each["name"]: each for each in value}
            made[key] = [merged(each, changes.get(each["name"], {})) for each in made[key]]
        else:
            made[key] = copy.deepcopy(value)
    return made


def patched(live, operations):
    """A JSON patch of maps and whole lists, as gpuslice sends it."""
    made = copy.deepcopy(live)
    for each in operations:
        *above, last = [step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:]]
        holder = made
        for step in above:
            holder = holder[step]
        if each["op"] == "remove":
            del holder[last]
        else:
            holder[last] = copy.deepcopy(each["value"])
    return made
