"""MTA-STS policies as they were fetched, kept over restarts (RFC 8461 §3.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from daimon_mcp.operations.core import Core
from daimon_mcp.store import compiled as sql


class StsPolicies:
    """Policies by domain, as plain data."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def get(self, domain: str) -> Mapping[str, Any] | None:
        """What was last put down for a domain."""
        row = await self._core.database.one(sql.sts_get, domain=domain)
        return None if row is None else json.loads(row[0])

    async def put(self, domain: str, policy: Mapping[str, Any]) -> None:
        """Put down what a domain has promised."""
        now = self._core.clock.now()
        text = json.dumps(policy)
        await self._core.database.write(lambda tx: tx.run(sql.sts_put, domain=domain, policy_json=text, updated_at=now))
