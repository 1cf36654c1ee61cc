"""What the header of a message in somebody's mailbox says about its delivery."""

from __future__ import annotations

from daimon_mcp.domain.upstream import DeliveryFields
from daimon_mcp.mail.address_headers import read_addresses
from daimon_mcp.mail.headers import scan_headers, with_line_feeds

MAX_FIELDS = 100
"""Fields with addresses that are looked at, trace and named each."""

_TRACE = frozenset({"delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to"})
_NAMED = frozenset({"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"})


def delivery_fields(header: bytes) -> DeliveryFields:
    """Who a message was for, by its header block, which may be cut at its end. Never raises.

    Delivered-To and X-Original-To are Postfix's, Delivered-To Gmail's, Dovecot's and qmail's too, Envelope-To Exim's,
    X-Delivered-To Fastmail's.
    """
    content = with_line_feeds(header)
    blocks: list[list[str]] = [[]]
    named: list[str] = []
    return_path: str | None = None
    traces = names = 0
    for field in scan_headers(content, 0)[0]:
        name = field.name.lower()
        if name == "received":
            if blocks[-1]:
                blocks.append([])
        elif name in _TRACE and traces < MAX_FIELDS:
            traces += 1
            blocks[-1] += [each.email for each in read_addresses(field.raw)]
        elif name in _NAMED and names < MAX_FIELDS:
            names += 1
            named += [each.email for each in read_addresses(field.raw)]
        elif name == "return-path" and return_path is None:
            found = read_addresses(field.raw)
            return_path = found[0].email if found and "@" in found[0].email else ""
    return DeliveryFields(
        tuple(tuple(dict.fromkeys(block)) for block in blocks if block), tuple(dict.fromkeys(named)), return_path or ""
    )
