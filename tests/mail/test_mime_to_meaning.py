"""What the parts of a message mean to its reader: body or file, in which charset, under which name."""

from __future__ import annotations

import base64

import pytest

from daimon_mcp.mail.parse import ParsedMessage, parse

_RUSSIAN = "Здравствуйте, отчёт за октябрь готов. Посмотрите его до пятницы, пожалуйста.\r\n" * 5


def _multipart(kind: bytes, *parts: bytes, head: bytes = b"") -> ParsedMessage:
    body = b"".join(b"--zz\r\n" + part + b"\r\n" for part in parts)
    return parse(b"Content-Type: multipart/" + kind + b"; boundary=zz\r\n" + head + b"\r\n" + body + b"--zz--\r\n")


def _names(message: ParsedMessage) -> list[str]:
    return [each.filename for each in message.attachments]


_TEXT = b"Content-Type: text/plain\r\n\r\nwords"
_HTML = b"Content-Type: text/html\r\n\r\n<p>words</p>"


@pytest.mark.parametrize(
    "kind", [b"application/pgp-signature; name=s.asc", b"application/pkcs7-signature", b"application/x-pkcs7-signature"]
)
def test_a_detached_signature_is_no_file(kind: bytes) -> None:
    signature = b"Content-Type: " + kind + b"\r\n\r\nxx"
    assert _multipart(b"signed", _TEXT, signature).attachments == ()
    assert len(_multipart(b"mixed", _TEXT, signature).attachments) == 1


def test_an_alternative_for_watches_is_no_file() -> None:
    amp = b"Content-Type: text/x-amp-html\r\n\r\n<html amp4email>"
    assert _multipart(b"alternative", _TEXT, amp, _HTML).attachments == ()
    assert len(_multipart(b"mixed", _TEXT, amp).attachments) == 1


@pytest.mark.parametrize(
    ("part", "warning"),
    [
        (b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\nx", "a TNEF file (winmail.dat) was not opened"),
        (
            b"Content-Type: application/octet-stream; name=WINMAIL.DAT\r\n\r\nx",
            "a TNEF file (winmail.dat) was not opened",
        ),
        (b"Content-Type: message/partial; id=a; number=1\r\n\r\nx", "the message is one piece of a longer one"),
        (b"Content-Type: message/external-body\r\n\r\nx", "a part of the message is kept elsewhere"),
        (b"Content-Type: application/pkcs7-mime\r\n\r\nx", "the message is encrypted or signed as a whole"),
    ],
)
def test_what_stays_closed_is_a_file_and_is_said(part: bytes, warning: str) -> None:
    message = _multipart(b"mixed", _TEXT, part)
    assert message.text == "words"
    assert len(message.attachments) == 1
    assert message.warnings == (warning,)


def test_a_body_with_a_name_is_still_the_body_if_it_is_all_there_is() -> None:
    message = parse(b"Content-Type: text/html; name=mail.html\r\n\r\n<p>words</p>")
    assert (message.text, message.attachments) == ("words", ())
    file = parse(b"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: inline\r\n\r\nwords")
    assert _names(file) == ["a.txt"]


def test_an_encoded_message_is_a_file_named_by_its_subject() -> None:
    inner = base64.encodebytes(b"From: a@x.example\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n\r\nwords")
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert _names(_multipart(b"mixed", _TEXT, head + inner)) == ["Café.eml"]


def test_headers_in_raw_octets_are_in_the_charset_of_the_text() -> None:
    words = "Привет".encode("koi8-r")
    message = _multipart(
        b"mixed",
        b"Content-Type: text/plain; charset=koi8-r\r\n\r\n" + words,
        b'Content-Type: application/pdf; name="' + words + b'.pdf"\r\n\r\nx',
        head=b"Subject: " + words + b"\r\nFrom: " + words + b" <a@x.example>\r\n",
    )
    assert (message.subject, message.text, _names(message)) == ("Привет", "Привет", ["Привет.pdf"])
    assert message.from_ is not None
    assert message.from_.name == "Привет"


def test_a_recognised_charset_holds_for_the_headers_too() -> None:
    for charset in ("koi8-r", "cp1251"):
        message = parse(b"Subject: " + "Отчёт".encode(charset) + b"\r\n\r\n" + _RUSSIAN.encode(charset))
        assert message.subject == "Отчёт"
        assert message.text.startswith("Здравствуйте, отчёт")
        assert message.warnings == ("8-bit text without a charset",)


def test_an_encoded_word_tells_the_charset_of_text_without_one() -> None:
    content = b"Subject: =?koi8-r?b?8NLJ18XU?=\r\nContent-Type: text/plain\r\n\r\n" + "Привет".encode("koi8-r")
    assert parse(content).text == "Привет"


@pytest.mark.parametrize("label", [b"", b"; charset=us-ascii", b"; charset=x-unknown"])
def test_html_may_name_its_charset_itself(label: bytes) -> None:
    html = b'<meta http-equiv="content-type" content="text/html; charset=windows-1251"><p>' + "Привет".encode("cp1251")
    assert parse(b"Content-Type: text/html" + label + b"\r\n\r\n" + html).text == "Привет"


def test_the_header_wins_over_the_html() -> None:
    html = b'<meta charset="windows-1251"><p>' + "Привет".encode("koi8-r")
    assert parse(b"Content-Type: text/html; charset=koi8-r\r\n\r\n" + html).text == "Привет"


def test_yenc_is_left_as_text() -> None:
    message = parse(b"Subject: t\r\n\r\n=ybegin line=128 size=1 name=a.bin\r\nk\r\n=yend size=1\r\n")
    assert message.text.startswith("=ybegin")
    assert message.attachments == ()


def test_words_that_look_like_uuencode_stay_words() -> None:
    message = parse(b"Subject: t\r\n\r\nbegin 644 of them\r\nwith this, and\r\nend\r\n")
    assert (message.text.count("\n"), message.attachments) == (2, ())


def test_a_message_with_carriage_returns_alone() -> None:
    content = (
        b"Subject: old\rContent-Type: multipart/mixed; boundary=zz\r\r--zz\r"
        b"Content-Transfer-Encoding: quoted-printable\r\rone=\r two\rthree\r--zz--\r"
    )
    message = parse(content)
    assert (message.subject, message.text) == ("old", "one two\nthree")
    assert content[: message.header_length].endswith(b"\r\r")
