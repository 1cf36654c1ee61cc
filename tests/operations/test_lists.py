"""Allow and block lists: who reaches an inbox, and whom it reaches. What is kept away is kept, and can be let in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive, becomes, delivered_to
from tests.support.sink import Sink

from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations import lists as listing
from daimon_mcp.operations.lists import ChangeList, GetLists
from daimon_mcp.store import compiled as sql

THIRD = "third@agents.localhost"


async def put(agent: Agent, kind: str, *entries: str, direction: str = "receive", inbox: str | None = ROBO) -> None:
    where = {} if inbox is None else {"inbox": inbox}
    await agent.do("add_to_list", list=kind, direction=direction, entries=list(entries), **where)


def listeners(daimon: Daimon) -> int:
    return len(daimon.operations.core.bus._subscribers)  # pyright: ignore[reportPrivateUsage]


async def events(daimon: Daimon, message_id: str) -> list[str]:
    """The types of what webhooks would tell of a message."""
    rows = await daimon.operations.core.database.fetch("SELECT type, payload_json FROM events ORDER BY seq")
    return [kind for kind, payload in rows if json.loads(payload).get("message_id") == message_id]


async def listed(agent: Agent, inbox: str = ROBO, **filters: Any) -> list[str]:
    return [each["id"] for each in (await agent.do("list_messages", inbox=inbox, **filters))["messages"]]


async def held(daimon: Daimon, agent: Agent, **fields: Any) -> str:
    """A letter that robo's lists refused; it is put aside, and nobody hears of it."""
    before = await agent.do("get_inbox", inbox=ROBO)
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    [letter] = await arrive(daimon, ROBO, **fields)
    assert await agent.do("get_inbox", inbox=ROBO) == before
    assert await events(daimon, letter) == []
    assert letter not in await listed(agent)
    assert letter not in await listed(agent, unread=True)
    for label in ("spam", "blocked"):
        assert letter in await listed(agent, label=label)
    for place in ({}, {"after": cursor}):
        waited = await agent.do("wait_for_message", inbox=ROBO, timeout_seconds=0, mark_read=False, **place)
        assert waited["message"] is None or waited["message"]["id"] != letter
    return letter


# --- mail that comes --------------------------------------------------------------------------------------------------


async def test_mail_of_a_blocked_sender_is_put_aside_quietly(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "ann@example.com", ".bad.example")
    letter = await held(daimon, agent)
    message = await agent.do("get_message", message_id=letter, mark_read=False)
    assert message["labels"] == ["spam", "unread", "blocked"]
    assert message["hold_reason"] == "on_block_list"
    await held(daimon, agent, sender="x@deep.bad.example", mail_from="x@example.org")
    # Whoever hands it over can be blocked as well as whoever it says it is from.
    await held(daimon, agent, sender="nice@example.org", mail_from="x@bad.example")
    await held(daimon, agent, sender="Ann+tag <ANN+tag@EXAMPLE.com>", mail_from="")
    [free] = await arrive(daimon, ROBO, sender="bob@example.com", mail_from="bob@example.com")
    assert await listed(agent) == [free]
    [elsewhere] = await arrive(daimon, OTHER)
    assert await listed(agent, OTHER) == [elsewhere]


async def test_an_allow_list_lets_in_only_those_on_it(daimon: Daimon, agent: Agent) -> None:
    [before] = await arrive(daimon, ROBO, sender="eve@example.org")
    await put(agent, "allow", "example.com")
    [letter] = await arrive(daimon, ROBO)
    refused = await held(daimon, agent, sender="eve@example.org", mail_from="ann@example.com")
    assert (await agent.do("get_message", message_id=refused))["hold_reason"] == "not_on_allow_list"
    await held(daimon, agent, content=b"Subject: from nobody\r\n\r\nx\r\n", mail_from="")
    assert await listed(agent) == [letter, before]
    await agent.do("remove_from_list", list="allow", entries=["example.com"], inbox=ROBO)
    [after] = await arrive(daimon, ROBO, sender="eve@example.org")
    assert await listed(agent) == [after, letter, before]


async def test_the_accounts_lists_hold_for_every_inbox_and_an_inbox_only_narrows_them(
    daimon: Daimon, agent: Agent
) -> None:
    await put(agent, "allow", "example.com", inbox=None)
    await put(agent, "allow", "example.org")
    [to_other] = await arrive(daimon, OTHER)
    assert await listed(agent, OTHER) == [to_other]
    await held(daimon, agent)
    await held(daimon, agent, sender="x@example.org")


async def test_a_waiting_agent_is_not_woken_by_held_mail(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "bad.example")
    before = listeners(daimon)
    found: list[str] = []

    async def waiter() -> None:
        found.append((await agent.do("wait_for_message", inbox=ROBO, timeout_seconds=20))["message"]["subject"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        with anyio.fail_after(5):
            while listeners(daimon) == before:
                await anyio.lowlevel.checkpoint()
        await arrive(daimon, ROBO, sender="x@bad.example", subject="held")
        await arrive(daimon, ROBO, subject="free")
    assert found == ["free"]


async def test_what_was_held_comes_when_it_is_let_out(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "bad.example")
    start = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    letter = await held(daimon, agent, sender="Eve <eve@bad.example>", subject="Zebra")
    between = [(await arrive(daimon, ROBO, subject=f"{n}"))[0] for n in range(2)]
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    daimon.later(60)
    done = await agent.call("update_message", message_id=letter, move_to="inbox")
    assert done.result["labels"] == ["inbox", "unread"]
    assert "hold_reason" not in done.result
    assert any("get_message" in step for step in done.envelope["next_steps"])
    assert await events(daimon, letter) == ["message.received"]
    inbox = await agent.do("get_inbox", inbox=ROBO)
    assert (inbox["message_count"], inbox["unread_count"], inbox["thread_count"]) == (3, 3, 3)
    assert inbox["last_received_at"] == "2026-11-10T12:01:00Z"
    told = await agent.do("changes", since=cursor)
    assert [(each["message_id"], each["what"]) for each in told["changes"]] == [(letter, ["moved", "released"])]
    waited = await agent.do("wait_for_message", inbox=ROBO, after=cursor, mark_read=False)
    assert waited["message"]["id"] == letter
    # From an older place all three come, each once, in the order in which they came.
    assert await followed(agent, start) == [*between, letter]
    thread = (await agent.do("get_thread", thread_id=done.result["thread_id"]))["thread"]
    assert "eve@bad.example" in thread["participants"]
    assert (await agent.do("list_threads", inbox=ROBO))["threads"][0]["id"] == thread["id"]
    assert [each["id"] for each in (await agent.do("search_messages", query="Zebra"))["messages"]] == [letter]
    again = await agent.do("update_message", message_id=letter, move_to="inbox")
    assert again["labels"] == ["inbox"]  # the wait has read it
    assert await events(daimon, letter) == ["message.received"]


async def followed(agent: Agent, cursor: str | None) -> list[str]:
    """All that waits find one after the other."""
    found: list[str] = []
    while True:
        place = {} if cursor is None else {"after": cursor}
        waited = await agent.do("wait_for_message", inbox=ROBO, timeout_seconds=0, **place)
        if waited["timed_out"]:
            return found
        found.append(waited["message"]["id"])
        cursor = waited["cursor"]


async def test_waiting_without_a_cursor_passes_over_nothing_when_something_was_let_out(
    daimon: Daimon, agent: Agent
) -> None:
    await put(agent, "block", "bad.example")
    letter = await held(daimon, agent, sender="eve@bad.example")
    between = [(await arrive(daimon, ROBO, subject=f"{n}"))[0] for n in range(2)]
    await agent.do("update_message", message_id=letter, move_to="inbox")
    found = await followed(agent, None)
    assert set(found) == {letter, *between}
    assert found[0] == letter


async def test_held_mail_joins_its_conversation_without_being_seen_there(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to="eve@bad.example", subject="Ping", body="x")
    await put(agent, "block", "bad.example")
    headers = {"In-Reply-To": sent["message_id"]}
    letter = await held(daimon, agent, sender="Evil <x@bad.example>", subject="Re: Ping", headers=headers)
    thread = (await agent.do("get_thread", thread_id=sent["thread_id"]))["thread"]
    assert (thread["message_count"], len(thread["messages"])) == (1, 1)
    assert "x@bad.example" not in thread["participants"]
    assert (await agent.do("get_message", message_id=letter))["thread_id"] == sent["thread_id"]
    waited = await agent.do("wait_for_message", inbox=ROBO, after=sent["cursor"], timeout_seconds=0)
    assert waited["timed_out"]
    await agent.do("update_message", message_id=letter, remove_labels=["blocked"])
    waited = await agent.do("wait_for_message", inbox=ROBO, after=sent["cursor"], thread_id=sent["thread_id"])
    assert waited["message"]["id"] == letter
    thread = (await agent.do("get_thread", thread_id=sent["thread_id"]))["thread"]
    assert (thread["message_count"], len(thread["messages"])) == (2, 2)
    assert "x@bad.example" in thread["participants"]


async def test_held_mail_joins_no_conversations_together(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO, subject="Plan", message_id="<a@x>")
    await arrive(daimon, ROBO, subject="Plan", message_id="<b@x>")
    await put(agent, "block", "bad.example")
    headers = {"References": "<a@x> <b@x>"}
    await held(daimon, agent, sender="eve@bad.example", subject="Re: Plan", headers=headers)
    assert (await agent.do("get_inbox", inbox=ROBO))["thread_count"] == 2
    assert [each["message_count"] for each in (await agent.do("list_threads", inbox=ROBO))["threads"]] == [1, 1]


async def test_two_who_let_one_letter_out_let_it_out_once(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "bad.example")
    letter = await held(daimon, agent, sender="eve@bad.example")
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(lambda: agent.do("update_message", message_id=letter, move_to="inbox"))
    assert await events(daimon, letter) == ["message.received"]


async def test_held_mail_in_trash_is_still_held(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "bad.example")
    letter = await held(daimon, agent, sender="eve@bad.example")
    trashed = await agent.do("update_message", message_id=letter, move_to="trash")
    assert trashed["hold_reason"] == "on_block_list"
    await agent.do("update_message", message_id=letter, move_to="inbox")
    assert await events(daimon, letter) == ["message.received"]
    gone = await held(daimon, agent, sender="eve@bad.example")
    await agent.do("delete_message", message_id=gone, permanent=True)
    assert await listed(agent, label="blocked") == []


# --- mail that leaves -------------------------------------------------------------------------------------------------


async def nothing_was_done(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    database = daimon.operations.core.database
    assert await database.fetch("SELECT id FROM messages WHERE direction = 'outbound'") == []
    assert await database.fetch("SELECT no FROM queue") == []
    account = await agent.do("get_account")
    assert (account["sends_today"], account["sends_this_month"]) == (0, 0)
    assert sink.messages == []


@pytest.mark.parametrize(
    ("kind", "entries", "reason"),
    [
        ("block", ["eve@bad.example"], "ON_BLOCK_LIST"),
        ("block", [".example"], "ON_BLOCK_LIST"),
        ("allow", ["agents.localhost"], "NOT_ON_ALLOW_LIST"),
    ],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
@pytest.mark.parametrize("inbox", [ROBO, None])
async def test_nothing_leaves_to_whom_the_send_lists_refuse(
    daimon: Daimon, agent: Agent, sink: Sink, kind: str, entries: list[str], reason: str, field: str, inbox: str | None
) -> None:
    await put(agent, kind, *entries, direction="send", inbox=inbox)
    people = {"to": OTHER, field: ["eve@bad.example", OTHER]}
    answer = await agent.call("send_email", inbox=ROBO, subject="s", body="b", **people)
    assert (answer.error, answer.envelope["code"]) == ("RECIPIENT_REFUSED", reason)
    assert answer.envelope["refused_recipients"] == ["eve@bad.example"]
    later = await agent.call("send_email", inbox=ROBO, subject="s", body="b", send_at="2026-11-11T12:00:00Z", **people)
    assert later.error == "RECIPIENT_REFUSED"
    tried = await agent.do("send_email", inbox=ROBO, subject="s", body="b", dry_run=True, **people)
    assert (tried["ok"], tried["problems"]) == (False, [{"code": "RECIPIENT_REFUSED", "reason": reason}])
    draft = await agent.do("create_draft", inbox=ROBO, subject="s", body="b", **people)
    assert (await agent.call("send_draft", draft_id=draft["id"])).error == "RECIPIENT_REFUSED"
    await nothing_was_done(daimon, agent, sink)
    assert await delivered_to(agent, OTHER) == []
    await agent.do(
        "remove_from_list", list=kind, direction="send", entries=entries, **({"inbox": inbox} if inbox else {})
    )
    assert (await agent.do("send_draft", draft_id=draft["id"]))["status"] == "queued"


async def test_answers_obey_the_reply_lists_or_else_the_send_lists(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(daimon, ROBO, sender="eve@bad.example")

    async def answered(subject: str) -> str:
        answer = await agent.call("reply_to_message", message_id=letter, body=subject)
        draft = await agent.do("create_draft", inbox=ROBO, reply_to_message=letter, body=f"{subject} as a draft")
        sent = await agent.call("send_draft", draft_id=draft["id"])
        assert sent.is_error == answer.is_error
        return answer.error if answer.is_error else "sent"

    await put(agent, "block", "bad.example", direction="send")
    assert await answered("one") == "RECIPIENT_REFUSED"
    await nothing_was_done(daimon, agent, sink)
    await put(agent, "allow", "bad.example", direction="reply")
    assert await answered("two") == "sent"
    answer = await agent.call("send_email", inbox=ROBO, to="eve@bad.example", subject="s", body="b")
    assert answer.error == "RECIPIENT_REFUSED"
    await put(agent, "block", "eve@bad.example", direction="reply", inbox=None)
    assert await answered("three") == "RECIPIENT_REFUSED"
    forwarded = await agent.call("forward_message", message_id=letter, to="eve@bad.example")
    assert forwarded.error == "RECIPIENT_REFUSED"


async def test_mail_between_inboxes_obeys_the_lists_of_both(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", ROBO, inbox=OTHER)
    await agent.do("create_inbox", username="third")
    sent = await agent.do("send_email", inbox=ROBO, to=[OTHER, THIRD], subject="Ping", body="x")
    assert sent["status"] == "delivered"
    assert await delivered_to(agent, OTHER) == []
    [letter] = await delivered_to(agent, OTHER, label="blocked")
    assert letter["hold_reason"] == "on_block_list"
    assert len(await delivered_to(agent, THIRD)) == 1
    await put(agent, "block", THIRD, direction="send", inbox=ROBO)
    answer = await agent.call("send_email", inbox=ROBO, to=[OTHER, THIRD], subject="Again", body="x")
    assert (answer.error, answer.envelope["refused_recipients"]) == ("RECIPIENT_REFUSED", [THIRD])
    assert len(await delivered_to(agent, THIRD)) == 1


async def test_reports_on_our_own_mail_pass_every_list(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    await put(agent, "allow", "example.com")
    await put(agent, "block", "agents.localhost", "mx.example")
    ours = await agent.do("send_email", inbox=ROBO, to="gone@example.com", subject="Note", body="x")
    await becomes(daimon, agent, ours["id"], "bounced")
    assert [each["kind"] for each in await delivered_to(agent, ROBO)] == ["bounce"]
    sent = await agent.do("send_email", inbox=ROBO, to="late@example.com", subject="Second", body="x")
    await becomes(daimon, agent, sent["id"], "sent")
    report: dict[str, Any] = {
        "sender": "MAILER-DAEMON@mx.example", "mail_from": "", "subject": "Undelivered",
        "headers": {"Content-Type": 'multipart/report; report-type=delivery-status; boundary="b"'},
    }  # fmt: skip
    body = (
        "--b\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
        "Final-Recipient: rfc822; late@example.com\r\nAction: failed\r\nStatus: 5.2.2\r\n--b\r\n"
        "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: {}\r\n\r\n--b--"
    )
    await arrive(daimon, ROBO, **report, body=body.format(sent["message_id"]))
    assert [each["kind"] for each in await delivered_to(agent, ROBO)] == ["bounce", "bounce"]
    # A report on mail that was never ours has no such right.
    await held(daimon, agent, **report, body=body.format("<other@example.com>"))


# --- the lists themselves ---------------------------------------------------------------------------------------------


async def test_entries_are_put_taken_and_shown(daimon: Daimon, agent: Agent) -> None:
    nothing = await agent.call("get_lists")
    assert nothing.result == {"entries": []}
    done = await agent.do("add_to_list", list="block", entries=["Ann@Example.com", "@bad.example", "bad.example"])
    assert done == {
        "list": "block", "direction": "receive", "inbox": None, "entries": ["ann@example.com", "bad.example"],
    }  # fmt: skip
    again = await agent.do("add_to_list", list="block", entries=["bad.example", "new.example"])
    assert again["entries"] == ["new.example"]
    await put(agent, "allow", "bücher.example", direction="send")
    everything = (await agent.do("get_lists"))["entries"]
    assert {(each.get("inbox"), each["direction"], each["list"], each["entry"]) for each in everything} == {
        (None, "receive", "block", "ann@example.com"),
        (None, "receive", "block", "bad.example"),
        (None, "receive", "block", "new.example"),
        (ROBO, "send", "allow", "xn--bcher-kva.example"),
    }
    assert len((await agent.do("get_lists", inbox=ROBO))["entries"]) == 4  # what concerns it
    assert len((await agent.do("get_lists", inbox=OTHER))["entries"]) == 3
    assert len((await agent.do("get_lists", inbox=ROBO, direction="send"))["entries"]) == 1
    assert len((await agent.do("get_lists", list="allow"))["entries"]) == 1
    taken = await agent.do("remove_from_list", list="block", entries=["bad.example", "never.example"])
    assert taken["entries"] == ["bad.example"]
    assert len((await agent.do("get_lists"))["entries"]) == 3


@pytest.mark.parametrize("entries", [[], ["not an address"], ["ok.example", "*"], [""], ["x.example"] * 101])
async def test_one_entry_that_is_none_refuses_all(agent: Agent, entries: Sequence[str]) -> None:
    answer = await agent.call("add_to_list", list="block", entries=list(entries))
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"].startswith("entries")
    assert (await agent.do("get_lists"))["entries"] == []


async def test_an_account_has_so_many_entries_and_no_more(
    daimon: Daimon, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_ENTRIES", 5)
    await put(agent, "block", "a.example", "b.example", "c.example")
    await put(agent, "block", "d.example", "e.example", inbox=None)
    answer = await agent.call("add_to_list", list="allow", entries=["f.example"], inbox=OTHER)
    assert answer.error == "INVALID_REQUEST"
    await put(agent, "block", "a.example")
    assert len((await agent.do("get_lists"))["entries"]) == 5


async def test_a_key_of_one_inbox_has_that_inboxs_lists(daimon: Daimon, agent: Agent) -> None:
    made = await agent.do("create_inbox", username="fourth")
    key = await daimon.operations.credentials.authenticate(made["api_key"])
    await put(agent, "block", "everywhere.example", inbox=None)
    await put(agent, "block", "robo.example")
    lists = daimon.operations.lists
    own = ChangeList(list="block", entries=["own.example"], inbox=made["address"])
    assert (await lists.add_to_list(key, own)).result["entries"] == ["own.example"]
    shown = (await lists.get_lists(key, GetLists())).result["entries"]
    assert {each["entry"] for each in shown} == {"own.example", "everywhere.example"}
    for request, code in (
        (ChangeList(list="block", entries=["x.example"]), "FORBIDDEN"),
        (ChangeList(list="block", entries=["x.example"], inbox=ROBO), "INBOX_NOT_FOUND"),
    ):
        for verb in (lists.add_to_list, lists.remove_from_list):
            with pytest.raises(Refused) as refused:
                await verb(key, request)
            assert (await daimon.refusal(refused.value, key))["error"] == code
    with pytest.raises(Refused):
        await lists.get_lists(key, GetLists(inbox=ROBO))


async def test_lists_of_a_deleted_inbox_are_not_those_of_the_next(daimon: Daimon, agent: Agent) -> None:
    await put(agent, "block", "example.com")
    await agent.do("delete_inbox", inbox=ROBO)
    assert (await agent.do("get_lists"))["entries"] == []
    [letter] = await arrive(daimon, OTHER)
    assert await listed(agent, OTHER) == [letter]


async def test_the_entries_of_a_deleted_inbox_go_with_it(daimon: Daimon, agent: Agent) -> None:
    inbox = (await agent.do("create_inbox", username="going"))["id"]
    await agent.do("add_to_list", inbox=inbox, list="block", direction="receive", entries=["a.example", "b.example"])
    await agent.do("add_to_list", list="block", direction="receive", entries=["c.example"])
    await agent.do("delete_inbox", inbox=inbox)
    account = await daimon.actor()
    assert await daimon.operations.core.database.one(sql.lists_count, account_no=account.account_no) == (1,)
