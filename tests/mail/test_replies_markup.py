"""Lines of HTML: what mail programs mark as quoted or as a signature, and blockquotes."""

from __future__ import annotations

import time

import pytest

from daimon_mcp.mail.html_render import render_html
from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.replies import Reply, extract_reply, lines_of


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


_HEADER = (
    "<b>From:</b> Nora &lt;nora@example.org&gt;<br><b>Sent:</b> Tuesday, 4 March 2025 18:20<br><b>To:</b> Paul<br>"
)
_NAMES = [
    "class=gmail_quote",
    "class=moz-cite-prefix",
    "class=yahoo_quoted",
    "id=divRplyFwdMsg",
    "id=appendonsend",
    "id=isReplyContent",
    "name=quote",
    "class=gmail_signature",
    "id=Signature",
]


def answer(html: str) -> Reply:
    return extract_reply(render_html(html).lines, is_reply=True)


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize(
    "shape",
    [
        "<p>ok</p><div {0}>Actually NO, do not ship.</div>",
        "<p>ok</p><div {0}></div><p>Actually NO, do not ship.</p>",
        "<div {0}>Actually NO, do not ship.</div><p>ok</p>",
        "<p>ok</p><div {0}>Actually NO, do not ship.<blockquote>Shall we ship on Friday?</blockquote></div>",
        "<p>ok</p><div {0}>Actually NO, do not ship.<div>On 4 Mar 2025 at 18:20, Nora &lt;nora@example.org&gt; wrote:"
        "</div><div>Shall we ship?</div></div>",
        "<p>ok</p><div {0}>Actually NO, do not ship.<div>" + _HEADER + "</div><div>Shall we ship?</div></div>",
        "<p>ok</p><div {0}>Actually NO, do not ship. On 4 Mar 2025 at 18:20, Nora &lt;nora@example.org&gt; wrote:"
        "<div>Shall we ship?</div></div>",
    ],
)
def test_markup_alone_hides_no_words(shape: str, name: str) -> None:
    assert "Actually NO, do not ship." in answer(shape.format(name)).body


@pytest.mark.parametrize(
    "quote",
    [
        "<div class=gmail_quote>On 4 Mar 2025 at 18:20, Nora &lt;nora@example.org&gt; wrote:<br>Shall we ship?</div>",
        "<div class=gmail_quote><blockquote>Shall we ship?</blockquote></div>",
        "<div class=moz-cite-prefix>Am 04.03.25 um 18:20 schrieb Nora:</div><blockquote type=cite>Shall we ship?"
        "</blockquote>",
        "<div id=appendonsend></div><hr><div id=divRplyFwdMsg>" + _HEADER + "</div><div>Shall we ship?</div>",
        "<div class=yahoo_quoted>________________<br>" + _HEADER + "<br>Shall we ship?</div>",
        "<div name=quote>-----Original Message-----<br>Shall we ship?</div>",
    ],
)
def test_markup_around_what_looks_like_a_quote_is_cut(quote: str) -> None:
    assert answer(f"<p>Yes, on Friday.</p>{quote}").body == "Yes, on Friday."


def test_a_signature_in_markup_is_no_longer_than_one() -> None:
    long = "<br>".join(f"Point {number} of the offer" for number in range(13))
    assert answer(f"<p>ok</p><div id=Signature>{long}</div>").body.endswith("Point 12 of the offer")
    short = answer("<p>ok</p><div id=Signature>Nora Tide<br>Head of Tides, Acme Inc.<br>+47 555 01 00</div>")
    assert (short.body, short.signature) == ("ok", "Nora Tide\nHead of Tides, Acme Inc.\n+47 555 01 00")


def test_a_thousand_zones_cost_a_few_searches() -> None:
    lines = [Line("From: a <a@b.example> 1.1.2025:", zone="quote" if number % 2 else "") for number in range(8_000)]
    started = time.process_time()
    extract_reply(lines, is_reply=True)
    assert time.process_time() - started < 2
