"""What bounces and complaints say, of many makers, and what is none."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.bounces import Bounce, BouncedRecipient, read_bounce
from daimon_mcp.mail.dsn import Failure, build_dsn
from daimon_mcp.mail.parse import parse

Mail = Callable[[str], bytes]
NOW = 1_795_251_600_000_000
NO_ADDRESS = "the address does not exist"
NO_DOMAIN = "the domain of the address does not exist"
NO_REASON = "the receiving mail system gave no reason"
POLICY = "refused as spam or by policy"
DAEMON = "Return-Path: <>\r\nFrom: Mail Delivery <MAILER-DAEMON@mx.x.example>\r\nSubject: failure notice\r\n"


def _read(content: bytes) -> Bounce | None:
    return read_bounce(content, parse(content).text)


def _text_bounce(text: str, headers: str = DAEMON) -> Bounce | None:
    content = (headers + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text).encode()
    return _read(content)


def _summary(bounce: Bounce | None) -> list[tuple[str, str, str, str, bool]]:
    assert bounce is not None
    return [(f.recipient, f.status, f.action, f.reason, f.permanent) for f in bounce.failures]


def _report(
    status: str, *, content_type: str = "multipart/report; report-type=delivery-status", before: str = ""
) -> bytes:
    return (
        f'{before}Content-Type: {content_type}; boundary="b"\r\n\r\n--b\r\n\r\nIt failed.\r\n--b\r\n'
        f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n{status}\r\n--b\r\n"
        "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <orig@agents.example>\r\n\r\n--b--\r\n"
    ).encode()


def test_a_report_of_postfix(mail: Mail) -> None:
    bounce = _read(mail("postfix_bounce"))
    assert bounce is not None
    assert bounce.original_message_id == "<original-77@agents.example>"
    assert _summary(bounce) == [
        ("nobody@far.example", "5.1.1", "failed", "the address does not exist", True),
        ("slow@far.example", "4.4.1", "delayed", "the server could not be reached", False),
    ]


@pytest.mark.parametrize("delayed", [False, True])
def test_our_own_report_reads_back_completely(delayed: bool) -> None:
    failures = [
        Failure("ben@y.example", "5.2.2", "552 5.2.2 over quota", "mx.y.example", "failed"),
        Failure("用户@x.example", "4.4.7", "", "", "failed"),
        Failure("cy@z.example", "4.4.2", "the connection was lost", "mx.z.example", "delayed" if delayed else "failed"),
    ]
    content = build_dsn(
        reporting_mta="mx.x.example",
        original=b"Message-ID: <orig@x.example>\r\nSubject: Tea\r\n\r\nWords",
        original_message_id="<orig@x.example>",
        from_=Address("mailer-daemon@x.example"),
        to=Address("ann@x.example"),
        failures=failures,
        arrival=NOW,
        date=NOW,
        message_id="<dsn@x.example>",
        explanation="It did not arrive.",
        subject="Delivery not confirmed",
    )
    assert parse(content).subject == "Delivery not confirmed"
    last = ("cy@z.example", "4.4.2", "the connection was lost", "the connection broke off", False)
    assert _read(content) == Bounce(
        "<orig@x.example>",
        (
            BouncedRecipient("ben@y.example", "5.2.2", "failed", "552 5.2.2 over quota", "the mailbox is full", True),
            BouncedRecipient("用户@x.example", "4.4.7", "failed", "", "the time for delivering it ran out", False),
            BouncedRecipient(last[0], last[1], "delayed" if delayed else "failed", *last[2:]),
        ),
    )


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        # A code of its class alone gives way to a better one in the server's words, never to one of another class.
        ("5.0.0", "550 5.1.1 gone", ("5.1.1", "failed", NO_ADDRESS, True)),
        ("4.0.0", "550 5.1.1 gone", ("4.0.0", "failed", NO_REASON, False)),
        ("5.0.0", "552 mailbox full", ("5.0.0", "failed", "the mailbox is full", True)),
        # Codes used for many things are explained by the words beside them, others are not.
        ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied", ("5.4.1", "failed", NO_ADDRESS, True)),
        ("5.4.4", "Host or domain name not found", ("5.4.4", "failed", NO_DOMAIN, True)),
        ("5.7.1", "554 5.7.1 <ben@y.example>: Recipient address rejected: no", ("5.7.1", "failed", POLICY, True)),
        ("4.7.1", "451 4.7.1 Greylisted, try again later",
         ("4.7.1", "failed", "the receiving mail system takes no mail at present", False)),
        ("5.7.26", "", ("5.7.26", "failed", "the sender could not be authenticated", True)),
        ("5.7.99", "", ("5.7.99", "failed", POLICY, True)),
        ("5.9.9", "", ("5.9.9", "failed", NO_REASON, True)),
        ("5.1.2 (no such domain)", "", ("5.1.2", "failed", NO_DOMAIN, True)),
        ("", "550 no such user here", ("5.1.1", "failed", NO_ADDRESS, True)),
    ],
)  # fmt: skip
def test_codes_and_words_of_a_report(status: str, said: str, expected: tuple[str, str, str, bool]) -> None:
    fields = "Final-Recipient: rfc822; ben@y.example\r\nAction: failed\r\n"
    fields += f"Status: {status}\r\n" if status else ""
    fields += f"Diagnostic-Code: smtp; {said}\r\n" if said else ""
    bounce = _read(_report(fields))
    assert _summary(bounce) == [("ben@y.example", *expected)]
    assert bounce is not None
    assert bounce.original_message_id == "<orig@agents.example>"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Status: 4.2.2", ("4.2.2", "delayed", "the mailbox is full", False)),
        ("Status: 2.1.5", ("2.1.5", "delivered", "it was delivered", False)),
        ("Action: delivered\r\nStatus: 2.0.0", ("2.0.0", "delivered", "it was delivered", False)),
        ("Action: Relayed", ("2.0.0", "relayed", "it was handed to a mail system that sends no reports", False)),
        ("Action: expanded", ("2.0.0", "expanded", "it was sent on to the members of a list", False)),
        ("Action: exploded\r\nStatus: 5.1.1", ("5.1.1", "failed", NO_ADDRESS, True)),
        ("Action: delayed", ("4.0.0", "delayed", NO_REASON, False)),
    ],
)
def test_actions_of_a_report(fields: str, expected: tuple[str, str, str, bool]) -> None:
    assert _summary(_read(_report(f"Final-Recipient: rfc822; ben@y.example\r\n{fields}\r\n"))) == [
        ("ben@y.example", *expected)
    ]


@pytest.mark.parametrize(
    ("field", "original"),
    [
        ("Original-Recipient: rfc822; <ann@x.example>\r\n", "ann@x.example"),
        ("Original-Recipient: rfc822;ann+2Btag@x.example\r\n", "ann+2Btag@x.example"),
        ("Original-Recipient: rfc822; BEN@Y.example\r\n", ""),
        ("Original-Recipient: ann@x.example\r\n", ""),
        ("", ""),
    ],
)
def test_the_address_that_the_mail_was_sent_to(field: str, original: str) -> None:
    bounce = _read(_report(f"Final-Recipient: rfc822; ben@y.example\r\n{field}Action: failed\r\nStatus: 5.1.1\r\n"))
    assert bounce is not None
    assert [(each.recipient, each.original_recipient) for each in bounce.failures] == [("ben@y.example", original)]


def test_groups_without_blank_lines_and_with_words_between() -> None:
    status = (
        "This message was undeliverable:\r\n\r\nFinal-Recipient: rfc822; <a@y.example>\r\nAction: failed\r\n"
        "Status: 5.1.1\r\nFinal-Recipient: rfc822; b@y.example\r\nAction: failed\r\nStatus: 5.2.1\r\n"
    )
    assert [(f[0], f[1]) for f in _summary(_read(_report(status)))] == [
        ("a@y.example", "5.1.1"),
        ("b@y.example", "5.2.1"),
    ]


def test_a_report_in_the_wrapping_of_a_list_counts_and_one_passed_on_does_not() -> None:
    status = "Final-Recipient: rfc822; a@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    inner = _report(status).decode()
    wrapped = (
        f'{DAEMON}Content-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n{inner}\r\n--m\r\n\r\nfooter\r\n--m--\r\n'
    )
    assert _summary(_read(wrapped.encode())) == [("a@y.example", "5.1.1", "failed", "the address does not exist", True)]
    forwarded = (
        'From: ben@y.example\r\nContent-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n\r\nSee this.\r\n--m\r\n'
        f"Content-Type: message/rfc822\r\n\r\n{inner}\r\n--m--\r\n"
    )
    assert _read(forwarded.encode()) is None
    assert _read(forwarded.replace("From: ben@y.example", "From: mailer-daemon@y.example").encode()) is None


QMAIL = """Hi. This is the qmail-send program at mx.x.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ben@y.example>:
192.0.2.9 does not like recipient.
Remote host said: 550 5.1.1 <ben@y.example>: unknown user
Giving up on 192.0.2.9.

<cy@z.example>:
Sorry, I couldn't find any host named z.example. (#5.1.2)

--- Below this line is a copy of the message.

Return-Path: <scout@agents.example>
Message-ID: <orig@agents.example>
To: dan@w.example

<eve@w.example>: 550 not this one
"""
EXIM = """This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ben@y.example
    SMTP error from remote mail server after RCPT TO:<ben@y.example>:
    host mx.y.example [192.0.2.9]: 552 5.2.2 mailbox full
  cy@z.example
    Unrouteable address

------ This is a copy of your message, including all the headers. ------

Message-Id: <orig@agents.example>
"""
EXIM_DELAY = """This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.x.example.

The address to which the message has not yet been delivered is:

  ben@y.example
    host mx.y.example [192.0.2.9]: Connection timed out

No action is required on your part. Delivery attempts will continue for
some time.
"""
SENDMAIL = """The original message was received at Mon, 24 Dec 2007 10:03:47 +1100
from [192.0.2.7]

   ----- The following addresses had permanent fatal errors -----
<ben@y.example>
    (reason: 553 5.3.0 <ben@y.example>... Unknown E-Mail Address)

   ----- Transcript of session follows -----
... while talking to mail.y.example.:
>>> DATA
<<< 553 5.3.0 <ben@y.example>... Unknown E-Mail Address
"""
EXCHANGE_OLD = """Your message

  To:      Ben Okafor
  Subject: Tea
  Sent:    Thu, 19 Nov 2026 09:00:00 +0000

did not reach the following recipient(s):

ben@y.example on Thu, 19 Nov 2026 09:00:02 +0000
    The e-mail account does not exist at the organization this message
was sent to.
    < mx.y.example #5.1.1>
"""
EXCHANGE = """Delivery has failed to these recipients or groups:

Ben Okafor (ben@y.example)<mailto:ben@y.example>
The email address you entered couldn't be found. Please check it.

Diagnostic information for administrators:

Generating server: mx.y.example

ben@y.example
Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup'

Original message headers:

Received: from mx.x.example
Message-ID: <orig@agents.example>
"""
YAHOO = """Sorry, we were unable to deliver your message to the following address.

<ben@y.example>:
554: delivery error: dd This user doesn't have a y.example account (ben@y.example) [0] - mta1.y.example

--- Below this line is a copy of the message.

Message-ID: <orig@agents.example>
"""
POSTFIX_TEXT = """This is the mail system at host mx.x.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<ben@y.example>: host mx.y.example[192.0.2.9] said: 554 5.7.1 Service
    unavailable; client host blocked using a list (in reply to RCPT TO)
"""
GMAIL = """** Message not delivered **

Your message couldn't be delivered to ben@y.example because the remote server is misconfigured.
See technical details below.

The response from the remote server was:
421 4.7.0 Try again later
"""
DOMINO = """Your message

  Subject: Tea

was not delivered to:

  ben@y.example

because:

  User ben (ben@y.example) not listed in Domino Directory
"""
DRAGONFLY = """This is the DragonFly Mail Agent v0.13 at mx.x.example.

There was an error delivering your mail to <ben@y.example>.

mx.y.example [192.0.2.9] did not like our final DATA:
550-5.7.26 Unauthenticated email from x.example is not accepted
550 5.7.26 see the policy

Message headers follow.

Message-Id: <orig@agents.example>
"""
PMDF = """This report relates to a message you sent with the following header fields:

  Message-id: <orig@agents.example>
  To: Ben <ben@y.example>

Your message cannot be delivered to the following recipients:

  Recipient address: ben@y.example
  Reason: recipient reached disk quota
"""
GROUPWISE = """The message that you sent was undeliverable to the following:
\tben@y.example (user not found)
"""


@pytest.mark.parametrize(
    ("text", "original", "expected"),
    [
        (QMAIL, True, [("ben@y.example", "5.1.1", "failed", "the address does not exist", True),
                       ("cy@z.example", "5.1.2", "failed", "the domain of the address does not exist", True)]),
        (EXIM, True, [("ben@y.example", "5.2.2", "failed", "the mailbox is full", True),
                      ("cy@z.example", "5.1.1", "failed", "the address does not exist", True)]),
        (EXIM_DELAY, False, [("ben@y.example", "4.4.1", "delayed", "the server could not be reached", False)]),
        (SENDMAIL, False, [("ben@y.example", "5.3.0", "failed", "the address does not exist", True)]),
        (EXCHANGE_OLD, False, [("ben@y.example", "5.1.1", "failed", "the address does not exist", True)]),
        (EXCHANGE, True, [("ben@y.example", "5.1.10", "failed", "the domain takes no mail", True)]),
        (YAHOO, True, [("ben@y.example", "5.1.1", "failed", "the address does not exist", True)]),
        (POSTFIX_TEXT, False, [("ben@y.example", "5.7.1", "failed", "refused as spam or by policy", True)]),
        (GMAIL, False, [("ben@y.example", "4.7.0", "failed", "the receiving mail system takes no mail at present",
                         False)]),
        (DRAGONFLY, True, [("ben@y.example", "5.7.26", "failed", "the sender could not be authenticated", True)]),
        (PMDF, True, [("ben@y.example", "5.2.2", "failed", "the mailbox is full", True)]),
        (GROUPWISE, False, [("ben@y.example", "5.1.1", "failed", "the address does not exist", True)]),
        (DOMINO, False, [("ben@y.example", "5.1.1", "failed", "the address does not exist", True)]),
    ],
)  # fmt: skip
def test_bounces_that_are_words_alone(
    text: str, original: bool, expected: list[tuple[str, str, str, str, bool]]
) -> None:
    bounce = _text_bounce(text)
    assert _summary(bounce) == expected
    assert bounce is not None
    assert bounce.original_message_id == ("<orig@agents.example>" if original else None)


def test_the_diagnostic_is_the_servers_words_and_the_reason_is_ours() -> None:
    bounce = _text_bounce(QMAIL.replace("unknown user", "unknown user\u202e\x1b[31m evil"))
    assert bounce is not None
    first = bounce.failures[0]
    assert "unknown user[31m evil" in first.diagnostic
    assert "\x1b" not in first.diagnostic
    assert first.reason == "the address does not exist"


def test_recipients_named_in_a_header() -> None:
    headers = DAEMON + "X-Failed-Recipients: ben@y.example, cy@z.example\r\nIn-Reply-To: <orig@agents.example>\r\n"
    bounce = _text_bounce("Die Nachricht kam nicht an.\n\nben@y.example: 550 5.1.1 unbekannt\n", headers)
    assert bounce is not None
    assert bounce.original_message_id == "<orig@agents.example>"
    assert [(f.recipient, f.status) for f in bounce.failures] == [("ben@y.example", "5.1.1"), ("cy@z.example", "5.0.0")]


def test_a_mailer_without_an_address() -> None:
    bounce = _text_bounce(DRAGONFLY, "From: MAILER-DAEMON <>\r\nSubject: Mail delivery failed\r\n")
    assert bounce is not None
    assert [failure.recipient for failure in bounce.failures] == ["ben@y.example"]
    assert _text_bounce(DRAGONFLY, "From: Ben <>\r\nSubject: Mail delivery failed\r\n") is None


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ("From: ben@y.example\r\nSubject: I got this\r\n", QMAIL),
        ("From: ben@y.example\r\nSubject: Tea\r\n", "The message could not be delivered to ann@x.example."),
        (DAEMON, "Your mailbox is nearly full."),
        ("Return-Path: <>\r\nFrom: ben@y.example\r\nSubject: Re: Tea\r\n", "I am away. Write to cy@y.example."),
    ],
)
def test_what_is_no_bounce(headers: str, text: str) -> None:
    assert _text_bounce(text, headers) is None


def test_other_mail_of_the_corpus_is_no_bounce(corpus: dict[str, bytes]) -> None:
    assert [name for name, content in corpus.items() if _read(content) is not None] == ["postfix_bounce.eml"]


def _complaint(fields: str, kind: str = "abuse") -> bytes:
    return (
        'From: fbl@y.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\n\r\nThis is a complaint.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: {kind}\r\nUser-Agent: X/1\r\nVersion: 1\r\n{fields}\r\n--b\r\n"
        "Content-Type: message/rfc822\r\n\r\nMessage-ID: <orig@agents.example>\r\nTo: Ben <ben@y.example>\r\n\r\nx\r\n"
        "--b--\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("fields", "recipients"),
    [
        ("Original-Rcpt-To: <cy@y.example>\r\n", ["cy@y.example"]),
        ("Original-Rcpt-To: rfc822; cy@y.example\r\nOriginal-Rcpt-To: dan@y.example\r\n",
         ["cy@y.example", "dan@y.example"]),
        ("Removal-Recipient: cy@y.example\r\n", ["cy@y.example"]),
        ("", ["ben@y.example"]),
    ],
)  # fmt: skip
def test_complaints(fields: str, recipients: list[str]) -> None:
    bounce = _read(_complaint(fields))
    assert bounce is not None
    assert bounce.original_message_id == "<orig@agents.example>"
    reason = "the recipient marked it as unwanted"
    assert _summary(bounce) == [(each, "", "complained", reason, True) for each in recipients]


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", ""])
def test_feedback_that_is_no_complaint(kind: str) -> None:
    assert _read(_complaint("", kind)) is None


@given(st.binary(max_size=600), st.text(max_size=600))
@settings(deadline=None)
def test_any_bytes_and_any_text(octets: bytes, text: str) -> None:
    read_bounce(octets, text)
    read_bounce(DAEMON.encode() + b"\r\n", "Undeliverable\n" + text)
    read_bounce(_report(octets.decode("latin-1")), text)


@pytest.mark.parametrize(
    "piece",
    [
        "<a@b.example>:\n", "a@b.example ", "a" * 64 + "@", "550 ", "5.1.1.", "\n", " ", "message you sent ",
        "could not ", "----", "x\n", "x:\n", "Final-Recipient: a@b\r\n", "user ",
        "domain ", "<", "(a@b.example)\n", "To: \n", "Message-ID: <", "x" * 70_000, "mailbox\u3000",
        "account a@b.example 550 5.1.1 user unknown\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [False, True])
def test_160_kilobytes_of_one_trick_take_no_time(piece: str, status: bool) -> None:
    long = "Undeliverable: " + piece * (160_000 // len(piece))
    content = _report(f"{long}\r\nFinal-Recipient: rfc822; {long}\r\n" * 2 if status else "", before=DAEMON)
    started = time.process_time()
    read_bounce(content, long)
    # Milliseconds where it was measured; the slack is for a slow machine.
    assert time.process_time() - started < 2
