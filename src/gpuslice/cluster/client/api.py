"""One connection to an API server: requests, what is tried again, and its refusals in words.

Everything sent here may be sent twice: applies, deletes of one uid, and changes that name the version of the object
which they are of. So whatever may have gone wrong on the way is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct, field

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import EnvironmentFailedError

if TYPE_CHECKING:
    import httpx2 as httpx
    from lightkube.config.kubeconfig import SingleConfig

PAGE: Final = 500
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.25  # seconds; doubled each time: 8 s in all
_LONGEST_PAUSE: Final = 30.0  # a server that asks for more is down
_PATIENCE: Final = 120.0  # seconds after which nothing is tried again: two answers that never come
_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_GONE: Final = 410
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0  # as long as the API server takes for any request

T = TypeVar("T")


class Cause(Struct, frozen=True):
    """One reason of several for a refusal."""

    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(Struct, frozen=True):
    causes: tuple[Cause, ...] = ()
    kind: str = ""
    name: str = ""


class Status(Struct, frozen=True):
    """What an API server says instead of an object."""

    message: str = ""
    reason: str = ""
    details: _Details = _Details()


class _ListMetadata(Struct, frozen=True):
    continue_: str = field(name="continue", default="")


class _Page(Struct, frozen=True):
    metadata: _ListMetadata = _ListMetadata()
    items: tuple[msgspec.Raw, ...] = ()


class ApiError(EnvironmentFailedError):
    """The API server refused.

    Attributes:
        code: the HTTP status.
        status: what it said.
    """

    def __init__(self, message: str, *, code: int, status: Status, where: str = "", fix: str = "") -> None:
        super().__init__(message, where=where, fix=fix)
        self.code = code
        self.status = status


class Api:
    """An API server, as one user sees it.

    Attributes:
        name: the context, for messages.
        namespace: of the context.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        name: str = "",
        namespace: str = "default",
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self._http = http
        self._pause = pause
        self._clock = clock

    def get(self, path: str, kind: type[T], params: Mapping[str, str] | None = None) -> T:
        """One object.

        Raises:
            ApiError: among others code 404, where there is none.
            EnvironmentFailedError: no answer.
        """
        return self._decode(self.request("GET", path, params=params), kind, path)

    def find(self, path: str, kind: type[T]) -> T | None:
        """One object, or None where there is none."""
        try:
            return self.get(path, kind)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(
        self, path: str, decode: Callable[[msgspec.Raw], T | None], params: Mapping[str, str] | None = None
    ) -> list[T]:
        """All objects of a list, page by page.

        Args:
            path: of the list.
            decode: makes of an object's JSON what is kept of it; None: nothing is.
            params: selectors.
        """
        for limit in (str(PAGE), str(PAGE), ""):
            try:
                return list(self._pages(path, decode, {**(params or {}), "limit": limit}))
            except ApiError as error:
                # The list grew too old between two pages: from the start, in the end without pages.
                if error.code != _GONE or not limit:
                    raise
        raise AssertionError  # the last round returns or raises

    def _pages(
        self, path: str, decode: Callable[[msgspec.Raw], T | None], params: dict[str, str]
    ) -> Iterator[T]:
        while True:
            page = self._decode(self.request("GET", path, params=params), _Page, path)
            for item in page.items:
                kept = decode(item)
                if kept is not None:
                    yield kept
            if not page.metadata.continue_:
                return
            params = {**params, "continue": page.metadata.continue_}

    def send(
        self,
        method: str,
        path: str,
        body: object,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Mapping[str, object]:
        """A request with a body; what the server answers."""
        content = msgspec.json.encode(body)
        answer = self.request(method, path, params=params, content=content, content_type=content_type)
        return self._decode(answer, dict[str, object], path)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        content_type: str = "",
    ) -> bytes:
        """One request, tried again where that may help.

        Raises:
            ApiError: it was refused.
            EnvironmentFailedError: there was no whole answer.
        """
        import httpx2 as httpx
        from lightkube.core.exceptions import ConfigError

        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        known = {key: value for key, value in (params or {}).items() if value}
        request = self._http.build_request(method, path, params=known, content=content, headers=headers)
        started = self._clock()
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            wait = pause
            try:
                code, answer, later = self._whole(request)
            except ConfigError as error:  # a credential plug-in that isn't there, hangs or is broken
                raise self._unauthenticated(str(error)) from None
            except OSError as error:  # a token file that can't be read
                raise self._unauthenticated(f"{type(error).__name__}: {error}") from None
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS or self._clock() - started >= _PATIENCE or _hopeless(error):
                    raise self._unreachable(error, attempt) from None
            else:
                if code < 400:
                    return answer
                last = attempt == _ATTEMPTS or self._clock() - started >= _PATIENCE
                if last or code not in _TRY_AGAIN:
                    raise _refusal(code, answer, method, path)
                wait = _retry_after(later, pause)
            self._pause(wait)
            pause *= 2
        raise AssertionError  # the last attempt returns or raises

    def _whole(self, request: httpx.Request) -> tuple[int, bytes, str]:
        """An answer's status, its whole body, and its Retry-After.

        The client's own limit is for each piece: of a body that comes in drops, it sees no end.
        """
        import httpx2 as httpx

        started = self._clock()
        response = self._http.send(request, stream=True)
        try:
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                if self._clock() - started >= _PATIENCE:
                    raise httpx.ReadTimeout(f"the answer has no end after {_PATIENCE:.0f} s", request=request)
        finally:
            response.close()
        return response.status_code, b"".join(pieces), response.headers.get("Retry-After", "")

    def _decode(self, content: bytes, kind: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise EnvironmentFailedError(
                f"the answer makes no sense: {shorten(str(error))}",
                where=f"{self._http.base_url.host}{path}",
                fix="is this the address of a Kubernetes API server? See `kubectl config view`",
            ) from None

    def _unreachable(self, error: Exception, attempts: int) -> EnvironmentFailedError:
        what = " ".join(str(error).split()) or type(error).__name__
        tried = f" (tried {attempts} times)" if attempts > 1 else ""
        return EnvironmentFailedError(
            f"no answer from the API server: {shorten(what)}{tried}",
            where=f"context {self.name}" if self.name else "",
            fix=f"is {self._http.base_url} the right address, and reachable from here? Try `kubectl get nodes`",
        )

    def _unauthenticated(self, why: str) -> EnvironmentFailedError:
        return EnvironmentFailedError(
            f"no credentials: {' '.join(why.split())[:200]}",
            where=f"context {self.name}" if self.name else "",
            fix="log in again, and try `kubectl get nodes`",
        )


@contextmanager
def connect(config: SingleConfig, *, read_seconds: float = _READ_SECONDS) -> Iterator[Api]:
    """A connection to the cluster of a context."""
    import httpx2 as httpx
    from lightkube.config.client_adapter import Client, ConnectionParams, ExecAuth
    from lightkube.core.exceptions import ConfigError

    from gpuslice.cluster.client.credentials import PluginAuth

    parameters = ConnectionParams(timeout=httpx.Timeout(read_seconds, connect=_CONNECT_SECONDS))
    try:
        http = Client(config, parameters)
        if isinstance(http.auth, ExecAuth) and config.user is not None and config.user.exec is not None:
            http.auth = PluginAuth(config.user.exec)
    except (ConfigError, OSError, ValueError, AssertionError) as error:
        raise EnvironmentFailedError(
            f"can't be used: {type(error).__name__} {shorten(str(error))}",
            where=f"context {config.context_name}",
            fix="see `kubectl config view`",
        ) from None
    with http:
        yield Api(http, name=config.context_name, namespace=config.namespace)


def _hopeless(error: httpx.TransportError) -> bool:
    """Whether it won't go away by itself: a wrong name or certificate."""
    text = str(error)
    return "CERTIFICATE_VERIFY_FAILED" in text or "Name or service not known" in text


def _retry_after(header: str, otherwise: float) -> float:
    """Seconds: what the server asks for, within reason. API servers send whole seconds, never a date."""
    return min(float(header), _LONGEST_PAUSE) if header.isascii() and header.isdigit() else otherwise


def _refusal(code: int, content: bytes, method: str, path: str) -> ApiError:
    try:
        status = msgspec.json.decode(content, type=Status)
    except (msgspec.DecodeError, msgspec.ValidationError):
        status = Status(message=content[:200].decode(errors="replace"))
    said = " ".join(status.message.split()) or f"HTTP status {code}"
    fix = ""
    if code == 401:
        said, fix = f"the credentials are refused: {said}", "log in again, and try `kubectl get nodes`"
    elif code == 403 and any(cause.reason == "NamespaceTerminating" for cause in status.details.causes):
        fix = "wait until the namespace is gone, make it anew, and run this again"
    elif code == 403 and "admission webhook" not in said and "ValidatingAdmissionPolicy" not in said:
        fix = "ask for the permission to do that; gpuslice render --rbac ROLE has all that is needed"
    elif "does not support dry run" in said:
        fix = "ask those who run the webhook to declare sideEffects: None; what can't be tried isn't written"
    elif "failed calling webhook" in said:
        fix = "ask those who run the webhook why it doesn't answer; then run this again, which goes on here"
    elif "webhook" in said or "ValidatingAdmissionPolicy" in said:
        fix = "ask those who run the webhook or policy, or leave out what it refuses"
    elif code in _TRY_AGAIN:
        fix = "the API server is in trouble: try again in a while"
    return ApiError(said[:600], code=code, status=status, where=f"{method} {path}", fix=fix)


def segments(*parts: str) -> str:
    """Path segments, joined; an empty one is left out."""
    from urllib.parse import quote

    return "/" + "/".join(quote(part, safe="/") for part in parts if part)


def joined(names: Sequence[str], most: int = 3) -> str:
    """A few names and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
