"""The envelope of one SMTP transaction, which is not the headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path with its DSN parameters (RFC 3461 §4.1, §4.2), as given and checked; None where not given.

    `notify` is `NEVER`, or some of `SUCCESS,FAILURE,DELAY` in upper case with commas; `orcpt` is `type;xtext`.
    """

    address: str
    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path ("" is the null sender `<>`) and forward-paths; `ret` is `FULL` or `HDRS`, `envid` xtext."""

    mail_from: str
    rcpt_to: tuple[str, ...]
    recipients: tuple[Recipient, ...] = ()  # the same forward-paths with their parameters, where a client gave any
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Who handed us mail over the wire, and how, for the Received header and the log."""

    address: str
    helo: str
    tls: bool = False
    esmtp: bool = True
    smtputf8: bool = False
    cid: str = ""
    options: tuple[str, ...] = field(default=())
    authenticated: bool = False
    lmtp: bool = False
    http: bool = False


@dataclass(frozen=True, slots=True)
class ContentFile:
    """Content too large to hold in memory, in a file of the spool folder; whoever is handed it owns the file.

    The bytes are as received, dots undone, and on disk (fsynced) when this is handed over.
    """

    path: Path
    size: int


ReceivedContent = bytes | ContentFile
"""What a listener hands to the core: CRLF lines, no bare CR or LF."""
