"""Whatever happens, it is told in the form that is promised; and what came of telling it is shown so too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from pydantic import TypeAdapter
from tests.faces.mcp.kit import receive
from tests.faces.rest.kit import SENDS, Program, new_account, program
from tests.support.daimon import Daimon, running
from tests.support.gate import PATIENCE
from tests.support.hooks import Hooks
from tests.support.receiver import receiver

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.events import EVENTS, MOST_BYTES, fitted, wire_event
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.rest.shapes import events as shapes
from daimon_mcp.operations.abuse import Kind
from daimon_mcp.operations.oversight import SetOversight
from daimon_mcp.operations.webhooks import MOST_TESTS

# From another server, longer than what is told of a message, and with more of everything else as well.
LONG = b"From: a@far.example\r\nSubject: Long\r\n\r\n%s" % (
    b"".join(b"https://far.example/%d/%s words of a line\r\n" % (n, b"x" * 60) for n in range(3000))
)


@dataclass
class Desk:
    """A server, a program with an account key, and its inbox."""

    daimon: Daimon
    agent: Program
    actor: Actor
    inbox: dict[str, Any]

    async def told(self, *types: str) -> list[dict[str, Any]]:
        """The newest events of these types, oldest first."""
        return (await self.agent.get("/v1/events", types=",".join(types)))["events"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    async with running(tmp_path / "data", SENDS, listeners=True) as daimon:
        key, inbox = await new_account(daimon, "robo")
        actor = await daimon.operations.credentials.authenticate(key)
        async with program(daimon, key) as agent:
            yield Desk(daimon, agent, actor, inbox)


def test_every_event_has_a_shape() -> None:
    groups = get_args(shapes.EventName)
    assert {name for group in groups for name in get_args(group)} == set(EVENTS)
    [union, _] = get_args(shapes.Event)
    told = {name for each in get_args(union) for name in get_args(each.model_fields["type"].annotation)}
    assert told == set(EVENTS)
    assert all(
        each.model_fields["type"].annotation == each.model_fields["event"].annotation for each in get_args(union)
    )


async def test_what_the_operator_does_is_told(desk: Desk) -> None:
    upgrades = desk.daimon.operations.upgrades
    for approve, comment in ((True, "Gladly."), (False, "")):
        asked = await desk.agent.post("/v1/notify-operator", issue="May I?")
        await upgrades.decide(asked["approval_id"], approve=approve, comment=comment, by="test")
    link = await desk.agent.post("/v1/upgrade-link", target_tier="starter")
    await upgrades.decide(link["approval_id"], approve=True, comment="", by="test")
    await upgrades.set_tier(desk.actor.account_id, Tier.PRO)
    granted, rejected, upgrade = await desk.told("approval.granted", "approval.rejected")
    assert granted["data"]["comment"] == "Gladly."
    assert "comment" not in rejected["data"]
    assert upgrade["data"]["kind"] == "upgrade"
    by_link, by_hand = await desk.told("account.upgraded")
    assert (by_link["data"]["tier"], by_hand["data"]["previous_tier"]) == ("starter", "starter")
    assert "approval_id" not in by_hand["data"]


async def test_held_mail_is_told_with_the_decision(desk: Desk) -> None:
    operations = desk.daimon.operations
    await operations.oversight.set_oversight(SetOversight(inbox=desk.inbox["id"], oversight="gated_send"), by="test")
    _, stranger = await new_account(desk.daimon, "bob")
    ids: list[str] = []
    for approve in (True, False):
        mail = {"to": stranger["address"], "subject": f"Held {approve}", "body": "Words."}
        held = await desk.agent.post(f"/v1/inboxes/{desk.inbox['id']}/send", **mail)
        ids.append(held["id"])
        await operations.approving.decide(held["approval_id"], approve=approve, by="test", comment="", always=False)
    told = await desk.told("approval.granted", "approval.rejected")
    assert [each["data"]["kind"] for each in told] == ["send", "send"]
    assert [each["data"]["held"]["message_id"] for each in told] == ids
    assert all("message" not in each["data"] for each in told)


async def test_long_mail_is_cut_and_of_deleted_mail_ids_alone_are_told(desk: Desk) -> None:
    box = f"/v1/inboxes/{desk.inbox['id']}"
    since = (await desk.agent.get("/v1/events"))["cursor"]
    for content in (LONG, b"From: a@far.example\r\nSubject: Short\r\n\r\nWords.\r\n"):
        await receive(desk.daimon, desk.inbox["address"], content)
    whole, short = (await desk.agent.get("/v1/events", after=since))["events"]
    assert whole["data"]["message"]["truncated"] is True
    assert short["data"]["message"]["truncated"] is False
    await desk.agent.delete(f"{box}/messages/{short['data']['message']['id']}", permanent="true")
    [gone] = (await desk.agent.get("/v1/events", after=since, limit=2))["events"][1:]
    assert gone["data"]["message"]["deleted"] is True
    await desk.agent.delete(box)
    made, ended = await desk.told("inbox.created", "inbox.deleted")
    assert (made["data"]["inbox"]["status"], ended["data"]["inbox"]["id"]) == ("deleted", desk.inbox["id"])
    assert all(each["data"]["message"]["deleted"] for each in await desk.told("message.received"))


async def test_mail_that_is_nothing_but_links_is_told_in_short() -> None:
    links = [
        {"url": f"https://far.example/{n}", "is_cta": False, "kind": "other", "host": "x" * 900} for n in range(80)
    ]
    message: dict[str, Any] = {
        "id": "msg_1", "inbox_id": "inb_1", "thread_id": "thr_1", "message_id": None, "direction": "inbound",
        "kind": "human", "from": "a@far.example", "from_address": "a@far.example", "preview": "", "body_text": "Words",
        "reply_body": "", "read": False, "delivery_status": None, "received_at": None, "sent_at": None, "size": 1,
        "untrusted": True, "links": links, "headers_of_mine": "x" * MOST_BYTES,
    }  # fmt: skip
    told = fitted(wire_event(id="evt_1", type="message.received", at=0, account_id="acc_1", inbox_id="inb_1",
                             data={"message": message}))  # fmt: skip
    checked = TypeAdapter[Any](shapes.Event).validate_json(orjson.dumps(told))
    assert isinstance(checked.data.message, shapes.CutMessage)


async def test_abuse_complaints_and_domains_are_told(desk: Desk) -> None:
    for _ in range(200):
        await desk.daimon.operations.abuse.refused_sender(desk.actor.account_no)
    [abuse] = await desk.told("account.smtp_abuse_detected")
    assert abuse["data"]["kind"] == Kind.REFUSED_SENDERS
    hooks = Hooks(desk.daimon, desk.actor)
    await hooks.record("domain.verified", domain_id="dom_1")
    assert (await desk.told("domain.verified"))[0]["data"] == {"domain_id": "dom_1"}
    ids: dict[str, Any] = {"inbox_id": desk.inbox["id"], "message_id": "msg_1", "thread_id": "thr_1"}
    await hooks.record("message.complained", **ids, recipients=["ann@far.example"], feedback_type="abuse")
    assert (await desk.told("message.complaint"))[0]["data"]["recipients"] == ["ann@far.example"]


async def test_what_receivers_answer_is_on_record(desk: Desk) -> None:
    async with receiver() as there:
        there.answer(503, path="/busy", body=b"Busy.", X_Why="much to do")
        there.answer(410, path="/gone")
        nobody = "http://127.0.0.1:1/"
        hooks = {
            url: (await desk.agent.post("/v1/webhooks", url=url, events=["*"]))["id"]
            for url in (there.url("/busy"), there.url("/gone"), nobody)
        }
        refused = (await desk.agent.ask("POST", f"/v1/webhooks/{hooks[there.url('/busy')]}/test")).result
        assert (refused["delivered"], refused["status_code"], refused["response"]) == (False, 503, "Busy.")
        unheard = (await desk.agent.ask("POST", f"/v1/webhooks/{hooks[nobody]}/test")).result
        assert (unheard["delivered"], unheard["status_code"], unheard["response"]) == (False, None, None)
        assert unheard["error"]
        await desk.agent.post("/v1/inboxes", username="another")

        async def tried(url: str) -> dict[str, Any]:
            async def look() -> dict[str, Any] | None:
                listed = await desk.agent.get(f"/v1/webhooks/{hooks[url]}/deliveries")
                first = listed["deliveries"][-1]
                return first if first["attempts"] and first["attempts"][0]["ended_at"] else None

            async with asyncio.timeout(PATIENCE):
                while (found := await look()) is None:
                    await desk.agent.get(f"/v1/webhooks/{hooks[url]}")
            return found

        [attempt] = (await tried(there.url("/busy")))["attempts"]
        assert attempt["response"]["body"] == "Busy."
        assert attempt["request"]["headers"]["webhook-timestamp"]
        assert (await tried(nobody))["attempts"][0]["response"] is None
        assert (await tried(there.url("/gone")))["status"] == "failed"
        [unhealthy] = await desk.told("webhook.unhealthy")
        assert unhealthy["data"]["status"] == "disabled"
        gone = await desk.agent.get(f"/v1/webhooks/{hooks[there.url('/gone')]}")
        assert (gone["status"], gone["failure_count"]) == ("disabled", 1)
        assert [each["id"] for each in (await desk.agent.get("/v1/webhooks", status="disabled"))["webhooks"]] == [
            gone["id"]
        ]
        again = await desk.agent.ask("POST", f"/v1/webhooks/{gone['id']}/replay", json={"since": gone["created_at"]})
        assert again.error == (422, "INVALID_REQUEST")
        assert (await desk.agent.patch(f"/v1/webhooks/{gone['id']}", status="active", inbox=None))["status"] == "active"


async def test_what_is_refused_about_webhooks_and_events(desk: Desk) -> None:
    async with receiver() as there:
        hook = await desk.agent.post("/v1/webhooks", url=there.url(), events=["*"], client_id="books")
        path = f"/v1/webhooks/{hook['id']}"
        other = await desk.agent.ask("POST", "/v1/webhooks", json={"url": there.url("/b"), "events": ["*"]},
                                     headers={"Idempotency-Key": "books"})  # fmt: skip
        assert other.error == (409, "IDEMPOTENCY_CONFLICT")
        for given in ({}, {"delivery_id": "whd_1", "since": "2026-01-01T00:00:00Z"}):
            assert (await desk.agent.ask("POST", f"{path}/replay", json=given)).error == (422, "INVALID_REQUEST")
        missing = await desk.agent.ask("POST", f"{path}/replay", json={"delivery_id": "whd_1"})
        assert missing.error == (404, "WEBHOOK_DELIVERY_NOT_FOUND")
        assert (await desk.agent.ask("GET", f"{path}/deliveries/whd_1")).error == (404, "WEBHOOK_DELIVERY_NOT_FOUND")
        for given in ({"after": "x"}, {"wait_seconds": 61}, {"types": "message.recieved"}):
            assert (await desk.agent.ask("GET", "/v1/events", params=given)).error == (422, "INVALID_REQUEST")
        nowhere = await desk.agent.ask("GET", "/v1/events", params={"inbox": "nobody@agents.localhost"})
        assert nowhere.error == (404, "INBOX_NOT_FOUND")
        for _ in range(MOST_TESTS):
            assert (await desk.agent.ask("POST", f"{path}/test")).result["delivered"] is True
        limited = await desk.agent.ask("POST", f"{path}/test")
        assert limited.error == (429, "RATE_LIMIT_EXCEEDED")
        assert 0 < int(limited.headers["retry-after"]) <= 60
        async with program(desk.daimon, desk.inbox["api_key"]) as inner:  # an inbox key has those of its inbox alone
            assert (await inner.ask("GET", path)).error == (404, "WEBHOOK_NOT_FOUND")
            assert (await inner.get("/v1/webhooks"))["webhooks"] == []


async def test_a_key_that_may_not_read_mail_gets_no_payload_of_it(desk: Desk) -> None:
    async with receiver() as there:
        hook = await desk.agent.post("/v1/webhooks", url=there.url(), events=["message.received"])
        await receive(desk.daimon, desk.inbox["address"], b"From: a@far.example\r\nSubject: Hi\r\n\r\nWords.\r\n")
        await there.wait(1)
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        [delivery] = (await desk.agent.get(path))["deliveries"]
        narrow = await desk.agent.post("/v1/keys", name="narrow", permissions=["webhook_read"])
        async with program(desk.daimon, narrow["api_key"]) as watcher:
            assert (await watcher.get(f"{path}/{delivery['id']}"))["payload"] is None
        assert (await desk.agent.get(f"{path}/{delivery['id']}"))["payload"]["event"] == "message.received"


async def test_a_wait_ends_with_the_next_event_or_empty(desk: Desk) -> None:
    since = (await desk.agent.get("/v1/events"))["cursor"]
    nothing = await desk.agent.get("/v1/events", after=since, wait_seconds=1)
    assert (nothing["events"], nothing["has_more"]) == ([], False)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(desk.agent.get("/v1/events", after=since, wait_seconds=20))
        await desk.agent.post("/v1/inboxes", username="another")
    assert [each["event"] for each in waiting.result()["events"]] == ["inbox.created"]
