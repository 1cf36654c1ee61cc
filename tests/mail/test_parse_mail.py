"""Bytes to meaning: what clients really send, and everything that is broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.address_headers import MAX_ADDRESSES
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.parse import ParsedMessage, extract_attachment, parse, parse_headers
from daimon_mcp.mail.seen import MAX_HTML, MAX_TEXT
from daimon_mcp.mail.transfer import decode_transfer, decode_uuencode

Mail = Callable[[str], bytes]
_MESSAGES = [path.read_bytes() for path in sorted((Path(__file__).resolve().parent.parent / "corpus").glob("*.eml"))]


def _text_mail(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"From: a@x.example", b"Subject: t", *headers, b"", body])


def _consistent(content: bytes, message: ParsedMessage) -> None:
    """What must hold for any message, however broken."""
    json.dumps([message.envelope, message.structure, message.links, message.headers]).encode()
    for text in (message.text, message.reply_body, message.preview, message.subject, message.html or ""):
        assert "\x00" not in text
        text.encode()
    assert 0 <= message.header_length <= len(content)
    assert bool(message.reply_body) == bool(message.text)
    assert len(message.text) <= MAX_TEXT
    assert len(message.preview) <= 200
    for attachment in message.attachments:
        octets = extract_attachment(content, attachment.part)
        assert len(octets) == attachment.size
        assert hashlib.sha256(octets).hexdigest() == attachment.sha256
        assert attachment.offset >= 0
        assert attachment.offset + attachment.length <= len(content)
        assert "/" not in attachment.filename
        assert "\\" not in attachment.filename
        assert attachment.filename not in {"", ".", ".."}


def test_reply_of_gmail(mail: Mail) -> None:
    message = parse(mail("gmail_reply"))
    assert message.from_ == Address("ann.lee@gmail.example", "Ann Lee")
    assert message.to == (Address("scout@agents.example", "Scout"),)
    assert message.cc == (Address("ben@venues.example", "Okafor, Ben"),)
    assert message.message_id == "<CAF+5w=K8@mail.gmail.example>"
    assert message.in_reply_to == ("<q2@agents.example>",)
    assert message.references == ("<q1@agents.example>", "<q2@agents.example>")
    assert message.date == 1_794_823_509_000_000
    assert message.reply_body == "Thursday works, and the café next door is open until six.\n\nAnn"
    assert message.preview == "Thursday works, and the café next door is open until six. Ann"
    assert "> Could we hold it on Thursday?" in message.text
    assert message.html is not None
    assert message.html.startswith('<div dir="ltr">')
    assert (message.kind, message.is_auto, message.warnings) == ("human", False, ())
    assert message.est_tokens == -(-len(message.reply_body) // 4)  # what is read of it


def test_reply_of_outlook_in_html_alone(mail: Mail) -> None:
    message = parse(mail("outlook_reply"))
    assert message.reply_body == "Hello Scout,\n\nThe price is £840 for the evening.\n\nBen"
    assert "What would it cost for 40 people?" in message.text
    assert "MsoNormal" not in message.text
    [quote] = message.attachments
    assert (quote.part, quote.filename, quote.content_type, quote.size) == (
        "2",
        "Quote £840.pdf",
        "application/pdf",
        16,
    )


def test_apple_mail_puts_text_between_pictures(mail: Mail) -> None:
    message = parse(mail("apple_mail_parts"))
    assert message.text == "Before the picture.\n\nAfter it — all good.\n\nAnd HTML with"
    assert message.from_ == Address("zoe@apple.example", "Zoë Martínez")
    assert [(a.part, a.filename, a.disposition, a.content_id) for a in message.attachments] == [
        ("2", "IMG 0001.jpg", "inline", None),
        ("4.2", "part-4.2.png", "inline", "logo@apple.example"),
    ]


def test_newsletter_shows_what_a_person_sees(mail: Mail) -> None:
    message = parse(mail("html_newsletter"))
    assert message.subject == "☕ Fresh this week: Kenya AA"
    assert message.text == (
        "Kenya AA is here\n\nBright & juicy. Order a bag [1]\n\n- Filter\n- Espresso\n\n"
        "See https://bean.example [2] Run"
    )
    first = message.links[0]
    assert (first["n"], first["text"], first["same_site"]) == (1, "Order a bag", True)
    assert first["url"] == "https://bean.example/buy?id=7&src=mail"
    assert [link["url"] for link in message.links[1:]] == ["https://bean.example/"]
    assert message.kind == "newsletter"
    assert message.is_auto
    assert message.reply_to == (Address("hello@bean.example"),)


def test_invitation(mail: Mail) -> None:
    message = parse(mail("calendar_invite"))
    assert message.kind == "invite"
    assert message.text == "You have been invited: Planning, Friday 15:00."
    assert [(a.part, a.content_type) for a in message.attachments] == [
        ("1.2", "text/calendar"),
        ("2", "application/ics"),
    ]


def test_bounce_and_out_of_office_are_automatic(mail: Mail) -> None:
    bounce = parse(mail("postfix_bounce"))
    assert (bounce.kind, bounce.is_auto) == ("bounce", True)
    assert bounce.text.startswith("I'm sorry to have to inform you")
    away = parse(mail("out_of_office"))
    assert (away.kind, away.is_auto) == ("auto_reply", True)


@pytest.mark.parametrize(
    ("headers", "kind", "automatic"),
    [
        ([b"Auto-Submitted: no"], "human", False),
        ([b"Auto-Submitted: auto-generated; type=x"], "notification", True),
        ([b"Precedence: junk"], "newsletter", True),
        ([b"List-Id: <l.x.example>", b"List-Post: <mailto:l@x.example>"], "human", True),
        ([b"Return-Path: <>"], "human", True),
        ([], "human", False),
    ],
)
def test_kinds_come_from_headers(headers: list[bytes], kind: str, automatic: bool) -> None:
    message = parse(_text_mail(b"x", *headers))
    assert (message.kind, message.is_auto) == (kind, automatic)


def test_unknown_charset_is_read_and_said(mail: Mail) -> None:
    message = parse(mail("mislabelled_charset"))
    assert message.subject == "Grüße aus Köln"
    assert message.text == "Die Frösche grüßen für 5 €."
    assert message.from_ == Address("juergen@alt.example", "Jürgen")
    assert message.warnings == ("unknown charset",)


def test_valid_utf8_wins_over_a_label(mail: Mail) -> None:
    message = parse(mail("utf8_called_ascii"))
    assert message.text == "Naïve, but readable: 日本語."
    assert message.subject == "naïve"
    assert message.from_ == Address("cafe@x.example", "Café")


def test_stateful_charset_and_attribution_without_a_verb(mail: Mail) -> None:
    message = parse(mail("japanese_reply"))
    assert message.subject == "Re: 会議"
    assert message.from_ == Address("taro@jp.example", "山田 太郎")
    assert message.reply_body.startswith("了解しました。")
    assert "会議は明日です" not in message.reply_body


def test_nested_message_stays_closed(mail: Mail) -> None:
    content = mail("nested_message")
    message = parse(content)
    assert message.text == "See the attached mail."
    assert [(a.part, a.filename) for a in message.attachments] == [
        ("2", "Inner subject.eml"),
        ("3.1", "One.eml"),
        ("3.2", "Two.eml"),
    ]
    inner = extract_attachment(content, "2")
    assert (parse(inner).text, parse(inner).plain) == ("Inner html", "Inner plain")
    assert extract_attachment(content, "2.1") == b"Inner plain"


def test_uuencoded_file_leaves_the_text(mail: Mail) -> None:
    content = mail("uuencoded")
    message = parse(content)
    assert "begin 644" not in message.text
    assert message.text.startswith("Here it is:")
    assert message.text.endswith("Regards")
    [notes] = message.attachments
    assert (notes.part, notes.filename) == ("1/uu1", "notes.txt")
    assert extract_attachment(content, "1/uu1") == b"Hello, binary!\n"
    assert decode_uuencode(content[notes.offset : notes.offset + notes.length])[0] == b"Hello, binary!\n"


def test_no_headers_at_all(mail: Mail) -> None:
    message = parse(mail("no_headers"))
    assert message.header_length == 0
    assert message.from_ is None
    assert message.text.startswith("Just words, no header at all.")


def test_boundary_that_never_comes_loses_no_words(mail: Mail) -> None:
    message = parse(mail("broken_boundary"))
    assert "The words are still here." in message.text
    assert "a multipart names a boundary that does not occur" in message.warnings


def test_unterminated_multipart_and_hostile_file_name(mail: Mail) -> None:
    message = parse(mail("unterminated_multipart"))
    assert message.text == "The first part is whole."
    assert message.message_id == "<cut-1@x.example>"
    assert [a.filename for a in message.attachments] == ["wd_gpj.zip"]
    assert "a multipart has no end" in message.warnings


def test_quote_is_cut_from_replies_only() -> None:
    body = b"News\r\n\r\nOn Monday, Ann wrote:\r\n> Old"
    assert parse(_text_mail(body)).reply_body == "News\n\nOn Monday, Ann wrote:\n> Old"
    assert parse(_text_mail(body, b"In-Reply-To: <p@x>")).reply_body == "News"
    assert parse(b"Subject: SV: t\r\n\r\n" + body).reply_body == "News"


@pytest.mark.parametrize(
    "body",
    [
        "On Monday, Ann wrote:\r\n> only a quote",
        "> Is it red?\r\nYes.\r\n> And round?\r\nNo.",
        "On Monday, Ann wrote:\r\n> Is it red?\r\nYes.\r\n> And round?\r\nNo.",
    ],
)
def test_answers_between_quotes_and_bare_quotes_are_kept_whole(body: str) -> None:
    message = parse(_text_mail(body.encode(), b"In-Reply-To: <p@x>"))
    assert message.reply_body == message.text == body.replace("\r\n", "\n")


@pytest.mark.parametrize(
    "quote",
    [
        "-----Original Message-----\r\nFrom: Ann\r\nOld",
        "________________________________\r\nFrom: Ann <a@x>\r\nSent: Monday\r\nTo: B\r\nSubject: t\r\n\r\nOld",
        "On Mon, 16 Nov 2026 at 10:41, A Very Long Name Indeed\r\n<ann@x.example> wrote:\r\n\r\nOld without marks",
        "Am Mo., 16. Nov. 2026 um 10:41 Uhr schrieb Ann:\r\n> Old",
    ],
)
def test_quotes_of_clients_are_cut(quote: str) -> None:
    message = parse(_text_mail(f"New words.\r\n\r\n{quote}".encode(), b"In-Reply-To: <p@x>"))
    assert message.reply_body == "New words."


def test_invisible_and_bidirectional_characters_go() -> None:
    body = "pay\u200b \u202eevil\u202c \u2066x\u2069 \U000e0041 \x1b[31mred\x00 نمی\u200cخواهم 👩\u200d💻"
    message = parse(_text_mail(body.encode(), b"Content-Type: text/plain; charset=utf-8"))
    assert message.text == "pay evil x  [31mred نمی\u200cخواهم 👩\u200d💻"


def test_links_of_plain_text() -> None:
    message = parse(_text_mail(b"See https://x.example/a?b=1. And (https://y.example/), https://x.example/a?b=1!"))
    assert [link["url"] for link in message.links] == ["https://x.example/a?b=1", "https://y.example/"]


def test_empty_plain_alternative_falls_back_to_html() -> None:
    content = _text_mail(
        b"--b\r\nContent-Type: text/plain\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Shown</p>\r\n--b--\r\n",
        b"Content-Type: multipart/alternative; boundary=b",
    )
    assert parse(content).text == "Shown"


def test_long_bodies_are_cut_with_a_warning() -> None:
    message = parse(_text_mail(b"x" * (MAX_TEXT + 5)))
    assert len(message.text) == MAX_TEXT
    assert message.warnings == ("text was cut",)
    html = parse(_text_mail(b"<p>" + b"y" * (MAX_HTML + 5), b"Content-Type: text/html"))
    assert len(html.html or "") == MAX_HTML
    assert "html was cut" in html.warnings


def test_header_length_ends_after_the_blank_line(mail: Mail) -> None:
    content = mail("gmail_reply")
    length = parse(content).header_length
    assert content[:length].endswith(b"\r\n\r\n")
    assert content[length:].startswith(b"--0000000000008f1c2d06")


def test_headers_alone(mail: Mail) -> None:
    content = mail("apple_mail_parts")
    assert parse_headers(content) == parse(content).headers
    assert ("From", "Zoë Martínez <zoe@apple.example>") in parse_headers(content[:200])


def test_extract_attachment_without_such_a_part(mail: Mail) -> None:
    for part in ("9", "", "1/uu2", "1/uux"):
        with pytest.raises(KeyError):
            extract_attachment(mail("uuencoded"), part)


def test_every_message_of_the_corpus_is_consistent(corpus: dict[str, bytes]) -> None:
    for content in corpus.values():
        for variant in (content, content.replace(b"\r\n", b"\n"), content[: len(content) // 2]):
            _consistent(variant, parse(variant))


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_bytes(content: bytes) -> None:
    _consistent(content, parse(content))


_FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"\n\n",
        b"--b",
        b"--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/digest; boundary=\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/html; charset=utf-7\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Disposition: attachment; filename*0*=x''%ff; filename*1=\"..\"\r\n",
        b'To: g: a@b, "c\\" <@r:d@e>;, (x\r\n',
        b"Subject: =?utf-16?b?2AA=?= =?zip?q?=00?=\r\n",
        b"Date: Mon, 99 Foo 99999 99:99:99 +9999\r\n",
        b"In-Reply-To: <\r\n <a b@c>\r\n",
        b"On Monday, x wrote:\n>",
        b"begin 644 ../x\nM'\n\nend\n",
        b"<div style='display:none'><a href=\"http://x",
        b"\xff\xfe\x00",
        b"=",
        b" ",
    ]
)


@given(st.lists(_FRAGMENTS | st.binary(max_size=8), max_size=40).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_any_mix_of_mail_syntax(content: bytes) -> None:
    _consistent(content, parse(content))


@given(
    st.sampled_from(_MESSAGES),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 60), _FRAGMENTS | st.binary(max_size=20)), min_size=1, max_size=6
    ),
)
@settings(max_examples=300, deadline=None)
def test_mutated_mail(content: bytes, cuts: list[tuple[float, int, bytes]]) -> None:
    for where, length, inserted in cuts:
        position = int(where * len(content))
        content = content[:position] + inserted + content[position + length :]
    _consistent(content, parse(content))


def test_ranges_decode_to_the_attachment(corpus: dict[str, bytes]) -> None:
    seen = 0
    for content in corpus.values():
        for attachment in parse(content).attachments:
            raw = content[attachment.offset : attachment.offset + attachment.length]
            octets = extract_attachment(content, attachment.part)
            encodings = ("base64", "7bit", "x-uuencode")
            assert any(decode_transfer(raw, encoding)[0] == octets for encoding in encodings)
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize("name", ["To", "Cc", "Reply-To"])
def test_a_field_names_no_more_than_so_many_however_it_is_spread(name: str) -> None:
    field = f"{name}: ".encode() + b"a@x.example, " * 700 + b"\r\n"
    for content in (field * 3, f"{name}: ".encode() + b"a@x.example, " * 3000 + b"\r\n"):
        message = parse(content + b"\r\nbody")
        people = {"To": message.to, "Cc": message.cc, "Reply-To": message.reply_to}[name]
        assert len(people) == MAX_ADDRESSES
        assert message.warnings == ("too many addresses",)


def test_as_many_as_are_kept_are_no_cause_for_a_warning() -> None:
    message = parse(b"To: " + b"a@x.example, " * MAX_ADDRESSES + b"\r\nCc: b@x.example\r\n\r\nbody")
    assert len(message.to) == MAX_ADDRESSES
    assert message.warnings == ()
