"""A server that is slow, full, broken or somebody else: a clear error or a smaller question, never a wrong need."""

import contextlib
import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.measure.prometheus import Access, Server, TooMuchError, ask_in_halves, labels_in_halves, spans

EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}
GARBLED = {"metric": {"pod": "a"}, "values": [[60, "a lot"]]}
ONE = {"metric": {"pod": "a"}, "values": [[60, "0.5"]]}


def matrix(values):
    result = [{"metric": {"pod": "a"}, "values": values}]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def error(code, kind, said):
    return code, json.dumps({"status": "error", "errorType": kind, "error": said}).encode()


@contextlib.contextmanager
def answering(answer, context=None, **access):
    """A server whose answer to a form is (status, body), or what stands in a good one; by TLS with a context."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = {key: values[-1] for key, values in parse_qs(body.decode()).items()}
            asked.append((form, dict(self.headers)))
            found = answer(form, len(asked))
            code, content = found if isinstance(found, tuple) else (200, json.dumps(found).encode())
            self.send_response(code)
            self.send_header("Content-Length", str(len(content) + (10 if content.endswith(b"...") else 0)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.daemon_threads = True
        if context is not None:
            web.socket = context.wrap_socket(web.socket, server_side=True)
        setattr(web, "handle_error", lambda *_: None)  # noqa: B010  a client without a certificate is no news
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        scheme = "http" if context is None else "https"
        server = Server(Access(f"{scheme}://127.0.0.1:{web.server_port}", **access), sleep=lambda _: None)
        try:
            yield server, asked
        finally:
            server.close()
            web.shutdown()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, b"<html>busy</html>"), "answered 503, 4 times"),
        (error(503, "unavailable", "starting up"), "answered 503 (starting up), 4 times"),
        ((200, b"\x00\xff garbage"), "answered no whole JSON, 4 times"),
        ((200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric"'), "no whole JSON"),
        ((200, b'{"status":"success","data":...'), "broke the connection"),
        ((200, b""), "no whole JSON"),
        ((503, b"[" * 100_000), "answered 503, 4 times"),
        ((200, b'{"status":"success","data":' + b"[" * 100_000), "no whole JSON"),
        ((200, matrix([[60, "1"], [10**30, "1"]])), "for a time that was not asked for"),
        ((200, matrix([[-60, "1"]])), "for a time that was not asked for"),
        ((200, matrix([])), "a series without a value"),
        ((200, b'{"status":"error","error":"no such tenant"}'), "answered 'error' (no such tenant), 4 times"),
        ((200, b'{"status":"success","data":{"resultType":"vector","result":[]}}'), "a 'vector'"),
        (
            (200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{}}]}}'),
            "unknown form",
        ),
        (
            (
                200,
                json.dumps(
                    {"status": "success", "data": {"resultType": "matrix", "result": [GARBLED]}}
                ).encode(),
            ),
            "answered 'a lot', where a number was asked for",
        ),
        (
            error(422, "execution", "vector cannot contain metrics with the same labelset"),
            "refuses the question",
        ),
        (error(400, "bad_data", "parse error"), "refuses the question: parse error"),
        ((500, b"oops"), "answered 500"),
        ((401, b""), "refuses access (401)"),
        ((404, b""), "no Prometheus API there"),
        ((302, b""), "no Prometheus API there"),
        (
            (200, json.dumps({**EMPTY, "warnings": ["store down"]}).encode()),
            "answered only in part: store down",
        ),
    ],
)
def test_what_is_no_answer_is_an_error_and_never_an_empty_one(answer, said):
    with answering(lambda form, _: answer) as (server, _), pytest.raises(EnvironmentFailedError) as failed:
        server.range("up", 0, 60, 60)
    assert said in str(failed.value)


def test_a_fault_that_passes_is_asked_again():
    good = {"status": "success", "data": {"resultType": "matrix", "result": [ONE]}}
    with answering(lambda form, count: (503, b"") if count < 3 else good) as (server, asked):
        assert server.range("up", 0, 60, 60)[0].values == [(60.0, "0.5")]
    assert len(asked) == 3


def test_a_server_that_never_answers_is_given_up():
    release = threading.Event()
    with answering(lambda form, _: (release.wait(5), EMPTY)[1], timeout=0.05) as (server, _):
        with pytest.raises(EnvironmentFailedError, match="didn't answer in time, 4 times"):
            server.range("up", 0, 60, 60)
        release.set()


def test_an_answer_that_trickles_is_given_up_too():
    """Each byte comes in time, the whole never would."""

    class Trickling(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b" ")
                    if given_up.wait(0.01):
                        return

        def log_message(self, *_):
            pass

    given_up = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickling) as web:
        web.daemon_threads = True
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        server = Server(Access(f"http://127.0.0.1:{web.server_port}", timeout=0.1), sleep=lambda _: None)
        with pytest.raises(EnvironmentFailedError, match="didn't answer in time, 4 times"):
            server.range("up", 0, 60, 60)
        given_up.set()
        server.close()
        web.shutdown()


def test_nobody_listening_is_said():
    with pytest.raises(EnvironmentFailedError, match="can't be reached"):
        Server(Access("http://127.0.0.1:9"), sleep=lambda _: None).range("up", 0, 60, 60)


def test_a_question_that_is_too_large_is_asked_in_halves_and_nothing_is_lost():
    def answer(form, _):
        start, end = int(form["start"]), int(form["end"])
        if end - start > 120:
            return error(422, "execution", "query processing would load too many samples into memory")
        values = [[each, "1"] for each in range(start, end + 1, 60)]
        return {
            "status": "success",
            "data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]},
        }

    with answering(answer) as (server, _):
        parts = list(ask_in_halves(server, "up", (60, 1200), 60))
    assert [time for part in parts for series in part for time, _ in series.values] == list(
        range(60, 1201, 60)
    )


@pytest.mark.parametrize(
    "refusal",
    [
        error(
            422, "execution", "query processing would load too many samples into memory in query execution"
        ),
        error(503, "timeout", "query timed out in expression evaluation"),
        error(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"),
    ],
)
def test_a_server_that_refuses_even_one_step_is_an_error(refusal):
    with answering(lambda form, _: refusal) as (server, _):
        with pytest.raises(TooMuchError):
            server.range("up", 0, 60, 60)
        with pytest.raises(EnvironmentFailedError, match="even 60 seconds"):
            list(ask_in_halves(server, "up", (60, 600), 60))


def test_series_are_named_in_halves_too():
    def answer(form, _):
        start, end = int(form["start"]), int(form["end"])
        if end - start > 5000:
            return error(422, "execution", "the query exceeded the limit of series")
        return {"status": "success", "data": [{"pod": "always"}, {"pod": f"p{start}"}]}

    with answering(answer) as (server, _):
        found = labels_in_halves(server, ["up"], 0, 10_000)
    assert sorted(each["pod"] for each in found) == ["always", "p0", "p5000"]


def test_credentials_are_sent_as_asked_for():
    with answering(lambda form, _: EMPTY, bearer="secret") as (server, asked):
        server.range("up", 0, 60, 60)
    assert asked[0][1]["Authorization"] == "Bearer secret"
    with answering(lambda form, _: EMPTY, basic=("me", "secret")) as (server, asked):
        server.range("up", 0, 60, 60)
    assert asked[0][1]["Authorization"].startswith("Basic ")


def test_amazon_managed_prometheus_is_asked_by_signed_requests(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    with answering(lambda form, _: EMPTY, sigv4_region="eu-west-1") as (server, asked):
        server.range("up", 0, 60, 60)
    signed = asked[0][1]["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/aps/aws4_request" in signed


@pytest.mark.parametrize("value", ["+Inf", "NaN", "0", "-1"])
def test_a_count_that_is_none_is_an_error(value):
    answer = 200, matrix([[60, value]])
    with (
        answering(lambda form, _: answer) as (server, _),
        pytest.raises(EnvironmentFailedError, match="no count"),
    ):
        list(server.counts("up", (60, 60), 60))


@pytest.mark.parametrize("token", ["secret\nsecret", "se cret", "s\x00ecret", "secret\u00e9"])
def test_what_can_stand_in_no_header_is_refused_and_not_shown(token):
    with pytest.raises(InputError, match="more than a token") as refused:
        Server(Access("http://127.0.0.1:9", bearer=token))
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "prometheus:9090",
            "ftp://a",
            "http://me:secret@host",
            "",
            "http://[::1",
            "http://a:99999",
            "http://a b",
        ),
        *("http://a/?secret", "http://a/#graph", "http://:9090", "http://me:secret@host:x"),
    ],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InputError) as refused:
        Server(Access(url))
    assert "secret" not in str(refused.value)


def test_spans_hold_every_step_once():
    found = list(spans(300, 3000, 300, 4))
    assert [each for first, last in found for each in range(first, last + 1, 300)] == list(
        range(300, 3001, 300)
    )
    assert found[0] == (300, 1200)


@pytest.fixture
def certificates(tmp_path):
    """PEM files of a CA, of a server on loopback and of a client, both signed by it."""
    now = dt.datetime.now(dt.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
    names = {each: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in keys}
    for name, key in keys.items():
        made = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["ca"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
            )
            # Python 3.13 takes no certificate that doesn't say whose key it has and who signed it.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["ca"].public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=name == "ca",
                    crl_sign=name == "ca",
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(keys["ca"], hashes.SHA256())
        )
        (tmp_path / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
        (tmp_path / f"{name}.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
    return tmp_path


def test_a_server_that_wants_a_certificate_gets_ours(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    authority = str(certificates / "ca.crt")
    ours = str(certificates / "client.crt"), str(certificates / "client.key")
    with answering(lambda form, _: EMPTY, context, certificate=ours, authority=authority) as (server, asked):
        assert server.range("up", 0, 60, 60) == []
    assert len(asked) == 1
    without = answering(lambda form, _: EMPTY, context, authority=authority)
    with without as (server, asked), pytest.raises(EnvironmentFailedError):
        server.range("up", 0, 60, 60)
    assert not asked
