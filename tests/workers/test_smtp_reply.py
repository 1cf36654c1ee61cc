"""Reading what a server says: whole, in pieces, too long, and not a reply at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.queue import Attempt, Outcome
from daimon_mcp.workers.smtp_reply import MAX_LINE, MAX_LINES, Answerer, BadReply, Reply, ReplyParser

TALK = b"220 mx.test ESMTP\r\n250-mx.test\r\n250-SIZE 1000\r\n250 HELP\r\n354\r\n550-5.1.1 No\n550 5.1.1 \xff\n"
REPLIES = [
    Reply(220, ("mx.test ESMTP",)),
    Reply(250, ("mx.test", "SIZE 1000", "HELP")),
    Reply(354, ("",)),
    Reply(550, ("5.1.1 No", "5.1.1 \udcff")),
]


@given(st.lists(st.integers(0, len(TALK)), max_size=20))
def test_replies_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    parser = ReplyParser()
    at = [0, *sorted(cuts), len(TALK)]
    for start, end in pairwise(at):
        parser.feed(TALK[start:end])
    assert list(parser.replies) == REPLIES
    parser.replies.clear()
    assert not parser.pending


@pytest.mark.parametrize("beginning", [b"2", b"250", b"250-a\r\n", b"250 a\r"])
def test_the_beginning_of_a_reply_is_pending(beginning: bytes) -> None:
    parser = ReplyParser()
    parser.feed(beginning)
    assert not parser.replies
    assert parser.pending


@pytest.mark.parametrize(
    "octets",
    [
        b"what?\r\n",
        b"\r\n",
        b"25\r\n",
        b"25O ok\r\n",
        b"250ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        "２５０ ok\r\n".encode(),
        b"250-one\r\n550 two\r\n",
        b"250-one\r\n550-two\r\n",
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"x" * (MAX_LINE + 1),
        b"250-x\r\n" * MAX_LINES,
    ],
    ids=lambda octets: repr(octets[:20]),
)
def test_what_is_no_reply_is_an_error(octets: bytes) -> None:
    with pytest.raises(BadReply):
        ReplyParser().feed(octets)


def test_as_much_as_is_allowed_is_read() -> None:
    parser = ReplyParser()
    parser.feed(b"250-" + b"x" * (MAX_LINE - 4) + b"\r\n" + b"250-x\r\n" * (MAX_LINES - 2) + b"250 x\r\n")
    assert len(parser.replies[0].lines) == MAX_LINES


@pytest.mark.parametrize(
    ("code", "outcome"), [(250, "accepted"), (251, "accepted"), (354, "outcome_unknown"), (450, "deferred")]
)
def test_a_code_means_an_outcome(code: int, outcome: str) -> None:
    assert Answerer("mx").answered(Reply(code, ("x",)), Outcome.UNKNOWN).outcome == outcome


def test_a_no_can_be_put_off() -> None:
    attempt = Answerer("mx", "TLSv1.3 dane").put_off(Reply(554, ("5.7.1 Go\x07 away",)))
    assert attempt == Attempt(Outcome.DEFERRED, 554, "5.7.1", "Go  away", "mx", "TLSv1.3 dane")
