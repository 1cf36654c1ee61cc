"""What an account has sent, what bounced, who complained."""

from __future__ import annotations

from tests.support.daimon import Agent, Daimon
from tests.support.post import ROBO, becomes
from tests.support.sink import Sink

from daimon_mcp.store import compiled as sql

NOTE = {"inbox": ROBO, "subject": "Note", "body": "x"}


async def figures(daimon: Daimon) -> dict[str, object]:
    outcome = await daimon.operations.figures.describe_account(await daimon.actor())
    names = ("total_sent", "total_bounced", "total_complaints", "bounce_rate", "complaint_rate")
    return {name: outcome.result[name] for name in names}


async def test_sends_bounces_and_complaints_are_counted_and_shared(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    nothing = dict.fromkeys(("total_sent", "total_bounced", "total_complaints"), 0)
    assert await figures(daimon) == {**nothing, "bounce_rate": 0.0, "complaint_rate": 0.0}
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    sent = await agent.do("send_email", **NOTE, to=["gone@example.com", "a@example.com", "b@example.com"])
    await becomes(daimon, agent, sent["id"], "bounced")
    actor, now = await daimon.actor(), daimon.operations.core.clock.now()
    for address in ("a@example.com", "gone@example.com"):  # the second one bounced already
        await daimon.operations.core.database.write(
            lambda tx, address=address: tx.run(
                sql.suppression_put, account_no=actor.account_no, address=address, why="complained", reply="",
                message_id=None, created_at=now,
            )
        )  # fmt: skip
    assert await figures(daimon) == {
        "total_sent": 3,
        "total_bounced": 1,
        "total_complaints": 1,
        "bounce_rate": 0.3333,
        "complaint_rate": 0.3333,
    }


async def test_what_is_taken_back_was_not_sent(daimon: Daimon, agent: Agent) -> None:
    later = await agent.do("send_email", **NOTE, to="a@example.com", send_at="2027-01-01T00:00:00Z")
    assert (await figures(daimon))["total_sent"] == 1
    await agent.do("cancel_scheduled", message_id=later["id"])
    assert (await figures(daimon))["total_sent"] == 0


async def test_the_local_account_has_no_key_to_show(daimon: Daimon) -> None:
    outcome = await daimon.operations.figures.describe_account(await daimon.actor())
    assert outcome.result["api_key"] is None
