"""`daimon-mcp queue …`, `suppressions …` and what the operator does about programs that send, as typed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.faces.cli.kit import command
from tests.support.daimon import Daimon, running
from tests.support.post import PEER, ROBO, eml

from daimon_mcp.domain.envelopes import Envelope
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.cli.control import dispatch
from daimon_mcp.operations.suppressing import BOUNCED, suppress
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

ANN, BEN = "ann@far.example", "ben@other.example"
RELAY = {"relay": {"host": "127.0.0.1", "port": 1, "security": "none"}}
BELL = "\x07\x1b[31m"


async def fill(daimon: Daimon) -> dict[str, str]:
    """Mail that waits to leave, mail that waits to be filed, and an address that bounced."""
    await daimon.upgrade()
    actor, core = await daimon.actor(), daimon.operations.core
    async with daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        sent = await agent.do("send_email", inbox=ROBO, to=[ANN, BEN], subject="Hi there", body="x")
    await daimon.operations.receiving.accept(Envelope("", (ROBO,)), PEER, eml())

    def run(tx: Transaction) -> None:
        suppress(
            tx, actor.account_no, ANN, why=BOUNCED, reply=f"550 5.1.1 {BELL}gone", message_id=sent["id"],
            now=core.clock.now(),
        )  # fmt: skip
        tx.run(sql.incoming_failed, no=1)

    await core.database.write(run)
    return {"account": actor.account_id, "message": sent["id"]}


async def ask(daimon: Daimon, method: str, **params: Any) -> Any:
    return await dispatch(daimon.operations, method, params)


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "asked", RELAY) as made:
        yield made


async def test_the_commands(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with running(folder, RELAY) as daimon:
        known = await fill(daimon)

    async def cli(*arguments: str, status: int = 0, **more: str) -> str:
        done = await asyncio.to_thread(command, folder, *arguments, status=status, **more)
        assert "\x07" not in done.stdout
        return done.stderr if status else done.stdout

    listed = await cli("queue", "list")
    assert f"queued  {ROBO} -> {ANN}  {known['message']}  account {known['account']}" in listed
    assert 'subject: "Hi' in listed
    delivery = listed.split()[0]
    assert delivery.startswith("dlv_")
    assert BEN not in await cli("queue", "list", delivery)
    assert "name what to hold" in await cli("queue", "hold", status=2)
    assert "name what to cancel" in await cli("queue", "cancel", BEN, "--all", status=2)
    assert await cli("queue", "hold", "other.example") == "Held: 1.\n"
    assert ANN not in await cli("queue", "list", "--state", "held")
    assert await cli("queue", "release", "--all") == "Released: 1.\n"
    assert await cli("queue", "retry", known["message"]) == "To be tried now: 2.\n"
    assert await cli("queue", "cancel", delivery) == "Cancelled: 1.\n"
    assert await cli("queue", "cancel", "--all", "--state", "queued") == "Cancelled: 1.\n"
    assert await cli("queue", "list") == "Nothing waits.\n"
    assert f"the delivery {delivery} is not in the queue any more: it is cancelled" in await cli(
        "queue", "retry", delivery, status=1
    )
    assert await cli("queue", "release", "--all") == "Released: 0.\n"

    spooled = await cli("queue", "spool")
    assert "test  put aside after 0 tries  mx  since " in spooled
    assert f"<> -> {ROBO}" in spooled
    assert "daimon-mcp queue refile --all" in spooled
    assert "name the mail" in await cli("queue", "refile", status=2)
    assert await cli("queue", "refile", "test") == "To be filed again: 1.\n"
    assert "no mail with the id test was put aside (NOT_FOUND)" in await cli("queue", "refile", "test", status=1)
    assert "test  waits  mx" in await cli("queue", "spool")

    assert f"{ANN}  bounced  since " in await cli("suppressions", "list", "--account", known["account"])
    assert "gone" in await cli("suppressions", "list")
    assert await cli("suppressions", "remove", ANN.upper()) == f"Mail to {ANN} is sent again.\n"
    assert await cli("suppressions", "list") == "No address is suppressed.\n"
    assert "is not suppressed" in await cli("suppressions", "remove", ANN, status=1)

    shown = await cli("operator", "smtp-password", DAIMON_OPERATOR__SECRETS="masked")
    assert f"user name: {known['account']}\npassword: smtp_secret_" in shown
    rotated = await cli("operator", "smtp-password", "--rotate", "--account", known["account"])
    assert rotated.splitlines()[-1].startswith("password: smtp_secret_")
    assert rotated.splitlines()[-1] != shown.splitlines()[-1]
    assert await cli("operator", "smtp-password") == rotated
    assert "was not stopped" in await cli("operator", "resume-sending", known["account"])
    assert "ACCOUNT_NOT_FOUND" in await cli("operator", "resume-sending", "acc_none", status=1)


async def test_an_account_that_was_stopped_sends_again(daimon: Daimon) -> None:
    await daimon.upgrade()
    actor, core = await daimon.actor(), daimon.operations.core
    await core.database.write(
        lambda tx: tx.run(sql.account_stop_sending, account_no=actor.account_no, now=core.clock.now(), why="volume")
    )
    async with daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        mail = {"inbox": ROBO, "to": ANN, "subject": "s", "body": "b"}
        assert (await agent.call("send_email", **mail)).error == "ACCOUNT_SUSPENDED"
        done = await ask(daimon, "operator.resume_sending", account=actor.account_id)
        assert done == {"result": {"account": actor.account_id, "resumed": True}}
        assert (await agent.do("send_email", **mail))["status"] == "queued"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("queue.hold", {}),
        ("queue.cancel", {"which": " ", "everything": False}),
        ("queue.list", {"everything": True, "state": "sent"}),
        ("suppressions.remove", {"address": "nobody@far.example"}),
    ],
)
async def test_what_is_not_said_clearly_is_not_done(daimon: Daimon, method: str, params: dict[str, Any]) -> None:
    assert (await ask(daimon, method, **params))["error"] == "INVALID_REQUEST"


@pytest.mark.parametrize("verb", ["hold", "release", "retry", "cancel"])
async def test_what_is_not_in_the_queue_is_not_found(daimon: Daimon, verb: str) -> None:
    known = await fill(daimon)
    for which, words in (
        ("dlv_1", "the queue has no delivery dlv_1"),
        ("msg_1", "the queue has nothing of the message msg_1"),
        ("nobody@no.example", "the queue has nothing for no.example"),
    ):
        said = await ask(daimon, f"queue.{verb}", which=which)
        assert (said["error"], said["message"]) == ("NOT_FOUND", words)
    assert (await ask(daimon, "queue.hold", which=known["message"]))["result"] == {"count": 2}
    assert (await ask(daimon, "queue.hold", which=known["message"]))["result"] == {"count": 0}  # they are held already


async def test_every_account_has_its_own(daimon: Daimon) -> None:
    assert (await ask(daimon, "suppressions.list", account="acc_none"))["error"] == "ACCOUNT_NOT_FOUND"
    await daimon.upgrade(Tier.FREE)
    refused = await ask(daimon, "operator.smtp_password")
    assert refused["error"] == "SMTP_REQUIRES_PAID"
    account = (await daimon.actor()).account_id
    assert f"daimon-mcp operator tier {account} starter" in refused["message"]
    assert "daimon-mcp operator list" in refused["message"]
