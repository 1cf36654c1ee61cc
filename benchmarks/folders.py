"""Data folders prepared in this process, before any server has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mails import mail
from daimon_mcp.app import opened
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.settings import Settings, load

UNLIMITED = {"sends_per_minute": -1, "sends_per_day": -1}
INBOX = "bench@agents.localhost"
OTHER = "other@agents.localhost"


def settings_for(folder: Path) -> Settings:
    """Settings on free ports, with nothing from this machine's environment, and a tier that may send at any rate."""
    sections: dict[str, Any] = {
        "http": {"port": 0},
        "smtp": {"inbound_port": 0},
        "submission": {"port": 0, "tls_port": 0},
        "log": {"level": "warning"},
        "limits": {"enterprise": UNLIMITED},
    }
    return load(data_dir=folder, environ={}, **sections)


async def prepare(folder: Path, sizes: Sequence[int]) -> list[str]:
    """Two inboxes of the local account, which may send, and mail of these sizes in the first; the messages' ids."""
    async with opened(settings_for(folder), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        await operations.upgrades.set_tier(actor.account_id, Tier.ENTERPRISE)
        for address in (INBOX, OTHER):
            await operations.inboxes.create_inbox(actor, CreateInbox(username=address.partition("@")[0]))
        peer = Peer(address="127.0.0.1", helo="mail.example.com")
        ids: list[str] = []
        for number, size in enumerate(sizes):
            ids += await operations.receiving.receive(
                Envelope("ann@example.com", (INBOX,)), peer, mail(size, number, to=INBOX)
            )
        return ids
