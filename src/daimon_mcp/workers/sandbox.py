"""A relay that keeps everything: nothing leaves, and some addresses have outcomes to try things out with.

Mail to any address is taken and goes nowhere. At `sandbox.test` (a domain nobody can have, RFC 6761):
- `bounce@` is refused for good, as by a server that has no such user;
- `delay@` is put off twice before it is taken;
- `autoreply@` is taken, and an automatic answer comes back;
- `complaint@` is taken, and a complaint (RFC 5965) comes back.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Final, Protocol

from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.inboxes import split_subaddress
from daimon_mcp.domain.queue import SANDBOX, Attempt, Handover, Outcome
from daimon_mcp.logs import new_cid
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.complaint import build_feedback
from daimon_mcp.mail.compose import Outgoing, compose, new_message_id
from daimon_mcp.mail.headers import decode_header, first, message_ids, scan_headers
from daimon_mcp.texts import Texts, render
from daimon_mcp.workers.smtp_transaction import OnContent

log = logging.getLogger(__name__)

DOMAIN: Final = "sandbox.test"
DELAYS: Final = 2
MOST_DELAYED: Final = 10_000


class Receiving(Protocol):
    """The core's side of mail that comes back."""

    async def accept(self, envelope: Envelope, peer: Peer, content: bytes) -> str:
        """Take one message in; it is durable when this returns."""
        ...


class Sandbox:
    """The transport. What comes back goes in by the same door as mail from other servers."""

    def __init__(self, *, receiving: Receiving, texts: Texts, hostname: str, clock: Clock) -> None:
        self._receiving = receiving
        self._texts = texts
        self._hostname = hostname
        self._clock = clock
        self._delayed: dict[bytes, int] = {}

    @property
    def only(self) -> str:
        """The sandbox."""
        return SANDBOX

    def destination(self, recipient: str) -> str:
        """One for all."""
        del recipient
        return SANDBOX

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """What came of it for each recipient; answers are on their way into the inbox when this returns."""
        del destination
        if on_content is not None and (begun := on_content()) is not None:
            await begun
        return {each.address: await self._outcome(each.address, handover) for each in handover.recipients}

    async def close(self) -> None:
        """There is nothing to close."""

    async def _outcome(self, address: str, handover: Handover) -> Attempt:
        local, _, domain = address.lower().rpartition("@")
        role = split_subaddress(local)[0] if domain == DOMAIN else ""
        match role:
            case "bounce":
                return _attempt(Outcome.REFUSED, 550, "5.1.1", "no such user in the sandbox")
            case "delay" if self._is_early(address, handover):
                return _attempt(Outcome.DEFERRED, 451, "4.7.1", "greylisted by the sandbox; the third try counts")
            case "autoreply" if handover.mail_from:  # nobody answers a report
                await self._answer(handover, self._auto_reply(address, handover))
            case "complaint" if handover.mail_from:
                await self._answer(handover, self._complaint(address, handover))
            case _:
                pass
        return _attempt(Outcome.ACCEPTED, 250, "2.0.0", "kept in the sandbox; nothing has left this server")

    def _is_early(self, address: str, handover: Handover) -> bool:
        key = hashlib.sha256(address.encode() + handover.content).digest()
        tries = self._delayed.pop(key, 0) + 1
        if tries <= DELAYS:
            if len(self._delayed) >= MOST_DELAYED:
                del self._delayed[next(iter(self._delayed))]
            self._delayed[key] = tries
        return tries <= DELAYS

    async def _answer(self, handover: Handover, content: bytes | None) -> None:
        if content is None:
            return
        peer = Peer("127.0.0.1", DOMAIN, cid=new_cid())
        await self._receiving.accept(Envelope("", (handover.mail_from,)), peer, content)

    def _auto_reply(self, address: str, handover: Handover) -> bytes | None:
        headers = scan_headers(handover.content, 0)[0]
        automatic = decode_header(first(headers, "auto-submitted") or b"no").strip().lower()
        if not automatic.startswith("no"):  # RFC 3834 §2
            return None
        ids = message_ids(first(headers, "message-id") or b"")
        subject = decode_header(first(headers, "subject") or b"")[:200]
        return compose(
            Outgoing(
                from_=Address(address, self._words("auto_reply", "sender_name")),
                to=(Address(handover.mail_from),),
                subject=f"{self._words('auto_reply', 'subject_prefix')} {subject}",
                text=self._words("auto_reply", "body"),
                in_reply_to=ids[0] if ids else None,
                references=tuple(ids[:1]),
                headers=(("Auto-Submitted", "auto-replied"),),
                message_id=new_message_id(DOMAIN),
                date=self._clock.now(),
            )
        )

    def _complaint(self, address: str, handover: Handover) -> bytes:
        return build_feedback(
            reporter=Address(f"complaints@{DOMAIN}"),
            to=Address(handover.mail_from),
            original=handover.content,
            mail_from=handover.mail_from,
            recipient=address,
            hostname=self._hostname,
            date=self._clock.now(),
            message_id=new_message_id(DOMAIN),
            subject=self._words("complaint", "subject"),
            text=self._words("complaint", "body"),
        )

    def _words(self, name: str, field: str) -> str:
        """What a mail that comes back says: a field of `prompts/sandbox/<name>.md`."""
        return render(self._texts.text("sandbox", name).prose(field), {}, str)


def _attempt(outcome: Outcome, code: int, enhanced: str, text: str) -> Attempt:
    return Attempt(outcome, code, enhanced, text, SANDBOX)
