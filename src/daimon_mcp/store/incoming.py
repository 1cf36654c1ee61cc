"""The spool: mail that has been acknowledged and is not filed yet."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import orjson

from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.envelopes import Envelope, Peer, Recipient
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Transaction

_PEER = tuple(field.name for field in fields(Peer))
MX, LMTP, HTTP, UPSTREAM, SUBMISSION = "mx", "lmtp", "http", "upstream", "smtp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Sends that a submission has been counted for: when, and in which day and month."""

    at: int
    day: str
    month: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncoming:
    """Mail to be acknowledged. `data` are its bytes, or `file` the name of the spool's file that has them.

    For a submission: whose it is, what makes a second one the same (`message_id`, `fingerprint`), and its count.
    """

    id: str
    origin: str
    envelope: Envelope
    peer: Peer
    size: int
    data: bytes | None
    file: str | None
    received_at: int
    account_no: int | None = None
    inbox_no: int | None = None
    message_id: str | None = None
    fingerprint: str | None = None
    counted: Counted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIncoming:
    """A row of the spool."""

    no: int
    id: str
    origin: str
    account_no: int | None
    inbox_no: int | None
    fingerprint: str | None
    counted: Counted | None
    envelope: Envelope
    peer: Peer
    size: int
    data: bytes | None
    file: str | None
    received_at: int
    tries: int


def _envelope_json(envelope: Envelope) -> str:
    return orjson.dumps(
        {
            "from": envelope.mail_from,
            "to": [[each.address, each.notify, each.orcpt] for each in _recipients(envelope)],
            "ret": envelope.ret,
            "envid": envelope.envid,
        }
    ).decode()


def _peer_json(peer: Peer) -> str:
    # One for each message accepted: field by field is quicker than dataclasses.asdict, which copies deeply.
    return orjson.dumps({name: getattr(peer, name) for name in _PEER}).decode()


def _recipients(envelope: Envelope) -> tuple[Recipient, ...]:
    return envelope.recipients or tuple(Recipient(address) for address in envelope.rcpt_to)


def _envelope(text: str) -> Envelope:
    found: dict[str, Any] = orjson.loads(text)
    recipients = tuple(Recipient(*each) for each in found["to"])
    return Envelope(found["from"], tuple(each.address for each in recipients), recipients, found["ret"], found["envid"])


def insert(tx: Transaction, new: NewIncoming) -> int:
    """Put mail into the spool; its number there. Once this is committed the mail is ours."""
    counted = new.counted
    return tx.scalar(
        sql.incoming_insert,
        id=new.id,
        origin=new.origin,
        account_no=new.account_no,
        inbox_no=new.inbox_no,
        message_id=new.message_id,
        fingerprint=new.fingerprint,
        recipients=len(new.envelope.rcpt_to),
        counted_at=counted.at if counted else None,
        counted_day=counted.day if counted else None,
        counted_month=counted.month if counted else None,
        envelope_json=_envelope_json(new.envelope),
        peer_json=_peer_json(new.peer),
        size=new.size,
        data=new.data,
        file=new.file,
        received_at=new.received_at,
    )


async def get(database: Database, no: int) -> StoredIncoming | None:
    """One row of the spool; None when it has been filed."""
    row = await database.one(sql.incoming_get, no=no)
    if row is None:
        return None
    (no, id_, origin, account_no, inbox_no, fingerprint, _, at, day, month, envelope, peer, size, data, file, received,
     tries) = row  # fmt: skip
    facts: dict[str, Any] = orjson.loads(peer)
    facts["options"] = tuple(facts["options"])
    return StoredIncoming(
        no=no,
        id=id_,
        origin=origin,
        account_no=account_no,
        inbox_no=inbox_no,
        fingerprint=fingerprint,
        counted=None if at is None else Counted(at=at, day=day, month=month),
        envelope=_envelope(envelope),
        peer=Peer(**facts),
        size=size,
        data=data,
        file=file,
        received_at=received,
        tries=tries,
    )


async def listed(database: Database) -> list[dict[str, Any]]:
    """What is in the spool, oldest first, for the operator."""
    found: list[dict[str, Any]] = []
    for id_, origin, envelope_json, size, received_at, tries, failed in await database.all(sql.incoming_listed):
        envelope = _envelope(envelope_json)
        found.append(
            {
                "id": id_,
                "origin": origin,
                "from": envelope.mail_from,
                "to": list(envelope.rcpt_to),
                "size": size,
                "received_at": iso(received_at),
                "tries": tries,
                "put_aside": bool(failed),
            }
        )
    return found


def take(tx: Transaction, no: int) -> bool:
    """Remove a row, in the transaction that files it; False when somebody else has filed it."""
    return tx.one(sql.incoming_delete, no=no) is not None
