"""Back-pressure: more waits to leave than may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.daimon import MovableClock, running

from daimon_mcp.domain.tiers import Tier

RELAY = {"relay": {"host": "127.0.0.1", "port": 1, "security": "none"}}


async def test_a_full_queue_puts_off_what_comes_and_takes_it_when_there_is_room(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running(tmp_path / "data", RELAY, clock=clock) as daimon, daimon.agent() as agent:
        core = daimon.operations.core
        core.policy = replace(core.policy, most_queued=2)
        await daimon.upgrade(Tier.PRO)
        await agent.do("create_inbox", username="ada-one")
        to = ["ann@example.com", "bea@example.com"]
        first = await agent.do("send_email", to=to, subject="one", body="b")
        clock.move(6)
        refused = await agent.call("send_email", to=["cid@example.com"], subject="two", body="b", client_id="two")
        assert (refused.error, refused.envelope["code"]) == ("RATE_LIMIT_EXCEEDED", "QUEUE_FULL")
        assert refused.envelope["retry_after"] == 300
        from daimon_mcp.operations.queueing import Selection

        assert await daimon.operations.queueing.cancel(Selection(message_id=first["id"])) == 2
        clock.move(6)
        sent = await agent.do("send_email", to=["cid@example.com"], subject="two", body="b", client_id="two")
        assert sent["status"] == "queued"
