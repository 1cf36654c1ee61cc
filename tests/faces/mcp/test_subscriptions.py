"""Clients are told when what they watch has changed, on both protocol eras, over every transport; nobody else is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    EmptyResult,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)
from tests.faces.mcp.kit import (
    ERAS,
    FREE_SENDS,
    HANDSHAKES,
    MODERN,
    Wire,
    arrive,
    end_owner,
    key,
    over_http,
    over_sse,
    over_stdio,
    stranger,
    wired,
)  # fmt: skip
from tests.support.daimon import Agent, Daimon, running

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.mcp import notifications
from daimon_mcp.faces.mcp.notifications import MOST_WATCHED, Watcher
from daimon_mcp.operations.inboxes import CreateInbox, DeleteInbox
from daimon_mcp.operations.keys import CreateKey, RevokeKey
from daimon_mcp.store import inboxes

LIST = "the list"
LEGACY = "legacy"
TRANSPORTS = [(over_http, LEGACY), (over_http, MODERN), (over_sse, LEGACY), (over_sse, MODERN)]


class Ears:
    """What a client was told, in order: URIs, and `LIST` for its list of resources."""

    def __init__(self, era: str) -> None:
        self._era = era
        self._said: list[str] = []
        self._more = anyio.Event()

    async def __call__(self, message: Any) -> None:
        """The handler of the older revisions' notifications."""
        if self._era != LEGACY:  # what a stream says is told here too
            return
        if isinstance(message, ResourceUpdatedNotification):
            self.hear(message.params.uri)
        elif isinstance(message, ResourceListChangedNotification):
            self.hear(LIST)

    def hear(self, what: str) -> None:
        self._said.append(what)
        self._more.set()

    async def next(self) -> str:
        with anyio.fail_after(10):
            while not self._said:
                self._more = anyio.Event()
                await self._more.wait()
        return self._said.pop(0)

    async def all_of(self, *expected: str) -> None:
        """Wait until all of these were heard at least once, in any order; nothing else may be."""
        left = set(expected)
        while left:
            heard = await self.next()
            assert heard in expected, heard
            left.discard(heard)

    async def until(self, wanted: str) -> list[str]:
        """All that is heard up to what is wanted."""
        heard = [await self.next()]
        while heard[-1] != wanted:
            heard.append(await self.next())
        return heard

    @property
    def waiting(self) -> int:
        """How much was heard and not asked for."""
        return len(self._said)


async def subscribe(client: Client, uri: str) -> None:
    request = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
    await client.session.send_request(request, EmptyResult)


async def unsubscribe(client: Client, uri: str) -> None:
    request = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
    await client.session.send_request(request, EmptyResult)


@asynccontextmanager
async def watching(client: Client, ears: Ears, *uris: str, lists: bool = False) -> AsyncGenerator[None]:
    """Watch as the client's era does it. `lists` is for the newer: older sessions hear of their list unasked."""
    if client.protocol_version in HANDSHAKES:
        for uri in uris:
            await subscribe(client, uri)
        yield
        for uri in uris:
            await unsubscribe(client, uri)
        return
    async with (
        client.listen(resource_subscriptions=uris, resources_list_changed=lists) as stream,
        anyio.create_task_group() as tasks,
    ):
        assert stream.honored.resource_subscriptions == (list(uris) or None)

        async def pump() -> None:
            async for event in stream:
                ears.hear(event.uri if isinstance(event, ResourceUpdated) else LIST)

        tasks.start_soon(pump)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def in_memory(daimon: Daimon, era: str) -> AsyncGenerator[tuple[Agent, Ears]]:
    """A client of this machine's own account, and its ears."""
    ears = Ears(era)
    async with Client(daimon.app.mcp_server("full"), mode=era, message_handler=ears) as client:
        yield Agent(client), ears


def subscribers(daimon: Daimon) -> int:
    """Who listens to the bus."""
    return len(daimon.operations.core.bus._subscribers)  # pyright: ignore[reportPrivateUsage]


async def mail_in(agent: Agent, inbox: str) -> dict[str, Any]:
    """The newest message of an inbox."""
    return (await agent.do("list_messages", inbox=inbox))["messages"][0]


async def reached(daimon: Daimon, ears: Ears, address: str, uri: str) -> None:
    """Let mail come until it is told: what is said before an older client has opened its channel is lost by design."""
    with anyio.fail_after(20):
        while True:
            await arrive(daimon, address)
            with anyio.move_on_after(2):
                assert await ears.next() == uri
                return


# -- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_mail_that_arrives_is_told_by_every_spelling(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        spellings = [f"inbox://{inbox['id']}", f"inbox://{inbox['address']}", "inbox://MINE%40agents.localhost"]
        async with watching(agent.client, ears, *spellings):
            await arrive(daimon, inbox["address"])
            await ears.all_of(*spellings)
            message = await mail_in(agent, inbox["id"])
            thread = f"thread://{message['thread_id']}"
            async with watching(agent.client, ears, thread):
                await arrive(
                    daimon, inbox["address"], subject="Re: Hello", In_Reply_To=message["message_id"],
                    References=message["message_id"],
                )  # fmt: skip
                await ears.all_of(thread, *spellings)


@pytest.mark.parametrize("era", ERAS)
async def test_a_thread_that_became_part_of_another_is_still_watched(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        await arrive(daimon, inbox["address"], subject="Plan", References="<long@x>")
        await arrive(daimon, inbox["address"], subject="Plan", References="<long@x>")
        await arrive(daimon, inbox["address"], subject="Plan", References="<short@x>")
        short = await mail_in(agent, inbox["id"])
        thread = f"thread://{short['thread_id']}"
        async with watching(agent.client, ears, thread):
            await arrive(daimon, inbox["address"], subject="Plan", References="<long@x> <short@x>")
            await ears.all_of(thread)
            assert (await mail_in(agent, inbox["id"]))["thread_id"] != short["thread_id"]
            await arrive(daimon, inbox["address"], subject="Plan", References="<long@x>")
            await ears.all_of(thread)


@pytest.mark.parametrize("era", ERAS)
async def test_what_happens_to_a_message_is_told(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        await arrive(daimon, inbox["address"])
        await arrive(daimon, inbox["address"], subject="Another")
        other, message = (await agent.do("list_messages", inbox=inbox["id"]))["messages"]
        assert other["subject"] == "Another"
        watched = [f"inbox://{inbox['id']}", f"message://{message['id']}", f"thread://{message['thread_id']}"]
        async with watching(agent.client, ears, *watched):
            for tool, arguments in (
                ("get_message", {}),
                ("update_message", {"add_labels": ["invoice"]}),
                ("update_message", {"read": False}),
                ("update_message", {"move_to": "trash"}),
            ):
                await agent.do(tool, message_id=message["id"], **arguments)
                await ears.all_of(*watched)
            await agent.do("get_message", message_id=other["id"])
            assert await ears.next() == watched[0]
            # Reading a resource changes nothing, and so tells nothing: the next that is heard is the label.
            for uri in watched:
                await agent.client.read_resource(uri)
            await agent.do("update_message", message_id=message["id"], add_labels=["done"])
            await ears.all_of(*watched)
        assert ears.waiting == 0


@pytest.mark.parametrize("era", ERAS)
async def test_a_deleted_message_is_told(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        await arrive(daimon, inbox["address"])
        message = await mail_in(agent, inbox["id"])
        watched = [f"inbox://{inbox['id']}", f"message://{message['id']}", f"thread://{message['thread_id']}"]
        async with watching(agent.client, ears, *watched):
            await agent.do("delete_message", message_id=message["id"], permanent=True)
            await ears.all_of(*watched)


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_sent_is_told_to_both_ends_and_counted(tmp_path: Path, era: str) -> None:
    async with running(tmp_path / "data", FREE_SENDS) as daimon, in_memory(daimon, era) as (agent, ears):
        mine = await agent.do("create_inbox", username="mine")
        theirs = await agent.do("create_inbox", username="theirs")
        watched = [f"inbox://{mine['id']}", f"inbox://{theirs['id']}", "account://"]
        async with watching(agent.client, ears, *watched):
            await agent.do("send_email", inbox=mine["id"], to=theirs["address"], subject="Hi", body="Word.")
            heard: set[str] = set()
            while not heard >= set(watched):
                heard.add(await ears.next())
            assert heard <= {*watched, LIST}


@pytest.mark.parametrize("era", ERAS)
async def test_the_account_is_told_of_its_tier_and_inboxes_and_not_of_mail(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        async with watching(agent.client, ears, "account://"):
            await arrive(daimon, inbox["address"])
            await daimon.upgrade(Tier.PRO)
            assert await ears.next() == "account://"
            await agent.do("create_inbox", username="second")
            assert (await ears.until("account://"))[-1] == "account://"


@pytest.mark.parametrize("era", ERAS)
async def test_the_list_is_told_when_inboxes_come_and_go(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears), watching(agent.client, ears, lists=True):
        assert len((await agent.client.list_resources()).resources) == 1
        inbox = await agent.do("create_inbox", username="mine")
        assert await ears.next() == LIST
        assert len((await agent.client.list_resources()).resources) == 2
        await arrive(daimon, inbox["address"])
        await agent.do("delete_inbox", inbox=inbox["id"])
        assert await ears.next() == LIST
        assert ears.waiting == 0
        assert len((await agent.client.list_resources()).resources) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_deleted_inbox_is_told_once_more_and_then_never(daimon: Daimon, era: str) -> None:
    async with in_memory(daimon, era) as (agent, ears):
        inbox = await agent.do("create_inbox", username="gone")
        other = await agent.do("create_inbox", username="other")
        gone, kept = f"inbox://{inbox['id']}", f"inbox://{other['id']}"
        async with watching(agent.client, ears, kept), watching(agent.client, ears, gone):
            await agent.do("delete_inbox", inbox=inbox["id"])
            await ears.until(gone)
            await arrive(daimon, other["address"])
            assert set(await ears.until(kept)) <= {kept, LIST}


# -- to whom it is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transport", "era"), TRANSPORTS)
async def test_nobody_learns_of_anothers_mail(serving: Daimon, transport: Callable[..., Any], era: str) -> None:
    their_key, address = await stranger(serving)
    await arrive(serving, address)
    async with over_http(serving.url, their_key, era) as theirs:
        message = await mail_in(theirs, address)
    foreign = [
        f"inbox://{message['inbox_id']}", f"inbox://{address}", f"message://{message['id']}",
        f"thread://{message['thread_id']}",
    ]  # fmt: skip
    unknown = ["inbox://inb_none", "message://msg_none", "thread://thr_none", "x://y"]
    ears = Ears(era)
    async with transport(serving.url, await key(serving), era, message_handler=ears) as agent:
        inbox = await agent.do("create_inbox", username="mine")
        own = f"inbox://{inbox['id']}"
        if era == LEGACY:
            for uri in (*foreign, *unknown):
                with pytest.raises(MCPError) as raised:
                    await subscribe(agent.client, uri)
                assert (raised.value.error.code, raised.value.error.message) == (-32002, "Resource not found")
            await subscribe(agent.client, own)
            await reached(serving, ears, inbox["address"], own)
            await _only_own_is_heard(serving, ears, address, inbox["address"], own)
        else:
            wanted = [*foreign, own, *unknown]
            async with agent.client.listen(resource_subscriptions=wanted, resources_list_changed=True) as stream:
                assert stream.honored.resource_subscriptions == [own]
                async with anyio.create_task_group() as tasks:

                    async def pump() -> None:
                        async for event in stream:
                            ears.hear(event.uri if isinstance(event, ResourceUpdated) else LIST)

                    tasks.start_soon(pump)
                    await _only_own_is_heard(serving, ears, address, inbox["address"], own)
                    tasks.cancel_scope.cancel()


async def _only_own_is_heard(serving: Daimon, ears: Ears, theirs: str, mine: str, own: str) -> None:
    """Their mail comes first, and their list changes; what is heard first is ours all the same."""
    await arrive(serving, theirs)
    there = await serving.operations.inboxes.create_inbox(await _of(serving, theirs), CreateInbox(username="more"))
    await arrive(serving, there.result["address"])
    await arrive(serving, mine)
    assert await ears.next() == own
    assert ears.waiting == 0


async def _of(daimon: Daimon, address: str) -> Actor:
    """The actor that an inbox belongs to."""
    inbox = await inboxes.by_address(daimon.operations.core.database, address)
    assert inbox is not None
    return Actor(inbox.account_no, "acc_stranger")


async def test_an_inbox_key_hears_of_its_inbox_alone(serving: Daimon) -> None:
    async with over_http(serving.url, await key(serving)) as whole:
        mine = await whole.do("create_inbox", username="mine")
        other = await whole.do("create_inbox", username="other")
    async with over_http(serving.url, mine["api_key"]) as narrow:
        wanted = [f"inbox://{other['id']}", f"inbox://{mine['id']}", "account://"]
        async with narrow.client.listen(resource_subscriptions=wanted, resources_list_changed=True) as stream:
            assert stream.honored.resource_subscriptions == wanted[1:]
            await arrive(serving, other["address"])
            await serving.operations.inboxes.delete_inbox(await serving.actor(), DeleteInbox(inbox=other["id"]))
            await arrive(serving, mine["address"])
            with anyio.fail_after(10):
                event = await anext(stream)
            assert event == ResourceUpdated(wanted[1])


# -- keys that end ---------------------------------------------------------------------------------------------------


async def made_key(daimon: Daimon) -> tuple[str, str]:
    """A further key of this machine's own account, and its id."""
    actor = await daimon.actor()
    made = await daimon.operations.keys.create_key(actor, CreateKey(name="x"))
    return made.result["api_key"], made.result["id"]


async def test_a_stream_ends_when_its_key_is_revoked(serving: Daimon) -> None:
    api_key, key_id = await made_key(serving)
    async with (
        over_http(serving.url, api_key) as agent,
        agent.client.listen(resource_subscriptions=["account://"]) as stream,
    ):
        await serving.operations.keys.revoke_key(await serving.actor(), RevokeKey(key_id=key_id))
        with anyio.fail_after(10):
            assert [event async for event in stream] == []


async def test_a_stream_of_an_inbox_key_ends_with_the_inbox(serving: Daimon) -> None:
    async with over_http(serving.url, await key(serving)) as whole:
        inbox = await whole.do("create_inbox", username="mine")
    uri = f"inbox://{inbox['id']}"
    async with (
        over_http(serving.url, inbox["api_key"]) as narrow,
        narrow.client.listen(resource_subscriptions=[uri]) as stream,
    ):
        await serving.operations.inboxes.delete_inbox(await serving.actor(), DeleteInbox(inbox=inbox["id"]))
        with anyio.fail_after(10):
            assert [event async for event in stream] == []


@asynccontextmanager
async def watcher(daimon: Daimon, who: Callable[[], Awaitable[Actor]], *uris: str) -> AsyncGenerator[Watcher]:
    actor = await who()
    made = Watcher(daimon.operations, actor, who, lists=True)
    for uri in uris:
        assert await made.add(uri, actor)
    try:
        yield made
    finally:
        made.close()


async def test_a_revoked_or_suspended_key_is_told_nothing(daimon: Daimon) -> None:
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="mine"))
    address = inbox.result["address"]
    api_key, key_id = await made_key(daimon)

    async def who() -> Actor:
        return await daimon.operations.credentials.authenticate(api_key)

    async with watcher(daimon, who, f"inbox://{address}") as made:
        account = (await daimon.actor()).account_id
        await daimon.operations.upgrades.set_status(account, AccountStatus.SUSPENDED)
        await arrive(daimon, address)
        with anyio.fail_after(10), pytest.raises(Refused) as raised:
            await made.next()
        assert raised.value.code is RefusalCode.ACCOUNT_SUSPENDED
        await daimon.operations.upgrades.set_status(account, AccountStatus.ACTIVE)
        await arrive(daimon, address)
        with anyio.fail_after(10):
            assert await made.next() == [ResourceUpdated(f"inbox://{address}")]
        await daimon.operations.keys.revoke_key(await daimon.actor(), RevokeKey(key_id=key_id))
        await arrive(daimon, address)
        with anyio.fail_after(10), pytest.raises(Refused) as raised:
            await made.next()
        assert raised.value.code is RefusalCode.UNAUTHORIZED


async def test_what_could_not_be_checked_is_told_later(daimon: Daimon) -> None:
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="mine"))
    address = inbox.result["address"]
    away = True

    async def who() -> Actor:
        if made and away:
            raise Refused(RefusalCode.STORE_UNAVAILABLE)
        return await daimon.actor()

    made: list[Watcher] = []
    async with watcher(daimon, who, f"inbox://{address}", "account://") as one:
        made.append(one)
        await arrive(daimon, address)
        with anyio.fail_after(10), pytest.raises(Refused):
            await one.next()
        away = False
        await daimon.upgrade(Tier.PRO)
        with anyio.fail_after(10):
            assert await one.next() == [ResourceUpdated(f"inbox://{address}"), ResourceUpdated("account://")]


async def test_what_was_deleted_is_watched_no_more(daimon: Daimon) -> None:
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="gone"))
    spellings = [f"inbox://{inbox.result['id']}", f"inbox://{inbox.result['address']}"]
    async with watcher(daimon, daimon.actor, *spellings, "account://") as made:
        await daimon.operations.inboxes.delete_inbox(await daimon.actor(), DeleteInbox(inbox=inbox.result["id"]))
        with anyio.fail_after(10):
            told = await made.next()
        assert told == [*map(ResourceUpdated, (*spellings, "account://")), ResourcesListChanged()]
        assert made.watched == ["account://"]


# -- how much --------------------------------------------------------------------------------------------------------


async def test_a_burst_is_one_notice(daimon: Daimon) -> None:
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="mine"))
    uri = f"inbox://{inbox.result['id']}"
    async with watcher(daimon, daimon.actor, uri) as made:
        for _ in range(20):
            await arrive(daimon, inbox.result["address"])
        with anyio.fail_after(10):
            assert await made.next() == [ResourceUpdated(uri)]
        made.remove(uri)
        await arrive(daimon, inbox.result["address"])
        await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="second"))
        with anyio.fail_after(10):
            assert [type(each).__name__ for each in await made.next()] == ["ResourcesListChanged"]


async def test_a_session_watches_no_more_than_it_may(daimon: Daimon) -> None:
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="mine"))
    many = [f"inbox://mine+{n}@agents.localhost" for n in range(MOST_WATCHED + 1)]
    async with wired(daimon.app.mcp_server("full"), HANDSHAKES[-1]) as wire:
        for uri in many[:-1]:
            assert "result" in await wire.ask("resources/subscribe", {"uri": uri})
        assert "result" in await wire.ask("resources/subscribe", {"uri": many[0]})  # again, which is no more
        assert (await wire.ask("resources/subscribe", {"uri": many[-1]}))["error"]["code"] == INVALID_PARAMS
        await wire.ask("resources/unsubscribe", {"uri": many[0]})
        assert "result" in await wire.ask("resources/subscribe", {"uri": many[-1]})
        await wire.ask("resources/unsubscribe", {"uri": "inbox://never"})
    async with wired(daimon.app.mcp_server("full"), MODERN) as wire:
        error = (await wire.ask("subscriptions/listen", {"notifications": {"resourceSubscriptions": many}}))["error"]
        assert error["code"] == INVALID_PARAMS
    assert inbox.result["id"]


async def test_an_account_has_no_more_streams_than_it_may(daimon: Daimon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "MOST_STREAMS", 2)
    before = subscribers(daimon)
    async with in_memory(daimon, MODERN) as (agent, _):
        client = agent.client
        async with client.listen(resource_subscriptions=["account://"]):
            async with client.listen(resource_subscriptions=["account://"]):
                with pytest.raises(MCPError) as raised:
                    async with client.listen(resource_subscriptions=["account://"]):
                        pass
                assert raised.value.error.code == INTERNAL_ERROR
            await _until(lambda: subscribers(daimon) == before + 1)
            async with client.listen(resource_subscriptions=["account://"]):
                pass


async def _until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds that no event tells of: that the other side has cleaned up."""
    with anyio.fail_after(10):
        while not holds():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("era", ERAS)
async def test_nothing_is_left_of_a_session_that_ended(daimon: Daimon, era: str) -> None:
    before = subscribers(daimon)
    async with in_memory(daimon, era) as (agent, ears), watching(agent.client, ears, "account://", lists=True):
        assert subscribers(daimon) == before + 1
    await _until(lambda: subscribers(daimon) == before)


async def test_an_older_session_that_never_looked_is_told_nothing(daimon: Daimon) -> None:
    before = subscribers(daimon)
    async with in_memory(daimon, LEGACY) as (agent, _):
        await agent.do("create_inbox", username="mine")
        assert subscribers(daimon) == before
        await agent.client.list_resources()
        assert subscribers(daimon) == before + 1


async def test_an_older_session_is_told_only_while_it_watches(daimon: Daimon) -> None:
    async with in_memory(daimon, LEGACY) as (agent, ears):
        inbox = await agent.do("create_inbox", username="mine")
        uri = f"inbox://{inbox['id']}"
        await subscribe(agent.client, uri)
        await subscribe(agent.client, "account://")
        await unsubscribe(agent.client, uri)
        await arrive(daimon, inbox["address"])
        await daimon.upgrade(Tier.PRO)
        assert await ears.next() == "account://"


# -- on the wire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [*HANDSHAKES, MODERN])
async def test_what_is_promised_is_what_is_kept(daimon: Daimon, version: str) -> None:
    async with wired(daimon.app.mcp_server("core"), MODERN) as wire:  # says `initialize` itself
        if version == MODERN:
            capabilities = (await wire.ask("server/discover"))["result"]["capabilities"]
        else:
            who = {"name": "t", "version": "1"}
            params = {"protocolVersion": version, "capabilities": {}, "clientInfo": who}
            await wire.say({"id": 1, "method": "initialize", "params": params})
            answer = (await wire.receive())["result"]
            assert answer["protocolVersion"] == version
            capabilities = answer["capabilities"]
        assert capabilities.pop("completions", {}) == {}
        assert capabilities == {
            "tools": {"listChanged": False},
            "prompts": {"listChanged": False},
            "resources": {"subscribe": True, "listChanged": True},
        }


@pytest.mark.parametrize("version", HANDSHAKES)
async def test_the_notice_of_the_older_revisions(daimon: Daimon, version: str) -> None:
    async with wired(daimon.app.mcp_server("full"), version) as wire:
        assert "error" in await wire.ask("subscriptions/listen", {"notifications": {}})
        assert (await wire.ask("resources/subscribe", {"uri": "account://"}))["result"] == {}
        await daimon.upgrade(Tier.PRO)
        assert await _next_notice(wire) == {
            "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "account://"},
        }  # fmt: skip


async def _next_notice(wire: Wire) -> dict[str, Any]:
    return wire.notifications.pop(0) if wire.notifications else await wire.receive()


async def test_the_stream_of_the_newest_revision(daimon: Daimon) -> None:
    async with wired(daimon.app.mcp_server("full"), MODERN) as wire:
        assert "error" in await wire.ask("resources/subscribe", {"uri": "account://"})
        wanted = {
            "toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True,
            "resourceSubscriptions": ["account://", "inbox://inb_none"],
        }  # fmt: skip
        params = wire.stamped({"notifications": wanted})
        await wire.say({"id": "s-1", "method": "subscriptions/listen", "params": params})
        acknowledged = await wire.receive()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        # Tools and prompts never change, and what is not there is not watched.
        assert acknowledged["params"]["notifications"] == {
            "resourcesListChanged": True, "resourceSubscriptions": ["account://"],
        }  # fmt: skip
        tag = {"io.modelcontextprotocol/subscriptionId": "s-1"}
        assert acknowledged["params"]["_meta"] == tag
        await daimon.upgrade(Tier.PRO)
        updated = await wire.receive()
        assert (updated["method"], updated["params"]) == (
            "notifications/resources/updated", {"uri": "account://", "_meta": tag},
        )  # fmt: skip


# -- over every transport --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transport", "era"), TRANSPORTS)
async def test_over_http(serving: Daimon, transport: Callable[..., Any], era: str) -> None:
    ears = Ears(era)
    before = subscribers(serving)
    async with transport(serving.url, await key(serving), era, message_handler=ears) as agent:
        inbox = await agent.do("create_inbox", username="mine")
        uri = f"inbox://{inbox['id']}"
        async with watching(agent.client, ears, uri):
            await reached(serving, ears, inbox["address"], uri)
            for _ in range(3):
                await arrive(serving, inbox["address"])
                assert await ears.next() == uri
    await _until(lambda: subscribers(serving) == before)


@pytest.mark.parametrize("era", ERAS)
async def test_through_the_bridge_and_over_the_death_of_an_owner(tmp_path: Path, era: str) -> None:
    folder = tmp_path / "data"
    ears = Ears(era)
    try:
        async with (
            over_stdio(folder, "--profile", "full", mode=era, message_handler=ears) as agent,
            over_stdio(folder, "--profile", "full") as other,
        ):
            mine = await agent.do("create_inbox", username="mine")
            theirs = await other.do("create_inbox", username="theirs")
            uri = f"inbox://{mine['id']}"
            async with watching(agent.client, ears, uri):
                await other.do("send_email", inbox=theirs["id"], to=mine["address"], subject="One", body="Word.")
                assert set(await ears.until(uri)) <= {uri, LIST}
                await end_owner(folder)
                assert (await agent.do("list_inboxes"))["total"] == 2  # there is an owner again
                await other.do("send_email", inbox=theirs["id"], to=mine["address"], subject="Two", body="Word.")
                assert set(await ears.until(uri)) <= {uri, LIST}
    finally:
        await end_owner(folder)
    assert "Traceback" not in (folder / "owner.log").read_text()
