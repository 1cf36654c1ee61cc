"""Delivery reports (RFC 3464): how the sender's inbox learns of recipients that were not reached."""

from __future__ import annotations

from collections.abc import Sequence

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure, build_dsn
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import receive_copy
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import inboxes
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, StoredMessage
from daimon_mcp.texts import Texts

# What a report is called, by the name of its explanation: an unknown outcome is no failure, it may have arrived.
_SUBJECTS = {"failed": "Delivery failed", "unknown": "Delivery not confirmed"}


class Reports:
    """Writes reports, and places them in the thread of the mail they are about."""

    def __init__(self, core: Core, texts: Texts) -> None:
        self._core = core
        self._texts = texts

    async def write(
        self, message: StoredMessage, original: bytes, mail_from: str, failures: Sequence[Failure], *, text: str
    ) -> Content:
        """A report to `mail_from` on `message`; `text` names its explanation, `prompts/mail/dsn.<text>.md`."""
        core = self._core
        now = core.clock.now()
        domain = mail_from.rpartition("@")[2]
        content = build_dsn(
            reporting_mta=core.policy.hostname,
            original=original,
            original_message_id=message.message_id,
            from_=Address(f"mailer-daemon@{domain}", "Mail Delivery System"),
            to=Address(mail_from),
            failures=failures,
            arrival=message.received_at,
            date=now,
            message_id=new_message_id(domain),
            subject=_SUBJECTS[text],
            explanation="\n".join([self._texts.text("mail", f"dsn.{text}").prose("body"), "", *map(_line, failures)]),
        )
        understood, _ = await understand(core, content)
        return understood

    @staticmethod
    def place(tx: Transaction, message: StoredMessage, report: Content, now: int) -> None:
        """Put a report into the inbox that sent `message`, unless that is deleted. Its own sender is null."""
        inbox = inboxes.one_in(tx, message.inbox_no)
        if inbox.deleted_at is not None:
            return
        receive_copy(tx, inbox, report, mail_from="", tag=None, now=now, thread_seq=message.thread_seq)


def _line(failure: Failure) -> str:
    """A recipient and what its server said, for readers of the text alone."""
    return f"{clean_line(failure.recipient)}: {clean_line(failure.diagnostic)[:1000]}"
