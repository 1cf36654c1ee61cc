"""One question to one name server: a datagram out, a datagram back, or the same over TCP (RFC 7766)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import TypeVar

from daimon_mcp.resolver.servers import Server

T = TypeVar("T")


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the first datagram that `accept` makes something of; all others are noise, or somebody's guess."""

    def __init__(self, accept: Callable[[bytes], T | None], answer: asyncio.Future[T]) -> None:
        self._accept = accept
        self._answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._answer.done() and (accepted := self._accept(data)) is not None:
            self._answer.set_result(accepted)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the socket was closed"))


async def over_udp(server: Server, query: bytes, accept: Callable[[bytes], T | None]) -> T:
    """Send `query`; the first datagram from that server that `accept` takes. Waits for ever.

    The socket is new, so its port is random, and connected: the kernel drops what others send, and tells us when nobody
    listens (RFC 5452 §9). Raises OSError.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(accept, answer), remote_addr=(server.host, server.port)
    )
    try:
        transport.sendto(query)
        return await answer
    finally:
        answer.cancel()  # so that closing the socket sets no exception that nobody will look at
        transport.abort()


async def over_tcp(server: Server, query: bytes, accept: Callable[[bytes], T | None]) -> T:
    """Send `query`, read one answer, close. Waits for ever. Raises OSError or EOFError."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        data = await reader.readexactly(length)
        accepted = await asyncio.to_thread(accept, data)  # up to 64 KiB and thousands of records
    finally:
        writer.transport.abort()
    if accepted is None:
        raise ConnectionError("an answer to something else")
    return accepted
