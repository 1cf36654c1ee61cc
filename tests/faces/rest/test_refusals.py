"""What every route refuses: whoever has no key or the wrong one, what is elsewhere, what nobody understands."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from tests.faces.rest.kit import SENDS, Program, name_of, new_account, program
from tests.support.daimon import Daimon, running
from tests.support.hooks import ELSEWHERE

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.rest.table import ROUTES

NOBODY = {
    "inbox": "inb_00000000000000000000000000",
    "message_id": "msg_00000000000000000000000000",
    "thread_id": "thr_00000000000000000000000000",
    "draft_id": "dft_00000000000000000000000000",
    "attachment_id": "att_00000000000000000000000000",
    "approval_id": "apr_00000000000000000000000000",
    "key_id": "key_00000000000000000000000000",
    "domain": "dom_00000000000000000000000000",
    "webhook_id": "wh_00000000000000000000000000",
    "delivery_id": "whd_00000000000000000000000000",
    "address": "nobody@far.example",
    "label": "none",
}
BODIES: dict[str, dict[str, Any]] = {
    "create_inbox": {"username": "another"},
    "update_inbox": {"display_name": "Another"},
    "update_message": {"read": True},
    "send_email": {"to": "ann@far.example", "subject": "Hello", "body": "Words."},
    "reply_to_message": {"body": "Words."},
    "reply_all_to_message": {"body": "Words."},
    "forward_message": {"to": "ann@far.example"},
    "update_thread": {"read": True},
    "add_thread_label": {"label": "new"},
    "update_draft": {"subject": "Other"},
    "upload_attachment": {"filename": "a.txt"},
    "upload_attachment_to_inbox": {"filename": "a.txt"},
    "add_to_list": {"list": "block", "entries": ["spam.example"]},
    "add_to_inbox_list": {"list": "block", "entries": ["spam.example"]},
    "create_domain": {"domain": "another.example.com"},
    "notify_operator": {"issue": "May I?"},
    "create_webhook": {"url": ELSEWHERE, "events": ["inbox.created"]},
    "update_webhook": {"description": "Other"},
    "replay_webhook": {"since": "2026-01-01T00:00:00Z"},
    "acknowledge_events": {"consumer": "books", "cursor": "x"},
}
QUERIES = {
    "search_messages": {"query": "words"},
    "search_inbox": {"query": "words"},
    "remove_from_list": {"list": "block", "entries": "spam.example"},
    "remove_from_inbox_list": {"list": "block", "entries": "spam.example"},
    "wait_for_message": {"timeout_seconds": 0},
    "wait_for_upgrade": {"timeout_seconds": 0},
    "wait_for_approval": {"timeout_seconds": 0},
}
NAMES = re.compile(r"\{(\w+)\}")
IN_INBOX = [route for route in ROUTES if "{inbox}" in route.path]
WITHIN = [route for route in ROUTES if "inbox" in route.within]


@dataclass
class House:
    """A server with an account that has two inboxes with something in each, and another account."""

    daimon: Daimon
    key: str
    inbox_key: str
    other_key: str
    places: dict[str, str]
    elsewhere: str


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    sections = {**SENDS, "http": {"bootstrap": "off"}}
    async with running(tmp_path_factory.mktemp("refusals"), sections, listeners=True) as daimon:
        key, first = await new_account(daimon, "first")
        other_key, _ = await new_account(daimon, "stranger")
        async with program(daimon, key) as agent:
            second = await agent.post("/v1/inboxes", username="second")
            box = f"/v1/inboxes/{first['id']}"
            sent = await agent.post(
                f"{box}/send", to=first["address"], subject="First", body="See.",
                attachments=[{"filename": "a.txt", "content": "aGk="}],
            )  # fmt: skip
            draft = await agent.post(f"{box}/drafts", subject="Draft")
            message = await agent.get(f"{box}/messages/{sent['id']}")
            domain = await agent.post("/v1/domains", domain="first.example.com")
            asked = await agent.post("/v1/notify-operator", issue="May I?")
            [made, *_] = (await agent.get("/v1/keys"))["keys"]
            hook = await agent.post("/v1/webhooks", url=ELSEWHERE, events=["inbox.created"])
            await agent.post("/v1/inboxes", username="third")
            [told] = (await agent.get(f"/v1/webhooks/{hook['id']}/deliveries"))["deliveries"]
        places = {
            "inbox": first["id"],
            "message_id": sent["id"],
            "thread_id": sent["thread_id"],
            "draft_id": draft["id"],
            "attachment_id": message["attachments"][0]["id"],
            "approval_id": asked["approval_id"],
            "key_id": made["id"],
            "domain": domain["id"],
            "webhook_id": hook["id"],
            "delivery_id": told["id"],
            "address": "nobody@far.example",
            "label": "none",
        }
        yield House(daimon, key, first["api_key"], other_key, places, second["id"])


async def ask(agent: Program, route: AnyRoute, places: dict[str, str], **more: Any) -> tuple[int, str]:
    """How a route refuses a request that is right but for its places and its key."""
    path = NAMES.sub(lambda match: quote(places[match[1]], safe="@"), route.path)
    if route.has_body:
        answer = await agent.ask(route.method, path, json={**BODIES.get(route.operation, {}), **more})
    else:
        answer = await agent.ask(route.method, path, params={**QUERIES.get(route.operation, {}), **more})
    return answer.error


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_without_a_key_or_with_a_wrong_one_nobody_is_known(house: House, route: AnyRoute) -> None:
    for key in (None, "dm_free_wrong"):
        async with program(house.daimon, key) as agent:
            assert await ask(agent, route, house.places) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("route", IN_INBOX, ids=name_of)
async def test_what_is_another_accounts_does_not_exist(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.other_key) as agent:
        assert await ask(agent, route, house.places) == (404, "INBOX_NOT_FOUND")


@pytest.mark.parametrize("route", IN_INBOX, ids=name_of)
async def test_an_inbox_that_is_none_is_said_first(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as agent:
        for inbox in (NOBODY["inbox"], "nobody@agents.localhost", "x", "msg_1"):
            assert await ask(agent, route, {**house.places, "inbox": inbox}) == (404, "INBOX_NOT_FOUND")


@pytest.mark.parametrize("route", WITHIN, ids=name_of)
async def test_what_is_in_another_inbox_is_not_here(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as agent:
        status, code = await ask(agent, route, {**house.places, "inbox": house.elsewhere})
    assert status == 404
    assert code.endswith("_NOT_FOUND")
    assert code != "INBOX_NOT_FOUND"


@pytest.mark.parametrize("route", [each for each in ROUTES if set(NAMES.findall(each.path)) - {"inbox"}], ids=name_of)
async def test_what_never_was_is_not_found(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as agent:
        status, code = await ask(agent, route, {**NOBODY, "inbox": house.places["inbox"]})
        if route.operation == "remove_suppression":
            assert (status, code) == (422, "INVALID_REQUEST")
        else:
            assert status == 404
            assert code.endswith("_NOT_FOUND")


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_a_name_that_is_none_is_told(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as agent:
        assert await ask(agent, route, house.places, no_such_name="x") == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("route", [each for each in ROUTES if each.taken], ids=name_of)
async def test_what_the_path_or_the_route_says_is_not_said_twice(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as agent:
        for name in route.taken:
            assert await ask(agent, route, house.places, **{name: "x"}) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_a_key_without_the_permission_is_forbidden(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.key) as owner:
        made = await owner.post("/v1/keys", name="narrow", permissions=["message_ingest"])
    async with program(house.daimon, made["api_key"]) as agent:
        assert await ask(agent, route, house.places) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "route",
    [
        each
        for each in ROUTES
        if each.path.startswith(("/v1/domains", "/v1/keys", "/v1/suppressions", "/v1/account/smtp"))
    ],
    ids=name_of,
)
async def test_what_is_the_accounts_is_not_an_inbox_keys(house: House, route: AnyRoute) -> None:
    async with program(house.daimon, house.inbox_key) as agent:
        assert await ask(agent, route, house.places) == (403, "FORBIDDEN")


async def test_an_inbox_key_has_its_inbox_and_no_other(house: House) -> None:
    async with program(house.daimon, house.inbox_key) as agent:
        mine = house.places["inbox"]
        assert [each["id"] for each in (await agent.get("/v1/inboxes"))["inboxes"]] == [mine]
        assert (await agent.get(f"/v1/inboxes/{mine}/messages"))["messages"]
        assert (await agent.get("/v1/threads"))["threads"]
        assert (await agent.ask("GET", f"/v1/inboxes/{house.elsewhere}/messages")).error == (404, "INBOX_NOT_FOUND")
        assert (await agent.ask("GET", "/v1/threads", params={"inbox_id": house.elsewhere})).error[0] == 404
        assert (await agent.ask("POST", "/v1/inboxes", json={"username": "further"})).error == (403, "FORBIDDEN")


async def test_an_account_that_is_suspended_is_told(house: House) -> None:
    key, _ = await new_account(house.daimon, "badly")
    await house.daimon.operations.upgrades.set_status("acc_badly", AccountStatus.SUSPENDED)
    async with program(house.daimon, key) as agent:
        assert (await agent.ask("GET", "/v1/account")).error == (403, "ACCOUNT_SUSPENDED")


async def test_what_an_operator_can_lift_comes_with_the_link(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running(tmp_path_factory.mktemp("free"), {"relay": {"mode": "sandbox"}}, listeners=True) as daimon:
        key, inbox = await new_account(daimon, "poor")
        box = f"/v1/inboxes/{inbox['id']}"
        async with program(daimon, key) as agent:
            mail = {"to": "ann@far.example", "subject": "Hello", "body": "Words.", "reason": "to answer the customers"}
            refused = await agent.ask("POST", f"{box}/send", json=mail)
            assert refused.error == (402, "SEND_REQUIRES_PAID")
            context = refused.envelope["upgrade_context"]
            assert context["operator_action_url"].startswith(f"{daimon.url}/upgrade?token=")
            assert "to answer the customers" in context["agent_script"]
            assert any("POST /v1/upgrade-link" in step for step in refused.envelope["next_steps"])
            parked = await agent.post(f"{box}/send", **mail, park=True)
            assert parked["status"] == "pending_upgrade"
            assert parked["agent_script"]
            draft = await agent.post(f"{box}/drafts", to="ann@far.example", subject="Hello", body="Words.")
            kept = await agent.ask("POST", f"{box}/drafts/{draft['id']}/send", json={"reason": "to tell them"})
            assert kept.error == (402, "SEND_REQUIRES_PAID")
            assert kept.envelope["parked"]["draft_id"] == draft["id"]
            assert "to tell them" in kept.envelope["upgrade_context"]["agent_script"]
            assert {each["delivery_status"] for each in (await agent.get(f"{box}/scheduled"))["scheduled"]} == {
                "pending_upgrade"
            }
            assert (await agent.ask("GET", "/v1/account/smtp")).error == (402, "SMTP_REQUIRES_PAID")
            assert (await agent.ask("POST", "/v1/domains", json={"domain": "a.example.com"})).error == (
                402,
                "DOMAIN_REQUIRES_PAID",
            )
            known = await agent.get("/v1/capabilities")
            assert {"action": "send_messages", "reason": "SEND_REQUIRES_PAID", "unlock": "POST /v1/upgrade-link"} in (
                known["cannot"]
            )
            assert (await agent.get("/v1/account/upgrade/wait", timeout_seconds=0))["status"] == "pending"
            await daimon.operations.upgrades.set_tier("acc_poor", Tier.STARTER)
            assert (await agent.post("/v1/upgrade-link"))["target_tier"] == "pro"
            limited = await agent.ask(
                "POST", f"{box}/send", json={**mail, "to": [f"a{n}@far.example" for n in range(11)]}
            )
            assert limited.error == (429, "RATE_LIMIT_EXCEEDED")
            assert limited.headers["retry-after"] == "60"
            assert limited.envelope["code"] == "SEND_BURST_LIMIT"
