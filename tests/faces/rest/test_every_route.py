"""Every route does what it is for, in the form that is promised for it."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from tests.faces.mcp.kit import arrive
from tests.faces.rest.kit import SENDS, Program, name_of, new_account, program
from tests.support.daimon import Daimon, running
from tests.support.receiver import receiver

from daimon_mcp.faces.mcp.tools import NAMES
from daimon_mcp.faces.rest import (
    account,
    approvals,
    attachments,
    changes,
    domains,
    drafts,
    events,
    inboxes,
    keys,
    lists,
    messages,
    scheduled,
    search,
    sending,
    threads,
    upgrades,
    webhooks,
)
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.rest.table import ROUTES
from daimon_mcp.store import compiled as sql

# Those that this story uses; what else there is has a story of its own.
MODULES = (
    account, approvals, attachments, changes, domains, drafts, events, inboxes, keys, lists, messages, scheduled,
    search, sending, threads, upgrades, webhooks,
)  # fmt: skip


def test_every_tool_has_a_route_and_operations_are_named_once() -> None:
    names = [route.operation for route in ROUTES]
    assert len(names) == len(set(names))
    assert set(NAMES) <= set(names)


def test_every_route_is_there_once_and_its_places_are_fields_or_said_to_be_none() -> None:
    assert len({name_of(route) for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        fields = set(route.request.model_fields)
        assert set(route.places) <= fields, name_of(route)
        assert {*route.hidden, *route.fixed} <= fields, name_of(route)
        assert all(f"{{{name}}}" in route.path for name in route.within), name_of(route)
        assert not route.lists or "cursor" in fields, name_of(route)


async def test_a_story_that_uses_every_route(tmp_path: Path) -> None:
    async with running(tmp_path / "data", SENDS, listeners=True) as daimon:
        key, mine = await new_account(daimon, "mine")
        async with program(daimon, key) as agent:
            await of_inboxes(agent, mine["address"])
            await of_mail(daimon, agent, mine["address"])
            await of_threads(agent, mine["address"])
            await of_files(agent, mine["address"])
            await of_drafts(agent, mine["address"])
            await of_lists_and_domains(daimon, agent, mine["address"])
            await of_the_account(agent)
            await of_webhooks_and_events(agent, mine["address"])
            await agent.delete(f"/v1/inboxes/{mine['id']}")
        assert agent.done == {name_of(route) for module in MODULES for route in module.ROUTES}


async def of_inboxes(agent: Program, mine: str) -> None:
    made = await agent.post("/v1/inboxes", username="theirs", client_id="theirs", metadata={"purpose": "test"})
    assert made["api_key"].startswith("dm_free_")
    assert "account_api_key" not in made
    again = await agent.ask("POST", "/v1/inboxes", json={"username": "theirs"}, headers={"Idempotency-Key": "theirs"})
    assert again.result["id"] == made["id"]
    assert again.headers["idempotent-replayed"] == "true"
    listed = await agent.get("/v1/inboxes")
    assert [each["address"] for each in listed["inboxes"]] == [made["address"], mine]
    assert listed["total"] == 2
    assert (await agent.get(f"/v1/inboxes/{made['id']}"))["address"] == made["address"]
    changed = await agent.patch(f"/v1/inboxes/{made['id']}", display_name="Theirs", metadata={"purpose": None})
    assert (changed["display_name"], changed["metadata"]) == ("Theirs", {})


async def of_mail(daimon: Daimon, agent: Program, mine: str) -> None:
    box = f"/v1/inboxes/{mine}"
    since = (await agent.get(f"{box}/changes"))["cursor"]
    sent = await agent.post(f"{box}/send", to=f"theirs@{mine.partition('@')[2]}", subject="First", body="One word.")
    assert sent["status"] == "delivered"
    checked = await agent.post(f"{box}/send", to="ann@far.example", subject="No", body="{{name}}", dry_run=True)
    assert (checked["ok"], checked["warnings"]) == (False, [{"code": "UNFILLED_PLACEHOLDER"}])
    await arrive(daimon, mine, subject="Your code", body="Your verification code is 482913.", name="Ann")
    came = await agent.get(f"{box}/wait", timeout_seconds=5, subject="code")
    assert came["message"]["body_text"].strip() == "Your verification code is 482913."
    assert came["message"]["read"] is False
    assert (await agent.get(f"{box}/wait", want="code", timeout_seconds=0))["code"]["value"] == "482913"
    assert (await agent.get(f"{box}/wait", timeout_seconds=0, after=came["cursor"]))["message"] is None
    message = f"{box}/messages/{came['message']['id']}"
    assert [each["id"] for each in (await agent.get(f"{box}/messages", direction="inbound"))["messages"]] == [
        came["message"]["id"]
    ]
    read = await agent.get(message)
    assert read["headers"]["subject"] == "Your code"
    assert read["body_html"] is None
    assert read["read"] is False
    assert (await agent.patch(message, read=True, add_labels=["codes"]))["labels"] == ["inbox", "codes"]
    raw = await agent.ask("GET", f"{message}/raw")
    assert b"Your verification code" in raw.content
    assert (await agent.get(f"{message}/delivery"))["hops"] == 1
    assert (await agent.get(f"{box}/messages/{sent['id']}/delivery"))["delivery_status"] == "delivered"
    for path in ("/v1/search", f"{box}/search"):
        found = await agent.get(path, query="verification")
        assert [each["id"] for each in found["messages"]] == [came["message"]["id"]]
    theirs = (await agent.get(f"/v1/inboxes/theirs@{mine.partition('@')[2]}/messages"))["messages"][0]["id"]
    there = f"/v1/inboxes/theirs@{mine.partition('@')[2]}/messages/{theirs}"
    assert (await agent.post(f"{there}/reply", body="Two words."))["status"] == "delivered"
    assert (await agent.post(f"{there}/reply-all", body="Three words."))["recipients"] == [mine]
    assert (await agent.post(f"{there}/forward", to=[mine], body="See."))["recipients"] == [mine]
    told = await agent.get(f"{box}/changes", since=since)
    assert [each["what"][0] for each in told["changes"]] == ["new"] * 5
    later = await agent.post(
        f"{box}/send", to=mine, subject="Later", body="Soon.", send_at="2099-01-01T00:00:00Z", client_id="later"
    )
    assert later["status"] == "scheduled"
    assert [each["id"] for each in (await agent.get(f"{box}/scheduled"))["scheduled"]] == [later["id"]]
    assert (await agent.delete(f"{box}/scheduled/{later['id']}"))["status"] == "cancelled"
    gone = await agent.delete(message)
    assert (gone["id"], gone["permanent"]) == (came["message"]["id"], False)
    assert (await agent.get(message))["labels"] == ["trash", "codes"]
    assert (await agent.delete(message, permanent="true"))["permanent"] is True


async def of_threads(agent: Program, mine: str) -> None:
    box = f"/v1/inboxes/{mine}"
    listed = await agent.get(f"{box}/threads")
    thread = next(each for each in listed["threads"] if each["subject"] == "First")
    path = f"{box}/threads/{thread['id']}"
    read = (await agent.get(path))["thread"]
    assert [each["subject"] for each in read["messages"]] == ["First", "Re: First", "Re: First", "Fwd: First"]
    assert read["messages"][0]["body_text"].strip() == "One word."
    assert (await agent.patch(path, labels=["b", "a"]))["thread"]["labels"] == ["a", "b"]
    assert (await agent.ask("POST", f"{path}/labels", json={"label": "c/d"})).result["messages_changed"] == 4
    assert (await agent.delete(f"{path}/labels/c%2Fd"))["thread"]["labels"] == ["a", "b"]
    found = await agent.get("/v1/threads", search="fir", inbox_id=mine, sort="created_at", order="asc")
    assert [each["id"] for each in found["threads"]] == [thread["id"]]
    assert (await agent.delete(path))["messages_deleted"] == 4


async def of_files(agent: Program, mine: str) -> None:
    box = f"/v1/inboxes/{mine}"
    for path in ("/v1/attachments", f"{box}/attachments"):
        awaited = await agent.post(path, filename="a.txt", content_type="text/plain")
        async with httpx2.AsyncClient() as http:
            assert (await http.put(awaited["upload_url"], content=b"Some words.")).status_code == 201
        sent = await agent.post(
            f"{box}/send", to=mine, subject=f"File {path}", body="See.", attachments=[awaited["id"]]
        )
        message = await agent.get(f"{box}/messages/{sent['id']}")
        [file] = message["attachments"]
        there = f"{box}/messages/{sent['id']}/attachments/{file['id']}"
        shown = await agent.get(there)
        assert shown["extracted_text"] == "Some words."
        async with httpx2.AsyncClient() as http:
            assert (await http.get(shown["url"])).content == b"Some words."
        in_thread = f"{box}/threads/{message['thread_id']}/messages/{sent['id']}/attachments/{file['id']}"
        assert (await agent.get(in_thread))["sha256"] == shown["sha256"]
        assert (await agent.get(f"/v1/attachments/{file['id']}"))["sha256"] == shown["sha256"]


async def of_drafts(agent: Program, mine: str) -> None:
    box = f"/v1/inboxes/{mine}"
    made = await agent.post(f"{box}/drafts", subject="Draft", body="Not yet.", labels=["todo"])
    path = f"{box}/drafts/{made['id']}"
    assert (await agent.patch(path, to=mine, subject="Now"))["to"] == [{"email": mine, "name": ""}]
    assert [each["id"] for each in (await agent.get(f"{box}/drafts", label="todo"))["drafts"]] == [made["id"]]
    assert (await agent.get(f"{box}/drafts", label="other"))["drafts"] == []
    assert (await agent.get(path))["body_text"] == "Not yet."
    assert (await agent.ask("POST", f"{path}/send")).result["status"] == "delivered"
    assert (await agent.ask("POST", f"{path}/send")).error == (409, "DRAFT_ALREADY_SENT")
    other = await agent.post(f"{box}/drafts", to=mine, subject="By send", body="Words.")
    assert (await agent.post(f"{box}/send", draft_id=other["id"]))["status"] == "delivered"
    dropped = await agent.post(f"{box}/drafts")
    assert (await agent.delete(f"{box}/drafts/{dropped['id']}"))["deleted"] is True


async def of_lists_and_domains(daimon: Daimon, agent: Program, mine: str) -> None:
    for path in ("/v1/lists", f"/v1/inboxes/{mine}/lists"):
        assert (await agent.post(path, list="block", entries=["spam.example"]))["entries"] == ["spam.example"]
        assert "spam.example" in [each["entry"] for each in (await agent.get(path))["entries"]]
        assert (await agent.delete(path, list="block", entries="spam.example"))["entries"] == ["spam.example"]
    core, row = daimon.operations.core, await daimon.operations.core.database.one(sql.account_by_id, id="acc_mine")
    assert row is not None
    await core.database.write(
        lambda tx: tx.run(
            sql.suppression_put, account_no=row[0], address="gone@far.example", why="bounced",
            reply="550 5.1.1 Nobody", message_id=None, created_at=core.clock.now(),
        )
    )  # fmt: skip
    assert [each["address"] for each in (await agent.get("/v1/suppressions"))["suppressions"]] == ["gone@far.example"]
    assert (await agent.delete("/v1/suppressions/gone@far.example"))["status"] == "removed"

    domain = await agent.post("/v1/domains", domain="mine.example.com")
    assert [each["id"] for each in (await agent.get("/v1/domains"))["domains"]] == [domain["id"]]
    assert "MX" in (await agent.get("/v1/domains/mine.example.com", zone_file="true"))["zone_file"]
    assert (await agent.ask("POST", f"/v1/domains/{domain['id']}/verify")).result["status"] == "pending"
    assert (await agent.delete(f"/v1/domains/{domain['id']}"))["status"] == "deleted"


async def of_the_account(agent: Program) -> None:
    shown = await agent.get("/v1/account")
    assert (shown["tier"], shown["total_sent"], shown["bounce_rate"]) == ("free", 8, 0.0)
    assert shown["api_key"].startswith("dm_free_")
    assert shown["api_key"].endswith("…")
    known = await agent.get("/v1/capabilities")
    assert {"action": "send_messages"} in known["can"]
    password = (await agent.get("/v1/account/smtp"))["password"]
    assert (await agent.ask("POST", "/v1/account/smtp/rotate")).result["password"] not in (None, password)
    assert (await agent.get("/v1/account/upgrade/wait", timeout_seconds=0))["status"] == "upgraded"
    link = await agent.post("/v1/upgrade-link", target_tier="growth", reason="to answer the customers")
    assert link["target_tier"] == "pro"
    asked = await agent.post("/v1/notify-operator", issue="May I?", context={"order": "A-17"}, action_label="Look")
    approval = f"/v1/approvals/{asked['approval_id']}"
    assert (await agent.get(approval))["status"] == "pending"
    assert (await agent.get(f"{approval}/wait", timeout_seconds=0))["status"] == "pending"
    made = await agent.post("/v1/keys", name="reader", permissions=["message_read"])
    assert [each["name"] for each in (await agent.get("/v1/keys"))["keys"]][-1] == "reader"
    assert (await agent.get(f"/v1/keys/{made['id']}"))["permissions"] == ["message_read"]
    renewed = (await agent.ask("POST", f"/v1/keys/{made['id']}/rotate")).result
    assert renewed["api_key"] != made["api_key"]
    assert (await agent.delete(f"/v1/keys/{made['id']}"))["status"] == "revoked"


async def of_webhooks_and_events(agent: Program, mine: str) -> None:
    async with receiver() as there:
        wanted = {"url": there.url(), "events": ["message.received"], "client_id": "hook"}
        made = await agent.post("/v1/webhooks", **wanted)
        assert made["secret"].startswith("whsec_")
        again = await agent.ask("POST", "/v1/webhooks", json=wanted)
        assert (again.result["id"], "secret" in again.result) == (made["id"], False)
        assert again.headers["idempotent-replayed"] == "true"
        assert [each["id"] for each in (await agent.get("/v1/webhooks"))["webhooks"]] == [made["id"]]
        hook = f"/v1/webhooks/{made['id']}"
        changed = await agent.patch(hook, description="books", inbox=mine)
        assert (await agent.get(hook)) == changed
        renewed = (await agent.ask("POST", f"{hook}/rotate")).result
        assert renewed["secret"] != made["secret"]
        assert renewed["old_secret_until"] > renewed["updated_at"]
        tried = (await agent.ask("POST", f"{hook}/test")).result
        assert (tried["delivered"], tried["status_code"]) == (True, 200)

        seen = await agent.get("/v1/events", consumer="books")
        assert (await agent.post("/v1/events/ack", consumer="books", cursor=seen["cursor"]))["cursor"] == seen["cursor"]
        await agent.post(f"/v1/inboxes/{mine}/send", to=mine, subject="Told", body="Words.")
        told = await agent.get("/v1/events", consumer="books", wait_seconds=10, types="message.received,message.sent")
        [event] = told["events"]
        assert event["data"]["message"]["subject"] == "Told"
        [posted] = await there.wait(1, lambda each: each.event == "message.received")
        assert posted.json == event

        [delivery] = (await agent.get(f"{hook}/deliveries"))["deliveries"]
        assert delivery["event_id"] == event["event_id"]
        assert (await agent.get(f"{hook}/deliveries/{delivery['id']}"))["payload"] == event
        assert (await agent.post(f"{hook}/replay", delivery_id=delivery["id"]))["replayed"] == 1
        await there.wait(2, lambda each: each.event == "message.received")
        assert (await agent.delete(hook))["status"] == "deleted"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_summaries_are_short_and_plain(route: AnyRoute) -> None:
    assert 10 <= len(route.summary) <= 120
    assert not route.summary.endswith(".")
