"""Who gets a mail: exactly to, cc and bcc, on every way out, and nobody learns of a blind copy."""

from __future__ import annotations

from typing import Any

from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive, becomes, delivered_to, read_mail, until
from tests.support.sink import Sink

from daimon_mcp.domain.tiers import Tier

WHO: dict[str, Any] = {
    "to": ["Ann <ann@example.com>", "bob@example.org"],
    "cc": {"email": "cy@example.net", "name": "Cy"},
    "bcc": "hidden@example.com, ANN@example.com",
}
EVERYONE = {"ann@example.com", "bob@example.org", "cy@example.net", "hidden@example.com"}
WORDS = {"subject": "Hello", "body": "Hi"}


async def check(daimon: Daimon, agent: Agent, sink: Sink, message_id: str, everyone: set[str] = EVERYONE) -> None:
    """Wait until it has left; then the envelopes are everyone, once each, and no header tells of the hidden ones."""
    await becomes(daimon, agent, message_id, "sent", "delivered")
    recipients = [each for stored in sink.messages for each in stored.recipients]
    assert sorted(recipients) == sorted(everyone)
    for stored in sink.messages:
        assert stored.mail_from == ROBO
        assert b"hidden" not in stored.content
        mail = read_mail(stored.content)
        assert mail["Bcc"] is None
        assert mail["From"] == f"robo <{ROBO}>"


async def test_a_send(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do("send_email", inbox=ROBO, **WHO, **WORDS)
    await check(daimon, agent, sink, sent["id"])
    mail = read_mail(sink.messages[0].content)
    assert (mail["To"], mail["Cc"]) == ("Ann <ann@example.com>, bob@example.org", "Cy <cy@example.net>")


async def test_only_hidden_recipients(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=[], bcc="hidden@example.com", **WORDS)
    await check(daimon, agent, sink, sent["id"], {"hidden@example.com"})
    assert read_mail(sink.messages[0].content)["To"] == "undisclosed-recipients:;"


async def test_a_reply_a_reply_to_all_and_a_forward(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(
        daimon, ROBO, to=f"{ROBO}, bob@example.org, robo+x@agents.localhost", headers={"Cc": "cy@example.net"}
    )
    reply = await agent.do("reply_to_message", message_id=letter, body="Yes", bcc="hidden@example.com")
    await check(daimon, agent, sink, reply["id"], {"ann@example.com", "hidden@example.com"})
    sink.messages.clear()
    to_all = await agent.do(
        "reply_to_message", message_id=letter, body="Yes, all", reply_all=True, bcc="hidden@example.com"
    )
    await check(daimon, agent, sink, to_all["id"])
    sink.messages.clear()
    forward = await agent.do("forward_message", message_id=letter, body="See", **WHO)
    await check(daimon, agent, sink, forward["id"])


async def test_a_draft(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    draft = await agent.do("create_draft", inbox=ROBO, **WHO, **WORDS)
    sent = await agent.do("send_draft", draft_id=draft["id"])
    await check(daimon, agent, sink, sent["id"])


async def test_a_scheduled_mail_and_a_scheduled_draft(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    later = await agent.do("send_email", inbox=ROBO, **WHO, **WORDS, send_at="2026-11-10T13:00:00Z")
    draft = await agent.do("create_draft", inbox=ROBO, **WHO, **WORDS, send_at="2026-11-10T14:00:00Z")
    daimon.later(3600)
    await check(daimon, agent, sink, later["id"])
    sink.messages.clear()
    daimon.later(3600)
    await check(daimon, agent, sink, draft["message_id"])


async def test_parked_mail_and_a_parked_draft(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    await daimon.upgrade(Tier.FREE)
    mail = await agent.do("send_email", inbox=ROBO, **WHO, **WORDS, park=True)
    draft = await agent.do("create_draft", inbox=ROBO, **WHO, **WORDS)
    parked = (await agent.call("send_draft", draft_id=draft["id"])).envelope["parked"]
    assert sink.connections == 0
    await daimon.upgrade(Tier.STARTER)
    await becomes(daimon, agent, parked["id"], "sent")
    await becomes(daimon, agent, mail["id"], "sent")
    recipients = sorted(each for stored in sink.messages for each in stored.recipients)
    assert recipients == sorted([*EVERYONE, *EVERYONE])
    assert all(b"hidden" not in stored.content for stored in sink.messages)


async def test_again_after_a_temporary_refusal_of_one(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "451 4.7.1 Greylisted", match="bob@", times=1)
    sent = await agent.do("send_email", inbox=ROBO, **WHO, **WORDS)

    async def tried() -> bool | None:
        message = await agent.do("get_message", message_id=sent["id"])
        waiting = [each for each in message["deliveries"] if each["status"] == "queued" and "last_reply" in each]
        return True if len(waiting) == 1 else None

    await until(daimon, tried)
    daimon.later(90)
    await check(daimon, agent, sink, sent["id"])
    assert [set(stored.recipients) for stored in sink.messages] == [EVERYONE - {"bob@example.org"}, {"bob@example.org"}]


async def test_here_and_outside_in_one_mail(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do(
        "send_email", inbox=ROBO, to=[OTHER, "ann@example.com"], bcc=["hidden@example.com", ROBO], **WORDS
    )
    assert sent["status"] == "queued"
    await check(daimon, agent, sink, sent["id"], {"ann@example.com", "hidden@example.com"})
    assert len(await delivered_to(agent, OTHER)) == 1
    assert len(await delivered_to(agent, ROBO)) == 1


async def test_a_copy_here_tells_nobody_of_the_hidden_ones(daimon: Daimon, agent: Agent) -> None:
    await agent.do("create_inbox", username="hidden")
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, bcc="hidden@agents.localhost", **WORDS)
    for address in (OTHER, "hidden@agents.localhost"):
        [copy] = await delivered_to(agent, address)
        full = await agent.call("get_message", message_id=copy["id"], include=["headers", "body_html"])
        thread = await agent.call("get_thread", thread_id=copy["thread_id"])
        for answer in (full, thread):
            shown = str(answer.envelope) + answer.text
            assert "bcc" not in shown.lower()
            assert "hidden@" not in shown
    own = await agent.do("get_message", message_id=sent["id"])
    assert own["bcc_addresses"] == ["hidden@agents.localhost"]
    assert {each["recipient"] for each in own["deliveries"]} == {OTHER, "hidden@agents.localhost"}
    thread = await agent.do("get_thread", thread_id=sent["thread_id"])
    assert "hidden@agents.localhost" not in thread["thread"]["participants"]


async def test_a_bcc_header_cannot_be_smuggled_in(agent: Agent, daimon: Daimon) -> None:
    for name in ("Bcc", "bcc", "Resent-Bcc", "To", "Content-Type", "X\r\nBcc", "X Bcc"):
        answer = await agent.call(
            "send_email", inbox=ROBO, to=OTHER, **WORDS, headers={name: "x@example.com"}, allow_duplicate=True
        )
        assert answer.error == "INVALID_REQUEST", name


async def test_an_own_header_arrives(agent: Agent, daimon: Daimon, sink: Sink) -> None:
    sent = await agent.do(
        "send_email", inbox=ROBO, to="ann@example.com", **WORDS, headers={"X-Ticket": "42"}, reply_to="Desk <d@x.org>"
    )
    await becomes(daimon, agent, sent["id"], "sent")
    mail = read_mail(sink.messages[0].content)
    assert (mail["X-Ticket"], mail["Reply-To"]) == ("42", "Desk <d@x.org>")
