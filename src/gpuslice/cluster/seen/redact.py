"""What never leaves a cluster: values of environment variables, secrets on command lines, other people's annotations.

A dump is sent to strangers. So it holds only what scanning and the checks read, and of that nothing that may be secret:
Secrets are never read at all, variables keep their names only, user data of nodes only its length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

REMOVED: Final = "removed"

# Their values decide something here, and are nobody's secret.
_HARMLESS: Final = re.compile(
    r"TF_FORCE_GPU_ALLOW_GROWTH|XLA_PYTHON_CLIENT_(PREALLOCATE|ALLOCATOR|MEM_FRACTION)|FEATURE_GATES"
    r"|MIG_STRATEGY|CONFIG_FILE|CONFIG_FILE_SRCDIR|NODE_LABEL|DEFAULT_CONFIG|FALLBACK_STRATEGIES|WITH_REBOOT|NVIDIA_VISIBLE_DEVICES|CUDA_VISIBLE_DEVICES|CUDA_MPS_[A-Z_]+"
    r"|CUDA_DEVICE_MEMORY_LIMIT[A-Z_0-9]*|CLUSTER_NAME|ISOLATED_VPC"
)
_ANNOTATIONS: Final = (
    "gpuslice.io/",
    "karpenter.sh/",
    "karpenter.k8s.aws/",
    "nvidia.com/",
    "applyset.kubernetes.io/",
)
_SECRET_FLAG: Final = re.compile(r"(?i)token|secret|passw|api[-_]?key|access[-_]?key|credential|private|auth")
_SECRET_WORD: Final = re.compile(
    r"(?i)\b(hf_[a-z0-9]{10,}|sk-[a-z0-9_-]{10,}|AKIA[0-9A-Z]{12,}|eyJ[a-z0-9_-]{10,})|://[^/\s:@]+:[^/\s@]+@"
)
_DROPPED: Final = frozenset(
    {
        "managedFields",
        "envFrom",
        "volumeMounts",
        "imagePullSecrets",
        "serviceAccountName",
        "serviceAccount",
        "selfLink",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    }
)


def redacted(data: object) -> object:
    """Plain data of an object without what may be secret."""
    if isinstance(data, Mapping):
        return {
            key: _field(key, value)
            for key, value in data.items()
            if key not in _DROPPED and value is not None
        }
    if isinstance(data, list | tuple):
        return [redacted(entry) for entry in data]
    return data


def _field(key: str, value: object) -> object:
    if key == "annotations" and isinstance(value, Mapping):
        return {name: entry for name, entry in value.items() if name.startswith(_ANNOTATIONS)}
    if key == "env" and isinstance(value, list | tuple):
        return [_variable(entry) for entry in value]
    if key in {"args", "command"} and isinstance(value, list | tuple):
        return _words(list(value))
    if key == "volumes" and isinstance(value, list | tuple):
        # Which ConfigMaps are mounted matters, the rest doesn't.
        return [
            {"name": source.get("name", ""), "configMap": redacted(source["configMap"])}
            for source in value
            if isinstance(source, Mapping) and "configMap" in source
        ]
    if key == "userData" and isinstance(value, str):
        return f"{REMOVED}: {len(value)} characters"
    return redacted(value)


def _variable(entry: object) -> object:
    if not isinstance(entry, Mapping):
        return {}
    name = str(entry.get("name", ""))
    kept = {"name": name}
    if isinstance(entry.get("value"), str):
        kept["value"] = str(entry["value"]) if _HARMLESS.fullmatch(name) else REMOVED
    return kept


def _words(words: list[object]) -> list[object]:
    """A command line: a flag's value goes where the flag's name, or the value itself, looks like a secret."""
    made: list[object] = []
    secret = False
    for word in words:
        if not isinstance(word, str):
            made.append(redacted(word))
            continue
        name, equals, _ = word.partition("=")
        flag = word.startswith("-") or bool(equals)
        if secret and not word.startswith("-"):
            made.append(REMOVED)
        elif flag and equals and _SECRET_FLAG.search(name):
            made.append(f"{name}={REMOVED}")
        elif _SECRET_WORD.search(word):
            made.append(REMOVED)
        else:
            made.append(word)
        secret = word.startswith("-") and not equals and bool(_SECRET_FLAG.search(name))
    return made
