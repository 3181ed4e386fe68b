"""Names as Kubernetes has them (RFC 1123): a namespace is a DNS label, most objects' names are DNS subdomains."""

from __future__ import annotations

import re
from typing import Final

LONGEST_NAMESPACE: Final = 63
LONGEST_OBJECT_NAME: Final = 253

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")


def is_namespace(text: str) -> bool:
    """Whether a namespace can be called that."""
    return len(text) <= LONGEST_NAMESPACE and _LABEL.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether an object of most kinds can be called that."""
    return len(text) <= LONGEST_OBJECT_NAME and _SUBDOMAIN.fullmatch(text) is not None
