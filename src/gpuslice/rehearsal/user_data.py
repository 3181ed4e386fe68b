"""What a node learns from its user data when it boots: as nodeadm and cloud-init (AL2023) and Bottlerocket read it.

Of shell scripts only the few commands are understood that gpuslice renders, and nothing is executed: a script with
another command is a node that doesn't boot.
"""

from __future__ import annotations

import base64
import email
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gpuslice.errors import InputError
from gpuslice.hardware.stacks import Stack

FEATURES: Final = "/etc/kubernetes/node-feature-discovery/features.d/"
"""Where Node Feature Discovery's worker looks for files of the node's own."""
_NO_LABEL: Final = "# +no-label"
_NVIDIA: Final = ("settings", "kubelet-device-plugins", "nvidia")


@dataclass(frozen=True, slots=True)
class Boot:
    """What the user data makes of a node.

    Attributes:
        stack: "al2023" or "bottlerocket".
        labels, taints: that the kubelet registers with; taints as in a Node's spec.
        features: of files for Node Feature Discovery, by name.
        feature_labels: those of them that become node labels.
        nvidia: Bottlerocket's settings of its device plugin.
    """

    stack: Stack
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    features: Mapping[str, str] = field(default_factory=dict)
    feature_labels: Mapping[str, str] = field(default_factory=dict)
    nvidia: Mapping[str, Any] = field(default_factory=dict)


def boot(encoded: str) -> Boot:
    """Read user data as EC2 hands it out.

    Args:
        encoded: base64.

    Raises:
        InputError: what no node could boot from, or a command that isn't understood.
    """
    text = base64.b64decode(encoded).decode()
    return _al2023(text) if text.lstrip().startswith("MIME-Version:") else _bottlerocket(text)


def _al2023(text: str) -> Boot:
    config: dict[str, Any] = {}
    files: dict[str, str] = {}
    for part in email.message_from_string(text).walk():
        body = part.get_payload()
        if not isinstance(body, str):
            continue
        if part.get_content_type() == "application/node.eks.aws":
            config = yaml.load(body, Loader=yaml.CSafeLoader)
        elif part.get_content_type() == "text/x-shellscript":
            _run(body, files)
    if not config:
        raise InputError("no NodeConfig", where="user data")
    kubelet = config["spec"].get("kubelet", {})
    labels: dict[str, str] = {}
    for flag in kubelet.get("flags", ()):
        name, _, value = flag.partition("=")
        if name == "--node-labels":
            labels |= dict(entry.split("=", 1) for entry in value.strip('"').split(","))
    features, feature_labels = _features(files)
    taints = tuple(kubelet.get("config", {}).get("registerWithTaints", ()))
    return Boot(Stack.AL2023, labels, taints, features, feature_labels)


def _bottlerocket(text: str) -> Boot:
    try:
        settings: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"neither MIME nor TOML: {error}", where="user data") from None
    kubernetes = settings["settings"]["kubernetes"]
    taints = []
    for key, values in kubernetes.get("node-taints", {}).items():
        for entry in values if isinstance(values, list) else [values]:
            value, _, effect = entry.rpartition(":")
            taints.append({"key": key, "value": value, "effect": effect})
    nvidia: Any = settings
    for name in _NVIDIA:
        nvidia = nvidia.get(name, {})
    return Boot(Stack.BOTTLEROCKET, kubernetes.get("node-labels", {}), tuple(taints), nvidia=nvidia)


def _run(script: str, files: dict[str, str]) -> None:
    """What a script of ours does to the file system."""
    for line in script.splitlines():
        match shlex.split(line, comments=True):
            case [] | ["set", _] | ["mkdir", "-p", _]:
                pass
            case ["printf", "%s\\n", *words, ">", path]:
                files[path] = "".join(f"{word}\n" for word in words)
            case ["mv", old, new] if old in files:
                files[new] = files.pop(old)
            case _:
                raise InputError(f"not understood: {line[:100]!r}", where="user data")


def _features(files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Features, and those that are labels as well (NFD v0.19, the local source)."""
    features: dict[str, str] = {}
    labels: dict[str, str] = {}
    for path, text in files.items():
        if not path.startswith(FEATURES) or path.removeprefix(FEATURES).startswith("."):
            continue
        labelled = True
        for line in text.splitlines():
            if line.startswith("#"):
                labelled = labelled and line.strip() != _NO_LABEL
                continue
            name, _, value = line.partition("=")
            features[name] = value or "true"
            if labelled:
                labels[name] = features[name]
    return features, labels
