"""Drafts: made, changed, scheduled, sent, parked, dropped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Answer, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, becomes, clock_at, delivered_to

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.drafts import CreateDraft, UpdateDraft
from daimon_mcp.operations.requests import read

NOTE: dict[str, Any] = {"inbox": ROBO, "to": OTHER, "subject": "Note", "body": "One"}
NOON, ONE, TWO = "2026-11-10T12:00:00Z", "2026-11-10T13:00:00Z", "2026-11-10T14:00:00Z"


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", workers=True, clock=clock_at(NOON)) as made:
        yield made


async def scheduled(agent: Agent) -> list[str]:
    return [each["id"] for each in (await agent.do("list_messages", inbox=ROBO, label="scheduled"))["messages"]]


async def test_a_draft_is_kept_as_it_was_given(agent: Agent) -> None:
    draft = await agent.do(
        "create_draft",
        **{**NOTE, "to": "Ann <ann@example.com>, bob@example.org"},
        cc=["cy@example.net"],
        bcc={"email": "dee@example.net", "name": "Dee"},
        body_html="<p>One</p>",
        labels=["Invoice", "invoice", "Late"],
        attachments=[{"filename": "a.txt", "content": "aGk=", "content_type": "text/plain"}],
    )
    assert draft["id"].startswith("dft_")
    assert draft["status"] == "draft"
    assert draft["to"] == [{"email": "ann@example.com", "name": "Ann"}, {"email": "bob@example.org", "name": ""}]
    assert draft["cc"] == [{"email": "cy@example.net", "name": ""}]
    assert draft["bcc"] == [{"email": "dee@example.net", "name": "Dee"}]
    assert (draft["subject"], draft["body_text"], draft["body_html"]) == ("Note", "One", "<p>One</p>")
    assert (draft["send_at"], draft["thread_id"], draft["labels"]) == (None, None, ["invoice", "late"])
    assert draft["attachments"] == [{"filename": "a.txt", "content_type": "text/plain"}]
    assert await agent.do("get_draft", draft_id=draft["id"]) == draft
    listed = await agent.do("list_drafts", inbox=ROBO)
    assert [each["id"] for each in listed["drafts"]] == [draft["id"]]
    assert listed["drafts"][0]["preview"] == "One"


async def test_left_out_keeps_and_null_clears(agent: Agent) -> None:
    draft = await agent.do("create_draft", **NOTE, cc="cy@example.net", labels=["a"], body_html="<p>One</p>")
    same = await agent.do("update_draft", draft_id=draft["id"])
    assert {**same, "updated_at": ""} == {**draft, "updated_at": ""}
    changed = await agent.do("update_draft", draft_id=draft["id"], subject="Other")
    assert {**changed, "subject": "Note", "updated_at": ""} == {**draft, "updated_at": ""}
    cleared = await agent.do(
        "update_draft", draft_id=draft["id"], to=None, cc=None, subject=None, body=None, body_html=None, labels=None
    )
    assert (cleared["to"], cleared["cc"], cleared["labels"]) == ([], [], [])
    assert (cleared["subject"], cleared["body_text"], cleared["body_html"]) == (None, None, None)
    refused = await agent.call("send_draft", draft_id=draft["id"])
    assert refused.error == "INVALID_REQUEST"
    assert {each["field"] for each in refused.envelope["fields"]} == {"to", "subject", "body"}


async def test_a_list_of_drafts_has_pages(agent: Agent) -> None:
    made = [(await agent.do("create_draft", **{**NOTE, "subject": str(n)}))["id"] for n in range(5)]
    one = await agent.do("list_drafts", inbox=ROBO, limit=3)
    two = await agent.do("list_drafts", inbox=ROBO, limit=3, cursor=one["next_cursor"])
    assert [each["id"] for each in (*one["drafts"], *two["drafts"])] == made[::-1]
    assert (one["has_more"], two["has_more"], two["next_cursor"]) == (True, False, None)


async def test_a_client_id_makes_one_draft(agent: Agent) -> None:
    made: list[str] = []

    async def one() -> None:
        made.append((await agent.do("create_draft", **NOTE, client_id="d"))["id"])

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert len(set(made)) == 1
    assert len((await agent.do("list_drafts", inbox=ROBO))["drafts"]) == 1


async def test_sending_makes_a_message_and_the_draft_is_gone(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    draft = await agent.do("create_draft", **NOTE, labels=["a"], client_id="d")
    sent = await agent.do("send_draft", draft_id=draft["id"])
    assert sent["status"] == "delivered"
    assert (await agent.do("list_drafts", inbox=ROBO))["drafts"] == []
    assert "a" in (await agent.do("get_message", message_id=sent["id"]))["labels"]
    for tool, more in (("send_draft", {}), ("get_draft", {}), ("update_draft", {"subject": "x"}), ("delete_draft", {})):
        again = await agent.call(tool, draft_id=draft["id"], **more)
        assert again.error == "DRAFT_ALREADY_SENT"
        assert again.envelope["message_id"] == sent["id"]
        assert any(sent["id"] in step for step in again.envelope["next_steps"])
    repeated = await agent.call("create_draft", **NOTE, client_id="d")
    assert repeated.result["status"] == "sent"
    assert len(await delivered_to(agent, OTHER)) == 1


async def test_fifty_at_once_send_a_draft_once(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade()
    draft = await agent.do("create_draft", **NOTE)
    answers: list[Answer] = []

    async def one() -> None:
        answers.append(await agent.call("send_draft", draft_id=draft["id"]))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    assert sum(not answer.is_error for answer in answers) == 1
    assert {answer.error for answer in answers if answer.is_error} == {"DRAFT_ALREADY_SENT"}
    assert len(await delivered_to(agent, OTHER)) == 1


async def test_changes_at_once_all_hold(agent: Agent) -> None:
    draft = await agent.do("create_draft", **NOTE)
    changes: list[dict[str, Any]] = [
        {"subject": "S"}, {"body": "B"}, {"cc": "cy@example.net"}, {"bcc": "dee@example.net"}, {"labels": ["x"]},
    ]  # fmt: skip

    async def one(change: dict[str, Any]) -> None:
        await agent.do("update_draft", draft_id=draft["id"], **change)

    async with anyio.create_task_group() as tasks:
        for change in changes:
            tasks.start_soon(one, change)
    after = await agent.do("get_draft", draft_id=draft["id"])
    assert (after["subject"], after["body_text"], after["labels"]) == ("S", "B", ["x"])
    assert (after["cc"][0]["email"], after["bcc"][0]["email"]) == ("cy@example.net", "dee@example.net")


async def test_what_is_sent_is_what_the_draft_last_said(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade()
    for n in range(10):
        draft = await agent.do("create_draft", **{**NOTE, "subject": f"{n}"})
        changed: list[Answer] = []
        sent: list[Answer] = []

        async def change(draft_id: str = draft["id"], changed: list[Answer] = changed) -> None:
            changed.append(await agent.call("update_draft", draft_id=draft_id, body="Two"))

        async def send(draft_id: str = draft["id"], sent: list[Answer] = sent) -> None:
            sent.append(await agent.call("send_draft", draft_id=draft_id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(change)
            tasks.start_soon(send)
        copy = (await delivered_to(agent, OTHER))[-1]
        text = (await agent.do("get_message", message_id=copy["id"]))["body_text"].strip()
        assert text == ("One" if changed[0].is_error else "Two")


async def test_a_time_schedules_and_is_moved_and_taken_away(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    draft = await agent.do("create_draft", **NOTE, send_at=ONE)
    assert (draft["status"], draft["send_at"]) == ("scheduled", ONE)
    assert await scheduled(agent) == [draft["message_id"]]
    moved = await agent.do("update_draft", draft_id=draft["id"], send_at=TWO)
    assert (moved["status"], moved["send_at"]) == ("scheduled", TWO)
    assert len(await scheduled(agent)) == 1
    edited = await agent.do("update_draft", draft_id=draft["id"], body="Edited")
    assert (edited["status"], edited["send_at"]) == ("scheduled", TWO)
    daimon.later(3600)
    held = await agent.do("update_draft", draft_id=draft["id"], send_at=None)
    assert (held["status"], held["send_at"]) == ("draft", None)
    assert await scheduled(agent) == []
    assert (await agent.do("get_account"))["sends_today"] == 0
    daimon.later(3600)
    again = await agent.do("update_draft", draft_id=draft["id"], send_at="2026-11-10T16:00:00+01:00")
    assert again["send_at"] == "2026-11-10T15:00:00Z"
    daimon.later(3600)
    await becomes(daimon, agent, again["message_id"], "delivered")
    [copy] = await delivered_to(agent, OTHER)
    assert (await agent.do("get_message", message_id=copy["id"]))["body_text"].strip() == "Edited"
    assert (await agent.call("get_draft", draft_id=draft["id"])).error == "DRAFT_ALREADY_SENT"
    assert (await agent.do("get_account"))["sends_today"] == 1


async def test_a_time_that_has_passed_sends(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    made = await agent.do("create_draft", **NOTE, send_at="2026-11-10T11:59:59Z")
    assert made["status"] == "sent"
    kept = await agent.do("create_draft", **{**NOTE, "body": "Two"})
    changed = await agent.do("update_draft", draft_id=kept["id"], send_at="2026-11-10T11:50:00Z")
    assert changed["status"] == "sent"
    assert len(await delivered_to(agent, OTHER)) == 2
    parked = await agent.do("create_draft", **NOTE)
    assert parked["status"] == "draft"


async def test_a_time_that_is_long_past_is_refused_and_says_what_time_it_is(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    kept = await agent.do("create_draft", **NOTE)
    long_past = "2026-11-10T11:49:59Z"
    calls = (
        ("send_email", NOTE),
        ("send_email", {**NOTE, "dry_run": True}),
        ("create_draft", NOTE),
        ("update_draft", {"draft_id": kept["id"]}),
    )
    for tool, arguments in calls:
        answer = await agent.call(tool, **arguments, send_at=long_past)
        assert answer.error == "INVALID_REQUEST"
        (problem,) = answer.envelope["fields"]
        assert problem["field"] == "send_at"
        assert f"now is {NOON}" in problem["problem"]
        assert problem["example"] == f'"{ONE}"'
    assert (await agent.do("get_draft", draft_id=kept["id"]))["send_at"] is None
    assert not await delivered_to(agent, OTHER)


async def test_what_was_sent_at_a_time_is_told_again_and_what_was_set_may_pass(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    mail = {**NOTE, "body": "Again", "client_id": "a", "send_at": ONE}
    sent = await agent.do("send_email", **mail)
    daimon.later(7200)
    await becomes(daimon, agent, sent["id"], "delivered")
    assert (await agent.do("send_email", **mail))["id"] == sent["id"]


async def test_cancelling_a_scheduled_message_keeps_its_draft(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    draft = await agent.do("create_draft", **NOTE, send_at=ONE)
    await agent.do("cancel_scheduled", message_id=draft["message_id"])
    after = await agent.do("get_draft", draft_id=draft["id"])
    assert (after["status"], after["send_at"]) == ("draft", None)
    daimon.later(3601)
    assert await scheduled(agent) == []
    assert (await agent.do("send_draft", draft_id=draft["id"]))["status"] == "delivered"
    assert len(await delivered_to(agent, OTHER)) == 1


async def test_deleting_a_draft_cancels_what_was_scheduled_or_parked(daimon: Daimon, agent: Agent) -> None:
    parked = await agent.do("create_draft", **NOTE, send_at=ONE)
    assert parked["status"] == "pending_upgrade"
    other = await agent.do("create_draft", **NOTE)
    assert (await agent.call("send_draft", draft_id=other["id"])).error == "SEND_REQUIRES_PAID"
    for draft in (parked, other):
        assert await agent.do("delete_draft", draft_id=draft["id"]) == {"id": draft["id"], "deleted": True}
        assert (await agent.call("get_draft", draft_id=draft["id"])).error == "DRAFT_NOT_FOUND"
        assert (await agent.call("delete_draft", draft_id=draft["id"])).error == "DRAFT_NOT_FOUND"
    await daimon.upgrade(Tier.STARTER)
    last = await agent.do("create_draft", **NOTE, send_at=ONE)
    await agent.do("delete_draft", draft_id=last["id"])
    assert (await agent.do("get_account"))["sends_today"] == 0
    daimon.later(3601)
    assert await scheduled(agent) == []
    assert await delivered_to(agent, OTHER) == []


async def test_on_the_free_tier_a_time_parks_and_says_so_when_made_and_when_changed(
    daimon: Daimon, agent: Agent
) -> None:
    made = await agent.call("create_draft", **NOTE, send_at=ONE)
    assert made.result["status"] == "pending_upgrade"
    assert made.result["agent_script"].startswith("Tell your operator:")
    plain = await agent.do("create_draft", **{**NOTE, "body": "Two"})
    changed = await agent.call("update_draft", draft_id=plain["id"], send_at=ONE)
    assert changed.result["status"] == "pending_upgrade"
    assert changed.result["agent_script"].startswith("Tell your operator:")
    edited = await agent.call("update_draft", draft_id=plain["id"], subject="New")
    assert (edited.result["status"], edited.result["send_at"]) == ("pending_upgrade", ONE)
    past = await agent.call("create_draft", **{**NOTE, "body": "Three"}, send_at="2026-11-10T11:50:00Z")
    assert (past.result["status"], past.result["send_at"]) == ("pending_upgrade", None)
    await daimon.upgrade(Tier.STARTER)
    await becomes(daimon, agent, past.result["message_id"], "delivered")
    assert (await agent.do("get_draft", draft_id=plain["id"]))["status"] == "scheduled"
    daimon.later(3600)
    await becomes(daimon, agent, edited.result["message_id"], "delivered")
    await becomes(daimon, agent, made.result["message_id"], "delivered")
    assert len(await delivered_to(agent, OTHER)) == 3


async def test_a_parked_draft_is_changed_held_back_and_sent(daimon: Daimon, agent: Agent) -> None:
    draft = await agent.do("create_draft", **NOTE)
    first = (await agent.call("send_draft", draft_id=draft["id"])).envelope["parked"]["id"]
    changed = await agent.do("update_draft", draft_id=draft["id"], body="Changed")
    assert changed["status"] == "pending_upgrade"
    assert changed["message_id"] != first
    again = await agent.call("send_draft", draft_id=draft["id"])
    assert again.envelope["parked"]["id"] == changed["message_id"]
    held = await agent.do("update_draft", draft_id=draft["id"], send_at=None)
    assert held["status"] == "draft"
    await daimon.upgrade(Tier.STARTER)
    assert (await agent.do("send_draft", draft_id=draft["id"]))["status"] == "delivered"
    [copy] = await delivered_to(agent, OTHER)
    assert (await agent.do("get_message", message_id=copy["id"]))["body_text"].strip() == "Changed"


async def test_a_reply_draft_is_a_reply(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    [letter] = await arrive(daimon, ROBO, mail_from=OTHER, sender=OTHER, subject="Order", message_id="<o@x>")
    original = await agent.do("get_message", message_id=letter)
    draft = await agent.do("create_draft", reply_to_message=letter, body="Yes")
    assert (draft["kind"], draft["subject"], draft["in_reply_to"]) == ("reply", "Re: Order", "<o@x>")
    assert draft["to"] == [{"email": OTHER, "name": ""}]
    assert draft["thread_id"] == original["thread_id"]
    sent = await agent.do("send_draft", draft_id=draft["id"])
    assert sent["thread_id"] == original["thread_id"]
    [copy] = await delivered_to(agent, OTHER)
    assert (await agent.do("get_message", message_id=copy["id"]))["reply_body"] == "Yes"
    full = await agent.do("get_message", message_id=copy["id"], include=["quoted"])
    assert (full["in_reply_to"], full["references"]) == ("<o@x>", ["<o@x>"])
    assert "> Hi there" in full["body_text"]
    both = await agent.call("create_draft", reply_to_message=letter, forward_of=letter, body="x")
    assert both.error == "INVALID_REQUEST"


async def test_a_draft_follows_the_thread_it_is_put_in(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    [one] = await arrive(daimon, ROBO, message_id="<one@x>")
    [two] = await arrive(daimon, ROBO, message_id="<two@x>")
    threads = [(await agent.do("get_message", message_id=each))["thread_id"] for each in (one, two)]
    draft = await agent.do("create_draft", **NOTE, thread_id=threads[0])
    assert draft["in_reply_to"] == "<one@x>"
    moved = await agent.do("update_draft", draft_id=draft["id"], thread_id=threads[1])
    assert moved["in_reply_to"] == "<two@x>"
    related = await agent.do("update_draft", draft_id=draft["id"], thread_id=None, in_reply_to=one)
    assert (related["thread_id"], related["in_reply_to"]) == (None, "<one@x>")
    loose = await agent.do("update_draft", draft_id=draft["id"], thread_id=None)
    assert (loose["thread_id"], loose["in_reply_to"]) == (None, None)
    sent = await agent.do("send_draft", draft_id=draft["id"])
    assert sent["thread_id"] not in threads


async def test_scheduling_is_sending_and_needs_its_permission(daimon: Daimon, agent: Agent) -> None:
    await daimon.upgrade(Tier.STARTER)
    own = await daimon.actor()
    writer = Actor(own.account_no, own.account_id, permissions=frozenset({"draft_write", "draft_read"}))
    drafts = daimon.operations.drafts
    content: dict[str, Any] = {"inbox": ROBO, "to": OTHER, "subject": "s", "body": "b"}
    with pytest.raises(Refused, match="FORBIDDEN"):
        await drafts.create_draft(writer, read(CreateDraft, {**content, "send_at": ONE}))
    made = await drafts.create_draft(writer, CreateDraft(**content))
    with pytest.raises(Refused, match="FORBIDDEN"):
        await drafts.update_draft(writer, read(UpdateDraft, {"draft_id": made.result["id"], "send_at": ONE}))
    timed = await agent.do("create_draft", **NOTE, send_at=ONE)
    with pytest.raises(Refused, match="FORBIDDEN"):
        await drafts.update_draft(writer, UpdateDraft(draft_id=timed["id"], body="Other words"))
    held = await drafts.update_draft(writer, UpdateDraft(draft_id=timed["id"], send_at=None))
    assert held.result["status"] == "draft"


async def test_a_refused_schedule_leaves_no_draft_behind(agent: Agent) -> None:
    answer = await agent.call("create_draft", **{**NOTE, "to": "ann@example.com"}, send_at=ONE, client_id="d")
    assert answer.error == "RELAY_NOT_CONFIGURED"
    assert (await agent.do("list_drafts", inbox=ROBO))["drafts"] == []
    assert (await agent.do("create_draft", **NOTE, client_id="d"))["status"] == "draft"
