"""What a reply quotes is cut off at the attribution, the header block or the divider above it, and near misses stay."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.replies import Reply, extract_reply, lines_of


def reply(text: str, *, is_reply: bool = True, bulk: bool = False) -> Reply:
    return extract_reply(lines_of(text), is_reply=is_reply, bulk=bulk)


_QUOTE = "> Shall we meet on Tuesday?\n>\n> Nora"
_FLAT = "Shall we meet on Tuesday?\n\nNora"


@pytest.mark.parametrize(
    "attribution",
    [
        "On Tue, 4 Mar 2025 at 18:20, Nora Lind <nora@example.org> wrote:",
        "On Tue, 4 Mar 2025 at 18:20, Nora Lind <\nnora@example.org> wrote:",
        "On Tue, 4 Mar 2025 at 18:20, Nora Lind\n<nora@example.org>\nwrote:",
        "On 4 Mar 2025, Nora <nora@example.org\n> wrote:",
        "On 4 Mar 2025 at 18:20\n\n<\nmailto:Nora <nora@example.org>\n> wrote:",
        "--- On Tue, 3/4/25, nora@example.org <nora@example.org> wrote:",
        "---- On Tue, 04 Mar 2025 18:20:11 +0100 Nora Lind <nora@example.org> wrote ----",
        "Nora Lind <nora@example.org> wrote:",
        "2025-03-04 18:20 GMT+01:00 Nora Lind <nora@example.org>:",
        "2025/3/4 Nora Lind <nora@example.org>",
        "On 3/4/25 6:20 PM, Nora Lind wrote:",
        "Nora Lind (nora@example.org) on 4 March 2025 at 18.20:",
        "____________________\nOn Tue, 4 Mar 2025 at 18:20, Nora Lind <nora@example.org> wrote:",
        "On 4 Mar 2025, at 18:20, Nora &lt;nora@example.org&gt; wrote:",
    ],
)
@pytest.mark.parametrize("space", ["\n", "\n\n"])
def test_an_attribution_above_a_quote_is_cut_with_it(attribution: str, space: str) -> None:
    found = reply(f"Tuesday is fine.\n\n{attribution}{space}{_QUOTE}")
    assert found.body == "Tuesday is fine."
    assert found.rule == "attribution"
    assert "Shall we meet" in found.quoted
    assert found.confidence >= 0.85


@pytest.mark.parametrize(
    "attribution",
    [
        "On Tue, 4 Mar 2025 at 18:20, Nora Lind <nora@example.org> wrote:",
        "On 3/4/25 6:20 PM, Nora Lind wrote:",
        "04.03.2025, 18:20, Nora Lind <nora@example.org>:",
        "Nora Lind <nora@example.org> schrieb:",
        "4 March 2025 18:20 Nora Lind <nora@example.org>",
    ],
)
def test_an_attribution_is_known_without_quote_marks_below(attribution: str) -> None:
    found = reply(f"Tuesday is fine.\n\n{attribution}\n\n{_FLAT}")
    assert found.body == "Tuesday is fine."
    assert found.quoted == f"{attribution}\n\n{_FLAT}"


@pytest.mark.parametrize(
    "text",
    [
        "For anything urgent write to <nora@example.org>:\nshe answers at once.",
        "On 2025-06-01 at 14:30 we ship.\nSee you then.",
        "On Monday the invoices were sent:\n- one\n- two",
        "Yesterday Nora wrote the report and sent it around.",
        "As the poet wrote:\n\nRoses are red.",
        "Next steps:\nShip it and tell support.",
        "Here are some times:\n\n2025-01-15 14:30:25\n15.01.2024 14:30\n\nPick one.",
        "On the one hand it works.\nOn the other hand it is slow.",
        "We met on 3 May 2025 and agreed on this:\n\nNo more meetings.",
        "Von: allem etwas\n\nund noch mehr",
        "From: the whole team, thank you!",
        "Invitation:\n\nDate: Wednesday 3 October 2025\nTime: 7:00\nPlace: 13 Fox Street\n\nBring your papers.",
        "To: do\nSubject: mathematics\n\nThat is all.",
        "This is the -- best -- of it.\n\n- first\n- second",
        "---- Part 2 ----\n\nMore of it.",
        "Run this:\n> make all",
        "I begin forwarding messages: tomorrow.",
        "Answer above. The line below this line stays.",
    ],
)
def test_what_only_resembles_a_quote_stays(text: str) -> None:
    found = reply(text)
    assert found.body == text
    assert (found.quoted, found.signature) == ("", "")


@pytest.mark.parametrize(
    "block",
    [
        "From: Nora Lind <nora@example.org>\nSent: Tuesday, March 4, 2025 6:20 PM\nTo: Paul\nSubject: Meeting",
        "*From:* Nora Lind [mailto:nora@example.org]\n*Sent:* Tuesday\n*To:* p@example.org\n*Subject:* Meeting",
        "________________________________\nFrom: Nora <nora@example.org>\nSubject: Meeting",
        "From: Nora Lind\nSent: Tuesday, March 4, 2025 6:20 PM\nSubject: Meeting",
        "Date: Tue, 4 Mar 2025 18:20:11 +0100\nTo: paul@example.org",
        "From: nora@example.org Date: Tue, 4 Mar 2025 18:20:11 +0100",
        "From: Nora <nora@example.org>\nDate: 4 Mar 2025\nSubject: A long one that\nwas folded\nTo: paul@example.org",
        "-----Original Message-----\nFrom: Nora <nora@example.org>",
        "-------- Original message --------From: Nora <nora@example.org> Date: 2025-03-04 6:20 a.m.",
        "-- REPLY ABOVE THIS LINE --",
        "##- Please type your reply above this line -##",
    ],
)
def test_a_header_block_or_a_divider_ends_the_reply(block: str) -> None:
    found = reply(f"Tuesday is fine.\n\n{block}\n\n{_FLAT}")
    assert found.body == "Tuesday is fine."
    assert found.quoted == f"{block}\n\n{_FLAT}"
    assert found.rule in ("header_block", "original_divider")


def test_a_quote_that_nothing_announces_is_cut_at_the_end() -> None:
    found = reply(f"Tuesday is fine.\n\n{_QUOTE}")
    assert (found.body, found.quoted, found.rule) == ("Tuesday is fine.", _QUOTE, "quote_tail")


def test_an_answer_below_the_quote_is_the_body() -> None:
    found = reply(f"On 4 Mar 2025, Nora <nora@example.org> wrote:\n{_QUOTE}\n\nTuesday is fine.")
    assert (found.body, found.rule) == ("Tuesday is fine.", "attribution")


def test_words_above_and_below_the_quote_are_the_body() -> None:
    found = reply(f"Hello,\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n{_QUOTE}\n\nTuesday is fine.")
    assert found.body == "Hello,\n\nTuesday is fine."


def test_a_quote_alone_leaves_an_empty_body() -> None:
    assert reply(f"On 4 Mar 2025, Nora <nora@example.org> wrote:\n{_QUOTE}").body == ""


def test_a_wrapped_quoted_line_is_no_answer() -> None:
    quote = "> a long line that some program\nbroke\n> and went on\n> to the end"
    assert reply(f"Yes.\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n{quote}").body == "Yes."


def test_a_second_attribution_below_the_quote_is_no_answer() -> None:
    first = "On 4 Mar 2025, Nora <nora@example.org> wrote:"
    text = f"Yes.\n\n{first}\n{_QUOTE}\n\nOn 3 Mar 2025, Bo <bo@example.org> wrote:\nHi"
    assert reply(text).body == "Yes."


@pytest.mark.parametrize("glue", ["", " "])
def test_an_attribution_that_shares_a_line_with_the_answer_is_cut_out(glue: str) -> None:
    found = reply(f"Tuesday is fine.{glue}On 4 Mar 2025 at 18:20, Nora <nora@example.org> wrote:\n{_QUOTE}")
    assert found.body == "Tuesday is fine."
    assert found.quoted.lstrip().startswith("On 4 Mar 2025")


def test_words_that_follow_an_attribution_on_its_line_are_quoted() -> None:
    found = reply("Fine. On 4 Mar 2025 at 18:20, Nora <nora@example.org> wrote: Shall we meet?")
    assert found.body == "Fine."


def test_bars_are_quote_marks_below_an_attribution() -> None:
    text = "Yes.\n\n2025/3/4 Nora via Forum <forum@example.org>\n\n| Shall we meet?\n| ----\n| Nora"
    assert reply(text).body == "Yes."


def test_what_lies_beyond_the_limit_goes_with_the_quote() -> None:
    text = "Yes.\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n" + "> more of it\n" * 40_000
    found = reply(text)
    assert found.body == "Yes."
    assert found.quoted.count("more of it") == 40_000
