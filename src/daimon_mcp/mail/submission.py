"""What a submission server looks at and mends in a message (RFC 6409 §8, RFC 5322): its header block alone.

The accept path runs this for every mail, so the body is never read, and values only where they decide something. It is
strict where `parse` is lenient: a From that two readers could understand in two ways must not get past the question
whether the account owns it, so what does not follow the grammar is a problem and not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from enum import StrEnum
from typing import Final

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.mail.addresses import header_email
from daimon_mcp.mail.encode import fold
from daimon_mcp.mail.headers import message_ids, parse_date
from daimon_mcp.mail.mailbox_list import strict_mailboxes
from daimon_mcp.mail.trace import HEADER_BYTES

MAX_FIELDS: Final = 2000
MAX_READ: Final = 2000  # octets of a Date or Message-ID

_SINGLE: Final = frozenset(  # at most one each (RFC 5322 §3.6)
    {"from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to", "references", "subject", "date"}
)
_KNOWN: Final = _SINGLE | {"bcc", "resent-bcc", "return-path", "received", "content-type"}
_REMOVED: Final = frozenset({"bcc", "resent-bcc", "return-path"})

_FIELD = re.compile(rb"([!-9;-~]++)([ \t]*+):([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)(?:\r\n|\Z)")
_ID = re.compile(rb"\s*<([!-;=?-~\x80-\xff]{1,900})>\s*\Z")
_REPORT = re.compile(rb"\s*multipart\s*/\s*report\s*(?:;|\Z)", re.IGNORECASE)


class HeaderFault(StrEnum):
    """Why a header block is refused as it is."""

    TOO_LONG = "too_long"
    """Does not end within HEADER_BYTES, or has more than MAX_FIELDS fields."""
    NUL = "nul"
    """A NUL in a field (RFC 5322 §4)."""
    BARE_CR_OR_LF = "bare_cr_or_lf"
    """A carriage return or line feed alone: readers disagree about where the line ends."""
    DUPLICATE = "duplicate"
    """More than one of a field that may be there once: readers disagree about which one counts."""
    SPACE_BEFORE_COLON = "space_before_colon"
    """From or Sender in the obsolete form (RFC 5322 §4.5.8), which some readers do not see."""
    BAD_ADDRESSES = "bad_addresses"
    """From or Sender is not a list of mailboxes (for Sender, of one), or is longer than `mailbox_list.MAX_VALUE`."""


@dataclass(frozen=True, slots=True)
class HeaderProblem:
    """A fault, and the field that has it: a name of ours in lower case, "" when it is about all of them."""

    fault: HeaderFault
    field: str = ""


@dataclass(frozen=True, slots=True)
class SubmittedHeaders:
    """What a header block says, as far as a submission server cares. With `problems` the rest may be incomplete."""

    problems: tuple[HeaderProblem, ...]
    from_: tuple[str, ...]
    """Every mailbox in From, groups included, as `normalise` writes it; a quoted local part keeps its quotes."""
    sender: tuple[str, ...]
    message_id: str | None
    """With angle brackets; None when there is none, or none that could be one."""
    has_date: bool
    """Whether there is a Date that can be read."""
    counts: Mapping[str, int]
    """How often the fields of RFC 5322 §3.6, Received, Return-Path and Content-Type are there, by lower-case name."""
    eight_bit: bool
    """Whether there are octets outside ASCII, for which the envelope needs SMTPUTF8 (RFC 6532)."""
    report: bool
    """Whether the content is a `multipart/report`."""
    end: int
    """Where the fields end and what is not a field begins: the blank line, or a body without one."""
    ending: bytes
    """What is missing there, if it is not the blank line."""
    dropped: tuple[tuple[int, int], ...]
    """Ranges that do not go out: Bcc, Resent-Bcc, Return-Path, ids and dates that are none, an mbox separator."""

    @property
    def has_bcc(self) -> bool:
        """Whether a blind copy is named, in a mail sent again too."""
        return "bcc" in self.counts or "resent-bcc" in self.counts

    @property
    def received(self) -> int:
        """How many hops the message has behind it (RFC 5321 §6.3)."""
        return self.counts.get("received", 0)


def examine(content_head: bytes) -> SubmittedHeaders:
    """The header block of a message with CRLF lines: all of it, or at least its first HEADER_BYTES + 1 octets.

    The block ends at the blank line or at the first line that is no field, behind which everything is body: `repaired`
    puts the blank line there. So a message without any header, which naive programs send, is a body. Never raises.
    """
    cut = len(content_head) > HEADER_BYTES
    # Half a line end at the cut would look like a carriage return alone.
    head = content_head[:HEADER_BYTES].removesuffix(b"\r") if cut else content_head
    size = len(head)
    problems: list[HeaderProblem] = []
    counts: dict[str, int] = {}
    values: dict[str, bytes] = {}
    dropped: list[tuple[int, int]] = []
    position = fields = 0
    if head.startswith(b"From ") and b"\r\n" in head and not _FIELD.match(head):
        position = head.find(b"\r\n") + 2
        dropped.append((0, position))
    while position < size and not head.startswith(b"\r\n", position):
        match = _FIELD.match(head, position)
        if match is None:
            line_end = head.find(b"\r\n", position)
            line = head[position : line_end if line_end >= 0 else size]
            if line_end < 0 and cut and fields:
                problems.append(HeaderProblem(HeaderFault.TOO_LONG))
            if b"\n" in line or b"\r" in line:
                problems.append(HeaderProblem(HeaderFault.BARE_CR_OR_LF))
            break
        fields += 1
        if (cut and match.end() == size) or fields > MAX_FIELDS:
            problems.append(HeaderProblem(HeaderFault.TOO_LONG))
            break
        name = match[1].decode("ascii").lower()
        if name in _KNOWN:
            _note(name, match, counts, values, dropped)
            if match[2] and name in ("from", "sender"):
                problems.append(HeaderProblem(HeaderFault.SPACE_BEFORE_COLON, name))
        position = match.end()
    block = head[:position]
    if b"\0" in block:
        problems.append(HeaderProblem(HeaderFault.NUL))
    problems += [HeaderProblem(HeaderFault.DUPLICATE, name) for name in counts if counts[name] > 1 and name in _SINGLE]
    people = {name: strict_mailboxes(values[name]) for name in ("from", "sender") if name in values}
    problems += [HeaderProblem(HeaderFault.BAD_ADDRESSES, name) for name, found in people.items() if not found]
    if len(people.get("sender") or ()) > 1:
        problems.append(HeaderProblem(HeaderFault.BAD_ADDRESSES, "sender"))
    blank = b"\r\n" if not block or block.endswith(b"\r\n") else b"\r\n\r\n"
    return SubmittedHeaders(
        problems=tuple(problems),
        from_=people.get("from") or (),
        sender=people.get("sender") or (),
        message_id=_message_id(values["message-id"]) if "message-id" in values else None,
        has_date="date" in values,
        counts=counts,
        eight_bit=not block.isascii(),
        report=_REPORT.match(values.get("content-type", b"")) is not None,
        end=position,
        ending=b"" if head.startswith(b"\r\n", position) else blank,
        dropped=tuple(dropped),
    )


def repaired(
    content: bytes, *, message_id: str, date: int, received: bytes, examined: SubmittedHeaders, mail_from: str = ""
) -> bytes:
    """`content` as it goes out: see `repaired_header`, and then the body byte for byte. Copies the content once."""
    header = repaired_header(
        content, message_id=message_id, date=date, received=received, examined=examined, mail_from=mail_from
    )
    return b"".join((header, memoryview(content)[examined.end :]))


def repaired_header(
    content_head: bytes, *, message_id: str, date: int, received: bytes, examined: SubmittedHeaders, mail_from: str = ""
) -> bytes:
    """The header block as it goes out; whatever stands in the message from `examined.end` on follows it unchanged.

    `received` (a whole field with its CRLF) on top; then what is missing: `message_id` (with angle brackets), `date`
    (epoch µs), From out of the reverse-path `mail_from`, and Sender out of it where From has several mailboxes
    (RFC 5322 §3.6.2). Without Bcc, Resent-Bcc and Return-Path. All else is kept byte for byte.
    `examined` is what `examine` said of this head. Raises BadAddress if From must be made of a `mail_from` that no
    header can hold; there is none made of the null reverse-path.
    """
    added = [received]
    if not examined.has_date:
        added.append(fold("Date", format_datetime(to_datetime(date).replace(microsecond=0))).encode())
    if mail_from and "from" not in examined.counts:
        added.append(fold("From", header_email(mail_from)).encode())
    if mail_from and len(examined.from_) > 1 and not examined.sender:
        added.append(fold("Sender", header_email(mail_from)).encode())
    if examined.message_id is None:
        added.append(fold("Message-ID", message_id).encode())
    kept: list[bytes] = []
    position = 0
    for start, end in examined.dropped:
        kept.append(content_head[position:start])
        position = end
    return b"".join([*added, *kept, content_head[position : examined.end], examined.ending])


def _note(
    name: str,
    match: re.Match[bytes],
    counts: dict[str, int],
    values: dict[str, bytes],
    dropped: list[tuple[int, int]],
) -> None:
    """One field we know: counted, its first value kept, its range noted if it does not go out."""
    counts[name] = counts.get(name, 0) + 1
    if name in _REMOVED:
        dropped.append(match.span())
    elif counts[name] == 1:
        value = match[3]
        readable = name not in _READ or (len(value) <= MAX_READ and _READ[name](value) is not None)
        if readable:
            values[name] = value
        else:
            dropped.append(match.span())


def _message_id(value: bytes) -> str | None:
    """The one id in a Message-ID field, or None: such a field is replaced (RFC 6409 §8.3)."""
    match = _ID.match(value)
    if match:
        return f"<{match[1].decode('utf-8', 'replace')}>"
    found = message_ids(value)
    return found[0] if len(found) == 1 else None


_READ: Final[Mapping[str, Callable[[bytes], object]]] = {"date": parse_date, "message-id": _message_id}
"""Fields that are replaced when they cannot be read (RFC 6409 §8.2, §8.3)."""
