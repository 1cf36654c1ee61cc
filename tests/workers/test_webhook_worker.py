"""The webhook worker with real receivers: order, repetition, health, and that nobody waits for another."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.support.daimon import Daimon, MovableClock, running
from tests.support.gate import PATIENCE
from tests.support.hooks import Hooks
from tests.support.ports import free_port
from tests.support.receiver import Posted, Receiver, receiver

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.clock import DAY, iso
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.webhooks import HookCall, HookPause
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.requests import read
from daimon_mcp.operations.webhooks import MOST_TESTS


@pytest.fixture
def daimon(still: Daimon) -> Daimon:
    """With its workers, on a clock that moves when a test moves it."""
    return still


@pytest.fixture
async def hooks(daimon: Daimon) -> Hooks:
    return Hooks(daimon, await daimon.actor())


@pytest.fixture
async def peer() -> AsyncGenerator[Receiver]:
    async with receiver() as made:
        yield made


async def inbox_no(daimon: Daimon, hooks: Hooks, name: str) -> int:
    outcome = await daimon.operations.inboxes.create_inbox(hooks.actor, read(CreateInbox, {"username": name}))
    key = await daimon.operations.credentials.authenticate(outcome.result["api_key"])
    assert key.inbox_no is not None
    return key.inbox_no


async def settled(hooks: Hooks, webhook: dict[str, Any], **wanted: object) -> dict[str, Any]:
    """The webhook, once it is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await hooks.get(webhook["id"])
            if all(found[name] == value for name, value in wanted.items()):
                return found


def events(posted: list[Posted]) -> list[str]:
    return [each.event for each in posted]


async def test_an_event_is_posted_signed_and_logged(hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url("/in?x=1"), "inbox.created")
    before = time.time()
    await hooks.record("inbox.deleted", "inbox.created", note="ours")
    (posted,) = await peer.wait(1)
    assert posted.path == "/in?x=1"
    payload = posted.json
    assert payload["event"] == payload["type"] == "inbox.created"
    assert payload["account_id"] == hooks.actor.account_id
    assert payload["data"]["note"] == "ours"
    assert posted.headers["webhook-id"] == payload["event_id"]
    assert abs(int(posted.headers["webhook-timestamp"]) - before) < 60
    assert Webhook(made["secret"]).verify(posted.body, dict(posted.headers)) == payload
    plain = hmac.new(made["secret"].encode(), posted.body, hashlib.sha256).hexdigest()
    assert posted.headers["x-daimon-signature"] == f"sha256={plain}"
    shown = await settled(hooks, made, failure_count=0)
    async with asyncio.timeout(PATIENCE):
        while not (log := await hooks.deliveries(made["id"], status="delivered")):
            pass
    assert (log[0]["event"], log[0]["attempt_count"]) == ("inbox.created", 1)
    attempt = log[0]["attempts"][0]
    assert (attempt["status_code"], attempt["error"]) == (200, None)
    assert attempt["request"]["headers"]["webhook-id"] == payload["event_id"]
    assert attempt["request"]["size"] == len(posted.body)
    whole = await hooks.delivery(made["id"], log[0]["id"])
    assert whole["payload"] == payload
    assert shown["status"] == "active"


async def test_both_secrets_sign_while_they_overlap(hooks: Hooks, peer: Receiver, daimon: Daimon) -> None:
    made = await hooks.create(peer.url())
    rotated = await hooks.rotate(made["id"], overlap_hours=2)
    assert rotated["old_secret_until"]
    await hooks.record("inbox.created")
    (posted,) = await peer.wait(1)
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(posted.body, dict(posted.headers))
    assert daimon.clock is not None
    daimon.clock.move(2 * 3600 + 1)
    await hooks.record("inbox.created")
    (_, posted) = await peer.wait(2)
    assert len(posted.headers["webhook-signature"].split()) == 1
    assert "x-daimon-signature-previous" not in posted.headers


async def test_order_is_kept_in_a_lane_and_one_lane_does_not_wait_for_another(
    daimon: Daimon, hooks: Hooks, peer: Receiver
) -> None:
    ada, bob = [await inbox_no(daimon, hooks, name) for name in ("ada", "bob")]
    await hooks.create(peer.url(), "message.sent", "domain.verified")
    gate = peer.hold()
    for n in range(5):
        await hooks.record("message.sent", inbox_no=ada, n=n)
    await gate.reached()
    await hooks.record("domain.verified", inbox_no=bob)
    await peer.wait(1, lambda each: each.event == "domain.verified")
    assert events(peer.posted).count("message.sent") == 1
    gate.open()
    found = await peer.wait(5, lambda each: each.event == "message.sent")
    assert [each.json["data"]["n"] for each in found] == list(range(5))


async def test_a_failing_event_is_posted_again_before_those_behind_it(
    daimon: Daimon, hooks: Hooks, peer: Receiver
) -> None:
    made = await hooks.create(peer.url(), "domain.verified")
    peer.answer(500, times=2, body=b"oops")
    for n in range(3):
        await hooks.record("domain.verified", n=n)
    await peer.wait(1)
    failing = await settled(hooks, made, failure_count=1)
    assert (failing["status"], failing["last_error"]) == ("active", "answered 500")
    await step(daimon, 7)
    await peer.wait(2)
    await settled(hooks, made, failure_count=2)
    await step(daimon, 40)
    posted = await peer.wait(5)
    assert [each.json["data"]["n"] for each in posted] == [0, 0, 0, 1, 2]
    assert len({each.headers["webhook-id"] for each in posted[:3]}) == 1
    assert (await settled(hooks, made, failure_count=0))["last_error"] is None
    first = (await hooks.deliveries(made["id"]))[-1]
    assert [each["status_code"] for each in first["attempts"]] == [500, 500, 200]
    assert first["attempts"][0]["response"]["body"] == "oops"


async def step(daimon: Daimon, seconds: float) -> None:
    """Let time pass; the worker looks at the clock by itself within a second."""
    assert daimon.clock is not None
    daimon.clock.move(seconds)


async def test_a_dead_and_a_slow_receiver_hold_up_nobody(daimon: Daimon, hooks: Hooks, peer: Receiver) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    gate = peer.hold(path="/slow")
    for n in range(20):
        await hooks.create(f"{dead}{n}", "domain.verified")
        await hooks.create(peer.url("/slow"), "domain.verified")
    await hooks.create(peer.url("/well"), "domain.verified")
    for n in range(10):
        await hooks.record("domain.verified", n=n)
    well = await peer.wait(10, lambda each: each.path == "/well")
    assert [each.json["data"]["n"] for each in well] == list(range(10))
    gate.open()


async def test_health_goes_down_is_told_to_the_others_and_comes_back(
    daimon: Daimon, hooks: Hooks, peer: Receiver
) -> None:
    made = await hooks.create(peer.url("/ill"))
    await hooks.create(peer.url("/other"), "webhook.unhealthy")
    peer.answer(502, path="/ill")
    await hooks.record("domain.verified")
    for failures, pause in enumerate((7, 40, 150, 800), 1):
        await settled(hooks, made, failure_count=failures)
        await step(daimon, pause)
    await settled(hooks, made, failure_count=5, status="unhealthy")
    (told,) = await peer.wait(1, lambda each: each.path == "/other")
    assert told.json["data"] == {
        "webhook_id": made["id"], "status": "unhealthy", "failure_count": 5, "reason": "answered 502",
    }  # fmt: skip
    peer.answer(200, path="/ill")
    await step(daimon, 4000)
    await settled(hooks, made, failure_count=0, status="active")
    assert events([each for each in peer.posted if each.path == "/ill"]) == ["domain.verified"] * 6


async def test_a_day_of_nothing_but_failures_disables_and_active_lets_it_go_on(
    daimon: Daimon, hooks: Hooks, peer: Receiver
) -> None:
    made = await hooks.create(peer.url("/ill"), "domain.verified")
    peer.answer(500, path="/ill")
    await hooks.record("domain.verified", n=1)
    await settled(hooks, made, failure_count=1)
    await step(daimon, 24 * 3600)
    gone = await settled(hooks, made, failure_count=2, status="disabled")
    assert gone["disabled_reason"] == "nothing got through for 24 hours; at last it answered 500"
    (failed,) = await hooks.deliveries(made["id"], status="failed")
    await hooks.record("domain.verified", n=2)
    with pytest.raises(Refused):
        await hooks.replay(made["id"], delivery_id=failed["id"])
    peer.answer(200, path="/ill")
    assert (await hooks.update(made["id"], status="active"))["failure_count"] == 0
    assert await hooks.replay(made["id"], since=iso(made_at(daimon) - 2 * DAY)) == 1
    (_, _, again) = await peer.wait(3)
    assert again.json["data"]["n"] == 1
    async with asyncio.timeout(PATIENCE):
        while await hooks.replay(made["id"], since=iso(made_at(daimon) - 2 * DAY)):
            pass
    assert len(peer.posted) == 3  # what was delivered since is not sent again, nor what happened while it was disabled


def made_at(daimon: Daimon) -> int:
    return daimon.operations.core.clock.now()


async def test_410_disables_at_once(hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url())
    peer.answer(410)
    await hooks.record("domain.verified", "inbox.created")
    gone = await settled(hooks, made, status="disabled")
    assert gone["disabled_reason"] == "the receiver answered 410 Gone"
    assert len(peer.posted) == 1


async def test_a_receiver_that_asks_to_wait_is_left_alone(daimon: Daimon, hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url())
    other = await inbox_no(daimon, hooks, "ada")
    peer.answer(429, times=1, retry_after="600")
    await peer.wait(1)
    waiting = await settled(hooks, made, failure_count=1)
    assert waiting["next_attempt_at"] == iso(made_at(daimon) + 600_000_000)
    await hooks.record("domain.verified", inbox_no=other)
    await step(daimon, 300)
    await hooks.test(made["id"])  # a test call is made all the same
    assert events(peer.posted) == ["inbox.created", "webhook.test"]
    await step(daimon, 301)
    await peer.wait(4)
    assert events(peer.posted)[2:] == ["inbox.created", "domain.verified"]


async def test_one_delivery_is_sent_again_on_demand_and_known_by_its_event(hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url(), "domain.verified")
    await hooks.record("domain.verified")
    await peer.wait(1)
    async with asyncio.timeout(PATIENCE):
        while not (log := await hooks.deliveries(made["id"], status="delivered")):
            pass
    assert await hooks.replay(made["id"], delivery_id=log[0]["id"]) == 1
    first, second = await peer.wait(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert {each["replay"] for each in await hooks.deliveries(made["id"])} == {True, False}
    with pytest.raises(Refused):
        await hooks.replay(made["id"], delivery_id="whd_nothing")
    with pytest.raises(Refused):
        await hooks.replay(made["id"])


async def test_a_deleted_webhook_is_posted_nothing_more(daimon: Daimon, hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url())
    gate = peer.hold()
    await hooks.record("domain.verified", "domain.verified", "domain.verified")
    await gate.reached()
    await hooks.delete(made["id"])
    gate.open()
    await hooks.create(peer.url("/next"))
    await hooks.record("inbox.created")
    await peer.wait(1, lambda each: each.path == "/next")
    assert len(peer.posted) == 2
    assert await daimon.operations.telling.tidy()
    states = await daimon.operations.core.database.fetch("SELECT state, count(*) FROM hookdeliveries GROUP BY state")
    assert dict(states)["dropped"] == 2


async def test_a_test_call_says_what_came_of_it_and_counts_for_nothing(hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url(), "domain.verified")
    well = await hooks.test(made["id"])
    assert (well["delivered"], well["status_code"]) == (True, 200)
    Webhook(made["secret"]).verify(peer.posted[0].body, dict(peer.posted[0].headers))
    assert peer.posted[0].json["event"] == "webhook.test"
    peer.answer(401, body=b"bad signature")
    ill = await hooks.test(made["id"])
    assert (ill["delivered"], ill["status_code"], ill["response"]) == (False, 401, "bad signature")
    nobody = await hooks.create(f"http://127.0.0.1:{free_port()}/")
    gone = await hooks.test(nobody["id"])
    assert (gone["delivered"], gone["status_code"], gone["error"]) == (False, None, "could not be connected to")
    assert {each["failure_count"] for each in await hooks.list()} == {0}


async def test_test_calls_are_counted(daimon: Daimon, hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url(), "domain.verified")
    for _ in range(MOST_TESTS):
        await hooks.test(made["id"])
    with pytest.raises(Refused) as refused:
        await hooks.test(made["id"])
    assert (refused.value.code, refused.value.reason) == (RefusalCode.RATE_LIMIT_EXCEEDED, "TEST_CALLS")
    await step(daimon, 61)
    assert (await hooks.test(made["id"]))["delivered"] is True


async def test_nothing_of_a_suspended_account_leaves(tmp_path: Path) -> None:
    async with running(tmp_path / "data", workers=False) as daimon:
        hooks = Hooks(daimon, await daimon.actor())
        await hooks.create("https://hooks.example.com/", "domain.verified")
        await hooks.record("domain.verified")
        lanes = await daimon.operations.telling.take_over()
        await daimon.operations.upgrades.set_status(hooks.actor.account_id, AccountStatus.SUSPENDED)
        (paused,) = await daimon.operations.telling.claim(lanes)
        assert isinstance(paused, HookPause)
        assert paused.whole
        await daimon.operations.upgrades.set_status(hooks.actor.account_id, AccountStatus.ACTIVE)
        (call,) = await daimon.operations.telling.claim(lanes)
        assert isinstance(call, HookCall)


async def test_what_waits_for_a_disabled_webhook_is_given_up_after_a_day(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running(tmp_path / "data", workers=False, clock=clock) as daimon:
        hooks = Hooks(daimon, await daimon.actor())
        made = await hooks.create("https://hooks.example.com/", "domain.verified")
        await hooks.record("domain.verified", "domain.verified")
        await hooks.update(made["id"], status="disabled")
        await hooks.record("domain.verified")
        assert [each["status"] for each in await hooks.deliveries(made["id"])] == ["waiting", "waiting"]
        clock.move(23 * 3600)
        assert await daimon.operations.telling.tidy()
        assert await hooks.deliveries(made["id"], status="failed") == []
        clock.move(2 * 3600)
        assert await daimon.operations.telling.tidy()
        assert len(await hooks.deliveries(made["id"], status="failed")) == 2
        assert await daimon.operations.telling.take_over() == []


async def test_what_waits_survives_a_restart(tmp_path: Path, peer: Receiver) -> None:
    clock = MovableClock()
    async with running(tmp_path / "data", workers=False, clock=clock) as daimon:
        hooks = Hooks(daimon, await daimon.actor())
        made = await hooks.create(peer.url(), "domain.verified")
        for n in range(50):
            await hooks.record("domain.verified", n=n)
    async with running(tmp_path / "data", workers=True, clock=clock) as daimon:
        posted = await peer.wait(50)
        assert [each.json["data"]["n"] for each in posted] == list(range(50))
        hooks = Hooks(daimon, await daimon.actor())
        await settled(hooks, made, failure_count=0)
        assert daimon.app._webhook_worker is not None  # pyright: ignore[reportPrivateUsage]


async def test_the_log_is_pruned_after_its_time(daimon: Daimon, hooks: Hooks, peer: Receiver) -> None:
    made = await hooks.create(peer.url(), "domain.verified")
    await hooks.record("domain.verified")
    await peer.wait(1)
    async with asyncio.timeout(PATIENCE):
        while not await hooks.deliveries(made["id"], status="delivered"):
            pass
    await step(daimon, 29 * 24 * 3600)
    assert await daimon.operations.telling.tidy()
    assert len(await hooks.deliveries(made["id"])) == 1
    await step(daimon, 2 * 24 * 3600)
    await hooks.delete(made["id"])
    assert await daimon.operations.telling.tidy()
    database = daimon.operations.core.database
    assert await database.fetch("SELECT * FROM hookattempts") == []
    await step(daimon, 31 * 24 * 3600)
    assert await daimon.operations.telling.tidy()
    assert await database.fetch("SELECT * FROM webhooks") == []


async def test_an_event_that_its_receiver_never_takes_lets_others_by(
    daimon: Daimon, hooks: Hooks, peer: Receiver
) -> None:
    made = await hooks.create(peer.url(), "domain.verified", "inbox.deleted")
    peer.answer(500)
    await hooks.record("domain.verified", n=0)
    for failures, pause in enumerate((7, 40, 150, 800), 1):
        await settled(hooks, made, failure_count=failures)
        await step(daimon, pause)
    await settled(hooks, made, failure_count=5)
    await hooks.record("inbox.deleted")
    peer.answer(200)
    await step(daimon, 1000)  # the pause of the receiver is over, that of the event is not
    posted = await peer.wait(7)
    assert events(posted)[5:] == ["inbox.deleted", "domain.verified"]
