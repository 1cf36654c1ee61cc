"""Webhooks: who may have which, what is refused and how, and what is kept of their secrets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Daimon, running
from tests.support.hooks import ELSEWHERE, Hooks

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.webhooks import MOST_WEBHOOKS
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.requests import read
from daimon_mcp.operations.webhooks import CreateWebhook
from daimon_mcp.store.compiled import Statement


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """Without workers: nothing is posted here."""
    async with running(tmp_path / "data") as made:
        yield made


@pytest.fixture
async def hooks(daimon: Daimon) -> Hooks:
    return Hooks(daimon, await daimon.actor())


async def inbox(daimon: Daimon, actor: Actor, name: str) -> tuple[dict[str, Any], Actor]:
    """A new inbox, and who holds its key."""
    outcome = await daimon.operations.inboxes.create_inbox(actor, read(CreateInbox, {"username": name}))
    return outcome.result, await daimon.operations.credentials.authenticate(outcome.result["api_key"])


def narrowed(actor: Actor, *permissions: str) -> Actor:
    return Actor(actor.account_no, actor.account_id, permissions=frozenset(permissions))


async def test_a_webhook_from_its_making_to_its_end(hooks: Hooks) -> None:
    made = await hooks.create(ELSEWHERE, "message.received", "message.complaint", description="books")
    assert made["id"].startswith("wh_")
    assert made["secret"].startswith("whsec_")
    assert (made["status"], made["events"]) == ("active", ["message.complained", "message.received"])
    shown = await hooks.get(made["id"])
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert [each["id"] for each in await hooks.list()] == [made["id"]]
    changed = await hooks.update(made["id"], url="https://hooks.example.com/two", events=["*"], description="all")
    assert (changed["url"], changed["events"], changed["description"]) == (
        "https://hooks.example.com/two", ["*"], "all",
    )  # fmt: skip
    assert (await hooks.delete(made["id"]))["success"] is True
    assert await hooks.list() == []
    for gone in (hooks.get(made["id"]), hooks.update(made["id"], status="active"), hooks.delete(made["id"])):
        with pytest.raises(Refused) as refused:
            await gone
        assert refused.value.code is RefusalCode.WEBHOOK_NOT_FOUND


async def test_the_secret_is_shown_once_and_not_readable_in_the_store(hooks: Hooks, tmp_path: Path) -> None:
    made = await hooks.create()
    rotated = await hooks.rotate(made["id"])
    assert rotated["secret"] != made["secret"]
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data").glob("mail.db*"))
    for secret in (made["secret"], rotated["secret"]):
        assert secret.removeprefix("whsec_").encode() not in stored
        assert secret not in str([await hooks.get(made["id"]), await hooks.list(), await hooks.events()])


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"url": "http://example.com/"}, "url", "https"),
        ({"url": "https://169.254.169.254/"}, "url", "private"),
        ({"events": []}, "events", "empty"),
        ({"events": ["message.recieved"]}, "events.0", "did you mean message.received?"),
        ({"events": ["message.sent", "zzz"]}, "events.1", "there are message.received"),
        ({"events": ["webhook.test"]}, "events.0", "is no event"),
    ],
)
async def test_what_is_wrong_is_named(hooks: Hooks, given: dict[str, Any], field: str, said: str) -> None:
    request = {"url": ELSEWHERE, "events": ["message.sent"], **given}
    with pytest.raises(Refused) as refused:
        await hooks.daimon.operations.webhooks.create_webhook(hooks.actor, read(CreateWebhook, request))
    problem = refused.value.fields[0]
    assert (refused.value.code, problem.field) == (RefusalCode.INVALID_REQUEST, field)
    assert said in problem.problem


async def test_the_same_client_id_is_the_same_webhook(hooks: Hooks) -> None:
    made = await hooks.create(ELSEWHERE, "message.sent", client_id="books")
    again = await hooks.create(ELSEWHERE, "message.sent", client_id="books")
    assert again["id"] == made["id"]
    assert "secret" not in again
    with pytest.raises(Refused) as refused:
        await hooks.create(ELSEWHERE, "message.received", client_id="books")
    assert refused.value.code is RefusalCode.IDEMPOTENCY_CONFLICT
    await hooks.delete(made["id"])
    assert (await hooks.create(ELSEWHERE, "message.sent", client_id="books"))["id"] != made["id"]


async def test_an_inbox_key_has_webhooks_of_its_inbox_alone(daimon: Daimon, hooks: Hooks) -> None:
    ada, key = await inbox(daimon, hooks.actor, "ada")
    bob, _ = await inbox(daimon, hooks.actor, "bob")
    of_account = await hooks.create(client_id="same")
    of_bob = await hooks.create(inbox=bob["id"])
    adas = Hooks(daimon, key)
    mine = await adas.create(client_id="same")
    assert mine["inbox_id"] == ada["id"]
    assert [each["id"] for each in await adas.list()] == [mine["id"]]
    assert {each["id"] for each in await hooks.list()} == {of_account["id"], of_bob["id"], mine["id"]}
    assert [each["id"] for each in await hooks.list(inbox_id=bob["address"])] == [of_bob["id"]]
    for foreign in (of_account["id"], of_bob["id"]):
        with pytest.raises(Refused) as refused:
            await adas.get(foreign)
        assert refused.value.code is RefusalCode.WEBHOOK_NOT_FOUND
    with pytest.raises(Refused) as refused:
        await adas.create(inbox=bob["id"])
    assert refused.value.code is RefusalCode.INBOX_NOT_FOUND
    with pytest.raises(Refused) as refused:
        await adas.update(mine["id"], inbox=None)
    assert refused.value.code is RefusalCode.FORBIDDEN
    assert (await hooks.update(of_bob["id"], inbox=None))["inbox_id"] is None


async def test_a_key_never_has_told_what_it_may_not_read(daimon: Daimon, hooks: Hooks) -> None:
    blind = Hooks(daimon, narrowed(hooks.actor, "webhook_read", "webhook_write"))
    for names in (["message.received"], ["*"]):
        with pytest.raises(Refused) as refused:
            await blind.create(ELSEWHERE, *names)
        assert refused.value.facts["permission"] == "message_read"
    made = await blind.create(ELSEWHERE, "inbox.created")
    with pytest.raises(Refused):
        await blind.update(made["id"], events=["message.received"])
    other = await hooks.create(ELSEWHERE, "message.received")
    with pytest.raises(Refused):
        await blind.rotate(other["id"])
    with pytest.raises(Refused) as refused:
        await Hooks(daimon, narrowed(hooks.actor, "webhook_read", "message_read")).create()
    assert refused.value.facts["permission"] == "webhook_write"


async def test_another_account_sees_none_of_it(daimon: Daimon, hooks: Hooks) -> None:
    made = await hooks.create()
    outcome = await daimon.operations.inboxes.create_first(read(CreateInbox, {"username": "stranger"}))
    stranger = Hooks(daimon, await daimon.operations.credentials.authenticate(outcome.result["account_api_key"]))
    assert await stranger.list() == []
    with pytest.raises(Refused) as refused:
        await stranger.get(made["id"])
    assert refused.value.code is RefusalCode.WEBHOOK_NOT_FOUND


async def test_pages_and_filters(hooks: Hooks) -> None:
    made = [(await hooks.create(f"https://hooks.example.com/{n}"))["id"] for n in range(5)]
    await hooks.update(made[2], status="disabled")
    assert [each["id"] for each in await hooks.list(limit=3)] == made[:1:-1]
    assert [each["id"] for each in await hooks.list(status="disabled")] == [made[2]]
    assert (await hooks.get(made[2]))["disabled_reason"] == "paused by request"
    assert (await hooks.update(made[2], status="active"))["disabled_reason"] is None


async def test_an_account_has_no_more_than_so_many(hooks: Hooks, daimon: Daimon) -> None:
    await hooks.create()
    columns = "account_no, url, description, events, secret, status, created_at, updated_at, failures"
    rows = f"""INSERT INTO webhooks (id, {columns})
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MOST_WEBHOOKS - 1})
        SELECT 'wh_' || i, {columns} FROM webhooks, n"""
    await daimon.operations.core.database.write(lambda tx: tx.run(Statement(rows, rows)))
    with pytest.raises(Refused) as refused:
        await hooks.create()
    assert "at most 1000 webhooks" in refused.value.fields[0].problem


@pytest.mark.parametrize(
    ("http", "webhooks", "allowed"),
    [
        ({}, {}, True),
        ({"public_url": "https://mail.example.org"}, {}, False),
        ({"public_url": "https://mail.example.org"}, {"loopback": True}, True),
        ({}, {"loopback": False}, False),
    ],
)
async def test_this_machine_is_a_receiver_while_the_server_is_for_it_alone(
    tmp_path: Path, http: dict[str, Any], webhooks: dict[str, Any], allowed: bool
) -> None:
    async with running(tmp_path / "data", {"http": http, "webhooks": webhooks}) as daimon:
        hooks = Hooks(daimon, await daimon.actor())
        if allowed:
            assert (await hooks.create("http://127.0.0.1:3000/"))["status"] == "active"
        else:
            with pytest.raises(Refused) as refused:
                await hooks.create("http://127.0.0.1:3000/")
            assert "[webhooks] loopback" in refused.value.fields[0].problem
