"""Counting sends: exact under concurrency, per recipient, given back, and anew each day, month and minute."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Answer, Daimon, running
from tests.support.post import OTHER, ROBO, clock_at, delivered_to, until

from daimon_mcp.domain.tiers import Tier

# The minute's limit is asked in tests of its own.
ROOMY: dict[str, Any] = {"limits": {"starter": {"sends_per_minute": 1_000}}}


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncGenerator[Daimon]:
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", ROOMY, workers=True, clock=clock) as made:
        yield made


@pytest.fixture
async def tight(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", workers=True, clock=clock_at("2026-11-10T12:00:00Z")) as made:
        yield made


async def prepared(agent: Agent) -> None:
    for name in ("robo", "other", "ada", "bea", "cyd"):
        await agent.do("create_inbox", username=name)


async def many(agent: Agent, requests: list[dict[str, Any]]) -> list[Answer]:
    answers: list[Answer] = []

    async def one(request: dict[str, Any]) -> None:
        answers.append(await agent.call("send_email", inbox=ROBO, **request))

    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(one, request)
    return answers


def note(n: int, to: Any = OTHER, **more: Any) -> dict[str, Any]:
    return {"to": to, "subject": f"Note {n}", "body": "x", **more}


async def test_two_hundred_at_once_let_exactly_a_hundred_leave(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    async with roomy.agent() as agent:
        await prepared(agent)
        answers = await many(agent, [note(n) for n in range(200)])
        refused = [answer for answer in answers if answer.is_error]
        assert {answer.error for answer in refused} == {"SEND_LIMIT_EXCEEDED"}
        assert len(refused) == 100
        account = await agent.do("get_account")
        assert (account["sends_today"], account["sends_this_month"]) == (100, 100)
        assert len(await delivered_to(agent, OTHER)) == 100


async def test_several_recipients_each_never_go_over(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    three = ["ada@agents.localhost", "bea@agents.localhost", "cyd@agents.localhost"]
    async with roomy.agent() as agent:
        await prepared(agent)
        answers = await many(agent, [note(n, three[: n % 3 + 1]) for n in range(90)])
        left = sum(len(answer.result["recipients"]) for answer in answers if not answer.is_error)
        assert 98 <= left <= 100  # three may not fit where one still does
        assert (await agent.do("get_account"))["sends_this_month"] == left


async def test_scheduling_and_cancelling_in_between_keep_the_count_exact(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    async with roomy.agent() as agent:
        await prepared(agent)
        cancelled = 0

        async def one(n: int) -> None:
            nonlocal cancelled
            send_at = "2026-11-10T13:00:00Z" if n % 2 else None
            answer = await agent.call("send_email", inbox=ROBO, **note(n, send_at=send_at))
            if n % 4 == 1 and not answer.is_error:
                await agent.do("cancel_scheduled", message_id=answer.result["id"])
                cancelled += 1

        async with anyio.create_task_group() as tasks:
            for n in range(160):
                tasks.start_soon(one, n)
        counted = (await agent.do("get_account"))["sends_today"]
        assert 100 - cancelled <= counted <= 100
        extra = await many(agent, [note(n) for n in range(1000, 1101)])
        assert sum(not answer.is_error for answer in extra) == 100 - counted
        roomy.later(3601)

        async def none_scheduled() -> bool | None:
            waiting = await agent.do("list_messages", inbox=ROBO, label="scheduled")
            return True if not waiting["messages"] else None

        await until(roomy, none_scheduled)
        assert len(await delivered_to(agent, OTHER)) == 100


async def test_a_mailbox_named_twice_counts_once(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    async with roomy.agent() as agent:
        await prepared(agent)
        sent = await agent.do(
            "send_email", inbox=ROBO, **note(1, [OTHER, "Other <OTHER@agents.localhost>"], cc=OTHER, bcc=[OTHER, ROBO])
        )
        assert sent["recipients"] == [OTHER, ROBO]
        assert sent["usage"]["sends_today"] == 2
        assert len(await delivered_to(agent, OTHER)) == 1


async def test_what_a_send_does_not_get_is_not_counted(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    async with roomy.agent() as agent:
        await prepared(agent)
        for to, code in (
            ("nobody@agents.localhost", "RECIPIENT_REFUSED"),
            ([OTHER, "nobody@agents.localhost"], "RECIPIENT_REFUSED"),
            ("ann@example.com", "RELAY_NOT_CONFIGURED"),
        ):
            assert (await agent.call("send_email", inbox=ROBO, **note(1, to))).error == code
        assert (await agent.do("get_account"))["sends_this_month"] == 0
        assert (await agent.do("list_messages", inbox=ROBO))["messages"] == []
        assert await delivered_to(agent, OTHER) == []


async def test_scheduled_mail_counts_in_the_day_and_month_it_leaves_in(roomy: Daimon) -> None:
    await roomy.upgrade(Tier.STARTER)
    async with roomy.agent() as agent:
        await prepared(agent)
        later = await agent.do("send_email", inbox=ROBO, **note(1, send_at="2026-12-01T00:00:00Z"))
        assert (later["usage"]["sends_today"], later["usage"]["sends_this_month"]) == (0, 0)
        full = await many(agent, [note(n, send_at="2026-12-01T10:00:00Z") for n in range(2, 102)])
        refused = [answer for answer in full if answer.is_error]
        assert len(refused) == 1
        assert refused[0].envelope["current_usage"]["reset_at"] == "2027-01-01T00:00:00Z"
        now = await agent.do("send_email", inbox=ROBO, **note(200))
        assert now["usage"]["sends_today"] == 1
        await agent.do("cancel_scheduled", message_id=later["id"])
        again = await agent.do("send_email", inbox=ROBO, **note(201, send_at="2026-12-31T23:59:59Z"))
        assert again["status"] == "scheduled"


async def test_days_and_months_start_anew(tmp_path: Path) -> None:
    sections = {"limits": {"starter": {"sends_per_minute": 1_000, "sends_per_month": 150}}}
    clock = clock_at("2026-11-30T12:00:00Z")
    async with running(tmp_path / "data", sections, workers=True, clock=clock) as daimon, daimon.agent() as agent:
        await daimon.upgrade(Tier.STARTER)
        await prepared(agent)
        assert not any(answer.is_error for answer in await many(agent, [note(n) for n in range(100)]))
        day = await agent.call("send_email", inbox=ROBO, **note(100))
        assert (day.envelope["code"], day.envelope["message"]) == (
            "DAILY_SEND_QUOTA",
            "Daily send limit reached (100/100). Upgrade to increase limit.",
        )
        assert day.envelope["retry_after"] == 12 * 3600
        assert day.envelope["current_usage"]["reset_at"] == "2026-12-01T00:00:00Z"
        daimon.later(12 * 3600)
        first = await agent.do("send_email", inbox=ROBO, **note(100))
        assert (first["usage"]["sends_today"], first["usage"]["sends_this_month"]) == (1, 1)


async def test_the_month_is_a_limit_of_its_own(tmp_path: Path) -> None:
    sections = {"limits": {"starter": {"sends_per_minute": 1_000, "sends_per_month": 150}}}
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", sections, clock=clock) as daimon, daimon.agent() as agent:
        await daimon.upgrade(Tier.STARTER)
        await prepared(agent)
        await many(agent, [note(n) for n in range(100)])
        daimon.later(24 * 3600)
        answers = await many(agent, [note(n) for n in range(100, 151)])
        [over] = [answer for answer in answers if answer.is_error]
        assert over.envelope["code"] == "MONTHLY_SEND_QUOTA"
        assert over.envelope["message"] == "Monthly send limit reached (150/150). Upgrade to increase limit."


async def test_ten_a_minute_and_no_more_in_any_minute(tight: Daimon) -> None:
    await tight.upgrade(Tier.STARTER)
    async with tight.agent() as agent:
        await prepared(agent)
        for n in range(5):
            await agent.do("send_email", inbox=ROBO, **note(n))
        tight.later(30)
        for n in range(5, 10):
            await agent.do("send_email", inbox=ROBO, **note(n))
        burst = await agent.call("send_email", inbox=ROBO, **note(10))
        assert (burst.error, burst.envelope["code"]) == ("RATE_LIMIT_EXCEEDED", "SEND_BURST_LIMIT")
        assert burst.envelope["retry_after"] > 0
        tight.later(30)
        for n in range(10, 15):
            await agent.do("send_email", inbox=ROBO, **note(n))
        assert (await agent.call("send_email", inbox=ROBO, **note(15))).error == "RATE_LIMIT_EXCEEDED"


async def test_fifty_at_once_keep_to_the_minutes_limit(tight: Daimon) -> None:
    await tight.upgrade(Tier.STARTER)
    async with tight.agent() as agent:
        await prepared(agent)
        answers = await many(agent, [note(n) for n in range(50)])
        assert sum(not answer.is_error for answer in answers) == 10


async def test_mail_scheduled_for_later_takes_no_place_in_this_minute(tight: Daimon) -> None:
    await tight.upgrade(Tier.STARTER)
    async with tight.agent() as agent:
        await prepared(agent)
        for n in range(30):
            await agent.do("send_email", inbox=ROBO, **note(n, send_at="2026-11-11T00:00:00Z"))
        assert (await agent.do("send_email", inbox=ROBO, **note(99)))["status"] == "delivered"


async def test_the_free_tier_makes_ten_inboxes_an_hour(tight: Daimon) -> None:
    async with tight.agent() as agent:
        for n in range(10):
            await agent.do("create_inbox", username=f"agent-{n}", client_id=f"c{n}")
        refused = await agent.call("create_inbox", username="agent-10")
        assert (refused.error, refused.envelope["code"]) == ("RATE_LIMIT_EXCEEDED", "INBOX_CREATE_RATE_LIMIT")
        assert refused.envelope["retry_after"] == 3600
        assert refused.envelope["current_usage"]["count"] == 10
        assert "upgrade_context" in refused.envelope
        assert (await agent.do("create_inbox", username="other", client_id="c3"))[
            "address"
        ] == "agent-3@agents.localhost"
        await agent.do("delete_inbox", inbox="agent-4@agents.localhost")
        assert (await agent.call("create_inbox")).error == "RATE_LIMIT_EXCEEDED"
        tight.later(3600)
        assert (await agent.do("create_inbox", username="agent-11"))["status"] == "active"
        await tight.upgrade(Tier.STARTER)
        for n in range(20):
            await agent.do("create_inbox", username=f"paid-{n}")


async def test_the_highest_tier_is_not_told_to_upgrade(tmp_path: Path) -> None:
    sections = {"limits": {"enterprise": {"sends_per_day": 2}}}
    async with running(tmp_path / "data", sections, clock=clock_at("2026-11-10T12:00:00Z")) as daimon:
        await daimon.upgrade(Tier.ENTERPRISE)
        async with daimon.agent() as agent:
            await prepared(agent)
            refused = await agent.call("send_email", inbox=ROBO, **note(1, ["ada@agents.localhost", OTHER, ROBO]))
            assert refused.error == "SEND_LIMIT_EXCEEDED"
            assert "upgrade_context" not in refused.envelope
            assert not any("operator_action_url" in step for step in refused.envelope["next_steps"])
            parked = await agent.call(
                "send_email", inbox=ROBO, **note(1, ["ada@agents.localhost", OTHER, ROBO], park=True)
            )
            assert parked.error == "SEND_LIMIT_EXCEEDED"
