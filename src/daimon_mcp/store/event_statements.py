"""Statements about events and webhooks: see `statements.py`."""

from __future__ import annotations

from daimon_mcp.store import tables_events as t
from daimon_mcp.store.parts import table_of

webhooks = table_of(t.Webhooks)
hook_deliveries = table_of(t.HookDeliveries)
hook_attempts = table_of(t.HookAttempts)
consumers = table_of(t.Consumers)
