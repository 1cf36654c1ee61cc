"""`changes`: all that happens in an inbox is told in order, at least once, from any place that was ever handed out."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, becomes
from tests.support.sink import Sink

from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations.changelog import ListChanges

LATER = "2026-11-10T13:00:00Z"


class Follower:
    """Somebody who keeps a cursor and asks for what came after it."""

    def __init__(self, agent: Agent, cursor: str) -> None:
        self.agent = agent
        self.cursor = cursor

    async def told(self, **arguments: Any) -> list[tuple[str, list[str]]]:
        """What is new: message and what happened to it, in order.

        Without the texts of attachments: those are read at their own time.
        """
        result = await self.agent.do("changes", since=self.cursor, **arguments)
        self.cursor = result["cursor"]
        told = [(each["message_id"], [what for what in each["what"] if what != "text"]) for each in result["changes"]]
        return [each for each in told if each[1]]


async def follower(agent: Agent, inbox: str = ROBO) -> Follower:
    start = await agent.do("changes", inbox=inbox)
    assert (start["changes"], start["has_more"]) == ([], False)
    return Follower(agent, start["cursor"])


async def test_everything_that_can_happen_is_told_once_and_in_order(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    news = await follower(agent)
    [letter] = await arrive(daimon, ROBO, message_id="<l@x>")
    assert await news.told() == [(letter, ["new"])]
    steps: list[tuple[dict[str, Any], str]] = [
        ({"read": True}, "read"),
        ({"read": False}, "unread"),
        ({"add_labels": ["a"]}, "labels"),
        ({"labels": []}, "labels"),
        ({"move_to": "spam"}, "moved"),
        ({"move_to": "trash"}, "trashed"),
        ({"move_to": "inbox"}, "restored"),
    ]
    for arguments, what in steps:
        await agent.do("update_message", message_id=letter, **arguments)
        assert await news.told() == [(letter, [what])], arguments
    await agent.do("get_message", message_id=letter)
    assert await news.told() == [(letter, ["read"])]
    await agent.do("delete_message", message_id=letter)
    assert await news.told() == [(letter, ["trashed"])]
    await agent.do("delete_message", message_id=letter)
    assert await news.told() == [(letter, ["deleted"])]

    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b")
    assert await news.told() == [(sent["id"], ["new", "delivered"])]
    gate = sink.hold("MAIL")
    outside = await agent.do("send_email", inbox=ROBO, to="ann@example.com", subject="s", body="b")
    await gate.reached()
    assert await news.told() == [(outside["id"], ["new"])]
    gate.open()
    await becomes(daimon, agent, outside["id"], "sent")
    assert await news.told() == [(outside["id"], ["sent"])]
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    gone = await agent.do("send_email", inbox=ROBO, to="gone@example.com", subject="s2", body="b")
    await becomes(daimon, agent, gone["id"], "bounced")
    first, report = await news.told()
    assert first == (gone["id"], ["new", "bounced"])
    assert report[1] == ["new"]

    later = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="l", body="b", send_at=LATER)
    assert await news.told() == [(later["id"], ["new"])]
    await agent.do("cancel_scheduled", message_id=later["id"])
    assert await news.told() == [(later["id"], ["deleted"])]
    due = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="d", body="b", send_at=LATER)
    await news.told()
    daimon.later(3601)
    await becomes(daimon, agent, due["id"], "delivered")
    [(told, what)] = await news.told()
    assert (told, set(what)) == (due["id"], {"moved", "delivered"})

    await agent.do("add_to_list", list="block", entries=["bad.example"])
    [held] = await arrive(daimon, ROBO, sender="x@bad.example")
    assert await news.told() == [(held, ["new"])]
    await agent.do("update_message", message_id=held, move_to="inbox")
    assert await news.told() == [(held, ["moved", "released"])]
    assert await news.told() == []


async def test_a_message_that_moved_to_another_thread_is_told(daimon: Daimon, agent: Agent) -> None:
    [one] = await arrive(daimon, ROBO, subject="Plan", message_id="<a@x>")
    [two] = await arrive(daimon, ROBO, subject="Plan", message_id="<b@x>")
    news = await follower(agent)
    [both] = await arrive(daimon, ROBO, subject="Re: Plan", headers={"References": "<a@x> <b@x>"})
    told = dict(await news.told())
    assert told.pop(both) == ["new"]
    [(moved, what)] = told.items()
    assert (moved in {one, two}, what) == (True, ["thread"])


async def test_each_change_comes_with_the_message_as_it_is_now(daimon: Daimon, agent: Agent) -> None:
    start = (await agent.do("changes", inbox=ROBO))["cursor"]
    [letter] = await arrive(daimon, ROBO, subject="Hello")
    daimon.later(60)
    await agent.do("update_message", message_id=letter, read=True, add_labels=["x"])
    [change] = (await agent.do("changes", since=start))["changes"]
    assert change["what"] == ["new", "labels", "read"]
    assert change["at"] == "2026-11-10T12:01:00Z"
    [listed] = (await agent.do("list_messages", inbox=ROBO))["messages"]
    assert change["message"] == listed
    await agent.do("delete_message", message_id=letter, permanent=True)
    [change] = (await agent.do("changes", since=start))["changes"]
    assert (change["what"], change["message"]) == (["new", "labels", "read", "deleted"], None)
    assert "Hello" not in str(change)


async def test_what_repeats_is_folded_and_no_place_between_is_lost(daimon: Daimon, agent: Agent) -> None:
    news = await follower(agent)
    letters = [(await arrive(daimon, ROBO, subject=f"{n}"))[0] for n in range(3)]
    for _ in range(4):
        for letter in letters:
            await agent.do("update_message", message_id=letter, read=True)
            await agent.do("update_message", message_id=letter, read=False)
    assert await news.told() == [(letter, ["new", "read", "unread"]) for letter in letters]


@pytest.mark.parametrize("limit", [1, 2, 7, 200])
async def test_pages_of_any_size_tell_the_same(daimon: Daimon, agent: Agent, limit: int) -> None:
    chance = random.Random(limit)
    start = (await agent.do("changes", inbox=ROBO))["cursor"]
    letters: list[str] = []
    expected: list[tuple[str, str]] = []
    for n in range(12):
        letters += await arrive(daimon, ROBO, subject=f"{n}")
        expected.append((letters[-1], "new"))
        for _ in range(chance.randrange(3)):
            letter, label = chance.choice(letters), f"l{len(expected)}"
            await agent.do("update_message", message_id=letter, add_labels=[label])
            expected.append((letter, "labels"))
    news = Follower(agent, start)
    told: list[tuple[str, str]] = []
    more = True
    while more:
        result = await agent.do("changes", since=news.cursor, limit=limit)
        page = await news.told(limit=limit)
        more = result["has_more"]
        assert 0 < sum(len(what) for _, what in page) <= limit
        told += [(letter, each) for letter, what in page for each in what]
    assert dict.fromkeys(told).keys() == dict.fromkeys(expected).keys()
    assert [letter for letter, what in told if what == "new"] == letters
    if limit == 1:
        assert told == expected
    assert await news.told() == []


async def test_a_cursor_that_was_not_moved_tells_it_all_again(daimon: Daimon, agent: Agent) -> None:
    start = (await agent.do("changes", inbox=ROBO))["cursor"]
    [letter] = await arrive(daimon, ROBO)
    first = await agent.do("changes", since=start)
    assert await agent.do("changes", since=start) == first
    assert [each["message_id"] for each in first["changes"]] == [letter]


async def test_cursors_of_lists_sends_and_waits_are_places_too(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO, subject="before")
    cursors = [
        (await agent.do("list_messages", inbox=ROBO))["cursor"],
        (await agent.do("wait_for_message", inbox=ROBO, mark_read=False))["cursor"],
        (await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b"))["cursor"],
    ]
    [letter] = await arrive(daimon, ROBO, subject="after")
    for cursor in cursors:
        told = await Follower(agent, cursor).told()
        assert (letter, ["new"]) in told
        assert all(message_id for message_id, _ in told)
    changes = (await agent.do("changes", inbox=ROBO))["cursor"]
    [last] = await arrive(daimon, ROBO, subject="last")
    assert (await agent.do("wait_for_message", inbox=ROBO, after=changes))["message"]["id"] == last


async def test_what_happens_while_it_is_read_is_told_by_the_next(daimon: Daimon, agent: Agent) -> None:
    news = await follower(agent)
    found: list[str] = []
    done = False

    async def writer() -> None:
        nonlocal done
        for n in range(40):
            await arrive(daimon, ROBO, subject=f"{n}")
        done = True

    async def reader() -> None:
        while True:
            last = done
            page = await news.told(limit=3)
            found.extend(letter for letter, _ in page)
            if last and not page:
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer)
        tasks.start_soon(reader)
    assert len(found) == len(set(found)) == 40


async def test_a_place_holds_across_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "d") as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        news = await follower(agent)
        [letter] = await arrive(daimon, ROBO)
        await arrive(daimon, ROBO)
    async with running(tmp_path / "d") as daimon, daimon.agent() as agent:
        news.agent = agent
        assert (await news.told(limit=1)) == [(letter, ["new"])]
    async with running(tmp_path / "d") as daimon, daimon.agent() as agent:
        news.agent = agent
        [late] = await arrive(daimon, ROBO)
        told = await news.told()
        assert [what for _, what in told] == [["new"], ["new"]]
        assert told[1][0] == late


# --- places that are none ---------------------------------------------------------------------------------------------


async def test_a_cursor_of_an_inbox_that_is_gone_says_so(daimon: Daimon, agent: Agent) -> None:
    news = await follower(agent)
    [letter] = await arrive(daimon, ROBO)
    deleted = await agent.do("get_inbox", inbox=ROBO)
    await agent.do("delete_inbox", inbox=ROBO)
    for arguments in ({}, {"inbox": deleted["id"]}, {"inbox": ROBO}):
        answer = await agent.call("changes", since=news.cursor, **arguments)
        assert (answer.error, answer.envelope["code"]) == ("INBOX_NOT_FOUND", "INBOX_DELETED"), arguments
        assert ROBO in answer.text
    waited = await agent.call("wait_for_message", inbox=deleted["id"], after=news.cursor, timeout_seconds=0)
    assert (waited.error, waited.envelope["code"]) == ("INBOX_NOT_FOUND", "INBOX_DELETED")
    assert (await agent.call("get_message", message_id=letter)).error == "MESSAGE_NOT_FOUND"


async def test_a_cursor_of_another_inbox_or_account_is_refused(daimon: Daimon, agent: Agent) -> None:
    news = await follower(agent)
    answer = await agent.call("changes", since=news.cursor, inbox=OTHER)
    assert (answer.error, answer.envelope["code"]) == ("INBOX_NOT_FOUND", "CURSOR_OF_ANOTHER_INBOX")
    made = await agent.do("create_inbox", username="third")
    key = await daimon.operations.credentials.authenticate(made["api_key"])
    with pytest.raises(Refused) as refused:
        await daimon.operations.changelog.list_changes(key, ListChanges(since=news.cursor))
    said = await daimon.refusal(refused.value, key)
    assert (said["error"], said.get("code")) == ("INBOX_NOT_FOUND", None)
    # Nor does it tell a stranger that there was such an inbox.
    await agent.do("delete_inbox", inbox=ROBO)
    with pytest.raises(Refused) as refused:
        await daimon.operations.changelog.list_changes(key, ListChanges(since=news.cursor))
    assert await daimon.refusal(refused.value, key) == said


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "_" * 11, "A" * 4000, "AAAAAAAAAAA", "f_________8"])
async def test_a_made_up_cursor_is_refused(agent: Agent, cursor: str) -> None:
    answer = await agent.call("changes", since=cursor)
    assert answer.error in {"INVALID_REQUEST", "INBOX_NOT_FOUND"}


async def test_without_a_cursor_or_an_inbox_it_must_be_clear_which(agent: Agent) -> None:
    answer = await agent.call("changes")
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"] == "inbox"
