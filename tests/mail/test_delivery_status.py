"""Delivery status notifications, our own and others'."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.dsn import Failure, Report, build_dsn, read_dsn
from daimon_mcp.mail.parse import parse
from daimon_mcp.mail.structure import analyse

Mail = Callable[[str], bytes]
NOW = 1_795_251_600_000_000


def _build(
    failures: list[Failure], original: bytes, explanation: str = "It did not arrive.", subject: str = ""
) -> bytes:
    return build_dsn(
        reporting_mta="mx.x.example",
        original=original,
        original_message_id="<orig@x.example>",
        from_=Address("mailer-daemon@x.example", "Mail Delivery System"),
        to=Address("ann@x.example"),
        failures=failures,
        arrival=NOW - 60_000_000,
        date=NOW,
        message_id="<dsn@x.example>",
        explanation=explanation,
        subject=subject,
    )


def test_written_as_rfc_3464_says(mail: Mail) -> None:
    failures = [
        Failure("ben@y.example", "5.1.1", "550 5.1.1 no such user", "mx.y.example", "failed"),
        Failure("cy@bücher.example", "4.4.1", "", "", "delayed"),
    ]
    content = _build(failures, mail("nested_message"))
    root = analyse(content)
    assert (root.content_type, root.params["report-type"]) == ("multipart/report", "delivery-status")
    assert [part.content_type for part in root.children] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    status = root.children[1]
    assert content[status.body_start : status.body_end].decode() == (
        "Reporting-MTA: dns; mx.x.example\r\nArrival-Date: Sat, 21 Nov 2026 08:59:00 +0000\r\n\r\n"
        "Final-Recipient: rfc822; ben@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.y.example\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n"
        "Final-Recipient: rfc822; cy@xn--bcher-kva.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n"
    )
    assert b"See the attached mail" not in content
    assert b"Subject: Fwd: as attachment" in content
    message = parse(content)
    assert (message.kind, message.is_auto, message.text) == ("bounce", True, "It did not arrive.")
    assert message.references == ("<orig@x.example>",)
    assert read_dsn(content) == Report(
        "<nest-1@agents.example>",
        (failures[0], Failure("cy@xn--bcher-kva.example", "4.4.1", "", "", "delayed")),
    )


def test_one_of_postfix_is_read(mail: Mail) -> None:
    assert read_dsn(mail("postfix_bounce")) == Report(
        "<original-77@agents.example>",
        (
            Failure(
                "nobody@far.example",
                "5.1.1",
                "550 5.1.1 <nobody@far.example>: Recipient address rejected",
                "mx2.far.example",
                "failed",
            ),
            Failure("slow@far.example", "4.4.1", "no answer", "", "delayed"),
        ),
    )


def test_other_mail_is_no_report(corpus: dict[str, bytes]) -> None:
    assert [name for name, content in corpus.items() if read_dsn(content) is not None] == ["postfix_bounce.eml"]


def test_a_peer_cannot_add_fields_or_long_lines() -> None:
    evil = "550 no\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; other@z \x00ü" + "x" * 3000
    content = _build([Failure(evil, "9.9\r\n", evil, evil, evil)], b"Subject: \xff bare\n" + b"X: " + b"y" * 5000)
    assert content.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    report = read_dsn(content)
    assert report is not None
    [failure] = report.failures
    assert (failure.action, failure.status) == ("failed", "5.0.0")


def test_recipient_beyond_ascii_is_typed_utf8() -> None:
    failure = Failure("用户@x.example", "5.1.1", "", "", "failed")
    content = _build([failure], b"Subject: x\r\n\r\n")
    report = read_dsn(content)
    assert report is not None
    assert report.failures == (failure,)
    assert b"Final-Recipient: utf-8; \\x{7528}\\x{6237}@x.example\r\n" in content


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_in_a_report(octets: bytes) -> None:
    content = (
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Final-Recipient: rfc822; a@x\r\n" + octets + b"\r\n--b--\r\n"
    )
    report = read_dsn(content)
    assert report is not None


def test_the_subject_can_be_said() -> None:
    failure = Failure("ben@y.example", "4.4.2", "", "", "failed")
    assert parse(_build([failure], b"")).subject == "Delivery failed"
    assert parse(_build([failure], b"", subject="Delivery not confirmed")).subject == "Delivery not confirmed"
