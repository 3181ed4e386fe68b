"""Free ports on loopback."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from typing import Final

_LOWEST: Final = 20_000
_HIGHEST: Final = 32_000  # the kernel gives higher ones to outgoing connections, between our look and our use


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on, chosen at random so that two who choose at the same time seldom meet."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            port = random.randrange(_LOWEST, _HIGHEST)
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return tuple(ports)
