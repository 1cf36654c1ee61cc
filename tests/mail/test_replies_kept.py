"""Mails that are kept whole: answers between quoted lines, forwards, bounces, and mails that answer none."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.replies import Reply, extract_reply, lines_of


def reply(text: str, *, is_reply: bool = True) -> Reply:
    return extract_reply(lines_of(text), is_reply=is_reply)


def kept(text: str, rule: str) -> bool:
    found = reply(text)
    return (found.body, found.quoted, found.signature, found.rule) == (text, "", "", rule)


@pytest.mark.parametrize(
    "text",
    [
        "On 4 Mar 2025, Nora <nora@example.org> wrote:\n> Tuesday?\n\nYes.\n\n> At nine?\n\nRather at ten.",
        "Hello Nora,\n\n> Tuesday?\n\nYes.\n\n> At nine?\n\nRather at ten.",
        "> Tuesday?\n\nYes.",
        "Hello,\n\n> Tuesday?\n\nYes, and there is more to say about this than fits on one line of a signature.",
    ],
)
def test_answers_between_quoted_lines_are_kept(text: str) -> None:
    assert kept(text, "kept_inline")


def test_a_signature_below_answers_between_quoted_lines_is_set_apart() -> None:
    text = "On 4 Mar 2025, Nora <nora@example.org> wrote:\n> Tuesday?\n\nYes.\n\n> At nine?\n\nRather at ten."
    found = reply(f"{text}\n\n-- \nPaul")
    assert (found.body, found.signature, found.rule) == (text, "--\nPaul", "kept_inline")


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.net rejected your message to the following addresses:\n\nnora@example.org\nFrom: p@example.net",
        "This is the mail system at host mx.example.net.\n\nFinal-Recipient: rfc822; nora@example.org\nStatus: 5.1.1",
        "Ihre Nachricht konnte nicht zugestellt werden.\n\nnora@example.org\n\n-- \nmx",
        "Delivery has failed to these recipients:\nnora@example.org\n\n-----Original Message-----\nFrom: a@example.net",
    ],
)
def test_bounces_are_kept(text: str) -> None:
    found = reply(text)
    assert (found.body.split(), found.rule) == (text.split(), "kept_bounce")


def test_a_reply_that_quotes_a_bounce_is_no_bounce() -> None:
    answer = "The mail could not be delivered, see below."
    text = f"{answer}\n\nOn 4 Mar 2025, MX <mx@example.org> wrote:\n> Status: 5.1.1\n> x"
    assert reply(text).body == answer


def test_a_reply_that_quotes_a_forward_is_no_forward() -> None:
    text = "Yes.\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n> FYI\n>\n> ------ Forwarded message -----"
    assert (reply(text).body, reply(text).rule) == ("Yes.", "attribution")


def test_a_quoted_forward_is_a_forward() -> None:
    text = "FYI\n\n> Begin forwarded message:\n>\n> From: Nora <nora@example.org>\n> Subject: Tuesday\n>\n> Hello"
    found = reply(text)
    assert found.rule == "kept_forward"
    assert found.forwarded is not None
    assert found.forwarded.subject == "Tuesday"
    assert found.forwarded.body == "> Hello"


def test_a_header_block_with_nothing_above_it_is_a_forward() -> None:
    text = "From: Nora <nora@example.org>\nSent: 4 March 2025 18:20\nTo: Paul\nSubject: Tuesday\n\nHello"
    found = reply(text)
    assert (found.body, found.quoted, found.rule) == (text, "", "kept_forward")
    assert found.forwarded is not None
    assert (found.forwarded.date, found.forwarded.body) == ("4 March 2025 18:20", "Hello")


_ATTRIBUTED = "On 4 Mar 2025 at 18:20, Nora <nora@example.org> wrote:\n> Tuesday?\n>\n> Nora"


def test_a_mail_that_answers_none_loses_only_a_certain_quote_at_its_end() -> None:
    assert reply(f"Yes.\n\n{_ATTRIBUTED}", is_reply=False).body == "Yes."


@pytest.mark.parametrize(
    "text",
    [
        f"Yes.\n\n{_ATTRIBUTED}\n\nAnd more.",
        "Yes.\n\nOn 4 Mar 2025 at 18:20, Nora <nora@example.org> wrote:\n\nTuesday?",
        "Yes.\n\n-----Original Message-----\nFrom: Nora <nora@example.org>\nSent: 4 March 2025\nSubject: x\n\nTuesday?",
        "Code below.\n\n> 123456\n> valid for ten minutes",
        "Yes.\n\nNora wrote:\n> Tuesday?\n> Nora",
        "Reply above this line.\n\nNew comment.",
        "Hello\n\n--\nThe team",
    ],
)
def test_a_mail_that_answers_none_is_kept(text: str) -> None:
    found = reply(text, is_reply=False)
    assert (found.body, found.rule) == (text, "none")


@pytest.mark.parametrize("text", ["", "\n\n", "\u200b", "Yes.", " \t\n Yes.\n\n"])
def test_small_texts(text: str) -> None:
    found = reply(text)
    assert found.body.split() == text.split()
    assert found.rule == "none"
