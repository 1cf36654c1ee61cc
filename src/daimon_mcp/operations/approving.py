"""What waits for the operator, as the operator is shown it; and what agents are told of it.

The words of a held mail are an agent's and, below a quote, a stranger's: data, shown as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.upgrades import Upgrades
from daimon_mcp.operations.views import Of, cursor, emails, read_cursor
from daimon_mcp.store import accounts, approvals, messages
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.approvals import StoredApproval
from daimon_mcp.store.messages import StoredMessage

MOST_SHOWN = 20_000  # characters of a held mail's own words, and as many of what it quotes
_FOREVER = 1 << 62
_STATES = {"pending": "open", "approved": "approved", "rejected": "declined", "expired": "expired", "closed": "closed"}
_ASKED_ABOUT = (MessageStatus.PENDING_APPROVAL, MessageStatus.REJECTED)


class ListApprovals(Request):
    account: Annotated[Id | None, Field(description="acc_ id; left out, of all accounts")] = None
    status: Literal["pending", "approved", "rejected", "expired", "closed"] | None = "pending"
    kind: Literal["send", "upgrade", "request"] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """A held mail as it would leave. `new` are its own words, `quoted` what is below them; `cut` says how many
    characters of both are left out."""

    message: StoredMessage
    why: tuple[str, ...]
    strangers: frozenset[str]
    findings: tuple[dict[str, Any], ...]
    new: str
    quoted: str
    cut: int
    files: tuple[tuple[str, int], ...]

    @property
    def view(self) -> dict[str, Any]:
        """As JSON."""
        message = self.message
        return {
            "message_id": message.id,
            "from": message.from_["email"],
            "to": emails(message.to),
            "cc": emails(message.cc),
            "bcc": emails(message.bcc),
            "new_recipients": sorted(self.strangers),
            "subject": message.subject,
            "text": self.new,
            "quoted": self.quoted,
            "left_out": self.cut,
            "files": [{"filename": name, "size": size} for name, size in self.files],
            "send_at": iso_or_none(message.send_at),
            "why": list(self.why),
            "findings": list(self.findings),
        }


async def preview(core: Core, approval: StoredApproval) -> Preview | None:
    """The mail that a question is about; None for a question that is about none."""
    if approval.message_seq is None:
        return None
    row = await core.database.one(sql.message_by_seq, seq=approval.message_seq)
    body = await core.database.one(sql.body_by_seq, seq=approval.message_seq)
    assert row is not None
    assert body is not None
    message = messages.message_of(row)
    text, reply = str(body[0]), str(body[1])
    new, quoted = (reply, text[len(reply) :].strip()) if reply and text.startswith(reply) else (text, "")
    files = await core.database.all(sql.attachments_of, seq=message.seq) if message.has_attachments else []
    return Preview(
        message=message,
        why=tuple(approval.details.get("why", ())),
        strangers=frozenset(approval.details.get("new_recipients", ())),
        findings=tuple(approval.details.get("findings", ())),
        new=new[:MOST_SHOWN],
        quoted=quoted[:MOST_SHOWN],
        cut=max(len(new) - MOST_SHOWN, 0) + max(len(quoted) - MOST_SHOWN, 0),
        files=tuple((str(each[2]), int(each[6])) for each in files),
    )


async def asked_about(core: Core, message: StoredMessage) -> dict[str, Any] | None:
    """What an agent is told of the operator's decision about its mail; None where nobody was asked."""
    if message.status not in _ASKED_ABOUT:
        return None
    approval = await approvals.of_message(core.database, message.seq)
    if approval is None:
        return None
    return {
        "id": approval.id,
        "status": approval.status(core.clock.now()),
        "why": approval.details.get("why", []),
        "comment": approval.comment or None,
        "expires_at": iso(approval.expires_at),
        "decided_at": iso_or_none(approval.decided_at),
    }


def approval_view(approval: StoredApproval, now: int) -> dict[str, Any]:
    """A question as the operator's lists show it. `reason`, `context` and `label` are an agent's own words."""
    return {
        "id": approval.id,
        "account": approval.account_id,
        "kind": approval.kind,
        "status": approval.status(now),
        "state": approval.state,
        "tier": approval.tier,
        "target_tier": approval.target_tier,
        "reason": approval.reason,
        "context": approval.context,
        "label": approval.action_label,
        "inbox": approval.details.get("inbox"),
        "message_id": approval.details.get("message_id"),
        "why": approval.details.get("why", []),
        "requested_by": approval.requested_by,
        "comment": approval.comment or None,
        "decided_by": approval.decided_by,
        "created_at": iso(approval.created_at),
        "expires_at": iso(approval.expires_at),
        "decided_at": iso_or_none(approval.decided_at),
    }


class Approving:
    """The operator's side of what waits. Nothing that an agent's key reaches calls this."""

    def __init__(self, core: Core, upgrades: Upgrades) -> None:
        self._core = core
        self._upgrades = upgrades

    async def list_approvals(self, request: ListApprovals) -> dict[str, Any]:
        """Questions that fit, newest first: `{"approvals", "has_more", "next_cursor"}`.

        Raises ACCOUNT_NOT_FOUND, INVALID_REQUEST.
        """
        core = self._core
        account_no = 0
        if request.account is not None:
            account = await accounts.account_by_id(core.database, request.account)
            if account is None:
                raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
            account_no = account.no
        rows = await core.database.all(
            sql.approvals_page,
            before=read_cursor(request.cursor, Of.APPROVALS) if request.cursor else _FOREVER,
            state=_STATES[request.status] if request.status else "",
            kind=request.kind or "",
            account_no=account_no,
            limit=request.limit + 1,
        )
        page = rows[: request.limit]
        more = len(rows) > request.limit
        now = core.clock.now()
        shown = [approval_view(approvals.approval_of(row[:-1]), now) for row in page]
        return {
            # One that has run out and is not ended yet is still open in the store.
            "approvals": [each for each in shown if request.status in (None, each["status"])],
            "has_more": more,
            "next_cursor": cursor(Of.APPROVALS, page[-1][-1]) if more else None,
        }

    async def show_approval(self, approval_id: str) -> dict[str, Any]:
        """One question, of held mail with a `preview` of it. Raises APPROVAL_NOT_FOUND."""
        found = await approvals.by_id(self._core.database, approval_id)
        if found is None:
            raise Refused(RefusalCode.APPROVAL_NOT_FOUND)
        held = await preview(self._core, found)
        view = approval_view(found, self._core.clock.now())
        return view if held is None else {**view, "preview": held.view}

    async def decide(
        self, approval_id: str, *, approve: bool, by: str, comment: str = "", always: bool = False
    ) -> dict[str, Any]:
        """Approve or reject, as `Upgrades.decide` says; the question as it is then."""
        decided = await self._upgrades.decide(approval_id, approve=approve, comment=comment, by=by, always=always)
        return approval_view(decided, self._core.clock.now())
