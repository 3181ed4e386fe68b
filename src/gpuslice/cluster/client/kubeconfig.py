"""Which cluster, and who asks: a kubeconfig with its contexts, or the service account of a pod.

Files are found and merged as kubectl does it (the flag, then every file in KUBECONFIG, then ~/.kube/config, then the
service account); reading credentials and speaking TLS is lightkube's part.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError, nearest

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig

_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_LISTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
_PATHS: Final = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_EXEC_VERSIONS: Final = "client.authentication.k8s.io/"

Entry = dict[str, object]


def load(kubeconfig: str = "", context: str = "") -> SingleConfig:
    """The cluster and the user of a context.

    Args:
        kubeconfig: a file; empty: as the environment says.
        context: its name; empty: the current one.

    Raises:
        InputError: no file, not a kubeconfig, or no such context.
    """
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError

    files = _files(kubeconfig)
    if not files:
        try:
            return _found(KubeConfig.from_service_account(_SERVICE_ACCOUNT).get())
        except (ConfigError, KeyError):
            raise InputError(
                "no cluster is configured: there is no kubeconfig",
                fix="run `aws eks update-kubeconfig --name CLUSTER`, or give --kubeconfig FILE",
            ) from None
    merged = _merge(files)
    where = ":".join(map(str, files))
    name = context or str(merged.get("current-context") or "")
    names = [str(entry.get("name")) for entry in _entries(merged, "contexts")]
    if name not in names:
        raise InputError(
            f"there is no context {quoted(name)}" if name else "no context is current",
            where=where,
            fix=nearest(name, names) or f"give --context: {', '.join(names[:8]) or 'the file has none'}",
        )
    try:
        return _found(KubeConfig.from_dict(merged).get(name))
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"context {quoted(name)} can't be used: {' '.join(str(error).split())[:120]}",
            where=where,
            fix="see `kubectl config view`",
        ) from None


def _found(config: SingleConfig | None) -> SingleConfig:
    if config is None:
        raise InputError("no context is current", fix="give --context")
    return config


def _files(kubeconfig: str) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig).expanduser()]
    listed = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    if listed:
        # As kubectl: of several files those that aren't there are passed over, one alone must be.
        return [path for path in listed if path.is_file()] or listed[:1]
    usual = Path("~/.kube/config").expanduser()
    return [usual] if usual.is_file() else []


def _merge(files: list[Path]) -> Entry:
    """All files as one: what stands first wins."""
    merged: Entry = {key: [] for key in _LISTS}
    for file in files:
        data = _read(file)
        if data.get("current-context"):
            merged.setdefault("current-context", data["current-context"])
        for key, inner in _LISTS.items():
            known = {entry.get("name") for entry in _entries(merged, key)}
            for entry in _entries(data, key):
                if entry.get("name") not in known:
                    value = entry.get(inner)
                    fields = _absolute(value, inner, file.parent) if isinstance(value, dict) else {}
                    _entries(merged, key).append({"name": entry.get("name"), inner: fields})
    return merged


def _read(file: Path) -> Entry:
    try:
        data = yaml.load(file.read_bytes(), yaml.CSafeLoader)
    except OSError as error:
        raise InputError(
            f"can't be read: {error.strerror}", where=str(file), fix="name a kubeconfig"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError("is no YAML", where=str(file), fix="name a kubeconfig") from None
    if not isinstance(data, dict) or not isinstance(data.get("contexts"), list):
        raise InputError("is no kubeconfig: it lists no contexts", where=str(file), fix="name a kubeconfig")
    return data


def _entries(data: Entry, key: str) -> list[Entry]:
    entries = data.get(key)
    return entries if isinstance(entries, list) else []


def _absolute(fields: Entry, kind: str, folder: Path) -> Entry:
    """An entry as lightkube can take it: paths made absolute, and credential plug-ins of every version."""
    made = dict(fields)
    for key in _PATHS.get(kind, ()):
        if isinstance(path := made.get(key), str) and path:
            made[key] = str(folder / path)
    plugin = made.get("exec")
    if isinstance(plugin, dict):
        made["exec"] = _exec(plugin, folder)
    return made


def _exec(plugin: Entry, folder: Path) -> Entry:
    """A credential plug-in (`aws eks get-token`), told which version of its protocol to speak.

    lightkube knows two of the versions and says none to the plug-in; the forms of v1 and v1beta1 are the same.
    """
    version = str(plugin.get("apiVersion", ""))
    command = str(plugin.get("command", ""))
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    given = plugin.get("env")
    return {
        **plugin,
        "apiVersion": f"{_EXEC_VERSIONS}v1beta1" if version == f"{_EXEC_VERSIONS}v1" else version,
        "command": str(folder / command) if os.sep in command else command,
        "env": [
            *(given if isinstance(given, list) else []),
            {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps(info)},
        ],
    }
