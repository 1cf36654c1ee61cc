"""Delivery reports (RFC 3464): how the sender's inbox learns of recipients that were not reached."""

from __future__ import annotations

from collections.abc import Sequence

from daimon_mcp.domain.changes import MessageAdded
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure, build_dsn
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import events, inboxes, messages
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, NewMessage, StoredMessage
from daimon_mcp.texts import Texts


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
        public_id = new_id("msg", now)
        placed = messages.place(
            tx,
            NewMessage(
                id=public_id,
                inbox_no=inbox.no,
                mailbox=inboxes.INBOX,
                direction="inbound",
                status=MessageStatus.RECEIVED,
                content=report,
                seen=False,
                received_at=now,
                mail_from="",
                thread_seq=message.thread_seq,
            ),
        )
        events.record(
            tx,
            "message.received",
            account_no=inbox.account_no,
            inbox_no=inbox.no,
            now=now,
            payload={"inbox_id": inbox.id, "message_id": public_id, "thread_id": placed.thread_id},
        )
        tx.announce(
            MessageAdded(inbox.account_no, inbox.no, inbox.id, public_id, placed.thread_id, inboxes.INBOX, placed.seq)
        )


def _line(failure: Failure) -> str:
    """A recipient and what its server said, for readers of the text alone."""
    return f"{clean_line(failure.recipient)}: {clean_line(failure.diagnostic)[:1000]}"
