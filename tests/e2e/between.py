"""A proxy between a client and the API server, in which a test can break things: on loopback, ended by the test."""

import http.server
import json
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress

import httpx2 as httpx
import yaml

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
ASKS = "/selfsubjectaccessreviews"
"""Part of the path of what is sent like a write, and only asks."""


class Between:
    """What passes between a client and the API server.

    `before(number, method, path)` is called for every write that is kept, with how many there were before; where
    it returns something true, the write is lost on the way. `answer` may return (status, headers, body) for a request
    instead of asking the server, or raise ConnectionError: then nobody answers. `after` is called once the server has
    answered, before the client hears of it; where `cut` then returns something true, half of the answer gets through.
    """

    def __init__(self, kubeconfig):
        self._upstream = yaml.safe_load(kubeconfig.read_text())
        self.writes = []
        self.requests = 0
        self.before: Callable[[int, str, str], object] = lambda number, method, path: None
        self.after = lambda number, method, path: None
        self.cut: Callable[[str, str], object] = lambda method, path: False
        self.answer: Callable[[str, str], tuple[int, dict[str, str], bytes] | None] = lambda method, path: (
            None
        )

    def config(self, directory):
        """A kubeconfig that leads through here."""
        data = json.loads(json.dumps(self._upstream))
        data["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path = directory / "kubeconfig-between"
        path.write_text(yaml.safe_dump(data))
        return path

    @contextmanager
    def running(self):
        cluster = self._upstream["clusters"][0]["cluster"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        with httpx.Client(base_url=cluster["server"], verify=context, timeout=60) as upstream:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(upstream))
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                server.server_close()
                thread.join(10)

    def _handler(self, upstream):
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length) if length else None
                between.requests += 1
                tried = "dryRun" in self.path or b'"dryRun"' in (content or b"") or ASKS in self.path
                write = self.command in WRITES and not tried
                number = len(between.writes)
                if write:
                    if between.before(number, self.command, self.path):
                        self.close_connection = True
                        return
                    between.writes.append((self.command, self.path.partition("?")[0]))
                try:
                    made = between.answer(self.command, self.path)
                except ConnectionError:
                    self.close_connection = True
                    return
                if made is None:
                    kept = {"Authorization", "Content-Type", "Accept"}
                    headers = {key: value for key, value in self.headers.items() if key in kept}
                    reply = upstream.request(self.command, self.path, content=content, headers=headers)
                    if write:
                        between.after(number, self.command, self.path)
                    made = reply.status_code, {"Content-Type": "application/json"}, reply.content
                    if between.cut(self.command, self.path):
                        made[1]["Content-Length"] = str(len(reply.content))
                        made = *made[:2], reply.content[: len(reply.content) // 2]
                status, more, body = made
                with suppress(ConnectionError):  # whoever asked was killed
                    self.send_response(status)
                    for key, value in more.items():
                        self.send_header(key, value)
                    if "Content-Length" not in more:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                if "Content-Length" in more:  # half an answer
                    self.close_connection = True

            def log_message(self, *arguments):
                pass

        for method in ("GET", *WRITES):
            setattr(Handler, f"do_{method}", Handler.handle_one)
        return Handler
