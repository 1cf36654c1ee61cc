"""Parameters of MAIL and RCPT, value by value, and what of them reaches the core."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tests.faces.smtp.server import client_of, listening

from daimon_mcp.domain.envelopes import Envelope, Recipient
from daimon_mcp.faces.smtp import parameters
from daimon_mcp.faces.smtp.dialogue import Rejected
from daimon_mcp.faces.smtp.inbound import InboundSession

SYNTAX = "501 5.5.4 Syntax: this or that"
MAIL = {**parameters.MAIL, **parameters.MAIL_DSN, **parameters.MAIL_AUTH}
RCPT = {**parameters.RCPT, **parameters.RCPT_DSN}


@pytest.mark.parametrize(
    ("offered", "word"),
    [
        (MAIL, "SIZE=0"),
        (MAIL, "size=10485760"),
        (MAIL, "BODY=7bit"),
        (MAIL, "body=8BITMIME"),
        (MAIL, "SMTPUTF8"),
        (MAIL, "RET=full"),
        (MAIL, "RET=HDRS"),
        (MAIL, "ENVID=QQ314159"),
        (MAIL, "ENVID=a+2Bb+3D"),
        (MAIL, f"ENVID={'x' * 100}"),
        (MAIL, "AUTH=<>"),
        (MAIL, "AUTH=e+3Dmc2@example.com"),
        (RCPT, "NOTIFY=NEVER"),
        (RCPT, "NOTIFY=success,DELAY,Failure"),
        (RCPT, "ORCPT=rfc822;Bob+2Bx@Example.com"),
        (RCPT, "ORCPT=utf-8;b\\x{F6}b@example.com"),
    ],
)
def test_a_good_value_is_taken_as_it_is(offered: parameters.Table, word: str) -> None:
    name, _, value = word.partition("=")
    assert parameters.read_parameters([word], offered, SYNTAX) == {name.upper(): value}


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (MAIL, "SIZE"),
        (MAIL, "SIZE="),
        (MAIL, "SIZE=-1"),
        (MAIL, "SIZE=1e3"),
        (MAIL, "SIZE=٣"),
        (MAIL, f"SIZE={'9' * 21}"),
        (MAIL, "BODY=BINARYMIME"),
        (MAIL, "SMTPUTF8="),
        (MAIL, "SMTPUTF8=YES"),
        (MAIL, "RET=SOME"),
        (MAIL, "RET"),
        (MAIL, "ENVID="),
        (MAIL, "ENVID=a+2bb"),  # RFC 3461 §4: hexadecimals in upper case
        (MAIL, "ENVID=a+b"),
        (MAIL, "ENVID=a=b"),
        (MAIL, "ENVID=é"),
        (MAIL, f"ENVID={'x' * 101}"),
        (MAIL, "AUTH="),
        (MAIL, "AUTH=<a>="),
        (RCPT, "NOTIFY="),
        (RCPT, "NOTIFY=NEVER,DELAY"),
        (RCPT, "NOTIFY=SUCCESS,"),
        (RCPT, "NOTIFY=ALWAYS"),
        (RCPT, "ORCPT=bob@example.com"),
        (RCPT, "ORCPT=rfc822;"),
        (RCPT, "ORCPT=;bob@example.com"),
        (RCPT, "ORCPT=rfc822;bob+"),
        (RCPT, f"ORCPT=rfc822;{'x' * 500}"),
        (MAIL, "SIZE=1 SIZE=1"),
        (MAIL, "RET=FULL ret=HDRS"),
        (RCPT, "NOTIFY=NEVER NOTIFY=DELAY"),
    ],
)
def test_a_bad_value_or_a_repetition_is_a_syntax_error(offered: parameters.Table, words: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parameters.read_parameters(words.split(" "), offered, SYNTAX)
    assert rejected.value.reply == SYNTAX


@pytest.mark.parametrize("word", ["RET=FULL", "ENVID=x", "AUTH=<>", "SOLICIT=x", "=", "BY=120;R"])
def test_what_is_not_offered_is_said_to_be_unknown(word: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parameters.read_parameters([word], parameters.MAIL, SYNTAX)
    assert rejected.value.reply == "555 5.5.4 Parameter not recognized or not implemented"


class WithDsn(InboundSession):
    """Takes wishes about delivery reports, which strangers are not offered."""

    mail_parameters: ClassVar[parameters.Table] = {**parameters.MAIL, **parameters.MAIL_DSN}
    rcpt_parameters: ClassVar[parameters.Table] = parameters.RCPT_DSN


async def test_wishes_about_delivery_reports_reach_the_core_where_they_are_offered() -> None:
    async with listening(WithDsn) as inbound, client_of(inbound) as client:
        await client.send(b"EHLO c.example\r\n")
        listed = await client.lines()
        assert "250-DSN" in listed
        await client.say(
            "MAIL FROM:<c@c.example> RET=hdrs ENVID=QQ314159",
            "RCPT TO:<ada@mx.example> NOTIFY=Success,delay ORCPT=rfc822;Ada@mx.example",
            "RCPT TO:<bob@mx.example>",
            "DATA",
        )
        await client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
        await client.to_content()
        await client.send(b"hi\r\n.\r\n")
        await client.reply()
    assert [envelope for envelope, _, _ in inbound.core.messages] == [
        Envelope(
            mail_from="c@c.example",
            rcpt_to=("ada@mx.example", "bob@mx.example"),
            recipients=(
                Recipient("ada@mx.example", notify="SUCCESS,DELAY", orcpt="rfc822;Ada@mx.example"),
                Recipient("bob@mx.example"),
            ),
            ret="HDRS",
            envid="QQ314159",
        ),
        Envelope(mail_from="c@c.example", rcpt_to=("ada@mx.example",)),
    ]
