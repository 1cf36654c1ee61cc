"""TLS on a connection that is there already, on any asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable
from typing import Final, cast

TLS_SECONDS: Final = 15.0
TLS_RECORD: Final = 0x16  # first octet of the record that a ClientHello comes in (RFC 8446 §5.1)


async def start_tls(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    early: Callable[[], bytes],
    shutdown_seconds: float,
) -> asyncio.Transport | None:
    """Handshake as the server, and go on with `protocol` above TLS; the transport to use from then on.

    `early` returns what `protocol` was given of the handshake before, and is called when no more can come. `protocol`
    can be given decrypted bytes before this returns. None or OSError (SSLError and TimeoutError are that too) when
    there is no TLS, and nobody will call `connection_lost` then.
    """
    loop = asyncio.get_running_loop()

    async def begin() -> asyncio.Transport | None:
        # On a transport that is closing already, some loops keep all of TLS until the handshake's time is over: peers
        # that come and go could fill the memory with it.
        if transport.is_closing():
            return None
        return await loop.start_tls(
            transport,
            protocol,
            context,
            server_side=True,
            ssl_handshake_timeout=TLS_SECONDS,
            ssl_shutdown_timeout=shutdown_seconds,
        )

    handshake = loop.create_task(begin())
    try:
        await asyncio.sleep(0)  # now the handshake is the transport's protocol, and about to be told so
        if transport.get_protocol() is not protocol:
            loop.call_soon(_feed, transport, early())
        return await handshake
    finally:
        handshake.cancel()


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    """Give `data` to the protocol of `transport` as if it had just come; to nobody when it is closed."""
    if transport.is_closing():
        return
    protocol = cast("asyncio.BufferedProtocol", transport.get_protocol())
    while data:
        room = memoryview(protocol.get_buffer(len(data)))
        octets = min(len(room), len(data))
        room[:octets] = data[:octets]
        protocol.buffer_updated(octets)
        data = data[octets:]


_M_MMAP_THRESHOLD = -3


def keep_sessions_small() -> None:
    """Have the C library give large buffers back when they are freed; uvloop takes 256 KiB for each TLS handshake.

    glibc raises its threshold for that as buffers are freed, after which they stay: 48 kB an idle session, not 25.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # another C library, which has no such threshold
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 131_072)
