"""Data folders that earlier versions wrote (scripts/make-upgrade-sample.py) open, are consistent, and can be used."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.contracts import ROOT
from tests.support.daimon import running

from daimon_mcp import __version__
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.store.consistency import findings

SAMPLES = sorted((ROOT / "tests" / "upgrades").iterdir())
RELAY = {"relay": {"host": "relay.invalid", "port": 25, "security": "none"}}


def test_every_version_leaves_a_sample() -> None:
    assert __version__ in [sample.name for sample in SAMPLES]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_an_earlier_versions_folder(sample: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads((sample / "found.json").read_text(encoding="utf-8"))
    shutil.copytree(sample / "data", tmp_path / "data")
    async with running(tmp_path / "data", RELAY) as daimon, daimon.agent() as agent:
        core = daimon.operations.core
        assert not await findings(core.database, deep=True)
        reader = found["inboxes"][0]

        listed = (await agent.do("list_messages", inbox=reader, limit=100))["messages"]
        assert [each["id"] for each in listed] == [each["id"] for each in found["messages"]]
        for expected in found["messages"]:
            digest = expected.pop("sha256")
            shown = await agent.do("get_message", message_id=expected["id"], mark_read=False)
            files = expected.pop("attachments")
            assert [
                {name: file[name] for name in known} for file, known in zip(shown["attachments"], files, strict=True)
            ] == files
            assert {name: shown[name] for name in expected} == expected
            assert hashlib.sha256(await core.blobs.get(core.database, digest)).hexdigest() == digest
        draft = await agent.do("get_draft", draft_id=found["draft"]["id"])
        assert draft["subject"] == found["draft"]["subject"]

        # Secrets that were shown then, still work.
        await daimon.operations.credentials.authenticate(found["api_key"])
        assert (await agent.do("get_smtp_credentials"))["password"] == found["smtp_password"]

        # It goes on: mail comes in, joins its thread, and leaves.
        envelope = Envelope("ann@example.com", (reader,))
        answer = (
            b"From: ann@example.com\r\nIn-Reply-To: <plain@example.com>\r\nSubject: Re: Plain\r\n\r\nStill here.\r\n"
        )
        (received,) = await daimon.operations.receiving.receive(envelope, Peer("127.0.0.1", "mx.example.com"), answer)
        thread = next(each["thread_id"] for each in found["messages"] if each["message_id"] == "<plain@example.com>")
        assert (await agent.do("get_message", message_id=received))["thread_id"] == thread
        again = await agent.do("send_email", inbox=reader, to=found["inboxes"][1], subject="New", body="Hello")
        assert again["status"] == "delivered"
