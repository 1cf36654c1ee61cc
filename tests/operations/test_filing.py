"""Filing: what is read, how it is labelled, where it stands, and what is gone; every counter and number follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations.filing import DeleteMessage, DeleteThread, UpdateMessage

NOW = "2026-11-10T12:00:00Z"
LATER = "2026-11-10T13:00:00Z"


async def counted(agent: Agent, inbox: str = ROBO) -> tuple[int, int, int]:
    """Messages, unread, threads of an inbox."""
    found = await agent.do("get_inbox", inbox=inbox)
    return found["message_count"], found["unread_count"], found["thread_count"]


async def of_thread(agent: Agent, thread_id: str) -> tuple[int, int]:
    thread = (await agent.do("get_thread", thread_id=thread_id))["thread"]
    return thread["message_count"], thread["unread_count"]


async def stands(daimon: Daimon, message_id: str) -> tuple[str, int, int]:
    """Mailbox, UID and MODSEQ."""
    [row] = await daimon.operations.core.database.fetch(
        "SELECT b.name, m.uid, m.modseq FROM messages m JOIN mailboxes b ON b.no = m.mailbox_no WHERE m.id = ?",
        [message_id],
    )
    return row[0], row[1], row[2]


async def mailbox(daimon: Daimon, name: str) -> dict[str, int]:
    """The counters of a mailbox of robo's."""
    [row] = await daimon.operations.core.database.fetch(
        "SELECT b.total, b.unseen, b.uidnext, b.highestmodseq FROM mailboxes b JOIN inboxes i ON i.no = b.inbox_no"
        " WHERE i.address = ? AND b.name = ?",
        [ROBO, name],
    )
    return dict(zip(("total", "unseen", "uidnext", "highestmodseq"), row, strict=True))


async def tombstones(daimon: Daimon, name: str) -> list[tuple[int, int]]:
    return await daimon.operations.core.database.fetch(
        "SELECT e.uid, e.modseq FROM expunged e JOIN mailboxes b ON b.no = e.mailbox_no"
        " JOIN inboxes i ON i.no = b.inbox_no WHERE i.address = ? AND b.name = ? ORDER BY e.modseq",
        [ROBO, name],
    )


async def listed(agent: Agent, **filters: Any) -> list[str]:
    found = await agent.do("list_messages", inbox=ROBO, limit=100, **filters)
    return [each["id"] for each in found["messages"]]


async def hidden(agent: Agent, message_id: str, *, word: str) -> None:
    """It is nowhere where mail is found without asking for trash or spam."""
    assert message_id not in await listed(agent)
    assert message_id not in await listed(agent, unread=True)
    found = await agent.do("search_messages", query=word, inbox=ROBO)
    assert message_id not in [each["id"] for each in found["messages"]]
    waited = await agent.do("wait_for_message", inbox=ROBO, subject=word, timeout_seconds=0)
    assert waited["timed_out"]


# --- read -------------------------------------------------------------------------------------------------------------


async def test_read_and_unread_move_every_counter(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    _, uid, modseq = await stands(daimon, letter)
    assert await counted(agent) == (1, 1, 1)
    read = await agent.do("update_message", message_id=letter, read=True)
    assert (read["read"], read["labels"]) == (True, ["inbox"])
    assert await counted(agent) == (1, 0, 1)
    assert await of_thread(agent, read["thread_id"]) == (1, 0)
    assert (await mailbox(daimon, "INBOX"))["unseen"] == 0
    assert await stands(daimon, letter) == ("INBOX", uid, modseq + 1)
    unread = await agent.do("update_message", message_id=letter, read=False)
    assert (unread["read"], unread["labels"]) == (False, ["inbox", "unread"])
    assert await counted(agent) == (1, 1, 1)
    assert await of_thread(agent, read["thread_id"]) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [{"read": True}, {"add_labels": ["todo"]}, {"labels": ["a", "b"]}, {"move_to": "trash"}, {"move_to": "spam"}],
)
async def test_a_repeat_alters_nothing(daimon: Daimon, agent: Agent, change: dict[str, Any]) -> None:
    [letter] = await arrive(daimon, ROBO)
    first = await agent.do("update_message", message_id=letter, **change)
    place = await stands(daimon, letter)
    cursor = (await agent.do("changes", inbox=ROBO))["cursor"]
    assert await agent.do("update_message", message_id=letter, **change) == first
    assert await stands(daimon, letter) == place
    assert (await agent.do("changes", since=cursor))["changes"] == []


# --- labels -----------------------------------------------------------------------------------------------------------


async def test_labels_are_added_removed_and_replaced(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    [other] = await arrive(daimon, ROBO, subject="Second")

    async def change(**fields: Any) -> list[str]:
        done = await agent.do("update_message", message_id=letter, **fields)
        return done["labels"][2:]

    assert await change(add_labels=["Todo", " invoice ", "todo"]) == ["todo", "invoice"]
    assert await change(add_labels=["x"], remove_labels=["TODO", "never had"]) == ["invoice", "x"]
    assert await listed(agent, label="Invoice") == [letter]
    assert await listed(agent, label="todo") == []
    assert await change(labels=["new", "x"]) == ["new", "x"]
    await agent.do("update_message", message_id=other, add_labels=["x"])
    assert await listed(agent, label="x") == [other, letter]
    assert await change(labels=[]) == []
    assert await listed(agent, label="x") == [other]
    assert await counted(agent) == (2, 2, 2)


async def test_a_thread_shows_and_is_found_by_its_messages_labels(daimon: Daimon, agent: Agent) -> None:
    [first] = await arrive(daimon, ROBO, message_id="<a@x>")
    [second] = await arrive(daimon, ROBO, subject="Re: Hello", headers={"In-Reply-To": "<a@x>"})
    await agent.do("update_message", message_id=first, add_labels=["red"])
    thread_id = (await agent.do("update_message", message_id=second, add_labels=["blue"]))["thread_id"]

    async def labels() -> list[str]:
        return (await agent.do("get_thread", thread_id=thread_id))["thread"]["labels"]

    async def found(label: str) -> list[str]:
        return [each["id"] for each in (await agent.do("list_threads", inbox=ROBO, label=label))["threads"]]

    assert await labels() == ["blue", "red"]
    assert await found("Blue") == [thread_id]
    # What stands in trash is in no list, nor are its labels.
    await agent.do("update_message", message_id=second, move_to="trash")
    assert (await labels(), await found("blue")) == (["red"], [])
    await agent.do("update_message", message_id=second, move_to="inbox")
    assert (await labels(), await found("blue")) == (["blue", "red"], [thread_id])
    await agent.do("delete_message", message_id=second, permanent=True)
    assert (await labels(), await found("blue")) == (["red"], [])


async def test_the_servers_own_labels_mean_what_they_say(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)

    async def change(**fields: Any) -> list[str]:
        return (await agent.do("update_message", message_id=letter, **fields))["labels"]

    assert await change(remove_labels=["UNREAD"], add_labels=["mine"]) == ["inbox", "mine"]
    assert await change(add_labels=["unread"]) == ["inbox", "unread", "mine"]
    assert await change(add_labels=["Trash"]) == ["trash", "unread", "mine"]
    assert await change(remove_labels=["spam"]) == ["trash", "unread", "mine"]  # it is not in spam
    assert await change(remove_labels=["trash"]) == ["inbox", "unread", "mine"]
    assert await change(add_labels=["spam"]) == ["spam", "unread", "mine"]
    assert await change(remove_labels=["trash"]) == ["spam", "unread", "mine"]
    assert await change(remove_labels=["spam"]) == ["inbox", "unread", "mine"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "read"),
        ({"labels": ["a"], "add_labels": ["b"]}, "labels"),
        ({"labels": ["a"], "remove_labels": ["b"]}, "labels"),
        ({"add_labels": ["inbox"]}, "add_labels.0"),
        ({"add_labels": ["blocked"]}, "add_labels.0"),
        ({"remove_labels": ["inbox"]}, "remove_labels.0"),
        ({"remove_labels": ["sent"]}, "remove_labels.0"),
        ({"labels": ["unread"]}, "labels.0"),
        ({"labels": ["a", "sent"]}, "labels.1"),
        ({"add_labels": ["unread", "a", "sent"]}, "add_labels.2"),
        ({"add_labels": [" "]}, "add_labels.0"),
        ({"add_labels": ["a\nb"]}, "add_labels.0"),
        ({"add_labels": ["x" * 65]}, "add_labels.0"),
        ({"add_labels": [f"l{n}" for n in range(21)]}, "add_labels"),
        ({"read": True, "add_labels": ["unread"]}, "add_labels"),
        ({"read": False, "remove_labels": ["unread"]}, "remove_labels"),
        ({"add_labels": ["trash", "spam"]}, "add_labels"),
        ({"move_to": "inbox", "add_labels": ["trash"]}, "add_labels"),
        ({"move_to": "trash", "remove_labels": ["trash"]}, "remove_labels"),
        ({"move_to": "sent"}, "move_to"),
        ({"move_to": "scheduled"}, "move_to"),
    ],
)
async def test_what_contradicts_itself_or_is_not_ours_to_set_is_refused(
    daimon: Daimon, agent: Agent, fields: dict[str, Any], named: str
) -> None:
    [letter] = await arrive(daimon, ROBO)
    before = await agent.do("get_message", message_id=letter, mark_read=False)
    answer = await agent.call("update_message", message_id=letter, **fields)
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"] == named
    assert await agent.do("get_message", message_id=letter, mark_read=False) == before


async def test_a_message_has_fifty_labels_at_most_and_too_many_change_nothing(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    for page in (range(20), range(20, 40), range(40, 50)):
        await agent.do("update_message", message_id=letter, add_labels=[f"l{n}" for n in page])
    answer = await agent.call("update_message", message_id=letter, add_labels=["one more"], read=True)
    assert answer.error == "INVALID_REQUEST"
    message = await agent.do("get_message", message_id=letter, mark_read=False)
    assert (len(message["labels"]), message["read"]) == (52, False)
    swapped = await agent.do("update_message", message_id=letter, add_labels=["one more"], remove_labels=["l0"])
    assert len(swapped["labels"]) == 52


# --- places -----------------------------------------------------------------------------------------------------------


async def test_to_trash_and_back(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO, subject="Zebra", message_id="<z@x>")
    [answer] = await arrive(daimon, ROBO, subject="Re: Zebra", headers={"In-Reply-To": "<z@x>"})
    thread_id = (await agent.do("update_message", message_id=answer, read=True))["thread_id"]
    before = await mailbox(daimon, "INBOX")
    _, uid, _ = await stands(daimon, letter)
    gone = await agent.do("delete_message", message_id=letter)
    assert gone == {"deleted": True, "message_id": letter, "permanent": False, "deleted_at": NOW}
    assert await counted(agent) == (1, 0, 1)
    assert await of_thread(agent, thread_id) == (1, 0)
    await hidden(agent, letter, word="Zebra")
    assert await listed(agent, label="trash") == [letter]
    assert await listed(agent, thread_id=thread_id) == [answer]
    shown = (await agent.do("get_thread", thread_id=thread_id))["thread"]["messages"]
    assert [each["id"] for each in shown] == [answer]
    # A new UID there, a tombstone here (RFC 7162).
    after = await mailbox(daimon, "INBOX")
    assert after == {
        **before, "total": 1, "unseen": before["unseen"] - 1, "highestmodseq": before["highestmodseq"] + 1,
    }  # fmt: skip
    assert await tombstones(daimon, "INBOX") == [(uid, after["highestmodseq"])]
    assert await stands(daimon, letter) == ("Trash", 1, 1)
    assert (await mailbox(daimon, "Trash")) == {"total": 1, "unseen": 1, "uidnext": 2, "highestmodseq": 1}

    back = await agent.do("update_message", message_id=letter, move_to="inbox")
    assert back["labels"] == ["inbox", "unread"]
    assert await counted(agent) == (2, 1, 1)
    assert await of_thread(agent, thread_id) == (2, 1)
    name, new_uid, modseq = await stands(daimon, letter)
    end = await mailbox(daimon, "INBOX")
    assert (name, new_uid, modseq) == ("INBOX", before["uidnext"], end["highestmodseq"])
    assert (await mailbox(daimon, "Trash"))["total"] == 0
    assert sorted(await listed(agent)) == sorted([letter, answer])


async def test_a_second_delete_is_for_good(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO, subject="Zebra")
    thread_id = (await agent.do("update_message", message_id=letter, add_labels=["l"]))["thread_id"]
    for permanent in (False, True):
        answer = await agent.call("delete_message", message_id=letter)
        assert answer.result["permanent"] is permanent
        assert await counted(agent) == (0, 0, 0)
    await gone_for_good(agent, letter, thread_id)
    assert (await mailbox(daimon, "Trash")) == {"total": 0, "unseen": 0, "uidnext": 2, "highestmodseq": 2}
    assert await tombstones(daimon, "Trash") == [(1, 2)]


async def test_deleted_for_good_is_gone_at_once(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO, subject="Zebra")
    thread_id = (await agent.do("update_message", message_id=letter, add_labels=["l"]))["thread_id"]
    answer = await agent.call("delete_message", message_id=letter, permanent=True)
    assert answer.result == {"deleted": True, "message_id": letter, "permanent": True, "deleted_at": NOW}
    assert await counted(agent) == (0, 0, 0)
    await gone_for_good(agent, letter, thread_id)


async def gone_for_good(agent: Agent, letter: str, thread_id: str) -> None:
    await hidden(agent, letter, word="Zebra")
    for label in ("trash", "spam", "l", "unread"):
        assert await listed(agent, label=label) == []
    assert (await agent.do("list_threads", inbox=ROBO))["threads"] == []
    assert (await agent.do("get_thread", thread_id=thread_id))["thread"]["messages"] == []
    for tool, arguments in (
        ("get_message", {}),
        ("get_message", {"include": ["headers"]}),
        ("update_message", {"read": True}),
        ("update_message", {"move_to": "inbox"}),
        ("delete_message", {}),
        ("delete_message", {"permanent": True}),
        ("reply_to_message", {"body": "x"}),
        ("forward_message", {"to": OTHER}),
    ):
        assert (await agent.call(tool, message_id=letter, **arguments)).error == "MESSAGE_NOT_FOUND", tool
    for tool, arguments in (
        ("send_email", {"to": OTHER, "subject": "s", "body": "b", "in_reply_to": letter}),
        ("create_draft", {"body": "b", "reply_to_message": letter}),
        ("create_draft", {"to": OTHER, "forward_of": letter}),
    ):
        assert (await agent.call(tool, inbox=ROBO, **arguments)).error == "MESSAGE_NOT_FOUND", tool


async def test_sent_mail_goes_back_to_sent(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Ping", body="x")
    for move in ("trash", "spam"):
        away = await agent.do("update_message", message_id=sent["id"], move_to=move)
        assert (away["labels"], away["delivery_status"]) == ([move], "delivered")
        assert await counted(agent) == (0, 0, 0)
        back = await agent.do("update_message", message_id=sent["id"], move_to="inbox")
        assert back["labels"] == ["sent"]
        assert await counted(agent) == (1, 0, 1)
    stays = await agent.do("update_message", message_id=sent["id"], move_to="inbox")
    assert stays["labels"] == ["sent"]


async def test_from_trash_to_spam_moves_no_counter_of_the_inbox(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    await agent.do("update_message", message_id=letter, move_to="trash")
    await agent.do("update_message", message_id=letter, read=True)
    assert await counted(agent) == (0, 0, 0)
    moved = await agent.do("update_message", message_id=letter, move_to="spam", read=False)
    assert moved["labels"] == ["spam", "unread"]
    assert await counted(agent) == (0, 0, 0)
    assert (await listed(agent, label="spam"), await listed(agent, label="trash")) == ([letter], [])
    assert await listed(agent, label="blocked") == []
    [read] = await arrive(daimon, ROBO)
    await agent.do("update_message", message_id=letter, move_to="inbox")
    assert await counted(agent) == (2, 2, 2)
    assert set(await listed(agent, unread=True)) == {letter, read}


async def test_mail_that_waits_to_be_sent_cannot_be_moved_but_marked_and_labelled(daimon: Daimon, agent: Agent) -> None:
    later = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", send_at=LATER)
    place = await stands(daimon, later["id"])
    for tool, arguments in (
        ("update_message", {"move_to": "trash", "add_labels": ["kept?"]}),
        ("update_message", {"move_to": "inbox"}),
        ("update_message", {"add_labels": ["trash"]}),
        ("delete_message", {}),
        ("delete_message", {"permanent": True}),
    ):
        answer = await agent.call(tool, message_id=later["id"], **arguments)
        assert answer.error == "INVALID_REQUEST", arguments
        assert "cancel_scheduled" in answer.text
    assert await stands(daimon, later["id"]) == place
    marked = await agent.do("update_message", message_id=later["id"], add_labels=["soon"])
    assert marked["labels"] == ["scheduled", "soon"]
    daimon.later(3601)
    waited = await agent.do("wait_for_message", inbox=OTHER)
    assert waited["message"]["subject"] == "s"


async def test_cancelled_mail_cannot_be_filed(agent: Agent) -> None:
    later = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", send_at=LATER)
    await agent.do("cancel_scheduled", message_id=later["id"])
    for tool, arguments in (("update_message", {"move_to": "inbox"}), ("delete_message", {"permanent": True})):
        assert (await agent.call(tool, message_id=later["id"], **arguments)).error == "MESSAGE_NOT_FOUND"
    assert (await agent.do("get_message", message_id=later["id"]))["delivery_status"] == "cancelled"


async def test_many_at_once_about_one_message_leave_one_truth(daimon: Daimon, agent: Agent) -> None:
    """The checks after every test find a counter that was moved twice."""
    letters = [(await arrive(daimon, ROBO, subject=f"{n}"))[0] for n in range(4)]
    errors: list[str] = []

    async def act(letter: str, tool: str, **arguments: Any) -> None:
        answer = await agent.call(tool, message_id=letter, **arguments)
        if answer.is_error:
            errors.append(answer.error)

    async with anyio.create_task_group() as tasks:
        for letter in letters:
            for n in range(3):
                tasks.start_soon(lambda letter=letter: act(letter, "update_message", move_to="trash", read=True))
                tasks.start_soon(lambda letter=letter: act(letter, "update_message", move_to="inbox", read=False))
                tasks.start_soon(lambda letter=letter, n=n: act(letter, "update_message", add_labels=[f"l{n}"]))
        for _ in range(2):
            tasks.start_soon(lambda: act(letters[0], "delete_message", permanent=True))
    assert set(errors) <= {"MESSAGE_NOT_FOUND"}
    assert letters[0] not in await listed(agent)
    for letter in letters[1:]:
        labels = (await agent.do("get_message", message_id=letter))["labels"]
        assert {"l0", "l1", "l2"} <= set(labels)


# --- whole threads ----------------------------------------------------------------------------------------------------


async def conversation(daimon: Daimon, agent: Agent, count: int) -> tuple[str, list[str]]:
    first = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Plan", body="x")
    letters = [first["id"]]
    for n in range(count - 1):
        headers = {"References": first["message_id"]}
        letters += await arrive(daimon, ROBO, subject="Re: Plan", body=f"{n}", headers=headers)
    return first["thread_id"], letters


async def test_a_thread_is_marked_labelled_and_moved_as_one(daimon: Daimon, agent: Agent) -> None:
    thread_id, letters = await conversation(daimon, agent, 30)
    [apart] = await arrive(daimon, ROBO, subject="Apart")

    async def change(**fields: Any) -> tuple[int, dict[str, Any]]:
        done = await agent.do("update_thread", thread_id=thread_id, **fields)
        return done["messages_changed"], done["thread"]

    changed, thread = await change(read=True, add_labels=["plan"])
    assert (changed, thread["unread_count"], thread["labels"]) == (30, 0, ["plan"])
    assert await counted(agent) == (31, 1, 2)
    assert set(await listed(agent, label="plan")) == set(letters)
    assert (await change(read=True))[0] == 0  # the one that was sent was read before
    changed, thread = await change(move_to="trash")
    assert (changed, thread["message_count"]) == (30, 0)
    assert await counted(agent) == (1, 1, 1)
    assert [each["subject"] for each in (await agent.do("list_threads", inbox=ROBO))["threads"]] == ["Apart"]
    changed, thread = await change(move_to="inbox", labels=[])
    assert (changed, thread["message_count"], thread["labels"]) == (30, 30, [])
    assert (await agent.do("get_message", message_id=letters[0]))["labels"] == ["sent"]
    assert await counted(agent) == (31, 1, 2)
    assert apart in await listed(agent, unread=True)


async def test_moving_a_thread_leaves_what_waits_to_be_sent(daimon: Daimon, agent: Agent) -> None:
    thread_id, _ = await conversation(daimon, agent, 2)
    later = await agent.do(
        "send_email", inbox=ROBO, to=OTHER, subject="Plan", body="later", thread_id=thread_id, send_at=LATER
    )
    moved = await agent.do("update_thread", thread_id=thread_id, move_to="trash", add_labels=["old"])
    assert (moved["messages_changed"], moved["thread"]["message_count"]) == (2, 1)
    assert (await agent.do("get_message", message_id=later["id"]))["labels"] == ["scheduled"]
    deleted = await daimon.operations.filing.delete_thread(await daimon.actor(), DeleteThread(thread_id=thread_id))
    assert deleted.result["messages_deleted"] == 0


async def test_deleting_a_thread_puts_it_in_trash(daimon: Daimon, agent: Agent) -> None:
    thread_id, letters = await conversation(daimon, agent, 5)
    outcome = await daimon.operations.filing.delete_thread(await daimon.actor(), DeleteThread(thread_id=thread_id))
    assert outcome.result == {"deleted": True, "thread_id": thread_id, "messages_deleted": 5}
    assert await counted(agent) == (0, 0, 0)
    assert set(await listed(agent, label="trash")) == set(letters)


async def test_one_message_too_full_of_labels_leaves_the_whole_thread_as_it_was(daimon: Daimon, agent: Agent) -> None:
    thread_id, letters = await conversation(daimon, agent, 3)
    for page in (range(20), range(20, 40), range(40, 50)):
        await agent.do("update_message", message_id=letters[2], add_labels=[f"l{n}" for n in page])
    cursor = (await agent.do("changes", inbox=ROBO))["cursor"]
    assert (await agent.call("update_thread", thread_id=thread_id, add_labels=["more"])).error == "INVALID_REQUEST"
    assert (await agent.do("changes", since=cursor))["changes"] == []


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_a_foreign_id_answers_like_an_unknown_one(daimon: Daimon, agent: Agent) -> None:
    [mine] = await arrive(daimon, ROBO)
    [others] = await arrive(daimon, OTHER)
    thread_id = (await agent.do("get_message", message_id=others))["thread_id"]
    made = await agent.do("create_inbox", username="third")
    key = await daimon.operations.credentials.authenticate(made["api_key"])
    filing = daimon.operations.filing
    unknown = await agent.call("update_message", message_id="msg_00000000000000000000000000", read=True)
    for message_id in (mine, others):
        with pytest.raises(Refused) as refused:
            await filing.update_message(key, UpdateMessage(message_id=message_id, read=True))
        assert (await daimon.refusal(refused.value, key))["error"] == unknown.error == "MESSAGE_NOT_FOUND"
    with pytest.raises(Refused) as refused:
        await filing.delete_thread(key, DeleteThread(thread_id=thread_id))
    assert (await daimon.refusal(refused.value, key))["error"] == "THREAD_NOT_FOUND"
    own = Actor(key.account_no, key.account_id)
    assert (await filing.update_message(own, UpdateMessage(message_id=mine, read=True))).result["read"] is True


@pytest.mark.parametrize("reference", ["", "msg_", "x", "thr_00000000000000000000000000", "msg_" + "0" * 300])
async def test_what_is_no_message_is_not_found(agent: Agent, reference: str) -> None:
    answer = await agent.call("update_message", message_id=reference, read=True)
    assert answer.error in {"MESSAGE_NOT_FOUND", "INVALID_REQUEST"}
    answer = await agent.call("update_thread", thread_id=reference, read=True)
    assert answer.error in {"THREAD_NOT_FOUND", "INVALID_REQUEST"}


async def test_a_server_for_reading_files_nothing(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    looking = replace(await daimon.actor(), read_only=True)
    filing = daimon.operations.filing
    for done in (
        filing.update_message(looking, UpdateMessage(message_id=letter, read=True)),
        filing.delete_message(looking, DeleteMessage(message_id=letter)),
    ):
        with pytest.raises(Refused) as refused:
            await done
        assert (await daimon.refusal(refused.value))["error"] == "FORBIDDEN"
    async with daimon.agent(read_only=True) as reader:
        offered = {tool.name for tool in (await reader.client.list_tools()).tools}
        assert not offered & {"update_message", "update_thread", "delete_message", "add_to_list", "remove_from_list"}
    assert await listed(agent, unread=True) == [letter]
