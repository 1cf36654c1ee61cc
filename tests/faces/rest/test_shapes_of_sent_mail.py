"""Mail that leaves, waits, bounces: every state of it is shown in the form that is promised."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faces.mcp.kit import arrive
from tests.faces.rest.kit import Program, new_account, program
from tests.support.daimon import Daimon, running
from tests.support.post import relayed_through, until
from tests.support.sink import Sink

from daimon_mcp.domain.tiers import Tier


@dataclass
class Desk:
    """A server with a relay, and a program with an inbox of its own on a paid tier."""

    daimon: Daimon
    agent: Program
    box: str

    async def becomes(self, message_id: str, status: str) -> dict[str, Any]:
        """A message once it has this status."""

        async def look() -> dict[str, Any] | None:
            found = await self.agent.get(f"{self.box}/messages/{message_id}")
            return found if found["delivery_status"] == status else None

        return await until(self.daimon, look)


@pytest.fixture
async def desk(tmp_path: Path, sink: Sink) -> AsyncGenerator[Desk]:
    async with running(tmp_path / "data", relayed_through(sink), listeners=True) as daimon:
        key, inbox = await new_account(daimon, "robo", Tier.PRO)
        async with program(daimon, key) as agent:
            yield Desk(daimon, agent, f"/v1/inboxes/{inbox['id']}")


async def test_mail_that_is_taken_refused_and_put_off(desk: Desk, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    sink.answer("RCPT", "450 4.7.1 Try later", match="later@")
    people = ["gone@example.com", "later@example.com", "ann@example.com"]
    sent = await desk.agent.post(f"{desk.box}/send", to=people, subject="Hello", body="Words.", cc="bob@example.com")
    assert sent["status"] == "queued"

    async def settled() -> dict[str, Any] | None:
        found = await desk.agent.get(f"{desk.box}/messages/{sent['id']}")
        known = {each["recipient"]: each for each in found["deliveries"]}
        done = known["later@example.com"]["attempts"] and known["gone@example.com"]["status"] == "bounced"
        return found if done and known["ann@example.com"]["status"] == "sent" else None

    await until(desk.daimon, settled)
    explained = await desk.agent.get(f"{desk.box}/messages/{sent['id']}/delivery")
    assert explained["attempts_total"] == 4
    assert len(explained["meanings"]) >= 3
    one = await desk.agent.get(f"{desk.box}/messages/{sent['id']}/delivery", recipient="gone@example.com")
    assert one["attempts_total"] == 1
    came = await desk.agent.get(f"{desk.box}/wait", after=sent["cursor"], timeout_seconds=10)
    assert came["message"]["bounce"]["about"] == sent["id"]
    assert [each["address"] for each in (await desk.agent.get("/v1/suppressions"))["suppressions"]] == [
        "gone@example.com"
    ]
    told = await desk.agent.get(f"{desk.box}/changes", since=sent["cursor"])
    assert came["message"]["id"] in [each["message_id"] for each in told["changes"]]
    assert (await desk.agent.get("/v1/account"))["total_bounced"] == 1
    refused = await desk.agent.ask(
        "POST", f"{desk.box}/send", json={"to": "gone@example.com", "subject": "Again", "body": "Words."}
    )
    assert refused.error == (422, "RECIPIENT_REFUSED")


async def test_the_same_mail_twice_is_told(desk: Desk) -> None:
    mail = {"to": "ann@example.com", "subject": "Hello", "body": "Words."}
    first = await desk.agent.post(f"{desk.box}/send", **mail)
    again = await desk.agent.post(f"{desk.box}/send", **mail)
    assert again["duplicate_of"] == first["id"]


async def test_a_mail_that_is_scheduled_and_taken_back(desk: Desk) -> None:
    sent = await desk.agent.post(
        f"{desk.box}/send", to="ann@example.com", bcc="bob@example.com", subject="Later", body="Words.",
        send_at="2099-01-01T00:00:00+01:00", labels=["later"],
    )  # fmt: skip
    assert (sent["status"], sent["scheduled_at"]) == ("scheduled", "2098-12-31T23:00:00Z")
    [listed] = (await desk.agent.get(f"{desk.box}/scheduled"))["scheduled"]
    assert (listed["scheduled_at"], listed["bcc_addresses"]) == (sent["scheduled_at"], ["bob@example.com"])
    path = f"{desk.box}/messages/{sent['id']}"
    assert (await desk.agent.get(path))["delivery_status"] == "scheduled"
    await desk.agent.get(f"{path}/delivery")
    assert (await desk.agent.ask("DELETE", path)).error == (422, "INVALID_REQUEST")
    await desk.agent.delete(f"{desk.box}/scheduled/{sent['id']}")
    assert (await desk.agent.get(path))["delivery_status"] == "cancelled"
    await desk.agent.get(f"{path}/delivery")
    assert (await desk.agent.ask("DELETE", f"{desk.box}/scheduled/{sent['id']}")).error == (404, "SCHEDULED_NOT_FOUND")


async def test_drafts_of_every_kind(desk: Desk) -> None:
    await arrive(desk.daimon, "robo@agents.localhost", name="Ann")
    [letter] = (await desk.agent.get(f"{desk.box}/messages"))["messages"]
    drafts = f"{desk.box}/drafts"
    answer = await desk.agent.post(drafts, reply_to_message=letter["id"], body="Words.", client_id="one")
    assert (answer["kind"], answer["to"]) == ("reply", [{"email": "ann@example.com", "name": "Ann"}])
    again = await desk.agent.ask("POST", drafts, json={"reply_to_message": letter["id"], "client_id": "one"})
    assert again.result["id"] == answer["id"]
    assert again.headers["idempotent-replayed"] == "true"
    file = {"filename": "a.txt", "content": "aGk="}
    passed = await desk.agent.post(drafts, forward_of=letter["id"], to="bob@example.com", attachments=[file])
    assert passed["kind"] == "forward"
    timed = await desk.agent.patch(f"{drafts}/{answer['id']}", send_at="2099-01-01T00:00:00Z")
    assert timed["status"] == "scheduled"
    assert timed["message_id"].startswith("msg_")
    assert {each["kind"] for each in (await desk.agent.get(drafts))["drafts"]} == {"reply", "forward"}
    held = await desk.agent.patch(f"{drafts}/{answer['id']}", send_at=None)
    assert (held["status"], held["send_at"]) == ("draft", None)
    sent = await desk.agent.post(f"{drafts}/{passed['id']}/send", reason="to tell Bob")
    assert sent["status"] == "queued"
    await desk.becomes(sent["id"], "sent")
    gone = await desk.agent.ask("GET", f"{drafts}/{passed['id']}")
    assert gone.error == (409, "DRAFT_ALREADY_SENT")
    assert gone.envelope["message_id"] == sent["id"]
