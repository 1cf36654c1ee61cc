"""The client against peers that are old, slow, out of step, or up to no good."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.support.gate import PATIENCE
from tests.support.scripted_peer import Line, Script, ScriptedPeer
from tests.support.sink import Sink

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Attempt, Handover
from daimon_mcp.logs import WIRE
from daimon_mcp.workers.transports import SmartHost

ADA, BOB = "ada@a.example", "bob@b.example"
CONTENT = b"Subject: hi\r\n\r\n.dot\r\n"
OFFERS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


def host_for(peer: ScriptedPeer | Sink, **options: Any) -> SmartHost:
    defaults: dict[str, Any] = {"security": "none", "timeout": 60, "answer_timeout": 60}
    return SmartHost(host=peer.host, port=peer.port, hostname="mail.x.example", **{**defaults, **options})


def handover(*recipients: str | Recipient, content: bytes = CONTENT, **envelope: Any) -> Handover:
    return Handover(
        mail_from="a@x.example",
        recipients=tuple(Recipient(one) if isinstance(one, str) else one for one in recipients or (ADA,)),
        content=content,
        **envelope,
    )


async def send(host: SmartHost, *recipients: str | Recipient, **options: Any) -> dict[str, Attempt]:
    return await host.relay(host.remote, handover(*recipients, **options))


async def play(script: Script, *recipients: str | Recipient, content: bytes = CONTENT, **options: Any) -> list[Attempt]:
    """One message to a peer that follows `script`; what came of it, recipient by recipient."""
    async with ScriptedPeer(script) as peer:
        host = host_for(peer, **options)
        with anyio.fail_after(PATIENCE):  # nothing here may wait for a time-out
            results = await send(host, *recipients, content=content)
        await host.close()
        assert set(results) == {one if isinstance(one, str) else one.address for one in recipients or (ADA,)}
    return list(results.values())


async def greet(line: Line, *offers: str) -> None:
    """The beginning, up to and with EHLO."""
    await line.say(b"220 peer.test ESMTP\r\n")
    assert await line.hear() == b"EHLO mail.x.example"
    lines = ["peer.test", *offers]
    await line.say(b"".join(b"250%s%s\r\n" % (b" -"[one is not lines[-1] :][:1], one.encode()) for one in lines))


# Command groups.


async def test_a_pipeline_is_one_write_and_its_answers_are_taken_in_order() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        for number in range(2):  # two round trips a message, and no RSET between
            assert await line.hear_all() == (
                b"MAIL FROM:<a@x.example>\r\nRCPT TO:<ada@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
            )
            await line.say(b"250 2.1.0 Ok\r\n550 5.1.1 No ada\r\n250 2.1.5 Yes bob\r\n354 Go\r\n")
            assert await line.hear_all() == b"Subject: hi\r\n\r\n..dot\r\n.\r\n"
            await line.say(b"250 2.0.0 Taken %d\r\n" % number)
        assert await line.hear() == b"QUIT"

    async with ScriptedPeer(script) as peer:
        host = host_for(peer)
        for number in range(2):
            results = await send(host, ADA, BOB)
            assert (results[ADA].outcome, results[ADA].text) == ("refused", "No ada")
            assert (results[BOB].outcome, results[BOB].text) == ("accepted", f"Taken {number}")
        await host.close()


async def test_answers_to_a_pipeline_may_come_in_pieces() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        for octet in b"250 Ok\r\n250 Ok\r\n354 Go\r\n":
            await line.say(bytes([octet]))
            await anyio.lowlevel.checkpoint()
        await line.hear_content()
        await line.say(b"250 Ok\r\n")

    [attempt] = await play(script)
    assert attempt.outcome == "accepted"


async def test_a_thousand_recipients_in_one_pipeline() -> None:
    recipients = [f"{'x' * 50}{number}@a.example" for number in range(1_000)]
    async with Sink() as sink:
        sink.answer("RCPT", "550 5.1.1 No", match="7@")
        host = host_for(sink)
        results = await send(host, *recipients)
        await host.close()
    assert sink.messages[0].recipients == [one for one in recipients if not one.endswith("7@a.example")]
    assert [one.outcome == "refused" for one in results.values()] == ["7@" in one for one in results]


async def test_without_pipelining_every_command_waits_for_its_answer() -> None:
    async def script(line: Line) -> None:
        await greet(line, "8BITMIME")
        for command, answer in (("MAIL FROM:<a@x.example>", "250"), (f"RCPT TO:<{ADA}>", "250"), ("DATA", "354")):
            assert await line.hear_all() == f"{command}\r\n".encode()
            await line.say(f"{answer} Ok\r\n".encode())
        await line.hear_content()
        await line.say(b"250 Ok\r\n")

    [attempt] = await play(script)
    assert attempt.outcome == "accepted"


@pytest.mark.parametrize("answer", [b"554 5.5.1 No recipients\r\n", b"250 2.0.0 Ok\r\n", b"421 4.4.2 Bye\r\n"])
async def test_a_server_that_waits_for_content_though_it_refused_everybody_gets_a_lone_dot(answer: bytes) -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"250 Ok\r\n550 5.1.1 No\r\n450 4.2.1 Later\r\n354 Go\r\n")
        assert await line.hear_all() == b".\r\n"
        await line.say(answer)

    attempts = await play(script, ADA, BOB)
    assert [(one.outcome, one.code) for one in attempts] == [("refused", 550), ("deferred", 450)]


async def test_a_server_that_takes_content_from_a_sender_it_refused_gets_none() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"550 5.7.1 Not you\r\n250 Ok\r\n354 Go\r\n")
        assert await line.until_closed() == b""

    [attempt] = await play(script)
    assert (attempt.outcome, attempt.text) == ("refused", "Not you")


async def test_a_connection_that_ends_behind_a_refused_sender_is_still_a_refusal() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"550 5.7.1 Not you\r\n")

    [attempt] = await play(script)
    assert (attempt.outcome, attempt.text) == ("refused", "Not you")


# Out of step.


async def test_an_answer_nobody_asked_for_ends_the_session() -> None:
    async def script(line: Line) -> None:
        await line.say(b"220 peer.test\r\n")
        await line.hear()
        await line.say(b"250 peer.test\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go\r\n250 Taken, believe me\r\n")
        assert await line.until_closed() == b""

    [attempt] = await play(script)
    assert (attempt.outcome, attempt.code) == ("deferred", None)
    assert "out of turn" in attempt.text


async def test_an_answer_before_the_end_of_the_content_is_not_one_to_it() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"250 Ok\r\n250 Ok\r\n354 Go\r\n250 2.0.0 Taken, believe me\r\n")
        assert await line.until_closed() == b""

    [attempt] = await play(script)
    assert (attempt.outcome, attempt.code) == ("deferred", None)


@pytest.mark.parametrize(("says", "outcome"), [(b"552 5.3.4 Too big", "refused"), (b"451 4.3.0 Full", "deferred")])
@pytest.mark.parametrize("gone", [False, True])
async def test_a_no_in_the_middle_of_the_content_is_heard(says: bytes, outcome: str, gone: bool) -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"250 Ok\r\n250 Ok\r\n354 Go\r\n")
        await line.hear()
        await line.say(says + b"\r\n")
        if not gone:
            assert not (await line.until_closed()).endswith(b"\r\n.\r\n")

    [attempt] = await play(script, content=(b"x" * 998 + b"\r\n") * 30_000)
    if attempt.code is not None or not gone:  # a reset of the connection may overtake the words
        assert (attempt.outcome, attempt.code) == (outcome, int(says[:3]))
    assert attempt.outcome in (outcome, "deferred")


async def test_a_session_that_says_more_than_it_was_asked_for_is_not_kept() -> None:
    async def script(line: Line) -> None:
        await greet(line, *OFFERS)
        await line.hear_all()
        await line.say(b"250 Ok\r\n250 Ok\r\n354 Go\r\n")
        await line.hear_content()
        await line.say(b"250 Taken\r\n250 The next one too\r\n")
        assert await line.until_closed() == b""

    async with ScriptedPeer(script) as peer:
        host = host_for(peer)
        for number in (1, 2):
            assert (await send(host))[ADA].outcome == "accepted"
            assert peer.connections == number
        await host.close()


@pytest.mark.parametrize("step", ["banner", "EHLO", "MAIL", "content"])
@pytest.mark.parametrize(
    "flood",
    [
        b"x" * 100_000,
        b"250-" + b"y" * 5_000 + b"\r\n",
        b"250-z\r\n" * 300,
        b"250-a\r\n251 b\r\n",
        b"250 w\r\n" * 200_000,
    ],
    ids=["no-end", "long-line", "many-lines", "two-codes", "many-replies"],
)
async def test_replies_without_measure_end_the_session_at_once(step: str, flood: bytes) -> None:
    async def script(line: Line) -> None:
        if step != "banner":
            await line.say(b"220 peer.test\r\n")
            await line.hear()
            if step != "EHLO":
                await line.say(b"250-peer.test\r\n250 PIPELINING\r\n")
                await line.hear_all()
                if step != "MAIL":
                    await line.say(b"250 Ok\r\n250 Ok\r\n354 Go\r\n")
                    await line.hear_content()
        await line.say(flood)
        await line.until_closed()

    [attempt] = await play(script)
    if flood.startswith(b"250 w") and step == "content":
        assert attempt.outcome in ("accepted", "outcome_unknown")  # its first words were an answer
    elif flood.startswith(b"250 w") and step == "MAIL":
        assert attempt.outcome == "deferred"
    else:
        assert attempt.outcome == ("outcome_unknown" if step == "content" else "deferred")
    assert len(attempt.text) <= 500


# Getting in.


@pytest.mark.parametrize("answer", [b"500 5.5.1 What?\r\n", b"502 No\r\n", b"550 No\r\n"])
async def test_a_server_without_ehlo_is_greeted_with_helo(answer: bytes) -> None:
    async def script(line: Line) -> None:
        await line.say(b"220 peer.test\r\n")
        assert await line.hear() == b"EHLO mail.x.example"
        await line.say(answer)
        assert await line.hear() == b"HELO mail.x.example"
        await line.say(b"250 peer.test\r\n")
        assert await line.hear() == b"MAIL FROM:<a@x.example>"  # and nothing of what was not offered

    [attempt] = await play(script)
    assert attempt.outcome == "deferred"


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"2", b"250-one\r\n"])
async def test_octets_behind_the_answer_to_starttls_end_the_session(behind: bytes, client_tls: ssl.SSLContext) -> None:
    async def script(line: Line) -> None:
        await greet(line, "STARTTLS")
        assert await line.hear() == b"STARTTLS"
        await line.say(b"220 Go\r\n" + behind)
        assert await line.until_closed() == b""  # not even a ClientHello

    [attempt] = await play(script, security="starttls", tls_context=client_tls)
    assert (attempt.outcome, attempt.enhanced, attempt.tls) == ("deferred", "4.7.5", "")
    assert "more behind its answer to STARTTLS" in attempt.text


async def test_what_a_server_said_before_tls_is_forgotten(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def script(line: Line) -> None:
        await greet(line, "STARTTLS", "PIPELINING", "SIZE 1000", "AUTH PLAIN")
        assert await line.hear() == b"STARTTLS"
        await line.say(b"220 Go\r\n")
        await line.go_tls(server_tls)
        assert await line.hear() == b"EHLO mail.x.example"
        await line.say(b"250-peer.test\r\n250 8BITMIME\r\n")
        assert await line.hear_all() == b"MAIL FROM:<a@x.example>\r\n"
        await line.say(b"450 4.2.1 Later\r\n")

    [attempt] = await play(script, security="starttls", tls_context=client_tls)
    assert (attempt.outcome, attempt.code, attempt.tls) == ("deferred", 450, "TLSv1.3 verified")


@pytest.mark.parametrize("offer", ["AUTH LOGIN PLAIN", "auth login", "AUTH GSSAPI LOGIN"])
async def test_logging_in(offer: str) -> None:
    name, password = "agents", "correct hörse"

    async def script(line: Line) -> None:
        await greet(line, offer)
        command = await line.hear()
        if "PLAIN" in offer:
            assert base64.b64decode(command.removeprefix(b"AUTH PLAIN ")) == f"\0{name}\0{password}".encode()
        else:
            assert command == b"AUTH LOGIN"
            for answer in (name, password):
                await line.say(b"334 Vm9ycw==\r\n")
                assert base64.b64decode(await line.hear()) == answer.encode()
        await line.say(b"235 2.7.0 In\r\n")
        assert await line.hear() == b"MAIL FROM:<a@x.example>"
        await line.say(b"550 5.7.1 No\r\n")

    [attempt] = await play(script, username=name, password=password)
    assert attempt.outcome == "refused"


async def test_a_relay_at_an_ipv6_address() -> None:
    async def script(line: Line) -> None:
        await line.say(b"450 4.3.2 Not now\r\n")

    async with ScriptedPeer(script, host="::1") as peer:
        host = host_for(peer)
        results = await send(host)
        assert (results[ADA].code, results[ADA].remote) == (450, f"[::1]:{peer.port}")
        await host.close()


async def test_the_conversation_can_be_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, WIRE)
    async with Sink(users={"agents": "hunter2 hunter2"}) as sink:
        host = host_for(sink, username="agents", password="hunter2 hunter2")
        await send(host)
        await host.close()
    lines = [record.getMessage() for record in caplog.records if record.name == WIRE]
    assert lines[0] == "S: 220 sink.test ESMTP"
    assert "C: [credentials]" in lines
    assert f"C: [{len(CONTENT) + 4} octets]" in lines  # a doubled dot, and the final one
    assert not any("hunter2" in line or "Subject" in line for line in lines)
    assert not any(word in line for word in ("AGFnZW50c", "aHVudGVyMi") for line in lines)


# Being stopped.


@pytest.mark.parametrize("step", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "reading", "content"])
@pytest.mark.parametrize("extensions", [OFFERS, ("8BITMIME",)], ids=["pipelining", "no-pipelining"])
async def test_what_is_stopped_was_handed_over_only_if_content_was_begun(step: str, extensions: Sequence[str]) -> None:
    async with Sink(extensions=extensions) as sink:
        gate = sink.hold(step)
        host = host_for(sink)
        begun: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: host.relay(host.remote, handover(), on_content=lambda: begun.append("content")))
            await gate.reached()
            if step == "reading":
                with anyio.fail_after(PATIENCE):
                    while not begun:
                        await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        gate.open()
        assert begun == (["content"] if step in ("reading", "content") else [])
        assert (await send(host))[ADA].outcome == "accepted"  # and nothing is left of it
        await host.close()
    assert sink.messages[-1].connection == 2


async def test_the_end_of_the_content_waits_for_what_must_be_on_record_before() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        recorded = asyncio.get_running_loop().create_future()
        results: dict[str, Attempt] = {}

        async def send_it() -> None:
            results.update(await host.relay(host.remote, handover(), on_content=lambda: recorded))

        gate = sink.hold("reading")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_it)
            await gate.reached()
            gate.open()
            await anyio.wait_all_tasks_blocked()
            assert sink.messages == []
            recorded.set_result(None)
        await host.close()
    assert results[ADA].outcome == "accepted"


@pytest.mark.parametrize("size", [1, 20_000])
async def test_what_cannot_be_put_on_record_is_not_sent_to_its_end(size: int, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OSError("disk full")

    async with Sink() as sink:
        host = host_for(sink)
        content = (b"x" * 998 + b"\r\n") * size
        results = await host.relay(host.remote, handover(content=content), on_content=fail)
        assert (results[ADA].outcome, results[ADA].text) == ("deferred", "internal error")
        assert (await send(host))[ADA].outcome == "accepted"
        await host.close()
    assert [stored.content for stored in sink.messages] == [CONTENT]
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


# What goes along.


DSN = ("PIPELINING", "DSN", "SMTPUTF8")
ASKED = Recipient(ADA, notify="SUCCESS,FAILURE", orcpt="rfc822;Ada+2B@a.example")


async def test_dsn_parameters_go_along_where_they_are_understood() -> None:
    async with Sink(extensions=DSN) as sink, Sink() as other:
        for one in (sink, other):
            host = host_for(one)
            await send(host, ASKED, BOB, ret="HDRS", envid="QQ314159")
            await host.close()
    assert sink.commands[1:4] == [
        "MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ314159",
        f"RCPT TO:<{ADA}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ada+2B@a.example",
        f"RCPT TO:<{BOB}>",
    ]
    assert not any("ENVID" in command or "NOTIFY" in command for command in other.commands)


@pytest.mark.parametrize("value", ["a b", "x\r\nRCPT TO:<eve@e.example>", "x\n", "x\x00", "x\u202e", "", "x>y"])
async def test_a_parameter_that_would_be_more_than_one_does_not_go_along(value: str) -> None:
    recipient = Recipient(ADA, notify=value, orcpt=value)
    async with Sink(extensions=DSN) as sink:
        host = host_for(sink)
        assert (await send(host, recipient, ret=value, envid=value))[ADA].outcome == "accepted"
        await host.close()
    assert sink.commands[1:3] == ["MAIL FROM:<a@x.example>", f"RCPT TO:<{ADA}>"]


async def test_an_original_recipient_outside_ascii_needs_smtputf8() -> None:
    recipient = Recipient(ADA, orcpt="utf-8;åda@a.example")
    async with Sink(extensions=DSN) as sink:
        host = host_for(sink)
        await send(host, recipient)
        await send(host, recipient, smtputf8=True)
        await host.close()
    rcpts = [command for command in sink.commands if command.startswith("RCPT")]
    assert rcpts == [f"RCPT TO:<{ADA}>", f"RCPT TO:<{ADA}> ORCPT=utf-8;åda@a.example"]
