"""Mail that waits: for its time, for an approval, for a limit to be reset; and what a restart does to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, ROBO, becomes, clock_at, delivered_to, until

from daimon_mcp.domain.changes import AccountChanged
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

NOON, ONE, TWO = "2026-11-10T12:00:00Z", "2026-11-10T13:00:00Z", "2026-11-10T14:00:00Z"


def note(n: int, **more: Any) -> dict[str, Any]:
    return {"inbox": ROBO, "to": OTHER, "subject": f"Note {n}", "body": "x", **more}


async def prepared(daimon: Daimon, agent: Agent, tier: Tier | None = Tier.STARTER) -> None:
    await agent.do("create_inbox", username="robo")
    await agent.do("create_inbox", username="other")
    if tier is not None:
        await daimon.upgrade(tier)


async def subjects(agent: Agent) -> list[str]:
    return [each["subject"] for each in await delivered_to(agent, OTHER)]


async def all_delivered(daimon: Daimon, agent: Agent, count: int) -> list[str]:
    async def look() -> list[str] | None:
        found = await subjects(agent)
        return found if len(found) >= count else None

    return await until(daimon, look)


async def suspend(daimon: Daimon, status: str = "suspended") -> None:
    actor = await daimon.actor()

    def run(tx: Transaction) -> None:
        tx.run(sql.account_set_status, account_no=actor.account_no, status=status)
        tx.announce(AccountChanged(actor.account_no, actor.account_id))

    await daimon.operations.core.database.write(run)


async def test_mail_leaves_when_it_is_time_and_in_the_order_of_its_times(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        second = await agent.do("send_email", **note(2, send_at=TWO))
        first = await agent.do("send_email", **note(1, send_at=ONE))
        assert await subjects(agent) == []
        daimon.later(3599)
        assert (await agent.do("get_message", message_id=first["id"]))["delivery_status"] == "scheduled"
        daimon.later(1)
        message = await becomes(daimon, agent, first["id"], "delivered")
        assert message["sent_at"] == ONE
        assert "scheduled" not in message["labels"]
        assert "sent" in message["labels"]
        assert await subjects(agent) == ["Note 1"]
        daimon.later(3600)
        await becomes(daimon, agent, second["id"], "delivered")
        assert await subjects(agent) == ["Note 1", "Note 2"]


async def test_what_fell_due_while_nobody_ran_leaves_at_once_and_only_once(tmp_path: Path) -> None:
    clock = clock_at(NOON)
    async with running(tmp_path / "d", clock=clock) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        sent = [await agent.do("send_email", **note(n, send_at=ONE)) for n in range(3)]
        draft = await agent.do("create_draft", **note(9, send_at=ONE))
    clock.move(7200)
    for _ in range(2):
        async with running(tmp_path / "d", workers=True, clock=clock) as daimon, daimon.agent() as agent:
            for each in sent:
                await becomes(daimon, agent, each["id"], "delivered")
            await becomes(daimon, agent, draft["message_id"], "delivered")
            assert (await agent.call("get_draft", draft_id=draft["id"])).error == "DRAFT_ALREADY_SENT"
            assert sorted(await subjects(agent)) == ["Note 0", "Note 1", "Note 2", "Note 9"]


async def test_cancelled_mail_does_not_leave_and_cannot_be_cancelled_twice(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        sent = await agent.do("send_email", **note(1, send_at=ONE))
        assert (await agent.do("get_account"))["sends_today"] == 1
        assert await agent.do("cancel_scheduled", message_id=sent["id"]) == {"id": sent["id"], "status": "cancelled"}
        assert (await agent.do("get_account"))["sends_today"] == 0
        assert (await agent.call("cancel_scheduled", message_id=sent["id"])).error == "SCHEDULED_NOT_FOUND"
        assert (await agent.do("get_inbox", inbox=ROBO))["thread_count"] == 0
        message = await agent.do("get_message", message_id=sent["id"])
        assert message["delivery_status"] == "cancelled"
        daimon.later(3601)
        now = await agent.do("send_email", **note(2))
        assert (await agent.call("cancel_scheduled", message_id=now["id"])).error == "SCHEDULED_NOT_FOUND"
        assert await subjects(agent) == ["Note 2"]


async def test_a_recipient_who_is_gone_by_then_bounces_and_the_sender_is_told(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        await agent.do("create_inbox", username="third")
        both = [OTHER, "third@agents.localhost"]
        sent = await agent.do("send_email", **note(1, to=both, send_at=ONE))
        await agent.do("delete_inbox", inbox="third@agents.localhost")
        daimon.later(3600)
        message = await becomes(daimon, agent, sent["id"], "bounced")
        assert {each["recipient"]: each["status"] for each in message["deliveries"]} == {
            OTHER: "delivered",
            "third@agents.localhost": "bounced",
        }
        [report] = await delivered_to(agent, ROBO)
        assert (report["kind"], report["thread_id"]) == ("bounce", sent["thread_id"])
        assert "third@agents.localhost" in (await agent.do("get_message", message_id=report["id"]))["body_text"]
        assert await subjects(agent) == ["Note 1"]


async def lost(daimon: Daimon, message_id: str) -> tuple[str, bytes]:
    """As if the file of a message were lost; its hash and bytes."""
    database = daimon.operations.core.database
    [(hash_, data)] = await database.fetch(
        "SELECT b.hash, b.data FROM blobs b JOIN messages m ON m.blob_hash = b.hash WHERE m.id = ?", [message_id]
    )
    await found_again(daimon, hash_, None)
    return hash_, data


async def found_again(daimon: Daimon, hash_: str, data: bytes | None) -> None:
    """Put the bytes of a message back; no statement of ours does this."""
    await daimon.operations.core.database.write(
        lambda tx: tx._connection.execute(  # pyright: ignore[reportPrivateUsage]
            "UPDATE blobs SET data = ? WHERE hash = ?", (data, hash_)
        )
    )


@pytest.mark.parametrize("parked", [False, True], ids=["scheduled", "parked"])
async def test_one_message_that_cannot_be_read_does_not_keep_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, parked: bool
) -> None:
    how: dict[str, Any] = {"park": True} if parked else {"send_at": ONE}
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent, None if parked else Tier.STARTER)
        broken = await agent.do("send_email", **note(1, **how))
        whole = await agent.do("send_email", **note(2, **how))
        hash_, data = await lost(daimon, broken["id"])
        if parked:
            await daimon.upgrade(Tier.STARTER)
        else:
            daimon.later(3600)
        await becomes(daimon, agent, whole["id"], "delivered")
        await found_again(daimon, hash_, data)
        daimon.later(301)
        if parked:
            await becomes(daimon, agent, broken["id"], "delivered")
        assert "stumbled" in caplog.text


async def test_parked_mail_leaves_once_in_order_and_after_its_limits(tmp_path: Path) -> None:
    clock = clock_at(NOON)
    async with running(tmp_path / "d", workers=True, clock=clock) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent, None)
        parked = [await agent.do("send_email", **note(n, park=True, client_id=f"c{n}")) for n in range(14)]
        assert {each["status"] for each in parked} == {"pending_upgrade"}
        assert await subjects(agent) == []
        await daimon.upgrade(Tier.STARTER)
        assert await all_delivered(daimon, agent, 10) == [f"Note {n}" for n in range(10)]
        assert (await agent.do("get_message", message_id=parked[10]["id"]))["delivery_status"] == "pending_upgrade"
        daimon.later(61)
        assert await all_delivered(daimon, agent, 14) == [f"Note {n}" for n in range(14)]
        await daimon.upgrade(Tier.PRO)
        daimon.later(3600)
        assert len(await subjects(agent)) == 14
        assert (await agent.do("get_account"))["sends_today"] == 14


async def test_what_a_used_up_month_parked_leaves_in_the_next_one(tmp_path: Path) -> None:
    sections = {"limits": {"starter": {"sends_per_month": 1}}}
    async with running(tmp_path / "d", sections, workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        await agent.do("send_email", **note(1))
        parked = await agent.do("send_email", **note(2, park=True))
        assert parked["status"] == "pending_upgrade"
        assert "agent_script" in parked
        actor = await daimon.actor()
        await daimon.operations.releasing.release_parked(actor.account_no)
        assert await subjects(agent) == ["Note 1"]
        daimon.later(21 * 24 * 3600)
        assert await all_delivered(daimon, agent, 2) == ["Note 1", "Note 2"]


async def test_an_approval_that_a_crash_followed_is_carried_out_at_the_next_start(tmp_path: Path) -> None:
    clock = clock_at(NOON)
    async with running(tmp_path / "d", clock=clock) as daimon, daimon.agent() as agent:  # no worker: nobody releases
        await prepared(daimon, agent, None)
        parked = await agent.do("send_email", **note(1, park=True))
        timed = await agent.do("send_email", **note(2, park=True, send_at=TWO))
        await daimon.upgrade(Tier.STARTER)
        assert (await agent.do("get_message", message_id=parked["id"]))["delivery_status"] == "pending_upgrade"
    async with running(tmp_path / "d", workers=True, clock=clock) as daimon, daimon.agent() as agent:
        await becomes(daimon, agent, parked["id"], "delivered")
        await becomes(daimon, agent, timed["id"], "scheduled")
        daimon.later(7200)
        await becomes(daimon, agent, timed["id"], "delivered")
        assert await subjects(agent) == ["Note 1", "Note 2"]


async def test_parked_mail_can_be_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent, None)
        parked = await agent.do("send_email", **note(1, park=True))
        kept = await agent.do("send_email", **note(2, park=True))
        await agent.do("cancel_scheduled", message_id=parked["id"])
        await daimon.upgrade(Tier.STARTER)
        await becomes(daimon, agent, kept["id"], "delivered")
        assert await subjects(agent) == ["Note 2"]


async def test_a_suspended_account_lets_nothing_out_until_it_is_active_again(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent)
        sent = await agent.do("send_email", **note(1, send_at=ONE))
        draft = await agent.do("create_draft", **note(2))
        await suspend(daimon)
        for tool, arguments in (
            ("send_email", note(3)),
            ("send_email", note(3, park=True)),
            ("send_email", note(3, send_at=TWO)),
            ("send_draft", {"draft_id": draft["id"]}),
            ("reply_to_message", {"message_id": sent["id"], "body": "x"}),
            ("create_inbox", {"username": "more"}),
        ):
            assert (await agent.call(tool, **arguments)).error == "ACCOUNT_SUSPENDED"
        daimon.later(7200)
        assert await daimon.operations.releasing.release_due() == 0
        assert await daimon.operations.releasing.next_scheduled() is None
        assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "scheduled"
        await suspend(daimon, "active")
        await becomes(daimon, agent, sent["id"], "delivered")
        assert await subjects(agent) == ["Note 1"]


async def test_an_upgrade_of_a_suspended_account_releases_nothing_yet(tmp_path: Path) -> None:
    async with running(tmp_path / "d", workers=True, clock=clock_at(NOON)) as daimon, daimon.agent() as agent:
        await prepared(daimon, agent, None)
        parked = await agent.do("send_email", **note(1, park=True))
        await suspend(daimon)
        await daimon.upgrade(Tier.STARTER)
        actor = await daimon.actor()
        assert await daimon.operations.releasing.release_parked(actor.account_no) == 0
        assert (await agent.do("get_message", message_id=parked["id"]))["delivery_status"] == "pending_upgrade"
        await suspend(daimon, "active")
        await becomes(daimon, agent, parked["id"], "delivered")


async def test_approval_and_parking_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    import anyio

    for n in range(8):
        clock: MovableClock = clock_at(NOON)
        async with running(tmp_path / f"d{n}", workers=True, clock=clock) as daimon, daimon.agent() as agent:
            await prepared(daimon, agent, None)
            sent: list[dict[str, Any]] = []

            async def send(agent: Agent = agent, sent: list[dict[str, Any]] = sent) -> None:
                for each in range(4):
                    sent.append(await agent.do("send_email", **note(each, park=True)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                tasks.start_soon(daimon.upgrade, Tier.STARTER)
            for each in sent:
                await becomes(daimon, agent, each["id"], "delivered")
