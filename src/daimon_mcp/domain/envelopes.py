"""The envelope of one SMTP transaction, which is not the headers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path ("" is the null sender `<>`) and forward-paths."""

    mail_from: str
    rcpt_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who handed us mail over the wire, for the Received header and the log."""

    address: str
    helo: str
    tls: bool = False
    esmtp: bool = True
    smtputf8: bool = False
    cid: str = ""
    options: tuple[str, ...] = field(default=())
