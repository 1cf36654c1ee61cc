"""Every tool that writes leaves its mark in the audit log, whose chain then holds, and tells when it was touched."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.faces.mcp.kit import FREE_SENDS, every_tool, key, over_http
from tests.support.daimon import Daimon, running

from daimon_mcp.faces.mcp.tools import ALL
from daimon_mcp.operations.auditing import ListAudit

FULL: dict[str, Any] = {**FREE_SENDS, "mcp": {"profile": "full"}}
# What shows a secret is put on record although it only reads; what has failed is not.
SHOWS = {"get_smtp_credentials"}
FAILED = {"remove_suppression"}


async def entries(daimon: Daimon, **wanted: Any) -> list[dict[str, Any]]:
    return (await daimon.operations.auditing.list_audit(ListAudit(limit=1000, **wanted)))["entries"]


async def test_every_tool_that_writes_is_in_the_log_with_who_did_it_and_by_what(tmp_path: Path) -> None:
    async with running(tmp_path / "data", FULL, listeners=True) as daimon:
        token = await key(daimon)
        holder = (await daimon.operations.credentials.authenticate(token)).key_id
        async with over_http(daimon.url, token, "auto") as agent:
            await every_tool(agent)
        written = await entries(daimon, who=holder)
        found = {each["operation"] for each in written}
        assert found == {tool.name for tool in ALL if not tool.reads} - FAILED | SHOWS
        assert {each["face"] for each in written} == {"mcp"}
        assert {each["account"] for each in written} == {(await daimon.actor()).account_id}
        assert all(each["target"] for each in written if each["operation"] not in ("add_to_list", "remove_from_list"))
        [link] = [each for each in written if each["operation"] == "create_upgrade_link"]
        assert link["reason"] == "to answer the customers"
        text = json.dumps(written)
        assert not any(secret in text for secret in ("dm_free_", "dm_live_", "smtp_secret_", "One word."))
        checked = await daimon.operations.auditing.verify_audit()
        assert checked["whole"] is True
        assert checked["entries"] >= len(written)


async def test_pages_of_the_log_and_what_is_asked_of_it(daimon: Daimon) -> None:
    async with daimon.agent() as agent:
        made = [await agent.do("create_inbox", username=f"box-{n}") for n in range(5)]
    first = await daimon.operations.auditing.list_audit(ListAudit(limit=2, operation="create_inbox"))
    assert [each["target"] for each in first["entries"]] == [made[4]["id"], made[3]["id"]]
    second = await daimon.operations.auditing.list_audit(
        ListAudit(limit=2, operation="create_inbox", cursor=first["next_cursor"])
    )
    assert [each["target"] for each in second["entries"]] == [made[2]["id"], made[1]["id"]]
    [one] = await entries(daimon, target=made[0]["id"])
    assert (one["who"], one["face"], one["details"]["address"]) == ("local", "mcp", made[0]["address"])
    assert await entries(daimon, who="operator") == []
    lines = [json.loads(line) async for line in daimon.operations.auditing.exported()]
    assert [each["target"] for each in lines if each["operation"] == "create_inbox"] == [each["id"] for each in made]
    assert lines[1]["before"] == lines[0]["hash"]


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit SET who = 'somebody' WHERE no = 2", 2),
        ("UPDATE audit SET details_json = '{}' WHERE no = 2", 2),
        ("DELETE FROM audit WHERE no = 2", 3),
        ("UPDATE audit SET at = at + 1 WHERE no = 3", 3),
    ],
)
async def test_a_log_that_was_touched_is_found_out(tmp_path: Path, change: str, broken_at: int) -> None:
    async with running(tmp_path / "data") as daimon, daimon.agent() as agent:
        for n in range(3):
            await agent.do("create_inbox", username=f"box-{n}")
    connection = sqlite3.connect(tmp_path / "data" / "mail.db")
    with connection:
        connection.execute(change)
    connection.close()
    async with running(tmp_path / "data") as daimon:
        found = await daimon.operations.auditing.verify_audit()
        assert (found["whole"], found["broken_at"]) == (False, broken_at)
