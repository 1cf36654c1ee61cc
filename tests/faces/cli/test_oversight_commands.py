"""`daimon-mcp operator …` about what leaves, and `daimon-mcp audit …`, as typed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.faces.cli.kit import command
from tests.support.daimon import running
from tests.support.post import OTHER, ROBO

BELL = "\x07\x1b[31m"


async def test_the_commands(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with running(folder) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        account = (await daimon.actor()).account_id

    async def cli(*arguments: str, status: int = 0) -> str:
        done = await asyncio.to_thread(command, folder, *arguments, status=status)
        assert "\x07" not in done.stdout
        return done.stderr if status else done.stdout

    said = await cli("operator", "oversight", ROBO, "gated_send", "--after-untrusted", "hold")
    assert said == f"{ROBO}: gated_send, after outside mail hold.\n"
    assert await cli("operator", "oversight", ROBO, "--pause") == (
        f"{ROBO}: gated_send, after outside mail hold, paused.\n"
    )
    assert (await cli("operator", "oversight", ROBO, "--resume")).endswith("hold.\n")
    assert "INVALID_REQUEST" in await cli("operator", "oversight", ROBO, "sometimes", status=1)
    assert "INBOX_NOT_FOUND" in await cli("operator", "oversight", "nobody@agents.localhost", "--pause", status=1)

    async with running(folder) as daimon, daimon.agent() as agent:
        held = [
            await agent.do(
                "send_email", inbox=ROBO, to=OTHER, subject=f"Note {n}", body=f"Words {n} {BELL}", reason="to greet"
            )
            for n in range(3)
        ]
        asked = await agent.do("notify_operator", issue="May I?")
    listed = await cli("operator", "list")
    assert f"{held[0]['approval_id']}  held email  account {account}" in listed
    assert f"from {ROBO} to {OTHER}" in listed
    assert "held: every email of this inbox needs your approval" in listed
    assert "the agent says: to greet" in listed
    assert "Words" not in listed
    shown = await cli("operator", "show", held[0]["approval_id"])
    assert "  | Words 0" in shown
    approved = await cli("operator", "approve", held[0]["approval_id"], "--always")
    assert approved == f"Approved {held[0]['approval_id']}: {held[0]['id']} leaves now, as far as the limits allow.\n"
    assert "decided" in await cli("operator", "approve", held[0]["approval_id"], status=1)
    rejected = await cli("operator", "reject", held[1]["approval_id"], "--comment", "Too soon")
    assert rejected == f"Declined {held[1]['approval_id']}.\n"
    assert "rejected. Comment: Too soon" in await cli("operator", "show", held[1]["approval_id"])
    assert "only the recipients of held mail" in await cli(
        "operator", "approve", asked["approval_id"], "--always", status=1
    )

    assert f"operator by cli  reject  {held[1]['approval_id']}  because: Too soon" in await cli("audit", "list")
    only = await cli("audit", "list", "--who", "operator", "--operation", "set_oversight")
    assert len(only.splitlines()) == 3
    assert "The audit log is whole: " in await cli("audit", "verify")
    lines = [json.loads(line) for line in (await cli("audit", "export")).splitlines()]
    assert [each["no"] for each in lines] == list(range(1, len(lines) + 1))
    assert {"create_inbox", "send_email", "set_oversight", "approve", "reject"} <= {each["operation"] for each in lines}
    key = (await cli("keys", "create", "--name", "worker", "--reply-only")).strip()
    key_id = next(line.split()[0] for line in (await cli("keys", "list")).splitlines() if "worker" in line)
    assert (await cli("keys", "rotate", key_id, "--overlap", "0")).strip() != key
    async with running(folder) as daimon:
        assert (await daimon.operations.auditing.verify_audit())["whole"]
    await asyncio.to_thread(_tamper, folder)
    assert "does not fit from entry 2 on" in await cli("audit", "verify", status=1)


def _tamper(folder: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(folder / "mail.db")
    with connection:
        connection.execute("UPDATE audit SET operation = 'nothing' WHERE no = 2")
    connection.close()
