"""What was accepted for later is asked again when its time comes: the right to send, and the limit of a minute."""

from __future__ import annotations

from tests.support.daimon import Daimon

from daimon_mcp.domain.clock import SECOND, iso
from daimon_mcp.domain.tiers import Tier


async def test_a_downgrade_holds_scheduled_mail_until_the_next_upgrade(daimon: Daimon) -> None:
    await daimon.upgrade(Tier.STARTER)
    async with daimon.agent() as agent:
        ann = await agent.do("create_inbox", username="ann")
        bob = await agent.do("create_inbox", username="bob")
        mail = {"inbox": ann["id"], "to": bob["address"], "subject": "Later", "body": "x"}
        sent = await agent.do("send_email", **mail, send_at="2099-01-01T00:00:00Z")
        await daimon.upgrade(Tier.FREE)
        message = await daimon.operations.core.database.fetch("SELECT seq FROM messages WHERE id = ?", (sent["id"],))
        await daimon.operations.releasing.release(message[0][0], count=False)
        held = await agent.do("get_message", message_id=sent["id"])
        assert held["delivery_status"] == "pending_upgrade"
        assert (await agent.do("get_account"))["sends_this_month"] == 0
        await daimon.upgrade(Tier.PRO)
        await daimon.operations.releasing.release_all_parked()
        again = await agent.do("get_message", message_id=sent["id"])
        assert again["delivery_status"] == "scheduled"


async def test_the_limit_of_a_minute_spreads_scheduled_mail(still: Daimon) -> None:
    await still.upgrade(Tier.STARTER)
    async with still.agent() as agent:
        ann = await agent.do("create_inbox", username="ann")
        bob = await agent.do("create_inbox", username="bob")
        assert still.clock is not None
        due = iso(still.clock.now() + 2 * SECOND)
        for number in range(25):
            mail = {"inbox": ann["id"], "to": bob["address"], "subject": f"n {number}", "body": "x"}
            assert (await agent.do("send_email", **mail, send_at=due))["status"] == "scheduled"

        async def left() -> int:
            await still.operations.releasing.release_due()
            return (await agent.do("get_inbox", inbox=bob["id"]))["message_count"]

        still.clock.move(3)
        assert await left() == 10
        still.clock.move(30)
        assert await left() == 10
        still.clock.move(31)
        assert await left() == 20
        still.clock.move(61)
        assert await left() == 25
