"""Delivery status notifications, our own and others'."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.dsn import Failure, Report, build_dsn, read_dsn
from daimon_mcp.mail.parse import parse
from daimon_mcp.mail.structure import analyse

Mail = Callable[[str], bytes]
NOW = 1_795_251_600_000_000


def _build(
    failures: list[Failure],
    original: bytes,
    explanation: str = "It did not arrive.",
    subject: str = "",
    envid: str | None = None,
    ret: str | None = None,
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
        envid=envid,
        ret=ret,
    )


def _status_of(content: bytes) -> str:
    status = analyse(content).children[1]
    return content[status.body_start : status.body_end].decode()


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
                orcpt="rfc822;nobody@far.example",
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


def test_the_parameters_of_the_submission_come_back() -> None:
    failures = [
        Failure("ben@z.example", "5.1.1", "", "", "failed", orcpt="rfc822;ben+2Btag@y.example"),
        Failure("cy@y.example", "4.4.1", "", "", "delayed", orcpt="x-no", retry_until=NOW),
        Failure("用户@x.example", "2.0.0", "", "", "relayed", orcpt="utf-8;用户@x.example"),
    ]
    content = _build(failures, b"Subject: x\r\n\r\n", envid="Q+201", ret="HDRS")
    assert _status_of(content) == (
        "Original-Envelope-Id: Q 1\r\nReporting-MTA: dns; mx.x.example\r\n"
        "Arrival-Date: Sat, 21 Nov 2026 08:59:00 +0000\r\n\r\n"
        "Original-Recipient: rfc822; ben+tag@y.example\r\nFinal-Recipient: rfc822; ben@z.example\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\n\r\n"
        "Final-Recipient: rfc822; cy@y.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n"
        "Will-Retry-Until: Sat, 21 Nov 2026 09:00:00 +0000\r\n\r\n"
        "Original-Recipient: utf-8; \\x{7528}\\x{6237}@x.example\r\n"
        "Final-Recipient: utf-8; \\x{7528}\\x{6237}@x.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n"
    )
    report = read_dsn(content)
    assert report is not None
    assert report.envelope_id == "Q 1"
    assert [each.orcpt for each in report.failures] == [
        "rfc822;ben+2Btag@y.example", "", "utf-8;+E7+94+A8+E6+88+B7@x.example",
    ]  # fmt: skip


def test_parameters_cannot_add_fields() -> None:
    evil = "+0D+0AAction:+20delivered"
    failure = Failure("ben@y.example", "5.1.1", "", "", "failed", orcpt=f"rfc822;{evil}")
    content = _build([failure], b"Subject: x\r\n\r\n", envid=evil + "x" * 3000)
    report = read_dsn(content)
    assert report is not None
    assert [each.action for each in report.failures] == ["failed"]
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


@pytest.mark.parametrize(
    ("action", "subject", "kind"),
    [("delayed", "Delivery delayed", "bounce"), ("delivered", "Delivery successful", "notification"),
     ("relayed", "Delivery successful", "notification"), ("failed", "Delivery failed", "bounce")],
)  # fmt: skip
def test_each_action_has_a_name(action: str, subject: str, kind: str) -> None:
    message = parse(_build([Failure("ben@y.example", "", "", "", action)], b"Subject: x\r\n\r\n"))
    assert (message.subject, message.kind) == (subject, kind)
    assert message.reading["bounce"]["failures"][0]["action"] == action


def test_full_returns_the_whole_mail_of_a_failure() -> None:
    original = "Message-ID: <orig@x.example>\r\nSubject: Tea\r\n\r\nGrüße\n--\r\nbye".encode()
    failed, delayed = (Failure("ben@y.example", "", "", "", action) for action in ("failed", "delayed"))
    content = _build([failed], original, ret="FULL")
    returned = analyse(content).children[2]
    assert returned.content_type == "message/rfc822"
    assert content[returned.body_start : returned.body_end] == original.replace(b"\n--", b"\r\n--")
    assert content.count(b"Content-Transfer-Encoding: 8bit\r\n") == 2
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    report = read_dsn(content)
    assert report is not None
    assert report.original_message_id == "<orig@x.example>"
    for other in (
        _build([delayed], original, ret="FULL"),
        _build([failed], original, ret="HDRS"),
        _build([failed], original),
        _build([failed], original + b"x" * 300_000, ret="FULL"),
    ):
        assert analyse(other).children[2].content_type == "text/rfc822-headers"
    wide = _build([failed], "Subject: Grüße\r\n\r\nx".encode(), ret="FULL")
    assert analyse(wide).children[2].content_type == "message/global"
