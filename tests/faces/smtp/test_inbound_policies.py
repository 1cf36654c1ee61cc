"""What strangers may do on the port for mail of other servers, what servers of ours may do, and LMTP: real sockets."""

from __future__ import annotations

import smtplib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, ROBO, delivered_to, eml, until

from daimon_mcp import app as application
from daimon_mcp.operations.policing import UNKNOWN_RECIPIENTS

T = TypeVar("T")
Code = tuple[int, bytes]

STRANGERS: dict[str, Any] = {"smtp": {"trusted_networks": [], "messages_per_minute": 4}}
HERE = "agents.localhost"


@asynccontextmanager
async def post_office(
    folder: Path, sections: dict[str, Any], clock: MovableClock | None = None
) -> AsyncGenerator[tuple[Daimon, Agent]]:
    """A server with two inboxes, and an agent that reads them."""
    async with running(folder, sections, listeners=True, clock=clock) as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        yield daimon, agent


async def talk(daimon: Daimon, conversation: Callable[[smtplib.SMTP], T]) -> T:
    """What a conversation with the inbound port comes to."""

    def run() -> T:
        with smtplib.SMTP(*daimon.inbound, local_hostname="mail.example.com", timeout=10) as client:
            client.ehlo()
            return conversation(client)

    return await anyio.to_thread.run_sync(run)


def envelope(client: smtplib.SMTP, sender: str, *recipients: str) -> list[Code]:
    """The replies to MAIL and each RCPT."""
    client.rset()
    return [client.mail(sender), *(client.rcpt(each) for each in recipients)]


def _octets(said: bytes | str) -> bytes:
    return said.encode() if isinstance(said, str) else said


def codes(replies: list[Code]) -> list[int]:
    return [code for code, _ in replies]


async def arrived(daimon: Daimon, agent: Agent, inbox: str, count: int) -> list[dict[str, Any]]:
    """What an inbox has received, once it is so much."""

    async def look() -> list[dict[str, Any]] | None:
        found = await delivered_to(agent, inbox)
        return found if len(found) >= count else None

    found = await until(daimon, look)
    assert len(found) == count
    return found


async def test_more_than_so_many_messages_a_minute_are_put_off(tmp_path: Path) -> None:
    clock = MovableClock()
    async with post_office(tmp_path / "data", STRANGERS, clock) as (daimon, _):

        def mails(client: smtplib.SMTP) -> list[Code]:
            return [envelope(client, "ann@example.com")[0] for _ in range(5)]

        *good, late = await talk(daimon, mails)
        assert codes(good) == [250] * 4
        assert late[0] == 450
        assert late[1].startswith(b"4.7.1 Too many messages, try again later, id ")
        clock.move(60)
        assert codes(await talk(daimon, mails)) == [250, 250, 250, 250, 450]


async def test_a_trusted_server_may_do_what_strangers_may_not(tmp_path: Path) -> None:
    sections = {"smtp": {"messages_per_minute": 1, "greylist_seconds": 60}}
    async with post_office(tmp_path / "data", sections) as (daimon, agent):

        def forward(client: smtplib.SMTP) -> None:
            for _ in range(3):
                envelope(client, f"anybody@{HERE}", *(f"no-{number}@{HERE}" for number in range(12)))
            client.rset()
            client.sendmail(OTHER, [ROBO], eml())

        await talk(daimon, forward)
        await arrived(daimon, agent, ROBO, 1)


async def test_a_stranger_in_our_own_name_is_refused(tmp_path: Path) -> None:
    async with post_office(tmp_path / "data", STRANGERS) as (daimon, _):

        def forge(client: smtplib.SMTP) -> list[Code]:
            ours = envelope(client, ROBO) + envelope(client, "NOBODY@Agents.Localhost")
            return ours + envelope(client, "ann@example.com", ROBO)

        ours, nobody, *fine = await talk(daimon, forge)
        assert ours == nobody == (550, b"5.7.1 Mail from our own domains is taken by submission alone")
        assert codes(fine) == [250, 250]


async def test_who_searches_for_addresses_is_hung_up_on(tmp_path: Path) -> None:
    clock = MovableClock()
    async with post_office(tmp_path / "data", STRANGERS, clock) as (daimon, agent):

        def search(client: smtplib.SMTP) -> list[Code]:
            names = [f"name{number}@{HERE}" for number in range(UNKNOWN_RECIPIENTS)]
            return envelope(client, "ann@example.com", *names, ROBO)

        mail, *unknown, last = await talk(daimon, search)
        assert mail[0] == 250
        assert codes(unknown) == [550] * UNKNOWN_RECIPIENTS
        assert last[0] == 421
        assert last[1].startswith(b"4.7.0 Too many unknown recipients, try again later, id ")
        # Nor in a new session; but who complains is heard (RFC 5321 §4.5.1).
        assert (await talk(daimon, partial(envelope, sender="")))[0][0] == 250
        complaint = ("ann@example.com", "postmaster", f"abuse@{HERE}", ROBO)
        assert codes(await talk(daimon, lambda client: envelope(client, *complaint))) == [250, 250, 250, 421]
        clock.move(600)
        await talk(daimon, lambda client: client.sendmail("ann@example.com", [ROBO], eml()))
        await arrived(daimon, agent, ROBO, 1)


async def test_greylisting_lets_in_who_comes_again(tmp_path: Path) -> None:
    sections = {"smtp": {**STRANGERS["smtp"], "greylist_seconds": 300}}
    clock = MovableClock()
    async with post_office(tmp_path / "data", sections, clock) as (daimon, agent):

        def ask(client: smtplib.SMTP) -> list[Code]:
            return envelope(client, "ann@example.com", ROBO, f"no@{HERE}", "postmaster")

        _, put_off, unknown, postmaster = await talk(daimon, ask)
        assert put_off[0] == 451
        assert put_off[1].startswith(b"4.7.1 Greylisted, try again later, id ")
        assert (unknown[0], postmaster[0]) == (550, 250)
        clock.move(299)
        assert codes(await talk(daimon, ask)) == [250, 451, 550, 250]
        clock.move(1)
        await talk(daimon, lambda client: client.sendmail("ann@example.com", [ROBO], eml()))
        await arrived(daimon, agent, ROBO, 1)


async def test_a_report_may_have_several_recipients(tmp_path: Path) -> None:
    async with post_office(tmp_path / "data", STRANGERS) as (daimon, agent):
        await talk(daimon, lambda client: client.sendmail("", [ROBO, OTHER], eml()))
        for inbox in (ROBO, OTHER):
            await arrived(daimon, agent, inbox, 1)


def been_here(times: int, host: str = HERE) -> bytes:
    """A letter that this server has had before, as often as that, and others between."""
    own = f"Received: from a.example ([192.0.2.1]) by {host} with ESMTP\r\n id 0a1b2c3d4e for <{ROBO}>; then\r\n"
    other = "Received: from agents.localhost by list.example with ESMTP id 4711; then\r\n"
    return (own + other).encode() * times + eml()


async def test_mail_that_comes_round_and_round_is_refused(tmp_path: Path) -> None:
    async with post_office(tmp_path / "data", STRANGERS) as (daimon, agent):

        def send(client: smtplib.SMTP) -> Code:
            client.sendmail("ann@example.com", [ROBO], been_here(5))
            client.sendmail("ann@example.com", [ROBO], been_here(6, "mx.agents.localhost"))
            with pytest.raises(smtplib.SMTPDataError) as raised:
                client.sendmail("ann@example.com", [ROBO], been_here(6))
            return raised.value.smtp_code, _octets(raised.value.smtp_error)

        assert await talk(daimon, send) == (554, b"5.4.6 Mail loop detected")
        await arrived(daimon, agent, ROBO, 2)


@pytest.mark.parametrize("on_a_socket", [True, False])
async def test_mail_over_lmtp_is_not_checked_and_forged_results_are_removed(tmp_path: Path, on_a_socket: bool) -> None:
    where = {"lmtp_socket": str(tmp_path / "lmtp.sock")} if on_a_socket else {"lmtp_port": 0}
    sections = {"smtp": {**STRANGERS["smtp"], "inbound": False, "messages_per_minute": 1, **where}}
    async with post_office(tmp_path / "data", sections) as (daimon, agent):
        [at] = daimon.app.bound.lmtp
        host, port = (str(at), 0) if isinstance(at, Path) else at
        forged = b"Authentication-Results: agents.localhost; dmarc=pass\r\n"
        theirs = b"Authentication-Results: mx.example.com; dmarc=pass\r\n"

        def hand_over() -> None:
            with smtplib.LMTP(host, port, "front.example.com") as client:
                for _ in range(2):
                    client.sendmail(OTHER, [ROBO], forged + theirs + eml())
                with pytest.raises(smtplib.SMTPRecipientsRefused) as raised:
                    client.sendmail(OTHER, [f"no@{HERE}", "ann@example.com"], eml())
            assert {code for code, _ in raised.value.recipients.values()} == {550}

        await anyio.to_thread.run_sync(hand_over)
        first, _ = await arrived(daimon, agent, ROBO, 2)
        shown = await agent.do("get_message", message_id=first["id"], include=["headers"])
        assert shown["authentication"] == {}
        assert first["labels"] == ["inbox", "unread"]
        assert shown["headers"]["authentication-results"] == "mx.example.com; dmarc=pass"
        assert " with LMTP id " in shown["headers"]["received"]
        assert daimon.operations.core.not_listening is None


async def test_an_lmtp_port_that_is_taken_is_told(tmp_path: Path) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with running(tmp_path / "data", {"smtp": {"lmtp_port": port}}) as daimon:
            app: application.App = daimon.app
            with pytest.raises(OSError, match=rf"LMTP port {port}: .*lmtp_port \(DAIMON_SMTP__LMTP_PORT\)"):
                await app.listening.run_lmtp(("127.0.0.1", port), strict=True)
            async with anyio.create_task_group() as tasks:
                await tasks.start(partial(app.listening.run_lmtp, ("127.0.0.1", port), strict=False))
            assert app.bound.lmtp == []
            assert any(f"LMTP port {port}" in note for note in daimon.operations.core.notes)
