"""What we answer over SMTP: reply lines with enhanced status codes, and the reply of every refusal.

Codes: RFC 5321 §4.2, RFC 3463, RFC 5248. Replies hold our words alone, never a peer's and never an exception's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daimon_mcp.domain.refusals import RefusalCode, Refused

OK: Final = "250 2.0.0 Ok"
SENDER_OK: Final = "250 2.1.0 Ok"
RECIPIENT_OK: Final = "250 2.1.5 Ok"
START_CONTENT: Final = "354 End with <CRLF>.<CRLF>"
START_TLS: Final = "220 2.0.0 Ready to start TLS"
BYE: Final = "221 2.0.0 Bye"
HELP: Final = "214 2.0.0 RFC 5321; commands: {commands}"
CANNOT_VERIFY: Final = "252 2.0.0 Not told; send the mail and see"

# The session ends with each of these (RFC 5321 §3.8).
CLOSING: Final = "421 4.3.2 Server is shutting down"
TOO_MANY_CONNECTIONS: Final = "421 4.7.0 Too many connections"
TIMED_OUT: Final = "421 4.4.2 Timed out"
SESSION_TOO_LONG: Final = "421 4.4.2 Session has lasted too long"
TOO_MANY_LOGINS: Final = "421 4.7.0 Too many failed logins"
LOGIN_ENDED: Final = "421 4.7.0 Credentials or rights have changed, log in again"
TOO_MANY_ERRORS: Final = "421 4.7.0 Too many errors"
LINE_WITHOUT_END: Final = "421 4.7.0 Line without an end"
CONTENT_WITHOUT_END: Final = "421 4.3.4 Far more mail data than this server takes"
NOT_SMTP: Final = "421 4.7.0 This is an SMTP server"
EARLY_TALKER: Final = "554 5.5.0 Spoke before the greeting"  # RFC 5321 §4.3.1
OUT_OF_STEP: Final = "554 5.5.0 Commands sent before the reply to the last one"  # RFC 2920 §3.1

# AUTH (RFC 4954 §4 and §6).
LOGGED_IN: Final = "235 2.7.0 Authentication successful"
NOT_LOGGED_IN: Final = "554 5.7.1 Relay access denied"
TLS_FIRST: Final = "538 5.7.11 Must issue a STARTTLS command first"
AUTH_SYNTAX: Final = "501 5.5.4 Syntax: AUTH mechanism [initial response]"
AUTH_UNKNOWN: Final = "504 5.5.4 Mechanism not known, only PLAIN and LOGIN"
AUTH_TWICE: Final = "503 5.5.1 Already authenticated"
AUTH_CANCELLED: Final = "501 5.7.0 Authentication cancelled"
AUTH_NOT_BASE64: Final = "501 5.5.2 Cannot decode the response"
AUTH_TOO_LONG: Final = "500 5.5.6 Authentication exchange line is too long"
AUTH_FAILED: Final = "535 5.7.8 Authentication failed"
AUTH_SUSPENDED: Final = "535 5.7.8 Account is suspended by the operator"
AUTH_NO_SENDING: Final = "535 5.7.8 This key lacks the permission to send"
AUTH_LATER: Final = "454 4.7.0 Temporary authentication failure"
LOCKED_OUT: Final = "454 4.7.0 Too many failed logins from your IP address, try again in {seconds} seconds"
NOT_TAKEN: Final = "451 4.7.0 Not taken: credentials or rights have changed"  # LOGIN_ENDED follows

LINE_TOO_LONG: Final = "500 5.5.2 Line too long"
BARE_LINE_END: Final = "500 5.5.2 Lines end with CRLF; a CR or LF alone is refused"
CONTROL_CHARACTERS: Final = "501 5.5.2 Control characters are refused"
NOT_UTF8: Final = "501 5.5.2 Not UTF-8"
UNKNOWN_COMMAND: Final = "500 5.5.1 Command not recognized"
NOT_IMPLEMENTED: Final = "502 5.5.1 Command not implemented"
SYNTAX: Final = "501 5.5.4 Syntax: {syntax}"
HELLO_FIRST: Final = "503 5.5.1 Send EHLO or HELO first"
LHLO_FIRST: Final = "503 5.5.1 Send LHLO first"
MAIL_FIRST: Final = "503 5.5.1 Send MAIL first"
MAIL_TWICE: Final = "503 5.5.1 MAIL already given"
RECIPIENT_FIRST: Final = "503 5.5.1 Send RCPT first"
NO_RECIPIENTS: Final = "554 5.5.1 No valid recipients"
TLS_ALREADY: Final = "503 5.5.1 TLS already active"
PARAMETER_UNKNOWN: Final = "555 5.5.4 Parameter not recognized or not implemented"
BAD_SENDER: Final = "553 5.1.7 Not a mailbox address"
BAD_RECIPIENT: Final = "553 5.1.3 Not a mailbox address"
NEEDS_SMTPUTF8: Final = "553 5.6.7 An address outside ASCII needs SMTPUTF8"  # RFC 6531 §3.5
TOO_MANY_RECIPIENTS: Final = "452 4.5.3 Too many recipients"  # RFC 5321 §4.5.3.1.10: never 5xx, so that clients split
NO_DISK: Final = "452 4.3.1 Cannot store mail now, try again later"
TOO_MUCH_AT_ONCE: Final = "452 4.3.1 Too much mail at once, try again later"
TOO_LARGE: Final = "552 5.3.4 Message is larger than {limit} octets"  # RFC 1870 §6
BARE_CR_OR_LF: Final = "550 5.6.11 A CR or LF alone in the message is refused"

_INTERNAL: Final = "451 4.3.0 Internal error"

REFUSALS: Final[Mapping[RefusalCode, str]] = {
    RefusalCode.SEND_REQUIRES_PAID: "550 5.7.1 Sending needs a paid tier",
    RefusalCode.SEND_LIMIT_EXCEEDED: "550 5.7.26 Send limit reached",
    RefusalCode.SMTP_REQUIRES_PAID: "535 5.7.8 SMTP needs a paid tier",
    RefusalCode.DOMAIN_REQUIRES_PAID: "550 5.7.1 Domains need a paid tier",
    RefusalCode.RATE_LIMIT_EXCEEDED: "450 4.7.1 Too much for now, try again later",
    RefusalCode.INBOX_NOT_FOUND: "550 5.1.1 No such inbox here",
    RefusalCode.MESSAGE_NOT_FOUND: "554 5.5.4 No such message",
    RefusalCode.THREAD_NOT_FOUND: "554 5.5.4 No such thread",
    RefusalCode.DRAFT_NOT_FOUND: "554 5.5.4 No such draft",
    RefusalCode.ATTACHMENT_NOT_FOUND: "554 5.5.4 No such attachment",
    RefusalCode.SCHEDULED_NOT_FOUND: "554 5.5.4 No such scheduled mail",
    RefusalCode.APPROVAL_NOT_FOUND: "554 5.5.4 No such approval",
    RefusalCode.ACCOUNT_NOT_FOUND: "554 5.5.4 No such account",
    RefusalCode.KEY_NOT_FOUND: "554 5.5.4 No such key",
    RefusalCode.DOMAIN_NOT_FOUND: "554 5.5.4 No such domain",
    RefusalCode.WEBHOOK_NOT_FOUND: "554 5.5.4 No such webhook",
    RefusalCode.WEBHOOK_DELIVERY_NOT_FOUND: "554 5.5.4 No such delivery",
    RefusalCode.INBOX_ADDRESS_TAKEN: "554 5.5.4 Address is taken",
    RefusalCode.DOMAIN_TAKEN: "554 5.5.4 Domain is taken",
    RefusalCode.DOMAIN_IN_USE: "554 5.5.4 Domain is in use",
    RefusalCode.IDEMPOTENCY_CONFLICT: "554 5.5.4 Conflicts with an earlier request",
    RefusalCode.DRAFT_ALREADY_SENT: "554 5.5.4 Draft was already sent",
    RefusalCode.UNAUTHORIZED: "535 5.7.8 Authentication failed",
    RefusalCode.FORBIDDEN: "550 5.7.1 Not allowed",
    RefusalCode.INVALID_REQUEST: "554 5.6.0 Message or envelope not valid",
    RefusalCode.RECIPIENT_REFUSED: "550 5.7.1 Recipient refused",
    RefusalCode.MESSAGE_TOO_LARGE: "552 5.3.4 Message too large",
    RefusalCode.RELAY_NOT_CONFIGURED: "550 5.4.4 No route: this server has no mail relay, its operator can set one",
    RefusalCode.ACCOUNT_SUSPENDED: "550 5.2.1 Mailbox disabled",
    RefusalCode.LINK_NOT_VALID: "550 5.7.1 Link not valid",
    RefusalCode.PASSCODE_WRONG: "535 5.7.8 Authentication failed",
    RefusalCode.ROUTE_NOT_FOUND: "554 5.5.4 No such route",
    RefusalCode.METHOD_NOT_ALLOWED: "554 5.5.4 No such method",
    RefusalCode.STORE_UNAVAILABLE: "452 4.3.1 Cannot store mail now, try again later",
    RefusalCode.INTERNAL: _INTERNAL,
}

REASONS: Final[Mapping[tuple[RefusalCode, str], str]] = {
    (RefusalCode.RECIPIENT_REFUSED, "RELAY_DENIED"): "550 5.7.1 Relay access denied",
    (RefusalCode.RECIPIENT_REFUSED, "NOT_ON_ALLOW_LIST"): "550 5.7.1 Recipient is not on the allow list",
    (RefusalCode.RECIPIENT_REFUSED, "ON_BLOCK_LIST"): "550 5.7.1 Recipient is on the block list",
    (RefusalCode.RECIPIENT_REFUSED, "SUPPRESSED"): "550 5.7.1 Mail to this recipient bounced for good before",
    (RefusalCode.RECIPIENT_REFUSED, "NO_SUCH_INBOX"): "550 5.1.1 No such inbox here",
    (RefusalCode.FORBIDDEN, "SENDER_NOT_OWNED"): "550 5.7.1 Sender address rejected: not owned by this account",
    (
        RefusalCode.ACCOUNT_SUSPENDED,
        "SENDING_STOPPED",
    ): "550 5.7.1 Sending is stopped until the operator lets it go on",
    (RefusalCode.RATE_LIMIT_EXCEEDED, "LOGIN_FAILURES"): "454 4.7.0 Too many failed logins, try again later",
    (RefusalCode.RATE_LIMIT_EXCEEDED, "UNKNOWN_RECIPIENTS"): "421 4.7.0 Too many unknown recipients, try again later",
    (RefusalCode.RATE_LIMIT_EXCEEDED, "MESSAGES"): "450 4.7.1 Too many messages, try again later",
    (RefusalCode.RATE_LIMIT_EXCEEDED, "GREYLISTED"): "451 4.7.1 Greylisted, try again later",
    (RefusalCode.FORBIDDEN, "OVERSIGHT_READ_ONLY"): "550 5.7.1 This inbox may not send; its operator can change that",
    (RefusalCode.FORBIDDEN, "INBOX_PAUSED"): "550 5.7.1 This inbox is paused; its operator can let it send again",
    (RefusalCode.FORBIDDEN, "OUR_DOMAIN"): "550 5.7.1 Mail from our own domains is taken by submission alone",
    (RefusalCode.RECIPIENT_REFUSED, "MAIL_LOOP"): "554 5.4.6 Mail loop detected",  # RFC 5321 §6.3
}


def refusal(refused: Refused, cid: str) -> str:
    """The reply line of a refusal; a transient one ends in `cid`, so that its cause can be found in the log."""
    line = REASONS.get((refused.code, refused.reason or ""), REFUSALS[refused.code])
    return f"{line}, id {cid}" if line.startswith("4") else line


def queued(id: str) -> str:
    """The message is durable, has a place in Sent under this id, and is on its way."""
    return f"250 2.0.0 Ok: queued as {id}"


def held(id: str) -> str:
    """The message is durable and has this id, and leaves when the operator approves."""
    return f"250 2.0.0 Ok: held for the operator's approval as {id}"


def accepted(cid: str) -> str:
    """The message is durable: from here on it is ours, and has this id in Received and in the log."""
    return f"250 2.0.0 Ok, id {cid}"


def internal_error(cid: str) -> str:
    """Our bug: transient, so that nothing is bounced for it, and with nothing in it but where to look."""
    return f"{_INTERNAL}, id {cid}"


def internal_error_closing(cid: str) -> str:
    """The same, where the dialogue cannot go on."""
    return f"421 4.3.0 Internal error, id {cid}"
