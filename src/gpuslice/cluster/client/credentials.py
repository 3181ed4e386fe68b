"""Credentials of a plug-in such as `aws eks get-token`: run once, once more where its token is refused; none hangs."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from typing import Final

import httpx2 as httpx
import msgspec
from lightkube.config.client_adapter import ExecAuth
from lightkube.config.models import UserExec
from lightkube.core.exceptions import ConfigError
from msgspec import Struct

PATIENCE: Final = 60.0
"""Seconds for the plug-in: it may ask a service for a token, or a person for a code."""


class _Status(Struct, frozen=True):
    token: str = ""


class _Credential(Struct, frozen=True):
    """What a plug-in prints (client.authentication.k8s.io, ExecCredential)."""

    status: _Status = _Status()


class PluginAuth(ExecAuth):
    """Credentials by a plug-in, which gets so much time: lightkube waits for ever for one that hangs."""

    def __init__(self, plugin: UserExec, *, seconds: float = PATIENCE) -> None:
        super().__init__(plugin)
        self._seconds = seconds

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with the token that is known; where there is none, or it is refused (expired), with a new one.

        Raises:
            ConfigError: the plug-in fails, hangs, or prints no token.
        """
        if self._last_bearer:
            request.headers["Authorization"] = self._last_bearer
            response = yield request
            if response.status_code != 401:
                return
        self._last_bearer = None
        self._last_bearer = f"Bearer {self._token()}"
        request.headers["Authorization"] = self._last_bearer
        yield request

    def _token(self) -> str:
        command, environment = self._prepare()
        name = command[0]
        try:
            done = subprocess.run(  # noqa: S603  the command that the user's kubeconfig names
                command, env=environment, check=False, capture_output=True, timeout=self._seconds
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{name} gave no token in {self._seconds:.0f} s") from None
        except OSError as error:
            raise ConfigError(f"{name} can't be run: {error.strerror}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or "and says nothing"
            raise ConfigError(f"{name} ended with {done.returncode}: {said}")
        try:
            token = msgspec.json.decode(done.stdout, type=_Credential).status.token
        except msgspec.DecodeError:
            token = ""
        if not token:
            raise ConfigError(f"{name} printed no token")
        return token
