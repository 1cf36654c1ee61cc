"""What a key may see and do. What it may not see does not exist for it, and answers exactly like that."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.mcp.tool import Call
from daimon_mcp.faces.mcp.tools import ALL
from daimon_mcp.operations.core import Outcome
from daimon_mcp.operations.credentials import PERMISSIONS
from daimon_mcp.operations.keys import CreateKey, RevokeKey
from daimon_mcp.operations.requests import read
from daimon_mcp.store import accounts

AT = "2026-11-10T13:00:00Z"
TOOLS = {tool.name: tool for tool in ALL}


async def stranger(daimon: Daimon) -> Actor:
    """Another account with an inbox of its own."""
    now = daimon.operations.core.clock.now()
    public_id = new_id("acc", now)
    number = await daimon.operations.core.database.write(
        lambda tx: accounts.insert_account(tx, id=public_id, kind="agent", now=now)
    )
    actor = Actor(number, public_id)
    await daimon.upgrade(Tier.PRO, actor)
    await run(daimon, actor, "create_inbox", username="stranger")
    return actor


async def run(daimon: Daimon, actor: Actor, tool: str, **arguments: Any) -> Outcome:
    """A tool as another actor. Raises Refused."""
    spec = TOOLS[tool]
    call: Call[Any] = Call(daimon.operations, actor, read(spec.request, arguments), None)
    return await spec.run(call)


async def said(daimon: Daimon, actor: Actor, tool: str, **arguments: Any) -> dict[str, Any]:
    """The envelope of a call that is refused."""
    with pytest.raises(Refused) as refused:
        await run(daimon, actor, tool, **arguments)
    return await daimon.refusal(refused.value, actor)


async def inbox_key(daimon: Daimon, agent: Agent, username: str) -> Actor:
    made = await agent.do("create_inbox", username=username)
    return await daimon.operations.credentials.authenticate(made["api_key"])


async def everything_of(daimon: Daimon, agent: Agent) -> dict[str, str]:
    """One of each thing that has an id, in robo's inbox."""
    [letter] = await arrive(daimon, ROBO)
    thread = (await agent.do("get_message", message_id=letter))["thread_id"]
    draft = await agent.do("create_draft", inbox=ROBO, to=OTHER, subject="s", body="b")
    scheduled = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", send_at=AT)
    approval = await agent.do("notify_operator", issue="May I?")
    return {
        "inbox": (await agent.do("get_inbox", inbox=ROBO))["id"],
        "message": letter,
        "thread": thread,
        "draft": draft["id"],
        "scheduled": scheduled["id"],
        "approval": approval["approval_id"],
        "domain": (await agent.do("create_domain", domain="agents.example.com"))["id"],
        "webhook": (await agent.do("create_webhook", url=HOOK, events=["message.received"]))["id"],
    }


HOOK = "https://hooks.example.com/mail"
WORDS = {"subject": "s", "body": "b"}
BY_ID: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
    ("inbox", "get_inbox", lambda id: {"inbox": id}),
    ("inbox", "delete_inbox", lambda id: {"inbox": id}),
    ("inbox", "list_messages", lambda id: {"inbox": id}),
    ("inbox", "search_messages", lambda id: {"inbox": id, "query": "x"}),
    ("inbox", "wait_for_message", lambda id: {"inbox": id, "timeout_seconds": 0}),
    ("inbox", "list_drafts", lambda id: {"inbox": id}),
    ("inbox", "create_draft", lambda id: {"inbox": id, **WORDS}),
    ("inbox", "send_email", lambda id: {"inbox": id, "to": OTHER, **WORDS}),
    ("message", "get_message", lambda id: {"message_id": id}),
    ("message", "explain_delivery", lambda id: {"message_id": id}),
    ("message", "reply_to_message", lambda id: {"message_id": id, "body": "b"}),
    ("message", "forward_message", lambda id: {"message_id": id, "to": OTHER}),
    ("message", "create_draft", lambda id: {"reply_to_message": id}),
    ("message", "create_draft", lambda id: {"forward_of": id}),
    ("message", "send_email", lambda id: {"to": OTHER, **WORDS, "in_reply_to": id}),
    ("message", "create_draft", lambda id: {**WORDS, "in_reply_to": id}),
    ("thread", "get_thread", lambda id: {"thread_id": id}),
    ("thread", "list_messages", lambda id: {"thread_id": id}),
    ("thread", "wait_for_message", lambda id: {"thread_id": id, "timeout_seconds": 0}),
    ("thread", "send_email", lambda id: {"to": OTHER, **WORDS, "thread_id": id}),
    ("thread", "create_draft", lambda id: {**WORDS, "thread_id": id}),
    ("draft", "get_draft", lambda id: {"draft_id": id}),
    ("draft", "update_draft", lambda id: {"draft_id": id, "subject": "x"}),
    ("draft", "delete_draft", lambda id: {"draft_id": id}),
    ("draft", "send_draft", lambda id: {"draft_id": id}),
    ("scheduled", "cancel_scheduled", lambda id: {"message_id": id}),
    ("approval", "get_approval", lambda id: {"approval_id": id}),
    ("domain", "get_domain", lambda id: {"domain": id}),
    ("domain", "verify_domain", lambda id: {"domain": id}),
    ("domain", "delete_domain", lambda id: {"domain": id}),
    ("webhook", "update_webhook", lambda id: {"webhook_id": id, "status": "disabled"}),
    ("webhook", "test_webhook", lambda id: {"webhook_id": id}),
    ("webhook", "delete_webhook", lambda id: {"webhook_id": id}),
]
PREFIXES = {
    "inbox": "inb", "message": "msg", "thread": "thr", "draft": "dft", "scheduled": "msg", "approval": "apr",
    "domain": "dom", "webhook": "wh",
}  # fmt: skip


async def test_what_is_another_accounts_answers_like_what_is_not_there(daimon: Daimon, agent: Agent) -> None:
    theirs = await everything_of(daimon, agent)
    actor = await stranger(daimon)
    now = daimon.operations.core.clock.now()
    for kind, tool, arguments in BY_ID:
        foreign = await said(daimon, actor, tool, **arguments(theirs[kind]))
        unknown = await said(daimon, actor, tool, **arguments(new_id(PREFIXES[kind], now)))
        assert foreign == unknown, tool
        assert foreign["error"].endswith("_NOT_FOUND"), tool
    by_address = await said(daimon, actor, "get_inbox", inbox=ROBO)
    assert by_address == await said(daimon, actor, "get_inbox", inbox="nobody@agents.localhost")


async def test_an_inbox_key_sees_its_inbox_and_no_other(daimon: Daimon, agent: Agent) -> None:
    siblings = await everything_of(daimon, agent)
    actor = await inbox_key(daimon, agent, "narrow")
    now = daimon.operations.core.clock.now()
    for kind, tool, arguments in BY_ID:
        if kind == "approval":
            continue  # an account's question is asked once, whoever of it asked
        foreign = await said(daimon, actor, tool, **arguments(siblings[kind]))
        assert foreign == await said(daimon, actor, tool, **arguments(new_id(PREFIXES[kind], now))), tool
    listed = (await run(daimon, actor, "list_inboxes")).result
    assert [each["address"] for each in listed["inboxes"]] == ["narrow@agents.localhost"]
    assert listed["total"] == 1
    await arrive(daimon, "narrow@agents.localhost", subject="mine")
    assert [each["subject"] for each in (await run(daimon, actor, "list_messages")).result["messages"]] == ["mine"]
    for tool, arguments in (
        ("create_inbox", {}),
        ("get_smtp_credentials", {}),
        ("rotate_smtp_password", {}),
        ("list_suppressions", {}),
        ("remove_suppression", {"address": "gone@far.example"}),
        ("list_domains", {}),
        ("create_domain", {"domain": "second.example.com"}),
    ):
        refusal = await said(daimon, actor, tool, **arguments)
        assert (refusal["error"], refusal["code"]) == ("FORBIDDEN", "ACCOUNT_KEY_NEEDED")


async def test_a_key_of_a_deleted_inbox_opens_nothing(daimon: Daimon, agent: Agent) -> None:
    made = await agent.do("create_inbox", username="narrow")
    actor = await daimon.operations.credentials.authenticate(made["api_key"])
    await arrive(daimon, "narrow@agents.localhost")
    await agent.do("delete_inbox", inbox="narrow@agents.localhost")
    with pytest.raises(Refused, match="UNAUTHORIZED"):
        await daimon.operations.credentials.authenticate(made["api_key"])
    # A session that had logged in before sees no more than one that comes now.
    assert (await said(daimon, actor, "list_messages"))["error"] == "INBOX_NOT_FOUND"
    assert (await said(daimon, actor, "create_draft", **WORDS))["error"] == "INBOX_NOT_FOUND"
    assert (await said(daimon, actor, "send_email", to=OTHER, **WORDS))["error"] == "INBOX_NOT_FOUND"


async def test_every_tool_asks_for_a_permission(daimon: Daimon, agent: Agent) -> None:
    own = await daimon.actor()
    mine = await everything_of(daimon, agent)
    powerless = Actor(own.account_no, own.account_id, permissions=frozenset())
    given: dict[str, dict[str, Any]] = {
        "send_email": {"inbox": ROBO, "to": OTHER, **WORDS},
        "reply_to_message": {"message_id": mine["message"], "body": "b"},
        "forward_message": {"message_id": mine["message"], "to": OTHER},
        "cancel_scheduled": {"message_id": mine["scheduled"]},
        "search_messages": {"query": "x"},
        "get_thread": {"thread_id": mine["thread"]},
        "get_attachment": {"attachment_id": "att_x"},
        "update_thread": {"thread_id": mine["thread"], "read": True},
        "update_message": {"message_id": mine["message"], "read": True},
        "add_to_list": {"list": "block", "entries": ["example.com"]},
        "remove_from_list": {"list": "block", "entries": ["example.com"]},
        "notify_operator": {"issue": "x"},
        "get_approval": {"approval_id": mine["approval"]},
        "wait_for_approval": {"approval_id": mine["approval"]},
        "rotate_key": {"key_id": "key_x"},
        "revoke_key": {"key_id": "key_x"},
        **{tool: {"domain": mine["domain"]} for tool in ("get_domain", "verify_domain", "delete_domain")},
        "create_domain": {"domain": "second.example.com"},
        "remove_suppression": {"address": "gone@far.example"},
        "create_webhook": {"url": HOOK, "events": ["message.received"]},
        **{tool: {"webhook_id": mine["webhook"]} for tool in ("update_webhook", "delete_webhook", "test_webhook")},
    }
    for name, spec in TOOLS.items():
        arguments = given.get(name) or {
            field: {
                "draft_id": mine["draft"],
                "message_id": mine["message"],
                "thread_id": mine["thread"],
                "inbox": ROBO,
            }[field]
            for field, info in spec.request.model_fields.items()
            if info.is_required()
        }
        refusal = await said(daimon, powerless, name, **arguments)
        assert refusal["error"] == "FORBIDDEN", name
        if not spec.reads:
            looking = Actor(own.account_no, own.account_id, read_only=True)
            refusal = await said(daimon, looking, name, **arguments)
            assert (refusal["error"], refusal["code"]) == ("FORBIDDEN", "READ_ONLY"), name
            assert "upgrade_context" not in refusal


async def test_reading_in_a_read_only_session_changes_nothing(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    own = await daimon.actor()
    looking = Actor(own.account_no, own.account_id, read_only=True)
    found = await run(daimon, looking, "get_message", message_id=letter)
    assert found.result["read"] is False
    waited = await run(daimon, looking, "wait_for_message", inbox=ROBO, timeout_seconds=0)
    assert waited.result["message"]["id"] == letter
    assert (await agent.do("get_inbox", inbox=ROBO))["unread_count"] == 1


async def test_a_key_that_may_only_reply_writes_to_nobody_else(daimon: Daimon, agent: Agent) -> None:
    own = await daimon.actor()
    replier = Actor(own.account_no, own.account_id, permissions=frozenset({"message_reply", "message_read"}))
    [letter] = await arrive(daimon, ROBO, mail_from=OTHER, sender=OTHER)
    done = await run(daimon, replier, "reply_to_message", message_id=letter, body="Yes")
    assert done.result["recipients"] == [OTHER]
    for field in ("to", "cc", "bcc"):
        refusal = await said(daimon, replier, "reply_to_message", message_id=letter, body="Yes", **{field: ROBO})
        assert refusal["error"] == "FORBIDDEN"
    assert (await said(daimon, replier, "send_email", inbox=ROBO, to=OTHER, **WORDS))["error"] == "FORBIDDEN"
    assert (await said(daimon, replier, "forward_message", message_id=letter, to=OTHER))["error"] == "FORBIDDEN"
    sender = Actor(own.account_no, own.account_id, permissions=frozenset({"message_send"}))
    assert (await run(daimon, sender, "reply_to_message", message_id=letter, body="No")).result["status"] == "delivered"


async def test_a_key_cannot_grant_more_than_it_has(daimon: Daimon, agent: Agent) -> None:
    own = await daimon.actor()
    maker = Actor(own.account_no, own.account_id, permissions=frozenset({"key_write", "message_read"}))
    made = await daimon.operations.keys.create_key(maker, CreateKey(name="second"))
    second = await daimon.operations.credentials.authenticate(made.result["api_key"])
    assert second.permissions == maker.permissions
    theirs = await stranger(daimon)
    with pytest.raises(Refused) as foreign:
        await daimon.operations.keys.revoke_key(theirs, RevokeKey(key_id=made.result["id"]))
    with pytest.raises(Refused) as unknown:
        await daimon.operations.keys.revoke_key(theirs, RevokeKey(key_id=new_id("key", 0)))
    assert await daimon.refusal(foreign.value) == await daimon.refusal(unknown.value)


async def test_nothing_an_agent_holds_can_approve(daimon: Daimon, agent: Agent) -> None:
    assert not any("approve" in permission or "decide" in permission for permission in PERMISSIONS)
    upgrades = daimon.operations.upgrades
    deciding: list[Callable[..., Awaitable[object]]] = [upgrades.decide, upgrades.decide_by_link, upgrades.set_tier]
    assert all("actor" not in inspect.signature(each).parameters for each in deciding)
    used = {name for tool in ALL for name in tool.run.__code__.co_names}
    assert not used & {"decide", "decide_by_link", "set_tier", "set_passcode"}
