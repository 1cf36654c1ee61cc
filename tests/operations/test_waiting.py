"""wait_for_message: nothing that arrives is missed, whoever waits and whenever it comes."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive

from daimon_mcp.operations.requests import read
from daimon_mcp.operations.waiting import WaitForMessage
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Row


def listeners(daimon: Daimon) -> int:
    return len(daimon.operations.core.bus._subscribers)  # pyright: ignore[reportPrivateUsage]


async def heard(daimon: Daimon, count: int) -> None:
    """Until so many more than now listen to the bell."""
    with anyio.fail_after(5):
        while listeners(daimon) < count:
            await anyio.lowlevel.checkpoint()


async def wait(agent: Agent, **arguments: Any) -> dict[str, Any]:
    return await agent.do("wait_for_message", **{"inbox": ROBO, "timeout_seconds": 5, **arguments})


async def test_mail_that_is_there_is_returned_at_once_oldest_first_and_once(daimon: Daimon, agent: Agent) -> None:
    letters = [(await arrive(daimon, ROBO, subject=f"{n}"))[0] for n in range(3)]
    found = [(await wait(agent, timeout_seconds=0))["message"]["id"] for _ in range(3)]
    assert found == letters
    last = await wait(agent, timeout_seconds=0)
    assert (last["message"], last["timed_out"]) == (None, True)


async def test_mail_that_comes_while_waiting_wakes_the_waiter(daimon: Daimon, agent: Agent) -> None:
    before = listeners(daimon)
    found: list[str] = []

    async def waiter() -> None:
        found.append((await wait(agent))["message"]["subject"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        await heard(daimon, before + 1)
        await arrive(daimon, OTHER, subject="not yours")
        await arrive(daimon, ROBO, subject="yours")
    assert found == ["yours"]
    assert listeners(daimon) == before


async def test_every_one_of_many_waiters_is_woken(daimon: Daimon, agent: Agent) -> None:
    before = listeners(daimon)
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    found: list[str] = []

    async def waiter(n: int) -> None:
        result = await wait(agent, after=cursor, subject=f"letter {n % 5}", mark_read=False)
        found.append(result["message"]["subject"])

    async with anyio.create_task_group() as tasks:
        for n in range(30):
            tasks.start_soon(waiter, n)
        await heard(daimon, before + 30)
        for n in range(5):
            await arrive(daimon, ROBO, subject=f"letter {n}")
    assert sorted(found) == sorted(f"letter {n % 5}" for n in range(30))
    assert listeners(daimon) == before


async def test_what_is_committed_between_look_and_wait_is_not_missed(daimon: Daimon, agent: Agent) -> None:
    """Letters come at every point of a wait; each is found, by following the cursor."""
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    found: list[str] = []

    async def waiter() -> None:
        nonlocal cursor
        while len(found) < 60:
            result = await wait(agent, after=cursor)
            assert not result["timed_out"]
            found.append(result["message"]["subject"])
            cursor = result["cursor"]

    async def sender(which: int) -> None:
        for n in range(20):
            for _ in range(n % 7):
                await anyio.lowlevel.checkpoint()
            await arrive(daimon, ROBO, subject=f"{which}-{n}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        for which in range(3):
            tasks.start_soon(sender, which)
    assert sorted(found) == sorted(f"{which}-{n}" for which in range(3) for n in range(20))
    assert len(set(found)) == 60


@pytest.mark.parametrize("source", ["list_messages", "send_email", "wait_for_message"])
async def test_any_cursor_is_a_place_to_wait_from(daimon: Daimon, agent: Agent, source: str) -> None:
    await arrive(daimon, ROBO, subject="before")
    match source:
        case "list_messages":
            cursor = (await agent.do("list_messages", inbox=ROBO, limit=1))["cursor"]
        case "send_email":
            cursor = (await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b"))["cursor"]
        case _:
            cursor = (await wait(agent))["cursor"]
    await arrive(daimon, ROBO, subject="after")
    assert (await wait(agent, after=cursor))["message"]["subject"] == "after"


async def test_the_answer_to_a_send_is_found_by_the_sends_cursor(agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Ping", body="x")
    question = (await agent.do("wait_for_message", inbox=OTHER, timeout_seconds=0))["message"]
    await agent.do("reply_to_message", message_id=question["id"], body="Pong")
    answer = await wait(agent, after=sent["cursor"], thread_id=sent["thread_id"])
    assert answer["message"]["reply_body"].strip() == "Pong"


async def test_no_time_left_looks_once(agent: Agent) -> None:
    with anyio.fail_after(5):
        result = await wait(agent, timeout_seconds=0)
    assert result["timed_out"]
    answer = await agent.call("wait_for_message", inbox=ROBO, timeout_seconds=0)
    assert any("cursor" in step for step in answer.envelope["next_steps"])


async def test_the_cursor_of_a_wait_that_found_nothing_goes_on_from_there(daimon: Daimon, agent: Agent) -> None:
    nothing = await wait(agent, timeout_seconds=0)
    await arrive(daimon, ROBO, subject="late")
    assert (await wait(agent, after=nothing["cursor"]))["message"]["subject"] == "late"


async def test_filters_look_at_sender_subject_and_thread(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO, subject="Invoice 1", sender="Billing <bill@example.com>", message_id="<i@x>")
    await arrive(daimon, ROBO, subject="Hello", sender="Ann <ann@example.org>")
    await arrive(daimon, ROBO, subject="Re: Invoice 1", sender="zed@example.net", headers={"In-Reply-To": "<i@x>"})
    first = await wait(agent, subject="INVOICE", **{"from": "billing"}, mark_read=False)
    assert first["message"]["subject"] == "Invoice 1"
    assert (await wait(agent, **{"from": "ann@"}, mark_read=False))["message"]["subject"] == "Hello"
    thread_id = first["message"]["thread_id"]
    second = await wait(agent, thread_id=thread_id, after=first["cursor"], mark_read=False)
    assert second["message"]["subject"] == "Re: Invoice 1"
    assert (await wait(agent, **{"from": "nobody"}, timeout_seconds=0))["timed_out"]
    assert (await wait(agent, thread_id=thread_id, after=second["cursor"], timeout_seconds=0))["timed_out"]


async def test_bounces_and_automatic_answers_count(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Ping", body="x")
    await arrive(
        daimon,
        ROBO,
        subject="Out of office",
        headers={"Auto-Submitted": "auto-replied", "In-Reply-To": sent["message_id"]},
    )
    automatic = await wait(agent, thread_id=sent["thread_id"], after=sent["cursor"])
    assert automatic["message"]["kind"] == "auto_reply"
    await arrive(
        daimon, ROBO, mail_from="", sender="MAILER-DAEMON@example.com", subject="Undelivered",
        headers={
            "In-Reply-To": sent["message_id"],
            "Content-Type": 'multipart/report; report-type=delivery-status; boundary="b"',
        },
        body="--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
        "Final-Recipient: rfc822; z@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--",
    )  # fmt: skip
    bounce = await wait(agent, thread_id=sent["thread_id"], after=automatic["cursor"])
    assert bounce["message"]["kind"] == "bounce"


async def test_reading_marks_or_does_not(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO)
    assert (await wait(agent, mark_read=False))["message"]["read"] is False
    found = (await wait(agent))["message"]
    assert (found["read"], "unread" in found["labels"]) == (True, False)
    assert (await agent.do("get_inbox", inbox=ROBO))["unread_count"] == 0


async def test_a_wait_that_is_called_off_leaves_nothing_behind(daimon: Daimon, agent: Agent) -> None:
    before = listeners(daimon)
    actor = await daimon.actor()
    request = read(WaitForMessage, {"inbox": ROBO, "timeout_seconds": 300})
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(daimon.operations.waiting.wait_for_message, actor, request)
        await heard(daimon, before + 10)
        tasks.cancel_scope.cancel()
    assert listeners(daimon) == before
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: agent.call("wait_for_message", inbox=ROBO, timeout_seconds=300))
        await heard(daimon, before + 1)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        while listeners(daimon) != before:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("cursor", ["x", "AAAA", "!!!!!!!!!!!", "é" * 11, "A" * 4000, "_" * 11])
async def test_a_made_up_cursor_is_refused(agent: Agent, cursor: str) -> None:
    for tool, field in (("wait_for_message", "after"), ("list_messages", "cursor")):
        answer = await agent.call(tool, inbox=ROBO, **{field: cursor})
        assert answer.error == "INVALID_REQUEST"
        assert answer.envelope["fields"][0]["field"] == field


async def test_a_cursor_of_another_inbox_is_refused(agent: Agent) -> None:
    cursor = (await agent.do("list_messages", inbox=OTHER))["cursor"]
    answer = await agent.call("wait_for_message", inbox=ROBO, after=cursor)
    assert (answer.error, answer.envelope["code"]) == ("INBOX_NOT_FOUND", "CURSOR_OF_ANOTHER_INBOX")


# --- kinds, codes and links -------------------------------------------------------------------------------------------

SIGN_UP = """Welcome aboard, dear newcomer!

Your verification code is 482913. Wizards never share it.

Confirm your address here: https://login.shop.example/verify?token=Zm9vYmFy
Unsubscribe: https://shop.example/unsubscribe
"""
SHOP: dict[str, Any] = {"sender": "Shop <no-reply@shop.example>", "subject": "Your sign-in", "body": SIGN_UP}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


async def test_a_wait_for_a_kind_passes_over_the_others(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO, subject="Human")
    await arrive(daimon, ROBO, subject="Away", headers={"Auto-Submitted": "auto-replied"})
    await arrive(daimon, ROBO, subject="News", headers={"List-Unsubscribe": "<https://x.example/u>"})
    for kind, subject in (("auto_reply", "Away"), ("newsletter", "News"), ("human", "Human")):
        assert (await wait(agent, kind=kind, timeout_seconds=0))["message"]["subject"] == subject
    assert (await wait(agent, kind="bounce", timeout_seconds=0))["timed_out"]
    assert (await agent.call("wait_for_message", inbox=ROBO, kind="spam")).error == "INVALID_REQUEST"


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("want", "found"),
    [("code", ("value", "482913")), ("link", ("url", "https://login.shop.example/verify?token=Zm9vYmFy"))],
)
async def test_only_the_code_or_the_link_is_answered_never_the_text(
    daimon: Daimon, agent: Agent, want: str, found: tuple[str, str], later: bool
) -> None:
    before = listeners(daimon)
    answers: list[Any] = []
    shop: list[str] = []

    async def waiter() -> None:
        answers.append(await agent.call("wait_for_message", inbox=ROBO, want=want, timeout_seconds=20))

    async with anyio.create_task_group() as tasks:
        if later:
            tasks.start_soon(waiter)
            await heard(daimon, before + 1)
        await arrive(daimon, ROBO, subject="Hello", body="Lunch at noon? Call 555-0199 or so.")
        [letter] = await arrive(daimon, ROBO, **SHOP)
        if not later:
            tasks.start_soon(waiter)
        shop.append(letter)
    [answer], [letter] = answers, shop
    result = answer.result
    assert result[want][found[0]] == found[1]
    assert set(result) == {want, "source", "timed_out", "cursor"}
    assert result["source"] == {
        "id": letter, "thread_id": result["source"]["thread_id"], "from_address": "no-reply@shop.example",
        "from_name": "Shop", "subject": "Your sign-in", "received_at": "2026-11-10T12:00:00Z",
    }  # fmt: skip
    # Nothing of the text, in no part of what the agent is handed: not even what surrounds the code.
    everything = json.dumps(answer.envelope) + answer.text
    assert not words("welcome aboard dear newcomer wizards share unsubscribe lunch noon") & words(everything)
    # The one that was passed over is still there for whoever looks.
    assert (await wait(agent, timeout_seconds=0))["message"]["subject"] == "Hello"
    assert (await wait(agent, timeout_seconds=0))["timed_out"]


@pytest.mark.parametrize("want", ["code", "link"])
async def test_mail_without_one_is_waited_past_and_a_cursor_passes_nothing(
    daimon: Daimon, agent: Agent, want: str
) -> None:
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    plain = [(await arrive(daimon, ROBO, subject=f"{n}", body="Nothing here."))[0] for n in range(3)]
    nothing = await wait(agent, want=want, after=cursor, timeout_seconds=0)
    assert (nothing[want], nothing["timed_out"], "message" in nothing) == (None, True, False)
    assert set(plain) == {each["id"] for each in (await agent.do("list_messages", inbox=ROBO, unread=True))["messages"]}
    await arrive(daimon, ROBO, **SHOP)
    another: dict[str, Any] = {**SHOP, "body": SIGN_UP.replace("482913", "771204").replace("Zm9v", "Zm8v")}
    await arrive(daimon, ROBO, **another)
    first = await wait(agent, want=want, after=nothing["cursor"], mark_read=False)
    second = await wait(agent, want=want, after=first["cursor"], mark_read=False)
    assert first[want] != second[want]
    assert (await wait(agent, want=want, after=second["cursor"], timeout_seconds=0))["timed_out"]


# --- threads that split and join --------------------------------------------------------------------------------------


async def test_an_answer_under_another_subject_wakes_who_waits_for_an_answer(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Quarterly budget", body="Please look at it.")
    before = listeners(daimon)
    found: list[dict[str, Any]] = []
    letters: list[str] = []

    async def waiter() -> None:
        found.append((await wait(agent, after=sent["cursor"], thread_id=sent["thread_id"]))["message"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        await heard(daimon, before + 1)
        headers = {"In-Reply-To": sent["message_id"]}
        letters += await arrive(daimon, ROBO, subject="Where do we eat", headers=headers, body="Hungry.")
    assert [each["id"] for each in found] == letters
    assert found[0]["thread_id"] != sent["thread_id"]
    again = await wait(agent, after=sent["cursor"], thread_id=sent["thread_id"], mark_read=False)
    assert again["message"]["id"] == letters[0]


async def test_a_wait_follows_its_thread_into_another(daimon: Daimon, agent: Agent) -> None:
    """The answer shows that two threads are one, and the one that was waited on is now part of the other."""
    for n in range(3):
        headers = {"Cc": OTHER, **({"References": "<long@x>"} if n else {})}
        await arrive(daimon, ROBO, subject="Project", message_id="<long@x>" if not n else "", headers=headers)
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Project", body="x")
    before = listeners(daimon)
    found: list[dict[str, Any]] = []
    letters: list[str] = []

    async def waiter() -> None:
        found.append((await wait(agent, after=sent["cursor"], thread_id=sent["thread_id"]))["message"])

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(waiter)
        await heard(daimon, before + 3)
        headers = {"References": f"<long@x> {sent['message_id']}"}
        letters += await arrive(daimon, ROBO, sender=OTHER, subject="Re: Project", headers=headers)
    assert [each["id"] for each in found] == letters * 3
    assert found[0]["thread_id"] != sent["thread_id"]
    later = await wait(agent, after=sent["cursor"], thread_id=sent["thread_id"], timeout_seconds=0)
    assert later["message"]["id"] == letters[0]


# --- many who wait ----------------------------------------------------------------------------------------------------


async def test_of_two_thousand_who_wait_only_the_one_it_is_for_looks(
    daimon: Daimon, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = (await agent.do("list_messages", inbox=ROBO))["cursor"]
    actor = await daimon.actor()
    before = listeners(daimon)
    database = daimon.operations.core.database
    all_rows = database.all
    reads = looked = 0
    settled = anyio.Event()

    async def counting(statement: Statement, *, slow: bool = False, **values: Any) -> list[Row]:
        nonlocal reads, looked
        reads += 1
        rows = await all_rows(statement, slow=slow, **values)
        if statement is sql.arrived_after:
            looked += 1
            if looked == 2000:  # they have all looked, and found nothing
                settled.set()
        return rows

    monkeypatch.setattr(database, "all", counting)
    found: dict[int, str] = {}
    one_found = anyio.Event()

    async def waiter(n: int) -> None:
        asked = {"inbox": ROBO, "after": cursor, "subject": f"<{n}>", "timeout_seconds": 300, "mark_read": False}
        outcome = await daimon.operations.waiting.wait_for_message(actor, read(WaitForMessage, asked))
        found[n] = outcome.result["message"]["subject"]
        one_found.set()

    async with anyio.create_task_group() as tasks:
        for n in range(2000):
            tasks.start_soon(waiter, n)
        with anyio.fail_after(60):
            await settled.wait()
        assert listeners(daimon) == before + 2000
        for n in (1000, 7, 1999):
            at_rest, one_found = reads, anyio.Event()
            await arrive(daimon, ROBO, subject=f"for <{n}>")
            with anyio.fail_after(10):
                await one_found.wait()
            assert looked <= 2000 + len(found)
            assert reads - at_rest < 30, f"{reads - at_rest} reads to wake one"
        assert found == {n: f"for <{n}>" for n in (1000, 7, 1999)}
        tasks.cancel_scope.cancel()
    assert listeners(daimon) == before
