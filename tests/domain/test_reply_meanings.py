"""Replies as large providers and common servers write them, and the case each is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.reply_meanings import Meaning, meaning_of
from daimon_mcp.texts import Texts

REPLIES: list[tuple[int | None, str | None, str, Meaning]] = [
    (250, "2.0.0", "Ok: queued as 4F00D", Meaning.ACCEPTED),
    # Gmail
    (550, "5.1.1", "The email account that you tried to reach does not exist. Please try double-checking the "
     "recipient's email address for typos - gsmtp", Meaning.NO_SUCH_USER),
    (550, "5.2.1", "The email account that you tried to reach is disabled. - gsmtp", Meaning.USER_DISABLED),
    (452, "4.2.2", "The recipient's inbox is out of storage space. - gsmtp", Meaning.MAILBOX_FULL),
    (450, "4.2.1", "The user you are trying to contact is receiving mail too quickly. - gsmtp", Meaning.RATE_LIMITED),
    (421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail - gsmtp", Meaning.RATE_LIMITED),
    (550, "5.7.26", "Your email has been blocked because the sender is unauthenticated. - gsmtp",
     Meaning.SENDER_NOT_AUTHENTICATED),
    (550, "5.7.1", "Our system has detected that this message is likely suspicious due to the very low reputation "
     "of the sending domain. - gsmtp", Meaning.BLOCKLISTED),
    (550, "5.7.25", "The IP address sending this message does not have a PTR record setup", Meaning.NO_REVERSE_DNS),
    (552, "5.7.0", "This message was blocked because its content presents a potential security issue. - gsmtp",
     Meaning.CONTENT_REFUSED),
    (550, "5.7.29", "x", Meaning.TLS_REQUIRED),
    (552, "5.3.4", "Your message exceeded Google's message size limits. - gsmtp", Meaning.TOO_LARGE),
    (535, "5.7.8", "Username and Password not accepted. Learn more at https://support.google.com/mail/?p=BadCredentials",
     Meaning.RELAY_LOGIN),
    # Outlook and Exchange Online
    (550, "5.7.1", "Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
     "provider since part of their network is on our block list (S3140).", Meaning.BLOCKLISTED),
    (550, "5.7.606", "Access denied, banned sending IP [192.0.2.1]", Meaning.BLOCKLISTED),
    (550, "5.7.511", "Access denied", Meaning.BLOCKLISTED),
    (550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Meaning.NO_SUCH_USER),
    (550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302).", Meaning.NO_SUCH_USER),
    (451, "4.7.500", "Server busy. Please try again later from [192.0.2.1]. (S77719)", Meaning.SYSTEM_TROUBLE),
    (550, "5.7.515", "Access denied, sending domain x.example does not meet the required authentication level.",
     Meaning.SENDER_NOT_AUTHENTICATED),
    (550, "5.7.64", "TenantAttribution; Relay Access Denied", Meaning.RELAY_DENIED),
    (550, "5.7.133", "RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", Meaning.RELAY_LOGIN),
    (421, None, "RP-001 (BAY0) Unfortunately, some messages from 192.0.2.1 weren't sent.", Meaning.RATE_LIMITED),
    # Yahoo and iCloud
    (421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
     Meaning.RATE_LIMITED),
    (554, None, "delivery error: dd This user doesn't have a yahoo.com account (ann@yahoo.com) [0]",
     Meaning.NO_SUCH_USER),
    (554, "5.7.9", "Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
     Meaning.POLICY),
    (550, "5.1.1", "<ann@icloud.com>: user does not exist", Meaning.NO_SUCH_USER),
    (554, "5.7.1", "[CS01] Message rejected due to local policy.", Meaning.POLICY),
    (552, "5.2.2", "<ann@me.com>: user is over quota", Meaning.MAILBOX_FULL),
    # Postfix, Exim and their policy services
    (450, "4.2.0", "<ann@x.example>: Recipient address rejected: Greylisted, see http://postgrey.example/",
     Meaning.GREYLISTED),
    (451, "4.7.1", "Greylisting in action, please come back later", Meaning.GREYLISTED),
    (554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", Meaning.BLOCKLISTED),
    (554, "5.7.1", "<ann@x.example>: Relay access denied", Meaning.RELAY_DENIED),
    (550, "5.1.1", "<ann@x.example>: Recipient address rejected: User unknown in local recipient table",
     Meaning.NO_SUCH_USER),
    (530, "5.7.0", "Must issue a STARTTLS command first", Meaning.TLS_REQUIRED),
    (530, "5.7.0", "Authentication required", Meaning.RELAY_LOGIN),
    (450, "4.1.8", "<a@b.example>: Sender address rejected: Domain not found", Meaning.SENDER_REFUSED),
    (550, "5.7.23", "Message rejected due to: SPF fail - not authorized", Meaning.SENDER_NOT_AUTHENTICATED),
    (552, "5.3.4", "Message size exceeds fixed limit", Meaning.TOO_LARGE),
    (452, "4.5.3", "Error: too many recipients", Meaning.TOO_MANY_RECIPIENTS),
    (452, "4.3.1", "Insufficient system storage", Meaning.SYSTEM_TROUBLE),
    (450, "4.1.1", "<ann@x.example>: unverified address: lookup failed", Meaning.DEFERRED),
    (554, "5.4.6", "Too many hops", Meaning.MAIL_LOOP),
    (550, None, "unrouteable address", Meaning.NO_SUCH_USER),
    (550, None, "Sender verify failed", Meaning.SENDER_REFUSED),
    (421, None, "Too many concurrent SMTP connections", Meaning.RATE_LIMITED),
    (550, None, "This message was classified as SPAM and may not be delivered", Meaning.CONTENT_REFUSED),
    (553, "5.6.7", "the relay does not take addresses outside ASCII", Meaning.UNSUPPORTED),
    (556, "5.1.10", "Domain does not accept mail (nullMX)", Meaning.NO_MAIL_DOMAIN),
    (501, "5.5.4", "Syntax: MAIL FROM:<address>", Meaning.PROTOCOL),
    # What a name holds is not what is said.
    (550, "5.1.1", "<spf-spam-dmarc@x.example>: no", Meaning.NO_SUCH_USER),
    # Nothing but a code.
    (550, None, "No", Meaning.REFUSED),
    (450, None, "Not now", Meaning.DEFERRED),
    (550, "5.7.1", "No", Meaning.POLICY),
    (451, "4.3.0", "", Meaning.SYSTEM_TROUBLE),
    # No reply at all: our own words.
    (None, None, "cannot connect: [Errno 111] Connect call failed ('127.0.0.1', 25)", Meaning.CANNOT_CONNECT),
    (None, None, "the relay took too long", Meaning.CANNOT_CONNECT),
    (None, None, "cannot log in: SMTP AUTH extension not supported by server.", Meaning.RELAY_LOGIN),
    (None, None, "cannot connect: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", Meaning.TLS_FAILED),
    (None, None, "lost the connection before the message was handed over: Connection lost", Meaning.CONNECTION_LOST),
    (None, None, "internal error, id c0ffee", Meaning.INTERNAL),
    (554, "5.7.1", "<ann@x.example>: Recipient address rejected: Access denied", Meaning.POLICY),
    (550, "5.4.1", "Recipient address rejected: Access denied. [DB5EUR01FT013.protection.example]",
     Meaning.NO_SUCH_USER),
    (None, "5.4.1", "", Meaning.CANNOT_CONNECT),
    (None, None, "", Meaning.CANNOT_CONNECT),
    (None, "4.4.3", "_25._tcp.mx.b.example TLSA: the name server answered SERVFAIL", Meaning.DNS_FAILED),
    (None, "4.4.3", "_mta-sts.b.example TXT: no name server answered within 5 s", Meaning.DNS_FAILED),
]  # fmt: skip


@pytest.mark.parametrize(("code", "enhanced", "text", "meaning"), REPLIES)
def test_each_reply_is_the_case_it_should_be(
    code: int | None, enhanced: str | None, text: str, meaning: Meaning
) -> None:
    assert meaning_of(code, enhanced, text) == meaning


def test_every_case_has_words() -> None:
    texts = Texts()
    for meaning in Meaning:
        text = texts.text("delivery", meaning)
        assert text.prose("meaning"), meaning
        assert text.prose("again"), meaning
        assert text.bullets("agent"), meaning


def test_every_text_is_of_a_case() -> None:
    named = {name for name in Texts().names("delivery") if "." not in name}
    assert named == {"retries", *map(str, Meaning)}


@given(st.none() | st.integers(200, 599), st.none() | st.text(max_size=12), st.text(max_size=300))
def test_any_reply_is_some_case(code: int | None, enhanced: str | None, text: str) -> None:
    assert meaning_of(code, enhanced, text) in Meaning


@pytest.mark.parametrize(
    "piece", ["user ", "mailbox over ", "address@", "a@b ", "<", "https://", "blocked ", "too many "]
)
def test_a_long_reply_takes_no_time(piece: str) -> None:
    started = time.process_time()
    meaning_of(550, "5.7.1", piece * 100_000)
    # Microseconds where it was measured; the slack is for a slow machine.
    assert time.process_time() - started < 0.5
