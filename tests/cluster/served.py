"""An API server that only reads, in memory: lists in pages, objects, and the faults that a test asks for."""

import json

import httpx2 as httpx

from gpuslice.cluster.client.api import Api
from gpuslice.cluster.client.resources import KNOWN


def status(code, message, reason="", **details):
    body = {"kind": "Status", "code": code, "message": message, "reason": reason, "details": details}
    return httpx.Response(code, json=body)


def refused(resource, verb):
    """As an API server says it."""
    said = f'cannot {verb} resource "{resource.plural}" in API group "{resource.group}"'
    return status(403, f'{resource.title} is forbidden: User "x" {said}', "Forbidden")


class Served:
    """Objects behind paths; `faults` are answers (or exceptions) that come before the right one."""

    def __init__(self, *objects):
        self.objects = objects
        self.requests = []
        self.faults = []
        self.pauses = []
        self.forbidden = set()

    def api(self):
        http = httpx.Client(base_url="https://cluster", transport=httpx.MockTransport(self._answer))
        return Api(http, name="test", pause=self.pauses.append)

    def _answer(self, request):
        self.requests.append(request)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return fault
        path = request.url.path
        if path == "/version":
            return httpx.Response(200, json={"gitVersion": "v1.35.4"})
        if path == "/apis":
            groups = sorted({group for group, _ in KNOWN if group})
            return httpx.Response(
                200,
                json={"groups": [{"name": each, "versions": [], "preferredVersion": {}} for each in groups]},
            )
        for resource in KNOWN.values():
            if path.rpartition("/")[2] == resource.plural and resource.plural in self.forbidden:
                return refused(resource, "list")
            namespaces = {"", *(each["metadata"].get("namespace", "") for each in self.objects)}
            for namespace in namespaces:
                if path == resource.path(namespace=namespace):
                    return self._page(resource, namespace, request.url.params)
        for each in self.objects:
            resource = KNOWN[each["apiVersion"].rpartition("/")[0], each["kind"]]
            if path == resource.path(each["metadata"]["name"], each["metadata"].get("namespace", "")):
                if resource.plural in self.forbidden:
                    return refused(resource, "get")
                return httpx.Response(200, json=each)
        return status(404, "not found", "NotFound")

    def _page(self, resource, namespace, params):
        found = [
            {key: value for key, value in each.items() if key not in {"apiVersion", "kind"}}
            for each in self.objects
            if each["kind"] == resource.kind
            and each["apiVersion"] == resource.api_version
            and namespace in {"", each["metadata"].get("namespace", "")}
        ]
        start, limit = int(params.get("continue", 0)), int(params.get("limit", 0)) or len(found)
        rest = {"continue": str(start + limit)} if start + limit < len(found) else {}
        body = {"kind": "List", "metadata": rest, "items": found[start : start + limit]}
        return httpx.Response(200, content=json.dumps(body).encode())
