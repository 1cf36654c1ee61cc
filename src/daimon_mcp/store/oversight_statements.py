"""Statements about oversight, the audit log and the operator's logins: see `statements.py`."""

from __future__ import annotations

from daimon_mcp.store import tables_operator as t
from daimon_mcp.store.parts import table_of

contacts = table_of(t.Contacts)
audit = table_of(t.Audit)
operator_sessions = table_of(t.OperatorSessions)
operator_factors = table_of(t.OperatorFactors)
billing = table_of(t.Billing)
billing_events = table_of(t.BillingEvents)
