"""The inbound listener when something breaks or ends: the core, the connection, the process."""

from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import pytest
from tests.faces.smtp.server import CORE_SECRET, Client, client_of, serving

from daimon_mcp.faces.smtp import content
from daimon_mcp.faces.smtp.inbound import serve_inbound
from daimon_mcp.faces.smtp.service import Limits
from daimon_mcp.logs import cid

MESSAGE = b"Subject: hi\r\n\r\nhello\r\n.\r\n"
SHUTTING_DOWN = "421 4.3.2 Server is shutting down"


@pytest.mark.parametrize("recipient", ["bug@mx.example", "bug-later@mx.example"])
async def test_a_bug_is_told_by_an_id_that_leads_to_its_traceback(
    recipient: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "daimon_mcp")
    seen: dict[int, str] = {}

    def note(record: logging.LogRecord) -> bool:
        seen[id(record)] = cid.get()
        return True

    caplog.handler.addFilter(note)
    async with serving() as inbound, client_of(inbound) as client:
        reply = await client.say("EHLO c.example", "MAIL FROM:<c@c.example>", f"RCPT TO:<{recipient}>")
        if reply.startswith("250"):
            await client.say("DATA")
            await client.send(MESSAGE)
            reply = await client.reply()
        assert reply.startswith("451 4.3.0 Internal error, id ")
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == CORE_SECRET
    assert seen[id(record)] == reply.rpartition(" ")[2]
    assert inbound.core.messages == []


async def test_a_bug_while_content_is_read_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_END", None)
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(b"MAIL FROM:<smuggled@c.example>\r\n")
        assert (await client.reply()).startswith("421 4.3.0 Internal error, id ")
        assert await client.reply() == ""


async def test_a_client_that_is_gone_after_the_dot_has_sent_its_message() -> None:
    async with serving() as inbound:
        inbound.core.gate = anyio.Event()
        async with client_of(inbound) as client:
            await client.to_content()
            await client.send(MESSAGE)
            await inbound.core.entered.wait()
        inbound.core.gate.set()
        async with client_of(inbound) as client:
            assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert len(inbound.core.messages) == 1


async def test_a_client_that_has_hung_up_half_way_still_gets_its_answer() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        inbound.core.gate = anyio.Event()
        await client.to_content()
        await client.send(MESSAGE)
        await client.stream.send_eof()
        await inbound.core.entered.wait()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        inbound.core.gate.set()
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.reply() == ""


async def test_at_the_end_idle_sessions_are_told() -> None:
    async with serving() as inbound, client_of(inbound) as fresh, client_of(inbound) as busy:
        await busy.say("EHLO c.example", "MAIL FROM:<c@c.example>", "RCPT TO:<ada@mx.example>")
        inbound.stop.cancel()
        for client in (fresh, busy):
            assert await client.reply() == SHUTTING_DOWN
            assert await client.reply() == ""


async def test_at_the_end_a_message_under_way_is_answered_before_its_session_ends() -> None:
    async with serving() as inbound, client_of(inbound) as sending, client_of(inbound) as stored:
        inbound.core.gate = anyio.Event()
        await stored.to_content()
        await stored.send(MESSAGE)
        await inbound.core.entered.wait()
        await sending.to_content()
        await sending.send(MESSAGE[:10])
        inbound.stop.cancel()
        await refused_from_now_on(inbound.host, inbound.port)
        await sending.send(MESSAGE[10:])
        inbound.core.gate.set()
        for client in (stored, sending):
            assert (await client.reply()).startswith("250 2.0.0 ")
            assert await client.reply() == SHUTTING_DOWN
            assert await client.reply() == ""
    assert [content for _, _, content in inbound.core.messages] == [MESSAGE[:-3]] * 2


async def test_at_the_end_nobody_is_waited_for_for_ever() -> None:
    async with (
        serving(Limits(close_seconds=0.2)) as inbound,
        client_of(inbound) as sending,
        client_of(inbound) as stored,
    ):
        inbound.core.gate = anyio.Event()
        await stored.to_content()
        await stored.send(MESSAGE)
        await inbound.core.entered.wait()
        await sending.to_content()
        await sending.send(MESSAGE[:10])
        inbound.stop.cancel()
        for client in (stored, sending):
            assert await client.reply() == SHUTTING_DOWN  # not acknowledged: it is still the peer's
            assert await client.reply() == ""
    assert inbound.core.messages == []


async def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    async with serving() as inbound:
        with pytest.raises(OSError, match="in use"):
            await serve_inbound(
                host=inbound.host,
                port=inbound.port,
                hostname="mx.example",
                receiving=inbound.core,
                limits=Limits(),
                clock=inbound.clock,
                spool=lambda: inbound.spool,
            )


async def refused_from_now_on(host: str, port: int) -> None:
    """Return when nobody listens any more."""
    with anyio.fail_after(5):
        while True:
            try:
                async with await anyio.connect_tcp(host, port) as stream:
                    assert await Client(stream).reply() in {"421 4.7.0 Too many connections", ""}
            except OSError:
                return
