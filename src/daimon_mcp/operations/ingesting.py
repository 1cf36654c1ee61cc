"""Raw mail handed in by a program that holds a key: for inboxes of its account, once, durable when it is answered."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import DAY
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.domain.upstream import DeliveryFields
from daimon_mcp.logs import new_cid
from daimon_mcp.mail.addresses import BadAddress, header_email, normalise
from daimon_mcp.mail.delivered import delivery_fields
from daimon_mcp.mail.headers import scan_headers
from daimon_mcp.operations.arrivals import Arrival, too_large
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.policing import Policing
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.operations.receiving import Receiving
from daimon_mcp.operations.spool import Spool
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import NewIncoming

_KEY: Final = re.compile(r"[!-~]{1,255}")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MAILBOX: Final = "name@example.org"


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a message is handed in with: the envelope, as far as the caller gave one, and what makes a repeat one.

    `mail_from` None is not given, "" the null sender; `peer` is the address that the request came from.
    """

    mail_from: str | None
    recipients: tuple[str, ...]
    idempotency_key: str | None
    peer: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may bring its content. `inboxes` are those of its recipients; none are to be found in the mail."""

    actor: Actor
    request: Ingest
    inboxes: dict[str, Inbox]


class Ingesting:
    """What the HTTP door for mail asks of the core: `admit`, then an `arrival` that is written, then `ingest`."""

    def __init__(
        self, core: Core, spool: Spool, directory: Directory, receiving: Receiving, policing: Policing
    ) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._receiving = receiving
        self._policing = policing

    async def admit(self, actor: Actor, request: Ingest, *, announced: int | None) -> Admitted:
        """Judge a request by all but its content, of which `announced` octets are said to come.

        Raises FORBIDDEN, RATE_LIMIT_EXCEEDED (MESSAGES), INVALID_REQUEST, INBOX_NOT_FOUND (INGEST) for addresses that
        are not those of inboxes the key may see, MESSAGE_TOO_LARGE (RAW), STORE_UNAVAILABLE.
        """
        actor.require("message_ingest")
        self._policing.message(actor.account_id)
        policy = self._core.policy
        problems: list[FieldProblem] = []
        if _null(request.mail_from or "") and not _is_mailbox(request.mail_from or ""):
            problems.append(FieldProblem("from", "must be one address, or empty for the null sender", _MAILBOX))
        if not all(map(_is_mailbox, request.recipients)):
            problems.append(FieldProblem("to", "must be one address; give it again for each further one", _MAILBOX))
        if len(request.recipients) > policy.max_recipients:
            problems.append(FieldProblem("to", f"may be given {policy.max_recipients} times at most"))
        if request.idempotency_key is not None and not _KEY.fullmatch(request.idempotency_key):
            problems.append(FieldProblem("Idempotency-Key", "must be 1 to 255 visible ASCII characters", "mail-4711"))
        if problems:
            raise Refused(RefusalCode.INVALID_REQUEST, fields=problems)
        if announced is not None and announced > policy.max_message_bytes:
            raise too_large(policy.max_message_bytes)
        self._spool.check_room(announced or 0)
        found, missing = await self._inboxes(actor, request.recipients)
        if missing:
            raise Refused(
                RefusalCode.INBOX_NOT_FOUND,
                reason="INGEST",
                facts={"count": len(missing)},
                details={"refused_recipients": missing},
            )
        return Admitted(actor, request, found)

    def arrival(self) -> Arrival:
        """Where the content of one message is written."""
        return Arrival(self._spool.folder, self._core.policy.max_message_bytes)

    async def ingest(self, admitted: Admitted, arrival: Arrival) -> tuple[Outcome, bool]:
        """Take the message in; what came of it, and whether that is the answer to an earlier, equal request.

        Equal is what has the same Idempotency-Key, or the same bytes and recipients within a day: nothing is taken
        twice. Otherwise it is in the spool when this returns, and in its inboxes soon after. Without recipients in the
        request they are those the mail was delivered to by its topmost trace fields, else those it names.

        Raises INVALID_REQUEST, IDEMPOTENCY_CONFLICT (INGESTED) for a key that was used for another message,
        RECIPIENT_REFUSED (MAIL_LOOP), MESSAGE_TOO_LARGE (RAW), STORE_UNAVAILABLE.
        """
        actor, request = admitted.actor, admitted.request
        content = await arrival.finish()
        fields = await on_parser(partial(_fields, arrival.head), len(arrival.head))
        if fields is None:
            problem = "must be the raw message: header fields, an empty line, the text"
            raise invalid("body", problem, "curl --data-binary @message.eml")
        here = admitted.inboxes or await self._named(actor, fields)
        mail_from = _null(request.mail_from) if request.mail_from is not None else fields.return_path
        addresses = tuple(here)
        same = "\n".join((arrival.digest(), *sorted(addresses)))
        fingerprint = hashlib.sha256(same.encode("utf-8", "surrogateescape")).hexdigest()
        cid = new_cid()
        result: dict[str, Any] = {
            "id": cid,
            "status": "accepted",
            "size": content.size if not isinstance(content, bytes) else len(content),
            "recipients": [{"address": address, "inbox_id": inbox.id} for address, inbox in here.items()],
        }
        names = [f"sha256:{fingerprint}"]
        if request.idempotency_key is not None:
            names.insert(0, f"key:{request.idempotency_key}")

        def put(tx: Transaction, new: NewIncoming) -> str | None:
            """The earlier answer; None when the message is taken."""
            now = self._core.clock.now()
            tx.run(sql.ingested_forget, before=now - self._core.policy.idempotency_window)
            for name in names:
                row = tx.one(sql.ingested_get, account_no=actor.account_no, name=name, since=self._since(name, now))
                if row is None:
                    continue
                if row[0] != fingerprint:
                    first = str(json.loads(row[1])["id"])
                    raise Refused(RefusalCode.IDEMPOTENCY_CONFLICT, reason="INGESTED", facts={"id": first})
                return str(row[1])
            self._spool.put(tx, new)
            note(tx, actor, "ingest_message", cid, now=now, recipients=len(addresses))
            for name in names:
                tx.run(
                    sql.ingested_put,
                    account_no=actor.account_no,
                    name=name,
                    fingerprint=fingerprint,
                    response_json=json.dumps(result),
                    created_at=now,
                )
            return None

        earlier: str | None = None
        taken = True  # perhaps, if this is cut off: a file that nobody speaks of goes at the next start
        try:
            earlier = await self._receiving.spooled(
                Envelope(mail_from, addresses),
                Peer(address=request.peer, helo="", cid=cid, http=True),
                content,
                origin=incoming.HTTP,
                put=put,
            )
            taken = earlier is None
        except Exception:
            taken = False
            raise
        finally:
            if taken:
                arrival.taken()
        if earlier is not None:
            result = json.loads(earlier)
        facts = {"id": str(result["id"]), "count": len(result["recipients"])}
        return Outcome(key="ingest_message", result=result, facts=facts), earlier is not None

    def _since(self, name: str, now: int) -> int:
        return now - (DAY if name.startswith("sha256:") else self._core.policy.idempotency_window)

    async def _inboxes(self, actor: Actor, addresses: Sequence[str]) -> tuple[dict[str, Inbox], list[str]]:
        """The inboxes of this actor by address, each address once; and the addresses that have none."""
        found: dict[str, Inbox] = {}
        missing: list[str] = []
        for address in addresses:
            name = normalise(address).lower()
            inbox = await self._directory.inbox(name) if self._core.is_local(name) else None
            if inbox is None or not _may_reach(actor, inbox):
                missing.append(address)
            else:
                found[name] = inbox
        return found, missing

    async def _named(self, actor: Actor, fields: DeliveryFields) -> dict[str, Inbox]:
        """Whom a message is for by its header, best evidence first. Raises INVALID_REQUEST when that is nobody here."""
        for addresses in (*fields.blocks, fields.named):
            found, _ = await self._inboxes(actor, addresses[: self._core.policy.max_recipients])
            if found:
                return found
        raise invalid(
            "to", "is required: Delivered-To, X-Original-To, To and Cc of the message name no inbox of yours", _MAILBOX
        )


def _fields(head: bytes) -> DeliveryFields | None:
    """Who a message was for by its header; None for what has no header."""
    has_header = any(_FIELD.fullmatch(header.name) for header in scan_headers(head, 0)[0])
    return delivery_fields(head) if has_header else None


def _may_reach(actor: Actor, inbox: Inbox) -> bool:
    """Whether a key may hand in mail for an inbox."""
    if actor.hands_in_for_everybody:
        return True
    return inbox.account_no == actor.account_no and actor.inbox_no in (None, inbox.no)


def _null(address: str) -> str:
    return "" if address == "<>" else address


def _is_mailbox(text: str) -> bool:
    """Whether it is one `local@domain` that a header can hold."""
    try:
        return "@" in header_email(text)
    except BadAddress:
        return False
