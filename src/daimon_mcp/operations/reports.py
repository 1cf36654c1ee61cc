"""Delivery reports (RFC 3464): how the sender's inbox learns what became of its mail.

Which of them a sender gets is its own choice, by the NOTIFY parameter of each recipient (RFC 3461 §4.1). A report is
written before the transaction that places it, because writing costs time that a transaction must not take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure, build_dsn
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import receive_copy
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, StoredMessage
from daimon_mcp.texts import Texts, render

# What of NOTIFY asks for a report, by the name of its explanation.
_ASKED_BY = {"failed": "FAILURE", "unknown": "FAILURE", "delayed": "DELAY", "delivered": "SUCCESS"}
_UNASKED = ("FAILURE", "DELAY")  # without NOTIFY; RFC 3461 §4.1 lets us choose


@dataclass(frozen=True, slots=True)
class Original:
    """The mail a report is about, before it is stored."""

    message_id: str | None
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The mail a report is about, with the parameters it was handed to us with; `recipients` need not be all."""

    message: StoredMessage | Original
    original: bytes
    mail_from: str
    recipients: Sequence[Recipient] = ()
    ret: str | None = None
    envid: str | None = None


def is_wanted(notify: str | None, text: str) -> bool:
    """Whether a recipient's NOTIFY asks for the report with this explanation (RFC 3461 §4.1)."""
    asked = _UNASKED if notify is None else notify.upper().split(",")
    return _ASKED_BY[text] in asked


class Reports:
    """Writes reports, and places them in the thread of the mail they are about."""

    def __init__(self, core: Core, texts: Texts) -> None:
        self._core = core
        self._texts = texts

    async def failed(self, about: Reported, failures: Sequence[Failure]) -> Content | None:
        """The report that recipients were not reached, or None when the sender wants none."""
        return await self._wanted(about, failures, text="failed")

    async def unknown(self, about: Reported, failures: Sequence[Failure]) -> Content | None:
        """The report that mail may or may not have arrived, or None when the sender wants none."""
        return await self._wanted(about, failures, text="unknown")

    async def delayed(self, about: Reported, delays: Sequence[Failure], *, retry_until: int) -> Content | None:
        """The warning that mail is late and tried until `retry_until` (epoch µs), or None when nobody wants it.

        `delays` are recipients still in the queue; their action becomes `delayed`. Place it with `place_warning`.
        """
        late = [replace(each, action="delayed", retry_until=retry_until) for each in delays]
        return await self._wanted(about, late, text="delayed", until=retry_until)

    async def delivered(self, about: Reported, successes: Sequence[Failure]) -> Content | None:
        """The report that mail arrived, or None when nobody asked for it (NOTIFY=SUCCESS).

        The action of each is `delivered` (a mailbox here), or `relayed`: handed to a server that reports no further.
        """
        return await self._wanted(about, successes, text="delivered")

    async def _wanted(
        self, about: Reported, statuses: Sequence[Failure], *, text: str, until: int | None = None
    ) -> Content | None:
        """A report on those recipients whose NOTIFY asks for it. Never one to the null sender (RFC 5321 §6.1)."""
        if not about.mail_from:
            return None
        known = {each.address.lower(): each for each in about.recipients}
        wanted: list[Failure] = []
        for status in statuses:
            recipient = known.get(status.recipient.lower(), Recipient(status.recipient))
            if is_wanted(recipient.notify, text):
                wanted.append(replace(status, orcpt=recipient.orcpt or status.orcpt))
        return await self._written(about, wanted, text, until) if wanted else None

    async def write(
        self,
        message: StoredMessage | Original,
        original: bytes,
        mail_from: str,
        failures: Sequence[Failure],
        *,
        text: str,
    ) -> Content:
        """A report to `mail_from` on mail without DSN parameters; `text` is `failed` or `unknown`."""
        return await self._written(Reported(message=message, original=original, mail_from=mail_from), failures, text)

    async def _written(
        self, about: Reported, statuses: Sequence[Failure], text: str, until: int | None = None
    ) -> Content:
        """The report; `text` names its subject and explanation, `prompts/mail/dsn.<text>.md`."""
        core = self._core
        domain = about.mail_from.rpartition("@")[2]
        facts = {"until": iso(until) if until is not None else None}
        words = self._texts.text("mail", f"dsn.{text}")
        said = render(words.prose("body"), facts, str)
        content = build_dsn(
            reporting_mta=core.policy.hostname,
            original=about.original,
            original_message_id=about.message.message_id,
            from_=Address(f"mailer-daemon@{domain}", "Mail Delivery System"),
            to=Address(about.mail_from),
            failures=statuses,
            arrival=about.message.received_at,
            date=core.clock.now(),
            message_id=new_message_id(domain),
            subject=render(words.prose("subject"), facts, str),
            explanation="\n".join([said, "", *map(_line, statuses)]),
            envid=about.envid,
            ret=about.ret,
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

    @staticmethod
    def place_warning(
        tx: Transaction, message: StoredMessage, queue_no: int, warning: Content | None, now: int
    ) -> bool:
        """Put down that the sender was told of the delay, and place the `warning` if there is one: once per message.

        False when that was done before. None as `warning` puts down that nobody wants one, so that it is not asked
        again.
        """
        if tx.one(sql.queue_warn, queue_no=queue_no, now=now) is None:
            return False
        if warning is not None:
            Reports.place(tx, message, warning, now)
        return True


def _line(status: Failure) -> str:
    """A recipient and what its server said, for readers of the text alone."""
    said = clean_line(status.diagnostic)[:1000]
    return f"{clean_line(status.recipient)}: {said or status.action}"
