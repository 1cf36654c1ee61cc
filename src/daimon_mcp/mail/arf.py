"""Abuse feedback reports: what a mailbox provider says of mail that its user did not want (RFC 5965, RFC 6650)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.mail.address_headers import read_addresses
from daimon_mcp.mail.dsn import original_id, own_parts, status_groups, typed_value
from daimon_mcp.mail.headers import Header, decode_header, first
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.mail.structure import Part, analyse
from daimon_mcp.mail.transfer import decode_transfer

MAX_RECIPIENTS = 100
MAX_VALUE = 320

# RFC 5965 §7.3 and what was in use before it: these say that somebody did not want the mail.
COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized"})
_RECIPIENT_FIELDS = frozenset({"original-rcpt-to", "removal-recipient"})


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report. All but the structure is a stranger's: cleaned to single lines of up to 320 characters.

    `feedback_type` is lower case, such as `abuse`, `opt-out` or `not-spam`; "" when it is missing. `recipients` are
    those the report names, or the only one in To of the mail it returns. `source_ip` is where the reporter had the
    mail from, `reported_domain` the domain it is about, `reporter` the program that wrote it; "" where it is not said.
    """

    feedback_type: str
    original_message_id: str | None
    recipients: tuple[str, ...]
    source_ip: str
    reported_domain: str
    reporter: str
    envelope_id: str | None

    @property
    def is_complaint(self) -> bool:
        """Whether somebody did not want the mail; reports of other types say something else (`not-spam`)."""
        return self.feedback_type in COMPLAINTS


def read_feedback(content: bytes) -> Feedback | None:
    """What a feedback report says, or None when `content` is none. Never raises.

    A report inside a message that is attached is that message's own, not this one's.
    """
    root = analyse(content)
    part = next((part for part in own_parts(root) if part.content_type == "message/feedback-report"), None)
    if part is None:
        return None
    octets = decode_transfer(content[part.body_start : part.body_end], part.encoding)[0]
    fields = next(status_groups(octets), None) or ()
    named = [
        typed_value([field], field.name.lower()).strip("<>")
        for field in fields
        if field.name.lower() in _RECIPIENT_FIELDS
    ]
    # Many reporters leave it out; the mail that comes back had one.
    named = named or _recipient_of_original(root)
    return Feedback(
        feedback_type=_value(fields, "feedback-type").lower(),
        original_message_id=original_id(content, root),
        recipients=tuple(dict.fromkeys(name[:MAX_VALUE] for name in named if name))[:MAX_RECIPIENTS],
        source_ip=_value(fields, "source-ip"),
        reported_domain=typed_value(fields, "reported-domain")[:MAX_VALUE],
        reporter=_value(fields, "user-agent"),
        envelope_id=_value(fields, "original-envelope-id") or None,
    )


def _value(fields: Sequence[Header], name: str) -> str:
    return clean_line(decode_header(first(fields, name) or b""))[:MAX_VALUE]


def _recipient_of_original(root: Part) -> list[str]:
    """The recipient of the mail that was returned, if it was to one only."""
    for returned in own_parts(root):
        if returned.holds_message:
            to = read_addresses(first(returned.children[0].headers, "to"))
            return [to[0].email] if len(to) == 1 else []
    return []
