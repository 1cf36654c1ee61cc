"""Mail straight to other servers under TLS, as well protected as the DNS and the policy of their domain ask for."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.journeys.test_direct_delivery import FIRST, SECOND, ZONE, Internet, internet
from tests.support.sink import Sink

POLICIES = "127.0.0.4"


@dataclass
class Certificates:
    """An authority and who trusts it."""

    root: trustme.CA
    file: Path

    def server(self, *names: str) -> ssl.SSLContext:
        return self._context(self.root.issue_cert(*names))

    def with_tlsa(self, *names: str) -> tuple[ssl.SSLContext, str]:
        """A server's context, and the digest of its key for a record `3 1 1`."""
        leaf = self.root.issue_cert(*names)
        public = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return self._context(leaf), hashlib.sha256(der).hexdigest()

    @staticmethod
    def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        return context


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authority that we trust."""
    root = trustme.CA()
    file = tmp_path_factory.mktemp("trust") / "authority.pem"
    root.cert_pem.write_to_path(str(file))
    return Certificates(root, file)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One that we do not."""
    return Certificates(trustme.CA(), Path())


async def tls_of_last(net: Internet, message_id: str) -> str:
    story = await net.agent.do("explain_delivery", message_id=message_id)
    return [each["tls"] for each in story["timeline"] if each["what"] == "attempt"][-1]


# ── no promise


async def test_a_certificate_of_anybody_is_better_than_none(tmp_path: Path, strange: Certificates) -> None:
    sink = Sink(starttls=strange.server("somebody.else.test"))
    async with internet(tmp_path, sinks={FIRST: sink}) as net:
        id_ = await net.send("ann@far.test")
        await net.becomes(id_, "sent")
        assert [stored.tls for stored in sink.messages] == [True]
        assert await tls_of_last(net, id_) == "TLSv1.3 unverified"
        told = await net.explained(id_)
        assert f"Attempt 1 for recipient 1, mx1.far.test[{FIRST}]:{net.port}, TLSv1.3 unverified: 250 2.0.0 Ok" in told


async def test_tls_that_does_not_work_is_left_out_where_nobody_promised_it(tmp_path: Path) -> None:
    broken = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate no handshake comes to an end
    sink = Sink(starttls=broken)
    async with internet(tmp_path, sinks={FIRST: sink}) as net:
        await net.becomes(await net.send("ann@far.test"), "sent")
        assert [stored.tls for stored in sink.messages] == [False]


# ── MTA-STS


@asynccontextmanager
async def policy_host(certificates: Certificates, text: str, *, name: str = "far.test") -> AsyncGenerator[list[str]]:
    """Serve a policy for a domain at its address, port 443. Yields the requests."""
    asked: list[str] = []
    body = text.encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, POLICIES, 443, ssl=certificates.server(f"mta-sts.{name}"))
    try:
        yield asked
    finally:
        server.close()
        await server.wait_closed()


STS = f"""
_mta-sts.far.test. TXT "v=STSv1; id=1;"
mta-sts.far.test.  A   {POLICIES}
"""
ENFORCE = "version: STSv1\r\nmode: enforce\r\nmx: mx1.far.test\r\nmx: mx2.far.test\r\nmax_age: 604800\r\n"


def trusting(certificates: Certificates) -> dict[str, Any]:
    return {"ca_file": str(certificates.file)}


async def test_an_enforced_policy_is_kept_by_a_server_that_proves_its_name(tmp_path: Path, ours: Certificates) -> None:
    sink = Sink(starttls=ours.server("mx1.far.test"))
    async with (
        policy_host(ours, ENFORCE) as asked,
        internet(tmp_path, sinks={FIRST: sink}, zone=ZONE + STS, relay=trusting(ours)) as net,
    ):
        for _ in range(2):
            id_ = await net.send("ann@far.test")
            await net.becomes(id_, "sent")
            assert await tls_of_last(net, id_) == "TLSv1.3 mta-sts"
        assert len(asked) == 1


async def test_under_an_enforced_policy_only_a_proven_host_gets_mail(
    tmp_path: Path, ours: Certificates, strange: Certificates
) -> None:
    """The first has a certificate of a stranger, the second none at all; the mail waits until one is put right."""
    first, second = Sink(starttls=strange.server("mx1.far.test")), Sink()
    async with (
        policy_host(ours, ENFORCE),
        internet(tmp_path, sinks={FIRST: first, SECOND: second}, zone=ZONE + STS, relay=trusting(ours)) as net,
    ):
        id_ = await net.send("ann@far.test")
        await net.put_off(id_)
        told = await net.explained(id_)
        assert "Recipient 1 (relay, attempts: 1): queued, tls_failed. It is tried again by itself" in told
        assert first.messages == second.messages == []


async def test_hosts_that_an_enforced_policy_does_not_name_get_nothing(tmp_path: Path, ours: Certificates) -> None:
    sink = Sink(starttls=ours.server("mx1.far.test"))
    other = ENFORCE.replace("mx1.", "other1.").replace("mx2.", "other2.")
    async with (
        policy_host(ours, other),
        internet(tmp_path, sinks={FIRST: sink}, zone=ZONE + STS, relay=trusting(ours)) as net,
    ):
        id_ = await net.send("ann@far.test")
        [delivery] = await net.put_off(id_)
        assert "allows none of its mail hosts" in delivery["last_reply"]
        assert "queued, tls_failed." in await net.explained(id_)
        assert sink.connections == 0


# ── DANE


def tlsa(net_port: int, host: str, digest: str) -> str:
    return f"_{net_port}._tcp.{host}. TLSA 3 1 1 {digest}"


async def test_dane_pins_the_key_whoever_signed_it(tmp_path: Path, strange: Certificates) -> None:
    context, digest = strange.with_tlsa("whatever.test")
    sink = Sink(starttls=context)
    async with internet(tmp_path, sinks={FIRST: sink}, secure=True) as net:
        net.dns.add(tlsa(net.port, "mx1.far.test", digest))
        id_ = await net.send("ann@far.test")
        await net.becomes(id_, "sent")
        assert await tls_of_last(net, id_) == "TLSv1.3 dane"


async def test_a_key_that_dane_does_not_name_gets_nothing_and_the_next_host_does(
    tmp_path: Path, strange: Certificates
) -> None:
    first, (context, digest) = Sink(starttls=strange.server("mx1.far.test")), strange.with_tlsa("mx2.far.test")
    second = Sink(starttls=context)
    async with internet(tmp_path, sinks={FIRST: first, SECOND: second}, secure=True) as net:
        net.dns.add(tlsa(net.port, "mx1.far.test", digest))
        net.dns.add(tlsa(net.port, "mx2.far.test", digest))
        await net.becomes(await net.send("ann@far.test"), "sent")
        assert (len(first.messages), len(second.messages)) == (0, 1)


@pytest.mark.parametrize("trouble", ["no STARTTLS", "another key", "no answer to TLSA"])
async def test_dane_that_cannot_be_kept_puts_mail_off(tmp_path: Path, strange: Certificates, trouble: str) -> None:
    context, digest = strange.with_tlsa("mx1.far.test")
    sink = Sink(starttls=None if trouble == "no STARTTLS" else context)
    zone = ZONE.replace("far.test.       MX 20 mx2.far.test.", "")
    async with internet(tmp_path, sinks={FIRST: sink}, zone=zone, secure=True) as net:
        net.dns.add(tlsa(net.port, "mx1.far.test", "00" * 32 if trouble == "another key" else digest))
        if trouble == "no answer to TLSA":
            net.dns.fail(f"_{net.port}._tcp.mx1.far.test", "TLSA")
        id_ = await net.send("ann@far.test")
        await net.put_off(id_)
        assert sink.messages == []
        meaning = "dns_failed" if trouble == "no answer to TLSA" else "tls_failed"
        assert f"queued, {meaning}." in await net.explained(id_)


async def test_tlsa_records_of_a_zone_that_is_not_signed_promise_nothing(tmp_path: Path, strange: Certificates) -> None:
    sink = Sink(starttls=strange.server("mx1.far.test"))
    async with internet(tmp_path, sinks={FIRST: sink}) as net:
        net.dns.add(tlsa(net.port, "mx1.far.test", "00" * 32))
        id_ = await net.send("ann@far.test")
        await net.becomes(id_, "sent")
        assert await tls_of_last(net, id_) == "TLSv1.3 unverified"
