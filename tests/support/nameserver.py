"""A name server on a loopback port, UDP and TCP, that knows what it is told and misbehaves exactly as it is told.

    zone = '''
    example.com.        MX   10 mx.example.com.
    mx.example.com.     A    192.0.2.1
    long.example.com.   60 TXT "v=spf1 " "-all"
    '''
    async with nameserver(zone) as ns:
        resolver = Resolver([ns.address])
        ns.fail("mx.example.com", "A")                # SERVFAIL from now on; `times=1` for once
        gate = ns.hold("example.com", "MX")           # answers when the gate is opened
        ...
        assert ns.queries == [("example.com", "MX")]

The text is in master-file form, names with or without the final dot, default TTL 300, one record a line. It answers as
a recursive server does: records in any order, aliases followed, NXDOMAIN for what no name ends in, NODATA with the SOA
of `negative_ttl` seconds, the AD bit on what is `secure`, truncated over UDP where the answer is longer than the asker
can take. Names count without case and without the final dot. Rules are used in the order they were given, each `times`
times (None: for ever).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zonefile
from tests.support.gate import PATIENCE, Gate

_SOA = "ns.invalid. hostmaster.invalid. 1 3600 600 86400 {minimum}"
_SIZE_WITHOUT_EDNS = 512


@dataclass
class _Rule:
    name: str
    kind: str | None
    over: str | None
    times: int | None
    answer: Callable[[dns.message.Message, bytes], bytes | Sequence[bytes] | None] | None = None
    gate: Gate | None = None


@dataclass
class _Node:
    """What is known of one name."""

    rrsets: dict[dns.rdatatype.RdataType, dns.rrset.RRset] = field(
        default_factory=dict[dns.rdatatype.RdataType, dns.rrset.RRset]
    )


class NameServer:
    """Made by `nameserver`. `queries` are the questions it was asked, `over` how each came (`udp` or `tcp`)."""

    def __init__(self, zone: str, *, secure: bool | Iterable[str] = False, negative_ttl: int = 300) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.queries: list[tuple[str, str]] = []
        self.over: list[str] = []
        self.edns: list[bool] = []
        self._negative_ttl = negative_ttl
        self._names: dict[dns.name.Name, _Node] = {}
        self._secure_all = secure is True
        self._secure = set[str]() if isinstance(secure, bool) else {_plain(name) for name in secure}
        self._rules: list[_Rule] = []
        self._heard = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.add(zone)

    @property
    def address(self) -> str:
        """As `Resolver` and the settings take it."""
        return f"{self.host}:{self.port}"

    def add(self, zone: str) -> None:
        """Know these records too."""
        text = "\n".join(line.strip() for line in zone.splitlines())
        for rrset in dns.zonefile.read_rrsets(text, origin=dns.name.root, default_ttl=300, rfc2308_ttl=False):
            rrsets = self._names.setdefault(_lower(rrset.name), _Node()).rrsets
            if (known := rrsets.get(rrset.rdtype)) is None:
                rrsets[rrset.rdtype] = rrset
            else:
                cast("Any", known).update(rrset)

    def remove(self, name: str, kind: str | None = None) -> None:
        """Forget a name, or its records of one type."""
        at = dns.name.from_text(_plain(name))
        if kind is None:
            self._names.pop(at, None)
        elif at in self._names:
            self._names[at].rrsets.pop(dns.rdatatype.from_text(kind), None)

    def fail(self, name: str, kind: str | None = None, *, rcode: str = "SERVFAIL", times: int | None = None) -> None:
        """Answer with an error: SERVFAIL, REFUSED, FORMERR…"""
        code = dns.rcode.from_text(rcode)

        def answer(query: dns.message.Message, _: bytes) -> bytes:
            response = dns.message.make_response(query)
            response.set_rcode(code)
            return response.to_wire()

        self._rules.append(_Rule(_plain(name), kind, None, times, answer))

    def fail_edns(self) -> None:
        """Be a server from before EDNS: FORMERR for every question that has it."""

        def answer(query: dns.message.Message, proper: bytes) -> bytes:
            if query.edns < 0:
                return proper
            response = dns.message.make_response(query)
            response.use_edns(False)
            response.set_rcode(dns.rcode.FORMERR)
            return response.to_wire()

        self._rules.append(_Rule("*", None, None, None, answer))

    def drop(self, name: str, kind: str | None = None, *, over: str | None = None, times: int | None = None) -> None:
        """Never answer; `over` "udp" or "tcp" alone. Over TCP the connection is closed."""
        self._rules.append(_Rule(_plain(name), kind, over, times, lambda _query, _proper: None))

    def truncate(self, name: str, kind: str | None = None, *, times: int | None = None) -> None:
        """Answer over UDP with nothing but the wish to be asked over TCP."""

        def answer(query: dns.message.Message, _: bytes) -> bytes:
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC
            return response.to_wire()

        self._rules.append(_Rule(_plain(name), kind, "udp", times, answer))

    def answer(
        self,
        name: str,
        kind: str | None,
        wire: Callable[[dns.message.Message, bytes], bytes | Sequence[bytes]],
        *,
        times: int | None = None,
    ) -> None:
        """Answer with what `wire` makes of the question and the proper answer; several are sent one after another."""
        self._rules.append(_Rule(_plain(name), kind, None, times, wire))

    def hold(self, name: str, kind: str | None = None, *, times: int | None = None) -> Gate:
        """Stop before the answer until the gate is opened."""
        gate = Gate()
        self._rules.append(_Rule(_plain(name), kind, None, times, gate=gate))
        return gate

    def heal(self) -> None:
        """Forget every rule."""
        self._rules.clear()

    def secure(self, *names: str) -> None:
        """Set the AD bit on answers about these names from now on; on all with no name given."""
        self._secure.update(_plain(name) for name in names)
        self._secure_all |= not names

    async def heard(self, name: str, kind: str) -> None:
        """Return once this was asked."""
        async with asyncio.timeout(PATIENCE):
            while (_plain(name), kind) not in self.queries:
                self._heard.clear()
                await self._heard.wait()

    async def respond(self, data: bytes, over: str) -> Sequence[bytes]:
        """What is sent back for `data`, nothing or one answer unless a rule is odd."""
        query = dns.message.from_wire(data)
        name, kind = _plain(query.question[0].name.to_text()), dns.rdatatype.to_text(query.question[0].rdtype)
        self.queries.append((name, kind))
        self.over.append(over)
        self.edns.append(query.edns >= 0)
        self._heard.set()
        response = self._response(query)
        limit = 65_535 if over == "tcp" else max(query.payload, _SIZE_WITHOUT_EDNS) if query.edns >= 0 else 512
        proper = response.to_wire(max_size=65_535)
        if len(proper) > limit:
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC | dns.flags.RA
            proper = response.to_wire()
        rule = self._rule(name, kind, over)
        if rule is None:
            return [proper]
        if rule.gate is not None:
            await rule.gate.pass_through()
            return [proper]
        assert rule.answer is not None
        wire = rule.answer(query, proper)
        return [] if wire is None else [wire] if isinstance(wire, bytes) else wire

    def _rule(self, name: str, kind: str, over: str) -> _Rule | None:
        for rule in self._rules:
            matches = rule.name in (name, "*") and rule.kind in (None, kind) and rule.over in (None, over)
            if matches and rule.times != 0:
                rule.times = None if rule.times is None else rule.times - 1
                return rule
        return None

    def _response(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        name, kind = _lower(query.question[0].name), query.question[0].rdtype
        at = name
        on_the_way = [name]
        found = False
        for _ in range(8):
            node = self._names.get(at)
            if node is None:
                break
            if (rrset := node.rrsets.get(kind)) is not None:
                response.answer.append(rrset)
                found = True
                break
            if (alias := node.rrsets.get(dns.rdatatype.CNAME)) is None:
                break
            response.answer.append(alias)
            at = _lower(cast("Any", alias)[0].target)
            on_the_way.append(at)
        if not found:
            if not any(known.is_subdomain(at) for known in self._names):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = _SOA.format(minimum=self._negative_ttl)
            zone = at.parent() if len(at) > 2 else at
            response.authority.append(
                dns.rrset.from_text(zone, self._negative_ttl, dns.rdataclass.IN, dns.rdatatype.SOA, soa)
            )
        if self._secure_all or all(_plain(each.to_text()) in self._secure for each in on_the_way):
            response.flags |= dns.flags.AD
        return response

    async def start(self) -> None:
        """Listen, on a port that is free for both."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, self.host, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(self.host, self.port))

    async def stop(self) -> None:
        """Stop listening; questions under way get no answer."""
        self._udp.close()
        self._tcp.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._tcp.wait_closed()
        await asyncio.sleep(0)

    def answer_datagram(self, transport: asyncio.DatagramTransport, data: bytes, peer: tuple[str, int]) -> None:
        """Answer one datagram in a task of its own."""

        async def serve() -> None:
            for wire in await self.respond(data, "udp"):
                transport.sendto(wire, peer)

        self._keep(asyncio.create_task(serve()))

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._keep(task)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answers = await self.respond(await reader.readexactly(length), "tcp")
                if not answers:
                    break
                for wire in answers:
                    writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.answer_datagram(self._transport, data, addr)


@asynccontextmanager
async def nameserver(
    zone: str = "", *, secure: bool | Iterable[str] = False, negative_ttl: int = 300
) -> AsyncGenerator[NameServer]:
    """A name server that knows `zone`, on a free port, as long as this is entered."""
    server = NameServer(zone, secure=secure, negative_ttl=negative_ttl)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _lower(name: dns.name.Name) -> dns.name.Name:
    return name.canonicalize()
