"""Sending the same again: by client_id, by content, and many at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Answer, Daimon
from tests.support.post import becomes

from daimon_mcp.domain.tiers import Tier

NOTE = {"to": "other@agents.localhost", "subject": "Note", "body": "Once"}


@pytest.fixture
async def agent(still: Daimon) -> AsyncGenerator[Agent]:
    async with still.agent() as made:
        await made.do("create_inbox", username="robo")
        await made.do("create_inbox", username="other")
        yield made


async def received(agent: Agent) -> list[dict[str, Any]]:
    return (await agent.do("list_messages", inbox="other@agents.localhost", limit=100))["messages"]


async def at_once(agent: Agent, count: int, **arguments: Any) -> list[Answer]:
    answers: list[Answer] = []

    async def one() -> None:
        answers.append(await agent.call("send_email", inbox="robo@agents.localhost", **arguments))

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return answers


async def test_fifty_at_once_with_one_client_id_send_one_mail(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    answers = await at_once(agent, 50, **NOTE, client_id="only-once")
    assert len({answer.result["id"] for answer in answers}) == 1
    assert len({answer.result["message_id"] for answer in answers}) == 1
    assert len(await received(agent)) == 1
    assert (await agent.do("get_account"))["sends_today"] == 1


async def test_fifty_at_once_with_one_content_send_one_mail(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    answers = await at_once(agent, 50, **NOTE)
    assert len({answer.result["id"] for answer in answers}) == 1
    assert sum("duplicate_of" in answer.result for answer in answers) == 49
    assert len(await received(agent)) == 1


async def test_a_repeat_answers_as_the_first_did(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    arguments = {"inbox": "robo@agents.localhost", **NOTE, "client_id": "a"}
    first = await agent.do("send_email", **arguments)
    second = await agent.call("send_email", **arguments)
    assert second.result == first
    assert any("new client_id" in step for step in second.envelope["next_steps"])


async def test_another_request_under_the_same_client_id_conflicts(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    inbox = "robo@agents.localhost"
    first = await agent.do("send_email", inbox=inbox, **NOTE, client_id="a")
    for change in ({"body": "Twice"}, {"to": ["other@agents.localhost", inbox]}, {"subject": "N"}, {"bcc": inbox}):
        answer = await agent.call("send_email", inbox=inbox, **{**NOTE, **change}, client_id="a")
        assert answer.error == "IDEMPOTENCY_CONFLICT"
        assert first["id"] in answer.envelope["message"]
    reply = await agent.call("reply_to_message", message_id=first["id"], body="Once", client_id="a")
    assert reply.error == "IDEMPOTENCY_CONFLICT"
    assert len(await received(agent)) == 1


async def test_a_client_id_is_one_inboxs_own(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    one = await agent.do("send_email", inbox="robo@agents.localhost", **NOTE, client_id="a")
    two = await agent.do("send_email", inbox="other@agents.localhost", **NOTE, client_id="a")
    assert one["id"] != two["id"]


async def test_a_refused_request_leaves_its_client_id_free(still: Daimon, agent: Agent) -> None:
    arguments = {"inbox": "robo@agents.localhost", **NOTE, "client_id": "a"}
    assert (await agent.call("send_email", **arguments)).error == "SEND_REQUIRES_PAID"
    await still.upgrade()
    assert (await agent.do("send_email", **arguments))["status"] == "delivered"


async def test_a_repeat_of_parked_mail_tells_what_became_of_it(still: Daimon, agent: Agent) -> None:
    arguments = {"inbox": "robo@agents.localhost", **NOTE, "client_id": "a"}
    parked = await agent.do("send_email", **arguments, park=True)
    waiting = await agent.call("send_email", **arguments)
    assert (waiting.result["id"], waiting.result["status"]) == (parked["id"], "pending_upgrade")
    assert any("create_upgrade_link" in step for step in waiting.envelope["next_steps"])
    await still.upgrade(Tier.STARTER)
    await becomes(still, agent, parked["id"], "delivered")
    after = await agent.do("send_email", **arguments)
    assert (after["id"], after["status"]) == (parked["id"], "delivered")
    assert after["sent_at"] is not None
    assert len(await received(agent)) == 1


async def test_a_repeat_of_cancelled_mail_says_so_and_sends_nothing(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    arguments = {"inbox": "robo@agents.localhost", **NOTE, "client_id": "a", "send_at": "2050-01-01T00:00:00Z"}
    first = await agent.do("send_email", **arguments)
    await agent.do("cancel_scheduled", message_id=first["id"])
    again = await agent.do("send_email", **arguments)
    assert (again["id"], again["status"]) == (first["id"], "cancelled")
    assert again["note"] is None


async def test_the_same_content_is_a_duplicate_for_ten_minutes(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    inbox = "robo@agents.localhost"
    first = await agent.do("send_email", inbox=inbox, **NOTE)
    still.later(9 * 60 + 59)
    duplicate = await agent.call("send_email", inbox=inbox, **NOTE)
    assert duplicate.result["duplicate_of"] == duplicate.result["id"] == first["id"]
    assert duplicate.result["thread_id"] == first["thread_id"]
    assert duplicate.result["cursor"] == first["cursor"]
    assert any("client_id" in step for step in duplicate.envelope["next_steps"])
    assert (await agent.do("send_email", inbox=inbox, **NOTE, allow_duplicate=True))["id"] != first["id"]
    assert (await agent.do("send_email", inbox=inbox, **NOTE, client_id="b"))["id"] != first["id"]
    still.later(601)
    assert (await agent.do("send_email", inbox=inbox, **NOTE))["id"] != first["id"]
    assert len(await received(agent)) == 4


async def test_what_differs_in_anything_a_reader_sees_is_no_duplicate(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    inbox = "robo@agents.localhost"
    file = {"filename": "a.txt", "content": "aGk="}
    changes: list[dict[str, Any]] = [
        {},
        {"body": "other"},
        {"subject": "other"},
        {"cc": inbox},
        {"body_html": "<p>Once</p>"},
        {"attachments": [file]},
        {"attachments": [{**file, "content": "aG8="}]},
        {"reply_to": "z@example.com"},
        {"send_at": "2050-01-01T00:00:00Z"},
        {"send_at": "2050-01-02T00:00:00Z"},
    ]
    ids = {(await agent.do("send_email", **{"inbox": inbox, **NOTE, **change}))["id"] for change in changes}
    assert len(ids) == len(changes)


async def test_a_reply_is_repeated_and_duplicated_like_any_send(still: Daimon, agent: Agent) -> None:
    await still.upgrade()
    sent = await agent.do("send_email", inbox="robo@agents.localhost", **NOTE)
    [copy] = await received(agent)
    assert copy["message_id"] == sent["message_id"]
    one = await agent.do("reply_to_message", message_id=copy["id"], body="Yes", client_id="r")
    two = await agent.do("reply_to_message", message_id=copy["id"], body="Yes", client_id="r")
    assert one["id"] == two["id"]
    three = await agent.call("reply_to_message", message_id=copy["id"], body="Yes")
    assert three.result["duplicate_of"] == one["id"]
    four = await agent.do("reply_to_message", message_id=copy["id"], body="Yes", client_id="r2")
    assert four["id"] != one["id"]


async def test_a_dry_run_says_everything_and_leaves_nothing(still: Daimon, agent: Agent) -> None:
    inbox = "robo@agents.localhost"
    free = await agent.do("send_email", inbox=inbox, **NOTE, dry_run=True)
    assert (free["ok"], [each["code"] for each in free["problems"]]) == (False, ["SEND_REQUIRES_PAID"])
    await still.upgrade()
    hasty = {"to": "other@agents.localhost", "subject": "", "body": "Dear {{name}}, see attached"}
    paid = await agent.do("send_email", inbox=inbox, **hasty, dry_run=True)
    assert (paid["ok"], paid["would"]) == (True, "delivered")
    assert {each["code"] for each in paid["warnings"]} == {
        "UNFILLED_PLACEHOLDER", "MISSING_ATTACHMENT", "EMPTY_SUBJECT",
    }  # fmt: skip
    later = await agent.do("send_email", inbox=inbox, **NOTE, send_at="2050-01-01T00:00:00Z", dry_run=True)
    assert later["would"] == "scheduled"
    lost = await agent.do("send_email", inbox=inbox, **{**NOTE, "to": "no@agents.localhost"}, dry_run=True)
    assert lost["problems"] == [{"code": "RECIPIENT_REFUSED", "reason": "NO_SUCH_INBOX"}]
    assert await received(agent) == []
    assert (await agent.do("list_messages", inbox=inbox))["messages"] == []
    assert (await agent.do("get_account"))["sends_today"] == 0
