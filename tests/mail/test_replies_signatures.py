"""Signatures, taglines and disclaimers are set apart, where a reply may have one."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.replies import Reply, extract_reply, lines_of


def reply(text: str, *, is_reply: bool = True, bulk: bool = False) -> Reply:
    return extract_reply(lines_of(text), is_reply=is_reply, bulk=bulk)


_SIGNATURES = [
    "-- \nNora Lind\nHead of Tides\n+47 555 01 00",
    "--\nNora",
    "—\nNora Lind",
    "———————\nNora Lind\nnora@example.org",
    "-Nora Lind",
    "/Nora",
    "_______________________________________________\ntides mailing list\ntides@example.org\nhttps://example.org/tides",
    "-- \nNora\n\nSent from my iPhone",
    "Confidentiality notice: for the addressee alone.",
    "This e-mail and its attachments are confidential and intended solely for the addressee.\nDelete it otherwise.",
    "Diese Nachricht ist vertraulich und nur für den genannten Empfänger bestimmt. Bitte löschen Sie sie andernfalls.",
    "Ce message est confidentiel et réservé à son destinataire ; merci de le détruire si vous n'êtes pas celui-ci.",
    "Please consider the environment before printing this e-mail",
    "-----\n***\n====",
]


@pytest.mark.parametrize("signature", _SIGNATURES)
def test_a_signature_is_set_apart(signature: str) -> None:
    found = reply(f"Tuesday is fine.\n\n{signature}")
    assert found.body == "Tuesday is fine."
    assert "".join(found.signature.split()) == "".join(signature.split())
    assert found.rule == "signature"


@pytest.mark.parametrize("signature", _SIGNATURES)
def test_a_mail_that_answers_none_and_bulk_mail_have_no_signature(signature: str) -> None:
    text = f"Tuesday is fine.\n\n{signature}"
    for found in (reply(text, is_reply=False), reply(text, bulk=True)):
        assert (found.body.split(), found.signature, found.rule) == (text.split(), "", "none")


@pytest.mark.parametrize(
    "text",
    [
        "Sent from my desk, is much easier than my phone.",
        "Hello,\n\nSent from the office was the wrong draft.",
        "Sent with the other papers yesterday.",
        "Please keep this confidential between us.",
        "The points:\n-- the first of them needs work\n-- the second too\n\nThanks!",
        "Hello,\n\nregards to the family, and as regards the plan: yes.",
        "Hello,\n\n- milk\n- bread",
        "Please bring:\n\n- Milk",
        "First this.\n\n---\n\nThen that, as we said.",
        "First this.\n\n---\n\nQuestions:\nNone",
        "Before.\n\n----------\n\n" + "A section with quite a lot of text below a ruler. " * 3,
        "This works :-)\n\n:-)",
        "-- \nNora Lind",
    ],
)
def test_what_only_resembles_a_signature_stays(text: str) -> None:
    found = reply(text)
    assert found.body.split() == text.split()
    assert found.signature == ""


def test_a_long_block_below_dashes_is_no_signature() -> None:
    text = "Hello,\n\n--\n" + "\n".join(f"point {number} of the list" for number in range(15))
    assert reply(text).signature == ""


def test_signatures_above_and_below_a_quote_are_set_apart() -> None:
    quote = "On 4 Mar 2025, Nora <nora@example.org> wrote:\n> Tuesday?\n> Nora"
    found = reply(f"Yes.\n\n--\nPaul\n\n{quote}\n\nSent from my iPad")
    assert (found.body, found.quoted) == ("Yes.", quote)
    assert found.signature == "--\nPaul\n\nSent from my iPad"


def test_a_found_quote_opens_the_gate_for_signatures() -> None:
    text = "Yes.\n\n--\nPaul\n\nOn 4 Mar 2025, Nora <nora@example.org> wrote:\n> Tuesday?\n> Nora"
    found = reply(text, is_reply=False)
    assert (found.body, found.signature) == ("Yes.", "--\nPaul")
    assert reply(text, is_reply=False, bulk=True).body == "Yes.\n\n--\nPaul"
