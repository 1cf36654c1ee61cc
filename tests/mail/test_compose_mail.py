"""Messages on their way out: safe, canonical, and read back as they were meant."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.addresses import Address, BadAddress
from daimon_mcp.mail.compose import (
    BadHeader,
    Outgoing,
    OutgoingAttachment,
    check_header,
    compose,
    needs_smtputf8,
    new_message_id,
)
from daimon_mcp.mail.parse import extract_attachment, parse
from daimon_mcp.mail.sanitize import clean_line, clean_text

ANN, BEN = Address("ann@x.example", "Ann"), Address("ben@y.example", "Ben")
BASE = Outgoing(
    from_=ANN, to=(BEN,), subject="Tea", text="Four?\n", message_id="<1@x.example>", date=1_795_251_600_000_000
)


def _canonical(content: bytes) -> None:
    assert content.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", content)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert not re.search(rb"^(?:resent-)?bcc\s*:", content, re.IGNORECASE | re.MULTILINE)


def test_a_plain_message_is_readable_as_it_stands() -> None:
    assert compose(BASE) == (
        b"From: Ann <ann@x.example>\r\nTo: Ben <ben@y.example>\r\nSubject: Tea\r\n"
        b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@x.example>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\n\r\nFour?\r\n'
    )


def test_everything_at_once() -> None:
    outgoing = replace(
        BASE,
        to=(BEN, Address("cy@bücher.example", "Cy, the 3rd")),
        cc=(Address("zoe@y.example", "Zoë"),),
        reply_to=(Address("desk@x.example"),),
        subject="Grüße",
        text="Schön.",
        html='<p>Schön. <img src="cid:logo"></p>',
        in_reply_to="<p@y.example>",
        references=("<o@y.example>", "not an id", "<p@y.example>"),
        headers=(("X-Campaign", "späte"), ("List-Unsubscribe", "<https://x.example/u>"), ("Auto-Submitted", "no")),
        attachments=(
            OutgoingAttachment("Übersicht " * 9 + ".pdf", "application/pdf", b"\x00\x01" * 100),
            OutgoingAttachment("logo.png", "image/png", b"png", "logo"),
            OutgoingAttachment("data.csv", 'text/csv; charset=utf-8; header="present"', "a;b\nä".encode()),
        ),
    )
    content = compose(outgoing)
    _canonical(content)
    assert content.isascii()
    message = parse(content)
    assert message.warnings == ()
    assert message.subject == "Grüße"
    assert message.to == (BEN, Address("cy@xn--bcher-kva.example", "Cy, the 3rd"))
    assert message.cc == outgoing.cc
    assert message.reply_to == outgoing.reply_to
    assert message.in_reply_to == ("<p@y.example>",)
    assert message.references == ("<o@y.example>", "<p@y.example>")
    assert message.date == outgoing.date
    assert message.text == "Schön."
    assert message.html is not None
    assert message.html.rstrip() == outgoing.html
    assert ("X-Campaign", "späte") in message.headers
    assert [(a.part, a.filename, a.content_type, a.disposition) for a in message.attachments] == [
        ("1.2.2", "logo.png", "image/png", "inline"),
        ("2", "Übersicht " * 9 + ".pdf", "application/pdf", "attachment"),
        ("3", "data.csv", "text/csv", "attachment"),
    ]
    assert extract_attachment(content, "2") == b"\x00\x01" * 100
    assert compose(outgoing) == content


def test_the_standard_library_reads_it_the_same() -> None:
    outgoing = replace(
        BASE,
        subject="Grüße 🫖",
        text="Zeile\n" * 3 + "ä",
        attachments=(OutgoingAttachment("ä.txt", "text/plain", b"x"),),
    )
    message = email.message_from_bytes(compose(outgoing), policy=email.policy.default)
    assert message["Subject"] == "Grüße 🫖"
    assert message["From"].addresses[0].addr_spec == "ann@x.example"
    body = message.get_body()
    assert body is not None
    assert body.get_content().splitlines() == ["Zeile", "Zeile", "Zeile", "ä"]
    assert [part.get_filename() for part in message.iter_attachments()] == ["ä.txt"]
    assert not any(part.defects for part in message.walk())


def test_no_recipient_shown() -> None:
    assert b"To: undisclosed-recipients:;\r\n" in compose(replace(BASE, to=()))


def test_html_without_text_gets_a_text() -> None:
    message = parse(compose(replace(BASE, text="", html="<p>Shown</p>")))
    assert message.text == "Shown"


def test_encodings_follow_the_text() -> None:
    assert b"Transfer-Encoding: quoted-printable" in compose(replace(BASE, text="Only one é among many letters."))
    assert b"Transfer-Encoding: base64" in compose(replace(BASE, text="日本語の手紙"))
    assert b"Transfer-Encoding: quoted-printable" in compose(replace(BASE, text="x" * 2000))
    assert b"\r\nFrom " not in compose(replace(BASE, text="Hi\nFrom here on\n"))
    assert parse(compose(replace(BASE, text="Hi\nFrom here on\n"))).text == "Hi\nFrom here on"


def test_smtputf8_only_for_local_parts() -> None:
    assert not needs_smtputf8(replace(BASE, to=(Address("a@bücher.example"),), subject="é"))
    international = replace(BASE, cc=(Address("用户@x.example"),))
    assert needs_smtputf8(international)
    content = compose(international)
    _canonical(content)
    assert parse(content).cc == international.cc


def test_a_forwarded_message_is_attached_as_one() -> None:
    original = compose(BASE)
    content = compose(replace(BASE, attachments=(OutgoingAttachment("tea.eml", "message/rfc822", original),)))
    [attached] = parse(content).attachments
    assert attached.content_type == "message/rfc822"
    assert extract_attachment(content, attached.part) == original
    raw = b"Subject: \xff\n\nbare"
    content = compose(replace(BASE, attachments=(OutgoingAttachment("odd.eml", "message/rfc822", raw),)))
    [attached] = parse(content).attachments
    assert attached.content_type == "application/octet-stream"
    assert extract_attachment(content, attached.part) == raw


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("nonsense", "application/octet-stream"),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("multipart/mixed; boundary=x", "application/octet-stream"),
        ("Image/PNG", "image/png"),
        ('text/csv; a="\r\nX-Evil: 1"', "text/csv"),
    ],
)
def test_content_types_of_attachments(content_type: str, expected: str) -> None:
    content = compose(replace(BASE, attachments=(OutgoingAttachment("a\r\nX-Evil: 1", content_type, b"x"),)))
    _canonical(content)
    [attached] = parse(content).attachments
    assert attached.content_type == expected
    assert b"\r\nX-Evil" not in content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Bcc", "x@y.example"),
        ("from", "x@y.example"),
        ("Content-Type", "text/html"),
        ("Resent-Bcc", "x@y.example"),
        ("DKIM-Signature", "v=1"),
        ("Return-Path", "<>"),
        ("Received", "from x"),
        ("Authentication-Results", "mx; dkim=pass"),
        ("Apparently-To", "x@y.example"),
        ("Envelope-To", "x@y.example"),
        ("Delivered-To", "x@y.example"),
        ("errors-to", "x@y.example"),
        ("Return-Receipt-To", "x@y.example"),
        ("Disposition-Notification-To", "x@y.example"),
        ("X-SMTPAPI", '{"to": ["x@y.example"]}'),
        ("X-MC-SendAt", "now"),
        ("X-MSYS-API", "{}"),
        ("X-Mailgun-Variables", "{}"),
        ("X-SES-Configuration-Set", "a"),
        ("x-pm-Message-Stream", "a"),
        ("X-MJ-CustomID", "a"),
        ("X-Envelope-To", "x@y.example"),
        ("X-SparkPost-Options", "a"),
        ("X-Postmark-Server-Token", "a"),
        ("X-A", "1\r\nBcc: x@y.example"),
        ("X-A", "1\nBcc: x@y.example"),
        ("X-A", "1\rBcc: x@y.example"),
        ("X-A", "nul\x00"),
        ("X-A", "next\x85line"),
        ("X-A", "line\u2028end"),
        ("X-A", "\ud800"),
        ("X-A", "x" * 10_000),
        ("X A", "space"),
        ("X-A:", "colon"),
        ("X-A\r\nBcc", "x"),
        ("X-Ä", "x"),
        ("", "x"),
    ],
)
def test_headers_that_may_not_be_set(name: str, value: str) -> None:
    with pytest.raises(BadHeader) as refused:
        check_header(name, value)
    assert "\n" not in str(refused.value)
    with pytest.raises(BadHeader):
        compose(replace(BASE, headers=((name, value),)))


@pytest.mark.parametrize("name", ["X-Anything", "X-Priority", "List-Id", "Auto-Submitted", "Importance"])
def test_headers_that_may_be_set(name: str) -> None:
    check_header(name, "käse")
    assert (name, "käse") in parse(compose(replace(BASE, headers=((name, "käse"),)))).headers


def test_injection_through_every_field() -> None:
    evil = "x\r\nBcc: victim@z.example\r\n\r\nbody"
    content = compose(
        replace(
            BASE,
            from_=Address("ann@x.example", evil),
            subject=evil,
            in_reply_to=f"<{evil}>",
            references=(evil, "<ok@x>"),
            attachments=(OutgoingAttachment(evil, evil, b"x", evil),),
        )
    )
    _canonical(content)
    assert not [name for name, _ in parse(content).headers if name.lower() == "bcc"]
    assert parse(content).references == ("<ok@x>",)
    for bad in (replace(BASE, to=(Address(evil),)), replace(BASE, to=(Address(f"a@{evil}"),))):
        with pytest.raises(BadAddress):
            compose(bad)
    with pytest.raises(BadHeader):
        compose(replace(BASE, message_id="<a@x>\r\nBcc: b@c"))


def test_boundary_cannot_be_forged() -> None:
    first = compose(replace(BASE, html="<p>x</p>"))
    match = re.search(rb'boundary="([^"]+)"', first)
    assert match is not None
    boundary = match[1].decode()
    forged = replace(BASE, text=f"a\n--{boundary}--\nb", html="<p>x</p>")
    assert parse(compose(forged)).plain == forged.text


def test_message_ids_are_new_and_valid() -> None:
    ids = {new_message_id("BÜCHER.example") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"<[a-z2-7]{26}@xn--bcher-kva\.example>", each) for each in ids)
    for bad in ("", "x y", "x>\r\n", "-x"):
        with pytest.raises(ValueError, match="is not a domain"):
            new_message_id(bad)


_SCRIPTS = st.text(
    st.one_of(
        st.characters(min_codepoint=32, max_codepoint=126),
        st.characters(categories=["L", "M", "N", "P", "S", "Zs"]),
        st.sampled_from("éßåЖяעברשלاسلامहिन्दीไทย日本語한국어🫖👩🏽 \t\r\n.=?\x00\x0b\x85"),
    ),
    max_size=300,
)


def _as_text(text: str) -> str:
    """What a body is after the way through mail: line ends are one, controls are gone."""
    text = re.sub("\r\n|\r", "\n", text)
    text = clean_text(re.sub("[\x00-\x08\x0b-\x1f\x7f]", "", text).encode("utf-8", "replace").decode())
    return text.strip("\n").rstrip() if text.strip() else ""


@given(_SCRIPTS, _SCRIPTS, _SCRIPTS, st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_is_composed_reads_back(subject: str, name: str, text: str, octets: bytes, rich: bool) -> None:
    outgoing = replace(
        BASE,
        to=(Address("ben@y.example", name),),
        subject=subject,
        text=text,
        html="<p>x</p>" if rich and text.strip() else None,
        attachments=(OutgoingAttachment(name, "application/x-any", octets),),
    )
    content = compose(outgoing)
    _canonical(content)
    assert content.isascii()
    for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert len(line) <= 78 or len(line.removeprefix(b"Subject:").split()) == 1
    message = parse(content)
    assert message.subject == clean_line(re.sub("[\x00-\x1f\x7f-\x9f]", " ", subject))
    assert [to.name for to in message.to] == [clean_line(name)]
    assert _same_words(message.plain, _as_text(text))
    [attachment] = message.attachments
    assert extract_attachment(content, attachment.part) == octets


def _same_words(found: str, wanted: str) -> bool:
    """Equal but for white space at line ends and blank lines."""
    return [line.rstrip() for line in found.strip().split("\n")] == [
        line.rstrip() for line in wanted.strip().split("\n")
    ]
