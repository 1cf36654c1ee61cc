"""A message inside a message (RFC 5322): who, when, what about, its text, and the names of its files."""

from __future__ import annotations

from daimon_mcp.domain.clock import iso
from daimon_mcp.extraction.sink import Sink
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.parse import parse


def _person(address: Address) -> str:
    return f"{address.name} <{address.email}>" if address.name else address.email


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the message; the files in it stay closed."""
    message = parse(content)
    sink.facts["attachments"] = len(message.attachments)
    lines = {
        "From": _person(message.from_) if message.from_ else "",
        "To": ", ".join(map(_person, message.to)),
        "Cc": ", ".join(map(_person, message.cc)),
        "Date": iso(message.date) if message.date is not None else "",
        "Subject": message.subject,
    }
    for label, value in lines.items():
        if value:
            sink.line(f"{label}: {value}")
    sink.line()
    sink.line(message.text)
    for file in message.attachments:
        sink.line(f"[attachment: {file.filename}, {file.content_type}, {file.size} bytes]")
