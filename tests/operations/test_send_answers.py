"""What Send Email and Send Draft answer, field by field."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import becomes, relayed_through
from tests.support.sink import Sink

from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.tiers import Tier

TO = {"to": "user@example.com", "subject": "Hello from my agent", "body": "First email"}
TOMORROW = 24 * 3600


@pytest.fixture
async def relayed(tmp_path: Path, sink: Sink) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", relayed_through(sink), workers=True, clock=MovableClock()) as made:
        yield made


@pytest.fixture
async def agent(relayed: Daimon) -> AsyncGenerator[Agent]:
    async with relayed.agent() as made:
        await made.do("create_inbox", username="robo")
        yield made


def in_seconds(daimon: Daimon, seconds: int) -> str:
    assert daimon.clock is not None
    return iso(daimon.clock.now() + seconds * 1_000_000)


async def test_a_send_that_goes_to_the_relay_is_queued_then_sent(relayed: Daimon, agent: Agent, sink: Sink) -> None:
    await relayed.upgrade(Tier.STARTER)
    answer = await agent.call("send_email", **TO, client_id="send-001")
    result = answer.result
    assert result["id"].startswith("msg_")
    assert result["status"] == "queued"
    assert result["message_id"].startswith("<")
    assert result["message_id"].endswith("@agents.localhost>")
    assert result["sent_at"] is None
    assert result["scheduled_at"] is None
    assert result["note"] is None
    assert result["usage"] == {
        "sends_today": 1,
        "daily_send_limit": 100,
        "sends_this_month": 1,
        "monthly_send_limit": 100,
        "resets_at": result["usage"]["resets_at"],
    }
    assert answer.envelope["next_steps"]
    after = await becomes(relayed, agent, result["id"], "sent")
    assert after["sent_at"] is not None
    assert sink.messages[0].recipients == ["user@example.com"]


async def test_a_send_to_an_inbox_here_is_delivered_with_its_time(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    result = await agent.do("send_email", to="robo@agents.localhost", subject="Note", body="to self")
    assert result["status"] == "delivered"
    assert result["sent_at"] == in_seconds(relayed, 0)
    assert result["note"] is None


async def test_a_scheduled_send_says_when_and_how_to_take_it_back(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    at = in_seconds(relayed, TOMORROW)
    answer = await agent.call("send_email", **TO, send_at=at)
    result = answer.result
    assert (result["status"], result["sent_at"], result["scheduled_at"]) == ("scheduled", None, at)
    assert result["note"] == f"Scheduled for delivery at {at}"
    assert any("cancel_scheduled" in step for step in answer.envelope["next_steps"])


async def test_a_time_that_has_passed_sends_now(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    result = await agent.do("send_email", **TO, send_at=in_seconds(relayed, -60))
    assert (result["status"], result["scheduled_at"], result["note"]) == ("queued", None, None)


async def test_on_the_free_tier_the_refusal_says_what_the_operator_can_do(agent: Agent) -> None:
    answer = await agent.call("send_email", **TO)
    assert answer.error == "SEND_REQUIRES_PAID"
    assert answer.envelope["message"].startswith("Sending emails requires a paid tier")
    context = answer.envelope["upgrade_context"]
    assert set(context) == {"operator_action_url", "operator_action_label", "agent_script"}
    assert context["operator_action_url"].partition("?token=")[0].endswith("/upgrade")
    assert context["agent_script"].startswith("Tell your operator: I need sending access")
    assert context["agent_script"].endswith(context["operator_action_url"])
    assert context["operator_action_label"]
    assert any("same client_id" in step for step in answer.envelope["next_steps"])
    assert set(answer.envelope) == {"error", "message", "upgrade_context", "next_steps"}


async def test_the_reason_stands_in_the_script(agent: Agent) -> None:
    answer = await agent.call("send_email", **TO, reason="to complete the customer\nnotification")
    script = answer.envelope["upgrade_context"]["agent_script"]
    assert "to complete the customer notification" in script


async def test_the_monthly_limit_says_how_much_and_until_when(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    everyone = [f"user{n}@example.com" for n in range(50)]
    for n in range(2):
        relayed.later(61)
        await agent.do("send_email", to=everyone[n * 10 : n * 10 + 10], subject=str(n), body="x")
    for n in range(8):
        relayed.later(61)
        await agent.do("send_email", to=everyone[:10], subject=f"more {n}", body="x")
    relayed.later(61)
    answer = await agent.call("send_email", **TO)
    envelope = answer.envelope
    assert answer.error == "SEND_LIMIT_EXCEEDED"
    assert envelope["code"] == "MONTHLY_SEND_QUOTA"
    assert envelope["message"] == "Monthly send limit reached (100/100). Upgrade to increase limit."
    assert set(envelope["upgrade_context"]) == {"operator_action_url", "operator_action_label", "agent_script"}
    assert envelope["current_usage"]["sent"] == envelope["current_usage"]["limit"] == 100
    assert envelope["retry_after"] > 0
    assert any("1st" in step for step in envelope["next_steps"])


async def test_a_sent_draft_is_queued_and_says_so(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    draft = await agent.do("create_draft", **TO)
    answer = await agent.call("send_draft", draft_id=draft["id"])
    result = answer.result
    assert result["id"].startswith("msg_")
    assert (result["status"], result["scheduled_at"]) == ("queued", None)
    assert result["note"] == "Email queued for delivery"
    assert any("get_message" in step for step in answer.envelope["next_steps"])


async def test_a_scheduled_draft_says_when_and_how_to_move_it(relayed: Daimon, agent: Agent) -> None:
    await relayed.upgrade(Tier.STARTER)
    at = in_seconds(relayed, TOMORROW)
    draft = await agent.do("create_draft", **TO, send_at=at)
    answer = await agent.call("send_draft", draft_id=draft["id"])
    result = answer.result
    assert (result["status"], result["sent_at"], result["scheduled_at"]) == ("scheduled", None, at)
    assert result["note"] == f"Email scheduled for delivery at {at}"
    steps = " ".join(answer.envelope["next_steps"])
    assert "update_draft" in steps
    assert "delete_draft" in steps


async def test_a_draft_that_the_tier_refuses_is_parked_and_the_refusal_says_so(relayed: Daimon, agent: Agent) -> None:
    draft = await agent.do("create_draft", **TO)
    answer = await agent.call("send_draft", draft_id=draft["id"], reason="to complete the customer notification")
    assert answer.error == "SEND_REQUIRES_PAID"
    envelope = answer.envelope
    assert envelope["message"].startswith("Sending emails requires a paid tier")
    assert "to complete the customer notification" in envelope["upgrade_context"]["agent_script"]
    assert envelope["parked"]["status"] == "pending_upgrade"
    assert envelope["parked"]["draft_id"] == draft["id"]
    assert (await agent.do("get_draft", draft_id=draft["id"]))["status"] == "pending_upgrade"


async def test_a_parked_send_carries_the_script_and_waits(agent: Agent) -> None:
    answer = await agent.call("send_email", **TO, park=True)
    assert answer.result["status"] == "pending_upgrade"
    assert answer.result["agent_script"].startswith("Tell your operator:")
    assert answer.result["operator_action_url"].startswith("http")
