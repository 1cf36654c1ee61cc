"""Statements about oversight, the audit log and the operator's logins: see `statements.py`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from daimon_mcp.store import tables as base
from daimon_mcp.store import tables_operator as t
from daimon_mcp.store.parts import b, insert_into, table_of

contacts = table_of(t.Contacts)
audit = table_of(t.Audit)
operator_sessions = table_of(t.OperatorSessions)
operator_factors = table_of(t.OperatorFactors)
billing = table_of(t.Billing)
billing_events = table_of(t.BillingEvents)
_drafts = table_of(base.Drafts)
_accounts = table_of(base.Accounts)


def _contact(column: str) -> Any:
    """One contact, with the time in one of its columns; the others stay as they are."""
    row = upsert(contacts).values(inbox_no=b("inbox_no"), address=b("address"), **{column: b("at")})
    return row.on_conflict_do_update(index_elements=["inbox_no", "address"], set_={column: row.excluded[column]})


contact_written = _contact("written_at")
contact_heard = _contact("heard_at")
contact_allowed = _contact("allowed_at")
contact_known = select(contacts.c.address).where(
    contacts.c.inbox_no == b("inbox_no"), contacts.c.address == b("address")
)

draft_hold_by_message = (
    update(_drafts).where(_drafts.c.message_no == b("seq"), _drafts.c.state != "sent").values(state="pending_approval")
)

draft_defer_by_message = (
    update(_drafts)
    .where(_drafts.c.message_no == b("seq"), _drafts.c.state == "scheduled")
    .values(send_at=b("again_at"))
)

audit_insert = insert_into(audit, "no")
audit_last = select(audit.c.hash).order_by(audit.c.no.desc()).limit(1)
_entry = select(
    audit.c.no,
    audit.c.at,
    audit.c.account_no,
    audit.c.who,
    audit.c.face,
    audit.c.operation,
    audit.c.target,
    audit.c.reason,
    audit.c.details_json,
    audit.c.before,
    audit.c.hash,
    _accounts.c.id.label("account_id"),
).join(_accounts, _accounts.c.no == audit.c.account_no, isouter=True)
audit_walk = _entry.where(audit.c.no > b("after")).order_by(audit.c.no).limit(b("limit"))
audit_page = (
    _entry.where(
        audit.c.no < b("before_no"),
        or_(b("account_no") == 0, audit.c.account_no == b("account_no")),
        or_(b("who") == "", audit.c.who == b("who")),
        or_(b("operation") == "", audit.c.operation == b("operation")),
        or_(b("target") == "", audit.c.target == b("target")),
        audit.c.at >= b("since"),
        audit.c.at < b("until"),
    )
    .order_by(audit.c.no.desc())
    .limit(b("limit"))
)
