"""Sessions of submission: how they begin, how many there may be, and what ends them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import sqlite3
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSStream
from tests.faces.smtp.conftest import GREETING_SECONDS
from tests.faces.smtp.mailroom import Mailroom, mail, mailroom
from tests.faces.smtp.server import Client
from tests.support.daimon import MovableClock

from daimon_mcp.app import App
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.keys import CreateKey, RevokeKey

ENDED = "421 4.7.0 Credentials or rights have changed, log in again"
FULL = "421 4.7.0 Too many connections"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncGenerator[Mailroom]:
    async with mailroom(tmp_path / "data") as made:
        yield made


async def ended(client: Client) -> None:
    assert await client.reply() == ENDED
    assert await client.reply() == ""


@pytest.mark.usefixtures("unhurried")
async def test_tls_at_once_is_served_on_the_port_with_starttls(room: Mailroom) -> None:
    for _ in range(5):
        async with room.secure(starttls_port=True) as client:
            assert (await mail(client, room, room.letter())).startswith("250 ")


@pytest.mark.usefixtures("unhurried")
async def test_a_client_hello_may_come_in_pieces(room: Mailroom) -> None:
    host, port = room.daimon.submission

    def shake() -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = room.trust.wrap_bio(incoming, outgoing, server_hostname=host)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        with socket.create_connection((host, port), timeout=5) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.sendall(hello[:1])
            time.sleep(2 * GREETING_SECONDS)  # the rest is late for the greeting's wait, which is over by then
            plain.sendall(hello[1:])
            while True:
                incoming.write(plain.recv(65_536))
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    continue
            plain.sendall(outgoing.read())
            while True:
                try:
                    return tls.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(plain.recv(65_536))

    assert await asyncio.to_thread(shake) == b"220 agents.localhost ESMTP\r\n"


async def test_a_client_that_waits_is_greeted_and_one_that_speaks_in_clear_is_answered(room: Mailroom) -> None:
    async with room.in_clear() as client:
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    async with await anyio.connect_tcp(*room.daimon.submission) as stream:
        await stream.send(b"EHLO early.example\r\n")
        client = Client(stream)
        assert await client.reply() == "220 agents.localhost ESMTP"
        assert await client.reply() == "250 HELP"


async def test_starttls_forgets_what_was_said_before(room: Mailroom) -> None:
    host, port = room.daimon.submission
    async with await anyio.connect_tcp(host, port) as stream:
        client = Client(stream)
        await client.reply()
        assert await client.say("EHLO c.example", "STARTTLS") == "220 2.0.0 Ready to start TLS"
        secure = Client(await TLSStream.wrap(stream, hostname=host, ssl_context=room.trust, standard_compatible=False))
        assert await secure.say(room.plain()) == "503 5.5.1 Send EHLO or HELO first"
        assert (await secure.say("EHLO c.example", room.plain())).startswith("235 ")


@pytest.mark.usefixtures("unhurried")
async def test_an_account_has_as_many_sessions_as_its_tier_on_both_ports_together(tmp_path: Path) -> None:
    settings = {"limits": {"starter": {"smtp_sessions": 2}}, "relay": {"host": "127.0.0.1"}}
    async with mailroom(tmp_path / "data", settings, tier=Tier.STARTER) as room, AsyncExitStack() as sessions:
        first = await sessions.enter_async_context(room.secure())
        await sessions.enter_async_context(room.secure(starttls_port=True))
        async with room.secure(log_in=False) as client:
            assert await client.say(room.plain()) == FULL
            assert await client.reply() == ""
        assert await first.say("QUIT") == "221 2.0.0 Bye"
        async with room.secure() as client:
            assert (await mail(client, room, room.letter())).startswith("250 ")


async def test_an_address_has_so_many_connections(tmp_path: Path) -> None:
    settings = {"submission": {"max_connections_per_address": 2}}
    async with mailroom(tmp_path / "data", settings) as room, room.in_clear(), room.in_clear():
        async with await anyio.connect_tcp(*room.daimon.submission) as stream:
            assert await Client(stream).reply() == FULL
        async with room.secure():  # the other port has its own
            pass


async def test_a_rotated_password_ends_its_sessions_at_once_wherever_they_are(room: Mailroom) -> None:
    async with room.secure() as idle, room.secure() as within, room.secure(log_in=False) as stranger:
        await within.say(f"MAIL FROM:<{room.address}>", "RCPT TO:<ann@example.com>")
        assert (await within.say("DATA")).startswith("354 ")
        await within.send(b"Subject: half")
        rotated = await room.agent.do("rotate_smtp_password")
        await ended(idle)
        await ended(within)
        assert await stranger.say("NOOP") == "250 2.0.0 Ok"
        assert await stranger.say(room.plain()) == "535 5.7.8 Authentication failed"
        assert (await stranger.say(room.plain(password=rotated["password"]))).startswith("235 ")
        assert (await mail(stranger, room, room.letter())).startswith("250 ")
    assert (await room.agent.do("get_account"))["sends_today"] == 1


async def test_a_mail_that_the_core_has_when_the_password_is_rotated_is_not_taken(room: Mailroom) -> None:
    submitting = room.daimon.operations.submitting
    submitter = await submitting.log_in(room.username, room.password, "192.0.2.1")
    await room.agent.do("rotate_smtp_password")
    envelope = Envelope(mail_from=room.address, rcpt_to=("ann@example.com",))
    peer = Peer("192.0.2.1", "c.example", authenticated=True)
    with pytest.raises(Refused) as refused:
        await submitting.accept(submitter, envelope, peer, room.letter().encode())
    assert refused.value.code is RefusalCode.UNAUTHORIZED


async def test_a_password_that_another_process_rotated_lets_no_mail_in(room: Mailroom) -> None:
    def rotate() -> None:
        store = sqlite3.connect(room.daimon.app.settings.data_dir / "mail.db")
        store.execute("UPDATE accounts SET smtp_version = smtp_version + 1")
        store.commit()
        store.close()

    async with room.secure() as client:
        await asyncio.to_thread(rotate)  # no bell is rung here
        assert await mail(client, room, room.letter()) == "451 4.7.0 Not taken: credentials or rights have changed"
        await ended(client)
    assert (await room.agent.do("get_account"))["sends_today"] == 0


async def test_a_lost_connection_frees_its_place(tmp_path: Path) -> None:
    settings = {"limits": {"starter": {"smtp_sessions": 1}}, "relay": {"host": "127.0.0.1"}}
    async with mailroom(tmp_path / "data", settings, tier=Tier.STARTER) as room:
        async with room.secure() as client:
            await client.say(f"MAIL FROM:<{room.address}>", "RCPT TO:<ann@example.com>", "DATA")
            client.reset_when_closed()
        reply = FULL
        with anyio.fail_after(5):
            while reply == FULL:  # until the server has noticed
                async with room.secure(log_in=False) as client:
                    reply = await client.say(room.plain())
        assert reply.startswith("235 ")


async def test_rotating_while_mails_stream_in_lets_none_in_afterwards(room: Mailroom) -> None:
    """Every mail was answered 250 before the new password was there, or not at all."""
    taken: list[str] = []
    sent = 0
    under_way = anyio.Event()

    async def stream() -> None:
        async with room.secure() as client:
            for number in range(10_000):
                reply = await mail(client, room, room.letter(f"n{number}"), room.address)
                if not reply.startswith("250 "):
                    assert reply in ("", ENDED) or reply.startswith("451 4.7.0 "), reply
                    return
                taken.append(reply)
                if number == 5:
                    under_way.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(stream)
        await under_way.wait()
        await room.agent.do("rotate_smtp_password")
        sent = (await room.agent.do("get_account"))["sends_today"]
    assert (await room.agent.do("get_account"))["sends_today"] == sent
    assert len(taken) <= sent <= len(taken) + 3


async def test_a_revoked_key_ends_the_sessions_it_opened(room: Mailroom) -> None:
    actor = await room.daimon.actor()
    keys = room.daimon.operations.keys
    key = (await keys.create_key(actor, CreateKey(name="k"))).result
    async with room.secure(log_in=False) as client, room.secure() as other:
        await client.say(room.plain(key["api_key"]))
        await keys.revoke_key(Actor(actor.account_no, actor.account_id), RevokeKey(key_id=key["id"]))
        await ended(client)
        assert await other.say("NOOP") == "250 2.0.0 Ok"


async def test_a_session_whose_account_lost_its_tier_sends_no_more(room: Mailroom) -> None:
    async with room.secure() as client:
        await room.daimon.upgrade(Tier.FREE)
        for _ in range(2):
            reply = await client.say(f"MAIL FROM:<{room.address}>")
            assert reply.startswith("535 5.7.8 SMTP access requires a paid tier")
            assert room.daimon.url in reply
        await room.daimon.upgrade(Tier.STARTER)
        assert (await mail(client, room, room.letter())).startswith("250 ")


async def test_a_session_ends_after_half_an_hour(tmp_path: Path) -> None:
    clock = MovableClock()
    async with mailroom(tmp_path / "data", clock=clock) as room, room.secure() as client:
        for _ in range(6):
            clock.move(299)
            assert await client.say("NOOP") == "250 2.0.0 Ok"
        clock.move(299)
        assert await client.reply() == "421 4.4.2 Session has lasted too long"


async def test_the_certificate_is_replaced_without_a_restart(tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def issue() -> str:
        """Put a new certificate in place; its fingerprint."""
        leaf = authority.issue_cert("127.0.0.1")
        for path, blob in ((key, leaf.private_key_pem), (chain, leaf.cert_chain_pems[0])):
            new = path.with_suffix(".new")
            blob.write_to_path(str(new))
            new.replace(path)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(chain.read_text())).hexdigest()

    first = issue()
    settings = {"smtp": {"certificate": str(chain), "certificate_key": str(key)}}
    async with mailroom(tmp_path / "data", settings, trusting=authority) as room:

        async def shown(address: tuple[str, int]) -> str:
            def look() -> str:
                with (
                    socket.create_connection(address, timeout=5) as plain,
                    room.trust.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
                ):
                    return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()

            return await asyncio.to_thread(look)

        assert room.daimon.app.bound.fingerprint is None
        ports = (room.daimon.submission, room.daimon.submission_tls)
        assert [await shown(port) for port in ports] == [first, first]
        async with room.secure() as before:
            second = issue()
            with anyio.fail_after(10):
                while await shown(ports[0]) != second:  # the files are looked at once a second
                    pass
            assert await shown(ports[1]) == second
            assert (await mail(before, room, room.letter())).startswith("250 ")


async def test_the_certificate_of_our_own_is_the_one_whose_fingerprint_is_told(room: Mailroom) -> None:
    pem = await asyncio.to_thread(ssl.get_server_certificate, room.daimon.submission_tls)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    assert room.daimon.app.bound.fingerprint == digest.hex(":").upper()
    async with await anyio.connect_tcp(*room.daimon.inbound) as stream:
        client = Client(stream)
        await client.reply()
        assert await client.say("EHLO c.example", "STARTTLS") == "220 2.0.0 Ready to start TLS"
        host = room.daimon.inbound[0]
        await TLSStream.wrap(stream, hostname=host, ssl_context=room.trust, standard_compatible=False)


async def test_a_port_that_is_taken_is_an_error_or_a_note(room: Mailroom) -> None:
    operations = room.daimon.operations
    at = operations.core.submission
    assert at is not None
    host = "127.0.0.1"
    assert (at.host, at.port, at.tls_port) == (host, room.daimon.submission[1], room.daimon.submission_tls[1])
    submission = room.daimon.app.settings.submission.model_copy(update={"port": at.port})
    taken = App(room.daimon.app.settings.model_copy(update={"submission": submission}), operations)
    tls = await taken.listening.mail_tls(strict=True)
    assert tls is not None
    with pytest.raises(OSError, match=rf"SMTP submission {at.port} or 0: Address already in use; choose others with"):
        await taken.listening.run_submission(tls, strict=True)
    operations.core.notes.clear()
    await taken.listening.run_submission(tls, strict=False)
    assert operations.core.notes == [
        f"SMTP submission port {at.port} or 0 cannot be used (Address already in use); mail programs cannot log in"
    ]


async def test_credentials_that_agents_are_shown_are_those_that_work(room: Mailroom) -> None:
    shown = await room.agent.do("get_smtp_credentials")
    assert (shown["host"], shown["port"]) == room.daimon.submission
    async with room.secure(log_in=False) as client:
        secret = base64.b64encode(f"\0{shown['username']}\0{shown['password']}".encode()).decode()
        assert (await client.say(f"AUTH PLAIN {secret}")).startswith("235 ")
