"""Whatever the text: nothing raises, no word is lost, and the work grows with the size of the text alone."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.replies import Reply, extract_reply, lines_of

_PIECES = [
    "On 4 Mar 2025, Nora <nora@example.org> wrote:",
    "Fine.On 4 Mar 2025, Nora <nora@example.org> wrote:",
    "On 4 Mar 2025 Nora <nora@example.org",
    "> wrote:",
    "> quoted",
    ">> deeper",
    ">",
    "",
    "prose",
    "Prose that ends with a colon:",
    "From: Nora <nora@example.org>",
    "Sent: 4 March 2025 18:20",
    "Subject: x",
    "-----Original Message-----",
    "---------- Forwarded message ----------",
    "-- ",
    "--",
    "Sent from my iPhone",
    "This message is confidential and intended only for the addressee.",
    "Reply above this line",
    "| bar",
    "\u200b",
    "\u1427",
    "rejected your message nora@example.org",
]
_texts = st.one_of(
    st.text(max_size=400),
    st.lists(st.one_of(st.sampled_from(_PIECES), st.text(alphabet="a:>@<-_ 1.\n", max_size=20)), max_size=25).map(
        "\n".join
    ),
)
_lines = st.lists(
    st.builds(
        Line,
        st.one_of(st.sampled_from(_PIECES), st.text(max_size=30)),
        st.integers(0, 3),
        st.sampled_from(["", "", "quote", "signature"]),
    ),
    max_size=20,
).map(tuple)


def _characters(text: str) -> Counter[str]:
    return Counter(character for character in text if not character.isspace() and character != ">")


def _all(found: Reply) -> str:
    return f"{found.body} {found.quoted} {found.signature}"


@given(_texts, st.booleans(), st.booleans())
def test_no_text_raises_and_no_word_is_lost(text: str, is_reply: bool, bulk: bool) -> None:
    found = extract_reply(lines_of(text), is_reply=is_reply, bulk=bulk)
    assert _characters(_all(found)) == _characters(text)
    assert 0 <= found.confidence <= 1


@given(_lines, st.booleans(), st.booleans())
def test_no_lines_raise_and_no_word_is_lost(lines: tuple[Line, ...], is_reply: bool, bulk: bool) -> None:
    found = extract_reply(lines, is_reply=is_reply, bulk=bulk)
    assert _characters(_all(found)) == _characters(" ".join(line.text for line in lines))


@given(_texts)
def test_a_mail_that_answers_none_keeps_its_words_unless_a_quote_was_announced(text: str) -> None:
    found = extract_reply(lines_of(text), is_reply=False)
    if found.rule not in ("attribution", "markup"):
        assert (found.quoted, found.signature) == ("", "")


@given(st.text(alphabet="abc \n", max_size=200))
def test_plain_prose_is_given_back(text: str) -> None:
    found = extract_reply(lines_of(text), is_reply=True)
    assert (found.body.split(), found.rule) == (text.split(), "none")


@pytest.mark.parametrize(
    "text",
    [
        "Yes.\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n> a\n> b\n\n-- \nNora",
        "Yes.\n\n-----Original Message-----\nFrom: Nora <nora@example.org>\n\na",
        "Hello,\n\nwe meet on Tuesday.\n\nSent from my iPhone",
    ],
)
def test_a_body_is_its_own_body(text: str) -> None:
    body = extract_reply(lines_of(text), is_reply=True).body
    assert extract_reply(lines_of(body), is_reply=True).body == body


_ATTRIBUTION = "On 1.1.2025 A <a@b.c> wrote:"
_SHAPES = {
    "one line": "On a b ",
    "one line of dates": "On 1.1.2025 ",
    "spaces": " ",
    "newlines": "\n",
    "carriage returns": "\r",
    "dashes": "-",
    "lines of dashes": "--\n",
    "dashed words": "--a b--\n",
    "long lines of dashes": "-" * 590 + ".\n",
    "long lines of dashes around a word": "-" * 79 + "a" + "-" * 510 + "\n",
    "long lines of words between dashes": "--a " * 147 + "\n",
    "long lines of attributions": "On 1 <a@b> a" * 49 + " wrote:\n",
    "short lines of labels": "From: a From: a From: a wrote:\n",
    "quote marks": ">",
    "spaced quote marks": "> ",
    "quoted lines": "> a\n",
    "empty quoted lines": ">\n",
    "From:": "From: a@b.c\n",
    "labels": "a: 1.1.2025 <a@b.c>\n",
    "dashed labels": "--a--\nFrom: a@b.c\n",
    "From: on one line": "From: ",
    "colons": ":",
    "lines with colons": "a@b 1.1.2025:\n",
    "open attributions": "On 1.1.2025 A <a@b.c\n",
    "attributions": f"{_ATTRIBUTION}\n",
    "glued attributions": f"a.{_ATTRIBUTION}",
    "glued attributions without end": "a.On 1 <",
    "quotes and attributions": f"{_ATTRIBUTION}\n> a\n\n",
    "digits": "1",
    "figures": "1.1.2025 ",
    "Persian digits": "۱",
    "quotes and prose": "> a\nb\n\n",
    "addresses": "<a@",
    "at signs": "@",
    "brackets": "<",
    "forwarded": "forward message:\n",
    "bounces": "rejected your message a@b\n",
    "taglines": "Sent from my a\n\n",
    "disclaimers": "confidential intended recipient\n\n",
    "one disclaimer": "this message is confidential ",
    "entities": "&lt;",
    "bars": "| a\n",
    "bidirectional marks": "\u200f",
    "letters": "a",
}


@pytest.mark.parametrize("piece", _SHAPES.values(), ids=_SHAPES.keys())
def test_the_time_is_linear(piece: str) -> None:
    def spent(size: int) -> float:
        text = piece * (size // len(piece))
        started = time.process_time()
        extract_reply(lines_of(text), is_reply=True)
        return time.process_time() - started

    # Tens of milliseconds where it was measured; what is quadratic takes minutes. The slack is for a slow machine.
    assert spent(160_000) < 2
    assert spent(5_000_000) < 5
