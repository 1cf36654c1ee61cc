"""What the relay's next hop was given, against our records: one check for all who kill owners."""

from __future__ import annotations

import email
import email.policy
from collections import Counter

from tests.support.sink import Sink

from daimon_mcp.store.database import Database

UNCONFIRMED = "Delivery not confirmed"
"""Subject of the report on mail that may or may not have been handed over."""


def message_id(content: bytes) -> str:
    """The Message-ID of a mail."""
    return str(email.message_from_bytes(content, policy=email.policy.default)["Message-ID"])


def copies(sink: Sink) -> Counter[tuple[str, str]]:
    """How often each recipient of each message was accepted by the relay's next hop."""
    taken = [(message_id(each.content), rcpt) for each in sink.messages for rcpt in each.recipients]
    return Counter(taken)


async def check_relayed(database: Database, sink: Sink) -> int:
    """Everything went out exactly once, or its sender has been told that nobody knows; how many of the latter."""
    taken = copies(sink)
    rows = await database.fetch(
        "SELECT m.message_id, d.recipient, d.state, q.no,"
        " (SELECT count(*) FROM attempts a WHERE a.delivery_no = d.no AND a.outcome = 'accepted'),"
        " (SELECT count(*) FROM attempts a WHERE a.delivery_no = d.no AND a.outcome = 'outcome_unknown')"
        " FROM deliveries d JOIN queue q ON q.no = d.queue_no JOIN messages m ON m.seq = q.message_seq"
        " WHERE d.transport = 'relay'"
    )
    assert rows
    assert set(taken) <= {(said, recipient) for said, recipient, *_ in rows}
    unsure: set[int] = set()
    for said, recipient, state, queue_no, accepted, unknown in rows:
        count = taken[said, recipient]
        if state == "outcome_unknown":
            unsure.add(queue_no)
            assert (accepted, unknown) == (0, 1), (said, recipient, accepted, unknown)
            assert count <= 1, (said, recipient, count)
        else:
            assert state == "sent", (said, recipient, state)
            assert (accepted, unknown, count) == (1, 0, 1), (said, recipient, accepted, unknown, count)
    assert not await database.fetch(
        "SELECT 1 FROM attempts WHERE outcome NOT IN ('accepted', 'deferred', 'outcome_unknown')"
    )
    reports = await database.fetch("SELECT subject FROM messages WHERE direction = 'inbound' AND kind = 'bounce'")
    assert reports == [(UNCONFIRMED,)] * len(reports)
    told = await database.fetch(
        "SELECT q.no FROM queue q JOIN messages m ON m.seq = q.message_seq JOIN messages r ON"
        " r.thread_seq = m.thread_seq AND r.direction = 'inbound' AND r.kind = 'bounce'"
    )
    assert len(reports) == len(unsure)
    assert unsure <= {number for (number,) in told}
    return len(unsure)
