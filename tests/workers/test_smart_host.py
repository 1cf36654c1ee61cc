"""Handing messages to a relay that takes them, refuses them, is slow, lies, or goes away at every step."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
import trustme
from aiosmtpd.smtp import SMTP, Envelope
from tests.support.sink import EXTENSIONS, Sink

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import LEASE, Attempt, Handover, Outcome
from daimon_mcp.workers import delivery, pool
from daimon_mcp.workers.transports import SmartHost, client_context

CONTENT = b"From: a@x.example\r\nSubject: hi\r\n\r\n.dot\r\n..\r\n.\r\nend\r\n"
ADA, BOB, EVE = "ada@a.example", "bob@b.example", "eve@e.example"


def host_for(sink: Sink, **options: Any) -> SmartHost:
    """A transport to the sink, in clear and impatient unless told otherwise."""
    defaults: dict[str, Any] = {"security": "none", "timeout": 5, "answer_timeout": 5}
    return SmartHost(host=sink.host, port=sink.port, hostname="mail.x.example", **{**defaults, **options})


async def relay(
    host: SmartHost,
    *recipients: str,
    mail_from: str = "a@x.example",
    content: bytes = CONTENT,
    smtputf8: bool = False,
) -> dict[str, Attempt]:
    handover = Handover(
        mail_from=mail_from,
        recipients=tuple(Recipient(address) for address in recipients or (ADA,)),
        content=content,
        smtputf8=smtputf8,
    )
    return await host.relay(host.destination(ADA), handover)


async def leave_open(sink: Sink, host: SmartHost) -> None:
    """Have a session kept whose transaction has not ended."""
    sink.answer("RCPT", "550 5.1.1 No such user", times=1)
    assert outcomes(await relay(host)) == {ADA: "refused"}


def outcomes(results: Mapping[str, Attempt]) -> dict[str, str]:
    return {recipient: str(attempt.outcome) for recipient, attempt in results.items()}


async def test_a_message_is_taken_with_its_envelope_and_every_octet() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        results = await relay(host, ADA, BOB)
        await host.close()
        [stored] = sink.messages
    assert results == dict.fromkeys(
        (ADA, BOB), Attempt(Outcome.ACCEPTED, 250, "2.0.0", "Ok: taken", f"127.0.0.1:{sink.port}")
    )
    assert (stored.mail_from, stored.recipients) == ("a@x.example", [ADA, BOB])
    assert stored.options == f"SIZE={len(CONTENT)}"
    assert stored.content == CONTENT
    assert stored.wire == CONTENT.replace(b"\r\n.", b"\r\n..")
    assert sink.commands[0] == "EHLO mail.x.example"
    assert sink.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b""),
        (b".\r\n", b"..\r\n"),
        (b"no end", b"no end\r\n"),
        (b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n"),
        (
            b"x" * 65_533 + b"\r\n.\r\n" + b"y" * 70_000 + b"\r\n",
            b"x" * 65_533 + b"\r\n..\r\n" + b"y" * 70_000 + b"\r\n",
        ),
    ],
    ids=["empty", "dot", "no-end", "dots", "dot-where-a-chunk-ends"],
)
async def test_content_ends_where_it_should(content: bytes, wire: bytes) -> None:
    async with Sink() as sink:
        host = host_for(sink)
        assert outcomes(await relay(host, content=content)) == {ADA: "accepted"}
        assert outcomes(await relay(host, content=b"next\r\n")) == {ADA: "accepted"}
        await host.close()
    assert [stored.wire for stored in sink.messages] == [wire, b"next\r\n"]


async def test_a_large_message_arrives_whole() -> None:
    content = b"".join(b"%06d %s\r\n" % (number, b"x" * 80) for number in range(120_000))
    async with Sink() as sink:
        host = host_for(sink)
        assert outcomes(await relay(host, content=content)) == {ADA: "accepted"}
        await host.close()
    assert sink.messages[0].content == content


async def test_another_server_reads_what_we_send() -> None:
    contents: list[bytes] = []

    class Handler:
        async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
            contents.append(envelope.original_content or b"")
            return "250 2.0.0 Ok"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="aiosmtpd.test", loop=loop), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        host = SmartHost(host="127.0.0.1", port=port, security="none", hostname="mail.x.example", timeout=5)
        for content in (CONTENT, b".\r\n" * 3, b""):
            assert outcomes(await relay(host, ADA, BOB, content=content)) == {ADA: "accepted", BOB: "accepted"}
        await host.close()
    assert contents == [CONTENT, b".\r\n" * 3, b""]


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n\n.\n", b"a\r\n.\r", b"\n"])
async def test_a_cr_or_lf_alone_is_never_sent(content: bytes) -> None:
    async with Sink() as sink:
        with pytest.raises(ValueError, match="CR or LF alone"):
            await relay(host_for(sink), content=content)
    assert sink.connections == 0


async def test_the_null_sender_is_sent_as_such() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        assert outcomes(await relay(host, mail_from="")) == {ADA: "accepted"}
        await host.close()
    assert sink.messages[0].mail_from == ""
    assert any(command.startswith("MAIL FROM:<>") for command in sink.commands)


async def test_each_recipient_has_an_outcome_of_its_own() -> None:
    async with Sink() as sink:
        sink.answer("RCPT", "550-5.1.1 No such\r\n550 5.1.1 user", match=BOB)
        sink.answer("RCPT", "451 4.7.1 Greylisted", match=EVE)
        host = host_for(sink)
        results = await relay(host, ADA, BOB, EVE, ADA)
        await host.close()
    assert outcomes(results) == {ADA: "accepted", BOB: "refused", EVE: "deferred"}
    assert results[BOB] == Attempt(Outcome.REFUSED, 550, "5.1.1", "No such user", host.remote)
    assert results[EVE] == Attempt(Outcome.DEFERRED, 451, "4.7.1", "Greylisted", host.remote)
    assert [stored.recipients for stored in sink.messages] == [[ADA]]


@pytest.mark.parametrize("step", ["MAIL", "DATA", "content"])
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [("550 5.7.1 No", Outcome.REFUSED), ("450 4.2.1 Later", Outcome.DEFERRED), ("421 4.3.2 Bye", Outcome.DEFERRED)],
)
async def test_a_no_to_the_whole_message_is_one_for_all_who_were_left(step: str, reply: str, outcome: Outcome) -> None:
    async with Sink() as sink:
        sink.answer(step, reply, times=1)
        sink.answer("RCPT", "550 5.1.1 No such user", match=BOB, times=1)
        host = host_for(sink)
        first = await relay(host, ADA, BOB)
        second = await relay(host, ADA)
        await host.close()
    attempt = Attempt(outcome, int(reply[:3]), reply[4:9], reply[10:], host.remote)
    assert first[ADA] == attempt
    assert first[BOB] == attempt if step == "MAIL" else first[BOB].enhanced == "5.1.1"
    assert outcomes(second) == {ADA: "accepted"}
    assert [stored.recipients for stored in sink.messages] == [[ADA]]
    assert sink.connections == (2 if reply.startswith("421") else 1)


async def test_a_goodbye_among_the_recipients_is_one_to_the_whole_message() -> None:
    async with Sink() as sink:
        sink.answer("RCPT", "421 4.3.2 Shutting down", match=BOB, times=1)
        host = host_for(sink)
        results = await relay(host, ADA, BOB, EVE)
    attempt = Attempt(Outcome.DEFERRED, 421, "4.3.2", "Shutting down", host.remote)
    assert results == {ADA: attempt, BOB: attempt, EVE: attempt}


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "no-pipelining"])
async def test_no_recipient_left_means_no_content(extensions: Sequence[str]) -> None:
    async with Sink(extensions=extensions) as sink:
        sink.answer("RCPT", "550 5.1.1 No such user", times=2)
        host = host_for(sink)
        assert outcomes(await relay(host, ADA, BOB)) == {ADA: "refused", BOB: "refused"}
        assert ("DATA" in sink.commands) is bool(extensions)
        assert sink.messages == []
        assert outcomes(await relay(host)) == {ADA: "accepted"}  # the same connection is good for another
        await host.close()
    assert sink.connections == 1
    assert sink.commands.count("RSET") == 1


@pytest.mark.parametrize("step", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("way", ["drop", "silence", "nonsense"])
@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelining", "no-pipelining"])
async def test_a_connection_lost_before_the_content_hands_nothing_over(
    step: str, way: str, extensions: Sequence[str]
) -> None:
    async with Sink(extensions=extensions) as sink:
        gate = None
        if way == "drop":
            sink.drop(step)
        elif way == "nonsense":
            sink.answer(step, "what?", times=1)
        else:
            gate = sink.hold(step)
        host = host_for(sink, timeout=0.2)
        results = await relay(host, ADA, BOB)
        if gate is not None:
            gate.open()
        assert outcomes(results) == {ADA: "deferred", BOB: "deferred"}
        assert {attempt.remote for attempt in results.values()} == {host.remote}
        assert outcomes(await relay(host, ADA)) == {ADA: "accepted"}
        await host.close()
    assert len(sink.messages) == 1


@pytest.mark.parametrize("way", ["gone", "stuck"])
async def test_a_relay_that_takes_only_part_of_the_content_was_handed_nothing(way: str) -> None:
    async with Sink() as sink:
        gate = sink.hold("reading")
        host = host_for(sink, timeout=5 if way == "gone" else 0.3)
        results: dict[str, Attempt] = {}

        async def send() -> None:
            results.update(await relay(host, content=(b"x" * 998 + b"\r\n") * 20_000))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await gate.reached()
            if way == "gone":
                sink.drop_all()
        gate.open()
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert outcomes(results) == {ADA: "deferred"}
    assert [stored.content for stored in sink.messages] == [CONTENT]


@pytest.mark.parametrize("store", [True, False], ids=["stored", "lost"])
async def test_a_connection_lost_after_the_final_dot_is_unknown(store: bool) -> None:
    async with Sink() as sink:
        sink.drop("content", store=store)
        sink.answer("RCPT", "550 5.1.1 No such user", match=BOB)
        host = host_for(sink)
        results = await relay(host, ADA, BOB)
        await host.close()
    assert outcomes(results) == {ADA: "outcome_unknown", BOB: "refused"}
    assert results[ADA].code is None
    assert results[ADA].text.startswith("no answer after the end of the message")
    assert len(sink.messages) == int(store)


@pytest.mark.parametrize("reply", ["354 Again", "what?", "199 Hm"])
async def test_an_answer_to_the_final_dot_that_means_nothing_is_unknown(reply: str) -> None:
    async with Sink() as sink:
        sink.answer("content", reply, times=1)
        host = host_for(sink)
        assert outcomes(await relay(host)) == {ADA: "outcome_unknown"}
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert sink.connections == 2


async def test_no_answer_in_time_to_the_final_dot_is_unknown() -> None:
    async with Sink() as sink:
        gate = sink.hold("content")
        host = host_for(sink, answer_timeout=0.2)
        assert outcomes(await relay(host)) == {ADA: "outcome_unknown"}
        gate.open()
        await host.close()


async def test_the_answer_to_the_final_dot_may_take_longer_than_others() -> None:
    async with Sink() as sink:
        gate = sink.hold("content")
        host = host_for(sink, timeout=0.1, answer_timeout=5)
        results: dict[str, Attempt] = {}

        async def send() -> None:
            results.update(await relay(host))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await gate.reached()
            with anyio.move_on_after(0.3):
                await anyio.sleep_forever()
            gate.open()
        await host.close()
    assert outcomes(results) == {ADA: "accepted"}


async def test_nobody_listens() -> None:
    async with Sink() as sink:
        host = host_for(sink)
    results = await relay(host)
    assert outcomes(results) == {ADA: "deferred"}
    assert results[ADA].code is None
    assert "cannot connect" in results[ADA].text


def test_the_longest_try_is_shorter_than_a_lease() -> None:
    assert (delivery.ENVELOPE_SECONDS + delivery.ANSWER_SECONDS) * SECOND < LEASE


# Kept connections.


async def test_messages_share_a_connection_without_rset_between() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        for _ in range(5):
            assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert sink.connections == 1
    assert [command.split(" ")[0] for command in sink.commands] == ["EHLO", *["MAIL", "RCPT", "DATA"] * 5, "QUIT"]


async def test_a_connection_serves_a_hundred_messages() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        for _ in range(101):
            assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert [stored.connection for stored in sink.messages] == [1] * 100 + [2]
    assert sink.commands.count("QUIT") == 2


async def test_a_connection_is_let_go_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SECONDS_PER_CONNECTION", 0.2)
    async with Sink() as sink:
        host = host_for(sink)
        await relay(host)
        await sink.heard("QUIT")  # by itself, and without another message
        await relay(host)
        await host.close()
    assert [stored.connection for stored in sink.messages] == [1, 2]


async def test_no_more_connections_than_allowed() -> None:
    async with Sink() as sink:
        host = host_for(sink, max_connections=3)
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(relay, host)
        await host.close()
    assert len(sink.messages) == 12
    assert sink.most_at_once == 3


@pytest.mark.parametrize("step", ["RSET", "MAIL"])
@pytest.mark.parametrize("way", ["drop", "421"])
async def test_a_kept_connection_that_died_costs_the_message_nothing(step: str, way: str) -> None:
    async with Sink() as sink:
        host = host_for(sink)
        await leave_open(sink, host)
        if way == "drop":
            sink.drop(step)
        else:
            sink.answer(step, "421 4.4.2 Idle too long", times=1)
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert [stored.connection for stored in sink.messages] == [2]


async def test_a_kept_connection_that_cannot_reset_is_not_used() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        await leave_open(sink, host)
        sink.answer("RSET", "502 5.5.1 What?", times=1)
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert [stored.connection for stored in sink.messages] == [2]


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_even_tried() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        await relay(host)
        sink.drop_all()
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()


async def test_a_new_connection_that_dies_at_mail_is_not_tried_again() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        await relay(host)
        sink.drop("MAIL", times=2)
        assert outcomes(await relay(host)) == {ADA: "deferred"}
        await host.close()
    assert sink.connections == 2


async def test_once_mail_was_accepted_a_dead_connection_counts() -> None:
    async with Sink() as sink:
        host = host_for(sink)
        await relay(host)
        sink.drop("RCPT")
        assert outcomes(await relay(host)) == {ADA: "deferred"}
        await host.close()
    assert sink.connections == 1


async def test_a_cancelled_try_leaves_no_connection_that_is_out_of_step() -> None:
    async with Sink() as sink:
        gate = sink.hold("RCPT")
        host = host_for(sink)
        begun: list[str] = []
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                handover = Handover(mail_from="", recipients=(Recipient(ADA),), content=CONTENT)
                await host.relay(host.remote, handover, on_content=lambda: begun.append("content"))

            tasks.start_soon(send)
            await gate.reached()
            tasks.cancel_scope.cancel()
        gate.open()
        assert begun == []
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert [stored.connection for stored in sink.messages] == [2]


# Getting in.


def secured(security: str, context: ssl.SSLContext, users: Mapping[str, str] | None = None) -> Sink:
    """A sink behind TLS of that kind."""
    return Sink(tls=context, users=users) if security == "tls" else Sink(starttls=context, users=users)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_tls_and_login(security: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with secured(security, server_tls, {"agents": "correct horse"}) as sink:
        host = host_for(sink, security=security, username="agents", password="correct horse", tls_context=client_tls)
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        assert outcomes(await relay(host)) == {ADA: "accepted"}
        await host.close()
    assert [(stored.tls, stored.username) for stored in sink.messages] == [(True, "agents")] * 2
    assert sink.connections == 1


async def test_tls_that_is_not_offered_is_not_done_without(
    client_tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async with Sink() as sink:
        results = await relay(host_for(sink, security="starttls", tls_context=client_tls))
    assert outcomes(results) == {ADA: "deferred"}
    assert not any(command.startswith("MAIL") for command in sink.commands)
    assert "STARTTLS" in caplog.text


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_certificate_that_nobody_trusts_is_not_accepted(security: str, server_tls: ssl.SSLContext) -> None:
    async with secured(security, server_tls) as sink:
        results = await relay(host_for(sink, security=security, tls_context=client_context()))
    assert outcomes(results) == {ADA: "deferred"}
    assert "CERTIFICATE_VERIFY_FAILED" in results[ADA].text.upper().replace(" ", "_")
    assert sink.messages == []


def test_certificates_of_ones_own_are_read_from_a_file(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("tls") / "relay-ca.pem"
    authority.cert_pem.write_to_path(str(file))
    assert len(client_context(file).get_ca_certs()) == 1


@pytest.mark.parametrize("users", [{"agents": "other"}, None], ids=["wrong", "no-login-here"])
async def test_a_login_that_fails_bounces_nothing(
    users: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with Sink(users=users) as sink:
        host = host_for(sink, username="agents", password="hunter2")
        results = await relay(host, ADA, BOB)
    assert outcomes(results) == {ADA: "deferred", BOB: "deferred"}
    if users is not None:
        assert (results[ADA].code, results[ADA].enhanced) == (535, "5.7.8")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "hunter2" not in caplog.text
    assert not any(command.startswith("MAIL") for command in sink.commands)


async def test_a_relay_that_wants_a_login_we_do_not_have_bounces_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Sink(users={"agents": "x"}) as sink:
        host = host_for(sink)
        results = await relay(host)
        await host.close()
    assert results[ADA] == Attempt(Outcome.DEFERRED, 530, "5.7.0", "Authentication required", host.remote)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_relay_that_refuses_us_at_the_door_bounces_nothing() -> None:
    async with Sink() as sink:
        sink.answer("connect", "554 5.7.1 Blocked")
        results = await relay(host_for(sink))
    assert results[ADA].outcome is Outcome.DEFERRED
    assert (results[ADA].code, results[ADA].enhanced, results[ADA].text) == (554, "5.7.1", "Blocked")


# What the relay can take.


PLAIN = tuple(extension for extension in EXTENSIONS if extension not in {"8BITMIME", "SMTPUTF8"})
EIGHT_BIT = "Subject: été\r\n".encode()


async def test_8_bit_content_is_announced_or_refused_here() -> None:
    async with Sink() as sink, Sink(extensions=PLAIN) as old:
        host, old_host = host_for(sink), host_for(old)
        assert outcomes(await relay(host, content=EIGHT_BIT)) == {ADA: "accepted"}
        refused = await relay(old_host, content=EIGHT_BIT)
        assert outcomes(await relay(old_host)) == {ADA: "accepted"}
        await host.close()
        await old_host.close()
    assert sink.messages[0].options == f"SIZE={len(EIGHT_BIT)} BODY=8BITMIME"
    assert sink.messages[0].content == EIGHT_BIT
    assert (refused[ADA].outcome, refused[ADA].code, refused[ADA].enhanced) == (Outcome.REFUSED, 554, "5.6.3")
    assert [stored.content for stored in old.messages] == [CONTENT]


async def test_smtputf8_is_announced_or_refused_here_for_whom_it_is_needed() -> None:
    åda = "åda@a.example"
    async with Sink() as sink, Sink(extensions=PLAIN) as old:
        host, old_host = host_for(sink), host_for(old)
        assert outcomes(await relay(host, åda, BOB)) == {åda: "accepted", BOB: "accepted"}
        assert outcomes(await relay(host, BOB, smtputf8=True)) == {BOB: "accepted"}
        assert outcomes(await relay(host, BOB)) == {BOB: "accepted"}
        by_recipient = await relay(old_host, åda, BOB)
        by_sender = await relay(old_host, BOB, mail_from="sám@x.example")
        by_headers = await relay(old_host, BOB, smtputf8=True)
        await host.close()
        await old_host.close()
    assert ["SMTPUTF8" in stored.options for stored in sink.messages] == [True, True, False]
    assert sink.messages[0].recipients == [åda, BOB]
    assert outcomes(by_recipient) == {åda: "refused", BOB: "accepted"}
    for attempt in (by_recipient[åda], by_sender[BOB], by_headers[BOB]):
        assert (attempt.outcome, attempt.code, attempt.enhanced) == (Outcome.REFUSED, 553, "5.6.7")
    assert len(old.messages) == 1


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example>\r\nRCPT TO:<eve@e.example",
        "a@b.example> NOTIFY=NEVER",
        "a b@b.example",
        "a\x00@b.example",
        "a\u202e@b.example",
        '"a\r\n"@b.example',
        '"a" b@b.example',
        "",
    ],
)
async def test_an_address_that_would_be_more_than_an_address_is_not_sent(address: str) -> None:
    async with Sink() as sink:
        host = host_for(sink)
        results = await relay(host, address, ADA)
        as_sender = await relay(host, ADA, mail_from=address or "<>")
        await host.close()
    assert (results[address].outcome, results[address].enhanced) == (Outcome.REFUSED, "5.1.3")
    assert outcomes(results)[ADA] == "accepted"
    assert (as_sender[ADA].outcome, as_sender[ADA].enhanced) == (Outcome.REFUSED, "5.1.7")
    assert [stored.recipients for stored in sink.messages] == [[ADA]]


async def test_a_quoted_local_part_is_sent_as_it_is() -> None:
    quoted = '"ada <\\" lovelace>"@a.example'
    async with Sink() as sink:
        host = host_for(sink)
        assert outcomes(await relay(host, quoted)) == {quoted: "accepted"}
        await host.close()
    assert sink.messages[0].recipients == [quoted]


# The relay's words.


@pytest.mark.parametrize(
    ("reply", "enhanced", "text"),
    [
        ("550 5.1.1 No\x1b[31m such\x07 user\u202e", "5.1.1", "No [31m such  user"),
        ("550 " + "x" * 4000, None, "x" * 500),
        ("550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three", "5.7.1", "one two three"),
        ("550 4.7.1 of another class", None, "4.7.1 of another class"),
        ("550 5.7.1", "5.7.1", ""),
        ("550", None, ""),
        ("550 5.7 short", None, "5.7 short"),
    ],
)
async def test_the_relay_is_quoted_but_not_trusted(reply: str, enhanced: str | None, text: str) -> None:
    async with Sink() as sink:
        sink.answer("RCPT", reply)
        host = host_for(sink)
        results = await relay(host)
        await host.close()
    assert results[ADA] == Attempt(Outcome.REFUSED, 550, enhanced, text, host.remote)


async def test_words_that_are_not_utf8_can_be_stored() -> None:
    async with Sink() as sink:
        sink.answer("RCPT", "550 5.1.1 gr\udcfc\udcdfe")
        host = host_for(sink)
        results = await relay(host)
        await host.close()
    assert results[ADA].text.encode() == b"gr  e"
