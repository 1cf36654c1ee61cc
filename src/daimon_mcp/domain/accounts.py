"""Who owns mail and who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier


class AccountStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Account:
    """Owns inboxes, has a tier and limits.

    `sending_stopped_at` is set while nothing leaves because of what its mail programs did.
    """

    no: int
    id: str
    tier: Tier
    status: AccountStatus
    created_at: int
    smtp_version: int
    smtp_rotated_at: int | None = None
    sending_stopped_at: int | None = None
    sending_stopped_why: str | None = None

    def check_may_send(self) -> None:
        """Raise ACCOUNT_SUSPENDED when the operator has suspended it, or its sending was stopped for abuse."""
        if self.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        if self.sending_stopped_at is not None:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED, reason="SENDING_STOPPED")


EVERY_INBOX = "every_inbox"
"""Beside `message_ingest`, and never part of "all": mail is handed in for inboxes of all accounts. The operator's."""


OPERATOR, LOCAL, SMTP_PASSWORD, SERVER = "operator", "local", "smtp-password", "server"
"""Whom the audit log names where there is no key; `local` is this machine's own agent."""
SMTP = "smtp"
"""The face of mail programs."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling: an account, by a key, and what that key is narrowed to.

    `inbox_no` is set for inbox keys: nothing else of the account exists for them. `permissions` None means all.
    `read_only` is a session's own promise (a start-up option) and can only take away. `here` is the id of the inbox
    that one call is about: messages, threads and drafts elsewhere do not exist for it. `face` is the way the call came
    (mcp, rest, smtp, cli, page), for the audit log; `operator` says that it is the operator's own.
    """

    account_no: int
    account_id: str
    key_id: str | None = None
    inbox_no: int | None = None
    permissions: frozenset[str] | None = None
    read_only: bool = False
    here: str | None = None
    face: str = ""
    operator: bool = False

    @property
    def who(self) -> str:
        """Whom the audit log names: a key by its id."""
        if self.operator:
            return OPERATOR
        if self.key_id is not None:
            return self.key_id
        return SMTP_PASSWORD if self.face == SMTP else LOCAL

    def holds(self, permission: str) -> bool:
        """Whether this actor may do what `permission` names."""
        writes = not permission.endswith("_read")
        return not (self.read_only and writes) and (self.permissions is None or permission in self.permissions)

    @property
    def hands_in_for_everybody(self) -> bool:
        """Whether mail may be handed in for inboxes of other accounts too."""
        return self.permissions is not None and EVERY_INBOX in self.permissions

    def require(self, permission: str) -> None:
        """Raise FORBIDDEN unless this actor holds `permission`, such as `message_send` or `inbox_create`."""
        if self.read_only and not permission.endswith("_read"):
            raise Refused(RefusalCode.FORBIDDEN, reason="READ_ONLY", facts={"permission": permission})
        if self.permissions is not None and permission not in self.permissions:
            raise Refused(RefusalCode.FORBIDDEN, facts={"permission": permission})

    def require_account(self) -> None:
        """Raise FORBIDDEN for an inbox key where only the whole account may act."""
        if self.inbox_no is not None:
            raise Refused(RefusalCode.FORBIDDEN, reason="ACCOUNT_KEY_NEEDED", facts={"permission": "account"})
