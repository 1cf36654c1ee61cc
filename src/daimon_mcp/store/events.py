"""The event log: what webhooks will tell, written in the transaction it tells of."""

from __future__ import annotations

import json
from typing import Any

from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction


def record(
    tx: Transaction, type: str, *, account_no: int, now: int, inbox_no: int | None = None, payload: dict[str, Any]
) -> None:
    """Append one event. `payload` holds ids and our own words; texts of mail are looked up when it is told."""
    tx.run(
        sql.event_insert,
        id=new_id("evt", now),
        account_no=account_no,
        inbox_no=inbox_no,
        type=type,
        payload_json=json.dumps(payload, ensure_ascii=False),
        created_at=now,
    )
