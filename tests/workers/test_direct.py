"""Mail straight to the hosts of a domain: which host is tried when, and what its TLS must be worth."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.gate import PATIENCE
from tests.support.scripted_peer import Line, ScriptedPeer
from tests.support.sink import Sink

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Attempt, Handover
from daimon_mcp.domain.routes import (
    Hop,
    MailLoop,
    NoSuchDomain,
    NullMx,
    PolicyFailed,
    Route,
    RoutingError,
    TemporaryFailure,
    Tlsa,
    TlsPolicy,
)
from daimon_mcp.workers import delivery, direct
from daimon_mcp.workers.direct import Direct

ADA, BOB = "ada@b.example", "bob@b.example"
CONTENT = b"Subject: hi\r\n\r\nhello\r\n"
HOST = "mx1.b.example"
NOWHERE = "127.0.0.9"  # nobody listens there


class Hosts:
    """Routing as a test wants it: hosts by domain, or the error to raise."""

    def __init__(self, *hosts: Hop, **domains: tuple[Hop, ...] | RoutingError) -> None:
        self.asked: list[str] = []
        self._found = {"b.example": hosts, **{f"{name}.example": found for name, found in domains.items()}}

    async def route(self, domain: str) -> Route:
        """As told."""
        self.asked.append(domain)
        found = self._found[domain]
        if isinstance(found, RoutingError):
            raise found
        return Route(found)


class Certificates:
    """An authority, the names it vouches for, and clients that trust it."""

    def __init__(self) -> None:
        self.root = trustme.CA()
        self.middle = self.root.create_child_ca()
        self.client = ssl.create_default_context()
        self.root.configure_trust(self.client)  # pyright: ignore[reportUnknownMemberType]

    def server(self, name: str = HOST) -> tuple[ssl.SSLContext, x509.Certificate]:
        """A server's context, and its certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = self.middle.issue_cert(name)
        leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        return context, x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


def hop(peer: Sink | ScriptedPeer, tls: TlsPolicy | None = None, *before: str, name: str = HOST) -> Hop:
    """A host whose last address is the peer's."""
    return Hop(name, (*before, peer.host), peer.port, tls or TlsPolicy())


def tlsa(usage: int, certificate: x509.Certificate) -> Tlsa:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Tlsa(usage, 1, 1, hashlib.sha256(key).digest())


def transport(routing: Hosts, **options: Any) -> Direct:
    defaults: dict[str, Any] = {"timeout": 5, "answer_timeout": 5, "connect_timeout": 5}
    return Direct(routing=routing, hostname="mail.x.example", **{**defaults, **options})


async def relay(way: Direct, *recipients: str) -> dict[str, Attempt]:
    recipients = recipients or (ADA,)
    handover = Handover(mail_from="a@x.example", recipients=tuple(map(Recipient, recipients)), content=CONTENT)
    return await way.relay(way.destination(recipients[0]), handover)


async def relay_once(*hosts: Hop, recipients: tuple[str, ...] = (ADA,), **options: Any) -> dict[str, Attempt]:
    """One message over a transport of its own."""
    way = transport(Hosts(*hosts), **options)
    results = await relay(way, *recipients)
    await way.close()
    return results


def outcomes(results: Mapping[str, Attempt]) -> dict[str, str]:
    return {recipient: str(attempt.outcome) for recipient, attempt in results.items()}


@pytest.mark.parametrize(
    ("recipient", "domain"),
    [
        ("ada@B.Example", "b.example"),
        ("ada@bücher.example", "xn--bcher-kva.example"),
        ('"a@b"@c.example', "c.example"),
        ("ada@[192.0.2.1]", "[192.0.2.1]"),
        ("ada@[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]"),
    ],
)
async def test_the_destination_is_the_domain(recipient: str, domain: str) -> None:
    assert transport(Hosts()).destination(recipient) == domain


# Which host.


async def test_the_best_host_takes_it_and_the_next_is_not_even_called() -> None:
    async with Sink() as best, Sink() as next_best:
        results = await relay_once(hop(best), hop(next_best), recipients=(ADA, BOB))
    assert outcomes(results) == {ADA: "accepted", BOB: "accepted"}
    assert results[ADA].remote == f"{HOST}[127.0.0.1]:{best.port}"
    assert next_best.connections == 0
    assert best.messages[0].content == CONTENT


async def test_addresses_and_hosts_that_do_not_answer_are_passed_over() -> None:
    async with Sink() as sink:
        down = Hop("mx0.b.example", (NOWHERE,), sink.port)
        results = await relay_once(down, hop(sink, None, NOWHERE))
    assert outcomes(results) == {ADA: "accepted"}


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("connect", "421 4.3.2 Busy"),
        ("connect", "450 4.3.2 Busy"),
        ("connect", "554 5.3.2 Not here"),
        ("EHLO", "421 4.3.2 Busy"),
        ("MAIL", "421 4.3.2 Busy"),
        ("RCPT", "421 4.3.2 Busy"),
        ("DATA", "421 4.3.2 Busy"),
        ("MAIL", None),
        ("RCPT", None),
        ("DATA", None),
    ],
)
async def test_a_host_that_ends_the_session_before_content_passes_it_on(step: str, reply: str | None) -> None:
    async with Sink() as best, Sink() as next_best:
        if reply is None:
            best.drop(step)
        else:
            best.answer(step, reply)
        results = await relay_once(hop(best), hop(next_best))
    assert outcomes(results) == {ADA: "accepted"}
    assert (best.messages, len(next_best.messages)) == ([], 1)


@pytest.mark.parametrize(
    ("step", "reply", "outcome"),
    [
        ("MAIL", "550 5.7.1 No", "refused"),
        ("RCPT", "450 4.2.1 Greylisted", "deferred"),
        ("DATA", "451 4.3.0 Later", "deferred"),
        ("content", "554 5.6.0 Spam", "refused"),
        ("content", "421 4.3.2 Bye", "deferred"),
        ("content", None, "outcome_unknown"),
    ],
)
async def test_a_verdict_and_content_once_sent_stay_with_the_host(step: str, reply: str | None, outcome: str) -> None:
    async with Sink() as best, Sink() as next_best:
        if reply is None:
            best.drop(step)
        else:
            best.answer(step, reply)
        results = await relay_once(hop(best), hop(next_best))
    assert outcomes(results) == {ADA: outcome}
    assert next_best.connections == 0


async def test_a_recipient_refused_by_one_host_is_not_offered_to_the_next() -> None:
    async with Sink() as best, Sink() as next_best:
        best.answer("RCPT", "550 5.1.1 No such user", match=ADA)
        best.answer("RCPT", "421 4.3.2 Busy", match=BOB)
        results = await relay_once(hop(best), hop(next_best), recipients=(ADA, BOB))
    assert outcomes(results) == {ADA: "refused", BOB: "accepted"}
    assert next_best.messages[0].recipients == [BOB]


async def test_when_no_host_lets_us_in_it_is_put_off_with_the_last_words() -> None:
    async with Sink() as best, Sink() as next_best:
        best.answer("connect", "554 5.7.1 Blocked")
        next_best.answer("EHLO", "450 4.7.1 Slow down")
        results = await relay_once(hop(best), hop(next_best))
    assert (results[ADA].outcome, results[ADA].code, results[ADA].enhanced) == ("deferred", 450, "4.7.1")


async def test_no_more_than_so_many_addresses_are_tried() -> None:
    async with Sink() as sink:
        results = await relay_once(hop(sink, None, *[NOWHERE] * direct.MAX_ADDRESSES))
    assert outcomes(results) == {ADA: "deferred"}
    assert sink.connections == 0


async def test_all_hosts_together_have_so_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ENVELOPE_SECONDS", 0.3)
    async with Sink() as best, Sink() as next_best:
        best.drop("EHLO")
        gate = next_best.hold("EHLO")
        with anyio.fail_after(PATIENCE):
            results = await relay_once(hop(best), hop(next_best))
        gate.open()
    assert outcomes(results) == {ADA: "deferred"}
    assert results[ADA].text == "the server took too long"


async def test_a_literal_is_called_by_its_address() -> None:
    async with Sink() as sink:
        literal = Hosts()
        literal._found["[127.0.0.1]"] = (Hop("[127.0.0.1]", ("127.0.0.1",), sink.port),)  # pyright: ignore[reportPrivateUsage]
        way = transport(literal)
        results = await relay(way, "ada@[127.0.0.1]")
        await way.close()
    assert results["ada@[127.0.0.1]"].remote == f"[127.0.0.1]:{sink.port}"
    assert sink.messages[0].recipients == ["ada@[127.0.0.1]"]


async def test_a_host_at_an_ipv6_address() -> None:
    async def script(line: Line) -> None:
        await line.say(b"450 4.3.2 Not now\r\n")

    async with ScriptedPeer(script, host="::1") as peer:
        results = await relay_once(hop(peer))
        assert (results[ADA].code, results[ADA].remote) == (450, f"{HOST}[::1]:{peer.port}")


@pytest.mark.parametrize(
    ("error", "outcome", "code", "enhanced"),
    [
        (NoSuchDomain("no such domain"), "refused", 550, "5.1.2"),
        (NullMx("takes no mail"), "refused", 556, "5.1.10"),
        (MailLoop("it is us"), "refused", 554, "5.4.6"),
        (TemporaryFailure("DNS is down"), "deferred", None, "4.4.3"),
        (PolicyFailed("the policy allows no host"), "deferred", None, "4.7.5"),
    ],
)
async def test_without_a_route(error: RoutingError, outcome: str, code: int | None, enhanced: str) -> None:
    way = transport(Hosts(c=error))
    results = await relay(way, "ada@c.example", "bob@c.example")
    assert set(outcomes(results).values()) == {outcome}
    attempt = results["bob@c.example"]
    assert (attempt.code, attempt.enhanced, attempt.text, attempt.remote) == (code, enhanced, str(error), "c.example")


# Connections.


async def test_a_connection_is_kept_for_the_next_message_to_the_domain_and_the_route_not_asked_for_again() -> None:
    async with Sink() as sink, Sink() as other:
        routing = Hosts(hop(sink), c=(hop(other),))
        way = transport(routing)
        for _ in range(3):
            assert outcomes(await relay(way)) == {ADA: "accepted"}
        await relay(way, "ada@c.example")
        await way.close()
    assert (sink.connections, other.connections) == (1, 1)
    assert routing.asked == ["b.example", "c.example"]
    assert sink.commands[-1] == other.commands[-1] == "QUIT"


async def test_an_idle_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "IDLE_SECONDS", 0.1)
    async with Sink() as sink:
        way = transport(Hosts(hop(sink)))
        await relay(way)
        await sink.heard("QUIT")
        await relay(way)
        await way.close()
    assert [stored.connection for stored in sink.messages] == [1, 2]


async def test_a_kept_connection_that_died_is_replaced_by_a_new_one() -> None:
    async with Sink() as sink:
        routing = Hosts(hop(sink))
        way = transport(routing)
        await relay(way)
        sink.drop("MAIL")
        assert outcomes(await relay(way)) == {ADA: "accepted"}
        await way.close()
    assert routing.asked == ["b.example"] * 2


async def test_one_slow_domain_does_not_hold_up_another() -> None:
    async with Sink() as slow, Sink() as quick:
        gate = slow.hold("content", times=None)
        way = transport(Hosts(hop(slow), c=(hop(quick),)), max_connections=2)
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(relay, way)
            await gate.reached()
            assert (await relay(way, "ada@c.example"))["ada@c.example"].outcome == "accepted"
            assert slow.messages == []
            gate.open()
        await way.close()
    assert len(slow.messages) == 4
    assert slow.most_at_once == 2


# TLS.


async def test_tls_is_used_where_it_is_offered_and_proves_nothing(certificates: Certificates) -> None:
    context, _ = certificates.server("unrelated.example")
    async with Sink(starttls=context) as sink, Sink() as plain:
        assert (await relay_once(hop(sink)))[ADA].tls == "TLSv1.3 unverified"
        assert (await relay_once(hop(plain)))[ADA].tls == ""
        assert (await relay_once(hop(sink, TlsPolicy("none"))))[ADA].tls == ""
    assert [stored.tls for stored in sink.messages] == [True, False]


@pytest.mark.parametrize("answer", [b"454 4.7.0 Not now\r\n", b"220 Go\r\nnonsense\r\n", b""])
async def test_opportunistic_tls_that_fails_is_done_without_on_a_new_connection(answer: bytes) -> None:
    async def script(line: Line) -> None:
        await line.say(b"220 peer.test\r\n")
        await line.hear()
        await line.say(b"250-peer.test\r\n250 STARTTLS\r\n")
        command = await line.hear()
        if line.number == 1:
            assert command == b"STARTTLS"
            return await line.say(answer)
        assert command == b"MAIL FROM:<a@x.example>"
        await line.say(b"550 5.7.1 No\r\n")

    async with ScriptedPeer(script) as peer:
        attempt = (await relay_once(hop(peer)))[ADA]
        assert (attempt.outcome, attempt.code, attempt.tls) == ("refused", 550, "")
        assert peer.connections == 2


STS = TlsPolicy("mta-sts", sts_names=("*.b.example",))


async def test_mta_sts_wants_a_certificate_for_the_hosts_name(certificates: Certificates) -> None:
    context, _ = certificates.server()
    async with Sink(starttls=context) as sink:
        attempt = (await relay_once(hop(sink, STS), tls_context=certificates.client))[ADA]
    assert (attempt.outcome, attempt.tls) == ("accepted", "TLSv1.3 mta-sts")


@pytest.mark.parametrize("why", ["not offered", "refused", "another name", "nobody trusts it"])
async def test_mta_sts_or_nothing(why: str, certificates: Certificates) -> None:
    context, _ = certificates.server("b.example" if why == "another name" else HOST)
    client = ssl.create_default_context() if why == "nobody trusts it" else certificates.client
    async with Sink(starttls=None if why == "not offered" else context) as sink:
        if why == "refused":
            sink.answer("STARTTLS", "454 4.7.0 Not now")
        attempt = (await relay_once(hop(sink, STS), tls_context=client))[ADA]
    assert attempt.outcome == "deferred"
    assert attempt.enhanced == {"not offered": "4.7.4", "refused": "4.7.0"}.get(why, "4.7.5")
    assert attempt.text
    assert sink.connections == 1
    assert not any(command.startswith("MAIL") for command in sink.commands)


async def test_a_host_that_fails_its_policy_passes_the_message_to_the_next(certificates: Certificates) -> None:
    context, _ = certificates.server("mx2.b.example")
    async with Sink() as first, Sink(starttls=context) as second:
        hosts = hop(first, STS), hop(second, STS, name="mx2.b.example")
        attempt = (await relay_once(*hosts, tls_context=certificates.client))[ADA]
    assert (attempt.outcome, attempt.tls) == ("accepted", "TLSv1.3 mta-sts")


@pytest.mark.parametrize("usage", [2, 3])
async def test_dane_takes_the_certificate_that_the_records_mean(usage: int, certificates: Certificates) -> None:
    context, leaf = certificates.server()
    middle = x509.load_pem_x509_certificate(certificates.middle.cert_pem.bytes())
    policy = TlsPolicy("dane", tlsa=(tlsa(usage, leaf if usage == 3 else middle),))
    async with Sink(starttls=context) as sink:
        attempt = (await relay_once(hop(sink, policy)))[ADA]
        elsewhere = (await relay_once(hop(sink, policy, name="mx9.b.example")))[ADA]
    assert (attempt.outcome, attempt.tls) == ("accepted", "TLSv1.3 dane")
    assert elsewhere.outcome == ("deferred" if usage == 2 else "accepted")


@pytest.mark.parametrize("offered", [True, False])
async def test_dane_or_nothing(offered: bool, certificates: Certificates) -> None:
    context, _ = certificates.server()
    _, another = certificates.server()
    policy = TlsPolicy("dane", tlsa=(tlsa(3, another),))
    async with Sink(starttls=context if offered else None) as sink:
        attempt = (await relay_once(hop(sink, policy), tls_context=certificates.client))[ADA]
    assert (attempt.outcome, attempt.enhanced) == ("deferred", "4.7.5" if offered else "4.7.4")
    assert attempt.text == ("the certificate does not match the TLSA records" if offered else "STARTTLS is not offered")
    assert not any(command.startswith("MAIL") for command in sink.commands)


async def test_tlsa_records_that_mean_nothing_to_us_still_demand_tls(certificates: Certificates) -> None:
    context, leaf = certificates.server("unrelated.example")
    policy = TlsPolicy("dane", tlsa=(tlsa(1, leaf),))
    async with Sink(starttls=context) as sink, Sink() as plain:
        assert (await relay_once(hop(sink, policy)))[ADA].tls == "TLSv1.3 unverified"
        assert (await relay_once(hop(plain, policy)))[ADA].enhanced == "4.7.4"
