"""One POST: what counts, what goes wrong and how it is said, and where it may go at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trustme
from tests.support.gate import PATIENCE
from tests.support.nameserver import nameserver
from tests.support.ports import free_port
from tests.support.receiver import receiver

from daimon_mcp.domain.clock import HOUR, SECOND, SystemClock
from daimon_mcp.domain.webhooks import HookRequest
from daimon_mcp.resolver import Resolver
from daimon_mcp.workers.hook_addresses import HookAddresses, NotAllowed, NotFound
from daimon_mcp.workers.hook_client import MOST_KEPT, HookClient

ZONE = """
public.example.     A     93.184.216.34
private.example.    A     10.0.0.7
loopback.example.   A     127.0.0.1
mapped.example.     AAAA  ::ffff:127.0.0.1
metadata.example.   A     169.254.169.254
both.example.       A     93.184.216.34
both.example.       AAAA  fd12::1
alias.example.      CNAME private.example.
empty.example.      TXT   "nothing here"
"""


def nobody() -> Resolver:
    raise AssertionError("no name is to be looked up")


@asynccontextmanager
async def client(
    *,
    resolving: Callable[[], Resolver] = nobody,
    tls: ssl.SSLContext | None = None,
    loopback: bool = True,
    private: bool = False,
    seconds: float = PATIENCE,
) -> AsyncGenerator[HookClient]:
    made = HookClient(
        HookAddresses(resolving, loopback=loopback, private=private),
        tls=lambda: tls or ssl.create_default_context(),
        clock=SystemClock(),
        timeout=seconds,
    )
    try:
        yield made
    finally:
        await made.close()


def to(url: str, body: bytes = b'{"event":"webhook.test"}') -> HookRequest:
    return HookRequest(url, {"Content-Type": "application/json", "webhook-id": "evt_1"}, body)


async def test_the_body_arrives_as_it_was_signed_and_the_connection_is_used_again() -> None:
    async with receiver() as peer, client() as poster:
        body = '{"text":"é …"}'.encode()
        for _ in range(3):
            answer = await poster.post(to(peer.url("/a?b=c"), body))
            assert (answer.status, answer.error, answer.is_success) == (200, None, True)
        posted = peer.posted[0]
        assert (posted.path, posted.body) == ("/a?b=c", body)
        assert posted.headers["host"] == f"127.0.0.1:{peer.port}"
        assert (posted.headers["content-type"], posted.headers["webhook-id"]) == ("application/json", "evt_1")
        assert peer.connections == 1


@pytest.mark.parametrize(("status", "counts"), [(200, True), (204, True), (299, True), (301, False), (404, False)])
async def test_2xx_alone_counts(status: int, counts: bool) -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(status)
        assert (await poster.post(to(peer.url()))).is_success is counts


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(307, path="/hook", location=peer.url("/inside"))
        answer = await poster.post(to(peer.url()))
        assert answer.problem == "answered 307; redirects are not followed"
        assert [each.path for each in peer.posted] == ["/hook"]
        assert answer.headers["location"] == peer.url("/inside")


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("120", 120 * SECOND, 120 * SECOND),
        ("Fri, 31 Dec 2100 23:59:59 GMT", HOUR, 100 * 366 * 24 * HOUR),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
    ],
)
async def test_retry_after_is_read(value: str, least: int, most: int) -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(503, retry_after=value, body=b"busy")
        answer = await poster.post(to(peer.url()))
        assert answer.retry_after is not None
        assert least <= answer.retry_after <= most
        assert answer.body == "busy"


@pytest.mark.parametrize("value", ["soon", "-1", "", "99999999999999999999", "²"])
async def test_retry_after_that_cannot_be_read_is_none(value: str) -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(503, retry_after=value)
        assert (await poster.post(to(peer.url()))).retry_after is None


async def test_a_long_answer_is_kept_short_and_read_no_further() -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(200, body=b"\xff" * 3_000_000)
        answer = await poster.post(to(peer.url()))
        assert (answer.is_success, len(answer.body)) == (True, MOST_KEPT)


async def test_who_does_not_answer_in_time_failed() -> None:
    async with receiver() as peer, client(seconds=0.2) as poster:
        gate = peer.hold()
        answer = await poster.post(to(peer.url()))
        assert (answer.status, answer.problem) == (None, "did not answer within 0.2 s")
        gate.open()


async def test_who_breaks_off_or_is_not_there_failed() -> None:
    async with receiver() as peer, client() as poster:
        peer.answer(200, hang_up=True)
        assert (await poster.post(to(peer.url()))).status is None
        gone = await poster.post(to(f"http://127.0.0.1:{free_port()}/"))
        assert (gone.status, gone.problem) == (None, "could not be connected to")


async def test_who_does_not_speak_http_failed() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server, client() as poster:
        answer = await poster.post(to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        assert answer.problem == "did not answer in HTTP"


async def test_certificates_are_checked_against_the_name(authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    async with receiver(context) as peer, client(tls=client_tls) as poster:
        answer = await poster.post(to(peer.url(host="localhost")))
        assert (answer.status, answer.error) == (200, None)
        wrong = await poster.post(to(peer.url(host="other.localhost")))
        assert wrong.status is None
        assert wrong.problem.startswith("has no certificate that we trust")
        assert len(peer.posted) == 1


async def test_a_certificate_of_a_stranger_is_not_trusted(server_tls: ssl.SSLContext) -> None:
    async with receiver(server_tls) as peer, client() as poster:
        answer = await poster.post(to(peer.url()))
        assert answer.problem.startswith("has no certificate that we trust")
        assert peer.posted == []


@pytest.mark.parametrize("host", ["private", "loopback", "mapped", "metadata", "both", "alias"])
async def test_names_that_lead_inside_are_not_called(host: str) -> None:
    async with nameserver(ZONE) as ns, client(resolving=lambda: Resolver([ns.address])) as poster:
        answer = await poster.post(to(f"https://{host}.example/"))
        assert answer.problem == "is at an address of a private or special network"


async def test_a_receiver_that_a_name_leads_to_is_not_reached_although_it_is_there() -> None:
    async with (
        nameserver(ZONE) as ns,
        receiver() as peer,
        client(resolving=lambda: Resolver([ns.address]), private=True) as poster,
    ):
        answer = await poster.post(to(peer.url(host="loopback.example")))
        assert answer.problem == "is at an address of a private or special network"
        assert peer.connections == 0


async def test_each_connection_asks_once_and_dials_what_was_judged() -> None:
    """A name that changes between a look and a dial has nothing to change in between."""
    async with nameserver(ZONE) as ns:
        addresses = HookAddresses(lambda: Resolver([ns.address]), loopback=True, private=True)
        assert await addresses.of("private.example") == ["10.0.0.7"]
        assert sorted(ns.queries) == [("private.example", "A"), ("private.example", "AAAA")]
        assert await addresses.of("public.example") == ["93.184.216.34"]
        with pytest.raises(NotFound, match="has no address"):
            await addresses.of("empty.example")
        with pytest.raises(NotFound, match="not resolved"):
            await addresses.of("nowhere.example")


async def test_this_machine_is_called_by_its_own_names_alone_and_if_allowed() -> None:
    allowed = HookAddresses(nobody, loopback=True, private=False)
    for host in ("localhost", "app.localhost", "LOCALHOST."):
        assert await allowed.of(host) == ("127.0.0.1", "::1")
    assert await allowed.of("127.0.0.5") == ("127.0.0.5",)
    refused = HookAddresses(nobody, loopback=False, private=True)
    for host in ("localhost", "127.0.0.1", "::1"):
        with pytest.raises(NotAllowed):
            await refused.of(host)


async def test_closing_leaves_no_connection_open() -> None:
    async with receiver() as peer:
        async with client() as poster:
            await asyncio.gather(*(poster.post(to(peer.url())) for _ in range(8)))
        assert peer.connections <= 8
        async with client() as unused:
            assert unused is not None
