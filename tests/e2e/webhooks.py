"""An admission webhook on loopback, asked by the real API server over TLS, with a certificate of its own."""

import base64
import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
import time
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lightkube import ApiError
from lightkube.models.admissionregistration_v1 import (
    RuleWithOperations,
    ValidatingWebhook,
    WebhookClientConfig,
)
from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from lightkube.resources.admissionregistration_v1 import ValidatingWebhookConfiguration
from lightkube.resources.core_v1 import ConfigMap

NAME = "pools.policy.corp"
_CANARY = "canary"


class Webhook:
    """What is asked about pools, overlays and ConfigMaps, and by whom it was heard.

    `answer(request)` returns words of refusal, or nothing to let it pass. Of a ConnectionError that it raises, the API
    server gets no answer at all. The canary is always refused, so that a test can wait until the API server asks, and
    until it no longer does.
    """

    def __init__(self):
        self.answer = lambda request: None
        self.asked = []

    def review(self, request):
        name = request.get("name", "")
        if name == _CANARY:
            return "the canary"
        self.asked.append((request["kind"]["kind"], name, bool(request.get("dryRun"))))
        return self.answer(request)

    @contextmanager
    def serving(self, directory):
        """Its address, and the certificate that it is known by, in base64."""
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    said = webhook.review(review["request"])
                except ConnectionError:
                    self.close_connection = True
                    return
                status = {"status": {"message": said, "code": 403}} if said else {}
                answer = {"uid": review["request"]["uid"], "allowed": not said, **status}
                body = json.dumps(review | {"response": answer, "request": None}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        certificate = _certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/", base64.b64encode(certificate.read_bytes())
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


@contextmanager
def asked(client, url, authority, *, fails="Fail", seconds=10):
    """The API server asks a webhook until the end of the block."""
    rules = [
        RuleWithOperations(
            apiGroups=[group], apiVersions=["*"], operations=["CREATE", "UPDATE", "DELETE"], resources=plurals
        )
        for group, plurals in (("karpenter.sh", ["nodeoverlays", "nodepools"]), ("", ["configmaps"]))
    ]
    webhook = ValidatingWebhook(
        name=NAME,
        admissionReviewVersions=["v1"],
        clientConfig=WebhookClientConfig(url=url, caBundle=authority.decode()),
        failurePolicy=fails,
        sideEffects="None",
        timeoutSeconds=seconds,
        rules=rules,
        # What keeps a cluster alive is left alone, as those who run webhooks are told to.
        namespaceSelector=LabelSelector(matchExpressions=[_NOT_SYSTEM]),
    )
    client.create(ValidatingWebhookConfiguration(metadata=ObjectMeta(name=NAME), webhooks=[webhook]))
    try:
        _until(lambda: fails == "Ignore" or not _passes(client))
        yield
    finally:
        client.delete(ValidatingWebhookConfiguration, NAME)
        _until(lambda: _passes(client))


_NOT_SYSTEM = LabelSelectorRequirement(
    key="kubernetes.io/metadata.name",
    operator="NotIn",
    values=["kube-system", "kube-public", "kube-node-lease"],
)


def _passes(client):
    try:
        client.create(ConfigMap(metadata=ObjectMeta(name=_CANARY, namespace="default")), dry_run=True)
    except ApiError as error:
        if error.status.code not in {400, 403, 500}:
            raise
        return False
    return True


def _until(done, seconds=30):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def _certificate(directory):
    """A key and a certificate of its own for loopback, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(loopback, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "webhook.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
