"""Complaints that the sandbox writes, read by our own reader and by the standard library."""

from __future__ import annotations

import pytest
from tests.support.post import read_mail

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.arf import read_feedback
from daimon_mcp.mail.complaint import build_feedback

SUBJECT, TEXT = "A complaint", "Somebody did not want this."


def complaint(
    original: bytes, recipient: str = "complaint@sandbox.test", *, subject: str = SUBJECT, text: str = TEXT
) -> bytes:
    return build_feedback(
        reporter=Address("complaints@sandbox.test"),
        to=Address("robo+b-1-proof@agents.localhost"),
        original=original,
        mail_from="robo@agents.localhost",
        recipient=recipient,
        hostname="mail.agents.test",
        date=1_795_251_600_000_000,
        message_id="<c1@sandbox.test>",
        subject=subject,
        text=text,
    )


@pytest.mark.parametrize("recipient", ["complaint@sandbox.test", "complaint+ü@sandbox.test"])
def test_it_says_who_complained_of_what(recipient: str) -> None:
    original = (
        b"Subject: Buy\r\nMessage-ID: <m1@agents.localhost>\r\nX-Long: " + b"y" * 900 + b"\r\n\r\nsecret body\r\n"
    )
    content = complaint(original, recipient)
    report = read_feedback(content)
    assert report is not None
    assert (report.is_complaint, report.feedback_type) == (True, "abuse")
    assert report.original_message_id == "<m1@agents.localhost>"
    assert report.recipients == (recipient,)
    assert b"secret body" not in content
    mail = read_mail(content)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "feedback-report"
    assert [part.get_content_type() for part in mail.iter_parts()] == [
        "text/plain", "message/feedback-report", "text/rfc822-headers",
    ]  # fmt: skip
    assert not mail.defects
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")


@pytest.mark.parametrize("original", [b"", b"\r\nno header\r\n", b"no header at all", b"Subject: caf\xc3\xa9\r\n\r\n"])
def test_mail_with_little_to_show_can_be_complained_of(original: bytes) -> None:
    report = read_feedback(complaint(original))
    assert report is not None
    assert (report.is_complaint, report.recipients) == (True, ("complaint@sandbox.test",))
    assert report.original_message_id is None


@pytest.mark.parametrize(
    ("subject", "text"), [(SUBJECT, TEXT), ("Réclamation", "Quelqu'un ne voulait pas de ça.\n\nFin")]
)
def test_people_read_the_words_it_was_given(subject: str, text: str) -> None:
    content = complaint(b"Subject: Buy\r\n\r\n", subject=subject, text=text)
    assert content.isascii()
    mail = read_mail(content)
    assert mail["Subject"] == subject
    [said, *_] = mail.iter_parts()
    assert said.get_content().replace("\r\n", "\n") == text
    assert not mail.defects
    assert not said.defects
