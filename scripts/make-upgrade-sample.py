"""Write a data folder as this version leaves it to `tests/upgrades/<version>`, for every later version to open.

Run once for each release, when its schema is final: `.venv/bin/python scripts/make-upgrade-sample.py`. What is there
is never written again, since it stands for the folders that people have.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.daimon import Agent, Daimon, running  # noqa: E402

from daimon_mcp import __version__  # noqa: E402
from daimon_mcp.domain.envelopes import Envelope, Peer  # noqa: E402
from daimon_mcp.faces.cli.control import dispatch  # noqa: E402
from daimon_mcp.store import blobs  # noqa: E402
from daimon_mcp.store.messages import by_id  # noqa: E402

RELAY = {"relay": {"host": "relay.invalid", "port": 25, "security": "none"}}
SHOWN = (
    "id", "thread_id", "message_id", "direction", "from_address", "from_name", "to_addresses", "subject", "labels",
    "read", "delivery_status", "received_at", "size", "body_text", "attachments",
)  # fmt: skip

PLAIN = """From: Ann <ann@example.com>
To: reader@agents.localhost
Subject: Plain
Message-ID: <plain@example.com>
Date: Sat, 21 Nov 2026 09:00:00 +0000

Good morning.
"""
RICH = """From: =?utf-8?q?J=C3=BCrgen_=E2=98=83?= <juergen@example.org>
To: reader@agents.localhost
Subject: =?utf-8?b?w5xiZXIgYWxsZW4gR2lwZmVsbg==?=
Message-ID: <rich@example.org>
Date: Sat, 21 Nov 2026 10:00:00 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/html; charset=utf-8

<p>Look at <a href="https://example.org/confirm">this</a>, gr\u00fc\u00dfe</p>
--b
Content-Type: text/plain; name="notes.txt"
Content-Disposition: attachment; filename="notes.txt"

some notes
--b--
"""
ANSWER = """From: Ann <ann@example.com>
To: reader@agents.localhost
Subject: Re: Plain
Message-ID: <answer@example.com>
In-Reply-To: <plain@example.com>
References: <plain@example.com>
Date: Sat, 21 Nov 2026 11:00:00 +0000

And a good evening.
"""


async def fill(daimon: Daimon, agent: Agent) -> dict[str, Any]:
    """One of everything a store can hold; what a reader must be able to find again."""
    reader = await agent.do("create_inbox", username="reader", display_name="The Reader", client_id="reader")
    other = await agent.do("create_inbox", username="other")

    async def receive(content: str) -> str:
        envelope = Envelope("ann@example.com", (reader["address"],))
        raw = content.replace("\n", "\r\n").encode()
        (message_id,) = await daimon.operations.receiving.receive(envelope, Peer("192.0.2.1", "mx.example.com"), raw)
        return message_id

    plain, rich = await receive(PLAIN), await receive(RICH)
    await receive(ANSWER)
    in_database = blobs.IN_DATABASE
    blobs.IN_DATABASE = 100  # the least that goes to a file, so that the sample has one and stays small
    await receive(PLAIN.replace("Plain", "In a file").replace("plain@", "file@"))
    blobs.IN_DATABASE = in_database
    await agent.do("get_message", message_id=plain)

    parked = {"to": "bob@example.net", "subject": "Parked", "body": "When I may", "inbox": reader["id"], "park": True}
    await agent.do("send_email", **parked)
    await agent.do("create_upgrade_link", target_tier="pro", reason="I have mail to send")
    await daimon.upgrade()

    sent: dict[str, Any] = {"inbox": reader["id"], "to": [other["address"], "bob@example.net"], "body": "Hello"}
    first = await agent.do("send_email", subject="Sent", client_id="sent", labels=["work"], **sent)
    await agent.do("send_email", subject="Scheduled", send_at="2030-01-01T09:00:00Z", **sent)
    later = await agent.do("send_email", subject="Cancelled", send_at="2030-01-01T09:00:00Z", **sent)
    await agent.do("cancel_scheduled", message_id=later["id"])
    await agent.do("reply_to_message", message_id=rich, body="Thank you")
    draft = await agent.do("create_draft", inbox=reader["id"], to="ann@example.com", subject="Draft", body="Half a")
    key = await dispatch(daimon.operations, "keys.create", {"name": "kept"})
    credentials = await agent.do("get_smtp_credentials")

    page = await agent.do("list_messages", inbox=reader["id"], limit=100)
    messages: list[dict[str, Any]] = []
    for each in page["messages"]:
        full = await agent.do("get_message", message_id=each["id"], mark_read=False)
        stored = await by_id(daimon.operations.core.database, each["id"])
        assert stored is not None
        messages.append({**{name: full[name] for name in SHOWN}, "sha256": stored.blob_hash})
    return {
        "inboxes": [reader["address"], other["address"]],
        "messages": messages,
        "draft": {"id": draft["id"], "subject": "Draft"},
        "sent": {"id": first["id"], "arguments": {"subject": "Sent", "client_id": "sent", "labels": ["work"], **sent}},
        "api_key": key["result"]["api_key"],
        "smtp_password": credentials["password"],
    }


async def made(data: Path) -> dict[str, Any]:
    """Fill a folder, and close it in order."""
    async with running(data, RELAY) as daimon, daimon.agent() as agent:
        return await fill(daimon, agent)


def main(target: Path) -> None:
    """Write the sample."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        found = asyncio.run(made(data))
        target.mkdir(parents=True)
        shutil.copytree(data, target / "data")
        (target / "found.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    TARGET = ROOT / "tests" / "upgrades" / __version__
    if TARGET.exists():
        sys.exit(f"{TARGET} is there already")
    main(TARGET)
