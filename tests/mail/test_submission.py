"""The header block of a submitted mail: what is refused in it, and what goes out."""

from __future__ import annotations

import email
import email.policy
import email.utils
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.domain.clock import parse_time
from daimon_mcp.domain.senders import owns, sender_not_owned
from daimon_mcp.mail.address_headers import read_addresses
from daimon_mcp.mail.addresses import BadAddress
from daimon_mcp.mail.mailbox_list import MAX_VALUE
from daimon_mcp.mail.submission import (
    MAX_FIELDS,
    HeaderFault,
    HeaderProblem,
    SubmittedHeaders,
    examine,
    repaired,
    repaired_header,
)
from daimon_mcp.mail.trace import HEADER_BYTES

NOW = parse_time("2026-11-21T09:00:00Z")
TRACE = b"Received: from here\r\n by there\r\n"
DATE = b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\n"
ID = b"Message-ID: <new@x.example>\r\n"
FROM = b"From: agent@x.example\r\n"
COMPLETE = b"Message-ID: <old@y.example>\r\nDate: Fri, 20 Nov 2026 08:00:00 +0100\r\n" + FROM


def mended(content: bytes, mail_from: str = "agent@x.example") -> bytes:
    examined = examine(content)
    assert examined.problems == ()
    return repaired(
        content, message_id="<new@x.example>", date=NOW, received=TRACE, examined=examined, mail_from=mail_from
    )


def of_from(value: str) -> SubmittedHeaders:
    return examine(b"Subject: t\r\nFrom: " + value.encode() + b"\r\nTo: b@y.example\r\n\r\nbody\r\n")


def test_what_a_usual_header_says() -> None:
    found = examine(
        b"Received: hop\r\nReceived: hop\r\n\tfold\r\n"
        + COMPLETE
        + b'Sender: "Agent" <s@x.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nTo: b@y.example\r\nCc:c@y.example\r\n'
        + b"Bcc: d@y.example\r\nContent-Type: text/plain\r\n\r\nFrom: body@z.example\r\n\r\nNUL \0"
    )
    assert found.problems == ()
    assert found.from_ == ("agent@x.example",)
    assert found.sender == ("s@x.example",)
    assert found.message_id == "<old@y.example>"
    assert (found.has_date, found.has_bcc, found.eight_bit, found.report, found.received) == (
        *(True, True, False, False),
        2,
    )
    assert {name: found.counts.get(name) for name in ("from", "to", "cc", "subject", "date", "resent-bcc")} == {
        **dict.fromkeys(("from", "to", "cc", "subject", "date"), 1),
        "resent-bcc": None,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("agent@x.example", ["agent@x.example"]),
        ("<agent@x.example>", ["agent@x.example"]),
        ("Agent <agent@X.Example>", ["agent@x.example"]),
        ("A. J. Agent <agent@x.example>", ["agent@x.example"]),
        ('"Agent, the <b@y.example>; (1)" <agent@x.example>', ["agent@x.example"]),
        ('"\\"quoted\\"" <agent@x.example>', ["agent@x.example"]),
        ('agent@x.example (Agent (the) \\) "best)', ["agent@x.example"]),
        ("(a)Agent(b)<(c)agent(d)@(e)x.example(f)>(g)", ["agent@x.example"]),
        ('"ann b"@x.example', ['"ann b"@x.example']),
        ('"agent"@x.example', ['"agent"@x.example']),
        ('"a@b"@x.example', ['"a@b"@x.example']),
        ("=?utf-8?b?SsO8cmdlbiBA?= =?utf-8?q?=C3=BC?= <agent@x.example>", ["agent@x.example"]),
        ("Jürgen Müller <agent@x.example>", ["agent@x.example"]),
        ("用户@例え.jp", ["用户@xn--r8jz45g.jp"]),
        ("agent@BÜCHER.example", ["agent@xn--bcher-kva.example"]),
        ("agent@[192.0.2.1]", ["agent@[192.0.2.1]"]),
        ("[Alert] Agent <agent@x.example>", ["agent@x.example"]),
        ("a@x.example, B <b@x.example>,, c@x.example,", ["a@x.example", "b@x.example", "c@x.example"]),
        ("Team: a@x.example, B <b@x.example>;", ["a@x.example", "b@x.example"]),
        ("Team: a@x.example;, c@x.example", ["a@x.example", "c@x.example"]),
        ("Company: Agent <agent@x.example>", ["agent@x.example"]),
        ("Agent\r\n <agent@x.example>,\r\n\tb@x.example", ["agent@x.example", "b@x.example"]),
        ("boss@bank.example <agent@x.example>", ["boss@bank.example", "agent@x.example"]),
    ],
)
def test_from(value: str, expected: list[str]) -> None:
    found = of_from(value)
    assert found.problems == ()
    assert list(found.from_) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "Agent",
        "agent@",
        "@x.example",
        "<>",
        "<agent>",
        "Agent agent@x.example",
        "agent@x.example agent",
        "<agent@x.example> <b@z.example>",
        "<agent@x.example>, <b@z.example",
        "<<agent@x.example>>",
        "<agent@x.example> b",
        "agent@x.example <b@z.example> (c",
        "agent@x.example)",
        "<@z.example:agent@x.example>",
        "<@z.example,@y.example:agent@x.example>",
        "agent@x.example@z.example",
        "<agent@x.example@z.example>",
        "a . b@x.example",
        '"a".b@x.example',
        'agent@"x.example"',
        "[agent]@x.example",
        "Agent, the <agent@x.example>",
        "=?utf-8?q?a,_b?= <agent@x.example>",
        'Agent "the <agent@x.example>',
        "Agent \\<agent@x.example>",
        "Team:;",
        "Team: Other: agent@x.example;;",
        "Team: agent@x.example; agent@x.example",
        ": agent@x.example;",
        "agent@x.example;",
        "a\x01gent@x.example",
        "agent@x.example\x0b",
        "agent@x.example, @",
        "@ <agent@x.example>",
        "a agent@x.example <agent@x.example>",
        '"b@z.example"agent@x.example <agent@x.example>',
        "agent@x.example a <agent@x.example>",
        "agent@x.example\xa0 <agent@x.example>",
        "\u200bagent@x.example",
        "agent@x.example\x85",
        ". <agent@x.example>",
        "x" * MAX_VALUE + " <agent@x.example>",
    ],
)
def test_a_from_that_is_none(value: str) -> None:
    assert of_from(value).problems == (HeaderProblem(HeaderFault.BAD_ADDRESSES, "from"),)


_PIECES = st.lists(
    st.sampled_from(
        [
            *("agent@x.example", "evil@z.example", "<agent@x.example>", "<evil@z.example>", "Agent", "evil", '"agent"'),
            *('"evil@z.example"', '"', "\\", "(", ")", "(evil@z.example)", "<", ">", ",", ";", ":", "@", " ", "\t"),
            *("\r\n ", "\r\n\t", "\r\n \r\n ", ".", "[", "]", "x.example", "z.example", "=?utf-8?q?=3Cevil=40z?=", "ü"),
            *("\x00", "\x0b", "\x85", "\u2028", "\xa0", "@z.example,", "@z.example:", "\r\nFrom: evil@z.example\r\n "),
            *("\r\nfrom:evil@z.example", "\r\nSender : evil@z.example", "\r\n\r\n"),
        ]
    ),
    max_size=9,
).map("".join)


@given(_PIECES)
@settings(max_examples=600)
def test_no_reader_sees_a_from_that_was_not_checked(value: str) -> None:
    content = b"From: " + value.encode() + b"\r\n\r\nbody\r\n"
    examined = examine(content)
    if examined.problems or sender_not_owned(
        {"agent@x.example"}, mail_from="agent@x.example", from_=examined.from_, sender=examined.sender
    ):
        return
    sent = mended(content)
    message = email.message_from_bytes(sent, policy=email.policy.compat32)
    raw = [str(each).replace("\r\n", "") for each in message.get_all("From", []) + message.get_all("Sender", [])]
    seen = [address for _, address in email.utils.getaddresses(raw)]
    seen += [each.email for text in raw for each in read_addresses(text.encode("utf-8", "surrogateescape"))]
    modern = email.message_from_bytes(sent, policy=email.policy.SMTPUTF8)
    seen += [each.addr_spec for field in modern.get_all("From", []) for each in field.addresses]
    assert seen
    assert all(owns({"agent@x.example"}, address) for address in seen if "@" in address)


@pytest.mark.parametrize(
    "name", ["From", "Sender", "Date", "Message-ID", "Subject", "To", "Cc", "Reply-To", "References"]
)
def test_fields_that_may_be_there_once(name: str) -> None:
    value = {"Date": "Sat, 21 Nov 2026 09:00:00 +0000", "Message-ID": "<a@x.example>"}.get(name, "a@x.example")
    content = f"{name}: {value}\r\nX-Other: 1\r\n{name.upper()}:\r\n {value}\r\n\r\n".encode()
    assert examine(content).problems == (HeaderProblem(HeaderFault.DUPLICATE, name.lower()),)
    assert examine(content.replace(b"\r\n" + name.upper().encode(), b"\r\n\r\n" + name.encode())).problems == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"From : agent@x.example\r\n\r\n", HeaderProblem(HeaderFault.SPACE_BEFORE_COLON, "from")),
        (b"Sender\t: agent@x.example\r\n\r\n", HeaderProblem(HeaderFault.SPACE_BEFORE_COLON, "sender")),
        (b"Sender: a@x.example, b@x.example\r\n\r\n", HeaderProblem(HeaderFault.BAD_ADDRESSES, "sender")),
        (b"Subject: a\0b\r\n\r\n", HeaderProblem(HeaderFault.NUL)),
        (b"Subject: a\nFrom: b@x.example\r\n\r\n", HeaderProblem(HeaderFault.BARE_CR_OR_LF)),
        (b"Subject: a\rFrom: b@x.example\r\n\r\n", HeaderProblem(HeaderFault.BARE_CR_OR_LF)),
        (b"Subject: a\r\r\n\r\n", HeaderProblem(HeaderFault.BARE_CR_OR_LF)),
        (b"Subject: a\r", HeaderProblem(HeaderFault.BARE_CR_OR_LF)),
        (b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n", HeaderProblem(HeaderFault.TOO_LONG)),
        (b"X:" + b"\r\n y" * HEADER_BYTES + b"\r\n\r\n", HeaderProblem(HeaderFault.TOO_LONG)),
        (b"X: y\r\n" + b"N" * HEADER_BYTES + b": y\r\n\r\n", HeaderProblem(HeaderFault.TOO_LONG)),
    ],
)
def test_blocks_that_are_refused(content: bytes, problem: HeaderProblem) -> None:
    assert examine(content).problems == (problem,)


@pytest.mark.parametrize("over", range(-6, 3))
def test_the_longest_block(over: int) -> None:
    fields = b"X: y\r\n" * 100
    filler = b"F:" + b"\r\n " + b"z" * (HEADER_BYTES + over - len(fields) - 5) + b"\r\n"
    block = fields + filler
    content = block + b"\r\nbody\r\n"
    assert len(block) == HEADER_BYTES + over + 2
    found = examine(content)
    fits = len(block) + 2 <= HEADER_BYTES  # the blank line too
    assert (found.problems == ()) == fits
    assert examine(content[: HEADER_BYTES + 1]) == found
    if fits:
        assert found.end == len(block)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"<a@x.example>", "<a@x.example>"),
        (b"\r\n <a@x.example>", "<a@x.example>"),
        (b"<a>", "<a>"),
        ("<ü@x.example>".encode(), "<ü@x.example>"),
        (b"a@x.example", "<a@x.example>"),
        (b"<a@x.example> (comment)", "<a@x.example>"),
        (b"", None),
        (b"<>", None),
        (b"none at all", None),
        (b"<a@x.example> <b@x.example>", None),
        (b"<" + b"a" * 3000 + b"@x.example>", None),
    ],
)
def test_message_id(value: bytes, expected: str | None) -> None:
    content = b"Message-ID: " + value + b"\r\n" + DATE + FROM + b"\r\nbody\r\n"
    assert examine(content).message_id == expected
    kept = content if expected else ID + DATE + FROM + b"\r\nbody\r\n"
    assert mended(content) == TRACE + kept


@pytest.mark.parametrize("value", [b"", b"yesterday", b"Sat, 99 Nov 2026", b"\xff" * 100_000])
def test_a_date_that_is_none_is_replaced(value: bytes) -> None:
    content = b"Date: " + value + b"\r\nMessage-ID: <a@x.example>\r\n" + FROM + b"\r\n"
    assert not examine(content).has_date
    assert mended(content) == TRACE + DATE + b"Message-ID: <a@x.example>\r\n" + FROM + b"\r\n"


def test_what_is_there_is_kept_byte_for_byte() -> None:
    content = COMPLETE + b"X-Odd:\t  y  \r\n\r\n\r\n.body\xff\r\nBcc: body@y.example\r\n"
    assert mended(content) == TRACE + content


def test_what_is_missing_is_added() -> None:
    assert mended(b"Subject: t\r\n\r\nbody\r\n", "agent@BÜCHER.example") == (
        TRACE + DATE + b"From: agent@xn--bcher-kva.example\r\n" + ID + b"Subject: t\r\n\r\nbody\r\n"
    )


def test_several_authors_have_a_sender() -> None:
    content = b"From: agent@x.example, b@x.example\r\nMessage-ID: <a@x.example>\r\n" + DATE + b"\r\n"
    assert mended(content) == TRACE + b"Sender: agent@x.example\r\n" + content
    assert mended(content, "") == TRACE + content
    own = b"Sender: b@x.example\r\n" + content
    assert mended(own) == TRACE + own


def test_blind_copies_do_not_go_out() -> None:
    content = (
        b"bcc: a@y.example\r\n" + COMPLETE + b"Bcc:\r\n b@y.example,\r\n\tc@y.example\r\nX-Bcc: kept\r\nBCC : d@y\r\n"
        b"Resent-Bcc: e@y.example\r\nReturn-Path: <f@y.example>\r\nSubject: t\r\nBcc: g@y.example\r\n\r\nBcc: body\r\n"
    )
    assert examine(content).has_bcc
    assert mended(content) == TRACE + COMPLETE + b"X-Bcc: kept\r\nSubject: t\r\n\r\nBcc: body\r\n"
    assert examine(b"Resent-Bcc: e@y.example\r\n\r\n").has_bcc


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (b"", b"\r\n"),
        (b"Hello\r\n", b"\r\nHello\r\n"),
        (b"\r\nFrom: body\r\n", b"\r\nFrom: body\r\n"),
        (b" Subject: t\r\n\r\nbody\r\n", b"\r\n Subject: t\r\n\r\nbody\r\n"),
        (
            b"Subject: t\r\nHello: you\r\nall of you\r\nFrom: e@z\r\n",
            b"Subject: t\r\nHello: you\r\n\r\nall of you\r\nFrom: e@z\r\n",
        ),
        (b"Subject: t\r\n", b"Subject: t\r\n\r\n"),
        (b"Subject: t", b"Subject: t\r\n\r\n"),
        (b"From a@x Mon Nov 21\r\nSubject: t\r\n\r\nbody", b"Subject: t\r\n\r\nbody"),
        (b"x" * (HEADER_BYTES + 9), b"\r\n" + b"x" * (HEADER_BYTES + 9)),
    ],
    ids=range(9),
)
def test_where_the_body_begins_is_never_in_doubt(content: bytes, rest: bytes) -> None:
    assert mended(content) == TRACE + DATE + FROM + ID + rest


def test_nothing_is_made_of_a_null_reverse_path() -> None:
    assert b"From:" not in mended(b"Subject: t\r\n\r\n", "")
    with pytest.raises(BadAddress):
        mended(b"Subject: t\r\n\r\n", "a\r\nX: y@x.example")


@pytest.mark.parametrize(
    ("kind", "report"),
    [
        (b"multipart/report; report-type=disposition-notification", True),
        (b"Multipart/Report;\r\n boundary=x", True),
        (b"multipart/report", True),
        (b"multipart/reports", False),
        (b"text/plain; x=multipart/report", False),
    ],
)
def test_reports(kind: bytes, report: bool) -> None:
    assert examine(b"Content-Type: " + kind + b"\r\n\r\n").report == report


def test_octets_outside_ascii_in_the_header_alone() -> None:
    assert examine("Subject: ü\r\n\r\n".encode()).eight_bit
    assert not examine("Subject: u\r\n\r\nü\r\n".encode()).eight_bit


_NAMES = [
    b"Bcc",
    b"Subject",
    b"Date",
    b"Message-ID",
    b"From",
    b"Return-Path",
    b"X",
    b"Received",
    b" x",
    b"\r\n",
    b"words",
]
_LINES = st.lists(
    st.tuples(st.sampled_from(_NAMES), st.sampled_from([b":", b": ", b" :", b"", b"\r\n "]), st.binary(max_size=9))
)


@given(_LINES.map(lambda lines: b"".join(b"".join(line) + b"\r\n" for line in lines)))
def test_what_was_mended_needs_nothing_more(content: bytes) -> None:
    if examine(content).problems:
        return
    sent = mended(content)
    again = examine(sent)
    assert again.problems == ()
    assert (again.message_id is not None, again.has_date, again.dropped, again.ending) == (True, True, (), b"")
    assert again.from_
    assert repaired_header(sent, message_id="", date=0, received=b"", examined=again) + sent[again.end :] == sent
    assert sent.endswith(content[examine(content).end :])


def test_ten_megabytes_are_copied_once() -> None:
    content = COMPLETE + b"\r\n" + b"x" * 10_000_000
    examined = examine(content)
    tracemalloc.start()
    try:
        sent = repaired(content, message_id="", date=NOW, received=TRACE, examined=examined)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sent) == len(content) + len(TRACE)
    assert peak < 10_200_000
