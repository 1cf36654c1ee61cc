"""wait_for_message: nothing that arrives is missed, whoever waits and whenever it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, clock_at

from daimon_mcp.operations.requests import read
from daimon_mcp.operations.waiting import WaitForMessage


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", workers=True, clock=clock_at("2026-11-10T12:00:00Z")) as made:
        await made.upgrade()
        yield made


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        await made.do("create_inbox", username="robo")
        await made.do("create_inbox", username="other")
        yield made


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
    with anyio.fail_after(1):
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
