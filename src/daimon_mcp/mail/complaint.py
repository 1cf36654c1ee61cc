"""Writing an abuse feedback report (RFC 5965): what the sandbox sends back for mail that somebody did not want."""

from __future__ import annotations

from email.utils import format_datetime

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.mail.addresses import Address, header_email
from daimon_mcp.mail.body import text_entity
from daimon_mcp.mail.encode import fold, unstructured
from daimon_mcp.mail.headers import scan_headers

_BOUNDARY = "=_feedback_report"


def build_feedback(
    *,
    reporter: Address,
    to: Address,
    original: bytes,
    mail_from: str,
    recipient: str,
    hostname: str,
    date: int,
    message_id: str,
    subject: str,
    text: str,
) -> bytes:
    """A multipart/report of type `abuse` with the headers of `original`. `date` in epoch µs; `text` is for people.

    Raises BadAddress where an address is none that a header can hold.
    """
    headers = scan_headers(original, 0)[0]
    kept = original[: headers[-1].end] if headers else b""
    fields = [
        fold("From", reporter.header()),
        fold("To", to.header()),
        unstructured("Subject", subject),
        fold("Date", format_datetime(to_datetime(date).replace(microsecond=0))),
        fold("Message-ID", message_id),
        fold("MIME-Version", "1.0"),
        fold("Content-Type", f'multipart/report; report-type=feedback-report; boundary="{_BOUNDARY}"'),
    ]
    report = [
        fold("Feedback-Type", "abuse"),
        fold("User-Agent", "daimon-mcp-sandbox/1"),
        fold("Version", "1"),
        fold("Original-Mail-From", f"<{header_email(mail_from)}>"),
        fold("Original-Rcpt-To", f"<{header_email(recipient)}>"),
        fold("Reporting-MTA", f"dns; {hostname}"),
    ]
    parts = [
        text_entity(text, "plain").octets().removesuffix(b"\r\n"),
        b"Content-Type: message/feedback-report\r\n\r\n" + "".join(report).encode(),
        b"Content-Type: text/rfc822-headers\r\n\r\n" + kept,
    ]
    line = b"\r\n--" + _BOUNDARY.encode()
    body = b"".join(line + b"\r\n" + part for part in parts)
    return "".join(fields).encode() + body + line + b"--\r\n"
