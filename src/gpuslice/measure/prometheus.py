"""The HTTP API of Prometheus and of what speaks it (Thanos, Mimir, Amazon Managed Prometheus): the edge.

A question that is too large for the server is asked again in halves. An answer that is cut off, no JSON or partial is
no answer: it is asked for again, and then the run fails. Nothing is ever concluded from half of one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    import httpx2 as httpx

ATTEMPTS: Final = 4
_PAUSE: Final = 0.5  # seconds, doubled each time
_LONGEST_PAUSE: Final = 20.0
_LARGEST: Final = 128 * 1024 * 1024  # bytes of one answer; a larger one is asked for in halves
_SHORTEST: Final = 3600
_BUSY: Final = frozenset({429, 502, 503, 504})
# What servers say when a question was too large for them: Prometheus, Thanos, Mimir, Amazon.
_TOO_MUCH: Final = (
    *("too many samples", "timed out", "maximum resolution", "exceeded", "limit", "query is too", "canceled"),
    *("too many chunks", "too large"),
)
_ASK_AGAIN: Final = "nothing was measured; ask again, or a shorter --window"
_UNREACHED: Final = "check --url from here; in a cluster: kubectl port-forward svc/NAME 9090"


class TooMuchError(Exception):
    """The server can't answer so large a question; half of it may do."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server.

    Attributes:
        url: where the API stands, without /api/v1.
        bearer: a token; empty: none.
        basic: (user, password); None: none.
        certificate: (file, key file) for mutual TLS; None: none.
        authority: file of the CA that the server's certificate is checked by; empty: the system's.
        sigv4_region: sign for Amazon Managed Prometheus in this region; empty: don't.
        timeout: seconds that an answer may take.
    """

    url: str
    bearer: str = ""
    basic: tuple[str, str] | None = None
    certificate: tuple[str, str] | None = None
    authority: str = ""
    sigv4_region: str = ""
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class _Again:
    """No answer, but worth asking for again.

    Attributes:
        said: why, in words.
        fix: what to do if it stays so.
    """

    said: str
    fix: str = _ASK_AGAIN


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error_type: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()


class Series(msgspec.Struct):
    """One series of a range query: its labels, and [seconds, value as text] at each step."""

    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Matrix(msgspec.Struct, rename="camel"):
    result_type: str
    result: list[Series]


class Server:
    """A connection to one server; may be used by several threads."""

    def __init__(self, access: Access, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = _checked(access.url)
        self._sleep = sleep
        self._sign = _signer(access.sigv4_region) if access.sigv4_region else None
        self._http = _client(access)
        self._timeout = access.timeout

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def range(self, query: str, start: int, end: int, step: int) -> list[Series]:
        """A range query, both ends included, seconds since 1970.

        Raises:
            TooMuchError: ask for less.
            EnvironmentFailedError: the server fails, or answers what no Prometheus would.
        """
        data = self._ask("query_range", [("query", query), ("start", start), ("end", end), ("step", step)])
        try:
            matrix = msgspec.json.decode(data, type=_Matrix)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._failed(f"answered in an unknown form ({error})") from None
        if matrix.result_type != "matrix":
            raise self._failed(f"answered a {matrix.result_type[:20]!r}, where a matrix was asked for")
        for series in matrix.result:
            if not series.values:
                raise self._failed("answered a series without a value")
            for at, value in series.values:
                if not _is_number(value):
                    raise self._failed(f"answered {value[:20]!r}, where a number was asked for")
                # Some servers move the steps to whole multiples of one.
                if not start - step < at < end + step:
                    raise self._failed("answered for a time that was not asked for")
        return matrix.result

    def counts(self, query: str, span: tuple[int, int], step: int) -> Iterator[list[Series]]:
        """The answers to a query whose values are counts, the span parted where one answer would be too long.

        Raises:
            EnvironmentFailedError: also where one is none.
        """
        for answer in ask_in_halves(self, query, span, step):
            if not all(0 < float(value) < math.inf for series in answer for _, value in series.values):
                raise self._failed("answered no count, where one was asked for")
            yield answer

    def series(self, selectors: Sequence[str], start: int, end: int) -> list[dict[str, str]]:
        """The labels of all series that there were.

        Raises:
            TooMuchError, EnvironmentFailedError: as `range`.
        """
        data = self._ask(
            "series", [*(("match[]", selector) for selector in selectors), ("start", start), ("end", end)]
        )
        try:
            return msgspec.json.decode(data, type=list[dict[str, str]])
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._failed(f"answered in an unknown form ({error})") from None

    def _ask(self, endpoint: str, form: Sequence[tuple[str, object]]) -> msgspec.Raw:
        why = _Again("")
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(min(_LONGEST_PAUSE, _PAUSE * 2 ** (attempt - 1)))
            answer = self._try(endpoint, form)
            if not isinstance(answer, _Again):
                return answer
            why = answer
        raise EnvironmentFailedError(f"{why.said}, {ATTEMPTS} times", where=self.url, fix=why.fix)

    def _try(self, endpoint: str, form: Sequence[tuple[str, object]]) -> msgspec.Raw | _Again:
        """The answer's data, or why it is worth asking again."""
        import httpx2 as httpx

        url = f"{self.url}/api/v1/{endpoint}"
        body = urlencode([(key, str(value)) for key, value in form]).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._sign is not None:
            headers |= self._sign(url, body, headers)
        try:
            with self._http.stream("POST", url, content=body, headers=headers) as response:
                status = response.status_code
                content = _limited(response, time.monotonic() + self._timeout)
        except (httpx.ReadTimeout, TimeoutError):
            return _Again("didn't answer in time")
        except (httpx.TransportError, httpx.DecodingError) as error:
            said = " ".join(str(error).split())[:120] or type(error).__name__
            if "CERTIFICATE_VERIFY" in said.upper():
                raise EnvironmentFailedError(
                    f"can't be trusted: {said}", where=self.url, fix="name the CA it is signed by: --ca-cert"
                ) from None
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                return _Again(f"can't be reached ({said})", _UNREACHED)
            return _Again(f"broke the connection ({said})")
        try:
            answer = msgspec.json.decode(content, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = None
        if answer is not None and status == 200 and answer.status == "success":
            if answer.warnings:
                raise self._failed(f"answered only in part: {answer.warnings[0][:200]}")
            return answer.data
        return self._refused(status, answer)

    def _refused(self, status: int, answer: _Answer | None) -> _Again:
        said = "" if answer is None else " ".join(answer.error.split())[:200]
        if status in {401, 403}:
            raise EnvironmentFailedError(
                f"refuses access ({status})",
                where=self.url,
                fix="give --token-file, --user with GPUSLICE_PROMETHEUS_PASSWORD, --client-cert, or --sigv4",
            )
        if status == 404 or 300 <= status < 400:
            raise EnvironmentFailedError(
                f"has no Prometheus API there ({status})", where=self.url, fix="give the URL without /api/v1"
            )
        if status in {400, 413, 422, 503} and answer is not None:
            if answer.error_type == "timeout" or any(literal in said.lower() for literal in _TOO_MUCH):
                raise TooMuchError(said)
            if status != 503:
                raise self._failed(f"refuses the question: {said or status}")
        if status in _BUSY:
            return _Again(f"answered {status}" + (f" ({said})" if said else ""))
        if status == 200:
            return _Again(
                "answered no whole JSON" if answer is None else f"answered {answer.status[:20]!r} ({said})"
            )
        raise self._failed(f"answered {status}" + (f": {said}" if said else ""))

    def _failed(self, why: str) -> EnvironmentFailedError:
        return EnvironmentFailedError(why, where=self.url, fix=_ASK_AGAIN)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _limited(response: httpx.Response, until: float) -> bytes:
    """The whole answer, if it is not too large and there in time: the client's own limit is that of one read."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if time.monotonic() > until:
            raise TimeoutError
        if size > _LARGEST:
            raise TooMuchError(f"an answer of over {_LARGEST >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def selected(selector: str, within: str) -> str:
    """A selector, with more matchers of labels."""
    if not within:
        return selector
    head, brace, tail = selector.partition("{")
    return f"{head}{{{within},{tail}" if brace else f"{head}{{{within}}}"


def spans(start: int, end: int, step: int, steps: int) -> Iterator[tuple[int, int]]:
    """The evaluation times from start to end, in runs of so many steps: (first, last) of each."""
    first = start
    while first <= end:
        last = min(end, first + (steps - 1) * step)
        yield first, last
        first = last + step


def ask_in_halves(server: Server, query: str, span: tuple[int, int], step: int) -> Iterator[list[Series]]:
    """The answer, in as few parts as the server allows.

    Raises:
        EnvironmentFailedError: the server refuses even one step.
    """
    first, last = span
    try:
        answer = server.range(query, first, last, step)
    except TooMuchError as error:
        if first == last:
            raise EnvironmentFailedError(
                f"can't answer for even {step} seconds: {error}",
                where=server.url,
                fix="name fewer workloads at a time, or raise the server's limits (--query.max-samples)",
            ) from None
    else:
        yield answer
        return
    middle = first + (last - first) // step // 2 * step
    yield from ask_in_halves(server, query, (first, middle), step)
    yield from ask_in_halves(server, query, (middle + step, last), step)


def labels_in_halves(server: Server, selectors: Sequence[str], start: int, end: int) -> list[dict[str, str]]:
    """The labels of all series that there were, asked for in as few parts as the server allows.

    Raises:
        EnvironmentFailedError: the server refuses even an hour.
    """
    try:
        return server.series(selectors, start, end)
    except TooMuchError as error:
        if end - start <= _SHORTEST:
            raise EnvironmentFailedError(
                f"can't name the series of even an hour: {error}",
                where=server.url,
                fix="raise the server's limits",
            ) from None
    middle = (start + end) // 2
    both = (
        *labels_in_halves(server, selectors, start, middle),
        *labels_in_halves(server, selectors, middle, end),
    )
    return [dict(labels) for labels in {tuple(sorted(labels.items())): labels for labels in both}.values()]


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that don't close, a port that is none
        usable = False
    if not usable or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise InputError(
            f"{url.rpartition('@')[2][:80]!r} is no URL",
            where="--url",
            fix="such as http://prometheus.monitoring:9090",
        )
    if parts.username or parts.password:
        raise InputError(
            "holds a password", where="--url", fix="give --user and GPUSLICE_PROMETHEUS_PASSWORD instead"
        )
    if parts.query or parts.fragment:
        raise InputError(
            "goes on after its path", where="--url", fix="give it without what follows the ? or #"
        )
    return url.rstrip("/").removesuffix("/api/v1")


def _secret(text: str) -> str:
    """A token that can stand in a header. It is never shown."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(
            "holds more than a token", where="--token-file", fix="its file has the token alone, on one line"
        )
    return text


def _client(access: Access) -> httpx.Client:
    import ssl

    import httpx2 as httpx

    try:
        context = ssl.create_default_context(cafile=access.authority or None)
        if access.certificate is not None:
            context.load_cert_chain(*access.certificate)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (access.authority, *(access.certificate or ()))))
        raise InputError(f"can't be used: {error}", where=files, fix="name PEM files") from None
    headers = {"Authorization": f"Bearer {_secret(access.bearer)}"} if access.bearer else {}
    return httpx.Client(
        auth=access.basic,
        headers=headers,
        timeout=httpx.Timeout(access.timeout, connect=10.0),
        verify=context,
        follow_redirects=False,  # a credential goes only where it was meant to
    )


def _signer(region: str) -> Callable[[str, bytes, Mapping[str, str]], dict[str, str]]:
    """Headers that sign a request for Amazon Managed Prometheus (SigV4, service "aps")."""
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.session import Session
    except ImportError:
        raise EnvironmentFailedError(
            "--sigv4 needs botocore, which is not installed", fix="pip install 'gpuslice[aws]'"
        ) from None
    credentials = Session().get_credentials()
    if credentials is None:
        raise EnvironmentFailedError(
            "--sigv4 finds no AWS credentials", fix="check: aws sts get-caller-identity"
        )

    def sign(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        request = AWSRequest("POST", url, data=body, headers={"Content-Type": headers["Content-Type"]})
        SigV4Auth(credentials.get_frozen_credentials(), "aps", region).add_auth(request)
        return {str(key): str(value) for key, value in request.headers.items()}

    return sign
