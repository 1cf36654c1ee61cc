"""The log of events: that each is recorded where it happens, and how it is read, acknowledged and followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.gate import PATIENCE
from tests.support.hooks import Hooks

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import EventRecorded
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.events import MOST_CONSUMERS, StreamEvents, Told
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.keys import RevokeKey
from daimon_mcp.operations.requests import read


@pytest.fixture
async def hooks(daimon: Daimon) -> Hooks:
    return Hooks(daimon, await daimon.actor())


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        yield made


async def new_key(daimon: Daimon, actor: Actor, name: str) -> tuple[str, Actor]:
    """A new inbox and who holds its key; the inbox's id."""
    outcome = await daimon.operations.inboxes.create_inbox(actor, read(CreateInbox, {"username": name}))
    return outcome.result["id"], await daimon.operations.credentials.authenticate(outcome.result["api_key"])


def stream(hooks: Hooks, **more: object) -> AsyncGenerator[Told]:
    return hooks.daimon.operations.events.subscribe(hooks.actor, read(StreamEvents, more))


async def following(told: AsyncGenerator[Told], count: int) -> list[Told]:
    """The next events of a stream."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(told) for _ in range(count)]


async def test_mail_inside_the_server_is_told_on_both_sides_and_an_answer_as_one(agent: Agent, hooks: Hooks) -> None:
    await agent.do("create_inbox", username="ada")
    await agent.do("create_inbox", username="bob")
    await agent.do("send_email", inbox="ada@agents.localhost", to="bob@agents.localhost", subject="Hi", body="Hello")
    mail = (await agent.do("list_messages", inbox="bob@agents.localhost"))["messages"][0]
    await agent.do("reply_to_message", message_id=mail["id"], body="Hello Ada")
    names = await hooks.names()
    assert names == [
        "account.upgraded",
        "inbox.created",
        "inbox.created",
        "message.received",
        "message.delivered",
        "message.received",
        "message.reply",
        "message.delivered",
    ]
    reply = (await hooks.events(types=["message.reply"]))["events"][0]
    message = reply["data"]["message"]
    assert (reply["event"], reply["type"]) == ("message.reply", "message.reply")
    assert (message["from"], message["to"]) == ("bob@agents.localhost", ["ada@agents.localhost"])
    assert message["reply_body"] == "Hello Ada"
    assert {"body_text", "links", "cta_links", "attachments", "received_at"} <= set(message)
    assert "body_html" not in message
    assert reply["inbox_id"] == message["inbox_id"]


async def test_mail_to_outside_is_told_as_sent_and_a_new_inbox_with_its_address(agent: Agent, hooks: Hooks) -> None:
    made = await agent.do("create_inbox", username="ada")
    rung = asyncio.Event()
    hooks.daimon.operations.core.bus.subscribe(
        lambda change: rung.set() if isinstance(change, EventRecorded) and change.inbox_no else None
    )
    await agent.do("send_email", inbox=made["id"], to="ann@example.com", subject="Hi", body="Hello")
    async with asyncio.timeout(PATIENCE):
        await rung.wait()
    told = (await hooks.events(types=["message.sent", "inbox.created"]))["events"]
    assert [each["event"] for each in told] == ["inbox.created", "message.sent"]
    assert told[0]["data"]["inbox"]["address"] == "ada@agents.localhost"
    assert (told[1]["data"]["status"], told[1]["data"]["message"]["to"]) == ("sent", ["ann@example.com"])


async def test_what_the_operator_decides_and_what_ends_is_told(agent: Agent, hooks: Hooks) -> None:
    made = await agent.do("create_inbox", username="ada")
    upgrades = hooks.daimon.operations.upgrades
    asked = [(await agent.do("notify_operator", issue=f"May I do {n}?"))["approval_id"] for n in (1, 2)]
    await upgrades.decide(asked[0], approve=True, comment="", by="test")
    await upgrades.decide(asked[1], approve=False, comment="", by="test")
    await agent.do("delete_inbox", inbox=made["id"])
    assert (await hooks.names())[-3:] == ["approval.granted", "approval.rejected", "inbox.deleted"]


async def test_of_deleted_mail_ids_alone_are_told(agent: Agent, hooks: Hooks) -> None:
    made = await agent.do("create_inbox", username="ada")
    await agent.do("send_email", inbox=made["id"], to=made["address"], subject="Hi", body="Secret")
    await agent.do("delete_inbox", inbox=made["id"])
    told = (await hooks.events(types=["message.received"]))["events"][0]["data"]["message"]
    assert set(told) == {"id", "inbox_id", "thread_id", "deleted"}


async def test_a_cursor_goes_on_where_it_was_and_misses_nothing(hooks: Hooks) -> None:
    await hooks.record("inbox.created", "inbox.deleted", "inbox.created")
    first = await hooks.events()
    assert first["has_more"] is False
    assert await hooks.names(after=first["cursor"]) == []
    await hooks.record("domain.verified", "inbox.deleted", "message.sent")
    page = await hooks.events(after=first["cursor"], limit=2)
    assert [each["event"] for each in page["events"]] == ["domain.verified", "inbox.deleted"]
    assert page["has_more"] is True
    assert await hooks.names(after=page["cursor"], limit=2) == ["message.sent"]
    assert await hooks.names(after=first["cursor"], types=["message.sent"]) == ["message.sent"]
    with pytest.raises(Refused):
        await hooks.events(after="nonsense")


async def test_a_consumer_is_told_again_until_it_acknowledges(hooks: Hooks) -> None:
    await hooks.record("inbox.created", "inbox.deleted")
    seen = await hooks.events(consumer="books")
    assert [each["event"] for each in seen["events"]][-2:] == ["inbox.created", "inbox.deleted"]
    assert await hooks.events(consumer="books") == seen
    await hooks.acknowledge("books", seen["cursor"])
    assert await hooks.names(consumer="books") == []
    await hooks.record("domain.verified")
    later = await hooks.events(consumer="books")
    assert [each["event"] for each in later["events"]] == ["domain.verified"]
    await hooks.acknowledge("books", later["cursor"])
    assert (await hooks.acknowledge("books", seen["cursor"]))["cursor"] == later["cursor"]  # never back
    assert await hooks.names(consumer="other") == [*(e["event"] for e in seen["events"]), "domain.verified"]
    with pytest.raises(Refused):
        await hooks.events(consumer="books", after=seen["cursor"])


async def test_an_account_has_so_many_consumers(hooks: Hooks) -> None:
    await hooks.record("inbox.created")
    place = (await hooks.events())["cursor"]
    for n in range(MOST_CONSUMERS):
        await hooks.acknowledge(f"c{n}", place)
    with pytest.raises(Refused) as refused:
        await hooks.acknowledge("one-more", place)
    assert refused.value.fields[0].field == "consumer"
    await hooks.acknowledge("c7", place)


async def test_waiting_ends_with_the_event(hooks: Hooks) -> None:
    start = (await hooks.events())["cursor"]
    waiting = asyncio.ensure_future(hooks.events(after=start, types=["domain.verified"], wait_seconds=60))
    await asyncio.sleep(0)
    await hooks.record("inbox.created", "domain.verified")
    async with asyncio.timeout(PATIENCE):
        found = await waiting
    assert [each["event"] for each in found["events"]] == ["domain.verified"]


async def test_who_may_not_read_mail_is_not_told_of_it(daimon: Daimon, hooks: Hooks) -> None:
    await hooks.record("message.received", "inbox.created", inbox_id="inb_1", message_id="msg_1", thread_id="thr_1")
    blind = Actor(hooks.actor.account_no, hooks.actor.account_id, permissions=frozenset({"event_read"}))
    assert (await Hooks(daimon, blind).names())[-1:] == ["inbox.created"]
    assert "message.received" not in await Hooks(daimon, blind).names()
    none = Actor(hooks.actor.account_no, hooks.actor.account_id, permissions=frozenset({"message_read"}))
    with pytest.raises(Refused) as refused:
        await Hooks(daimon, none).events()
    assert refused.value.facts["permission"] == "event_read"


async def test_an_inbox_key_hears_of_its_inbox_alone(daimon: Daimon, hooks: Hooks) -> None:
    ada, key = await new_key(daimon, hooks.actor, "ada")
    bob, _ = await new_key(daimon, hooks.actor, "bob")
    adas = Hooks(daimon, key)
    told = (await adas.events())["events"]
    assert [(each["event"], each["inbox_id"]) for each in told] == [("inbox.created", ada)]
    with pytest.raises(Refused) as refused:
        await adas.events(inbox=bob)
    assert refused.value.code is RefusalCode.INBOX_NOT_FOUND
    assert [each["inbox_id"] for each in (await hooks.events(inbox_id=bob))["events"]] == [bob]


async def test_a_stream_tells_live_and_resumes_by_cursor(hooks: Hooks) -> None:
    start = (await hooks.events())["cursor"]
    async with aclosing(stream(hooks, after=start, types=["inbox.deleted", "domain.verified"])) as told:
        first = asyncio.ensure_future(following(told, 2))
        await asyncio.sleep(0)
        await hooks.record("inbox.deleted", "inbox.created", "domain.verified")
        seen = await first
    assert [each.event["event"] for each in seen] == ["inbox.deleted", "domain.verified"]
    await hooks.record("inbox.deleted")
    async with aclosing(stream(hooks, after=seen[0].cursor)) as told:
        rest = await following(told, 3)
    assert [each.event["event"] for each in rest] == ["inbox.created", "domain.verified", "inbox.deleted"]


async def test_a_stream_without_a_cursor_begins_now(hooks: Hooks) -> None:
    await hooks.record("inbox.created")
    async with aclosing(stream(hooks)) as told:
        first = asyncio.ensure_future(following(told, 1))
        while not first.done():  # the stream listens from some moment on
            await hooks.record("domain.verified")
        assert first.result()[0].event["event"] == "domain.verified"


async def test_a_stream_of_many_pages_loses_none(hooks: Hooks) -> None:
    start = (await hooks.events())["cursor"]
    await hooks.record(*["inbox.created"] * 120)
    async with aclosing(stream(hooks, after=start)) as told:
        seen = await following(told, 120)
        assert len({each.event["event_id"] for each in seen}) == 120


@pytest.mark.parametrize("how", ["revoked", "suspended", "inbox_deleted", "expired"])
async def test_a_stream_ends_with_the_right_to_it(daimon: Daimon, hooks: Hooks, how: str) -> None:
    inbox_id, key = await new_key(daimon, hooks.actor, "ada")
    operations = daimon.operations
    if how == "expired":
        assert daimon.clock is not None
        until = daimon.clock.now() + 60_000_000
        await operations.core.database.write(
            lambda tx: tx._connection.execute("UPDATE keys SET expires_at = ?", (until,))  # pyright: ignore[reportPrivateUsage]
        )
    told = stream(Hooks(daimon, key), after=(await hooks.events())["cursor"])
    await hooks.record("domain.verified", inbox_no=key.inbox_no)
    assert (await following(told, 1))[0].event["event"] == "domain.verified"
    ended = asyncio.ensure_future(anext(told, None))
    await asyncio.sleep(0)
    assert key.key_id is not None
    match how:
        case "revoked":
            await operations.keys.revoke_key(hooks.actor, RevokeKey(key_id=key.key_id))
        case "suspended":
            await operations.upgrades.set_status(hooks.actor.account_id, AccountStatus.SUSPENDED)
        case "expired":
            daimon.later(61)
            await hooks.record("inbox.created", inbox_no=key.inbox_no)
        case _:
            async with daimon.agent() as agent:
                await agent.do("delete_inbox", inbox=inbox_id)
    async with asyncio.timeout(PATIENCE):
        assert await ended is None
