"""Lines of HTML: what mail programs mark as quoted or as a signature, and blockquotes."""

from __future__ import annotations

from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.replies import extract_reply, lines_of


def marked(*texts: str) -> list[Line]:
    return [Line(text, zone="quote") for text in texts]


_ATTRIBUTION = "On 4 Mar 2025 at 18:20, Nora <nora@example.org> wrote:"


def test_what_markup_quotes_is_cut() -> None:
    lines = [Line("Yes."), Line(""), *marked(_ATTRIBUTION), Line("Tuesday?", 1, "quote")]
    for is_reply in (True, False):
        found = extract_reply(lines, is_reply=is_reply)
        assert (found.body, found.quoted, found.rule) == ("Yes.", f"{_ATTRIBUTION}\n> Tuesday?", "markup")


def test_markup_without_blockquotes_is_quoted_as_a_whole() -> None:
    lines = [Line("Yes."), *marked("From: Nora", "Sent: Tuesday", "", "Tuesday?", "Nora")]
    found = extract_reply(lines, is_reply=True)
    assert (found.body, found.rule) == ("Yes.", "markup")
    assert found.quoted == "From: Nora\nSent: Tuesday\n\nTuesday?\nNora"
    assert extract_reply(lines, is_reply=False).body.startswith("Yes.\nFrom: Nora")


def test_an_answer_below_the_blockquote_inside_markup_is_the_body() -> None:
    lines = [*marked(_ATTRIBUTION), Line("Tuesday?", 1, "quote"), Line("", 0, "quote"), *marked("Yes.")]
    found = extract_reply(lines, is_reply=True)
    assert found.body == "Yes."
    assert "Tuesday?" in found.quoted


def test_answers_between_blockquotes_inside_markup_are_kept() -> None:
    lines = [
        *marked(_ATTRIBUTION),
        Line("Tuesday?", 1, "quote"),
        *marked("Yes."),
        Line("Nine?", 1, "quote"),
        *marked("Ten."),
    ]
    found = extract_reply(lines, is_reply=True)
    assert found.rule == "kept_inline"
    assert found.body == f"{_ATTRIBUTION}\n> Tuesday?\nYes.\n> Nine?\nTen."


def test_markup_around_a_whole_mail_is_no_quote() -> None:
    lines = marked("Dear Paul,", "", "this is all there is.")
    found = extract_reply(lines, is_reply=True)
    assert (found.body, found.quoted) == ("Dear Paul,\n\nthis is all there is.", "")


def test_a_forward_in_markup_is_kept() -> None:
    lines = [
        Line("FYI"),
        *marked("---------- Forwarded message ---------", "From: Nora <nora@example.org>", "", "Hello"),
    ]
    found = extract_reply(lines, is_reply=True)
    assert (found.rule, found.quoted) == ("kept_forward", "")
    assert found.forwarded is not None
    assert found.forwarded.body == "Hello"


def test_a_signature_in_markup_is_set_apart() -> None:
    lines = [Line("Yes."), Line(""), Line("-- "), Line("Nora", zone="signature"), Line("Tides", zone="signature")]
    found = extract_reply(lines, is_reply=True)
    assert (found.body, found.signature) == ("Yes.", "--\nNora\nTides")
    assert extract_reply(lines, is_reply=False).signature == ""


def test_a_blockquote_at_the_end_is_cut_and_a_quoted_command_is_not() -> None:
    assert extract_reply([Line("Yes."), Line("Tuesday?", 1)], is_reply=True).body == "Yes."
    assert extract_reply([Line("Run this:"), Line("make all", 1)], is_reply=True).body == "Run this:\n> make all"


def test_a_signature_below_a_blockquote_does_not_make_it_an_inline_answer() -> None:
    lines = [Line("Yes."), Line("Tuesday?", 1), Line("Nora"), Line("+47 555 01 00")]
    assert extract_reply(lines, is_reply=True).body == "Yes.\n\nNora\n+47 555 01 00"


def test_lines_of_plain_text() -> None:
    lines = lines_of("a\r\n> b\n>> c\n> > d\n   > e\n>\n\nf > g")
    assert [(line.quoted, line.text) for line in lines] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (2, "d"),
        (1, "e"),
        (1, ""),
        (0, ""),
        (0, "f > g"),
    ]


def test_the_tail_of_a_giant_text_is_one_line() -> None:
    lines = lines_of("word\n" * 100_000)
    assert sum(line.text.count("word") for line in lines) == 100_000
    assert lines[-1].text.count("word") > 1
