"""Questions and answers as dnspython's messages. No other module imports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode

from daimon_mcp.domain.routes import Tlsa
from daimon_mcp.resolver.answers import Answer, Kind, MxRecord, NoSuchName, TemporaryFailure

MAX_RECORDS: Final = 256  # of one answer: a stranger may send thousands, and nobody honest does
PAYLOAD: Final = 1232  # bytes of a datagram that no path has to cut in pieces
_NO_EDNS: Final = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how it reads on the wire."""

    name: str
    kind: Kind
    message: dns.message.Message
    wire: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to the question; `truncated` asks for TCP, `no_edns` for the question without extensions."""

    message: dns.message.Message
    size: int
    truncated: bool
    no_edns: bool


def question(name: str, kind: Kind, *, edns: bool = True) -> Question:
    """A question for a `names.canonical` name. The AD bit in it asks for the AD bit in the answer (RFC 6840 §5.7)."""
    # By labels, not by dnspython's reader: a backslash in a name is a character, and no escape.
    target = dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    options: dict[str, Any] = {"use_edns": 0, "payload": PAYLOAD} if edns else {"use_edns": False}
    message = dns.message.make_query(target, kind, flags=dns.flags.RD | dns.flags.AD, **options)
    return Question(name, kind, message, message.to_wire())


def accept(asked: Question, data: bytes) -> Reply | None:
    """`data` as an answer to `asked`; None when it is none, or cannot be read."""
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if not asked.message.is_response(message):
        return None
    truncated = bool(message.flags & dns.flags.TC)
    return Reply(message, len(data), truncated, asked.message.edns >= 0 and message.rcode() in _NO_EDNS)


def read(asked: Question, reply: Reply, *, trusted: bool) -> Answer[object]:
    """The records, aliases followed; the TTL is as sent, of a negative answer by RFC 2308 §5.

    Records, at most MAX_RECORDS, are text (A, AAAA, CNAME, PTR), bytes (TXT, the strings of each joined), MxRecord or
    Tlsa. Raises NoSuchName or TemporaryFailure.
    """
    message = reply.message
    rcode = message.rcode()
    where = f"{asked.name} {asked.kind}"
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise TemporaryFailure(f"{where}: the name server answered {dns.rcode.to_text(rcode)}")
    try:
        found = cast("dns.message.QueryMessage", message).resolve_chaining()
    except dns.exception.DNSException as error:
        raise TemporaryFailure(f"{where}: the name server's answer makes no sense") from error
    if rcode == dns.rcode.NXDOMAIN:
        raise NoSuchName(f"{where}: there is no such name", found.minimum_ttl)
    first = islice(cast("Iterable[Any]", found.answer or ()), MAX_RECORDS)
    records = tuple(dict.fromkeys(_plain(asked.kind, record) for record in first))
    secure = trusted and bool(message.flags & dns.flags.AD)
    return Answer(records, found.minimum_ttl, secure, _text(found.canonical_name))


def _plain(kind: Kind, record: Any) -> object:
    match kind:
        case "A" | "AAAA":
            return cast("str", record.address)
        case "CNAME" | "PTR":
            return _text(record.target)
        case "MX":
            return MxRecord(int(record.preference), _text(record.exchange))
        case "TXT":
            return b"".join(record.strings)  # RFC 7208 §3.3
        case "TLSA":
            return Tlsa(int(record.usage), int(record.selector), int(record.mtype), bytes(record.cert))


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
