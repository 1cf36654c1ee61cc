"""MTA-STS policies: read, fetched over real HTTPS, kept."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trustme
from tests.support.daimon import MovableClock
from tests.support.nameserver import NameServer, nameserver

from daimon_mcp.resolver import Resolver
from daimon_mcp.workers.mta_sts import BadPolicy, MtaSts, StsPolicy, parse, read_id
from daimon_mcp.workers.sts_fetch import MAX_BYTES, HttpsFetch

DAY = 86_400
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n"


# ── what is read


def test_a_policy_is_read() -> None:
    assert parse(POLICY, id="a1", now=5) == StsPolicy("enforce", ("mx1.example.com", "*.example.net"), 604_800, "a1", 5)


def test_a_policy_is_read_leniently_where_the_rfc_says_so() -> None:
    text = "mode:none \nmax_age: 9999999999\n\nversion:STSv1\nmode: enforce\nnew_field: what, ever: ü\n"
    assert parse(text, id="a", now=0) == StsPolicy("none", (), 31_557_600, "a", 0)
    assert parse(POLICY + "mx: bücher.example", id="a", now=0).mx[-1] == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html></html>",
        POLICY.replace("STSv1", "STSv2"),
        POLICY.replace("version: STSv1\r\n", ""),
        POLICY.replace("enforce", "ENFORCE"),
        POLICY.replace("mode: enforce\r\n", ""),
        POLICY.replace("604800", "-1"),
        POLICY.replace("604800", "12345678901"),
        POLICY.replace("604800", "٣"),
        POLICY.replace("max_age: 604800\r\n", ""),
        "version: STSv1\nmode: enforce\nmax_age: 5\n",
        POLICY + "mx: \r\n",
        POLICY + "mx: *\r\n",
        POLICY + "mx: a.*.example\r\n",
        POLICY + "mx: *.*.example\r\n",
        POLICY + "mx: two names\r\n",
        POLICY + "no colon\r\n",
        POLICY.replace("\r\n", "\r"),
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadPolicy):
        parse(text, id="a", now=0)


@pytest.mark.parametrize(
    ("texts", "id"),
    [
        (("v=STSv1; id=20260101T000000;",), "20260101T000000"),
        (("v=STSv1;id=1", "v=spf1 -all"), "1"),
        (("v=STSv1 ; other=x ; id=abc",), "abc"),
        ((), None),
        (("v=STSv1;",), None),
        (("v=STSv1; id=;",), None),
        (("v=STSv1; id=a-b;",), None),
        ((f"v=STSv1; id={'x' * 33};",), None),
        (("v=STSv10; id=1",), None),
        (("id=1; v=STSv1",), None),
        (("v=STSv1; id=1", "v=STSv1; id=2"), None),
    ],
)
def test_the_id_in_the_dns_is_read(texts: tuple[str, ...], id: str | None) -> None:
    assert read_id(texts) == id


def test_a_policy_survives_as_plain_data() -> None:
    policy = parse(POLICY, id="a1", now=5)
    assert StsPolicy.load(json.loads(json.dumps(policy.dump()))) == policy


# ── what is kept


class Policies:
    """A store in memory that holds what a database could."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def get(self, domain: str) -> Mapping[str, object] | None:
        return json.loads(self.kept[domain]) if domain in self.kept else None

    async def put(self, domain: str, policy: Mapping[str, object]) -> None:
        self.kept[domain] = json.dumps(policy)


@dataclass
class World:
    """A domain that publishes a policy, and our side of it; the resolver keeps nothing, so that the DNS can change."""

    ns: NameServer
    clock: MovableClock
    store: Policies
    file: str | None = POLICY
    fetched: list[str] = field(default_factory=list[str])
    gate: asyncio.Event | None = None

    async def fetch(self, domain: str) -> str:
        self.fetched.append(domain)
        if self.gate is not None:
            await self.gate.wait()
        if self.file is None:
            raise BadPolicy("the answer is 404")
        return self.file

    def started(self) -> MtaSts:
        """As after a start of the process."""
        resolver = Resolver([self.ns.address], cache_bytes=0)
        return MtaSts(resolver, fetch=self.fetch, store=self.store, clock=self.clock)

    def publish(self, id: str | None) -> None:
        self.ns.remove("_mta-sts.example.com")
        if id is not None:
            self.ns.add(f'_mta-sts.example.com. TXT "v=STSv1; id={id};"')


@asynccontextmanager
async def world(id: str | None = "1") -> AsyncGenerator[World]:
    async with nameserver("example.com. MX 10 mx1.example.com.") as ns:
        made = World(ns, MovableClock(), Policies())
        made.publish(id)
        yield made


async def test_a_domain_that_publishes_nothing_has_no_policy_and_is_not_visited() -> None:
    async with world(id=None) as w:
        assert await w.started().policy("example.com") is None
        assert w.fetched == []


async def test_a_policy_is_fetched_once_and_kept_over_restarts() -> None:
    async with world() as w:
        first = await w.started().policy("example.com")
        assert first == parse(POLICY, id="1", now=w.clock.now())
        assert await w.started().policy("example.com") == first
        assert w.fetched == ["example.com"]


async def test_another_id_brings_another_policy() -> None:
    async with world() as w:
        sts = w.started()
        await sts.policy("example.com")
        w.publish("2")
        w.file = POLICY.replace("enforce", "testing")
        policy = await sts.policy("example.com")
        assert policy is not None
        assert (policy.mode, policy.id) == ("testing", "2")
        assert len(w.fetched) == 2


async def test_a_policy_is_kept_when_the_new_one_cannot_be_had_and_tried_again_later() -> None:
    async with world() as w:
        sts = w.started()
        first = await sts.policy("example.com")
        w.publish("2")
        for w.file in (None, "<html>"):
            assert await sts.policy("example.com") == first
            assert await sts.policy("example.com") == first
            w.clock.move(301)
        assert len(w.fetched) == 3
        w.file = POLICY
        policy = await sts.policy("example.com")
        assert policy is not None
        assert policy.id == "2"


@pytest.mark.parametrize("way", ["record gone", "server fails"])
async def test_who_takes_the_record_away_does_not_take_the_policy(way: str) -> None:
    async with world() as w:
        first = await w.started().policy("example.com")
        if way == "record gone":
            w.publish(None)
        else:
            w.ns.fail("_mta-sts.example.com")
        w.clock.move(7 * DAY - 1)
        assert await w.started().policy("example.com") == first
        w.clock.move(1)
        assert await w.started().policy("example.com") is None
        assert len(w.fetched) == 1


async def test_a_policy_is_fetched_again_every_day_so_that_it_never_runs_out() -> None:
    async with world() as w:
        sts = w.started()
        await sts.policy("example.com")
        w.clock.move(DAY)
        again = await sts.policy("example.com")
        assert again is not None
        assert (again.fetched_at, len(w.fetched)) == (w.clock.now(), 2)
        w.clock.move(DAY)
        w.file = None
        assert await sts.policy("example.com") == again


async def test_a_policy_that_cannot_be_had_and_never_was_is_none() -> None:
    async with world() as w:
        w.file = None
        sts = w.started()
        for _ in range(3):
            assert await sts.policy("example.com") is None
        assert len(w.fetched) == 1
        w.clock.move(301)
        w.file = POLICY
        assert await sts.policy("example.com") is not None


async def test_a_domain_can_say_that_it_has_no_policy_any_more() -> None:
    async with world() as w:
        sts = w.started()
        await sts.policy("example.com")
        w.publish("2")
        w.file = "version: STSv1\nmode: none\nmax_age: 86400\n"
        policy = await sts.policy("example.com")
        assert policy is not None
        assert policy.mode == "none"


async def test_many_who_want_it_at_once_fetch_it_once_and_one_may_leave() -> None:
    async with world() as w:
        w.gate = asyncio.Event()
        sts = w.started()
        asking = [asyncio.create_task(sts.policy("example.com")) for _ in range(5)]
        await w.ns.heard("_mta-sts.example.com", "TXT")
        asking[1].cancel()
        w.gate.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(StsPolicy) == 4
        assert len(w.fetched) == 1


# ── what is fetched


class PolicyHost:
    """An HTTPS server that answers one fixed thing; `asked` has the requests as they came."""

    def __init__(self, ca: trustme.CA, name: str, answer: bytes, *, silent: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(self._context)  # pyright: ignore[reportUnknownMemberType]
        self._answer = answer
        self._silent = silent
        self.port = 0
        self.asked: list[str] = []
        self.sni: list[str | None] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self._silent:
                await reader.read()
            else:
                writer.write(self._answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def __aenter__(self) -> PolicyHost:
        self._context.sni_callback = lambda _socket, name, _context: self.sni.append(name)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


def ok(body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


ZONE = "mta-sts.example.com. A 127.0.0.1"


async def fetched(ca: trustme.CA, host: PolicyHost, zone: str = ZONE, seconds: float = 5.0) -> str:
    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        ca.configure_trust(made)  # pyright: ignore[reportUnknownMemberType]
        return made

    async with nameserver(zone) as ns:
        fetch = HttpsFetch(Resolver([ns.address]), tls=context, port=host.port, seconds=seconds)
        return await fetch("example.com")


async def test_the_file_comes_by_https_from_the_host_the_dns_names(ca: trustme.CA) -> None:
    async with PolicyHost(ca, "mta-sts.example.com", ok(POLICY.encode(), "text/plain; charset=utf-8")) as host:
        assert await fetched(ca, host) == POLICY
        assert host.sni == ["mta-sts.example.com"]
        [request] = host.asked
        assert request.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
        assert "\r\nhost: mta-sts.example.com\r\n" in request.lower()


async def test_the_file_may_come_in_chunks(ca: trustme.CA) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(POLICY), POLICY.encode())
    async with PolicyHost(ca, "mta-sts.example.com", head + body) as host:
        assert await fetched(ca, host) == POLICY


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n", "the answer is 301"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the answer is 404"),
        (ok(POLICY.encode(), "text/html"), "the answer is not text/plain"),
        (ok(b"x" * (MAX_BYTES + 1)), "longer than 65536 bytes"),
        (b"220 mail.example ESMTP\r\n", "RemoteProtocolError"),
        (ok(POLICY.encode())[:-9], "RemoteProtocolError"),
    ],
)
async def test_any_other_answer_is_no_policy(ca: trustme.CA, answer: bytes, why: str) -> None:
    async with PolicyHost(ca, "mta-sts.example.com", answer) as host:
        with pytest.raises(BadPolicy, match=why):
            await fetched(ca, host)
        assert len(host.asked) == 1


@pytest.mark.parametrize("flaw", ["another name", "another authority"])
async def test_a_host_that_cannot_prove_its_name_is_not_listened_to(ca: trustme.CA, flaw: str) -> None:
    name = "example.com" if flaw == "another name" else "mta-sts.example.com"
    issuer = ca if flaw == "another name" else trustme.CA()
    async with PolicyHost(issuer, name, ok(POLICY.encode())) as host:
        with pytest.raises(BadPolicy, match="certificate verify failed"):
            await fetched(ca, host)
        assert host.asked == []


async def test_a_host_that_says_nothing_is_not_waited_for(ca: trustme.CA) -> None:
    async with PolicyHost(ca, "mta-sts.example.com", b"", silent=True) as host:
        with pytest.raises(BadPolicy, match=r"not fetched within 1 s"):
            await fetched(ca, host, seconds=1.0)
        assert len(host.asked) == 1


async def test_the_next_address_is_tried_when_nobody_listens_at_the_first(ca: trustme.CA) -> None:
    async with PolicyHost(ca, "mta-sts.example.com", ok(POLICY.encode())) as host:
        assert await fetched(ca, host, ZONE + "\nmta-sts.example.com. AAAA ::1") == POLICY
        with pytest.raises(BadPolicy, match="there is no such name"):
            await fetched(ca, host, "")
        with pytest.raises(BadPolicy, match="has no address"):
            await fetched(ca, host, "mta-sts.example.com. TXT x")
