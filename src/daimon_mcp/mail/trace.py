"""What a server adds on top of a message it takes, and what it counts there (RFC 5321 §4.4)."""

from __future__ import annotations

import ipaddress
import re
from email.utils import format_datetime

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.domain.envelopes import Peer
from daimon_mcp.mail.addresses import BadAddress, header_email
from daimon_mcp.mail.encode import fold
from daimon_mcp.mail.headers import scan_headers

HEADER_BYTES = 262_144  # of a message are searched for fields; a hop adds its own at the top, so this is many hops

_LINE_END = re.compile(rb"\r\n|\r|\n")
_NOT_HOST = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]")


def _host(text: str) -> str:
    """A name a peer or a setting gave, with everything that is not of a host name replaced by `?`."""
    return _NOT_HOST.sub("?", text[:255]) or "unknown"


def _literal(address: str) -> str:
    """An IP address as an address literal; what is none (a local socket, say) as `unknown`."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return f"[IPv6:{found}]" if found.version == 6 else f"[{found}]"


def _protocol(peer: Peer) -> str:
    """The `with` keyword: with an S under TLS and an A after AUTH (RFC 3848; RFC 6531 §4.3 for the UTF8 ones)."""
    if peer.http:
        return "HTTP"
    if not (peer.lmtp or peer.smtputf8 or peer.esmtp or peer.tls or peer.authenticated):
        return "SMTP"
    name = "LMTP" if peer.lmtp else "SMTP" if peer.smtputf8 else "ESMTP"
    return f"{'UTF8' if peer.smtputf8 else ''}{name}{'S' if peer.tls else ''}{'A' if peer.authenticated else ''}"


def received_header(*, by: str, peer: Peer, rcpt: str | None, now: int, id: str) -> bytes:
    """A Received field with its CRLF. `rcpt` only for a single recipient, so that none learns of another; `now` in µs.

    The `for` clause is left out for an address no header can hold, or only a UTF8SMTP one could.
    """
    words = [f"from {_host(peer.helo)} ({_literal(peer.address)}) by {_host(by)} with {_protocol(peer)}"]
    if identifier := _NOT_ID.sub("", id)[:100]:
        words.append(f"id {identifier}")
    if rcpt is not None:
        try:
            recipient = header_email(rcpt)
        except BadAddress:
            recipient = ""
        if recipient and (recipient.isascii() or peer.smtputf8):
            words.append(f"for <{recipient}>")
    date = format_datetime(to_datetime(now).replace(microsecond=0))
    return fold("Received", f"{' '.join(words)}; {date}").encode()


def prepend_trace(content: bytes, *, received: bytes, return_path: str) -> bytes:
    """`content` under Return-Path and `received`; Return-Path fields it came with are removed (RFC 5321 §4.4).

    `return_path` is the reverse-path, "" for the null sender; one that no header can hold becomes `<>`. The separator
    line of an mbox goes too; content without any header gets the blank line that makes it a body. A Return-Path that
    does not end within the first HEADER_BYTES stays where it is.
    """
    path = ""
    if return_path:
        try:
            path = header_email(return_path)
        except BadAddress:
            path = ""
    kept: list[bytes] = []
    position = content.find(b"\n") + 1 if content.startswith(b"From ") else 0
    top = content[: position + HEADER_BYTES]
    headers = scan_headers(top, 0)[0]
    for header in headers:
        # A field that reaches the end of what was searched may go on behind it.
        if header.name.lower() == "return-path" and (header.end < len(top) or len(top) == len(content)):
            kept.append(content[position : header.start])
            position = header.end
    rest = b"".join([*kept, content[position:]]) if kept or position else content
    blank = b"" if headers or rest.startswith(b"\r\n") else b"\r\n"
    return b"".join([fold("Return-Path", f"<{path}>").encode(), received, blank, rest])


def hop_count(content: bytes) -> int:
    """How many Received fields the first HEADER_BYTES of a message have (RFC 5321 §6.3)."""
    headers = scan_headers(content[:HEADER_BYTES], 0)[0]
    return sum(1 for header in headers if header.name.lower() == "received")


def own_hop_count(content: bytes, hostname: str) -> int:
    """How many Received fields of the first HEADER_BYTES this server has written itself, as `received_header` does."""
    own = re.compile(rb"\sby\s+" + re.escape(_host(hostname).encode()) + rb"\s+with\s+\S+\s+id\s+[A-Za-z0-9._-]+", re.I)
    headers = scan_headers(content[:HEADER_BYTES], 0)[0]
    return sum(1 for header in headers if header.name.lower() == "received" and own.search(header.raw))


def canonical_crlf(content: bytes) -> bytes:
    """`content` with every line end as CRLF; the same object when it is so already."""
    pairs = content.count(b"\r\n")
    if content.count(b"\n") == pairs == content.count(b"\r"):
        return content
    return _LINE_END.sub(b"\r\n", content)
