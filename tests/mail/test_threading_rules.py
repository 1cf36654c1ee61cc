"""Which mails belong together: by ids, by subject as a last resort, and what begins anew under an old id."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.domain.clock import DAY
from daimon_mcp.mail.threading import (
    MAX_PARENTS,
    SUBJECT_WINDOW,
    is_copy,
    may_join_by_subject,
    normal_id,
    parents_of,
    quotes,
    splits_off,
)

NOW = 1_795_251_600_000_000


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("<A.b@X.example>", "<a.b@x.example>"),
        ("a@x", "<a@x>"),
        (" <a\t@ x> ", "<a@x>"),
        ('<"a.b"@x>', "<a.b@x>"),
        ('<"a b"@x>', "<ab@x>"),
        ("<>", ""),
        ("", ""),
    ],
)
def test_ids_as_they_are_compared(written: str, normal: str) -> None:
    assert normal_id(written) == normal
    assert normal_id(normal) == normal


def test_nearest_parent_first() -> None:
    assert parents_of(["<a@x>", "<b@x>"], ["<b@x>"]) == ("<b@x>", "<a@x>")
    assert parents_of(["<a@x>", "<b@x>"], ["<c@x>"]) == ("<b@x>", "<a@x>", "<c@x>")
    assert parents_of([], ["<C@x>"]) == ("<c@x>",)
    assert parents_of([], []) == ()
    # The author's address where the id should be.
    assert parents_of([], ["<Ann@x.example>", "<c@x>"], ["ann@x.example"]) == ("<c@x>",)
    many = parents_of([f"<{n}@x>" for n in range(5000)], ["<last@x>"])
    assert (len(many), many[0]) == (MAX_PARENTS, "<4999@x>")


def test_copies_of_one_mail() -> None:
    assert is_copy("Tea", "[list] Re: TEA")
    assert not is_copy("Tea", "Coffee")
    assert not is_copy("", "")


def _joins(
    subject: str = "Re: Tea",
    *,
    parents: tuple[str, ...] = (),
    people: tuple[str, ...] = ("ben@y.example", "scout@agents.example"),
    at: int = NOW,
    thread_subject: str = "Tea",
) -> bool:
    return may_join_by_subject(
        subject=subject,
        parents=parents,
        people=people,
        at=at,
        thread_subject=thread_subject,
        thread_people=("Ben@Y.example", "scout@agents.example"),
        thread_last_at=NOW - 2 * DAY,
        own=("scout@agents.example",),
    )


@pytest.mark.parametrize(
    "subject", ["Re: Tea", "RE: tea ", "[list] Re: Tea", "AW: Tea", "Antw: Tea", "回复：Tea", "Re[2]: Tea"]
)
def test_an_answer_that_refers_to_nothing_joins_by_subject(subject: str) -> None:
    assert _joins(subject)


@pytest.mark.parametrize(
    ("why", "joins"),
    [
        ("no answer", _joins("Tea")),
        ("passed on", _joins("Fwd: Tea")),
        ("another subject", _joins("Re: Coffee")),
        ("no subject", _joins("Re: ", thread_subject="")),
        ("it refers to a mail", _joins(parents=("<a@x>",))),
        ("nobody in common but the inbox itself", _joins(people=("eve@z.example", "scout@agents.example"))),
        ("too late", _joins(at=NOW + SUBJECT_WINDOW)),
        ("long before", _joins(at=NOW - 2 * DAY - SUBJECT_WINDOW - 1)),
    ],
)
def test_other_mail_does_not_join_by_subject(why: str, joins: bool) -> None:
    assert not joins, why


def test_the_window_is_inclusive_and_goes_both_ways() -> None:
    assert _joins(at=NOW - 2 * DAY + SUBJECT_WINDOW)
    assert _joins(at=NOW - 2 * DAY - SUBJECT_WINDOW)


PARENT = "Shall we meet on Friday at three, in the small room on the first floor?\nAnn"


def _splits(
    subject: str, parent_subject: str, text: str = "Something else.", *, kind: str = "human", parent: str = PARENT
) -> bool:
    return splits_off(kind=kind, subject=subject, text=text, parent_subject=parent_subject, parent_text=parent)


@pytest.mark.parametrize(
    ("subject", "parent_subject"),
    [
        ("Holiday photos", "Invoice 17"),
        ("Re: Holiday photos", "Invoice 17"),
        ("The party at the lake", "Question about the invoice"),
        ("Фотографии", "Счёт за июнь"),
        ("休暇の写真", "請求書"),
    ],
)
def test_a_new_subject_without_a_quote_begins_a_thread(subject: str, parent_subject: str) -> None:
    assert _splits(subject, parent_subject)


@pytest.mark.parametrize(
    ("subject", "parent_subject"),
    [
        ("Re: Invoice 17", "Invoice 17"),
        ("AW: [list] INVOICE 17", "Invoice 17"),
        ("Lunch on Friday (was: Invoice 17)", "Invoice 17"),
        ("Your invoices", "Invoice 17"),
        ("Rechnungen", "Rechnung für Juni"),
        ("請求書について", "請求書"),
        ("", "Invoice 17"),
        ("Holiday photos", ""),
        ("Re: ", "Invoice 17"),
    ],
)
def test_a_subject_that_has_something_in_common_does_not(subject: str, parent_subject: str) -> None:
    assert not _splits(subject, parent_subject)


@pytest.mark.parametrize(
    "text",
    [
        "> Shall we meet on Friday at three, in the small room\n> on the first floor?\nYes.",
        "Yes.\n\nAnn wrote:\n>> Shall we meet\n>> on Friday at three,\n>> in the\n>> small room on the floor?",
        "Shall  we meet on friday at\xa0three, in the small room on the first floor? Yes.",
    ],
)
def test_a_quote_of_the_parent_keeps_it_there(text: str) -> None:
    assert quotes(text, PARENT)
    assert not _splits("Holiday photos", "Invoice 17", text)


def test_near_misses_of_quotes() -> None:
    assert not quotes("Shall we meet on Sunday, in the park?", PARENT)
    assert not quotes("", PARENT)
    assert not quotes("Anything", "")
    assert quotes("> Hi there!\nHello", "Hi there!")
    assert not quotes("Hello", "Hi there!")


@pytest.mark.parametrize("kind", ["bounce", "auto_reply", "notification", "newsletter", "invite"])
def test_what_programs_answer_never_splits_off(kind: str) -> None:
    assert not _splits("Undelivered Mail Returned to Sender", "Invoice 17", kind=kind)


@given(st.text(max_size=200), st.text(max_size=200), st.lists(st.text(max_size=50), max_size=10))
@settings(deadline=None)
def test_any_text_has_an_answer(one: str, other: str, ids: list[str]) -> None:
    assert normal_id(normal_id(one)) == normal_id(one)
    assert all(each == normal_id(each) for each in parents_of(ids, [one], [other]))
    _splits(one, other, one, parent=other)
    _joins(one, thread_subject=other)
    assert quotes(f"> {one}", one) or not any(character.isalnum() for character in one.casefold())


@pytest.mark.parametrize("piece", ["a", " ", "Re: ", "[", "<", '"', "(fwd)", "請", "a b ", "> \n"])
def test_160_kilobytes_of_one_trick_take_no_time(piece: str) -> None:
    long = piece * (160_000 // len(piece))
    started = time.process_time()
    normal_id(long)
    parents_of([long] * 10, [long])
    _joins(long, thread_subject=long)
    _splits("Photos", "Invoice", long, parent=long + "x")
    _splits(long, long + "x", long, parent=long[1:] + "x")
    # Milliseconds where it was measured; the slack is for a slow machine.
    assert time.process_time() - started < 2
