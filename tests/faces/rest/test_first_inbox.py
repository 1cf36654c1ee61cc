"""The first inbox of whoever has no key: where it is allowed, how often, and with which code."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faces.rest.kit import Program, program
from tests.support.daimon import Daimon, MovableClock, running, settings_for

from daimon_mcp.domain.neighbours import LOOPBACK, neighbourhood
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.joining import MOST, Visitor

HOUR = 3600.0


@asynccontextmanager
async def nobody(folder: Path, **http: Any) -> AsyncGenerator[tuple[Daimon, Program]]:
    """A server, and a program without a key."""
    clock = MovableClock()
    async with (
        running(folder / "data", {"http": http}, listeners=True, clock=clock) as daimon,
        program(daimon, None) as made,
    ):
        yield daimon, made


async def test_it_comes_with_an_account_and_both_keys(tmp_path: Path) -> None:
    async with nobody(tmp_path) as (daimon, stranger):
        made = await stranger.post("/v1/inboxes", username="support-bot", display_name="Support Bot")
        assert (made["address"], made["tier"], made["status"]) == ("support-bot@agents.localhost", "free", "active")
        async with program(daimon, made["account_api_key"]) as owner:
            assert [each["id"] for each in (await owner.get("/v1/inboxes"))["inboxes"]] == [made["id"]]
            second = await owner.post("/v1/inboxes", username="second")
            assert "account_api_key" not in second
        async with program(daimon, made["api_key"]) as bot:
            assert (await bot.get(f"/v1/inboxes/{made['id']}/messages"))["messages"] == []
            assert (await bot.ask("GET", f"/v1/inboxes/{second['id']}")).error == (404, "INBOX_NOT_FOUND")
        other = await stranger.post("/v1/inboxes")
        async with program(daimon, other["account_api_key"]) as owner:
            assert (await owner.get("/v1/inboxes"))["total"] == 1


async def test_a_wrong_key_is_not_the_same_as_none(tmp_path: Path) -> None:
    async with nobody(tmp_path) as (daimon, _), program(daimon, "dm_free_wrong") as stranger:
        assert (await stranger.ask("POST", "/v1/inboxes", json={})).error == (401, "UNAUTHORIZED")


async def test_a_name_that_is_taken_makes_no_account(tmp_path: Path) -> None:
    async with nobody(tmp_path) as (daimon, stranger):
        await stranger.post("/v1/inboxes", username="taken")
        taken = await stranger.ask("POST", "/v1/inboxes", json={"username": "taken"})
        assert taken.error == (409, "INBOX_ADDRESS_TAKEN")
        assert len(taken.envelope["suggestions"]) == 3
        assert await daimon.operations.core.database.fetch("SELECT count(*) FROM accounts WHERE kind = 'agent'") == [
            (1,)
        ]


async def test_ten_in_an_hour_from_one_address(tmp_path: Path) -> None:
    async with nobody(tmp_path) as (daimon, stranger):
        for _ in range(MOST):
            assert (await stranger.ask("POST", "/v1/inboxes", json={"username": "?"})).error[0] == 422  # not counted
            await stranger.post("/v1/inboxes")
        limited = await stranger.ask("POST", "/v1/inboxes", json={})
        assert limited.error == (429, "RATE_LIMIT_EXCEEDED")
        assert limited.envelope["code"] == "INBOX_CREATE_RATE_LIMIT"
        assert limited.envelope["current_usage"]["count"] == MOST
        assert limited.headers["retry-after"] == "3600"
        daimon.later(HOUR + 1)
        await stranger.post("/v1/inboxes")


async def test_off_is_off(tmp_path: Path) -> None:
    async with nobody(tmp_path, bootstrap="off") as (_, stranger):
        refused = await stranger.ask("POST", "/v1/inboxes", json={})
        assert refused.error == (401, "UNAUTHORIZED")
        assert refused.envelope["code"] == "BOOTSTRAP_OFF"


async def test_who_comes_through_a_proxy_is_not_on_this_machine(tmp_path: Path) -> None:
    async with nobody(tmp_path) as (_, stranger):
        for field in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            refused = await stranger.ask("POST", "/v1/inboxes", json={}, headers={field: "127.0.0.1"})
            assert refused.envelope["code"] == "BOOTSTRAP_OFF"


async def test_a_join_code_is_asked_for_and_cannot_be_guessed(tmp_path: Path) -> None:
    async with nobody(tmp_path, bootstrap="on", join_code="open-sesame-42") as (_, stranger):
        await stranger.post("/v1/inboxes", join_code="open-sesame-42")
        header = {"X-Join-Code": "open-sesame-42"}
        assert (await stranger.ask("POST", "/v1/inboxes", json={}, headers=header)).status == 200
        wrong = await stranger.ask("POST", "/v1/inboxes", json={})
        assert wrong.error == (403, "FORBIDDEN")
        assert wrong.envelope["code"] == "JOIN_CODE"
        for number in range(MOST - 3):
            guess = await stranger.ask("POST", "/v1/inboxes", json={"join_code": f"open-sesame-{number}"})
            assert guess.error == (403, "FORBIDDEN")
        right = await stranger.ask("POST", "/v1/inboxes", json={}, headers=header)
        assert right.error == (429, "RATE_LIMIT_EXCEEDED")


async def test_loopback_alone_unless_it_is_on(daimon: Daimon) -> None:
    joining = daimon.operations.joining
    await joining.create_first_inbox(Visitor("::1"), CreateInbox())
    with pytest.raises(Refused, match="BOOTSTRAP_OFF"):
        await joining.create_first_inbox(Visitor("192.0.2.1"), CreateInbox())
    with pytest.raises(Refused, match="BOOTSTRAP_OFF"):
        await joining.create_first_inbox(Visitor(""), CreateInbox())


async def test_neighbours_share_and_strangers_do_not(tmp_path: Path) -> None:
    async with running(tmp_path / "data", {"http": {"bootstrap": "on"}}) as daimon:
        joining = daimon.operations.joining
        for number in range(MOST):
            await joining.create_first_inbox(Visitor(f"2001:db8::{number:x}"), CreateInbox())
        with pytest.raises(Refused, match="INBOX_CREATE_RATE_LIMIT"):
            await joining.create_first_inbox(Visitor("2001:db8::ffff"), CreateInbox())
        await joining.create_first_inbox(Visitor("2001:db8:0:1::1"), CreateInbox())


@pytest.mark.parametrize(
    ("http", "effective"),
    [
        ({}, "loopback"),
        ({"public_url": "http://localhost:8370"}, "loopback"),
        ({"public_url": "https://mail.example.org"}, "off"),
        ({"host": "0.0.0.0"}, "off"),
        ({"host": "0.0.0.0", "bootstrap": "on"}, "on"),
        ({"bootstrap": "off"}, "off"),
    ],
)
def test_what_the_settings_come_to(tmp_path: Path, http: dict[str, Any], effective: str) -> None:
    assert settings_for(tmp_path, {"http": http}).bootstrap == effective


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.9.9.9", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_whose_tries_are_counted_together(address: str, whose: str) -> None:
    assert neighbourhood(address) == whose
