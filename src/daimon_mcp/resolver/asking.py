"""One question to several name servers in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from daimon_mcp.resolver import wire
from daimon_mcp.resolver.answers import Answer, Kind, NoSuchName, TemporaryFailure
from daimon_mcp.resolver.exchange import over_tcp, over_udp
from daimon_mcp.resolver.servers import Server

ROUNDS: Final = (0.2, 0.4, 1.0)  # parts of the whole time that each server gets, the first time round, the second, …


async def ask(
    servers: Sequence[Server], name: str, kind: Kind, *, timeout: float
) -> tuple[Answer[object] | NoSuchName, int]:
    """What the first server that knows says about a `names.canonical` name, and the bytes it took to say it.

    Every server is asked once; those that kept silent again, with more patience, in all about `timeout` seconds a
    server: the caller bounds the whole. Raises TemporaryFailure, or TimeoutError when none of them said anything.
    """
    silent = list(servers)
    failure: TemporaryFailure | None = None
    for part in ROUNDS:
        for server in silent[:]:
            try:
                async with asyncio.timeout(timeout * part):
                    return await _ask_one(server, name, kind)
            except TimeoutError:
                continue
            except TemporaryFailure as error:
                failure = error
            except (OSError, EOFError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else "the answer broke off"
                failure = TemporaryFailure(f"{name} {kind}: name server {server.host}: {reason}")
            silent.remove(server)
    raise failure or TimeoutError


async def _ask_one(server: Server, name: str, kind: Kind) -> tuple[Answer[object] | NoSuchName, int]:
    asked = wire.question(name, kind)
    reply = await _exchange(server, asked)
    if reply.no_edns:  # RFC 6891 §7
        asked = wire.question(name, kind, edns=False)
        reply = await _exchange(server, asked)
    try:
        return wire.read(asked, reply, trusted=server.trusted), reply.size
    except NoSuchName as error:
        return error, reply.size


async def _exchange(server: Server, asked: wire.Question) -> wire.Reply:
    def accept(data: bytes) -> wire.Reply | None:
        return wire.accept(asked, data)

    reply = await over_udp(server, asked.wire, accept)
    return await over_tcp(server, asked.wire, accept) if reply.truncated else reply
