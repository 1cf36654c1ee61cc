"""Ports for servers that are told theirs before they listen, some again and again."""

from __future__ import annotations

import os
import socket
from itertools import count

_FIRST, _EACH = 20_000, 1_000
_numbers = count(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on and nobody gets meanwhile.

    It lies below those that the system gives by itself (from 32,768 or 49,152 on), and each worker of a test run has a
    thousand of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12
    while True:
        port = _FIRST + worker * _EACH + next(_numbers) % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
