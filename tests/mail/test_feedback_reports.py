"""Abuse feedback reports: what they say, of several makers, and what is none."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.arf import Feedback, read_feedback
from daimon_mcp.mail.parse import parse

RETURNED = (
    "Content-Type: message/rfc822\r\n\r\nMessage-ID: <orig@agents.example>\r\nTo: Ben <ben@y.example>\r\n"
    "Subject: Tea\r\n\r\nx\r\n"
)


def complaint(fields: str, returned: str = RETURNED) -> bytes:
    return (
        "From: fbl@y.example\r\nSubject: FW: Tea\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\n{fields}\r\n--b\r\n{returned}--b--\r\n"
    ).encode()


def test_all_that_a_report_says() -> None:
    fields = (
        "Feedback-Type: Abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\nOriginal-Envelope-Id: q77\r\n"
        "Original-Mail-From: <robo@agents.example>\r\nOriginal-Rcpt-To: <cy@y.example>\r\n"
        "Original-Rcpt-To: rfc822; dan@y.example\r\nReported-Domain: agents.example\r\nSource-IP: 192.0.2.2\r\n"
    )
    assert read_feedback(complaint(fields)) == Feedback(
        feedback_type="abuse",
        original_message_id="<orig@agents.example>",
        recipients=("cy@y.example", "dan@y.example"),
        source_ip="192.0.2.2",
        reported_domain="agents.example",
        reporter="SomeGenerator/1.0",
        envelope_id="q77",
    )


def test_the_recipient_may_be_in_the_returned_mail_only() -> None:
    feedback = read_feedback(complaint("Feedback-Type: abuse\r\n"))
    assert feedback is not None
    assert feedback.recipients == ("ben@y.example",)
    several = RETURNED.replace("<ben@y.example>", "<ben@y.example>, cy@y.example")
    unsaid = read_feedback(complaint("Feedback-Type: abuse\r\n", several))
    assert unsaid is not None
    assert unsaid.recipients == ()


def test_the_header_alone_is_enough_to_know_the_mail() -> None:
    returned = "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <orig@agents.example>\r\n\r\n"
    feedback = read_feedback(complaint("Feedback-Type: opt-out\r\nRemoval-Recipient: cy@y.example\r\n", returned))
    assert feedback is not None
    assert (feedback.original_message_id, feedback.recipients) == ("<orig@agents.example>", ("cy@y.example",))
    assert feedback.is_complaint


def test_not_every_report_is_a_complaint() -> None:
    for kind in ("not-spam", "auth-failure", ""):
        feedback = read_feedback(complaint(f"Feedback-Type: {kind}\r\n"))
        assert feedback is not None
        assert not feedback.is_complaint


def test_a_complaint_reads_as_one() -> None:
    message = parse(complaint("Feedback-Type: abuse\r\nOriginal-Rcpt-To: cy@y.example\r\n"))
    assert message.kind == "notification"
    assert message.reading["bounce"]["complaint"] == "abuse"
    assert [each["action"] for each in message.reading["bounce"]["failures"]] == ["complained"]
    redacted = parse(complaint("Feedback-Type: fraud\r\n", RETURNED.replace("To: Ben <ben@y.example>\r\n", "")))
    assert redacted.reading["bounce"] == {
        "original_message_id": "<orig@agents.example>", "complaint": "fraud", "failures": [],
    }  # fmt: skip


def test_other_mail_is_no_feedback(corpus: dict[str, bytes]) -> None:
    assert [name for name, content in corpus.items() if read_feedback(content) is not None] == []
    wrapped = complaint("Feedback-Type: abuse\r\n").decode()
    head = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
    assert read_feedback(f"{head}{wrapped}--o--\r\n".encode()) is None


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_in_feedback(octets: bytes) -> None:
    head, tail = complaint("Feedback-Type: abuse\r\n|").split(b"|")
    assert read_feedback(head + octets + tail) is not None
    read_feedback(octets)
