"""Mail that older rules read is read again, once, and keeps everything but what was read out of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.support.contracts import ROOT
from tests.support.daimon import Agent, Daimon, running

from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.faces.cli.control import dispatch
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.consistency import findings
from daimon_mcp.store.database import Transaction

CODE = b"From: shop@example.com\r\nSubject: Your code\r\n\r\nYour verification code is 482913.\r\n"


async def test_a_folder_of_an_older_version(tmp_path: Path) -> None:
    sample = ROOT / "tests" / "upgrades" / "0.1.0"
    found: dict[str, Any] = json.loads((sample / "found.json").read_text(encoding="utf-8"))
    shutil.copytree(sample / "data", tmp_path / "data")
    async with running(tmp_path / "data") as daimon, daimon.agent() as agent:
        before = [await agent.do("get_message", message_id=each["id"], mark_read=False) for each in found["messages"]]
        first = await dispatch(daimon.operations, "reparse", {"after": 0, "everything": False})
        assert first["result"]["read"] >= len(before)
        again = await dispatch(daimon.operations, "reparse", {"after": 0, "everything": False})
        assert again["result"] == {"next_after": None, "read": 0, "missing": 0}
        for known in before:
            shown = await agent.do("get_message", message_id=known["id"], mark_read=False)
            kept = ("id", "thread_id", "labels", "read", "received_at", "message_id", "from_address", "size")
            assert {name: shown[name] for name in kept} == {name: known[name] for name in kept}
            assert [each["id"] for each in shown["attachments"]] == [each["id"] for each in known["attachments"]]
        assert not await findings(daimon.operations.core.database, deep=True)


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as agent:
        yield agent


async def test_what_old_rules_did_not_see_is_there_afterwards(daimon: Daimon, agent: Agent) -> None:
    inbox = await agent.do("create_inbox", username="reader")
    envelope = Envelope("shop@example.com", (inbox["address"],))
    (received,) = await daimon.operations.receiving.receive(envelope, Peer("127.0.0.1", "mx.example.com"), CODE)

    def forget(tx: Transaction) -> None:
        row = tx.one(sql.message_by_id, id=received)
        assert row is not None
        body = tx.one(sql.body_by_seq, seq=row[0])
        assert body is not None
        tx.run(
            sql.body_replace, seq=row[0], text_=body[0], reply_text_=body[1], html_=None, links_json_="[]",
            warnings_json_="[]", authentication_json_="{}", header_length_=0, envelope_json_="{}",
            structure_json_="{}", reading_json_="{}", rules_version_=0,
        )  # fmt: skip

    await daimon.operations.core.database.write(forget)
    assert (await agent.do("get_message", message_id=received))["codes"] == []
    done = await daimon.operations.rereading.reparse(0, everything=False)
    assert (done.read, done.next_after) == (1, None)
    [code] = (await agent.do("get_message", message_id=received))["codes"]
    assert code["value"] == "482913"
    assert (await daimon.operations.rereading.reparse(0, everything=True, limit=1)).read == 1
